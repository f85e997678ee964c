/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding columns (the layout is in column_encode.c).
 *
 * Bytes come from a file and are not trusted: lengths are checked before
 * anything is read, values against the limits of their kind afterwards, so that
 * a column that was decoded can always be spelled.  Memory is for n values, which
 * the caller has bounded.
 */
#include "store/lines/column_code.h"

#include <assert.h>

#include "base/memory.h"
#include "codec/codec.h"

static int corrupt(struct error *e, const char *what)
{
	return error_set(e, ERR_CORRUPT, "column: %s", what);
}

/* Cut the first n bytes off; false when there are fewer. */
static bool take(struct str *in, size_t n, const uint8_t **out)
{
	if (in->n < n)
		return false;
	*out = (const uint8_t *)in->p;
	*in = str_sub(*in, n, in->n);
	return true;
}

static bool take_varint(struct str *in, uint64_t *out)
{
	size_t used = varint_get(*in, out);

	*in = str_sub(*in, used, in->n);
	return used > 0;
}

/* Put n integers of `width` planes together, each plus `add`. */
static void join_planes(uint64_t *to, const uint8_t *p, uint32_t n, unsigned width, uint64_t add)
{
	const uint8_t *p1 = p + n, *p2 = p1 + n, *p3 = p2 + n;

	switch (width < 4 ? width : 4) {
	case 0:
		for (uint32_t i = 0; i < n; i++)
			to[i] = add;
		break;
	case 1:
		for (uint32_t i = 0; i < n; i++)
			to[i] = add + p[i];
		break;
	case 2:
		for (uint32_t i = 0; i < n; i++)
			to[i] = add + (p[i] | (uint32_t)p1[i] << 8);
		break;
	case 3:
		for (uint32_t i = 0; i < n; i++)
			to[i] = add + (p[i] | (uint32_t)p1[i] << 8 | (uint32_t)p2[i] << 16);
		break;
	default:
		for (uint32_t i = 0; i < n; i++)
			to[i] = add + (p[i] | (uint32_t)p1[i] << 8 | (uint32_t)p2[i] << 16 |
					      (uint32_t)p3[i] << 24);
		for (unsigned w = 4; w < width; w++)
			for (uint32_t i = 0; i < n; i++)
				to[i] += (uint64_t)p[(size_t)w * n + i] << (8 * w);
	}
}

/* The planes of n integers, and the varint before them. */
static bool take_integers(struct str *in, uint64_t *to, uint32_t n)
{
	const uint8_t *width, *planes;
	uint64_t min;

	if (!take(in, 1, &width) || *width > sizeof(uint64_t) || !take_varint(in, &min) ||
		!take(in, (size_t)n * *width, &planes))
		return false;
	join_planes(to, planes, n, *width, min);
	return true;
}

static bool take_delta(struct str *in, uint64_t *to, uint32_t n)
{
	const uint8_t *width, *planes;

	if (!take(in, 1, &width) || *width > sizeof(uint64_t) || !take_varint(in, to) ||
		!take(in, (size_t)(n - 1) * *width, &planes))
		return false;
	join_planes(to + 1, planes, n - 1, *width, 0);
	for (uint32_t i = 1; i < n; i++)
		to[i] = to[i - 1] + (to[i] >> 1 ^ -(to[i] & 1));
	return true;
}

static bool take_binary(struct str *in, uint8_t *to, uint32_t n, size_t bytes)
{
	const uint8_t *planes;

	if (!take(in, n * bytes, &planes))
		return false;
	for (size_t b = 0; b < bytes; b++, planes += n)
		for (uint32_t i = 0; i < n; i++)
			to[i * bytes + b] = planes[i];
	return true;
}

/* Texts are copied: what they were in does not last.  The buffer has room for all of `in`. */
static bool take_text(struct str *in, struct buf *copy, struct str *to, uint32_t n)
{
	const uint8_t *lengths, *bytes;
	size_t total = 0;

	if (!take(in, n, &lengths))
		return false;
	for (uint32_t i = 0; i < n; i++)
		total += lengths[i];
	if (!take(in, total, &bytes))
		return false;
	char *p = copy->p + copy->n;
	if (total > 0)
		memcpy(p, bytes, total);
	copy->n += total;
	for (uint32_t i = 0; i < n; i++) {
		to[i] = str_make(p, lengths[i]);
		p += lengths[i];
	}
	return true;
}

