/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON in two stages.  simdjson's first stage (json_index.cc) checks UTF-8 and
 * lists where tokens begin, at gigabytes a second; the walk here checks the
 * grammar over that list and makes the nodes.  simdjson's own second stage is
 * not used: it turns numbers into doubles and integers, and sawlog must give
 * back what was written, and it does not say where an error is.
 *
 * The text is copied once, into a padded buffer of the parser.  Strings are
 * views into that copy; one with escapes is unescaped in place, as that never
 * makes it longer.  A string ends at the last quote before the next token:
 * between the two is only white space, else the first stage would have listed
 * a token there.
 */
#include "codec/json.h"

#include <stdlib.h>

#include "base/memory.h"
#include "codec/json_index.h"
#include "codec/json_text.h"
#include "codec/rune.h"

enum {
	DEPTH_MAX = 64,
	TEXT_MAX = 1 << 28,   /* so that positions and counts fit 32 bits */
	KEEP_BYTES = 4 << 20, /* memory for texts beyond this is not kept for small ones */
};

struct json_parser {
	struct json_index *index;
	char *text;
	size_t text_cap;
	struct json_node *nodes;
	size_t nodes_cap;
	struct account *account; /* NULL: nothing is charged */
	uint64_t charged, index_charged;
};

/* What may come next. */
enum state { VALUE, VALUE_OR_END, KEY, KEY_OR_END, COLON, COMMA_OR_END, DONE };

struct walk {
	struct json_parser *parser;
	struct error *e;
	const uint32_t *tokens;
	size_t n_tokens, at; /* at: the token in hand */
	size_t n;            /* bytes of text */
	size_t n_nodes;
	uint32_t open[DEPTH_MAX]; /* nodes of the containers around */
	unsigned depth;
	enum state state;
};

struct json_parser *json_parser_new(void)
{
	return xcalloc(1, sizeof(struct json_parser));
}

struct json_parser *json_parser_new_charged(struct account *a)
{
	struct json_parser *p = json_parser_new();

	p->account = a;
	return p;
}

/* Give everything back but the struct itself. */
static void release(struct json_parser *p)
{
	json_index_free(p->index);
	free(p->text);
	free(p->nodes);
	if (p->charged)
		account_release(p->account, p->charged);
	*p = (struct json_parser){.account = p->account};
}

static int charge(struct json_parser *p, uint64_t n, struct error *e)
{
	if (!p->account)
		return 0;
	if (p->charged + n > p->account->limit)
		return error_set(e, ERR_LIMIT,
			"reading this JSON takes more than the %llu bytes of memory: send less at "
			"once, or raise `memory`",
			(unsigned long long)p->account->limit);
	if (account_charge(p->account, n) < 0)
		return error_set(e, ERR_BUSY,
			"no memory to read this JSON now: try again, or send less at once");
	p->charged += n;
	return 0;
}

void json_parser_free(struct json_parser *p)
{
	if (!p)
		return;
	release(p);
	free(p);
}

uint64_t json_parser_held(const struct json_parser *p)
{
	return p->charged;
}

static int bad(struct error *e, size_t at, const char *what)
{
	return error_set(e, ERR_ARG, "bad JSON at byte %zu: %s", at, what);
}

/* Room for one node more: a step makes no more than that. */
static int reserve(struct walk *w)
{
	struct json_parser *p = w->parser;
	size_t cap = p->nodes_cap ? p->nodes_cap * 2 : 64;
	int r;

	if (w->n_nodes < p->nodes_cap)
		return 0;
	if ((r = charge(p, (cap - p->nodes_cap) * sizeof *p->nodes, w->e)) < 0)
		return r;
	p->nodes = xrealloc(p->nodes, cap * sizeof *p->nodes);
	p->nodes_cap = cap;
	return 0;
}

static struct json_node *push(struct walk *w, enum json_type type)
{
	struct json_parser *p = w->parser;
	struct json_node *node = &p->nodes[w->n_nodes++];

	*node = (struct json_node){.type = type};
	return node;
}

/* The code point of "uXXXX" or of a pair of them at *from, which moves behind. */
static const char *read_unicode(const char **from, const char *end, uint32_t *out)
{
	uint32_t high, low;

	if (!json_hex4(*from + 1, end, &high))
		return "\\u needs four hexadecimal digits";
	*from += 5;
	*out = high;
	if (high < 0xd800 || high > 0xdfff)
		return NULL;
	if (high > 0xdbff || end - *from < 6 || (*from)[0] != '\\' || (*from)[1] != 'u' ||
		!json_hex4(*from + 2, end, &low) || low < 0xdc00 || low > 0xdfff)
		return "half of a surrogate pair";
	*from += 6;
	*out = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
	return NULL;
}

