/* SPDX-License-Identifier: Apache-2.0 */
/* Relays against servers that are made here: what they are asked for, and what they tell.  Both .c
 * files are included to reach the links. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "conf/option.h"
#include "net/http.h"

#include "api/relay.c"
#include "api/relay_link.c"

enum { SERVERS = 2, CONNECTIONS = 128, PATIENCE_MS = 10000 };

static const struct live_form form = {.name = "loki"};
static const struct live_form other_form = {.name = "message"};

/* A follower of a fake server. */
struct connection {
	struct fake *fake;
	struct ws *ws; /* NULL: closed */
	char query[100], form[20], group[20], cursor[200], since[40], tenant[40];
};

struct fake {
	/* Under `lock`. */
	struct http_server *http;
	struct account account;
	struct connection connections[CONNECTIONS];
	/* Atomic. */
	_Atomic unsigned port;
	_Atomic(const char *) instance;
	_Atomic uint64_t seq; /* where those begin that bring no cursor of it */
	_Atomic bool dumb;    /* it sends no first frame */
	_Atomic size_t n;
};

static struct {
	struct lock lock;
	struct fake fakes[SERVERS];
	struct peers *peers;
	struct relays *relays;
	struct account account;
} t;

static struct fake *fake_of(struct http_request *r)
{
	struct str host;

	http_header(r, "Host", &host);
	for (size_t i = 0; i < SERVERS; i++) {
		char port[20];

		snprintf(port, sizeof port, ":%u", t.fakes[i].port);
		if (str_ends(host, str_c(port)))
			return &t.fakes[i];
	}
	abort();
}

static void send_frame(struct connection *c, uint64_t seq, const char *text)
{
	struct buf frame = {0};

	for (int i = 7; i >= 0; i--)
		buf_char(&frame, (char)(seq >> (8 * i)));
	buf_c(&frame, text);
	ws_send_binary(c->ws, buf_view(&frame));
	buf_fini(&frame);
}

static void on_open(struct ws *w, void *arg)
{
	struct connection *c = arg;
	struct fake *f = c->fake;
	uint64_t seq = f->seq;
	struct str rest = str_c(c->cursor);

	while (rest.p) {
		struct str part = str_cut(&rest, ','), id = str_cut(&part, '=');
		if (id.n == RELAY_ID && str_starts(str_c(f->instance), id))
			str_u64(part, &seq);
	}
	lock_take(&t.lock);
	c->ws = w;
	if (!f->dumb)
		send_frame(c, seq, f->instance);
	lock_drop(&t.lock);
}

static void on_closed(struct ws *w, void *arg)
{
	struct connection *c = arg;

	lock_take(&t.lock);
	c->ws = NULL;
	lock_drop(&t.lock);
}

static void copy_param(struct http_request *r, const char *name, char *out, size_t size)
{
	struct str s;

	str_copy(http_param(r, name, &s) ? s : STR_NONE, out, size);
}

static void follow(struct http_request *r, void *ctx)
{
	static const struct ws_events events = {.open = on_open, .closed = on_closed};
	struct fake *f = fake_of(r);
	struct connection *c;
	struct str s;

	lock_take(&t.lock);
	assert_true(f->n < CONNECTIONS);
	c = &f->connections[f->n++];
	lock_drop(&t.lock);
	c->fake = f;
	copy_param(r, "query", c->query, sizeof c->query);
	copy_param(r, "form", c->form, sizeof c->form);
	copy_param(r, "group", c->group, sizeof c->group);
	copy_param(r, "cursor", c->cursor, sizeof c->cursor);
	copy_param(r, "since", c->since, sizeof c->since);
	http_header(r, "X-Scope-OrgID", &s);
	str_copy(s, c->tenant, sizeof c->tenant);
	http_upgrade(r, &events, c);
}

static const struct http_route routes[] = {{"/api/v1/follow", HTTP_GET, follow, ""}, {0}};

