/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three arrays.  Those of the stream and of the metadata are sorted by name,
 * as their bytes were; a state byte beside each says whether it still counts.
 * Parsed labels stand in the order they were found, one slot a name: removing
 * one makes its slot dead, setting it again revives it, so that an index of a
 * slot never changes within a row.
 *
 * Rows come in runs of one stream, and a query meets few streams, so the
 * decoded labels of a stream are kept beside a copy of their bytes: a row then
 * costs one memcmp.  Nothing is decoded for a row that nobody asks.
 *
 * A slot is found by the hash of its name, in a row's usual dozen by looking
 * at each, beyond that through a table.  The hash is keyed and takes in every
 * byte: names are chosen by whoever writes the lines.
 */
#include "query/fields.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "codec/codec.h"
#include "query/wanted.h"

enum {
	SLOTS_MAX = FIELDS_MAX + 2, /* and the two of the error */
	BASE_MAX = LABELS_MAX + 1,  /* metadata, and detected_level */
	STREAMS_KEPT = 64,          /* a power of two */
	SCANNED = 24,               /* slots up to here are found by looking at each */
	TABLE = 4096,               /* a power of two, a quarter filled at most */
	PUSHED_MAX = 4,
	TEXT_FIRST = 4096,
	TEXT_KEPT = 1 << 20, /* text of a row beyond this is not kept for the next */
	DETAILS_MAX = 512,
	WRITTEN_MAX = (1 << 21) - 1, /* bytes of a name or value that canonical sets can hold */
};

/* Whether a label of the stream or the metadata counts. */
enum base_state {
	COUNTS,
	SHADOWED, /* metadata has the name too */
	GONE,     /* removed, or replaced by what a stage set */
};

struct base {
	const struct label *labels;
	const uint32_t *hashes;
	size_t n;
	uint8_t state[BASE_MAX];
};

/* A stream met before. */
struct stream_kept {
	char *bytes;
	size_t n_bytes, cap;
	size_t n;
	struct label *labels; /* LABELS_MAX of them; views into bytes */
	uint32_t *hashes;
};

struct slot {
	struct label label;
	uint32_t hash;
	bool live;
};

struct text_chunk {
	struct text_chunk *next;
	size_t used, size;
	char bytes[];
};

struct pushed {
	struct slot *slots;
	size_t n, cap;
	uint8_t stream[BASE_MAX], meta[BASE_MAX];
	bool changed;
};

struct table_entry {
	uint32_t epoch;
	uint32_t slot;
};

struct fields {
	struct account *account;
	uint64_t charged;
	uint64_t seed;
	/* The row. */
	struct str labels_bytes, meta_bytes;
	const char *level;
	bool decoded, changed;
	struct base stream, meta;
	struct label meta_labels[BASE_MAX];
	uint32_t meta_hashes[BASE_MAX];
	struct slot *slots;
	size_t n_slots, slots_cap;
	size_t error_slot; /* SIZE_MAX: none yet */
	/* Where slots lie, when there are more than SCANNED; of the rows before when their epoch
	 * is another. */
	struct table_entry *table;
	uint32_t epoch;
	struct text_chunk *text;
	struct pushed pushed[PUSHED_MAX];
	size_t n_pushed;
	/* By hash of the bytes; `last` is the one of the row before. */
	struct stream_kept kept[STREAMS_KEPT];
	struct stream_kept *last;
	uint16_t order[SLOTS_MAX]; /* scratch of the writers */
};

static void charge(struct fields *f, uint64_t n)
{
	if (f->account)
		account_force(f->account, n);
	f->charged += n;
}

static void release(struct fields *f, uint64_t n)
{
	if (f->account)
		account_release(f->account, n);
	f->charged -= n;
}

struct fields *fields_new(struct account *a)
{
	struct fields *f = xcalloc(1, sizeof *f);

