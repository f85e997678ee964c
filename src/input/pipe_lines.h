/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Lines of what cannot be read twice: the standard input, the output of a
 * command.  They are taken as tail.c takes those of a file, of a source that
 * is this run's own, and what was taken stays with the courier until it is
 * acknowledged.
 *
 *   while (pipe_lines_ready(l))
 *           n = read(fd, pipe_lines_room(l, &n), n) …
 *           pipe_lines_take(l, n, SHAPE_MORE);
 *
 * Loop's thread only, but for the bytes of the room: another thread may fill
 * them until pipe_lines_take is called.
 */
#include "input/courier.h"
#include "input/tail.h"

struct pipe_lines_options {
	const char *input, *app; /* labels; input is the kind */
	const struct string_map *labels;
	bool detect_time;
	const struct shape_settings *shape;
	/* Something was acknowledged or a pause is over: see whether to read on. */
	loop_fn *room;
	void *arg;
};

struct pipe_lines {
	struct pipe_lines_options o;
	const struct input_env *env;
	struct courier *courier;
	struct tail *tail; /* of no file: its labels, source and offsets */
	struct tail_io io;
	struct shape *shape;
	struct line_reader lines;
	size_t n_held; /* bytes in the buffer that are not taken */
	uint64_t reserved, reserve;
};

/* `env` and what the options point to are borrowed.  ERR_ARG for settings that do not fit; there is
 * nothing to end then. */
int pipe_lines_init(struct pipe_lines *l, const struct input_env *env,
	const struct pipe_lines_options *o, struct error *e);
/* After pipe_lines_stop said so, or when nothing was ever taken. */
void pipe_lines_fini(struct pipe_lines *l);
/* May bytes be read?  If not, `room` follows. */
bool pipe_lines_ready(struct pipe_lines *l);
/* Where up to *n bytes go. */
char *pipe_lines_room(struct pipe_lines *l, size_t *n);
/* n bytes have come; take the complete lines, and what the rest is when none follow is `more`'s. */
void pipe_lines_take(struct pipe_lines *l, size_t n, enum shape_more more);
/* Small batches go at once when nothing is under way, else they grow. */
void pipe_lines_flush(struct pipe_lines *l);
/* After how many ms without bytes pipe_lines_take(l, 0, SHAPE_QUIET) is due; 0: never. */
unsigned pipe_lines_patience(const struct pipe_lines *l);
/* Nothing that was taken waits for its acknowledgement. */
bool pipe_lines_idle(const struct pipe_lines *l);
/* Send what was taken.  stopped(arg) once all is acknowledged or given up. */
void pipe_lines_stop(struct pipe_lines *l, loop_fn *stopped, void *arg);
void pipe_lines_dump(const struct pipe_lines *l, struct buf *out);
