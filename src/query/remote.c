/* SPDX-License-Identifier: Apache-2.0 */
#include "query/remote.h"

#include <stdlib.h>

#include "base/lock.h"
#include "base/memory.h"
#include "base/metric.h"
#include "net/client.h"
#include "net/loopback.h"
#include "os/secret.h"

enum {
	IDLE_MAX = 8,
	CONNECT_MS = 3000,
	SOCKET_MS = 5000, /* for the handshake */
	SENTENCE_MAX = 300,
	BODY_LEAST = 64 << 10, /* of an answer, however little memory is left */
};

/* So long one is not asked again that let us wait for an answer, or a connection, in vain. */
#define LEAVE_NS (10 * NS_PER_SEC)

struct idle {
	struct http_client *client;
	char *tenant; /* that its questions name: one of several, or "a|b" */
};

struct remote {
	/* Fixed. */
	char *url, *zone, *token_file, *ca;
	unsigned timeout_ms;
	bool far;
	/* Under `lock`. */
	struct lock lock;
	struct idle idle[IDLE_MAX];
	size_t n_idle;
	char instance[INSTANCE_SIZE];
	int64_t answered_ns;   /* monotonic; 0: never */
	int64_t left_alone_ns; /* until then; 0: it is asked */
	struct error failed;   /* of the last failure; code 0 after an answer */
	uint64_t n_pages, n_failures, n_bytes;
};

/* --- URLs ----------------------------------------------------------------------------- */

static struct str host_of(struct str url)
{
	ptrdiff_t at = str_find(url, STR("://")), end;
	struct str rest = at < 0 ? url : str_sub(url, (size_t)at + 3, url.n);

	if ((end = str_chr(rest, '/')) >= 0)
		rest = str_sub(rest, 0, (size_t)end);
	return rest;
}

int remote_new(struct remote **out, const struct remote_options *o, struct error *e)
{
	struct str url = str_c(o->url), host = host_of(url);
	struct remote *r;

	if (!(str_starts(url, STR("http://")) || str_starts(url, STR("https://"))) || host.n == 0)
		return error_set(e, ERR_ARG,
			"%.*s is no URL of a server: write http://HOST:PORT or https://HOST:PORT",
			STR_ARG(str_sub(host.n ? host : url, 0, 200)));
	if (str_chr(host, '@') >= 0)
		return error_set(e, ERR_ARG,
			"a name and a password do not belong into the URL of a peer, which is shown: "
			"set peer.token_file");
	while (url.n && url.p[url.n - 1] == '/')
		url.n--;
	r = xcalloc(1, sizeof *r);
	r->url = str_dup(url);
	r->zone = xstrdup(o->zone);
	r->token_file = xstrdup(o->token_file);
	r->ca = xstrdup(o->ca);
	r->timeout_ms = (unsigned)(o->timeout_ns / NS_PER_MS) + (o->timeout_ns < NS_PER_MS);
	r->far = !loopback_host(host) && !loopback_host_port(host);
	lock_init(&r->lock);
	*out = r;
	return 0;
}

void remote_free(struct remote *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n_idle; i++) {
		http_client_free(r->idle[i].client);
		free(r->idle[i].tenant);
	}
	lock_fini(&r->lock);
	free(r->url);
	free(r->zone);
	free(r->token_file);
	free(r->ca);
	free(r);
}

const char *remote_url(const struct remote *r)
{
	return r->url;
}

bool remote_is_far(const struct remote *r)
{
	return r->far;
}

/* --- connections ---------------------------------------------------------------------- */

/* What a client of it is made with.  The token is to be finished in any case. */
static int client_options(struct remote *r, const char *tenant, struct buf *token,
	struct http_client_options *o, struct error *e)
{
	int code = 0;

	*o = (struct http_client_options){.url = r->url,
		.tenant = tenant,
		.ca_file = r->ca,
		.connect_ms = r->timeout_ms < CONNECT_MS ? r->timeout_ms : CONNECT_MS,
		.timeout_ms = r->timeout_ms};
	if (r->token_file)
		code = secret_read(r->token_file, token, e);
	if (token->n)
		o->bearer = buf_cstr(token);
	return code;
}

static int client_new(
	struct remote *r, const char *tenant, struct http_client **out, struct error *e)
{
	struct http_client_options o;
	struct buf token = {0};
	int code = client_options(r, tenant, &token, &o, e);

	if (code == 0)
		code = http_client_new(out, &o, e);
	secret_fini(&token);
	return code;
}

int remote_socket(struct remote *r, struct str tenant, const char *path, bool (*ending)(void *arg),
	void *arg, struct ws_client **out, struct error *e)
{
	struct http_client_options o;
	struct buf token = {0};
	char *name = str_dup(tenant);
	int code = client_options(r, name, &token, &o, e);

	o.timeout_ms = o.timeout_ms < SOCKET_MS ? o.timeout_ms : SOCKET_MS;
	o.ending = ending;
	o.ending_arg = arg;
	if (code == 0)
		code = ws_client_open(out, &o, path, e);
	secret_fini(&token);
	free(name);
	if (code < 0 && r->zone)
		error_wrap(e, code, "zone %s", r->zone);
	return code;
}

