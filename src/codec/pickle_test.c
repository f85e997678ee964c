/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "codec/pickle.h"

enum { MEMORY = 1 << 20 };

/* Pickles and what CPython prints of them; tests/interop compares many more. */
static const struct {
	struct str pickle;
	const char *str, *repr;
} samples[] = {
	{STR_INIT("N."), "None", "None"},
	{STR_INIT("I01\n."), "True", "True"},
	{STR_INIT("\x89."), "False", "False"},
	{STR_INIT("K\xff."), "255", "255"},
	{STR_INIT("J\xff\xff\xff\xff."), "-1", "-1"},
	{STR_INIT("L-12345678901234567890L\n."), "-12345678901234567890", "-12345678901234567890"},
	{STR_INIT("\x8a\x09\0\0\0\0\0\0\0\0\1."), "18446744073709551616", "18446744073709551616"},
	{STR_INIT("\x8a\x08\0\0\0\0\0\0\0\x80."), "-9223372036854775808", "-9223372036854775808"},
	{STR_INIT("\x8a\0."), "0", "0"},
	{STR_INIT("G?\xf8\0\0\0\0\0\0."), "1.5", "1.5"},
	{STR_INIT("Finf\n."), "inf", "inf"},
	{STR_INIT("X\4\0\0\0it's."), "it's", "\"it's\""},
	{STR_INIT("\x8c\4a\n\\\t."), "a\n\\\t", "'a\\n\\\\\\t'"},
	{STR_INIT("Va\\u20ac\xe4\\\\u0041\n."), "a\xe2\x82\xac\xc3\xa4\\\\u0041",
		"'a\xe2\x82\xac\xc3\xa4\\\\\\\\u0041'"},
	{STR_INIT("S'a\\x41\\'\\n'\n."), "aA'\n", "\"aA'\\n\""},
	{STR_INIT("T\2\0\0\0h\xe9."), "h\xc3\xa9", "'h\xc3\xa9'"},
	{STR_INIT("X\3\0\0\0\xed\xa0\xbd."), "\xef\xbf\xbd", "'\xef\xbf\xbd'"},
	{STR_INIT("C\3a\0\xff."), "b'a\\x00\\xff'", "b'a\\x00\\xff'"},
	{STR_INIT("c_codecs\nencode\n(X\2\0\0\0\xc3\xbfX\6\0\0\0latin1tR."), "b'\\xff'",
		"b'\\xff'"},
	{STR_INIT("(K\1t."), "(1,)", "(1,)"},
	{STR_INIT("](K\1Ne."), "[1, None]", "[1, None]"},
	{STR_INIT("}(K\1NK\2]u."), "{1: None, 2: []}", "{1: None, 2: []}"},
	{STR_INIT("(lp0\nNa."), "[None]", "[None]"},
	{STR_INIT("\x8f\x94(K\1\x90."), "{1}", "{1}"},
	{STR_INIT("(\x91."), "frozenset()", "frozenset()"},
	{STR_INIT("c__builtin__\nset\n((lI1\natR."), "{1}", "{1}"},
	{STR_INIT("]\x94h\0a."), "[[...]]", "[[...]]"},
	{STR_INIT("cos\nsystem\n(S'id'\ntR."), "<os.system object>", "<os.system object>"},
	{STR_INIT("cos\nsystem\n."), "<class 'os.system'>", "<class 'os.system'>"},
	{STR_INIT("cbuiltins\nKeyError\n(S'k'\ntR."), "'k'", "KeyError('k')"},
	{STR_INIT("cbuiltins\nOSError\n(K\2S'no'\ntR."), "[Errno 2] no", "OSError(2, 'no')"},
	{STR_INIT("cdatetime\ndatetime\n(C\x0a\7\xea\1\2\3\4\5\0\0\6tR."),
		"2026-01-02 03:04:05.000006", "datetime.datetime(2026, 1, 2, 3, 4, 5, 6)"},
	{STR_INIT("cdatetime\ntimedelta\n(J\xff\xff\xff\xffK\5K\0tR."), "-1 day, 0:00:05",
		"datetime.timedelta(days=-1, seconds=5)"},
	{STR_INIT("cdecimal\nDecimal\n(S'1.50'\ntR."), "1.50", "Decimal('1.50')"},
	{STR_INIT("c__builtin__\ngetattr\n(cshop\nState\nS'RED'\ntR."), "State.RED", "State.RED"},
	{STR_INIT("c__builtin__\ngetattr\n(cos\nsystem\nI1\ntR."), "<builtins.getattr object>",
		"<builtins.getattr object>"},
	{STR_INIT("cuuid\nUUID\n)\x81}S'int'\nK\5sb."), "00000000-0000-0000-0000-000000000005",
		"UUID('00000000-0000-0000-0000-000000000005')"},
	{STR_INIT("cpathlib\nPosixPath\n(S'/'\nS'usr'\nS'bin'\ntR."), "/usr/bin",
		"PosixPath('/usr/bin')"},
};

