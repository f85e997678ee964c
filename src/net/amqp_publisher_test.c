/* SPDX-License-Identifier: Apache-2.0 */
/* The publisher's book-keeping, with a broker that says what a test wants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/amqp_publisher.h"

/* What the broker was given, and what it will say. */
enum said { SAID_ACK, SAID_NACK, SAID_RETURN, SAID_BLOCKED, SAID_UNBLOCKED, SAID_LOST };

static struct {
	char ids[400][32]; /* of messages, in the order of their coming; over all connections */
	size_t n_ids;
	struct {
		enum said what;
		uint64_t tag;
		bool multiple;
		const char *id;
	} says[400];
	size_t n_says, at;
	unsigned n_opened, n_refused; /* connections; refuse so many first */
	bool confirms_all;            /* at once */
	uint64_t tag;                 /* of the connection */
	unsigned fails_at;            /* the publish of this number (from 1) has the line cut */
	unsigned n_published;
	bool ending;
	int pipe[2];
} broker;

static void says(enum said what, uint64_t tag, bool multiple, const char *id)
{
	broker.says[broker.n_says].what = what;
	broker.says[broker.n_says].tag = tag;
	broker.says[broker.n_says].multiple = multiple;
	broker.says[broker.n_says++].id = id;
}

static int fake_open(struct amqp_link **out, const struct amqp_link_options *o, struct error *e)
{
	if (broker.n_refused) {
		broker.n_refused--;
		return error_set(e, ERR_NET, "here: connection refused");
	}
	broker.n_opened++;
	broker.tag = 0;
	*out = (struct amqp_link *)&broker;
	return 0;
}

static void fake_close(struct amqp_link *l) {}

static int fake_publish(amqp_connection_state_t state, amqp_channel_t channel,
	amqp_bytes_t exchange, amqp_bytes_t key, amqp_boolean_t mandatory, amqp_boolean_t immediate,
	const amqp_basic_properties_t *q, amqp_bytes_t body)
{
	assert_true(mandatory);
	assert_int_equal(q->delivery_mode, 2);
	if (++broker.n_published == broker.fails_at)
		return AMQP_STATUS_SOCKET_ERROR;
	str_copy(str_make(q->message_id.bytes, q->message_id.len), broker.ids[broker.n_ids++], 32);
	broker.tag++;
	if (broker.confirms_all)
		says(SAID_ACK, broker.tag, false, NULL);
	return AMQP_STATUS_OK;
}

static const char *returned_id;

static int fake_frame(amqp_connection_state_t state, amqp_frame_t *f, const struct timeval *t)
{
	static amqp_basic_ack_t ack;
	static amqp_basic_nack_t nack;
	static amqp_basic_return_t back;

	if (broker.at == broker.n_says)
		return AMQP_STATUS_TIMEOUT;
	f->frame_type = AMQP_FRAME_METHOD;
	switch (broker.says[broker.at].what) {
	case SAID_ACK:
		ack = (amqp_basic_ack_t){
			broker.says[broker.at].tag, broker.says[broker.at].multiple};
		f->payload.method = (amqp_method_t){AMQP_BASIC_ACK_METHOD, &ack};
		break;
	case SAID_NACK:
		nack = (amqp_basic_nack_t){
			broker.says[broker.at].tag, broker.says[broker.at].multiple, 0};
		f->payload.method = (amqp_method_t){AMQP_BASIC_NACK_METHOD, &nack};
		break;
	case SAID_RETURN:
		returned_id = broker.says[broker.at].id;
		back = (amqp_basic_return_t){312, amqp_cstring_bytes("NO_ROUTE"),
			amqp_cstring_bytes("x"), amqp_cstring_bytes("k")};
		f->payload.method = (amqp_method_t){AMQP_BASIC_RETURN_METHOD, &back};
		break;
	case SAID_BLOCKED:
		f->payload.method = (amqp_method_t){AMQP_CONNECTION_BLOCKED_METHOD, NULL};
		break;
	case SAID_UNBLOCKED:
		f->payload.method = (amqp_method_t){AMQP_CONNECTION_UNBLOCKED_METHOD, NULL};
		break;
	case SAID_LOST: broker.at++; return AMQP_STATUS_SOCKET_ERROR;
	}
	broker.at++;
	return AMQP_STATUS_OK;
}

