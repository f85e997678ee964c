/* SPDX-License-Identifier: Apache-2.0 */
/* Partial aggregates from a peer: whatever comes, nothing is read that is not there, and what was
 * merged is written and merged again alike.  The first byte chooses the query. */
#include <assert.h>

#include "query/collect.h"
#include "query/source_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const queries[] = {
	"count_over_time({}[10s])",
	"bytes_rate({}[3s])",
	"sum_over_time({} | unwrap x [7s])",
	"avg_over_time({} | unwrap x [7s])",
	"stddev_over_time({} | unwrap x [7s])",
	"max_over_time({} | unwrap x [7s])",
	"last_over_time({} | unwrap x [7s])",
	"quantile_over_time(0.5, {} | unwrap x [7s])",
	"rate_counter({} | unwrap x [7s])",
};

struct input {
	struct str bytes;
	struct grouping grouping;
};

static int merge(struct run *run, void *ctx, struct error *e)
{
	const struct range_expr *x = &run->query->root->range;
	const struct input *in = ctx;
	struct buf out = {0}, second = {0};
	struct collection *c, *again;
	struct matrix m;
	struct axis axis;

	assert(plan_axis(&axis, run->params, e) == 0);
	assert(collection_new(&c, run, x, &axis, &in->grouping, e) == 0);
	assert(collection_new(&again, run, x, &axis, &in->grouping, e) == 0);
	if (collection_merge(c, in->bytes, 1, e) == 0 && collection_write(c, &out, e) == 0) {
		/* Both are held at once, which may be too much. */
		if (collection_merge(again, buf_view(&out), 1, e) == 0 &&
			collection_write(again, &second, e) == 0)
			assert(out.n == second.n);
		matrix_init(&m, run, &axis);
		c->type->to_matrix(c, &m, e);
		matrix_fini(&m);
	}
	buf_fini(&out);
	buf_fini(&second);
	collection_free(c);
	collection_free(again);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct test_source source = test_source_make();
	struct query_params p = {.tenant = STR("t"),
		.end_ns = 20 * NS_PER_SEC,
		.step_ns = NS_PER_SEC,
		.memory_bytes = 16 << 20};
	struct input in = {0};
	struct query_result res;
	struct query *q;
	struct error e;

	if (size == 0)
		return 0;
	in.bytes = str_make((const char *)data + 1, size - 1);
	assert(query_parse(&q, str_c(queries[data[0] % (sizeof queries / sizeof *queries)]), &e) ==
		0);
	if (run_whole(&source.source, q, &p, merge, &in, &res, &e) == 0)
		query_result_fini(&res);
	query_free(q);
	return 0;
}