static void values(void **state)
{
	struct pickle *p = pickle_new(MEMORY);
	struct buf out = {0};

	for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
		const struct pickle_value *v;
		struct error e;
		size_t used;
		if (pickle_read(p, samples[i].pickle, &v, &used, &e) < 0)
			fail_msg("%s: %s", samples[i].repr, e.text);
		assert_int_equal(used, samples[i].pickle.n);
		buf_clear(&out);
		pickle_str(v, 1000, &out);
		assert_string_equal(buf_cstr(&out), samples[i].str);
		buf_clear(&out);
		pickle_repr(v, 1000, &out);
		assert_string_equal(buf_cstr(&out), samples[i].repr);
	}
	buf_fini(&out);
	pickle_free(p);
}

static void literals(void **state)
{
	static const struct {
		const char *in, *str;
	} good[] = {
		{" ( 'a\\n' , 1 ) ", "('a\\n', 1)"},
		{"{'a': [1.5, None], 2: {True}}", "{'a': [1.5, None], 2: {True}}"},
		{"()", "()"},
		{"{}", "{}"},
		{"(1)", "1"},
		{"b'\\xff'", "b'\\xff'"},
		{"'\\u20ac\\U0001f600\\x41'", "\xe2\x82\xac\xf0\x9f\x98\x80"
					      "A"},
		{"Decimal('1.5')", "1.5"},
		{"datetime.date(2026, 1, 2)", "datetime.date(2026, 1, 2)"},
		{"<Color.RED: 'a, b'>", "<Color.RED: 'a, b'>"},
		{"123456789012345678901234567890", "123456789012345678901234567890"},
		{"-inf", "-inf"},
	};
	static const char *const bad[] = {"", "(", "(1", "[1)", "'a", "{1: }", "{1: 2, 3}",
		"(1,,2)", "1, 2", "'\\x4'", "f(", "]"};
	struct pickle *p = pickle_new(MEMORY);
	const struct pickle_value *v;
	struct buf out = {0};
	struct error e;

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		if (pickle_literal(p, str_c(good[i].in), &v, &e) < 0)
			fail_msg("%s: %s", good[i].in, e.text);
		buf_clear(&out);
		pickle_str(v, 1000, &out);
		assert_string_equal(buf_cstr(&out), good[i].str);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (pickle_literal(p, str_c(bad[i]), &v, &e) != ERR_ARG)
			fail_msg("%s is taken", bad[i]);
	buf_fini(&out);
	pickle_free(p);
}

static void assert_fails(struct pickle *p, struct buf *in, int code, const char *word)
{
	const struct pickle_value *v;
	struct error e;
	int r = pickle_read(p, buf_view(in), &v, NULL, &e);

	if (r != code || !strstr(e.text, word))
		fail_msg("%d: %s", r, r < 0 ? e.text : "no error");
	buf_fini(in);
}

static struct buf repeat(struct str head, struct str middle, size_t n, struct str tail)
{
	struct buf b = {0};

	buf_str(&b, head);
	for (size_t i = 0; i < n; i++)
		buf_str(&b, middle);
	buf_str(&b, tail);
	return b;
}

static void limits(void **state)
{
	struct pickle *p = pickle_new(64 << 20), *small = pickle_new(MEMORY);
	const struct pickle_value *v;
	struct buf b;

	b = repeat(STR(""), STR("("), PICKLE_DEPTH_MAX + 1, STR("."));
	assert_fails(p, &b, ERR_LIMIT, "MARK at byte 200: more than 200 marks");
	b = repeat(STR("("), STR("K\1"), PICKLE_VALUES_MAX + 1, STR("l."));
	assert_fails(p, &b, ERR_LIMIT, "more than 100000 values");
	b = repeat(STR("N"), STR("\x94"), PICKLE_MEMO_MAX + 1, STR("."));
	assert_fails(p, &b, ERR_LIMIT, "memo index 100000");
	b = repeat(STR("("), STR("N"), 1 << 20, STR("l."));
	assert_fails(small, &b, ERR_LIMIT, "needs more than the 1048576 bytes");
	b = repeat(STR("Nr\xff\xff\xff\xff"), STR(""), 0, STR("."));
	assert_fails(p, &b, ERR_LIMIT, "memo index 4294967295");
	/* At the limits all is well. */
	b = repeat(STR(""), STR("("), PICKLE_DEPTH_MAX, STR(""));
	for (int i = 0; i < PICKLE_DEPTH_MAX; i++)
		buf_char(&b, 't');
	buf_char(&b, '.');
	assert_int_equal(pickle_read(small, buf_view(&b), &v, NULL, NULL), 0);
	buf_fini(&b);
	pickle_free(p);
	pickle_free(small);
}

