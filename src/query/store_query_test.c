/* SPDX-License-Identifier: Apache-2.0 */
/* Queries over the real store, half in parts and half in the head, answer what they answer
 * over the same records in memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <time.h>

#include "os/fake.h"
#include "query/record.h"
#include "query/source_test.h"
#include "store/store.h"

enum { BATCHES = 20, PER_BATCH = 50, RECORDS = BATCHES * PER_BATCH, STREAMS = 5 };

static const char *const stream_texts[STREAMS] = {"{app=\"a\", host=\"h1\"}",
	"{app=\"a\", host=\"h2\"}", "{app=\"b\", host=\"h1\"}", "{host=\"h3\"}", "{app=\"c\"}"};

struct fixture {
	struct fs *fs;
	struct clock *clock;
	struct account memory;
	struct store *store;
	struct test_source t;
	struct str streams[STREAMS], meta;
	struct test_record records[RECORDS];
};

static void on_done(void *arg, const struct sink_result *result)
{
	atomic_store((_Atomic int *)arg, result->code ? result->code : 1);
}

static void commit(struct fixture *f, struct batch *b)
{
	_Atomic int done = 0;
	struct error e = {0};
	struct timespec pause = {.tv_nsec = 100000};

	if (sink_submit(store_sink(f->store), b, on_done, (void *)&done, &e) < 0)
		fail_msg("%s", e.text);
	while (atomic_load(&done) == 0)
		nanosleep(&pause, NULL);
	assert_int_equal(atomic_load(&done), 1);
}

static void record_fill(struct fixture *f, size_t i)
{
	struct buf line = {0};

	buf_printf(&line, "%s request %zu of user%zu took %zums", i % 7 ? "INFO" : "ERROR", i,
		i % 13, i * 37 % 1000);
	f->records[i] = (struct test_record){
		.timestamp = (int64_t)(1000 + i / 4 + i * 31 % 17) * NS_PER_SEC,
		.seq = i + 1,
		.body = buf_view(&line),
		.meta = i % 3 ? STR_NONE : f->meta,
		.stream = (uint32_t)(i * 7 % STREAMS),
		.severity = i % 7 ? 9 : 17,
		.flags = i % 2 ? RECORD_LEVEL_DETECTED : 0,
	};
}

static void fill(struct fixture *f, const char *tenant, size_t from)
{
	struct batch_builder *bb = batch_builder_new(str_c(tenant), STR("test"), NS_PER_SEC);

	for (size_t i = from; i < from + PER_BATCH; i++) {
		const struct test_record *x = &f->records[i];
		struct record r = {
			.timestamp = x->timestamp,
			.body = x->body,
			.meta = x->meta,
			.stream = batch_builder_stream(bb, f->streams[x->stream]),
			.severity = x->severity,
			.flags = x->flags,
		};
		assert_int_equal(batch_builder_add(bb, &r, NULL), 0);
	}
	commit(f, batch_builder_finish(bb, NS_PER_SEC));
	batch_builder_free(bb);
}

static int setup(void **state)
{
	struct fixture *f = *state = xcalloc(1, sizeof *f);
	struct error e = {0};

	f->fs = fs_fake_new(1);
	f->clock = clock_fake_new(2000 * NS_PER_SEC);
	account_init(&f->memory, "memory", 256 << 20, NULL);
	if (store_open(&f->store,
		    &(struct store_options){
			    .fs = f->fs, .clock = f->clock, .dir = "data", .account = &f->memory},
		    &e) < 0)
		fail_msg("%s", e.text);
	for (size_t i = 0; i < STREAMS; i++)
		f->streams[i] = test_labels(stream_texts[i]);
	f->meta = test_labels("{trace=\"t1\"}");
	for (size_t i = 0; i < RECORDS; i++)
		record_fill(f, i);
	f->t = test_source_make();
	f->t.records = f->records;
	f->t.n = RECORDS;
	f->t.streams = f->streams;
	f->t.n_streams = STREAMS;
	for (size_t b = 0; b < BATCHES; b++) {
		fill(f, "t", b * PER_BATCH);
		if (b == BATCHES / 2 && store_flush(f->store, &e) < 0)
			fail_msg("%s", e.text);
	}
	/* Another tenant with equal labels, behind the first one's sequences. */
	fill(f, "u", 0);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	assert_int_equal(account_held(&f->memory), 0);
	fs_fake_free(f->fs);
	clock_fake_free(f->clock);
	for (size_t i = 0; i < STREAMS; i++)
		free((void *)f->streams[i].p);
	free((void *)f->meta.p);
	for (size_t i = 0; i < RECORDS; i++)
		free((void *)f->records[i].body.p);
	free(f);
	return 0;
}

