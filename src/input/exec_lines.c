/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of a command.  They are taken as tail.c takes those of a file, of a
 * source that lives as long as the input: a command that is started again
 * goes on in it.  A pipe cannot be read twice: what was taken stays with the
 * courier until it is acknowledged.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "input/courier.h"
#include "input/exec.h"
#include "input/tail.h"

enum {
	BATCH_TARGET = 1 << 20,
	RESERVE = 3 << 20,
};

struct exec_lines {
	const struct input_env *env;
	struct exec_events events;
	void *arg;
	struct courier *courier;
	struct tail *tail; /* of no file: its labels, source and offsets */
	struct tail_io io;
	struct shape *shape;
	struct line_reader lines;
	struct timer quiet; /* what is held is complete when nothing follows */
	size_t n_held;      /* bytes in the buffer that are not taken */
	uint64_t reserved, reserve;
	bool stopping;
};

static void send_builder(struct exec_lines *l)
{
	struct batch *b = batch_builder_finish(l->io.builder, l->lines.observed_ns);
	uint64_t reserved = l->reserved;

	l->reserved = 0;
	courier_send(l->courier, b, reserved);
}

static void take(struct exec_lines *l, enum shape_more more)
{
	enum tail_result r = TAIL_FULL;

	line_reader_now(&l->lines);
	while (r == TAIL_FULL) {
		uint64_t before = l->tail->read;
		size_t taken;

		r = tail_split(l->tail, &l->io, l->n_held, more);
		taken = (size_t)(l->tail->read - before);
		l->n_held -= taken;
		memmove(l->io.buffer, l->io.buffer + taken, l->n_held);
		if (r == TAIL_FULL)
			send_builder(l);
	}
	if (batch_builder_bytes(l->io.builder) >= BATCH_TARGET &&
		batch_builder_count(l->io.builder) > 0)
		send_builder(l);
}

/* Small batches go at once when nothing is under way, else they grow. */
static void flush(struct exec_lines *l)
{
	if (batch_builder_count(l->io.builder) > 0 && courier_idle(l->courier))
		send_builder(l);
}

static void on_quiet(void *arg)
{
	struct exec_lines *l = arg;

	take(l, SHAPE_QUIET);
	l->tail->rested = l->tail->partial;
	flush(l);
}

static void watch_quiet(struct exec_lines *l)
{
	int64_t timeout = shape_timeout(l->shape);

	if (timeout > 0 && l->n_held > 0 && l->tail->partial != l->tail->rested)
		timer_set(&l->quiet, (uint64_t)(timeout / NS_PER_MS), 0);
	else
		timer_clear(&l->quiet);
}

char *exec_lines_room(struct exec_lines *l, bool force, size_t *n)
{
	*n = 0;
	if (!force && !courier_ready(l->courier))
		return NULL;
	if (!force && l->reserved == 0) {
		if (!courier_reserve(l->courier, l->reserve))
			return NULL;
		l->reserved = l->reserve;
	}
	*n = TAIL_BUFFER - l->n_held < TAIL_CHUNK ? TAIL_BUFFER - l->n_held : TAIL_CHUNK;
	return l->io.buffer + l->n_held;
}

void exec_lines_put(struct exec_lines *l, size_t n)
{
	l->n_held += n;
	l->tail->rested = 0;
	take(l, SHAPE_MORE);
	flush(l);
	watch_quiet(l);
}

void exec_lines_end(struct exec_lines *l)
{
	timer_clear(&l->quiet);
	take(l, SHAPE_END);
	l->tail->rested = 0;
	flush(l);
}

bool exec_lines_idle(const struct exec_lines *l)
{
	return batch_builder_count(l->io.builder) == 0 && courier_idle(l->courier);
}

static void on_acked(void *arg, const struct batch *b, const struct sink_result *result)
{
	struct exec_lines *l = arg;

	(void)result;
	for (size_t i = 0; i < batch_n_sources(b); i++)
		l->tail->acked = batch_source(b, i).to;
}

static void on_room(void *arg)
{
	struct exec_lines *l = arg;

	flush(l);
	l->events.room(l->arg);
}

int exec_lines_new(struct exec_lines **out, const struct exec_settings *s,
	const struct input_env *env, const char *app, const struct exec_events *events, void *arg,
	struct error *e)
{
	static const struct courier_events courier_events = {.acked = on_acked, .room = on_room};
	struct exec_lines *l = xcalloc(1, sizeof *l);
	struct line_labels labels = {.input = "exec", .app = app, .extra = &s->labels};
	uint64_t id[2];
	int r;

	l->env = env;
	l->events = *events;
	l->arg = arg;
	timer_init(&l->quiet, env->loop, on_quiet, l);
	l->tail = tail_new(-1, "exec");
	/* A run of its own: offsets of another run's bytes mean nothing here. */
	hash_random(id, sizeof id);
	buf_printf(&l->tail->source, "exec:%016" PRIx64 ":%016" PRIx64, id[0], id[1]);
	if (env->account)
		account_force(env->account, TAIL_BUFFER);
	l->io.buffer = xmalloc(TAIL_BUFFER);
	l->io.lines = &l->lines;
	l->io.builder = batch_builder_new(env->tenant, STR("exec"), clock_now_ns(env->clock));
	line_reader_init(&l->lines, env, s->detect_time);
	l->courier = courier_new(env, "exec", &courier_events, l);
	l->reserve = RESERVE;
	if (env->account && env->account->limit / 4 < l->reserve)
		l->reserve = env->account->limit / 4;
	if ((r = shape_new(&l->shape, &s->shape, e)) < 0) {
		exec_lines_free(l);
		return r;
	}
	line_reader_zone(&l->lines, shape_zone(l->shape));
	if (!shape_plain(l->shape))
		l->io.shaper = shaper_new(l->shape, &l->lines);
	labels.shape = l->shape;
	if ((r = line_labels_write(&labels, env, &l->tail->labels, e)) < 0) {
		exec_lines_free(l);
		return r;
	}
	*out = l;
	return 0;
}

void exec_lines_free(struct exec_lines *l)
{
	if (!l)
		return;
	courier_free(l->courier);
	batch_builder_free(l->io.builder);
	account_release(l->env->account, l->reserved + TAIL_BUFFER);
	tail_free(l->tail);
	shaper_free(l->io.shaper);
	shape_free(l->shape);
	timer_fini(&l->quiet);
	buf_fini(&l->io.meta);
	free(l->io.buffer);
	free(l);
}

void exec_lines_stop(struct exec_lines *l, loop_fn *stopped, void *arg)
{
	timer_clear(&l->quiet);
	if (batch_builder_count(l->io.builder) > 0)
		send_builder(l);
	courier_stop(l->courier, stopped, arg);
}

void exec_lines_dump(const struct exec_lines *l, struct buf *out)
{
	buf_printf(out, "exec: %llu bytes read, %llu acknowledged\n",
		(unsigned long long)l->tail->read, (unsigned long long)l->tail->acked);
	courier_dump(l->courier, out);
}
