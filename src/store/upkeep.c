/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The upkeep thread: has the disk follow what retention and deletions say, and
 * the engine keep itself in order.  It runs beside builder and committer and
 * waits for neither; what fails (a full disk) is told once and tried again
 * after a pause.
 *
 * A deletion is done when nothing is left of it anywhere: the head was built
 * into parts, no part and no file that is still read holds records of it, and
 * the journal has let go of its segments.
 */
#include <stdio.h>
#include <sys/resource.h>

#include "base/duration.h"
#include "base/log.h"
#include "base/metric.h"
#include "store/retain_core.h"

#define LOOK_NS   (2 * NS_PER_SEC)
#define PAUSE_NS  (30 * NS_PER_SEC)  /* after a failure */
#define OTHERS_NS (60 * NS_PER_SEC)  /* between two looks at the other files */
#define CLOCK_NS  (600 * NS_PER_SEC) /* between two savings of the time that ages count by */

enum {
	NICE = 10,
	FOLDERS_DEEP = 4,
};

/* Size */

uint64_t upkeep_count_files(struct fs *fs, const char *dir, int depth)
{
	struct buf names = {0}, path = {0};
	const char *name;
	uint64_t bytes = 0;
	size_t n = 0;

	if (fs_list(fs, dir, &names, &n, NULL) < 0)
		n = 0;
	name = names.p;
	for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
		struct file_stat st;

		if (depth == 0 && (strcmp(name, "parts") == 0 || strcmp(name, "journal") == 0))
			continue;
		buf_clear(&path);
		buf_printf(&path, "%s/%s", dir, name);
		if (fs_stat(fs, buf_cstr(&path), &st, NULL) < 0)
			continue;
		if (st.kind == FILE_DIRECTORY && depth < FOLDERS_DEEP)
			bytes += upkeep_count_files(fs, path.p, depth + 1);
		else if (st.kind == FILE_REGULAR)
			bytes += st.size;
	}
	buf_fini(&names);
	buf_fini(&path);
	return bytes;
}

uint64_t upkeep_share(uint64_t bytes, unsigned percent)
{
	return bytes / 100 * percent + bytes % 100 * percent / 100;
}

static void tell_watchers(void *arg, uint64_t first_seq, uint64_t last_seq, uint64_t records)
{
	store_run_drop_watches(arg, first_seq, last_seq, records);
}

static int drop(struct retainer *rt, struct engine_drop *d, const char *reason, struct error *e)
{
	struct store *s = rt->s;
	struct buf labels = {0};
	int r;

	d->dropped = tell_watchers;
	d->arg = s;
	r = engine_type(s->engine)->drop(s->engine, d, e);
	if (r == 0 && d->parts > 0) {
		metric_label(&labels, "reason", str_c(reason));
		metric_add(
			METRIC_retention_dropped_parts_total, buf_cstr(&labels), (int64_t)d->parts);
		metric_add(METRIC_retention_dropped_records_total, labels.p, (int64_t)d->records);
		metric_add(
			METRIC_retention_dropped_bytes_total, labels.p, (int64_t)d->dropped_bytes);
	}
	buf_fini(&labels);
	return r;
}

/* Log lines of people: "81.2 GiB". */
struct size_text {
	char s[32];
};

/* As people say it: "47.56 GiB", "26.0 MiB". */
static struct size_text size_text(uint64_t bytes)
{
	struct size_text t;

	if (bytes < UINT64_C(1) << 30)
		snprintf(t.s, sizeof t.s, "%.1f MiB", (double)bytes / (1 << 20));
	else
		snprintf(t.s, sizeof t.s, "%.2f GiB", (double)bytes / (1 << 30));
	return t;
}

