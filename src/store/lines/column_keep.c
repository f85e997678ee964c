/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which values of a column match a part of a filter's text.
 *
 * Nothing is spelled where arithmetic says the same: a number contains the digits
 * of another when that is what remains of it once digits were taken off its end
 * and by a power of ten.  Where the decoder knows the distinct values (a constant,
 * ranks), only those are tested, and rows by their rank.  Of hexadecimal values
 * most often none matches: that is seen by looking for the bytes that the text
 * would have, in both alignments, in all values as one run.
 */
#include "store/lines/column_code.h"

#include <string.h>

#include "base/hex.h"

enum {
	SCAN_SHARE = 8, /* a look at the whole column pays for a pick of one value in so many */
	LONG_DIGITS = 19,
};

static bool spelling_matches(struct str spelled, enum column_test test, struct str text)
{
	switch (test) {
	case COLUMN_EQUALS: return str_eq(spelled, text);
	case COLUMN_BEGINS: return str_starts(spelled, text);
	case COLUMN_ENDS: return str_ends(spelled, text);
	default: return str_find(spelled, text) >= 0;
	}
}

/* The general way: spell each. */
static uint32_t keep_spelled(
	const struct column *c, enum column_test test, struct str text, uint32_t *pick, uint32_t n)
{
	struct buf spelled = {0};
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		buf_clear(&spelled);
		column_spell(c, pick[i], &spelled);
		pick[kept] = pick[i];
		kept += spelling_matches(buf_view(&spelled), test, text);
	}
	buf_fini(&spelled);
	return kept;
}

static uint32_t keep_text(
	const struct column *c, enum column_test test, struct str text, uint32_t *pick, uint32_t n)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct str value = c->text[pick[i]];
		pick[kept] = pick[i];
		kept += value.n >= text.n && spelling_matches(value, test, text);
	}
	return kept;
}

/* A part of a number: its digits, and what they are. */
struct digits {
	uint64_t value, power; /* 10 to the n */
	uint32_t n;
};

static bool parse_digits(struct str text, struct digits *d)
{
	*d = (struct digits){.power = 1, .n = (uint32_t)text.n};
	if (text.n == 0 || text.n > LONG_DIGITS)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		d->value = d->value * 10 + (uint64_t)(text.p[i] - '0');
		d->power *= 10;
	}
	return true;
}

/* Numbers below 2^32: remainders by multiplication (Lemire, Kaser and Kurz, "Faster remainder by
 * direct computation", 2019). */
static bool small_contains(uint32_t v, uint32_t n, const struct digits *d, uint64_t inverse)
{
	const uint32_t power = (uint32_t)d->power, value = (uint32_t)d->value;

	for (; n >= d->n && v >= value; n--, v /= 10)
		if ((uint32_t)(((unsigned __int128)(inverse * v) * power) >> 64) == value)
			return true;
	return false;
}

static bool contains(uint64_t v, uint32_t n, const struct digits *d)
{
	for (; n >= d->n && v >= d->value; n--, v /= 10)
		if (v % d->power == d->value)
			return true;
	return false;
}

static bool number_matches(uint64_t v, uint32_t n, enum column_test test, const struct digits *d)
{
	if (n < d->n || v < d->value)
		return false;
	switch (test) {
	case COLUMN_EQUALS: return n == d->n && v == d->value;
	case COLUMN_ENDS: return v % d->power == d->value;
	case COLUMN_BEGINS:
		for (; n > d->n; n--)
			v /= 10;
		return v == d->value;
	default: return contains(v, n, d);
	}
}

static uint32_t keep_numbers(
	const struct column *c, enum column_test test, struct str text, uint32_t *pick, uint32_t n)
{
	bool fixed = c->kind == SLOT_LONG;
	uint32_t kept = 0;
	uint64_t inverse;
	struct digits d;

	if (!parse_digits(text, &d) || text.n > (fixed ? c->width : COLUMN_NUMBER_DIGITS))
		return 0;
	inverse = UINT64_MAX / d.power + 1;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = pick[i];
		uint64_t v = c->number[at];
		pick[kept] = at;
		/* Most are too small, and that is cheap to see. */
		if (v < d.value)
			continue;
		if (fixed)
			kept += number_matches(v, c->width, test, &d);
		else if (test == COLUMN_CONTAINS)
			kept += small_contains((uint32_t)v, c->digits[at], &d, inverse);
		else
			kept += number_matches(v, c->digits[at], test, &d);
	}
	return kept;
}

/* Could any value of the column contain the text?  The bytes that it would have when its first
 * digit is the first of a byte, and when it is the second, are looked for. */
static bool may_contain(const struct column *c, struct str text)
{
	uint8_t nibbles[256], bytes[128];
	size_t n = 0, all = c->n * column_bytes(c->kind, c->width);

	for (size_t i = 0; i < text.n && n < sizeof(nibbles); i++) {
		int v = hex_digit(text.p[i]);
		if (v >= 0)
			nibbles[n++] = (uint8_t)v;
	}
	for (size_t from = 0; from < 2; from++) {
		size_t n_bytes = 0;
		for (size_t i = from; i + 1 < n; i += 2)
			bytes[n_bytes++] = (uint8_t)(nibbles[i] << 4 | nibbles[i + 1]);
		if (n_bytes == 0 || memmem(c->binary, all, bytes, n_bytes))
			return true;
	}
	return false;
}

static uint32_t keep_each(
	const struct column *c, enum column_test test, struct str text, uint32_t *pick, uint32_t n)
{
	if (c->kind == SLOT_TEXT)
		return keep_text(c, test, text, pick, n);
	if (column_is_integer(c->kind))
		return keep_numbers(c, test, text, pick, n);
	if (n > c->n / SCAN_SHARE && !may_contain(c, text))
		return 0;
	return keep_spelled(c, test, text, pick, n);
}

uint32_t column_keep(
	const struct column *c, enum column_test test, struct str text, uint32_t *pick, uint32_t n)
{
	bool passes[256] = {false};
	uint32_t kept = 0, any = 0;

	if (text.n == 0 && test != COLUMN_EQUALS)
		return n;
	if (c->n_distinct == 0 || n <= c->n_distinct)
		return keep_each(c, test, text, pick, n);
	for (uint32_t k = 0; k < c->n_distinct; k++) {
		uint32_t row = c->first[k];
		passes[k] = keep_each(c, test, text, &row, 1) > 0;
		any += passes[k];
	}
	if (any == 0 || any == c->n_distinct)
		return any ? n : 0;
	for (uint32_t i = 0; i < n; i++) {
		pick[kept] = pick[i];
		kept += passes[c->rank[pick[i]]];
	}
	return kept;
}
