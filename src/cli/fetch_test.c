/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paging and following, against small servers that speak like sawlog and like
 * Loki: they hold lines in commit order, and cut, close and restart at the
 * worst places.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/memory.h"
#include "cli/fetch.h"
#include "net/http.h"

enum { MAX_LINES = 4000 };

/* A server's data: line i has sequence i + 1, time times[i] and the text "line <i>". */
struct fake {
	struct http_server *http;
	struct account account;
	char url[60];
	bool sawlog;
	uint64_t max_limit; /* of a query; more is 400; 0: none */
	uint64_t max_room;  /* the same, but more is 413 */
	bool same_text;     /* all lines of a stream read the same */
	/* Under lock. */
	struct lock lock;
	size_t n_lines;
	int64_t times[MAX_LINES];
	unsigned n_queries, n_tails;
	size_t close_after; /* a tail is closed after that many lines; 0: never */
	size_t grow;        /* lines that are committed while nobody is connected */
};

static void put_entry(struct fake *k, struct buf *out, size_t i)
{
	buf_printf(out,
		"{\"stream\":{\"app\":\"a%zu\"},\"values\":[[\"%" PRId64 "\",\"line %zu\"]]}",
		i % 3, k->times[i], k->same_text ? 0 : i);
}

static int64_t param_i64(struct http_request *r, const char *name, int64_t fallback)
{
	struct str s;
	int64_t v;

	return http_param(r, name, &s) && str_i64(s, &v) ? v : fallback;
}

/* The sort key of line i: by time, then sequence, in the asked direction. */
static bool before(const struct fake *k, size_t a, size_t b, bool forward)
{
	if (k->times[a] != k->times[b])
		return (k->times[a] < k->times[b]) == forward;
	return (a < b) == forward;
}

static size_t sorted(struct fake *k, bool forward, size_t *order)
{
	for (size_t i = 0; i < k->n_lines; i++) {
		size_t at = i;

		for (; at > 0 && before(k, i, order[at - 1], forward); at--)
			order[at] = order[at - 1];
		order[at] = i;
	}
	return k->n_lines;
}

static void query_range(struct http_request *r, void *ctx)
{
	static size_t order[MAX_LINES];
	struct fake *k = ctx;
	struct str direction, cursor;
	bool forward = http_param(r, "direction", &direction) && str_eq_c(direction, "forward");
	int64_t start = param_i64(r, "start", 0), stop = param_i64(r, "end", INT64_MAX);
	size_t limit = (size_t)param_i64(r, "limit", 100), n = 0, skip = 0, all;
	struct buf out = {0};

	if (k->max_limit && limit > k->max_limit) {
		http_replyf(r, 400, "max entries limit per query exceeded");
		return;
	}
	if (k->max_room && limit > k->max_room) {
		http_replyf(r, 413, "the query needs more than its memory budget");
		return;
	}
	lock_take(&k->lock);
	k->n_queries++;
	if (http_param(r, "cursor", &cursor))
		skip = (size_t)param_i64(r, "cursor", 0);
	buf_c(&out, "{\"status\":\"success\",\"data\":{\"resultType\":\"streams\",\"result\":[");
	all = sorted(k, forward, order);
	size_t at = skip;
	for (; at < all && n < limit; at++) {
		if (k->times[order[at]] < start || k->times[order[at]] >= stop)
			continue;
		if (n++)
			buf_char(&out, ',');
		put_entry(k, &out, order[at]);
	}
	buf_c(&out, "]");
	if (k->sawlog) {
		buf_printf(&out, ",\"sawlog\":{\"last_seq\":%zu", k->n_lines);
		if (n == limit)
			buf_printf(&out, ",\"next\":\"%zu\"", at);
		buf_c(&out, "}");
	}
	buf_c(&out, "}}");
	lock_drop(&k->lock);
	http_reply_buf(r, 200, "application/json", &out);
}

