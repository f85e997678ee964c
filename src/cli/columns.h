/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Lines and samples as CSV (RFC 4180) and as logfmt, with the columns that
 * --fields names: time, line, value, labels (all of them as text), or the name
 * of a label.  Pure but for the buffer; any thread.
 */
#include "base/buf.h"

struct column_row {
	int64_t timestamp;
	struct str labels; /* canonical, names free */
	struct str text;   /* the line, or the value of a sample */
	bool sample;
};

/* A row with its line end.  `fields` is as --fields has it, separated by commas; NULL: CSV has
 * time, labels and line or value, logfmt time, each label, and line or value. */
void columns_csv(struct buf *out, const char *fields, const struct column_row *row);
void columns_logfmt(struct buf *out, const char *fields, const struct column_row *row);
/* The names of the columns, the first line of CSV. */
void columns_csv_head(struct buf *out, const char *fields, bool samples);
