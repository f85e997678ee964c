/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loki's ruler API: rule groups as YAML under /loki/api/v1/rules, and what they
 * say now under /prometheus/api/v1/.  Sources: Loki's HTTP API documentation,
 * Prometheus' for the JSON.  Ours alone is `silenced` of an alert of which nobody
 * is told for a time.
 */
#include "api/internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "alert/alerts.h"
#include "base/hash.h"
#include "alert/silences.h"
#include "record/time.h"

enum { TOKEN_BYTES = 16 };

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

/* What was answered is in force. */
static int changed(struct job *j, int code)
{
	if (code == 0 && j->api->o.alerts)
		alerts_rules_changed(j->api->o.alerts);
	return code;
}

static int put_group(struct job *j, struct error *e)
{
	buf_c(&j->body, done);
	j->status = 202;
	return changed(j, rules_put(j->api->o.rules, j->tenant,
				  http_segment(j->request, "namespace"), http_body(j->request), e));
}

static int delete_rules(struct job *j, struct error *e)
{
	buf_c(&j->body, done);
	j->status = 202;
	return changed(
		j, rules_delete(j->api->o.rules, j->tenant, http_segment(j->request, "namespace"),
			   http_segment(j->request, "group"), e));
}

/* --- JSON ----------------------------------------------------------------------------- */

/* Whose alerts are listed. */
struct owner {
	struct silences *silences; /* NULL: none */
	struct str tenant;
	int64_t now_ns;
};

static struct owner owner_of(const struct job *j)
{
	return (struct owner){j->api->o.silences, j->tenant, clock_now_ns(j->api->o.clock)};
}

