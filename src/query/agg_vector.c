/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sum, min, max, avg, count fold the series of a group into one, step by step;
 * topk and bottomk leave the series as they are and take away, at each step,
 * what is not among the k.  Equal values are taken in the order of labels, so
 * that an answer does not depend on the order of storage.
 */
#include "query/agg.h"

#include <math.h>
#include <stdlib.h>

/* The groups of `in`: the index of each series' group among the series of `out`. */
static int make_groups(const struct grouping *g, const struct matrix *in, struct matrix *out,
	size_t *group, struct error *e)
{
	struct buf key = {0};
	int r = 0;

	for (size_t i = 0; i < in->n && r == 0; i++) {
		buf_clear(&key);
		grouping_project(g, in->series[i].labels, STR_NONE, NULL, &key);
		r = matrix_series(out, buf_view(&key), &group[i], e);
	}
	buf_fini(&key);
	return r;
}

static double fold(enum vector_function f, double sofar, double v)
{
	bool first = value_is_absent(sofar);

	switch (f) {
	case VECTOR_COUNT: return first ? 1 : sofar + 1;
	case VECTOR_MIN: return first || isnan(sofar) || v < sofar ? v : sofar;
	case VECTOR_MAX: return first || isnan(sofar) || v > sofar ? v : sofar;
	default: return first ? v : sofar + v;
	}
}

static int fold_groups(const struct vector_expr *x, const struct matrix *in, struct matrix *out,
	const size_t *group, double *counts, struct error *e)
{
	int r;

	for (size_t i = 0; i < in->n; i++) {
		const double *from = in->series[i].values;
		double *to = out->series[group[i]].values;
		if ((r = run_check(in->run, e)) < 0)
			return r;
		for (size_t k = 0; k < in->axis.n; k++) {
			if (value_is_absent(from[k]))
				continue;
			to[k] = fold(x->function, to[k], from[k]);
			if (counts)
				counts[group[i] * in->axis.n + k]++;
		}
	}
	for (size_t i = 0; counts && i < out->n; i++)
		for (size_t k = 0; k < out->axis.n; k++)
			if (!value_is_absent(out->series[i].values[k]))
				out->series[i].values[k] /= counts[i * out->axis.n + k];
	return 0;
}

static int fold_vector(const struct vector_expr *x, const struct matrix *in, struct matrix *out,
	size_t *group, struct error *e)
{
	uint64_t bytes;
	double *counts = NULL;
	int r;

	if ((r = make_groups(&x->grouping, in, out, group, e)) < 0)
		return r;
	if (x->function != VECTOR_AVG)
		return fold_groups(x, in, out, group, NULL, e);
	bytes = out->n * out->axis.n * sizeof *counts;
	if ((r = run_charge(in->run, bytes, e)) < 0)
		return r;
	counts = xcalloc(out->n * out->axis.n, sizeof *counts);
	r = fold_groups(x, in, out, group, counts, e);
	free(counts);
	run_release(in->run, bytes);
	return r;
}

struct candidate {
	size_t group, series;
	double value; /* turned round for bottomk: greater is better */
};

/* By group, then the best first; what is no number comes last. */
static int by_rank(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	if (isnan(x->value) != isnan(y->value))
		return isnan(x->value) ? 1 : -1;
	if (x->value != y->value && !isnan(x->value))
		return x->value > y->value ? -1 : 1;
	return x->series < y->series ? -1 : x->series > y->series;
}

static void rank_step(const struct vector_expr *x, struct matrix *in, const size_t *group,
	struct candidate *list, size_t k)
{
	size_t n = 0;
	uint64_t rank = 0;

	for (size_t i = 0; i < in->n; i++) {
		double v = in->series[i].values[k];
		if (!value_is_absent(v))
			list[n++] = (struct candidate){
				group[i], i, x->function == VECTOR_TOPK ? v : -v};
	}
	qsort(list, n, sizeof *list, by_rank);
	for (size_t i = 0; i < n; i++) {
		rank = i && list[i].group == list[i - 1].group ? rank + 1 : 0;
		if (rank >= x->k)
			in->series[list[i].series].values[k] = value_absent();
	}
}

/* `in` becomes the answer; *out serves to number the groups first. */
static int rank_vector(const struct vector_expr *x, struct matrix *in, struct matrix *out,
	size_t *group, struct error *e)
{
	uint64_t bytes = in->n * sizeof(struct candidate);
	struct candidate *list;
	struct axis none = {.step_ns = 1};
	struct matrix groups;
	int r;

	matrix_sort(in);
	matrix_init(&groups, in->run, &none);
	r = make_groups(&x->grouping, in, &groups, group, e);
	matrix_fini(&groups);
	if (r < 0 || (r = run_charge(in->run, bytes, e)) < 0)
		return r;
	list = xmalloc(bytes);
	for (size_t k = 0; k < in->axis.n && r == 0; k++) {
		rank_step(x, in, group, list, k);
		r = run_check(in->run, e);
	}
	free(list);
	run_release(in->run, bytes);
	if (r < 0)
		return r;
	matrix_fini(out);
	*out = *in;
	*in = (struct matrix){0};
	return 0;
}

int agg_vector(struct run *run, const struct vector_expr *x, struct matrix *in, struct matrix *out,
	struct error *e)
{
	uint64_t bytes = in->n * sizeof(size_t);
	size_t *group;
	int r;

	matrix_init(out, run, &in->axis);
	if ((r = run_charge(run, bytes, e)) < 0)
		return r;
	group = xmalloc(bytes);
	if (x->function == VECTOR_TOPK || x->function == VECTOR_BOTTOMK)
		r = rank_vector(x, in, out, group, e);
	else
		r = fold_vector(x, in, out, group, e);
	free(group);
	run_release(run, bytes);
	return r;
}
