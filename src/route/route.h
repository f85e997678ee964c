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
 * Each server has a lane (lane.h) with a buffer on disk (spool.h) under
 * <data>/route/<server>: begun when the server does not take records for
 * `spill_after`, or has more under way than memory allows; delivered in order
 * when it is back, and until it is empty everything for that server goes
 * through it, so that order is kept.  Full, it refuses (ERR_FULL): nothing is
 * dropped that was acknowledged.
 *
 * Any number of routers may feed the same servers: they share nothing.
 * Thread rule: submit from any thread; the rest from the main loop's.
 */
#include "conf/option.h"
#include "os/fs.h"
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

extern const struct option route_options[];

/* Rules between settings, and all URLs: ERR_ARG with the setting at fault. */
int route_check(const struct route_settings *s, struct error *e);
/* The settings of its own zone; NULL when there is none of that name. */
const struct string_group *route_zone(const struct route_settings *s);
/* The URLs of all zones' servers, its own zone's first, and of each its zone; they live as long as
 * the settings.  The caller frees the items of both. */
void route_servers(const struct route_settings *s, struct strings *urls, struct strings *zones);

struct router;

struct router_options {
	const struct route_settings *s; /* borrowed until router_open returns */
	struct fs *fs;
	struct account *account;
	const char *dir; /* <data>/route */
	const char *instance;
};

/* ERR_ARG: a setting; else a buffer's folder cannot be used. */
int router_open(struct router **out, const struct router_options *o, struct error *e);
struct sink *router_sink(struct router *r);
/* A stop is near: what servers do not take at once goes to their buffers, and so is acknowledged
 * soon.  Any thread. */
void router_hurry(struct router *r);
/* Wait up to `ms` for what is under way; then what was not acknowledged is given up, and what is
 * buffered stays on disk.  Frees. */
void router_close(struct router *r, unsigned ms);
void router_dump(struct router *r, struct buf *out); /* any thread */
void router_metrics(struct router *r);               /* any thread */

/* shard.c: pure. */
size_t shard_rendezvous(const struct str *servers, size_t n, struct str key);
/* The bytes of the id as one big-endian integer, mod n.  n > 0. */
size_t shard_modulo(size_t n, struct str app);
