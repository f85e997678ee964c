/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  librabbitmq keeps the protocol; this file adds what it leaves out:
 * sentences that name the place and the cure, bounds on every wait, the
 * capabilities that make a broker tell of its troubles (connection.blocked,
 * basic.cancel), and declarations that cope with what is there already.
 *
 * A broker reports an error by closing: 404, 403, 405 and 406 close the channel,
 * the others the connection.  `up` and `open` remember which, so that the
 * caller can ask what is left, and no call is made on a dead connection.
 *
 * The system's own timeouts let a send hang for a quarter of an hour when the
 * peer is gone, or for ever while a broker in alarm does not read:
 * TCP_USER_TIMEOUT ends both.
 */
#include "net/amqp.h"

#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <assert.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/cidr.h"
#include "os/clock.h"

enum {
	CONNECT_MS = 10000,
	CALL_MS = 10000,
	CLOSE_MS = 1000,
	SEND_MS = 60000, /* how long sent bytes may stay unread by the broker */
	HEARTBEAT_S = 30,
	FRAME_MAX = 128 << 10,
	CHANNELS_MAX = 1,
	ARGUMENTS_MAX = 64,
	WORDS_MAX = 300, /* of what a broker says */
};

struct amqp_link {
	amqp_connection_state_t state;
	char *where, *server;
	unsigned call_ms;
	bool up, open;
	bool blocked;
	char reason[WORDS_MAX];
};

const struct option amqp_tls_options[] = {
	OPTION(struct amqp_tls_settings, ca, .kind = OPT_PATH,
		.help = "PEM file with the certificates that sign the broker's. Default: the "
			"system's."),
	OPTION(struct amqp_tls_settings, cert, .kind = OPT_PATH,
		.help = "PEM file with the certificate that is shown to the broker."),
	OPTION(struct amqp_tls_settings, key, .kind = OPT_PATH,
		.help = "PEM file with the key of `cert`."),
	OPTION(struct amqp_tls_settings, insecure, .kind = OPT_BOOL, .fallback = "false",
		.help = "Do not check the broker's certificate: whoever is in between can read "
			"and change all."),
	OPTION_END,
};

/* Words. */

static amqp_bytes_t bytes_of(const char *s)
{
	return amqp_cstring_bytes(s ? s : "");
}

