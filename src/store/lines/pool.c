/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools of long values (see pool.h).
 *
 * New values are numbered as they come.  A value is found by its hash in chains
 * that begin with the latest number and go back; a chain ends at the first number
 * that is older than a reference can reach, so nothing is ever removed from them.
 * An old value that comes up again is new again.
 *
 * References: a byte a use, 255 or the age of the value, 0 for the newest.  Values:
 * a varint, how many there are, and a column of the pool's kind and width
 * (column_encode.c), which is left out when there are none.  Texts are never ranks,
 * so that they lie in the order in which they came, one behind the other.
 */
#include "store/lines/pool.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"
#include "codec/codec.h"
#include "store/lines/column_code.h"

enum {
	REACH = 254, /* ages 0 to 253 */
	NEW = 255,
	HEADS = 1024,
	LINKS = 256, /* the numbers that can be reached, by their low byte */
};

struct pool {
	struct column values;
	struct buf references;
	uint32_t head[HEADS]; /* 1 + number of the latest value of a hash, 0 none */
	uint32_t link[LINKS]; /* the one of the same hash before it */
};

struct pool *pool_new(uint8_t kind, uint8_t width)
{
	struct pool *p = xcalloc(1, sizeof(*p));

	p->values.kind = kind;
	p->values.width = width;
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

static uint64_t hash_value(const struct column *c, uint32_t i)
{
	const uint64_t odd = 0x9e3779b97f4a7c15;
	size_t bytes = column_bytes(c->kind, c->width);
	const uint8_t *p;
	uint64_t v;

	if (c->kind == SLOT_TEXT)
		return hash_stable(c->text[i]) * odd;
	if (column_is_integer(c->kind))
		return c->number[i] * odd;
	p = c->binary + i * bytes;
	if (bytes > sizeof(v))
		return hash_stable(str_make(p, bytes)) * odd;
	v = 0;
	memcpy(&v, p, bytes);
	return v * odd;
}

static bool equal(const struct column *a, uint32_t i, const struct column *b, uint32_t j)
{
	size_t bytes = column_bytes(a->kind, a->width);

	if (a->kind == SLOT_TEXT)
		return str_eq(a->text[i], b->text[j]);
	if (column_is_integer(a->kind))
		return a->number[i] == b->number[j];
	return memcmp(a->binary + i * bytes, b->binary + j * bytes, bytes) == 0;
}

void pool_add(struct pool *p, const struct column *c, uint32_t i)
{
	uint32_t *head = &p->head[hash_value(c, i) >> 54], n = p->values.n, at;

	assert(c->kind == p->values.kind && c->width == p->values.width);
	for (at = *head; at > 0 && n - at < REACH; at = p->link[(at - 1) % LINKS]) {
		if (equal(c, i, &p->values, at - 1)) {
			buf_char(&p->references, (char)(n - at));
			return;
		}
	}
	p->link[n % LINKS] = *head;
	*head = n + 1;
	buf_char(&p->references, (char)NEW);
	column_append(&p->values, c, i, 1);
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
	memset(p->head, 0, sizeof(p->head));
}

int pool_decode_values(struct pool_view *out, uint8_t kind, uint8_t width, uint32_t n_uses,
	struct str values, struct error *e)
{
	struct pool_view v = {.values = {.kind = kind, .width = width}, .n_uses = n_uses};
	uint64_t n;
	size_t used = varint_get(values, &n);
	int r;

	if (used == 0 || n > n_uses)
		return error_set(e, ERR_CORRUPT,
			"pool: has more values than its %u uses, or no number of values", n_uses);
	values = str_sub(values, used, values.n);
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
	uint32_t n = 0, *use;

	if (references.n != n_uses)
		return error_set(e, ERR_CORRUPT, "pool: has %zu references, but %u uses",
			references.n, n_uses);
	use = xmalloc(n_uses * sizeof(*use));
	for (uint32_t i = 0; i < n_uses; i++) {
		uint8_t age = (uint8_t)references.p[i];
		if (age == NEW) {
			age = 0;
			n++;
		} else if (age >= n || age >= REACH) {
			goto fail;
		}
		use[i] = n - 1 - age;
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
		"pool: a reference goes back too far, or new ones do not fit the %u values",
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
