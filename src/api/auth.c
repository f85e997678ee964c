/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may do what: asked for each request before its body is read.  The scope that a route needs
 * stands in routes.def.
 *
 * A browser lets the page of any site send us requests and open tails, with
 * the password it keeps for us (Basic) or, where no token is asked for, from
 * the loopback of whoever runs it.  Such requests name their origin, and are
 * refused unless it is ours, or no password came and the route is for pages of
 * others (HTTP_CORS).
 * A Bearer token is never sent by itself.
 *
 * A wrong token costs its sender a connection and us one hash; guessing 256
 * bits needs no further brake, but it is counted, and told once a second.
 */
#include "api/internal.h"

#include <assert.h>

#include "base/log.h"
#include "base/metric.h"
#include "query/source_tenants.h"

enum { LOG_NS = 1000000000, SCOPES = SCOPE_INGEST | SCOPE_READ | SCOPE_ADMIN };

static_assert(
	sizeof((struct http_identity *)0)->token == sizeof((struct token *)0)->id &&
		sizeof((struct http_identity *)0)->tenant == sizeof((struct token *)0)->tenant,
	"an identity is that of a token, whole");

/* In the order of api_routes. */
static const unsigned scopes[] = {
#define ROUTE(path, flags, scope, handler, help) scope,
#include "api/routes.def"
#undef ROUTE
};

static unsigned scope_of(const struct http_request *r)
{
	return scopes[http_route_of(r) - api_routes()];
}

static const char *scope_name(unsigned scope)
{
	return scope == SCOPE_INGEST ? "ingest" : scope == SCOPE_READ ? "read" : "admin";
}

/* Count it, and tell of it unless another was told within a second. */
static int refuse(struct api *a, const struct http_request *r, int status, const char *reason,
	const struct error *e)
{
	int64_t now = clock_mono_ns(a->o.clock), told = atomic_load(&a->auth_told_mono);
	struct buf labels = {0};

	metric_label(&labels, "reason", str_c(reason));
	metric_add(METRIC_auth_failures_total, buf_cstr(&labels), 1);
	buf_fini(&labels);
	atomic_fetch_add(&a->auth_untold, 1);
	if ((told && now - told < LOG_NS) ||
		!atomic_compare_exchange_strong(&a->auth_told_mono, &told, now))
		return status;
	log_warn("auth",
		"refused %llu request(s) since the last such line; this one from %s for %s: %s",
		(unsigned long long)atomic_exchange(&a->auth_untold, 0), http_peer(r),
		http_route_of(r)->path, e->text);
	return status;
}

/* The host of "https://host:port" is that of the header `name`. */
static bool origin_is(const struct http_request *r, struct str origin, const char *name)
{
	ptrdiff_t at = str_find(origin, STR("://"));
	struct str host;

	return at >= 0 && http_header(r, name, &host) &&
	       str_eq_nocase(str_sub(origin, (size_t)at + 3, origin.n), str_trim(host));
}

/* Tails of Loggregator's first clients name this origin, whoever they are: no page of the network
 * has it.  And a browser says itself when a page is of another host of our own site, as those that
 * had us set a cookie are (SameSite). */
static bool origin_of_loggregator(const struct http_request *r, struct str origin)
{
	struct str site;

	return scope_of(r) & SCOPE_CHECKED &&
	       (str_eq(origin, STR("http://localhost")) ||
		       (http_header(r, "Sec-Fetch-Site", &site) && str_eq(site, STR("same-site"))));
}

/* Did a browser send this for the page of another site?  X-Forwarded-Host is what a proxy in front
 * of us says of the address in the browser; a page cannot set it without being asked for leave. */
static bool from_elsewhere(const struct http_request *r)
{
	struct str origin, authorization;

	if (!http_header(r, "Origin", &origin) || origin_is(r, origin, "Host") ||
		origin_is(r, origin, "X-Forwarded-Host") || origin_of_loggregator(r, origin))
		return false;
	if (!http_header(r, "Authorization", &authorization))
		return !(http_route_of(r)->flags & HTTP_CORS);
	return str_eq_nocase(str_sub(str_trim(authorization), 0, 5), STR("Basic"));
}

static int check_credentials(
	struct api *a, const struct http_request *r, struct token *t, struct error *e)
{
	char room[TOKEN_HEADER_MAX];
	struct str value, secret;
	int code;

