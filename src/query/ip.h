/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * ip("…"): an address, a range a-b or a network in CIDR form, of IPv4 or IPv6.
 * Pure; any thread.
 */
#include "base/error.h"
#include "base/str.h"

struct ip_pattern {
	struct str text;                /* as written */
	bool v6;                        /* of IPv6; else IPv4 */
	unsigned char from[16], to[16]; /* both ends in it; IPv4 in the first four bytes */
};

/* ERR_ARG with a sentence. */
int ip_parse(struct ip_pattern *out, struct str text, struct error *e);
/* Is the whole text an address in it?  *valid tells whether it is an address at all. */
bool ip_matches(const struct ip_pattern *p, struct str address, bool *valid);
/* Does some address in the line lie in it? */
bool ip_in_line(const struct ip_pattern *p, struct str line);
/* The bytes that every line with such an address holds, in text[IP_NEEDLE_MAX]: "10.2." of
 * 10.2.0.0/16.  Empty when there are none, as for IPv6, which has many spellings. */
enum { IP_NEEDLE_MAX = 16 };
struct str ip_needle(const struct ip_pattern *p, char *text);
