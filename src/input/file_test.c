/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/resource.h>

#include "input/file.c"
#include "input/tails.c"
#include "input/file_bench.h"

static void test_lines(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, "*.log");
	append(&b, "app.log", "2026-08-21T10:00:00Z ERROR one\n\ntwo\r\nthr");
	append(&b, "app.log.gz", "not text\n");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 3, 5000));
	expect(&b, "app.log", "2026-08-21T10:00:00Z ERROR one\n\ntwo\n");
	append(&b, "app.log", "ee\n");
	assert_true(fake_wait(&b.sink, 4, 5000));
	expect(&b, "app.log", "2026-08-21T10:00:00Z ERROR one\n\ntwo\nthree\n");
	append(&b, "new.log", "2026-08-21T10:00:01Z ERROR bad\n");
	assert_true(fake_wait(&b.sink, 5, 5000));
	assert_non_null(strstr(buf_cstr(&b.sink.labels), "app=\"new\""));
	assert_non_null(strstr(buf_cstr(&b.sink.labels), "service_name=\"new\""));
	assert_non_null(strstr(buf_cstr(&b.sink.labels), "host=\"h1\""));
	assert_non_null(strstr(buf_cstr(&b.sink.labels), "input=\"file\""));
	assert_int_equal(b.sink.last_time, INT64_C(1787306401) * NS_PER_SEC);
	assert_int_equal(b.sink.last_severity, 17);
	bench_stop(&b);
	bench_fini(&b);
}

static void test_restart(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, "app.log");
	append(&b, "app.log", "a\nb\n");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 2, 5000));
	bench_stop(&b);
	append(&b, "app.log", "c\n");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 3, 5000));
	bench_stop(&b);
	expect(&b, "app.log", "a\nb\nc\n");
	assert_int_equal(b.sink.n_duplicates, 0);
	assert_int_equal(b.sink.n_gaps, 0);
	bench_fini(&b);
}

static void test_rotation(void **state)
{
	struct bench b;
	FILE *old;

	(void)state;
	bench_init(&b, "app.log");
	append(&b, "app.log", "1\n");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 1, 5000));
	old = fopen(path_of(&b, "app.log"), "a");
	rename_log(&b, "app.log", "app.log.1");
	append(&b, "app.log", "3\n");
	assert_true(fake_wait(&b.sink, 2, 5000));
	/* The program has not opened the new file yet; its last line has no newline. */
	fputs("2\nend", old);
	fclose(old);
	assert_true(fake_wait(&b.sink, 4, 8000));
	expect(&b, "app.log", "1\n3\n2\nend\n");
	/* Deleted while open. */
	append(&b, "app.log", "4\nrest");
	assert_int_equal(unlink(path_of(&b, "app.log")), 0);
	assert_true(fake_wait(&b.sink, 6, 12000));
	expect(&b, "app.log", "1\n3\n2\nend\n4\nrest\n");
	bench_stop(&b);
	bench_fini(&b);
}

/* Rotated, and rotated again, while nobody looked; names that the glob does not match. */
static void test_rotated_while_stopped(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, "app.log");
	append(&b, "app.log", "1\n");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 1, 5000));
	bench_stop(&b);
	append(&b, "app.log", "2\n");
	rename_log(&b, "app.log", "app.log.1");
	append(&b, "app.log", "3\n");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 3, 5000));
	usleep(50000);
	bench_stop(&b);
	assert_int_equal(fake_count(&b.sink), 3);
	/* And once more: it is known as done now. */
	rename_log(&b, "app.log.1", "app.log.2");
	bench_start(&b);
	usleep(200000);
	bench_stop(&b);
	assert_int_equal(fake_count(&b.sink), 3);
	assert_int_equal(b.sink.n_duplicates, 0);
	bench_fini(&b);
}

/* Several rotations while nobody looked: what came and went is read, in order of age.  What was
 * there before the path was first followed is not. */
