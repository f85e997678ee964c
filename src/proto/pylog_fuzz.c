/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a pickled record and as a form: metadata has to be canonical
 * and small, the offsets of tracebacks within the line, and neither line nor
 * metadata much larger than what was sent.
 */
#include <assert.h>

#include "proto/pylog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_offset(const struct record *r, struct str name)
{
	struct str value;
	uint64_t at;

	if (!labels_get(r->meta, name, &value))
		return;
	assert(str_u64(value, &at) && at > 0 && at < r->body.n);
	assert(r->body.p[at - 1] == '\n');
}

static void check(const struct pylog_record *out, size_t n)
{
	const struct record *r = &out->record;
	struct label l;
	struct str at = r->meta;
	size_t bytes = 0;

	if (out->end) {
		assert(r->body.n >= 4 && r->body.n <= 6);
		return;
	}
	assert(out->logger.n > 0 && r->severity <= 24);
	assert(r->body.n <= 6 * n + (1 << 20));
	if (r->meta.n == 0)
		return;
	assert(labels_check(r->meta, NULL) == 0);
	labels_start(&at);
	while (labels_next(&at, &l))
		bytes += l.name.n + l.value.n;
	assert(bytes <= PYLOG_META_MAX);
	check_offset(r, STR("traceback_at"));
	check_offset(r, STR("stack_at"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct pylog *p;
	struct pylog_record out;
	int r;

	if (!p)
		p = pylog_new();
	r = pylog_pickle(p, str_make(data, n), 1, &out, NULL);
	assert(r == 0 || r == ERR_CORRUPT || r == ERR_LIMIT || r == ERR_ARG);
	if (r == 0)
		check(&out, n);
	r = pylog_form(p, str_make(data, n), 1, &out, NULL);
	assert(r == 0 || r == ERR_LIMIT || r == ERR_ARG);
	if (r == 0)
		check(&out, n);
	return 0;
}
