/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "proto/envelope.h"

static int put_piece(void *arg, uint64_t offset, struct str bytes, struct error *e)
{
	(void)e;
	buf_printf(arg, "%llu:", (unsigned long long)offset);
	buf_str(arg, bytes);
	buf_char(arg, '|');
	return 0;
}

/* What is rebuilt of a record, as "offset:bytes|"; NULL: refused. */
static char *rebuilt(const char *body, uint64_t before, uint64_t position, const char *const *meta)
{
	struct labels_builder b = {.names_free = true};
	struct buf bytes = {0}, out = {0};
	struct record r = {.body = str_c(body),
		.position = position,
		.timestamp = INT64_C(1787306400500000000)};
	int code;

	for (; meta && *meta; meta += 2)
		labels_builder_set(&b, str_c(meta[0]), str_c(meta[1]), NULL);
	if (b.n)
		labels_builder_write(&b, &bytes);
	r.meta = buf_view(&bytes);
	code = envelope_rebuild(&r, before, put_piece, &out, NULL);
	labels_builder_fini(&b);
	buf_fini(&bytes);
	buf_char(&out, 0);
	if (code >= 0)
		return out.p;
	buf_fini(&out);
	return NULL;
}

static void expect(const char *body, uint64_t before, uint64_t position, const char *const *meta,
	const char *expected)
{
	char *got = rebuilt(body, before, position, meta);

	if (expected && got)
		assert_string_equal(got, expected);
	else
		assert_true(!expected && !got);
	free(got);
}

#define META(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_plain(void **state)
{
	(void)state;
	expect("abc", 10, 13, NULL, "10:abc|");
	expect("abc", 10, 14, NULL, "10:abc\n|");
	expect("abc", 10, 15, NULL, "10:abc\r\n|");
	expect("abc", 0, 7, NULL,
		"0:\xef\xbb\xbf"
		"abc\n|");
	expect("", 0, 3, NULL, "0:\xef\xbb\xbf|");
	expect("abc", 10, 16, NULL, NULL);
	expect("abc", 10, 12, NULL, NULL);
	expect("abc", 14, 13, NULL, NULL);
	expect("abc", 10, 114, META("skipped", "100"), "110:abc\n|");
	expect("abc", 0, 107, META("skipped", "100"), NULL);
	expect("abc", 10, 14, META("skipped", "x"), NULL);
	expect("abc", 10, 14, META("skipped", "18446744073709551615"), NULL);
	expect("a*", 10, 14, META("redacted", "4"), "10:a*|");
	expect("a*", 10, 14, META("redacted", "15"), NULL);
}

#define AT "2026-08-21T10:00:00."

static void test_lines(void **state)
{
	(void)state;
	expect("x", 0, 100, META("envelope", "cri stdout"), "58:" AT "500000000Z stdout F x\n|");
	expect("x", 0, 100, META("envelope", "cri stderr part d=trim z=+02:00 cr e=none"),
		"61:2026-08-21T12:00:00.5+02:00 stderr P x\r|");
	expect("ab\ncd", 0, 200, META("envelope", "cri stdout part n=1; n=2; n=2"), NULL);
	expect("ab\ncd", 0, 200,
		META("envelope", "cri stdout d=1 part n=1; n=1 t=100000000 g=10; "),
		"87:" AT "5Z stdout P a\n|121:" AT "6Z stdout F b\n|165:" AT "6Z stdout F cd\n|");
	expect("a<b", 0, 100, META("envelope", "docker stdout"),
		"29:{\"log\":\"a\\u003cb\\n\",\"stream\":\"stdout\",\"time\":\"" AT "5Z\"}\n|");
	expect("a<b", 0, 100, META("envelope", "docker stderr open x=3 a=7:{\"k\":1} d=0"),
		"22:{\"log\":\"a<b\",\"stream\":\"stderr\",\"attrs\":{\"k\":1},\"time\":\""
		"2026-08-21T10:00:00Z\"}\n|");
	expect("abc", 0, 100, META("envelope", "raw e=crlf"), "95:abc\r\n|");
	expect("abc", 0, 100, META("envelope", "docker l=5:x ; y n=3"), "94:x ; y\n|");
	expect("ab", 0, 100, META("envelope", "docker stdout h=2:{[ f=2:]}"), "91:{[ab\\n]}\n|");
}

static void test_encoded(void **state)
{
	(void)state;
	expect("\xc3\xa4", 10, 12, META("envelope", "latin1"), "10:\xe4\n|");
	expect("\xc3\xa4", 10, 13, META("envelope", "latin1"), "10:\xe4\r\n|");
	expect("\xc3\xa4", 10, 11, META("envelope", "latin1"), "10:\xe4|");
	expect("\xc3\xa4", 10, 14, META("envelope", "latin1"), NULL);
	expect("\xe2\x82\xac", 10, 12, META("envelope", "latin1"), NULL);
	expect("a", 10, 12, META("envelope", "no-such"), NULL);
	expect("a", 10, 12, META("envelope", "../../tmp/x"), NULL);
	expect("a", 10, 12, META("envelope", "latin1 mark"), NULL);
}

/* Recipes that are none, or ask for what is not there. */
static void test_refused(void **state)
{
	static const char *const bad[] = {"cri n=2", "cri n=-1", "cri n=", "cri z=+2:00",
		"cri d=10", "cri x=9", "cri e=lf", "cri what", "cri h=9:x", "cri h=x", "cri;;;",
		"raw g=1 n=0; g=999 n=0; n=1", "cri t=9x", "cri l=4:", "cri n=99999999999999999999",
		"cri n=1; cri"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		expect("x", 0, 1000, META("envelope", bad[i]), NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_encoded),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
