/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>

#include <cmocka.h>

#include "codec/codec.h"
#include "output/mail.h"

static const char *to_one[] = {"ops@example.com"};
static const struct strings one = {to_one, 1};

static char *made(struct str subject, struct str body)
{
	struct mail m = {.from = "sawlog@example.org",
		.to = &one,
		.subject = subject,
		.body = body,
		.id = STR("abc.1"),
		.host = "web 1<x>\r\n",
		.date_ns = INT64_C(1795255200) * 1000000000};
	struct buf out = {0};

	mail_put(&m, &out);
	buf_cstr(&out);
	return buf_take(&out).p;
}

/* What every message must be, whatever it was made of. */
static void check_shape(const char *mail)
{
	struct str rest = str_c(mail);
	bool headers = true;
	size_t n_subject = 0;

	assert_true(str_ends(rest, STR("\r\n")));
	while (rest.n > 0) {
		struct str line = str_cut(&rest, '\n');

		assert_true(line.n > 0 && line.p[line.n - 1] == '\r');
		line.n--;
		assert_true(line.n <= 998);
		for (size_t i = 0; i < line.n; i++)
			assert_true((unsigned char)line.p[i] < 127 &&
				    ((unsigned char)line.p[i] >= ' ' || line.p[i] == '\t'));
		if (!headers)
			continue;
		headers = line.n > 0;
		n_subject += str_starts(line, STR("Subject:"));
		assert_true(line.n <= 200);
		if (headers && line.p[0] != ' ') {
			static const char *const known[] = {"Date", "From", "To", "Subject",
				"Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
				"Content-Transfer-Encoding", NULL};
			struct str name = str_cut(&line, ':');
			bool is_known = false;

			for (size_t i = 0; known[i]; i++)
				is_known |= str_eq_c(name, known[i]);
			assert_true(is_known);
		}
	}
	assert_false(headers);
	assert_int_equal(n_subject, 1);
}

static void test_plain(void **state)
{
	char *mail = made(STR("disk full"), STR("first\nsecond\r\n.\n"));

	check_shape(mail);
	assert_string_equal(mail,
		"Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nFrom: sawlog@example.org\r\n"
		"To: ops@example.com\r\nSubject: disk full\r\n"
		"Message-ID: <abc.1@web-1-x--->\r\nAuto-Submitted: auto-generated\r\n"
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
		"Content-Transfer-Encoding: 7bit\r\n\r\nfirst\r\nsecond\r\n.\r\n");
	free(mail);
}

static void test_no_injection(void **state)
{
	char *mail = made(STR("x\r\nBcc: victim@example.net\r\n\r\nbody"),
		STR("a\r\n.\r\nMAIL FROM:<x>\n\x00\x1b[2J\xff"));

	check_shape(mail);
	assert_null(strstr(mail, "\r\nBcc"));
	assert_non_null(strstr(mail, "Subject: "));
	free(mail);
}

static void test_subject_of_other_letters(void **state)
{
	char *mail =
		made(STR("Überlauf: größer als 日本語 und noch sehr viel mehr davon, bis es nicht "
			 "mehr in eine Zeile geht"),
			STR("x"));

	check_shape(mail);
	assert_non_null(strstr(mail, "Subject: =?utf-8?B?w5xiZXJsYXVm"));
	free(mail);
}

static void test_subject_is_folded(void **state)
{
	char *mail = made(STR("one two three four five six seven eight nine ten eleven twelve "
			      "thirteen fourteen fifteen"),
		STR("x"));

	check_shape(mail);
	assert_non_null(strstr(mail, "eleven twelve\r\n thirteen fourteen fifteen\r\nMessage-ID"));
	free(mail);
	/* Eight letters behind a fold end in the column where the first word began. */
	mail = made(STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbb cc"),
		STR("x"));
	assert_non_null(strstr(mail, "aaa\r\n bbbbbbbb cc\r\n"));
	free(mail);
}

