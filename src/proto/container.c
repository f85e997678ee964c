/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/container.h"

#include <string.h>

#include "base/hex.h"
#include "codec/rune.h"
#include "record/time.h"

/* CRI. */

static enum container_stream stream_of(struct str name)
{
	if (str_eq(name, STR("stdout")))
		return STREAM_STDOUT;
	return str_eq(name, STR("stderr")) ? STREAM_STDERR : STREAM_NONE;
}

bool cri_decode(struct str line, struct container_line *out)
{
	struct str rest = line, stream, tags;

	*out = (struct container_line){0};
	if (line.n < 20 || line.p[0] < '0' || line.p[0] > '9')
		return false;
	out->time_text = str_cut(&rest, ' ');
	stream = str_cut(&rest, ' ');
	tags = str_cut(&rest, ' ');
	out->stream = stream_of(stream);
	if (out->stream == STREAM_NONE || tags.n == 0 || !rest.p ||
		!time_parse_rfc3339(out->time_text, &out->time) || out->time == INT64_MAX)
		return false;
	tags = str_cut(&tags, ':');
	out->partial = str_eq(tags, STR("P"));
	if (!out->partial && !str_eq(tags, STR("F")))
		return false;
	out->text = rest;
	out->head = line.n - rest.n;
	return true;
}

/* Docker. */

struct scan {
	const char *p, *end;
};

static void blanks(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\r'))
		s->p++;
}

