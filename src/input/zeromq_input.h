/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the files of the zeromq input know of each other; nobody else includes
 * this.
 *
 *	zeromq.c          life and settings
 *	zeromq_source.c   sockets, their events, and how they go to a next input
 *	zeromq_record.c   from a message to a record
 *	zeromq_numbers.c   the numbers of publishers, from one life to the next
 *	zeromq_auth.c     the context, keys, and who may connect to what is bound
 */
#include <zmq.h>

#include "base/list.h"
#include "base/map.h"
#include "codec/regex.h"
#include "input/outlet.h"
#include "net/cidr.h"

enum {
	ZEROMQ_KEY = 40,               /* characters of a key in Z85 */
	ZEROMQ_FRAME_MAX = 16 << 20,   /* libzmq closes a connection that sends a longer one */
	ZEROMQ_ADDRESSES_MAX = 1000,   /* of one input: each takes about five descriptors */
	ZEROMQ_QUEUE_BYTES = 64 << 20, /* what all queues of an input may come to, by an estimate */
};

struct zeromq_settings {
	struct string_groups connect;
	struct strings bind, subscribe;
	const char *host, *app;
	struct string_map labels, levels;
	uint64_t max_line;
	int64_t hwm, heartbeat, reconnect;
	const char *sequence;
	bool join_topic;
	struct strings allow;
	struct {
		const char *server_key, *secret_key_file;
		struct strings client_keys;
	} curve;
};

/* Keys of CURVE in Z85; empty strings when there are none. */
struct zeromq_keys {
	char server[ZEROMQ_KEY + 1], public[ZEROMQ_KEY + 1], secret[ZEROMQ_KEY + 1];
};

struct zeromq_input;

/* One address: its socket and the publishers on it.  It has an input, or is parked for one. */
struct source {
	struct list node; /* of the input's sources, or of all parked ones */
	struct zeromq_input *in;
	struct loop *loop;
	const char *name; /* the publisher's in the settings; NULL: bound */
	char *address;    /* "tcp://localhost:5556" */
	char *host;       /* the label; empty: by the peer of each message */
	char *identity;   /* what another input must agree with to have it: address and keys */
	char *tuning;     /* what can change only when connections are made anew */
	char **subscribed;
	size_t n_subscribed;
	void *socket, *monitor;
	uv_poll_t *poll, *monitor_poll;
	struct map connections; /* by descriptor; the event of a handshake does not tell its own */
	char *gauge;            /* labels of the metric that counts them */
	char *domain;           /* of those who may connect; NULL: all */
	struct map numbers;     /* of each publisher, the last one */
	uint64_t n_messages, n_lost, n_connects, n_failed;
	int64_t changed_ns, said_ns; /* connected or not; the last warning */
	bool ready;                  /* may have messages */
	bool stale;                  /* `tuning` is not what its connections have */
};

struct zeromq_input {
	const struct zeromq_settings *s;
	const struct input_env *env; /* env_copy: what it points to is borrowed */
	struct input_env env_copy;
	struct outlets *outlets;
	struct list sources;
	struct regex *sequence;
	struct zeromq_keys keys;
	struct cidr *allow;
	int hwm; /* of each source */
	struct timer pump;
	struct buf meta, text, joined, key; /* scratch */
	zmq_msg_t topic, body;
	int64_t observed_ns;
	bool paused, stopping;
	loop_fn *stopped;
	void *stopped_arg;
};

/* zeromq.c */
void zeromq_pump_soon(struct zeromq_input *in);

/* zeromq_record.c */
/* Where the level stands in a topic; views into it, empty when it is not there. */
struct zeromq_topic {
	struct str root, level, sub;
	uint8_t severity;
};
struct zeromq_topic zeromq_topic_read(
	struct str topic, struct str name, const struct string_map *levels);
/* As Python's str.strip() of UTF-8. */
struct str zeromq_strip(struct str s);
/* Make a record of the next message of `s`.  1; 0 when there is none now. */
int zeromq_take(struct source *s);

/* zeromq_source.c */
/* "tcp://HOST:PORT" or "ipc://PATH" of a port, HOST:PORT or either of these. */
int zeromq_address(struct str text, const char *host, struct buf *out, struct error *e);
/* Open the socket of an address, or take over the one that was parked. */
int source_open(struct zeromq_input *in, const char *name, const char *address, struct error *e);
/* Leave it to the next input. */
void source_park(struct source *s);
void source_close(struct source *s);
/* Make a stale one anew; it has no connection and nothing is left in its queue.  It stays stale
 * when that fails, which is logged. */
int source_renew(struct source *s);
/* Take no more from outside: what has come is still to be read. */
void source_shut(struct source *s);
void source_dump(const struct source *s, struct buf *out);
/* Close what nobody took. */
void zeromq_drop_parked(struct loop *loop);

/* zeromq_numbers.c */
/* Those that the last life saved; once. */
void zeromq_numbers_load(struct source *s);
void zeromq_numbers_save(struct source *s);

/* zeromq_auth.c */
/* The context that all sockets of the process share; it ends with the last of them. */
void *zeromq_context_ref(struct error *e);
void zeromq_context_unref(void);
bool zeromq_key_valid(struct str key);
/* Of the settings; without a file a pair of our own, as publishers let in anybody. */
int zeromq_keys_read(const struct zeromq_settings *s, struct zeromq_keys *out, struct error *e);
/* Who may connect where ZAP_DOMAIN is `domain`: from these networks when there are any, with these
 * keys when there are any.  Copies.  Until it is dropped. */
void zeromq_rule_set(
	const char *domain, const struct cidr *allow, size_t n_allow, const struct strings *keys);
void zeromq_rule_drop(const char *domain);
