/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  Two maps, young and old.  What is used is in the young one; when
 * that is full it becomes the old one, and the old one goes.  So at most
 * twice YOUNG_MAX sources are held, and one is forgotten only after so many
 * others were used.
 */
#include "forward/known.h"

#include <stdlib.h>

#include "base/map.h"

enum { YOUNG_MAX = 8192 };

struct entry {
	uint64_t any;               /* durable at one of them at least */
	uint64_t at[KNOWN_SERVERS]; /* acknowledged by each since this process began */
};

struct known {
	struct map young, old;
};

struct known *known_new(void)
{
	return xcalloc(1, sizeof(struct known));
}

static void empty(struct map *m)
{
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(m, &at)))
		free(slot->value.p);
	map_fini(m);
	*m = (struct map){0};
}

void known_free(struct known *k)
{
	if (!k)
		return;
	empty(&k->young);
	empty(&k->old);
	free(k);
}

static struct entry *find(struct known *k, struct str id)
{
	union map_value *v = map_get(&k->young, id);
	struct entry *e;

	if (v)
		return v->p;
	v = map_get(&k->old, id);
	if (!v)
		return NULL;
	e = v->p;
	map_remove(&k->old, id);
	map_put(&k->young, id, NULL)->p = e;
	return e;
}

void known_meet(struct known *k, const struct batch *b)
{
	for (size_t i = 0; i < batch_n_sources(b); i++) {
		struct batch_source s = batch_source(b, i);
		struct entry *e;

		if (s.kind != POSITION_MARK || find(k, s.id))
			continue;
		if (k->young.n >= YOUNG_MAX) {
			empty(&k->old);
			k->old = k->young;
			k->young = (struct map){0};
		}
		e = xcalloc(1, sizeof *e);
		e->any = s.from;
		map_put(&k->young, s.id, NULL)->p = e;
	}
}

void known_acked(struct known *k, const struct batch *b, unsigned server)
{
	for (size_t i = 0; i < batch_n_sources(b); i++) {
		struct batch_source s = batch_source(b, i);
		struct entry *e = s.kind == POSITION_MARK ? find(k, s.id) : NULL;

		if (!e)
			continue;
		e->any = s.to > e->any ? s.to : e->any;
		e->at[server] = s.to > e->at[server] ? s.to : e->at[server];
	}
}

bool known_elsewhere(struct known *k, const struct batch *b, unsigned server, uint64_t mark)
{
	for (size_t i = 0; i < batch_n_sources(b); i++) {
		struct batch_source s = batch_source(b, i);
		struct entry *e = s.kind == POSITION_MARK && s.from > mark ? find(k, s.id) : NULL;

		if (!e)
			continue;
		if (e->at[server] > mark) {
			/* It had that.  Told of one source alone it is sure whose mark it is; the
			 * source goes back, and goes on from what the server has now. */
			if (batch_n_sources(b) == 1)
				e->at[server] = mark;
			return false;
		}
		if (s.from > e->any)
			return false;
	}
	return true;
}

static void forget_in(struct map *m, unsigned server)
{
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(m, &at)))
		((struct entry *)slot->value.p)->at[server] = 0;
}

void known_forget_server(struct known *k, unsigned server)
{
	forget_in(&k->young, server);
	forget_in(&k->old, server);
}
