/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Who may read an application's logs, decided by somebody else: with
 * `loggregator.check` the credentials of a request are shown to a URL, as
 * Loggregator's traffic controller shows them to the Cloud Controller, and 200
 * from there lets it pass.  Verdicts are kept for a while, and those who ask
 * the same at once share one answer.
 *
 * It concerns the routes with SCOPE_CHECKED alone.  A token of sawlog's own
 * still counts there; without `check.url` nothing else does, and api_admit has
 * looked at it already.
 * Any thread may ask.  Internal to src/api.
 */
#include "conf/option.h"
#include "net/http.h"
#include "os/clock.h"

enum {
	/* Beside the scopes of tokens (net/token.h), in routes.def: the handler calls api_check. */
	SCOPE_CHECKED = 1 << 8,
	SCOPE_VARZ = 1 << 9, /* the handler looks at the password of `loggregator.varz` */
};

struct api;
struct checks;

/* `loggregator.check` of the configuration. */
struct check_settings {
	const char *url;          /* "https://api.example.com/v2/apps/{app}"; NULL: no checks */
	const char *firehose_url; /* for what is about no single app; NULL: nobody gets that */
	const char *ca;           /* PEM; NULL: the system's */
	const char *tenant;       /* whose records those who pass may read */
	int64_t cache, timeout;   /* ns */
};

extern const struct option check_options[];

enum check_verdict {
	CHECK_ALLOWED,
	CHECK_MISSING,   /* no credentials came with the request */
	CHECK_DENIED,    /* 401: the credentials are none */
	CHECK_FORBIDDEN, /* 403, 404: they are good, but not for this */
	CHECK_FAILED,    /* whom we ask does not answer, or with what we do not understand */
};

/* `why` is a sentence for the client; valid for the call.  It must answer, or see that somebody
 * does, and not block. */
typedef void check_fn(
	struct http_request *r, struct api *a, enum check_verdict verdict, const char *why);

/* May who sent this read about `app` (empty: about all of them)?  `then` is called once: at once,
 * or later on a thread of the checks'. */
void api_check(struct http_request *r, struct api *a, struct str app, check_fn *then);
/* Answer as the traffic controller of 2014 and later does: 401 with "WWW-Authenticate: Basic", 404,
 * or 503.  Not for CHECK_ALLOWED. */
void api_check_refuse(struct http_request *r, enum check_verdict verdict, const char *why);
/* Are such requests let in by api_admit, since the handler will ask? */
bool checks_on(const struct checks *c);

/* The credentials of a request, appended: the header Authorization, the cookie `authorization`, or
 * the parameter of that name.  False when there are none. */
bool check_credentials_of(const struct http_request *r, struct buf *out);

/* NULL when s->url is.  Borrows all of it; `draining` ends what is under way. */
struct checks *checks_new(
	const struct check_settings *s, struct clock *clock, const _Atomic bool *draining);
/* After the server has ended: nobody asks any more.  NULL is fine. */
void checks_free(struct checks *c);
const char *checks_tenant(const struct checks *c);
void checks_dump(struct checks *c, struct buf *out);
