/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the `exec` input does with the output of its command: lines become
 * records here, frames are batches of another sawlog (proto/frame.h).
 * exec.c has the command; it asks what it may read, and hands over what came.
 * Loop's thread only.
 */
#include "input/shape.h"
#include "input/input.h"

/* Beside those of enum shape_format. */
enum { EXEC_FORWARD = FORMAT_CONTAINER + 1 };

struct exec_settings {
	struct strings command;
	int restart, errors; /* enum exec_… of exec.c */
	int64_t interval;
	struct string_map env;
	const char *cwd;
	const char *app;
	struct string_map labels;
	bool detect_time;
	struct shape_settings shape; /* its format may be EXEC_FORWARD as well */
};

/* The answer to a frame is to be written to the command: a whole line. */
typedef void exec_answer(void *arg, struct str line);

struct exec_events {
	loop_fn *room;       /* there may be room again, or something was acknowledged */
	exec_answer *answer; /* frames alone */
};

/* Lines. */
struct exec_lines;

/* `env` is borrowed.  ERR_ARG for settings that do not fit. */
int exec_lines_new(struct exec_lines **out, const struct exec_settings *s,
	const struct input_env *env, const char *app, const struct exec_events *events, void *arg,
	struct error *e);
/* Where up to *n bytes go, n 0: nothing can be taken now, room follows.  `force`: at the end of a
 * command that was killed take what is left all the same. */
char *exec_lines_room(struct exec_lines *l, bool force, size_t *n);
void exec_lines_put(struct exec_lines *l, size_t n);
void exec_lines_end(struct exec_lines *l); /* of one run: what is left is a line */
bool exec_lines_idle(const struct exec_lines *l);
/* stopped(arg) once all is acknowledged or given up; then exec_lines_free. */
void exec_lines_stop(struct exec_lines *l, loop_fn *stopped, void *arg);
void exec_lines_free(struct exec_lines *l); /* NULL is fine */
void exec_lines_dump(const struct exec_lines *l, struct buf *out);

/* Frames. */
struct exec_frames;

struct exec_frames *exec_frames_new(
	const struct input_env *env, const struct exec_events *events, void *arg);
char *exec_frames_room(struct exec_frames *f, size_t *n);
/* Also of 0 bytes, after `room`.  ERR_NET, ERR_LIMIT, ERR_CORRUPT: this is not `sawlog forward
 * --stdio`; the command is to end. */
int exec_frames_put(struct exec_frames *f, size_t n, struct error *e);
void exec_frames_end(struct exec_frames *f); /* of one run: half a frame is thrown away */
bool exec_frames_idle(const struct exec_frames *f);
void exec_frames_stop(struct exec_frames *f, loop_fn *stopped, void *arg);
void exec_frames_free(struct exec_frames *f);
void exec_frames_dump(const struct exec_frames *f, struct buf *out);