static struct http_client *take_idle(struct remote *r, const char *tenant)
{
	struct http_client *found = NULL;

	lock_take(&r->lock);
	for (size_t i = r->n_idle; i-- > 0 && !found;) {
		if (strcmp(r->idle[i].tenant, tenant) != 0)
			continue;
		found = r->idle[i].client;
		free(r->idle[i].tenant);
		r->idle[i] = r->idle[--r->n_idle];
	}
	lock_drop(&r->lock);
	return found;
}

static void put_idle(struct remote *r, struct http_client *c, const char *tenant)
{
	struct idle old = {0};

	lock_take(&r->lock);
	if (r->n_idle == IDLE_MAX) {
		old = r->idle[0];
		memmove(r->idle, r->idle + 1, --r->n_idle * sizeof *r->idle);
	}
	r->idle[r->n_idle++] = (struct idle){c, xstrdup(tenant)};
	lock_drop(&r->lock);
	http_client_free(old.client);
	free(old.tenant);
}

/* --- questions under way -------------------------------------------------------------- */

void remote_call_init(struct remote_call *c)
{
	*c = (struct remote_call){0};
	lock_init(&c->lock);
}

void remote_call_fini(struct remote_call *c)
{
	lock_fini(&c->lock);
}

void remote_call_cancel(struct remote_call *c)
{
	lock_take(&c->lock);
	c->cancelled = true;
	if (c->client)
		http_client_cancel(c->client);
	lock_drop(&c->lock);
}

/* False when it was cancelled already. */
static bool call_begin(struct remote_call *c, struct http_client *client)
{
	bool cancelled;

	if (!c)
		return true;
	lock_take(&c->lock);
	cancelled = c->cancelled;
	c->client = client;
	lock_drop(&c->lock);
	return !cancelled;
}

static bool call_end(struct remote_call *c)
{
	bool cancelled;

	if (!c)
		return false;
	lock_take(&c->lock);
	c->client = NULL;
	cancelled = c->cancelled;
	lock_drop(&c->lock);
	return cancelled;
}

/* --- pages ---------------------------------------------------------------------------- */

static int left_alone(struct remote *r, struct error *e)
{
	int64_t now = clock_mono_ns(clock_real());
	int code = 0;

	lock_take(&r->lock);
	if (now < r->left_alone_ns)
		code = error_set(e, r->failed.code, "%s", r->failed.text);
	lock_drop(&r->lock);
	return code;
}

void remote_leave_alone(struct remote *r, const struct error *e)
{
	lock_take(&r->lock);
	if (e)
		r->failed = *e;
	r->left_alone_ns = e ? clock_mono_ns(clock_real()) + LEAVE_NS : 0;
	lock_drop(&r->lock);
}

/* Most of the time after which a connection, and then an answer, is given up. */
static int64_t waiting_ns(const struct remote *r)
{
	int64_t ms = r->timeout_ms < CONNECT_MS ? r->timeout_ms : CONNECT_MS;

	return ms * NS_PER_MS * 8 / 10;
}

static void note(
	struct remote *r, int code, int64_t began, const struct page *p, const struct error *e)
{
	struct buf labels = {0};
	int64_t now = clock_mono_ns(clock_real());

	lock_take(&r->lock);
	if (code == 0) {
		r->answered_ns = now;
		r->left_alone_ns = 0;
		r->failed = (struct error){0};
		r->n_pages++;
		r->n_bytes += p->bytes;
		str_copy(str_c(p->instance), r->instance, sizeof r->instance);
	} else if (code != ERR_CANCELLED) {
		r->n_failures++;
		r->failed = *e;
		if (code == ERR_NET && now - began > waiting_ns(r))
			r->left_alone_ns = now + LEAVE_NS;
	}
	lock_drop(&r->lock);
	if (code == ERR_CANCELLED)
		return;
	metric_label(&labels, "peer", str_c(r->url));
	metric_add(code == 0 ? METRIC_peer_pages_total : METRIC_peer_failures_total,
		buf_cstr(&labels), 1);
	buf_fini(&labels);
}

static int refused(struct remote *r, const struct http_answer *a, bool *too_much, struct error *e)
{
	struct str body = buf_view(&a->body), line = str_trim(str_cut(&body, '\n'));
	char text[SENTENCE_MAX + 1];
	int code = a->status == 401 || a->status == 403   ? ERR_DENIED
		   : a->status == 413                     ? ERR_LIMIT
		   : a->status == 429                     ? ERR_BUSY
		   : a->status == 404 || a->status == 405 ? ERR_UNSUPPORTED
		   : a->status == 400                     ? ERR_ARG
							  : ERR_NET;

	*too_much = a->status == 413;
	line = str_sub(line, 0, SENTENCE_MAX);
	line.n = str_utf8_valid(line);
	for (size_t i = 0; i < line.n; i++)
		text[i] = (unsigned char)line.p[i] < ' ' ? ' ' : line.p[i];
	if (a->status == 404)
		return error_set(e, code,
			"%s: it has no /api/v1/scan: it is no sawlog, or an older one", r->url);
	return error_set(e, code, "%s: status %d: %.*s", r->url, a->status, (int)line.n, text);
}

