/* SPDX-License-Identifier: Apache-2.0 */
/*
 * | uniq and | top: a table from what makes lines alike to the entry that
 * stands for them.  Rows are put in as they come, in any order, so that memory
 * goes with the number of different lines, not with that of all.
 *
 * The labels of a line of top are those that tell the groups apart, as the
 * others may differ within a group, and count.
 */
#include <stdlib.h>

#include "codec/codec.h"
#include "query/reshape.h"

struct reshape_group {
	struct run *run;
	const struct reshape *shape;
	struct entries *out;
	bool forward;
	struct map index; /* key to place in the list */
	uint64_t *counts; /* by place; of top */
	size_t cap_counts;
	uint64_t charged;
	struct buf key;
};

struct reshape_group *reshape_group_new(
	struct run *run, const struct reshape *shape, struct entries *out)
{
	struct reshape_group *g = xcalloc(1, sizeof *g);

	g->run = run;
	g->shape = shape;
	g->out = out;
	/* What top shows of a group is its newest line. */
	g->forward = run->params->forward && shape->kind == RESHAPE_UNIQ;
	return g;
}

void reshape_group_free(struct reshape_group *g)
{
	if (!g)
		return;
	map_fini(&g->index);
	free(g->counts);
	buf_fini(&g->key);
	run_release(g->run, g->charged);
	free(g);
}

static struct str key_of(struct reshape_group *g, const struct query_entry *x)
{
	if (g->shape->n == 0)
		return x->line;
	buf_clear(&g->key);
	for (size_t i = 0; i < g->shape->n; i++) {
		struct str value = entry_value(x, g->shape->names[i]);
		varint_put(&g->key, value.n);
		buf_str(&g->key, value);
	}
	return buf_view(&g->key);
}

static int charge(struct reshape_group *g, uint64_t n, struct error *e)
{
	int r = run_charge(g->run, n, e);

	if (r == 0)
		g->charged += n;
	return r;
}

static bool stands_for(
	const struct reshape_group *g, const struct query_entry *x, const struct query_entry *known)
{
	bool later;

	if (x->timestamp != known->timestamp)
		later = x->timestamp > known->timestamp;
	else if (x->seq != known->seq)
		later = x->seq > known->seq;
	else
		later = x->nth > known->nth;
	return later != g->forward;
}

static int replace(
	struct reshape_group *g, struct query_entry *known, struct query_entry x, struct error *e)
{
	int r = entry_hold(g->run, &x, e);

	if (r < 0)
		return r;
	entry_drop(g->run, known);
	*known = x;
	return 0;
}

static int add_count(struct reshape_group *g, size_t at, struct error *e)
{
	int r;

	if (g->shape->kind != RESHAPE_TOP)
		return 0;
	if (at == g->cap_counts) {
		size_t cap = g->cap_counts ? g->cap_counts * 2 : 64;
		if ((r = charge(g, (cap - at) * sizeof *g->counts, e)) < 0)
			return r;
		g->counts = xrealloc(g->counts, cap * sizeof *g->counts);
		memset(g->counts + at, 0, (cap - at) * sizeof *g->counts);
		g->cap_counts = cap;
	}
	g->counts[at]++;
	return 0;
}

int reshape_group_add(struct reshape_group *g, const struct query_entry *x, struct error *e)
{
	struct str key = key_of(g, x);
	const union map_value *known = map_get(&g->index, key);
	struct entries *l = g->out;
	int r;

	if (known) {
		size_t at = known->u;
		if (stands_for(g, x, &l->list[at]) && (r = replace(g, &l->list[at], *x, e)) < 0)
			return r;
		return add_count(g, at, e);
	}
	/* The map's key and its share of the slots, which double. */
	if ((r = charge(g, key.n + 112, e)) < 0 || (r = entries_grow(g->run, l, e)) < 0)
		return r;
	l->list[l->n] = *x;
	if ((r = entry_hold(g->run, &l->list[l->n], e)) < 0)
		return r;
	map_put(&g->index, key, NULL)->u = l->n;
	return add_count(g, l->n++, e);
}

/* --- the answer of top ---------------------------------------------------------------- */

