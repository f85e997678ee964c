/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The set of outputs: who runs, and what others ask of them.
 *
 * `change` is held by whoever starts, ends or commands outputs, over their work
 * on the disk; `lock` guards the list alone, for those who only look.  A
 * runner's own lock comes last.
 */
#include "output/outputs.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metric.h"
#include "output/outputs_core.h"

enum {
	REST_MS = 3000,    /* for what a reload ends */
	CONTROL_MS = 2000, /* for a rewind */
	DUMP_MS = 200,
};

struct outputs {
	struct outputs_env env;
	struct lock change;
	/* Under `lock`; changed under both. */
	struct lock lock;
	struct runner **items;
	size_t n;
	/* Under `change`: those that hang though nobody wants them any more, linked by `before`. */
	struct runner *orphans;
	/* Those that were added. */
	_Atomic size_t n_added;
};

static int64_t mono(void)
{
	return clock_mono_ns(clock_real());
}

struct outputs *outputs_new(const struct outputs_env *env)
{
	struct outputs *o = xcalloc(1, sizeof *o);

	o->env = *env;
	lock_init(&o->change);
	lock_init(&o->lock);
	return o;
}

/* One output. */

static const char *name_of(const struct kind_entry *k)
{
	const struct output_settings *s = k->settings;

	return s->name ? s->name : ((const struct output_type *)k->type)->name;
}

static char *dir_of(const struct outputs *o, const char *name)
{
	struct buf dir = {0};

	buf_printf(&dir, "%s/%s", o->env.dir, name);
	buf_cstr(&dir);
	return dir.p;
}

static struct runner *runner_new(
	struct outputs *o, const struct outputs_wanted *w, const struct kind_entry *k)
{
	struct runner *r = xcalloc(1, sizeof *r);
	int code;

	r->env = o->env;
	r->type = k->type;
	r->settings = k->settings;
	r->name = xstrdup(name_of(k));
	r->dir = dir_of(o, r->name);
	r->memory = w->memory;
	r->unref = w->unref;
	if (w->ref)
		w->ref(w->memory);
	r->kind_env = (struct output_env){.fs = o->env.fs,
		.clock = o->env.clock,
		.account = o->env.account,
		.dir = r->dir,
		.name = r->name,
		.host = o->env.host,
		.ending = runner_ending,
		.ending_arg = r};
	code = query_parse(&r->query, str_c(r->settings->match ? r->settings->match : "{}"), NULL);
	assert(code == 0); /* settings were checked */
	lock_init(&r->lock);
	cond_init(&r->wake);
	cond_init(&r->rest);
	return r;
}

static bool runner_done(struct runner *r)
{
	bool done;

	lock_take(&r->lock);
	done = r->done;
	lock_drop(&r->lock);
	return done;
}

/* After its thread came to its end. */
static void runner_free(struct runner *r)
{
	if (!r)
		return;
	if (r->started)
		pthread_join(r->thread, NULL);
	runner_free(r->before);
	query_free(r->query);
	place_fini(&r->place);
	free(r->chunk.records);
	buf_fini(&r->chunk.text);
	buf_fini(&r->dump);
	free(r->name);
	free(r->dir);
	if (r->unref)
		r->unref(r->memory);
	lock_fini(&r->lock);
	cond_fini(&r->wake);
	cond_fini(&r->rest);
	free(r);
}

static void runner_start(struct runner *r)
{
	r->paused = place_paused(r->env.fs, r->dir);
	if (!r->before)
		runner_load(r);
	r->watch = store_watch_add(r->env.store, runner_committed, r);
	r->thread = thread_start(r->name, runner_run, r);
	r->started = true;
}

static void runner_tell_stop(struct runner *r, uint64_t until_seq)
{
	lock_take(&r->lock);
	r->stopping = true;
	r->until_seq = until_seq;
	cond_signal(&r->wake);
	lock_drop(&r->lock);
}

static void runner_give_up(struct runner *r)
{
	for (; r; r = r->before) {
		atomic_store(&r->ending, true);
		runner_tell_stop(r, 0);
	}
}