/* n values as they are, to the places at .. at + n of the column. */
static bool take_values(struct column *c, struct str *in, uint32_t at, uint32_t n)
{
	size_t bytes = column_bytes(c->kind, c->width);

	if (c->kind == SLOT_TEXT)
		return take_text(in, &c->bytes, c->text + at, n);
	if (column_is_integer(c->kind))
		return take_integers(in, c->number + at, n);
	return take_binary(in, c->binary + at * bytes, n, bytes);
}

/* One value as CONSTANT and RANKS write it. */
static bool take_value(struct column *c, struct str *in, uint32_t at)
{
	size_t bytes = column_bytes(c->kind, c->width);
	const uint8_t *p;

	if (c->kind == SLOT_TEXT)
		return take_text(in, &c->bytes, c->text + at, 1);
	if (column_is_integer(c->kind))
		return take_varint(in, c->number + at);
	if (!take(in, bytes, &p))
		return false;
	memcpy(c->binary + at * bytes, p, bytes);
	return true;
}

/* The value of place `from` to places at .. at + n. */
static void repeat(struct column *c, uint32_t from, uint32_t at, uint32_t n)
{
	size_t bytes = column_bytes(c->kind, c->width);

	if (c->kind == SLOT_TEXT) {
		for (uint32_t i = 0; i < n; i++)
			c->text[at + i] = c->text[from];
	} else if (column_is_integer(c->kind)) {
		for (uint32_t i = 0; i < n; i++)
			c->number[at + i] = c->number[from];
	} else {
		for (uint32_t i = 0; i < n; i++)
			memmove(c->binary + (at + i) * bytes, c->binary + from * bytes, bytes);
	}
}

static bool take_constant(struct column *c, struct str *in, uint32_t n)
{
	if (!take_value(c, in, 0))
		return false;
	repeat(c, 0, 1, n - 1);
	c->n_distinct = 1;
	c->first[0] = 0;
	return true;
}

/* Place the values of ranks and the escapes where they belong; both were put behind the column. */
static void place(struct column *c, const uint8_t *ranks, uint32_t n, uint32_t k)
{
	size_t bytes = column_bytes(c->kind, c->width);
	uint32_t escape = n + k;

	if (column_is_integer(c->kind)) {
		uint64_t value[256];
		memcpy(value, c->number + n, k * sizeof(*value));
		for (uint32_t i = 0; i < n; i++)
			c->number[i] = ranks[i] == COLUMN_RANKS_MAX ? c->number[escape++]
								    : value[ranks[i]];
	} else if (c->kind == SLOT_TEXT) {
		for (uint32_t i = 0; i < n; i++)
			c->text[i] =
				c->text[ranks[i] == COLUMN_RANKS_MAX ? escape++ : n + ranks[i]];
	} else {
		for (uint32_t i = 0; i < n; i++) {
			uint32_t from = ranks[i] == COLUMN_RANKS_MAX ? escape++ : n + ranks[i];
			memcpy(c->binary + i * bytes, c->binary + from * bytes, bytes);
		}
	}
}

/* Keep the ranks for column_keep; only where they say all. */
static void keep_ranks(struct column *c, const uint8_t *ranks, uint32_t n, uint32_t k)
{
	bool seen[256] = {false};

	c->rank = xrealloc(c->rank, n);
	memcpy(c->rank, ranks, n);
	for (uint32_t i = 0; i < n; i++) {
		if (!seen[ranks[i]])
			c->first[ranks[i]] = i;
		seen[ranks[i]] = true;
	}
	for (uint32_t i = 0; i < k; i++)
		if (!seen[i])
			c->first[i] = 0; /* of no row: any will do */
	c->n_distinct = k;
}

