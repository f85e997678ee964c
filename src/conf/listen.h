/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Listen addresses: their normal form, and which of two cannot both be had (private to conf). */
#include "conf/place.h"

struct listen {
	const char *key;  /* "inputs.syslog.listen" */
	const char *text; /* the normal form */
	struct place place;
	bool fallback; /* nobody wrote it */
};

/* Append the normal form of "host:port", "scheme://host:port", ":port", "port", "unix:///path",
 * "http://host:port/path" or "stdin:"; ERR_ARG with what is wrong. */
int listen_normal(struct str text, struct buf *out, struct error *e);
/* Whether both want the same port (or socket) of this machine. */
bool listen_clash(const char *a, const char *b);
