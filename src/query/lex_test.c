/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "query/lex.h"
#include "query/quote.h"

/* "KIND KIND …" of a whole text, or the error. */
static void check_kinds(const char *text, const char *want)
{
	struct arena a;
	struct lexer l;
	struct lexeme t;
	struct error e = {0};
	struct buf got = {0};
	int r;

	arena_init(&a, NULL);
	lex_init(&l, str_c(text), &a);
	while ((r = lex_next(&l, &t, &e)) == 0 && t.kind != T_END)
		buf_printf(&got, "%s%s", got.n ? " " : "", token_kind_name(t.kind));
	assert_string_equal(r < 0 ? e.text : buf_cstr(&got), want);
	buf_fini(&got);
	arena_fini(&a);
}

static void kinds(void **state)
{
	(void)state;
	check_kinds("", "");
	check_kinds("{a=\"b\"} |= `c`", "{ IDENTIFIER = STRING } |= STRING");
	check_kinds("= =~ == != !~ !> ! > >= < <=", "= =~ == != !~ !> IDENTIFIER > >= < <=");
	check_kinds("| |= |~ |> . , ( ) + - * / % ^", "| |= |~ |> . , ( ) + - * / % ^");
	check_kinds("a # b c\nd#", "IDENTIFIER IDENTIFIER");
	check_kinds("[5m] [ 1h30m ]", "RANGE RANGE");
	check_kinds("5m 1.5s 3ns 2d", "DURATION DURATION DURATION DURATION");
	check_kinds("5 .5 1.5 1e9 2.5e-3 0x1F", "NUMBER NUMBER NUMBER NUMBER NUMBER NUMBER");
	check_kinds("5KB 1.5MiB 12b", "BYTES BYTES BYTES");
	check_kinds("5k 1.5Mi 3Q", "BYTES BYTES NUMBER IDENTIFIER");
	check_kinds("--strict --keep-empty", "PARSER_FLAG PARSER_FLAG");
	check_kinds("1--1 --", "NUMBER - - NUMBER - -");
	check_kinds("5foo", "NUMBER IDENTIFIER");
	check_kinds("été_9 _x", "IDENTIFIER IDENTIFIER");
	check_kinds("a\xc2\xa0"
		    "b",
		"IDENTIFIER IDENTIFIER IDENTIFIER");
	check_kinds("\xff:", "IDENTIFIER IDENTIFIER");
}

static void errors(void **state)
{
	(void)state;
	check_kinds("{a=\"b}", "parse error at line 1, col 4: literal not terminated");
	check_kinds("\"a\nb\"", "parse error at line 1, col 1: literal not terminated");
	check_kinds("{a=\"b\"}\n|= `c", "parse error at line 2, col 4: literal not terminated");
	check_kinds("\"\\", "parse error at line 1, col 1: literal not terminated");
	check_kinds(" \"a\\qb\"", "parse error at line 1, col 2: invalid char escape");
	check_kinds("\"\\ud800\"", "parse error at line 1, col 1: invalid char escape");
	check_kinds("\"\\400\"", "parse error at line 1, col 1: invalid char escape");
	check_kinds("[5m", "parse error at line 1, col 1: missing closing ']' in duration");
	check_kinds(
		"[$__x]", "parse error at line 1, col 1: not a valid duration string: \"$__x\"");
	check_kinds("[0s]", "parse error at line 1, col 1: duration must be greater than 0");
	check_kinds("1e999", "parse error at line 1, col 1: not a number that fits in 64 bits");
}

static void check_string(const char *text, struct str want)
{
	struct arena a;
	struct lexer l;
	struct lexeme t;

	arena_init(&a, NULL);
	lex_init(&l, str_c(text), &a);
	assert_int_equal(lex_next(&l, &t, NULL), 0);
	assert_int_equal(t.kind, T_STRING);
	assert_int_equal(t.value.n, want.n);
	assert_memory_equal(t.value.p, want.p, want.n);
	arena_fini(&a);
}

static void strings(void **state)
{
	(void)state;
	check_string("\"\"", STR(""));
	check_string("\"a\\\"b\\\\\"", STR("a\"b\\"));
	check_string("\"\\a\\b\\f\\n\\r\\t\\v\"", STR("\a\b\f\n\r\t\v"));
	check_string("\"\\x41\\101\\u00e9\\U0001F600\\000\"", STR("AA\xc3\xa9\xf0\x9f\x98\x80\0"));
	check_string("`a\\n\"b\nc`", STR("a\\n\"b\nc"));
	check_string("`a\r\nb`", STR("a\nb"));
}

static void values(void **state)
{
	struct arena a;
	struct lexer l;
	struct lexeme t;

	(void)state;
	arena_init(&a, NULL);
	lex_init(&l, STR("0x10 .25 1.5KiB [1m30s] 2MB"), &a);
	assert_int_equal(lex_next(&l, &t, NULL), 0);
	assert_true(t.number == 16);
	assert_int_equal(lex_next(&l, &t, NULL), 0);
	assert_true(t.number == 0.25);
	assert_int_equal(lex_next(&l, &t, NULL), 0);
	assert_true(t.kind == T_BYTES && t.bytes == 1536);
	assert_int_equal(lex_next(&l, &t, NULL), 0);
	assert_true(t.ns == INT64_C(90000000000));
	assert_int_equal(lex_next(&l, &t, NULL), 0);
	assert_true(t.kind == T_BYTES && t.bytes == 2000000);
	arena_fini(&a);
}

static void positions(void **state)
{
	struct arena a;
	struct lexer l;
	struct lexeme t;

	(void)state;
	arena_init(&a, NULL);
	lex_init(&l, STR("\"é\" x\n\t# c\n  y"), &a);
	assert_int_equal(lex_next(&l, &t, NULL), 0);
	assert_int_equal(lex_next(&l, &t, NULL), 0);
	assert_true(t.line == 1 && t.col == 5);
	assert_int_equal(lex_next(&l, &t, NULL), 0);
	assert_true(t.line == 3 && t.col == 3);
	assert_int_equal(lex_next(&l, &t, NULL), 0);
	assert_true(t.kind == T_END && t.line == 3 && t.col == 4);
	arena_fini(&a);
}

/* Whatever the bytes, quoting and lexing give them back. */
static void quotes(void **state)
{
	struct buf quoted = {0}, back = {0};
	uint32_t seed = 7;

	(void)state;
	for (int round = 0; round < 5000; round++) {
		char bytes[24];
		size_t n = (size_t)round % sizeof bytes;
		for (size_t i = 0; i < n; i++) {
			seed = seed * 1664525 + 1013904223;
			/* Any bytes, and every third time those that quoting cares about. */
			bytes[i] = (char)(seed >> 24);
			if (round % 3 == 0)
				bytes[i] = "\xe2\x80\xa8\\\"a\xc2"[seed >> 24 & 7];
		}
		buf_clear(&quoted);
		buf_clear(&back);
		quote_go(&quoted, str_make(bytes, n));
		assert_int_equal(str_utf8_valid(buf_view(&quoted)), quoted.n);
		assert_true(quote_go_read(&back, str_sub(buf_view(&quoted), 1, quoted.n - 1)));
		assert_true(str_eq(buf_view(&back), str_make(bytes, n)));
	}
	buf_fini(&quoted);
	buf_fini(&back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds),
		cmocka_unit_test(errors),
		cmocka_unit_test(strings),
		cmocka_unit_test(values),
		cmocka_unit_test(positions),
		cmocka_unit_test(quotes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
