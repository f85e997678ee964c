/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PromQL over the metrics of a source, as log-cache answers it: /api/v1/query
 * and /api/v1/query_range.
 *
 *   counter  its name and total
 *   gauge    each of its metrics
 *   timer    its name, and how long it took in nanoseconds
 *
 * Labels are source_id, instance_id and the tags, with _ for what a name in
 * PromQL cannot hold.  Each selector must name its source_id.
 */
#include "api/loggregator_core.h"

#include <inttypes.h>
#include <stdlib.h>

#include "api/promql.h"
#include "base/map.h"
#include "proto/meta_name.h"
#include "query/number.h"
#include "query/quote.h"

enum {
	ROWS_AT_ONCE = 5000,
	SERIES_BYTES = 300, /* what one is charged besides its labels */
	FIRST_SAMPLES = 16,
};

/* The series that a selector picks, as they are read. */
struct picking {
	struct job *job;
	const struct promql_selector *selector;
	bool any_name; /* the name is a label then */
	struct promql_series *series;
	size_t n, cap;
	size_t *caps; /* of the samples of each */
	struct map index;
	uint64_t charged;
	struct labels_builder builder;
	struct buf name, text;
	struct loggregator x;
};

static int charge(struct picking *p, uint64_t n, struct error *e)
{
	if (account_charge(&p->job->api->query_account, n) < 0)
		return error_set(e, ERR_LIMIT,
			"the samples do not fit in the memory: narrow the range or the selector");
	p->charged += n;
	return 0;
}

static void picking_fini(struct picking *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free((char *)p->series[i].labels.p);
		free(p->series[i].samples);
	}
	free(p->series);
	free(p->caps);
	map_fini(&p->index);
	labels_builder_fini(&p->builder);
	buf_fini(&p->name);
	buf_fini(&p->text);
	account_release(&p->job->api->query_account, p->charged);
}

static int find_series(struct picking *p, struct promql_series **out, struct error *e)
{
	struct str labels = buf_view(&p->text);
	union map_value *v = map_get(&p->index, labels);
	int r;

	if (!v) {
		if ((r = charge(p, SERIES_BYTES + 2 * labels.n, e)) < 0)
			return r;
		if (p->n == p->cap) {
			p->cap = p->cap ? p->cap * 2 : 16;
			p->series = xrealloc(p->series, p->cap * sizeof *p->series);
			p->caps = xrealloc(p->caps, p->cap * sizeof *p->caps);
		}
		v = map_put(&p->index, labels, NULL);
		v->u = p->n;
		p->caps[p->n] = 0;
		p->series[p->n++] =
			(struct promql_series){.labels = str_make(str_dup(labels), labels.n)};
	}
	*out = &p->series[v->u];
	return 0;
}

static int add_sample(struct picking *p, double value, struct error *e)
{
	struct promql_series *s;
	size_t *cap;
	int r;

	if ((r = find_series(p, &s, e)) < 0)
		return r;
	cap = &p->caps[s - p->series];
	if (s->n == *cap) {
		size_t more = *cap ? *cap : FIRST_SAMPLES;
		if ((r = charge(p, more * sizeof *s->samples, e)) < 0)
			return r;
		*cap += more;
		s->samples = xrealloc(s->samples, *cap * sizeof *s->samples);
	}
	s->samples[s->n++] = (struct promql_sample){p->x.timestamp, value};
	return 0;
}

static void set_label(struct picking *p, struct str name, struct str value)
{
	buf_clear(&p->name);
	meta_name_put(&p->name, name);
	labels_builder_set(&p->builder, buf_view(&p->name), value, NULL);
}

/* Does the selector want a metric of this name with the labels in the builder? */
static bool is_wanted(const struct picking *p, struct str name)
{
	for (size_t i = 0; i < p->selector->n; i++) {
		const struct promql_matcher *m = &p->selector->matchers[i];
		struct str value = STR("");
		if (str_eq(m->name, STR("__name__")))
			value = name;
		else
			labels_builder_get(&p->builder, m->name, &value);
		if (!promql_wants(p->selector, m->name, value))
			return false;
	}
	return true;
}

static int pick(struct picking *p, struct str metric, double value, struct error *e)
{
	struct buf name = {0};
	int r = 0;

	meta_name_put(&name, metric);
	if (is_wanted(p, buf_view(&name))) {
		if (p->any_name)
			labels_builder_set(&p->builder, STR("__name__"), buf_view(&name), NULL);
		buf_clear(&p->text);
		labels_builder_write(&p->builder, &p->text);
		r = add_sample(p, value, e);
	}
	buf_fini(&name);
	return r;
}

