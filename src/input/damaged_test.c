/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed files that are damaged, cut short, or not finished: what can be read comes once, then
 * one record says that the rest is missing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "input/file_bench.h"
#include "input/packed.h"

enum { LINES = 40000, HEAD = 100 };

struct format {
	const char *pack, *end; /* a command, and the suffix that it gives */
	enum packing packing;
};

static const struct format formats[] = {
	{"gzip -q", ".gz", PACKING_GZIP},
	/* With a checksum, and frames of which the length is not known beforehand. */
	{"zstd -q --rm", ".zst", PACKING_ZSTD},
};

enum harm { HARM_FLIP, HARM_CUT };

static void sh(struct bench *b, const char *command)
{
	struct buf cmd = {0};

	buf_printf(&cmd, "cd %s && %s", b->dir, command);
	assert_int_equal(system(buf_cstr(&cmd)), 0);
	buf_fini(&cmd);
}

static void pack(struct bench *b, const struct format *f, const char *name)
{
	struct buf cmd = {0};

	buf_printf(&cmd, "%s %s", f->pack, name);
	sh(b, buf_cstr(&cmd));
	buf_fini(&cmd);
}

static off_t size_of(struct bench *b, const char *name)
{
	struct stat st;

	assert_int_equal(stat(path_of(b, name), &st), 0);
	return st.st_size;
}

/* Damage the middle of it.  What is cut is an hour old, so nobody writes to it any more. */
static void harm(struct bench *b, const char *name, enum harm how)
{
	off_t middle = size_of(b, name) / 2;
	struct timespec old[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
	unsigned char byte;
	int fd;

	if (how == HARM_CUT) {
		old[0].tv_nsec = old[1].tv_nsec = 0;
		old[0].tv_sec = old[1].tv_sec = time(NULL) - 3600;
		assert_int_equal(truncate(path_of(b, name), middle), 0);
		assert_int_equal(utimensat(AT_FDCWD, path_of(b, name), old, 0), 0);
		return;
	}
	fd = open(path_of(b, name), O_RDWR);
	assert_int_equal(pread(fd, &byte, 1, middle), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, middle), 1);
	close(fd);
}

static size_t count(struct str text, const char *word)
{
	size_t n = 0;

	for (const char *at = text.p; (at = strstr(at, word)); at += strlen(word))
		n++;
	return n;
}

/* What came of the file that was damaged are the first bytes of `model`, and then the record.  A
 * flipped bit may go unseen for a while: what it made of the bytes behind it is there as well. */
static void expect_damaged(struct bench *b, const char *name, const struct buf *model, size_t least)
{
	struct buf got = fake_text(&b->sink, path_of(b, name));
	const char *gap = strstr(buf_cstr(&got), "sawlog: ");
	size_t same = 0;

	assert_non_null(gap);
	assert_int_equal(count(buf_view(&got), "sawlog: "), 1);
	assert_int_equal(count(buf_view(&got), "line 0 of"), 1);
	while (same < got.n && same < model->n && got.p[same] == model->p[same])
		same++;
	assert_true(same >= least);
	assert_true(same < model->n);
	assert_non_null(strstr(gap, "what follows offset "));
	assert_non_null(strstr(gap, " of its content is lost"));
	buf_fini(&got);
}

static void wait_for_gap(struct bench *b)
{
	for (int i = 0; i < 15000; i++) {
		bool there;

		lock_take(&b->sink.lock);
		there = b->sink.n_accounted > 0;
		lock_drop(&b->sink.lock);
		if (there)
			return;
		usleep(1000);
	}
	fail_msg("no gap was told");
}

/* Nothing comes twice after a restart. */
static void nothing_more(struct bench *b)
{
	uint64_t n = fake_count(&b->sink);

	bench_start(b);
	usleep(1300000);
	bench_stop(b);
	assert_int_equal(fake_count(&b->sink), n);
	assert_int_equal(b->sink.n_accounted, 1);
}

/* A file that was named. */
static void named(const struct format *f, enum harm how)
{
	struct buf model = {0}, name = {0}, glob = {0};
	struct bench b;

	buf_printf(&name, "x%s", f->end);
	buf_printf(&glob, "*%s", f->end);
	bench_init(&b, buf_cstr(&glob));
	numbered(&b, "x", &model, 0, LINES);
	pack(&b, f, "x");
	harm(&b, buf_cstr(&name), how);
	bench_start(&b);
	wait_for_gap(&b);
	usleep(1300000);
	bench_stop(&b);
	assert_int_equal(b.sink.n_accounted, 1);
	assert_int_equal(b.sink.n_gaps, 0);
	assert_int_equal(b.sink.n_duplicates, 0);
	expect_damaged(&b, buf_cstr(&name), &model, model.n / 4);
	nothing_more(&b);
	buf_fini(&model);
	buf_fini(&name);
	buf_fini(&glob);
	bench_fini(&b);
}

/* A file of which the first lines were read, that was rotated and compressed while stopped; the
 * file behind it comes whole: before the record, where one that was cut may have grown first. */