static void fake_start(struct fake *f)
{
	char address[40];
	const char *const listen_on[] = {address, NULL};
	struct http_options o = {.listen = listen_on,
		.n_threads = 2,
		.max_body = 1 << 20,
		.account = &f->account,
		.routes = routes};
	struct error e;

	snprintf(address, sizeof address, "127.0.0.1:%u", f->port);
	if (http_server_start(&f->http, &o, &e) < 0)
		fail_msg("%s", e.text);
	f->port = http_server_port(f->http, 0);
}

static void fake_stop(struct fake *f)
{
	http_server_stop(f->http, 0);
	f->http = NULL;
}

/* What it was asked for the nth time, once that is open. */
static const struct connection *asked(struct fake *f, size_t n)
{
	lock_take(&t.lock);
	lock_drop(&t.lock);
	return &f->connections[n];
}

static const struct connection *asked_last(struct fake *f)
{
	return asked(f, f->n - 1);
}

static size_t n_open(struct fake *f)
{
	size_t n = 0;

	lock_take(&t.lock);
	for (size_t i = 0; i < f->n; i++)
		n += f->connections[i].ws != NULL;
	lock_drop(&t.lock);
	return n;
}

/* To all that follow it, as a server does. */
static void fake_tell(struct fake *f, uint64_t seq, const char *text)
{
	lock_take(&t.lock);
	for (size_t i = 0; i < f->n; i++)
		if (f->connections[i].ws)
			send_frame(&f->connections[i], seq, text);
	lock_drop(&t.lock);
}

/* --- subscribers ------------------------------------------------------------------------ */

struct sub {
	struct relay *relay;
	struct lock lock;
	struct buf got;             /* "SERVER:SEQ:TEXT " */
	struct buf states[SERVERS]; /* "SEQ " or "error " */
	bool full;
	size_t n;
};

static bool on_frame(void *arg, size_t server, uint64_t seq, struct str bytes)
{
	struct sub *s = arg;
	bool taken;

	lock_take(&s->lock);
	taken = !s->full;
	if (taken) {
		s->n++;
		if (bytes.n < 100)
			buf_printf(&s->got, "%zu:%llu:%.*s ", server, (unsigned long long)seq,
				STR_ARG(bytes));
		relay_told(s->relay, server, seq);
	}
	lock_drop(&s->lock);
	return taken;
}

static void on_state(void *arg, size_t server, uint64_t seq, const struct error *e)
{
	struct sub *s = arg;

	lock_take(&s->lock);
	if (e)
		buf_c(&s->states[server], "error ");
	else
		buf_printf(&s->states[server], "%lld ", (long long)seq);
	lock_drop(&s->lock);
}

static void sub_open(struct sub *s, const char *query, const char *cursor)
{
	static const struct relay_events events = {.frame = on_frame, .state = on_state};
	struct relay_options o = {.tenant = STR("default"),
		.query = str_c(query),
		.form = &form,
		.cursor = str_c(cursor),
		.begun_ns = 1234};

	memset(s, 0, sizeof *s);
	lock_init(&s->lock);
	lock_take(&s->lock);
	s->relay = relay_open(t.relays, &o, &events, s);
	lock_drop(&s->lock);
}

static void sub_close(struct sub *s)
{
	relay_close(s->relay);
	buf_fini(&s->got);
	for (size_t i = 0; i < SERVERS; i++)
		buf_fini(&s->states[i]);
	lock_fini(&s->lock);
}

/* Wait until the buffer, which others write, is `want`. */
static void wait_text(struct sub *s, struct buf *b, const char *want)
{
	char last[2000];

	for (int i = 0; i < PATIENCE_MS; i++) {
		lock_take(&s->lock);
		str_copy(buf_view(b), last, sizeof last);
		lock_drop(&s->lock);
		if (strcmp(last, want) == 0)
			return;
		usleep(1000);
	}
	fail_msg("\"%s\" was not told, but \"%s\"", want, last);
}

