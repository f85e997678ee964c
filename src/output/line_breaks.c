/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader of a log takes some bytes for the end of a line: newline for all of
 * them, carriage return for editors, terminals and Python's open(), vertical
 * tab, form feed, U+0085, U+2028 and U+2029 for some.  Terminals obey further
 * control characters, and could be made to move up and write over other lines.
 * So outside of LINE_RAW a record keeps of all these at most newlines, each with
 * a tab behind it; the others are spelled: \r \x1b \u2028.  Bytes that are no
 * UTF-8 are spelled too, as 0x85 and 0x9b mean in Latin-1 what U+0085 and ESC [
 * mean here; so what is written is UTF-8.
 *
 * Nearly every record is plain ASCII: one pass over it, eight bytes at a time,
 * shows that it is, and that is all.
 */
#include "output/line_breaks.h"

#include "output/line_format.h"

/* ---- the pass that finds nothing ---- */

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Is any byte below 0x20, 0x7f or above, or a backslash where that is `special`? */
static bool has_special(uint64_t w, uint64_t special)
{
	uint64_t high = EACH(0x80), found;

	/* Without carries from byte to byte, as the top bits are looked at first. */
	if (w & high)
		return true;
	found = (w - EACH(0x20)) | (w + EACH(1)) | ((w ^ special) - EACH(1));
	return found & high;
}

/* Length of the prefix that needs no look at its characters. */
static size_t plain_prefix(struct str s, bool escape)
{
	/* Something that is found by the first test anyway stands in for the backslash. */
	uint64_t w, special = EACH(escape ? '\\' : 0x7f);
	size_t i = 0;

	for (; i + sizeof w <= s.n; i += sizeof w) {
		memcpy(&w, s.p + i, sizeof w);
		if (has_special(w, special))
			break;
	}
	for (; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c < 0x20 || c >= 0x7f || (escape && c == '\\'))
			break;
	}
	return i;
}

/* ---- characters ---- */

struct writer {
	struct buf *out;
	bool escape;
	size_t valid; /* the bytes before this offset are UTF-8 */
};

static void spell(struct writer *w, unsigned c)
{
	switch (c) {
	case '\n': buf_c(w->out, "\\n"); break;
	case '\r': buf_c(w->out, "\\r"); break;
	case '\t': buf_c(w->out, "\\t"); break;
	default: buf_printf(w->out, "\\x%02x", c);
	}
}

/* A character of one byte at s.p[i]; how many bytes were used. */
static size_t put_ascii(struct writer *w, struct str s, size_t i)
{
	char c = s.p[i];
	bool last = i + 1 == s.n;

	if (w->escape && c == '\\') {
		buf_c(w->out, "\\\\");
	} else if (c >= 0x20 && c < 0x7f) {
		buf_char(w->out, c);
	} else if (w->escape) {
		spell(w, (unsigned char)c);
	} else if (c == '\n') {
		buf_c(w->out, "\n\t");
	} else if (c == '\r' && (last || s.p[i + 1] == '\n')) {
		/* Of a line end of two characters. */
	} else if (c == '\t' && i > 0) {
		buf_char(w->out, c);
	} else {
		/* A record that began with a tab would look like the rest of the one before. */
		spell(w, (unsigned char)c);
	}
	return 1;
}

static size_t put_beyond_ascii(struct writer *w, struct str s, size_t i)
{
	const unsigned char *p = (const unsigned char *)s.p + i;
	size_t n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (i >= w->valid)
		w->valid = i + str_utf8_valid(str_sub(s, i, s.n));
	if (i >= w->valid) {
		spell(w, p[0]);
		return 1;
	}
	if (p[0] == 0xc2 && p[1] < 0xa0)
		buf_printf(w->out, "\\u%04x", p[1]);
	else if (p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9))
		buf_printf(w->out, "\\u%04x", 0x2000 + (p[2] & 0x3f));
	else
		buf_put(w->out, p, n);
	return n;
}

void line_breaks_apply(int breaks, struct buf *out, size_t start)
{
	struct writer w = {.out = out, .escape = breaks == LINE_ESCAPE};
	struct str text = str_make(out->p ? out->p + start : NULL, out->n - start);
	struct buf copy = {0};
	size_t plain;

	if (breaks == LINE_RAW || (plain = plain_prefix(text, w.escape)) == text.n)
		return;
	/* What ends the record is no further line of it. */
	while (!w.escape && text.n && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
		text.n--;
	buf_str(&copy, text);
	text = buf_view(&copy);
	out->n = start;
	if (plain > text.n)
		plain = text.n;
	out->n += plain;
	for (size_t i = plain; i < text.n;) {
		size_t n = plain_prefix(str_sub(text, i, text.n), w.escape);

		if (n)
			buf_put(out, text.p + i, n);
		else if ((unsigned char)text.p[i] < 0x80)
			n = put_ascii(&w, text, i);
		else
			n = put_beyond_ascii(&w, text, i);
		i += n;
	}
	buf_fini(&copy);
}
