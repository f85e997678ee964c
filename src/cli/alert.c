/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `alert`: what the rules of a server say, what a rule would have said over a
 * time that has passed (alert_past.h), and silences (silence.h).
 */
#include <inttypes.h>
#include <stdlib.h>

#include "alert/expand.h"
#include "alert/new_template.h"
#include "alert/rules.h"
#include "base/duration.h"
#include "cli/alert_past.h"
#include "cli/silence.h"
#include "cli/table.h"
#include "os/clock.h"
#include "record/time.h"

#define RULES_PATH "/prometheus/api/v1/rules"
/* What a server takes for groups that name no interval. */
#define INTERVAL_NS (15 * NS_PER_SEC)
#define DAY_NS      (24 * 3600 * NS_PER_SEC)

enum { STATE_ALL, STATE_FIRING, STATE_PENDING, STATE_INACTIVE };

static const char *const states[] = {"all", "firing", "pending", "inactive", NULL};

/* --- list ------------------------------------------------------------------------------ */

/* The labels without the name, which has a column of its own. */
static void put_labels(struct buf *out, struct str labels)
{
	struct labels_builder b = {0};
	struct buf rest = {0};
	struct label l;

	b.names_free = true;
	labels_start(&labels);
	while (labels_next(&labels, &l))
		if (!str_eq_c(l.name, "alertname"))
			labels_builder_set(&b, l.name, l.value, NULL);
	labels_builder_write(&b, &rest);
	labels_text(out, buf_view(&rest));
	labels_builder_fini(&b);
	buf_fini(&rest);
}

/* "firing since 2026-11-21T10:00:00Z, 12: {app="web"}" */
static void put_alert(struct table *t, const struct json *j, size_t at)
{
	struct str value = json_get_text(j, at, "value"), since = json_get_text(j, at, "activeAt");
	struct labels_builder b = {0};
	struct buf labels = {0}, text = {0};
	double v;

	buf_printf(
		&text, "%.*s since %.*s, ", STR_ARG(json_get_text(j, at, "state")), STR_ARG(since));
	/* "1.2e+01" */
	if (str_double(value, &v))
		buf_printf(&text, "%.9g: ", v);
	else
		buf_printf(&text, "%.*s: ", STR_ARG(value));
	if (json_get(j, at, "silenced"))
		buf_c(&text, "silenced: ");
	if (json_get(j, at, "labels"))
		print_labels_of(j, json_get(j, at, "labels"), &b, &labels);
	put_labels(&text, buf_view(&labels));
	table_note(t, buf_view(&text));
	labels_builder_fini(&b);
	buf_fini(&labels);
	buf_fini(&text);
}

static bool wanted(const struct command_line *cl, const struct json *j, size_t rule)
{
	int state = flag_choice(cl, "state");

	return state == STATE_ALL || str_eq_c(json_get_text(j, rule, "state"), states[state]);
}

static void put_rule(struct table *t, const struct json *j, size_t group, size_t at)
{
	size_t alerts = json_get(j, at, "alerts");
	struct str state = json_get_text(j, at, "state"), bad = json_get_text(j, at, "lastError");
	struct buf text = {0};

	table_text(t, state.n ? state : STR("recording"));
	table_text(t, json_get_text(j, at, "name"));
	table_text(t, json_get_text(j, group, "name"));
	duration_format(&text, (int64_t)(table_double(j, at, "duration") * 1e3) * NS_PER_MS);
	table_text(t, state.n ? buf_view(&text) : STR_NONE);
	table_text(t, str_trim(json_get_text(j, at, "query")));
	for (size_t i = alerts ? json_first(j, alerts) : 0; alerts && i < json_end(j, alerts);
		i = json_next(j, i))
		put_alert(t, j, i);
	if (bad.n) {
		buf_clear(&text);
		/* A warning, and what is said of recording rules, stand there too. */
		buf_printf(&text, "%s%.*s",
			str_eq_c(json_get_text(j, at, "health"), "err") ? "failed: " : "",
			STR_ARG(bad));
		table_note(t, buf_view(&text));
	}
	buf_fini(&text);
}

/* The rule's object with the names of its group and file in front. */
static void put_json(
	struct command_line *cl, const struct json *j, size_t group, size_t at, size_t n)
{
	bool lines = flag_choice(cl, "output") == TABLE_JSONL;
	struct buf out = {0}, rule = {0};

