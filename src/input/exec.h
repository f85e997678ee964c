/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the files of the `exec` input know of each other; nobody else includes
 * this.
 *
 *	exec.c         settings, life, and when the command runs
 *	exec_run.c     one run of it
 *	exec_lines.c   its output as lines
 *	exec_frames.c  its output as batches of another sawlog (proto/frame.h)
 *
 * A run asks lines or frames what it may read, and hands over what came.
 * Loop's thread only.
 */
#include "input/child.h"
#include "input/input.h"
#include "input/shape.h"

/* Beside those of enum shape_format. */
enum { EXEC_FORWARD = FORMAT_CONTAINER + 1 };

enum exec_errors { ERRORS_LOG, ERRORS_MERGE };

enum { EXEC_GRACE_MS = 2000 }; /* for processes that a command leaves behind with its pipe */

struct exec_settings {
	struct strings command;
	int restart; /* enum exec_restart of exec.c */
	int errors;  /* enum exec_errors */
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

/* Runs. */

/* The command begins: in->run.  What child_start returns below 0. */
int run_begin(struct exec_input *in, struct error *e);
/* The next step to the end of in->run, whose command ended without its output, or is to stop:
 * SIGTERM, SIGKILL, and to read no more; in->next leads from one to the next. */
void run_step(struct exec_input *in);
/* n bytes have come into the room, or there may be more to do with those that have. */
void run_put(struct run *r, size_t n);
/* Watch the output exactly while there is room. */
void run_watch(struct run *r);

/* Of exec.c: in->run is over and no longer there. */
void exec_run_over(struct exec_input *in);
void exec_count_exit(struct exec_input *in, const char *result);
