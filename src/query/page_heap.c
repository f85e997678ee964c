/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A heap with the worst row at its top.  What once fell out of it is the floor:
 * nothing that comes behind it may come in again, as that would leave a gap.
 */
#include "query/page_heap.h"

#include <stdlib.h>

enum {
	HELD_BYTES = 16,       /* of malloc, per row */
	CHOOSE_MAX = 64 << 10, /* with more rows asked for, the best of a unit are not chosen */
};

static int charge(struct page_heap *h, uint64_t n, struct error *e)
{
	int r = run_charge(h->run, n, e);

	if (r == 0)
		h->charged += n;
	return r;
}

static bool before(const struct page_heap *h, struct moment a, struct moment b)
{
	if (a.time != b.time)
		return (a.time < b.time) == h->q->forward;
	return a.seq != b.seq && (a.seq < b.seq) == h->q->forward;
}

static uint64_t held_bytes(const struct held *x)
{
	return (uint64_t)x->body_n + x->meta_n + HELD_BYTES;
}

static void sift_up(struct page_heap *h, struct held x)
{
	size_t at = h->n++;

	for (; at && before(h, h->rows[(at - 1) / 2].at, x.at); at = (at - 1) / 2)
		h->rows[at] = h->rows[(at - 1) / 2];
	h->rows[at] = x;
}

static struct held pop(struct page_heap *h)
{
	struct held top = h->rows[0], last = h->rows[--h->n];
	size_t at = 0;

	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= h->n)
			break;
		if (child + 1 < h->n && before(h, h->rows[child].at, h->rows[child + 1].at))
			child++;
		if (!before(h, last.at, h->rows[child].at))
			break;
		h->rows[at] = h->rows[child];
		at = child;
	}
	h->rows[at] = last;
	return top;
}

static void drop(struct page_heap *h, struct held *x)
{
	h->bytes -= held_bytes(x);
	run_release(h->run, held_bytes(x));
	free(x->block);
}

static bool too_much(const struct page_heap *h)
{
	return h->n > h->q->rows || (h->n > 1 && h->bytes > h->q->bytes);
}

/* It is not told in this page, and nothing behind it is. */
static void fell_out(struct page_heap *h, struct moment at)
{
	if (!h->cut || before(h, at, h->floor))
		h->floor = at;
	h->cut = true;
}

bool page_heap_may_come(struct page_heap *h, struct moment at)
{
	const struct page_request *q = h->q;

	if (q->resume && !before(h, (struct moment){q->resume_ns, q->resume_seq}, at))
		return false;
	if (h->cut && !before(h, at, h->floor))
		return false;
	if (h->n < q->rows || before(h, at, h->rows[0].at))
		return true;
	fell_out(h, at);
	return false;
}

int page_heap_hold(struct page_heap *h, const struct rows *rows, uint32_t i, struct error *e)
{
	struct str body = rows->body && h->q->columns & (SCAN_BODY | SCAN_TEMPLATE) ? rows->body[i]
										    : STR_NONE;
	struct str meta = rows->meta ? rows->meta[i] : STR_NONE;
	struct held x = {.at = {rows->timestamp[i], rows->seq[i]},
		.body_n = (uint32_t)body.n,
		.meta_n = (uint32_t)meta.n,
		.severity = rows->severity[i],
		.flags = rows->flags[i]};
	size_t cap = h->cap ? 2 * h->cap : 256;
	int r;

	if ((r = page_tables_stream(h->tables, rows->streams[rows->stream[i]], &x.stream, e)) < 0 ||
		(r = run_charge(h->run, held_bytes(&x), e)) < 0)
		return r;
	h->bytes += held_bytes(&x);
	x.block = xmalloc(body.n + meta.n);
	if (body.n)
		memcpy(x.block, body.p, body.n);
	if (meta.n)
		memcpy(x.block + body.n, meta.p, meta.n);
	if (h->n == h->cap) {
		if ((r = charge(h, (cap - h->cap) * sizeof x, e)) < 0) {
			drop(h, &x);
			return r;
		}
		h->rows = xrealloc(h->rows, cap * sizeof x);
		h->cap = cap;
	}
	sift_up(h, x);
	while (too_much(h)) {
		struct held worst = pop(h);
		fell_out(h, worst.at);
		drop(h, &worst);
	}
	return 0;
}

/* --- the best of a unit --------------------------------------------------------------- */

int page_heap_choosing(struct page_heap *h, struct error *e)
{
	int r;

	if (h->q->rows > CHOOSE_MAX)
		return 0;
	if ((r = charge(h, h->q->rows * sizeof *h->best, e)) == 0)
		h->best = xcalloc(h->q->rows, sizeof *h->best);
	return r;
}

/* Put x in the place of the worst of `best`, or, growing, beside it. */
static void best_put(struct page_heap *h, struct moment x, bool grow)
{
	size_t at = 0;

	if (grow) {
		for (at = h->n_best++; at && before(h, h->best[(at - 1) / 2], x); at = (at - 1) / 2)
			h->best[at] = h->best[(at - 1) / 2];
		h->best[at] = x;
		return;
	}
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= h->n_best)
			break;
		if (child + 1 < h->n_best && before(h, h->best[child], h->best[child + 1]))
			child++;
		if (!before(h, x, h->best[child]))
			break;
		h->best[at] = h->best[child];
		at = child;
	}
	h->best[at] = x;
}

static struct moment moment_of(const struct rows *rows, uint32_t i)
{
	return (struct moment){rows->timestamp[i], rows->seq[i]};
}

size_t page_heap_choose(struct page_heap *h, const struct rows *rows, uint32_t *pick, size_t n)
{
	size_t kept = 0;

	if (!h->best || n <= h->q->rows)
		return n;
	h->n_best = 0;
	for (size_t at = 0; at < n; at++) {
		struct moment x = moment_of(rows, pick[at]);
		if (h->n_best < h->q->rows)
			best_put(h, x, true);
		else if (before(h, x, h->best[0]))
			best_put(h, x, false);
	}
	for (size_t at = 0; at < n; at++) {
		struct moment x = moment_of(rows, pick[at]);
		if (!before(h, h->best[0], x))
			pick[kept++] = pick[at];
		else
			fell_out(h, x);
	}
	return kept;
}

/* --- the end -------------------------------------------------------------------------- */

void page_heap_sort(struct page_heap *h)
{
	size_t n = h->n;

	/* The best first: the worst are taken from the top to the end. */
	while (h->n > 1) {
		struct held worst = pop(h);
		h->rows[h->n] = worst;
	}
	h->n = n;
}

void page_heap_fini(struct page_heap *h)
{
	for (size_t i = 0; i < h->n; i++)
		drop(h, &h->rows[i]);
	free(h->rows);
	free(h->best);
	run_release(h->run, h->charged);
}
