/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Hexadecimal digits.  Pure; any thread. */

/* 0 to 15 by either case, -1 for what is none. */
static inline int hex_digit(char c)
{
	char low = (char)(c | 0x20);

	if (c >= '0' && c <= '9')
		return c - '0';
	return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}
