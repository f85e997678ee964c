/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Classes and cases beyond ASCII are those of the C library's C.UTF-8, which it
 * carries inside; the locale of the process is not touched.  Where there is none
 * (an old library), ASCII alone has cases.
 */
#include "codec/rune.h"

#include <locale.h>
#include <pthread.h>
#include <wchar.h>
#include <wctype.h>

static locale_t utf8_locale;
static pthread_once_t utf8_once = PTHREAD_ONCE_INIT;

static void open_locale(void)
{
	utf8_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

static locale_t utf8(void)
{
	pthread_once(&utf8_once, open_locale);
	return utf8_locale;
}

uint32_t rune_first(struct str s, size_t *n)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t length;
	uint32_t c;

	*n = 1;
	if (p[0] < 0x80)
		return p[0];
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return RUNE_ERROR;
	length = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (s.n < length || str_utf8_valid(str_make(s.p, length)) != length)
		return RUNE_ERROR;
	c = p[0] & (0xffu >> (length + 1));
	for (size_t i = 1; i < length; i++)
		c = c << 6 | (p[i] & 0x3f);
	*n = length;
	return c;
}

uint32_t rune_last(struct str s, size_t *n)
{
	/* The last byte alone is a rune only when no longer one ends with it. */
	for (size_t length = s.n < RUNE_BYTES_MAX ? s.n : RUNE_BYTES_MAX; length > 0; length--) {
		struct str tail = str_sub(s, s.n - length, s.n);
		uint32_t c = rune_first(tail, n);

		if (*n == length)
			return c;
	}
	*n = 1;
	return RUNE_ERROR;
}

size_t rune_encode(char to[RUNE_BYTES_MAX], uint32_t c)
{
	size_t n = 0;

	if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		c = RUNE_ERROR;
	if (c < 0x80) {
		to[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		to[n++] = (char)(0xc0 | c >> 6);
	} else {
		if (c < 0x10000) {
			to[n++] = (char)(0xe0 | c >> 12);
		} else {
			to[n++] = (char)(0xf0 | c >> 18);
			to[n++] = (char)(0x80 | (c >> 12 & 0x3f));
		}
		to[n++] = (char)(0x80 | (c >> 6 & 0x3f));
	}
	to[n++] = (char)(0x80 | (c & 0x3f));
	return n;
}

void rune_put(struct buf *out, uint32_t c)
{
	char bytes[RUNE_BYTES_MAX];

	buf_put(out, bytes, rune_encode(bytes, c));
}

size_t rune_count(struct str s)
{
	size_t count = 0, n;

	for (; s.n; s = str_sub(s, n, s.n), count++)
		rune_first(s, &n);
	return count;
}

struct str rune_prefix(struct str s, size_t n)
{
	struct str rest = s;
	size_t length;

	for (; rest.n && n > 0; n--) {
		rune_first(rest, &length);
		rest = str_sub(rest, length, rest.n);
	}
	return str_sub(s, 0, s.n - rest.n);
}

struct str rune_fit(struct str s, size_t most)
{
	size_t at = most;

	if (s.n <= most)
		return s;
	while (at > 0 && most - at < RUNE_BYTES_MAX - 1 && ((unsigned char)s.p[at] & 0xc0) == 0x80)
		at--;
	/* Bytes that only look like the rest of a character are runes of their own. */
	if (((unsigned char)s.p[at] & 0xc0) == 0x80)
		at = most;
	return str_sub(s, 0, at);
}

bool rune_is_space(uint32_t c)
{
	return (c >= '\t' && c <= '\r') || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
	       c == 0x205f || c == 0x3000;
}

bool rune_is_letter(uint32_t c)
{
	if (c < 0x80)
		return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
	return utf8() && iswalpha_l((wint_t)c, utf8());
}

/* The C library counts digits of other scripts among the letters, which is fine where it is asked:
 * both make up words. */
bool rune_is_digit(uint32_t c)
{
	return c >= '0' && c <= '9';
}

bool rune_is_print(uint32_t c)
{
	if (c < 0x80)
		return c >= 0x20 && c < 0x7f;
	if (rune_is_space(c) || c == 0xad || (c >= 0x200b && c <= 0x200f) ||
		(c >= 0x202a && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
		(c >= 0xd800 && c < 0xf900))
		return false;
	return utf8() ? iswprint_l((wint_t)c, utf8()) != 0 : c >= 0xa1;
}

uint32_t rune_upper(uint32_t c)
{
	if (c < 0x80)
		return c >= 'a' && c <= 'z' ? c - 0x20 : c;
	return utf8() ? (uint32_t)towupper_l((wint_t)c, utf8()) : c;
}

uint32_t rune_lower(uint32_t c)
{
	if (c < 0x80)
		return c >= 'A' && c <= 'Z' ? c + 0x20 : c;
	return utf8() ? (uint32_t)towlower_l((wint_t)c, utf8()) : c;
}
