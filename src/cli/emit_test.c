/* SPDX-License-Identifier: Apache-2.0 */
/* emit against a server that is busy, refuses, or goes away. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/memory.h"
#include "cli/command.h"
#include "codec/json.h"
#include "net/http.h"

struct fake {
	struct http_server *http;
	struct account account;
	char url[60];
	struct lock lock;
	/* Under lock. */
	unsigned busy;   /* so many requests are answered 429 first */
	unsigned refuse; /* the request of this number (from 1) is answered 400 */
	unsigned n_requests;
	struct buf lines; /* taken, one a line */
	struct buf first; /* body of the first request taken */
};

/* The lines of either kind of body. */
static void keep(struct fake *k, struct str body)
{
	struct json_parser *parser = json_parser_new();
	struct error e = {0};
	struct json j;
	size_t list, at;

	assert_int_equal(json_parse(parser, body, &j, &e), 0);
	if ((list = json_get(&j, 0, "streams")) != 0)
		list = json_get(&j, json_first(&j, list), "values");
	else
		list = json_get(&j, 0, "batch");
	assert_true(list != 0);
	for (size_t i = json_first(&j, list); i < json_end(&j, list); i = json_next(&j, i)) {
		at = j.nodes[i].type == JSON_ARRAY ? i + 2 : json_get(&j, i, "content");
		buf_str(&k->lines, j.nodes[at].text);
		buf_char(&k->lines, '\n');
	}
	json_parser_free(parser);
}

static void take(struct http_request *r, void *ctx)
{
	struct fake *k = ctx;

	lock_take(&k->lock);
	k->n_requests++;
	if (k->busy) {
		k->busy--;
		http_replyf(r, 429, "too much at once");
	} else if (k->n_requests == k->refuse) {
		http_replyf(r, 400, "no such label");
	} else {
		if (k->first.n == 0)
			buf_str(&k->first, http_body(r));
		keep(k, http_body(r));
		http_reply(r, 204, NULL, STR_NONE);
	}
	lock_drop(&k->lock);
}

static const struct http_route routes[] = {
	{"/loki/api/v1/push", HTTP_POST | HTTP_BIG, take, "Push."},
	{"/store/batch", HTTP_POST | HTTP_BIG, take, "Batch."},
	{NULL, 0, NULL, NULL},
};

static void fake_start(struct fake *k)
{
	static const char *const listen[] = {"127.0.0.1:0", NULL};
	struct http_options o = {.listen = listen,
		.n_threads = 1,
		.max_body = 16 << 20,
		.account = &k->account,
		.routes = routes,
		.ctx = k};
	struct error e = {0};

	lock_init(&k->lock);
	account_init(&k->account, "test", UINT64_MAX, NULL);
	if (http_server_start(&k->http, &o, &e) < 0)
		fail_msg("%s", e.text);
	snprintf(k->url, sizeof k->url, "http://127.0.0.1:%u", http_server_port(k->http, 0));
}

static void fake_stop(struct fake *k)
{
	if (k->http)
		http_server_stop(k->http, 1000);
	k->http = NULL;
	buf_fini(&k->lines);
	buf_fini(&k->first);
	lock_fini(&k->lock);
}

/* Runs `sawlog emit <kind>=<url> <words…>`; *err is what it says. */
static int emit(struct fake *k, const char *kind, struct buf *err, const char *const *words)
{
	struct command_line cl;
	struct error e = {0};
	char target[100], *argv[20] = {target}, *text = NULL;
	size_t n = 1, size;
	int code;

	snprintf(target, sizeof target, "%s=%s", kind, k->url);
	for (size_t i = 0; words[i]; i++)
		argv[n++] = xstrdup(words[i]);
	assert_int_equal(command_line_parse(&cl, &command_emit, argv, 0, &e), 0);
	cl.err = open_memstream(&text, &size);
	code = command_emit.run(&cl);
	fclose(cl.err);
	buf_clear(err);
	buf_put(err, text, size);
	free(text);
	command_line_fini(&cl);
	for (size_t i = 1; i < n; i++)
		free(argv[i]);
	return code;
}

