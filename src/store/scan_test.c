/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scans against a model: random records, some in parts and some in the head,
 * and random scans over them, each compared with what one pass over the records
 * gives.  A seed that fails is printed; SCAN_SEED runs it alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/map.h"
#include "os/fake.h"
#include "store/cursor.h"
#include "store/lines/filter.h"
#include "store/lines/template.h"
#include "store/retain.h"
#include "store/store.h"

enum { STREAMS = 12, SOURCES = 3, HOURS = 30, FILTERS_MAX = 3 };

#define HOUR   INT64_C(3600000000000)
#define ORIGIN (INT64_C(400000) * HOUR)

static uint64_t state_now;

static uint64_t draw(uint64_t n)
{
	state_now ^= state_now << 13;
	state_now ^= state_now >> 7;
	state_now ^= state_now << 17;
	return state_now % n;
}

struct model_record {
	bool other_tenant;
	uint32_t stream, source; /* source 0: none */
	int64_t time;
	uint64_t seq, position;
	char *body;
	size_t n;
	unsigned meta;
	uint8_t severity, flags;
	bool deleted;
};

struct world {
	struct fs *fs;
	struct clock *clock;
	struct account memory;
	struct store *s;
	char labels[STREAMS][16];
	struct str streams[STREAMS];
	struct model_record *records;
	size_t n;
	bool still; /* no merges, which put what is damaged out of the way */
};

static const struct str metas[] = {STR_INIT(""), STR_INIT("\1\1k\1v"), STR_INIT("\1\1k\1w")};
static const char *const sources[] = {NULL, "one", "two", "three"};

/* Selectors of deletions: "<stream>" or "<stream> <text>" */

struct selector {
	uint32_t stream;
	char text[16];
};

static int selector_parse(void **out, struct str text, struct error *e)
{
	struct selector *s = xcalloc(1, sizeof *s);

	s->stream = (uint32_t)(text.p[0] - 'a');
	if (text.n > 2)
		str_copy(str_sub(text, 2, text.n), s->text, sizeof s->text);
	*out = s;
	return 0;
}

static bool selector_stream(const void *selector, struct str labels)
{
	const struct selector *s = selector;

	return labels.p[labels.n - 1] == (char)('a' + s->stream);
}

static bool selector_has_filters(const void *selector)
{
	return ((const struct selector *)selector)->text[0];
}

static int selector_line(const void *selector, struct str line)
{
	return str_find(line, str_c(((const struct selector *)selector)->text)) >= 0;
}

static const struct store_selectors selectors = {
	selector_parse, free, selector_stream, selector_has_filters, selector_line};

/* Filling */

static void make_line(struct buf *line, bool calm)
{
	static const char *const texts[] = {"session opened for user", "GET /index.html",
		"error: timed out", "disk full", "trace", "a"};

	buf_clear(line);
	switch (calm ? draw(2) + 1 : draw(8)) {
	case 0: /* any bytes */
		for (uint64_t n = draw(50); n > 0; n--)
			buf_char(line, (char)draw(256));
		break;
	case 1:
		buf_printf(line, "conn %llu from 10.0.%llu.%llu closed",
			(unsigned long long)draw(5000), (unsigned long long)draw(9),
			(unsigned long long)draw(256));
		break;
	case 2:
		buf_printf(line, "id=%08llx took %llums", (unsigned long long)draw(1u << 31),
			(unsigned long long)draw(300));
		break;
	case 3: break; /* empty */
	default: buf_printf(line, "%s %llu", texts[draw(6)], (unsigned long long)draw(40));
	}
}

struct wait {
	struct lock lock;
	struct cond cond;
	bool done;
	struct sink_result result;
};

static void on_done(void *arg, const struct sink_result *result)
{
	struct wait *w = arg;

	lock_take(&w->lock);
	w->done = true;
	w->result = *result;
	cond_signal(&w->cond);
	lock_drop(&w->lock);
}

static void submit(struct world *w, struct batch *b)
{
	struct wait wait = {0};
	struct error e;

	lock_init(&wait.lock);
	cond_init(&wait.cond);
	if (sink_submit(store_sink(w->s), b, on_done, &wait, &e) < 0)
		fail_msg("%s", e.text);
	lock_take(&wait.lock);
	while (!wait.done)
		cond_wait(&wait.cond, &wait.lock);
	lock_drop(&wait.lock);
	assert_int_equal(wait.result.code, 0);
	cond_fini(&wait.cond);
	lock_fini(&wait.lock);
}

