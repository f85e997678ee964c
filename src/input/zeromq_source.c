/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets: one for each address, so that it is known who sent a message, and
 * an address that stays at a reload keeps its connections.
 *
 * Design.  libzmq receives on a thread of its own into a queue for each
 * connection (RCVHWM messages).  The descriptor of a socket (ZMQ_FD) tells of
 * its commands, not of messages: it must be read until there is nothing more,
 * and commands must be run while reading pauses too, as a subscription is sent
 * again to a publisher that came back by such a command.  Events of
 * connections come by a monitor; it is read always, since libzmq's thread
 * would wait for it.
 *
 * At a reload a socket is parked with its connections and its queue, and the
 * next input takes it over, when address and keys are the same.  Else what
 * lies in its queue is taken and it is closed.  Subscriptions and RCVHWM are
 * changed as it stands, labels are the input's; heartbeat and reconnect are
 * those of a socket's connections, so it is made anew for them once it has
 * none: a live connection is not broken.
 */
#include "input/zeromq_input.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/metric.h"
#include "record/time.h"

enum {
	EVENTS = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
		 ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
		 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH,
	CONNECT_MS = 3000, /* the kernel's own tries come further and further apart */
	HANDSHAKE_MS = 10000,
	KEEPALIVE_S = 60,
	KEEPALIVE_STEP_S = 10,
	SAY_S = 10,      /* between two warnings of an address */
	BIND_TRIES = 50, /* a socket that was closed is gone a little later */
	BIND_PAUSE_US = 4000,
	IPC_PATH_MAX = 100,
};

static struct lock parked_lock = LOCK_INIT;
static struct list parked = {&parked, &parked}; /* under parked_lock */

/* Addresses. */

static int put_tcp(struct str text, struct buf *out, struct error *e)
{
	struct str host = text, port = STR_NONE;
	uint64_t number;

	for (size_t i = text.n; i > 0 && !port.p; i--)
		if (text.p[i - 1] == ':') {
			host = str_sub(text, 0, i - 1);
			port = str_sub(text, i, text.n);
		}
	if (!port.p || !str_u64(port, &number) || number == 0 || number > 65535 || host.n == 0 ||
		host.n > 255 || str_chr(host, '/') >= 0 || str_chr(host, ';') >= 0 ||
		(str_chr(host, ':') >= 0 && !str_starts(host, STR("["))))
		return error_set(e, ERR_ARG,
			"\"%.*s\" is not an address: write a port, HOST:PORT, tcp://HOST:PORT or "
			"ipc:///PATH, an IPv6 address in brackets",
			STR_ARG(text));
	buf_printf(out, "tcp://%.*s:%u", STR_ARG(host), (unsigned)number);
	return 0;
}

int zeromq_address(struct str text, const char *host, struct buf *out, struct error *e)
{
	struct buf whole = {0};
	uint64_t port;
	int r;

	if (str_starts(text, STR("ipc://"))) {
		if (text.n == 6 || text.n > IPC_PATH_MAX || memchr(text.p, 0, text.n))
			return error_set(e, ERR_ARG, "\"%.*s\": a path of at most %d bytes",
				STR_ARG(text), IPC_PATH_MAX - 6);
		buf_str(out, text);
		return 0;
	}
	if (str_u64(text, &port))
		buf_printf(&whole, "%s:%.*s", host, STR_ARG(text));
	else if (str_starts(text, STR("tcp://")))
		buf_str(&whole, str_sub(text, 6, text.n));
	else
		buf_str(&whole, text);
	r = put_tcp(buf_view(&whole), out, e);
	buf_fini(&whole);
	return r;
}

static bool is_ipc(const struct source *s)
{
	return str_starts(str_c(s->address), STR("ipc://"));
}

