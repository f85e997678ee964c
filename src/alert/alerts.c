/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   rules of the configuration ─┐
 *                               ├─► book of groups ─► due ─► query ─► alert_step ─► notify_put
 *   rules of the API ───────────┘                                        │
 *                                                                        └─► states.json
 *
 * A thread looks what is due.  The queries themselves run in a pool of their
 * own, one after the other: there one that turns out to be long gives way to
 * what comes in, as the queries of the API do, and the next one begins with
 * the priority of the others (loop/worker.h).
 *
 * While a query runs nothing is locked.  The group may be replaced meanwhile:
 * then it is marked as gone, and what was found is thrown away.
 *
 * A group is due at the multiples of its interval, by the wall clock, and that
 * is the time of the evaluation, whenever it takes place: several servers ask
 * about the same time.  Of several that are overdue the last takes place.
 */
#include "alert/alerts.h"

#include <inttypes.h>
#include <stdlib.h>

#include "alert/alerts_core.h"
#include "alert/ready.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metric.h"
#include "loop/worker.h"
#include "net/client.h"

#define DEFAULT_INTERVAL_NS (15 * NS_PER_SEC)
#define WAIT_NS             (5 * NS_PER_SEC)  /* a clock that was set is noticed after it */
#define LOOK_NS             (10 * NS_PER_SEC) /* between two looks at the peers */
#define TURN_NS             NS_PER_SEC        /* without a look at anything else */
#define SAVE_NS             (60 * NS_PER_SEC) /* while something is pending */
#define QUERY_TIMEOUT_NS    (30 * NS_PER_SEC)
#define QUERY_BYTES_MIN     (UINT64_C(4) << 20)

struct alerts {
	/* Fixed. */
	struct alerts_env env;
	char *path; /* of the states */
	struct workers *pool;
	struct account account; /* of the queries: an eighth of all */
	_Atomic bool cancel;    /* the query under way */
	/* Main thread. */
	bool started;
	pthread_t thread;
	/* Who saves: the thread, and alerts_free when it has ended. */
	bool unsaved_told;
	bool left_out; /* of the file, by its size */
	/* Under `lock`. */
	struct lock lock;
	struct cond wake; /* of the thread */
	struct cond idle; /* a query, or a look at the peers, came to its end */
	bool applied, stopping, dirty;
	struct book book;
	struct group_texts config;
	int64_t interval_ns;
	char *external_url; /* terminated; never NULL */
	struct peers *peers;
	unsigned n_busy; /* queries and looks under way, which use the peers */
	bool looking;
	int64_t looked_mono, saved_mono;
};

static int check_external_url(struct str text, struct error *e)
{
	if (str_starts(text, STR("https://")) || str_starts(text, STR("http://")))
		return 0;
	return error_set(e, ERR_ARG, "must be a URL, with https:// or http:// before the host");
}

const struct option alert_options[] = {
	OPTION(struct alert_settings, groups_file, .kind = OPT_PATHS,
		.help = "Files of rules, in the form that Prometheus and Loki share: {groups: [{name, "
			"interval, rules: [{alert, expr, for, labels, annotations}]}]}. They are read "
			"again at a reload."),
	OPTION(struct alert_settings, interval, .kind = OPT_DURATION, .fallback = "15s",
		.min = NS_PER_SEC, .max = 3600 * NS_PER_SEC,
		.help = "How often rules are evaluated whose group names no interval."),
	OPTION(struct alert_settings, external_url, .kind = OPT_STRING, .check = check_external_url,
		.help = "The URL by which people reach this server, for links in notifications: "
			"https://logs.example.com. Not set: there are none."),
	OPTION(struct alert_settings, ready, .kind = OPT_KINDS, .kinds = &ready_kinds,
		.help = "Ready-made rules."),
	OPTION(struct alert_settings, notify, .kind = OPT_KINDS, .kinds = &notifier_kinds,
		.help = "Who is told of alerts that fire."),
	OPTION_END,
};

static int64_t mono(void)
{
	return clock_mono_ns(clock_real());
}

/* --- telling --------------------------------------------------------------------------- */

