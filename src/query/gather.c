/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A row whose stages ended in an error fails the whole query, unless a label
 * filter dropped it: an aggregate over what could be read alone would be wrong
 * and nobody would know.
 */
#include "query/gather.h"

#include <assert.h>

#include "query/pages.h"

enum { SERIES_TEXT_MAX = 120 }; /* bytes of a series shown in an error */

static const struct str error_names[] = {
	STR_INIT("__error__"),
	STR_INIT("__error_details__"),
	STR_INIT("__preserve_error__"),
};

static const struct grouping without_errors = {GROUP_WITHOUT, error_names, 3};

/* Loki's sentence, which Grafana shows as it is. */
static int pipeline_error(struct fields *f, struct str name, struct error *e)
{
	struct buf labels = {0}, text = {0};
	struct str shown;
	bool cut;
	int r;

	fields_project(f, &without_errors, &labels);
	labels_text(&text, buf_view(&labels));
	cut = text.n > SERIES_TEXT_MAX;
	shown = str_sub(buf_view(&text), 0, SERIES_TEXT_MAX);
	shown.n = str_utf8_valid(shown) ? str_utf8_valid(shown) : shown.n;
	name = str_sub(name, 0, 40);
	r = error_set(e, ERR_ARG,
		"pipeline error: '%.*s' for series: '%.*s%s'. Use a label filter to intentionally "
		"skip this error. (e.g | __error__!=\"%.*s\"). To skip all potential errors you "
		"can match empty errors.(e.g __error__=\"\") The label filter can also be "
		"specified after unwrap. (e.g | unwrap latency | __error__=\"\" )",
		STR_ARG(name), STR_ARG(shown), cut ? "…" : "", STR_ARG(name));
	buf_fini(&labels);
	buf_fini(&text);
	return r;
}

static int check_error(struct fields *f, struct error *e)
{
	struct str name, preserve;

	if (!fields_failed(f) || !fields_get(f, error_names[0], &name) || name.n == 0)
		return 0;
	if (fields_get(f, error_names[2], &preserve) && str_eq_c(preserve, "true"))
		return 0;
	return pipeline_error(f, name, e);
}

/* Does the filter behind the unwrap keep the row?  1, 0 or an error. */
static int passes_after(struct gather *g, struct pipe_row *row, struct error *e)
{
	int r = g->after ? pipeline_run(g->after, row) : 1;

	if (r < 0)
		return error_set(e, r,
			"a regex of the query took too many steps on one text: make it simpler");
	return r;
}

static int on_kept(void *ctx, struct pipe_row *row, struct error *e)
{
	struct gather *g = ctx;
	struct sample s = {row->timestamp, row->seq, 1, (int64_t)row->line.n};
	const struct unwrap *unwrap = g->expr->unwrap;
	bool changed = fields_changed(row->fields);
	bool has_value = !unwrap || unwrap_take(unwrap, row->fields, &s.value);
	uint32_t series = 0;
	int r;

	if ((r = passes_after(g, row, e)) <= 0 || (r = check_error(row->fields, e)) < 0)
		return r;
	if (!has_value)
		return 0;
	/* Whether the unwrap took one of the grouping's labels away is not worth asking. */
	if (changed || unwrap)
		r = series_of_fields(&g->series, row->fields, &series, e);
	else
		r = series_of_row(&g->series, g->rows, g->at, &series, e);
	return r < 0 ? r : g->sample(g->ctx, series, &s, e);
}

/* A row as the store has it is the sample. */
static int on_plain(struct gather *g, const struct rows *rows, uint32_t i, struct error *e)
{
	struct sample s = {.timestamp = rows->timestamp[i],
		.seq = rows->seq ? rows->seq[i] : 0,
		.value = 1,
		.bytes = rows->body ? (int64_t)rows->body[i].n : 0};
	uint32_t series = 0;
	int r;

	if ((r = reader_keeps(&g->reader, rows, i, NULL, e)) <= 0 ||
		(r = series_of_row(&g->series, rows, i, &series, e)) < 0)
		return r;
	return g->sample(g->ctx, series, &s, e);
}