static void wait_got(struct sub *s, const char *want)
{
	wait_text(s, &s->got, want);
}

static void wait_state(struct sub *s, size_t server, const char *want)
{
	wait_text(s, &s->states[server], want);
}

static void wait_open(struct fake *f, size_t want)
{
	for (int i = 0; n_open(f) != want; i++) {
		if (i == PATIENCE_MS)
			fail_msg("%zu connections, not %zu", n_open(f), want);
		usleep(1000);
	}
}

static void assert_cursor(struct sub *s, const char *want)
{
	struct buf cursor = {0};

	relay_cursor(s->relay, SIZE_MAX, 0, &cursor);
	assert_string_equal(buf_cstr(&cursor), want);
	buf_fini(&cursor);
}

static int set_up(void **state)
{
	char urls[SERVERS][40];
	const char *items[SERVERS];
	struct strings list = {.items = items, .n = SERVERS};
	struct error e;

	memset(&t, 0, sizeof t);
	lock_init(&t.lock);
	for (size_t i = 0; i < SERVERS; i++) {
		struct fake *f = &t.fakes[i];

		account_init(&f->account, "http", 64 << 20, NULL);
		f->instance = i ? "bbbbbbbb22222222" : "aaaaaaaa11111111";
		f->seq = 100 * (i + 1);
		fake_start(f);
		snprintf(urls[i], sizeof urls[i], "http://127.0.0.1:%u", f->port);
		items[i] = urls[i];
	}
	account_init(&t.account, "relays", 64 << 20, NULL);
	if (peers_new(&t.peers,
		    &(struct peers_options){.urls = &list, .instance = "cccccccc33333333"}, &e) < 0)
		fail_msg("%s", e.text);
	t.relays = relays_new(&(struct relays_options){
		.peers = t.peers, .instance = "cccccccc33333333", .account = &t.account});
	return 0;
}

static int tear_down(void **state)
{
	relays_free(t.relays);
	peers_free(t.peers);
	assert_int_equal(account_held(&t.account), 0);
	for (size_t i = 0; i < SERVERS; i++)
		if (t.fakes[i].http)
			fake_stop(&t.fakes[i]);
	lock_fini(&t.lock);
	return 0;
}

/* --- tests ------------------------------------------------------------------------------ */

static void test_two_servers(void **state)
{
	struct sub s;

	sub_open(&s, "{a=\"b\"} |= \"x&y\"", "");
	wait_state(&s, 0, "100 ");
	wait_state(&s, 1, "200 ");
	assert_string_equal(asked(&t.fakes[0], 0)->query, "{a=\"b\"} |= \"x&y\"");
	assert_string_equal(asked(&t.fakes[0], 0)->form, "loki");
	assert_string_equal(asked(&t.fakes[0], 0)->tenant, "default");
	assert_string_equal(asked(&t.fakes[0], 0)->since, "");
	assert_cursor(&s, "aaaaaaaa=100,bbbbbbbb=200,");
	fake_tell(&t.fakes[0], 101, "one");
	wait_got(&s, "0:101:one ");
	fake_tell(&t.fakes[1], 205, "two");
	wait_got(&s, "0:101:one 1:205:two ");
	fake_tell(&t.fakes[1], 300, "");
	for (int i = 0; i < 100; i++)
		usleep(1000);
	assert_cursor(&s, "aaaaaaaa=101,bbbbbbbb=300,");
	sub_close(&s);
	wait_open(&t.fakes[0], 0);
}

