/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "input/lineage.c"

static void test_names(void **state)
{
	static const struct {
		const char *name;
		size_t first, second;
	} cases[] = {{"app.log", 0, 0}, {"app.log.1", 7, 0}, {"app.log-20260821", 7, 0},
		{"app.log-20260821.1", 7, 16}, {"app.log.2026-08-21", 7, 12},
		{"app.log.2026-08-21T10:00:00Z", 7, 12}, {"app.log.old", 7, 0},
		{"app.log.prev", 7, 0}, {"app.log.1.gz", 0, 0}, {"app.log.bak", 0, 0},
		{"mail.err", 0, 0}, {"app-errors.1", 10, 0}, {".1", 0, 0}, {"app.", 0, 0},
		{"app.1\xc3", 0, 0}, {"", 0, 0}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str name = str_c(cases[i].name);
		size_t cut = lineage_cut(name, 0);

		assert_int_equal(cut, cases[i].first);
		if (cut)
			assert_int_equal(lineage_cut(name, cut), cases[i].second);
	}
}

static void test_newest(void **state)
{
	struct lineage *l = lineage_new("/a");

	(void)state;
	assert_false(lineage_is_new(l, 1, 100)); /* never looked: nothing is new */
	assert_true(lineage_saw(l, 1, 100));
	assert_false(lineage_saw(l, 1, 100));
	assert_false(lineage_saw(l, 2, 99));
	assert_false(lineage_is_new(l, 3, 99));
	assert_true(lineage_is_new(l, 3, 100)); /* of the same tick, but another */
	assert_true(lineage_saw(l, 3, 100));
	assert_false(lineage_is_new(l, 3, 100));
	assert_true(lineage_saw(l, 1, 101));
	assert_true(lineage_is_new(l, 3, 101));
	assert_int_equal(l->n_inodes, 1);
	/* More in a tick than are remembered: all of it counts as seen. */
	for (uint64_t ino = 10; ino < 10 + LINEAGE_TIES; ino++)
		assert_true(lineage_saw(l, ino, 200));
	assert_true(lineage_is_new(l, 99, 200));
	assert_true(lineage_saw(l, 98, 200));
	assert_false(lineage_is_new(l, 99, 200));
	assert_true(lineage_is_new(l, 99, 202));
	lineage_free(l);
}

/* The order of files, told by the numbers in the order expected. */
static void expect_order(const struct look_file *files, size_t n, const uint64_t *numbers)
{
	struct lineage *l = lineage_new("/a");
	struct look k = {0};

	k.files = xcalloc(n, sizeof(*k.files));
	k.n = n;
	for (size_t i = 0; i < n; i++) {
		k.files[i] = files[i];
		k.files[i].of = l;
	}
	order(&k);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(k.files[i].number, numbers[i]);
	free(k.files);
	lineage_free(l);
}

static void test_order(void **state)
{
	(void)state;
	/* By birth, whatever the numbers say; what is at the path last. */
	expect_order((struct look_file[]){{.birth_ns = 1, .current = true},
			     {.birth_ns = 30, .number = 1}, {.birth_ns = 10, .number = 2},
			     {.birth_ns = 20, .number = 3}},
		4, (uint64_t[]){2, 3, 1, 0});
	/* No births: by change. */
	expect_order((struct look_file[]){{.changed_ns = 3, .number = 1},
			     {.changed_ns = 2, .number = 2}, {.changed_ns = 1, .number = 3}},
		3, (uint64_t[]){3, 2, 1});
	/* One tick: small numbers count back, dates forth, unless others of them tell. */
	expect_order((struct look_file[]){{.birth_ns = 5, .number = 1},
			     {.birth_ns = 5, .number = 3}, {.birth_ns = 5, .number = 2}},
		3, (uint64_t[]){3, 2, 1});
	expect_order((struct look_file[]){{.birth_ns = 5, .number = 20260822},
			     {.birth_ns = 5, .number = 20260821}},
		2, (uint64_t[]){20260821, 20260822});
	expect_order(
		(struct look_file[]){{.birth_ns = 5, .number = 3}, {.birth_ns = 5, .number = 2},
			{.birth_ns = 1, .number = 1}, {.birth_ns = 9, .number = 4}},
		4, (uint64_t[]){1, 2, 3, 4});
}

static bool kept_known;

static bool fake_known(void *arg, dev_t dev, uint64_t ino, bool kept)
{
	(void)arg;
	(void)dev;
	return ino == 7 && kept && kept_known;
}

/* Which rotated file was at the path after the last look? */
static void test_choice(void **state)
{
	struct lineage *l = lineage_new("/a");
	struct look k = {.known = fake_known};
	struct look_file now = {.of = l, .ino = 7, .birth_ns = 200, .current = true};
	struct look_file f = {.of = l, .ino = 5, .birth_ns = 150, .changed_ns = 150};

	(void)state;
	lineage_saw(l, 1, 100);
	l->current = &now;
	assert_true(was_current(&k, &f));
	f.birth_ns = 100;
	assert_true(was_current(&k, &f));
	f.birth_ns = 99;
	assert_false(was_current(&k, &f));
	f.birth_ns = 201; /* a copy of what is at the path */
	assert_false(was_current(&k, &f));
	l->current = NULL;
	assert_true(was_current(&k, &f));
	/* Without births. */
	l->current = &now;
	f.birth_ns = now.birth_ns = 0;
	assert_true(was_current(&k, &f));
	kept_known = true; /* still the file it was: there was no other */
	assert_false(was_current(&k, &f));
	f.ino = 7; /* a link to it */
	kept_known = false;
	assert_false(was_current(&k, &f));
	lineage_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_newest),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_choice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