static void compare(const struct query_result *a, const struct query_result *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->n_entries, b->n_entries);
	assert_int_equal(a->n_series, b->n_series);
	assert_int_equal(a->n_warnings, 0);
	for (size_t i = 0; i < a->n_entries; i++) {
		const struct query_entry *x = &a->entries[i], *y = &b->entries[i];
		assert_int_equal(x->timestamp, y->timestamp);
		assert_int_equal(x->seq, y->seq);
		assert_true(str_eq(x->labels, y->labels));
		assert_true(str_eq(x->meta, y->meta));
		assert_true(str_eq(x->line, y->line));
	}
	for (size_t i = 0; i < a->n_series; i++) {
		const struct query_series *x = &a->series[i], *y = &b->series[i];
		assert_true(str_eq(x->labels, y->labels));
		assert_int_equal(x->n, y->n);
		assert_memory_equal(x->samples, y->samples, x->n * sizeof *x->samples);
	}
}

static void same_answers(void **state)
{
	static const char *const texts[] = {
		"{}",
		"{app=\"a\"}",
		"{app=~\"b|c\"} |= \"ERROR\"",
		"{host!=\"h1\"} |~ \"user1[0-2] took\" != \"INFO\"",
		"{app=\"none\"}",
		"{} |= \"\"",
		"{} |= \"request 123 \"",
		"{} |= \"user12 took\" |= \"ERROR\" != \"0ms\"",
		"{} |= \"nowhere\" or \"user12 took\"",
		"{} |~ \"request 9+ \"",
		/* Only where one line follows another. */
		"{} |= \"msINFO\"",
		"sum by (app) (count_over_time({} |= \"user12 took\" [30s]))",
		"count_over_time({}[10s])",
		"sum by (detected_level) (count_over_time({}[30s]))",
		"sum by (trace, app) (bytes_rate({} |= \"user3\" [1m]))",
		"topk(2, sum by (host) (rate({}[20s])))",
		/* Of what a record has and its stream has not. */
		"{trace=\"t1\"}",
		"{trace!=\"t1\"}",
		"{app=\"a\", trace=~\"t.*\"} |= \"user3\"",
		"{detected_level=\"error\"}",
		"{app!=\"a\", detected_level!=\"error\"}",
		"{app=~\"a|b\", detected_level=\"info\", trace=\"\"}",
		"sum by (app) (count_over_time({detected_level=\"error\"}[1m]))",
		"sum(count_over_time({trace=\"t1\"}[30s]))",
		"count_over_time({app=\"a\", trace!=\"t1\"}[30s])",
		"sum by (trace) (count_over_time({app=\"c\", none=\"\"}[30s]))",
		/* Stages, and what is done at last. */
		"{} | pattern \"<level> request <n> of <user> took <took>\" | took > 900ms",
		"{} | pattern \"<level> request <n> of <user> took <took>\" | user=\"user3\" | drop app",
		"{} | pattern \"<level> request <n> of <user> took <took>\" | top 3 by (user)",
		"{app=\"a\"} | uniq by (trace)",
		"{trace=\"t1\"} |= \"request 99\" | context -B 2 -A 2",
		"avg without (trace) (bytes_over_time({app=~\".+\"}[15s]))",
	};
	struct fixture *f = *state;
	struct snapshot *sn = snapshot_take(f->store);

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct query *q = NULL;
		assert_int_equal(query_parse(&q, str_c(texts[i]), NULL), 0);
		for (unsigned round = 0; round < 8; round++) {
			struct query_params p = {
				.start_ns = (int64_t)(1000 + round % 3 * 40) * NS_PER_SEC,
				.end_ns = (int64_t)(1300 - round % 4 * 30) * NS_PER_SEC,
				.step_ns = query_is_log(q) ? 0 : 7 * NS_PER_SEC,
				.limit = round % 2 ? 25 : 0,
				.forward = round & 2,
				.after_seq = round & 4 ? 123 : 0,
				.tenant = STR("t"),
				.account = &f->memory,
			};
			struct query_result got, want;
			struct error e = {0};
			if (query_run(q, sn, &p, &got, &e) < 0)
				fail_msg("%s: %s", texts[i], e.text);
			assert_int_equal(source_query(&f->t.source, q, &p, &want, &e), 0);
			compare(&got, &want);
			query_result_fini(&got);
			query_result_fini(&want);
		}
		query_free(q);
	}
	snapshot_free(sn);
}

