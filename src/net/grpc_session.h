/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One connection of a gRPC server, without its socket: bytes in, calls of
 * methods, bytes out.  grpc.c moves the bytes; nobody else includes this.
 *
 *   grpc_session_new
 *     grpc_session_feed      what came; methods are called within
 *     grpc_session_next      what is to be sent, piece by piece, until it is empty
 *   grpc_session_stop        no new calls; those that are not whole are answered
 *   grpc_session_free        what calls are left are over
 *
 * Loop's thread only.
 */
#include "base/list.h"
#include "net/grpc.h"

struct grpc_session;

struct grpc_session_options {
	const struct grpc_method *methods; /* borrowed, as all here */
	uint64_t max_message;
	unsigned max_streams;
	struct account *account;
	const char *peer;
	struct str certificate;
	void *methods_arg;
	/* There is something to send, said outside of a feed: by grpc_reply, and the functions
	 * below. */
	void (*wants_write)(void *arg);
	void *arg;
};

/* NULL: no memory. */
struct grpc_session *grpc_session_new(const struct grpc_session_options *o);
void grpc_session_free(struct grpc_session *s); /* NULL is fine */
/* All of `bytes` is used.  ERR_NET: the peer speaks no HTTP/2, or breaks its rules, ERR_LIMIT: it
 * does so to wear us out; what is still to be sent says so to it, then the connection should be
 * closed.  Not from within a method. */
int grpc_session_feed(struct grpc_session *s, struct str bytes, uint64_t now_ms, struct error *e);
/* The next bytes for the peer, valid until the next call; empty: none now. */
struct str grpc_session_next(struct grpc_session *s);
/* The connection has no further use: all is said, by us or by the peer.  e->code is not 0 when
 * the peer was at fault. */
bool grpc_session_over(struct grpc_session *s, struct error *e);
/* The peer has told its settings, as it must at once. */
bool grpc_session_greeted(const struct grpc_session *s);
/* Say that no new calls will be taken; those that come all the same are. */
void grpc_session_warn(struct grpc_session *s);
/* Nothing will come any more: no new calls, those whose client is not done are answered with
 * `sentence` and UNAVAILABLE. */
void grpc_session_stop(struct grpc_session *s, const char *sentence);
/* No call is under way, and nothing is to be sent. */
bool grpc_session_idle(const struct grpc_session *s);
size_t grpc_session_calls(const struct grpc_session *s);
/* End calls with a message that has not gone on for so long; how many there were. */
size_t grpc_session_expire(struct grpc_session *s, uint64_t now_ms, uint64_t stuck_ms);
