/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery: the journal read back into head, positions and ledger.
 *
 * Every record's positions and counts are applied; its lines go to the head
 * unless a part holds them.  When the head reaches its share of memory, parts
 * are built while reading, so a journal of any size is recovered within the
 * ceiling.
 *
 * All groups but the last are known to have been synced.  The last may be
 * there only because the kernel still had it: acknowledging a resend of it as
 * a duplicate would then be a promise nobody has kept.  So it is written again,
 * as the first group of the new segment, in the same rename that voids the old
 * copy.  The new segment's snapshot counts the ledger without that group, as
 * its batches are counted when they are read.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/metric.h"
#include "store/core.h"

struct recovery {
	struct store *s;
	struct batch **held; /* references: the batches of the latest group */
	int64_t *held_ns;
	size_t n_held, cap_held;
	uint64_t damaged;
};

/* The latest group has a successor: it was synced. */
static void settle(struct recovery *rec)
{
	for (size_t i = 0; i < rec->n_held; i++) {
		ledger_committed(rec->s->ledger, rec->held[i], true);
		batch_unref(rec->held[i]);
	}
	rec->n_held = 0;
}

static void hold(struct recovery *rec, struct batch *b, int64_t commit_ns)
{
	if (rec->n_held == rec->cap_held) {
		rec->cap_held = rec->cap_held ? rec->cap_held * 2 : 16;
		rec->held = xrealloc(rec->held, rec->cap_held * sizeof(struct batch *));
		rec->held_ns = xrealloc(rec->held_ns, rec->cap_held * sizeof *rec->held_ns);
	}
	rec->held_ns[rec->n_held] = commit_ns;
	rec->held[rec->n_held++] = batch_ref(b);
}

static void tell_damage(void *ctx, uint64_t first_seq, uint64_t last_seq, const char *sentence)
{
	struct recovery *rec = ctx;

	if (first_seq <= last_seq &&
		engine_type(rec->s->engine)->covers(rec->s->engine, first_seq, last_seq))
		return; /* old journal: a part has what it held */
	rec->damaged++;
	metric_add(METRIC_journal_damaged_total, "", 1);
	if (first_seq <= last_seq)
		log_warn("store", "%s; records %llu to %llu are lost", sentence,
			(unsigned long long)first_seq, (unsigned long long)last_seq);
	else
		log_warn("store", "%s", sentence);
}

/* Keep the head within its share; a part that cannot be built now is built later. */
static void relieve(struct recovery *rec)
{
	struct store *s = rec->s;
	struct error e;

	while (s->head.bytes > s->head_account.limit / 2) {
		if (store_build(s, &e) < 0) {
			log_warn("store", "building a part during recovery: %s", e.text);
			return;
		}
	}
}

static int visit_batch(struct recovery *rec, const struct journal_entry *entry, struct buf *payload)
{
	struct store *s = rec->s;
	uint64_t last_seq = entry->first_seq + entry->n_records - 1;
	struct batch *b;
	struct error e;
	size_t bytes;

	if (batch_from_bytes(&b, payload, &e) < 0 || batch_count(b) != entry->n_records) {
		tell_damage(rec, entry->first_seq, last_seq, "journal: a record holds no batch");
		return 0;
	}
	bytes = batch_bytes(b).n;
	account_force(&s->head_account, bytes);
	batch_set_account(b, &s->head_account);
	batch_set_first_seq(b, entry->first_seq);
	positions_stage(s->positions, b);
	positions_commit(s->positions);
	hold(rec, b, entry->commit_ns);
	if (batch_count(b) > 0 &&
		!engine_type(s->engine)->covers(s->engine, entry->first_seq, last_seq)) {
		head_append(&s->head, batch_ref(b), s->o.part_bytes / 4, clock_mono_ns(s->o.clock));
		s->recovery.records += entry->n_records;
	}
	batch_unref(b);
	relieve(rec);
	return 0;
}

static int visit_entry(
	void *ctx, const struct journal_entry *entry, struct buf *payload, struct error *e)
{
	struct recovery *rec = ctx;
	struct reader in = {.at = entry->payload};

	if (entry->commit_ns > rec->s->recovery.newest_ns)
		rec->s->recovery.newest_ns = entry->commit_ns;
	if (entry->group_start)
		settle(rec);
	if (entry->type == JOURNAL_BATCH)
		return visit_batch(rec, entry, payload);
	while (in.at.n > 0 && !in.bad) {
		char tag = reader_bytes(&in, 1).p[0];

		if (tag == 'P')
			positions_decode(rec->s->positions, &in);
		else if (tag == 'L')
			ledger_decode(rec->s->ledger, &in, entry->type == JOURNAL_LEDGER);
		else
			in.bad = true;
	}
	if (in.bad)
		tell_damage(rec, 1, 0, "journal: a record of positions or counts is not readable");
	return 0;
}

void store_snapshot_state(struct store *s, struct chunks *out)
{
	positions_encode(s->positions, out);
	ledger_encode(s->ledger, out);
	chunks_cut(out, true);
}

/* Start this run's segment, with the last group in it. */
static int start_segment(struct recovery *rec, uint64_t next_seq, struct error *e)
{
	struct store *s = rec->s;
	struct journal_entry *carry = xcalloc(rec->n_held, sizeof *carry);
	struct chunks state = {0};
	int r;

	for (size_t i = 0; i < rec->n_held; i++) {
		carry[i] = (struct journal_entry){
			.type = JOURNAL_BATCH,
			.first_seq = batch_first_seq(rec->held[i]),
			.n_records = (uint32_t)batch_count(rec->held[i]),
			.commit_ns = rec->held_ns[i],
			.payload = batch_bytes(rec->held[i]),
		};
	}
	store_snapshot_state(s, &state);
	r = journal_roll(s->journal, rec->n_held > 0 ? carry[0].first_seq : next_seq,
		clock_now_ns(s->o.clock), &state, carry, rec->n_held, e);
	chunks_fini(&state);
	free(carry);
	return r;
}

int store_recover(struct store *s, uint64_t *next_seq, struct error *e)
{
	struct recovery rec = {.s = s};
	struct journal_visitor v = {.entry = visit_entry, .damage = tell_damage, .ctx = &rec};
	struct journal_recovery found;
	struct engine_figures figures;
	int64_t start = clock_mono_ns(s->o.clock);
	int r;

	if ((r = journal_recover(s->journal, &v, &found, e)) == 0) {
		engine_type(s->engine)->figures(s->engine, &figures);
		*next_seq =
			found.next_seq > figures.last_seq ? found.next_seq : figures.last_seq + 1;
		/* A disk that takes nothing now is no reason not to start: the store answers
		 * queries, and accepts as soon as it can. */
		if (start_segment(&rec, *next_seq, e) < 0)
			r = 1;
	}
	settle(&rec);
	free(rec.held);
	free(rec.held_ns);
	s->recovery.journal_bytes = found.bytes;
	s->recovery.damaged = rec.damaged;
	s->recovery.torn_bytes = found.torn_bytes;
	s->recovery.took_ns = clock_mono_ns(s->o.clock) - start;
	return r;
}