static void rotated_unseen(bool killed, bool at_path)
{
	struct bench b;
	struct buf model = {0};

	bench_init(&b, "app.log");
	append(&b, "app.log.2", "older\n");
	append(&b, "app.log.1", "old\n");
	append(&b, "app.log-errors", "another log\n");
	numbered(&b, "app.log", &model, 0, 10);
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 10, 5000));
	usleep(400000);
	copy_file(&b, "state/positions", "killed");
	numbered(&b, "app.log", &model, 10, 10);
	assert_true(fake_wait(&b.sink, 20, 5000));
	bench_stop(&b);
	if (killed)
		copy_file(&b, "killed", "state/positions");
	numbered(&b, "app.log", &model, 20, 20000);
	for (int i = 1; i < 6; i++) {
		rotate_down(&b);
		numbered(&b, "app.log", &model, i * 30000, i == 3 ? 30000 : 5);
	}
	if (!at_path)
		rotate_down(&b);
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 20020 + 30020, 10000));
	usleep(50000);
	expect(&b, "app.log", buf_cstr(&model));
	/* And on it goes. */
	numbered(&b, "app.log", &model, 200000, 3);
	assert_true(fake_wait(&b.sink, 20020 + 30020 + 3, 5000));
	bench_stop(&b);
	bench_start(&b);
	usleep(100000);
	bench_stop(&b);
	expect(&b, "app.log", buf_cstr(&model));
	expect(&b, "app.log.1", "");
	assert_int_equal(fake_count(&b.sink), 20020 + 30020 + 3);
	buf_fini(&model);
	bench_fini(&b);
}

static void test_rotated_unseen(void **state)
{
	(void)state;
	rotated_unseen(false, true);
	rotated_unseen(true, true);
	rotated_unseen(true, false);
}

/* The same with names that go up, and no glob but the path. */
static void test_rotated_by_date(void **state)
{
	struct bench b;
	struct buf model = {0};
	char name[32];

	(void)state;
	bench_init(&b, "app.log");
	append(&b, "app.log-20260101", "old\n");
	numbered(&b, "app.log", &model, 0, 10);
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 10, 5000));
	bench_stop(&b);
	for (int i = 1; i < 9; i++) {
		snprintf(name, sizeof(name), "app.log-2026082%d", i);
		rename_log(&b, "app.log", name);
		numbered(&b, "app.log", &model, i * 100, 10);
	}
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 90, 5000));
	usleep(50000);
	bench_stop(&b);
	expect(&b, "app.log", buf_cstr(&model));
	buf_fini(&model);
	bench_fini(&b);
}

/* Rotated faster than anybody looks, by either way to number. */
static void rotated_quickly(bool down)
{
	struct bench b;
	struct buf model = {0};
	char name[32];

	bench_init(&b, "app.log");
	append(&b, "app.log.0", "old\n");
	numbered(&b, "app.log", &model, 0, 10);
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 10, 5000));
	for (int i = 1; i < 200; i++) {
		if (down) {
			rotate_down(&b);
		} else {
			snprintf(name, sizeof(name), "app.log.%d", i);
			rename_log(&b, "app.log", name);
		}
		numbered(&b, "app.log", &model, i * 100, 10);
		usleep(i % 50 == 0 ? 100000 : down ? 200 : 5000);
	}
	assert_true(fake_wait(&b.sink, 2000, 10000));
	usleep(50000);
	expect(&b, "app.log", buf_cstr(&model));
	assert_int_equal(fake_count(&b.sink), 2000);
	bench_stop(&b);
	buf_fini(&model);
	bench_fini(&b);
}

static void test_rotated_quickly(void **state)
{
	(void)state;
	rotated_quickly(true);
	rotated_quickly(false);
}

