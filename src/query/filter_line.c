/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line filter keeps a line when one of its alternatives is in it, or, negated,
 * when none is: `!= "a" or "b"` drops lines with a and lines with b.
 *
 * Mostly the store evaluates it, over templates and columns; run() is for lines
 * that come another way, as those of a tail.  Plain text goes through memmem.  A regex is asked
 * only about lines that hold the literal every match must contain, where there is one: memmem is an
 * order of magnitude faster than any regex engine's start-up.
 */
#include "query/filter_line.h"

#include "query/quote.h"
#include "store/lines/filter.h"

struct filter_line {
	struct stage stage;
	enum filter_op op;
	const struct filter_value *values; /* as written */
	struct line_filter filter;
};

static int run(const struct stage *s, void *state, struct pipe_row *row)
{
	(void)state;
	return line_filter_test(&((const struct filter_line *)s)->filter, row->line);
}

static const struct line_filter *filter(const struct stage *s)
{
	return &((const struct filter_line *)s)->filter;
}

static void format(const struct stage *s, struct buf *out)
{
	const struct filter_line *f = (const struct filter_line *)s;

	buf_c(out, filter_op_text(f->op));
	for (const struct filter_value *v = f->values; v; v = v->next) {
		buf_c(out, v == f->values ? " " : " or ");
		quote_go(out, v->text);
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

struct stage *filter_line_new(struct arena *a, enum filter_op op, const struct filter_value *values)
{
	struct filter_line *f = ARENA_NEW(a, struct filter_line);
	struct line_test *tests;
	size_t n = 0;

	for (const struct filter_value *v = values; v; v = v->next)
		n++;
	tests = ARENA_ARRAY(a, struct line_test, n);
	n = 0;
	for (const struct filter_value *v = values; v; v = v->next)
		tests[n++] = (struct line_test){v->regex ? STR_NONE : v->text, v->regex};
	*f = (struct filter_line){
		.stage.type = &filter_line,
		.op = op,
		.values = values,
		.filter = {.tests = tests,
			.n = n,
			.negate = op == FILTER_LACKS || op == FILTER_MATCHES_NOT ||
				  op == FILTER_PATTERN_NOT},
	};
	return &f->stage;
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
