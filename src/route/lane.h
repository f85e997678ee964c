/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The way to one server: batches go there one at a time and in order, straight
 * from memory, or while that does not go well through a buffer on disk.
 *
 *   submit ──► queue ──sender──────────────────────► server
 *                │                        ▲
 *                └──spiller──► spool ──sender
 *
 * Whatever is in the buffer goes first: so the order holds.  A batch may be
 * in the hands of both at the same moment; its sources make that harmless.
 * Thread rule: lane_add from any thread; open and close from one.
 */
#include "forward/servers.h"
#include "record/sink.h"
#include "os/fs.h"

struct lane;

struct lane_options {
	struct servers_options server; /* the one URL */
	const char *zone;
	struct fs *fs;
	const char *dir; /* of its buffer */
	struct account *account;
	uint64_t memory; /* bytes under way beyond which the buffer is used */
	uint64_t buffer;
	int64_t spill_after_ns;
};

struct lane_stats {
	uint64_t batches, records, duplicates, bytes, retries, spilled_batches, refused_records;
	uint64_t queued_bytes, buffer_bytes, buffer_batches, damaged_bytes;
	bool connected;
	int64_t failing_ns; /* for how long it has not taken anything; 0: it does */
	struct error last_error;
};

int lane_open(struct lane **out, const struct lane_options *o, struct error *e);
/* Is there room for so many bytes?  ERR_FULL, ERR_BUSY, ERR_CLOSED. */
int lane_room(struct lane *l, uint64_t bytes, struct error *e);
/* Takes the reference, whatever room there is; done(arg, result) once, on a thread of the lane's.
 * False after lane_end: not taken. */
bool lane_add(struct lane *l, struct batch *b, sink_done *done, void *arg);
/* The number of records of this lane's that came before, for sources of the router's own. */
uint64_t lane_number(struct lane *l, uint64_t n);
void lane_hurry(struct lane *l);
/* Take no more. */
void lane_end(struct lane *l);
/* Wait until `until_mono_ns` for what is under way, give up the rest with ERR_CLOSED, free. */
void lane_close(struct lane *l, int64_t until_mono_ns);
void lane_stats(struct lane *l, struct lane_stats *out); /* any thread */
const char *lane_url(const struct lane *l);
