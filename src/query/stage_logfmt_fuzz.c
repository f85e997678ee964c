/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a line of logfmt: what a stage finds that looks for a few names
 * is what the one finds that takes all; lenient reading never fails, and gives
 * what strict reading gives where that does not fail.
 */
#include <assert.h>

#include "query/parser_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { PICKED = 8 };

static struct stage *make(struct parser_rig *r, bool strict, bool keep_empty)
{
	struct stage *s;
	int failed = logfmt_new(&r->query, strict, keep_empty, NULL, 0, &s, NULL);

	assert(failed == 0);
	return s;
}

/* The parsed labels, as canonical bytes. */
static void run(
	struct parser_rig *r, struct stage *s, const char *wanted, struct str line, struct buf *out)
{
	int kept;

	rig_stage(r, s, wanted);
	kept = rig_run(r, "{app=\"x\"}", "{meta=\"y\"}", line);
	assert(kept == 1);
	buf_clear(out);
	fields_write(r->fields, FIELD_PARSED, out);
}

static bool failed(struct parser_rig *r)
{
	return fields_failed(r->fields);
}

static void check(struct parser_rig *r, bool strict, bool keep_empty, struct str line)
{
	struct buf all = {0}, few = {0}, names = {0};
	struct str at, value;
	struct label l;
	size_t picked = 0;
	bool all_failed;

	run(r, make(r, strict, keep_empty), NULL, line, &all);
	all_failed = failed(r);
	at = buf_view(&all);
	/* More than a row holds is an error of those who take all. */
	if (labels_start(&at) > FIELDS_MAX) {
		buf_fini(&all);
		return;
	}
	for (; labels_next(&at, &l) && picked < PICKED; picked++) {
		buf_str(&names, l.name);
		buf_char(&names, ' ');
	}
	buf_c(&names, "absent");
	run(r, make(r, strict, keep_empty), buf_cstr(&names), line, &few);
	assert(failed(r) == all_failed);
	at = buf_view(&all);
	labels_start(&at);
	for (size_t i = 0; i < picked && labels_next(&at, &l); i++) {
		bool there = fields_get(r->fields, l.name, &value);
		assert(there && str_eq(value, l.value));
	}
	buf_fini(&all);
	buf_fini(&few);
	buf_fini(&names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct buf strict = {0}, lenient = {0};
	struct str line = str_make(data, n);
	struct parser_rig r;

	rig_init(&r);
	for (int flags = 0; flags < 4; flags++)
		check(&r, flags & 1, flags & 2, line);
	run(&r, make(&r, true, true), NULL, line, &strict);
	if (!failed(&r)) {
		run(&r, make(&r, false, true), NULL, line, &lenient);
		assert(!failed(&r));
		assert(str_eq(buf_view(&strict), buf_view(&lenient)));
	}
	run(&r, make(&r, false, false), NULL, line, &lenient);
	assert(!failed(&r) || labels_count(buf_view(&lenient)) > FIELDS_MAX);
	buf_fini(&strict);
	buf_fini(&lenient);
	rig_fini(&r);
	return 0;
}
