/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules over a real store on a fake disk, by a fake clock: who is told what, and
 * when.  The thread is not started: `turn` is called by hand.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>

#include "alert/notify.h"
#include "query/peers.h"

/* What is told comes here, and who leads is said here. */
static void test_notify_put(struct notify *n, const struct alert_note *note, bool speak);
static bool test_peers_leads(struct peers *p);
#define notify_put  test_notify_put
#define peers_leads test_peers_leads
#include "alert/alerts.c"

#include "conf/option.h"
#include "os/fake.h"
#include "record/severity.h"
#include "store/store.h"

/* A minute and an hour begin here. */
#define T0 (INT64_C(1800000000) * NS_PER_SEC)

struct fixture {
	struct fs *fs;
	struct clock *clock;
	struct account memory;
	struct store *store;
	struct rules *rules;
	struct alerts *alerts;
	struct arena arena;
	struct buf told; /* "Name{app}:state! " */
	struct buf seen; /* the states on the disk when something is told, where that is watched */
	bool leads, watched;
};

static struct fixture *fixture;

static void test_notify_put(struct notify *n, const struct alert_note *note, bool speak)
{
	struct str app = STR("-");

	labels_get(note->alert->labels, STR("app"), &app);
	buf_printf(&fixture->told, "%.*s{%.*s}:%s%s ", STR_ARG(note->rule), STR_ARG(app),
		alert_states[note->alert->state], speak ? "!" : "");
	if (fixture->watched)
		assert_int_equal(fs_read_all(fixture->fs, "alerts/states.json", STATES_FILE_MAX,
					 &fixture->seen, NULL),
			0);
}

static bool test_peers_leads(struct peers *p)
{
	return fixture->leads;
}

/* --- the rig --------------------------------------------------------------------------- */

static void on_done(void *arg, const struct sink_result *result)
{
	atomic_store((_Atomic int *)arg, result->code ? result->code : 1);
}

static void commit(struct fixture *f, struct batch *b)
{
	_Atomic int done = 0;
	struct error e = {0};
	struct timespec pause = {.tv_nsec = 100000};

	if (sink_submit(store_sink(f->store), b, on_done, (void *)&done, &e) < 0)
		fail_msg("%s", e.text);
	while (atomic_load(&done) == 0)
		nanosleep(&pause, NULL);
	assert_int_equal(atomic_load(&done), 1);
}

/* n lines of {app="APP"}, now. */
static void say(struct fixture *f, const char *app, const char *line, int n)
{
	int64_t now = clock_now_ns(f->clock);
	struct batch_builder *bb = batch_builder_new(STR("default"), STR("test"), now);
	struct labels_builder b = {0};
	struct buf labels = {0};

	labels_builder_set(&b, STR("app"), str_c(app), NULL);
	labels_builder_write(&b, &labels);
	for (int i = 0; i < n; i++) {
		struct record r = {.timestamp = now - i,
			.body = str_c(line),
			.stream = batch_builder_stream(bb, buf_view(&labels)),
			.severity = severity_detect(str_c(line)),
			.flags = RECORD_LEVEL_DETECTED};
		assert_int_equal(batch_builder_add(bb, &r, NULL), 0);
	}
	commit(f, batch_builder_finish(bb, now));
	batch_builder_free(bb);
	labels_builder_fini(&b);
	buf_fini(&labels);
}

static void start(struct fixture *f)
{
	struct alerts_env env = {.store = f->store,
		.fs = f->fs,
		.clock = f->clock,
		.account = &f->memory,
		.rules = f->rules,
		.dir = "alerts"};

	f->alerts = alerts_make(&env);
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof *f);
	struct store_options o = {.dir = "data"};
	struct error e;

	f->fs = o.fs = fs_fake_new(1);
	f->clock = o.clock = clock_fake_new(T0);
	account_init(&f->memory, "memory", 64 << 20, NULL);
	o.account = &f->memory;
	f->leads = true;
	arena_init(&f->arena, NULL);
	assert_int_equal(fs_mkdir(f->fs, "alerts", &e), 0);
	assert_int_equal(store_open(&f->store, &o, &e), 0);
	assert_int_equal(rules_open(&f->rules, f->fs, "rules", &e), 0);
	*state = fixture = f;
	start(f);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	alerts_free(f->alerts);
	rules_close(f->rules);
	store_close(f->store);
	assert_int_equal(account_held(&f->memory), 0);
	fs_fake_free(f->fs);
	clock_fake_free(f->clock);
	arena_fini(&f->arena);
	buf_fini(&f->told);
	buf_fini(&f->seen);
	free(f);
	return 0;
}

