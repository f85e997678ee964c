/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a request to a subscription: what its options mean, and how one is
 * refused.  What becomes of it is the matter of live.c.
 */
#include <stdlib.h>

#include "api/live_core.h"
#include "base/memory.h"
#include "query/tail.h"

enum { WINDOW_BYTES = 2 << 20 /* what a feed that is far behind may hold of parts */ };

/* The place that a cursor names on this server: its own number, or "ID=SEQ,ID=SEQ" of several
 * servers.  False when it is no cursor; *named is whether it names one. */
static bool cursor_place(struct str cursor, const char *instance, uint64_t *out, bool *named)
{
	struct str id = str_sub(str_c(instance), 0, 8);

	*out = 0;
	*named = false;
	if (str_u64(cursor, out)) {
		/* 0 is told within history: it begins anew. */
		*named = *out != 0;
		return true;
	}
	while (cursor.n) {
		struct str one = str_cut(&cursor, ','), name = str_cut(&one, '=');
		uint64_t seq = 0;

		if (name.n == 0 || one.n == 0 || (!str_eq(name, STR("@")) && !str_u64(one, &seq)))
			return false;
		if (id.n && str_eq(name, id)) {
			*out = seq;
			*named = true;
		}
	}
	return true;
}

static struct feed *feed_new(struct api *a, const struct live_options *o)
{
	struct feed *f = xcalloc(1, sizeof *f);

	f->api = a;
	f->query = o->query;
	f->tenant = str_dup(o->tenant);
	f->strict = o->strict;
	list_init(&f->node);
	list_init(&f->members);
	f->cursor.store = a->o.store;
	f->cursor.tenant = str_c(f->tenant);
	f->cursor.window_bytes = WINDOW_BYTES;
	if (o->group.n == 0)
		return f;
	buf_printf(&f->group, "%.*s\n%.*s\n%d\n", STR_ARG(o->group), STR_ARG(o->tenant), o->strict);
	query_format_line(o->query, &f->group);
	return f;
}

static struct live *live_new(struct api *a, const struct live_options *o, struct feed *f)
{
	struct live *m = xcalloc(1, sizeof *m);

	m->api = a;
	m->feed = f;
	m->form = o->form;
	m->app = str_dup(o->app);
	m->state = xcalloc(1, o->form->state_size + 1);
	m->channel = o->channel;
	m->framed = o->framed;
	m->history_only = o->history_only;
	m->history = o->group.n ? 0 : o->history;
	m->start_ns = o->start_ns;
	m->since_ns = o->since_ns;
	m->lifetime_ns = o->lifetime_ns;
	m->asked_seq = store_last_seq(a->o.store);
	list_init(&m->node);
	return m;
}

/* Made for its errors; the worker of tails makes its own. */
static int check_query(const struct live_options *o, struct error *e)
{
	struct query_tail *tail;
	int r;

	if ((r = query_tail_new(&tail, o->query, o->strict, NULL, e)) < 0)
		return r;
	query_tail_free(tail);
	return 0;
}

void live_reply(struct live *m, struct http_request *r)
{
	if (m->channel == LIVE_WEBSOCKET) {
		http_upgrade(r, &live_events, m);
		return;
	}
	http_set_header(r, "Cache-Control", "no-cache");
	http_stream(r, "text/event-stream", &live_events, m);
}

void live_answer(struct http_request *r, struct api *a, const struct live_options *o)
{
	uint64_t after = 0;
	bool named = false;
	struct error e;
	struct live *m;
	int code;

	if ((code = check_query(o, &e)) == 0 &&
		!cursor_place(o->cursor, a->o.instance, &after, &named))
		code = error_set(&e, ERR_ARG, "cursor: \"%.*s\" is none of ours",
			STR_ARG(str_sub(o->cursor, 0, 100)));
	if (code < 0) {
		query_free(o->query);
		api_fail(r, &e);
		return;
	}
	m = live_new(a, o, feed_new(a, o));
	m->after_seq = after;
	m->resumed = named;
	if (a->relays && !o->local && !o->framed)
		m->join = join_new(m, o);
	str_copy(str_c(http_identity(r)->token), m->token, sizeof m->token);
	if (m->join)
		join_open(m, r);
	else
		live_reply(m, r);
}

/* Refusing in the form's words */

struct refusal {
	struct api *api;
	const struct live_form *form;
	char *text, *reason;
	unsigned code;
};

static void refusal_open(struct ws *w, void *arg)
{
	struct refusal *f = arg;
	struct buf frame = {0};

	if (f->form && f->form->notice)
		f->form->notice(&frame, STR_NONE, str_c(f->text), clock_now_ns(f->api->o.clock));
	if (frame.n && f->form->binary)
		ws_send_binary(w, buf_view(&frame));
	else if (frame.n)
		ws_send(w, buf_view(&frame));
	buf_fini(&frame);
	ws_close(w, f->code, f->reason);
}

static void refusal_closed(struct ws *w, void *arg)
{
	struct refusal *f = arg;

	free(f->text);
	free(f->reason);
	free(f);
}

void live_refuse(struct http_request *r, struct api *a, const struct live_form *form,
	const char *text, unsigned code, const char *reason)
{
	static const struct ws_events events = {.open = refusal_open, .closed = refusal_closed};
	struct refusal *f = xcalloc(1, sizeof *f);

	*f = (struct refusal){.api = a,
		.form = form,
		.text = str_dup(str_c(text)),
		.reason = str_dup(str_c(reason)),
		.code = code};
	http_upgrade(r, &events, f);
}