	f->account = a;
	f->error_slot = SIZE_MAX;
	hash_random(&f->seed, sizeof f->seed);
	charge(f, sizeof *f);
	return f;
}

static void text_free(struct fields *f)
{
	while (f->text) {
		struct text_chunk *next = f->text->next;
		release(f, sizeof *f->text + f->text->size);
		free(f->text);
		f->text = next;
	}
}

void fields_free(struct fields *f)
{
	if (!f)
		return;
	text_free(f);
	for (size_t i = 0; i < STREAMS_KEPT; i++) {
		free(f->kept[i].bytes);
		free(f->kept[i].labels);
		free(f->kept[i].hashes);
	}
	for (size_t i = 0; i < PUSHED_MAX; i++)
		free(f->pushed[i].slots);
	free(f->slots);
	free(f->table);
	release(f, f->charged);
	free(f);
}

/* ---- text ---- */

static struct text_chunk *text_new(struct fields *f, size_t size)
{
	struct text_chunk *c = xmalloc(sizeof *c + size);

	*c = (struct text_chunk){.next = f->text, .size = size};
	charge(f, sizeof *c + size);
	f->text = c;
	return c;
}

/* Several chunks become one that would have held them all, unless that is too much to keep. */
static void text_clear(struct fields *f)
{
	struct text_chunk *c = f->text;
	size_t size = 0;

	if (!c)
		return;
	if (!c->next && c->size <= TEXT_KEPT) {
		c->used = 0;
		return;
	}
	for (; c; c = c->next)
		size += c->size;
	text_free(f);
	text_new(f, size <= TEXT_KEPT ? size : TEXT_FIRST);
}

char *fields_text(struct fields *f, size_t n)
{
	struct text_chunk *c = f->text;
	char *p;

	assert(n < SIZE_MAX / 4);
	if (!c || c->size - c->used < n) {
		size_t size = c ? 2 * c->size : TEXT_FIRST;
		c = text_new(f, n > size ? n : size);
	}
	p = c->bytes + c->used;
	c->used += n;
	return p;
}

/* ---- names ---- */

static inline uint64_t load(const char *p, size_t n)
{
	uint64_t v = 0;

	memcpy(&v, p, n);
	return v;
}

static inline uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t name_hash(const struct fields *f, struct str name)
{
	uint64_t h = f->seed ^ name.n;
	const char *p = name.p;
	size_t n = name.n;

	for (; n > 8; p += 8, n -= 8)
		h = mix(h ^ load(p, 8), 0x9e3779b97f4a7c15);
	if (n >= 4)
		h ^= load(p, 4) | load(p + n - 4, 4) << 32;
	else if (n)
		h ^= (uint64_t)(unsigned char)p[0] | (uint64_t)(unsigned char)p[n / 2] << 8 |
		     (uint64_t)(unsigned char)p[n - 1] << 16;
	return (uint32_t)mix(h, 0xd6e8feb86659fd93);
}

/* As a label name; a view of `name` where it is one. */
static struct str sanitise(struct fields *f, struct str name)
{
	size_t clean = 0;
	char *p;

	while (clean < name.n && label_name_char((unsigned char)name.p[clean]))
		clean++;
	if (clean == name.n && !(name.p[0] >= '0' && name.p[0] <= '9'))
		return name;
	clean = label_name_length(name, true);
	p = fields_text(f, clean);
	label_name_make(p, name, true);
	return str_make(p, clean);
}

/* A line does not say what failed in its own pipeline. */
static bool is_error_name(struct str name)
{
	return name.n > 2 && name.p[0] == '_' && name.p[1] == '_' &&
	       (str_eq(name, STR("__error__")) || str_eq(name, STR("__error_details__")));
}

/* ---- stream and metadata ---- */

