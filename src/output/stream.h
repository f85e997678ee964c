/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Standard output and standard error, written without ever blocking: whoever
 * reads them may have stopped, and the process must run and end all the same.
 *
 * Terminals and pipes are opened a second time without blocking: O_NONBLOCK on
 * the descriptor we were given would hold for all who share it, a shell too.
 * Sockets have a flag for it, and regular files do not block.
 * Thread rule: a stream belongs to one thread; several may be open on one descriptor.
 */
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"

struct stream {
	int fd; /* our own; -1: not open */
	bool is_socket;
	size_t most; /* bytes that are written all or not at all (PIPE_BUF); SIZE_MAX for files */
};

/* A stream of what the descriptor `fd` is.  ERR_IO. */
int stream_open(struct stream *s, int fd, struct error *e);
void stream_close(struct stream *s);
/* Write what goes within `ms`: > 0 bytes, 0 when none went, or an error. */
ssize_t stream_write(const struct stream *s, struct str text, int ms, struct error *e);
/* Print on the descriptor what it takes, waiting at most `ms` for each piece.  Any thread. */
void stream_print(int fd, struct str text, int ms);
