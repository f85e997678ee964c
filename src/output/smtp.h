/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Hands messages to a mail server (RFC 5321) over libcurl, blocking, on a
 * connection that is kept while it lasts.  One thread at a time.
 *
 * smtp://host[:port]: encrypted by STARTTLS when the server offers it, and in
 * any case when a user is named and the host is not this machine.
 * smtps://host[:port]: TLS from the start.
 * Certificates are checked under smtps, with a user and with a ca; else
 * STARTTLS is taken from anyone, which is still better than none.
 */
#include "base/error.h"
#include "base/str.h"

struct smtp;

struct smtp_options { /* copied; borrowed where a line says so */
	const char *url;
	const char *host;                /* what we call ourselves in EHLO */
	const char *user;                /* NULL: no authentication */
	const char *password_file;       /* its first line; read at each connection of a send */
	const char *ca;                  /* PEM; NULL: the system's */
	bool allow_private;              /* targets in private and link-local networks */
	unsigned connect_ms, timeout_ms; /* 0: 10 s, 60 s */
	/* True: give up.  May be NULL. */
	bool (*ending)(void *arg);
	void *ending_arg; /* borrowed */
};

/* ERR_ARG with a sentence: no URL of a mail server, or one with a password in it. */
int smtp_check_url(struct str url, struct error *e);
/* ERR_ARG as above. */
int smtp_new(struct smtp **out, const struct smtp_options *o, struct error *e);
void smtp_free(struct smtp *s); /* NULL is fine */
/* One message to one address, without the <>; its lines end with CRLF, dots are not doubled.
 * 0: the server has taken charge of it.
 * ERR_ARG: it refused recipient or message for good (5xx to RCPT, DATA or the message).
 * ERR_BUSY: not now (4xx): others may fare better.
 * Anything else is about the server as a whole: ERR_NET, ERR_DENIED (a private target, the
 * certificate, the password), ERR_CANCELLED, ERR_IO (password_file).
 * Sentences hold the server's words, and neither user nor password. */
int smtp_send(struct smtp *s, struct str from, struct str to, struct str message, struct error *e);