/* The host of an address, for the label; empty for bound ones, where each message tells. */
static char *host_of(const struct source *s, const char *here)
{
	struct str host = str_sub(str_c(s->address), 6, SIZE_MAX);

	if (!s->name)
		return xstrdup("");
	while (host.n && host.p[host.n - 1] != ':')
		host.n--;
	host = str_sub(host, 0, host.n ? host.n - 1 : 0);
	if (is_ipc(s) || str_eq_c(host, "localhost") || str_starts(host, STR("127.")) ||
		str_eq_c(host, "[::1]"))
		return xstrdup(here);
	return str_dup(host);
}

/* Events of connections. */

static void count_connection(struct source *s, int by)
{
	metric_add(METRIC_zeromq_publishers, s->gauge, by);
	s->changed_ns = clock_now_ns(clock_real());
}

static void connection_up(struct source *s, uint32_t fd)
{
	bool added;

	map_put(&s->connections, str_make(&fd, sizeof fd), &added);
	if (added)
		count_connection(s, 1);
}

static void handshake_done(struct source *s)
{
	if (s->n_connects++ == 0 && s->name)
		log_info("input", "zeromq: connected with %s at %s", s->name, s->address);
	else
		log_debug("input", "zeromq: %s: a connection", s->address);
}

static void connection_down(struct source *s, uint32_t fd)
{
	if (!map_remove(&s->connections, str_make(&fd, sizeof fd)))
		return;
	log_debug("input", "zeromq: %s: a connection has ended", s->address);
	count_connection(s, -1);
}

static void handshake_failed(struct source *s, uint16_t event, uint32_t value)
{
	int64_t now = clock_mono_ns(clock_real());
	const char *why = event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
				  ? "it was not let in: its key or address is not allowed"
			  : event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
				  ? "it speaks another protocol or has other keys"
				  : "the connection ended within the handshake: do the keys fit?";

	s->n_failed++;
	if (s->said_ns && now - s->said_ns < SAY_S * NS_PER_SEC)
		return;
	s->said_ns = now;
	log_warn("input",
		"zeromq: %s: no handshake with a publisher: %s (%u; more of it is counted and not "
		"told for %d s)",
		s->address, why, (unsigned)value, SAY_S);
}

static void on_event(struct source *s, const unsigned char *p)
{
	uint16_t event;
	uint32_t value;

	memcpy(&event, p, sizeof event);
	memcpy(&value, p + sizeof event, sizeof value);
	switch (event) {
	case ZMQ_EVENT_CONNECTED:
	case ZMQ_EVENT_ACCEPTED: connection_up(s, value); break;
	case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: handshake_done(s); break;
	case ZMQ_EVENT_DISCONNECTED: connection_down(s, value); break;
	default: handshake_failed(s, event, value); break;
	}
}

/* Event and value, then the endpoint. */
static void read_events(struct source *s)
{
	unsigned char event[6], endpoint[512];

	while (zmq_recv(s->monitor, event, sizeof event, ZMQ_DONTWAIT) == (int)sizeof event) {
		zmq_recv(s->monitor, endpoint, sizeof endpoint, ZMQ_DONTWAIT);
		on_event(s, event);
	}
	/* Such as it is made anew for is known only now. */
	if (s->stale && s->connections.n == 0)
		zeromq_pump_soon(s->in);
}

static void on_monitor(uv_poll_t *handle, int status, int events)
{
	(void)status;
	(void)events;
	read_events(handle->data);
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
	struct source *s = handle->data;
	size_t size = sizeof events;

	(void)status;
	s->ready = true;
	if (s->in->paused)
		zmq_getsockopt(s->socket, ZMQ_EVENTS, &events, &size);
	else
		zeromq_pump_soon(s->in);
}

static void free_poll(uv_handle_t *handle)
{
	free(handle);
}

static int watch(
	struct source *s, uv_poll_t **out, void *socket, uv_poll_cb on_event_of, struct error *e)
{
	size_t size = sizeof(int);
	int fd, r;

