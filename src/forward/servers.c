/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  The user's thread calls; a second one, only where there are several
 * servers, asks the preferred ones whether they are ready, so that one that
 * swallows packets does not hold up the lines.  They meet in `wish`: the
 * prober sets it, the user takes it up after a batch is settled, never within.
 */
#include "forward/servers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"
#include "os/clock.h"
#include "os/file_stamp.h"
#include "os/fs.h"

enum {
	CALL_MS = 60000,
	CONNECT_MS = 10000,
	PROBE_CONNECT_MS = 3000,
	PROBE_CALL_MS = 5000,
	PROBE_ANSWER_MAX = 4096,
	TOKEN_MAX = 64 << 10,
	PENALTY_MAX = 16,
};
#define PROBE_NS      (5 * NS_PER_SEC)
#define IMPATIENT_NS  (5 * NS_PER_SEC)
#define TOKEN_LOOK_NS NS_PER_SEC

struct server {
	char *url;
	struct http_client *client; /* the user's; made when first needed */
	/* The prober's. */
	int64_t ready_since; /* 0: it was not at the last look */
	/* The user's. */
	int64_t returned_at;      /* when it was last come back to, 0: never */
	_Atomic unsigned penalty; /* times return_after; the prober reads it */
};

struct servers {
	/* Fixed. */
	struct servers_options o; /* strings are owned */
	struct server items[SERVERS_MAX];
	size_t n;
	pthread_t prober;
	/* The user's. */
	int64_t failing_since; /* 0: it is not */
	bool settled;          /* the one in use has answered since it is in use */
	bool changed_once;     /* it is not the one that was begun with */
	struct file_stamp token_stamp;
	int64_t token_looked;
	bool token_bad;    /* said that it cannot be read */
	struct buf tenant; /* of the next posts, empty: that of the options */
	/* Under lock. */
	struct lock lock;
	struct cond changed;
	size_t current;
	ptrdiff_t wish; /* -1: none */
	struct buf token;
	struct http_client *calling, *probing; /* for servers_cancel */
	bool cancelled;
};

bool servers_loopback(struct str url)
{
	ptrdiff_t at = str_find(url, STR("://"));
	struct str host = at >= 0 ? str_sub(url, (size_t)at + 3, url.n) : url;

	return str_starts(host, STR("127.")) || str_starts(host, STR("localhost:")) ||
	       str_starts(host, STR("localhost/")) || str_eq(host, STR("localhost")) ||
	       str_starts(host, STR("[::1]"));
}

/* The token. */

static int read_token(struct servers *s, struct buf *out, struct error *e)
{
	struct buf text = {0};
	struct str token;
	int r = fs_read_all(fs_real(), s->o.token_file, TOKEN_MAX, &text, e);

	if (r < 0) {
		error_wrap(e, r, "token_file");
	} else {
		token = str_trim(buf_view(&text));
		if (token.n == 0 || str_chr(token, '\n') >= 0)
			r = error_set(
				e, ERR_ARG, "token_file: %s must hold one token", s->o.token_file);
		else
			buf_str(out, token);
	}
	buf_fini(&text);
	return r < 0 ? ERR_ARG : 0;
}

/* Take up a token that was put into the file meanwhile; a file that is not there for a moment
 * leaves the one there is. */
static void look_at_token(struct servers *s)
{
	int64_t now = clock_mono_ns(clock_real());
	struct file_stamp stamp;
	struct buf token = {0};
	struct error e;

	if (!s->o.token_file || now - s->token_looked < TOKEN_LOOK_NS)
		return;
	s->token_looked = now;
	stamp = file_stamp_read(s->o.token_file);
	if (stamp.there && file_stamp_same(&stamp, &s->token_stamp))
		return;
	if (read_token(s, &token, &e) < 0) {
		if (!s->token_bad)
			log_warn("forward", "%s: the token read before stays in use", e.text);
		s->token_bad = true;
		buf_fini(&token);
		return;
	}
	s->token_bad = false;
	s->token_stamp = stamp;
	lock_take(&s->lock);
	if (!str_eq(buf_view(&s->token), buf_view(&token))) {
		buf_clear(&s->token);
		buf_str(&s->token, buf_view(&token));
		for (size_t i = 0; i < s->n; i++) {
			http_client_free(s->items[i].client);
			s->items[i].client = NULL;
		}
	}
	lock_drop(&s->lock);
	buf_fini(&token);
}

/* Calls. */

/* With a copy of the token: the two threads must not make one text of it at once. */
static int make_client(
	struct servers *s, size_t i, bool probe, struct http_client **out, struct error *e)
{
	struct buf token = {0};
	struct http_client_options ho = {
		.url = s->items[i].url,
		.tenant = s->o.tenant,
		.ca_file = s->o.ca,
		.cert_file = s->o.cert,
		.key_file = s->o.key,
		.insecure = s->o.insecure,
		.connect_ms = probe ? PROBE_CONNECT_MS : CONNECT_MS,
		.timeout_ms = probe ? PROBE_CALL_MS : CALL_MS,
	};
	int r;

