/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A writer of lines from the inside: lines_write.c fills it, lines_encode.c
 * makes a payload of it.  Private to the two.
 */
#include "base/arena.h"
#include "store/lines/lines.h"
#include "store/lines/payload.h"

struct row {
	struct str line; /* NULL when it came out of another block: its values are in columns */
	int64_t timestamp;
	uint32_t template; /* TEMPLATE_NONE or 1 + index of the table */
};

/* The rows of a template.  The values of its lines wait as records (column.h) in stretches of
 * `values`, each twice as long as the one before up to STRETCH_MAX: so they lie one behind the
 * other, and columns are made of them without looking at the lines again.  A stretch begins with
 * the index of the next one and, in the upper half, how many records have room in it. */
struct group {
	uint32_t n;
	uint32_t first, last;    /* stretches: their indices, 0 where there is none */
	uint32_t end, room;      /* of the last: where the next record goes, and how many may */
	struct column **columns; /* of each slot, NULL as long as no values were taken */
	uint32_t local;          /* TEMPLATE_NONE or 1 + index in the block; while it is made */
	/* While it is made: its rows' timestamps, its columns that go to pools, and the next value
	 * of them. */
	uint32_t first_ns, first_pooled, n_pooled, cursor;
};

/* Columns that are in no use, by kind. */
struct spare {
	struct column **columns;
	size_t n, cap;
};

struct lines_writer {
	struct account *account;
	uint64_t charged;
	int level;
	bool finished; /* what keys point into is emptied by the next add */
	struct template_table *table;
	struct arena text; /* lines that are its own */
	struct row *rows;
	struct group *groups; /* by template of the table */
	uint64_t *values;     /* stretches; the first word is none */
	size_t n_rows, cap_rows, cap_groups, n_values, cap_values;
	size_t templated_bytes; /* of rows that have a template */
	size_t n_columns;       /* in groups */
	struct spare spare[SLOT_TEXT + 1];
	struct str *keys;
	uint32_t *template_of;
	size_t n_keys;
};

/* What a finished block left is dropped with the first row of the next. */
void lines_writer_begin(struct lines_writer *w);
/* Values of a template that wait go to its columns. */
void group_take(struct lines_writer *w, uint32_t id);
/* An empty column of this kind and width, and back. */
struct column *column_borrow(struct lines_writer *w, uint8_t kind, uint8_t width);
void column_return(struct lines_writer *w, struct column *c);
void group_drop_columns(struct lines_writer *w, uint32_t id);
/* The line of a row that is in columns: the i-th of its group. */
void group_spell(const struct lines_writer *w, uint32_t id, uint32_t i, struct buf *out);
/* Charge what it holds now, and `more`. */
void lines_writer_charge(struct lines_writer *w, size_t more);
