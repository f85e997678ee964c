/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loki's read API: query_range, query, labels, label values, series,
 * format_query.  Source: Loki's HTTP API documentation.  Errors are text/plain
 * with the bare sentence, as its clients expect.
 *
 * Beyond Loki: an answer's data holds "sawlog": {"last_seq", "next"}.  `next`
 * is there when `limit` cut the answer; the same request with cursor=<next>
 * goes on exactly behind it, over the same snapshot of sequences.  With
 * sequence=true each line is followed by {"seq": N}: lines of all streams in
 * the order (time, seq) are in the exact order of the result; and a line that is
 * no UTF-8 by {"seq": N, "base64": its bytes}.  metadata=true is the header
 * X-Loki-Response-Encoding-Flags: categorize-labels.  With explain=true
 * there are sentences that say how the query was answered, "explain": […].
 * With strict=true what Loki refuses is refused here too.  With align=end the
 * steps of a metric query end at `end`, not begin at `start`: the newest line counts.
 */
#include "api/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/metric.h"
#include "query/source.h"

enum { DEFAULT_LIMIT = 100 };

/* Where the next page begins: "b.<ns>.<seq>.<until_seq>", with direction=forward "f.…".  Where a
 * stage makes several entries of a record: "b.<ns>.<seq>.<until_seq>.<nth>".  Behind a reshape
 * entries are in an order of its own, and pages begin at an index: "n.<index>.<until_seq>". */
static void cursor_write(
	char *out, size_t size, const struct query_params *p, const struct query_result *res)
{
	const struct query_entry *last = &res->entries[res->n_entries - 1];
	uint64_t until = p->until_seq ? p->until_seq : res->last_seq;
	int n;

	if (res->reshaped) {
		snprintf(out, size, "n.%" PRIu64 ".%" PRIu64, p->skip + res->n_entries, until);
		return;
	}
	n = snprintf(out, size, "%c.%" PRId64 ".%" PRIu64 ".%" PRIu64, p->forward ? 'f' : 'b',
		last->timestamp, last->seq, until);
	if (res->spread)
		snprintf(out + n, size - (size_t)n, ".%" PRIu32, last->nth);
}

static bool cursor_read_index(struct str s, struct query_params *p)
{
	struct str kind = str_cut(&s, '.'), index = str_cut(&s, '.');

	return str_eq(kind, STR("n")) && str_u64(index, &p->skip) && str_u64(s, &p->until_seq);
}

static bool cursor_read_moment(struct str s, struct query_params *p)
{
	struct str direction = str_cut(&s, '.'), ns = str_cut(&s, '.'), seq = str_cut(&s, '.'),
		   until = str_cut(&s, '.');
	uint64_t nth = 0;

	if (direction.n != 1 || direction.p[0] != (p->forward ? 'f' : 'b') ||
		!str_i64(ns, &p->resume_ns) || !str_u64(seq, &p->resume_seq) ||
		!str_u64(until, &p->until_seq) || (s.n && (!str_u64(s, &nth) || nth > UINT32_MAX)))
		return false;
	p->resume = true;
	p->resume_nth = (uint32_t)nth;
	return true;
}

static int cursor_read(struct str s, const struct query *q, struct query_params *p, struct error *e)
{
	if (query_reshapes(q) ? cursor_read_index(s, p) : cursor_read_moment(s, p))
		return 0;
	return error_set(e, ERR_ARG, "cursor: \"%.*s\" is none of this query and direction",
		STR_ARG(str_sub(s, 0, 100)));
}

/* 0: no limit. */
static int read_limit(struct http_request *r, struct query_params *p, struct error *e)
{
	return api_param_u64(r, "limit", DEFAULT_LIMIT, &p->limit, e);
}

/* Beyond Loki: only what was committed behind this sequence, the cursor of a tail. */
static int read_after(struct http_request *r, struct query_params *p, struct error *e)
{
	return api_param_u64(r, "after_seq", 0, &p->after_seq, e);
}

static int read_direction(struct http_request *r, struct query_params *p, struct error *e)
{
	struct str s;

	if (!http_param(r, "direction", &s) || s.n == 0 || str_eq_nocase(s, STR("backward")))
		return 0;
	if (!str_eq_nocase(s, STR("forward")))
		return error_set(e, ERR_ARG, "direction: must be forward or backward, got \"%.*s\"",
			STR_ARG(str_sub(s, 0, 100)));
	p->forward = true;
	return 0;
}

