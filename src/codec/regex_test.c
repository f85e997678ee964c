/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/buf.h"
#include "base/lock.h"
#include "codec/regex.h"

static struct regex *make(struct str pattern, bool anchored)
{
	struct regex *r = NULL;
	struct error e = {0};

	if (regex_new(&r, pattern, anchored, &e) < 0)
		fail_msg("%.*s: %s", STR_ARG(pattern), e.text);
	return r;
}

static bool contains(struct str s, struct str text, bool fold)
{
	for (size_t i = 0; i + text.n <= s.n; i++) {
		struct str part = str_make(s.p + i, text.n);
		if (fold ? str_eq_nocase(part, text) : str_eq(part, text))
			return true;
	}
	return false;
}

/* A match has one of the literals; whatever has one is a match, where they are exact. */
static void expect_literals(const struct regex *r, struct str subject, int got)
{
	struct regex_literals l = regex_literals(r);
	bool any = l.n == 0;

	for (size_t i = 0; i < l.n && !any; i++)
		any = contains(subject, l.text[i], l.fold);
	if ((got == 1 && !any) || (got == 0 && any && l.exact))
		fail_msg("`%.*s` on `%.*s`", STR_ARG(regex_pattern(r)), STR_ARG(subject));
}

static void expect(const char *pattern, struct str subject, bool anchored, int want)
{
	struct regex *r = make(str_c(pattern), anchored);
	int got = regex_match(r, subject);

	if (got != want)
		fail_msg("`%s` on `%.*s`: %d", pattern, STR_ARG(subject), got);
	if (got == 1)
		assert_true(str_find(subject, regex_literal(r)) >= 0);
	expect_literals(r, subject, got);
	regex_free(r);
}

#define MATCH(pattern, subject)     expect(pattern, STR(subject), false, 1)
#define NO(pattern, subject)        expect(pattern, STR(subject), false, 0)
#define WHOLE(pattern, subject)     expect(pattern, STR(subject), true, 1)
#define NOT_WHOLE(pattern, subject) expect(pattern, STR(subject), true, 0)

static void test_match(void **state)
{
	(void)state;
	MATCH("", "");
	MATCH("", "x");
	MATCH("err", "an error");
	NO("err", "ok");
	MATCH("^a.c$", "abc");
	MATCH("a|b||c", "zzz");
	MATCH("\\.", "a.b");
	NO("\\.", "ab");
	MATCH("a{2,3}b", "xaab");
	NO("^a{2}$", "aaa");
	MATCH("^a{2,}?$", "aaaa");
	MATCH("a{,2}", "a{,2}"); /* no repeat: characters */
	MATCH("x{", "x{");
	MATCH("x{a}", "x{a}");
	MATCH("a{01}", "a{01}");
	MATCH("^(?:ab)+?c*$", "ababcc");
	MATCH("^()*$", "");
	MATCH("(?P<a>x)(?<b2>y)(?P<3>z)", "xyz");
	MATCH("^\\Qa.b*\\E+$", "a.b**");
	MATCH("\\Qno end*", "no end*");
	NO("^\\Qa.b\\E$", "axb");
	MATCH("^*a", "a");
	MATCH("(?:\\b)+a$?", "a");
	WHOLE("a|ab", "ab");
	NOT_WHOLE("a|ab", "abc");
	NOT_WHOLE("a", "a\n");
	WHOLE("", "");
	NOT_WHOLE("", "a");
}

