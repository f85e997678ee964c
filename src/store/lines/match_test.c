/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "store/lines/match_model.h"

static unsigned draw(void *ctx, unsigned n)
{
	uint64_t *x = ctx;

	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return (unsigned)((*x >> 20) % n);
}

/* "blk_-<L19>" and the like: <N> <L10> <H8> <h8> <U> <T>, where N… are the kinds. */
static struct template make(const char *text)
{
	static struct template_slot slots[16];
	static char bytes[256];
	struct template t = {.slots = slots, .text = {bytes, 0}};

	for (; *text; text++) {
		struct template_slot *s = &slots[t.n_slots];
		if (*text != '<') {
			bytes[t.text.n++] = *text;
			continue;
		}
		*s = (struct template_slot){.at = (uint32_t)t.text.n};
		switch (text[1]) {
		case 'N': s->kind = SLOT_NUMBER; break;
		case 'L': s->kind = SLOT_LONG; break;
		case 'h': s->kind = SLOT_HEX; break;
		case 'H': s->kind = SLOT_HEX_UPPER; break;
		case 'u': s->kind = SLOT_UUID; break;
		case 'U': s->kind = SLOT_UUID_UPPER; break;
		default: s->kind = SLOT_TEXT;
		}
		s->width = (uint8_t)atoi(text + 2);
		t.n_slots++;
		text = strchr(text, '>');
	}
	return t;
}

static enum match_verdict verdict(const char *template, const char *text)
{
	struct template t = make(template);
	const struct line_test test = {.text = str_c(text)};
	struct line_filter f = {.tests = &test, .n = 1};
	enum match_verdict v = match_template(&f, &t), other;

	f.negate = true;
	other = match_template(&f, &t);
	assert_int_equal(other, v == MATCH_ALL    ? MATCH_NONE
				: v == MATCH_NONE ? MATCH_ALL
						  : MATCH_SOME);
	return v;
}

static enum match_verdict verdict_of_regex(const char *template, const char *pattern)
{
	struct template t = make(template);
	struct line_test test = {.text = STR_NONE};
	struct line_filter f = {.tests = &test, .n = 1};
	struct regex *r;
	enum match_verdict v;

	assert_int_equal(regex_new(&r, str_c(pattern), false, NULL), 0);
	test.regex = r;
	v = match_template(&f, &t);
	regex_free(r);
	return v;
}

#define ALL(t, text)        assert_int_equal(verdict(t, text), MATCH_ALL)
#define NONE(t, text)       assert_int_equal(verdict(t, text), MATCH_NONE)
#define SOME(t, text)       assert_int_equal(verdict(t, text), MATCH_SOME)
#define REGEX_ALL(t, text)  assert_int_equal(verdict_of_regex(t, text), MATCH_ALL)
#define REGEX_NONE(t, text) assert_int_equal(verdict_of_regex(t, text), MATCH_NONE)
#define REGEX_SOME(t, text) assert_int_equal(verdict_of_regex(t, text), MATCH_SOME)

static void test_text(void **state)
{
	(void)state;
	ALL("", "");
	NONE("", "a");
	ALL("a<N>b", "");
	ALL("error <N>", "error ");
	SOME("error <N>", "error 1");
	NONE("error <N>", "error x");
	SOME("blk_-<L19> x", "blk_-723");
	SOME("blk_-<L19> x", "blk_-7230000000000000000 x");
	NONE("blk_-<L19> x", "blk_-723 x");
	NONE("blk_-<L19> x", "blk_-72300000000000000000");
	NONE("ab<N>cd", "abcd"); /* a value is never empty */
	NONE("ab<N>", "b1234567890");
	SOME("ab<N>", "b123456789");
	SOME("<N>.<N>.<N>.<N>", "10.251.43.21");
	SOME("<N>.<N>.<N>.<N>:<N>", "51.43.21");
	NONE("<N>.<N>", "1.2.3");
	SOME("<N>", "1");
	NONE("<N>", "a");
	SOME("<h8>", "abc");
	NONE("<h8>", "ABC");
	SOME("<H8>", "ABC");
	NONE("<h8>", "abcdefabc");
	NONE("<h8>", "xyz");
	SOME("<T>", "xYz0");
	NONE("<T>", "x_");
	ALL("x<N>yy<N>y", "yy");
	ALL("x<N>y<N>yy", "yy");
	NONE("x<N>y<N>y", "yy");
}