int api_query_text(struct job *j, struct str text, struct query **out, struct error *e)
{
	int r;

	if ((r = query_parse(out, text, e)) < 0 || !api_strict(j->api, j->request) ||
		(r = query_check_strict(*out, e)) == 0)
		return r;
	query_free(*out);
	*out = NULL;
	return r;
}

int api_query_parse(struct job *j, const char *param, struct query **out, struct error *e)
{
	struct str text = STR_NONE;

	http_param(j->request, param, &text);
	return api_query_text(j, text, out, e);
}

void api_query_count(int code)
{
	metric_add(METRIC_queries_total, code < 0 ? "result=\"error\"" : "result=\"ok\"", 1);
}

static unsigned answer_flags(struct api *a, struct http_request *r)
{
	unsigned wanted = 0;
	struct str s;

	if ((http_header(r, "X-Loki-Response-Encoding-Flags", &s) &&
		    str_find(s, STR("categorize-labels")) >= 0) ||
		api_param_bool(r, "metadata", false))
		wanted |= ANSWER_CATEGORIZE;
	if (api_param_bool(r, "sequence", false))
		wanted |= ANSWER_SEQUENCE;
	if (peers_count(a->o.peers) && !api_param_bool(r, "local", false))
		wanted |= ANSWER_PEERS;
	return wanted;
}

static int run_query(struct job *j, struct query *q, struct query_params *p, struct error *e)
{
	struct view *v = api_view(j);
	struct query_result res;
	char next[100] = "";
	int r;

	p->explain = api_param_bool(j->request, "explain", false);
	r = view_query(v, q, p, &res, e);
	api_query_count(r);
	if (r >= 0) {
		if (res.type == RESULT_STREAMS && p->limit && res.n_entries == p->limit)
			cursor_write(next, sizeof next, p, &res);
		api_write_result(&j->body, &res, p, answer_flags(j->api, j->request), next);
		query_result_fini(&res);
	}
	view_close(v);
	return r < 0 ? r : 0;
}

/* The steps of a metric query; align=end lets the last one fall on the end. */
static int read_steps(struct http_request *r, struct query_params *p, struct error *e)
{
	uint64_t span = (uint64_t)p->end_ns - (uint64_t)p->start_ns;
	struct str align;
	int code = api_step(r, p, e);

	if (code == 0 && http_param(r, "align", &align) && str_eq(align, STR("end")))
		p->start_ns += (int64_t)(span % (uint64_t)p->step_ns);
	return code;
}

static int run_range(struct job *j, struct error *e)
{
	struct query_params p = {0};
	struct query *q = NULL;
	struct str cursor;
	int r;

	api_query_params(j, &p);
	if ((r = api_time_range(j->request, clock_now_ns(j->api->o.clock), 3600 * NS_PER_SEC,
		     &p.start_ns, &p.end_ns, e)) < 0 ||
		(r = read_limit(j->request, &p, e)) < 0 ||
		(r = read_direction(j->request, &p, e)) < 0 ||
		(r = read_after(j->request, &p, e)) < 0 ||
		(r = api_query_parse(j, "query", &q, e)) < 0)
		return r;
	if (p.end_ns < p.start_ns)
		r = error_set(
			e, ERR_ARG, "end timestamp must not be before or equal to start time");
	else if (!query_is_log(q))
		r = read_steps(j->request, &p, e);
	else if (http_param(j->request, "cursor", &cursor) && cursor.n)
		r = cursor_read(cursor, q, &p, e);
	if (r == 0)
		r = run_query(j, q, &p, e);
	query_free(q);
	return r;
}

static int run_instant(struct job *j, struct error *e)
{
	struct query_params p = {.end_ns = clock_now_ns(j->api->o.clock)};
	struct query *q = NULL;
	int r;

	api_query_params(j, &p);
	if ((r = api_param_time(j->request, "time", &p.end_ns, e)) < 0)
		return r;
	p.start_ns = p.end_ns;
	if ((r = read_limit(j->request, &p, e)) < 0 || (r = api_query_parse(j, "query", &q, e)) < 0)
		return r;
	if (query_is_log(q))
		r = error_set(e, ERR_ARG,
			"log queries are not supported as an instant query type, "
			"please change your query to a range query type");
	else
		r = run_query(j, q, &p, e);
	query_free(q);
	return r;
}

