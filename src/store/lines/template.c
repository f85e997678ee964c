/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates and their table.
 *
 * The table is open addressing over hashes of tokens_of; entries never move, as
 * they lie in an arena that is emptied with the table.  A line is compared with
 * the entry's text piece by piece, without building its key; that happens only
 * when the template is new.  Whoever makes lines that collide gets nothing: a
 * look-up gives up after PROBES_MAX places, and the line has no template.
 */
#include "store/lines/template.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/memory.h"
#include "codec/codec.h"

enum {
	PLACES_MIN = 256,
	PROBES_MAX = 64,
	KEY_SLOT_BYTES = 5, /* at most: distance (up to 32 KiB), kind, width */
};

struct place {
	uint64_t hash;
	uint32_t id; /* 0 empty */
};

struct template_table {
	struct arena arena;
	struct place *places;
	size_t cap; /* power of two */
	struct template **entries;
	size_t n, cap_entries;
	size_t limit, limit_bytes;
	struct buf scratch;
};

/* Slots and text of a key. */

static bool slot_valid(uint8_t kind, uint8_t width)
{
	switch (kind) {
	case SLOT_LONG: return width >= 10 && width <= 19;
	case SLOT_HEX:
	case SLOT_HEX_UPPER: return width >= TOKEN_HEX_MIN && width <= TOKEN_HEX_MAX;
	case SLOT_NUMBER:
	case SLOT_UUID:
	case SLOT_UUID_UPPER:
	case SLOT_TEXT: return width == 0;
	default: return false;
	}
}

/* The shortest value of a slot. */
static size_t slot_bytes(uint8_t kind, uint8_t width)
{
	return width ? width : kind == SLOT_UUID || kind == SLOT_UUID_UPPER ? TOKEN_UUID : 1;
}

static int key_damaged(struct error *e, const char *what)
{
	return error_set(e, ERR_CORRUPT, "key of a template: %s", what);
}

/* Read the n slots of a key that `in` has behind their number; *text is what follows them. */
static int parse_slots(
	struct template_slot *slots, uint32_t n, struct str in, struct str *text, struct error *e)
{
	size_t at = 0, bytes = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t distance;
		size_t used = varint_get(in, &distance);
		if (used == 0 || in.n - used < 2)
			return key_damaged(e, "cut short");
		slots[i].kind = (uint8_t)in.p[used];
		slots[i].width = (uint8_t)in.p[used + 1];
		in = str_sub(in, used + 2, in.n);
		if (!slot_valid(slots[i].kind, slots[i].width))
			return key_damaged(e, "a slot of no kind");
		if (distance > TOKEN_LINE_MAX - at)
			return key_damaged(e, "a slot lies too far behind");
		at += distance;
		slots[i].at = (uint32_t)at;
		bytes += slot_bytes(slots[i].kind, slots[i].width);
	}
	if (at > in.n)
		return key_damaged(e, "a slot lies behind the text");
	if (in.n + bytes > TOKEN_LINE_MAX)
		return key_damaged(e, "its lines would be too long");
	*text = in;
	return 0;
}

int template_parse(struct template *out, struct str key, struct error *e)
{
	struct template_slot *slots;
	struct str text;
	uint64_t n;
	size_t used = varint_get(key, &n);
	int r;

	if (used == 0)
		return key_damaged(e, "cut short");
	if (n > TOKEN_SLOTS_MAX)
		return key_damaged(e, "too many slots");
	slots = xcalloc(n, sizeof *slots);
	if ((r = parse_slots(slots, (uint32_t)n, str_sub(key, used, key.n), &text, e)) < 0) {
		free(slots);
		return r;
	}
	*out = (struct template){key, text, slots, (uint32_t)n};
	return 0;
}

void template_fini(struct template *t)
{
	free((void *)(uintptr_t)t->slots);
	*t = (struct template){0};
}

