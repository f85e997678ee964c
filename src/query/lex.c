/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lexer works on bytes and takes the longest token.  A run of digits and
 * letters is a duration when it reads as one, else bytes, else a number with
 * whatever follows it as the next token.  A range such as [5m] is one token,
 * because nothing else may stand between the brackets.
 */
#include "query/lex.h"

#include <ctype.h>

#include "base/duration.h"
#include "query/number.h"
#include "query/quote.h"
#include "codec/rune.h"

/* Punctuation; a longer one stands before its own prefix. */
static const struct {
	const char text[3];
	enum token_kind kind;
} punctuation[] = {
	{"|=", T_PIPE_EXACT},
	{"|~", T_PIPE_MATCH},
	{"|>", T_PIPE_PATTERN},
	{"|", T_PIPE},
	{"==", T_CMP_EQ},
	{"=~", T_RE},
	{"=", T_EQ},
	{"!=", T_NEQ},
	{"!~", T_NRE},
	{"!>", T_NOT_PATTERN},
	{">=", T_GTE},
	{">", T_GT},
	{"<=", T_LTE},
	{"<", T_LT},
	{"{", T_OPEN_BRACE},
	{"}", T_CLOSE_BRACE},
	{"(", T_OPEN_PAREN},
	{")", T_CLOSE_PAREN},
	{",", T_COMMA},
	{".", T_DOT},
	{"+", T_ADD},
	{"-", T_SUB},
	{"*", T_MUL},
	{"/", T_DIV},
	{"%", T_MOD},
	{"^", T_POW},
};

const char *token_kind_name(enum token_kind kind)
{
	switch (kind) {
	case T_END: return "$end";
	case T_UNKNOWN:
	case T_IDENTIFIER: return "IDENTIFIER";
	case T_STRING: return "STRING";
	case T_NUMBER: return "NUMBER";
	case T_DURATION: return "DURATION";
	case T_BYTES: return "BYTES";
	case T_RANGE: return "RANGE";
	case T_FLAG: return "PARSER_FLAG";
	default: break;
	}
	for (size_t i = 0; i < sizeof punctuation / sizeof *punctuation; i++)
		if (punctuation[i].kind == kind)
			return punctuation[i].text;
	return "IDENTIFIER";
}

void lex_init(struct lexer *l, struct str text, struct arena *a)
{
	*l = (struct lexer){.text = text, .line = 1, .col = 1, .arena = a};
}

static struct str rest(const struct lexer *l)
{
	return str_sub(l->text, l->at, l->text.n);
}

/* Move on by n bytes, counting lines and characters. */
static void advance(struct lexer *l, size_t n)
{
	for (size_t end = l->at + n; l->at < end; l->at++) {
		unsigned char c = (unsigned char)l->text.p[l->at];
		if (c == '\n') {
			l->line++;
			l->col = 1;
		} else if ((c & 0xc0) != 0x80) {
			l->col++;
		}
	}
}

static void skip_blanks(struct lexer *l)
{
	while (l->at < l->text.n) {
		char c = l->text.p[l->at];
		if (c == '#') {
			ptrdiff_t eol = str_chr(rest(l), '\n');
			advance(l, eol < 0 ? l->text.n - l->at : (size_t)eol);
		} else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
			advance(l, 1);
		} else {
			return;
		}
	}
}

static int lex_error(const struct lexeme *t, const char *sentence, struct error *e)
{
	return error_set(
		e, ERR_ARG, "parse error at line %u, col %u: %s", t->line, t->col, sentence);
}

static int finish(struct lexer *l, struct lexeme *t, enum token_kind kind, size_t n)
{
	t->kind = kind;
	t->text = str_sub(l->text, l->at, l->at + n);
	advance(l, n);
	return 0;
}

/* The length of the character at the start of s; a byte that is no UTF-8 is one. */
static size_t char_bytes(struct str s)
{
	size_t n;

	rune_first(s, &n);
	return n;
}

/* Is the character beyond ASCII a letter?  Everything is but for the blocks of blanks,
 * controls and punctuation that a copied query is likely to hold by accident. */
