/* SPDX-License-Identifier: Apache-2.0 */
/* How entries of live answers are written, whole and on their way from server to server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "api/live.h"
#include "api/loggregator.h"
#include "proto/loggregator.h"

static struct loggregator_settings settings = {.app_label = "app"};
static struct api api = {.loggregator = &settings};

static void put_labels(struct buf *out, const char *app)
{
	struct labels_builder b = {0};
	struct error e;

	assert_int_equal(labels_builder_set(&b, STR("app"), str_c(app), &e), 0);
	assert_int_equal(labels_builder_set(&b, STR("source"), STR("APP/3"), &e), 0);
	labels_builder_write(&b, out);
	labels_builder_fini(&b);
}

static void add(const struct live_form *f, void *state, struct buf *frame, const char *app,
	const char *line)
{
	struct buf labels = {0};
	struct query_entry x = {.timestamp = 17, .line = str_c(line)};

	put_labels(&labels, app);
	x.labels = buf_view(&labels);
	assert_false(f->add(&api, state, frame, &x, 0));
	buf_fini(&labels);
}

static void *state_of(const struct live_form *f)
{
	return xcalloc(1, f->state_size + 1);
}

static void loki_shares_streams(void **state)
{
	void *s = state_of(&live_loki);
	struct buf frame = {0};

	for (int round = 0; round < 2; round++) {
		add(&live_loki, s, &frame, "a", "1");
		add(&live_loki, s, &frame, "a", "2");
		add(&live_loki, s, &frame, "b", "3");
		/* So it goes to another server, whose cursor it gets. */
		assert_string_equal(buf_cstr(&frame),
			"{\"streams\":[{\"stream\":{\"app\":\"a\",\"source\":\"APP/3\"},"
			"\"values\":[[\"17\",\"1\"],[\"17\",\"2\"]]},"
			"{\"stream\":{\"app\":\"b\",\"source\":\"APP/3\"},\"values\":[[\"17\",\"3\"]");
		live_loki.rest(s);
		live_loki.end(&frame, STR("x=5"));
		assert_true(
			str_ends(buf_view(&frame), STR("[\"17\",\"3\"]]}],\"dropped_entries\":null,"
						       "\"sawlog\":{\"cursor\":\"x=5\"}}")));
		buf_clear(&frame);
	}
	live_loki.missed(&frame, 12, STR("a"), 0);
	live_loki.end(&frame, STR_NONE);
	assert_string_equal(buf_cstr(&frame), "{\"gap\":12,\"streams\":[],\"dropped_entries\":null,"
					      "\"sawlog\":{\"cursor\":\"0\",\"gap\":12}}");
	buf_fini(&frame);
	free(s);
}

static void events_are_batches(void **state)
{
	struct buf frame = {0};

	add(&live_sse, NULL, &frame, "a", "1");
	add(&live_sse, NULL, &frame, "a", "2");
	assert_true(str_starts(buf_view(&frame), STR("data: {\"batch\":[{")));
	assert_true(str_ends(buf_view(&frame), STR("}")));
	assert_true(str_find(buf_view(&frame), STR("},{")) > 0);
	live_sse.end(&frame, STR_NONE);
	assert_true(str_ends(buf_view(&frame), STR("}]}\n\n")));
	/* Line ends within would be other events. */
	assert_int_equal(str_chr(buf_view(&frame), '\n'), frame.n - 2);
	buf_clear(&frame);
	live_sse.beat(&frame, INT64_C(1700000000999999999));
	assert_string_equal(buf_cstr(&frame), "event: heartbeat\ndata: 1700000000\n\n");
	buf_clear(&frame);
	live_sse.closing(&frame);
	assert_string_equal(
		buf_cstr(&frame), "event: closing\ndata: closing due to stream timeout\n\n");
	buf_fini(&frame);
}

static void losses_are_told_in_each_form(void **state)
{
	static const struct live_form *const forms[] = {
		&live_message, &live_envelope, &live_sse, &live_loki};
	struct buf frame = {0};

	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		assert_ptr_equal(live_form_find(str_c(forms[i]->name)), forms[i]);
		buf_clear(&frame);
		forms[i]->missed(&frame, 5, STR("my-app"), 17);
		assert_true(frame.n > 0);
		if (i < 2)
			assert_true(str_find(buf_view(&frame),
					    STR("We've dropped up to 5 messages")) > 0);
		buf_clear(&frame);
		forms[i]->missed(&frame, 0, STR("my-app"), 17);
		assert_true(frame.n > 0);
		assert_true(str_find(buf_view(&frame), STR("up to")) < 0);
	}
	assert_null(live_form_find(STR("nonsense")));
	assert_null(live_form_find(STR_NONE));
	buf_fini(&frame);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loki_shares_streams),
		cmocka_unit_test(events_are_batches),
		cmocka_unit_test(losses_are_told_in_each_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
