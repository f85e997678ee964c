/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "input/loggregator.c"
#include "input/loggregator_record.c"
#include "input/loggregator_replays.c"

#include "input/fake_sink.h"
#include "os/fake.h"

static char folder[] = "/tmp/sawlog-loggregator-XXXXXX";

/* Signatures. */

static struct str signature(char out[64], uint64_t i)
{
	memset(out, 7, 64);
	memcpy(out + KEY_AT, &i, sizeof i);
	return str_make(out, 64);
}

static void test_replays(void **state)
{
	struct account account;
	struct replays *s;
	char bytes[64];

	(void)state;
	account_init(&account, "test", 32 << 20, NULL);
	s = replays_new(&account);
	assert_int_equal(account_held(&account), 2 * TABLE_BYTES);
	for (uint64_t i = 0; i < 5 * REPLAYS_MIN; i++) {
		/* Spread as random ones are, and some that collide. */
		uint64_t key = i % 3 ? i * 0x9e3779b97f4a7c15 : i << 20;

		assert_true(replays_add(s, signature(bytes, key)));
		assert_false(replays_add(s, signature(bytes, key)));
	}
	/* The last are remembered, the first are not. */
	for (uint64_t i = 4 * REPLAYS_MIN; i < 5 * REPLAYS_MIN; i++)
		assert_false(
			replays_add(s, signature(bytes, i % 3 ? i * 0x9e3779b97f4a7c15 : i << 20)));
	assert_true(replays_add(s, signature(bytes, 0x9e3779b97f4a7c15)));
	/* What is no signature is not looked at. */
	assert_true(replays_add(s, STR("")));
	assert_true(replays_add(s, STR("")));
	replays_free(s);
	replays_free(NULL);
	assert_int_equal(account_held(&account), 0);
}

/* Drains. */

static struct str due(struct loggregator_input *in, const char *app, const char *url)
{
	struct loggregator x;

	loggregator_clear(&x);
	x.source_id = str_c(app);
	x.drains_told = true;
	if (url)
		x.drains[x.n_drains++] = str_c(url);
	return drains_due(in, &x);
}

static void test_drains_are_due(void **state)
{
	struct loggregator_input in = {.observed_ns = 1787306400 * NS_PER_SEC};
	struct loggregator of_router = {.n_drains = 1};
	char app[16];

	(void)state;
	assert_true(str_eq_c(due(&in, "a", "syslog://x"), "syslog://x"));
	assert_int_equal(due(&in, "a", "syslog://x").n, 0);
	assert_true(str_eq_c(due(&in, "b", NULL), LOGGREGATOR_NO_DRAINS));
	assert_int_equal(due(&in, "b", NULL).n, 0);
	assert_int_equal(drains_due(&in, &of_router).n, 0);
	/* Again an hour later, but not that there is none. */
	in.observed_ns += 3600 * NS_PER_SEC;
	assert_true(str_eq_c(due(&in, "a", "syslog://x"), "syslog://x"));
	assert_int_equal(due(&in, "a", "syslog://x").n, 0);
	assert_int_equal(due(&in, "b", NULL).n, 0);
	assert_true(str_eq_c(due(&in, "a", NULL), LOGGREGATOR_NO_DRAINS));
	assert_true(str_eq_c(due(&in, "a", "syslog://y"), "syslog://y"));
	/* Who makes up applications fills no memory, and costs no more than a repetition. */
	for (int i = 0; i < 200000; i++) {
		snprintf(app, sizeof app, "app-%d", i);
		assert_int_not_equal(due(&in, app, "u").n, 0);
		assert_true(in.drains.bytes <= 2 * DRAINS_BYTES_MAX);
	}
	map_fini(&in.drains);
	buf_fini(&in.urls);
}

/* Refusals. */

static void test_refusals_are_told_together(void **state)
{
	struct refusals f = {0};
	const char *const reasons[] = {"a", "b", "a", "c", "d", "e", "f", "g", "h", "i", "a"};
	uint64_t n = 0;

	(void)state;
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		count_refused(&f, reasons[i], 2);
	assert_int_equal(f.n, REFUSALS_MAX);
	assert_int_equal(f.by[0].n, 6);
	for (size_t i = 0; i < f.n; i++)
		n += f.by[i].n;
	assert_int_equal(n, 2 * sizeof reasons / sizeof reasons[0]);
}

