/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * An Internet message of text, as SMTP carries it: pure functions.
 *
 * Whatever subject and body hold, they stay subject and body: no byte of them
 * can begin a header, end the header, or end the message.
 * Sources: RFC 5322, RFC 2045 (quoted-printable, base64), RFC 2047 (encoded
 * words), RFC 3834 (Auto-Submitted).
 */
#include "base/buf.h"
#include "conf/option.h"

enum {
	MAIL_LINE_MAX = 76,     /* of what we break; RFC 5322 allows 998 */
	MAIL_SUBJECT_MAX = 200, /* bytes: a longer one is cut */
};

struct mail {             /* borrows all of it */
	const char *from; /* a mailbox that mail_check_mailbox let pass; as are those of `to` */
	const struct strings *to;
	struct str subject, body; /* any bytes */
	struct str id;            /* local part of the Message-ID: letters, digits, '.' and '-' */
	const char *host;         /* its domain: other bytes than a domain's become '-' */
	int64_t date_ns;
};

/* "ops@example.com", or "Operations <ops@example.com>".  ERR_ARG. */
int mail_check_mailbox(struct str text, struct error *e);
/* The address of a mailbox that passed. */
struct str mail_address(struct str mailbox);
/* Append the message, its lines ended by CRLF and dots not doubled. */
void mail_put(const struct mail *m, struct buf *out);