/* Copies are not generations: neither those of copytruncate nor those by hand. */
static void test_copies(void **state)
{
	struct bench b;
	struct buf model = {0};

	(void)state;
	bench_init(&b, "app.log");
	numbered(&b, "app.log", &model, 0, 100);
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 100, 5000));
	usleep(10000);
	copy_file(&b, "app.log", "app.log.1");
	assert_int_equal(truncate(path_of(&b, "app.log"), 0), 0);
	numbered(&b, "app.log", &model, 100, 10);
	assert_true(fake_wait(&b.sink, 110, 5000));
	bench_stop(&b);
	usleep(10000);
	copy_file(&b, "app.log", "app.log.2");
	bench_start(&b);
	usleep(100000);
	/* Now a rotation: the copies are older than the new file, and known. */
	rename_log(&b, "app.log", "app.log.3");
	numbered(&b, "app.log", &model, 1000, 10);
	assert_true(fake_wait(&b.sink, 120, 5000));
	usleep(100000);
	bench_stop(&b);
	expect(&b, "app.log", buf_cstr(&model));
	assert_int_equal(fake_count(&b.sink), 120);
	buf_fini(&model);
	bench_fini(&b);
}

/* A path that was named before there was a file. */
static void test_path_to_come(void **state)
{
	struct bench b;
	struct buf model = {0};

	(void)state;
	bench_init(&b, "app.log");
	append(&b, "app.log.old", "old\n");
	bench_start(&b);
	usleep(300000);
	bench_stop(&b);
	usleep(10000);
	numbered(&b, "app.log", &model, 0, 10);
	rename_log(&b, "app.log", "app.log.1");
	numbered(&b, "app.log", &model, 10, 10);
	rename_log(&b, "app.log", "app.log.2");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 20, 5000));
	usleep(50000);
	numbered(&b, "app.log", &model, 20, 10);
	assert_true(fake_wait(&b.sink, 30, 5000));
	bench_stop(&b);
	expect(&b, "app.log", buf_cstr(&model));
	buf_fini(&model);
	bench_fini(&b);
}

/* Away for longer than positions of lost files are kept: those of files that are there hold. */
static void test_away_for_long(void **state)
{
	struct bench b;
	struct positions p;
	struct buf text = {0};
	size_t n_damaged;

	(void)state;
	bench_init(&b, "app.log");
	append(&b, "app.log", "a\n");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 1, 5000));
	bench_stop(&b);
	positions_init(&p);
	assert_int_equal(positions_load(&p, path_of(&b, "state/positions"), &n_damaged, NULL), 0);
	positions_write_head(&p, &text);
	LIST_EACH (at, &p.list) {
		CONTAINER(at, struct position, node)->seen_s -= 30 * 86400;
		position_write(CONTAINER(at, struct position, node), &text);
	}
	LIST_EACH (at, &p.lineages) {
		CONTAINER(at, struct lineage, node)->seen_s -= 30 * 86400;
		lineage_write(CONTAINER(at, struct lineage, node), &text);
	}
	positions_fini(&p);
	assert_int_equal(unlink(path_of(&b, "state/positions")), 0);
	append(&b, "state/positions", buf_cstr(&text));
	buf_fini(&text);
	append(&b, "app.log", "b\n");
	rename_log(&b, "app.log", "app.log.1");
	append(&b, "app.log", "c\n");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 3, 5000));
	usleep(50000);
	bench_stop(&b);
	expect(&b, "app.log", "a\nb\nc\n");
	assert_int_equal(fake_count(&b.sink), 3);
	bench_fini(&b);
}

static void test_truncation(void **state)
{
	struct bench b;
	struct buf model = {0};

	(void)state;
	bench_init(&b, "app.log");
	numbered(&b, "app.log", &model, 0, 100);
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 100, 5000));
	assert_int_equal(truncate(path_of(&b, "app.log"), 0), 0);
	numbered(&b, "app.log", &model, 100, 10);
	assert_true(fake_wait(&b.sink, 110, 5000));
	/* Larger than before at once: only the fingerprint tells. */
	bench_stop(&b);
	assert_int_equal(truncate(path_of(&b, "app.log"), 0), 0);
	numbered(&b, "app.log", &model, 1000, 200);
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 310, 5000));
	assert_int_equal(truncate(path_of(&b, "app.log"), 0), 0);
	numbered(&b, "app.log", &model, 2000, 300);
	assert_true(fake_wait(&b.sink, 610, 5000));
	bench_stop(&b);
	expect(&b, "app.log", buf_cstr(&model));
	buf_fini(&model);
	bench_fini(&b);
}