/* Who wants the same has one connection to each server; who comes later begins where it is. */
static void test_shared(void **state)
{
	enum { N = 50 };
	static struct sub s[N], late;

	for (size_t i = 0; i < N; i++)
		sub_open(&s[i], "{}", "");
	for (size_t i = 0; i < N; i++)
		wait_state(&s[i], 0, "100 ");
	fake_tell(&t.fakes[0], 110, "x");
	for (size_t i = 0; i < N; i++)
		wait_got(&s[i], "0:110:x ");
	sub_open(&late, "{}", "");
	wait_state(&late, 0, "110 ");
	fake_tell(&t.fakes[0], 111, "y");
	wait_got(&late, "0:111:y ");
	wait_got(&s[7], "0:110:x 0:111:y ");
	assert_int_equal(t.fakes[0].n, 1);
	for (size_t i = 0; i < N; i++)
		sub_close(&s[i]);
	assert_int_equal(n_open(&t.fakes[0]), 1);
	sub_close(&late);
	wait_open(&t.fakes[0], 0);
}

static void test_other_queries_are_not_shared(void **state)
{
	static struct sub s[3];
	char tenant[] = "t", query[] = "{}", none[] = "";
	struct relay_query a = {.tenant = tenant, .query = query, .group = none, .form = &form};
	struct relay_query b = a;

	sub_open(&s[0], "{}", "");
	sub_open(&s[1], "{a=\"b\"}", "");
	wait_open(&t.fakes[0], 2);
	sub_close(&s[0]);
	sub_close(&s[1]);
	b.form = &other_form;
	assert_false(relay_query_same(&a, &b));
	b = a;
	b.strict = true;
	assert_false(relay_query_same(&a, &b));
	b = a;
	b.tenant = (char[]){"u"};
	assert_false(relay_query_same(&a, &b));
}

static void fill(struct sub *s)
{
	lock_take(&s->lock);
	s->full = true;
	lock_drop(&s->lock);
}

static void resume(struct sub *s)
{
	lock_take(&s->lock);
	s->full = false;
	lock_drop(&s->lock);
	relay_resume(s->relay);
}

static void wait_n(struct sub *s, size_t want)
{
	for (int i = 0;; i++) {
		size_t n;

		lock_take(&s->lock);
		n = s->n;
		lock_drop(&s->lock);
		if (n == want)
			return;
		if (i == PATIENCE_MS)
			fail_msg("%zu frames, not %zu", n, want);
		usleep(1000);
	}
}

static void test_no_room(void **state)
{
	struct sub s;

	sub_open(&s, "{}", "");
	wait_state(&s, 0, "100 ");
	fill(&s);
	fake_tell(&t.fakes[0], 101, "a");
	fake_tell(&t.fakes[0], 102, "b");
	usleep(100000);
	assert_cursor(&s, "aaaaaaaa=100,bbbbbbbb=200,");
	resume(&s);
	wait_got(&s, "0:101:a 0:102:b ");
	sub_close(&s);
}

/* One that takes nothing does not hold the others up; when it takes again, it gets all from a
 * connection of its own, and then comes back to the shared one. */
static void test_slow_one(void **state)
{
	enum { N = 60, SIZE = 40 << 10 };
	static char text[SIZE + 1];
	static struct sub fast, slow;
	struct fake *f = &t.fakes[0];

	memset(text, 'x', SIZE);
	sub_open(&fast, "{}", "");
	sub_open(&slow, "{}", "");
	wait_state(&fast, 0, "100 ");
	wait_state(&slow, 0, "100 ");
	fill(&slow);
	for (unsigned i = 1; i <= N; i++) {
		lock_take(&t.lock);
		send_frame(&f->connections[0], 100 + i, text);
		lock_drop(&t.lock);
		wait_n(&fast, i);
	}
	wait_open(f, 2);
	assert_string_equal(asked(f, 1)->cursor, "aaaaaaaa=100");
	/* Its connection is read until the ring is full. */
	for (unsigned i = 1; i <= N; i++) {
		for (;;) {
			lock_take(&t.lock);
			if (ws_queued(f->connections[1].ws) < 512 << 10)
				break;
			lock_drop(&t.lock);
			usleep(1000);
			if (i > 30)
				resume(&slow);
		}
		send_frame(&f->connections[1], 100 + i, text);
		lock_drop(&t.lock);
		assert_true(account_held(&t.account) < 3 * RELAY_RING_MAX);
	}
	resume(&slow);
	wait_n(&slow, N);
	wait_open(f, 1);
	lock_take(&t.lock);
	send_frame(&f->connections[0], 200, "end");
	lock_drop(&t.lock);
	wait_got(&fast, "0:200:end ");
	wait_got(&slow, "0:200:end ");
	sub_close(&fast);
	sub_close(&slow);
}

