/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns in memory: values come in as a line spells them and go out the same.
 *
 * A value is kept in the form in which it is shortest and quickest to compare:
 * digits as an integer, hexadecimal digits as bytes, other text as a view.
 * Both directions take eight digits at a time (SWAR), because every value of
 * every line passes here once on its way in, and again when it is shown.
 */
#include "store/lines/column_code.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

enum { CAP_MIN = 64 };

size_t column_bytes(uint8_t kind, uint8_t width)
{
	if (kind == SLOT_UUID || kind == SLOT_UUID_UPPER)
		return COLUMN_UUID_BYTES;
	return ((size_t)width + 1) / 2;
}

uint64_t column_limit(uint8_t kind, uint8_t width)
{
	uint64_t limit = 1;

	for (unsigned i = kind == SLOT_NUMBER ? COLUMN_NUMBER_DIGITS : width; i > 0; i--)
		limit *= 10;
	return limit;
}

void column_fini(struct column *c)
{
	free(c->number);
	free(c->digits);
	free(c->binary);
	free(c->text);
	free(c->rank);
	buf_fini(&c->bytes);
	*c = (struct column){.kind = c->kind, .width = c->width};
}

void column_clear(struct column *c)
{
	c->n = 0;
	c->n_distinct = 0;
	buf_clear(&c->bytes);
}

void column_reserve(struct column *c, uint32_t n)
{
	size_t cap = c->cap ? c->cap : CAP_MIN;

	if (n <= c->cap - c->n)
		return;
	assert(n <= UINT32_MAX / 2 - c->n);
	while (cap < (size_t)c->n + n)
		cap *= 2;
	c->cap = (uint32_t)cap;
	if (c->kind == SLOT_TEXT) {
		c->text = xrealloc(c->text, cap * sizeof(*c->text));
	} else if (column_is_integer(c->kind)) {
		c->number = xrealloc(c->number, cap * sizeof(*c->number));
		if (c->kind == SLOT_NUMBER)
			c->digits = xrealloc(c->digits, cap);
	} else {
		c->binary = xrealloc(c->binary, cap * column_bytes(c->kind, c->width));
	}
}

