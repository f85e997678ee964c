/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Finds the route of a request.  Immutable after router_new: any thread. */
#include "net/http.h"
#include "net/url.h"

struct router;

struct route_match {
	const struct http_route *route; /* NULL: `allowed` says why */
	unsigned allowed; /* methods that the path takes, of all its routes; 0: no such path */
	bool cors;        /* one of its routes has HTTP_CORS */
};

/* Borrows the table (path NULL ends).  Asserts that each pattern is well made. */
struct router *router_new(const struct http_route *routes);
void router_free(struct router *r);
/* `method` is one flag, or 0 for a method that no route takes.  A literal segment goes before a
 * {named} one, from the left; among equals the first in the table. */
struct route_match router_find(
	const struct router *r, const struct url_path *path, unsigned method);
/* The segment of the path that stands at {name} in the pattern of the route; else empty. */
struct str route_segment(
	const struct http_route *route, const struct url_path *path, const char *name);
unsigned route_method(struct str method); /* the flag; HEAD is HTTP_GET, unknown 0 */
/* The value of the header Allow. */
void route_allow(struct buf *out, unsigned allowed, bool cors);
