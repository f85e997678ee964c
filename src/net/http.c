/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server: one libmicrohttpd daemon for each listen address, each with its
 * pool of epoll threads, and one loop for the WebSockets and the tick.
 *
 * TLS is libmicrohttpd's, but certificates and rules are ours: each session is
 * given those of the moment when its connection comes, which is what lets them
 * be exchanged while the server runs.
 */
#include "net/http.h"

#include <assert.h>
#include <gnutls/abstract.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/metric.h"
#include "net/listen.h"
#include "net/request.h"
#include "net/socket.h"
#include "os/clock.h"

enum {
	MAX_CONNECTIONS = 10000,
	MAX_CONNECTIONS_PER_IP = 1000,
	KEPT_FILES = 256, /* descriptors left to the rest of the process */
	IDLE_S = 120,
	SHAKE_MS = 10000, /* from the accept to the head of the first request, over TLS */
	/* Held by each open connection; half of it is the size of one read.  With 64 or 128 KiB
	 * bodies of 150 kB to 4 MiB came in no faster (1-3 GB/s over loopback, all within the
	 * noise).  It also bounds the header. */
	CONNECTION_MEMORY = 32 << 10,
	TICK_MS = 1000,
	PING_MS = 15000,
	DEAD_MS = 45000,
};

/* Connections over TLS */

static int64_t now_ms(void)
{
	return clock_mono_ns(clock_real()) / NS_PER_MS;
}

/* GnuTLS calls it for the end of either side's handshake; the client's counts. */
static int on_shaken(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
	const gnutls_datum_t *message)
{
	struct tls_connection *c = gnutls_session_get_ptr(session);

	(void)type;
	(void)when;
	(void)message;
	c->shaken |= incoming != 0;
	return 0;
}

static void *connection_opened(struct http_server *s, struct MHD_Connection *connection)
{
	gnutls_session_t session =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION)
			->tls_session;
	struct tls_connection *c = xcalloc(1, sizeof *c);

	c->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	c->since_ms = now_ms();
	c->waiting = true;
	list_init(&c->node);
	lock_take(&s->lock);
	c->tls = tls_server_ref(s->tls);
	list_append(&s->shaking, &c->node);
	lock_drop(&s->lock);
	tls_server_attach(c->tls, session);
	/* libmicrohttpd's own pointer there is for PSK, which we do not use. */
	gnutls_session_set_ptr(session, c);
	gnutls_handshake_set_hook_function(
		session, GNUTLS_HANDSHAKE_FINISHED, GNUTLS_HOOK_POST, on_shaken);
	return c;
}

/* Count a handshake that failed.  Who connects and says nothing (a probe of the port) is none: the
 * end of the connection alone is one byte for the kernel. */
static void count_unshaken(const struct tls_connection *c)
{
	if (c->late)
		metric_add(METRIC_refused_connections_total,
			"input=\"http\",reason=\"handshake_timeout\"", 1);
	else if (socket_received(c->fd) > 1)
		metric_add(METRIC_refused_connections_total, "input=\"http\",reason=\"tls\"", 1);
}

static void connection_closed(struct http_server *s, struct tls_connection *c)
{
	lock_take(&s->lock);
	list_remove(&c->node);
	lock_drop(&s->lock);
	if (!c->shaken)
		count_unshaken(c);
	tls_server_unref(c->tls);
	free(c);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
	enum MHD_ConnectionNotificationCode what)
{
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		*context = connection_opened(arg, connection);
	else if (*context)
		connection_closed(arg, *context);
}

void server_connection_spoke(struct http_request *r)
{
	struct tls_connection *c;

	if (!r->server->o.tls)
		return;
	c = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
		    ->socket_context;
	if (!c->waiting)
		return;
	c->waiting = false;
	lock_take(&r->server->lock);
	list_remove(&c->node);
	lock_drop(&r->server->lock);
}

/* Cut those that do not come to the point; libmicrohttpd would wait as long as they send a byte
 * now and then. */
static void end_late_handshakes(struct http_server *s)
{
	int64_t late = now_ms() - SHAKE_MS;

	lock_take(&s->lock);
	LIST_EACH (at, &s->shaking) {
		struct tls_connection *c = CONTAINER(at, struct tls_connection, node);
		if (c->since_ms > late)
			break;
		/* It stays in the list until libmicrohttpd closes it. */
		c->late = true;
		shutdown(c->fd, SHUT_RDWR);
	}
	lock_drop(&s->lock);
}

void http_server_set_tls(struct http_server *s, struct tls_server *tls)
{
	struct tls_server *old;

	assert(s->o.tls);
	tls_server_ref(tls);
	lock_take(&s->lock);
	old = s->tls;
	s->tls = tls;
	lock_drop(&s->lock);
	tls_server_unref(old);
}

/* libmicrohttpd wants to know of a certificate; that of connection_opened is used. */
static int no_certificate(gnutls_session_t session, const gnutls_datum_t *names, int n_names,
	const gnutls_pk_algorithm_t *kinds, int n_kinds, gnutls_pcert_st **list, unsigned *n_list,
	gnutls_privkey_t *key)
{
	return -1;
}

