/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What lines_write.c takes out of a reader to carry rows into another block
 * without spelling their lines (private to the two).
 *
 * All of it is decoded at the first call and valid until the next lines_open;
 * it is charged to the source's account as everything else is.
 * Thread rule: the reader's thread.
 */
#include "store/lines/column.h"
#include "store/lines/lines.h"

/* What the reader was opened with. */
const struct lines_source *lines_read_source(const struct lines_reader *r);
/* By row: which line of its template it is, from 0; that of a plain row: which plain line.
 * So rows from .. from + n that are of one template are a run of its columns. */
int lines_read_ranks(struct lines_reader *r, const uint32_t **rank, struct error *e);
/* How many rows a template (local index) has. */
int lines_read_count(struct lines_reader *r, uint32_t template, uint32_t *count, struct error *e);
/* The values of a slot of a template (local index), one for each of its rows, whether the block
 * keeps them in a column or in a pool.  Timestamps must be set. */
int lines_read_column(struct lines_reader *r, uint32_t template, uint32_t slot,
	const struct column **out, struct error *e);
/* The columns of a template are needed no more: they go when memory is short. */
void lines_read_drop(struct lines_reader *r, uint32_t template);
/* The line of a plain row, by its rank. */
int lines_read_plain(struct lines_reader *r, uint32_t rank, struct str *out, struct error *e);
