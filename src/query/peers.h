/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Other servers whose records belong to one's answers: `peers` of the
 * configuration.  A view is a source (source.h) over this server's snapshot
 * and all peers, in which each record is seen once.
 *
 * Selector and line filters are carried out where the records lie; a peer
 * sends what is left, in pages (POST /api/v1/scan, doc/format/scan.md), and
 * counts instead of rows where a query needs no more.  A peer that does not
 * answer makes the answer partial: a warning names it.
 *
 * A record that two stores hold because the broker delivered it twice is told
 * once: records with metadata `redelivered` are compared, by message_id, with
 * those of the other stores.  Redelivered ones without message_id are counted
 * and told in a warning.
 *
 * Sequences of peers are told with the peer's number in the list (1 …) above
 * their lower 46 bits, so that they are whole in JavaScript too; this server's
 * own are as they are.
 * Thread rule: a struct peers is shared by any threads; a view belongs to one.
 */
#include "query/source.h"

enum { PEERS_MAX = 64, PEER_SEQ_SHIFT = 46 };

struct peers;
struct remote; /* query/remote.h */

struct peers_options { /* copied */
	const struct strings
		*urls; /* one of them may be this server itself: it is known by its id */
	const struct strings *zones; /* of each of the urls, for sentences; NULL: none */
	const char *token_file, *ca;
	int64_t timeout_ns;   /* 0: 10 s, for each page */
	const char *instance; /* this server's id (os/instance.h) */
};

/* ERR_ARG: a URL. */
int peers_new(struct peers **out, const struct peers_options *o, struct error *e);
void peers_free(struct peers *p); /* NULL is fine; no view is open */
size_t peers_count(
	const struct peers *p); /* without this server itself, as far as known; NULL: 0 */
/* Of those that answered of late, and this one, has this one the lowest id?  True without peers. It
 * is who notifies.  Any thread; does not wait. */
bool peers_leads(struct peers *p);
/* Ask them all now and then, so that peers_leads knows; blocks for at most the timeout, or until
 * *cancel (may be NULL) is set. */
void peers_look(struct peers *p, const _Atomic bool *cancel);
/* Of the list, this server itself too if it is named; NULL: 0.  Number 1 … is remote 0 …. */
size_t peers_listed(const struct peers *p);
struct remote *peers_remote(struct peers *p, size_t index); /* valid as long as the peers */
void peers_dump(struct peers *p, struct buf *out);

struct view;

/* Over the store alone when `p` is NULL or `local` is set.  Never NULL. */
struct view *view_open(struct store *s, struct peers *p, bool local);
struct source *view_source(struct view *v);
struct snapshot *view_snapshot(struct view *v); /* this server's own */
/* For listings of streams, which bring no limits of their own: what is held meanwhile is charged
 * to `a`, and they end when *cancel is set.  Both may be NULL. */
void view_limit(struct view *v, struct account *a, const _Atomic bool *cancel);
/* What listings of streams had to tell so far; valid until view_close.  Queries have it among their
 * own warnings. */
size_t view_warnings(const struct view *v, const char *const **out);
/* As query_run: the best for such a query of a snapshot whose head is held, and the query. */
int view_query(struct view *v, const struct query *q, const struct query_params *p,
	struct query_result *out, struct error *e);
void view_close(struct view *v);
