/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Buffers of servers that are no longer in the zone: what was acknowledged for
 * them goes to the servers that are, divided anew, and the folder goes.  A
 * thread of its own, as long as there are any.
 * Thread rule: one thread opens, ends and closes.
 */
#include "os/fs.h"
#include "record/sink.h"

struct leftover;

/* Looks for folders in `dir` beside those of `keep` (names), and submits what they hold to the
 * sink, which is borrowed.  *out is NULL when there are none. */
int leftover_open(struct leftover **out, struct fs *fs, const char *dir, const struct buf *keep,
	size_t n_keep, struct sink *sink, struct error *e);
/* Begin nothing new. */
void leftover_end(struct leftover *l);
/* After the sink has told of all that it took.  NULL is fine. */
void leftover_close(struct leftover *l);
