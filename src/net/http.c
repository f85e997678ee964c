/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server: one libmicrohttpd daemon for each listen address, each with its
 * pool of epoll threads, and one loop for the WebSockets and the tick.
 *
 * libmicrohttpd calls on_request several times for a request: once with the
 * head, once for each piece of the body, once after the body, and once more
 * when a suspended connection is resumed.  The body is charged before it is
 * kept: whole when its length is announced, else as its buffer grows.
 *
 * A refusal is decided as early as possible but sent after the body was read
 * and thrown away: closing a socket with unread bytes resets it, and the client
 * would see "connection reset" in place of the sentence.  It goes out at once
 * only when the client waits for it (Expect: 100-continue) or the rest is
 * larger than MAX_DISCARD; for a client that may not send at all the bound is
 * MAX_DISCARD_DENIED.
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
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/listen.h"
#include "net/request.h"

enum {
	SMALL_BODY = 64 << 10, /* limit of routes without HTTP_BIG */
	MAX_DISCARD = 256 << 20,
	MAX_DISCARD_DENIED = 1 << 20, /* a batch of common size: its sender reads the sentence */
	BODY_SLACK = 64,              /* zero bytes after the body, for decoders that read beyond */
	FIRST_PIECE = 16 << 10,
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

/* TLS */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void *connection_opened(struct http_server *s, struct MHD_Connection *connection)
{
	struct tls_connection *c = xcalloc(1, sizeof *c);

	c->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	c->since_ms = now_ms();
	c->waiting = true;
	list_init(&c->node);
	lock_take(&s->lock);
	c->tls = tls_server_ref(s->tls);
	list_append(&s->shaking, &c->node);
	lock_drop(&s->lock);
	tls_server_attach(
		c->tls, MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION)
				->tls_session);
	return c;
}