void template_print(const struct template *t, struct buf *out)
{
	size_t at = 0;

	for (uint32_t i = 0; i < t->n_slots; i++) {
		buf_str(out, str_sub(t->text, at, t->slots[i].at));
		buf_c(out, "<_>");
		at = t->slots[i].at;
	}
	buf_str(out, str_sub(t->text, at, t->text.n));
}

static uint64_t template_hash(const struct template *t)
{
	uint64_t hash = TOKEN_HASH;
	size_t at = 0;

	for (uint32_t i = 0; i < t->n_slots; i++) {
		const struct template_slot *slot = &t->slots[i];
		hash = token_hash(hash, str_sub(t->text, at, slot->at), slot->kind, slot->width);
		at = slot->at;
	}
	return token_hash(hash, str_sub(t->text, at, t->text.n), 0, 0);
}

/* The table. */

struct template_table *template_table_new(void)
{
	struct template_table *t = xcalloc(1, sizeof *t);

	arena_init(&t->arena, NULL);
	t->cap = PLACES_MIN;
	t->places = xcalloc(t->cap, sizeof *t->places);
	template_table_limit(t, TEMPLATES_MAX, SIZE_MAX);
	return t;
}

void template_table_free(struct template_table *t)
{
	if (!t)
		return;
	arena_fini(&t->arena);
	buf_fini(&t->scratch);
	free(t->places);
	free(t->entries);
	free(t);
}

void template_table_clear(struct template_table *t)
{
	arena_clear(&t->arena);
	t->n = 0;
	if (t->cap > PLACES_MIN) {
		/* One block with many templates must not make every later one slow. */
		free(t->places);
		t->cap = PLACES_MIN;
		t->places = xcalloc(t->cap, sizeof *t->places);
		free(t->entries);
		t->entries = NULL;
		t->cap_entries = 0;
	} else {
		memset(t->places, 0, t->cap * sizeof *t->places);
	}
}

void template_table_limit(struct template_table *t, size_t templates, size_t bytes)
{
	t->limit = templates < TEMPLATES_MAX ? templates : TEMPLATES_MAX;
	t->limit_bytes = bytes;
}

static bool is_full(const struct template_table *t)
{
	return t->n >= t->limit || template_table_bytes(t) >= t->limit_bytes;
}

size_t template_table_count(const struct template_table *t)
{
	return t->n;
}

size_t template_table_bytes(const struct template_table *t)
{
	return sizeof *t + t->arena.bytes + t->cap * sizeof *t->places +
	       t->cap_entries * sizeof(struct template *) + t->scratch.cap;
}

const struct template *template_table_get(const struct template_table *t, uint32_t id)
{
	return t->entries[id - 1];
}

static void grow(struct template_table *t)
{
	size_t cap = t->cap * 2;
	struct place *places = xcalloc(cap, sizeof *places);

	for (size_t i = 0; i < t->cap; i++) {
		size_t at = t->places[i].hash & (cap - 1);
		if (!t->places[i].id)
			continue;
		while (places[at].id)
			at = (at + 1) & (cap - 1);
		places[at] = t->places[i];
	}
	free(t->places);
	t->places = places;
	t->cap = cap;
}

/* Most pieces of constant text are shorter than a call of memcmp is long. */
static inline bool same_bytes(const char *a, const char *b, size_t n)
{
	uint64_t x, y;

	if (n < 8) {
		for (size_t i = 0; i < n; i++)
			if (a[i] != b[i])
				return false;
		return true;
	}
	if (n > 64)
		return memcmp(a, b, n) == 0;
	for (; n > 8; a += 8, b += 8, n -= 8) {
		memcpy(&x, a, 8);
		memcpy(&y, b, 8);
		if (x != y)
			return false;
	}
	/* The last eight, which may overlap those before. */
	memcpy(&x, a + n - 8, 8);
	memcpy(&y, b + n - 8, 8);
	return x == y;
}

