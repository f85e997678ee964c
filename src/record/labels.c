/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canonical bytes are written by one function alone (labels_builder_write)
 * and accepted by one alone (labels_check), which refuses everything the first
 * could not have written: overlong varints, unsorted or repeated names, empty
 * values, bytes after the end.  Only therefore may the rest of the program
 * compare label sets as bytes.
 *
 * The builder keeps its pairs sorted while they come.  Sets are small (limit:
 * LABELS_MAX) and mostly come in order, so a binary search and a memmove beat
 * sorting at the end, and a repeated name is found at once.
 */
#include "record/labels.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hex.h"
#include "base/memory.h"
#include "codec/codec.h"
#include "codec/rune.h"

/* A length of at most 21 bits: what the limits need.  0 when cut, longer or not the shortest
 * form of its number.  Not codec's varint_get: this is read for every label of every record. */
static inline size_t length_get(struct str in, size_t *out)
{
	const unsigned char *p = (const unsigned char *)in.p;

	if (in.n >= 1 && p[0] < 0x80) {
		*out = p[0];
		return 1;
	}
	if (in.n >= 2 && p[1] < 0x80) {
		*out = (size_t)(p[0] & 0x7f) | (size_t)p[1] << 7;
		return p[1] ? 2 : 0;
	}
	if (in.n >= 3 && p[2] < 0x80) {
		*out = (size_t)(p[0] & 0x7f) | (size_t)(p[1] & 0x7f) << 7 | (size_t)p[2] << 14;
		return p[2] ? 3 : 0;
	}
	return 0;
}

static inline size_t length_put(char *out, size_t v)
{
	size_t n = 0;

	assert(v < 1 << 21);
	for (; v >= 0x80; v >>= 7)
		out[n++] = (char)(v | 0x80);
	out[n++] = (char)v;
	return n;
}

static inline void skip(struct str *s, size_t n)
{
	s->p += n;
	s->n -= n;
}

size_t labels_start(struct str *at)
{
	size_t n = 0, used = length_get(*at, &n);

	if (used == 0)
		return 0;
	skip(at, used);
	return n;
}

/* One length and its bytes; false when cut. */
static inline bool next_text(struct str *at, struct str *out)
{
	size_t n, used = length_get(*at, &n);

	if (used == 0 || n > at->n - used)
		return false;
	*out = str_make(at->p + used, n);
	skip(at, used + n);
	return true;
}

bool labels_next(struct str *at, struct label *out)
{
	return at->n && next_text(at, &out->name) && next_text(at, &out->value);
}

size_t labels_count(struct str labels)
{
	return labels_start(&labels);
}

bool labels_get(struct str labels, struct str name, struct str *value)
{
	struct label l;

	labels_start(&labels);
	while (labels_next(&labels, &l)) {
		if (str_eq(l.name, name)) {
			*value = l.value;
			return true;
		}
	}
	return false;
}

int labels_check(struct str bytes, struct error *e)
{
	struct str at = bytes, last = STR_NONE;
	struct label l;
	size_t n = 0, used = length_get(at, &n);

	if (used == 0)
		return error_set(e, ERR_CORRUPT, "labels: the count is cut or too long");
	if (n > LABELS_MAX)
		return error_set(
			e, ERR_CORRUPT, "labels: %zu pairs, at most %d are allowed", n, LABELS_MAX);
	skip(&at, used);
	for (size_t i = 0; i < n; i++) {
		if (!labels_next(&at, &l))
			return error_set(e, ERR_CORRUPT, "labels: pair %zu of %zu is cut", i, n);
		if (l.name.n == 0 || l.name.n > LABEL_NAME_MAX || l.value.n == 0 ||
			l.value.n > LABEL_VALUE_MAX)
			return error_set(e, ERR_CORRUPT,
				"labels: pair %zu has a name of %zu and a value of %zu bytes, allowed are 1-%d "
				"and 1-%d",
				i, l.name.n, l.value.n, LABEL_NAME_MAX, LABEL_VALUE_MAX);
		if (i > 0 && str_cmp(last, l.name) >= 0)
			return error_set(
				e, ERR_CORRUPT, "labels: pair %zu is not in order of name", i);
		last = l.name;
	}
	if (at.n)
		return error_set(e, ERR_CORRUPT, "labels: %zu bytes after the last pair", at.n);
	return 0;
}

