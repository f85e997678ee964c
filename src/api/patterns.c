/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns, as Loki words them, and what changed between two sets of them.
 *
 * Loki's answer is {"pattern", "samples": [[second, lines], …]} for each.  Ours
 * adds "count", "level" (of all its lines) and, with example=true, its newest
 * line; beside data, "sawlog" tells the lines that are in none.  samples=false
 * leaves the samples out: then blocks are counted whole.
 */
#include <inttypes.h>

#include "api/internal.h"
#include "query/diff.h"
#include "query/source.h"

enum { DEFAULT_PATTERNS = 300, DEFAULT_CHANGES = 100 };

/* --- patterns ------------------------------------------------------------------------- */

static void write_samples(struct buf *out, const struct patterns *all, const struct pattern *p)
{
	bool any = false;

	buf_c(out, ",\"samples\":[");
	for (size_t k = 0; p->samples && k < all->n_steps; k++) {
		int64_t at = all->first_ns + (int64_t)k * all->step_ns;
		if (p->samples[k] == 0)
			continue;
		buf_printf(out, "%s[%" PRId64 ",%" PRIu64 "]", any ? "," : "", at / NS_PER_SEC,
			p->samples[k]);
		any = true;
	}
	buf_char(out, ']');
}

static void write_pattern(struct buf *out, const struct patterns *all, const struct pattern *p)
{
	buf_c(out, "{\"pattern\":");
	buf_json(out, p->text);
	write_samples(out, all, p);
	buf_printf(out, ",\"count\":%" PRIu64, p->count);
	if (p->level)
		buf_printf(out, ",\"level\":\"%s\"", p->level);
	if (p->example.n) {
		buf_printf(out, ",\"example\":{\"time\":\"%" PRId64 "\",\"line\":", p->example_ns);
		buf_json(out, p->example);
		buf_char(out, '}');
	}
	buf_char(out, '}');
}

static void write_patterns(struct buf *out, const struct patterns *all)
{
	buf_c(out, "{\"status\":\"success\",\"data\":[");
	for (size_t i = 0; i < all->n; i++) {
		if (i)
			buf_char(out, ',');
		write_pattern(out, all, &all->patterns[i]);
	}
	buf_printf(out,
		"],\"sawlog\":{\"lines\":%" PRIu64 ",\"other\":%" PRIu64 ",\"further\":%" PRIu64
		",\"further_patterns\":%" PRIu64 ",\"last_seq\":%" PRIu64 "}",
		all->lines, all->other, all->further, all->n_further, all->result.last_seq);
	api_write_warnings(out, &all->result);
	buf_c(out, "}\n");
}

static int run_patterns(struct job *j, struct error *e)
{
	struct patterns_params p = {.examples = api_param_bool(j->request, "example", false)};
	struct query_params *qp = &p.query;
	struct patterns found;
	struct query *q;
	struct view *v;
	int r;

	if ((r = api_window(j, qp, e)) < 0 ||
		(r = api_param_u64(j->request, "limit", DEFAULT_PATTERNS, &qp->limit, e)) < 0)
		return r;
	if (api_param_bool(j->request, "samples", true) && (r = api_step(j->request, qp, e)) < 0)
		return r;
	if ((r = api_query_parse(j, "query", &q, e)) < 0)
		return r;
	v = api_view(j);
	snapshot_let_head_go(view_snapshot(v));
	r = source_patterns(view_source(v), q, &p, &found, e);
	api_query_count(r);
	if (r == 0) {
		write_patterns(&j->body, &found);
		patterns_fini(&found);
	}
	view_close(v);
	query_free(q);
	return r;
}

/* --- what changed --------------------------------------------------------------------- */

struct side {
	struct query *query;
	struct patterns_params params;
	struct patterns found;
};

static double seconds(const struct side *s)
{
	const struct query_params *p = &s->params.query;

	return ((double)p->end_ns - (double)p->start_ns) / (double)NS_PER_SEC;
}

static void write_side(struct buf *out, const char *name, const struct side *s)
{
	struct buf text = {0};

	query_format(s->query, &text);
	buf_printf(out, "\"%s\":{\"query\":", name);
	buf_json(out, buf_view(&text));
	buf_printf(out,
		",\"start\":\"%" PRId64 "\",\"end\":\"%" PRId64 "\",\"lines\":%" PRIu64 "},",
		s->params.query.start_ns, s->params.query.end_ns, s->found.lines);
	buf_fini(&text);
}

