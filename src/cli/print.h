/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Output of lines and samples, as -o asks: for people, for pipes, as JSON.
 *
 * On a terminal, control bytes of log text are shown escaped (\x1b), so that
 * a logged line cannot drive it; line ends inside a line are shown as such,
 * with the continuation indented.  Into a pipe, bytes go as they are.
 * One thread at a time.
 */
#include "base/map.h"
#include "cli/command.h"
#include "codec/json.h"
#include "codec/regex.h"
#include "record/labels.h"

enum output_format {
	OUTPUT_DEFAULT,
	OUTPUT_RAW,
	OUTPUT_JSON,
	OUTPUT_JSONL,
	OUTPUT_CSV,
	OUTPUT_LOGFMT
};

extern const struct flag_group print_flags; /* -o, --no-labels, --utc, --color … */

/* Rows for the flags of a command that prints lines in a way of its own: in which zone its times
 * are, and whether there are colours. */
#define PRINT_LOOK_FLAGS                                                                           \
	{.name = "utc", .kind = FLAG_BOOL, .help = "Times in UTC: --timezone UTC."},               \
		{.name = "timezone",                                                               \
			.kind = FLAG_STRING,                                                       \
			.value = "ZONE",                                                           \
			.env = "SAWLOG_TIMEZONE",                                                  \
			.fallback = "Local",                                                       \
			.help = "Local, UTC, or a name such as Europe/Berlin."},                   \
	{                                                                                          \
		.name = "color", .aliases = "colour", .kind = FLAG_CHOICE,                         \
		.choices = print_colours, .env = "SAWLOG_COLOR", .fallback = "auto",               \
		.help = "auto: on a terminal, unless NO_COLOR is set or TERM is dumb."             \
	}

extern const char *const print_colours[];

struct print_entry {
	int64_t timestamp;
	struct str labels; /* canonical bytes, names free */
	struct str line;
	/* Of a whole record. */
	struct str meta;
	uint64_t seq;
};

struct printer {
	FILE *out;
	const struct command_line *cl;
	enum output_format format;
	bool colour, escape, labels, silent;
	bool whole; /* set by the caller: objects are whole records, see printer_entry */
	bool utc;
	struct regex *highlight; /* NULL: nothing is marked */
	struct buf common;       /* canonical: pairs that are not shown */
	struct buf text;         /* of the line being made */
	struct buf shown;        /* labels of it */
	uint64_t n;              /* lines printed, counted when silent too */
};

/* Reads the flags of print_flags.  `tty`: out is a terminal.  ERR_ARG for an unknown zone.
 * Sets TZ of the process. */
int printer_init(
	struct printer *p, const struct command_line *cl, FILE *out, bool tty, struct error *e);
/* Ends a JSON document that was begun. */
void printer_fini(struct printer *p);
/* Hide the pairs that all of these entries share (unless told not to), and tell of them on
 * cl->err. */
void printer_common(struct printer *p, const struct print_entry *list, size_t n);
/* One line.  As an object {"timestamp", "labels", "line"}; a whole record as {"seq", "time" (ns),
 * "labels", "metadata", "line"}, and where the line is no UTF-8, "base64" has its bytes. */
void printer_entry(struct printer *p, const struct print_entry *en);
/* "matrix", "vector" and "scalar" results: the node at `result`.  ERR_ARG for another type. */
int printer_samples(
	struct printer *p, const struct json *j, struct str type, size_t result, struct error *e);
/* A {"name": "value"} object as canonical bytes, appended. */
void print_labels_of(const struct json *j, size_t at, struct labels_builder *b, struct buf *out);
/* Append s as a terminal may see it; `lines`: keep line ends, indenting what follows. */
void print_escaped(struct buf *out, struct str s, bool lines);
/* "warning: …" to cl->err, unless it is in `told`, to which it is added. */
void print_warning(struct command_line *cl, struct str sentence, struct map *told);
/* Append the node as JSON text. */
void print_json(struct buf *out, const struct json *j, size_t at);
/* Have local times be those of a zone, as --timezone has it: sets TZ of the process.  *utc becomes
 * true for UTC, and stays as it is for others.  ERR_ARG for one that is not known. */
int print_zone(const char *zone, bool *utc, struct error *e);
/* Does the environment want colours on a stream?  `choice` is an index of auto, always, never. */
bool print_wants_colour(int choice, bool tty);