bool label_name_valid(struct str name)
{
	if (name.n == 0 || name.n > LABEL_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
		if (!letter && (i == 0 || c < '0' || c > '9'))
			return false;
	}
	return true;
}

/* ---- text ---- */

/* The character at the start of valid UTF-8. */
static uint32_t first_rune(struct str s, size_t *n)
{
	unsigned char c = (unsigned char)s.p[0];
	uint32_t rune;

	*n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	rune = *n == 1 ? c : c & (0x7fu >> *n);
	for (size_t i = 1; i < *n; i++)
		rune = rune << 6 | ((unsigned char)s.p[i] & 0x3f);
	return rune;
}

/* Go quotes what unicode.IsPrint refuses.  These are its ranges of control, format, separator
 * and private characters; characters not yet assigned are taken for printable here. */
static bool rune_prints(uint32_t r)
{
	static const struct {
		uint32_t from, to;
	} hidden[] = {{0, 0x1f}, {0x7f, 0xa0}, {0xad, 0xad}, {0x600, 0x605}, {0x61c, 0x61c},
		{0x6dd, 0x6dd}, {0x70f, 0x70f}, {0x1680, 0x1680}, {0x180e, 0x180e},
		{0x2000, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x206f}, {0x3000, 0x3000},
		{0xe000, 0xf8ff}, {0xfeff, 0xfeff}, {0xfff0, 0xfffb}, {0xfffe, 0xffff},
		{0x1d173, 0x1d17a}, {0xe0000, 0xe007f}, {0xf0000, 0x10ffff}};

	for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
		if (r >= hidden[i].from && r <= hidden[i].to)
			return false;
	return true;
}

static void quote_ascii(struct buf *out, unsigned char c)
{
	static const char letters[] = "abtnvfr"; /* 7 to 13 */

	if (c == '"' || c == '\\') {
		buf_char(out, '\\');
		buf_char(out, (char)c);
	} else if (c >= 7 && c <= 13) {
		buf_char(out, '\\');
		buf_char(out, letters[c - 7]);
	} else if (c < 0x20 || c == 0x7f) {
		buf_printf(out, "\\x%02x", c);
	} else {
		buf_char(out, (char)c);
	}
}

static void quote(struct buf *out, struct str s)
{
	size_t valid = str_utf8_valid(s); /* of what is left */

	buf_char(out, '"');
	while (s.n) {
		size_t n = 1;
		if (valid == 0) {
			buf_printf(out, "\\x%02x", (unsigned char)s.p[0]);
			skip(&s, 1);
			valid = str_utf8_valid(s);
			continue;
		}
		if ((unsigned char)s.p[0] < 0x80) {
			quote_ascii(out, (unsigned char)s.p[0]);
		} else {
			uint32_t rune = first_rune(s, &n);
			if (rune_prints(rune))
				buf_put(out, s.p, n);
			else
				buf_printf(out, rune < 0x10000 ? "\\u%04x" : "\\U%08x", rune);
		}
		skip(&s, n);
		valid -= n;
	}
	buf_char(out, '"');
}

void labels_text(struct buf *out, struct str labels)
{
	struct label l;
	bool first = true;

	labels_start(&labels);
	buf_char(out, '{');
	while (labels_next(&labels, &l)) {
		if (!first)
			buf_c(out, ", ");
		first = false;
		buf_str(out, l.name);
		buf_char(out, '=');
		quote(out, l.value);
	}
	buf_char(out, '}');
}

void labels_json(struct buf *out, struct str labels)
{
	struct label l;
	bool first = true;

	labels_start(&labels);
	buf_char(out, '{');
	while (labels_next(&labels, &l)) {
		if (!first)
			buf_char(out, ',');
		first = false;
		buf_json(out, l.name);
		buf_char(out, ':');
		buf_json(out, l.value);
	}
	buf_char(out, '}');
}

