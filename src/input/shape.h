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
 * looked at again from its beginning when more bytes are there.
 */
#include "conf/option.h"
#include "input/lines.h"

enum shape_format { FORMAT_PLAIN, FORMAT_DOCKER, FORMAT_CRI, FORMAT_CONTAINER };

/* A part of the settings of each kind of text input; what each means is in shape_options. */
struct shape_settings {
	int format;           /* enum shape_format; container: docker or cri, by the first line */
	const char *encoding; /* as iconv names it; NULL: UTF-8, taken as it is */
	struct {
		const char *rule;  /* java, python, go, ruby, php, dotnet, all; or */
		const char *first; /* expression that the first line of a record matches */
		int64_t timeout;   /* ns without a new line after which a record is complete */
		int64_t max_lines;
	} multiline;
	const char *timezone;         /* IANA name or +hh:mm; NULL: the host's */
	const char *path_labels;      /* expression with named groups over the path */
	struct string_map env_labels; /* label -> name of an environment variable */
	struct strings drop;          /* expressions: such lines do not leave the host */
	struct string_map redact;     /* expression -> replacement ("$1" are groups) */
};

/* SHAPE_OPTIONS(type, field): the rows of the table of `type`, which has a struct shape_settings
 * `field`. */

struct shape;
/* ERR_ARG with setting and reason.  Settings are borrowed until shape_free. */
int shape_new(struct shape **out, const struct shape_settings *s, struct error *e);
void shape_free(struct shape *s);
/* Lines of LF or CRLF, nothing else to do: the fast way is enough. */
bool shape_plain(const struct shape *s);
/* Nothing is complete before this many ns without new bytes; 0: each line is at once. */
int64_t shape_timeout(const struct shape *s);
int shape_check(const struct shape_settings *s, struct error *e); /* for input_type.check */

/* How much is known to follow. */
enum shape_more {
	SHAPE_MORE,  /* more may come at any time */
	SHAPE_QUIET, /* nothing came for shape_timeout: whole lines form a record */
	SHAPE_END,   /* nothing will come: what there is is a record */
};

struct shape_line {
	struct record record; /* timestamp, severity, flags, body, meta set; the rest 0 */
	struct str labels;    /* canonical: those of the source, or with the label `stream` */
	size_t end;           /* its position: behind its last byte, from the start of `bytes` */
};

/* What one reader needs while it splits; a loop's thread.  Zeroed lines and so on inside. */
struct shaper;
struct shaper *shaper_new(const struct shape *s, struct line_reader *lines);
void shaper_free(struct shaper *s);
/* The next unit at the start of `bytes`, which lie at `offset` of a source with these labels: its
 * lines, in order of `end`, and its length.  0: it is not complete.  *n may be 0: all dropped; the
 * views are valid until the next call. */
size_t shaper_next(struct shaper *s, struct str bytes, uint64_t offset, struct str labels,
	enum shape_more more, const struct shape_line **lines, size_t *n);
