/* SPDX-License-Identifier: Apache-2.0 */
#include "record/object.h"

/* Index of the quote that ends the string whose inside starts at `at`, or the length of `s` when
 * it is cut. */
static size_t string_end(struct str s, size_t at)
{
	for (; at < s.n && s.p[at] != '"'; at++)
		if (s.p[at] == '\\')
			at++;
	return at < s.n ? at : s.n;
}

static size_t skip_blanks(struct str s, size_t at)
{
	while (at < s.n && (s.p[at] == ' ' || s.p[at] == '\t'))
		at++;
	return at;
}

void object_start(struct object *o, struct str s)
{
	*o = (struct object){.s = str_sub(s, 0, OBJECT_BYTES)};
}

bool object_next(struct object *o, struct str *name, struct str *from_value)
{
	struct str s = o->s;

	for (; o->at < s.n; o->at++) {
		size_t start = o->at + 1, end, colon;
		char c = s.p[o->at];
		if (c == '{' || c == '[')
			o->depth++;
		else if ((c == '}' || c == ']') && --o->depth == 0)
			break;
		if (c != '"')
			continue;
		end = string_end(s, start);
		o->at = end;
		if (o->depth != 1)
			continue;
		colon = skip_blanks(s, end + 1);
		if (colon >= s.n || s.p[colon] != ':')
			continue;
		*name = str_sub(s, start, end);
		o->at = skip_blanks(s, colon + 1);
		*from_value = str_sub(s, o->at, s.n);
		return true;
	}
	o->at = s.n;
	return false;
}

struct str object_scalar(struct str s)
{
	size_t end = 0;

	if (s.n > 0 && s.p[0] == '"')
		return str_sub(s, 1, string_end(s, 1));
	while (end < s.n && s.p[end] != ',' && s.p[end] != ']' && s.p[end] != '}' &&
		s.p[end] != ' ' && s.p[end] != '\t')
		end++;
	return str_sub(s, 0, end);
}
