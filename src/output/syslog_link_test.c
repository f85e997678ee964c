/* SPDX-License-Identifier: Apache-2.0 */
/* A peer that keeps the connection open when we end it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "output/syslog_link.h"

static int listen_anywhere(char url[64])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	snprintf(url, 64, "syslog://127.0.0.1:%d", ntohs(a.sin_port));
	return fd;
}

static void what_is_over_says_so(void **state)
{
	const struct client_tls_settings tls = {0};
	struct syslog_link_options o = {.tls = &tls, .connect_ms = 5000};
	struct syslog_link *l;
	struct syslog_url url;
	struct buf bytes = {0};
	struct error e;
	char text[64];
	int fd = listen_anywhere(text);

	assert_int_equal(syslog_url_parse(&url, str_c(text), &e), 0);
	o.url = &url;
	assert_int_equal(syslog_link_open(&l, &o, &e), 0);
	buf_c(&bytes, "5 hello");
	assert_int_equal(syslog_link_push(l, &bytes, 1000, &e), 0);
	assert_int_equal(bytes.n, 0);
	assert_int_equal(syslog_link_settle(l, 1000, &e), 0);
	/* The system has taken it, the program says nothing. */
	assert_int_equal(syslog_link_finish(l, 50, &e), 1);
	e = (struct error){0};
	assert_int_equal(syslog_link_push(l, &bytes, 50, &e), ERR_NET);
	assert_non_null(strstr(e.text, text));
	assert_non_null(strstr(e.text, "is over"));
	syslog_link_close(l);
	syslog_url_fini(&url);
	buf_fini(&bytes);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_over_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
