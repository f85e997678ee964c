/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of brokers: any bytes; sentences never hold what stands where a password is. */
#include <assert.h>

#include "net/amqp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error e = {0};
	struct amqp_url url;
	struct arena a;

	arena_init(&a, NULL);
	if (amqp_url_parse(&url, str_make(data, size), &a, &e) == 0) {
		assert(url.host && url.user && url.password && url.vhost);
		assert(url.port > 0 && url.port <= 65535);
		assert(strlen(url.host) <= size + strlen("localhost"));
	} else {
		assert(e.code < 0 && e.text[0]);
	}
	arena_fini(&a);
	return 0;
}
