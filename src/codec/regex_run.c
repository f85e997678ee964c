/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bytes must follow each other in every match of a simple expression.
 *
 *     [0-9]{5}[a-f]+x?-      five times 0-9, then a-f         (the repeat ends it)
 *                            a-f                              (x may be between)
 *                            -
 *
 * The longest of these is taken.  An atom that is no ASCII character or list of
 * them ends a run too.  What has groups, alternatives or anything else that is
 * not understood here has none: that only costs the search some time.
 */
#include "codec/regex_run.h"

#include <string.h>

struct runs {
	struct str rest; /* of the pattern */
	struct regex_run now, best;
};

static void add_byte(struct regex_set *set, unsigned char c)
{
	set->bits[c >> 6] |= UINT64_C(1) << (c & 63);
}

static void end_run(struct runs *r)
{
	if (r->now.n > r->best.n)
		r->best = r->now;
	r->now.n = 0;
}

static void add_times(struct runs *r, const struct regex_set *set, size_t n)
{
	for (; n > 0 && r->now.n < REGEX_RUN_MAX; n--)
		r->now.set[r->now.n++] = *set;
}

static char next(const struct runs *r)
{
	return r->rest.n > 0 ? r->rest.p[0] : 0;
}

static void skip(struct runs *r, size_t n)
{
	r->rest = str_sub(r->rest, n, r->rest.n);
}

/* [a-f0-9_]: false when it is anything more. */
static bool take_list(struct runs *r, struct regex_set *set)
{
	for (skip(r, 1); next(r) != ']'; skip(r, 1)) {
		unsigned char from = (unsigned char)next(r), to = from;

		if (r->rest.n < 2 || from >= 0x80 || strchr("[\\^-&", from))
			return false;
		if (r->rest.p[1] == '-') {
			if (r->rest.n < 3)
				return false;
			to = (unsigned char)r->rest.p[2];
			if (to >= 0x80 || strchr("[]\\-&", to))
				return false;
			skip(r, 2);
		}
		for (unsigned c = from; c <= to; c++)
			add_byte(set, (unsigned char)c);
	}
	skip(r, 1);
	return (set->bits[0] | set->bits[1]) != 0;
}

/* \d, \. and assertions: false when it is anything else. */
static bool take_escape(struct runs *r, struct regex_set *set, bool *known)
{
	char c = r->rest.n > 1 ? r->rest.p[1] : 0;

	if (c == 'd')
		for (char d = '0'; d <= '9'; d++)
			add_byte(set, (unsigned char)d);
	else if (c && strchr(".+*?()|[]{}^$\\/-", c))
		add_byte(set, (unsigned char)c);
	else if (c && strchr("bBwWsSD", c))
		*known = false;
	else
		return false;
	skip(r, 2);
	return true;
}

static bool take_number(struct runs *r, size_t *out)
{
	size_t n = 0;

	*out = 0;
	for (; next(r) >= '0' && next(r) <= '9' && n < 4; n++, skip(r, 1))
		*out = *out * 10 + (size_t)(next(r) - '0');
	return n > 0;
}

/* How often the atom stands there at least, and whether it is always so often. */
static bool take_repeat(struct runs *r, size_t *least, bool *fixed)
{
	char c = next(r);

	*least = 1;
	*fixed = true;
	if (c == 0 || !strchr("?*+{", c))
		return true;
	*fixed = false;
	*least = c == '+';
	skip(r, 1);
	if (c == '{') {
		size_t most;

		if (!take_number(r, least))
			return false;
		*fixed = next(r) == '}';
		if (next(r) == ',') {
			skip(r, 1);
			take_number(r, &most);
		}
		if (next(r) != '}')
			return false;
		skip(r, 1);
	}
	if (next(r) == '?') /* lazy */
		skip(r, 1);
	return true;
}

static bool take_atom(struct runs *r)
{
	struct regex_set set = {{0}};
	unsigned char c = (unsigned char)next(r);
	bool known = true, fixed;
	size_t least;

	if (c == '[') {
		if (!take_list(r, &set))
			return false;
	} else if (c == '\\') {
		if (!take_escape(r, &set, &known))
			return false;
	} else if (c == '.' || c == '^' || c == '$') {
		known = false;
		skip(r, 1);
	} else if (c == 0 || c >= 0x80 || strchr("()|]{}*+?", c)) {
		return false;
	} else {
		add_byte(&set, c);
		skip(r, 1);
	}
	if (!take_repeat(r, &least, &fixed))
		return false;
	if (known)
		add_times(r, &set, least);
	if (known && fixed && least > 0)
		return true;
	end_run(r);
	if (known)
		add_times(r, &set, least);
	return true;
}

void regex_run_find(struct regex_run *out, struct str pattern)
{
	struct runs r = {.rest = pattern};

	out->n = 0;
	while (r.rest.n > 0)
		if (!take_atom(&r))
			return;
	end_run(&r);
	*out = r.best;
}
