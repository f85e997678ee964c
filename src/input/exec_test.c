/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "input/exec.c"
#include "input/fake_sink.h"
#include "os/fs.h"
#include "proto/frame.h"

struct bench {
	struct exec_settings s;
	const char *words[8];
	struct fake_sink sink;
	struct account account;
	struct fake_run run;
	char dir[40];
};

static void bench_init(struct bench *b, const char *script)
{
	memset(b, 0, sizeof *b);
	strcpy(b->dir, "/tmp/sawlog-exec-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	b->words[0] = script;
	b->s = (struct exec_settings){
		.command = {b->words, 1}, .app = "x", .detect_time = true, .cwd = b->dir};
	account_init(&b->account, "test", 32 << 20, NULL);
	fake_init(&b->sink);
}

static void bench_start(struct bench *b)
{
	if (fake_start_input(&b->run, &input_exec, &b->s, &b->sink, &b->account, b->dir) < 0)
		fail_msg("%s", b->run.error.text);
}

static void bench_stop(struct bench *b)
{
	char command[80];

	assert_true(fake_stop_input(&b->run));
	assert_int_equal(account_held(&b->account), 0);
	snprintf(command, sizeof command, "rm -rf %s", b->dir);
	assert_int_equal(system(command), 0);
}

static void bench_fini(struct bench *b)
{
	bench_stop(b);
	fake_fini(&b->sink);
}

static void expect(struct bench *b, const char *text)
{
	struct buf got = fake_text(&b->sink, "");

	assert_string_equal(buf_cstr(&got), text);
	buf_fini(&got);
}

static void wait_ended(struct bench *b)
{
	for (int i = 0; i < 10000 && !b->run.ended; i++)
		usleep(1000);
	assert_true(b->run.ended);
}

/* Once: the last line without its newline too. */
static void test_once(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, "echo one; echo 'no line' >&2; printf 'two\nthree'");
	b.s.restart = RESTART_NEVER;
	bench_start(&b);
	wait_ended(&b);
	expect(&b, "one\ntwo\nthree\n");
	assert_string_equal(buf_cstr(&b.sink.labels),
		"{app=\"x\", host=\"h1\", input=\"exec\", service_name=\"x\"}");
	bench_fini(&b);
}

/* A list is no text for a shell. */
static void test_list(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, "printf");
	b.words[1] = "%s\n";
	b.words[2] = "a; echo $HOME `id` | x";
	b.s.command.n = 3;
	b.s.restart = RESTART_NEVER;
	bench_start(&b);
	wait_ended(&b);
	expect(&b, "a; echo $HOME `id` | x\n");
	bench_fini(&b);
}

static void test_restarts(void **state)
{
	struct bench b;

	(void)state;
	/* It fails once, in the middle of a line, then is fine and ends for good. */
	bench_init(&b, "if [ -e once ]; then echo second; else : >once; printf first; exit 4; fi");
	b.s.restart = RESTART_ON_FAILURE;
	bench_start(&b);
	wait_ended(&b);
	expect(&b, "first\nsecond\n");
	bench_fini(&b);
}

/* What it leaves behind ends within the grace: that is no reason to run it again after the grace.
 */
static void test_never_again(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, "(sleep .2; echo late) & echo early");
	b.s.restart = RESTART_NEVER;
	bench_start(&b);
	wait_ended(&b);
	usleep((EXEC_GRACE_MS + 300) * 1000);
	expect(&b, "early\nlate\n");
	bench_fini(&b);
}

static void test_interval(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, "echo tick");
	b.s.interval = 200 * NS_PER_MS;
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 4, 5000));
	bench_fini(&b);
}

static void test_merge(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, "echo out; echo err >&2");
	b.s.restart = RESTART_NEVER;
	b.s.errors = ERRORS_MERGE;
	bench_start(&b);
	wait_ended(&b);
	expect(&b, "out\nerr\n");
	bench_fini(&b);
}

/* It floods, the sink is slow, busy and fails: nothing is lost, and memory stays within its bound.
 */
