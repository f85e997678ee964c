/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How a record becomes lines of text: Python's logging formats in the styles
 * '%' and '{', and Go templates as line_format has them.
 *
 *   %(asctime)s %(levelname)-8s [%(logger_name)s] %(message)s
 *   {asctime} {levelname:<8} [{logger_name}] {message}
 *   {{.app}} {{__line__}}
 *
 * Fields of % and {: asctime (datefmt; without one "2026-11-21 10:00:00,123"), created, msecs,
 * levelname (metadata severity, else Python's name of the number; NOTSET without any), levelno,
 * message (the line; a traceback at metadata traceback_at, stack_at comes behind the whole, as
 * Formatter.format has it), name and logger_name (label logger, else app), filename, module
 * (metadata, else by pathname), process, thread, … and any other name: that label or metadata, else
 * nothing.  A template reads labels; asctime, levelname and their like too where no label has the
 * name.  One that fails on a record leaves its line as it is.
 * Manual: doc/output/lines.md.
 * Sources: docs.python.org/3/library/logging.html#formatter-objects, string.html#formatspec,
 * time.html#time.strftime.
 *
 * Thread rule: a format belongs to one thread: it holds what the last record made.
 */
#include "output/output.h"

enum line_style { LINE_PERCENT, LINE_BRACE, LINE_TEMPLATE };
/* What becomes of line ends within a record, so that nothing in it can forge a line.  But for
 * LINE_RAW all other control characters, U+0080 to U+009F, U+2028, U+2029 and bytes that are no
 * UTF-8 are spelled: \r \x1b \u2028 \xff. */
enum line_breaks {
	LINE_INDENT, /* each further line begins with a tab, and the first one never does */
	LINE_ESCAPE, /* \n \r \t \\ as two characters: one line, which can be read back */
	LINE_RAW,    /* as they are: what a Python handler writes */
};

/* The part of a kind's settings; LINE_OPTIONS puts it in the table. */
struct line_settings {
	const char *format; /* NULL: "%(message)s" */
	int style;          /* enum line_style */
	const char *datefmt;
	bool utc;
	int breaks; /* enum line_breaks */
	/* The format may be a text without a field, which Python refuses: a subject. */
	bool plain;
	/* Other formats for single levels: levelname -> format. */
	struct string_map level_formats;
};

extern const char *const line_styles[];      /* percent brace template */
extern const char *const line_break_names[]; /* indent escape raw */

#define LINE_OPTIONS(type) LINE_OPTIONS_OF(type, "indent")
/* With another default of `multiline`. */
#define LINE_OPTIONS_OF(type, usual_breaks)                                                                \
	{.name = "format",                                                                                 \
		.offset = offsetof(type, line.format),                                                     \
		.kind = OPT_STRING,                                                                        \
		.help = "The line: '%(asctime)s %(levelname)s %(message)s'. Default: the message."},       \
		{.name = "style",                                                                          \
			.offset = offsetof(type, line.style),                                              \
			.kind = OPT_ENUM,                                                                  \
			.values = line_styles,                                                             \
			.fallback = "percent",                                                             \
			.help = "How the format is written: Python's % or {, or a Go template."},          \
		{.name = "datefmt",                                                                        \
			.offset = offsetof(type, line.datefmt),                                            \
			.kind = OPT_STRING,                                                                \
			.help = "Times, as strftime has them, with %f for microseconds. Default: "         \
				"2026-11-21 10:00:00,123."},                                               \
		{.name = "utc",                                                                            \
			.offset = offsetof(type, line.utc),                                                \
			.kind = OPT_BOOL,                                                                  \
			.fallback = "false",                                                               \
			.help = "Times in UTC, not in local time."},                                       \
		{.name = "multiline",                                                                      \
			.offset = offsetof(type, line.breaks),                                             \
			.kind = OPT_ENUM,                                                                  \
			.values = line_break_names,                                                        \
			.fallback = usual_breaks,                                                          \
			.help = "Further lines of a record: indented by a tab, escaped, or as they are."}, \
	{                                                                                                  \
		.name = "level_formats", .offset = offsetof(type, line.level_formats),                     \
		.kind = OPT_MAP, .help = "Other formats for single levels: {DEBUG: '…'}."                \
	}

struct line_format;

/* ERR_ARG with Python's sentence and the column. */
int line_format_new(struct line_format **out, const struct line_settings *s, struct error *e);
void line_format_free(struct line_format *f); /* NULL is fine */
int line_settings_check(const struct line_settings *s, struct error *e);
/* Append the record without a line end.  A field that cannot be converted ('%(message)d') is put in
 * as its text. */
void line_format_put(struct line_format *f, const struct output_record *r, struct buf *out);
/* The value of a field as %(name)s has it; for path templates. */
void line_format_field(
	struct line_format *f, const struct output_record *r, struct str name, struct buf *out);
