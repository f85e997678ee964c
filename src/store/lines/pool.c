/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools of values that recur (see pool.h).
 *
 * The last PLACES distinct values stand in a list, the latest used first.  A use
 * is a byte: the value's place in the list, from which it moves to the front, or
 * NEW, and the value is appended to the new values, takes the front, and the last
 * of a full list drops out.  (Moving what is used to the front made the whole of
 * eight logs 1.5 % smaller than a list in the order of first use.)  Values that
 * are kept have small numbers, their seats: moving a byte for each is cheap.
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

enum {
	PLACES = 255, /* 0 to 254 */
	NEW = 255,
	BUCKETS = 512,
	NO_SEAT = 255,
};

/* Seats by when their values were used last. */
struct recent {
	uint32_t n;
	uint8_t order[PLACES];
	uint32_t value[PLACES]; /* number of the value in a seat */
};

struct pool {
	struct column values;
	struct buf references;
	struct recent recent;
	uint8_t head[BUCKETS]; /* a seat of this hash */
	uint8_t next[PLACES];  /* another one of the same hash */
	uint16_t bucket[PLACES];
	uint64_t key[PLACES];
};

/* The seat at a place moves to the front. */
static void use_again(struct recent *r, uint32_t place)
{
	uint8_t seat = r->order[place];

	memmove(r->order + 1, r->order, place);
	r->order[0] = seat;
}

/* Seat a new value; when all seats are taken, that of the value used longest ago. */
static uint8_t take_seat(struct recent *r, uint32_t value)
{
	if (r->n < PLACES) {
		r->order[r->n] = (uint8_t)r->n;
		r->n++;
	}
	use_again(r, r->n - 1);
	r->value[r->order[0]] = value;
	return r->order[0];
}

/* Numbers keep their digits, whatever pool they are in. */
static struct column values_of(uint8_t kind, uint8_t width)
{
	return (struct column){.kind = kind, .width = kind == SLOT_NUMBER ? 0 : width};
}

struct pool *pool_new(uint8_t kind, uint8_t width)
{
	struct pool *p = xcalloc(1, sizeof(*p));

	p->values = values_of(kind, width);
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
	size_t bytes;

	if (c->kind == SLOT_NUMBER)
		return c->number[i] | (uint64_t)c->digits[i] << 32;
	if (c->kind == SLOT_LONG)
		return c->number[i];
	if (c->kind == SLOT_TEXT)
		return hash_stable(c->text[i]);
	bytes = column_bytes(c->kind, c->width);
	return hash_stable(str_make(c->binary + i * bytes, bytes));
}

/* Are values of one key equal? */
static inline bool equal(const struct column *a, uint32_t i, const struct column *b, uint32_t j)
{
	size_t bytes;

	if (column_is_integer(a->kind))
		return true;
	if (a->kind == SLOT_TEXT)
		return str_eq(a->text[i], b->text[j]);
	bytes = column_bytes(a->kind, a->width);
	return memcmp(a->binary + i * bytes, b->binary + j * bytes, bytes) == 0;
}

/* column_append of one value, quickly for integers, of which there are most. */
static inline void append(struct column *c, const struct column *from, uint32_t i)
{
	if (!column_is_integer(c->kind)) {
		column_append(c, from, i, 1);
		return;
	}
	column_reserve(c, 1);
	c->number[c->n] = from->number[i];
	if (c->digits)
		c->digits[c->n] = from->digits[i];
	c->n++;
}

/* Take the value that a seat is about to lose out of its bucket. */
static void forget(struct pool *p, uint8_t seat)
{
	uint8_t *at = &p->head[p->bucket[seat]];

	while (*at != seat)
		at = &p->next[*at];
	*at = p->next[seat];
}

void pool_add(struct pool *p, const struct column *c, uint32_t i)
{
	uint64_t key = key_of(c, i);
	uint16_t bucket = (uint16_t)(key * 0x9e3779b97f4a7c15 >> 55);
	struct recent *r = &p->recent;
	uint8_t seat;

	assert(c->kind == p->values.kind && c->width == p->values.width);
	for (seat = p->head[bucket]; seat != NO_SEAT; seat = p->next[seat]) {
		if (p->key[seat] != key || !equal(c, i, &p->values, r->value[seat]))
			continue;
		const uint8_t *place = memchr(r->order, seat, r->n);
		uint32_t at = (uint32_t)(place - r->order);
		buf_char(&p->references, (char)at);
		use_again(r, at);
		return;
	}
	if (r->n == PLACES)
		forget(p, r->order[PLACES - 1]);
	seat = take_seat(r, p->values.n);
	p->key[seat] = key;
	p->bucket[seat] = bucket;
	p->next[seat] = p->head[bucket];
	p->head[bucket] = seat;
	buf_char(&p->references, (char)NEW);
	append(&p->values, c, i);
}

uint32_t pool_uses(const struct pool *p)
{
	return (uint32_t)p->references.n;
}

void pool_encode(struct pool *p, struct buf *references, struct buf *values)
{
	buf_str(references, buf_view(&p->references));
	varint_put(values, p->values.n);
	if (p->values.n > 0)
		column_encode_values(&p->values, NULL, values);
	buf_clear(&p->references);
	column_clear(&p->values);
	p->recent.n = 0;
	memset(p->head, NO_SEAT, sizeof(p->head));
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
	struct recent r = {0};
	uint32_t n = 0, *use;

	if (references.n != n_uses)
		return error_set(e, ERR_CORRUPT, "pool: has %zu references, but %u uses",
			references.n, n_uses);
	use = xmalloc(n_uses * sizeof(*use));
	for (uint32_t i = 0; i < n_uses; i++) {
		uint8_t place = (uint8_t)references.p[i];
		if (place == NEW)
			take_seat(&r, n++);
		else if (place < r.n)
			use_again(&r, place);
		else
			goto fail;
		use[i] = r.value[r.order[0]];
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
