/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rate_counter: the values are those of a counter, which falls only when it
 * begins anew.  As Prometheus's rate(): what it grew by between the first and
 * the last sample of the window, stretched to the whole window as far as the
 * distances of the samples allow, per second.  A window with one sample tells
 * no growth.  Source: prometheus.io/docs/prometheus/latest/querying/functions.
 *
 * What the counter grew by is summed up from the beginning of the series once;
 * a window is a difference of two such sums.
 */
#include <stdlib.h>

#include "query/agg.h"
#include "query/exact.h"

static double seconds_between(int64_t from, int64_t to)
{
	return (double)((__int128)to - from) / (double)NS_PER_SEC;
}

static double value_at(const struct cells *c, size_t i)
{
	return cell_at(c, i)->w[2].d;
}

/* sums[i]: the growth from cell 0 to cell i. */
static void sum_growth(const struct cells *c, struct exact *sums)
{
	sums[0] = (struct exact){0, 0};
	for (size_t i = 1; i < c->n; i++) {
		double v = value_at(c, i), before = value_at(c, i - 1);
		sums[i] = exact_add(
			sums[i - 1], v < before ? (struct exact){v, 0} : exact_sum(v, -before));
	}
}

/* How far the growth is stretched beyond the samples, to an edge of the window that is so far. */
static double stretch(double edge, double between)
{
	return edge >= between * 1.1 ? between / 2 : edge;
}

/* Of the samples [from, to), at least two. */
static double counter_rate(const struct windows *w, size_t k, const struct cells *c, double growth,
	size_t from, size_t to)
{
	int64_t first = cell_at(c, from)->w[0].i, last = cell_at(c, to - 1)->w[0].i;
	int64_t end = window_end(w, k);
	double range = (double)w->range_ns / (double)NS_PER_SEC;
	double sampled = seconds_between(first, last), value = value_at(c, from);
	double between = sampled / (double)(to - from - 1);
	double head = range - seconds_between(first, end), tail = seconds_between(last, end);

	if (sampled == 0)
		return growth / range;
	head = stretch(head, between);
	/* The counter cannot have been below zero. */
	if (growth > 0 && value >= 0 && sampled * (value / growth) < head)
		head = sampled * (value / growth);
	tail = stretch(tail, between);
	return growth * ((sampled + head + tail) / sampled) / range;
}

int agg_counter(struct run *r, const struct windows *w, const struct cells *cells, double *values,
	struct error *e)
{
	uint64_t bytes = cells->n * sizeof(struct exact);
	size_t in = 0, out = 0;
	struct exact *sums;
	int code;

	if (cells->n == 0)
		return 0;
	if ((code = run_charge(r, bytes, e)) < 0)
		return code;
	sums = xmalloc(bytes);
	sum_growth(cells, sums);
	for (size_t k = 0; k < w->axis.n; k++) {
		struct slots s = window_slots(w, k);
		while (in < cells->n && cell_at(cells, in)->slot <= s.last)
			in++;
		while (out < in && cell_at(cells, out)->slot < s.first)
			out++;
		if (in - out < 2)
			continue;
		values[k] = counter_rate(
			w, k, cells, exact_add(sums[in - 1], exact_negate(sums[out])).hi, out, in);
	}
	free(sums);
	run_release(r, bytes);
	return 0;
}
