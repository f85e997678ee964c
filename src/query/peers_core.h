/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What peers.c, view.c and view_fetch.c know of each other; nobody else includes this. */
#include <pthread.h>

#include "base/lock.h"
#include "query/peers.h"
#include "query/remote.h"

struct peers {
	/* Fixed. */
	struct remote **remotes; /* number k is remotes[k - 1] */
	size_t n;
	char instance[INSTANCE_SIZE];
};

/* Is number k, by what is known so far, this server itself, or one that a lower number is too? */
bool peers_told_already(struct peers *p, size_t number, const char *instance);

/* Who answered so far, by number from 1 on: has this server, under another number?  Else it is
 * noted. */
bool peers_seen_already(
	struct peers *p, char (*seen)[INSTANCE_SIZE], size_t number, const char *instance);

struct fetches;

/* One peer's pages for one scan, asked for by a thread of its own: the first at once, each next one
 * when it was ordered. */
struct fetch {
	/* Fixed. */
	struct fetches *all;
	size_t number;
	struct remote *remote;
	pthread_t thread;
	struct remote_call call;
	/* The scan's thread. */
	unsigned n_taken;
	/* Under the lock of `all`. */
	bool ready, ordered, done, stopped;
	struct page page; /* when ready */
	int code;
	struct error error;
};

/* What all of them ask for. */
struct fetches {
	/* Fixed. */
	struct str tenant;
	struct page_request ask; /* of the first page */
	struct account *account; /* may be NULL */
	struct fetch *list;
	size_t n;
	/* Under `lock`. */
	struct lock lock;
	struct cond changed;
	int64_t from_ns, to_ns; /* as the callbacks narrowed it */
	bool stop;
};

/* Begin to ask the peers that `only` names (1 + number; 0: all).  *q and tenant are borrowed. */
void fetches_start(struct fetches *all, struct peers *p, unsigned only, struct str tenant,
	const struct page_request *q, struct account *account);
/* The next that has a page or has failed, once it has: with its page moved to *out, or its code.
 * NULL when all are done.  ERR_CANCELLED in *code when it was. */
struct fetch *fetches_next(struct fetches *all, const _Atomic bool *cancel, int64_t deadline_ns,
	struct page *out, int *code, struct error *e);
/* The page was looked at: have the next one asked for. */
void fetch_order(struct fetch *f);
/* No more of this one. */
void fetch_stop(struct fetch *f);
void fetches_narrow(struct fetches *all, int64_t from_ns, int64_t to_ns);
/* End all, and wait for it. */
void fetches_end(struct fetches *all);