static void show_limit(struct retainer *rt, uint64_t own, uint64_t limit, unsigned percent)
{
	bool changed;

	atomic_store(&rt->limit_bytes, limit);
	atomic_store(&rt->own_bytes, own);
	lock_take(&rt->lock);
	changed = rt->limit_changed;
	rt->limit_changed = false;
	lock_drop(&rt->lock);
	if (!changed)
		return;
	if (limit == 0)
		log_info("store", "retention: no limit by size; %s are stored", size_text(own).s);
	else if (percent > 0)
		log_info("store",
			"retention: at most %s (%u %% of what is stored and what is free); "
			"%s are stored",
			size_text(limit).s, percent, size_text(own).s);
	else
		log_info("store", "retention: at most %s; %s are stored", size_text(limit).s,
			size_text(own).s);
}

/* Drop the oldest parts while all is more than the limit. */
static int keep_size(struct retainer *rt, struct error *e)
{
	struct store *s = rt->s;
	struct engine_drop d = {.before_ns = INT64_MIN};
	struct engine_figures f;
	uint64_t limit, own, journal = journal_bytes(s->journal), counted, free_bytes, total;
	int64_t mono_ns = clock_mono_ns(s->o.clock);
	unsigned percent;
	char why[64];

	if (rt->others_mono_ns == INT64_MIN || mono_ns - rt->others_mono_ns >= OTHERS_NS) {
		rt->others_bytes = upkeep_count_files(s->o.fs, s->o.dir, 0);
		rt->others_mono_ns = mono_ns;
	}
	lock_take(&s->lock);
	engine_type(s->engine)->figures(s->engine, &f);
	lock_drop(&s->lock);
	lock_take(&rt->lock);
	limit = rt->size_bytes;
	percent = limit > 0 ? 0 : rt->size_percent;
	lock_drop(&rt->lock);
	own = f.bytes + f.gone_bytes + journal + rt->others_bytes;
	if (percent > 0 && fs_space(s->o.fs, s->o.dir, &free_bytes, &total, NULL) == 0)
		limit = free_bytes > UINT64_MAX - own ? UINT64_MAX
						      : upkeep_share(own + free_bytes, percent);
	show_limit(rt, own, limit, percent);
	if (limit == 0)
		return 0;
	/* A journal that takes more than half must not cost all of the parts: it is made shorter.
	 */
	counted = journal;
	if (journal > limit / 2) {
		counted = limit / 2;
		store_ask_build(s, store_last_seq(s));
	}
	counted += f.bytes + rt->others_bytes;
	if (counted <= limit)
		return 0;
	d.bytes = counted - limit;
	snprintf(why, sizeof why, "size %s", size_text(limit).s);
	d.why = why;
	return drop(rt, &d, "size", e);
}

/* Age */

struct ages {
	int64_t smallest, largest; /* 0: none */
	int64_t general;
};

static struct ages ages_of(const struct retainer *rt) REQUIRES(rt->lock)
{
	struct ages a = {.smallest = rt->age_ns, .largest = rt->age_ns, .general = rt->age_ns};

	for (size_t i = 0; i < rt->n_rules; i++) {
		int64_t age = rt->rules[i].age_ns;

		a.smallest = a.smallest == 0 || age < a.smallest ? age : a.smallest;
		a.largest = age > a.largest ? age : a.largest;
	}
	return a;
}

/* Drop what is older than anything may be. */
static int keep_age(struct retainer *rt, struct ages a, int64_t now_ns, struct error *e)
{
	struct buf age = {0}, why = {0};
	struct engine_drop d = {0};
	int r;

	if (a.general == 0 || __builtin_sub_overflow(now_ns, a.largest, &d.before_ns))
		return 0;
	duration_format(&age, a.largest);
	buf_printf(&why, "age %s", buf_cstr(&age));
	d.why = buf_cstr(&why);
	r = drop(rt, &d, "age", e);
	buf_fini(&age);
	buf_fini(&why);
	return r;
}

/* Deletions */

/* Those whose time to be taken back is over. */
static int begin_due(struct retainer *rt, uint64_t highest, struct error *e)
{
	bool any = false;
	int r = 0;

	lock_take(&rt->save_lock);
	lock_take(&rt->lock);
	for (size_t i = 0; i < rt->deletions.n && rt->deletions.all[i].d.id <= highest; i++) {
		any = any || !rt->deletions.all[i].begun;
		rt->deletions.all[i].begun = true;
	}
	lock_drop(&rt->lock);
	/* When this cannot be saved a restart may allow to take one back that has begun: harmless,
	 * what is removed by then stays so. */
	if (any)
		r = retainer_save(rt, e);
	lock_drop(&rt->save_lock);
	return r;
}

