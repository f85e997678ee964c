/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Responses that are written piece by piece for as long as their client stays:
 * server-sent events.  To who writes, one is a WebSocket without frames.
 *
 * libmicrohttpd takes the bytes (chunked, TLS and all) by asking for them on
 * the connection's thread; when there are none, the connection is suspended
 * until some are queued.  Nobody watches a suspended connection: the tick asks
 * its socket whether the client has gone.
 *
 *	ws_send --(lock)--> out --read_piece--> libmicrohttpd
 *
 * Life: http_stream counts a ws in the hub and posts `opened`; libmicrohttpd
 * frees the response when the connection is done with it, which posts
 * ws_finish, behind all that was posted before.
 */
#include "net/ws_core.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "net/socket.h"

enum {
	PIECE = 16 << 10,
	/* A reader that takes nothing for so long is none.  Suspended connections are not counted
	 * as idle. */
	STREAM_IDLE_S = 900,
};

void stream_wake(struct ws *w)
{
	if (!w->suspended || !w->connection)
		return;
	w->suspended = false;
	MHD_resume_connection(w->connection);
}

static void on_drained(void *arg)
{
	struct ws *w = arg;
	bool ended;

	lock_take(&w->lock);
	w->posted = false;
	ended = w->ended;
	lock_drop(&w->lock);
	if (!w->over && !ended && w->events.drained)
		w->events.drained(w, w->arg);
}

static ssize_t take_piece(struct ws *w, char *to, size_t max) REQUIRES(w->lock)
{
	size_t n = w->out.n - w->sent < max ? w->out.n - w->sent : max;

	memcpy(to, w->out.p + w->sent, n);
	w->sent += n;
	w->queued -= n;
	account_release(w->hub->account, n);
	if (w->sent < w->out.n)
		return (ssize_t)n;
	w->sent = 0;
	buf_clear(&w->out);
	if (w->out.cap > WS_KEEP_BUFFER)
		buf_fini(&w->out);
	if (!w->posted && !w->ended)
		w->posted = loop_post(w->hub->loop, on_drained, w);
	return (ssize_t)n;
}

/* The connection's thread. */
static ssize_t read_piece(void *arg, uint64_t pos, char *to, size_t max)
{
	struct ws *w = arg;
	ssize_t n = 0;

	lock_take(&w->lock);
	if (w->failed) {
		n = MHD_CONTENT_READER_END_WITH_ERROR;
	} else if (w->out.n > w->sent) {
		n = take_piece(w, to, max);
	} else if (w->ended) {
		n = MHD_CONTENT_READER_END_OF_STREAM;
	} else {
		/* Under the lock: who queues something from now on resumes it. */
		w->suspended = true;
		MHD_suspend_connection(w->connection);
	}
	lock_drop(&w->lock);
	return n;
}

/* libmicrohttpd is done with the response, and closes the socket behind this. */
static void response_freed(void *arg)
{
	struct ws *w = arg;
	bool posted;

	lock_take(&w->lock);
	w->ended = true;
	w->connection = NULL;
	w->wire_fd = -1;
	lock_drop(&w->lock);
	posted = loop_post(w->hub->loop, ws_finish, w);
	assert(posted);
}

static void opened(void *arg)
{
	struct ws *w = arg;

	list_append(&w->hub->open, &w->node);
	w->events.open(w, w->arg);
	ws_hub_entered(w);
}

static void fail(struct ws *w, bool cut) REQUIRES(w->lock)
{
	w->failed = true;
	w->ended = true;
	/* One that is not suspended waits for room in a socket that nobody reads. */
	if (cut && w->wire_fd >= 0)
		shutdown(w->wire_fd, SHUT_RDWR);
	stream_wake(w);
}

void stream_look(struct ws *w)
{
	struct pollfd p = {.events = POLLRDHUP};

	lock_take(&w->lock);
	p.fd = w->wire_fd;
	if (w->suspended && p.fd >= 0 && poll(&p, 1, 0) > 0 &&
		p.revents & (POLLRDHUP | POLLHUP | POLLERR))
		fail(w, false);
	lock_drop(&w->lock);
}

void stream_cut(struct ws *w)
{
	lock_take(&w->lock);
	fail(w, true);
	lock_drop(&w->lock);
}

void http_stream(
	struct http_request *r, const char *content_type, const struct ws_events *events, void *arg)
{
	struct ws *w = ws_new(r->server->hub, events, arg);
	bool posted;

	if (!ws_hub_enter(r)) {
		/* The loop may be gone: the one case where closed is called here. */
		events->closed(w, arg);
		ws_free(w);
		http_replyf(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the server is stopping");
		return;
	}
	socket_no_delay(r->fd);
	w->stream = true;
	w->wire_fd = r->fd;
	w->connection = r->connection;
	MHD_set_connection_option(
		r->connection, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)STREAM_IDLE_S);
	posted = loop_post(w->hub->loop, opened, w);
	assert(posted);
	r->status = MHD_HTTP_OK;
	r->response = MHD_create_response_from_callback(
		MHD_SIZE_UNKNOWN, PIECE, read_piece, w, response_freed);
	assert(r->response);
	/* Its next request would have the patience of this one. */
	http_set_header(r, "Connection", "close");
	request_add_headers(r, content_type);
	request_answered(r);
}
