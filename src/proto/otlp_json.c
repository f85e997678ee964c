/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request in JSON is written as protobuf by a table of the members, and read
 * from there: one reader for both forms.  A message's length is written in five
 * bytes, as it is known only behind it, and a longer varint than needed is one.
 *
 * By the OTLP specification ids are hexadecimal, 64-bit numbers text or number,
 * enums numbers, and members that nobody knows are passed over.  Taken as well:
 * names in snake_case and severities by name, which protobuf's own JSON has.
 */
#include <stdlib.h>

#include "codec/codec.h"
#include "proto/otlp.h"
#include "record/severity.h"

enum value_kind {
	TEXT,
	HEX,
	BASE64,
	FIXED64,
	FIXED32,
	INTEGER,
	UNSIGNED,
	SEVERITY,
	DOUBLE,
	BOOL,
	MESSAGE,
	MESSAGES, /* a list of them */
};

struct member {
	const char *name;
	const struct member *message; /* what a MESSAGE holds */
	uint8_t number;
	enum value_kind kind;
};

/* Values and lists of them hold each other. */
static const struct member any_value[8];

static const struct member key_value[] = {
	{"key", NULL, 1, TEXT},
	{"value", any_value, 2, MESSAGE},
	{0},
};

static const struct member array_value[] = {{"values", any_value, 1, MESSAGES}, {0}};
static const struct member key_value_list[] = {{"values", key_value, 1, MESSAGES}, {0}};

static const struct member any_value[8] = {
	{"stringValue", NULL, 1, TEXT},
	{"boolValue", NULL, 2, BOOL},
	{"intValue", NULL, 3, INTEGER},
	{"doubleValue", NULL, 4, DOUBLE},
	{"arrayValue", array_value, 5, MESSAGE},
	{"kvlistValue", key_value_list, 6, MESSAGE},
	{"bytesValue", NULL, 7, BASE64},
	{0},
};

static const struct member log_record[] = {
	{"timeUnixNano", NULL, 1, FIXED64},
	{"severityNumber", NULL, 2, SEVERITY},
	{"severityText", NULL, 3, TEXT},
	{"body", any_value, 5, MESSAGE},
	{"attributes", key_value, 6, MESSAGES},
	{"droppedAttributesCount", NULL, 7, UNSIGNED},
	{"flags", NULL, 8, FIXED32},
	{"traceId", NULL, 9, HEX},
	{"spanId", NULL, 10, HEX},
	{"observedTimeUnixNano", NULL, 11, FIXED64},
	{"eventName", NULL, 12, TEXT},
	{0},
};

static const struct member scope[] = {
	{"name", NULL, 1, TEXT},
	{"version", NULL, 2, TEXT},
	{"attributes", key_value, 3, MESSAGES},
	{"droppedAttributesCount", NULL, 4, UNSIGNED},
	{0},
};

static const struct member scope_logs[] = {
	{"scope", scope, 1, MESSAGE},
	{"logRecords", log_record, 2, MESSAGES},
	{0},
};

static const struct member resource[] = {{"attributes", key_value, 1, MESSAGES}, {0}};

static const struct member resource_logs[] = {
	{"resource", resource, 1, MESSAGE},
	{"scopeLogs", scope_logs, 2, MESSAGES},
	{0},
};

static const struct member request[] = {{"resourceLogs", resource_logs, 1, MESSAGES}, {0}};

struct writer {
	const struct json *doc;
	struct buf *out;
	struct error *e;
};

/* ---- the wire ---- */

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5, LENGTH_BYTES = 5 };

static void put_tag(struct buf *out, unsigned number, unsigned wire)
{
	buf_char(out, (char)(number << 3 | wire));
}

static void put_varint(struct buf *out, unsigned number, uint64_t v)
{
	put_tag(out, number, WIRE_VARINT);
	varint_put(out, v);
}

/* Least significant byte first. */
static void put_fixed(struct buf *out, uint64_t v, int n)
{
	for (int i = 0; i < n; i++, v >>= 8)
		buf_char(out, (char)(v & 0xff));
}

static size_t begin_bytes(struct buf *out, unsigned number)
{
	put_tag(out, number, WIRE_BYTES);
	buf_reserve(out, LENGTH_BYTES);
	out->n += LENGTH_BYTES;
	return out->n;
}

static void end_bytes(struct buf *out, size_t from)
{
	size_t n = out->n - from;
	char *p = out->p + from - LENGTH_BYTES;

	for (int i = 0; i < LENGTH_BYTES; i++, n >>= 7)
		p[i] = (char)((n & 0x7f) | (i < LENGTH_BYTES - 1 ? 0x80 : 0));
}

/* ---- scalars ---- */

