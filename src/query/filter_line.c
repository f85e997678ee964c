/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line filter keeps a line when one of its alternatives is in it, or, negated,
 * when none is: `!= "a" or "b"` drops lines with a and lines with b.
 *
 * Mostly the store evaluates it, over templates and columns; run() is for lines
 * that come another way, as those of a tail.  Plain text goes through memmem.  A regex is asked
 * only about lines that hold the literal every match must contain, where there is one: memmem is an
 * order of magnitude faster than any regex engine's start-up.
 *
 * The store knows no patterns and no addresses.  A filter with one of them runs
 * here, over the lines that the store found to hold its constant pieces: each
 * literal of a pattern, the octets that all addresses of a network begin with.
 */
#include "query/filter_line.h"

#include <assert.h>

#include "query/pattern.h"
#include "query/quote.h"
#include "store/lines/filter.h"

struct alternative {
	const struct filter_value *value;
	struct pattern pattern; /* of the pattern operators */
};

struct filter_line {
	struct stage stage;
	enum filter_op op;
	const struct filter_value *values; /* as written */
	bool negate;
	struct line_filter filter; /* where the store can evaluate all of it */
	/* Else these, */
	struct alternative *alternatives;
	size_t n;
	/* and what every line it keeps passes. */
	struct line_filter *pre;
	size_t n_pre;
};

static bool is_pattern(enum filter_op op)
{
	return op == FILTER_PATTERN || op == FILTER_PATTERN_NOT;
}

static int run(const struct stage *s, void *state, struct pipe_row *row)
{
	(void)state;
	return line_filter_test(&((const struct filter_line *)s)->filter, row->line);
}

static const struct line_filter *filter(const struct stage *s)
{
	return &((const struct filter_line *)s)->filter;
}

static int hits(const struct filter_line *f, const struct alternative *a, struct str line)
{
	const struct filter_value *v = a->value;

	if (is_pattern(f->op))
		return pattern_matches(&a->pattern, line);
	if (v->ip)
		return ip_in_line(v->ip, line);
	return v->regex ? regex_match(v->regex, line) : str_find(line, v->text) >= 0;
}

static int run_here(const struct stage *s, void *state, struct pipe_row *row)
{
	const struct filter_line *f = (const struct filter_line *)s;

	(void)state;
	for (size_t i = 0; i < f->n; i++) {
		int r = hits(f, &f->alternatives[i], row->line);
		if (r < 0)
			return r;
		if (r)
			return !f->negate;
	}
	return f->negate;
}

static size_t prefilter(const struct stage *s, const struct line_filter **out)
{
	const struct filter_line *f = (const struct filter_line *)s;

	*out = f->pre;
	return f->n_pre;
}

static void format(const struct stage *s, struct buf *out)
{
	const struct filter_line *f = (const struct filter_line *)s;

	buf_c(out, filter_op_text(f->op));
	for (const struct filter_value *v = f->values; v; v = v->next) {
		buf_c(out, v == f->values ? " " : " or ");
		if (v->ip)
			buf_c(out, "ip(");
		quote_go(out, v->text);
		if (v->ip)
			buf_char(out, ')');
	}
}

static void wants(const struct stage *s, struct wanted *w)
{
	(void)s;
	w->line = true;
}

static const struct stage_type filter_line = {
	.name = "line filter",
	.wants = wants,
	.columns = SCAN_BODY,
	.run = run,
	.filter = filter,
	.format = format,
};

/* With patterns or addresses. */
static const struct stage_type filter_line_here = {
	.name = "line filter",
	.wants = wants,
	.columns = SCAN_BODY,
	.run = run_here,
	.prefilter = prefilter,
	.format = format,
};

