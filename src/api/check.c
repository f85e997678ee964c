/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verdicts by (what it is about, credentials), under a hash of both: the
 * credentials themselves are kept only while somebody is asked about them.
 *
 *   asked --- settled in time ------------------> verdict, at once
 *         \-- being asked --> waits with others \
 *          \- nobody asks --> a worker asks -----> verdict for all of them
 *
 * A good verdict holds for `cache`, a bad one for a few seconds at most, so
 * that who was just given a role need not wait; a failure is asked again.
 *
 * A question that has waited for a worker as long as an answer may take is not
 * asked any more: else a URL that hangs would keep each client until all
 * before it had been waited for.
 */
#include "api/check.h"

#include <assert.h>
#include <ctype.h>
#include <gnutls/crypto.h>
#include <stdlib.h>

#include "api/internal.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metric.h"
#include "net/client.h"
#include "net/url.h"

enum {
	CHECK_THREADS = 4,
	CHECK_QUEUE = 1000,
	CHECK_ENTRIES = 10000,   /* 100 bytes each; beyond it what is settled is forgotten */
	CREDENTIALS_MAX = 16384, /* a token of UAA has up to 4 KiB */
	APP_MAX = 256,
	ANSWER_MAX = 1 << 20, /* the Cloud Controller describes the app; it is thrown away */
	KEY = 32,             /* SHA-256 */
};

#define BAD_NS (5 * NS_PER_SEC)

struct waiter {
	struct waiter *next;
	struct http_request *request;
	struct api *api;
	check_fn *then;
};

struct entry {
	uint8_t key[KEY];
	struct waiter *waiters; /* while it is being asked */
	bool asking;
	enum check_verdict verdict;
	int64_t until_mono;
};

struct checks {
	/* Fixed. */
	const struct check_settings *s;
	struct clock *clock;
	const _Atomic bool *draining;
	struct workers *workers;
	/* Under `lock`. */
	struct lock lock;
	struct map entries; /* KEY to struct entry */
	uint64_t n_asked, n_known, n_failed;
	int64_t told_mono; /* when a failure was logged */
	uint64_t n_untold; /* since then */
};

/* On its way to the URL. */
struct question {
	struct checks *checks;
	struct entry *entry;
	char *url;         /* in full */
	char *credentials; /* of an Authorization header */
	int64_t since_mono;
};

static const char *const verdict_words[] = {
	[CHECK_ALLOWED] = "allowed",
	[CHECK_MISSING] = "missing",
	[CHECK_DENIED] = "denied",
	[CHECK_FORBIDDEN] = "forbidden",
	[CHECK_FAILED] = "failed",
};

static const char *const verdict_sentences[] = {
	[CHECK_ALLOWED] = "",
	[CHECK_MISSING] = "Error: Authorization not provided",
	[CHECK_DENIED] = "Error: Invalid authorization",
	[CHECK_FORBIDDEN] = "Error: not found, or not for you to see",
	[CHECK_FAILED] = "Error: who decides about access cannot be asked now: try again later",
};

/* --- life ------------------------------------------------------------------------------- */

struct checks *checks_new(
	const struct check_settings *s, struct clock *clock, const _Atomic bool *draining)
{
	struct checks *c;

	if (!s->url)
		return NULL;
	c = xcalloc(1, sizeof *c);
	c->s = s;
	c->clock = clock;
	c->draining = draining;
	lock_init(&c->lock);
	c->workers = workers_new("check", CHECK_THREADS, CHECK_QUEUE, 0);
	return c;
}

void checks_free(struct checks *c)
{
	const struct map_slot *slot;
	size_t at = 0;

	if (!c)
		return;
	workers_free(c->workers);
	while ((slot = map_next(&c->entries, &at)))
		free(slot->value.p);
	map_fini(&c->entries);
	lock_fini(&c->lock);
	free(c);
}

bool checks_on(const struct checks *c)
{
	return c != NULL;
}

const char *checks_tenant(const struct checks *c)
{
	return c->s->tenant;
}

void checks_dump(struct checks *c, struct buf *out)
{
	if (!c)
		return;
	lock_take(&c->lock);
	buf_printf(out,
		"checks: %zu verdicts kept, %llu asked of %s, %llu known already, %llu failed, %u wait\n",
		c->entries.n, (unsigned long long)c->n_asked, c->s->url,
		(unsigned long long)c->n_known, (unsigned long long)c->n_failed,
		workers_queued(c->workers));
	lock_drop(&c->lock);
}

/* --- URLs and credentials ----------------------------------------------------------------- */