static int on_row(struct gather *g, const struct rows *rows, uint32_t i, struct error *e)
{
	window_of(&g->windows, rows->timestamp[i]);
	if (!g->windows.inside)
		return run_tick(g->run, e);
	if (g->by_row)
		return on_plain(g, rows, i, e);
	g->rows = rows;
	g->at = i;
	return reader_each(&g->reader, rows, i, on_kept, g, e);
}

static bool by_row(void *ctx, struct str labels)
{
	(void)ctx;
	return amqp_stream(labels);
}

/* Rows of a broker's streams come with their metadata: by_row asks for it. */
static bool again(struct gather *g, const struct rows *rows, uint32_t i)
{
	if (!rows->meta || rows->meta[i].n == 0)
		return false;
	if (rows->stream[i] != g->broker_stream) {
		g->broker_stream = rows->stream[i];
		g->is_broker = amqp_stream(rows->streams[rows->stream[i]]);
	}
	return g->is_broker && amqp_redelivered(rows->meta[i]);
}

static int on_unit(void *ctx, const struct rows *rows, struct error *e)
{
	struct gather *g = ctx;
	int r = series_index_unit(&g->series, rows->n_streams, e);

	g->broker_stream = UINT32_MAX;
	for (size_t at = 0; at < rows->n && r >= 0; at++) {
		if (g->alone && again(g, rows, rows->pick[at])) {
			g->redelivered = true;
			return error_set(e, ERR_GAP, "records were delivered again");
		}
		r = on_row(g, rows, rows->pick[at], e);
	}
	return r < 0 ? r : 0;
}

/* Records between two neighbouring edges of windows lie in the same windows, which is the bucket
 * that the source is told: what it has counted already of a block inside of one is taken as it is,
 * and no row is looked at. */
static bool same_bucket(void *ctx, int64_t min_ns, int64_t max_ns)
{
	struct gather *g = ctx;

	window_of(&g->windows, min_ns);
	return max_ns < g->windows.to_ns;
}

static int on_count(struct gather *g, const struct row_counts *counts, const struct row_count *c,
	struct error *e)
{
	uint32_t series = 0;
	int r;

	window_of(&g->windows, c->min_ns);
	assert(c->max_ns < g->windows.to_ns);
	if (!g->windows.inside || c->rows == 0)
		return 0;
	if ((r = series_of_count(&g->series, counts, c, &series, e)) < 0)
		return r;
	return g->counted(g->ctx, series, c, e);
}

static int on_counts(void *ctx, const struct row_counts *counts, struct error *e)
{
	struct gather *g = ctx;
	int r = series_index_unit(&g->series, counts->n_streams, e);

	for (size_t i = 0; i < counts->n && r >= 0; i++)
		r = on_count(g, counts, &counts->counts[i], e);
	return r;
}

void gather_init(struct gather *g, struct run *run, const struct range_expr *x,
	const struct axis *axis, const struct grouping *grouping)
{
	*g = (struct gather){
		.run = run,
		.expr = x,
		.plan = plan_range(x, axis, grouping, &run->out->arena),
	};
	g->by_row = !g->plan.stages && !x->unwrap;
	windows_init(&g->windows, x, axis);
	series_index_init(&g->series, run, grouping, g->plan.columns & SCAN_META);
}

int gather_run(struct gather *g, struct error *e)
{
	if (g->windows.axis.n == 0)
		return 0;
	g->reader = (struct reader){
		.run = g->run,
		.plan = &g->plan,
		.ctx = g,
		.unit = on_unit,
		.same_bucket = g->counted && g->by_row ? same_bucket : NULL,
		.counts = g->counted && g->by_row ? on_counts : NULL,
		.by_row = g->alone ? by_row : NULL,
		.buckets = windows_buckets(&g->windows),
	};
	if (g->expr->after && !g->after)
		g->after = pipeline_new(g->expr->after, &g->plan.wanted, g->run->out->account);
	return reader_run(&g->reader, e);
}

void gather_fini(struct gather *g)
{
	pipeline_free(g->after);
	series_index_fini(&g->series);
}
