/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets in: limits, networks, and the certificate that is shown to them. */
#include "net/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

enum {
	PER_PEER = 1000,
	TLS_LOOK_MS = 1000, /* how often the files are looked at, at most */
	TLS_RETRY_MS = 10000,
};

void connection_count_peer(struct connection *c, int by)
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

static void look_at_tls_files(struct listener *l)
{
	const struct tls_settings s = {l->tls_paths[0], l->tls_paths[1], l->tls_paths[2]};
	struct tls_server *fresh;
	struct error e;

	if (listener_now_ms(l) < l->tls_looked_ms)
		return;
	l->tls_looked_ms = listener_now_ms(l) + TLS_LOOK_MS;
	if (!tls_server_stale(l->tls))
		return;
	if (tls_server_new(&fresh, &s, &e) < 0) {
		log_warn("net", "%s: the certificate in use stays: %s", l->address, e.text);
		l->tls_looked_ms = listener_now_ms(l) + TLS_RETRY_MS;
		return;
	}
	tls_server_unref(l->tls);
	l->tls = fresh;
	log_info("net", "%s: the certificate was read again", l->address);
}

static bool allowed(const struct listener *l, const struct sockaddr_storage *from)
{
	return l->kind == SOCKET_UNIX || l->o.n_allow == 0 ||
	       cidr_has(l->allow, l->o.n_allow, (const struct sockaddr *)from);
}

bool connection_allowed(const struct connection *c)
{
	struct sockaddr_storage from = {0};
	socklen_t n = sizeof from;

	/* Without a name it is gone already: what it left is taken. */
	return getpeername(c->fd, (struct sockaddr *)&from, &n) < 0 || allowed(c->listener, &from);
}

/* A word when one more from there is too much, and why; NULL when it is welcome. */
static const char *unwelcome(struct listener *l, const struct connection *c,
	const struct sockaddr_storage *from, struct error *why)
{
	unsigned most = l->o.max_connections ? l->o.max_connections : LISTENER_CONNECTIONS;
	unsigned most_peer = l->o.max_per_peer ? l->o.max_per_peer : PER_PEER;
	union map_value *v = c->ip[0] ? map_get(&l->peers, str_c(c->ip)) : NULL;

	if (!allowed(l, from)) {
		error_set(why, ERR_DENIED, "%s", LISTENER_NOT_ALLOWED);
		return "not_allowed";
	}
	if (l->n_connections >= most) {
		error_set(why, ERR_LIMIT,
			"%u connections are open here, and more there may not be: "
			"look for senders that open one for each message and do not close it",
			most);
		return "connections";
	}
	if (v && v->u >= most_peer) {
		error_set(why, ERR_LIMIT,
			"its address has %u connections open here, and more one may "
			"not have: let it send many messages over one, and close those it has done "
			"with",
			most_peer);
		return "connections_of_peer";
	}
	return NULL;
}

static void connection_new(struct listener *l, int fd, const struct sockaddr_storage *from)
{
	struct connection *c = xcalloc(1, sizeof *c);
	const char *reason;
	struct error why;
	char *colon;
	int r;

	c->listener = l;
	c->fd = fd;
	list_init(&c->node);
	list_init(&c->aside);
	socket_peer_text((const struct sockaddr *)from, c->peer);
	str_copy(str_c(c->peer), c->ip, sizeof c->ip);
	if ((colon = strrchr(c->ip, ':')))
		*colon = 0;
	reason = unwelcome(l, c, from, &why);
	if (!reason && (r = uv_poll_init(loop_uv(l->loop), &c->poll, fd)) < 0) {
		error_errno(&why, -r, "its socket cannot be watched");
		reason = "files";
	}
	if (reason) {
		listener_refused(l, reason, c->peer, why.text);
		close(fd);
		free(c);
		return;
	}
	list_append(&l->connections, &c->node);
	l->n_connections++;
	connection_count_peer(c, 1);
	c->opened_ms = c->last_ms = c->sent_ms = listener_now_ms(l);
	if (l->kind != SOCKET_UNIX) {
		socket_keep_alive(fd);
		socket_no_delay(fd);
	}
	if (l->kind == SOCKET_TLS) {
		look_at_tls_files(l);
		c->tls = tls_session_new(l->tls);
		if (l->o.alpn)
			tls_session_alpn(c->tls, l->o.alpn);
	} else if (!connection_open(c)) {
		return;
	}
	connection_watch(c, connection_events(c));
}

bool listener_accept(struct listener *l, unsigned most)
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
			listener_watch(l, false);
			l->full = true;
		}
		return false;
	}
	return true;
}
