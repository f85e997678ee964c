/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools of values that recur (see pool.h).
 *
 * The last PLACES distinct values stand in a list, the latest used first.  A use
 * is a byte: the value's place in the list, from which it moves to the front, or
 * NEW, and the value is appended to the new values, takes the front, and the last
 * of a full list drops out.  (Moving what is used to the front made the whole of
 * eight logs 1.5 % smaller than a list in the order of first use.)  Values that
 * are kept have small numbers, their seats: moving a byte for each is cheap, and
 * half of all uses, those of new values, move none.
 *
 * References: a byte a use.  Values: a varint, how many there are, and a column of
 * the pool's kind and width (column_encode.c), which is left out when there are
 * none.  Texts are never ranks, so that they lie in the order in which they came,
 * one behind the other.  Numbers (SLOT_NUMBER) are in a pool of a width that is
 * the number of digits of the largest value of their column, but keep their own
 * digits.
 */
#include "store/lines/pool.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "codec/codec.h"
#include "store/lines/column_code.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
	PLACES = 255, /* 0 to 254 */
	NEW = 255,
	BUCKETS = 512,
	NO_SEAT = 255,
	STEP = 16,    /* bytes that are looked at, or moved, at a time */
	ORDER = 2048, /* uses of new values until the list is moved */
	WAITING = 512,
};

/* Seats by when their values were used last: order[end - 1 - place].  What is new is put behind the
 * end, so that the others need not move; now and then all go back to the start. */
struct recent {
	uint32_t n, end;
	uint8_t order[STEP + ORDER + STEP];
};

static void recent_clear(struct recent *r)
{
	r->n = 0;
	r->end = STEP;
}

/* The place of a seat that is taken.  Older bytes below the list are never reached. */
static inline uint32_t place_of(const struct recent *r, uint8_t seat)
{
	uint32_t at = r->end - 1;

#if defined(__SSE2__)
	const __m128i wanted = _mm_set1_epi8((char)seat);
	for (at = r->end - STEP;; at -= STEP) {
		__m128i x = _mm_loadu_si128((const __m128i *)(const void *)(r->order + at));
		unsigned equal = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, wanted));
		if (equal)
			return r->end - 1 - (at + 31 - (unsigned)__builtin_clz(equal));
	}
#endif
	while (r->order[at] != seat)
		at--;
	return r->end - 1 - at;
}

/* The seat at a place moves to the front. */
static inline uint8_t use_again(struct recent *r, uint32_t place)
{
	uint8_t *at = &r->order[r->end - 1 - place], seat = *at, bytes[STEP];

	/* The last step may reach beyond the end, where nothing is. */
	for (uint32_t i = 0; i < place; i += STEP, at += STEP) {
		memcpy(bytes, at + 1, STEP);
		memcpy(at, bytes, STEP);
	}
	r->order[r->end - 1] = seat;
	return seat;
}

/* The seat that a new value will get, when all are taken: that of the value used longest ago. */
static inline uint8_t oldest(const struct recent *r)
{
	return r->order[r->end - PLACES];
}

/* Seat a new value. */
static inline uint8_t take_seat(struct recent *r)
{
	uint8_t seat = r->n < PLACES ? (uint8_t)r->n++ : oldest(r);

	if (r->end == STEP + ORDER) {
		memmove(r->order + STEP, r->order + r->end - PLACES, PLACES);
		r->end = STEP + PLACES;
	}
	r->order[r->end++] = seat;
	return seat;
}

struct seat {
	uint64_t key;
	uint32_t value; /* its number */
	uint16_t bucket;
	uint8_t next; /* seat of the same bucket */
};

struct pool {
	struct column values;
	struct buf references;
	struct recent recent;
	uint8_t head[BUCKETS]; /* a seat of this hash */
	struct seat seats[PLACES];
	/* Integers wait until they are many: then finding them is not held up by their columns,
	 * which lie all over the memory. */
	uint32_t n_waiting;
	uint64_t waiting[WAITING];
};

/* Numbers keep their digits, whatever pool they are in. */
static struct column values_of(uint8_t kind, uint8_t width)
{
	return (struct column){.kind = kind, .width = kind == SLOT_NUMBER ? 0 : width};
}

struct pool *pool_new(uint8_t kind, uint8_t width)
{
	struct pool *p = xcalloc(1, sizeof(*p));

	p->values = values_of(kind, width);
	recent_clear(&p->recent);
	memset(p->head, NO_SEAT, sizeof(p->head));
	return p;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	column_fini(&p->values);
	buf_fini(&p->references);
	free(p);
}

/* What a value is found by: of integers the value itself, of others a hash. */
static inline uint64_t key_of(const struct column *c, uint32_t i)
{
	if (c->kind == SLOT_NUMBER)
		return c->number[i] | (uint64_t)c->digits[i] << 32;
	if (c->kind == SLOT_LONG)
		return c->number[i];
	return hash_stable(column_value(c, i));
}

/* Are values of one hash equal? */
static inline bool equal(const struct column *a, uint32_t i, const struct column *b, uint32_t j)
{
	return str_eq(column_value(a, i), column_value(b, j));
}

/* Take the value that a seat is about to lose out of its bucket. */
static void forget(struct pool *p, uint8_t seat)
{
	uint8_t *at = &p->head[p->seats[seat].bucket];

	while (*at != seat)
		at = &p->seats[*at].next;
	*at = p->seats[seat].next;
}

/* The reference to a value with this key, value i of c unless it is an integer.  NEW: it is to be
 * appended to the values. */
