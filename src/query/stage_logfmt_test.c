/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "query/parser_rig.h"

enum { STRICT = 1, KEEP = 2 };

static void check(int flags, const struct extraction *list, const char *labels, const char *wanted,
	struct str line, const char *parsed)
{
	struct parser_rig r;
	struct stage *s;
	size_t n = 0;

	while (list && n < 4 && list[n].name.n)
		n++;
	rig_init(&r);
	assert_int_equal(logfmt_new(&r.query, flags & STRICT, flags & KEEP, list, n, &s, NULL), 0);
	rig_stage(&r, s, wanted);
	assert_int_equal(rig_run(&r, labels, "{}", line), 1);
	if (strcmp(rig_parsed(&r), parsed) != 0)
		fail_msg("%.*s\n gives %s\n  want %s", STR_ARG(line), rig_parsed(&r), parsed);
	rig_fini(&r);
}

#define BAD(sentence)                                                                              \
	"__error__=\"LogfmtParserErr\", __error_details__=\"bad logfmt at " sentence "\""

static const char router[] =
	"at=info method=GET path=/ host=grafana.net fwd=\"124.133.124.161\" service=8ms status=200";

static void everything(void **state)
{
	static const struct {
		int flags;
		const char *labels, *wanted;
		struct str line;
		const char *parsed;
	} rows[] = {
		{0, "{}", NULL, {router, sizeof router - 1},
			"{at=\"info\", fwd=\"124.133.124.161\", host=\"grafana.net\", method=\"GET\", "
			"path=\"/\", service=\"8ms\", status=\"200\"}"},
		{0, "{}", "status at", {router, sizeof router - 1},
			"{at=\"info\", status=\"200\"}"},
		{STRICT, "{}", "status at", {router, sizeof router - 1},
			"{at=\"info\", status=\"200\"}"},
		{0, "{}", NULL, STR_INIT(""), "{}"},
		{0, "{}", NULL, STR_INIT("  \t "), "{}"},
		{0, "{}", NULL, STR_INIT("a plain line"), "{}"},
		{STRICT, "{}", NULL, STR_INIT("a plain line"), "{}"},
		{KEEP, "{}", NULL, STR_INIT("a b= c=\"\" d=1"),
			"{a=\"\", b=\"\", c=\"\", d=\"1\"}"},
		{KEEP, "{}", "b d", STR_INIT("a b= c=\"\" d=1"), "{b=\"\", d=\"1\"}"},
		{0, "{}", NULL, STR_INIT("a b= c=\"\" d=1"), "{d=\"1\"}"},
		{0, "{}", NULL, STR_INIT("a=1 a=2"), "{a=\"1\"}"},
		{0, "{}", "a", STR_INIT("a= a=2 a=3"), "{a=\"2\"}"},
		{0, "{}", NULL, STR_INIT("a= a=2 a=3"), "{a=\"2\"}"},
		{KEEP, "{}", NULL, STR_INIT("a= a=2"), "{a=\"\"}"},
		{0, "{}", NULL, STR_INIT("a=\"x y\" b=\"q\\\"q\" c=\"t\\tn\\n\\u00e9\\\\ \\/\""),
			"{a=\"x y\", b=\"q\\\"q\", c=\"t\\tn\\n\xc3\xa9\\\\ /\"}"},
		{0, "{}", NULL, STR_INIT("a=\"\\x41\\101\""), "{a=\"AA\"}"},
		/* Bad pairs of the documentation, and what follows them. */
		{0, "{}", NULL, STR_INIT("=value ok=1"), "{ok=\"1\"}"},
		{0, "{}", NULL, STR_INIT("foo=bar=buzz ok=1"), "{ok=\"1\"}"},
		{0, "{}", NULL, STR_INIT("fo\"o=bar ok=1"), "{ok=\"1\"}"},
		{0, "{}", NULL, STR_INIT("a=x\"y ok=1"), "{ok=\"1\"}"},
		{0, "{}", NULL, STR_INIT("a=\"x ok=1"), "{ok=\"1\"}"},
		{0, "{}", NULL, STR_INIT("a=\"x\"y ok=1"), "{ok=\"1\"}"},
		{0, "{}", NULL, STR_INIT("a=\"C:\\Users\" ok=1"), "{a=\"C:\\\\Users\", ok=\"1\"}"},
		{0, "{}", NULL, STR_INIT("a=\"x\\"), "{}"},
		{STRICT, "{}", NULL, STR_INIT("a=1 =value ok=1"),
			"{" BAD("byte 4: a value has no key") ", a=\"1\"}"},
		{STRICT, "{}", NULL, STR_INIT("foo=bar=buzz ok=1"),
			"{" BAD("byte 7: a value has = in it") "}"},
		{STRICT, "{}", NULL, STR_INIT("fo\"o=bar ok=1"),
			"{" BAD("byte 2: a key has a quote in it") "}"},
		{STRICT, "{}", NULL, STR_INIT("a=x\"y"),
			"{" BAD("byte 3: a value has a quote in it") "}"},
		{STRICT, "{}", NULL, STR_INIT("a=\"x"),
			"{" BAD("byte 2: a quoted value is not closed") "}"},
		{STRICT, "{}", NULL, STR_INIT("a=\"x\"y"),
			"{" BAD("byte 5: text follows a closing quote") "}"},
		{STRICT, "{}", "b", STR_INIT("a=\"\\q\" b=1"),
			"{" BAD("byte 6: unknown escape in a quoted value") "}"},
		/* Also when all that is wanted stands before it. */
		{STRICT, "{}", "a", STR_INIT("a=1 b=2 =3"),
			"{" BAD("byte 8: a value has no key") ", a=\"1\"}"},
		{STRICT, "{}", "", STR_INIT("a=1 b=2 =3"),
			"{" BAD("byte 8: a value has no key") "}"},
		/* Names. */
		{0, "{}", NULL, STR_INIT("user-agent=x 1st=y d\xc3\xa9=z \xa9=w"),
			"{_=\"w\", _1st=\"y\", d_=\"z\", user_agent=\"x\"}"},
		{0, "{}", "user_agent _1st d_ _", STR_INIT("user-agent=x 1st=y d\xc3\xa9=z \xa9=w"),
			"{_=\"w\", _1st=\"y\", d_=\"z\", user_agent=\"x\"}"},
		{0, "{at=\"x\"}", NULL, STR_INIT("at=info"), "{at_extracted=\"info\"}"},
		{0, "{at=\"x\"}", "at_extracted", STR_INIT("b=1 at=info"),
			"{at_extracted=\"info\"}"},
		{0, "{}", NULL, STR_INIT("a=x\0y b=\"p\0q\""), "{a=\"x\", b=\"p\\x00q\"}"},
		{0, "{}", NULL,
			STR_INIT("a=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=b c=d"),
			"{c=\"d\"}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check(rows[i].flags, NULL, rows[i].labels, rows[i].wanted, rows[i].line,
			rows[i].parsed);
}

static void lists(void **state)
{
	static const struct {
		int flags;
		struct extraction list[4];
		struct str line;
		const char *wanted, *parsed;
	} rows[] = {
		{0, {{STR_INIT("host"), STR_INIT("host")}, {STR_INIT("fwd_ip"), STR_INIT("fwd")}},
			{router, sizeof router - 1}, NULL,
			"{fwd_ip=\"124.133.124.161\", host=\"grafana.net\"}"},
		{0, {{STR_INIT("host"), STR_INIT("host")}, {STR_INIT("fwd_ip"), STR_INIT("fwd")}},
			{router, sizeof router - 1}, "fwd_ip", "{fwd_ip=\"124.133.124.161\"}"},
		/* A key that is asked for needs no --keep-empty. */
		{0,
			{{STR_INIT("a"), STR_INIT("a")}, {STR_INIT("b"), STR_INIT("b")},
				{STR_INIT("z"), STR_INIT("z")}},
			STR_INIT("a b= c=1"), NULL, "{a=\"\", b=\"\"}"},
		{0, {{STR_INIT("a"), STR_INIT("x")}, {STR_INIT("b"), STR_INIT("x")}},
			STR_INIT("x=1 x=2"), NULL, "{a=\"1\", b=\"1\"}"},
		{0, {{STR_INIT("a"), STR_INIT("user-agent")}}, STR_INIT("user-agent=1"), NULL,
			"{a=\"1\"}"},
		{STRICT, {{STR_INIT("a"), STR_INIT("a")}}, STR_INIT("a=1 b=2=3"), NULL,
			"{" BAD("byte 7: a value has = in it") ", a=\"1\"}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check(rows[i].flags, rows[i].list, "{}", rows[i].wanted, rows[i].line,
			rows[i].parsed);
}

static void bad_keys(void **state)
{
	static const char *const bad[] = {"", "a b", "a=b", "a\"b"};
	struct parser_rig r;
	struct stage *s;

	(void)state;
	rig_init(&r);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct extraction list = {STR("x"), str_c(bad[i])};
		struct error e = {0};
		assert_int_equal(logfmt_new(&r.query, false, false, &list, 1, &s, &e), ERR_ARG);
		assert_non_null(strstr(e.text, "logfmt: "));
	}
	rig_fini(&r);
}

static void text(void **state)
{
	static const struct extraction list[] = {
		{STR_INIT("a"), STR_INIT("b")}, {STR_INIT("c"), STR_INIT("c")}};
	struct parser_rig r;
	struct stage *s;

	(void)state;
	rig_init(&r);
	assert_int_equal(logfmt_new(&r.query, true, true, list, 2, &s, NULL), 0);
	rig_stage(&r, s, NULL);
	assert_string_equal(rig_format(&r), "| logfmt --strict --keep-empty a=\"b\", c=\"c\"");
	assert_int_equal(logfmt_new(&r.query, false, false, NULL, 0, &s, NULL), 0);
	rig_stage(&r, s, NULL);
	assert_string_equal(rig_format(&r), "| logfmt");
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything),
		cmocka_unit_test(lists),
		cmocka_unit_test(bad_keys),
		cmocka_unit_test(text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