/* Sends what is behind the cursor, then closes or stays. */
struct fake_tail {
	struct fake *fake;
	size_t from;
};

static void tail_open_event(struct ws *w, void *arg)
{
	struct fake_tail *t = arg;
	struct fake *k = t->fake;
	size_t sent = 0;

	lock_take(&k->lock);
	k->n_tails++;
	for (size_t i = t->from; i < k->n_lines; i++) {
		struct buf out = {0};

		if (k->close_after && sent == k->close_after)
			break;
		buf_c(&out, "{\"streams\":[");
		put_entry(k, &out, i);
		buf_printf(
			&out, "],\"dropped_entries\":null,\"sawlog\":{\"cursor\":\"%zu\"}}", i + 1);
		ws_send(w, buf_view(&out));
		buf_fini(&out);
		sent++;
	}
	if (k->close_after) {
		ws_close(w, 1001, "the server is stopping");
		if (k->n_lines + k->grow <= MAX_LINES && k->n_tails == 1)
			k->n_lines += k->grow;
	}
	lock_drop(&k->lock);
}

static void tail_closed_event(struct ws *w, void *arg)
{
	free(arg);
}

static void tail_route(struct http_request *r, void *ctx)
{
	static const struct ws_events events = {
		.open = tail_open_event, .closed = tail_closed_event};
	struct fake_tail *t = xcalloc(1, sizeof *t);

	t->fake = ctx;
	t->from = (size_t)param_i64(r, "cursor", 0);
	http_upgrade(r, &events, t);
}

static const struct http_route routes[] = {
	{"/loki/api/v1/query_range", HTTP_GET, query_range, "Lines."},
	{"/loki/api/v1/tail", HTTP_GET, tail_route, "A tail."},
	{NULL, 0, NULL, NULL},
};

