/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* For tests of single stages: a query's arena, and a row with its fields told as text. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "query/ast.h"
#include "query/pipeline.h"
#include "query/query.h"

struct rig {
	struct query query;
	struct fields *fields;
	struct wanted wanted; /* of the pipeline's end: all, unless changed */
	struct labels_builder builder;
	struct buf labels, meta, line, out;
};

static inline void rig_init(struct rig *g)
{
	*g = (struct rig){.wanted = {.all = true, .line = true}};
	arena_init(&g->query.arena, NULL);
	g->fields = fields_new(NULL);
}

static inline void rig_fini(struct rig *g)
{
	for (struct owned_regex *r = g->query.regexes; r; r = r->next)
		regex_free(r->regex);
	arena_fini(&g->query.arena);
	fields_free(g->fields);
	labels_builder_fini(&g->builder);
	buf_fini(&g->labels);
	buf_fini(&g->meta);
	buf_fini(&g->line);
	buf_fini(&g->out);
}

static inline void rig_labels(struct rig *g, const char *text, struct buf *out)
{
	struct error e = {0};

	labels_builder_clear(&g->builder);
	if (labels_parse(&g->builder, str_c(text), &e) < 0)
		fail_msg("%s: %s", text, e.text);
	buf_clear(out);
	labels_builder_write(&g->builder, out);
}

/* Begin a row of the stream `labels` ("{a=\"b\"}"), with metadata likewise. */
static inline struct pipe_row rig_row(
	struct rig *g, const char *labels, const char *meta, struct str line)
{
	rig_labels(g, labels, &g->labels);
	rig_labels(g, meta, &g->meta);
	fields_begin(g->fields, buf_view(&g->labels), buf_view(&g->meta), NULL);
	return (struct pipe_row){.fields = g->fields, .line = line};
}

static inline void rig_tell(struct rig *g, const struct pipe_row *row)
{
	struct buf all = {0};

	fields_write_all(row->fields, &all);
	labels_text(&g->out, buf_view(&all));
	buf_char(&g->out, ' ');
	buf_str(&g->out, row->line);
	buf_fini(&all);
}

static inline int rig_out(void *ctx, struct pipe_row *row)
{
	struct rig *g = ctx;

	if (g->out.n)
		buf_char(&g->out, '\n');
	rig_tell(g, row);
	return 0;
}

/* What comes out of the stages from `first` on: "{a=\"b\"} line", one a line; "" for nothing. */
static inline const char *rig_run(struct rig *g, const struct stage *first, const char *labels,
	const char *meta, struct str line)
{
	struct pipeline *p = pipeline_new(first, &g->wanted, NULL);
	struct pipe_row row = rig_row(g, labels, meta, line);

	buf_clear(&g->out);
	assert_int_equal(pipeline_each(p, &row, rig_out, g), 0);
	pipeline_free(p);
	return buf_cstr(&g->out);
}

static inline const char *rig_format(struct rig *g, const struct stage *s)
{
	buf_clear(&g->out);
	s->type->format(s, &g->out);
	return buf_cstr(&g->out);
}

/* The same of stages as a user writes them: "| drop a". */
static inline const char *rig_query(
	struct rig *g, const char *stages, const char *labels, const char *meta, const char *line)
{
	struct query *q = NULL;
	struct error e = {0};

	buf_clear(&g->line);
	buf_printf(&g->line, "{} %s", stages);
	if (query_parse(&q, buf_view(&g->line), &e) < 0)
		fail_msg("%s: %s", stages, e.text);
	rig_run(g, expr_log(q->root)->stages, labels, meta, str_c(line));
	query_free(q);
	return buf_cstr(&g->out);
}

/* The canonical text of the first stage. */
static inline const char *rig_canonical(struct rig *g, const char *stages)
{
	struct query *q = NULL;
	struct error e = {0};

	buf_clear(&g->line);
	buf_printf(&g->line, "{} %s", stages);
	if (query_parse(&q, buf_view(&g->line), &e) < 0)
		fail_msg("%s: %s", stages, e.text);
	rig_format(g, expr_log(q->root)->stages);
	query_free(q);
	return buf_cstr(&g->out);
}
