/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  libcurl makes the connection (names, both IP families, TLS and its
 * checks, the address filter of net/target.h in this place too) and moves the
 * bytes; with CURLOPT_CONNECT_ONLY it speaks no protocol of its own on it.
 *
 * What the peer sends is thrown away, as syslog servers say nothing; its end is
 * what is looked for: bytes that are sent to a peer that has ended are lost
 * without an error.
 */
#include "output/syslog_link.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/cidr.h"
#include "net/target.h"
#include "os/clock.h"
#include "record/civil.h"

enum {
	PEER_TIMEOUT_MS = 30000, /* sent bytes that nobody acknowledges so long: it is gone */
	ASK_MS = 100,            /* between looks at `ending` */
	SETTLE_STEP_MS = 2,
};

struct syslog_link {
	const struct syslog_link_options *o;
	struct target target; /* without a CURL for UDP */
	int fd;
	bool broken, refused_private;
};

static int64_t mono(void)
{
	return clock_mono_ns(clock_real());
}

/* Addresses. */

static const struct {
	struct str prefix;
	enum syslog_scheme scheme;
	const char *port;
} schemes[] = {
	{STR_INIT("syslog://"), SYSLOG_TCP, "514"},
	{STR_INIT("syslog-tls://"), SYSLOG_TLS, "6514"},
	{STR_INIT("syslog-udp://"), SYSLOG_UDP, "514"},
	{STR_INIT("tcp://"), SYSLOG_TCP, "514"},
	{STR_INIT("tls://"), SYSLOG_TLS, "6514"},
	{STR_INIT("udp://"), SYSLOG_UDP, "514"},
};

enum { N_SCHEMES = sizeof schemes / sizeof schemes[0] };

static bool is_host_text(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!is_alpha(c) && !is_digit(c) && !(c && strchr("-._:%", c)))
			return false;
	}
	return s.n > 0 && s.n <= 255;
}

/* "host", "host:port", "[::1]:port" */
static bool cut_authority(struct str text, struct str *host, struct str *port)
{
	ptrdiff_t at;

	if (str_starts(text, STR("["))) {
		if ((at = str_chr(text, ']')) < 0)
			return false;
		*host = str_sub(text, 1, (size_t)at);
		text = str_sub(text, (size_t)at + 1, text.n);
		if (text.n > 0 && text.p[0] != ':')
			return false;
		*port = str_sub(text, 1, text.n);
		return is_host_text(*host) && (text.n == 0 || port->n > 0);
	}
	*port = text;
	*host = str_cut(port, ':');
	return is_host_text(*host) && str_chr(*host, '%') < 0 && (!port->p || port->n > 0);
}

int syslog_url_parse(struct syslog_url *out, struct str url, struct error *e)
{
	struct str rest = STR_NONE, host, port;
	const char *usual = "";
	struct buf where = {0};
	uint64_t number;
	size_t i = 0;

	*out = (struct syslog_url){0};
	while (i < N_SCHEMES && !str_starts(url, schemes[i].prefix))
		i++;
	if (i < N_SCHEMES) {
		rest = str_sub(url, schemes[i].prefix.n, url.n);
		usual = schemes[i].port;
		for (size_t k = 0; k < rest.n; k++)
			if (strchr("/?#", rest.p[k]))
				rest = str_sub(rest, 0, k);
	}
	if (i == N_SCHEMES || !cut_authority(rest, &host, &port))
		return error_set(e, ERR_ARG,
			"must be syslog://HOST:PORT, syslog-tls://HOST:PORT or "
			"syslog-udp://HOST:PORT, without user and password");
	if (port.n == 0)
		port = str_c(usual);
	if (!str_u64(port, &number) || number == 0 || number > 65535)
		return error_set(e, ERR_ARG, "the port must be 1 to 65535");
	out->scheme = schemes[i].scheme;
	out->host = str_dup(host);
	out->port = str_dup(port);
	buf_printf(&where, str_chr(host, ':') >= 0 ? "%.*s[%s]:%s" : "%.*s%s:%s",
		STR_ARG(schemes[i].prefix), out->host, out->port);
	out->where = str_dup(buf_view(&where));
	buf_fini(&where);
	return 0;
}

void syslog_url_fini(struct syslog_url *u)
{
	free(u->host);
	free(u->port);
	free(u->where);
	*u = (struct syslog_url){0};
}

int syslog_check_url(struct str url, struct error *e)
{
	struct syslog_url u;
	int r = syslog_url_parse(&u, url, e);

	syslog_url_fini(&u);
	return r;
}