static void keep_stream(struct fields *f, struct stream_kept *k, struct str bytes)
{
	struct str at;

	if (!k->labels) {
		k->labels = xcalloc(LABELS_MAX, sizeof *k->labels);
		k->hashes = xcalloc(LABELS_MAX, sizeof *k->hashes);
		charge(f, LABELS_MAX * (sizeof *k->labels + sizeof *k->hashes));
	}
	if (k->cap < bytes.n) {
		charge(f, bytes.n - k->cap);
		free(k->bytes);
		k->bytes = xmalloc(bytes.n);
		k->cap = bytes.n;
	}
	memcpy(k->bytes, bytes.p, bytes.n);
	k->n_bytes = bytes.n;
	at = str_make(k->bytes, bytes.n);
	labels_start(&at);
	for (k->n = 0; k->n < LABELS_MAX && labels_next(&at, &k->labels[k->n]); k->n++)
		k->hashes[k->n] = name_hash(f, k->labels[k->n].name);
}

static bool is_kept(const struct stream_kept *k, struct str bytes)
{
	return k->n_bytes == bytes.n && memcmp(k->bytes, bytes.p, bytes.n) == 0;
}

static void decode_stream(struct fields *f)
{
	struct str bytes = f->labels_bytes;

	if (bytes.n == 0) {
		f->stream.n = 0;
		return;
	}
	if (!f->last || !is_kept(f->last, bytes)) {
		f->last = &f->kept[hash_stable(bytes) & (STREAMS_KEPT - 1)];
		if (!is_kept(f->last, bytes))
			keep_stream(f, f->last, bytes);
	}
	f->stream.labels = f->last->labels;
	f->stream.hashes = f->last->hashes;
	f->stream.n = f->last->n;
	memset(f->stream.state, COUNTS, f->stream.n);
}

static void add_meta(struct fields *f, struct label l)
{
	size_t at = f->meta.n++;

	assert(at < BASE_MAX);
	f->meta_labels[at] = l;
	f->meta_hashes[at] = name_hash(f, l.name);
	f->meta.state[at] = COUNTS;
}

static void decode_meta(struct fields *f)
{
	struct label level = {STR("detected_level"), str_c(f->level)}, l;
	struct str at = f->meta_bytes;
	bool pending = f->level != NULL;

	f->meta.labels = f->meta_labels;
	f->meta.hashes = f->meta_hashes;
	f->meta.n = 0;
	if (at.n)
		labels_start(&at);
	while (f->meta.n < LABELS_MAX && labels_next(&at, &l)) {
		int order = pending ? str_cmp(l.name, level.name) : -1;
		if (order > 0)
			add_meta(f, level);
		pending &= order < 0; /* the metadata's own wins */
		add_meta(f, l);
		if (f->meta.n == BASE_MAX)
			break;
	}
	if (pending && f->meta.n < BASE_MAX)
		add_meta(f, level);
}

/* The index of the name, or SIZE_MAX. */
static size_t base_find(const struct base *b, struct str name, uint32_t hash)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->hashes[i] == hash && str_eq(b->labels[i].name, name))
			return i;
	return SIZE_MAX;
}

static void decode(struct fields *f)
{
	if (f->decoded)
		return;
	f->decoded = true;
	decode_stream(f);
	decode_meta(f);
	for (size_t i = 0; i < f->meta.n; i++) {
		size_t at = base_find(&f->stream, f->meta_labels[i].name, f->meta_hashes[i]);
		if (at != SIZE_MAX)
			f->stream.state[at] = SHADOWED;
	}
}

static bool base_remove(struct base *b, struct str name, uint32_t hash)
{
	size_t at = base_find(b, name, hash);

	if (at == SIZE_MAX)
		return false;
	b->state[at] = GONE;
	return true;
}

/* ---- slots ---- */

static void table_put(struct fields *f, size_t slot)
{
	size_t at = f->slots[slot].hash & (TABLE - 1);

	while (f->table[at].epoch == f->epoch)
		at = (at + 1) & (TABLE - 1);
	f->table[at] = (struct table_entry){f->epoch, (uint32_t)slot};
}

