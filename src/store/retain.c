/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retention and deletions: the rules, and what they hide.
 *
 * What is hidden is made anew when a rule or deletion changes, and every second
 * where an age counts, as time moves on.
 *
 * Ages are reckoned by a time that does not jump.  A wall clock that runs more
 * than an hour ahead of the monotonic one is not believed for a day of the
 * latter: a broken clock must not delete everything.  Then it is, since most
 * jumps are a machine that slept.  At the start the clock is held against what
 * was saved of this time, or else the newest time in the journal, and the bound
 * is a week.  A clock that is set back is believed at once: that only keeps
 * records longer.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/metric.h"
#include "store/forecast.h"
#include "store/retain_core.h"

#define JUMP_NS       (3600 * NS_PER_SEC)
#define START_JUMP_NS (7 * 24 * 3600 * NS_PER_SEC)
#define SHOWN_NS      NS_PER_SEC

/* Time */

static void steady_start(struct retainer *rt)
{
	struct store *s = rt->s;
	int64_t wall = clock_now_ns(s->o.clock), mono = clock_mono_ns(s->o.clock);
	struct steady saved = {.now_ns = s->recovery.newest_ns, .mono_ns = mono};
	bool known = steady_load(s->o.fs, s->o.dir, mono, &saved, NULL) == 0 || saved.now_ns > 0;

	rt->steady = (struct steady){.now_ns = wall, .mono_ns = mono};
	if (known && wall > saved.now_ns && (uint64_t)wall - (uint64_t)saved.now_ns > START_JUMP_NS)
		rt->steady = saved;
	rt->saved_mono_ns = INT64_MIN;
}

static int64_t steady_now(struct retainer *rt) REQUIRES(rt->lock)
{
	struct steady *t = &rt->steady;
	int64_t wall = clock_now_ns(rt->s->o.clock), mono = clock_mono_ns(rt->s->o.clock);
	int64_t expected = t->now_ns + (mono - t->mono_ns);

	if (wall - expected <= JUMP_NS) {
		if (t->ahead)
			log_info("store", "the clock is back: ages count by it again");
		*t = (struct steady){.now_ns = wall, .mono_ns = mono};
		return wall;
	}
	if (!t->ahead) {
		t->ahead = true;
		t->ahead_since_ns = mono;
		log_warn("store",
			"the clock went ahead by %lld hours: ages do not count by it for 24 hours, "
			"unless it comes back",
			(long long)((wall - expected) / JUMP_NS));
	} else if (mono - t->ahead_since_ns >= BELIEVE_NS) {
		log_info("store", "the clock has stayed ahead for 24 hours: ages count by it");
		*t = (struct steady){.now_ns = wall, .mono_ns = mono};
		return wall;
	}
	t->now_ns = expected;
	t->mono_ns = mono;
	return expected;
}

int64_t retainer_now(struct retainer *rt)
{
	int64_t now_ns = steady_now(rt);

	atomic_store(&rt->clock_ahead, rt->steady.ahead);
	return now_ns;
}

/* What is hidden */

void retainer_parts(struct retainer *rt, struct visibility_parts *out, struct buf *deletions,
	bool due_alone, uint64_t *highest)
{
	int64_t now_ns = retainer_now(rt);

	*highest = 0;
	for (size_t i = 0; i < rt->deletions.n; i++) {
		const struct deletion_entry *x = &rt->deletions.all[i];
		struct hide_deletion h = {.hide = x->hide,
			.from_ns = x->d.from_ns,
			.to_ns = x->d.to_ns,
			.until_seq = x->d.until_seq};

		if (x->d.state == DELETION_DONE)
			continue;
		/* In their order: a part that is cleaned up to one has all before it behind it. */
		if (due_alone && (!x->hide || (now_ns - x->d.created_ns < rt->delete_wait_ns &&
						      now_ns >= x->d.created_ns)))
			break;
		if (x->hide)
			buf_put(deletions, &h, sizeof h);
		*highest = x->d.id;
	}
	*out = (struct visibility_parts){.selectors = rt->s->o.selectors,
		.now_ns = now_ns,
		.age_ns = rt->age_ns,
		.rules = rt->rules,
		.n_rules = rt->n_rules,
		.deletions = (const struct hide_deletion *)deletions->p,
		.n_deletions = deletions->n / sizeof(struct hide_deletion)};
}

