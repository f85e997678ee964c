/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The committer: one thread that turns queued batches into groups, and groups
 * into durable journal records, visible batches and acknowledgements.
 * Any thread may submit.
 */
#include "record/sink.h"

struct store;
struct committer;

/* Borrows the store for its life; starts the thread. */
struct committer *committer_new(struct store *s, uint64_t next_seq, const struct error *health);
/* Commit what is queued, then stop.  Submits fail with ERR_CLOSED from the first moment. */
void committer_stop(struct committer *c);
void committer_free(struct committer *c); /* NULL is fine */

int committer_submit(
	struct committer *c, struct batch *b, sink_done *done, void *arg, struct error *e);
/* Something was counted that is to be written within a second. */
void committer_poke(struct committer *c);
/* Begin a new segment soon, so that the present one can be deleted. */
void committer_roll(struct committer *c);
int committer_healthy(struct committer *c, struct error *e);
void committer_dump(struct committer *c, struct buf *out);
