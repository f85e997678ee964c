/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A count is in one of four states: durable, waiting (shown in the metrics,
 * not in the journal yet), taken (waiting, and in the group being written), or
 * fresh (of the group alone: neither shown nor kept if the group fails,
 * because its records will be sent again).
 */
#include "store/ledger.h"

#include <stdlib.h>

#include "base/lock.h"
#include "base/map.h"
#include "base/metric.h"

enum { REASON_MAX = 64, INPUT_NAME_MAX = 64, ENTRIES_MAX = 10000 };

struct count {
	uint64_t n, bytes; /* durable */
	uint64_t waiting, taken, fresh;
	struct series_value *records, *raw_bytes, *received;
};

struct ledger {
	/* Under lock. */
	struct lock lock;
	struct map counts; /* key: kind, tenant, input, reason */
	bool waiting;
};

struct ledger *ledger_new(void)
{
	struct ledger *l = xcalloc(1, sizeof *l);

	lock_init(&l->lock);
	return l;
}

void ledger_free(struct ledger *l)
{
	const struct map_slot *slot;
	size_t at = 0;

	if (!l)
		return;
	while ((slot = map_next(&l->counts, &at)))
		free(slot->value.p);
	map_fini(&l->counts);
	lock_fini(&l->lock);
	free(l);
}

static struct series_value *series(
	enum metric m, struct str tenant, struct str input, struct str reason)
{
	struct buf labels = {0};
	struct series_value *v;

	metric_label(&labels, "input", input);
	metric_label(&labels, "tenant", tenant);
	if (reason.n > 0)
		metric_label(&labels, "reason", reason);
	v = metric_series(m, buf_cstr(&labels));
	buf_fini(&labels);
	return v;
}

static void find_series(struct count *c, enum ledger_kind kind, struct str tenant, struct str input,
	struct str reason)
{
	static const enum metric metrics[] = {
		[LEDGER_COMMITTED] = METRIC_committed_records_total,
		[LEDGER_DEDUPLICATED] = METRIC_deduplicated_records_total,
		[LEDGER_REJECTED] = METRIC_rejected_records_total,
		[LEDGER_DROPPED] = METRIC_dropped_records_total,
	};

	c->records = series(metrics[kind], tenant, input, reason);
	c->received = series(METRIC_received_records_total, tenant, input, STR_NONE);
	if (kind == LEDGER_COMMITTED)
		c->raw_bytes = series(METRIC_committed_bytes_total, tenant, input, STR_NONE);
}

/* Reasons and tenants may come from peers: beyond ENTRIES_MAX they share one entry. */
static struct count *get(struct ledger *l, enum ledger_kind kind, struct str tenant,
	struct str input, struct str reason) REQUIRES(l->lock)
{
	struct buf key = {0};
	union map_value *v;
	bool added = false;

	buf_char(&key, (char)kind);
	bytes_put_str(&key, tenant);
	bytes_put_str(&key, input);
	bytes_put_str(&key, reason);
	v = map_get(&l->counts, buf_view(&key));
	if (!v && l->counts.n >= ENTRIES_MAX && reason.n > 0) {
		buf_fini(&key);
		return get(l, kind, tenant, input, STR_NONE);
	}
	if (!v)
		v = map_put(&l->counts, buf_view(&key), &added);
	if (added) {
		v->p = xcalloc(1, sizeof(struct count));
		find_series(v->p, kind, tenant, input, reason);
	}
	buf_fini(&key);
	return v->p;
}

static void show(struct count *c, uint64_t n, uint64_t bytes)
{
	atomic_fetch_add_explicit(&c->records->v, (int64_t)n, memory_order_relaxed);
	atomic_fetch_add_explicit(&c->received->v, (int64_t)n, memory_order_relaxed);
	if (c->raw_bytes)
		atomic_fetch_add_explicit(&c->raw_bytes->v, (int64_t)bytes, memory_order_relaxed);
}

void ledger_add(struct ledger *l, enum ledger_kind kind, struct str tenant, struct str input,
	struct str reason, uint64_t n)
{
	struct count *c;

	if (n == 0)
		return;
	lock_take(&l->lock);
	c = get(l, kind, str_sub(tenant, 0, TENANT_MAX), str_sub(input, 0, INPUT_NAME_MAX),
		str_sub(reason, 0, REASON_MAX));
	c->waiting += n;
	l->waiting = true;
	show(c, n, 0);
	lock_drop(&l->lock);
}

