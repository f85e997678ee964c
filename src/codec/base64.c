/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 of RFC 4648, section 4: with padding, and nothing else between. */
#include "codec/codec.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_put(struct buf *out, struct str s)
{
	char *p = buf_reserve(out, (s.n + 2) / 3 * 4);

	for (size_t i = 0; i < s.n; i += 3) {
		size_t left = s.n - i;
		uint32_t bits = (uint32_t)(unsigned char)s.p[i] << 16;

		if (left > 1)
			bits |= (uint32_t)(unsigned char)s.p[i + 1] << 8;
		if (left > 2)
			bits |= (unsigned char)s.p[i + 2];
		*p++ = digits[bits >> 18];
		*p++ = digits[bits >> 12 & 63];
		*p++ = left > 1 ? digits[bits >> 6 & 63] : '=';
		*p++ = left > 2 ? digits[bits & 63] : '=';
	}
	out->n += (s.n + 2) / 3 * 4;
}

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_get(struct buf *out, struct str s)
{
	size_t pad = 0, was = out->n;
	uint32_t bits = 0;

	if (s.n % 4 != 0)
		return false;
	if (s.n > 0 && s.p[s.n - 1] == '=')
		pad = s.p[s.n - 2] == '=' ? 2 : 1;
	for (size_t i = 0; i < s.n; i++) {
		int v = i < s.n - pad ? value_of(s.p[i]) : 0;

		if (v < 0) {
			out->n = was;
			return false;
		}
		bits = bits << 6 | (uint32_t)v;
		if (i % 4 < 3)
			continue;
		for (int shift = 16; shift >= 0; shift -= 8)
			buf_char(out, (char)(bits >> shift & 0xff));
		bits = 0;
	}
	out->n -= pad;
	return true;
}