static void test_operands(void **state)
{
	static const char *const words[] = {
		"--label", "job=x=y", "--app", "a \"b\"", "one", "two", "-n", "3", NULL};
	struct fake k = {.busy = 2};
	struct buf err = {0};

	fake_start(&k);
	assert_int_equal(emit(&k, "loki", &err, words), EXIT_OK);
	assert_string_equal(buf_cstr(&k.lines), "one\ntwo\none\n");
	assert_true(str_starts(buf_view(&k.first),
		STR("{\"streams\":[{\"stream\":{\"app\":\"a \\\"b\\\"\",\"job\":\"x=y\"},\"values\":[[\"")));
	assert_true(str_starts(buf_view(&err), STR("acknowledged 3 lines in ")));
	assert_true(str_find(buf_view(&err), STR(", 2 retries\n")) > 0);
	fake_stop(&k);
	buf_fini(&err);
}

static void test_refused(void **state)
{
	static const char *const words[] = {
		"--generate", "--count", "25", "--batch", "10", "--size", "40", NULL};
	struct fake k = {.refuse = 2};
	struct buf err = {0};

	fake_start(&k);
	assert_int_equal(emit(&k, "batch", &err, words), EXIT_TEMPORARY);
	assert_true(str_find(buf_view(&err), STR("acknowledged 15 lines")) == 0);
	assert_true(str_find(buf_view(&err), STR("refused 10: no such label\n")) > 0);
	assert_int_equal(k.lines.n, 15 * 41);
	assert_true(str_starts(buf_view(&k.lines), STR("emit line 000000000")));
	assert_true(str_find(buf_view(&k.first),
			    STR("\"file\":\"/var/log/emit.log\",\"line-num\":0,")) > 0);
	assert_true(str_ends(buf_view(&k.first), STR("],\"size\":10}")));
	fake_stop(&k);
	buf_fini(&err);
}

static void test_unreachable(void **state)
{
	static const char *const words[] = {"--give-up", "10ms", "line", NULL};
	struct fake k = {.url = "http://127.0.0.1:1"};
	struct buf err = {0};

	assert_int_equal(emit(&k, "loki", &err, words), EXIT_UNREACHABLE);
	assert_true(str_starts(buf_view(&err), STR("acknowledged 0 lines")));
	buf_fini(&err);
}

static void test_usage(void **state)
{
	static const char *const none[] = {"line", NULL}, *const label[] = {
								  "--label", "x", "line", NULL};
	struct fake k = {.url = "http://127.0.0.1:1"};
	struct buf err = {0};

	assert_int_equal(emit(&k, "gelf", &err, none), EXIT_USAGE);
	assert_int_equal(emit(&k, "loki", &err, label), EXIT_USAGE);
	assert_true(str_find(buf_view(&err), STR("--label: must be NAME=VALUE, got \"x\"")) > 0);
	buf_fini(&err);
}

/* Standard input: line ends of any place in a read, an unfinished last line, a long line. */
static void test_stdin(void **state)
{
	static const char *const words[] = {"--batch", "2", NULL};
	char path[] = "/tmp/sawlog-emit-XXXXXX";
	struct fake k = {0};
	struct buf err = {0}, want = {0};
	int fd = mkstemp(path), saved = dup(STDIN_FILENO);

	assert_true(fd >= 0 && saved >= 0);
	buf_c(&want, "a\n\nccc\n");
	for (size_t i = 0; i < 200000; i++)
		buf_char(&want, (char)('a' + i % 26));
	buf_c(&want, "\nlast");
	assert_int_equal(write(fd, want.p, want.n), want.n);
	lseek(fd, 0, SEEK_SET);
	dup2(fd, STDIN_FILENO);
	fake_start(&k);
	assert_int_equal(emit(&k, "loki", &err, words), EXIT_OK);
	buf_char(&want, '\n');
	assert_true(str_eq(buf_view(&k.lines), buf_view(&want)));
	assert_int_equal(k.n_requests, 3);
	fake_stop(&k);
	dup2(saved, STDIN_FILENO);
	close(saved);
	close(fd);
	unlink(path);
	buf_fini(&err);
	buf_fini(&want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operands),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_unreachable),
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_stdin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