/* What nobody takes has its share of the memory, and leaves the rest to what is taken. */
static void test_memory_is_shared(void **state)
{
	enum { N = 30, SIZE = 40 << 10, LIMIT = 2 << 20 };
	static char text[SIZE + 1];
	static struct sub fast, slow;
	struct fake *f = &t.fakes[0];

	t.account.limit = LIMIT;
	memset(text, 'x', SIZE);
	sub_open(&slow, "{a}", "");
	wait_state(&slow, 0, "100 ");
	sub_open(&fast, "{b}", "");
	wait_state(&fast, 0, "100 ");
	fill(&slow);
	for (unsigned i = 1; i <= N; i++) {
		lock_take(&t.lock);
		send_frame(&f->connections[0], 100 + i, text);
		send_frame(&f->connections[1], 100 + i, text);
		lock_drop(&t.lock);
		wait_n(&fast, i);
		assert_true(account_held(&t.account) < LIMIT / 4);
	}
	for (unsigned i = 0; i < 2000 && ws_queued(f->connections[0].ws); i++) {
		resume(&slow);
		usleep(1000);
	}
	resume(&slow);
	wait_n(&slow, N);
	sub_close(&slow);
	sub_close(&fast);
	t.account.limit = 64 << 20;
}

static void test_server_comes_back(void **state)
{
	static struct sub s, other;

	sub_open(&s, "{}", "");
	sub_open(&other, "{}", "");
	wait_state(&s, 0, "100 ");
	wait_state(&s, 1, "200 ");
	fake_tell(&t.fakes[0], 101, "a");
	wait_got(&s, "0:101:a ");
	wait_got(&other, "0:101:a ");
	fake_stop(&t.fakes[0]);
	wait_state(&s, 0, "100 error ");
	fake_tell(&t.fakes[1], 201, "b");
	wait_got(&s, "0:101:a 1:201:b ");
	fake_start(&t.fakes[0]);
	wait_state(&s, 0, "100 error 101 ");
	wait_open(&t.fakes[0], 1);
	assert_string_equal(asked_last(&t.fakes[0])->cursor, "aaaaaaaa=101");
	fake_tell(&t.fakes[0], 102, "c");
	wait_got(&s, "0:101:a 1:201:b 0:102:c ");
	wait_got(&other, "0:101:a 1:201:b 0:102:c ");
	sub_close(&s);
	sub_close(&other);
}

/* A connection that breaks while the server is there is nobody's business. */
static void test_connection_breaks(void **state)
{
	struct sub s;

	sub_open(&s, "{}", "");
	wait_state(&s, 0, "100 ");
	fake_tell(&t.fakes[0], 101, "a");
	wait_got(&s, "0:101:a ");
	lock_take(&t.lock);
	ws_close(t.fakes[0].connections[0].ws, 1001, "so");
	lock_drop(&t.lock);
	for (int i = 0; t.fakes[0].n < 2 && i < PATIENCE_MS; i++)
		usleep(1000);
	wait_open(&t.fakes[0], 1);
	assert_string_equal(asked(&t.fakes[0], 1)->cursor, "aaaaaaaa=101");
	fake_tell(&t.fakes[0], 102, "b");
	wait_got(&s, "0:101:a 0:102:b ");
	wait_state(&s, 0, "100 ");
	sub_close(&s);
}

