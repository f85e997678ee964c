/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the records, mostly over their counts.  Each row belongs to one
 * series: the labels of its stream that were asked for, with its level when
 * that is one of them.  Which series that is depends on stream and level alone,
 * so that within a unit it is a table look-up.
 *
 * Volumes by name are folded out of the series at the end: a stream counts for
 * each of its labels, so that they do not add up to the total.
 */
#include "query/volume.h"

#include <stdlib.h>

#include "codec/codec.h"
#include "query/run.h"
#include "query/source.h"
#include "record/severity.h"

enum { LEVELS = 26 /* none, and severity 0 to 24 */ };

struct series {
	struct str key; /* canonical labels; owned */
	uint64_t rows, bytes;
	uint64_t *samples; /* bytes by step; NULL when not asked for */
};

struct counter {
	struct reader reader;
	struct run *run;
	const struct volume_params *params;
	struct volume_totals totals;
	struct grouping grouping;
	size_t levels; /* cells of a stream: LEVELS, or 1 when no level is asked for */
	int64_t first_ns;
	size_t n_steps;
	struct series *series;
	size_t n, cap;
	struct map index;
	uint64_t charged;
	struct buf key;
	/* This unit: 1 + series by stream and level, 0 for not known yet; of a stream valid where
	 * it is marked with the number of the unit. */
	uint32_t *cells, *marks;
	size_t unit_cap;
	uint32_t unit;
};

static int charge(struct counter *c, uint64_t n, struct error *e)
{
	int r = run_charge(c->run, n, e);

	if (r == 0)
		c->charged += n;
	return r;
}

/* --- series --------------------------------------------------------------------------- */

static int series_of(struct counter *c, struct str key, uint32_t *out, struct error *e)
{
	const union map_value *known = map_get(&c->index, key);
	size_t steps = c->n_steps * sizeof(uint64_t);
	struct series *s;
	int r;

	if (known) {
		*out = (uint32_t)known->u;
		return 0;
	}
	if ((r = charge(c, steps + 3 * key.n + 2 * sizeof *s + 128, e)) < 0)
		return r;
	if (c->n == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 64;
		c->series = xrealloc(c->series, c->cap * sizeof *c->series);
	}
	*out = (uint32_t)c->n;
	map_put(&c->index, key, NULL)->u = c->n;
	s = &c->series[c->n++];
	*s = (struct series){
		.key = str_make(str_dup(key), key.n), .samples = steps ? xcalloc(1, steps) : NULL};
	return 0;
}

static size_t level_index(const struct counter *c, bool detected, uint8_t severity)
{
	if (c->levels == 1 || !detected)
		return 0;
	return severity < LEVELS - 1 ? severity + 1u : 1;
}

/* The series of the rows of a stream with a level. */
static int find_series(struct counter *c, const struct str *streams, uint32_t stream, size_t level,
	uint32_t *out, struct error *e)
{
	uint32_t *cell = &c->cells[stream * c->levels + level];
	int r;

	if (c->marks[stream] != c->unit) {
		c->marks[stream] = c->unit;
		memset(c->cells + stream * c->levels, 0, c->levels * sizeof *c->cells);
	}
	if (!*cell) {
		buf_clear(&c->key);
		grouping_project(&c->grouping, streams[stream], STR_NONE,
			level ? severity_level((uint8_t)(level - 1)) : NULL, &c->key);
		if ((r = series_of(c, buf_view(&c->key), out, e)) < 0)
			return r;
		*cell = *out + 1;
	}
	*out = *cell - 1;
	return 0;
}

static int unit_begin(struct counter *c, size_t n_streams, struct error *e)
{
	size_t cap = c->unit_cap, each = c->levels * sizeof *c->cells + sizeof *c->marks;
	int r;

	c->unit++;
	c->totals.units++;
	if (n_streams <= cap)
		return 0;
	if ((r = charge(c, (n_streams - cap) * each, e)) < 0)
		return r;
	c->unit_cap = n_streams;
	c->cells = xrealloc(c->cells, n_streams * c->levels * sizeof *c->cells);
	c->marks = xrealloc(c->marks, n_streams * sizeof *c->marks);
	memset(c->marks + cap, 0, (n_streams - cap) * sizeof *c->marks);
	return 0;
}

/* --- counting ------------------------------------------------------------------------- */

static size_t step_of(const struct counter *c, int64_t time)
{
	return (size_t)(((uint64_t)time - (uint64_t)c->first_ns) /
			(uint64_t)c->params->query.step_ns);
}

static void take(struct counter *c, uint32_t at, int64_t time, uint64_t rows, uint64_t bytes)
{
	struct series *s = &c->series[at];

	c->totals.rows += rows;
	c->totals.bytes += bytes;
	s->rows += rows;
	s->bytes += bytes;
	if (s->samples)
		s->samples[step_of(c, time)] += bytes;
}

