/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Live answers: what tails, streams, firehoses and other servers follow.  A
 * subscriber is a cursor over a query with a form (how entries are written)
 * and a channel (WebSocket or server-sent events) to its client.
 *
 * It follows the order of commits, not of time: a late line is never skipped.
 * A slow client is waited for, as its backlog is the store; only what
 * retention takes meanwhile is missed, and that is told in the form's words.
 *
 *   own     this server's store: a cursor
 *   relayed other servers' records (peers, or the servers of a router): each of
 *           them is followed over GET /api/v1/follow, which sends frames in the
 *           form that the client wants, so that they are passed on unread
 *
 * GET /api/v1/follow?query=Q&form=NAME[&group=G][&strict=true][&cursor=C][&since=NS] is of this
 * server's records alone and has no history.  It begins behind the sequence that
 * the cursor names for this server ("ID=SEQ,ID=SEQ", by the first 8 digits of
 * instance ids); else at the first record of a time from NS on; else now.
 *
 * Each of its frames is a binary WebSocket message: 8 bytes (big endian), the
 * sequence up to which all was told with this frame; then the form's bytes as
 * `add` made them, not ended: who passes them on does that, as the cursor is
 * one over all servers then.  Without such bytes all is told up to there; one of
 * those comes every 15 s.  The first frame tells where it begins, and has the
 * server's whole instance id for its bytes (doc/format/follow.md).
 * Internal to src/api; thread rules as in live.c.
 */
#include "api/internal.h"

/* How entries are written.  A frame is empty, or was begun by `add` or `missed`, until it is ended;
 * with `single` it is ended behind each of them.  Where a function is NULL there is nothing to do.
 */
struct live_form {
	const char *name;  /* of ?form= for /api/v1/follow */
	bool binary;       /* frames of a WebSocket are */
	bool single;       /* one entry a frame (LogMessage, Envelope) */
	size_t state_size; /* zeroed for each subscriber */
	/* Put the nth frame's worth of an entry, from 0 on: true when there is one more of it,
	 * which is of `single` forms alone. */
	bool (*add)(struct api *a, void *state, struct buf *frame, const struct query_entry *x,
		size_t nth);
	/* `cursor` is where a client that comes back may go on; "" within history, and where there
	 * is no such thing.  Of the frame alone: it may be another server's. */
	void (*end)(struct buf *frame, struct str cursor);
	/* `n` records were missed at most (0: not known how many): put what tells it into an empty
	 * frame, which is ended then. */
	void (*missed)(struct buf *frame, uint64_t n, struct str app, int64_t now_ns);
	/* A whole frame: a line of the system itself, as from LGR.  app may be empty. */
	void (*notice)(struct buf *frame, struct str app, struct str text, int64_t now_ns);
	/* A frame was ended: let go of what `state` holds for it.  It may be used on. */
	void (*rest)(void *state);
	/* Whole frames: one each 15 s, and the last one when its time is over. */
	void (*beat)(struct buf *frame, int64_t now_ns);
	void (*closing)(struct buf *frame);
};

extern const struct live_form live_loki, live_message, live_envelope, live_sse;
const struct live_form *live_form_find(struct str name);

enum live_channel { LIVE_WEBSOCKET, LIVE_EVENTS /* text/event-stream */ };

/* A subscription, as a route makes it out of its request. */
struct live_options {
	const struct live_form *form;
	enum live_channel channel;
	struct query *query;    /* taken */
	struct str tenant, app; /* app: whom it is about, for words; may be empty */
	uint64_t history;       /* lines before it begins */
	int64_t start_ns;       /* of the history */
	bool strict;
	struct str cursor; /* of a client that comes back; empty: none */
	int64_t since_ns;  /* framed: without cursor, from the first record of that time on; 0: now
			    */
	/* Subscribers of one group share the load: each entry goes to one of them.  Empty: alone.
	 */
	struct str group;
	bool history_only; /* close after the history (/dump/) */
	bool framed;       /* for another server: frames of /api/v1/follow */
	/* After so long it is ended in the form's words; 0: never. */
	int64_t lifetime_ns;
	bool local; /* this server's records alone */
};

/* Answer the request with the subscription.  Takes o->query in any case. */
void live_answer(struct http_request *r, struct api *a, const struct live_options *o);
/* Answer with a WebSocket that tells one line as from LGR, ERR, in the form (NULL: none), and then
 * is closed: so Loggregator's servers refuse. */
void live_refuse(struct http_request *r, struct api *a, const struct live_form *form,
	const char *text, unsigned code, const char *reason);

/* --- relay.c: the other servers ------------------------------------------------------------ */

/*
 * Whoever follows the same (tenant, query, form, strict, no group) shares one
 * connection to each server.  Events come on the thread of the relays, one at a
 * time; the rest may be called from any thread.
 */
struct relays;

struct relays_options {
	struct peers *peers;     /* borrowed */
	const char *instance;    /* this server's: one of the peers may be itself.  Copied */
	struct account *account; /* what is kept for those that have no room.  Borrowed */
};

struct relays *relays_new(const struct relays_options *o);
/* No relay is open. */
void relays_free(struct relays *all); /* NULL is fine */
void relays_dump(struct relays *all, struct buf *out);

/* Follows all peers for one subscriber. */
struct relay;

struct relay_events {
	/* A frame of one server, in its order, not ended; never an empty one.  False: no room, and
	 * the same comes again after relay_resume. */
	bool (*frame)(void *arg, size_t server, uint64_t seq, struct str bytes);
	/* Told once for each server within 3 s, and then each time that changes: it is followed
	 * (e is NULL), or cannot be at present.  seq: what comes of it is behind that; 0 also when
	 * it has never been there.  A server that is this one, or another one again: UINT64_MAX,
	 * and nothing comes of it. */
	void (*state)(void *arg, size_t server, uint64_t seq, const struct error *e);
};

struct relay_options {            /* all is copied */
	struct str tenant, query; /* LogQL, as the client wrote it */
	const struct live_form *form;
	struct str group;
	bool strict;
	/* "ID=SEQ,ID=SEQ", maybe with "@=NS", which counts as begun_ns: by the first 8 digits of
	 * the instance id. */
	struct str cursor;
	int64_t begun_ns; /* a server that was not there at first is followed from this time on */
};

struct relay *relay_open(struct relays *all, const struct relay_options *o,
	const struct relay_events *events, void *arg);
/* Servers are numbered 0 … n - 1: number k is peer k + 1 of a view (query/peers.h). */
size_t relay_servers(const struct relay *r);
void relay_resume(struct relay *r);
/* A cursor and what it stands for must go out together: both of these are for callers that hold the
 * lock under which they send.  relay_told: this frame is on its way.  relay_cursor appends
 * "ID=SEQ,ID=SEQ," of what was told, with `seq` for `server` (SIZE_MAX: for none). */
void relay_told(struct relay *r, size_t server, uint64_t seq);
void relay_cursor(struct relay *r, size_t server, uint64_t seq, struct buf *out);
/* No event comes after it returns.  It waits for one under way: not within one, nor under a lock
 * that one takes. */
void relay_close(struct relay *r);
