/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Making a block out of rows, for part_write.c and part_merge.c.
 *
 * Rows come stream by stream, streams in the order of the part, or where
 * streams are small in any order, best that of time: see block_is_mixed.  The
 * lines go to bw->lines beside them, one for each row, by lines_writer_add or
 * _append.
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
	struct buf local_streams; /* uint32_t, by the part's stream less the block's lowest */
	struct buf head, payload;
};

/* What it holds is charged to `a` without asking.  Stays where it is until fini. */
void block_writer_init(struct block_writer *bw, struct account *a, int level);
void block_writer_fini(struct block_writer *bw);
uint32_t block_writer_rows(const struct block_writer *bw);
/* The stream is the part's number. */
void block_writer_add(struct block_writer *bw, uint32_t stream, const struct block_row *row);
size_t block_writer_max_rows(size_t block_raw); /* of a block of so many bytes */
/* How much a block holds, or would. */
struct block_fill {
	uint64_t bytes; /* metadata counts too: it may be longer than the lines */
	uint32_t rows;
	uint32_t stream; /* of the last row */
};

/* Is the block full before such a row?  It ends with a stream rather than in the midst of the next
 * one, when it is half full; so few blocks hold more than one of the large streams. */
bool block_full(const struct block_fill *held, size_t block_raw, uint32_t stream, uint64_t bytes);
/* The same, of a block whose rows come in any order: only its limits count. */
bool block_over(const struct block_fill *held, size_t block_raw, uint64_t bytes);
struct block_fill block_writer_held(const struct block_writer *bw);
/* Should rows be ordered by time, not by stream?  Lines that were written at the same time resemble
 * each other: the same ids, times and numbers recur.  Of a large stream this is true of its own
 * lines; with few rows for each nothing recurs soon enough, which costs more than to say the stream
 * of each row. */
bool block_is_mixed(uint64_t n_rows, uint64_t n_streams);
/* Write the rows, at least one, as the next block of a file, and tell the footer.  The writer is
 * empty after. */
int block_writer_finish(
	struct block_writer *bw, struct part_file *pf, struct footer_builder *f, struct error *e);
