/* SPDX-License-Identifier: Apache-2.0 */
/* URLs, and what can be said of a broker that is none; a real one is in tests/scenario. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/amqp.h"

static void assert_url(const char *text, bool tls, const char *user, const char *password,
	const char *host, int port, const char *vhost)
{
	struct error e = {0};
	struct amqp_url url;
	struct arena a;

	arena_init(&a, NULL);
	if (amqp_url_parse(&url, str_c(text), &a, &e) != 0)
		fail_msg("%s: %s", text, e.text);
	assert_int_equal(url.tls, tls);
	assert_string_equal(url.user, user);
	assert_string_equal(url.password, password);
	assert_string_equal(url.host, host);
	assert_int_equal(url.port, port);
	assert_string_equal(url.vhost, vhost);
	arena_fini(&a);
}

static void test_urls(void **state)
{
	assert_url("amqp://guest:guest@localhost:5672/", false, "guest", "guest", "localhost", 5672,
		"/");
	assert_url("amqp://", false, "guest", "guest", "localhost", 5672, "/");
	assert_url("amqps://broker", true, "guest", "guest", "broker", 5671, "/");
	assert_url("amqp://u:p%40ss%3A@[::1]:5700/%2f", false, "u", "p@ss:", "::1", 5700, "/");
	assert_url("amqp://u@h/prod%20one", false, "u", "guest", "h", 5672, "prod one");
	assert_url("amqp://u:@h//", false, "u", "", "h", 5672, "/");
	assert_url("amqp://u:a:b@h/v?connection_attempts=3&retry_delay=5", false, "u", "a:b", "h",
		5672, "v");
}

static void test_heartbeat(void **state)
{
	struct amqp_url url;
	struct arena a;

	arena_init(&a, NULL);
	assert_int_equal(amqp_url_parse(&url, STR("amqp://h"), &a, NULL), 0);
	assert_int_equal(url.heartbeat_s, -1);
	assert_int_equal(amqp_url_parse(&url, STR("amqp://h?heartbeat=7"), &a, NULL), 0);
	assert_int_equal(url.heartbeat_s, 7);
	assert_int_equal(amqp_url_parse(&url, STR("amqp://h/?heartbeat=0&x"), &a, NULL), ERR_ARG);
	arena_fini(&a);
}

static void test_bad_urls(void **state)
{
	static const char *const bad[] = {
		"",
		"h:5672",
		"http://h",
		"amqp://h:0",
		"amqp://h:65536",
		"amqp://h:x",
		"amqp://u:hunter2%zz@h",
		"amqp://u:hunter2%00@h",
		"amqp://u:hunter2@x@h",
		"amqp://u:hunter2@[::1",
		"amqp://u:hunter2@[::1]5",
		"amqp://u:hunter2@h/%",
		"amqp://u:hunter2@h?heartbeat=soon",
		"amqp://u:hunter2@h?verify=verify_none",
		"amqp://u:hunter2@h?other=1",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct error e = {0};

		if (amqp_check_url(str_c(bad[i]), &e) != ERR_ARG)
			fail_msg("taken: %s", bad[i]);
		assert_non_null(e.text);
		assert_null(strstr(e.text, "hunter2"));
	}
}

static int listener(int *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

static int open_at(int port, struct error *e)
{
	struct amqp_link *l = NULL;
	struct amqp_link_options o = {.name = "test", .connect_ms = 200};
	char *url;
	int r;

	assert_true(asprintf(&url, "amqp://u:hunter2@127.0.0.1:%d/v", port) > 0);
	o.url = url;
	r = amqp_link_open(&l, &o, e);
	assert_null(l);
	assert_null(strstr(e->text, "hunter2"));
	free(url);
	return r;
}

static void test_nobody_there(void **state)
{
	struct error e = {0};
	int port, fd = listener(&port); /* bound, and not listening */
	char want[128];

	assert_int_equal(open_at(port, &e), ERR_NET);
	snprintf(want, sizeof want, "127.0.0.1:%d/v: connection refused, or no way there", port);
	assert_string_equal(e.text, want);
	close(fd);
}

static void test_silent_peer(void **state)
{
	struct error e = {0};
	int port, fd = listener(&port);
	char want[128];

	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(open_at(port, &e), ERR_NET);
	snprintf(want, sizeof want,
		"127.0.0.1:%d/v: logging in: no answer within 200 ms: is it an AMQP broker?", port);
	assert_string_equal(e.text, want);
	close(fd);
}

static void test_private_target(void **state)
{
	struct amqp_link_options o = {
		.url = "amqp://u:hunter2@10.0.0.1/v", .name = "test", .public_only = true};
	struct amqp_link *l = NULL;
	struct error e = {0};

	assert_int_equal(amqp_link_open(&l, &o, &e), ERR_DENIED);
	assert_string_equal(e.text,
		"10.0.0.1:5672/v: its address is private or link-local: set allow_private where "
		"that is meant");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_heartbeat),
		cmocka_unit_test(test_bad_urls),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_silent_peer),
		cmocka_unit_test(test_private_target),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
