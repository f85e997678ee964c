/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scan of a view: this server's own, then the pages of the peers as they
 * come.  Callbacks see units of rows and counts; whose they are does not matter
 * to them but for the sequences.
 *
 * A record that a broker delivered twice may lie in two stores.  The second one
 * is marked `redelivered`, and only such are looked at twice: they are withheld
 * until everything else was told.  Then the other stores are asked for their
 * message ids, and those are told that nobody has who comes first: one that is
 * not marked, else the lowest number.  So rows of streams of the amqp input come
 * with their metadata, never as counts, and are not narrowed before it was seen.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/map.h"
#include "query/ast.h"
#include "query/peers_core.h"
#include "query/quote.h"
#include "query/run.h"
#include "query/source_local.h"
#include "store/lines/filter.h"
#include "store/lines/template.h"

enum {
	FIRST_ROWS = 4096,    /* of a first page, when nobody knows better */
	COUNTED_ROWS = 65536, /* the same beside counts */
	FEW_LINES = 5000,
	VIEW_WARNINGS_MAX = 16,
	ROW_BYTES = 96, /* of the columns of a page */
};

/* A redelivered message may be told by another time where it has none of its own. */
#define REDELIVERED_NS (3600 * NS_PER_SEC)
#define SEQ_MASK       ((UINT64_C(1) << PEER_SEQ_SHIFT) - 1)

static_assert(PEERS_MAX < 1 << (53 - PEER_SEQ_SHIFT), "numbers are whole in JavaScript");

struct view {
	struct source source;
	struct source_local own;
	struct source *local; /* part of it */
	struct snapshot *snapshot;
	struct peers *peers; /* NULL: none is asked */
	struct account *account;
	const _Atomic bool *cancel;
	char *warnings[VIEW_WARNINGS_MAX];
	size_t n_warnings;
};

/* A redelivered record. */
struct withheld {
	int64_t timestamp;
	uint64_t seq;
	char *block; /* labels, metadata, body, key of the template */
	struct str labels, body, meta, key;
	size_t store; /* its number; 0: this one */
	uint8_t severity, flags;
	bool dropped;
};

struct view_scan {
	struct view *view;
	struct scan *asked;
	struct scan local;
	struct fetches fetches;
	struct buf query;            /* LogQL for the peers */
	bool test_filters;           /* the peers were not told of the filters */
	char (*seen)[INSTANCE_SIZE]; /* who answered, by number */
	struct withheld *withheld;
	size_t n_withheld, cap_withheld;
	uint64_t n_without_id; /* redelivered, and told all the same */
	uint64_t charged;
	/* Columns of a page, one block each. */
	uint32_t *pick;
	size_t cap_pick;
};

static int too_little(struct error *e)
{
	return error_set(e, ERR_LIMIT, "no memory is left for records of peers");
}

static int charge(struct view_scan *v, uint64_t n, struct error *e)
{
	if (v->asked->account && account_charge(v->asked->account, n) < 0)
		return too_little(e);
	v->charged += n;
	return 0;
}

static void warn(struct view_scan *v, const char *fmt, ...) PRINTF(2, 3);

static void warn(struct view_scan *v, const char *fmt, ...)
{
	struct buf text = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	if (v->asked->warn)
		v->asked->warn(v->asked->ctx, buf_cstr(&text));
	buf_fini(&text);
}

/* --- records that were delivered twice ------------------------------------------------ */

static struct str key_of(const struct rows *rows, uint32_t i)
{
	if (!rows->template || rows->template[i] == ROWS_NO_TEMPLATE)
		return STR_NONE;
	return rows->templates[rows->template[i]]->key;
}

static int withhold(
	struct view_scan *v, size_t store, const struct rows *rows, uint32_t i, struct error *e)
{
	const struct str parts[] = {rows->streams[rows->stream[i]], rows->meta[i],
		rows->body ? rows->body[i] : STR_NONE, key_of(rows, i)};
	struct withheld w = {.timestamp = rows->timestamp[i],
		.seq = rows->seq[i],
		.store = store,
		.severity = rows->severity[i],
		.flags = rows->flags[i]};
	struct str *const to[] = {&w.labels, &w.meta, &w.body, &w.key};
	size_t n = 0;
	int r;

