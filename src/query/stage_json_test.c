/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "query/parser_rig.h"

static const char document[] =
	"{\n  \"protocol\": \"HTTP/2.0\",\n  \"servers\": [\"129.0.1.1\",\"10.2.1.3\"],\n"
	"  \"request\": {\n    \"time\": \"6.032\",\n    \"method\": \"GET\",\n"
	"    \"host\": \"foo.grafana.net\",\n    \"size\": \"55\",\n"
	"    \"headers\": {\"Accept\": \"*/*\", \"User-Agent\": \"curl/7.68.0\"}\n  },\n"
	"  \"response\": {\n    \"status\": 401,\n    \"size\": \"228\",\n"
	"    \"latency_seconds\": \"6.031\"\n  }\n}";

#define BAD(sentence)                                                                              \
	"{__error__=\"JSONParserErr\", __error_details__=\"bad JSON at " sentence "\"}"

static void everything(void **state)
{
	static const struct {
		const char *labels, *meta, *wanted;
		const char *line, *parsed;
	} rows[] = {
		{"{}", "{}", NULL, document,
			"{protocol=\"HTTP/2.0\", request_headers_Accept=\"*/*\", "
			"request_headers_User_Agent=\"curl/7.68.0\", request_host=\"foo.grafana.net\", "
			"request_method=\"GET\", request_size=\"55\", request_time=\"6.032\", "
			"response_latency_seconds=\"6.031\", response_size=\"228\", "
			"response_status=\"401\"}"},
		{"{}", "{}", "response_status request_headers_User_Agent servers", document,
			"{request_headers_User_Agent=\"curl/7.68.0\", response_status=\"401\"}"},
		{"{}", "{}", NULL, "{\"a.b\": {\"c\": \"d\"}, \"e\": \"f\"}",
			"{a_b_c=\"d\", e=\"f\"}"},
		{"{}", "{}", "a_b_c", "{\"a.b\": {\"c\": \"d\"}, \"e\": \"f\"}", "{a_b_c=\"d\"}"},
		{"{}", "{}", NULL, "{}", "{}"},
		{"{}", "{}", NULL, " \t{ } \r\n", "{}"},
		{"{}", "{}", NULL, "{\"a\":1,\"a\":2}", "{a=\"1\"}"},
		{"{}", "{}", "a", "{\"a\":1,\"a\":2}", "{a=\"1\"}"},
		{"{}", "{}", NULL,
			"{\"a\":null,\"b\":true,\"c\":false,\"d\":-1.50e+3,\"e\":[1],\"f\":\"\"}",
			"{b=\"true\", c=\"false\", d=\"-1.50e+3\", f=\"\"}"},
		{"{}", "{}", "a b", "{\"a\":null,\"b\":true,\"a\":7}", "{a=\"7\", b=\"true\"}"},
		{"{}", "{}", NULL, "{\"a\":null,\"b\":true,\"a\":7}", "{a=\"7\", b=\"true\"}"},
		{"{}", "{}", NULL, "{\"big\":12345678901234567890123}",
			"{big=\"12345678901234567890123\"}"},
		{"{}", "{}", NULL, "{\"a\":\"x\\n\\u00e9\\ud83d\\ude00\\/\"}",
			"{a=\"x\\n\xc3\xa9\xf0\x9f\x98\x80/\"}"},
		{"{}", "{}", NULL, "{\"\\u0061b\":1}", "{ab=\"1\"}"},
		{"{}", "{}", "ab", "{\"\\u0061b\":1}", "{ab=\"1\"}"},
		{"{}", "{}", NULL,
			"{\"1a\":1,\"b-c\":2,\"d\xc3\xa9\":3,\"\":4,\"x\":{\"\":5,\"1\":6}}",
			"{_1a=\"1\", b_c=\"2\", d_=\"3\", x_=\"5\", x_1=\"6\"}"},
		{"{}", "{}", "_1a b_c d_ x_ x_1",
			"{\"1a\":1,\"b-c\":2,\"d\xc3\xa9\":3,\"\":4,\"x\":{\"\":5,\"1\":6}}",
			"{_1a=\"1\", b_c=\"2\", d_=\"3\", x_=\"5\", x_1=\"6\"}"},
		{"{}", "{}", "_a _1_a", "{\"\":{\"a\":1},\"1\":{\"a\":2}}",
			"{_1_a=\"2\", _a=\"1\"}"},
		{"{}", "{}", NULL, "{\"\":{\"a\":1},\"1\":{\"a\":2}}", "{_1_a=\"2\", _a=\"1\"}"},
		/* One name by two ways: the first stays. */
		{"{}", "{}", NULL, "{\"a\":{\"b\":1},\"a_b\":2}", "{a_b=\"1\"}"},
		{"{}", "{}", "a_b", "{\"a_b\":2,\"a\":{\"b\":1}}", "{a_b=\"2\"}"},
		{"{}", "{}", "a_b", "{\"a\":{\"c\":1},\"a\":{\"b\":3}}", "{a_b=\"3\"}"},
		/* What the stream or the metadata has is not hidden. */
		{"{app=\"x\"}", "{}", NULL, "{\"app\":\"y\"}", "{app_extracted=\"y\"}"},
		{"{app=\"x\"}", "{}", "app_extracted", "{\"app\":\"y\",\"b\":1}",
			"{app_extracted=\"y\"}"},
		{"{}", "{app=\"x\"}", "app", "{\"app\":\"y\"}", "{app_extracted=\"y\"}"},
		{"{app=\"x\"}", "{}", NULL, "{\"app_extracted\":1,\"app\":2}",
			"{app_extracted=\"1\"}"},
		{"{}", "{}", NULL, "{\"__error__\":\"x\"}", "{__error___extracted=\"x\"}"},
		{"{}", "{}", "b", "{\"a\":[{\"b\":1},[2,{}],[]],\"b\":{},\"c\":[[[]]]}", "{}"},
		/* Lines that are none: nothing of them counts, whatever is wanted. */
		{"{}", "{}", NULL, "", BAD("byte 0: the line is not an object")},
		{"{}", "{}", NULL, "level=info", BAD("byte 0: the line is not an object")},
		{"{}", "{}", NULL, "[1]", BAD("byte 0: the line is not an object")},
		{"{}", "{}", NULL, "\"a\"", BAD("byte 0: the line is not an object")},
		{"{}", "{}", NULL, "{\"a\":1", BAD("byte 6: the array or object is not closed")},
		{"{}", "{}", "a", "{\"a\":1", BAD("byte 6: the array or object is not closed")},
		{"{}", "{}", "a", "{\"a\":1,\"b\":", BAD("byte 11: a value is missing")},
		{"{}", "{}", "a", "{\"a\":1,\"b\":\"x", BAD("byte 11: the string is not closed")},
		{"{}", "{}", "a", "{\"a\":1,}", BAD("byte 7: expected a key")},
		{"{}", "{}", "a", "{\"a\":1 \"b\":2}", BAD("byte 7: expected ',' or '}'")},
		{"{}", "{}", "z", "{\"a\":[1 2]}", BAD("byte 8: expected ',' or ']'")},
		{"{}", "{}", "z", "{\"a\":[1,]}", BAD("byte 8: expected a value")},
		{"{}", "{}", "z", "{\"a\" 1}", BAD("byte 5: expected ':'")},
		{"{}", "{}", "z", "{\"a\":01}", BAD("byte 5: not a number")},
		{"{}", "{}", "z", "{\"a\":tru}", BAD("byte 5: expected a value")},
		{"{}", "{}", "z", "{\"a\":\"\\x\"}", BAD("byte 6: unknown escape in a string")},
		{"{}", "{}", "z", "{\"a\":\"\\ud800\"}", BAD("byte 6: half of a surrogate pair")},
		{"{}", "{}", "z", "{\"a\":\"\xff\"}", BAD("byte 6: invalid UTF-8")},
		{"{}", "{}", "z", "{\"a\":\"\t\"}",
			BAD("byte 6: a control character in a string must be escaped")},
		{"{}", "{}", NULL, "{\"a\":1} x", BAD("byte 8: more text after the value")},
		{"{}", "{}", "", "{\"a\":1}", "{}"},
		{"{}", "{}", "__error__", "{\"a\":1",
			BAD("byte 6: the array or object is not closed")},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct parser_rig r;
		struct stage *s;
		rig_init(&r);
		assert_int_equal(json_new(&r.query, NULL, 0, &s, NULL), 0);
		rig_stage(&r, s, rows[i].wanted);
		assert_int_equal(rig_run(&r, rows[i].labels, rows[i].meta, str_c(rows[i].line)), 1);
		if (strcmp(rig_parsed(&r), rows[i].parsed) != 0)
			fail_msg("row %zu: %s\n gives %s\n  want %s", i, rows[i].line,
				rig_parsed(&r), rows[i].parsed);
		assert_string_equal(rig_format(&r), "| json");
		rig_fini(&r);
	}
}

