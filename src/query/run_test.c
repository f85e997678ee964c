/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs against a model: records and queries drawn by seed, answered by the
 * engine and by the plainest code that could be right.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <regex.h>
#include <stdio.h>

#include "query/group.h"
#include "query/quote.h"
#include "query/source_test.h"
#include "record/severity.h"

enum { RECORDS = 300, STREAMS = 8, METAS = 6 };

#define SECOND NS_PER_SEC

static const char *const stream_texts[STREAMS] = {
	"{app=\"a\"}",
	"{app=\"a\", host=\"h1\"}",
	"{app=\"a\", host=\"h2\"}",
	"{app=\"b\", host=\"h1\"}",
	"{app=\"bc\", host=\"h3\", zone=\"z\"}",
	"{host=\"h1\"}",
	"{detected_level=\"own\", app=\"c\"}",
	"{}",
};

static const char *const meta_texts[METAS] = {
	"",
	"",
	"{trace=\"1\"}",
	"{trace=\"2\", user=\"u\"}",
	"{app=\"meta\"}",
	"{detected_level=\"sent\", trace=\"1\"}",
};

static const char *const words[] = {"error", "warn", "GET /x", "code=7", "", "ERROR", "x.y"};

struct fixture {
	struct test_source t;
	struct test_record records[RECORDS];
	struct str streams[STREAMS], metas[METAS];
	uint64_t seed;
	bool strict; /* selectors speak of streams alone */
};

static uint32_t draw(struct fixture *f, uint32_t below)
{
	f->seed = f->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(f->seed >> 33) % below;
}

static struct fixture *fixture_new(uint64_t seed)
{
	struct fixture *f = xcalloc(1, sizeof *f);

	f->seed = seed;
	f->t = test_source_make();
	for (size_t i = 0; i < STREAMS; i++)
		f->streams[i] = test_labels(stream_texts[i]);
	for (size_t i = 0; i < METAS; i++)
		f->metas[i] = *meta_texts[i] ? test_labels(meta_texts[i]) : STR_NONE;
	f->t.records = f->records;
	f->t.n = RECORDS;
	f->t.streams = f->streams;
	f->t.n_streams = STREAMS;
	f->t.unit_rows = 1 + draw(f, 60);
	for (size_t i = 0; i < RECORDS; i++) {
		struct buf line = {0};
		for (uint32_t n = draw(f, 4); n; n--)
			buf_printf(&line, "%s ", words[draw(f, 7)]);
		f->records[i] = (struct test_record){
			/* Mostly rising, with ties and stragglers, and some a hair beside the
			 * edges of windows.  The order of sequences is another one. */
			.timestamp = ((int64_t)i / 3 + draw(f, 12)) * SECOND / (1 + draw(f, 2)) +
				     (draw(f, 4) ? 0 : (int64_t)draw(f, 3) - 1),
			.seq = i * 7 % RECORDS + 1,
			.body = buf_view(&line),
			.meta = f->metas[draw(f, METAS)],
			.stream = draw(f, STREAMS),
			.severity = (uint8_t)draw(f, 25),
			.flags = draw(f, 2) ? RECORD_LEVEL_DETECTED : 0,
		};
		/* Not when the sender gave it itself. */
		if (str_find(f->records[i].meta, STR("detected_level")) >= 0)
			f->records[i].flags = 0;
	}
	return f;
}

static void fixture_free(struct fixture *f)
{
	for (size_t i = 0; i < STREAMS; i++)
		free((void *)f->streams[i].p);
	for (size_t i = 0; i < METAS; i++)
		free((void *)f->metas[i].p);
	for (size_t i = 0; i < RECORDS; i++)
		free((void *)f->records[i].body.p);
	free(f);
}

/* --- the model ------------------------------------------------------------------------ */

struct rule {
	const char *name; /* of a matcher */
	const char *op, *value;
};

struct model {
	struct rule matchers[3], filters[3];
	size_t n_matchers, n_filters;
};

static bool posix_match(const char *pattern, bool anchored, struct str s)
{
	char text[256], *subject = str_dup(s);
	regex_t re;
	bool hit;

	snprintf(text, sizeof text, anchored ? "^(%s)$" : "%s", pattern);
	assert_int_equal(regcomp(&re, text, REG_EXTENDED | REG_NOSUB), 0);
	hit = regexec(&re, subject, 0, NULL, 0) == 0;
	regfree(&re);
	free(subject);
	return hit;
}