static void test_peers(void **state)
{
	(void)state;
	assert_true(str_eq_c(peer_host("10.1.2.3:99"), "10.1.2.3"));
	assert_int_equal(peer_host("127.0.0.1:99").n, 0);
	assert_int_equal(peer_host("").n, 0);
}

/* All of it, from a socket to the sink. */

struct rig {
	struct loggregator_settings s;
	char address[120];
	const char *listen[1];
	struct fake_sink sink;
	struct account account;
	struct fake_run run;
	struct loggregator_secret secret;
};

static void rig_start(struct rig *g, const char *secret)
{
	memset(g, 0, sizeof *g);
	snprintf(g->address, sizeof g->address, "unix-dgram://%s/l.sock", folder);
	g->listen[0] = g->address;
	g->s = (struct loggregator_settings){.port.listen = {g->listen, 1},
		.port.receive_buffer = 1 << 20,
		.port.mode = "0600",
		.shared_secret = secret,
		.max_line = 1000};
	if (secret)
		loggregator_secret_init(&g->secret, str_c(secret));
	account_init(&g->account, "test", 32 << 20, NULL);
	fake_init(&g->sink);
	assert_int_equal(
		fake_start_input(&g->run, &input_loggregator, &g->s, &g->sink, &g->account, folder),
		0);
}

static void rig_stop(struct rig *g)
{
	assert_true(fake_stop_input(&g->run));
	assert_int_equal(account_held(&g->account), 0);
	fake_fini(&g->sink);
}

static void rig_send(struct rig *g, const char *text)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct buf message = {0}, out = {0};
	struct loggregator x;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	loggregator_clear(&x);
	x.source_id = STR("guid");
	x.source_type = STR("App");
	x.instance_id = STR("2");
	x.timestamp = 5;
	x.payload = str_c(text);
	loggregator_put_message(&message, &x);
	loggregator_sign_2013(&out, x.source_id, x.payload, buf_view(&message), &g->secret);
	snprintf(a.sun_path, sizeof a.sun_path, "%s/l.sock", folder);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	for (int i = 0; i < 2; i++) /* the second time it is replayed */
		assert_int_equal(send(fd, out.p, out.n, 0), out.n);
	assert_int_equal(send(fd, message.p, message.n, 0), message.n);
	close(fd);
	buf_fini(&message);
	buf_fini(&out);
}

static void test_from_socket_to_sink(void **state)
{
	struct buf got;
	struct rig g;

	(void)state;
	rig_start(&g, "secret");
	rig_send(&g, "one");
	rig_send(&g, "two");
	assert_true(fake_wait(&g.sink, 2, 5000));
	lock_take(&g.sink.lock);
	assert_string_equal(buf_cstr(&g.sink.labels),
		"{app=\"guid\", input=\"loggregator\", service_name=\"guid\", source=\"App/2\"}");
	assert_int_equal(g.sink.last_time, 5);
	lock_drop(&g.sink.lock);
	rig_stop(&g);
	/* At the end at the latest it is told what was refused. */
	rig_start(&g, "another");
	loggregator_secret_init(&g.secret, STR("secret"));
	rig_send(&g, "three");
	assert_true(fake_wait(&g.sink, 1, 5000));
	got = fake_text(&g.sink, "");
	assert_true(str_find(buf_view(&got), STR(" was refused between ")) > 0 ||
		    str_find(buf_view(&got), STR(" were refused between ")) > 0);
	assert_true(str_find(buf_view(&got), STR(" signature")) > 0);
	buf_fini(&got);
	rig_stop(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replays),
		cmocka_unit_test(test_drains_are_due),
		cmocka_unit_test(test_refusals_are_told_together),
		cmocka_unit_test(test_peers),
		cmocka_unit_test(test_from_socket_to_sink),
	};
	char command[100];
	int failed;

	if (!mkdtemp(folder))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof command, "rm -rf %s", folder);
	return system(command) || failed;
}
