/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long scans take over a store of one's own files:
 *
 *     scan_bench [-r TIMES] [-m MIB] [-s STREAMS] [-q SCAN] [-t TENANT] [-x TEXT]... DIR [FILE...]
 *
 * FILEs are loaded into a new store in DIR, a stream each, in turns of 1000
 * lines, and merged as far as it likes; without files the store is used that is
 * there.  -s spreads the lines of each file over so many streams more.  Then
 * each scan of the table (-q: one) runs TIMES (5) times; printed are the best time on the
 * wall and on the processors, and what was read.  -t: the store's records are of this tenant.
 * -x: count the lines with this text, or with an expression when it begins with '~', instead of
 * the table; with '<' in front their rows are fetched.  Not a test.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"
#include "record/severity.h"
#include "record/time.h"
#include "store/cursor.h"
#include "store/lines/filter.h"
#include "store/store.h"

enum { TURN_LINES = 1000, EXTRA_MAX = 16 };

static const char *tenant = "t";

#define HOUR INT64_C(3600000000000)

static int64_t clock_of(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

static void die(const char *what, const struct error *e)
{
	fprintf(stderr, "scan_bench: %s: %s\n", what, e->text);
	exit(1);
}

/* Loading */

struct input {
	const char *name;
	struct buf text;
	size_t at;
	int64_t last_ns;
};

struct gate {
	struct lock lock;
	struct cond cond;
	unsigned under_way;
};

static void on_done(void *arg, const struct sink_result *result)
{
	struct gate *g = arg;

	lock_take(&g->lock);
	g->under_way--;
	cond_signal(&g->cond);
	lock_drop(&g->lock);
}

static void submit(struct store *s, struct gate *g, struct batch *b)
{
	struct error e;
	int r;

	lock_take(&g->lock);
	while (g->under_way > 8)
		cond_wait(&g->cond, &g->lock);
	g->under_way++;
	lock_drop(&g->lock);
	while ((r = sink_submit(store_sink(s), b, on_done, g, &e)) == ERR_BUSY)
		usleep(1000);
	if (r < 0)
		die("submit", &e);
}

static uint32_t stream_of(struct batch_builder *bb, const struct input *in, size_t number)
{
	struct labels_builder lb = {0};
	struct buf labels = {0};
	char text[16];
	uint32_t stream;

	snprintf(text, sizeof text, "%zu", number);
	labels_builder_set(&lb, STR("app"), str_c(in->name), NULL);
	if (number > 0)
		labels_builder_set(&lb, STR("pod"), str_c(text), NULL);
	labels_builder_write(&lb, &labels);
	labels_builder_fini(&lb);
	stream = batch_builder_stream(bb, buf_view(&labels));
	buf_fini(&labels);
	return stream;
}

static bool load_turn(struct store *s, struct gate *g, struct input *in, size_t streams)
{
	struct batch_builder *bb =
		batch_builder_new(str_c(tenant), STR("bench"), clock_now_ns(clock_real()));
	struct str rest = str_sub(buf_view(&in->text), in->at, in->text.n);
	struct error e;

	for (int i = 0; i < TURN_LINES && rest.n > 0; i++) {
		struct str line = str_cut(&rest, '\n');
		struct record r = {.body = line, .flags = RECORD_LEVEL_DETECTED};
		size_t number = streams ? 1 + (size_t)rand() % streams : 0;

		if (!time_detect(line, clock_now_ns(clock_real()), 0, &in->last_ns))
			in->last_ns += 1000000;
		r.timestamp = in->last_ns;
		r.severity = severity_detect(line);
		r.stream = stream_of(bb, in, number);
		if (batch_builder_add(bb, &r, &e) < 0)
			die("batch", &e);
	}
	in->at = in->text.n - rest.n;
	if (batch_builder_count(bb) > 0)
		submit(s, g, batch_builder_finish(bb, clock_now_ns(clock_real())));
	batch_builder_free(bb);
	return rest.n > 0;
}

static void load(struct store *s, char **names, int n, size_t streams)
{
	struct input *in = xcalloc((size_t)n, sizeof *in);
	struct gate g = {0};
	struct error e;
	bool more = true;

	lock_init(&g.lock);
	cond_init(&g.cond);
	for (int i = 0; i < n; i++) {
		const char *slash = strrchr(names[i], '/');

		in[i].name = slash ? slash + 1 : names[i];
		in[i].last_ns = clock_now_ns(clock_real()) - 30 * 24 * HOUR;
		if (fs_read_all(fs_real(), names[i], SIZE_MAX, &in[i].text, &e) < 0)
			die("read", &e);
	}
	while (more) {
		more = false;
		for (int i = 0; i < n; i++)
			more |= load_turn(s, &g, &in[i], streams);
	}
	lock_take(&g.lock);
	while (g.under_way > 0)
		cond_wait(&g.cond, &g.lock);
	lock_drop(&g.lock);
	if (store_flush(s, &e) < 0)
		die("flush", &e);
	for (int i = 0; i < n; i++)
		buf_fini(&in[i].text);
	free(in);
}

/* Scanning */

struct tally {
	uint64_t rows;
	uint8_t least; /* severity, for narrow */
	struct scan *scan;
	int64_t newest[100]; /* heap of its own: sorted, oldest first */
	size_t n_newest;
};

static int on_rows(void *ctx, const struct rows *rows, struct error *e)
{
	((struct tally *)ctx)->rows += rows->n;
	return 0;
}

static int on_counts(void *ctx, const struct row_counts *counts, struct error *e)
{
	struct tally *t = ctx;

	for (size_t i = 0; i < counts->n; i++)
		t->rows += counts->counts[i].rows;
	return 0;
}

static bool by_hour(void *ctx, int64_t min_ns, int64_t max_ns)
{
	return min_ns / HOUR == max_ns / HOUR;
}

static bool one_bucket(void *ctx, int64_t min_ns, int64_t max_ns)
{
	return true;
}

/* Into the newest 100: false when it is older than all of them. */
static bool keep(struct tally *t, int64_t time)
{
	size_t i = 0;

	if (t->n_newest == 100 && time <= t->newest[0])
		return false;
	if (t->n_newest == 100) {
		for (; i + 1 < 100 && t->newest[i + 1] < time; i++)
			t->newest[i] = t->newest[i + 1];
		t->newest[i] = time;
		return true;
	}
	for (i = t->n_newest++; i > 0 && t->newest[i - 1] > time; i--)
		t->newest[i] = t->newest[i - 1];
	t->newest[i] = time;
	return true;
}

static size_t newest_errors(void *ctx, const struct rows *rows, uint32_t *pick)
{
	struct tally *t = ctx;
	size_t n = 0;

	for (size_t i = rows->n; i > 0; i--)
		if (rows->severity[pick[i - 1]] >= t->least)
			keep(t, rows->timestamp[pick[i - 1]]);
	for (size_t i = 0; i < rows->n; i++)
		if (rows->severity[pick[i]] >= t->least &&
			(t->n_newest < 100 || rows->timestamp[pick[i]] >= t->newest[0]))
			pick[n++] = pick[i];
	if (t->n_newest == 100)
		t->scan->from_ns = t->newest[0];
	return n;
}

static bool one_stream(void *ctx, struct str labels)
{
	return str_find(labels, STR("Linux")) >= 0;
}

struct question {
	const char *name;
	const char *text; /* NULL: no filter */
	bool regex;
	unsigned columns;
	enum scan_order order;
	bool counts, hours, errors, stream;
};

static const struct question questions[] = {
	{"needle", "ndl7Q4x9ZkT2vWp0", .columns = SCAN_BODY | SCAN_META},
	{"no hit", "no such text at all 42", .columns = SCAN_BODY | SCAN_META},
	{"digits", "4829175", .columns = SCAN_BODY | SCAN_META},
	{"count of a phrase", "Failed password for", .counts = true},
	{"count of a word", "error", .counts = true},
	{"count of a regex", "(timeout|timed out).*[0-9]{3}", .regex = true, .counts = true},
	{"phrase by hour", "Failed password for", .counts = true, .hours = true},
	{"level by hour", NULL, .columns = SCAN_META, .counts = true, .hours = true},
	{"newest 100 errors", NULL, .columns = SCAN_BODY | SCAN_META, .errors = true},
	{"one stream, phrase", "authentication failure", .columns = SCAN_BODY, .stream = true},
	{"one stream, count", NULL, .counts = true, .stream = true},
	{"all lines", NULL, .columns = SCAN_BODY | SCAN_META, .order = SCAN_OLDEST_FIRST},
};

static void ask(struct store *s, struct account *memory, const struct question *q, int times)
{
	int64_t wall = INT64_MAX, cpu = INT64_MAX;
	struct line_test test = {0};
	struct line_filter filter = {.tests = &test, .n = 1};
	struct regex *regex = NULL;
	struct account query;
	struct scan scan;
	struct tally t;
	struct error e;

	if (q->regex && regex_new(&regex, str_c(q->text), false, &e) < 0)
		die(q->name, &e);
	test.regex = regex;
	test.text = q->text && !regex ? str_c(q->text) : STR_NONE;
	for (int i = 0; i < times; i++) {
		int64_t w = clock_of(CLOCK_MONOTONIC), c = clock_of(CLOCK_PROCESS_CPUTIME_ID);
		struct snapshot *sn = snapshot_take(s);

		account_init(&query, "query", memory->limit, memory);
		t = (struct tally){.least = 17, .scan = &scan};
		scan = (struct scan){.tenant = str_c(tenant),
			.from_ns = INT64_MIN,
			.to_ns = INT64_MAX,
			.filters = &filter,
			.n_filters = q->text != NULL,
			.order = q->order,
			.columns = q->columns,
			.account = &query,
			.ctx = &t,
			.want_stream = q->stream ? one_stream : NULL,
			.same_bucket = q->hours ? by_hour : one_bucket,
			.counts = q->counts ? on_counts : NULL,
			.narrow = q->errors ? newest_errors : NULL,
			.rows = on_rows};
		if (snapshot_scan(sn, &scan, &e) < 0)
			die(q->name, &e);
		snapshot_free(sn);
		w = clock_of(CLOCK_MONOTONIC) - w;
		c = clock_of(CLOCK_PROCESS_CPUTIME_ID) - c;
		wall = w < wall ? w : wall;
		cpu = c < cpu ? c : cpu;
	}
	regex_free(regex);
	printf("%-20s %9llu %8.2f %8.2f %5llu %5llu %5llu %5llu %8llu %8.2f %6.1f\n", q->name,
		(unsigned long long)t.rows, (double)wall / 1e6, (double)cpu / 1e6,
		(unsigned long long)scan.stats.units, (unsigned long long)scan.stats.units_read,
		(unsigned long long)scan.stats.units_counted,
		(unsigned long long)scan.stats.units_excluded,
		(unsigned long long)scan.stats.lines_spelled, (double)scan.stats.bytes_read / 1e6,
		(double)query.peak / (1 << 20));
}

static void ask_extra(struct store *s, struct account *memory, const char *text, int times)
{
	struct question q = {.name = text, .counts = text[0] != '<'};

	if (!q.counts)
		q.columns = SCAN_BODY | SCAN_META;
	text += !q.counts;
	q.regex = text[0] == '~';
	q.text = text + q.regex;
	ask(s, memory, &q, times);
}

static int follow(void *ctx, const struct rows *rows)
{
	*(uint64_t *)ctx += rows->n;
	return 0;
}

static void drain(struct store *s, struct account *memory)
{
	int64_t w = clock_of(CLOCK_MONOTONIC), c = clock_of(CLOCK_PROCESS_CPUTIME_ID);
	struct account query;
	struct cursor cursor = {.store = s, .tenant = str_c(tenant), .account = &query};
	uint64_t n = 0;
	struct error e;
	int r;

	account_init(&query, "query", memory->limit, memory);
	while ((r = cursor_next(&cursor, 1000, follow, &n, &e)) > 0)
		;
	if (r < 0)
		die("cursor", &e);
	cursor_fini(&cursor);
	printf("%-20s %9llu %8.0f %8.0f %47.1f\n", "cursor", (unsigned long long)n,
		(double)(clock_of(CLOCK_MONOTONIC) - w) / 1e6,
		(double)(clock_of(CLOCK_PROCESS_CPUTIME_ID) - c) / 1e6,
		(double)query.peak / (1 << 20));
}

int main(int argc, char **argv)
{
	struct store_options o = {.fs = fs_real(), .clock = clock_real(), .sync_off = true};
	struct account memory;
	struct store *s;
	struct error e;
	const char *only = NULL, *extra[EXTRA_MAX];
	size_t n_extra = 0;
	uint64_t mib = 128;
	size_t streams = 0;
	int times = 5, c;

	while ((c = getopt(argc, argv, "r:m:s:q:t:x:")) != -1) {
		if (c == 'r')
			times = atoi(optarg);
		else if (c == 'm')
			mib = strtoull(optarg, NULL, 10);
		else if (c == 'q')
			only = optarg;
		else if (c == 't')
			tenant = optarg;
		else if (c == 'x' && n_extra < EXTRA_MAX)
			extra[n_extra++] = optarg;
		else if (c == 's')
			streams = strtoull(optarg, NULL, 10);
		else
			return 2;
	}
	if (optind == argc)
		return 2;
	account_init(&memory, "memory", mib << 20, NULL);
	o.dir = argv[optind];
	o.account = &memory;
	o.merge_off = optind + 1 == argc;
	if (store_open(&s, &o, &e) < 0)
		die("open", &e);
	if (optind + 1 < argc) {
		struct buf dump = {0};

		load(s, argv + optind + 1, argc - optind - 1, streams);
		sleep(20); /* merges */
		store_dump(s, &dump);
		printf("%s", buf_cstr(&dump));
		buf_fini(&dump);
	}
	printf("%-20s %9s %8s %8s %5s %5s %5s %5s %8s %8s %6s\n", "scan", "rows", "wall ms",
		"cpu ms", "units", "read", "count", "excl", "spelled", "MB read", "MiB");
	for (size_t i = 0; i < n_extra; i++)
		ask_extra(s, &memory, extra[i], times);
	for (size_t i = 0; n_extra == 0 && i < sizeof questions / sizeof *questions; i++)
		if (!only || strcmp(only, questions[i].name) == 0)
			ask(s, &memory, &questions[i], times);
	if (only ? strcmp(only, "cursor") == 0 : n_extra == 0)
		drain(s, &memory);
	store_close(s);
	return 0;
}
