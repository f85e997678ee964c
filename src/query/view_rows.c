/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows and counts that do not come from this store, told to a scan's callbacks
 * as the store would tell them.
 */
#include <stdlib.h>

#include "query/view_scan.h"
#include "store/lines/filter.h"
#include "store/lines/template.h"

enum { ROW_BYTES = 96 }; /* of all columns of a row */

uint64_t view_columns_bytes(size_t n, size_t n_streams)
{
	return n * ROW_BYTES + n_streams * (sizeof(struct str) + 1);
}

void view_columns_init(struct view_columns *c, size_t n, size_t n_streams)
{
	*c = (struct view_columns){.n = n,
		.pick = xcalloc(n, sizeof *c->pick),
		.stream = xcalloc(n, sizeof *c->stream),
		.timestamp = xcalloc(n, sizeof *c->timestamp),
		.seq = xcalloc(n, sizeof *c->seq),
		.body = xcalloc(n, sizeof *c->body),
		.meta = xcalloc(n, sizeof *c->meta),
		.severity = xcalloc(n, 1),
		.flags = xcalloc(n, 1),
		.streams = xcalloc(n_streams, sizeof *c->streams)};
	c->rows = (struct rows){.pick = c->pick,
		.stream = c->stream,
		.timestamp = c->timestamp,
		.seq = c->seq,
		.body = c->body,
		.meta = c->meta,
		.severity = c->severity,
		.flags = c->flags,
		.streams = c->streams,
		.n_streams = n_streams};
}

void view_columns_fini(struct view_columns *c)
{
	free(c->pick);
	free(c->stream);
	free(c->template);
	free(c->timestamp);
	free(c->seq);
	free(c->body);
	free(c->meta);
	free(c->severity);
	free(c->flags);
	free(c->streams);
	free(c->keys);
	free(c->templates);
	template_table_free(c->table);
}

/* As head batches do. */
static void find_templates(struct view_columns *c)
{
	struct token tokens[TOKEN_SLOTS_MAX];

	c->table = template_table_new();
	c->template = xcalloc(c->n, sizeof *c->template);
	for (size_t at = 0; at < c->rows.n; at++) {
		uint32_t i = c->rows.pick[at], id = TEMPLATE_NONE;
		uint64_t hash = 0;
		int n = -1;
		if (c->keys && c->keys[i].n)
			id = template_table_put_key(c->table, c->keys[i]);
		else
			n = tokens_of(c->body[i], tokens, &hash);
		if (n >= 0)
			id = template_table_put(c->table, c->body[i], tokens, (size_t)n, hash);
		c->template[i] = id == TEMPLATE_NONE ? ROWS_NO_TEMPLATE : id - 1;
	}
	c->rows.n_templates = template_table_count(c->table);
	c->templates = xcalloc(c->rows.n_templates, sizeof *c->templates);
	for (size_t i = 0; i < c->rows.n_templates; i++)
		c->templates[i] = template_table_get(c->table, (uint32_t)i + 1);
	c->rows.template = c->template;
	c->rows.templates = c->templates;
}

int view_tell(struct view_scan *v, struct view_columns *c, struct error *e)
{
	struct scan *asked = v->asked;
	struct rows *rows = &c->rows;
	const struct str *body = rows->body, *meta = rows->meta;
	int r;

	if (rows->n == 0)
		return 0;
	if (asked->columns & SCAN_TEMPLATE)
		find_templates(c);
	if (asked->narrow) {
		memmove(c->pick, rows->pick, rows->n * sizeof *c->pick);
		rows->pick = c->pick;
		rows->body = rows->meta = NULL;
		rows->n = asked->narrow(asked->ctx, rows, c->pick);
	}
	rows->body = asked->columns & SCAN_BODY ? body : NULL;
	rows->meta = meta;
	r = rows->n ? asked->rows(asked->ctx, rows, e) : 0;
	view_narrowed(v);
	return r;
}

