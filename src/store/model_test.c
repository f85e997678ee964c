/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store against a model of it: random operations on the store and on plain
 * arrays, and after each of them what the store shows must be what the arrays
 * say.  Power is cut, disks fill up, parts are merged while snapshots are held,
 * and deletions come and go.
 *
 * What is not known is kept as such: a batch that was not acknowledged may be
 * there after a restart, whole or not at all; a record that retention hid once
 * may be gone when its age is raised again.  All else is strict.
 *
 * A run that fails prints its seed and its operations:
 *     model_test SEED         that run again
 *     model_test SEED SECONDS runs from that seed on
 * Without arguments: runs for some seconds, then the two mutants, which must fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "store/cursor.h"
#include "store/lines/filter.h"
#include "store/store_rig.h"

enum {
	TENANTS = 2,
	STREAMS = 6,
	SOURCES = 4, /* two marks, a set, a token */
	HELD = 3,    /* snapshots at a time */
	GROUP = 4,   /* batches that are submitted together */
	RUN_SECONDS = 12,
	HANG_SECONDS = 60,
};

static const char *const tenants[TENANTS] = {"t", "other"};
static const char *const apps[STREAMS] = {"web", "web", "db", "cron", "x", "web"};
static const char *const hosts[STREAMS] = {NULL, "a", NULL, "b", "\xc3\xa9\"", "a.b"};
static const char *const source_names[SOURCES] = {"mark-a", "mark-b", "set", "token"};
static const enum position_kind source_kinds[SOURCES] = {
	POSITION_MARK, POSITION_MARK, POSITION_SET, POSITION_TOKEN};

struct record_model {
	uint64_t seq; /* 0: not committed */
	int64_t timestamp;
	char *body, *meta;
	size_t body_n, meta_n;
	uint64_t position;
	int tenant, stream, source; /* source -1: none */
	uint8_t severity, flags;
	bool too_old;    /* when it was submitted */
	bool maybe_gone; /* retention, or a deletion that was taken back, may have removed it */
};

struct batch_model {
	struct record_model *r;
	size_t n;
	int tenant;
	uint64_t from; /* of a mark */
};

struct deletion_model {
	uint64_t id; /* 0: asked for, and not known whether it is in force */
	int tenant;
	char selector[64];
	int64_t from_ns, to_ns;
	uint64_t until_seq;
	bool unsure; /* taking it back failed */
};

/* What one record must be to a reader. */
enum { NEVER, MUST, MAY };

struct held {
	struct snapshot *sn;
	uint8_t *expect, *expect_hidden; /* by index: with and without what is hidden */
	size_t n;
};

struct model {
	struct rig rig;
	uint64_t rng, seed;
	struct buf ops; /* what was done, to be printed */
	bool broken;
	bool faults; /* the disk fails now */
	struct record_model *r;
	size_t n, cap;
	struct batch_model *pending; /* submitted, and not known to be stored */
	size_t n_pending;
	uint64_t marks[TENANTS][2];
	bool known[TENANTS][2];        /* something of the source was committed */
	uint64_t mark_max[TENANTS][2]; /* when all that is pending were there */
	uint64_t next_number[TENANTS];
	struct deletion_model *deletions;
	size_t n_deletions;
	struct retention retention;
	struct retention_rule rules[2];
	struct held held[HELD];
	struct buf labels[STREAMS];
	int64_t advanced_ns;
	bool big;
};

/* Tell what is wrong, the first thing alone. */
static void PRINTF(2, 3) broke(struct model *m, const char *fmt, ...)
{
	va_list ap;

	if (m->broken)
		return;
	m->broken = true;
	buf_c(&m->ops, "\n  WRONG: ");
	va_start(ap, fmt);
	buf_vprintf(&m->ops, fmt, ap);
	va_end(ap);
}

static void PRINTF(2, 3) note(struct model *m, const char *fmt, ...)
{
	va_list ap;

	buf_c(&m->ops, "\n  ");
	va_start(ap, fmt);
	buf_vprintf(&m->ops, fmt, ap);
	va_end(ap);
}

static uint64_t below(struct model *m, uint64_t n)
{
	return rig_below(&m->rng, n);
}

static bool chance(struct model *m, unsigned one_in)
{
	return rig_chance(&m->rng, one_in);
}

static int64_t now(struct model *m)
{
	return clock_now_ns(m->rig.clock);
}

/* What is hidden */

static bool selects(const char *selector, int stream, struct str body)
{
	struct str needle = str_c(selector), app = str_cut(&needle, ' ');

	return str_eq_c(app, apps[stream]) && (needle.n == 0 || str_find(body, needle) >= 0);
}

static bool too_old(struct model *m, int stream, int64_t timestamp)
{
	int64_t age = m->retention.age_ns, before;

	for (size_t i = 0; i < m->retention.n_rules; i++) {
		if (selects(m->rules[i].match.p, stream, STR_NONE)) {
			age = m->rules[i].age_ns;
			break;
		}
	}
	return age > 0 && !__builtin_sub_overflow(now(m), age, &before) && timestamp < before;
}

static bool deleted(const struct deletion_model *d, const struct record_model *r)
{
	return r->tenant == d->tenant && r->seq <= d->until_seq && r->timestamp >= d->from_ns &&
	       r->timestamp < d->to_ns &&
	       selects(d->selector, r->stream, str_make(r->body, r->body_n));
}

static uint8_t expectation(struct model *m, const struct record_model *r, bool hidden_too)
{
	uint8_t here = r->maybe_gone ? MAY : MUST;

	if (too_old(m, r->stream, r->timestamp))
		return hidden_too ? MAY : NEVER;
	for (size_t i = 0; i < m->n_deletions; i++) {
		if (!deleted(&m->deletions[i], r))
			continue;
		if (hidden_too || m->deletions[i].id == 0)
			here = MAY;
		else
			return NEVER;
	}
	return here;
}

/* Retention may remove now what it hides now. */
static void mark_old(struct model *m)
{
	for (size_t i = 0; i < m->n; i++)
		if (too_old(m, m->r[i].stream, m->r[i].timestamp))
			m->r[i].maybe_gone = true;
}

static uint8_t *expectations(struct model *m, bool hidden_too)
{
	uint8_t *x = xmalloc(m->n + 1);

	for (size_t i = 0; i < m->n; i++)
		x[i] = expectation(m, &m->r[i], hidden_too);
	return x;
}

/* Index of the record with this sequence, or m->n. */
static size_t find_seq(const struct model *m, uint64_t seq)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->r[mid].seq < seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < m->n && m->r[lo].seq == seq ? lo : m->n;
}

/* Reading */

struct read {
	struct model *m;
	size_t n; /* records that the snapshot knows */
	uint8_t *seen;
	unsigned columns;
	unsigned streams; /* bits of those that are wanted */
	unsigned narrow;  /* 0, or keep sequences that leave a rest of 0 */
	bool counting;
	uint64_t rows, bytes; /* counted */
	size_t warnings;
	char warning[200];
	uint64_t last_seq; /* of a cursor */
	size_t takes;      /* of a cursor: rows it takes, 0 for all */
};

