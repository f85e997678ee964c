/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A connection to a syslog server: TCP, TLS or UDP.
 *
 * Syslog has no acknowledgement.  What can be known is used: whether the peer
 * has ended the connection, whether its system has every byte (link_settle),
 * and, at an orderly end, that its program has read them all (link_finish: it
 * answers our end with its own).
 * Thread rule: one thread.  Calls block, at most for the times given.
 */
#include "output/client_tls.h"

enum syslog_scheme { SYSLOG_TCP, SYSLOG_TLS, SYSLOG_UDP };

struct syslog_url {
	enum syslog_scheme scheme;
	char *host, *port; /* host: without the [] of IPv6 */
	char *where;       /* "syslog://host:port", for sentences */
};

/* syslog://host[:514], syslog-tls://host[:6514], syslog-udp://host[:514]; tcp://, tls:// and udp://
 * are the same.  ERR_ARG with a sentence.  What follows the port is not looked at. */
int syslog_url_parse(struct syslog_url *out, struct str url, struct error *e);
void syslog_url_fini(struct syslog_url *u);
int syslog_check_url(struct str url, struct error *e); /* for options */

struct syslog_link;

struct syslog_link_options { /* borrowed for the link's life */
	const struct syslog_url *url;
	const struct client_tls_settings *tls;
	bool no_private;  /* refuse addresses of private and link-local ranges */
	bool no_loopback; /* refuse this machine as well */
	unsigned connect_ms;
	/* True: give up waiting.  May be NULL. */
	bool (*ending)(void *arg);
	void *ending_arg;
};

/* ERR_NET, ERR_DENIED (address or certificate), ERR_CANCELLED. */
int syslog_link_open(
	struct syslog_link **out, const struct syslog_link_options *o, struct error *e);
void syslog_link_close(struct syslog_link *l); /* NULL is fine */
/* Send from the front of `bytes` what goes within `ms` and remove it.  ERR_NET when the connection
 * is broken: what the peer got of what was sent is not known.  Not for UDP. */
int syslog_link_push(struct syslog_link *l, struct buf *bytes, unsigned ms, struct error *e);
/* Is the connection whole, as far as can be told?  Not for UDP. */
bool syslog_link_alive(struct syslog_link *l);
/* A datagram.  ERR_NET: nobody listens there. */
int syslog_link_datagram(struct syslog_link *l, struct str message, struct error *e);
/* Has the peer's system every byte?  1 when not within `ms`; ERR_NET when the connection is broken
 * or the peer has ended it. */
int syslog_link_settle(struct syslog_link *l, unsigned ms, struct error *e);
/* End in order: 0 when the peer has read everything, which it says by ending as well; 1 when it did
 * not say so within `ms`.  Only syslog_link_close is left then. */
int syslog_link_finish(struct syslog_link *l, unsigned ms, struct error *e);
