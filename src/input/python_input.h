/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the files of the python input know of each other; nobody else includes
 * this.
 *
 *	python.c         life and settings
 *	python_port.c    what the listeners bring: frames
 *	python_stdin.c   frames of the standard input
 *	python_web.c     its own HTTP listeners
 *	python_shape.c   from what was read to a record of a stream (python.h)
 */
#include "base/list.h"
#include "input/ports.h"
#include "input/python.h"
#include "net/http.h"
#include "net/token.h"

struct python_settings {
	struct port_settings port;
	struct string_map labels;
	const char *app;
	uint64_t max_line;
};

enum python_kind { PYTHON_SOCKET, PYTHON_WEB, PYTHON_STDIN };

/* One address: one of its listener, web and pipe, by kind; NULL when it is parked or closed. */
struct python_port {
	struct port port;
	struct python_input *in;
	enum python_kind kind;
	struct python_web *web;
	struct python_pipe *pipe;
};

struct python_input {
	const struct python_settings *s;
	const struct input_env *env; /* env_copy: what it points to is borrowed */
	struct input_env env_copy;
	struct outlets *outlets;
	struct pylog *pylog;
	struct python_shaper shaper;
	struct ports ports;
	struct python_port *all_ports;
	size_t n_ports;
	struct timer tick;
	uint64_t n_bad; /* frames and forms that were no record */
	size_t halves;  /* bytes of frames that connections hold and that are not whole */
	int64_t observed_ns;
	loop_fn *stopped;
	void *stopped_arg;
};

enum { PYTHON_HEAD = 4 /* bytes of a frame's length */ };

/* python.c */
bool python_address(const char *address, enum python_kind *out);
/* A record that was read goes to the outlet. */
void python_add(struct python_input *in, struct outlet *o, const struct python_sender *from,
	struct pylog_record *p);
/* What is no record is counted and told. */
void python_bad(
	struct python_port *p, const char *reason, const struct error *why, const char *peer);

/* python_port.c */
extern const struct listener_events python_port_events; /* their argument is the port */
/* Cut the next frame off the bytes and return its length: 0 when it is not whole.  Of one that is
 * too long *skip is how much is to be skipped, and *frame is empty. */
size_t python_frame(struct str bytes, struct str *frame, uint64_t *skip);
void python_too_long(struct python_port *p, uint64_t n, const char *peer);
void python_half(struct python_port *p, size_t n, const char *peer);
/* One pickle.  True: it was a word that ends the stream, which is p->body. */
bool python_take(struct python_port *p, const struct python_sender *from, const char *peer,
	struct str pickle, struct pylog_record *out);

/* python_stdin.c */
int pipe_new(struct python_pipe **out, struct python_port *p, struct error *e);
void pipe_free(struct python_pipe *pipe); /* NULL is fine; not while it reads */
void pipe_room(struct python_pipe *pipe); /* go on */
/* Take what has come, and read no more: ports_done follows. */
void pipe_drain(struct python_pipe *pipe);

/* What was left of it and nobody took over. */
void pipe_drop_left(struct loop *loop);

/* python_web.c */
/* Takes over a parked one of the same address. */
int web_open(struct python_web **out, struct python_port *p, struct error *e);
void web_room(struct python_web *w); /* serve those that wait */
void web_tick(struct python_web *w); /* once a second */
/* Leave it for the next owner: requests wait for that meanwhile. */
void web_park(struct python_web *w);
/* Let in no more, answer those that are in, close: ports_done follows. */
void web_drain(struct python_web *w);
/* At once; NULL is fine. */
void web_close(struct python_web *w);
/* Those that were parked on the loop and nobody took over. */
void web_drop_parked(struct loop *loop);
