/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"

int str_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int r = n ? memcmp(a.p, b.p, n) : 0;

	return r ? r : (a.n > b.n) - (a.n < b.n);
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool str_eq_nocase(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	return true;
}

bool str_ends(struct str s, struct str suffix)
{
	return s.n >= suffix.n && str_eq(str_sub(s, s.n - suffix.n, s.n), suffix);
}

ptrdiff_t str_find(struct str s, struct str needle)
{
	const char *at;

	if (needle.n == 0)
		return 0;
	if (needle.n > s.n)
		return -1;
	at = memmem(s.p, s.n, needle.p, needle.n);
	return at ? at - s.p : -1;
}

ptrdiff_t str_chr(struct str s, char c)
{
	const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

	return at ? at - s.p : -1;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
	while (s.n && is_space(s.p[0]))
		s = str_make(s.p + 1, s.n - 1);
	while (s.n && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

struct str str_cut(struct str *rest, char c)
{
	struct str all = *rest;
	ptrdiff_t at = str_chr(all, c);

	if (at < 0) {
		*rest = STR_NONE;
		return all;
	}
	*rest = str_make(all.p + at + 1, all.n - (size_t)at - 1);
	return str_make(all.p, (size_t)at);
}

bool str_u64(struct str s, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0 || s.n > 20)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned digit = (unsigned char)s.p[i] - '0';
		if (digit > 9 || __builtin_mul_overflow(v, 10u, &v) ||
			__builtin_add_overflow(v, digit, &v))
			return false;
	}
	*out = v;
	return true;
}

bool str_i64(struct str s, int64_t *out)
{
	bool negative = s.n && s.p[0] == '-';
	uint64_t v;

	if (s.n && (s.p[0] == '-' || s.p[0] == '+'))
		s = str_make(s.p + 1, s.n - 1);
	if (!str_u64(s, &v) || v > (uint64_t)INT64_MAX + negative)
		return false;
	*out = negative ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

bool str_double(struct str s, double *out)
{
	char text[64], *end;
	double v;

	if (s.n == 0 || s.n >= sizeof text)
		return false;
	/* strtod would also take white space, hexadecimal, "inf" and "nan". */
	for (size_t i = 0; i < s.n; i++)
		if (!memchr("0123456789+-.eE", s.p[i], 15))
			return false;
	str_copy(s, text, sizeof text);
	errno = 0;
	v = strtod(text, &end);
	if (end == text || *end || (errno == ERANGE && (v > 1 || v < -1)))
		return false;
	*out = v;
	return true;
}

char *str_copy(struct str s, char *out, size_t size)
{
	size_t n = s.n < size - 1 ? s.n : size - 1;

	if (n)
		memcpy(out, s.p, n);
	out[n] = 0;
	return out;
}

char *str_dup(struct str s)
{
	return str_copy(s, xmalloc(s.n + 1), s.n + 1);
}

size_t str_utf8_valid(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = 0;

	while (i < s.n) {
		unsigned c = p[i];
		unsigned need, min, v;
		if (c < 0x80) {
			i++;
			continue;
		}
		if (c >= 0xc2 && c <= 0xdf) {
			need = 1, min = 0x80, v = c & 0x1f;
		} else if (c >= 0xe0 && c <= 0xef) {
			need = 2, min = 0x800, v = c & 0x0f;
		} else if (c >= 0xf0 && c <= 0xf4) {
			need = 3, min = 0x10000, v = c & 0x07;
		} else {
			break;
		}
		if (s.n - i <= need)
			break;
		unsigned k = 1;
		for (; k <= need && (p[i + k] & 0xc0) == 0x80; k++)
			v = v << 6 | (p[i + k] & 0x3f);
		if (k <= need || v < min || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
			break;
		i += need + 1;
	}
	return i;
}

unsigned str_distance(struct str a, struct str b, unsigned limit)
{
	unsigned row[65];

	if (a.n > 64 || b.n > 64)
		return limit;
	for (unsigned j = 0; j <= b.n; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a.n; i++) {
		unsigned diagonal = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= b.n; j++) {
			unsigned best = diagonal + (a.p[i - 1] != b.p[j - 1]);
			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[b.n] < limit ? row[b.n] : limit;
}