/* Ask it to end once everything up to `until_seq` is delivered; 0: now. */
static void runner_stop(struct runner *r, uint64_t until_seq)
{
	/* One that waits for another has nothing to deliver. */
	if (r->before && !runner_done(r->before))
		runner_give_up(r);
	else
		runner_tell_stop(r, until_seq);
}

/* Until it is done, or the time `until` has come. */
static bool runner_wait(struct runner *r, int64_t until)
{
	int64_t left;
	bool done;

	lock_take(&r->lock);
	while (!r->done && (left = until - mono()) > 0)
		cond_wait_for(&r->rest, &r->lock, left);
	done = r->done;
	lock_drop(&r->lock);
	return done;
}

static void runner_unwatch(struct runner *r)
{
	if (r->watch)
		store_watch_remove(r->env.store, r->watch);
}

/* The settings. */

static bool same_claim(const struct kind_entry *a, const struct kind_entry *b, struct buf *claim)
{
	const struct output_type *type = a->type;
	struct buf other = {0};
	bool same;

	if (a->type != b->type || !type->claim)
		return false;
	buf_clear(claim);
	type->claim(a->settings, claim);
	type->claim(b->settings, &other);
	same = claim->n > 0 && str_eq(buf_view(claim), buf_view(&other));
	buf_fini(&other);
	return same;
}

int outputs_check(const struct kinds *kinds, struct error *e)
{
	struct buf claim = {0};
	int r = 0;

	for (size_t i = 0; i < kinds->n && r == 0; i++) {
		if (str_starts(str_c(name_of(&kinds->items[i])), STR(OUTPUT_ADDED_PREFIX)))
			r = error_set(e, ERR_ARG,
				"outputs: that of line %d is called \"%s\": names that begin with "
				"" OUTPUT_ADDED_PREFIX " are those of drains",
				kinds->items[i].line, name_of(&kinds->items[i]));
		for (size_t j = 0; j < i && r == 0; j++) {
			const struct kind_entry *a = &kinds->items[j], *b = &kinds->items[i];

			if (strcmp(name_of(a), name_of(b)) == 0)
				r = error_set(e, ERR_ARG,
					"outputs: those of line %d and line %d are both called "
					"\"%s\": give one of them another name",
					a->line, b->line, name_of(a));
			else if (same_claim(a, b, &claim))
				r = error_set(e, ERR_ARG,
					"outputs: those of line %d and line %d both write to %s",
					a->line, b->line, buf_cstr(&claim));
		}
	}
	buf_fini(&claim);
	return r;
}

/* Exchange. */

/* The one of the same kind, name and settings, secrets too. */
static struct runner *find_same(struct outputs *o, const struct kind_entry *k)
{
	const struct output_type *type = k->type;

	for (size_t i = 0; i < o->n; i++) {
		struct runner *r = o->items[i];

		if (!r->added && r->type == type && strcmp(r->name, name_of(k)) == 0 &&
			conf_same(r->settings, k->settings, type->options))
			return r;
	}
	return NULL;
}

int outputs_prepare(struct outputs *o, const struct kinds *kinds, struct error *e)
{
	int r = 0;

	for (size_t i = 0; i < kinds->n && r == 0; i++) {
		char *dir = dir_of(o, name_of(&kinds->items[i]));

		if ((r = fs_mkdir(o->env.fs, dir, e)) < 0)
			r = error_wrap(e, r, "output %s", name_of(&kinds->items[i]));
		free(dir);
	}
	return r;
}

static void on_drop(void *arg, uint64_t first_seq, uint64_t last_seq, uint64_t records)
{
	struct outputs *o = arg;

	lock_take(&o->lock);
	for (size_t i = 0; i < o->n; i++)
		runner_dropped(o->items[i], first_seq, last_seq, records);
	lock_drop(&o->lock);
}

static void adopt(struct outputs *o, struct runner *r)
{
	struct runner *last = r;

	while (last->before)
		last = last->before;
	last->before = o->orphans;
	o->orphans = r;
}

