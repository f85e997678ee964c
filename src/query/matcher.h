/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Label matchers: {name op "value"}.  A label that a stream does not have
 * counts as "".  Regexes match whole values.  Pure; any thread.
 */
#include "codec/regex.h"
#include "record/labels.h"

enum match_op { MATCH_EQUAL, MATCH_NOT_EQUAL, MATCH_REGEX, MATCH_NOT_REGEX };

struct matcher {
	struct str name, value;
	enum match_op op;
	const struct regex *regex; /* of the regex operators, anchored */
};

/* 1 when the value passes, 0 when not, ERR_LIMIT when the regex ran out of its budget. */
int matcher_match(const struct matcher *m, struct str value);
/* All of them, over canonical labels; as matcher_match. */
int matchers_match(const struct matcher *m, size_t n, struct str labels);
/* Does some matcher ask for a value that is there?  What strict mode wants of a selector. */
bool matchers_narrow(const struct matcher *m, size_t n);
/* Is it a name alone, as drop and keep take one?  Such a matcher is a MATCH_EQUAL whose value.p is
 * NULL; that of b="" is not. */
bool matcher_is_name(const struct matcher *m);
const char *match_op_text(enum match_op op);
/* Append it as LogQL: name="value", or the name. */
void matcher_format(const struct matcher *m, struct buf *out);
/* Append all of them, with ", " between. */
void matchers_format(const struct matcher *m, size_t n, struct buf *out);