static void errors_say_where(void **state)
{
	static const struct {
		struct str pickle;
		const char *expected;
	} bad[] = {
		{STR_INIT(""), "pickle: byte 0: ends without STOP"},
		{STR_INIT("."), "pickle: STOP at byte 0: needs 1 value on the stack, there are 0"},
		{STR_INIT("N\xff"), "pickle: byte 1: 0xff is no opcode"},
		{STR_INIT("X\5\0\0\0ab"),
			"pickle: BINUNICODE at byte 0: needs 5 bytes, 2 are left"},
		{STR_INIT("Nh\5."), "pickle: BINGET at byte 1: nothing in the memo at 5"},
		{STR_INIT("\x80\6N."), "pickle: PROTO at byte 0: protocol 6: at most 5"},
		{STR_INIT("}(NNNu."), "pickle: SETITEMS at byte 5: a key has no value"},
		{STR_INIT("Nt."), "pickle: TUPLE at byte 1: no mark on the stack"},
		{STR_INIT("I12a\n."), "pickle: INT at byte 0: not a number"},
		{STR_INIT("NNa."), "pickle: APPEND at byte 2: there is nothing to add to"},
	};
	struct pickle *p = pickle_new(MEMORY);
	const struct pickle_value *v;
	struct error e;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_equal(pickle_read(p, bad[i].pickle, &v, NULL, &e), ERR_CORRUPT);
		assert_string_equal(e.text, bad[i].expected);
	}
	pickle_free(p);
}

/* A hundred bytes that spell out without end are cut, at whole characters. */
static void printing_is_bounded(void **state)
{
	struct pickle *p = pickle_new(MEMORY);
	const struct pickle_value *v;
	struct buf b = {0}, out = {0};

	buf_str(&b, STR("]q\1"));
	for (int i = 1; i < 150; i++)
		buf_printf(&b, "](h%ch%ceq%c", i, i, i + 1);
	buf_char(&b, '.');
	assert_int_equal(pickle_read(p, buf_view(&b), &v, NULL, NULL), 0);
	pickle_str(v, 10000, &out);
	assert_int_equal(out.n, 10003);
	buf_clear(&out);
	assert_int_equal(
		pickle_read(p, STR("X\6\0\0\0\xe2\x82\xac\xe2\x82\xac."), &v, NULL, NULL), 0);
	pickle_str(v, 4, &out);
	assert_string_equal(buf_cstr(&out), "\xe2\x82\xac\xe2\x80\xa6");
	buf_fini(&b);
	buf_fini(&out);
	pickle_free(p);
}

static void looking_at_values(void **state)
{
	struct pickle *p = pickle_new(MEMORY);
	const struct pickle_value *v, *dict;
	double f;

	assert_int_equal(pickle_read(p, STR("}(\x8c\1aK\1\x8c\1aK\2K\1Nu."), &v, NULL, NULL), 0);
	assert_int_equal(v->n, 6);
	assert_int_equal(pickle_get(v, STR("a"))->i, 2);
	assert_null(pickle_get(v, STR("b")));
	assert_null(pickle_get(pickle_get(v, STR("a")), STR("a")));
	assert_null(pickle_state(v));
	assert_int_equal(
		pickle_read(p, STR("clogging\nLogRecord\n(K\7t\x81}\x8c\1aK\1sb."), &v, NULL, NULL),
		0);
	assert_int_equal(v->kind, PICKLE_OBJECT);
	assert_true(str_eq_c(v->text, "logging.LogRecord") && v->n == 2 && v->items[0]->i == 7);
	assert_true(str_eq_c(pickle_type(v), "LogRecord"));
	dict = pickle_state(v);
	assert_non_null(dict);
	assert_int_equal(pickle_get(dict, STR("a"))->i, 1);
	assert_false(pickle_number(v, &f));
	assert_int_equal(pickle_read(p, STR("cdecimal\nDecimal\n(S'2.5'\ntR."), &v, NULL, NULL), 0);
	assert_true(v->kind == PICKLE_TEXT && pickle_number(v, &f) && f == 2.5);
	assert_int_equal(pickle_read(p, STR("S'2.5'\n."), &v, NULL, NULL), 0);
	assert_false(pickle_number(v, &f));
	pickle_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values),
		cmocka_unit_test(literals),
		cmocka_unit_test(limits),
		cmocka_unit_test(errors_say_where),
		cmocka_unit_test(printing_is_bounded),
		cmocka_unit_test(looking_at_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
