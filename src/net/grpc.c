/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's half of gRPC that has to do with sockets and time: grpc_session.c
 * is one connection, listener.c brings and takes its bytes.
 *
 * Bytes are fed in slices, so that a pause of the owner's takes effect before
 * more than one of them is decoded.  What is to be sent is taken from the
 * session only while little of it waits, so a peer that fetches nothing makes
 * us keep no more than that.  Answers that come from outside of a feed are
 * written together in the next turn of the loop.
 *
 * Draining: GOAWAY with no last call first; then, when all that had come is
 * handed over, a final one, and UNAVAILABLE to those calls whose client is not
 * done; connections stay until the others are answered, but not for ever.
 */
#include "net/grpc.h"

#include <stdio.h>
#include <stdlib.h>

#include "net/grpc_session.h"

enum {
	MESSAGE_MAX = 4 << 20,
	STREAMS_MAX = 256,
	SLICE = 16 << 10,
	UNSENT_MAX = 32 << 10, /* with so much waiting no more is made */
	FRAME_MAX = 17 << 10,  /* bytes of one piece, at most */
	GREET_MS = 10000,
	STUCK_MS = 30000,
	TICK_MS = 1000,
	DRAIN_MS = 3000,
};

struct peer {
	struct list node;    /* of server.peers */
	struct list writing; /* of server.writing */
	struct grpc_server *server;
	struct connection *connection;
	struct grpc_session *session;
	uint64_t opened_ms;
	bool lingering; /* nothing comes any more, answers go on */
	bool finished;  /* those too are out */
};

struct grpc_server {
	struct loop *loop;
	struct listener *listener;
	const struct grpc_method *methods;
	struct account *account;
	void *arg;
	void (*refused)(void *arg, const struct refusal *r);
	uint64_t max_message;
	unsigned max_streams;
	struct list peers, writing;
	struct buf out; /* scratch */
	struct timer tick, kick, deadline;
	void (*drained)(void *arg);
	void *drained_arg;
	bool paused, draining;
};

static void tell_refused(struct peer *p, const char *reason, const struct error *why)
{
	const struct refusal r = {
		.reason = reason, .peer = connection_peer(p->connection), .why = why->text};

	p->server->refused(p->server->arg, &r);
}

/* Sending. */

/* Send what there is, as long as little waits: the frames of many answers together. */
static void write_some(struct peer *p)
{
	struct buf *out = &p->server->out;
	struct str piece = STR_NONE;

	do {
		buf_clear(out);
		while (out->n < UNSENT_MAX - FRAME_MAX &&
			connection_unsent(p->connection) < UNSENT_MAX &&
			(piece = grpc_session_next(p->session)).n)
			buf_str(out, piece);
	} while (out->n && connection_send(p->connection, buf_view(out)) == 0 && piece.n);
}

/* Close it when the peer has seen all. */
static void finish(struct peer *p)
{
	p->finished = true;
	connection_finish(p->connection);
}

static void write_all(struct peer *p)
{
	struct error e;

	if (p->finished)
		return;
	write_some(p);
	if (p->lingering) {
		if (grpc_session_idle(p->session))
			finish(p);
	} else if (grpc_session_over(p->session, &e)) {
		if (e.code < 0)
			tell_refused(p, "protocol", &e);
		finish(p);
	}
}

static void on_kick(void *arg)
{
	struct grpc_server *s = arg;

	while (!list_empty(&s->writing)) {
		struct peer *p = CONTAINER(s->writing.next, struct peer, writing);

		list_remove(&p->writing);
		write_all(p);
	}
}

static void wants_write(void *arg)
{
	struct peer *p = arg;

	if (!list_empty(&p->writing))
		return;
	list_append(&p->server->writing, &p->writing);
	timer_set(&p->server->kick, 0, 0);
}

/* Events of the listener. */

static void on_opened(void *arg, struct connection *c, void **state)
{
	struct grpc_server *s = arg;
	struct peer *p = xcalloc(1, sizeof *p);
	struct grpc_session_options o = {.methods = s->methods,
		.max_message = s->max_message,
		.max_streams = s->max_streams,
		.account = s->account,
		.peer = connection_peer(c),
		.certificate = connection_certificate(c),
		.methods_arg = s->arg,
		.wants_write = wants_write,
		.arg = p};
	struct error e;

	p->server = s;
	p->connection = c;
	p->opened_ms = uv_now(loop_uv(s->loop));
	list_init(&p->writing);
	list_append(&s->peers, &p->node);
	*state = p;
	if (!(p->session = grpc_session_new(&o))) {
		error_set(&e, ERR_BUSY, "there is no memory for another connection");
		tell_refused(p, "memory", &e);
		connection_refuse(c, &e);
		return;
	}
	if (s->draining)
		grpc_session_warn(p->session);
	write_some(p);
}

/* All that had come is taken: answer what is not whole, wait for the other answers. */
static void end_calls(struct peer *p)
{
	grpc_session_stop(p->session, "the server is stopping: connect again");
	p->lingering = true;
	connection_linger(p->connection);
	write_all(p);
}

static size_t on_bytes(void *arg, struct connection *c, void *state, struct str bytes, bool end)
{
	struct grpc_server *s = arg;
	struct peer *p = state;
	struct error e;
	size_t used = 0;

	while (used < bytes.n && !s->paused) {
		struct str slice = str_sub(bytes, used, used + SLICE);

		used += slice.n;
		if (grpc_session_feed(p->session, slice, uv_now(loop_uv(s->loop)), &e) < 0) {
			write_some(p);
			tell_refused(p, e.code == ERR_LIMIT ? "flood" : "protocol", &e);
			connection_refuse(c, &e);
			return bytes.n;
		}
		/* It may be much that a slice asks for. */
		write_some(p);
	}
	if (end && used == bytes.n && s->draining && connection_broken(c))
		end_calls(p);
	else
		write_all(p);
	return used;
}

