/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Line filters: |= "a" or "b", !=, |~, !~. */
#include "query/stage.h"

struct regex;

enum filter_op { FILTER_CONTAINS, FILTER_LACKS, FILTER_MATCHES, FILTER_MATCHES_NOT };

/* One alternative; any of them counts as a hit. */
struct filter_value {
	struct str text;           /* as the user wrote it, unquoted */
	const struct regex *regex; /* of the regex operators, not anchored */
	struct filter_value *next;
};

/* A stage in the arena; borrows `values`, which lie there too. */
struct stage *filter_line_new(
	struct arena *a, enum filter_op op, const struct filter_value *values);
bool filter_op_is_regex(enum filter_op op);
const char *filter_op_text(enum filter_op op);
