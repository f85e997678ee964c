/* SPDX-License-Identifier: Apache-2.0 */
#include "query/group.h"

#include "codec/codec.h"

enum { PAIRS_MAX = 2 * LABELS_MAX + 1 };

/* A canonical set, walked with one pair of look-ahead. */
struct walk {
	struct str at;
	struct label pair;
	bool more;
};

static void walk_next(struct walk *w)
{
	w->more = labels_next(&w->at, &w->pair);
}

static struct walk walk_of(struct str labels)
{
	struct walk w = {.at = labels};

	if (labels.n) {
		labels_start(&w.at);
		walk_next(&w);
	}
	return w;
}

/* The walk with the smallest name, the first of equals; the others step over that name. */
static struct walk *smallest(struct walk *walks, size_t n)
{
	struct walk *best = NULL;

	for (size_t i = 0; i < n; i++) {
		if (!walks[i].more)
			continue;
		int order = best ? str_cmp(walks[i].pair.name, best->pair.name) : -1;
		if (order < 0)
			best = &walks[i];
		else if (order == 0)
			walk_next(&walks[i]);
	}
	return best;
}

static void write_pairs(struct buf *out, const struct label *pairs, size_t n)
{
	varint_put(out, n);
	for (size_t i = 0; i < n; i++) {
		varint_put(out, pairs[i].name.n);
		buf_str(out, pairs[i].name);
		varint_put(out, pairs[i].value.n);
		buf_str(out, pairs[i].value);
	}
}

bool grouping_keeps(const struct grouping *g, struct str name)
{
	bool named = false;

	for (size_t i = 0; i < g->n && !named; i++)
		named = str_eq(g->names[i], name);
	return named == (g->kind == GROUP_BY);
}

void grouping_project(const struct grouping *g, struct str labels, struct str meta,
	const char *level, struct buf *out)
{
	struct walk walks[] = {
		walk_of(meta),
		{.pair = {STR("detected_level"), str_c(level)}, .more = level != NULL},
		walk_of(labels),
	};
	struct label pairs[PAIRS_MAX];
	size_t n = 0;
	struct walk *w;

	while (n < PAIRS_MAX && (w = smallest(walks, 3))) {
		if (grouping_keeps(g, w->pair.name))
			pairs[n++] = w->pair;
		walk_next(w);
	}
	write_pairs(out, pairs, n);
}

void group_meta(struct str meta, const char *level, struct buf *out)
{
	static const struct grouping all = {.kind = GROUP_WITHOUT};

	grouping_project(&all, STR(""), meta, level, out);
}

int labels_order(struct str a, struct str b)
{
	struct walk x = walk_of(a), y = walk_of(b);

	for (; x.more && y.more; walk_next(&x), walk_next(&y)) {
		int r = str_cmp(x.pair.name, y.pair.name);
		if (r || (r = str_cmp(x.pair.value, y.pair.value)))
			return r;
	}
	return (int)x.more - (int)y.more;
}