static bool has_age(const struct retainer *rt)
{
	return rt->age_ns > 0 || rt->n_rules > 0;
}

static void forget_shown(struct retainer *rt) REQUIRES(rt->lock)
{
	visibility_unref(rt->shown);
	rt->shown = NULL;
	rt->shown_mono_ns = INT64_MIN;
}

static struct visibility *shown(struct retainer *rt) REQUIRES(rt->lock)
{
	int64_t mono_ns = clock_mono_ns(rt->s->o.clock);
	struct visibility_parts parts;
	struct buf list = {0};
	uint64_t highest;

	if (rt->shown_mono_ns != INT64_MIN &&
		(!has_age(rt) || mono_ns - rt->shown_mono_ns < SHOWN_NS))
		return visibility_ref(rt->shown);
	forget_shown(rt);
	retainer_parts(rt, &parts, &list, false, &highest);
	rt->shown = visibility_new(&parts);
	if (visibility_clear(rt->shown)) {
		visibility_unref(rt->shown);
		rt->shown = NULL;
	}
	rt->shown_mono_ns = mono_ns;
	buf_fini(&list);
	return visibility_ref(rt->shown);
}

struct visibility *store_visibility(struct store *s)
{
	struct retainer *rt = s->retainer;
	struct visibility *v;

	lock_take(&rt->lock);
	v = shown(rt);
	lock_drop(&rt->lock);
	return v;
}

/* Records that come too late */

/* Mark the records that are older than their stream may be. */
static size_t mark_old(const struct batch *b, const int64_t *before, uint8_t **drop)
{
	size_t n = 0;

	for (size_t i = 0; i < batch_count(b); i++) {
		struct record rec = batch_record(b, i);

		if (rec.timestamp >= before[rec.stream])
			continue;
		if (!*drop)
			*drop = xcalloc(batch_count(b) / 8 + 1, 1);
		(*drop)[i / 8] |= (uint8_t)(1u << (i % 8));
		n++;
	}
	return n;
}

size_t store_too_old(struct store *s, const struct batch *b, uint8_t **drop)
{
	struct retainer *rt = s->retainer;
	struct visibility *v;
	struct buf list = {0};
	int64_t *before;
	size_t n = 0;
	bool ages;

	*drop = NULL;
	lock_take(&rt->lock);
	ages = has_age(rt);
	v = ages ? shown(rt) : NULL;
	lock_drop(&rt->lock);
	if (!v)
		return 0;
	before = xmalloc(batch_n_streams(b) * sizeof *before);
	for (size_t i = 0; i < batch_n_streams(b); i++) {
		before[i] = INT64_MIN;
		buf_clear(&list);
		visibility_of(v, batch_tenant(b), batch_stream(b, i), batch_min_time(b),
			batch_max_time(b), UINT64_MAX, &list);
		for (size_t k = 0; k < list.n / sizeof(struct hidden); k++) {
			const struct hidden *h = (const struct hidden *)list.p + k;

			ages = h->until_seq == UINT64_MAX && h->to_ns > before[i];
			before[i] = ages ? h->to_ns : before[i];
		}
		n += before[i] != INT64_MIN;
	}
	if (n > 0)
		n = mark_old(b, before, drop);
	free(before);
	buf_fini(&list);
	visibility_unref(v);
	return n;
}

/* Rules */

static void rules_free(struct hide_rule *rules, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hide_unref(rules[i].hide);
	free(rules);
}

static int rules_make(struct store *s, const struct retention *r, struct hide_rule **out,
	size_t *n_out, struct error *e)
{
	struct hide_rule *rules = xcalloc(r->n_rules, sizeof *rules);
	size_t n = 0;
	int code = 0;

	for (; n < r->n_rules && code == 0; n++) {
		if ((code = hide_new(
			     &rules[n].hide, s->o.selectors, STR_NONE, r->rules[n].match, e)) < 0)
			break;
		rules[n].age_ns = r->rules[n].age_ns;
		if (hide_has_filters(rules[n].hide) || r->rules[n].age_ns <= 0) {
			code = error_set(e, ERR_ARG,
				hide_has_filters(rules[n].hide)
					? "a rule of retention goes by streams: line filters have "
					  "no place in it"
					: "the age of a rule must be longer than 0");
			n++;
			break;
		}
	}
	if (code < 0) {
		rules_free(rules, n);
		return error_wrap(e, code, "retention rule %zu", n > 0 ? n : 1);
	}
	*out = rules;
	*n_out = n;
	return 0;
}

