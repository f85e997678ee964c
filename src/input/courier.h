/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A courier carries an input's batches to its sink, in order, until each is
 * durable: it waits when the sink is busy, sends again after transient
 * failures, halves a batch that is refused for good down to the record at
 * fault, and puts that one aside in <state_dir>/quarantine with a gap record
 * in its place.
 *
 * All on the input's loop; the sink's `done` is posted there.
 */
#include "input/input.h"

struct courier;

enum { COURIER_FLOOR = 256 << 10 /* bytes that are always to be had */ };

struct courier_events {
	/* The records of b are durable: move positions up to its sources' `to`. */
	void (*acked)(void *arg, const struct batch *b, const struct sink_result *result);
	/* The server has less of a POSITION_MARK source than was sent: it is at `mark`.  True:
	 * will read again from there, what waits of the source is dropped.  False (or NULL):
	 * cannot, go on behind the missing bytes. */
	bool (*gap)(void *arg, struct str source, uint64_t mark);
	/* Something was done or a pause is over: see whether to read on.  May be NULL. */
	void (*room)(void *arg);
	/* What is not stored when it stops is read again later; else that is lost, counted and
	 * told. */
	bool rereads;
};

/* `env` and `input` (the kind's name) are borrowed. */
struct courier *courier_new(const struct input_env *env, const char *input,
	const struct courier_events *events, void *arg);
/* After courier_stop said so, or when nothing was ever sent. */
void courier_free(struct courier *c);
/* Nothing is under way: whatever was read should go now. */
bool courier_idle(const struct courier *c);
/* False while enough is under way or a pause is on: read no more, `room` follows. */
bool courier_ready(const struct courier *c);
/* Charge bytes for a batch that is about to be built, by an input that has none charged: `most`,
 * or less when memory is scarce and nothing is under way.  Returns how many; 0 when the ceiling is
 * reached, `room` follows.  An input with nothing under way gets COURIER_FLOOR after a second
 * though the ceiling be passed, see courier.c. */
uint64_t courier_reserve(struct courier *c, uint64_t most);
/* At how many bytes a batch that is built on that reserve should go. */
size_t courier_target(uint64_t reserved);
void courier_unreserve(struct courier *c, uint64_t n);
/* Take a batch; `reserved` bytes were charged for it and are settled. */
void courier_send(struct courier *c, struct batch *b, uint64_t reserved);
/* No more batches come.  stopped(arg) is called, later, once all are acknowledged or the sink
 * will not have them now. */
void courier_stop(struct courier *c, loop_fn *stopped, void *arg);
void courier_dump(const struct courier *c, struct buf *out);
