/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The letters of JSON (RFC 8259), for what reads its bytes.  Pure; any thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hex.h"

static inline bool json_is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline bool json_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* What may follow a number or a word. */
static inline bool json_is_end(char c)
{
	return json_is_space(c) || c == ',' || c == '}' || c == ']' || c == ':';
}

static inline const char *json_skip_digits(const char *p, const char *end)
{
	while (p < end && json_is_digit(*p))
		p++;
	return p;
}

/* Where the number at p ends, NULL when it is none (RFC 8259, section 6). */
static inline const char *json_number_end(const char *p, const char *end)
{
	const char *digits;

	if (p < end && *p == '-')
		p++;
	digits = p;
	p = json_skip_digits(p, end);
	if (p == digits || (*digits == '0' && p > digits + 1))
		return NULL;
	if (p < end && *p == '.') {
		digits = ++p;
		if ((p = json_skip_digits(p, end)) == digits)
			return NULL;
	}
	if (p < end && (*p | 0x20) == 'e') {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		digits = p;
		if ((p = json_skip_digits(p, end)) == digits)
			return NULL;
	}
	return p == end || json_is_end(*p) ? p : NULL;
}

/* The four digits behind "\u". */
static inline bool json_hex4(const char *p, const char *end, uint32_t *out)
{
	*out = 0;
	if (end - p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		int d = hex_digit(p[i]);

		if (d < 0)
			return false;
		*out = *out << 4 | (uint32_t)d;
	}
	return true;
}
