/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "forward/known.c"

static struct batch *of(const char *id, uint64_t from, uint64_t to, const char *id2)
{
	struct batch_builder *bb = batch_builder_new(STR("t"), STR("file"), 1);
	struct batch_source s = {.id = str_c(id), .kind = POSITION_MARK, .from = from, .to = to};
	struct batch *b;

	batch_builder_source(bb, &s);
	s.id = str_c(id2);
	if (id2)
		batch_builder_source(bb, &s);
	b = batch_builder_finish(bb, 1);
	batch_builder_free(bb);
	return b;
}

static bool elsewhere(struct known *k, struct batch *b, unsigned server, uint64_t mark)
{
	bool yes;

	known_meet(k, b);
	yes = known_elsewhere(k, b, server, mark);
	batch_unref(b);
	return yes;
}

static void acked(struct known *k, struct batch *b, unsigned server)
{
	known_meet(k, b);
	known_acked(k, b, server);
	batch_unref(b);
}

static void test_rules(void **state)
{
	struct known *k = known_new();

	(void)state;
	/* What an input begins with was acknowledged before. */
	assert_true(elsewhere(k, of("a", 100, 200, NULL), 0, 50));
	/* Behind a batch that nobody acknowledged. */
	assert_false(elsewhere(k, of("a", 200, 300, NULL), 0, 50));
	acked(k, of("a", 100, 200, NULL), 0);
	assert_true(elsewhere(k, of("a", 200, 300, NULL), 1, 50));
	/* It had it itself. */
	assert_false(elsewhere(k, of("a", 200, 300, NULL), 0, 150));
	/* Then it goes on from there, and the rest may be elsewhere again. */
	acked(k, of("a", 150, 300, NULL), 1);
	assert_true(elsewhere(k, of("a", 300, 400, NULL), 0, 150));
	/* Two sources, one of which it had. */
	acked(k, of("b", 0, 400, NULL), 0);
	assert_false(elsewhere(k, of("a", 300, 400, "b"), 0, 150));
	known_forget_server(k, 0);
	assert_true(elsewhere(k, of("a", 300, 400, "b"), 0, 150));
	known_free(k);
}

static void test_bound(void **state)
{
	struct known *k = known_new();
	char id[20];

	(void)state;
	acked(k, of("kept", 0, 10, NULL), 0);
	for (int i = 0; i < 5 * YOUNG_MAX; i++) {
		snprintf(id, sizeof id, "%d", i);
		acked(k, of(id, 0, 10, NULL), 0);
		if (i % 1000 == 0)
			assert_false(elsewhere(k, of("kept", 20, 30, NULL), 1, 0));
	}
	assert_true(k->young.n + k->old.n <= 2 * YOUNG_MAX);
	/* Forgotten, so met anew. */
	assert_true(elsewhere(k, of("0", 20, 30, NULL), 1, 0));
	known_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
