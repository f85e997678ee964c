/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <poll.h>
#include <pthread.h>

#include "input/child.c"

static void collect(int fd, struct buf *out)
{
	char chunk[1000];
	ssize_t n;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		poll(&p, 1, 5000);
		n = read(fd, chunk, sizeof chunk);
		if (n <= 0)
			break;
		buf_put(out, chunk, (size_t)n);
	}
}

static int wait_end(struct child *c)
{
	struct pollfd p = {.fd = c->exit_fd, .events = POLLIN};
	int result = 12345;

	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_true(child_ended(c, &result));
	return result;
}

static void test_run(void **state)
{
	static const char *const argv[] = {"sh", "-c", "echo $A $PWD; echo no >&2; exit 3", NULL};
	struct string_map env = {.n = 1};
	struct child_options o = {.argv = argv, .cwd = "/", .env = &env};
	struct buf out = {0}, err = {0};
	struct child c;
	struct error e;

	(void)state;
	env.items = xcalloc(1, sizeof *env.items);
	env.items[0].name = "A";
	env.items[0].value = "x y";
	assert_int_equal(child_start(&c, &o, &e), 0);
	collect(c.out, &out);
	collect(c.err, &err);
	assert_string_equal(buf_cstr(&out), "x y /\n");
	assert_string_equal(buf_cstr(&err), "no\n");
	assert_int_equal(wait_end(&c), 3);
	child_close(&c);
	o.merge = true;
	buf_clear(&out);
	assert_int_equal(child_start(&c, &o, &e), 0);
	collect(c.out, &out);
	assert_string_equal(buf_cstr(&out), "x y /\nno\n");
	child_close(&c);
	buf_fini(&out);
	buf_fini(&err);
	free(env.items);
}

/* Nothing is inherited: neither descriptors nor blocked or ignored signals. */
static void test_inherits_nothing(void **state)
{
	static const char *const argv[] = {"sh", "-c",
		"ls /proc/self/fd | tr '\\n' ' '; grep -E 'Sig(Blk|Ign)' /proc/self/status", NULL};
	struct child_options o = {.argv = argv};
	struct buf out = {0};
	unsigned long blocked, ignored;
	int leaks[20];
	struct child c;
	struct error e;
	sigset_t all, old;

	(void)state;
	for (int i = 0; i < 20; i++)
		leaks[i] = open("/dev/null", O_RDONLY);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(child_start(&c, &o, &e), 0);
	sigprocmask(SIG_SETMASK, &old, NULL);
	collect(c.out, &out);
	/* 3 is the folder that ls reads.  Signals 32 and 33 are the C library's own, which it lets
	 * nobody set; under make they are ignored. */
	assert_int_equal(
		sscanf(buf_cstr(&out), "0 1 2 3 SigBlk: %lx SigIgn: %lx", &blocked, &ignored), 2);
	assert_int_equal(blocked, 0);
	assert_int_equal(ignored & ~0x180000000ul, 0);
	child_close(&c);
	for (int i = 0; i < 20; i++)
		close(leaks[i]);
	buf_fini(&out);
}

/* A process without descriptors 0 to 2 gives its child all three. */
static int run_bare(void)
{
	static const char *const argv[] = {
		"sh", "-c", "read x; ls /proc/$$/fd/0 && echo said >&2", NULL};
	struct child_options o = {.argv = argv};
	struct buf out = {0}, err = {0};
	struct child c;
	struct error e;
	int good;

	close(0);
	close(1);
	close(2);
	if (child_start(&c, &o, &e) < 0)
		return 1;
	collect(c.out, &out);
	collect(c.err, &err);
	child_close(&c);
	good = str_starts(buf_view(&out), STR("/proc/")) && str_eq_c(buf_view(&err), "said\n");
	buf_fini(&out);
	buf_fini(&err);
	return good ? 0 : 2;
}

static void test_bare(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(run_bare());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static pid_t ours;
static int told[2];

static void on_signal(int number)
{
	(void)number;
	if (getpid() != ours && write(told[1], "x", 1) < 0)
		_exit(1);
}

static void *send_signals(void *arg)
{
	const _Atomic bool *over = arg;

	while (!*over)
		kill(0, SIGUSR1);
	return NULL;
}

static int run_among_signals(void)
{
	static const char *const argv[] = {"true", NULL};
	struct child_options o = {.argv = argv};
	_Atomic bool over = false;
	pthread_t sender;
	int n_failed = 0;

	setpgid(0, 0);
	ours = getpid();
	if (pipe2(told, O_NONBLOCK) < 0 || signal(SIGUSR1, on_signal) == SIG_ERR ||
		pthread_create(&sender, NULL, send_signals, (void *)&over) != 0)
		return 1;
	for (int i = 0; i < 100; i++) {
		struct child c;
		struct error e;

		if (child_start(&c, &o, &e) < 0)
			n_failed++;
		else
			child_close(&c);
	}
	over = true;
	pthread_join(sender, NULL);
	return n_failed ? 2 : read(told[0], &(char){0}, 1) == 1 ? 3 : 0;
}

/* A handler of ours never runs in the child, whatever comes while it begins. */
static void test_handlers(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(run_among_signals());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_group(void **state)
{
	static const char *const argv[] = {"sh", "-c", "sleep 100 & echo $!; wait", NULL};
	struct child_options o = {.argv = argv};
	struct buf out = {0};
	char line[20] = {0};
	struct child c;
	struct error e;
	pid_t grandchild;
	int result;

	(void)state;
	assert_int_equal(child_start(&c, &o, &e), 0);
	struct pollfd p = {.fd = c.out, .events = POLLIN};
	poll(&p, 1, 5000);
	assert_true(read(c.out, line, sizeof line - 1) > 0);
	grandchild = (pid_t)atoi(line);
	assert_false(child_ended(&c, &result));
	child_signal(&c, SIGTERM);
	assert_int_equal(wait_end(&c), -SIGTERM);
	collect(c.out, &out);
	child_close(&c);
	for (int i = 0; i < 1000 && kill(grandchild, 0) == 0; i++) {
		/* Nobody may reap it here: a zombie is as good as gone. */
		char path[40], text[200] = {0};
		FILE *f;

		snprintf(path, sizeof path, "/proc/%d/stat", grandchild);
		f = fopen(path, "r");
		if (!f || fread(text, 1, sizeof text - 1, f) == 0 || strstr(text, ") Z ")) {
			if (f)
				fclose(f);
			break;
		}
		fclose(f);
		assert_true(i < 999);
		usleep(1000);
	}
	buf_fini(&out);
}

static void test_mistakes(void **state)
{
	static const char *const none[] = {"/nowhere/program", NULL},
				 *const data[] = {"/etc", NULL}, *const fine[] = {"true", NULL};
	struct child_options o = {.argv = none};
	struct child c;
	struct error e;

	(void)state;
	assert_int_equal(child_start(&c, &o, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, "/nowhere/program"));
	o.argv = data;
	assert_int_equal(child_start(&c, &o, &e), ERR_DENIED);
	o.argv = fine;
	o.cwd = "/nowhere";
	assert_int_equal(child_start(&c, &o, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, "/nowhere"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run),
		cmocka_unit_test(test_inherits_nothing),
		cmocka_unit_test(test_bare),
		cmocka_unit_test(test_handlers),
		cmocka_unit_test(test_group),
		cmocka_unit_test(test_mistakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