static void test_classes(void **state)
{
	(void)state;
	MATCH("^[a-c]+$", "abc");
	MATCH("^[]a]+$", "]a");
	MATCH("^[^]a]+$", "b");
	NO("^[^]a]+$", "b]");
	MATCH("^[a-]+$", "a-");
	MATCH("^[-a]+$", "a-");
	MATCH("^[a-c-e]+$", "b-e");
	MATCH("^[\\d.]+$", "10.2");
	MATCH("^[\\w-]+$", "a_9-Z");
	NO("\\w", "\xc3\xa9"); /* ASCII alone */
	NO("\\d", "\xd9\xa3");
	MATCH("\\pN", "\xd9\xa3");
	MATCH("^\\p{Greek}\\p{Lu}\\PL\\p{^Lu}$", "\xce\xb1"
						 "A1a");
	MATCH("^[\\p{Greek}\\PL]+$", "\xce\xb1"
				     "1");
	MATCH("^[[:alpha:]]+[[:^digit:]]$", "abx");
	MATCH("^\\s[\\s]$", "\t ");
	NO("\\s", "\v"); /* RE2's \s has no vertical tab, PCRE2's has */
	MATCH("^\\S[\\S]$", "\v\v");
	MATCH("^\\v[\\v]$", "\v\v");
	NO("\\v", "\n"); /* PCRE2's \v is any vertical space */
	MATCH("[^a]", "\n");
	MATCH("^[\\x41\\x{1F600}\\n\\]\\\\\\^]+$", "A\xf0\x9f\x98\x80\n]\\^");
	MATCH("^\\x41\\101\\07\\0$", "AA\7\0");
	MATCH("[[:a]", ":");
	MATCH("^[&&a-b-]+$", "&a-b");
}

static void test_flags(void **state)
{
	(void)state;
	MATCH("(?i)ERROR", "an eRRor");
	MATCH("(?i:E)r", "er");
	NO("(?i:E)R", "er");
	MATCH("a(?i)b|c", "C"); /* holds in the next branch too */
	NO("(a(?i)b)c", "abC");
	MATCH("(?i)\xc3\x89", "\xc3\xa9");
	NO("a.b", "a\nb");
	MATCH("(?s)a.b", "a\nb");
	MATCH("(?s:a.)b", "a\nb");
	NO("(?s:a.)b.", "a\nb\n");
	NO("(?s)(?-s)a.b", "a\nb");
	NO("a$", "a\n"); /* the very end */
	NO("^b", "a\nb");
	MATCH("(?m)^b$", "a\nb\nc");
	MATCH("(?m)^$", "a\n"); /* the empty last line */
	NO("(?m)\\Ab", "a\nb");
	NO("(?m)a\\z", "a\nb");
	MATCH("(?U)^a+?$", "aa");
	MATCH("(?is-m)A.$", "a\n");
	MATCH("(?i-i)a", "a");
}

/* A broken byte is U+FFFD, as in Go. */
static void test_broken_subject(void **state)
{
	(void)state;
	MATCH("a.b", "a\xff"
		     "b");
	MATCH("^a..b$", "a\xe2\x82"
			"b");
	NO("a..b", "a\xff"
		   "b");
	WHOLE(".*", "\xff\xfe");
	MATCH("a\\x{FFFD}b", "a\xff"
			     "b");
	MATCH("[^x]$", "\xff");
	MATCH("\xc3\xa9", "\xff\xc3\xa9");
	NO("\xc3\xa9", "\xff\xc3");
	MATCH("b", "\0b");
}

static void refuses(struct str pattern, int code, const char *want)
{
	struct regex *r = NULL;
	struct error e = {0};

	assert_int_equal(regex_new(&r, pattern, false, &e), code);
	assert_null(r);
	if (want)
		assert_string_equal(e.text, want);
}

#define REFUSES(pattern, text) refuses(STR(pattern), ERR_ARG, "error parsing regexp: " text)

