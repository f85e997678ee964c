/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoding columns, in the way that column_guess.c says is the smallest.
 *
 * An encoded column is a byte (enum column_code), for SLOT_NUMBER its digits,
 * then the body:
 *   CONSTANT  the value: varint; the bytes of a binary one; text as length, bytes
 *   TIME      column_time.c
 *   PLANES    integers: byte width; varint minimum; planes of value - minimum.
 *             binary: a plane for each byte.  text: n lengths, then the bytes
 *   DELTA     byte width; varint first value; planes of the zigzag differences of
 *             the others from the value before each
 *   RANKS     varint k; k values as in CONSTANT, most frequent first; a byte a
 *             value: the index of its rank, or 255; the escapes as in PLANES
 * A plane holds the bytes of one weight of all values, the lowest plane first for
 * integers, the first byte first for binary values.
 * Digits: byte w in 1..9: a value has its natural number of digits, at least w;
 * 0: a plane of n bytes follows, the number of digits of each.
 */
#include "store/lines/column_code.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "codec/codec.h"
#include "store/lines/distinct.h"

enum {
	DISTINCT_MAX = 4096, /* values whose frequencies are known exactly; others are escapes */
	TIME_SURE = 16,      /* a column of times of so few bytes is smaller than any other */
	RANK_COUNTS = 1024,  /* a value that came up more often is ranked as if so often */
};

unsigned column_plane_width(uint64_t max)
{
	unsigned width = 0;

	for (; max > 0; max >>= 8)
		width++;
	return width;
}

/* What all values of a column of integers tell.  Numbers have less than 32 bits, which every
 * processor compares several of at a time. */
static struct column_range range_of(const struct column *c)
{
	struct column_range r = {.min = UINT64_MAX};
	int32_t min = INT32_MAX, max = 0, large = 0;
	uint8_t least = UINT8_MAX, most = 0;

	if (c->kind == SLOT_NUMBER) {
		for (uint32_t i = 0; i < c->n; i++) {
			int32_t v = (int32_t)c->number[i];
			min = v < min ? v : min;
			max = v > max ? v : max;
			large += v > UINT8_MAX;
		}
		for (uint32_t i = 0; i < c->n; i++) {
			least = c->digits[i] < least ? c->digits[i] : least;
			most = c->digits[i] > most ? c->digits[i] : most;
		}
		r = (struct column_range){.min = (uint32_t)min,
			.max = (uint32_t)max,
			.large = (uint32_t)large,
			.digits_min = least,
			.digits_max = most};
	} else {
		for (uint32_t i = 0; i < c->n; i++) {
			r.min = c->number[i] < r.min ? c->number[i] : r.min;
			r.max = c->number[i] > r.max ? c->number[i] : r.max;
		}
	}
	r.base = column_plane_width(r.max) == column_plane_width(r.max - r.min) ? 0 : r.min;
	return r;
}

/* Writing */

/* Integers less a minimum; rows NULL: of all. */
static void put_integers(struct buf *out, const uint64_t *v, const uint32_t *rows, uint32_t n)
{
	uint64_t min = UINT64_MAX, max = 0;
	unsigned width;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t value = v[rows ? rows[i] : i];
		min = value < min ? value : min;
		max = value > max ? value : max;
	}
	if (n == 0 || column_plane_width(max) == column_plane_width(max - min))
		min = 0;
	width = column_plane_width(max - min);
	buf_char(out, (char)width);
	varint_put(out, min);
	uint8_t *to = (uint8_t *)buf_reserve(out, (size_t)n * width);
	for (unsigned w = 0; w < width; w++, to += n) {
		if (rows) {
			for (uint32_t i = 0; i < n; i++)
				to[i] = (uint8_t)((v[rows[i]] - min) >> (8 * w));
		} else {
			for (uint32_t i = 0; i < n; i++)
				to[i] = (uint8_t)((v[i] - min) >> (8 * w));
		}
	}
	out->n += (size_t)n * width;
}

