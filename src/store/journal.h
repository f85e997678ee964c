/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The journal: segment files of checksummed records, appended a group at a
 * time, with one write and one sync.  Format: doc/format/journal.md.
 *
 * Life: journal_open, journal_recover, journal_roll (starts the first segment
 * of this run), then journal_append and journal_roll, journal_close.
 * Thread rule: one thread at a time for all of these (recovery, then the
 * committer); journal_delete_upto and the figures from any thread.
 */
#include "os/fs.h"
#include "store/bytes.h"

struct journal;

enum journal_type {
	JOURNAL_BATCH = 1,    /* payload: an encoded batch */
	JOURNAL_SNAPSHOT = 2, /* positions and ledger as they were: store/state.h */
	JOURNAL_LEDGER = 3,   /* what was added to the ledger */
};

struct journal_entry {
	enum journal_type type;
	uint64_t first_seq; /* of a batch; else the next sequence to be given */
	uint32_t n_records;
	int64_t commit_ns; /* wall time */
	struct str payload;
	bool group_start; /* told at recovery: no record of its group comes before it */
};

struct journal_options {
	struct fs *fs;
	const char *dir;
	uint64_t segment_bytes;
	bool sync_off;
	/* For tools, also beside a server: nothing is made or removed, and a segment that is gone
	 * when its turn comes is passed by.  It is not written to. */
	bool read_only;
};

/* What recovery tells while it reads. */
struct journal_visitor {
	/* One record, in order.  `payload` holds entry->payload; it may be taken with buf_take. */
	int (*entry)(
		void *ctx, const struct journal_entry *entry, struct buf *payload, struct error *e);
	/* Bytes that should have held committed records and do not.  `first_seq` to `last_seq`
	 * are missing; first > last when no sequence is known to be. */
	void (*damage)(void *ctx, uint64_t first_seq, uint64_t last_seq, const char *sentence);
	void *ctx;
};

struct journal_recovery {
	uint64_t bytes;      /* read */
	uint64_t records;    /* entries that were whole */
	uint64_t torn_bytes; /* cut from the end: never acknowledged */
	uint64_t next_seq;   /* above every sequence that was seen */
};

/* Lists the segments; makes the directory when absent. */
int journal_open(struct journal **out, const struct journal_options *o, struct error *e);
void journal_close(struct journal *j); /* NULL is fine */
/* Read all segments, oldest first.  Damage is told and stepped over; fails when the visitor
 * does or a segment cannot be opened at all. */
int journal_recover(struct journal *j, const struct journal_visitor *v,
	struct journal_recovery *out, struct error *e);
/* Start a new segment whose records begin at first_seq, with a durable snapshot at its head and
 * the n entries of `carry` as its first group.  What older segments hold from first_seq on is
 * void from now on.  All of it or nothing; after a failure another roll must come before the
 * next append. */
int journal_roll(struct journal *j, uint64_t first_seq, int64_t now_ns,
	const struct chunks *snapshot, const struct journal_entry *carry, size_t n,
	struct error *e);
/* Should the next group of so many payload bytes begin a new segment? */
bool journal_wants_roll(const struct journal *j, uint64_t bytes);
/* Append a group and sync it.  After a failure nothing more is written to that segment:
 * journal_wants_roll is true until the next journal_roll. */
int journal_append(
	struct journal *j, const struct journal_entry *entries, size_t n, struct error *e);
/* Unlink the oldest segments of which every record is at or below seq; never the newest. */
void journal_delete_upto(struct journal *j, uint64_t seq);

/* First sequences of the oldest and of the newest segment; 0 when there is none. */
void journal_range(struct journal *j, uint64_t *oldest, uint64_t *newest);
uint64_t journal_bytes(const struct journal *j); /* on disk, preallocation included */
uint64_t journal_syncs(const struct journal *j);
size_t journal_segments(struct journal *j);
void journal_dump(struct journal *j, struct buf *out);