static void paths(void **state)
{
	static const struct {
		const char *wanted;
		struct extraction list[4];
		const char *line, *parsed;
	} rows[] = {
		{NULL,
			{{STR_INIT("first_server"), STR_INIT("servers[0]")},
				{STR_INIT("ua"), STR_INIT("request.headers[\"User-Agent\"]")}},
			document, "{first_server=\"129.0.1.1\", ua=\"curl/7.68.0\"}"},
		{NULL,
			{{STR_INIT("server_list"), STR_INIT("servers")},
				{STR_INIT("headers"), STR_INIT("request.headers")}},
			document,
			"{headers=\"{\\\"Accept\\\": \\\"*/*\\\", \\\"User-Agent\\\": \\\"curl/7.68.0\\\"}\", "
			"server_list=\"[\\\"129.0.1.1\\\",\\\"10.2.1.3\\\"]\"}"},
		{"ua",
			{{STR_INIT("x"), STR_INIT("servers[0]")},
				{STR_INIT("ua"), STR_INIT("protocol")}},
			document, "{ua=\"HTTP/2.0\"}"},
		{NULL,
			{{STR_INIT("a"), STR_INIT("x")}, {STR_INIT("b"), STR_INIT("x.y")},
				{STR_INIT("c"), STR_INIT("x")},
				{STR_INIT("d"), STR_INIT("x.z[1][0]")}},
			"{\"x\":{\"y\":1,\"z\":[0,[true]]}}",
			"{a=\"{\\\"y\\\":1,\\\"z\\\":[0,[true]]}\", b=\"1\", "
			"c=\"{\\\"y\\\":1,\\\"z\\\":[0,[true]]}\", d=\"true\"}"},
		{NULL, {{STR_INIT("a"), STR_INIT("x")}}, "{\"x\":null}", "{}"},
		{NULL, {{STR_INIT("a"), STR_INIT("x")}}, "{\"y\":1}", "{}"},
		{NULL, {{STR_INIT("a"), STR_INIT("x[2]")}}, "{\"x\":[1,2]}", "{}"},
		{NULL, {{STR_INIT("a"), STR_INIT("x.y")}}, "{\"x.y\":1}", "{}"},
		{NULL, {{STR_INIT("a"), STR_INIT("[\"x.y\"]")}}, "{\"x.y\":1}", "{a=\"1\"}"},
		{NULL, {{STR_INIT("a"), STR_INIT("[\"key with blank\"]")}},
			"{\"key with blank\":\"v\"}", "{a=\"v\"}"},
		{NULL, {{STR_INIT("a"), STR_INIT("[1].b")}}, "[{},{\"b\":2}]", "{a=\"2\"}"},
		{NULL, {{STR_INIT("a"), STR_INIT("[\"q\\\"\\n\"]")}}, "{\"q\\\"\\u000a\":3}",
			"{a=\"3\"}"},
		{NULL, {{STR_INIT("a"), STR_INIT("x")}}, "{\"x\":1,\"x\":2}", "{a=\"1\"}"},
		{NULL, {{STR_INIT("a"), STR_INIT("x")}}, "{\"x\":1",
			BAD("byte 6: the array or object is not closed")},
		{NULL, {{STR_INIT("a"), STR_INIT("x")}}, "\"x\"",
			BAD("byte 0: the line is not an object")},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct parser_rig r;
		struct stage *s;
		size_t n = 0;
		rig_init(&r);
		while (n < 4 && rows[i].list[n].name.n)
			n++;
		assert_int_equal(json_new(&r.query, rows[i].list, n, &s, NULL), 0);
		rig_stage(&r, s, rows[i].wanted);
		assert_int_equal(rig_run(&r, "{}", "{}", str_c(rows[i].line)), 1);
		if (strcmp(rig_parsed(&r), rows[i].parsed) != 0)
			fail_msg("row %zu: %s\n gives %s\n  want %s", i, rows[i].line,
				rig_parsed(&r), rows[i].parsed);
		rig_fini(&r);
	}
}