/* Charge what came, and turn it into a page, which is charged then. */
static int read_answer(struct remote *r, struct http_answer *a, const struct page_request *q,
	struct account *account, struct page *out, struct error *e)
{
	uint64_t room = 2 * page_bytes(buf_view(&a->body));
	struct error inner;
	int code;

	if (account && account_charge(account, room) < 0)
		return error_set(e, ERR_LIMIT, "no memory is left for what %s answers", r->url);
	if ((code = page_read(out, &a->body, PAGE_BODY_MAX, &inner)) == 0)
		code = page_check(out, q, &inner);
	if (account)
		account_release(account, room);
	if (code == 0 && account && account_charge(account, out->bytes) < 0)
		code = error_set(&inner, ERR_LIMIT, "no memory is left for what it answers");
	if (code == 0)
		return 0;
	page_fini(out);
	return error_set(e, code, "%s: %s", r->url, inner.text);
}

/* Of what is on its way nothing is charged: it is no more than could be. */
static size_t body_max(const struct account *account)
{
	uint64_t room = account ? account_room(account) : PAGE_BODY_MAX;

	return room < BODY_LEAST ? BODY_LEAST : room > PAGE_BODY_MAX ? PAGE_BODY_MAX : room;
}

static int ask(struct remote *r, struct http_client *c, const struct page_request *q,
	struct account *account, struct page *out, bool *too_much, struct error *e)
{
	struct http_answer answer;
	struct buf form = {0};
	int code;

	page_request_write(q, &form);
	code = http_client_call(c, "POST", "/api/v1/scan", buf_view(&form),
		"application/x-www-form-urlencoded", NULL, body_max(account), &answer, e);
	buf_fini(&form);
	if (code < 0)
		return code;
	code = answer.status == 200 ? read_answer(r, &answer, q, account, out, e)
				    : refused(r, &answer, too_much, e);
	http_answer_fini(&answer);
	return code;
}

static int ask_in_turn(struct remote *r, const char *tenant, const struct page_request *q,
	struct remote_call *call, struct account *account, struct page *out, bool *too_much,
	struct error *e)
{
	struct http_client *c = take_idle(r, tenant);
	bool cancelled;
	int code;

	if (!c && (code = client_new(r, tenant, &c, e)) < 0)
		return error_wrap(e, code, "%s", r->url);
	code = call_begin(call, c) ? ask(r, c, q, account, out, too_much, e)
				   : error_set(e, ERR_CANCELLED, "%s: cancelled", r->url);
	cancelled = call_end(call);
	/* One that was cancelled stays so; and a token that is not taken may be another one by
	 * the next time. */
	if (cancelled || code == ERR_NET || code == ERR_DENIED || code == ERR_CANCELLED)
		http_client_free(c);
	else
		put_idle(r, c, tenant);
	return code;
}

int remote_page(struct remote *r, struct str tenant, const struct page_request *q,
	struct remote_call *call, struct account *account, struct page *out, bool *too_much,
	struct error *e)
{
	int64_t began = clock_mono_ns(clock_real());
	char *name;
	int code;

	*out = (struct page){0};
	*too_much = false;
	if ((code = left_alone(r, e)) < 0)
		return code;
	name = str_dup(tenant);
	code = ask_in_turn(r, name, q, call, account, out, too_much, e);
	free(name);
	if (code < 0 && r->zone)
		error_wrap(e, code, "zone %s", r->zone);
	if (!*too_much)
		note(r, code, began, out, e);
	return code;
}

void remote_page_fini(struct page *p, struct account *account)
{
	if (account)
		account_release(account, p->bytes);
	page_fini(p);
}

void remote_last(struct remote *r, char instance[INSTANCE_SIZE], int64_t *mono_ns)
{
	lock_take(&r->lock);
	str_copy(str_c(r->failed.code ? "" : r->instance), instance, INSTANCE_SIZE);
	*mono_ns = r->answered_ns;
	lock_drop(&r->lock);
}

void remote_dump(struct remote *r, struct buf *out)
{
	int64_t now = clock_mono_ns(clock_real());

	lock_take(&r->lock);
	buf_printf(out, "peer %s: instance %s, %llu pages, %llu bytes, %llu failures, %zu idle",
		r->url, r->instance[0] ? r->instance : "not known", (unsigned long long)r->n_pages,
		(unsigned long long)r->n_bytes, (unsigned long long)r->n_failures, r->n_idle);
	if (r->answered_ns)
		buf_printf(out, ", answered %.1f s ago",
			(double)(now - r->answered_ns) / (double)NS_PER_SEC);
	if (r->failed.code)
		buf_printf(out, ", failed: %s", r->failed.text);
	buf_char(out, '\n');
	lock_drop(&r->lock);
}