/* `alerts` as YAML. */
static int apply_yaml(struct fixture *f, const char *yaml, struct error *e)
{
	struct alert_settings *s = ARENA_NEW(&f->arena, struct alert_settings);
	struct conf_source src = {.file = "/t", .text = str_c(yaml)};
	struct conf_errors errors = {0};

	if (conf_load(s, alert_options, &src, &f->arena, &errors) < 0)
		fail_msg("%s", buf_cstr(&errors.text));
	buf_fini(&errors.text);
	return alerts_apply(f->alerts, s, NULL, e);
}

static void apply(struct fixture *f, const char *yaml)
{
	struct error e;

	if (apply_yaml(f, yaml, &e) < 0)
		fail_msg("%s", e.text);
}

static void write_file(struct fixture *f, const char *path, const char *text)
{
	struct error e;

	if (fs_write_all(f->fs, path, str_c(text), &e) < 0)
		fail_msg("%s", e.text);
}

/* What is due is evaluated, and what is told is what is wanted. */
static void tells(struct fixture *f, const char *want)
{
	buf_clear(&f->told);
	lock_take(&f->alerts->lock);
	turn(f->alerts);
	lock_drop(&f->alerts->lock);
	assert_string_equal(buf_cstr(&f->told), want);
}

static void after(struct fixture *f, int64_t s, const char *want)
{
	clock_fake_advance(f->clock, s * NS_PER_SEC);
	tells(f, want);
}

static void restart(struct fixture *f)
{
	alerts_free(f->alerts);
	start(f);
}

struct listing {
	struct buf text;
};

static void list_one(void *ctx, const struct alert_rule_status *s)
{
	struct listing *l = ctx;

	if (!s->rule) {
		buf_printf(&l->text, "%.*s/ ", STR_ARG(s->group->name));
		return;
	}
	buf_printf(&l->text, "%.*s/%.*s:%zu", STR_ARG(s->group->name), STR_ARG(s->rule->name),
		s->n_alerts);
	for (size_t i = 0; i < s->n_alerts; i++)
		buf_printf(&l->text, ",%s@%" PRId64, alert_states[s->alerts[i].state],
			(s->alerts[i].active_ns - T0) / NS_PER_SEC);
	buf_printf(&l->text, "%s%s ", s->error[0] ? "?" : "", s->error);
}

static void lists(struct fixture *f, const char *tenant, const char *want)
{
	struct listing l = {0};

	alerts_each(f->alerts, str_c(tenant), list_one, &l);
	assert_string_equal(buf_cstr(&l.text), want);
	buf_fini(&l.text);
}

static void put_rules(struct fixture *f, const char *tenant, const char *yaml)
{
	struct error e;

	if (rules_put(f->rules, str_c(tenant), STR("space"), str_c(yaml), &e) < 0)
		fail_msg("%s", e.text);
	alerts_rules_changed(f->alerts);
}

/* --- tests ----------------------------------------------------------------------------- */

/* Ten errors in a minute; nine are too few, and with the first ones gone it ends. */
static void errors_fire(void **state)
{
	struct fixture *f = *state;

	apply(f, "ready: [{errors: {by: [app]}}]");
	say(f, "shop", "ERROR no", 9);
	say(f, "shop", "fine", 100);
	say(f, "bank", "ERROR no", 2);
	after(f, 14, "");
	after(f, 1, "");
	lists(f, "default", "errors/errors:0 ");
	say(f, "shop", "ERROR no", 1);
	after(f, 15, "errors{shop}:firing! ");
	after(f, 1, "");
	after(f, 14, "errors{shop}:firing! ");
	lists(f, "default", "errors/errors:1,firing@30 ");
	lists(f, "other", "");
	after(f, 15, "errors{shop}:resolved! ");
	after(f, 15, "errors{shop}:resolved! ");
	after(f, 915, "");
	lists(f, "default", "errors/errors:0 ");
}

