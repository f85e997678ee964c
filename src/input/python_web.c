/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP listeners of the input, for HTTPHandler: GET with the record in the
 * query, POST with it in the body.  The answer is sent once the record is
 * durable; the application waits for it, so that is the back-pressure.
 *
 * Requests come on the server's threads, which pass them to the loop.  There
 * they wait for room, and at a reload for the next owner: the server is parked
 * and goes on listening, as net/listener.h does.  The server is stopped on a
 * thread of its own, since that waits for answers which the loop gives.
 */
#include "input/python_input.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/lock.h"

enum {
	THREADS = 1,
	STOP_MS = 3000,
};

struct python_web {
	/* Fixed after web_open. */
	struct loop *loop;
	char *address;
	char *path;
	struct http_route routes[3];
	struct http_server *server;
	/* Under `lock`: who may send.  Read by the server's threads. */
	struct lock lock;
	struct cidr *allow;
	size_t n_allow;
	struct tokens *tokens; /* NULL: none is asked for */
	/* Loop only. */
	struct python_port *port; /* NULL while it is parked */
	struct tls_server *tls;   /* of new connections; NULL: none */
	struct list waiting;      /* struct request.node */
	pthread_t stopper;
	/* Under parked_lock. */
	struct list parked;
};

struct request {
	struct list node;
	struct python_web *web;
	struct http_request *http;
};

/* A request that the server itself refused. */
struct refused {
	struct python_web *web;
	const char *reason;
	char why[200];
};

static struct lock parked_lock = LOCK_INIT;
static struct list all_parked = {&all_parked, &all_parked};

/* On the loop. */

static void on_told(void *arg, bool durable)
{
	struct http_request *r = arg;

	if (durable)
		http_reply(r, 200, NULL, STR("ok\n"));
	else
		http_reply(r, 503, NULL, STR("the server is stopping: send it again\n"));
}

static void reject(struct python_input *in, const char *reason)
{
	struct sink *sink = in->env->sink;

	sink->account(sink, in->env->tenant, STR("python"), reason, 1, true);
}

static void on_refused(void *arg)
{
	struct refused *f = arg;
	struct python_port *p = f->web->port;

	if (p) { /* parked, it is nobody's */
		p->port.losses.n_refused++;
		reject(p->in, f->reason);
		losses_warn_refused(&p->port.losses, f->why, "a request");
	}
	free(f);
}

static void take(struct python_web *w, struct http_request *r)
{
	struct python_input *in = w->port->in;
	struct python_sender from = {.ip = str_c(http_peer(r))};
	const struct http_identity *who = http_identity(r);
	bool tenant = who->known && strcmp(who->tenant, "*") != 0;
	struct outlet *o = outlets_of(in->outlets, tenant ? str_c(who->tenant) : STR_NONE);
	struct str form = str_eq(http_method(r), STR("POST")) ? http_body(r) : http_query(r);
	struct pylog_record record;
	struct error e;
	int code = pylog_form(in->pylog, form, in->observed_ns, &record, &e);

	if (code < 0) {
		in->n_bad++;
		reject(in, error_name(code));
		http_replyf(r, 400, "%s\n", e.text);
		return;
	}
	python_add(in, o, &from, &record);
	outlet_tell(o, on_told, r);
}

static void serve(struct python_web *w)
{
	struct python_input *in;

	if (!w->port || list_empty(&w->waiting))
		return;
	in = w->port->in;
	in->observed_ns = clock_now_ns(in->env->clock);
	while (!list_empty(&w->waiting) && outlets_room(in->outlets)) {
		struct request *q = CONTAINER(w->waiting.next, struct request, node);

		list_remove(&q->node);
		take(w, q->http);
		free(q);
	}
	outlets_flush_if_idle(in->outlets);
}

static void on_request(void *arg)
{
	struct request *q = arg;

	list_append(&q->web->waiting, &q->node);
	serve(q->web);
}

/* On the server's threads. */

static void handle(struct http_request *r, void *ctx)
{
	struct python_web *w = ctx;
	struct request *q;

	if (str_eq(http_method(r), STR("HEAD"))) {
		http_reply(r, 200, NULL, STR_NONE);
		return;
	}
	q = xcalloc(1, sizeof *q);
	q->web = w;
	q->http = r;
	if (loop_post(w->loop, on_request, q))
		return;
	free(q);
	http_reply(r, 503, NULL, STR("the server is stopping: send it again\n"));
}

