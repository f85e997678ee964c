/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upkeep of the parts: merging, cleaning, dropping.
 *
 * One piece at a time: a part that holds what was deleted comes first, then one
 * of which much is too old, then a merge.  All are the same work: a run of
 * parts is written as one, without what is hidden, and takes their place.  The
 * old files go when nobody reads them any more, and until then count as gone,
 * so that retention by size does not drop twice what is on its way out.
 *
 * Nothing here is needed for the store to be right: what fails is tried again
 * by the caller, with a pause.
 */
#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/metric.h"
#include "store/parts/parts_core.h"

#define LOOK_NS (600 * NS_PER_SEC) /* between two looks for what is too old by a rule */
/* A day that has passed is put together when its last part is so old. */
#define QUIET_NS (600 * NS_PER_SEC)

/* Files on their way out */

static void add_gone(struct parts *ps, struct part *p)
{
	ps->gone = xrealloc(ps->gone, (ps->n_gone + 1) * sizeof *ps->gone);
	ps->gone[ps->n_gone] = (struct gone){.path = xstrdup(p->path), .summary = p->summary};
	ps->gone[ps->n_gone++].summary.cleaned = atomic_load(&p->cleaned);
	atomic_fetch_add(&ps->gone_bytes, p->summary.file_bytes);
	part_retire(p);
}

static void prune_gone(struct parts *ps)
{
	size_t kept = 0;

	for (size_t i = 0; i < ps->n_gone; i++) {
		struct file_stat st;

		if (fs_stat(ps->fs, ps->gone[i].path, &st, NULL) == ERR_NOT_FOUND) {
			atomic_fetch_sub(&ps->gone_bytes, ps->gone[i].summary.file_bytes);
			free(ps->gone[i].path);
		} else {
			ps->gone[kept++] = ps->gone[i];
		}
	}
	ps->n_gone = kept;
}

void parts_upkeep_fini(struct parts *ps)
{
	for (size_t i = 0; i < ps->n_gone; i++)
		free(ps->gone[i].path);
	free(ps->gone);
	free(ps->stuck);
}

/* Changing the set */

static struct part_set *current_set(struct parts *ps)
{
	struct part_set *set;

	lock_take(ps->store_lock);
	set = part_set_ref(ps->set);
	lock_drop(ps->store_lock);
	return set;
}

static bool is_one_of(const struct part *p, struct part *const *parts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (parts[i] == p)
			return true;
	return false;
}

/* Show `fresh` (NULL: nothing) in the place of n parts, which lie in the set. */
static int exchange(
	struct parts *ps, struct part *const *old, size_t n, struct part *fresh, struct error *e)
{
	struct part_set *before, *set;
	struct part **parts;
	size_t n_parts = 0;
	int r;

	lock_take(&ps->change);
	parts = xmalloc((ps->set->n + 1) * sizeof(struct part *));
	for (size_t i = 0; i < ps->set->n; i++) {
		struct part *p = ps->set->parts[i];

		if (fresh && p->summary.first_seq >= fresh->summary.first_seq) {
			parts[n_parts++] = part_ref(fresh);
			fresh = NULL;
		}
		if (!is_one_of(p, old, n))
			parts[n_parts++] = part_ref(p);
	}
	assert(!fresh); /* it begins where one of the old ones does */
	set = part_set_new(parts, n_parts);
	free(parts);
	if ((r = parts_save(ps, set, e)) < 0) {
		lock_drop(&ps->change);
		part_set_unref(set);
		return r;
	}
	lock_take(ps->store_lock);
	before = ps->set;
	ps->set = set;
	lock_drop(ps->store_lock);
	lock_drop(&ps->change);
	for (size_t i = 0; i < n; i++)
		add_gone(ps, old[i]);
	part_set_unref(before);
	prune_gone(ps);
	return 0;
}

/* Writing a run of parts as one */

static void tell_damage(void *ctx, const char *sentence)
{
	log_warn("store", "merging: %s", sentence);
}