static void test_flood(void **state)
{
	struct buf model = {0};
	struct bench b;

	(void)state;
	bench_init(&b, "seq -f 'line %.0f of a command that does not wait' 300000; echo many >&2");
	b.s.restart = RESTART_NEVER;
	b.sink.fail_every = 3;
	b.sink.busy_every = 4;
	b.sink.delay_us = 1000;
	bench_start(&b);
	wait_ended(&b);
	for (int i = 1; i <= 300000; i++)
		buf_printf(&model, "line %d of a command that does not wait\n", i);
	expect(&b, buf_cstr(&model));
	assert_int_equal(b.sink.n_order_errors, 0);
	assert_true(b.account.peak <= 32 << 20);
	bench_fini(&b);
	buf_fini(&model);
}

/* Its last words after SIGTERM are read. */
static void test_stop(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, "trap 'echo bye; exit' TERM; echo hello; while :; do sleep 0.05; done");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 1, 5000));
	bench_stop(&b);
	expect(&b, "hello\nbye\n");
	fake_fini(&b.sink);
}

/* SIGTERM means nothing to it, nor to its child, which holds the pipe. */
static void test_stop_hard(void **state)
{
	int64_t began;
	struct bench b;

	(void)state;
	bench_init(&b, "trap '' TERM; echo hello; sleep 100 & while :; do sleep 0.05; done");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 1, 5000));
	began = clock_mono_ns(clock_real());
	bench_stop(&b);
	assert_true(clock_mono_ns(clock_real()) - began < 7 * NS_PER_SEC);
	expect(&b, "hello\n");
	fake_fini(&b.sink);
}

/* Stopped while the sink takes nothing and the pipe is full: it comes to an end all the same, and
 * what was read is there when the sink goes on. */
static void *release(void *arg)
{
	usleep(7000000);
	fake_set_hold(arg, false);
	return NULL;
}

static void test_stop_stuck(void **state)
{
	struct bench b;
	struct buf got;
	pthread_t t;

	(void)state;
	bench_init(&b, "yes 'a line of forty bytes that never ends....'");
	b.sink.hold = true;
	bench_start(&b);
	usleep(300000);
	t = thread_start("release", release, &b.sink);
	bench_stop(&b);
	pthread_join(t, NULL);
	got = fake_text(&b.sink, "");
	assert_true(got.n > 40 * 1000);
	buf_fini(&got);
	fake_fini(&b.sink);
}

/* The command has ended, its child has not and holds the pipe: it is ended after a grace. */
static void test_left_behind(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, "sleep 100 & echo done");
	b.s.restart = RESTART_NEVER;
	bench_start(&b);
	wait_ended(&b);
	expect(&b, "done\n");
	bench_fini(&b);
}

static void test_mistakes(void **state)
{
	struct bench b;
	struct error e;

	(void)state;
	bench_init(&b, "true");
	b.words[0] = "/nowhere/x";
	b.words[1] = "y";
	b.s.command.n = 2;
	assert_int_equal(fake_start_input(&b.run, &input_exec, &b.s, &b.sink, &b.account, b.dir),
		ERR_NOT_FOUND);
	assert_int_equal(account_held(&b.account), 0);
	b.s.shape.format = EXEC_FORWARD;
	b.s.errors = ERRORS_MERGE;
	assert_int_equal(input_exec.check(&b.s, &e), ERR_ARG);
	b.s.errors = ERRORS_LOG;
	assert_int_equal(input_exec.check(&b.s, &e), 0);
	/* What would have no effect, and be believed to have one. */
	b.s.shape.redact.n = 1;
	assert_int_equal(input_exec.check(&b.s, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "redact: with format: forward"));
	b.s.shape.redact.n = 0;
	b.s.labels.n = 1;
	assert_int_equal(input_exec.check(&b.s, &e), ERR_ARG);
	b.s.labels.n = 0;
	b.s.command.n = 0;
	assert_int_equal(input_exec.check(&b.s, &e), ERR_ARG);
	rmdir(b.dir);
	fake_fini(&b.sink);
}

