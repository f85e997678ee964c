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
 *
 * Records between two neighbouring edges of windows lie in the same windows,
 * which is the bucket that the source is told: what it has counted already of
 * a block inside of one is taken as it is, and no row is looked at.
 */
#include "query/agg.h"

#include <assert.h>
#include <stdlib.h>

#include "record/severity.h"

enum {
	LEVELS = 26, /* none, and severity 0 to 24 */
};

/* What the grouping asks of a row beyond its stream. */
enum { NEEDS_META = 1, NEEDS_LEVEL = 2 };

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
	/* This unit: 1 + tally by stream and level, 0 for not known yet.  What belongs to a stream
	 * is valid when it is marked with the number of the unit: a unit may know of many more
	 * streams than it has. */
	uint32_t *cells, *marks;
	size_t levels; /* cells of a stream: LEVELS, or 1 when no level matters */
	uint8_t *needs;
	size_t unit_cap;
	uint32_t unit;
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

/* The times of a bucket, less first_ns: [from, to). */
struct span {
	__int128 from, to;
};

#define FOREVER ((__int128)1 << 100)

static void set_steps(struct counter *c, struct span span, __int128 lo, __int128 hi)
{
	c->steps_from = clamp(span.from + c->first_ns);
	c->steps_to = clamp(span.to + c->first_ns);
	c->in_window = lo <= hi;
	c->lo = c->in_window ? (size_t)lo : 0;
	c->hi = c->in_window ? (size_t)hi : 0;
}

/* Find lo and hi of time s, and how far around s they stay the same.  Before the first step and
 * behind the last there are no edges. */
static void find_steps(struct counter *c, int64_t s)
{
	__int128 step = c->axis->step_ns, range = c->expr->range_ns;
	__int128 last = (__int128)c->axis->n - 1, since = (__int128)s - c->first_ns;
	__int128 lo = div_floor(since + step - 1, c->axis->step_ns);
	__int128 hi = div_floor(since + range - 1, c->axis->step_ns);
	struct span span;

	if (lo > last || hi < 0) {
		span.from = hi < 0 ? -FOREVER : last * step + 1;
		span.to = hi < 0 ? 1 - range : FOREVER;
		set_steps(c, span, 1, 0);
		return;
	}
	lo = lo < 0 ? 0 : lo;
	hi = hi > last ? last : hi;
	span.from = lo == 0 ? -FOREVER : (lo - 1) * step + 1;
	span.to = lo * step + 1;
	if (hi * step - range + 1 > span.from)
		span.from = hi * step - range + 1;
	if (hi < last && (hi + 1) * step - range + 1 < span.to)
		span.to = (hi + 1) * step - range + 1;
	set_steps(c, span, lo, hi);
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
	uint8_t needs = 0;
	struct str value;

	if (g->kind == GROUP_WITHOUT)
		return NEEDS_META | NEEDS_LEVEL;
	for (size_t i = 0; i < g->n; i++) {
		if (labels_get(labels, g->names[i], &value))
			continue;
		needs |= NEEDS_META;
		if (str_eq_c(g->names[i], "detected_level"))
			needs |= NEEDS_LEVEL;
	}
	return needs;
}

static bool levels_matter(const struct grouping *g)
{
	return needs_of(g, STR_NONE) & NEEDS_LEVEL;
}

static unsigned level_index(bool detected, uint8_t severity)
{
	if (!detected)
		return 0;
	return severity < LEVELS - 1 ? severity + 1u : 1;
}

static const char *level_name(unsigned level)
{
	return level ? severity_level((uint8_t)(level - 1)) : NULL;
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
	r = tally_of(c, rows->streams[stream], meta, level_name(level), out, e);
	if (r < 0)
		return r;
	c->last_valid = true;
	c->last_stream = stream;
	c->last_level = level;
	c->last_meta = meta;
	c->last_tally = *out;
	return 0;
}

static uint8_t stream_needs(struct counter *c, const struct str *streams, uint32_t stream)
{
	if (c->marks[stream] != c->unit) {
		c->marks[stream] = c->unit;
		c->needs[stream] = needs_of(c->grouping, streams[stream]);
		memset(c->cells + stream * c->levels, 0, c->levels * sizeof *c->cells);
	}
	return c->needs[stream];
}

/* Of rows without metadata that matter. */
static int tally_by_level(struct counter *c, const struct str *streams, uint32_t stream,
	unsigned level, uint32_t *out, struct error *e)
{
	uint32_t *cell = &c->cells[stream * c->levels + level];
	int r;

	if (!*cell) {
		r = tally_of(c, streams[stream], STR_NONE, level_name(level), out, e);
		if (r < 0)
			return r;
		*cell = *out + 1;
	}
	*out = *cell - 1;
	return 0;
}

static int row_tally(
	struct counter *c, const struct rows *rows, uint32_t i, uint32_t *out, struct error *e)
{
	uint32_t stream = rows->stream[i];
	uint8_t needs = stream_needs(c, rows->streams, stream);
	unsigned level = 0;