static void write_change(struct buf *out, const struct diff_entry *x)
{
	buf_printf(out, "{\"change\":\"%s\",\"pattern\":", diff_change_name(x->change));
	buf_json(out, x->pattern->text);
	buf_printf(out, ",\"before\":%" PRIu64 ",\"now\":%" PRIu64, x->before, x->now);
	if (x->change == DIFF_CHANGED)
		buf_printf(out, ",\"ratio\":%.6g", x->ratio);
	if (x->pattern->level)
		buf_printf(out, ",\"level\":\"%s\"", x->pattern->level);
	buf_char(out, '}');
}

static void write_diff(
	struct buf *out, const struct side *before, const struct side *now, const struct diff *d)
{
	buf_c(out, "{\"status\":\"success\",\"data\":{");
	write_side(out, "before", before);
	write_side(out, "now", now);
	buf_printf(out,
		"\"new\":%zu,\"vanished\":%zu,\"changed\":%zu,\"unchanged\":%zu,\"patterns\":[",
		d->n_new, d->n_vanished, d->n_changed, d->n_unchanged);
	for (size_t i = 0; i < d->n; i++) {
		if (i)
			buf_char(out, ',');
		write_change(out, &d->entries[i]);
	}
	buf_c(out, "]}");
	api_write_all_warnings(out,
		(const struct query_result *const[]){&before->found.result, &now->found.result}, 2);
	buf_c(out, "}\n");
}

/* The earlier side has what is not said of it from the later one: its selector; and its window,
 * where there are two selectors, else as much time right before. */
static int read_sides(struct job *j, struct side *before, struct side *now, struct error *e)
{
	struct query_params *n = &now->params.query, *b = &before->params.query;
	struct str text;
	bool two = http_param(j->request, "before_query", &text) && text.n;
	int64_t span;
	int r;

	api_query_params(j, b);
	if ((r = api_window(j, n, e)) < 0 ||
		(r = api_query_parse(j, "query", &now->query, e)) < 0 ||
		(r = api_query_parse(j, two ? "before_query" : "query", &before->query, e)) < 0)
		return r;
	b->start_ns = n->start_ns;
	b->end_ns = n->end_ns;
	if (!two) {
		b->end_ns = n->start_ns;
		if (__builtin_sub_overflow(n->end_ns, n->start_ns, &span) ||
			__builtin_sub_overflow(b->end_ns, span, &b->start_ns))
			b->start_ns = INT64_MIN;
	}
	if ((r = api_param_time(j->request, "before_start", &b->start_ns, e)) < 0 ||
		(r = api_param_time(j->request, "before_end", &b->end_ns, e)) < 0)
		return r;
	return b->end_ns > b->start_ns ? 0
				       : error_set(e, ERR_ARG,
						 "before_end must not be before or equal to "
						 "before_start");
}

static void side_fini(struct side *s)
{
	query_free(s->query);
	patterns_fini(&s->found);
}

static int run_diff(struct job *j, struct error *e)
{
	struct side before = {0}, now = {0};
	struct view *v = api_view(j);
	struct diff d;
	uint64_t limit = 0;
	int r = read_sides(j, &before, &now, e);

	if (r == 0)
		r = api_param_u64(j->request, "limit", DEFAULT_CHANGES, &limit, e);
	if (r == 0) {
		snapshot_let_head_go(view_snapshot(v));
		r = source_patterns(view_source(v), before.query, &before.params, &before.found, e);
		if (r == 0)
			r = source_patterns(view_source(v), now.query, &now.params, &now.found, e);
		api_query_count(r);
	}
	if (r == 0) {
		diff_make(&before.found, seconds(&before), &now.found, seconds(&now), limit, &d);
		write_diff(&j->body, &before, &now, &d);
		diff_fini(&d);
	}
	view_close(v);
	side_fini(&before);
	side_fini(&now);
	return r;
}

void loki_patterns(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run_patterns);
}

void diff_answer(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run_diff);
}
