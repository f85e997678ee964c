/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine by hand-made results, texts, ready-made rules. */
#include "alert/alert.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "alert/expand.h"
#include "alert/new_template.h"
#include "alert/ready.h"
#include "conf/option.h"

/* --- a rig ----------------------------------------------------------------------------- */

struct rig {
	struct rule rule;
	struct alert_set set;
	struct buf told; /* "a:pending>firing " */
};

/* The labels {app="NAME"}, for the life of the process. */
static struct str app_labels(const char *name)
{
	struct labels_builder b = {0};
	struct buf out = {0};

	labels_builder_set(&b, STR("app"), str_c(name), NULL);
	labels_builder_write(&b, &out);
	labels_builder_fini(&b);
	return buf_view(&out);
}

static void on_change(void *arg, const struct alert *a, enum alert_state before, bool is_new)
{
	struct rig *g = arg;
	struct str app = STR("?");

	labels_get(a->labels, STR("app"), &app);
	buf_printf(&g->told, "%.*s:%s>%s%s ", STR_ARG(app), is_new ? "new" : alert_states[before],
		alert_states[a->state],
		a->state == ALERT_RESOLVED && !a->fired_ns ? "(never)" : "");
}

/* One evaluation at `s` seconds; `apps` are letters of series that are there. */
static int step_limit(struct rig *g, int64_t s, const char *apps, uint64_t limit, struct error *e)
{
	struct query_sample samples[8];
	struct query_series series[8];
	struct query_result r = {.type = RESULT_VECTOR, .series = series};
	int code;

	for (; apps[r.n_series]; r.n_series++) {
		char name[2] = {apps[r.n_series]};
		samples[r.n_series] = (struct query_sample){s * NS_PER_SEC, (double)s};
		series[r.n_series] =
			(struct query_series){app_labels(name), &samples[r.n_series], 1};
	}
	buf_clear(&g->told);
	code = alert_step(&g->set, &g->rule, limit, &r, s * NS_PER_SEC, on_change, g, e);
	for (size_t i = 0; i < r.n_series; i++)
		free((char *)series[i].labels.p);
	return code;
}

