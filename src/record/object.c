/* SPDX-License-Identifier: Apache-2.0 */
#include "record/object.h"

#include <endian.h>

/* The top bit of each byte of eight that is c; of bytes above one that is, perhaps wrongly. */
static uint64_t bytes_that_are(uint64_t eight, char c)
{
	uint64_t x = eight ^ (uint64_t)(uint8_t)c * 0x0101010101010101;

	return (x - 0x0101010101010101) & ~x & 0x8080808080808080;
}

/* Index of the quote that ends the string whose inside starts at `at`, or the length of `s` when
 * it is cut.  Most of a line of JSON is strings: eight bytes at a time. */
static size_t string_end(struct str s, size_t at)
{
	uint64_t eight, found;

	while (at < s.n) {
		if (s.n - at >= sizeof eight) {
			memcpy(&eight, s.p + at, sizeof eight);
			eight = le64toh(eight);
			found = bytes_that_are(eight, '"') | bytes_that_are(eight, '\\');
			if (!found) {
				at += sizeof eight;
				continue;
			}
			at += (size_t)__builtin_ctzll(found) / 8;
		}
		if (s.p[at] == '"')
			return at;
		at += s.p[at] == '\\' ? 2 : 1;
	}
	return s.n;
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
