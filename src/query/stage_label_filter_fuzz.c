/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the value of a label, for filters of each kind: a row is kept with an error, or of
 * two contrary filters one keeps it. */
#include <assert.h>

#include "query/ast.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool keeps(
	struct query *q, const struct label_filter *filter, struct str value, bool *failed)
{
	struct stage *s = label_filter_new(q, filter);
	struct fields *f = fields_new(NULL);
	struct pipe_row row = {.fields = f};
	int r;

	fields_begin(f, STR_NONE, STR_NONE, NULL);
	assert(fields_set(f, STR("a"), value));
	r = s->type->run(s, NULL, &row);
	*failed = fields_failed(f);
	fields_free(f);
	assert(r == 0 || r == 1);
	return r;
}

static void contrary(struct query *q, struct label_filter *f, enum compare_op op,
	enum compare_op against, struct str value)
{
	bool failed, failed_too, one, other;

	f->op = op;
	one = keeps(q, f, value, &failed);
	f->op = against;
	other = keeps(q, f, value, &failed_too);
	assert(failed == failed_too);
	/* No comparison with NaN holds but !=. */
	if (failed)
		assert(one && other);
	else
		assert(one != other || (f->kind == LABEL_FILTER_NUMBER && !one));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const enum label_filter_kind kinds[] = {
		LABEL_FILTER_NUMBER, LABEL_FILTER_DURATION, LABEL_FILTER_BYTES, LABEL_FILTER_IP};
	struct label_filter f = {
		.name = STR("a"), .number = 5, .ns = 20000000, .bytes = 2000, .text = STR("x")};
	struct str value = str_make(data, n);
	struct query q = {0};

	arena_init(&q.arena, NULL);
	assert(ip_parse(&f.ip, STR("10.0.0.0/8"), NULL) == 0);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		f.kind = kinds[i];
		contrary(&q, &f, COMPARE_EQ, COMPARE_NE, value);
		if (f.kind == LABEL_FILTER_IP)
			break;
		contrary(&q, &f, COMPARE_GT, COMPARE_LE, value);
		contrary(&q, &f, COMPARE_LT, COMPARE_GE, value);
	}
	arena_fini(&q.arena);
	return 0;
}
