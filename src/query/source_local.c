/* SPDX-License-Identifier: Apache-2.0 */
/* The store as a source, and the contract's functions over it. */
#include "query/source_local.h"

#include "base/list.h"
#include "query/record.h"
#include "query/volume.h"

enum { FEW_LINES = 5000 };

static struct snapshot *snapshot_of(struct source *s)
{
	return CONTAINER(s, struct source_local, source)->snapshot;
}

static uint64_t last_seq(struct source *s)
{
	return snapshot_last_seq(snapshot_of(s));
}

static int scan(struct source *s, struct scan *sc, struct error *e)
{
	if (sc->only > 1) {
		sc->stats = (struct scan_stats){0};
		return 0;
	}
	return snapshot_scan(snapshot_of(s), sc, e);
}

static int streams(struct source *s, struct str tenant, int64_t from_ns, int64_t to_ns,
	void (*stream)(void *ctx, struct str labels), void *ctx, struct error *e)
{
	return snapshot_streams(snapshot_of(s), tenant, from_ns, to_ns, stream, ctx, e);
}

struct source *source_local_init(struct source_local *l, struct snapshot *sn)
{
	*l = (struct source_local){
		.source = {.last_seq = last_seq, .scan = scan, .streams = streams}, .snapshot = sn};
	source_tenants_init(&l->tenants, &l->source);
	return &l->tenants.source;
}

int query_run(const struct query *q, struct snapshot *sn, const struct query_params *p,
	struct query_result *out, struct error *e)
{
	struct source_local s;

	/* The newest few lines are mostly in the head: those are looked for there first. */
	if (!query_is_log(q) || p->forward || p->limit == 0 || p->limit > FEW_LINES)
		snapshot_let_head_go(sn);
	else
		snapshot_let_head_go_once_read(sn);
	return source_query(source_local_init(&s, sn), q, p, out, e);
}

int query_record(struct snapshot *sn, uint64_t seq, uint64_t context, const struct query_params *p,
	struct query_record *out, struct error *e)
{
	struct source_local s;

	return source_record(source_local_init(&s, sn), seq, context, p, out, e);
}

int query_patterns(const struct query *q, struct snapshot *sn, const struct patterns_params *p,
	struct patterns *out, struct error *e)
{
	struct source_local s;

	snapshot_let_head_go(sn);
	return source_patterns(source_local_init(&s, sn), q, p, out, e);
}

int query_volume(const struct query *q, struct snapshot *sn, const struct volume_params *p,
	struct volume_totals *totals, struct query_result *out, struct error *e)
{
	struct source_local s;

	snapshot_let_head_go(sn);
	return source_volume(source_local_init(&s, sn), q, p, totals, out, e);
}

int streams_label_names(struct snapshot *sn, struct str tenant, int64_t from_ns, int64_t to_ns,
	const struct selectors *match, void (*emit)(void *ctx, struct str name), void *ctx,
	struct error *e)
{
	struct source_local s;

	return source_label_names(
		source_local_init(&s, sn), tenant, from_ns, to_ns, match, emit, ctx, e);
}

int streams_label_values(struct snapshot *sn, struct str tenant, int64_t from_ns, int64_t to_ns,
	const struct selectors *match, struct str name, void (*emit)(void *ctx, struct str value),
	void *ctx, struct error *e)
{
	struct source_local s;

	return source_label_values(
		source_local_init(&s, sn), tenant, from_ns, to_ns, match, name, emit, ctx, e);
}

int streams_series(struct snapshot *sn, struct str tenant, int64_t from_ns, int64_t to_ns,
	const struct selectors *match, void (*emit)(void *ctx, struct str labels), void *ctx,
	struct error *e)
{
	struct source_local s;

	return source_series(
		source_local_init(&s, sn), tenant, from_ns, to_ns, match, emit, ctx, e);
}
