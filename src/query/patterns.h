/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Patterns: how often which kind of line occurs.  Lines of one kind differ in
 * their values alone; a pattern shows "<_>" for each of these.
 *
 * The store knows the kinds already (store/lines/template.h): where a block lies
 * inside of one step, its counts are taken and no row is looked at.
 * Threads: as query_run.
 */
#include "query/query.h"

enum {
	PATTERNS_MAX = 32 << 10,     /* told apart at once; beyond it the rarest are put together */
	PATTERN_EXAMPLE_MAX = 32768, /* bytes of an example */
};

struct pattern {
	struct str text;
	uint64_t count;
	const char *level;  /* detected_level of all of its lines; NULL when they differ */
	uint64_t *samples;  /* lines by step; NULL when not asked for */
	struct str example; /* its newest line, when asked for */
	int64_t example_ns;
};

struct patterns_params {
	/* start, end, tenant, budget …; limit: the most frequent ones, 0 for all; step_ns: of the
	 * samples, 0 for none. */
	struct query_params query;
	bool examples;
};

struct patterns {
	struct pattern *patterns; /* most frequent first */
	size_t n;
	uint64_t lines;              /* all that matched */
	uint64_t other;              /* lines without a pattern: too long, or too many values */
	uint64_t n_further, further; /* patterns beyond the limit, and their lines */
	bool inexact; /* there were more than PATTERNS_MAX, or memory for fewer: counts of the
			 rare ones may be too low, which a warning tells as well */
	/* Samples: the first step begins at first_ns, each is step_ns long. */
	int64_t first_ns, step_ns;
	size_t n_steps;
	struct query_result result; /* stats, warnings, last_seq; holds all of the above */
};

/* Of a log query.  ERR_ARG for another, and as query_run.  *out is to be finished only after
 * success. */
int query_patterns(const struct query *q, struct snapshot *sn, const struct patterns_params *p,
	struct patterns *out, struct error *e);
void patterns_fini(struct patterns *p);
