/* SPDX-License-Identifier: Apache-2.0 */
#include "store/parts/tally.h"

#include <stdlib.h>

enum { ROWS_PER_ENTRY = 16 }; /* an entry must stand for so many on average */

static void begin(struct tally *t, uint32_t n_rows)
{
	uint32_t n = 16;

	t->n = t->last = 0;
	t->full = false;
	t->most = n_rows / ROWS_PER_ENTRY;
	while (n < 2 * t->most)
		n *= 2;
	if (n > t->n_slots) {
		t->n_slots = n;
		t->entries = xrealloc(t->entries, (size_t)n / 2 * sizeof *t->entries);
		t->slots = xrealloc(t->slots, (size_t)n * sizeof *t->slots);
	}
	memset(t->slots, 0, (size_t)t->n_slots * sizeof *t->slots);
}

static bool same(const struct tally_entry *a, const struct tally_entry *b)
{
	return a->what == b->what && a->stream == b->stream && a->level == b->level;
}

static uint32_t slot_of(const struct tally *t, const struct tally_entry *key)
{
	uint64_t h = (uint64_t)key->what * UINT64_C(0x9e3779b97f4a7c15);

	h = (h ^ (h >> 29) ^ ((uint64_t)key->stream << 16 | key->level)) *
	    UINT64_C(0xbf58476d1ce4e5b9);
	return (uint32_t)(h >> 32) & (t->n_slots - 1);
}

static void add(struct tally *t, const struct tally_entry *key, uint32_t bytes)
{
	struct tally_entry *found = t->n > 0 ? &t->entries[t->last] : NULL;
	uint32_t at;

	if (!found || !same(found, key)) {
		for (at = slot_of(t, key); t->slots[at] > 0; at = (at + 1) & (t->n_slots - 1))
			if (same(&t->entries[t->slots[at] - 1], key))
				break;
		if (t->slots[at] == 0) {
			if (t->n == t->most) {
				t->full = true;
				return;
			}
			t->entries[t->n] = *key;
			t->slots[at] = ++t->n;
		}
		t->last = t->slots[at] - 1;
		found = &t->entries[t->last];
	}
	found->rows++;
	found->bytes += bytes;
}

static int compare(const void *x, const void *y)
{
	const struct tally_entry *a = x, *b = y;

	if (a->stream != b->stream)
		return a->stream < b->stream ? -1 : 1;
	if (a->what != b->what)
		return a->what < b->what ? -1 : 1;
	return (int)a->level - (int)b->level;
}

static void end(struct tally *t)
{
	if (t->full)
		t->n = 0;
	if (t->n > 0)
		qsort(t->entries, t->n, sizeof *t->entries, compare);
}

static uint16_t level_of(const struct fixed *f, uint32_t row)
{
	return (uint16_t)(f->severity[row] << 1 | ((f->flags[row] & RECORD_LEVEL_DETECTED) != 0));
}

void tally_templates(struct tally *t, const struct fixed *f, const uint32_t *template_of)
{
	begin(t, f->n);
	for (uint32_t i = 0; i < f->n && !t->full; i++) {
		struct tally_entry key = {
			.stream = f->stream[i], .what = template_of[i], .level = level_of(f, i)};

		add(t, &key, f->length[i]);
	}
	end(t);
}

/* A time exactly on the hour belongs to the hour that it ends: as windows of queries go. */
static int64_t hour_of(int64_t ns)
{
	return ns / NS_PER_HOUR + (ns % NS_PER_HOUR > 0) - 1;
}

void tally_hours(struct tally *t, const struct fixed *f)
{
	begin(t, f->n);
	for (uint32_t i = 0; i < f->n && !t->full; i++) {
		struct tally_entry key = {.stream = f->stream[i],
			.what = hour_of(f->timestamp[i]),
			.level = level_of(f, i)};

		add(t, &key, f->length[i]);
	}
	end(t);
}

void tally_fini(struct tally *t)
{
	free(t->entries);
	free(t->slots);
	*t = (struct tally){0};
}
