/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loki's ruler API: rule groups as YAML under /loki/api/v1/rules, and what they
 * say now under /prometheus/api/v1/.  Sources: Loki's HTTP API documentation,
 * Prometheus' for the JSON.  Rules are kept and not evaluated here: every alert
 * is inactive, and the health of a rule is unknown.
 */
#include "api/internal.h"

#include <inttypes.h>

#include "alert/rules.h"

#define NEVER "0001-01-01T00:00:00Z"

static const char done[] =
	"{\"status\":\"success\",\"data\":null,\"errorType\":\"\",\"error\":\"\"}\n";

/* --- YAML ----------------------------------------------------------------------------- */

struct yaml {
	struct buf *out;
	struct buf space; /* whose groups are being written */
	size_t n;
	bool single; /* one group alone, without its namespace */
};

static void put_yaml(void *ctx, struct str space, const struct rule_group *g)
{
	struct yaml *y = ctx;

	if (y->single) {
		if (y->n++ == 0)
			rule_group_write(g, 0, false, y->out);
		return;
	}
	if (y->n++ == 0 || !str_eq(buf_view(&y->space), space)) {
		buf_clear(&y->space);
		buf_str(&y->space, space);
		rule_text_write(space, y->out);
		buf_c(y->out, ":\n");
	}
	rule_group_write(g, 6, true, y->out);
}

static int get_rules(struct job *j, struct error *e)
{
	struct str space = http_segment(j->request, "namespace"),
		   group = http_segment(j->request, "group");
	struct yaml y = {.out = &j->body, .single = group.n > 0};

	j->content_type = "application/yaml";
	rules_each(j->api->o.rules, j->tenant, space, group, put_yaml, &y);
	buf_fini(&y.space);
	if (y.n > 0)
		return 0;
	if (space.n > 0)
		return error_set(e, ERR_NOT_FOUND,
			group.n > 0 ? "group does not exist" : "no rule groups found");
	buf_c(&j->body, "{}\n");
	return 0;
}

static int put_group(struct job *j, struct error *e)
{
	buf_c(&j->body, done);
	j->status = 202;
	return rules_put(j->api->o.rules, j->tenant, http_segment(j->request, "namespace"),
		http_body(j->request), e);
}

static int delete_rules(struct job *j, struct error *e)
{
	buf_c(&j->body, done);
	j->status = 202;
	return rules_delete(j->api->o.rules, j->tenant, http_segment(j->request, "namespace"),
		http_segment(j->request, "group"), e);
}

/* --- JSON ----------------------------------------------------------------------------- */

/* What a list of the rules is asked for. */
struct wanted {
	struct http_request *request;
	bool alerts, records;
	struct buf *out;
	size_t n_groups;
};

/* Is the text among the values of the parameter, or is that not there at all? */
static bool named(const struct wanted *w, const char *param, const char *other, struct str text)
{
	bool any = false;
	struct str s;

	for (int k = 0; k < 2; k++)
		for (size_t i = 0; http_param_nth(w->request, k ? other : param, i, &s); i++) {
			any = true;
			if (str_eq(s, text))
				return true;
		}
	return !any;
}

static void put_pairs(struct buf *out, const char *key, const struct rule_pair *pairs, size_t n)
{
	buf_printf(out, ",\"%s\":{", key);
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_char(out, ',');
		buf_json(out, pairs[i].name);
		buf_char(out, ':');
		buf_json(out, pairs[i].value);
	}
	buf_char(out, '}');
}

static void put_rule(struct buf *out, const struct rule *r)
{
	buf_c(out, r->alerts ? "{\"state\":\"inactive\",\"name\":" : "{\"name\":");
	buf_json(out, r->name);
	buf_c(out, ",\"query\":");
	buf_json(out, r->expr);
	if (r->alerts) {
		buf_printf(out, ",\"duration\":%.9g,\"keepFiringFor\":%.9g",
			(double)r->for_ns / 1e9, (double)r->keep_firing_ns / 1e9);
		put_pairs(out, "annotations", r->annotations, r->n_annotations);
		buf_c(out, ",\"alerts\":[]");
	}
	put_pairs(out, "labels", r->labels, r->n_labels);
	buf_printf(out,
		",\"health\":\"unknown\",\"lastError\":\"\",\"type\":\"%s\",\"lastEvaluation\":\"" NEVER
		"\",\"evaluationTime\":0}",
		r->alerts ? "alerting" : "recording");
}

static void put_json(void *ctx, struct str space, const struct rule_group *g)
{
	struct wanted *w = ctx;
	size_t n = 0;

	if (!named(w, "file[]", "file", space) || !named(w, "rule_group[]", "rule_group", g->name))
		return;
	buf_c(w->out, w->n_groups++ ? ",{\"name\":" : "{\"name\":");
	buf_json(w->out, g->name);
	buf_c(w->out, ",\"file\":");
	buf_json(w->out, space);
	buf_c(w->out, ",\"rules\":[");
	for (size_t i = 0; i < g->n; i++) {
		const struct rule *r = &g->rules[i];
		if (!(r->alerts ? w->alerts : w->records) ||
			!named(w, "rule_name[]", "rule_name", r->name))
			continue;
		if (n++)
			buf_char(w->out, ',');
		put_rule(w->out, r);
	}
	buf_printf(w->out,
		"],\"interval\":%.9g,\"limit\":%" PRIu64 ",\"lastEvaluation\":\"" NEVER
		"\",\"evaluationTime\":0}",
		(double)(g->interval_ns ? g->interval_ns : 60 * NS_PER_SEC) / 1e9, g->limit);
}

static int list_rules(struct job *j, struct error *e)
{
	struct wanted w = {.request = j->request, .alerts = true, .records = true, .out = &j->body};
	struct str type;

	if (http_param(j->request, "type", &type) && type.n) {
		w.alerts = str_eq(type, STR("alert"));
		w.records = str_eq(type, STR("record"));
		if (!w.alerts && !w.records)
			return error_set(e, ERR_ARG, "type: must be alert or record, got \"%.*s\"",
				STR_ARG(str_sub(type, 0, 100)));
	}
	buf_c(&j->body, "{\"status\":\"success\",\"data\":{\"groups\":[");
	rules_each(j->api->o.rules, j->tenant, STR_NONE, STR_NONE, put_json, &w);
	buf_c(&j->body, "]},\"errorType\":\"\",\"error\":\"\"}\n");
	return 0;
}

static int list_alerts(struct job *j, struct error *e)
{
	buf_c(&j->body,
		"{\"status\":\"success\",\"data\":{\"alerts\":[]},\"errorType\":\"\",\"error\":\"\"}"
		"\n");
	return 0;
}

static void start(struct http_request *r, struct api *a, job_fn *run)
{
	struct str tenant;

	if (api_tenant(r, &tenant))
		api_job(a, r, tenant, run);
}

void loki_rules_get(struct http_request *r, void *ctx)
{
	start(r, ctx, get_rules);
}

void loki_rules_put(struct http_request *r, void *ctx)
{
	start(r, ctx, put_group);
}

void loki_rules_delete(struct http_request *r, void *ctx)
{
	start(r, ctx, delete_rules);
}

void prometheus_rules(struct http_request *r, void *ctx)
{
	start(r, ctx, list_rules);
}

void prometheus_alerts(struct http_request *r, void *ctx)
{
	start(r, ctx, list_alerts);
}
