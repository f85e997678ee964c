/* SPDX-License-Identifier: Apache-2.0 */
#include "input/pipe_lines.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum {
	RESERVE = 3 << 20, /* a batch, and what a line of it may add */
};

static void send_builder(struct pipe_lines *l)
{
	struct batch *b = batch_builder_finish(l->io.builder, l->lines.observed_ns);
	uint64_t reserved = l->reserved;

	l->reserved = 0;
	courier_send(l->courier, b, reserved);
}

bool pipe_lines_ready(struct pipe_lines *l)
{
	if (!courier_ready(l->courier))
		return false;
	if (l->reserved == 0) {
		l->reserved = courier_reserve(l->courier, l->reserve);
		if (l->reserved == 0)
			return false;
	}
	return true;
}

char *pipe_lines_room(struct pipe_lines *l, size_t *n)
{
	size_t left = TAIL_BUFFER - l->n_held;

	*n = left < TAIL_CHUNK ? left : TAIL_CHUNK;
	return l->io.buffer + l->n_held;
}

void pipe_lines_take(struct pipe_lines *l, size_t n, enum shape_more more)
{
	enum tail_result r = TAIL_FULL;

	l->n_held += n;
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
	l->tail->rested = more == SHAPE_QUIET ? l->tail->partial : 0;
	if (batch_builder_bytes(l->io.builder) >= courier_target(l->reserved) &&
		batch_builder_count(l->io.builder) > 0)
		send_builder(l);
}

void pipe_lines_flush(struct pipe_lines *l)
{
	if (batch_builder_count(l->io.builder) > 0 && courier_idle(l->courier))
		send_builder(l);
}

unsigned pipe_lines_patience(const struct pipe_lines *l)
{
	if (l->tail->partial == 0 || l->tail->partial == l->tail->rested)
		return 0;
	return (unsigned)(shape_timeout(l->shape) / NS_PER_MS);
}

bool pipe_lines_idle(const struct pipe_lines *l)
{
	return batch_builder_count(l->io.builder) == 0 && courier_idle(l->courier);
}

static void on_acked(void *arg, const struct batch *b, const struct sink_result *result)
{
	struct pipe_lines *l = arg;

	(void)result;
	for (size_t i = 0; i < batch_n_sources(b); i++)
		l->tail->acked = batch_source(b, i).to;
}

static void on_room(void *arg)
{
	struct pipe_lines *l = arg;

	l->o.room(l->o.arg);
}

static int set_shape(struct pipe_lines *l, struct error *e)
{
	struct line_labels labels = {.input = l->o.input, .app = l->o.app, .extra = l->o.labels};
	int r;

	if ((r = shape_new(&l->shape, l->o.shape, e)) < 0)
		return r;
	line_reader_zone(&l->lines, shape_zone(l->shape));
	if (!shape_plain(l->shape))
		l->io.shaper = shaper_new(l->shape, &l->lines);
	labels.shape = l->shape;
	return line_labels_write(&labels, l->env, &l->tail->labels, e);
}

int pipe_lines_init(struct pipe_lines *l, const struct input_env *env,
	const struct pipe_lines_options *o, struct error *e)
{
	static const struct courier_events events = {.acked = on_acked, .room = on_room};
	uint64_t id[2];
	int r;

	*l = (struct pipe_lines){.o = *o, .env = env, .reserve = RESERVE};
	l->tail = tail_new(-1, o->input);
	/* A run of its own: offsets of another run's bytes mean nothing here. */
	hash_random(id, sizeof id);
	buf_printf(&l->tail->source, "%s:%016" PRIx64 ":%016" PRIx64, o->input, id[0], id[1]);
	if (env->account)
		account_force(env->account, TAIL_BUFFER);
	if (env->account && env->account->limit / 4 < l->reserve)
		l->reserve = env->account->limit / 4;
	l->io.buffer = xmalloc(TAIL_BUFFER);
	l->io.lines = &l->lines;
	l->io.builder = batch_builder_new(env->tenant, str_c(o->input), clock_now_ns(env->clock));
	line_reader_init(&l->lines, env, o->detect_time);
	l->courier = courier_new(env, o->input, &events, l);
	if ((r = set_shape(l, e)) < 0)
		pipe_lines_fini(l);
	return r;
}

void pipe_lines_fini(struct pipe_lines *l)
{
	courier_free(l->courier);
	batch_builder_free(l->io.builder);
	account_release(l->env->account, l->reserved + TAIL_BUFFER);
	tail_free(l->tail);
	shaper_free(l->io.shaper);
	shape_free(l->shape);
	buf_fini(&l->io.meta);
	free(l->io.buffer);
}

void pipe_lines_stop(struct pipe_lines *l, loop_fn *stopped, void *arg)
{
	if (batch_builder_count(l->io.builder) > 0)
		send_builder(l);
	courier_stop(l->courier, stopped, arg);
}

void pipe_lines_dump(const struct pipe_lines *l, struct buf *out)
{
	buf_printf(out, "%s: %llu bytes read, %llu acknowledged\n", l->o.input,
		(unsigned long long)l->tail->read, (unsigned long long)l->tail->acked);
	courier_dump(l->courier, out);
}