/* Forget the table, and make it again for the slots that there are. */
static void table_build(struct fields *f)
{
	if (!f->table) {
		f->table = xcalloc(TABLE, sizeof *f->table);
		charge(f, TABLE * sizeof *f->table);
	}
	if (++f->epoch == 0) {
		memset(f->table, 0, TABLE * sizeof *f->table);
		f->epoch = 1;
	}
	for (size_t i = 0; i < f->n_slots; i++)
		table_put(f, i);
}

static struct slot *slot_find(const struct fields *f, struct str name, uint32_t hash)
{
	if (f->n_slots <= SCANNED) {
		for (size_t i = 0; i < f->n_slots; i++)
			if (f->slots[i].hash == hash && str_eq(f->slots[i].label.name, name))
				return &f->slots[i];
		return NULL;
	}
	for (size_t at = hash & (TABLE - 1); f->table[at].epoch == f->epoch;
		at = (at + 1) & (TABLE - 1)) {
		struct slot *s = &f->slots[f->table[at].slot];
		if (s->hash == hash && str_eq(s->label.name, name))
			return s;
	}
	return NULL;
}

/* NULL when there are `limit` slots already. */
static struct slot *slot_add(struct fields *f, struct str name, uint32_t hash, size_t limit)
{
	if (f->n_slots >= limit)
		return NULL;
	if (f->n_slots == f->slots_cap) {
		size_t cap = f->slots_cap ? 2 * f->slots_cap : 32;
		charge(f, (cap - f->slots_cap) * sizeof *f->slots);
		f->slots = xrealloc(f->slots, cap * sizeof *f->slots);
		f->slots_cap = cap;
	}
	f->slots[f->n_slots] = (struct slot){{name, STR_NONE}, hash, false};
	f->n_slots++;
	if (f->n_slots == SCANNED + 1)
		table_build(f);
	else if (f->n_slots > SCANNED)
		table_put(f, f->n_slots - 1);
	return &f->slots[f->n_slots - 1];
}

/* ---- the row ---- */

void fields_begin(struct fields *f, struct str labels, struct str meta, const char *level)
{
	f->labels_bytes = labels;
	f->meta_bytes = meta;
	f->level = level;
	f->decoded = f->changed = false;
	f->n_slots = 0;
	f->error_slot = SIZE_MAX;
	f->n_pushed = 0;
	text_clear(f);
}

bool fields_find(struct fields *f, struct str name, struct str *value, enum field_kind *kind)
{
	uint32_t hash = name_hash(f, name);
	const struct slot *s = slot_find(f, name, hash);
	size_t at;

	if (s && s->live) {
		*value = s->label.value;
		*kind = FIELD_PARSED;
		return true;
	}
	decode(f);
	if ((at = base_find(&f->meta, name, hash)) != SIZE_MAX) {
		*value = f->meta.labels[at].value;
		*kind = FIELD_META;
		return f->meta.state[at] == COUNTS;
	}
	if ((at = base_find(&f->stream, name, hash)) == SIZE_MAX)
		return false;
	*value = f->stream.labels[at].value;
	*kind = FIELD_STREAM;
	return f->stream.state[at] == COUNTS;
}

bool fields_get(struct fields *f, struct str name, struct str *value)
{
	enum field_kind kind;
	struct str found;

	if (!fields_find(f, name, &found, &kind))
		return false;
	*value = found;
	return true;
}

/* Does the stream or the metadata have the name, even if a stage gave it another value? */
static bool base_has(struct fields *f, struct str name, uint32_t hash, bool live)
{
	size_t at;

	decode(f);
	if ((at = base_find(&f->stream, name, hash)) != SIZE_MAX &&
		(live || f->stream.state[at] != GONE))
		return true;
	return (at = base_find(&f->meta, name, hash)) != SIZE_MAX &&
	       (live || f->meta.state[at] != GONE);
}

