/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One scan of a view.  What view.c, view_scan.c, view_rows.c and withheld.c know of each other;
 * nobody else includes this.  One thread.
 */
#include "query/peers_core.h"
#include "query/source_local.h"

/* Rows of a page, and of its counts, when nobody knows better. */
enum { VIEW_FIRST_ROWS = 4096, VIEW_COUNTED_ROWS = 65536 };

#define VIEW_SEQ_MASK ((UINT64_C(1) << PEER_SEQ_SHIFT) - 1)

/* A record that the broker delivered again. */
struct withheld {
	int64_t timestamp;
	uint64_t seq;
	char *block; /* labels, metadata, body, key of the template */
	struct str labels, body, meta, key;
	size_t store; /* its number; 0: this one */
	uint8_t severity, flags;
	bool dropped;
};

struct view_scan {
	/* What it is a scan of. */
	struct source *own;
	struct snapshot *snapshot;
	struct peers *peers;
	struct scan *asked;
	/* Of this server's own records. */
	struct scan local;
	struct fetches fetches;
	struct buf query;            /* LogQL for the peers */
	bool test_filters;           /* the peers were not told of the filters */
	char (*seen)[INSTANCE_SIZE]; /* who answered, by number */
	struct withheld *withheld;
	size_t n_withheld, cap_withheld;
	uint64_t n_without_id; /* redelivered, and told all the same */
	uint64_t charged;
	/* The rows of a unit that are not withheld. */
	uint32_t *pick;
	size_t cap_pick;
};

/* --- view_scan.c ---------------------------------------------------------------------- */

/* Of this server's store and of all peers, each record once. */
int view_scan_all(struct source *own, struct snapshot *sn, struct peers *p, struct scan *asked,
	struct error *e);
/* Of the peer that `asked->only` names, by sequence numbers of its own. */
int view_scan_one(struct source *own, struct snapshot *sn, struct peers *p, struct scan *asked,
	struct error *e);
/* Charge n bytes to the scan's account until it ends; ERR_LIMIT. */
int view_charge(struct view_scan *v, uint64_t n, struct error *e);
void view_release(struct view_scan *v, uint64_t n); /* of it, earlier */
void view_warn(struct view_scan *v, const char *fmt, ...) PRINTF(2, 3);
/* The callbacks may have narrowed the time: for the pages that follow. */
void view_narrowed(struct view_scan *v);

/* --- view_rows.c ---------------------------------------------------------------------- */

/* The columns of rows that are told. */
struct view_columns {
	size_t n;
	struct rows rows;
	uint32_t *pick, *stream, *template;
	int64_t *timestamp;
	uint64_t *seq;
	struct str *body, *meta, *streams;
	uint8_t *severity, *flags;
	struct str *keys; /* of templates that are known; NULL: none is */
	struct template_table *table;
	const struct template **templates;
};

/* Room for n rows, whose streams are to be set by the caller. */
void view_columns_init(struct view_columns *c, size_t n, size_t n_streams);
void view_columns_fini(struct view_columns *c);
void view_columns_set(struct view_columns *c, size_t i, const struct record *x, uint64_t seq);
/* What n rows of n_streams streams are charged at. */
uint64_t view_columns_bytes(size_t n, size_t n_streams);
/* Hand the picked rows on, as the store would. */
int view_tell(struct view_scan *v, struct view_columns *c, struct error *e);
/* The rows, and the counts, of a page of peer number `store`. */
int view_tell_rows(struct view_scan *v, size_t store, const struct batch *b, struct error *e);
int view_tell_counts(
	struct view_scan *v, size_t store, const struct row_counts *counts, struct error *e);

/* --- withheld.c ----------------------------------------------------------------------- */

/* Withhold the rows of store number `store` that the broker delivered again; *rows is the rest
 * then. */
int withheld_sift(struct view_scan *v, size_t store, struct rows *rows, struct error *e);
/* At the end: tell those that no other store tells. */
int withheld_tell(struct view_scan *v, struct error *e);
void withheld_free(struct view_scan *v);
