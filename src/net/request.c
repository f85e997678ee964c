/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request as its handler sees it: views of what came in, and the answer.
 * Head and body are copies of the request's own, since libmicrohttpd's die
 * with the connection, and an orphan (see request.h) outlives it.
 */
#include "net/request.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/memory.h"

struct http_request *request_new(
	struct http_server *s, const char *target, struct MHD_Connection *connection)
{
	size_t n = strlen(target);
	struct http_request *r = xcalloc(1, sizeof *r + n + 1);

	r->refs = 1;
	r->server = s;
	atomic_fetch_add(&s->refs, 1);
	r->connection = connection;
	r->fd = -1;
	list_init(&r->in_flight);
	memcpy(r->target, target, n + 1);
	return r;
}

void request_drop_body(struct http_request *r)
{
	size_t charged = atomic_exchange(&r->charged, 0);

	buf_fini(&r->body);
	if (charged)
		account_release(r->server->o.account, charged);
}

void request_unref(struct http_request *r)
{
	if (atomic_fetch_sub(&r->refs, 1) != 1)
		return;
	request_drop_body(r);
	/* The answer 101 never went out: the client has left, or the server stops. */
	if (r->ws)
		ws_abandon(r->ws);
	if (r->response)
		MHD_destroy_response(r->response);
	account_release(r->held_by, r->held);
	url_path_fini(&r->path);
	url_params_fini(&r->params);
	buf_fini(&r->extra);
	free(r->headers);
	server_unref(r->server);
	free(r);
}

void request_leave(struct http_request *r)
{
	struct http_server *s = r->server;

	/* libmicrohttpd completes upgraded connections with a lock held that resuming a connection
	 * takes as well, which we do under ours: those have left before, and take no lock. */
	if (!r->entered)
		return;
	r->entered = false;
	lock_take(&s->lock);
	list_remove(&r->in_flight);
	/* The client may have left before its answer could go out. */
	s->n_busy -= r->busy;
	r->busy = false;
	if (s->stopping)
		cond_broadcast(&s->changed);
	lock_drop(&s->lock);
}

/* Head */

struct head_size {
	size_t n, bytes;
};

static enum MHD_Result measure_header(void *arg, enum MHD_ValueKind kind, const char *name,
	size_t n_name, const char *value, size_t n_value)
{
	struct head_size *size = arg;

	size->n++;
	size->bytes += n_name + n_value;
	return MHD_YES;
}

struct head_copy {
	struct http_request *r;
	char *to;
};

static struct str copy_text(struct head_copy *c, const char *p, size_t n)
{
	char *at = c->to;

	if (n)
		memcpy(at, p, n);
	c->to += n;
	return str_make(at, n);
}

static enum MHD_Result copy_header(void *arg, enum MHD_ValueKind kind, const char *name,
	size_t n_name, const char *value, size_t n_value)
{
	struct head_copy *c = arg;
	struct request_header *h = &c->r->headers[c->r->n_headers++];

	h->name = copy_text(c, name, n_name);
	h->value = copy_text(c, value, n_value);
	return MHD_YES;
}

static void read_peer(struct http_request *r)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *a = info ? info->client_addr : NULL;

	if (a && a->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, r->peer,
			sizeof r->peer);
	else if (a && a->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, r->peer,
			sizeof r->peer);
}

void request_read_head(struct http_request *r, const char *method)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct head_size size = {0};
	struct head_copy copy = {.r = r};

	str_copy(str_c(method), r->method, sizeof r->method);
	r->fd = info ? info->connect_fd : -1;
	read_peer(r);
	MHD_get_connection_values_n(r->connection, MHD_HEADER_KIND, measure_header, &size);
	r->headers = xmalloc(size.n * sizeof *r->headers + size.bytes);
	copy.to = (char *)(r->headers + size.n);
	MHD_get_connection_values_n(r->connection, MHD_HEADER_KIND, copy_header, &copy);
	assert(r->n_headers == size.n);
}

struct str http_method(const struct http_request *r)
{
	return str_c(r->method);
}

struct str http_path(const struct http_request *r)
{
	return buf_view(&r->path.text);
}

