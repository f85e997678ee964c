/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line becomes what the template makes of the row.  Where that fails the
 * line stays as it is and the row has the error TemplateFormatErr.
 */
#include "query/ast.h"
#include "query/quote.h"
#include "query/template.h"

struct line_format {
	struct stage stage;
	struct str text;
	struct template_program *program;
};

/* Nobody reads the line, and nothing can go wrong. */
static bool idle(const struct stage *s, const struct wanted *behind)
{
	return !behind->line && template_cannot_fail(((const struct line_format *)s)->program);
}

static void wants(const struct stage *s, struct wanted *w)
{
	const struct line_format *f = (const struct line_format *)s;

	if (idle(s, w))
		return;
	/* Where it fails, what is read behind is the line in front. */
	if (template_cannot_fail(f->program))
		w->line = false;
	template_wants(f->program, w);
}

static void *begin(const struct stage *s, const struct wanted *behind, struct account *a)
{
	return template_run_new(a);
}

static void end(void *state)
{
	template_run_free(state);
}

static int run(const struct stage *s, void *state, struct pipe_row *row)
{
	const struct line_format *f = (const struct line_format *)s;
	struct error e = {0};
	struct str line;

	if (template_execute(f->program, state, row->fields, row->line, row->timestamp, &line, &e) <
		0)
		fields_fail(row->fields, "TemplateFormatErr", "%s", e.text);
	else
		row->line = line;
	return 1;
}

static void format(const struct stage *s, struct buf *out)
{
	buf_c(out, "| line_format ");
	quote_go(out, ((const struct line_format *)s)->text);
}

#define TYPE(columns_)                                                                             \
	{                                                                                          \
		.name = "line_format", .columns = (columns_), .changes_line = true, .idle = idle,  \
		.wants = wants, .begin = begin, .end = end, .run = run, .format = format,          \
	}

/* One that reads the stored line, or leaves it in place where it fails, and one that does not. */
static const struct stage_type line_format_reads = TYPE(SCAN_BODY), line_format = TYPE(0);

int stage_line_format_new(struct query *q, struct str text, struct stage **out, struct error *e)
{
	struct line_format *f = ARENA_NEW(&q->arena, struct line_format);
	struct wanted reads = {0};
	int r;

	f->text = text;
	if ((r = template_compile(&f->program, q, text, e)) < 0)
		return error_wrap(e, r, "invalid line template");
	template_wants(f->program, &reads);
	f->stage.type =
		reads.line || !template_cannot_fail(f->program) ? &line_format_reads : &line_format;
	*out = &f->stage;
	return 0;
}
