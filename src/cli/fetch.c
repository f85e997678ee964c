/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paging.  A sawlog server cuts an answer at `limit` lines and hands out a
 * token that goes on exactly behind the last one, over the same snapshot.  Its
 * answer groups the lines by labels, as Loki's does, and detected_level is one
 * of them; so each line brings its sequence, and lines of one time are put in
 * the order in which they were committed again.
 *
 * Loki has no such token, and times are not unique.  There the next page
 * begins AT the time of the last line, and what was printed of that time is
 * counted by hash and skipped as often as it was printed:
 *
 *   page 1:  a@1 b@2 c@3 | d@3 was cut        border 3, printed {c}
 *   page 2:  c@3 d@3 e@4                      c is skipped, d is new
 *
 * A page that holds nothing but its border cannot move on: it is asked for
 * again, twice as large; when the server refuses that, the time is stepped
 * over and the loss is told.
 */
#include "cli/fetch.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/map.h"
#include "base/memory.h"
#include "codec/codec.h"
#include "record/time.h"

uint64_t fetch_page_lines = 5000; /* Loki's max_entries_limit_per_query by default */

struct item {
	struct print_entry entry;
	size_t label_at, label_n; /* in page.labels, until that buffer stands still */
	size_t meta_at, meta_n;   /* there too */
	size_t bytes_at,
		bytes_n; /* in page.bytes: the line, where JSON does not have it; n 0: no */
	uint64_t seq;    /* sawlog: of its record; else 0 */
	uint64_t at;     /* sawlog: its place, where time and sequence do not tell; else 0 */
	size_t order;    /* in the answer: makes the sort stable */
};

struct page {
	struct item *items;
	struct print_entry *list; /* the items in order */
	size_t n, cap;
	struct buf labels, bytes;
	struct labels_builder builder;
};

struct pager {
	struct fetch *f;
	struct page page;
	struct buf path, cursor;
	uint64_t page_limit;
	int64_t from_ns, until_ns; /* moved by the fallback */
	/* Fallback: what was printed at the border, key -> times. */
	struct map printed;
	int64_t border_ns;
	bool has_border, begun;
	struct map told; /* warnings */
};

/* --- answers to entries ------------------------------------------------ */

static void page_fini(struct page *p)
{
	free(p->items);
	free(p->list);
	buf_fini(&p->labels);
	buf_fini(&p->bytes);
	labels_builder_fini(&p->builder);
}

static void page_add(struct page *p, int64_t ns, size_t label_at, size_t label_n, struct str line)
{
	if (p->n == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 64;
		p->items = xrealloc(p->items, p->cap * sizeof *p->items);
		p->list = xrealloc(p->list, p->cap * sizeof *p->list);
	}
	p->items[p->n] = (struct item){
		.entry = {.timestamp = ns, .line = line},
		.label_at = label_at,
		.label_n = label_n,
		.order = p->n,
	};
	p->n++;
}

/* What is behind the line in ["ns", "line", {"seq": N, …}], if anything. */
static void read_extra(struct page *p, const struct json *j, size_t entry)
{
	size_t extra = json_next(j, entry + 2), seq, bytes, meta, at;
	struct item *item = &p->items[p->n - 1];

	if (extra >= json_end(j, entry) || j->nodes[extra].type != JSON_OBJECT)
		return;
	seq = json_get(j, extra, "seq");
	if (seq && !str_u64(j->nodes[seq].text, &item->seq))
		item->seq = 0;
	at = json_get(j, extra, "at");
	if (at && !str_u64(j->nodes[at].text, &item->at))
		item->at = 0;
	if ((meta = json_get(j, extra, "structuredMetadata")) > 0) {
		item->meta_at = p->labels.n;
		print_labels_of(j, meta, &p->builder, &p->labels);
		item->meta_n = p->labels.n - item->meta_at;
	}
	bytes = json_get(j, extra, "base64");
	item->bytes_at = p->bytes.n;
	if (bytes && base64_get(&p->bytes, j->nodes[bytes].text))
		item->bytes_n = p->bytes.n - item->bytes_at;
}

