/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots and scans.
 *
 * A scan merges two ordered runs of units by their keys: those of the engine,
 * which it opens as it goes, and the batches of the head.
 *
 * A snapshot that holds the batches of the head holds memory that ingest waits
 * for: fifty slow queries brought it from 126 MB/s to 5.  So a long scan lets
 * them go at once.  What is in parts at the moment of the snapshot has lower
 * sequences than what is in the head; so the scan reads those parts, and then
 * the rest by its sequences, out of what the store is by then: mostly parts.
 */
#include <assert.h>
#include <stdlib.h>

#include "store/core.h"
#include "store/head_scan.h"
#include "store/visible.h"

struct snapshot {
	struct store *store;
	struct head_view *head; /* NULL once it was let go */
	struct engine_view *parts;
	struct visibility *visibility;
	uint64_t last_seq;
	uint64_t parts_seq; /* the parts' records are those up to here, the head's those behind,
			       when */
	bool apart;         /* is true: after a repair they may lie mixed */
	bool narrow;        /* `head` is one chunk of it */
	bool going;         /* it goes when a scan is through with it */
};

struct snapshot *snapshot_take(struct store *s)
{
	struct snapshot *sn = xcalloc(1, sizeof *sn);
	struct engine_figures figures = {0};
	uint64_t first;

	sn->store = s;
	lock_take(&s->lock);
	/* First: a deletion that ends after this moment is in it, one that ended before is carried
	 * out in the parts that follow. */
	sn->visibility = store_visibility(s);
	sn->head = head_view(&s->head);
	sn->parts = engine_type(s->engine)->view(s->engine);
	sn->last_seq = atomic_load(&s->last_seq);
	engine_type(s->engine)->figures(s->engine, &figures);
	first = head_first_seq(&s->head);
	lock_drop(&s->lock);
	sn->parts_seq = first > 0 ? first - 1 : sn->last_seq;
	sn->apart = figures.last_seq <= sn->parts_seq;
	return sn;
}

void snapshot_let_head_go(struct snapshot *sn)
{
	if (!sn->head || !sn->apart)
		return;
	head_view_free(sn->head);
	sn->head = NULL;
}

void snapshot_free(struct snapshot *sn)
{
	if (!sn)
		return;
	engine_type(sn->store->engine)->unref(sn->parts);
	if (sn->head)
		head_view_free(sn->head);
	visibility_unref(sn->visibility);
	free(sn);
}

uint64_t snapshot_last_seq(const struct snapshot *sn)
{
	return sn->last_seq;
}

void snapshot_let_head_go_once_read(struct snapshot *sn)
{
	sn->going = true;
}

/* Scanning */

/* The units of both; hs may be NULL.  Without units left it is ended, and *hs NULL. */
static int merge(struct snapshot *sn, struct scan *scan, struct head_scan **hs,
	struct engine_scan *es, struct error *e)
{
	const struct engine_type *type = engine_type(sn->store->engine);

	for (;;) {
		uint64_t key = 0, head_key = 0;
		int in_head = *hs ? head_scan_peek(*hs, &head_key) : 0;
		int more = type->scan_peek(es, &key, e), r;

		if (more < 0)
			return more;
		if (!in_head && *hs) {
			head_scan_end(*hs);
			*hs = NULL;
			if (sn->going)
				snapshot_let_head_go(sn);
		}
		if (!in_head && !more)
			return 0;
		scan->holds_head = in_head && !sn->narrow;
		if (in_head && (!more || head_key <= key))
			r = head_scan_read(*hs, e);
		else
			r = type->scan_read(es, e);
		if (r != 0)
			return r;
	}
}

/* Records up to until_seq that the snapshot holds itself. */
static int scan_held(struct snapshot *sn, struct scan *scan, uint64_t until_seq, struct error *e)
{
	const struct engine_type *type = engine_type(sn->store->engine);
	struct engine_scan *es = NULL;
	struct head_scan *hs = NULL;
	int r = 0;

	if (sn->head)
		r = head_scan_begin(sn->head, scan, until_seq, &hs, e);
	if (r == 0 && (r = type->scan_begin(sn->parts, scan, until_seq, &es, e)) == 0)
		r = merge(sn, scan, &hs, es, e);
	scan->holds_head = false;
	type->scan_end(es);
	head_scan_end(hs);
	return r;
}

/* Records that were in the head, wherever they are by now: chunk after chunk, so that no more than
 * one is held at a time. */
static int scan_rest(struct snapshot *sn, struct scan *scan, uint64_t until_seq, struct error *e)
{
	uint64_t given = scan->after_seq, at = given > sn->parts_seq ? given : sn->parts_seq;
	int r = 0;

	while (r == 0 && at < until_seq) {
		struct snapshot *now = snapshot_take(sn->store);
		uint64_t end = until_seq;

		if (now->apart && now->parts_seq > at) {
			snapshot_let_head_go(now);
			end = now->parts_seq;
		} else if (now->apart) {
			end = head_view_narrow(now->head, at);
			now->narrow = true;
		}
		if (end > until_seq)
			end = until_seq;
		scan->after_seq = at;
		r = scan_held(now, scan, end, e);
		at = end;
		snapshot_free(now);
	}
	scan->after_seq = given;
	return r;
}

static int scan_units(struct snapshot *sn, struct scan *scan, struct error *e)
{
	bool newest_first = scan->order == SCAN_NEWEST_FIRST;
	uint64_t until_seq = scan->until_seq > 0 && scan->until_seq < sn->last_seq ? scan->until_seq
										   : sn->last_seq;
	uint64_t in_parts = until_seq < sn->parts_seq ? until_seq : sn->parts_seq;
	int r = 0;

	if (sn->head)
		return scan_held(sn, scan, until_seq, e);
	if (newest_first)
		r = scan_rest(sn, scan, until_seq, e);
	if (r == 0 && in_parts > 0)
		r = scan_held(sn, scan, in_parts, e);
	if (r == 0 && !newest_first)
		r = scan_rest(sn, scan, until_seq, e);
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
	struct snapshot *now;
	int r;

	if (!sn->head) {
		now = snapshot_take(sn->store);
		r = snapshot_streams(now, tenant, from_ns, to_ns, stream, ctx, e);
		snapshot_free(now);
		return r;
	}
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
