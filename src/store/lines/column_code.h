/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What column_*.c and pool.c share: the numbers that lie on the disk, and the arithmetic of both
 * directions.  Nobody else includes this. Format: doc/format/column.md.
 */
#include "codec/codec.h"
#include "store/lines/column.h"

/* First byte of an encoded column; never renumbered. */
enum column_code {
	COLUMN_CONSTANT = 1,
	COLUMN_TIME = 2,   /* a field of the record's time; integers only */
	COLUMN_PLANES = 3, /* bytes of one weight side by side */
	COLUMN_DELTA = 4,  /* planes of the differences; integers only */
	COLUMN_RANKS = 5,  /* a byte a value: which of the most frequent */
};

enum {
	COLUMN_RANKS_MAX = 255, /* ranks; this one is followed by the value among the escapes */
	COLUMN_DIGITS_PLANE = 0,
	COLUMN_NUMBER_DIGITS = 9,
	COLUMN_NUMBER_LIMIT = 1000000000, /* values of SLOT_NUMBER are below */
	COLUMN_UUID_BYTES = 16,
	COLUMN_BINARY_BYTES = 64, /* at most, of one binary value */
};

static inline bool column_is_integer(uint8_t kind)
{
	return kind == SLOT_NUMBER || kind == SLOT_LONG;
}

/* Values of an integer column are below this. */
uint64_t column_limit(uint8_t kind, uint8_t width);
/* Make room for n values more. */
void column_reserve(struct column *c, uint32_t n);
/* Digits that a number of SLOT_NUMBER takes without leading zeros.  In 32 bits, which every
 * processor compares several of at a time. */
static inline uint8_t column_natural(uint64_t number)
{
	int32_t v = (int32_t)number;

	return (uint8_t)(1 + (v >= 10) + (v >= 100) + (v >= 1000) + (v >= 10000) + (v >= 100000) +
			 (v >= 1000000) + (v >= 10000000) + (v >= 100000000));
}

/* The bytes of a value that is none of an integer. */
static inline struct str column_value(const struct column *c, uint32_t i)
{
	size_t bytes;

	if (c->kind == SLOT_TEXT)
		return c->text[i];
	bytes = column_bytes(c->kind, c->width);
	return str_make(c->binary + i * bytes, bytes);
}

/* How far value i + 1 is from value i. */
static inline uint64_t column_difference(const uint64_t *number, uint32_t i)
{
	return zigzag((int64_t)(number[i + 1] - number[i]));
}

/* What all values of a column of integers tell. */
struct column_range {
	uint64_t min, max;
	uint64_t base;                  /* that planes are of the values less this: min or 0 */
	uint32_t large;                 /* numbers of more than a byte */
	uint8_t digits_min, digits_max; /* of numbers */
};

/* How to write a column that is neither constant nor a time (column_guess.c). */
struct column_guess {
	enum column_code code;
	float bits; /* that it takes so */
	bool pool;  /* but it is better kept in a pool, if there are pools */
};
struct column_guess column_guess(const struct column *c, const struct column_range *r, bool pools);

/* As column_encode, but never false: for the new values of a pool. */
void column_encode_values(const struct column *c, struct column_times *times, struct buf *out);
/* Bytes that an integer takes. */
unsigned column_plane_width(uint64_t max);

/* Fields of a time (column_time.c). */

/* Append body of COLUMN_TIME and return true when the values are a field of the rows' times but
 * for a few exceptions. */
bool column_time_encode(const struct column *c, const struct column_range *r,
	struct column_times *t, struct buf *out);
int column_time_decode(
	struct column *c, struct str body, struct column_times *t, uint32_t n, struct error *e);
