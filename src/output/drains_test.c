/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of drains and of syslog servers: what they ask for, and what is never shown of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "output/drain_notes.c"
#include "output/drains_core.h"
#include "output/syslog_link.h"

static void test_targets(void **state)
{
	static const struct {
		const char *url, *kind, *becomes, *host;
		enum drain_content content;
		bool tags;
	} rows[] = {
		{"syslog://logs.example.com:514", "syslog", "syslog://logs.example.com:514",
			"logs.example.com", DRAIN_LOGS, true},
		{"syslog-tls://[2001:db8::1]:6514/?drain-type=all", "syslog",
			"syslog-tls://[2001:db8::1]:6514/?drain-type=all", "2001:db8::1", DRAIN_ALL,
			true},
		{"https://u:p@h.example/x?drain-type=metrics&disable-metadata=true", "https",
			"https://u:p@h.example/x?drain-type=metrics&disable-metadata=true",
			"h.example", DRAIN_METRICS, false},
		{"https://h.example/x?batch=true", "https-batch", "https://h.example/x?batch=true",
			"h.example", DRAIN_LOGS, true},
		{"https-batch://h.example:8443/x", "https-batch", "https://h.example:8443/x",
			"h.example", DRAIN_LOGS, true},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct drain_target t;
		struct error e;

		if (drain_target_parse(&t, str_c(rows[i].url), &e) < 0)
			fail_msg("%s: %s", rows[i].url, e.text);
		assert_string_equal(t.type->name, rows[i].kind);
		assert_string_equal(t.url, rows[i].becomes);
		assert_string_equal(t.host, rows[i].host);
		assert_int_equal(t.content, rows[i].content);
		assert_int_equal(t.tags, rows[i].tags);
		drain_target_fini(&t);
	}
}

/* A typing error of a person is told; what a message names is drained, as logs. */
static void test_contents_that_nobody_knows(void **state)
{
	static const struct {
		const char *url;
		int r;
	} rows[] = {
		{"syslog://h:514", 0},
		{"syslog://h:514/?drain-type=logs", 0},
		{"syslog://h:514/?drain-type=Metrics", ERR_ARG},
		{"https://h.example/?drain-data=traces", ERR_ARG},
		{"https://h.example/?drain-type=", ERR_ARG},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct drain_target t;

		assert_int_equal(drain_target_parse(&t, str_c(rows[i].url), NULL), 0);
		assert_int_equal(t.content, DRAIN_LOGS);
		assert_int_equal(drain_target_check_words(&t, NULL), rows[i].r);
		drain_target_fini(&t);
	}
}

static void test_what_is_no_drain(void **state)
{
	static const char *const urls[] = {"", "logs.example.com:514", "http://h.example/",
		"ftp://h/", "syslog://", "syslog://h:0", "syslog://h:65536", "syslog://h:x",
		"syslog://u:p@h:514", "syslog://[::1", "syslog://h h:514", "https://", "https:///x",
		"syslog://h:514\n", "https://h/\x7f", "udp://h:514"};
	struct buf big = {0};

	for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
		if (drains_check_url(str_c(urls[i]), NULL) != ERR_ARG)
			fail_msg("\"%s\" was taken", urls[i]);
	buf_c(&big, "https://h/");
	while (big.n <= DRAIN_URL_MAX)
		buf_char(&big, 'x');
	assert_int_equal(drains_check_url(buf_view(&big), NULL), ERR_LIMIT);
	buf_fini(&big);
}

static void test_addresses_as_written(void **state)
{
	static const char *const refused[] = {"syslog://127.0.0.1:514", "syslog://localhost:514",
		"syslog-tls://[::1]:6514", "https://10.1.2.3/x", "https://u@192.168.1.1/",
		"https://169.254.169.254/latest", "syslog://[fe80::1]:514",
		"syslog://[::ffff:10.0.0.1]:514"};
	static const char *const fine[] = {"syslog://logs.example.com", "https://8.8.8.8/"};
	struct drain_target t;

	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		assert_int_equal(drain_target_parse(&t, str_c(refused[i]), NULL), 0);
		if (drain_target_check_host(&t, NULL) != ERR_DENIED)
			fail_msg("%s was taken", refused[i]);
		drain_target_fini(&t);
	}
	for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
		assert_int_equal(drain_target_parse(&t, str_c(fine[i]), NULL), 0);
		assert_int_equal(drain_target_check_host(&t, NULL), 0);
		drain_target_fini(&t);
	}
}