static bool is_refused(const struct syslog_link_options *o, const struct sockaddr *a)
{
	static const char *const own[] = {"127.0.0.0/8", "::1/128", "0.0.0.0/8", "::/128"};

	if (o->no_private && cidr_is_private(a))
		return true;
	for (size_t i = 0; i < 4 && o->no_loopback; i++) {
		struct cidr net;

		if (cidr_parse(&net, str_c(own[i]), NULL) == 0 && cidr_has(&net, 1, a))
			return true;
	}
	return false;
}

static int refused(const struct syslog_link *l, struct error *e)
{
	return error_set(e, ERR_DENIED,
		"%s: its address is %sprivate or link-local: set allow_private where that is meant",
		l->o->url->where, l->o->no_loopback ? "of this machine, " : "");
}

/* Connecting. */

/* This very address is connected to, so that no name can lead elsewhere in between. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct syslog_link *l = arg;

	if (is_refused(l->o, &a->addr)) {
		l->refused_private = true;
		return CURL_SOCKET_BAD;
	}
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static int look_at_ending(
	void *arg, curl_off_t down_all, curl_off_t down, curl_off_t up_all, curl_off_t up)
{
	struct syslog_link *l = arg;

	return l->o->ending && l->o->ending(l->o->ending_arg);
}

static int init_target(struct syslog_link *l, struct error *e)
{
	const struct syslog_link_options *o = l->o;
	struct buf url = {0};
	int r;

	buf_printf(&url, "%s%s", o->url->scheme == SYSLOG_TLS ? "https" : "http",
		strstr(o->url->where, "://"));
	r = target_init(&l->target,
		&(struct http_client_options){.url = buf_cstr(&url),
			.ca_file = o->tls->ca,
			.cert_file = o->tls->cert,
			.key_file = o->tls->key,
			.insecure = o->tls->insecure,
			.connect_ms = o->connect_ms},
		e);
	buf_fini(&url);
	if (r < 0)
		return r;
	free(l->target.where);
	l->target.where = xstrdup(o->url->where);
	return 0;
}

static void set_options(struct syslog_link *l)
{
	CURL *c = l->target.curl;

	curl_easy_setopt(c, CURLOPT_URL, l->target.base);
	curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(c, CURLOPT_SSL_ENABLE_ALPN, 0L);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, l);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, look_at_ending);
	curl_easy_setopt(c, CURLOPT_XFERINFODATA, l);
}

static int connect_stream(struct syslog_link *l, struct error *e)
{
	unsigned timeout_ms = PEER_TIMEOUT_MS;
	curl_socket_t fd = CURL_SOCKET_BAD;
	CURLcode code;
	int r = init_target(l, e);

	if (r < 0)
		return r;
	set_options(l);
	code = curl_easy_perform(l->target.curl);
	if (code == CURLE_ABORTED_BY_CALLBACK)
		return error_set(e, ERR_CANCELLED, "%s: cancelled", l->o->url->where);
	if (code == CURLE_OK)
		code = curl_easy_getinfo(l->target.curl, CURLINFO_ACTIVESOCKET, &fd);
	if (l->refused_private)
		return refused(l, e);
	if (code != CURLE_OK || fd == CURL_SOCKET_BAD)
		return target_error(&l->target, code ? code : CURLE_COULDNT_CONNECT, e);
	l->fd = fd;
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
	return 0;
}

static int connect_datagrams(struct syslog_link *l, struct error *e)
{
	const struct syslog_url *u = l->o->url;
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_ADDRCONFIG};
	struct addrinfo *list = NULL, *a;
	int r = getaddrinfo(u->host, u->port, &hints, &list);
	bool any_refused = false;

	if (r != 0)
		return error_set(e, ERR_NET, "%s: %s", u->where, gai_strerror(r));
	for (a = list; a && l->fd < 0; a = a->ai_next) {
		if (is_refused(l->o, a->ai_addr)) {
			any_refused = true;
			continue;
		}
		l->fd = socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (l->fd >= 0 && connect(l->fd, a->ai_addr, a->ai_addrlen) < 0) {
			close(l->fd);
			l->fd = -1;
		}
	}
	freeaddrinfo(list);
	if (l->fd >= 0)
		return 0;
	return any_refused ? refused(l, e)
			   : error_set(e, ERR_NET, "%s: cannot be reached", u->where);
}

int syslog_link_open(struct syslog_link **out, const struct syslog_link_options *o, struct error *e)
{
	struct syslog_link *l = xcalloc(1, sizeof *l);
	int r;

	l->o = o;
	l->fd = -1;
	r = o->url->scheme == SYSLOG_UDP ? connect_datagrams(l, e) : connect_stream(l, e);
	if (r < 0) {
		syslog_link_close(l);
		return r;
	}
	*out = l;
	return 0;
}

void syslog_link_close(struct syslog_link *l)
{
	if (!l)
		return;
	if (l->o->url->scheme == SYSLOG_UDP && l->fd >= 0)
		close(l->fd);
	target_fini(&l->target);
	free(l);
}

/* Sending. */