static int stream_of(struct model *m, struct str labels)
{
	for (int i = 0; i < STREAMS; i++)
		if (str_eq(labels, buf_view(&m->labels[i])))
			return i;
	return -1;
}

static void check_row(struct read *rd, const struct rows *rows, uint32_t at)
{
	struct model *m = rd->m;
	size_t i = find_seq(m, rows->seq[at]);
	const struct record_model *r = &m->r[i];
	unsigned long long seq = rows->seq[at];
	struct str source;

	if (i >= rd->n) {
		broke(m, "record %llu was never stored", seq);
		return;
	}
	if (rd->seen[i]++)
		broke(m, "record %llu comes twice", seq);
	if (rows->timestamp[at] != r->timestamp)
		broke(m, "record %llu: time %lld, not %lld", seq, (long long)rows->timestamp[at],
			(long long)r->timestamp);
	if (rows->stream[at] >= rows->n_streams ||
		stream_of(m, rows->streams[rows->stream[at]]) != r->stream)
		broke(m, "record %llu: another stream", seq);
	if (rows->severity[at] != r->severity || rows->flags[at] != r->flags)
		broke(m, "record %llu: severity %u flags %u", seq, rows->severity[at],
			rows->flags[at]);
	if (rd->columns & SCAN_BODY && !str_eq(rows->body[at], str_make(r->body, r->body_n)))
		broke(m, "record %llu: line \"%.*s\", not \"%.*s\"", seq,
			STR_ARG(str_sub(rows->body[at], 0, 200)), (int)r->body_n, r->body);
	if (rd->columns & SCAN_META && !str_eq(rows->meta[at], str_make(r->meta, r->meta_n)))
		broke(m, "record %llu: other metadata", seq);
	if (rd->columns & SCAN_SOURCE) {
		source = rows->source[at] ? rows->sources[rows->source[at] - 1] : STR_NONE;
		if (!str_eq(source, r->source < 0 ? STR_NONE : str_c(source_names[r->source])))
			broke(m, "record %llu: source %.*s", seq, STR_ARG(source));
		if (rows->position[at] != r->position)
			broke(m, "record %llu: position %llu, not %llu", seq,
				(unsigned long long)rows->position[at],
				(unsigned long long)r->position);
	}
	if (rd->columns & SCAN_TEMPLATE && rows->template &&
		rows->template[at] != ROWS_NO_TEMPLATE && rows->template[at] >= rows->n_templates)
		broke(m, "record %llu: template out of bounds", seq);
}

static int on_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct read *rd = ctx;

	for (size_t i = 0; i < rows->n; i++) {
		uint32_t at = rows->pick[i];

		if (i > 0 && at <= rows->pick[i - 1])
			broke(rd->m, "rows are not picked in order");
		if (rd->counting) {
			rd->rows++;
			rd->bytes += rows->body[at].n;
		} else {
			check_row(rd, rows, at);
		}
	}
	return 0;
}

static int on_counts(void *ctx, const struct row_counts *counts, struct error *e)
{
	struct read *rd = ctx;

	for (size_t i = 0; i < counts->n; i++) {
		const struct row_count *c = &counts->counts[i];

		if (c->stream >= counts->n_streams || c->min_ns > c->max_ns || c->rows == 0 ||
			(c->template != ROWS_NO_TEMPLATE && c->template >= counts->n_templates))
			broke(rd->m, "a count makes no sense");
		rd->rows += c->rows;
		rd->bytes += c->bytes;
	}
	return 0;
}

static bool same_bucket(void *ctx, int64_t min_ns, int64_t max_ns)
{
	return true;
}

static bool want_stream(void *ctx, struct str labels)
{
	struct read *rd = ctx;
	int i = stream_of(rd->m, labels);

	if (i < 0)
		broke(rd->m, "a stream that is not known");
	return i >= 0 && rd->streams >> i & 1;
}

static size_t narrow(void *ctx, const struct rows *rows, uint32_t *pick)
{
	struct read *rd = ctx;
	size_t n = 0;

	for (size_t i = 0; i < rows->n; i++)
		if (rows->seq[pick[i]] % rd->narrow == 0)
			pick[n++] = pick[i];
	return n;
}

static void on_warn(void *ctx, const char *sentence)
{
	struct read *rd = ctx;

	rd->warnings++;
	snprintf(rd->warning, sizeof rd->warning, "%s", sentence);
}

/* What a random scan asks for. */
struct question {
	struct scan scan;
	struct read rd;
	int tenant, source;
	bool hidden_too;
	struct line_test tests[4];
	struct line_filter filters[2];
	struct buf texts[4];
	struct regex *regexes[4];
	char contains[16];
	struct buf told; /* for the list of operations */
};

static int64_t some_time(struct model *m)
{
	if (m->n > 0 && chance(m, 2))
		return m->r[below(m, m->n)].timestamp + (int64_t)below(m, 2);
	return rig_time(&m->rng, now(m));
}

/* A piece of a line, or what no line has. */
static void some_text(struct model *m, struct buf *out)
{
	static const char *const words[] = {
		"needle", "INFO", "GET", "0", " ", "status=1", "zzz", "2024", ".", "error 7 of 8"};
	const struct record_model *r;
	size_t from, n;

	if (m->n == 0 || chance(m, 3)) {
		buf_c(out, words[below(m, sizeof words / sizeof *words)]);
		return;
	}
	r = &m->r[below(m, m->n)];
	from = below(m, r->body_n + 1);
	n = 1 + below(m, chance(m, 4) ? 60 : 8);
	buf_str(out, str_sub(str_make(r->body, r->body_n), from, from + n));
}

static void ask_filters(struct model *m, struct question *q)
{
	static const char *const patterns[] = {"needle[12]?", "^[0-9]+", "took .*s$",
		"(?i)INFO|error", "\\d{3,}", "[a-f0-9]{16}", "\\.", "x.*y", "a|b|c"};
	size_t at = 0, n = below(m, 3);

	for (size_t i = 0; i < n; i++) {
		struct line_filter *f = &q->filters[i];

		*f = (struct line_filter){
			.tests = &q->tests[at], .n = 1 + below(m, 2), .negate = chance(m, 3)};
		for (size_t k = 0; k < f->n; k++, at++) {
			if (chance(m, 3) && regex_new(&q->regexes[at],
						    str_c(patterns[below(m,
							    sizeof patterns / sizeof *patterns)]),
						    false, NULL) == 0) {
				q->tests[at].regex = q->regexes[at];
				buf_printf(&q->told, " %s/%.*s/", f->negate ? "!" : "",
					STR_ARG(regex_pattern(q->regexes[at])));
				continue;
			}
			some_text(m, &q->texts[at]);
			q->tests[at].text = buf_view(&q->texts[at]);
			buf_printf(&q->told, " %s", f->negate ? "!" : "");
			buf_json(&q->told, q->tests[at].text);
		}
	}
	q->scan.filters = q->filters;
	q->scan.n_filters = n;
	if (chance(m, 6)) {
		q->scan.contains = STR("needle");
		buf_c(&q->told, " contains needle");
	}
}

