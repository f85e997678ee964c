/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the head a cursor takes one batch at a time, which is in order already.
 *
 * From parts it takes the records of a window of sequences, copies them and
 * sorts them.  The window grows while it yields little (a tenant with few
 * records) and shrinks when its lines do not fit, down to a single record; so
 * memory is bounded, at the price that a block is read once per window it has
 * rows in.
 */
#include "store/cursor.h"

#include <stdlib.h>

#include "base/map.h"
#include "store/core.h"
#include "store/unit.h"

enum {
	WINDOW_BYTES = 4 << 20, /* copied lines and metadata, unless one record is larger */
	WINDOW_SEQS_MAX = 1 << 24,
};

/* The head */

/* The number of the cursor's source in the batch, 0 for any; false when it has none of it. */
static bool find_source(const struct cursor *c, const struct batch *b, uint32_t *out)
{
	*out = 0;
	if (c->source.n == 0)
		return true;
	for (size_t i = 0; i < batch_n_sources(b); i++)
		if (str_eq(batch_source(b, i).id, c->source))
			*out = (uint32_t)i + 1;
	return *out > 0;
}

/* Put the numbers of the rows of the source among n into pick. */
static size_t pick_rows(struct unit *u, size_t n, uint32_t source)
{
	size_t picked = 0;

	for (size_t i = 0; i < n; i++)
		if (source == 0 || u->source[i] == source)
			u->pick[picked++] = (uint32_t)i;
	return picked;
}

/* 1 delivered, 0: nothing in it, and the cursor is behind it. */
static int deliver_batch(struct cursor *c, const struct batch *b, size_t max_rows,
	int (*rows)(void *ctx, const struct rows *rows), void *ctx, struct error *e)
{
	size_t from = (size_t)(c->after_seq + 1 - batch_first_seq(b)), n = batch_count(b) - from;
	uint64_t last_seq = batch_first_seq(b) + batch_count(b) - 1;
	struct unit u = {.account = c->account};
	struct buf streams = {0}, sources = {0};
	struct rows out;
	uint32_t source;
	size_t picked;
	int r;

	if (!find_source(c, b, &source)) {
		c->after_seq = last_seq;
		return 0;
	}
	n = n < max_rows ? n : max_rows;
	last_seq = c->after_seq + n;
	if ((r = unit_reserve(&u, n, e)) < 0)
		return r;
	unit_fill(&u, b, from, n);
	picked = pick_rows(&u, n, source);
	if (picked == 0) {
		c->after_seq = last_seq;
		unit_fini(&u);
		return 0;
	}
	for (size_t i = 0; i < batch_n_streams(b); i++) {
		struct str labels = batch_stream(b, i);

		buf_put(&streams, &labels, sizeof labels);
	}
	for (size_t i = 0; i < batch_n_sources(b); i++) {
		struct str id = batch_source(b, i).id;

		buf_put(&sources, &id, sizeof id);
	}
	out = unit_rows(&u, picked, UNIT_ALL & ~(unsigned)UNIT_TEMPLATE);
	out.streams = (const struct str *)streams.p;
	out.n_streams = batch_n_streams(b);
	out.sources = (const struct str *)sources.p;
	out.n_sources = batch_n_sources(b);
	if ((r = rows(ctx, &out)) >= 0) {
		c->after_seq = r > 0 ? u.seq[u.pick[r - 1]] : last_seq;
		r = 1;
	} else {
		error_set(e, r, "the reader stopped");
	}
	unit_fini(&u);
	buf_fini(&streams);
	buf_fini(&sources);
	return r;
}

/* Parts */

struct saved {
	uint64_t seq, position;
	int64_t timestamp;
	size_t body_at, body_n, meta_at, meta_n;
	uint32_t stream, source;
	uint8_t severity, flags;
};

/* Label sets or source ids met in the window. */
struct names {
	struct map index;
	struct buf text;
	struct buf places; /* struct str with offsets into text for p */
	size_t n;
};

struct window {
	struct saved *rows;
	size_t n, cap;
	struct buf text;
	struct names streams, sources;
	struct account *account;
	uint64_t charged;
};

static uint32_t name_index(struct names *names, struct str name)
{
	bool added;
	union map_value *v = map_put(&names->index, name, &added);

	if (added) {
		struct str place = {(const char *)(uintptr_t)names->text.n, name.n};

		v->u = names->n++;
		buf_put(&names->places, &place, sizeof place);
		buf_str(&names->text, name);
	}
	return (uint32_t)v->u;
}

static const struct str *names_views(struct names *names)
{
	struct str *views = (struct str *)names->places.p;

	for (size_t i = 0; i < names->n; i++)
		views[i].p = names->text.p + (uintptr_t)views[i].p;
	return views;
}

static void names_fini(struct names *names)
{
	map_fini(&names->index);
	buf_fini(&names->text);
	buf_fini(&names->places);
}

static size_t save_text(struct window *w, struct str s)
{
	size_t at = w->text.n;

	buf_str(&w->text, s);
	return at;
}

