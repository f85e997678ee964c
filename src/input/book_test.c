/* SPDX-License-Identifier: Apache-2.0 */
/* Several inputs that share one book of positions. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "input/file_bench.h"
#include "input/positions.h"

/* A second input on the loop of the first. */
static void start_beside(struct bench *b, struct fake_run *r, const struct file_settings *s)
{
	*r = (struct fake_run){.type = &input_file, .settings = s, .loop = b->run.loop};
	r->env = b->run.env;
	r->env.ended_arg = r;
	loop_post(r->loop, fake_started, r);
	assert_true(fake_wait_done(r));
	assert_int_equal(r->code, 0);
}

static void stop_one(struct fake_run *r)
{
	r->done = 0;
	loop_post(r->loop, fake_stop, r);
	assert_true(fake_wait_done(r));
}

static void test_first_has_it(void **state)
{
	struct bench b;
	struct file_settings other;
	struct fake_run second;
	struct buf model = {0};
	const char *globs[1];

	(void)state;
	bench_init(&b, "*.log");
	numbered(&b, "app.log", &model, 0, 10);
	other = b.s;
	globs[0] = xstrdup(path_of(&b, "app.*"));
	other.paths.items = globs;
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 10, 5000));
	start_beside(&b, &second, &other);
	append(&b, "app.txt", "only the second\n");
	numbered(&b, "app.log", &model, 10, 10);
	assert_true(fake_wait(&b.sink, 21, 5000));
	/* A rotation: what comes to the path is the first one's too. */
	rename_log(&b, "app.log", "app.log.1");
	numbered(&b, "app.log", &model, 20, 10);
	assert_true(fake_wait(&b.sink, 31, 5000));
	usleep(300000);
	assert_int_equal(fake_count(&b.sink), 31);
	/* The first one stops: the second has what it had, from where it was. */
	stop_one(&b.run);
	numbered(&b, "app.log", &model, 30, 10);
	assert_true(fake_wait(&b.sink, 41, 15000));
	b.run.input = NULL;
	b.run.type = &input_file;
	stop_one(&second);
	loop_stop(b.run.loop);
	loop_free(b.run.loop);
	expect(&b, "app.log", buf_cstr(&model));
	assert_int_equal(fake_count(&b.sink), 41);
	assert_int_equal(b.sink.n_gaps, 0);
	free((char *)globs[0]);
	buf_fini(&model);
	bench_fini(&b);
}

/* Two inputs change places again and again while lines are written and the file rotates. */
static void test_swaps(void **state)
{
	struct bench b;
	struct buf model = {0};
	struct file_settings wide, s;
	const char *globs[1];
	uint64_t n = 0;

	(void)state;
	bench_init(&b, "app.log");
	globs[0] = xstrdup(path_of(&b, "*.log"));
	wide = s = b.s;
	wide.paths.items = globs;
	for (int i = 0; i < 60; i++) {
		b.s = i % 2 ? wide : s;
		bench_start(&b);
		numbered(&b, "app.log", &model, i * 1000, 300);
		n += 300;
		if (i % 7 == 3)
			rotate_down(&b);
		if (i % 3 == 0)
			usleep(2000);
		bench_stop(&b);
		if (i % 11 == 5 && i % 7 != 3)
			rotate_down(&b);
	}
	bench_start(&b);
	assert_true(fake_wait(&b.sink, n, 10000));
	usleep(50000);
	bench_stop(&b);
	expect(&b, "app.log", buf_cstr(&model));
	assert_int_equal(fake_count(&b.sink), n);
	free((char *)globs[0]);
	buf_fini(&model);
	b.s = s;
	bench_fini(&b);
}

/* Deleted between the stop of one input and the start of the next, and not read to its end. */
static void test_deleted_between(void **state)
{
	struct bench b;
	struct buf model = {0};

	(void)state;
	bench_init(&b, "app.log");
	b.sink.delay_us = 2000;
	numbered(&b, "app.log", &model, 0, 400000);
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 1000, 5000));
	bench_stop(&b);
	assert_true(fake_count(&b.sink) < 400000);
	assert_int_equal(unlink(path_of(&b, "app.log")), 0);
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 400000, 10000));
	bench_stop(&b);
	expect(&b, "app.log", buf_cstr(&model));
	assert_int_equal(b.sink.n_gaps, 0);
	buf_fini(&model);
	bench_fini(&b);
}

