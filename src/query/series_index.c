/* SPDX-License-Identifier: Apache-2.0 */
#include "query/series_index.h"

#include <stdlib.h>

#include "record/severity.h"

enum {
	LEVELS = 26, /* none, and severity 0 to 24 */
};

/* What the grouping asks of a row beyond its stream. */
enum { NEEDS_META = 1, NEEDS_LEVEL = 2 };

static uint8_t needs_of(const struct grouping *g)
{
	uint8_t needs = g->kind == GROUP_WITHOUT ? NEEDS_META | NEEDS_LEVEL : 0;

	for (size_t i = 0; g->kind == GROUP_BY && i < g->n; i++) {
		needs |= NEEDS_META;
		if (str_eq_c(g->names[i], "detected_level"))
			needs |= NEEDS_LEVEL;
	}
	return needs;
}

void series_index_init(
	struct series_index *x, struct run *run, const struct grouping *grouping, bool reads_meta)
{
	*x = (struct series_index){
		.run = run,
		.grouping = grouping,
		.reads_meta = reads_meta,
		.needs = needs_of(grouping),
		.levels = needs_of(grouping) & NEEDS_LEVEL ? LEVELS : 1,
	};
}

void series_index_fini(struct series_index *x)
{
	for (size_t i = 0; i < x->n; i++)
		free((void *)x->keys[i].p);
	free(x->keys);
	free(x->cells);
	free(x->marks);
	map_fini(&x->index);
	buf_fini(&x->key);
	if (x->charged)
		run_release(x->run, x->charged);
	*x = (struct series_index){0};
}

int series_index_unit(struct series_index *x, size_t n_streams, struct error *e)
{
	size_t cap = x->unit_cap, each = x->levels * sizeof *x->cells + sizeof *x->marks;
	int r;

	x->last_valid = false;
	x->unit++;
	if (n_streams <= cap)
		return 0;
	if ((r = run_charge(x->run, (n_streams - cap) * each, e)) < 0)
		return r;
	x->charged += (n_streams - cap) * each;
	x->unit_cap = n_streams;
	x->cells = xrealloc(x->cells, n_streams * x->levels * sizeof *x->cells);
	x->marks = xrealloc(x->marks, n_streams * sizeof *x->marks);
	memset(x->marks + cap, 0, (n_streams - cap) * sizeof *x->marks);
	return 0;
}

/* The number of the key in hand. */
static int number_of(struct series_index *x, uint32_t *out, struct error *e)
{
	const union map_value *known = map_get(&x->index, buf_view(&x->key));
	uint64_t bytes = 2 * x->key.n + 160;
	int r;

	if (known) {
		*out = (uint32_t)known->u;
		return 0;
	}
	if (x->n == UINT32_MAX - 1)
		return run_over_budget(x->run, e);
	if ((r = run_charge(x->run, bytes, e)) < 0)
		return r;
	x->charged += bytes;
	if (x->n == x->cap) {
		x->cap = x->cap ? x->cap * 2 : 16;
		x->keys = xrealloc(x->keys, x->cap * sizeof *x->keys);
	}
	*out = (uint32_t)x->n;
	x->keys[x->n] = str_make(str_dup(buf_view(&x->key)), x->key.n);
	map_put(&x->index, x->keys[x->n++], NULL)->u = *out;
	return 0;
}

static int number_of_labels(struct series_index *x, struct str labels, struct str meta,
	const char *level, uint32_t *out, struct error *e)
{
	buf_clear(&x->key);
	grouping_project(x->grouping, labels, meta, level, &x->key);
	return number_of(x, out, e);
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
static int by_meta(struct series_index *x, const struct rows *rows, uint32_t i, unsigned level,
	uint32_t *out, struct error *e)
{
	uint32_t stream = rows->stream[i];
	struct str meta = rows->meta[i];
	int r;

	if (x->last_valid && x->last_stream == stream && x->last_level == level &&
		x->last_meta.p == meta.p && x->last_meta.n == meta.n) {
		*out = x->last_number;
		return 0;
	}
	r = number_of_labels(x, rows->streams[stream], meta, level_name(level), out, e);
	if (r < 0)
		return r;
	x->last_valid = true;
	x->last_stream = stream;
	x->last_level = level;
	x->last_meta = meta;
	x->last_number = *out;
	return 0;
}

/* Does the grouping look at any of the metadata? */
static bool meta_matters(const struct grouping *g, struct str meta)
{
	struct label l;

	if (g->kind == GROUP_WITHOUT)
		return true;
	labels_start(&meta);
	while (labels_next(&meta, &l))
		if (grouping_keeps(g, l.name))
			return true;
	return false;
}

/* Of rows without metadata that matter. */
static int by_level(struct series_index *x, const struct str *streams, uint32_t stream,
	unsigned level, uint32_t *out, struct error *e)
{
	uint32_t *cell = &x->cells[stream * x->levels + level];
	int r;

	if (x->marks[stream] != x->unit) {
		x->marks[stream] = x->unit;
		memset(x->cells + stream * x->levels, 0, x->levels * sizeof *x->cells);
	}
	if (!*cell) {
		r = number_of_labels(x, streams[stream], STR_NONE, level_name(level), out, e);
		if (r < 0)
			return r;
		*cell = *out + 1;
	}
	*out = *cell - 1;
	return 0;
}

int series_of_row(
	struct series_index *x, const struct rows *rows, uint32_t i, uint32_t *out, struct error *e)
{
	unsigned level = 0;

	if (x->needs & NEEDS_LEVEL)
		level = level_index(rows->flags[i] & RECORD_LEVEL_DETECTED, rows->severity[i]);
	if (x->reads_meta && x->needs & NEEDS_META && rows->meta[i].n &&
		meta_matters(x->grouping, rows->meta[i]))
		return by_meta(x, rows, i, level, out, e);
	return by_level(x, rows->streams, rows->stream[i], level, out, e);
}

int series_of_count(struct series_index *x, const struct row_counts *counts,
	const struct row_count *c, uint32_t *out, struct error *e)
{
	unsigned level = 0;

	if (x->needs & NEEDS_LEVEL)
		level = level_index(c->level_detected, c->severity);
	return by_level(x, counts->streams, c->stream, level, out, e);
}

int series_of_key(struct series_index *x, struct str labels, uint32_t *out, struct error *e)
{
	buf_clear(&x->key);
	buf_str(&x->key, labels);
	return number_of(x, out, e);
}

int series_of_fields(struct series_index *x, struct fields *fields, uint32_t *out, struct error *e)
{
	bool one = x->grouping->kind == GROUP_BY && x->grouping->n == 0;

	/* There is but one, and it is known. */
	if (one && x->n) {
		*out = 0;
		return 0;
	}
	buf_clear(&x->key);
	fields_project(fields, x->grouping, &x->key);
	return number_of(x, out, e);
}