/* Most batches keep to a few streams and a few minutes, as those of an input do. */
static void add_batch(struct world *w)
{
	bool other = draw(6) == 0;
	struct batch_builder *bb =
		batch_builder_new(other ? STR("u") : STR("t"), STR("test"), ORIGIN);
	bool calm = draw(3); /* lines of few kinds, of one stream: blocks that have counts */
	size_t n = 1 + draw(calm ? 1200 : draw(4) ? 60 : 900);
	uint32_t first = (uint32_t)draw(STREAMS), spread = calm ? 1 : 1 + (uint32_t)draw(4);
	int64_t base = ORIGIN + (int64_t)draw(HOURS) * HOUR;
	bool with_meta = draw(2), with_level = !calm && draw(2);
	struct buf line = {0};

	w->records = xrealloc(w->records, (w->n + n) * sizeof *w->records);
	for (size_t i = 0; i < n; i++) {
		struct model_record *m = &w->records[w->n];
		struct batch_source source;
		struct record r;

		make_line(&line, calm && draw(200));
		*m = (struct model_record){
			.other_tenant = other,
			.stream = (first + (uint32_t)draw(spread)) % STREAMS,
			.source = draw(3) ? 0 : 1 + (uint32_t)draw(SOURCES),
			.time = base + (int64_t)draw((uint64_t)HOUR * (calm || draw(20) ? 1 : 5)),
			.seq = w->n + 1,
			.body = str_dup(buf_view(&line)),
			.n = line.n,
			.meta = with_meta ? (unsigned)draw(3) : 0,
			.severity = with_level ? (uint8_t)draw(25) : 9,
			.flags = calm || draw(2) ? RECORD_LEVEL_DETECTED : 0,
		};
		w->n++;
		source = (struct batch_source){.kind = POSITION_SET};
		if (m->source) {
			source.id = str_c(sources[m->source]);
			m->position = w->n;
		}
		r = (struct record){
			.timestamp = m->time,
			.body = str_make(m->body, m->n),
			.meta = metas[m->meta],
			.position = m->position,
			.stream = batch_builder_stream(bb, w->streams[m->stream]),
			.source = m->source ? batch_builder_source(bb, &source) : 0,
			.severity = m->severity,
			.flags = m->flags,
		};
		assert_int_equal(batch_builder_add(bb, &r, NULL), 0);
	}
	buf_fini(&line);
	submit(w, batch_builder_finish(bb, ORIGIN));
	batch_builder_free(bb);
}

static void world_open(struct world *w)
{
	struct store_options o = {.fs = w->fs,
		.clock = w->clock,
		.dir = "data",
		.account = &w->memory,
		.part_bytes = draw(2) ? 64 << 10 : 1 << 20,
		.selectors = &selectors,
		.merge_off = w->still || draw(2)};
	struct error e;

	if (store_open(&w->s, &o, &e) < 0)
		fail_msg("%s", e.text);
}

static void world_init(struct world *w, uint64_t seed, size_t batches)
{
	struct error e;

	state_now = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	*w = (struct world){
		.fs = fs_fake_new(seed), .clock = clock_fake_new(ORIGIN + HOURS * HOUR)};
	account_init(&w->memory, "memory", 128 << 20, NULL);
	for (int i = 0; i < STREAMS; i++) {
		snprintf(w->labels[i], sizeof w->labels[i], "\1\3app\1%c", 'a' + i);
		w->streams[i] = str_c(w->labels[i]);
	}
	world_open(w);
	for (size_t i = 0; i < batches; i++) {
		add_batch(w);
		if (draw(8) == 0 && store_flush(w->s, &e) < 0)
			fail_msg("%s", e.text);
	}
}

static void world_fini(struct world *w)
{
	store_close(w->s);
	assert_int_equal(account_held(&w->memory), 0);
	for (size_t i = 0; i < w->n; i++)
		free(w->records[i].body);
	free(w->records);
	fs_fake_free(w->fs);
	clock_fake_free(w->clock);
}