static void ask_limits(struct model *m, struct question *q)
{
	uint64_t last = m->n > 0 ? m->r[m->n - 1].seq : 1;

	if (chance(m, 2)) {
		q->scan.from_ns = some_time(m);
		q->scan.to_ns = some_time(m);
		if (q->scan.from_ns > q->scan.to_ns && chance(m, 8) == false) {
			int64_t t = q->scan.from_ns;

			q->scan.from_ns = q->scan.to_ns;
			q->scan.to_ns = t;
		}
	}
	if (chance(m, 4))
		q->scan.after_seq = below(m, last + 1);
	if (chance(m, 4))
		q->scan.until_seq = 1 + below(m, last + 5);
	if (chance(m, 6)) {
		q->source = (int)below(m, SOURCES);
		q->scan.source = str_c(source_names[q->source]);
	}
	buf_printf(&q->told, " [%lld, %lld) seq (%llu, %llu] source %d", (long long)q->scan.from_ns,
		(long long)q->scan.to_ns, (unsigned long long)q->scan.after_seq,
		(unsigned long long)q->scan.until_seq, q->source);
}

static void ask(struct model *m, struct question *q, bool everything)
{
	*q = (struct question){.tenant = (int)below(m, TENANTS), .source = -1};
	q->scan = (struct scan){.tenant = str_c(tenants[q->tenant]),
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX,
		.order = (enum scan_order)below(m, 3),
		.columns = SCAN_BODY | SCAN_META | SCAN_SOURCE,
		.want_stream = want_stream,
		.rows = on_rows,
		.warn = on_warn};
	q->rd = (struct read){.m = m, .streams = ~0u};
	if (everything)
		return;
	q->scan.columns = (unsigned)below(m, 16);
	ask_limits(m, q);
	ask_filters(m, q);
	if (chance(m, 3))
		q->rd.streams = (unsigned)rig_draw(&m->rng);
	if (chance(m, 4)) {
		q->rd.narrow = 2 + (unsigned)below(m, 3);
		q->scan.narrow = narrow;
	} else if (chance(m, 3)) {
		q->rd.counting = true;
		q->scan.columns |= SCAN_BODY;
		q->scan.counts = on_counts;
		q->scan.same_bucket = same_bucket;
	} else if (chance(m, 8)) {
		q->hidden_too = q->scan.hidden_too = true;
	}
	q->rd.columns = q->scan.columns;
	buf_printf(&q->told, " order %d columns %u streams %x%s%s", (int)q->scan.order,
		q->scan.columns, q->rd.streams & 63, q->rd.counting ? " counting" : "",
		q->rd.narrow ? " narrow" : "");
}

static void question_fini(struct question *q)
{
	for (size_t i = 0; i < 4; i++) {
		buf_fini(&q->texts[i]);
		regex_free(q->regexes[i]);
	}
	buf_fini(&q->told);
	free(q->rd.seen);
}

static bool asked_for(struct question *q, const struct record_model *r)
{
	struct str body = str_make(r->body, r->body_n);
	const struct scan *s = &q->scan;

	return r->tenant == q->tenant && r->timestamp >= s->from_ns && r->timestamp < s->to_ns &&
	       r->seq > s->after_seq && (s->until_seq == 0 || r->seq <= s->until_seq) &&
	       (q->source < 0 || r->source == q->source) && q->rd.streams >> r->stream & 1 &&
	       (!q->rd.narrow || r->seq % q->rd.narrow == 0) &&
	       (s->contains.n == 0 || str_find(body, s->contains) >= 0) &&
	       line_filters_test(s->filters, s->n_filters, body) == 1;
}

/* The answer against what was expected of each record. */
static void check_answer(struct question *q, const uint8_t *expect)
{
	struct model *m = q->rd.m;
	uint64_t rows = 0, bytes = 0;
	bool sure = true;

	for (size_t i = 0; i < q->rd.n; i++) {
		const struct record_model *r = &m->r[i];
		unsigned long long seq = r->seq;
		bool in = asked_for(q, r);

		if (in && expect[i] == MAY)
			sure = false;
		if (in && expect[i] == MUST) {
			rows++;
			bytes += r->body_n;
		}
		if (q->rd.counting)
			continue;
		if (q->rd.seen[i] && !in)
			broke(m, "record %llu was not asked for", seq);
		else if (q->rd.seen[i] && expect[i] == NEVER)
			broke(m, "record %llu is hidden, and shown", seq);
		else if (!q->rd.seen[i] && in && expect[i] == MUST)
			broke(m, "record %llu is missing: \"%.*s\"", seq,
				(int)(r->body_n < 200 ? r->body_n : 200), r->body);
	}
	if (q->rd.counting && sure && (rows != q->rd.rows || bytes != q->rd.bytes))
		broke(m, "counted %llu records of %llu bytes, not %llu of %llu",
			(unsigned long long)q->rd.rows, (unsigned long long)q->rd.bytes,
			(unsigned long long)rows, (unsigned long long)bytes);
	if (q->rd.warnings > 0)
		broke(m, "a warning: %s", q->rd.warning);
}

static void check_scan(struct model *m, struct snapshot *sn, size_t n, const uint8_t *expect,
	const uint8_t *expect_hidden, bool everything)
{
	struct question q;
	struct error e = {0};
	int r;

	ask(m, &q, everything);
	q.rd.columns = q.scan.columns;
	q.rd.n = n;
	q.rd.seen = xcalloc(n + 1, 1);
	q.scan.ctx = &q.rd;
	if ((r = snapshot_scan(sn, &q.scan, &e)) != 0)
		broke(m, "scan: %s", e.text);
	else
		check_answer(&q, q.hidden_too ? expect_hidden : expect);
	if (m->broken && q.told.n > 0) {
		note(m, "tenant %s%.*s", tenants[q.tenant], (int)q.told.n, q.told.p);
		buf_clear(&q.told);
	}
	question_fini(&q);
}

static void on_stream(void *ctx, struct str labels)
{
	struct read *rd = ctx;
	int i = stream_of(rd->m, labels);

	if (i < 0)
		broke(rd->m, "a stream that is not known");
	else
		rd->streams |= 1u << i;
}

static void check_streams(struct model *m, struct snapshot *sn, size_t n, const uint8_t *expect)
{
	struct read rd = {.m = m};
	int64_t from = INT64_MIN, to = INT64_MAX;
	int tenant = (int)below(m, TENANTS);
	struct error e;

	if (chance(m, 2)) {
		from = some_time(m);
		to = some_time(m);
	}
	if (snapshot_streams(sn, str_c(tenants[tenant]), from, to, on_stream, &rd, &e) < 0)
		broke(m, "streams: %s", e.text);
	for (size_t i = 0; i < n; i++) {
		const struct record_model *r = &m->r[i];

		if (expect[i] == MUST && r->tenant == tenant && r->timestamp >= from &&
			r->timestamp < to && !(rd.streams >> r->stream & 1))
			broke(m, "stream %d is missing", r->stream);
	}
}

