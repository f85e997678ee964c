/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What repr() wrote, read back: an HTTPHandler sends a record's arguments as
 * "('a', 1, {'k': None})".  Where something stands that is no literal, up to
 * the next comma or closing bracket, it is taken as it is written:
 *
 *     datetime.date(2026, 11, 21)     <Color.RED: 1>     Decimal('1.5')
 *
 * A name with one quoted text behind it, as the last, is that text for str().
 */
#include <math.h>

#include "codec/pickle_node.h"

static struct node *read_value(struct pickle *p, size_t depth);

static struct node *bad(struct pickle *p, const char *what)
{
	p->op_at = p->at;
	pickle_set_error(p, ERR_ARG, "%s", what);
	return NULL;
}

static char peek(const struct pickle *p)
{
	return p->at < p->in.n ? p->in.p[p->at] : 0;
}

static void skip_blanks(struct pickle *p)
{
	while (peek(p) == ' ' || peek(p) == '\n' || peek(p) == '\t')
		p->at++;
}

static bool is_quote(char c)
{
	return c == '\'' || c == '"';
}

/* ---- quoted ---- */

/* Move behind a quoted text; *out is what stands between the quotes. */
static bool skip_quoted(struct pickle *p, struct str *out)
{
	char quote = peek(p);
	size_t start = ++p->at;

	for (; p->at < p->in.n; p->at++) {
		if (p->in.p[p->at] == quote) {
			*out = str_sub(p->in, start, p->at++);
			return true;
		}
		if (p->in.p[p->at] == '\\')
			p->at++;
	}
	p->at = p->in.n;
	return false;
}

static struct node *read_quoted(struct pickle *p, bool bytes)
{
	struct node *n = pickle_node(p, bytes ? PICKLE_BYTES : PICKLE_TEXT);
	struct str s;

	if (!n)
		return NULL;
	if (!skip_quoted(p, &s))
		return bad(p, "a quote has no end");
	if (str_chr(s, '\\') >= 0) {
		buf_clear(&p->scratch);
		for (size_t i = 0; i < s.n;) {
			if (s.p[i] != '\\')
				buf_char(&p->scratch, s.p[i++]);
			else if (++i == s.n || !pickle_unescape(s, &i, bytes, &p->scratch))
				return bad(p, "bad escape");
		}
		if (!(s = pickle_copy(p, buf_view(&p->scratch))).p)
			return NULL;
	}
	n->v.text = bytes ? s : pickle_utf8(p, s);
	return n->v.text.p ? n : NULL;
}

/* ---- containers ---- */

/* Items up to `close`; *pairs tells a dict by its first colon. */
static struct node *read_items(
	struct pickle *p, enum pickle_kind kind, char close, size_t depth, bool *comma)
{
	struct node *n = pickle_node(p, kind), *item;
	bool first = true, pairs = false;

	*comma = false;
	p->at++;
	for (; n; first = false) {
		skip_blanks(p);
		if (peek(p) == close && p->at < p->in.n)
			break;
		if (!(item = read_value(p, depth)) || pickle_append(p, n, item) < 0)
			return NULL;
		skip_blanks(p);
		if (kind == PICKLE_SET && first && peek(p) == ':') {
			pairs = true;
			n->v.kind = PICKLE_DICT;
		}
		if (pairs) {
			if (peek(p) != ':')
				return bad(p, "a key has no value");
			p->at++;
			if (!(item = read_value(p, depth)) || pickle_append(p, n, item) < 0)
				return NULL;
			skip_blanks(p);
		}
		if (peek(p) == ',') {
			*comma = true;
			p->at++;
		} else if (peek(p) != close || p->at == p->in.n) {
			return bad(p, "a bracket has no end");
		}
	}
	p->at++;
	/* "{}" is a dict; an empty set is written set(). */
	if (n && kind == PICKLE_SET && n->v.n == 0)
		n->v.kind = PICKLE_DICT;
	return n;
}

static struct node *read_container(struct pickle *p, size_t depth)
{
	char open = peek(p);
	bool comma;
	struct node *n;