static void step(struct rig *g, int64_t s, const char *apps, const char *want)
{
	struct error e = {0};

	if (step_limit(g, s, apps, 0, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(buf_cstr(&g->told), want);
}

static void rig_fini(struct rig *g)
{
	alert_set_fini(&g->set);
	buf_fini(&g->told);
}

static void text_is(struct str labels, const char *want)
{
	struct buf text = {0};

	labels_text(&text, labels);
	assert_string_equal(buf_cstr(&text), want);
	buf_fini(&text);
}

/* --- states ---------------------------------------------------------------------------- */

static void test_fires_at_once(void **state)
{
	struct rig g = {.rule = {.name = STR("A"), .alerts = true}};

	step(&g, 100, "ab", "a:new>firing b:new>firing ");
	step(&g, 115, "ab", "");
	step(&g, 130, "b", "a:firing>resolved ");
	assert_int_equal(g.set.n, 2);
	assert_int_equal(g.set.all[0].resolved_ns, 130 * NS_PER_SEC);
	assert_int_equal(g.set.all[0].seen_ns, 115 * NS_PER_SEC);
	assert_true(g.set.all[1].value == 130);
	step(&g, 145, "ab", "a:new>firing ");
	assert_int_equal(g.set.all[0].active_ns, 145 * NS_PER_SEC);
	assert_int_equal(g.set.all[0].resolved_ns, 0);
	step(&g, 160, "", "a:firing>resolved b:firing>resolved ");
	step(&g, 160 + 900, "", "");
	assert_int_equal(g.set.n, 2);
	step(&g, 160 + 901, "", "");
	assert_int_equal(g.set.n, 0);
	rig_fini(&g);
}

static void test_waits_for(void **state)
{
	struct rig g = {.rule = {.name = STR("A"), .alerts = true, .for_ns = 30 * NS_PER_SEC}};

	step(&g, 100, "a", "a:new>pending ");
	step(&g, 115, "a", "");
	step(&g, 120, "", "a:pending>resolved(never) ");
	assert_int_equal(g.set.n, 0);
	step(&g, 130, "a", "a:new>pending ");
	step(&g, 159, "a", "");
	step(&g, 160, "a", "a:pending>firing ");
	assert_int_equal(g.set.all[0].active_ns, 130 * NS_PER_SEC);
	assert_int_equal(g.set.all[0].fired_ns, 160 * NS_PER_SEC);
	rig_fini(&g);
}

static void test_keeps_firing(void **state)
{
	struct rig g = {
		.rule = {.name = STR("A"), .alerts = true, .keep_firing_ns = 60 * NS_PER_SEC}};

	step(&g, 100, "a", "a:new>firing ");
	step(&g, 110, "", "");
	step(&g, 150, "a", "");
	step(&g, 160, "", "");
	step(&g, 219, "", "");
	step(&g, 220, "", "a:firing>resolved ");
	rig_fini(&g);
}

/* A clock that was set back makes nothing wait until that time comes again. */
static void test_clock_goes_back(void **state)
{
	struct rig g = {.rule = {.name = STR("A"),
				.alerts = true,
				.for_ns = 30 * NS_PER_SEC,
				.keep_firing_ns = 10 * NS_PER_SEC}};

	step(&g, 10000, "a", "a:new>pending ");
	step(&g, 100, "a", "");
	step(&g, 130, "a", "a:pending>firing ");
	step(&g, 5000, "", "");
	step(&g, 200, "", "");
	step(&g, 210, "", "a:firing>resolved ");
	step(&g, 50, "", "");
	step(&g, 50 + 901, "", "");
	assert_int_equal(g.set.n, 0);
	rig_fini(&g);
}

static void test_scalar(void **state)
{
	struct rig g = {.rule = {.name = STR("A"), .alerts = true}};
	struct query_sample sample = {NS_PER_SEC, 0};
	struct query_series series = {STR("\0"), &sample, 1};
	struct query_result r = {.type = RESULT_SCALAR, .series = &series, .n_series = 1};
	struct error e;

	assert_int_equal(alert_step(&g.set, &g.rule, 0, &r, NS_PER_SEC, NULL, NULL, &e), 0);
	assert_int_equal(g.set.n, 0);
	sample.value = 2;
	assert_int_equal(alert_step(&g.set, &g.rule, 0, &r, NS_PER_SEC, NULL, NULL, &e), 0);
	assert_int_equal(g.set.n, 1);
	text_is(g.set.all[0].labels, "{alertname=\"A\"}");
	rig_fini(&g);
}

static void test_errors_change_nothing(void **state)
{
	struct rule_pair same = {STR("app"), STR("all")};
	struct rig g = {.rule = {.name = STR("A"), .alerts = true}};
	struct error e = {0};

	step(&g, 100, "ab", "a:new>firing b:new>firing ");
	assert_int_equal(step_limit(&g, 115, "abc", 2, &e), ERR_LIMIT);
	assert_string_equal(buf_cstr(&g.told), "");
	assert_int_equal(g.set.n, 2);
	g.rule.labels = &same;
	g.rule.n_labels = 1;
	assert_int_equal(step_limit(&g, 115, "ab", 0, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "{alertname=\"A\", app=\"all\"}"));
	assert_int_equal(g.set.n, 2);
	assert_int_equal(g.set.all[0].state, ALERT_FIRING);
	rig_fini(&g);
}

/* --- texts ----------------------------------------------------------------------------- */

static void test_texts(void **state)
{
	struct rule_pair labels[] = {{STR("severity"), STR("page")},
		{STR("team"), STR("team-{{ $labels.app }}")},
		{STR("empty"), STR("{{ $labels.no }}")}, {STR("alertname"), STR("other")}};
	struct rule_pair annotations[] = {
		{STR("summary"), STR("{{ $labels.app }} has {{ $value | humanize }}")},
		{STR("broken"), STR("{{ .Nope.x }}")}, {STR("syntax"), STR("{{ nothing }}")}};
	struct rig g = {.rule = {.name = STR("A"),
				.alerts = true,
				.labels = labels,
				.n_labels = 4,
				.annotations = annotations,
				.n_annotations = 3}};
	struct str value;
	struct error e = {0};

	step(&g, 1234, "a", "a:new>firing ");
	text_is(g.set.all[0].labels,
		"{alertname=\"A\", app=\"a\", severity=\"page\", team=\"team-a\"}");
	assert_true(labels_get(g.set.all[0].annotations, STR("summary"), &value));
	assert_true(str_eq_c(value, "a has 1.234k"));
	assert_true(labels_get(g.set.all[0].annotations, STR("broken"), &value));
	assert_true(str_starts(value, STR("<error expanding template: ")));
	assert_true(labels_get(g.set.all[0].annotations, STR("syntax"), &value));
	assert_true(str_find(value, STR("function \"nothing\" not defined")) > 0);
	/* The newest value is told. */
	step(&g, 2000, "a", "");
	assert_true(labels_get(g.set.all[0].annotations, STR("summary"), &value));
	assert_true(str_eq_c(value, "a has 2k"));
	/* What can be known before is refused before. */
	assert_int_equal(expand_check(&g.rule, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "alert A: syntax"));
	g.rule.n_annotations = 2;
	assert_int_equal(expand_check(&g.rule, &e), 0);
	rig_fini(&g);
}

static void test_long_text_is_cut(void **state)
{
	struct rule_pair annotation = {STR("summary"),
		STR("{{ printf \"%20000s\" \"x\" | len }}{{ repeat 40000 \"\xc3\xa4\" }}")};
	struct rig g = {.rule = {.name = STR("A"),
				.alerts = true,
				.annotations = &annotation,
				.n_annotations = 1}};
	struct str value;

	step(&g, 1, "a", "a:new>firing ");
	assert_true(labels_get(g.set.all[0].annotations, STR("summary"), &value));
	assert_true(value.n <= ALERT_VALUE_MAX && value.n > ALERT_VALUE_MAX - 2);
	assert_int_equal(str_utf8_valid(value), value.n);
	rig_fini(&g);
}

/* --- ready-made rules ------------------------------------------------------------------ */

struct settings {
	struct kinds ready;
};

static const struct option settings_options[] = {
	OPTION(struct settings, ready, .kind = OPT_KINDS, .kinds = &ready_kinds, .help = "Some."),
	OPTION_END,
};

static int load(struct settings *s, const char *yaml, struct arena *a, struct buf *why)
{
	struct conf_source src = {.file = "t", .text = str_c(yaml)};
	struct conf_errors errors = {0};
	int r;

	*s = (struct settings){0};
	r = conf_load(s, settings_options, &src, a, &errors);
	buf_str(why, buf_view(&errors.text));
	buf_fini(&errors.text);
	return r;
}

static void ready_is(const char *yaml, const char *expr, const char *summary, int64_t interval_s)
{
	struct buf text = {0}, why = {0};
	struct rule_group g, again;
	struct settings s;
	struct error e;
	struct arena a;

	arena_init(&a, NULL);
	if (load(&s, yaml, &a, &why) < 0)
		fail_msg("%s", buf_cstr(&why));
	assert_int_equal(ready_check(&s.ready, &e), 0);
	g = ready_group(&s.ready.items[0], &a);
	assert_string_equal(arena_c(&a, g.rules[0].expr), expr);
	assert_string_equal(arena_c(&a, g.rules[0].annotations[0].value), summary);
	assert_int_equal(g.interval_ns, interval_s * NS_PER_SEC);
	/* It is a rule as any other. */
	rule_group_write(&g, 0, false, &text);
	if (rule_group_parse(&again, buf_view(&text), &a, &e) < 0)
		fail_msg("%s\n%s", buf_cstr(&text), e.text);
	assert_int_equal(expand_check(&again.rules[0], &e), 0);
	buf_fini(&text);
	buf_fini(&why);
	arena_fini(&a);
}

static void test_ready(void **state)
{
	ready_is("ready: [{errors: {}}]",
		"sum (count_over_time({input!=\"alert\"} | detected_level=~\"error|critical|fatal\" [1m])) >= 10",
		"{{ $value }} errors in the last 1m", 0);
	ready_is(
		"ready: [{errors: {match: '{a=\"b\"}', by: [app, host], window: 90s, threshold: 3}}]",
		"sum by (app, host) (count_over_time({a=\"b\"} | "
		"detected_level=~\"error|critical|fatal\" [1m30s])) >= 3",
		"{{ $value }} errors of {{ $labels.app }}/{{ $labels.host }} in the last 1m30s", 0);
	ready_is("ready: [{absent: {}}]",
		"sum by (app) (count_over_time({input!=\"alert\"} [1d])) unless sum by (app) (count_over_time({input!=\"alert\"} "
		"[10m]))",
		"no line of {{ $labels.app }} in the last 10m, {{ $value }} in the last 1d", 60);
	ready_is("ready: [{new_template: {match: '{app=\"a\"} |= \"x\"'}}]",
		"new_template({app=\"a\"} |= \"x\" [5m], 7d)",
		"a line of a kind that did not come in the last 7d: {{ $labels.pattern }}", 60);
	ready_is("ready: [{rate_change: {by: [], labels: {team: '{{x'}}}]",
		"(sum (count_over_time({input!=\"alert\"} [1h])) / sum (count_over_time({input!=\"alert\"} [1h] offset 7d)) > 3 and "
		"sum (count_over_time({input!=\"alert\"} [1h])) >= 100) or ((sum (count_over_time({input!=\"alert\"} [1h])) or 0 * "
		"sum (count_over_time({input!=\"alert\"} [1h] offset 7d))) / sum (count_over_time({input!=\"alert\"} [1h] offset "
		"7d)) < 1 / 3 and sum (count_over_time({input!=\"alert\"} [1h] offset 7d)) >= 100)",
		"{{ humanize $value }} times as many lines in the last 1h as 7d before", 60);
}

static void test_ready_refusals(void **state)
{
	static const char *const bad[][2] = {
		{"ready: [{error: {}}]", "errors"},
		{"ready: [{errors: {match: 'rate({}[1m])'}}]", "selector"},
		{"ready: [{errors: {match: '{'}}]", "parse error"},
		{"ready: [{errors: {by: ['a b']}}]", "no name of a label"},
		{"ready: [{errors: {labels: {'a b': x}}}]", "no name of a label"},
		{"ready: [{absent: {seen: 1m}}]", "longer than"},
		{"ready: [{rate_change: {factor: 1}}]", "above 1"},
		{"ready: [{rate_change: {against: 1m}}]", "overlap"},
	};
	struct settings s;
	struct error e;
	struct arena a;

	arena_init(&a, NULL);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct buf why = {0};
		assert_true(load(&s, bad[i][0], &a, &why) < 0);
		if (!strstr(buf_cstr(&why), bad[i][1]))
			fail_msg("%s: \"%s\" has no \"%s\"", bad[i][0], buf_cstr(&why), bad[i][1]);
		buf_fini(&why);
	}
	{
		struct buf why = {0};
		assert_int_equal(
			load(&s, "ready:\n- errors: {}\n- absent: {name: errors}", &a, &why), 0);
		assert_int_equal(ready_check(&s.ready, &e), ERR_ARG);
		assert_non_null(strstr(e.text, "line 2 and line 3"));
		buf_fini(&why);
	}
	arena_fini(&a);
}

static void test_new_template_expression(void **state)
{
	static const char *const bad[] = {"new_template()", "new_template({} [5m])",
		"new_template({} [5m], 7d", "new_template({} [5m], 7d) > 1", "new_template({}, 7d)",
		"new_template({} [x], 7d)", "new_template(rate({}[1m]) [5m], 7d)",
		"new_template({} [0s], 7d)", "new_template"};
	struct new_template n;
	struct error e;

	assert_int_equal(
		new_template_parse(&n, STR(" new_template( {a=\"],[\"} |= \"),\" [5m] , 7d )"), &e),
		0);
	assert_int_equal(n.window_ns, 300 * NS_PER_SEC);
	assert_int_equal(n.history_ns, 7 * 86400 * NS_PER_SEC);
	new_template_fini(&n);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(new_template_parse(&n, str_c(bad[i]), &e), ERR_ARG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fires_at_once),
		cmocka_unit_test(test_waits_for),
		cmocka_unit_test(test_keeps_firing),
		cmocka_unit_test(test_clock_goes_back),
		cmocka_unit_test(test_scalar),
		cmocka_unit_test(test_errors_change_nothing),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_long_text_is_cut),
		cmocka_unit_test(test_ready),
		cmocka_unit_test(test_ready_refusals),
		cmocka_unit_test(test_new_template_expression),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
