/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A letter for the style and, with a NUL between each, a format, a format of
 * times, a line, and names and values of labels; any bytes.  What does not
 * compile is told by a sentence.  What is written indented has no line that a
 * tab does not begin but its first; what is written escaped is one line, and
 * can be read back to what is written raw.
 */
#include <assert.h>
#include <stdlib.h>

#include "output/line_format.h"
#include "record/labels.h"
#include "record/severity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Characters that others take for the end of a line, and what terminals obey. */
static void check_safe(struct str s, bool indent)
{
	assert(str_utf8_valid(s) == s.n);
	assert(!(s.n && s.p[0] == '\t'));
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '\n')
			assert(indent && i + 1 < s.n && s.p[i + 1] == '\t');
		else
			assert(c == '\t' ? indent : c >= 0x20 && c != 0x7f);
		assert(!(c == 0xc2 && (unsigned char)s.p[i + 1] < 0xa0));
		assert(str_find(str_sub(s, i, i + 3), STR("\xe2\x80\xa8")) < 0);
		assert(str_find(str_sub(s, i, i + 3), STR("\xe2\x80\xa9")) < 0);
	}
}

static unsigned hex(const char *p, size_t n)
{
	char text[5] = {0};

	memcpy(text, p, n);
	return (unsigned)strtoul(text, NULL, 16);
}

static void unescape(struct str s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != '\\') {
			buf_char(out, s.p[i]);
			continue;
		}
		switch (s.p[++i]) {
		case 'n': buf_char(out, '\n'); break;
		case 'r': buf_char(out, '\r'); break;
		case 't': buf_char(out, '\t'); break;
		case '\\': buf_char(out, '\\'); break;
		case 'x':
			buf_char(out, (char)hex(s.p + i + 1, 2));
			i += 2;
			break;
		default: {
			unsigned v = hex(s.p + i + 1, 4);
			assert(s.p[i] == 'u');
			if (v < 0x800)
				buf_char(out, (char)(0xc0 | v >> 6));
			else
				buf_printf(out, "%c%c", 0xe0 | v >> 12, 0x80 | (v >> 6 & 0x3f));
			buf_char(out, (char)(0x80 | (v & 0x3f)));
			i += 4;
		}
		}
	}
}

static bool put(struct line_settings *s, int breaks, const struct output_record *r, struct buf *out)
{
	struct error e = {0};
	struct line_format *f;
	int result;

	s->breaks = breaks;
	result = line_format_new(&f, s, &e);
	assert((line_settings_check(s, NULL) == 0) == (result == 0));
	if (result < 0) {
		assert(e.text[0]);
		return false;
	}
	line_format_put(f, r, out);
	/* Nothing stays behind. */
	buf_clear(out);
	line_format_put(f, r, out);
	line_format_free(f);
	return true;
}

static bool has_clock(const char *format)
{
	return format && strstr(format, "now");
}

static void compare(struct line_settings *s, const struct output_record *r)
{
	struct buf raw = {0}, indent = {0}, escape = {0}, back = {0};

	if (put(s, LINE_RAW, r, &raw)) {
		put(s, LINE_INDENT, r, &indent);
		put(s, LINE_ESCAPE, r, &escape);
		check_safe(buf_view(&indent), true);
		check_safe(buf_view(&escape), false);
		unescape(buf_view(&escape), &back);
		assert(has_clock(s->format) || str_eq(buf_view(&back), buf_view(&raw)));
	}
	buf_fini(&raw);
	buf_fini(&indent);
	buf_fini(&escape);
	buf_fini(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str rest = str_make(data, n);
	char style = n ? rest.p[0] : 0;
	char *format, *datefmt;
	struct labels_builder b = {.names_free = true};
	struct output_record r = {.timestamp = INT64_C(1795255200123456789)};
	struct line_settings s = {.style = style == '{'   ? LINE_BRACE
					   : style == 't' ? LINE_TEMPLATE
							  : LINE_PERCENT};
	struct buf labels = {0};

	rest = str_sub(rest, 1, rest.n);
	format = str_dup(str_cut(&rest, '\0'));
	datefmt = str_dup(str_cut(&rest, '\0'));
	r.line = str_cut(&rest, '\0');
	r.severity = (uint8_t)(r.line.n % 25);
	while (rest.n) {
		struct str name = str_cut(&rest, '\0'), value = str_cut(&rest, '\0');
		labels_builder_set(&b, name, value, NULL);
	}
	labels_builder_write(&b, &labels);
	r.labels = buf_view(&labels);
	s.format = *format ? format : NULL;
	s.datefmt = datefmt;
	s.utc = true;
	compare(&s, &r);
	labels_builder_fini(&b);
	buf_fini(&labels);
	free(format);
	free(datefmt);
	return 0;
}
