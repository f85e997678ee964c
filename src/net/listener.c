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
 * Datagrams are taken DATAGRAMS at a time (recvmmsg): 200,000 of syslog cost
 * 0.41 s of CPU down to the journal, one at a time 0.68.  When the owner
 * pauses among them the rest stays where it is.  Losses are told by the kernel's own
 * counter (SO_MEMINFO), which unlike SO_RXQ_OVFL also tells of those behind
 * the last datagram that came.
 *
 * Whatever frees or hands over many connections at once runs from the timer
 * `kick` and not within an event, so that no event sees the list change.
 */
#include "net/listener.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/list.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/map.h"
#include "net/socket.h"

enum {
	CONNECTIONS = 10000,
	PER_PEER = 1000,
	HANDSHAKE_MS = 10000,
	STUCK_MS = 30000,
	KEEP = 64 << 10,
	READ = 128 << 10,           /* bytes of one read */
	HEAD = 32 << 10,            /* held bytes that are copied before the new ones */
	HELD_CAP = 4096,            /* an empty buffer keeps no more memory */
	WIRE_MAX = 64 << 10,        /* bytes that a TLS peer does not fetch */
	DATAGRAMS = 16,             /* of one recvmmsg */
	DATAGRAM_MAX = 65536,       /* IP allows no more */
	UNIX_DATAGRAMS = 4,         /* the same for unix sockets, */
	UNIX_DATAGRAM_MAX = 262144, /* which by default allow 208 KiB */
	ACCEPTS = 64,               /* of one event */
	TICK_MS = 1000,
	STARVED_MS = 100,
	PARKED_MS = 30000,
	TLS_LOOK_MS = 1000, /* how often the files are looked at, at most */
	TLS_RETRY_MS = 10000,
	DRAIN_TURN = 64,       /* reads between two turns of the loop */
	DRAIN_BYTES = 8 << 20, /* of one connection: more than the kernel buffers by default */
};

struct connection {
	struct list node;  /* of listener.connections */
	struct list aside; /* of listener.aside */
	struct listener *listener;
	uv_poll_t poll;
	int fd;
	int watched; /* the events that are asked for */
	struct buf held;
	uint64_t charged;
	struct tls_session *tls;
	struct buf wire;
	void *state;
	uint64_t note;
	uint64_t opened_ms, last_ms;
	uint64_t drained; /* bytes since the drain began */
	bool told;        /* `opened` was called, `closed` is due */
	bool pending;     /* held bytes are to be given again after the resume */
	bool ended;       /* no more will come */
	bool refused;     /* by the owner, see listener.why */
	char ip[SOCKET_PEER_MAX], peer[SOCKET_PEER_MAX];
};

/* Where datagrams are read to; kept from one recvmmsg to the next. */
struct datagrams {
	struct mmsghdr headers[DATAGRAMS];
	struct iovec iov[DATAGRAMS];
	struct sockaddr_storage from[DATAGRAMS];
	unsigned at, n; /* those not handed over yet are [at, n) */
	unsigned most;  /* of one recvmmsg */
	/* The last peer in text: most datagrams come from few. */
	struct sockaddr_storage last;
	char peer[SOCKET_PEER_MAX];
	bool allowed;
	char *bytes;
};

struct listener {
	struct list parked; /* of `all_parked` */
	struct loop *loop;
	struct listener_options o; /* its pointers: only account is used */
	char *address;
	struct cidr *allow;
	char *tls_paths[3];
	enum socket_kind kind;
	struct listener_events events;
	void *arg;
	uv_poll_t *poll; /* heap: outlives us until closed */
	int fd, watched;
	struct stat file; /* of a unix socket */
	struct tls_server *tls;
	uint64_t tls_looked_ms;
	struct timer tick, kick;
	char *scratch;
	struct datagrams *datagrams;
	uint32_t drops; /* as the kernel told last */
	uint64_t charged;
	struct list connections, aside;
	size_t n_connections;
	struct map peers; /* address -> connections from it */
	struct error why; /* of the connection that is refused */
	unsigned n_pauses;
	uint64_t drain_bytes;
	bool paused, draining, drained, is_parked, starved, full;
};