static int on_entry(void *arg, const struct query_entry *en, struct error *e)
{
	struct picking *p = arg;
	struct loggregator *x = &p->x;
	int r = 0;

	loggregator_of_entry(x, en, p->job->api->loggregator->app_label);
	labels_builder_clear(&p->builder);
	for (size_t i = 0; i < x->n_tags; i++)
		set_label(p, x->tags[i].name, x->tags[i].value);
	labels_builder_set(&p->builder, STR("instance_id"), x->instance_id, NULL);
	labels_builder_set(&p->builder, STR("source_id"), x->source_id, NULL);
	switch (x->kind) {
	case LOGGREGATOR_COUNTER: return pick(p, x->name, (double)x->total, e);
	case LOGGREGATOR_TIMER:
		return pick(p, x->name, (double)x->stop_ns - (double)x->start_ns, e);
	case LOGGREGATOR_GAUGE:
		for (size_t i = 0; i < x->n_metrics && r == 0; i++)
			r = pick(p, x->metrics[i].name, x->metrics[i].value, e);
		return r;
	default: return 0;
	}
}

/* --- what is asked for ------------------------------------------------------------------------ */

static const struct promql_matcher *matcher_of(const struct promql_selector *s, struct str name)
{
	for (size_t i = 0; i < s->n; i++)
		if (str_eq(s->matchers[i].name, name) && !s->matchers[i].negative)
			return &s->matchers[i];
	return NULL;
}

static void put_source(struct buf *out, const char *app_label, const struct promql_matcher *m)
{
	buf_printf(out, "{%s%s", app_label, m->regex ? "=~" : "=");
	quote_go(out, m->value);
	buf_c(out, ",input=\"loggregator\",event=~\"counter|gauge|timer\"}");
}

static int read_selector(
	struct picking *p, struct view *v, int64_t start_ns, int64_t end_ns, struct error *e)
{
	const struct promql_matcher *name = matcher_of(p->selector, STR("__name__"));
	const struct promql_matcher *source = matcher_of(p->selector, STR("source_id"));
	struct query_params params = {.forward = true};
	struct buf text = {0};
	struct query *q;
	int r;

	p->any_name = !name || name->regex;
	if (!source || source->value.n == 0)
		return error_set(e, ERR_ARG, "Metric '%.*s' does not have a 'source_id' label.",
			STR_ARG(name ? name->value : STR("")));
	promql_window(p->selector, start_ns, end_ns, &params.start_ns, &params.end_ns);
	/* (from, to] as [from, to). */
	params.start_ns += params.start_ns < INT64_MAX;
	params.end_ns += params.end_ns < INT64_MAX;
	put_source(&text, p->job->api->loggregator->app_label, source);
	r = query_parse(&q, buf_view(&text), e);
	buf_fini(&text);
	if (r < 0)
		return r;
	r = loggregator_walk(p->job, v, q, &params, ROWS_AT_ONCE, on_entry, p, e);
	query_free(q);
	return r;
}

/* --- the answer --------------------------------------------------------------------------------
 */

static void put_sample(struct buf *out, const struct promql_sample *s)
{
	buf_printf(out, "[%.3f,\"", (double)s->timestamp / 1e9);
	number_put_f(out, s->value);
	buf_c(out, "\"]");
}

static void put_series(struct buf *out, const struct promql_series *s, bool range)
{
	buf_c(out, "{\"metric\":");
	labels_json(out, s->labels);
	buf_c(out, range ? ",\"values\":[" : ",\"value\":");
	for (size_t i = 0; i < s->n; i++) {
		if (i)
			buf_char(out, ',');
		put_sample(out, &s->samples[i]);
	}
	buf_c(out, range ? "]}" : "}");
}

static void put_result(struct buf *out, const struct promql_result *res, bool range)
{
	bool scalar = res->scalar && !range;

	buf_printf(out, "{\"status\":\"success\",\"data\":{\"resultType\":\"%s\",\"result\":",
		scalar  ? "scalar"
		: range ? "matrix"
			: "vector");
	if (scalar) {
		put_sample(out, &res->series[0].samples[0]);
	} else {
		buf_char(out, '[');
		for (size_t i = 0; i < res->n; i++) {
			if (i)
				buf_char(out, ',');
			put_series(out, &res->series[i], range);
		}
		buf_char(out, ']');
	}
	buf_c(out, "}}\n");
}

