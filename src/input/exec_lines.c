/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of a command, of a source that lives as long as the input: a command
 * that is started again goes on in it.
 */
#include <stdlib.h>

#include "input/exec.h"
#include "input/pipe_lines.h"

struct exec_lines {
	struct pipe_lines lines;
	struct exec_events events;
	void *arg;
	struct timer quiet; /* what is held is complete when nothing follows */
};

static void on_quiet(void *arg)
{
	struct exec_lines *l = arg;

	pipe_lines_take(&l->lines, 0, SHAPE_QUIET);
	pipe_lines_flush(&l->lines);
}

char *exec_lines_room(struct exec_lines *l, bool force, size_t *n)
{
	*n = 0;
	if (!force && !pipe_lines_ready(&l->lines))
		return NULL;
	return pipe_lines_room(&l->lines, n);
}

void exec_lines_put(struct exec_lines *l, size_t n)
{
	unsigned patience_ms;

	pipe_lines_take(&l->lines, n, SHAPE_MORE);
	pipe_lines_flush(&l->lines);
	patience_ms = pipe_lines_patience(&l->lines);
	if (patience_ms > 0)
		timer_set(&l->quiet, patience_ms, 0);
	else
		timer_clear(&l->quiet);
}

void exec_lines_end(struct exec_lines *l)
{
	timer_clear(&l->quiet);
	pipe_lines_take(&l->lines, 0, SHAPE_END);
	pipe_lines_flush(&l->lines);
}

bool exec_lines_idle(const struct exec_lines *l)
{
	return pipe_lines_idle(&l->lines);
}

static void on_room(void *arg)
{
	struct exec_lines *l = arg;

	pipe_lines_flush(&l->lines);
	l->events.room(l->arg);
}

int exec_lines_new(struct exec_lines **out, const struct exec_settings *s,
	const struct input_env *env, const char *app, const struct exec_events *events, void *arg,
	struct error *e)
{
	struct exec_lines *l = xcalloc(1, sizeof *l);
	struct pipe_lines_options o = {.input = "exec",
		.app = app,
		.labels = &s->labels,
		.detect_time = s->detect_time,
		.shape = &s->shape,
		.room = on_room,
		.arg = l};
	int r;

	if ((r = pipe_lines_init(&l->lines, env, &o, e)) < 0) {
		free(l);
		return r;
	}
	l->events = *events;
	l->arg = arg;
	timer_init(&l->quiet, env->loop, on_quiet, l);
	*out = l;
	return 0;
}

void exec_lines_free(struct exec_lines *l)
{
	if (!l)
		return;
	pipe_lines_fini(&l->lines);
	timer_fini(&l->quiet);
	free(l);
}

void exec_lines_stop(struct exec_lines *l, loop_fn *stopped, void *arg)
{
	timer_clear(&l->quiet);
	pipe_lines_stop(&l->lines, stopped, arg);
}

void exec_lines_dump(const struct exec_lines *l, struct buf *out)
{
	pipe_lines_dump(&l->lines, out);
}
