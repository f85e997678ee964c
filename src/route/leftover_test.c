/* SPDX-License-Identifier: Apache-2.0 */
/* What waits for a server that left the zone goes to the others, but for the record at fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "os/fake.h"
#include "route/leftover.h"
#include "route/spool.h"

enum { BATCHES = 3, RECORDS = 8 };

/* The zone: takes all but what is called "bad", and is busy now and then. */
struct zone {
	struct sink sink;
	bool taken[BATCHES * RECORDS];
	unsigned n_calls;
	_Atomic unsigned n_taken;
};

static bool is_bad(const struct batch *b)
{
	for (size_t i = 0; i < batch_count(b); i++)
		if (str_eq_c(batch_record(b, i).body, "bad"))
			return true;
	return false;
}

static void take(struct zone *z, const struct batch *b)
{
	for (size_t i = 0; i < batch_count(b); i++) {
		unsigned number = (unsigned)batch_record(b, i).timestamp;

		assert_false(z->taken[number]);
		z->taken[number] = true;
		z->n_taken++;
	}
}

static int submit(struct sink *s, struct batch *b, sink_done *done, void *arg, struct error *e)
{
	struct zone *z = (struct zone *)s;
	struct sink_result result = {0};

	if (z->n_calls++ == 1)
		return error_set(e, ERR_FULL, "full");
	if (is_bad(b))
		result.code = error_set(&result.error, ERR_ARG, "bad");
	else
		take(z, b);
	batch_unref(b);
	done(arg, &result);
	return 0;
}

/* The third record of the second one is bad. */
static struct batch *make(unsigned number)
{
	struct batch_builder *b = batch_builder_new(STR("t"), STR("test"), 1);
	struct batch_source s = {.id = STR("f"), .to = RECORDS, .kind = POSITION_RANGES};
	struct labels_builder lb = {0};
	struct buf labels = {0};
	struct batch *out;

	labels_builder_set(&lb, STR("app"), STR("a"), NULL);
	labels_builder_write(&lb, &labels);
	for (unsigned i = 0; i < RECORDS; i++) {
		struct record r = {.timestamp = number * RECORDS + i, .position = i + 1};

		r.body = number == 1 && i == 2 ? STR("bad") : STR("good");
		r.stream = batch_builder_stream(b, buf_view(&labels));
		r.source = batch_builder_source(b, &s);
		assert_int_equal(batch_builder_add(b, &r, NULL), 0);
	}
	out = batch_builder_finish(b, 1);
	batch_builder_free(b);
	labels_builder_fini(&lb);
	buf_fini(&labels);
	return out;
}

static void fill(struct fs *fs)
{
	struct spool *s;

	assert_int_equal(fs_mkdir(fs, "route", NULL), 0);
	assert_int_equal(spool_open(&s, fs, "route/gone", NULL), 0);
	for (unsigned i = 0; i < BATCHES; i++) {
		struct batch *b = make(i);

		assert_int_equal(spool_append(s, &b, 1, NULL), 0);
		batch_unref(b);
	}
	spool_close(s);
}

static bool is_there(struct fs *fs)
{
	struct file_stat st;

	return fs_stat(fs, "route/gone", &st, NULL) == 0;
}

static void one_bad_record_costs_itself_alone(void **state)
{
	struct zone z = {.sink = {.submit = submit}};
	struct fs *fs = fs_fake_new(1);
	struct leftover *l;

	fill(fs);
	assert_int_equal(leftover_open(&l, fs, "route", NULL, 0, &z.sink, NULL), 0);
	assert_non_null(l);
	for (int i = 0; i < 2000 && is_there(fs); i++)
		usleep(5000);
	assert_false(is_there(fs));
	leftover_close(l);
	assert_int_equal(z.n_taken, BATCHES * RECORDS - 1);
	assert_false(z.taken[RECORDS + 2]);
	fs_fake_free(fs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_bad_record_costs_itself_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
