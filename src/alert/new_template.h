/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Kinds of lines that were not seen before, as the expression of a rule beyond
 * LogQL:
 *
 *   new_template({app="shop"} |= "x" [5m], 7d)
 *
 * is a vector of the patterns (query/patterns.h) of the lines of the last 5
 * minutes that the 7 days before those do not have, with the label `pattern`
 * and how often they came.  Where nothing at all came in these 7 days nothing
 * is known, and nothing is new.
 *
 * The 7 days are looked through when a pattern turns up that is not known; what
 * was found is kept in a memory, which may be thrown away.
 * Thread rule: an expression is immutable; a memory belongs to one thread.
 */
#include "query/source.h"

enum { NEW_TEMPLATES_MAX = 100 }; /* told at once; beyond it the most frequent */

struct new_template {
	struct query *query;
	int64_t window_ns, history_ns;
};

/* Does the text begin as such an expression? */
bool new_template_is(struct str expr);
/* ERR_ARG with the sentence.  *out is to be finished only after success. */
int new_template_parse(struct new_template *out, struct str expr, struct error *e);
void new_template_fini(struct new_template *n);

struct new_template_memory;

struct new_template_memory *new_template_memory_new(void);
void new_template_memory_free(struct new_template_memory *m); /* NULL is fine */

/* The vector at p->end_ns.  Of `p` tenant, budget, timeout and cancel count.  Errors as
 * source_patterns, and ERR_LIMIT where there are too many patterns to tell new ones. */
int new_template_run(const struct new_template *n, struct new_template_memory *m, struct source *s,
	const struct query_params *p, struct query_result *out, struct error *e);
