/* SPDX-License-Identifier: Apache-2.0 */
/* Truncation, links, and compressed files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "input/file_bench.h"
#include "input/positions.h"

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

/* Bytes of the fingerprint of the only file, as they are on disk. */
static unsigned sealed_on_disk(struct bench *b)
{
	struct positions p;
	size_t n_damaged;
	unsigned n;

	positions_init(&p);
	assert_int_equal(positions_load(&p, path_of(b, "state/positions"), &n_damaged, NULL), 0);
	assert_int_equal(n_damaged, 0);
	assert_false(list_empty(&p.list));
	n = CONTAINER(p.list.prev, struct position, node)->id.n_fingerprint;
	positions_fini(&p);
	return n;
}

/* Killed, truncated and begun anew with the same head line: all of it is new.  Each line was on
 * disk as fingerprint before it was sent. */
static void test_truncated_with_the_same_head(void **state)
{
	struct bench b;
	unsigned n = 7;

	(void)state;
	bench_init(&b, "app.log");
	append(&b, "app.log", "# head\n");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 1, 5000));
	assert_true(sealed_on_disk(&b) >= n);
	for (uint64_t i = 2; i <= 20; i++) {
		append(&b, "app.log", "the old file\n");
		n += 13;
		assert_true(fake_wait(&b.sink, i, 5000));
		assert_true(sealed_on_disk(&b) >= n);
	}
	copy_file(&b, "state/positions", "killed");
	bench_stop(&b);
	copy_file(&b, "killed", "state/positions");
	truncate_log(&b, "app.log");
	append(&b, "app.log", "# head\n");
	for (int i = 0; i < 30; i++)
		append(&b, "app.log", "one of the new\n");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 20 + 31, 5000));
	bench_stop(&b);
	assert_int_equal(fake_count(&b.sink), 20 + 31);
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

/* Truncated while its last lines still wait to be sent, and what it was is found compressed: that
 * is read from where the server is known to be, which is before what waits. */
static void test_truncated_and_compressed_unsent(void **state)
{
	struct buf model = {0};
	struct bench b;

	(void)state;
	bench_init(&b, "app.log");
	fake_set_hold(&b.sink, true);
	numbered(&b, "app.log", &model, 0, 15000);
	bench_start(&b);
	usleep(500000); /* under way */
	numbered(&b, "app.log", &model, 15000, 100);
	usleep(300000); /* read, and behind that */
	copy_file(&b, "app.log", "app.log.1");
	truncate_log(&b, "app.log");
	append(&b, "app.log", "a new beginning\n");
	sh(&b, "gzip -q app.log.1");
	usleep(2500000);
	fake_set_hold(&b.sink, false);
	assert_true(fake_wait(&b.sink, 15101, 10000));
	usleep(1200000);
	bench_stop(&b);
	buf_c(&model, "a new beginning\n");
	expect(&b, "app.log", buf_cstr(&model));
	assert_int_equal(b.sink.n_gaps, 0);
	assert_int_equal(b.sink.n_accounted, 0);
	buf_fini(&model);
	bench_fini(&b);
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

/* The layout of a container runtime: links to files that rotate in another folder. */
static void test_links(void **state)
{
	struct bench b;
	struct buf model = {0}, next = {0};

	(void)state;
	bench_init(&b, "containers/*.log");
	sh(&b, "mkdir containers pods && : > pods/0.log && ln -s ../pods/0.log containers/x.log");
	bench_start(&b);
	for (int i = 0; i < 4; i++) {
		char cmd[100];

		numbered(&b, "pods/0.log", &model, i * 1000, 200);
		usleep(i % 2 ? 200000 : 1000);
		snprintf(cmd, sizeof(cmd), "mv pods/0.log pods/0.log.20260821-10000%d", i);
		sh(&b, cmd);
		append(&b, "pods/0.log", "");
	}
	assert_true(fake_wait(&b.sink, 800, 10000));
	bench_stop(&b);
	/* Twice while stopped, and one of them compressed. */
	numbered(&b, "pods/0.log", &model, 5000, 200);
	sh(&b, "mv pods/0.log pods/0.log.20260821-110000 && gzip -q pods/0.log.20260821-110000");
	numbered(&b, "pods/0.log", &model, 6000, 200);
	sh(&b, "mv pods/0.log pods/0.log.20260821-120000");
	numbered(&b, "pods/0.log", &model, 7000, 200);
	run_until(&b, 1400);
	expect(&b, "containers/x.log", buf_cstr(&model));
	/* Led elsewhere: what is there is another file, and its old family is not ours. */
	append(&b, "pods/1.log.1", "old\n");
	numbered(&b, "pods/1.log", &next, 8000, 10);
	sh(&b, "ln -sfn ../pods/1.log containers/x.log");
	buf_str(&model, buf_view(&next));
	run_until(&b, 1410);
	expect(&b, "containers/x.log", buf_cstr(&model));
	buf_fini(&model);
	buf_fini(&next);
	bench_fini(&b);
}

/* One file by two names is read once; a link in place of a file, and back. */
static void test_same_file_twice(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, "*.log");
	append(&b, "a.log", "1\n");
	sh(&b, "ln a.log b.log && ln -s a.log c.log");
	run_until(&b, 1);
	append(&b, "b.log", "2\n");
	run_until(&b, 2);
	sh(&b, "rm a.log c.log b.log");
	append(&b, "target", "3\n");
	sh(&b, "ln -s target a.log");
	run_until(&b, 3);
	sh(&b, "rm a.log && ln target a.log");
	append(&b, "a.log", "4\n");
	run_until(&b, 4);
	bench_fini(&b);
}

