/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP API of log-cache, which `cf logs` and `cf tail` ask: envelopes of a
 * source by time, as protojson.
 *
 * Its clients page by time: the next page begins one nanosecond behind the last
 * envelope of this one.  So a page that is read forward never ends within the
 * envelopes of one time: those that do not all fit are left to the next page,
 * and where a whole page is of one time it is longer than asked for.  Pages
 * also end before they are too large to hold; a filter by name reads on until
 * the page is full.
 */
#include "api/loggregator_core.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/map.h"
#include "codec/regex.h"
#include "query/source.h"

/* Of log-cache, whose API this is: what clients choose their requests by. */
#define LOG_CACHE_VERSION "3.0.0"

enum {
	DEFAULT_LIMIT = 100,
	LIMIT_MAX = 1000,
	FILTER_ROWS = 1000,    /* read at once to find those that a filter by name keeps */
	PAGE_BYTES = 32 << 20, /* a page ends behind so much JSON */
	ONE_TIME_MAX = 100000, /* envelopes of one time, which no page may part */
	EXACT_SOURCES = 2000,
	SOURCE_BYTES = 400, /* what a source of `meta` is charged */
};

/* So long `meta` looks for the exact times of sources. */
#define EXACT_NS (2 * NS_PER_SEC)

/* --- read --------------------------------------------------------------------------------- */

struct page {
	struct job *job;
	/* What is asked for. */
	int64_t start_ns, end_ns;
	uint64_t limit;
	unsigned kinds;
	bool descending;
	struct regex *name; /* NULL: any */
	/* What is written. */
	uint64_t n;
	size_t begun; /* of the body, before the first envelope */
	bool done;
	/* The envelopes of the last time: where they begin. */
	int64_t time_ns;
	size_t time_at;
	uint64_t time_n;
	struct loggregator x;
};

static const struct {
	const char *name;
	unsigned kinds;
} types[] = {
	/* By their numbers in the enum. */
	{"ANY", KINDS_ALL},
	{"LOG", KINDS_LOG},
	{"COUNTER", 1 << LOGGREGATOR_COUNTER},
	{"GAUGE", 1 << LOGGREGATOR_GAUGE},
	{"TIMER", 1 << LOGGREGATOR_TIMER},
	/* Dropsonde's Error is an event to clients of v2. */
	{"EVENT", 1 << LOGGREGATOR_EVENT | 1 << LOGGREGATOR_ERROR},
};

static int read_types(struct http_request *r, unsigned *kinds, struct error *e)
{
	struct str s;

	*kinds = 0;
	for (size_t i = 0; http_param_nth(r, "envelope_types", i, &s); i++) {
		size_t k = 0, n = sizeof types / sizeof *types;
		uint64_t number = UINT64_MAX;
		if (s.n == 0)
			continue;
		str_u64(s, &number);
		while (k < n && number != k && !str_eq_nocase(s, str_c(types[k].name)))
			k++;
		if (k == n)
			return error_set(e, ERR_ARG,
				"envelope_types: must be ANY, LOG, COUNTER, GAUGE, TIMER or EVENT, "
				"got \"%.*s\"",
				STR_ARG(str_sub(s, 0, 100)));
		*kinds |= types[k].kinds;
	}
	if (*kinds == 0)
		*kinds = KINDS_ALL;
	return 0;
}

static int read_ns(struct http_request *r, const char *name, int64_t *out, struct error *e)
{
	struct str s;

	if (!http_param(r, name, &s) || s.n == 0 || str_i64(s, out))
		return 0;
	return error_set(e, ERR_ARG, "%s: must be nanoseconds since 1970, got \"%.*s\"", name,
		STR_ARG(str_sub(s, 0, 100)));
}

static int read_times(struct page *p, struct error *e)
{
	struct http_request *r = p->job->request;
	int code;

	p->end_ns = 0;
	if ((code = read_ns(r, "start_time", &p->start_ns, e)) < 0 ||
		(code = read_ns(r, "end_time", &p->end_ns, e)) < 0)
		return code;
	/* As protobuf has it, no end is 0. */
	if (p->end_ns == 0)
		p->end_ns = clock_now_ns(p->job->api->o.clock);
	if (p->start_ns > p->end_ns)
		return error_set(e, ERR_ARG,
			"StartTime (%" PRId64 ") must be before EndTime (%" PRId64 ")", p->start_ns,
			p->end_ns);
	return 0;
}

