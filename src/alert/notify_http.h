/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What notifiers over HTTP share: their settings, and a POST of JSON whose
 * answer decides.  A notifier's thread alone.
 */
#include "alert/notify.h"
#include "net/client.h"

struct notifier_http_settings {
	const char *url, *token_file, *user, *password_file, *ca, *proxy;
	struct string_map headers;
	int64_t timeout;
};

/* `http` is the field of `type`; behind the row of the url. */
#define NOTIFIER_HTTP_OPTIONS(type)                                                                \
	{.name = "token_file",                                                                     \
		.offset = offsetof(type, http.token_file),                                         \
		.kind = OPT_PATH,                                                                  \
		.secret = true,                                                                    \
		.help = "File whose first line goes along as bearer token; read again for each "   \
			"message."},                                                               \
		{.name = "user",                                                                   \
			.offset = offsetof(type, http.user),                                       \
			.kind = OPT_STRING,                                                        \
			.help = "Name for Basic authentication."},                                 \
		{.name = "password_file",                                                          \
			.offset = offsetof(type, http.password_file),                              \
			.kind = OPT_PATH,                                                          \
			.secret = true,                                                            \
			.help = "File whose first line is the password for it; read again for "    \
				"each message."},                                                  \
		{.name = "headers",                                                                \
			.offset = offsetof(type, http.headers),                                    \
			.kind = OPT_MAP,                                                           \
			.secret = true,                                                            \
			.help = "More headers of the request: {X-Api-Key: abc}."},                 \
		{.name = "ca",                                                                     \
			.offset = offsetof(type, http.ca),                                         \
			.kind = OPT_PATH,                                                          \
			.help = "PEM file with the certificates that sign the server's. Default: " \
				"the system's."},                                                  \
		{.name = "proxy",                                                                  \
			.offset = offsetof(type, http.proxy),                                      \
			.kind = OPT_STRING,                                                        \
			.secret = true,                                                            \
			.help = "URL of a proxy to go through; which targets are allowed is its "  \
				"matter then."},                                                   \
		{.name = "timeout",                                                                \
			.offset = offsetof(type, http.timeout),                                    \
			.kind = OPT_DURATION,                                                      \
			.fallback = "10s",                                                         \
			.min = 100 * NS_PER_MS,                                                    \
			.max = 300 * NS_PER_SEC,                                                   \
			.help = "How long a call may take."},                                      \
		NOTIFIER_PRIVATE(type,                                                             \
			"Allow a target in a private or link-local address range, or on this machine.")

struct notifier_http;

/* Of a URL, for its row. */
int notifier_http_check_url(struct str url, struct error *e);
/* Rules between the settings. */
int notifier_http_check(const struct notifier_http_settings *s, struct error *e);
/* Borrows all for its life. */
struct notifier_http *notifier_http_new(
	const struct notifier_http_settings *s, bool allow_private, const struct notifier_env *env);
void notifier_http_free(struct notifier_http *h); /* NULL is fine */
/* POST to the url and `path` behind it ("" for none).  0: an answer 2xx.  ERR_ARG, ERR_LIMIT: the
 * target will never take it (400, 413, 422).  Others may be tried again. */
int notifier_http_post(struct notifier_http *h, const char *path, struct str json, struct error *e);
