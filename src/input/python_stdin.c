/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of the standard input, as SSHPipe sends them: whole LogRecord objects,
 * and at the end one of the words TERM STOP FINISH EXIT QUIT, which is printed
 * on the standard output, as its sender waits for it.
 *
 * There is one standard input, so one slot is enough for the half of a frame
 * that an input leaves to the next one at a reload.
 */
#include "input/python_input.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "input/stdin_reader.h"

enum { CHUNK = 64 << 10 };

struct python_pipe {
	struct python_port *port;
	struct stdin_reader *reader;
	char *chunk; /* the reader's while it is asked */
	struct buf held;
	uint64_t charged; /* of held */
	uint64_t skip;    /* of a frame that is too long */
	bool eof;         /* nothing more is read: the end, an error or a word */
	bool told;        /* that it has come to its end */
	bool draining;
};

/* What was left, on the loop of the inputs alone. */
static struct {
	struct loop *loop; /* NULL: nothing is */
	struct buf held;
	uint64_t skip;
} left;

static void charge(struct python_pipe *pipe)
{
	struct account *a = pipe->port->in->env->account;

	if (a && pipe->held.n > pipe->charged)
		account_force(a, pipe->held.n - pipe->charged);
	else if (a)
		account_release(a, pipe->charged - pipe->held.n);
	pipe->charged = a ? pipe->held.n : 0;
}

/* Its sender reads until the end of a line. */
static void say_word(struct str word)
{
	char line[16];
	size_t n = strlen(str_copy(word, line, sizeof line - 1));
	ssize_t done;

	line[n++] = '\n';
	do
		done = write(STDOUT_FILENO, line, n);
	while (done < 0 && errno == EINTR);
	if (done < 0)
		log_warn("input", "python: the standard output: %s", strerror(errno));
}

/* Take the whole frames there are: all when it drains, else while there is room. */
static void take_frames(struct python_pipe *pipe)
{
	static const struct python_sender here;
	struct python_input *in = pipe->port->in;
	struct str frame, rest = buf_view(&pipe->held);
	struct pylog_record record;
	size_t n;

	in->observed_ns = clock_now_ns(in->env->clock);
	while (rest.n && (pipe->skip || outlets_room(in->outlets) || pipe->draining)) {
		if (pipe->skip) {
			n = rest.n < pipe->skip ? rest.n : (size_t)pipe->skip;
			pipe->skip -= n;
		} else if ((n = python_frame(rest, &frame, &pipe->skip)) == 0) {
			break;
		} else if (pipe->skip) {
			python_too_long(pipe->port, pipe->skip, "its sender");
		} else if (python_take(pipe->port, &here, "its sender", frame, &record)) {
			say_word(record.record.body);
			pipe->eof = true;
			n = rest.n;
		}
		rest = str_sub(rest, n, rest.n);
	}
	buf_shift(&pipe->held, pipe->held.n - rest.n);
	charge(pipe);
	outlets_flush_if_idle(in->outlets);
}

static bool has_frame(const struct python_pipe *pipe)
{
	struct str frame;
	uint64_t skip;

	return python_frame(buf_view(&pipe->held), &frame, &skip) > 0;
}

static void on_durable(void *arg, bool durable)
{
	const struct python_pipe *pipe = arg;
	const struct input_env *env = pipe->port->in->env;

	if (durable && env->ended)
		env->ended(env->ended_arg);
}

static void advance(struct python_pipe *pipe)
{
	struct python_input *in = pipe->port->in;

	take_frames(pipe);
	if (has_frame(pipe) || stdin_reader_asked(pipe->reader))
		return; /* pipe_room follows, or the chunk */
	if (!pipe->eof) {
		stdin_reader_ask(pipe->reader, pipe->chunk, CHUNK, -1);
		return;
	}
	if (pipe->held.n)
		python_half(pipe->port, pipe->held.n, "its sender");
	buf_clear(&pipe->held);
	charge(pipe);
	if (!pipe->told)
		outlet_tell(outlets_of(in->outlets, STR_NONE), on_durable, pipe);
	pipe->told = true;
}

/* The next input that reads it goes on with the half of a frame. */
static void leave(struct python_pipe *pipe)
{
	left.loop = pipe->port->in->env->loop;
	left.held = pipe->held;
	left.skip = pipe->skip;
	pipe->held = (struct buf){0};
}

static void take_over(struct python_pipe *pipe)
{
	if (left.loop != pipe->port->in->env->loop)
		return;
	pipe->held = left.held;
	pipe->skip = left.skip;
	left.held = (struct buf){0};
	left.loop = NULL;
}

void pipe_drop_left(struct loop *loop)
{
	if (left.loop != loop)
		return;
	if (left.held.n)
		log_warn("input", "python: stdin: half a frame of %zu bytes is lost", left.held.n);
	buf_fini(&left.held);
	left.loop = NULL;
}

static void drain(struct python_pipe *pipe)
{
	take_frames(pipe);
	if (!pipe->eof && port_is_wanted(&pipe->port->port))
		leave(pipe);
	else if (pipe->held.n)
		python_half(pipe->port, pipe->held.n, "its sender");
	buf_clear(&pipe->held);
	charge(pipe);
	ports_done(&pipe->port->in->ports);
}

static void on_chunk(void *arg, ssize_t n, int number)
{
	struct python_pipe *pipe = arg;

	if (n > 0)
		buf_put(&pipe->held, pipe->chunk, (size_t)n);
	else if (n == 0 || number != ECANCELED)
		pipe->eof = true;
	if (n < 0 && number != ECANCELED)
		log_warn("input", "python: stdin: %s: taken for its end", strerror(number));
	charge(pipe);
	if (pipe->draining)
		drain(pipe);
	else
		advance(pipe);
}

int pipe_new(struct python_pipe **out, struct python_port *p, struct error *e)
{
	struct python_pipe *pipe = xcalloc(1, sizeof *pipe);
	int r = stdin_reader_new(
		&pipe->reader, "python-stdin", p->in->env->loop, on_chunk, pipe, e);

	if (r < 0) {
		free(pipe);
		return r;
	}
	pipe->port = p;
	pipe->chunk = xmalloc(CHUNK);
	*out = pipe;
	take_over(pipe);
	advance(pipe);
	return 0;
}

void pipe_free(struct python_pipe *pipe)
{
	if (!pipe)
		return;
	stdin_reader_free(pipe->reader);
	buf_fini(&pipe->held);
	free(pipe->chunk);
	free(pipe);
}

void pipe_room(struct python_pipe *pipe)
{
	if (!pipe->draining)
		advance(pipe);
}

void pipe_drain(struct python_pipe *pipe)
{
	pipe->draining = true;
	if (stdin_reader_asked(pipe->reader))
		stdin_reader_cancel(pipe->reader);
	else
		drain(pipe);
}