static int read_limit(struct page *p, struct error *e)
{
	struct str s;

	p->limit = DEFAULT_LIMIT;
	if (!http_param(p->job->request, "limit", &s) || s.n == 0)
		return 0;
	if (!str_u64(s, &p->limit) || p->limit > LIMIT_MAX)
		return error_set(e, ERR_ARG, "Limit (%.*s) must be 1000 or less, and not below 0",
			STR_ARG(str_sub(s, 0, 100)));
	if (p->limit == 0)
		p->limit = DEFAULT_LIMIT;
	return 0;
}

static int read_page(struct page *p, struct error *e)
{
	struct http_request *r = p->job->request;
	struct str s;
	int code;

	if ((code = read_times(p, e)) < 0 || (code = read_limit(p, e)) < 0 ||
		(code = read_types(r, &p->kinds, e)) < 0)
		return code;
	p->descending = api_param_bool(r, "descending", false);
	if (http_param(r, "name_filter", &s) && s.n &&
		(code = regex_new(&p->name, s, false, e)) < 0)
		return error_wrap(e, code, "name_filter");
	return 0;
}

/* A filter by name keeps metrics alone. */
static int is_named(const struct page *p)
{
	const struct loggregator *x = &p->x;
	int r = 0;

	switch (x->kind) {
	case LOGGREGATOR_COUNTER:
	case LOGGREGATOR_TIMER: return regex_match(p->name, x->name);
	case LOGGREGATOR_GAUGE:
		for (size_t i = 0; i < x->n_metrics && r == 0; i++)
			r = regex_match(p->name, x->metrics[i].name);
		return r;
	default: return 0;
	}
}

/* The page has its limit, or its size: does it end before this envelope? */
static int end_here(struct page *p, int64_t time_ns, struct error *e)
{
	p->done = true;
	if (p->descending || time_ns != p->time_ns)
		return 0;
	if (p->time_n) {
		p->job->body.n = p->time_at;
		p->n = p->time_n;
		return 0;
	}
	p->done = false;
	if (p->n >= ONE_TIME_MAX)
		return error_set(e, ERR_LIMIT,
			"more than %d envelopes have the time %" PRId64
			": a page cannot hold them, ask with descending=true",
			ONE_TIME_MAX, time_ns);
	return 0;
}

/* > 0 when the page is full. */
static int add(void *arg, const struct query_entry *en, struct error *e)
{
	struct page *p = arg;
	struct buf *out = &p->job->body;
	int r;

	loggregator_of_entry(&p->x, en, p->job->api->loggregator->app_label);
	if (p->name && (r = is_named(p)) <= 0)
		return r < 0 ? error_set(e, r, "name_filter: it takes too long to match") : 0;
	if ((p->n >= p->limit || out->n - p->begun > PAGE_BYTES) && p->n) {
		if ((r = end_here(p, en->timestamp, e)) < 0 || p->done)
			return r < 0 ? r : 1;
	}
	if (p->n == 0 || en->timestamp != p->time_ns) {
		p->time_ns = en->timestamp;
		p->time_at = out->n;
		p->time_n = p->n;
	}
	if (p->n++)
		buf_char(out, ',');
	loggregator_put_json(out, &p->x);
	return 0;
}

/* Errors are JSON here, as those of a gRPC gateway. */
static int answer(struct job *j, int r, const struct error *e)
{
	if (r == 0)
		return 0;
	buf_clear(&j->body);
	buf_c(&j->body, "{\"error\":");
	buf_json(&j->body, str_c(e->text));
	buf_printf(&j->body, ",\"code\":%d,\"message\":", r == ERR_ARG ? 3 : 2);
	buf_json(&j->body, str_c(e->text));
	buf_c(&j->body, ",\"details\":[]}\n");
	j->status = api_status(r);
	return 0;
}