/* Tick */

struct watched {
	struct http_request **requests;
	struct pollfd *polls;
	size_t n, cap;
};

static void watch_list(struct watched *w, struct list *l, int state)
{
	LIST_EACH (at, l) {
		struct http_request *r = CONTAINER(at, struct http_request, in_flight);
		if (r->state != state || r->gone || r->fd < 0)
			continue;
		if (w->n == w->cap) {
			w->cap = w->cap ? w->cap * 2 : 16;
			w->requests = xrealloc(w->requests, w->cap * sizeof *w->requests);
			w->polls = xrealloc(w->polls, w->cap * sizeof *w->polls);
		}
		w->requests[w->n] = r;
		w->polls[w->n++] = (struct pollfd){.fd = r->fd, .events = POLLRDHUP};
	}
}

/* libmicrohttpd does not watch a suspended connection, and overlooks an end of stream that comes
 * together with a piece of the body: after a short read it waits for the next edge of epoll, and
 * there is none.  So we ask the sockets.  Shutting down the side that is shut already makes an
 * edge, and what is still unread stays readable.  The descriptor is open while the request is in
 * a list: receive_completed comes before the close. */
static void find_gone(struct http_server *s)
{
	struct watched w = {0};

	lock_take(&s->lock);
	watch_list(&w, &s->in_flight, REQUEST_SUSPENDED);
	watch_list(&w, &s->receiving, REQUEST_RECEIVING);
	if (w.n && poll(w.polls, w.n, 0) > 0) {
		for (size_t i = 0; i < w.n; i++) {
			if (!(w.polls[i].revents & (POLLRDHUP | POLLHUP | POLLERR)))
				continue;
			if (w.requests[i]->state == REQUEST_RECEIVING)
				shutdown(w.polls[i].fd, SHUT_RD);
			else
				w.requests[i]->gone = true;
		}
	}
	lock_drop(&s->lock);
	free(w.requests);
	free(w.polls);
}

static void on_tick(void *arg)
{
	struct http_server *s = arg;

	find_gone(s);
	end_late_handshakes(s);
	ws_hub_tick(s->hub);
}

/* Start and stop */

static unsigned connection_limit(size_t n_daemons)
{
	struct rlimit files;
	rlim_t most = MAX_CONNECTIONS;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY) {
		rlim_t kept = files.rlim_cur / 2 < KEPT_FILES ? files.rlim_cur / 2 : KEPT_FILES;
		if (files.rlim_cur - kept < most)
			most = files.rlim_cur - kept;
	}
	return (unsigned)(most / n_daemons);
}

static struct MHD_Daemon *start_daemon(struct http_server *s, int fd)
{
	unsigned flags =
		MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE;
	unsigned pool = s->o.n_threads > 1 ? s->o.n_threads : 0;
	/* An array ends where its option is END: that is at once without TLS. */
	struct MHD_OptionItem tls[] = {
		{s->o.tls ? MHD_OPTION_HTTPS_CERT_CALLBACK : MHD_OPTION_END, 0,
			(void *)no_certificate},
		{MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, s},
		{MHD_OPTION_END, 0, NULL},
	};
	sigset_t all, old;
	struct MHD_Daemon *d;

