/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What every thread of the process is doing: its name and its stack, for
 * SIGUSR1 and whoever must find out why something hangs.
 *
 * Each thread is asked by a signal (SIGURG, which is ignored elsewhere) and
 * writes down its own stack; one that does not answer in time is told of as the
 * kernel sees it, so that a dump ends whatever the others do.  Threads of
 * libraries that take no signals are such ones.
 */
#include "base/buf.h"

/* Before the first thread: what a signal handler must not do for the first time is done here. */
void stacks_init(void);
/* Append a line for each thread and its frames, innermost first.  Any thread; one at a time does
 * it, and others wait.  About 2 s at most. */
void stacks_dump(struct buf *out);
