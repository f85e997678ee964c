/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Line filters: |= "a" or "b" or ip("10.0.0.0/8"), !=, |~, !~, and with patterns |>, !>. */
#include "query/ip.h"
#include "query/stage.h"

struct regex;

enum filter_op {
	FILTER_CONTAINS,
	FILTER_LACKS,
	FILTER_MATCHES,
	FILTER_MATCHES_NOT,
	FILTER_PATTERN,
	FILTER_PATTERN_NOT,
};

/* One alternative; any of them counts as a hit. */
struct filter_value {
	struct str text;             /* as the user wrote it, unquoted */
	const struct regex *regex;   /* of the regex operators, not anchored */
	const struct ip_pattern *ip; /* of = and != alone; text is what ip() was given */
	struct filter_value *next;
};

/* May the text stand behind |> and !>?  ERR_ARG with a sentence; asked before filter_line_new. */
int filter_pattern_check(struct str text, struct error *e);
/* A stage in the arena; borrows `values`, which lie there too. */
struct stage *filter_line_new(
	struct arena *a, enum filter_op op, const struct filter_value *values);
bool filter_op_is_regex(enum filter_op op);
const char *filter_op_text(enum filter_op op);