static amqp_rpc_reply_t fake_message(
	amqp_connection_state_t state, amqp_channel_t channel, amqp_message_t *m, int flags)
{
	*m = (amqp_message_t){0};
	m->properties.message_id = amqp_cstring_bytes(returned_id);
	return (amqp_rpc_reply_t){.reply_type = AMQP_RESPONSE_NORMAL};
}

static amqp_rpc_reply_t fake_reply(amqp_connection_state_t state)
{
	return (amqp_rpc_reply_t){.reply_type = AMQP_RESPONSE_NORMAL};
}

static int fake_failed(
	struct amqp_link *l, amqp_rpc_reply_t reply, const char *what, struct error *e)
{
	return 0;
}

static int fake_status(struct amqp_link *l, int status, const char *what, struct error *e)
{
	return error_set(e, ERR_NET, "here: %s: connection lost", what);
}

static int fake_unasked(struct amqp_link *l, const amqp_frame_t *f, bool *blocked, struct error *e)
{
	*blocked = f->payload.method.id == AMQP_CONNECTION_BLOCKED_METHOD;
	return 0;
}

static int fake_declare(struct amqp_link *l, const struct amqp_exchange *x,
	struct amqp_declared *out, struct error *e)
{
	*out = (struct amqp_declared){0};
	return 0;
}

#define amqp_link_open(out, o, e)                  fake_open(out, o, e)
#define amqp_link_close(l)                         fake_close(l)
#define amqp_link_state(l)                         NULL
#define amqp_link_fd(l)                            broker.pipe[1]
#define amqp_link_failed(l, r, w, e)               fake_failed(l, r, w, e)
#define amqp_link_status(l, s, w, e)               fake_status(l, s, w, e)
#define amqp_link_unasked(l, f, b, e)              fake_unasked(l, f, b, e)
#define amqp_link_where(l)                         "here"
#define amqp_link_blocked(l)                       "low on memory"
#define amqp_link_beat_ms(l)                       1000
#define amqp_declare_exchange(l, x, o, e)          fake_declare(l, x, o, e)
#define amqp_confirm_select(s, c)                  ((void)0)
#define amqp_get_rpc_reply(s)                      fake_reply(s)
#define amqp_maybe_release_buffers(s)              ((void)0)
#define amqp_basic_publish(a, b, c, d, e, f, g, h) fake_publish(a, b, c, d, e, f, g, h)
#define amqp_simple_wait_frame_noblock(s, f, t)    fake_frame(s, f, t)
#define amqp_read_message(s, c, m, f)              fake_message(s, c, m, f)
#define amqp_destroy_message(m)                    ((void)0)

#include "net/amqp_publisher.c"

static bool is_ending(void *arg)
{
	return broker.ending;
}

static const struct amqp_publisher_options usual = {
	.exchange = {.name = "x", .type = "topic", .create = true}, .ending = is_ending};

static int setup(void **state)
{
	memset(&broker, 0, sizeof broker);
	return pipe(broker.pipe);
}

static int teardown(void **state)
{
	close(broker.pipe[0]);
	close(broker.pipe[1]);
	return 0;
}

static int put(struct amqp_publisher *p, const char *id, struct error *e)
{
	struct amqp_header headers[] = {{STR("host"), STR("h1")}};
	struct amqp_outgoing m = {.key = STR("k"),
		.id = str_c(id),
		.body = STR("body"),
		.headers = headers,
		.n_headers = 1};

	return amqp_publisher_put(p, &m, e);
}