	for (size_t k = 0; k < 4; k++)
		n += parts[k].n;
	if ((r = charge(v, n + 2 * sizeof w + 16, e)) < 0)
		return r;
	w.block = xmalloc(n);
	n = 0;
	for (size_t k = 0; k < 4; k++) {
		if (parts[k].n)
			memcpy(w.block + n, parts[k].p, parts[k].n);
		*to[k] = str_make(w.block + n, parts[k].n);
		n += parts[k].n;
	}
	if (v->n_withheld == v->cap_withheld) {
		v->cap_withheld = v->cap_withheld ? 2 * v->cap_withheld : 64;
		v->withheld = xrealloc(v->withheld, v->cap_withheld * sizeof w);
	}
	v->withheld[v->n_withheld++] = w;
	return 0;
}

static bool is_redelivered(struct view_scan *v, const struct rows *rows, uint32_t i)
{
	struct str id;

	if (!amqp_redelivered(rows->meta[i]) || !amqp_stream(rows->streams[rows->stream[i]]))
		return false;
	if (amqp_message_id(rows->meta[i], &id))
		return true;
	v->n_without_id++;
	return false;
}

/* Withhold what is to be; *rows is the rest then, with v->pick. */
static int sift(struct view_scan *v, size_t store, struct rows *rows, struct error *e)
{
	size_t n = 0;
	int r = 0;

	if (!rows->meta || v->asked->only)
		return 0;
	if (rows->n > v->cap_pick) {
		if ((r = charge(v, (rows->n - v->cap_pick) * sizeof *v->pick, e)) < 0)
			return r;
		v->cap_pick = rows->n;
		v->pick = xrealloc(v->pick, v->cap_pick * sizeof *v->pick);
	}
	for (size_t at = 0; at < rows->n && r == 0; at++) {
		uint32_t i = rows->pick[at];
		if (is_redelivered(v, rows, i))
			r = withhold(v, store, rows, i, e);
		else
			v->pick[n++] = i;
	}
	rows->pick = v->pick;
	rows->n = n;
	return r;
}

/* The ids that are asked for, each with those that wait for it. */
struct lookup {
	struct view_scan *v;
	struct map index; /* id to 1 + the first of its list */
	size_t *next;     /* by withheld: 1 + the next of the list, 0 at its end */
	struct str *ids;
	size_t n_ids;
	int64_t from_ns, to_ns;
	size_t store; /* that is being asked */
};

static void found_one(struct lookup *l, struct str meta)
{
	const union map_value *known;
	struct str id;

	if (!amqp_message_id(meta, &id) || !(known = map_get(&l->index, id)))
		return;
	for (size_t at = known->u; at; at = l->next[at - 1]) {
		struct withheld *w = &l->v->withheld[at - 1];
		if (w->store != l->store && (!amqp_redelivered(meta) || l->store < w->store))
			w->dropped = true;
	}
}

static void make_index(struct lookup *l)
{
	struct view_scan *v = l->v;

	l->from_ns = INT64_MAX;
	l->to_ns = INT64_MIN;
	l->next = xcalloc(v->n_withheld, sizeof *l->next);
	l->ids = xcalloc(v->n_withheld, sizeof *l->ids);
	for (size_t i = 0; i < v->n_withheld; i++) {
		const struct withheld *w = &v->withheld[i];
		union map_value *place;
		struct str id;
		bool added;

		amqp_message_id(w->meta, &id);
		place = map_put(&l->index, id, &added);
		if (added) {
			place->u = 0;
			l->ids[l->n_ids++] = id;
		}
		l->next[i] = place->u;
		place->u = i + 1;
		l->from_ns = w->timestamp < l->from_ns ? w->timestamp : l->from_ns;
		l->to_ns = w->timestamp > l->to_ns ? w->timestamp : l->to_ns;
	}
	l->from_ns = plan_add(l->from_ns, -REDELIVERED_NS);
	l->to_ns = plan_add(l->to_ns, REDELIVERED_NS);
}

