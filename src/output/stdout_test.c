/* SPDX-License-Identifier: Apache-2.0 */
#include "output/stdout.c"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

enum { RECORDS = 3000 };

static bool is_ending;

static bool ending(void *arg)
{
	return is_ending;
}

/* An output on `fd`, which stands in for stderr as long as it is opened. */
static struct stdout_output *open_on(int fd)
{
	struct stdout_settings s = {.line = {.format = "%(message)s|"}, .stream = 1};
	struct output_env env = {.name = "x", .ending = ending};
	int real = dup(STDERR_FILENO);
	struct error e = {0};
	void *o = NULL;
	int r;

	is_ending = false;
	dup2(fd, STDERR_FILENO);
	r = output_stdout.open(&o, &s, &env, STR_NONE, &e);
	dup2(real, STDERR_FILENO);
	close(real);
	if (r < 0)
		fail_msg("%s", e.text);
	return o;
}

static struct output_record record(uint64_t seq, const char *text)
{
	return (struct output_record){.seq = seq, .line = str_c(text)};
}

static void read_all(int fd, struct buf *out)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	while (poll(&ready, 1, 0) > 0 && (ready.revents & POLLIN)) {
		ssize_t n = read(fd, buf_reserve(out, 65536), 65536);
		if (n <= 0)
			break;
		out->n += (size_t)n;
	}
}

static void test_lines(void **state)
{
	struct output_record records[] = {record(1, "one"), record(2, "two\nthree")};
	struct buf got = {0}, kept = {0};
	struct stdout_output *o;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	o = open_on(ends[1]);
	assert_int_equal(output_stdout.write(o, records, 2, NULL), 2);
	assert_int_equal(output_stdout.sync(o, &kept, NULL), 0);
	read_all(ends[0], &got);
	assert_string_equal(buf_cstr(&got), "one|\ntwo\n\tthree|\n");
	assert_int_equal(kept.n, 0);
	output_stdout.close(o);
	/* What we were given is still open, and still blocks. */
	assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
	close(ends[0]);
	close(ends[1]);
	buf_fini(&got);
}

/* Nobody reads: the end of the process is not held up.  Later all is there once. */
static void check_stalled(int reader, int writer, bool is_socket)
{
	static struct output_record records[RECORDS];
	static char texts[RECORDS][100];
	struct buf got = {0}, expected = {0};
	struct stdout_output *o = open_on(writer);
	struct error e = {0};
	size_t done = 0;
	int r = 1;

	for (size_t i = 0; i < RECORDS; i++) {
		snprintf(texts[i], sizeof texts[i], "record %zu %0*d", i, (int)(i % 80), 0);
		records[i] = record(i + 1, texts[i]);
		buf_printf(&expected, "%s|\n", texts[i]);
	}
	is_ending = true;
	while (done < RECORDS &&
		(r = output_stdout.write(o, records + done, RECORDS - done, &e)) > 0)
		done += (size_t)r;
	assert_int_equal(r, ERR_CANCELLED);
	assert_true(done > 0 && done < RECORDS);
	while (done < RECORDS) {
		read_all(reader, &got);
		/* No line is cut by the end of the process. */
		if (!is_socket)
			assert_int_equal(got.p[got.n - 1], '\n');
		r = output_stdout.write(o, records + done, RECORDS - done, &e);
		assert_true(r > 0 || r == ERR_CANCELLED);
		done += r > 0 ? (size_t)r : 0;
	}
	read_all(reader, &got);
	assert_true(str_eq(buf_view(&got), buf_view(&expected)));
	output_stdout.close(o);
	close(reader);
	close(writer);
	buf_fini(&got);
	buf_fini(&expected);
}

static void test_stalled_pipe(void **state)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	check_stalled(ends[0], ends[1], false);
}

static void test_stalled_socket(void **state)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	check_stalled(ends[0], ends[1], true);
}

