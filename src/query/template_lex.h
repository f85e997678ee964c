/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The tokens of a template: text, and what lies inside of actions.  A lexer is
 * a plain struct: a copy of it is a place to come back to.
 * Pure; one thread.
 */
#include "base/str.h"

enum template_token {
	TT_TEXT,
	TT_LEFT,  /* {{ */
	TT_RIGHT, /* }} */
	TT_SPACE,
	TT_IDENTIFIER,
	TT_FIELD,    /* .x, with the point */
	TT_VARIABLE, /* $x, with the dollar */
	TT_DOT,
	TT_NIL,
	TT_BOOL,
	TT_NUMBER,
	TT_CHAR,   /* 'x', with its quotes */
	TT_STRING, /* "x" */
	TT_RAW,    /* `x` */
	TT_PIPE,
	TT_OPEN,
	TT_CLOSE,
	TT_DECLARE,
	TT_ASSIGN,
	TT_OTHER, /* any other character: the comma */
	TT_END,   /* of the text */
	TT_ERROR, /* `error` says which */
	/* Keywords. */
	TT_BLOCK,
	TT_BREAK,
	TT_CONTINUE,
	TT_DEFINE,
	TT_ELSE,
	TT_END_WORD,
	TT_IF,
	TT_RANGE,
	TT_TEMPLATE,
	TT_WITH,
};

struct template_lexer {
	struct str text;
	size_t at;
	int parens;
	bool inside; /* of an action */
	/* The token that was read last. */
	enum template_token kind;
	struct str token;
	size_t pos;
	char error[100];
};

void template_lexer_init(struct template_lexer *l, struct str text);
/* Read the next token; stays at TT_END and TT_ERROR. */
void template_lexer_next(struct template_lexer *l);
