/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What will go when.
 *
 * By age the store goes stream by stream: what is too old is hidden at once,
 * and leaves the disk with its part or when the part is written anew.  By size
 * it drops whole parts, the oldest day first; a part's turn comes when what is
 * stored now and what comes until then, less the parts before it, passes the
 * limit.  The earlier of the two is what is told.
 */
#include "store/forecast.h"

#include <math.h>
#include <stdlib.h>

#include "store/retain_core.h"
#include "store/tools_core.h"

#define RATE_NS     (7 * NS_PER_DAY)
#define RATE_MIN_NS NS_PER_HOUR

/* Of one rule in one part. */
struct share {
	int32_t day;
	uint64_t first_seq; /* of the part; shares of a part stand together */
	uint64_t stored, records, file_bytes;
	int64_t max_ns;
	size_t rule;
};

struct look {
	struct forecast *f;
	struct hide **hides; /* of the retention's rules */
	const struct store_selectors *fns;
	int64_t now_ns;
	struct share *shares;
	size_t n, cap;
	/* For the rate. */
	uint64_t recent_bytes;
	int64_t recent_ns;
};

static int64_t later(int64_t ns, int64_t by_ns)
{
	int64_t sum;

	return __builtin_add_overflow(ns, by_ns, &sum) ? INT64_MAX : sum;
}

/* Which rule decides on a stream: one, or what stands behind them. */
static size_t rule_of(const struct look *l, struct str labels)
{
	size_t i = 0;

	while (i < l->f->retention.n_rules && !hide_selects(l->hides[i], STR_NONE, labels))
		i++;
	return i;
}

static void add_streams(struct look *l, const struct part_footer *footer, struct share *of)
{
	struct forecast *f = l->f;
	uint64_t rows = footer->summary.n_rows ? footer->summary.n_rows : 1;

	for (size_t i = 0; i < footer->n_streams; i++) {
		const struct part_stream *s = &footer->streams[i];
		size_t rule = rule_of(l, s->labels);
		uint64_t stored =
			(uint64_t)((double)of->file_bytes * (double)s->n_rows / (double)rows);
		struct share *x = &of[rule];

		if (x->records == 0 || s->max_ns > x->max_ns)
			x->max_ns = s->max_ns;
		x->records += s->n_rows;
		x->stored += stored;
		f->rules[rule].records += s->n_rows;
		f->rules[rule].stored += stored;
		if (s->min_ns < f->rules[rule].oldest_ns)
			f->rules[rule].oldest_ns = s->min_ns;
	}
}

/* Parts that cannot be read are left out; verify tells of them. */
static void add_part(struct look *l, struct part *p)
{
	size_t n = l->f->n_rules - 1;
	struct share *of = xcalloc(n, sizeof *of);
	const struct part_footer *footer;
	struct file_stat file;
	struct error e;

	if (fs_stat(p->fs, p->path, &file, NULL) < 0 || part_load(p, &footer, &e) < 0) {
		free(of);
		return;
	}
	for (size_t i = 0; i < n; i++)
		of[i] = (struct share){.day = footer->summary.day,
			.first_seq = footer->summary.first_seq,
			.file_bytes = file.size,
			.rule = i};
	add_streams(l, footer, of);
	if (footer->summary.max_ns > l->now_ns - RATE_NS) {
		int64_t span = l->now_ns - footer->summary.min_ns;

		span = span > RATE_NS ? RATE_NS : span;
		l->recent_bytes += file.size;
		l->recent_ns = span > l->recent_ns ? span : l->recent_ns;
	}
	part_release(p);
	for (size_t i = 0; i < n; i++) {
		if (of[i].records == 0)
			continue;
		if (l->n == l->cap) {
			l->cap = l->cap ? l->cap * 2 : 64;
			l->shares = xrealloc(l->shares, l->cap * sizeof *l->shares);
		}
		l->shares[l->n++] = of[i];
	}
	free(of);
}

/* In the order in which size takes parts. */
static int compare_shares(const void *a, const void *b)
{
	const struct share *x = a, *y = b;

	if (x->day != y->day)
		return x->day < y->day ? -1 : 1;
	if (x->first_seq != y->first_seq)
		return x->first_seq < y->first_seq ? -1 : 1;
	return x->rule < y->rule ? -1 : x->rule > y->rule;
}

/* When size takes a part that has `before` bytes in front of it. */
static int64_t due_by_size(const struct look *l, uint64_t before)
{
	const struct forecast *f = l->f;
	double room = (double)f->limit_bytes + (double)before - (double)f->own_bytes, ns;

	if (f->limit_bytes == 0)
		return INT64_MAX;
	if (room <= 0)
		return l->now_ns;
	if (f->bytes_a_day == 0)
		return INT64_MAX;
	ns = room / (double)f->bytes_a_day * (double)NS_PER_DAY;
	return ns > (double)(INT64_MAX / 2) ? INT64_MAX : later(l->now_ns, (int64_t)ns);
}

static void add_day(struct look *l, const struct share *s, int64_t by_size)
{
	struct forecast *f = l->f;
	const struct forecast_rule *rule = &f->rules[s->rule];
	int64_t by_age = rule->age_ns > 0 ? later(s->max_ns, rule->age_ns) : INT64_MAX;
	struct forecast_day d = {.day = s->day,
		.stored = s->stored,
		.records = s->records,
		.due_ns = by_age < by_size ? by_age : by_size,
		.rule = s->rule,
		.by = by_age < by_size      ? rule->by
		      : by_size < INT64_MAX ? FORECAST_SIZE
					    : FORECAST_NEVER};
	size_t i = f->n_days;

	if (d.due_ns < l->now_ns)
		d.due_ns = l->now_ns;
	/* One row for the shares of a rule in a day, as the last of them goes. */
	while (i > 0 && f->days[i - 1].day == d.day && f->days[i - 1].rule != d.rule)
		i--;
	if (i > 0 && f->days[i - 1].day == d.day) {
		struct forecast_day *x = &f->days[i - 1];

		x->stored += d.stored;
		x->records += d.records;
		if (d.due_ns >= x->due_ns) {
			x->due_ns = d.due_ns;
			x->by = d.by;
		}
		return;
	}
	f->days[f->n_days++] = d;
}

