/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Positions: what of each source has been committed, so that a resend is
 * harmless.  The rules of the kinds are in record/batch.h.
 *
 * A batch is checked, then staged; a whole group is then committed when it is
 * durable, or aborted.  Later batches of a group see what earlier ones staged,
 * position_get sees what is committed alone.
 * Thread rule: one thread changes (recovery, then the committer); position_get
 * from any thread.
 */
#include "record/batch.h"
#include "store/bytes.h"

struct positions;

/* A record of a SET source whose number is there already: what was its line? */
struct position_old {
	uint64_t position;
	uint64_t hash; /* hash_stable of the newest committed line, when found */
	uint64_t seq;  /* 0: not found */
};

/* Fill what can be found among the committed records.  `old` is sorted by position. */
typedef void position_find(
	void *ctx, struct str tenant, struct str source, struct position_old *old, size_t n);

struct position_check {
	uint8_t *drop; /* bit set: a duplicate.  NULL: none is.  The caller frees it */
	uint64_t n_drop;
	bool moves;    /* does the batch change any position, its records apart? */
	uint64_t mark; /* with ERR_GAP */
};

/* Memory is charged to `account` without asking; n_hashes of lines are remembered. */
struct positions *positions_new(struct account *account, size_t n_hashes);
void positions_free(struct positions *p);

/* 0; ERR_GAP with out->mark; ERR_ARG when the source was kept as another kind. */
int positions_check(struct positions *p, const struct batch *b, position_find *find, void *ctx,
	struct position_check *out, struct error *e);
/* Take the batch's sources and records (without its duplicates) into the group. */
void positions_stage(struct positions *p, const struct batch *b);
void positions_commit(struct positions *p);
void positions_abort(struct positions *p);
/* As sink.position; the mark of a SET is its highest number. */
int positions_get(struct positions *p, struct str tenant, struct str source, struct buf *token,
	uint64_t *mark);
size_t positions_count(struct positions *p);

/* Append every committed position as entries of tag 'P'. */
void positions_encode(struct positions *p, struct chunks *out);
/* Read the entry behind its tag and merge it: applying twice is harmless. */
void positions_decode(struct positions *p, struct reader *in);
