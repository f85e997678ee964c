/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The rows of a page of a scan: the best ones seen so far in the asked order,
 * bounded by rows and by bytes.  What they hold is charged to the run.  One
 * thread; internal to scan_page.c.
 */
#include "query/page_tables.h"

/* A row's place in the order. */
struct moment {
	int64_t time;
	uint64_t seq;
};

/* A row of the page: its line and metadata are one block. */
struct held {
	struct moment at;
	char *block;
	uint32_t body_n, meta_n, stream;
	uint8_t severity, flags;
};

struct page_heap {
	/* Set by the owner. */
	struct run *run;
	const struct page_request *q;
	struct page_tables *tables;
	/* Private but for reading. */
	struct held *rows; /* the worst first */
	size_t n, cap;
	uint64_t bytes;
	bool cut; /* some fell out: floor is the best of these */
	struct moment floor;
	struct moment *best; /* of a unit, the worst first; NULL: they are not chosen */
	size_t n_best;
	uint64_t charged;
};

/* Is there room for this moment, as far as is known? */
bool page_heap_may_come(struct page_heap *h, struct moment at);
/* Keep row i; what there is no room for then falls out. */
int page_heap_hold(struct page_heap *h, const struct rows *rows, uint32_t i, struct error *e);
/* Have page_heap_choose choose, where it pays. */
int page_heap_choosing(struct page_heap *h, struct error *e);
/* Of the rows of a unit, none of which anything but the page's size drops, those that may be told:
 * moved to the front of `pick`. */
size_t page_heap_choose(struct page_heap *h, const struct rows *rows, uint32_t *pick, size_t n);
/* In the asked order, at last: nothing comes any more. */
void page_heap_sort(struct page_heap *h);
void page_heap_fini(struct page_heap *h);
