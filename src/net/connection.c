/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of a listener: their bytes, plain or over TLS, on the way to the
 * owner.  How they are read, and why so, is told in listener.c.
 */
#include "net/connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	KEEP = 64 << 10,
	HELD_CAP = 4096, /* an empty buffer keeps no more memory */
	/* Bytes that a peer does not fetch: those that the owner sends, in TLS's records, and what
	 * TLS itself has to say. */
	WIRE_MAX = CONNECTION_SEND_MAX + (32 << 10),
};

static void on_connection(uv_poll_t *poll, int status, int events);

void connection_watch(struct connection *c, int events)
{
	if (c->watched == events)
		return;
	c->watched = events;
	if (events)
		uv_poll_start(&c->poll, events, on_connection);
	else
		uv_poll_stop(&c->poll);
}

/* While a connection is aside or drained nothing is read, but what is sent goes on. */
static int unsent_events(const struct connection *c)
{
	return c->wire.n && !c->unsendable ? UV_WRITABLE : 0;
}

int connection_events(const struct connection *c)
{
	return UV_READABLE | unsent_events(c);
}

/* The events to wait for, whatever is going on with it. */
static int events_now(const struct connection *c)
{
	bool reads =
		c->finishing || (!c->lingering && list_empty(&c->aside) && !c->listener->draining);

	return reads ? connection_events(c) : unsent_events(c);
}

void connection_set_aside(struct connection *c)
{
	connection_watch(c, unsent_events(c));
	list_remove(&c->aside);
	list_append(&c->listener->aside, &c->aside);
}

static void connection_freed(uv_handle_t *handle)
{
	free(CONTAINER(handle, struct connection, poll));
}

/* Send what waits, as far as it goes. */
static bool flush_wire(struct connection *c)
{
	size_t done = 0;

	while (done < c->wire.n && !c->unsendable) {
		ssize_t n = send(
			c->fd, c->wire.p + done, c->wire.n - done, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0)
			done += (size_t)n;
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			break;
		else if (errno != EINTR)
			c->unsendable = true;
	}
	if (done || c->wire.n == 0)
		c->sent_ms = listener_now_ms(c->listener);
	if (done)
		buf_shift(&c->wire, done);
	c->unsendable |= c->wire.n > WIRE_MAX;
	if (c->wire.n == 0)
		buf_fini(&c->wire);
	return !c->unsendable;
}

void connection_close(struct connection *c, const struct error *why)
{
	struct listener *l = c->listener;

	if (c->told && l->events.closed)
		l->events.closed(l->arg, c, c->state, why);
	if (c->tls && !why && !c->said_end)
		tls_session_end(c->tls, &c->wire);
	flush_wire(c);
	list_remove(&c->node);
	/* The last one may have been what a drain waits for. */
	if (l->draining)
		timer_set(&l->kick, 0, 0);
	list_remove(&c->aside);
	if (l->fed == c)
		l->fed = NULL;
	l->n_connections--;
	connection_count_peer(c, -1);
	account_release(l->o.account, c->charged);
	buf_fini(&c->held);
	buf_fini(&c->wire);
	tls_session_free(c->tls);
	uv_close((uv_handle_t *)&c->poll, connection_freed);
	close(c->fd);
}

void connection_charge(struct connection *c)
{
	struct account *a = c->listener->o.account;
	size_t n = c->held.n + c->wire.n;

	if (!a)
		return;
	if (n > c->charged)
		account_force(a, n - c->charged);
	else
		account_release(a, c->charged - n);
	c->charged = n;
}

static void keep_rest(struct connection *c, struct str given, size_t used)
{
	assert(used <= given.n);
	if (given.p == c->held.p) {
		buf_shift(&c->held, used);
	} else {
		buf_clear(&c->held);
		buf_str(&c->held, str_sub(given, used, given.n));
	}
	if (c->held.n == 0 && c->held.cap > HELD_CAP)
		buf_fini(&c->held);
	connection_charge(c);
}

/* From now on it is not one of those that are read. */
static void linger(struct connection *c)
{
	list_remove(&c->node);
	list_append(&c->listener->lingering, &c->node);
	list_remove(&c->aside);
	connection_watch(c, events_now(c));
}