/* Delete from a stream, sometimes only some of its lines. */
static void delete_some(struct world *w)
{
	uint32_t stream = (uint32_t)draw(STREAMS);
	const char *text = draw(2) ? "trace" : "";
	char selector[32];
	struct deletion d = {
		.tenant = STR("t"),
		.from_ns = ORIGIN + (int64_t)draw(HOURS) * HOUR,
	};
	struct error e;
	uint64_t id;

	d.to_ns = d.from_ns + (int64_t)draw(8) * HOUR + 1;
	snprintf(selector, sizeof selector, *text ? "%c %s" : "%c", 'a' + (char)stream, text);
	d.selector = str_c(selector);
	if (store_delete(w->s, &d, &id, &e) < 0)
		fail_msg("%s", e.text);
	for (size_t i = 0; i < w->n; i++) {
		struct model_record *m = &w->records[i];

		m->deleted =
			m->deleted || (!m->other_tenant && m->stream == stream &&
					      m->time >= d.from_ns && m->time < d.to_ns &&
					      str_find(str_make(m->body, m->n), str_c(text)) >= 0);
	}
}

/* Asking */

struct ask {
	struct world *w;
	struct scan scan;
	uint32_t streams; /* bits */
	struct line_filter filters[FILTERS_MAX];
	struct line_test tests[FILTERS_MAX][2];
	struct regex *regexes[FILTERS_MAX][2];
	char texts[FILTERS_MAX][2][24];
	char contains[24];
	bool narrows;
	int64_t bucket_ns, bucket_from;
	uint64_t stop_after; /* rows; 0: all */
	bool by_time;        /* key order is checked */
	/* What came. */
	bool *seen;
	uint64_t n_rows, n_counted, n_warnings, n_wrong;
	int64_t last_key;
	struct map counted; /* by "stream severity level bucket": rows, bytes apart */
	struct map counted_bytes;
	struct map by_template; /* by key and bucket: rows */
};

static int64_t bucket_of(const struct ask *a, int64_t time)
{
	return (time - a->bucket_from) / a->bucket_ns;
}

static void count(struct ask *a, struct map *rows, struct map *bytes, struct str labels,
	uint8_t severity, unsigned detected, int64_t time, uint64_t n, uint64_t n_bytes)
{
	char key[64];
	int k = snprintf(key, sizeof key, "%c %u %u %lld", labels.p[labels.n - 1], severity,
		detected, (long long)bucket_of(a, time));

	map_put(rows, str_make(key, (size_t)k), NULL)->u += n;
	map_put(bytes, str_make(key, (size_t)k), NULL)->u += n_bytes;
}

static void count_template(
	struct ask *a, struct map *map, struct str template_key, int64_t time, uint64_t n)
{
	struct buf key = {0};

	buf_printf(&key, "%lld ", (long long)bucket_of(a, time));
	buf_str(&key, template_key);
	map_put(map, buf_view(&key), NULL)->u += n;
	buf_fini(&key);
}

static bool on_stream(void *ctx, struct str labels)
{
	const struct ask *a = ctx;

	return a->streams >> (labels.p[labels.n - 1] - 'a') & 1;
}

static bool on_bucket(void *ctx, int64_t min_ns, int64_t max_ns)
{
	const struct ask *a = ctx;

	assert_true(min_ns <= max_ns);
	return bucket_of(a, min_ns) == bucket_of(a, max_ns);
}

static void on_warning(void *ctx, const char *sentence)
{
	((struct ask *)ctx)->n_warnings++;
}

static bool chosen(const struct ask *a, int64_t time)
{
	return !a->narrows || time / 1000 % 3 == 0;
}

static size_t on_narrow(void *ctx, const struct rows *rows, uint32_t *pick)
{
	const struct ask *a = ctx;
	size_t n = 0;

	assert_ptr_equal(pick, rows->pick);
	assert_true(!rows->body && !rows->meta);
	for (size_t i = 0; i < rows->n; i++)
		if (chosen(a, rows->timestamp[pick[i]]))
			pick[n++] = pick[i];
	return n;
}

static void check_row(
	struct ask *a, const struct rows *rows, uint32_t at, const struct model_record *m)
{
	unsigned columns = a->scan.columns;