static bool wants_stream(struct scan *asked, struct str labels)
{
	if (!asked->want_stream || asked->want_stream(asked->ctx, labels))
		return true;
	return asked->by_row && asked->by_row(asked->ctx, labels);
}

static bool passes(const struct view_scan *v, const struct record *x)
{
	const struct scan *asked = v->asked;

	if (x->timestamp < asked->from_ns || x->timestamp >= asked->to_ns)
		return false;
	return !v->test_filters ||
	       line_filters_test(asked->filters, asked->n_filters, x->body) == 1;
}

void view_columns_set(struct view_columns *c, size_t i, const struct record *x, uint64_t seq)
{
	c->timestamp[i] = x->timestamp;
	c->seq[i] = seq;
	c->stream[i] = x->stream;
	c->body[i] = x->body;
	c->meta[i] = x->meta;
	c->severity[i] = x->severity;
	c->flags[i] = x->flags;
}

int view_tell_rows(struct view_scan *v, size_t store, const struct batch *b, struct error *e)
{
	size_t n = batch_count(b), n_streams = batch_n_streams(b);
	uint64_t bytes = view_columns_bytes(n, n_streams);
	struct view_columns c;
	uint8_t *wanted;
	int r = view_charge(v, bytes, e);

	if (r < 0)
		return r;
	view_columns_init(&c, n, n_streams);
	wanted = xcalloc(n_streams, 1);
	for (size_t i = 0; i < n_streams; i++) {
		c.streams[i] = batch_stream(b, i);
		wanted[i] = wants_stream(v->asked, c.streams[i]);
	}
	for (size_t i = 0; i < n; i++) {
		struct record x = batch_record(b, i);
		view_columns_set(&c, i, &x,
			(uint64_t)store << PEER_SEQ_SHIFT | (x.position & VIEW_SEQ_MASK));
		if (wanted[x.stream] && passes(v, &x))
			c.pick[c.rows.n++] = (uint32_t)i;
	}
	free(wanted);
	if ((r = withheld_sift(v, store, &c.rows, e)) == 0)
		r = view_tell(v, &c, e);
	view_columns_fini(&c);
	view_release(v, bytes);
	return r;
}

/* Within all the time that was asked for?  Whoever counts has room for no other. */
static bool counted_time(const struct view_scan *v, const struct row_count *c)
{
	const struct page_request *q = &v->fetches.ask;

	return c->min_ns >= q->from_ns && c->max_ns < q->to_ns;
}

int view_tell_counts(
	struct view_scan *v, size_t store, const struct row_counts *counts, struct error *e)
{
	struct scan *asked = v->asked;
	struct row_counts told = *counts;
	struct row_count *list;
	uint64_t bytes = counts->n * sizeof *list + counts->n_streams;
	size_t n_astray = 0;
	uint8_t *wanted;
	int r;

	if (counts->n == 0 || !asked->counts)
		return 0;
	if ((r = view_charge(v, bytes, e)) < 0)
		return r;
	list = xcalloc(counts->n, sizeof *list);
	wanted = xcalloc(counts->n_streams, 1);
	for (size_t i = 0; i < counts->n_streams; i++)
		wanted[i] = wants_stream(asked, counts->streams[i]);
	told.n = 0;
	told.counts = list;
	for (size_t i = 0; i < counts->n; i++) {
		const struct row_count *c = &counts->counts[i];
		if (!wanted[c->stream])
			continue;
		if (counted_time(v, c) && asked->same_bucket(asked->ctx, c->min_ns, c->max_ns))
			list[told.n++] = *c;
		else
			n_astray++;
	}
	if (n_astray)
		view_warn(v,
			"%s: %zu of its counts are of no one step that was asked for, and were left out",
			remote_url(v->peers->remotes[store - 1]), n_astray);
	r = asked->counts(asked->ctx, &told, e);
	view_narrowed(v);
	free(list);
	free(wanted);
	view_release(v, bytes);
	return r;
}