	if (s->o.tls)
		flags |= MHD_USE_TLS;
	/* Its threads inherit the mask: signals go to the main thread alone, but for what each is
	 * asked by. */
	sigfillset(&all);
	sigdelset(&all, THREAD_STACK_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	d = MHD_start_daemon(flags, 0, NULL, NULL, receive_request, s, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_NOTIFY_COMPLETED, receive_completed, s, MHD_OPTION_URI_LOG_CALLBACK,
		receive_target, s, MHD_OPTION_UNESCAPE_CALLBACK, receive_escaped, s,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
		MHD_OPTION_CONNECTION_LIMIT, connection_limit(s->n_daemons),
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS_PER_IP,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_THREAD_POOL_SIZE, pool,
		MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return d;
}

static int start_daemons(struct http_server *s, struct error *e)
{
	int r;

	/* All addresses first: nothing is answered when one of them is taken. */
	for (size_t i = 0; i < s->n_daemons; i++)
		if ((r = listen_open(&s->sockets[i], &s->ports[i], s->o.listen[i], e)) < 0)
			return r;
	for (size_t i = 0; i < s->n_daemons; i++) {
		s->daemons[i] = start_daemon(s, s->sockets[i]);
		/* libmicrohttpd closes it: when it stops, and mostly when it fails. */
		s->sockets[i] = -1;
		if (!s->daemons[i])
			return error_set(e, ERR_IO,
				"http: cannot serve on %s: no threads or files left",
				s->o.listen[i]);
	}
	return 0;
}

int http_server_start(struct http_server **out, const struct http_options *o, struct error *e)
{
	struct http_server *s = xcalloc(1, sizeof *s);
	int r;

	assert(o->routes && o->listen && o->listen[0]);
	s->o = *o;
	s->tls = o->tls ? tls_server_ref(o->tls) : NULL;
	s->refs = 1;
	while (o->listen[s->n_daemons])
		s->n_daemons++;
	s->daemons = xcalloc(s->n_daemons, sizeof(struct MHD_Daemon *));
	s->ports = xcalloc(s->n_daemons, sizeof *s->ports);
	s->sockets = xcalloc(s->n_daemons, sizeof *s->sockets);
	for (size_t i = 0; i < s->n_daemons; i++)
		s->sockets[i] = -1;
	lock_init(&s->lock);
	cond_init(&s->changed);
	list_init(&s->receiving);
	list_init(&s->in_flight);
	list_init(&s->shaking);
	s->router = router_new(o->routes);
	s->loop = loop_new("ws");
	s->hub = ws_hub_new(s->loop, o->ws_account ? o->ws_account : o->account, PING_MS, DEAD_MS);
	timer_init(&s->tick, s->loop, on_tick, s);
	timer_set(&s->tick, TICK_MS, TICK_MS);
	loop_start(s->loop);
	if ((r = start_daemons(s, e)) < 0) {
		http_server_stop(s, 0);
		return r;
	}
	*out = s;
	return 0;
}

void server_unref(struct http_server *s)
{
	if (atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	lock_fini(&s->lock);
	cond_fini(&s->changed);
	tls_server_unref(s->tls);
	free(s->ports);
	free(s->sockets);
	free(s->daemons);
	free(s);
}

/* New requests get 503 from now on.  The sockets stay open until the end: MHD_quiesce_daemon would
 * close them, but races with the daemon's own threads and then aborts the process (0.9.75: both
 * take the socket out of the epoll set), and shutdown(2) on a listening socket makes them spin. */
static void refuse_new(struct http_server *s)
{
	lock_take(&s->lock);
	s->stopping = true;
	lock_drop(&s->lock);
}

/* Take the requests away from handlers that did not answer in time. */
static void orphan_all(struct http_server *s) REQUIRES(s->lock)
{
	LIST_EACH (at, &s->in_flight) {
		struct http_request *r = CONTAINER(at, struct http_request, in_flight);
		int suspended = REQUEST_SUSPENDED;
		if (!atomic_compare_exchange_strong(&r->state, &suspended, REQUEST_ORPHAN))
			continue;
		/* The handler may be late by any time: the account need not wait for it. */
		account_release(s->o.account, atomic_exchange(&r->charged, 0));
		r->gone = true;
		MHD_resume_connection(r->connection);
	}
}

static void drain(struct http_server *s, unsigned ms)
{
	int64_t until = now_ms() + ms, left;

	lock_take(&s->lock);
	while (!list_empty(&s->in_flight) && (left = until - now_ms()) > 0)
		cond_wait_for(&s->changed, &s->lock, left * 1000000);
	/* A handler that runs just now may still keep its request: hence again and again. */
	while (s->n_busy) {
		orphan_all(s);
		cond_wait_for(&s->changed, &s->lock, 10 * 1000000);
	}
	lock_drop(&s->lock);
}

static void stop_tick(void *arg)
{
	struct http_server *s = arg;

	timer_fini(&s->tick);
}

void http_server_stop(struct http_server *s, unsigned ms)
{
	int64_t until = now_ms() + ms, left;

	if (!s)
		return;
	refuse_new(s);
	ws_hub_stop(s->hub);
	drain(s, ms);
	left = until - now_ms();
	ws_hub_wait(s->hub, left > 0 ? (unsigned)left : 0);
	for (size_t i = 0; i < s->n_daemons; i++) {
		if (s->daemons[i])
			MHD_stop_daemon(s->daemons[i]);
		if (s->sockets[i] >= 0)
			close(s->sockets[i]);
	}
	loop_post(s->loop, stop_tick, s);
	loop_stop(s->loop);
	loop_free(s->loop);
	ws_hub_free(s->hub);
	router_free(s->router);
	server_unref(s);
}

static unsigned open_connections(const struct http_server *s)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->n_daemons; i++) {
		const union MHD_DaemonInfo *info =
			MHD_get_daemon_info(s->daemons[i], MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
		n += info ? info->num_connections : 0;
	}
	return n;
}

void http_server_dump(struct http_server *s, struct buf *out)
{
	unsigned n;

	if (!s)
		return;
	n = open_connections(s);
	lock_take(&s->lock);
	buf_printf(out, "http: %u connections, %zu requests are being answered\n", n, s->n_busy);
	LIST_EACH (node, &s->in_flight) {
		const struct http_request *r = CONTAINER(node, struct http_request, in_flight);
		buf_printf(out, "  %s %s from %s%s\n", r->method, r->match.route->path, r->peer,
			r->gone ? ", gone" : "");
	}
	LIST_EACH (node, &s->receiving) {
		const struct http_request *r = CONTAINER(node, struct http_request, in_flight);
		buf_printf(out, "  %s %s from %s: its body is coming\n", r->method,
			r->match.route->path, r->peer);
	}
	lock_drop(&s->lock);
}

unsigned http_server_port(const struct http_server *s, size_t n)
{
	assert(n < s->n_daemons);
	return s->ports[n];
}