static bool lookup_stream(void *ctx, struct str labels)
{
	(void)ctx;
	return amqp_stream(labels);
}

static int lookup_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct lookup *l = ctx;

	(void)e;
	for (size_t at = 0; at < rows->n && rows->meta; at++)
		found_one(l, rows->meta[rows->pick[at]]);
	return 0;
}

static int look_here(struct lookup *l, struct error *e)
{
	struct source *s = l->v->view->local;
	const struct scan *asked = l->v->asked;
	struct scan scan = {.tenant = asked->tenant,
		.from_ns = l->from_ns,
		.to_ns = l->to_ns,
		.order = SCAN_OLDEST_FIRST,
		.columns = SCAN_META,
		.account = asked->account,
		.cancel = asked->cancel,
		.ctx = l,
		.want_stream = lookup_stream,
		.rows = lookup_rows};

	return s->scan(s, &scan, e);
}

/* Ask all peers for some of the ids. */
static int look_there(struct lookup *l, size_t from, size_t n, struct error *e)
{
	const struct scan *asked = l->v->asked;
	struct page_request q = {.query = STR("{input=\"amqp\"}"),
		.from_ns = l->from_ns,
		.to_ns = l->to_ns,
		.forward = true,
		.columns = SCAN_META,
		.rows = COUNTED_ROWS,
		.ids = l->ids + from,
		.n_ids = n};
	struct fetches all;
	struct fetch *f;
	struct page page;
	int code = 0;

	fetches_start(&all, l->v->view->peers, 0, asked->tenant, &q, asked->account);
	while ((f = fetches_next(&all, asked->cancel, asked->hints.deadline_ns, &page, &code, e))) {
		if (code < 0) {
			warn(l->v,
				"%s; whether it has records that the broker delivered again is not "
				"known",
				e->text);
			continue;
		}
		l->store = f->number;
		for (size_t i = 0; page.rows && i < batch_count(page.rows); i++)
			found_one(l, batch_record(page.rows, i).meta);
		remote_page_fini(&page, asked->account);
		fetch_order(f);
	}
	fetches_end(&all);
	return code == ERR_CANCELLED || code == ERR_TIMEOUT ? code : 0;
}

/* Mark those that another store tells. */
static int find_twins(struct view_scan *v, struct error *e)
{
	struct lookup l = {.v = v};
	uint64_t bytes = v->n_withheld * (sizeof *l.next + sizeof *l.ids + 160);
	int r = charge(v, bytes, e);

	if (r < 0)
		return r;
	make_index(&l);
	r = look_here(&l, e);
	for (size_t at = 0; r == 0 && at < l.n_ids; at += PAGE_IDS_MAX)
		r = look_there(
			&l, at, l.n_ids - at < PAGE_IDS_MAX ? l.n_ids - at : PAGE_IDS_MAX, e);
	map_fini(&l.index);
	free(l.next);
	free(l.ids);
	return r;
}

/* --- telling rows that do not come from this store ------------------------------------ */

/* The columns of rows that are told. */
struct columns {
	size_t n;
	struct rows rows;
	uint32_t *pick, *stream, *template;
	int64_t *timestamp;
	uint64_t *seq;
	struct str *body, *meta, *streams;
	uint8_t *severity, *flags;
	struct str *keys; /* of templates that are known; NULL: none is */
	struct template_table *table;
	const struct template **templates;
};

