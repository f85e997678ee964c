/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the HTTP and the WebSocket client share: a libcurl handle set up for one server.
 * One thread at a time. */
#include <curl/curl.h>

#include "net/client.h"

struct target {
	CURL *curl;
	char *base;                 /* URL without a slash at its end; may hold a password */
	char *where;                /* "http://host:port", for sentences */
	char *host;                 /* "host:port", for the header Host */
	char *path;                 /* the prefix in the URL, "" for none */
	char *user;                 /* "name:password" of options or URL, NULL for none */
	struct curl_slist *headers; /* user agent, tenant, token */
	unsigned connect_ms, timeout_ms;
	bool refused_private; /* an address was, by public_only */
	char reason[CURL_ERROR_SIZE];
};

/* ERR_ARG when the url is not http or https.  target_fini in any case. */
int target_init(struct target *t, const struct http_client_options *o, struct error *e);
void target_fini(struct target *t);
/* ERR_NET, ERR_DENIED with a sentence for a failed call. */
int target_error(struct target *t, CURLcode code, struct error *e);
