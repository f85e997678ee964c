/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A push in protobuf, in two passes.  The first looks whether all of it can be
 * read, so that a body is refused before anything of it is kept; the second
 * adds, and finds the labels of a stream before its entries, wherever they
 * stand: fields may come in any order, and of a repeated one the last counts.
 *
 *   message PushRequest { repeated Stream streams = 1; }
 *   message Stream      { string labels = 1; repeated Entry entries = 2; }
 *   message Entry       { Timestamp timestamp = 1; string line = 2;
 *                         repeated Pair structuredMetadata = 3; }
 *   message Timestamp   { int64 seconds = 1; int32 nanos = 2; }
 *   message Pair        { string name = 1; string value = 2; }
 *
 * What else Loki's clients send (the stream's hash) is of no meaning here.
 */
#include "codec/protobuf.h"
#include "proto/entries.h"

enum { PUSH_STREAMS = 1 };
enum { STREAM_LABELS = 1, STREAM_ENTRIES = 2 };
enum { ENTRY_TIMESTAMP = 1, ENTRY_LINE = 2, ENTRY_META = 3 };
enum { TIMESTAMP_SECONDS = 1, TIMESTAMP_NANOS = 2 };
enum { PAIR_NAME = 1, PAIR_VALUE = 2 };

static const int64_t ns_per_s = 1000000000;

/* ---- first pass ---- */

enum message { PUSH, STREAM, ENTRY, LEAF, NONE };

/* What a field of bytes holds. */
static enum message inside(enum message of, uint32_t number)
{
	if (of == PUSH)
		return number == PUSH_STREAMS ? STREAM : NONE;
	if (of == STREAM)
		return number == STREAM_ENTRIES ? ENTRY : NONE;
	if (of == ENTRY)
		return number == ENTRY_TIMESTAMP || number == ENTRY_META ? LEAF : NONE;
	return NONE;
}

/* Goes as deep as the enum; *bad is where it could not be read. */
static bool check(struct str message, enum message kind, size_t *n_entries, const char **bad)
{
	struct protobuf_field f;
	int r;

	*n_entries += kind == ENTRY;
	for (;;) {
		enum message child;

		*bad = message.p;
		if ((r = protobuf_next(&message, &f)) <= 0)
			return r == 0;
		if (f.wire != PROTOBUF_BYTES || (child = inside(kind, f.number)) == NONE)
			continue;
		if (!check(f.bytes, child, n_entries, bad))
			return false;
	}
}

int lokipush_protobuf_check(struct str body, size_t *n_entries, struct error *e)
{
	const char *bad;

	*n_entries = 0;
	if (check(body, PUSH, n_entries, &bad))
		return 0;
	return error_set(e, ERR_ARG, "bad protobuf at byte %zu: this is no logproto.PushRequest",
		(size_t)(bad - body.p));
}

/* ---- second pass: of a body that can be read ---- */

struct timestamp {
	bool set;
	int64_t seconds, nanos;
};

static void read_timestamp(struct str message, struct timestamp *out)
{
	struct protobuf_field f;

	out->set = true;
	while (protobuf_next(&message, &f) > 0) {
		if (protobuf_is(&f, TIMESTAMP_SECONDS, PROTOBUF_VARINT))
			out->seconds = (int64_t)f.value;
		else if (protobuf_is(&f, TIMESTAMP_NANOS, PROTOBUF_VARINT))
			out->nanos = (int32_t)(uint32_t)f.value;
	}
}

static bool to_ns(const struct timestamp *t, int64_t *out)
{
	return t->set && t->nanos >= 0 && t->nanos < ns_per_s &&
	       !__builtin_mul_overflow(t->seconds, ns_per_s, out) &&
	       !__builtin_add_overflow(*out, t->nanos, out);
}

static bool read_pair(struct entries *p, struct str message)
{
	struct str name = STR_NONE, value = STR_NONE;
	struct protobuf_field f;

	while (protobuf_next(&message, &f) > 0) {
		if (protobuf_is(&f, PAIR_NAME, PROTOBUF_BYTES))
			name = f.bytes;
		else if (protobuf_is(&f, PAIR_VALUE, PROTOBUF_BYTES))
			value = f.bytes;
	}
	return entries_meta(p, name, value);
}

static void read_entry(struct entries *p, struct str message)
{
	struct timestamp t = {0};
	struct str line = STR_NONE;
	struct protobuf_field f;
	int64_t ns;

	entries_begin(p);
	while (protobuf_next(&message, &f) > 0) {
		if (f.wire != PROTOBUF_BYTES)
			continue;
		if (f.number == ENTRY_TIMESTAMP)
			read_timestamp(f.bytes, &t);
		else if (f.number == ENTRY_LINE)
			line = f.bytes;
		else if (f.number == ENTRY_META && !read_pair(p, f.bytes))
			return;
	}
	if (to_ns(&t, &ns))
		entries_add(p, ns, line);
	else
		entries_refuse(p, &p->report->n_bad_timestamp, ERR_ARG,
			t.set ? "has a timestamp out of range" : "has no timestamp");
}

/* The labels, and how many entries there are. */
static size_t look_through(struct str message, struct str *labels)
{
	struct protobuf_field f;
	size_t n = 0;

	*labels = STR_NONE;
	while (protobuf_next(&message, &f) > 0) {
		if (protobuf_is(&f, STREAM_LABELS, PROTOBUF_BYTES))
			*labels = f.bytes;
		n += protobuf_is(&f, STREAM_ENTRIES, PROTOBUF_BYTES);
	}
	return n;
}

static void read_stream(struct entries *p, struct str message)
{
	struct protobuf_field f;
	struct str labels;
	size_t n = look_through(message, &labels);
	struct error why;

	if (n == 0)
		return;
	entries_clear(p);
	if (labels.n && labels_parse(&p->labels, labels, &why) < 0) {
		entries_bad_labels(p, labels, &why, n);
		return;
	}
	if (!entries_stream(p, n))
		return;
	while (protobuf_next(&message, &f) > 0) {
		if (!protobuf_is(&f, STREAM_ENTRIES, PROTOBUF_BYTES))
			continue;
		read_entry(p, f.bytes);
		p->entry_i++;
	}
}

void lokipush_protobuf(struct str body, const struct push_options *o, struct batch_builder *into,
	struct push_report *report)
{
	struct protobuf_field f;
	struct entries p;

	entries_init(&p, "entries", o, into, report);
	while (protobuf_next(&body, &f) > 0) {
		if (!protobuf_is(&f, PUSH_STREAMS, PROTOBUF_BYTES))
			continue;
		read_stream(&p, f.bytes);
		p.stream_i++;
	}
	entries_fini(&p);
}