/* Where the path begins. */
static size_t path_of(struct str url)
{
	ptrdiff_t at = str_find(url, STR("://"));
	size_t i = at < 0 ? 0 : (size_t)at + 3;

	while (i < url.n && url.p[i] != '/' && url.p[i] != '?')
		i++;
	return i;
}

static int check_url(struct str url, struct error *e)
{
	char *text = str_dup(str_sub(url, 0, path_of(url)));
	struct http_client *c;
	int r = http_client_new(&c, &(struct http_client_options){.url = text}, e);

	free(text);
	if (r == 0)
		http_client_free(c);
	return r;
}

/* Without the id in it the URL would say the same of all applications. */
static int check_app_url(struct str url, struct error *e)
{
	int r = check_url(url, e);

	if (r < 0 || str_find(url, STR("{app}")) >= (ptrdiff_t)path_of(url))
		return r;
	return error_set(
		e, ERR_ARG, "its path must have {app} in it, where the application's id goes");
}

static int check_tenant(struct str tenant, struct error *e)
{
	if (tenant_valid(tenant))
		return 0;
	return error_set(
		e, ERR_ARG, "a tenant has 1 to %d letters, digits or !-_.*'()", TENANT_MAX);
}

const struct option check_options[] = {
	OPTION(struct check_settings, url, .kind = OPT_STRING, .check = check_app_url,
		.help = "Asked with the credentials of a client (header Authorization, cookie or "
			"parameter authorization) whether it may read the application {app}, as "
			"https://api.example.com/v2/apps/{app}: 200 means yes. Not set: sawlog's "
			"tokens decide, as everywhere."),
	OPTION(struct check_settings, firehose_url, .kind = OPT_STRING, .check = check_url,
		.help = "The same for what is about all applications. Not set: nobody may, but with "
			"a token of sawlog's."),
	OPTION(struct check_settings, ca, .kind = OPT_PATH,
		.help = "File of the certificates that sign that server's, PEM. Default: the "
			"system's."),
	OPTION(struct check_settings, tenant, .kind = OPT_STRING, .fallback = "default",
		.check = check_tenant, .help = "Whose records those who may read."),
	OPTION(struct check_settings, cache, .kind = OPT_DURATION, .fallback = "30s", .min = 0,
		.max = INT64_C(86400) * NS_PER_SEC,
		.help = "How long a yes holds; a no holds for 5s at most."),
	OPTION(struct check_settings, timeout, .kind = OPT_DURATION, .fallback = "5s",
		.min = 100 * NS_PER_MS, .max = 60 * NS_PER_SEC,
		.help = "How long the answer is waited for."),
	OPTION_END,
};

/* The URL with the application's id at {app}. */
static char *fill(const char *url, struct str app)
{
	struct str rest = str_c(url);
	ptrdiff_t at = str_find(rest, STR("{app}"));
	struct buf out = {0};

	if (at >= 0) {
		buf_str(&out, str_sub(rest, 0, (size_t)at));
		url_encode(&out, app);
		rest = str_sub(rest, (size_t)at + 5, rest.n);
	}
	buf_str(&out, rest);
	buf_cstr(&out);
	return buf_take(&out).p;
}

/* Ids of applications are GUIDs or plain words.  Another text could mean another page of the server
 * that is asked ("..", or what it decodes twice), and its 200 would be about that one. */
static bool is_app(struct str app)
{
	bool dots = true;

	for (size_t i = 0; i < app.n; i++) {
		unsigned char c = (unsigned char)app.p[i];
		if (!isalnum(c) && c != '-' && c != '_' && c != '.')
			return false;
		dots &= c == '.';
	}
	return app.n && app.n <= APP_MAX && !dots;
}

/* Could it stand in a header? */
static bool is_field(struct str value)
{
	for (size_t i = 0; i < value.n; i++)
		if (iscntrl((unsigned char)value.p[i]))
			return false;
	return true;
}

static bool cookie_of(const struct http_request *r, struct buf *out)
{
	struct str cookies;

	if (!http_header(r, "Cookie", &cookies))
		return false;
	while (cookies.n) {
		struct str value = str_cut(&cookies, ';');
		struct str name = str_trim(str_cut(&value, '='));
		if (str_eq(name, STR("authorization")) && value.n)
			return url_decode(out, str_trim(value), true, NULL) == 0;
	}
	return false;
}

bool check_credentials_of(const struct http_request *r, struct buf *out)
{
	struct str value;

	if (http_header(r, "Authorization", &value) && value.n) {
		buf_str(out, value);
		return true;
	}
	if (cookie_of(r, out))
		return true;
	buf_clear(out);
	if (!http_param(r, "authorization", &value) || value.n == 0)
		return false;
	buf_str(out, value);
	return true;
}

/* --- asking -------------------------------------------------------------------------------- */

