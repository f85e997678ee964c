/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions that Go's templates have by themselves, and where all others
 * are found.  Sources: pkg.go.dev/text/template ("Functions").
 */
#include <math.h>

#include "codec/rune.h"
#include "query/template_tree.h"

const struct template_function *template_table_find(
	const struct template_function *table, struct str name)
{
	for (; table->name; table++)
		if (str_eq_c(name, table->name))
			return table;
	return NULL;
}

const struct template_function *template_function(struct str name)
{
	static const struct template_function *const tables[] = {template_builtins,
		template_strings, template_maths, template_times, template_encodings,
		template_regexes};

	const struct template_function *f = NULL;

	for (size_t i = 0; i < sizeof tables / sizeof *tables && !f; i++)
		f = template_table_find(tables[i], name);
	return f;
}

/* ---- logic ---- */

/* `and`, `or` and `__line__` are the runner's. */
static int never(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	return template_fail(r, "not called");
}

static int not_(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	*out = datum_bool(!datum_truth(r, &args[0]));
	return 0;
}

static bool is_basic(const struct datum *d)
{
	return d->kind == DATUM_BOOL || d->kind == DATUM_INT || d->kind == DATUM_FLOAT ||
	       d->kind == DATUM_STRING;
}

static int equal(struct template_run *r, const struct datum *a, const struct datum *b, bool *out)
{
	if (a->kind == DATUM_NIL || b->kind == DATUM_NIL) {
		*out = a->kind == b->kind;
		return 0;
	}
	if (!is_basic(a) && a->kind != DATUM_TIME)
		return template_fail(r, "non-comparable type %s", datum_type(a));
	if (!is_basic(b) && b->kind != DATUM_TIME)
		return template_fail(r, "non-comparable type %s", datum_type(b));
	if (a->kind != b->kind)
		return template_fail(r, "incompatible types for comparison");
	switch (a->kind) {
	case DATUM_BOOL: *out = a->b == b->b; break;
	case DATUM_INT: *out = a->i == b->i; break;
	case DATUM_FLOAT: *out = a->f == b->f; break;
	case DATUM_STRING: *out = str_eq(a->s, b->s); break;
	default: *out = a->t.s == b->t.s && a->t.ns == b->t.ns; break;
	}
	return 0;
}

/* With more than two, the first is compared with each other. */
static int eq(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	bool same = false;

	if (n < 2)
		return template_fail(r, "missing argument for comparison");
	for (size_t i = 1; i < n && !same; i++)
		if (equal(r, &args[0], &args[i], &same) < 0)
			return ERR_ARG;
	*out = datum_bool(same);
	return 0;
}

static int ne(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	bool same = false;

	if (equal(r, &args[0], &args[1], &same) < 0)
		return ERR_ARG;
	*out = datum_bool(!same);
	return 0;
}

static int less(struct template_run *r, const struct datum *a, const struct datum *b, bool *out)
{
	if (!is_basic(a) || !is_basic(b))
		return template_fail(r, "invalid type for comparison");
	if (a->kind != b->kind)
		return template_fail(r, "incompatible types for comparison");
	switch (a->kind) {
	case DATUM_INT: *out = a->i < b->i; return 0;
	case DATUM_FLOAT: *out = a->f < b->f; return 0;
	case DATUM_STRING: *out = str_cmp(a->s, b->s) < 0; return 0;
	default: return template_fail(r, "invalid type for comparison");
	}
}

static int lt(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	bool is_less = false;

	if (less(r, &args[0], &args[1], &is_less) < 0)
		return ERR_ARG;
	*out = datum_bool(is_less);
	return 0;
}

static int le(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	bool is = false;

	if (less(r, &args[0], &args[1], &is) < 0 || (!is && equal(r, &args[0], &args[1], &is) < 0))
		return ERR_ARG;
	*out = datum_bool(is);
	return 0;
}

static int gt(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	if (le(r, args, n, out) < 0)
		return ERR_ARG;
	out->b = !out->b;
	return 0;
}

