/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A router: a sink that hands each stream's records to one of the servers of
 * its zone, and an acknowledgement back once they are durable there, or in the
 * router's own buffer while that server is away.
 *
 *   rendezvous  the server with the greatest hash of (server, stream): another
 *               server moves only the streams that it gets
 *   modulo      servers[big-endian integer of the app's id mod N], as
 *               Loggregator 2013; streams without app as rendezvous
 *
 * A server's buffer is a journal with a cursor (a store of its own under
 * <data>/route/<server>): begun when the server does not take records for
 * `spill_after`, or has more under way than memory allows; delivered in order
 * when it is back, and until it is empty everything for that server goes
 * through it, so that order is kept.  Full, it refuses (ERR_FULL): nothing is
 * dropped that was acknowledged.
 *
 * Any number of routers may feed the same servers: they share nothing.
 * Thread rule: submit from any thread; the rest from the main loop's.
 */
#include "conf/option.h"
#include "forward/uplink.h"
#include "record/sink.h"

enum { ROUTE_ZONES_MAX = 64, ROUTE_SERVERS_MAX = 64 };

enum route_scheme { ROUTE_RENDEZVOUS, ROUTE_MODULO };
enum route_key { ROUTE_BY_STREAM, ROUTE_BY_APP };

struct route_settings {             /* `route` of the configuration */
	const char *zone;           /* its own */
	struct string_groups zones; /* name: URLs of its servers */
	int scheme, by;
	uint64_t buffer; /* bytes on disk, for each server */
	int64_t spill_after;
	const char *token_file, *ca, *cert, *key;
};

struct router;

struct router_options {
	const struct route_settings *s; /* borrowed */
	struct fs *fs;
	struct clock *clock;
	struct account *account;
	const char *dir; /* <data>/route */
	const char *instance;
};

int router_open(struct router **out, const struct router_options *o, struct error *e);
struct sink *router_sink(struct router *r);
/* Wait up to `ms` for what is under way; then what was not acknowledged is given up, and what is
 * buffered stays on disk.  Frees. */
void router_close(struct router *r, unsigned ms);
void router_dump(struct router *r, struct buf *out); /* any thread */
void router_metrics(struct router *r);               /* any thread */

/* shard.c: pure. */
size_t shard_rendezvous(const struct str *servers, size_t n, struct str key);
/* The bytes of the id as one big-endian integer, mod n.  n > 0. */
size_t shard_modulo(size_t n, struct str app);
