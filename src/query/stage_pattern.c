/* SPDX-License-Identifier: Apache-2.0 */
/* | pattern: names what stands between literals; nothing between them is no field.  A run stops at
 * the last capture that is read. */
#include <stdlib.h>

#include "base/memory.h"
#include "query/ast.h"
#include "query/pattern.h"
#include "query/quote.h"

struct pattern_stage {
	struct stage stage;
	struct str text;
	struct pattern pattern;
};

struct pattern_state {
	size_t n; /* captures up to the last one that is wanted */
	bool wanted[PATTERN_CAPTURES_MAX];
};

static void wants(const struct stage *s, struct wanted *w)
{
	(void)s;
	w->line = true;
}

static void *begin(const struct stage *s, const struct wanted *behind, struct account *a)
{
	const struct pattern *p = &((const struct pattern_stage *)s)->pattern;
	struct pattern_state *state = xcalloc(1, sizeof *state);

	(void)a;
	for (size_t i = 0; i < p->n; i++) {
		struct str name = p->captures[i].name;
		if (name.n == 0 || !wanted_has(behind, name))
			continue;
		state->wanted[i] = true;
		state->n = i + 1;
	}
	return state;
}

static int run(const struct stage *s, void *ctx, struct pipe_row *row)
{
	const struct pattern *p = &((const struct pattern_stage *)s)->pattern;
	const struct pattern_state *state = ctx;
	struct str found[PATTERN_CAPTURES_MAX];
	bool fits = true;
	size_t n;

	if (state->n == 0)
		return 1;
	n = pattern_captures(p, row->line, state->n, found);
	for (size_t i = 0; i < n; i++)
		if (state->wanted[i] && found[i].n)
			fits &= fields_parsed(row->fields, p->captures[i].name, found[i]);
	if (!fits)
		fields_fail(row->fields, "PatternParserErr",
			"more than %d fields: the rest is left out", FIELDS_MAX);
	return 1;
}

static void format(const struct stage *s, struct buf *out)
{
	buf_c(out, "| pattern ");
	quote_go(out, ((const struct pattern_stage *)s)->text);
}

static const struct stage_type pattern_type = {
	.name = "pattern",
	.columns = SCAN_BODY,
	.only_adds = true,
	.wants = wants,
	.begin = begin,
	.end = free,
	.run = run,
	.format = format,
};

int pattern_new(struct query *q, struct str pattern, struct stage **out, struct error *e)
{
	struct pattern_stage *s = ARENA_NEW(&q->arena, struct pattern_stage);
	int r;

	s->stage.type = &pattern_type;
	s->text = pattern;
	if ((r = pattern_parse(&s->pattern, &q->arena, pattern, true, e)) < 0)
		return r;
	*out = &s->stage;
	return 0;
}