static void test_refuse(void **state)
{
	char long_one[5000];

	(void)state;
	REFUSES("a(?=b)", "invalid or unsupported Perl syntax: `(?=`");
	REFUSES("(?!b)", "invalid or unsupported Perl syntax: `(?!`");
	REFUSES("(?<=b)", "invalid or unsupported Perl syntax: `(?<=`");
	REFUSES("(?<!b)", "invalid or unsupported Perl syntax: `(?<!`");
	REFUSES("(?>b)", "invalid or unsupported Perl syntax: `(?>`");
	REFUSES("(?R)", "invalid or unsupported Perl syntax: `(?R`");
	REFUSES("(?1)", "invalid or unsupported Perl syntax: `(?1`");
	REFUSES("(?#c)", "invalid or unsupported Perl syntax: `(?#`");
	REFUSES("(?x)a", "invalid or unsupported Perl syntax: `(?x`");
	REFUSES("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`");
	REFUSES("(?P=a)", "invalid or unsupported Perl syntax: `(?P`");
	REFUSES("(?P<a b>x)", "invalid named capture: `(?P<a b>`");
	REFUSES("(?P<a", "invalid named capture: `(?P<a`");
	REFUSES("(?<>x)", "invalid named capture: `(?<>`");
	REFUSES("(?P<a>x)(?<a>y)", "duplicate capture group name: `(?<a>`");
	REFUSES("(a)\\1", "invalid escape sequence: `\\1`");
	REFUSES("\\8", "invalid escape sequence: `\\8`");
	REFUSES("a\\Z", "invalid escape sequence: `\\Z`");
	REFUSES("\\C", "invalid escape sequence: `\\C`");
	REFUSES("\\K", "invalid escape sequence: `\\K`");
	REFUSES("\\R", "invalid escape sequence: `\\R`");
	REFUSES("\\xZ", "invalid escape sequence: `\\x`");
	REFUSES("\\x{110000}", "invalid escape sequence: `\\x{11000`");
	REFUSES("[\\b]", "invalid escape sequence: `\\b`");
	REFUSES("a\\", "trailing backslash at end of expression: ``");
	REFUSES("a**", "invalid nested repetition operator: `**`");
	REFUSES("a*+", "invalid nested repetition operator: `*+`");
	REFUSES("a++", "invalid nested repetition operator: `++`");
	REFUSES("a{2}{3}", "invalid nested repetition operator: `{2}{3}`");
	REFUSES("a*??", "invalid nested repetition operator: `*??`");
	REFUSES("*a", "missing argument to repetition operator: `*`");
	REFUSES("(*ACCEPT)", "missing argument to repetition operator: `*`");
	REFUSES("(*UTF8)a", "missing argument to repetition operator: `*`");
	REFUSES("a|+", "missing argument to repetition operator: `+`");
	REFUSES("{2}", "missing argument to repetition operator: `{2}`");
	REFUSES("a{1001}", "invalid repeat count: `{1001}`");
	REFUSES("a{1,1001}", "invalid repeat count: `{1,1001}`");
	REFUSES("a{3,2}", "invalid repeat count: `{3,2}`");
	REFUSES("(a{100}){11}", "invalid repeat count: `{11}`");
	REFUSES("(a", "missing closing ): `(a`");
	REFUSES("(?i", "missing closing ): `(?i`");
	REFUSES("a)", "unexpected ): `a)`");
	REFUSES("x[a", "missing closing ]: `[a`");
	REFUSES("[", "missing closing ]: `[`");
	REFUSES("[]", "missing closing ]: `[]`");
	REFUSES("[b-a]", "invalid character class range: `b-a`");
	REFUSES("[a-\\d]", "invalid escape sequence: `\\d`");
	REFUSES("[[:foo:]]", "invalid character class range: `[:foo:]`");
	REFUSES("\\p{Foo1}", "invalid character class range: `\\p{Foo1}`");
	REFUSES("\\p{Foo}", "invalid character class range: `\\p{Foo}`");
	REFUSES("\\p{Xan}", "invalid character class range: `\\p{Xan}`");
	REFUSES("\\pX", "invalid character class range: `\\pX`");
	REFUSES("\\p", "invalid character class range: `\\p`");
	REFUSES("a\xff", "invalid UTF-8: the pattern is broken at byte 1");
	memset(long_one, 'a', sizeof long_one);
	refuses(str_make(long_one, 4097), ERR_LIMIT,
		"the regular expression has 4097 bytes: at most 4096 are allowed");
	memset(long_one, '(', sizeof long_one);
	refuses(str_make(long_one, 4096), ERR_ARG, NULL);
	regex_free(make(str_make(memset(long_one, 'a', 4096), 4096), false));
}