/* Folders that come later, go, and come again. */
static void test_folders(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, "apps/*/out.log");
	bench_start(&b);
	usleep(50000);
	sh(&b, "mkdir -p apps/one && echo 1 > apps/one/out.log");
	assert_true(fake_wait(&b.sink, 1, 15000));
	sh(&b, "echo 2 >> apps/one/out.log; rm -r apps/one; mkdir apps/one; echo 3 > apps/one/out.log");
	assert_true(fake_wait(&b.sink, 3, 15000));
	sh(&b, "mkdir apps/two && echo 4 > apps/two/out.log");
	assert_true(fake_wait(&b.sink, 4, 15000));
	bench_stop(&b);
	expect(&b, "apps/two/out.log", "4\n");
	assert_int_equal(fake_count(&b.sink), 4);
	bench_fini(&b);
}

/* Names with a date that a glob matches: each is its own file; and a number before the end. */
static void test_names(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, "app*.log");
	append(&b, "app-20260820.log", "1\n");
	run_until(&b, 1);
	append(&b, "app-20260820.log", "2\n");
	append(&b, "app-20260821.log", "3\n");
	append(&b, "app_20260822.log", "4\n");
	append(&b, "app.1.log", "5\n");
	run_until(&b, 5);
	/* app.log is renamed to a name that the glob matches as well. */
	append(&b, "app.log", "6\n");
	run_until(&b, 6);
	append(&b, "app.log", "7\n");
	sh(&b, "mv app.1.log app.2.log; mv app.log app.1.log");
	append(&b, "app.log", "8\n");
	run_until(&b, 8);
	expect(&b, "app.log", "6\n7\n8\n");
	expect(&b, "app-20260820.log", "1\n2\n");
	bench_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truncated_unread),
		cmocka_unit_test(test_truncated_and_compressed_unsent),
		cmocka_unit_test(test_truncated_while_stopped),
		cmocka_unit_test(test_truncated_with_the_same_head),
		cmocka_unit_test(test_compressed_unseen),
		cmocka_unit_test(test_compressed_while_followed),
		cmocka_unit_test(test_being_compressed),
		cmocka_unit_test(test_compressed_copies),
		cmocka_unit_test(test_same_head),
		cmocka_unit_test(test_named_compressed),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_same_file_twice),
		cmocka_unit_test(test_folders),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
