/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run of the command of an `exec` input.
 *
 * Design.  A run is its child with three handles: its output, its standard
 * error, and a descriptor that tells that it has ended.  It is over when it has
 * ended and its output is read to the end, whichever is first; what it left
 * running in its process group and holds the pipe is ended after a grace.
 * Back-pressure is not to read: the command waits in its write.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "input/exec.h"

enum {
	TERM_MS = 3000,  /* from SIGTERM to SIGKILL */
	KILL_MS = 500,   /* from SIGKILL to reading no more */
	GOOD_MS = 60000, /* a run of this length was a good one */
	SAY_LINES = 20,  /* lines of standard error that are logged in SAY_MS */
	SAY_MS = 10000,
	SAY_BYTES = 1000,
};

static void run_check(struct run *r);

/* The standard error of the command goes to our log, as much as somebody can read. */

static void say(struct exec_input *in, struct str line)
{
	int64_t now = clock_mono_ns(in->env.clock);

	if (now - in->say_since > SAY_MS * NS_PER_MS) {
		if (in->n_unsaid)
			log_warn("exec", "%s: %u more lines of its standard error were left out",
				in->app, in->n_unsaid);
		in->say_since = now;
		in->n_said = in->n_unsaid = 0;
	}
	if (in->n_said++ < SAY_LINES)
		log_info("exec", "%s: %.*s", in->app, STR_ARG(str_sub(line, 0, SAY_BYTES)));
	else
		in->n_unsaid++;
}

static void say_lines(struct run *r, bool end)
{
	ptrdiff_t at;

	while ((at = str_chr(buf_view(&r->said), '\n')) >= 0) {
		say(r->in, str_sub(buf_view(&r->said), 0, (size_t)at));
		buf_shift(&r->said, (size_t)at + 1);
	}
	if (r->said.n > SAY_BYTES || (end && r->said.n)) {
		say(r->in, buf_view(&r->said));
		buf_clear(&r->said);
	}
}

static void read_errors(struct run *r)
{
	char chunk[4096];
	ssize_t n = read(r->child.err, chunk, sizeof chunk);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		buf_put(&r->said, chunk, (size_t)n);
	say_lines(r, n <= 0);
	if (n <= 0) {
		r->err_ended = true;
		uv_poll_stop(&r->err);
	}
}

static void on_errors(uv_poll_t *handle, int status, int events)
{
	(void)status;
	(void)events;
	read_errors(handle->data);
}

/* Output. */

static char *room_of(struct exec_input *in, bool force, size_t *n)
{
	return in->lines ? exec_lines_room(in->lines, force, n) : exec_frames_room(in->frames, n);
}

void run_put(struct run *r, size_t n)
{
	struct exec_input *in = r->in;
	struct error e;

	if (in->lines) {
		exec_lines_put(in->lines, n);
	} else if (exec_frames_put(in->frames, n, &e) < 0) {
		log_warn("exec", "%s: %s", in->app, e.text);
		r->out_ended = true;
		if (r->n_signals == 0)
			run_step(in);
	}
}

/* One read; false when there is nothing more now. */
static bool read_output(struct run *r, bool force)
{
	size_t n;
	char *p = room_of(r->in, force, &n);
	ssize_t got;

	if (!p)
		return false;
	got = read(r->child.out, p, n);
	if (got > 0)
		run_put(r, (size_t)got);
	else if (got == 0 || (errno != EAGAIN && errno != EINTR))
		r->out_ended = true;
	return got > 0 && !r->out_ended;
}

static void on_output(uv_poll_t *handle, int status, int events);

void run_watch(struct run *r)
{
	size_t n = 0;
	bool want = !r->over && !r->out_ended && room_of(r->in, false, &n);

	if (want == r->reading)
		return;
	r->reading = want;
	if (want)
		uv_poll_start(&r->out, UV_READABLE | UV_DISCONNECT, on_output);
	else
		uv_poll_stop(&r->out);
}

static void on_output(uv_poll_t *handle, int status, int events)
{
	struct run *r = handle->data;

	(void)status;
	(void)events;
	/* What it leaves behind is given its time from its last word on. */
	if (read_output(r, false) && r->ended && r->n_signals == 0)
		timer_set(&r->in->next, EXEC_GRACE_MS, 0);
	run_check(r);
}

/* The end of a run. */