bool connection_hand_over(struct connection *c, struct str bytes, bool end)
{
	struct listener *l = c->listener;
	unsigned pauses = l->n_pauses;
	struct error e;
	bool paused;
	size_t used;

	used = l->events.bytes(l->arg, c, c->state, bytes, end);
	keep_rest(c, bytes, used);
	if (c->refused) {
		connection_close(c, &l->why);
		return false;
	}
	if (c->finishing) {
		buf_fini(&c->held);
		connection_charge(c);
		return false;
	}
	paused = l->paused || l->n_pauses != pauses;
	c->ended |= end;
	c->pending = paused && c->held.n > 0;
	if (end && !c->pending) {
		if (c->lingering)
			linger(c);
		else
			connection_close(c, NULL);
		return false;
	}
	if (!paused && c->held.n > (l->o.keep ? l->o.keep : KEEP)) {
		error_set(&e, ERR_LIMIT, "a message is longer than %zu bytes",
			l->o.keep ? l->o.keep : (size_t)KEEP);
		listener_refused(l, "limit", c->peer, e.text);
		connection_close(c, &e);
		return false;
	}
	if (c->pending)
		connection_set_aside(c);
	return true;
}

void connection_end(struct connection *c, const struct error *why)
{
	struct error copy;

	if (!c->told) {
		connection_close(c, why);
		return;
	}
	if (!why) {
		connection_hand_over(c, buf_view(&c->held), true);
		return;
	}
	copy = *why;
	c->broken = true;
	if (c->held.n && !c->ended) {
		size_t used = c->listener->events.bytes(
			c->listener->arg, c, c->state, buf_view(&c->held), true);
		keep_rest(c, buf_view(&c->held), used);
		/* Paused among whole messages: they come before the end. */
		if (c->listener->paused && c->held.n && !c->refused) {
			c->ended = c->pending = true;
			connection_set_aside(c);
			return;
		}
	}
	connection_close(c, &copy);
}

bool connection_open(struct connection *c)
{
	struct listener *l = c->listener;

	c->told = true;
	if (l->events.opened)
		l->events.opened(l->arg, c, &c->state);
	if (!c->refused)
		return true;
	connection_close(c, &l->why);
	return false;
}

/* Sending. */

/* All was sent: say so, once, and wait for the peer to see it.  Closing at once would, with bytes
 * of its in the kernel, reset the connection and take from it what was sent last. */
static void say_end(struct connection *c)
{
	if (c->wire.n)
		return;
	if (c->tls && !c->said_end)
		tls_session_end(c->tls, &c->wire);
	c->said_end = true;
	flush_wire(c);
	if (c->wire.n == 0)
		shutdown(c->fd, SHUT_WR);
}

static bool go_on_sending(struct connection *c)
{
	struct listener *l = c->listener;
	bool waited = c->wire.n > 0;

	if (!flush_wire(c))
		return false;
	connection_charge(c);
	if (!waited || c->wire.n)
		return true;
	if (c->finishing)
		say_end(c);
	else if (c->told && l->events.sent)
		l->events.sent(l->arg, c, c->state);
	return true;
}

int connection_send(struct connection *c, struct str bytes)
{
	struct error e;

	if (c->unsendable || c->finishing)
		return ERR_CLOSED;
	if (c->wire.n + bytes.n > CONNECTION_SEND_MAX)
		return ERR_BUSY;
	if (!c->tls)
		buf_str(&c->wire, bytes);
	else if (tls_session_send(c->tls, bytes, &c->wire, &e) < 0)
		c->unsendable = true;
	flush_wire(c);
	connection_charge(c);
	if (c->unsendable) {
		/* Its end comes out of the next read. */
		shutdown(c->fd, SHUT_RDWR);
		return ERR_CLOSED;
	}
	if (c->wire.n)
		connection_watch(c, events_now(c));
	return 0;
}

size_t connection_unsent(const struct connection *c)
{
	return c->wire.n;
}

void connection_linger(struct connection *c)
{
	c->lingering = true;
}

void connection_finish(struct connection *c)
{
	if (c->finishing)
		return;
	c->finishing = c->lingering = true;
	c->sent_ms = listener_now_ms(c->listener);
	list_remove(&c->node);
	list_append(&c->listener->lingering, &c->node);
	list_remove(&c->aside);
	if (c->unsendable)
		buf_fini(&c->wire);
	say_end(c);
	connection_watch(c, events_now(c));
}

/* What comes after the end that was said, until the peer's. */
static void throw_away(struct connection *c)
{
	struct listener *l = c->listener;
	ssize_t n = recv(c->fd, l->scratch, LISTENER_READ, MSG_DONTWAIT);

	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)))
		connection_watch(c, events_now(c));
	else
		connection_close(c, NULL);
}

/* Reading. */

static enum read_result read_failed(struct connection *c, int number)
{
	struct error e;

	if (number == EAGAIN || number == EWOULDBLOCK || number == EINTR)
		return READ_NONE;
	error_errno(&e, number, "the connection broke");
	connection_end(c, &e);
	return READ_GONE;
}

