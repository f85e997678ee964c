/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * HTTP/1.1 server over libmicrohttpd, with WebSocket (RFC 6455) over wslay.
 *
 * A handler is called on one of the server's threads once the whole body is
 * there, charged to the server's account.  It must not block: it answers at
 * once, or keeps the request and answers later from any thread; the connection
 * is suspended meanwhile.  Exactly one http_reply* or http_upgrade a request;
 * after it the request is gone.
 */
#include "base/buf.h"
#include "base/error.h"
#include "base/memory.h"
#include "net/tls.h"

struct http_server;
struct http_request;

enum http_flags {
	HTTP_GET = 1, /* HEAD as well */
	HTTP_POST = 2,
	HTTP_PUT = 4,
	HTTP_DELETE = 8,
	HTTP_CORS = 16, /* Access-Control-Allow-Origin: * and OPTIONS */
	HTTP_FORM = 32, /* POST parameters may come in a form body */
	HTTP_BIG = 64,  /* body up to max_body; without it 64 KiB */
};

struct http_route {
	const char *path; /* "/loki/api/v1/label/{name}/values": {name} is one segment, decoded;
			   * {name=**} at the end all that are left */
	unsigned flags;
	void (*handle)(struct http_request *r, void *ctx);
	const char *help; /* one sentence, for the index of routes */
};

/* Who sent a request, by its credentials. */
struct http_identity {
	bool known;       /* false: nobody was asked who he is */
	char token[17];   /* its id */
	char tenant[151]; /* his; "*": any that the request names */
	unsigned scopes;
};

struct http_options {
	const char *const *listen; /* "127.0.0.1:3100", "[::1]:3100", port 0 picks one; NULL ends */
	unsigned n_threads;
	size_t max_body; /* bytes as sent */
	/* Bodies are charged here: 429 with Retry-After: 1 when full.  Lives at least until
	 * http_server_stop has returned. */
	struct account *account;
	/* What waits in WebSockets, mostly a share of it, so that clients who do not read keep
	 * nobody from sending; NULL: the same. */
	struct account *ws_account;
	const struct http_route *routes; /* path NULL ends; kept */
	void *ctx;                       /* for handle */
	/* Called for each answer of a handler, just before it is sent: for the metrics and the
	 * access log; may be NULL. */
	void (*served)(void *ctx, const char *route, int status);
	/* Called in its place when the server itself refuses (bad body, too large, no such path:
	 * route "").  May be NULL. */
	void (*refused)(void *ctx, const char *route, int status, const char *reason);
	/* Called when the head of a request is there and before its body is read: 0 lets it pass,
	 * as *who; 401, 403 or another status refuses it with the sentence in e, and at most 1 MiB
	 * of its body is read and thrown away.  The request's parameters are not there yet.  NULL:
	 * all pass. */
	int (*admit)(void *ctx, const struct http_request *r, struct http_identity *who,
		struct error *e);
	/* All addresses speak TLS; a reference is taken.  NULL: none does. */
	struct tls_server *tls;
};

int http_server_start(struct http_server **out, const struct http_options *o, struct error *e);
/* New requests get 503; what is being answered may finish for up to `ms`, WebSockets are closed
 * with 1001.  Then close and free.  Requests that are not answered by then get 503 as well; their
 * handlers may still look at them, and must still answer, which then goes nowhere.  NULL is fine.
 */
void http_server_stop(struct http_server *s, unsigned ms);
/* What is open and what is being answered, for people.  NULL is fine. */
void http_server_dump(struct http_server *s, struct buf *out);
/* Port of the nth listen address, for port 0. */
unsigned http_server_port(const struct http_server *s, size_t n);
/* Other certificates for connections that come from now on; a reference is taken.  For a server
 * that speaks TLS. */
void http_server_set_tls(struct http_server *s, struct tls_server *tls);

/* Views are valid until the answer. */
struct str http_method(const struct http_request *r);
struct str http_path(const struct http_request *r);                      /* decoded once */
struct str http_segment(const struct http_request *r, const char *name); /* of the route */
/* What follows the "?" of the target, as it came. */
struct str http_query(const struct http_request *r);
/* Query parameter, or form field with HTTP_FORM; false when absent. */
bool http_param(const struct http_request *r, const char *name, struct str *out);
/* The nth of a repeated parameter: false beyond the last. */
bool http_param_nth(const struct http_request *r, const char *name, size_t n, struct str *out);
bool http_header(const struct http_request *r, const char *name, struct str *out);
/* 64 zero bytes follow a body that is not empty: a decoder may read beyond its end. */
struct str http_body(const struct http_request *r);
/* Move the body out, heap memory that the caller frees.  Its charge stays with the request
 * until the answer. */
struct buf http_take_body(struct http_request *r);
const char *http_peer(const struct http_request *r); /* "127.0.0.1" */
const struct http_route *http_route_of(const struct http_request *r);
const struct http_identity *http_identity(const struct http_request *r);
/* The client has gone: a long query may stop.  Known for suspended requests within ~1 s. */
bool http_gone(const struct http_request *r);

/* Before the answer.  A value with a line end in it is left out. */
void http_set_header(struct http_request *r, const char *name, const char *value);
/* Copies text; content_type NULL is "text/plain; charset=utf-8". */
void http_reply(struct http_request *r, int status, const char *content_type, struct str body);
/* The same, taking the buffer's memory: no copy. */
void http_reply_buf(struct http_request *r, int status, const char *content_type, struct buf *take);
/* Before the answer: n bytes that were charged to `a` for it are given back when it is out.  `a`
 * outlives the server. */
void http_hold(struct http_request *r, struct account *a, uint64_t n);
void http_replyf(struct http_request *r, int status, const char *fmt, ...) PRINTF(3, 4);

/*
 * WebSocket.  All callbacks run on one loop thread of the server's own.
 * ws_send may be called from any thread between open and the return of closed.
 */
struct ws;

struct ws_events {
	void (*open)(struct ws *w, void *arg);                     /* may ws_send from now on */
	void (*text)(struct ws *w, struct str message, void *arg); /* may be NULL */
	/* All that was queued is on the wire: time to send more. May be NULL. */
	void (*drained)(struct ws *w, void *arg);
	void (*closed)(struct ws *w, void *arg); /* the last call: free arg here */
};

/* Answer with 101; 400 when the request is no WebSocket handshake (closed is then called alone,
 * on the loop; when the server has stopped already: here). */
void http_upgrade(struct http_request *r, const struct ws_events *events, void *arg);
/* Queue a text frame. Copies.  ERR_CLOSED; ERR_BUSY when it does not fit: something waits already
 * (`drained` will tell), and it would be more than 1 MiB or the account is full. */
int ws_send(struct ws *w, struct str text);
/* The same as a binary frame. */
int ws_send_binary(struct ws *w, struct str bytes);
/* Close with a code and reason once what is queued is out. */
void ws_close(struct ws *w, unsigned code, const char *reason);
size_t ws_queued(struct ws *w); /* bytes not yet on the wire */

/* Answer 200 with a body that is written piece by piece, as if it were a WebSocket: ws_send and
 * ws_send_binary queue bytes of it, ws_close ends it (code and reason are not told).  When the
 * client goes, closed is called within some seconds. */
void http_stream(struct http_request *r, const char *content_type, const struct ws_events *events,
	void *arg);
