/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/meta_name.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
	char low = (char)(c | 0x20);

	return c == '_' || is_digit(c) || (low >= 'a' && low <= 'z');
}

void meta_name_put(struct buf *out, struct str name)
{
	if (out->n == 0 && (name.n == 0 || is_digit(name.p[0])))
		buf_char(out, '_');
	for (size_t i = 0; i < name.n; i++) {
		/* One _ for a character of several bytes. */
		if ((name.p[i] & 0xc0) == 0x80 && i > 0)
			continue;
		buf_char(out, is_word(name.p[i]) ? name.p[i] : '_');
	}
}
