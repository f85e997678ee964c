/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The tree that query_parse makes.  All of it lies in the query's arena and is
 * immutable from then on; compiled regexes are the one thing outside, kept in
 * a list that query_free walks.
 *
 *   expr ─┬─ EXPR_LOG       matchers, stages, reshapes
 *         ├─ EXPR_RANGE     function, log, unwrap, [range], offset, grouping
 *         ├─ EXPR_VECTOR    function, parameter, grouping, over ──► expr
 *         ├─ EXPR_BINARY    operator, matching, left ──► expr, right ──► expr
 *         ├─ EXPR_REPLACE   label_replace, over ──► expr
 *         └─ EXPR_CONSTANT  a number or vector(number), folded
 */
#include "query/group.h"
#include "query/matcher.h"
#include "query/stages.h"

enum {
	QUERY_TEXT_MAX = 128 << 10, /* bytes of a query */
	QUERY_DEPTH_MAX = 64,       /* nested parentheses and calls */
	QUERY_STAGES_MAX = 256,     /* of one pipeline */
	QUERY_MATCHERS_MAX = 256,   /* of one selector */
	QUERY_CONTEXT_MAX = 100,    /* lines before, and after, of `context` */
	QUERY_OPERATORS_MAX = 256,  /* binary operators that do not fold: the height of the tree */
};

/* What is done with all the lines of a log query at last, beyond Loki: after the stages, at the
 * end of a log query alone. */
enum reshape_kind {
	RESHAPE_UNIQ, /* the newest (with direction=forward the oldest) of lines that are alike */
	RESHAPE_TOP,  /* the `limit` most frequent, as lines with their counts */
	RESHAPE_SORT, /* by the values of labels */
	RESHAPE_CONTEXT, /* and the lines around them in their streams */
};

struct reshape {
	enum reshape_kind kind;
	const struct str *names; /* of uniq, top and sort by (a, b); n == 0: the line itself */
	size_t n;
	bool descending;        /* sort by (a) desc */
	uint64_t limit;         /* of top */
	uint32_t before, after; /* of context -B 3 -A 3 */
	const struct reshape *next;
};

struct log_expr {
	struct matcher *matchers; /* in the order written */
	size_t n_matchers;
	const struct stage *stages;     /* a list through next, in the order written */
	const struct reshape *reshapes; /* likewise; NULL within metrics */
};

enum range_function {
	RANGE_COUNT_OVER_TIME,
	RANGE_RATE, /* with unwrap: of the sum of values */
	RANGE_BYTES_OVER_TIME,
	RANGE_BYTES_RATE,
	RANGE_ABSENT_OVER_TIME,
	/* Those below want an unwrap. */
	RANGE_RATE_COUNTER,
	RANGE_SUM_OVER_TIME,
	RANGE_AVG_OVER_TIME,
	RANGE_MIN_OVER_TIME,
	RANGE_MAX_OVER_TIME,
	RANGE_STDVAR_OVER_TIME,
	RANGE_STDDEV_OVER_TIME,
	RANGE_QUANTILE_OVER_TIME,
	RANGE_FIRST_OVER_TIME,
	RANGE_LAST_OVER_TIME,
};

struct range_expr {
	struct log_expr log;
	enum range_function function;
	double quantile;                 /* of quantile_over_time */
	const struct unwrap *unwrap;     /* NULL for none */
	const struct stage *after;       /* label filters behind the unwrap; NULL for none */
	const struct grouping *grouping; /* NULL for none */
	int64_t range_ns;                /* > 0 */
	int64_t offset_ns;               /* how far the window lies in the past; may be negative */
};

enum vector_function {
	VECTOR_SUM,
	VECTOR_MIN,
	VECTOR_MAX,
	VECTOR_AVG,
	VECTOR_COUNT,
	VECTOR_STDDEV,
	VECTOR_STDVAR,
	VECTOR_TOPK,
	VECTOR_BOTTOMK,
	VECTOR_APPROX_TOPK, /* answered exactly */
	VECTOR_SORT,
	VECTOR_SORT_DESC,
};

