/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Reads the JSON of one line in one pass, without a tree: what is asked for is
 * taken on the way, the rest is checked and stepped over.
 *
 * It accepts what json_parse accepts, where the whole is an object (with paths
 * an array too), and gives the same values: stage_json_fuzz.c compares the two.
 * Thread rule: a reader belongs to one thread.
 */
#include "query/fields.h"

enum {
	JSON_LINE_PICKED = 64,        /* names or paths that a reader can look for */
	JSON_LINE_FOUND = FIELDS_MAX, /* it finds no more than that, and says so */
};

enum json_take {
	/* Every scalar but null, under the keys on the way to it joined with _; no arrays. */
	JSON_TAKE_ALL,
	/* Of those the ones whose name, made a label name as fields_parsed does, is among
	 * `names`.  The first of a name. */
	JSON_TAKE_NAMES,
	/* What the paths lead to, containers as they are written; null is nothing.  The first of
	 * a path. */
	JSON_TAKE_PATHS,
	/* The strings of the outermost object. */
	JSON_TAKE_STRINGS,
};

struct json_step {
	struct str key;
	uint32_t index; /* when key.p is NULL */
};

struct json_path {
	const struct json_step *steps;
	size_t n; /* > 0 */
};

struct json_found {
	/* Names: the one asked for.  Paths: none.  Else: the keys, unescaped and joined. */
	struct str name;
	struct str value; /* of the line, or of fields_text */
	size_t at;        /* of names and paths: which one */
};

struct json_line {
	/* Set by its owner. */
	enum json_take take;
	const struct str *names;
	const struct json_path *paths;
	size_t n_picked;
	/* What the last line had.  `found` lives as long as the reader. */
	struct json_found *found;
	size_t n_found, cap;
	bool more;        /* there was more than JSON_LINE_FOUND */
	const char *what; /* of a line that is none: why, and at which byte */
	size_t at;
};

void json_line_fini(struct json_line *r);
/* False when the line is none.  Text is made in `f`. */
bool json_line_read(struct json_line *r, struct str line, struct fields *f);
/* `my.list[0]["a key"]` into steps; ERR_ARG says what is wrong. */
int json_path_parse(struct arena *a, struct str text, struct json_path *out, struct error *e);
