/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A line filter as the store evaluates it: the line contains one of some texts
 * or matches one of some expressions, or it does not.
 * Thread rule: immutable; any thread.
 */
#include "codec/regex.h"

struct line_test {
	struct str text;           /* when regex is NULL; empty: every line passes */
	const struct regex *regex; /* borrowed */
};

struct line_filter {
	const struct line_test *tests; /* borrowed; at least one */
	size_t n;
	bool negate; /* keep lines that pass none of the tests */
};

/* 1 the line is kept, 0 it is not, ERR_LIMIT when an expression ran out of its budget. */
int line_filter_test(const struct line_filter *f, struct str line);
/* The same over n filters: kept by all. */
int line_filters_test(const struct line_filter *f, size_t n, struct str line);