	buf_c(&out, n == 0 ? (lines ? "" : "[") : (lines ? "\n" : ",\n"));
	buf_c(&out, "{\"file\":");
	buf_json(&out, json_get_text(j, group, "file"));
	buf_c(&out, ",\"group\":");
	buf_json(&out, json_get_text(j, group, "name"));
	print_json(&rule, j, at);
	buf_char(&out, ',');
	buf_str(&out, str_sub(buf_view(&rule), 1, rule.n));
	fwrite(out.p, 1, out.n, cl->out);
	buf_fini(&out);
	buf_fini(&rule);
}

static size_t groups_of(const struct json *j, struct error *e)
{
	size_t data = json_get(j, 0, "data"), groups = data ? json_get(j, data, "groups") : 0;

	if (groups && j->nodes[groups].type == JSON_ARRAY)
		return groups;
	error_set(e, ERR_NET, "the answer holds no rules: is this a server with Loki's rules?");
	return 0;
}

static int print_rules(struct command_line *cl, const struct json *j, struct error *e)
{
	static const struct table_column columns[] = {{"STATE", false}, {"RULE", false},
		{"GROUP", false}, {"FOR", true}, {"EXPRESSION", false}, {NULL, false}};
	bool table = flag_choice(cl, "output") == TABLE_DEFAULT;
	size_t groups = groups_of(j, e), n = 0;
	struct table t;

	if (!groups)
		return e->code;
	if (table)
		table_init(&t, cl, columns);
	for (size_t g = json_first(j, groups); g < json_end(j, groups); g = json_next(j, g)) {
		size_t rules = json_get(j, g, "rules");

		for (size_t i = rules ? json_first(j, rules) : 0; rules && i < json_end(j, rules);
			i = json_next(j, i)) {
			if (!wanted(cl, j, i))
				continue;
			if (table)
				put_rule(&t, j, g, i);
			else
				put_json(cl, j, g, i, n);
			n++;
		}
	}
	if (table)
		table_fini(&t);
	else if (flag_choice(cl, "output") == TABLE_JSON)
		fputs(n ? "]\n" : "[]\n", cl->out);
	else if (n)
		fputc('\n', cl->out);
	return 0;
}

static int run_list(struct command_line *cl)
{
	struct remote *remote = NULL;
	struct error e = {0};
	struct json j;
	int r;

	if ((r = remote_open(&remote, cl, &e)) == 0 &&
		(r = remote_get(remote, RULES_PATH, &j, &e)) == 0) {
		remote_warnings(cl, &j);
		r = print_rules(cl, &j, &e);
	}
	remote_close(remote);
	return r < 0 ? remote_fail(cl, NULL, &e) : EXIT_OK;
}

static const struct flag list_flags[] = {
	{.name = "state",
		.kind = FLAG_CHOICE,
		.choices = states,
		.fallback = "all",
		.help = "Only rules in this state: that of the worst of their alerts."},
	FLAG_END,
};

static const struct command command_list = {
	.name = "alert list",
	.args = "",
	.summary = "show the rules of a server, and the alerts they have raised",
	.description =
		"Rules of alerts.groups_file and alerts.ready of the server's configuration, and "
		"those that were put over Loki's API. Recording rules are listed and not "
		"evaluated.",
	.examples = "sawlog alert list --state firing\n"
		    "sawlog alert list -o jsonl | jq -r '.name + \": \" + .query'\n",
	.flags = list_flags,
	.groups = {&table_flags, &remote_flags, &access_flags},
	.run = run_list,
};

/* --- test ------------------------------------------------------------------------------ */

/* The rules that are tried. */
struct trial {
	struct command_line *cl;
	struct remote *remote;
	struct table t;
	bool table;
	int64_t from_ns, until_ns;
	size_t n_rules, n_found, n_rows;
	bool incomplete;
	struct buf notes; /* a line for each rule, below the table */
};

static int check_rule(const struct rule *r, struct error *e)
{
	int code;

	if (new_template_is(r->expr))
		return error_set(e, ERR_UNSUPPORTED,
			"%.*s: kinds of lines that are new are not looked for in the past: `sawlog "
			"diff` compares two times",
			STR_ARG(r->name));
	code = expand_check(r, e);
	return code < 0 ? error_wrap(e, code, "%.*s", STR_ARG(r->name)) : 0;
}

static void put_span(struct buf *out, int64_t ns)
{
	if (ns > 0 && ns % DAY_NS == 0)
		buf_printf(out, "%" PRId64 "d", ns / DAY_NS);
	else
		duration_format(out, ns / NS_PER_SEC * NS_PER_SEC);
}

static void put_value(struct buf *out, const struct past_alert *x)
{
	buf_printf(out, "%.6g", x->min);
	if (x->max != x->min)
		buf_printf(out, " to %.6g", x->max);
}

