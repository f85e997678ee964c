/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots and scans.
 *
 * A scan merges two ordered runs of units by their keys: those of the engine,
 * which it opens as it goes, and the batches of the head.  A batch is handed
 * on in slices, so that a batch of a million records needs no more memory for
 * its columns than a block does.
 */
#include <assert.h>
#include <stdlib.h>

#include "store/core.h"
#include "store/unit.h"

enum { SLICE_ROWS = 4096 };

struct snapshot {
	struct store *store;
	struct head_view *head;
	struct engine_view *parts;
	uint64_t last_seq;
};

struct snapshot *snapshot_take(struct store *s)
{
	struct snapshot *sn = xcalloc(1, sizeof *sn);

	sn->store = s;
	lock_take(&s->lock);
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
	free(sn);
}

uint64_t snapshot_last_seq(const struct snapshot *sn)
{
	return sn->last_seq;
}

/* The head */

struct head_unit {
	uint64_t key, seq;
	const struct batch *batch;
};

struct head_scan {
	struct scan *scan;
	uint64_t until_seq;
	struct head_unit *units;
	size_t n, at, charged;
	struct unit rows;
	struct buf wanted;  /* a byte for each stream of the batch */
	struct buf streams; /* struct str */
	struct buf sources;
};

static int compare_units(const void *a, const void *b)
{
	const struct head_unit *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int head_scan_begin(struct head_scan *hs, const struct head_view *v, struct error *e)
{
	const struct scan *scan = hs->scan;
	size_t n = 0;
	int r;

	for (size_t i = 0; i < v->n; i++)
		n += head_view_count(v, i);
	if ((r = scan_charge(scan->account, n * sizeof *hs->units, e)) < 0)
		return r;
	hs->charged = n * sizeof *hs->units;
	hs->units = xmalloc(hs->charged);
	for (size_t i = 0; i < v->n; i++) {
		for (uint32_t k = 0; k < head_view_count(v, i); k++) {
			const struct batch *b = v->chunks[i]->batches[k];
			uint64_t seq = batch_first_seq(b);
			int64_t min = batch_min_time(b), max = batch_max_time(b);

			if (str_eq(batch_tenant(b), scan->tenant) &&
				unit_overlaps(scan, hs->until_seq, min, max, seq,
					seq + batch_count(b) - 1))
				hs->units[hs->n++] = (struct head_unit){
					unit_key(scan->order, min, max, seq), seq, b};
		}
	}
	hs->scan->stats.units += hs->n;
	if (hs->n > 1)
		qsort(hs->units, hs->n, sizeof *hs->units, compare_units);
	return 0;
}

static void head_scan_end(struct head_scan *hs)
{
	if (hs->scan->account)
		account_release(hs->scan->account, hs->charged);
	unit_fini(&hs->rows);
	buf_fini(&hs->wanted);
	buf_fini(&hs->streams);
	buf_fini(&hs->sources);
	free(hs->units);
}

/* Fill the tables of one batch; false when none of its streams is wanted. */
static bool head_tables(struct head_scan *hs, const struct batch *b, uint32_t *source)
{
	const struct scan *scan = hs->scan;
	bool any = false, found = scan->source.n == 0;

	buf_clear(&hs->wanted);
	buf_clear(&hs->streams);
	buf_clear(&hs->sources);
	*source = 0;
	for (size_t i = 0; i < batch_n_sources(b); i++) {
		struct str id = batch_source(b, i).id;

		if (scan->source.n > 0 && str_eq(id, scan->source)) {
			*source = (uint32_t)i + 1;
			found = true;
		}
		buf_put(&hs->sources, &id, sizeof id);
	}
	for (size_t i = 0; found && i < batch_n_streams(b); i++) {
		struct str labels = batch_stream(b, i);
		bool wanted = !scan->want_stream || scan->want_stream(scan->ctx, labels);

		buf_char(&hs->wanted, (char)wanted);
		buf_put(&hs->streams, &labels, sizeof labels);
		any = any || wanted;
	}
	return any;
}

static int head_read(struct head_scan *hs, struct error *e)
{
	const struct batch *b = hs->units[hs->at++].batch;
	struct scan *scan = hs->scan;
	uint32_t source;
	int r = unit_wanted(scan, batch_min_time(b), batch_max_time(b), e);

	if (r <= 0 || !head_tables(hs, b, &source))
		return r < 0 ? r : 0;
	scan->stats.units_read++;
	scan->stats.bytes_raw += batch_raw_bytes(b);
	for (size_t from = 0; from < batch_count(b); from += SLICE_ROWS) {
		size_t n = batch_count(b) - from, picked;
		struct rows rows;

		n = n < SLICE_ROWS ? n : SLICE_ROWS;
		if ((r = unit_reserve(&hs->rows, n, e)) < 0)
			return r;
		unit_fill(&hs->rows, b, from, n);
		picked = unit_pick(
			&hs->rows, n, scan, hs->until_seq, (const uint8_t *)hs->wanted.p, source);
		scan->stats.rows += n;
		if (picked > 0 && scan->contains.n > 0)
			picked = unit_keep(&hs->rows, picked, scan->contains);
		scan->stats.rows_picked += picked;
		if (picked == 0)
			continue;
		rows = unit_rows(&hs->rows, picked);
		rows.streams = (const struct str *)hs->streams.p;
		rows.n_streams = batch_n_streams(b);
		rows.sources = (const struct str *)hs->sources.p;
		rows.n_sources = batch_n_sources(b);
		if ((r = scan->rows(scan->ctx, &rows, e)) != 0)
			return r;
	}
	return 0;
}

/* Merging */

static int merge(struct head_scan *hs, const struct engine_type *type, struct engine_scan *es,
	struct error *e)
{
	for (;;) {
		uint64_t key = 0;
		int more = type->scan_peek(es, &key, e), r;

		if (more < 0)
			return more;
		if (hs->at == hs->n && !more)
			return 0;
		if (hs->at < hs->n && (!more || hs->units[hs->at].key <= key))
			r = head_read(hs, e);
		else
			r = type->scan_read(es, e);
		if (r != 0)
			return r;
	}
}

int snapshot_scan(struct snapshot *sn, struct scan *scan, struct error *e)
{
	const struct engine_type *type = engine_type(sn->store->engine);
	struct head_scan hs = {.scan = scan, .rows.account = scan->account};
	struct engine_scan *es = NULL;
	int r;

	assert(scan->rows && (scan->contains.n == 0 || scan->columns & SCAN_BODY));
	scan->stats = (struct scan_stats){0};
	hs.until_seq = scan->until_seq > 0 && scan->until_seq < sn->last_seq ? scan->until_seq
									     : sn->last_seq;
	if ((r = head_scan_begin(&hs, sn->head, e)) == 0 &&
		(r = type->scan_begin(sn->parts, scan, hs.until_seq, &es, e)) == 0)
		r = merge(&hs, type, es, e);
	type->scan_end(es);
	head_scan_end(&hs);
	return r;
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
