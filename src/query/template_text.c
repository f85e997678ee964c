/* SPDX-License-Identifier: Apache-2.0 */
#include "query/template_text.h"

#include <stdlib.h>

#include "base/memory.h"
#include "query/ast.h"
#include "query/fields.h"
#include "query/query.h"
#include "query/template_tree.h"

struct template_text {
	struct query *holder; /* the arena and the regexes */
	struct template_program *program;
	struct template_run *run;
	struct fields *fields;
};

/* In the order of `values` in template_text_run. */
static const char *const variables[] = {
	"$externalLabels", "$externalURL", "$labels", "$value", NULL};

static const struct template_dialect dialect = {template_humanize, variables};

int template_text_new(struct template_text **out, struct str text, struct error *e)
{
	struct template_text *t = xcalloc(1, sizeof *t);
	int r;

	t->holder = xcalloc(1, sizeof *t->holder);
	arena_init(&t->holder->arena, NULL);
	t->run = template_run_new(NULL);
	t->fields = fields_new(NULL);
	t->program = ARENA_NEW(&t->holder->arena, struct template_program);
	t->program->text = arena_str(&t->holder->arena, text);
	t->program->dialect = &dialect;
	r = text.n <= TEMPLATE_TEXT_MAX
		    ? template_tree_parse(t->program, t->holder, e)
		    : error_set(e, ERR_LIMIT, "a template of %zu bytes; at most %d are allowed",
			      text.n, TEMPLATE_TEXT_MAX);
	if (r < 0) {
		template_text_free(t);
		return r;
	}
	*out = t;
	return 0;
}

void template_text_free(struct template_text *t)
{
	if (!t)
		return;
	template_run_free(t->run);
	fields_free(t->fields);
	query_free(t->holder);
	free(t);
}

int template_text_run(struct template_text *t, const struct template_about *about, struct str *out,
	struct error *e)
{
	const struct datum values[] = {{.kind = DATUM_MAP}, datum_string(about->external_url),
		{.kind = DATUM_ROW}, datum_float(about->value)};
	/* Sorted by key. */
	const struct datum_pair pairs[] = {{STR("ExternalLabels"), values[0]},
		{STR("ExternalURL"), values[1]}, {STR("Labels"), values[2]},
		{STR("Value"), values[3]}};
	const struct datum dot = {.kind = DATUM_MAP, .map = {pairs, sizeof pairs / sizeof *pairs}};

	fields_begin(t->fields, about->labels, STR_NONE, NULL);
	return template_execute_over(t->program, t->run, t->fields, &dot, values, out, e);
}