static void on_sent(void *arg, struct connection *c, void *state)
{
	(void)arg;
	(void)c;
	write_all(state);
}

static void on_closed(void *arg, struct connection *c, void *state, const struct error *why)
{
	struct peer *p = state;

	(void)arg;
	(void)c;
	(void)why;
	list_remove(&p->node);
	list_remove(&p->writing);
	grpc_session_free(p->session);
	free(p);
}

static void on_refused(void *arg, const struct refusal *r)
{
	struct grpc_server *s = arg;

	s->refused(s->arg, r);
}

static void on_drained(void *arg)
{
	struct grpc_server *s = arg;

	timer_clear(&s->deadline);
	s->drained(s->drained_arg);
}

/* Time. */

static void on_tick(void *arg)
{
	struct grpc_server *s = arg;
	uint64_t now = uv_now(loop_uv(s->loop));
	struct error e;

	if (s->paused)
		return;
	LIST_EACH (at, &s->peers) {
		struct peer *p = CONTAINER(at, struct peer, node);

		grpc_session_expire(p->session, now, STUCK_MS);
		if (grpc_session_greeted(p->session) || p->finished ||
			now - p->opened_ms < GREET_MS)
			continue;
		error_set(&e, ERR_TIMEOUT, "it connected and said nothing that begins HTTP/2");
		tell_refused(p, "handshake_timeout", &e);
		finish(p);
	}
}

static void on_deadline(void *arg)
{
	struct grpc_server *s = arg;

	listener_close(s->listener);
	s->listener = NULL;
	s->drained(s->drained_arg);
}

/* Life. */

static char *listener_address(const char *address, struct error *e)
{
	struct str all = str_c(address);
	struct buf out = {0};

	if (str_starts(all, STR("grpc://")))
		buf_printf(&out, "tcp://%s", address + strlen("grpc://"));
	else if (str_starts(all, STR("grpcs://")))
		buf_printf(&out, "tls://%s", address + strlen("grpcs://"));
	else
		error_set(
			e, ERR_ARG, "%s: the address must begin with grpc:// or grpcs://", address);
	if (out.p)
		buf_cstr(&out);
	return out.p;
}

int grpc_server_open(struct grpc_server **out, struct loop *loop, const struct grpc_options *o,
	void *arg, void (*refused)(void *arg, const struct refusal *r), struct error *e)
{
	static const struct listener_events events = {.opened = on_opened,
		.bytes = on_bytes,
		.sent = on_sent,
		.closed = on_closed,
		.refused = on_refused,
		.drained = on_drained};
	struct listener_options lo = o->listener;
	char *address = listener_address(o->listener.address, e);
	struct grpc_server *s;
	int r;

	if (!address)
		return ERR_ARG;
	s = xcalloc(1, sizeof *s);
	s->loop = loop;
	s->methods = o->methods;
	s->account = lo.account;
	s->arg = arg;
	s->refused = refused;
	s->max_message = o->max_message ? o->max_message : MESSAGE_MAX;
	s->max_streams = o->max_streams ? o->max_streams : STREAMS_MAX;
	list_init(&s->peers);
	list_init(&s->writing);
	timer_init(&s->tick, loop, on_tick, s);
	timer_init(&s->kick, loop, on_kick, s);
	timer_init(&s->deadline, loop, on_deadline, s);
	lo.address = address;
	lo.alpn = "h2";
	/* What waits during a pause is one read. */
	lo.keep = 1 << 20;
	/* Calls have deadlines of their own. */
	lo.stuck_ms = lo.stuck_ms ? lo.stuck_ms : STUCK_MS;
	r = listener_open(&s->listener, loop, &lo, &events, s, e);
	free(address);
	if (r < 0) {
		grpc_server_close(s);
		return error_wrap(e, r, "%s", o->listener.address);
	}
	timer_set(&s->tick, TICK_MS, TICK_MS);
	*out = s;
	return 0;
}

void grpc_server_pause(struct grpc_server *s)
{
	s->paused = true;
	if (s->listener)
		listener_pause(s->listener);
}

void grpc_server_resume(struct grpc_server *s)
{
	s->paused = false;
	if (s->listener)
		listener_resume(s->listener);
}

void grpc_server_drain(struct grpc_server *s, void (*drained)(void *arg), void *arg)
{
	s->draining = true;
	s->drained = drained;
	s->drained_arg = arg;
	LIST_EACH (at, &s->peers) {
		struct peer *p = CONTAINER(at, struct peer, node);

		grpc_session_warn(p->session);
		write_some(p);
	}
	timer_set(&s->deadline, DRAIN_MS, 0);
	listener_drain(s->listener);
}

void grpc_server_close(struct grpc_server *s)
{
	if (!s)
		return;
	listener_close(s->listener);
	timer_fini(&s->tick);
	timer_fini(&s->kick);
	timer_fini(&s->deadline);
	buf_fini(&s->out);
	free(s);
}

unsigned grpc_server_port(const struct grpc_server *s)
{
	return s->listener ? listener_port(s->listener) : 0;
}

size_t grpc_server_connections(const struct grpc_server *s)
{
	return s->listener ? listener_connections(s->listener) : 0;
}