	if (!http_header(r, "Authorization", &value) || !token_of_header(value, room, &secret)) {
		error_set(e, ERR_DENIED,
			"no credentials provided: send a token, as Authorization: Bearer slt_… or as "
			"the password of Basic");
		return refuse(a, r, 401, "missing", e);
	}
	code = tokens_check(a->o.tokens, secret, t, e);
	explicit_bzero(room, sizeof room);
	return code < 0 ? refuse(a, r, 401, "token", e) : 0;
}

static int check_rights(
	struct api *a, const struct http_request *r, const struct token *t, struct error *e)
{
	unsigned scope = scope_of(r) & SCOPES;
	struct buf held = {0};
	struct str tenant;

	if (!token_may(t->scopes, scope)) {
		token_scopes_format(&held, t->scopes);
		error_set(e, ERR_DENIED, "this needs the scope %s, and token %s (%s) has %s",
			scope_name(scope), t->id, t->name, buf_cstr(&held));
		buf_fini(&held);
		return refuse(a, r, 403, "scope", e);
	}
	if (strcmp(t->tenant, "*") != 0 && http_header(r, "X-Scope-OrgID", &tenant) && tenant.n &&
		!str_eq_c(tenant, t->tenant)) {
		error_set(e, ERR_DENIED,
			"X-Scope-OrgID names the tenant %.*s, and token %s (%s) is for %s: leave it out",
			STR_ARG(str_sub(tenant, 0, TENANT_MAX)), t->id, t->name, t->tenant);
		return refuse(a, r, 403, "tenant", e);
	}
	return 0;
}

/* Are there other credentials for this route, which its handler looks at? */
static bool asked_later(struct api *a, const struct http_request *r, struct http_identity *who)
{
	char room[TOKEN_HEADER_MAX];
	struct str value, secret;

	if (scope_of(r) & SCOPE_VARZ)
		return a->loggregator->varz.user != NULL;
	if (!(scope_of(r) & SCOPE_CHECKED) || !checks_on(a->checks) ||
		(a->o.tokens && http_header(r, "Authorization", &value) &&
			token_of_header(value, room, &secret) && str_starts(secret, STR("slt_"))))
		return false;
	/* The tenant is not the client's to name. */
	*who = (struct http_identity){.known = true, .scopes = SCOPE_READ};
	str_copy(str_c(checks_tenant(a->checks)), who->tenant, sizeof who->tenant);
	return true;
}

int api_admit(void *api, const struct http_request *r, struct http_identity *who, struct error *e)
{
	struct api *a = api;
	struct token t;
	int status;

	if (scope_of(r) == 0)
		return 0;
	if (from_elsewhere(r)) {
		error_set(e, ERR_DENIED,
			"the page of another site asked for this: send no Origin, or a Bearer token");
		return refuse(a, r, 403, "origin", e);
	}
	if (asked_later(a, r, who) || !a->o.tokens)
		return 0;
	if ((status = check_credentials(a, r, &t, e)) || (status = check_rights(a, r, &t, e)))
		return status;
	*who = (struct http_identity){.known = true, .scopes = t.scopes};
	str_copy(str_c(t.id), who->token, sizeof who->token);
	str_copy(str_c(t.tenant), who->tenant, sizeof who->tenant);
	return 0;
}

/* What the request says of it; false when its token has said all. */
static bool tenant_header(struct http_request *r, struct str *out)
{
	const struct http_identity *who = http_identity(r);

	/* A token's tenant is all it may have, whatever the headers say: api_admit has looked at
	 * them already. */
	if (who->known && strcmp(who->tenant, "*") != 0) {
		*out = str_c(who->tenant);
		return false;
	}
	*out = STR("default");
	return http_header(r, "X-Scope-OrgID", out) && out->n > 0;
}

bool api_tenant(struct http_request *r, struct str *out)
{
	if (!tenant_header(r, out)) {
		*out = out->n ? *out : STR("default");
		return true;
	}
	if (tenant_valid(*out))
		return true;
	http_replyf(r, 400,
		"X-Scope-OrgID: a tenant has 1 to %d letters, digits or !-_.*'(), got \"%.*s\"\n",
		TENANT_MAX, STR_ARG(str_sub(*out, 0, 200)));
	return false;
}

bool api_tenants(struct http_request *r, struct str *out)
{
	struct error e;

	if (!tenant_header(r, out)) {
		*out = out->n ? *out : STR("default");
		return true;
	}
	if (tenants_check(*out, &e) == 0)
		return true;
	api_fail(r, &e);
	return false;
}
