/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  A thread reads answers, so that a peer that goes is noticed while
 * nothing is under way.  Writing waits with poll for room and for the bell,
 * in pieces that fit what poll promises: the descriptors are shared with
 * whoever made them, and are not made non-blocking behind his back.
 */
#include "forward/pipe.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/lock.h"

enum { ANSWER_MAX = 64 << 10 };

struct pipe_link {
	/* Fixed. */
	int in, out;
	int bell; /* eventfd: rung at the end, stays readable */
	void (*gone)(void *arg);
	void *arg;
	pthread_t reader;
	/* Under lock. */
	struct lock lock;
	struct cond changed;
	struct buf answer; /* a whole line, without its newline */
	bool has_answer, ended, cancelled;
};

/* Wait for `fd`; false when the bell rang. */
static bool wait_for(struct pipe_link *p, int fd, short events)
{
	struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = p->bell, .events = POLLIN}};

	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	return !fds[1].revents;
}

static void put_line(struct pipe_link *p, struct str line)
{
	lock_take(&p->lock);
	buf_clear(&p->answer);
	buf_str(&p->answer, line);
	p->has_answer = true;
	cond_broadcast(&p->changed);
	lock_drop(&p->lock);
}

static void *reader(void *arg)
{
	struct pipe_link *p = arg;
	struct buf held = {0};
	char chunk[4096];
	ptrdiff_t end;
	ssize_t n;

	while (wait_for(p, p->in, POLLIN)) {
		n = read(p->in, chunk, sizeof chunk);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0 || held.n + (size_t)n > ANSWER_MAX)
			break;
		buf_put(&held, chunk, (size_t)n);
		while ((end = str_chr(buf_view(&held), '\n')) >= 0) {
			put_line(p, str_sub(buf_view(&held), 0, (size_t)end));
			buf_shift(&held, (size_t)end + 1);
		}
	}
	buf_fini(&held);
	lock_take(&p->lock);
	p->ended = true;
	cond_broadcast(&p->changed);
	lock_drop(&p->lock);
	if (p->gone)
		p->gone(p->arg);
	return NULL;
}

static int write_all(struct pipe_link *p, struct str bytes, struct error *e)
{
	while (bytes.n) {
		ssize_t n;

		if (!wait_for(p, p->out, POLLOUT))
			return error_set(e, ERR_CANCELLED, "cancelled");
		/* As much as a pipe that is ready surely takes. */
		n = write(p->out, bytes.p, bytes.n < PIPE_BUF ? bytes.n : PIPE_BUF);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return error_set(
				e, ERR_CLOSED, "the other side has gone: %s", strerror(errno));
		bytes = str_sub(bytes, (size_t)n, bytes.n);
	}
	return 0;
}

/* An answer to nothing must not become that of the next frame, which would be taken for stored. */
static int check_unasked(struct pipe_link *p, struct error *e)
{
	int r = 0;

	lock_take(&p->lock);
	if (p->has_answer)
		r = error_set(e, ERR_NET, "the other side answers without being asked: %.*s",
			STR_ARG(str_sub(buf_view(&p->answer), 0, 100)));
	lock_drop(&p->lock);
	return r;
}

/* "<status> <JSON>" */
static int read_answer(struct pipe_link *p, struct http_answer *out, struct error *e)
{
	struct str body, status;
	uint64_t number;
	int r = 0;

	lock_take(&p->lock);
	while (!p->has_answer && !p->ended && !p->cancelled)
		cond_wait(&p->changed, &p->lock);
	body = buf_view(&p->answer);
	status = str_cut(&body, ' ');
	if (!p->has_answer)
		r = p->cancelled ? error_set(e, ERR_CANCELLED, "cancelled")
				 : error_set(e, ERR_CLOSED, "the other side has gone");
	else if (!str_u64(status, &number) || number < 100 || number > 599)
		r = error_set(e, ERR_NET, "the other side answers not as sawlog does: %.*s",
			STR_ARG(str_sub(buf_view(&p->answer), 0, 100)));
	else {
		out->status = (int)number;
		buf_str(&out->body, body);
	}
	p->has_answer = false;
	lock_drop(&p->lock);
	return r;
}

void pipe_cancel(struct pipe_link *p)
{
	uint64_t one = 1;

	lock_take(&p->lock);
	p->cancelled = true;
	cond_broadcast(&p->changed);
	lock_drop(&p->lock);
	if (write(p->bell, &one, sizeof one) < 0)
		return; /* full: it has rung */
}

int pipe_post(struct pipe_link *p, struct str frame, bool elsewhere, struct http_answer *out,
	struct error *e)
{
	char prefix[FRAME_PREFIX];
	int r;

	*out = (struct http_answer){0};
	frame_prefix_write(prefix, frame.n, elsewhere ? FRAME_ELSEWHERE : 0);
	if ((r = check_unasked(p, e)) < 0 ||
		(r = write_all(p, str_make(prefix, sizeof prefix), e)) < 0 ||
		(r = write_all(p, frame, e)) < 0 || (r = read_answer(p, out, e)) < 0)
		/* Half a frame, or answers that are none: nothing can follow on this pipe. */
		pipe_cancel(p);
	return r;
}

void pipe_close(struct pipe_link *p)
{
	if (!p)
		return;
	pipe_cancel(p);
	pthread_join(p->reader, NULL);
	close(p->bell);
	buf_fini(&p->answer);
	lock_fini(&p->lock);
	cond_fini(&p->changed);
	free(p);
}

int pipe_open(struct pipe_link **out, int in, int out_fd, void (*gone)(void *arg), void *arg,
	struct error *e)
{
	struct pipe_link *p = xcalloc(1, sizeof *p);
	int r;

	p->in = in;
	p->out = out_fd;
	p->gone = gone;
	p->arg = arg;
	p->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->bell < 0) {
		r = error_errno(e, errno, "eventfd");
		free(p);
		return r;
	}
	lock_init(&p->lock);
	cond_init(&p->changed);
	p->reader = thread_start("answers", reader, p);
	if ((r = write_all(p, STR(FRAME_GREETING), e)) < 0) {
		pipe_close(p);
		return r;
	}
	*out = p;
	return 0;
}
