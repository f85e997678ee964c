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
#include "query/collect.h"
#include "query/reading.h"

struct tally {
	int64_t *counts; /* differences, axis.n + 1 of them */
	int64_t *bytes;  /* the same of the lines' lengths; NULL when nobody asks */
};

struct counter {
	struct collection base;
	bool wants_bytes;
	struct tally *tallies; /* by number of the series */
	size_t n, cap;
};

static size_t array_bytes(const struct counter *c)
{
	return (c->base.axis.n + 1) * sizeof(int64_t);
}

/* Series are numbered as they turn up. */
static int tally_add(struct counter *c, struct error *e)
{
	size_t array = array_bytes(c);
	uint64_t bytes = array * (c->wants_bytes ? 2 : 1) + 2 * sizeof(struct tally);
	int r;

	if ((r = collection_charge(&c->base, bytes, e)) < 0)
		return r;
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

/* Numbers of series come one after the other. */
static int tally_of(struct counter *c, uint32_t series, struct tally **out, struct error *e)
{
	int r = series == c->n ? tally_add(c, e) : 0;

	if (r == 0)
		*out = &c->tallies[series];
	return r;
}

static int tally_more(
	struct counter *c, uint32_t series, int64_t rows, int64_t bytes, struct error *e)
{
	const struct windows *w = &c->base.gather.windows;
	struct tally *t = NULL;
	int r = tally_of(c, series, &t, e);

	if (r < 0)
		return r;
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
	const struct range_expr *x = c->base.expr;
	bool per_second = x->function == RANGE_RATE || x->function == RANGE_BYTES_RATE;
	double unit = per_second ? (double)x->range_ns / (double)NS_PER_SEC : 1;
	int64_t count = 0, bytes = 0;

	for (size_t k = 0; k < c->base.axis.n; k++) {
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

static int to_matrix(struct collection *base, struct matrix *out, struct error *e)
{
	struct counter *c = (struct counter *)base;
	size_t array = array_bytes(c) * (c->wants_bytes ? 2 : 1), at;
	int r = 0;

	for (size_t i = 0; i < c->n && r == 0; i++) {
		if ((r = matrix_series(out, base->gather.series.keys[i], &at, e)) < 0)
			break;
		sum_up(c, &c->tallies[i], out->series[at].values);
		/* Given back at once, so that no more than one series is held twice. */
		collection_release(base, array);
		tally_free(&c->tallies[i]);
	}
	return r;
}

static void begin(struct collection *base)
{
	struct counter *c = (struct counter *)base;

	c->wants_bytes = base->expr->function == RANGE_BYTES_OVER_TIME ||
			 base->expr->function == RANGE_BYTES_RATE;
	base->gather.sample = on_sample;
	base->gather.counted = on_counted;
}

static void end(struct collection *base)
{
	struct counter *c = (struct counter *)base;

	for (size_t i = 0; i < c->n; i++)
		tally_free(&c->tallies[i]);
	free(c->tallies);
	c->tallies = NULL;
	c->n = c->cap = 0;
}

/* Where the differences are not 0: how far behind the one before, rows, bytes. */
static void write_series(struct collection *base, uint32_t series, struct buf *out)
{
	struct counter *c = (struct counter *)base;
	const struct tally *t;
	size_t last = 0;

	if (series >= c->n)
		return;
	t = &c->tallies[series];
	for (size_t k = 0; k <= base->axis.n; k++) {
		if (t->counts[k] == 0 && (!t->bytes || t->bytes[k] == 0))
			continue;
		varint_put(out, k - last);
		varint_put(out, zigzag(t->counts[k]));
		if (t->bytes)
			varint_put(out, zigzag(t->bytes[k]));
		last = k;
	}
}

static int merge_series(
	struct collection *base, uint32_t series, struct str bytes, size_t store, struct error *e)
{
	struct counter *c = (struct counter *)base;
	struct reading in = {.rest = bytes};
	struct tally *t = NULL;
	uint64_t k = 0;
	int r = tally_of(c, series, &t, e);

	(void)store;
	while (r == 0 && in.rest.n && !in.bad) {
		uint64_t step = take_varint(&in);
		int64_t rows = unzigzag(take_varint(&in));
		int64_t more = t->bytes ? unzigzag(take_varint(&in)) : 0;

		if (in.bad || step > base->axis.n - k)
			return ERR_CORRUPT;
		k += step;
		/* What nobody counted may not end the process. */
		t->counts[k] = (int64_t)((uint64_t)t->counts[k] + (uint64_t)rows);
		if (t->bytes)
			t->bytes[k] = (int64_t)((uint64_t)t->bytes[k] + (uint64_t)more);
	}
	return r == 0 && in.bad ? ERR_CORRUPT : r;
}

const struct collection_type collection_tallies = {
	sizeof(struct counter), begin, end, to_matrix, write_series, merge_series};

static int aggregate(struct run *run, const struct range_expr *x, const struct axis *axis,
	const struct grouping *grouping, struct matrix *out, struct error *e)
{
	struct collection *c;
	int r;

	matrix_init(out, run, axis);
	if ((r = collection_new(&c, run, x, axis, grouping, e)) < 0)
		return r;
	if ((r = collection_gather(c, e)) == 0)
		r = c->type->to_matrix(c, out, e);
	collection_free(c);
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
	if ((r = aggregate(run, x, axis, &one, &there, e)) == 0 &&
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
	return aggregate(run, x, axis, grouping, out, e);
}
