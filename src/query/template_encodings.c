/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base64, URLs, JSON, and sizes and durations for people.
 * Sources: Loki's documentation of template functions, masterminds.github.io/sprig,
 * pkg.go.dev/net/url#QueryEscape, pkg.go.dev/encoding/json#Unmarshal.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/hex.h"
#include "codec/codec.h"
#include "codec/json.h"
#include "query/number.h"
#include "query/template_tree.h"

/* ---- URLs ---- */

void template_put_url(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			(c && strchr("-_.~", c)))
			buf_char(out, (char)c);
		else if (c == ' ')
			buf_char(out, '+');
		else
			buf_printf(out, "%%%02X", c);
	}
}

static int urlencode(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	struct buf *b = template_scratch(r);

	template_put_url(b, args[0].s);
	return template_keep(r, b, out);
}

static int urldecode(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	struct buf *b = template_scratch(r);
	struct str s = args[0].s;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != '%') {
			buf_char(b, s.p[i] == '+' ? ' ' : s.p[i]);
			continue;
		}
		if (s.n - i < 3 || hex_digit(s.p[i + 1]) < 0 || hex_digit(s.p[i + 2]) < 0) {
			struct buf quoted = {0};
			datum_quote(&quoted, str_sub(s, i, i + 3));
			template_fail(r, "invalid URL escape %s", buf_cstr(&quoted));
			buf_fini(&quoted);
			return ERR_ARG;
		}
		buf_char(b, (char)(hex_digit(s.p[i + 1]) << 4 | hex_digit(s.p[i + 2])));
		i += 2;
	}
	return template_keep(r, b, out);
}

/* ---- base64 ---- */

static int b64enc(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	struct buf *b = template_scratch(r);

	base64_put(b, args[0].s);
	return template_keep(r, b, out);
}

/* The byte at which Go stops: the first that is no digit, or the end. */
static size_t bad_base64(struct str s)
{
	size_t i = 0;

	while (i < s.n &&
		((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'A' && s.p[i] <= 'Z') ||
			(s.p[i] >= 'a' && s.p[i] <= 'z') || s.p[i] == '+' || s.p[i] == '/'))
		i++;
	return i == s.n ? s.n / 4 * 4 : i;
}

/* Line breaks are passed over; of a text that is none sprig gives the error in its place. */
static int b64dec(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	struct buf *b = template_scratch(r), plain = {0};
	struct str s = args[0].s;

	if (memchr(s.n ? s.p : "", '\n', s.n) || memchr(s.n ? s.p : "", '\r', s.n)) {
		for (size_t i = 0; i < s.n; i++)
			if (s.p[i] != '\n' && s.p[i] != '\r')
				buf_char(&plain, s.p[i]);
		s = buf_view(&plain);
	}
	if (!base64_get(b, s))
		buf_printf(b, "illegal base64 data at input byte %zu", bad_base64(s));
	buf_fini(&plain);
	return template_keep(r, b, out);
}

/* ---- JSON ---- */

static int convert(struct template_run *r, const struct json *j, size_t at, struct datum *out);

struct member {
	struct str key;
	size_t at; /* of the value */
};

static int by_key(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	int order = str_cmp(x->key, y->key);

	return order ? order : x->at < y->at ? -1 : x->at > y->at;
}

static int copy_text(struct template_run *r, struct str s, struct str *out)
{
	char *p = template_alloc(r, s.n);

	if (!p)
		return ERR_ARG;
	if (s.n)
		memcpy(p, s.p, s.n);
	*out = str_make(p, s.n);
	return 0;
}

static int convert_list(struct template_run *r, const struct json *j, size_t at, struct datum *out)
{
	struct datum *list;
	size_t n = 0;

	for (size_t i = json_first(j, at); i < json_end(j, at); i = json_next(j, i))
		n++;
	if (!(list = template_alloc(r, n * sizeof *list)))
		return ERR_ARG;
	n = 0;
	for (size_t i = json_first(j, at); i < json_end(j, at); i = json_next(j, i))
		if (convert(r, j, i, &list[n++]) < 0)
			return ERR_ARG;
	*out = (struct datum){.kind = DATUM_LIST, .list = {list, n}};
	return 0;
}

