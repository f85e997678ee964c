/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URLs of drains.  The scheme says which kind of output it is, a few parameters
 * of the query what is drained; whatever else is in it is the target's, and
 * goes to the kind as it was written.
 */
#include <netdb.h>
#include <stdlib.h>

#include "net/cidr.h"
#include "net/loopback.h"
#include "net/url.h"
#include "output/drains_core.h"

extern const struct output_type output_syslog, output_https, output_https_batch;

static const struct {
	struct str scheme, becomes;
	const struct output_type *type;
} schemes[] = {
	{STR_INIT("syslog://"), STR_INIT("syslog://"), &output_syslog},
	{STR_INIT("syslog-tls://"), STR_INIT("syslog-tls://"), &output_syslog},
	{STR_INIT("https://"), STR_INIT("https://"), &output_https},
	{STR_INIT("https-batch://"), STR_INIT("https://"), &output_https_batch},
};

enum { N_SCHEMES = sizeof schemes / sizeof schemes[0] };

static int check_text(struct str url, struct error *e)
{
	if (url.n > DRAIN_URL_MAX)
		return error_set(e, ERR_LIMIT, "a drain's URL has at most %d bytes", DRAIN_URL_MAX);
	for (size_t i = 0; i < url.n; i++)
		if (url.p[i] <= ' ' || url.p[i] >= 127)
			return error_set(e, ERR_ARG,
				"a drain's URL is ASCII without blanks: write others as %%XX");
	return 0;
}

static void read_content(struct drain_target *t, struct str word)
{
	if (str_eq(word, STR("metrics")))
		t->content = DRAIN_METRICS;
	else if (str_eq(word, STR("all")))
		t->content = DRAIN_ALL;
	else if (!str_eq(word, STR("logs")))
		t->odd = true;
}

/* Parameters that are not ours are the target's. */
static int read_query(struct drain_target *t, struct str query, struct error *e)
{
	struct url_params params = {0};
	int r = url_params_add(&params, query, e);

	for (size_t i = 0; i < params.n && r == 0; i++) {
		struct str name = params.list[i].name, value = params.list[i].value;

		if (str_eq(name, STR("drain-type")) || str_eq(name, STR("drain-data")))
			read_content(t, value);
		else if (str_eq(name, STR("disable-metadata")) && str_eq(value, STR("true")))
			t->tags = false;
		else if (str_eq(name, STR("batch")) && str_eq(value, STR("true")) &&
			 t->type == &output_https)
			t->type = &output_https_batch;
	}
	url_params_fini(&params);
	return r;
}

/* An authority without user and password. */
static struct str host_port(struct str authority)
{
	ptrdiff_t at;

	while ((at = str_chr(authority, '@')) >= 0)
		authority = str_sub(authority, (size_t)at + 1, authority.n);
	return authority;
}

static void read_host(struct drain_target *t, struct str authority)
{
	authority = host_port(authority);
	if (str_starts(authority, STR("["))) {
		authority = str_sub(authority, 1, authority.n);
		t->host = str_dup(str_cut(&authority, ']'));
	} else {
		t->host = str_dup(str_cut(&authority, ':'));
	}
}

static size_t authority_end(struct str rest)
{
	size_t n = 0;

	while (n < rest.n && !strchr("/?#", rest.p[n]))
		n++;
	return n;
}

/* The kind's words may quote the URL, password and all. */
static int tell_wrong(struct str url, int code, struct error *e)
{
	struct buf plain = {0};

	drains_plain_url(url, &plain);
	error_set(e, code,
		"%.*s is no URL: write HOST, HOST:PORT with a port of 1 to 65535, or [IPv6]:PORT; "
		"syslog takes no user and password",
		STR_ARG(str_sub(buf_view(&plain), 0, 200)));
	buf_fini(&plain);
	return code;
}

int drain_target_parse(struct drain_target *out, struct str url, struct error *e)
{
	struct str rest, query;
	struct buf text = {0};
	size_t i = 0;
	int r;

	*out = (struct drain_target){.tags = true};
	if ((r = check_text(url, e)) < 0)
		return r;
	while (i < N_SCHEMES && !str_starts(url, schemes[i].scheme))
		i++;
	if (i == N_SCHEMES)
		return error_set(e, ERR_ARG,
			"a drain's URL is syslog://HOST:PORT, syslog-tls://HOST:PORT, "
			"https://HOST/PATH or https-batch://HOST/PATH");
	rest = str_sub(url, schemes[i].scheme.n, url.n);
	out->type = schemes[i].type;
	buf_str(&text, schemes[i].becomes);
	buf_str(&text, rest);
	out->url = str_dup(buf_view(&text));
	buf_fini(&text);
	read_host(out, str_sub(rest, 0, authority_end(rest)));
	query = rest;
	str_cut(&query, '?');
	query = str_cut(&query, '#');
	if (*out->host == '\0')
		return error_set(e, ERR_ARG, "a drain's URL names a host");
	if ((r = read_query(out, query, e)) < 0)
		return r;
	for (const struct option *o = out->type->options; o->name; o++)
		if (strcmp(o->name, "url") == 0 && o->check &&
			(r = o->check(str_c(out->url), e)) < 0)
			return tell_wrong(url, r, e);
	return 0;
}

void drain_target_fini(struct drain_target *t)
{
	free(t->url);
	free(t->host);
	*t = (struct drain_target){0};
}

int drain_target_check_words(const struct drain_target *t, struct error *e)
{
	if (!t->odd)
		return 0;
	return error_set(e, ERR_ARG, "a drain's drain-type is logs, metrics or all");
}

int drain_target_check_host(const struct drain_target *t, struct error *e)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *list = NULL;
	bool refused = loopback_host(str_c(t->host));

	if (!refused && getaddrinfo(t->host, NULL, &hints, &list) == 0) {
		refused = cidr_is_private(list->ai_addr);
		freeaddrinfo(list);
	}
	if (!refused)
		return 0;
	return error_set(e, ERR_DENIED,
		"%s is of this machine, private or link-local: drains may lead there with "
		"`drains: {allow_private: true}` alone",
		t->host);
}

int drains_check_url(struct str url, struct error *e)
{
	struct drain_target t;
	int r = drain_target_parse(&t, url, e);

	drain_target_fini(&t);
	return r;
}

void drains_plain_url(struct str url, struct buf *out)
{
	ptrdiff_t at = str_find(url, STR("://"));
	size_t end;

	if (at < 0)
		return;
	buf_str(out, str_sub(url, 0, (size_t)at + 3));
	url = str_sub(url, (size_t)at + 3, url.n);
	end = authority_end(url);
	buf_str(out, host_port(str_sub(url, 0, end)));
	url = str_sub(url, end, url.n);
	url = str_cut(&url, '?');
	url = str_cut(&url, '#');
	buf_str(out, url);
}
