/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line filter keeps a line when one of its alternatives is in it, or, negated,
 * when none is: `!= "a" or "b"` drops lines with a and lines with b.
 *
 * Plain text goes through memmem.  A regex is asked only about lines that hold
 * the literal every match must contain, where there is one: memmem is an order
 * of magnitude faster than any regex engine's start-up.
 */
#include "query/filter_line.h"

#include "codec/regex.h"
#include "query/quote.h"

struct filter_line {
	struct stage stage;
	enum filter_op op;
	const struct filter_value *values;
};

static bool contains(struct str s, struct str needle)
{
	return needle.n == 0 || (s.n >= needle.n && memmem(s.p, s.n, needle.p, needle.n));
}

static int value_hits(const struct filter_value *v, struct str line)
{
	if (!v->regex)
		return contains(line, v->text);
	if (!contains(line, regex_literal(v->regex)))
		return 0;
	return regex_match(v->regex, line);
}

static int run(const struct stage *s, struct pipe_row *row)
{
	const struct filter_line *f = (const struct filter_line *)s;
	bool negated = f->op == FILTER_LACKS || f->op == FILTER_MATCHES_NOT;

	for (const struct filter_value *v = f->values; v; v = v->next) {
		int r = value_hits(v, row->line);
		if (r < 0)
			return r;
		if (r)
			return !negated;
	}
	return negated;
}

static struct str literal(const struct stage *s)
{
	const struct filter_line *f = (const struct filter_line *)s;
	const struct filter_value *v = f->values;

	if (f->op == FILTER_LACKS || f->op == FILTER_MATCHES_NOT || v->next)
		return STR_NONE;
	return v->regex ? regex_literal(v->regex) : v->text;
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

static const struct stage_type filter_line = {
	.name = "line filter",
	.columns = SCAN_BODY,
	.run = run,
	.literal = literal,
	.format = format,
};

struct stage *filter_line_new(struct arena *a, enum filter_op op, const struct filter_value *values)
{
	struct filter_line *f = ARENA_NEW(a, struct filter_line);

	*f = (struct filter_line){.stage.type = &filter_line, .op = op, .values = values};
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
	};

	return text[op];
}
