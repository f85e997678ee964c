/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A source for tests: records in memory, in units as the store has them.  A
 * column that was not asked for is NULL, so that reading it shows.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "query/source.h"
#include "store/lines/filter.h"
#include "store/lines/template.h"

struct test_record {
	int64_t timestamp;
	uint64_t seq;
	struct str body, meta;
	uint32_t stream; /* of the source */
	uint8_t severity, flags;
};

struct test_source {
	struct source source;
	struct str tenant;
	struct test_record *records;
	size_t n;
	size_t unit_rows; /* each unit holds so many records in a row */
	struct str *streams;
	size_t n_streams;
	const char *warning; /* told once per scan */
	size_t n_numbered;   /* then so many "block N is damaged", each twice */
	unsigned columns;    /* of the last scan */
	int fail;            /* the scan ends with this code */
	/* By test_templates. */
	struct template_table *table;
	const struct template **templates;
	uint32_t *template_of; /* by record: index into templates, or ROWS_NO_TEMPLATE */
	size_t n_templates;
};

struct test_unit {
	size_t from, to;
	int64_t min_ns, max_ns;
};

/* Find the templates of the records, for SCAN_TEMPLATE; test_templates_fini lets go of them. */
static inline void test_templates(struct test_source *t)
{
	struct token tokens[TOKEN_SLOTS_MAX];

	t->table = template_table_new();
	t->template_of = xcalloc(t->n, sizeof *t->template_of);
	for (size_t i = 0; i < t->n; i++) {
		uint64_t hash = 0;
		int n = tokens_of(t->records[i].body, tokens, &hash);
		t->template_of[i] = n < 0 ? ROWS_NO_TEMPLATE
					  : template_table_put(t->table, t->records[i].body, tokens,
						    (size_t)n, hash) -
						    1;
	}
	t->n_templates = template_table_count(t->table);
	t->templates = xcalloc(t->n_templates, sizeof *t->templates);
	for (size_t i = 0; i < t->n_templates; i++)
		t->templates[i] = template_table_get(t->table, (uint32_t)i + 1);
}

static inline void test_templates_fini(struct test_source *t)
{
	template_table_free(t->table);
	free(t->templates);
	free(t->template_of);
}

static struct test_source *test_source_of(struct source *s)
{
	return CONTAINER(s, struct test_source, source);
}

static uint64_t test_last_seq(struct source *s)
{
	struct test_source *t = test_source_of(s);
	uint64_t last = 0;

	for (size_t i = 0; i < t->n; i++)
		last = t->records[i].seq > last ? t->records[i].seq : last;
	return last;
}

static int test_newest_first(const void *a, const void *b)
{
	const struct test_unit *x = a, *y = b;

	return x->max_ns > y->max_ns ? -1 : x->max_ns < y->max_ns;
}

static int test_oldest_first(const void *a, const void *b)
{
	const struct test_unit *x = a, *y = b;

	return x->min_ns < y->min_ns ? -1 : x->min_ns > y->min_ns;
}

/* As line filters mean it, in the plainest way. */
static bool test_keeps(const struct scan *sc, struct str line)
{
	for (size_t i = 0; i < sc->n_filters; i++) {
		const struct line_filter *f = &sc->filters[i];
		bool hit = false;
		for (size_t k = 0; k < f->n && !hit; k++)
			hit = f->tests[k].regex ? regex_match(f->tests[k].regex, line) == 1
						: str_find(line, f->tests[k].text) >= 0;
		if (hit == f->negate)
			return false;
	}
	return true;
}

/* Tell the picked rows as counts, each alone, where that is allowed: 1 when it was. */
static int test_count_unit(
	struct test_source *t, struct scan *sc, const struct rows *rows, struct error *e)
{
	struct row_count *counts;
	struct row_counts all = {.streams = t->streams,
		.n_streams = t->n_streams,
		.templates = rows->templates,
		.n_templates = rows->n_templates};
	int64_t min = INT64_MAX, max = INT64_MIN;
	int r;