/* Where people look: the page, with the query. */
static void put_url(struct buf *out, const char *external_url, struct str expr)
{
	struct str base = str_c(external_url);

	if (base.n == 0)
		return;
	while (str_ends(base, STR("/")))
		base.n--;
	buf_str(out, base);
	buf_c(out, "/#query=");
	url_encode(out, expr);
}

static void tell(struct alerts *a, const struct watch *w, const struct watched *r,
	const struct alert *alert, bool speak) REQUIRES(a->lock)
{
	struct alert_note note = {.alert = alert,
		.tenant = w->tenant,
		.space = w->space,
		.group = w->group.name,
		.rule = r->rule->name,
		.expr = r->rule->expr};
	struct buf url = {0};

	put_url(&url, a->external_url, r->rule->expr);
	note.url = buf_view(&url);
	notify_put(a->env.notify, &note, speak);
	buf_fini(&url);
}

/* What fires, and what has ended: what was told already is the notifiers' to know. */
static void tell_all(struct alerts *a, const struct watch *w, const struct watched *r)
	REQUIRES(a->lock)
{
	bool speak = peers_leads(a->peers);

	for (size_t i = 0; i < r->set.n; i++)
		if (r->set.all[i].state != ALERT_PENDING)
			tell(a, w, r, &r->set.all[i], speak);
}

/* --- the book -------------------------------------------------------------------------- */

static int64_t interval_of(const struct alerts *a, const struct watch *w) REQUIRES(a->lock)
{
	return w->group.interval_ns ? w->group.interval_ns : a->interval_ns;
}

/* A rule that is gone: nobody would ever say that what fires has ended. */
static void on_lost(void *arg, const struct watch *w, struct watched *r) UNCHECKED
{
	struct alerts *a = arg;
	int64_t now = clock_now_ns(a->env.clock);

	for (size_t i = 0; i < r->set.n; i++) {
		struct alert *x = &r->set.all[i];

		if (x->state == ALERT_PENDING)
			continue;
		if (x->state == ALERT_FIRING) {
			x->state = ALERT_RESOLVED;
			x->resolved_ns = now;
		}
		tell(a, w, r, x, peers_leads(a->peers));
	}
}

struct rebuild {
	struct alerts *alerts;
	struct book fresh;
	int64_t now_ns;
};

static void rebuild_add(void *ctx, struct str tenant, struct str space, struct str text) UNCHECKED
{
	struct rebuild *b = ctx;
	struct watch *w = book_find(&b->alerts->book, tenant, space, text);
	struct error e;

	if (w) {
		w->refs++;
	} else if (watch_new(&w, tenant, space, text, &e) < 0) {
		/* It was parsed when it was put. */
		log_error("alert", "rules %.*s: %s", STR_ARG(space), e.text);
		return;
	} else {
		w->last_ns = b->now_ns;
	}
	for (size_t i = 0; i < w->group.n; i++)
		w->rules[i].set.external_url = str_c(b->alerts->external_url);
	book_add(&b->fresh, w);
}

static void rebuild_api(void *ctx, struct str tenant, struct str space, const struct rule_group *g)
{
	struct buf text = {0};

	rule_group_write(g, 0, false, &text);
	rebuild_add(ctx, tenant, space, buf_view(&text));
	buf_fini(&text);
}

static void rebuild(struct alerts *a) REQUIRES(a->lock)
{
	struct rebuild b = {.alerts = a, .now_ns = clock_now_ns(a->env.clock)};

	for (size_t i = 0; i < a->config.n; i++)
		rebuild_add(&b, STR("default"), a->config.all[i].space, a->config.all[i].text);
	rules_each_tenant(a->env.rules, rebuild_api, &b);
	book_succeed(&a->book, &b.fresh, on_lost, a);
	a->book = b.fresh;
	a->dirty = true;
	cond_signal(&a->wake);
}

/* --- states on the disk ---------------------------------------------------------------- */

static bool any_pending(const struct alerts *a) REQUIRES(a->lock)
{
	for (size_t i = 0; i < a->book.n; i++)
		for (size_t k = 0; k < a->book.all[i]->group.n; k++) {
			const struct alert_set *s = &a->book.all[i]->rules[k].set;
			for (size_t m = 0; m < s->n; m++)
				if (s->all[m].state == ALERT_PENDING)
					return true;
		}
	return false;
}

