/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What lies behind the journal: takes runs of committed batches out of the
 * head and answers scans over what it has taken.  store/parts is the first.
 *
 * The store moves a run in two steps: write makes it durable and shows
 * nothing; publish makes it visible at the very moment at which the store
 * takes the batches out of the head, under one lock, so that a snapshot sees a
 * record in one place.
 * Thread rule: write and publish by one thread; view and publish under the
 * store's lock; a view and its scans by any number of threads.
 */
#include "record/batch.h"
#include "store/scan.h"

struct engine;      /* each engine's own, begins with struct engine_base */
struct engine_view; /* what was visible at one moment, reference-counted */
struct engine_scan; /* each engine's own */

struct engine_figures {
	uint64_t parts, bytes, records, raw_bytes;
	uint64_t last_seq; /* highest that it holds, 0 for none */
};

struct engine_type {
	const char *name;
	void (*close)(struct engine *g);
	/* Make a run durable: batches of ascending, contiguous sequences, none empty. */
	int (*write)(struct engine *g, struct batch *const *batches, size_t n, struct error *e);
	/* Show what the last write made. */
	void (*publish)(struct engine *g);
	struct engine_view *(*view)(struct engine *g); /* returns a reference */
	void (*unref)(struct engine_view *v);
	/* Is this sequence, or one in first..last, stored already?  For recovery. */
	bool (*covers)(struct engine *g, uint64_t first_seq, uint64_t last_seq);
	void (*figures)(struct engine *g, struct engine_figures *out); /* under the store's lock */
	void (*dump)(struct engine *g, struct buf *out);               /* under the store's lock */

	/* A scan hands out units in the order the scan asks for: peek tells the next unit's key
	 * (unit_key), read reads it and calls scan->rows.  1 there is one, 0 at the end. */
	int (*scan_begin)(struct engine_view *v, struct scan *scan, uint64_t until_seq,
		struct engine_scan **out, struct error *e);
	int (*scan_peek)(struct engine_scan *es, uint64_t *key, struct error *e);
	int (*scan_read)(struct engine_scan *es, struct error *e);
	void (*scan_end)(struct engine_scan *es); /* NULL is fine */
	int (*streams)(struct engine_view *v, struct str tenant, int64_t from_ns, int64_t to_ns,
		void (*stream)(void *ctx, struct str labels), void *ctx, struct error *e);
};

/* The head of every engine's own struct. */
struct engine_base {
	const struct engine_type *type;
};

static inline const struct engine_type *engine_type(const struct engine *g)
{
	return ((const struct engine_base *)g)->type;
}