static struct lock parked_lock = LOCK_INIT;
static struct list all_parked = {&all_parked, &all_parked};

static uint64_t now_ms(const struct listener *l)
{
	return uv_now(loop_uv(l->loop));
}

static void refused(struct listener *l, const char *reason, uint64_t n)
{
	if (l->events.refused)
		l->events.refused(l->arg, reason, n);
}

static void on_connection(uv_poll_t *poll, int status, int events);
static void on_listening(uv_poll_t *poll, int status, int events);

/* What is asked of a socket. */

static void connection_watch(struct connection *c, int events)
{
	if (c->watched == events)
		return;
	c->watched = events;
	if (events)
		uv_poll_start(&c->poll, events, on_connection);
	else
		uv_poll_stop(&c->poll);
}

static void listening_watch(struct listener *l, bool on)
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

static int events_of(const struct connection *c)
{
	return UV_READABLE | (c->wire.n ? UV_WRITABLE : 0);
}

/* Wait for the resume. */
static void set_aside(struct connection *c)
{
	connection_watch(c, 0);
	list_remove(&c->aside);
	list_append(&c->listener->aside, &c->aside);
}

/* Connections. */

static void count_peer(struct connection *c, int by)
{
	struct listener *l = c->listener;
	union map_value *v;

	if (!c->ip[0])
		return;
	v = map_put(&l->peers, str_c(c->ip), NULL);
	v->u = (uint64_t)((int64_t)v->u + by);
	if (v->u == 0)
		map_remove(&l->peers, str_c(c->ip));
}

static void connection_freed(uv_handle_t *handle)
{
	free(CONTAINER(handle, struct connection, poll));
}

/* Send what TLS wants sent, as far as it goes. */
static bool flush_wire(struct connection *c)
{
	while (c->wire.n) {
		ssize_t n = send(c->fd, c->wire.p, c->wire.n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return (errno == EAGAIN || errno == EWOULDBLOCK) && c->wire.n <= WIRE_MAX;
		buf_shift(&c->wire, (size_t)n);
	}
	buf_fini(&c->wire);
	return true;
}

static void connection_close(struct connection *c, const struct error *why)
{
	struct listener *l = c->listener;

	if (c->told && l->events.closed)
		l->events.closed(l->arg, c, c->state, why);
	if (c->tls && !why)
		tls_session_end(c->tls, &c->wire);
	flush_wire(c);
	list_remove(&c->node);
	list_remove(&c->aside);
	l->n_connections--;
	count_peer(c, -1);
	account_release(l->o.account, c->charged);
	buf_fini(&c->held);
	buf_fini(&c->wire);
	tls_session_free(c->tls);
	uv_close((uv_handle_t *)&c->poll, connection_freed);
	close(c->fd);
}

/* Charge what is held now; it is there already, and was reserved before the read. */
static void charge_held(struct connection *c)
{
	struct account *a = c->listener->o.account;

	if (!a)
		return;
	if (c->held.n > c->charged)
		account_force(a, c->held.n - c->charged);
	else
		account_release(a, c->charged - c->held.n);
	c->charged = c->held.n;
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
	charge_held(c);
}

/* Give bytes to the owner and keep what it does not use.  False when the connection is gone. */
static bool hand_over(struct connection *c, struct str bytes, bool end)
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
	paused = l->paused || l->n_pauses != pauses;
	c->ended |= end;
	c->pending = paused && c->held.n > 0;
	if (end && !c->pending) {
		connection_close(c, NULL);
		return false;
	}
	if (!paused && c->held.n > (l->o.keep ? l->o.keep : KEEP)) {
		error_set(&e, ERR_LIMIT, "a message is longer than %zu bytes",
			l->o.keep ? l->o.keep : (size_t)KEEP);
		refused(l, "limit", 1);
		connection_close(c, &e);
		return false;
	}
	if (c->pending)
		set_aside(c);
	return true;
}