/* The character that a one-letter escape stands for, 0 for none. */
static char simple_escape(char c)
{
	switch (c) {
	case '"':
	case '\\':
	case '/': return c;
	case 'b': return '\b';
	case 'f': return '\f';
	case 'n': return '\n';
	case 'r': return '\r';
	case 't': return '\t';
	default: return 0;
	}
}

/* Unescape [from, end) in place; `from` is at the first backslash.  Returns the new end, NULL
 * with *what and *where on a bad escape. */
static char *unescape(char *from_, const char *end, const char **what, const char **where)
{
	const char *from = from_;
	char *to = from_;

	while (from < end) {
		const char *slash = memchr(from, '\\', (size_t)(end - from));
		size_t plain = (size_t)((slash ? slash : end) - from);
		uint32_t c;
		memmove(to, from, plain);
		to += plain;
		if (!slash)
			break;
		from = slash + 1;
		*where = slash;
		if (from < end && *from == 'u') {
			if ((*what = read_unicode(&from, end, &c)))
				return NULL;
			to += rune_encode(to, c);
		} else if (from < end && simple_escape(*from)) {
			*to++ = simple_escape(*from++);
		} else {
			*what = "unknown escape in a string";
			return NULL;
		}
	}
	return to;
}

static int read_string(struct walk *w, size_t at)
{
	char *text = w->parser->text, *from = text + at + 1, *slash;
	size_t next = w->at + 1 < w->n_tokens ? w->tokens[w->at + 1] : w->n;
	const char *what, *where;
	struct json_node *node;

	while (next > at + 1 && json_is_space(text[next - 1]))
		next--;
	if (next < at + 2 || text[next - 1] != '"')
		return bad(w->e, at, "the string is not closed");
	char *end = text + next - 1;
	if ((slash = memchr(from, '\\', (size_t)(end - from)))) {
		end = unescape(slash, end, &what, &where);
		if (!end)
			return bad(w->e, (size_t)(where - text), what);
	}
	node = push(w, JSON_STRING);
	node->text = str_make(from, (size_t)(end - from));
	return 0;
}

static int read_number(struct walk *w, size_t at)
{
	const char *text = w->parser->text, *end = json_number_end(text + at, text + w->n);

	if (!end)
		return bad(w->e, at, "not a number");
	push(w, JSON_NUMBER)->text = str_make(text + at, (size_t)(end - text) - at);
	return 0;
}

static int read_word(struct walk *w, size_t at)
{
	static const struct {
		struct str word;
		enum json_type type;
	} words[] = {{STR_INIT("null"), JSON_NULL}, {STR_INIT("true"), JSON_TRUE},
		{STR_INIT("false"), JSON_FALSE}};
	struct str rest = str_make(w->parser->text + at, w->n - at);

	for (int i = 0; i < 3; i++) {
		struct str word = words[i].word;
		if (!str_starts(rest, word) || (rest.n > word.n && !json_is_end(rest.p[word.n])))
			continue;
		push(w, words[i].type);
		return 0;
	}
	return bad(w->e, at, "expected a value");
}

static int open_container(struct walk *w, size_t at, enum json_type type)
{
	if (w->depth == DEPTH_MAX)
		return bad(w->e, at, "nested deeper than 64");
	w->open[w->depth++] = (uint32_t)w->n_nodes;
	push(w, type);
	w->state = type == JSON_ARRAY ? VALUE_OR_END : KEY_OR_END;
	return 0;
}

static void value_done(struct walk *w)
{
	w->state = w->depth ? COMMA_OR_END : DONE;
}

static enum json_type container(const struct walk *w)
{
	return w->parser->nodes[w->open[w->depth - 1]].type;
}

static void close_container(struct walk *w)
{
	uint32_t at = w->open[--w->depth];

	w->parser->nodes[at].inside = (uint32_t)(w->n_nodes - at - 1);
	value_done(w);
}

static int read_value(struct walk *w, size_t at)
{
	char c = w->parser->text[at];
	int r;

	if (c == '{' || c == '[')
		return open_container(w, at, c == '{' ? JSON_OBJECT : JSON_ARRAY);
	if (c == '"')
		r = read_string(w, at);
	else if (c == '-' || json_is_digit(c))
		r = read_number(w, at);
	else
		r = read_word(w, at);
	value_done(w);
	return r;
}

static int read_key(struct walk *w, size_t at)
{
	if (w->parser->text[at] != '"')
		return bad(w->e, at, w->state == KEY ? "expected a key" : "expected a key or '}'");
	w->state = COLON;
	return read_string(w, at);
}

static int read_comma(struct walk *w, size_t at)
{
	bool array = container(w) == JSON_ARRAY;
	char c = w->parser->text[at];

	if (c == (array ? ']' : '}'))
		close_container(w);
	else if (c == ',')
		w->state = array ? VALUE : KEY;
	else
		return bad(w->e, at, array ? "expected ',' or ']'" : "expected ',' or '}'");
	return 0;
}

