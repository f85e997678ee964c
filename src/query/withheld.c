/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record that a broker delivered twice may lie in two stores.  The second one
 * is marked `redelivered`, and only such are looked at twice: they are withheld
 * until everything else was told.  Then the other stores are asked for their
 * message ids, and those are told that nobody has who comes first: one that is
 * not marked, else the lowest number.  So rows of streams of the amqp input come
 * with their metadata, never as counts, and are not narrowed before it was seen.
 */
#include <stdlib.h>

#include "base/map.h"
#include "query/plan.h"
#include "query/view_scan.h"
#include "store/lines/template.h"

/* A redelivered message may be told by another time where it has none of its own. */
#define REDELIVERED_NS (3600 * NS_PER_SEC)

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
	if ((r = view_charge(v, n + 2 * sizeof w + 16, e)) < 0)
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

int withheld_sift(struct view_scan *v, size_t store, struct rows *rows, struct error *e)
{
	size_t n = 0;
	int r = 0;

	if (!rows->meta || v->asked->only)
		return 0;
	if (rows->n > v->cap_pick) {
		if ((r = view_charge(v, (rows->n - v->cap_pick) * sizeof *v->pick, e)) < 0)
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

struct span {
	int64_t from_ns, to_ns;
};

static struct span span_with(struct span s, int64_t ns)
{
	return (struct span){ns < s.from_ns ? ns : s.from_ns, ns > s.to_ns ? ns : s.to_ns};
}

/* The ids that are asked for, each with those that wait for it. */
struct lookup {
	struct view_scan *v;
	struct map index; /* id to 1 + the first of its list */
	size_t *next;     /* by withheld: 1 + the next of the list, 0 at its end */
	struct str *ids;
	struct span *spans; /* by id: when those were that wait for it */
	size_t *id_of;      /* by withheld */
	size_t n_ids;
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

	l->next = xcalloc(v->n_withheld, sizeof *l->next);
	l->ids = xcalloc(v->n_withheld, sizeof *l->ids);
	l->spans = xcalloc(v->n_withheld, sizeof *l->spans);
	l->id_of = xcalloc(v->n_withheld, sizeof *l->id_of);
	for (size_t i = 0; i < v->n_withheld; i++) {
		const struct withheld *w = &v->withheld[i];
		union map_value *place;
		struct str id;
		bool added;

		amqp_message_id(w->meta, &id);
		place = map_put(&l->index, id, &added);
		if (added) {
			place->u = 0;
			l->ids[l->n_ids] = id;
			l->spans[l->n_ids++] = (struct span){w->timestamp, w->timestamp};
		}
		l->id_of[i] = added ? l->n_ids - 1 : l->id_of[place->u - 1];
		l->spans[l->id_of[i]] = span_with(l->spans[l->id_of[i]], w->timestamp);
		l->next[i] = place->u;
		place->u = i + 1;
	}
}

/* When records with n of the ids may have been delivered. */
static struct span span_of(const struct lookup *l, size_t from, size_t n)
{
	struct span s = l->spans[from];

	for (size_t i = from; i < from + n; i++)
		s = span_with(span_with(s, l->spans[i].from_ns), l->spans[i].to_ns);
	return (struct span){
		plan_add(s.from_ns, -REDELIVERED_NS), plan_add(s.to_ns, REDELIVERED_NS)};
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
	struct source *s = l->v->own;
	const struct scan *asked = l->v->asked;
	struct span span = span_of(l, 0, l->n_ids);
	struct scan scan = {.tenant = asked->tenant,
		.from_ns = span.from_ns,
		.to_ns = span.to_ns,
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
	struct span span = span_of(l, from, n);
	struct page_request q = {.query = STR("{input=\"amqp\"}"),
		.from_ns = span.from_ns,
		.to_ns = span.to_ns,
		.forward = true,
		.columns = SCAN_META,
		.rows = VIEW_COUNTED_ROWS,
		.ids = l->ids + from,
		.n_ids = n};
	struct fetches all;
	struct fetch *f;
	struct page page;
	int code = 0;

	fetches_start(&all, l->v->peers, 0, asked->tenant, &q, asked->account);
	while ((f = fetches_next(&all, asked->cancel, asked->hints.deadline_ns, &page, &code, e))) {
		if (code < 0) {
			view_warn(l->v,
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
	uint64_t bytes = v->n_withheld *
			 (sizeof *l.next + sizeof *l.ids + sizeof *l.spans + sizeof *l.id_of + 160);
	int r = view_charge(v, bytes, e);

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
	free(l.spans);
	free(l.id_of);
	return r;
}

/* --- what is told --------------------------------------------------------------------- */

int withheld_tell(struct view_scan *v, struct error *e)
{
	size_t n = v->n_withheld;
	struct view_columns c;
	int r;

	if (n == 0)
		return 0;
	if ((r = find_twins(v, e)) < 0 ||
		(r = view_charge(v, view_columns_bytes(n, n) + n * sizeof(struct str), e)) < 0)
		return r;
	view_columns_init(&c, n, n);
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
		view_columns_set(&c, i, &x, w->seq);
		if (!w->dropped && w->timestamp >= v->asked->from_ns &&
			w->timestamp < v->asked->to_ns)
			c.pick[c.rows.n++] = (uint32_t)i;
	}
	r = view_tell(v, &c, e);
	view_columns_fini(&c);
	return r;
}

void withheld_free(struct view_scan *v)
{
	for (size_t i = 0; i < v->n_withheld; i++)
		free(v->withheld[i].block);
	free(v->withheld);
}