/* Positions as they were at some earlier time: the server's marks sort it out. */
static void test_stale_positions(void **state)
{
	struct bench b;
	struct buf model = {0}, cmd = {0};

	(void)state;
	bench_init(&b, "app.log");
	numbered(&b, "app.log", &model, 0, 1000);
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 1000, 5000));
	buf_printf(&cmd, "cp %s/positions %s/old", b.state, b.dir);
	usleep(20000);
	assert_int_equal(system(buf_cstr(&cmd)), 0);
	numbered(&b, "app.log", &model, 1000, 20000);
	assert_true(fake_wait(&b.sink, 21000, 5000));
	bench_stop(&b);
	buf_clear(&cmd);
	buf_printf(&cmd, "cp %s/old %s/positions", b.dir, b.state);
	assert_int_equal(system(buf_cstr(&cmd)), 0);
	numbered(&b, "app.log", &model, 21000, 1000);
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 22000, 5000));
	bench_stop(&b);
	assert_true(b.sink.n_duplicates > 0);
	expect(&b, "app.log", buf_cstr(&model));
	buf_fini(&model);
	buf_fini(&cmd);
	bench_fini(&b);
}

/* Late, busy, failing, and a server that lost a part: still each line once and in order. */
static void test_faults(void **state)
{
	struct bench b;
	struct buf model = {0}, other = {0};

	(void)state;
	bench_init(&b, "*.log");
	b.sink.delay_us = 300;
	b.sink.busy_every = 3;
	b.sink.fail_every = 4;
	bench_start(&b);
	for (int i = 0; i < 100; i++) {
		numbered(&b, "app.log", &model, i * 300, 300);
		numbered(&b, "other.log", &other, i * 10, 10);
	}
	assert_true(fake_wait(&b.sink, 31000, 60000));
	expect(&b, "app.log", buf_cstr(&model));
	expect(&b, "other.log", buf_cstr(&other));
	bench_stop(&b);
	buf_fini(&model);
	buf_fini(&other);
	bench_fini(&b);
}

static void test_gap(void **state)
{
	struct bench b;
	struct buf model = {0}, other = {0};
	const struct map_slot *slot;
	struct buf *text;
	size_t at = 0;

	(void)state;
	bench_init(&b, "*.log");
	numbered(&b, "app.log", &model, 0, 1000);
	numbered(&b, "other.log", &other, 0, 900);
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 1900, 5000));
	/* The server is set back to an earlier state: it forgets the second half of one file. */
	lock_take(&b.sink.lock);
	text = fake_body(&b.sink, str_c(path_of(&b, "app.log")));
	text->n = (size_t)(strstr(buf_cstr(text), "line 500 ") - text->p);
	while ((slot = map_next(&b.sink.marks, &at)))
		if (map_get(&b.sink.marks, slot->key)->u == model.n) {
			map_get(&b.sink.marks, slot->key)->u = text->n;
			map_get(&b.sink.positions, slot->key)->u = 0;
			break;
		}
	b.sink.n_records -= 500;
	lock_drop(&b.sink.lock);
	numbered(&b, "app.log", &model, 1000, 5);
	numbered(&b, "other.log", &other, 900, 5);
	assert_true(fake_wait(&b.sink, 1910, 8000));
	assert_true(b.sink.n_gaps > 0);
	expect(&b, "app.log", buf_cstr(&model));
	expect(&b, "other.log", buf_cstr(&other));
	bench_stop(&b);
	buf_fini(&model);
	buf_fini(&other);
	bench_fini(&b);
}