static bool put(struct fields *f, struct slot *s, struct str name, uint32_t hash, struct str value)
{
	if (!s && !(s = slot_add(f, name, hash, FIELDS_MAX)))
		return false;
	s->label.value = value;
	s->live = true;
	f->changed = true;
	return true;
}

bool fields_parsed(struct fields *f, struct str name, struct str value)
{
	struct slot *s;
	uint32_t hash;
	char *longer;

	if (name.n == 0)
		return true;
	name = sanitise(f, name);
	hash = name_hash(f, name);
	s = slot_find(f, name, hash);
	if (base_has(f, name, hash, s && s->live) || is_error_name(name)) {
		longer = fields_text(f, name.n + strlen("_extracted"));
		memcpy(mempcpy(longer, name.p, name.n), "_extracted", strlen("_extracted"));
		name = str_make(longer, name.n + strlen("_extracted"));
		hash = name_hash(f, name);
		s = slot_find(f, name, hash);
		base_remove(&f->stream, name, hash);
		base_remove(&f->meta, name, hash);
	}
	if (s && s->live)
		return true;
	return put(f, s, name, hash, value);
}

bool fields_set(struct fields *f, struct str name, struct str value)
{
	uint32_t hash = name_hash(f, name);

	decode(f);
	if (!put(f, slot_find(f, name, hash), name, hash, value))
		return false;
	base_remove(&f->stream, name, hash);
	base_remove(&f->meta, name, hash);
	return true;
}

void fields_remove(struct fields *f, struct str name)
{
	uint32_t hash = name_hash(f, name);
	struct slot *s = slot_find(f, name, hash);

	decode(f);
	if (s && s->live) {
		s->live = false;
		f->changed = true;
	}
	f->changed |= base_remove(&f->stream, name, hash);
	f->changed |= base_remove(&f->meta, name, hash);
}

const struct label *fields_next(struct fields *f, size_t *at)
{
	size_t i;

	for (; *at < f->n_slots; (*at)++)
		if (f->slots[*at].live)
			return &f->slots[(*at)++].label;
	decode(f);
	for (; (i = *at - f->n_slots) < f->meta.n; (*at)++)
		if (f->meta.state[i] == COUNTS) {
			(*at)++;
			return &f->meta.labels[i];
		}
	for (; (i = *at - f->n_slots - f->meta.n) < f->stream.n; (*at)++)
		if (f->stream.state[i] == COUNTS) {
			(*at)++;
			return &f->stream.labels[i];
		}
	return NULL;
}

void fields_filter(
	struct fields *f, bool (*keep)(void *ctx, struct str name, struct str value), void *ctx)
{
	const struct label *l;
	size_t at = 0;

	while ((l = fields_next(f, &at)))
		if (!keep(ctx, l->name, l->value))
			fields_remove(f, l->name);
}

/* ---- errors ---- */

bool fields_failed(struct fields *f)
{
	return f->error_slot != SIZE_MAX && f->slots[f->error_slot].live;
}

static struct slot *error_put(struct fields *f, struct str name, struct str value)
{
	uint32_t hash = name_hash(f, name);
	struct slot *s = slot_find(f, name, hash);

	if (!s)
		s = slot_add(f, name, hash, SLOTS_MAX);
	assert(s); /* nothing but these two goes beyond FIELDS_MAX */
	decode(f);
	base_remove(&f->stream, name, hash);
	base_remove(&f->meta, name, hash);
	s->label.value = value;
	s->live = true;
	f->changed = true;
	return s;
}

void fields_fail(struct fields *f, const char *name, const char *fmt, ...)
{
	char *details;
	struct str word;
	size_t n = strlen(name);
	va_list ap;
	int r;

	if (fields_failed(f))
		return;
	/* The text is cut to what was written at the end: nobody else may take room meanwhile. */
	word = str_make(memcpy(fields_text(f, n), name, n), n);
	details = fields_text(f, DETAILS_MAX);
	va_start(ap, fmt);
	r = vsnprintf(details, DETAILS_MAX, fmt, ap);
	va_end(ap);
	assert(r >= 0);
	n = r < DETAILS_MAX ? (size_t)r : DETAILS_MAX - 1;
	f->text->used -= DETAILS_MAX - n;
	error_put(f, STR("__error_details__"), str_make(details, n));
	f->error_slot = (size_t)(error_put(f, STR("__error__"), word) - f->slots);
}

