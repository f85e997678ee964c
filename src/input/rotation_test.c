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

static void sh(struct bench *b, const char *command)
{
	struct buf cmd = {0};

	buf_printf(&cmd, "cd %s && %s", b->dir, command);
	assert_int_equal(system(buf_cstr(&cmd)), 0);
	buf_fini(&cmd);
}

static void run_until(struct bench *b, uint64_t n)
{
	bench_start(b);
	assert_true(fake_wait(&b->sink, n, 10000));
	usleep(100000);
	bench_stop(b);
	assert_int_equal(fake_count(&b->sink), n);
	assert_int_equal(b->sink.n_gaps, 0);
	assert_int_equal(b->sink.n_duplicates, 0);
}

/* Rotated and compressed while stopped: one that was not read to its end, and several that came
 * and went. */
static void compressed_unseen(const char *pack)
{
	struct bench b;
	struct buf model = {0};
	char cmd[200];

	bench_init(&b, "app.log");
	append(&b, "app.log.9", "older than all\n");
	snprintf(cmd, sizeof(cmd), "%s app.log.9", pack);
	sh(&b, cmd);
	append(&b, "app.log.1", "old\n");
	numbered(&b, "app.log", &model, 0, 100);
	run_until(&b, 100);
	numbered(&b, "app.log", &model, 100, 60000);
	rotate_down(&b); /* app.log.1 -> 2 */
	snprintf(cmd, sizeof(cmd), "%s app.log.1 app.log.2", pack);
	sh(&b, cmd);
	sh(&b, "for f in app.log.1.*; do mv $f app.log.3.${f##*.}; done");
	numbered(&b, "app.log", &model, 100000, 500);
	rotate_down(&b);
	snprintf(cmd, sizeof(cmd), "%s app.log.1", pack);
	sh(&b, cmd);
	sh(&b, "for f in app.log.1.*; do mv $f app.log.2.${f##*.}; done");
	numbered(&b, "app.log", &model, 200000, 20); /* delaycompress: this one is plain */
	rotate_down(&b);
	numbered(&b, "app.log", &model, 300000, 5);
	run_until(&b, 100 + 60000 + 500 + 20 + 5);
	expect(&b, "app.log", buf_cstr(&model));
	/* All is known now, also when the rest is compressed. */
	snprintf(cmd, sizeof(cmd), "%s app.log.1", pack);
	sh(&b, cmd);
	numbered(&b, "app.log", &model, 400000, 5);
	run_until(&b, 100 + 60000 + 500 + 20 + 5 + 5);
	expect(&b, "app.log", buf_cstr(&model));
	buf_fini(&model);
	bench_fini(&b);
}

static void test_compressed_unseen(void **state)
{
	(void)state;
	compressed_unseen("gzip -q");
	compressed_unseen("zstd -q --rm");
}

/* logrotate with compress while it is followed: nothing twice. */
static void test_compressed_while_followed(void **state)
{
	struct bench b;
	struct buf model = {0};

	(void)state;
	bench_init(&b, "app.log");
	bench_start(&b);
	for (int i = 0; i < 5; i++) {
		numbered(&b, "app.log", &model, i * 1000, 500);
		if (i % 2)
			assert_true(fake_wait(&b.sink, (uint64_t)i * 500, 5000));
		sh(&b, "for n in 4 3 2 1; do [ ! -f app.log.$n.gz ] || mv app.log.$n.gz "
		       "app.log.$((n+1)).gz; done; mv app.log app.log.1");
		append(&b, "app.log", "");
		sh(&b, "gzip -q app.log.1");
	}
	assert_true(fake_wait(&b.sink, 2500, 10000));
	usleep(500000);
	bench_stop(&b);
	run_until(&b, 2500);
	expect(&b, "app.log", buf_cstr(&model));
	buf_fini(&model);
	bench_fini(&b);
}