static void test_subject_that_looks_encoded(void **state)
{
	char *mail = made(STR("=?utf-8?B?QmNj?= x"), STR("x"));

	check_shape(mail);
	assert_null(strstr(mail, "QmNj"));
	free(mail);
}

static void test_long_lines_are_quoted(void **state)
{
	struct buf body = {0};
	char *mail;
	struct str rest;

	for (int i = 0; i < 2000; i++)
		buf_char(&body, i % 80 == 79 ? '=' : 'x');
	buf_c(&body, " \ntail \n");
	mail = made(STR("s"), buf_view(&body));
	check_shape(mail);
	assert_non_null(strstr(mail, "quoted-printable"));
	assert_non_null(strstr(mail, "tail=20\r\n"));
	rest = str_c(mail);
	while (rest.n > 0)
		assert_true(str_cut(&rest, '\n').n <= 77);
	free(mail);
	buf_fini(&body);
}

static void test_dense_text_is_base64(void **state)
{
	char *mail =
		made(STR("s"), STR("日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語"));

	check_shape(mail);
	assert_non_null(strstr(mail, "Encoding: base64\r\n\r\n5pel5pys6Kqe"));
	free(mail);
}

static void test_mailboxes(void **state)
{
	static const char *const good[] = {"a@b", "ops+x@mail.example.com", "Ops <ops@example.com>",
		"Bereitschaft Küche <a@b.c>", "\"Doe, J.\" <j@d>", " a@b ", NULL};
	static const char *const bad[] = {"", "ops", "@x", "a@", "a b@c", "a@b\r\nBcc: c@d", "a@b>",
		"<a@b> x", "Ops <a@b", "a@b,c@d", "ü@b", "a@-b", "a@b@c", "x\x01 <a@b>", NULL};
	struct error e;

	for (size_t i = 0; good[i]; i++)
		assert_int_equal(mail_check_mailbox(str_c(good[i]), &e), 0);
	for (size_t i = 0; bad[i]; i++)
		assert_int_equal(mail_check_mailbox(str_c(bad[i]), &e), ERR_ARG);
	assert_true(str_eq(mail_address(STR("Ops <ops@example.com>")), STR("ops@example.com")));
	assert_true(str_eq(mail_address(STR(" a@b ")), STR("a@b")));
}

static void test_names_of_mailboxes(void **state)
{
	const char *to[] = {"Doe, \"J\" <j@d>", "Küche <k@d>", "\"Ops\" <o@d>"};
	struct strings list = {to, 3};
	struct mail m = {.from = "a@b", .to = &list, .id = STR("1"), .host = "h"};
	struct buf out = {0};

	mail_put(&m, &out);
	check_shape(buf_cstr(&out));
	assert_non_null(strstr(buf_cstr(&out),
		"To: \"Doe, \\\"J\\\"\" <j@d>,\r\n =?utf-8?B?S8O8Y2hl?= <k@d>,\r\n \"Ops\" <o@d>\r\n"));
	buf_fini(&out);
}

static void test_any_bytes(void **state)
{
	struct buf subject = {0}, body = {0};
	uint32_t x = 1;

	for (int round = 0; round < 500; round++) {
		char *mail;

		buf_clear(&subject);
		buf_clear(&body);
		for (int i = 0; i < round; i++) {
			x = x * 1664525 + 1013904223;
			buf_char(&subject, (char)(x >> 24));
			buf_char(&body, (char)(x >> 16));
		}
		mail = made(buf_view(&subject), buf_view(&body));
		check_shape(mail);
		free(mail);
	}
	buf_fini(&subject);
	buf_fini(&body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_no_injection),
		cmocka_unit_test(test_subject_of_other_letters),
		cmocka_unit_test(test_subject_is_folded),
		cmocka_unit_test(test_subject_that_looks_encoded),
		cmocka_unit_test(test_long_lines_are_quoted),
		cmocka_unit_test(test_dense_text_is_base64),
		cmocka_unit_test(test_mailboxes),
		cmocka_unit_test(test_names_of_mailboxes),
		cmocka_unit_test(test_any_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
