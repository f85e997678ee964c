/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view: this server's snapshot alone, or with the records of the peers
 * (view_scan.c).  Listings of streams are here, as they need no more than the
 * answers put together.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/memory.h"
#include "query/view_gather.h"
#include "query/view_scan.h"

enum {
	FEW_LINES = 5000,
	VIEW_WARNINGS_MAX = 16,
};

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
	return (sc->only ? view_scan_one : view_scan_all)(v->local, v->snapshot, v->peers, sc, e);
}

static int gather(struct source *s, struct collection *c, struct error *e)
{
	struct view *v = view_of(s);

	return view_gather(v->local, v->snapshot, v->peers, c, e);
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

	v->source = (struct source){
		.last_seq = last_seq, .scan = scan, .streams = streams, .gather = gather};
	v->snapshot = snapshot_take(s);
	v->local = source_local_init(&v->own, v->snapshot);
	v->peers = local || !p || p->n == 0 ? NULL : p;
	if (!v->peers)
		v->source.gather = NULL;
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
