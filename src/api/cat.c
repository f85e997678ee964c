/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /sawlog/api/v1/files?host=H&file=F: the generations of a forwarded file,
 * oldest first.  GET /sawlog/api/v1/cat?source=ID&cursor=C&until=SEQ: a piece
 * of one of them as it was, byte for byte.
 *
 * A generation is a source of the forwarder's: "file:…" of proto/envelope.h.
 * Its records were committed in the order of their positions, so its bytes
 * come by following its sequence; a page ends at any record, and its cursor,
 * "SEQ.POSITION" of the last one, is all that the next page needs.
 *
 * A page is text with bytes behind it.  Lines, then an empty one, then the
 * bytes of the pieces, one behind the other:
 *
 *	next SEQ.POSITION            there is more
 *	piece OFFSET LENGTH          so many of the bytes stand at this offset
 *	gap OFFSET LENGTH sentence   so many bytes at this offset are not known, and why
 *	redacted OFFSET LENGTH N     N of the bytes stand for so many at this offset
 *
 * Pieces of neighbouring records may come in another order than that of their
 * offsets, as the lines of a container's two streams do when one is in parts.
 */
#include "api/internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "proto/envelope.h"
#include "store/cursor.h"

enum {
	PAGE_BYTES = 4 << 20,
	PAGE_ROWS = 4096,
	FRAGMENT_BYTES = 1 << 20, /* of a long line, as inputs cut it */
};

/* A page with little in it is answered after so long, so that clients see it go on. */
static const int64_t page_ns = 2 * NS_PER_SEC;

/* ---- the generations of a file ---- */

struct generation {
	uint64_t first_seq, last_seq, n_records, size, n_gaps, n_skipped, n_redacted;
	int64_t first_ns, last_ns;
	struct str source; /* in the map of the list */
};

struct list_of {
	struct str host, file;
	struct map index; /* source id to its generation */
	struct generation *all;
	size_t n, cap;
	struct account *account;
	uint64_t charged;
};

static bool is_file(void *ctx, struct str labels)
{
	struct list_of *l = ctx;
	struct str v;

	return labels_get(labels, STR("host"), &v) && str_eq(v, l->host) &&
	       labels_get(labels, STR("file"), &v) && str_eq(v, l->file);
}

static struct generation *find_generation(struct list_of *l, struct str source, struct error *e)
{
	uint64_t need = source.n + 2 * sizeof(struct map_slot) + 2 * sizeof *l->all;
	union map_value *v = map_get(&l->index, source);

	if (v)
		return &l->all[v->u];
	if (account_charge(l->account, need) < 0) {
		error_set(e, ERR_BUSY, "the generations of this file do not fit in the memory");
		return NULL;
	}
	l->charged += need;
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 16;
		l->all = xrealloc(l->all, l->cap * sizeof *l->all);
	}
	map_put(&l->index, source, NULL)->u = l->n;
	l->all[l->n] = (struct generation){
		.first_seq = UINT64_MAX, .first_ns = INT64_MAX, .last_ns = INT64_MIN};
	return &l->all[l->n++];
}

static void count_row(struct generation *g, const struct rows *rows, uint32_t i)
{
	struct str meta = rows->meta[i], v;
	uint64_t seq = rows->seq[i];

	g->n_records++;
	g->first_seq = seq < g->first_seq ? seq : g->first_seq;
	g->last_seq = seq > g->last_seq ? seq : g->last_seq;
	g->size = rows->position[i] > g->size ? rows->position[i] : g->size;
	g->first_ns = rows->timestamp[i] < g->first_ns ? rows->timestamp[i] : g->first_ns;
	g->last_ns = rows->timestamp[i] > g->last_ns ? rows->timestamp[i] : g->last_ns;
	g->n_gaps += (rows->flags[i] & RECORD_GAP) != 0;
	g->n_skipped += meta.n && labels_get(meta, STR(ENVELOPE_SKIPPED_META), &v);
	g->n_redacted += meta.n && labels_get(meta, STR(ENVELOPE_REDACTED_META), &v);
}

static int count_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct list_of *l = ctx;
	struct generation *g = NULL;
	uint32_t last = 0;

	for (size_t k = 0; k < rows->n; k++) {
		uint32_t i = rows->pick[k], source = rows->source[i];

		if (source == 0 || !str_starts(rows->sources[source - 1], STR("file:")))
			continue;
		if (source != last && !(g = find_generation(l, rows->sources[source - 1], e)))
			return e->code;
		last = source;
		count_row(g, rows, i);
	}
	return 0;
}

static int by_first_seq(const void *a, const void *b)
{
	const struct generation *x = a, *y = b;

	return x->first_seq < y->first_seq ? -1 : x->first_seq > y->first_seq;
}

/* Views of the map's keys; before sorting, as the map knows places. */
static void name_sources(struct list_of *l)
{
	const struct map_slot *s;
	size_t at = 0;

	while ((s = map_next(&l->index, &at)))
		l->all[s->value.u].source = s->key;
}