int store_retain(struct store *s, const struct retention *r, struct error *e)
{
	struct retainer *rt = s->retainer;
	struct hide_rule *rules = NULL, *old;
	size_t n = 0, n_old;
	struct error saved;
	int code;

	if (r->age_ns < 0 || r->size_percent > 100 || r->delete_wait_ns < 0)
		return error_set(e, ERR_ARG, "retention: an age, a share or a wait makes no sense");
	if ((code = rules_make(s, r, &rules, &n, e)) < 0)
		return code;
	lock_take(&rt->save_lock);
	lock_take(&rt->lock);
	old = rt->rules;
	n_old = rt->n_rules;
	rt->rules = rules;
	rt->n_rules = n;
	rt->age_ns = r->age_ns;
	rt->size_bytes = r->size_bytes;
	rt->size_percent = r->size_percent;
	rt->delete_wait_ns = r->delete_wait_ns;
	rt->rules_changed = rt->limit_changed = true;
	rt->woken = true;
	forget_shown(rt);
	cond_signal(&rt->wake);
	lock_drop(&rt->lock);
	/* For those who look from outside alone. */
	if (retention_save(s->o.fs, s->o.dir, r, &saved) < 0)
		log_warn("store", "`sawlog store stats` will not know this retention: %s",
			saved.text);
	lock_drop(&rt->save_lock);
	rules_free(old, n_old);
	return 0;
}

void store_size(struct store *s, uint64_t *own, uint64_t *limit)
{
	*own = atomic_load(&s->retainer->own_bytes);
	*limit = atomic_load(&s->retainer->limit_bytes);
}

/* Deletions */

/* The list is changed under both locks, so that one of them is enough to read it. */
int retainer_save(struct retainer *rt, struct error *e)
{
	return deletions_save(&rt->deletions, rt->s->o.fs, rt->s->o.dir, e);
}

static int check_deletion(const struct retainer *rt, const struct deletion *d, struct error *e)
{
	size_t active = 0;

	if (!tenant_valid(d->tenant))
		return error_set(e, ERR_ARG, "a deletion is of one tenant");
	if (d->from_ns >= d->to_ns)
		return error_set(e, ERR_ARG, "the start of a deletion must lie before its end");
	if (d->selector.n == 0 || d->selector.n > SELECTOR_MAX)
		return error_set(e, ERR_ARG, "a selector has 1 to %d bytes", SELECTOR_MAX);
	for (size_t i = 0; i < rt->deletions.n; i++)
		active += rt->deletions.all[i].d.state == DELETION_ACTIVE;
	if (active >= DELETIONS_MAX)
		return error_set(e, ERR_BUSY,
			"%zu deletions wait to be carried out, that is all that may: try again later",
			active);
	return 0;
}

int store_delete(struct store *s, const struct deletion *d, uint64_t *id, struct error *e)
{
	struct retainer *rt = s->retainer;
	struct hide *hide = NULL;
	struct deletion now = *d;
	struct deletion_entry *x;
	int r;

	lock_take(&rt->save_lock);
	if ((r = check_deletion(rt, d, e)) < 0 ||
		(r = hide_new(&hide, s->o.selectors, d->tenant, d->selector, e)) < 0) {
		lock_drop(&rt->save_lock);
		return r;
	}
	now.state = DELETION_ACTIVE;
	lock_take(&rt->lock);
	now.created_ns = retainer_now(rt);
	now.until_seq = store_last_seq(s);
	x = deletions_add(&rt->deletions, &now, hide);
	*id = x->d.id;
	lock_drop(&rt->lock);
	r = retainer_save(rt, e);
	lock_take(&rt->lock);
	if (r < 0)
		deletions_remove(&rt->deletions, rt->deletions.n - 1);
	forget_shown(rt);
	rt->woken = true;
	cond_signal(&rt->wake);
	lock_drop(&rt->lock);
	lock_drop(&rt->save_lock);
	if (r == 0)
		metric_add(METRIC_deletions_total, "", 1);
	return r;
}