static void put_past_row(struct trial *tr, const struct rule *r, const struct past_alert *x)
{
	struct buf text = {0};

	time_format_local(&text, x->from_ns);
	table_text(&tr->t, buf_view(&text));
	buf_clear(&text);
	put_span(&text, (x->until_ns == INT64_MAX ? tr->until_ns : x->until_ns) - x->from_ns);
	buf_c(&text, x->until_ns == INT64_MAX ? " so far" : "");
	table_text(&tr->t, buf_view(&text));
	buf_clear(&text);
	put_value(&text, x);
	table_text(&tr->t, buf_view(&text));
	table_text(&tr->t, r->name);
	buf_clear(&text);
	put_labels(&text, x->labels);
	table_text(&tr->t, buf_view(&text));
	buf_fini(&text);
}

static void put_past_json(struct trial *tr, const struct rule *r, const struct past_alert *x)
{
	bool lines = flag_choice(tr->cl, "output") == TABLE_JSONL;
	struct buf out = {0};

	buf_c(&out, tr->n_rows == 0 ? (lines ? "" : "[") : (lines ? "\n" : ",\n"));
	buf_c(&out, "{\"rule\":");
	buf_json(&out, r->name);
	buf_c(&out, ",\"labels\":");
	labels_json(&out, x->labels);
	time_json(&out, "pending", x->pending_ns);
	time_json(&out, "from", x->from_ns);
	time_json(&out, "until", x->until_ns);
	buf_printf(&out, ",\"min\":\"%.9g\",\"max\":\"%.9g\"}", x->min, x->max);
	fwrite(out.p, 1, out.n, tr->cl->out);
	buf_fini(&out);
}

/* "errors: would have fired 3 times in 30d, for 12m0s; 2 times not for long enough …" */
static void put_note(struct trial *tr, const struct alert_past *p)
{
	struct buf *out = &tr->notes;
	int64_t sum = 0;

	for (size_t i = 0; i < p->n; i++)
		sum += (p->all[i].until_ns == INT64_MAX ? tr->until_ns : p->all[i].until_ns) -
		       p->all[i].from_ns;
	buf_printf(out, "%.*s: ", STR_ARG(p->rule->name));
	if (p->n == 0)
		buf_c(out, "would not have fired");
	else
		buf_printf(out, "would have fired %zu time%s, for ", p->n, p->n == 1 ? "" : "s");
	if (p->n > 0)
		put_span(out, sum);
	buf_c(out, p->n > 0 ? " in all, in " : " in ");
	put_span(out, tr->until_ns - tr->from_ns);
	buf_c(out, ", looked at every ");
	put_span(out, p->step_ns);
	if (p->n_short > 0)
		buf_printf(out, "; %" PRIu64 " time%s not for as long as `for` asks", p->n_short,
			p->n_short == 1 ? "" : "s");
	buf_char(out, '\n');
	if (p->n_failed == 0)
		return;
	buf_printf(out, "%.*s: would have failed %" PRIu64 " time%s, first at ",
		STR_ARG(p->rule->name), p->n_failed, p->n_failed == 1 ? "" : "s");
	time_format_local(out, p->failed_ns);
	buf_printf(out, ": %s\n", p->failure);
}

static int try_rule(
	struct trial *tr, const struct rule *r, const struct rule_group *g, struct error *e)
{
	int64_t step = flag_given(tr->cl, "step") ? flag_int(tr->cl, "step")
		       : g->interval_ns > 0       ? g->interval_ns
						  : INTERVAL_NS;
	struct alert_past p = {.remote = tr->remote,
		.cl = tr->cl,
		.rule = r,
		.limit = g->limit,
		.step_ns = step,
		.offset_ns = g->offset_ns,
		.until_ns = tr->until_ns};
	int code = check_rule(r, e);

	if (code < 0)
		return code;
	/* A server evaluates at the multiples of the interval. */
	p.from_ns = tr->from_ns - tr->from_ns % step;
	if ((code = alert_past_run(&p, e)) < 0)
		error_wrap(e, code, "%.*s", STR_ARG(r->name));
	for (size_t i = 0; code == 0 && i < p.n; i++) {
		if (tr->table)
			put_past_row(tr, r, &p.all[i]);
		else
			put_past_json(tr, r, &p.all[i]);
		tr->n_rows++;
	}
	if (code == 0)
		put_note(tr, &p);
	tr->incomplete = tr->incomplete || p.incomplete;
	alert_past_fini(&p);
	return code;
}

