/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Records that the program writes of itself, which are stored and delivered as
 * any other: {app=<logger>, logger=<logger>, input=<input>}, of the tenant `default`.
 * Thread rule: main thread, but for what the committer counts down under `lock`.
 */
#include "base/lock.h"
#include "record/discover.h"
#include "record/sink.h"

struct own_records {
	struct sink *sink; /* borrowed */
	struct lock lock;
	struct cond committed;
	unsigned n_open; /* batches that are not committed yet; under `lock` */
};

void own_records_init(struct own_records *o, struct sink *sink);
/* Submit one line, of now.  A failure is logged: nobody waits for it. */
void own_records_say(struct own_records *o, const struct discover *d, const char *input,
	const char *logger, uint8_t severity, struct str line);
/* Wait until all that was said is committed, for at most `ms`. */
void own_records_wait(struct own_records *o, unsigned ms);
