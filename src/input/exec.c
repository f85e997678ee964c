/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `exec` input: the output of a command, run again when it ends or at
 * intervals.
 *
 * Design.  One run of the command is a struct run with its handles: its
 * output, its standard error, and a descriptor that tells that it has ended.
 * A run is over when it has ended and its output is read to the end, whichever
 * is first; what it left running in its process group and holds the pipe is
 * ended after a grace.  Back-pressure is not to read: the command waits in its
 * write.
 *
 *            ┌───────────── pause, backoff or interval ────────────┐
 *   start ─► running ─► ended ─► output at its end ─► over ────────┤
 *              │                                                   ▼
 *              └ stop: SIGTERM, 5 s, SIGKILL ─► over ─► all acknowledged ─► stopped
 */
#include "input/exec.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metric.h"
#include "input/child.h"

enum {
	GRACE_MS = 2000, /* for processes that a command leaves behind with its pipe */
	TERM_MS = 5000,  /* from SIGTERM to SIGKILL */
	KILL_MS = 500,   /* from SIGKILL to reading no more */
	PAUSE_MS = 1000,
	PAUSE_MAX_MS = 60000,
	GOOD_MS = 60000, /* a run of this length was a good one */
	SAY_LINES = 20,  /* lines of standard error that are logged in SAY_MS */
	SAY_MS = 10000,
	SAY_BYTES = 1000,
};

enum exec_restart { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };
enum exec_errors { ERRORS_LOG, ERRORS_MERGE };

struct exec_input;

/* One run of the command. */
struct run {
	struct exec_input *in;
	struct child child;
	uv_poll_t out, err, end;
	unsigned n_handles; /* not closed yet */
	bool reading;       /* out is being watched */
	bool out_ended, err_ended, ended, over;
	int result;
	int64_t started;
	unsigned n_signals; /* of the stop: SIGTERM, SIGKILL */
	struct buf said;    /* of standard error, an unfinished line */
};

struct exec_input {
	struct input_env env;
	const struct exec_settings *s;
	const char **argv;
	char *app;
	struct exec_lines *lines; /* one of the two */
	struct exec_frames *frames;
	struct run *run;
	struct timer next; /* the next run, or the next step of the end of this one */
	struct backoff backoff;
	uint64_t n_runs;
	int last_result;
	bool finished, told_end, stopping;
	loop_fn *stopped;
	void *stopped_arg;
	/* Standard error. */
	int64_t say_since;
	unsigned n_said, n_unsaid;
};

static void run_step(struct exec_input *in);
static void run_check(struct run *r);
static void begin_later(struct exec_input *in);

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

static char *room(struct exec_input *in, bool force, size_t *n)
{
	return in->lines ? exec_lines_room(in->lines, force, n) : exec_frames_room(in->frames, n);
}

static void put(struct run *r, size_t n)
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
	char *p = room(r->in, force, &n);
	ssize_t got;

	if (!p)
		return false;
	got = read(r->child.out, p, n);
	if (got > 0)
		put(r, (size_t)got);
	else if (got == 0 || (errno != EAGAIN && errno != EINTR))
		r->out_ended = true;
	return got > 0 && !r->out_ended;
}

static void on_output(uv_poll_t *handle, int status, int events);

/* Watch the output exactly while there is room. */
static void watch_output(struct run *r)
{
	size_t n = 0;
	bool want = !r->over && !r->out_ended && room(r->in, false, &n);

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
		timer_set(&r->in->next, GRACE_MS, 0);
	run_check(r);
}

static void check_told(struct exec_input *in)
{
	bool idle = in->lines ? exec_lines_idle(in->lines) : exec_frames_idle(in->frames);

	if (!in->finished || in->told_end || in->stopping || !idle)
		return;
	in->told_end = true;
	if (in->env.ended)
		in->env.ended(in->env.ended_arg);
}

static void on_room(void *arg)
{
	struct exec_input *in = arg;

	if (in->run) {
		/* What came with the last frame. */
		if (in->frames && !in->run->out_ended)
			put(in->run, 0);
		watch_output(in->run);
	}
	check_told(in);
}

static void on_answer(void *arg, struct str line)
{
	struct exec_input *in = arg;

	if (!in->run || in->run->child.in < 0)
		return;
	/* A line fits into an empty pipe, and it is empty: there is one answer at a time.  A
	 * command that does not read, or has gone, sends the batch again in its next life. */
	if (write(in->run->child.in, line.p, line.n) != (ssize_t)line.n && in->run->n_signals == 0)
		run_step(in);
}

/* The end of a run. */

