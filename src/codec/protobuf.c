/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/protobuf.h"

#include "codec/codec.h"

enum { NUMBER_MAX = (1 << 29) - 1 };

/* Most varints are lengths and tags of one byte. */
static inline bool take_varint(struct str *rest, uint64_t *out)
{
	size_t n;

	if (rest->n && !(rest->p[0] & 0x80)) {
		*out = (unsigned char)rest->p[0];
		n = 1;
	} else if ((n = varint_get(*rest, out)) == 0) {
		return false;
	}
	*rest = str_make(rest->p + n, rest->n - n);
	return true;
}

/* n bytes, least significant first. */
static bool take_fixed(struct str *rest, size_t n, uint64_t *out)
{
	if (rest->n < n)
		return false;
	*out = 0;
	for (size_t i = n; i-- > 0;)
		*out = *out << 8 | (unsigned char)rest->p[i];
	*rest = str_make(rest->p + n, rest->n - n);
	return true;
}

static bool take_bytes(struct str *rest, struct str *out)
{
	uint64_t n;

	if (!take_varint(rest, &n) || n > rest->n)
		return false;
	*out = str_make(rest->p, n);
	*rest = str_make(rest->p + n, rest->n - n);
	return true;
}

int protobuf_next(struct str *rest, struct protobuf_field *out)
{
	uint64_t tag;
	bool whole;

	if (rest->n == 0)
		return 0;
	if (!take_varint(rest, &tag) || tag >> 3 == 0 || tag >> 3 > NUMBER_MAX)
		return ERR_CORRUPT;
	*out = (struct protobuf_field){.number = (uint32_t)(tag >> 3), .wire = tag & 7};
	switch (out->wire) {
	case PROTOBUF_VARINT: whole = take_varint(rest, &out->value); break;
	case PROTOBUF_FIXED64: whole = take_fixed(rest, 8, &out->value); break;
	case PROTOBUF_BYTES: whole = take_bytes(rest, &out->bytes); break;
	case PROTOBUF_FIXED32: whole = take_fixed(rest, 4, &out->value); break;
	default: whole = false;
	}
	return whole ? 1 : ERR_CORRUPT;
}

static void put_tag(struct buf *out, uint32_t number, enum protobuf_wire wire)
{
	varint_put(out, (uint64_t)number << 3 | wire);
}

void protobuf_put_number(struct buf *out, uint32_t number, uint64_t value)
{
	put_tag(out, number, PROTOBUF_VARINT);
	varint_put(out, value);
}

void protobuf_put_double(struct buf *out, uint32_t number, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof bits);
	put_tag(out, number, PROTOBUF_FIXED64);
	for (size_t i = 0; i < sizeof bits; i++)
		buf_char(out, (char)(bits >> 8 * i));
}

void protobuf_put_bytes(struct buf *out, uint32_t number, struct str bytes)
{
	put_tag(out, number, PROTOBUF_BYTES);
	varint_put(out, bytes.n);
	buf_str(out, bytes);
}

/* The length of what is inside is known at its end: one byte is kept for it, which mostly does. */
size_t protobuf_begin(struct buf *out, uint32_t number)
{
	put_tag(out, number, PROTOBUF_BYTES);
	buf_char(out, 0);
	return out->n;
}

void protobuf_end(struct buf *out, size_t begun)
{
	size_t inside = out->n - begun, more = 0;

	for (size_t left = inside >> 7; left; left >>= 7)
		more++;
	if (more) {
		buf_reserve(out, more);
		memmove(out->p + begun + more, out->p + begun, inside);
	}
	out->n = begun - 1;
	varint_put(out, inside);
	out->n += inside;
}