static bool is_stuck(const struct parts *ps, const struct part_summary *s)
{
	for (size_t i = 0; i < ps->n_stuck; i++)
		if (ps->stuck[i].first <= s->last_seq && s->first_seq <= ps->stuck[i].last)
			return true;
	return false;
}

static void set_stuck(struct parts *ps, const struct part_summary *s)
{
	ps->stuck = xrealloc(ps->stuck, (ps->n_stuck + 1) * sizeof *ps->stuck);
	ps->stuck[ps->n_stuck++] = (struct seq_range){s->first_seq, s->last_seq};
}

/* Leave alone from now on those that cannot be loaded, or else all of them. */
static void blame(struct parts *ps, struct part *const *parts, size_t n)
{
	const struct part_footer *footer;
	bool found = false;

	for (size_t i = 0; i < n; i++) {
		if (part_load(parts[i], &footer, NULL) == 0) {
			part_release(parts[i]);
			continue;
		}
		set_stuck(ps, &parts[i]->summary);
		found = true;
	}
	for (size_t i = 0; i < n && !found; i++)
		set_stuck(ps, &parts[i]->summary);
}

static int check_space(struct parts *ps, const struct engine_upkeep *u, struct part *const *parts,
	size_t n, struct error *e)
{
	uint64_t need = 0, free_bytes, total;

	for (size_t i = 0; i < n; i++)
		need += parts[i]->summary.file_bytes;
	if (fs_space(ps->fs, ps->dir, &free_bytes, &total, NULL) < 0 ||
		free_bytes >= need + u->reserve_bytes)
		return 0;
	return error_set(e, ERR_FULL,
		"%llu MiB are free, writing %zu parts as one takes up to %llu, and %llu are kept in "
		"reserve",
		(unsigned long long)(free_bytes >> 20), n, (unsigned long long)(need >> 20) + 1,
		(unsigned long long)(u->reserve_bytes >> 20));
}

/* What was left out.  Bytes are those of parts that got shorter by it; a merge saves some alone. */
static void count_cleaned(struct part *const *parts, size_t n, const struct part_summary *fresh)
{
	uint64_t rows = 0, bytes = 0;

	for (size_t i = 0; i < n; i++) {
		rows += parts[i]->summary.n_rows;
		bytes += parts[i]->summary.file_bytes;
	}
	if (rows <= fresh->n_rows)
		return;
	metric_add(METRIC_cleaned_records_total, "", (int64_t)(rows - fresh->n_rows));
	if (bytes > fresh->file_bytes)
		metric_add(METRIC_cleaned_bytes_total, "", (int64_t)(bytes - fresh->file_bytes));
}

static int write_as_one(struct parts *ps, const struct engine_upkeep *u, struct part *const *parts,
	size_t n, struct error *e)
{
	struct part_merge m = {.parts = parts,
		.n = n,
		.visibility = u->visibility,
		.cleaned = u->cleaned,
		.cancel = u->cancel,
		.warn = tell_damage};
	struct part_summary summary = {0};
	struct part *fresh = NULL;
	int r;

	if ((r = check_space(ps, u, parts, n, e)) < 0)
		return r;
	if ((r = part_merge(&ps->merge_writer, &m, &summary, e)) < 0) {
		if (r == ERR_LIMIT && n > 2)
			ps->most_parts = n / 2;
		else if (r == ERR_CORRUPT || r == ERR_LIMIT)
			blame(ps, parts, n);
		return r;
	}
	ps->most_parts += ps->most_parts < 64;
	if (summary.n_rows > 0) {
		assert(summary.first_seq == parts[0]->summary.first_seq &&
			summary.last_seq == parts[n - 1]->summary.last_seq);
		atomic_fetch_add(&ps->written_bytes, summary.file_bytes);
		fresh = parts_make(ps, &summary);
	}
	if ((r = exchange(ps, parts, n, fresh, e)) < 0 && fresh)
		part_retire(fresh); /* its file goes at once */
	if (r == 0)
		count_cleaned(parts, n, &summary);
	part_unref(fresh);
	return r;
}

/* Choosing */