	for (size_t k = 0; k < rows->n; k++) {
		uint32_t i = rows->pick[k];
		min = rows->timestamp[i] < min ? rows->timestamp[i] : min;
		max = rows->timestamp[i] > max ? rows->timestamp[i] : max;
		if (sc->columns & SCAN_META && rows->meta[i].n)
			return 0;
	}
	if (!sc->counts || !sc->same_bucket(sc->ctx, min, max))
		return 0;
	counts = xcalloc(rows->n, sizeof *counts);
	for (size_t k = 0; k < rows->n; k++) {
		uint32_t i = rows->pick[k];
		counts[k] = (struct row_count){
			.stream = rows->stream[i],
			.template = rows->template ? rows->template[i] : ROWS_NO_TEMPLATE,
			.severity = rows->severity[i],
			.level_detected = (rows->flags[i] & RECORD_LEVEL_DETECTED) != 0,
			.min_ns = min,
			.max_ns = max,
			.rows = 1,
			.bytes = rows->body[i].n,
		};
	}
	all.counts = counts;
	all.n = rows->n;
	sc->stats.units_counted++;
	r = sc->counts(sc->ctx, &all, e);
	free(counts);
	return r < 0 ? r : 1;
}

static int test_tell(
	struct test_source *t, struct scan *sc, struct rows *rows, uint32_t *pick, struct error *e)
{
	const struct str *body = rows->body, *meta = rows->meta;
	int r = test_count_unit(t, sc, rows, e);

	if (r != 0)
		return r < 0 ? r : 0;
	rows->body = rows->meta = NULL;
	if (sc->narrow && (rows->n = sc->narrow(sc->ctx, rows, pick)) == 0)
		return 0;
	rows->body = sc->columns & SCAN_BODY ? body : NULL;
	rows->meta = sc->columns & SCAN_META ? meta : NULL;
	sc->stats.lines_spelled += rows->body ? rows->n : 0;
	return sc->rows(sc->ctx, rows, e);
}

static int test_scan_unit(
	struct test_source *t, struct scan *sc, const struct test_unit *u, struct error *e)
{
	size_t n = u->to - u->from, picked = 0;
	uint32_t *pick = xcalloc(n, sizeof *pick), *stream = xcalloc(n, sizeof *stream);
	int64_t *timestamp = xcalloc(n, sizeof *timestamp);
	uint64_t *seq = xcalloc(n, sizeof *seq);
	struct str *body = xcalloc(n, sizeof *body), *meta = xcalloc(n, sizeof *meta);
	uint8_t *severity = xcalloc(n, 1), *flags = xcalloc(n, 1);
	bool *wanted = xcalloc(t->n_streams, sizeof *wanted);
	uint64_t until = sc->until_seq ? sc->until_seq : UINT64_MAX;
	unsigned columns = sc->columns;
	bool by_row = false;
	int r = 0;

	for (size_t i = 0; i < t->n_streams; i++) {
		bool asked = sc->by_row && sc->by_row(sc->ctx, t->streams[i]);
		wanted[i] = !sc->want_stream || sc->want_stream(sc->ctx, t->streams[i]);
		/* As the store: where there is metadata. */
		for (size_t k = 0; k < n && asked && !by_row; k++)
			by_row = t->records[u->from + k].meta.n > 0;
		wanted[i] = wanted[i] || (asked && by_row);
	}
	for (size_t i = 0; i < n; i++) {
		const struct test_record *x = &t->records[u->from + i];
		timestamp[i] = x->timestamp;
		seq[i] = x->seq;
		stream[i] = x->stream;
		body[i] = x->body;
		meta[i] = x->meta;
		severity[i] = x->severity;
		flags[i] = x->flags;
		if (x->timestamp >= sc->from_ns && x->timestamp < sc->to_ns && wanted[x->stream] &&
			x->seq > sc->after_seq && x->seq <= until && test_keeps(sc, x->body))
			pick[picked++] = (uint32_t)i;
	}
	sc->stats.units_read++;
	sc->stats.rows += n;
	sc->stats.rows_picked += picked;
	if (picked) {
		struct rows rows = {
			.n = picked,
			.pick = pick,
			.timestamp = timestamp,
			.seq = seq,
			.stream = stream,
			.body = body,
			.meta = meta,
			.severity = severity,
			.flags = flags,
			.streams = t->streams,
			.n_streams = t->n_streams,
		};
		if (sc->columns & SCAN_TEMPLATE) {
			rows.template = t->template_of + u->from;
			rows.templates = t->templates;
			rows.n_templates = t->n_templates;
		}
		if (by_row)
			sc->columns |= SCAN_META;
		r = test_tell(t, sc, &rows, pick, e);
		sc->columns = columns;
	}
	free(pick);
	free(stream);
	free(timestamp);
	free(seq);
	free(body);
	free(meta);
	free(severity);
	free(flags);
	free(wanted);
	return r;
}