/* While it is being compressed the original is there, and then a file without an end. */
static void test_being_compressed(void **state)
{
	struct bench b;
	struct buf model = {0};

	(void)state;
	bench_init(&b, "app.log");
	numbered(&b, "app.log", &model, 0, 10);
	run_until(&b, 10);
	numbered(&b, "app.log", &model, 10, 20000);
	rename_log(&b, "app.log", "app.log.1");
	numbered(&b, "app.log", &model, 50000, 10);
	sh(&b, "gzip -q -k app.log.1 && cp app.log.1.gz whole && truncate -s 20000 app.log.1.gz");
	run_until(&b, 20020);
	expect(&b, "app.log", buf_cstr(&model));
	/* One that came and went, seen when half of it is there. */
	numbered(&b, "app.log", &model, 60000, 20000);
	rename_log(&b, "app.log", "app.log.2");
	sh(&b, "gzip -q app.log.2 && cp app.log.2.gz whole && truncate -s 20000 app.log.2.gz");
	bench_start(&b);
	usleep(300000);
	assert_true(fake_count(&b.sink) < 40020);
	sh(&b, "cat whole > app.log.2.gz; touch app.log");
	assert_true(fake_wait(&b.sink, 40020, 10000));
	bench_stop(&b);
	expect(&b, "app.log", buf_cstr(&model));
	assert_int_equal(fake_count(&b.sink), 40020);
	buf_fini(&model);
	bench_fini(&b);
}

/* copytruncate with compression: the copies are not generations. */
static void test_compressed_copies(void **state)
{
	struct bench b;
	struct buf model = {0};

	(void)state;
	bench_init(&b, "app.log");
	numbered(&b, "app.log", &model, 0, 100);
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 100, 5000));
	copy_file(&b, "app.log", "app.log.1");
	truncate_log(&b, "app.log");
	numbered(&b, "app.log", &model, 1000, 50);
	assert_true(fake_wait(&b.sink, 150, 5000));
	sh(&b, "gzip -q app.log.1");
	usleep(300000);
	bench_stop(&b);
	/* And while stopped: what was not read of it is in the copy. */
	numbered(&b, "app.log", &model, 2000, 50);
	copy_file(&b, "app.log", "app.log.2");
	truncate_log(&b, "app.log");
	sh(&b, "gzip -q app.log.2");
	numbered(&b, "app.log", &model, 3000, 50);
	run_until(&b, 250);
	expect(&b, "app.log", buf_cstr(&model));
	buf_fini(&model);
	bench_fini(&b);
}

/* Files that begin with the same kilobyte. */
static void test_same_head(void **state)
{
	struct bench b;
	struct buf model = {0}, head = {0};

	(void)state;
	bench_init(&b, "app.log");
	for (int i = 0; i < 40; i++)
		buf_c(&head, "# a banner that every file of this program begins with\n");
	append(&b, "app.log", buf_cstr(&head));
	run_until(&b, 40);
	for (int i = 0; i < 4; i++) {
		char name[32];

		numbered(&b, "app.log", &model, i * 1000, 1000 - i * 100);
		snprintf(name, sizeof(name), "gzip -q app.log.%d", 4 - i);
		rename_log(&b, "app.log", strrchr(name, 'a'));
		if (i < 3)
			sh(&b, name);
		append(&b, "app.log", buf_cstr(&head));
	}
	run_until(&b, 40 * 5 + 1000 + 900 + 800 + 700);
	buf_fini(&model);
	buf_fini(&head);
	bench_fini(&b);
}

static void test_named_compressed(void **state)
{
	struct bench b;
	struct buf model = {0};

	(void)state;
	bench_init(&b, "*.gz");
	numbered(&b, "x", &model, 0, 20000);
	append(&b, "x", "no newline");
	sh(&b, "gzip -q x; echo no > y.log; echo no | xz > y.xz");
	run_until(&b, 20001);
	buf_c(&model, "no newline\n");
	expect(&b, "x.gz", buf_cstr(&model));
	run_until(&b, 20001);
	buf_fini(&model);
	bench_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truncated_unread),
		cmocka_unit_test(test_truncated_while_stopped),
		cmocka_unit_test(test_compressed_unseen),
		cmocka_unit_test(test_compressed_while_followed),
		cmocka_unit_test(test_being_compressed),
		cmocka_unit_test(test_compressed_copies),
		cmocka_unit_test(test_same_head),
		cmocka_unit_test(test_named_compressed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