static void put_all(struct amqp_publisher *p, unsigned from, unsigned n)
{
	struct error e = {0};
	char id[32];

	for (unsigned i = from; i < from + n; i++) {
		snprintf(id, sizeof id, "%u", i);
		if (put(p, id, &e) != 0)
			fail_msg("%s: %s", id, e.text);
	}
}

/* The broker got these, in this order. */
static void assert_ids(const char *want)
{
	struct buf got = {0};

	for (size_t i = 0; i < broker.n_ids; i++)
		buf_printf(&got, "%s%s", i ? " " : "", broker.ids[i]);
	assert_string_equal(buf_cstr(&got), want);
	buf_fini(&got);
}

static void test_confirms_of_any_order(void **state)
{
	struct amqp_publisher *p = amqp_publisher_new(&usual);

	put_all(p, 1, 6);
	assert_int_equal(amqp_publisher_stats(p).waiting, 6);
	says(SAID_ACK, 5, false, NULL);
	says(SAID_ACK, 3, true, NULL);
	says(SAID_ACK, 3, true, NULL);   /* again */
	says(SAID_ACK, 99, false, NULL); /* never given */
	assert_int_equal(amqp_publisher_settle(p, 0, NULL), 1);
	assert_int_equal(amqp_publisher_stats(p).waiting, 2);
	says(SAID_ACK, 0, true, NULL);
	says(SAID_ACK, 6, true, NULL);
	assert_int_equal(amqp_publisher_settle(p, 1000, NULL), 0);
	assert_int_equal(amqp_publisher_stats(p).confirmed, 6);
	assert_ids("1 2 3 4 5 6");
	amqp_publisher_free(p);
}

static void test_nacked_is_sent_again(void **state)
{
	struct amqp_publisher *p = amqp_publisher_new(&usual);
	struct error e = {0};

	put_all(p, 1, 4);
	says(SAID_ACK, 1, false, NULL);
	says(SAID_NACK, 3, true, NULL);
	assert_int_equal(amqp_publisher_settle(p, 1000, &e), ERR_BUSY);
	assert_non_null(strstr(e.text, "basic.nack"));
	/* Nothing new before what was refused. */
	broker.confirms_all = true;
	says(SAID_ACK, 4, false, NULL);
	assert_int_equal(put(p, "5", &e), 0);
	assert_int_equal(amqp_publisher_settle(p, 1000, &e), 0);
	assert_ids("1 2 3 4 2 3 5");
	assert_int_equal(amqp_publisher_stats(p).confirmed, 5);
	assert_int_equal(amqp_publisher_stats(p).nacked, 2);
	assert_int_equal(amqp_publisher_stats(p).repeated, 2);
	amqp_publisher_free(p);
}

static void test_returned_is_sent_again(void **state)
{
	struct amqp_publisher *p = amqp_publisher_new(&usual);
	struct error e = {0};

	put_all(p, 1, 3);
	says(SAID_RETURN, 0, false, "2");
	says(SAID_RETURN, 0, false, "unknown");
	says(SAID_ACK, 3, true, NULL);
	assert_int_equal(amqp_publisher_settle(p, 1000, &e), ERR_BUSY);
	assert_string_equal(e.text, "here: no queue takes what goes to exchange \"x\" with routing "
				    "key \"k\": bind one");
	broker.confirms_all = true;
	assert_int_equal(amqp_publisher_settle(p, 1000, &e), 0);
	assert_ids("1 2 3 2");
	amqp_publisher_free(p);
}

static void test_returned_is_skipped(void **state)
{
	struct amqp_publisher_options o = usual;
	struct amqp_publisher *p;

	o.skip_unroutable = true;
	p = amqp_publisher_new(&o);
	put_all(p, 1, 2);
	says(SAID_RETURN, 0, false, "1");
	says(SAID_ACK, 2, true, NULL);
	assert_int_equal(amqp_publisher_settle(p, 1000, NULL), 0);
	assert_int_equal(amqp_publisher_stats(p).unroutable, 1);
	assert_int_equal(amqp_publisher_stats(p).confirmed, 1);
	amqp_publisher_free(p);
}

