/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The head: committed batches that no part holds yet, in sequence order.
 *
 * Batches lie in chunks.  A chunk is shared by reference with snapshots; it
 * only grows, and a snapshot remembers how far it had grown.  The builder
 * takes whole chunks, so the newest is sealed before it is taken.
 * Thread rule: everything on a struct head under the store's lock; a view is
 * read by any thread.
 */
#include "record/batch.h"

enum { HEAD_CHUNK = 64 };

struct head_chunk {
	_Atomic uint32_t refs;
	/* Written under the store's lock; entries below a view's count never change. */
	uint32_t n;
	uint64_t bytes, records;
	int64_t born_mono_ns;
	struct batch *batches[HEAD_CHUNK];
};

struct head {
	struct head_chunk **chunks; /* oldest first */
	size_t n, cap;
	bool sealed; /* the newest takes no more */
	uint64_t bytes, records;
};

struct head_view {
	size_t n;      /* chunks */
	uint32_t last; /* batches of the newest chunk that belong to it */
	struct head_chunk *chunks[];
};

void head_fini(struct head *h);
/* Takes the reference.  Chunks are sealed at chunk_bytes. */
void head_append(struct head *h, struct batch *b, uint64_t chunk_bytes, int64_t mono_ns);
struct head_view *head_view(const struct head *h);
void head_view_free(struct head_view *v);
/* Let go of all chunks but the one with the first record behind after_seq, and tell the last
 * sequence of it; there must be one. */
uint64_t head_view_narrow(struct head_view *v, uint64_t after_seq);
static inline uint32_t head_view_count(const struct head_view *v, size_t chunk)
{
	return chunk + 1 < v->n ? v->chunks[chunk]->n : v->last;
}
/* The oldest chunks, sealed, that make a run of contiguous sequences of at least `bytes`, or
 * all there are: how many.  *out is a new array of borrowed batches, *n_out of them. */
size_t head_run(struct head *h, uint64_t bytes, struct batch ***out, size_t *n_out);
/* Drop the n oldest chunks. */
void head_drop(struct head *h, size_t n);
/* Sequence of the first record, 0 when empty. */
uint64_t head_first_seq(const struct head *h);
/* The batch that holds the first record behind after_seq: a reference, or NULL. */
struct batch *head_find(const struct head *h, uint64_t after_seq);