struct vector_expr {
	enum vector_function function;
	uint64_t k; /* of topk, bottomk and approx_topk, > 0 */
	struct grouping grouping;
	bool grouped;            /* it was written; without it: by () */
	const struct expr *over; /* never EXPR_LOG */
};

enum binary_op {
	BINARY_OR,
	BINARY_AND,
	BINARY_UNLESS,
	BINARY_EQ,
	BINARY_NE,
	BINARY_GT,
	BINARY_GE,
	BINARY_LT,
	BINARY_LE,
	BINARY_ADD,
	BINARY_SUB,
	BINARY_MUL,
	BINARY_DIV,
	BINARY_MOD,
	BINARY_POW,
};

enum cardinality { ONE_TO_ONE, MANY_TO_ONE /* group_left */, ONE_TO_MANY /* group_right */ };

struct binary_expr {
	enum binary_op op;
	bool returns_bool; /* a comparison answers 0 and 1 in place of filtering */
	bool on;           /* match on `names` alone; else on all but them */
	bool matched;      /* on or ignoring was written */
	const struct str *names;
	size_t n_names;
	enum cardinality cardinality;
	const struct str *include; /* labels of the "one" side that group_left(…) copies */
	size_t n_include;
	/* Never EXPR_LOG.  Both are constants only where a comparison or a set operator may leave
	 * out the sample of a vector(n), which no constant can say. */
	const struct expr *left, *right;
};

struct replace_expr {
	const struct expr *over; /* never EXPR_LOG */
	struct str to, replacement, from;
	struct str pattern;        /* as written */
	const struct regex *regex; /* with groups; the whole value must match */
};

struct constant_expr {
	double value;
	bool is_vector;
};

enum expr_kind { EXPR_LOG, EXPR_RANGE, EXPR_VECTOR, EXPR_BINARY, EXPR_REPLACE, EXPR_CONSTANT };

struct expr {
	enum expr_kind kind;
	union {
		struct log_expr log;
		struct range_expr range;
		struct vector_expr vector;
		struct binary_expr binary;
		struct replace_expr replace;
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
	const char *beyond; /* why strict mode refuses it; NULL for what Loki has as well */
};

/* Compile a regex that belongs to the query from here on.  The errors of regex_new. */
enum regex_use { REGEX_LINE /* of a line filter */, REGEX_WHOLE, REGEX_GROUPS, REGEX_WHOLE_GROUPS };
int query_regex(struct query *q, struct str pattern, enum regex_use use, const struct regex **out,
	struct error *e);

/* The selector and pipeline a log query reads from; NULL for a metric, which may have several. */
const struct log_expr *expr_log(const struct expr *x);
/* Append, in one line, its selector and the stages that choose alike whatever number a record has:
 * those before the first `sample`.  What they keep holds all that `log` keeps. */
void log_format_rows(const struct log_expr *log, struct buf *out);
/* Append a range aggregation, in one line. */
void range_format(const struct range_expr *x, struct buf *out);
/* Every selector and pipeline in the tree. */
void expr_each_log(
	const struct expr *x, void (*each)(void *ctx, const struct log_expr *log), void *ctx);
/* Constants fold: a op b as Loki computes it. */
double binary_apply(enum binary_op op, double a, double b);
/* The words of the functions, for the parser and the formatter; NULL beyond the last. */
const char *range_function_name(enum range_function f);
const char *vector_function_name(enum vector_function f);
const char *binary_op_text(enum binary_op op);
bool binary_op_is_comparison(enum binary_op op);
bool binary_op_is_set(enum binary_op op); /* or, and, unless */
/* The word that stands for it; NULL beyond the last. */
const char *reshape_kind_name(enum reshape_kind kind);
bool range_function_needs_unwrap(enum range_function f);
bool range_function_takes_unwrap(enum range_function f); /* it may have one */
bool range_function_takes_grouping(enum range_function f);