static bool take_ranks(struct column *c, struct str *in, uint32_t n)
{
	const uint8_t *ranks;
	uint32_t escapes = 0, high = 0;
	uint64_t k;

	if (!take_varint(in, &k) || k > COLUMN_RANKS_MAX)
		return false;
	/* The values go behind the places of the rows first. */
	column_reserve(c, n + (uint32_t)k);
	for (uint32_t i = 0; i < k; i++)
		if (!take_value(c, in, n + i))
			return false;
	if (!take(in, n, &ranks))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		escapes += ranks[i] == COLUMN_RANKS_MAX;
		high |= ranks[i] >= k && ranks[i] != COLUMN_RANKS_MAX;
	}
	if (high)
		return false;
	column_reserve(c, n + (uint32_t)k + escapes);
	if (!take_values(c, in, n + (uint32_t)k, escapes))
		return false;
	place(c, ranks, n, (uint32_t)k);
	if (escapes == 0 && k > 1)
		keep_ranks(c, ranks, n, (uint32_t)k);
	return true;
}

/* Whether all values can be spelled: integers below their limit, the digit that is alone in its
 * byte a digit. */
static bool valid(const struct column *c, uint32_t n)
{
	size_t bytes = column_bytes(c->kind, c->width);
	uint64_t limit, wrong = 0;

	if (column_is_integer(c->kind)) {
		limit = column_limit(c->kind, c->width);
		for (uint32_t i = 0; i < n; i++)
			wrong |= c->number[i] >= limit;
	} else if ((c->kind == SLOT_HEX || c->kind == SLOT_HEX_UPPER) && c->width % 2) {
		for (uint32_t i = 0; i < n; i++)
			wrong |= c->binary[i * bytes] & 0xf0;
	}
	return !wrong;
}

/* Digits of the values, which are known to be below their limit; `plane` NULL: at least so many. */
static bool set_digits(struct column *c, uint32_t n, uint8_t least, const uint8_t *plane)
{
	uint32_t wrong = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint8_t natural = column_natural(c->number[i]);
		c->digits[i] = natural > least ? natural : least;
	}
	for (uint32_t i = 0; plane && i < n; i++) {
		wrong |= plane[i] < c->digits[i] || plane[i] > COLUMN_NUMBER_DIGITS;
		c->digits[i] = plane[i];
	}
	return !wrong;
}

static int decode_body(struct column *c, enum column_code code, struct str in,
	struct column_times *times, uint32_t n, struct error *e)
{
	bool integer = column_is_integer(c->kind), good = false;

	switch (code) {
	case COLUMN_CONSTANT: good = take_constant(c, &in, n); break;
	case COLUMN_PLANES: good = take_values(c, &in, 0, n); break;
	case COLUMN_RANKS: good = take_ranks(c, &in, n); break;
	case COLUMN_DELTA: good = integer && take_delta(&in, c->number, n); break;
	case COLUMN_TIME:
		if (!integer || !times)
			break;
		return column_time_decode(c, in, times, n, e);
	default: break;
	}
	if (!good || in.n > 0)
		return corrupt(e, "its bytes do not fit its encoding or its rows");
	return 0;
}

/* The digits of n numbers, cut off the front: `least` digits each, or *plane says. */
static bool take_digits(struct str *in, uint32_t n, uint8_t *least, const uint8_t **plane)
{
	const uint8_t *mode;

	if (!take(in, 1, &mode) || *mode > COLUMN_NUMBER_DIGITS)
		return false;
	*least = *mode > 0 ? *mode : 1;
	return *mode != COLUMN_DIGITS_PLANE || take(in, n, plane);
}

bool column_needs_times(struct str bytes)
{
	return bytes.n > 0 && bytes.p[0] == COLUMN_TIME;
}

int column_decode(
	struct column *c, struct str bytes, struct column_times *times, uint32_t n, struct error *e)
{
	const uint8_t *code, *plane = NULL;
	uint8_t least = 1;
	int r;

	assert(n > 0);
	column_clear(c);
	column_reserve(c, n);
	if (c->kind == SLOT_TEXT)
		buf_reserve(&c->bytes, bytes.n);
	if (!take(&bytes, 1, &code))
		return corrupt(e, "it is empty");
	if (c->kind == SLOT_NUMBER && !take_digits(&bytes, n, &least, &plane))
		return corrupt(e, "bad digits");
	if ((r = decode_body(c, *code, bytes, times, n, e)) < 0)
		return r;
	if (!valid(c, n) || (c->kind == SLOT_NUMBER && !set_digits(c, n, least, plane)))
		return corrupt(e, "a value is too large for its digits");
	if (plane)
		c->n_distinct = 0; /* equal numbers may be spelled in several ways */
	c->n = n;
	return 0;
}
