/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The email output against a mail server of a few lines, which answers as it
 * is told to and keeps what it took.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "output/email.c"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/lock.h"
#include "os/fake.h"
#include "record/labels.h"

/* The server. */

struct server {
	int listener, port;
	pthread_t thread;
	/* Under `lock`. */
	struct lock lock;
	int rcpt_code;        /* answer to RCPT; 250 */
	const char *rcpt_of;  /* only for this address, NULL: all */
	int data_code;        /* answer to the message; 250 */
	bool deaf_once;       /* take the message, and hang up without an answer */
	struct buf mails[64]; /* each behind "RCPT <to>\n" */
	int n;
	bool quit;
};

static bool read_line(FILE *in, char *line, size_t size)
{
	if (!fgets(line, (int)size, in))
		return false;
	line[strcspn(line, "\r\n")] = '\0';
	return true;
}

static bool take_message(struct server *v, FILE *in, FILE *out, const char *to)
{
	struct buf text = {0};
	char line[2048];
	bool deaf;
	int code;

	fprintf(out, "354 go on\r\n");
	fflush(out);
	buf_printf(&text, "RCPT %s\n", to);
	while (read_line(in, line, sizeof line) && strcmp(line, ".") != 0)
		buf_printf(&text, "%s\n", line[0] == '.' ? line + 1 : line);
	lock_take(&v->lock);
	code = v->data_code;
	deaf = v->deaf_once;
	v->deaf_once = false;
	if (code == 250 && v->n < 64)
		v->mails[v->n++] = buf_take(&text);
	lock_drop(&v->lock);
	buf_fini(&text);
	if (deaf)
		return false;
	fprintf(out, "%d well\r\n", code);
	return true;
}

static void talk(struct server *v, int fd)
{
	FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
	char line[2048], to[256] = "";
	bool on = true;

	fprintf(out, "220 test\r\n");
	fflush(out);
	while (on && read_line(in, line, sizeof line)) {
		if (strncmp(line, "RCPT TO:", 8) == 0) {
			int code;

			snprintf(to, sizeof to, "%.200s", line + 8);
			lock_take(&v->lock);
			code = !v->rcpt_of || strstr(to, v->rcpt_of) ? v->rcpt_code : 250;
			lock_drop(&v->lock);
			fprintf(out, "%d %s\r\n", code, code == 250 ? "fine" : "no such user");
		} else if (strcmp(line, "DATA") == 0) {
			on = take_message(v, in, out, to);
		} else if (strcmp(line, "QUIT") == 0) {
			fprintf(out, "221 bye\r\n");
			on = false;
		} else {
			fprintf(out, "250 fine\r\n");
		}
		fflush(out);
	}
	fclose(in);
	fclose(out);
}

static void *serve_mails(void *arg)
{
	struct server *v = arg;
	int fd;

	while ((fd = accept(v->listener, NULL, NULL)) >= 0) {
		bool quit;

		lock_take(&v->lock);
		quit = v->quit;
		lock_drop(&v->lock);
		if (quit) {
			close(fd);
			break;
		}
		talk(v, fd);
	}
	return NULL;
}

static void server_start(struct server *v)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;

	*v = (struct server){.rcpt_code = 250, .data_code = 250};
	lock_init(&v->lock);
	v->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(v->listener, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(v->listener, 16), 0);
	getsockname(v->listener, (struct sockaddr *)&a, &n);
	v->port = ntohs(a.sin_port);
	v->thread = thread_start("mails", serve_mails, v);
}

static void server_stop(struct server *v)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)v->port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	lock_take(&v->lock);
	v->quit = true;
	lock_drop(&v->lock);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	pthread_join(v->thread, NULL);
	close(fd);
	close(v->listener);
	for (int i = 0; i < v->n; i++)
		buf_fini(&v->mails[i]);
	lock_fini(&v->lock);
}

static void answer(struct server *v, int rcpt_code, const char *rcpt_of, int data_code)
{
	lock_take(&v->lock);
	v->rcpt_code = rcpt_code;
	v->rcpt_of = rcpt_of;
	v->data_code = data_code;
	lock_drop(&v->lock);
}

