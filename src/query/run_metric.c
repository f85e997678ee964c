/* SPDX-License-Identifier: Apache-2.0 */
/* Metric queries: the tree is evaluated from the leaves up, one matrix a node. */
#include "query/agg.h"

/* By () of everything: the labels of a constant. */
static const struct grouping no_labels = {.kind = GROUP_BY};
static const struct grouping all_labels = {.kind = GROUP_WITHOUT};

static int eval_constant(struct run *r, const struct constant_expr *x, const struct axis *axis,
	struct matrix *out, struct error *e)
{
	struct buf labels = {0};
	size_t at;
	int code;

	matrix_init(out, r, axis);
	grouping_project(&no_labels, STR_NONE, STR_NONE, NULL, &labels);
	code = matrix_series(out, buf_view(&labels), &at, e);
	buf_fini(&labels);
	for (size_t k = 0; code == 0 && k < axis->n; k++)
		out->series[at].values[k] = x->value;
	return code;
}

/* *out is to be finished whatever is returned. */
static int eval(struct run *r, const struct expr *x, const struct axis *axis, struct matrix *out,
	struct error *e)
{
	const struct grouping *merged;
	struct matrix in = {0};
	int code;

	*out = (struct matrix){0};
	switch (x->kind) {
	case EXPR_LOG: break;
	case EXPR_BINARY:
	case EXPR_REPLACE:
	case EXPR_CONSTANT: return eval_constant(r, &x->constant, axis, out, e);
	case EXPR_RANGE: return agg_range(r, &x->range, axis, &all_labels, out, e);
	case EXPR_VECTOR:
		if ((merged = plan_merged(&x->vector)))
			return agg_range(r, &x->vector.over->range, axis, merged, out, e);
		if ((code = eval(r, x->vector.over, axis, &in, e)) == 0)
			code = agg_vector(r, &x->vector, &in, out, e);
		matrix_fini(&in);
		return code;
	}
	return error_set(e, ERR_ARG, "lines cannot be evaluated as a metric");
}

int run_metric(struct run *r, struct error *e)
{
	const struct expr *root = r->query->root;
	enum result_type type = RESULT_MATRIX;
	struct matrix m;
	struct axis axis;
	int code;

	if ((code = plan_axis(&axis, r->params, e)) < 0)
		return code;
	if (axis.instant)
		type = root->kind == EXPR_CONSTANT && !root->constant.is_vector ? RESULT_SCALAR
										: RESULT_VECTOR;
	if ((code = eval(r, root, &axis, &m, e)) == 0)
		code = matrix_to_result(&m, type, e);
	matrix_fini(&m);
	return code;
}