static int broken(struct syslog_link *l, const char *how, struct error *e)
{
	l->broken = true;
	return error_set(e, ERR_NET, "%s: %s", l->o->url->where, how);
}

/* Throw away what the peer says.  1 when it has ended. */
static int look(struct syslog_link *l, struct error *e)
{
	char text[4096];
	size_t n;
	CURLcode code;

	while ((code = curl_easy_recv(l->target.curl, text, sizeof text, &n)) == CURLE_OK)
		if (n == 0)
			return 1;
	if (code == CURLE_AGAIN)
		return 0;
	l->broken = true;
	return target_error(&l->target, code, e);
}

static int look_alive(struct syslog_link *l, struct error *e)
{
	int r;

	/* Also behind syslog_link_finish, where the peer has not answered. */
	if (l->broken)
		return broken(l, "the connection is over", e);
	r = look(l, e);
	return r > 0 ? broken(l, "it has closed the connection", e) : r;
}

bool syslog_link_alive(struct syslog_link *l)
{
	return look_alive(l, NULL) == 0;
}

/* Until something can be sent, or `until` has come, or the end is near. */
static bool wait_room(struct syslog_link *l, int64_t until)
{
	int64_t left;

	while ((left = until - mono()) > 0 && !(l->o->ending && l->o->ending(l->o->ending_arg))) {
		struct pollfd p = {.fd = l->fd, .events = POLLOUT};
		int ms = left > ASK_MS * NS_PER_MS ? ASK_MS : (int)(left / NS_PER_MS) + 1;

		if (poll(&p, 1, ms) > 0)
			return true;
	}
	return false;
}

int syslog_link_push(struct syslog_link *l, struct buf *bytes, unsigned ms, struct error *e)
{
	int64_t until = mono() + ms * NS_PER_MS;
	size_t at = 0, n;
	int r = look_alive(l, e);

	while (r == 0 && at < bytes->n) {
		CURLcode code = curl_easy_send(l->target.curl, bytes->p + at, bytes->n - at, &n);

		if (code == CURLE_OK) {
			at += n;
		} else if (code != CURLE_AGAIN) {
			l->broken = true;
			r = target_error(&l->target, code, e);
		} else if (!wait_room(l, until)) {
			break;
		} else {
			r = look_alive(l, e);
		}
	}
	buf_shift(bytes, at);
	return r;
}

int syslog_link_datagram(struct syslog_link *l, struct str message, struct error *e)
{
	ssize_t n;

	do
		n = send(l->fd, message.p, message.n, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	n = error_errno(e, errno, "%s", l->o->url->where);
	return n == ERR_IO || n == ERR_NOT_FOUND ? ERR_NET : (int)n;
}

int syslog_link_settle(struct syslog_link *l, unsigned ms, struct error *e)
{
	int64_t until = mono() + ms * NS_PER_MS;
	int waiting = 0, r;

	while (true) {
		if ((r = look_alive(l, e)) < 0)
			return r;
		if (ioctl(l->fd, SIOCOUTQ, &waiting) < 0)
			return broken(l, "the state of its socket cannot be read", e);
		if (waiting == 0)
			/* A reset may have come in between. */
			return look_alive(l, e);
		if (mono() >= until)
			return 1;
		usleep(SETTLE_STEP_MS * 1000);
	}
}

int syslog_link_finish(struct syslog_link *l, unsigned ms, struct error *e)
{
	int64_t until = mono() + ms * NS_PER_MS;
	int r = look_alive(l, e);

	if (r < 0)
		return r;
	l->broken = true;
	/* TLS: the alert that says so would come when curl closes, which is too late to hear the
	 * answer; the end of the stream is understood as well. */
	shutdown(l->fd, SHUT_WR);
	while ((r = look(l, e)) == 0 && mono() < until) {
		struct pollfd p = {.fd = l->fd, .events = POLLIN};

		poll(&p, 1, ASK_MS);
	}
	if (r < 0)
		return r;
	return r == 1 ? 0 : 1;
}
