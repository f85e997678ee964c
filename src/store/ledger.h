/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The ledger: what became of every record that an input took, counted by
 * tenant and input, and by reason where it was refused or lost.  Kept in the
 * journal, so that received = committed + deduplicated + rejected + dropped
 * holds over restarts; the metrics of the same names show it.
 * Thread rule: ledger_add from any thread; the rest from the thread that
 * commits.
 */
#include "record/batch.h"
#include "store/bytes.h"

struct ledger;

enum ledger_kind {
	LEDGER_COMMITTED = 1,
	LEDGER_DEDUPLICATED = 2,
	LEDGER_REJECTED = 3,
	LEDGER_DROPPED = 4,
};

struct ledger *ledger_new(void);
void ledger_free(struct ledger *l);

/* Count at once; written with a later group. */
void ledger_add(struct ledger *l, enum ledger_kind kind, struct str tenant, struct str input,
	struct str reason, uint64_t n);
/* Count with the group at hand: shown and kept when it is committed, forgotten when aborted. */
void ledger_stage(struct ledger *l, enum ledger_kind kind, struct str tenant, struct str input,
	struct str reason, uint64_t n);
/* Committed records need no entry of their own: their batches are in the journal. */
void ledger_committed(struct ledger *l, const struct batch *b, bool at_recovery);
/* Is something waiting to be written? */
bool ledger_pending(struct ledger *l);
/* Put what is waiting and staged into the group: the payload of a JOURNAL_LEDGER record. */
void ledger_take(struct ledger *l, struct buf *out);
void ledger_commit(struct ledger *l);
void ledger_abort(struct ledger *l);

/* All durable counts, as absolute entries of tag 'L'. */
void ledger_encode(struct ledger *l, struct chunks *out);
/* The entry behind the tag: set the count.  `delta`: add to it. */
void ledger_decode(struct ledger *l, struct reader *in, bool delta);
/* After recovery: show what was recovered in the metrics. */
void ledger_show(struct ledger *l);
/* Figure for tests and dumps. */
uint64_t ledger_get(struct ledger *l, enum ledger_kind kind, struct str tenant, struct str input,
	struct str reason);