/* Those that wait are saved now and then, so that it is known until when they were watched. */
static bool save_is_due(struct alerts *a) REQUIRES(a->lock)
{
	if (!a->applied)
		return false;
	return a->dirty || (mono() - a->saved_mono >= SAVE_NS && any_pending(a));
}

static void save(struct alerts *a) REQUIRES(a->lock)
{
	struct buf text = {0};
	struct error e;
	bool saved = true;
	size_t left_out = states_write(&a->book, clock_now_ns(a->env.clock), &text);

	if (left_out > 0 && !a->left_out)
		log_warn("alert",
			"the states of %zu alerts are not saved, as all take more than %d MiB: a "
			"restart forgets them; aggregate to fewer labels",
			left_out, STATES_FILE_MAX >> 20);
	a->left_out = left_out > 0;
	a->dirty = false;
	a->saved_mono = mono();
	lock_drop(&a->lock);
	if (fs_write_all(a->env.fs, a->path, buf_view(&text), &e) < 0) {
		if (!a->unsaved_told)
			log_error("alert", "the states of alerts are not saved: %s", e.text);
		saved = false;
	}
	buf_fini(&text);
	lock_take(&a->lock);
	/* It is tried again at the next turn. */
	a->unsaved_told = !saved;
	a->dirty = a->dirty || !saved;
}

static void restore(struct alerts *a) UNCHECKED
{
	struct buf text = {0}, aside = {0};
	struct error e;
	int r = fs_read_all(a->env.fs, a->path, STATES_FILE_MAX, &text, &e);

	if (r == 0)
		r = states_read(&a->book, buf_view(&text), clock_now_ns(a->env.clock), &e);
	if (r < 0 && r != ERR_NOT_FOUND) {
		fs_put_aside(a->env.fs, a->path, &aside, NULL);
		log_error("alert", "%s: %s; it is put aside as %s, and alerts begin anew", a->path,
			e.text, buf_cstr(&aside));
	}
	buf_fini(&text);
	buf_fini(&aside);
}

/* --- peers ----------------------------------------------------------------------------- */

static void look_at_peers(void *arg)
{
	struct alerts *a = arg;
	struct peers *peers;

	lock_take(&a->lock);
	peers = a->peers;
	lock_drop(&a->lock);
	peers_look(peers, &a->cancel);
	lock_take(&a->lock);
	a->looking = false;
	a->looked_mono = mono();
	a->n_busy--;
	cond_broadcast(&a->idle);
	lock_drop(&a->lock);
}

/* Who of them is there says who notifies.  It may take long, and holds up nothing. */
static void look_now_and_then(struct alerts *a) REQUIRES(a->lock)
{
	if (a->looking || a->stopping || atomic_load(&a->cancel) || peers_count(a->peers) == 0 ||
		(a->looked_mono && mono() - a->looked_mono < LOOK_NS) ||
		workers_submit(a->pool, look_at_peers, a) < 0)
		return;
	a->looking = true;
	a->n_busy++;
}

/* --- evaluating ------------------------------------------------------------------------ */

/* A query in the pool. */
struct task {
	struct alerts *alerts;
	/* Borrowed: the group is referenced, the peers stay while somebody is busy. */
	const struct watch *watch;
	struct watched *rule;
	struct peers *peers;
	int64_t at_ns;
	/* Its answer; under the lock of the alerts. */
	bool done;
	/* Read when it is done. */
	int code;
	struct error error;
	struct query_result result;
	int64_t took_ns;
};

static void run_task(void *arg)
{
	struct task *t = arg;
	struct alerts *a = t->alerts;
	int64_t about_ns = t->at_ns - t->watch->group.offset_ns;
	struct query_params p = {.start_ns = about_ns,
		.end_ns = about_ns,
		.tenant = t->watch->tenant,
		.max_series = ALERTS_MAX,
		.memory_bytes = a->account.limit,
		.account = &a->account,
		.timeout_ns = QUERY_TIMEOUT_NS,
		.cancel = &a->cancel};
	int64_t began = mono();
	struct view *v = view_open(a->env.store, t->peers, false);

	snapshot_let_head_go(view_snapshot(v));
	t->code = t->rule->query
			  ? source_query(view_source(v), t->rule->query, &p, &t->result, &t->error)
			  : new_template_run(&t->rule->fresh, t->rule->memory, view_source(v), &p,
				    &t->result, &t->error);
	view_close(v);
	t->took_ns = mono() - began;
	lock_take(&a->lock);
	t->done = true;
	cond_broadcast(&a->idle);
	lock_drop(&a->lock);
}

