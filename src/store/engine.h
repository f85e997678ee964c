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
 * Besides it keeps itself in order: upkeep merges and cleans, drop lets go of
 * what is too old or too much.
 * Thread rule: write and publish by one thread, upkeep and drop by another;
 * view and publish under the store's lock; a view and its scans by any number
 * of threads.
 */
#include "record/batch.h"
#include "store/scan.h"
#include "store/visible.h"

struct engine;      /* each engine's own, begins with struct engine_base */
struct engine_view; /* what was visible at one moment, reference-counted */
struct engine_scan; /* each engine's own */

struct engine_figures {
	uint64_t parts, bytes, records, raw_bytes;
	uint64_t last_seq;   /* highest that it ever held, 0 for none */
	uint64_t gone_bytes; /* dropped or replaced, but kept on the disk by those who read them */
	uint64_t written_bytes; /* since it was opened, merges included */
	uint64_t cleaned;       /* highest deletion that was carried out in some of it */
	int64_t oldest_ns;      /* of its records; INT64_MAX for none */
};

/* What upkeep goes by. */
struct engine_upkeep {
	/* What is to leave the disk for good (NULL: nothing), and the highest deletion in it. */
	struct visibility *visibility;
	uint64_t cleaned;
	/* All of its deletions lie in here. */
	int64_t delete_from_ns, delete_to_ns;
	uint64_t delete_until_seq;
	int64_t min_age_ns; /* the smallest age of its rules, 0 for none */
	bool rules_changed; /* since the last call */
	int64_t now_ns;     /* a time that does not jump */
	int64_t mono_ns;
	uint64_t reserve_bytes; /* of the disk that merges leave free */
	uint64_t settled_seq;   /* runs that are written later lie above it */
	bool merge_off;         /* clean alone */
	const _Atomic bool *cancel;
};

/* What drop lets go of: everything whose newest record is older, then the oldest until so many
 * bytes have gone. */
struct engine_drop {
	int64_t before_ns; /* INT64_MIN: nothing by age */
	uint64_t bytes;
	const char *why; /* for the log: "age 30d", "size 80GiB" */
	/* Told of each run of sequences that went; may be NULL. */
	void (*dropped)(void *arg, uint64_t first_seq, uint64_t last_seq, uint64_t records);
	void *arg;
	/* Out. */
	uint64_t parts, records, dropped_bytes;
};

/* A deletion, as far as the engine knows it. */
struct engine_deletion {
	uint64_t id, until_seq;
	int64_t from_ns, to_ns;
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
	/* Is this sequence, or one in first..last, stored already, or was it and then dropped on
	 * purpose?  For recovery. */
	bool (*covers)(struct engine *g, uint64_t first_seq, uint64_t last_seq);
	void (*figures)(struct engine *g, struct engine_figures *out); /* under the store's lock */
	void (*dump)(struct engine *g, struct buf *out);               /* under the store's lock */
	/* One piece of what is due in the background: 1 it did one, 0 nothing is due.  It takes the
	 * store's lock to show what it made. */
	int (*upkeep)(struct engine *g, const struct engine_upkeep *u, struct error *e);
	int (*drop)(struct engine *g, struct engine_drop *d, struct error *e);
	/* Is nothing left on the disk that the deletion may hide?  By the thread of upkeep. */
	bool (*carried_out)(struct engine *g, const struct engine_deletion *d);

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
