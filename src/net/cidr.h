/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Networks, "10.0.0.0/8" or "fd00::/8", or one address.  Pure functions. */
#include <sys/socket.h>

#include "base/error.h"
#include "base/str.h"

struct cidr {
	unsigned char address[16]; /* IPv4 as ::ffff:a.b.c.d */
	unsigned bits;             /* of these 128 */
};

/* ERR_ARG with what is wrong, bits set behind the prefix too. */
int cidr_parse(struct cidr *out, struct str text, struct error *e);
/* Is the address in one of them?  False for a family other than IPv4 and IPv6. */
bool cidr_has(const struct cidr *list, size_t n, const struct sockaddr *address);
/* The same of an address without a port, as text; false for what is none. */
bool cidr_has_text(const struct cidr *list, size_t n, const char *ip);
/* Not of the public network and not this machine itself: private, link-local, shared, multicast and
 * reserved ranges (RFC 6890).  What outputs and notifications refuse unless `allow_private`. */
bool cidr_is_private(const struct sockaddr *address);