/* Is nothing left of it?  What is in the way is asked to go. */
static bool is_done(struct store *s, const struct engine_deletion *d)
{
	uint64_t oldest, newest, first;

	lock_take(&s->lock);
	first = s->head.n > 0 ? head_first_seq(&s->head) : UINT64_MAX;
	lock_drop(&s->lock);
	if (first <= d->until_seq) {
		store_ask_build(s, d->until_seq);
		return false;
	}
	if (!engine_type(s->engine)->carried_out(s->engine, d))
		return false;
	journal_range(s->journal, &oldest, &newest);
	if (oldest > d->until_seq)
		return true;
	if (newest <= d->until_seq) {
		committer_roll(s->committer);
		return false;
	}
	store_ask_build(s, newest - 1);
	store_trim_journal(s);
	journal_range(s->journal, &oldest, &newest);
	return oldest > d->until_seq;
}

static void finish_deletions(struct retainer *rt)
{
	bool any = false;
	struct error e;

	lock_take(&rt->save_lock);
	for (size_t i = 0; i < rt->deletions.n; i++) {
		struct deletion_entry *x = &rt->deletions.all[i];
		struct engine_deletion d = {.id = x->d.id,
			.until_seq = x->d.until_seq,
			.from_ns = x->d.from_ns,
			.to_ns = x->d.to_ns};

		if (x->d.state == DELETION_DONE || !x->begun || !is_done(rt->s, &d))
			continue;
		lock_take(&rt->lock);
		x->d.state = DELETION_DONE;
		hide_unref(x->hide);
		x->hide = NULL;
		rt->shown_mono_ns = INT64_MIN;
		lock_drop(&rt->lock);
		log_info("store", "deletion %llu is carried out", (unsigned long long)x->d.id);
		any = true;
	}
	if (any) {
		lock_take(&rt->lock);
		deletions_forget(&rt->deletions);
		lock_drop(&rt->lock);
		if (retainer_save(rt, &e) < 0)
			log_warn("store", "the state of deletions: %s", e.text);
	}
	lock_drop(&rt->save_lock);
}

/* The thread */

/* What upkeep goes by at this moment; the visibility is the caller's. */
static struct ages look(struct retainer *rt, struct engine_upkeep *u)
{
	struct store *s = rt->s;
	struct visibility_parts parts;
	struct buf list = {0};
	struct ages a;

	*u = (struct engine_upkeep){.delete_from_ns = INT64_MAX,
		.delete_to_ns = INT64_MIN,
		.mono_ns = clock_mono_ns(s->o.clock),
		.reserve_bytes = s->o.reserve_bytes,
		.merge_off = s->o.merge_off,
		.cancel = &rt->cancel};
	lock_take(&rt->lock);
	retainer_parts(rt, &parts, &list, true, &u->cleaned);
	for (size_t i = 0; i < parts.n_deletions; i++) {
		const struct hide_deletion *h = &parts.deletions[i];

		u->delete_from_ns = h->from_ns < u->delete_from_ns ? h->from_ns : u->delete_from_ns;
		u->delete_to_ns = h->to_ns > u->delete_to_ns ? h->to_ns : u->delete_to_ns;
		if (h->until_seq > u->delete_until_seq)
			u->delete_until_seq = h->until_seq;
	}
	u->visibility = visibility_new(&parts);
	u->now_ns = parts.now_ns;
	a = ages_of(rt);
	u->min_age_ns = a.smallest;
	u->rules_changed = rt->rules_changed;
	rt->rules_changed = false;
	lock_drop(&rt->lock);
	lock_take(&s->lock);
	u->settled_seq = s->head.n > 0 ? head_first_seq(&s->head) - 1 : UINT64_MAX;
	lock_drop(&s->lock);
	buf_fini(&list);
	return a;
}