static bool model_rule(const struct rule *rule, bool matcher, struct str s)
{
	bool negated = rule->op[0] == '!', regex = rule->op[1] == '~', hit;

	if (regex)
		hit = posix_match(rule->value, matcher, s);
	else
		hit = matcher ? str_eq_c(s, rule->value) : str_find(s, str_c(rule->value)) >= 0;
	return hit != negated;
}

static bool model_keeps(const struct fixture *f, const struct model *m, const struct test_record *x)
{
	for (size_t i = 0; i < m->n_matchers; i++) {
		struct str value = STR(""), name = str_c(m->matchers[i].name);
		if (!labels_get(f->streams[x->stream], name, &value) && !f->strict) {
			if (x->meta.n)
				labels_get(x->meta, name, &value);
			if (str_eq_c(name, "detected_level") && x->flags & RECORD_LEVEL_DETECTED)
				value = str_c(severity_level(x->severity));
		}
		if (!model_rule(&m->matchers[i], true, value))
			return false;
	}
	for (size_t i = 0; i < m->n_filters; i++)
		if (!model_rule(&m->filters[i], false, x->body))
			return false;
	return true;
}

static void model_draw(struct fixture *f, struct model *m, struct buf *text)
{
	static const char *const names[] = {
		"app", "host", "zone", "none", "trace", "detected_level"};
	static const char *const match_ops[] = {"=", "!=", "=~", "!~"};
	static const char *const values[] = {"a", "b", "h1", "", "z", "1", "error", "sent"};
	static const char *const patterns[] = {
		"a|b", "b.*", "h[12]", ".*", ".+", "", "1|2", "warn|error|s.*"};
	static const char *const filter_ops[] = {"|=", "!=", "|~", "!~"};
	static const char *const needles[] = {"error", "warn", "/x", "", "x.y", "7 "};
	static const char *const line_patterns[] = {"err|warn", "code=[0-9]", "x.y", "^GET", " $"};

	*m = (struct model){.n_matchers = draw(f, 3), .n_filters = draw(f, 3)};
	buf_char(text, '{');
	for (size_t i = 0; i < m->n_matchers; i++) {
		struct rule *r = &m->matchers[i];
		r->name = names[draw(f, 6)];
		r->op = match_ops[draw(f, 4)];
		r->value = r->op[1] == '~' ? patterns[draw(f, 8)] : values[draw(f, 8)];
		buf_printf(text, "%s%s%s\"%s\"", i ? ", " : "", r->name, r->op, r->value);
	}
	buf_char(text, '}');
	for (size_t i = 0; i < m->n_filters; i++) {
		struct rule *r = &m->filters[i];
		r->op = filter_ops[draw(f, 4)];
		r->value = r->op[1] == '~' ? line_patterns[draw(f, 5)] : needles[draw(f, 6)];
		buf_printf(text, " %s \"%s\"", r->op, r->value);
	}
}

/* Sets in `b` the pairs of canonical bytes. */
static void builder_add(struct labels_builder *b, struct str labels)
{
	struct label l;

	if (labels.n == 0)
		return;
	labels_start(&labels);
	while (labels_next(&labels, &l))
		assert_int_equal(labels_builder_set(b, l.name, l.value, NULL), 0);
}

static void builder_record(struct labels_builder *b, const struct fixture *f,
	const struct test_record *x, bool with_stream)
{
	b->names_free = true;
	if (with_stream)
		builder_add(b, f->streams[x->stream]);
	if (x->flags & RECORD_LEVEL_DETECTED)
		labels_builder_set(
			b, STR("detected_level"), str_c(severity_level(x->severity)), NULL);
	builder_add(b, x->meta);
}

static struct query *parse(const char *text)
{
	struct query *q = NULL;
	struct error e = {0};

	if (query_parse(&q, str_c(text), &e) < 0)
		fail_msg("%s: %s", text, e.text);
	return q;
}

/* --- log queries ---------------------------------------------------------------------- */

static bool model_forward;

