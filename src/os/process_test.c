/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "os/process.c"

static void names_the_host(void **state)
{
	char name[256], real[256] = "", cut[4];

	assert_ptr_equal(process_hostname(name, sizeof name), name);
	assert_true(name[0] != 0);
	gethostname(real, sizeof real - 1);
	if (real[0])
		assert_string_equal(name, real);
	process_hostname(cut, sizeof cut);
	assert_true(strlen(cut) <= 3);
	assert_memory_equal(cut, name, strlen(cut));
}

static void tells_a_terminal(void **state)
{
	int pipes[2], terminal = posix_openpt(O_RDWR | O_NOCTTY);

	assert_int_equal(pipe(pipes), 0);
	assert_false(process_is_tty(pipes[0]));
	assert_false(process_is_tty(-1));
	if (terminal >= 0) {
		assert_true(process_is_tty(terminal));
		close(terminal);
	}
	close(pipes[0]);
	close(pipes[1]);
}

static void measures_itself(void **state)
{
	enum { MORE = 32 << 20 };
	uint64_t before, after;
	struct error e;
	char *volatile p; /* else the compiler does without the memory */

	assert_int_equal(process_rss_anon(&before, &e), 0);
	assert_true(before > 0);
	p = malloc(MORE);
	memset(p, 1, MORE);
	assert_int_equal(process_rss_anon(&after, &e), 0);
	assert_int_equal(p[MORE - 1], 1);
	free(p);
	/* A sanitizer holds some bytes for each of ours. */
	assert_true(after >= before + MORE / 2 && after < before + 16 * (uint64_t)MORE);
}

static void reads_the_status(void **state)
{
	static const char *const bad[] = {"", "\n", "RssAnon", "RssAnon:", "RssAnon: kB",
		"RssAnon: 12", "RssAnon: -1 kB", "RssAnon: 12 MB", "NoRssAnon: 12 kB",
		"RssAnon: 18446744073709551615 kB", "RssFile: 1 kB\n"};
	uint64_t bytes = 7;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_false(find_rss_anon(str_c(bad[i]), &bytes));
		assert_int_equal(bytes, 7);
	}
	assert_true(find_rss_anon(STR("Name:\tx\nRssAnon:\t     128 kB\nRssFile: 1 kB"), &bytes));
	assert_int_equal(bytes, 128 * 1024);
}

static void tells_its_supervisor(void **state)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char folder[] = "/tmp/process_test.XXXXXX";
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool sent;

	unsetenv("NOTIFY_SOCKET");
	assert_false(process_notify("READY=1"));
	assert_non_null(mkdtemp(folder));
	snprintf(a.sun_path, sizeof a.sun_path, "%s/notify", folder);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	setenv("NOTIFY_SOCKET", a.sun_path, 1);
	sent = process_notify("READY=1");
#ifdef SAWLOG_HAVE_SYSTEMD
	char got[64] = "";
	assert_true(sent);
	assert_int_equal(recv(fd, got, sizeof got - 1, MSG_DONTWAIT), 7);
	assert_string_equal(got, "READY=1");
#else
	assert_false(sent);
#endif
	close(fd);
	unlink(a.sun_path);
	rmdir(folder);
	/* A supervisor that is gone does no harm. */
	assert_false(process_notify("READY=1"));
	unsetenv("NOTIFY_SOCKET");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_the_host),
		cmocka_unit_test(tells_a_terminal),
		cmocka_unit_test(measures_itself),
		cmocka_unit_test(reads_the_status),
		cmocka_unit_test(tells_its_supervisor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