	assert_int_equal(rows->timestamp[at], m->time);
	assert_int_equal(rows->severity[at], m->severity);
	assert_int_equal(rows->flags[at], m->flags);
	assert_true(str_eq(rows->streams[rows->stream[at]], a->w->streams[m->stream]));
	assert_true(!(columns & SCAN_BODY) == !rows->body);
	if (columns & SCAN_BODY)
		assert_true(str_eq(rows->body[at], str_make(m->body, m->n)));
	if (columns & SCAN_META)
		assert_true(str_eq(rows->meta[at], metas[m->meta]));
	if (columns & SCAN_SOURCE) {
		assert_int_equal(rows->source[at] > 0, m->source > 0);
		if (m->source) {
			assert_true(str_eq(
				rows->sources[rows->source[at] - 1], str_c(sources[m->source])));
			assert_int_equal(rows->position[at], m->position);
		}
	}
}

/* The template that a row is told with is that of its line. */
static void check_template(
	struct ask *a, const struct rows *rows, uint32_t at, const struct model_record *m)
{
	struct template_table *table = template_table_new();
	struct token tokens[TOKEN_SLOTS_MAX];
	struct str line = str_make(m->body, m->n), key = STR_NONE;
	uint64_t hash;
	int n = tokens_of(line, tokens, &hash);

	if (rows->template[at] != ROWS_NO_TEMPLATE) {
		assert_true(n >= 0 && rows->template[at] < rows -> n_templates);
		key = rows->templates[rows->template[at]]->key;
		assert_true(str_eq(key, template_table_get(table, template_table_put(table, line,
									  tokens, (size_t)n, hash))
						->key));
	}
	if (a->scan.counts)
		count_template(a, &a->by_template, key, m->time, 1);
	template_table_free(table);
}

static const struct model_record *find_record(
	const struct ask *a, const struct rows *rows, uint32_t at)
{
	const struct world *w = a->w;

	if (rows->seq)
		return &w->records[rows->seq[at] - 1];
	return NULL;
}

static int on_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct ask *a = ctx;

	assert_true(rows->n > 0);
	for (size_t i = 0; i < rows->n; i++) {
		uint32_t at = rows->pick[i];
		const struct model_record *m = find_record(a, rows, at);

		assert_true(i == 0 || at > rows->pick[i - 1]);
		a->n_rows++;
		if (m) {
			assert_false(a->seen[m->seq]);
			a->seen[m->seq] = true;
			check_row(a, rows, at, m);
			if (a->scan.columns & SCAN_TEMPLATE)
				check_template(a, rows, at, m);
		}
		if (a->scan.counts) {
			size_t bytes = rows->body ? rows->body[at].n : 0;

			count(a, &a->counted, &a->counted_bytes, rows->streams[rows->stream[at]],
				rows->severity[at], rows->flags[at] & RECORD_LEVEL_DETECTED,
				rows->timestamp[at], 1, bytes);
			if (a->scan.columns & SCAN_TEMPLATE && !m)
				count_template(a, &a->by_template,
					rows->template[at] == ROWS_NO_TEMPLATE
						? STR_NONE
						: rows->templates[rows->template[at]]->key,
					rows->timestamp[at], 1);
		}
	}
	return a->stop_after && a->n_rows >= a->stop_after ? 7 : 0;
}

static int on_counts(void *ctx, const struct row_counts *counts, struct error *e)
{
	struct ask *a = ctx;

	for (size_t i = 0; i < counts->n; i++) {
		const struct row_count *c = &counts->counts[i];
		bool by_template = c->template != ROWS_NO_TEMPLATE;

		assert_true(c->rows > 0 && c->stream < counts->n_streams);
		assert_true(on_bucket(a, c->min_ns, c->max_ns));
		assert_true(!by_template ||
			    (a->scan.columns & SCAN_TEMPLATE && c->template <counts->n_templates));
		a->n_counted += c->rows;
		count(a, &a->counted, &a->counted_bytes, counts->streams[c->stream], c->severity,
			c->level_detected, c->min_ns, c->rows, c->bytes);
		if (a->scan.columns & SCAN_TEMPLATE)
			count_template(a, &a->by_template,
				by_template ? counts->templates[c->template]->key : STR_NONE,
				c->min_ns, c->rows);
	}
	return 0;
}