static int on_unit(void *ctx, const struct rows *rows, struct error *e)
{
	struct counter *c = ctx;
	int r = unit_begin(c, rows->n_streams, e);

	for (size_t at = 0; at < rows->n && r >= 0; at++) {
		uint32_t i = rows->pick[at], series = 0;
		size_t level =
			level_index(c, rows->flags[i] & RECORD_LEVEL_DETECTED, rows->severity[i]);
		if ((r = reader_keeps(&c->reader, rows, i, NULL, e)) > 0 &&
			(r = find_series(c, rows->streams, rows->stream[i], level, &series, e)) >=
				0)
			take(c, series, rows->timestamp[i], 1, rows->body[i].n);
	}
	return r < 0 ? r : 0;
}

static bool same_bucket(void *ctx, int64_t min_ns, int64_t max_ns)
{
	const struct counter *c = ctx;

	return c->n_steps == 0 || step_of(c, min_ns) == step_of(c, max_ns);
}

static struct scan_buckets buckets(const struct counter *c)
{
	struct scan_buckets b = {.known = true};

	if (c->n_steps == 0)
		return b;
	b.step_ns = c->params->query.step_ns;
	b.edges[0] = c->first_ns % b.step_ns;
	b.edges[0] += b.edges[0] < 0 ? b.step_ns : 0;
	b.edges[1] = b.edges[0];
	return b;
}

static int on_counts(void *ctx, const struct row_counts *counts, struct error *e)
{
	struct counter *c = ctx;
	int r = unit_begin(c, counts->n_streams, e);

	for (size_t i = 0; i < counts->n && r >= 0; i++) {
		const struct row_count *x = &counts->counts[i];
		uint32_t series = 0;
		if (x->rows == 0)
			continue;
		r = find_series(c, counts->streams, x->stream,
			level_index(c, x->level_detected, x->severity), &series, e);
		if (r == 0)
			take(c, series, x->min_ns, x->rows, x->bytes);
	}
	return r;
}

/* --- what is asked for ---------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* The names to group by, sorted, each once; without any, whole streams. */
static void choose_names(struct counter *c, const struct log_expr *log)
{
	const struct volume_params *p = c->params;
	struct arena *a = &c->run->out->arena;
	size_t given = p->n_names ? p->n_names : log->n_matchers, n = 0;
	struct str *names;

	c->levels = 1;
	c->grouping = (struct grouping){.kind = GROUP_WITHOUT};
	if (p->by == VOLUME_TOTAL || given == 0)
		return;
	names = ARENA_ARRAY(a, struct str, given);
	for (size_t i = 0; i < given; i++)
		names[i] = p->n_names ? p->names[i] : log->matchers[i].name;
	qsort(names, given, sizeof *names, by_text);
	for (size_t i = 0; i < given; i++)
		if (n == 0 || !str_eq(names[i], names[n - 1]))
			names[n++] = names[i];
	c->grouping = (struct grouping){.kind = GROUP_BY, .names = names, .n = n};
	if (grouping_keeps(&c->grouping, STR("detected_level")))
		c->levels = LEVELS;
}

static int set_steps(struct counter *c, struct error *e)
{
	const struct query_params *p = &c->params->query;
	int64_t over;
	uint64_t span;

	if (p->step_ns == 0 || p->end_ns <= p->start_ns)
		return 0;
	if (p->step_ns < 0)
		return error_set(e, ERR_ARG, "step: must be more than nothing");
	over = p->start_ns % p->step_ns;
	over += over < 0 ? p->step_ns : 0;
	/* Before the begin of time a step begins there. */
	if (__builtin_sub_overflow(p->start_ns, over, &c->first_ns))
		c->first_ns = p->start_ns;
	span = (uint64_t)p->end_ns - 1 - (uint64_t)c->first_ns;
	if (span / (uint64_t)p->step_ns >= QUERY_POINTS_MAX)
		return error_set(e, ERR_ARG,
			"exceeded maximum resolution of 11,000 points per time series. Try "
			"increasing the value of the step parameter");
	c->n_steps = (size_t)(span / (uint64_t)p->step_ns) + 1;
	return 0;
}

/* --- the answer ----------------------------------------------------------------------- */

