/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What relay.c (subscribers) and relay_link.c (connections) know of each other.
 * All of it belongs to the relays' loop, unless it says otherwise.
 */
#include "api/live.h"
#include "base/list.h"
#include "base/lock.h"
#include "loop/loop.h"
#include "loop/worker.h"
#include "query/remote.h"

enum {
	RELAY_ID = 8,             /* digits of an instance id that stand for it in cursors */
	RELAY_RING_MAX = 1 << 20, /* bytes that a link keeps for those that have no room */
	RELAY_SETTLE_MS = 3000,
};

/* One of the peers. */
struct relay_server {
	/* Fixed. */
	struct relays *all;
	size_t index;
	struct remote *remote;
	/* Loop's. */
	struct list links;
	bool probing; /* down, and one of the links is being opened */
	uint64_t retry_ms, alias_until_ms;
	struct backoff backoff;
	/* Loop's; under all->lock for those that dump. */
	char instance[INSTANCE_SIZE]; /* "": not known yet */
	bool down;                    /* the last opening failed */
	bool alias;                   /* it is this server, or one that another URL leads to too */
	struct error failed;
	unsigned n_links;
};

struct relays {
	/* Fixed. */
	struct relays_options o;
	char instance[INSTANCE_SIZE];
	struct loop *loop;
	struct workers *openers;
	struct relay_server *servers;
	size_t n_servers;
	_Atomic bool ending;
	/* Loop's. */
	struct timer timer;
	bool ticking;
	bool kicked; /* a kick was posted */
	struct list relays;
	/* Under `lock`. */
	struct lock lock;
	unsigned n_relays;
	uint64_t n_frames, n_bytes;
};

/* What a link is asked for. */
struct relay_query {
	char *tenant, *query, *group; /* group: "" for none */
	const struct live_form *form;
	bool strict;
};

/* Is it as an instance id is: hex digits alone?  It goes into cursors. */
bool relay_is_id(struct str s);
bool relay_query_same(const struct relay_query *a, const struct relay_query *b);
struct relay_query relay_query_copy(const struct relay_query *f);
void relay_query_fini(struct relay_query *f);

struct frame {
	uint64_t seq;
	size_t n;
	char bytes[];
};

/* A connection to one server, or the wish for one.  It keeps the frames that not all of its readers
 * have taken. */
struct link {
	struct relay_server *server;
	struct list node; /* in server.links */
	struct relay_query query;
	bool shared; /* who begins now, and wants the same, joins it */
	enum { LINK_WAITS, LINK_OPENING, LINK_OPEN } state;
	bool unwanted; /* to be freed when it is no longer being opened */
	/* Where it is. */
	bool known; /* id and seq are: it was open before */
	char id[RELAY_ID + 1];
	uint64_t seq;     /* all up to it is in the ring, or was taken */
	char *cursor;     /* that a client brought; may be NULL */
	int64_t since_ns; /* without one: from this time on; 0: from now on */
	int64_t heard_ns; /* wall clock, for a server that came back without its records */
	/* The connection. */
	struct ws_client *ws;
	uv_poll_t *poll; /* heap: outlives the link until it is closed */
	bool polled;     /* it is watched */
	bool more;       /* there may be something to be read before the socket says so */
	bool quiet;      /* it has told all there is, at least once */
	uint64_t heard_ms, retry_ms;
	struct buf message;
	/* Frames first … first + n - 1. */
	struct frame **ring;
	size_t n, cap;
	uint64_t first;
	size_t bytes;
	struct list readers; /* struct reader.node */
};

/* A subscriber's place in what comes of one server. */
struct reader {
	struct relay *relay;
	struct list node;  /* in link.readers */
	struct link *link; /* NULL: nothing comes of that server */
	uint64_t next;     /* number of the frame to be told next */
	bool stated;       /* its state was told once */
	bool failing;      /* and the last time it was an error */
	/* Under relay.lock. */
	bool known;
	char id[RELAY_ID + 1];
	uint64_t told;
};

struct relay {
	/* Fixed. */
	struct relays *all;
	const struct relay_events *events;
	void *arg;
	struct relay_query query;
	char *cursor; /* NULL: none */
	int64_t begun_ns;
	/* Loop's. */
	struct list node; /* in all.relays */
	uint64_t opened_ms;
	bool begun, settled;
	bool stuck; /* it has no room until relay_resume */
	/* Under `lock`. */
	struct lock lock;
	struct cond ended;
	bool resuming; /* posted */
	bool closed;
	struct reader readers[]; /* one a server */
};

uint64_t relays_now_ms(const struct relays *all);
/* Have links that wait, and those with more to be read, looked at soon. */
void relays_kick(struct relays *all);

/* relay.c, for links: what a reader is told. */
void relay_reader_state(struct reader *x, const struct error *e);
/* It begins, or goes on, behind the link's place. */
void relay_reader_place(struct reader *x);
/* Tell the frames that it has not had, as long as it has room. */
void relay_reader_run(struct reader *x);

/* relay_link.c */
/* For a server's reader: the link that is shared, if there is one, or one that begins now. */
void relay_link_join(struct relay_server *s, struct reader *x);
/* A link of its own: from the subscriber's cursor or beginning on, or behind what it was told. */
void relay_link_own(struct relay_server *s, struct reader *x);
/* Its server was not there in time: it is to be followed from the subscriber's beginning on, for
 * which a reader of a shared link gets one of its own. */
void relay_link_miss(struct reader *x);
/* The reader is to have nothing more; a link that nobody reads is closed. */
void relay_link_leave(struct reader *x);
/* Readers have moved: let go of frames, read on. */
void relay_link_moved(struct link *l);
/* Is none of its links open? */
bool relay_server_is_silent(const struct relay_server *s);
void relay_link_tick(struct link *l, uint64_t now_ms);
/* Read on where there may be more than the socket says. */
void relay_link_continue(struct link *l);
/* May it be opened now? */
void relay_link_try(struct link *l, uint64_t now_ms);
