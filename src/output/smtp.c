/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  libcurl speaks the protocol; which answer came to which command is
 * seen through its debug callback, as a code alone does not tell a recipient
 * that is refused for good from a server that refuses us.  What the callback
 * is shown of commands is looked at for the verb and never kept, so that no
 * password can reach a log.
 */
#include "output/smtp.h"

#include <assert.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/cidr.h"
#include "net/loopback.h"
#include "os/secret.h"

enum { CONNECT_MS = 10000, TIMEOUT_MS = 60000, ANSWER_MAX = 200 };

/* What was last said to the server. */
enum phase { PHASE_HELLO, PHASE_SENDER, PHASE_RECIPIENT, PHASE_DATA, PHASE_MESSAGE };

struct smtp {
	CURL *curl;
	char *url;   /* with our name as its path, which libcurl takes for EHLO */
	char *where; /* smtp://host:port, for sentences */
	char *user, *password_file;
	bool allow_private;
	bool (*ending)(void *arg);
	void *ending_arg;
	char reason[CURL_ERROR_SIZE];
	/* Of the send under way. */
	struct str unsent;
	enum phase phase;
	bool bye; /* the goodbye behind it was said */
	int code; /* of the last answer, before the goodbye */
	char answer[ANSWER_MAX];
	bool refused_private;
};

static void init_curl(void)
{
	CURLcode r = curl_global_init(CURL_GLOBAL_DEFAULT);

	assert(r == CURLE_OK);
}

/* URLs. */

/* *where and *host are the caller's to free. */
static int read_url(const char *text, char **where, char **host, bool *tls, struct error *e)
{
	CURLU *url = curl_url();
	char *scheme = NULL, *name = NULL, *port = NULL, *user = NULL, *path = NULL;
	struct buf w = {0};
	int r = 0;

	assert(url);
	if (curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
		curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
		(strcmp(scheme, "smtp") != 0 && strcmp(scheme, "smtps") != 0) ||
		curl_url_get(url, CURLUPART_HOST, &name, 0) != CURLUE_OK) {
		r = error_set(e, ERR_ARG,
			"must be the URL of a mail server: smtp://host:port or smtps://host:port");
	} else if (curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_OK) {
		r = error_set(e, ERR_ARG,
			"must hold neither user nor password: they go to `user` and "
			"`password_file`");
	} else if (curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK && *path &&
		   strcmp(path, "/") != 0) {
		r = error_set(e, ERR_ARG, "must end with host and port: smtp://host:port");
	} else {
		curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
		buf_printf(&w, "%s://%s:%s", scheme, name, port ? port : "25");
		buf_cstr(&w);
		*where = buf_take(&w).p;
		*host = xstrdup(name);
		*tls = strcmp(scheme, "smtps") == 0;
	}
	curl_free(scheme);
	curl_free(name);
	curl_free(port);
	curl_free(user);
	curl_free(path);
	curl_url_cleanup(url);
	return r;
}

int smtp_check_url(struct str url, struct error *e)
{
	char *text = str_dup(url), *where = NULL, *host = NULL;
	bool tls;
	int r = read_url(text, &where, &host, &tls, e);

	free(text);
	free(where);
	free(host);
	return r;
}

/* Targets. */

/* The address itself is looked at when it is used, so that no name can lead elsewhere. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct smtp *s = arg;

	if (!s->allow_private && cidr_is_private(&a->addr)) {
		s->refused_private = true;
		return CURL_SOCKET_BAD;
	}
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* The conversation. */

static void on_command(struct smtp *s, struct str line)
{
	if (str_starts(line, STR("MAIL FROM")))
		s->phase = PHASE_SENDER;
	else if (str_starts(line, STR("RCPT TO")))
		s->phase = PHASE_RECIPIENT;
	else if (str_starts(line, STR("DATA")))
		s->phase = PHASE_DATA;
	else if (str_starts(line, STR("QUIT")))
		s->bye = true;
}