static int on_cursor(void *ctx, const struct rows *rows)
{
	struct read *rd = ctx;
	size_t n = rd->takes > 0 && rd->takes < rows->n ? rd->takes : rows->n;

	for (size_t i = 0; i < n; i++) {
		uint32_t at = rows->pick[i];

		if (rows->seq[at] <= rd->last_seq)
			broke(rd->m, "a cursor gives record %llu behind %llu",
				(unsigned long long)rows->seq[at],
				(unsigned long long)rd->last_seq);
		rd->last_seq = rows->seq[at];
		check_row(rd, rows, at);
	}
	return n < rows->n ? (int)n : 0;
}

/* All that comes behind a random sequence, in random portions. */
static void check_cursor(struct model *m)
{
	uint8_t *expect = expectations(m, false);
	struct read rd = {.m = m,
		.n = m->n,
		.seen = xcalloc(m->n + 1, 1),
		.columns = SCAN_BODY | SCAN_META | SCAN_SOURCE,
		.takes = below(m, 4)};
	int tenant = (int)below(m, TENANTS), source = chance(m, 3) ? (int)below(m, SOURCES) : -1, r;
	struct cursor c = {.store = m->rig.s,
		.tenant = str_c(tenants[tenant]),
		.source = source < 0 ? STR_NONE : str_c(source_names[source]),
		.after_seq = m->n > 0 ? below(m, m->r[m->n - 1].seq + 1) : 0};
	uint64_t after = c.after_seq;
	size_t rows = 1 + below(m, 50);
	struct error e;

	rd.last_seq = after;
	while ((r = cursor_next(&c, rows, on_cursor, &rd, &e)) > 0)
		;
	if (r < 0)
		broke(m, "cursor: %s", e.text);
	for (size_t i = 0; i < m->n; i++) {
		const struct record_model *x = &m->r[i];
		bool in = x->tenant == tenant && x->seq > after &&
			  (source < 0 || x->source == source);

		if (rd.seen[i] && !in)
			broke(m, "a cursor gives record %llu", (unsigned long long)x->seq);
		if (rd.seen[i] && expect[i] == NEVER)
			broke(m, "a cursor shows hidden record %llu", (unsigned long long)x->seq);
		if (!rd.seen[i] && in && expect[i] == MUST)
			broke(m, "a cursor leaves record %llu out", (unsigned long long)x->seq);
	}
	if (m->broken)
		note(m, "cursor of %s behind %llu, source %d, by %zu", tenants[tenant],
			(unsigned long long)after, source, rows);
	free(expect);
	free(rd.seen);
}

/* Everything, and some questions. */
static void check_all(struct model *m, int questions)
{
	struct snapshot *sn = snapshot_take(m->rig.s);
	uint8_t *expect = expectations(m, false), *hidden = expectations(m, true);

	for (int i = 0; i < TENANTS; i++)
		check_scan(m, sn, m->n, expect, hidden, true);
	for (int i = 0; i < questions && !m->broken; i++)
		check_scan(m, sn, m->n, expect, hidden, false);
	check_streams(m, sn, m->n, expect);
	snapshot_free(sn);
	free(expect);
	free(hidden);
	if (!m->broken && chance(m, 4))
		check_cursor(m);
}

/* Held snapshots */

static void held_free(struct held *h)
{
	snapshot_free(h->sn);
	free(h->expect);
	free(h->expect_hidden);
	*h = (struct held){0};
}

static void hold(struct model *m)
{
	struct held *h = &m->held[below(m, HELD)];

	/* It holds the batches it found in the head, which with little memory would stay full. */
	if (m->big && m->rig.memory.limit < 32 << 20)
		return;
	note(m, "hold a snapshot");
	held_free(h);
	h->sn = snapshot_take(m->rig.s);
	h->n = m->n;
	h->expect = expectations(m, false);
	h->expect_hidden = expectations(m, true);
}

static void check_held(struct model *m)
{
	for (size_t i = 0; i < HELD && !m->broken; i++) {
		struct held *h = &m->held[i];

		if (!h->sn)
			continue;
		check_scan(m, h->sn, h->n, h->expect, h->expect_hidden, true);
		check_scan(m, h->sn, h->n, h->expect, h->expect_hidden, false);
		if (m->broken)
			note(m, "in a snapshot of %zu records", h->n);
	}
}

/* Submitting */

static void add_record(struct batch_model *b, const struct record_model *r)
{
	b->r = xrealloc(b->r, (b->n + 1) * sizeof *b->r);
	b->r[b->n++] = *r;
}

static void record_fini(struct record_model *r)
{
	free(r->body);
	free(r->meta);
}

static void batch_model_fini(struct batch_model *b)
{
	for (size_t i = 0; i < b->n; i++)
		record_fini(&b->r[i]);
	free(b->r);
	*b = (struct batch_model){0};
}

static void random_meta(struct model *m, struct record_model *r)
{
	struct labels_builder lb = {.names_free = true};
	struct buf out = {0}, value = {0};

	if (chance(m, 3)) {
		for (uint64_t i = 0, n = 1 + below(m, 3); i < n; i++) {
			buf_clear(&value);
			buf_printf(&value, "v%llu", (unsigned long long)below(m, 50));
			if (chance(m, 10))
				rig_put_bytes(&m->rng, &value, 5);
			labels_builder_set(&lb,
				i == 0   ? STR("trace id")
				: i == 1 ? STR("span")
					 : STR("\xff"),
				buf_view(&value), NULL);
		}
		labels_builder_write(&lb, &out);
	}
	r->meta = out.p;
	r->meta_n = out.n;
	buf_fini(&value);
	labels_builder_fini(&lb);
}

static void random_record(struct model *m, struct record_model *r, int tenant)
{
	struct buf line = {0};

	*r = (struct record_model){.tenant = tenant,
		.stream = (int)below(m, STREAMS),
		.source = -1,
		.severity = (uint8_t)below(m, 25),
		.flags = chance(m, 4) ? (uint8_t)below(m, 16) : RECORD_LEVEL_DETECTED,
		.timestamp = rig_time(&m->rng, now(m))};
	rig_line_text(&m->rng, &line, chance(m, 4) ? rig_time(&m->rng, now(m)) : r->timestamp);
	if (m->big && chance(m, 10))
		rig_put_bytes(&m->rng, &line, below(m, 60000));
	r->body = line.p;
	r->body_n = line.n;
	random_meta(m, r);
}

