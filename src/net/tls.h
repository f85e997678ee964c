/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * TLS for listeners (GnuTLS): the settings that every listener shares, and
 * sessions over a loop's sockets for those that are not HTTP.
 * TLS 1.2 and 1.3, AEAD with forward secrecy, no compression, no renegotiation.
 */
#include "base/buf.h"
#include "base/error.h"
#include "conf/option.h"

/* `tls: {cert: FILE, key: FILE, client_ca: FILE}` of a listener.  No cert: no TLS. */
struct tls_settings {
	const char *cert;      /* PEM, the chain, the server's first */
	const char *key;       /* PEM; readable by its owner alone (0600), or it is refused */
	const char *client_ca; /* PEM: clients must show a certificate signed by one of these */
};

extern const struct option tls_options[]; /* for OPT_OBJECT rows */

/* What is negotiated, as GnuTLS writes it. */
extern const char tls_priority[];

/* The files themselves, for a library that wants to read them; terminated texts. */
struct tls_files {
	struct buf cert, key, client_ca; /* client_ca is empty without the setting */
};

/* Read the files of `s`: the certificates make sense, the key is its owner's alone and fits the
 * first certificate.  ERR_ARG, ERR_DENIED with setting, file and reason. */
int tls_files_read(struct tls_files *out, const struct tls_settings *s, struct error *e);
void tls_files_fini(struct tls_files *f); /* overwrites the key; zeroed is fine */

/* The files of one listener, loaded.  Immutable; references from any thread. */
struct tls_server;

/* ERR_ARG with file and reason when a setting is missing or a file does not fit, ERR_DENIED when
 * others may read the key. */
int tls_server_new(struct tls_server **out, const struct tls_settings *s, struct error *e);
struct tls_server *tls_server_ref(struct tls_server *t);
void tls_server_unref(struct tls_server *t);
/* One of its files changed since: make a new one for the sessions to come. */
bool tls_server_stale(const struct tls_server *t);

/* Make a session of a library that moves the bytes itself (libmicrohttpd) one of t: certificates,
 * versions and ciphers, and what is asked of the client.  Before its handshake; t must live until
 * the session's end.  Any thread. */
struct gnutls_session_int;
void tls_server_attach(struct tls_server *t, struct gnutls_session_int *session);

/* One session: bytes of the network in, plain bytes out, and back.  No socket of its own: the
 * caller moves the bytes.  Loop's thread only. */
struct tls_session;

struct tls_session *tls_session_new(struct tls_server *t);
void tls_session_free(struct tls_session *s);
/* A client that asks for protocols (ALPN, RFC 7301) must have this one among them.  Before the
 * first feed; borrows the text for the call. */
void tls_session_alpn(struct tls_session *s, const char *protocol);
/* Bytes that came from the peer: what they hold in plain is appended to `plain`, what is to be sent
 * (handshake, alerts) to `wire`.  0, ERR_CLOSED after the peer's close_notify, ERR_NET or
 * ERR_DENIED (no acceptable certificate) with the sentence; what is in `wire` should be sent all
 * the same.  All of `bytes` is used. */
int tls_session_feed(struct tls_session *s, struct str bytes, struct buf *plain, struct buf *wire,
	struct error *e);
/* Plain bytes for the peer: appended to `wire`, encrypted. */
int tls_session_send(struct tls_session *s, struct str plain, struct buf *wire, struct error *e);
/* Say that no more will be sent: close_notify, appended to `wire`. */
void tls_session_end(struct tls_session *s, struct buf *wire);
bool tls_session_ready(const struct tls_session *s); /* the handshake is done */
/* The name in the peer's certificate (first DNS name, else common name); empty without one. */
struct str tls_session_peer(const struct tls_session *s);