static void literal(const char *pattern, const char *want)
{
	struct regex *r = make(str_c(pattern), false);

	if (!str_eq_c(regex_literal(r), want))
		fail_msg("`%s`: `%.*s` instead of `%s`", pattern, STR_ARG(regex_literal(r)), want);
	assert_true(str_eq_c(regex_pattern(r), pattern));
	regex_free(r);
}

static void test_literal(void **state)
{
	(void)state;
	literal("error", "error");
	literal("^error: .*timeout$", "error: ");
	literal("a.*timeout", "timeout");
	literal("ab+c", "a");
	literal("abc?d", "ab");
	literal("abc*", "ab");
	literal("abc{0,5}d", "ab");
	literal("(abc){2,}", "abc");
	literal("(abc)?", "");
	literal("x(abc)y", "xabcy");
	literal("x(?P<n>abc)y", "xabcy");
	literal("x(?:a.b)yz", "yz");
	literal("a|bcd", "");
	literal("xx(a|b)yyy", "yyy");
	literal("x(a|b)?yyy|zzz", "");
	literal("(?i)error", "");
	literal("(?i)1234x", "1234");
	literal("err(?i)or", "err");
	literal("(?i:err)or: 1", "or: 1");
	literal("a[.]b", "a.b");
	literal("a[.x]bc", "bc");
	literal("a[^.]bc", "bc");
	literal("a\\.b\\x41\\n", "a.bA\n");
	literal("\\Qa*b\\Ec", "a*bc");
	literal("\\Qab\\E*", "a");
	literal("foo\\bbar", "foobar");
	literal("\\d+abc\\s", "abc");
	literal("(?m)^ab$", "ab");
	literal("a\\x{FFFD}bc", "bc");
	literal("\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9");
	literal("(?i)\xc3\xa9", "");
	literal("a{0}", "");
	literal("", "");
	literal(".*", "");
	literal("(((abc)))+", "abc");
	literal("abc{2}", "ab");
}

/* `want`: the texts with '|' between, '~' in front for fold, '=' for exact. */
static void literals(const char *pattern, const char *want)
{
	struct regex *r = make(str_c(pattern), false);
	struct regex_literals l = regex_literals(r);
	struct buf got = {0};

	buf_c(&got, l.fold ? "~" : "");
	buf_c(&got, l.exact ? "=" : "");
	for (size_t i = 0; i < l.n; i++) {
		buf_c(&got, i ? "|" : "");
		buf_str(&got, l.text[i]);
	}
	if (strcmp(buf_cstr(&got), want) != 0)
		fail_msg("`%s`: `%s` instead of `%s`", pattern, buf_cstr(&got), want);
	buf_fini(&got);
	regex_free(r);
}

