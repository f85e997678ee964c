/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is hidden, as one immutable list.
 *
 * Selectors are read once, when a rule or a deletion is made, and shared by
 * every visibility that is made after it: as time moves on a new visibility is
 * a copy of two small arrays.
 */
#include "store/visible.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/memory.h"

struct hide {
	_Atomic uint32_t refs;
	const struct store_selectors *fns;
	void *selector;
	char *tenant; /* NULL: all */
	bool has_filters;
};

struct visibility {
	_Atomic uint32_t refs;
	const struct store_selectors *fns;
	int64_t now_ns, age_ns;
	struct hide_rule *rules;
	size_t n_rules;
	struct hide_deletion *deletions;
	size_t n_deletions;
};

int hide_new(struct hide **out, const struct store_selectors *fns, struct str tenant,
	struct str selector, struct error *e)
{
	struct hide *h;
	void *parsed = NULL;
	int r;

	if (!fns)
		return error_set(e, ERR_UNSUPPORTED, "this store was opened without selectors");
	if ((r = fns->parse(&parsed, selector, e)) < 0)
		return r;
	h = xcalloc(1, sizeof *h);
	atomic_init(&h->refs, 1);
	h->fns = fns;
	h->selector = parsed;
	h->tenant = tenant.n > 0 ? str_dup(tenant) : NULL;
	h->has_filters = fns->has_filters(parsed);
	*out = h;
	return 0;
}

static struct hide *hide_ref(struct hide *h)
{
	atomic_fetch_add(&h->refs, 1);
	return h;
}

void hide_unref(struct hide *h)
{
	if (!h || atomic_fetch_sub(&h->refs, 1) > 1)
		return;
	h->fns->free(h->selector);
	free(h->tenant);
	free(h);
}

bool hide_has_filters(const struct hide *h)
{
	return h->has_filters;
}

struct visibility *visibility_new(const struct visibility_parts *parts)
{
	struct visibility *v = xcalloc(1, sizeof *v);

	atomic_init(&v->refs, 1);
	v->fns = parts->selectors;
	v->now_ns = parts->now_ns;
	v->age_ns = parts->age_ns;
	v->n_rules = parts->n_rules;
	v->rules = xcalloc(v->n_rules, sizeof *v->rules);
	for (size_t i = 0; i < v->n_rules; i++) {
		v->rules[i] = parts->rules[i];
		hide_ref(v->rules[i].hide);
	}
	v->n_deletions = parts->n_deletions;
	v->deletions = xcalloc(v->n_deletions, sizeof *v->deletions);
	for (size_t i = 0; i < v->n_deletions; i++) {
		v->deletions[i] = parts->deletions[i];
		hide_ref(v->deletions[i].hide);
	}
	return v;
}

struct visibility *visibility_ref(struct visibility *v)
{
	if (v)
		atomic_fetch_add(&v->refs, 1);
	return v;
}

void visibility_unref(struct visibility *v)
{
	if (!v || atomic_fetch_sub(&v->refs, 1) > 1)
		return;
	for (size_t i = 0; i < v->n_rules; i++)
		hide_unref(v->rules[i].hide);
	for (size_t i = 0; i < v->n_deletions; i++)
		hide_unref(v->deletions[i].hide);
	free(v->rules);
	free(v->deletions);
	free(v);
}

bool visibility_clear(const struct visibility *v)
{
	return !v || (v->age_ns == 0 && v->n_rules == 0 && v->n_deletions == 0);
}

bool hide_selects(const struct hide *h, struct str tenant, struct str labels)
{
	return (!h->tenant || str_eq(tenant, str_c(h->tenant))) &&
	       h->fns->stream(h->selector, labels);
}

/* How long the records of a stream stay; 0: for ever. */
static int64_t age_of(const struct visibility *v, struct str tenant, struct str labels)
{
	for (size_t i = 0; i < v->n_rules; i++)
		if (hide_selects(v->rules[i].hide, tenant, labels))
			return v->rules[i].age_ns;
	return v->age_ns;
}

void visibility_of(const struct visibility *v, struct str tenant, struct str labels, int64_t min_ns,
	int64_t max_ns, uint64_t min_seq, struct buf *out)
{
	int64_t age;

	if (visibility_clear(v))
		return;
	age = age_of(v, tenant, labels);
	if (age > 0) {
		struct hidden h = {.from_ns = INT64_MIN, .until_seq = UINT64_MAX};

		if (!__builtin_sub_overflow(v->now_ns, age, &h.to_ns) && min_ns < h.to_ns)
			buf_put(out, &h, sizeof h);
	}
	for (size_t i = 0; i < v->n_deletions; i++) {
		const struct hide_deletion *d = &v->deletions[i];
		struct hidden h = {.from_ns = d->from_ns,
			.to_ns = d->to_ns,
			.until_seq = d->until_seq,
			.selector = d->hide->has_filters ? d->hide->selector : NULL};

		if (max_ns >= d->from_ns && min_ns < d->to_ns && min_seq <= d->until_seq &&
			hide_selects(d->hide, tenant, labels))
			buf_put(out, &h, sizeof h);
	}
}

bool hidden_record(const struct visibility *v, const struct hidden *h, size_t n, int64_t timestamp,
	uint64_t seq, struct str line)
{
	for (size_t i = 0; i < n; i++) {
		if (timestamp < h[i].from_ns || timestamp >= h[i].to_ns || seq > h[i].until_seq)
			continue;
		if (!h[i].selector || v->fns->line(h[i].selector, line) == 1)
			return true;
	}
	return false;
}

bool hidden_needs_lines(const struct hidden *h, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (h[i].selector)
			return true;
	return false;
}
