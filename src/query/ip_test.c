/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "query/ip.h"

static struct ip_pattern parse(const char *text)
{
	struct ip_pattern p;
	struct error e = {0};

	if (ip_parse(&p, str_c(text), &e) < 0)
		fail_msg("%s: %s", text, e.text);
	return p;
}

static void patterns(void **state)
{
	static const char *const bad[] = {"", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4",
		"a", "1.2.3.4-", "-1.2.3.4", "1.2.3.4-1.2.3.3", "1.2.3.4-::1", "1.2.3.4/33",
		"1.2.3.4/", "1.2.3.4/-1", "1.2.3.4/08", "::1/129", ":::", "1:2:3:4:5:6:7:8:9",
		"::1%lo", "1.2.3.4 ", "fe80::1-fe80::", "1.2.3.4/24/8", "0x7f.0.0.1"};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct ip_pattern p;
		struct error e = {0};
		assert_int_equal(ip_parse(&p, str_c(bad[i]), &e), ERR_ARG);
		assert_true(e.text[0]);
	}
	assert_int_equal(ip_parse(&(struct ip_pattern){0}, STR("::1\0"), NULL), ERR_ARG);
	assert_true(parse("::1").v6);
	assert_false(parse("1.2.3.4").v6);
}

static void addresses(void **state)
{
	static const struct {
		const char *pattern, *address;
		int result; /* -1: no address */
	} rows[] = {
		{"192.168.0.1", "192.168.0.1", 1},
		{"192.168.0.1", "192.168.0.2", 0},
		{"192.168.0.1", "192.168.0.1 ", -1},
		{"192.168.0.1", "", -1},
		{"192.168.0.1", "host", -1},
		{"192.168.0.1", "::1", 0},
		{"192.168.0.1", "::ffff:192.168.0.1", 1},
		{"192.168.4.5/16", "192.168.255.255", 1},
		{"192.168.4.5/16", "192.169.0.0", 0},
		{"10.0.0.0/12", "10.15.255.255", 1},
		{"10.0.0.0/12", "10.16.0.0", 0},
		{"0.0.0.0/0", "255.255.255.255", 1},
		{"1.2.3.4/32", "1.2.3.5", 0},
		{"192.168.0.1-192.189.10.12", "192.170.0.1", 1},
		{"192.168.0.1-192.189.10.12", "192.168.0.1", 1},
		{"192.168.0.1-192.189.10.12", "192.189.10.12", 1},
		{"192.168.0.1-192.189.10.12", "192.189.10.13", 0},
		{"192.168.0.1 - 192.168.0.2", "192.168.0.2", 1},
		{"2001:db8::/32", "2001:DB8:1::2", 1},
		{"2001:db8::/32", "2001:db9::", 0},
		{"2001:db8::/33", "2001:db8:7fff::", 1},
		{"2001:db8::/33", "2001:db8:8000::", 0},
		{"::1", "0:0:0:0:0:0:0:1", 1},
		{"fe80::/10", "fe80::1%eth0", 1},
		{"fe80::/10", "fe80::1%", -1},
		{"::1", "1.2.3.4", 0},
		{"::ffff:1.2.3.4", "::ffff:102:304", 1},
		{"2001:db8::1-2001:db8::8", "2001:db8::5", 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct ip_pattern p = parse(rows[i].pattern);
		bool valid, hit = ip_matches(&p, str_c(rows[i].address), &valid);
		if ((valid ? hit : -1) != rows[i].result)
			fail_msg("%s in %s", rows[i].address, rows[i].pattern);
	}
}

static void in_lines(void **state)
{
	static const struct {
		const char *pattern, *line;
		bool hit;
	} rows[] = {
		{"10.0.0.0/8", "", false},
		{"10.0.0.0/8", "10.1.2.3", true},
		{"10.0.0.0/8", "from 10.1.2.3:80 to x", true},
		{"10.0.0.0/8", "addr=10.1.2.3.", true},
		{"10.0.0.0/8", "end of 10.1.2.3. Next", true},
		{"10.0.0.0/8", "10.1.2.3.4", false},
		{"10.0.0.0/8", "110.1.2.3", false},
		{"10.0.0.0/8", "0.10.1.2.3", false},
		{"10.0.0.0/8", "10.1.2.300", false},
		{"10.0.0.0/8", "10.1.2.0333", false},
		{"10.0.0.0/8", "10.1.2", false},
		{"10.0.0.0/8", "10.1.2.", false},
		{"10.0.0.0/8", "...10.1.2.3", false},
		{"10.0.0.0/8", "1.5 10.1.2.3", true},
		{"10.0.0.0/8", "9.9.9.9 and 10.1.2.3", true},
		{"10.0.0.0/8", "9.9.9.9,10.1.2.3", true},
		{"10.0.0.0/8", "::ffff:10.1.2.3", true},
		{"10.0.0.0/8", "[10.1.2.3]", true},
		{"10.0.0.0/8", "10.01.2.3", false},
		{"10.0.0.0/8", ".", false},
		{"::1", "listening on [::1]:8080", true},
		{"::1", "peer ::1", true},
		{"::1", "at ::1.", true},
		{"::1", "std::1", false},
		{"::1", "at 12:30:45", false},
		{"2001:db8::/32", "src=2001:db8::1, x", true},
		{"2001:db8::/32", "src:2001:db8::1: up", true},
		{"2001:db8::/32", "xf2001:db8::1", false},
		{"2001:db8::/32", "12:30 2001:db8::1", true},
		{"2001:db8::/32", "2001:db8::1g", false},
		{"2001:db8::/32", "2001:db8:0:0:0:0:0:1/64", true},
		{"::/0", ":", false},
		{"::/0", "a: b: c", false},
		{"::/0", "::", true},
		{"::/0", ":::", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct ip_pattern p = parse(rows[i].pattern);
		if (ip_in_line(&p, str_c(rows[i].line)) != rows[i].hit)
			fail_msg("%s in: %s", rows[i].pattern, rows[i].line);
	}
}

static void needles(void **state)
{
	static const char *const rows[][2] = {{"10.200.3.4", "10.200.3.4"}, {"10.0.0.0/8", "10."},
		{"192.168.1.0/24", "192.168.1."}, {"192.168.1.0/25", "192.168.1."},
		{"0.0.0.0/0", ""}, {"10.1.2.3-10.1.9.9", "10.1."}, {"::1", ""},
		{"255.255.255.255", "255.255.255.255"}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct ip_pattern p = parse(rows[i][0]);
		char text[IP_NEEDLE_MAX];
		assert_true(str_eq_c(ip_needle(&p, text), rows[i][1]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patterns),
		cmocka_unit_test(addresses),
		cmocka_unit_test(in_lines),
		cmocka_unit_test(needles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