struct str http_segment(const struct http_request *r, const char *name)
{
	return route_segment(r->match.route, &r->path, name);
}

bool http_param_nth(const struct http_request *r, const char *name, size_t n, struct str *out)
{
	const struct url_param *p = url_params_get(&r->params, str_c(name), n);

	if (p)
		*out = p->value;
	return p != NULL;
}

struct str http_query(const struct http_request *r)
{
	struct str path, query;

	url_split(str_c(r->target), &path, &query);
	return query;
}

bool http_param(const struct http_request *r, const char *name, struct str *out)
{
	return http_param_nth(r, name, 0, out);
}

bool http_header(const struct http_request *r, const char *name, struct str *out)
{
	for (size_t i = 0; i < r->n_headers; i++) {
		if (str_eq_nocase(r->headers[i].name, str_c(name))) {
			*out = r->headers[i].value;
			return true;
		}
	}
	return false;
}

struct str http_body(const struct http_request *r)
{
	return buf_view(&r->body);
}

struct buf http_take_body(struct http_request *r)
{
	return buf_take(&r->body);
}

const char *http_peer(const struct http_request *r)
{
	return r->peer;
}

const struct http_route *http_route_of(const struct http_request *r)
{
	return r->match.route;
}

const struct http_identity *http_identity(const struct http_request *r)
{
	return &r->identity;
}

bool http_gone(const struct http_request *r)
{
	return r->gone;
}

/* Answer */

void http_set_header(struct http_request *r, const char *name, const char *value)
{
	buf_put(&r->extra, name, strlen(name) + 1);
	buf_put(&r->extra, value, strlen(value) + 1);
}

void request_add_headers(struct http_request *r, const char *content_type)
{
	struct str rest = buf_view(&r->extra);

	MHD_add_response_header(r->response, "X-Content-Type-Options", "nosniff");
	if (r->match.cors)
		MHD_add_response_header(r->response, "Access-Control-Allow-Origin", "*");
	if (content_type)
		MHD_add_response_header(r->response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
	/* libmicrohttpd refuses a value with a line end in it, which is then left out. */
	while (rest.n) {
		struct str name = str_cut(&rest, 0), value = str_cut(&rest, 0);
		MHD_add_response_header(r->response, name.p, value.p);
	}
}

void request_respond(struct http_request *r, int status, const char *content_type, struct buf *body)
{
	bool bodyless = status < 200 || status == 204 || status == 304;

	assert(!r->response);
	if (bodyless)
		buf_fini(body);
	r->status = status;
	if (body->n)
		r->response =
			MHD_create_response_from_buffer(body->n, body->p, MHD_RESPMEM_MUST_FREE);
	else
		r->response =
			MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
	assert(r->response);
	if (body->n)
		*body = (struct buf){0};
	else
		buf_fini(body);
	if (bodyless)
		content_type = NULL;
	else if (!content_type)
		content_type = "text/plain; charset=utf-8";
	request_add_headers(r, content_type);
}

void request_answered(struct http_request *r)
{
	int before;

	/* The views end here, and a thread that answers late may be the last to hold the body. */
	request_drop_body(r);
	before = atomic_exchange(&r->state, REQUEST_ANSWERED);
	assert(before != REQUEST_RECEIVING && before != REQUEST_ANSWERED);
	if (before == REQUEST_SUSPENDED)
		MHD_resume_connection(r->connection);
	request_unref(r);
}

void http_reply_buf(struct http_request *r, int status, const char *content_type, struct buf *take)
{
	request_respond(r, status, content_type, take);
	request_answered(r);
}

void http_hold(struct http_request *r, struct account *a, uint64_t n)
{
	assert(!r->held_by);
	r->held_by = a;
	r->held = n;
}

void http_reply(struct http_request *r, int status, const char *content_type, struct str body)
{
	struct buf copy = {0};

	buf_str(&copy, body);
	http_reply_buf(r, status, content_type, &copy);
}

void http_replyf(struct http_request *r, int status, const char *fmt, ...)
{
	struct buf text = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	http_reply_buf(r, status, NULL, &text);
}
