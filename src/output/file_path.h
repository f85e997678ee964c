/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Where a record's line goes: a path whose parts are literal text and values of
 * the record, below a root that no value leads out of.
 *
 *   /var/log/apps/{{.app}}/%(levelname)s.log
 *   `---- root ---´`---- below it, by record ----´
 *
 * A value is one part of one name: what is not a letter, digit, one of "._+@=,:-" or text beyond
 * ASCII is written %XX, so is a '.' or '-' in front; an empty value is "~none", and of a long one
 * the end is replaced by "~" and 16 hex digits of its hash.  '%' and '~' are escaped themselves:
 * two values are two names.
 *
 * Thread rule: compiled ones belong to the thread of their output.
 */
#include "output/output.h"

struct path_template;
struct line_format;

struct path_settings {
	const char *path, *root; /* absolute; root NULL: what stands before the first field */
	const char *hierarchy;   /* the label that a key stands in for; may be NULL */
	/* Names beside it end in ".1", ".2.gz": then no value may make such a name. */
	bool rotates;
};

enum {
	PATH_COMPONENT_MAX = 200, /* bytes of a name, so that ".999.gz.tmp" fits behind it */
	PATH_PIECES_MAX = 64,
};

/* ERR_ARG with a sentence. */
int path_template_new(struct path_template **out, const struct path_settings *s, struct error *e);
void path_template_free(struct path_template *t); /* NULL is fine */
const char *path_template_root(const struct path_template *t);
/* The same for all records? */
bool path_template_fixed(const struct path_template *t);
/* Append the path below the root.  `key` stands in for the hierarchy's label; NULL: its own. */
void path_template_put(struct path_template *t, const struct output_record *r,
	const struct str *key, struct buf *out);
/* Append a value of the record, as a field of the path has it but for the escapes. */
void path_template_value(
	struct path_template *t, const struct output_record *r, struct str name, struct buf *out);
/* Append what tells two templates apart: root and path in one normal form, with the links in the
 * root followed as they are now. */
void path_template_text(const struct path_template *t, struct buf *out);
/* Append a value as part of a name, in at most `max` bytes (at least 32). */
void path_value_put(struct buf *out, struct str value, size_t max);

struct folder_modes {
	unsigned dir_mode;
	bool durable; /* what is made is synced */
};

/* Open the folder below `root` (absolute) that holds `path`: a descriptor, and in *name the last
 * part of `path`.  No part below root is followed when it is a symbolic link (ERR_DENIED).  With
 * `make` missing folders, the root's too, are made; without, ERR_NOT_FOUND. */
int folder_open(const char *root, const char *path, const struct folder_modes *make,
	const char **name, struct error *e);
