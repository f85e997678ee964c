/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the files of the loggregator input know of each other; nobody else
 * includes this.
 *
 *	loggregator.c         life, settings, datagrams
 *	loggregator_grpc.c    envelopes over gRPC
 *	loggregator_record.c  from a message to a record; refusals
 *	loggregator_replays.c signatures that came lately
 */
#include "base/list.h"
#include "base/map.h"
#include "input/ports.h"
#include "proto/loggregator.h"

struct loggregator_settings {
	struct port_settings port;
	const char *shared_secret, *shared_secret_file;
	int form;              /* enum loggregator_form */
	int require_signature; /* enum require */
	struct strings types;
	struct string_map labels;
	uint64_t max_line;
};

enum require { REQUIRE_AUTO, REQUIRE_TRUE, REQUIRE_FALSE };

/* Why messages were refused, and how many, since that was told. */
enum { REFUSALS_MAX = 8 };
struct refusals {
	struct {
		const char *reason;
		uint64_t n;
	} by[REFUSALS_MAX];
	size_t n;
	int64_t from_ns, to_ns;
	char peer[SOCKET_PEER_MAX]; /* of the last one */
};

/* An address. */
struct loggregator_port {
	struct port port;
	struct refusals refusals;
};

struct replays;

struct loggregator_input {
	const struct loggregator_settings *s;
	const struct input_env *env; /* env_copy: what it points to is borrowed */
	struct input_env env_copy;
	struct outlets *outlets; /* by host, app, source and event */
	struct ports ports;
	struct loggregator_port *all_ports;
	struct loggregator_secret secret;
	struct buf secret_text;
	struct replays *replays; /* NULL: nothing can be seen twice */
	unsigned kinds;          /* those that are taken, a bit each */
	struct arena scratch;
	struct buf line, meta, urls;
	struct loggregator_parts parts;
	struct map drains; /* of each application: see loggregator_record.c */
	struct timer tick;
	uint64_t n_taken, n_refused, n_unwanted, unwanted_told;
	int64_t observed_ns;
	loop_fn *stopped;
	void *stopped_arg;
};

/* Where a message came from. */
struct loggregator_origin {
	struct loggregator_port *port;
	const char *peer; /* "10.0.0.1:4711"; "" for unix */
	struct str certificate;
};

/* loggregator_record.c */

/* Add the message to its stream; what types leaves out is counted.  in->observed_ns is now. */
void loggregator_take(struct loggregator_input *in, const struct loggregator_origin *from,
	const struct loggregator *x);
/* Count n messages that are not taken, and tell it. */
void loggregator_refuse(struct loggregator_input *in, const struct loggregator_origin *from,
	const char *reason, const char *why, uint64_t n);
/* Once a second, and at the end: tell in the stream what was refused. */
void loggregator_tell_refused(struct loggregator_input *in);

/* loggregator_replays.c: the last signatures, at least REPLAYS_MIN of them. */

enum { REPLAYS_MIN = 98304 };

struct replays *replays_new(struct account *account);
void replays_free(struct replays *s); /* NULL is fine */
/* Remember it: false when it is there already. */
bool replays_add(struct replays *s, struct str signature);

/* loggregator_grpc.c */
extern const struct grpc_method loggregator_methods[]; /* their argument is the port */