static void on_answer(struct smtp *s, struct str line)
{
	uint64_t code;

	if (s->bye || !str_u64(str_sub(line, 0, 3), &code) || code > 999)
		return;
	s->code = (int)code;
	str_copy(str_trim(line), s->answer, sizeof s->answer);
	for (char *p = s->answer; *p; p++)
		if ((unsigned char)*p < ' ' || (unsigned char)*p > 126)
			*p = '?';
	if (s->phase == PHASE_DATA && code == 354)
		s->phase = PHASE_MESSAGE;
}

static int on_debug(CURL *curl, curl_infotype type, char *p, size_t n, void *arg)
{
	if (type == CURLINFO_HEADER_OUT)
		on_command(arg, str_make(p, n));
	else if (type == CURLINFO_HEADER_IN)
		on_answer(arg, str_make(p, n));
	return 0;
}

static size_t on_read(char *to, size_t size, size_t n, void *arg)
{
	struct smtp *s = arg;
	struct str part = str_sub(s->unsent, 0, size * n);

	memcpy(to, part.p, part.n);
	s->unsent = str_sub(s->unsent, part.n, s->unsent.n);
	return part.n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	struct smtp *s = arg;

	return s->ending && s->ending(s->ending_arg);
}

/* Making. */

static void set_options(struct smtp *s, const struct smtp_options *o, bool local, bool tls)
{
	bool check = tls || o->user || o->ca;
	CURL *c = s->curl;

	curl_easy_setopt(c, CURLOPT_URL, s->url);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	/* A proxy of the environment is meant for HTTP. */
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, s->reason);
	curl_easy_setopt(
		c, CURLOPT_CONNECTTIMEOUT_MS, (long)(o->connect_ms ? o->connect_ms : CONNECT_MS));
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(o->timeout_ms ? o->timeout_ms : TIMEOUT_MS));
	curl_easy_setopt(c, CURLOPT_USE_SSL,
		(long)(tls || (o->user && !local) ? CURLUSESSL_ALL : CURLUSESSL_TRY));
	if (!check) {
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (o->ca)
		curl_easy_setopt(c, CURLOPT_CAINFO, o->ca);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, s);
	curl_easy_setopt(c, CURLOPT_VERBOSE, 1L);
	curl_easy_setopt(c, CURLOPT_DEBUGFUNCTION, on_debug);
	curl_easy_setopt(c, CURLOPT_DEBUGDATA, s);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(c, CURLOPT_XFERINFODATA, s);
	curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(c, CURLOPT_READDATA, s);
}

/* Our name, of which a blank would end the command. */
static void put_name(struct buf *out, const char *host)
{
	for (size_t i = 0; host[i] && i < 255; i++) {
		char c = host[i];
		bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			    (c >= '0' && c <= '9') || c == '.' || c == '-';

		buf_char(out, good ? c : '-');
	}
}

int smtp_new(struct smtp **out, const struct smtp_options *o, struct error *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct smtp *s = xcalloc(1, sizeof *s);
	char *host = NULL;
	struct buf url = {0};
	bool tls;
	int r;

	pthread_once(&once, init_curl);
	if ((r = read_url(o->url, &s->where, &host, &tls, e)) < 0) {
		smtp_free(s);
		return r;
	}
	buf_printf(&url, "%s/", s->where);
	put_name(&url, o->host && *o->host ? o->host : "localhost");
	buf_cstr(&url);
	s->url = buf_take(&url).p;
	s->user = xstrdup(o->user);
	s->password_file = xstrdup(o->password_file);
	s->allow_private = o->allow_private;
	s->ending = o->ending;
	s->ending_arg = o->ending_arg;
	s->curl = curl_easy_init();
	assert(s->curl);
	set_options(s, o, loopback_host(str_c(host)), tls);
	free(host);
	*out = s;
	return 0;
}

void smtp_free(struct smtp *s)
{
	if (!s)
		return;
	if (s->curl)
		curl_easy_cleanup(s->curl);
	free(s->url);
	free(s->where);
	free(s->user);
	free(s->password_file);
	free(s);
}

/* Sending. */

