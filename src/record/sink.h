/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A sink: where an input puts its batches.  In `serve` it is the store's
 * committer, in `forward` the uplink to a server; an input cannot tell.
 *
 * Back-pressure is a return value: ERR_BUSY means stop reading until a batch
 * of yours is done, or 100 ms have passed.  Any thread may submit; `done` runs
 * on a thread of the sink's own and must only post to the input's loop or
 * resume its connection.
 */
#include "record/batch.h"

struct sink_result {
	int code; /* 0: durable.  ERR_GAP: see mark.  ERR_FULL, ERR_IO, ERR_BUSY, ERR_CLOSED: not
		     stored, try again later; ERR_ARG, ERR_LIMIT, ERR_DENIED: never will be */
	struct error error;
	uint64_t first_seq; /* of the records committed by this batch */
	uint64_t n_committed;
	uint64_t n_duplicates; /* records that were already committed: acknowledged all the same */
	uint64_t n_too_old; /* records older than retention keeps any: counted as rejected, and not
			       to be sent again */
	uint64_t mark;      /* with ERR_GAP: the committed mark of the source at fault */
};

typedef void sink_done(void *arg, const struct sink_result *result);

struct sink {
	/* Takes the caller's reference when it returns 0, and then calls done exactly once.
	 * ERR_BUSY, ERR_FULL, ERR_CLOSED: not taken, the reference stays with the caller. */
	int (*submit)(struct sink *s, struct batch *b, sink_done *done, void *arg, struct error *e);
	/* The committed position of a source: token appended to `token` (may be NULL), mark in
	 * *mark (may be NULL).  ERR_NOT_FOUND when the source was never seen. */
	int (*position)(struct sink *s, struct str tenant, struct str source, struct buf *token,
		uint64_t *mark);
	/* Count n records that the input refused or lost; reason is a word of the input's own
	 * or error_name.  `answered`: the sender was told (rejected), else dropped. */
	void (*account)(struct sink *s, struct str tenant, struct str input, const char *reason,
		uint64_t n, bool answered);
};

static inline int sink_submit(
	struct sink *s, struct batch *b, sink_done *done, void *arg, struct error *e)
{
	return s->submit(s, b, done, arg, e);
}
