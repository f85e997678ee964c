/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A child process with pipes, in a session and process group of its own, that
 * inherits nothing of ours but them.  It gets SIGTERM should the thread that
 * began it end.
 *
 * Until child_close its number belongs to it, dead or not: signals cannot go
 * to anybody else.  One thread.
 */
#include <sys/types.h>

#include "conf/option.h"

struct child_options {
	const char *const *argv;      /* the first is looked for in PATH; NULL-terminated */
	const struct string_map *env; /* besides ours */
	const char *cwd;              /* NULL: ours */
	bool stdin_pipe;              /* else it reads /dev/null */
	bool merge;                   /* its standard error is its standard output */
};

struct child {
	pid_t pid;
	int exit_fd;      /* readable once it has ended */
	int in, out, err; /* our ends, non-blocking; -1: none */
};

/* ERR_NOT_FOUND, ERR_DENIED, ERR_IO when the command cannot be run, with its name. */
int child_start(struct child *c, const struct child_options *o, struct error *e);
/* To all processes of its group. */
void child_signal(const struct child *c, int number);
/* Has it ended, and how: an exit code, or minus the number of the signal. */
bool child_ended(const struct child *c, int *result);
/* What is left of its group gets SIGKILL; the pipes are closed.  The child must have ended, or is
 * killed and waited for. */
void child_close(struct child *c);
