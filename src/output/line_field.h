/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The fields of a record that a line format can name: those of Python's
 * LogRecord, and every label and metadata under its own name.
 *
 * A field is worked out of the record itself and of at most FIELD_LABELS_MAX
 * labels, which whoever asks looks up.
 * Thread rule: pure.
 */
#include "output/output.h"

enum line_field_id {
	LINE_LABEL, /* any other name */
	LINE_ASCTIME,
	LINE_CREATED,
	LINE_FILENAME,
	LINE_LEVELNAME,
	LINE_LEVELNO,
	LINE_MESSAGE,
	LINE_MODULE,
	LINE_MSECS,
	LINE_NAME,
	LINE_NUMBER, /* lineno, process, thread: a label that is an integer in Python */
};

enum { FIELD_LABELS_MAX = 3 };

struct line_field {
	enum line_field_id id;
	struct str labels[FIELD_LABELS_MAX]; /* names */
	size_t n_labels;
};

enum line_value_kind { VALUE_TEXT, VALUE_INT, VALUE_FLOAT };

struct line_value {
	enum line_value_kind kind;
	struct str text; /* VALUE_TEXT: of the record, or constant */
	int64_t i;
	double f;
};

/* The field of this name, which is borrowed where it is that of a label. */
struct line_field line_field_of(struct str name);
/* Its value, not for LINE_ASCTIME.  labels[i] is the value of field's labels[i], empty when absent.
 * `room` (LINE_ROOM bytes) may hold the text. */
enum { LINE_ROOM = 32 };
struct line_value line_field_value(const struct line_field *f, const struct output_record *r,
	const struct str *labels, char *room);
/* Where traceback and stack begin in the line, by the labels traceback_at and stack_at: r->line.n
 * without them. */
size_t line_field_tail(const struct output_record *r, const struct str *labels);
/* labels[] of this record, looked up one by one. */
void line_field_labels(const struct line_field *f, struct str labels, struct str *values);
