/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/codec.h"

enum { VARINT_MAX = 10 }; /* bytes that 64 bits take at 7 bits a byte */

void varint_put(struct buf *out, uint64_t v)
{
	char *p = buf_reserve(out, VARINT_MAX);
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		p[n++] = (char)(v | 0x80);
	p[n++] = (char)v;
	out->n += n;
}

size_t varint_get(struct str in, uint64_t *out)
{
	uint64_t v = 0;

	for (size_t i = 0; i < in.n && i < VARINT_MAX; i++) {
		uint64_t byte = (unsigned char)in.p[i];
		if (i == VARINT_MAX - 1 && byte > 1)
			return 0; /* more than 64 bits */
		v |= (byte & 0x7f) << (7 * i);
		if (byte < 0x80) {
			*out = v;
			return i + 1;
		}
	}
	return 0;
}
