/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The other way to a server: frames over one descriptor, answers from another
 * (proto/frame.h), for `sawlog forward --stdio` behind an `exec` input.
 *
 * When the peer goes, all is over: there is nobody to reconnect to; who began
 * this process begins it again.
 * One thread posts; pipe_cancel from any.
 */
#include "net/client.h"
#include "proto/frame.h"

struct pipe_link;

/* Borrows the descriptors.  gone(arg) is called once on a thread of its own when the peer closes,
 * whether something is under way or not. */
int pipe_open(struct pipe_link **out, int in, int out_fd, void (*gone)(void *arg), void *arg,
	struct error *e);
/* As servers_post; ERR_CLOSED once the peer has gone. */
int pipe_post(struct pipe_link *p, struct str frame, bool elsewhere, struct http_answer *out,
	struct error *e);
void pipe_cancel(struct pipe_link *p);
void pipe_close(struct pipe_link *p); /* NULL is fine */
