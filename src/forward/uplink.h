/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The uplink: a sink that sends batches to a server's POST /api/v1/forward,
 * one at a time and in order, on a thread of its own.
 *
 * A transient refusal (no connection, 429, 5xx; and 401, 403, 404, which somebody will put right
 * at the server and which say nothing about the records) is retried for ever with
 * jittered backoff: done is called only when the batch is durable there, or
 * never will be (ERR_ARG, ERR_LIMIT, ERR_DENIED, ERR_GAP with the mark), or
 * ERR_CLOSED at uplink_close.
 */
#include "proto/frame.h"
#include "record/sink.h"

struct uplink;

struct uplink_options {
	const char *url;
	const char *tenant; /* NULL: none */
	const char *token;  /* NULL: none */
	enum frame_packing packing;
	struct account *account;
	uint64_t max_queued_bytes; /* ERR_BUSY beyond */
};

struct uplink_stats {
	uint64_t batches, records, duplicates, bytes, retries;
	uint64_t raw_bytes; /* of the lines of acknowledged records; `bytes` went over the wire */
	uint64_t given_up;  /* batches that ended with ERR_CLOSED */
	bool connected;
	struct error last_error; /* why not, or what was refused last */
};

int uplink_open(struct uplink **out, const struct uplink_options *o, struct error *e);
struct sink *uplink_sink(struct uplink *u);
void uplink_stats(struct uplink *u, struct uplink_stats *out); /* any thread */
/* Give up what waits with ERR_CLOSED now, and refuse what comes: the sink itself stays until
 * uplink_close. */
void uplink_abort(struct uplink *u);
/* Wait up to `ms` for what is queued, then give up the rest with ERR_CLOSED.  Frees. */
void uplink_close(struct uplink *u, unsigned ms);