static int refuse(struct writer *w, const struct member *m, const char *what)
{
	return error_set(w->e, ERR_ARG, "\"%s\" must be %s", m->name, what);
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool put_hex(struct buf *out, struct str s)
{
	if (s.n % 2)
		return false;
	for (size_t i = 0; i < s.n; i += 2) {
		int high = digit_of(s.p[i]), low = digit_of(s.p[i + 1]);
		if (high < 0 || low < 0)
			return false;
		buf_char(out, (char)(high << 4 | low));
	}
	return true;
}

static bool is_number(const struct json_node *n)
{
	return n->type == JSON_STRING || n->type == JSON_NUMBER;
}

/* A number, or SEVERITY_NUMBER_WARN3. */
static bool read_severity(struct str s, uint64_t *out)
{
	static const struct str prefix = STR_INIT("SEVERITY_NUMBER_");
	unsigned step = 0;
	uint8_t first;

	if (str_u64(s, out))
		return true;
	if (!str_starts(s, prefix))
		return false;
	s = str_sub(s, prefix.n, s.n);
	if (s.n && s.p[s.n - 1] >= '2' && s.p[s.n - 1] <= '4')
		step = (unsigned)(s.p[--s.n] - '1');
	first = severity_from_word(s);
	*out = first ? first + step : 0;
	return true;
}

static bool read_double(const struct json_node *n, double *out)
{
	static const struct {
		const char *name;
		double value;
	} words[] = {{"NaN", __builtin_nan("")}, {"Infinity", __builtin_inf()},
		{"-Infinity", -__builtin_inf()}};

	if (!is_number(n))
		return false;
	if (str_double(n->text, out))
		return true;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (str_eq_c(n->text, words[i].name)) {
			*out = words[i].value;
			return true;
		}
	return false;
}

static int write_bytes(struct writer *w, const struct member *m, const struct json_node *n)
{
	size_t from;
	bool good = n->type == JSON_STRING;

	if (!good)
		return refuse(w, m, "a string");
	from = begin_bytes(w->out, m->number);
	if (m->kind == TEXT)
		buf_str(w->out, n->text);
	else if (m->kind == HEX)
		good = put_hex(w->out, n->text);
	else
		good = base64_get(w->out, n->text);
	end_bytes(w->out, from);
	return good ? 0 : refuse(w, m, m->kind == HEX ? "hexadecimal" : "base64");
}

static int write_number(struct writer *w, const struct member *m, const struct json_node *n)
{
	uint64_t v;
	int64_t i;

	if (m->kind == INTEGER) {
		if (!is_number(n) || !str_i64(n->text, &i))
			return refuse(w, m, "a whole number");
		put_varint(w->out, m->number, (uint64_t)i);
		return 0;
	}
	if (!is_number(n) ||
		!(m->kind == SEVERITY ? read_severity(n->text, &v) : str_u64(n->text, &v)))
		return refuse(w, m, "a whole number, 0 or more");
	if (m->kind == FIXED64) {
		put_tag(w->out, m->number, WIRE_FIXED64);
		put_fixed(w->out, v, 8);
	} else if (m->kind == FIXED32) {
		put_tag(w->out, m->number, WIRE_FIXED32);
		put_fixed(w->out, v, 4);
	} else {
		put_varint(w->out, m->number, v);
	}
	return 0;
}

static int write_scalar(struct writer *w, const struct member *m, const struct json_node *n)
{
	uint64_t bits;
	double v;

	switch (m->kind) {
	case TEXT:
	case HEX:
	case BASE64: return write_bytes(w, m, n);
	case BOOL:
		if (n->type != JSON_TRUE && n->type != JSON_FALSE)
			return refuse(w, m, "true or false");
		put_varint(w->out, m->number, n->type == JSON_TRUE);
		return 0;
	case DOUBLE:
		if (!read_double(n, &v))
			return refuse(w, m, "a number");
		memcpy(&bits, &v, sizeof bits);
		put_tag(w->out, m->number, WIRE_FIXED64);
		put_fixed(w->out, bits, 8);
		return 0;
	default: return write_number(w, m, n);
	}
}

/* ---- messages ---- */

/* timeUnixNano as it is, or time_unix_nano. */
static bool same_name(struct str key, const char *name)
{
	for (size_t i = 0; i < key.n; i++) {
		char c = key.p[i];

		if (c == '_' && i > 0 && i + 1 < key.n) {
			c = key.p[++i];
			if (c < 'a' || c > 'z')
				return false;
			c = (char)(c - ('a' - 'A'));
		}
		if (c == '\0' || *name++ != c)
			return false;
	}
	return *name == '\0';
}

static const struct member *find_member(const struct member *members, struct str key)
{
	for (; members->name; members++)
		if (same_name(key, members->name))
			return members;
	return NULL;
}

static int write_members(struct writer *w, const struct member *members, size_t object);

static int write_message(struct writer *w, const struct member *m, size_t at)
{
	size_t from;
	int r;

	if (w->doc->nodes[at].type != JSON_OBJECT)
		return refuse(w, m, m->kind == MESSAGES ? "a list of objects" : "an object");
	from = begin_bytes(w->out, m->number);
	r = write_members(w, m->message, at);
	end_bytes(w->out, from);
	return r;
}

static int write_member(struct writer *w, const struct member *m, size_t at)
{
	const struct json_node *n = &w->doc->nodes[at];
	int r = 0;

	if (n->type == JSON_NULL)
		return 0;
	if (m->kind == MESSAGE)
		return write_message(w, m, at);
	if (m->kind != MESSAGES)
		return write_scalar(w, m, n);
	if (n->type != JSON_ARRAY)
		return refuse(w, m, "a list of objects");
	for (size_t i = json_first(w->doc, at); i < json_end(w->doc, at) && r == 0;
		i = json_next(w->doc, i))
		r = write_message(w, m, i);
	return r;
}

/* As deep as the parser lets a text be. */
static int write_members(struct writer *w, const struct member *members, size_t object)
{
	const struct json *doc = w->doc;
	const struct member *m;
	int r = 0;

	for (size_t i = json_first(doc, object); i < json_end(doc, object) && r == 0;
		i = json_next(doc, i + 1))
		if ((m = find_member(members, doc->nodes[i].text)))
			r = write_member(w, m, i + 1);
	return r;
}

int otlp_from_json(struct json_parser *parser, struct str body, struct buf *out, struct error *e)
{
	struct json doc;
	struct writer w = {&doc, out, e};
	int r;

	if ((r = json_parse(parser, body, &doc, e)) < 0)
		return r;
	if (doc.nodes[0].type != JSON_OBJECT)
		return error_set(e, ERR_ARG, "expected an object with a list \"resourceLogs\"");
	return write_members(&w, request, 0);
}
