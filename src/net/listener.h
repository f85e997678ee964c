/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Listeners for protocols that are not HTTP: UDP, TCP, TLS, unix datagram and
 * unix stream, told apart by the scheme of their address:
 *
 *   udp://host:port  tcp://host:port  tls://host:port  unix:///path  unix-dgram:///path
 *
 * A listener hands over bytes as they come; it knows nothing of what they are.
 * It can be parked while its owner is exchanged at a reload: sockets stay
 * open, nothing is read, and the next owner of the same address takes them
 * over with all connections and the bytes their decoders had not used yet, so
 * that a reload loses nothing.
 * Loop's thread only.
 */
#include "base/memory.h"
#include "loop/loop.h"
#include "net/tls.h"

struct listener;
struct connection;

struct listener_options {
	const char *address;
	const struct tls_settings *tls; /* for tls:// */
	struct account *account;        /* what connections hold unread; may be NULL */
	uint64_t receive_buffer; /* bytes asked of the kernel for datagrams; 0: its default */
	unsigned max_connections, max_per_peer; /* 0: 10,000 and 1,000; beyond: closed, counted */
	unsigned handshake_ms, idle_ms;         /* 0: 10 s, none */
	unsigned mode;                          /* of a unix socket, 0: 0600 */
};

struct listener_events {
	/* A datagram; peer is "127.0.0.1:5514", or "" for unix. `dropped` more were lost in the
	 * kernel before it (SO_RXQ_OVFL). */
	void (*datagram)(void *arg, struct str bytes, const char *peer, uint64_t dropped);
	/* A connection begins; *state is the owner's, for its life. */
	void (*opened)(void *arg, struct connection *c, void **state);
	/* All bytes not used yet; returns how many are used now.  `end`: no more will come. */
	size_t (*bytes)(void *arg, struct connection *c, void *state, struct str bytes, bool end);
	/* It ends: `state` is free.  `why` is NULL for an orderly end. */
	void (*closed)(void *arg, struct connection *c, void *state, const struct error *why);
	/* A connection or datagram was refused by a limit or TLS: one word. */
	void (*refused)(void *arg, const char *reason, uint64_t n);
};

/* Takes over a parked one with the same address (and TLS files) when there is one: then opened is
 * called for each of its connections.  ERR_ARG, ERR_NET with address and reason. */
int listener_open(struct listener **out, struct loop *loop, const struct listener_options *o,
	const struct listener_events *events, void *arg, struct error *e);
/* Read no more until listener_resume: back-pressure.  Datagrams then queue in the kernel. */
void listener_pause(struct listener *l);
void listener_resume(struct listener *l);
/* Leave it for the next owner: closed is called for each connection, sockets stay open.  What
 * nobody takes within 5 s is closed. */
void listener_park(struct listener *l);
void listener_close(struct listener *l);
unsigned listener_port(const struct listener *l); /* for port 0 */
size_t listener_connections(const struct listener *l);

const char *connection_peer(const struct connection *c);       /* "127.0.0.1:40312", "" for unix */
struct str connection_certificate(const struct connection *c); /* name in it; empty without */
/* Close it after this call of `bytes`. */
void connection_refuse(struct connection *c, const struct error *why);
