/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Over journal files that systemd-journal-remote makes of the export format;
 * skipped where that tool (Debian package systemd-journal-remote) is not installed.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/stat.h>

#include "input/journald.c"
#include "input/fake_sink.h"

#define REMOTE "/lib/systemd/systemd-journal-remote"

enum { WAIT_MS = 60000 }; /* a journal file is synced by who writes it: seconds on a busy disk */

struct bench {
	char dir[64], state[80], journal[80];
	struct journald_settings s;
	struct fake_sink sink;
	struct account account;
	struct fake_run run;
	int n_written;
};

static void bench_init(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	strcpy(b->dir, "/tmp/sawlog-journald-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->state, sizeof(b->state), "%s/state", b->dir);
	snprintf(b->journal, sizeof(b->journal), "%s/journal", b->dir);
	assert_int_equal(mkdir(b->state, 0700), 0);
	assert_int_equal(mkdir(b->journal, 0700), 0);
	b->s.directory = b->journal;
	account_init(&b->account, "test", 32 << 20, NULL);
	fake_init(&b->sink);
}

static void bench_fini(struct bench *b)
{
	char cmd[100];

	fake_fini(&b->sink);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", b->dir);
	assert_int_equal(system(cmd), 0);
}

/* Add n entries "entry <i>" of the unit to the journal. */
static void entries(struct bench *b, int n, const char *unit)
{
	char cmd[200];
	FILE *f;

	snprintf(cmd, sizeof(cmd), REMOTE " -o %s/remote.journal - >/dev/null 2>&1", b->journal);
	f = popen(cmd, "w");
	assert_non_null(f);
	for (int i = 0; i < n; i++) {
		int at = b->n_written++;

		fprintf(f,
			"__REALTIME_TIMESTAMP=%lld\n__MONOTONIC_TIMESTAMP=%d\n"
			"_BOOT_ID=0123456789abcdef0123456789abcdef\nMESSAGE=entry %d\nPRIORITY=3\n"
			"_HOSTNAME=web1\nSYSLOG_IDENTIFIER=shop\n_SYSTEMD_UNIT=%s\n_PID=42\n\n",
			1787306400000000LL + at * 1000LL, at + 1, at, unit);
	}
	assert_int_equal(pclose(f), 0);
}

static void bench_start(struct bench *b)
{
	assert_int_equal(
		fake_start_input(&b->run, &input_journald, &b->s, &b->sink, &b->account, b->state),
		0);
}

static void bench_stop(struct bench *b)
{
	assert_true(fake_stop_input(&b->run));
	assert_int_equal(account_held(&b->account), 0);
}

/* Exactly "entry from" … "entry to - 1", in order, were committed. */
static void expect(struct bench *b, int from, int to)
{
	struct buf got = fake_text(&b->sink, ""), want = {0};

	for (int i = from; i < to; i++)
		buf_printf(&want, "entry %d\n", i);
	assert_string_equal(buf_cstr(&got), buf_cstr(&want));
	buf_fini(&got);
	buf_fini(&want);
}

static void test_reads_and_follows(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b);
	entries(&b, 100, "shop.service");
	assert_true(journald_available(b.journal));
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 100, WAIT_MS));
	lock_take(&b.sink.lock);
	assert_string_equal(buf_cstr(&b.sink.labels),
		"{app=\"shop\", host=\"web1\", input=\"journald\", service_name=\"shop\", "
		"unit=\"shop.service\"}");
	assert_int_equal(b.sink.last_severity, SEV_ERROR);
	assert_true(b.sink.last_time == (1787306400000000LL + 99 * 1000LL) * 1000);
	assert_non_null(strstr(buf_cstr(&b.sink.meta), "{pid=\"42\"}"));
	lock_drop(&b.sink.lock);
	entries(&b, 10, "shop.service");
	assert_true(fake_wait(&b.sink, 110, WAIT_MS));
	bench_stop(&b);
	expect(&b, 0, 110);
	bench_fini(&b);
}

static void test_restarts_at_the_cursor(void **state)
{
	struct bench b;
	char path[100];

	(void)state;
	bench_init(&b);
	entries(&b, 50, "shop.service");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 50, WAIT_MS));
	bench_stop(&b);
	/* The sink's token alone. */
	snprintf(path, sizeof(path), "%s/cursor", b.state);
	assert_int_equal(unlink(path), 0);
	entries(&b, 50, "shop.service");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 100, WAIT_MS));
	bench_stop(&b);
	expect(&b, 0, 100);
	bench_fini(&b);
}

static int no_position(
	struct sink *s, struct str tenant, struct str source, struct buf *token, uint64_t *mark)
{
	(void)s;
	(void)tenant;
	(void)source;
	(void)token;
	(void)mark;
	return ERR_NOT_FOUND;
}

static void test_cursor_file(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b);
	b.sink.sink.position = no_position;
	entries(&b, 20, "shop.service");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 20, WAIT_MS));
	bench_stop(&b);
	entries(&b, 20, "shop.service");
	bench_start(&b);
	assert_true(fake_wait(&b.sink, 40, WAIT_MS));
	bench_stop(&b);
	expect(&b, 0, 40);
	bench_fini(&b);
}

static void test_units_and_end(void **state)
{
	static const char *units[] = {"b.service"};
	struct bench b;

	(void)state;
	bench_init(&b);
	entries(&b, 10, "b.service");
	b.s.units = (struct strings){units, 1};
	b.s.start = START_END;
	bench_start(&b);
	usleep(50000);
	entries(&b, 10, "a.service");
	entries(&b, 10, "b.service");
	assert_true(fake_wait(&b.sink, 10, WAIT_MS));
	bench_stop(&b);
	expect(&b, 20, 30);
	bench_fini(&b);
}

/* Failures of the sink neither lose nor reorder; several batches are under way. */
static void test_faults(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b);
	b.sink.fail_every = 5;
	b.sink.busy_every = 3;
	b.sink.delay_us = 2000;
	entries(&b, 100, "shop.service");
	bench_start(&b);
	for (int i = 0; i < 10; i++)
		entries(&b, 20, "shop.service");
	assert_true(fake_wait(&b.sink, 300, 20000));
	bench_stop(&b);
	expect(&b, 0, 300);
	bench_fini(&b);
}

static void test_no_journal(void **state)
{
	struct bench b;

	(void)state;
	bench_init(&b);
	assert_false(journald_available(b.journal));
	assert_int_equal(
		fake_start_input(&b.run, &input_journald, &b.s, &b.sink, &b.account, b.state),
		ERR_NOT_FOUND);
	assert_non_null(strstr(b.run.error.text, "no journal files in"));
	bench_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_journal),
		cmocka_unit_test(test_reads_and_follows),
		cmocka_unit_test(test_restarts_at_the_cursor),
		cmocka_unit_test(test_cursor_file),
		cmocka_unit_test(test_units_and_end),
		cmocka_unit_test(test_faults),
	};

	if (access(REMOTE, X_OK) < 0) {
		puts("skipped: " REMOTE " is not installed (package systemd-journal-remote)");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
