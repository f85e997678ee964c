/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request on its way in and its answer on the way out.
 *
 * libmicrohttpd calls receive_request several times: once with the head, once
 * for each piece of the body, once after the body, and once more when a
 * suspended connection is resumed.  The body is charged before it is kept:
 * whole when its length is announced, else as its buffer grows.
 *
 * A refusal is decided as early as possible but sent after the body was read
 * and thrown away: closing a socket with unread bytes resets it, and the client
 * would see "connection reset" in place of the sentence.  It goes out at once
 * only when the client waits for it (Expect: 100-continue) or the rest is
 * larger than MAX_DISCARD; for a client that may not send at all the bound is
 * MAX_DISCARD_DENIED.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "net/request.h"

enum {
	SMALL_BODY = 64 << 10, /* limit of routes without HTTP_BIG */
	MAX_DISCARD = 256 << 20,
	MAX_DISCARD_DENIED = 1 << 20, /* a batch of common size: its sender reads the sentence */
	BODY_SLACK = 64,              /* zero bytes after the body, for decoders that read beyond */
	FIRST_PIECE = 16 << 10,
};

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
	server_connection_spoke(r);
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
void *receive_target(void *arg, const char *target, struct MHD_Connection *connection)
{
	struct http_request *r = request_new(arg, target, connection);
	char *query = strchr(target, '?');

	if (query && query[1])
		query[1] = '\0';
	return r;
}

/* Leave "%41" and "+" alone: they are decoded once, by us. */
size_t receive_escaped(void *arg, struct MHD_Connection *connection, char *s)
{
	return strlen(s);
}

enum MHD_Result receive_request(void *arg, struct MHD_Connection *connection, const char *url,
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

void receive_completed(void *arg, struct MHD_Connection *connection, void **request,
	enum MHD_RequestTerminationCode how)
{
	struct http_request *r = *request;

	if (!r)
		return;
	*request = NULL;
	request_leave(r);
	request_unref(r);
}