static void connection_closed(struct http_server *s, struct tls_connection *c)
{
	lock_take(&s->lock);
	list_remove(&c->node);
	lock_drop(&s->lock);
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

static void connection_spoke(struct http_request *r)
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

/* Refusals */

static const char *route_name(const struct http_request *r)
{
	return r->match.route ? r->match.route->path : "";
}

static void refuse(struct http_request *r, int status, const char *fmt, ...) PRINTF(3, 4);

/* Decide the answer without the handler; it is sent by send_answer. */
static void refuse(struct http_request *r, int status, const char *fmt, ...)
{
	const struct http_options *o = &r->server->o;
	struct buf text = {0};
	va_list ap;

	assert(!r->refusal);
	r->refusal = status;
	request_drop_body(r);
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	if (o->refused)
		o->refused(o->ctx, route_name(r), status, buf_cstr(&text));
	request_respond(r, status, NULL, &text);
}

/* "16MiB", or in bytes when it is no whole number of units. */
static const char *size_text(char out[32], uint64_t n)
{
	if (n && n % (1 << 20) == 0)
		snprintf(out, 32, "%lluMiB", (unsigned long long)n >> 20);
	else if (n && n % (1 << 10) == 0)
		snprintf(out, 32, "%lluKiB", (unsigned long long)n >> 10);
	else
		snprintf(out, 32, "%llu bytes", (unsigned long long)n);
	return out;
}

/* n is 0 when the client did not say. */
static void refuse_size(struct http_request *r, uint64_t n)
{
	char size[32], limit[32];

	refuse(r, MHD_HTTP_CONTENT_TOO_LARGE,
		"body%s%s is over the limit of %s: send smaller batches", n ? " of " : "",
		n ? size_text(size, n) : "", size_text(limit, r->limit));
}

static void refuse_memory(struct http_request *r, uint64_t n)
{
	char size[32];

	http_set_header(r, "Retry-After", "1");
	refuse(r, MHD_HTTP_TOO_MANY_REQUESTS, "no memory for %s of body now: try again in a second",
		size_text(size, n));
}

/* Head */

static void answer_options(struct http_request *r)
{
	const struct http_options *o = &r->server->o;
	struct buf allow = {0}, empty = {0};

	route_allow(&allow, r->match.allowed, true);
	http_set_header(r, "Allow", buf_cstr(&allow));
	http_set_header(r, "Access-Control-Allow-Methods", buf_cstr(&allow));
	http_set_header(r, "Access-Control-Allow-Headers",
		"Authorization, Content-Type, Content-Encoding, X-Scope-OrgID");
	http_set_header(r, "Access-Control-Max-Age", "600");
	buf_fini(&allow);
	r->refusal = MHD_HTTP_NO_CONTENT;
	if (o->served)
		o->served(o->ctx, "", r->refusal);
	request_respond(r, r->refusal, NULL, &empty);
}

static void find_route(struct http_request *r)
{
	struct str path, query;
	struct error e;
	int code;

	url_split(str_c(r->target), &path, &query);
	if ((code = url_path_parse(&r->path, path, &e)) == ERR_ARG) {
		refuse(r, MHD_HTTP_BAD_REQUEST, "%s", e.text);
		return;
	}
	if (code == 0)
		r->match = router_find(r->server->router, &r->path, route_method(str_c(r->method)));
	if (!r->match.allowed) {
		refuse(r, MHD_HTTP_NOT_FOUND, "no such path: %.*s",
			(int)(path.n < 200 ? path.n : 200), path.p);
	} else if (!r->match.route && r->match.cors && strcmp(r->method, "OPTIONS") == 0) {
		answer_options(r);
	} else if (!r->match.route) {
		struct buf allow = {0};
		route_allow(&allow, r->match.allowed, r->match.cors);
		http_set_header(r, "Allow", buf_cstr(&allow));
		refuse(r, MHD_HTTP_METHOD_NOT_ALLOWED, "%.*s takes %s, not %s",
			(int)(path.n < 200 ? path.n : 200), path.p, allow.p, r->method);
		buf_fini(&allow);
	}
}

/* Ask who it is before anything of the body is read. */
static void admit(struct http_request *r)
{
	const struct http_options *o = &r->server->o;
	struct error e = {0};
	int status;

	if (!o->admit || (status = o->admit(o->ctx, r, &r->identity, &e)) == 0)
		return;
	r->discard_max = MAX_DISCARD_DENIED;
	if (status == MHD_HTTP_UNAUTHORIZED) {
		/* Browsers ask for a password by the second. */
		http_set_header(r, "WWW-Authenticate", "Bearer");
		http_set_header(r, "WWW-Authenticate", "Basic realm=\"sawlog\"");
	}
	refuse(r, status, "%s", e.text);
}

/* What the client says is to come: 0 with *chunked when it does not say. */
static uint64_t announced_length(const struct http_request *r, bool *chunked)
{
	struct str text;
	uint64_t n = 0;

	*chunked = http_header(r, MHD_HTTP_HEADER_TRANSFER_ENCODING, &text);
	if (!*chunked && http_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH, &text) &&
		!str_u64(text, &n))
		n = UINT64_MAX;
	return n;
}

static void prepare_body(struct http_request *r, uint64_t n)
{
	if (n > r->limit) {
		refuse_size(r, n);
	} else if (account_charge(r->server->o.account, n) < 0) {
		refuse_memory(r, n);
	} else {
		r->charged = n;
		buf_reserve(&r->body, n + BODY_SLACK);
	}
}

static void expect_body(struct http_request *r)
{
	struct http_server *s = r->server;

	lock_take(&s->lock);
	list_append(&s->receiving, &r->in_flight);
	lock_drop(&s->lock);
	r->entered = true;
}

static enum MHD_Result send_answer(struct http_request *r);

static enum MHD_Result begin(struct http_request *r, const char *method)
{
	struct str expect;
	uint64_t n;
	bool chunked;