static void test_adjacent(void **state)
{
	(void)state;
	SOME("<T><T>", "aaaa");
	SOME("<N><N>", "123456789012");
	NONE("<N><N>", "1234567890123456789");
	SOME("<L10><h6>", "1234567890abcdef");
	NONE("<L10><h6>", "12345678901abcdef");
	SOME("<L10><h6>", "345678901abcde");
}

static void test_uuid(void **state)
{
	(void)state;
	SOME("<u>", "123e4567-e89b-12d3-a456-426614174000");
	NONE("<u>", "123e4567-e89b-12d3-a456-426614174000a");
	NONE("<u>", "123E4567");
	SOME("<U>", "123E4567-E89B");
	SOME("<u>", "-12d3-");
	NONE("<u>", "-12d3a-");
	SOME("<u>", "426614174000");
	NONE("<u>", "4266141740001");
	SOME("id <u>!", "000!");
	SOME("id <u>!", "6-426614174000!");
	NONE("id <u>!", "6-42661417400!");
	SOME("id <u>!", "d 123e4567-e");
	NONE("id <u>!", "d 123e-");
}

static void test_regex(void **state)
{
	(void)state;
	REGEX_ALL("no slots: timeout 5", "timeout [0-9]");
	REGEX_NONE("no slots: timeout", "timeout [0-9]");
	REGEX_SOME("timeout <N>", "timeout [0-9]");
	REGEX_NONE("time <N>", "(timeout|timed out).*[0-9]{3}");
	REGEX_SOME("timed out <N>", "(timeout|timed out).*[0-9]{3}");
	REGEX_ALL("timed out <N>", "timeout|timed out");
	REGEX_ALL("timed out <N>", "t[io]m");
	REGEX_SOME("timed out <N>", "timed\\b");
	REGEX_NONE("timed out <N>", "(?i)error");
	REGEX_ALL("an ErrOr <N>", "(?i)error");
	REGEX_SOME("an <H8>", "(?i)[0-9]abc");
	REGEX_NONE("an <L12>", "(?i)1abc");
	REGEX_SOME("an <T>", "(?i)ABC");
	REGEX_SOME("s<N>", ".*");
	REGEX_NONE("blk_<L12> of <N>", "[0-9]{5}[a-f]{2}");
	REGEX_NONE("blk_<H8> of <N>", "[0-9]{5}[a-f]{2}");
	REGEX_SOME("blk_<h8> of <N>", "[0-9]{5}[a-f]{2}");
	REGEX_SOME("<N>bad", "[0-9]{5}[a-f]{2}");
	REGEX_NONE("<N>bus", "[0-9]{5}[a-f]{2}");
	REGEX_NONE("took <N> ms", "\\d+ns");
	REGEX_SOME("took <N>ns", "\\d+ns");
	/* U+017F is an s, U+212A a k when case does not count. */
	REGEX_SOME("i\xc5\xbf <N>", "(?i)is");
	REGEX_SOME("o\xe2\x84\xaa <N>", "(?i)ok");
	REGEX_NONE("ox <N>", "(?i)ok");
	/* What is in every match rules out as well as what a choice says. */
	REGEX_NONE("warning <N>", "err.*(?i)warning");
}

static void test_filters(void **state)
{
	const struct line_test ab[] = {{.text = STR("xx")}, {.text = STR("1")}},
			       c = {.text = STR("c")};
	struct line_filter f[] = {{.tests = ab, .n = 2}, {.tests = &c, .n = 1}};
	struct template t = make("c<N>d");

	(void)state;
	assert_int_equal(match_filters(f, 0, &t), MATCH_ALL);
	assert_int_equal(match_filters(f, 1, &t), MATCH_SOME);
	assert_int_equal(match_filters(f, 2, &t), MATCH_SOME);
	f[1].negate = true;
	assert_int_equal(match_filters(f, 2, &t), MATCH_NONE);
	f[0].n = 1;
	assert_int_equal(match_filters(f, 1, &t), MATCH_NONE);
	f[0].negate = true;
	assert_int_equal(match_filters(f, 1, &t), MATCH_ALL);
}