/* A server that was not there at first is followed from the subscriber's beginning on. */
static void test_absent_at_first(void **state)
{
	static struct sub s[3], later;
	struct fake *f = &t.fakes[1];

	fake_stop(f);
	for (size_t i = 0; i < 3; i++)
		sub_open(&s[i], "{}", "");
	for (size_t i = 0; i < 3; i++) {
		wait_state(&s[i], 0, "100 ");
		wait_state(&s[i], 1, "error ");
		assert_cursor(&s[i], "aaaaaaaa=100,@=1234,");
	}
	fake_start(f);
	for (size_t i = 0; i < 3; i++)
		wait_state(&s[i], 1, "error 200 ");
	assert_string_equal(asked_last(f)->since, "1234");
	assert_string_equal(asked_last(f)->cursor, "");
	assert_cursor(&s[0], "aaaaaaaa=100,bbbbbbbb=200,");
	/* Once they are as far as it is, one connection does. */
	fake_tell(f, 201, "");
	fake_tell(f, 202, "x");
	for (size_t i = 0; i < 3; i++)
		wait_got(&s[i], "1:202:x ");
	wait_open(f, 1);
	sub_open(&later, "{}", "");
	wait_state(&later, 1, "202 ");
	fake_tell(f, 203, "y");
	wait_got(&s[2], "1:202:x 1:203:y ");
	wait_got(&later, "1:203:y ");
	for (size_t i = 0; i < 3; i++)
		sub_close(&s[i]);
	sub_close(&later);
}

/* One that takes connections and says nothing: nobody waits for it longer than 3 s. */
static void test_dumb_server(void **state)
{
	struct sub s;
	int64_t began = clock_mono_ns(clock_real());

	t.fakes[1].dumb = true;
	sub_open(&s, "{}", "");
	wait_state(&s, 0, "100 ");
	wait_state(&s, 1, "error ");
	assert_true(clock_mono_ns(clock_real()) - began < 4 * NS_PER_SEC);
	t.fakes[1].dumb = false;
	wait_state(&s, 1, "error 200 ");
	assert_string_equal(asked_last(&t.fakes[1])->since, "1234");
	sub_close(&s);
}

static void test_itself_is_left_out(void **state)
{
	struct sub s;

	t.fakes[1].instance = "cccccccc33333333";
	sub_open(&s, "{}", "");
	wait_state(&s, 0, "100 ");
	wait_state(&s, 1, "-1 ");
	wait_open(&t.fakes[1], 0);
	assert_cursor(&s, "aaaaaaaa=100,@=1234,");
	sub_close(&s);
	sub_open(&s, "{}", "");
	wait_state(&s, 1, "-1 ");
	sub_close(&s);
	assert_int_equal(t.fakes[1].n, 1);
}

static void test_one_server_twice(void **state)
{
	struct sub s;

	t.fakes[1].instance = t.fakes[0].instance;
	t.fakes[1].seq = 100;
	sub_open(&s, "{}", "");
	for (int i = 0;
		n_open(&t.fakes[0]) + n_open(&t.fakes[1]) != 1 || t.fakes[0].n + t.fakes[1].n != 2;
		i++) {
		assert_true(i < PATIENCE_MS);
		usleep(1000);
	}
	sub_close(&s);
}

/* Its cursor is brought to all servers, each of which knows its own part of it. */
static void test_cursor(void **state)
{
	struct sub s;

	fake_stop(&t.fakes[1]);
	sub_open(&s, "{}", "cccccccc=7,aaaaaaaa=42,bbbbbbbb=77,@=99");
	wait_state(&s, 0, "42 ");
	wait_state(&s, 1, "error ");
	assert_string_equal(
		asked(&t.fakes[0], 0)->cursor, "cccccccc=7,aaaaaaaa=42,bbbbbbbb=77,@=99");
	assert_string_equal(asked(&t.fakes[0], 0)->since, "99");
	/* Nothing is lost of what is not there at present. */
	assert_cursor(&s, "bbbbbbbb=77,aaaaaaaa=42,@=99,");
	fake_start(&t.fakes[1]);
	wait_state(&s, 1, "error 77 ");
	assert_cursor(&s, "aaaaaaaa=42,bbbbbbbb=77,");
	sub_close(&s);
}

