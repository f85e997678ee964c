/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A row that came out of a pipeline, as the entry of an answer.  One thread. */
#include "query/query.h"
#include "query/stage.h"

/* A zeroed struct is ready. */
struct entry_maker {
	struct buf labels, meta, parsed;
	/* The last metadata merged with a level. */
	struct str merged_from;
	const char *merged_level;
	struct buf merged;
};

void entry_maker_fini(struct entry_maker *m);
/* The views of rows that were given before are gone: to be called for each unit. */
void entry_maker_unit(struct entry_maker *m);
/* Row i of the unit as `row` has it now.  *out holds views, valid until the next call and no longer
 * than the row's.  False when its labels are the stream's own, rows->streams[rows->stream[i]]. */
bool entry_make(struct entry_maker *m, const struct rows *rows, uint32_t i,
	const struct pipe_row *row, struct query_entry *out);
/* Append all its labels that count, canonical: parsed win over metadata, and that over the stream.
 */
void entry_labels(const struct query_entry *x, struct buf *out);
/* The level that a row shows as detected_level; NULL for none. */
const char *entry_level(const struct rows *rows, uint32_t i);
