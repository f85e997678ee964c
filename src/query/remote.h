/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One other server, asked for pages over HTTP (POST /api/v1/scan).  Connections
 * are kept between questions, one a question at a time.
 *
 * A server that let us wait for nothing is left alone for some seconds: its
 * next questions fail at once, with the sentence of the one that failed.
 * Thread rule: any thread.
 */
#include "base/lock.h"
#include "query/pages.h"

struct remote;
struct ws_client; /* net/client.h */

struct remote_options { /* copied */
	const char *url;
	const char *zone;       /* for sentences; NULL: none */
	const char *token_file; /* read when a connection is made; NULL: none */
	const char *ca;         /* PEM; NULL: the system's */
	int64_t timeout_ns;     /* for each page */
};

/* ERR_ARG: the URL. */
int remote_new(struct remote **out, const struct remote_options *o, struct error *e);
/* No question is under way. */
void remote_free(struct remote *r);
const char *remote_url(const struct remote *r);
/* Is it another machine, to which bytes are worth compressing? */
bool remote_is_far(const struct remote *r);

/* A question under way, for whoever wants to end it. */
struct remote_call {
	/* Under `lock`. */
	struct lock lock;
	struct http_client *client;
	bool cancelled;
};

void remote_call_init(struct remote_call *c);
void remote_call_fini(struct remote_call *c);
/* Another thread: the question fails with ERR_CANCELLED soon, and so does each later one. */
void remote_call_cancel(struct remote_call *c);

/* Ask for a page; blocks.  `call` may be NULL.  What the page and its way hold is charged to
 * `account` (NULL: not), of which page->bytes are left when it succeeds.  ERR_NET, ERR_DENIED,
 * ERR_LIMIT with *too_much set when less is to be asked for, ERR_CORRUPT, ERR_UNSUPPORTED,
 * ERR_CANCELLED; the sentence names the server.  *out is to be finished after success. */
int remote_page(struct remote *r, struct str tenant, const struct page_request *q,
	struct remote_call *call, struct account *account, struct page *out, bool *too_much,
	struct error *e);
void remote_page_fini(struct page *p, struct account *account);

/* Open a WebSocket of it at `path` (with its query, encoded), with the same token and CA.  Blocks
 * for at most a few seconds, less when `ending` (may be NULL) says so.  As ws_client_open. */
int remote_socket(struct remote *r, struct str tenant, const char *path, bool (*ending)(void *arg),
	void *arg, struct ws_client **out, struct error *e);

/* It lets somebody wait in vain: so it is left alone for some seconds, with this sentence.  NULL:
 * it is there again. */
void remote_leave_alone(struct remote *r, const struct error *e);

/* The instance id of its last answer, and the monotonic time of it.  "" before the first one, and
 * when it has failed since. */
void remote_last(struct remote *r, char instance[INSTANCE_SIZE], int64_t *mono_ns);
void remote_dump(struct remote *r, struct buf *out);