/* Positions of the layout with a folder an input. */
static void test_older_layout(void **state)
{
	struct bench b;
	struct stat st;

	(void)state;
	bench_init(&b, "a.log");
	append(&b, "a.log", "a1\na2\n");
	append(&b, "b.log", "b1\n");
	for (int i = 0; i < 2; i++) {
		strcpy(b.state + strlen(b.dir), i ? "/state-1" : "/state-0");
		assert_int_equal(mkdir(b.state, 0700), 0);
		free((char *)b.globs[0]);
		b.globs[0] = xstrdup(path_of(&b, i ? "b.log" : "a.log"));
		bench_start(&b);
		assert_true(fake_wait(&b.sink, i ? 3 : 2, 5000));
		bench_stop(&b);
	}
	strcpy(b.state + strlen(b.dir), "/state");
	free((char *)b.globs[0]);
	b.globs[0] = xstrdup(path_of(&b, "*.log"));
	append(&b, "a.log", "a3\n");
	append(&b, "b.log", "b2\n");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 5, 5000));
	usleep(300000);
	bench_stop(&b);
	expect(&b, "a.log", "a1\na2\na3\n");
	expect(&b, "b.log", "b1\nb2\n");
	assert_int_equal(b.sink.n_duplicates, 0);
	assert_int_equal(b.sink.n_gaps, 0);
	assert_int_equal(stat(path_of(&b, "state-0/positions"), &st), -1);
	assert_int_equal(stat(path_of(&b, "state-0/positions.merged"), &st), 0);
	bench_fini(&b);
}

static void test_version_1(void **state)
{
	struct positions p;
	size_t n_damaged = 0;
	struct position *at;

	(void)state;
	positions_init(&p);
	assert_int_equal(
		positions_parse(&p,
			STR("sawlog-positions 1\nid 00000000000000ff\nlast 9\n"
			    "file 1 2 3 0 12 00000000000000aa 0 5 1700000000 /var/log/a b.log\n"
			    "path 7 1700000001 1 2 /var/log/a b.log\n"),
			&n_damaged, NULL),
		0);
	assert_int_equal(n_damaged, 0);
	at = positions_find(&p, 2);
	assert_non_null(at);
	assert_int_equal(at->id.giver, 0xff);
	assert_int_equal(at->offset, 5);
	assert_int_equal(p.n_lineages, 1);
	positions_fini(&p);
}

/* `start: end` is of a path that was never followed, not of a process that never ran. */
static void test_start_of_new_paths(void **state)
{
	struct bench b;
	const char *globs[2];

	(void)state;
	bench_init(&b, "a*.log");
	append(&b, "a.log", "old\n");
	append(&b, "b.log", "old\n");
	b.s.start = FILE_START_END;
	bench_start(&b);
	usleep(100000);
	bench_stop(&b);
	append(&b, "a2.log", "came while we were away\n");
	globs[0] = b.globs[0];
	globs[1] = xstrdup(path_of(&b, "b*.log"));
	b.s.paths.items = globs;
	b.s.paths.n = 2;
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 1, 5000));
	append(&b, "b.log", "new\n");
	assert_true(fake_wait(&b.sink, 2, 5000));
	bench_stop(&b);
	expect(&b, "a2.log", "came while we were away\n");
	expect(&b, "b.log", "new\n");
	free((char *)globs[1]);
	bench_fini(&b);
}

static void test_braces(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, "{a,b{1,2}}.{log,txt}");
	append(&b, "a.log", "1\n");
	append(&b, "b1.txt", "2\n");
	append(&b, "b2.log", "3\n");
	append(&b, "b.log", "not this\n");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 3, 5000));
	/* Rotated twice, and nothing at the path: it is still known to be followed. */
	bench_stop(&b);
	rename_log(&b, "b1.txt", "b1.txt.2");
	append(&b, "b1.txt", "4\n");
	rename_log(&b, "b1.txt", "b1.txt.1");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 4, 5000));
	bench_stop(&b);
	expect(&b, "b1.txt", "2\n4\n");
	assert_int_equal(fake_count(&b.sink), 4);
	bench_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_has_it),
		cmocka_unit_test(test_swaps),
		cmocka_unit_test(test_deleted_between),
		cmocka_unit_test(test_older_layout),
		cmocka_unit_test(test_version_1),
		cmocka_unit_test(test_start_of_new_paths),
		cmocka_unit_test(test_braces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
