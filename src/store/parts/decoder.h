/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Picking and decoding the rows of a block for a scan: in place, and in lanes,
 * threads that each decode a block ahead of the scan.
 *
 * Thread rule: decoders and lanes belong to the scan's thread.  From lane_ask
 * to lane_wait the lane's thread alone has its decoder; what the task points to
 * must stay until lane_wait.
 */
#include "store/parts/part.h"
#include "store/unit.h"

/* What is asked of a block.  Borrows all but the bufs. */
struct block_task {
	const struct part *part;
	const struct part_footer *footer;
	const struct part_block *block;
	struct unit_limits limits;
	unsigned columns; /* enum scan_columns */
	bool counting;    /* sequences are not needed */
	bool narrow;      /* rows are chosen before the rest of the columns is read */
	const struct line_filter *filters;
	size_t n_filters;
	struct buf verdicts; /* with filters: a byte for each template of the block */
	bool some;           /* the values of some template's lines decide */
	bool open_only;      /* only lines of which the verdicts leave open whether they are kept,
			      * and those without a template: the others are counted */
	bool lengths;        /* of lines their lengths are enough */
	bool one_bucket;     /* rows are counted, whatever their time */
	const struct visibility *visibility;
	struct buf hidden_of; /* struct unit_hidden, sorted by the part's stream */
	struct buf hidden;    /* struct hidden */
	bool hidden_lines;    /* some of them look at lines */
};

void block_task_fini(struct block_task *t);

struct decoder {
	struct unit rows;
	struct block_reader reader;
	size_t n_picked;
	const uint32_t *lengths;  /* by row, when the task asks for lengths */
	unsigned have;            /* columns of the block that were decoded */
	const _Atomic bool *stop; /* ends it between two steps with ERR_CANCELLED; may be NULL */
	/* Added up; the scan takes them. */
	uint64_t bytes_read, spelled;
};

void decoder_init(struct decoder *d, struct account *a);
void decoder_fini(struct decoder *d);
/* Let go of its memory; it may be used on. */
void decoder_drop(struct decoder *d);
/* Pick the rows that pass and decode their time, stream, severity, flags and, unless counting,
 * sequences: n_picked.  When nothing narrows them, decoder_finish follows at once.  ERR_CORRUPT and
 * ERR_IO: the block is damaged; ERR_LIMIT. */
int decoder_pick(struct decoder *d, const struct block_task *t, struct error *e);
/* The other columns that the task asks for, of the rows that are still picked. */
int decoder_finish(struct decoder *d, const struct block_task *t, struct error *e);
/* The columns of its unit that are told: enum unit_columns. */
unsigned decoder_columns(const struct block_task *t, bool finished);

enum { LANES_MAX = 4 };

struct lanes;
struct lane;

/* As many as the machine has processors.  NULL when it has but one. */
struct lanes *lanes_new(struct account *a);
void lanes_free(struct lanes *l); /* NULL is fine; what was asked ends early */
size_t lanes_count(const struct lanes *l);
/* One that is free, or NULL. */
struct lane *lanes_take(struct lanes *l);
void lane_ask(struct lane *lane, const struct block_task *t);
/* What decoder_pick returned; *out is valid until lane_release. */
int lane_wait(struct lane *lane, struct decoder **out, struct error *e);
/* Free again; what was asked and not waited for ends early. */
void lane_release(struct lane *lane);