static void columns_init(struct columns *c, size_t n, size_t n_streams)
{
	*c = (struct columns){.n = n,
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

static void columns_fini(struct columns *c)
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
static void find_templates(struct columns *c)
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

static void narrowed(struct view_scan *v)
{
	if (v->fetches.n)
		fetches_narrow(&v->fetches, v->asked->from_ns, v->asked->to_ns);
}

/* Hand the picked rows on, as the store would. */
static int tell(struct view_scan *v, struct columns *c, struct error *e)
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
	narrowed(v);
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

static void set_row(struct columns *c, size_t i, const struct record *x, uint64_t seq)
{
	c->timestamp[i] = x->timestamp;
	c->seq[i] = seq;
	c->stream[i] = x->stream;
	c->body[i] = x->body;
	c->meta[i] = x->meta;
	c->severity[i] = x->severity;
	c->flags[i] = x->flags;
}

static int tell_rows(struct view_scan *v, size_t store, const struct batch *b, struct error *e)
{
	size_t n = batch_count(b), n_streams = batch_n_streams(b);
	uint64_t bytes = n * ROW_BYTES + n_streams * (sizeof(struct str) + 1);
	struct columns c;
	uint8_t *wanted;
	int r = charge(v, bytes, e);

	if (r < 0)
		return r;
	columns_init(&c, n, n_streams);
	wanted = xcalloc(n_streams, 1);
	for (size_t i = 0; i < n_streams; i++) {
		c.streams[i] = batch_stream(b, i);
		wanted[i] = wants_stream(v->asked, c.streams[i]);
	}
	for (size_t i = 0; i < n; i++) {
		struct record x = batch_record(b, i);
		set_row(&c, i, &x, (uint64_t)store << PEER_SEQ_SHIFT | (x.position & SEQ_MASK));
		if (wanted[x.stream] && passes(v, &x))
			c.pick[c.rows.n++] = (uint32_t)i;
	}
	free(wanted);
	if ((r = sift(v, store, &c.rows, e)) == 0)
		r = tell(v, &c, e);
	columns_fini(&c);
	if (v->asked->account)
		account_release(v->asked->account, bytes);
	v->charged -= bytes;
	return r;
}

static int tell_counts(
	struct view_scan *v, size_t store, const struct row_counts *counts, struct error *e)
{
	struct scan *asked = v->asked;
	struct row_counts told = *counts;
	struct row_count *list;
	size_t n_astray = 0;
	uint8_t *wanted;
	int r;

	if (counts->n == 0 || !asked->counts)
		return 0;
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
		if (asked->same_bucket(asked->ctx, c->min_ns, c->max_ns))
			list[told.n++] = *c;
		else
			n_astray++;
	}
	if (n_astray)
		warn(v, "%s: %zu of its counts are of no one step, and were left out",
			remote_url(v->view->peers->remotes[store - 1]), n_astray);
	r = asked->counts(asked->ctx, &told, e);
	narrowed(v);
	free(list);
	free(wanted);
	return r;
}

/* Those of the withheld that nobody else tells. */
static int tell_withheld(struct view_scan *v, struct error *e)
{
	size_t n = v->n_withheld;
	struct columns c;
	int r;

	if (n == 0)
		return 0;
	if ((r = find_twins(v, e)) < 0 || (r = charge(v, n * (ROW_BYTES + 32), e)) < 0)
		return r;
	columns_init(&c, n, n);
	c.keys = xcalloc(n, sizeof *c.keys);
	for (size_t i = 0; i < n; i++) {
		const struct withheld *w = &v->withheld[i];
		struct record x = {.timestamp = w->timestamp,
			.body = w->body,
			.meta = w->meta,
			.stream = (uint32_t)i,
			.severity = w->severity,
			.flags = w->flags};
		c.streams[i] = w->labels;
		c.keys[i] = w->key;
		set_row(&c, i, &x, w->seq);
		if (!w->dropped && w->timestamp >= v->asked->from_ns &&
			w->timestamp < v->asked->to_ns)
			c.pick[c.rows.n++] = (uint32_t)i;
	}
	r = tell(v, &c, e);
	columns_fini(&c);
	return r;
}

/* --- this server's own records -------------------------------------------------------- */

/* What a callback changed holds from now on, here and for the peers. */
static void take_limits(struct view_scan *v)
{
	v->local.from_ns = v->asked->from_ns;
	v->local.to_ns = v->asked->to_ns;
	v->local.after_seq = v->asked->after_seq;
	v->local.until_seq = v->asked->until_seq;
	narrowed(v);
}

static bool on_stream(void *ctx, struct str labels)
{
	struct view_scan *v = ctx;

	return !v->asked->want_stream || v->asked->want_stream(v->asked->ctx, labels);
}

static bool on_by_row(void *ctx, struct str labels)
{
	struct view_scan *v = ctx;

	if (v->asked->by_row && v->asked->by_row(v->asked->ctx, labels))
		return true;
	return amqp_stream(labels) && on_stream(v, labels);
}

static bool on_span(void *ctx, int64_t min_ns, int64_t max_ns)
{
	struct view_scan *v = ctx;
	bool wanted;

	v->asked->holds_head = v->local.holds_head;
	wanted = v->asked->want_span(v->asked->ctx, min_ns, max_ns);
	take_limits(v);
	return wanted;
}

static bool on_bucket(void *ctx, int64_t min_ns, int64_t max_ns)
{
	struct view_scan *v = ctx;

	return v->asked->same_bucket(v->asked->ctx, min_ns, max_ns);
}

static int on_counts(void *ctx, const struct row_counts *counts, struct error *e)
{
	struct view_scan *v = ctx;
	int r;

	v->asked->holds_head = v->local.holds_head;
	r = v->asked->counts(v->asked->ctx, counts, e);
	take_limits(v);
	return r;
}

/* Of rows some of which may yet be withheld all are wanted. */
static size_t on_narrow(void *ctx, const struct rows *rows, uint32_t *pick)
{
	struct view_scan *v = ctx;
	uint32_t last = UINT32_MAX;
	size_t n;

	for (size_t at = 0; at < rows->n; at++) {
		uint32_t stream = rows->stream[pick[at]];
		if (stream != last && amqp_stream(rows->streams[stream]))
			return rows->n;
		last = stream;
	}
	n = v->asked->narrow(v->asked->ctx, rows, pick);
	take_limits(v);
	return n;
}

static int on_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct view_scan *v = ctx;
	struct rows mine = *rows;
	int r;

	v->asked->holds_head = v->local.holds_head;
	if ((r = sift(v, 0, &mine, e)) < 0)
		return r;
	r = mine.n ? v->asked->rows(v->asked->ctx, &mine, e) : 0;
	take_limits(v);
	return r;
}