/* The peer will send no more, for this reason (NULL: orderly). */
static void end_connection(struct connection *c, const struct error *why)
{
	struct error copy;

	if (!c->told) {
		connection_close(c, why);
		return;
	}
	if (!why) {
		hand_over(c, buf_view(&c->held), true);
		return;
	}
	copy = *why;
	if (c->held.n && !c->ended) {
		size_t used = c->listener->events.bytes(
			c->listener->arg, c, c->state, buf_view(&c->held), true);
		keep_rest(c, buf_view(&c->held), used);
		/* Paused among whole messages: they come before the end. */
		if (c->listener->paused && c->held.n && !c->refused) {
			c->ended = c->pending = true;
			set_aside(c);
			return;
		}
	}
	connection_close(c, &copy);
}

static bool open_told(struct connection *c)
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

/* Reading. */

enum read_result {
	READ_SOME,
	READ_NONE, /* nothing is there */
	READ_WAIT, /* not now: paused, or no memory */
	READ_GONE, /* the connection is closed */
};

static enum read_result read_failed(struct connection *c, int number)
{
	struct error e;

	if (number == EAGAIN || number == EWOULDBLOCK || number == EINTR)
		return READ_NONE;
	error_errno(&e, number, "the connection broke");
	end_connection(c, &e);
	return READ_GONE;
}

static enum read_result read_tls(struct connection *c, size_t n)
{
	struct listener *l = c->listener;
	size_t before = c->held.n;
	struct error e;
	int r;

	r = tls_session_feed(c->tls, str_make(l->scratch, n), &c->held, &c->wire, &e);
	charge_held(c);
	if (r == 0 && !c->told && tls_session_ready(c->tls) && !open_told(c))
		return READ_GONE;
	if (r < 0 && r != ERR_CLOSED) {
		if (!tls_session_ready(c->tls))
			refused(l, r == ERR_DENIED ? "client_certificate" : "tls", 1);
		end_connection(c, &e);
		return READ_GONE;
	}
	if (!flush_wire(c)) {
		error_set(&e, ERR_NET, "the client does not read what TLS answers");
		end_connection(c, &e);
		return READ_GONE;
	}
	if (r == ERR_CLOSED) {
		end_connection(c, NULL);
		return READ_GONE;
	}
	if (c->held.n > before && !hand_over(c, buf_view(&c->held), false))
		return READ_GONE;
	return READ_SOME;
}

static enum read_result read_plain(struct connection *c)
{
	struct listener *l = c->listener;
	bool apart = c->held.n > HEAD;
	size_t held = c->held.n;
	char *to = apart ? buf_reserve(&c->held, READ) : l->scratch + HEAD;
	ssize_t n = recv(c->fd, to, READ, MSG_DONTWAIT);
	struct str all;

	if (n < 0)
		return read_failed(c, errno);
	if (n == 0) {
		end_connection(c, NULL);
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
	return hand_over(c, all, false) ? READ_SOME : READ_GONE;
}

static enum read_result read_connection(struct connection *c)
{
	struct listener *l = c->listener;
	enum read_result r;
	ssize_t n;

	if (l->paused) {
		set_aside(c);
		return READ_WAIT;
	}
	/* What is read may have to be held: there is room, or it stays in the kernel. */
	if (l->o.account && account_charge(l->o.account, READ) < 0) {
		set_aside(c);
		if (!l->starved)
			timer_set(&l->tick, STARVED_MS, TICK_MS);
		l->starved = true;
		return READ_WAIT;
	}
	c->last_ms = now_ms(l);
	if (!c->tls) {
		r = read_plain(c);
	} else if ((n = recv(c->fd, l->scratch, READ / 2, MSG_DONTWAIT)) > 0) {
		c->drained += (size_t)n;
		r = read_tls(c, (size_t)n);
	} else if (n < 0) {
		r = read_failed(c, errno);
	} else {
		/* Without close_notify: many senders just go. */
		end_connection(c, NULL);
		r = READ_GONE;
	}
	account_release(l->o.account, l->o.account ? READ : 0);
	return r;
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
	struct connection *c = CONTAINER(poll, struct connection, poll);
	struct error e;

