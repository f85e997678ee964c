/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The tree that promql_parse.c makes and promql_run.c walks; nobody else includes this. */
#include "api/promql.h"

enum promql_kind {
	PROMQL_NUMBER,
	PROMQL_SELECTOR,
	PROMQL_OF_RANGE,  /* function over a range */
	PROMQL_OF_VALUES, /* function of each value */
	PROMQL_AGGREGATE,
	PROMQL_BINARY,
};

enum promql_range_function {
	RANGE_RATE,
	RANGE_INCREASE,
	RANGE_DELTA,
	RANGE_AVG,
	RANGE_SUM,
	RANGE_MIN,
	RANGE_MAX,
	RANGE_COUNT,
	RANGE_LAST,
};

enum promql_value_function { VALUE_ABS, VALUE_CEIL, VALUE_FLOOR, VALUE_ROUND };

enum promql_aggregate {
	AGGREGATE_SUM,
	AGGREGATE_AVG,
	AGGREGATE_MIN,
	AGGREGATE_MAX,
	AGGREGATE_COUNT
};

enum promql_operator {
	OP_ADD,
	OP_SUB,
	OP_MUL,
	OP_DIV,
	OP_MOD,
	OP_POW,
	OP_EQ, /* from here on: comparisons */
	OP_NE,
	OP_GE,
	OP_LE,
	OP_GT,
	OP_LT,
};

struct promql_node {
	enum promql_kind kind;
	double number;
	size_t selector; /* its index */
	int function;    /* or aggregate, or operator */
	bool returns_bool;
	bool without;
	struct str *names; /* of a grouping */
	size_t n_names;
	const struct promql_node *left, *right;
};

struct promql {
	struct arena arena;
	const struct promql_node *root;
	struct promql_selector selectors[PROMQL_SELECTORS_MAX];
	size_t n_selectors;
	struct regex *regexes[PROMQL_REGEXES_MAX];
	size_t n_regexes;
};