static void compare_patterns(const struct patterns *a, const struct patterns *b)
{
	assert_int_equal(a->n, b->n);
	assert_int_equal(a->lines, b->lines);
	assert_int_equal(a->other, b->other);
	assert_int_equal(a->further, b->further);
	assert_int_equal(a->n_steps, b->n_steps);
	assert_int_equal(a->result.n_warnings, 0);
	for (size_t i = 0; i < a->n; i++) {
		const struct pattern *x = &a->patterns[i], *y = &b->patterns[i];
		assert_true(str_eq(x->text, y->text));
		assert_int_equal(x->count, y->count);
		assert_true(str_eq(str_c(x->level), str_c(y->level)));
		assert_true(str_eq(x->example, y->example));
		assert_int_equal(x->example_ns, y->example_ns);
		for (size_t k = 0; k < a->n_steps; k++)
			assert_int_equal(x->samples[k], y->samples[k]);
	}
}

static void same_patterns(void **state)
{
	static const char *const texts[] = {"{}", "{app=\"a\"}", "{} |= \"ERROR\"",
		"{app!=\"b\"} != \"user3 \" |~ \"1[0-9]ms|7 \"", "{app=\"none\"}"};
	struct fixture *f = *state;
	struct snapshot *sn = snapshot_take(f->store);

	test_templates(&f->t);
	for (size_t i = 0; i < 8 * sizeof texts / sizeof *texts; i++) {
		struct patterns_params p = {
			.query = {.start_ns = i & 1 ? 1030 * NS_PER_SEC : 0,
				.end_ns = 1240 * NS_PER_SEC,
				.step_ns = i & 2 ? (i & 1 ? 7 : 2000) * NS_PER_SEC : 0,
				.limit = i & 1,
				.tenant = STR("t"),
				.account = &f->memory},
			.examples = i & 4,
		};
		struct patterns got, want;
		struct query *q = NULL;
		struct error e = {0};
		assert_int_equal(query_parse(&q, str_c(texts[i / 8]), NULL), 0);
		if (query_patterns(q, sn, &p, &got, &e) < 0)
			fail_msg("%s: %s", texts[i / 8], e.text);
		assert_int_equal(source_patterns(&f->t.source, q, &p, &want, &e), 0);
		compare_patterns(&got, &want);
		patterns_fini(&got);
		patterns_fini(&want);
		query_free(q);
	}
	test_templates_fini(&f->t);
	snapshot_free(sn);
}