/* The first line of the file; read each time, so that it can be replaced. */
static int set_password(struct smtp *s, struct error *e)
{
	struct buf password = {0};
	int r;

	if (!s->user)
		return 0;
	if ((r = secret_read(s->password_file, &password, e)) == 0) {
		curl_easy_setopt(s->curl, CURLOPT_USERNAME, s->user);
		curl_easy_setopt(s->curl, CURLOPT_PASSWORD, buf_cstr(&password));
	}
	secret_fini(&password);
	return r < 0 ? error_wrap(e, r, "password_file") : 0;
}

/* Is the answer about the recipient or the message, and not about us? */
static bool is_for_good(const struct smtp *s)
{
	if (s->code < 500 || s->code > 599)
		return false;
	switch (s->phase) {
	case PHASE_RECIPIENT:
	case PHASE_DATA:
	case PHASE_MESSAGE:
		/* RFC 4954: these ask us to encrypt or to tell who we are. */
		return s->code != 530 && s->code != 534 && s->code != 535 && s->code != 538;
	/* The sender is the same for every message: only a size is of this one. */
	case PHASE_SENDER: return s->code == 552;
	default: return false;
	}
}

static int failed(struct smtp *s, CURLcode code, struct str to, struct error *e)
{
	bool answered = s->code >= 400 && s->code <= 599;

	if (s->refused_private)
		return error_set(e, ERR_DENIED,
			"%s: its address is private or link-local: set allow_private where that is "
			"meant",
			s->where);
	if (code == CURLE_ABORTED_BY_CALLBACK)
		return error_set(e, ERR_CANCELLED, "%s: given up, as the process ends", s->where);
	if (is_for_good(s))
		return error_set(e, ERR_ARG, "%s: refused for <%.*s>: %s", s->where,
			(int)(to.n > 100 ? 100 : to.n), to.p, s->answer);
	if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
		return error_set(e, ERR_DENIED,
			"%s: the server's certificate is not to be trusted, unless its CA is named "
			"in `ca`: %s",
			s->where, s->reason[0] ? s->reason : curl_easy_strerror(code));
	if (code == CURLE_USE_SSL_FAILED)
		return error_set(e, ERR_DENIED,
			"%s: the server does not encrypt, and a password goes over no open line",
			s->where);
	if (code == CURLE_LOGIN_DENIED)
		return error_set(e, ERR_DENIED, "%s: the server does not take the password: %s",
			s->where, answered ? s->answer : curl_easy_strerror(code));
	if (answered && s->code < 500 && s->code != 421 && s->phase >= PHASE_SENDER)
		return error_set(e, ERR_BUSY, "%s: not now: %s", s->where, s->answer);
	return error_set(e, ERR_NET, "%s: %s", s->where,
		answered       ? s->answer
		: s->reason[0] ? s->reason
			       : curl_easy_strerror(code));
}

int smtp_send(struct smtp *s, struct str from, struct str to, struct str message, struct error *e)
{
	struct curl_slist *rcpt;
	struct buf mailbox = {0};
	CURLcode code;
	int r;

	if ((r = set_password(s, e)) < 0)
		return r;
	s->unsent = message;
	s->phase = PHASE_HELLO;
	s->code = 0;
	s->answer[0] = s->reason[0] = 0;
	s->refused_private = s->bye = false;
	buf_printf(&mailbox, "<%.*s>", STR_ARG(to));
	rcpt = curl_slist_append(NULL, buf_cstr(&mailbox));
	assert(rcpt);
	buf_clear(&mailbox);
	buf_printf(&mailbox, "<%.*s>", STR_ARG(from));
	curl_easy_setopt(s->curl, CURLOPT_MAIL_FROM, buf_cstr(&mailbox));
	curl_easy_setopt(s->curl, CURLOPT_MAIL_RCPT, rcpt);
	curl_easy_setopt(s->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)message.n);
	code = curl_easy_perform(s->curl);
	curl_easy_setopt(s->curl, CURLOPT_MAIL_RCPT, NULL);
	curl_slist_free_all(rcpt);
	buf_fini(&mailbox);
	return code == CURLE_OK ? 0 : failed(s, code, to, e);
}
