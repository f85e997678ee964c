/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Columns: the values of one slot of one template, in the order of the lines.
 *
 * In memory a column is an array of fixed-size values.  On disk it is the
 * smallest of several encodings, named in its first byte: one value for all,
 * the time of the line, integers in byte planes, their differences, ranks of
 * the most frequent values, references into a pool of recent values (pool.h).
 * Which is chosen is the encoder's own affair; a decoder knows all of them.
 * What encode gives is not compressed: lines_write.c packs columns with zstd.
 * Format: doc/format/column.md.
 * Thread rule: pure; a column and its times belong to one thread.
 */
#include "base/buf.h"
#include "base/error.h"
#include "store/lines/token.h"

/* Values of a slot.  SLOT_NUMBER: number[] and digits[].  SLOT_LONG: number[].  SLOT_HEX*,
 * SLOT_UUID*: binary[], n values of column_bytes() bytes each, an odd first digit alone in its
 * byte.  SLOT_TEXT: text[], which points elsewhere. */
struct column {
	uint8_t kind, width; /* as those of the slot */
	uint32_t n, cap;
	uint64_t *number;
	uint8_t *digits;
	uint8_t *binary;
	struct str *text;
	struct buf bytes; /* what text points into, where the column owns it */
	/* What the decoder knows, so that column_keep tests distinct values only; valid until
	 * values are added.  Value i is that of row first[rank[i]], where n_distinct is not 0; all
	 * are equal where it is 1 (rank is not set then). */
	uint32_t n_distinct; /* 0: not known; at most 256 */
	uint8_t *rank;
	uint32_t first[256];
};

/* The records' times of the rows of a column, for columns that spell the time.  Columns of the
 * same rows share one: what they need of it is computed once.  A zeroed struct is empty. */
struct column_times {
	const int64_t *ns; /* borrowed */
	uint32_t n, cap;
	int8_t zone; /* of the last column that spelled the time, in quarter hours: a first guess */
	bool cut;    /* the arrays below are made */
	int32_t *day;            /* since 1970, UTC */
	uint32_t *second, *nano; /* of the day, of the second */
	/* Rows by which most columns are seen to spell no time: the first and the middle one. */
	struct column_date {
		int32_t year;
		uint32_t month, day, year_day;
	} near[2][3]; /* the day before, the day, the day after */
};

/* Borrows n times, in the order of the rows, until the next set. */
void column_times_set(struct column_times *t, const int64_t *ns, uint32_t n);
void column_times_fini(struct column_times *t);

/* Bytes of one value of SLOT_HEX* and SLOT_UUID*: (width + 1) / 2, 16. */
size_t column_bytes(uint8_t kind, uint8_t width);
void column_fini(struct column *c);
void column_clear(struct column *c); /* keeps its memory, kind and width */
/* Append the value that these bytes of a line spell; they were found by tokens_of as this slot.
 * Text is borrowed. */
void column_add(struct column *c, const char *p, size_t n);
/* The values of a line, 8 bytes each, as they wait for their columns: of integers the value itself,
 * of others their place in the line.  A record of n slots has n + 1: the first is the line's place,
 * which is borrowed. */
void column_record(struct str line, const struct token *tokens, size_t n, uint64_t *out);
/* Append slot `slot` of n records, `step` apart.  Text points into their lines. */
void column_add_records(
	struct column *c, const uint64_t *records, size_t step, uint32_t slot, uint32_t n);
/* Append values from .. from + n of another column of the same kind and width; text is copied. */
void column_append(struct column *c, const struct column *from, uint32_t at, uint32_t n);
/* Append value i as the line spells it. */
void column_spell(const struct column *c, uint32_t i, struct buf *out);
/* At most this many bytes are appended by column_spell for any value of the column. */
size_t column_spell_max(const struct column *c);

/* Encode all of it; `times` are the records' times of the same rows, for columns that spell the
 * time: a decoder is given the same.  Appends to `out`.  False, and nothing appended, when the
 * values are best kept in the pool of their kind: the caller then adds them there.  n > 0. */
bool column_encode(const struct column *c, struct column_times *times, struct buf *out);
/* Bytes of one plane of this column as it was encoded, 0 where they differ. */
size_t column_plane(const struct column *c, struct str encoded);
/* The width of the pool that takes such a column: that of the kind, but for SLOT_NUMBER, where
 * numbers of one magnitude share a pool, the digits of the largest value: 1 to 9. */
uint8_t column_pool_width(const struct column *c);
/* Decode n > 0 values of an encoded column that fills `bytes` exactly; c has its kind and width
 * set, and is cleared first; it does not keep `bytes`.  ERR_CORRUPT. */
int column_decode(struct column *c, struct str bytes, struct column_times *times, uint32_t n,
	struct error *e);

/* Is this encoded column one whose decoder needs the times?  Others take NULL. */
bool column_needs_times(struct str bytes);

/* Does a value match?  Used by match.h on candidates: the rows among pick[0..n) (indices of
 * values) whose spelling equals, begins with, ends with or contains `text` are kept; returns how
 * many.  Works on the values, not on spelled text, where that is faster. */
enum column_test { COLUMN_EQUALS, COLUMN_BEGINS, COLUMN_ENDS, COLUMN_CONTAINS };
uint32_t column_keep(
	const struct column *c, enum column_test test, struct str text, uint32_t *pick, uint32_t n);
