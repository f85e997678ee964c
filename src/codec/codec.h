/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Compression and checksums, over the packaged libraries.
 * Every decoder takes the largest output it may produce: a peer's claim never
 * sizes an allocation by itself.  Any thread.
 */
#include "base/buf.h"

/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), chained: crc32c(crc32c(0, a), b) is that of ab. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

/* Append the zstd frame of `in` (RFC 8878). */
void zstd_pack(struct buf *out, struct str in, int level);
/* The same of binary columns, where short matches often cost more than they save.  `plane`: behind
 * some bytes in front, `in` is made of pieces of so many bytes, each of its own kind; a block of
 * the frame ends where a piece does.  0: that is not known.  Tried with short matches and without,
 * and the smaller one is appended; but at levels up to 3 known planes are packed once, without. */
void zstd_pack_columns(struct buf *out, struct str in, size_t plane, int level);
/* Append the content of one frame: ERR_LIMIT beyond `limit` bytes, ERR_CORRUPT. */
int zstd_unpack(struct buf *out, struct str in, size_t limit, struct error *e);
/* An LZ4 block (no frame); the reader must know the length. */
void lz4_pack(struct buf *out, struct str in);
int lz4_unpack(struct buf *out, struct str in, size_t exact, struct error *e);
/* gzip members or a zlib stream (RFC 1950-1952). */
int gzip_unpack(struct buf *out, struct str in, size_t limit, struct error *e);
void gzip_pack(struct buf *out, struct str in, int level);
/* The length that a snappy block (no frame) claims for its content: ERR_CORRUPT when there is none,
 * or more than so many bytes can hold.  Nothing is checked but that. */
int snappy_length(struct str in, size_t *out, struct error *e);
/* Append the content of a block: ERR_LIMIT beyond `limit` bytes, ERR_CORRUPT. */
int snappy_unpack(struct buf *out, struct str in, size_t limit, struct error *e);

/* Append s in base64 (RFC 4648, section 4, padded). */
void base64_put(struct buf *out, struct str s);
/* Append what it stands for; false, and nothing is appended, when it is none. */
bool base64_get(struct buf *out, struct str s);

/* LEB128 of an unsigned number; get returns bytes used, 0 when cut or longer than 10. */
void varint_put(struct buf *out, uint64_t v);
size_t varint_get(struct str in, uint64_t *out);

static inline uint64_t zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static inline int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}
