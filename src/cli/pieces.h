/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The pieces of a file, as pages of /sawlog/api/v1/cat bring them, put in
 * order.  A piece may come a little before its turn: it waits until the bytes
 * before it are there, or until it is clear that they will not come.  One
 * thread.
 */
#include "base/buf.h"
#include "base/error.h"

struct pieces_gap {
	uint64_t from, to;
	char *why;
};

struct pieces_item {
	uint64_t offset, length; /* in the file */
	char *bytes;
	size_t n; /* other than length where the file's own bytes are not known */
	bool redacted;
};

/* Set the first three, the rest zeroed. */
struct pieces {
	int (*write)(void *ctx, struct str bytes, struct error *e); /* the next bytes */
	/* Before what follows is written: n bytes at this offset are missing. */
	void (*hole)(void *ctx, uint64_t offset, uint64_t n, const char *why);
	void *ctx;
	uint64_t at;               /* in the file: what is behind was written or is missing */
	struct pieces_item *items; /* that wait, by offset */
	size_t n_items, cap_items, waiting_bytes;
	struct pieces_gap *gaps; /* that the server told of, behind `at` */
	size_t n_gaps, cap_gaps;
};

void pieces_fini(struct pieces *p);
/* Take a page.  *next is its cursor, a view of the page, empty at the end.  ERR_NET when it makes
 * no sense; what `write` returns below 0. */
int pieces_page(struct pieces *p, struct str page, struct str *next, struct error *e);
/* Nothing will come: write what waits. */
int pieces_end(struct pieces *p, struct error *e);