static void bad_paths(void **state)
{
	static const char *const bad[] = {"", " ", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a[-1]",
		"a[1", "a[\"b]", "a[\"b\"", "a[\"\\q\"]", "a]b", "a b", "a[0]b", "[99999999999]",
		"a[\"b\\"};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct extraction list = {STR("x"), str_c(bad[i])};
		struct error e = {0};
		struct parser_rig r;
		struct stage *s;
		rig_init(&r);
		if (json_new(&r.query, &list, 1, &s, &e) != ERR_ARG)
			fail_msg("\"%s\" is taken for a path", bad[i]);
		assert_non_null(strstr(e.text, "is no path"));
		rig_fini(&r);
	}
}

static void text(void **state)
{
	static const struct extraction list[] = {
		{STR_INIT("a"), STR_INIT("b[\"c d\"]")}, {STR_INIT("e"), STR_INIT("e")}};
	struct parser_rig r;
	struct stage *s;

	(void)state;
	rig_init(&r);
	assert_int_equal(json_new(&r.query, list, 2, &s, NULL), 0);
	rig_stage(&r, s, NULL);
	assert_string_equal(rig_format(&r), "| json a=\"b[\\\"c d\\\"]\", e=\"e\"");
	rig_fini(&r);
}

/* As deep as JSON may be, and one deeper; through values that are wanted and others. */
static void depth(void **state)
{
	static const char *const wanted[] = {NULL, "z", "a_a_a_a"};

	(void)state;
	for (size_t w = 0; w < 3; w++) {
		for (int n = 64; n <= 65; n++) {
			struct buf line = {0};
			struct parser_rig r;
			struct stage *s;
			struct str name = STR("__error__"), value;
			for (int i = 0; i < n; i++)
				buf_c(&line, "{\"a\":");
			buf_c(&line, "1");
			for (int i = 0; i < n; i++)
				buf_c(&line, "}");
			rig_init(&r);
			assert_int_equal(json_new(&r.query, NULL, 0, &s, NULL), 0);
			rig_stage(&r, s, wanted[w]);
			assert_int_equal(rig_run(&r, "{}", "{}", buf_view(&line)), 1);
			assert_int_equal(fields_get(r.fields, name, &value), n > 64);
			rig_fini(&r);
			buf_fini(&line);
		}
	}
}

/* More fields than a row holds: the first ones count, and it is said. */
static void many(void **state)
{
	struct buf line = {0};
	struct parser_rig r;
	struct stage *s;
	struct str value;

	(void)state;
	for (int i = 0; i < 1500; i++)
		buf_printf(&line, "%c\"k%d\":%d", i ? ',' : '{', i, i);
	buf_c(&line, "}");
	rig_init(&r);
	assert_int_equal(json_new(&r.query, NULL, 0, &s, NULL), 0);
	rig_stage(&r, s, NULL);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(rig_run(&r, "{}", "{}", buf_view(&line)), 1);
		assert_true(fields_get(r.fields, STR("k1023"), &value));
		assert_true(str_eq(value, STR("1023")));
		assert_false(fields_get(r.fields, STR("k1024"), &value));
		assert_true(fields_get(r.fields, STR("__error_details__"), &value));
		assert_true(str_eq(value, STR("more than 1024 fields: the rest is left out")));
	}
	rig_fini(&r);
	buf_fini(&line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything),
		cmocka_unit_test(paths),
		cmocka_unit_test(bad_paths),
		cmocka_unit_test(text),
		cmocka_unit_test(depth),
		cmocka_unit_test(many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
