/* SPDX-License-Identifier: Apache-2.0 */
/* Source: pkg.go.dev/text/template ("Text and spaces", "Actions", "Arguments"). */
#include "query/template_lex.h"

#include <stdio.h>

#include "codec/rune.h"

void template_lexer_init(struct template_lexer *l, struct str text)
{
	*l = (struct template_lexer){.text = text};
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The byte at `at + ahead`; 0 behind the end. */
static char peek(const struct template_lexer *l, size_t ahead)
{
	return l->at + ahead < l->text.n ? l->text.p[l->at + ahead] : '\0';
}

static bool at_text(const struct template_lexer *l, size_t ahead, const char *what)
{
	return str_starts(str_sub(l->text, l->at + ahead, l->text.n), str_c(what));
}

static void emit(struct template_lexer *l, enum template_token kind, size_t from)
{
	l->kind = kind;
	l->pos = from;
	l->token = str_sub(l->text, from, l->at);
}

static void fail(struct template_lexer *l, const char *sentence)
{
	l->kind = TT_ERROR;
	l->pos = l->at;
	snprintf(l->error, sizeof l->error, "%s", sentence);
}

/* "bad character U+0040 '@'" for the character at `at`. */
static void fail_character(struct template_lexer *l, const char *what)
{
	struct str rest = str_sub(l->text, l->at, l->text.n);
	size_t n = 0;
	uint32_t c = rest.n ? rune_first(rest, &n) : 0;

	l->kind = TT_ERROR;
	l->pos = l->at;
	if (rune_is_print(c))
		snprintf(l->error, sizeof l->error, "%s U+%04X '%.*s'", what, c, (int)n, rest.p);
	else
		snprintf(l->error, sizeof l->error, "%s U+%04X", what, c);
}

/* Does `}}`, or ` -}}`, stand here?  Its length. */
static size_t right_delimiter(const struct template_lexer *l, bool *trims)
{
	*trims = is_space(peek(l, 0)) && at_text(l, 1, "-}}");
	return *trims ? 4 : at_text(l, 0, "}}") ? 2 : 0;
}

static void skip_spaces(struct template_lexer *l)
{
	while (l->at < l->text.n && is_space(l->text.p[l->at]))
		l->at++;
}

/* Behind the left delimiter and its trim marker stands a comment: go behind the action. */
static bool skip_comment(struct template_lexer *l)
{
	ptrdiff_t end = str_find(str_sub(l->text, l->at + 2, l->text.n), STR("*/"));
	bool trims;
	size_t n;

	if (end < 0) {
		fail(l, "unclosed comment");
		return false;
	}
	l->at += 2 + (size_t)end + 2;
	if ((n = right_delimiter(l, &trims)) == 0) {
		fail(l, "comment ends before closing delimiter");
		return false;
	}
	l->at += n;
	if (trims)
		skip_spaces(l);
	return true;
}

/* Text up to the next action.  An action that is a comment yields nothing: the text before it
 * is a token, as is the one behind. */
static void next_outside(struct template_lexer *l)
{
	size_t from, to;
	ptrdiff_t left;
	bool trims;

again:
	from = l->at;
	left = str_find(str_sub(l->text, from, l->text.n), STR("{{"));
	if (left < 0) {
		l->at = l->text.n;
		emit(l, l->at > from ? TT_TEXT : TT_END, from);
		return;
	}
	to = from + (size_t)left;
	l->at = to;
	trims = peek(l, 2) == '-' && is_space(peek(l, 3));
	if (left > 0) {
		size_t trimmed = to;
		while (trims && trimmed > from && is_space(l->text.p[trimmed - 1]))
			trimmed--;
		if (trimmed > from) {
			emit(l, TT_TEXT, from);
			l->token.n = trimmed - from;
			return;
		}
	}
	l->at += trims ? 4 : 2;
	if (at_text(l, 0, "/*")) {
		if (!skip_comment(l))
			return;
		goto again;
	}
	l->inside = true;
	l->parens = 0;
	emit(l, TT_LEFT, to);
}

static bool is_word(const struct template_lexer *l, size_t *n)
{
	struct str rest = str_sub(l->text, l->at, l->text.n);
	uint32_t c;

	if (rest.n == 0)
		return false;
	c = rune_first(rest, n);
	return c == '_' || rune_is_letter(c) || rune_is_digit(c);
}

static void skip_word(struct template_lexer *l)
{
	size_t n;

	while (is_word(l, &n))
		l->at += n;
}

/* What may follow a name. */
static bool at_terminator(const struct template_lexer *l)
{
	char c = peek(l, 0);

	return l->at == l->text.n || is_space(c) || (c && strchr(".,|:)(", c)) ||
	       at_text(l, 0, "}}");
}

static enum template_token keyword(struct str word)
{
	static const struct {
		const char *word;
		enum template_token kind;
	} keywords[] = {
		{"block", TT_BLOCK},
		{"break", TT_BREAK},
		{"continue", TT_CONTINUE},
		{"define", TT_DEFINE},
		{"else", TT_ELSE},
		{"end", TT_END_WORD},
		{"if", TT_IF},
		{"range", TT_RANGE},
		{"nil", TT_NIL},
		{"template", TT_TEMPLATE},
		{"with", TT_WITH},
		{"true", TT_BOOL},
		{"false", TT_BOOL},
	};

	for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
		if (str_eq_c(word, keywords[i].word))
			return keywords[i].kind;
	return TT_IDENTIFIER;
}

/* A word, .x or $x: `from` is where it begins, `at` where its letters do. */
static void lex_name(struct template_lexer *l, enum template_token kind, size_t from)
{
	skip_word(l);
	if (!at_terminator(l)) {
		fail_character(l, "bad character");
		return;
	}
	emit(l, kind, from);
	if (kind == TT_IDENTIFIER)
		l->kind = keyword(l->token);
	else if (kind == TT_FIELD && l->token.n == 1)
		l->kind = TT_DOT;
}

static void accept_run(struct template_lexer *l, const char *set)
{
	while (peek(l, 0) && strchr(set, peek(l, 0)))
		l->at++;
}

static bool accept(struct template_lexer *l, const char *set)
{
	if (!peek(l, 0) || !strchr(set, peek(l, 0)))
		return false;
	l->at++;
	return true;
}

static void lex_number(struct template_lexer *l)
{
	size_t from = l->at, n;
	const char *digits = "0123456789_";
	bool hex = false;

	accept(l, "+-");
	if (accept(l, "0")) {
		if (accept(l, "xX")) {
			hex = true;
			digits = "0123456789abcdefABCDEF_";
		} else if (accept(l, "oO")) {
			digits = "01234567_";
		} else if (accept(l, "bB")) {
			digits = "01_";
		}
	}
	accept_run(l, digits);
	if (accept(l, "."))
		accept_run(l, digits);
	if (accept(l, hex ? "pP" : "eE")) {
		accept(l, "+-");
		accept_run(l, "0123456789_");
	}
	if (is_word(l, &n)) {
		l->at += n;
		l->kind = TT_ERROR;
		snprintf(l->error, sizeof l->error, "bad number syntax: \"%.*s\"",
			(int)(l->at - from > 60 ? 60 : l->at - from), l->text.p + from);
		return;
	}
	emit(l, TT_NUMBER, from);
}

/* A quoted string or character constant; its escapes are the parser's to read. */
static void lex_quote(struct template_lexer *l, char quote)
{
	size_t from = l->at++;

	for (;; l->at++) {
		if (l->at == l->text.n || peek(l, 0) == '\n') {
			fail(l, quote == '"' ? "unterminated quoted string"
					     : "unterminated character constant");
			return;
		}
		if (peek(l, 0) == '\\' && l->at + 1 < l->text.n && peek(l, 1) != '\n')
			l->at++;
		else if (peek(l, 0) == quote)
			break;
	}
	l->at++;
	emit(l, quote == '"' ? TT_STRING : TT_CHAR, from);
}

static void lex_raw(struct template_lexer *l)
{
	size_t from = l->at;
	ptrdiff_t end = str_chr(str_sub(l->text, from + 1, l->text.n), '`');

	if (end < 0) {
		fail(l, "unterminated raw quoted string");
		return;
	}
	l->at = from + 1 + (size_t)end + 1;
	emit(l, TT_RAW, from);
}

static void lex_spaces(struct template_lexer *l)
{
	size_t from = l->at;
	bool trims;

	while (l->at < l->text.n && is_space(l->text.p[l->at])) {
		if (right_delimiter(l, &trims))
			break;
		l->at++;
	}
	emit(l, TT_SPACE, from);
}

static void lex_one(struct template_lexer *l, enum template_token kind, size_t n)
{
	size_t from = l->at;

	l->at += n;
	emit(l, kind, from);
}

static void lex_other(struct template_lexer *l)
{
	char c = peek(l, 0);
	size_t n;

	if (is_word(l, &n))
		lex_name(l, TT_IDENTIFIER, l->at);
	else if (c > ' ' && c < 0x7f)
		lex_one(l, TT_OTHER, 1);
	else
		fail_character(l, "unrecognized character in action:");
}

static void lex_close(struct template_lexer *l)
{
	if (--l->parens < 0)
		fail(l, "unexpected right paren");
	else
		lex_one(l, TT_CLOSE, 1);
}

static void lex_point(struct template_lexer *l)
{
	if (rune_is_digit((unsigned char)peek(l, 1))) {
		lex_number(l);
		return;
	}
	l->at++;
	lex_name(l, TT_FIELD, l->at - 1);
}

static void lex_end(struct template_lexer *l, size_t n, bool trims)
{
	if (l->parens > 0) {
		fail(l, "unclosed left paren");
		return;
	}
	lex_one(l, TT_RIGHT, n);
	l->inside = false;
	if (trims)
		skip_spaces(l);
}

static void next_inside(struct template_lexer *l)
{
	char c = peek(l, 0);
	bool trims;
	size_t n = right_delimiter(l, &trims);

	if (n > 0) {
		lex_end(l, n, trims);
		return;
	}
	if (l->at == l->text.n) {
		fail(l, "unclosed action");
		return;
	}
	switch (c) {
	case ' ':
	case '\t':
	case '\r':
	case '\n': lex_spaces(l); break;
	case ':':
		if (peek(l, 1) == '=')
			lex_one(l, TT_DECLARE, 2);
		else
			fail(l, "expected :=");
		break;
	case '=': lex_one(l, TT_ASSIGN, 1); break;
	case '|': lex_one(l, TT_PIPE, 1); break;
	case '"':
	case '\'': lex_quote(l, c); break;
	case '`': lex_raw(l); break;
	case '$':
		l->at++;
		lex_name(l, TT_VARIABLE, l->at - 1);
		break;
	case '.': lex_point(l); break;
	case '(':
		l->parens++;
		lex_one(l, TT_OPEN, 1);
		break;
	case ')': lex_close(l); break;
	case '+':
	case '-': lex_number(l); break;
	default:
		if (rune_is_digit((unsigned char)c))
			lex_number(l);
		else
			lex_other(l);
	}
}

void template_lexer_next(struct template_lexer *l)
{
	if (l->kind == TT_ERROR || (l->kind == TT_END && l->at == l->text.n))
		return;
	if (l->inside)
		next_inside(l);
	else
		next_outside(l);
}
