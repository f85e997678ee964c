/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What websocket.c and chunked.c know of each other; nobody else includes this. */
#include <gnutls/gnutls.h>
#include <wslay/wslay.h>

#include "net/request.h"

enum {
	WS_MAX_QUEUE = 1 << 20,
	WS_KEEP_BUFFER = 64 << 10, /* a larger buffer is freed once it is empty */
	WS_MAX_REASON = 123,
};

struct ws_hub {
	/* Fixed. */
	struct loop *loop;
	struct account *account;
	unsigned ping_ms, dead_ms;
	/* Loop's thread. */
	struct list open;
	/* Under `lock`. */
	struct lock lock;
	struct cond changed;
	size_t n; /* from http_upgrade to the free */
	bool stopping, cut;
};

struct ws {
	/* Fixed from the start on. */
	struct ws_hub *hub;
	struct ws_events events;
	void *arg;
	bool stream; /* no WebSocket but a response in pieces: net/chunked.c */
	int fd;
	struct MHD_UpgradeResponseHandle *handle;
	gnutls_session_t tls; /* NULL: plain */
	int wire_fd;          /* the connection's own socket; with TLS not `fd` */
	/* Loop's thread. */
	struct list node;
	wslay_event_context_ptr wslay;
	uv_poll_t poll;
	uv_poll_t wire;            /* of wire_fd, with TLS */
	unsigned n_polls;          /* not yet closed */
	int watched, wire_watched; /* events of the polls */
	bool over;                 /* `end` was called */
	bool dead;                 /* does not answer pings */
	bool closing;              /* a close came or went; until close_until_ms */
	bool lingering;            /* we have said all, and throw away what still comes */
	struct buf early;          /* read behind the handshake by libmicrohttpd */
	struct buf sending;
	size_t sent;   /* of sending */
	size_t budget; /* bytes that may still be read in this turn */
	uint64_t heard_ms, pinged_ms, close_until_ms;
	/* Under `lock`. */
	struct lock lock;
	struct buf out;
	bool posted; /* a flush, or with a stream `drained`, is on its way to the loop */
	bool ended;  /* nothing may be queued any more */
	bool close_asked;
	unsigned close_code;
	char close_reason[WS_MAX_REASON + 1];
	/* Of a stream, under `lock`: its connection, NULL when that is over. */
	struct MHD_Connection *connection;
	bool suspended; /* the connection waits for bytes */
	bool failed;    /* the client has gone */
	/* Atomic. */
	_Atomic size_t queued;
};

struct ws *ws_new(struct ws_hub *h, const struct ws_events *events, void *arg);
void ws_free(struct ws *w);
/* Count one of r in the hub, which then waits for it; false when the server has given up on r. */
bool ws_hub_enter(struct http_request *r);
/* Loop's thread: one was opened; close it when the hub has stopped already. */
void ws_hub_entered(struct ws *w);
/* Loop's thread: the end of one that was opened, and of one that never was. */
void ws_finish(void *w);

/* chunked.c: bytes or the end wait. */
void stream_wake(struct ws *w) REQUIRES(w->lock);
/* Loop's thread: has its client gone? */
void stream_look(struct ws *w);
/* Loop's thread: end it, whatever still waits. */
void stream_cut(struct ws *w);