void store_deletions(struct store *s, struct str tenant,
	void (*each)(void *ctx, const struct deletion *d), void *ctx)
{
	struct retainer *rt = s->retainer;

	lock_take(&rt->lock);
	for (size_t i = 0; i < rt->deletions.n; i++)
		if (tenant.n == 0 || str_eq(rt->deletions.all[i].d.tenant, tenant))
			each(ctx, &rt->deletions.all[i].d);
	lock_drop(&rt->lock);
}

int store_delete_cancel(struct store *s, struct str tenant, uint64_t id, struct error *e)
{
	struct retainer *rt = s->retainer;
	struct deletion_entry *x;
	struct deletion_entry taken;
	int r = 0;

	lock_take(&rt->save_lock);
	lock_take(&rt->lock);
	x = deletions_find(&rt->deletions, tenant, id);
	if (!x)
		r = error_set(
			e, ERR_NOT_FOUND, "there is no deletion %llu", (unsigned long long)id);
	else if (x->d.state == DELETION_DONE || x->begun)
		r = error_set(e, ERR_BUSY, "deletion %llu is %s: it cannot be taken back",
			(unsigned long long)id,
			x->begun && x->d.state != DELETION_DONE ? "being carried out" : "done");
	if (r < 0) {
		lock_drop(&rt->lock);
		lock_drop(&rt->save_lock);
		return r;
	}
	/* Out of the list while it is saved, in again when that fails. */
	taken = deletions_take(&rt->deletions, x);
	lock_drop(&rt->lock);
	r = retainer_save(rt, e);
	lock_take(&rt->lock);
	if (r < 0)
		deletions_put_back(&rt->deletions, &taken);
	forget_shown(rt);
	lock_drop(&rt->lock);
	lock_drop(&rt->save_lock);
	if (r == 0)
		deletion_entry_fini(&taken);
	return r;
}

/* Life */

struct retainer *retainer_new(struct store *s)
{
	struct retainer *rt = xcalloc(1, sizeof *rt);

	rt->s = s;
	rt->shown_mono_ns = INT64_MIN;
	rt->others_mono_ns = INT64_MIN;
	rt->deletions.next_id = 1;
	lock_init(&rt->lock);
	lock_init(&rt->save_lock);
	cond_init(&rt->wake);
	cond_init(&rt->settled);
	return rt;
}

void retainer_load(struct retainer *rt)
{
	struct store *s = rt->s;
	struct engine_figures f;

	engine_type(s->engine)->figures(s->engine, &f);
	deletions_load(&rt->deletions, s->o.fs, s->o.dir, s->o.selectors, f.cleaned);
}

void retainer_start(struct retainer *rt)
{
	steady_start(rt);
	rt->thread = thread_start("upkeep", upkeep_run, rt);
	rt->started = true;
}

void retainer_stop(struct retainer *rt)
{
	if (!rt->started)
		return;
	lock_take(&rt->lock);
	rt->stopping = true;
	atomic_store(&rt->cancel, true);
	cond_signal(&rt->wake);
	cond_broadcast(&rt->settled);
	lock_drop(&rt->lock);
	pthread_join(rt->thread, NULL);
	rt->started = false;
}

void retainer_free(struct retainer *rt)
{
	if (!rt)
		return;
	assert(!rt->started);
	rules_free(rt->rules, rt->n_rules);
	deletions_fini(&rt->deletions);
	visibility_unref(rt->shown);
	cond_fini(&rt->wake);
	cond_fini(&rt->settled);
	lock_fini(&rt->lock);
	lock_fini(&rt->save_lock);
	free(rt);
}

bool retainer_clock_ahead(struct retainer *rt)
{
	return atomic_load(&rt->clock_ahead);
}

void retainer_dump(struct retainer *rt, struct buf *out)
{
	size_t active = 0;

	lock_take(&rt->lock);
	for (size_t i = 0; i < rt->deletions.n; i++)
		active += rt->deletions.all[i].d.state == DELETION_ACTIVE;
	buf_printf(out,
		"retention: %llu bytes of %llu, age %lld s, %zu rules; %zu deletions wait%s\n",
		(unsigned long long)atomic_load(&rt->own_bytes),
		(unsigned long long)atomic_load(&rt->limit_bytes),
		(long long)(rt->age_ns / NS_PER_SEC), rt->n_rules, active,
		rt->steady.ahead ? "; the clock is ahead and not believed" : "");
	lock_drop(&rt->lock);
}
