/* SPDX-License-Identifier: Apache-2.0 */
/* Source: The Go Programming Language Specification, "Rune literals" and "String literals". */
#include "query/quote.h"

#include "base/hex.h"
#include "codec/rune.h"

static const char simple_names[] = "abfnrtv\\\"";
static const char simple_bytes[] = "\a\b\f\n\r\t\v\\\"";

/* C1 controls, the soft hyphen, separators and the byte order mark would be invisible. */
static bool printable(struct str c)
{
	if (c.n == 1)
		return c.p[0] >= 0x20 && c.p[0] < 0x7f;
	if (c.n == 2 && c.p[0] == '\xc2')
		return (unsigned char)c.p[1] > 0xa0 && c.p[1] != '\xad';
	if (c.n == 3 && memcmp(c.p, "\xe2\x80", 2) == 0)
		return (unsigned char)c.p[2] >= 0x90 && (unsigned char)c.p[2] < 0xa8;
	return !(c.n == 3 && memcmp(c.p, "\xef\xbb\xbf", 3) == 0);
}

static void quote_char(struct buf *out, struct str c)
{
	const char *at = c.n == 1 && c.p[0] ? strchr(simple_bytes, c.p[0]) : NULL;

	if (at) {
		buf_char(out, '\\');
		buf_char(out, simple_names[at - simple_bytes]);
	} else if (printable(c)) {
		buf_str(out, c);
	} else {
		for (size_t i = 0; i < c.n; i++)
			buf_printf(out, "\\x%02x", (unsigned char)c.p[i]);
	}
}

void quote_go(struct buf *out, struct str s)
{
	buf_char(out, '"');
	while (s.n) {
		size_t n;
		rune_first(s, &n);
		quote_char(out, str_make(s.p, n));
		s = str_sub(s, n, s.n);
	}
	buf_char(out, '"');
}

/* The number of exactly n digits at the start of *s, which moves behind them. */
static bool read_digits(struct str *s, size_t n, int base, uint32_t *out)
{
	uint32_t v = 0;

	if (s->n < n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int d = hex_digit(s->p[i]);
		if (d < 0 || d >= base)
			return false;
		v = v * (uint32_t)base + (uint32_t)d;
	}
	*s = str_sub(*s, n, s->n);
	*out = v;
	return true;
}

static bool put_rune(struct buf *out, uint32_t c)
{
	if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return false;
	rune_put(out, c);
	return true;
}

/* *s stands behind the backslash. */
static bool read_escape(struct buf *out, struct str *s)
{
	const char *at;
	char c;
	uint32_t v;

	if (s->n == 0)
		return false;
	c = s->p[0];
	if (c >= '0' && c <= '7') {
		if (!read_digits(s, 3, 8, &v) || v > 255)
			return false;
		buf_char(out, (char)v);
		return true;
	}
	*s = str_sub(*s, 1, s->n);
	if (c && (at = strchr(simple_names, c))) {
		buf_char(out, simple_bytes[at - simple_names]);
		return true;
	}
	if (c == 'x') {
		if (!read_digits(s, 2, 16, &v))
			return false;
		buf_char(out, (char)v);
		return true;
	}
	return (c == 'u' || c == 'U') && read_digits(s, c == 'u' ? 4 : 8, 16, &v) &&
	       put_rune(out, v);
}

bool quote_go_read(struct buf *out, struct str inside)
{
	while (inside.n) {
		ptrdiff_t plain = str_chr(inside, '\\');
		size_t n = plain < 0 ? inside.n : (size_t)plain;
		buf_put(out, inside.p, n);
		inside = str_sub(inside, n, inside.n);
		if (inside.n == 0)
			break;
		inside = str_sub(inside, 1, inside.n);
		if (!read_escape(out, &inside))
			return false;
	}
	return true;
}

size_t quote_go_escape(struct buf *out, struct str s)
{
	struct str at = str_sub(s, 1, s.n);
	size_t had = out->n;

	if (read_escape(out, &at))
		return s.n - at.n;
	out->n = had;
	return 0;
}
