/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Numbers and strings as the store's files hold them: little-endian, LEB128,
 * length-prefixed.  A reader goes bad at the first thing that does not fit and
 * then hands out zeros, so that a decoder checks once at its end.
 */
#include <endian.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/memory.h"
#include "codec/codec.h"

static inline void put_u32(char *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof v);
}

static inline void put_u64(char *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof v);
}

static inline uint32_t get_u32(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return le32toh(v);
}

static inline uint64_t get_u64(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return le64toh(v);
}

static inline void bytes_put_str(struct buf *out, struct str s)
{
	varint_put(out, s.n);
	buf_str(out, s);
}

enum { MAGIC_BYTES = 8, SEAL_BYTES = 4 };

/* A small file that is written as a whole: magic, content, CRC-32C of both.  `start` is where its
 * magic stands in `out`. */
static inline void bytes_seal(struct buf *out, size_t start)
{
	char crc[SEAL_BYTES];

	put_u32(crc, crc32c(0, out->p + start, out->n - start));
	buf_put(out, crc, sizeof crc);
}

/* Its content, when both ends are right. */
static inline bool bytes_unseal(
	struct str bytes, const char magic[static MAGIC_BYTES], struct str *content)
{
	if (bytes.n < MAGIC_BYTES + SEAL_BYTES || memcmp(bytes.p, magic, MAGIC_BYTES) != 0 ||
		get_u32(bytes.p + bytes.n - SEAL_BYTES) != crc32c(0, bytes.p, bytes.n - SEAL_BYTES))
		return false;
	*content = str_sub(bytes, MAGIC_BYTES, bytes.n - SEAL_BYTES);
	return true;
}

struct reader {
	struct str at; /* what is left */
	bool bad;
};

static inline uint64_t reader_varint(struct reader *r)
{
	uint64_t v = 0;
	size_t n;

	/* The common case of one byte saves a call per value. */
	if (r->at.n > 0 && (unsigned char)r->at.p[0] < 0x80) {
		v = (unsigned char)r->at.p[0];
		n = 1;
	} else {
		n = r->bad ? 0 : varint_get(r->at, &v);
	}
	if (n == 0) {
		r->bad = true;
		r->at = STR_NONE;
		return 0;
	}
	r->at.p += n;
	r->at.n -= n;
	return v;
}

/* A number that must not pass `max`. */
static inline uint64_t reader_number(struct reader *r, uint64_t max)
{
	uint64_t v = reader_varint(r);

	if (v > max) {
		r->bad = true;
		r->at = STR_NONE;
		return 0;
	}
	return v;
}

static inline int64_t reader_signed(struct reader *r)
{
	return unzigzag(reader_varint(r));
}

static inline struct str reader_bytes(struct reader *r, uint64_t n)
{
	struct str s;

	if (n == 0)
		return STR_NONE;
	if (n > r->at.n) {
		r->bad = true;
		r->at = STR_NONE;
		return STR_NONE;
	}
	s = str_make(r->at.p, (size_t)n);
	r->at.p += n;
	r->at.n -= (size_t)n;
	return s;
}

static inline struct str reader_str(struct reader *r, uint64_t max)
{
	return reader_bytes(r, reader_number(r, max));
}

/* A run of self-contained entries, cut into pieces of bounded size. */
struct chunks {
	struct buf text;
	size_t *ends; /* offset behind each finished piece */
	size_t n, cap;
};

enum { CHUNK_BYTES = 512 << 10 };

/* Close the piece; without `force` only when it has grown to CHUNK_BYTES. */
static inline void chunks_cut(struct chunks *c, bool force)
{
	size_t start = c->n > 0 ? c->ends[c->n - 1] : 0;

	if (!force && c->text.n - start < CHUNK_BYTES)
		return;
	if (c->n == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 4;
		c->ends = xrealloc(c->ends, c->cap * sizeof *c->ends);
	}
	c->ends[c->n++] = c->text.n;
}

static inline struct str chunks_get(const struct chunks *c, size_t i)
{
	size_t start = i > 0 ? c->ends[i - 1] : 0;

	return c->ends[i] == start ? STR_NONE : str_make(c->text.p + start, c->ends[i] - start);
}

static inline void chunks_fini(struct chunks *c)
{
	buf_fini(&c->text);
	free(c->ends);
	*c = (struct chunks){0};
}
