/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Tables for people: the rows of an answer in columns that fit, with the last
 * one as wide as it is; or the same answer as JSON.  One thread at a time.
 */
#include "cli/print.h"
#include "cli/remote.h"

extern const struct flag_group table_flags; /* -o, --color */

enum table_format { TABLE_DEFAULT, TABLE_JSON, TABLE_JSONL };

struct table_column {
	const char *title; /* NULL behind the last */
	bool right;
};

enum { TABLE_COLUMNS_MAX = 10 };

struct table {
	struct command_line *cl;
	const struct table_column *columns;
	size_t n_columns;
	size_t width[TABLE_COLUMNS_MAX]; /* in columns of a terminal, nearly: code points */
	struct buf cells;                /* a byte for the kind, then text, each ended by a NUL */
	bool colour, escape;
};

void table_init(struct table *t, struct command_line *cl, const struct table_column *columns);
/* The cells of a row, one after the other; the row ends with its last column. */
void table_cell(struct table *t, const char *fmt, ...) PRINTF(2, 3);
void table_count(struct table *t, uint64_t n); /* "12,345" */
void table_text(struct table *t, struct str text);
/* A time in RFC 3339, without what is behind its seconds. */
void table_time(struct table *t, struct str when);
void table_put_time(struct buf *out, struct str when);
void table_level(struct table *t, struct str level); /* in its colour */
/* A line below the row that was ended last, indented. */
void table_note(struct table *t, struct str text);
/* Print it. */
void table_fini(struct table *t);

/* Print the array at `at` as -o asks: json or jsonl. */
void table_json(struct command_line *cl, const struct json *j, size_t at);
/* Members of an object of an answer: 0 when absent. */
uint64_t table_u64(const struct json *j, size_t object, const char *key);
double table_double(const struct json *j, size_t object, const char *key);
