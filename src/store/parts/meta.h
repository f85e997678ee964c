/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The metadata column of a block: sets of labels that rows have besides their
 * stream's.  Format: doc/format/part.md.
 *
 * Thread rule: a writer and a reader belong to one thread each.
 */
#include "base/map.h"
#include "store/parts/numbers.h"
#include "store/parts/part.h"

/* The sets of a block's rows, each once: its entries. */
struct meta_writer {
	struct account *account; /* what it holds is charged here without asking */
	int level;
	struct map index; /* set -> 1 + its entry; keeps the bytes */
	struct str *entries;
	size_t n, cap;
	uint64_t charged;
	struct lines_writer *lines;
};

void meta_writer_fini(struct meta_writer *w);
void meta_writer_clear(struct meta_writer *w);
/* 1 + the entry of canonical labels; 0 for none. */
uint32_t meta_writer_add(struct meta_writer *w, struct str meta);
/* Append the column of rows with these entries; nothing when there are none. */
void meta_writer_put(struct meta_writer *w, const uint32_t *rows, uint32_t n, struct buf *out);

struct meta_reader {
	struct account *account;
	uint64_t charged;
	struct buf text;     /* the sets */
	struct str *entries; /* views into it */
	struct lines_reader *lines;
};

void meta_reader_fini(struct meta_reader *r);
/* Decode the column of n rows: out[row] is its set, valid until the next call.  ERR_CORRUPT,
 * ERR_LIMIT. */
int meta_reader_get(
	struct meta_reader *r, struct str column, uint32_t n, struct str *out, struct error *e);
