/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the files of a listener know of each other; nobody else includes this.
 *
 *	listener.c    life, settings, time; how it all goes together
 *	accept.c      who gets in
 *	connection.c  bytes of a connection on the way to the owner
 *	datagrams.c   the same for datagrams
 *	drain.c       the end that loses nothing
 *	park.c        from one owner to the next
 */
#include <sys/stat.h>

#include "base/list.h"
#include "base/map.h"
#include "net/listener.h"
#include "net/socket.h"

struct connection {
	struct list node;  /* of listener.connections, or of listener.lingering */
	struct list aside; /* of listener.aside */
	struct listener *listener;
	uv_poll_t poll;
	int fd;
	int watched; /* the events that are asked for */
	struct buf held;
	uint64_t charged;
	struct tls_session *tls;
	struct buf wire;
	void *state;
	uint64_t note;
	uint64_t opened_ms, last_ms;
	uint64_t sent_ms; /* when some of `wire` went last, or it was empty */
	uint64_t drained; /* bytes since the drain began */
	bool told;        /* `opened` was called, `closed` is due */
	bool pending;     /* held bytes are to be given again after the resume */
	bool ended;       /* no more will come, */
	bool broken;      /* and that is not the peer's doing */
	bool leaving;     /* to be drained, as it would not be let in now */
	bool refused;     /* by the owner, see listener.why */
	bool unsendable;  /* the peer fetches nothing any more */
	bool lingering;   /* nothing is read, but answers go on, */
	bool finishing;   /* until all was sent; then what comes is thrown away */
	bool said_end;    /* in TLS */
	char ip[SOCKET_PEER_MAX], peer[SOCKET_PEER_MAX];
};

/* Where datagrams are read to; kept from one read to the next. */
struct datagrams;

struct listener {
	struct list parked; /* of `all_parked` */
	struct loop *loop;
	struct listener_options o; /* its pointers: only account is used */
	char *address;
	struct cidr *allow;
	char *tls_paths[3];
	enum socket_kind kind;
	struct listener_events events;
	void *arg;
	uv_poll_t *poll; /* heap: outlives us until closed */
	int fd, watched;
	struct stat file; /* of a unix socket */
	struct tls_server *tls;
	uint64_t tls_looked_ms;
	struct timer tick, kick;
	char *scratch;
	struct datagrams *datagrams;
	uint32_t drops; /* as the kernel told last */
	uint64_t charged;
	struct list connections, aside, lingering;
	size_t n_connections;
	struct map peers; /* address -> connections from it */
	struct error why; /* of the connection that is refused */
	unsigned n_pauses;
	uint64_t drain_bytes;
	unsigned n_starved;     /* turns of STARVED_MS without memory, one after another */
	struct connection *fed; /* the one that may read all the same; NULL: none */
	uint64_t fed_ms;        /* when it read last */
	uint64_t starved_ms;    /* when there was no memory last */
	bool paused, draining, drained, is_parked, starved, full;
	bool other_ca; /* than that by which the connections of a parked one were let in */
};

enum {
	LISTENER_READ = 128 << 10, /* bytes of one read */
	LISTENER_HEAD = 32 << 10,  /* held bytes that are copied before the new ones */
	LISTENER_CONNECTIONS = 10000,
	LISTENER_FINISH_MS = 2000, /* for a peer to see that we have finished */
};

enum read_result {
	READ_SOME,
	READ_NONE, /* nothing is there */
	READ_WAIT, /* not now: paused, or no memory */
	READ_GONE, /* the connection is closed */
};

#define LISTENER_NOT_ALLOWED                                                                       \
	"its address is in none of the networks of `allow`: add one there if it may send"

/* listener.c */
uint64_t listener_now_ms(const struct listener *l);
void listener_refused(struct listener *l, const char *reason, const char *peer, const char *why);
/* Charge a read of c.  False: there is no memory, and those set aside try again a little later. */
bool listener_charge_read(struct listener *l, struct connection *c);
void listener_watch(struct listener *l, bool on); /* the listening socket */
void listener_stop_listening(struct listener *l); /* close it, and remove its file */

/* accept.c */
/* Accept up to `most`; false when nobody waits. */
bool listener_accept(struct listener *l, unsigned most);
void connection_count_peer(struct connection *c, int by);
bool connection_allowed(const struct connection *c); /* by the networks that are let in */

/* connection.c */
void connection_watch(struct connection *c, int events);
int connection_events(const struct connection *c); /* those to wait for */
void connection_set_aside(struct connection *c);   /* wait for the resume */
/* Call `opened`.  This and the next: false when the connection is gone. */
bool connection_open(struct connection *c);
/* Give bytes to the owner and keep what it does not use. */
bool connection_hand_over(struct connection *c, struct str bytes, bool end);
enum read_result connection_read(struct connection *c);
/* The peer will send no more, for this reason (NULL: orderly). */
void connection_end(struct connection *c, const struct error *why);
void connection_close(struct connection *c, const struct error *why);
/* Charge what is held and waits to be sent; it is there already, the former reserved before the
 * read. */
void connection_charge(struct connection *c);

/* datagrams.c */
struct datagrams *datagrams_new(enum socket_kind kind);
void datagrams_free(struct datagrams *d); /* NULL is fine */
uint64_t datagrams_bytes(const struct datagrams *d);
/* Forget which peer was allowed last: what is allowed changed. */
void datagrams_forget_peer(struct datagrams *d);
void datagrams_tell_drops(struct listener *l);
/* Hand over what was read, as far as the owner wants it. */
void datagrams_hand_over(struct listener *l);
enum read_result datagrams_read(struct listener *l);

/* drain.c */
void listener_drain_some(struct listener *l);
/* Read a connection once, of what was there; true when it is done with and closed. */
bool connection_drain(struct connection *c);

/* park.c */
void listener_unpark(struct listener *l); /* one that is not parked is fine */
/* The parked one with that address, parked no more; NULL: none. */
struct listener *listener_find_parked(struct loop *loop, const char *address);
/* Move the settings of `from` into the parked l; `from` gets the old ones.  Afterwards
 * listener_adopt. */
void listener_exchange_settings(struct listener *l, struct listener *from);
/* Go on with it: its connections are opened anew, and what they hold is given again. */
void listener_adopt(struct listener *l);