static void test_connection_lost(void **state)
{
	struct amqp_publisher *p = amqp_publisher_new(&usual);
	struct error e = {0};

	put_all(p, 1, 3);
	says(SAID_ACK, 2, false, NULL);
	says(SAID_LOST, 0, false, NULL);
	assert_int_equal(amqp_publisher_settle(p, 1000, &e), ERR_NET);
	assert_false(amqp_publisher_stats(p).connected);
	broker.n_refused = 1;
	assert_int_equal(amqp_publisher_settle(p, 1000, &e), ERR_NET);
	assert_string_equal(e.text, "here: connection refused");
	broker.confirms_all = true;
	assert_int_equal(amqp_publisher_settle(p, 1000, &e), 0);
	/* 2 was confirmed; the others may or may not have arrived. */
	assert_ids("1 2 3 1 3");
	assert_int_equal(broker.n_opened, 2);
	amqp_publisher_free(p);
}

/* The line is cut while a message is written: it was taken, and is sent by the next call. */
static void test_cut_while_publishing(void **state)
{
	struct amqp_publisher *p = amqp_publisher_new(&usual);
	struct error e = {0};

	broker.fails_at = 2;
	put_all(p, 1, 2);
	broker.confirms_all = true;
	assert_int_equal(put(p, "3", &e), 0);
	assert_int_equal(amqp_publisher_settle(p, 1000, &e), 0);
	assert_ids("1 1 2 3");
	amqp_publisher_free(p);
}

static void test_blocked(void **state)
{
	struct amqp_publisher *p = amqp_publisher_new(&usual);
	struct error e = {0};

	put_all(p, 1, 1);
	says(SAID_BLOCKED, 0, false, NULL);
	assert_int_equal(amqp_publisher_settle(p, 5000, &e), ERR_BUSY);
	assert_string_equal(e.text, "here: the broker takes nothing now: low on memory");
	assert_int_equal(put(p, "2", &e), ERR_BUSY);
	says(SAID_UNBLOCKED, 0, false, NULL);
	says(SAID_ACK, 1, false, NULL);
	broker.confirms_all = true;
	assert_int_equal(put(p, "2", &e), 0);
	assert_int_equal(amqp_publisher_settle(p, 1000, &e), 0);
	assert_ids("1 2");
	assert_int_equal(broker.n_opened, 1);
	amqp_publisher_free(p);
}

/* The window is full: an error after confirm_ms without any confirm, and the message is not taken.
 */
static void test_nothing_is_confirmed(void **state)
{
	struct amqp_publisher_options o = usual;
	struct amqp_publisher *p;
	struct error e = {0};

	o.window = 2;
	o.confirm_ms = 10;
	p = amqp_publisher_new(&o);
	put_all(p, 1, 2);
	usleep(20000);
	assert_int_equal(put(p, "3", &e), ERR_NET);
	assert_string_equal(e.text, "here: nothing was confirmed within 10 ms");
	broker.confirms_all = true;
	assert_int_equal(put(p, "3", &e), 0);
	assert_int_equal(amqp_publisher_settle(p, 1000, &e), 0);
	assert_ids("1 2 1 2 3");
	amqp_publisher_free(p);
}

