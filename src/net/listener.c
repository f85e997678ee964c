/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  One uv_poll for each socket, level-triggered, one read an event, so
 * that no connection starves the others.  Bytes are read behind what is left
 * of the connection's last ones, in a buffer that all connections of the
 * listener share:
 *
 *   scratch:  [ ..... | held (copied) | new bytes ......... ]
 *                      └── given to the owner as one ──┘
 *
 * so that a connection holds memory only for a message that is not whole, and
 * bytes are copied once.  Where much is held (a long message), new bytes go
 * behind it in the connection's own buffer instead.
 *
 * A pause does not touch the connections: the next one that becomes readable
 * is set aside then, and all that are aside start again after the resume.  So
 * a pause costs what is active, not what is connected.
 *
 * Each read is charged first, so that memory is not passed by what connections
 * hold.  But if it is just the halves of messages that fill it, only further
 * reads free it again: so after a second without memory one connection at a
 * time reads all the same, until it has no half any more.
 *
 * Whatever frees or hands over many connections at once runs from the timer
 * `kick` and not within an event, so that no event sees the list change.
 */
#include "net/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

enum {
	HANDSHAKE_MS = 10000,
	STUCK_MS = 30000,
	ACCEPTS = 64, /* of one event */
	TICK_MS = 1000,
	STARVED_MS = 100,
	STARVED_TURNS = 10, /* without memory, until one connection may read all the same */
	FED_MS = 1000,      /* without a byte, until that is another one */
};

uint64_t listener_now_ms(const struct listener *l)
{
	return uv_now(loop_uv(l->loop));
}

void listener_refused(struct listener *l, const char *reason, const char *peer, const char *why)
{
	const struct refusal r = {.reason = reason, .peer = peer, .why = why};

	if (l->events.refused)
		l->events.refused(l->arg, &r);
}

/* May c read though there is no memory? */
static bool feed(struct listener *l, struct connection *c)
{
	uint64_t now = listener_now_ms(l);

	if (l->fed && l->fed != c && (now - l->fed_ms >= FED_MS || l->fed->held.n == 0))
		l->fed = NULL;
	if (!l->fed && l->n_starved >= STARVED_TURNS)
		l->fed = c;
	if (l->fed != c)
		return false;
	l->fed_ms = now;
	return true;
}

bool listener_charge_read(struct listener *l, struct connection *c)
{
	if (!l->o.account)
		return true;
	if (account_charge(l->o.account, LISTENER_READ) == 0) {
		/* A little room that is gone again at once does not end it. */
		if (listener_now_ms(l) - l->starved_ms >= FED_MS) {
			l->n_starved = 0;
			l->fed = NULL;
		}
		return true;
	}
	l->starved_ms = listener_now_ms(l);
	if (feed(l, c)) {
		account_force(l->o.account, LISTENER_READ);
		return true;
	}
	if (!l->starved)
		timer_set(&l->tick, STARVED_MS, TICK_MS);
	l->starved = true;
	return false;
}

static void on_listening(uv_poll_t *poll, int status, int events);

void listener_watch(struct listener *l, bool on)
{
	int events = on ? UV_READABLE : 0;

	if (!l->poll || l->watched == events)
		return;
	l->watched = events;
	if (on)
		uv_poll_start(l->poll, events, on_listening);
	else
		uv_poll_stop(l->poll);
}

static void on_listening(uv_poll_t *poll, int status, int events)
{
	struct listener *l = poll->data;

	(void)events;
	if (status < 0) {
		l->watched = 0; /* libuv has stopped */
		listener_watch(l, true);
	}
	if (l->datagrams)
		datagrams_read(l);
	else
		listener_accept(l, ACCEPTS);
}

/* Going on. */

/* Those that were set aside go on: first with what they hold. */
static void resume_aside(struct listener *l)
{
	struct list todo;
	bool again = false;

	if (list_empty(&l->aside))
		return;
	todo = l->aside;
	todo.prev->next = todo.next->prev = &todo;
	list_init(&l->aside);
	while (!list_empty(&todo)) {
		struct connection *c = CONTAINER(todo.next, struct connection, aside);

		list_remove(&c->aside);
		if (l->paused) {
			connection_set_aside(c);
			continue;
		}
		c->last_ms = listener_now_ms(l);
		if (c->pending ? !connection_hand_over(c, buf_view(&c->held), c->ended)
			       : c->leaving && connection_drain(c))
			continue;
		if (!list_empty(&c->aside))
			continue;
		if (c->leaving) {
			connection_set_aside(c);
			again = true;
		} else if (!l->draining) {
			connection_watch(c, connection_events(c));
		}
	}
	if (again)
		timer_set(&l->kick, 0, 0);
}