/* A random scan */

static void draw_text(const struct world *w, char *out, size_t room)
{
	static const char *const texts[] = {"trace", "error", "10.0.", " 1", "took",
		"id=", "nothing", "5ms", "user 3", "a", ".html 2"};
	const struct model_record *m = &w->records[draw(w->n)];

	if (draw(2) || m->n == 0) {
		snprintf(out, room, "%s", texts[draw(11)]);
		return;
	}
	/* A piece of a line, unless it has a NUL. */
	size_t from = draw(m->n), n = 1 + draw(9);

	n = n > m->n - from ? m->n - from : n;
	memcpy(out, m->body + from, n);
	out[n] = 0;
}

static void draw_filters(struct ask *a)
{
	static const char *const patterns[] = {
		"took [0-9]{3}ms", "(error|disk).*[1-3]", "^conn", "10\\.0\\.[0-4]", "e.*t", "0$"};
	size_t n = draw(FILTERS_MAX + 1);

	for (size_t i = 0; i < n; i++) {
		struct line_filter *f = &a->filters[i];

		*f = (struct line_filter){
			.tests = a->tests[i], .n = 1 + draw(4) / 3, .negate = draw(4) == 0};
		for (size_t k = 0; k < f->n; k++) {
			struct error e;

			if (draw(4) == 0) {
				assert_int_equal(regex_new(&a->regexes[i][k],
							 str_c(patterns[draw(6)]), false, &e),
					0);
				a->tests[i][k].regex = a->regexes[i][k];
			} else {
				draw_text(a->w, a->texts[i][k], sizeof a->texts[i][k]);
				a->tests[i][k].text = str_c(a->texts[i][k]);
			}
		}
	}
	a->scan.filters = a->filters;
	a->scan.n_filters = n;
	if (draw(10) == 0) {
		draw_text(a->w, a->contains, sizeof a->contains);
		a->scan.contains = str_c(a->contains);
	}
}

static void ask_init(struct ask *a, struct world *w)
{
	int64_t from = draw(3) ? (int64_t)draw(HOURS) * HOUR : -HOUR;
	int64_t to = draw(3) ? from + (int64_t)draw(8 * (uint64_t)HOUR) : (HOURS + 9) * HOUR;

	*a = (struct ask){.w = w};
	a->streams = draw(3) ? UINT32_MAX : (uint32_t)draw(1u << STREAMS);
	a->seen = xcalloc(w->n + 1, sizeof *a->seen);
	a->scan = (struct scan){
		.tenant = draw(8) ? STR("t") : STR("u"),
		.from_ns = ORIGIN + from,
		.to_ns = ORIGIN + to,
		.after_seq = draw(4) ? 0 : draw(w->n + 1),
		.until_seq = draw(4) ? 0 : 1 + draw(w->n),
		.source = draw(6) ? STR_NONE : str_c(sources[1 + draw(SOURCES)]),
		.order = (enum scan_order)draw(3),
		.columns = (unsigned)draw(16),
		.account = draw(5) ? &w->memory : NULL,
		.ctx = a,
		.want_stream = on_stream,
		.rows = on_rows,
		.warn = on_warning,
	};
	draw_filters(a);
	if (draw(3) == 0) {
		a->narrows = true;
		a->scan.narrow = on_narrow;
	}
	if (draw(2)) {
		static const int64_t buckets[] = {HOUR, 6 * HOUR, HOUR / 7, 400 * HOUR, 2 * HOUR};

		a->scan.counts = on_counts;
		a->scan.same_bucket = on_bucket;
		a->bucket_ns = buckets[draw(5)];
		a->bucket_from = ORIGIN - 500 * HOUR - (draw(2) ? 0 : HOUR / 3);
		a->narrows = false;
		a->scan.narrow = NULL;
		if (draw(2))
			a->streams = UINT32_MAX;
		if (draw(2))
			a->scan.n_filters = 0;
		if (draw(2))
			a->scan.source = STR_NONE;
	} else if (draw(8) == 0) {
		a->stop_after = 1 + draw(500);
	}
}