	if (zmq_getsockopt(socket, ZMQ_FD, &fd, &size) < 0)
		return error_errno(e, errno, "zeromq: the descriptor of a socket");
	*out = xcalloc(1, sizeof **out);
	(*out)->data = s;
	if ((r = uv_poll_init(loop_uv(s->loop), *out, fd)) < 0) {
		free(*out);
		*out = NULL;
		return error_errno(e, -r, "zeromq: watching a socket");
	}
	uv_poll_start(*out, UV_READABLE, on_event_of);
	return 0;
}

static void unwatch(uv_poll_t **poll)
{
	if (*poll)
		uv_close((uv_handle_t *)*poll, free_poll);
	*poll = NULL;
}

/* Sockets. */

static int fail(struct error *e, const struct source *s, const char *what)
{
	int number = errno;

	if (number < ZMQ_HAUSNUMERO)
		return error_errno(e, number, "%s: %s", s->address, what);
	return error_set(e, ERR_NET, "%s: %s: %s", s->address, what, zmq_strerror(number));
}

static int set_int(struct source *s, int option, int64_t value, struct error *e)
{
	int v = value > INT32_MAX ? INT32_MAX : (int)value;

	return zmq_setsockopt(s->socket, option, &v, sizeof v) < 0 ? fail(e, s, "a socket option")
								   : 0;
}

static int set_text(struct source *s, int option, const char *value, struct error *e)
{
	return zmq_setsockopt(s->socket, option, value, strlen(value)) < 0
		       ? fail(e, s, "a socket option")
		       : 0;
}

static int set_keys(struct source *s, struct error *e)
{
	const struct zeromq_keys *k = &s->in->keys;
	int r;

	if (!*k->secret || (s->name && !*k->server))
		return 0;
	if ((r = set_text(s, ZMQ_CURVE_SECRETKEY, k->secret, e)) < 0)
		return r;
	if (!s->name)
		return set_int(s, ZMQ_CURVE_SERVER, 1, e);
	if ((r = set_text(s, ZMQ_CURVE_PUBLICKEY, k->public, e)) < 0)
		return r;
	return set_text(s, ZMQ_CURVE_SERVERKEY, k->server, e);
}

static int set_options(struct source *s, struct error *e)
{
	const struct zeromq_settings *o = s->in->s;
	const int64_t frame_max = ZEROMQ_FRAME_MAX;
	const struct {
		int option;
		int64_t value;
	} ints[] = {{ZMQ_LINGER, 0}, {ZMQ_RCVHWM, s->in->hwm},
		{ZMQ_RECONNECT_IVL, o->reconnect / NS_PER_MS}, {ZMQ_CONNECT_TIMEOUT, CONNECT_MS},
		{ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS}, {ZMQ_HEARTBEAT_IVL, o->heartbeat / NS_PER_MS},
		{ZMQ_TCP_KEEPALIVE, 1}, {ZMQ_TCP_KEEPALIVE_IDLE, KEEPALIVE_S},
		{ZMQ_TCP_KEEPALIVE_INTVL, KEEPALIVE_STEP_S},
		{ZMQ_IPV6, str_chr(str_c(s->address), '[') >= 0}};
	int r = 0;

	for (size_t i = 0; i < sizeof ints / sizeof *ints && r == 0; i++)
		r = set_int(s, ints[i].option, ints[i].value, e);
	if (r == 0 && zmq_setsockopt(s->socket, ZMQ_MAXMSGSIZE, &frame_max, sizeof frame_max) < 0)
		r = fail(e, s, "a socket option");
	if (r == 0 && s->domain)
		r = set_text(s, ZMQ_ZAP_DOMAIN, s->domain, e);
	return r < 0 ? r : set_keys(s, e);
}