	lock_take(&s->lock);
	buf_str(&token, buf_view(&s->token));
	lock_drop(&s->lock);
	if (token.n)
		ho.bearer = buf_cstr(&token);
	r = http_client_new(out, &ho, e);
	buf_fini(&token);
	return r;
}

static int client_of_current(struct servers *s, struct error *e)
{
	struct server *v = &s->items[s->current];

	return v->client ? 0 : make_client(s, s->current, false, &v->client, e);
}

void servers_set_tenant(struct servers *s, struct str tenant)
{
	buf_clear(&s->tenant);
	buf_str(&s->tenant, tenant);
}

int servers_post(struct servers *s, struct str frame, bool elsewhere, struct http_answer *out,
	struct error *e)
{
	static const char *const paths[] = {"/api/v1/forward", "/api/v1/forward?elsewhere=1",
		"/api/v1/forward?router=1", "/api/v1/forward?router=1&elsewhere=1"};
	struct http_client *client = NULL;
	int r;

	*out = (struct http_answer){0};
	look_at_token(s);
	if ((r = client_of_current(s, e)) < 0)
		return r;
	http_client_set_tenant(s->items[s->current].client, buf_view(&s->tenant));
	lock_take(&s->lock);
	if (s->cancelled)
		r = error_set(e, ERR_CANCELLED, "cancelled");
	else
		client = s->calling = s->items[s->current].client;
	lock_drop(&s->lock);
	if (!client)
		return r;
	r = http_client_call(client, "POST", paths[2 * s->o.router + elsewhere], frame,
		"application/x-sawlog-frame", NULL, 64 << 10, out, e);
	lock_take(&s->lock);
	s->calling = NULL;
	lock_drop(&s->lock);
	/* The next try need not wait for the next look. */
	if (r == 0 && (out->status == 401 || out->status == 403))
		s->token_looked = 0;
	return r;
}

void servers_cancel(struct servers *s)
{
	lock_take(&s->lock);
	s->cancelled = true;
	if (s->calling)
		http_client_cancel(s->calling);
	if (s->probing)
		http_client_cancel(s->probing);
	cond_broadcast(&s->changed);
	lock_drop(&s->lock);
}

/* Choosing. */

static void use(struct servers *s, size_t i)
{
	lock_take(&s->lock);
	s->current = i;
	s->wish = -1;
	cond_broadcast(&s->changed);
	lock_drop(&s->lock);
	s->failing_since = 0;
	s->settled = false;
	s->changed_once = true;
}

bool servers_settled(struct servers *s)
{
	struct server *v = &s->items[s->current];
	int64_t now = clock_mono_ns(clock_real());
	ptrdiff_t wish;

	s->failing_since = 0;
	s->settled = true;
	if (v->penalty > 1 && now - v->returned_at > 10 * s->o.return_after_ns * v->penalty)
		v->penalty = 1;
	lock_take(&s->lock);
	wish = s->wish;
	lock_drop(&s->lock);
	if (wish < 0 || (size_t)wish >= s->current)
		return false;
	log_info("forward", "%s is ready again and used from now on", s->items[wish].url);
	s->items[wish].returned_at = now;
	use(s, (size_t)wish);
	return true;
}

bool servers_failed(struct servers *s)
{
	struct server *v = &s->items[s->current];
	int64_t now = clock_mono_ns(clock_real()), patience = s->o.failover_after_ns;
	size_t next = (s->current + 1) % s->n;

	if (s->failing_since == 0)
		s->failing_since = now;
	/* One that was changed to and does not answer is left sooner. */
	if (!s->settled && s->changed_once && patience > IMPATIENT_NS)
		patience = IMPATIENT_NS;
	if (s->n == 1 || now - s->failing_since < patience)
		return false;
	log_warn("forward", "%s failed for %.0f s: %s is used now", v->url,
		(double)(now - s->failing_since) / 1e9, s->items[next].url);
	if (v->returned_at && now - v->returned_at < 10 * s->o.return_after_ns &&
		v->penalty < PENALTY_MAX)
		v->penalty *= 2;
	use(s, next);
	return true;
}

size_t servers_count(const struct servers *s)
{
	return s->n;
}

size_t servers_current(const struct servers *s)
{
	return s->current;
}

const char *servers_url(const struct servers *s, size_t n)
{
	return s->items[n].url;
}

/* The prober. */

static bool is_ready(struct servers *s, size_t i)
{
	struct http_client *client = NULL;
	struct http_answer answer = {0};
	struct error e;
	bool ready = false;

	if (make_client(s, i, true, &client, &e) < 0)
		return false;
	lock_take(&s->lock);
	if (!s->cancelled)
		s->probing = client;
	lock_drop(&s->lock);
	if (s->probing && http_client_call(client, "GET", "/ready", STR_NONE, NULL, NULL,
				  PROBE_ANSWER_MAX, &answer, &e) == 0)
		ready = answer.status == 200;
	lock_take(&s->lock);
	s->probing = NULL;
	lock_drop(&s->lock);
	http_answer_fini(&answer);
	http_client_free(client);
	return ready;
}

