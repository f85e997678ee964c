/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A batch for several servers: one batch for each that gets any of its
 * streams, with what the server needs to know resent records.
 *
 * A record's source goes with it.  Each server is told that a source's batch
 * covers the whole of it, also where it had other servers' records.  So that
 * no server takes a record that another one was to get for known, the source's
 * name says whose share of which division it is: what waited for one server
 * can go to another, and what is sent again to a zone of other servers is
 * there twice at worst.  Records without a source that could be known again,
 * get one of the router's own.
 * Any thread; a split belongs to one.
 */
#include "record/batch.h"
#include "route/route.h"

struct split_options {
	const struct str *servers;
	size_t n_servers;
	enum route_scheme scheme;
	enum route_key by;
	/* Ids of the router's own sources, one for each server: what waits for one of them may go
	 * to another one some day. */
	const struct str *sources;
	const uint64_t *marks; /* of split_marks, one for each server; NULL with one server */
	/* Take n numbers of the server's: the first. */
	uint64_t (*number)(void *arg, size_t server, uint64_t n);
	void *arg;
};

/* What tells each server's share apart from all others, also from those of other lists of servers
 * and other schemes: the same in every router.  marks[n_servers]. */
void split_marks(const struct split_options *o, uint64_t *marks);

/* The server of a stream. */
size_t split_server(const struct split_options *o, struct str tenant, struct str labels);
/* out[i] becomes the batch for server i, one reference, or NULL.  ERR_LIMIT: then none is. */
int split_batch(
	const struct split_options *o, const struct batch *b, struct batch **out, struct error *e);

/* The records from `from` to `to` (not included), in a batch that covers as much of their sources:
 * so that the parts of a batch do not make each other's records known. */
struct batch *split_part(const struct batch *b, size_t from, size_t to);