static int open_monitor(struct source *s, struct error *e)
{
	static _Atomic unsigned number;
	char name[64];

	snprintf(name, sizeof name, "inproc://sawlog-monitor-%u", number++);
	if (zmq_socket_monitor(s->socket, name, EVENTS) < 0)
		return fail(e, s, "its monitor");
	if (!(s->monitor = zmq_socket(zeromq_context_ref(NULL), ZMQ_PAIR))) {
		zeromq_context_unref();
		return fail(e, s, "its monitor");
	}
	return zmq_connect(s->monitor, name) < 0 ? fail(e, s, "its monitor") : 0;
}

/* libzmq takes the file of a socket away, whoever listens there. */
static int check_free(const struct source *s, struct error *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd, r;

	if (!is_ipc(s) || s->address[6] == '@')
		return 0;
	str_copy(str_c(s->address + 6), a.sun_path, sizeof a.sun_path);
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
		return error_errno(e, errno, "%s", s->address);
	r = connect(fd, (const struct sockaddr *)&a, sizeof a);
	close(fd);
	return r == 0 ? error_set(e, ERR_NET, "cannot listen on %s: somebody else does", s->address)
		      : 0;
}

static int attach(struct source *s, bool again, struct error *e)
{
	int r, tries = again ? BIND_TRIES : 1;

	if (s->name)
		return zmq_connect(s->socket, s->address) < 0 ? fail(e, s, "connecting") : 0;
	if (!again && (r = check_free(s, e)) < 0)
		return r;
	while (zmq_bind(s->socket, s->address) < 0) {
		if (errno != EADDRINUSE || --tries == 0)
			return errno == EADDRINUSE
				       ? error_set(e, ERR_NET,
						 "cannot listen on %s: somebody else does",
						 s->address)
				       : fail(e, s, "listening");
		usleep(BIND_PAUSE_US);
	}
	return 0;
}

/* Subscriptions. */

static void forget_subscriptions(struct source *s)
{
	for (size_t i = 0; i < s->n_subscribed; i++)
		free(s->subscribed[i]);
	free(s->subscribed);
	s->subscribed = NULL;
	s->n_subscribed = 0;
}

static bool has(const char *const *items, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(items[i], text) == 0)
			return true;
	return false;
}

/* The new ones before the old ones go; what both have is not touched. */
static int subscribe(struct source *s, struct error *e)
{
	static const char *const all[] = {""};
	const struct strings *given = &s->in->s->subscribe;
	const char *const *items = given->n ? given->items : all;
	size_t n = given->n ? given->n : 1, before = s->n_subscribed;
	int r;

	s->subscribed = xrealloc(s->subscribed, (before + n) * sizeof *s->subscribed);
	for (size_t i = 0; i < n; i++) {
		if (has((const char *const *)s->subscribed, s->n_subscribed, items[i]))
			continue;
		if ((r = set_text(s, ZMQ_SUBSCRIBE, items[i], e)) < 0)
			return r;
		s->subscribed[s->n_subscribed++] = xstrdup(items[i]);
	}
	for (size_t i = before; i-- > 0;) {
		if (has(items, n, s->subscribed[i]))
			continue;
		zmq_setsockopt(
			s->socket, ZMQ_UNSUBSCRIBE, s->subscribed[i], strlen(s->subscribed[i]));
		free(s->subscribed[i]);
		s->subscribed[i] = s->subscribed[--s->n_subscribed];
	}
	return 0;
}

/* Opening and closing. */

static void close_socket(struct source *s)
{
	count_connection(s, -(int)s->connections.n);
	map_fini(&s->connections);
	unwatch(&s->poll);
	unwatch(&s->monitor_poll);
	if (s->socket) {
		zmq_socket_monitor(s->socket, NULL, 0);
		zmq_close(s->socket);
		s->socket = NULL;
		zeromq_context_unref();
	}
	if (s->monitor) {
		const int none = 0;
		zmq_setsockopt(s->monitor, ZMQ_LINGER, &none, sizeof none);
		zmq_close(s->monitor);
		s->monitor = NULL;
		zeromq_context_unref();
	}
	forget_subscriptions(s);
}