static int model_order(const void *a, const void *b)
{
	const struct test_record *x = *(const struct test_record *const *)a;
	const struct test_record *y = *(const struct test_record *const *)b;
	int r = x->timestamp < y->timestamp ? -1 : x->timestamp > y->timestamp;

	r = r ? r : x->seq < y->seq ? -1 : x->seq > y->seq;
	return model_forward ? r : -r;
}

static void check_entry(
	const struct fixture *f, const struct query_entry *got, const struct test_record *want)
{
	struct labels_builder b = {0};
	struct buf meta = {0};

	assert_int_equal(got->timestamp, want->timestamp);
	assert_int_equal(got->seq, want->seq);
	assert_true(str_eq(got->labels, f->streams[want->stream]));
	assert_true(str_eq(got->line, want->body));
	builder_record(&b, f, want, false);
	if (b.n)
		labels_builder_write(&b, &meta);
	assert_true(str_eq(got->meta, buf_view(&meta)));
	labels_builder_fini(&b);
	buf_fini(&meta);
}

static void check_log(struct fixture *f, const struct query *q, const struct model *m,
	const struct query_params *p)
{
	const struct test_record *want[RECORDS], *resume = NULL;
	struct query_result result;
	struct error e = {0};
	size_t n = 0;

	for (size_t i = 0; i < RECORDS; i++) {
		const struct test_record *x = &f->records[i];
		if (x->timestamp >= p->start_ns && x->timestamp < p->end_ns &&
			x->seq > p->after_seq && (!p->until_seq || x->seq <= p->until_seq) &&
			model_keeps(f, m, x))
			want[n++] = x;
	}
	model_forward = p->forward;
	qsort(want, n, sizeof *want, model_order);
	if (p->resume) {
		struct test_record at = {.timestamp = p->resume_ns, .seq = p->resume_seq};
		size_t kept = 0;
		resume = &at;
		for (size_t i = 0; i < n; i++)
			if (model_order(&resume, &want[i]) < 0)
				want[kept++] = want[i];
		n = kept;
	}
	if (p->limit && n > p->limit)
		n = p->limit;
	if (source_query(&f->t.source, q, p, &result, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(result.type, RESULT_STREAMS);
	assert_int_equal(result.n_entries, n);
	assert_int_equal(result.last_seq, RECORDS);
	for (size_t i = 0; i < n; i++)
		check_entry(f, &result.entries[i], want[i]);
	query_result_fini(&result);
}

static void random_logs(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 400; seed++) {
		struct fixture *f = fixture_new(seed);
		struct account account;
		struct model m;
		struct buf text = {0};
		account_init(&account, "test", UINT64_MAX, NULL);
		for (int round = 0; round < 5; round++) {
			struct query_params p = {
				.start_ns = (int64_t)draw(f, 60) * SECOND,
				.end_ns = (int64_t)draw(f, 140) * SECOND,
				.limit = draw(f, 3) ? 1 + draw(f, 40) : 0,
				.forward = draw(f, 2),
				.after_seq = draw(f, 3) ? 0 : draw(f, RECORDS),
				.until_seq = draw(f, 3) ? 0 : draw(f, RECORDS),
				.resume = draw(f, 3) == 0,
				.resume_ns = (int64_t)draw(f, 120) * SECOND,
				.resume_seq = draw(f, RECORDS),
				.strict = f->strict = draw(f, 4) == 0,
				.tenant = STR("t"),
				.account = &account,
			};
			buf_clear(&text);
			model_draw(f, &m, &text);
			struct query *q = parse(buf_cstr(&text));
			check_log(f, q, &m, &p);
			query_free(q);
		}
		assert_int_equal(account_held(&account), 0);
		buf_fini(&text);
		fixture_free(f);
	}
}

/* Page after page gives what one query without a limit gives. */
static void pages(void **state)
{
	struct fixture *f = fixture_new(99);
	struct query *q = parse("{} |= \"r\"");

	(void)state;
	for (int forward = 0; forward < 2; forward++) {
		struct query_params p = {
			.end_ns = INT64_MAX, .forward = forward, .tenant = STR("t")};
		struct query_result all, page;
		size_t n = 0;
		assert_int_equal(source_query(&f->t.source, q, &p, &all, NULL), 0);
		assert_true(all.n_entries > 50);
		p.limit = 7;
		do {
			assert_int_equal(source_query(&f->t.source, q, &p, &page, NULL), 0);
			for (size_t i = 0; i < page.n_entries; i++, n++)
				assert_int_equal(page.entries[i].seq, all.entries[n].seq);
			if (page.n_entries) {
				p.resume = true;
				p.resume_ns = page.entries[page.n_entries - 1].timestamp;
				p.resume_seq = page.entries[page.n_entries - 1].seq;
			}
			query_result_fini(&page);
		} while (p.resume && n < all.n_entries);
		assert_int_equal(n, all.n_entries);
		query_result_fini(&all);
	}
	query_free(q);
	fixture_free(f);
}

/* --- metric queries ------------------------------------------------------------------- */

struct point {
	struct str labels; /* owned */
	double count, value;
	bool dropped;
};

struct points {
	struct point p[RECORDS];
	size_t n;
};

struct metric {
	int function; /* of ranges */
	int64_t range_ns, offset_ns;
	int vector; /* -1: none */
	uint64_t k;
	bool without;
	const char *names[2];
	size_t n_names;
};

static const char *const range_names[] = {
	"count_over_time", "rate", "bytes_over_time", "bytes_rate"};
static const char *const vector_names[] = {"sum", "min", "max", "avg", "count", "topk", "bottomk"};

static struct point *point_of(struct points *to, struct labels_builder *b)
{
	struct buf key = {0};

	labels_builder_write(b, &key);
	for (size_t i = 0; i < to->n; i++)
		if (str_eq(to->p[i].labels, buf_view(&key))) {
			buf_fini(&key);
			return &to->p[i];
		}
	to->p[to->n] = (struct point){.labels = buf_view(&key)};
	return &to->p[to->n++];
}

static void points_fini(struct points *p)
{
	for (size_t i = 0; i < p->n; i++)
		free((void *)p->p[i].labels.p);
	p->n = 0;
}

static void project(struct labels_builder *out, const struct metric *m, struct str labels)
{
	struct label l;

	out->names_free = true;
	labels_start(&labels);
	while (labels_next(&labels, &l)) {
		bool named = false;
		for (size_t i = 0; i < m->n_names; i++)
			named = named || str_eq_c(l.name, m->names[i]);
		if (named != m->without)
			labels_builder_set(out, l.name, l.value, NULL);
	}
}

static void model_range(const struct fixture *f, const struct model *rules, const struct metric *m,
	int64_t t, struct points *out)
{
	for (size_t i = 0; i < RECORDS; i++) {
		const struct test_record *x = &f->records[i];
		int64_t at = t - m->offset_ns;
		struct labels_builder b = {0};
		struct point *p;
		if (x->timestamp <= at - m->range_ns || x->timestamp > at ||
			!model_keeps(f, rules, x))
			continue;
		builder_record(&b, f, x, true);
		p = point_of(out, &b);
		p->value += m->function < 2 ? 1 : (double)x->body.n;
		labels_builder_fini(&b);
	}
	for (size_t i = 0; i < out->n && m->function % 2; i++)
		out->p[i].value /= (double)m->range_ns / 1e9;
}

static bool ranks_before(const struct metric *m, const struct point *a, const struct point *b)
{
	if (a->value != b->value)
		return (a->value > b->value) == (m->vector == 5);
	return labels_order(a->labels, b->labels) < 0;
}

static void model_topk(const struct metric *m, struct points *p)
{
	for (size_t i = 0; i < p->n; i++) {
		struct labels_builder mine = {0}, other = {0};
		struct buf a = {0}, b = {0};
		uint64_t better = 0;
		project(&mine, m, p->p[i].labels);
		labels_builder_write(&mine, &a);
		for (size_t k = 0; k < p->n; k++) {
			labels_builder_clear(&other);
			buf_clear(&b);
			project(&other, m, p->p[k].labels);
			labels_builder_write(&other, &b);
			better += str_eq(buf_view(&a), buf_view(&b)) &&
				  ranks_before(m, &p->p[k], &p->p[i]);
		}
		p->p[i].dropped = better >= m->k;
		labels_builder_fini(&mine);
		labels_builder_fini(&other);
		buf_fini(&a);
		buf_fini(&b);
	}
}

static void model_vector(const struct metric *m, const struct points *in, struct points *out)
{
	for (size_t i = 0; i < in->n; i++) {
		struct labels_builder b = {0};
		double v = in->p[i].value;
		struct point *p;
		project(&b, m, in->p[i].labels);
		p = point_of(out, &b);
		switch (m->vector) {
		case 1: p->value = p->count && p->value < v ? p->value : v; break;
		case 2: p->value = p->count && p->value > v ? p->value : v; break;
		case 4: p->value++; break;
		default: p->value += v;
		}
		p->count++;
		labels_builder_fini(&b);
	}
	for (size_t i = 0; i < out->n && m->vector == 3; i++)
		out->p[i].value /= out->p[i].count;
}

static void metric_draw(struct fixture *f, struct metric *m, struct buf *text, const char *log)
{
	static const char *const names[] = {"app", "host", "detected_level", "trace", "none"};

	*m = (struct metric){
		.function = (int)draw(f, 4),
		.range_ns = (1 + draw(f, 40)) * SECOND / 2,
		.offset_ns = draw(f, 3) ? 0 : (int64_t)draw(f, 20) * SECOND - 10 * SECOND,
		.vector = (int)draw(f, 8) - 1,
		.k = 1 + draw(f, 4),
		.without = draw(f, 2),
	};
	if (m->vector >= 0) {
		m->n_names = draw(f, 3);
		buf_printf(text, "%s %s (", vector_names[m->vector], m->without ? "without" : "by");
		for (size_t i = 0; i < m->n_names; i++) {
			m->names[i] = names[draw(f, 5)];
			buf_printf(text, "%s%s", i ? "," : "", m->names[i]);
		}
		buf_c(text, ") (");
		if (m->vector >= 5)
			buf_printf(text, "%d, ", (int)m->k);
	}
	buf_printf(text, "%s(%s [%dms]", range_names[m->function], log,
		(int)(m->range_ns / NS_PER_MS));
	if (m->offset_ns)
		buf_printf(text, " offset %ds", (int)(m->offset_ns / SECOND));
	buf_c(text, m->vector >= 0 ? "))" : ")");
}

static const double *sample_at(const struct query_series *s, int64_t t)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->samples[i].timestamp == t)
			return &s->samples[i].value;
	return NULL;
}

