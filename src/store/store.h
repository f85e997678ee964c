/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The store: one journal, many readers.
 *
 * A batch that is submitted is appended to the journal in commit order, gets
 * its sequence numbers, is synced together with whatever else arrived in the
 * meantime (self-clocking group commit), becomes visible in the head, and is
 * acknowledged: in this order.  A builder turns the oldest batches of the head
 * into a part; a snapshot sees each record exactly once, in the head or in a
 * part.  Reading order: journal.h, position.h, head.h, engine.h, scan.h.
 *
 * Threads: any thread may call anything here, but for store_open and
 * store_close.  A committer, a builder and an upkeep thread inside.
 */
#include "base/memory.h"
#include "os/clock.h"
#include "os/fs.h"
#include "record/sink.h"
#include "store/scan.h"
#include "store/visible.h"

struct store;
struct retention;

struct store_options {
	struct fs *fs;
	struct clock *clock;
	const char *dir;         /* holds journal/, parts/, LOCK; created when absent */
	struct account *account; /* the process's ceiling; the head takes at most half of it */
	uint64_t segment_bytes;  /* of a journal file; 0: 64 MiB, less under a small ceiling */
	uint64_t part_bytes; /* encoded batch bytes that make a part; 0: a quarter of the account,
				at most 64 MiB */
	int64_t part_age_ns; /* a part is built of older batches too; 0: one hour */
	uint64_t reserve_bytes; /* refuse with ERR_FULL when less is free; 0: 64 MiB */
	const struct store_selectors
		*selectors;                /* for retention by rule and deletions; NULL: none */
	const struct retention *retention; /* see retain.h; NULL: nothing goes by itself */
	bool merge_off;                    /* for tests: parts stay as they were built */
	size_t merge_parts;                /* for tests: parts of a level that are merged; 0: 8 */
	bool sync_off;   /* durability: os.  Acknowledge after write without fdatasync */
	bool ack_early;  /* mutant for the fault tests: acknowledge before the sync */
	bool dedupe_off; /* mutant for the fault tests: store resent records again */
};

/* What recovery found, for the log and the page. */
struct store_recovery {
	uint64_t journal_bytes, records, damaged, torn_bytes;
	int64_t took_ns;
	int64_t newest_ns; /* wall time at which the newest record of the journal was written */
};

/* Recovers first.  ERR_BUSY when another process has it; never fails for damaged data. */
int store_open(struct store **out, const struct store_options *o, struct error *e);
/* Commit what was submitted, stop the threads, free.  Every `done` has run when it returns. */
void store_close(struct store *s);
const struct store_recovery *store_recovery(const struct store *s);

/* The sink that commits; valid as long as the store. */
struct sink *store_sink(struct store *s);
/* 0 when batches are being accepted; else why not (disk full, failed disk). */
int store_healthy(struct store *s, struct error *e);
uint64_t store_last_seq(struct store *s);
/* Move all of the head into parts now; returns when it is durable. */
int store_flush(struct store *s, struct error *e);
/* Called on the committer's thread after each group became visible: only post or signal. */
struct store_watch;
struct store_watch *store_watch_add(struct store *s, void (*committed)(void *arg), void *arg);
void store_watch_remove(struct store *s, struct store_watch *w); /* no call after it returns */
/* Called on the upkeep thread after retention dropped a part: the sequences between which its
 * records lay, and how many these were.  One watcher for each `arg`; NULL ends it: no call after it
 * returns. */
void store_watch_drops(struct store *s,
	void (*dropped)(void *arg, uint64_t first_seq, uint64_t last_seq, uint64_t records),
	void *arg);
/* Set the gauges of base/metrics.def that the store knows. */
void store_metrics(struct store *s);
/* Threads, queues, segments and parts as text: SIGUSR1. */
void store_dump(struct store *s, struct buf *out);
