/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The inside of retention, for retain.c (rules, deletions, what is hidden) and
 * upkeep.c (the thread that has the disk follow).
 */
#include "store/core.h"
#include "store/deletion.h"

/* A time that a wall clock that jumps ahead does not move; see retain.c. */
struct steady {
	int64_t now_ns, mono_ns; /* at the last look */
	int64_t ahead_since_ns;  /* monotonic */
	bool ahead;
};

/* A wall clock that went ahead is believed after so long. */
#define BELIEVE_NS (24 * 3600 * NS_PER_SEC)

struct retainer {
	/* Fixed after retainer_new. */
	struct store *s;
	pthread_t thread;
	bool started;
	/* Under lock, which is taken last, and never while the disk is waited for. */
	struct lock lock;
	struct cond wake, settled;
	struct steady steady;
	struct deletions deletions;
	uint64_t size_bytes;
	unsigned size_percent;
	int64_t age_ns, delete_wait_ns;
	struct hide_rule *rules; /* hides are owned */
	size_t n_rules;
	bool rules_changed, limit_changed; /* since the thread looked */
	struct visibility *shown;
	int64_t shown_mono_ns;
	bool stopping, woken;
	struct error settle_error;
	uint64_t settle_asked, settle_done;
	/* Held while DELETIONS is written; taken before lock. */
	struct lock save_lock;
	/* The thread's. */
	int64_t others_mono_ns;
	uint64_t others_bytes; /* of the data folder, beside journal and parts */
	struct error told;     /* the failure that was told last */
	/* Of the file CLOCK: when it was saved, and what of. */
	int64_t saved_mono_ns;
	bool saved_ahead;
	/* Atomic. */
	_Atomic bool cancel;
	_Atomic uint64_t own_bytes, limit_bytes;
	_Atomic bool clock_ahead; /* steady.ahead, for metrics */
};

/* upkeep.c */
void *upkeep_run(void *retainer);
/* Bytes of the files below a folder; at depth 0, the data folder, without those that are counted
 * as they change: parts and journal. */
uint64_t upkeep_count_files(struct fs *fs, const char *dir, int depth);
uint64_t upkeep_share(uint64_t bytes, unsigned percent);
/* retain_file.c: the time that does not jump, kept over restarts.  steady_load: ERR_NOT_FOUND,
 * ERR_CORRUPT; then *out is untouched. */
int steady_save(struct fs *fs, const char *dir, const struct steady *t, struct error *e);
int steady_load(
	struct fs *fs, const char *dir, int64_t mono_ns, struct steady *out, struct error *e);
/* retain.c */
int64_t retainer_now(struct retainer *rt) REQUIRES(rt->lock);
void retainer_parts(struct retainer *rt, struct visibility_parts *out, struct buf *deletions,
	bool due_alone, uint64_t *highest) REQUIRES(rt->lock);
/* Save what was changed under save_lock. */
int retainer_save(struct retainer *rt, struct error *e) REQUIRES(rt->save_lock);
