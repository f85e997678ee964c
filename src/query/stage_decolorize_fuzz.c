/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a line: what is left was in it, in that order. */
#include <assert.h>

#include "query/ast.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fields *f = fields_new(NULL);
	struct pipe_row row = {.fields = f, .line = str_make(data, n)};
	struct query q = {0};
	struct stage *s;
	size_t at = 0;

	arena_init(&q.arena, NULL);
	fields_begin(f, STR_NONE, STR_NONE, NULL);
	s = decolorize_new(&q);
	assert(s->type->run(s, NULL, &row) == 1);
	assert(row.line.n <= n);
	for (size_t i = 0; i < row.line.n; i++, at++) {
		while (at < n && (char)data[at] != row.line.p[i])
			at++;
		assert(at < n);
	}
	fields_free(f);
	arena_fini(&q.arena);
	return 0;
}
