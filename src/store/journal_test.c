/* SPDX-License-Identifier: Apache-2.0 */
/* Segments, groups, torn tails and damage, on the fake disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/fake.h"
#include "store/journal.h"

static const struct chunks no_state = {0};

static struct journal *open_journal(struct fs *fs, uint64_t segment_bytes)
{
	struct journal *j;
	struct journal_options o = {.fs = fs, .dir = "j", .segment_bytes = segment_bytes};

	assert_int_equal(journal_open(&j, &o, NULL), 0);
	return j;
}

/* Append one group of n records "record <seq>", each its own sequence. */
static int append(struct journal *j, uint64_t seq, size_t n)
{
	struct journal_entry entries[8];
	char text[8][64];

	assert_true(n <= 8);
	for (size_t i = 0; i < n; i++) {
		int len = snprintf(text[i], sizeof text[i], "record %llu, of some length",
			(unsigned long long)(seq + i));

		entries[i] = (struct journal_entry){.type = JOURNAL_BATCH,
			.first_seq = seq + i,
			.n_records = 1,
			.payload = str_make(text[i], (size_t)len)};
	}
	return journal_append(j, entries, n, NULL);
}

struct seen {
	bool seq[200];
	uint64_t n, last, missing, damages, groups;
};

static int on_entry(
	void *ctx, const struct journal_entry *entry, struct buf *payload, struct error *e)
{
	struct seen *s = ctx;
	char want[64];

	s->groups += entry->group_start;
	if (entry->type != JOURNAL_BATCH)
		return 0;
	snprintf(want, sizeof want, "record %llu, of some length",
		(unsigned long long)entry->first_seq);
	assert_true(str_eq_c(buf_view(payload), want));
	assert_true(entry->first_seq > s->last && entry->first_seq < 200);
	s->last = entry->first_seq;
	s->seq[entry->first_seq] = true;
	s->n++;
	return 0;
}

static void on_damage(void *ctx, uint64_t first_seq, uint64_t last_seq, const char *sentence)
{
	struct seen *s = ctx;

	s->damages++;
	s->missing += last_seq - first_seq + 1;
	assert_non_null(strstr(sentence, "journal segment"));
}

static struct seen recover(struct journal *j, struct journal_recovery *r)
{
	struct seen s = {0};
	struct journal_visitor v = {.entry = on_entry, .damage = on_damage, .ctx = &s};

	assert_int_equal(journal_recover(j, &v, r, NULL), 0);
	return s;
}

static struct seen reopen(struct fs *fs, struct journal **j, struct journal_recovery *r)
{
	journal_close(*j);
	*j = open_journal(fs, 4096);
	return recover(*j, r);
}

static void reads_back_over_segments(void **state)
{
	struct fs *fs = fs_fake_new(1);
	struct journal *j = open_journal(fs, 1024);
	struct journal_recovery r;
	struct seen s = recover(j, &r);
	uint64_t seq = 1;

	assert_int_equal(r.next_seq, 1);
	assert_int_equal(s.n, 0);
	for (int i = 0; i < 30; i++) {
		if (journal_wants_roll(j, 200))
			assert_int_equal(journal_roll(j, seq, 0, &no_state, NULL, 0, NULL), 0);
		assert_int_equal(append(j, seq, 1 + i % 3), 0);
		seq += 1 + (uint64_t)i % 3;
	}
	assert_true(journal_segments(j) > 3);
	s = reopen(fs, &j, &r);
	assert_int_equal(s.n, seq - 1);
	assert_int_equal(s.damages + r.torn_bytes, 0);
	assert_int_equal(r.next_seq, seq);
	/* The oldest go when they are covered, the newest stays. */
	journal_delete_upto(j, 20);
	s = reopen(fs, &j, &r);
	assert_true(s.n < seq - 1 && s.last == seq - 1 && !s.seq[1] && s.seq[21]);
	journal_delete_upto(j, seq);
	assert_int_equal(journal_segments(j), 1);
	journal_close(j);
	fs_fake_free(fs);
}

