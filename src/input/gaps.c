/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was truncated before it could be read: counted, and told in the file's
 * stream by a gap record.
 *
 * Design.  A size counts only when the fingerprint held after it was seen
 * (tail_measure): then those bytes were this generation's.  What lies between
 * what was read and the largest such size is lost when the inode holds other
 * bytes; there may have been more, nobody knows.
 *
 * The record stands at the end of the old generation's source and covers the
 * lost bytes, so the server's mark moves behind them: told twice it is a
 * duplicate.  The generation stays in the book as `gone`; while its offset is
 * below its size the gap is not acknowledged, and the next start tells it.  So
 * a kill at any moment repeats it or finds it due, and never loses it, once
 * the size is in the file of positions.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "input/file.h"

enum { GONE_MAX = 8 }; /* generations of one inode */

/* One that is under way. */
struct gap {
	struct list node;
	struct buf source;
	uint64_t ino, generation;
	const char *reason; /* in the metrics */
};

static void gap_free(struct gap *g)
{
	list_remove(&g->node);
	buf_fini(&g->source);
	free(g);
}

void gaps_fini(struct file_input *in)
{
	LIST_EACH (at, &in->gaps)
		gap_free(CONTAINER(at, struct gap, node));
}

/* A file that is truncated all the time must not push out what is known of others. */
static void forget_older(struct book *b, uint64_t ino)
{
	struct position *at = positions_find(&b->kept, ino), *next;
	size_t n = 0;

	for (; at; at = next) { /* the youngest is the first */
		next = at->same;
		if (at->gone && at->offset >= at->size && ++n > GONE_MAX)
			position_remove(&b->kept, at);
	}
}

static struct position *find(struct book *b, uint64_t ino, uint64_t generation)
{
	struct position *at = positions_find(&b->kept, ino);

	while (at && !(at->gone && at->id.generation == generation))
		at = at->same;
	return at;
}

/* Put a record that says `body` for the bytes of `s` into the builder. */
static void add_record(struct file_input *in, const struct tail *t, const struct batch_source *s,
	const char *body, const char *reason)
{
	struct record r = {.timestamp = clock_now_ns(in->env->clock),
		.body = str_c(body),
		.position = s->to,
		.severity = 13, /* a warning, of ours */
		.flags = RECORD_GAP | RECORD_TIME_OBSERVED};
	struct gap *g = xcalloc(1, sizeof(*g));

	for (int i = 0; i < 2; i++) {
		r.source = batch_builder_source(in->io.builder, s);
		r.stream = batch_builder_stream(in->io.builder, buf_view(&t->labels));
		if (r.source && batch_builder_add(in->io.builder, &r, NULL) == 0)
			break;
		file_send(in); /* it is full: an empty one has room */
	}
	buf_str(&g->source, s->id);
	g->ino = t->id.ino;
	g->generation = t->id.generation;
	g->reason = reason;
	list_append(&in->gaps, &g->node);
	file_pump_soon(in);
}

/* Bytes [from, at->size) of `at`, of which those from `sent` on are not under way yet. */
static void tell_truncated(struct file_input *in, const struct tail *t, const struct position *at,
	uint64_t sent, uint64_t from, bool exact)
{
	struct batch_source s = {
		.id = buf_view(&t->source), .kind = POSITION_MARK, .from = sent, .to = at->size};
	struct buf body = {0};

	buf_printf(&body,
		"sawlog: %s%" PRIu64 " bytes of %s (%" PRIu64 " to %" PRIu64
		") were truncated before they could be read",
		exact ? "" : "up to ", at->size - from, at->path, from, at->size);
	log_warn("input",
		"file: %s%" PRIu64 " bytes of %s were truncated before they could be read",
		exact ? "" : "up to ", at->size - from, at->path);
	add_record(in, t, &s, buf_cstr(&body), "truncated");
	buf_fini(&body);
}

/* How many bytes there were nobody knows: the record stands for one, so that the server drops it
 * when it comes again. */
void gaps_damaged(struct file_input *in, struct tail *t, const char *why)
{
	struct batch_source s = {.id = buf_view(&t->source),
		.kind = POSITION_MARK,
		.from = t->sent,
		.to = t->read + 1};
	struct buf body = {0};

	buf_printf(&body, "sawlog: %s", why);
	add_record(in, t, &s, buf_cstr(&body), "damaged");
	buf_fini(&body);
	t->damaged = false;
	t->read++;
	t->sent = t->size = t->sure = t->read;
	t->skipped = t->partial = 0;
}

void gaps_truncated(struct file_input *in, const struct tail *t)
{
	struct position v = {.seen_s = book_now_s(in->book), .gone = true}, *at;

	tails_position(t, &v);
	v.path = xstrdup(t->origin);
	forget_older(in->book, t->id.ino);
	at = book_keep(in->book, &v);
	if (!t->known || t->sure <= t->read) {
		at->size = at->offset; /* nothing is lost, as far as anybody knows */
		return;
	}
	tell_truncated(in, t, at, t->sent, t->read, true);
}

void gaps_due(struct file_input *in)
{
	LIST_EACH (node, &in->book->kept.list) {
		struct position *at = CONTAINER(node, struct position, node);
		struct tail t = {.id = at->id, .origin = at->path};
		uint64_t mark = 0;
		bool exact;
		struct error e;

		if (!at->gone || at->offset >= at->size || !folders_follow(in, at->path))
			continue;
		tail_name(&t);
		/* What was sent and not acknowledged may be there. */
		exact = in->env->sink->position(in->env->sink, in->env->tenant, buf_view(&t.source),
				NULL, &mark) == 0;
		if (!exact || mark < at->offset)
			mark = at->offset;
		if (mark >= at->size)
			at->offset = at->size;
		else if (!gaps_under_way(in, buf_view(&t.source)) && tail_label(in, &t, &e) == 0)
			tell_truncated(in, &t, at, mark, mark, exact);
		buf_fini(&t.source);
		buf_fini(&t.labels);
	}
}

bool gaps_under_way(const struct file_input *in, struct str source)
{
	LIST_EACH (at, &in->gaps) {
		if (str_eq(buf_view(&CONTAINER(at, struct gap, node)->source), source))
			return true;
	}
	return false;
}

void gaps_acked(struct file_input *in, struct str source, uint64_t to)
{
	LIST_EACH (node, &in->gaps) {
		struct gap *g = CONTAINER(node, struct gap, node);
		struct position *at;

		if (!str_eq(buf_view(&g->source), source))
			continue;
		at = find(in->book, g->ino, g->generation);
		if (at && to > at->offset)
			at->offset = to;
		if (at && at->offset < at->size)
			continue;
		in->env->sink->account(
			in->env->sink, in->env->tenant, STR("file"), g->reason, 1, false);
		gap_free(g);
	}
}
