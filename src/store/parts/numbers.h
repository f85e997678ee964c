/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Numbers and bytes of the fixed columns of a block, packed as small as simple
 * means make them: all alike, planes of bytes, or runs of equal values, each
 * through zstd where that pays.  Format: doc/format/part.md.
 *
 * The reader knows how many values there are; nothing is allocated for more.
 * Thread rule: pure.
 */
#include "store/bytes.h"

/* Bytes whose number the reader knows. */
void packed_put(struct buf *out, struct str raw, int level);
/* Append exactly n bytes to `to`; what does not fit makes the reader bad. */
void packed_get(struct reader *in, size_t n, struct buf *to);

void numbers_put(struct buf *out, const uint64_t *v, size_t n, int level);
void numbers_get(struct reader *in, uint64_t *v, size_t n);
