/* SPDX-License-Identifier: Apache-2.0 */
#include "net/target.h"

#include <assert.h>
#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/cidr.h"
#include "net/loopback.h"

enum { CONNECT_MS = 10000, TIMEOUT_MS = 60000, UPLOAD_BUFFER = 256 << 10 };

static void init_curl(void)
{
	CURLcode r = curl_global_init(CURL_GLOBAL_DEFAULT);

	assert(r == CURLE_OK);
}

/* A part of the URL as heap text of ours, "" when absent. */
static char *url_part(CURLU *url, CURLUPart part, unsigned flags)
{
	char *text = NULL, *copy;

	if (curl_url_get(url, part, &text, flags) != CURLUE_OK)
		return xstrdup("");
	copy = xstrdup(text);
	curl_free(text);
	return copy;
}

static char *joined(const char *a, const char *between, const char *b)
{
	struct buf text = {0};

	buf_printf(&text, "%s%s%s", a, between, b);
	buf_cstr(&text);
	return buf_take(&text).p;
}

static void read_user(struct target *t, CURLU *url, const struct http_client_options *o)
{
	char *name = url_part(url, CURLUPART_USER, CURLU_URLDECODE);
	char *password = url_part(url, CURLUPART_PASSWORD, CURLU_URLDECODE);

	if (o->bearer)
		t->user = NULL;
	else if (o->user)
		t->user = xstrdup(o->user);
	else if (*name)
		t->user = joined(name, ":", password);
	free(name);
	free(password);
}

/* Split the URL; the base is put together anew, without user, query and fragment. */
static int read_url(struct target *t, const struct http_client_options *o, struct error *e)
{
	CURLU *url = curl_url();
	char *scheme, *name, *port;
	size_t n;
	bool known;

	assert(url);
	if (curl_url_set(url, CURLUPART_URL, o->url, 0) != CURLUE_OK) {
		curl_url_cleanup(url);
		return error_set(e, ERR_ARG,
			"'%.200s' is no URL of a server: write http://host:port", o->url);
	}
	scheme = url_part(url, CURLUPART_SCHEME, 0);
	name = url_part(url, CURLUPART_HOST, 0);
	port = url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
	t->path = url_part(url, CURLUPART_PATH, 0);
	for (n = strlen(t->path); n && t->path[n - 1] == '/'; n--)
		t->path[n - 1] = 0;
	t->host = joined(name, ":", port);
	t->where = joined(scheme, "://", t->host);
	t->base = joined(t->where, "", t->path);
	read_user(t, url, o);
	known = strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0;
	free(scheme);
	free(name);
	free(port);
	curl_url_cleanup(url);
	return known ? 0
		     : error_set(e, ERR_ARG, "%s: only http:// and https:// are spoken", t->where);
}

static void add_header(struct target *t, const char *name, const char *value)
{
	struct buf line = {0};
	struct curl_slist *list;

	buf_printf(&line, "%s%s", name, value);
	list = curl_slist_append(t->headers, buf_cstr(&line));
	assert(list);
	t->headers = list;
	buf_fini(&line);
}

/* A line end in a value would be the start of a header of its own. */
static bool is_header_text(const char *s)
{
	return !s || !strpbrk(s, "\r\n");
}

static bool is_token(const char *s)
{
	bool good = *s != 0;

	for (; *s && good; s++)
		good = isalnum((unsigned char)*s) || strchr("!#$%&'*+-.^_`|~", *s);
	return good;
}

static int add_headers(struct target *t, const struct string_map *more, struct error *e)
{
	for (size_t i = 0; more && i < more->n; i++) {
		const char *name = more->items[i].name, *value = more->items[i].value;
		struct buf both = {0};

		if (!is_token(name) || !is_header_text(value))
			return error_set(e, ERR_ARG,
				"%s: the header \"%.100s\" must have a name of RFC 9110 and a value "
				"without a line end",
				t->where, name);
		/* libcurl reads "name:" as the wish to have no such header. */
		buf_printf(&both, "%s%s", name, *value ? ": " : ";");
		add_header(t, buf_cstr(&both), value);
		buf_fini(&both);
	}
	return 0;
}

