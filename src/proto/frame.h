/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The body of POST /api/v1/forward between sawlogs: one encoded batch
 * (doc/format/batch.md) in an envelope, little-endian:
 *
 *   0  4  "SLF1"
 *   4  1  packing: 0 plain, 1 lz4 block, 2 zstd frame     5  3  zero
 *   8  4  length of the batch's bytes                    12  4  CRC-32C of the batch's bytes
 *  16  …  payload
 *
 * Answers: 200 {"committed":n,"duplicates":n,"seq":n} after the commit; 409 {"mark":n,"error":…}
 * when bytes of a source are missing (go back to the mark); 429 and 503 try again; other 4xx
 * never will be taken.  With ?elsewhere=1 the sender says that what is missing before this batch
 * is committed at another server: it is not asked for; with ?router=1 that it is a router: another
 * one answers 508.
 *
 * The same over a pipe, `sawlog forward --stdio`.  First the line FRAME_GREETING; what stands
 * before it, like the greeting of a login shell, is skipped.  Then for each batch
 *
 *   0  4  length of the frame     4  4  flags: FRAME_ELSEWHERE     8  …  the frame
 *
 * and the other side answers each with a line: the status, a space, and the JSON as above (of a
 * refusal {"error":…}).  One frame is under way at a time.
 * Pure: any thread.
 */
#include "record/sink.h"

#define FRAME_GREETING "sawlog-forward 1\n"

enum {
	FRAME_PREFIX = 8,
	FRAME_ELSEWHERE = 1,
	/* What compression cannot make smaller it makes a little larger. */
	FRAME_BYTES_MAX = BATCH_BYTES_MAX + (1 << 20),
};

enum frame_packing { FRAME_PLAIN, FRAME_LZ4, FRAME_ZSTD };

void frame_write(struct buf *out, const struct batch *b, enum frame_packing packing);
/* *out holds one reference.  ERR_CORRUPT, ERR_LIMIT. */
int frame_read(struct batch **out, struct str frame, struct error *e);
/* Bytes that a batch unpacks to, as its envelope says: what frame_read takes.  0 for no frame. */
size_t frame_length(struct str frame);
/* frame_read of heap memory, which is taken in any case: a plain batch stays where it lies. */
int frame_take(struct batch **out, struct buf *frame, struct error *e);

void frame_prefix_write(char out[FRAME_PREFIX], size_t length, unsigned flags);
/* ERR_CORRUPT for unknown flags, ERR_LIMIT for a length beyond FRAME_BYTES_MAX. */
int frame_prefix_read(
	const char in[FRAME_PREFIX], size_t *length, unsigned *flags, struct error *e);
/* Append the JSON that answers a batch, without a newline; returns its status. */
int frame_answer(struct buf *out, const struct sink_result *result);