/* Late ones are evaluated at the time they were due, the last of several alone. */
static void late_is_on_time(void **state)
{
	struct fixture *f = *state;
	int64_t missed = metric_get(METRIC_rule_evaluations_missed_total, "");

	apply(f, "ready: [{errors: {threshold: 1, window: 10s}}]");
	after(f, 20, "");
	say(f, "a", "ERROR no", 1);
	after(f, 47, ""); /* 67: due at 60, and the error was at 20 */
	say(f, "a", "ERROR no", 1);
	after(f, 12, "errors{-}:firing! "); /* 79: due at 75 */
	after(f, 1, "");
	lists(f, "default", "errors/errors:1,firing@75 ");
	assert_int_equal(metric_get(METRIC_rule_evaluations_missed_total, "") - missed, 2);
}

static void waits_over_restarts(void **state)
{
	struct fixture *f = *state;

	write_file(f, "/r.yaml",
		"groups: [{name: g, interval: 10s, rules: [{alert: A, for: 1m, "
		"expr: 'sum by (app) (count_over_time({}[10m])) > 0'}]}]");
	apply(f, "groups_file: /r.yaml");
	say(f, "a", "x", 1);
	after(f, 10, "");
	lists(f, "default", "g/A:1,pending@10 ");
	restart(f);
	lists(f, "default", "");
	apply(f, "groups_file: /r.yaml");
	lists(f, "default", "g/A:1,pending@10 ");
	after(f, 50, "");
	after(f, 10, "A{a}:firing! ");
	restart(f);
	/* It has not ended meanwhile. */
	apply(f, "groups_file: /r.yaml");
	lists(f, "default", "g/A:1,firing@10 ");
	after(f, 10, "A{a}:firing! ");
	/* For 5 minutes nobody looked: they do not count. */
	say(f, "b", "x", 1);
	after(f, 10, "A{a}:firing! ");
	restart(f);
	clock_fake_advance(f->clock, 300 * NS_PER_SEC);
	alerts_free(f->alerts);
	start(f);
	apply(f, "groups_file: /r.yaml");
	lists(f, "default", "g/A:2,firing@10,pending@390 ");
}

/* With `query_offset` a rule asks about what was so long ago, and fires now. */
static void asks_about_earlier(void **state)
{
	struct fixture *f = *state;

	write_file(f, "/r.yaml",
		"groups: [{name: g, interval: 10s, query_offset: 30s, rules: [{alert: A, "
		"expr: 'sum by (app) (count_over_time({}[10s])) > 0'}]}]");
	apply(f, "groups_file: /r.yaml");
	clock_fake_advance(f->clock, 5 * NS_PER_SEC);
	say(f, "a", "x", 1);
	after(f, 5, "");
	after(f, 10, "");
	after(f, 10, "");
	after(f, 10, "A{a}:firing! ");
	lists(f, "default", "g/A:1,firing@40 ");
	after(f, 10, "A{a}:resolved! ");
}

/* More to evaluate than there is time: what waits is on the disk before the last is looked at. */
static void a_long_turn_is_saved(void **state)
{
	struct fixture *f = *state;

	write_file(f, "/r.yaml",
		"groups: [{name: g, interval: 10s, rules: [{alert: Waits, for: 1h, "
		"expr: 'sum(count_over_time({}[10m])) > 0'}]},"
		"{name: h, interval: 10s, rules: [{alert: Fires, "
		"expr: 'sum(count_over_time({}[10m])) > 0'}]}]");
	apply(f, "groups_file: /r.yaml");
	say(f, "a", "x", 1);
	after(f, 1, ""); /* saves */
	f->alerts->saved_mono = 0;
	f->watched = true;
	after(f, 9, "Fires{-}:firing! ");
	assert_true(str_find(buf_view(&f->seen), STR("\"Waits\"")) > 0);
}