static int mails(struct server *v)
{
	int n;

	lock_take(&v->lock);
	n = v->n;
	lock_drop(&v->lock);
	return n;
}

/* Mail i as it came; free it. */
static char *mail(struct server *v, int i)
{
	char *text;

	lock_take(&v->lock);
	text = str_dup(buf_view(&v->mails[i]));
	lock_drop(&v->lock);
	return text;
}

/* The value of a header of mail i. */
static char *header(struct server *v, int i, const char *name)
{
	struct buf key = {0};
	char *text, *at, *out;

	buf_printf(&key, "\n%s: ", name);
	text = mail(v, i);
	at = strstr(text, buf_cstr(&key));
	assert_non_null(at);
	at += key.n;
	out = str_dup(str_make(at, strcspn(at, "\n")));
	free(text);
	buf_fini(&key);
	return out;
}

static bool has(struct server *v, int i, const char *part)
{
	char *text = mail(v, i);
	bool found = strstr(text, part);

	free(text);
	return found;
}

/* The output. */

struct rig {
	struct server server;
	struct email_settings settings;
	const char *to[3];
	char url[64];
	struct fs *fs;
	struct clock *clock;
	void *output;
};

static struct buf labels; /* of every record */

static void rig_open(struct rig *g)
{
	struct output_env env = {
		.fs = g->fs, .clock = g->clock, .dir = "out", .name = "mails", .host = "web1"};
	struct error e;

	assert_int_equal(output_email.open(&g->output, &g->settings, &env, STR_NONE, &e), 0);
}

static void rig_reopen(struct rig *g)
{
	output_email.close(g->output);
	rig_open(g);
}

static int setup(void **state)
{
	struct rig *g = xcalloc(1, sizeof *g);

	server_start(&g->server);
	snprintf(g->url, sizeof g->url, "smtp://127.0.0.1:%d", g->server.port);
	g->to[0] = "ops@example.com";
	g->to[1] = "Boss <boss@example.com>";
	g->settings = (struct email_settings){.common = {.match = "{app='x'}"},
		.mail.smtp = g->url,
		.mail.from = "Logs <sawlog@example.org>",
		.mail.to = {g->to, 1},
		.rate = 60};
	g->fs = fs_fake_new(1);
	g->clock = clock_fake_new(INT64_C(1795255200) * NS_PER_SEC);
	assert_int_equal(fs_mkdir(g->fs, "out", NULL), 0);
	rig_open(g);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct rig *g = *state;

	output_email.close(g->output);
	server_stop(&g->server);
	fs_fake_free(g->fs);
	clock_fake_free(g->clock);
	free(g);
	return 0;
}

static struct output_record record(uint64_t seq, const char *line)
{
	return (struct output_record){.seq = seq,
		.timestamp = (INT64_C(1795255200) + (int64_t)seq) * NS_PER_SEC,
		.line = str_c(line),
		.labels = buf_view(&labels),
		.severity = 21};
}

static int put(struct rig *g, uint64_t seq, const char *line, struct error *e)
{
	struct output_record r = record(seq, line);

	return output_email.write(g->output, &r, 1, e);
}

static int sync_now(struct rig *g, struct error *e)
{
	struct buf out = {0};
	int r = output_email.sync(g->output, &out, e);

	buf_fini(&out);
	return r;
}

static void test_one_each(void **state)
{
	struct rig *g = *state;
	struct error e;
	char *id, *other;

	assert_int_equal(put(g, 1, "disk full\r\nBcc: x@y", &e), 1);
	assert_int_equal(put(g, 2, ".\nMAIL FROM:<x>", &e), 1);
	assert_int_equal(sync_now(g, &e), 0);
	assert_int_equal(mails(&g->server), 2);
	assert_true(has(&g->server, 0, "RCPT <ops@example.com>\n"));
	assert_true(has(&g->server, 0, "\nFrom: \"Logs\" <sawlog@example.org>\n"));
	assert_true(has(&g->server, 0, "\nSubject: [CRITICAL] x on web1: disk full Bcc: x@y\n"));
	assert_false(has(&g->server, 0, "\nBcc:"));
	id = header(&g->server, 0, "Message-ID");
	other = header(&g->server, 1, "Message-ID");
	assert_string_not_equal(id, other);
	free(id);
	free(other);
}