/* ---- push and pop ---- */

void fields_push(struct fields *f)
{
	struct pushed *p = &f->pushed[f->n_pushed];

	assert(f->n_pushed < PUSHED_MAX);
	f->n_pushed++;
	decode(f);
	if (p->cap < f->n_slots) {
		charge(f, (f->slots_cap - p->cap) * sizeof *p->slots);
		free(p->slots);
		p->slots = xmalloc(f->slots_cap * sizeof *p->slots);
		p->cap = f->slots_cap;
	}
	p->n = f->n_slots;
	if (p->n)
		memcpy(p->slots, f->slots, p->n * sizeof *p->slots);
	memcpy(p->stream, f->stream.state, f->stream.n);
	memcpy(p->meta, f->meta.state, f->meta.n);
	p->changed = f->changed;
}

void fields_pop(struct fields *f)
{
	const struct pushed *p;
	size_t had = f->n_slots;

	assert(f->n_pushed > 0);
	p = &f->pushed[--f->n_pushed];
	f->n_slots = p->n;
	if (p->n)
		memcpy(f->slots, p->slots, p->n * sizeof *p->slots);
	memcpy(f->stream.state, p->stream, f->stream.n);
	memcpy(f->meta.state, p->meta, f->meta.n);
	f->changed = p->changed;
	if (f->error_slot != SIZE_MAX && f->error_slot >= f->n_slots)
		f->error_slot = SIZE_MAX;
	if (had != f->n_slots && f->n_slots > SCANNED)
		table_build(f);
}

bool fields_changed(const struct fields *f)
{
	return f->changed;
}

/* ---- writing ---- */

static void put_pair(struct buf *out, const struct label *l)
{
	struct str name = str_sub(l->name, 0, WRITTEN_MAX),
		   value = str_sub(l->value, 0, WRITTEN_MAX);

	varint_put(out, name.n);
	buf_str(out, name);
	varint_put(out, value.n);
	buf_str(out, value);
}

/* The live slots by name, in f->order.  Insertion: their number is small, a line's names mostly
 * come in one of few orders, and moving two-byte indices is cheap even for the largest. */
static size_t sort_slots(struct fields *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n_slots; i++) {
		struct str name = f->slots[i].label.name;
		size_t low = 0, high = n;
		if (!f->slots[i].live)
			continue;
		if (n && str_cmp(f->slots[f->order[n - 1]].label.name, name) < 0)
			low = n;
		while (low < high) {
			size_t mid = (low + high) / 2;
			if (str_cmp(f->slots[f->order[mid]].label.name, name) < 0)
				low = mid + 1;
			else
				high = mid;
		}
		memmove(&f->order[low + 1], &f->order[low], (n - low) * sizeof *f->order);
		f->order[low] = (uint16_t)i;
		n++;
	}
	return n;
}

/* The labels of all kinds, by name. */
struct merge {
	struct fields *f;
	size_t slot, n_slots, meta, stream;
};

static struct merge merge_start(struct fields *f)
{
	decode(f);
	return (struct merge){.f = f, .n_slots = sort_slots(f)};
}

static void skip_hidden(const struct base *b, size_t *at)
{
	while (*at < b->n && b->state[*at] != COUNTS)
		(*at)++;
}