/* More text than the file may hold: annotations are left out first, then alerts; it can be read. */
static void huge_states(void **state)
{
	struct fixture *f = *state;
	struct buf value = {0}, text = {0};
	struct watched *r;
	struct book again;
	size_t left_out;
	struct error e;

	write_file(f, "/r.yaml", "groups: [{name: g, rules: [{alert: A, expr: 'vector(1)'}]}]");
	apply(f, "groups_file: /r.yaml");
	for (int i = 0; i < 64 << 10; i++)
		buf_char(&value, 'x');
	r = &f->alerts->book.all[0]->rules[0];
	r->set.cap = r->set.n = 1000;
	r->set.all = xcalloc(r->set.n, sizeof *r->set.all);
	for (size_t i = 0; i < r->set.n; i++) {
		struct str names[] = {STR("x")}, values[] = {buf_view(&value)};
		struct buf labels = {0}, annotations = {0};

		labels_write(&labels, names, values, 1);
		labels_write(&annotations, names, values, 1);
		r->set.all[i] = (struct alert){.labels = buf_view(&labels),
			.annotations = buf_view(&annotations),
			.state = ALERT_FIRING};
	}
	left_out = states_write(&f->alerts->book, T0, &text);
	assert_in_range(left_out, 1, 999);
	assert_true(text.n < STATES_FILE_MAX);
	assert_int_equal(states_read(&again, buf_view(&text), T0, &e), 0);
	assert_int_equal(again.all[0]->rules[0].set.n, 1000 - left_out);
	assert_true(again.all[0]->rules[0].set.all[0].annotations.n > value.n);
	assert_true(again.all[0]->rules[0].set.all[999 - left_out].annotations.n < 10);
	book_fini(&again);
	buf_fini(&value);
	buf_fini(&text);
}

static void rules_that_go_are_resolved(void **state)
{
	static const char both[] = "name: g\ninterval: 10s\nrules:\n"
				   "- {alert: A, expr: 'sum(count_over_time({}[1h])) > 0'}\n"
				   "- {alert: B, expr: 'sum(count_over_time({}[1h])) > 1'}\n";
	static const char changed[] = "name: g\ninterval: 10s\nrules:\n"
				      "- {alert: A, expr: 'sum(count_over_time({}[2h])) > 0'}\n";
	struct fixture *f = *state;
	struct error e;

	apply(f, "{}");
	put_rules(f, "default", both);
	say(f, "a", "x", 3);
	after(f, 10, "A{-}:firing! B{-}:firing! ");
	/* B goes, and A is another one of the same name. */
	buf_clear(&f->told);
	put_rules(f, "default", changed);
	assert_string_equal(buf_cstr(&f->told), "B{-}:resolved! ");
	lists(f, "default", "g/A:1,firing@10 ");
	after(f, 10, "A{-}:firing! ");
	/* While the server is down the rest goes too. */
	alerts_free(f->alerts);
	assert_int_equal(rules_delete(f->rules, STR("default"), STR("space"), STR("g"), &e), 0);
	start(f);
	buf_clear(&f->told);
	apply(f, "{}");
	assert_string_equal(buf_cstr(&f->told), "A{-}:resolved! ");
	lists(f, "default", "");
}

/* One that fails changes nothing, and says so; others go on. */
static void errors_are_shown(void **state)
{
	struct fixture *f = *state;

	apply(f, "{}");
	put_rules(f, "default",
		"name: g\ninterval: 10s\nlimit: 2\nrules:\n"
		"- {alert: A, expr: 'sum by (app) (count_over_time({}[1h])) > 0'}\n"
		"- {record: 'r:r', expr: 'sum(count_over_time({}[1h]))'}\n"
		"- {alert: B, expr: 'sum(count_over_time({}[1h])) > 0'}\n");
	say(f, "a", "x", 1);
	say(f, "b", "x", 1);
	after(f, 10, "A{a}:firing! A{b}:firing! B{-}:firing! ");
	say(f, "c", "x", 1);
	after(f, 10, "A{a}:firing! A{b}:firing! B{-}:firing! ");
	lists(f, "default",
		"g/A:2,firing@10,firing@10?3 series where at most 2 alerts are allowed: aggregate to "
		"fewer labels, or raise the limit of the group g/r:r:0 g/B:1,firing@10 ");
}