static int ge(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	if (lt(r, args, n, out) < 0)
		return ERR_ARG;
	out->b = !out->b;
	return 0;
}

/* ---- parts of values ---- */

static int len(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	struct datum d = args[0];

	if (datum_spread(r, &d) < 0)
		return ERR_ARG;
	switch (d.kind) {
	case DATUM_STRING: *out = datum_int((int64_t)d.s.n); return 0;
	case DATUM_LIST: *out = datum_int((int64_t)d.list.n); return 0;
	case DATUM_MAP: *out = datum_int((int64_t)d.map.n); return 0;
	case DATUM_NIL: return template_fail(r, "len of nil pointer");
	default: return template_fail(r, "len of type %s", datum_type(&d));
	}
}

static int index_number(struct template_run *r, const struct datum *index, size_t n, size_t *out)
{
	if (index->kind == DATUM_NIL)
		return template_fail(r, "cannot index slice/array with nil");
	if (index->kind != DATUM_INT)
		return template_fail(r, "cannot index slice/array with type %s", datum_type(index));
	if (index->i < 0 || (uint64_t)index->i >= n)
		return template_fail(r, "index out of range: %lld", (long long)index->i);
	*out = (size_t)index->i;
	return 0;
}

static int index_one(struct template_run *r, const struct datum *of, const struct datum *index,
	struct datum *out)
{
	size_t at = 0;

	switch (of->kind) {
	case DATUM_LIST:
		if (index_number(r, index, of->list.n, &at) < 0)
			return ERR_ARG;
		*out = of->list.p[at];
		return 0;
	case DATUM_STRING:
		if (index_number(r, index, of->s.n, &at) < 0)
			return ERR_ARG;
		*out = datum_int((unsigned char)of->s.p[at]);
		return 0;
	case DATUM_MAP:
	case DATUM_ROW: {
		struct str value = STR("");
		if (index->kind != DATUM_STRING)
			return template_fail(
				r, "value has type %s; should be string", datum_type(index));
		if (of->kind == DATUM_MAP) {
			if (!datum_get(of, index->s, out))
				*out = (struct datum){.kind = DATUM_NIL};
			return 0;
		}
		if (!fields_get(template_fields(r), index->s, &value))
			value = STR("");
		*out = datum_string(value);
		return 0;
	}
	case DATUM_NIL: return template_fail(r, "index of untyped nil");
	default: return template_fail(r, "can't index item of type %s", datum_type(of));
	}
}

static int index_(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	struct datum at = args[0];

	for (size_t i = 1; i < n; i++) {
		struct datum next;
		if (index_one(r, &at, &args[i], &next) < 0)
			return ERR_ARG;
		at = next;
	}
	*out = at;
	return 0;
}

static int slice(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	struct datum d = args[0];
	size_t total = d.kind == DATUM_STRING ? d.s.n : d.list.n, at[3] = {0, total, total};

	if (d.kind == DATUM_NIL)
		return template_fail(r, "slice of untyped nil");
	if (d.kind != DATUM_STRING && d.kind != DATUM_LIST)
		return template_fail(r, "can't slice item of type %s", datum_type(&d));
	if (n > 4)
		return template_fail(r, "too many slice indexes: %zu", n - 1);
	if (n == 4 && d.kind == DATUM_STRING)
		return template_fail(r, "cannot 3-index slice a string");
	for (size_t i = 1; i < n; i++)
		if (index_number(r, &args[i], total + 1, &at[i - 1]) < 0)
			return ERR_ARG;
	if (at[0] > at[1])
		return template_fail(r, "invalid slice index: %zu > %zu", at[0], at[1]);
	if (at[1] > at[2])
		return template_fail(r, "invalid slice index: %zu > %zu", at[1], at[2]);
	if (d.kind == DATUM_STRING) {
		*out = datum_string(str_sub(d.s, at[0], at[1]));
	} else {
		d.list.p += at[0];
		d.list.n = at[1] - at[0];
		*out = d;
	}
	return 0;
}

/* ---- text ---- */

