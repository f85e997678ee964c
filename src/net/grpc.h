/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * gRPC server over HTTP/2 (nghttp2): unary and client-streaming methods, in
 * which messages come and one answer goes.  For inputs, on the loop that owns
 * the listener; grpc://host:port is in the clear, grpcs://host:port over TLS
 * with ALPN "h2", where tls.client_ca makes it mutual.
 *
 * Messages may be compressed with gzip (grpc-encoding); others are answered
 * with UNIMPLEMENTED.  Back-pressure is the window of HTTP/2: what the owner
 * does not take is not read.
 * Sources: gRPC over HTTP2 (grpc/doc/PROTOCOL-HTTP2.md), RFC 9113.
 * Thread rule: the loop's.
 */
#include "net/listener.h"

struct grpc_server;
struct grpc_call;

/* Numbers of the protocol. */
enum grpc_status {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_UNAUTHENTICATED = 16,
};

enum grpc_status grpc_status_of(int error_code);

struct grpc_method {
	const char *path; /* "/loggregator.v2.Ingress/BatchSender"; NULL ends the table */
	/* A call begins.  `authorization` is that header, or "".  Not 0: it is refused with the
	 * sentence of e, and with that status, or with that of an error (grpc_status_of). */
	int (*begin)(void *arg, struct grpc_call *c, struct str authorization, void **state,
		struct error *e);
	/* A whole message, inflated.  Not 0 ends the call with that.  After grpc_server_pause
	 * within it some more may come, those that were sent right behind it. */
	int (*message)(struct grpc_call *c, void *state, struct str bytes, struct error *e);
	/* The client sends no more: answer now or later with grpc_reply. */
	void (*end)(struct grpc_call *c, void *state);
	/* The call is over, for whatever reason: `state` is free, and the call gone. */
	void (*closed)(struct grpc_call *c, void *state);
};

struct grpc_options {
	struct listener_options listener;  /* address is grpc:// or grpcs:// */
	const struct grpc_method *methods; /* borrowed */
	uint64_t max_message;              /* inflated; 0: 4 MiB, as gRPC's own default */
	unsigned max_streams;              /* of a connection; 0: 256 */
};

int grpc_server_open(struct grpc_server **out, struct loop *loop, const struct grpc_options *o,
	void *arg, void (*refused)(void *arg, const struct refusal *r), struct error *e);
/* One answer: message and status.  The call is over once it is sent. */
void grpc_reply(struct grpc_call *c, struct str message);
void grpc_fail(struct grpc_call *c, enum grpc_status status, const char *sentence);
const char *grpc_peer(const struct grpc_call *c);
struct str grpc_certificate(const struct grpc_call *c); /* name in the client's */
void grpc_server_pause(struct grpc_server *s);          /* read no more, until: */
void grpc_server_resume(struct grpc_server *s);
/* GOAWAY; what has come is handed over, calls are answered, within 3 s, then drained(arg); then
 * _close. */
void grpc_server_drain(struct grpc_server *s, void (*drained)(void *arg), void *arg);
void grpc_server_close(struct grpc_server *s); /* at once; NULL is fine */
unsigned grpc_server_port(const struct grpc_server *s);
size_t grpc_server_connections(const struct grpc_server *s);
