/* SPDX-License-Identifier: Apache-2.0 */
/* Pages over records in memory: whatever their size, together they tell each record once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "query/scan_page.h"
#include "query/source_test.h"

enum { RECORDS = 500, STREAMS = 4 };

static struct test_record records[RECORDS];
static struct str streams[STREAMS], metas[3];
static struct test_source source;
static struct account account;
static char lines[RECORDS][24];

/* Many records of one time; some with metadata, some delivered again. */
static int setup(void **state)
{
	static const char *const names[STREAMS] = {"{app=\"a\"}", "{app=\"b\"}",
		"{app=\"c\", input=\"amqp\"}", "{app=\"d\", host=\"h\"}"};

	(void)state;
	account_init(&account, "test", UINT64_MAX, NULL);
	source = test_source_make();
	for (size_t i = 0; i < STREAMS; i++)
		streams[i] = test_labels(names[i]);
	metas[1] = test_labels("{trace=\"t\"}");
	metas[2] = test_labels("{message_id=\"m\", redelivered=\"true\"}");
	for (size_t i = 0; i < RECORDS; i++) {
		size_t stream = i * 7 % STREAMS, meta = i % 5 == 0                  ? 1
							: stream == 2 && i % 3 == 0 ? 2
										    : 0;
		snprintf(lines[i], sizeof lines[i], "line %zu of %zu", i, i % 10);
		records[i] = (struct test_record){.timestamp = (int64_t)(i * 13 % 50) * 10,
			.seq = i + 1,
			.body = str_c(lines[i]),
			.meta = metas[meta],
			.stream = (uint32_t)stream,
			.severity = (uint8_t)(i % 3 ? 9 : 17),
			.flags = i % 2 ? RECORD_LEVEL_DETECTED : 0};
	}
	source.records = records;
	source.n = RECORDS;
	source.streams = streams;
	source.n_streams = STREAMS;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < STREAMS; i++)
		free((void *)streams[i].p);
	free((void *)metas[1].p);
	free((void *)metas[2].p);
	return 0;
}

static struct page_request request(const char *query)
{
	return (struct page_request){.query = str_c(query),
		.from_ns = 0,
		.to_ns = 1000,
		.columns = SCAN_BODY | SCAN_META};
}

static int ask(const struct page_request *q, struct page *out, struct error *e)
{
	struct query_params p = {.tenant = STR("t"), .account = &account};
	struct buf bytes = {0};
	int r = scan_page(&source.source, q, &p, "0123456789abcdef", &bytes, e);

	assert_int_equal(account_held(&account), 0);
	*out = (struct page){0};
	if (r == 0)
		assert_int_equal(page_read(out, &bytes, 1 << 24, e), 0);
	buf_fini(&bytes);
	return r;
}

static bool is_before(bool forward, const struct record *a, const struct record *b)
{
	if (a->timestamp != b->timestamp)
		return (a->timestamp < b->timestamp) == forward;
	return (a->position < b->position) == forward;
}

/* Walk all pages: marks by sequence, and how many pages there were. */
static size_t walk(struct page_request q, uint8_t *seen)
{
	struct record last = {0};
	bool any = false, more = true;
	size_t n = 0;

	for (; more; n++) {
		struct page p;
		struct error e;

		assert_true(n < 2 * RECORDS);
		assert_int_equal(ask(&q, &p, &e), 0);
		for (size_t i = 0; p.rows && i < batch_count(p.rows); i++) {
			struct record r = batch_record(p.rows, i);

			assert_in_range(r.position, 1, RECORDS);
			seen[r.position]++;
			assert_true(!any || is_before(q.forward, &last, &r));
			last = r;
			any = true;
			assert_true(str_eq(batch_stream(p.rows, r.stream),
				streams[records[r.position - 1].stream]));
			assert_int_equal(r.severity, records[r.position - 1].severity);
			assert_int_equal(r.flags, records[r.position - 1].flags);
		}
		more = p.more;
		q.resume = true;
		q.resume_ns = p.next_ns;
		q.resume_seq = p.next_seq;
		q.counted = q.counted || q.counts;
		q.counts = false;
		page_fini(&p);
	}
	return n;
}

static void test_pages_hold_all(void **state)
{
	static const uint64_t sizes[] = {1, 3, 16, 17, 100, 499, 500, 501, 100000};

	(void)state;
	for (int forward = 0; forward < 2; forward++) {
		for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
			struct page_request q = request("{}");
			uint8_t seen[RECORDS + 1] = {0};

			q.forward = forward;
			q.rows = sizes[k];
			walk(q, seen);
			for (size_t i = 1; i <= RECORDS; i++)
				assert_int_equal(seen[i], 1);
		}
	}
}