/* End those that are not kept.  Who does not end in time is handed to its successor. */
static void end_old(struct outputs *o, struct runner **next, size_t n)
{
	int64_t until = mono() + REST_MS * NS_PER_MS;

	for (size_t i = 0; i < o->n; i++)
		if (!o->items[i]->kept)
			runner_stop(o->items[i], 0);
	for (size_t i = 0; i < o->n; i++) {
		struct runner *r = o->items[i], *heir = NULL;

		if (r->kept)
			continue;
		runner_unwatch(r);
		if (runner_wait(r, until)) {
			runner_free(r);
			continue;
		}
		runner_give_up(r);
		for (size_t j = 0; j < n && !heir; j++)
			if (!next[j]->watch && strcmp(next[j]->name, r->name) == 0)
				heir = next[j];
		log_warn("output", "%s: it does not end: %s", r->name,
			heir ? "the new one waits for it" : "it is left to itself");
		if (heir)
			heir->before = r;
		else
			adopt(o, r);
	}
}

static void reopen(struct runner *r)
{
	lock_take(&r->lock);
	r->ask_reopen = true;
	cond_signal(&r->wake);
	lock_drop(&r->lock);
}

int outputs_apply(struct outputs *o, const struct outputs_wanted *w, struct error *e)
{
	struct runner **next, **old;
	size_t n = w->kinds->n;
	int r;

	if ((r = outputs_prepare(o, w->kinds, e)) < 0)
		return r;
	lock_take(&o->change);
	next = xcalloc(n + o->n, sizeof *next);
	for (size_t i = 0; i < n; i++) {
		if ((next[i] = find_same(o, &w->kinds->items[i]))) {
			next[i]->kept = true;
			reopen(next[i]);
		} else {
			next[i] = runner_new(o, w, &w->kinds->items[i]);
		}
	}
	for (size_t i = 0; i < o->n; i++)
		if (o->items[i]->added) {
			next[n++] = o->items[i];
			o->items[i]->kept = true;
		}
	end_old(o, next, n);
	for (size_t i = 0; i < n; i++) {
		if (!next[i]->kept)
			runner_start(next[i]);
		next[i]->kept = false;
	}
	lock_take(&o->lock);
	old = o->items;
	o->items = next;
	o->n = n;
	lock_drop(&o->lock);
	store_watch_drops(o->env.store, n > 0 ? on_drop : NULL, o);
	lock_drop(&o->change);
	free(old);
	return 0;
}

/* Those that are added. */

static size_t index_of(const struct outputs *o, struct str name)
{
	size_t i = 0;

	while (i < o->n && !str_eq_c(name, o->items[i]->name))
		i++;
	return i;
}

/* Take the one that hangs under this name, if there is one: its successor waits for it. */
static struct runner *take_orphan(struct outputs *o, const char *name)
{
	for (struct runner **at = &o->orphans; *at; at = &(*at)->before) {
		struct runner *r = *at;

		if (strcmp(r->name, name) == 0) {
			*at = r->before;
			r->before = NULL;
			return r;
		}
	}
	return NULL;
}

int outputs_add(struct outputs *o, const struct outputs_added *a, struct error *e)
{
	struct outputs_wanted w = {.memory = a->memory, .unref = a->unref};
	const char *name = name_of(a->entry);
	char *dir = dir_of(o, name);
	struct runner *r;
	int code = 0;

	lock_take(&o->change);
	if (index_of(o, str_c(name)) < o->n)
		code = error_set(e, ERR_EXISTS, "there is an output \"%s\"", name);
	else
		code = fs_mkdir(o->env.fs, dir, e);
	free(dir);
	if (code == 0) {
		r = runner_new(o, &w, a->entry);
		r->added = true;
		r->crowd = &o->n_added;
		atomic_fetch_add(&o->n_added, 1);
		r->after_seq = a->after_seq;
		r->told = a->told;
		r->told_arg = a->arg;
		r->before = take_orphan(o, name);
		runner_start(r);
		lock_take(&o->lock);
		o->items = xrealloc(o->items, (o->n + 1) * sizeof(struct runner *));
		o->items[o->n++] = r;
		lock_drop(&o->lock);
		store_watch_drops(o->env.store, on_drop, o);
	}
	lock_drop(&o->change);
	return code;
}

