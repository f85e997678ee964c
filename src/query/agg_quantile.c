/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quantile_over_time, exactly, as Prometheus interpolates.
 *
 * All values of the series are ranked once.  A window is then a set of ranks,
 * kept in a Fenwick tree: a sample enters it once, leaves it once, and the
 * value of any position is found on the way down the tree.
 */
#include "query/agg.h"

#include <math.h>
#include <stdlib.h>

/* Ranks are 1..n; tree[i] counts the ranks in (i - lowbit(i), i]. */
struct ranks {
	double *values; /* ascending, what is no number first */
	uint32_t *rank; /* by cell */
	uint32_t *tree;
	uint32_t n, top; /* top: the largest power of two <= n */
	uint32_t inside; /* the window */
};

struct ranked {
	double value;
	uint32_t cell;
};

static int by_value(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (isnan(x->value) || isnan(y->value))
		return (int)isnan(y->value) - (int)isnan(x->value);
	return x->value < y->value ? -1 : x->value > y->value;
}

static void ranks_init(struct ranks *x, const struct cells *cells)
{
	uint32_t n = (uint32_t)cells->n;
	struct ranked *order = xmalloc(n * sizeof *order);

	for (uint32_t i = 0; i < n; i++)
		order[i] = (struct ranked){cell_at(cells, i)->w[0].d, i};
	qsort(order, n, sizeof *order, by_value);
	*x = (struct ranks){
		.values = xmalloc(n * sizeof *x->values),
		.rank = xmalloc(n * sizeof *x->rank),
		.tree = xcalloc((size_t)n + 1, sizeof *x->tree),
		.n = n,
		.top = 1,
	};
	for (uint32_t i = 0; i < n; i++) {
		x->values[i] = order[i].value;
		x->rank[order[i].cell] = i + 1;
	}
	while (x->top <= n / 2)
		x->top *= 2;
	free(order);
}

static void ranks_fini(struct ranks *x)
{
	free(x->values);
	free(x->rank);
	free(x->tree);
}

static void ranks_count(struct ranks *x, size_t cell, uint32_t by)
{
	for (uint32_t i = x->rank[cell]; i <= x->n; i += i & -i)
		x->tree[i] += by; /* modulo 2^32 */
	x->inside += by;
}

/* The value with `position` smaller ones in the window. */
static double ranks_value(const struct ranks *x, uint32_t position)
{
	uint32_t at = 0;

	for (uint32_t half = x->top; half; half /= 2)
		if (half <= x->n - at && x->tree[at + half] <= position) {
			at += half;
			position -= x->tree[at];
		}
	return x->values[at];
}

static double quantile_of(const struct ranks *x, double q)
{
	double rank, weight, lower, upper;

	if (isnan(q))
		return (double)NAN;
	if (q < 0 || q > 1)
		return q < 0 ? -(double)INFINITY : (double)INFINITY;
	rank = q * (x->inside - 1.0);
	weight = rank - floor(rank);
	lower = ranks_value(x, (uint32_t)rank);
	upper = (uint32_t)rank + 1 < x->inside ? ranks_value(x, (uint32_t)rank + 1) : lower;
	return lower * (1 - weight) + upper * weight;
}

int agg_quantile(struct run *r, const struct windows *w, double quantile, const struct cells *cells,
	double *values, struct error *e)
{
	uint64_t each = sizeof(double) + 2 * sizeof(uint32_t) + sizeof(struct ranked);
	uint64_t bytes = (cells->n + 1) * each;
	struct ranks ranks;
	size_t in = 0, out = 0;
	int code;

	if (cells->n >= UINT32_MAX / 2)
		return run_over_budget(r, e);
	if ((code = run_charge(r, bytes, e)) < 0)
		return code;
	ranks_init(&ranks, cells);
	for (size_t k = 0; k < w->axis.n; k++) {
		struct slots s = window_slots(w, k);
		while (in < cells->n && cell_at(cells, in)->slot <= s.last)
			ranks_count(&ranks, in++, 1);
		while (out < in && cell_at(cells, out)->slot < s.first)
			ranks_count(&ranks, out++, UINT32_MAX);
		if (ranks.inside)
			values[k] = quantile_of(&ranks, quantile);
	}
	ranks_fini(&ranks);
	run_release(r, bytes);
	return 0;
}