static void on_kick(void *arg)
{
	struct listener *l = arg;

	if (l->is_parked)
		return;
	if (l->draining) {
		listener_drain_some(l);
		return;
	}
	if (l->paused)
		return;
	resume_aside(l);
	if (l->datagrams)
		datagrams_hand_over(l);
	if (!l->paused)
		listener_watch(l, true);
}

/* Time. */

/* Those that fetch nothing of what is sent, and those that do not see that they are finished. */
static void check_unsent(struct listener *l, struct list *list)
{
	uint64_t now = listener_now_ms(l), stuck = l->o.stuck_ms ? l->o.stuck_ms : STUCK_MS;
	struct error e;

	LIST_EACH (at, list) {
		struct connection *c = CONTAINER(at, struct connection, node);
		uint64_t quiet = now - c->sent_ms;

		if (c->wire.n && quiet >= stuck) {
			error_set(&e, ERR_TIMEOUT,
				"it fetched nothing of what was sent for %llu ms",
				(unsigned long long)quiet);
			connection_close(c, &e);
		} else if (c->finishing && quiet >= LISTENER_FINISH_MS) {
			connection_close(c, NULL);
		}
	}
}

static void check_deadlines(struct listener *l)
{
	uint64_t now = listener_now_ms(l),
		 handshake = l->o.handshake_ms ? l->o.handshake_ms : HANDSHAKE_MS,
		 stuck = l->o.stuck_ms ? l->o.stuck_ms : STUCK_MS;
	struct error e;

	LIST_EACH (at, &l->connections) {
		struct connection *c = CONTAINER(at, struct connection, node);
		uint64_t quiet = now - c->last_ms;

		if (!c->told && now - c->opened_ms >= handshake) {
			error_set(&e, ERR_TIMEOUT, "no TLS handshake within %llu ms",
				(unsigned long long)handshake);
			listener_refused(l, "handshake_timeout", c->peer, e.text);
			connection_close(c, &e);
		} else if (c->told && list_empty(&c->aside) &&
			   ((c->held.n && quiet >= stuck) ||
				   (l->o.idle_ms && quiet >= l->o.idle_ms))) {
			error_set(&e, ERR_TIMEOUT, "nothing came for %llu ms",
				(unsigned long long)quiet);
			connection_end(c, &e);
		}
	}
}

static void on_tick(void *arg)
{
	struct listener *l = arg;

	datagrams_tell_drops(l);
	check_unsent(l, &l->connections);
	check_unsent(l, &l->lingering);
	if (!l->paused)
		check_deadlines(l);
	if (l->full && !l->draining) {
		l->full = false;
		listener_watch(l, true);
	}
	if (l->starved) {
		l->starved = false;
		l->n_starved += l->n_starved < STARVED_TURNS;
		timer_set(&l->kick, 0, 0);
	}
}

/* Life. */

static void poll_freed(uv_handle_t *handle)
{
	free(handle);
}

void listener_stop_listening(struct listener *l)
{
	struct stat now;
	enum socket_kind kind;
	struct str path;

	if (l->fd < 0)
		return;
	datagrams_tell_drops(l);
	if (l->poll)
		uv_close((uv_handle_t *)l->poll, poll_freed);
	l->poll = NULL;
	l->watched = 0;
	close(l->fd);
	l->fd = -1;
	/* The file may be another's by now. */
	if (socket_kind_of(str_c(l->address), &kind, &path) && path.p[0] == '/' &&
		stat(path.p, &now) == 0 && now.st_ino == l->file.st_ino &&
		now.st_dev == l->file.st_dev)
		unlink(path.p);
}

static void forget_settings(struct listener *l)
{
	free(l->address);
	free(l->allow);
	for (size_t i = 0; i < 3; i++)
		free(l->tls_paths[i]);
	tls_server_unref(l->tls);
}

static void listener_free(struct listener *l)
{
	struct connection *c;

	while (!list_empty(&l->connections)) {
		c = CONTAINER(l->connections.next, struct connection, node);
		connection_close(c, NULL);
	}
	while (!list_empty(&l->lingering)) {
		c = CONTAINER(l->lingering.next, struct connection, node);
		connection_close(c, NULL);
	}
	listener_stop_listening(l);
	listener_unpark(l);
	timer_fini(&l->tick);
	timer_fini(&l->kick);
	account_release(l->o.account, l->charged);
	datagrams_free(l->datagrams);
	free(l->scratch);
	map_fini(&l->peers);
	forget_settings(l);
	free(l);
}

