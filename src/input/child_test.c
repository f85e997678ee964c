/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <poll.h>

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
	/* 3 is the folder that ls reads. */
	assert_true(str_starts(buf_view(&out), STR("0 1 2 3 SigBlk:\t0000000000000000\n"
						   "SigIgn:\t0000000000000000")));
	child_close(&c);
	for (int i = 0; i < 20; i++)
		close(leaks[i]);
	buf_fini(&out);
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
		cmocka_unit_test(test_group),
		cmocka_unit_test(test_mistakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