	r->begun = true;
	r->discard_max = MAX_DISCARD;
	connection_spoke(r);
	request_read_head(r, method);
	n = announced_length(r, &chunked);
	find_route(r);
	if (!r->refusal)
		admit(r);
	if (!r->refusal) {
		r->limit = r->match.route->flags & HTTP_BIG ? r->server->o.max_body : SMALL_BODY;
		if (r->limit > r->server->o.max_body)
			r->limit = r->server->o.max_body;
		if (n)
			prepare_body(r, n);
	}
	if (!r->refusal && (n || chunked))
		expect_body(r);
	if (r->refusal &&
		(n > r->discard_max ||
			((n || chunked) && http_header(r, MHD_HTTP_HEADER_EXPECT, &expect))))
		return send_answer(r);
	return MHD_YES;
}

/* Body */

/* Room for n more bytes of a body of unknown length, charged before it is there. */
static bool grow_body(struct http_request *r, size_t n)
{
	struct buf *b = &r->body;
	size_t cap = b->cap ? b->cap * 2 : FIRST_PIECE, most = r->limit + BODY_SLACK;

	if (cap > most)
		cap = most;
	if (cap < b->n + n + BODY_SLACK)
		cap = b->n + n + BODY_SLACK;
	if (account_charge(r->server->o.account, cap - b->cap) < 0) {
		refuse_memory(r, cap);
		return false;
	}
	atomic_fetch_add(&r->charged, cap - b->cap);
	b->p = xrealloc(b->p, cap);
	b->cap = cap;
	return true;
}

static enum MHD_Result take_piece(struct http_request *r, const char *p, size_t n)
{
	if (!r->refusal && n > r->limit - r->body.n)
		refuse_size(r, 0);
	if (!r->refusal && (r->body.cap >= r->body.n + n + BODY_SLACK || grow_body(r, n))) {
		buf_put(&r->body, p, n);
		return MHD_YES;
	}
	r->discarded += n;
	return r->discarded <= r->discard_max ? MHD_YES : MHD_NO;
}

static bool is_form(const struct http_request *r)
{
	static const struct str type = STR_INIT("application/x-www-form-urlencoded");
	struct str text;

	if (!(r->match.route->flags & HTTP_FORM) || !http_header(r, "Content-Type", &text))
		return false;
	return str_eq_nocase(str_trim(str_cut(&text, ';')), type);
}

/* The form's fields go before those of the query, as in Go's net/http, whose clients push here. */
static void read_params(struct http_request *r)
{
	struct str path, query;
	struct error e;
	int code = 0;

	url_split(str_c(r->target), &path, &query);
	if (is_form(r)) {
		/* The decoded copy is as large as the body. */
		if (account_charge(r->server->o.account, r->body.n) < 0) {
			refuse_memory(r, r->body.n);
			return;
		}
		atomic_fetch_add(&r->charged, r->body.n);
		if ((code = url_params_add(&r->params, buf_view(&r->body), &e)) < 0)
			error_wrap(&e, code, "form");
	}
	if (code == 0 && (code = url_params_add(&r->params, query, &e)) < 0)
		error_wrap(&e, code, "query");
	if (code < 0)
		refuse(r, MHD_HTTP_BAD_REQUEST, "%s", e.text);
}

/* Answer */

/* Hand the response to libmicrohttpd: on the connection's thread. */
static enum MHD_Result send_answer(struct http_request *r)
{
	enum MHD_Result result =
		MHD_queue_response(r->connection, (unsigned)r->status, r->response);

	MHD_destroy_response(r->response);
	r->response = NULL;
	return result;
}