static int open_socket(struct source *s, bool again, struct error *e)
{
	void *context = zeromq_context_ref(e);
	int r;

	if (!context)
		return ERR_IO;
	if (!(s->socket = zmq_socket(context, ZMQ_SUB))) {
		r = fail(e, s, "a socket");
		zeromq_context_unref();
		return r;
	}
	if ((r = set_options(s, e)) < 0 || (r = open_monitor(s, e)) < 0 ||
		(r = subscribe(s, e)) < 0 || (r = attach(s, again, e)) < 0 ||
		(r = watch(s, &s->monitor_poll, s->monitor, on_monitor, e)) < 0 ||
		(r = watch(s, &s->poll, s->socket, on_readable, e)) < 0)
		close_socket(s);
	s->ready = r == 0;
	/* The descriptor tells of news only to who has read until there was nothing. */
	if (r == 0)
		read_events(s);
	return r;
}

static char *text_of(struct buf *b)
{
	char *text = str_dup(buf_view(b));

	buf_fini(b);
	return text;
}

/* Who it talks to, and who may talk to it. */
static char *identity_of(const struct source *s)
{
	const struct zeromq_settings *o = s->in->s;
	struct buf text = {0};

	buf_printf(&text, "%s\n%s\n", s->address, s->name ? s->in->keys.server : "");
	if (o->curve.secret_key_file)
		buf_printf(&text, "%016" PRIx64 "\n", hash_stable(str_c(s->in->keys.secret)));
	for (size_t i = 0; !s->name && i < o->allow.n; i++)
		buf_printf(&text, "%s\n", o->allow.items[i]);
	for (size_t i = 0; !s->name && i < o->curve.client_keys.n; i++)
		buf_printf(&text, "key %s\n", o->curve.client_keys.items[i]);
	return text_of(&text);
}

static char *tuning_of(const struct source *s)
{
	struct buf text = {0};

	buf_printf(&text, "%" PRId64 " %" PRId64, s->in->s->heartbeat, s->in->s->reconnect);
	return text_of(&text);
}

static char *gauge_of(const struct source *s)
{
	struct buf text = {0};

	metric_label(&text, "publisher", str_c(s->name ? s->name : s->address));
	return text_of(&text);
}

static void set_rule(struct source *s)
{
	const struct zeromq_settings *o = s->in->s;
	static _Atomic unsigned number;
	struct buf name = {0};

	if (s->name || (o->allow.n == 0 && o->curve.client_keys.n == 0))
		return;
	buf_printf(&name, "sawlog-%u", number++);
	s->domain = text_of(&name);
	zeromq_rule_set(s->domain, s->in->allow, o->allow.n, &o->curve.client_keys);
}

static void source_free(struct source *s)
{
	list_remove(&s->node);
	close_socket(s);
	if (s->domain)
		zeromq_rule_drop(s->domain);
	map_fini(&s->numbers);
	free(s->domain);
	free(s->gauge);
	free(s->tuning);
	free(s->identity);
	free(s->host);
	free(s->address);
	free(s);
}

void source_close(struct source *s)
{
	source_free(s);
}

static void describe(struct source *s, struct zeromq_input *in, const char *name)
{
	s->in = in;
	s->name = name;
	s->host = host_of(s, in->env->host);
	s->gauge = gauge_of(s);
	s->tuning = tuning_of(s);
	s->identity = identity_of(s);
}

/* Parking. */

static struct source *find_parked(struct loop *loop, const char *address, bool bound)
{
	struct source *found = NULL;

	lock_take(&parked_lock);
	LIST_EACH (at, &parked) {
		struct source *s = CONTAINER(at, struct source, node);
		if (!found && s->loop == loop &&
			(!address || (strcmp(s->address, address) == 0 && !s->name == bound)))
			found = s;
	}
	if (found)
		list_remove(&found->node);
	lock_drop(&parked_lock);
	return found;
}