static void tenants_are_apart(void **state)
{
	struct fixture *f = *state;

	apply(f, "{}");
	put_rules(f, "t",
		"{name: g, interval: 10s, rules: [{alert: A, expr: 'sum(count_over_time({}[1h])) > "
		"0'}]}");
	say(f, "a", "x", 1);
	after(f, 10, "");
	lists(f, "t", "g/A:0 ");
	lists(f, "default", "");
	put_rules(f, "t", "{name: empty, rules: []}");
	lists(f, "t", "g/A:0 empty/ ");
}

static void the_leader_speaks(void **state)
{
	struct fixture *f = *state;

	f->leads = false;
	apply(f, "ready: [{errors: {threshold: 1}}]");
	say(f, "a", "ERROR no", 1);
	after(f, 15, "errors{-}:firing ");
	f->leads = true;
	after(f, 15, "errors{-}:firing! ");
}

static void absent_and_back(void **state)
{
	struct fixture *f = *state;

	apply(f, "ready: [{absent: {for: 1m, seen: 1h}}]");
	say(f, "a", "x", 5);
	say(f, "b", "x", 5);
	after(f, 45, "");
	say(f, "b", "x", 1);
	after(f, 15, "absent{a}:firing! "); /* 60 s after: the window is (0, 60] */
	say(f, "a", "x", 1);
	after(f, 15, "absent{a}:resolved! ");
	after(f, 60, "absent{a}:firing! absent{b}:firing! ");
	/* Silent for longer than it is remembered. */
	after(f, 3600, "absent{a}:resolved! absent{b}:resolved! ");
}

static void new_lines(void **state)
{
	struct fixture *f = *state;

	apply(f, "ready: [{new_template: {window: 1m, history: 1d}}]");
	/* At first nothing is known, and nothing is new. */
	say(f, "a", "user 12 logged in", 3);
	after(f, 15, "");
	after(f, 60, "");
	say(f, "a", "user 13 logged in", 3);
	say(f, "a", "disk sda1 is on fire", 1);
	after(f, 15, "new_template{-}:firing! ");
	say(f, "a", "disk sda2 is on fire", 1);
	after(f, 45, "new_template{-}:firing! ");
	/* A minute after it came it is new no more, though it goes on. */
	after(f, 15, "new_template{-}:resolved! ");
	say(f, "a", "disk sda3 is on fire", 1);
	after(f, 15, "new_template{-}:resolved! ");
	/* Nor after a restart, which forgets what is known. */
	restart(f);
	apply(f, "ready: [{new_template: {window: 1m, history: 1d}}]");
	say(f, "a", "disk sda4 is on fire", 1);
	after(f, 15, "new_template{-}:resolved! ");
	say(f, "a", "quite another kind of thing", 1);
	after(f, 15, "new_template{-}:resolved! new_template{-}:firing! ");
}

static void rates_change(void **state)
{
	struct fixture *f = *state;

	apply(f, "ready: [{rate_change: {window: 1m, against: 1h, min: 20}}]");
	say(f, "same", "x", 100);
	say(f, "more", "x", 30);
	say(f, "less", "x", 90);
	say(f, "none", "x", 50);
	say(f, "few", "x", 2);
	clock_fake_advance(f->clock, 3600 * NS_PER_SEC);
	say(f, "same", "x", 120);
	say(f, "more", "x", 91);
	say(f, "less", "x", 29);
	say(f, "few", "x", 10);
	say(f, "new", "x", 1000);
	after(f, 15,
		"rate_change{less}:firing! rate_change{more}:firing! rate_change{none}:firing! ");
}