/* A record that was committed once more, the same or with another line. */
static bool resend_number(struct model *m, struct record_model *r, int tenant, int source)
{
	const struct record_model *old = NULL;

	for (int tries = 0; tries < 8 && m->n > 0 && !old; tries++) {
		const struct record_model *x = &m->r[below(m, m->n)];

		if (x->tenant == tenant && x->source == source && expectation(m, x, false) == MUST)
			old = x;
	}
	if (!old)
		return false;
	/* The newest version counts, and it must be known whether it is there. */
	for (size_t i = 0; i < m->n; i++) {
		const struct record_model *x = &m->r[i];

		if (x->tenant != tenant || x->source != source || x->position != old->position)
			continue;
		if (expectation(m, x, false) != MUST)
			return false;
		old = x;
	}
	r->position = old->position;
	if (chance(m, 3))
		return true; /* another line of that number */
	free(r->body);
	r->body = xmalloc(old->body_n + 1);
	if (old->body_n > 0)
		memcpy(r->body, old->body, old->body_n);
	r->body_n = old->body_n;
	return true;
}

static bool has_number(const struct batch_model *b, uint64_t position)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->r[i].source == 2 && b->r[i].position == position)
			return true;
	return false;
}

/* Records of one source, or of none. */
static void random_batch(struct model *m, struct batch_model *b, const uint64_t next_mark[2])
{
	int source = chance(m, 2) ? -1 : (int)below(m, SOURCES);
	size_t n = 1 + below(m, m->big ? 120 : 25);
	uint64_t at = 0;

	*b = (struct batch_model){.tenant = (int)below(m, TENANTS)};
	if (source >= 0 && source < 2) {
		at = next_mark[b->tenant * 2 + source];
		if (chance(m, 4))
			at -= below(m, at + 1) % 30; /* a resend from further back */
		else if (chance(m, 12))
			at += 1 + below(m, 5); /* a gap */
		b->from = at;
	}
	for (size_t i = 0; i < n; i++) {
		struct record_model r;

		random_record(m, &r, b->tenant);
		r.source = source;
		if (source == 2) {
			r.position = ++m->next_number[b->tenant];
			if (m->n_pending == 0 && chance(m, 4) &&
				!resend_number(m, &r, b->tenant, source))
				r.position = m->next_number[b->tenant];
			if (has_number(b, r.position)) {
				record_fini(&r);
				continue;
			}
		} else if (source >= 0) {
			at += 1 + below(m, 3);
			r.position = at;
		}
		r.too_old = too_old(m, r.stream, r.timestamp);
		add_record(b, &r);
	}
}

static struct batch *make_batch(struct model *m, const struct batch_model *b)
{
	struct batch_builder *bb =
		batch_builder_new(str_c(tenants[b->tenant]), STR("test"), now(m));
	int source = b->r[0].source;
	struct batch_source bs = {.from = b->from, .to = b->r[b->n - 1].position};
	uint16_t index = 0;
	struct batch *out;

	if (source >= 0) {
		bs.id = str_c(source_names[source]);
		bs.kind = source_kinds[source];
		bs.token = STR("a token");
		index = batch_builder_source(bb, &bs);
	}
	for (size_t i = 0; i < b->n; i++) {
		const struct record_model *x = &b->r[i];
		struct record r = {.timestamp = x->timestamp,
			.body = str_make(x->body, x->body_n),
			.meta = str_make(x->meta, x->meta_n),
			.position = x->position,
			.stream = batch_builder_stream(bb, buf_view(&m->labels[x->stream])),
			.source = index,
			.severity = x->severity,
			.flags = x->flags};

		assert_int_equal(batch_builder_add(bb, &r, NULL), 0);
	}
	out = batch_builder_finish(bb, 0);
	batch_builder_free(bb);
	return out;
}

/* A mark that the batch jumps over. */
static bool leaves_gap(const struct model *m, const struct batch_model *b)
{
	int source = b->r[0].source;

	return source >= 0 && source < 2 && m->known[b->tenant][source] &&
	       b->from > m->marks[b->tenant][source];
}

/* Is the record known already, as the store is now? */
static bool is_duplicate(const struct model *m, const struct record_model *r)
{
	if (r->source >= 0 && r->source < 2)
		return r->position <= m->marks[r->tenant][r->source];
	if (r->source != 2)
		return false;
	for (size_t i = m->n; i-- > 0;) {
		const struct record_model *x = &m->r[i];

		if (x->tenant == r->tenant && x->source == 2 && x->position == r->position)
			return x->body_n == r->body_n &&
			       (r->body_n == 0 || memcmp(x->body, r->body, r->body_n) == 0);
	}
	return false;
}

/* Take over what of the batch is committed, beginning with first_seq; the others are freed. */
static size_t commit(struct model *m, struct batch_model *b, uint64_t first_seq)
{
	size_t n = 0;

	if (b->r[0].source >= 0 && b->r[0].source < 2)
		m->known[b->tenant][b->r[0].source] = true;
	for (size_t i = 0; i < b->n; i++)
		b->r[i].seq = is_duplicate(m, &b->r[i]) || b->r[i].too_old ? 0 : first_seq + n++;
	for (size_t i = 0; i < b->n; i++) {
		struct record_model *r = &b->r[i];

		if (r->source >= 0 && r->source < 2 && r->position > m->marks[r->tenant][r->source])
			m->marks[r->tenant][r->source] = r->position;
		if (r->seq == 0) {
			record_fini(r);
			continue;
		}
		if (m->n == m->cap) {
			m->cap = m->cap ? m->cap * 2 : 256;
			m->r = xrealloc(m->r, m->cap * sizeof *m->r);
		}
		m->r[m->n++] = *r;
	}
	free(b->r);
	*b = (struct batch_model){0};
	return n;
}

static void forget_pending(struct model *m)
{
	for (size_t i = 0; i < m->n_pending; i++)
		batch_model_fini(&m->pending[i]);
	m->n_pending = 0;
	memcpy(m->mark_max, m->marks, sizeof m->marks);
}

static void keep_pending(struct model *m, struct batch_model *b)
{
	m->pending = xrealloc(m->pending, (m->n_pending + 1) * sizeof *m->pending);
	m->pending[m->n_pending++] = *b;
	for (size_t i = 0; i < b->n; i++) {
		const struct record_model *r = &b->r[i];

		if (r->source >= 0 && r->source < 2 &&
			r->position > m->mark_max[r->tenant][r->source])
			m->mark_max[r->tenant][r->source] = r->position;
	}
	*b = (struct batch_model){0};
}

