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
	const uint64_t *heads;
	size_t n;
	uint8_t state[BASE_MAX];
};

/* A stream met before. */
struct stream_kept {
	char *bytes;
	size_t n_bytes, cap;
	size_t n;
	struct label *labels; /* LABELS_MAX of them; views into bytes */
	uint64_t *heads;
	uint32_t *hashes;
};

struct slot {
	struct label label;
	uint64_t head; /* of the name: see name_head */
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
	uint64_t meta_heads[BASE_MAX];
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
	/* The slots by name, as of the last time they were written. */
	uint16_t order[SLOTS_MAX];
	size_t n_order;
	/* Scratch of the writers: no row has more labels that count. */
	const struct label *written[SLOTS_MAX + 2 * BASE_MAX];
	struct label named[SLOTS_MAX + 2 * BASE_MAX];
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
		free(f->kept[i].heads);
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

/* n is a constant. */
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

/* The first 8 bytes as a number that compares as they do, with zeros behind a shorter name: what
 * differs in it needs no look at the bytes. */
static uint64_t name_head(struct str name)
{
	const unsigned char *p = (const unsigned char *)name.p;
	size_t n = name.n;

	if (n >= 8)
		return __builtin_bswap64(load(name.p, 8));
	/* Loads of fixed sizes, which overlap: copying n bytes would be a call. */
	if (n >= 4)
		return (uint64_t)__builtin_bswap32((uint32_t)load(name.p, 4)) << 32 |
		       (uint64_t)__builtin_bswap32((uint32_t)load(name.p + n - 4, 4))
			       << (8 * (8 - n));
	if (n == 0)
		return 0;
	return (uint64_t)p[0] << 56 | (uint64_t)p[n / 2] << (56 - 8 * (n / 2)) |
	       (uint64_t)p[n - 1] << (56 - 8 * (n - 1));
}

static inline bool name_before(uint64_t head_a, struct str a, uint64_t head_b, struct str b)
{
	return head_a != head_b ? head_a < head_b : str_cmp(a, b) < 0;
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
		k->heads = xcalloc(LABELS_MAX, sizeof *k->heads);
		k->hashes = xcalloc(LABELS_MAX, sizeof *k->hashes);
		charge(f, LABELS_MAX * (sizeof *k->labels + sizeof *k->heads + sizeof *k->hashes));
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
	for (k->n = 0; k->n < LABELS_MAX && labels_next(&at, &k->labels[k->n]); k->n++) {
		k->heads[k->n] = name_head(k->labels[k->n].name);
		k->hashes[k->n] = name_hash(f, k->labels[k->n].name);
	}
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
	f->stream.heads = f->last->heads;
	f->stream.hashes = f->last->hashes;
	f->stream.n = f->last->n;
	memset(f->stream.state, COUNTS, f->stream.n);
}

static void add_meta(struct fields *f, struct label l)
{
	size_t at = f->meta.n++;

	assert(at < BASE_MAX);
	f->meta_labels[at] = l;
	f->meta_heads[at] = name_head(l.name);
	f->meta_hashes[at] = name_hash(f, l.name);
	f->meta.state[at] = COUNTS;
}

static void decode_meta(struct fields *f)
{
	struct label level = {STR("detected_level"), str_c(f->level)}, l;
	struct str at = f->meta_bytes;
	bool pending = f->level != NULL;

	f->meta.labels = f->meta_labels;
	f->meta.heads = f->meta_heads;
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
	f->slots[f->n_slots] = (struct slot){{name, STR_NONE}, name_head(name), hash, false};
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

static struct str cut(struct str s)
{
	return str_sub(s, 0, WRITTEN_MAX);
}

static inline char *put_length(char *p, size_t n)
{
	for (; n >= 0x80; n >>= 7)
		*p++ = (char)(n | 0x80);
	*p++ = (char)n;
	return p;
}

static inline char *put_text(char *p, struct str s)
{
	p = put_length(p, s.n);
	return s.n ? mempcpy(p, s.p, s.n) : p;
}

/* The set of labels that are in order already. */
static void write_set(const struct label *const *labels, size_t n, struct buf *out)
{
	size_t room = 3;
	char *p;

	for (size_t i = 0; i < n; i++)
		room += 6 + cut(labels[i]->name).n + cut(labels[i]->value).n;
	p = put_length(buf_reserve(out, room), n);
	for (size_t i = 0; i < n; i++) {
		p = put_text(p, cut(labels[i]->name));
		p = put_text(p, cut(labels[i]->value));
	}
	out->n = (size_t)(p - out->p);
}

static bool slot_before(const struct fields *f, size_t a, size_t b)
{
	const struct slot *x = &f->slots[a], *y = &f->slots[b];

	return name_before(x->head, x->label.name, y->head, y->label.name);
}

/* Does the order that the row before had still hold?  It names each slot once. */
static bool order_holds(const struct fields *f)
{
	if (f->n_order != f->n_slots)
		return false;
	for (size_t i = 0; i < f->n_slots; i++)
		if (!f->slots[f->order[i]].live ||
			(i && !slot_before(f, f->order[i - 1], f->order[i])))
			return false;
	return true;
}

/* The live slots by name into f->order.  Insertion: their number is small, a line's names mostly
 * come in the order of the line before, and moving two-byte indices is cheap even for the most. */
static size_t sort_slots(struct fields *f)
{
	size_t n = 0;

	if (order_holds(f))
		return f->n_slots;
	for (size_t i = 0; i < f->n_slots; i++) {
		size_t low = 0, high = n;
		if (!f->slots[i].live)
			continue;
		if (n && slot_before(f, f->order[n - 1], i))
			low = n;
		while (low < high) {
			size_t mid = (low + high) / 2;
			if (slot_before(f, f->order[mid], i))
				low = mid + 1;
			else
				high = mid;
		}
		memmove(&f->order[low + 1], &f->order[low], (n - low) * sizeof *f->order);
		f->order[low] = (uint16_t)i;
		n++;
	}
	/* With dead slots the order is no permutation of the slots, and not to be used again. */
	f->n_order = n == f->n_slots ? n : SIZE_MAX;
	return n;
}

/* The next of a base that counts, among those from *at on. */
static const struct label *base_at(const struct base *b, size_t *at, uint64_t *head)
{
	while (*at < b->n && b->state[*at] != COUNTS)
		++*at;
	if (*at == b->n)
		return NULL;
	*head = b->heads[*at];
	return &b->labels[*at];
}

/* All that counts by name, into f->written. */
static size_t merge(struct fields *f)
{
	size_t slot = 0, n_slots = sort_slots(f), meta = 0, stream = 0, n = 0;
	const struct label *m, *s;
	uint64_t m_head = 0, s_head = 0;

	decode(f);
	m = base_at(&f->meta, &meta, &m_head);
	s = base_at(&f->stream, &stream, &s_head);
	while (m || s) {
		bool from_meta = m && (!s || name_before(m_head, m->name, s_head, s->name));
		const struct label *l = from_meta ? m : s;
		uint64_t head = from_meta ? m_head : s_head;
		for (; slot < n_slots; slot++) {
			const struct slot *x = &f->slots[f->order[slot]];
			if (!name_before(x->head, x->label.name, head, l->name))
				break;
			f->written[n++] = &x->label;
		}
		f->written[n++] = l;
		if (from_meta) {
			meta++;
			m = base_at(&f->meta, &meta, &m_head);
		} else {
			stream++;
			s = base_at(&f->stream, &stream, &s_head);
		}
	}
	for (; slot < n_slots; slot++)
		f->written[n++] = &f->slots[f->order[slot]].label;
	return n;
}

static void write_base(struct fields *f, const struct base *b, bool shadowed, struct buf *out)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		if (b->state[i] == COUNTS || (shadowed && b->state[i] == SHADOWED))
			f->written[n++] = &b->labels[i];
	write_set(f->written, n, out);
}

static void write_stream(struct fields *f, struct buf *out)
{
	if (!f->changed && f->labels_bytes.n) {
		buf_str(out, f->labels_bytes);
		return;
	}
	decode(f);
	write_base(f, &f->stream, true, out);
}

static void write_meta(struct fields *f, struct buf *out)
{
	if (!f->changed && !f->level && f->meta_bytes.n) {
		buf_str(out, f->meta_bytes);
		return;
	}
	decode(f);
	write_base(f, &f->meta, false, out);
}

static void write_parsed(struct fields *f, struct buf *out)
{
	size_t n = sort_slots(f);

	for (size_t i = 0; i < n; i++)
		f->written[i] = &f->slots[f->order[i]].label;
	write_set(f->written, n, out);
}

void fields_write(struct fields *f, enum field_kind kind, struct buf *out)
{
	switch (kind) {
	case FIELD_STREAM: write_stream(f, out); break;
	case FIELD_META: write_meta(f, out); break;
	case FIELD_PARSED: write_parsed(f, out); break;
	}
}

void fields_write_all(struct fields *f, struct buf *out)
{
	size_t n;

	if (!f->changed && !f->level && f->meta_bytes.n <= 1 && f->labels_bytes.n) {
		buf_str(out, f->labels_bytes);
		return;
	}
	n = merge(f);
	write_set(f->written, n, out);
}

/* The names of the grouping are sorted: no order to be made. */
static void project_by(struct fields *f, const struct grouping *g, struct buf *out)
{
	size_t n = 0;

	for (size_t i = 0; i < g->n; i++) {
		struct label *l = &f->named[n];
		l->name = g->names[i];
		if (fields_get(f, l->name, &l->value) && l->value.n)
			f->written[n++] = l;
	}
	write_set(f->written, n, out);
}

void fields_project(struct fields *f, const struct grouping *g, struct buf *out)
{
	size_t n, kept = 0;

	if (g->kind == GROUP_BY) {
		project_by(f, g, out);
		return;
	}
	n = merge(f);
	for (size_t i = 0; i < n; i++)
		if (f->written[i]->value.n && (g->n == 0 || grouping_keeps(g, f->written[i]->name)))
			f->written[kept++] = f->written[i];
	write_set(f->written, kept, out);
}
