/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the files of the server know of each other; nobody else includes this.
 *
 *	http.c       life: addresses, threads, TLS, what is looked at each second
 *	receive.c    a request on its way in, its refusal, and the answer's way out
 *	request.c    the request as its handler sees it
 *	websocket.c  upgraded connections
 *	chunked.c    answers without an end
 *
 * A request is held twice: by its connection, until libmicrohttpd is done with
 * it, and from the call of the handler on by the handler, until it answers.
 *
 *	RECEIVING -> RUNNING ---------------> ANSWERED   answered inside the handler
 *	                \-> SUSPENDED ------> ANSWERED   answered later: connection resumed
 *	                        \-----------> ORPHAN     the server stops: 503 goes out, the late
 *	                                                 answer goes nowhere
 *
 * The state is one atomic; who moves it from SUSPENDED resumes the connection.
 */
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/lock.h"
#include "loop/loop.h"
#include "net/http.h"
#include "net/router.h"
#include "net/url.h"

enum request_state {
	REQUEST_RECEIVING,
	REQUEST_RUNNING,
	REQUEST_SUSPENDED,
	REQUEST_ANSWERED,
	REQUEST_ORPHAN,
};

struct request_header {
	struct str name, value;
};

struct http_request {
	/* Atomic. */
	_Atomic int refs;
	_Atomic int state;
	_Atomic bool gone;
	_Atomic size_t charged; /* bytes of the server's account; taken by who exchanges it for 0 */
	/* Under the server's lock: in `receiving` while a body comes, in `in_flight` from the call
	 * of the handler until the answer is sent. */
	struct list in_flight;
	bool busy; /* counted in n_busy */
	/* Connection's thread until the handler is called, fixed then. */
	struct http_server *server;
	struct MHD_Connection *connection;
	int fd;
	bool begun, entered; /* entered: is in one of the server's lists */
	char method[16], peer[INET6_ADDRSTRLEN];
	struct route_match match;
	struct url_path path;
	struct url_params params;
	struct request_header *headers; /* one block with their texts */
	size_t n_headers;
	struct http_identity identity;
	size_t limit;       /* of the body */
	size_t discard_max; /* of the body of a refused one; more cuts the connection */
	size_t discarded;
	int refusal; /* status, 0 for none */
	/* Handler, until it answers; then the connection's thread. */
	struct buf body;
	struct buf extra; /* "name\0value\0" of http_set_header */
	int status;
	struct MHD_Response *response;
	struct account *held_by; /* of the answer; NULL: it is charged to none */
	uint64_t held;
	struct ws *ws; /* to be opened by the answer 101 */
	char target[]; /* as it came */
};

/* A connection over TLS, from its accept to its close. */
struct tls_connection {
	struct tls_server *tls; /* one reference: the session uses its certificates */
	int fd;
	int64_t since_ms;
	bool waiting;     /* connection's thread: has not sent the head of a request yet */
	bool shaken;      /* connection's thread: the handshake is done */
	bool late;        /* under the server's lock: cut for that */
	struct list node; /* under the server's lock: in `shaking` while it waits */
};

struct http_server {
	struct http_options o;
	struct router *router;
	_Atomic int refs; /* the starter and each request: an orphan may outlive the server */
	struct MHD_Daemon **daemons;
	int *sockets; /* listening, until a daemon has taken them: then -1 */
	unsigned *ports;
	size_t n_daemons;
	struct loop *loop;
	struct timer tick; /* loop's thread */
	struct ws_hub *hub;
	/* Under `lock`. */
	struct lock lock;
	struct cond changed;
	bool stopping;
	struct list receiving; /* requests whose body is coming */
	struct list in_flight; /* requests that are being answered */
	struct list shaking;   /* TLS connections without a request so far, the oldest first */
	struct tls_server *tls;
	size_t n_busy; /* those whose answer is not with libmicrohttpd yet */
};

struct http_request *request_new(
	struct http_server *s, const char *target, struct MHD_Connection *connection);
void request_unref(struct http_request *r);
/* Copy the headers, method and peer out of the connection, so that they outlive it. */
void request_read_head(struct http_request *r, const char *method);
/* Free the body and give its charge back. */
void request_drop_body(struct http_request *r);
/* Make the response that will be queued, taking `body`. */
void request_respond(
	struct http_request *r, int status, const char *content_type, struct buf *body);
/* Those of each answer, into the response. */
void request_add_headers(struct http_request *r, const char *content_type);
/* The last step of each answer: hand the response to the connection. */
void request_answered(struct http_request *r);
/* On the connection's thread: the server need not wait for it any more. */
void request_leave(struct http_request *r);
void server_unref(struct http_server *s);
/* Over TLS: the connection has sent the head of a request. */
void server_connection_spoke(struct http_request *r);

/* libmicrohttpd's callbacks; `arg` is the server. */
void *receive_target(void *arg, const char *target, struct MHD_Connection *connection);
size_t receive_escaped(void *arg, struct MHD_Connection *connection, char *s);
enum MHD_Result receive_request(void *arg, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *data, size_t *n, void **request);
void receive_completed(void *arg, struct MHD_Connection *connection, void **request,
	enum MHD_RequestTerminationCode how);

/* All WebSockets of a server.  Any thread but where said. */
struct ws_hub;
/* `account` is charged for what waits to be sent; may be NULL.  The times are 15 s and 45 s but
 * in tests. */
struct ws_hub *ws_hub_new(
	struct loop *l, struct account *account, unsigned ping_ms, unsigned dead_ms);
void ws_hub_tick(struct ws_hub *h); /* loop's thread, each second or so */
/* Close all, also those opened from now on, with 1001. */
void ws_hub_stop(struct ws_hub *h);
/* Wait up to `ms` until none is left; then cut what is left and wait for that. */
void ws_hub_wait(struct ws_hub *h, unsigned ms);
void ws_hub_free(struct ws_hub *h);
/* It will never be opened: call closed alone. */
void ws_abandon(struct ws *w);