static void write_generation(struct buf *out, const struct generation *g, size_t number)
{
	buf_printf(out, "%s{\"generation\":%zu,\"source\":", number > 1 ? "," : "", number);
	buf_json(out, g->source);
	buf_printf(out,
		",\"size\":%llu,\"records\":%llu,\"first\":\"%lld\",\"last\":\"%lld\","
		"\"gaps\":%llu,\"skipped\":%llu,\"redacted\":%llu,"
		"\"cursor\":\"%llu.0\",\"last_seq\":\"%llu\"}",
		(unsigned long long)g->size, (unsigned long long)g->n_records,
		(long long)g->first_ns, (long long)g->last_ns, (unsigned long long)g->n_gaps,
		(unsigned long long)g->n_skipped, (unsigned long long)g->n_redacted,
		(unsigned long long)g->first_seq - 1, (unsigned long long)g->last_seq);
}

static int list_generations(struct job *j, struct error *e)
{
	struct list_of l = {.account = &j->api->query_account};
	struct scan scan = {.tenant = j->tenant,
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX,
		.order = SCAN_BY_SEQ,
		.columns = SCAN_META | SCAN_SOURCE,
		.account = &j->api->query_account,
		.cancel = &j->cancel,
		.ctx = &l,
		.want_stream = is_file,
		.rows = count_rows};
	struct snapshot *sn;
	int r;

	if (!http_param(j->request, "host", &l.host) || !http_param(j->request, "file", &l.file))
		return error_set(e, ERR_ARG, "host and file must be given: ?host=H&file=F");
	sn = snapshot_take(j->api->o.store);
	if ((r = snapshot_scan(sn, &scan, e)) >= 0) {
		name_sources(&l);
		if (l.n)
			qsort(l.all, l.n, sizeof *l.all, by_first_seq);
		buf_c(&j->body, "{\"generations\":[");
		for (size_t i = 0; i < l.n; i++)
			write_generation(&j->body, &l.all[i], i + 1);
		buf_c(&j->body, "]}\n");
	}
	snapshot_free(sn);
	account_release(l.account, l.charged);
	map_fini(&l.index);
	free(l.all);
	return r < 0 ? r : 0;
}

void cat_files(struct http_request *r, void *ctx)
{
	api_tenant_job(ctx, r, list_generations);
}

/* ---- its bytes ---- */

struct page {
	struct buf head, bytes;
	uint64_t piece_at, piece_n; /* the piece that is being made, in the file; n 0: none */
	uint64_t until_seq;
	uint64_t position; /* of the last record */
	size_t limit;
	bool done; /* until_seq is reached */
	struct error error;
};

static void end_piece(struct page *p)
{
	if (p->piece_n)
		buf_printf(&p->head, "piece %llu %llu\n", (unsigned long long)p->piece_at,
			(unsigned long long)p->piece_n);
	p->piece_n = 0;
}

static int put_piece(void *ctx, uint64_t offset, struct str bytes, struct error *e)
{
	struct page *p = ctx;

	if (p->piece_n == 0 || offset != p->piece_at + p->piece_n) {
		end_piece(p);
		p->piece_at = offset;
	}
	p->piece_n += bytes.n;
	buf_str(&p->bytes, bytes);
	return 0;
}

static void put_gap(struct page *p, uint64_t offset, uint64_t n, struct str why)
{
	if (n == 0)
		return;
	end_piece(p);
	buf_printf(&p->head, "gap %llu %llu ", (unsigned long long)offset, (unsigned long long)n);
	why = str_sub(why, 0, 1000);
	for (size_t i = 0; i < why.n; i++)
		buf_char(&p->head, (unsigned char)why.p[i] < 0x20 ? ' ' : why.p[i]);
	buf_char(&p->head, '\n');
}

static uint64_t meta_number(struct str meta, struct str name)
{
	struct str v;
	uint64_t n;

	return meta.n && labels_get(meta, name, &v) && str_u64(v, &n) ? n : 0;
}

/* A redacted record stands for bytes that nobody has: the record as it is, and its newline, but for
 * a piece out of the middle of a long line, which has none. */
static void put_redacted(struct page *p, const struct record *r, uint64_t n)
{
	uint64_t fragment = meta_number(r->meta, STR("fragment"));
	bool newline = n > 0 && !(fragment && n == FRAGMENT_BYTES);

	end_piece(p);
	buf_printf(&p->head, "redacted %llu %llu %llu\n", (unsigned long long)(r->position - n),
		(unsigned long long)n, (unsigned long long)(r->body.n + newline));
	buf_str(&p->bytes, r->body);
	if (newline)
		buf_char(&p->bytes, '\n');
}

/* What is left when records before this one are gone: the line, and most likely its newline. */
static void put_after_loss(struct page *p, const struct record *r)
{
	uint64_t length = r->body.n + 1, room = r->position - p->position;
	struct str recipe;

	assert(r->position >= p->position);
	if (room < length || (r->meta.n && labels_get(r->meta, STR(ENVELOPE_META), &recipe))) {
		put_gap(p, p->position, room, STR("the record does not tell its bytes"));
		return;
	}
	put_gap(p, p->position, room - length, STR("not in this store"));
	put_piece(p, r->position - length, r->body, NULL);
	put_piece(p, r->position - 1, STR("\n"), NULL);
}