void listener_close(struct listener *l)
{
	if (l)
		listener_free(l);
}

/* Copy the settings into a listener that has none. */
static int take_settings(struct listener *l, const struct listener_options *o, struct error *e)
{
	const struct tls_settings *t = o->tls;
	struct str rest;

	l->o = *o;
	l->o.address = l->address = xstrdup(o->address);
	l->allow = xcalloc(o->n_allow + 1, sizeof *l->allow);
	if (o->n_allow)
		memcpy(l->allow, o->allow, o->n_allow * sizeof *l->allow);
	if (!socket_kind_of(str_c(o->address), &l->kind, &rest))
		return error_set(e, ERR_ARG,
			"%s: the address must begin with udp://, tcp://, tls://, unix:// or "
			"unix-dgram://",
			o->address);
	if (l->kind != SOCKET_TLS)
		return 0;
	if (!t)
		return error_set(e, ERR_ARG, "%s: tls.cert and tls.key are missing", o->address);
	l->tls_paths[0] = xstrdup(t->cert);
	l->tls_paths[1] = xstrdup(t->key);
	l->tls_paths[2] = xstrdup(t->client_ca);
	return tls_server_new(&l->tls, t, e);
}

static int open_new(struct listener *l, struct error *e)
{
	enum socket_kind kind;
	struct str path;
	int r;

	if ((r = socket_listen(&l->fd, l->o.address, l->o.mode ? l->o.mode : 0600, e)) < 0)
		return r;
	if (socket_kind_of(str_c(l->address), &kind, &path) && path.p[0] == '/')
		stat(path.p, &l->file);
	if (socket_is_datagram(l->kind)) {
		l->datagrams = datagrams_new(l->kind);
		l->charged = datagrams_bytes(l->datagrams);
	} else {
		l->scratch = xmalloc(LISTENER_HEAD + LISTENER_READ);
		l->charged = LISTENER_HEAD + LISTENER_READ;
	}
	if (l->o.account)
		account_force(l->o.account, l->charged);
	l->poll = xcalloc(1, sizeof *l->poll);
	l->poll->data = l;
	if ((r = uv_poll_init(loop_uv(l->loop), l->poll, l->fd)) < 0) {
		free(l->poll);
		l->poll = NULL;
		return error_errno(e, -r, "cannot listen on %s", l->address);
	}
	return 0;
}

static struct listener *listener_blank(struct loop *loop)
{
	struct listener *l = xcalloc(1, sizeof *l);

	l->loop = loop;
	l->fd = -1;
	list_init(&l->parked);
	list_init(&l->connections);
	list_init(&l->aside);
	list_init(&l->lingering);
	timer_init(&l->tick, loop, on_tick, l);
	timer_init(&l->kick, loop, on_kick, l);
	return l;
}

static void set_receive_buffer(struct listener *l)
{
	uint64_t got = socket_set_receive_buffer(l->fd, l->o.receive_buffer);

	if (got < l->o.receive_buffer)
		log_warn("net",
			"%s: the kernel gives a receive buffer of %llu bytes, not %llu: raise "
			"net.core.rmem_max, or give CAP_NET_ADMIN",
			l->address, (unsigned long long)got,
			(unsigned long long)l->o.receive_buffer);
}

int listener_open(struct listener **out, struct loop *loop, const struct listener_options *o,
	const struct listener_events *events, void *arg, struct error *e)
{
	struct listener *l = listener_blank(loop), *parked;
	int r;

	if ((r = take_settings(l, o, e)) < 0) {
		listener_free(l);
		return r;
	}
	if ((parked = listener_find_parked(loop, o->address))) {
		listener_exchange_settings(parked, l);
		listener_free(l);
		l = parked;
	} else if ((r = open_new(l, e)) < 0) {
		listener_free(l);
		return r;
	}
	l->events = *events;
	l->arg = arg;
	if (l->kind == SOCKET_UDP && o->receive_buffer)
		set_receive_buffer(l);
	if (l == parked)
		listener_adopt(l);
	timer_set(&l->tick, TICK_MS, TICK_MS);
	timer_set(&l->kick, 0, 0);
	*out = l;
	return 0;
}

void listener_pause(struct listener *l)
{
	l->paused = true;
	l->n_pauses++;
}

void listener_resume(struct listener *l)
{
	if (!l->paused)
		return;
	l->paused = false;
	timer_set(&l->kick, 0, 0);
}

unsigned listener_port(const struct listener *l)
{
	return l->fd >= 0 ? socket_port(l->fd) : 0;
}

size_t listener_connections(const struct listener *l)
{
	return l->n_connections;
}
