/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "input/input.h"
#include "input/positions.h"

#include <stdlib.h>

static void test_registry(void **state)
{
	const char *missing = NULL;
	struct error e;

	(void)state;
	assert_non_null(input_type_find(STR("file"), &missing));
	assert_null(missing);
	assert_null(input_type_find(STR("fil"), &missing));
	assert_null(missing);
	assert_null(input_kinds.find(STR("fil"), &e));
	assert_int_equal(e.code, ERR_ARG);
#ifndef SAWLOG_JOURNALD
	assert_null(input_kinds.find(STR("journald"), &e));
	assert_int_equal(e.code, ERR_UNSUPPORTED);
	assert_non_null(strstr(e.text, "libsystemd-dev"));
#endif
	for (size_t i = 0; input_types[i]; i++) {
		assert_string_equal(input_kinds.names()[i], input_types[i]->name);
		assert_non_null(input_types[i]->options);
		assert_non_null(input_types[i]->summary);
	}
}

static void test_positions_round_trip(void **state)
{
	struct positions a, b;
	struct buf text = {0}, again = {0};
	struct error e;
	size_t n_damaged = 0;

	(void)state;
	positions_init(&a);
	a.id = 0xabcdef0123456789;
	for (int i = 0; i < 3; i++) {
		struct position v = {.offset = (uint64_t)i << 40,
			.path = xstrdup(i == 1 ? "/a b/\\n\n odd\\" : "/plain")};

		v.id = (struct identity){.dev = 1,
			.ino = UINT64_MAX,
			.generation = positions_generation(&a, 5000000),
			.birth_ns = -7,
			.n_fingerprint = 1024,
			.fingerprint = UINT64_MAX - 3};
		position_add(&a, &v);
	}
	assert_int_equal(a.last_generation, 5002);
	positions_write_head(&a, &text);
	LIST_EACH (node, &a.list)
		position_write(CONTAINER(node, struct position, node), &text);
	positions_init(&b);
	assert_int_equal(positions_parse(&b, buf_view(&text), &n_damaged, &e), 0);
	assert_int_equal(n_damaged, 0);
	assert_int_equal(b.n, 3);
	positions_write_head(&b, &again);
	LIST_EACH (node, &b.list)
		position_write(CONTAINER(node, struct position, node), &again);
	assert_string_equal(buf_cstr(&text), buf_cstr(&again));
	positions_fini(&a);
	positions_fini(&b);
	buf_fini(&text);
	buf_fini(&again);
}

static void test_positions_damage(void **state)
{
	struct positions p;
	struct error e;
	size_t n_damaged = 0;

	(void)state;
	positions_init(&p);
	assert_int_equal(positions_parse(&p,
				 STR("sawlog-positions 1\nid 00000000000000ff\nlast 9\n"
				     "file 1 2 12 0 0 0 0 5 0 /a\nfile 1 2 three 0 0 0 0 5 0 /a\n"
				     "file 1 2 3 0 1025 0 0 5 0 /a\nfile 1 2 3 0 0 0 0 5 0 \nwhat\n"
				     "file 1 2 3 0 0 0 0 5 0 /a\\x\n\nfile 1 2 3"),
				 &n_damaged, &e),
		0);
	assert_int_equal(n_damaged, 6);
	assert_int_equal(p.n, 1);
	assert_int_equal(p.id, 255);
	/* A generation that a line shows is not given out again, whatever `last` says. */
	assert_int_equal(p.last_generation, 12);
	positions_fini(&p);
	positions_init(&p);
	assert_int_equal(positions_parse(&p, STR("sawlog-positions 1\nlast 9\n"), &n_damaged, &e),
		ERR_CORRUPT);
	assert_int_equal(positions_parse(&p, STR(""), &n_damaged, &e), ERR_CORRUPT);
	positions_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registry),
		cmocka_unit_test(test_positions_round_trip),
		cmocka_unit_test(test_positions_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
