/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `stdin` input: lines of descriptor 0, whatever it is.
 *
 * Design.  A thread reads, as a regular file cannot be polled; it fills the
 * buffer on request and hands it back, one chunk at a time, so the loop never
 * waits and a slow sink stops the reading.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "input/pipe_lines.h"
#include "input/settings.h"

struct stdin_input {
	/* Fixed after start: both threads. */
	const struct input_env *env; /* env_copy: what it points to is borrowed */
	struct input_env env_copy;
	int wake; /* eventfd: ends a wait for input */
	pthread_t thread;
	/* Loop only. */
	struct pipe_lines lines;
	bool reading; /* the room of `lines` is the reader's */
	bool eof, ended, stopping;
	loop_fn *stopped;
	void *stopped_arg;
	/* The reader's while `reading`, else the loop's: handed over by `lock` and the loop's
	 * queue. */
	char *room;
	size_t room_n;
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
		n = read(STDIN_FILENO, in->room, in->room_n);
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

static void advance(struct stdin_input *in)
{
	unsigned patience_ms;

	if (in->stopping)
		return;
	pipe_lines_flush(&in->lines);
	if (in->eof && pipe_lines_idle(&in->lines) && !in->ended) {
		in->ended = true;
		if (in->env->ended)
			in->env->ended(in->env->ended_arg);
		return;
	}
	if (in->eof || in->reading || !pipe_lines_ready(&in->lines))
		return;
	in->reading = true;
	in->room = pipe_lines_room(&in->lines, &in->room_n);
	patience_ms = pipe_lines_patience(&in->lines);
	in->patience_ms = patience_ms > 0 ? (int)patience_ms : -1;
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
	if (in->chunk_n <= 0 && !quiet && in->chunk_errno != ECANCELED)
		in->eof = true;
	pipe_lines_take(&in->lines, in->chunk_n > 0 ? (size_t)in->chunk_n : 0,
		in->eof || in->stopping ? SHAPE_END
		: quiet                 ? SHAPE_QUIET
					: SHAPE_MORE);
	if (in->stopping)
		stop_sending(in);
	else
		advance(in);
}

static void on_room(void *arg)
{
	advance(arg);
}

static void input_free(struct stdin_input *in)
{
	lock_fini(&in->lock);
	cond_fini(&in->asked);
	if (in->wake >= 0)
		close(in->wake);
	free(in);
}

static int start(void **out, const void *settings, const struct input_env *env, struct error *e)
{
	const struct stdin_settings *s = settings;
	struct stdin_input *in = xcalloc(1, sizeof(*in));
	struct pipe_lines_options o = {.input = "stdin",
		.app = s->app,
		.labels = &s->labels,
		.detect_time = s->detect_time,
		.shape = &s->shape,
		.room = on_room,
		.arg = in};
	int r;

	in->env_copy = *env;
	in->env = &in->env_copy;
	lock_init(&in->lock);
	cond_init(&in->asked);
	in->wake = eventfd(0, EFD_CLOEXEC);
	if (in->wake < 0)
		r = error_errno(e, errno, "eventfd");
	else
		r = pipe_lines_init(&in->lines, in->env, &o, e);
	if (r < 0) {
		input_free(in);
		return error_wrap(e, r, "stdin");
	}
	in->thread = thread_start("stdin", reader, in);
	advance(in);
	*out = in;
	return 0;
}

static void on_lines_stopped(void *arg)
{
	struct stdin_input *in = arg;
	loop_fn *stopped = in->stopped;
	void *stopped_arg = in->stopped_arg;

	lock_take(&in->lock);
	in->quit = true;
	cond_signal(&in->asked);
	lock_drop(&in->lock);
	pthread_join(in->thread, NULL);
	pipe_lines_fini(&in->lines);
	input_free(in);
	stopped(stopped_arg);
}

static void stop_sending(struct stdin_input *in)
{
	pipe_lines_stop(&in->lines, on_lines_stopped, in);
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
		pipe_lines_take(&in->lines, 0, SHAPE_END);
		stop_sending(in);
	} else if (write(in->wake, &one, sizeof(one)) < 0) {
		assert(!"an eventfd takes 1");
	}
}

static void dump(const void *input, struct buf *out)
{
	const struct stdin_input *in = input;

	if (in->eof)
		buf_c(out, "stdin: at the end\n");
	pipe_lines_dump(&in->lines, out);
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
