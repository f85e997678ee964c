/* SPDX-License-Identifier: Apache-2.0 */
/* The buffer of a server that is away, on a disk that forgets, lies and breaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/fake.h"
#include "route/spool.h"

static struct batch *make(unsigned number, size_t bytes)
{
	struct batch_builder *b = batch_builder_new(STR("t"), STR("test"), 1);
	struct record r = {.timestamp = number};
	struct buf labels = {0}, body = {0};
	struct labels_builder lb = {0};
	struct batch *out;

	labels_builder_set(&lb, STR("app"), STR("a"), NULL);
	labels_builder_write(&lb, &labels);
	buf_printf(&body, "%u", number);
	while (body.n < bytes)
		buf_char(&body, 'x');
	r.body = buf_view(&body);
	r.stream = batch_builder_stream(b, buf_view(&labels));
	assert_int_equal(batch_builder_add(b, &r, NULL), 0);
	out = batch_builder_finish(b, 1);
	batch_builder_free(b);
	labels_builder_fini(&lb);
	buf_fini(&labels);
	buf_fini(&body);
	return out;
}

static int append(struct spool *s, unsigned number, size_t bytes)
{
	struct batch *b = make(number, bytes);
	int r = spool_append(s, &b, 1, NULL);

	batch_unref(b);
	return r;
}

static unsigned number_of(struct batch *b)
{
	return (unsigned)batch_record(b, 0).timestamp;
}

/* The next one, passed by; 0: none. */
static unsigned take(struct spool *s)
{
	struct batch *b;
	unsigned number;
	struct error e;
	int r = spool_next(s, &b, &e);

	if (r < 0)
		fail_msg("%d: %s", r, e.text);
	if (r == 0)
		return 0;
	number = number_of(b);
	batch_unref(b);
	spool_advance(s);
	return number;
}

static struct spool *reopen(struct spool *s, struct fs *fs)
{
	spool_close(s);
	assert_int_equal(spool_open(&s, fs, "b", NULL), 0);
	return s;
}

static void batches_come_out_in_order(void **state)
{
	struct fs *fs = fs_fake_new(1);
	struct spool *s = reopen(NULL, fs);
	struct batch *b;

	assert_int_equal(take(s), 0);
	for (unsigned i = 1; i <= 10; i++)
		assert_int_equal(append(s, i, 100 * i), 0);
	assert_int_equal(spool_batches(s), 10);
	for (unsigned i = 1; i <= 5; i++)
		assert_int_equal(take(s), i);
	/* What was not passed by comes again. */
	assert_int_equal(spool_next(s, &b, NULL), 1);
	assert_int_equal(number_of(b), 6);
	batch_unref(b);
	s = reopen(s, fs);
	assert_int_equal(spool_batches(s), 5);
	for (unsigned i = 6; i <= 10; i++)
		assert_int_equal(take(s), i);
	assert_int_equal(take(s), 0);
	assert_int_equal(spool_batches(s), 0);
	assert_int_equal(spool_bytes(s), 0);
	assert_int_equal(append(s, 11, 10), 0);
	assert_int_equal(take(s), 11);
	spool_close(s);
	fs_fake_free(fs);
}

/* More than a segment; those that were read leave the disk. */
static void segments_go_when_they_were_read(void **state)
{
	struct fs *fs = fs_fake_new(2);
	struct spool *s = reopen(NULL, fs);
	struct buf names = {0};
	size_t n;

	for (unsigned i = 1; i <= 20; i++)
		assert_int_equal(append(s, i, 5 << 20), 0);
	for (unsigned i = 1; i <= 20; i++)
		assert_int_equal(take(s), i);
	assert_int_equal(take(s), 0);
	spool_close(s);
	assert_int_equal(fs_list(fs, "b", &names, &n, NULL), 0);
	assert_int_equal(n, 1); /* the place alone */
	buf_fini(&names);
	fs_fake_free(fs);
}

/* Whenever the power goes, what was acknowledged is there; nothing is made up. */
static void acknowledged_survives_a_crash(void **state)
{
	for (uint64_t at = 1; at < 60; at++) {
		struct fs *fs = fs_fake_new(at);
		struct spool *s = reopen(NULL, fs);
		unsigned acked = 0, taken = 0, next;
		bool crashed = false;
		struct batch *b;

		fake_crash_at(fs, at);
		for (unsigned i = 1; i <= 12 && !crashed; i++) {
			if (append(s, i, 2000) == 0)
				acked = i;
			else
				crashed = true;
			/* The power may have gone right behind the sync. */
			if (!crashed && i % 3 == 0 && spool_next(s, &b, NULL) > 0) {
				batch_unref(b);
				spool_advance(s);
				taken++;
			}
		}
		fake_crash(fs, at % 2);
		s = reopen(s, fs);
		/* From at most where reading was, to at least what was acknowledged. */
		next = take(s);
		assert_true(next <= taken + 1 && (next >= 1 || acked == taken));
		while (next && next < acked)
			assert_int_equal(take(s), ++next);
		assert_true(spool_batches(s) <= 1);
		spool_close(s);
		fs_fake_free(fs);
	}
}

static void a_failed_sync_is_no_acknowledgement(void **state)
{
	struct fs *fs = fs_fake_new(3);
	struct spool *s = reopen(NULL, fs);
	unsigned seen[4] = {0}, number;

	assert_int_equal(append(s, 1, 100), 0);
	fake_fail(fs, FAKE_SYNC, 1, EIO, false);
	assert_true(append(s, 2, 100) < 0);
	assert_int_equal(append(s, 2, 100), 0);
	assert_int_equal(append(s, 3, 100), 0);
	fake_crash(fs, false);
	s = reopen(s, fs);
	while ((number = take(s)))
		seen[number]++;
	/* The second may be there twice: its sources tell. */
	assert_true(seen[1] == 1 && seen[2] >= 1 && seen[3] == 1);
	spool_close(s);
	fs_fake_free(fs);
}

/* Each flipped bit costs the batch it is in, or what follows it in the segment, and never more. */
static void damage_is_passed_by(void **state)
{
	uint64_t size = 1;

	for (uint64_t bit = 0; bit < 8 * size; bit += 37) {
		struct fs *fs = fs_fake_new(4);
		struct spool *s = reopen(NULL, fs);
		unsigned n = 0, last = 0, number;
		struct file_stat st;

		for (unsigned i = 1; i <= 4; i++)
			assert_int_equal(append(s, i, 50), 0);
		assert_int_equal(fs_stat(fs, "b/0000000000000000.spool", &st, NULL), 0);
		size = st.size;
		fake_flip(fs, "b/0000000000000000.spool", bit);
		s = reopen(s, fs);
		assert_int_equal(append(s, 5, 50), 0);
		while ((number = take(s))) {
			assert_true(number > last);
			last = number;
			n++;
		}
		assert_int_equal(last, 5);
		assert_true(n >= 1);
		assert_int_equal(spool_batches(s), 0);
		assert_int_equal(spool_bytes(s), 0);
		spool_close(s);
		fs_fake_free(fs);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batches_come_out_in_order),
		cmocka_unit_test(segments_go_when_they_were_read),
		cmocka_unit_test(acknowledged_survives_a_crash),
		cmocka_unit_test(a_failed_sync_is_no_acknowledgement),
		cmocka_unit_test(damage_is_passed_by),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