/* What a list of the rules is asked for. */
struct wanted {
	struct http_request *request;
	struct owner owner;
	bool alerts, records, instances;
	bool some; /* rules are chosen: a group none of whose is chosen is left out */
	struct buf *out;
	/* A page of groups: so many of them, from the one whose token is `from`. */
	uint64_t most;   /* 0: all */
	struct str from; /* empty: the first */
	bool begun;
	char next[TOKEN_BYTES + 1]; /* of the first group behind the page; "": there is none */
	/* The group that is being written. */
	const struct rule_group *group;
	size_t at; /* where it begins */
	size_t n_groups, n_rules;
	int64_t interval_ns, evaluated_ns, took_ns;
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

/* The shortest text with an exponent that reads back: 1e+01. */
static void put_value(struct buf *out, double v)
{
	char text[40];

	if (isnan(v) || isinf(v)) {
		buf_c(out, isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
		return;
	}
	for (int digits = 0; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*e", digits, v);
		if (strtod(text, NULL) == v)
			break;
	}
	buf_c(out, text);
}

static void put_time(struct buf *out, const char *key, int64_t ns)
{
	if (ns)
		time_json(out, key, ns);
	else
		buf_printf(out, ",\"%s\":\"%s\"", key, NEVER);
}

/* Those that pend or fire; returns how many there were before, and these. */
static size_t put_alerts(
	struct buf *out, const struct owner *o, const struct alert_rule_status *s, size_t n)
{
	for (size_t i = 0; i < s->n_alerts; i++) {
		const struct alert *a = &s->alerts[i];

		if (a->state == ALERT_RESOLVED)
			continue;
		buf_c(out, n++ ? ",{\"labels\":" : "{\"labels\":");
		labels_json(out, a->labels);
		buf_c(out, ",\"annotations\":");
		labels_json(out, a->annotations);
		buf_printf(out, ",\"state\":\"%s\"", alert_states[a->state]);
		put_time(out, "activeAt", a->active_ns);
		if (a->gone_ns)
			put_time(out, "keepFiringSince", a->gone_ns);
		buf_c(out, ",\"value\":\"");
		put_value(out, a->value);
		buf_c(out, "\"");
		if (o->silences && silences_match(o->silences, o->tenant, a->labels, o->now_ns))
			buf_c(out, ",\"silenced\":true");
		buf_char(out, '}');
	}
	return n;
}

static const char *state_of(const struct alert_rule_status *s)
{
	const char *state = "inactive";

	for (size_t i = 0; i < s->n_alerts; i++) {
		if (s->alerts[i].state == ALERT_FIRING)
			return alert_states[ALERT_FIRING];
		if (s->alerts[i].state == ALERT_PENDING)
			state = alert_states[ALERT_PENDING];
	}
	return state;
}

/* How its evaluation went; a warning stands where an error would. */
static void put_health(struct buf *out, const struct alert_rule_status *s)
{
	const char *health = s->error[0]       ? "err"
			     : s->evaluated_ns ? "ok"
					       : "unknown",
		   *said = s->error[0] ? s->error : s->warning;

	if (!s->rule->alerts)
		said = "recording rules are kept and listed here, and not evaluated: ask for their "
		       "expression";
	buf_printf(out, ",\"health\":\"%s\",\"lastError\":", health);
	buf_json(out, str_c(said));
	buf_printf(out, ",\"type\":\"%s\"", s->rule->alerts ? "alerting" : "recording");
	put_time(out, "lastEvaluation", s->evaluated_ns);
	buf_printf(out, ",\"evaluationTime\":%.9g}", (double)s->took_ns / 1e9);
}

static void put_rule(const struct wanted *w, const struct alert_rule_status *s)
{
	const struct rule *r = s->rule;
	struct buf *out = w->out;

	if (r->alerts)
		buf_printf(out, "{\"state\":\"%s\",\"name\":", state_of(s));
	else
		buf_c(out, "{\"name\":");
	buf_json(out, r->name);
	buf_c(out, ",\"query\":");
	buf_json(out, r->expr);
	if (r->alerts) {
		buf_printf(out, ",\"duration\":%.9g,\"keepFiringFor\":%.9g",
			(double)r->for_ns / 1e9, (double)r->keep_firing_ns / 1e9);
		put_pairs(out, "annotations", r->annotations, r->n_annotations);
		buf_c(out, ",\"alerts\":[");
		if (w->instances)
			put_alerts(out, &w->owner, s, 0);
		buf_char(out, ']');
	}
	put_pairs(out, "labels", r->labels, r->n_labels);
	put_health(out, s);
}

static void end_group(struct wanted *w)
{
	if (!w->group)
		return;
	if (w->some && w->n_rules == 0) {
		w->out->n = w->at;
		w->n_groups--;
		w->group = NULL;
		return;
	}
	buf_printf(w->out, "],\"interval\":%.9g,\"limit\":%" PRIu64, (double)w->interval_ns / 1e9,
		w->group->limit);
	put_time(w->out, "lastEvaluation", w->evaluated_ns);
	buf_printf(w->out, ",\"evaluationTime\":%.9g}", (double)w->took_ns / 1e9);
	w->group = NULL;
}

static void begin_group(struct wanted *w, const struct alert_rule_status *s)
{
	w->group = s->group;
	w->at = w->out->n;
	w->n_rules = 0;
	w->interval_ns = s->interval_ns;
	w->evaluated_ns = w->took_ns = 0;
	buf_c(w->out, w->n_groups++ ? ",{\"name\":" : "{\"name\":");
	buf_json(w->out, s->group->name);
	buf_c(w->out, ",\"file\":");
	buf_json(w->out, s->space);
	buf_c(w->out, ",\"rules\":[");
}

/* By which a group is found again, whatever comes or goes before it. */
static void put_token(const struct alert_rule_status *s, char out[TOKEN_BYTES + 1])
{
	struct buf text = {0};

	buf_str(&text, s->space);
	buf_char(&text, 0);
	buf_str(&text, s->group->name);
	snprintf(out, TOKEN_BYTES + 1, "%016" PRIx64, hash_stable(buf_view(&text)));
	buf_fini(&text);
}

/* Is the group, which was chosen, on the page? */
static bool on_page(struct wanted *w, const struct alert_rule_status *s)
{
	char token[TOKEN_BYTES + 1];

	if (w->most == 0)
		return true;
	put_token(s, token);
	w->begun = w->begun || w->from.n == 0 || str_eq_c(w->from, token);
	if (!w->begun)
		return false;
	if (w->n_groups < w->most)
		return true;
	if (!*w->next)
		memcpy(w->next, token, sizeof token);
	return false;
}

static void put_json(void *ctx, const struct alert_rule_status *s)
{
	struct wanted *w = ctx;

	if (w->group != s->group) {
		end_group(w);
		if (!named(w, "file[]", "file", s->space) ||
			!named(w, "rule_group[]", "rule_group", s->group->name) || !on_page(w, s))
			return;
		begin_group(w, s);
	}
	if (!s->rule)
		return;
	w->evaluated_ns = s->evaluated_ns > w->evaluated_ns ? s->evaluated_ns : w->evaluated_ns;
	w->took_ns += s->took_ns;
	if (!(s->rule->alerts ? w->alerts : w->records) ||
		!named(w, "rule_name[]", "rule_name", s->rule->name))
		return;
	if (w->n_rules++)
		buf_char(w->out, ',');
	put_rule(w, s);
}

static int read_page(struct wanted *w, struct error *e)
{
	int r = api_param_u64(w->request, "group_limit", 0, &w->most, e);

	if (r == 0 && http_param(w->request, "group_next_token", &w->from) && w->from.n &&
		w->most == 0)
		r = error_set(e, ERR_ARG, "group_limit: must be set with group_next_token");
	return r;
}

static int read_wanted(struct wanted *w, struct error *e)
{
	struct str type, name;

	w->instances = !api_param_bool(w->request, "exclude_alerts", false);
	w->some = http_param(w->request, "rule_name[]", &name) ||
		  http_param(w->request, "rule_name", &name);
	if (http_param(w->request, "type", &type) && type.n) {
		w->some = true;
		w->alerts = str_eq(type, STR("alert"));
		w->records = str_eq(type, STR("record"));
		if (!w->alerts && !w->records)
			return error_set(e, ERR_ARG, "type: must be alert or record, got \"%.*s\"",
				STR_ARG(str_sub(type, 0, 100)));
	}
	return read_page(w, e);
}

static int list_rules(struct job *j, struct error *e)
{
	struct wanted w = {.request = j->request,
		.owner = owner_of(j),
		.alerts = true,
		.records = true,
		.out = &j->body};
	int r = read_wanted(&w, e);

	if (r < 0)
		return r;
	buf_c(&j->body, "{\"status\":\"success\",\"data\":{\"groups\":[");
	if (j->api->o.alerts)
		alerts_each(j->api->o.alerts, j->tenant, put_json, &w);
	end_group(&w);
	if (w.from.n && !w.begun)
		return error_set(e, ERR_ARG,
			"group_next_token: the group is not there any more: begin without it");
	buf_char(&j->body, ']');
	if (*w.next)
		buf_printf(&j->body, ",\"groupNextToken\":\"%s\"", w.next);
	buf_c(&j->body, "},\"errorType\":\"\",\"error\":\"\"}\n");
	return 0;
}

struct instances {
	struct buf *out;
	struct owner owner;
	size_t n;
};

static void put_instances(void *ctx, const struct alert_rule_status *s)
{
	struct instances *l = ctx;

	l->n = put_alerts(l->out, &l->owner, s, l->n);
}

static int list_alerts(struct job *j, struct error *e)
{
	struct instances l = {.out = &j->body, .owner = owner_of(j)};

	buf_c(&j->body, "{\"status\":\"success\",\"data\":{\"alerts\":[");
	if (j->api->o.alerts)
		alerts_each(j->api->o.alerts, j->tenant, put_instances, &l);
	buf_c(&j->body, "]},\"errorType\":\"\",\"error\":\"\"}\n");
	return 0;
}

void loki_rules_get(struct http_request *r, void *ctx)
{
	api_tenant_job(ctx, r, get_rules);
}

void loki_rules_put(struct http_request *r, void *ctx)
{
	if (!api_is_router(ctx, r))
		api_tenant_job(ctx, r, put_group);
}

void loki_rules_delete(struct http_request *r, void *ctx)
{
	if (!api_is_router(ctx, r))
		api_tenant_job(ctx, r, delete_rules);
}

void prometheus_rules(struct http_request *r, void *ctx)
{
	api_tenant_job(ctx, r, list_rules);
}

void prometheus_alerts(struct http_request *r, void *ctx)
{
	api_tenant_job(ctx, r, list_alerts);
}
