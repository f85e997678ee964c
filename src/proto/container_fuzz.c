/* SPDX-License-Identifier: Apache-2.0 */
/* A decoded line's views lie within it, and what was escaped is read back. */
#include <assert.h>

#include "proto/container.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void each(void *arg, struct str name, struct str value)
{
	*(size_t *)arg += name.n + value.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str line = str_make(data, size);
	struct buf into = {0}, json = {0};
	struct container_line l;
	size_t n = 0;

	if (cri_decode(line, &l))
		assert(l.head + l.text.n == size && l.stream != STREAM_NONE);
	if (docker_decode(line, &into, &l)) {
		assert(l.head + l.foot <= size && l.text.n == into.n);
		docker_attrs(l.attrs, &into, each, &n);
	}
	for (unsigned manner = 0; manner < 8; manner++) {
		buf_clear(&json);
		buf_clear(&into);
		buf_c(&json, "{\"log\":\"");
		json_escape(line, manner, &json);
		buf_c(&json, "\"}");
		assert(docker_decode(buf_view(&json), &into, &l) && str_eq(l.text, line));
	}
	buf_fini(&into);
	buf_fini(&json);
	return 0;
}