static size_t n_quarantined(struct bench *b)
{
	struct buf dir = {0};
	size_t n;

	struct buf names = {0};

	buf_printf(&dir, "%s/quarantine", b->state);
	assert_int_equal(fs_list(fs_real(), buf_cstr(&dir), &names, &n, NULL), 0);
	buf_fini(&dir);
	buf_fini(&names);
	return n;
}

static void test_quarantine(void **state)
{
	struct bench b;
	struct buf got;

	(void)state;
	bench_init(&b, "*.log");
	b.sink.poison = "POISON";
	for (int i = 0; i < 500; i++)
		append(&b, "app.log",
			i == 77 || i == 78 || i == 499 ? "a POISON line\n" : "fine\n");
	append(&b, "bad.log", "x\n");
	b.sink.bad_label = "bad";
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 501, 10000));
	append(&b, "app.log", "more\n");
	assert_true(fake_wait(&b.sink, 502, 10000));
	bench_stop(&b);
	assert_int_equal(n_quarantined(&b), 4);
	assert_int_equal(b.sink.n_accounted, 4);
	got = fake_text(&b.sink, path_of(&b, "app.log"));
	assert_null(strstr(buf_cstr(&got), "a POISON"));
	assert_non_null(
		strstr(buf_cstr(&got), "fine\nsawlog: the server refused a line of 13 bytes"));
	assert_non_null(strstr(buf_cstr(&got), "more\n"));
	buf_fini(&got);
	bench_fini(&b);
}

static void test_ceiling(void **state)
{
	struct bench b;
	struct buf model = {0};

	(void)state;
	bench_init(&b, "app.log");
	account_init(&b.account, "test", 8 << 20, NULL);
	numbered(&b, "app.log", &model, 0, 400000);
	fake_set_hold(&b.sink, true);
	bench_start(&b);
	usleep(400000);
	assert_true(account_held(&b.account) > 4 << 20);
	assert_true(account_held(&b.account) <= 10 << 20);
	fake_set_hold(&b.sink, false);
	assert_true(fake_wait(&b.sink, 400000, 30000));
	assert_true(b.account.peak <= 10 << 20);
	expect(&b, "app.log", buf_cstr(&model));
	bench_stop(&b);
	buf_fini(&model);
	bench_fini(&b);
}

static void test_long_line(void **state)
{
	struct bench b;
	size_t n = 3u * LINE_FRAGMENT + 12345;
	char *line = xmalloc(n + 2);
	struct buf got;
	size_t to = 0;

	(void)state;
	bench_init(&b, "app.log");
	for (size_t i = 0; i < n; i++)
		line[i] = (char)('a' + i % 23);
	line[n] = '\n';
	line[n + 1] = 0;
	bench_start(&b);
	append(&b, "app.log", "before\n");
	append(&b, "app.log", line);
	append(&b, "app.log", "after\n");
	assert_true(fake_wait(&b.sink, 6, 8000));
	got = fake_text(&b.sink, path_of(&b, "app.log"));
	/* The joined pieces are the line. */
	for (size_t i = 0; i < got.n; i++)
		if (got.p[i] != '\n')
			got.p[to++] = got.p[i];
	assert_int_equal(to, 6 + n + 5);
	assert_memory_equal(got.p + 6, line, n);
	assert_string_equal(buf_cstr(&b.sink.meta),
		"{fragment=\"1\"}{fragment=\"2\"}{fragment=\"3\"}{fragment=\"4\"}");
	bench_stop(&b);
	buf_fini(&got);
	free(line);
	bench_fini(&b);
}

