/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Numbers and texts of what servers that are peers send each other, from the
 * front on.  A reading goes bad at the first thing that does not fit and then
 * hands out zeros, so that it is checked once at its end.
 * Pure; one thread.
 */
#include <endian.h>

#include "codec/codec.h"

struct reading {
	struct str rest;
	bool bad;
};

static inline uint64_t take_varint(struct reading *r)
{
	uint64_t v = 0;
	size_t n = r->bad ? 0 : varint_get(r->rest, &v);

	if (n == 0)
		r->bad = true;
	r->rest = str_sub(r->rest, n, r->rest.n);
	return r->bad ? 0 : v;
}

static inline struct str take_text(struct reading *r)
{
	uint64_t n = take_varint(r);
	struct str s;

	if (n > r->rest.n)
		r->bad = true;
	if (r->bad)
		return STR_NONE;
	s = str_sub(r->rest, 0, n);
	r->rest = str_sub(r->rest, n, r->rest.n);
	return s;
}

static inline uint8_t take_byte(struct reading *r)
{
	uint8_t v;

	if (r->rest.n == 0)
		r->bad = true;
	if (r->bad)
		return 0;
	v = (uint8_t)r->rest.p[0];
	r->rest = str_sub(r->rest, 1, r->rest.n);
	return v;
}

/* 8 bytes, little endian. */
static inline uint64_t take_u64(struct reading *r)
{
	uint64_t v;

	if (r->rest.n < sizeof v)
		r->bad = true;
	if (r->bad)
		return 0;
	memcpy(&v, r->rest.p, sizeof v);
	r->rest = str_sub(r->rest, sizeof v, r->rest.n);
	return le64toh(v);
}

/* How many things follow, at most so many, each of which takes at least `least` bytes. */
static inline size_t take_count(struct reading *r, size_t most, size_t least)
{
	uint64_t n = take_varint(r);

	if (n > most || n > r->rest.n / least)
		r->bad = true;
	return r->bad ? 0 : (size_t)n;
}

static inline void put_text(struct buf *out, struct str s)
{
	varint_put(out, s.n);
	buf_str(out, s);
}
