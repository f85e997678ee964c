/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the bytes of a file become records: whole lines, pieces of lines that
 * are longer than LINE_FRAGMENT, and what the input's shape (shape.h) joins
 * or unwraps.
 *
 * Plain lines do not pass through the shaper: memchr and one copy is all that
 * most of the bytes of a host need.
 */
#include "input/tail.h"

#include <string.h>

/* The numbers of this tail in the builder, asked for once a chunk. */
struct numbers {
	uint32_t stream;
	uint16_t source;
	uint8_t told; /* the level of its labels */
	bool set;
};

/* False: the builder is full, or has bytes of this source that lie further on: the file is read
 * again, as after a truncation its rest was found in a compressed copy. */
static bool numbers_set(struct numbers *n, struct tail *t, struct tail_io *io)
{
	struct batch_source s = {
		.id = buf_view(&t->source), .kind = POSITION_MARK, .from = t->sent, .to = t->read};
	uint16_t source = batch_builder_source(io->builder, &s);

	if (source == 0)
		return false;
	n->source = source;
	if (!n->set)
		n->stream = batch_builder_stream(io->builder, buf_view(&t->labels));
	n->set = true;
	t->sent = t->read;
	return true;
}

/* Say in the record's metadata that the bytes right before it are not stored. */
static void add_skipped(struct tail_io *io, struct record *r, uint64_t skipped)
{
	struct labels_builder b = {.names_free = true};
	struct str at = r->meta;
	struct label l;
	char number[24];

	if (at.n) {
		labels_start(&at);
		while (labels_next(&at, &l))
			labels_builder_set(&b, l.name, l.value, NULL);
	}
	snprintf(number, sizeof(number), "%llu", (unsigned long long)skipped);
	labels_builder_set(&b, STR("skipped"), str_c(number), NULL);
	buf_clear(&io->meta);
	labels_builder_write(&b, &io->meta);
	r->meta = buf_view(&io->meta);
	labels_builder_fini(&b);
}

/* Put a record whose last byte stands before `position` into the builder.  False: it is full. */
static bool put(struct tail *t, struct tail_io *io, const struct numbers *num, struct record *r,
	uint64_t position)
{
	if (t->skipped)
		add_skipped(io, r, t->skipped);
	r->source = num->source;
	r->position = position;
	if (batch_builder_add(io->builder, r, NULL) < 0) {
		if (batch_builder_count(io->builder) > 0)
			return false;
		io->n_unfit++;
	}
	t->skipped = 0;
	return true;
}

/* Add a line, or a piece of one when `fragment` or the tail says so; `advance` bytes of the file
 * are then taken.  False when the builder is full. */
