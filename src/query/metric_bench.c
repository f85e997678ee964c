/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast metric queries are made of rows, without a store:
 *
 *     metric_bench [-n ROWS] [-r TIMES] [-q TEXT]
 *
 * The rows are logfmt lines of eight streams over one hour, in units as the
 * store has them.  Printed is the best of TIMES (3) runs, of all queries of the
 * table or of those that have TEXT in them.  Not a test.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "query/query.h"
#include "query/source.h"

enum { STREAMS = 8, UNIT = 16384 };

#define HOUR (INT64_C(3600) * NS_PER_SEC)

struct bench {
	const char *query;
	int step; /* in seconds; 0: instant */
};

static const struct bench benches[] = {
	{"sum(count_over_time({} [1h]))", 0},
	{"count_over_time({} [1m])", 15},
	{"count_over_time({} [1h])", 1},
	{"sum by (level) (count_over_time({} | logfmt [1m]))", 60},
	{"sum by (app) (count_over_time({} | logfmt | status >= 500 [1m]))", 60},
	{"sum(sum_over_time({} | logfmt | unwrap duration [1m]))", 60},
	{"sum by (level) (sum_over_time({} | logfmt | unwrap duration [1m]))", 15},
	{"sum by (level) (sum_over_time({} | logfmt | unwrap duration [1h]))", 1},
	{"max_over_time({} | logfmt | unwrap duration [5m]) by (app)", 15},
	{"stddev_over_time({} | logfmt | unwrap duration [5m]) by (app)", 15},
	{"quantile_over_time(0.99, {} | logfmt | unwrap duration [5m]) by (app)", 15},
	{"quantile_over_time(0.99, {} | logfmt | unwrap duration [1h]) by (app)", 1},
	{"last_over_time({} | logfmt | unwrap duration [5m]) by (path)", 15},
	{"topk(3, sum by (path) (rate({} | logfmt [1m])))", 60},
	{"sum by (app) (rate({} | logfmt | status=\"500\" [1m])) / sum by (app) (rate({} [1m]))",
		60},
};

struct rows_source {
	struct source source;
	size_t n;
	int64_t *timestamp;
	uint64_t *seq;
	uint32_t *stream, *pick;
	struct str *body, *meta;
	uint8_t *severity, *flags;
	struct str streams[STREAMS];
	struct arena arena;
};

static uint64_t last_seq(struct source *s)
{
	return ((struct rows_source *)(void *)s)->n;
}

static int scan(struct source *s, struct scan *sc, struct error *e)
{
	struct rows_source *x = (struct rows_source *)(void *)s;
	int r = 0;

	for (size_t i = 0; i < STREAMS; i++)
		sc->want_stream(sc->ctx, x->streams[i]);
	for (size_t at = 0; at < x->n && r == 0; at += UNIT) {
		size_t n = 0, end = at + UNIT < x->n ? at + UNIT : x->n;
		for (size_t i = at; i < end; i++)
			if (x->timestamp[i] >= sc->from_ns && x->timestamp[i] < sc->to_ns)
				x->pick[n++] = (uint32_t)i;
		struct rows rows = {
			.n = n,
			.pick = x->pick,
			.timestamp = x->timestamp,
			.seq = x->seq,
			.stream = x->stream,
			.body = x->body,
			.meta = x->meta,
			.severity = x->severity,
			.flags = x->flags,
			.streams = x->streams,
			.n_streams = STREAMS,
		};
		if (n)
			r = sc->rows(sc->ctx, &rows, e);
	}
	return r;
}

static uint32_t draw(uint64_t *seed, uint32_t below)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*seed >> 33) % below;
}

static void fill(struct rows_source *x, size_t n)
{
	static const char *const levels[] = {"debug", "info", "info", "warn", "error"};
	uint64_t seed = 1;

	*x = (struct rows_source){.source = {.last_seq = last_seq, .scan = scan}, .n = n};
	arena_init(&x->arena, NULL);
	x->timestamp = ARENA_ARRAY(&x->arena, int64_t, n);
	x->seq = ARENA_ARRAY(&x->arena, uint64_t, n);
	x->stream = ARENA_ARRAY(&x->arena, uint32_t, n);
	x->pick = ARENA_ARRAY(&x->arena, uint32_t, UNIT);
	x->body = ARENA_ARRAY(&x->arena, struct str, n);
	x->meta = ARENA_ARRAY(&x->arena, struct str, n);
	x->severity = ARENA_ARRAY(&x->arena, uint8_t, n);
	x->flags = ARENA_ARRAY(&x->arena, uint8_t, n);
	for (size_t i = 0; i < STREAMS; i++) {
		struct labels_builder b = {0};
		struct buf out = {0};
		char name[8];
		snprintf(name, sizeof name, "app%zu", i);
		labels_builder_set(&b, STR("app"), str_c(name), NULL);
		labels_builder_write(&b, &out);
		x->streams[i] = arena_str(&x->arena, buf_view(&out));
		labels_builder_fini(&b);
		buf_fini(&out);
	}
	for (size_t i = 0; i < n; i++) {
		char line[200];
		int len = snprintf(line, sizeof line,
			"ts=%zu level=%s msg=\"request done\" path=/v1/items/%u status=%u "
			"duration=%u.%u trace=%08x%08x",
			i, levels[draw(&seed, 5)], draw(&seed, 40), draw(&seed, 6) * 100,
			draw(&seed, 900), draw(&seed, 100), draw(&seed, UINT32_MAX),
			draw(&seed, UINT32_MAX));
		x->timestamp[i] = (int64_t)((double)i / (double)n * (double)HOUR);
		x->seq[i] = i + 1;
		x->stream[i] = draw(&seed, STREAMS);
		x->body[i] = arena_str(&x->arena, str_make(line, (size_t)len));
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run(struct rows_source *x, const struct bench *b, int times)
{
	struct query_params p = {
		.start_ns = b->step ? 0 : HOUR,
		.end_ns = HOUR,
		.step_ns = b->step * NS_PER_SEC,
		.tenant = STR("t"),
		.memory_bytes = UINT64_C(1) << 30,
	};
	double best = 1e9;
	size_t n_series = 0;

	for (int i = 0; i < times; i++) {
		struct query_result got;
		struct error e = {0};
		struct query *q;
		double began = now(), took;
		if (query_parse(&q, str_c(b->query), &e) < 0 ||
			source_query(&x->source, q, &p, &got, &e) < 0) {
			printf("%s: %s\n", b->query, e.text);
			return;
		}
		took = now() - began;
		best = took < best ? took : best;
		n_series = got.n_series;
		query_result_fini(&got);
		query_free(q);
	}
	printf("%8.1f ns/row %9.2f ms %5zu series, step %d s: %s\n", best * 1e9 / (double)x->n,
		best * 1e3, n_series, b->step, b->query);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct rows_source x;
	size_t n = 200000;
	int times = 3, c;
	const char *only = "";

	while ((c = getopt(argc, argv, "n:r:q:")) != -1)
		switch (c) {
		case 'n': n = strtoul(optarg, NULL, 10); break;
		case 'r': times = atoi(optarg); break;
		case 'q': only = optarg; break;
		default: return 2;
		}
	fill(&x, n);
	for (size_t i = 0; i < sizeof benches / sizeof *benches; i++)
		if (strstr(benches[i].query, only))
			run(&x, &benches[i], times);
	arena_fini(&x.arena);
	return 0;
}