static bool wide_letter(struct str c)
{
	const unsigned char *p = (const unsigned char *)c.p;

	if (c.n < 2)
		return false;
	if (p[0] == 0xc2) /* U+0080 - U+00BF: letters are the two ordinals and micro */
		return p[1] == 0xaa || p[1] == 0xb5 || p[1] == 0xba;
	if (p[0] == 0xc3)
		return p[1] != 0x97 && p[1] != 0xb7; /* times, divided by */
	if (p[0] == 0xe2 && p[1] <= 0x81)            /* U+2000 - U+207F */
		return false;
	if (p[0] == 0xe3 && p[1] == 0x80) /* U+3000 - U+303F */
		return false;
	return !(p[0] == 0xef && p[1] >= 0xb8); /* U+FE00 - U+FFFF */
}

static size_t identifier_bytes(struct str s)
{
	size_t n = 0;

	while (n < s.n) {
		unsigned char c = (unsigned char)s.p[n];
		struct str tail = str_sub(s, n, s.n);
		size_t k = c < 0x80 ? 1 : char_bytes(tail);
		bool letter = c < 0x80 ? isalpha(c) || c == '_' : wide_letter(str_sub(tail, 0, k));
		if (!letter && !(n && isdigit(c)))
			break;
		n += k;
	}
	return n;
}

static int lex_string(struct lexer *l, struct lexeme *t, struct error *e)
{
	struct str s = rest(l);
	struct buf value = {0};
	size_t n = 1;
	bool good;

	while (n < s.n && s.p[n] != '"' && s.p[n] != '\n')
		n += s.p[n] == '\\' ? 2 : 1;
	if (n >= s.n || s.p[n] == '\n')
		return lex_error(t, "literal not terminated", e);
	if ((good = quote_go_read(&value, str_sub(s, 1, n))))
		t->value = arena_str(l->arena, buf_view(&value));
	buf_fini(&value);
	if (!good)
		return lex_error(t, "invalid char escape", e);
	return finish(l, t, T_STRING, n + 1);
}

/* Between backticks nothing is special; carriage returns fall out, as in Go. */
static int lex_raw_string(struct lexer *l, struct lexeme *t, struct error *e)
{
	struct str s = str_sub(rest(l), 1, SIZE_MAX);
	ptrdiff_t end = str_chr(s, '`');
	char *p;
	size_t n = 0;

	if (end < 0)
		return lex_error(t, "literal not terminated", e);
	p = arena_alloc(l->arena, (size_t)end + 1);
	for (ptrdiff_t i = 0; i < end; i++)
		if (s.p[i] != '\r')
			p[n++] = s.p[i];
	t->value = str_make(p, n);
	return finish(l, t, T_STRING, (size_t)end + 2);
}

static int lex_range(struct lexer *l, struct lexeme *t, struct error *e)
{
	struct str s = rest(l);
	ptrdiff_t end = str_chr(s, ']');
	struct str inside = str_trim(str_sub(s, 1, end < 0 ? 1 : (size_t)end));

	if (end < 0)
		return lex_error(t, "missing closing ']' in duration", e);
	if (!duration_parse(inside, &t->ns))
		return error_set(e, ERR_ARG,
			"parse error at line %u, col %u: not a valid duration string: \"%.*s\"",
			t->line, t->col, (int)(inside.n < 100 ? inside.n : 100), inside.p);
	if (t->ns <= 0)
		return lex_error(t, "duration must be greater than 0", e);
	return finish(l, t, T_RANGE, (size_t)end + 1);
}

/* "10KB", "1.5MiB": a number with a unit; without one it is a number. */
static bool read_bytes(struct str s, uint64_t *out)
{
	return s.n && isalpha((unsigned char)s.p[s.n - 1]) && number_bytes(s, out);
}