static bool take(struct scan *s, char c)
{
	blanks(s);
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

/* Behind the opening quote: the text as it stands, without the closing one. */
static bool string_end(struct scan *s, struct str *out)
{
	const char *start = s->p;

	for (; s->p < s->end; s->p++) {
		if (*s->p == '"') {
			*out = str_make(start, (size_t)(s->p++ - start));
			return true;
		}
		if (*s->p == '\\' && ++s->p == s->end)
			return false;
		if ((uint8_t)*s->p < 0x20)
			return false;
	}
	return false;
}

static int hex4(const char *p)
{
	int v = 0;

	for (int i = 0; i < 4; i++) {
		int d = hex_digit(p[i]);

		if (d < 0)
			return -1;
		v = v * 16 + d;
	}
	return v;
}

/* \uXXXX at *i, with the second half of a surrogate pair if there is one.  A lone half is U+FFFD.
 */
static bool unescape_u(struct str s, size_t *i, struct buf *out)
{
	int c = s.n - *i >= 6 ? hex4(s.p + *i + 2) : -1, low;

	if (c < 0)
		return false;
	*i += 6;
	if (c >= 0xd800 && c < 0xdc00 && s.n - *i >= 6 && s.p[*i] == '\\' && s.p[*i + 1] == 'u' &&
		(low = hex4(s.p + *i + 2)) >= 0xdc00 && low < 0xe000) {
		*i += 6;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	rune_put(out, (uint32_t)c);
	return true;
}

static bool unescape(struct str s, struct buf *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	size_t i = 0;

	while (i < s.n) {
		const char *slash = memchr(s.p + i, '\\', s.n - i), *at;
		size_t plain = slash ? (size_t)(slash - s.p) - i : s.n - i;

		buf_put(out, s.p + i, plain);
		i += plain;
		if (!slash)
			break;
		if (i + 1 < s.n && s.p[i + 1] == 'u') {
			if (!unescape_u(s, &i, out))
				return false;
			continue;
		}
		at = i + 1 < s.n && s.p[i + 1] ? strchr(from, s.p[i + 1]) : NULL;
		if (!at)
			return false;
		buf_char(out, to[at - from]);
		i += 2;
	}
	return true;
}

/* Any value: strings, numbers, words, and what is nested in braces. */
static bool skip_value(struct scan *s, struct str *out)
{
	const char *start;
	struct str text;
	int depth = 0;

	blanks(s);
	start = s->p;
	while (s->p < s->end) {
		char c = *s->p;

		if (c == '"') {
			s->p++;
			if (!string_end(s, &text))
				return false;
		} else if (c == '{' || c == '[') {
			depth++;
			s->p++;
		} else if (depth == 0 && (c == ',' || c == '}')) {
			break;
		} else if (c == '}' || c == ']') {
			s->p++;
			depth--;
		} else if ((uint8_t)c < 0x20) {
			return false;
		} else {
			s->p++;
		}
		if (depth < 0)
			return false;
	}
	*out = str_make(start, (size_t)(s->p - start));
	return depth == 0 && out->n > 0;
}

struct fields {
	struct str log, stream, time, attrs;
};

static bool read_field(struct scan *s, struct fields *f)
{
	struct str name, value;
	struct str *to = NULL;

	if (!take(s, '"') || !string_end(s, &name) || !take(s, ':'))
		return false;
	if (str_eq(name, STR("attrs"))) {
		blanks(s);
		return s->p < s->end && *s->p == '{' && skip_value(s, &f->attrs);
	}
	if (str_eq(name, STR("log")))
		to = &f->log;
	else if (str_eq(name, STR("stream")))
		to = &f->stream;
	else if (str_eq(name, STR("time")))
		to = &f->time;
	if (!to)
		return skip_value(s, &value);
	return !to->p && take(s, '"') && string_end(s, to);
}

bool docker_decode(struct str line, struct buf *into, struct container_line *out)
{
	struct scan s = {line.p, line.n ? line.p + line.n : line.p};
	struct fields f = {0};
	size_t from = into->n;

	*out = (struct container_line){0};
	if (line.n == 0 || !take(&s, '{'))
		return false;
	do {
		if (!read_field(&s, &f))
			return false;
	} while (take(&s, ','));
	if (!take(&s, '}'))
		return false;
	blanks(&s);
	if (s.p != s.end || !f.log.p || !unescape(f.log, into))
		goto bad;
	out->text = str_sub(buf_view(into), from, into->n);
	out->partial = out->text.n == 0 || out->text.p[out->text.n - 1] != '\n';
	out->stream = stream_of(f.stream);
	if (f.time.n > 0 && time_parse_rfc3339(f.time, &out->time) && out->time != INT64_MAX)
		out->time_text = f.time;
	out->attrs = f.attrs;
	out->head = (size_t)(f.log.p - line.p);
	out->foot = line.n - out->head - f.log.n;
	return true;
bad:
	into->n = from;
	return false;
}

void docker_attrs(struct str attrs, struct buf *into,
	void (*each)(void *arg, struct str name, struct str value), void *arg)
{
	struct scan s;
	struct str name, value;

	if (attrs.n == 0)
		return;
	s = (struct scan){attrs.p, attrs.p + attrs.n};
	if (!take(&s, '{'))
		return;
	do {
		size_t from = into->n, middle;

		if (!take(&s, '"') || !string_end(&s, &name) || !take(&s, ':'))
			return;
		blanks(&s);
		if (s.p == s.end || *s.p != '"') {
			if (!skip_value(&s, &value))
				return;
			continue;
		}
		s.p++;
		if (!string_end(&s, &value) || !unescape(name, into))
			return;
		middle = into->n;
		if (!unescape(value, into))
			return;
		each(arg, str_sub(buf_view(into), from, middle),
			str_sub(buf_view(into), middle, into->n));
	} while (take(&s, ','));
}

/* Escaping. */

static bool escape_at(const char *p, size_t n, unsigned manner, struct buf *out, size_t *used)
{
	uint8_t c = (uint8_t)*p;

	*used = 1;
	if (c == '"' || c == '\\') {
		buf_char(out, '\\');
		buf_char(out, (char)c);
	} else if (c == '\n' || c == '\r') {
		buf_c(out, c == '\n' ? "\\n" : "\\r");
	} else if (manner & JSON_SHORT && (c == '\t' || c == '\b' || c == '\f')) {
		buf_c(out, c == '\t' ? "\\t" : c == '\b' ? "\\b" : "\\f");
	} else if (c < 0x20 || (!(manner & JSON_PLAIN) && (c == '<' || c == '>' || c == '&'))) {
		buf_printf(out, "\\u%04x", c);
	} else if (c == 0xe2 && n >= 3 && !(manner & JSON_PLAIN) && (uint8_t)p[1] == 0x80 &&
		   ((uint8_t)p[2] & 0xfe) == 0xa8) {
		buf_printf(out, "\\u20%02x", (uint8_t)p[2] - 0x80);
		*used = 3;
	} else if (c == 0xef && n >= 3 && manner & JSON_REPLACED &&
		   memcmp(p, "\xef\xbf\xbd", 3) == 0) {
		buf_c(out, "\\ufffd");
		*used = 3;
	} else {
		return false;
	}
	return true;
}

void json_escape(struct str text, unsigned manner, struct buf *out)
{
	/* What may need an escape in any manner. */
	static const char odd[256] = {[0 ... 0x1f] = 1,
		['"'] = 1,
		['\\'] = 1,
		['<'] = 1,
		['>'] = 1,
		['&'] = 1,
		[0xe2] = 1,
		[0xef] = 1};
	size_t from = 0, used;

	for (size_t i = 0; i < text.n;) {
		if (!odd[(uint8_t)text.p[i]]) {
			i++;
			continue;
		}
		buf_put(out, text.p + from, i - from);
		if (escape_at(text.p + i, text.n - i, manner, out, &used))
			from = i += used;
		else
			from = i++;
	}
	if (text.n > from)
		buf_put(out, text.p + from, text.n - from);
}
