/* SPDX-License-Identifier: Apache-2.0 */
/* | regexp: the named groups of the first match become fields, but for those that took no part or
 * are empty; without a match the row stays as it is. */
#include <stdlib.h>

#include "base/memory.h"
#include "codec/regex.h"
#include "query/ast.h"
#include "query/quote.h"

enum {
	GROUPS_MAX = 63, /* what regex_find fills */
};

struct regexp_stage {
	struct stage stage;
	struct str pattern;
	const struct regex *regex;
	size_t n_groups;
};

struct regexp_state {
	size_t n;           /* groups up to the last that is wanted, and the whole match */
	struct str *names;  /* by group; empty: not wanted */
	struct str *groups; /* of the row at hand */
};

static void wants(const struct stage *s, struct wanted *w)
{
	(void)s;
	w->line = true;
}

static void *begin(const struct stage *s, const struct wanted *behind, struct account *a)
{
	const struct regexp_stage *x = (const struct regexp_stage *)s;
	struct regexp_state *state = xcalloc(1, sizeof *state);

	(void)a;
	state->names = xcalloc(x->n_groups + 1, sizeof *state->names);
	state->groups = xcalloc(x->n_groups + 1, sizeof *state->groups);
	for (size_t i = 1; i <= x->n_groups; i++) {
		struct str name = str_c(regex_group_name(x->regex, i));
		if (name.n == 0 || !wanted_has(behind, name))
			continue;
		state->names[i] = name;
		state->n = i + 1;
	}
	return state;
}

static void end(void *ctx)
{
	struct regexp_state *state = ctx;

	free(state->names);
	free(state->groups);
	free(state);
}

static int run(const struct stage *s, void *ctx, struct pipe_row *row)
{
	const struct regexp_stage *x = (const struct regexp_stage *)s;
	struct regexp_state *state = ctx;
	bool fits = true;
	int r;

	if (state->n == 0)
		return 1;
	if ((r = regex_find(x->regex, row->line, 0, state->groups, state->n)) <= 0)
		return r < 0 ? r : 1;
	for (size_t i = 1; i < state->n; i++)
		if (state->names[i].n && state->groups[i].n)
			fits &= fields_parsed(row->fields, state->names[i], state->groups[i]);
	if (!fits)
		fields_fail(row->fields, "RegexpParserErr",
			"more than %d fields: the rest is left out", FIELDS_MAX);
	return 1;
}

static void format(const struct stage *s, struct buf *out)
{
	buf_c(out, "| regexp ");
	quote_go(out, ((const struct regexp_stage *)s)->pattern);
}

static const struct stage_type regexp_type = {
	.name = "regexp",
	.columns = SCAN_BODY,
	.only_adds = true,
	.wants = wants,
	.begin = begin,
	.end = end,
	.run = run,
	.format = format,
};

static int check_names(const struct regexp_stage *s, struct error *e)
{
	size_t n_names = 0;

	if (s->n_groups > GROUPS_MAX)
		return error_set(e, ERR_ARG, "regexp: at most %d groups, not %zu: (?:…) is none",
			GROUPS_MAX, s->n_groups);
	for (size_t i = 1; i <= s->n_groups; i++) {
		struct str name = str_c(regex_group_name(s->regex, i));
		if (name.n == 0)
			continue;
		n_names++;
		if (!label_name_valid(name))
			return error_set(e, ERR_ARG,
				"regexp: the group \"%.*s\" cannot be a label: a name is letters, "
				"digits and _, no digit first",
				STR_ARG(name));
		for (size_t k = 1; k < i; k++)
			if (str_eq_c(name, regex_group_name(s->regex, k)))
				return error_set(e, ERR_ARG,
					"regexp: two groups have the name \"%.*s\"", STR_ARG(name));
	}
	if (n_names == 0)
		return error_set(
			e, ERR_ARG, "regexp: at least one named group is needed, as (?P<name>…)");
	return 0;
}

int regexp_new(struct query *q, struct str pattern, struct stage **out, struct error *e)
{
	struct regexp_stage *s = ARENA_NEW(&q->arena, struct regexp_stage);
	int r;

	s->stage.type = &regexp_type;
	s->pattern = pattern;
	if ((r = query_regex(q, pattern, REGEX_GROUPS, &s->regex, e)) < 0)
		return r;
	s->n_groups = regex_n_groups(s->regex);
	if ((r = check_names(s, e)) < 0)
		return r;
	*out = &s->stage;
	return 0;
}
