/* SPDX-License-Identifier: Apache-2.0 */
/* Truncation, links, and compressed files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "input/file_bench.h"

static void truncate_log(struct bench *b, const char *name)
{
	assert_int_equal(truncate(path_of(b, name), 0), 0);
}

/* Nothing could be read for a while: what was truncated meanwhile is told, and counted once. */
static void test_truncated_unread(void **state)
{
	struct bench b;
	struct buf model = {0}, lost = {0};

	(void)state;
	bench_init(&b, "app.log");
	account_init(&b.account, "test", 8 << 20, NULL);
	numbered(&b, "app.log", &model, 0, 100);
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 100, 5000));
	fake_set_hold(&b.sink, true);
	numbered(&b, "app.log", &lost, 100, 600000);
	usleep(2500000);
	truncate_log(&b, "app.log");
	fake_set_hold(&b.sink, false);
	buf_clear(&model);
	append(&b, "app.log", "a new beginning\n");
	for (int i = 0; i < 10000; i++) {
		struct buf got = fake_text(&b.sink, path_of(&b, "app.log"));
		bool there = strstr(buf_cstr(&got), "a new beginning\n") != NULL;

		if (there) {
			size_t total = strstr(buf_cstr(&got), "sawlog: ") - got.p;
			unsigned long long said = 0;

			assert_int_equal(sscanf(got.p + total, "sawlog: %llu bytes of", &said), 1);
			/* What is told and what came are all that was written. */
			buf_fini(&model);
			numbered(&b, "other", &model, 0, 100);
			buf_str(&model, buf_view(&lost));
			assert_int_equal(said + total, model.n);
			assert_memory_equal(got.p, model.p, total);
			assert_string_equal(strchr(got.p + total, '\n'), "\na new beginning\n");
		}
		buf_fini(&got);
		if (there)
			break;
		assert_true(i < 9999);
		usleep(1000);
	}
	usleep(100000);
	assert_int_equal(b.sink.n_accounted, 1);
	assert_int_equal(b.sink.n_gaps, 0);
	bench_stop(&b);
	bench_start(&b);
	usleep(100000);
	bench_stop(&b);
	assert_int_equal(b.sink.n_accounted, 1);
	buf_fini(&model);
	buf_fini(&lost);
	bench_fini(&b);
}

/* Truncated while stopped: told when the size was seen before, and never else. */
static void test_truncated_while_stopped(void **state)
{
	struct bench b;
	struct buf model = {0};

	(void)state;
	bench_init(&b, "app.log");
	append(&b, "app.log", "one\nhalf");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 1, 5000));
	usleep(300000);
	bench_stop(&b);
	truncate_log(&b, "app.log");
	append(&b, "app.log", "two\n");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 3, 5000));
	bench_stop(&b);
	buf_printf(&model,
		"one\nsawlog: 4 bytes of %s (4 to 8) were truncated before they could be read\n"
		"two\n",
		path_of(&b, "app.log"));
	expect(&b, "app.log", buf_cstr(&model));
	/* All of it was read: nothing is lost. */
	truncate_log(&b, "app.log");
	append(&b, "app.log", "three\n");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 4, 5000));
	truncate_log(&b, "app.log");
	append(&b, "app.log", "4\n");
	assert_true(fake_wait(&b.sink, 5, 5000));
	usleep(100000);
	bench_stop(&b);
	assert_int_equal(fake_count(&b.sink), 5);
	assert_int_equal(b.sink.n_accounted, 1);
	buf_fini(&model);
	bench_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truncated_unread),
		cmocka_unit_test(test_truncated_while_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
