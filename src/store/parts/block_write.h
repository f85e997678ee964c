/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Making a block out of rows, for part_write.c and part_merge.c.
 *
 * Rows come stream by stream, streams in the order of the part.  The lines go
 * to bw->lines beside them, one for each row, by lines_writer_add or _append.
 * Thread rule: one thread.
 */
#include "store/parts/footer.h"
#include "store/parts/meta.h"
#include "store/parts/tally.h"

struct block_row {
	int64_t timestamp;
	uint64_t seq, position;
	struct str meta;
	uint32_t source; /* 1 + the part's number, 0 for none */
	uint32_t length; /* of the line */
	uint8_t severity, flags;
};

struct block_writer {
	struct lines_writer *lines;
	uint64_t raw_bytes, meta_bytes; /* of the rows that it holds */
	/* block_write.c's own. */
	struct account *account;
	struct account held; /* by `lines`; a child */
	int level;
	struct fixed rows;
	struct meta_writer meta;
	struct tally tally;
	struct {
		uint32_t *ids; /* local -> the part's */
		uint32_t n, cap;
	} streams, sources;
	uint32_t *local_of; /* the part's source -> local; trusted only when `sources` agrees */
	size_t cap_local;
	struct buf head, payload;
};

/* What it holds is charged to `a` without asking.  Stays where it is until fini. */
void block_writer_init(struct block_writer *bw, struct account *a, int level);
void block_writer_fini(struct block_writer *bw);
uint32_t block_writer_rows(const struct block_writer *bw);
/* The stream is the part's number, not lower than that of the row before. */
void block_writer_add(struct block_writer *bw, uint32_t stream, const struct block_row *row);
size_t block_writer_max_rows(size_t block_raw); /* of a block of so many bytes */
/* Is the block full before such a row?  It ends with a stream rather than in the midst of the next
 * one, when it is half full; so few blocks hold more than one of the large streams. */
bool block_writer_full(const struct block_writer *bw, size_t block_raw, uint32_t stream,
	uint64_t length, uint64_t meta);
/* Write the rows, at least one, as the next block of a file, and tell the footer.  The writer is
 * empty after. */
int block_writer_finish(
	struct block_writer *bw, struct part_file *pf, struct footer_builder *f, struct error *e);
