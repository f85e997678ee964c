/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "query/ast.h"
#include "query/query.h"

/* Query and canonical text; NULL: it is canonical already. */
static const char *const good[][2] = {
	{"{}", NULL},
	{"{a=\"b\"}", NULL},
	{" { a = \"b\" , c != \"d\" } ", "{a=\"b\", c!=\"d\"}"},
	{"{a=~`b.*`, c!~\"d|e\"}", "{a=~\"b.*\", c!~\"d|e\"}"},
	{"{a=\"b\", a=\"b\"}", NULL},
	{"{by=\"x\", json=\"y\", rate=\"z\"}", NULL},
	{"{a=\"\"}", NULL},
	{"{a=`\"q\"`}", "{a=\"\\\"q\\\"\"}"},
	{"{été=\"x\"}", NULL},
	{"({a=\"b\"})", "{a=\"b\"}"},
	{"({a=\"b\"} |= \"x\")", "{a=\"b\"} |= \"x\""},
	{"# first\n{a=\"b\"} # last", "{a=\"b\"}"},
	{"{a=\"b\"}|=`x`", "{a=\"b\"} |= \"x\""},
	{"{a=\"b\"} |= \"x\" != \"y\" |~ \"z.\" !~ \"w+\"", NULL},
	{"{a=\"b\"} |= \"x\" or \"y\" or `z`", "{a=\"b\"} |= \"x\" or \"y\" or \"z\""},
	{"{a=\"b\"} != \"x\" or \"y\"", NULL},
	{"{a=\"b\"} |~ \"x\" or \"y\" |= \"z\"", NULL},
	{"{a=\"b\"} |= \"\"", NULL},
	{"{a=\"b\"} |= \"\\x00\\xff\\n\"", NULL},
	{"count_over_time({a=\"b\"}[5m])", NULL},
	{"rate ( {a=\"b\"} [ 90s ] )", "rate({a=\"b\"}[1m30s])"},
	{"bytes_over_time({a=\"b\"}[1d2h])", NULL},
	{"bytes_rate({a=\"b\"}[36h])", "bytes_rate({a=\"b\"}[1d12h])"},
	{"rate({a=\"b\"} |= \"x\" [5m])", NULL},
	{"rate({a=\"b\"}[5m] |= \"x\")", "rate({a=\"b\"} |= \"x\" [5m])"},
	{"rate({a=\"b\"} |= \"x\" [5m] != \"y\")", "rate({a=\"b\"} |= \"x\" != \"y\" [5m])"},
	{"rate(({a=\"b\"} |= \"x\") [5m])", "rate({a=\"b\"} |= \"x\" [5m])"},
	{"rate(({a=\"b\"}[5m]))", "rate({a=\"b\"}[5m])"},
	{"rate({a=\"b\"}[5m] offset 1h)", NULL},
	{"rate({a=\"b\"}[5m] offset -1h)", NULL},
	{"rate({a=\"b\"}[5m] offset 10m |= \"x\")", "rate({a=\"b\"} |= \"x\" [5m] offset 10m)"},
	{"rate({a=\"b\"}[1500us])", "rate({a=\"b\"}[1ms500us])"},
	{"(rate({a=\"b\"}[5m]))", "rate({a=\"b\"}[5m])"},
	{"sum(rate({a=\"b\"}[5m]))", NULL},
	{"sum by (c, d) (rate({a=\"b\"}[5m]))", NULL},
	{"sum(rate({a=\"b\"}[5m])) by (d,c)", "sum by (c, d) (rate({a=\"b\"}[5m]))"},
	{"sum by(c,c)(rate({a=\"b\"}[5m]))", "sum by (c) (rate({a=\"b\"}[5m]))"},
	{"sum by () (rate({a=\"b\"}[5m]))", "sum(rate({a=\"b\"}[5m]))"},
	{"sum without () (rate({a=\"b\"}[5m]))", NULL},
	{"sum without (c) (rate({a=\"b\"}[5m]))", NULL},
	{"min(rate({a=\"b\"}[5m]))", NULL},
	{"max(rate({a=\"b\"}[5m])) without (x)", "max without (x) (rate({a=\"b\"}[5m]))"},
	{"avg(count(rate({a=\"b\"}[5m])))", NULL},
	{"topk(5, rate({a=\"b\"}[5m]))", NULL},
	{"topk by (c) (5, rate({a=\"b\"}[5m]))", NULL},
	{"bottomk(1, rate({a=\"b\"}[5m])) by (c)", "bottomk by (c) (1, rate({a=\"b\"}[5m]))"},
	{"sum(topk(3, (rate({a=\"b\"}[5m]))))", "sum(topk(3, rate({a=\"b\"}[5m])))"},
	{"sum by (json) (count_over_time({}[1s]))", NULL},
	{"sum(vector(1))", NULL},
	{"vector(1)+vector(1)", "vector(2)"},
	{"vector(-1.5)", NULL},
	{"1 + 2 * 3", "7"},
	{"(1 + 2) * 3", "9"},
	{"2 ^ 3 ^ 2", "512"},
	{"10 % 4 - 0.5", "1.5"},
	{"-1", NULL},
	{"1e30", "1e+30"},
	{"vector(1) / 0", "((1 / 0) + vector(0))"},
	{"1/3", "0.3333333333333333"},
};

