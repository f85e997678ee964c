/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The tree that query_parse makes.  All of it lies in the query's arena and is
 * immutable from then on; compiled regexes are the one thing outside, kept in
 * a list that query_free walks.
 *
 *   expr ─┬─ EXPR_LOG       matchers, stages
 *         ├─ EXPR_RANGE     function, log, [range], offset
 *         ├─ EXPR_VECTOR    function, parameter, grouping, over ──► expr
 *         └─ EXPR_CONSTANT  a number or vector(number), folded
 */
#include "query/group.h"
#include "query/matcher.h"
#include "query/stage.h"

enum {
	QUERY_TEXT_MAX = 128 << 10, /* bytes of a query */
	QUERY_DEPTH_MAX = 64,       /* nested parentheses and calls */
	QUERY_STAGES_MAX = 256,     /* of one pipeline */
	QUERY_MATCHERS_MAX = 256,   /* of one selector */
};

struct log_expr {
	struct matcher *matchers; /* in the order written */
	size_t n_matchers;
	const struct stage *stages; /* a list through next, in the order written */
};

enum range_function {
	RANGE_COUNT_OVER_TIME,
	RANGE_RATE,
	RANGE_BYTES_OVER_TIME,
	RANGE_BYTES_RATE,
};

struct range_expr {
	struct log_expr log;
	enum range_function function;
	int64_t range_ns;  /* > 0 */
	int64_t offset_ns; /* how far the window lies in the past; may be negative */
};

enum vector_function {
	VECTOR_SUM,
	VECTOR_MIN,
	VECTOR_MAX,
	VECTOR_AVG,
	VECTOR_COUNT,
	VECTOR_TOPK,
	VECTOR_BOTTOMK,
};

struct vector_expr {
	enum vector_function function;
	uint64_t k; /* of topk and bottomk, > 0 */
	struct grouping grouping;
	const struct expr *over; /* never EXPR_LOG */
};

struct constant_expr {
	double value;
	bool is_vector;
};

enum expr_kind { EXPR_LOG, EXPR_RANGE, EXPR_VECTOR, EXPR_CONSTANT };

struct expr {
	enum expr_kind kind;
	union {
		struct log_expr log;
		struct range_expr range;
		struct vector_expr vector;
		struct constant_expr constant;
	};
};

struct owned_regex {
	struct regex *regex;
	struct owned_regex *next;
};

struct query {
	struct arena arena;
	const struct expr *root;
	struct owned_regex *regexes;
};

/* The selector and pipeline a query reads from; NULL for a constant. */
const struct log_expr *expr_log(const struct expr *x);
/* The words of the functions, for the parser and the formatter; NULL beyond the last. */
const char *range_function_name(enum range_function f);
const char *vector_function_name(enum vector_function f);