/* Every record is found by its number, between its neighbours. */
static void records(void **state)
{
	struct fixture *f = *state;
	struct snapshot *sn = snapshot_take(f->store);
	struct query_params p = {.tenant = STR("t"), .account = &f->memory};
	struct query_record got;
	struct error e = {0};

	for (uint64_t seq = 1; seq <= RECORDS; seq += 7) {
		const struct test_record *x = &f->records[seq - 1];
		assert_int_equal(query_record(sn, seq, 2, &p, &got, &e), 0);
		assert_int_equal(got.self.entries->seq, seq);
		assert_int_equal(got.self.entries->timestamp, x->timestamp);
		assert_true(str_eq(got.self.entries->line, x->body));
		assert_true(str_eq(got.self.entries->labels, f->streams[x->stream]));
		for (size_t k = 0; k < got.before.n_entries; k++) {
			const struct query_entry *y = &got.before.entries[k];
			assert_true(str_eq(y->labels, got.self.entries->labels));
			assert_true(y->timestamp < x->timestamp ||
				    (y->timestamp == x->timestamp && y->seq < seq));
			if (k)
				assert_true(got.before.entries[k - 1].timestamp <= y->timestamp);
		}
		for (size_t k = 0; k < got.after.n_entries; k++) {
			const struct query_entry *y = &got.after.entries[k];
			assert_true(str_eq(y->labels, got.self.entries->labels));
			assert_true(y->timestamp > x->timestamp ||
				    (y->timestamp == x->timestamp && y->seq > seq));
		}
		if (seq > 100 && seq < 900) {
			assert_int_equal(got.before.n_entries, 2);
			assert_int_equal(got.after.n_entries, 2);
		}
		query_record_fini(&got);
	}
	assert_int_equal(query_record(sn, 0, 0, &p, &got, &e), ERR_NOT_FOUND);
	assert_int_equal(query_record(sn, RECORDS + 1, 0, &p, &got, &e), ERR_NOT_FOUND);
	assert_int_equal(query_record(sn, UINT64_MAX, 0, &p, &got, &e), ERR_NOT_FOUND);
	p.tenant = STR("u");
	assert_int_equal(query_record(sn, RECORDS + 1, 1, &p, &got, &e), 0);
	query_record_fini(&got);
	assert_int_equal(query_record(sn, 5, 1, &p, &got, &e), ERR_NOT_FOUND);
	snapshot_free(sn);
}

static void explained(void **state)
{
	static const char *const begins[] = {"query: ", "window: from ", "in the store: ",
		"row by row: ", "parts: ", "blocks: ", "templates: ", "rows: ", "read: ", "time: "};
	struct fixture *f = *state;
	struct snapshot *sn = snapshot_take(f->store);
	struct query_params p = {.end_ns = INT64_MAX,
		.limit = 3,
		.explain = true,
		.tenant = STR("t"),
		.account = &f->memory};
	struct query_result r;
	struct query *q = NULL;
	struct error e = {0};
	size_t at = 0;

	assert_int_equal(query_parse(&q, STR("{app=\"a\"} |= \"ERROR\""), NULL), 0);
	assert_int_equal(query_run(q, sn, &p, &r, &e), 0);
	assert_string_equal(r.explained[2], "in the store: time, streams, |= \"ERROR\"");
	/* In this order; parts and templates are told where there are some. */
	for (size_t i = 0; i < r.n_explained; i++) {
		while (at < sizeof begins / sizeof *begins &&
			strncmp(r.explained[i], begins[at], strlen(begins[at])) != 0)
			at++;
		assert_true(at < sizeof begins / sizeof *begins);
	}
	query_result_fini(&r);
	query_free(q);
	snapshot_free(sn);
}

static void emit(void *ctx, struct str s)
{
	buf_str(ctx, s);
	buf_char(ctx, ' ');
}

static void labels(void **state)
{
	struct fixture *f = *state;
	struct snapshot *sn = snapshot_take(f->store);
	struct query *q = NULL;
	struct selectors match = {&q, 1, NULL};
	struct buf got = {0};
	struct error e = {0};

	assert_int_equal(query_parse(&q, STR("{app=\"a\"}"), NULL), 0);
	assert_int_equal(streams_label_names(sn, STR("t"), 0, INT64_MAX, NULL, emit, &got, &e), 0);
	assert_string_equal(buf_cstr(&got), "app host ");
	buf_clear(&got);
	assert_int_equal(streams_label_values(
				 sn, STR("t"), 0, INT64_MAX, &match, STR("host"), emit, &got, &e),
		0);
	assert_string_equal(buf_cstr(&got), "h1 h2 ");
	buf_clear(&got);
	assert_int_equal(streams_series(sn, STR("none"), 0, INT64_MAX, NULL, emit, &got, &e), 0);
	assert_int_equal(got.n, 0);
	query_free(q);
	buf_fini(&got);
	snapshot_free(sn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(same_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(same_patterns, setup, teardown),
		cmocka_unit_test_setup_teardown(records, setup, teardown),
		cmocka_unit_test_setup_teardown(explained, setup, teardown),
		cmocka_unit_test_setup_teardown(labels, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
