/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which series of a range aggregation a row belongs to: the labels that the
 * grouping keeps, numbered from 0 as they turn up.
 *
 * Which one it is depends on the row's stream and level in most units, so that
 * the answer is a table look-up; only rows with metadata that the grouping
 * looks at, or that stages changed, need their key made.
 * Internal to src/query; one thread.
 */
#include "query/run.h"

struct series_index {
	/* Fixed. */
	struct run *run;
	const struct grouping *grouping;
	bool reads_meta;
	uint8_t needs; /* what the grouping asks of a row beyond its stream */
	size_t levels; /* cells of a stream: one a level, or 1 when no level matters */
	/* Read only. */
	struct str *keys; /* canonical labels, by number */
	size_t n;
	/* Private. */
	size_t cap;
	struct map index; /* key to number */
	uint64_t charged;
	struct buf key;
	/* This unit: 1 + number by stream and level, 0 for not known yet.  What belongs to a stream
	 * is valid when it is marked with the number of the unit: a unit may know of many more
	 * streams than it has. */
	uint32_t *cells, *marks;
	size_t unit_cap;
	uint32_t unit;
	/* The last row whose metadata mattered. */
	struct str last_meta;
	uint32_t last_stream, last_number;
	unsigned last_level;
	bool last_valid;
};

/* Borrows both.  `reads_meta`: rows come with their metadata. */
void series_index_init(
	struct series_index *x, struct run *run, const struct grouping *grouping, bool reads_meta);
void series_index_fini(struct series_index *x); /* a zeroed one is fine */
/* Begin a unit with so many streams. */
int series_index_unit(struct series_index *x, size_t n_streams, struct error *e);
/* Of a row as the store has it, of rows that were counted already, and as stages left a row: 0, or
 * ERR_LIMIT. */
int series_of_row(struct series_index *x, const struct rows *rows, uint32_t i, uint32_t *out,
	struct error *e);
int series_of_count(struct series_index *x, const struct row_counts *counts,
	const struct row_count *c, uint32_t *out, struct error *e);
/* And by its key, which is the labels that the grouping keeps. */
int series_of_key(struct series_index *x, struct str labels, uint32_t *out, struct error *e);
int series_of_fields(struct series_index *x, struct fields *fields, uint32_t *out, struct error *e);