/* Let the pool do it, and wait. */
static void ask(struct alerts *a, struct task *t) REQUIRES(a->lock)
{
	int code = workers_submit(a->pool, run_task, t);

	a->n_busy++;
	if (code < 0) {
		t->code = error_set(&t->error, code, "too much is going on");
		t->done = true;
	}
	while (!t->done)
		cond_wait(&a->idle, &a->lock);
	a->n_busy--;
	cond_broadcast(&a->idle);
}

static void note_result(struct watched *r, const struct task *t)
{
	bool failed = t->code < 0, did = r->error[0] != '\0';

	if (failed && (!did || strcmp(r->error, t->error.text) != 0))
		log_warn("alert", "%.*s: %s", STR_ARG(r->rule->name), t->error.text);
	if (!failed && did)
		log_info("alert", "%.*s: works again", STR_ARG(r->rule->name));
	str_copy(failed ? str_c(t->error.text) : STR(""), r->error, sizeof r->error);
	str_copy(failed || t->result.n_warnings == 0 ? STR("") : str_c(t->result.warnings[0]),
		r->warning, sizeof r->warning);
	r->evaluated_ns = t->at_ns;
	r->took_ns = t->took_ns;
	metric_add(METRIC_rule_evaluations_total, failed ? "result=\"error\"" : "result=\"ok\"", 1);
}

static void on_change(
	void *arg, const struct alert *alert, enum alert_state before, bool is_new) UNCHECKED
{
	struct alerts *a = arg;

	a->dirty = true;
}

/* False: the query was cancelled, as the peers change or the end has come. */
static bool evaluate_rule(struct alerts *a, struct watch *w, struct watched *r, int64_t at_ns)
	REQUIRES(a->lock)
{
	struct task t = {.alerts = a, .watch = w, .rule = r, .peers = a->peers, .at_ns = at_ns};

	ask(a, &t);
	if (t.code == ERR_CANCELLED || t.code == ERR_CLOSED)
		return false;
	if (!w->gone) {
		if (t.code == 0) {
			t.code = alert_step(&r->set, r->rule, w->group.limit, &t.result, at_ns,
				on_change, a, &t.error);
			note_result(r, &t);
			query_result_fini(&t.result);
		} else {
			note_result(r, &t);
		}
		tell_all(a, w, r);
		return true;
	}
	if (t.code == 0)
		query_result_fini(&t.result);
	return true;
}

static void evaluate(struct alerts *a, struct watch *w, int64_t at_ns) REQUIRES(a->lock)
{
	int64_t interval = interval_of(a, w), before = w->last_ns;

	w->refs++;
	if (at_ns - before >= 2 * interval && before > 0)
		metric_add(METRIC_rule_evaluations_missed_total, "",
			(at_ns / interval - before / interval) - 1);
	w->last_ns = at_ns;
	for (size_t i = 0; i < w->group.n && !w->gone; i++) {
		struct watched *r = &w->rules[i];

		if (!r->query && !r->fresh.query)
			continue; /* a recording rule */
		if (!evaluate_rule(a, w, r, at_ns)) {
			w->last_ns = before; /* again, when it may be */
			break;
		}
	}
	watch_unref(w);
}

/* The time at which it is due; it may have passed.  A clock that was set back begins anew. */
static int64_t due_ns(const struct alerts *a, struct watch *w, int64_t now_ns) REQUIRES(a->lock)
{
	int64_t interval = interval_of(a, w), last;

	if (w->last_ns > now_ns)
		w->last_ns = now_ns;
	last = now_ns - now_ns % interval;
	if (last > w->last_ns)
		return last;
	return w->last_ns - w->last_ns % interval + interval;
}