static int check_token(struct tokens *tokens, const struct http_request *r,
	struct http_identity *who, struct error *e)
{
	char room[TOKEN_HEADER_MAX];
	struct str value, secret;
	struct token t;
	int code;

	if (!http_header(r, "Authorization", &value) || !token_of_header(value, room, &secret)) {
		error_set(e, ERR_DENIED,
			"no credentials: give HTTPHandler credentials=(any name, \"slt_…\")");
		return 401;
	}
	code = tokens_check(tokens, secret, &t, e);
	explicit_bzero(room, sizeof room);
	if (code < 0)
		return 401;
	if (!token_may(t.scopes, SCOPE_INGEST)) {
		error_set(e, ERR_DENIED, "token %s has not the scope ingest", t.id);
		return 403;
	}
	*who = (struct http_identity){.known = true, .scopes = t.scopes};
	str_copy(str_c(t.id), who->token, sizeof who->token);
	str_copy(str_c(t.tenant), who->tenant, sizeof who->tenant);
	return 0;
}

static int admit(
	void *ctx, const struct http_request *r, struct http_identity *who, struct error *e)
{
	struct python_web *w = ctx;
	struct tokens *tokens;
	struct str origin;
	bool allowed;

	lock_take(&w->lock);
	tokens = w->tokens;
	allowed = w->n_allow == 0 || cidr_has_text(w->allow, w->n_allow, http_peer(r));
	lock_drop(&w->lock);
	if (!allowed) {
		error_set(e, ERR_DENIED, "your address is in none of the networks of `allow`");
		return 403;
	}
	/* A browser does it for the page of any site. */
	if (http_header(r, "Origin", &origin)) {
		error_set(e, ERR_DENIED, "pages of browsers do not send here");
		return 403;
	}
	return tokens ? check_token(tokens, r, who, e) : 0;
}

static void refused(void *ctx, const char *route, int status, const char *why)
{
	struct python_web *w = ctx;
	struct refused *f;

	if (*route == 0)
		return; /* no such path: it is not for us */
	f = xcalloc(1, sizeof *f);
	f->web = w;
	f->reason = status == 401 || status == 403 ? error_name(ERR_DENIED)
		    : status == 413                ? error_name(ERR_LIMIT)
		    : status == 429                ? error_name(ERR_BUSY)
		    : status == 503                ? error_name(ERR_CLOSED)
						   : error_name(ERR_ARG);
	str_copy(str_c(why), f->why, sizeof f->why);
	if (!loop_post(w->loop, on_refused, f))
		free(f);
}

/* Life. */

/* "http://127.0.0.1:9022/log" -> "127.0.0.1:9022" and "/log". */
static void split_address(const char *address, struct str *host, struct str *path)
{
	struct str rest = str_c(strstr(address, "://") + 3);
	ptrdiff_t slash = str_chr(rest, '/');

	*host = slash < 0 ? rest : str_sub(rest, 0, (size_t)slash);
	*path = slash < 0 ? STR("/") : str_sub(rest, (size_t)slash, rest.n);
}

static void forget(struct python_web *w)
{
	lock_fini(&w->lock);
	tls_server_unref(w->tls);
	free(w->allow);
	free(w->address);
	free(w->path);
	free(w);
}

static struct python_web *find_parked(struct loop *loop, const char *address)
{
	struct python_web *found = NULL;

	lock_take(&parked_lock);
	LIST_EACH (at, &all_parked) {
		struct python_web *w = CONTAINER(at, struct python_web, parked);
		if (!found && w->loop == loop && (!address || strcmp(w->address, address) == 0))
			found = w;
	}
	if (found)
		list_remove(&found->parked);
	lock_drop(&parked_lock);
	return found;
}

static void adopt(struct python_web *w, struct python_port *p)
{
	const struct python_input *in = p->in;
	struct cidr *allow = xcalloc(in->s->port.allow.n + 1, sizeof *allow);

	memcpy(allow, in->ports.allow, in->s->port.allow.n * sizeof *allow);
	lock_take(&w->lock);
	free(w->allow);
	w->allow = allow;
	w->n_allow = in->s->port.allow.n;
	w->tokens = in->s->port.token ? in->env->tokens : NULL;
	lock_drop(&w->lock);
	w->port = p;
}