static void check_result(struct model *m, struct batch_model *b, const struct sink_result *r)
{
	size_t sent = b->n, committed;
	int source = b->r[0].source;

	if (leaves_gap(m, b) && r->code == ERR_GAP) {
		if (r->mark != m->marks[b->tenant][source] && !m->faults)
			broke(m, "a gap, and the mark is %llu, not %llu",
				(unsigned long long)r->mark,
				(unsigned long long)m->marks[b->tenant][source]);
		batch_model_fini(b);
		return;
	}
	if (r->code < 0) {
		note(m, "  refused: %s", r->error.text);
		if (!m->faults && r->code != ERR_GAP)
			broke(m, "refused: %s", r->error.text);
		keep_pending(m, b);
		return;
	}
	if (leaves_gap(m, b))
		broke(m, "a gap was taken");
	/* What was refused before is void now. */
	forget_pending(m);
	if (r->n_committed > 0 && m->n > 0 && r->first_seq <= m->r[m->n - 1].seq)
		broke(m, "sequence %llu was given twice", (unsigned long long)r->first_seq);
	committed = commit(m, b, r->first_seq);
	if (committed != r->n_committed || r->n_committed + r->n_duplicates + r->n_too_old != sent)
		broke(m,
			"of %zu records %llu were committed, not %zu; %llu duplicates, %llu too old",
			sent, (unsigned long long)r->n_committed, committed,
			(unsigned long long)r->n_duplicates, (unsigned long long)r->n_too_old);
	memcpy(m->mark_max, m->marks, sizeof m->marks);
}

static void op_submit(struct model *m)
{
	struct batch_model b[GROUP];
	struct rig_done done[GROUP];
	uint64_t next_mark[TENANTS * 2];
	size_t n = 1 + below(m, GROUP);

	for (int i = 0; i < TENANTS * 2; i++)
		next_mark[i] = m->marks[i / 2][i % 2];
	for (size_t i = 0; i < n; i++) {
		int source;

		random_batch(m, &b[i], next_mark);
		source = b[i].r[0].source;
		if (source >= 0 && source < 2) {
			uint64_t *mark = &next_mark[b[i].tenant * 2 + source];

			if (b[i].from <= *mark && b[i].r[b[i].n - 1].position > *mark)
				*mark = b[i].r[b[i].n - 1].position;
		}
		note(m, "submit %zu records of tenant %s, source %d, from %llu", b[i].n,
			tenants[b[i].tenant], source, (unsigned long long)b[i].from);
	}
	for (size_t i = 0; i < n; i++)
		rig_submit_begin(m->rig.s, make_batch(m, &b[i]), &done[i],
			m->faults ? 20 * NS_PER_MS : 20 * NS_PER_SEC);
	for (size_t i = 0; i < n; i++) {
		struct sink_result r = rig_submit_end(&done[i]);

		check_result(m, &b[i], &r);
	}
}

/* Other operations */

static void op_flush(struct model *m)
{
	struct error e = {0};

	note(m, "flush");
	if (store_flush(m->rig.s, &e) < 0 && !m->faults)
		broke(m, "flush: %s", e.text);
}

static void op_settle(struct model *m)
{
	struct error e = {0};
	int r;

	note(m, "settle");
	r = store_settle(m->rig.s, &e);
	/* The smallest ceiling has no room for some merges: parts stay as they are. */
	if ((r == ERR_LIMIT || r == ERR_BUSY) && m->rig.memory.limit <= 4 << 20)
		r = 0;
	if (r < 0 && !m->faults)
		broke(m, "settle: %s", e.text);
}

static void op_retain(struct model *m)
{
	static const char *const matches[] = {"web", "db", "nobody"};
	struct error e;

	m->retention = (struct retention){.rules = m->rules};
	if (chance(m, 2))
		m->retention.age_ns = (int64_t)(1 + below(m, 100)) * RIG_DAY / 4;
	for (size_t i = 0; i < 2 && chance(m, 2); i++) {
		m->rules[i] = (struct retention_rule){.match = str_c(matches[below(m, 3)]),
			.age_ns = (int64_t)(1 + below(m, 5000)) * RIG_DAY / 4};
		m->retention.n_rules++;
	}
	if (chance(m, 3))
		m->retention.delete_wait_ns = 3600 * NS_PER_SEC;
	note(m, "retain %lld s, %zu rules", (long long)(m->retention.age_ns / NS_PER_SEC),
		m->retention.n_rules);
	if (store_retain(m->rig.s, &m->retention, &e) < 0)
		broke(m, "retain: %s", e.text);
	mark_old(m);
}

static void op_delete(struct model *m)
{
	static const char *const needles[] = {"", "", " needle", " needle1", " GET", " e"};
	struct deletion_model d = {
		.tenant = (int)below(m, TENANTS), .from_ns = INT64_MIN, .to_ns = INT64_MAX};
	struct deletion ask;
	struct error e;
	int r;

	snprintf(d.selector, sizeof d.selector, "%s%s", apps[below(m, STREAMS)],
		needles[below(m, sizeof needles / sizeof *needles)]);
	if (chance(m, 2)) {
		d.from_ns = some_time(m);
		d.to_ns = some_time(m);
		if (d.from_ns >= d.to_ns)
			return;
	}
	d.until_seq = store_last_seq(m->rig.s);
	ask = (struct deletion){.tenant = str_c(tenants[d.tenant]),
		.selector = str_c(d.selector),
		.from_ns = d.from_ns,
		.to_ns = d.to_ns};
	r = store_delete(m->rig.s, &ask, &d.id, &e);
	note(m, "delete %llu of %s: %s [%lld, %lld) until %llu", (unsigned long long)d.id,
		tenants[d.tenant], d.selector, (long long)d.from_ns, (long long)d.to_ns,
		(unsigned long long)d.until_seq);
	if (r < 0 && !m->faults)
		broke(m, "delete: %s", e.text);
	if (r < 0)
		d.id = 0;
	m->deletions = xrealloc(m->deletions, (m->n_deletions + 1) * sizeof *m->deletions);
	m->deletions[m->n_deletions++] = d;
}

static void drop_deletion(struct model *m, size_t i, bool maybe_gone)
{
	for (size_t k = 0; k < m->n && maybe_gone; k++)
		if (deleted(&m->deletions[i], &m->r[k]))
			m->r[k].maybe_gone = true;
	m->deletions[i] = m->deletions[--m->n_deletions];
}

static void op_cancel(struct model *m)
{
	struct deletion_model *d;
	struct error e;
	size_t i;
	int r;

	if (m->n_deletions == 0)
		return;
	i = below(m, m->n_deletions);
	d = &m->deletions[i];
	if (d->id == 0)
		return;
	r = store_delete_cancel(m->rig.s, str_c(tenants[d->tenant]), d->id, &e);
	note(m, "take deletion %llu back: %s", (unsigned long long)d->id, r < 0 ? e.text : "done");
	if (r == 0)
		drop_deletion(m, i, false);
	else if (r == ERR_NOT_FOUND || (r != ERR_BUSY && !m->faults))
		broke(m, "taking back: %s", e.text);
	else if (r != ERR_BUSY)
		d->unsure = true;
}