static bool touches(
	const struct part_summary *s, int64_t from_ns, int64_t to_ns, uint64_t until_seq)
{
	return s->first_seq <= until_seq && s->max_ns >= from_ns && s->min_ns < to_ns;
}

static unsigned look_inside(struct part *p, const struct engine_upkeep *u)
{
	const struct part_footer *footer;
	struct error e;
	unsigned found;

	if (part_load(p, &footer, &e) < 0) {
		/* The merge will tell. */
		return 0;
	}
	found = hidden_share(footer, &p->summary, u->visibility);
	part_release(p);
	return found;
}

/* The next part that holds what was deleted. */
static struct part *next_deleted(
	const struct parts *ps, const struct part_set *set, const struct engine_upkeep *u)
{
	for (size_t i = 0; i < set->n; i++) {
		struct part *p = set->parts[i];

		if (atomic_load(&p->cleaned) >= u->cleaned || is_stuck(ps, &p->summary) ||
			!touches(&p->summary, u->delete_from_ns, u->delete_to_ns,
				u->delete_until_seq))
			continue;
		if (look_inside(p, u) & HIDDEN_DELETED)
			return p;
		atomic_store(&p->cleaned, u->cleaned);
	}
	return NULL;
}

/* The next part of which much is too old.  All are looked at every LOOK_NS. */
static struct part *next_aged(
	struct parts *ps, const struct part_set *set, const struct engine_upkeep *u)
{
	int64_t before_ns;

	if (u->min_age_ns == 0 || __builtin_sub_overflow(u->now_ns, u->min_age_ns, &before_ns))
		return NULL;
	if (u->rules_changed ||
		(ps->look_from == UINT64_MAX && u->mono_ns - ps->looked_mono_ns >= LOOK_NS))
		ps->look_from = 0;
	for (size_t i = 0; i < set->n && ps->look_from < UINT64_MAX; i++) {
		struct part *p = set->parts[i];

		if (p->summary.first_seq <= ps->look_from)
			continue;
		ps->look_from = p->summary.last_seq;
		if (p->summary.min_ns < before_ns && !is_stuck(ps, &p->summary) &&
			look_inside(p, u) & HIDDEN_MUCH)
			return p;
	}
	if (ps->look_from < UINT64_MAX)
		ps->looked_mono_ns = u->mono_ns;
	ps->look_from = UINT64_MAX;
	return NULL;
}

/* Do records that no part has lie between two neighbours? */
static bool are_apart(
	const struct parts *ps, const struct part_summary *a, const struct part_summary *b)
{
	for (size_t i = 0; i < ps->n_unread; i++)
		if (ps->unread[i].last > a->last_seq && ps->unread[i].first < b->first_seq)
			return true;
	return false;
}

static int32_t day_of(int64_t ns)
{
	return (int32_t)(ns / NS_PER_DAY - (ns % NS_PER_DAY < 0));
}

static bool next_merge(struct parts *ps, const struct part_set *set, const struct engine_upkeep *u,
	size_t *at, size_t *n)
{
	struct merge_rules rules = {.fan = ps->merge_parts,
		.most_parts = ps->most_parts,
		.today = day_of(u->now_ns),
		.active_day = INT32_MIN};
	struct merge_part *parts = xcalloc(set->n, sizeof *parts);
	size_t n_parts = 0;
	bool found;

	lock_take(&ps->change);
	if (u->mono_ns - ps->built_mono_ns < QUIET_NS)
		rules.active_day = ps->active_day;
	lock_drop(&ps->change);
	/* Between those behind it there may be something to come. */
	while (n_parts < set->n && set->parts[n_parts]->summary.last_seq <= u->settled_seq)
		n_parts++;
	for (size_t i = 0; i < n_parts; i++) {
		parts[i].summary = &set->parts[i]->summary;
		parts[i].skip = is_stuck(ps, parts[i].summary);
		parts[i].apart = i > 0 && are_apart(ps, parts[i - 1].summary, parts[i].summary);
	}
	found = merge_pick(parts, n_parts, &rules, at, n);
	free(parts);
	return found;
}