static enum check_verdict verdict_of(int status)
{
	switch (status) {
	case 200: return CHECK_ALLOWED;
	case 401: return CHECK_DENIED;
	case 403:
	case 404: return CHECK_FORBIDDEN;
	default: return CHECK_FAILED;
	}
}

static bool ending(void *arg)
{
	const struct checks *c = arg;

	return atomic_load(c->draining);
}

static int ask(struct question *q, int *status, struct error *e)
{
	struct checks *c = q->checks;
	struct str url = str_c(q->url);
	size_t at = path_of(url);
	char *base = str_dup(str_sub(url, 0, at));
	struct string_map headers = {.n = 1};
	struct http_client *client;
	struct http_answer answer;
	struct http_client_options o = {.url = base,
		.ca_file = c->s->ca,
		.headers = &headers,
		.connect_ms = (unsigned)(c->s->timeout / NS_PER_MS),
		.timeout_ms = (unsigned)(c->s->timeout / NS_PER_MS),
		.ending = ending,
		.ending_arg = c};
	int r;

	headers.items = xcalloc(1, sizeof *headers.items);
	headers.items[0].name = "Authorization";
	headers.items[0].value = q->credentials;
	if ((r = http_client_new(&client, &o, e)) == 0) {
		r = http_client_call(client, "GET", at < url.n ? url.p + at : "/", STR_NONE, NULL,
			NULL, ANSWER_MAX, &answer, e);
		http_client_free(client);
	}
	if (r == 0) {
		*status = answer.status;
		http_answer_fini(&answer);
	}
	free(headers.items);
	free(base);
	return r;
}

static void tell(struct waiter *w, enum check_verdict verdict)
{
	struct buf labels = {0};

	metric_label(&labels, "verdict", str_c(verdict_words[verdict]));
	metric_add(METRIC_loggregator_checks_total, buf_cstr(&labels), 1);
	buf_fini(&labels);
	w->then(w->request, w->api, verdict, verdict_sentences[verdict]);
}

static struct waiter *settle(struct checks *c, struct entry *x, enum check_verdict verdict,
	int64_t now) REQUIRES(c->lock)
{
	struct waiter *waiters = x->waiters;
	int64_t lasts = verdict == CHECK_ALLOWED || c->s->cache < BAD_NS ? c->s->cache : BAD_NS;

	x->waiters = NULL;
	x->asking = false;
	x->verdict = verdict;
	x->until_mono = verdict == CHECK_FAILED ? now : now + lasts;
	c->n_failed += verdict == CHECK_FAILED;
	return waiters;
}

static void tell_all(struct waiter *w, enum check_verdict verdict)
{
	struct waiter *next;

	for (; w; w = next) {
		next = w->next;
		tell(w, verdict);
		free(w);
	}
}

static void question_free(struct question *q)
{
	explicit_bzero(q->credentials, strlen(q->credentials));
	free(q->credentials);
	free(q->url);
	free(q);
}

/* Once a second. */
static void complain(struct checks *c, const struct error *e)
{
	int64_t now = clock_mono_ns(c->clock);
	uint64_t n = 0;

	lock_take(&c->lock);
	c->n_untold++;
	if (!c->told_mono || now - c->told_mono >= NS_PER_SEC) {
		n = c->n_untold;
		c->told_mono = now;
		c->n_untold = 0;
	}
	lock_drop(&c->lock);
	if (n)
		log_warn("check",
			"loggregator.check: %s; who asked was not let in (%llu since the last such "
			"line)",
			e->text, (unsigned long long)n);
}

static void run(void *arg)
{
	struct question *q = arg;
	struct checks *c = q->checks;
	enum check_verdict verdict = CHECK_FAILED;
	struct waiter *waiters;
	struct error e;
	int status = 0;

	if (clock_mono_ns(c->clock) - q->since_mono > c->s->timeout)
		error_set(&e, ERR_BUSY,
			"%.*s is slow: who asks waited for others until it was too late to ask",
			(int)path_of(str_c(q->url)), q->url);
	else if (ask(q, &status, &e) == 0 && (verdict = verdict_of(status)) == CHECK_FAILED)
		error_set(&e, ERR_NET, "%.*s answered with status %d%s",
			(int)path_of(str_c(q->url)), q->url, status,
			status >= 300 && status < 400
				? ", a redirect, which is not followed: set the URL it leads to"
				: "");
	if (verdict == CHECK_FAILED && e.code != ERR_CANCELLED)
		complain(c, &e);
	lock_take(&c->lock);
	waiters = settle(c, q->entry, verdict, clock_mono_ns(c->clock));
	lock_drop(&c->lock);
	tell_all(waiters, verdict);
	question_free(q);
}