static void ask_fini(struct ask *a)
{
	for (size_t i = 0; i < FILTERS_MAX; i++)
		for (size_t k = 0; k < 2; k++)
			if (a->regexes[i][k])
				regex_free(a->regexes[i][k]);
	map_fini(&a->counted);
	map_fini(&a->counted_bytes);
	map_fini(&a->by_template);
	free(a->seen);
}

static bool passes(const struct ask *a, const struct model_record *m)
{
	const struct scan *scan = &a->scan;
	struct str line = str_make(m->body, m->n);

	return m->other_tenant == str_eq(scan->tenant, STR("u")) && !m->deleted &&
	       m->time >= scan->from_ns && m->time < scan->to_ns && m->seq > scan->after_seq &&
	       (scan->until_seq == 0 || m->seq <= scan->until_seq) && a->streams >> m->stream & 1 &&
	       (scan->source.n == 0 ||
		       (m->source && str_eq(scan->source, str_c(sources[m->source])))) &&
	       (scan->contains.n == 0 || str_find(line, scan->contains) >= 0) &&
	       line_filters_test(scan->filters, scan->n_filters, line) == 1 && chosen(a, m->time);
}

static void same_maps(const struct map *a, const struct map *b)
{
	const struct map_slot *slot;
	size_t at = 0;

	assert_int_equal(a->n, b->n);
	while ((slot = map_next(a, &at))) {
		const union map_value *v = map_get(b, slot->key);

		assert_non_null(v);
		assert_int_equal(v->u, slot->value.u);
	}
}

static void compare_counts(struct ask *a)
{
	struct map rows = {0}, bytes = {0};
	uint64_t templates = 0, expected = 0;
	const struct map_slot *slot;
	size_t at = 0;

	for (size_t i = 0; i < a->w->n; i++) {
		const struct model_record *m = &a->w->records[i];

		if (!passes(a, m))
			continue;
		expected++;
		count(a, &rows, &bytes, a->w->streams[m->stream], m->severity,
			m->flags & RECORD_LEVEL_DETECTED, m->time, 1, m->n);
	}
	assert_int_equal(a->n_rows + a->n_counted, expected);
	same_maps(&rows, &a->counted);
	if (a->scan.columns & SCAN_BODY)
		same_maps(&bytes, &a->counted_bytes);
	while ((slot = map_next(&a->by_template, &at)))
		templates += slot->value.u;
	if (a->scan.columns & SCAN_TEMPLATE)
		assert_int_equal(templates, expected);
	map_fini(&rows);
	map_fini(&bytes);
}

static void compare(struct ask *a, bool damaged)
{
	uint64_t missing = 0;

	for (size_t i = 0; i < a->w->n && !a->scan.counts; i++) {
		const struct model_record *m = &a->w->records[i];

		if (a->seen[m->seq] && !passes(a, m))
			fail_msg("record %llu should not have come", (unsigned long long)m->seq);
		missing += !a->seen[m->seq] && passes(a, m);
	}
	if (a->stop_after)
		return;
	if (damaged) {
		assert_true(missing == 0 || a->n_warnings > 0);
		return;
	}
	assert_int_equal(missing, 0);
	assert_int_equal(a->n_warnings, 0);
	if (a->scan.counts)
		compare_counts(a);
}

static struct scan_stats ask_one(struct world *w, bool damaged)
{
	struct snapshot *sn = snapshot_take(w->s);
	struct scan_stats stats;
	struct error e = {0};
	struct ask a;
	int r;

	ask_init(&a, w);
	if (damaged) {
		a.scan.counts = NULL;
		a.scan.same_bucket = NULL;
	}
	r = snapshot_scan(sn, &a.scan, &e);
	if (r < 0)
		fail_msg("%s", e.text);
	assert_true(r == 0 || (r == 7 && a.stop_after));
	compare(&a, damaged);
	stats = a.scan.stats;
	ask_fini(&a);
	snapshot_free(sn);
	return stats;
}

/* The tests */

static void add_stats(struct scan_stats *to, const struct scan_stats *from)
{
	to->units_counted += from->units_counted;
	to->units_excluded += from->units_excluded;
	to->units_read += from->units_read;
	to->lines_spelled += from->lines_spelled;
	to->rows_picked += from->rows_picked;
}

