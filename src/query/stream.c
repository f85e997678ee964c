/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything here is a set: of streams, names or values.  A source may tell a
 * stream many times, once per unit, so that each is matched once and then
 * remembered.
 */
#include "query/stream.h"

#include <stdlib.h>

#include "base/map.h"
#include "query/ast.h"
#include "query/source.h"

enum {
	SET_BYTES_MAX = 64 << 20, /* of labels, names and values held at once */
};

struct walk {
	const struct selectors *match;
	struct map seen; /* streams; u: did it match? */
	struct map set;  /* what is to be emitted */
	void (*take)(struct walk *w, struct str labels);
	struct str name; /* of label_values */
	bool full;
};

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
	bool added;

	w->full = w->full || w->seen.bytes + w->set.bytes > SET_BYTES_MAX;
	if (w->full)
		return;
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
	int r = s->streams(s, tenant, from_ns, to_ns, on_stream, w, e);

	if (r == 0 && w->full)
		r = error_set(e, ERR_LIMIT,
			"the labels of all streams are more than %d MiB: narrow the time range",
			SET_BYTES_MAX >> 20);
	if (r == 0)
		emit_sorted(&w->set, order, emit, ctx);
	map_fini(&w->seen);
	map_fini(&w->set);
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