/* A subject may be a plain text; a percent sign is still written twice. */
static void test_constant_subject(void **state)
{
	struct rig *g = *state;
	struct error e;

	g->settings.subject = "disks, 100%% of them";
	assert_int_equal(output_email.check(&g->settings, &e), 0);
	rig_reopen(g);
	assert_int_equal(put(g, 1, "a", &e), 1);
	assert_true(has(&g->server, 0, "\nSubject: disks, 100% of them\n"));
	g->settings.line.style = LINE_BRACE;
	g->settings.subject = "{{disks}}";
	rig_reopen(g);
	assert_int_equal(put(g, 2, "b", &e), 1);
	assert_true(has(&g->server, 1, "\nSubject: {disks}\n"));
	g->settings.line.style = LINE_PERCENT;
	g->settings.subject = "100% of them";
	assert_int_equal(output_email.check(&g->settings, &e), ERR_ARG);
	/* A line without a field is still a mistake. */
	g->settings.subject = NULL;
	g->settings.line.format = "text";
	assert_int_equal(output_email.check(&g->settings, &e), ERR_ARG);
}

static void test_refused_for_good(void **state)
{
	struct rig *g = *state;
	struct error e;

	answer(&g->server, 550, NULL, 250);
	assert_int_equal(put(g, 1, "a", &e), ERR_ARG);
	assert_non_null(strstr(e.text, "550 no such user"));
	/* A message that is refused is that record's fault as well. */
	answer(&g->server, 250, NULL, 554);
	assert_int_equal(put(g, 2, "b", &e), ERR_ARG);
	answer(&g->server, 250, NULL, 250);
	assert_int_equal(put(g, 3, "c", &e), 1);
	assert_int_equal(mails(&g->server), 1);
	assert_true(has(&g->server, 0, "\n\nc\n"));
}

static void test_one_recipient_is_refused(void **state)
{
	struct rig *g = *state;
	struct error e;

	g->settings.mail.to.n = 2;
	rig_reopen(g);
	answer(&g->server, 550, "ops", 250);
	assert_int_equal(put(g, 1, "a", &e), 1);
	assert_int_equal(mails(&g->server), 1);
	assert_true(has(&g->server, 0, "RCPT <boss@example.com>"));
	assert_true(has(&g->server, 0, "To: ops@example.com,\n \"Boss\" <boss@example.com>\n"));
}

static void test_greylisting(void **state)
{
	struct rig *g = *state;
	struct error e;

	g->settings.mail.to.n = 2;
	rig_reopen(g);
	answer(&g->server, 451, "ops", 250);
	assert_int_equal(put(g, 1, "a", &e), ERR_BUSY);
	assert_int_equal(put(g, 1, "a", &e), ERR_BUSY);
	assert_int_equal(sync_now(g, &e), 0);
	answer(&g->server, 250, NULL, 250);
	assert_int_equal(put(g, 1, "a", &e), 1);
	/* The one that had taken it got it once. */
	assert_int_equal(mails(&g->server), 2);
	assert_true(has(&g->server, 0, "RCPT <boss@"));
	assert_true(has(&g->server, 1, "RCPT <ops@"));
}

