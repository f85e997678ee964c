/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A cursor: reads committed records of a tenant in the order in which they
 * were committed, and remembers where it is.  For tails and outputs: call
 * cursor_next until it returns 0, then wait for a watch of the store.
 *
 * What is hidden (visible.h) is passed by, wherever it lies.
 * Reading from the head is cheap.  A cursor that has fallen behind the head
 * reads parts, whose rows are sorted by stream and time: it collects a window
 * of them, sorts it and holds it until it was delivered, or until cursor_fini.
 * Thread rule: a cursor belongs to one thread at a time.
 */
#include "store/store.h"

struct cursor_window;

struct cursor {
	struct store *store;
	struct str tenant;       /* borrowed for the life of the cursor */
	struct str source;       /* only records of this source, borrowed too; empty: all */
	uint64_t after_seq;      /* the last record that was delivered or passed by */
	struct account *account; /* what a window holds; may be NULL */
	uint64_t window_bytes;   /* a window holds at most so much; 0: what seems best */
	/* The cursor's own: zero at the start. */
	struct cursor_window *window;
	uint64_t window_seqs;
};

/* Deliver at most max_rows records behind after_seq, by ascending sequence within a call and
 * from call to call, and move the cursor.  Every column is there.  1 when something was
 * delivered, 0 at the end; the callback's error, and then the cursor has not moved past what
 * that call was for.  The callback returns 0 when it took all, or how many of the picked rows it
 * took, from the first on: the next call goes on behind those. */
int cursor_next(struct cursor *c, size_t max_rows, int (*rows)(void *ctx, const struct rows *rows),
	void *ctx, struct error *e);
/* Let go of what it holds: at its end, or when it will not be asked for long.  It may be used on.
 */
void cursor_fini(struct cursor *c);