static void put_value(struct buf *out, const struct column *c, uint32_t row)
{
	if (column_is_integer(c->kind)) {
		varint_put(out, c->number[row]);
		return;
	}
	struct str bytes = column_value(c, row);
	if (c->kind == SLOT_TEXT)
		buf_char(out, (char)bytes.n);
	buf_str(out, bytes);
}

/* The values of some rows, as they are; rows NULL: of all. */
static void put_rows(struct buf *out, const struct column *c, const uint32_t *rows, uint32_t n)
{
	if (column_is_integer(c->kind)) {
		put_integers(out, c->number, rows, n);
		return;
	}
	if (c->kind == SLOT_TEXT) {
		char *to = buf_reserve(out, n);
		for (uint32_t i = 0; i < n; i++)
			to[i] = (char)c->text[rows ? rows[i] : i].n;
		out->n += n;
		for (uint32_t i = 0; i < n; i++)
			buf_str(out, c->text[rows ? rows[i] : i]);
		return;
	}
	size_t bytes = column_bytes(c->kind, c->width);
	uint8_t *to = (uint8_t *)buf_reserve(out, n * bytes);
	for (size_t b = 0; b < bytes; b++, to += n)
		for (uint32_t i = 0; i < n; i++)
			to[i] = c->binary[(rows ? rows[i] : i) * bytes + b];
	out->n += n * bytes;
}

static void put_delta(struct buf *out, const struct column *c)
{
	const uint64_t *v = c->number;
	uint32_t n = c->n - 1;
	uint64_t all = 0;
	unsigned width;

	for (uint32_t i = 0; i < n; i++)
		all |= column_difference(v, i);
	width = column_plane_width(all);
	buf_char(out, (char)width);
	varint_put(out, v[0]);
	uint8_t *to = (uint8_t *)buf_reserve(out, (size_t)n * width);
	for (unsigned w = 0; w < width; w++, to += n)
		for (uint32_t i = 0; i < n; i++)
			to[i] = (uint8_t)(column_difference(v, i) >> (8 * w));
	out->n += (size_t)n * width;
}

static uint32_t rank_count(const struct distinct_value *v)
{
	return v->count < RANK_COUNTS ? v->count : RANK_COUNTS - 1;
}

/* Give the most frequent values their ranks; returns how many there are. */
static uint32_t rank(struct distinct *d)
{
	uint32_t counts[RANK_COUNTS] = {0}, least = RANK_COUNTS, kept = 0, room;

	for (uint32_t i = 0; i < d->n; i++)
		counts[rank_count(&d->values[i])]++;
	/* All values that came up more than `least` times, and of those with `least` what fits. */
	while (least > 2 && kept + counts[least - 1] <= COLUMN_RANKS_MAX)
		kept += counts[--least];
	room = least > 2 ? COLUMN_RANKS_MAX - kept : 0;
	kept = 0;
	for (uint32_t i = 0; i < d->n; i++) {
		struct distinct_value *v = &d->values[i];
		v->rank = COLUMN_RANKS_MAX;
		if (rank_count(v) >= least) {
			v->rank = (uint8_t)kept++;
		} else if (rank_count(v) == least - 1 && room > 0) {
			v->rank = (uint8_t)kept++;
			room--;
		}
	}
	return kept;
}

static void put_ranks(struct buf *out, const struct column *c)
{
	uint32_t *index = xmalloc(c->n * sizeof(*index)), n_escapes = 0;
	struct distinct d;

	distinct_init(&d, c->n < DISTINCT_MAX ? c->n : DISTINCT_MAX);
	for (uint32_t i = 0; i < c->n; i++)
		index[i] = distinct_put(&d, c, i);
	varint_put(out, rank(&d));
	for (uint32_t i = 0; i < d.n; i++)
		if (d.values[i].rank < COLUMN_RANKS_MAX)
			put_value(out, c, d.values[i].row);
	uint8_t *to = (uint8_t *)buf_reserve(out, c->n);
	for (uint32_t i = 0; i < c->n; i++) {
		to[i] = index[i] == DISTINCT_NONE ? COLUMN_RANKS_MAX : d.values[index[i]].rank;
		/* From here on the rows of the escapes. */
		index[n_escapes] = i;
		n_escapes += to[i] == COLUMN_RANKS_MAX;
	}
	out->n += c->n;
	put_rows(out, c, index, n_escapes);
	distinct_fini(&d);
	free(index);
}

