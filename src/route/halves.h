/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Batches that were acknowledged to their senders before a server refuses them
 * for good: nobody else is there to find the record at fault, so it is looked
 * for by halves, and that one alone is lost.
 * Any thread; one calls another's callbacks on its own.
 */
#include "record/sink.h"

struct halves {
	/* Send it until it is settled.  False: it is not to be tried any more. */
	bool (*deliver)(void *arg, struct batch *b, struct sink_result *result);
	/* A batch of one record is refused. */
	void (*refused)(void *arg, const struct batch *b, const struct error *why);
	void *arg;
};

/* False: `deliver` said so. */
bool halves_deliver(const struct halves *h, struct batch *b);
/* For `refused`: log that the record is lost, and count it.  `where` is who refuses it. */
void halves_tell_lost(const char *where, const struct batch *b, const struct error *why);