static void files_are_checked(void **state)
{
	static const char *const bad[][2] = {
		{"groups: [{name: g, rules: [{alert: A, expr: 'rate('}]}]", "/r.yaml: line 1"},
		{"groups: [{name: g, rules: []}, {name: g, rules: []}]", "two groups are called g"},
		{"groups: [{name: g, rules: [{alert: A, expr: 'sum(rate({}[1m]))', annotations: "
		 "{s: '{{ x }}'}}]}]",
			"group g: alert A: s: template"},
		{"groups: [{name: g, rules: [{alert: A, expr: 'new_template({} [5m])'}]}]",
			"new_template"},
	};
	struct fixture *f = *state;
	struct error e;

	apply(f, "ready: [{errors: {}}]");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		write_file(f, "/r.yaml", bad[i][0]);
		assert_int_equal(apply_yaml(f, "groups_file: /r.yaml", &e), ERR_ARG);
		if (!strstr(e.text, bad[i][1]))
			fail_msg("\"%s\" has no \"%s\"", e.text, bad[i][1]);
	}
	assert_int_equal(apply_yaml(f, "groups_file: [/none.yaml]", &e), ERR_NOT_FOUND);
	assert_int_equal(apply_yaml(f, "ready: [{errors: {name: ''}}]", &e), ERR_ARG);
	/* Nothing changed. */
	lists(f, "default", "errors/errors:0 ");
}

/* Any bytes in the place of the states: it begins anew, and they are put aside. */
static void broken_states(void **state)
{
	static const char *const broken[] = {"", "{", "[]", "{\"version\":1}",
		"{\"version\":2,\"time\":1,\"rules\":[]}",
		"{\"version\":1,\"time\":1,\"rules\":[3]}",
		"{\"version\":1,\"time\":1,\"rules\":[{\"tenant\":\"a\",\"group\":\"g\",\"rule\":\"r\","
		"\"rule_labels\":[[\"a\"]],\"alerts\":[]}]}",
		"{\"version\":1,\"time\":1,\"rules\":[{\"tenant\":\"a\",\"group\":\"g\",\"rule\":\"r\","
		"\"rule_labels\":[],\"alerts\":[{\"state\":\"firing\",\"labels\":{\"a\":1}}]}]}"};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
		alerts_free(f->alerts);
		write_file(f, "alerts/states.json", broken[i]);
		start(f);
		apply(f, "ready: [{errors: {threshold: 1}}]");
		lists(f, "default", "errors/errors:0 ");
		assert_int_equal(fs_unlink(f->fs, "alerts/states.json.damaged", NULL), 0);
	}
}

static void clock_goes_back(void **state)
{
	struct fixture *f = *state;

	apply(f, "ready: [{errors: {threshold: 1}}]");
	say(f, "a", "ERROR no", 1);
	after(f, 15, "errors{-}:firing! ");
	clock_fake_set(f->clock, T0 - 7200 * NS_PER_SEC);
	say(f, "a", "ERROR no", 1);
	tells(f, "");
	after(f, 15, "errors{-}:firing! ");
}

/* The real thread, over some of its time. */
static void the_thread(void **state)
{
	struct fixture *f = *state;
	struct timespec pause = {.tv_nsec = 1000000};
	struct listing l = {0};

	apply(f, "ready: [{errors: {threshold: 1}}]");
	say(f, "a", "ERROR no", 1);
	clock_fake_advance(f->clock, 15 * NS_PER_SEC);
	f->alerts->thread = thread_start("alerts", run, f->alerts);
	f->alerts->started = true;
	while (!strstr(buf_cstr(&l.text), "firing")) {
		nanosleep(&pause, NULL);
		buf_clear(&l.text);
		alerts_each(f->alerts, STR("default"), list_one, &l);
	}
	put_rules(f, "default",
		"{name: g, rules: [{alert: A, expr: 'sum(count_over_time({}[1h])) > 0'}]}");
	apply(f, "{}");
	buf_clear(&l.text);
	alerts_dump(f->alerts, &l.text);
	assert_non_null(strstr(buf_cstr(&l.text), "g/A"));
	alerts_metrics(f->alerts);
	buf_fini(&l.text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(errors_fire),
		TEST(late_is_on_time),
		TEST(waits_over_restarts),
		TEST(asks_about_earlier),
		TEST(a_long_turn_is_saved),
		TEST(huge_states),
		TEST(rules_that_go_are_resolved),
		TEST(errors_are_shown),
		TEST(tenants_are_apart),
		TEST(the_leader_speaks),
		TEST(absent_and_back),
		TEST(new_lines),
		TEST(rates_change),
		TEST(files_are_checked),
		TEST(broken_states),
		TEST(clock_goes_back),
		TEST(the_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
