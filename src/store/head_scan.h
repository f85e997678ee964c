/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Scanning the batches of a head.  A batch is handed on in slices, so that a
 * batch of a million records needs no more memory for its columns than a block
 * does.
 * Thread rule: the scan's thread.
 */
#include "store/head.h"
#include "store/unit.h"

struct head_scan;

/* Borrows the view and the scan. */
int head_scan_begin(const struct head_view *v, struct scan *scan, uint64_t until_seq,
	struct head_scan **out, struct error *e);
/* 1 and the key of the next unit (unit_key), 0 at the end. */
int head_scan_peek(const struct head_scan *hs, uint64_t *key);
/* Read it and call scan->rows. */
int head_scan_read(struct head_scan *hs, struct error *e);
void head_scan_end(struct head_scan *hs); /* NULL is fine */
