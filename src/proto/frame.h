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
 * never will be taken.
 * Pure: any thread.
 */
#include "record/batch.h"

enum frame_packing { FRAME_PLAIN, FRAME_LZ4, FRAME_ZSTD };

void frame_write(struct buf *out, const struct batch *b, enum frame_packing packing);
/* *out holds one reference.  ERR_CORRUPT, ERR_LIMIT. */
int frame_read(struct batch **out, struct str frame, struct error *e);
/* Bytes that a batch unpacks to, as its envelope says: what frame_read takes.  0 for no frame. */
size_t frame_length(struct str frame);
/* frame_read of heap memory, which is taken in any case: a plain batch stays where it lies. */
int frame_take(struct batch **out, struct buf *frame, struct error *e);