static int print(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	struct buf *b = template_scratch(r);

	datum_sprint(r, b, args, n);
	return template_keep(r, b, out);
}

static int println(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	struct buf *b = template_scratch(r);

	datum_sprintln(r, b, args, n);
	return template_keep(r, b, out);
}

static int printf_(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	struct buf *b = template_scratch(r);

	if (datum_sprintf(r, b, args[0].s, args + 1, n - 1) < 0)
		return ERR_ARG;
	return template_keep(r, b, out);
}

/* The text that html, js and urlquery escape. */
static int text_of(struct template_run *r, const struct datum *args, size_t n, struct str *out)
{
	struct datum joined;

	if (n == 1 && args[0].kind == DATUM_STRING) {
		*out = args[0].s;
		return 0;
	}
	if (print(r, args, n, &joined) < 0)
		return ERR_ARG;
	*out = joined.s;
	return 0;
}

static int html(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	struct buf *b;
	struct str s;

	if (text_of(r, args, n, &s) < 0)
		return ERR_ARG;
	b = template_scratch(r);
	for (size_t i = 0; i < s.n; i++) {
		switch (s.p[i]) {
		case '\0': rune_put(b, RUNE_ERROR); break;
		case '"': buf_c(b, "&#34;"); break;
		case '\'': buf_c(b, "&#39;"); break;
		case '&': buf_c(b, "&amp;"); break;
		case '<': buf_c(b, "&lt;"); break;
		case '>': buf_c(b, "&gt;"); break;
		default: buf_char(b, s.p[i]);
		}
	}
	return template_keep(r, b, out);
}

static void js_rune(struct buf *b, uint32_t c, struct str bytes)
{
	switch (c) {
	case '\\': buf_c(b, "\\\\"); return;
	case '\'': buf_c(b, "\\'"); return;
	case '"': buf_c(b, "\\\""); return;
	case '<':
	case '>':
	case '&':
	case '=': buf_printf(b, "\\u%04X", c); return;
	default: break;
	}
	if (c < 0x20 || !rune_is_print(c))
		buf_printf(b, "\\u%04X", c);
	else
		buf_str(b, bytes);
}

static int js(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	struct buf *b;
	struct str s;
	size_t length;

	if (text_of(r, args, n, &s) < 0)
		return ERR_ARG;
	b = template_scratch(r);
	for (; s.n; s = str_sub(s, length, s.n)) {
		uint32_t c = rune_first(s, &length);
		js_rune(b, c, str_sub(s, 0, length));
	}
	return template_keep(r, b, out);
}

static int urlquery(struct template_run *r, const struct datum *args, size_t n, struct datum *out)
{
	struct buf *b;
	struct str s;

	if (text_of(r, args, n, &s) < 0)
		return ERR_ARG;
	b = template_scratch(r);
	template_put_url(b, s);
	return template_keep(r, b, out);
}

const struct template_function template_builtins[] = {
	{"and", "aa*", never, CALL_AND},
	{"or", "aa*", never, CALL_OR},
	{"not", "a", not_, CALL_PLAIN},
	{"eq", "aa*", eq, CALL_PLAIN},
	{"ne", "aa", ne, CALL_PLAIN},
	{"lt", "aa", lt, CALL_PLAIN},
	{"le", "aa", le, CALL_PLAIN},
	{"gt", "aa", gt, CALL_PLAIN},
	{"ge", "aa", ge, CALL_PLAIN},
	{"len", "a", len, CALL_PLAIN},
	{"index", "aa*", index_, CALL_PLAIN},
	{"slice", "aa*", slice, CALL_PLAIN},
	{"print", "a*", print, CALL_PLAIN},
	{"println", "a*", println, CALL_PLAIN},
	{"printf", "sa*", printf_, CALL_PLAIN},
	{"html", "a*", html, CALL_PLAIN},
	{"js", "a*", js, CALL_PLAIN},
	{"urlquery", "a*", urlquery, CALL_PLAIN},
	{"__line__", "", never, CALL_LINE},
	{0},
};