/* The group that is due for longest; *wait_ns is how long it takes until one is. */
static struct watch *next_due(struct alerts *a, int64_t now_ns, int64_t *at_ns, int64_t *wait_ns)
	REQUIRES(a->lock)
{
	struct watch *found = NULL;
	int64_t oldest = INT64_MAX;

	*wait_ns = WAIT_NS;
	for (size_t i = 0; i < a->book.n && a->applied; i++) {
		struct watch *w = a->book.all[i];
		int64_t due = due_ns(a, w, now_ns);

		if (due > now_ns) {
			*wait_ns = due - now_ns < *wait_ns ? due - now_ns : *wait_ns;
		} else if (w->last_ns < oldest) {
			found = w;
			oldest = w->last_ns;
			*at_ns = due;
		}
	}
	return found;
}

/* Evaluate all that is due; returns how long nothing will be. */
static int64_t turn(struct alerts *a) REQUIRES(a->lock)
{
	int64_t at_ns, wait_ns;
	struct watch *w;

	while (!a->stopping && !atomic_load(&a->cancel) &&
		(w = next_due(a, clock_now_ns(a->env.clock), &at_ns, &wait_ns))) {
		evaluate(a, w, at_ns);
		/* Where there is more to evaluate than there is time, it never comes to an end. */
		if (save_is_due(a) && mono() - a->saved_mono >= TURN_NS)
			save(a);
		look_now_and_then(a);
	}
	if (save_is_due(a))
		save(a);
	return next_due(a, clock_now_ns(a->env.clock), &at_ns, &wait_ns) ? NS_PER_MS : wait_ns;
}

/* --- the thread ------------------------------------------------------------------------ */

static void *run(void *arg)
{
	struct alerts *a = arg;
	int64_t wait_ns;

	lock_take(&a->lock);
	while (!a->stopping) {
		look_now_and_then(a);
		wait_ns = turn(a);
		if (!a->stopping)
			cond_wait_for(&a->wake, &a->lock, wait_ns);
	}
	lock_drop(&a->lock);
	return NULL;
}

/* Without the thread. */
static struct alerts *alerts_make(const struct alerts_env *env) UNCHECKED
{
	struct alerts *a = xcalloc(1, sizeof *a);
	struct buf path = {0};
	uint64_t share = env->account->limit / 8;

	a->env = *env;
	buf_printf(&path, "%s/states.json", env->dir);
	a->path = str_dup(buf_view(&path));
	buf_fini(&path);
	account_init(&a->account, "alerts", share > QUERY_BYTES_MIN ? share : QUERY_BYTES_MIN,
		env->account);
	lock_init(&a->lock);
	cond_init(&a->wake);
	cond_init(&a->idle);
	a->interval_ns = DEFAULT_INTERVAL_NS;
	a->external_url = xstrdup("");
	/* A query, and a look at the peers. */
	a->pool = workers_new("alerts", 2, 2, 0);
	restore(a);
	return a;
}

struct alerts *alerts_new(const struct alerts_env *env)
{
	struct alerts *a = alerts_make(env);

	a->thread = thread_start("alerts", run, a);
	a->started = true;
	return a;
}

int alerts_check(const struct alert_settings *s, struct error *e)
{
	struct group_texts texts;
	int r = group_texts_load(&texts, s, fs_real(), e);

	if (r == 0)
		group_texts_fini(&texts);
	return r;
}

static void change_peers(struct alerts *a, struct peers *peers) REQUIRES(a->lock)
{
	if (peers == a->peers)
		return;
	atomic_store(&a->cancel, true);
	while (a->n_busy > 0)
		cond_wait(&a->idle, &a->lock);
	atomic_store(&a->cancel, false);
	a->peers = peers;
	a->looked_mono = 0;
}

int alerts_apply(
	struct alerts *a, const struct alert_settings *s, struct peers *peers, struct error *e)
{
	struct group_texts texts;
	char *old_url;
	int r = group_texts_load(&texts, s, a->env.fs, e);

	if (r < 0)
		return r;
	lock_take(&a->lock);
	change_peers(a, peers);
	group_texts_fini(&a->config);
	a->config = texts;
	a->interval_ns = s->interval ? s->interval : DEFAULT_INTERVAL_NS;
	old_url = a->external_url;
	a->external_url = xstrdup(s->external_url ? s->external_url : "");
	a->applied = true;
	rebuild(a);
	lock_drop(&a->lock);
	free(old_url);
	return 0;
}

