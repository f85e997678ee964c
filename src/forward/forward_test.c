/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>

#include "forward/fake_server.h"
#include "forward/forward.c"

struct place {
	char dir[64], data[80], log[80];
	const char *paths[1], *urls[2];
	struct forward_options o;
	struct fake_server server;
};

static void place_init(struct place *p)
{
	struct error e;

	memset(p, 0, sizeof(*p));
	strcpy(p->dir, "/tmp/sawlog-forward-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->data, sizeof(p->data), "%s/data", p->dir);
	snprintf(p->log, sizeof(p->log), "%s/app.log", p->dir);
	assert_int_equal(fake_server_start(&p->server, &e), 0);
	p->paths[0] = p->log;
	p->urls[0] = p->server.url;
	p->o = (struct forward_options){.url = {p->urls, 1},
		.failover_after = 30 * NS_PER_SEC,
		.return_after = 60 * NS_PER_SEC,
		.data = p->data,
		.paths = {p->paths, 1},
		.host = "h1",
		.detect_time = true,
		.memory = 32 << 20,
		.quiet = true,
		.once = true};
}

static void place_fini(struct place *p)
{
	struct buf cmd = {0};

	fake_server_stop(&p->server);
	buf_printf(&cmd, "rm -rf %s", p->dir);
	assert_int_equal(system(buf_cstr(&cmd)), 0);
	buf_fini(&cmd);
}

static void append(const char *path, const char *text)
{
	FILE *f = fopen(path, "a");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_once(void **state)
{
	struct place p;
	struct error e;

	(void)state;
	place_init(&p);
	append(p.log, "one\ntwo\n");
	assert_int_equal(forward_run(&p.o, &e), 0);
	assert_string_equal(buf_cstr(&p.server.bodies), "one\ntwo\n");
	assert_int_equal(p.server.packing, FRAME_PLAIN);
	append(p.log, "three\n");
	memcpy(p.server.script, (int[]){503, 503}, 2 * sizeof(int));
	assert_int_equal(forward_run(&p.o, &e), 0);
	assert_string_equal(buf_cstr(&p.server.bodies), "one\ntwo\nthree\n");
	assert_non_null(strstr(buf_cstr(&p.server.streams), "app=\"app\", file=\"/tmp/"));
	place_fini(&p);
}

static void test_stdin(void **state)
{
	static const char *const dash[] = {"-"};
	int pipes[2], saved = dup(0);
	struct place p;
	struct error e;

	(void)state;
	place_init(&p);
	p.o.paths = (struct strings){(const char **)dash, 1};
	p.o.packing = UPLINK_ZSTD;
	p.o.app = "piped";
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(write(pipes[1], "a\nb\nlast", 8), 8);
	close(pipes[1]);
	dup2(pipes[0], 0);
	close(pipes[0]);
	assert_int_equal(forward_run(&p.o, &e), 0);
	dup2(saved, 0);
	close(saved);
	assert_string_equal(buf_cstr(&p.server.bodies), "a\nb\nlast\n");
	assert_string_equal(buf_cstr(&p.server.streams),
		"{app=\"piped\", host=\"h1\", input=\"stdin\", service_name=\"piped\"}");
	assert_int_equal(p.server.packing, FRAME_ZSTD);
	place_fini(&p);
}

static void *terminate(void *arg)
{
	(void)arg;
	usleep(300000);
	kill(getpid(), SIGTERM);
	return NULL;
}

/* A signal ends it; what was read is delivered. */
static void test_signal(void **state)
{
	struct place p;
	struct error e;
	pthread_t thread;
	sigset_t mask, old;

	(void)state;
	place_init(&p);
	p.o.once = false;
	append(p.log, "one\n");
	/* The thread that sends it must not take it. */
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &mask, &old);
	thread = thread_start("kill", terminate, NULL);
	assert_int_equal(forward_run(&p.o, &e), 0);
	pthread_join(thread, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	assert_string_equal(buf_cstr(&p.server.bodies), "one\n");
	place_fini(&p);
}

static void test_mistakes(void **state)
{
	struct file *lock;
	struct place p;
	struct error e;
	char path[100];

	(void)state;
	place_init(&p);
	p.o.paths.n = 0;
	assert_int_equal(forward_run(&p.o, &e), ERR_ARG);
	p.o.paths.n = 1;
	p.o.token_file = "/nowhere/token";
	assert_int_equal(forward_run(&p.o, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "token_file"));
	p.o.token_file = NULL;
	p.urls[0] = "ftp://x";
	assert_int_equal(forward_run(&p.o, &e), ERR_ARG);
	p.urls[0] = p.server.url;
	snprintf(path, sizeof(path), "%s/LOCK", p.data);
	assert_int_equal(fs_lock(fs_real(), path, &lock, &e), 0);
	assert_int_equal(forward_run(&p.o, &e), ERR_BUSY);
	assert_non_null(strstr(e.text, "--data"));
	file_close(lock);
	place_fini(&p);
}

static void test_token(void **state)
{
	struct place p;
	struct error e;
	char path[100];

	(void)state;
	place_init(&p);
	snprintf(path, sizeof(path), "%s/token", p.dir);
	append(path, "s3cret\n");
	append(p.log, "x\n");
	p.o.token_file = path;
	p.o.tenant = "t9";
	assert_int_equal(forward_run(&p.o, &e), 0);
	assert_string_equal(buf_cstr(&p.server.bearer), "Bearer s3cret");
	assert_string_equal(buf_cstr(&p.server.tenant), "t9");
	place_fini(&p);
}

static void test_is_loopback(void **state)
{
	(void)state;
	assert_true(servers_loopback(STR("http://127.0.0.1:3100")));
	assert_true(servers_loopback(STR("http://localhost:3100/x")));
	assert_true(servers_loopback(STR("http://[::1]:3100")));
	assert_false(servers_loopback(STR("http://localhost.example.com")));
	assert_false(servers_loopback(STR("https://logs.example.com")));
}

/* A signal that comes before the inputs have started is not forgotten. */
static void test_told_early(void **state)
{
	struct place p;
	struct error e;
	sigset_t mask, old;

	(void)state;
	place_init(&p);
	p.o.once = false;
	append(p.log, "one\n");
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &mask, &old);
	raise(SIGTERM);
	alarm(30);
	forward_run(&p.o, &e);
	alarm(0);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	place_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_is_loopback),
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_told_early),
		cmocka_unit_test(test_stdin),
		cmocka_unit_test(test_signal),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
