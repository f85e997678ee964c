/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client is made for each message: messages are rare, secrets may change in
 * between, and no name is trusted longer than a call.
 */
#include "alert/notify_http.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "os/secret.h"

enum { ANSWER_MAX = 1 << 20, ANSWER_SHOWN = 200 };

struct notifier_http {
	const struct notifier_http_settings *s;
	bool allow_private;
	struct notifier_env env;
};

/* A client that is never used tells what is wrong with a URL or headers. */
static int try_client(const struct http_client_options *o, struct error *e)
{
	struct http_client *c = NULL;
	int r = http_client_new(&c, o, e);

	http_client_free(c);
	return r;
}

int notifier_http_check_url(struct str url, struct error *e)
{
	char *text = str_dup(url);
	int r;

	if (!str_starts(url, STR("http://")) && !str_starts(url, STR("https://")))
		r = error_set(e, ERR_ARG, "must be the URL of a server: https://host/path");
	else if (str_chr(url, '#') >= 0)
		r = error_set(e, ERR_ARG, "must hold no #: what follows it is never sent");
	else
		r = try_client(&(struct http_client_options){.url = text}, e);
	free(text);
	return r;
}

int notifier_http_check(const struct notifier_http_settings *s, struct error *e)
{
	if (!s->user != !s->password_file)
		return error_set(e, ERR_ARG, "%s is missing: user and password_file come together",
			s->user ? "password_file" : "user");
	if (s->user && s->token_file)
		return error_set(e, ERR_ARG,
			"a request has one authorization: token_file or user, not both");
	if (s->user && strchr(s->user, ':'))
		return error_set(e, ERR_ARG, "user: must hold no ':'");
	return try_client(&(struct http_client_options){.url = s->url, .headers = &s->headers}, e);
}

struct notifier_http *notifier_http_new(
	const struct notifier_http_settings *s, bool allow_private, const struct notifier_env *env)
{
	struct notifier_http *h = xcalloc(1, sizeof *h);

	*h = (struct notifier_http){.s = s, .allow_private = allow_private, .env = *env};
	return h;
}

void notifier_http_free(struct notifier_http *h)
{
	free(h);
}

static int read_secret(const char *path, const char *setting, struct buf *out, struct error *e)
{
	size_t before = out->n;
	int r = secret_read(path, out, e);

	if (r < 0)
		/* Not a fault of the message: it may be put right. */
		return error_wrap(e, r == ERR_LIMIT || r == ERR_ARG ? ERR_IO : r, "%s", setting);
	if (out->n == before)
		return error_set(e, ERR_IO, "%s: %s: its first line is empty", setting, path);
	return 0;
}

/* Where in a URL that passed the check the host ends. */
static size_t host_end(struct str url)
{
	size_t at = (size_t)str_find(url, STR("//")) + 2;

	while (at < url.n && url.p[at] != '/' && url.p[at] != '?')
		at++;
	return at;
}

/* The host alone: what follows is often a secret, and so is a user before it. */
static struct str where_of(const char *url)
{
	struct str s = str_c(url),
		   host = str_sub(s, (size_t)str_find(s, STR("//")) + 2, host_end(s));
	ptrdiff_t at;

	while ((at = str_chr(host, '@')) >= 0)
		host = str_sub(host, (size_t)at + 1, host.n);
	return host;
}

/* What of the URL is the client's, and what it calls: as it was written, as a slash at the end may
 * count. */
static void split(const char *url, const char *below, struct buf *server, struct buf *path)
{
	struct str s = str_c(url), rest = str_sub(s, host_end(s), s.n);

	buf_str(server, str_sub(s, 0, host_end(s)));
	while (*below && str_ends(rest, STR("/")))
		rest.n--;
	if (!str_starts(rest, STR("/")) && !*below)
		buf_char(path, '/');
	buf_str(path, rest);
	buf_c(path, below);
}

static int judge(const struct notifier_http *h, const struct http_answer *a, struct error *e)
{
	struct str where = where_of(h->s->url);
	struct buf words = {0};
	int r;

	if (a->status >= 200 && a->status < 300)
		return 0;
	notify_put_words(&words, str_sub(buf_view(&a->body), 0, ANSWER_SHOWN));
	switch (a->status) {
	case 400:
	case 422: r = ERR_ARG; break;
	case 413: r = ERR_LIMIT; break;
	case 401:
	case 403: r = ERR_DENIED; break;
	default: r = ERR_NET;
	}
	if (a->status >= 300 && a->status < 400)
		r = error_set(e, r,
			"%.*s: it answered %d, which leads elsewhere and is not followed",
			STR_ARG(where), a->status);
	else
		r = error_set(e, r, "%.*s: it answered %d%s%s", STR_ARG(where), a->status,
			words.n ? ": " : "", buf_cstr(&words));
	buf_fini(&words);
	return r;
}

static int call(struct notifier_http *h, const struct http_client_options *o, const char *path,
	struct str json, struct error *e)
{
	struct http_client *c = NULL;
	struct http_answer answer = {0};
	int r = http_client_new(&c, o, e);

	if (r == 0)
		r = http_client_call(
			c, "POST", path, json, "application/json", NULL, ANSWER_MAX, &answer, e);
	http_client_free(c);
	if (r < 0)
		/* Of the message, only its answer can say that. */
		return r == ERR_ARG || r == ERR_LIMIT ? ERR_NET : r;
	r = judge(h, &answer, e);
	http_answer_fini(&answer);
	return r;
}

int notifier_http_post(struct notifier_http *h, const char *path, struct str json, struct error *e)
{
	const struct notifier_http_settings *s = h->s;
	struct buf token = {0}, user = {0}, server = {0}, whole = {0};
	struct http_client_options o = {.ca_file = s->ca,
		.proxy = s->proxy,
		.headers = &s->headers,
		.public_only = !h->allow_private,
		.timeout_ms = (unsigned)(s->timeout / NS_PER_MS),
		.connect_ms = (unsigned)(s->timeout / NS_PER_MS),
		.ending = h->env.ending,
		.ending_arg = h->env.ending_arg};
	int r = 0;

	split(s->url, path, &server, &whole);
	o.url = buf_cstr(&server);
	if (s->token_file) {
		if ((r = read_secret(s->token_file, "token_file", &token, e)) == 0)
			o.bearer = buf_cstr(&token);
	} else if (s->user) {
		buf_printf(&user, "%s:", s->user);
		if ((r = read_secret(s->password_file, "password_file", &user, e)) == 0)
			o.user = buf_cstr(&user);
	}
	if (r == 0)
		r = call(h, &o, buf_cstr(&whole), json, e);
	secret_fini(&token);
	secret_fini(&user);
	buf_fini(&server);
	buf_fini(&whole);
	return r;
}