static void test_retry_has_the_same_id(void **state)
{
	struct rig *g = *state;
	struct error e;
	char *id, *again;

	lock_take(&g->server.lock);
	g->server.deaf_once = true;
	lock_drop(&g->server.lock);
	assert_int_equal(put(g, 1, "a", &e), ERR_NET);
	clock_fake_advance(g->clock, 90 * NS_PER_SEC);
	assert_int_equal(put(g, 1, "a", &e), 1);
	assert_int_equal(mails(&g->server), 2);
	assert_true(str_eq(buf_view(&g->server.mails[0]), buf_view(&g->server.mails[1])));
	id = header(&g->server, 0, "Message-ID");
	/* Also by another life of the process. */
	rig_reopen(g);
	assert_int_equal(put(g, 1, "a", &e), 1);
	again = header(&g->server, 2, "Message-ID");
	assert_string_equal(id, again);
	free(id);
	free(again);
}

static void test_digest(void **state)
{
	struct rig *g = *state;
	struct output_record three[] = {record(1, "a"), record(2, "b"), record(5, "c")};
	struct error e;

	g->settings.digest = 60 * NS_PER_SEC;
	rig_reopen(g);
	assert_int_equal(output_email.write(g->output, three, 3, &e), 3);
	assert_int_equal(sync_now(g, &e), 1);
	clock_fake_advance(g->clock, 61 * NS_PER_SEC);
	assert_int_equal(sync_now(g, &e), 0);
	assert_int_equal(sync_now(g, &e), 0);
	assert_int_equal(mails(&g->server), 1);
	assert_true(has(&g->server, 0, "Subject: [CRITICAL] x on web1: a (and 2 more)\n"));
	assert_true(has(&g->server, 0,
		"\n\n3 records from 2026-11-21T10:00:01Z to 2026-11-21T10:00:05Z:\n\na\nb\nc\n"));
}

/* A crash between the server's answer and the move of the cursor: more has come meanwhile, and the
 * mail is the same nevertheless. */
static void test_digest_after_a_crash(void **state)
{
	struct rig *g = *state;
	struct output_record five[] = {
		record(1, "a"), record(2, "b"), record(5, "c"), record(6, "d"), record(7, "e")};
	struct error e;

	g->settings.digest = 60 * NS_PER_SEC;
	rig_reopen(g);
	assert_int_equal(output_email.write(g->output, five, 3, &e), 3);
	clock_fake_advance(g->clock, 61 * NS_PER_SEC);
	assert_int_equal(sync_now(g, &e), 0);
	clock_fake_advance(g->clock, 61 * NS_PER_SEC);
	rig_reopen(g);
	assert_int_equal(output_email.write(g->output, five, 5, &e), 3);
	assert_int_equal(output_email.write(g->output, five + 3, 2, &e), 2);
	assert_int_equal(mails(&g->server), 2);
	assert_true(str_eq(buf_view(&g->server.mails[0]), buf_view(&g->server.mails[1])));
	assert_int_equal(sync_now(g, &e), 1);
	clock_fake_advance(g->clock, 61 * NS_PER_SEC);
	assert_int_equal(sync_now(g, &e), 0);
	assert_int_equal(mails(&g->server), 3);
	assert_true(has(&g->server, 2, "\n\nd\ne\n") || has(&g->server, 2, ":\n\nd\ne\n"));
}

static void test_digest_is_kept_while_the_server_is_away(void **state)
{
	struct rig *g = *state;
	struct error e;

	g->settings.digest = 60 * NS_PER_SEC;
	rig_reopen(g);
	answer(&g->server, 451, NULL, 250);
	assert_int_equal(put(g, 1, "a", &e), 1);
	clock_fake_advance(g->clock, 61 * NS_PER_SEC);
	assert_int_equal(sync_now(g, &e), ERR_BUSY);
	assert_int_equal(put(g, 2, "b", &e), ERR_BUSY);
	answer(&g->server, 250, NULL, 250);
	assert_int_equal(sync_now(g, &e), 0);
	assert_int_equal(mails(&g->server), 1);
	assert_int_equal(put(g, 2, "b", &e), 1);
	assert_int_equal(sync_now(g, &e), 1);
}

static void test_refused_digest_is_passed_by(void **state)
{
	struct rig *g = *state;
	struct error e;

	g->settings.digest = NS_PER_SEC;
	rig_reopen(g);
	answer(&g->server, 550, NULL, 250);
	assert_int_equal(put(g, 1, "a", &e), 1);
	assert_int_equal(put(g, 2, "b", &e), 1);
	clock_fake_advance(g->clock, 2 * NS_PER_SEC);
	assert_int_equal(sync_now(g, &e), 0);
	assert_int_equal(mails(&g->server), 0);
}

