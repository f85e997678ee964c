/* SPDX-License-Identifier: Apache-2.0 */
/* The `stdin` input: lines of descriptor 0, whatever it is, as stdin_reader.c brings them. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "input/stdin_reader.h"
#include "input/pipe_lines.h"
#include "input/settings.h"

struct stdin_input {
	const struct input_env *env; /* env_copy: what it points to is borrowed */
	struct input_env env_copy;
	struct stdin_reader *reader;
	struct pipe_lines lines; /* whose room is the reader's while it is asked */
	bool eof, ended, stopping;
	loop_fn *stopped;
	void *stopped_arg;
};

static void advance(struct stdin_input *in)
{
	unsigned patience_ms;
	size_t n;
	char *room;

	if (in->stopping)
		return;
	pipe_lines_flush(&in->lines);
	if (in->eof && pipe_lines_idle(&in->lines) && !in->ended) {
		in->ended = true;
		if (in->env->ended)
			in->env->ended(in->env->ended_arg);
		return;
	}
	if (in->eof || stdin_reader_asked(in->reader) || !pipe_lines_ready(&in->lines))
		return;
	room = pipe_lines_room(&in->lines, &n);
	patience_ms = pipe_lines_patience(&in->lines);
	stdin_reader_ask(in->reader, room, n, patience_ms > 0 ? (int)patience_ms : -1);
}

static void stop_sending(struct stdin_input *in);

static void on_chunk(void *arg, ssize_t n, int number)
{
	struct stdin_input *in = arg;
	bool quiet = n < 0 && number == ETIMEDOUT;

	if (n < 0 && !quiet && number != ECANCELED)
		log_warn("input", "stdin: %s: taken for its end", strerror(number));
	if (n <= 0 && !quiet && number != ECANCELED)
		in->eof = true;
	pipe_lines_take(&in->lines, n > 0 ? (size_t)n : 0,
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
	if ((r = pipe_lines_init(&in->lines, in->env, &o, e)) < 0) {
		free(in);
		return error_wrap(e, r, "stdin");
	}
	if ((r = stdin_reader_new(&in->reader, "stdin", env->loop, on_chunk, in, e)) < 0) {
		pipe_lines_fini(&in->lines);
		free(in);
		return error_wrap(e, r, "stdin");
	}
	advance(in);
	*out = in;
	return 0;
}

static void on_lines_stopped(void *arg)
{
	struct stdin_input *in = arg;
	loop_fn *stopped = in->stopped;
	void *stopped_arg = in->stopped_arg;

	stdin_reader_free(in->reader);
	pipe_lines_fini(&in->lines);
	free(in);
	stopped(stopped_arg);
}

static void stop_sending(struct stdin_input *in)
{
	pipe_lines_stop(&in->lines, on_lines_stopped, in);
}

static void stop(void *input, loop_fn *stopped, void *arg)
{
	struct stdin_input *in = input;

	in->stopping = true;
	in->stopped = stopped;
	in->stopped_arg = arg;
	if (stdin_reader_asked(in->reader)) {
		stdin_reader_cancel(in->reader);
		return;
	}
	/* What has come is taken, its last line as it is: it cannot be read again. */
	pipe_lines_take(&in->lines, 0, SHAPE_END);
	stop_sending(in);
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

static bool reads_stdin(const void *settings)
{
	return true;
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
	.reads_stdin = reads_stdin,
};