static int by_count(const void *a, const void *b, void *ctx)
{
	const struct reshape_group *g = ctx;
	size_t x = *(const size_t *)a, y = *(const size_t *)b;

	if (g->counts[x] != g->counts[y])
		return g->counts[x] > g->counts[y] ? -1 : 1;
	return stands_for(g, &g->out->list[x], &g->out->list[y]) ? -1 : 1;
}

static bool named(const struct reshape *s, struct str name)
{
	for (size_t i = 0; i < s->n; i++)
		if (str_eq(s->names[i], name))
			return true;
	return false;
}

static void put_pair(struct buf *out, struct str name, struct str value)
{
	varint_put(out, name.n);
	buf_str(out, name);
	varint_put(out, value.n);
	buf_str(out, value);
}

/* The pairs of the set that tell groups apart, and, unless it is empty, `count`, which wins over a
 * pair of its name. */
static struct str keep_named(
	const struct reshape *s, struct str set, struct str count, struct buf *out)
{
	static const struct str count_name = STR_INIT("count");
	struct buf pairs = {0};
	struct str at = set;
	bool open = count.n > 0;
	struct label l;
	size_t n = 0;

	if (at.n)
		labels_start(&at);
	while (at.n && labels_next(&at, &l)) {
		bool is_count = str_eq(l.name, count_name);

		if (open && str_cmp(l.name, count_name) >= 0) {
			put_pair(&pairs, count_name, count);
			open = false;
			n++;
		}
		if (!named(s, l.name) || (is_count && count.n))
			continue;
		put_pair(&pairs, l.name, l.value);
		n++;
	}
	if (open) {
		put_pair(&pairs, count_name, count);
		n++;
	}
	buf_clear(out);
	varint_put(out, n);
	buf_str(out, buf_view(&pairs));
	buf_fini(&pairs);
	return n ? buf_view(out) : STR_NONE;
}

static int relabel(struct reshape_group *g, struct query_entry *x, uint64_t count, struct error *e)
{
	struct buf labels = {0}, meta = {0}, parsed = {0}, number = {0};
	struct query_entry told = *x;
	int r;

	buf_u64(&number, count);
	keep_named(g->shape, x->labels, STR_NONE, &labels);
	told.meta = keep_named(g->shape, x->meta, STR_NONE, &meta);
	told.parsed = keep_named(g->shape, x->parsed, buf_view(&number), &parsed);
	if ((r = run_reserve(g->run, labels.n + 64, e)) == 0) {
		told.labels = arena_str(&g->run->out->arena, buf_view(&labels));
		r = replace(g, x, told, e);
	}
	buf_fini(&labels);
	buf_fini(&meta);
	buf_fini(&parsed);
	buf_fini(&number);
	return r;
}

static int top_end(struct reshape_group *g, struct error *e)
{
	struct entries *l = g->out;
	size_t n = g->shape->limit < l->n ? (size_t)g->shape->limit : l->n, *order;
	struct query_entry *sorted;
	/* Beside them what the sort takes. */
	uint64_t bytes = l->n * (2 * sizeof *order + sizeof *sorted);
	int r = run_charge(g->run, bytes, e);

	if (r < 0)
		return r;
	order = xcalloc(l->n, sizeof *order);
	sorted = xcalloc(l->n, sizeof *sorted);
	for (size_t i = 0; i < l->n; i++)
		order[i] = i;
	if (l->n)
		qsort_r(order, l->n, sizeof *order, by_count, g);
	for (size_t i = 0; i < l->n; i++)
		sorted[i] = l->list[order[i]];
	for (size_t i = 0; i < l->n; i++)
		l->list[i] = sorted[i];
	for (size_t i = 0; i < n && r == 0; i++)
		r = relabel(g, &l->list[i], g->counts[order[i]], e);
	entries_cut(g->run, l, 0, n);
	free(order);
	free(sorted);
	run_release(g->run, bytes);
	return r;
}

int reshape_group_end(struct reshape_group *g, struct error *e)
{
	if (g->shape->kind == RESHAPE_TOP)
		return top_end(g, e);
	return entries_sort(g->run, g->out, g->run->params->forward, e);
}
