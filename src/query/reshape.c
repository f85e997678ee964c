/* SPDX-License-Identifier: Apache-2.0 */
#include "query/reshape.h"

#include <stdlib.h>

int entries_grow(struct run *run, struct entries *l, struct error *e)
{
	size_t cap = l->cap ? l->cap * 2 : 64;
	int r;

	if (l->n < l->cap)
		return 0;
	if ((r = run_charge(run, cap * sizeof *l->list, e)) < 0)
		return r;
	l->list = xrealloc(l->list, cap * sizeof *l->list);
	run_release(run, l->cap * sizeof *l->list);
	l->cap = cap;
	return 0;
}

int entry_hold(struct run *run, struct query_entry *x, struct error *e)
{
	struct str *views[] = {&x->line, &x->meta, &x->parsed};
	char *block;
	int r;

	if ((r = run_charge(run, query_entry_bytes(x), e)) < 0)
		return r;
	block = xmalloc(x->line.n + x->meta.n + x->parsed.n);
	for (size_t i = 0; i < 3; i++) {
		if (views[i]->n)
			memcpy(block, views[i]->p, views[i]->n);
		views[i]->p = block;
		block += views[i]->n;
	}
	return 0;
}

void entry_drop(struct run *run, struct query_entry *x)
{
	run_release(run, query_entry_bytes(x));
	free((void *)x->line.p);
}

void entries_cut(struct run *run, struct entries *l, size_t from, size_t to)
{
	to = to < l->n ? to : l->n;
	from = from < to ? from : to;
	for (size_t i = 0; i < l->n; i++)
		if (i < from || i >= to)
			entry_drop(run, &l->list[i]);
	if (to > from)
		memmove(l->list, l->list + from, (to - from) * sizeof *l->list);
	l->n = to - from;
}

static int by_moment(const void *a, const void *b)
{
	const struct query_entry *x = a, *y = b;

	if (x->timestamp != y->timestamp)
		return x->timestamp < y->timestamp ? -1 : 1;
	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return x->nth < y->nth ? -1 : x->nth > y->nth;
}

static int by_moment_down(const void *a, const void *b)
{
	return by_moment(b, a);
}

int entries_sort(struct run *run, struct entries *l, bool forward, struct error *e)
{
	/* The sort takes as much again while it works. */
	uint64_t bytes = l->n * sizeof *l->list;
	int r = run_charge(run, bytes, e);

	if (r < 0)
		return r;
	if (l->n)
		qsort(l->list, l->n, sizeof *l->list, forward ? by_moment : by_moment_down);
	run_release(run, bytes);
	return 0;
}

struct str entry_value(const struct query_entry *x, struct str name)
{
	const struct str sets[] = {x->parsed, x->meta, x->labels};
	struct str value = STR("");

	for (size_t i = 0; i < 3; i++)
		if (sets[i].n && labels_get(sets[i], name, &value))
			break;
	return value;
}

/* Views of the old entries go into the groups, which copy them. */
static int group_again(
	struct run *run, const struct reshape *shape, struct entries *l, struct error *e)
{
	struct entries out = {0};
	struct reshape_group *g = reshape_group_new(run, shape, &out);
	int r = 0;

	for (size_t i = 0; i < l->n && r == 0; i++)
		r = reshape_group_add(g, &l->list[i], e);
	if (r == 0)
		r = reshape_group_end(g, e);
	reshape_group_free(g);
	entries_cut(run, l, 0, 0);
	free(l->list);
	run_release(run, l->cap * sizeof *l->list);
	*l = out;
	return r;
}

int reshape_all(struct run *run, const struct reshape *first, struct entries *l, struct error *e)
{
	int r = 0;

	for (const struct reshape *s = first; s && r == 0; s = s->next) {
		switch (s->kind) {
		case RESHAPE_UNIQ:
		case RESHAPE_TOP: r = group_again(run, s, l, e); break;
		case RESHAPE_SORT: r = reshape_sort(run, s, l, e); break;
		case RESHAPE_CONTEXT: r = reshape_context(run, s, l, e); break;
		}
	}
	return r;
}