/* Volumes of names, out of those of series: *c has them in their place. */
static int fold(struct counter *c, struct error *e)
{
	size_t n = c->n;
	struct buf key = {0};
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		struct str at = c->series[i].key;
		struct label l;

		labels_start(&at);
		while (r == 0 && labels_next(&at, &l)) {
			uint32_t to = 0;
			const struct series *from;
			struct series *s;

			/* A set of one label without a value, which no stream has. */
			buf_clear(&key);
			varint_put(&key, 1);
			varint_put(&key, l.name.n);
			buf_str(&key, l.name);
			varint_put(&key, 0);
			if ((r = series_of(c, buf_view(&key), &to, e)) < 0)
				break;
			s = &c->series[to];
			from = &c->series[i];
			s->rows += from->rows;
			s->bytes += from->bytes;
			for (size_t k = 0; k < c->n_steps; k++)
				s->samples[k] += from->samples[k];
		}
	}
	buf_fini(&key);
	for (size_t i = 0; i < n; i++)
		c->series[i].rows = 0;
	return r;
}

/* Those that are no answer are behind those that are. */
static int by_size(const void *a, const void *b)
{
	const struct series *x = a, *y = b;

	if (!x->rows != !y->rows)
		return x->rows ? -1 : 1;
	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return labels_order(x->key, y->key);
}

static int put_series(
	struct counter *c, const struct series *s, struct query_series *out, struct error *e)
{
	struct arena *a = &c->run->out->arena;
	size_t n = s->samples ? 0 : 1;
	int r;

	for (size_t k = 0; k < c->n_steps; k++)
		n += s->samples[k] > 0;
	if ((r = run_reserve(c->run, n * sizeof *out->samples + s->key.n + 128, e)) < 0)
		return r;
	*out = (struct query_series){.labels = arena_str(a, s->key),
		.samples = ARENA_ARRAY(a, struct query_sample, n ? n : 1)};
	if (!s->samples)
		out->samples[out->n++] =
			(struct query_sample){c->params->query.end_ns - 1, (double)s->bytes};
	for (size_t k = 0; k < c->n_steps; k++)
		if (s->samples[k])
			out->samples[out->n++] = (struct query_sample){
				plan_add(c->first_ns, (int64_t)k * c->params->query.step_ns),
				(double)s->samples[k]};
	return 0;
}

static int to_answer(struct counter *c, struct error *e)
{
	struct query_result *out = c->run->out;
	uint64_t limit = c->params->query.limit;
	size_t n = 0;
	int r = 0;

	out->type = c->n_steps ? RESULT_MATRIX : RESULT_VECTOR;
	if (c->params->by == VOLUME_TOTAL) {
		c->totals.streams = c->n;
		return 0;
	}
	if (c->params->by == VOLUME_NAMES && (r = fold(c, e)) < 0)
		return r;
	for (size_t i = 0; i < c->n; i++)
		if (labels_count(c->series[i].key) == 0)
			c->series[i].rows = 0;
	if (c->n)
		qsort(c->series, c->n, sizeof *c->series, by_size);
	while (n < c->n && c->series[n].rows && (limit == 0 || n < limit))
		n++;
	if ((r = run_reserve(c->run, n * sizeof *out->series + 128, e)) < 0)
		return r;
	out->series = ARENA_ARRAY(&out->arena, struct query_series, n ? n : 1);
	for (; out->n_series < n && r == 0; out->n_series++)
		r = put_series(c, &c->series[out->n_series], &out->series[out->n_series], e);
	return r;
}

static void counter_fini(struct counter *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free((void *)c->series[i].key.p);
		free(c->series[i].samples);
	}
	free(c->series);
	free(c->cells);
	free(c->marks);
	map_fini(&c->index);
	buf_fini(&c->key);
	run_release(c->run, c->charged);
}

struct job {
	const struct volume_params *params;
	struct volume_totals *totals;
};

static int run_volume(struct run *run, void *ctx, struct error *e)
{
	const struct job *j = ctx;
	const struct log_expr *log = &run->query->root->log;
	struct plan plan = plan_count(log, &j->params->query, SCAN_BODY, &run->out->arena);
	struct counter c = {
		.run = run,
		.params = j->params,
		.reader = {.run = run,
			.plan = &plan,
			.unit = on_unit,
			.same_bucket = same_bucket,
			.counts = on_counts},
	};
	int r;

	c.reader.ctx = &c;
	choose_names(&c, log);
	if ((r = set_steps(&c, e)) == 0) {
		c.reader.buckets = buckets(&c);
		r = reader_run(&c.reader, e);
	}
	if (r == 0)
		r = to_answer(&c, e);
	*j->totals = c.totals;
	counter_fini(&c);
	return r;
}

int source_volume(struct source *s, const struct query *q, const struct volume_params *p,
	struct volume_totals *totals, struct query_result *out, struct error *e)
{
	struct job j = {p, totals};

	if (!query_is_log(q))
		return error_set(e, ERR_ARG,
			"only label matchers are supported: a metric query has no volume");
	return run_whole(s, q, &p->query, run_volume, &j, out, e);
}