/* One record that is larger than what the pipe holds. */
static void test_large_record(void **state)
{
	size_t n = 1 << 20;
	char *text = xmalloc(n + 1);
	struct output_record r, other = record(9, "other");
	struct buf got = {0};
	struct stdout_output *o;
	int ends[2], result = ERR_CANCELLED;

	memset(text, 'x', n);
	text[n] = 0;
	r = record(7, text);
	assert_int_equal(pipe(ends), 0);
	o = open_on(ends[1]);
	is_ending = true;
	while (result == ERR_CANCELLED) {
		result = output_stdout.write(o, &r, 1, NULL);
		read_all(ends[0], &got);
	}
	assert_int_equal(result, 1);
	assert_int_equal(got.n, n + 2);
	/* Begun, and then rewound to another one: that is written whole. */
	assert_int_equal(output_stdout.write(o, &r, 1, NULL), ERR_CANCELLED);
	read_all(ends[0], &got);
	buf_clear(&got);
	assert_int_equal(output_stdout.write(o, &other, 1, NULL), 1);
	read_all(ends[0], &got);
	assert_string_equal(buf_cstr(&got), "other|\n");
	output_stdout.close(o);
	close(ends[0]);
	close(ends[1]);
	buf_fini(&got);
	free(text);
}

static void test_reader_gone(void **state)
{
	struct output_record r = record(1, "x");
	struct stdout_output *o;
	struct error e = {0};
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	o = open_on(ends[1]);
	close(ends[0]);
	assert_int_equal(output_stdout.write(o, &r, 1, &e), ERR_IO);
	assert_string_equal(e.text, "stderr: write: Broken pipe");
	output_stdout.close(o);
	/* And when it was gone before. */
	o = open_on(ends[1]);
	assert_int_equal(output_stdout.write(o, &r, 1, &e), ERR_IO);
	output_stdout.close(o);
	close(ends[1]);
}

/* Others who share the file go on behind what was written. */
static void test_file(void **state)
{
	struct output_record r = record(1, "ours");
	struct buf got = {0};
	struct stdout_output *o;
	FILE *f = tmpfile();

	assert_non_null(f);
	assert_int_equal(write(fileno(f), "before\n", 7), 7);
	o = open_on(fileno(f));
	assert_int_equal(output_stdout.write(o, &r, 1, NULL), 1);
	assert_int_equal(write(fileno(f), "behind\n", 7), 7);
	assert_int_equal(lseek(fileno(f), 0, SEEK_SET), 0);
	read_all(fileno(f), &got);
	assert_string_equal(buf_cstr(&got), "before\nours|\nbehind\n");
	output_stdout.close(o);
	fclose(f);
	buf_fini(&got);
}

/* What the process says of itself goes as far as it goes. */
static void test_print(void **state)
{
	size_t n = 1 << 20;
	char *text = xmalloc(n);
	struct buf got = {0};
	int ends[2];

	memset(text, 'x', n);
	assert_int_equal(pipe(ends), 0);
	stream_print(ends[1], STR("hello\n"), 0);
	read_all(ends[0], &got);
	assert_string_equal(buf_cstr(&got), "hello\n");
	stream_print(ends[1], str_make(text, n), 0);
	read_all(ends[0], &got);
	assert_true(got.n > 4096 && got.n < n);
	/* Lines are not cut. */
	for (size_t i = 50; i < n; i += 51)
		text[i] = '\n';
	buf_clear(&got);
	stream_print(ends[1], str_make(text, n), 0);
	read_all(ends[0], &got);
	assert_true(got.n > 4096 && got.n < n && got.n % 51 == 0);
	close(ends[0]);
	stream_print(ends[1], STR("nobody"), 0);
	close(ends[1]);
	stream_print(ends[1], STR("closed"), 0);
	buf_fini(&got);
	free(text);
}

static void test_settings(void **state)
{
	struct stdout_settings s = {.line = {.format = "%(message"}};
	struct output_env env = {.name = "x", .ending = ending};
	struct error e = {0};
	void *o = NULL;

	assert_int_equal(output_stdout.check(&s, &e), ERR_ARG);
	assert_string_equal(e.text, "format: column 1: incomplete format key");
	assert_int_equal(output_stdout.open(&o, &s, &env, STR_NONE, &e), ERR_ARG);
	s.line.format = NULL;
	assert_int_equal(output_stdout.check(&s, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_stalled_pipe),
		cmocka_unit_test(test_stalled_socket),
		cmocka_unit_test(test_large_record),
		cmocka_unit_test(test_reader_gone),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_settings),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
