/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Outlets: batches that are being built by an input that is sent messages and
 * cannot ask for them again (syslog, python, zeromq), one for each tenant,
 * with the streams in them remembered, and the courier that takes them away.
 *
 *   if (!outlets_room(o))       paused; `room` tells when to go on
 *           return;
 *   outlet = outlets_of(o, tenant);
 *   st = outlet_stream(outlet, values);
 *   outlet_add(outlet, st, &record);
 *   outlets_flush_if_idle(o);   when a burst is over: nothing waits for more
 *
 * Each outlet is a POSITION_MARK source of its own, so that a batch which is
 * sent again after a failure is stored once.  Input's loop alone.
 */
#include "input/courier.h"

enum { OUTLET_KEYS_MAX = 4 };

struct outlets;
struct outlet; /* of a tenant */
struct outlet_stream;

struct outlets_options {
	const struct input_env *env;
	const char *input; /* the kind's name: its label `input`, and prefix of source ids */
	/* Label names whose values tell streams apart, in the order of outlet_stream's values. */
	const char *keys[OUTLET_KEYS_MAX];
	size_t n_keys;
	const struct string_map *labels; /* of the settings: win over the keys'; may be NULL */
	uint64_t reserve; /* bytes charged for what is being built; less with a small account */
	/* No more room: read no more, until room(arg). */
	void (*paused)(void *arg);
	void (*room)(void *arg);
	void *arg;
};

struct outlets *outlets_new(const struct outlets_options *o);
void outlets_free(struct outlets *o); /* after outlets_stop said so, or when nothing was added */
/* Is there room for one more message?  Else `paused` has been called.  What is here already may be
 * added all the same, if the next is made to wait. */
bool outlets_room(struct outlets *o);
/* The outlet of a tenant; empty: the input's own.  Valid until the next outlets_room or _flush. */
struct outlet *outlets_of(struct outlets *o, struct str tenant);
/* By the values of the keys; an empty value is no label.  Valid as long as the outlet, and until
 * the next outlet_stream of it. */
struct outlet_stream *outlet_stream(struct outlet *o, const struct str values[]);
/* By labels that a message tells itself, canonical: those of the settings win, nothing else is
 * added.  NULL: they are more than a stream may have, with those of the settings. */
struct outlet_stream *outlet_stream_told(struct outlet *o, struct str labels);
struct str outlet_stream_labels(const struct outlet_stream *st); /* canonical; valid as `st` */
/* Copies.  source, position and stream of the record are set here.  What no batch has room for is
 * counted as dropped, reason "limit". */
void outlet_add(struct outlet *o, struct outlet_stream *st, struct record *r);
/* fn(arg, true) once all that was added to the outlet is durable, or false when the input stopped
 * before: at once, or later on the loop. */
typedef void outlet_told(void *arg, bool durable);
void outlet_tell(struct outlet *o, outlet_told *fn, void *arg);
void outlets_flush(struct outlets *o);
void outlets_flush_if_idle(struct outlets *o);
uint64_t outlets_records(const struct outlets *o); /* taken so far */
/* Send what is built; stopped(arg) is called, later, when all is acknowledged or given up. */
void outlets_stop(struct outlets *o, loop_fn *stopped, void *arg);
void outlets_dump(const struct outlets *o, struct buf *out);