/* The server stops before the handler answered. */
static enum MHD_Result send_stopping(struct http_request *r)
{
	static const char text[] = "the server is stopping: try again";
	struct MHD_Response *response = MHD_create_response_from_buffer(
		sizeof text - 1, (void *)text, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result result;

	MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	result = MHD_queue_response(r->connection, MHD_HTTP_SERVICE_UNAVAILABLE, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result finish(struct http_request *r, int state)
{
	struct http_server *s = r->server;
	enum MHD_Result result;

	if (state == REQUEST_ORPHAN) {
		if (s->o.refused)
			s->o.refused(s->o.ctx, route_name(r), MHD_HTTP_SERVICE_UNAVAILABLE,
				"the server is stopping");
		result = send_stopping(r);
	} else {
		/* Before the client can see the answer, so that it finds itself counted. */
		if (s->o.served)
			s->o.served(s->o.ctx, route_name(r), r->status);
		result = send_answer(r);
	}
	lock_take(&s->lock);
	s->n_busy -= r->busy;
	r->busy = false;
	if (s->stopping)
		cond_broadcast(&s->changed);
	lock_drop(&s->lock);
	return result;
}

static bool enter(struct http_request *r)
{
	struct http_server *s = r->server;
	bool stopping;

	lock_take(&s->lock);
	stopping = s->stopping;
	list_remove(&r->in_flight);
	if (!stopping) {
		list_append(&s->in_flight, &r->in_flight);
		s->n_busy++;
		r->busy = true;
	}
	lock_drop(&s->lock);
	r->entered = !stopping;
	return !stopping;
}

/* The whole request is there: let the handler answer it. */
static enum MHD_Result dispatch(struct http_request *r)
{
	int running = REQUEST_RUNNING;

	if (!r->refusal)
		read_params(r);
	if (!r->refusal && !enter(r)) {
		http_set_header(r, "Connection", "close");
		refuse(r, MHD_HTTP_SERVICE_UNAVAILABLE, "the server is stopping: try again");
	}
	if (r->refusal)
		return send_answer(r);
	if (r->body.p)
		memset(r->body.p + r->body.n, 0, BODY_SLACK);
	atomic_fetch_add(&r->refs, 1); /* the handler's */
	r->state = REQUEST_RUNNING;
	r->match.route->handle(r, r->server->o.ctx);
	if (r->state == REQUEST_ANSWERED)
		return finish(r, REQUEST_ANSWERED);
	/* Suspended before the state says so: who answers then may resume.  An answer that came
	 * in between has left that to us. */
	MHD_suspend_connection(r->connection);
	if (!atomic_compare_exchange_strong(&r->state, &running, REQUEST_SUSPENDED))
		MHD_resume_connection(r->connection);
	return MHD_YES;
}

/* libmicrohttpd's callbacks */

/* The query is ours to read.  libmicrohttpd (0.9.75) would copy each of its parameters into the
 * connection's memory, and when they do not fit there it neither answers nor completes the
 * request, which is lost for ever.  So it gets none: the target is a view of its own buffer. */
static void *on_target(void *arg, const char *target, struct MHD_Connection *connection)
{
	struct http_request *r = request_new(arg, target, connection);
	char *query = strchr(target, '?');

	if (query && query[1])
		query[1] = '\0';
	return r;
}

/* Leave "%41" and "+" alone: they are decoded once, by us. */
static size_t keep_escapes(void *arg, struct MHD_Connection *connection, char *s)
{
	return strlen(s);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *data, size_t *n, void **request)
{
	struct http_request *r = *request;
	int state = r->state;

	if (state != REQUEST_RECEIVING)
		return finish(r, state);
	if (!r->begun)
		return begin(r, method);
	if (*n) {
		size_t piece = *n;
		*n = 0;
		return take_piece(r, data, piece);
	}
	return dispatch(r);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **request,
	enum MHD_RequestTerminationCode how)
{
	struct http_request *r = *request;

	if (!r)
		return;
	*request = NULL;
	request_leave(r);
	request_unref(r);
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
 * a list: on_completed comes before the close. */
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
	/* Its threads inherit the mask: signals go to the main thread alone. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	d = MHD_start_daemon(flags, 0, NULL, NULL, on_request, s, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_URI_LOG_CALLBACK,
		on_target, s, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, s,
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

unsigned http_server_port(const struct http_server *s, size_t n)
{
	assert(n < s->n_daemons);
	return s->ports[n];
}
