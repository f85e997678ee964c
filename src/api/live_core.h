/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What live.c (this server's records), live_join.c (those of the others) and
 * live_answer.c (how subscriptions begin) know of each other.
 */
#include "api/live.h"
#include "base/list.h"
#include "store/cursor.h"

struct live;

enum { LIVE_DROPS_MAX = 16 };

/* What retention dropped behind a feed's back. */
struct live_drop {
	uint64_t first_seq, last_seq, records;
};

/* A query's place in this server's store, and those who are told what comes behind it. */
struct feed {
	/* Fixed before it is in the list. */
	struct api *api;
	struct query *query;
	char *tenant;
	struct buf group; /* who shares it, and what; empty: a feed of one */
	bool strict;
	/* Tail worker only (one pump of a feed at a time). */
	struct cursor cursor;
	bool placed;             /* it is where it begins */
	struct query_tail *tail; /* NULL: to be made when there is a row */
	struct live **turn;      /* the members that this turn is about */
	size_t n_turn, next;     /* next: whose turn it is in a group */
	/* Under api.lock. */
	struct list node;
	struct list members; /* struct live.node */
	size_t n_members;
	struct store_watch *watch;
	enum { IDLE, QUEUED, AGAIN } pump;
	bool retry;                             /* frames wait: the tick wakes the pump */
	bool over;                              /* it is out of the list, and ends with its pump */
	int64_t parked_mono;                    /* without members since then; 0: never had any */
	struct live_drop drops[LIVE_DROPS_MAX]; /* not yet told */
	size_t n_drops;
};

/* A subscriber. */
struct live {
	/* Fixed before the socket opens. */
	struct api *api;
	const struct live_form *form;
	char *app;
	char token[17]; /* id of the one it was opened with; empty: none was asked for */
	enum live_channel channel;
	bool framed, history_only, resumed /* the client brought a cursor: no history */;
	uint64_t history; /* lines wanted */
	int64_t start_ns, since_ns, lifetime_ns;
	uint64_t after_seq; /* of its cursor */
	/* The store's last when it was asked for: what its client sends once it is answered is
	 * live, however soon. */
	uint64_t asked_seq;
	/* Loop's thread until it is a member, then fixed. */
	struct feed *feed;
	/* Tail worker only. */
	void *state;              /* of the form */
	struct query_result past; /* history not yet sent, newest first */
	size_t n_past;            /* of its entries, from the first on */
	struct buf frame;         /* the one that is open */
	struct buf ready;         /* whole ones, one behind the other */
	struct buf made;          /* struct made_frame: each of them */
	uint64_t told_seq;        /* all of the feed up to there is in frames */
	bool begun, room, failed;
	/* Under api.lock. */
	struct list node;
	struct ws *ws; /* NULL before open */
	bool closed, beat_due, end_due, waits;
	int64_t beat_mono, end_mono; /* the next beat, and the end; end 0: never */
	struct live_join *join;      /* fixed; NULL: this server's records alone */
};

enum made {
	MADE_LIVE, /* with it all up to its sequence is told */
	MADE_PAST, /* of the history, and more of that comes */
	MADE_WHOLE /* a heartbeat, a notice: it tells no place, and needs no end */
};

struct made_frame {
	uint32_t end; /* in `ready` */
	enum made made;
	uint64_t seq;
};

/* The other servers' part of a subscription. */
struct live_join {
	/* Fixed. */
	struct live *live; /* whose it is */
	char *query, *group, *tenant, *cursor;
	bool strict;
	/* The worker's that answers. */
	struct http_request *request;
	/* Under api.lock. */
	/* Not answered before each server has told where it begins, or that it is away: what the
	 * client sends once it is answered is live, however soon, and wherever it goes.  NULL: it
	 * is, or will be by a worker. */
	struct http_request *held;
	struct list held_node; /* of api.held_list, while it is */
	struct relay *relay;   /* NULL before open and after closed */
	enum { JOIN_WAITS /* for the servers' states */, JOIN_ASKS, JOIN_HAS } history;
	bool asking; /* a worker has the subscriber, which must not be freed */
	int code;    /* of the history */
	struct error error;
	struct query_result past;
	uint64_t place;   /* of this server, up to which the history goes */
	uint64_t *places; /* of the others: what comes behind them comes live */
	bool *stated;
	size_t n_servers, n_stated;
	bool going;       /* the history was sent: live records may be */
	bool stuck;       /* the relay is to be told when there is room */
	bool notice;      /* that a server cannot be reached is to be told */
	uint64_t own_seq; /* this server's, of what was sent */
	struct buf frame;
	/* Atomic. */
	_Atomic bool cancel; /* of the history's query */
};

/* live.c */
extern const struct ws_events live_events; /* of a subscriber's socket; their argument is it */
void live_wake(struct live *m) REQUIRES(m->api->lock); /* have the pump run soon */
/* As ws_send. */
int live_send(const struct live *m, struct str frame);
bool live_room(const struct live *m) REQUIRES(m->api->lock);

/* live_answer.c: answer the request with the subscription, which is its channel's from then on. */
void live_reply(struct live *m, struct http_request *r);

/* live_join.c */
struct live_join *join_new(struct live *m, const struct live_options *o);
void join_free(struct live_join *j); /* NULL is fine */
/* Any thread: begin to follow the others, and have live_reply called on a tail worker when it is
 * known where each of them begins. */
void join_open(struct live *m, struct http_request *r);
void join_close(struct live *m); /* nothing more is told of the others; the socket's loop */
void join_release_all(struct api *a) REQUIRES(a->lock); /* have those that are held answered now */
void join_resume(struct live *m);                       /* any thread */
void join_tick(struct live *m);                         /* under api.lock */
/* The tail worker.  Have the history in m->past, and the feed's place behind it: 1; 0: not yet, the
 * pump is woken when it is there. */
int join_history(struct live *m, struct error *e);
/* The history was sent: on with what is live. */
void join_go(struct live *m);
/* Send one of this server's frames, with a cursor over all servers. */
int join_send(struct live *m, const struct made_frame *f, struct str bytes) REQUIRES(m->api->lock);
