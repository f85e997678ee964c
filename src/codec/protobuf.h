/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The wire format of protobuf, read field by field in place, and written
 * (protobuf.dev, "Encoding"): no schema, no memory, no depth, since a message
 * inside another is a field of bytes that its reader walks in turn.
 *
 *   struct str at = message;
 *   while ((r = protobuf_next(&at, &f)) > 0)
 *           if (protobuf_is(&f, 1, PROTOBUF_BYTES)) …
 *
 * Pure: any thread.
 */
#include "base/buf.h"

enum protobuf_wire {
	PROTOBUF_VARINT = 0,
	PROTOBUF_FIXED64 = 1,
	PROTOBUF_BYTES = 2,
	PROTOBUF_FIXED32 = 5,
};

struct protobuf_field {
	uint32_t number;
	enum protobuf_wire wire;
	uint64_t value;   /* of a number, as it is on the wire: not zigzag */
	struct str bytes; /* of PROTOBUF_BYTES: a view of the message */
};

/* Take the field at the start of *rest: 1; 0 at its end; ERR_CORRUPT when it is cut, has a number
 * outside 1 to 2^29 - 1, a varint of more than 64 bits, or is a group, which nobody sends. */
int protobuf_next(struct str *rest, struct protobuf_field *out);

/* A field that is known by number but of another type counts as unknown, as the format asks. */
static inline bool protobuf_is(
	const struct protobuf_field *f, uint32_t number, enum protobuf_wire wire)
{
	return f->number == number && f->wire == wire;
}

/* Writing: append a field. */
void protobuf_put_number(struct buf *out, uint32_t number, uint64_t value);
void protobuf_put_double(struct buf *out, uint32_t number, double value);
void protobuf_put_bytes(struct buf *out, uint32_t number, struct str bytes);
/* A message inside: what is appended between the two calls; begin returns what end wants. */
size_t protobuf_begin(struct buf *out, uint32_t number);
void protobuf_end(struct buf *out, size_t begun);