/* Frames. */

static void put_frame(FILE *f, const char *tenant, uint64_t from, const char *body, unsigned flags)
{
	struct batch_builder *bb = batch_builder_new(str_c(tenant), STR("file"), 1);
	struct batch_source s = {
		.id = STR("file:1"), .kind = POSITION_MARK, .from = from, .to = from + 10};
	struct record r = {.timestamp = 1, .body = str_c(body), .position = from + 10};
	struct buf frame = {0};
	char prefix[FRAME_PREFIX];
	struct batch *b;

	r.stream = batch_builder_stream(bb, STR_NONE);
	r.source = batch_builder_source(bb, &s);
	batch_builder_add(bb, &r, NULL);
	b = batch_builder_finish(bb, 1);
	frame_write(&frame, b, FRAME_ZSTD);
	frame_prefix_write(prefix, frame.n, flags);
	fwrite(prefix, 1, sizeof prefix, f);
	fwrite(frame.p, 1, frame.n, f);
	batch_unref(b);
	batch_builder_free(bb);
	buf_fini(&frame);
}

/* Frames from a file, their answers into one: also byte by byte, behind the words of a shell, with
 * a busy sink. */
static void test_frames(void **state)
{
	static const char *const scripts[] = {
		"echo welcome; cat frames & head -n 4 >answers; wait; sleep 100",
		"dd if=frames bs=1 2>/dev/null & head -n 4 >answers; wait; sleep 100"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct buf answers = {0};
		struct bench b;
		char path[80];
		FILE *f;

		bench_init(&b, scripts[i]);
		b.s.shape.format = EXEC_FORWARD;
		b.sink.busy_every = 2;
		snprintf(path, sizeof path, "%s/frames", b.dir);
		f = fopen(path, "w");
		fputs(FRAME_GREETING, f);
		put_frame(f, "default", 0, "one", 0);
		put_frame(f, "default", 20, "gap", 0);
		put_frame(f, "other", 10, "alien", 0);
		put_frame(f, "default", 10, "two", FRAME_ELSEWHERE);
		fclose(f);
		bench_start(&b);
		assert_true(fake_wait(&b.sink, 2, 5000));
		snprintf(path, sizeof path, "%s/answers", b.dir);
		for (int k = 0; k < 5000; k++) {
			buf_clear(&answers);
			fs_read_all(fs_real(), path, 10000, &answers, NULL);
			if (str_find(buf_view(&answers), STR("\n200 {\"committed\":1")) > 0)
				break;
			usleep(1000);
		}
		assert_true(str_starts(buf_view(&answers), STR("200 {\"committed\":1,")));
		assert_true(str_find(buf_view(&answers), STR("\n409 {\"mark\":10,")) > 0);
		assert_true(str_find(buf_view(&answers), STR("\n403 {\"error\":")) > 0);
		expect(&b, "one\ntwo\n");
		bench_fini(&b);
		buf_fini(&answers);
	}
}

/* What is no sawlog, and frames that are none. */
static void test_no_frames(void **state)
{
	static const char *const scripts[] = {"head -c 200000 /dev/zero; sleep 100",
		"printf 'sawlog-forward 1\\n\\377\\377\\377\\377\\377\\377\\377\\377'; trap '' TERM; sleep 1",
		"printf 'sawlog-forward 1\\n\\040\\0\\0\\0\\0\\0\\0\\0'; head -c 32 /dev/zero; sleep 100",
		"printf 'sawlog-forw'; exit 1"};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct bench b;

		bench_init(&b, scripts[i]);
		b.s.shape.format = EXEC_FORWARD;
		bench_start(&b);
		usleep(300000);
		assert_int_equal(fake_count(&b.sink), 0);
		bench_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_restarts),
		cmocka_unit_test(test_never_again),
		cmocka_unit_test(test_interval),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_stop_hard),
		cmocka_unit_test(test_stop_stuck),
		cmocka_unit_test(test_left_behind),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_no_frames),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
