/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The lines of a block, as templates and columns of values.
 *
 * Written once, out of lines or out of rows of other blocks.  Read in steps: the
 * template of each row, then only the columns that a filter or the lines that
 * were picked need.  Every chunk that is read is checked (CRC-32C); what a
 * damaged one held is an error of that block, never a wrong line.
 *
 * A row without a template (too long, too many values, too rare, or beyond
 * TEMPLATES_MAX) keeps its line as it is, in the plain lines of the block: so
 * memory stays bounded whatever comes.
 *
 * The templates themselves are not in the block: the part keeps each once.
 * Format: doc/format/part.md.  Thread rule: writer and reader belong to one
 * thread each.
 */
#include "base/memory.h"
#include "store/lines/match.h"

/* Writing */

struct lines_writer;
struct lines_reader;

/* What the rows became. */
struct lines_written {
	size_t n_templates;
	const struct str *keys;      /* of the templates that are used; valid until the next add */
	const uint32_t *template_of; /* by row: TEMPLATE_NONE, or 1 + index into keys */
};

/* `level` of zstd.  What it holds is charged to `a` without asking; a may be NULL. */
struct lines_writer *lines_writer_new(struct account *a, int level);
void lines_writer_free(struct lines_writer *w);
/* The next row.  The line is borrowed until finish. */
void lines_writer_add(struct lines_writer *w, struct str line, int64_t timestamp);
/* The next n rows are these rows of a block, with their timestamps there; in any order.
 *  Columns are taken over without spelling a line.  ERR_CORRUPT, ERR_IO, ERR_LIMIT: nothing
 * was added. */
int lines_writer_append_rows(struct lines_writer *w, struct lines_reader *r, const uint32_t *rows,
	uint32_t n, struct error *e);
/* The same of rows from .. from + n. */
int lines_writer_append(
	struct lines_writer *w, struct lines_reader *r, uint32_t from, uint32_t n, struct error *e);
uint32_t lines_writer_rows(const struct lines_writer *w);
/* Append the encoded rows to `payload`; the writer is empty after, and what *out points to valid
 * until the next add. */
void lines_writer_finish(struct lines_writer *w, struct buf *payload, struct lines_written *out);

/* Reading */

struct lines_source {
	void *ctx;
	/* Read bytes at .. at + n of the payload. */
	int (*read)(void *ctx, uint64_t at, size_t n, void *to, struct error *e);
	uint64_t bytes; /* of the payload */
	uint32_t n_rows;
	const struct template *const *templates; /* of the block, by local index */
	size_t n_templates;
	const int64_t *timestamps; /* by row; needed by get, filter and append */
	/* Asked when timestamps are needed and not set: calls lines_set_timestamps.  NULL: they are
	 * set before. */
	int (*times)(void *ctx, struct error *e);
	/* How many rows each template has, by local index, where that is known elsewhere: so that
	 * searching columns need not read which row has which template.  It is checked when that is
	 * read.  False: it is not known.  NULL: never. */
	bool (*counts)(void *ctx, uint32_t *count);
	struct account *account; /* decoded columns are charged here: ERR_LIMIT; may be NULL */
};

/* Empty; reused for many blocks.  lines_open reads the directory of the payload.  Borrows what the
 * source points to until the next open. */
struct lines_reader *lines_reader_new(void);
void lines_reader_free(struct lines_reader *r);
int lines_open(struct lines_reader *r, const struct lines_source *s, struct error *e);
/* Set the timestamps later than open, where they were not needed at first. */
void lines_set_timestamps(struct lines_reader *r, const int64_t *timestamps);
/* By row: TEMPLATE_NONE or 1 + local index.  Decoded at the first call. */
int lines_templates(struct lines_reader *r, const uint16_t **out, struct error *e);
/* Keep of pick[0 .. *n), ascending rows, those that the filters keep.  When *n is the number of
 * rows pick need not be set: it is all of them.  verdict[local index] is match_filters() of each
 * template, known to the caller already. */
int lines_filter(struct lines_reader *r, const struct line_filter *filters, size_t n_filters,
	const uint8_t *verdict, uint32_t *pick, size_t *n, struct error *e);
/* Spell the picked rows (ascending): line[pick[i]] is set, valid until the next call of get,
 * filter or open. */
int lines_get(
	struct lines_reader *r, const uint32_t *pick, size_t n, struct str *line, struct error *e);
/* The length of every row's line, out of the columns: nothing is spelled.  Timestamps must be set.
 */
int lines_lengths(struct lines_reader *r, uint32_t *lengths, struct error *e);
/* Bytes read since the reader was made, and lines that a filter had to spell. */
struct lines_figures {
	uint64_t bytes_read, spelled;
};
struct lines_figures lines_figures(const struct lines_reader *r);

/* Where the bytes of a payload go, for statistics: called per chunk and column with the stored
 * bytes (those of a shared chunk divided by raw bytes). */
enum lines_part {
	LINES_DIRECTORY,
	LINES_TEMPLATE_IDS,
	LINES_COLUMN, /* local template and slot are given */
	LINES_POOL,
	LINES_PLAIN,
};
int lines_account(struct lines_reader *r,
	void (*each)(void *ctx, enum lines_part part, uint32_t template, uint32_t slot,
		uint64_t stored, uint64_t raw),
	void *ctx, struct error *e);