static int run_read(struct job *j, struct error *e)
{
	struct page *p = xcalloc(1, sizeof *p);
	struct query_params params;
	struct buf text = {0};
	struct query *q = NULL;
	struct view *v;
	int r;

	p->job = j;
	if ((r = read_page(p, e)) == 0) {
		loggregator_query(&text, j->api->loggregator->app_label,
			http_segment(j->request, "source_id"), p->kinds);
		r = query_parse(&q, buf_view(&text), e);
	}
	if (r == 0) {
		buf_c(&j->body, "{\"envelopes\":{\"batch\":[");
		p->begun = j->body.n;
		params = (struct query_params){
			.start_ns = p->start_ns, .end_ns = p->end_ns, .forward = !p->descending};
		v = api_view(j);
		r = loggregator_walk(
			j, v, q, &params, p->name ? FILTER_ROWS : p->limit + 1, add, p, e);
		view_close(v);
		buf_c(&j->body, "]}}\n");
		api_query_count(r);
	}
	query_free(q);
	regex_free(p->name);
	buf_fini(&text);
	free(p);
	return answer(j, r, e);
}

/* --- meta --------------------------------------------------------------------------------- */

struct seen {
	uint64_t n;
	int64_t oldest_ns, newest_ns;
};

/* Of each source, out of the counts of the store where those are whole. */
struct sources {
	const char *label;
	struct map index; /* source to struct seen */
	struct account *account;
	uint64_t charged;
};

static int take(struct sources *s, struct str labels, uint64_t n, int64_t oldest_ns,
	int64_t newest_ns, struct error *e)
{
	union map_value *v;
	struct seen *x;
	struct str id;

	if (n == 0 || !labels_get(labels, str_c(s->label), &id))
		return 0;
	if (!(v = map_get(&s->index, id))) {
		if (account_charge(s->account, SOURCE_BYTES + 2 * id.n) < 0)
			return error_set(
				e, ERR_LIMIT, "there are more sources than fit in the memory");
		s->charged += SOURCE_BYTES + 2 * id.n;
		v = map_put(&s->index, id, NULL);
		x = v->p = xmalloc(sizeof *x);
		*x = (struct seen){.oldest_ns = oldest_ns, .newest_ns = newest_ns};
	}
	x = v->p;
	x->n += n;
	x->oldest_ns = oldest_ns < x->oldest_ns ? oldest_ns : x->oldest_ns;
	x->newest_ns = newest_ns > x->newest_ns ? newest_ns : x->newest_ns;
	return 0;
}

static bool want_source(void *ctx, struct str labels)
{
	const struct sources *s = ctx;
	struct str id;

	return labels_get(labels, str_c(s->label), &id);
}

static bool any_bucket(void *ctx, int64_t min_ns, int64_t max_ns)
{
	return true;
}

static int on_counts(void *ctx, const struct row_counts *counts, struct error *e)
{
	int r = 0;

	for (size_t i = 0; i < counts->n && r == 0; i++) {
		const struct row_count *c = &counts->counts[i];
		r = take(ctx, counts->streams[c->stream], c->rows, c->min_ns, c->max_ns, e);
	}
	return r;
}

static int on_rows(void *ctx, const struct rows *rows, struct error *e)
{
	int r = 0;

	for (size_t i = 0; i < rows->n && r == 0; i++) {
		uint32_t at = rows->pick[i];
		r = take(ctx, rows->streams[rows->stream[at]], 1, rows->timestamp[at],
			rows->timestamp[at], e);
	}
	return r;
}

/* The time of its newest or oldest record.  Counts say within which times records lie, not more. */
static int find_end(struct job *j, struct view *v, const struct query *q, struct seen *x,
	bool oldest, struct error *e)
{
	struct query_params p = {.start_ns = x->oldest_ns,
		.end_ns = x->newest_ns == INT64_MAX ? INT64_MAX : x->newest_ns + 1,
		.limit = 1,
		.forward = oldest};
	struct query_result res;
	int r;

	api_query_params(j, &p);
	p.strict = false;
	if ((r = view_query(v, q, &p, &res, e)) < 0)
		return r;
	if (res.n_entries)
		*(oldest ? &x->oldest_ns : &x->newest_ns) = res.entries[0].timestamp;
	query_result_fini(&res);
	return 0;
}

/* Each source costs two queries, so not for longer than clients like to wait. */
static int find_ends(
	struct job *j, struct view *v, const struct sources *s, int64_t until_mono, struct error *e)
{
	const struct map_slot *slot;
	struct buf text = {0};
	int r = 0;