static void test_plain_urls(void **state)
{
	static const char *const rows[][2] = {
		{"https://u:p@h.example/x?token=1#f", "https://h.example/x"},
		{"https://u:p@x@h.example?token=1", "https://h.example"},
		{"syslog://h:514", "syslog://h:514"},
		{"nothing", ""},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf out = {0};

		drains_plain_url(str_c(rows[i][0]), &out);
		assert_string_equal(buf_cstr(&out), rows[i][1]);
		buf_fini(&out);
	}
}

static void test_ids(void **state)
{
	char a[DRAIN_ID_SIZE], b[DRAIN_ID_SIZE];

	drains_id(STR("t"), STR("app"), STR("syslog://h"), a);
	drains_id(STR("t"), STR("app"), STR("syslog://h"), b);
	assert_string_equal(a, b);
	assert_int_equal(strlen(a), strlen("drain-0123456789ab"));
	drains_id(STR("ta"), STR("pp"), STR("syslog://h"), b);
	assert_string_not_equal(a, b);
}

static void test_syslog_urls(void **state)
{
	static const struct {
		const char *url;
		enum syslog_scheme scheme;
		const char *host, *port, *where;
	} rows[] = {
		{"syslog://h", SYSLOG_TCP, "h", "514", "syslog://h:514"},
		{"syslog-tls://h", SYSLOG_TLS, "h", "6514", "syslog-tls://h:6514"},
		{"udp://[::1]:99/x", SYSLOG_UDP, "::1", "99", "udp://[::1]:99"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct syslog_url u;

		assert_int_equal(syslog_url_parse(&u, str_c(rows[i].url), NULL), 0);
		assert_int_equal(u.scheme, rows[i].scheme);
		assert_string_equal(u.host, rows[i].host);
		assert_string_equal(u.port, rows[i].port);
		assert_string_equal(u.where, rows[i].where);
		syslog_url_fini(&u);
	}
}

/* What a target refuses of an application's lines is told to the application; that it refuses what
 * it is told of is not. */
static void test_refused_notes_are_no_news(void **state)
{
	char tenant[] = "t", app[] = "shop", other[] = "other", url[] = "https://h.example/";
	struct binding a = {.tenant = tenant, .app = app, .url = url};
	struct binding b = {.tenant = tenant, .app = other, .url = url};
	struct binding *items[] = {&a, &b};
	struct drains d = {.items = items, .n = 2};
	struct buf line = {0};
	int64_t now = COUNT_WAIT_NS;

	lock_init(&d.lock);
	lock_take(&d.lock);
	count_refused(&a, 3);
	put_counts(&a, now, &line);
	assert_string_equal(buf_cstr(&line),
		"3 messages for application shop were refused by the drain with url "
		"https://h.example/");
	expect_note(&d, STR("t"), STR("shop"));
	assert_int_equal(b.notes.own, 0);
	buf_clear(&line);
	now += COUNT_WAIT_NS;
	count_refused(&a, 1);
	put_counts(&a, now, &line);
	assert_int_equal(line.n, 0);
	count_refused(&a, 1);
	put_counts(&a, now, &line);
	assert_true(str_starts(buf_view(&line), STR("1 messages")));
	lock_drop(&d.lock);
	lock_fini(&d.lock);
	buf_fini(&line);
}

/* A target that comes and goes is told of as seldom as one that stays away. */
static void test_failures_are_told_ever_less(void **state)
{
	char tenant[] = "t", app[] = "shop", url[] = "https://h.example/";
	struct binding b = {.tenant = tenant, .app = app, .url = url};
	struct output_note n = {.what = OUTPUT_FAILED, .sentence = "why"};
	struct buf line = {0};
	int told = 0;

	for (int64_t s = 1; s <= 4 * 3600; s += 2) {
		put_failure(&b, &n, s * NS_PER_SEC, &line);
		told += line.n > 0;
		buf_clear(&line);
		put_works(&b, (s + 1) * NS_PER_SEC, &line);
		buf_clear(&line);
	}
	assert_in_range(told, 5, 10);
	/* After a long quiet it is news again. */
	put_failure(&b, &n, 10 * LAST_WAIT_NS, &line);
	assert_true(line.n > 0);
	assert_int_equal(b.notes.wait_ns, 2 * FIRST_WAIT_NS);
	buf_fini(&line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_refused_notes_are_no_news),
		cmocka_unit_test(test_failures_are_told_ever_less),
		cmocka_unit_test(test_contents_that_nobody_knows),
		cmocka_unit_test(test_what_is_no_drain),
		cmocka_unit_test(test_addresses_as_written),
		cmocka_unit_test(test_plain_urls),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_syslog_urls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
