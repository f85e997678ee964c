/* SPDX-License-Identifier: Apache-2.0 */
/*
 * count_over_time, rate, bytes_over_time, bytes_rate, absent_over_time.
 *
 * A record at time s lies in the windows (t - range, t] of a run of steps
 * lo..hi.  Instead of adding it to each of them, the difference array of its
 * series gets +1 at lo and -1 behind hi, and one running sum at the end makes
 * the counts.  So a row costs the same however many windows overlap, nothing
 * is sorted, and units may come in any order.
 *
 *   steps      0    1    2    3    4    5
 *   s ────────────┘ └────range───┘
 *   difference      +1             -1
 */
#include <stdlib.h>

#include "query/agg.h"
#include "query/gather.h"

struct tally {
	int64_t *counts; /* differences, axis.n + 1 of them */
	int64_t *bytes;  /* the same of the lines' lengths; NULL when nobody asks */
};

struct counter {
	struct gather gather;
	bool wants_bytes;
	struct tally *tallies; /* by number of the series */
	size_t n, cap;
	uint64_t charged;
};

static size_t array_bytes(const struct counter *c)
{
	return (c->gather.windows.axis.n + 1) * sizeof(int64_t);
}

/* Series are numbered as they turn up. */
static int tally_add(struct counter *c, struct error *e)
{
	size_t array = array_bytes(c);
	uint64_t bytes = array * (c->wants_bytes ? 2 : 1) + 2 * sizeof(struct tally);
	int r;

	if ((r = run_charge(c->gather.run, bytes, e)) < 0)
		return r;
	c->charged += bytes;
	if (c->n == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 16;
		c->tallies = xrealloc(c->tallies, c->cap * sizeof *c->tallies);
	}
	c->tallies[c->n++] = (struct tally){
		.counts = xcalloc(1, array),
		.bytes = c->wants_bytes ? xcalloc(1, array) : NULL,
	};
	return 0;
}

static int tally_more(
	struct counter *c, uint32_t series, int64_t rows, int64_t bytes, struct error *e)
{
	const struct windows *w = &c->gather.windows;
	struct tally *t;
	int r;

	if (series == c->n && (r = tally_add(c, e)) < 0)
		return r;
	t = &c->tallies[series];
	t->counts[w->lo] += rows;
	t->counts[w->hi + 1] -= rows;
	if (t->bytes) {
		t->bytes[w->lo] += bytes;
		t->bytes[w->hi + 1] -= bytes;
	}
	return 0;
}

static int on_sample(void *ctx, uint32_t series, const struct sample *s, struct error *e)
{
	return tally_more(ctx, series, 1, s->bytes, e);
}

static int on_counted(void *ctx, uint32_t series, const struct row_count *x, struct error *e)
{
	return tally_more(ctx, series, (int64_t)x->rows, (int64_t)x->bytes, e);
}

static void sum_up(const struct counter *c, const struct tally *t, double *values)
{
	const struct range_expr *x = c->gather.expr;
	bool per_second = x->function == RANGE_RATE || x->function == RANGE_BYTES_RATE;
	double unit = per_second ? (double)x->range_ns / (double)NS_PER_SEC : 1;
	int64_t count = 0, bytes = 0;

	for (size_t k = 0; k < c->gather.windows.axis.n; k++) {
		count += t->counts[k];
		bytes += t->bytes ? t->bytes[k] : 0;
		if (count)
			values[k] = (double)(t->bytes ? bytes : count) / unit;
	}
}

static void tally_free(struct tally *t)
{
	free(t->counts);
	free(t->bytes);
	*t = (struct tally){0};
}

static int to_matrix(struct counter *c, struct matrix *out, struct error *e)
{
	size_t array = array_bytes(c) * (c->wants_bytes ? 2 : 1), at;
	int r = 0;

	for (size_t i = 0; i < c->n && r == 0; i++) {
		if ((r = matrix_series(out, c->gather.series.keys[i], &at, e)) < 0)
			break;
		sum_up(c, &c->tallies[i], out->series[at].values);
		/* Given back at once, so that no more than one series is held twice. */
		run_release(c->gather.run, array);
		c->charged -= array;
		tally_free(&c->tallies[i]);
	}
	return r;
}

static int count(struct run *run, const struct range_expr *x, const struct axis *axis,
	const struct grouping *grouping, struct matrix *out, struct error *e)
{
	struct counter c = {.wants_bytes = x->function == RANGE_BYTES_OVER_TIME ||
					   x->function == RANGE_BYTES_RATE};
	int r;

	matrix_init(out, run, axis);
	gather_init(&c.gather, run, x, axis, grouping);
	c.gather.ctx = &c;
	c.gather.sample = on_sample;
	c.gather.counted = on_counted;
	if ((r = gather_run(&c.gather, e)) == 0)
		r = to_matrix(&c, out, e);
	gather_fini(&c.gather);
	for (size_t i = 0; i < c.n; i++)
		tally_free(&c.tallies[i]);
	free(c.tallies);
	run_release(run, c.charged);
	return r;
}

/* --- absent_over_time ------------------------------------------------------------------ */

/* What the missing series would be called: as far as equalities say, each name once. */
static int absent_labels(const struct log_expr *log, struct buf *out, struct error *e)
{
	struct labels_builder b = {.names_free = true};
	int r = 0;

	for (size_t i = 0; i < log->n_matchers && r == 0; i++) {
		const struct matcher *m = &log->matchers[i];
		size_t times = 0;
		for (size_t k = 0; k < log->n_matchers; k++)
			times += str_eq(log->matchers[k].name, m->name);
		if (m->op == MATCH_EQUAL && times == 1)
			r = labels_builder_set(&b, m->name, m->value, e);
	}
	labels_builder_write(&b, out);
	labels_builder_fini(&b);
	return r;
}

static int absent(struct run *run, const struct range_expr *x, const struct axis *axis,
	struct matrix *out, struct error *e)
{
	static const struct grouping one = {.kind = GROUP_BY};
	struct matrix there = {0};
	struct buf labels = {0};
	size_t at;
	int r;

	matrix_init(out, run, axis);
	if ((r = count(run, x, axis, &one, &there, e)) == 0 &&
		(r = absent_labels(&x->log, &labels, e)) == 0 &&
		(r = matrix_series(out, buf_view(&labels), &at, e)) == 0)
		for (size_t k = 0; k < axis->n; k++)
			if (there.n == 0 || value_is_absent(there.series[0].values[k]))
				out->series[at].values[k] = 1;
	matrix_fini(&there);
	buf_fini(&labels);
	return r;
}

int agg_range(struct run *run, const struct range_expr *x, const struct axis *axis,
	const struct grouping *grouping, struct matrix *out, struct error *e)
{
	if (x->function == RANGE_ABSENT_OVER_TIME)
		return absent(run, x, axis, out, e);
	if (x->unwrap && x->function != RANGE_COUNT_OVER_TIME)
		return agg_samples(run, x, axis, grouping, out, e);
	return count(run, x, axis, grouping, out, e);
}