static void forget_place(const struct runner *r)
{
	static const char *const names[] = {"cursor", "paused"};
	struct buf path = {0};

	for (size_t i = 0; i < 2; i++) {
		buf_clear(&path);
		buf_printf(&path, "%s/%s", r->dir, names[i]);
		fs_unlink(r->env.fs, buf_cstr(&path), NULL);
	}
	/* It is empty now, unless a kind keeps something there. */
	fs_unlink(r->env.fs, r->dir, NULL);
	buf_fini(&path);
}

/* Out of the list: nobody else knows of it any more. */
static struct runner *take_added(struct outputs *o, struct str name)
{
	struct runner *r = NULL;
	size_t i;

	lock_take(&o->change);
	i = index_of(o, name);
	if (i < o->n && o->items[i]->added) {
		r = o->items[i];
		lock_take(&o->lock);
		memmove(&o->items[i], &o->items[i + 1], (o->n - i - 1) * sizeof(struct runner *));
		o->n--;
		lock_drop(&o->lock);
		atomic_fetch_sub(&o->n_added, 1);
		store_watch_drops(o->env.store, o->n > 0 ? on_drop : NULL, o);
		runner_unwatch(r);
	}
	lock_drop(&o->change);
	return r;
}

bool outputs_remove(struct outputs *o, struct str name, bool forget)
{
	struct runner *r = take_added(o, name);

	if (!r)
		return false;
	/* A target that does not answer is not waited for; one that does is left in order. */
	runner_give_up(r);
	if (runner_wait(r, mono() + REST_MS * NS_PER_MS)) {
		if (forget)
			forget_place(r);
		runner_free(r);
		return true;
	}
	lock_take(&o->change);
	adopt(o, r);
	lock_drop(&o->change);
	return true;
}

/* The end. */

/* It must not touch what goes away now.  In the store it ends by itself, soon. */
static bool abandon(struct runner *r, int64_t until)
{
	bool abandoned;

	if (runner_wait(r, until))
		return false;
	lock_take(&r->lock);
	r->abandoned = abandoned = r->in_kind && !r->done;
	lock_drop(&r->lock);
	if (!abandoned) {
		runner_wait(r, INT64_MAX);
		return false;
	}
	pthread_detach(r->thread);
	cursor_fini(&r->cursor);
	query_tail_free(r->match);
	account_release(r->env.account, r->chunk.charged);
	return true;
}

/* What threads that were left behind still use; never freed. */
static struct runner *left_behind;

/* End a runner and those before it; how many were left behind. */
static size_t runner_end(struct runner *r, int64_t until)
{
	struct runner *last = r;
	size_t left = 0;

	for (struct runner *b = r; b; b = b->before) {
		left += abandon(b, until);
		last = b;
	}
	if (left == 0) {
		runner_free(r);
	} else {
		last->before = left_behind;
		left_behind = r;
	}
	return left;
}

void outputs_stop(struct outputs *o, unsigned ms)
{
	int64_t start = mono(), patient = start + ms * NS_PER_MS * 3 / 4;
	int64_t until = start + ms * NS_PER_MS;
	uint64_t last = store_last_seq(o->env.store);
	struct runner **items;
	size_t n, left = 0;

	lock_take(&o->change);
	store_watch_drops(o->env.store, NULL, o);
	lock_take(&o->lock);
	items = o->items;
	n = o->n;
	o->items = NULL;
	o->n = 0;
	lock_drop(&o->lock);
	for (size_t i = 0; i < n; i++) {
		runner_unwatch(items[i]);
		runner_stop(items[i], last);
	}
	for (size_t i = 0; i < n; i++)
		if (!runner_wait(items[i], patient))
			runner_give_up(items[i]);
	for (size_t i = 0; i < n; i++)
		left += runner_end(items[i], until);
	if (o->orphans)
		left += runner_end(o->orphans, until);
	o->orphans = NULL;
	free(items);
	lock_drop(&o->change);
	if (left > 0)
		log_warn("output",
			"%zu outputs did not come to an end in %u ms: what they were given and "
			"was not synced is delivered again at the next start",
			left, ms);
}

void outputs_free(struct outputs *o)
{
	if (!o)
		return;
	assert(o->n == 0);
	lock_fini(&o->lock);
	lock_fini(&o->change);
	free(o);
}

/* What is shown. */

