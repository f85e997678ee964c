/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Fakes of the disk and the clock, for tests.
 *
 * The fake disk lives in memory and keeps two pictures: what a reader sees
 * now, and what is durable.  A file's bytes become durable by file_sync, a
 * directory's entries by fs_sync_dir; fake_crash throws the rest away (or, by
 * seed, keeps some of the unsynced writes, torn at 512-byte sectors, and some
 * unsynced directory entries, as a real disk may).  Same seed, same story.
 * No "..", no links, files of at most 4 GiB.  Close all files before fs_fake_free.
 * Thread rule: like a real fs; the fault settings from one thread.
 */
#include "os/clock.h"
#include "os/fs.h"

struct fs *fs_fake_new(uint64_t seed);
void fs_fake_free(struct fs *fs);

enum fake_op {
	FAKE_OPEN,
	FAKE_READ,
	FAKE_WRITE,
	FAKE_SYNC,
	FAKE_ALLOCATE,
	FAKE_TRUNCATE,
	FAKE_RENAME,
	FAKE_UNLINK,
	FAKE_MKDIR,
	FAKE_SYNC_DIR,
	FAKE_LIST,
	FAKE_OPS
};

/* The nth call of `op` from now (1 = the next) fails with errno `number` and has no effect;
 * with `for_good` each later one too.  n = 0 switches it off.  FAKE_OPEN is also fs_lock.
 * After a failed sync the unsynced changes are partly durable, partly never will be, though
 * readers still see them and the next sync returns 0: what Linux does. */
void fake_fail(struct fs *fs, enum fake_op op, uint64_t n, int number, bool for_good);
/* Bytes that may still be written before ENOSPC; UINT64_MAX is no limit.  A write takes what
 * it adds behind the highest byte written or allocated, and writes what fits before it fails;
 * file_truncate and the end of the last name and handle give back. */
void fake_set_space(struct fs *fs, uint64_t bytes);
/* The nth changing call (write, sync, allocate, truncate, rename, unlink, sync_dir) from now
 * is the last to take effect; a write does half-way and returns EIO.  All calls after it fail
 * with EIO, until fake_crash.  0 switches it off. */
void fake_crash_at(struct fs *fs, uint64_t n);
/* Changing calls so far. */
uint64_t fake_changes(const struct fs *fs);
/* Lose power: open handles go stale, what was not synced is gone, or partly there when
 * `keep_some`.  The disk works again after: the faults are off, the space limit is not. */
void fake_crash(struct fs *fs, bool keep_some);
/* A build that lies: file_sync returns 0 and makes nothing durable.  The positive control
 * of the crash tests. */
void fake_sync_lies(struct fs *fs, bool lies);
/* Flip one bit of the durable and the visible bytes. */
void fake_flip(struct fs *fs, const char *path, uint64_t bit);

/* A clock that moves only when told to. */
struct clock *clock_fake_new(int64_t now_ns);
void clock_fake_free(struct clock *c);
void clock_fake_advance(struct clock *c, int64_t ns); /* both times */
void clock_fake_set(struct clock *c, int64_t now_ns); /* wall time alone jumps */
