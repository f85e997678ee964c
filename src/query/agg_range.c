/* SPDX-License-Identifier: Apache-2.0 */
/*
 * count_over_time, rate, bytes_over_time, bytes_rate.
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
 *
 * Which series a row belongs to depends on its stream and its level in most
 * units, so that the answer is a table look-up; only rows with metadata that
 * the grouping looks at need their key made.
 */
#include "query/agg.h"

#include <stdlib.h>

enum {
	LEVELS = 26, /* none, and severity 0 to 24 */
};

/* What the grouping asks of a row beyond its stream. */
enum { NEEDS_KNOWN = 1, NEEDS_META = 2, NEEDS_LEVEL = 4 };

struct tally {
	struct str key;  /* owned */
	int64_t *counts; /* differences, axis.n + 1 of them */
	int64_t *bytes;  /* the same of the lines' lengths; NULL when nobody asks */
};

struct counter {
	struct reader reader;
	struct run *run;
	const struct range_expr *expr;
	const struct axis *axis;
	const struct grouping *grouping;
	bool wants_bytes, reads_meta;
	int64_t first_ns; /* of the axis, less the offset */
	struct tally *tallies;
	size_t n, cap;
	struct map index; /* key to tally */
	uint64_t charged;
	struct buf key;
	/* This unit: 1 + tally by stream and level, 0 for not known yet; needs by stream. */
	uint32_t *cells;
	uint8_t *needs;
	size_t unit_cap;
	/* The last row whose metadata mattered. */
	struct str last_meta;
	uint32_t last_stream, last_tally;
	unsigned last_level;
	bool last_valid;
	/* The steps lo..hi of any time in [steps_from, steps_to). */
	int64_t steps_from, steps_to;
	size_t lo, hi;
	bool in_window;
};

/* --- time ----------------------------------------------------------------------------- */

static __int128 div_floor(__int128 a, int64_t b)
{
	__int128 q = a / b;

	return q * b > a ? q - 1 : q;
}

static int64_t clamp(__int128 v)
{
	return v > INT64_MAX ? INT64_MAX : v < INT64_MIN ? INT64_MIN : (int64_t)v;
}

/* Find lo and hi of time s, and how far around s they stay the same. */
static void find_steps(struct counter *c, int64_t s)
{
	int64_t step = c->axis->step_ns;
	__int128 since = (__int128)s - c->first_ns;
	__int128 lo = div_floor(since + step - 1, step);
	__int128 hi = div_floor(since + c->expr->range_ns - 1, step);
	__int128 from = (lo - 1) * step + 1, to = lo * step + 1;
	__int128 hi_from = hi * step - c->expr->range_ns + 1;

	from = hi_from > from ? hi_from : from;
	to = hi_from + step < to ? hi_from + step : to;
	c->steps_from = clamp(from + c->first_ns);
	c->steps_to = clamp(to + c->first_ns);
	lo = lo < 0 ? 0 : lo;
	hi = hi >= (__int128)c->axis->n ? (__int128)c->axis->n - 1 : hi;
	c->in_window = lo <= hi;
	c->lo = c->in_window ? (size_t)lo : 0;
	c->hi = c->in_window ? (size_t)hi : 0;
}

/* --- series --------------------------------------------------------------------------- */

static int tally_add(struct counter *c, uint32_t *out, struct error *e)
{
	size_t array = (c->axis->n + 1) * sizeof(int64_t);
	uint64_t bytes = array * (c->wants_bytes ? 2 : 1) + 2 * c->key.n + 160;
	struct tally *t;
	int r;

	if (c->n == UINT32_MAX - 1)
		return run_over_budget(c->run, e);
	if ((r = run_charge(c->run, bytes, e)) < 0)
		return r;
	c->charged += bytes;
	if (c->n == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 16;
		c->tallies = xrealloc(c->tallies, c->cap * sizeof *c->tallies);
	}
	*out = (uint32_t)c->n;
	t = &c->tallies[c->n++];
	*t = (struct tally){
		.key = str_make(str_dup(buf_view(&c->key)), c->key.n),
		.counts = xcalloc(1, array),
		.bytes = c->wants_bytes ? xcalloc(1, array) : NULL,
	};
	map_put(&c->index, t->key, NULL)->u = *out;
	return 0;
}

