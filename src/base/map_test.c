/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"

static void empty(void **state)
{
	struct map m = {0};
	size_t at = 0;

	assert_null(map_get(&m, STR("x")));
	assert_false(map_remove(&m, STR("x")));
	assert_null(map_next(&m, &at));
	map_fini(&m);
}

static void any_bytes_are_keys(void **state)
{
	struct map m = {0};
	bool added;
	char key[] = "key";

	map_put(&m, STR_NONE, &added)->u = 1;
	assert_true(added);
	map_put(&m, STR("a\0b"), &added)->u = 2;
	assert_true(added);
	map_put(&m, STR("a"), NULL)->u = 3;
	assert_int_equal(map_get(&m, STR(""))->u, 1);
	assert_int_equal(map_get(&m, STR("a\0b"))->u, 2);
	assert_null(map_get(&m, STR("a\0c")));
	map_put(&m, str_c(key), NULL)->u = 4;
	key[0] = 'X'; /* keys are copied */
	assert_int_equal(map_get(&m, STR("key"))->u, 4);
	map_put(&m, STR("key"), &added);
	assert_false(added);
	assert_int_equal(m.n, 4);
	map_fini(&m);
	assert_int_equal(m.n + m.bytes, 0);
}

enum { KEYS = 300 };

static struct str key_of(unsigned i, char *out, size_t size)
{
	return str_make(out, (size_t)snprintf(out, size, "%u", i));
}

static void check_model(const struct map *m, const uint64_t *model, size_t n)
{
	size_t at = 0, seen = 0, bytes = m->cap * sizeof *m->slots;
	const struct map_slot *s;
	char text[20];

	assert_int_equal(m->n, n);
	while ((s = map_next(m, &at))) {
		uint64_t i;
		assert_true(str_u64(s->key, &i) && i < KEYS);
		assert_int_equal(s->value.u, model[i]);
		bytes += s->key.n + 1;
		seen++;
	}
	assert_int_equal(seen, n);
	assert_int_equal(m->bytes, bytes);
	for (unsigned i = 0; i < KEYS; i++) {
		union map_value *v = map_get(m, key_of(i, text, sizeof text));
		assert_true(model[i] ? v && v->u == model[i] : !v);
	}
}

/* Against an array: removal shifts runs of slots, also around the end of the table. */
static void behaves_like_a_model(void **state)
{
	static uint64_t model[KEYS];
	struct map m = {0};
	size_t n = 0;
	char text[20];

	srandom(2);
	for (unsigned round = 1; round < 60000; round++) {
		/* The table fills in one phase and empties in the next. */
		bool fill = random() % 10 < (round / 4000 % 2 ? 3 : 7);
		unsigned i = (unsigned)random() % KEYS;
		struct str key = key_of(i, text, sizeof text);
		if (fill) {
			bool added;
			map_put(&m, key, &added)->u = round;
			assert_int_equal(added, model[i] == 0);
			n += added;
			model[i] = round;
		} else {
			assert_int_equal(map_remove(&m, key), model[i] != 0);
			n -= model[i] != 0;
			model[i] = 0;
		}
		if (round % 500 == 0)
			check_model(&m, model, n);
	}
	map_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty),
		cmocka_unit_test(any_bytes_are_keys),
		cmocka_unit_test(behaves_like_a_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