	if (status < 0)
		c->watched = 0; /* libuv has stopped */
	if ((events & UV_WRITABLE) && !flush_wire(c)) {
		error_set(&e, ERR_NET, "the connection broke");
		end_connection(c, &e);
		return;
	}
	/* An error of the socket (status < 0) comes out of the read. */
	if (!(events & UV_READABLE) && status >= 0) {
		connection_watch(c, events_of(c));
		return;
	}
	switch (read_connection(c)) {
	case READ_SOME:
	case READ_NONE:
		if (!c->pending)
			connection_watch(c, events_of(c));
		break;
	case READ_WAIT:
	case READ_GONE: break;
	}
}

/* Accepting. */

static void look_at_tls_files(struct listener *l)
{
	const struct tls_settings s = {l->tls_paths[0], l->tls_paths[1], l->tls_paths[2]};
	struct tls_server *fresh;
	struct error e;

	if (now_ms(l) < l->tls_looked_ms)
		return;
	l->tls_looked_ms = now_ms(l) + TLS_LOOK_MS;
	if (!tls_server_stale(l->tls))
		return;
	if (tls_server_new(&fresh, &s, &e) < 0) {
		log_warn("net", "%s: the certificate in use stays: %s", l->address, e.text);
		l->tls_looked_ms = now_ms(l) + TLS_RETRY_MS;
		return;
	}
	tls_server_unref(l->tls);
	l->tls = fresh;
	log_info("net", "%s: the certificate was read again", l->address);
}

/* A word when one more from there is too much; NULL when it is welcome. */
static const char *unwelcome(
	struct listener *l, const struct connection *c, const struct sockaddr_storage *from)
{
	unsigned most = l->o.max_connections ? l->o.max_connections : CONNECTIONS;
	unsigned most_peer = l->o.max_per_peer ? l->o.max_per_peer : PER_PEER;
	union map_value *v = c->ip[0] ? map_get(&l->peers, str_c(c->ip)) : NULL;