static void on_warning(void *ctx, const char *sentence)
{
	struct view_scan *v = ctx;

	v->asked->warn(v->asked->ctx, sentence);
}

static int scan_own(struct view_scan *v, struct error *e)
{
	struct scan *asked = v->asked;
	int r;

	v->local = *asked;
	v->local.ctx = v;
	v->local.want_stream = on_stream;
	v->local.by_row = on_by_row;
	v->local.want_span = asked->want_span ? on_span : NULL;
	v->local.same_bucket = asked->same_bucket ? on_bucket : NULL;
	v->local.counts = asked->counts ? on_counts : NULL;
	v->local.narrow = asked->narrow ? on_narrow : NULL;
	v->local.warn = asked->warn ? on_warning : NULL;
	v->local.rows = on_rows;
	v->local.columns |= SCAN_SEQ;
	r = v->view->local->scan(v->view->local, &v->local, e);
	asked->holds_head = false;
	run_add_stats(&asked->stats, &v->local.stats);
	return r;
}

/* --- peers ---------------------------------------------------------------------------- */

/* Does the page come from a server that tells its records in this scan already? */
static bool told_already(struct view_scan *v, const struct fetch *f, const struct page *page)
{
	struct peers *p = v->view->peers;

	if (strcmp(page->instance, p->instance) == 0)
		return true;
	for (size_t k = 1; k <= p->n; k++)
		if (k != f->number && v->seen[k][0] && strcmp(v->seen[k], page->instance) == 0)
			return true;
	str_copy(str_c(page->instance), v->seen[f->number], sizeof v->seen[0]);
	return false;
}

static int tell_page(struct view_scan *v, struct fetch *f, struct page *page, struct error *e)
{
	struct scan *asked = v->asked;
	const struct batch *b = page->rows;
	int r;

	run_add_stats(&asked->stats, &page->stats);
	for (size_t i = 0; i < page->n_warnings; i++)
		warn(v, "%s: %.*s", remote_url(f->remote), STR_ARG(page->warnings[i]));
	if ((r = tell_counts(v, f->number, &page->counts, e)) != 0 || !b || batch_count(b) == 0)
		return r;
	if (asked->want_span &&
		!asked->want_span(asked->ctx, batch_min_time(b), batch_max_time(b))) {
		narrowed(v);
		return 0;
	}
	return tell_rows(v, f->number, b, e);
}