static void test_literals(void **state)
{
	struct regex *r;

	(void)state;
	literals("", "");
	literals("error", "=error");
	literals("^error", "error");
	literals("a|bcd", "=a|bcd");
	literals("(timeout|timed out).*[0-9]{3}", "timeout|timed out");
	literals("x(a|b)(c|d)y", "=xacy|xady|xbcy|xbdy");
	literals("x(a|)y", "=xay|xy");
	literals("(a|)", "");
	literals("a|", "");
	literals("a|b.*", "a|b");
	literals("a|.*", "");
	literals("(a|b)?cc", "cc");
	literals("(aa|bb)+c", "aa|bb");
	literals("abc{2}", "ab");
	literals("abc.*(defg|hijkl)", "defg|hijkl");
	literals("abcde.*(defg|hijkl)", "abcde");
	literals("[Ee]rror", "=Error|error");
	literals("[a-c]rror", "rror");
	literals("[^e]rror", "rror");
	literals("[abcde]rror", "rror");
	literals("\\b(GET|PUT)\\b", "GET|PUT");
	literals("(?i)Error", "~=error");
	literals("(?i)error|FAIL\\d", "~error|fail");
	literals("ERR(?i)or", "~error");
	literals("(?i:err)|OK", "~err|ok");
	literals("(?i)12", "=12");
	literals("(?i)\xc3\xa9x", "~x");
	literals("(?i)[EF]r", "~=er|fr");
	literals("a\\x{FFFD}bc", "bc");
	literals("\\x{FFFD}|b", "");
	literals("(a|b|c|d)(a|b|c|d)", "=aa|ab|ac|ad|ba|bb|bc|bd|ca|cb|cc|cd|da|db|dc|dd");
	literals("(a|b|c|d)(a|b|c|d)(aaa|b)", "aa|ab|ac|ad|ba|bb|bc|bd|ca|cb|cc|cd|da|db|dc|dd");
	literals("a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q", "");
	literals("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	r = make(STR("error"), true);
	assert_false(regex_literals(r).exact); /* the whole subject must be it */
	regex_free(r);
}

static void test_budget(void **state)
{
	static char text[1 << 20];
	static const char *const slow[] = {"(a+)+$", "(a|aa)+$", "(a*)*b", "(.*)*x"};

	(void)state;
	memset(text, 'a', sizeof text);
	for (size_t i = 0; i < 4; i++) {
		struct regex *r;
		struct buf subject = {0};
		buf_put(&subject, text, 60);
		buf_c(&subject, "! bx, but not there: b x");
		subject.n = 61;
		assert_int_equal(regex_new(&r, str_c(slow[i]), false, NULL), 0);
		int got = regex_match(r, buf_view(&subject));
		assert_true(got == ERR_LIMIT || got == 0);
		if (i == 0)
			assert_int_equal(got, ERR_LIMIT);
		regex_free(r);
		buf_fini(&subject);
	}
	/* Usual patterns over a long line stay within the budget. */
	memcpy(text + sizeof text - 6, "error", 5);
	MATCH("a", "a");
	expect("error", str_make(text, sizeof text), false, 1);
	expect(".*error.*", str_make(text, sizeof text), false, 1);
	expect("^(a|b)*error", str_make(text + sizeof text - 20001, 20000), false, 1);
	expect("a+error", str_make(text, sizeof text), false, 1);
	expect("(?i)ERROR", str_make(text, sizeof text), false, 1);
	expect("[0-9]+", str_make(text, sizeof text), false, 0);
	expect(".*errox.*", str_make(text, sizeof text), false, 0);
	/* Each step is cheap and there are a million of long ones: the clock ends it. */
	expect("[a-z]+[0-9]", str_make(text, sizeof text - 8), false, ERR_LIMIT);
	expect("(.*)(.*)(.*)[0-9]", str_make(text, 100), false, 0);
}

/* A subject that is a null view is an empty one: its groups are there and empty. */
static void nothing_to_search(void **state)
{
	struct regex *r = NULL;
	struct str g[2];

	(void)state;
	assert_int_equal(regex_new_groups(&r, STR("(x*)"), NULL), 0);
	assert_int_equal(regex_find(r, STR_NONE, 0, g, 2), 1);
	assert_non_null(g[1].p);
	assert_int_equal(g[1].n, 0);
	regex_free(r);
}

static void test_groups(void **state)
{
	struct str g[5], subject = STR("GET /a 200; PUT /b 404");
	struct regex *r;

	(void)state;
	assert_int_equal(
		regex_new_groups(&r, STR("(?P<method>[A-Z]+) (\\S+)( x)? (?P<1st>\\d+)"), NULL), 0);
	assert_int_equal(regex_n_groups(r), 4);
	assert_string_equal(regex_group_name(r, 1), "method");
	assert_string_equal(regex_group_name(r, 2), "");
	assert_string_equal(regex_group_name(r, 4), "1st");
	assert_string_equal(regex_group_name(r, 5), "");
	assert_int_equal(regex_find(r, subject, 0, g, 5), 1);
	assert_true(str_eq(g[0], STR("GET /a 200")) && str_eq(g[1], STR("GET")));
	assert_true(str_eq(g[2], STR("/a")) && !g[3].p && str_eq(g[4], STR("200")));
	assert_int_equal(regex_find(r, subject, 10, g, 5), 1);
	assert_true(str_eq(g[1], STR("PUT")) && str_eq(g[4], STR("404")));
	assert_int_equal(regex_find(r, subject, 22, g, 5), 0);
	assert_int_equal(regex_find(r, subject, 23, g, 5), 0);
	/* Offsets in a broken subject are those of its own bytes. */
	subject = STR("\xff\xc3GET \xff/a\xfe 200\xff;\xffPUT /b 404");
	assert_int_equal(regex_find(r, subject, 0, g, 5), 1);
	assert_true(str_eq(g[0], STR("GET \xff/a\xfe 200")) && str_eq(g[2], STR("\xff/a\xfe")));
	assert_int_equal(regex_find(r, subject, (size_t)(g[0].p + g[0].n - subject.p), g, 2), 1);
	assert_true(str_eq(g[1], STR("PUT")));
	regex_free(r);
	r = make(STR("(a)"), false);
	assert_int_equal(regex_n_groups(r), 0);
	regex_free(r);
}

static void *match_in_thread(void *arg)
{
	struct buf b = {0};

	for (int i = 0; i < 5000; i++)
		buf_char(&b, 'x');
	buf_c(&b, "user=long. id=7");
	if (regex_match(arg, buf_view(&b)) != 1) /* compiles the guarded program */
		abort();
	buf_fini(&b);
	for (int i = 0; i < 2000; i++) {
		if (regex_match(arg, STR("user=alice\xff id=42")) != 1 ||
			regex_match(arg, STR("user=bob")) != 0)
			abort();
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct regex *r = make(STR("user=(\\w+). id=\\d+$"), false);
	pthread_t threads[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		threads[i] = thread_start("match", match_in_thread, r);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	regex_free(r);
}

/* The run of a pattern as text: a set is told by its first byte and how many it has. */
static void expect_run(const char *pattern, const char *expected)
{
	char got[REGEX_RUN_MAX * 6 + 1] = "";
	struct regex_run run;

	regex_run_find(&run, str_c(pattern));
	for (size_t i = 0; i < run.n; i++) {
		int first = 0, n = 0;

		for (int c = 127; c > 0; c--)
			if (regex_set_has(&run.set[i], (unsigned char)c)) {
				first = c;
				n++;
			}
		snprintf(got + strlen(got), 6, n > 1 ? "%c%d" : "%c", first, n);
	}
	assert_string_equal(got, expected);
}

static void test_run(void **state)
{
	(void)state;
	expect_run("abc", "abc");
	expect_run("[0-9]{3}[a-f]{2}", "010010010a6a6");
	expect_run("[0-9]+x", "010x");
	expect_run("ab*cde", "cde");
	expect_run("ab+cd", "bcd");
	expect_run("abc?", "ab");
	expect_run("ab{2,}c", "abb");
	expect_run("ab{0,3}cd", "cd");
	expect_run("\\d\\.\\d{2}", "010.010010");
	expect_run("^a.bc$", "bc");
	expect_run("a\\bb", "a");
	expect_run("a|b", "");
	expect_run("(ab)+c", "");
	expect_run("[^a]b", "");
	expect_run("[[:digit:]]b", "");
	expect_run("[]a]b", "");
	expect_run("[a-]b", "");
	expect_run("a{,3}b", "");
	expect_run("\\pNab", "");
	expect_run("a+?b", "ab");
	expect_run("abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnop");
	expect_run("", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_to_search),
		cmocka_unit_test(test_match),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_broken_subject),
		cmocka_unit_test(test_refuse),
		cmocka_unit_test(test_literal),
		cmocka_unit_test(test_literals),
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