/* The first of those before the one in use that was ready long enough; -1: none. */
static ptrdiff_t probe(struct servers *s, size_t current)
{
	for (size_t i = 0; i < current; i++) {
		struct server *v = &s->items[i];
		bool ready = is_ready(s, i);
		int64_t now = clock_mono_ns(clock_real());

		if (!ready)
			v->ready_since = 0;
		else if (v->ready_since == 0)
			v->ready_since = now;
		if (ready && now - v->ready_since >= s->o.return_after_ns * v->penalty)
			return (ptrdiff_t)i;
	}
	return -1;
}

static void *prober(void *arg)
{
	struct servers *s = arg;
	int64_t pause = s->o.return_after_ns / 4 < PROBE_NS ? s->o.return_after_ns / 4 : PROBE_NS;
	size_t before = 0;

	if (pause < NS_PER_SEC / 10)
		pause = NS_PER_SEC / 10;
	lock_take(&s->lock);
	while (!s->cancelled) {
		size_t current = s->current;
		ptrdiff_t wish;

		if (current == 0 || s->wish >= 0) {
			before = current;
			cond_wait(&s->changed, &s->lock);
			continue;
		}
		lock_drop(&s->lock);
		/* What was seen before the change says nothing of what came after. */
		if (current != before)
			for (size_t i = 0; i < current; i++)
				s->items[i].ready_since = 0;
		before = current;
		wish = probe(s, current);
		lock_take(&s->lock);
		if (wish >= 0 && s->current == current)
			s->wish = wish;
		else if (!s->cancelled && s->current == current)
			cond_wait_for(&s->changed, &s->lock, pause);
	}
	lock_drop(&s->lock);
	return NULL;
}

/* Life. */

static void copy_options(struct servers *s, const struct servers_options *o)
{
	s->o = *o;
	s->o.urls = NULL;
	s->o.tenant = xstrdup(o->tenant);
	s->o.token_file = xstrdup(o->token_file);
	s->o.ca = xstrdup(o->ca);
	s->o.cert = xstrdup(o->cert);
	s->o.key = xstrdup(o->key);
	for (size_t i = 0; i < o->n_urls && i < SERVERS_MAX; i++)
		s->items[s->n++] = (struct server){.url = xstrdup(o->urls[i]), .penalty = 1};
}

static void servers_free(struct servers *s)
{
	for (size_t i = 0; i < s->n; i++) {
		http_client_free(s->items[i].client);
		free(s->items[i].url);
	}
	free((char *)s->o.tenant);
	free((char *)s->o.token_file);
	free((char *)s->o.ca);
	free((char *)s->o.cert);
	free((char *)s->o.key);
	buf_fini(&s->tenant);
	buf_fini(&s->token);
	lock_fini(&s->lock);
	cond_fini(&s->changed);
	free(s);
}

/* A file that is named must be there: else each try would fail with a sentence of the TLS
 * library's. */
static int check_file(const char *setting, const char *path, struct error *e)
{
	struct file *f;

	if (!path)
		return 0;
	if (fs_open(fs_real(), path, FILE_READ, &f, e) < 0)
		return error_wrap(e, ERR_ARG, "%s", setting);
	file_close(f);
	return 0;
}

static int check(struct servers *s, const struct servers_options *o, struct error *e)
{
	struct http_client *client;
	int r;

	if (o->n_urls == 0 || o->n_urls > SERVERS_MAX)
		return error_set(e, ERR_ARG, "url: %zu servers, 1 to %d are possible", o->n_urls,
			SERVERS_MAX);
	if (o->key && !o->cert)
		return error_set(e, ERR_ARG, "key: it belongs to a certificate: set cert as well");
	if ((r = check_file("ca", o->ca, e)) < 0 || (r = check_file("cert", o->cert, e)) < 0 ||
		(r = check_file("key", o->key, e)) < 0)
		return r;
	if (o->token_file) {
		s->token_stamp = file_stamp_read(o->token_file);
		if ((r = read_token(s, &s->token, e)) < 0)
			return r;
	}
	for (size_t i = 0; i < s->n; i++) {
		for (size_t k = 0; k < i; k++)
			if (strcmp(s->items[i].url, s->items[k].url) == 0)
				return error_set(
					e, ERR_ARG, "url: %s is named twice", s->items[i].url);
		if ((r = make_client(s, i, true, &client, e)) < 0)
			return r;
		http_client_free(client);
	}
	return 0;
}

int servers_open(struct servers **out, const struct servers_options *o, struct error *e)
{
	struct servers *s = xcalloc(1, sizeof *s);
	int r;

	lock_init(&s->lock);
	cond_init(&s->changed);
	s->wish = -1;
	copy_options(s, o);
	if ((r = check(s, o, e)) < 0) {
		servers_free(s);
		return r;
	}
	if (s->n > 1)
		s->prober = thread_start("probe", prober, s);
	*out = s;
	return 0;
}

void servers_close(struct servers *s)
{
	if (!s)
		return;
	servers_cancel(s);
	if (s->n > 1)
		pthread_join(s->prober, NULL);
	servers_free(s);
}