static int answer(struct job *j, int r, const struct error *e)
{
	if (r < 0) {
		buf_clear(&j->body);
		buf_c(&j->body, "{\"status\":\"error\",\"errorType\":\"internal\",\"error\":");
		buf_json(&j->body, str_c(e->text));
		buf_c(&j->body, "}\n");
		j->status = api_status(r);
	}
	return 0;
}

static int run(struct job *j, struct promql *q, const struct query_params *t, struct error *e)
{
	struct promql_result res;
	struct picking *all;
	struct view *v = api_view(j);
	size_t n;
	struct promql_selector *selectors = promql_selectors(q, &n);
	int r = 0;

	all = xcalloc(n + 1, sizeof *all);
	for (size_t i = 0; i < n; i++)
		all[i] = (struct picking){.job = j, .selector = &selectors[i]};
	for (size_t i = 0; i < n && r == 0; i++) {
		r = read_selector(&all[i], v, t->start_ns, t->end_ns, e);
		selectors[i].series = all[i].series;
		selectors[i].n_series = all[i].n;
	}
	view_close(v);
	if (r == 0 && (r = promql_run(q, t->start_ns, t->end_ns, t->step_ns, &j->api->query_account,
			       &j->cancel, &res, e)) == 0) {
		put_result(&j->body, &res, t->step_ns > 0);
		promql_result_fini(&res);
	}
	for (size_t i = 0; i < n; i++)
		picking_fini(&all[i]);
	free(all);
	return r;
}

static int parse(struct http_request *r, struct promql **out, struct error *e)
{
	struct str text = STR_NONE;

	http_param(r, "query", &text);
	return promql_parse(out, text, e);
}

static int read_times(struct job *j, struct query_params *t, struct error *e)
{
	int64_t now = clock_now_ns(j->api->o.clock);
	int r;

	if (!str_ends(str_c(http_route_of(j->request)->path), STR("_range"))) {
		t->end_ns = now;
		r = api_param_time(j->request, "time", &t->end_ns, e);
		t->start_ns = t->end_ns;
		return r;
	}
	if ((r = api_time_range(j->request, now, 3600 * NS_PER_SEC, &t->start_ns, &t->end_ns, e)) <
			0 ||
		(r = api_step(j->request, t, e)) < 0)
		return r;
	if (t->end_ns < t->start_ns)
		return error_set(e, ERR_ARG, "end timestamp must not be before start time");
	return 0;
}

static int run_query(struct job *j, struct error *e)
{
	struct query_params times = {0};
	struct promql *q = NULL;
	int r;

	if ((r = parse(j->request, &q, e)) == 0 && (r = read_times(j, &times, e)) == 0)
		r = run(j, q, &times, e);
	promql_free(q);
	api_query_count(r);
	return answer(j, r, e);
}

/* The one source that all selectors name; empty when it is not one. */
static struct str source_of(struct promql *q)
{
	struct str id = STR_NONE;
	size_t n;
	const struct promql_selector *s = promql_selectors(q, &n);

	for (size_t i = 0; i < n; i++) {
		const struct promql_matcher *m = matcher_of(&s[i], STR("source_id"));
		if (!m || m->regex || (i && !str_eq(m->value, id)))
			return STR_NONE;
		id = m->value;
	}
	return id;
}

static void answer_checked(
	struct http_request *r, struct api *a, enum check_verdict verdict, const char *why)
{
	if (verdict == CHECK_ALLOWED)
		api_read_job(a, r, run_query);
	else if (verdict == CHECK_FAILED)
		api_check_refuse(r, verdict, why);
	else
		http_reply(r, 404, "application/json; charset=UTF-8",
			STR("{\"status\":\"error\",\"errorType\":\"internal\",\"error\":\"not "
			    "found\"}\n"));
}

void log_cache_query(struct http_request *r, void *ctx)
{
	struct promql *q;
	struct error e;

	/* One that is none is refused by the job. */
	if (!checks_on(((struct api *)ctx)->checks) || parse(r, &q, &e) < 0) {
		api_check(r, ctx, STR_NONE, answer_checked);
		return;
	}
	api_check(r, ctx, source_of(q), answer_checked);
	promql_free(q);
}