static void look(struct runner *r, uint64_t last, int64_t now, struct output_status *s, char *error,
	size_t size)
{
	lock_take(&r->lock);
	*s = r->shown;
	/* While it is tried again it may be well. */
	str_copy(str_c(s->retry_ns ? r->error : ""), error, size);
	s->state = r->paused ? OUTPUT_PAUSED : s->retry_ns ? OUTPUT_FAILS : OUTPUT_RUNS;
	s->behind = s->seq < last ? last - s->seq : 0;
	s->behind_ns = s->behind && r->oldest_ns && now > r->oldest_ns ? now - r->oldest_ns : 0;
	lock_drop(&r->lock);
	s->name = r->name;
	s->kind = r->type->name;
	s->error = error;
}

void outputs_list(
	struct outputs *o, void (*each)(void *arg, const struct output_status *s), void *arg)
{
	uint64_t last = store_last_seq(o->env.store);
	int64_t now = clock_now_ns(o->env.clock);

	lock_take(&o->lock);
	for (size_t i = 0; i < o->n; i++) {
		struct output_status s;
		char error[sizeof o->items[i]->error];

		look(o->items[i], last, now, &s, error, sizeof error);
		each(arg, &s);
	}
	lock_drop(&o->lock);
}

static void set_metrics(void *arg, const struct output_status *s)
{
	struct buf labels = {0};
	const char *l;

	metric_label(&labels, "output", str_c(s->name));
	l = buf_cstr(&labels);
	metric_set(METRIC_output_lag_records, l, (int64_t)s->behind);
	metric_set(METRIC_output_lag_seconds, l, s->behind_ns / NS_PER_SEC);
	metric_set(METRIC_output_delivered_records_total, l, (int64_t)s->delivered);
	metric_set(METRIC_output_skipped_records_total, l, (int64_t)s->skipped);
	metric_set(METRIC_output_missed_records_total, l, (int64_t)s->missed);
	metric_add(METRIC_output_failures_total, l, 0);
	buf_fini(&labels);
}

void outputs_metrics(struct outputs *o)
{
	outputs_list(o, set_metrics, NULL);
}

static void dump_kind(struct runner *r, struct buf *out)
{
	int64_t until = mono() + DUMP_MS * NS_PER_MS, left;
	uint64_t before;

	lock_take(&r->lock);
	before = r->dumps;
	r->ask_dump = true;
	cond_signal(&r->wake);
	while (r->dumps == before && !r->done && (left = until - mono()) > 0)
		cond_wait_for(&r->rest, &r->lock, left);
	if (r->dumps == before)
		buf_c(out, "    busy with a write\n");
	else
		buf_str(out, buf_view(&r->dump));
	lock_drop(&r->lock);
}

void outputs_dump(struct outputs *o, struct buf *out)
{
	static const char *const states[] = {"runs", "paused", "fails"};
	uint64_t last = store_last_seq(o->env.store);
	int64_t now = clock_now_ns(o->env.clock);

	buf_printf(out, "outputs: %zu\n", o->n);
	for (size_t i = 0; i < o->n; i++) {
		struct output_status s;
		char error[sizeof o->items[i]->error];

		look(o->items[i], last, now, &s, error, sizeof error);
		buf_printf(out,
			"  %s (%s) %s at %" PRIu64 ", %" PRIu64 " behind for %.1f s, %" PRIu64
			" delivered, %" PRIu64 " skipped, %" PRIu64 " missed%s%s\n",
			s.name, s.kind, states[s.state], s.seq, s.behind, (double)s.behind_ns / 1e9,
			s.delivered, s.skipped, s.missed, *error ? ": " : "", error);
		dump_kind(o->items[i], out);
	}
}

/* Commands. */

static struct runner *find(struct outputs *o, struct str name, struct error *e)
{
	struct buf names = {0};

	for (size_t i = 0; i < o->n; i++)
		if (str_eq_c(name, o->items[i]->name))
			return o->items[i];
	for (size_t i = 0; i < o->n; i++)
		buf_printf(&names, "%s%s", i ? ", " : "", o->items[i]->name);
	error_set(e, ERR_NOT_FOUND, "there is no output \"%.*s\"; there %s%.*s",
		STR_ARG(str_sub(name, 0, 100)),
		o->n == 0   ? "are none"
		: o->n == 1 ? "is "
			    : "are ",
		STR_ARG(str_sub(buf_view(&names), 0, 300)));
	buf_fini(&names);
	return NULL;
}

