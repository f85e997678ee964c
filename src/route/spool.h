/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A buffer on disk for one server that is away: batches in, in order, and out
 * again.  Format: doc/format/spool.md.
 *
 *   spool_append      durable when it returns 0
 *   spool_next        the oldest that was not passed by, as often as it is asked for
 *   spool_advance     it is delivered: pass it by
 *
 * The place where reading is, is kept now and then alone: after a crash some
 * batches come again, and their sources tell the server which.
 * Thread rule: one thread appends, one reads; the figures from any.
 */
#include "os/fs.h"
#include "record/batch.h"

struct spool;

/* Makes the folder when absent; reads what an earlier life left. */
int spool_open(struct spool **out, struct fs *fs, const char *dir, struct error *e);
void spool_close(struct spool *s); /* keeps the place; NULL is fine */
/* All of them or, on a failure, none that counts: they may be appended again. */
int spool_append(struct spool *s, struct batch *const *batches, size_t n, struct error *e);
/* 1: *out holds a reference.  0: nothing waits.  ERR_IO: try again later.  What is damaged is
 * passed by, told in the log and counted. */
int spool_next(struct spool *s, struct batch **out, struct error *e);
void spool_advance(struct spool *s);

uint64_t spool_bytes(struct spool *s);   /* that wait */
uint64_t spool_batches(struct spool *s); /* the same */
uint64_t spool_damaged(struct spool *s); /* bytes that could not be read */
