/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>

#include "forward/pipe.c"

/* The other side of a link, which reads and answers as a test says. */
struct peer {
	struct pipe_link *link;
	int to[2], from[2]; /* answers to it, frames from it */
	_Atomic unsigned n_gone;
};

static void on_gone(void *arg)
{
	((struct peer *)arg)->n_gone++;
}

static void peer_open(struct peer *p)
{
	char greeting[sizeof FRAME_GREETING - 1];
	struct error e;

	*p = (struct peer){0};
	assert_int_equal(pipe2(p->to, O_CLOEXEC), 0);
	assert_int_equal(pipe2(p->from, O_CLOEXEC), 0);
	assert_int_equal(pipe_open(&p->link, p->to[0], p->from[1], on_gone, p, &e), 0);
	assert_int_equal(read(p->from[0], greeting, sizeof greeting), sizeof greeting);
	assert_memory_equal(greeting, FRAME_GREETING, sizeof greeting);
}

static void peer_close(struct peer *p)
{
	pipe_close(p->link);
	assert_int_equal(p->n_gone, 1);
	for (int i = 0; i < 2; i++) {
		close(p->to[i]);
		close(p->from[i]);
	}
}

static void say(struct peer *p, const char *text)
{
	assert_int_equal(write(p->to[1], text, strlen(text)), strlen(text));
}

/* What was said has been read: not by sleeping, but by a look at the link. */
static void wait_answer(struct peer *p)
{
	bool there = false;

	for (int i = 0; i < 5000 && !there; i++) {
		lock_take(&p->link->lock);
		there = p->link->has_answer;
		lock_drop(&p->link->lock);
		usleep(1000);
	}
	assert_true(there);
}

static void *answer_frame(void *arg)
{
	struct peer *p = arg;
	char prefix[FRAME_PREFIX], frame[5];
	size_t length;
	unsigned flags;

	assert_int_equal(read(p->from[0], prefix, sizeof prefix), sizeof prefix);
	assert_int_equal(frame_prefix_read(prefix, &length, &flags, NULL), 0);
	assert_int_equal(length, sizeof frame);
	assert_int_equal(flags, FRAME_ELSEWHERE);
	assert_int_equal(read(p->from[0], frame, sizeof frame), sizeof frame);
	assert_memory_equal(frame, "frame", sizeof frame);
	say(p, "200 {\"committed\":1}\n");
	return NULL;
}

static void test_answer(void **state)
{
	struct http_answer answer;
	struct peer p;
	struct error e;
	pthread_t other;

	(void)state;
	peer_open(&p);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pthread_create(&other, NULL, answer_frame, &p), 0);
		assert_int_equal(pipe_post(p.link, STR("frame"), true, &answer, &e), 0);
		pthread_join(other, NULL);
		assert_int_equal(answer.status, 200);
		assert_string_equal(buf_cstr(&answer.body), "{\"committed\":1}");
		http_answer_fini(&answer);
	}
	peer_close(&p);
}

/* It would acknowledge what nobody has. */
static void test_answer_to_nothing(void **state)
{
	struct http_answer answer;
	struct peer p;
	struct error e;

	(void)state;
	peer_open(&p);
	say(&p, "200 {\"committed\":1}\n");
	wait_answer(&p);
	assert_int_equal(pipe_post(p.link, STR("frame"), false, &answer, &e), ERR_NET);
	assert_non_null(strstr(e.text, "without being asked"));
	http_answer_fini(&answer);
	/* Nothing follows on this link. */
	assert_true(pipe_post(p.link, STR("frame"), false, &answer, &e) < 0);
	http_answer_fini(&answer);
	peer_close(&p);
}

static void *say_nonsense(void *arg)
{
	char frame[FRAME_PREFIX + 5];
	struct peer *p = arg;
	size_t n = 0;

	while (n < sizeof frame)
		n += (size_t)read(p->from[0], frame + n, sizeof frame - n);
	say(p, "Last login: today\n");
	return NULL;
}

static void test_nonsense(void **state)
{
	struct http_answer answer;
	struct peer p;
	struct error e;
	pthread_t other;

	(void)state;
	peer_open(&p);
	assert_int_equal(pthread_create(&other, NULL, say_nonsense, &p), 0);
	assert_int_equal(pipe_post(p.link, STR("frame"), false, &answer, &e), ERR_NET);
	pthread_join(other, NULL);
	http_answer_fini(&answer);
	peer_close(&p);
}

/* A line without an end ends the link, not the memory. */
static void test_endless_line(void **state)
{
	struct http_answer answer;
	char text[4096];
	struct peer p;
	struct error e;

	(void)state;
	peer_open(&p);
	memset(text, 'x', sizeof text);
	for (size_t n = 0; n <= ANSWER_MAX; n += sizeof text)
		assert_int_equal(write(p.to[1], text, sizeof text), sizeof text);
	for (int i = 0; i < 5000 && p.n_gone == 0; i++)
		usleep(1000);
	assert_int_equal(p.n_gone, 1);
	assert_int_equal(pipe_post(p.link, STR("frame"), false, &answer, &e), ERR_CLOSED);
	http_answer_fini(&answer);
	peer_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_answer_to_nothing),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_endless_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