static int scan_peers(struct view_scan *v, struct error *e)
{
	struct scan *asked = v->asked;
	struct page page;
	struct fetch *f;
	int r = 0, code = 0;

	while (r == 0 && asked->from_ns < asked->to_ns &&
		(f = fetches_next(
			 &v->fetches, asked->cancel, asked->hints.deadline_ns, &page, &code, e))) {
		if (code < 0) {
			warn(v, "%s; the answer is without the records of that server", e->text);
			code = 0;
			continue;
		}
		if (told_already(v, f, &page)) {
			fetch_stop(f);
		} else {
			/* Most of those who want more than one page want them all. */
			if (f->n_taken > 1)
				fetch_order(f);
			r = tell_page(v, f, &page, e);
			if (f->n_taken == 1)
				fetch_order(f);
		}
		remote_page_fini(&page, asked->account);
	}
	return r == 0 && code < 0 ? code : r;
}

/* What the peers are asked. */
static struct page_request question(struct view_scan *v)
{
	const struct scan *asked = v->asked;
	const struct scan_hints *h = &asked->hints;
	struct page_request q = {.from_ns = asked->from_ns,
		.to_ns = asked->to_ns,
		.strict = h->strict,
		.forward = asked->order != SCAN_NEWEST_FIRST,
		.columns = asked->columns & (SCAN_BODY | SCAN_META | SCAN_TEMPLATE),
		.counts = asked->counts && h->buckets.known && h->log,
		.buckets = h->buckets,
		.rows = FIRST_ROWS};

	if (h->log)
		log_format_rows(h->log, &v->query);
	else
		buf_c(&v->query, "{}");
	if (asked->contains.n) {
		buf_c(&v->query, " |= ");
		quote_go(&v->query, asked->contains);
	}
	v->test_filters = !h->log && asked->n_filters > 0;
	if (v->test_filters)
		q.columns |= SCAN_BODY;
	if (asked->columns & SCAN_TEMPLATE && !q.counts)
		q.columns |= SCAN_BODY;
	/* Which rows were delivered twice stands there. */
	if (!q.counts)
		q.columns |= SCAN_META;
	/* One more shows whether the last one was the last of its time. */
	if (h->enough)
		q.rows = h->enough < PAGE_ROWS_MAX ? h->enough + 1 : PAGE_ROWS_MAX;
	if (q.counts)
		q.rows = COUNTED_ROWS;
	q.query = buf_view(&v->query);
	return q;
}

static void scan_end(struct view_scan *v)
{
	for (size_t i = 0; i < v->n_withheld; i++)
		free(v->withheld[i].block);
	free(v->withheld);
	free(v->pick);
	free(v->seen);
	buf_fini(&v->query);
	if (v->asked->account)
		account_release(v->asked->account, v->charged);
}

static int scan_all(struct view *view, struct scan *asked, struct error *e)
{
	struct view_scan v = {.view = view, .asked = asked};
	struct page_request q = question(&v);
	int r = 0;

	v.seen = xcalloc(view->peers->n + 1, sizeof *v.seen);
	fetches_start(&v.fetches, view->peers, 0, asked->tenant, &q, asked->account);
	asked->stats = (struct scan_stats){0};
	r = scan_own(&v, e);
	/* What comes in is not to wait for peers. */
	snapshot_let_head_go(view->snapshot);
	if (r == 0)
		r = scan_peers(&v, e);
	fetches_end(&v.fetches);
	if (r == 0)
		r = tell_withheld(&v, e);
	if (r >= 0 && v.n_without_id)
		warn(&v,
			"%llu records were delivered again by the broker and have no message_id: "
			"whether another server has them too is not known",
			(unsigned long long)v.n_without_id);
	scan_end(&v);
	return r;
}