	if (needs & NEEDS_LEVEL)
		level = level_index(rows->flags[i] & RECORD_LEVEL_DETECTED, rows->severity[i]);
	if (c->reads_meta && needs & NEEDS_META && rows->meta[i].n)
		return tally_by_meta(c, rows, i, level, out, e);
	return tally_by_level(c, rows->streams, stream, level, out, e);
}

/* --- rows ----------------------------------------------------------------------------- */

/* To the steps that find_steps found. */
static void tally_more(struct counter *c, uint32_t at, int64_t rows, int64_t bytes)
{
	struct tally *t = &c->tallies[at];

	t->counts[c->lo] += rows;
	t->counts[c->hi + 1] -= rows;
	if (t->bytes) {
		t->bytes[c->lo] += bytes;
		t->bytes[c->hi + 1] -= bytes;
	}
}

static int on_row(struct counter *c, const struct rows *rows, uint32_t i, struct error *e)
{
	int64_t s = rows->timestamp[i];
	uint32_t at = 0;
	int r;

	if (s < c->steps_from || s >= c->steps_to)
		find_steps(c, s);
	if (!c->in_window)
		return run_tick(c->run, e);
	if ((r = reader_keeps(&c->reader, rows, i, NULL, e)) <= 0 ||
		(r = row_tally(c, rows, i, &at, e)) < 0)
		return r;
	tally_more(c, at, 1, c->wants_bytes ? (int64_t)rows->body[i].n : 0);
	return 0;
}

/* Room for this many streams in the tables of a unit. */
static int unit_begin(struct counter *c, size_t n_streams, struct error *e)
{
	size_t cap = c->unit_cap, each = c->levels * sizeof *c->cells + sizeof *c->marks + 1;
	int r;

	c->last_valid = false;
	c->unit++;
	if (n_streams <= cap)
		return 0;
	if ((r = run_charge(c->run, (n_streams - cap) * each, e)) < 0)
		return r;
	c->charged += (n_streams - cap) * each;
	c->unit_cap = n_streams;
	c->cells = xrealloc(c->cells, n_streams * c->levels * sizeof *c->cells);
	c->needs = xrealloc(c->needs, n_streams);
	c->marks = xrealloc(c->marks, n_streams * sizeof *c->marks);
	memset(c->marks + cap, 0, (n_streams - cap) * sizeof *c->marks);
	return 0;
}

static int on_unit(void *ctx, const struct rows *rows, struct error *e)
{
	struct counter *c = ctx;
	int r = unit_begin(c, rows->n_streams, e);

	for (size_t at = 0; at < rows->n && r >= 0; at++)
		r = on_row(c, rows, rows->pick[at], e);
	return r;
}

/* --- what was counted already ---------------------------------------------------------- */

static bool same_bucket(void *ctx, int64_t min_ns, int64_t max_ns)
{
	struct counter *c = ctx;

	if (min_ns < c->steps_from || min_ns >= c->steps_to)
		find_steps(c, min_ns);
	return max_ns < c->steps_to;
}

static int on_count(struct counter *c, const struct row_counts *counts, const struct row_count *x,
	struct error *e)
{
	unsigned level = 0;
	uint32_t at = 0;
	int r;

	if (x->min_ns < c->steps_from || x->min_ns >= c->steps_to)
		find_steps(c, x->min_ns);
	assert(x->max_ns < c->steps_to);
	if (!c->in_window || x->rows == 0)
		return 0;
	if (stream_needs(c, counts->streams, x->stream) & NEEDS_LEVEL)
		level = level_index(x->level_detected, x->severity);
	if ((r = tally_by_level(c, counts->streams, x->stream, level, &at, e)) < 0)
		return r;
	tally_more(c, at, (int64_t)x->rows, (int64_t)x->bytes);
	return 0;
}

static int on_counts(void *ctx, const struct row_counts *counts, struct error *e)
{
	struct counter *c = ctx;
	int r = unit_begin(c, counts->n_streams, e);

	for (size_t i = 0; i < counts->n && r >= 0; i++)
		r = on_count(c, counts, &counts->counts[i], e);
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
	struct plan plan = plan_range(x, axis, grouping, &run->out->arena);
	struct counter c = {
		.run = run,
		.expr = x,
		.axis = axis,
		.grouping = grouping,
		.wants_bytes =
			x->function == RANGE_BYTES_OVER_TIME || x->function == RANGE_BYTES_RATE,
		.reads_meta = plan.columns & SCAN_META,
		.levels = levels_matter(grouping) ? LEVELS : 1,
		.first_ns = plan_add(axis->start_ns, x->offset_ns ? -x->offset_ns : 0),
		.reader = {.run = run,
			.plan = &plan,
			.unit = on_unit,
			.same_bucket = same_bucket,
			.counts = on_counts},
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
	free(c.marks);
	map_fini(&c.index);
	buf_fini(&c.key);
	run_release(run, c.charged);
	return r;
}
