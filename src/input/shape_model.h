/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * For tests: text passes the splitter in pieces of any size, as it does in an
 * input, and must become the same records and, by their envelopes, the same
 * bytes again.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "input/tail.h"
#include "proto/envelope.h"

struct model {
	struct input_env env;
	struct shape *shape;
	struct line_reader lines;
	struct tail_io io;
	struct tail *tail;
	size_t held;
	struct batch *batches[4096];
	size_t n;
};

struct model_record {
	struct record r;
	struct str labels;
};

static inline int model_init(struct model *m, const struct shape_settings *s, struct error *e)
{
	struct labels_builder b = {0};
	int r;

	memset(m, 0, sizeof(*m));
	m->env = (struct input_env){.clock = clock_real(), .discover = {.level = true}};
	if ((r = shape_new(&m->shape, s, e)) < 0)
		return r;
	line_reader_init(&m->lines, &m->env, true);
	line_reader_zone(&m->lines, shape_zone(m->shape));
	m->lines.observed_ns = INT64_C(1787306400) * NS_PER_SEC;
	m->io.buffer = xmalloc(TAIL_BUFFER);
	m->io.lines = &m->lines;
	m->io.builder = batch_builder_new(STR("default"), STR("test"), 0);
	if (!shape_plain(m->shape))
		m->io.shaper = shaper_new(m->shape, &m->lines);
	m->tail = tail_new(-1, "test");
	buf_c(&m->tail->source, "test");
	labels_builder_set(&b, STR("app"), STR("test"), NULL);
	labels_builder_write(&b, &m->tail->labels);
	labels_builder_fini(&b);
	return 0;
}

static inline void model_fini(struct model *m)
{
	for (size_t i = 0; i < m->n; i++)
		batch_unref(m->batches[i]);
	batch_builder_free(m->io.builder);
	shaper_free(m->io.shaper);
	shape_free(m->shape);
	tail_free(m->tail);
	buf_fini(&m->io.meta);
	free(m->io.buffer);
}

static inline void model_finish(struct model *m)
{
	if (batch_builder_count(m->io.builder) == 0)
		return;
	assert(m->n < 4096);
	m->batches[m->n++] = batch_builder_finish(m->io.builder, 0);
}

/* `bytes` come, at most TAIL_CHUNK of them. */
static inline void model_feed(struct model *m, struct str bytes, enum shape_more more)
{
	enum tail_result r = TAIL_FULL;

	assert(m->held + bytes.n <= TAIL_BUFFER);
	if (bytes.n)
		memcpy(m->io.buffer + m->held, bytes.p, bytes.n);
	m->held += bytes.n;
	while (r == TAIL_FULL) {
		uint64_t before = m->tail->read;
		size_t taken;

		r = tail_split(m->tail, &m->io, m->held, more);
		taken = (size_t)(m->tail->read - before);
		m->held -= taken;
		memmove(m->io.buffer, m->io.buffer + taken, m->held);
		assert(m->tail->partial == m->held || r == TAIL_FULL);
		if (r == TAIL_FULL)
			model_finish(m);
	}
}

/* All of the text, in pieces of 1 to `chunk` bytes out of a seed. */
static inline void model_text(struct model *m, struct str text, size_t chunk, unsigned seed)
{
	while (text.n > 0) {
		size_t n = 1 + (seed = seed * 1103515245 + 12345) / 65536 % chunk;

		n = n < text.n ? n : text.n;
		model_feed(m, str_sub(text, 0, n), SHAPE_MORE);
		text = str_sub(text, n, text.n);
	}
	model_feed(m, STR(""), SHAPE_END);
	assert(m->held == 0 && m->io.n_unfit == 0);
	model_finish(m);
}

static inline size_t model_count(const struct model *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n; i++)
		n += batch_count(m->batches[i]);
	return n;
}

static inline struct model_record model_record(const struct model *m, size_t at)
{
	for (size_t i = 0; i < m->n; i++) {
		size_t n = batch_count(m->batches[i]);

		if (at < n) {
			struct record r = batch_record(m->batches[i], at);

			return (struct model_record){r, batch_stream(m->batches[i], r.stream)};
		}
		at -= n;
	}
	assert(!"so many records there are not");
	abort();
}

struct model_file {
	struct str text;
	uint8_t *seen; /* of each byte: how often it was rebuilt */
	size_t n_other;
	bool redacted;
};

static inline int model_piece(void *arg, uint64_t offset, struct str bytes, struct error *e)
{
	struct model_file *f = arg;

	(void)e;
	assert(offset <= f->text.n && (f->redacted || bytes.n <= f->text.n - offset));
	for (size_t i = 0; i < bytes.n && !f->redacted; i++) {
		f->n_other += f->text.p[offset + i] != bytes.p[i];
		f->seen[offset + i]++;
	}
	return 0;
}

/* How many bytes of the text the records do not make again, or make otherwise, or twice. */
static inline size_t model_lost(const struct model *m, struct str text)
{
	struct model_file f = {.text = text, .seen = xcalloc(1, text.n + 1)};
	size_t n = model_count(m), lost;
	uint64_t before = 0;

	for (size_t i = 0; i < n; i++) {
		struct model_record r = model_record(m, i);
		struct str redacted;
		struct error e = {0};
		int code;

		assert(r.r.position > before && r.r.position <= text.n);
		f.redacted =
			r.r.meta.n && labels_get(r.r.meta, STR(ENVELOPE_REDACTED_META), &redacted);
		code = envelope_rebuild(&r.r, before, model_piece, &f, &e);
		if (code < 0)
			printf("record %zu: %s\n", i, e.text);
		before = r.r.position;
	}
	lost = f.n_other;
	for (size_t i = 0; i < text.n; i++)
		lost += f.seen[i] != 1;
	free(f.seen);
	return lost;
}

/* The records of two are the same. */
static inline bool model_same(const struct model *a, const struct model *b)
{
	size_t n = model_count(a);

	if (n != model_count(b))
		return false;
	for (size_t i = 0; i < n; i++) {
		struct model_record x = model_record(a, i), y = model_record(b, i);

		if (!str_eq(x.r.body, y.r.body) || !str_eq(x.r.meta, y.r.meta) ||
			!str_eq(x.labels, y.labels) || x.r.position != y.r.position ||
			x.r.timestamp != y.r.timestamp || x.r.severity != y.r.severity ||
			x.r.flags != y.r.flags)
			return false;
	}
	return true;
}