/* A server whose data was replaced tells another id: it is followed from then on. */
static void test_other_data(void **state)
{
	struct sub s;

	sub_open(&s, "{}", "");
	wait_state(&s, 0, "100 ");
	fake_stop(&t.fakes[0]);
	wait_state(&s, 0, "100 error ");
	t.fakes[0].instance = "dddddddd44444444";
	t.fakes[0].seq = 3;
	fake_start(&t.fakes[0]);
	wait_state(&s, 0, "100 error 3 ");
	assert_true(asked_last(&t.fakes[0])->since[0] != 0);
	assert_cursor(&s, "dddddddd=3,bbbbbbbb=200,");
	fake_tell(&t.fakes[0], 4, "new");
	wait_got(&s, "0:4:new ");
	sub_close(&s);
}

static void test_bad_frames(void **state)
{
	struct sub s;

	sub_open(&s, "{}", "");
	wait_state(&s, 0, "100 ");
	lock_take(&t.lock);
	ws_send_binary(t.fakes[0].connections[0].ws, STR("short"));
	lock_drop(&t.lock);
	for (int i = 0; t.fakes[0].n < 2 && i < PATIENCE_MS; i++)
		usleep(1000);
	wait_open(&t.fakes[0], 1);
	fake_tell(&t.fakes[0], 101, "a");
	wait_got(&s, "0:101:a ");
	/* A first frame that is none. */
	t.fakes[0].instance = "a\",\"bbbbbbbb\"";
	lock_take(&t.lock);
	ws_send_binary(t.fakes[0].connections[1].ws, STR("short"));
	lock_drop(&t.lock);
	wait_state(&s, 0, "100 error ");
	t.fakes[0].instance = "aaaaaaaa11111111";
	wait_state(&s, 0, "100 error 101 ");
	sub_close(&s);
}

static void test_open_and_close(void **state)
{
	static struct sub s[40];

	t.fakes[1].dumb = true;
	for (size_t i = 0; i < 40; i++) {
		sub_open(&s[i], i % 3 ? "{}" : "{a=\"b\"}", i % 5 ? "" : "aaaaaaaa=1");
		if (i % 2)
			sub_close(&s[i]);
	}
	for (size_t i = 0; i < 40; i += 2)
		sub_close(&s[i]);
	/* tear_down ends what is being opened. */
}

static void test_dump(void **state)
{
	struct buf out = {0};
	struct sub s;

	sub_open(&s, "{}", "");
	wait_state(&s, 0, "100 ");
	wait_state(&s, 1, "200 ");
	relays_dump(t.relays, &out);
	assert_non_null(strstr(buf_cstr(&out), "relays: 1 of 2 servers"));
	assert_non_null(strstr(buf_cstr(&out), "instance aaaaaaaa11111111, 1 connections\n"));
	buf_fini(&out);
	sub_close(&s);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_two_servers),
		TEST(test_shared),
		TEST(test_other_queries_are_not_shared),
		TEST(test_no_room),
		TEST(test_slow_one),
		TEST(test_memory_is_shared),
		TEST(test_server_comes_back),
		TEST(test_connection_breaks),
		TEST(test_absent_at_first),
		TEST(test_dumb_server),
		TEST(test_itself_is_left_out),
		TEST(test_one_server_twice),
		TEST(test_cursor),
		TEST(test_other_data),
		TEST(test_bad_frames),
		TEST(test_open_and_close),
		TEST(test_dump),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