static int test_scan(struct source *s, struct scan *sc, struct error *e)
{
	struct test_source *t = test_source_of(s);
	size_t n = (t->n + t->unit_rows - 1) / t->unit_rows;
	struct test_unit *units = xcalloc(n, sizeof *units);
	int r = 0;

	t->columns = sc->columns;
	for (size_t i = 0; i < n; i++) {
		struct test_unit *u = &units[i];
		*u = (struct test_unit){
			i * t->unit_rows, (i + 1) * t->unit_rows, INT64_MAX, INT64_MIN};
		u->to = u->to < t->n ? u->to : t->n;
		for (size_t k = u->from; k < u->to; k++) {
			int64_t time = t->records[k].timestamp;
			u->min_ns = time < u->min_ns ? time : u->min_ns;
			u->max_ns = time > u->max_ns ? time : u->max_ns;
		}
	}
	if (n && sc->order != SCAN_BY_SEQ)
		qsort(units, n, sizeof *units,
			sc->order == SCAN_NEWEST_FIRST ? test_newest_first : test_oldest_first);
	if (t->warning && sc->warn)
		sc->warn(sc->ctx, t->warning);
	for (size_t i = 0; i < 2 * t->n_numbered && sc->warn; i++) {
		char text[60];

		snprintf(text, sizeof text, "block %zu is damaged", i / 2);
		sc->warn(sc->ctx, text);
	}
	for (size_t i = 0; i < n && r == 0 && str_eq(sc->tenant, t->tenant); i++) {
		sc->stats.units++;
		if (units[i].max_ns < sc->from_ns || units[i].min_ns >= sc->to_ns)
			continue;
		if (sc->want_span && !sc->want_span(sc->ctx, units[i].min_ns, units[i].max_ns))
			continue;
		r = test_scan_unit(t, sc, &units[i], e);
	}
	free(units);
	if (t->fail)
		return error_set(e, t->fail, "the disk is on fire");
	return r;
}

/* Twice each, as a store with two parts would. */
static int test_streams(struct source *s, struct str tenant, int64_t from_ns, int64_t to_ns,
	void (*stream)(void *ctx, struct str labels), void *ctx, struct error *e)
{
	struct test_source *t = test_source_of(s);

	(void)e;
	for (size_t i = 0; i < 2 * t->n && str_eq(tenant, t->tenant); i++) {
		const struct test_record *x = &t->records[i % t->n];
		if (x->timestamp >= from_ns && x->timestamp < to_ns)
			stream(ctx, t->streams[x->stream]);
	}
	return t->fail;
}

static struct test_source test_source_make(void)
{
	return (struct test_source){
		.source = {.last_seq = test_last_seq, .scan = test_scan, .streams = test_streams},
		.tenant = STR("t"),
		.unit_rows = 16,
	};
}

/* Canonical bytes of "{a=\"b\"}" on the heap. */
static inline struct str test_labels(const char *text)
{
	struct labels_builder b = {0};
	struct buf out = {0};
	struct error e = {0};

	if (labels_parse(&b, str_c(text), &e) < 0)
		abort();
	labels_builder_write(&b, &out);
	labels_builder_fini(&b);
	return buf_view(&out);
}
