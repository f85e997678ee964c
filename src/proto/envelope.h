/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What lies around a line in a file, and how to get the file's bytes back.
 *
 * A record's body is the line as people read it.  The bytes of the file
 * differ from it by the newline (LF, CRLF or none: the distance between
 * positions tells), by a byte order mark at the start of the file (the same)
 * and, for some, by an envelope: Docker's JSON, the CRI prefix, another
 * encoding.  The metadata `envelope` then holds a recipe out of which
 * envelope_rebuild makes the original bytes.  Whoever writes a recipe has
 * rebuilt it once and compared.
 *
 * Two more metadata count here: `skipped` (so many bytes right before the
 * record's unit are not stored) and `redacted` (so many bytes of the file
 * became this record, and cannot be made again).
 *
 * Recipes: doc/input/shapes.md.  Pure functions.
 */
#include "proto/container.h"
#include "record/batch.h"

/* Names of the metadata. */
#define ENVELOPE_META          "envelope"
#define ENVELOPE_SKIPPED_META  "skipped"
#define ENVELOPE_REDACTED_META "redacted"

enum {
	ENVELOPE_MAX = 32 << 10, /* bytes of a recipe */
	ENVELOPE_REDACTED = 1,
};

/* A piece of the file: `bytes` begin at `offset`. */
typedef int envelope_piece(void *arg, uint64_t offset, struct str bytes, struct error *e);

/* Call `piece` for each piece of the record's unit of the file, in order of offsets.  `before` is
 * the position of the record before it of the same source, 0 for the first.
 * ENVELOPE_REDACTED: `piece` got the body as it is stored, at the offset of what it was made of;
 * those bytes end at the record's position.  ERR_CORRUPT when recipe and record do not fit; what
 * `piece` returned, when that is not 0. */
int envelope_rebuild(
	const struct record *r, uint64_t before, envelope_piece *piece, void *arg, struct error *e);

/* For writers: one line of the file out of which a part of a record was made. */
enum envelope_kind { ENVELOPE_RAW, ENVELOPE_DOCKER, ENVELOPE_CRI };
enum envelope_eol { EOL_LF, EOL_CRLF, EOL_NONE };
enum { DIGITS_TRIMMED = -1 };

struct envelope_line {
	enum envelope_kind kind;
	enum container_stream stream;
	enum envelope_eol eol;
	bool partial;     /* CRI: tag P */
	bool open;        /* Docker: the last one's text has no newline at its end */
	bool cr;          /* the last one's text has a carriage return (before its newline) */
	bool literal;     /* the whole line stands in `head`, its newline too; n counts all that it
			     made of the body */
	unsigned manner;  /* Docker: enum json_manner */
	int digits;       /* of the time's fraction, or DIGITS_TRIMMED */
	struct str zone;  /* as written: "Z", "+02:00" */
	struct str attrs; /* Docker */
	/* Where p is set, the bytes before and behind the text as they are, newline excluded. */
	struct str head, foot;
	int64_t time;
	uint64_t n;   /* bytes of the body made of its text */
	uint64_t gap; /* bytes of others between it and the next line of the record */
};

/* The form of a decoded line, as its runtime would write it. */
void envelope_line_of(const struct container_line *c, bool docker, struct envelope_line *out);
/* Is it a line alone as its runtime writes most of them?  Then the recipe, a constant, and the body
 * make `line` again, which this has checked; both are views, the body of `text`. */
bool envelope_usual(const struct container_line *c, bool docker, struct str text, struct str line,
	struct buf *tmp, struct str *body, struct str *recipe);
/* Find a form with which the text makes `line` again: other manners, then literals. */
void envelope_line_exact(
	struct envelope_line *l, struct str text, struct str line, const struct container_line *c);
/* Append the recipe of a record that these lines made; its timestamp is the first one's time. */
void envelope_write(
	const struct envelope_line *lines, size_t n, int64_t timestamp, struct buf *out);
/* Another encoding, as iconv names it: the body is in UTF-8.  marked: a byte order mark stands
 * before it. */
void envelope_write_encoding(const char *name, bool marked, struct buf *out);
bool envelope_encoding_valid(struct str name); /* letters, digits and -_.:+, and not long */
/* Append `text` in UTF-8 as bytes of encoding `name`.  ERR_CORRUPT, ERR_UNSUPPORTED. */
int envelope_encode(const char *name, struct str text, struct buf *out, struct error *e);
