/* SPDX-License-Identifier: Apache-2.0 */
#include "query/stage_rig.h"

/* Over {a="1", b="2"} with metadata {m="3"} and the parsed p="4". */
static void rows(void **state)
{
	static const char *const rows[][2] = {
		{"| keep a", "{a=\"1\"}"},
		{"| keep a, b, m, p", "{a=\"1\", b=\"2\", m=\"3\", p=\"4\"}"},
		{"| keep nothing", "{}"},
		{"| keep m, p", "{m=\"3\", p=\"4\"}"},
		{"| keep a=\"1\", b=\"1\"", "{a=\"1\"}"},
		{"| keep a!=\"2\", b=~\"[0-9]\", m!~\"x\", p=\"5\"", "{a=\"1\", b=\"2\", m=\"3\"}"},
		{"| keep b=\"1\", b=\"2\"", "{b=\"2\"}"},
		{"| keep a | b=\"2\"", NULL},
		{"| keep a | b=\"\"", "{a=\"1\"}"},
		{"| keep a, p | drop a", "{p=\"4\"}"},
	};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf stages = {0}, want = {0};
		buf_printf(&stages, "| pattern \"<p>;<_>\" %s", rows[i][0]);
		if (rows[i][1])
			buf_printf(&want, "%s 4;", rows[i][1]);
		assert_string_equal(
			rig_query(&g, buf_cstr(&stages), "{a=\"1\", b=\"2\"}", "{m=\"3\"}", "4;"),
			buf_cstr(&want));
		buf_fini(&stages);
		buf_fini(&want);
	}
	rig_fini(&g);
}

static void errors_stay(void **state)
{
	struct str details;
	struct rig g;

	(void)state;
	rig_init(&g);
	rig_query(&g, "| a>1ms | keep b", "{a=\"1\", b=\"2\"}", "{}", "x");
	assert_true(fields_failed(g.fields));
	assert_true(fields_get(g.fields, STR("__error_details__"), &details));
	assert_false(fields_get(g.fields, STR("a"), &details));
	rig_fini(&g);
}

static void canonical(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g);
	assert_string_equal(
		rig_canonical(&g, "|keep a,b = \"x\" , c=~`y`"), "| keep a, b=\"x\", c=~\"y\"");
	rig_fini(&g);
}

/* A parser finds what is kept and nothing else, also where all is wanted at the end. */
static void wanted_names(void **state)
{
	struct wanted all = {.all = true, .line = true},
		      some = {.n = 3, .names = {STR("a"), STR("x"), STR("__error__")}}, w;
	struct query *q = NULL;

	(void)state;
	assert_int_equal(query_parse(&q, STR("{} | keep a, b=\"x\""), NULL), 0);
	w = stages_wanted(expr_log(q->root)->stages, &all);
	assert_false(w.all);
	assert_true(w.line);
	assert_int_equal(w.n, 2);
	w = stages_wanted(expr_log(q->root)->stages, &some);
	assert_int_equal(w.n, 2);
	assert_true(wanted_has(&w, STR("a")) && wanted_has(&w, STR("__error__")));
	query_free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows),
		cmocka_unit_test(errors_stay),
		cmocka_unit_test(canonical),
		cmocka_unit_test(wanted_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