/* Digits are at least so many, and exactly as many as the value needs if that is more; 0: there is
 * no such number. */
static uint8_t common_digits(const struct column *c, const struct column_range *r)
{
	uint8_t least = r->digits_min;
	uint32_t wrong = 0;

	/* No value has less digits than it needs. */
	if (least == r->digits_max)
		return least;
	for (uint32_t i = 0; i < c->n; i++) {
		uint8_t natural = column_natural(c->number[i]);
		wrong |= c->digits[i] != (natural > least ? natural : least);
	}
	return wrong ? COLUMN_DIGITS_PLANE : least;
}

static void put_head(struct buf *out, const struct column *c, const struct column_range *r,
	enum column_code code)
{
	uint8_t digits;

	buf_char(out, (char)code);
	if (c->kind != SLOT_NUMBER)
		return;
	digits = common_digits(c, r);
	buf_char(out, (char)digits);
	if (digits == COLUMN_DIGITS_PLANE)
		buf_put(out, c->digits, c->n);
}

static bool all_same(const struct column *c, const struct column_range *r)
{
	if (column_is_integer(c->kind))
		return r->min == r->max;
	for (uint32_t i = 1; i < c->n; i++)
		if (!str_eq(column_value(c, 0), column_value(c, i)))
			return false;
	return true;
}

uint8_t column_pool_width(const struct column *c)
{
	uint64_t max = 0;

	for (uint32_t i = 0; c->kind == SLOT_NUMBER && i < c->n; i++)
		max = c->number[i] > max ? c->number[i] : max;
	return c->kind == SLOT_NUMBER ? column_natural(max) : c->width;
}

/* The field of the time that the values are, if that is smaller than what else is guessed. */
static bool put_time(struct buf *out, const struct column *c, const struct column_range *r,
	struct column_times *times, bool pools)
{
	struct buf body = {0};
	bool found = column_time_encode(c, r, times, &body);

	if (found && body.n > TIME_SURE)
		found = (float)body.n * 8 < column_guess(c, r, pools).bits;
	if (found) {
		put_head(out, c, r, COLUMN_TIME);
		buf_str(out, buf_view(&body));
	}
	buf_fini(&body);
	return found;
}

/* Encode; false when a pool is better, if there are pools. */
static bool encode(const struct column *c, struct column_times *times, bool pools, struct buf *out)
{
	bool integer = column_is_integer(c->kind);
	struct column_range r = {0};
	struct column_guess g;

	assert(c->n > 0);
	if (integer)
		r = range_of(c);
	if (all_same(c, &r)) {
		put_head(out, c, &r, COLUMN_CONSTANT);
		put_value(out, c, 0);
		return true;
	}
	if (times && integer && put_time(out, c, &r, times, pools))
		return true;
	g = column_guess(c, &r, pools);
	if (g.pool)
		return false;
	put_head(out, c, &r, g.code);
	switch (g.code) {
	case COLUMN_DELTA: put_delta(out, c); break;
	case COLUMN_RANKS: put_ranks(out, c); break;
	default: put_rows(out, c, NULL, c->n);
	}
	return true;
}

size_t column_plane(const struct column *c, struct str encoded)
{
	switch (encoded.p[0]) {
	case COLUMN_PLANES: return c->kind == SLOT_TEXT ? 0 : c->n;
	case COLUMN_DELTA: return c->n - 1;
	default: return 0;
	}
}

bool column_encode(const struct column *c, struct column_times *times, struct buf *out)
{
	return encode(c, times, true, out);
}

void column_encode_values(const struct column *c, struct column_times *times, struct buf *out)
{
	(void)encode(c, times, false, out);
}
