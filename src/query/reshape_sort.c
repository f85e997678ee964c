/* SPDX-License-Identifier: Apache-2.0 */
/*
 * | sort by (a, b) [desc].  Values that are numbers, durations or sizes are
 * compared as such, all others behind them as bytes; lines that are alike stay
 * in the order they had.  Entries without a value come last in both directions:
 * who asks for the largest does not want a page of those that have none.
 */
#include <stdlib.h>

#include "query/number.h"
#include "query/reshape.h"

/* One value of one entry.  Kinds do not mix: one goes before the next. */
struct sort_key {
	enum { SORT_SIZE, SORT_DURATION, SORT_NUMBER, SORT_TEXT } kind;
	double number;
	struct str text;
};

struct sorter {
	const struct reshape *shape;
	const struct sort_key *keys; /* n_keys of each entry */
	size_t n_keys;
};

static struct sort_key key_of(struct str text)
{
	struct sort_key k = {.kind = SORT_TEXT, .text = text};
	uint64_t bytes;
	int64_t ns;

	if (number_float(text, &k.number)) {
		k.kind = SORT_NUMBER;
	} else if (number_duration(text, &ns)) {
		k.kind = SORT_DURATION;
		k.number = (double)ns;
	} else if (number_bytes(text, &bytes)) {
		k.kind = SORT_SIZE;
		k.number = (double)bytes;
	}
	return k;
}

static int compare(const struct sort_key *x, const struct sort_key *y)
{
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->kind != SORT_TEXT && x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return str_cmp(x->text, y->text);
}

static int by_keys(const void *a, const void *b, void *ctx)
{
	const struct sorter *s = ctx;
	size_t x = *(const size_t *)a, y = *(const size_t *)b;

	for (size_t i = 0; i < s->n_keys; i++) {
		const struct sort_key *kx = &s->keys[x * s->n_keys + i],
				      *ky = &s->keys[y * s->n_keys + i];
		int r = compare(kx, ky);

		if (!kx->text.n != !ky->text.n)
			return kx->text.n ? -1 : 1;
		if (r)
			return s->shape->descending ? -r : r;
	}
	return x < y ? -1 : 1;
}

int reshape_sort(struct run *run, const struct reshape *shape, struct entries *l, struct error *e)
{
	size_t n_keys = shape->n ? shape->n : 1, *order;
	/* And what the sort takes. */
	uint64_t bytes =
		l->n * (n_keys * sizeof(struct sort_key) + 2 * sizeof *order + sizeof *l->list);
	struct sort_key *keys;
	struct query_entry *sorted;
	struct sorter s = {.shape = shape, .n_keys = n_keys};
	int r;

	if (l->n == 0)
		return 0;
	if ((r = run_charge(run, bytes, e)) < 0)
		return r;
	keys = xcalloc(l->n * n_keys, sizeof *keys);
	order = xcalloc(l->n, sizeof *order);
	sorted = xcalloc(l->n, sizeof *sorted);
	for (size_t i = 0; i < l->n; i++) {
		order[i] = i;
		for (size_t k = 0; k < n_keys; k++)
			keys[i * n_keys + k] =
				key_of(shape->n ? entry_value(&l->list[i], shape->names[k])
						: l->list[i].line);
	}
	s.keys = keys;
	qsort_r(order, l->n, sizeof *order, by_keys, &s);
	for (size_t i = 0; i < l->n; i++)
		sorted[i] = l->list[order[i]];
	memcpy(l->list, sorted, l->n * sizeof *sorted);
	free(keys);
	free(order);
	free(sorted);
	run_release(run, bytes);
	return 0;
}
