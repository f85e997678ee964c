/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A pool: values of a block of one kind and width that recur, over all templates
 * and slots, in the order of the lines and of the slots in a line.  A value that
 * came up not long ago costs one byte: its place among the last 255 distinct ones,
 * the latest used first.
 *
 * Encoded as two byte strings, which compress apart: the references (a byte a
 * use: 255 is new, else the place), and the new values.
 * Thread rule: a pool belongs to its thread.
 */
#include "store/lines/column.h"

struct pool;

struct pool *pool_new(uint8_t kind, uint8_t width);
void pool_free(struct pool *p);
/* Add value i of a column of the pool's kind and width. */
void pool_add(struct pool *p, const struct column *c, uint32_t i);
uint32_t pool_uses(const struct pool *p);
/* Append both strings; the pool is empty after.  Returns column_plane of the values. */
size_t pool_encode(struct pool *p, struct buf *references, struct buf *values);

/* The decoded pool: which value each use is of, and the values. */
struct pool_view {
	struct column values; /* the distinct ones, as they came new */
	uint32_t *use;        /* use -> index into values */
	uint32_t n_uses;
};
int pool_decode(struct pool_view *out, uint8_t kind, uint8_t width, uint32_t n_uses,
	struct str references, struct str values, struct error *e);
/* In two steps: a search looks at the values first, and most often needs no more.  The values'
 * string begins with their number (varint), so that it is decoded without the references; text is
 * one run of bytes in values.bytes, in order, so that it can be searched as one.  Uses then fill
 * the rest of *out; the references tell as many new values as there are. */
int pool_decode_values(struct pool_view *out, uint8_t kind, uint8_t width, uint32_t n_uses,
	struct str values, struct error *e);
int pool_decode_uses(
	struct pool_view *out, uint32_t n_uses, struct str references, struct error *e);
void pool_view_fini(struct pool_view *v);