/* Is the rule one of those that were named behind the file? */
static bool is_asked(const struct command_line *cl, struct str name)
{
	for (size_t i = 1; i < cl->n_args; i++)
		if (str_eq_c(name, cl->args[i]))
			return true;
	return cl->n_args == 1;
}

static int try_file(struct trial *tr, struct error *e)
{
	const char *file = tr->cl->args[0];
	struct rule_group *groups;
	struct buf text = {0};
	size_t n = 0;
	int r;

	if ((r = fs_read_all(fs_real(), file, RULE_FILE_MAX, &text, e)) == 0 &&
		(r = rule_groups_parse(&groups, &n, buf_view(&text), &tr->cl->arena, e)) < 0)
		error_wrap(e, r, "%s", file);
	for (size_t g = 0; r == 0 && g < n; g++)
		for (size_t i = 0; r == 0 && i < groups[g].n; i++) {
			const struct rule *rule = &groups[g].rules[i];

			if (!rule->alerts || !is_asked(tr->cl, rule->name))
				continue;
			tr->n_found++;
			r = try_rule(tr, rule, &groups[g], e);
		}
	if (r == 0 && tr->n_found == 0)
		r = error_set(e, ERR_NOT_FOUND, "%s: there is no such alerting rule in it", file);
	buf_fini(&text);
	return r;
}

static struct str copy(struct arena *a, struct str s)
{
	return str_make(arena_c(a, s), s.n);
}

static void copy_pairs(
	const struct json *j, size_t at, struct arena *a, struct rule_pair **out, size_t *n)
{
	*n = 0;
	if (!at || j->nodes[at].type != JSON_OBJECT)
		return;
	*out = ARENA_ARRAY(a, struct rule_pair, j->nodes[at].inside + 1);
	for (size_t i = json_first(j, at); i < json_end(j, at); i = json_next(j, i + 1))
		(*out)[(*n)++] = (struct rule_pair){
			copy(a, j->nodes[i].text), copy(a, j->nodes[i + 1].text)};
}

static int64_t seconds(const struct json *j, size_t at, const char *key)
{
	double s = table_double(j, at, key);

	return s > 0 && s < 1e9 ? (int64_t)(s * 1e3 + 0.5) * NS_PER_MS : 0;
}

/* A rule of the server, as far as evaluating goes. */
struct served_rule {
	struct rule rule;
	struct rule_group group;
};

static struct served_rule read_rule(const struct json *j, size_t group, size_t at, struct arena *a)
{
	struct served_rule s = {.rule = {.name = copy(a, json_get_text(j, at, "name")),
					.alerts = true,
					.expr = copy(a, json_get_text(j, at, "query")),
					.for_ns = seconds(j, at, "duration"),
					.keep_firing_ns = seconds(j, at, "keepFiringFor")},
		.group = {.interval_ns = seconds(j, group, "interval"),
			.limit = table_u64(j, group, "limit")}};

	copy_pairs(j, json_get(j, at, "labels"), a, &s.rule.labels, &s.rule.n_labels);
	copy_pairs(
		j, json_get(j, at, "annotations"), a, &s.rule.annotations, &s.rule.n_annotations);
	return s;
}

/* All rules of the server that have the name. */
static int find_served(struct trial *tr, struct str name, struct buf *out, struct error *e)
{
	struct json j;
	size_t groups;
	int r;

	if ((r = remote_get(tr->remote, RULES_PATH "?type=alert", &j, e)) < 0)
		return r;
	if (!(groups = groups_of(&j, e)))
		return e->code;
	for (size_t g = json_first(&j, groups); g < json_end(&j, groups); g = json_next(&j, g)) {
		size_t rules = json_get(&j, g, "rules");

		for (size_t i = rules ? json_first(&j, rules) : 0; rules && i < json_end(&j, rules);
			i = json_next(&j, i)) {
			struct served_rule s;

			if (!str_eq(json_get_text(&j, i, "name"), name) ||
				str_eq_c(json_get_text(&j, i, "type"), "recording"))
				continue;
			s = read_rule(&j, g, i, &tr->cl->arena);
			buf_put(out, &s, sizeof s);
		}
	}
	return 0;
}

static int try_served(struct trial *tr, struct error *e)
{
	int r = 0;

	for (size_t k = 0; k < tr->cl->n_args && r == 0; k++) {
		struct buf found = {0};
		const struct served_rule *all;

		r = find_served(tr, str_c(tr->cl->args[k]), &found, e);
		if (r == 0 && found.n == 0)
			r = error_set(e, ERR_NOT_FOUND,
				"%s: no file, and no alerting rule of the server: `sawlog alert "
				"list` shows them",
				tr->cl->args[k]);
		all = (const struct served_rule *)found.p;
		for (size_t i = 0; r == 0 && i < found.n / sizeof *all; i++)
			r = try_rule(tr, &all[i].rule, &all[i].group, e);
		buf_fini(&found);
	}
	return r;
}