static void note_exit(struct run *r)
{
	struct exec_input *in = r->in;
	double seconds = (double)(clock_mono_ns(in->env.clock) - r->started) / 1e9;

	exec_count_exit(in, r->result == 0 ? "ok" : r->result > 0 ? "failed" : "signal");
	/* At an interval, and the same way each time, it is no news. */
	if (in->stopping || (in->n_runs > 1 && in->last_result == r->result && r->result == 0))
		return;
	if (r->result < 0)
		log_warn("exec", "%s: ended by signal %d after %.1f s", in->app, -r->result,
			seconds);
	else if (r->result > 0)
		log_warn("exec", "%s: ended with exit code %d after %.1f s", in->app, r->result,
			seconds);
	else
		log_info("exec", "%s: ended after %.1f s", in->app, seconds);
}

static void on_closed(uv_handle_t *handle)
{
	struct run *r = handle->data;

	if (--r->n_handles)
		return;
	/* Only now: a watched descriptor must not be closed. */
	child_close(&r->child);
	buf_fini(&r->said);
	free(r);
}

static void run_over(struct run *r)
{
	struct exec_input *in = r->in;

	r->over = true;
	r->reading = false;
	/* The grace of this run is no appointment for another one. */
	timer_clear(&in->next);
	if (!r->err_ended && r->child.err >= 0)
		read_errors(r);
	say_lines(r, true);
	if (in->lines)
		exec_lines_end(in->lines);
	else
		exec_frames_end(in->frames);
	note_exit(r);
	in->last_result = r->result;
	if (clock_mono_ns(in->env.clock) - r->started > GOOD_MS * NS_PER_MS)
		backoff_reset(&in->backoff);
	in->run = NULL;
	uv_close((uv_handle_t *)&r->out, on_closed);
	uv_close((uv_handle_t *)&r->end, on_closed);
	if (r->child.err >= 0)
		uv_close((uv_handle_t *)&r->err, on_closed);
	exec_run_over(in);
}

/* Something of the run came to its end: did all? */
static void run_check(struct run *r)
{
	if (r->over)
		return;
	if (r->ended && r->out_ended)
		run_over(r);
	else
		run_watch(r);
}

void run_step(struct exec_input *in)
{
	struct run *r = in->run;

	r->n_signals++;
	if (r->n_signals == 1) {
		child_signal(&r->child, SIGTERM);
		timer_set(&in->next, TERM_MS, 0);
	} else if (r->n_signals == 2) {
		child_signal(&r->child, SIGKILL);
		timer_set(&in->next, KILL_MS, 0);
	} else {
		/* Whoever still holds the pipe left the group.  What is in it was written. */
		for (int i = 0; i < 16 && in->lines && read_output(r, true); i++)
			;
		r->out_ended = true;
		if (!r->ended)
			r->result = -SIGKILL;
		r->ended = true;
		run_check(r);
	}
}

static void on_child_end(uv_poll_t *handle, int status, int events)
{
	struct run *r = handle->data;

	(void)status;
	(void)events;
	if (!child_ended(&r->child, &r->result))
		return;
	r->ended = true;
	uv_poll_stop(&r->end);
	if (!r->out_ended && r->n_signals == 0)
		timer_set(&r->in->next, EXEC_GRACE_MS, 0);
	run_check(r);
}

/* The beginning of a run. */

int run_begin(struct exec_input *in, struct error *e)
{
	struct child_options o = {.argv = in->argv,
		.env = &in->s->env,
		.cwd = in->s->cwd,
		.stdin_pipe = in->frames != NULL,
		.merge = in->s->errors == ERRORS_MERGE};
	struct run *r = xcalloc(1, sizeof *r);
	uv_loop_t *uv = loop_uv(in->env.loop);
	int code;

	r->in = in;
	if ((code = child_start(&r->child, &o, e)) < 0) {
		free(r);
		return code;
	}
	in->n_runs++;
	r->started = clock_mono_ns(in->env.clock);
	uv_poll_init(uv, &r->out, r->child.out);
	uv_poll_init(uv, &r->end, r->child.exit_fd);
	r->out.data = r->end.data = r->err.data = r;
	r->n_handles = 2;
	if (r->child.err >= 0) {
		uv_poll_init(uv, &r->err, r->child.err);
		r->n_handles++;
		uv_poll_start(&r->err, UV_READABLE | UV_DISCONNECT, on_errors);
	}
	uv_poll_start(&r->end, UV_READABLE, on_child_end);
	in->run = r;
	run_watch(r);
	return 0;
}
