/* SPDX-License-Identifier: Apache-2.0 */
#include "query/pattern.h"

enum {
	SHORT_MAX = 16, /* bytes of a literal that is compared at each place of its anchor */
};

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* The length of "<name>" at the head of s, 0 when there is none. */
static size_t capture_length(struct str s)
{
	size_t i = 1;

	if (s.n < 3 || s.p[0] != '<' || !is_letter(s.p[1]))
		return 0;
	while (i < s.n && (is_letter(s.p[i]) || (s.p[i] >= '0' && s.p[i] <= '9')))
		i++;
	return i < s.n && s.p[i] == '>' ? i + 1 : 0;
}

/* The literal at the head of *s, which moves behind it. */
static struct str take_literal(struct str *s)
{
	struct str all = *s;
	size_t n = 0;

	while (n < all.n && capture_length(str_sub(all, n, all.n)) == 0) {
		/* Only a < may begin a capture. */
		const char *at = all.n - n > 1 ? memchr(all.p + n + 1, '<', all.n - n - 1) : NULL;
		n = at ? (size_t)(at - all.p) : all.n;
	}
	*s = str_sub(all, n, all.n);
	return str_sub(all, 0, n);
}

static size_t count_captures(struct str text)
{
	size_t n = 0;

	take_literal(&text);
	for (; text.n; n++) {
		text = str_sub(text, capture_length(text), text.n);
		take_literal(&text);
	}
	return n;
}

/* The first byte that is neither letter nor digit nor blank, of which lines are full; else 0. */
static size_t find_anchor(struct str literal)
{
	for (size_t i = 0; i < literal.n; i++) {
		char c = literal.p[i];
		if (c != ' ' && !is_letter(c) && !(c >= '0' && c <= '9'))
			return i;
	}
	return 0;
}

static int bad(struct error *e, struct str text, const char *what, struct str where)
{
	return error_set(e, ERR_ARG, "invalid pattern \"%.*s\": %s%.*s",
		(int)(text.n > 200 ? 200 : text.n), text.p ? text.p : "", what,
		(int)(where.n > 100 ? 100 : where.n), where.p ? where.p : "");
}

static int check(const struct pattern *p, struct str text, bool names, struct error *e)
{
	size_t n_names = 0;

	for (size_t i = 0; i < p->n; i++) {
		const struct capture *c = &p->captures[i];
		if (c->literal.n == 0 && i + 1 < p->n)
			return bad(e, text,
				"two captures need a literal between them, behind capture ",
				c->name.n ? c->name : STR("_"));
		if (c->name.n == 0)
			continue;
		n_names++;
		if (!names)
			return bad(e, text, "a filter takes <_> alone, not the name ", c->name);
		for (size_t k = 0; k < i; k++)
			if (str_eq(p->captures[k].name, c->name))
				return bad(e, text, "two captures have the name ", c->name);
	}
	if (names && n_names == 0)
		return bad(e, text, "at least one named capture is needed, as <name>", STR_NONE);
	return 0;
}

int pattern_parse(
	struct pattern *out, struct arena *a, struct str text, bool names, struct error *e)
{
	struct str rest = text;
	size_t n = count_captures(text);

	if (n > PATTERN_CAPTURES_MAX)
		return error_set(e, ERR_ARG, "a pattern has at most %d captures, not %zu",
			PATTERN_CAPTURES_MAX, n);
	*out = (struct pattern){
		.head = take_literal(&rest), .captures = ARENA_ARRAY(a, struct capture, n), .n = n};
	for (size_t i = 0; i < n; i++) {
		size_t length = capture_length(rest);
		struct str name = str_sub(rest, 1, length - 1);
		rest = str_sub(rest, length, rest.n);
		out->captures[i] = (struct capture){
			.name = str_eq(name, STR("_")) ? STR_NONE : name,
			.literal = take_literal(&rest),
		};
		out->captures[i].anchor = find_anchor(out->captures[i].literal);
	}
	return check(out, text, names, e);
}

/* Where the literal of the capture is found, at `from` or behind; -1.  Literals are short and not
 * far away: memmem would spend more on its table than on the search. */
static ptrdiff_t find(struct str line, size_t from, const struct capture *c)
{
	struct str literal = c->literal;
	const char *at, *end;

	if (line.n < literal.n || from > line.n - literal.n)
		return -1;
	if (literal.n > SHORT_MAX) {
		ptrdiff_t found = str_find(str_sub(line, from, line.n), literal);
		return found < 0 ? -1 : found + (ptrdiff_t)from;
	}
	at = line.p + from + c->anchor;
	end = line.p + line.n - (literal.n - c->anchor) + 1;
	while ((at = memchr(at, literal.p[c->anchor], (size_t)(end - at)))) {
		if (memcmp(at - c->anchor, literal.p, literal.n) == 0)
			return at - c->anchor - line.p;
		if (++at == end)
			break;
	}
	return -1;
}

bool pattern_matches(const struct pattern *p, struct str line)
{
	size_t at = p->head.n;
	struct str last;

	if (!str_starts(line, p->head))
		return false;
	if (p->n == 0)
		return line.n == p->head.n;
	for (size_t i = 0; i + 1 < p->n; i++) {
		ptrdiff_t found = find(line, at + 1, &p->captures[i]);
		if (found < 0)
			return false;
		at = (size_t)found + p->captures[i].literal.n;
	}
	/* The last literal stands at the end, wherever else it may be. */
	last = p->captures[p->n - 1].literal;
	return line.n > at + last.n && str_ends(line, last);
}

size_t pattern_captures(const struct pattern *p, struct str line, size_t n, struct str *out)
{
	size_t at = p->head.n;

	if (!str_starts(line, p->head))
		return 0;
	for (size_t i = 0; i < p->n && i < n; i++) {
		struct str literal = p->captures[i].literal;
		ptrdiff_t found = literal.n ? find(line, at, &p->captures[i]) : -1;
		if (found < 0) {
			out[i] = str_sub(line, at, line.n);
			return i + 1;
		}
		out[i] = str_sub(line, at, (size_t)found);
		at = (size_t)found + literal.n;
	}
	return n < p->n ? n : p->n;
}

struct str pattern_needle(const struct pattern *p)
{
	struct str longest = p->head;

	for (size_t i = 0; i < p->n; i++)
		if (p->captures[i].literal.n > longest.n)
			longest = p->captures[i].literal;
	return longest;
}