static void tls_refused(struct connection *c, int code, const struct error *e)
{
	struct error why;

	if (code == ERR_DENIED) {
		error_set(&why, code,
			"%s: give it one that tls.client_ca has signed and that is in "
			"force",
			e->text);
		listener_refused(c->listener, "client_certificate", c->peer, why.text);
		return;
	}
	error_set(&why, code,
		"no TLS connection came about (%s): does it speak TLS, and does it "
		"trust our certificate?",
		e->text);
	listener_refused(c->listener, "tls", c->peer, why.text);
}

static enum read_result read_tls(struct connection *c, size_t n)
{
	struct listener *l = c->listener;
	size_t before = c->held.n;
	struct error e;
	int r;

	r = tls_session_feed(c->tls, str_make(l->scratch, n), &c->held, &c->wire, &e);
	connection_charge(c);
	/* Handshake, message and end may come as one: what was said counts all the same. */
	if (!c->told && tls_session_ready(c->tls) && !connection_open(c))
		return READ_GONE;
	if (r < 0 && r != ERR_CLOSED) {
		if (!tls_session_ready(c->tls))
			tls_refused(c, r, &e);
		connection_end(c, &e);
		return READ_GONE;
	}
	if (!go_on_sending(c)) {
		error_set(&e, ERR_NET, "the client does not read what TLS answers");
		connection_end(c, &e);
		return READ_GONE;
	}
	if (r == ERR_CLOSED) {
		connection_end(c, NULL);
		return READ_GONE;
	}
	if (c->held.n > before && !connection_hand_over(c, buf_view(&c->held), false))
		return READ_GONE;
	return READ_SOME;
}

static enum read_result read_plain(struct connection *c)
{
	struct listener *l = c->listener;
	bool apart = c->held.n > LISTENER_HEAD;
	size_t held = c->held.n;
	char *to = apart ? buf_reserve(&c->held, LISTENER_READ) : l->scratch + LISTENER_HEAD;
	ssize_t n = recv(c->fd, to, LISTENER_READ, MSG_DONTWAIT);
	struct str all;

	if (n < 0)
		return read_failed(c, errno);
	if (n == 0) {
		connection_end(c, NULL);
		return READ_GONE;
	}
	if (apart) {
		c->held.n += (size_t)n;
		all = buf_view(&c->held);
	} else {
		if (held)
			memcpy(to - held, c->held.p, held);
		all = str_make(to - held, held + (size_t)n);
	}
	c->drained += (size_t)n;
	return connection_hand_over(c, all, false) ? READ_SOME : READ_GONE;
}

enum read_result connection_read(struct connection *c)
{
	struct listener *l = c->listener;
	enum read_result r;
	ssize_t n;

	if (l->paused) {
		connection_set_aside(c);
		return READ_WAIT;
	}
	/* What is read may have to be held: there is room, or it stays in the kernel. */
	if (!listener_charge_read(l, c)) {
		connection_set_aside(c);
		return READ_WAIT;
	}
	c->last_ms = listener_now_ms(l);
	if (!c->tls) {
		r = read_plain(c);
	} else if ((n = recv(c->fd, l->scratch, LISTENER_READ / 2, MSG_DONTWAIT)) > 0) {
		c->drained += (size_t)n;
		r = read_tls(c, (size_t)n);
	} else if (n < 0) {
		r = read_failed(c, errno);
	} else {
		/* Without close_notify: many senders just go. */
		connection_end(c, NULL);
		r = READ_GONE;
	}
	account_release(l->o.account, l->o.account ? LISTENER_READ : 0);
	return r;
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
	struct connection *c = CONTAINER(poll, struct connection, poll);
	struct error e;

	if (status < 0)
		c->watched = 0; /* libuv has stopped */
	if (((events & UV_WRITABLE) || status < 0) && !go_on_sending(c)) {
		error_set(&e, ERR_NET, "the connection broke");
		if (c->lingering)
			connection_close(c, &e);
		else
			connection_end(c, &e);
		return;
	}
	if (c->finishing) {
		throw_away(c);
		return;
	}
	/* An error of the socket (status < 0) comes out of the read. */
	if (!(events & UV_READABLE) && status >= 0) {
		connection_watch(c, events_now(c));
		return;
	}
	switch (connection_read(c)) {
	case READ_SOME:
	case READ_NONE:
		if (!c->pending)
			connection_watch(c, events_now(c));
		break;
	case READ_WAIT:
	case READ_GONE: break;
	}
}

const char *connection_peer(const struct connection *c)
{
	return c->peer;
}

struct str connection_certificate(const struct connection *c)
{
	return c->tls ? tls_session_peer(c->tls) : STR_NONE;
}

void connection_refuse(struct connection *c, const struct error *why)
{
	c->refused = true;
	c->listener->why = *why;
}

bool connection_broken(const struct connection *c)
{
	return c->broken;
}

uint64_t *connection_note(struct connection *c)
{
	return &c->note;
}