static int compare_days(const void *a, const void *b)
{
	const struct forecast_day *x = a, *y = b;

	if (x->day != y->day)
		return x->day < y->day ? -1 : 1;
	return x->rule < y->rule ? -1 : x->rule > y->rule;
}

static void tell_days(struct look *l)
{
	struct forecast *f = l->f;
	struct forecast_rule *size = &f->rules[f->n_rules - 1];
	uint64_t before = 0;

	if (l->n > 1)
		qsort(l->shares, l->n, sizeof *l->shares, compare_shares);
	f->days = xcalloc(l->n, sizeof *f->days);
	for (size_t i = 0; i < l->n; i++) {
		const struct share *s = &l->shares[i];

		if (i > 0 && s->first_seq != s[-1].first_seq)
			before += s[-1].file_bytes;
		add_day(l, s, due_by_size(l, before));
	}
	if (f->n_days > 1)
		qsort(f->days, f->n_days, sizeof *f->days, compare_days);
	if (l->n > 0)
		size->due_ns = due_by_size(l, 0);
}

static void tell_rules(struct look *l)
{
	struct forecast *f = l->f;
	struct forecast_rule *size = &f->rules[f->n_rules - 1];

	for (size_t i = 0; i + 1 < f->n_rules; i++) {
		struct forecast_rule *x = &f->rules[i];

		size->records += x->records;
		size->stored += x->stored;
		if (x->oldest_ns < size->oldest_ns)
			size->oldest_ns = x->oldest_ns;
		if (x->records == 0 || x->age_ns == 0)
			continue;
		x->due_ns = later(x->oldest_ns, x->age_ns);
		x->due_ns = x->due_ns < l->now_ns ? l->now_ns : x->due_ns;
	}
}

static void make_rules(struct forecast *f)
{
	const struct retention *r = &f->retention;

	f->n_rules = r->n_rules + 2;
	f->rules = xcalloc(f->n_rules, sizeof *f->rules);
	for (size_t i = 0; i < f->n_rules; i++)
		f->rules[i] = (struct forecast_rule){.by = FORECAST_RULE,
			.match = i < r->n_rules ? r->rules[i].match : STR_NONE,
			.age_ns = i < r->n_rules ? r->rules[i].age_ns : 0,
			.oldest_ns = INT64_MAX,
			.due_ns = INT64_MAX};
	f->rules[r->n_rules].by = r->age_ns > 0 ? FORECAST_AGE : FORECAST_NEVER;
	f->rules[r->n_rules].age_ns = r->age_ns;
	f->rules[r->n_rules + 1].by = FORECAST_SIZE;
}

static int make_hides(struct look *l, struct error *e)
{
	const struct retention *r = &l->f->retention;
	int code = 0;

	l->hides = xcalloc(r->n_rules, sizeof(struct hide *));
	for (size_t i = 0; i < r->n_rules && code == 0; i++)
		code = hide_new(&l->hides[i], l->fns, STR_NONE, r->rules[i].match, e);
	return code;
}

/* As upkeep counts. */
static void measure(struct forecast *f, struct fs *fs, const char *dir)
{
	static const char *const folders[] = {"parts", "journal"};
	uint64_t free_bytes, total;
	struct buf path = {0};

	f->own_bytes = upkeep_count_files(fs, dir, 0);
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
		f->own_bytes += upkeep_count_files(fs, tools_path(&path, dir, folders[i]), 1);
	f->limit_bytes = f->retention.size_bytes;
	if (f->limit_bytes == 0 && f->retention.size_percent > 0 &&
		fs_space(fs, dir, &free_bytes, &total, NULL) == 0)
		f->limit_bytes = upkeep_share(f->own_bytes + free_bytes, f->retention.size_percent);
	buf_fini(&path);
}

int store_forecast(struct forecast *out, struct fs *fs, const char *dir,
	const struct store_selectors *fns, int64_t now_ns, struct error *e)
{
	struct look l = {.f = out, .fns = fns, .now_ns = now_ns, .recent_ns = RATE_MIN_NS};
	struct tools_parts parts = {0};
	int r;

	*out = (struct forecast){0};
	if ((r = retention_load(fs, dir, &out->retention, e)) < 0)
		return r;
	make_rules(out);
	measure(out, fs, dir);
	if ((r = make_hides(&l, e)) < 0 || (r = tools_parts_open(&parts, fs, dir, e)) < 0)
		goto out;
	for (size_t i = 0; i < parts.n; i++)
		add_part(&l, parts.parts[i]);
	tools_parts_close(&parts);
	out->bytes_a_day = (uint64_t)((double)l.recent_bytes / (double)l.recent_ns * NS_PER_DAY);
	tell_days(&l);
	tell_rules(&l);
out:
	for (size_t i = 0; i < out->retention.n_rules; i++)
		hide_unref(l.hides[i]);
	free(l.hides);
	free(l.shares);
	if (r < 0)
		forecast_fini(out);
	return r < 0 ? error_wrap(e, r, "store %s", dir) : 0;
}

void forecast_fini(struct forecast *f)
{
	retention_fini(&f->retention);
	free(f->rules);
	free(f->days);
	*f = (struct forecast){0};
}