int parts_upkeep(struct engine *g, const struct engine_upkeep *u, struct error *e)
{
	struct parts *ps = parts_of(g);
	struct part_set *set = current_set(ps);
	struct part *p = NULL;
	size_t at, n;
	int r = 0;

	prune_gone(ps);
	if (!visibility_clear(u->visibility)) {
		p = next_deleted(ps, set, u);
		if (!p)
			p = next_aged(ps, set, u);
	}
	if (p)
		r = write_as_one(ps, u, &p, 1, e);
	else if (!u->merge_off && next_merge(ps, set, u, &at, &n))
		r = write_as_one(ps, u, set->parts + at, n, e);
	else
		n = 0;
	if (r == 0 && (p || n > 0))
		r = 1;
	part_set_unref(set);
	return r;
}

/* Dropping */

static int64_t newest(const struct part_summary *s)
{
	int64_t end = part_day_end(s);

	return s->max_ns < end ? s->max_ns : end;
}

static int compare_age(const void *a, const void *b)
{
	const struct part_summary *x = &(*(struct part *const *)a)->summary,
				  *y = &(*(struct part *const *)b)->summary;

	if (x->day != y->day)
		return x->day < y->day ? -1 : 1;
	return x->first_seq < y->first_seq ? -1 : x->first_seq > y->first_seq;
}

static void tell_drop(const struct part *p, const char *why)
{
	const struct part_summary *s = &p->summary;
	time_t day = (time_t)s->day * 86400;
	char date[32] = "?";
	struct tm tm;

	if (gmtime_r(&day, &tm))
		strftime(date, sizeof date, "%Y-%m-%d", &tm);
	log_info("store",
		"retention (%s) drops the part of sequences %llu to %llu: %llu records, %llu bytes, "
		"newest from %s",
		why, (unsigned long long)s->first_seq, (unsigned long long)s->last_seq,
		(unsigned long long)s->n_rows, (unsigned long long)s->file_bytes, date);
}

int parts_drop(struct engine *g, struct engine_drop *d, struct error *e)
{
	struct parts *ps = parts_of(g);
	struct part_set *set = current_set(ps);
	struct part **order = xmalloc(set->n * sizeof(struct part *));
	size_t n = 0;
	int r = 0;

	prune_gone(ps);
	d->parts = d->records = d->dropped_bytes = 0;
	for (size_t i = 0; i < set->n; i++)
		order[i] = set->parts[i];
	if (set->n > 1)
		qsort(order, set->n, sizeof(struct part *), compare_age);
	/* Those that go are moved to the front. */
	for (size_t i = 0; i < set->n; i++) {
		struct part *p = order[i];

		if (newest(&p->summary) >= d->before_ns && d->dropped_bytes >= d->bytes)
			continue;
		order[i] = order[n];
		order[n++] = p;
		d->dropped_bytes += p->summary.file_bytes;
		d->records += p->summary.n_rows;
	}
	d->parts = n;
	if (n > 0 && (r = exchange(ps, order, n, NULL, e)) == 0)
		for (size_t i = 0; i < n; i++) {
			const struct part_summary *s = &order[i]->summary;

			tell_drop(order[i], d->why);
			if (d->dropped)
				d->dropped(d->arg, s->first_seq, s->last_seq, s->n_rows);
		}
	free(order);
	part_set_unref(set);
	return r;
}

bool parts_carried_out(struct engine *g, const struct engine_deletion *d)
{
	struct parts *ps = parts_of(g);
	struct part_set *set = current_set(ps);
	bool done = true;

	prune_gone(ps);
	for (size_t i = 0; i < set->n && done; i++)
		done = atomic_load(&set->parts[i]->cleaned) >= d->id ||
		       !touches(&set->parts[i]->summary, d->from_ns, d->to_ns, d->until_seq);
	for (size_t i = 0; i < ps->n_gone && done; i++)
		done = ps->gone[i].summary.cleaned >= d->id ||
		       !touches(&ps->gone[i].summary, d->from_ns, d->to_ns, d->until_seq);
	part_set_unref(set);
	return done;
}