static uint64_t load8(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* The value of eight ASCII digits, the first in the lowest byte. */
static uint64_t parse8(uint64_t v)
{
	v = (v & 0x0f0f0f0f0f0f0f0f) * ((10 << 8) + 1) >> 8;
	v = (v & 0x00ff00ff00ff00ff) * ((100 << 16) + 1) >> 16;
	return (v & 0x0000ffff0000ffff) * ((10000ull << 32) + 1) >> 32;
}

/* The value of 1 to 8 digits at p; `before` and `after` bytes around them may be read. */
static inline uint64_t parse_short(const char *p, size_t n, size_t before, size_t after)
{
	uint64_t v = 0;

	/* The last digit belongs to the highest byte, and zeros in front. */
	if (n + before >= 8)
		return parse8(load8(p + n - 8) & UINT64_MAX << (8 * (8 - n)));
	if (n + after >= 8)
		return parse8(load8(p) << (8 * (8 - n)));
	for (size_t i = 0; i < n; i++)
		v = v * 10 + (uint64_t)(p[i] & 15);
	return v;
}

/* The value of 1 to 19 digits. */
static inline uint64_t parse(const char *p, size_t n, size_t before, size_t after)
{
	uint64_t v;

	if (n <= 8)
		return parse_short(p, n, before, after);
	v = parse8(load8(p + n - 8));
	if (n <= 16)
		return v + 100000000 * parse_short(p, n - 8, before, 8);
	return v + 100000000 * parse8(load8(p + n - 16)) +
	       10000000000000000 * parse_short(p, n - 16, before, 16);
}

/* Half a byte. */
static uint8_t parse_nibble(char c)
{
	return (uint8_t)((c & 15) + 9 * (c >> 6 & 1));
}

static void parse_hex(uint8_t *to, const char *p, size_t n)
{
	if (n % 2) {
		*to++ = parse_nibble(*p++);
		n--;
	}
	for (; n >= 8; n -= 8, p += 8, to += 4) {
		uint64_t v = load8(p);
		v = (v & 0x0f0f0f0f0f0f0f0f) + 9 * (v >> 6 & 0x0101010101010101);
		v = (v << 4 | v >> 8) & 0x00ff00ff00ff00ff;
		v = (v | v >> 8) & 0x0000ffff0000ffff;
		uint32_t bytes = (uint32_t)(v | v >> 16);
		memcpy(to, &bytes, sizeof(bytes));
	}
	for (; n > 0; n -= 2, p += 2)
		*to++ = (uint8_t)(parse_nibble(p[0]) << 4 | parse_nibble(p[1]));
}

/* Digits before each dash of a UUID. */
static const uint8_t uuid_groups[] = {8, 4, 4, 4, 12};

/* One value of SLOT_HEX* or SLOT_UUID*. */
static void parse_binary(uint8_t kind, uint8_t *to, const char *p, size_t n)
{
	if (kind != SLOT_UUID && kind != SLOT_UUID_UPPER) {
		parse_hex(to, p, n);
		return;
	}
	for (size_t g = 0; g < sizeof(uuid_groups); g++) {
		parse_hex(to, p, uuid_groups[g]);
		to += uuid_groups[g] / 2;
		p += uuid_groups[g] + 1;
	}
}

void column_add(struct column *c, const char *p, size_t n)
{
	column_reserve(c, 1);
	uint32_t i = c->n++;

	c->n_distinct = 0;
	switch (c->kind) {
	case SLOT_NUMBER: c->digits[i] = (uint8_t)n; /* fall through */
	case SLOT_LONG: c->number[i] = parse(p, n, 0, 0); break;
	case SLOT_TEXT: c->text[i] = str_make(p, n); break;
	default: parse_binary(c->kind, c->binary + i * column_bytes(c->kind, c->width), p, n);
	}
}

/* Numbers and places have 32 bits, the bytes that they take the others. */
static inline uint64_t with_bytes(uint64_t v, size_t n)
{
	return v | (uint64_t)n << 32;
}

void column_record(struct str line, const struct token *tokens, size_t n, uint64_t *out)
{
	*out++ = (uintptr_t)line.p;
	for (size_t i = 0; i < n; i++) {
		size_t at = tokens[i].at, bytes = tokens[i].n;
		uint64_t v = at;
		if (column_is_integer(tokens[i].kind))
			v = parse(line.p + at, bytes, at, line.n - at - bytes);
		out[i] = tokens[i].kind == SLOT_LONG ? v : with_bytes(v, bytes);
	}
}

/* The bytes of a value that is none of an integer. */
static inline struct str record_bytes(const uint64_t *record, uint32_t slot)
{
	uint64_t v = record[1 + slot];

	return str_make((const char *)(uintptr_t)record[0] + (uint32_t)v, v >> 32);
}

void column_add_records(
	struct column *c, const uint64_t *records, size_t step, uint32_t slot, uint32_t n)
{
	const uint64_t *v = records + 1 + slot;
	size_t bytes;

	column_reserve(c, n);
	c->n_distinct = 0;
	switch (c->kind) {
	case SLOT_NUMBER:
		for (uint32_t i = 0; i < n; i++, v += step) {
			c->number[c->n + i] = (uint32_t)*v;
			c->digits[c->n + i] = (uint8_t)(*v >> 32);
		}
		break;
	case SLOT_LONG:
		for (uint32_t i = 0; i < n; i++, v += step)
			c->number[c->n + i] = *v;
		break;
	case SLOT_TEXT:
		for (uint32_t i = 0; i < n; i++)
			c->text[c->n + i] = record_bytes(records + i * step, slot);
		break;
	default:
		bytes = column_bytes(c->kind, c->width);
		for (uint32_t i = 0; i < n; i++) {
			struct str s = record_bytes(records + i * step, slot);
			parse_binary(c->kind, c->binary + (c->n + i) * bytes, s.p, s.n);
		}
	}
	c->n += n;
}

/* Make room for n bytes of text; views into the old place follow. */
static char *reserve_text(struct column *c, size_t n)
{
	struct buf *b = &c->bytes, larger = {0};

	if (b->cap - b->n >= n && b->p)
		return b->p + b->n;
	buf_reserve(&larger, n > b->n ? b->n + n : 2 * b->n);
	if (b->n > 0)
		memcpy(larger.p, b->p, b->n);
	larger.n = b->n;
	uintptr_t from = (uintptr_t)b->p;
	for (uint32_t i = 0; b->n > 0 && i < c->n; i++) {
		uintptr_t at = (uintptr_t)c->text[i].p - from;
		if (at < b->n)
			c->text[i].p = larger.p + at;
	}
	buf_fini(b);
	*b = larger;
	return b->p + b->n;
}

static void append_text(struct column *c, const struct str *from, uint32_t n)
{
	size_t bytes = 0;

	for (uint32_t i = 0; i < n; i++)
		bytes += from[i].n;
	char *to = reserve_text(c, bytes);
	for (uint32_t i = 0; i < n; i++) {
		if (from[i].n > 0)
			memcpy(to, from[i].p, from[i].n);
		c->text[c->n + i] = str_make(to, from[i].n);
		to += from[i].n;
	}
	c->bytes.n += bytes;
}

void column_append(struct column *c, const struct column *from, uint32_t at, uint32_t n)
{
	assert(c->kind == from->kind && c->width == from->width && c != from);
	assert(at <= from->n && n <= from->n - at);
	if (n == 0)
		return;
	column_reserve(c, n);
	c->n_distinct = 0;
	if (c->kind == SLOT_TEXT) {
		append_text(c, from->text + at, n);
	} else if (column_is_integer(c->kind)) {
		memcpy(c->number + c->n, from->number + at, n * sizeof(*c->number));
		if (c->kind == SLOT_NUMBER)
			memcpy(c->digits + c->n, from->digits + at, n);
	} else {
		size_t bytes = column_bytes(c->kind, c->width);
		memcpy(c->binary + c->n * bytes, from->binary + at * bytes, n * bytes);
	}
	c->n += n;
}

/* n digits of v, filled with zeros. */
static void spell_decimal(char *to, uint64_t v, size_t n)
{
	static const char pairs[] =
		"00010203040506070809101112131415161718192021222324252627282930313233343536373839"
		"40414243444546474849505152535455565758596061626364656667686970717273747576777879"
		"8081828384858687888990919293949596979899";

	for (; n >= 2; n -= 2, v /= 100)
		memcpy(to + n - 2, pairs + v % 100 * 2, 2);
	if (n > 0)
		*to = (char)('0' + v % 10);
}

/* n digits of the bytes at p; an odd first digit is alone in its byte. */
static char *spell_hex(char *to, const uint8_t *p, size_t n, const char *digits)
{
	if (n % 2) {
		*to++ = digits[*p++ & 15];
		n--;
	}
	for (; n > 0; n -= 2, p++) {
		*to++ = digits[*p >> 4];
		*to++ = digits[*p & 15];
	}
	return to;
}

enum { UUID_DIGITS = 36 };

void column_spell(const struct column *c, uint32_t i, struct buf *out)
{
	static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
	size_t n = 0;

	if (c->kind == SLOT_TEXT) {
		buf_str(out, c->text[i]);
		return;
	}
	char *to = buf_reserve(out, TOKEN_TEXT_MAX);
	switch (c->kind) {
	case SLOT_NUMBER: spell_decimal(to, c->number[i], n = c->digits[i]); break;
	case SLOT_LONG: spell_decimal(to, c->number[i], n = c->width); break;
	case SLOT_UUID:
	case SLOT_UUID_UPPER: {
		const uint8_t *p = c->binary + (size_t)i * COLUMN_UUID_BYTES;
		for (size_t g = 0; g < sizeof(uuid_groups); g++) {
			if (g > 0)
				*to++ = '-';
			to = spell_hex(to, p, uuid_groups[g], c->kind == SLOT_UUID ? lower : upper);
			p += uuid_groups[g] / 2;
		}
		n = UUID_DIGITS;
		break;
	}
	default:
		n = c->width;
		spell_hex(to, c->binary + i * column_bytes(c->kind, c->width), n,
			c->kind == SLOT_HEX ? lower : upper);
	}
	out->n += n;
}

size_t column_spell_max(const struct column *c)
{
	switch (c->kind) {
	case SLOT_NUMBER: return COLUMN_NUMBER_DIGITS;
	case SLOT_TEXT: return TOKEN_TEXT_MAX;
	case SLOT_UUID:
	case SLOT_UUID_UPPER: return UUID_DIGITS;
	default: return c->width;
	}
}