/* --keep-empty: the length, 0 when there is none. */
static size_t flag_bytes(struct str s)
{
	size_t n = 2;

	if (s.n < 3 || s.p[0] != '-' || s.p[1] != '-' || !isalpha((unsigned char)s.p[2]))
		return 0;
	while (n < s.n && (isalnum((unsigned char)s.p[n]) || s.p[n] == '-'))
		n++;
	return n;
}

/* 12, 1.5, .5, 1e9, 2.5e-3, 0x1f: the length, 0 when there is none. */
static size_t digits_bytes(struct str s)
{
	size_t n = 0, digits = 0;

	if (s.n > 2 && s.p[0] == '0' && (s.p[1] | 0x20) == 'x' && isxdigit((unsigned char)s.p[2])) {
		for (n = 2; n < s.n && isxdigit((unsigned char)s.p[n]);)
			n++;
		return n;
	}
	for (bool dot = false; n < s.n; n++) {
		if (isdigit((unsigned char)s.p[n]))
			digits++;
		else if (s.p[n] == '.' && !dot)
			dot = true;
		else
			break;
	}
	if (digits == 0)
		return 0;
	if (n < s.n && (s.p[n] | 0x20) == 'e') {
		size_t k = n + 1;
		if (k < s.n && (s.p[k] == '+' || s.p[k] == '-'))
			k++;
		if (k < s.n && isdigit((unsigned char)s.p[k])) {
			for (n = k; n < s.n && isdigit((unsigned char)s.p[n]);)
				n++;
		}
	}
	return n;
}

static bool number_value(struct str s, double *out)
{
	if (s.n < 2 || (s.p[1] | 0x20) != 'x')
		return str_double(s, out);
	*out = 0;
	for (size_t i = 2; i < s.n; i++)
		*out = *out * 16 +
		       (isdigit((unsigned char)s.p[i]) ? s.p[i] - '0' : (s.p[i] | 0x20) - 'a' + 10);
	return *out <= 18446744073709551615.0;
}

static int lex_number(struct lexer *l, struct lexeme *t, struct error *e)
{
	struct str s = rest(l);
	size_t run = 0, n;

	while (run < s.n && (isalnum((unsigned char)s.p[run]) || s.p[run] == '.' ||
				    (unsigned char)s.p[run] >= 0x80))
		run++;
	if (duration_parse(str_sub(s, 0, run), &t->ns))
		return finish(l, t, T_DURATION, run);
	n = digits_bytes(s);
	/* 1E is an exabyte, 1e+9 a number. */
	if (n < run && read_bytes(str_sub(s, 0, run), &t->bytes))
		return finish(l, t, T_BYTES, run);
	if (!number_value(str_sub(s, 0, n), &t->number))
		return lex_error(t, "not a number that fits in 64 bits", e);
	return finish(l, t, T_NUMBER, n);
}

static int lex_punctuation(struct lexer *l, struct lexeme *t)
{
	struct str s = rest(l);

	for (size_t i = 0; i < sizeof punctuation / sizeof *punctuation; i++)
		if (str_starts(s, str_c(punctuation[i].text)))
			return finish(l, t, punctuation[i].kind, strlen(punctuation[i].text));
	return finish(l, t, T_UNKNOWN, char_bytes(s));
}

int lex_next(struct lexer *l, struct lexeme *out, struct error *e)
{
	size_t n;
	char c;

	skip_blanks(l);
	*out = (struct lexeme){.kind = T_END, .line = l->line, .col = l->col};
	if (l->at >= l->text.n) {
		/* Loki knows no place in an empty query. */
		if (l->text.n == 0)
			out->line = out->col = 0;
		return 0;
	}
	c = l->text.p[l->at];
	if (c == '"')
		return lex_string(l, out, e);
	if (c == '`')
		return lex_raw_string(l, out, e);
	if (c == '[')
		return lex_range(l, out, e);
	if (digits_bytes(rest(l)))
		return lex_number(l, out, e);
	if ((n = identifier_bytes(rest(l))))
		return finish(l, out, T_IDENTIFIER, n);
	if ((n = flag_bytes(rest(l))))
		return finish(l, out, T_FLAG, n);
	return lex_punctuation(l, out);
}
