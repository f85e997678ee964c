/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The inside of outputs, for outputs.c (the set), runner.c (the thread of one)
 * and place.c (what is kept of it on disk).
 */
#include <pthread.h>

#include "base/lock.h"
#include "loop/loop.h"
#include "output/outputs.h"
#include "query/tail.h"
#include "store/cursor.h"

/* place.c: where an output is, as its folder keeps it. */
struct place {
	uint64_t seq; /* everything up to it is delivered */
	uint64_t delivered, skipped, missed;
	int64_t oldest_ns; /* when the first record behind it was committed; 0: there was none */
	struct buf kind;   /* whose state it is */
	struct buf state;  /* of the kind's last sync */
};

void place_fini(struct place *p);
/* 1 when there is one, 0 when not.  ERR_CORRUPT when it is damaged; *p stays empty then. */
int place_load(struct place *p, struct fs *fs, const char *dir, struct error *e);
int place_save(const struct place *p, struct fs *fs, const char *dir, struct error *e);
/* Pause outlasts restarts: a file of its own, which whoever pauses writes. */
bool place_paused(struct fs *fs, const char *dir);
int place_set_paused(struct fs *fs, const char *dir, bool paused, struct error *e);

/* Records that the match let through, copied, so that a write that takes its time holds nothing of
 * the store. */
struct chunk {
	struct output_record *records;
	size_t n, cap, at; /* those before `at` are taken */
	struct buf text;
	uint64_t end_seq; /* of what was read for it */
	uint64_t charged;
};

/* A part that retention dropped. */
struct dropped {
	uint64_t first_seq, last_seq, records;
};

enum { DROPS_MAX = 256 };

struct runner {
	/* Fixed before the thread starts. */
	struct outputs_env env; /* dir and host are the set's */
	const struct output_type *type;
	const struct output_settings *settings;
	struct output_env kind_env;
	char *name, *dir;
	struct query *query;
	struct runner *before;       /* of the same name, which may still be ending */
	bool added;                  /* by outputs_add */
	uint64_t after_seq;          /* of an added one */
	const _Atomic size_t *crowd; /* how many were added */
	void (*told)(void *arg, const struct output_note *n);
	void *told_arg;
	/* The main loop's. */
	pthread_t thread;
	struct store_watch *watch;
	void *memory; /* of the settings */
	void (*unref)(void *memory);
	bool started, kept;
	/* The thread's. */
	void *output; /* NULL: not open */
	struct query_tail *match;
	struct cursor cursor;
	struct chunk chunk;
	struct place place;
	uint64_t taken_seq; /* what the kind took, or was passed by */
	bool dirty;         /* the kind took something since its last sync */
	uint64_t unsynced;  /* records of that */
	int64_t dirty_ns;   /* when it took the first of them */
	bool moved;         /* `place` is ahead of the disk */
	bool caught_up;
	bool unsaved_told;
	int64_t sync_mono, save_mono, tick_ns;
	struct backoff backoff;
	int64_t retry_mono; /* the next try; 0: it is being tried, or all is well */
	bool failing;       /* until all is well again: what it took is synced too */
	bool proven;        /* a sync went well since it failed */
	int64_t failing_mono, told_mono;
	uint64_t mark_seq; /* committed at mark_ns */
	int64_t mark_ns;
	/* Under lock, which is held for moments alone: the committer takes it. */
	struct lock lock;
	struct cond wake, rest; /* for the thread; for those who wait for it */
	bool committed;         /* since the thread looked */
	bool paused, stopping, abandoned, done, in_kind;
	bool ask_reopen, ask_retry, ask_rewind, ask_dump;
	uint64_t rewind_seq, until_seq;
	uint64_t rewinds, dumps; /* done */
	struct dropped drops[DROPS_MAX];
	size_t n_drops;
	struct buf dump;
	/* What outputs_list shows. */
	struct output_status shown; /* seq, delivered, skipped, missed, retry_ns */
	char error[512];
	int64_t oldest_ns;
	uint64_t failures;
	/* Atomic. */
	_Atomic bool ending;
};

/* runner.c */
/* Before its thread starts, or by it where another of its name was still ending. */
void runner_load(struct runner *r);
void *runner_run(void *runner);
/* Called by the committer: something was committed. */
void runner_committed(void *runner);
void runner_dropped(struct runner *r, uint64_t first_seq, uint64_t last_seq, uint64_t records);
bool runner_ending(void *runner);