static void rotated(const struct format *f, enum harm how)
{
	struct buf model = {0}, name = {0}, next = {0};
	struct bench b;
	struct buf got;

	buf_printf(&name, "app.log.1%s", f->end);
	bench_init(&b, "app.log");
	numbered(&b, "app.log", &model, 0, HEAD);
	bench_start(&b);
	assert_true(fake_wait(&b.sink, HEAD, 5000));
	usleep(100000);
	bench_stop(&b);
	numbered(&b, "app.log", &model, HEAD, LINES);
	rename_log(&b, "app.log", "app.log.1");
	pack(&b, f, "app.log.1");
	harm(&b, buf_cstr(&name), how);
	numbered(&b, "app.log", &next, LINES * 2, HEAD);
	bench_start(&b);
	wait_for_gap(&b);
	for (int i = 0; i < 10000; i++) {
		bool there;

		got = fake_text(&b.sink, path_of(&b, "app.log"));
		there = memmem(got.p, got.n, next.p, next.n) != NULL;
		buf_fini(&got);
		if (there)
			break;
		assert_true(i < 9999);
		usleep(1000);
	}
	usleep(100000);
	bench_stop(&b);
	assert_int_equal(b.sink.n_accounted, 1);
	assert_int_equal(b.sink.n_gaps, 0);
	expect_damaged(&b, "app.log", &model, model.n / 4);
	nothing_more(&b);
	buf_fini(&model);
	buf_fini(&name);
	buf_fini(&next);
	bench_fini(&b);
}

static void test_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		named(&formats[i], HARM_FLIP);
		named(&formats[i], HARM_CUT);
	}
}

static void test_rotated(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		rotated(&formats[i], HARM_FLIP);
		rotated(&formats[i], HARM_CUT);
	}
}

/* Killed before the gap was saved: what was there is told again and is a duplicate. */
static void test_killed(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct buf model = {0}, name = {0}, glob = {0};
		struct bench b;
		uint64_t n;

		buf_printf(&name, "x%s", formats[i].end);
		buf_printf(&glob, "*%s", formats[i].end);
		bench_init(&b, buf_cstr(&glob));
		numbered(&b, "x", &model, 0, LINES);
		pack(&b, &formats[i], "x");
		harm(&b, buf_cstr(&name), HARM_FLIP);
		bench_start(&b);
		wait_for_gap(&b);
		copy_file(&b, "state/positions", "killed");
		usleep(100000);
		bench_stop(&b);
		n = fake_count(&b.sink);
		copy_file(&b, "killed", "state/positions");
		bench_start(&b);
		usleep(1500000);
		bench_stop(&b);
		assert_int_equal(fake_count(&b.sink), n);
		expect_damaged(&b, buf_cstr(&name), &model, model.n / 4);
		buf_fini(&model);
		buf_fini(&name);
		buf_fini(&glob);
		bench_fini(&b);
	}
}

/* Still being written: what there is comes, the rest when it is there, and no gap. */
static void test_growing(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct buf model = {0}, name = {0}, glob = {0}, cmd = {0};
		struct bench b;

		buf_printf(&name, "x%s", formats[i].end);
		buf_printf(&glob, "x*%s", formats[i].end);
		bench_init(&b, buf_cstr(&glob));
		numbered(&b, "x", &model, 0, LINES);
		pack(&b, &formats[i], "x");
		buf_printf(&cmd, "mv %s whole && head -c %lld whole > %s", buf_cstr(&name),
			(long long)size_of(&b, buf_cstr(&name)) / 2, buf_cstr(&name));
		sh(&b, buf_cstr(&cmd));
		bench_start(&b);
		usleep(1500000);
		assert_true(fake_count(&b.sink) > 0);
		assert_true(fake_count(&b.sink) < LINES);
		assert_int_equal(b.sink.n_accounted, 0);
		bench_stop(&b);
		bench_start(&b); /* the middle of it is where it goes on */
		buf_clear(&cmd);
		buf_printf(&cmd, "tail -c +%lld whole >> %s",
			(long long)size_of(&b, buf_cstr(&name)) + 1, buf_cstr(&name));
		sh(&b, buf_cstr(&cmd));
		assert_true(fake_wait(&b.sink, LINES, 10000));
		usleep(1200000);
		bench_stop(&b);
		expect(&b, buf_cstr(&name), buf_cstr(&model));
		assert_int_equal(b.sink.n_accounted, 0);
		assert_int_equal(b.sink.n_duplicates, 0);
		buf_fini(&model);
		buf_fini(&name);
		buf_fini(&glob);
		buf_fini(&cmd);
		bench_fini(&b);
	}
}

/* packed.c alone: the bytes before the damage, in reads of any size, and again after going back. */
static void test_reads_up_to_the_damage(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++) {
		const struct format *f = &formats[i / 2];
		struct buf model = {0}, name = {0};
		struct bench b;
		struct packed *p;
		uint64_t ends[2] = {0};
		char out[5000];
		struct error e;
		ssize_t n;
		int fd;

		buf_printf(&name, "x%s", f->end);
		bench_init(&b, "none");
		numbered(&b, "x", &model, 0, LINES);
		pack(&b, f, "x");
		harm(&b, buf_cstr(&name), i % 2 ? HARM_CUT : HARM_FLIP);
		fd = open(path_of(&b, buf_cstr(&name)), O_RDONLY);
		p = packed_new(fd, f->packing);
		for (int round = 0; round < 2; round++) {
			size_t ask = round ? 777 : sizeof(out);
			uint64_t at = 0;

			while ((n = packed_read(p, out, ask, at, &e)) > 0 || n == PACKED_AGAIN) {
				if (n > 0 && at + (size_t)n < model.n / 4)
					assert_memory_equal(out, model.p + at, (size_t)n);
				at += n > 0 ? (uint64_t)n : 0;
			}
			assert_int_equal(n, i % 2 ? 0 : PACKED_DAMAGED);
			assert_int_equal(packed_damaged(p), i % 2 == 0);
			assert_false(packed_whole(p));
			ends[round] = at;
		}
		assert_int_equal(ends[0], ends[1]);
		assert_true(ends[0] >= model.n / 4);
		packed_free(p);
		close(fd);
		buf_fini(&model);
		buf_fini(&name);
		bench_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_up_to_the_damage),
		cmocka_unit_test(test_named),
		cmocka_unit_test(test_rotated),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_growing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
