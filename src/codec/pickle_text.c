/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The texts of pickles: UTF-8 that may hold surrogates, and Python's escapes.
 * Nearly all text of logs is ASCII, which is looked at eight bytes at a time.
 */
#include "base/hex.h"
#include "codec/pickle_node.h"
#include "codec/rune.h"

/* How many bytes s starts with that are ASCII: nearly all text of logs is. */
static inline size_t ascii(struct str s)
{
	size_t i = 0;
	uint64_t word;

	for (; i + sizeof word <= s.n; i += sizeof word) {
		memcpy(&word, s.p + i, sizeof word);
		if (word & UINT64_C(0x8080808080808080))
			break;
	}
	while (i < s.n && (uint8_t)s.p[i] < 0x80)
		i++;
	return i;
}

/* A surrogate of CPython's ("surrogatepass") takes three bytes, another fault one. */
static size_t fault(struct str s)
{
	const uint8_t *p = (const uint8_t *)s.p;

	return s.n >= 3 && p[0] == 0xed && p[1] >= 0xa0 && p[1] <= 0xbf && (p[2] & 0xc0) == 0x80
		       ? 3
		       : 1;
}

struct str pickle_utf8(struct pickle *p, struct str s)
{
	size_t valid = ascii(s);

	if (valid < s.n)
		valid += str_utf8_valid(str_sub(s, valid, s.n));
	if (valid == s.n)
		return s.p ? s : STR("");
	buf_clear(&p->scratch);
	while (s.n) {
		buf_put(&p->scratch, s.p, valid);
		s = str_sub(s, valid, s.n);
		if (s.n) {
			buf_c(&p->scratch, "\xef\xbf\xbd");
			s = str_sub(s, fault(s), s.n);
		}
		valid = str_utf8_valid(s);
	}
	return pickle_copy(p, buf_view(&p->scratch));
}

struct str pickle_last_name(struct str name)
{
	for (size_t i = name.n; i-- > 0;)
		if (name.p[i] == '.')
			return str_sub(name, i + 1, name.n);
	return name;
}

/* ---- escapes ---- */

bool pickle_hex(struct str s, size_t at, size_t n, uint32_t *out)
{
	*out = 0;
	for (size_t i = at; i < at + n; i++) {
		int digit = i < s.n ? hex_digit(s.p[i]) : -1;
		if (digit < 0)
			return false;
		*out = *out << 4 | (uint32_t)digit;
	}
	return true;
}

/* Octal and hexadecimal escapes are bytes or characters, by what they stand in. */
static void put_code(struct buf *out, uint32_t v, bool bytes)
{
	if (bytes)
		buf_char(out, (char)v);
	else
		rune_put(out, v);
}

bool pickle_unescape(struct str s, size_t *at, bool bytes, struct buf *out)
{
	static const char letters[] = "\\'\"abfnrtv", codes[] = "\\'\"\a\b\f\n\r\t\v";
	char c = s.p[*at];
	const char *letter = c ? strchr(letters, c) : NULL;
	size_t end = *at + 3, digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
	uint32_t v = 0;

	if (letter) {
		buf_char(out, codes[letter - letters]);
		++*at;
	} else if (c >= '0' && c <= '7') {
		for (; *at < end && *at < s.n && s.p[*at] >= '0' && s.p[*at] <= '7'; ++*at)
			v = v << 3 | (uint32_t)(s.p[*at] - '0');
		put_code(out, v, bytes);
	} else if (c == 'x' || (!bytes && (c == 'u' || c == 'U'))) {
		if (!pickle_hex(s, *at + 1, digits, &v) || v > 0x10ffff)
			return false;
		put_code(out, v, bytes);
		*at += digits + 1;
	} else {
		++*at;
		if (c != '\n') {
			buf_char(out, '\\');
			buf_char(out, c);
		}
	}
	return true;
}
