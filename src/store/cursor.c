/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the head a cursor takes one batch at a time, which is in order already.
 *
 * Parts are sorted by stream and time, so their blocks overlap in sequences.
 * From them it collects a window: the first records behind it, copied and
 * sorted, as many as there is memory for.  A window that becomes too large lets
 * go of its later half, and the scan that fills it ends that much earlier; so
 * memory is bounded whatever lies there, a line is spelled about once, and a
 * block is decoded once for each window that it has rows in.
 */
#include "store/cursor.h"

#include <stdlib.h>

#include "base/map.h"
#include "store/core.h"
#include "store/unit.h"

enum {
	/* Copied lines, metadata and what is kept of a record, unless one record is larger; a
	 * quarter of the memory that is left, within these. */
	WINDOW_BYTES_MIN = 256 << 10,
	WINDOW_BYTES_MAX = 16 << 20,
	CURSOR_COLUMNS = UNIT_ALL & ~UNIT_TEMPLATE,
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

/* Leave hidden rows out of the n that are picked.  What is hidden is asked of those streams alone
 * that they are of. */
static size_t leave_hidden_out(const struct cursor *c, const struct visibility *v,
	const struct str *streams, size_t n_streams, struct unit *u, size_t n)
{
	struct buf hidden = {0}, hidden_of = {0};
	int64_t min = INT64_MAX, max = INT64_MIN;
	uint8_t *there;

	if (n == 0 || visibility_clear(v))
		return n;
	there = xcalloc(n_streams, 1);
	for (size_t i = 0; i < n; i++) {
		uint32_t at = u->pick[i];

		there[u->stream[at]] = 1;
		min = u->timestamp[at] < min ? u->timestamp[at] : min;
		max = u->timestamp[at] > max ? u->timestamp[at] : max;
	}
	for (uint32_t i = 0; i < n_streams; i++)
		if (there[i])
			unit_find_hidden(v, c->tenant, streams[i], i, min, max, u->seq[u->pick[0]],
				&hidden, &hidden_of);
	if (hidden_of.n > 0)
		n = unit_hide(u, n, v, &hidden, &hidden_of, true);
	free(there);
	buf_fini(&hidden);
	buf_fini(&hidden_of);
	return n;
}

/* 1 delivered, 0: nothing in it, and the cursor is behind it. */
static int deliver_batch(struct cursor *c, const struct batch *b, const struct visibility *v,
	size_t max_rows, int (*rows)(void *ctx, const struct rows *rows), void *ctx,
	struct error *e)
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
	for (size_t i = 0; i < batch_n_streams(b); i++) {
		struct str labels = batch_stream(b, i);

		buf_put(&streams, &labels, sizeof labels);
	}
	picked = leave_hidden_out(c, v, (const struct str *)streams.p, batch_n_streams(b), &u,
		pick_rows(&u, n, source));
	if (picked == 0) {
		c->after_seq = last_seq;
		unit_fini(&u);
		buf_fini(&streams);
		return 0;
	}
	for (size_t i = 0; i < batch_n_sources(b); i++) {
		struct str id = batch_source(b, i).id;

		buf_put(&sources, &id, sizeof id);
	}
	out = unit_rows(&u, picked, CURSOR_COLUMNS);
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

/* Records of (after_seq, until_seq], sorted; those before `at` were delivered. */
struct cursor_window {
	uint64_t after_seq, until_seq;
	struct saved *rows;
	size_t n, cap, at;
	struct buf text;
	struct names streams, sources;
	struct account *account;
	uint64_t charged, budget;
	struct scan *scan; /* while it is being filled */
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

/* Places become views; once, when all names are there. */
static void names_finish(struct names *names)
{
	struct str *views = (struct str *)names->places.p;

	for (size_t i = 0; i < names->n; i++)
		views[i].p = names->text.p + (uintptr_t)views[i].p;
}

static void names_fini(struct names *names)
{
	map_fini(&names->index);
	buf_fini(&names->text);
	buf_fini(&names->places);
}

static void window_free(struct cursor_window *w)
{
	if (!w)
		return;
	account_release(w->account, w->charged);
	names_fini(&w->streams);
	names_fini(&w->sources);
	buf_fini(&w->text);
	free(w->rows);
	free(w);
}

static size_t save_text(struct cursor_window *w, struct str s)
{
	size_t at = w->text.n;

	buf_str(&w->text, s);
	return at;
}

static int compare_seqs(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t median(const struct cursor_window *w)
{
	uint64_t *seqs = xmalloc(w->n * sizeof *seqs), seq;

	for (size_t i = 0; i < w->n; i++)
		seqs[i] = w->rows[i].seq;
	qsort(seqs, w->n, sizeof *seqs, compare_seqs);
	seq = seqs[(w->n - 1) / 2];
	free(seqs);
	return seq;
}

static uint64_t bytes_of(const struct saved *s)
{
	return s->body_n + s->meta_n + sizeof *s;
}

/* Let go of the later half, and of what would come of it: the scan goes on up to its beginning.
 * Rows and their text lie in the same order. */
static void shrink(struct cursor_window *w)
{
	uint64_t until = median(w), freed = 0;
	size_t kept = 0, text = 0;

	for (size_t i = 0; i < w->n; i++) {
		struct saved s = w->rows[i];

		if (s.seq > until) {
			freed += bytes_of(&s);
			continue;
		}
		if (s.body_n + s.meta_n > 0)
			memmove(w->text.p + text, w->text.p + s.body_at, s.body_n + s.meta_n);
		s.body_at = text;
		s.meta_at = text + s.body_n;
		text = s.meta_at + s.meta_n;
		w->rows[kept++] = s;
	}
	w->n = kept;
	w->text.n = text;
	account_release(w->account, freed);
	w->charged -= freed;
	w->until_seq = w->scan->until_seq = until;
}

static size_t choose_rows(void *ctx, const struct rows *rows, uint32_t *pick)
{
	const struct cursor_window *w = ctx;
	size_t n = 0;

	for (size_t i = 0; i < rows->n; i++)
		if (rows->seq[pick[i]] <= w->until_seq)
			pick[n++] = pick[i];
	return n;
}

static int save_row(struct cursor_window *w, const struct rows *rows, uint32_t at, struct error *e)
{
	struct saved s = {
		.seq = rows->seq[at],
		.position = rows->position[at],
		.timestamp = rows->timestamp[at],
		.body_n = rows->body[at].n,
		.meta_n = rows->meta[at].n,
		.stream = name_index(&w->streams, rows->streams[rows->stream[at]]),
		.severity = rows->severity[at],
		.flags = rows->flags[at],
	};
	int r;

	while ((r = scan_charge(w->account, bytes_of(&s), e)) < 0 && w->n > 1 &&
		s.seq <= w->until_seq)
		shrink(w);
	if (r < 0 || s.seq > w->until_seq) {
		account_release(w->account, r < 0 ? 0 : bytes_of(&s));
		return s.seq > w->until_seq ? 0 : r;
	}
	w->charged += bytes_of(&s);
	if (rows->source[at] > 0)
		s.source = 1 + name_index(&w->sources, rows->sources[rows->source[at] - 1]);
	s.body_at = save_text(w, rows->body[at]);
	s.meta_at = save_text(w, rows->meta[at]);
	if (w->n == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 256;
		w->rows = xrealloc(w->rows, w->cap * sizeof *w->rows);
	}
	w->rows[w->n++] = s;
	while (w->charged > w->budget && w->n > 1)
		shrink(w);
	return 0;
}

static int save_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct cursor_window *w = ctx;

	for (size_t i = 0; i < rows->n; i++) {
		uint32_t at = rows->pick[i];
		int r;

		if (rows->seq[at] <= w->until_seq && (r = save_row(w, rows, at, e)) < 0)
			return r;
	}
	return 0;
}

static int compare_saved(const void *a, const void *b)
{
	const struct saved *x = a, *y = b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* Collect the first records behind the cursor up to end_seq, as many as there is room for. */
static int fill_window(struct cursor *c, uint64_t end_seq, struct error *e)
{
	struct cursor_window *w = xcalloc(1, sizeof *w);
	uint64_t room = c->account ? account_room(c->account) / 4 : WINDOW_BYTES_MAX;
	uint64_t most = c->window_bytes ? c->window_bytes : WINDOW_BYTES_MAX;
	struct snapshot *sn = snapshot_take(c->store);
	struct scan scan = {
		.tenant = c->tenant,
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX,
		.after_seq = c->after_seq,
		.until_seq = end_seq,
		.source = c->source,
		.order = SCAN_BY_SEQ,
		.columns = SCAN_BODY | SCAN_META | SCAN_SOURCE,
		.account = c->account,
		.ctx = w,
		.narrow = choose_rows,
		.rows = save_rows,
	};
	int r;

	/* As far as the window before went and a little more: what is let go of was read in vain.
	 */
	if (c->window_seqs > 0 && end_seq - c->after_seq > c->window_seqs)
		scan.until_seq = c->after_seq + c->window_seqs;
	w->account = c->account;
	w->after_seq = c->after_seq;
	w->until_seq = scan.until_seq;
	w->scan = &scan;
	w->budget = room < WINDOW_BYTES_MIN ? WINDOW_BYTES_MIN : room > most ? most : room;
	r = snapshot_scan(sn, &scan, e);
	snapshot_free(sn);
	if (r < 0) {
		window_free(w);
		return r;
	}
	if (w->n > 1)
		qsort(w->rows, w->n, sizeof *w->rows, compare_saved);
	c->window_seqs = w->until_seq - w->after_seq;
	c->window_seqs += w->charged < w->budget / 2 ? c->window_seqs : c->window_seqs / 8;
	names_finish(&w->streams);
	names_finish(&w->sources);
	c->window = w;
	return 0;
}

static void fill_unit(struct unit *u, const struct cursor_window *w, size_t n)
{
	struct str text = buf_view(&w->text);

	for (size_t i = 0; i < n; i++) {
		const struct saved *s = &w->rows[w->at + i];

		u->pick[i] = (uint32_t)i;
		u->seq[i] = s->seq;
		u->timestamp[i] = s->timestamp;
		u->position[i] = s->position;
		u->body[i] = str_sub(text, s->body_at, s->body_at + s->body_n);
		u->meta[i] = str_sub(text, s->meta_at, s->meta_at + s->meta_n);
		u->stream[i] = s->stream;
		u->source[i] = s->source;
		u->severity[i] = s->severity;
		u->flags[i] = s->flags;
	}
}

/* Move the cursor behind the first n of the window that are left. */
static void advance(struct cursor *c, size_t n)
{
	struct cursor_window *w = c->window;

	w->at += n;
	c->after_seq = w->at < w->n ? w->rows[w->at - 1].seq : w->until_seq;
	if (w->at < w->n)
		return;
	window_free(w);
	c->window = NULL;
}

/* 1 delivered, 0 go on.  What was hidden since the window was filled is left out. */
static int deliver_window(struct cursor *c, const struct visibility *v, size_t max_rows,
	int (*rows)(void *ctx, const struct rows *rows), void *ctx, struct error *e)
{
	struct cursor_window *w = c->window;
	size_t n = w->n - w->at < max_rows ? w->n - w->at : max_rows, picked;
	struct unit u = {.account = c->account};
	struct rows out;
	int r = 0;

	if (n == 0) {
		advance(c, 0);
		return 0;
	}
	if ((r = unit_need(&u, n, CURSOR_COLUMNS, e)) < 0)
		return r;
	fill_unit(&u, w, n);
	picked = leave_hidden_out(
		c, v, (const struct str *)w->streams.places.p, w->streams.n, &u, n);
	out = unit_rows(&u, picked, CURSOR_COLUMNS);
	out.streams = (const struct str *)w->streams.places.p;
	out.n_streams = w->streams.n;
	out.sources = (const struct str *)w->sources.places.p;
	out.n_sources = w->sources.n;
	if (picked == 0) {
		advance(c, n);
	} else if ((r = rows(ctx, &out)) >= 0) {
		advance(c, r > 0 ? u.pick[r - 1] + 1 : n);
		r = 1;
	} else {
		error_set(e, r, "the reader stopped");
	}
	unit_fini(&u);
	return r;
}

/* What the cursor holds is of where it stands? */
static bool window_fits(const struct cursor *c)
{
	const struct cursor_window *w = c->window;

	return w && c->after_seq >= w->after_seq && c->after_seq < w->until_seq &&
	       (w->at == 0 ? c->after_seq == w->after_seq : c->after_seq == w->rows[w->at - 1].seq);
}

/* Deliver what lies in (after_seq, end_seq] or its beginning: 1 delivered, 0 go on. */
static int read_parts(struct cursor *c, const struct visibility *v, uint64_t end_seq,
	size_t max_rows, int (*rows)(void *ctx, const struct rows *rows), void *ctx,
	struct error *e)
{
	int r;

	if (!window_fits(c)) {
		cursor_fini(c);
		if ((r = fill_window(c, end_seq, e)) < 0)
			return r;
	}
	return deliver_window(c, v, max_rows, rows, ctx, e);
}

void cursor_fini(struct cursor *c)
{
	window_free(c->window);
	c->window = NULL;
}

int cursor_next(struct cursor *c, size_t max_rows, int (*rows)(void *ctx, const struct rows *rows),
	void *ctx, struct error *e)
{
	struct store *s = c->store;
	int r = 0;

	while (r == 0) {
		struct visibility *v;
		struct batch *b;
		uint64_t last_seq;

		lock_take(&s->lock);
		/* Before the batch is looked for, as a snapshot does it. */
		v = store_visibility(s);
		b = head_find(&s->head, c->after_seq);
		last_seq = atomic_load(&s->last_seq);
		lock_drop(&s->lock);
		if (c->after_seq >= last_seq) {
			visibility_unref(v);
			batch_unref(b);
			return 0;
		}
		if (!b || batch_first_seq(b) > c->after_seq + 1)
			r = read_parts(c, v, b ? batch_first_seq(b) - 1 : last_seq, max_rows, rows,
				ctx, e);
		else if (str_eq(batch_tenant(b), c->tenant))
			r = deliver_batch(c, b, v, max_rows, rows, ctx, e);
		else
			c->after_seq = batch_first_seq(b) + batch_count(b) - 1;
		visibility_unref(v);
		batch_unref(b);
	}
	return r;
}
