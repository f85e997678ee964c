/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A part in the middle of a scan: what its footer alone says of its blocks.
 *
 * Streams and templates are asked about when the first block that has them
 * comes up, once each.
 * Thread rule: the scan's thread.  What a task points to may be read by
 * another until open_part_end: what was decided for a block stays as it is.
 */
#include "base/map.h"
#include "store/parts/decoder.h"

struct open_part {
	struct part *part;
	const struct part_footer *footer; /* NULL: not open */
	uint32_t tenant;
	uint32_t source; /* the scan's, 0 for any */
	uint32_t blocks_left;
	uint64_t charged;
	/* By stream; what is behind `asked` is valid where that is set.  wanted_meta: in blocks
	 * with metadata. */
	uint8_t *asked, *wanted, *wanted_meta, *by_row;
	struct map *all_verdicts;
	uint8_t *verdicts; /* by template: 0 not asked, else 1 + enum match_verdict */
	/* For struct rows; made when the first rows are told. */
	struct str *streams, *sources;
	const struct template **templates;
};

/* What becomes of a block. */
enum block_fate {
	BLOCK_NOT_WANTED, /* none of its streams is */
	BLOCK_EXCLUDED,   /* a filter rules out all of its lines */
	BLOCK_HOURS,      /* told by its counts by hour */
	BLOCK_COUNTS,     /* told by its counts by template */
	BLOCK_MIXED,      /* the same, but some lines must be looked at: the task's open_only */
	BLOCK_ROWS,       /* its rows must be looked at, and may be told as counts */
	BLOCK_READ,       /* its rows must be looked at */
};

/* `all_verdicts`: what the filters said of templates of other parts, by key; borrowed.  1 it is
 * open; 0 it holds nothing of the tenant or source.  < 0: its footer cannot be had. */
int open_part_begin(struct open_part *op, struct part *p, const struct scan *scan,
	struct map *all_verdicts, struct error *e);
void open_part_end(struct open_part *op, const struct scan *scan);
/* Decide, and when it is to be read or counted fill the task. */
enum block_fate open_part_decide(struct open_part *op, struct scan *scan, uint64_t until_seq,
	const struct part_block *b, struct block_task *t, struct block_counts *scratch);
/* Tell a block that its counts answer: scan->counts.  `rows` holds the rows that were looked at,
 * with BLOCK_MIXED and BLOCK_ROWS; else it is NULL. */
int open_part_count(struct open_part *op, struct scan *scan, enum block_fate fate,
	const struct block_task *t, const struct decoder *rows, struct block_counts *scratch,
	struct error *e);
/* Add the part's tables to rows. */
int open_part_tables(
	struct open_part *op, const struct scan *scan, struct rows *rows, struct error *e);