/* Query and sentence. */
static const char *const bad[][2] = {
	{"", "parse error : syntax error: unexpected $end"},
	{" ", "parse error at line 1, col 2: syntax error: unexpected $end"},
	{"{", "parse error at line 1, col 2: syntax error: unexpected $end, expecting IDENTIFIER or }"},
	{"}", "parse error at line 1, col 1: syntax error: unexpected }"},
	{"{a}", "parse error at line 1, col 3: syntax error: unexpected }, expecting = or =~ or !~ or !="},
	{"{a b", "parse error at line 1, col 4: syntax error: unexpected IDENTIFIER, "
		 "expecting = or =~ or !~ or !="},
	{"{a=}", "parse error at line 1, col 4: syntax error: unexpected }, expecting STRING"},
	{"{a=b}",
		"parse error at line 1, col 4: syntax error: unexpected IDENTIFIER, expecting STRING"},
	{"{a=5}",
		"parse error at line 1, col 4: syntax error: unexpected NUMBER, expecting STRING"},
	{"{a==\"b\"}", "parse error at line 1, col 3: syntax error: unexpected ==, "
		       "expecting = or =~ or !~ or !="},
	{"{a=\"b\"",
		"parse error at line 1, col 7: syntax error: unexpected $end, expecting } or ,"},
	{"{a=\"b\" c=\"d\"}", "parse error at line 1, col 8: syntax error: unexpected IDENTIFIER, "
			      "expecting } or ,"},
	{"{a=\"b\",}",
		"parse error at line 1, col 8: syntax error: unexpected }, expecting IDENTIFIER"},
	{"{\"a\"=\"b\"}", "parse error at line 1, col 2: syntax error: unexpected STRING, "
			  "expecting IDENTIFIER or }"},
	{"{a.b=\"x\"}", "parse error at line 1, col 3: syntax error: unexpected ., "
			"expecting = or =~ or !~ or !="},
	{"{:", "parse error at line 1, col 2: syntax error: unexpected IDENTIFIER, "
	       "expecting IDENTIFIER or }"},
	{"{a=\"b}", "parse error at line 1, col 4: literal not terminated"},
	{"a", "parse error at line 1, col 1: syntax error: unexpected IDENTIFIER"},
	{"sum", "parse error at line 1, col 1: syntax error: unexpected IDENTIFIER"},
	{"by", "parse error at line 1, col 1: syntax error: unexpected by"},
	{"\"x\"", "parse error at line 1, col 1: syntax error: unexpected STRING"},
	{"{a=\"b\"} \"x\"", "parse error at line 1, col 9: syntax error: unexpected STRING"},
	{"{a=\"b\"} x", "parse error at line 1, col 9: syntax error: unexpected IDENTIFIER"},
	{"{a=\"b\"} json", "parse error at line 1, col 9: syntax error: unexpected json"},
	{"{a=\"b\"} {", "parse error at line 1, col 9: syntax error: unexpected {"},
	{"{a=\"b\"} + 1", "parse error at line 1, col 9: syntax error: unexpected +"},
	{"{a=\"b\"}[5m]", "parse error at line 1, col 8: syntax error: unexpected RANGE"},
	{"{a=\"b\"} |=", "parse error at line 1, col 11: syntax error: unexpected $end, "
			 "expecting STRING or ip"},
	{"{a=\"b\"} |= x", "parse error at line 1, col 12: syntax error: unexpected IDENTIFIER, "
			   "expecting STRING or ip"},
	{"{a=\"b\"} |~ 5m", "parse error at line 1, col 12: syntax error: unexpected DURATION, "
			    "expecting STRING or ip"},
	{"{a=\"b\"} |= \"x\" or", "parse error at line 1, col 18: syntax error: unexpected $end, "
				  "expecting STRING or ip"},
	{"{a=\"b\"} |= \"x\" \"y\"",
		"parse error at line 1, col 16: syntax error: unexpected STRING"},
	{"{a=\"b\"} |", "parse error at line 1, col 10: syntax error: unexpected $end"},
	{"{a=\"b\"} | 5", "parse error at line 1, col 11: syntax error: unexpected NUMBER"},
	{"{a=\"b\"} | foo", "parse error at line 1, col 14: syntax error: unexpected $end"},
	{"{a=\"b\"} | foo bar",
		"parse error at line 1, col 15: syntax error: unexpected IDENTIFIER"},
	{"{a=\"b\"}\n|= \"x\"\n|", "parse error at line 3, col 2: syntax error: unexpected $end"},
	{"rate", "parse error at line 1, col 1: syntax error: unexpected IDENTIFIER"},
	{"rate()", "parse error at line 1, col 6: syntax error: unexpected ), "
		   "expecting NUMBER or { or ("},
	{"rate({a=\"b\"})", "parse error at line 1, col 13: syntax error: unexpected )"},
	{"rate({a=\"b\"}[5m]", "parse error at line 1, col 17: syntax error: unexpected $end"},
	{"rate({a=\"b\"}[5m)", "parse error at line 1, col 13: missing closing ']' in duration"},
	{"rate({a=\"b\"}[x])", "parse error at line 1, col 13: not a valid duration string: \"x\""},
	{"rate({a=\"b\"}[5])", "parse error at line 1, col 13: not a valid duration string: \"5\""},
	{"rate({a=\"b\"}[5m][5m])",
		"parse error at line 1, col 17: syntax error: unexpected RANGE"},
	{"rate({a=\"b\"}[5m] offset)", "parse error at line 1, col 24: syntax error: unexpected ), "
				       "expecting DURATION"},
	{"rate({a=\"b\"}[5m] offset 5)", "parse error at line 1, col 25: syntax error: "
					 "unexpected NUMBER, expecting DURATION"},
	{"rate({a=\"b\"}[5m]) by (x)",
		"parse error at line 1, col 1: grouping not allowed for rate aggregation"},
	{"rate(5, {a=\"b\"}[5m])",
		"parse error at line 1, col 6: parameter 5 not supported for operation rate"},
	{"rate({a=\"b\"}[5m]) x",
		"parse error at line 1, col 19: syntax error: unexpected IDENTIFIER"},
	{"sum({a=\"b\"})", "parse error at line 1, col 12: syntax error: unexpected )"},
	{"sum()", "parse error at line 1, col 5: syntax error: unexpected )"},
	{"sum(1)", "parse error at line 1, col 6: syntax error: unexpected )"},
	{"sum(rate({a=\"b\"}[5m])", "parse error at line 1, col 22: syntax error: unexpected $end"},
	{"sum by (a",
		"parse error at line 1, col 10: syntax error: unexpected $end, expecting , or )"},
	{"sum by (",
		"parse error at line 1, col 9: syntax error: unexpected $end, expecting IDENTIFIER or )"},
	{"sum by (a,)",
		"parse error at line 1, col 11: syntax error: unexpected ), expecting IDENTIFIER"},
	{"sum by (a) rate",
		"parse error at line 1, col 12: syntax error: unexpected IDENTIFIER, expecting ("},
	{"sum by x",
		"parse error at line 1, col 8: syntax error: unexpected IDENTIFIER, expecting ("},
	{"sum by (a) (rate({}[5m])) by (b)",
		"parse error at line 1, col 27: syntax error: unexpected by"},
	{"sum(2, rate({}[5m]))",
		"parse error at line 1, col 5: unsupported parameter for operation sum(2,"},
	{"topk(rate({}[5m]))",
		"parse error at line 1, col 6: parameter required for operation topk"},
	{"topk(1.5, rate({}[5m]))", "parse error at line 1, col 6: invalid parameter topk(1.5,"},
	{"topk(0, rate({}[5m]))",
		"parse error at line 1, col 6: invalid parameter (must be greater than 0) topk(0"},
	{"topk(5 rate({}[5m]))",
		"parse error at line 1, col 8: syntax error: unexpected rate, expecting ,"},
	{"vector(x)",
		"parse error at line 1, col 8: syntax error: unexpected IDENTIFIER, expecting NUMBER"},
	{"vector(1", "parse error at line 1, col 9: syntax error: unexpected $end, expecting )"},
	{"1 +", "parse error at line 1, col 4: syntax error: unexpected $end"},
	{"1 + {a=\"b\"}", "parse error at line 1, col 12: syntax error: unexpected $end"},
	{"(1", "parse error at line 1, col 3: syntax error: unexpected $end"},
	{"{a=\"b\"}\xc2\xa0", "parse error at line 1, col 8: syntax error: unexpected IDENTIFIER"},
};

