/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  `ring` holds the hashes by their number, `table` finds them: open
 * addressing over indexes of the ring, half full at most, with backward
 * shifts where one goes.  The hashes are good as they are, none is hashed
 * again.
 */
#include "input/amqp_seen.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"

enum { VERSION = 1, TOKEN_HEAD = 9, HASH_BYTES = sizeof(struct seen_hash) };

struct seen {
	struct seen_hash *ring; /* hash number i is at i modulo n_ring */
	size_t n_ring, n_slots, n_known;
	uint32_t *table; /* 1 + an index of the ring; 0: free */
	size_t mask;
	uint64_t count, saved; /* generations from `saved` on are to be saved */
	uint64_t saved_count;  /* `count` at the last time; UINT64_MAX: save in any case */
	struct buf token;      /* scratch */
};

struct seen *seen_new(size_t window, size_t undo)
{
	struct seen *s = xcalloc(1, sizeof *s);
	size_t cap = 1;

	assert(window <= SEEN_WINDOW_MAX && undo <= SEEN_WINDOW_MAX);
	/* The slot that is being filled is not counted on. */
	s->n_slots = (window + undo + SEEN_SLOT - 1) / SEEN_SLOT + 1;
	s->n_ring = s->n_slots * SEEN_SLOT;
	while (cap < 2 * s->n_ring)
		cap *= 2;
	s->ring = xcalloc(s->n_ring, sizeof *s->ring);
	s->table = xcalloc(cap, sizeof *s->table);
	s->mask = cap - 1;
	return s;
}

void seen_free(struct seen *s)
{
	if (!s)
		return;
	free(s->ring);
	free(s->table);
	buf_fini(&s->token);
	free(s);
}

struct seen_hash seen_hash_of(struct str id, struct str key, struct str body)
{
	/* Each on its own, so that no byte of one can stand for a byte of another. */
	struct seen_hash parts[3], h;

	hash_stable_wide(parts[0].w, id);
	hash_stable_wide(parts[1].w, key);
	hash_stable_wide(parts[2].w, body);
	hash_stable_wide(h.w, str_make(parts, sizeof parts));
	if (h.w[0] == 0 && h.w[1] == 0)
		h.w[0] = 1;
	return h;
}

static bool is_none(struct seen_hash h)
{
	return h.w[0] == 0 && h.w[1] == 0;
}

static bool same(struct seen_hash a, struct seen_hash b)
{
	return a.w[0] == b.w[0] && a.w[1] == b.w[1];
}

/* Where it is in the table, or would go. */
static size_t find(const struct seen *s, struct seen_hash h)
{
	size_t at = h.w[0] & s->mask;

	while (s->table[at] && !same(s->ring[s->table[at] - 1], h))
		at = (at + 1) & s->mask;
	return at;
}

bool seen_has(const struct seen *s, struct seen_hash h)
{
	return s->table[find(s, h)] != 0;
}

/* Take what is at the ring's `index` out of table and ring. */
static void drop(struct seen *s, size_t index)
{
	size_t at, next, home;

	if (is_none(s->ring[index]))
		return;
	at = find(s, s->ring[index]);
	/* Put a second time later on: the table knows that one. */
	if (s->table[at] == index + 1) {
		s->n_known--;
		for (next = (at + 1) & s->mask; s->table[next]; next = (next + 1) & s->mask) {
			home = s->ring[s->table[next] - 1].w[0] & s->mask;
			if (((next - home) & s->mask) < ((next - at) & s->mask))
				continue;
			s->table[at] = s->table[next];
			at = next;
		}
		s->table[at] = 0;
	}
	s->ring[index] = (struct seen_hash){0};
}

static void put_at(struct seen *s, size_t index, struct seen_hash h)
{
	size_t at;

	drop(s, index);
	if (is_none(h))
		return;
	at = find(s, h);
	s->n_known += s->table[at] == 0;
	s->ring[index] = h;
	s->table[at] = (uint32_t)(index + 1);
}

void seen_put(struct seen *s, struct seen_hash h)
{
	put_at(s, s->count++ % s->n_ring, h);
}

uint64_t seen_count(const struct seen *s)
{
	return s->count;
}

size_t seen_size(const struct seen *s)
{
	return s->n_known;
}

void seen_undo(struct seen *s, uint64_t count)
{
	assert(count <= s->count);
	if (count < s->saved_count)
		s->saved_count = UINT64_MAX;
	while (s->count > count)
		drop(s, --s->count % s->n_ring);
	if (s->saved > s->count / SEEN_SLOT)
		s->saved = s->count / SEEN_SLOT;
}

/* Tokens. */

static struct str make_token(struct seen *s, uint64_t generation)
{
	uint64_t le = htole64(generation), from = generation * SEEN_SLOT, to = from + SEEN_SLOT;

	buf_clear(&s->token);
	buf_char(&s->token, VERSION);
	buf_put(&s->token, &le, sizeof le);
	for (uint64_t i = from; i < to && i < s->count; i++) {
		struct seen_hash h = s->ring[i % s->n_ring];

		h.w[0] = htole64(h.w[0]);
		h.w[1] = htole64(h.w[1]);
		buf_put(&s->token, &h, sizeof h);
	}
	return buf_view(&s->token);
}

void seen_save(struct seen *s, void (*each)(void *arg, size_t slot, struct str token), void *arg)
{
	uint64_t now = s->count / SEEN_SLOT;

	if (s->saved_count == s->count)
		return;
	s->saved_count = s->count;
	/* All that went round since is gone. */
	if (now >= s->n_slots && s->saved < now - s->n_slots + 1)
		s->saved = now - s->n_slots + 1;
	for (uint64_t g = s->saved; g <= now && g * SEEN_SLOT < s->count; g++)
		each(arg, g % s->n_slots, make_token(s, g));
	s->saved = now;
}

static bool read_head(struct str token, uint64_t *generation)
{
	uint64_t le;

	if (token.n < TOKEN_HEAD || token.p[0] != VERSION || (token.n - TOKEN_HEAD) % HASH_BYTES ||
		token.n > TOKEN_HEAD + SEEN_SLOT * HASH_BYTES)
		return false;
	memcpy(&le, token.p + 1, sizeof le);
	*generation = le64toh(le);
	return *generation < UINT64_MAX / SEEN_SLOT / 2;
}

static void load_one(struct seen *s, struct str token, uint64_t generation)
{
	struct str at = str_sub(token, TOKEN_HEAD, token.n);

	for (size_t i = 0; i < at.n / HASH_BYTES; i++) {
		struct seen_hash h;

		memcpy(&h, at.p + i * HASH_BYTES, sizeof h);
		h.w[0] = le64toh(h.w[0]);
		h.w[1] = le64toh(h.w[1]);
		put_at(s, (generation * SEEN_SLOT + i) % s->n_ring, h);
	}
}

void seen_load(struct seen *s, const struct str tokens[], size_t n)
{
	uint64_t newest = 0, generation;
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		if (!read_head(tokens[i], &generation) || (any && generation < newest))
			continue;
		any = true;
		newest = generation;
		s->count = generation * SEEN_SLOT + (tokens[i].n - TOKEN_HEAD) / HASH_BYTES;
	}
	for (size_t i = 0; i < n; i++)
		if (read_head(tokens[i], &generation) && generation + s->n_slots > newest)
			load_one(s, tokens[i], generation);
	/* All again with the first batch: the number of slots may be another one now. */
	s->saved_count = UINT64_MAX;
	s->saved = newest >= s->n_slots ? newest - s->n_slots + 1 : 0;
}