static void test_bytes_bound_pages(void **state)
{
	struct page_request q = request("{}");
	uint8_t seen[RECORDS + 1] = {0};

	(void)state;
	q.bytes = 1000;
	assert_true(walk(q, seen) > 10);
	for (size_t i = 1; i <= RECORDS; i++)
		assert_int_equal(seen[i], 1);
	/* One row at least. */
	q.bytes = 1;
	memset(seen, 0, sizeof seen);
	walk(q, seen);
	assert_int_equal(seen[77], 1);
}

static void test_query_is_carried_out(void **state)
{
	static const struct {
		const char *query;
		size_t n;
	} cases[] = {
		{"{app=\"a\"}", 125},
		{"{app=\"a\"} |= \"of 4\"", 25},
		{"{} | pattern \"line <n> of <k>\" | k = 3", 50},
		{"{trace=\"t\"}", 100},
		{"{app=\"nobody\"}", 0},
		{"{detected_level=\"error\"}", 83},
	};

	(void)state;
	for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
		struct page_request q = request(cases[k].query);
		uint8_t seen[RECORDS + 1] = {0};
		size_t n = 0;

		q.rows = 20;
		walk(q, seen);
		for (size_t i = 1; i <= RECORDS; i++)
			n += seen[i];
		assert_int_equal(n, cases[k].n);
	}
}

/* Counts and the rows beside them are all there is; rows are those whose metadata may matter. */
static void counts_add_up(unsigned columns, bool meta_matters)
{
	struct page_request q = request("{}");
	uint8_t seen[RECORDS + 1] = {0};
	uint64_t counted = 0, rows = 0, bytes = 0, want = 0;
	struct page p;
	struct error e;

	q.columns = columns;
	q.counts = true;
	q.buckets = (struct scan_buckets){true, 70, {1, 31}};
	q.rows = 7;
	assert_int_equal(ask(&q, &p, &e), 0);
	for (size_t i = 0; i < p.counts.n; i++) {
		const struct row_count *c = &p.counts.counts[i];
		assert_true(buckets_same(&q.buckets, c->min_ns, c->max_ns));
		counted += c->rows;
		bytes += c->bytes;
	}
	page_fini(&p);
	walk(q, seen);
	for (size_t i = 1; i <= RECORDS; i++) {
		const struct test_record *r = &records[i - 1];
		bool row = meta_matters ? r->meta.n > 0 : str_eq(r->meta, metas[2]);
		assert_int_equal(seen[i], row);
		rows += row;
		want += row ? 0 : r->body.n;
	}
	assert_int_equal(counted + rows, RECORDS);
	assert_int_equal(bytes, columns & SCAN_BODY ? want : 0);
}

static void test_counts_and_rows_are_all(void **state)
{
	(void)state;
	counts_add_up(0, false);
	counts_add_up(SCAN_BODY, false);
	counts_add_up(SCAN_META, true);
}

static void test_ids_are_found(void **state)
{
	const struct str ids[] = {STR_INIT("m"), STR_INIT("none")};
	struct page_request q = request("{input=\"amqp\"}");
	uint8_t seen[RECORDS + 1] = {0};

	(void)state;
	q.ids = ids;
	q.n_ids = 2;
	q.columns = SCAN_META;
	walk(q, seen);
	for (size_t i = 1; i <= RECORDS; i++)
		assert_int_equal(seen[i], str_eq(records[i - 1].meta, metas[2]));
}

static void test_streams_are_listed(void **state)
{
	struct page_request q = request("{app=~\"[ab]\"}");
	struct page p;
	struct error e;

	(void)state;
	q.streams = true;
	assert_int_equal(ask(&q, &p, &e), 0);
	assert_int_equal(p.counts.n_streams, 2);
	assert_null(p.rows);
	page_fini(&p);
}

static void test_what_is_no_scan(void **state)
{
	static const char *const queries[] = {
		"sum(rate({}[1m]))", "{} | top 3", "{app=", "{} | sort by (app)"};
	struct page p;
	struct error e;

	(void)state;
	for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
		struct page_request q = request(queries[i]);
		assert_int_equal(ask(&q, &p, &e), ERR_ARG);
	}
	source.fail = ERR_IO;
	assert_int_equal(
		ask(&(struct page_request){.query = STR("{}"), .to_ns = 9}, &p, &e), ERR_IO);
	source.fail = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages_hold_all),
		cmocka_unit_test(test_bytes_bound_pages),
		cmocka_unit_test(test_query_is_carried_out),
		cmocka_unit_test(test_counts_and_rows_are_all),
		cmocka_unit_test(test_ids_are_found),
		cmocka_unit_test(test_streams_are_listed),
		cmocka_unit_test(test_what_is_no_scan),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