/* What labels, values and series have in common. */
struct listing {
	struct str tenant;
	int64_t start_ns, end_ns;
	struct query *queries[32];
	struct selectors match;
	struct view *view;
	struct buf *out;
	size_t n;
};

static int add_selector(struct listing *l, struct str text, struct error *e)
{
	int r;

	if (l->match.n == sizeof l->queries / sizeof *l->queries)
		return error_set(e, ERR_ARG, "match: at most %zu selectors a request",
			sizeof l->queries / sizeof *l->queries);
	if ((r = query_parse(&l->queries[l->match.n], text, e)) < 0)
		return r;
	l->match.n++;
	if (!query_is_log(l->queries[l->match.n - 1]))
		return error_set(e, ERR_ARG, "only label matchers are supported, got \"%.*s\"",
			STR_ARG(str_sub(text, 0, 200)));
	return 0;
}

/* The older name of an endpoint answers with the values alone. */
static bool is_legacy(const struct job *j)
{
	return str_starts(str_c(http_route_of(j->request)->path), STR("/api/prom/label"));
}

static int listing_begin(struct listing *l, struct job *j, struct error *e)
{
	static const char *const names[] = {"match[]", "match", "query"};
	struct query_params p = {0};
	struct str s;
	int r;

	api_query_params(j, &p);
	*l = (struct listing){.tenant = p.tenant,
		.match = {.queries = l->queries, .account = &j->api->query_account},
		.view = api_view(j),
		.out = &j->body};
	if ((r = api_time_range(j->request, clock_now_ns(j->api->o.clock), 6 * 3600 * NS_PER_SEC,
		     &l->start_ns, &l->end_ns, e)) < 0)
		return r;
	for (size_t k = 0; k < sizeof names / sizeof *names; k++)
		for (size_t i = 0; http_param_nth(j->request, names[k], i, &s); i++)
			if (s.n && (r = add_selector(l, s, e)) < 0)
				return r;
	buf_c(l->out, is_legacy(j) ? "{\"values\":[" : "{\"status\":\"success\",\"data\":[");
	return 0;
}

static int listing_end(struct listing *l, int r)
{
	for (size_t i = 0; i < l->match.n; i++)
		query_free(l->queries[i]);
	buf_char(l->out, ']');
	api_write_view_warnings(l->out, l->view);
	buf_c(l->out, "}\n");
	view_close(l->view);
	return r < 0 ? r : 0;
}

static void emit_string(void *ctx, struct str s)
{
	struct listing *l = ctx;

	if (l->n++)
		buf_char(l->out, ',');
	buf_json(l->out, s);
}

static void emit_labels(void *ctx, struct str labels)
{
	struct listing *l = ctx;

	if (l->n++)
		buf_char(l->out, ',');
	labels_json(l->out, labels);
}

static int run_labels(struct job *j, struct error *e)
{
	struct listing l;
	int r = listing_begin(&l, j, e);

	if (r == 0)
		r = source_label_names(view_source(l.view), l.tenant, l.start_ns, l.end_ns,
			&l.match, emit_string, &l, e);
	return listing_end(&l, r);
}

static int run_label_values(struct job *j, struct error *e)
{
	struct listing l;
	int r = listing_begin(&l, j, e);

	if (r == 0)
		r = source_label_values(view_source(l.view), l.tenant, l.start_ns, l.end_ns,
			&l.match, http_segment(j->request, "name"), emit_string, &l, e);
	return listing_end(&l, r);
}

static int run_series(struct job *j, struct error *e)
{
	struct listing l;
	int r = listing_begin(&l, j, e);

	if (r == 0)
		r = source_series(view_source(l.view), l.tenant, l.start_ns, l.end_ns, &l.match,
			emit_labels, &l, e);
	return listing_end(&l, r);
}

static int run_format(struct job *j, struct error *e)
{
	struct query *q = NULL;
	struct buf text = {0};
	int r = api_query_parse(j, "query", &q, e);

	if (r < 0)
		return r;
	query_format(q, &text);
	buf_c(&j->body, "{\"status\":\"success\",\"data\":");
	buf_json(&j->body, buf_view(&text));
	buf_c(&j->body, "}\n");
	buf_fini(&text);
	query_free(q);
	return 0;
}

void loki_query_range(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run_range);
}

void loki_query(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run_instant);
}

void loki_labels(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run_labels);
}

void loki_label_values(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run_label_values);
}

void loki_series(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run_series);
}

void loki_format_query(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run_format);
}