void source_park(struct source *s)
{
	/* Only whether there is one is asked: the settings it points into go. */
	static const char parked_name[] = "";

	if (!s->socket) { /* it could not be made anew */
		source_free(s);
		return;
	}
	uv_poll_stop(s->poll);
	uv_poll_stop(s->monitor_poll);
	list_remove(&s->node);
	s->name = s->name ? parked_name : NULL;
	s->in = NULL;
	lock_take(&parked_lock);
	list_append(&parked, &s->node);
	lock_drop(&parked_lock);
}

void zeromq_drop_parked(struct loop *loop)
{
	struct source *s;

	while ((s = find_parked(loop, NULL, false)))
		source_free(s);
}

static int take_over(struct source *s, struct zeromq_input *in, const char *name, struct error *e)
{
	char *gauge = s->gauge, *tuning = s->tuning, *identity = s->identity;
	int64_t changed_ns = s->changed_ns;
	bool same;
	int r = 0;

	metric_add(METRIC_zeromq_publishers, gauge, -(int)s->connections.n);
	free(s->host);
	describe(s, in, name);
	metric_add(METRIC_zeromq_publishers, s->gauge, (int)s->connections.n);
	s->changed_ns = changed_ns;
	list_append(&in->sources, &s->node);
	same = strcmp(identity, s->identity) == 0;
	s->stale |= strcmp(tuning, s->tuning) != 0;
	free(gauge);
	free(tuning);
	free(identity);
	if (!same) {
		log_info("input", "zeromq: %s: other keys or rules: connecting anew", s->address);
		source_shut(s);
		while (zeromq_take(s))
			;
		close_socket(s);
		if (s->domain)
			zeromq_rule_drop(s->domain);
		free(s->domain);
		s->domain = NULL;
		s->stale = false;
		set_rule(s);
		return open_socket(s, true, e);
	}
	if ((r = set_int(s, ZMQ_RCVHWM, in->hwm, e)) < 0 || (r = subscribe(s, e)) < 0)
		return r;
	uv_poll_start(s->poll, UV_READABLE, on_readable);
	uv_poll_start(s->monitor_poll, UV_READABLE, on_monitor);
	s->ready = true;
	read_events(s);
	return 0;
}

int source_open(struct zeromq_input *in, const char *name, const char *address, struct error *e)
{
	struct source *s = find_parked(in->env->loop, address, !name);
	int r;

	if (s)
		return take_over(s, in, name, e);
	s = xcalloc(1, sizeof *s);
	s->loop = in->env->loop;
	s->address = xstrdup(address);
	describe(s, in, name);
	set_rule(s);
	list_append(&in->sources, &s->node);
	if ((r = open_socket(s, false, e)) < 0)
		source_free(s);
	return r;
}

int source_renew(struct source *s)
{
	struct error e;
	int r;

	close_socket(s);
	if ((r = open_socket(s, true, &e)) < 0)
		log_error("input", "zeromq: %s; trying again", e.text);
	s->stale = r < 0;
	return r;
}

void source_shut(struct source *s)
{
	if (!s->socket)
		return;
	if (s->name)
		zmq_disconnect(s->socket, s->address);
	else
		zmq_unbind(s->socket, s->address);
}

void source_dump(const struct source *s, struct buf *out)
{
	buf_printf(out, "  %s%s%s: %zu connected since ", s->name ? s->name : "bound",
		s->name ? " at " : " to ", s->address, s->connections.n);
	time_format(out, s->changed_ns);
	buf_printf(out,
		", %" PRIu64 " messages, %" PRIu64 " missing by their numbers, %" PRIu64
		" connections, %" PRIu64 " handshakes failed%s\n",
		s->n_messages, s->n_lost, s->n_connects, s->n_failed,
		s->stale ? ", new settings with the next connection" : "");
}
