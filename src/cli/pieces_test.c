/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/pieces.h"

struct output {
	struct buf bytes, holes;
};

static int take(void *ctx, struct str bytes, struct error *e)
{
	struct output *o = ctx;

	buf_str(&o->bytes, bytes);
	return 0;
}

static void take_hole(void *ctx, uint64_t offset, uint64_t n, const char *why)
{
	struct output *o = ctx;

	buf_printf(
		&o->holes, "%llu+%llu %s;", (unsigned long long)offset, (unsigned long long)n, why);
}

/* Feed pages, NULL ends; what comes out of them. */
static void assert_file(const char *const *pages, const char *bytes, const char *holes)
{
	struct output o = {0};
	struct pieces p = {.write = take, .hole = take_hole, .ctx = &o};
	struct error e = {0};
	struct str next;

	for (; *pages; pages++)
		assert_int_equal(pieces_page(&p, str_c(*pages), &next, &e), 0);
	assert_int_equal(pieces_end(&p, &e), 0);
	assert_int_equal(p.n_items, 0);
	assert_int_equal(p.waiting_bytes, 0);
	assert_string_equal(buf_cstr(&o.bytes), bytes);
	assert_string_equal(buf_cstr(&o.holes), holes);
	pieces_fini(&p);
	buf_fini(&o.bytes);
	buf_fini(&o.holes);
}

#define PAGES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_in_order(void **state)
{
	assert_file(PAGES("\n"), "", "");
	assert_file(PAGES("piece 0 3\npiece 3 2\n\nabc\n\n"), "abc\n\n", "");
	assert_file(PAGES("next 5.3\npiece 0 3\n\nabc", "piece 3 1\n\nd"), "abcd", "");
}

static void test_before_their_turn(void **state)
{
	assert_file(PAGES("piece 2 2\npiece 4 1\npiece 0 2\n\ncdeab"), "abcde", "");
	assert_file(PAGES("next 1.1\npiece 2 2\n\ncd", "next 1.1\npiece 6 1\n\ng",
			    "piece 0 2\npiece 4 2\n\nabef"),
		"abcdefg", "");
	/* What comes twice is written once. */
	assert_file(PAGES("piece 0 3\npiece 1 3\npiece 0 2\n\nabcbcdab"), "abcd", "");
}

static void test_holes(void **state)
{
	assert_file(PAGES("piece 2 2\npiece 6 1\n\ncdg"), "cdg",
		"0+2 not in the store;4+2 not in the store;");
	assert_file(PAGES("gap 0 2 dropped\npiece 2 2\n\ncd"), "cd", "0+2 dropped;");
	assert_file(PAGES("gap 1 2 dropped\npiece 0 1\npiece 5 1\n\naf"), "af",
		"1+2 dropped;3+2 not in the store;");
	/* At the end, and a gap that was filled all the same. */
	assert_file(PAGES("gap 1 9 refused\npiece 0 1\n\na"), "a", "1+9 refused;");
	assert_file(PAGES("gap 0 2 late\npiece 0 2\n\nab"), "ab", "");
	assert_file(PAGES("piece 0 1\nredacted 1 5 3\npiece 6 1\n\na***g"), "a***g",
		"1+5 redacted before it left the host;");
}

/* Nothing waits for ever: beyond the window what is missing is passed by. */
static void test_the_window(void **state)
{
	struct output o = {0};
	struct pieces p = {.write = take, .hole = take_hole, .ctx = &o};
	struct buf page = {0};
	struct error e;
	struct str next;

	buf_c(&page, "piece 10 5000000\n\n");
	memset(buf_reserve(&page, 5000000), 'x', 5000000);
	page.n += 5000000;
	assert_int_equal(pieces_page(&p, buf_view(&page), &next, &e), 0);
	assert_int_equal(o.bytes.n, 5000000);
	assert_string_equal(buf_cstr(&o.holes), "0+10 not in the store;");
	pieces_fini(&p);
	buf_fini(&page);
	buf_fini(&o.bytes);
	buf_fini(&o.holes);
}

static void test_what_is_no_page(void **state)
{
	static const char *const bad[] = {"", "x", "piece 0 1\n", "piece 0 2\n\na",
		"piece 0 1\n\nab", "piece 0\n\n", "piece x 1\n\na",
		"piece 18446744073709551615 1\n\na", "next\n\n", "gap 1\n\n", "redacted 0 1\n\n",
		"redacted 0 1 5\n\na", "other 0 1\n\na", "{\"a\":1}\n\n"};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct output o = {0};
		struct pieces p = {.write = take, .hole = take_hole, .ctx = &o};
		struct error e;
		struct str next;

		assert_int_equal(pieces_page(&p, str_c(bad[i]), &next, &e), ERR_NET);
		pieces_fini(&p);
		buf_fini(&o.bytes);
		buf_fini(&o.holes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_order),
		cmocka_unit_test(test_before_their_turn),
		cmocka_unit_test(test_holes),
		cmocka_unit_test(test_the_window),
		cmocka_unit_test(test_what_is_no_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