/* The lowest sequence of the tenant's records at or behind a time. */
struct search {
	struct scan scan;
	uint64_t lowest; /* 0: none */
};

static int look_at_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct search *s = ctx;

	for (size_t i = 0; i < rows->n; i++) {
		uint64_t seq = rows->seq[rows->pick[i]];

		if (s->lowest == 0 || seq < s->lowest)
			s->lowest = seq;
	}
	/* Only what lies before it can still be better. */
	s->scan.until_seq = s->lowest > 1 ? s->lowest - 1 : s->scan.until_seq;
	return s->lowest == 1;
}

static int seq_of_time(
	struct outputs *o, struct str tenant, int64_t time_ns, uint64_t *after, struct error *e)
{
	struct snapshot *sn = snapshot_take(o->env.store);
	struct search s = {.scan = {.tenant = tenant,
				   .from_ns = time_ns,
				   .to_ns = INT64_MAX,
				   .until_seq = snapshot_last_seq(sn),
				   .order = SCAN_BY_SEQ,
				   .account = o->env.account,
				   .rows = look_at_rows}};
	int r = 0;

	s.scan.ctx = &s;
	*after = s.scan.until_seq;
	if (*after > 0)
		r = snapshot_scan(sn, &s.scan, e);
	snapshot_free(sn);
	if (r >= 0 && s.lowest > 0)
		*after = s.lowest - 1;
	return r < 0 ? r : 0;
}

static int resolve(struct outputs *o, const struct runner *r, const struct output_rewind *to,
	uint64_t *after, struct error *e)
{
	uint64_t last = store_last_seq(o->env.store);
	const char *tenant = r->settings->tenant ? r->settings->tenant : "default";

	switch (to->to) {
	case REWIND_BEGIN: *after = 0; return 0;
	case REWIND_NOW: *after = last; return 0;
	case REWIND_TIME: return seq_of_time(o, str_c(tenant), to->time_ns, after, e);
	case REWIND_SEQ: break;
	}
	*after = to->seq > 0 ? to->seq - 1 : 0;
	if (*after > last)
		return error_set(e, ERR_ARG,
			"sequence %" PRIu64 " is not there yet: the last record stored is %" PRIu64,
			to->seq, last);
	return 0;
}

static int rewind_output(
	struct outputs *o, struct runner *r, const struct output_rewind *to, struct error *e)
{
	int64_t until = mono() + CONTROL_MS * NS_PER_MS, left;
	uint64_t after, before;
	int code = resolve(o, r, to, &after, e);

	if (code < 0)
		return code;
	lock_take(&r->lock);
	before = r->rewinds;
	r->ask_rewind = true;
	r->rewind_seq = after;
	cond_signal(&r->wake);
	while (r->rewinds == before && !r->done && (left = until - mono()) > 0)
		cond_wait_for(&r->rest, &r->lock, left);
	if (r->rewinds == before)
		code = error_set(e, ERR_TIMEOUT,
			"output %s is busy with a write: it rewinds when that has ended", r->name);
	lock_drop(&r->lock);
	return code;
}

static int pause_output(struct runner *r, bool paused, struct error *e)
{
	int code = place_set_paused(r->env.fs, r->dir, paused, e);

	if (code < 0)
		return error_wrap(e, code, "output %s", r->name);
	lock_take(&r->lock);
	r->paused = paused;
	r->ask_retry = true;
	cond_signal(&r->wake);
	lock_drop(&r->lock);
	return 0;
}

int outputs_control(struct outputs *o, struct str name, enum output_action action,
	const struct output_rewind *to, struct error *e)
{
	struct runner *r;
	int code = 0;

	lock_take(&o->change);
	if (!(r = find(o, name, e)))
		code = ERR_NOT_FOUND;
	else if (action == OUTPUT_REWIND)
		code = rewind_output(o, r, to, e);
	else if (action == OUTPUT_REOPEN)
		reopen(r);
	else
		code = pause_output(r, action == OUTPUT_PAUSE, e);
	lock_drop(&o->change);
	return code;
}