static void fake_start(struct fake *k)
{
	static const char *const listen[] = {"127.0.0.1:0", NULL};
	struct http_options o = {.listen = listen,
		.n_threads = 1,
		.max_body = 1 << 20,
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
	http_server_stop(k->http, 1000);
	lock_fini(&k->lock);
}

/* --- running a command ------------------------------------------------- */

/* Runs `sawlog <words…>` with the fake's address, returns its exit code; *out is its output. */
static int run_command(struct fake *k, struct buf *out, struct buf *err, const char *const *words)
{
	struct command_line cl;
	struct error e = {0};
	char *argv[30] = {NULL}, *text = NULL, *text_err = NULL;
	size_t n = 0, size, size_err;
	const struct command *c = command_find(str_c(words[0]), &e);
	int code;

	while (words[n + 1]) {
		argv[n] = xstrdup(words[n + 1]);
		n++;
	}
	setenv("SAWLOG_ADDR", k->url, 1);
	assert_int_equal(command_line_parse(&cl, c, argv, 2000, &e), 0);
	cl.out = open_memstream(&text, &size);
	cl.err = open_memstream(&text_err, &size_err);
	code = c->run(&cl);
	fclose(cl.out);
	fclose(cl.err);
	command_line_fini(&cl);
	buf_clear(out);
	buf_put(out, text, size);
	buf_clear(err);
	buf_put(err, text_err, size_err);
	free(text);
	free(text_err);
	for (size_t i = 0; i < n; i++)
		free(argv[i]);
	return code;
}

/* Each of the lines [from, to) once; in this order when `ordered`. */
static void has_lines(struct buf *out, size_t from, size_t to, bool ordered)
{
	uint8_t *seen = xcalloc(MAX_LINES, 1);
	struct str rest = buf_view(out);
	size_t n = 0;

	while (rest.n) {
		struct str line = str_cut(&rest, '\n');
		uint64_t i;

		assert_true(str_starts(line, STR("line ")));
		assert_true(str_u64(str_sub(line, 5, line.n), &i));
		assert_true(i >= from && i < to);
		if (ordered)
			assert_int_equal(i, from + n);
		if (seen[i]++)
			fail_msg("line %zu comes twice", (size_t)i);
		n++;
	}
	assert_int_equal(n, to - from);
	free(seen);
}

static void fill(struct fake *k, size_t n, size_t per_time)
{
	k->n_lines = n;
	for (size_t i = 0; i < n; i++)
		k->times[i] = 1000 + (int64_t)(i / per_time);
}

static const char *const all_forward[] = {
	"query", "{}", "--since", "0", "--until", "5000", "--forward", "-o", "raw", NULL};
static const char *const all_backward[] = {
	"query", "{}", "--since", "0", "--until", "5000", "-o", "raw", NULL};

/* The same lines whatever the page, in both directions, with many lines at one time. */
static void check_paging(struct fake *k)
{
	static const size_t per_time[] = {1, 2, 3, 7};
	struct buf out = {0}, err = {0};

	for (size_t i = 0; i < 4; i++)
		for (fetch_page_lines = 7; fetch_page_lines <= 9; fetch_page_lines++) {
			fill(k, 61, per_time[i]);
			assert_int_equal(run_command(k, &out, &err, all_forward), EXIT_OK);
			has_lines(&out, 0, 61, k->sawlog || per_time[i] == 1);
			assert_int_equal(run_command(k, &out, &err, all_backward), EXIT_OK);
			has_lines(&out, 0, 61, false);
			assert_int_equal(err.n, 0);
		}
	fetch_page_lines = 5000;
	buf_fini(&out);
	buf_fini(&err);
}

static void test_paging_sawlog(void **state)
{
	struct fake k = {.sawlog = true};

	fake_start(&k);
	check_paging(&k);
	fake_stop(&k);
}

static void test_paging_loki(void **state)
{
	struct fake k = {0};

	fake_start(&k);
	check_paging(&k);
	fake_stop(&k);
}

/* Two lines alike at a border are two lines. */
static void test_paging_alike(void **state)
{
	struct fake k = {.same_text = true};
	struct buf out = {0}, err = {0};
	size_t n = 0;

	fake_start(&k);
	fill(&k, 30, 6);
	fetch_page_lines = 8;
	assert_int_equal(run_command(&k, &out, &err, all_forward), EXIT_OK);
	for (size_t i = 0; i < out.n; i++)
		n += out.p[i] == '\n';
	assert_int_equal(n, 30);
	fetch_page_lines = 5000;
	fake_stop(&k);
	buf_fini(&out);
	buf_fini(&err);
}

/* More lines at one time than a page holds: a larger page, or the loss is told. */
static void test_paging_crowded(void **state)
{
	struct fake k = {0};
	struct buf out = {0}, err = {0};

	fake_start(&k);
	fill(&k, 100, 25);
	fetch_page_lines = 10;
	assert_int_equal(run_command(&k, &out, &err, all_forward), EXIT_OK);
	has_lines(&out, 0, 100, false);
	k.max_limit = 10;
	assert_int_equal(run_command(&k, &out, &err, all_backward), EXIT_TEMPORARY);
	assert_true(str_find(buf_view(&err), STR("some of them are missing")) >= 0);
	fetch_page_lines = 5000;
	fake_stop(&k);
	buf_fini(&out);
	buf_fini(&err);
}

static void test_limit_and_status(void **state)
{
	static const char *const limited[] = {"query", "{}", "--since", "0", "--until", "5000",
		"-n", "13", "--forward", "-o", "raw", NULL};
	static const char *const quiet[] = {
		"query", "{}", "--since", "0", "--until", "5000", "-q", NULL};
	static const char *const status[] = {
		"query", "{}", "--since", "1", "--until", "2", "--exit-status", NULL};
	struct fake k = {.sawlog = true};
	struct buf out = {0}, err = {0};

	fake_start(&k);
	fill(&k, 50, 4);
	fetch_page_lines = 5;
	assert_int_equal(run_command(&k, &out, &err, limited), EXIT_OK);
	has_lines(&out, 0, 13, true);
	assert_int_equal(run_command(&k, &out, &err, quiet), EXIT_OK);
	assert_int_equal(out.n, 0);
	k.n_lines = 0;
	assert_int_equal(run_command(&k, &out, &err, quiet), EXIT_NO_MATCH);
	assert_int_equal(run_command(&k, &out, &err, status), EXIT_NO_MATCH);
	assert_int_equal(run_command(&k, &out, &err, limited), EXIT_OK);
	fetch_page_lines = 5000;
	fake_stop(&k);
	assert_int_equal(run_command(&k, &out, &err, limited), EXIT_UNREACHABLE);
	buf_fini(&out);
	buf_fini(&err);
}

/* Lines that are too long for a page of so many: smaller pages. */
static void test_paging_long(void **state)
{
	struct fake k = {.sawlog = true};
	struct buf out = {0}, err = {0};

	fake_start(&k);
	fill(&k, 30, 6);
	k.max_room = 7;
	assert_int_equal(run_command(&k, &out, &err, all_forward), EXIT_OK);
	has_lines(&out, 0, 30, false);
	fake_stop(&k);
	buf_fini(&out);
	buf_fini(&err);
}

/* `sawlog query … | head`: no more pages are fetched, and it is no failure. */
static void test_reader_leaves(void **state)
{
	struct fake k = {.sawlog = true};
	struct command_line cl;
	struct error e = {0};
	char *argv[12] = {NULL};
	int pipes[2];

	fake_start(&k);
	fill(&k, 2000, 1);
	fetch_page_lines = 500;
	signal(SIGPIPE, SIG_IGN);
	setenv("SAWLOG_ADDR", k.url, 1);
	for (size_t i = 1; all_forward[i]; i++)
		argv[i - 1] = (char *)(uintptr_t)all_forward[i];
	assert_int_equal(command_line_parse(&cl, &command_query, argv, 2000, &e), 0);
	assert_int_equal(pipe(pipes), 0);
	close(pipes[0]);
	cl.out = fdopen(pipes[1], "w");
	assert_int_equal(command_query.run(&cl), EXIT_OK);
	assert_true(k.n_queries < 4);
	fclose(cl.out);
	command_line_fini(&cl);
	fetch_page_lines = 5000;
	fake_stop(&k);
}

/* --- the tail ---------------------------------------------------------- */

/* Ends the tail once its output holds `lines` lines, or after ten seconds. */
struct watcher {
	const char *path;
	size_t lines;
};

static void *watch(void *arg)
{
	struct watcher *w = arg;

	for (int i = 0; i < 1000; i++) {
		FILE *f = fopen(w->path, "r");
		size_t n = 0;
		int c;

		while (f && (c = fgetc(f)) != EOF)
			n += c == '\n';
		if (f)
			fclose(f);
		if (n >= w->lines)
			break;
		usleep(10000);
	}
	usleep(50000); /* what comes too much would come now */
	kill(getpid(), SIGINT);
	return NULL;
}

static int run_tail(struct fake *k, char *const *argv, size_t until_lines, struct buf *out)
{
	char path[] = "/tmp/sawlog-tail-XXXXXX";
	struct watcher w = {path, until_lines};
	struct command_line cl;
	struct error e = {0};
	pthread_t thread;
	int fd = mkstemp(path), code;
	ssize_t n;

	assert_true(fd >= 0);
	setenv("SAWLOG_ADDR", k->url, 1);
	assert_int_equal(
		command_line_parse(&cl, &command_tail, (char **)(uintptr_t)argv, 2000, &e), 0);
	cl.out = fdopen(fd, "w+");
	cl.err = fopen("/dev/null", "w");
	thread = thread_start("watch", watch, &w);
	code = command_tail.run(&cl);
	pthread_join(thread, NULL);
	fflush(cl.out);
	rewind(cl.out);
	buf_clear(out);
	while ((n = (ssize_t)fread(buf_reserve(out, 4096), 1, 4096, cl.out)) > 0)
		out->n += (size_t)n;
	fclose(cl.out);
	fclose(cl.err);
	command_line_fini(&cl);
	unlink(path);
	return code;
}

/* History, live, and six lost connections, with lines committed meanwhile: each line once. */
static void test_tail_resumes(void **state)
{
	char *argv[] = {(char[]){"{}"}, (char[]){"-n"}, (char[]){"5"}, (char[]){"--since"},
		(char[]){"0"}, (char[]){"-o"}, (char[]){"raw"}, NULL};
	struct fake k = {.sawlog = true, .close_after = 4, .grow = 23};
	struct buf out = {0};

	fake_start(&k);
	fill(&k, 43, 1);
	k.n_lines = 20;
	assert_int_equal(run_tail(&k, argv, 28, &out), EXIT_INTERRUPTED);
	has_lines(&out, 15, 43, true);
	assert_true(k.n_tails >= 6);
	fake_stop(&k);
	buf_fini(&out);
}

/* The token in the file is where the next run goes on. */
static void test_tail_cursor_file(void **state)
{
	char path[] = "/tmp/sawlog-cursor-XXXXXX";
	char *argv[] = {(char[]){"{}"}, (char[]){"--cursor-file"}, path, (char[]){"-o"},
		(char[]){"raw"}, (char[]){"--since"}, (char[]){"0"}, (char[]){"-n"}, (char[]){"3"},
		NULL};
	struct fake k = {.sawlog = true};
	struct buf out = {0};

	close(mkstemp(path));
	unlink(path);
	fake_start(&k);
	fill(&k, 40, 1);
	k.n_lines = 10;
	assert_int_equal(run_tail(&k, argv, 3, &out), EXIT_INTERRUPTED);
	has_lines(&out, 7, 10, true);
	lock_take(&k.lock);
	k.n_lines = 40;
	lock_drop(&k.lock);
	assert_int_equal(run_tail(&k, argv, 30, &out), EXIT_INTERRUPTED);
	has_lines(&out, 10, 40, true);
	fake_stop(&k);
	unlink(path);
	buf_fini(&out);
}

static void test_tail_unreachable(void **state)
{
	static const char *const words[] = {"tail", "{}", NULL};
	struct fake k = {.url = "http://127.0.0.1:1"};
	struct buf out = {0}, err = {0};

	assert_int_equal(run_command(&k, &out, &err, words), EXIT_UNREACHABLE);
	assert_int_equal(out.n, 0);
	assert_true(str_starts(buf_view(&err), STR("sawlog tail: http://127.0.0.1:1")));
	buf_fini(&out);
	buf_fini(&err);
}

/* A place in the query is pointed at. */
static void test_caret(void **state)
{
	struct command_line cl = {.command = &command_query};
	struct error e = {0};
	char *text = NULL;
	size_t n;

	cl.err = open_memstream(&text, &n);
	error_set(&e, ERR_ARG, "parse error at line 2, col 4: syntax error: unexpected IDENTIFIER");
	assert_int_equal(remote_fail(&cl, "{app=\"x\"}\n|= \xc3\xa9 y", &e), EXIT_USAGE);
	fclose(cl.err);
	assert_string_equal(text,
		"sawlog query: parse error at line 2, col 4: syntax error: unexpected IDENTIFIER\n"
		"  |= \xc3\xa9 y\n     ^\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paging_sawlog),
		cmocka_unit_test(test_paging_loki),
		cmocka_unit_test(test_paging_alike),
		cmocka_unit_test(test_paging_crowded),
		cmocka_unit_test(test_paging_long),
		cmocka_unit_test(test_limit_and_status),
		cmocka_unit_test(test_reader_leaves),
		cmocka_unit_test(test_tail_resumes),
		cmocka_unit_test(test_tail_cursor_file),
		cmocka_unit_test(test_tail_unreachable),
		cmocka_unit_test(test_caret),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