static void test_start_end(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, "*.log");
	b.s.start = FILE_START_END;
	append(&b, "app.log", "old\nolder\nhalf");
	bench_start(&b);
	usleep(100000);
	append(&b, "app.log", " line\n");
	append(&b, "new.log", "all of it\n");
	assert_true(fake_wait(&b.sink, 2, 5000));
	bench_stop(&b);
	append(&b, "app.log", "next\n");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 3, 5000));
	bench_stop(&b);
	expect(&b, "app.log", "half line\nnext\n");
	expect(&b, "new.log", "all of it\n");
	assert_int_equal(b.sink.n_gaps, 0);
	bench_fini(&b);
}

static void test_once(void **state)
{
	struct bench b;
	char name[32];

	(void)state;
	bench_init(&b, "*.log");
	b.s.once = true;
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "%d.log", i);
		append(&b, name, "a\nb");
	}
	bench_start(&b);
	for (int i = 0; i < 5000 && !b.run.ended; i++)
		usleep(1000);
	assert_true(b.run.ended);
	assert_int_equal(fake_count(&b.sink), 600);
	bench_stop(&b);
	/* Nothing new: ends at once. */
	bench_start(&b);
	for (int i = 0; i < 5000 && !b.run.ended; i++)
		usleep(1000);
	assert_true(b.run.ended);
	bench_stop(&b);
	assert_int_equal(fake_count(&b.sink), 600);
	bench_fini(&b);
}

static void test_not_a_positions_file(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b, "app.log");
	append(&b, "state/positions", "something else\n");
	assert_int_equal(fake_start_input(&b.run, &input_file, &b.s, &b.sink, &b.account, b.state),
		ERR_CORRUPT);
	assert_non_null(strstr(b.run.error.text, "positions"));
	assert_int_equal(account_held(&b.account), 0);
	bench_fini(&b);
}

static void test_app(void **state)
{
	static const char *const cases[][2] = {{"/var/log/app.log", "app"},
		{"/var/log/app.log.1", "app"}, {"/var/log/app-20260821.log", "app-20260821"},
		{"/var/log/messages-20260821", "messages"}, {"/var/log/syslog", "syslog"},
		{"/var/log/syslog.2", "syslog"}, {"a/my.app.log", "my.app"},
		{"x/.hidden", ".hidden"}, {"/x/123", "123"}, {"/x/web2", "web2"}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = {0};

		app_of(cases[i][0], &out);
		assert_string_equal(buf_cstr(&out), cases[i][1]);
		buf_fini(&out);
	}
}

/* From write() to submit, with nothing else under way. */
static void test_latency(void **state)
{
	struct bench b;
	int64_t sum = 0, worst = 0;
	int fd;

	(void)state;
	bench_init(&b, "app.log");
	append(&b, "app.log", "first\n");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 1, 5000));
	fd = open(path_of(&b, "app.log"), O_WRONLY | O_APPEND);
	for (int i = 0; i < 50; i++) {
		int64_t began, took;

		usleep(5000);
		began = clock_mono_ns(clock_real());
		assert_int_equal(write(fd, "x\n", 2), 2);
		assert_true(fake_wait(&b.sink, (uint64_t)i + 2, 3000));
		lock_take(&b.sink.lock);
		took = b.sink.last_commit_mono - began;
		lock_drop(&b.sink.lock);
		sum += took;
		worst = took > worst ? took : worst;
	}
	close(fd);
	print_message("write to commit: mean %.2f ms, worst %.2f ms\n", (double)sum / 50e6,
		(double)worst / 1e6);
	assert_true(sum / 50 < 100 * NS_PER_MS);
	bench_stop(&b);
	bench_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_app),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_rotated_while_stopped),
		cmocka_unit_test(test_rotated_unseen),
		cmocka_unit_test(test_rotated_by_date),
		cmocka_unit_test(test_rotated_quickly),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_path_to_come),
		cmocka_unit_test(test_away_for_long),
		cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_stale_positions),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_gap),
		cmocka_unit_test(test_quarantine),
		cmocka_unit_test(test_ceiling),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_start_end),
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_not_a_positions_file),
		cmocka_unit_test(test_latency),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