/* Of members with one name the last counts. */
static int convert_map(struct template_run *r, const struct json *j, size_t at, struct datum *out)
{
	struct member *members;
	struct datum_pair *pairs;
	size_t n = 0, kept = 0;

	for (size_t i = json_first(j, at); i < json_end(j, at); i = json_next(j, i + 1))
		n++;
	if (!(members = template_alloc(r, n * sizeof *members)) ||
		!(pairs = template_alloc(r, n * sizeof *pairs)))
		return ERR_ARG;
	n = 0;
	for (size_t i = json_first(j, at); i < json_end(j, at); i = json_next(j, i + 1))
		members[n++] = (struct member){j->nodes[i].text, i + 1};
	if (n > 1)
		qsort(members, n, sizeof *members, by_key);
	for (size_t i = 0; i < n; i++) {
		if (i + 1 < n && str_eq(members[i].key, members[i + 1].key))
			continue;
		if (copy_text(r, members[i].key, &pairs[kept].key) < 0 ||
			convert(r, j, members[i].at, &pairs[kept].value) < 0)
			return ERR_ARG;
		kept++;
	}
	*out = (struct datum){.kind = DATUM_MAP, .map = {pairs, kept}};
	return 0;
}

static int convert(struct template_run *r, const struct json *j, size_t at, struct datum *out)
{
	const struct json_node *node = &j->nodes[at];
	struct str text;
	double v = 0;

	*out = (struct datum){.kind = DATUM_NIL};
	switch (node->type) {
	case JSON_NULL: return 0;
	case JSON_FALSE:
	case JSON_TRUE: *out = datum_bool(node->type == JSON_TRUE); return 0;
	case JSON_NUMBER:
		number_float(node->text, &v);
		*out = datum_float(v);
		return 0;
	case JSON_STRING:
		if (copy_text(r, node->text, &text) < 0)
			return ERR_ARG;
		*out = datum_string(text);
		return 0;
	case JSON_ARRAY: return convert_list(r, j, at, out);
	case JSON_OBJECT: return convert_map(r, j, at, out);
	}
	return 0;
}

/* The empty string for what is no JSON. */
static int from_json(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	struct json j;
	int e = json_parse(template_json(r), args[0].s, &j, NULL);

	if (e == ERR_BUSY)
		return template_fail(r, "the memory for queries is used up");
	if (e < 0) {
		*out = datum_string(STR(""));
		return 0;
	}
	return convert(r, &j, 0, out);
}

/* ---- sizes and durations ---- */

static int not_a(struct template_run *r, const char *what, struct str s)
{
	struct buf quoted = {0};

	datum_quote(&quoted, str_sub(s, 0, 100));
	template_fail(r, "%s %s", what, buf_cstr(&quoted));
	buf_fini(&quoted);
	return ERR_ARG;
}

static int bytes(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	uint64_t v;

	if (!number_bytes(args[0].s, &v))
		return not_a(r, "no size in bytes:", args[0].s);
	*out = v <= INT64_MAX ? datum_int((int64_t)v) : datum_float((double)v);
	return 0;
}

static int duration(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	int64_t ns;

	if (!number_duration(args[0].s, &ns))
		return not_a(r, "time: invalid duration", args[0].s);
	/* Whole seconds and the rest apart, as Go adds them up. */
	*out = datum_float((double)(ns / 1000000000) + (double)(ns % 1000000000) / 1e9);
	return 0;
}

const struct template_function template_encodings[] = {
	{"urlencode", "s", urlencode, CALL_PLAIN},
	{"urldecode", "s", urldecode, CALL_PLAIN},
	{"b64enc", "s", b64enc, CALL_PLAIN},
	{"b64dec", "s", b64dec, CALL_PLAIN},
	{"fromJson", "s", from_json, CALL_PLAIN},
	{"bytes", "s", bytes, CALL_PLAIN},
	{"duration", "s", duration, CALL_PLAIN},
	{"duration_seconds", "s", duration, CALL_PLAIN},
	{0},
};
