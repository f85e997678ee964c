/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The labels of a row on its way through a pipeline: those of its stream, its
 * structured metadata (with detected_level), and those that stages parsed out
 * of the line.  Where two have one name, parsed wins over metadata, metadata
 * over stream; so that a parser hides nothing, what it finds under the name of
 * a stream label or of metadata becomes NAME_extracted.
 *
 * Names and values are views: of the row, or of text that fields_text gave.
 * All are valid until the next fields_begin.  Stream and metadata are decoded
 * when they are first asked for.
 * Thread rule: one thread.
 */
#include "base/arena.h"
#include "query/group.h"

enum {
	FIELDS_MAX = 1024, /* parsed labels of a row; a stage that finds more leaves the rest out
			    * and sets an error */
};

enum field_kind { FIELD_STREAM, FIELD_META, FIELD_PARSED };

struct fields;

struct fields *fields_new(
	struct account *a); /* what it holds is charged there by force; NULL: not */
void fields_free(struct fields *f);
/* Begin a row.  `labels` and `meta` are canonical, meta may be empty, level NULL. */
void fields_begin(struct fields *f, struct str labels, struct str meta, const char *level);
/* Room for n bytes that live as long as the row's views. */
char *fields_text(struct fields *f, size_t n);
/* The value that counts under the name; false: there is none.  "__error__" and
 * "__error_details__" are fields like others, of FIELD_PARSED. */
bool fields_get(struct fields *f, struct str name, struct str *value);
/* As fields_get, and of which kind it is. */
bool fields_find(struct fields *f, struct str name, struct str *value, enum field_kind *kind);
/* What a parser found: sanitised to a label name ([a-zA-Z_][a-zA-Z0-9_]*, each other character
 * becomes _, a digit in front gets a _), renamed where a stream label or metadata has that name.
 * Of several values of one name the first stays, as documented.  A value may be empty.  Nothing
 * happens for an empty name.  False when FIELDS_MAX is reached. */
bool fields_parsed(struct fields *f, struct str name, struct str value);
/* label_format and unpack: the name means this from now on, whatever it was. */
bool fields_set(struct fields *f, struct str name, struct str value);
/* It is gone, of whatever kind it was. */
void fields_remove(struct fields *f, struct str name);
/* Keep those alone for which `keep` is true; called once a name that counts. */
void fields_filter(
	struct fields *f, bool (*keep)(void *ctx, struct str name, struct str value), void *ctx);
/* Each name that counts with its value, in any order; NULL ends it:
 * `for (const struct label *l = NULL; (l = fields_next(f, &at)); )` with at = 0 at first. */
const struct label *fields_next(struct fields *f, size_t *at);

/* An error of the row: __error__ is `name` ("JSONParserErr"), __error_details__ the sentence.  The
 * first one stays. */
void fields_fail(struct fields *f, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
bool fields_failed(struct fields *f);

/* Remember what the fields are; pop puts them back to that (text given meanwhile stays valid).
 * They nest four deep. */
void fields_push(struct fields *f);
void fields_pop(struct fields *f);

/* Was anything parsed, set or removed since fields_begin?  If not, the row's own bytes say all. */
bool fields_changed(const struct fields *f);
/* Append the canonical set of the labels of one kind, and of all that counts; only that parsed
 * labels with empty values are among them, as `logfmt --keep-empty` promises.  The set of the
 * stream has those too that metadata of the same name hides.  Names and values are cut after 2 MiB:
 * a set cannot hold longer ones. */
void fields_write(struct fields *f, enum field_kind kind, struct buf *out);
void fields_write_all(struct fields *f, struct buf *out);
/* Append the canonical set of the labels that count, are not empty and that the grouping keeps. */
void fields_project(struct fields *f, const struct grouping *g, struct buf *out);