static int step(struct walk *w, size_t at)
{
	char c = w->parser->text[at];

	switch (w->state) {
	case VALUE_OR_END:
		if (c == ']') {
			close_container(w);
			return 0;
		}
		return read_value(w, at);
	case VALUE: return read_value(w, at);
	case KEY_OR_END:
		if (c == '}') {
			close_container(w);
			return 0;
		}
		return read_key(w, at);
	case KEY: return read_key(w, at);
	case COLON: w->state = VALUE; return c == ':' ? 0 : bad(w->e, at, "expected ':'");
	case COMMA_OR_END: return read_comma(w, at);
	case DONE: return bad(w->e, at, "more text after the value");
	}
	return 0;
}

static int walk(struct walk *w)
{
	static const char *const missing[] = {[VALUE] = "a value is missing",
		[VALUE_OR_END] = "the array is not closed",
		[KEY] = "a key is missing",
		[KEY_OR_END] = "the object is not closed",
		[COLON] = "':' is missing",
		[COMMA_OR_END] = "the array or object is not closed"};
	int r;

	for (; w->at < w->n_tokens; w->at++)
		if ((r = reserve(w)) < 0 || (r = step(w, w->tokens[w->at])) < 0)
			return r;
	return w->state == DONE ? 0 : bad(w->e, w->n, missing[w->state]);
}

/* The first stage said no: find out where and why.  As it does, take a backslash as an escape
 * outside strings too. */
static int diagnose(struct str text, struct error *e)
{
	size_t valid = str_utf8_valid(text), opened = 0;
	bool inside = false;

	if (valid < text.n)
		return bad(e, valid, "invalid UTF-8");
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '\\') {
			i++;
		} else if (text.p[i] == '"') {
			inside = !inside;
			opened = i;
		} else if (inside && (unsigned char)text.p[i] < 0x20) {
			return bad(e, i, "a control character in a string must be escaped");
		}
	}
	if (inside)
		return bad(e, opened, "the string is not closed");
	return bad(e, 0, str_trim(text).n ? "it cannot be read" : "no value");
}

/* The index has room for a token a byte, and touches what it writes: a scalar follows each
 * bracket, comma and colon at most. */
static uint64_t index_bytes(struct str text)
{
	uint64_t n = 0;

	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i], bracket = (char)(c | 0x20);
		n += c == ',' || c == ':' || bracket == '{' || bracket == '}';
	}
	return (2 * n + 1) * sizeof(uint32_t);
}

/* Room for a text; big buffers are not kept when much smaller texts follow. */
static int prepare(struct json_parser *p, struct str text, struct error *e)
{
	size_t n = text.n, cap;
	uint64_t index;
	int r;

	if (p->text_cap > KEEP_BYTES && p->text_cap / 8 > n)
		release(p);
	if (!p->index && !(p->index = json_index_new()))
		abort();
	if (p->account && (index = index_bytes(text)) > p->index_charged) {
		if ((r = charge(p, index - p->index_charged, e)) < 0)
			return r;
		p->index_charged = index;
	}
	if (p->text_cap >= n + JSON_PADDING)
		return 0;
	/* The first may be the only one. */
	cap = n + (p->text_cap ? n / 2 : 0) + 4096 + JSON_PADDING;
	if ((r = charge(p, cap - p->text_cap, e)) < 0)
		return r;
	free(p->text);
	p->text = xmalloc(cap);
	p->text_cap = cap;
	return 0;
}

int json_parse(struct json_parser *p, struct str text, struct json *out, struct error *e)
{
	struct walk w = {.parser = p, .e = e, .n = text.n};
	int r;

	if (text.n > TEXT_MAX)
		return error_set(e, ERR_LIMIT, "JSON of %zu bytes: at most %d", text.n, TEXT_MAX);
	if (text.n == 0)
		return bad(e, 0, "no value");
	if ((r = prepare(p, text, e)) < 0)
		return r;
	memcpy(p->text, text.p, text.n);
	memset(p->text + text.n, ' ', JSON_PADDING);
	if (json_index_run(p->index, p->text, text.n, p->text_cap, &w.tokens, &w.n_tokens) < 0)
		return diagnose(text, e);
	if ((r = walk(&w)) < 0)
		return r;
	*out = (struct json){p->nodes, w.n_nodes};
	return 0;
}

size_t json_get(const struct json *j, size_t at, const char *key)
{
	struct str name = str_c(key);
	size_t found = 0, i;

	if (j->nodes[at].type != JSON_OBJECT)
		return 0;
	for (i = json_first(j, at); i < json_end(j, at); i = json_next(j, i + 1))
		if (str_eq(j->nodes[i].text, name))
			found = i + 1;
	return found;
}

struct str json_get_text(const struct json *j, size_t at, const char *key)
{
	size_t i = json_get(j, at, key);

	return i && j->nodes[i].type == JSON_STRING ? j->nodes[i].text : STR_NONE;
}