static bool is_template_of(
	const struct template *t, struct str line, const struct token *tokens, size_t n)
{
	size_t at = 0, done = 0; /* in the text, in the line */

	if (t->n_slots != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct template_slot *slot = &t->slots[i];
		size_t piece = tokens[i].at - done;
		if (slot->at - at != piece || slot->kind != tokens[i].kind ||
			slot->width != tokens[i].width ||
			!same_bytes(t->text.p + at, line.p + done, piece))
			return false;
		at += piece;
		done = tokens[i].at + tokens[i].n;
	}
	return t->text.n - at == line.n - done &&
	       (line.n == done || same_bytes(t->text.p + at, line.p + done, line.n - done));
}

static void make_key(struct buf *key, struct str line, const struct token *tokens, size_t n)
{
	size_t done = 0;

	buf_clear(key);
	buf_reserve(key, 2 + n * KEY_SLOT_BYTES + line.n);
	varint_put(key, n);
	for (size_t i = 0; i < n; i++) {
		varint_put(key, tokens[i].at - done);
		buf_char(key, (char)tokens[i].kind);
		buf_char(key, (char)tokens[i].width);
		done = tokens[i].at + tokens[i].n;
	}
	done = 0;
	for (size_t i = 0; i < n; i++) {
		buf_put(key, line.p + done, tokens[i].at - done);
		done = tokens[i].at + tokens[i].n;
	}
	if (done < line.n)
		buf_put(key, line.p + done, line.n - done);
}

/* The next entry, of a key that is a key. */
static struct template *add_entry(struct template_table *t, struct str key)
{
	struct template *entry = ARENA_NEW(&t->arena, struct template);
	struct template_slot *slots;
	uint64_t n = 0;
	size_t used = varint_get(key, &n);

	entry->key = arena_str(&t->arena, key);
	entry->slots = slots = ARENA_ARRAY(&t->arena, struct template_slot, n);
	entry->n_slots = (uint32_t)n;
	parse_slots(slots, entry->n_slots, str_sub(entry->key, used, key.n), &entry->text, NULL);
	if (t->n == t->cap_entries) {
		t->cap_entries = t->cap_entries ? t->cap_entries * 2 : PLACES_MIN;
		t->entries = xrealloc(t->entries, t->cap_entries * sizeof(struct template *));
	}
	t->entries[t->n++] = entry;
	return entry;
}

/* The place to put a new template with this hash; room for it is made first. */
static uint32_t add(struct template_table *t, struct str key, uint64_t hash)
{
	size_t at, probes = 0;

	if (is_full(t))
		return TEMPLATE_NONE;
	if ((t->n + 1) * 2 > t->cap)
		grow(t);
	for (at = hash & (t->cap - 1); t->places[at].id; at = (at + 1) & (t->cap - 1))
		if (++probes == PROBES_MAX)
			return TEMPLATE_NONE;
	add_entry(t, key);
	t->places[at] = (struct place){hash, (uint32_t)t->n};
	return (uint32_t)t->n;
}

uint32_t template_table_put(struct template_table *t, struct str line, const struct token *tokens,
	size_t n, uint64_t hash)
{
	size_t at = hash & (t->cap - 1);

	for (int probes = 0; probes < PROBES_MAX && t->places[at].id; probes++) {
		if (t->places[at].hash == hash &&
			is_template_of(t->entries[t->places[at].id - 1], line, tokens, n))
			return t->places[at].id;
		at = (at + 1) & (t->cap - 1);
	}
	if (is_full(t))
		return TEMPLATE_NONE;
	make_key(&t->scratch, line, tokens, n);
	return add(t, buf_view(&t->scratch), hash);
}

uint32_t template_table_put_key(struct template_table *t, struct str key)
{
	struct template parsed;
	uint64_t hash;
	size_t at;

	if (template_parse(&parsed, key, NULL) < 0)
		return TEMPLATE_NONE;
	hash = template_hash(&parsed);
	template_fini(&parsed);
	at = hash & (t->cap - 1);
	for (int probes = 0; probes < PROBES_MAX && t->places[at].id; probes++) {
		if (t->places[at].hash == hash &&
			str_eq(t->entries[t->places[at].id - 1]->key, key))
			return t->places[at].id;
		at = (at + 1) & (t->cap - 1);
	}
	return add(t, key, hash);
}