/* Takes the reference; NULL: it speaks none. */
static void use_tls(struct python_web *w, struct tls_server *tls)
{
	if (!tls)
		return;
	http_server_set_tls(w->server, tls);
	tls_server_unref(w->tls);
	w->tls = tls;
}

static int start_server(struct python_web *w, struct error *e)
{
	struct account *account = w->port->in->env->account;
	struct str host, path;
	const char *listen[] = {NULL, NULL};
	struct http_options o = {.listen = listen,
		.n_threads = THREADS,
		.max_body = PYLOG_FRAME_MAX,
		.account = account,
		.routes = w->routes,
		.ctx = w,
		.refused = refused,
		.admit = admit,
		.tls = w->tls};
	char *copy;
	int r;

	split_address(w->address, &host, &path);
	w->path = str_dup(path);
	w->routes[0] = (struct http_route){.path = w->path,
		.flags = HTTP_GET | HTTP_POST | HTTP_BIG,
		.handle = handle,
		.help = "Python's HTTPHandler."};
	listen[0] = copy = str_dup(host);
	r = http_server_start(&w->server, &o, e);
	free(copy);
	return r;
}

int web_open(struct python_web **out, struct python_port *p, struct error *e)
{
	struct tls_server *tls = NULL;
	struct python_web *w;
	int r;

	if (str_starts(str_c(p->port.address), STR("https://")) &&
		(r = tls_server_new(&tls, &p->in->s->port.tls, e)) < 0)
		return r;
	if ((w = find_parked(p->in->env->loop, p->port.address))) {
		adopt(w, p);
		use_tls(w, tls);
		*out = w;
		return 0;
	}
	w = xcalloc(1, sizeof *w);
	w->loop = p->in->env->loop;
	w->address = xstrdup(p->port.address);
	lock_init(&w->lock);
	list_init(&w->waiting);
	list_init(&w->parked);
	adopt(w, p);
	w->tls = tls;
	if ((r = start_server(w, e)) < 0) {
		forget(w);
		return r;
	}
	*out = w;
	return 0;
}

void web_room(struct python_web *w)
{
	serve(w);
}

void web_tick(struct python_web *w)
{
	struct tls_server *fresh;
	struct error e;

	if (!w->tls || !tls_server_stale(w->tls))
		return;
	if (tls_server_new(&fresh, &w->port->in->s->port.tls, &e) == 0)
		use_tls(w, fresh);
	else
		losses_warn(&w->port->port.losses, e.text, "a new certificate");
}

void web_park(struct python_web *w)
{
	w->port = NULL;
	lock_take(&parked_lock);
	list_append(&all_parked, &w->parked);
	lock_drop(&parked_lock);
}

static void refuse_waiting(struct python_web *w)
{
	while (!list_empty(&w->waiting)) {
		struct request *q = CONTAINER(w->waiting.next, struct request, node);

		list_remove(&q->node);
		on_told(q->http, false);
		free(q);
	}
}

static void on_drained(void *arg)
{
	struct python_web *w = arg;
	struct python_port *p = w->port;

	pthread_join(w->stopper, NULL);
	serve(w);
	refuse_waiting(w);
	p->web = NULL;
	forget(w);
	ports_done(&p->in->ports);
}

static void *stop_server(void *arg)
{
	struct python_web *w = arg;

	http_server_stop(w->server, STOP_MS);
	/* Behind all requests that it posted. */
	loop_post(w->loop, on_drained, w);
	return NULL;
}

void web_drain(struct python_web *w)
{
	w->stopper = thread_start("python-web", stop_server, w);
}

static void on_closed(void *arg)
{
	struct python_web *w = arg;

	refuse_waiting(w);
	forget(w);
}

void web_close(struct python_web *w)
{
	if (!w)
		return;
	w->port = NULL;
	refuse_waiting(w);
	http_server_stop(w->server, 0);
	/* Behind the requests that it posted; they are refused by then, or are now. */
	if (!loop_post(w->loop, on_closed, w))
		on_closed(w);
}

void web_drop_parked(struct loop *loop)
{
	struct python_web *w;

	while ((w = find_parked(loop, NULL)))
		web_close(w);
}
