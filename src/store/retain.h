/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How long records stay: retention by size, age and rule, and deletions that
 * somebody asked for.
 *
 * Both take effect at once in answers (visible.h).  The disk follows: whole
 * parts are dropped, and parts that are hidden in part are written anew by the
 * merger.  Size counts everything under the data folder; when it passes the
 * limit, parts go, those with the oldest day first.  Every part that retention
 * drops is logged and counted.
 */
#include "store/store.h"

struct retention_rule {
	struct str match; /* selector */
	int64_t age_ns;
};

struct retention {
	uint64_t size_bytes;                /* 0: by size_percent */
	unsigned size_percent;              /* of own bytes + free bytes; 0: no limit by size */
	int64_t age_ns;                     /* 0: none */
	const struct retention_rule *rules; /* the first that matches a stream counts, before age */
	size_t n_rules;
	/* A deletion is carried out after it, and can be taken back until then. */
	int64_t delete_wait_ns;
};

/* Any thread; copies.  ERR_ARG: a selector that
 * cannot be parsed.  Holds from now on; records that are older than their age are refused by the
 * store's sink from now on, told and counted. */
int store_retain(struct store *s, const struct retention *r, struct error *e);
/* Where size stands: bytes of its own, the limit (0 none). */
void store_size(struct store *s, uint64_t *own, uint64_t *limit);

enum deletion_state { DELETION_ACTIVE, DELETION_DONE };

struct deletion {
	uint64_t id;
	struct str tenant, selector; /* of streams, and of lines by its filters */
	int64_t from_ns, to_ns;      /* half open */
	int64_t created_ns;
	uint64_t until_seq; /* records committed later are not touched; set by store_delete */
	enum deletion_state state; /* DONE: nothing of it is left on the disk */
};

/* Hide what matches and have it removed.  Durable when it returns 0, with *id.  ERR_ARG. */
int store_delete(struct store *s, const struct deletion *d, uint64_t *id, struct error *e);
/* Those of a tenant (empty: of all), oldest first.  Views are valid for the call. */
void store_deletions(struct store *s, struct str tenant,
	void (*each)(void *ctx, const struct deletion *d), void *ctx);
/* Take back a deletion that is not carried out: ERR_NOT_FOUND; ERR_BUSY when the merger has begun.
 */
int store_delete_cancel(struct store *s, struct str tenant, uint64_t id, struct error *e);
/* Wait until no merge or cleaning is due that can be done now.  For benches and tests: ERR_CLOSED
 * when the store closes, or why the last one failed. */
int store_settle(struct store *s, struct error *e);
