/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sum, min, max, avg, count, stddev, stdvar fold the series of a group into one,
 * step by step, in the order of their labels: so the digits of an answer do not
 * depend on the order of storage.
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

/* What a group keeps at a step besides its value. */
struct aside {
	double n, mean;
};

static bool is_moment(enum vector_function f)
{
	return f == VECTOR_STDDEV || f == VECTOR_STDVAR;
}

static double fold(enum vector_function f, double sofar, struct aside *aside, double v)
{
	bool first = value_is_absent(sofar);
	double apart;

	if (aside)
		aside->n++;
	switch (f) {
	case VECTOR_COUNT: return first ? 1 : sofar + 1;
	case VECTOR_MIN: return first || isnan(sofar) || v < sofar ? v : sofar;
	case VECTOR_MAX: return first || isnan(sofar) || v > sofar ? v : sofar;
	case VECTOR_STDDEV:
	case VECTOR_STDVAR: /* Welford: the squares of distances from the mean */
		apart = v - aside->mean;
		aside->mean += apart / aside->n;
		return (first ? 0 : sofar) + apart * (v - aside->mean);
	default: return first ? v : sofar + v;
	}
}

static double finish(enum vector_function f, double sofar, const struct aside *aside)
{
	switch (f) {
	case VECTOR_AVG:
	case VECTOR_STDVAR: return sofar / aside->n;
	case VECTOR_STDDEV: return sqrt(sofar / aside->n);
	default: return sofar;
	}
}

static int fold_groups(const struct vector_expr *x, const struct matrix *in, struct matrix *out,
	const size_t *group, struct aside *asides, struct error *e)
{
	size_t n = in->axis.n;
	int r;

	for (size_t i = 0; i < in->n; i++) {
		const double *from = in->series[i].values;
		double *to = out->series[group[i]].values;
		struct aside *aside = asides ? asides + group[i] * n : NULL;
		if ((r = run_check(in->run, e)) < 0)
			return r;
		for (size_t k = 0; k < n; k++)
			if (!value_is_absent(from[k]))
				to[k] = fold(x->function, to[k], aside ? &aside[k] : NULL, from[k]);
	}
	for (size_t i = 0; asides && i < out->n; i++)
		for (size_t k = 0; k < n; k++) {
			double *v = &out->series[i].values[k];
			if (!value_is_absent(*v))
				*v = finish(x->function, *v, &asides[i * n + k]);
		}
	return 0;
}

static int fold_vector(const struct vector_expr *x, const struct matrix *in, struct matrix *out,
	size_t *group, struct error *e)
{
	uint64_t bytes;
	struct aside *asides;
	int r;

	if ((r = make_groups(&x->grouping, in, out, group, e)) < 0)
		return r;
	if (x->function != VECTOR_AVG && !is_moment(x->function))
		return fold_groups(x, in, out, group, NULL, e);
	bytes = out->n * out->axis.n * sizeof *asides;
	if ((r = run_charge(in->run, bytes, e)) < 0)
		return r;
	asides = xcalloc(out->n * out->axis.n, sizeof *asides);
	r = fold_groups(x, in, out, group, asides, e);
	free(asides);
	run_release(in->run, bytes);
	return r;
}

static void hand_over(struct matrix *in, struct matrix *out)
{
	matrix_fini(out);
	*out = *in;
	*in = (struct matrix){0};
}

/* A matrix without steps serves to number the groups. */
static int rank_vector(const struct vector_expr *x, struct matrix *in, struct matrix *out,
	size_t *group, struct error *e)
{
	struct axis none = {.step_ns = 1};
	struct matrix groups;
	int r;

	matrix_init(&groups, in->run, &none);
	r = make_groups(&x->grouping, in, &groups, group, e);
	matrix_fini(&groups);
	if (r == 0 && (r = agg_rank(x, in, group, e)) == 0)
		hand_over(in, out);
	return r;
}

int agg_vector(struct run *run, const struct vector_expr *x, struct matrix *in, struct matrix *out,
	struct error *e)
{
	uint64_t bytes = in->n * sizeof(size_t);
	size_t *group;
	int r;

	matrix_init(out, run, &in->axis);
	if (x->function == VECTOR_SORT || x->function == VECTOR_SORT_DESC) {
		agg_sort(in, x->function == VECTOR_SORT_DESC);
		hand_over(in, out);
		return 0;
	}
	if ((r = run_charge(run, bytes, e)) < 0)
		return r;
	group = xmalloc(bytes);
	matrix_sort(in);
	in->ordered = false;
	switch (x->function) {
	case VECTOR_TOPK:
	case VECTOR_BOTTOMK:
	case VECTOR_APPROX_TOPK: r = rank_vector(x, in, out, group, e); break;
	default: r = fold_vector(x, in, out, group, e);
	}
	free(group);
	run_release(run, bytes);
	return r;
}
