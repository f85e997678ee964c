/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>

#include "input/stdin.c"
#include "input/fake_sink.h"

struct bench {
	struct stdin_settings s;
	struct fake_sink sink;
	struct account account;
	struct fake_run run;
	int saved;
};

static void bench_init(struct bench *b, int fd)
{
	memset(b, 0, sizeof(*b));
	b->saved = dup(STDIN_FILENO);
	dup2(fd, STDIN_FILENO);
	close(fd);
	b->s = (struct stdin_settings){.app = "stdin", .detect_time = true};
	account_init(&b->account, "test", 32 << 20, NULL);
	fake_init(&b->sink);
	assert_int_equal(
		fake_start_input(&b->run, &input_stdin, &b->s, &b->sink, &b->account, "/tmp"), 0);
}

static void bench_fini(struct bench *b)
{
	assert_true(fake_stop_input(&b->run));
	assert_int_equal(account_held(&b->account), 0);
	fake_fini(&b->sink);
	dup2(b->saved, STDIN_FILENO);
	close(b->saved);
}

static void wait_ended(struct bench *b)
{
	for (int i = 0; i < 10000 && !b->run.ended; i++)
		usleep(1000);
	assert_true(b->run.ended);
}

static void put(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void expect(struct bench *b, const char *text)
{
	struct buf got = fake_text(&b->sink, "");

	assert_string_equal(buf_cstr(&got), text);
	buf_fini(&got);
}

static void test_pipe(void **state)
{
	struct bench b;
	int pipes[2];

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	bench_init(&b, pipes[0]);
	put(pipes[1], "one\ntw");
	assert_true(fake_wait(&b.sink, 1, 5000));
	put(pipes[1], "o\n");
	assert_true(fake_wait(&b.sink, 2, 5000));
	assert_false(b.run.ended);
	put(pipes[1], "last");
	close(pipes[1]);
	wait_ended(&b);
	expect(&b, "one\ntwo\nlast\n");
	assert_string_equal(buf_cstr(&b.sink.labels),
		"{app=\"stdin\", host=\"h1\", input=\"stdin\", service_name=\"stdin\"}");
	bench_fini(&b);
}

/* All memory is held by others: it goes on with a little at a time, as they may wait for us. */
static void test_memory_is_full(void **state)
{
	struct buf model = {0};
	struct bench b;
	uint64_t full;
	int pipes[2];

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	bench_init(&b, pipes[0]);
	put(pipes[1], "first\n");
	assert_true(fake_wait(&b.sink, 1, 5000));
	full = account_room(&b.account);
	account_force(&b.account, full);
	buf_c(&model, "first\n");
	for (int i = 0; i < 50000; i++) {
		char line[64];

		snprintf(line, sizeof line, "line %d of many that come while it is full\n", i);
		put(pipes[1], line);
		buf_c(&model, line);
	}
	close(pipes[1]);
	wait_ended(&b);
	expect(&b, buf_cstr(&model));
	assert_true(b.account.peak <= b.account.limit + (1 << 20));
	account_release(&b.account, full);
	buf_fini(&model);
	bench_fini(&b);
}

/* A regular file, larger than what may be held, through a sink that fails and refuses a line. */
static void test_file_with_faults(void **state)
{
	char path[] = "/tmp/sawlog-stdin-XXXXXX";
	struct buf model = {0};
	struct bench b;
	FILE *f = fdopen(mkstemp(path), "w");

	(void)state;
	for (int i = 0; i < 300000; i++) {
		fprintf(f, "line %d of a file that is read once\n", i);
		buf_printf(&model, "line %d of a file that is read once\n", i);
	}
	fclose(f);
	bench_init(&b, open(path, O_RDONLY | O_CLOEXEC));
	unlink(path);
	lock_take(&b.sink.lock);
	b.sink.fail_every = 3;
	b.sink.busy_every = 4;
	lock_drop(&b.sink.lock);
	wait_ended(&b);
	assert_int_equal(fake_count(&b.sink), 300000);
	assert_int_equal(b.sink.n_order_errors, 0);
	assert_true(b.account.peak <= 32 << 20);
	expect(&b, buf_cstr(&model));
	bench_fini(&b);
	buf_fini(&model);
}

/* Stopped while it waits for input: what has come is sent, the half line too. */
static void test_stop(void **state)
{
	struct bench b;
	int pipes[2];

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	bench_init(&b, pipes[0]);
	put(pipes[1], "one\nhalf");
	assert_true(fake_wait(&b.sink, 1, 5000));
	assert_true(fake_stop_input(&b.run));
	expect(&b, "one\nhalf\n");
	fake_fini(&b.sink);
	dup2(b.saved, STDIN_FILENO);
	close(b.saved);
	close(pipes[1]);
}

/* A server that lost what it had acknowledged: a pipe cannot go back, the rest still comes. */
static void test_gap(void **state)
{
	const struct map_slot *slot;
	struct bench b;
	int pipes[2];
	size_t at = 0;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	bench_init(&b, pipes[0]);
	put(pipes[1], "one\n");
	assert_true(fake_wait(&b.sink, 1, 5000));
	usleep(20000);
	lock_take(&b.sink.lock);
	while ((slot = map_next(&b.sink.marks, &at)))
		map_get(&b.sink.marks, slot->key)->u = 0;
	lock_drop(&b.sink.lock);
	put(pipes[1], "two\n");
	assert_true(fake_wait(&b.sink, 2, 5000));
	expect(&b, "one\ntwo\n");
	close(pipes[1]);
	wait_ended(&b);
	bench_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pipe),
		cmocka_unit_test(test_memory_is_full),
		cmocka_unit_test(test_file_with_faults),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_gap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