static bool add(struct tail *t, struct tail_io *io, struct numbers *num, struct str line,
	size_t advance, bool whole)
{
	bool newline = advance > line.n;
	struct record r;

	if (!num->set && !numbers_set(num, t, io))
		return false;
	if (t->read == 0 && str_starts(line, STR("\xef\xbb\xbf")))
		line = str_sub(line, 3, line.n);
	if (newline && line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	if (t->fragment == 0) {
		line_reader_record(io->lines, line, num->told, &r);
		if (!whole)
			t->head = r;
	} else {
		/* Read on after a restart: the time of its head is not known any more. */
		if (t->head.timestamp == 0)
			t->head.timestamp = line_reader_observe(io->lines);
		r = t->head;
		r.body = line;
	}
	if (!whole || t->fragment > 0) {
		line_fragment_meta(&io->meta, t->fragment + 1);
		r.meta = buf_view(&io->meta);
	}
	if (io->shaper)
		shaper_piece(io->shaper, &r, advance);
	r.stream = num->stream;
	if (!put(t, io, num, &r, t->read + advance))
		return false;
	if (io->shaper)
		shaper_taken(io->shaper);
	t->read += advance;
	t->fragment = whole ? 0 : t->fragment + 1;
	return true;
}

/* Add a whole line with what else stands before the next, or what there is of one, in pieces where
 * it is long. */
static bool add_line(struct tail *t, struct tail_io *io, struct numbers *num, struct str line,
	size_t newline, bool whole)
{
	while (line.n > LINE_FRAGMENT || (!whole && line.n == LINE_FRAGMENT)) {
		if (!add(t, io, num, str_sub(line, 0, LINE_FRAGMENT), LINE_FRAGMENT, false))
			return false;
		line = str_sub(line, LINE_FRAGMENT, line.n);
	}
	return !whole || add(t, io, num, line, line.n + newline, true);
}

/* Lines as they are. */
static enum tail_result split_plain(
	struct tail *t, struct tail_io *io, struct numbers *num, size_t n, enum shape_more more)
{
	const char *p = io->buffer, *end = p + n, *newline;
	bool fits = true;

	while (fits && (newline = memchr(p, '\n', (size_t)(end - p)))) {
		fits = add_line(t, io, num, str_make(p, (size_t)(newline - p)), 1, true);
		p = newline + 1;
	}
	if (fits && end - p >= LINE_FRAGMENT) {
		uint64_t before = t->read;

		fits = add_line(t, io, num, str_make(p, (size_t)(end - p)), 0, false);
		p += t->read - before;
	}
	if (fits && more == SHAPE_END && p < end) {
		fits = add(t, io, num, str_make(p, (size_t)(end - p)), (size_t)(end - p), true);
		p = end;
	}
	t->partial = fits ? (uint64_t)(end - p) : 0;
	return fits ? TAIL_MORE : TAIL_FULL;
}

/* The records of a unit go into one builder or into none: a mark between them would be a place
 * from which the rest cannot be made again. */
static bool unit_fits(const struct tail_io *io, const struct shape_line *lines, size_t n)
{
	size_t bytes = batch_builder_bytes(io->builder);

	for (size_t i = 0; i < n; i++)
		bytes += lines[i].record.body.n + 2 * lines[i].record.meta.n + lines[i].labels.n +
			 256;
	return batch_builder_count(io->builder) == 0 ||
	       (bytes <= BATCH_BYTES_MAX / 2 &&
		       batch_builder_count(io->builder) + n <= BATCH_RECORDS_MAX);
}

static bool add_unit(struct tail *t, struct tail_io *io, struct numbers *num,
	const struct shape_line *lines, size_t n, size_t length)
{
	uint64_t last = 0;

	if (!unit_fits(io, lines, n))
		return false;
	if (n > 0 && !num->set && !numbers_set(num, t, io))
		return false;
	for (size_t i = 0; i < n; i++) {
		struct record r = lines[i].record;

		r.stream = batch_builder_stream(io->builder, lines[i].labels);
		last = lines[i].end;
		if (!put(t, io, num, &r, t->read + last))
			io->n_unfit++; /* never: unit_fits has left room */
	}
	t->skipped += length - last;
	t->read += length;
	shaper_taken(io->shaper);
	return true;
}

/* What is left of a long line, and its newline if that is there.  False when the builder is full;
 * *taken tells whether there was something to take. */
static bool add_long(struct tail *t, struct tail_io *io, struct numbers *num,
	const struct shape_text *text, bool *taken)
{
	uint64_t before = t->read;
	size_t newline, n = shaper_line(io->shaper, text, &newline);
	bool whole = n > 0 || text->more == SHAPE_END, fits;

	if (n == 0)
		n = text->bytes.n;
	fits = add_line(t, io, num, str_sub(text->bytes, 0, n - newline), newline, whole);
	*taken = t->read > before;
	return fits;
}

static enum tail_result split_shaped(
	struct tail *t, struct tail_io *io, struct numbers *num, size_t n, enum shape_more more)
{
	const char *end = io->buffer + n;
	uint64_t from = t->read;
	bool fits = true, taken = true;

	if (t->read == 0) {
		t->n_first = (uint8_t)(n < SHAPE_HEAD ? n : SHAPE_HEAD);
		memcpy(t->first, io->buffer, t->n_first);
	}
	while (fits && taken && t->read - from < n) {
		const char *p = io->buffer + (t->read - from);
		struct shape_text text = {.bytes = str_make(p, (size_t)(end - p)),
			.offset = t->read,
			.labels = buf_view(&t->labels),
			.head = str_make(t->first, t->n_first),
			.told = num->told,
			.more = more};
		const struct shape_line *lines;
		size_t n_lines, length = 0;

		if (t->fragment == 0)
			length = shaper_next(io->shaper, &text, &lines, &n_lines);
		if (length > 0)
			fits = add_unit(t, io, num, lines, n_lines, length);
		else if (t->fragment > 0 || text.bytes.n >= LINE_FRAGMENT)
			fits = add_long(t, io, num, &text, &taken);
		else
			taken = false;
	}
	t->partial = fits ? n - (t->read - from) : 0;
	return fits ? TAIL_MORE : TAIL_FULL;
}

enum tail_result tail_split(struct tail *t, struct tail_io *io, size_t n, enum shape_more more)
{
	struct numbers num = {
		.told = discover_labels(&io->lines->env->discover, buf_view(&t->labels))};
	enum tail_result r =
		io->shaper ? split_shaped(t, io, &num, n, more) : split_plain(t, io, &num, n, more);

	if (num.set)
		numbers_set(&num, t, io);
	return r;
}