static void test_rate(void **state)
{
	struct rig *g = *state;
	struct error e;

	g->settings.rate = 2;
	rig_reopen(g);
	for (uint64_t seq = 1; seq <= 5; seq++)
		assert_int_equal(put(g, seq, "flood", &e), 1);
	assert_int_equal(mails(&g->server), 2);
	assert_int_equal(sync_now(g, &e), 1);
	clock_fake_advance(g->clock, 31 * 60 * NS_PER_SEC);
	assert_int_equal(sync_now(g, &e), 0);
	assert_int_equal(mails(&g->server), 3);
	assert_true(has(&g->server, 2, "3 records from"));
}

static void test_flood_is_counted(void **state)
{
	struct rig *g = *state;
	struct error e;

	g->settings.digest = NS_PER_SEC;
	rig_reopen(g);
	for (uint64_t seq = 1; seq <= DIGEST_RECORDS_MAX + 50; seq++)
		assert_int_equal(put(g, seq, "flood", &e), 1);
	clock_fake_advance(g->clock, 2 * NS_PER_SEC);
	assert_int_equal(sync_now(g, &e), 0);
	assert_true(has(&g->server, 0,
		"\nand 50 more, which are in the log:\n  sawlog query "
		"'{app='\\''x'\\''}' --from 2026-11-21T10:00:01Z"));
}

static void test_targets(void **state)
{
	struct rig *g = *state;
	struct error e;

	g->settings.mail.smtp = "smtp://10.1.2.3:25";
	rig_reopen(g);
	assert_int_equal(put(g, 1, "a", &e), ERR_DENIED);
	assert_non_null(strstr(e.text, "allow_private"));
	/* Nobody listens. */
	g->settings.mail.smtp = "smtp://127.0.0.1:1";
	rig_reopen(g);
	assert_int_equal(put(g, 1, "a", &e), ERR_NET);
}

static void test_urls(void **state)
{
	static const char *const bad[] = {"", "http://x", "smtp://", "smtp://user@x:25",
		"smtp://u:secret@x", "smtp://x/path", "x:25:30", NULL};
	struct error e;

	for (size_t i = 0; bad[i]; i++) {
		assert_int_equal(smtp_check_url(str_c(bad[i]), &e), ERR_ARG);
		assert_null(strstr(e.text, "secret"));
	}
	assert_int_equal(smtp_check_url(STR("smtp://mail.example.com"), &e), 0);
	assert_int_equal(smtp_check_url(STR("smtps://mail.example.com:465"), &e), 0);
	assert_int_equal(smtp_check_url(STR("smtp://[::1]:25"), &e), 0);
}

static int make_labels(void **state)
{
	struct labels_builder b = {.names_free = true};
	struct error e;

	assert_int_equal(labels_builder_set(&b, STR("app"), STR("x"), &e), 0);
	assert_int_equal(labels_builder_set(&b, STR("host"), STR("web1"), &e), 0);
	assert_int_equal(labels_builder_set(&b, STR("severity"), STR("CRITICAL"), &e), 0);
	labels_builder_write(&b, &labels);
	labels_builder_fini(&b);
	return 0;
}

static int free_labels(void **state)
{
	buf_fini(&labels);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_each, setup, teardown),
		cmocka_unit_test_setup_teardown(test_constant_subject, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused_for_good, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_recipient_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_greylisting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_retry_has_the_same_id, setup, teardown),
		cmocka_unit_test_setup_teardown(test_digest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_digest_after_a_crash, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_digest_is_kept_while_the_server_is_away, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused_digest_is_passed_by, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flood_is_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_targets, setup, teardown),
		cmocka_unit_test(test_urls),
	};

	return cmocka_run_group_tests(tests, make_labels, free_labels);
}