/* One of {"stream": {…}, "values": [["ns", "line", …], …]}. */
static int read_stream(struct page *p, const struct json *j, size_t at, struct error *e)
{
	size_t values = json_get(j, at, "values"), label_at = p->labels.n, label_n;

	if (!values || j->nodes[values].type != JSON_ARRAY)
		return error_set(e, ERR_NET, "the answer has a stream without values");
	print_labels_of(j, json_get(j, at, "stream"), &p->builder, &p->labels);
	label_n = p->labels.n - label_at;
	for (size_t i = json_first(j, values); i < json_end(j, values); i = json_next(j, i)) {
		int64_t ns;

		if (j->nodes[i].type != JSON_ARRAY || j->nodes[i].inside < 2 ||
			!str_i64(j->nodes[i + 1].text, &ns) || j->nodes[i + 2].type != JSON_STRING)
			return error_set(
				e, ERR_NET, "the answer has an entry that is no [time, line]");
		page_add(p, ns, label_at, label_n, j->nodes[i + 2].text);
		read_extra(p, j, i);
	}
	return 0;
}

/* By their places, where the answer tells them: its stages made several lines of one, or reordered
 * them.  Else by time and then as they were committed, which for a server that does not tell is as
 * they stand in the answer: right within a stream. */
static int by_time(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	if (x->entry.timestamp != y->entry.timestamp)
		return x->entry.timestamp < y->entry.timestamp ? -1 : 1;
	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

static int by_time_backward(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	if (x->entry.timestamp != y->entry.timestamp)
		return x->entry.timestamp > y->entry.timestamp ? -1 : 1;
	if (x->seq != y->seq)
		return x->seq > y->seq ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

static int read_page(
	struct page *p, const struct json *j, size_t result, bool forward, struct error *e)
{
	int r;

	p->n = 0;
	buf_clear(&p->labels);
	buf_clear(&p->bytes);
	for (size_t i = json_first(j, result); i < json_end(j, result); i = json_next(j, i))
		if ((r = read_stream(p, j, i, e)) < 0)
			return r;
	if (p->n)
		qsort(p->items, p->n, sizeof *p->items, forward ? by_time : by_time_backward);
	for (size_t i = 0; i < p->n; i++) {
		const struct item *item = &p->items[i];

		p->list[i] = item->entry;
		p->list[i].seq = item->seq;
		p->list[i].labels = str_make(p->labels.p + item->label_at, item->label_n);
		if (item->meta_n)
			p->list[i].meta = str_make(p->labels.p + item->meta_at, item->meta_n);
		if (item->bytes_n)
			p->list[i].line = str_make(p->bytes.p + item->bytes_at, item->bytes_n);
	}
	return 0;
}

/* --- asking ------------------------------------------------------------ */

static void put_params(
	const struct fetch *f, struct buf *path, int64_t from_ns, int64_t until_ns, uint64_t limit)
{
	remote_param_i64(path, "start", from_ns);
	remote_param_i64(path, "end", until_ns);
	remote_param_i64(path, "limit", (int64_t)limit);
	remote_param(path, "direction", str_c(f->forward ? "forward" : "backward"));
	if (f->step_ns) {
		char text[40];
		int n = snprintf(text, sizeof text, "%.9g", (double)f->step_ns / 1e9);

		remote_param(path, "step", str_make(text, (size_t)n));
	} else {
		/* A line of just now is not to wait for the next step. */
		remote_param(path, "align", STR("end"));
	}
}

void fetch_params(const struct fetch *f, struct buf *path)
{
	put_params(f, path, f->from_ns, f->until_ns, f->limit);
}

static void make_path(struct pager *g)
{
	struct fetch *f = g->f;
	uint64_t limit = g->page_limit;

	if (f->limit && f->limit - f->n_lines < limit && !g->has_border)
		limit = f->limit - f->n_lines;
	buf_clear(&g->path);
	buf_c(&g->path, "/loki/api/v1/query_range");
	remote_param(&g->path, "query", str_c(f->query));
	put_params(f, &g->path, g->from_ns, g->until_ns, limit);
	remote_param(&g->path, "sequence", STR("true"));
	if (f->whole)
		remote_param(&g->path, "metadata", STR("true"));
	if (f->after_seq)
		remote_param(&g->path, "after_seq", str_c(f->after_seq));
	if (g->cursor.n)
		remote_param(&g->path, "cursor", buf_view(&g->cursor));
}

/* Does the query ask for lines?  Then it begins with a selector, maybe in parentheses. */
static bool asks_lines(const char *query)
{
	for (;;) {
		query += strspn(query, " \t\r\n(");
		if (*query != '#')
			return *query == '{';
		query += strcspn(query, "\n");
	}
}

static int ask(struct pager *g, struct json *j, struct error *e)
{
	struct fetch *f = g->f;
	int r;

	for (;;) {
		make_path(g);
		r = remote_get(f->remote, buf_cstr(&g->path), j, e);
		/* Long lines: fewer of them fit into an answer, or into the server's memory; a
		 * metric query has no lines. */
		if (r != ERR_LIMIT || g->page_limit <= 1 ||
			(!asks_lines(f->query) && remote_status(f->remote) == 413))
			return r;
		g->page_limit /= 2;
	}
}

static size_t data_of(const struct json *j)
{
	size_t data = json_get(j, 0, "data");

	return data && j->nodes[data].type == JSON_OBJECT ? data : 0;
}

/* "sawlog": {"last_seq": N, "next": "token"}; true when there is a next page. */
static bool read_sawlog(struct pager *g, const struct json *j, size_t data)
{
	size_t at = json_get(j, data, "sawlog"), next = at ? json_get(j, at, "next") : 0;
	size_t seq = at ? json_get(j, at, "last_seq") : 0;

	if (!g->begun) {
		g->f->sawlog = seq && str_u64(j->nodes[seq].text, &g->f->last_seq);
		g->f->peers = at && json_get(j, at, "peers");
	}
	buf_clear(&g->cursor);
	if (next && j->nodes[next].type == JSON_STRING)
		buf_str(&g->cursor, j->nodes[next].text);
	return g->cursor.n > 0;
}

/* --- the fallback ------------------------------------------------------ */

static void entry_key(const struct print_entry *en, struct buf *key)
{
	buf_clear(key);
	varint_put(key, en->labels.n);
	buf_str(key, en->labels);
	buf_str(key, en->line);
}

/* Leave out what was printed of the border already; the entries of that time come first. */
static size_t skip_printed(struct pager *g)
{
	struct page *p = &g->page;
	struct map left = {0}; /* this page's share of `printed`, counted down */
	struct buf key = {0};
	size_t kept = 0;

	for (size_t i = 0; i < p->n; i++) {
		union map_value *times, *used;

		if (g->has_border && p->list[i].timestamp == g->border_ns) {
			entry_key(&p->list[i], &key);
			times = map_get(&g->printed, buf_view(&key));
			used = times ? map_put(&left, buf_view(&key), NULL) : NULL;
			if (times && used->u < times->u) {
				used->u++;
				continue;
			}
		}
		p->list[kept++] = p->list[i];
	}
	map_fini(&left);
	buf_fini(&key);
	return kept;
}

/* Remember what was printed of the time at which the next page begins. */
static void set_border(struct pager *g, size_t n)
{
	struct print_entry *list = g->page.list;
	int64_t border = list[n - 1].timestamp;
	struct buf key = {0};

	if (!g->has_border || g->border_ns != border) {
		map_fini(&g->printed);
		if (g->page_limit > fetch_page_lines)
			g->page_limit = fetch_page_lines;
	}
	g->has_border = true;
	g->border_ns = border;
	for (size_t i = n; i-- > 0 && list[i].timestamp == border;) {
		entry_key(&list[i], &key);
		map_put(&g->printed, buf_view(&key), NULL)->u++;
	}
	buf_fini(&key);
	if (g->f->forward)
		g->from_ns = border;
	else
		g->until_ns = border + 1;
}

/* Behind a border that no page gets past. */
static void step_over(struct pager *g)
{
	struct buf when = {0};

	time_format(&when, g->border_ns);
	fprintf(g->f->cl->err,
		"warning: the server gives at most %" PRIu64
		" lines at once, and more than that have the time %s: some of them are missing\n",
		g->page_limit / 2, buf_cstr(&when));
	buf_fini(&when);
	g->f->incomplete = true;
	g->has_border = false;
	map_fini(&g->printed);
	g->page_limit = fetch_page_lines;
	if (g->f->forward)
		g->from_ns = g->border_ns + 1;
	else
		g->until_ns = g->border_ns;
}

/* --- running ----------------------------------------------------------- */

static int hand_over(struct pager *g, size_t n)
{
	struct fetch *f = g->f;

	if (f->limit && n > f->limit - f->n_lines)
		n = f->limit - f->n_lines;
	f->n_lines += n;
	return n ? f->page(f->ctx, g->page.list, n) : 0;
}

/* 1: there may be more. */
static int take_page(
	struct pager *g, const struct json *j, size_t data, size_t result, struct error *e)
{
	struct fetch *f = g->f;
	bool next = read_sawlog(g, j, data), full;
	size_t n;
	int r;

	g->begun = true;
	if ((r = read_page(&g->page, j, result, f->forward, e)) < 0)
		return r;
	full = g->page.n >= g->page_limit;
	n = f->sawlog ? g->page.n : skip_printed(g);
	if ((r = hand_over(g, n)) != 0)
		return r;
	if (f->limit && f->n_lines >= f->limit)
		return 0;
	/* It was made smaller for long lines, of which there may be no more.  And where all is
	 * wanted, a server that takes any limit reads less in vain when pages are large. */
	if (f->sawlog && g->page_limit < (f->whole ? 4 : 1) * fetch_page_lines)
		g->page_limit += g->page_limit / 4;
	if (f->sawlog)
		return next;
	if (n)
		set_border(g, n);
	else if (full)
		g->page_limit *= 2;
	return full && g->from_ns < g->until_ns;
}

static int take_answer(struct pager *g, const struct json *j, struct error *e)
{
	struct fetch *f = g->f;
	size_t data = data_of(j), type = data ? json_get(j, data, "resultType") : 0;
	size_t result = data ? json_get(j, data, "result") : 0;
	size_t stats = data ? json_get(j, data, "stats") : 0;

	f->warned = remote_warnings_once(f->cl, j, &g->told) || f->warned;
	if (f->stats && stats)
		f->stats(f->ctx, j, stats);
	if (!type || !result || j->nodes[result].type != JSON_ARRAY)
		return error_set(e, ERR_NET, "the answer holds no result: is this a Loki API?");
	if (str_eq_c(j->nodes[type].text, "streams"))
		return take_page(g, j, data, result, e);
	if (!f->samples)
		return error_set(e, ERR_ARG, "a metric query has no lines to print");
	return f->samples(f->ctx, j, j->nodes[type].text, result, e);
}

int fetch_run(struct fetch *f, struct error *e)
{
	struct pager g = {.f = f,
		.page_limit = fetch_page_lines,
		.from_ns = f->from_ns,
		.until_ns = f->until_ns};
	struct json j;
	int r;

	f->n_lines = f->last_seq = 0;
	f->incomplete = f->sawlog = f->peers = f->warned = false;
	if (f->cursor)
		buf_c(&g.cursor, f->cursor);
	do {
		r = ask(&g, &j, e);
		/* A border was asked for with more than the server gives. */
		if (r == ERR_ARG && g.has_border && g.page_limit > fetch_page_lines) {
			step_over(&g);
			r = g.from_ns < g.until_ns;
			continue;
		}
		if (r == 0)
			r = take_answer(&g, &j, e);
	} while (r == 1);
	page_fini(&g.page);
	buf_fini(&g.path);
	buf_fini(&g.cursor);
	map_fini(&g.printed);
	map_fini(&g.told);
	return r;
}
