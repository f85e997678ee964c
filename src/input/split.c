/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the bytes of a file become records: whole lines, pieces of lines that
 * are longer than LINE_FRAGMENT, and what the input's shape (shape.h) joins
 * or unwraps.
 */
#include "input/tail.h"

#include <string.h>

/* The numbers of this tail in the builder, asked for once a chunk. */
struct numbers {
	uint32_t stream;
	uint16_t source;
	bool set;
};

static void numbers_set(struct numbers *n, struct tail *t, struct tail_io *io)
{
	struct batch_source s = {
		.id = buf_view(&t->source), .kind = POSITION_MARK, .from = t->sent, .to = t->read};

	n->source = batch_builder_source(io->builder, &s);
	if (!n->set)
		n->stream = batch_builder_stream(io->builder, buf_view(&t->labels));
	n->set = true;
	t->sent = t->read;
}

/* Add n bytes at p as a record; `advance` more bytes of the file are then taken.  False when the
 * builder is full. */
static bool add(struct tail *t, struct tail_io *io, struct numbers *num, struct str line,
	size_t advance, bool whole)
{
	struct record r;

	if (!num->set)
		numbers_set(num, t, io);
	if (t->fragment == 0) {
		line_reader_record(io->lines, line, buf_view(&t->labels), &r);
		if (!whole)
			t->head = r;
	} else {
		r = t->head;
		if (r.timestamp == 0)
			r.timestamp = io->lines->observed_ns;
		r.body = line;
	}
	if (!whole || t->fragment > 0) {
		line_fragment_meta(&io->meta, t->fragment + 1);
		r.meta = buf_view(&io->meta);
	}
	r.stream = num->stream;
	r.source = num->source;
	r.position = t->read + advance;
	if (batch_builder_add(io->builder, &r, NULL) < 0) {
		if (batch_builder_count(io->builder) > 0)
			return false;
		io->n_unfit++;
	}
	t->read += advance;
	t->fragment = whole ? 0 : t->fragment + 1;
	return true;
}

/* Add a line, or what there is of one, in pieces where it is long. */
static bool add_line(
	struct tail *t, struct tail_io *io, struct numbers *num, struct str line, bool newline)
{
	while (line.n > LINE_FRAGMENT || (!newline && line.n == LINE_FRAGMENT)) {
		if (!add(t, io, num, str_sub(line, 0, LINE_FRAGMENT), LINE_FRAGMENT, false))
			return false;
		line = str_sub(line, LINE_FRAGMENT, line.n);
	}
	if (!newline)
		return true;
	return add(t, io, num, line, line.n + 1, true);
}

enum tail_result tail_split(struct tail *t, struct tail_io *io, size_t n, bool last)
{
	const char *p = io->buffer, *end = p + n, *newline;
	struct numbers num = {0};
	bool fits = true;

	while (fits && (newline = memchr(p, '\n', (size_t)(end - p)))) {
		fits = add_line(t, io, &num, str_make(p, (size_t)(newline - p)), true);
		p = newline + 1;
	}
	if (fits && end - p >= LINE_FRAGMENT) {
		uint64_t before = t->read;

		fits = add_line(t, io, &num, str_make(p, (size_t)(end - p)), false);
		p += t->read - before;
	}
	if (fits && last && p < end)
		fits = add(t, io, &num, str_make(p, (size_t)(end - p)), (size_t)(end - p), true);
	if (num.set)
		numbers_set(&num, t, io);
	t->partial = fits && !last ? (uint64_t)(end - p) : 0;
	return fits ? TAIL_MORE : TAIL_FULL;
}
