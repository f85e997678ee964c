/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * For tests of parsers: one stage over single lines.  Aborts where a test could
 * not go on.
 */
#include <assert.h>

#include "query/ast.h"
#include "query/pipeline.h"

struct parser_rig {
	struct query query;
	struct stage *stage;
	struct pipeline *pipeline;
	struct fields *fields;
	struct buf labels, meta, text;
	struct str line; /* after the stage */
};

static inline void rig_init(struct parser_rig *r)
{
	*r = (struct parser_rig){0};
	arena_init(&r->query.arena, NULL);
	r->fields = fields_new(NULL);
}

/* `wanted`: names separated by blanks, NULL for all. */
static inline void rig_stage(struct parser_rig *r, struct stage *s, const char *wanted)
{
	struct wanted w = {.all = wanted == NULL, .line = true};
	struct str rest = str_c(wanted);

	while (rest.n) {
		struct str name = str_cut(&rest, ' ');
		if (name.n)
			wanted_add(&w, name);
	}
	pipeline_free(r->pipeline);
	r->stage = s;
	r->pipeline = pipeline_new(s, &w, NULL);
}

static inline void rig_canonical(struct buf *out, const char *text)
{
	struct labels_builder b = {.names_free = true};
	int failed = labels_parse(&b, str_c(text), NULL);

	assert(failed == 0);
	buf_clear(out);
	labels_builder_write(&b, out);
	labels_builder_fini(&b);
}

/* What the stage returned; the row's fields stay to be asked. */
static inline int rig_run(
	struct parser_rig *r, const char *labels, const char *meta, struct str line)
{
	struct pipe_row row = {.fields = r->fields, .line = line};
	int kept;

	rig_canonical(&r->labels, labels);
	rig_canonical(&r->meta, meta);
	fields_begin(r->fields, buf_view(&r->labels), buf_view(&r->meta), NULL);
	kept = pipeline_run(r->pipeline, &row);
	r->line = row.line;
	return kept;
}

/* The parsed labels as {a="b", c="d"}. */
static inline const char *rig_parsed(struct parser_rig *r)
{
	struct buf set = {0};

	fields_write(r->fields, FIELD_PARSED, &set);
	buf_clear(&r->text);
	labels_text(&r->text, buf_view(&set));
	buf_fini(&set);
	return buf_cstr(&r->text);
}

/* Likewise all labels that count. */
static inline const char *rig_all(struct parser_rig *r)
{
	struct buf set = {0};

	fields_write_all(r->fields, &set);
	buf_clear(&r->text);
	labels_text(&r->text, buf_view(&set));
	buf_fini(&set);
	return buf_cstr(&r->text);
}

static inline const char *rig_format(struct parser_rig *r)
{
	buf_clear(&r->text);
	r->stage->type->format(r->stage, &r->text);
	return buf_cstr(&r->text);
}

static inline void rig_fini(struct parser_rig *r)
{
	pipeline_free(r->pipeline);
	fields_free(r->fields);
	arena_fini(&r->query.arena);
	buf_fini(&r->labels);
	buf_fini(&r->meta);
	buf_fini(&r->text);
}