/* Make room: what is out of date goes, and if that is nothing all that is not being asked. */
static void forget(struct checks *c, int64_t now) REQUIRES(c->lock)
{
	struct map kept = {0};
	const struct map_slot *slot;
	bool all = true;

	for (size_t at = 0; all && (slot = map_next(&c->entries, &at));) {
		const struct entry *x = slot->value.p;
		all = x->asking || x->until_mono > now;
	}
	for (size_t at = 0; (slot = map_next(&c->entries, &at));) {
		struct entry *x = slot->value.p;
		if (x->asking || (!all && x->until_mono > now))
			map_put(&kept, slot->key, NULL)->p = x;
		else
			free(x);
	}
	map_fini(&c->entries);
	c->entries = kept;
}

static struct entry *find(struct checks *c, const uint8_t key[KEY], int64_t now) REQUIRES(c->lock)
{
	union map_value *v = map_get(&c->entries, str_make(key, KEY));
	struct entry *x;

	if (v)
		return v->p;
	if (c->entries.n >= CHECK_ENTRIES)
		forget(c, now);
	x = xcalloc(1, sizeof *x);
	memcpy(x->key, key, KEY);
	map_put(&c->entries, str_make(key, KEY), NULL)->p = x;
	return x;
}

/* What the verdict is about, and by whom. */
static void key_of(const char *url, struct str credentials, uint8_t out[KEY])
{
	struct buf text = {0};
	int r;

	buf_c(&text, url);
	buf_char(&text, 0);
	buf_str(&text, credentials);
	r = gnutls_hash_fast(GNUTLS_DIG_SHA256, text.p, text.n, out);
	assert(r == 0);
	explicit_bzero(text.p, text.n);
	buf_fini(&text);
}

static void ask_about(struct checks *c, char *url, struct str credentials, struct waiter w)
{
	int64_t now = clock_mono_ns(c->clock);
	enum check_verdict verdict = CHECK_FAILED;
	struct question *q = NULL;
	struct waiter *waiting;
	uint8_t key[KEY];
	struct entry *x;

	key_of(url, credentials, key);
	lock_take(&c->lock);
	x = find(c, key, now);
	if (!x->asking && x->until_mono > now) {
		c->n_known++;
		verdict = x->verdict;
		lock_drop(&c->lock);
		free(url);
		tell(&w, verdict);
		return;
	}
	waiting = xmalloc(sizeof *waiting);
	*waiting = w;
	waiting->next = x->waiters;
	x->waiters = waiting;
	if (!x->asking) {
		x->asking = true;
		c->n_asked++;
		q = xmalloc(sizeof *q);
		*q = (struct question){.checks = c,
			.entry = x,
			.url = url,
			.credentials = str_dup(credentials),
			.since_mono = now};
		url = NULL;
	}
	lock_drop(&c->lock);
	free(url);
	if (!q || workers_submit(c->workers, run, q) == 0)
		return;
	lock_take(&c->lock);
	waiting = settle(c, x, CHECK_FAILED, now);
	lock_drop(&c->lock);
	tell_all(waiting, CHECK_FAILED);
	question_free(q);
}

void api_check(struct http_request *r, struct api *a, struct str app, check_fn *then)
{
	struct checks *c = a->checks;
	const char *url = !c ? NULL : app.n ? c->s->url : c->s->firehose_url;
	struct waiter w = {.request = r, .api = a, .then = then};
	struct buf credentials = {0};

	/* A token of ours: api_admit has looked at it. */
	if (!c || http_identity(r)->token[0]) {
		then(r, a, CHECK_ALLOWED, "");
		return;
	}
	if (!check_credentials_of(r, &credentials))
		tell(&w, CHECK_MISSING);
	else if (!url || credentials.n > CREDENTIALS_MAX || (app.n && !is_app(app)) ||
		 !is_field(buf_view(&credentials)))
		tell(&w, CHECK_DENIED);
	else
		ask_about(c, fill(url, app), buf_view(&credentials), w);
	if (credentials.p)
		explicit_bzero(credentials.p, credentials.n);
	buf_fini(&credentials);
}

void api_check_refuse(struct http_request *r, enum check_verdict verdict, const char *why)
{
	assert(verdict != CHECK_ALLOWED);
	switch (verdict) {
	case CHECK_FORBIDDEN: http_reply(r, 404, NULL, STR("Resource Not Found.")); break;
	case CHECK_FAILED:
		http_set_header(r, "Retry-After", "1");
		http_replyf(r, 503, "%s\n", why);
		break;
	default:
		http_set_header(r, "WWW-Authenticate", "Basic");
		http_replyf(r, 401, "You are not authorized. %s", why);
	}
}
