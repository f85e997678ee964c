/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `stdin` input: lines of descriptor 0, whatever it is.
 *
 * Design.  A thread reads, as a regular file cannot be polled; it fills the
 * buffer on request and hands it back, one chunk at a time, so the loop never
 * waits and a slow sink stops the reading.  Lines are taken as tail.c takes
 * them.  A pipe cannot be read twice: what was taken stays with the courier
 * until it is acknowledged.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/lock.h"
#include "base/log.h"
#include "input/courier.h"
#include "input/settings.h"
#include "input/tail.h"

enum {
	BATCH_TARGET = 1 << 20,
	RESERVE = 3 << 20,
};

struct stdin_input {
	/* Fixed after start: both threads. */
	const struct input_env *env; /* env_copy: what it points to is borrowed */
	struct input_env env_copy;
	int wake; /* eventfd: ends a wait for input */
	pthread_t thread;
	/* Loop only. */
	const struct stdin_settings *s;
	struct courier *courier;
	struct tail *tail; /* of no file: its labels, source and offsets */
	struct tail_io io;
	struct shape *shape;
	struct line_reader lines;
	size_t n_held; /* bytes in the buffer that are not taken */
	uint64_t reserved, reserve;
	bool reading; /* the buffer is the reader's */
	bool eof, ended, stopping;
	loop_fn *stopped;
	void *stopped_arg;
	/* The reader's while `reading`, else the loop's: handed over by `lock` and the loop's
	 * queue. */
	size_t chunk_at;
	ssize_t chunk_n;
	int chunk_errno;
	int patience_ms; /* how long to wait for bytes; -1: for ever */
	/* Under `lock`. */
	struct lock lock;
	struct cond asked;
	bool want, quit;
};

static void on_chunk(void *arg);

/* The reader. */

static void read_chunk(struct stdin_input *in)
{
	struct pollfd fds[2] = {
		{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = in->wake, .events = POLLIN}};
	ssize_t n = -1;

	errno = EINTR;
	while (n < 0 && (errno == EINTR || errno == EAGAIN)) {
		int ready = poll(fds, 2, in->patience_ms);

		if (ready < 0)
			continue;
		if (ready == 0) {
			errno = ETIMEDOUT;
			break;
		}
		if (fds[1].revents && !fds[0].revents) {
			errno = ECANCELED;
			break;
		}
		n = read(STDIN_FILENO, in->io.buffer + in->chunk_at, TAIL_CHUNK);
	}
	in->chunk_n = n;
	in->chunk_errno = n < 0 ? errno : 0;
}

static void *reader(void *arg)
{
	struct stdin_input *in = arg;

	lock_take(&in->lock);
	while (!in->quit) {
		if (!in->want) {
			cond_wait(&in->asked, &in->lock);
			continue;
		}
		in->want = false;
		lock_drop(&in->lock);
		read_chunk(in);
		loop_post(in->env->loop, on_chunk, in);
		lock_take(&in->lock);
	}
	lock_drop(&in->lock);
	return NULL;
}

/* The loop's side. */

static void send_builder(struct stdin_input *in)
{
	struct batch *b = batch_builder_finish(in->io.builder, in->lines.observed_ns);
	uint64_t reserved = in->reserved;

	in->reserved = 0;
	courier_send(in->courier, b, reserved);
}

/* Take the lines that are in the buffer. */
static void take_lines(struct stdin_input *in, enum shape_more more)
{
	enum tail_result r = TAIL_FULL;

	line_reader_now(&in->lines);
	while (r == TAIL_FULL) {
		uint64_t before = in->tail->read;
		size_t taken;

		r = tail_split(in->tail, &in->io, in->n_held, more);
		taken = (size_t)(in->tail->read - before);
		in->n_held -= taken;
		memmove(in->io.buffer, in->io.buffer + taken, in->n_held);
		if (r == TAIL_FULL)
			send_builder(in);
	}
	if (batch_builder_bytes(in->io.builder) >= BATCH_TARGET &&
		batch_builder_count(in->io.builder) > 0)
		send_builder(in);
}

static void advance(struct stdin_input *in)
{
	if (in->stopping)
		return;
	if (batch_builder_count(in->io.builder) > 0 && courier_idle(in->courier))
		send_builder(in);
	if (in->eof && courier_idle(in->courier) && !in->ended) {
		in->ended = true;
		if (in->env->ended)
			in->env->ended(in->env->ended_arg);
		return;
	}
	if (in->eof || in->reading || !courier_ready(in->courier))
		return;
	if (in->reserved == 0) {
		if (!courier_reserve(in->courier, in->reserve))
			return;
		in->reserved = in->reserve;
	}
	in->reading = true;
	in->chunk_at = in->n_held;
	in->patience_ms = in->tail->partial && in->tail->partial != in->tail->rested
				  ? (int)(shape_timeout(in->shape) / NS_PER_MS)
				  : 0;
	if (in->patience_ms == 0)
		in->patience_ms = -1;
	lock_take(&in->lock);
	in->want = true;
	cond_signal(&in->asked);
	lock_drop(&in->lock);
}

static void stop_sending(struct stdin_input *in);

static void on_chunk(void *arg)
{
	struct stdin_input *in = arg;
	bool quiet = in->chunk_n < 0 && in->chunk_errno == ETIMEDOUT;

	in->reading = false;
	if (in->chunk_n < 0 && !quiet && in->chunk_errno != ECANCELED)
		log_warn("input", "stdin: %s: taken for its end", strerror(in->chunk_errno));
	if (in->chunk_n > 0)
		in->n_held += (size_t)in->chunk_n;
	else if (!quiet && in->chunk_errno != ECANCELED)
		in->eof = true;
	take_lines(in, in->eof || in->stopping ? SHAPE_END : quiet ? SHAPE_QUIET : SHAPE_MORE);
	in->tail->rested = quiet ? in->tail->partial : 0;
	if (in->stopping)
		stop_sending(in);
	else
		advance(in);
}