static void op_advance(struct model *m)
{
	/* Less than a week in all: a store that is opened does not believe a clock that went
	 * further than that. */
	int64_t by = (2 + (int64_t)below(m, 6 * 3600)) * NS_PER_SEC;

	if (m->advanced_ns + by > 5 * RIG_DAY)
		return;
	m->advanced_ns += by;
	clock_fake_advance(m->rig.clock, by);
	note(m, "%lld s pass", (long long)(by / NS_PER_SEC));
	mark_old(m);
}

static void release_held(struct model *m)
{
	for (size_t i = 0; i < HELD; i++)
		held_free(&m->held[i]);
}

/* After a restart: which of the deletions that are not known are in force? */
struct listing {
	struct model *m;
	uint64_t ids[256];
	size_t n;
};

static void on_deletion(void *ctx, const struct deletion *d)
{
	struct listing *l = ctx;
	struct model *m = l->m;

	if (l->n < 256)
		l->ids[l->n++] = d->id;
	for (size_t i = 0; i < m->n_deletions; i++)
		if (m->deletions[i].id == d->id)
			return;
	for (size_t i = 0; i < m->n_deletions; i++) {
		struct deletion_model *x = &m->deletions[i];

		if (x->id == 0 && str_eq_c(d->tenant, tenants[x->tenant]) &&
			str_eq_c(d->selector, x->selector) && d->from_ns == x->from_ns &&
			d->to_ns == x->to_ns && d->until_seq == x->until_seq) {
			x->id = d->id;
			return;
		}
	}
	broke(m, "deletion %llu was not asked for", (unsigned long long)d->id);
}

static void check_deletions(struct model *m)
{
	struct listing l = {.m = m};

	store_deletions(m->rig.s, STR_NONE, on_deletion, &l);
	for (size_t i = m->n_deletions; i-- > 0;) {
		struct deletion_model *d = &m->deletions[i];
		bool listed = false;

		for (size_t k = 0; k < l.n; k++)
			listed = listed || l.ids[k] == d->id;
		if (!listed && d->id != 0 && !d->unsure)
			broke(m, "deletion %llu is lost", (unsigned long long)d->id);
		if (!listed)
			drop_deletion(m, i, true);
		else
			d->unsure = false;
	}
}

/* Records that come back after a restart and were not acknowledged. */
struct found {
	struct model *m;
	struct record_model *r;
	size_t n;
	int tenant;
};

static int on_found(void *ctx, const struct rows *rows, struct error *e)
{
	struct found *f = ctx;

	for (size_t i = 0; i < rows->n; i++) {
		uint32_t at = rows->pick[i];
		struct record_model x = {.seq = rows->seq[at],
			.tenant = f->tenant,
			.timestamp = rows->timestamp[at],
			.position = rows->position[at],
			.body = str_dup(rows->body[at]),
			.body_n = rows->body[at].n,
			.stream = stream_of(f->m, rows->streams[rows->stream[at]])};

		f->r = xrealloc(f->r, (f->n + 1) * sizeof *f->r);
		f->r[f->n++] = x;
	}
	return 0;
}