/* The record is behind p->position, or where neither has one.  What its metadata says is bounded by
 * that: anybody who may push can write metadata. */
static int put_record(struct page *p, const struct record *r, struct error *e)
{
	uint64_t room = r->position - p->position, n;
	int code;

	if (r->flags & RECORD_GAP) {
		put_gap(p, p->position, room, r->body);
		return 0;
	}
	if ((n = meta_number(r->meta, STR(ENVELOPE_SKIPPED_META))) > 0)
		put_gap(p, p->position, n < room ? n : room,
			STR("not stored: dropped by a rule, or before `start`"));
	if ((n = meta_number(r->meta, STR(ENVELOPE_REDACTED_META))) > 0 && n <= r->position) {
		put_redacted(p, r, n);
		return 0;
	}
	code = envelope_rebuild(r, p->position, put_piece, p, e);
	if (code == ERR_CORRUPT || code == ERR_UNSUPPORTED) {
		put_after_loss(p, r);
		return 0;
	}
	return code;
}

/* Takes rows until the page is full. */
static int put_rows(void *ctx, const struct rows *rows)
{
	struct page *p = ctx;

	for (size_t k = 0; k < rows->n; k++) {
		uint32_t i = rows->pick[k];
		struct record r = {.timestamp = rows->timestamp[i],
			.body = rows->body[i],
			.meta = rows->meta[i],
			.position = rows->position[i],
			.severity = rows->severity[i],
			.flags = rows->flags[i]};
		int code;

		p->done = rows->seq[i] > p->until_seq;
		if (p->done || (k > 0 && p->head.n + p->bytes.n >= p->limit))
			return (int)k;
		if (r.position > p->position || (r.position == 0 && p->position == 0)) {
			if ((code = put_record(p, &r, &p->error)) < 0)
				return code;
			p->position = r.position;
		}
	}
	return 0;
}

/* "SEQ.POSITION" */
static bool read_cursor(struct str text, uint64_t *seq, uint64_t *position)
{
	struct str rest = text, first = str_cut(&rest, '.');

	return str_u64(first, seq) && str_u64(rest, position);
}

static int read_params(struct job *j, struct cursor *c, struct page *p, struct error *e)
{
	struct str s;

	if (!http_param(j->request, "source", &c->source) || c->source.n == 0)
		return error_set(
			e, ERR_ARG, "source must be given, as /sawlog/api/v1/files tells it");
	if (http_param(j->request, "cursor", &s) && !read_cursor(s, &c->after_seq, &p->position))
		return error_set(
			e, ERR_ARG, "cursor: expected SEQ.POSITION as the page before told");
	p->until_seq = UINT64_MAX;
	if (http_param(j->request, "until", &s) && !str_u64(s, &p->until_seq))
		return error_set(e, ERR_ARG, "until: expected a sequence");
	return 0;
}

/* 1: there is more, 0: the end. */
static int fill_page(struct job *j, struct cursor *c, struct page *p, struct error *e)
{
	struct clock *clock = j->api->o.clock;
	int64_t end = clock_mono_ns(clock) + page_ns;
	int r = 1;

	while (r > 0 && !p->done && p->head.n + p->bytes.n < p->limit) {
		if (atomic_load(&j->cancel))
			return error_set(e, ERR_CANCELLED, "cancelled");
		if (clock_mono_ns(clock) > end)
			break;
		if ((r = cursor_next(c, PAGE_ROWS, put_rows, p, e)) < 0 && p->error.code)
			*e = p->error;
	}
	return r < 0 ? r : r > 0 && !p->done && c->after_seq < p->until_seq;
}

static int read_page(struct job *j, struct error *e)
{
	struct account *a = &j->api->query_account;
	struct cursor c = {.store = j->api->o.store, .tenant = j->tenant, .account = a};
	struct page p = {.limit = a->limit / 16 < PAGE_BYTES ? a->limit / 16 : PAGE_BYTES};
	int r;

	if ((r = read_params(j, &c, &p, e)) < 0)
		return r;
	/* Pieces, and the answer that they are copied to. */
	if (account_charge(a, 2 * p.limit) < 0)
		return error_set(e, ERR_BUSY, "no memory for a page now: try again in a second");
	c.window_bytes = 2 * p.limit;
	if ((r = fill_page(j, &c, &p, e)) >= 0) {
		end_piece(&p);
		j->content_type = "application/x-sawlog-pieces";
		if (r > 0)
			buf_printf(&j->body, "next %llu.%llu\n", (unsigned long long)c.after_seq,
				(unsigned long long)p.position);
		buf_str(&j->body, buf_view(&p.head));
		buf_char(&j->body, '\n');
		buf_str(&j->body, buf_view(&p.bytes));
		r = 0;
	}
	cursor_fini(&c);
	buf_fini(&p.head);
	buf_fini(&p.bytes);
	account_release(a, 2 * p.limit);
	return r;
}

void cat_page(struct http_request *r, void *ctx)
{
	api_tenant_job(ctx, r, read_page);
}
