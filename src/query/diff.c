/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which changes are worth a person's look?  A ratio alone puts one line that
 * became three before ten thousand that doubled; a difference alone puts every
 * busy pattern first.  The log-likelihood ratio (the G-test) of the two counts
 * against one common rate weighs both: it is the sum of observed times
 * log(observed / expected), twice, and beyond 10.83 chance does that once in a
 * thousand times.
 */
#include "query/diff.h"

#include <math.h>
#include <stdlib.h>

#include "base/map.h"

#define UNLIKELY 10.83

static double part_of(double observed, double expected)
{
	return observed > 0 && expected > 0 ? observed * log(observed / expected) : 0;
}

static double score_of(uint64_t before, double before_seconds, uint64_t now, double now_seconds)
{
	double both = before_seconds + now_seconds, n = (double)before + (double)now;

	if (!(both > 0))
		return 0;
	return 2 * (part_of((double)before, n * before_seconds / both) +
			   part_of((double)now, n * now_seconds / both));
}

static double rate(uint64_t count, double seconds)
{
	return seconds > 0 ? (double)count / seconds : (double)count;
}

static int by_change(const void *a, const void *b)
{
	const struct diff_entry *x = a, *y = b;

	if (x->change != y->change)
		return x->change < y->change ? -1 : 1;
	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return str_cmp(x->pattern->text, y->pattern->text);
}

static void count_changes(struct diff *d)
{
	for (size_t i = 0; i < d->n; i++) {
		d->n_new += d->entries[i].change == DIFF_NEW;
		d->n_vanished += d->entries[i].change == DIFF_VANISHED;
		d->n_changed += d->entries[i].change == DIFF_CHANGED;
	}
}

/* The first `limit` of each kind. */
static void cut(struct diff *d, size_t limit)
{
	size_t seen[3] = {0}, kept = 0;

	for (size_t i = 0; i < d->n; i++)
		if (seen[d->entries[i].change]++ < limit)
			d->entries[kept++] = d->entries[i];
	d->n = kept;
}

void diff_make(const struct patterns *before, double before_seconds, const struct patterns *now,
	double now_seconds, size_t limit, struct diff *out)
{
	struct map of_before = {0};
	bool *seen = xcalloc(before->n, sizeof *seen);

	*out = (struct diff){.entries = xcalloc(before->n + now->n, sizeof *out->entries)};
	for (size_t i = 0; i < before->n; i++)
		map_put(&of_before, before->patterns[i].text, NULL)->u = i;
	for (size_t i = 0; i < now->n; i++) {
		const struct pattern *p = &now->patterns[i];
		const union map_value *known = map_get(&of_before, p->text);
		struct diff_entry x = {.pattern = p, .now = p->count, .change = DIFF_NEW};

		if (known) {
			seen[known->u] = true;
			x.change = DIFF_CHANGED;
			x.before = before->patterns[known->u].count;
			x.ratio = rate(x.now, now_seconds) / rate(x.before, before_seconds);
		}
		x.score = score_of(x.before, before_seconds, x.now, now_seconds);
		if (known && x.score < UNLIKELY)
			out->n_unchanged++;
		else
			out->entries[out->n++] = x;
	}
	for (size_t i = 0; i < before->n; i++) {
		const struct pattern *p = &before->patterns[i];
		if (!seen[i])
			out->entries[out->n++] = (struct diff_entry){
				.change = DIFF_VANISHED,
				.pattern = p,
				.before = p->count,
				.score = score_of(p->count, before_seconds, 0, now_seconds),
			};
	}
	if (out->n)
		qsort(out->entries, out->n, sizeof *out->entries, by_change);
	count_changes(out);
	if (limit)
		cut(out, limit);
	map_fini(&of_before);
	free(seen);
}

void diff_fini(struct diff *d)
{
	free(d->entries);
	*d = (struct diff){0};
}

const char *diff_change_name(enum diff_change c)
{
	static const char *const names[] = {"new", "vanished", "changed"};

	return names[c];
}
