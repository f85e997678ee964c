/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the two halves of the parser share: template_parse.c has the actions,
 * template_pipe.c the tokens and what stands inside of an action.
 * Functions that return int give ERR_ARG or ERR_LIMIT with the error set.
 * Thread rule: a parser belongs to the thread that parses.
 */
#include "query/template_lex.h"
#include "query/template_tree.h"

struct template_parser {
	struct template_program *program;
	struct query *query;
	struct arena *arena;
	struct error *e;
	struct template_lexer l;
	bool pending; /* the lexer's token is still to be taken */
	unsigned depth, range_depth;
	struct template_body *body; /* that is being parsed */
	struct str variables[TEMPLATE_VARIABLES_MAX];
	size_t n_variables;
};

/* Take the next token; the next but spaces; look at that one. */
enum template_token template_next(struct template_parser *p);
enum template_token template_next_word(struct template_parser *p);
enum template_token template_peek_word(struct template_parser *p);
/* "template: :LINE: …" for the token that was taken last. */
int template_parse_fail(struct template_parser *p, const char *fmt, ...) PRINTF(2, 3);
/* That token does not belong here. */
int template_unexpected(struct template_parser *p, const char *context);
/* One level deeper; the caller counts p->depth down again. */
int template_deeper(struct template_parser *p);
/* A node at the token that was taken last. */
struct node *template_node(struct template_parser *p, enum node_kind kind);
int template_declare(struct template_parser *p, struct str name, uint16_t *slot);
int template_string_node(struct template_parser *p, struct node **out);
/* A pipeline up to the token that closes it, which is taken.  `context` names it in sentences. */
int template_parse_pipe(struct template_parser *p, const char *context, enum template_token closing,
	struct node **out);
