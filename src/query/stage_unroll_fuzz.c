/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the label that is unrolled, twice: every row that comes out can be written. */
#include <assert.h>

#include "query/ast.h"
#include "query/pipeline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int out(void *ctx, struct pipe_row *row)
{
	struct buf *text = ctx;

	buf_clear(text);
	fields_write_all(row->fields, text);
	assert(text->n > 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct wanted all = {.all = true, .line = true};
	struct fields *f = fields_new(NULL);
	struct pipe_row row = {.fields = f};
	struct query q = {0};
	struct buf text = {0};
	struct pipeline *p;
	struct stage *s;

	arena_init(&q.arena, NULL);
	s = unroll_new(&q, STR("v"));
	s->next = unroll_new(&q, STR("v"));
	p = pipeline_new(s, &all, NULL);
	fields_begin(f, STR_NONE, STR_NONE, NULL);
	assert(fields_set(f, STR("v"), str_make(data, n)));
	assert(pipeline_each(p, &row, out, &text) == 0);
	pipeline_free(p);
	fields_free(f);
	buf_fini(&text);
	arena_fini(&q.arena);
	return 0;
}