/* ---- builder ---- */

void labels_builder_clear(struct labels_builder *b)
{
	b->n = 0;
	buf_clear(&b->text);
}

void labels_builder_fini(struct labels_builder *b)
{
	free(b->pairs);
	buf_fini(&b->text);
	*b = (struct labels_builder){.names_free = b->names_free};
}

/* Index of the pair `name`, or where it would go. */
static size_t find(const struct labels_builder *b, struct str name, bool *found)
{
	size_t from = 0, to = b->n;

	*found = false;
	while (from < to) {
		/* The first look is behind the last pair's: names mostly come in order. */
		size_t mid = to == b->n && from == 0 ? to - 1 : from + (to - from) / 2;
		int order = str_cmp(b->pairs[mid].name, name);
		if (order == 0) {
			*found = true;
			return mid;
		}
		if (order < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

/* Make room for n bytes of text; the views of the pairs follow when it moves. */
static void reserve_text(struct labels_builder *b, size_t n)
{
	uintptr_t old = (uintptr_t)b->text.p;

	buf_reserve(&b->text, n);
	if ((uintptr_t)b->text.p == old)
		return;
	for (size_t i = 0; i < b->n; i++) {
		struct label *l = &b->pairs[i];
		l->name.p = b->text.p + ((uintptr_t)l->name.p - old);
		l->value.p = b->text.p + ((uintptr_t)l->value.p - old);
	}
}

/* A copy in the text buffer, for which there is room. */
static struct str keep(struct labels_builder *b, struct str s)
{
	struct str kept = str_make(b->text.p + b->text.n, s.n);

	buf_str(&b->text, s);
	return kept;
}

static void remove_pair(struct labels_builder *b, size_t at)
{
	b->n--;
	memmove(b->pairs + at, b->pairs + at + 1, (b->n - at) * sizeof *b->pairs);
}

static void insert_pair(struct labels_builder *b, size_t at)
{
	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 16;
		b->pairs = xrealloc(b->pairs, b->cap * sizeof *b->pairs);
	}
	memmove(b->pairs + at + 1, b->pairs + at, (b->n - at) * sizeof *b->pairs);
	b->n++;
}

enum { SHOWN_BYTES = 64 };

/* A name for a sentence: cut, and without bytes that would break it. */
static const char *show(struct str name, char out[SHOWN_BYTES])
{
	str_copy(name, out, SHOWN_BYTES);
	for (char *p = out; *p; p++)
		if ((*p >= 0 && *p < 0x20) || *p == 0x7f || *p == '"')
			*p = '?';
	return out;
}

static int check_name(const struct labels_builder *b, struct str name, struct error *e)
{
	char shown[SHOWN_BYTES];

	if (name.n == 0)
		return error_set(e, ERR_ARG, "a label has an empty name");
	if (name.n > LABEL_NAME_MAX)
		return error_set(e, ERR_LIMIT,
			"label \"%s…\": the name has %zu bytes, at most %d are allowed",
			show(name, shown), name.n, LABEL_NAME_MAX);
	if (!b->names_free && !label_name_valid(name))
		return error_set(e, ERR_ARG,
			"label \"%s\": a name is made of letters, digits and _ and starts with no digit",
			show(name, shown));
	return 0;
}

int labels_builder_set(struct labels_builder *b, struct str name, struct str value, struct error *e)
{
	char shown[SHOWN_BYTES];
	bool found;
	size_t at;
	int r;

	if ((r = check_name(b, name, e)) < 0)
		return r;
	if (value.n > LABEL_VALUE_MAX)
		return error_set(e, ERR_LIMIT,
			"label \"%s\": the value has %zu bytes, at most %d are allowed",
			show(name, shown), value.n, LABEL_VALUE_MAX);
	at = find(b, name, &found);
	if (value.n == 0) {
		if (found)
			remove_pair(b, at);
		return 0;
	}
	if (!found && b->n == LABELS_MAX)
		return error_set(e, ERR_LIMIT, "label \"%s\": at most %d labels are allowed",
			show(name, shown), LABELS_MAX);
	reserve_text(b, name.n + value.n);
	if (!found) {
		insert_pair(b, at);
		b->pairs[at].name = keep(b, name);
	}
	b->pairs[at].value = keep(b, value);
	return 0;
}

bool labels_builder_get(const struct labels_builder *b, struct str name, struct str *value)
{
	bool found;
	size_t at = find(b, name, &found);

	if (found)
		*value = b->pairs[at].value;
	return found;
}

void labels_builder_write(struct labels_builder *b, struct buf *out)
{
	size_t room = 3;
	char *p;

	for (size_t i = 0; i < b->n; i++)
		room += 6 + b->pairs[i].name.n + b->pairs[i].value.n;
	p = buf_reserve(out, room);
	p += length_put(p, b->n);
	for (size_t i = 0; i < b->n; i++) {
		const struct label *l = &b->pairs[i];
		p += length_put(p, l->name.n);
		p = mempcpy(p, l->name.p, l->name.n);
		p += length_put(p, l->value.n);
		p = mempcpy(p, l->value.p, l->value.n);
	}
	out->n = (size_t)(p - out->p);
}

void labels_write(struct buf *out, const struct str names[], const struct str values[], size_t n)
{
	size_t there = 0;

	for (size_t i = 0; i < n; i++)
		there += values[i].n > 0;
	if (there == 0)
		return;
	varint_put(out, there);
	for (size_t i = 0; i < n; i++) {
		struct str value = rune_fit(values[i], LABEL_VALUE_MAX);
		if (values[i].n == 0)
			continue;
		varint_put(out, names[i].n);
		buf_str(out, names[i]);
		varint_put(out, value.n);
		buf_str(out, value);
	}
}

/* ---- parser ---- */

struct parser {
	struct str text;
	size_t at;
	struct buf value; /* of a quoted string with escapes */
};

static void skip_space(struct parser *p)
{
	while (p->at < p->text.n && strchr(" \t\r\n", p->text.p[p->at]) && p->text.p[p->at])
		p->at++;
}

static int peek(const struct parser *p)
{
	return p->at < p->text.n ? (unsigned char)p->text.p[p->at] : -1;
}

static int fail(const struct parser *p, struct error *e, const char *what)
{
	int c = peek(p);

	if (c < 0)
		return error_set(e, ERR_ARG, "column %zu: %s, got the end", p->at + 1, what);
	if (c < 0x20 || c >= 0x7f)
		return error_set(e, ERR_ARG, "column %zu: %s, got byte 0x%02x", p->at + 1, what, c);
	return error_set(e, ERR_ARG, "column %zu: %s, got '%c'", p->at + 1, what, c);
}

/* Exactly n digits of the base; false leaves p->at on the first that is none. */
static bool digits(struct parser *p, int n, int base, uint32_t *out)
{
	*out = 0;
	for (; n > 0; n--, p->at++) {
		int c = peek(p), d = c < 0 ? -1 : hex_digit((char)c);
		if (d < 0 || d >= base)
			return false;
		*out = *out * (uint32_t)base + (uint32_t)d;
	}
	return true;
}

/* What stands behind a backslash, by the rules of Go's string literals. */
static int parse_escape(struct parser *p, struct error *e)
{
	static const char from[] = "abfnrtv\\\"'", to[] = "\a\b\f\n\r\t\v\\\"'";
	int c = peek(p);
	const char *simple = c > 0 ? strchr(from, c) : NULL;
	uint32_t v;

	if (simple) {
		buf_char(&p->value, to[simple - from]);
		p->at++;
		return 0;
	}
	if (c >= '0' && c <= '7') {
		if (!digits(p, 3, 8, &v) || v > 255)
			return fail(p, e, "an octal escape has three digits up to \\377");
		buf_char(&p->value, (char)v);
		return 0;
	}
	if (c != 'x' && c != 'u' && c != 'U')
		return fail(p, e, "unknown escape in a quoted string");
	p->at++;
	if (!digits(p, c == 'x' ? 2 : c == 'u' ? 4 : 8, 16, &v))
		return fail(p, e, "a hexadecimal escape is cut");
	if (c == 'x')
		buf_char(&p->value, (char)v);
	else if (v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		return fail(p, e, "an escape names no Unicode character");
	else
		rune_put(&p->value, v);
	return 0;
}

/* A raw string in backticks: as it stands but for carriage returns, as in Go. */
static int parse_raw(struct parser *p, struct str *out, struct error *e)
{
	struct str rest = str_sub(p->text, p->at + 1, p->text.n), raw;
	ptrdiff_t end = str_chr(rest, '`');

	if (end < 0) {
		p->at = p->text.n;
		return fail(p, e, "expected the closing ` of a string");
	}
	raw = str_sub(rest, 0, (size_t)end);
	p->at += raw.n + 2;
	if (str_chr(raw, '\r') >= 0) {
		for (size_t i = 0; i < raw.n; i++)
			if (raw.p[i] != '\r')
				buf_char(&p->value, raw.p[i]);
		raw = buf_view(&p->value);
	}
	*out = raw;
	return 0;
}

/* *out is valid until the next value. */
static int parse_string(struct parser *p, struct str *out, struct error *e)
{
	int mark = peek(p), r;
	size_t from;

	buf_clear(&p->value);
	if (mark == '`')
		return parse_raw(p, out, e);
	if (mark != '"' && mark != '\'')
		return fail(p, e, "expected a quoted value");
	from = ++p->at;
	for (;;) {
		int c = peek(p);
		if (c == mark)
			break;
		if (c < 0 || c == '\n')
			return fail(p, e, "expected the closing quote of a value");
		p->at++;
		if (c != '\\')
			continue;
		buf_put(&p->value, p->text.p + from, p->at - 1 - from);
		if ((r = parse_escape(p, e)) < 0)
			return r;
		from = p->at;
	}
	*out = str_make(p->text.p + from, p->at - from);
	p->at++;
	/* p->value.n alone does not tell whether there was an escape, but when it is 0 the
	 * view of the text is the whole value either way. */
	if (p->value.n) {
		buf_str(&p->value, *out);
		*out = buf_view(&p->value);
	}
	return 0;
}

static int parse_pair(struct parser *p, struct labels_builder *b, struct error *e)
{
	struct str name, value = STR_NONE;
	size_t from = p->at;
	int c, r;

	while ((c = peek(p)) == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		(c >= 'A' && c <= 'Z'))
		p->at++;
	name = str_sub(p->text, from, p->at);
	if (name.n == 0)
		return fail(p, e, "expected a label name or }");
	skip_space(p);
	if (peek(p) != '=')
		return fail(p, e, "expected = after a label name");
	p->at++;
	skip_space(p);
	if ((r = parse_string(p, &value, e)) < 0)
		return r;
	if ((r = labels_builder_set(b, name, value, e)) < 0)
		return error_wrap(e, r, "column %zu", from + 1);
	return 0;
}

static int parse_set(struct parser *p, struct labels_builder *b, struct error *e)
{
	int r;

	skip_space(p);
	if (peek(p) != '{')
		return fail(p, e, "expected {");
	p->at++;
	for (skip_space(p); peek(p) != '}'; skip_space(p)) {
		if ((r = parse_pair(p, b, e)) < 0)
			return r;
		skip_space(p);
		if (peek(p) == '}')
			break;
		if (peek(p) != ',')
			return fail(p, e, "expected , or }");
		p->at++;
	}
	p->at++;
	skip_space(p);
	if (p->at < p->text.n)
		return fail(p, e, "expected nothing after }");
	return 0;
}

int labels_parse(struct labels_builder *b, struct str text, struct error *e)
{
	struct parser p = {.text = text};
	int r = parse_set(&p, b, e);

	buf_fini(&p.value);
	return r;
}