/* This very address is connected to, so that no name can lead elsewhere in between. */
static curl_socket_t open_public(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	static const char *const own[] = {"127.0.0.0/8", "::1/128"};
	struct target *t = arg;
	bool refused = cidr_is_private(&a->addr);

	for (size_t i = 0; i < 2 && !refused; i++) {
		struct cidr net;
		int r = cidr_parse(&net, str_c(own[i]), NULL);

		assert(r == 0);
		refused = cidr_has(&net, 1, &a->addr);
	}
	if (refused) {
		t->refused_private = true;
		return CURL_SOCKET_BAD;
	}
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static void set_options(struct target *t, const struct http_client_options *o)
{
	CURL *c = t->curl;

	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->reason);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)t->connect_ms);
	if (t->user)
		curl_easy_setopt(c, CURLOPT_USERPWD, t->user);
	if (o->ca_file)
		curl_easy_setopt(c, CURLOPT_CAINFO, o->ca_file);
	if (o->cert_file)
		curl_easy_setopt(c, CURLOPT_SSLCERT, o->cert_file);
	if (o->key_file)
		curl_easy_setopt(c, CURLOPT_SSLKEY, o->key_file);
	if (o->insecure) {
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (o->public_only && !o->proxy) {
		curl_easy_setopt(c, CURLOPT_PROXY, "");
		curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_public);
		curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, t);
	}
	if (o->proxy)
		curl_easy_setopt(c, CURLOPT_PROXY, o->proxy);
	else if (loopback_host_port(str_c(t->host)))
		/* A proxy of the environment is not meant for this machine itself. */
		curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
}

int target_init(struct target *t, const struct http_client_options *o, struct error *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int r;

	*t = (struct target){0};
	pthread_once(&once, init_curl);
	if ((r = read_url(t, o, e)) < 0)
		return r;
	if (!is_header_text(o->tenant) || !is_header_text(o->bearer) ||
		!is_header_text(o->user_agent))
		return error_set(e, ERR_ARG,
			"%s: tenant, token and user agent must not hold a line end", t->where);
	t->connect_ms = o->connect_ms ? o->connect_ms : CONNECT_MS;
	t->timeout_ms = o->timeout_ms ? o->timeout_ms : TIMEOUT_MS;
	t->curl = curl_easy_init();
	assert(t->curl);
	/* A name that nobody resolves in time is not waited for when the call is given up. */
	curl_easy_setopt(t->curl, CURLOPT_QUICK_EXIT, 1L);
	add_header(t, "User-Agent: ", o->user_agent ? o->user_agent : "sawlog/" SAWLOG_VERSION);
	if (o->tenant)
		add_header(t, "X-Scope-OrgID: ", o->tenant);
	if (o->bearer)
		add_header(t, "Authorization: Bearer ", o->bearer);
	if ((r = add_headers(t, o->headers, e)) < 0)
		return r;
	set_options(t, o);
	return 0;
}

void target_fini(struct target *t)
{
	if (t->curl)
		curl_easy_cleanup(t->curl);
	curl_slist_free_all(t->headers);
	free(t->base);
	free(t->where);
	free(t->host);
	free(t->path);
	if (t->user)
		explicit_bzero(t->user, strlen(t->user));
	free(t->user);
	*t = (struct target){0};
}

/* The system's words, in lower case as in the middle of a sentence; NULL for none. */
static const char *system_reason(struct target *t, char *out, size_t size)
{
	long number = 0;
	const char *text;

	curl_easy_getinfo(t->curl, CURLINFO_OS_ERRNO, &number);
	if (number == 0 || !(text = strerrordesc_np((int)number)))
		return NULL;
	str_copy(str_c(text), out, size);
	out[0] = (char)tolower((unsigned char)out[0]);
	return out;
}

int target_error(struct target *t, CURLcode code, struct error *e)
{
	const char *reason = NULL;
	curl_off_t connected = 0;
	char text[128];

	if (t->refused_private)
		return error_set(e, ERR_DENIED,
			"%s: its address is of this machine, private or link-local: set "
			"allow_private where that is meant",
			t->where);
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		curl_easy_getinfo(t->curl, CURLINFO_PRETRANSFER_TIME_T, &connected);
		if (connected)
			return error_set(
				e, ERR_NET, "%s: no answer within %u ms", t->where, t->timeout_ms);
		return error_set(
			e, ERR_NET, "%s: no connection within %u ms", t->where, t->connect_ms);
	case CURLE_COULDNT_RESOLVE_HOST: reason = "no such host"; break;
	case CURLE_PEER_FAILED_VERIFICATION:
		return error_set(e, ERR_NET,
			"%s: the server's certificate is not to be trusted, unless its CA is named: %s",
			t->where, t->reason[0] ? t->reason : curl_easy_strerror(code));
	case CURLE_GOT_NOTHING:
		reason = str_starts(str_c(t->where), STR("http:"))
				 ? "connection closed without an answer (does it speak https?)"
				 : "connection closed without an answer";
		break;
	case CURLE_COULDNT_CONNECT:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR: reason = system_reason(t, text, sizeof text); break;
	default: break;
	}
	if (!reason)
		reason = t->reason[0] ? t->reason : curl_easy_strerror(code);
	return error_set(e, ERR_NET, "%s: %s", t->where, reason);
}
