/* SPDX-License-Identifier: Apache-2.0 */
#include "input/stdin_reader.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/memory.h"

struct stdin_reader {
	/* Fixed after start: both threads. */
	struct loop *loop;
	stdin_reader_told *told;
	void *arg;
	int wake; /* eventfd: ends a wait for bytes */
	pthread_t thread;
	/* Loop only. */
	bool asked;
	/* The reader's while `asked`, else the loop's: handed over by `lock` and the loop's
	 * queue. */
	char *room;
	size_t room_n;
	int patience_ms;
	ssize_t n;
	int number;
	/* Under `lock`. */
	struct lock lock;
	struct cond changed;
	bool want, quit;
};

static void read_chunk(struct stdin_reader *r)
{
	struct pollfd fds[2] = {
		{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = r->wake, .events = POLLIN}};
	ssize_t n = -1;

	errno = EINTR;
	while (n < 0 && (errno == EINTR || errno == EAGAIN)) {
		int ready = poll(fds, 2, r->patience_ms);

		if (ready < 0)
			continue;
		if (ready == 0) {
			errno = ETIMEDOUT;
			break;
		}
		if (fds[1].revents && !fds[0].revents) {
			errno = ECANCELED;
			break;
		}
		n = read(STDIN_FILENO, r->room, r->room_n);
	}
	r->n = n;
	r->number = n < 0 ? errno : 0;
}

static void on_chunk(void *arg)
{
	struct stdin_reader *r = arg;

	r->asked = false;
	r->told(r->arg, r->n, r->number);
}

static void *reader(void *arg)
{
	struct stdin_reader *r = arg;

	lock_take(&r->lock);
	while (!r->quit) {
		if (!r->want) {
			cond_wait(&r->changed, &r->lock);
			continue;
		}
		r->want = false;
		lock_drop(&r->lock);
		read_chunk(r);
		loop_post(r->loop, on_chunk, r);
		lock_take(&r->lock);
	}
	lock_drop(&r->lock);
	return NULL;
}

int stdin_reader_new(struct stdin_reader **out, const char *name, struct loop *l,
	stdin_reader_told *told, void *arg, struct error *e)
{
	int wake = eventfd(0, EFD_CLOEXEC);
	struct stdin_reader *r;

	if (wake < 0)
		return error_errno(e, errno, "eventfd");
	r = xcalloc(1, sizeof *r);
	r->loop = l;
	r->told = told;
	r->arg = arg;
	r->wake = wake;
	lock_init(&r->lock);
	cond_init(&r->changed);
	r->thread = thread_start(name, reader, r);
	*out = r;
	return 0;
}

void stdin_reader_free(struct stdin_reader *r)
{
	if (!r)
		return;
	assert(!r->asked);
	lock_take(&r->lock);
	r->quit = true;
	cond_signal(&r->changed);
	lock_drop(&r->lock);
	pthread_join(r->thread, NULL);
	lock_fini(&r->lock);
	cond_fini(&r->changed);
	close(r->wake);
	free(r);
}

void stdin_reader_ask(struct stdin_reader *r, char *room, size_t n, int patience_ms)
{
	assert(!r->asked);
	r->asked = true;
	r->room = room;
	r->room_n = n;
	r->patience_ms = patience_ms;
	lock_take(&r->lock);
	r->want = true;
	cond_signal(&r->changed);
	lock_drop(&r->lock);
}

bool stdin_reader_asked(const struct stdin_reader *r)
{
	return r->asked;
}

void stdin_reader_cancel(struct stdin_reader *r)
{
	uint64_t one = 1;

	if (write(r->wake, &one, sizeof one) < 0)
		assert(!"an eventfd takes 1");
}