/* A broker's words without what could forge a line or fill a log. */
static void put_words(char out[WORDS_MAX], amqp_bytes_t text)
{
	str_copy(str_make(text.bytes, text.len), out, WORDS_MAX);
	for (char *p = out; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			*p = ' ';
}

static int code_of(int reply)
{
	switch (reply) {
	case AMQP_CONTENT_TOO_LARGE: return ERR_LIMIT;
	case AMQP_NOT_FOUND: return ERR_NOT_FOUND;
	case AMQP_ACCESS_REFUSED:
	case AMQP_NOT_ALLOWED: return ERR_DENIED;
	case AMQP_RESOURCE_LOCKED: return ERR_BUSY;
	case AMQP_PRECONDITION_FAILED: return ERR_ARG;
	default: return ERR_NET;
	}
}

static const char *cure_of(int reply, bool login)
{
	switch (reply) {
	case AMQP_NOT_FOUND: return ": have it made at the broker, or set declare: create";
	case AMQP_ACCESS_REFUSED:
		return login ? ": check user and password"
			     : ": give the user the right to it, or use another name";
	case AMQP_NOT_ALLOWED: return ": make the vhost, and give the user a right to it";
	case AMQP_RESOURCE_LOCKED:
		return ": another connection has it for itself; use another name, or end that one";
	case AMQP_PRECONDITION_FAILED:
		return ": say what it is in the settings, or use another name";
	default: return "";
	}
}

/* "406 PRECONDITION_FAILED - inequivalent arg …"; the broker's text begins with the word already.
 */
static int refused(struct amqp_link *l, int reply, amqp_bytes_t text, const char *what, bool login,
	struct error *e)
{
	char words[WORDS_MAX];

	put_words(words, text);
	if (str_ends(str_c(words), STR(".")))
		words[strlen(words) - 1] = '\0';
	return error_set(e, code_of(reply), "%s: %s: %d %s%s", l->where, what, reply, words,
		cure_of(reply, login));
}

static int gone(struct amqp_link *l)
{
	l->up = l->open = false;
	return ERR_NET;
}

static int closed_by_broker(
	struct amqp_link *l, amqp_method_t m, const char *what, bool login, struct error *e)
{
	if (m.id == AMQP_CHANNEL_CLOSE_METHOD) {
		const amqp_channel_close_t *c = m.decoded;
		amqp_channel_close_ok_t ok = {0};
		int code = refused(l, c->reply_code, c->reply_text, what, false, e);

		l->open = false;
		if (amqp_send_method(l->state, AMQP_CHANNEL, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok) < 0)
			gone(l);
		return code;
	}
	if (m.id == AMQP_CONNECTION_CLOSE_METHOD) {
		const amqp_connection_close_t *c = m.decoded;
		amqp_connection_close_ok_t ok = {0};
		int code = refused(l, c->reply_code, c->reply_text, what, login, e);

		(void)amqp_send_method(l->state, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
		gone(l);
		return code;
	}
	gone(l);
	return error_set(
		e, ERR_NET, "%s: %s: the broker answered with method 0x%08x", l->where, what, m.id);
}

int amqp_link_status(struct amqp_link *l, int status, const char *what, struct error *e)
{
	if (status >= 0)
		return 0;
	gone(l);
	switch (status) {
	case AMQP_STATUS_TIMEOUT:
		return error_set(
			e, ERR_NET, "%s: %s: no answer within %u ms", l->where, what, l->call_ms);
	case AMQP_STATUS_HEARTBEAT_TIMEOUT:
		return error_set(e, ERR_NET, "%s: %s: nothing heard from the broker for too long",
			l->where, what);
	case AMQP_STATUS_CONNECTION_CLOSED:
	case AMQP_STATUS_SOCKET_CLOSED:
	case AMQP_STATUS_SOCKET_ERROR:
		return error_set(e, ERR_NET, "%s: %s: connection lost", l->where, what);
	case AMQP_STATUS_TABLE_TOO_BIG:
		return error_set(e, ERR_LIMIT, "%s: %s: headers or arguments fit in no frame",
			l->where, what);
	case AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED:
		return error_set(e, ERR_DENIED,
			"%s: %s: the broker's certificate is for another name: write the host by "
			"the name that the certificate has, not by its address",
			l->where, what);
	case AMQP_STATUS_SSL_PEER_VERIFY_FAILED:
	case AMQP_STATUS_SSL_CONNECTION_FAILED:
		return error_set(e, ERR_DENIED,
			"%s: %s: no TLS with this broker: either it does not speak TLS there, or "
			"its certificate is not to be trusted unless its CA is named in `ca`, or "
			"it wants one of ours",
			l->where, what);
	default:
		return error_set(
			e, ERR_NET, "%s: %s: %s", l->where, what, amqp_error_string2(status));
	}
}

static int reply_failed(
	struct amqp_link *l, amqp_rpc_reply_t reply, const char *what, bool login, struct error *e)
{
	switch (reply.reply_type) {
	case AMQP_RESPONSE_NORMAL: return 0;
	case AMQP_RESPONSE_SERVER_EXCEPTION:
		return closed_by_broker(l, reply.reply, what, login, e);
	case AMQP_RESPONSE_LIBRARY_EXCEPTION:
		return amqp_link_status(l, reply.library_error, what, e);
	default: gone(l); return error_set(e, ERR_NET, "%s: %s: no reply", l->where, what);
	}
}

int amqp_link_failed(struct amqp_link *l, amqp_rpc_reply_t reply, const char *what, struct error *e)
{
	return reply_failed(l, reply, what, false, e);
}

int amqp_link_unasked(struct amqp_link *l, const amqp_frame_t *f, bool *blocked, struct error *e)
{
	const amqp_method_t *m = &f->payload.method;

	if (f->frame_type != AMQP_FRAME_METHOD)
		return 0;
	switch (m->id) {
	case AMQP_CONNECTION_CLOSE_METHOD:
		return closed_by_broker(l, *m, "connection ended by the broker", false, e);
	case AMQP_CHANNEL_CLOSE_METHOD:
		return closed_by_broker(l, *m, "channel closed by the broker", false, e);
	case AMQP_CONNECTION_BLOCKED_METHOD:
		put_words(l->reason, ((const amqp_connection_blocked_t *)m->decoded)->reason);
		*blocked = l->blocked = true;
		return 0;
	case AMQP_CONNECTION_UNBLOCKED_METHOD: *blocked = l->blocked = false; return 0;
	case AMQP_BASIC_CANCEL_METHOD:
		return error_set(e, ERR_CLOSED,
			"%s: the broker ended the subscription: the queue was deleted, or its node "
			"is gone",
			l->where);
	default: return 0;
	}
}

/* Connecting. */

static int64_t now_ms(void)
{
	return clock_mono_ns(clock_real()) / NS_PER_MS;
}

static struct timeval time_of(int64_t ms)
{
	if (ms < 1)
		ms = 1;
	return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

/* Looked up here first, for a sentence that says more than librabbitmq's, and for public_only. */
static int look_up(struct amqp_link *l, const struct amqp_url *u, bool public_only, struct error *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *a;
	int r = getaddrinfo(u->host, NULL, &hints, &list);

	if (r != 0)
		return error_set(e, ERR_NET, "%s: %s", l->where,
			r == EAI_NONAME ? "no such host" : gai_strerror(r));
	for (a = list; a && !(public_only && cidr_is_private(a->ai_addr)); a = a->ai_next)
		;
	freeaddrinfo(list);
	return a ? ERR_DENIED : 0;
}

static int refused_private(struct amqp_link *l, struct error *e)
{
	gone(l);
	return error_set(e, ERR_DENIED,
		"%s: its address is private or link-local: set allow_private where that is meant",
		l->where);
}

static const char *system_ca(void)
{
	static const char *const paths[] = {"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		if (access(paths[i], R_OK) == 0)
			return paths[i];
	return NULL;
}

static int set_tls(struct amqp_link *l, amqp_socket_t *socket, const struct amqp_tls_settings *t,
	struct error *e)
{
	const char *ca = t->ca ? t->ca : system_ca();

	amqp_ssl_socket_set_verify_peer(socket, !t->insecure);
	amqp_ssl_socket_set_verify_hostname(socket, !t->insecure);
	amqp_ssl_socket_set_ssl_versions(socket, AMQP_TLSv1_2, AMQP_TLSvLATEST);
	if (ca && amqp_ssl_socket_set_cacert(socket, ca) != AMQP_STATUS_OK)
		return error_set(e, ERR_ARG, "%s: ca: %s holds no certificate that can be read",
			l->where, ca);
	if (!t->cert != !t->key)
		return error_set(e, ERR_ARG, "%s: tls: cert and key come together", l->where);
	if (t->cert && amqp_ssl_socket_set_key(socket, t->cert, t->key) != AMQP_STATUS_OK)
		return error_set(e, ERR_ARG,
			"%s: tls: %s and %s cannot be read, or do not belong together", l->where,
			t->cert, t->key);
	return 0;
}

static int connect_socket(struct amqp_link *l, const struct amqp_url *u,
	const struct amqp_link_options *o, int64_t until, struct error *e)
{
	amqp_socket_t *socket =
		u->tls ? amqp_ssl_socket_new(l->state) : amqp_tcp_socket_new(l->state);
	unsigned user_ms = SEND_MS;
	struct sockaddr_storage peer;
	socklen_t n = sizeof peer;
	struct timeval t;
	int r;

	assert(socket);
	if (u->tls && (r = set_tls(l, socket, &o->tls, e)) < 0)
		return r;
	if ((r = look_up(l, u, o->public_only, e)) < 0)
		return r == ERR_DENIED ? refused_private(l, e) : r;
	t = time_of(until - now_ms());
	r = amqp_socket_open_noblock(socket, u->host, u->port, &t);
	if (r == AMQP_STATUS_SOCKET_ERROR)
		return error_set(e, ERR_NET, "%s: connection refused, or no way there", l->where);
	if (r == AMQP_STATUS_TIMEOUT)
		return error_set(e, ERR_NET, "%s: no connection within %u ms", l->where,
			o->connect_ms ? o->connect_ms : CONNECT_MS);
	if (r < 0)
		return amqp_link_status(l, r, "connecting", e);
	l->up = true;
	/* The name may lead elsewhere by now; nothing was told to that peer yet. */
	if (o->public_only &&
		(getpeername(amqp_get_sockfd(l->state), (struct sockaddr *)&peer, &n) < 0 ||
			cidr_is_private((struct sockaddr *)&peer)))
		return refused_private(l, e);
	(void)setsockopt(
		amqp_get_sockfd(l->state), IPPROTO_TCP, TCP_USER_TIMEOUT, &user_ms, sizeof user_ms);
	return 0;
}

static amqp_table_entry_t text_entry(const char *name, const char *value)
{
	amqp_table_entry_t entry = {.key = bytes_of(name)};

	entry.value.kind = AMQP_FIELD_KIND_UTF8;
	entry.value.value.bytes = bytes_of(value);
	return entry;
}

static amqp_table_entry_t yes_entry(const char *name)
{
	amqp_table_entry_t entry = {.key = bytes_of(name)};

	entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
	entry.value.value.boolean = 1;
	return entry;
}

static int log_in(struct amqp_link *l, const struct amqp_url *u, const struct amqp_link_options *o,
	int64_t until, struct error *e)
{
	/* librabbitmq itself says authentication_failure_close alone. */
	amqp_table_entry_t able[] = {yes_entry("publisher_confirms"), yes_entry("basic.nack"),
		yes_entry("consumer_cancel_notify"), yes_entry("connection.blocked")};
	amqp_table_entry_t about[] = {text_entry("product", "sawlog"),
		text_entry("version", SAWLOG_VERSION), text_entry("connection_name", o->name),
		{.key = bytes_of("capabilities")}};
	amqp_table_t properties = {4, about};
	int64_t beat = u->heartbeat_s >= 0 ? u->heartbeat_s : o->heartbeat_s;
	struct timeval t = time_of(until - now_ms());
	amqp_rpc_reply_t reply;

	about[3].value.kind = AMQP_FIELD_KIND_TABLE;
	about[3].value.value.table = (amqp_table_t){4, able};
	if (u->heartbeat_s < 0 && beat == 0)
		beat = HEARTBEAT_S;
	amqp_set_handshake_timeout(l->state, &t);
	reply = amqp_login_with_properties(l->state, u->vhost, CHANNELS_MAX, FRAME_MAX, (int)beat,
		&properties, AMQP_SASL_METHOD_PLAIN, u->user, u->password);
	if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
		reply.library_error == AMQP_STATUS_TIMEOUT) {
		gone(l);
		return error_set(e, ERR_NET,
			"%s: logging in: no answer within %u ms: is it an AMQP broker?", l->where,
			o->connect_ms ? o->connect_ms : CONNECT_MS);
	}
	return reply_failed(l, reply, "logging in", true, e);
}

static const char *server_text(const amqp_table_t *t, const char *name, char out[WORDS_MAX])
{
	*out = 0;
	for (int i = 0; i < t->num_entries; i++) {
		const amqp_table_entry_t *p = &t->entries[i];

		if (str_eq_c(str_make(p->key.bytes, p->key.len), name) &&
			p->value.kind == AMQP_FIELD_KIND_UTF8)
			put_words(out, p->value.value.bytes);
	}
	return out;
}

static void learn_server(struct amqp_link *l)
{
	const amqp_table_t *t = amqp_get_server_properties(l->state);
	char product[WORDS_MAX], version[WORDS_MAX];
	struct buf text = {0};

	buf_c(&text, server_text(t, "product", product));
	buf_printf(&text, "%s%s", text.n ? " " : "", server_text(t, "version", version));
	if (text.n == 0)
		buf_c(&text, "unknown broker");
	buf_cstr(&text);
	l->server = buf_take(&text).p;
}

static int open_channel(struct amqp_link *l, struct error *e)
{
	int r;

	amqp_channel_open(l->state, AMQP_CHANNEL);
	if ((r = amqp_link_failed(l, amqp_get_rpc_reply(l->state), "opening a channel", e)) < 0)
		return r;
	l->open = true;
	return 0;
}

static char *where_of(const struct amqp_url *u)
{
	bool six = strchr(u->host, ':');
	struct buf text = {0};

	buf_printf(&text, "%s%s%s:%d/%s", six ? "[" : "", u->host, six ? "]" : "", u->port,
		strcmp(u->vhost, "/") == 0 ? "" : u->vhost);
	buf_cstr(&text);
	return buf_take(&text).p;
}

static int open_link(struct amqp_link *l, const struct amqp_url *u,
	const struct amqp_link_options *o, struct error *e)
{
	int64_t until = now_ms() + (o->connect_ms ? o->connect_ms : CONNECT_MS);
	struct timeval t;
	int r;

	l->where = where_of(u);
	l->call_ms = o->call_ms ? o->call_ms : CALL_MS;
	l->state = amqp_new_connection();
	assert(l->state);
	if ((r = connect_socket(l, u, o, until, e)) < 0 || (r = log_in(l, u, o, until, e)) < 0)
		return r;
	t = time_of(l->call_ms);
	amqp_set_rpc_timeout(l->state, &t);
	learn_server(l);
	return open_channel(l, e);
}

int amqp_link_open(struct amqp_link **out, const struct amqp_link_options *o, struct error *e)
{
	struct amqp_link *l = xcalloc(1, sizeof *l);
	struct amqp_url url;
	struct arena a;
	int r;

	arena_init(&a, NULL);
	if ((r = amqp_url_parse(&url, str_c(o->url), &a, e)) < 0)
		error_wrap(e, r, "url");
	else
		r = open_link(l, &url, o, e);
	arena_fini(&a);
	if (r < 0) {
		amqp_link_close(l);
		return r;
	}
	*out = l;
	return 0;
}

void amqp_link_close(struct amqp_link *l)
{
	if (!l)
		return;
	if (l->state && l->up) {
		struct timeval t = time_of(CLOSE_MS);

		amqp_set_rpc_timeout(l->state, &t);
		(void)amqp_connection_close(l->state, AMQP_REPLY_SUCCESS);
	}
	if (l->state)
		(void)amqp_destroy_connection(l->state);
	free(l->where);
	free(l->server);
	free(l);
}

amqp_connection_state_t amqp_link_state(struct amqp_link *l)
{
	return l->state;
}

int amqp_link_fd(const struct amqp_link *l)
{
	return amqp_get_sockfd(l->state);
}

unsigned amqp_link_beat_ms(const struct amqp_link *l)
{
	int beat = amqp_get_heartbeat(l->state);

	/* Sent at half of the time agreed on, as the specification asks for. */
	return beat > 0 ? (unsigned)beat * 500 : HEARTBEAT_S * 1000;
}

const char *amqp_link_blocked(const struct amqp_link *l)
{
	return l->blocked ? l->reason : NULL;
}

const char *amqp_link_where(const struct amqp_link *l)
{
	return l->where;
}

const char *amqp_link_server(const struct amqp_link *l)
{
	return l->server ? l->server : "";
}

int amqp_link_rechannel(struct amqp_link *l, struct error *e)
{
	int r;

	if (!l->up)
		return error_set(e, ERR_NET, "%s: connection lost", l->where);
	if (l->open) {
		l->open = false;
		if ((r = amqp_link_failed(l,
			     amqp_channel_close(l->state, AMQP_CHANNEL, AMQP_REPLY_SUCCESS),
			     "closing a channel", e)) < 0 &&
			!l->up)
			return r;
		amqp_maybe_release_buffers(l->state);
	}
	return open_channel(l, e);
}

/* Declarations. */

/* "queue \"logQueue\"" */
static void name_of(char *out, size_t size, const char *kind, const char *name)
{
	struct buf text = {0};

	buf_printf(&text, "%s \"%.255s\"", kind, name);
	str_copy(buf_view(&text), out, size);
	buf_fini(&text);
}

enum { WHAT_MAX = 300 };

static int declare_exchange(
	struct amqp_link *l, const struct amqp_exchange *x, bool passive, struct error *e)
{
	char what[WHAT_MAX];

	name_of(what, sizeof what, "exchange", x->name);
	amqp_exchange_declare(l->state, AMQP_CHANNEL, bytes_of(x->name), bytes_of(x->type), passive,
		x->durable, x->auto_delete, 0, amqp_empty_table);
	return amqp_link_failed(l, amqp_get_rpc_reply(l->state), what, e);
}

/* 406 for what is there with other parameters: as it is, then. */
static bool is_other(const struct amqp_link *l, int r)
{
	return r == ERR_ARG && l->up;
}

int amqp_declare_exchange(struct amqp_link *l, const struct amqp_exchange *x,
	struct amqp_declared *out, struct error *e)
{
	int r;

	*out = (struct amqp_declared){0};
	r = declare_exchange(l, x, !x->create, &out->how);
	if (x->create && is_other(l, r)) {
		out->differs = true;
		if ((r = amqp_link_rechannel(l, e)) < 0)
			return r;
		return declare_exchange(l, x, true, e);
	}
	if (r < 0 && e)
		*e = out->how;
	return r;
}

static amqp_table_entry_t argument(const char *name, const char *value)
{
	amqp_table_entry_t entry = text_entry(name, value);
	int64_t number;

	if (str_i64(str_c(value), &number)) {
		entry.value.kind = AMQP_FIELD_KIND_I64;
		entry.value.value.i64 = number;
	} else if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0) {
		entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
		entry.value.value.boolean = value[0] == 't';
	}
	return entry;
}

/* Into `entries`, of ARGUMENTS_MAX. */
static int put_arguments(
	const struct amqp_queue *q, amqp_table_entry_t *entries, amqp_table_t *out, struct error *e)
{
	size_t n = 0;

	if (q->type)
		entries[n++] = text_entry("x-queue-type", q->type);
	for (size_t i = 0; q->arguments && i < q->arguments->n; i++) {
		const char *name = q->arguments->items[i].name;

		if (q->type && strcmp(name, "x-queue-type") == 0)
			continue;
		if (n == ARGUMENTS_MAX)
			return error_set(e, ERR_LIMIT, "queue \"%s\": more than %d arguments",
				q->name, ARGUMENTS_MAX);
		entries[n++] = argument(name, q->arguments->items[i].value);
	}
	*out = (amqp_table_t){(int)n, entries};
	return 0;
}

static int declare_queue(struct amqp_link *l, const struct amqp_queue *q, bool passive,
	struct arena *a, const char **name, struct amqp_declared *out, struct error *e)
{
	amqp_table_entry_t entries[ARGUMENTS_MAX];
	const amqp_queue_declare_ok_t *ok;
	char what[WHAT_MAX];
	amqp_table_t table;
	int r;

	if ((r = put_arguments(q, entries, &table, e)) < 0)
		return r;
	name_of(what, sizeof what, "queue", q->name);
	ok = amqp_queue_declare(l->state, AMQP_CHANNEL, bytes_of(q->name), passive, q->durable,
		q->exclusive, q->auto_delete, passive ? amqp_empty_table : table);
	if ((r = amqp_link_failed(l, amqp_get_rpc_reply(l->state), what, e)) < 0)
		return r;
	assert(ok);
	*name = arena_c(a, str_make(ok->queue.bytes, ok->queue.len));
	out->messages = ok->message_count;
	out->consumers = ok->consumer_count;
	return 0;
}

int amqp_declare_queue(struct amqp_link *l, const struct amqp_queue *q, struct arena *a,
	const char **name, struct amqp_declared *out, struct error *e)
{
	int r;

	*out = (struct amqp_declared){0};
	r = declare_queue(l, q, !q->create, a, name, out, &out->how);
	if (q->create && is_other(l, r)) {
		out->differs = true;
		if ((r = amqp_link_rechannel(l, e)) < 0)
			return r;
		return declare_queue(l, q, true, a, name, out, e);
	}
	if (r < 0 && e)
		*e = out->how;
	return r;
}

int amqp_bind(struct amqp_link *l, const char *queue, const char *exchange, const char *key,
	struct error *e)
{
	char what[WHAT_MAX * 2];
	struct buf text = {0};

	buf_printf(&text, "binding queue \"%.255s\" to exchange \"%.255s\"", queue, exchange);
	str_copy(buf_view(&text), what, sizeof what);
	buf_fini(&text);
	amqp_queue_bind(l->state, AMQP_CHANNEL, bytes_of(queue), bytes_of(exchange), bytes_of(key),
		amqp_empty_table);
	return amqp_link_failed(l, amqp_get_rpc_reply(l->state), what, e);
}
