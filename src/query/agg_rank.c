/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topk, bottomk and approx_topk leave the series as they are and take away, at
 * each step, what is not among the k.  Equal values are taken in the order of
 * labels, so that an answer does not depend on the order of storage.
 */
#include <math.h>
#include <stdlib.h>

#include "query/agg.h"

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
				group[i], i, x->function == VECTOR_BOTTOMK ? -v : v};
	}
	qsort(list, n, sizeof *list, by_rank);
	for (size_t i = 0; i < n; i++) {
		rank = i && list[i].group == list[i - 1].group ? rank + 1 : 0;
		if (rank >= x->k)
			in->series[list[i].series].values[k] = value_absent();
	}
}

int agg_rank(const struct vector_expr *x, struct matrix *in, const size_t *group, struct error *e)
{
	uint64_t bytes = in->n * sizeof(struct candidate);
	struct candidate *list;
	int r;

	if ((r = run_charge(in->run, bytes, e)) < 0)
		return r;
	list = xmalloc(bytes);
	for (size_t k = 0; k < in->axis.n && r == 0; k++) {
		rank_step(x, in, group, list, k);
		r = run_check(in->run, e);
	}
	free(list);
	run_release(in->run, bytes);
	return r;
}

/* What is no number, or not there, comes last whichever way. */
static int compare(const struct matrix_series *a, const struct matrix_series *b, bool descending)
{
	double x = a->values[0], y = b->values[0];

	if (isnan(x) != isnan(y))
		return isnan(x) ? 1 : -1;
	if (x == y || isnan(x))
		return labels_order(a->labels, b->labels);
	return (x < y) == descending ? 1 : -1;
}

static int ascending(const void *a, const void *b)
{
	return compare(a, b, false);
}

static int descending_order(const void *a, const void *b)
{
	return compare(a, b, true);
}

void agg_sort(struct matrix *m, bool descending)
{
	if (!m->axis.instant)
		return;
	if (m->n)
		qsort(m->series, m->n, sizeof *m->series,
			descending ? descending_order : ascending);
	m->ordered = true;
}
