/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "input/amqp_seen.c"

static struct seen_hash number(uint64_t i)
{
	char text[32];

	snprintf(text, sizeof text, "message-%llu", (unsigned long long)i);
	return seen_hash_of(str_c(text), STR("ServiceA.Error"), STR("body"));
}

/* What a store would keep. */
struct kept {
	struct buf tokens[SEEN_SLOTS_MAX];
	size_t n_saved;
};

static void keep(void *arg, size_t slot, struct str token)
{
	struct kept *k = arg;

	assert_true(slot < SEEN_SLOTS_MAX);
	buf_clear(&k->tokens[slot]);
	buf_str(&k->tokens[slot], token);
	k->n_saved++;
}

static void load(struct seen *s, const struct kept *k)
{
	struct str tokens[SEEN_SLOTS_MAX];
	size_t n = 0;

	for (size_t i = SEEN_SLOTS_MAX; i-- > 0;)
		if (k->tokens[i].n)
			tokens[n++] = buf_view(&k->tokens[i]);
	seen_load(s, tokens, n);
}

static void kept_fini(struct kept *k)
{
	for (size_t i = 0; i < SEEN_SLOTS_MAX; i++)
		buf_fini(&k->tokens[i]);
	free(k);
}

static void expect_range(const struct seen *s, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		assert_true(seen_has(s, number(i)));
}

static void test_parts_are_told_apart(void **state)
{
	struct seen_hash h = seen_hash_of(STR("1"), STR("a.b"), STR("text"));

	(void)state;
	assert_true(same(h, seen_hash_of(STR("1"), STR("a.b"), STR("text"))));
	assert_false(same(h, seen_hash_of(STR("2"), STR("a.b"), STR("text"))));
	assert_false(same(h, seen_hash_of(STR("1"), STR("a.c"), STR("text"))));
	assert_false(same(h, seen_hash_of(STR("1"), STR("a.b"), STR("text."))));
	assert_false(same(h, seen_hash_of(STR("1a"), STR(".b"), STR("text"))));
}

static void test_window(void **state)
{
	struct seen *s = seen_new(1000, 0);

	(void)state;
	for (uint64_t i = 0; i < 20000; i++) {
		assert_false(seen_has(s, number(i)));
		seen_put(s, number(i));
		if (i >= 1000 && i % 97 == 0)
			expect_range(s, i - 999, i + 1);
	}
	assert_false(seen_has(s, number(0)));
	assert_false(seen_has(s, number(20000 - 1 - s->n_ring)));
	assert_int_equal(seen_size(s), s->n_ring);
	seen_free(s);
}

static void test_undo(void **state)
{
	struct seen *s = seen_new(300, 200);

	(void)state;
	for (uint64_t i = 0; i < 5000; i++)
		seen_put(s, number(i));
	seen_undo(s, 4800);
	assert_int_equal(seen_count(s), 4800);
	expect_range(s, 4500, 4800);
	for (uint64_t i = 4800; i < 5000; i++)
		assert_false(seen_has(s, number(i)));
	for (uint64_t i = 4800; i < 5000; i++)
		seen_put(s, number(i));
	expect_range(s, 4500, 5000);
	seen_free(s);
}

/* Put twice: going of the first leaves the second. */
static void test_twice(void **state)
{
	struct seen *s = seen_new(1, 0);

	(void)state;
	seen_put(s, number(7));
	for (uint64_t i = 100; i < 200; i++)
		seen_put(s, number(i));
	seen_put(s, number(7));
	for (uint64_t i = 200; i < 200 + s->n_ring - 10; i++)
		seen_put(s, number(i));
	assert_true(seen_has(s, number(7)));
	for (uint64_t i = 0; i < 10; i++)
		seen_put(s, number(10000 + i));
	assert_false(seen_has(s, number(7)));
	seen_free(s);
}