static int compare_found(const void *a, const void *b)
{
	const struct record_model *x = a, *y = b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static bool same_record(const struct record_model *a, const struct record_model *b)
{
	return a->tenant == b->tenant && a->timestamp == b->timestamp &&
	       a->position == b->position && a->stream == b->stream && a->body_n == b->body_n &&
	       (a->body_n == 0 || memcmp(a->body, b->body, a->body_n) == 0);
}

/* How many of the found records from `at` on this batch explains; -1: it is not there. */
static int explains(struct model *m, const struct batch_model *b, const struct found *f, size_t at)
{
	int n = 0;

	for (size_t i = 0; i < b->n; i++) {
		if (is_duplicate(m, &b->r[i]) || b->r[i].too_old)
			continue;
		if (at + (size_t)n >= f->n || !same_record(&f->r[at + (size_t)n], &b->r[i]) ||
			(n > 0 && f->r[at + (size_t)n].seq != f->r[at].seq + (uint64_t)n))
			return -1;
		n++;
	}
	return n;
}

/* The batches whose fate was not known: each is there as a whole or not at all. */
static void resolve(struct model *m)
{
	struct found f = {.m = m};
	struct snapshot *sn = snapshot_take(m->rig.s);
	uint64_t acked[TENANTS][2];
	size_t at = 0;
	struct error e;

	memcpy(acked, m->marks, sizeof acked);
	for (f.tenant = 0; f.tenant < TENANTS; f.tenant++) {
		struct scan scan = {.tenant = str_c(tenants[f.tenant]),
			.from_ns = INT64_MIN,
			.to_ns = INT64_MAX,
			.after_seq = m->n > 0 ? m->r[m->n - 1].seq : 0,
			.columns = SCAN_BODY | SCAN_SOURCE,
			.hidden_too = true,
			.ctx = &f,
			.rows = on_found};

		if (snapshot_scan(sn, &scan, &e) < 0)
			broke(m, "scan: %s", e.text);
	}
	snapshot_free(sn);
	if (f.n > 1)
		qsort(f.r, f.n, sizeof *f.r, compare_found);
	for (size_t i = 0; i < m->n_pending; i++) {
		struct batch_model *b = &m->pending[i];
		int n;

		if (!leaves_gap(m, b) && (n = explains(m, b, &f, at)) > 0) {
			commit(m, b, f.r[at].seq);
			at += (size_t)n;
		}
	}
	if (at < f.n)
		broke(m, "record %llu was not sent, or only a part of its batch is there",
			(unsigned long long)f.r[at].seq);
	for (size_t i = 0; i < f.n; i++)
		record_fini(&f.r[i]);
	free(f.r);
	for (int i = 0; i < TENANTS * 2; i++) {
		uint64_t mark = 0, *known = &m->marks[i / 2][i % 2];

		m->known[i / 2][i % 2] =
			store_sink(m->rig.s)->position(store_sink(m->rig.s), str_c(tenants[i / 2]),
				str_c(source_names[i % 2]), NULL, &mark) == 0;
		if (mark < *known || mark > m->mark_max[i / 2][i % 2])
			broke(m, "the mark of %s is %llu, not %llu", source_names[i % 2],
				(unsigned long long)mark, (unsigned long long)*known);
		*known = mark;
	}
	forget_pending(m);
}

static void reopen(struct model *m)
{
	struct error e = {0};

	m->rig.o.retention = &m->retention;
	m->rig.s = NULL;
	if (store_open(&m->rig.s, &m->rig.o, &e) < 0) {
		broke(m, "open: %s", e.text);
		return;
	}
	check_deletions(m);
	if (store_recovery(m->rig.s)->damaged > 0 && !m->rig.o.ack_early)
		broke(m, "%llu damaged places",
			(unsigned long long)store_recovery(m->rig.s)->damaged);
	mark_old(m);
	resolve(m);
}

static void op_reopen(struct model *m)
{
	note(m, "close and open");
	release_held(m);
	store_close(m->rig.s);
	reopen(m);
}

/* The records of deletions that are about to be carried out may be gone when the power comes back
 * and the deletion, which was being taken back, is not. */
static void op_crash(struct model *m)
{
	bool keep = chance(m, 2), at_once = chance(m, 3);
	uint64_t after = 1 + below(m, 40);

	note(m, "power cut %s, %s", at_once ? "now" : "soon", keep ? "torn" : "clean");
	if (!at_once) {
		fake_crash_at(m->rig.fs, after);
		m->faults = true;
		for (uint64_t i = 0, n = 1 + below(m, 3); i < n && !m->broken; i++) {
			op_submit(m);
			if (chance(m, 4))
				op_delete(m);
			if (chance(m, 4))
				op_cancel(m);
			if (chance(m, 3))
				op_flush(m);
			if (chance(m, 3))
				op_settle(m);
		}
	} else {
		fake_crash_at(m->rig.fs, 1);
	}
	release_held(m);
	store_close(m->rig.s);
	fake_crash(m->rig.fs, keep);
	m->faults = false;
	if (!m->broken)
		reopen(m);
	else
		m->rig.s = NULL;
}

/* The disk is full for a while. */
static void op_full(struct model *m)
{
	uint64_t space = below(m, 40000);

	note(m, "a disk with room for %llu bytes", (unsigned long long)space);
	fake_set_space(m->rig.fs, space);
	m->faults = true;
	for (uint64_t i = 0, n = 1 + below(m, 3); i < n && !m->broken; i++) {
		op_submit(m);
		if (chance(m, 3))
			op_flush(m);
		if (chance(m, 3))
			op_settle(m);
		if (chance(m, 6))
			op_delete(m);
	}
	fake_set_space(m->rig.fs, UINT64_MAX);
	/* It accepts again by itself within a moment; what comes before may be refused. */
	for (int i = 0; i < 5000 && store_healthy(m->rig.s, NULL) < 0; i++) {
		struct timespec ts = {.tv_nsec = 1000000};

		nanosleep(&ts, NULL);
	}
	if (store_healthy(m->rig.s, NULL) < 0)
		broke(m, "does not accept again");
	m->faults = false;
}

/* Runs */

static void op_random(struct model *m)
{
	switch (below(m, 24)) {
	case 0:
	case 1:
	case 2: op_flush(m); break;
	case 3:
	case 4: op_settle(m); break;
	case 5: op_retain(m); break;
	case 6: op_delete(m); break;
	case 7: op_cancel(m); break;
	case 8: op_advance(m); break;
	case 9: op_reopen(m); break;
	case 10:
	case 11: op_crash(m); break;
	case 12:
	case 13: hold(m); break;
	case 14:
		if (chance(m, 4))
			op_full(m);
		break;
	default: op_submit(m);
	}
}

static struct model *running; /* for the alarm */

static void on_hang(int number)
{
	const char *text = running ? buf_cstr(&running->ops) : "";

	/* Not safe in a signal handler, and better than no word. */
	fprintf(stderr, "hangs: seed %llu%s\n", running ? (unsigned long long)running->seed : 0,
		text);
	_exit(1);
}

enum mutant { NO_MUTANT, ACK_EARLY, DEDUPE_OFF };

/* One run: true when the store did as the model did.  `quiet`: say nothing of it. */
static bool run(uint64_t seed, enum mutant mutant, bool quiet)
{
	struct model m = {.seed = seed, .rng = seed};
	struct error e;
	uint64_t n;
	bool ok;

	running = &m;
	alarm(HANG_SECONDS);
	m.big = chance(&m, 8);
	rig_init(&m.rig, seed, chance(&m, 3) ? 4 << 20 : m.big ? 256 << 20 : 32 << 20);
	m.rig.o.ack_early = mutant == ACK_EARLY;
	m.rig.o.dedupe_off = mutant == DEDUPE_OFF;
	m.rig.o.merge_parts = 2 + below(&m, 3);
	m.rig.o.merge_off = chance(&m, 10);
	m.rig.o.part_bytes = chance(&m, 2) ? 64 << 10 : 1 << 20;
	m.rig.o.segment_bytes = 4096 << below(&m, 6);
	for (int i = 0; i < STREAMS; i++)
		rig_labels(&m.labels[i], apps[i], hosts[i]);
	if (store_open(&m.rig.s, &m.rig.o, &e) < 0)
		broke(&m, "open: %s", e.text);
	n = 4 + below(&m, 24);
	for (uint64_t i = 0; i < n && !m.broken; i++) {
		op_random(&m);
		if (!m.broken && chance(&m, 2))
			check_all(&m, 3);
		if (!m.broken && chance(&m, 4))
			check_held(&m);
	}
	if (!m.broken) {
		check_held(&m);
		op_reopen(&m);
	}
	if (!m.broken)
		check_all(&m, 5);
	release_held(&m);
	forget_pending(&m);
	if (rig_fini(&m.rig) != 0)
		broke(&m, "memory is still charged");
	alarm(0);
	running = NULL;
	ok = !m.broken;
	if (!ok && !quiet)
		fprintf(stderr, "seed %llu:%s\n", (unsigned long long)seed, buf_cstr(&m.ops));
	for (size_t i = 0; i < m.n; i++)
		record_fini(&m.r[i]);
	for (int i = 0; i < STREAMS; i++)
		buf_fini(&m.labels[i]);
	buf_fini(&m.ops);
	free(m.r);
	free(m.pending);
	free(m.deletions);
	return ok;
}

static double seconds(void)
{
	return (double)clock_mono_ns(clock_real()) / (double)NS_PER_SEC;
}

static void the_store_does_as_the_model_does(void **state)
{
	double end = seconds() + RUN_SECONDS;
	uint64_t seed = 1;

	for (; seconds() < end; seed++)
		assert_true(run(seed, NO_MUTANT, false));
	print_message("%llu runs\n", (unsigned long long)seed - 1);
}

/* The positive control: a store that breaks its word must be found out. */
static void mutants_are_found(void **state)
{
	static const enum mutant mutants[] = {ACK_EARLY, DEDUPE_OFF};

	for (size_t i = 0; i < 2; i++) {
		uint64_t seed = 1;

		while (seed < 500 && run(seed, mutants[i], true))
			seed++;
		print_message("mutant %zu is found by run %llu\n", i, (unsigned long long)seed);
		assert_true(seed < 500);
	}
}

static int run_for(uint64_t seed, double for_seconds)
{
	double end = seconds() + for_seconds;
	uint64_t runs = 0;

	do {
		if (!run(seed + runs, NO_MUTANT, false))
			return 1;
		runs++;
	} while (seconds() < end);
	printf("%llu runs of the model from seed %llu\n", (unsigned long long)runs,
		(unsigned long long)seed);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_store_does_as_the_model_does),
		cmocka_unit_test(mutants_are_found),
	};

	signal(SIGALRM, on_hang);
	log_set_level(LOG_ERROR);
	if (argc > 1)
		return run_for(strtoull(argv[1], NULL, 10), argc > 2 ? strtod(argv[2], NULL) : 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