	if (depth == PICKLE_DEPTH_MAX) {
		p->op_at = p->at;
		pickle_set_error(
			p, ERR_LIMIT, "more than %d brackets in each other", PICKLE_DEPTH_MAX);
		return NULL;
	}
	if (open == '[')
		return read_items(p, PICKLE_LIST, ']', depth + 1, &comma);
	if (open == '{')
		return read_items(p, PICKLE_SET, '}', depth + 1, &comma);
	n = read_items(p, PICKLE_TUPLE, ')', depth + 1, &comma);
	return n && n->v.n == 1 && !comma ? node_item(n, 0) : n;
}

/* ---- words ---- */

/* Move to the comma, colon or closing bracket that ends a word; what is in brackets or quotes
 * within it belongs to it.  False when they do not match. */
static bool skip_word(struct pickle *p)
{
	bool angle = peek(p) == '<';
	size_t depth = 0;
	struct str quoted;

	while (p->at < p->in.n) {
		char c = peek(p);
		if (is_quote(c)) {
			if (!skip_quoted(p, &quoted))
				return false;
			continue;
		}
		if (depth == 0 && (c == ',' || c == ':' || c == ')' || c == ']' || c == '}'))
			break;
		depth += c == '(' || c == '[' || c == '{' || (angle && c == '<');
		depth -= depth && (c == ')' || c == ']' || c == '}' || (angle && c == '>'));
		p->at++;
	}
	return depth == 0;
}

/* The text in name('text'), or what is written. */
static struct str word_text(struct pickle *p, struct str word)
{
	ptrdiff_t open = str_chr(word, '(');
	struct str in = p->in, s;
	size_t at = p->at;
	struct node *n = NULL;

	if (open < 0 || !is_quote(open + 1 < (ptrdiff_t)word.n ? word.p[open + 1] : 0))
		return word;
	p->in = word;
	p->at = (size_t)open + 1;
	if (skip_quoted(p, &s) && p->at + 1 == word.n) {
		p->at = (size_t)open + 1;
		n = read_quoted(p, false);
	}
	p->in = in;
	p->at = at;
	return n ? n->v.text : word;
}

static struct node *make_word(struct pickle *p, struct str word)
{
	struct node *n;
	double f;

	if (str_eq(word, STR("None")))
		return &pickle_none;
	if (str_eq(word, STR("True")))
		return &pickle_true;
	if (str_eq(word, STR("False")))
		return &pickle_false;
	if (str_double(word, &f) || str_eq(word, STR("inf")) || str_eq(word, STR("-inf")) ||
		str_eq(word, STR("nan"))) {
		if (!(n = pickle_node(p, PICKLE_FLOAT)))
			return NULL;
		n->v.f = word.p[word.n - 1] == 'f' ? (word.p[0] == '-' ? -INFINITY : INFINITY)
			 : word.p[0] == 'n'        ? NAN
						   : f;
		return n;
	}
	if (!(n = pickle_node(p, PICKLE_TEXT)) || !(word = pickle_utf8(p, word)).p)
		return NULL;
	n->label = word;
	p->e->code = 0;
	n->v.text = word_text(p, word);
	return p->e->code < 0 ? NULL : n;
}

static bool is_integer(struct str s)
{
	size_t sign = s.n && s.p[0] == '-';

	for (size_t i = sign; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.n > sign;
}

static struct node *read_word(struct pickle *p)
{
	size_t start = p->at;
	struct str word;

	if (!skip_word(p))
		return bad(p, "a bracket has no end");
	word = str_trim(str_sub(p->in, start, p->at));
	if (word.n == 0)
		return bad(p, "a value is missing");
	return is_integer(word) ? pickle_decimal(p, word) : make_word(p, word);
}

static struct node *read_value(struct pickle *p, size_t depth)
{
	char c;

	skip_blanks(p);
	c = peek(p);
	if (c == '(' || c == '[' || c == '{')
		return read_container(p, depth);
	if (is_quote(c))
		return read_quoted(p, false);
	if (c == 'b' && p->at + 1 < p->in.n && is_quote(p->in.p[p->at + 1])) {
		p->at++;
		return read_quoted(p, true);
	}
	return read_word(p);
}

int pickle_literal(
	struct pickle *p, struct str in, const struct pickle_value **out, struct error *e)
{
	struct node *n;

	pickle_begin(p, in, PICKLE_IS_LITERAL, e);
	if (!(n = read_value(p, 0)))
		return p->e->code;
	skip_blanks(p);
	if (p->at < in.n) {
		bad(p, "text behind the value");
		return p->e->code;
	}
	*out = &n->v;
	return 0;
}
