/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The uplink: a sink that sends batches to a server's POST /api/v1/forward,
 * or as frames through a pipe, one at a time and in order, on a thread of its
 * own.
 *
 * A transient refusal (no connection, 429, 5xx; and 401, 403, 404, which somebody will put right
 * at the server and which say nothing about the records) is retried for ever with
 * jittered backoff: done is called only when the batch is durable there, or
 * never will be (ERR_ARG, ERR_LIMIT, ERR_DENIED, ERR_GAP with the mark), or
 * ERR_CLOSED at uplink_close.
 *
 * With several servers one is used at a time (servers.h tells when another one is).  Each record
 * is acknowledged by one of them, and no server stores it twice.  A batch that is under way when
 * its server is left may be stored there and at the next one too: both copies have the same
 * source and position.  A server that is come to in the middle of a source has less than the
 * batch's `from`; as what is missing is known to be at another server, it is told so and its mark
 * jumps (known.h).  What a server lost that it had acknowledged in the life of this process is
 * sent again; what it lost before cannot be told from what is elsewhere.
 */
#include "forward/servers.h"
#include "record/sink.h"

struct uplink;

enum uplink_packing { UPLINK_AUTO, UPLINK_PLAIN, UPLINK_LZ4, UPLINK_ZSTD };

struct uplink_options {
	struct servers_options servers;
	/* Instead of servers: frames on descriptor 1, answers on descriptor 0. */
	bool stdio;
	void (*gone)(void *arg); /* with stdio: the other side went; any thread */
	void *gone_arg;
	enum uplink_packing packing; /* auto: plain on this machine, else zstd */
	struct account *account;
	uint64_t max_queued_bytes; /* ERR_BUSY beyond */
};

struct uplink_stats {
	uint64_t batches, records, duplicates, bytes, retries;
	uint64_t raw_bytes; /* of the lines of acknowledged records; `bytes` went over the wire */
	uint64_t given_up;  /* batches that ended with ERR_CLOSED */
	bool connected;
	char url[200];           /* of the server in use */
	size_t n_changes;        /* of it */
	struct error last_error; /* why not, or what was refused last */
};

int uplink_open(struct uplink **out, const struct uplink_options *o, struct error *e);
/* Any thread: use these servers from the next try on; what waits goes to them.  ERR_ARG with the
 * setting at fault: then nothing changes. */
int uplink_set_servers(struct uplink *u, const struct servers_options *o,
	enum uplink_packing packing, struct error *e);
struct sink *uplink_sink(struct uplink *u);
void uplink_stats(struct uplink *u, struct uplink_stats *out); /* any thread */
/* Give up what waits with ERR_CLOSED now, and refuse what comes: the sink itself stays until
 * uplink_close. */
void uplink_abort(struct uplink *u);
/* Wait up to `ms` for what is queued, then give up the rest with ERR_CLOSED.  Frees. */
void uplink_close(struct uplink *u, unsigned ms);