/* > 0: the window holds too much. */
static int save_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct window *w = ctx;
	int r;

	for (size_t i = 0; i < rows->n; i++) {
		uint32_t at = rows->pick[i];
		uint64_t bytes = rows->body[at].n + rows->meta[at].n + sizeof *w->rows;

		if (w->n > 0 && w->charged + bytes > WINDOW_BYTES)
			return 1;
		if ((r = scan_charge(w->account, bytes, e)) < 0)
			return r;
		w->charged += bytes;
		if (w->n == w->cap) {
			w->cap = w->cap ? w->cap * 2 : 256;
			w->rows = xrealloc(w->rows, w->cap * sizeof *w->rows);
		}
		w->rows[w->n++] = (struct saved){
			.seq = rows->seq[at],
			.position = rows->position[at],
			.timestamp = rows->timestamp[at],
			.body_at = save_text(w, rows->body[at]),
			.body_n = rows->body[at].n,
			.meta_at = save_text(w, rows->meta[at]),
			.meta_n = rows->meta[at].n,
			.stream = name_index(&w->streams, rows->streams[rows->stream[at]]),
			.source = rows->source[at] == 0
					  ? 0
					  : 1 + name_index(&w->sources,
							rows->sources[rows->source[at] - 1]),
			.severity = rows->severity[at],
			.flags = rows->flags[at],
		};
	}
	return 0;
}

static int compare_saved(const void *a, const void *b)
{
	const struct saved *x = a, *y = b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int deliver_window(struct cursor *c, struct window *w, size_t max_rows, uint64_t until_seq,
	int (*rows)(void *ctx, const struct rows *rows), void *ctx, struct error *e)
{
	size_t n = w->n < max_rows ? w->n : max_rows;
	struct str text = buf_view(&w->text);
	struct unit u = {.account = c->account};
	struct rows out;
	int r;

	qsort(w->rows, w->n, sizeof *w->rows, compare_saved);
	if ((r = unit_reserve(&u, n, e)) < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		const struct saved *s = &w->rows[i];

		u.pick[i] = (uint32_t)i;
		u.seq[i] = s->seq;
		u.timestamp[i] = s->timestamp;
		u.position[i] = s->position;
		u.body[i] = str_sub(text, s->body_at, s->body_at + s->body_n);
		u.meta[i] = str_sub(text, s->meta_at, s->meta_at + s->meta_n);
		u.stream[i] = s->stream;
		u.source[i] = s->source;
		u.severity[i] = s->severity;
		u.flags[i] = s->flags;
	}
	out = unit_rows(&u, n, UNIT_ALL & ~(unsigned)UNIT_TEMPLATE);
	out.streams = names_views(&w->streams);
	out.n_streams = w->streams.n;
	out.sources = names_views(&w->sources);
	out.n_sources = w->sources.n;
	if ((r = rows(ctx, &out)) >= 0) {
		if (r > 0)
			c->after_seq = w->rows[r - 1].seq;
		else
			c->after_seq = n < w->n ? w->rows[n - 1].seq : until_seq;
		r = 1;
	} else {
		error_set(e, r, "the reader stopped");
	}
	unit_fini(&u);
	return r;
}

/* Deliver what lies in (after_seq, until_seq] or its beginning: 1 delivered, 0 go on. */
static int read_window(struct cursor *c, uint64_t end_seq, size_t max_rows,
	int (*rows)(void *ctx, const struct rows *rows), void *ctx, struct error *e)
{
	struct window w = {.account = c->account};
	struct scan scan = {
		.tenant = c->tenant,
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX,
		.after_seq = c->after_seq,
		.source = c->source,
		.order = SCAN_BY_SEQ,
		.columns = SCAN_BODY | SCAN_META | SCAN_SOURCE,
		.account = c->account,
		.ctx = &w,
		.rows = save_rows,
	};
	struct snapshot *sn;
	int r;

	if (c->window == 0)
		c->window = max_rows;
	scan.until_seq = end_seq - c->after_seq > c->window ? c->after_seq + c->window : end_seq;
	sn = snapshot_take(c->store);
	r = snapshot_scan(sn, &scan, e);
	snapshot_free(sn);
	if (r > 0 && scan.until_seq > c->after_seq + 1) {
		c->window = (scan.until_seq - c->after_seq + 3) / 4;
		r = 0;
	} else if (r >= 0 && w.n > 0) {
		r = deliver_window(c, &w, max_rows, scan.until_seq, rows, ctx, e);
	} else if (r >= 0) {
		c->after_seq = scan.until_seq;
	}
	if (w.n < max_rows / 2 && w.charged < WINDOW_BYTES / 4 && c->window < WINDOW_SEQS_MAX)
		c->window *= 2;
	if (c->account)
		account_release(c->account, w.charged);
	names_fini(&w.streams);
	names_fini(&w.sources);
	buf_fini(&w.text);
	free(w.rows);
	return r;
}

int cursor_next(struct cursor *c, size_t max_rows, int (*rows)(void *ctx, const struct rows *rows),
	void *ctx, struct error *e)
{
	struct store *s = c->store;
	int r = 0;

	while (r == 0) {
		struct batch *b;
		uint64_t last_seq;

		lock_take(&s->lock);
		b = head_find(&s->head, c->after_seq);
		last_seq = atomic_load(&s->last_seq);
		lock_drop(&s->lock);
		if (c->after_seq >= last_seq) {
			batch_unref(b);
			return 0;
		}
		if (!b || batch_first_seq(b) > c->after_seq + 1)
			r = read_window(
				c, b ? batch_first_seq(b) - 1 : last_seq, max_rows, rows, ctx, e);
		else if (str_eq(batch_tenant(b), c->tenant))
			r = deliver_batch(c, b, max_rows, rows, ctx, e);
		else
			c->after_seq = batch_first_seq(b) + batch_count(b) - 1;
		batch_unref(b);
	}
	return r;
}