static void check_good(const char *text, const char *want)
{
	struct query *q = NULL, *again = NULL;
	struct error e = {0};
	struct buf once = {0}, twice = {0};

	if (query_parse(&q, str_c(text), &e) < 0)
		fail_msg("%s: %s", text, e.text);
	query_format(q, &once);
	assert_string_equal(buf_cstr(&once), want ? want : text);
	if (query_parse(&again, buf_view(&once), &e) < 0)
		fail_msg("%s: %s", buf_cstr(&once), e.text);
	query_format(again, &twice);
	assert_string_equal(buf_cstr(&twice), buf_cstr(&once));
	query_free(q);
	query_free(again);
	buf_fini(&once);
	buf_fini(&twice);
}

static void check_bad(const char *text, size_t n, int code, const char *want)
{
	struct query *q = NULL;
	struct error e = {0};

	if (query_parse(&q, str_make(text, n), &e) == 0)
		fail_msg("%.100s: parsed", text);
	assert_string_equal(e.text, want);
	assert_int_equal(e.code, code);
	assert_null(q);
}

#define EACH(table, i) for (size_t i = 0; i < sizeof(table) / sizeof *(table); i++)

static void good_texts(void **state)
{
	(void)state;
	EACH(good, i)
	check_good(good[i][0], good[i][1]);
}

