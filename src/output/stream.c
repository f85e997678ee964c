/* SPDX-License-Identifier: Apache-2.0 */
#include "output/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int stream_open(struct stream *s, int fd, struct error *e)
{
	char path[32];
	struct stat st;

	s->fd = -1;
	if (fstat(fd, &st) < 0)
		return error_errno(e, errno, "descriptor %d", fd);
	s->is_socket = S_ISSOCK(st.st_mode);
	s->most = S_ISREG(st.st_mode) ? SIZE_MAX : PIPE_BUF;
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		s->fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	/* If that is not allowed, or a pipe that nobody reads: as it is.  Where poll sees room,
	 * there is room for PIPE_BUF bytes. */
	if (s->fd < 0)
		s->fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	return s->fd < 0 ? error_errno(e, errno, "descriptor %d", fd) : 0;
}

void stream_close(struct stream *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

ssize_t stream_write(const struct stream *s, struct str text, int ms, struct error *e)
{
	struct pollfd fd = {.fd = s->fd, .events = POLLOUT};
	ssize_t r;

	if (poll(&fd, 1, ms) <= 0)
		return 0;
	r = s->is_socket ? send(s->fd, text.p, text.n, MSG_DONTWAIT | MSG_NOSIGNAL)
			 : write(s->fd, text.p, text.n);
	if (r >= 0 || errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
		return r < 0 ? 0 : r;
	return error_errno(e, errno, "write");
}

/* Whole lines that are written all or not at all, or as much as goes of a longer one. */
static struct str lines(const struct stream *s, struct str text)
{
	struct str piece = str_sub(text, 0, s->most);
	size_t n = piece.n;

	if (n == text.n)
		return piece;
	while (n > 0 && piece.p[n - 1] != '\n')
		n--;
	return n ? str_sub(piece, 0, n) : piece;
}

void stream_print(int fd, struct str text, int ms)
{
	struct stream s;
	ssize_t n = 1;

	if (stream_open(&s, fd, NULL) < 0)
		return;
	while (text.n && n > 0) {
		n = stream_write(&s, lines(&s, text), ms, NULL);
		if (n > 0)
			text = str_sub(text, (size_t)n, text.n);
	}
	stream_close(&s);
}