void alerts_rules_changed(struct alerts *a)
{
	lock_take(&a->lock);
	if (a->applied)
		rebuild(a);
	lock_drop(&a->lock);
}

void alerts_free(struct alerts *a)
{
	if (!a)
		return;
	lock_take(&a->lock);
	a->stopping = true;
	atomic_store(&a->cancel, true);
	cond_signal(&a->wake);
	lock_drop(&a->lock);
	if (a->started)
		pthread_join(a->thread, NULL);
	workers_free(a->pool);
	lock_take(&a->lock);
	if (a->applied)
		save(a);
	book_fini(&a->book);
	group_texts_fini(&a->config);
	lock_drop(&a->lock);
	cond_fini(&a->wake);
	cond_fini(&a->idle);
	lock_fini(&a->lock);
	free(a->external_url);
	free(a->path);
	free(a);
}

/* --- showing --------------------------------------------------------------------------- */

static struct alert_rule_status status_of(
	const struct alerts *a, const struct watch *w, const struct watched *r) REQUIRES(a->lock)
{
	return (struct alert_rule_status){.space = w->space,
		.group = &w->group,
		.interval_ns = interval_of(a, w),
		.rule = r->rule,
		.error = r->error,
		.warning = r->warning,
		.evaluated_ns = r->evaluated_ns,
		.took_ns = r->took_ns,
		.alerts = r->set.all,
		.n_alerts = r->set.n};
}

void alerts_each(struct alerts *a, struct str tenant,
	void (*each)(void *ctx, const struct alert_rule_status *s), void *ctx)
{
	static const struct watched none;

	lock_take(&a->lock);
	for (size_t i = 0; i < a->book.n && a->applied; i++) {
		const struct watch *w = a->book.all[i];
		struct alert_rule_status s = status_of(a, w, &none);

		if (!str_eq(w->tenant, tenant))
			continue;
		if (w->group.n == 0)
			each(ctx, &s);
		for (size_t k = 0; k < w->group.n; k++) {
			s = status_of(a, w, &w->rules[k]);
			each(ctx, &s);
		}
	}
	lock_drop(&a->lock);
}

static void count_states(const struct alerts *a, size_t counts[3]) REQUIRES(a->lock)
{
	for (size_t i = 0; i < a->book.n; i++)
		for (size_t k = 0; k < a->book.all[i]->group.n; k++) {
			const struct alert_set *s = &a->book.all[i]->rules[k].set;
			for (size_t m = 0; m < s->n; m++)
				counts[s->all[m].state]++;
		}
}

void alerts_metrics(struct alerts *a)
{
	size_t counts[3] = {0};

	lock_take(&a->lock);
	count_states(a, counts);
	lock_drop(&a->lock);
	metric_set(METRIC_alerts, "state=\"pending\"", (int64_t)counts[ALERT_PENDING]);
	metric_set(METRIC_alerts, "state=\"firing\"", (int64_t)counts[ALERT_FIRING]);
}

void alerts_dump(struct alerts *a, struct buf *out)
{
	size_t counts[3] = {0};

	lock_take(&a->lock);
	count_states(a, counts);
	buf_printf(out, "alerts: %zu groups, %zu pending, %zu firing, %zu resolved, %s\n",
		a->book.n, counts[ALERT_PENDING], counts[ALERT_FIRING], counts[ALERT_RESOLVED],
		peers_leads(a->peers) ? "notifies" : "another server notifies");
	for (size_t i = 0; i < a->book.n; i++) {
		const struct watch *w = a->book.all[i];
		for (size_t k = 0; k < w->group.n; k++) {
			const struct watched *r = &w->rules[k];
			buf_printf(out, "  %.*s/%.*s: %zu alerts, took %.3f s%s%s\n",
				STR_ARG(w->group.name), STR_ARG(r->rule->name), r->set.n,
				(double)r->took_ns / 1e9, r->error[0] ? ", " : "", r->error);
		}
	}
	lock_drop(&a->lock);
}
