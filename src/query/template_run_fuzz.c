/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a template, those behind a NUL as the line and a label: compiling
 * gives a program or a sentence; running ends, in an output within its limit or
 * a sentence; and a row with the fields alone that the program says it reads
 * gives what the whole row gives.
 */
#include <assert.h>

#include "query/ast.h"
#include "query/template.h"
#include "record/labels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const labels[][2] = {
	{"a", "x y"},
	{"b", "42"},
	{"c", "-1.5e3"},
	{"d", "1h30m"},
	{"e", "2021-11-02T10:20:30.5+02:00"},
	{"f", "1679577215"},
	{"g", "Gr\xc3\xb6\xc3\x9f"
	      "e\xff"},
	{"j", "{\"a\":{\"b\":[1,null,\"s\",{}]},\"c\":true}"},
	{"l", "[3,2,1]"},
};

struct outcome {
	int code;
	struct buf text;
};

/* Nothing else makes outcomes differ. */
static bool has_clock(struct str text)
{
	return str_find(text, STR("now")) >= 0;
}

static void run(const struct template_program *t, const struct wanted *only, struct str line,
	struct outcome *out)
{
	struct labels_builder builder = {0};
	struct fields *f = fields_new(NULL);
	struct template_run *r = template_run_new(NULL);
	struct buf set = {0};
	struct str text;
	struct error e;

	for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
		if (!only || wanted_has(only, str_c(labels[i][0])))
			labels_builder_set(
				&builder, str_c(labels[i][0]), str_c(labels[i][1]), NULL);
	if (line.n && (!only || wanted_has(only, STR("z"))))
		labels_builder_set(&builder, STR("z"), str_sub(line, 0, LABEL_VALUE_MAX), NULL);
	labels_builder_write(&builder, &set);
	/* A second row on the same run is as the first. */
	for (int i = 0; i < 2; i++) {
		fields_begin(f, buf_view(&set), STR_NONE, NULL);
		e = (struct error){0};
		text = STR_NONE;
		out->code =
			template_execute(t, r, f, line, INT64_C(1679577215123456789), &text, &e);
		if (out->code < 0)
			text = str_c(e.text);
		assert(out->code == 0 || (out->code == e.code && e.text[0]));
		assert(text.n <= TEMPLATE_OUT_MAX);
	}
	buf_str(&out->text, text);
	template_run_free(r);
	fields_free(f);
	labels_builder_fini(&builder);
	buf_fini(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str line = str_make(data, n), text = str_cut(&line, '\0');
	struct query q = {0};
	struct template_program *t = NULL;
	struct outcome whole = {0}, part = {0};
	struct wanted w = {0};
	struct error e = {0};

	arena_init(&q.arena, NULL);
	if (template_compile(&t, &q, text, &e) < 0) {
		assert(e.code < 0 && e.text[0]);
		goto end;
	}
	template_wants(t, &w);
	run(t, NULL, line, &whole);
	run(t, &w, line, &part);
	if (!has_clock(text)) {
		assert(whole.code == part.code);
		assert(str_eq(buf_view(&whole.text), buf_view(&part.text)));
	}
	if (template_cannot_fail(t))
		assert(whole.code == 0);
end:
	while (q.regexes) {
		regex_free(q.regexes->regex);
		q.regexes = q.regexes->next;
	}
	arena_fini(&q.arena);
	buf_fini(&whole.text);
	buf_fini(&part.text);
	return 0;
}