/* Killed after any batch, the next life knows what had been committed. */
static void test_outlives(void **state)
{
	struct kept *k = calloc(1, sizeof *k);
	struct seen *s = seen_new(2000, 500);
	uint64_t at = 0;

	(void)state;
	srand(3);
	for (unsigned life = 0; life < 60; life++) {
		struct seen *next;
		uint64_t committed;

		for (unsigned batch = 0; batch < 5; batch++) {
			for (int n = rand() % 700; n > 0; n--)
				seen_put(s, number(at++));
			if (rand() % 4 == 0) {
				uint64_t back = at < 100 ? at : 100;

				seen_undo(s, seen_count(s) - back);
				at -= back;
			}
			seen_save(s, keep, k);
		}
		committed = at;
		for (int n = rand() % 500; n > 0; n--)
			seen_put(s, number(at++));
		next = seen_new(2000, 500);
		load(next, k);
		seen_free(s);
		s = next;
		assert_int_equal(seen_count(s), committed);
		expect_range(s, committed > 2000 ? committed - 2000 : 0, committed);
		for (uint64_t i = committed; i < at; i++)
			assert_false(seen_has(s, number(i)));
		at = committed;
	}
	seen_free(s);
	kept_fini(k);
}

/* With another window all slots are written anew, and the one after that knows them all. */
static void test_other_size(void **state)
{
	static const size_t sizes[] = {1000, 10000, 300, 5000, 20};
	struct kept *k = calloc(1, sizeof *k);
	uint64_t at = 0;

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct seen *s = seen_new(sizes[i], 0), *again;
		size_t least = i > 0 && sizes[i - 1] < sizes[i] ? sizes[i - 1] : sizes[i];

		load(s, k);
		assert_int_equal(seen_count(s), at);
		if (at)
			expect_range(s, at - least, at);
		seen_put(s, number(at++));
		seen_save(s, keep, k);
		again = seen_new(sizes[i], 0);
		load(again, k);
		if (at > least)
			expect_range(again, at - least, at);
		seen_free(again);
		while (at % 20000) {
			seen_put(s, number(at++));
			if (at % 1777 == 0)
				seen_save(s, keep, k);
		}
		seen_save(s, keep, k);
		seen_free(s);
	}
	kept_fini(k);
}

static void test_few_bytes_a_batch(void **state)
{
	struct kept *k = calloc(1, sizeof *k);
	struct seen *s = seen_new(10000, 0);

	(void)state;
	for (uint64_t i = 0; i < 30000; i++)
		seen_put(s, number(i));
	seen_save(s, keep, k);
	for (uint64_t i = 0; i < 100; i++) {
		k->n_saved = 0;
		seen_put(s, number(30000 + i));
		seen_save(s, keep, k);
		assert_true(k->n_saved >= 1);
		assert_true(k->n_saved <= 2);
	}
	k->n_saved = 0;
	seen_save(s, keep, k);
	assert_int_equal(k->n_saved, 0); /* nothing new */
	seen_free(s);
	kept_fini(k);
}

static void test_bad_tokens(void **state)
{
	static char long_one[TOKEN_HEAD + (SEEN_SLOT + 1) * HASH_BYTES] = {VERSION};
	const struct str tokens[] = {STR(""), STR("\1"), STR("\2\0\0\0\0\0\0\0\0"),
		STR("\1\377\377\377\377\377\377\377\377"), STR("\1\0\0\0\0\0\0\0\0abc"),
		str_make(long_one, sizeof long_one)};
	struct seen *s = seen_new(100, 0);

	(void)state;
	seen_load(s, tokens, sizeof tokens / sizeof *tokens);
	assert_int_equal(seen_count(s), 0);
	assert_int_equal(seen_size(s), 0);
	seen_put(s, number(1));
	assert_true(seen_has(s, number(1)));
	seen_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts_are_told_apart),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_undo),
		cmocka_unit_test(test_twice),
		cmocka_unit_test(test_outlives),
		cmocka_unit_test(test_other_size),
		cmocka_unit_test(test_few_bytes_a_batch),
		cmocka_unit_test(test_bad_tokens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
