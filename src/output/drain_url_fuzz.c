/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of drains: any bytes are refused or understood, and what is shown of them holds no secret.
 */
#include <assert.h>

#include "output/drains_core.h"
#include "output/syslog_link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str url = str_make(data, n);
	struct drain_target target;
	struct syslog_url syslog;
	struct buf plain = {0};

	if (drain_target_parse(&target, url, NULL) == 0) {
		drains_plain_url(url, &plain);
		assert(plain.n > 0 && str_chr(buf_view(&plain), '?') < 0);
		assert(*target.host);
		(void)drain_target_check_host(&target, NULL);
		/* What is one once is one again. */
		assert(drains_check_url(url, NULL) == 0);
	}
	drain_target_fini(&target);
	if (syslog_url_parse(&syslog, url, NULL) == 0)
		assert(*syslog.host && *syslog.port);
	syslog_url_fini(&syslog);
	buf_fini(&plain);
	return 0;
}
