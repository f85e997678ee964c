/* SPDX-License-Identifier: Apache-2.0 */
/*
 * | label_format a=b, c="{{.a}} …": from left to right, each seeing what those
 * before it did.  `a=b` renames b to a, and does nothing where there is no b; a
 * template that fails leaves its label as it was, and the row has the error
 * TemplateFormatErr.
 *
 * An assignment that nobody reads, and that cannot fail, is left out.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "query/ast.h"
#include "query/quote.h"
#include "query/template.h"

struct assignment {
	struct str name, value;
	struct template_program *program; /* NULL: value is the name of a label */
};

struct label_format {
	struct stage stage;
	struct assignment *list;
	size_t n;
};

struct state {
	struct template_run *run;
	bool needed[];
};

/* Turn what is wanted behind an assignment into what is before it; is it needed at all? */
static bool assignment_wants(const struct assignment *a, struct wanted *w)
{
	bool wanted = wanted_has(w, a->name) || str_starts(a->name, STR("__error"));
	bool sure = a->program && template_cannot_fail(a->program);

	if (!a->program) {
		bool hides = wanted_has(w, a->value);
		wanted_remove(w, a->value);
		/* Where there is no such label, what is under the name now stays. */
		if (wanted)
			wanted_add(w, a->value);
		return wanted || hides;
	}
	if (!wanted && sure)
		return false;
	if (sure)
		wanted_remove(w, a->name);
	template_wants(a->program, w);
	return true;
}

static void wants(const struct stage *s, struct wanted *w)
{
	const struct label_format *f = (const struct label_format *)s;

	for (size_t i = f->n; i-- > 0;)
		assignment_wants(&f->list[i], w);
}

static bool idle(const struct stage *s, const struct wanted *behind)
{
	const struct label_format *f = (const struct label_format *)s;
	struct wanted w = *behind;

	for (size_t i = f->n; i-- > 0;)
		if (assignment_wants(&f->list[i], &w))
			return false;
	return true;
}

static void *begin(const struct stage *s, const struct wanted *behind, struct account *a)
{
	const struct label_format *f = (const struct label_format *)s;
	struct state *state = xcalloc(1, sizeof *state + f->n * sizeof *state->needed);
	struct wanted w = *behind;

	state->run = template_run_new(a);
	for (size_t i = f->n; i-- > 0;)
		state->needed[i] = assignment_wants(&f->list[i], &w);
	return state;
}

static void end(void *p)
{
	struct state *state = p;

	template_run_free(state->run);
	free(state);
}

/* A label with an empty value is none. */
static void set(struct fields *f, struct str name, struct str value)
{
	if (value.n == 0)
		fields_remove(f, name);
	else
		fields_set(f, name, value);
}

static void assign_label(const struct assignment *a, struct fields *f)
{
	struct str value;

	if (str_eq(a->name, a->value) || !fields_get(f, a->value, &value))
		return;
	fields_remove(f, a->value);
	set(f, a->name, value);
}

static void assign_template(
	const struct assignment *a, struct template_run *run, struct pipe_row *row)
{
	struct error e = {0};
	struct str value;
	char *text;

	if (template_execute(a->program, run, row->fields, row->line, row->timestamp, &value, &e) <
		0) {
		fields_fail(row->fields, "TemplateFormatErr", "%s", e.text);
		return;
	}
	if (value.n) {
		text = fields_text(row->fields, value.n);
		memcpy(text, value.p, value.n);
		value.p = text;
	}
	set(row->fields, a->name, value);
}

static int run(const struct stage *s, void *p, struct pipe_row *row)
{
	const struct label_format *f = (const struct label_format *)s;
	struct state *state = p;

	for (size_t i = 0; i < f->n; i++) {
		if (!state->needed[i])
			continue;
		if (f->list[i].program)
			assign_template(&f->list[i], state->run, row);
		else
			assign_label(&f->list[i], row->fields);
	}
	return 1;
}

static void format(const struct stage *s, struct buf *out)
{
	const struct label_format *f = (const struct label_format *)s;

	buf_c(out, "| label_format ");
	for (size_t i = 0; i < f->n; i++) {
		buf_c(out, i ? ", " : "");
		buf_str(out, f->list[i].name);
		buf_char(out, '=');
		if (f->list[i].program)
			quote_go(out, f->list[i].value);
		else
			buf_str(out, f->list[i].value);
	}
}

#define TYPE(columns_)                                                                             \
	{                                                                                          \
		.name = "label_format", .columns = (columns_), .idle = idle, .wants = wants,       \
		.begin = begin, .end = end, .run = run, .format = format,                          \
	}

/* With __line__ in a template, and without. */
static const struct stage_type label_format_reads = TYPE(SCAN_BODY), label_format = TYPE(0);

static int check_once(const struct label_assignment *list, size_t n, size_t i, struct error *e)
{
	for (size_t j = i + 1; j < n; j++)
		if (str_eq(list[i].name, list[j].name))
			return error_set(e, ERR_ARG,
				"multiple label name '%.*s' not allowed in a single format operation",
				STR_ARG(list[i].name));
	return 0;
}

int label_format_new(struct query *q, const struct label_assignment *list, size_t n,
	struct stage **out, struct error *e)
{
	struct label_format *f = ARENA_NEW(&q->arena, struct label_format);
	struct wanted reads = {0};
	int r;

	f->list = ARENA_ARRAY(&q->arena, struct assignment, n);
	f->n = n;
	for (size_t i = 0; i < n; i++) {
		struct assignment *a = &f->list[i];
		if ((r = check_once(list, n, i, e)) < 0)
			return r;
		*a = (struct assignment){list[i].name, list[i].value, NULL};
		if (!list[i].is_template)
			continue;
		if ((r = template_compile(&a->program, q, a->value, e)) < 0)
			return error_wrap(
				e, r, "invalid template for label '%.*s'", STR_ARG(a->name));
		template_wants(a->program, &reads);
	}
	f->stage.type = reads.line ? &label_format_reads : &label_format;
	*out = &f->stage;
	return 0;
}