/* One stubborn message keeps its place, while the numbers of the others run on around the ring. */
static void test_many_tags(void **state)
{
	struct amqp_publisher_options o = usual;
	struct amqp_publisher *p;
	struct error e = {0};

	o.window = 3;
	p = amqp_publisher_new(&o);
	put_all(p, 1, 3);
	for (unsigned i = 0; i < 5; i++) {
		says(SAID_NACK, 2 * i + 2, false, NULL);
		says(SAID_NACK, 2 * i + 3, false, NULL);
		assert_int_equal(amqp_publisher_settle(p, 0, &e), ERR_BUSY);
		assert_int_equal(amqp_publisher_settle(p, 0, &e), 1);
	}
	/* The last one has to wait for a number. */
	assert_int_equal(broker.tag, 3 * TAGS_PER_SLOT);
	assert_int_equal(p->n_again, 1);
	says(SAID_ACK, broker.tag, true, NULL);
	assert_int_equal(amqp_publisher_settle(p, 0, &e), 1);
	assert_int_equal(amqp_publisher_settle(p, 0, &e), 1);
	says(SAID_ACK, broker.tag, false, NULL);
	assert_int_equal(amqp_publisher_settle(p, 1000, &e), 0);
	assert_int_equal(amqp_publisher_stats(p).confirmed, 3);
	broker.confirms_all = true;
	put_all(p, 4, 100);
	assert_int_equal(amqp_publisher_settle(p, 1000, &e), 0);
	assert_int_equal(amqp_publisher_stats(p).confirmed, 103);
	amqp_publisher_free(p);
}

static void test_end_of_the_process(void **state)
{
	struct amqp_publisher *p = amqp_publisher_new(&usual);
	struct error e = {0};

	put_all(p, 1, 1);
	broker.ending = true;
	/* What is on its way is waited for, for a moment. */
	says(SAID_ACK, 1, false, NULL);
	assert_int_equal(amqp_publisher_settle(p, 5000, &e), 0);
	put_all(p, 2, 1);
	assert_int_equal(amqp_publisher_settle(p, 5000, &e), ERR_CANCELLED);
	says(SAID_LOST, 0, false, NULL);
	assert_int_equal(amqp_publisher_settle(p, 5000, &e), ERR_NET);
	assert_int_equal(amqp_publisher_settle(p, 5000, &e), ERR_CANCELLED);
	amqp_publisher_free(p);
}

static void test_limits(void **state)
{
	struct amqp_publisher *p = amqp_publisher_new(&usual);
	struct amqp_outgoing m = {.id = STR("i"), .body = {"", AMQP_BODY_MAX + 1}};
	struct buf key = {0};
	struct error e;

	assert_int_equal(amqp_publisher_put(p, &m, &e), ERR_LIMIT);
	while (key.n < 254)
		buf_char(&key, 'k');
	buf_c(&key, "\xc3\xa9"); /* a character that the limit would halve */
	m.key = buf_view(&key);
	m.body = STR("");
	assert_int_equal(amqp_publisher_put(p, &m, &e), 0);
	assert_int_equal(p->slots[0].n_key, 254);
	says(SAID_ACK, 1, false, NULL);
	assert_int_equal(amqp_publisher_settle(p, 1000, &e), 0);
	buf_fini(&key);
	amqp_publisher_free(p);
}

/* Lost while nothing waits: connected anew when there is something. */
static void test_idle(void **state)
{
	struct amqp_publisher *p = amqp_publisher_new(&usual);
	struct error e = {0};

	assert_int_equal(amqp_publisher_open(p, &e), 0);
	assert_int_equal(amqp_publisher_serve(p, &e), 0);
	says(SAID_LOST, 0, false, NULL);
	assert_int_equal(amqp_publisher_serve(p, &e), 0);
	assert_false(amqp_publisher_stats(p).connected);
	assert_int_equal(amqp_publisher_serve(p, &e), 0);
	broker.confirms_all = true;
	put_all(p, 1, 1);
	assert_int_equal(amqp_publisher_settle(p, 1000, &e), 0);
	assert_int_equal(broker.n_opened, 2);
	amqp_publisher_free(p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_confirms_of_any_order),
		TEST(test_nacked_is_sent_again),
		TEST(test_returned_is_sent_again),
		TEST(test_returned_is_skipped),
		TEST(test_connection_lost),
		TEST(test_cut_while_publishing),
		TEST(test_blocked),
		TEST(test_nothing_is_confirmed),
		TEST(test_many_tags),
		TEST(test_end_of_the_process),
		TEST(test_limits),
		TEST(test_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
