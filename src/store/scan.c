/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots and scans.
 *
 * A scan merges two ordered runs of units by their keys: those of the engine,
 * which it opens as it goes, and the batches of the head.
 */
#include <assert.h>
#include <stdlib.h>

#include "store/core.h"
#include "store/head_scan.h"
#include "store/visible.h"

struct snapshot {
	struct store *store;
	struct head_view *head;
	struct engine_view *parts;
	struct visibility *visibility;
	uint64_t last_seq;
};

struct snapshot *snapshot_take(struct store *s)
{
	struct snapshot *sn = xcalloc(1, sizeof *sn);

	sn->store = s;
	lock_take(&s->lock);
	/* First: a deletion that ends after this moment is in it, one that ended before is carried
	 * out in the parts that follow. */
	sn->visibility = store_visibility(s);
	sn->head = head_view(&s->head);
	sn->parts = engine_type(s->engine)->view(s->engine);
	sn->last_seq = atomic_load(&s->last_seq);
	lock_drop(&s->lock);
	return sn;
}

void snapshot_free(struct snapshot *sn)
{
	if (!sn)
		return;
	engine_type(sn->store->engine)->unref(sn->parts);
	head_view_free(sn->head);
	visibility_unref(sn->visibility);
	free(sn);
}

uint64_t snapshot_last_seq(const struct snapshot *sn)
{
	return sn->last_seq;
}

/* Scanning */

static int merge(struct head_scan *hs, const struct engine_type *type, struct engine_scan *es,
	struct error *e)
{
	for (;;) {
		uint64_t key = 0, head_key = 0;
		int in_head = head_scan_peek(hs, &head_key);
		int more = type->scan_peek(es, &key, e), r;

		if (more < 0)
			return more;
		if (!in_head && !more)
			return 0;
		if (in_head && (!more || head_key <= key))
			r = head_scan_read(hs, e);
		else
			r = type->scan_read(es, e);
		if (r != 0)
			return r;
	}
}

static int scan_units(struct snapshot *sn, struct scan *scan, struct error *e)
{
	const struct engine_type *type = engine_type(sn->store->engine);
	uint64_t until_seq = scan->until_seq > 0 && scan->until_seq < sn->last_seq ? scan->until_seq
										   : sn->last_seq;
	struct engine_scan *es = NULL;
	struct head_scan *hs = NULL;
	int r;

	if ((r = head_scan_begin(sn->head, scan, until_seq, &hs, e)) == 0 &&
		(r = type->scan_begin(sn->parts, scan, until_seq, &es, e)) == 0)
		r = merge(hs, type, es, e);
	type->scan_end(es);
	head_scan_end(hs);
	return r;
}

/* `contains` is a filter as the others are. */
static int scan_containing(struct snapshot *sn, struct scan *scan, struct error *e)
{
	const struct line_test test = {.text = scan->contains};
	const struct line_filter *given = scan->filters;
	struct line_filter *filters = xcalloc(scan->n_filters + 1, sizeof *filters);
	int r;

	if (scan->n_filters > 0)
		memcpy(filters, given, scan->n_filters * sizeof *filters);
	filters[scan->n_filters++] = (struct line_filter){.tests = &test, .n = 1};
	scan->filters = filters;
	r = scan_units(sn, scan, e);
	scan->filters = given;
	scan->n_filters--;
	free(filters);
	return r;
}

int snapshot_scan(struct snapshot *sn, struct scan *scan, struct error *e)
{
	assert(scan->rows && (!scan->counts || scan->same_bucket));
	scan->stats = (struct scan_stats){0};
	scan->visibility = scan->hidden_too ? NULL : sn->visibility;
	return scan->contains.n > 0 ? scan_containing(sn, scan, e) : scan_units(sn, scan, e);
}

int snapshot_streams(struct snapshot *sn, struct str tenant, int64_t from_ns, int64_t to_ns,
	void (*stream)(void *ctx, struct str labels), void *ctx, struct error *e)
{
	const struct engine_type *type = engine_type(sn->store->engine);

	for (size_t i = 0; i < sn->head->n; i++) {
		for (uint32_t k = 0; k < head_view_count(sn->head, i); k++) {
			const struct batch *b = sn->head->chunks[i]->batches[k];

			if (!str_eq(batch_tenant(b), tenant) || batch_max_time(b) < from_ns ||
				batch_min_time(b) >= to_ns)
				continue;
			for (size_t n = 0; n < batch_n_streams(b); n++)
				stream(ctx, batch_stream(b, n));
		}
	}
	return type->streams(sn->parts, tenant, from_ns, to_ns, stream, ctx, e);
}
