/* SPDX-License-Identifier: Apache-2.0 */
#include "query/stage_rig.h"

/* Over {a="1", b="two"} with metadata {m="3"} and the line "x=5 y=z". */
static void rows(void **state)
{
	static const char *const rows[][2] = {
		{"| line_format `{{.a}}-{{.b}}-{{.m}}-{{.none}}`",
			"{a=\"1\", b=\"two\", m=\"3\"} 1-two-3-"},
		{"| line_format \"{{.b}}\"", "{a=\"1\", b=\"two\", m=\"3\"} two"},
		{"| line_format `{{__line__}}`", "{a=\"1\", b=\"two\", m=\"3\"} x=5 y=z"},
		{"| line_format `<{{__line__ | upper}}>`",
			"{a=\"1\", b=\"two\", m=\"3\"} <X=5 Y=Z>"},
		{"| line_format ``", "{a=\"1\", b=\"two\", m=\"3\"} "},
		{"| line_format `{{.b}}` | line_format `[{{__line__}}]`",
			"{a=\"1\", b=\"two\", m=\"3\"} [two]"},
		/* A parser behind reads the new line. */
		{"| line_format `k={{.b}}` | logfmt",
			"{a=\"1\", b=\"two\", k=\"two\", m=\"3\"} k=two"},
		{"| logfmt | line_format `{{.y}}{{.x}}`",
			"{a=\"1\", b=\"two\", m=\"3\", x=\"5\", y=\"z\"} z5"},
		{"| line_format `new` |= `new`", "{a=\"1\", b=\"two\", m=\"3\"} new"},
		{"| line_format `new` |= `x=5`", ""},
		/* A template that fails leaves the line. */
		{"| line_format `{{div .a 0}}` | drop __error_details__",
			"{__error__=\"TemplateFormatErr\", a=\"1\", b=\"two\", m=\"3\"} x=5 y=z"},
		{"| line_format `{{.b}}` | line_format `{{div .a 0}}` | drop __error__, __error_details__",
			"{a=\"1\", b=\"two\", m=\"3\"} two"},
		{"| line_format `{{div .a 0}}` | __error__=``", ""},
		{"| line_format `{{div .a 0}}` | drop a, b, m, __error__",
			"{__error_details__=\"template: :1:2: executing \\\"\\\" at <div .a 0>: error "
			"calling div: runtime error: integer divide by zero\"} x=5 y=z"},
	};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_string_equal(
			rig_query(&g, rows[i][0], "{a=\"1\", b=\"two\"}", "{m=\"3\"}", "x=5 y=z"),
			rows[i][1]);
	rig_fini(&g);
}

static void canonical(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g);
	assert_string_equal(rig_canonical(&g, "|line_format   `a \"{{.b}}\"`"),
		"| line_format \"a \\\"{{.b}}\\\"\"");
	rig_fini(&g);
}

static void bad_template(void **state)
{
	struct query *q = NULL;
	struct error e = {0};

	(void)state;
	assert_int_equal(query_parse(&q, STR("{a=\"b\"} | line_format `{{.x`"), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "invalid line template: template: :1: unclosed action"));
	assert_int_equal(query_parse(&q, STR("{a=\"b\"} | line_format `{{x}}`"), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "function \"x\" not defined"));
}

static struct wanted wanted_before(
	const char *stages, const struct wanted *behind, unsigned *columns)
{
	struct buf text = {0};
	struct query *q = NULL;
	static struct wanted w;
	static char names[WANTED_MAX][32];

	buf_printf(&text, "{} %s", stages);
	assert_int_equal(query_parse(&q, buf_view(&text), NULL), 0);
	w = stages_wanted(expr_log(q->root)->stages, behind);
	*columns = expr_log(q->root)->stages->type->columns;
	/* Names are views into the query. */
	for (size_t i = 0; i < w.n; i++)
		w.names[i] = str_c(str_copy(w.names[i], names[i], sizeof names[i]));
	query_free(q);
	buf_fini(&text);
	return w;
}

static void wanted_names(void **state)
{
	static const struct wanted line = {.line = true}, nothing = {0};
	unsigned columns;
	struct wanted w;

	(void)state;
	w = wanted_before("| line_format `{{.a}} {{.b | upper}}`", &line, &columns);
	assert_true(w.n == 2 && w.line && !w.all);
	assert_int_equal(columns, SCAN_BODY);
	w = wanted_before("| line_format `{{.a}} {{.b}}`", &line, &columns);
	assert_true(w.n == 2 && !w.line && !w.all);
	assert_int_equal(columns, 0);
	w = wanted_before("| line_format `{{__line__}}`", &line, &columns);
	assert_true(w.n == 0 && w.line);
	assert_int_equal(columns, SCAN_BODY);
	/* Nobody reads the line: only what can fail is still of interest. */
	w = wanted_before("| line_format `{{.a}}`", &nothing, &columns);
	assert_true(w.n == 0 && !w.line);
	w = wanted_before("| line_format `{{div .a .b}}`", &nothing, &columns);
	assert_true(w.n == 2);
	w = wanted_before("| line_format `{{.}}`", &line, &columns);
	assert_true(w.all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows),
		cmocka_unit_test(canonical),
		cmocka_unit_test(bad_template),
		cmocka_unit_test(wanted_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
