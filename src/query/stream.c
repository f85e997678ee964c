/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything here is a set: of streams, names or values.  A source may tell a
 * stream many times, once per unit, so that where there are selectors each is
 * matched once and then remembered.
 */
#include "query/stream.h"

#include <stdlib.h>

#include "base/map.h"
#include "base/memory.h"
#include "query/ast.h"
#include "query/source.h"

enum {
	SET_BYTES_MAX = 64 << 20, /* of labels, names and values held at once */
	CHARGE_STEP = 256 << 10,
};

struct walk {
	const struct selectors *match;
	struct map seen; /* streams, when `remember` */
	struct map set;  /* what is to be emitted */
	void (*take)(struct walk *w, struct str labels);
	struct str name; /* of label_values */
	uint64_t charged;
	bool remember, full;
};

/* What the map may take with one more key of n bytes: both tables while it doubles, and malloc's
 * own for each key. */
static uint64_t after_put(const struct map *m, size_t n)
{
	return m->bytes + n + 16 * (m->n + 1) +
	       (m->n >= m->cap / 4 * 3 ? (2 * m->cap + 16) * sizeof *m->slots : 0);
}

/* Of the keys alone. */
static uint64_t key_bytes(const struct map *m)
{
	return m->bytes - m->cap * sizeof *m->slots;
}

/* Charge for the sets with these labels in them, and for what is made of the second one: its keys
 * in order, and written down. */
static bool reserve(struct walk *w, struct str labels)
{
	struct account *a = w->match ? w->match->account : NULL;
	uint64_t need = after_put(&w->seen, labels.n) + after_put(&w->set, labels.n) +
			w->set.n * sizeof(struct str) + key_bytes(&w->set);

	if (need <= w->charged)
		return true;
	need += CHARGE_STEP - w->charged;
	if (w->charged + need > SET_BYTES_MAX + CHARGE_STEP && !a)
		return false;
	if (a && account_charge(a, need) < 0)
		return false;
	w->charged += need;
	return true;
}

static bool matches(const struct selectors *match, struct str labels)
{
	if (!match || match->n == 0)
		return true;
	for (size_t i = 0; i < match->n; i++)
		if (query_want_stream(match->queries[i], labels))
			return true;
	return false;
}

static void on_stream(void *ctx, struct str labels)
{
	struct walk *w = ctx;
	bool added = true;

	w->full = w->full || !reserve(w, labels);
	if (w->full)
		return;
	if (w->remember)
		map_put(&w->seen, labels, &added);
	if (added && matches(w->match, labels))
		w->take(w, labels);
}

static void take_names(struct walk *w, struct str labels)
{
	struct label l;

	labels_start(&labels);
	while (labels_next(&labels, &l))
		map_put(&w->set, l.name, NULL);
}

static void take_value(struct walk *w, struct str labels)
{
	struct str value;

	if (labels_get(labels, w->name, &value))
		map_put(&w->set, value, NULL);
}

/* Remembers them itself. */
static void take_labels(struct walk *w, struct str labels)
{
	map_put(&w->set, labels, NULL);
}

static int by_bytes(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int by_labels(const void *a, const void *b)
{
	return labels_order(*(const struct str *)a, *(const struct str *)b);
}

static void emit_sorted(const struct map *set, int (*order)(const void *, const void *),
	void (*emit)(void *ctx, struct str s), void *ctx)
{
	struct str *all = xmalloc(set->n * sizeof *all);
	const struct map_slot *slot;
	size_t n = 0, at = 0;

	while ((slot = map_next(set, &at)))
		all[n++] = slot->key;
	qsort(all, n, sizeof *all, order);
	for (size_t i = 0; i < n; i++)
		emit(ctx, all[i]);
	free(all);
}

static int run(struct source *s, struct str tenant, int64_t from_ns, int64_t to_ns, struct walk *w,
	int (*order)(const void *, const void *), void (*emit)(void *ctx, struct str s), void *ctx,
	struct error *e)
{
	int r;

	w->remember = w->match && w->match->n > 0 && w->take != take_labels;
	r = s->streams(s, tenant, from_ns, to_ns, on_stream, w, e);
	if (r == 0 && w->full)
		r = error_set(e, ERR_LIMIT,
			"the labels of all streams do not fit in the memory: narrow the time range "
			"or the selector, or raise memory");
	if (r == 0)
		emit_sorted(&w->set, order, emit, ctx);
	map_fini(&w->seen);
	map_fini(&w->set);
	if (w->match)
		account_release(w->match->account, w->charged);
	return r;
}

int source_label_names(struct source *s, struct str tenant, int64_t from_ns, int64_t to_ns,
	const struct selectors *match, void (*emit)(void *ctx, struct str name), void *ctx,
	struct error *e)
{
	struct walk w = {.match = match, .take = take_names};

	return run(s, tenant, from_ns, to_ns, &w, by_bytes, emit, ctx, e);
}

int source_label_values(struct source *s, struct str tenant, int64_t from_ns, int64_t to_ns,
	const struct selectors *match, struct str name, void (*emit)(void *ctx, struct str value),
	void *ctx, struct error *e)
{
	struct walk w = {.match = match, .take = take_value, .name = name};

	return run(s, tenant, from_ns, to_ns, &w, by_bytes, emit, ctx, e);
}

int source_series(struct source *s, struct str tenant, int64_t from_ns, int64_t to_ns,
	const struct selectors *match, void (*emit)(void *ctx, struct str labels), void *ctx,
	struct error *e)
{
	struct walk w = {.match = match, .take = take_labels};

	return run(s, tenant, from_ns, to_ns, &w, by_labels, emit, ctx, e);
}