/* What a restart finds; a failure costs its memory of a clock that is ahead, and is tried again. */
static void save_clock(struct retainer *rt)
{
	struct store *s = rt->s;
	struct steady t;

	lock_take(&rt->lock);
	t = rt->steady;
	lock_drop(&rt->lock);
	if (rt->saved_mono_ns != INT64_MIN && t.ahead == rt->saved_ahead &&
		t.mono_ns - rt->saved_mono_ns < CLOCK_NS)
		return;
	if (steady_save(s->o.fs, s->o.dir, &t, NULL) < 0)
		return;
	rt->saved_mono_ns = t.mono_ns;
	rt->saved_ahead = t.ahead;
}

/* 1 something was done and more may be due, 0 nothing is due. */
static int step(struct retainer *rt, struct error *e)
{
	struct store *s = rt->s;
	struct engine_upkeep u;
	struct ages a = look(rt, &u);
	int r;

	save_clock(rt);
	if ((r = begin_due(rt, u.cleaned, e)) == 0 && (r = keep_age(rt, a, u.now_ns, e)) == 0 &&
		(r = keep_size(rt, e)) == 0)
		r = engine_type(s->engine)->upkeep(s->engine, &u, e);
	if (r <= 0)
		finish_deletions(rt);
	visibility_unref(u.visibility);
	return r;
}

/* A failure is told when it is another than the last. */
static void tell(struct retainer *rt, const struct error *e)
{
	if (e->code < 0 && e->code != ERR_CANCELLED && e->code != rt->told.code) {
		log_warn("store", "merging and dropping parts, trying again: %s", e->text);
		metric_add(METRIC_upkeep_failures_total, "", 1);
	} else if (e->code == 0 && rt->told.code < 0) {
		log_info("store", "merging and dropping parts goes on");
	}
	rt->told = *e;
}

void *upkeep_run(void *retainer)
{
	struct retainer *rt = retainer;

	/* Of this thread alone, on Linux. */
	setpriority(PRIO_PROCESS, 0, NICE);
	lock_take(&rt->lock);
	while (!rt->stopping) {
		uint64_t asked = rt->settle_asked;
		struct error e = {0};
		int64_t until;
		int r;

		lock_drop(&rt->lock);
		if ((r = step(rt, &e)) >= 0)
			e = (struct error){0};
		tell(rt, &e);
		lock_take(&rt->lock);
		if (r > 0)
			continue;
		rt->settle_error = e;
		rt->settle_done = asked;
		cond_broadcast(&rt->settled);
		if (rt->stopping || rt->settle_asked > asked)
			continue;
		/* After a failure others may signal in vain, but not those who ask. */
		until = clock_mono_ns(clock_real()) + (r < 0 ? PAUSE_NS : LOOK_NS);
		rt->woken = false;
		while (!rt->stopping && rt->settle_asked == asked && (r < 0 || !rt->woken)) {
			int64_t left = until - clock_mono_ns(clock_real());

			if (left <= 0 || !cond_wait_for(&rt->wake, &rt->lock, left))
				break;
		}
	}
	lock_drop(&rt->lock);
	return NULL;
}

void retainer_wake(struct retainer *rt)
{
	lock_take(&rt->lock);
	rt->woken = true;
	cond_signal(&rt->wake);
	lock_drop(&rt->lock);
}

int store_settle(struct store *s, struct error *e)
{
	struct retainer *rt = s->retainer;
	uint64_t ask;
	int r = 0;

	lock_take(&rt->lock);
	ask = ++rt->settle_asked;
	cond_signal(&rt->wake);
	while (rt->settle_done < ask && !rt->stopping)
		cond_wait(&rt->settled, &rt->lock);
	if (rt->settle_done < ask)
		r = error_set(e, ERR_CLOSED, "the store is closing");
	else if (rt->settle_error.code < 0)
		r = error_set(e, rt->settle_error.code, "%s", rt->settle_error.text);
	lock_drop(&rt->lock);
	return r;
}