static const struct query_series *series_of(const struct query_result *r, struct str labels)
{
	for (size_t i = 0; i < r->n_series; i++)
		if (str_eq(r->series[i].labels, labels))
			return &r->series[i];
	return NULL;
}

static void check_step(const struct query_result *got, const struct points *want, int64_t t)
{
	size_t n = 0, present = 0;

	for (size_t i = 0; i < want->n; i++) {
		const struct query_series *s;
		const double *v;
		if (want->p[i].dropped)
			continue;
		n++;
		s = series_of(got, want->p[i].labels);
		assert_non_null(s);
		v = sample_at(s, t);
		assert_non_null(v);
		assert_true(fabs(*v - want->p[i].value) <= 1e-9 * (1 + fabs(want->p[i].value)));
	}
	for (size_t i = 0; i < got->n_series; i++)
		present += sample_at(&got->series[i], t) != NULL;
	assert_int_equal(present, n);
}

static void check_metric(struct fixture *f, const struct query *q, const struct model *rules,
	const struct metric *m, const struct query_params *p)
{
	static struct points in, out;
	struct query_result result;
	struct error e = {0};
	size_t n_steps = 0;

	if (source_query(&f->t.source, q, p, &result, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(result.type, p->step_ns ? RESULT_MATRIX : RESULT_VECTOR);
	for (int64_t t = p->start_ns; t <= p->end_ns; t += p->step_ns ? p->step_ns : 1) {
		model_range(f, rules, m, t, &in);
		if (m->vector >= 5)
			model_topk(m, &in);
		else if (m->vector >= 0)
			model_vector(m, &in, &out);
		check_step(&result, m->vector >= 0 && m->vector < 5 ? &out : &in, t);
		points_fini(&in);
		points_fini(&out);
		n_steps++;
	}
	for (size_t i = 0; i < result.n_series; i++) {
		assert_in_range(result.series[i].n, 1, n_steps);
		if (i)
			assert_true(labels_order(result.series[i - 1].labels,
					    result.series[i].labels) < 0);
		for (size_t k = 1; k < result.series[i].n; k++)
			assert_true(result.series[i].samples[k - 1].timestamp <
				    result.series[i].samples[k].timestamp);
	}
	/* Counting reads no line, and a single group no metadata. */
	if (m->function < 2 && rules->n_filters == 0)
		assert_false(f->t.columns & SCAN_BODY);
	if (m->vector == 0 && !m->without && m->n_names == 0)
		assert_false(f->t.columns & SCAN_META);
	query_result_fini(&result);
}

static void random_metrics(void **state)
{
	(void)state;
	for (uint64_t seed = 1000; seed < 1400; seed++) {
		struct fixture *f = fixture_new(seed);
		struct account account;
		struct buf log = {0}, text = {0};
		account_init(&account, "test", UINT64_MAX, NULL);
		for (int round = 0; round < 3; round++) {
			bool instant = draw(f, 3) == 0;
			struct query_params p = {
				.start_ns = (int64_t)draw(f, 100) * SECOND,
				.step_ns = instant ? 0 : (1 + draw(f, 30)) * SECOND / 2,
				.tenant = STR("t"),
				.account = &account,
				.strict = f->strict = draw(f, 4) == 0,
			};
			struct metric metric;
			struct model rules;
			p.end_ns = p.start_ns + (instant ? 0 : (int64_t)draw(f, 60) * SECOND);
			buf_clear(&log);
			buf_clear(&text);
			model_draw(f, &rules, &log);
			metric_draw(f, &metric, &text, buf_cstr(&log));
			struct query *q = parse(buf_cstr(&text));
			check_metric(f, q, &rules, &metric, &p);
			query_free(q);
		}
		assert_int_equal(account_held(&account), 0);
		buf_fini(&log);
		buf_fini(&text);
		fixture_free(f);
	}
}

/* --- by hand -------------------------------------------------------------------------- */

static int run_one(struct fixture *f, const char *text, struct query_params p,
	struct query_result *out, struct error *e)
{
	struct query *q = parse(text);
	int r;

	p.tenant = p.tenant.p ? p.tenant : STR("t");
	r = source_query(&f->t.source, q, &p, out, e);
	query_free(q);
	return r;
}

static void constants(void **state)
{
	struct fixture *f = fixture_new(1);
	struct query_result r;
	struct error e = {0};
	struct query_params p = {.start_ns = 4 * INT64_C(1000000000000000000),
		.end_ns = 4 * INT64_C(1000000000000000000)};

	(void)state;
	assert_int_equal(run_one(f, "vector(1)+vector(1)", p, &r, &e), 0);
	assert_int_equal(r.type, RESULT_VECTOR);
	assert_int_equal(r.n_series, 1);
	assert_int_equal(labels_count(r.series[0].labels), 0);
	assert_int_equal(r.series[0].n, 1);
	assert_true(r.series[0].samples[0].value == 2);
	assert_int_equal(r.series[0].samples[0].timestamp, p.start_ns);
	query_result_fini(&r);
	assert_int_equal(run_one(f, "3 * 4", p, &r, &e), 0);
	assert_int_equal(r.type, RESULT_SCALAR);
	assert_true(r.series[0].samples[0].value == 12);
	query_result_fini(&r);
	p = (struct query_params){.end_ns = 10 * SECOND, .step_ns = 3 * SECOND};
	assert_int_equal(run_one(f, "sum(vector(5))", p, &r, &e), 0);
	assert_int_equal(r.type, RESULT_MATRIX);
	assert_int_equal(r.series[0].n, 4);
	query_result_fini(&r);
	fixture_free(f);
}

static void resolution(void **state)
{
	struct fixture *f = fixture_new(1);
	struct query_result r;
	struct error e = {0};
	struct query_params p = {.end_ns = 11000 * SECOND, .step_ns = SECOND};

	(void)state;
	assert_int_equal(run_one(f, "rate({}[1s])", p, &r, &e), 0);
	query_result_fini(&r);
	p.end_ns = 11001 * SECOND;
	assert_int_equal(run_one(f, "rate({}[1s])", p, &r, &e), ERR_ARG);
	assert_string_equal(e.text, "exceeded maximum resolution of 11,000 points per time series. "
				    "Try increasing the value of the step parameter");
	p = (struct query_params){
		.start_ns = INT64_MIN, .end_ns = INT64_MAX, .step_ns = INT64_MAX / 2};
	assert_int_equal(run_one(f, "rate({}[200y] offset -90y)", p, &r, &e), 0);
	query_result_fini(&r);
	p.step_ns = -1;
	assert_int_equal(run_one(f, "rate({}[1s])", p, &r, &e), ERR_ARG);
	p = (struct query_params){.start_ns = 5, .end_ns = 4, .step_ns = 1};
	assert_int_equal(run_one(f, "topk(1, rate({}[1s]))", p, &r, &e), 0);
	assert_int_equal(r.n_series, 0);
	query_result_fini(&r);
	fixture_free(f);
}

static void budgets(void **state)
{
	static const char *const texts[] = {
		"{}", "rate({}[1m])", "avg by (app) (rate({}[1m]))", "topk(3, bytes_rate({}[1m]))"};
	struct fixture *f = fixture_new(2);
	struct query_result r;
	struct error e = {0};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct query_params p = {.end_ns = 200 * SECOND, .step_ns = i ? SECOND / 10 : 0};
		struct account account;
		bool fits = false;
		/* Whatever the budget, it is kept, and all of it comes back. */
		for (uint64_t bytes = 100; !fits; bytes = bytes * 3 / 2) {
			account_init(&account, "test", UINT64_MAX, NULL);
			p.memory_bytes = bytes;
			p.account = &account;
			fits = run_one(f, texts[i], p, &r, &e) == 0;
			if (fits)
				query_result_fini(&r);
			else
				assert_non_null(strstr(e.text, "memory budget of"));
			assert_int_equal(account_held(&account), 0);
			/* The arena takes whole chunks, beyond what was asked for, and the fields
			 * of a row are there whatever the budget. */
			assert_true(account.peak <= bytes + (84 << 10));
			assert_true(bytes < 64 << 20);
		}
		account_init(&account, "test", 1000, NULL);
		p.memory_bytes = 0;
		assert_int_equal(run_one(f, texts[i], p, &r, &e), ERR_LIMIT);
		assert_non_null(strstr(e.text, "no memory is left"));
		assert_int_equal(account_held(&account), 0);
	}
	fixture_free(f);
}

static void endings(void **state)
{
	struct fixture *f = fixture_new(3);
	_Atomic bool cancel = true;
	struct query_result r;
	struct error e = {0};
	struct query_params p = {.end_ns = 200 * SECOND};

	(void)state;
	p.cancel = &cancel;
	assert_int_equal(run_one(f, "{}", p, &r, &e), ERR_CANCELLED);
	p.cancel = NULL;
	p.timeout_ns = 1;
	assert_int_equal(run_one(f, "{}", p, &r, &e), ERR_TIMEOUT);
	assert_string_equal(e.text,
		"the query took longer than 1e-09 s: narrow its time range or its selector");
	p.timeout_ns = 0;
	f->t.fail = ERR_IO;
	assert_int_equal(run_one(f, "{}", p, &r, &e), ERR_IO);
	assert_string_equal(e.text, "the disk is on fire");
	f->t.fail = ERR_CANCELLED;
	assert_int_equal(run_one(f, "rate({}[1s])", p, &r, &e), ERR_CANCELLED);
	f->t.fail = 0;
	f->t.warning = "part x: block 3 is damaged";
	assert_int_equal(run_one(f, "{}", p, &r, &e), 0);
	assert_int_equal(r.n_warnings, 1);
	assert_string_equal(r.warnings[0], f->t.warning);
	query_result_fini(&r);
	/* Few of a kind, and the others counted. */
	f->t.n_numbered = 104;
	assert_int_equal(run_one(f, "{}", p, &r, &e), 0);
	assert_int_equal(r.n_warnings, 7);
	assert_string_equal(r.warnings[0], f->t.warning);
	assert_string_equal(r.warnings[1], "block 0 is damaged");
	assert_string_equal(r.warnings[5], "block 4 is damaged");
	assert_string_equal(
		r.warnings[6], "99 more warnings; sawlog store verify names all damage");
	query_result_fini(&r);
	f->t.n_numbered = 0;
	p.tenant = STR("other");
	assert_int_equal(run_one(f, "{}", p, &r, &e), 0);
	assert_int_equal(r.n_entries, 0);
	query_result_fini(&r);
	fixture_free(f);
}

/* A limit is met by the first units: the others are not read. */
static void early_stop(void **state)
{
	struct fixture *f = fixture_new(4);
	struct query_result r;
	struct error e = {0};
	struct query_params p = {.end_ns = RECORDS * SECOND, .limit = 5};

	(void)state;
	for (size_t i = 0; i < RECORDS; i++)
		f->records[i] = (struct test_record){
			.timestamp = (int64_t)i * SECOND, .seq = i + 1, .body = f->records[i].body};
	f->t.unit_rows = 10;
	for (p.forward = false;; p.forward = true) {
		assert_int_equal(run_one(f, "{}", p, &r, &e), 0);
		assert_int_equal(r.n_entries, 5);
		assert_int_equal(r.entries[0].seq, p.forward ? 1 : RECORDS);
		assert_int_equal(r.stats.units, RECORDS / 10);
		assert_int_equal(r.stats.units_read, 1);
		/* And no more lines are put together than are asked for. */
		assert_int_equal(r.stats.lines_spelled, 5);
		query_result_fini(&r);
		if (p.forward)
			break;
	}
	fixture_free(f);
}

/* Where nothing of a row matters but its stream and level, a unit that lies in the windows of the
 * same steps is counted without a row. */
static void counted(void **state)
{
	static const struct {
		const char *text;
		uint64_t units, spelled;
		int64_t step_ns;
	} cases[] = {
		{"sum(count_over_time({}[300s]))", 30, 0, 0},
		{"sum by (detected_level) (bytes_over_time({} |= \"o\" [300s]))", 30, 0, 0},
		{"count_over_time({} != \"x\" |~ \"o|a\" [200s])", 20, 0, 0},
		/* The end of the first window lies inside of a unit. */
		{"sum(rate({}[200s]))", 20, 0, 5 * SECOND},
		{"sum(bytes_rate({}[200s]))", 20, 10, 5 * SECOND},
	};
	struct fixture *f = fixture_new(5);
	struct query_params p = {.start_ns = 299 * SECOND, .end_ns = 299 * SECOND};
	struct query_result r;
	struct error e = {0};

	(void)state;
	for (size_t i = 0; i < RECORDS; i++)
		f->records[i] = (struct test_record){.timestamp = (int64_t)i * SECOND,
			.seq = i + 1,
			.severity = 9,
			.flags = RECORD_LEVEL_DETECTED,
			.body = f->records[i].body};
	for (size_t i = 0; i < RECORDS; i++)
		if (f->records[i].body.n == 0)
			f->records[i].body = (struct str){str_dup(STR("foo")), 3};
	f->t.unit_rows = 10;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		p.start_ns = p.end_ns - cases[i].step_ns;
		p.step_ns = cases[i].step_ns;
		assert_int_equal(run_one(f, cases[i].text, p, &r, &e), 0);
		assert_int_equal(r.n_series, 1);
		assert_int_equal(r.stats.units_counted, cases[i].units);
		assert_int_equal(r.stats.lines_spelled, cases[i].spelled);
		query_result_fini(&r);
	}
	/* A metadata of one record: its unit is read. */
	p = (struct query_params){.start_ns = 299 * SECOND, .end_ns = 299 * SECOND};
	f->records[77].meta = f->metas[2];
	assert_int_equal(run_one(f, "sum by (app) (count_over_time({}[300s]))", p, &r, &e), 0);
	assert_int_equal(r.stats.units_counted, 29);
	query_result_fini(&r);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_logs),
		cmocka_unit_test(pages),
		cmocka_unit_test(random_metrics),
		cmocka_unit_test(constants),
		cmocka_unit_test(resolution),
		cmocka_unit_test(budgets),
		cmocka_unit_test(endings),
		cmocka_unit_test(early_stop),
		cmocka_unit_test(counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
