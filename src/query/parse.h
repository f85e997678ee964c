/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the files of the parser share: parse.c has the token in hand and the
 * errors, parse_log.c selectors and stages, parse_label.c label filters,
 * parse_metric.c everything that makes numbers.  Internal to src/query; one
 * thread.
 *
 * Functions return 0, or a code with the sentence in p->e; they leave the first
 * token behind what they read in hand.
 */
#include "query/ast.h"
#include "query/lex.h"

struct parser {
	struct lexer lex;
	struct lexeme tok; /* in hand */
	struct query *query;
	unsigned depth;
	unsigned n_operators; /* that did not fold */
	struct error *e;
};

int parse_next(struct parser *p);
/* The token behind the one in hand; T_END when it cannot be read. */
struct lexeme parse_peek(const struct parser *p);
bool parse_is_word(const struct lexeme *t, const char *word);
bool parse_is_grouping(const struct lexeme *t); /* by, without */
/* An error at the token t: "parse error at line 1, col 5: <sentence>"; returns ERR_ARG. */
int parse_fail_at(struct parser *p, const struct lexeme *t, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with what a function gave that knows no place; returns `code`. */
int parse_fail_with(struct parser *p, const struct lexeme *t, int code, const struct error *inner);
/* The token in hand is wrong.  `expecting` is "STRING or ip"; NULL when too much would do. */
int parse_unexpected(struct parser *p, const char *expecting);
int parse_expect(struct parser *p, enum token_kind kind, const char *expecting);
/* A string, which is kept. */
int parse_string(struct parser *p, struct str *out);
/* An identifier, which is kept. */
int parse_identifier(struct parser *p, const char *expecting, struct str *out);
/* "(" [ name { "," name } ] ")", in the order written. */
int parse_names(struct parser *p, const struct str **names, size_t *n);
/* by (a, b) or without (a, b): sorted, each name once. */
int parse_grouping(struct parser *p, struct grouping *out);
/* Every deeper level of parentheses and calls, against a stack that has no end. */
int parse_enter(struct parser *p);
void parse_leave(struct parser *p);
/* What t begins is not Loki's: strict mode refuses the query because of the first of these. */
void parse_beyond(struct parser *p, const struct lexeme *t, const char *what);
/* The regex in the token in hand, which belongs to the query from here on. */
int parse_regex(struct parser *p, enum regex_use use, const struct regex **out);

/* --- parse_log.c --- */

int parse_selector(struct parser *p, struct log_expr *out);
bool parse_starts_stage(const struct lexeme *t);
/* Append the stages that follow, if any.  `range` is the aggregation around them: then an unwrap
 * may be among them, and no reshape. */
int parse_stages(struct parser *p, struct log_expr *log, struct range_expr *range);
/* name op value, as in selectors; `expecting` is what is told when there is no name. */
int parse_matcher(struct parser *p, struct matcher *m, const char *expecting);

/* --- parse_label.c --- */

/* Is it an operator of label filters? */
bool parse_is_compare(const struct lexeme *t);
/* The filters that a "|" introduced, which is behind us. */
int parse_label_filter(struct parser *p, struct stage **out);

/* --- parse_metric.c --- */

int parse_expr(struct parser *p, const struct expr **out);
/* The word in hand as Loki names it: itself when it is a function that is called, else
 * IDENTIFIER. */
bool parse_is_function(const struct parser *p);
