/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * LogQL's tokens.  Lines and columns count from 1, columns in characters, as
 * Loki's do.  Words are plain identifiers here; which of them are keywords
 * depends on where they stand, and is the parser's business.
 */
#include "base/arena.h"
#include "base/buf.h"

enum token_kind {
	T_END,
	T_IDENTIFIER,
	T_STRING,
	T_NUMBER,
	T_DURATION,
	T_BYTES,
	T_RANGE, /* [5m] */
	T_FLAG,  /* --strict */
	T_OPEN_BRACE,
	T_CLOSE_BRACE,
	T_OPEN_PAREN,
	T_CLOSE_PAREN,
	T_COMMA,
	T_DOT,
	T_PIPE,
	T_PIPE_EXACT,
	T_PIPE_MATCH,
	T_PIPE_PATTERN,
	T_EQ,
	T_NEQ,
	T_RE,
	T_NRE,
	T_NOT_PATTERN,
	T_CMP_EQ,
	T_GT,
	T_GTE,
	T_LT,
	T_LTE,
	T_ADD,
	T_SUB,
	T_MUL,
	T_DIV,
	T_MOD,
	T_POW,
	T_UNKNOWN, /* any other character */
};

struct lexeme {
	enum token_kind kind;
	unsigned line, col;
	struct str text;  /* as written; a view into the query */
	struct str value; /* of a string: what it stands for, in the arena */
	double number;    /* of a number */
	uint64_t bytes;   /* of T_BYTES */
	int64_t ns;       /* of a duration or range */
};

struct lexer {
	struct str text;
	size_t at;
	unsigned line, col;
	struct arena *arena;
};

/* Borrows the text and the arena. */
void lex_init(struct lexer *l, struct str text, struct arena *a);
/* The next token, T_END for ever behind the last.  ERR_ARG: a string or range that does not
 * end or makes no sense, as "parse error at line 1, col 5: literal not terminated". */
int lex_next(struct lexer *l, struct lexeme *out, struct error *e);
/* What Loki calls this kind of token: "STRING", "|=", "$end". */
const char *token_kind_name(enum token_kind kind);