static void run_seed(uint64_t seed, struct scan_stats *stats)
{
	struct world w;

	print_message("seed %llu\n", (unsigned long long)seed);
	world_init(&w, seed, 20 + seed * 3);
	for (int i = 0; i < 120; i++) {
		struct scan_stats one = ask_one(&w, false);

		add_stats(stats, &one);
		if (i % 30 == 20)
			delete_some(&w);
		if (i == 70)
			assert_int_equal(store_flush(w.s, NULL), 0);
	}
	world_fini(&w);
}

static void scans_are_those_of_the_model(void **state)
{
	const char *one = getenv("SCAN_SEED");
	struct scan_stats stats = {0};

	if (one) {
		run_seed(strtoull(one, NULL, 10), &stats);
		return;
	}
	for (uint64_t seed = 1; seed <= 10; seed++)
		run_seed(seed, &stats);
	/* All of the ways were gone. */
	print_message("units read %llu, counted %llu, excluded %llu; rows %llu\n",
		(unsigned long long)stats.units_read, (unsigned long long)stats.units_counted,
		(unsigned long long)stats.units_excluded, (unsigned long long)stats.rows_picked);
	assert_true(stats.units_read > 0 && stats.rows_picked > 0 && stats.units_counted > 0 &&
		    stats.units_excluded > 0);
}

/* Flip bits in the blocks of parts, not in their footers. */
static void damage(struct world *w)
{
	struct buf names = {0};
	const char *at;
	size_t n;

	assert_int_equal(fs_list(w->fs, "data/parts", &names, &n, NULL), 0);
	at = names.p;
	for (size_t i = 0; i < n; i++, at += strlen(at) + 1) {
		struct file_stat st;
		char path[128];

		snprintf(path, sizeof path, "data/parts/%s", at);
		if (!str_ends(str_c(at), STR(".part")) || fs_stat(w->fs, path, &st, NULL) < 0)
			continue;
		for (int flips = 0; flips < 2; flips++)
			fake_flip(w->fs, path, 16 * 8 + draw(st.size * 8 / 3));
	}
	buf_fini(&names);
}

static void damage_costs_blocks_and_is_told(void **state)
{
	for (uint64_t seed = 100; seed < 104; seed++) {
		struct world w;

		print_message("seed %llu\n", (unsigned long long)seed);
		world_init(&w, seed, 50);
		store_close(w.s);
		w.still = true;
		world_open(&w);
		assert_int_equal(store_flush(w.s, NULL), 0);
		damage(&w);
		for (int i = 0; i < 60; i++)
			ask_one(&w, true);
		world_fini(&w);
	}
}

struct follow {
	const struct world *w;
	uint64_t last, n;
};

static int follow_rows(void *ctx, const struct rows *rows)
{
	struct follow *f = ctx;
	size_t take = draw(4) ? rows->n : 1 + draw(rows->n);

	for (size_t i = 0; i < take; i++) {
		uint32_t at = rows->pick[i];
		const struct model_record *m = &f->w->records[rows->seq[at] - 1];

		assert_true(rows->seq[at] > f->last);
		assert_true(str_eq(rows->body[at], str_make(m->body, m->n)));
		assert_true(str_eq(rows->meta[at], metas[m->meta]));
		f->last = rows->seq[at];
		f->n++;
	}
	return take == rows->n ? 0 : (int)take;
}

static void cursors_read_all_in_order(void **state)
{
	for (uint64_t seed = 200; seed < 204; seed++) {
		struct cursor c = {.tenant = STR("t")};
		struct follow f;
		struct world w;
		uint64_t expected = 0;
		struct error e;
		int r;

		print_message("seed %llu\n", (unsigned long long)seed);
		world_init(&w, seed, 60);
		delete_some(&w);
		delete_some(&w);
		f = (struct follow){.w = &w};
		c.store = w.s;
		c.account = &w.memory;
		while ((r = cursor_next(&c, 1 + draw(500), follow_rows, &f, &e)) > 0)
			;
		assert_int_equal(r, 0);
		for (size_t i = 0; i < w.n; i++)
			expected += !w.records[i].other_tenant && !w.records[i].deleted;
		assert_int_equal(f.n, expected);
		cursor_fini(&c);
		world_fini(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scans_are_those_of_the_model),
		cmocka_unit_test(damage_costs_blocks_and_is_told),
		cmocka_unit_test(cursors_read_all_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