static void test_places(void **state)
{
	static struct match_place p[MATCH_PLACES];
	struct template t = make("a <N>.<N>.<N>.<N> <L10>");

	(void)state;
	assert_int_equal(match_places(STR("1.2.3"), &t, p, MATCH_PLACES), 2);
	assert_int_equal(p[0].n, 3);
	assert_int_equal(p[0].terms[0].test, COLUMN_ENDS);
	assert_int_equal(p[0].terms[1].test, COLUMN_EQUALS);
	assert_int_equal(p[0].terms[2].test, COLUMN_BEGINS);
	assert_int_equal(p[0].terms[2].slot, 2);
	assert_int_equal(match_places(STR("1234567890"), &t, p, MATCH_PLACES), 1);
	assert_int_equal(p[0].terms[0].test, COLUMN_EQUALS); /* as long as the value */
	assert_int_equal(match_places(STR("a "), &t, p, MATCH_PLACES), 1);
	assert_int_equal(p[0].n, 0);
	assert_int_equal(match_places(STR("x"), &t, p, MATCH_PLACES), 0);
	assert_int_equal(match_places(STR("1"), &t, p, 5), 5);
	assert_int_equal(match_places(STR("1"), &t, p, 4), -1);
}

/* A text that could stand in a great many ways takes no great time. */
static void test_many_ways(void **state)
{
	static struct template_slot slots[TOKEN_SLOTS_MAX];
	static struct match_place p[MATCH_PLACES];
	static char text[4000];
	struct template t = {.slots = slots, .n_slots = TOKEN_SLOTS_MAX, .text = STR("!")};
	struct line_test test = {.text = {text, sizeof text}};
	struct line_filter f = {.tests = &test, .n = 1};

	(void)state;
	for (int i = 0; i < TOKEN_SLOTS_MAX; i++)
		slots[i].kind = i % 2 ? SLOT_TEXT : SLOT_NUMBER;
	memset(text, '1', sizeof text);
	assert_int_equal(match_template(&f, &t), MATCH_SOME);
	assert_int_equal(match_places(test.text, &t, p, MATCH_PLACES), -1);
	text[sizeof text - 1] = '!';
	assert_int_equal(match_template(&f, &t), MATCH_SOME);
	text[sizeof text - 1] = '-'; /* nowhere, but to find that out takes too long */
	assert_int_equal(match_template(&f, &t), MATCH_SOME);
	assert_int_equal(match_places(test.text, &t, p, MATCH_PLACES), -1);
	test.text.n = 300;
	text[299] = '-';
	t.n_slots = 8;
	assert_int_equal(match_template(&f, &t), MATCH_NONE);
}

static void test_random_texts(void **state)
{
	static struct model m;
	uint64_t seed = 88172645463325252;

	(void)state;
	m.draw = draw;
	m.ctx = &seed;
	for (int i = 0; i < 6000; i++) {
		model_template(&m);
		model_lines(&m);
		for (int k = 0; k < 12; k++) {
			char needle[64];
			struct line_test test = {.text = model_needle(&m, needle, sizeof needle)};
			struct line_filter f = {.tests = &test, .n = 1, .negate = draw(&seed, 2)};
			if (!model_check(&m, &f))
				fail_msg("round %d: `%.*s`", i, STR_ARG(test.text));
		}
	}
}

static void test_random_regexes(void **state)
{
	static struct model m;
	uint64_t seed = 2463534242;

	(void)state;
	m.draw = draw;
	m.ctx = &seed;
	for (int i = 0; i < 2500; i++) {
		model_template(&m);
		model_lines(&m);
		char pattern[100], needle[20];
		struct line_test tests[2] = {{.text = STR_NONE}};
		struct line_filter f = {.tests = tests, .n = 1 + draw(&seed, 2)};
		struct regex *r = NULL;
		struct str text = model_pattern(&m, pattern, sizeof pattern);
		if (regex_new(&r, text, false, NULL) < 0)
			continue;
		tests[0].regex = r;
		tests[1].text = model_needle(&m, needle, sizeof needle);
		f.negate = draw(&seed, 2);
		if (!model_check(&m, &f))
			fail_msg("round %d: `%.*s`", i, STR_ARG(text));
		regex_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_adjacent),
		cmocka_unit_test(test_uuid),
		cmocka_unit_test(test_regex),
		cmocka_unit_test(test_filters),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_many_ways),
		cmocka_unit_test(test_random_texts),
		cmocka_unit_test(test_random_regexes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
