/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Decoding the blocks of parts for a scan: in place, and one block ahead of it
 * on a thread of its own.
 *
 * Thread rule: a decoder and an ahead belong to the scan's thread.  While a
 * block is asked for, the other thread alone has the ahead's decoder; what the
 * request points to must stay until ahead_wait or ahead_free.
 */
#include "store/parts/part.h"
#include "store/unit.h"

struct block_request {
	const struct part *part;
	const struct part_footer *footer;
	const struct part_block *block;
	unsigned columns; /* enum scan_columns */
};

struct decoder {
	struct unit rows;
	struct block_reader reader;
};

void decoder_init(struct decoder *d, struct account *a);
void decoder_fini(struct decoder *d);
/* The rows of the block become d->rows: errors as of block_open. */
int decoder_read(struct decoder *d, const struct block_request *q, struct error *e);

struct ahead;

struct ahead *ahead_new(struct account *a);
void ahead_free(struct ahead *a); /* NULL is fine; waits for what was asked */
/* The block that was asked for and not waited for; NULL for none. */
const struct part_block *ahead_block(const struct ahead *a);
/* Nothing may be asked for. */
void ahead_ask(struct ahead *a, const struct block_request *q);
/* What decoder_read returned; the rows are in *out, valid until the next ahead_ask. */
int ahead_wait(struct ahead *a, struct decoder **out, struct error *e);