static const struct label *merge_next(struct merge *m)
{
	const struct label *best = NULL, *l;
	struct fields *f = m->f;
	size_t *from = NULL;

	skip_hidden(&f->meta, &m->meta);
	skip_hidden(&f->stream, &m->stream);
	if (m->slot < m->n_slots) {
		best = &f->slots[f->order[m->slot]].label;
		from = &m->slot;
	}
	if (m->meta < f->meta.n) {
		l = &f->meta.labels[m->meta];
		if (!best || str_cmp(l->name, best->name) < 0) {
			best = l;
			from = &m->meta;
		}
	}
	if (m->stream < f->stream.n) {
		l = &f->stream.labels[m->stream];
		if (!best || str_cmp(l->name, best->name) < 0) {
			best = l;
			from = &m->stream;
		}
	}
	if (from)
		(*from)++;
	return best;
}

static void write_base(const struct base *b, bool shadowed, struct buf *out)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		n += b->state[i] == COUNTS || (shadowed && b->state[i] == SHADOWED);
	varint_put(out, n);
	for (size_t i = 0; i < b->n; i++)
		if (b->state[i] == COUNTS || (shadowed && b->state[i] == SHADOWED))
			put_pair(out, &b->labels[i]);
}

static void write_stream(struct fields *f, struct buf *out)
{
	if (!f->changed && f->labels_bytes.n) {
		buf_str(out, f->labels_bytes);
		return;
	}
	decode(f);
	write_base(&f->stream, true, out);
}

static void write_meta(struct fields *f, struct buf *out)
{
	if (!f->changed && !f->level && f->meta_bytes.n) {
		buf_str(out, f->meta_bytes);
		return;
	}
	decode(f);
	write_base(&f->meta, false, out);
}

static void write_parsed(struct fields *f, struct buf *out)
{
	size_t n = sort_slots(f);

	varint_put(out, n);
	for (size_t i = 0; i < n; i++)
		put_pair(out, &f->slots[f->order[i]].label);
}

void fields_write(struct fields *f, enum field_kind kind, struct buf *out)
{
	switch (kind) {
	case FIELD_STREAM: write_stream(f, out); break;
	case FIELD_META: write_meta(f, out); break;
	case FIELD_PARSED: write_parsed(f, out); break;
	}
}

static size_t count(struct fields *f)
{
	size_t at = 0, n = 0;

	while (fields_next(f, &at))
		n++;
	return n;
}

void fields_write_all(struct fields *f, struct buf *out)
{
	const struct label *l;
	struct merge m;

	if (!f->changed && !f->level && f->meta_bytes.n <= 1 && f->labels_bytes.n) {
		buf_str(out, f->labels_bytes);
		return;
	}
	m = merge_start(f);
	varint_put(out, count(f));
	while ((l = merge_next(&m)))
		put_pair(out, l);
}

/* The count stands in front and is known at last; it is one byte nearly always. */
static void finish_count(struct buf *out, size_t at, size_t n)
{
	size_t extra = n < 0x80 ? 0 : n < 0x4000 ? 1 : 2, bytes = out->n - at - 1;
	char *p;

	buf_reserve(out, extra);
	p = out->p + at;
	memmove(p + 1 + extra, p + 1, bytes);
	out->n += extra;
	for (; n >= 0x80; n >>= 7)
		*p++ = (char)(n | 0x80);
	*p = (char)n;
}

void fields_project(struct fields *f, const struct grouping *g, struct buf *out)
{
	size_t at = out->n, n = 0;
	const struct label *l;
	struct label named;
	struct merge m;

	buf_char(out, 0);
	if (g->kind == GROUP_BY) {
		for (size_t i = 0; i < g->n; i++) {
			named.name = g->names[i];
			if (!fields_get(f, named.name, &named.value) || named.value.n == 0)
				continue;
			put_pair(out, &named);
			n++;
		}
	} else {
		m = merge_start(f);
		while ((l = merge_next(&m))) {
			if (l->value.n == 0 || !grouping_keeps(g, l->name))
				continue;
			put_pair(out, l);
			n++;
		}
	}
	finish_count(out, at, n);
}