static void count_exit(struct exec_input *in, const char *result)
{
	struct buf labels = {0};

	metric_label(&labels, "app", str_c(in->app));
	metric_label(&labels, "result", str_c(result));
	metric_add(METRIC_exec_exits_total, buf_cstr(&labels), 1);
	buf_fini(&labels);
}

static void note_exit(struct run *r)
{
	struct exec_input *in = r->in;
	double seconds = (double)(clock_mono_ns(in->env.clock) - r->started) / 1e9;

	count_exit(in, r->result == 0 ? "ok" : r->result > 0 ? "failed" : "signal");
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

static void on_all_acknowledged(void *arg)
{
	struct exec_input *in = arg;
	loop_fn *stopped = in->stopped;
	void *stopped_arg = in->stopped_arg;

	exec_lines_free(in->lines);
	exec_frames_free(in->frames);
	timer_fini(&in->next);
	free(in->argv);
	free(in->app);
	free(in);
	stopped(stopped_arg);
}

static void finish(struct exec_input *in)
{
	timer_clear(&in->next);
	if (in->lines)
		exec_lines_stop(in->lines, on_all_acknowledged, in);
	else
		exec_frames_stop(in->frames, on_all_acknowledged, in);
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
	if (in->stopping)
		finish(in);
	else
		begin_later(in);
}

/* Something of the run came to its end: did all? */
static void run_check(struct run *r)
{
	if (r->over)
		return;
	if (r->ended && r->out_ended)
		run_over(r);
	else
		watch_output(r);
}

/* The next step to the end of a run whose command ended without its output, or that is told to
 * stop. */
static void run_step(struct exec_input *in)
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
		timer_set(&r->in->next, GRACE_MS, 0);
	run_check(r);
}

/* The beginning of a run. */

static int begin(struct exec_input *in, struct error *e)
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
	watch_output(r);
	return 0;
}

static void on_next(void *arg)
{
	struct exec_input *in = arg;
	struct error e;

	if (in->run) {
		/* The reading stands still: there is nothing to be impatient about. */
		if (in->run->n_signals == 0 && !in->run->reading)
			timer_set(&in->next, GRACE_MS, 0);
		else
			run_step(in);
		return;
	}
	if (begin(in, &e) < 0) {
		if (in->last_result != e.code)
			log_warn("exec", "%s", e.text);
		in->last_result = e.code;
		count_exit(in, "not started");
		begin_later(in);
	}
}

static void begin_later(struct exec_input *in)
{
	const struct exec_settings *s = in->s;

	if (s->interval > 0) {
		int64_t past = clock_now_ns(in->env.clock) % s->interval;

		/* At the same moments each time, whatever it takes: one that is late is left out.
		 */
		timer_set(&in->next, (uint64_t)((s->interval - past) / NS_PER_MS) + 1, 0);
	} else if (s->restart == RESTART_ALWAYS ||
		   (s->restart == RESTART_ON_FAILURE && in->last_result != 0)) {
		timer_set(&in->next, backoff_next(&in->backoff), 0);
	} else {
		in->finished = true;
		check_told(in);
	}
}

/* The input. */

static char *app_of(const struct exec_settings *s)
{
	struct str name = str_trim(str_c(s->command.items[0]));
	ptrdiff_t slash;

	if (s->app)
		return xstrdup(s->app);
	name = str_cut(&name, ' ');
	while ((slash = str_chr(name, '/')) >= 0 && (size_t)slash + 1 < name.n)
		name = str_sub(name, (size_t)slash + 1, name.n);
	return str_dup(name);
}

/* A text alone is for the shell, a list is run as it is. */
static const char **argv_of(const struct exec_settings *s)
{
	const char **argv = xcalloc(s->command.n + 4, sizeof *argv);
	size_t n = 0;

	if (s->command.n == 1) {
		argv[n++] = "/bin/sh";
		argv[n++] = "-c";
	}
	for (size_t i = 0; i < s->command.n; i++)
		argv[n++] = s->command.items[i];
	return argv;
}

static int start(void **out, const void *settings, const struct input_env *env, struct error *e)
{
	static const struct exec_events events = {.room = on_room, .answer = on_answer};
	struct exec_input *in = xcalloc(1, sizeof *in);
	int r = 0;

	in->env = *env;
	in->s = settings;
	in->argv = argv_of(in->s);
	in->app = app_of(in->s);
	in->backoff = (struct backoff){.base_ms = PAUSE_MS, .max_ms = PAUSE_MAX_MS};
	timer_init(&in->next, env->loop, on_next, in);
	if (in->s->shape.format == EXEC_FORWARD)
		in->frames = exec_frames_new(&in->env, &events, in);
	else
		r = exec_lines_new(&in->lines, in->s, &in->env, in->app, &events, in, e);
	/* A command that cannot be run at all is a mistake of the settings: said now. */
	if (r < 0 || (r = begin(in, e)) < 0) {
		exec_lines_free(in->lines);
		exec_frames_free(in->frames);
		timer_fini(&in->next);
		free(in->argv);
		free(in->app);
		free(in);
		return r;
	}
	*out = in;
	return 0;
}

