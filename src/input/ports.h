/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The addresses that an input listens on, for kinds that are sent messages
 * (syslog, python): their settings, and their way from open to drained.
 *
 *   ports_init, port_open for each address; the listeners' events come with the port
 *   port_open_grpc                 for those of grpc:// and grpcs://, whose methods get the
 *                                  port as their argument.  They are drained at a reload too
 *   ports_pause, ports_resume      as the outlets ask for it
 *   ports_tick                     once a second: what was lost is told
 *   ports_stop                     at a reload what the next inputs want is parked for them;
 *                                  the rest, and all at the end, is drained; then `drained`
 *   ports_close
 *
 * A port may be something else than a listener (standard input, an HTTP
 * server): its owner opens and drains that, and says so by ports_wait and
 * ports_done.  Input's loop alone.
 */
#include "input/losses.h"
#include "input/outlet.h"
#include "net/cidr.h"
#include "net/grpc.h"
#include "net/listener.h"
#include "net/socket.h"
#include "net/token.h"

/* A member of the kind's settings; PORT_OPTIONS puts it in the table, but for listen and token,
 * which each kind words itself. */
struct port_settings {
	struct strings listen, allow;
	struct tls_settings tls;
	uint64_t receive_buffer;
	bool token;
	const char *mode;
};

#define PORT_OPTIONS(type, member)                                                                  \
	{.name = "tls",                                                                             \
		.offset = offsetof(type, member.tls),                                               \
		.kind = OPT_OBJECT,                                                                 \
		.fields = tls_options,                                                              \
		.help = "Certificate, key, and who may connect, for addresses with TLS."},          \
		{.name = "allow",                                                                   \
			.offset = offsetof(type, member.allow),                                     \
			.kind = OPT_STRINGS,                                                        \
			.help = "Networks that may send over IP (\"10.0.0.0/8\"); without it all. " \
				"Needed for addresses without TLS beyond loopback."},               \
		{.name = "receive_buffer",                                                          \
			.offset = offsetof(type, member.receive_buffer),                            \
			.kind = OPT_SIZE,                                                           \
			.fallback = "8MiB",                                                         \
			.min = 4096,                                                                \
			.max = 1 << 30,                                                             \
			.help = "Bytes of datagrams that the kernel keeps until they are read; "    \
				"what it has no room for is counted. Beyond net.core.rmem_max "     \
				"this needs CAP_NET_ADMIN."},                                       \
	{                                                                                           \
		.name = "mode", .offset = offsetof(type, member.mode), .kind = OPT_STRING,          \
		.fallback = "0666", .help = "Mode of unix sockets: who may write."                  \
	}

struct ports;

/* One address. */
struct port {
	struct ports *ports;
	const char *address;
	enum socket_kind kind;     /* of the listener */
	struct listener *listener; /* NULL: none, or it is parked or closed */
	struct grpc_server *grpc;  /* the same */
	struct losses losses;
	bool drained; /* the listener is, or the server */
};

struct ports_options {
	const struct input_env *env;
	const char *input;                    /* the kind's name */
	const struct port_settings *s;        /* all borrowed */
	const struct listener_events *events; /* but for `drained`; their argument is the port */
	uint64_t keep;                        /* of a message; see listener_options */
	struct outlets *outlets;
	void (*drained)(void *arg); /* after ports_stop: nothing comes any more */
	void *arg;
};

struct ports {
	struct ports_options o;
	struct listener_events events;
	struct cidr *allow;
	struct port **all;
	size_t n, n_waiting;
	unsigned drained_ms;
	bool stopping, late;
};

enum { PORTS_TICK_MS = 1000 };

/* ERR_ARG: `allow`, or a token without tokens.  To be finished in any case. */
int ports_init(struct ports *p, const struct ports_options *o, struct error *e);
void ports_fini(struct ports *p); /* after ports_close */
/* Add a port, which is the caller's memory and stays until ports_fini, without opening it. */
void port_add(struct ports *p, struct port *port, const char *address);
/* Add one and listen.  On failure it is not there. */
int port_open(struct ports *p, struct port *port, const char *address, struct error *e);
/* The same for gRPC; o->keep is the limit of a message, inflated. */
int port_open_grpc(struct ports *p, struct port *port, const char *address,
	const struct grpc_method *methods, struct error *e);
/* For a method's `begin`: may who shows this Authorization send?  Without the setting `token`
 * anybody, and *out is zeroed.  Else a status of gRPC's, with the sentence. */
int port_admit(
	const struct port *port, struct str authorization, struct token *out, struct error *e);
void ports_pause(struct ports *p);
void ports_resume(struct ports *p);
/* Every PORTS_TICK_MS, also while it drains. */
void ports_tick(struct ports *p);
/* Will an input that starts after this one's stop have the address? */
bool port_is_wanted(const struct port *port);
/* Leave to the next input the listeners that it wants. */
void ports_park(struct ports *p);
/* Park those, drain the others for a few seconds at most.  `drained` may be called from within. */
void ports_stop(struct ports *p);
/* Between ports_wait and ports_done the owner drains something of its own. */
void ports_wait(struct ports *p);
void ports_done(struct ports *p);
void ports_close(struct ports *p); /* at once */
void ports_dump(const struct ports *p, struct buf *out);

/* For the kinds' checks and tables. */

/* Is it tls://, https:// or grpcs://? */
bool port_over_tls(const char *address);
/* Is it grpc:// or grpcs://? */
bool port_is_grpc(const char *address);
/* One address beyond loopback that asks nobody who he is: ERR_ARG. */
int port_check_open(const struct port_settings *s, const char *address, struct error *e);
/* What is left of the settings after each address: `any` is an example of an address, `tls` names
 * the schemes with TLS. */
int ports_check(const struct port_settings *s, const char *any, const char *tls, struct error *e);
/* For input_type.listens. */
void ports_listens(const struct port_settings *s,
	void (*each)(void *arg, const char *address, bool guarded), void *arg);
