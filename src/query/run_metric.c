/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metric queries: the tree is evaluated from the leaves up, one matrix a node.
 * A number is no matrix until somebody asks for one: beside an operator it is
 * applied to the other side's values.
 */
#include "query/agg.h"
#include "query/binary.h"
#include "query/label_replace.h"

enum {
	NODES_DEEP_MAX = 512, /* a + b + c + … is a tree as deep as it is long */
};

static const struct grouping no_labels = {.kind = GROUP_BY};
static const struct grouping all_labels = {.kind = GROUP_WITHOUT};

struct eval {
	struct run *run;
	const struct axis *axis;
	unsigned depth;
};

static int eval(struct eval *v, const struct expr *x, struct matrix *out, struct error *e);

static int eval_constant(
	const struct eval *v, const struct constant_expr *x, struct matrix *out, struct error *e)
{
	struct buf labels = {0};
	size_t at;
	int r;

	matrix_init(out, v->run, v->axis);
	grouping_project(&no_labels, STR_NONE, STR_NONE, NULL, &labels);
	r = matrix_series(out, buf_view(&labels), &at, e);
	buf_fini(&labels);
	for (size_t k = 0; r == 0 && k < v->axis->n; k++)
		out->series[at].values[k] = value_is_absent(x->value) ? 0 : x->value;
	return r;
}

static int eval_operand(struct eval *v, const struct expr *x, struct operand *out, struct error *e)
{
	*out = (struct operand){0};
	if (x->kind == EXPR_CONSTANT && !x->constant.is_vector) {
		out->is_scalar = true;
		out->value = x->constant.value;
		return 0;
	}
	return eval(v, x, &out->matrix, e);
}

static int eval_binary(
	struct eval *v, const struct binary_expr *x, struct matrix *out, struct error *e)
{
	struct operand left = {0}, right = {0};
	int r;

	if ((r = eval_operand(v, x->left, &left, e)) == 0 &&
		(r = eval_operand(v, x->right, &right, e)) == 0)
		r = binary_eval(v->run, x, &left, &right, out, e);
	matrix_fini(&left.matrix);
	matrix_fini(&right.matrix);
	return r;
}

static int eval_vector(
	struct eval *v, const struct vector_expr *x, struct matrix *out, struct error *e)
{
	const struct grouping *merged = plan_merged(x);
	struct matrix in = {0};
	int r;

	if (merged)
		return agg_range(v->run, &x->over->range, v->axis, merged, out, e);
	if ((r = eval(v, x->over, &in, e)) == 0)
		r = agg_vector(v->run, x, &in, out, e);
	matrix_fini(&in);
	return r;
}

static int eval_replace(
	struct eval *v, const struct replace_expr *x, struct matrix *out, struct error *e)
{
	struct matrix in = {0};
	int r;

	if ((r = eval(v, x->over, &in, e)) == 0)
		r = label_replace(v->run, x, &in, out, e);
	matrix_fini(&in);
	return r;
}

static int eval_node(struct eval *v, const struct expr *x, struct matrix *out, struct error *e)
{
	const struct grouping *g;

	switch (x->kind) {
	case EXPR_LOG: break;
	case EXPR_BINARY: return eval_binary(v, &x->binary, out, e);
	case EXPR_REPLACE: return eval_replace(v, &x->replace, out, e);
	case EXPR_CONSTANT: return eval_constant(v, &x->constant, out, e);
	case EXPR_VECTOR: return eval_vector(v, &x->vector, out, e);
	case EXPR_RANGE:
		g = x->range.grouping ? x->range.grouping : &all_labels;
		return agg_range(v->run, &x->range, v->axis, g, out, e);
	}
	return error_set(e, ERR_ARG, "lines cannot be evaluated as a metric");
}

/* *out is to be finished whatever is returned. */
static int eval(struct eval *v, const struct expr *x, struct matrix *out, struct error *e)
{
	int r;

	*out = (struct matrix){0};
	if (v->depth == NODES_DEEP_MAX)
		return error_set(e, ERR_ARG,
			"the query has more than %d operations one within the other: join some of "
			"its selectors",
			NODES_DEEP_MAX);
	v->depth++;
	r = eval_node(v, x, out, e);
	v->depth--;
	return r;
}

/* A comparison of numbers that was not folded is a number too. */
static bool is_scalar(const struct expr *x)
{
	return x->kind == EXPR_CONSTANT && !x->constant.is_vector;
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
		type = is_scalar(root) ? RESULT_SCALAR : RESULT_VECTOR;
	if ((code = eval(&(struct eval){r, &axis, 0}, root, &m, e)) == 0)
		code = matrix_to_result(&m, type, e);
	matrix_fini(&m);
	return code;
}