static void stop(void *input, loop_fn *stopped, void *arg)
{
	struct exec_input *in = input;

	in->stopping = true;
	in->stopped = stopped;
	in->stopped_arg = arg;
	if (!in->run) {
		finish(in);
		return;
	}
	in->run->n_signals = 0;
	run_step(in);
}

static void dump(const void *input, struct buf *out)
{
	const struct exec_input *in = input;

	buf_printf(out, "exec %s: %s, %llu runs\n", in->app,
		in->run ? in->run->ended ? "its output is read to the end" : "running" : "waiting",
		(unsigned long long)in->n_runs);
	if (in->lines)
		exec_lines_dump(in->lines, out);
	else
		exec_frames_dump(in->frames, out);
}

static int check(const void *settings, struct error *e)
{
	const struct exec_settings *s = settings;

	if (s->command.n == 0 || s->command.items[0][0] == 0)
		return error_set(e, ERR_ARG, "command: it is empty");
	if (s->shape.format == EXEC_FORWARD && s->errors == ERRORS_MERGE)
		return error_set(e, ERR_ARG,
			"stderr: merge would put words between the frames of format: forward");
	for (size_t i = 0; i < s->env.n; i++)
		if (!s->env.items[i].name[0] || strchr(s->env.items[i].name, '='))
			return error_set(e, ERR_ARG, "env: \"%s\" is no name of a variable",
				s->env.items[i].name);
	return shape_check(&s->shape, e);
}

static const char *const formats[] = {"lines", "docker", "cri", "container", "forward", NULL};
static const char *const restarts[] = {"always", "on-failure", "never", NULL};
static const char *const errors[] = {"log", "merge", NULL};

static const struct option options[] = {
	OPTION(struct exec_settings, command, .kind = OPT_STRINGS, .required = true,
		.help = "What to run: a list is run as it is, a text alone by /bin/sh -c."),
	SHAPE_ROW(struct exec_settings, shape, format, .kind = OPT_ENUM, .values = formats,
		.fallback = "lines",
		.help = "lines: its output is lines.  docker, cri, container: lines that a container "
			"runtime wrote.  forward: it is sawlog forward --stdio, here or behind ssh, "
			"and is told what is stored."),
	OPTION(struct exec_settings, restart, .kind = OPT_ENUM, .values = restarts,
		.fallback = "always",
		.help = "Whether to run it again when it ends, after a pause that grows from 1 s to "
			"1 min while it does not run for a minute."),
	OPTION(struct exec_settings, interval, .kind = OPT_DURATION, .fallback = "0s",
		.max = INT64_C(366) * 86400 * NS_PER_SEC,
		.help = "Run it at the start and then at each multiple of this time instead."),
	OPTION(struct exec_settings, env, .kind = OPT_MAP,
		.help = "Variables of its environment, besides those of sawlog."),
	OPTION(struct exec_settings, cwd, .kind = OPT_PATH, .help = "The folder it runs in."),
	{.name = "stderr",
		.offset = offsetof(struct exec_settings, errors),
		.kind = OPT_ENUM,
		.values = errors,
		.fallback = "log",
		.help = "log: what it says there goes to sawlog's log, 20 lines in 10 s at most.  "
			"merge: to its output."},
	OPTION(struct exec_settings, app, .kind = OPT_STRING,
		.help = "The label app; without it the name of the command."),
	OPTION(struct exec_settings, labels, .kind = OPT_MAP,
		.help = "Labels of all lines, besides host, app and input."),
	OPTION(struct exec_settings, detect_time, .kind = OPT_BOOL, .fallback = "true",
		.help = "Take the time at the head of a line as its timestamp; else, and where "
			"there is none, it is when the line was read."),
	SHAPE_TEXT_OPTIONS(struct exec_settings, shape),
	OPTION_END,
};

const struct input_type input_exec = {
	.name = "exec",
	.summary = "lines of a command, or of a forwarder behind ssh",
	.size = sizeof(struct exec_settings),
	.options = options,
	.check = check,
	.start = start,
	.stop = stop,
	.dump = dump,
};
