/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Patterns: literals with captures between them, `<ip> - <_> [<ts>]`.  A name
 * in <> is a capture, <_> one without a name; any other < is a literal.
 * Source: grafana.com/docs/loki (pattern parser, pattern filters).
 * Thread rule: immutable once parsed; any thread.
 */
#include "base/arena.h"

struct capture {
	struct str name;    /* empty: it has none */
	struct str literal; /* behind it; empty for the last capture at most */
	size_t anchor;      /* its byte that is looked for: one that lines seldom hold */
};

struct pattern {
	struct str head; /* the literal in front of the first capture */
	struct capture *captures;
	size_t n;
};

enum {
	PATTERN_CAPTURES_MAX = 128,
};

/* Into the arena; views of `text`.  ERR_ARG: two captures touch each other, a name stands twice. A
 * pattern to extract has a name at least, one to filter (`names` is false) has none. */
int pattern_parse(
	struct pattern *out, struct arena *a, struct str text, bool names, struct error *e);
/* Is the whole line of this shape, with a byte at least for each capture? */
bool pattern_matches(const struct pattern *p, struct str line);
/* What the first n captures take, in order: a capture reaches to its literal, and where that is
 * missing to the end of the line, and nothing follows.  Returns how many there are. */
size_t pattern_captures(const struct pattern *p, struct str line, size_t n, struct str *out);
/* The longest literal; empty when there is none. */
struct str pattern_needle(const struct pattern *p);