static inline uint8_t refer(struct pool *p, uint64_t key, const struct column *c, uint32_t i)
{
	uint16_t bucket = (uint16_t)(key * 0x9e3779b97f4a7c15 >> 55);
	struct recent *r = &p->recent;
	uint8_t seat;

	for (seat = p->head[bucket]; seat != NO_SEAT; seat = p->seats[seat].next) {
		if (p->seats[seat].key != key ||
			(c && !equal(c, i, &p->values, p->seats[seat].value)))
			continue;
		uint32_t place = place_of(r, seat);
		use_again(r, place);
		return (uint8_t)place;
	}
	if (r->n == PLACES)
		forget(p, oldest(r));
	seat = take_seat(r);
	p->seats[seat] = (struct seat){key, p->values.n, bucket, p->head[bucket]};
	p->head[bucket] = seat;
	return NEW;
}

/* The integers that wait. */
static void add_waiting(struct pool *p)
{
	struct column *v = &p->values;
	uint8_t *to = (uint8_t *)buf_reserve(&p->references, p->n_waiting);

	column_reserve(v, p->n_waiting);
	for (uint32_t k = 0; k < p->n_waiting; k++) {
		uint64_t key = p->waiting[k];
		to[k] = refer(p, key, NULL, 0);
		/* Overwritten unless it is new. */
		v->number[v->n] = v->digits ? (uint32_t)key : key;
		if (v->digits)
			v->digits[v->n] = (uint8_t)(key >> 32);
		v->n += to[k] == NEW;
	}
	p->references.n += p->n_waiting;
	p->n_waiting = 0;
}

void pool_add(struct pool *p, const struct column *c, uint32_t i)
{
	uint64_t key = key_of(c, i);
	uint8_t reference;

	assert(c->kind == p->values.kind && c->width == p->values.width);
	if (column_is_integer(c->kind)) {
		p->waiting[p->n_waiting++] = key;
		if (p->n_waiting == WAITING)
			add_waiting(p);
		return;
	}
	reference = refer(p, key, c, i);
	buf_char(&p->references, (char)reference);
	if (reference == NEW)
		column_append(&p->values, c, i, 1);
}

uint32_t pool_uses(const struct pool *p)
{
	return (uint32_t)p->references.n + p->n_waiting;
}

size_t pool_encode(struct pool *p, struct buf *references, struct buf *values)
{
	size_t at, plane = 0;

	add_waiting(p);
	buf_str(references, buf_view(&p->references));
	varint_put(values, p->values.n);
	at = values->n;
	if (p->values.n > 0) {
		column_encode_values(&p->values, NULL, values);
		plane = column_plane(&p->values, str_sub(buf_view(values), at, values->n));
	}
	buf_clear(&p->references);
	column_clear(&p->values);
	recent_clear(&p->recent);
	memset(p->head, NO_SEAT, sizeof(p->head));
	return plane;
}

int pool_decode_values(struct pool_view *out, uint8_t kind, uint8_t width, uint32_t n_uses,
	struct str values, struct error *e)
{
	struct pool_view v = {.values = values_of(kind, width), .n_uses = n_uses};
	uint64_t n;
	size_t used = varint_get(values, &n);
	int r;

	if (used == 0 || n > n_uses)
		return error_set(e, ERR_CORRUPT,
			"pool: has more values than its %u uses, or no number of values", n_uses);
	values = str_sub(values, used, values.n);
	/* A value that is equal to the one before is no new one, so each takes a byte at least. */
	if (n > values.n)
		return error_set(e, ERR_CORRUPT, "pool: %llu values cannot lie in %zu bytes",
			(unsigned long long)n, values.n);
	if (n == 0 && values.n > 0)
		return error_set(e, ERR_CORRUPT, "pool: has the bytes of values, but none");
	/* Others would not leave texts one behind the other. */
	if (kind == SLOT_TEXT && n > 1 && values.n > 0 && values.p[0] != COLUMN_PLANES)
		return error_set(e, ERR_CORRUPT, "pool: its texts are not one run of bytes");
	if (n > 0 && (r = column_decode(&v.values, values, NULL, (uint32_t)n, e)) < 0) {
		pool_view_fini(&v);
		return error_wrap(e, r, "pool");
	}
	*out = v;
	return 0;
}

int pool_decode_uses(struct pool_view *out, uint32_t n_uses, struct str references, struct error *e)
{
	struct recent r;
	uint32_t n = 0, value[PLACES], *use; /* which value is in a seat */

	if (references.n != n_uses)
		return error_set(e, ERR_CORRUPT, "pool: has %zu references, but %u uses",
			references.n, n_uses);
	use = xmalloc(n_uses * sizeof(*use));
	recent_clear(&r);
	for (uint32_t i = 0; i < n_uses; i++) {
		uint8_t place = (uint8_t)references.p[i];
		if (place == NEW)
			value[take_seat(&r)] = use[i] = n++;
		else if (place < r.n)
			use[i] = value[use_again(&r, place)];
		else
			goto fail;
	}
	if (n != out->values.n)
		goto fail;
	free(out->use);
	out->use = use;
	out->n_uses = n_uses;
	return 0;
fail:
	free(use);
	return error_set(e, ERR_CORRUPT,
		"pool: a reference to no place, or new ones do not fit the %u values",
		out->values.n);
}

int pool_decode(struct pool_view *out, uint8_t kind, uint8_t width, uint32_t n_uses,
	struct str references, struct str values, struct error *e)
{
	struct pool_view v;
	int r;

	if ((r = pool_decode_values(&v, kind, width, n_uses, values, e)) < 0)
		return r;
	if ((r = pool_decode_uses(&v, n_uses, references, e)) < 0) {
		pool_view_fini(&v);
		return r;
	}
	*out = v;
	return 0;
}

void pool_view_fini(struct pool_view *v)
{
	column_fini(&v->values);
	free(v->use);
	*v = (struct pool_view){0};
}
