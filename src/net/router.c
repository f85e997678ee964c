/* SPDX-License-Identifier: Apache-2.0 */
#include "net/router.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

enum { METHODS = HTTP_GET | HTTP_POST | HTTP_PUT | HTTP_DELETE };

struct pattern {
	const struct http_route *route;
	size_t n;
	bool open;                             /* the last segment is "{name=**}" */
	struct str segments[URL_MAX_SEGMENTS]; /* "{name}" stays as it is */
	unsigned literal; /* bit 15 is the first segment: the larger, the more exact */
};

struct router {
	size_t n;
	struct pattern patterns[];
};

static bool is_named(struct str segment)
{
	return segment.n > 2 && segment.p[0] == '{' && segment.p[segment.n - 1] == '}';
}

/* The name in "{name}", and in "{name=**}", which stands for all segments that are left. */
static struct str name_of(struct str segment, bool *open)
{
	struct str name = str_sub(segment, 1, segment.n - 1);

	*open = str_ends(name, STR("=**"));
	return str_sub(name, 0, name.n - (*open ? 3 : 0));
}

static void pattern_init(struct pattern *p, const struct http_route *route)
{
	struct str rest = str_c(route->path);

	assert(rest.n && rest.p[0] == '/' && route->handle && route->flags & METHODS);
	p->route = route;
	rest = str_sub(rest, 1, rest.n);
	do {
		struct str segment = str_cut(&rest, '/');
		assert(p->n < URL_MAX_SEGMENTS);
		assert(is_named(segment) || str_chr(segment, '{') < 0);
		if (!is_named(segment))
			p->literal |= 1U << (URL_MAX_SEGMENTS - 1 - p->n);
		assert(!p->open); /* nothing can follow it */
		if (is_named(segment))
			name_of(segment, &p->open);
		p->segments[p->n++] = segment;
	} while (rest.p);
}

struct router *router_new(const struct http_route *routes)
{
	struct router *r;
	size_t n = 0;

	while (routes[n].path)
		n++;
	r = xcalloc(1, sizeof *r + n * sizeof r->patterns[0]);
	r->n = n;
	for (size_t i = 0; i < n; i++)
		pattern_init(&r->patterns[i], &routes[i]);
	return r;
}

void router_free(struct router *r)
{
	free(r);
}

static bool pattern_fits(const struct pattern *p, const struct url_path *path)
{
	if (p->open ? p->n > path->n : p->n != path->n)
		return false;
	for (size_t i = 0; i < p->n; i++) {
		/* A name stands for at least one byte: "/label//values" is no label. */
		if (p->literal & 1U << (URL_MAX_SEGMENTS - 1 - i)
				? !str_eq(p->segments[i], path->segments[i])
				: path->segments[i].n == 0)
			return false;
	}
	return true;
}

struct route_match router_find(const struct router *r, const struct url_path *path, unsigned method)
{
	struct route_match found = {0};
	unsigned best = 0;

	for (size_t i = 0; i < r->n; i++) {
		const struct pattern *p = &r->patterns[i];
		if (!pattern_fits(p, path))
			continue;
		found.allowed |= p->route->flags & METHODS;
		found.cors |= (p->route->flags & HTTP_CORS) != 0;
		if (p->route->flags & method && (!found.route || p->literal > best)) {
			found.route = p->route;
			best = p->literal;
		}
	}
	return found;
}

struct str route_segment(
	const struct http_route *route, const struct url_path *path, const char *name)
{
	struct str rest = str_sub(str_c(route->path), 1, SIZE_MAX), all = buf_view(&path->text);
	bool open = false;

	for (size_t i = 0; rest.p && i < path->n; i++) {
		struct str segment = str_cut(&rest, '/');
		if (!is_named(segment) || !str_eq_c(name_of(segment, &open), name))
			continue;
		return open ? str_sub(all, (size_t)(path->segments[i].p - all.p), all.n)
			    : path->segments[i];
	}
	return STR_NONE;
}

unsigned route_method(struct str method)
{
	if (str_eq(method, STR("GET")) || str_eq(method, STR("HEAD")))
		return HTTP_GET;
	if (str_eq(method, STR("POST")))
		return HTTP_POST;
	if (str_eq(method, STR("PUT")))
		return HTTP_PUT;
	return str_eq(method, STR("DELETE")) ? HTTP_DELETE : 0;
}

void route_allow(struct buf *out, unsigned allowed, bool cors)
{
	static const struct {
		unsigned flag;
		const char *text;
	} names[] = {
		{HTTP_GET, "GET, HEAD"},
		{HTTP_POST, "POST"},
		{HTTP_PUT, "PUT"},
		{HTTP_DELETE, "DELETE"},
	};
	const char *comma = "";

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (allowed & names[i].flag) {
			buf_printf(out, "%s%s", comma, names[i].text);
			comma = ", ";
		}
	}
	if (cors)
		buf_printf(out, "%sOPTIONS", comma);
}
