/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear probing at a load of at most 3/4; removal shifts the run back, so
 * there are no tombstones and look-ups never slow down with age.
 */
#include "base/map.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"

static uint64_t hash_of(struct str key)
{
	uint64_t h = hash_keyed(key);

	return h ? h : 1;
}

void map_fini(struct map *m)
{
	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].hash)
			free((void *)m->slots[i].key.p);
	free(m->slots);
	*m = (struct map){0};
}

static struct map_slot *find(const struct map *m, struct str key, uint64_t hash)
{
	size_t i = hash & (m->cap - 1);

	while (m->slots[i].hash && !(m->slots[i].hash == hash && str_eq(m->slots[i].key, key)))
		i = (i + 1) & (m->cap - 1);
	return &m->slots[i];
}

union map_value *map_get(const struct map *m, struct str key)
{
	struct map_slot *s;

	if (m->n == 0)
		return NULL;
	s = find(m, key, hash_of(key));
	return s->hash ? &s->value : NULL;
}

static void grow(struct map *m)
{
	struct map old = *m;

	m->cap = old.cap ? old.cap * 2 : 16;
	m->slots = xcalloc(m->cap, sizeof *m->slots);
	m->bytes += (m->cap - old.cap) * sizeof *m->slots;
	for (size_t i = 0; i < old.cap; i++) {
		size_t at = old.slots[i].hash & (m->cap - 1);
		if (!old.slots[i].hash)
			continue;
		while (m->slots[at].hash)
			at = (at + 1) & (m->cap - 1);
		m->slots[at] = old.slots[i];
	}
	free(old.slots);
}

union map_value *map_put(struct map *m, struct str key, bool *added)
{
	uint64_t hash = hash_of(key);
	struct map_slot *s;

	if (m->n >= m->cap / 4 * 3)
		grow(m);
	s = find(m, key, hash);
	if (added)
		*added = s->hash == 0;
	if (s->hash == 0) {
		s->hash = hash;
		s->key = str_make(str_dup(key), key.n);
		m->n++;
		m->bytes += key.n + 1;
	}
	return &s->value;
}

bool map_remove(struct map *m, struct str key)
{
	struct map_slot *s;
	size_t hole, i;

	if (m->n == 0 || !(s = find(m, key, hash_of(key)))->hash)
		return false;
	m->bytes -= s->key.n + 1;
	free((void *)s->key.p);
	m->n--;
	hole = (size_t)(s - m->slots);
	for (i = (hole + 1) & (m->cap - 1); m->slots[i].hash; i = (i + 1) & (m->cap - 1)) {
		size_t home = m->slots[i].hash & (m->cap - 1);
		/* An entry may move back to the hole unless its home lies behind the hole. */
		if (((i - home) & (m->cap - 1)) >= ((i - hole) & (m->cap - 1))) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	m->slots[hole] = (struct map_slot){0};
	return true;
}

const struct map_slot *map_next(const struct map *m, size_t *at)
{
	while (*at < m->cap) {
		const struct map_slot *s = &m->slots[(*at)++];
		if (s->hash)
			return s;
	}
	return NULL;
}
