/* SPDX-License-Identifier: Apache-2.0 */
#include "query/stage_rig.h"

/* Over the stream {app="s"} with the row's label v as given; the line is "x". */
static void rows(void **state)
{
	static const char *const rows[][2] = {
		{"[\"a\",\"b\"]", "{app=\"s\", v=\"a\"} x\n{app=\"s\", v=\"b\"} x"},
		{"[]", ""},
		{" [ 1 , -2.50e1 , true , false ] ",
			"{app=\"s\", v=\"1\"} x\n{app=\"s\", v=\"-2.50e1\"} x\n"
			"{app=\"s\", v=\"true\"} x\n{app=\"s\", v=\"false\"} x"},
		{"[null,\"\"]", "{app=\"s\"} x\n{app=\"s\"} x"},
		{"[\"q\\\"\\u00fc\"]", "{app=\"s\", v=\"q\\\"\xc3\xbc\"} x"},
		{"[[1,[2]],[]]", "{app=\"s\", v=\"[1,[2]]\"} x\n{app=\"s\", v=\"[]\"} x"},
		{"[{\"id\":1,\"at\":{\"x\":\"y\",\"n\":null}}]",
			"{app=\"s\", v=\"{\\\"id\\\":1,\\\"at\\\":{\\\"x\\\":\\\"y\\\",\\\"n\\\":null}}\", "
			"v_at_x=\"y\", v_id=\"1\"} x"},
		{"[{\"a-b\":[1,{\"c\":2}]},{}]",
			"{app=\"s\", v=\"{\\\"a-b\\\":[1,{\\\"c\\\":2}]}\", "
			"v_a_b=\"[1,{\\\"c\\\":2}]\"} x\n{app=\"s\", v=\"{}\"} x"},
	};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf meta = {0}, set = {0};
		struct labels_builder b = {0};
		struct pipeline *p = pipeline_new(unroll_new(&g.query, STR("v")), &g.wanted, NULL);
		struct pipe_row row;
		labels_builder_set(&b, STR("v"), str_c(rows[i][0]), NULL);
		labels_builder_write(&b, &set);
		labels_text(&meta, buf_view(&set));
		row = rig_row(&g, "{app=\"s\"}", buf_cstr(&meta), STR("x"));
		buf_clear(&g.out);
		assert_int_equal(pipeline_each(p, &row, rig_out, &g), 0);
		assert_string_equal(buf_cstr(&g.out), rows[i][1]);
		pipeline_free(p);
		labels_builder_fini(&b);
		buf_fini(&meta);
		buf_fini(&set);
	}
	rig_fini(&g);
}

static void passes(void **state)
{
	static const char *const bad[] = {"", "x", "{}", "5", "\"[]\"", "[1", "[1] 2", "[1,]"};
	struct rig g;

	(void)state;
	rig_init(&g);
	assert_string_equal(rig_query(&g, "| unroll none", "{v=\"1\"}", "{}", "x"), "{v=\"1\"} x");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct pipeline *p = pipeline_new(unroll_new(&g.query, STR("v")), &g.wanted, NULL);
		struct pipe_row row = rig_row(&g, "{}", "{}", STR("x"));
		fields_set(g.fields, STR("v"), str_c(bad[i]));
		buf_clear(&g.out);
		assert_int_equal(pipeline_each(p, &row, rig_out, &g), 0);
		assert_non_null(strstr(buf_cstr(&g.out), "__error__=\"UnrollErr\""));
		assert_null(strchr(buf_cstr(&g.out), '\n'));
		pipeline_free(p);
	}
	rig_fini(&g);
}