static void unsynced_groups_are_cut_whole_from_the_hole(void **state)
{
	/* The last group is written and torn in every way the fake disk knows. */
	for (uint64_t seed = 1; seed < 60; seed++) {
		struct fs *fs = fs_fake_new(seed);
		struct journal *j = open_journal(fs, 1 << 16);
		struct journal_recovery r;
		struct seen s;

		recover(j, &r);
		assert_int_equal(journal_roll(j, 1, 0, &no_state, NULL, 0, NULL), 0);
		assert_int_equal(append(j, 1, 4), 0);
		fake_fail(fs, FAKE_SYNC, 1, EIO, true);
		assert_true(append(j, 5, 8) < 0);
		fake_fail(fs, FAKE_SYNC, 0, 0, false);
		assert_true(journal_wants_roll(j, 1));
		fake_crash(fs, true);
		s = reopen(fs, &j, &r);
		assert_int_equal(s.damages, 0);
		assert_true(s.n >= 4);
		for (uint64_t i = 1; i <= s.n; i++)
			assert_true(s.seq[i]); /* a prefix, no hole */
		assert_int_equal(r.next_seq, s.n + 1);
		journal_close(j);
		fs_fake_free(fs);
	}
}

static void a_failed_segment_is_void_behind_the_next(void **state)
{
	struct fs *fs = fs_fake_new(1);
	struct journal *j = open_journal(fs, 1 << 16);
	struct journal_recovery r;
	struct seen s;

	recover(j, &r);
	assert_int_equal(journal_roll(j, 1, 0, &no_state, NULL, 0, NULL), 0);
	assert_int_equal(append(j, 1, 2), 0);
	fake_fail(fs, FAKE_SYNC, 1, EIO, false);
	assert_true(append(j, 3, 5) < 0); /* the bytes are there all the same */
	assert_int_equal(journal_roll(j, 3, 0, &no_state, NULL, 0, NULL), 0);
	assert_int_equal(append(j, 3, 1), 0);
	s = reopen(fs, &j, &r);
	assert_int_equal(s.n, 3);
	assert_int_equal(s.damages, 0);
	assert_int_equal(r.next_seq, 4);
	journal_close(j);
	fs_fake_free(fs);
}

static void a_roll_carries_a_group(void **state)
{
	struct fs *fs = fs_fake_new(1);
	struct journal *j = open_journal(fs, 1 << 16);
	struct journal_recovery r;
	struct journal_entry carry = {.type = JOURNAL_BATCH,
		.first_seq = 5,
		.n_records = 1,
		.payload = STR("record 5, of some length")};
	struct seen s;

	recover(j, &r);
	assert_int_equal(journal_roll(j, 1, 0, &no_state, NULL, 0, NULL), 0);
	assert_int_equal(append(j, 1, 4), 0);
	assert_int_equal(append(j, 5, 1), 0);
	assert_int_equal(journal_roll(j, 5, 0, &no_state, &carry, 1, NULL), 0);
	assert_int_equal(append(j, 6, 2), 0);
	fake_crash(fs, false);
	s = reopen(fs, &j, &r);
	assert_int_equal(s.n, 7);
	assert_int_equal(s.damages, 0);
	journal_close(j);
	fs_fake_free(fs);
}

/* Every bit of a segment of three groups, with a fourth that proves them. */
static void any_flipped_bit_costs_one_record(void **state)
{
	struct fs *fs = fs_fake_new(1);
	struct journal *j = open_journal(fs, 1 << 10);
	struct journal_recovery r;
	uint64_t end = 80 + 9 * 64 + 80;

	recover(j, &r);
	assert_int_equal(journal_roll(j, 1, 0, &no_state, NULL, 0, NULL), 0);
	for (uint64_t seq = 1; seq <= 7; seq += 3)
		assert_int_equal(append(j, seq, 3), 0);
	assert_int_equal(append(j, 10, 1), 0);
	for (uint64_t bit = 0; bit < end * 8; bit++) {
		struct seen s;

		fake_flip(fs, "j/00000000000000000001.journal", bit);
		s = reopen(fs, &j, &r);
		assert_true(s.n >= 9);
		assert_true(s.n == 10 || !s.seq[10] || s.damages == 1);
		assert_true(s.n == 10 || !s.seq[10] || s.missing == 1);
		fake_flip(fs, "j/00000000000000000001.journal", bit);
	}
	journal_close(j);
	fs_fake_free(fs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_back_over_segments),
		cmocka_unit_test(unsynced_groups_are_cut_whole_from_the_hole),
		cmocka_unit_test(a_failed_segment_is_void_behind_the_next),
		cmocka_unit_test(a_roll_carries_a_group),
		cmocka_unit_test(any_flipped_bit_costs_one_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
