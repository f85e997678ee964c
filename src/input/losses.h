/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a listening address loses and refuses, told: counted, logged now and
 * then, and for datagrams that the kernel dropped by a record a second.
 * Input's loop alone.
 */
#include "input/outlet.h"
#include "net/listener.h"

struct losses {
	/* Fixed; borrowed. */
	const struct input_env *env;
	const char *input, *address;
	uint64_t receive_buffer;
	bool datagrams;
	/* Datagrams not told by a record yet, and when they were lost. */
	uint64_t n;
	int64_t from_ns, to_ns;
	uint64_t n_refused;
	int64_t said_ns; /* the last warning */
};

void losses_add(struct losses *l, uint64_t n); /* datagrams, in the kernel */
/* Tell of them by a record of the stream `values`, when there are any. */
void losses_tell(struct losses *l, struct outlet *o, const struct str values[]);
/* Count n records that did not get in. */
void losses_count(struct losses *l, const char *reason, uint64_t n);
/* "<peer> <what>", in the log, at most once in 10 s. */
void losses_warn(struct losses *l, const char *what, const char *peer);
void losses_warn_refused(struct losses *l, const char *why, const char *peer);
/* For listener_events.refused. */
void losses_refused(struct losses *l, const struct refusal *r);