/* Of one peer alone, by sequence numbers of its own. */
static int scan_one(struct view *view, struct scan *asked, struct error *e)
{
	struct view_scan v = {.view = view, .asked = asked};
	struct page_request q = question(&v);
	int r;

	q.counts = false;
	q.after_seq = asked->after_seq;
	q.until_seq = asked->until_seq;
	asked->stats = (struct scan_stats){0};
	v.seen = xcalloc(view->peers->n + 1, sizeof *v.seen);
	fetches_start(&v.fetches, view->peers, asked->only, asked->tenant, &q, asked->account);
	r = scan_peers(&v, e);
	fetches_end(&v.fetches);
	scan_end(&v);
	return r;
}

/* --- the source ----------------------------------------------------------------------- */

static struct view *view_of(struct source *s)
{
	return CONTAINER(s, struct view, source);
}

static uint64_t last_seq(struct source *s)
{
	return snapshot_last_seq(view_of(s)->snapshot);
}

static int scan(struct source *s, struct scan *sc, struct error *e)
{
	struct view *v = view_of(s);

	/* A place in the order of commits is one of this store. */
	if (!v->peers || sc->only == 1 || (sc->after_seq && !sc->only))
		return v->local->scan(v->local, sc, e);
	return sc->only ? scan_one(v, sc, e) : scan_all(v, sc, e);
}

static void keep_warning(struct view *v, const struct error *e)
{
	struct buf text = {0};

	buf_printf(&text, "%s; the answer is without the streams of that server", e->text);
	if (v->n_warnings < VIEW_WARNINGS_MAX)
		v->warnings[v->n_warnings++] = str_dup(buf_view(&text));
	buf_fini(&text);
}

static int streams(struct source *s, struct str tenant, int64_t from_ns, int64_t to_ns,
	void (*stream)(void *ctx, struct str labels), void *ctx, struct error *e)
{
	struct page_request q = {
		.query = STR("{}"), .streams = true, .from_ns = from_ns, .to_ns = to_ns};
	struct view *v = view_of(s);
	struct fetches all;
	struct page page;
	int r, code = 0;

	if (!v->peers)
		return v->local->streams(v->local, tenant, from_ns, to_ns, stream, ctx, e);
	fetches_start(&all, v->peers, 0, tenant, &q, v->account);
	r = v->local->streams(v->local, tenant, from_ns, to_ns, stream, ctx, e);
	snapshot_let_head_go(v->snapshot);
	while (r == 0 && fetches_next(&all, v->cancel, 0, &page, &code, e)) {
		if (code < 0) {
			keep_warning(v, e);
			code = 0;
			continue;
		}
		/* A set: what comes twice does no harm. */
		for (size_t i = 0; i < page.counts.n_streams; i++)
			stream(ctx, page.counts.streams[i]);
		remote_page_fini(&page, v->account);
	}
	fetches_end(&all);
	return r < 0 ? r : code;
}

struct view *view_open(struct store *s, struct peers *p, bool local)
{
	struct view *v = xcalloc(1, sizeof *v);

	v->source = (struct source){.last_seq = last_seq, .scan = scan, .streams = streams};
	v->snapshot = snapshot_take(s);
	v->local = source_local_init(&v->own, v->snapshot);
	v->peers = local || !p || p->n == 0 ? NULL : p;
	return v;
}

struct source *view_source(struct view *v)
{
	return &v->source;
}

struct snapshot *view_snapshot(struct view *v)
{
	return v->snapshot;
}

void view_limit(struct view *v, struct account *a, const _Atomic bool *cancel)
{
	v->account = a;
	v->cancel = cancel;
}

size_t view_warnings(const struct view *v, const char *const **out)
{
	*out = (const char *const *)v->warnings;
	return v->n_warnings;
}

int view_query(struct view *v, const struct query *q, const struct query_params *p,
	struct query_result *out, struct error *e)
{
	/* The newest few lines are mostly in the head: those are looked for there first. */
	if (!query_is_log(q) || p->forward || p->limit == 0 || p->limit > FEW_LINES)
		snapshot_let_head_go(v->snapshot);
	else
		snapshot_let_head_go_once_read(v->snapshot);
	return source_query(&v->source, q, p, out, e);
}

void view_close(struct view *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n_warnings; i++)
		free(v->warnings[i]);
	snapshot_free(v->snapshot);
	free(v);
}
