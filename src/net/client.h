/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * HTTP and WebSocket client over libcurl and wslay, blocking: for commands and
 * for threads of their own (the forwarder's uplink).  One thread at a time.
 */
#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"
#include "conf/option.h"

struct http_client;

struct http_client_options {
	const char *url;        /* "http://127.0.0.1:3100"; a path in it is a prefix */
	const char *tenant;     /* X-Scope-OrgID, NULL for none */
	const char *bearer;     /* Authorization: Bearer, NULL for none */
	const char *user;       /* "name:password" for Basic authentication, NULL for none; not
				 * used when there is a bearer */
	const char *user_agent; /* NULL: sawlog/VERSION */
	const char *ca_file;    /* PEM; NULL: the system's */
	const char *cert_file, *key_file; /* of the client, PEM; NULL for none */
	const char *proxy;                /* URL; NULL: by http_proxy, https_proxy, no_proxy */
	bool insecure;                    /* do not check the server's certificate */
	/* Connect to addresses of the public network alone, whatever the name leads to: not to this
	 * machine, private and link-local ones; ERR_DENIED.  Proxies of the environment are not
	 * used then; for one that is named here, targets are its matter. */
	bool public_only;
	const struct string_map *headers; /* more of them; NULL for none.  Copied */
	unsigned connect_ms, timeout_ms;  /* 0: 10 s, 60 s */
	/* True: give up, with ERR_CANCELLED; asked now and then during a call, and while a
	 * WebSocket is opened.  May be NULL. */
	bool (*ending)(void *arg);
	void *ending_arg; /* borrowed */
};

struct http_answer {
	int status;
	struct buf body;   /* at most the max_body asked for */
	int retry_after_s; /* 0 when absent */
};

int http_client_new(struct http_client **out, const struct http_client_options *o, struct error *e);
void http_client_free(struct http_client *c);
/* X-Scope-OrgID of the calls from now on, for one that was made without a tenant; empty: none. */
void http_client_set_tenant(struct http_client *c, struct str tenant);
/* `method` with `path` (already encoded, with its query) on the kept connection.
 * 0 with any status; ERR_NET with where and why: "http://…: connection refused"; ERR_LIMIT: the
 * answer is larger than max_body, its status alone is in `out`. `content_type`, `encoding` may be
 * NULL. */
int http_client_call(struct http_client *c, const char *method, const char *path, struct str body,
	const char *content_type, const char *encoding, size_t max_body, struct http_answer *out,
	struct error *e);
void http_answer_fini(struct http_answer *a);
/* Another thread: make the call in progress fail with ERR_CANCELLED soon, and each later one. */
void http_client_cancel(struct http_client *c);
/* Append s percent-encoded for a query (RFC 3986 unreserved stay). */
void url_encode(struct buf *out, struct str s);

/* Opens ws(s):// for an http(s):// url.  Any status but 101 is ERR_NET with the body's text
 * (ERR_ARG for 400, ERR_DENIED for 401 and 403). */
struct ws_client;
int ws_client_open(struct ws_client **out, const struct http_client_options *o, const char *path,
	struct error *e);
/* The next text or binary message, appended: 0; ERR_TIMEOUT after `ms`; ERR_CLOSED when the
 * server closed (the sentence holds code and reason); ERR_NET. */
int ws_client_next(struct ws_client *w, struct buf *out, unsigned ms, struct error *e);
/* For who waits for several: readable means that ws_client_next with 0 ms has something to do.  To
 * be waited for only after it said ERR_TIMEOUT, as it may have read on. */
int ws_client_fd(const struct ws_client *w);
void ws_client_free(struct ws_client *w);
