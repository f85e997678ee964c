/* SPDX-License-Identifier: Apache-2.0 */
/* The first line of the input is an expression, the rest a line of a log. */
#include <assert.h>

#include "codec/regex.h"
#include "query/ast.h"
#include "query/pipeline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct wanted all = {.all = true, .line = true};
	struct str line = str_make(data, n), text = str_cut(&line, '\n');
	struct query q = {0};
	struct stage *s = NULL;
	struct error e = {0};

	arena_init(&q.arena, NULL);
	if (regexp_new(&q, text, &s, &e) == 0) {
		struct fields *f = fields_new(NULL);
		struct pipeline *p = pipeline_new(s, &all, NULL);
		struct pipe_row row = {.fields = f, .line = line};
		const struct label *l;
		size_t at = 0;
		int r;
		fields_begin(f, STR_NONE, STR_NONE, NULL);
		r = pipeline_run(p, &row);
		assert(r == 1 || r == ERR_LIMIT);
		while ((l = fields_next(f, &at)))
			assert(l->value.p >= line.p && l->value.p + l->value.n <= line.p + line.n);
		pipeline_free(p);
		fields_free(f);
	} else {
		assert(e.code < 0 && e.text[0]);
	}
	for (struct owned_regex *r = q.regexes; r; r = r->next)
		regex_free(r->regex);
	arena_fini(&q.arena);
	return 0;
}