	if (l->kind != SOCKET_UNIX && l->o.n_allow &&
		!cidr_has(l->allow, l->o.n_allow, (const struct sockaddr *)from))
		return "not_allowed";
	if (l->n_connections >= most)
		return "connections";
	return v && v->u >= most_peer ? "connections_of_peer" : NULL;
}

static void connection_new(struct listener *l, int fd, const struct sockaddr_storage *from)
{
	struct connection *c = xcalloc(1, sizeof *c);
	const char *reason;
	char *colon;

	c->listener = l;
	c->fd = fd;
	list_init(&c->node);
	list_init(&c->aside);
	socket_peer_text((const struct sockaddr *)from, c->peer);
	str_copy(str_c(c->peer), c->ip, sizeof c->ip);
	if ((colon = strrchr(c->ip, ':')))
		*colon = 0;
	if (!(reason = unwelcome(l, c, from)) && uv_poll_init(loop_uv(l->loop), &c->poll, fd) < 0)
		reason = "files";
	if (reason) {
		refused(l, reason, 1);
		close(fd);
		free(c);
		return;
	}
	list_append(&l->connections, &c->node);
	l->n_connections++;
	count_peer(c, 1);
	c->opened_ms = c->last_ms = now_ms(l);
	if (l->kind != SOCKET_UNIX)
		socket_keep_alive(fd);
	if (l->kind == SOCKET_TLS) {
		look_at_tls_files(l);
		c->tls = tls_session_new(l->tls);
	} else if (!open_told(c)) {
		return;
	}
	connection_watch(c, events_of(c));
}

/* Accept up to `most`; false when nobody waits. */
static bool accept_some(struct listener *l, unsigned most)
{
	for (unsigned i = 0; i < most; i++) {
		struct sockaddr_storage from = {0};
		socklen_t n = sizeof from;
		int fd = accept4(l->fd, (struct sockaddr *)&from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			connection_new(l, fd, &from);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		/* No descriptors or memory: those who wait would wake us for ever. */
		if (errno != EAGAIN && errno != EWOULDBLOCK) {
			listening_watch(l, false);
			l->full = true;
		}
		return false;
	}
	return true;
}

/* Datagrams. */

static void tell_drops(struct listener *l)
{
	uint32_t now, n;

	if (!l->datagrams || l->fd < 0)
		return;
	now = socket_drops(l->fd);
	n = now - l->drops; /* it wraps */
	l->drops = now;
	if (n && l->events.lost)
		l->events.lost(l->arg, n);
}

static void hand_datagram(struct listener *l, const struct mmsghdr *m, size_t i)
{
	struct datagrams *d = l->datagrams;
	const struct sockaddr *from = (const struct sockaddr *)&d->from[i];
	socklen_t n = m->msg_hdr.msg_namelen;

	if (n > sizeof d->last)
		n = sizeof d->last;
	if (l->kind == SOCKET_UDP && memcmp(&d->last, from, n) != 0) {
		memcpy(&d->last, from, n);
		socket_peer_text(from, d->peer);
		d->allowed = l->o.n_allow == 0 || cidr_has(l->allow, l->o.n_allow, from);
	}
	if (l->kind == SOCKET_UDP && !d->allowed)
		refused(l, "not_allowed", 1);
	else
		l->events.datagram(l->arg, str_make(d->iov[i].iov_base, m->msg_len), d->peer);
}

/* Hand over what recvmmsg gave, as far as the owner wants it. */
static void hand_datagrams(struct listener *l)
{
	struct datagrams *d = l->datagrams;

	while (d->at < d->n && !l->paused) {
		d->at++;
		hand_datagram(l, &d->headers[d->at - 1], d->at - 1);
	}
}

static enum read_result read_datagrams(struct listener *l)
{
	struct datagrams *d = l->datagrams;
	int n;

	hand_datagrams(l);
	if (l->paused) {
		listening_watch(l, false);
		return READ_WAIT;
	}
	for (size_t i = 0; i < d->most; i++)
		d->headers[i].msg_hdr.msg_namelen = sizeof d->from[i];
	n = recvmmsg(l->fd, d->headers, d->most, MSG_DONTWAIT, NULL);
	tell_drops(l);
	if (n <= 0)
		return READ_NONE;
	d->at = 0;
	d->n = (unsigned)n;
	for (size_t i = 0; i < d->n; i++)
		l->drain_bytes += d->headers[i].msg_len;
	hand_datagrams(l);
	return READ_SOME;
}

static void on_listening(uv_poll_t *poll, int status, int events)
{
	struct listener *l = poll->data;

	(void)events;
	if (status < 0) {
		l->watched = 0; /* libuv has stopped */
		listening_watch(l, true);
	}
	if (l->datagrams)
		read_datagrams(l);
	else
		accept_some(l, ACCEPTS);
}

static struct datagrams *datagrams_new(enum socket_kind kind)
{
	struct datagrams *d = xcalloc(1, sizeof *d);
	size_t size = kind == SOCKET_UDP ? DATAGRAM_MAX : UNIX_DATAGRAM_MAX;

	d->most = kind == SOCKET_UDP ? DATAGRAMS : UNIX_DATAGRAMS;
	d->bytes = xmalloc(d->most * size);
	d->allowed = true;
	for (size_t i = 0; i < d->most; i++) {
		d->iov[i] = (struct iovec){.iov_base = d->bytes + i * size, .iov_len = size};
		d->headers[i].msg_hdr = (struct msghdr){
			.msg_name = &d->from[i], .msg_iov = &d->iov[i], .msg_iovlen = 1};
	}
	return d;
}

/* Draining. */

/* Read a connection to what was there; true when it is done with. */
static bool drain_connection(struct connection *c)
{
	if (!c->told) {
		connection_close(c, NULL);
		return true;
	}
	if (!c->ended && c->drained < DRAIN_BYTES) {
		switch (read_connection(c)) {
		case READ_SOME:
		case READ_WAIT: return false;
		case READ_GONE: return true;
		case READ_NONE: break;
		}
	}
	return !hand_over(c, buf_view(&c->held), true);
}

static void stop_listening(struct listener *l);

static void drain_some(struct listener *l)
{
	size_t most = l->o.receive_buffer > DRAIN_BYTES ? l->o.receive_buffer : DRAIN_BYTES;

	for (unsigned i = 0; i < DRAIN_TURN && !l->paused && !l->starved; i++) {
		if (l->datagrams && l->fd >= 0) {
			hand_datagrams(l);
			if (l->paused)
				break;
			if (l->drain_bytes > most || read_datagrams(l) == READ_NONE)
				stop_listening(l);
		} else if (!list_empty(&l->connections)) {
			drain_connection(CONTAINER(l->connections.next, struct connection, node));
		} else {
			break;
		}
	}
	if (l->fd >= 0 || !list_empty(&l->connections)) {
		if (!l->paused && !l->starved)
			timer_set(&l->kick, 0, 0);
	} else if (!l->drained) {
		l->drained = true;
		if (l->events.drained)
			l->events.drained(l->arg);
	}
}

/* Those that were set aside go on: first with what they hold. */
static void resume_aside(struct listener *l)
{
	struct list todo;

	if (list_empty(&l->aside))
		return;
	todo = l->aside;
	todo.prev->next = todo.next->prev = &todo;
	list_init(&l->aside);
	while (!list_empty(&todo)) {
		struct connection *c = CONTAINER(todo.next, struct connection, aside);

		list_remove(&c->aside);
		if (l->paused) {
			set_aside(c);
			continue;
		}
		c->last_ms = now_ms(l);
		if (c->pending && !hand_over(c, buf_view(&c->held), c->ended))
			continue;
		if (!c->pending && !l->draining)
			connection_watch(c, events_of(c));
	}
}

static void on_kick(void *arg)
{
	struct listener *l = arg;

	if (l->is_parked)
		return;
	if (l->draining) {
		drain_some(l);
		return;
	}
	if (l->paused)
		return;
	resume_aside(l);
	if (l->datagrams)
		hand_datagrams(l);
	if (!l->paused)
		listening_watch(l, true);
}

/* Time. */

static void check_deadlines(struct listener *l)
{
	uint64_t now = now_ms(l), handshake = l->o.handshake_ms ? l->o.handshake_ms : HANDSHAKE_MS,
		 stuck = l->o.stuck_ms ? l->o.stuck_ms : STUCK_MS;
	struct error e;

	LIST_EACH (at, &l->connections) {
		struct connection *c = CONTAINER(at, struct connection, node);
		uint64_t quiet = now - c->last_ms;

		if (!c->told && now - c->opened_ms >= handshake) {
			error_set(&e, ERR_TIMEOUT, "no TLS handshake within %llu ms",
				(unsigned long long)handshake);
			refused(l, "handshake_timeout", 1);
			connection_close(c, &e);
		} else if (c->told && list_empty(&c->aside) &&
			   ((c->held.n && quiet >= stuck) ||
				   (l->o.idle_ms && quiet >= l->o.idle_ms))) {
			error_set(&e, ERR_TIMEOUT, "nothing came for %llu ms",
				(unsigned long long)quiet);
			end_connection(c, &e);
		}
	}
}

static void on_tick(void *arg)
{
	struct listener *l = arg;

	if (l->is_parked) {
		log_info("net", "%s: nobody listens there any more: closed", l->address);
		listener_close(l);
		return;
	}
	tell_drops(l);
	if (!l->paused)
		check_deadlines(l);
	if (l->full && !l->draining) {
		l->full = false;
		listening_watch(l, true);
	}
	if (l->starved) {
		l->starved = false;
		timer_set(&l->kick, 0, 0);
	}
}

/* Life. */

static void poll_freed(uv_handle_t *handle)
{
	free(handle);
}

static void stop_listening(struct listener *l)
{
	struct stat now;
	enum socket_kind kind;
	struct str path;

	if (l->fd < 0)
		return;
	tell_drops(l);
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
	stop_listening(l);
	lock_take(&parked_lock);
	list_remove(&l->parked);
	lock_drop(&parked_lock);
	timer_fini(&l->tick);
	timer_fini(&l->kick);
	account_release(l->o.account, l->charged);
	if (l->datagrams)
		free(l->datagrams->bytes);
	free(l->datagrams);
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

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct listener *find_parked(struct loop *loop, const char *address)
{
	struct listener *found = NULL;

	lock_take(&parked_lock);
	LIST_EACH (at, &all_parked) {
		struct listener *l = CONTAINER(at, struct listener, parked);
		if (!found && l->loop == loop && strcmp(l->address, address) == 0)
			found = l;
	}
	if (found)
		list_remove(&found->parked);
	lock_drop(&parked_lock);
	return found;
}

/* Move the settings of `from` into the parked l; `from` gets the old ones. */
static void exchange_settings(struct listener *l, struct listener *from)
{
	struct listener old = *l;

	if (!same_text(l->tls_paths[2], from->tls_paths[2])) {
		while (!list_empty(&l->connections))
			connection_close(
				CONTAINER(l->connections.next, struct connection, node), NULL);
	}
	account_release(old.o.account, old.charged);
	LIST_EACH (at, &l->connections) {
		struct connection *c = CONTAINER(at, struct connection, node);
		account_release(old.o.account, c->charged);
		c->charged = 0;
	}
	l->o = from->o;
	l->address = from->address;
	l->allow = from->allow;
	l->tls = from->tls;
	memcpy(l->tls_paths, from->tls_paths, sizeof l->tls_paths);
	from->address = old.address;
	from->allow = old.allow;
	from->tls = old.tls;
	memcpy(from->tls_paths, old.tls_paths, sizeof from->tls_paths);
	if (l->o.account)
		account_force(l->o.account, l->charged);
	LIST_EACH (at, &l->connections)
		charge_held(CONTAINER(at, struct connection, node));
	if (l->datagrams) /* what was allowed may not be now */
		memset(&l->datagrams->last, 0, sizeof l->datagrams->last);
}

/* Go on with a parked one: its connections are opened anew, and what they hold is given again. */
static void adopt(struct listener *l)
{
	l->is_parked = l->paused = l->starved = l->full = false;
	LIST_EACH (at, &l->connections) {
		struct connection *c = CONTAINER(at, struct connection, node);

		c->last_ms = now_ms(l);
		if (c->tls && !tls_session_ready(c->tls)) {
			list_remove(&c->aside);
			connection_watch(c, events_of(c));
			continue;
		}
		if (!open_told(c))
			continue;
		c->pending = c->held.n > 0 || c->ended;
		set_aside(c);
	}
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
		l->charged = (uint64_t)l->datagrams->most * l->datagrams->iov[0].iov_len;
	} else {
		l->scratch = xmalloc(HEAD + READ);
		l->charged = HEAD + READ;
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
	if ((parked = find_parked(loop, o->address))) {
		exchange_settings(parked, l);
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
		adopt(l);
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

void listener_drain(struct listener *l)
{
	if (l->draining)
		return;
	l->draining = true;
	if (!l->datagrams) {
		/* Who is in the queue has sent already, as far as he knows. */
		while (accept_some(l, ACCEPTS) && l->n_connections < CONNECTIONS)
			;
		stop_listening(l);
	} else {
		listening_watch(l, false);
	}
	LIST_EACH (at, &l->connections) {
		struct connection *c = CONTAINER(at, struct connection, node);
		c->drained = 0;
		connection_watch(c, 0);
	}
	timer_set(&l->kick, 0, 0);
}

void listener_park(struct listener *l)
{
	assert(!l->draining && !l->is_parked);
	tell_drops(l);
	l->is_parked = true;
	listening_watch(l, false);
	LIST_EACH (at, &l->connections) {
		struct connection *c = CONTAINER(at, struct connection, node);

		connection_watch(c, 0);
		if (c->told && l->events.closed)
			l->events.closed(l->arg, c, c->state, NULL);
		c->told = false;
		c->state = NULL;
	}
	l->events = (struct listener_events){0};
	l->arg = NULL;
	lock_take(&parked_lock);
	list_append(&all_parked, &l->parked);
	lock_drop(&parked_lock);
	timer_set(&l->tick, PARKED_MS, 0);
}

unsigned listener_port(const struct listener *l)
{
	return l->fd >= 0 ? socket_port(l->fd) : 0;
}

size_t listener_connections(const struct listener *l)
{
	return l->n_connections;
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

uint64_t *connection_note(struct connection *c)
{
	return &c->note;
}
