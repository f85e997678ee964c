/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which records a selector means.  A label that the stream has decides for all
 * of its records.  A name that the stream does not have is looked for in each
 * record's structured metadata, and detected_level among it; where that has
 * none either it counts as "".  In strict mode it is "" at once, as in Loki.
 * Pure; any thread.
 */
#include "query/ast.h"

/* What the labels of a stream say.  Without SELECT_META and SELECT_LEVEL they say it of each of
 * its records. */
enum selected {
	SELECT_NONE = 0,
	SELECT_SOME = 1,  /* set for all but SELECT_NONE */
	SELECT_BARE = 2,  /* a record without metadata may be meant, whatever its level */
	SELECT_META = 4,  /* a record's metadata decides */
	SELECT_LEVEL = 8, /* a record's level decides: a matcher names detected_level */
};

/* Of enum selected, or ERR_LIMIT when a regex ran out of its budget. */
int select_stream(const struct log_expr *log, struct str labels, bool strict);
/* Does the level pass, of a record that has one of its own?  1, 0 or ERR_LIMIT. */
int select_level(const struct log_expr *log, struct str labels, const char *level);
/* Does the record pass?  `level` may be NULL. */
int select_record(
	const struct log_expr *log, struct str labels, struct str meta, const char *level);