static void pipelines(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g);
	/* What follows sees each row for itself. */
	assert_string_equal(rig_query(&g, "| unroll v | v=\"2\" or v=\"3\" | drop a",
				    "{a=\"b\", v=\"[1,2,3]\"}", "{}", "x"),
		"{v=\"2\"} x\n{v=\"3\"} x");
	/* One within the other. */
	assert_string_equal(
		rig_query(&g, "| unroll v | unroll v", "{v=\"[[1,2],[3]]\"}", "{}", "x"),
		"{v=\"1\"} x\n{v=\"2\"} x\n{v=\"3\"} x");
	/* Each with each. */
	assert_string_equal(
		rig_query(&g, "| unroll v | unroll w", "{v=\"[1,2]\", w=\"[3,4]\"}", "{}", "x"),
		"{v=\"1\", w=\"3\"} x\n{v=\"1\", w=\"4\"} x\n"
		"{v=\"2\", w=\"3\"} x\n{v=\"2\", w=\"4\"} x");
	/* More than fields can nest. */
	assert_non_null(strstr(rig_query(&g,
				       "| unroll v | unroll v | unroll v | unroll v | unroll v | "
				       "unroll v",
				       "{v=\"[[[[[[[1]]]]]]]\"}", "{}", "x"),
		"UnrollErr"));
	/* A field of an element in place of a label of the stream. */
	assert_string_equal(rig_query(&g, "| unroll v | keep v_a",
				    "{v=\"[{\\\"a\\\":1},{}]\", v_a=\"s\"}", "{}", "x"),
		"{v_a=\"1\"} x\n{v_a=\"s\"} x");
	assert_string_equal(rig_canonical(&g, "|unroll v"), "| unroll v");
	rig_fini(&g);
}

static void limits(void **state)
{
	struct buf text = {0};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t n = 10000; n <= 10001; n++) {
		struct pipeline *p = pipeline_new(unroll_new(&g.query, STR("v")), &g.wanted, NULL);
		struct pipe_row row = rig_row(&g, "{}", "{}", STR("x"));
		size_t lines = 1;
		buf_clear(&text);
		for (size_t i = 0; i < n; i++)
			buf_c(&text, i ? ",1" : "[1");
		buf_char(&text, ']');
		fields_set(g.fields, STR("v"), buf_view(&text));
		buf_clear(&g.out);
		assert_int_equal(pipeline_each(p, &row, rig_out, &g), 0);
		for (const char *at = buf_cstr(&g.out); (at = strchr(at, '\n')); at++)
			lines++;
		assert_int_equal(lines, n == 10000 ? 10000 : 1);
		pipeline_free(p);
	}
	buf_fini(&text);
	rig_fini(&g);
}

/* However the unrolls of a pipeline multiply, a record makes so many rows and no more. */
static int count_row(void *ctx, struct pipe_row *row)
{
	(void)row;
	++*(size_t *)ctx;
	return 0;
}

static void multiplied(void **state)
{
	struct stage *first, *second, *third;
	struct buf text = {0};
	struct pipe_row row;
	struct pipeline *p;
	size_t n = 0;
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < 5000; i++)
		buf_c(&text, i ? ",1" : "[1");
	buf_char(&text, ']');
	first = unroll_new(&g.query, STR("a"));
	first->next = second = unroll_new(&g.query, STR("b"));
	second->next = third = unroll_new(&g.query, STR("c"));
	(void)third;
	p = pipeline_new(first, &g.wanted, NULL);
	row = rig_row(&g, "{}", "{}", STR("x"));
	fields_set(g.fields, STR("a"), buf_view(&text));
	fields_set(g.fields, STR("b"), buf_view(&text));
	fields_set(g.fields, STR("c"), STR("[1,2]"));
	assert_int_equal(pipeline_each(p, &row, count_row, &n), 0);
	assert_true(n > 20000 && n <= 200000);
	pipeline_free(p);
	buf_fini(&text);
	rig_fini(&g);
}

static void only_wanted(void **state)
{
	struct rig g;

	(void)state;
	rig_init(&g);
	g.wanted = (struct wanted){.n = 1, .names = {STR("v_b")}};
	assert_string_equal(
		rig_query(&g, "| unroll v", "{v=\"[{\\\"a\\\":1,\\\"b\\\":2}]\"}", "{}", "x"),
		"{v=\"[{\\\"a\\\":1,\\\"b\\\":2}]\", v_b=\"2\"} x");
	rig_fini(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows),
		cmocka_unit_test(passes),
		cmocka_unit_test(pipelines),
		cmocka_unit_test(limits),
		cmocka_unit_test(multiplied),
		cmocka_unit_test(only_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
