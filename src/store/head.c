/* SPDX-License-Identifier: Apache-2.0 */
#include "store/head.h"

#include <assert.h>
#include <stdlib.h>

static void chunk_unref(struct head_chunk *c)
{
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (uint32_t i = 0; i < c->n; i++)
		batch_unref(c->batches[i]);
	free(c);
}

void head_fini(struct head *h)
{
	head_drop(h, h->n);
	free(h->chunks);
	*h = (struct head){0};
}

static uint64_t end_seq(const struct batch *b)
{
	return batch_first_seq(b) + batch_count(b);
}

/* A run must not span a hole in the sequences: a part may already hold what is in the hole. */
static bool follows(const struct head_chunk *c, const struct batch *b)
{
	return c->n == 0 || end_seq(c->batches[c->n - 1]) == batch_first_seq(b);
}

void head_append(struct head *h, struct batch *b, uint64_t chunk_bytes, int64_t mono_ns)
{
	struct head_chunk *c = h->n > 0 && !h->sealed ? h->chunks[h->n - 1] : NULL;
	uint64_t bytes = batch_bytes(b).n;

	assert(batch_count(b) > 0);
	if (!c || c->n == HEAD_CHUNK || c->bytes + bytes > chunk_bytes || !follows(c, b)) {
		if (h->n == h->cap) {
			h->cap = h->cap ? h->cap * 2 : 16;
			h->chunks = xrealloc(h->chunks, h->cap * sizeof(struct head_chunk *));
		}
		c = xcalloc(1, sizeof *c);
		c->refs = 1;
		c->born_mono_ns = mono_ns;
		h->chunks[h->n++] = c;
		h->sealed = false;
	}
	c->batches[c->n++] = b;
	c->bytes += bytes;
	c->records += batch_count(b);
	h->bytes += bytes;
	h->records += batch_count(b);
}

struct head_view *head_view(const struct head *h)
{
	struct head_view *v = xmalloc(sizeof *v + h->n * sizeof(struct head_chunk *));

	v->n = h->n;
	v->last = h->n > 0 ? h->chunks[h->n - 1]->n : 0;
	for (size_t i = 0; i < h->n; i++) {
		v->chunks[i] = h->chunks[i];
		atomic_fetch_add_explicit(&v->chunks[i]->refs, 1, memory_order_relaxed);
	}
	return v;
}

void head_view_free(struct head_view *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n; i++)
		chunk_unref(v->chunks[i]);
	free(v);
}

uint64_t head_view_narrow(struct head_view *v, uint64_t after_seq)
{
	struct head_chunk *kept;
	uint64_t last_seq = 0;
	size_t at = 0;

	for (;; at++) {
		uint32_t n = head_view_count(v, at);
		const struct batch *b = v->chunks[at]->batches[n - 1];

		last_seq = batch_first_seq(b) + batch_count(b) - 1;
		if (last_seq > after_seq || at + 1 == v->n)
			break;
	}
	v->last = head_view_count(v, at);
	kept = v->chunks[at];
	for (size_t i = 0; i < v->n; i++)
		if (i != at)
			chunk_unref(v->chunks[i]);
	v->chunks[0] = kept;
	v->n = 1;
	return last_seq;
}

size_t head_run(struct head *h, uint64_t bytes, struct batch ***out, size_t *n_out)
{
	struct batch **batches = NULL;
	uint64_t held = 0;
	size_t n = 0, k = 0;

	for (; n < h->n && held < bytes; n++) {
		const struct head_chunk *c = h->chunks[n];

		if (n > 0 && !follows(h->chunks[n - 1], c->batches[0]))
			break;
		batches = xrealloc(batches, (k + c->n) * sizeof *batches);
		memcpy(batches + k, c->batches, c->n * sizeof *batches);
		k += c->n;
		held += c->bytes;
	}
	if (n > 0 && n == h->n)
		h->sealed = true;
	*out = batches;
	*n_out = k;
	return n;
}

void head_drop(struct head *h, size_t n)
{
	assert(n <= h->n);
	for (size_t i = 0; i < n; i++) {
		h->bytes -= h->chunks[i]->bytes;
		h->records -= h->chunks[i]->records;
		chunk_unref(h->chunks[i]);
	}
	if (n > 0)
		memmove(h->chunks, h->chunks + n, (h->n - n) * sizeof(struct head_chunk *));
	h->n -= n;
}

uint64_t head_first_seq(const struct head *h)
{
	return h->n > 0 ? batch_first_seq(h->chunks[0]->batches[0]) : 0;
}

struct batch *head_find(const struct head *h, uint64_t after_seq)
{
	size_t lo = 0, hi = h->n;
	const struct head_chunk *c;

	/* The first chunk that ends behind after_seq. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		c = h->chunks[mid];
		if (end_seq(c->batches[c->n - 1]) - 1 <= after_seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == h->n)
		return NULL;
	c = h->chunks[lo];
	for (uint32_t i = 0; i < c->n; i++)
		if (end_seq(c->batches[i]) - 1 > after_seq)
			return batch_ref(c->batches[i]);
	return NULL;
}