static void bad_texts(void **state)
{
	(void)state;
	EACH(bad, i)
	check_bad(bad[i][0], strlen(bad[i][0]), ERR_ARG, bad[i][1]);
}

static void regex_errors(void **state)
{
	struct query *q = NULL;
	struct error e = {0};

	(void)state;
	assert_int_equal(query_parse(&q, STR("{a=~\"(\"}"), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "parse error at line 1, col 5: error parsing regexp: "));
	assert_int_equal(query_parse(&q, STR("{a=\"b\"} |= \"x\" !~ \"[\""), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "parse error at line 1, col 19: error parsing regexp: "));
}

/* n times `part` around or behind something. */
static struct buf repeated(const char *head, const char *part, const char *tail, size_t n)
{
	struct buf b = {0};

	buf_c(&b, head);
	for (size_t i = 0; i < n; i++)
		buf_c(&b, part);
	buf_c(&b, tail);
	return b;
}

static void limits(void **state)
{
	struct query *q = NULL;
	struct error e = {0};
	struct buf b;

	(void)state;
	b = repeated("", "(", "1", 1000);
	check_bad(b.p, b.n, ERR_ARG,
		"parse error at line 1, col 65: the query is nested deeper than 64 levels");
	buf_fini(&b);
	b = repeated("rate(", "(", "{}", 1000);
	assert_int_equal(query_parse(&q, buf_view(&b), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "nested deeper than 64 levels"));
	buf_fini(&b);
	b = repeated("1", "^1", "", 1000);
	assert_int_equal(query_parse(&q, buf_view(&b), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "nested deeper than 64 levels"));
	buf_fini(&b);
	b = repeated("{}", "|=\"a\"", "", 257);
	assert_int_equal(query_parse(&q, buf_view(&b), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "more than 256 stages"));
	buf_fini(&b);
	b = repeated("{a=\"b\"", ",a=\"b\"", "}", 256);
	assert_int_equal(query_parse(&q, buf_view(&b), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "more than 256 matchers"));
	buf_fini(&b);
	b = repeated("sum by (a", ",a", ") (rate({}[5m]))", 100);
	assert_int_equal(query_parse(&q, buf_view(&b), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "more than 100 labels"));
	buf_fini(&b);
	b = repeated("{a=\"b\"}", " ", "", QUERY_TEXT_MAX);
	check_bad(b.p, b.n, ERR_ARG,
		"parse error : input size too long (131079 > 131072): max length of a query in bytes");
	buf_fini(&b);
}

static void kinds(void **state)
{
	static const struct {
		const char *text;
		bool log, selector, strict;
	} rows[] = {
		{"{a=\"b\"}", true, true, true},
		{"{a=\"b\"} |= \"x\"", true, false, true},
		{"{}", true, true, false},
		{"{a=\"\"}", true, true, false},
		{"{a!=\"b\"}", true, true, false},
		{"{a=~\".*\"}", true, true, false},
		{"{a=~\".+\"}", true, true, true},
		{"{a!~\".+\"}", true, true, false},
		{"rate({}[5m])", false, false, false},
		{"sum(rate({a=\"b\"}[5m]))", false, false, true},
		{"vector(1)", false, false, true},
	};

	(void)state;
	EACH(rows, i)
	{
		struct query *q = NULL;
		struct error e = {0};
		assert_int_equal(query_parse(&q, str_c(rows[i].text), &e), 0);
		assert_int_equal(query_is_log(q), rows[i].log);
		assert_int_equal(query_is_selector(q), rows[i].selector);
		assert_int_equal(query_check_strict(q, &e), rows[i].strict ? 0 : ERR_ARG);
		query_free(q);
	}
	query_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_texts),
		cmocka_unit_test(bad_texts),
		cmocka_unit_test(regex_errors),
		cmocka_unit_test(limits),
		cmocka_unit_test(kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
