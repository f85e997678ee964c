/* SPDX-License-Identifier: Apache-2.0 */
#include "query/stage_rig.h"

/* Over {a="1", b="2"} with metadata {m="3"} and the parsed p="4". */
static void rows(void **state)
{
	static const char *const rows[][2] = {
		{"| drop a", "{b=\"2\", m=\"3\", p=\"4\"}"},
		{"| drop a, b, m, p", "{}"},
		{"| drop nothing", "{a=\"1\", b=\"2\", m=\"3\", p=\"4\"}"},
		{"| drop m", "{a=\"1\", b=\"2\", p=\"4\"}"},
		{"| drop p", "{a=\"1\", b=\"2\", m=\"3\"}"},
		{"| drop a=\"1\"", "{b=\"2\", m=\"3\", p=\"4\"}"},
		{"| drop a=\"2\"", "{a=\"1\", b=\"2\", m=\"3\", p=\"4\"}"},
		{"| drop a!=\"2\", b=~\"[0-9]\", m!~\"x\", p=\"5\"", "{p=\"4\"}"},
		{"| drop none!=\"x\"", "{a=\"1\", b=\"2\", m=\"3\", p=\"4\"}"},
		{"| drop none=\"\"", "{a=\"1\", b=\"2\", m=\"3\", p=\"4\"}"},
		{"| drop a | a=\"1\"", NULL},
		{"| drop a | a=\"\"", "{b=\"2\", m=\"3\", p=\"4\"}"},
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

static void errors_go(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g);
	assert_string_equal(rig_query(&g, "| a>1ms | drop __error__, __error_details__",
				    "{a=\"1\"}", "{}", "x"),
		"{a=\"1\"} x");
	rig_query(&g, "| a>1ms | drop __error_details__", "{a=\"1\"}", "{}", "x");
	assert_true(fields_failed(g.fields));
	rig_query(&g, "| a>1ms | drop __error__=\"JSONParserErr\"", "{a=\"1\"}", "{}", "x");
	assert_true(fields_failed(g.fields));
	rig_query(&g, "| a>1ms | drop __error__=~\"Label.*\"", "{a=\"1\"}", "{}", "x");
	assert_false(fields_failed(g.fields));
	rig_fini(&g);
}

static void canonical(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g);
	assert_string_equal(rig_canonical(&g, "|drop a,b = \"x\" , c=~`y`,d=\"\""),
		"| drop a, b=\"x\", c=~\"y\", d=\"\"");
	rig_fini(&g);
}

/* A parser need not find what is dropped. */
static void wanted_names(void **state)
{
	struct wanted behind = {.n = 2, .names = {STR("a"), STR("b")}}, w;
	struct query *q = NULL;

	(void)state;
	assert_int_equal(query_parse(&q, STR("{} | drop a, b=\"x\", c"), NULL), 0);
	w = stages_wanted(expr_log(q->root)->stages, &behind);
	assert_int_equal(w.n, 1);
	assert_true(wanted_has(&w, STR("b")));
	query_free(q);
}

/* Where nobody reads what goes away there is nothing to do. */
static void idleness(void **state)
{
	static const struct {
		const char *stages;
		bool idle; /* with a alone wanted behind */
	} rows[] = {{"| drop a", false}, {"| drop b", true}, {"| drop b, c=\"x\"", true},
		{"| drop b, a=\"x\"", false}, {"| drop __error__", false},
		{"| drop b, __error_details__", false}, {"| keep a", true}, {"| keep a, b", true},
		{"| keep b", false}, {"| keep a=\"x\"", false}, {"| decolorize", true},
		{"| decolorize |= \"x\"", false}, {"| decolorize | pattern \"<a>;\"", false}};
	struct wanted behind = {.n = 1, .names = {STR("a")}}, all = {.all = true, .line = true};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf text = {0};
		struct query *q = NULL;
		const struct stage *s;
		struct wanted w;
		buf_printf(&text, "{} %s", rows[i].stages);
		assert_int_equal(query_parse(&q, buf_view(&text), NULL), 0);
		s = expr_log(q->root)->stages;
		w = stages_wanted(s->next, &behind);
		if (s->type->idle(s, &w) != rows[i].idle)
			fail_msg("%s", rows[i].stages);
		assert_false(s->type->idle(s, &all));
		query_free(q);
		buf_fini(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows),
		cmocka_unit_test(errors_go),
		cmocka_unit_test(canonical),
		cmocka_unit_test(wanted_names),
		cmocka_unit_test(idleness),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
