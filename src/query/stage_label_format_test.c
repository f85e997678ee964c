/* SPDX-License-Identifier: Apache-2.0 */
#include "query/stage_rig.h"

/* Over {a="1", b="two"} with metadata {m="3"} and the line "x=5"; said is what the labels are. */
static void rows(void **state)
{
	static const char *const rows[][2] = {
		{"| label_format c=a", "{b=\"two\", c=\"1\", m=\"3\"}"},
		{"| label_format a=b", "{a=\"two\", m=\"3\"}"},
		{"| label_format a=a", "{a=\"1\", b=\"two\", m=\"3\"}"},
		{"| label_format c=none", "{a=\"1\", b=\"two\", m=\"3\"}"},
		{"| label_format a=none", "{a=\"1\", b=\"two\", m=\"3\"}"},
		{"| label_format c=m", "{a=\"1\", b=\"two\", c=\"3\"}"},
		{"| label_format c=`{{.a}}/{{.b}}`", "{a=\"1\", b=\"two\", c=\"1/two\", m=\"3\"}"},
		{"| label_format a=`{{.b}}`", "{a=\"two\", b=\"two\", m=\"3\"}"},
		{"| label_format m=`{{.m}}0`", "{a=\"1\", b=\"two\", m=\"30\"}"},
		{"| label_format c=`{{__line__}}`", "{a=\"1\", b=\"two\", c=\"x=5\", m=\"3\"}"},
		/* A label with an empty value is none. */
		{"| label_format a=``", "{b=\"two\", m=\"3\"}"},
		{"| label_format a=`{{.none}}`, c=`{{.none}}`", "{b=\"two\", m=\"3\"}"},
		/* From left to right. */
		{"| label_format c=a, d=`{{.c}}{{.a}}`", "{b=\"two\", c=\"1\", d=\"1\", m=\"3\"}"},
		{"| label_format c=`{{.a}}x`, d=c, e=d", "{a=\"1\", b=\"two\", e=\"1x\", m=\"3\"}"},
		{"| label_format c=a, a=b, b=c", "{a=\"two\", b=\"1\", m=\"3\"}"},
		{"| logfmt | label_format y=x | y > 4", "{a=\"1\", b=\"two\", m=\"3\", y=\"5\"}"},
		{"| label_format n=`{{add .a .m}}` | n = 4",
			"{a=\"1\", b=\"two\", m=\"3\", n=\"4\"}"},
		/* What fails leaves its label, and those behind go on. */
		{"| label_format a=`{{div .a 0}}`, c=b | drop __error_details__",
			"{__error__=\"TemplateFormatErr\", a=\"1\", c=\"two\", m=\"3\"}"},
	};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf want = {0};
		buf_printf(&want, "%s x=5", rows[i][1]);
		assert_string_equal(
			rig_query(&g, rows[i][0], "{a=\"1\", b=\"two\"}", "{m=\"3\"}", "x=5"),
			buf_cstr(&want));
		buf_fini(&want);
	}
	rig_fini(&g);
}

static void canonical(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g);
	assert_string_equal(rig_canonical(&g, "|label_format a = b,c=`{{.d}}`"),
		"| label_format a=b, c=\"{{.d}}\"");
	rig_fini(&g);
}

static void refused(void **state)
{
	struct query *q = NULL;
	struct error e = {0};

	(void)state;
	assert_int_equal(query_parse(&q, STR("{a=\"b\"} | label_format a=b, a=`x`"), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "multiple label name 'a' not allowed"));
	assert_int_equal(query_parse(&q, STR("{a=\"b\"} | label_format a=`{{`"), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "unclosed action"));
}

/* What is wanted in front, with blanks between; `behind` is wanted behind. */
static void check_wanted(const char *stages, const char *behind, const char *before)
{
	struct wanted w = {0};
	struct str rest = str_c(behind);
	struct buf text = {0};
	struct query *q = NULL;

	while (rest.n)
		wanted_add(&w, str_cut(&rest, ' '));
	buf_printf(&text, "{} %s", stages);
	assert_int_equal(query_parse(&q, buf_view(&text), NULL), 0);
	w = stages_wanted(expr_log(q->root)->stages, &w);
	buf_clear(&text);
	for (size_t i = 0; i < w.n; i++)
		buf_printf(&text, "%s%.*s", i ? " " : "", STR_ARG(w.names[i]));
	assert_string_equal(buf_cstr(&text), before);
	query_free(q);
	buf_fini(&text);
}

static void wanted_names(void **state)
{
	(void)state;
	check_wanted("| label_format a=b", "a", "a b");
	check_wanted("| label_format a=b", "c", "c");
	check_wanted("| label_format a=b", "b", "");
	check_wanted("| label_format a=`{{.b}}{{.c}}`", "a d", "d b c");
	check_wanted("| label_format a=`{{.b}}{{.c}}`", "d", "d");
	check_wanted("| label_format a=`{{div .b .c}}`", "d", "d b c");
	check_wanted("| label_format a=`{{.b}}`, c=`{{.a}}`", "c", "b");
}

/* Without all that nobody wants the answer is the same. */
static void left_out(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g);
	g.wanted = (struct wanted){.n = 1, .names = {STR("c")}};
	assert_string_equal(
		rig_query(&g, "| label_format x=`{{.a}}`, d=a, c=`{{.d}}`", "{a=\"1\"}", "{}", "l"),
		"{c=\"1\", d=\"1\"} l");
	/* The name that goes away is as good as read. */
	g.wanted = (struct wanted){.n = 1, .names = {STR("a")}};
	assert_string_equal(
		rig_query(&g, "| label_format d=a", "{a=\"1\"}", "{}", "l"), "{d=\"1\"} l");
	rig_fini(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows),
		cmocka_unit_test(canonical),
		cmocka_unit_test(refused),
		cmocka_unit_test(wanted_names),
		cmocka_unit_test(left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
