/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `exec` input: the output of a command, run again when it ends or at
 * intervals.
 *
 * Design.  At any time there is one run of the command (exec_run.c), or a
 * timer that leads to the next one.
 *
 *            ┌───────────── pause, backoff or interval ────────────┐
 *   start ─► running ─► ended ─► output at its end ─► over ────────┤
 *              │                                                   ▼
 *              └ stop: SIGTERM, 3 s, SIGKILL ─► over ─► all acknowledged ─► stopped
 */
#include "input/exec.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metric.h"

enum {
	PAUSE_MS = 1000,
	PAUSE_MAX_MS = 60000,
};

enum exec_restart { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };

static void begin_later(struct exec_input *in);

/* What lines and frames tell. */

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
			run_put(in->run, 0);
		run_watch(in->run);
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

/* When it runs. */

void exec_count_exit(struct exec_input *in, const char *result)
{
	struct buf labels = {0};

	metric_label(&labels, "app", str_c(in->app));
	metric_label(&labels, "result", str_c(result));
	metric_add(METRIC_exec_exits_total, buf_cstr(&labels), 1);
	buf_fini(&labels);
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

void exec_run_over(struct exec_input *in)
{
	if (in->stopping)
		finish(in);
	else
		begin_later(in);
}

static void on_next(void *arg)
{
	struct exec_input *in = arg;
	struct error e;

	if (in->run) {
		/* The reading stands still: there is nothing to be impatient about. */
		if (in->run->n_signals == 0 && !in->run->reading)
			timer_set(&in->next, EXEC_GRACE_MS, 0);
		else
			run_step(in);
		return;
	}
	if (run_begin(in, &e) < 0) {
		if (in->last_result != e.code)
			log_warn("exec", "%s", e.text);
		in->last_result = e.code;
		exec_count_exit(in, "not started");
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
	if (r < 0 || (r = run_begin(in, e)) < 0) {
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

/* Batches of a forwarder are stored as they come: whoever asks here for secrets to be taken out of
 * them must not believe that they are. */
static int check_forward(const struct exec_settings *s, struct error *e)
{
	const struct shape_settings *shape = &s->shape;
	const char *name = NULL;

	if (s->errors == ERRORS_MERGE)
		return error_set(e, ERR_ARG,
			"stderr: merge would put words between the frames of format: forward");
	if (shape->redact.n)
		name = "redact";
	else if (shape->drop.n)
		name = "drop";
	else if (shape->multiline.rule || shape->multiline.first)
		name = "multiline";
	else if (shape->encoding)
		name = "encoding";
	else if (shape->timezone)
		name = "timezone";
	else if (shape->env_labels.n)
		name = "env_labels";
	else if (s->labels.n)
		name = "labels";
	if (name)
		return error_set(e, ERR_ARG,
			"%s: with format: forward, batches are stored as the forwarder made them: "
			"set it there",
			name);
	return 0;
}

static int check(const void *settings, struct error *e)
{
	const struct exec_settings *s = settings;
	int r;

	if (s->command.n == 0 || s->command.items[0][0] == 0)
		return error_set(e, ERR_ARG, "command: it is empty");
	if (s->shape.format == EXEC_FORWARD && (r = check_forward(s, e)) < 0)
		return r;
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