static int tally_of(struct counter *c, struct str labels, struct str meta, const char *level,
	uint32_t *out, struct error *e)
{
	const union map_value *known;

	buf_clear(&c->key);
	grouping_project(c->grouping, labels, meta, level, &c->key);
	if (!(known = map_get(&c->index, buf_view(&c->key))))
		return tally_add(c, out, e);
	*out = (uint32_t)known->u;
	return 0;
}

static uint8_t needs_of(const struct grouping *g, struct str labels)
{
	uint8_t needs = NEEDS_KNOWN;
	struct str value;

	if (g->kind == GROUP_WITHOUT)
		return NEEDS_KNOWN | NEEDS_META | NEEDS_LEVEL;
	for (size_t i = 0; i < g->n; i++) {
		if (labels_get(labels, g->names[i], &value))
			continue;
		needs |= NEEDS_META;
		if (str_eq_c(g->names[i], "detected_level"))
			needs |= NEEDS_LEVEL;
	}
	return needs;
}

static unsigned level_index(const struct rows *rows, uint32_t i)
{
	if (!(rows->flags[i] & RECORD_LEVEL_DETECTED))
		return 0;
	return rows->severity[i] < LEVELS - 1 ? rows->severity[i] + 1u : 1;
}

/* Of a row whose metadata the grouping looks at. */
static int tally_by_meta(struct counter *c, const struct rows *rows, uint32_t i, unsigned level,
	uint32_t *out, struct error *e)
{
	uint32_t stream = rows->stream[i];
	struct str meta = rows->meta[i];
	int r;

	if (c->last_valid && c->last_stream == stream && c->last_level == level &&
		c->last_meta.p == meta.p && c->last_meta.n == meta.n) {
		*out = c->last_tally;
		return 0;
	}
	r = tally_of(c, rows->streams[stream], meta, level ? reader_level(rows, i) : NULL, out, e);
	if (r < 0)
		return r;
	c->last_valid = true;
	c->last_stream = stream;
	c->last_level = level;
	c->last_meta = meta;
	c->last_tally = *out;
	return 0;
}

static int row_tally(
	struct counter *c, const struct rows *rows, uint32_t i, uint32_t *out, struct error *e)
{
	uint32_t stream = rows->stream[i], *cell;
	uint8_t *needs = &c->needs[stream];
	unsigned level = 0;
	int r;

	if (!*needs)
		*needs = needs_of(c->grouping, rows->streams[stream]);
	if (*needs & NEEDS_LEVEL)
		level = level_index(rows, i);
	if (c->reads_meta && *needs & NEEDS_META && rows->meta[i].n)
		return tally_by_meta(c, rows, i, level, out, e);
	cell = &c->cells[(size_t)stream * LEVELS + level];
	if (!*cell) {
		const char *name = level ? reader_level(rows, i) : NULL;
		if ((r = tally_of(c, rows->streams[stream], STR_NONE, name, out, e)) < 0)
			return r;
		*cell = *out + 1;
	}
	*out = *cell - 1;
	return 0;
}

/* --- rows ----------------------------------------------------------------------------- */

