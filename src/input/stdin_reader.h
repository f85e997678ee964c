/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Reads the standard input, whatever it is, on a thread of its own, as a
 * regular file cannot be polled: one chunk at a time and only when asked, so
 * the loop never waits and a slow sink stops the reading.
 *
 *   stdin_reader_ask(r, room, n, -1);   ... told(arg, got, 0) on the loop
 *
 * Loop's thread alone.
 */
#include <sys/types.h>

#include "loop/loop.h"

struct stdin_reader;
/* What came of an ask: n bytes, 0 at the end, or -1 with an errno: ETIMEDOUT after so long without
 * bytes, ECANCELED. */
typedef void stdin_reader_told(void *arg, ssize_t n, int number);

/* `name` of the thread.  ERR_IO. */
int stdin_reader_new(struct stdin_reader **out, const char *name, struct loop *l,
	stdin_reader_told *told, void *arg, struct error *e);
/* Not while one is asked.  NULL is fine. */
void stdin_reader_free(struct stdin_reader *r);
/* Read up to n bytes into room, which is the reader's until `told`; wait for them at most
 * `patience_ms`, -1: for ever. */
void stdin_reader_ask(struct stdin_reader *r, char *room, size_t n, int patience_ms);
bool stdin_reader_asked(const struct stdin_reader *r); /* and not told yet */
/* End the wait: what is there already comes all the same, else ECANCELED. */
void stdin_reader_cancel(struct stdin_reader *r);
