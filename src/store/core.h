/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The inside of struct store, for the files of this folder alone: store.c
 * (life, builder, flush), recover.c, commit.c, retain.c, upkeep.c, scan.c and cursor.c.
 */
#include "base/list.h"
#include "base/lock.h"
#include "store/commit.h"
#include "store/engine.h"
#include "store/head.h"
#include "store/journal.h"
#include "store/ledger.h"
#include "store/position.h"
#include "store/store.h"

struct store {
	struct sink sink; /* first: a sink is cast back to its store */
	/* Fixed after store_open: any thread. */
	struct store_options o;      /* with the defaults filled in; dir is owned */
	struct account head_account; /* queued batches and the head */
	struct account work_account; /* positions, the builder */
	struct file *lock_file;
	struct store_recovery recovery;
	struct journal *journal;
	struct positions *positions;
	struct ledger *ledger;
	struct engine *engine;
	struct committer *committer;
	struct retainer *retainer;
	pthread_t builder;
	/* Under lock. */
	struct lock lock;
	struct cond work;  /* the builder waits for it */
	struct cond built; /* store_flush waits for it */
	struct head head;
	uint64_t flush_seq; /* build until nothing at or below it is in the head */
	uint64_t build_failures;
	struct error build_error;
	bool stopping;
	/* Under watch_lock, which is held while watches run. */
	struct lock watch_lock;
	struct list watches;
	struct list drop_watches;
	/* Atomic; written under lock. */
	_Atomic uint64_t last_seq;
};

/* recover.c: read the journal into the head, positions and ledger, and start a segment.  Before
 * any thread runs.  *next_seq is the sequence of the next record. */
int store_recover(struct store *s, uint64_t *next_seq, struct error *e);
/* Positions and ledger, as a segment begins with them.  Committer, or recovery. */
void store_snapshot_state(struct store *s, struct chunks *out);
/* Build one part of the oldest batches of the head.  Builder, or recovery. */
int store_build(struct store *s, struct error *e);
void store_run_watches(struct store *s);
void store_run_drop_watches(
	struct store *s, uint64_t first_seq, uint64_t last_seq, uint64_t records);
/* retain.c: what is hidden at this moment: a reference, NULL when nothing is.  Any thread, with or
 * without the store's lock. */
struct visibility *store_visibility(struct store *s);
/* How many records of a batch are older than may be stored, and which: bits, freed by the caller.
 */
size_t store_too_old(struct store *s, const struct batch *b, uint8_t **drop);
/* Have the builder build everything up to a sequence; does not wait. */
void store_ask_build(struct store *s, uint64_t seq);
/* Delete the segments of the journal of which nothing is left in the head. */
void store_trim_journal(struct store *s);

/* retain.c and upkeep.c: rules, deletions and the thread that carries them out. */
struct retainer *retainer_new(struct store *s);
void retainer_load(struct retainer *rt);  /* the deletions; the engine is open */
void retainer_start(struct retainer *rt); /* after recovery */
void retainer_stop(struct retainer *rt);
void retainer_free(struct retainer *rt);        /* NULL is fine */
void retainer_wake(struct retainer *rt);        /* a part was built */
bool retainer_clock_ahead(struct retainer *rt); /* ages do not count by it */
void retainer_dump(struct retainer *rt, struct buf *out);
