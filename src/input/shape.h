/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The shape of a text source: how bytes become lines and lines become records.
 * What file, stdin and exec have in common besides transport:
 *
 *   bytes ─► encoding ─► container envelope ─► multi-line joining ─► rules (drop, redact) ─► record
 *
 * A shape is compiled once from its settings and then only read: any thread.
 * Nothing is kept of a source between calls: a unit that is not complete is
 * looked at again from its beginning when more bytes are there, and becomes
 * the same records whatever pieces it came in.
 */
#include "conf/option.h"
#include "record/batch.h"

struct line_reader;
struct zone;

enum shape_format { FORMAT_PLAIN, FORMAT_DOCKER, FORMAT_CRI, FORMAT_CONTAINER };

struct multiline_settings {
	const char *rule;  /* java, python, go, ruby, php, dotnet, all; or */
	const char *first; /* expression that the first line of a record matches */
	int64_t timeout;   /* ns without a new line after which a record is complete; 0: 1 s */
	int64_t max_lines; /* 0: 500 */
};

/* A part of the settings of each kind of text input; what each means is in SHAPE_OPTIONS. */
struct shape_settings {
	int format;           /* enum shape_format; container: docker or cri, line by line */
	const char *encoding; /* as iconv names it; NULL: UTF-8, taken as it is */
	struct multiline_settings multiline;
	const char *timezone;         /* IANA name or +hh:mm; NULL: the host's */
	const char *path_labels;      /* expression with named groups over the path */
	struct string_map env_labels; /* label -> name of an environment variable */
	struct strings drop;          /* expressions: such lines do not leave the host */
	struct string_map redact;     /* expression -> replacement ("$1" are groups) */
};

extern const char *const shape_formats[];
extern const struct option multiline_options[];

/* One row of the table of `type`, whose settings `field` is a struct shape_settings. */
#define SHAPE_ROW(type, field, key, ...)                                                           \
	{                                                                                          \
		.name = #key,                                                                      \
		.offset = offsetof(type, field) + offsetof(struct shape_settings, key),            \
		__VA_ARGS__                                                                        \
	}

#define SHAPE_OPTIONS(type, field)                                                                   \
	SHAPE_ROW(type, field, format, .kind = OPT_ENUM, .values = shape_formats,                    \
		.fallback = "plain",                                                                 \
		.help = "plain lines, or those that a container runtime wrote: docker (json-file), " \
			"cri, or container for either."),                                            \
		SHAPE_TEXT_OPTIONS(type, field)

/* The same for an input with a `format` of its own. */
#define SHAPE_TEXT_OPTIONS(type, field)                                                                   \
	SHAPE_ROW(type, field, encoding, .kind = OPT_STRING,                                              \
		.help = "Encoding of the text when it is not UTF-8: utf-16 (by its mark), "               \
			"utf-16le, latin1 and all others of iconv."),                                     \
		SHAPE_ROW(type, field, multiline, .kind = OPT_OBJECT, .fields = multiline_options,        \
			.help = "Joining of lines."),                                                     \
		SHAPE_ROW(type, field, timezone, .kind = OPT_STRING,                                      \
			.help = "Zone of times that name none: an IANA name (Europe/Berlin) or +hh:mm.  " \
				"Without it the host's."),                                                \
		SHAPE_ROW(type, field, env_labels, .kind = OPT_MAP,                                       \
			.help = "Labels out of the environment: label to name of the variable."),         \
		SHAPE_ROW(type, field, drop, .kind = OPT_STRINGS,                                         \
			.help = "Expressions: records whose body matches one do not leave the host."),    \
		SHAPE_ROW(type, field, redact, .kind = OPT_MAP,                                           \
			.help = "Expression to replacement: what matches is replaced before it leaves "   \
				"the host; $1 or ${name} is a group, $$ a dollar.")

/* The row of inputs whose sources have paths. */
#define SHAPE_PATH_OPTIONS(type, field)                                                            \
	SHAPE_ROW(type, field, path_labels, .kind = OPT_STRING,                                    \
		.help = "Expression over the path at which a file was found: its named groups "    \
			"are labels.")

struct shape;
/* ERR_ARG with setting and reason.  Settings are borrowed until shape_free. */
int shape_new(struct shape **out, const struct shape_settings *s, struct error *e);
void shape_free(struct shape *s); /* NULL is fine */
/* Lines of LF or CRLF, nothing else to do: the fast way is enough. */
bool shape_plain(const struct shape *s);
/* A record may wait so many ns for what follows it; 0: each line is a record at once. */
int64_t shape_timeout(const struct shape *s);
const struct zone *shape_zone(const struct shape *s);             /* NULL: the host's */
int shape_check(const struct shape_settings *s, struct error *e); /* for input_type.check */
/* Add the labels of the environment and, when there is one, of the path.  s may be NULL. */
int shape_labels(
	const struct shape *s, const char *path, struct labels_builder *out, struct error *e);
/* Round an offset up to where a character may begin. */
uint64_t shape_align(const struct shape *s, uint64_t offset); /* s may be NULL */

/* How much is known to follow. */
enum shape_more {
	SHAPE_MORE,  /* more may come at any time */
	SHAPE_QUIET, /* nothing came for shape_timeout: whole lines form a record */
	SHAPE_END,   /* nothing will come: what there is is a record */
};

enum { SHAPE_HEAD = 4 }; /* bytes at the start of a source that tell its byte order */

/* Some bytes of a source. */
struct shape_text {
	struct str bytes;
	uint64_t offset;   /* of `bytes` in the source */
	struct str labels; /* canonical, of the source */
	struct str head;   /* its first SHAPE_HEAD bytes; fewer where it has no more */
	uint8_t told;      /* the level of its labels, by discover_labels */
	enum shape_more more;
};

struct shape_line {
	struct record record; /* timestamp, severity, flags, body, meta set; the rest 0 */
	struct str labels;    /* canonical: those of the source, or with the label `stream` */
	size_t end;           /* its position: behind its last byte, from the start of `bytes` */
};

/* What one reader needs while it splits; a loop's thread.  Borrows both. */
struct shaper;
struct shaper *shaper_new(const struct shape *s, struct line_reader *lines);
void shaper_free(struct shaper *s); /* NULL is fine */
/* The next unit at the start of `t->bytes`: its lines, in order of `end`, and its length.  0: it
 * is not complete, or its first line is longer than LINE_FRAGMENT and bytes.n is no less.  *n may
 * be 0: all dropped.  The views are valid until the next call. */
size_t shaper_next(
	struct shaper *s, const struct shape_text *t, const struct shape_line **lines, size_t *n);
/* The length of the first line of `t->bytes`, its newline included; 0: there is no newline.
 * *newline is 1 for a newline of one byte; others are a part of a long line. */
size_t shaper_line(struct shaper *s, const struct shape_text *t, size_t *newline);
/* The caller has what the last call gave, for good: it is counted.  Not called where a unit has to
 * wait and is asked for again. */
void shaper_taken(struct shaper *s);
/* Redact the body of a piece of a long line, which holds `raw_bytes` of the source. */
void shaper_piece(struct shaper *s, struct record *r, size_t raw_bytes);
