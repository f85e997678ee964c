/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "net/cidr.h"
#include "net/loopback.h"

static void test_hosts(void **state)
{
	static const char *const here[] = {
		"localhost", "127.0.0.1", "127.255.255.254", "::1", "[::1]"};
	static const char *const there[] = {"", "127", "127.", "127.1", "127.example.com",
		"127.0.0.1.example.com", "128.0.0.1", "0.0.0.0", "[::]", "::", "localhost.example",
		"a.localhost", "[::1"};

	(void)state;
	for (size_t i = 0; i < sizeof here / sizeof *here; i++)
		assert_true(loopback_host(str_c(here[i])));
	for (size_t i = 0; i < sizeof there / sizeof *there; i++)
		assert_false(loopback_host(str_c(there[i])));
	assert_false(loopback_host(STR("127.0.0.1\0.example.com")));
}

static void test_host_port(void **state)
{
	(void)state;
	assert_true(loopback_host_port(STR("127.0.0.1:25")));
	assert_true(loopback_host_port(STR("[::1]:25")));
	assert_true(loopback_host_port(STR("localhost:25")));
	assert_false(loopback_host_port(STR("127.example.com:25")));
	assert_false(loopback_host_port(STR("localhost")));
	assert_false(loopback_host_port(STR_NONE));
	assert_true(loopback_peer(STR_NONE) && loopback_peer(STR("127.0.0.1")));
	assert_false(loopback_peer(STR("10.0.0.1")));
}

static void test_networks(void **state)
{
	struct cidr nets[2];

	(void)state;
	assert_int_equal(cidr_parse(&nets[0], STR("10.0.0.0/8"), NULL), 0);
	assert_int_equal(cidr_parse(&nets[1], STR("fd00::/8"), NULL), 0);
	assert_true(cidr_has_text(nets, 2, "10.1.2.3"));
	assert_true(cidr_has_text(nets, 2, "fd00::1"));
	assert_false(cidr_has_text(nets, 2, "11.1.2.3"));
	assert_false(cidr_has_text(nets, 2, "fe80::1"));
	assert_false(cidr_has_text(nets, 2, "10.1.2"));
	assert_false(cidr_has_text(nets, 2, ""));
	assert_false(cidr_has_text(nets, 0, "10.1.2.3"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_host_port),
		cmocka_unit_test(test_networks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