static void on_acked(void *arg, const struct batch *b, const struct sink_result *result)
{
	struct stdin_input *in = arg;

	(void)result;
	for (size_t i = 0; i < batch_n_sources(b); i++)
		in->tail->acked = batch_source(b, i).to;
}

static void on_room(void *arg)
{
	advance(arg);
}

static void input_free(struct stdin_input *in)
{
	courier_free(in->courier);
	batch_builder_free(in->io.builder);
	account_release(in->env->account, in->reserved + TAIL_BUFFER);
	tail_free(in->tail);
	shaper_free(in->io.shaper);
	shape_free(in->shape);
	buf_fini(&in->io.meta);
	free(in->io.buffer);
	lock_fini(&in->lock);
	cond_fini(&in->asked);
	if (in->wake >= 0)
		close(in->wake);
	free(in);
}

static int start(void **out, const void *settings, const struct input_env *env, struct error *e)
{
	static const struct courier_events events = {.acked = on_acked, .room = on_room};
	struct stdin_input *in = xcalloc(1, sizeof(*in));
	struct line_labels labels = {.input = "stdin"};
	uint64_t id[2];
	int r;

	in->s = settings;
	in->env_copy = *env;
	in->env = env = &in->env_copy;
	in->wake = -1;
	lock_init(&in->lock);
	cond_init(&in->asked);
	in->tail = tail_new(-1, "stdin");
	/* A run of its own: offsets of another run's bytes mean nothing here. */
	hash_random(id, sizeof(id));
	buf_printf(&in->tail->source, "stdin:%016" PRIx64 ":%016" PRIx64, id[0], id[1]);
	if (env->account)
		account_force(env->account, TAIL_BUFFER);
	in->io.buffer = xmalloc(TAIL_BUFFER);
	in->io.lines = &in->lines;
	in->io.builder = batch_builder_new(env->tenant, STR("stdin"), clock_now_ns(env->clock));
	line_reader_init(&in->lines, env, in->s->detect_time);
	in->courier = courier_new(env, "stdin", &events, in);
	in->reserve = RESERVE;
	if (env->account && env->account->limit / 4 < in->reserve)
		in->reserve = env->account->limit / 4;
	if ((r = shape_new(&in->shape, &in->s->shape, e)) < 0)
		goto fail;
	line_reader_zone(&in->lines, shape_zone(in->shape));
	if (!shape_plain(in->shape))
		in->io.shaper = shaper_new(in->shape, &in->lines);
	labels.app = in->s->app;
	labels.shape = in->shape;
	labels.extra = &in->s->labels;
	r = line_labels_write(&labels, env, &in->tail->labels, e);
	in->wake = eventfd(0, EFD_CLOEXEC);
	if (r >= 0 && in->wake < 0)
		r = error_errno(e, errno, "eventfd");
	if (r < 0)
		goto fail;
	in->thread = thread_start("stdin", reader, in);
	advance(in);
	*out = in;
	return 0;
fail:
	input_free(in);
	return error_wrap(e, r, "stdin");
}

static void on_courier_stopped(void *arg)
{
	struct stdin_input *in = arg;
	loop_fn *stopped = in->stopped;
	void *stopped_arg = in->stopped_arg;

	lock_take(&in->lock);
	in->quit = true;
	cond_signal(&in->asked);
	lock_drop(&in->lock);
	pthread_join(in->thread, NULL);
	input_free(in);
	stopped(stopped_arg);
}

static void stop_sending(struct stdin_input *in)
{
	if (batch_builder_count(in->io.builder) > 0)
		send_builder(in);
	courier_stop(in->courier, on_courier_stopped, in);
}

static void stop(void *input, loop_fn *stopped, void *arg)
{
	struct stdin_input *in = input;
	uint64_t one = 1;

	in->stopping = true;
	in->stopped = stopped;
	in->stopped_arg = arg;
	if (!in->reading) {
		/* What has come is taken, its last line as it is: it cannot be read again. */
		take_lines(in, SHAPE_END);
		stop_sending(in);
	} else if (write(in->wake, &one, sizeof(one)) < 0) {
		assert(!"an eventfd takes 1");
	}
}

static void dump(const void *input, struct buf *out)
{
	const struct stdin_input *in = input;

	buf_printf(out, "stdin: %llu bytes read, %llu acknowledged%s\n",
		(unsigned long long)in->tail->read, (unsigned long long)in->tail->acked,
		in->eof ? ", at the end" : "");
	courier_dump(in->courier, out);
}

static int check(const void *settings, struct error *e)
{
	const struct stdin_settings *s = settings;

	return shape_check(&s->shape, e);
}

static const struct option options[] = {
	OPTION(struct stdin_settings, app, .kind = OPT_STRING, .fallback = "stdin",
		.help = "The label app."),
	OPTION(struct stdin_settings, labels, .kind = OPT_MAP,
		.help = "Labels of all lines, besides host, app and input."),
	OPTION(struct stdin_settings, detect_time, .kind = OPT_BOOL, .fallback = "true",
		.help = "Take the time at the head of a line as its timestamp; else, and where "
			"there is none, it is when the line was read."),
	SHAPE_OPTIONS(struct stdin_settings, shape),
	OPTION_END,
};

const struct input_type input_stdin = {
	.name = "stdin",
	.summary = "lines of the standard input",
	.size = sizeof(struct stdin_settings),
	.options = options,
	.check = check,
	.start = start,
	.stop = stop,
	.dump = dump,
};