/* One filter for each literal of the pattern. */
static void want_literals(struct filter_line *f, struct arena *a, const struct pattern *p)
{
	f->pre = ARENA_ARRAY(a, struct line_filter, p->n + 1);
	for (size_t i = 0; i <= p->n; i++) {
		struct str literal = i ? p->captures[i - 1].literal : p->head;
		struct line_test *test;
		if (literal.n == 0)
			continue;
		test = ARENA_NEW(a, struct line_test);
		*test = (struct line_test){literal, NULL};
		f->pre[f->n_pre++] = (struct line_filter){.tests = test, .n = 1};
	}
}

/* What each line with a hit of this alternative holds; false when nothing is known. */
static bool needle(const struct filter_line *f, const struct alternative *alt, struct arena *a,
	struct line_test *out)
{
	char text[IP_NEEDLE_MAX];

	*out = (struct line_test){alt->value->text, alt->value->regex};
	if (is_pattern(f->op))
		out->text = pattern_needle(&alt->pattern);
	else if (alt->value->ip)
		out->text = arena_str(a, ip_needle(alt->value->ip, text));
	return out->regex || out->text.n > 0;
}

static void make_prefilter(struct filter_line *f, struct arena *a)
{
	struct line_test *tests;

	if (f->negate)
		return;
	if (is_pattern(f->op) && f->n == 1) {
		want_literals(f, a, &f->alternatives[0].pattern);
		return;
	}
	tests = ARENA_ARRAY(a, struct line_test, f->n);
	for (size_t i = 0; i < f->n; i++)
		if (!needle(f, &f->alternatives[i], a, &tests[i]))
			return;
	f->pre = ARENA_NEW(a, struct line_filter);
	f->pre[0] = (struct line_filter){.tests = tests, .n = f->n};
	f->n_pre = 1;
}

static void make_here(struct filter_line *f, struct arena *a)
{
	size_t i = 0;

	f->stage.type = &filter_line_here;
	f->alternatives = ARENA_ARRAY(a, struct alternative, f->n);
	for (const struct filter_value *v = f->values; v; v = v->next, i++) {
		f->alternatives[i].value = v;
		if (is_pattern(f->op)) {
			int r = pattern_parse(&f->alternatives[i].pattern, a, v->text, false, NULL);
			assert(r == 0); /* filter_pattern_check was asked */
		}
	}
	make_prefilter(f, a);
}

struct stage *filter_line_new(struct arena *a, enum filter_op op, const struct filter_value *values)
{
	struct filter_line *f = ARENA_NEW(a, struct filter_line);
	struct line_test *tests;
	bool here = is_pattern(op);

	*f = (struct filter_line){
		.stage.type = &filter_line,
		.op = op,
		.values = values,
		.negate =
			op == FILTER_LACKS || op == FILTER_MATCHES_NOT || op == FILTER_PATTERN_NOT,
	};
	for (const struct filter_value *v = values; v; v = v->next) {
		f->n++;
		here |= v->ip != NULL;
	}
	if (here) {
		make_here(f, a);
		return &f->stage;
	}
	tests = ARENA_ARRAY(a, struct line_test, f->n);
	f->filter = (struct line_filter){.tests = tests, .n = f->n, .negate = f->negate};
	for (const struct filter_value *v = values; v; v = v->next)
		*tests++ = (struct line_test){v->regex ? STR_NONE : v->text, v->regex};
	return &f->stage;
}

int filter_pattern_check(struct str text, struct error *e)
{
	struct pattern p;
	struct arena a;
	int r;

	arena_init(&a, NULL);
	r = pattern_parse(&p, &a, text, false, e);
	arena_fini(&a);
	return r;
}

bool filter_op_is_regex(enum filter_op op)
{
	return op == FILTER_MATCHES || op == FILTER_MATCHES_NOT;
}

const char *filter_op_text(enum filter_op op)
{
	static const char *const text[] = {
		[FILTER_CONTAINS] = "|=",
		[FILTER_LACKS] = "!=",
		[FILTER_MATCHES] = "|~",
		[FILTER_MATCHES_NOT] = "!~",
		[FILTER_PATTERN] = "|>",
		[FILTER_PATTERN_NOT] = "!>",
	};

	return text[op];
}