	for (size_t at = 0; r == 0 && (slot = map_next(&s->index, &at)) &&
			    clock_mono_ns(j->api->o.clock) < until_mono;) {
		struct query *q = NULL;
		buf_clear(&text);
		loggregator_query(&text, s->label, slot->key, KINDS_ALL);
		if ((r = query_parse(&q, buf_view(&text), e)) == 0 &&
			(r = find_end(j, v, q, slot->value.p, true, e)) == 0)
			r = find_end(j, v, q, slot->value.p, false, e);
		query_free(q);
	}
	buf_fini(&text);
	return r;
}

static void write_sources(struct buf *out, const struct map *index)
{
	const struct map_slot *slot;
	const char *between = "";

	buf_c(out, "{\"meta\":{");
	for (size_t at = 0; (slot = map_next(index, &at));) {
		const struct seen *x = slot->value.p;
		buf_c(out, between);
		between = ",";
		buf_json(out, slot->key);
		buf_printf(out,
			":{\"count\":\"%" PRIu64
			"\",\"expired\":\"0\",\"oldest_timestamp\":\"%" PRId64
			"\",\"newest_timestamp\":\"%" PRId64 "\"}",
			x->n, x->oldest_ns, x->newest_ns);
	}
	buf_c(out, "}}\n");
}

static int run_meta(struct job *j, struct error *e)
{
	struct sources s = {
		.label = j->api->loggregator->app_label, .account = &j->api->query_account};
	struct scan scan = {.tenant = j->tenant,
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX,
		.order = SCAN_NEWEST_FIRST,
		.account = s.account,
		.cancel = &j->cancel,
		.ctx = &s,
		.want_stream = want_source,
		.same_bucket = any_bucket,
		.counts = on_counts,
		.rows = on_rows,
		.hints = {.buckets = {.known = true},
			.deadline_ns =
				clock_mono_ns(j->api->o.clock) + j->api->o.query_timeout_ns}};
	struct view *v = api_view(j);
	struct source *source = view_source(v);
	const struct map_slot *slot;
	int r = source->scan(source, &scan, e);

	/* Of very many, or where it takes long, the times are told as the counts have them. */
	if (r >= 0 && s.index.n <= EXACT_SOURCES)
		r = find_ends(j, v, &s, clock_mono_ns(j->api->o.clock) + EXACT_NS, e);
	if (r >= 0)
		write_sources(&j->body, &s.index);
	for (size_t at = 0; (slot = map_next(&s.index, &at));)
		free(slot->value.p);
	map_fini(&s.index);
	account_release(s.account, s.charged);
	view_close(v);
	api_query_count(r);
	return answer(j, r < 0 ? r : 0, e);
}

/* --- requests ------------------------------------------------------------------------------ */

/* Whoever may not see a source is told that there is none. */
static void refuse(struct http_request *r, enum check_verdict verdict, const char *why)
{
	struct buf out = {0};

	if (verdict == CHECK_FAILED) {
		api_check_refuse(r, verdict, why);
		return;
	}
	buf_c(&out, "{\"error\":\"not_found\",\"message\":\"resource not found\"}\n");
	http_reply_buf(r, 404, "application/json; charset=UTF-8", &out);
}

static void answer_read(
	struct http_request *r, struct api *a, enum check_verdict verdict, const char *why)
{
	if (verdict == CHECK_ALLOWED)
		api_read_job(a, r, run_read);
	else
		refuse(r, verdict, why);
}

static void answer_meta(
	struct http_request *r, struct api *a, enum check_verdict verdict, const char *why)
{
	if (verdict == CHECK_ALLOWED)
		api_tenant_job(a, r, run_meta);
	else
		refuse(r, verdict, why);
}

void log_cache_read(struct http_request *r, void *ctx)
{
	api_check(r, ctx, http_segment(r, "source_id"), answer_read);
}

void log_cache_meta(struct http_request *r, void *ctx)
{
	api_check(r, ctx, STR_NONE, answer_meta);
}

void log_cache_info(struct http_request *r, void *ctx)
{
	struct timespec up = {0};
	struct buf out = {0};

	clock_gettime(CLOCK_BOOTTIME, &up);
	buf_printf(&out, "{\"version\":\"" LOG_CACHE_VERSION "\",\"vm_uptime\":\"%lld\"}\n",
		(long long)up.tv_sec);
	http_reply_buf(r, 200, "application/json; charset=UTF-8", &out);
}