static int run_trial(struct trial *tr, struct error *e)
{
	static const struct table_column columns[] = {{"FIRED", false}, {"FOR", true},
		{"VALUE", true}, {"RULE", false}, {"LABELS", false}, {NULL, false}};
	struct file_stat st;
	int r;

	if (tr->table)
		table_init(&tr->t, tr->cl, columns);
	if (fs_stat(fs_real(), tr->cl->args[0], &st, NULL) == 0 && st.kind != FILE_DIRECTORY)
		r = try_file(tr, e);
	else
		r = try_served(tr, e);
	if (!tr->table && tr->n_rows > 0)
		fputs(flag_choice(tr->cl, "output") == TABLE_JSON ? "]\n" : "\n", tr->cl->out);
	else if (!tr->table && r == 0 && flag_choice(tr->cl, "output") == TABLE_JSON)
		fputs("[]\n", tr->cl->out);
	if (tr->table && (tr->n_rows > 0 && r == 0)) {
		table_fini(&tr->t);
		fputc('\n', tr->cl->out);
	} else if (tr->table) {
		buf_fini(&tr->t.cells);
	}
	fprintf(tr->table ? tr->cl->out : tr->cl->err, "%.*s", STR_ARG(buf_view(&tr->notes)));
	buf_fini(&tr->notes);
	return r;
}

static int run_test(struct command_line *cl)
{
	struct trial tr = {.cl = cl, .table = flag_choice(cl, "output") == TABLE_DEFAULT};
	struct error e = {0};
	int r;

	tr.until_ns = flag_given(cl, "until") ? flag_int(cl, "until") : cl->now_ns;
	tr.from_ns = flag_given(cl, "since") ? flag_int(cl, "since") : tr.until_ns - DAY_NS;
	if (tr.from_ns < 0 || tr.from_ns >= tr.until_ns) {
		error_set(&e, ERR_ARG, "--since: must lie before the end, and after 1970");
		return command_usage(cl, &e);
	}
	if ((r = remote_open(&tr.remote, cl, &e)) == 0)
		r = run_trial(&tr, &e);
	remote_close(tr.remote);
	if (r < 0)
		return remote_fail(cl, NULL, &e);
	return tr.incomplete ? EXIT_TEMPORARY : EXIT_OK;
}

static const struct flag test_flags[] = {
	{.name = "since",
		.aliases = "from",
		.kind = FLAG_TIME,
		.fallback = "1d",
		.help = "Begin: how long ago (3h, 30d), a date or time, or RFC 3339."},
	{.name = "until",
		.aliases = "to",
		.kind = FLAG_TIME,
		.help = "End, in the same forms. Default: now."},
	{.name = "step",
		.kind = FLAG_DURATION,
		.min = 1000000,
		.max = INT64_C(365) * 86400 * 1000000000,
		.help = "Evaluate so often. Default: as the group says, or each 15s."},
	FLAG_END,
};

static const struct command command_test = {
	.name = "alert test",
	.args = "RULE…|FILE [RULE…]",
	.summary = "say when rules would have fired over a time that has passed",
	.description =
		"Of the rules of a file in Loki's and Prometheus's form, or of rules that the server "
		"has, by their names. The server is asked for the values at every moment at which "
		"the rule would have been evaluated, and `for` and `keep_firing_for` count as they "
		"do there. Nobody is notified, and nothing on the server changes.\n\n"
		"VALUE is the least and the largest value while it fired. What was active before "
		"the begin counts from the begin.",
	.examples = "sawlog alert test rules.yaml --since 30d\n  all alerting rules of the file\n"
		    "sawlog alert test HighErrorRate --since 7d -o jsonl | jq .from\n",
	.flags = test_flags,
	.groups = {&table_flags, &remote_flags, &access_flags},
	.min_args = 1,
	.max_args = 1000,
	.run = run_test,
};

/* --- the group ------------------------------------------------------------------------- */

static const struct command *const subs[] = {
	&command_list, &command_test, &command_alert_silence, NULL};

const struct command command_alert = {
	.name = "alert",
	.args = "",
	.summary = "show alerts, try rules over the past, silence",
	.description = "Rules are those of `alerts:` of the server's configuration and those that "
		       "were put over Loki's rules API.",
	.subs = subs,
};
