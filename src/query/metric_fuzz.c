/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as a metric query over a few records.  Whatever is answered over a
 * range is answered the same at each of its moments alone: windows that overlap
 * and windows that do not are computed in different ways.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "query/source_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORDS = 60, STREAMS = 3 };

#define STEP (7 * NS_PER_SEC)
#define END  (40 * NS_PER_SEC)

static struct test_record records[RECORDS];
static struct str streams[STREAMS];
static struct test_source source;
static struct account account;

static void fill(void)
{
	static const char *const lines[] = {"k=x v=1.5 d=2s b=2KB", "k=y v=-3 d=300ms",
		"k=x v=many", "{\"k\":\"y\",\"v\":0.25,\"n\":{\"m\":4}}", "plain text",
		"v=0 b=1MB k="};

	account_init(&account, "fuzz", UINT64_MAX, NULL);
	source = test_source_make();
	streams[0] = test_labels("{app=\"a\", host=\"h1\"}");
	streams[1] = test_labels("{app=\"b\", host=\"h1\"}");
	streams[2] = test_labels("{app=\"b\"}");
	for (size_t i = 0; i < RECORDS; i++)
		records[i] = (struct test_record){
			.timestamp = (int64_t)(i * i % 41) * NS_PER_SEC,
			.seq = i + 1,
			.body = str_c(lines[i % 6]),
			.stream = (uint32_t)(i / 2 % STREAMS),
			.severity = (uint8_t)(i % 25),
			.flags = i % 3 ? RECORD_LEVEL_DETECTED : 0,
		};
	records[5].meta = test_labels("{v=\"8\", trace=\"1\"}");
	source.records = records;
	source.n = RECORDS;
	source.streams = streams;
	source.n_streams = STREAMS;
	source.unit_rows = 7;
}

/* Not of what another moment tells otherwise, nor where the last digits depend on how the windows
 * are cut: they may decide a comparison. */
static bool is_comparable(struct str text)
{
	static const char *const words[] = {
		"now", "sample", "stddev", "stdvar", "rate_counter", "unixEpoch"};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (str_find(text, str_c(words[i])) >= 0)
			return false;
	return true;
}

static bool near(double a, double b)
{
	if (!isfinite(a) || !isfinite(b))
		return a == b || (isnan(a) && isnan(b));
	return fabs(a - b) <= 1e-9 * (1 + fabs(a));
}

static const double *value_at(const struct query_result *r, struct str labels, int64_t t)
{
	for (size_t i = 0; i < r->n_series; i++)
		for (size_t k = 0; k < r->series[i].n && str_eq(r->series[i].labels, labels); k++)
			if (r->series[i].samples[k].timestamp == t)
				return &r->series[i].samples[k].value;
	return NULL;
}

static int run(const struct query *q, int64_t start, int64_t step, struct query_result *out)
{
	struct query_params p = {
		.start_ns = start,
		.end_ns = step ? END : start,
		.step_ns = step,
		.tenant = STR("t"),
		.memory_bytes = 8 << 20,
		.account = &account,
	};

	return source_query(&source.source, q, &p, out, NULL);
}

static void check_moment(const struct query *q, const struct query_result *all, int64_t t)
{
	struct query_result one;
	size_t n = 0;

	if (run(q, t, 0, &one) < 0)
		return;
	for (size_t i = 0; i < all->n_series; i++)
		n += value_at(all, all->series[i].labels, t) != NULL;
	if (n != one.n_series)
		abort();
	for (size_t i = 0; i < n; i++) {
		const double *v = value_at(all, one.series[i].labels, t);
		if (!v || !near(*v, one.series[i].samples[0].value))
			abort();
	}
	query_result_fini(&one);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_make(data, size);
	struct query_result all;
	struct query *q;

	if (source.n == 0)
		fill();
	if (size > 2000 || query_parse(&q, text, NULL) < 0)
		return 0;
	if (!query_is_log(q) && run(q, 0, STEP, &all) == 0) {
		for (int64_t t = 0; t <= END && is_comparable(text); t += STEP)
			check_moment(q, &all, t);
		query_result_fini(&all);
	}
	query_free(q);
	if (account_held(&account))
		abort();
	return 0;
}
