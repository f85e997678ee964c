/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Listeners for protocols that are not HTTP: UDP, TCP, TLS, unix datagram and
 * unix stream, told apart by the scheme of their address:
 *
 *   udp://host:port  tcp://host:port  tls://host:port  unix:///path  unix-dgram:///path
 *
 * A listener hands over bytes as they come; it knows nothing of what they are.
 * For protocols that answer, bytes are sent back (connection_send) through a
 * queue with a bound: its owner looks how much waits before it makes more.
 * It can be parked while its owner is exchanged at a reload: sockets stay
 * open, nothing is read, and the next owner of the same address takes them
 * over with all connections and the bytes their decoders had not used yet, so
 * that a reload loses nothing.  Whoever parks knows that such an owner comes.
 * Loop's thread only.
 */
#include "base/memory.h"
#include "loop/loop.h"
#include "net/cidr.h"
#include "net/tls.h"

struct listener;
struct connection;

/* Copied, but for what `account` points to. */
struct listener_options {
	const char *address;
	const struct tls_settings *tls; /* for tls:// */
	struct account *account;        /* what connections hold unread; may be NULL */
	uint64_t receive_buffer; /* bytes asked of the kernel for datagrams; 0: its default */
	unsigned max_connections, max_per_peer; /* 0: 10,000 and 1,000; beyond: closed, counted */
	unsigned handshake_ms, idle_ms;         /* 0: 10 s, none */
	unsigned stuck_ms; /* after this long with bytes that are no whole message and no new ones,
			    * the end of the connection is taken to have come; 0: 30 s.  So it
			    * is for one that fetches nothing of what is sent to it */
	const char *alpn;  /* for tls://: the protocol that a client which asks must ask for */
	size_t keep;       /* bytes of a message that is not whole, at most; 0: 64 KiB */
	unsigned mode;     /* of a unix socket, 0: 0600 */
	const struct cidr *allow; /* peers over IP that are let in; */
	size_t n_allow;           /* none: all */
};

struct refusal {
	const char *reason; /* one word, for counters */
	const char *peer;   /* "127.0.0.1:40312", "" for unix */
	const char *why;    /* a sentence without its subject: what it did, and what helps */
};

struct listener_events {
	/* A datagram; peer is "127.0.0.1:5514", or "" for unix. */
	void (*datagram)(void *arg, struct str bytes, const char *peer);
	/* n datagrams were lost in the kernel since the last call: its buffer was full. */
	void (*lost)(void *arg, uint64_t n);
	/* A connection begins, for TLS after the handshake; *state is the owner's, for its life. */
	void (*opened)(void *arg, struct connection *c, void **state);
	/* All bytes not used yet; returns how many are used now.  `end`: no more will come. */
	size_t (*bytes)(void *arg, struct connection *c, void *state, struct str bytes, bool end);
	/* All that was sent has gone to the kernel, after some of it had to wait.  May be NULL. */
	void (*sent)(void *arg, struct connection *c, void *state);
	/* It ends: `state` is free.  `why` is NULL for an orderly end, and when it is parked. */
	void (*closed)(void *arg, struct connection *c, void *state, const struct error *why);
	/* A connection or datagram was refused by a limit or TLS. */
	void (*refused)(void *arg, const struct refusal *r);
	/* After listener_drain: all that had come is handed over. */
	void (*drained)(void *arg);
};

/* Takes over a parked one with the same address when there is one: then opened is called for each
 * of its connections, which go on.  Those that `allow` or another client_ca would not let in any
 * more are drained, and refused() is told "not_allowed" or "client_certificate".  Without
 * `datagram` and `lost`, or the four of connections, only the other kind of address will do.
 * ERR_ARG, ERR_DENIED, ERR_NET with address and reason. */
int listener_open(struct listener **out, struct loop *loop, const struct listener_options *o,
	const struct listener_events *events, void *arg, struct error *e);
/* Read no more until listener_resume: back-pressure.  Datagrams then queue in the kernel.  Within
 * `bytes` too: what it did not use comes again after the resume. */
void listener_pause(struct listener *l);
void listener_resume(struct listener *l);
/* The three below: not within an event. */
/* Take no new connections, hand over what has come until now, with `end` for each connection, and
 * close them; then `drained`.  Pauses hold it up; what a peer goes on to send does not. */
void listener_drain(struct listener *l);
/* Leave it for the next owner: closed is called for each connection, sockets stay open. */
void listener_park(struct listener *l);
/* Close those of the loop that nobody took over; what they had read is lost, and logged. */
void listener_drop_parked(struct loop *loop);
void listener_close(struct listener *l);          /* NULL is fine */
unsigned listener_port(const struct listener *l); /* for port 0 */
size_t listener_connections(const struct listener *l);

const char *connection_peer(const struct connection *c);       /* "127.0.0.1:40312", "" for unix */
struct str connection_certificate(const struct connection *c); /* name in it; empty without */
/* Close it after this call of `opened` or `bytes`. */
void connection_refuse(struct connection *c, const struct error *why);
enum { CONNECTION_SEND_MAX = 64 << 10 };
/* Send, now or as the peer fetches it, within events and outside.  ERR_BUSY: more than
 * CONNECTION_SEND_MAX bytes would wait, nothing is sent; ERR_CLOSED: it cannot be sent to any more,
 * and will be closed. */
int connection_send(struct connection *c, struct str bytes);
size_t connection_unsent(const struct connection *c); /* bytes that wait */
/* Within `bytes` with `end`: do not close it after, answers are still to be sent, which end with
 * connection_finish.  Nothing is read any more; `sent` and `closed` are called as ever, and
 * `drained` waits for it. */
void connection_linger(struct connection *c);
/* Close it once all was sent and the peer has seen that, within a second or two; `bytes` is not
 * called any more. */
void connection_finish(struct connection *c);
/* It ended without the peer's doing (silence, a reset, a drain): what is not a whole message then
 * is a half one. */
bool connection_broken(const struct connection *c);
/* A number of the owner's that outlives a parking, 0 at first. */
uint64_t *connection_note(struct connection *c);
