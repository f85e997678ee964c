/* SPDX-License-Identifier: Apache-2.0 */
/* The first line of the input is a pattern, the rest a line of a log. */
#include <assert.h>

#include "query/ast.h"
#include "query/pattern.h"
#include "query/pipeline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void extract(struct query *q, struct str text, struct str line)
{
	static const struct wanted all = {.all = true, .line = true};
	struct fields *f = fields_new(NULL);
	struct stage *s = NULL;
	struct error e = {0};

	if (pattern_new(q, text, &s, &e) == 0) {
		struct pipeline *p = pipeline_new(s, &all, NULL);
		struct pipe_row row = {.fields = f, .line = line};
		const struct label *l;
		size_t at = 0, kept = 0;
		fields_begin(f, STR_NONE, STR_NONE, NULL);
		assert(pipeline_run(p, &row) == 1);
		while ((l = fields_next(f, &at))) {
			assert(l->value.n && l->value.p >= line.p);
			kept += l->value.n;
		}
		assert(kept <= line.n);
		pipeline_free(p);
	} else {
		assert(e.code == ERR_ARG && e.text[0]);
	}
	fields_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str rest = str_make(data, n), text = str_cut(&rest, '\n');
	struct query q = {0};
	struct pattern p;

	arena_init(&q.arena, NULL);
	extract(&q, text, rest);
	if (pattern_parse(&p, &q.arena, text, false, NULL) == 0 && pattern_matches(&p, rest)) {
		assert(str_find(rest, pattern_needle(&p)) >= 0);
		for (size_t i = 0; i < p.n; i++)
			assert(str_find(rest, p.captures[i].literal) >= 0);
	}
	arena_fini(&q.arena);
	return 0;
}