void ledger_stage(struct ledger *l, enum ledger_kind kind, struct str tenant, struct str input,
	struct str reason, uint64_t n)
{
	lock_take(&l->lock);
	get(l, kind, tenant, input, reason)->fresh += n;
	l->waiting = true;
	lock_drop(&l->lock);
}

void ledger_committed(struct ledger *l, const struct batch *b, bool at_recovery)
{
	struct count *c;

	lock_take(&l->lock);
	c = get(l, LEDGER_COMMITTED, batch_tenant(b), batch_input(b), STR_NONE);
	c->n += batch_count(b);
	c->bytes += batch_raw_bytes(b);
	if (!at_recovery)
		show(c, batch_count(b), batch_raw_bytes(b));
	lock_drop(&l->lock);
}

bool ledger_pending(struct ledger *l)
{
	bool waiting;

	lock_take(&l->lock);
	waiting = l->waiting;
	lock_drop(&l->lock);
	return waiting;
}

void ledger_take(struct ledger *l, struct buf *out)
{
	const struct map_slot *slot;
	size_t at = 0;

	lock_take(&l->lock);
	while (l->waiting && (slot = map_next(&l->counts, &at))) {
		struct count *c = slot->value.p;

		c->taken = c->waiting;
		c->waiting = 0;
		if (c->taken + c->fresh == 0)
			continue;
		buf_char(out, 'L');
		buf_str(out, slot->key);
		varint_put(out, c->taken + c->fresh);
		varint_put(out, 0);
	}
	l->waiting = false;
	lock_drop(&l->lock);
}

void ledger_commit(struct ledger *l)
{
	const struct map_slot *slot;
	size_t at = 0;

	lock_take(&l->lock);
	while ((slot = map_next(&l->counts, &at))) {
		struct count *c = slot->value.p;

		if (c->taken + c->fresh == 0)
			continue;
		c->n += c->taken + c->fresh;
		show(c, c->fresh, 0);
		c->taken = c->fresh = 0;
	}
	lock_drop(&l->lock);
}

void ledger_abort(struct ledger *l)
{
	const struct map_slot *slot;
	size_t at = 0;

	lock_take(&l->lock);
	while ((slot = map_next(&l->counts, &at))) {
		struct count *c = slot->value.p;

		c->waiting += c->taken;
		c->taken = c->fresh = 0;
		l->waiting = l->waiting || c->waiting > 0;
	}
	lock_drop(&l->lock);
}

void ledger_encode(struct ledger *l, struct chunks *out)
{
	const struct map_slot *slot;
	size_t at = 0;

	lock_take(&l->lock);
	while ((slot = map_next(&l->counts, &at))) {
		const struct count *c = slot->value.p;

		if (c->n == 0)
			continue;
		buf_char(&out->text, 'L');
		buf_str(&out->text, slot->key);
		varint_put(&out->text, c->n);
		varint_put(&out->text, c->bytes);
		chunks_cut(out, false);
	}
	lock_drop(&l->lock);
}

void ledger_decode(struct ledger *l, struct reader *in, bool delta)
{
	uint64_t kind = reader_number(in, LEDGER_DROPPED);
	struct str tenant = reader_str(in, TENANT_MAX), input = reader_str(in, INPUT_NAME_MAX);
	struct str reason = reader_str(in, REASON_MAX);
	uint64_t n = reader_varint(in), bytes = reader_varint(in);
	struct count *c;

	if (in->bad || kind < LEDGER_COMMITTED) {
		in->bad = true;
		return;
	}
	lock_take(&l->lock);
	c = get(l, (enum ledger_kind)kind, tenant, input, reason);
	c->n = delta ? c->n + n : n;
	c->bytes = delta ? c->bytes + bytes : bytes;
	lock_drop(&l->lock);
}

void ledger_show(struct ledger *l)
{
	const struct map_slot *slot;
	size_t at = 0;

	lock_take(&l->lock);
	while ((slot = map_next(&l->counts, &at))) {
		struct count *c = slot->value.p;

		show(c, c->n, c->bytes);
	}
	lock_drop(&l->lock);
}

uint64_t ledger_get(struct ledger *l, enum ledger_kind kind, struct str tenant, struct str input,
	struct str reason)
{
	const struct count *c;
	uint64_t n;

	lock_take(&l->lock);
	c = get(l, kind, tenant, input, reason);
	n = c->n + c->waiting + c->taken;
	lock_drop(&l->lock);
	return n;
}
