/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A server of POST /api/v1/forward for the tests: keeps marks and bodies, and
 * answers with the statuses it is told to first.  Included by tests alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/map.h"
#include "net/http.h"
#include "proto/frame.h"

struct fake_server {
	struct http_server *http;
	struct account account;
	char url[64];
	struct lock lock;
	int script[8]; /* statuses to answer before working, 0 ends */
	unsigned at;
	struct map marks;
	struct buf bodies;
	struct buf tenant, bearer, streams;
	unsigned n_calls;
	int packing;          /* of the last frame */
	unsigned n_elsewhere; /* batches that said so and needed it */
	_Atomic bool down;    /* answers 503 to everything */
};

static void fake_answer(struct fake_server *f, struct http_request *r, struct batch *b)
{
	struct buf body = {0};
	unsigned n = 0, n_duplicates = 0;
	struct str elsewhere;
	bool jump = http_param(r, "elsewhere", &elsewhere);

	for (size_t i = 0; i < batch_n_sources(b); i++) {
		struct batch_source s = batch_source(b, i);
		union map_value *mark = map_put(&f->marks, s.id, NULL);

		f->n_elsewhere += s.from > mark->u && jump;
		if (s.kind == POSITION_MARK && s.from > mark->u && !jump) {
			http_replyf(r, 409, "{\"mark\":%llu,\"error\":\"bytes are missing\"}\n",
				(unsigned long long)mark->u);
			return;
		}
	}
	for (size_t i = 0; i < batch_count(b); i++) {
		struct record rec = batch_record(b, i);

		if (rec.source &&
			rec.position <=
				map_get(&f->marks, batch_source(b, rec.source - 1u).id)->u) {
			n_duplicates++;
			continue;
		}
		buf_str(&f->bodies, rec.body);
		buf_char(&f->bodies, '\n');
		n++;
	}
	for (size_t i = 0; i < batch_n_sources(b); i++)
		map_get(&f->marks, batch_source(b, i).id)->u = batch_source(b, i).to;
	buf_clear(&f->streams);
	for (size_t i = 0; i < batch_n_streams(b); i++)
		labels_text(&f->streams, batch_stream(b, i));
	buf_printf(&body, "{\"committed\":%u,\"duplicates\":%u,\"seq\":1}\n", n, n_duplicates);
	http_reply_buf(r, 200, "application/json", &body);
}

static void fake_handle(struct http_request *r, void *ctx)
{
	struct fake_server *f = ctx;
	struct str value;
	struct batch *b;
	struct error e;

	if (f->down) {
		http_reply(r, 503, NULL, STR("down\n"));
		return;
	}
	lock_take(&f->lock);
	f->n_calls++;
	if (http_header(r, "X-Scope-OrgID", &value)) {
		buf_clear(&f->tenant);
		buf_str(&f->tenant, value);
	}
	if (http_header(r, "Authorization", &value)) {
		buf_clear(&f->bearer);
		buf_str(&f->bearer, value);
	}
	f->packing = http_body(r).n > 4 ? http_body(r).p[4] : -1;
	if (f->script[f->at]) {
		int status = f->script[f->at++];

		if (status == 409)
			http_replyf(r, status, "{\"mark\":17,\"error\":\"a gap\"}\n");
		else
			http_replyf(r, status, "told to answer %d\n", status);
	} else if (frame_read(&b, http_body(r), &e) < 0) {
		http_replyf(r, 400, "%s\n", e.text);
	} else {
		fake_answer(f, r, b);
		batch_unref(b);
	}
	lock_drop(&f->lock);
}

static void fake_ready(struct http_request *r, void *ctx)
{
	struct fake_server *f = ctx;

	http_reply(r, f->down ? 503 : 200, NULL, STR("\n"));
}

static const struct http_route fake_routes[] = {
	{.path = "/ready", .flags = HTTP_GET, .handle = fake_ready, .help = "ready"},
	{.path = "/api/v1/forward",
		.flags = HTTP_POST | HTTP_BIG,
		.handle = fake_handle,
		.help = "frames"},
	{.path = NULL},
};

static int fake_server_start(struct fake_server *f, struct error *e)
{
	static const char *const listen[] = {"127.0.0.1:0", NULL};
	struct http_options o = {.listen = listen,
		.n_threads = 2,
		.max_body = 64 << 20,
		.account = &f->account,
		.routes = fake_routes,
		.ctx = f};
	int r;

	*f = (struct fake_server){.packing = -1};
	lock_init(&f->lock);
	account_init(&f->account, "http", 256 << 20, NULL);
	if ((r = http_server_start(&f->http, &o, e)) < 0)
		return r;
	snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%u", http_server_port(f->http, 0));
	return 0;
}

static void fake_server_stop(struct fake_server *f)
{
	http_server_stop(f->http, 1000);
	map_fini(&f->marks);
	buf_fini(&f->bodies);
	buf_fini(&f->tenant);
	buf_fini(&f->bearer);
	buf_fini(&f->streams);
	lock_fini(&f->lock);
}