static int on_row(struct counter *c, const struct rows *rows, uint32_t i, struct error *e)
{
	int64_t s = rows->timestamp[i];
	uint32_t at;
	int r;

	if (s < c->steps_from || s >= c->steps_to)
		find_steps(c, s);
	if (!c->in_window)
		return run_tick(c->run, e);
	if ((r = reader_keeps(&c->reader, rows, i, e)) <= 0 ||
		(r = row_tally(c, rows, i, &at, e)) < 0)
		return r;
	c->tallies[at].counts[c->lo]++;
	c->tallies[at].counts[c->hi + 1]--;
	if (c->wants_bytes) {
		c->tallies[at].bytes[c->lo] += (int64_t)rows->body[i].n;
		c->tallies[at].bytes[c->hi + 1] -= (int64_t)rows->body[i].n;
	}
	return 0;
}

static int on_unit(void *ctx, const struct rows *rows, struct error *e)
{
	struct counter *c = ctx;
	int r = 0;

	if (rows->n_streams > c->unit_cap) {
		uint64_t more = (rows->n_streams - c->unit_cap) * (LEVELS * sizeof *c->cells + 1);
		if ((r = run_charge(c->run, more, e)) < 0)
			return r;
		c->charged += more;
		c->unit_cap = rows->n_streams;
		c->cells = xrealloc(c->cells, c->unit_cap * LEVELS * sizeof *c->cells);
		c->needs = xrealloc(c->needs, c->unit_cap);
	}
	if (rows->n_streams) {
		memset(c->cells, 0, rows->n_streams * LEVELS * sizeof *c->cells);
		memset(c->needs, 0, rows->n_streams);
	}
	c->last_valid = false;
	for (size_t at = 0; at < rows->n && r >= 0; at++)
		r = on_row(c, rows, rows->pick[at], e);
	return r;
}

/* --- the sums ------------------------------------------------------------------------- */

static void sum_up(const struct counter *c, const struct tally *t, double *values)
{
	bool per_second = c->expr->function == RANGE_RATE || c->expr->function == RANGE_BYTES_RATE;
	double unit = per_second ? (double)c->expr->range_ns / (double)NS_PER_SEC : 1;
	int64_t count = 0, bytes = 0;

	for (size_t k = 0; k < c->axis->n; k++) {
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
	free((void *)t->key.p);
	*t = (struct tally){0};
}

static int to_matrix(struct counter *c, struct matrix *out, struct error *e)
{
	size_t array = (c->axis->n + 1) * sizeof(int64_t);
	int r = 0;

	for (size_t i = 0; i < c->n && r == 0; i++) {
		size_t at;
		if ((r = matrix_series(out, c->tallies[i].key, &at, e)) < 0)
			break;
		sum_up(c, &c->tallies[i], out->series[at].values);
		/* Given back at once, so that no more than one series is held twice. */
		run_release(c->run, array * (c->wants_bytes ? 2 : 1));
		c->charged -= array * (c->wants_bytes ? 2 : 1);
		tally_free(&c->tallies[i]);
	}
	return r;
}

int agg_range(struct run *run, const struct range_expr *x, const struct axis *axis,
	const struct grouping *grouping, struct matrix *out, struct error *e)
{
	struct plan plan = plan_range(x, axis, grouping);
	struct counter c = {
		.run = run,
		.expr = x,
		.axis = axis,
		.grouping = grouping,
		.wants_bytes =
			x->function == RANGE_BYTES_OVER_TIME || x->function == RANGE_BYTES_RATE,
		.reads_meta = plan.columns & SCAN_META,
		.first_ns = plan_add(axis->start_ns, x->offset_ns ? -x->offset_ns : 0),
		.reader = {.run = run, .plan = &plan, .unit = on_unit},
	};
	int r = 0;

	matrix_init(out, run, axis);
	c.reader.ctx = &c;
	if (axis->n && (r = reader_run(&c.reader, e)) == 0)
		r = to_matrix(&c, out, e);
	for (size_t i = 0; i < c.n; i++)
		tally_free(&c.tallies[i]);
	free(c.tallies);
	free(c.cells);
	free(c.needs);
	map_fini(&c.index);
	buf_fini(&c.key);
	run_release(run, c.charged);
	return r;
}
