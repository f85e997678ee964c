/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the files of the syslog input know of each other; nobody else includes
 * this.
 *
 *	syslog.c         life and settings
 *	syslog_port.c    what the listeners bring
 *	syslog_record.c  from a message to a record
 *	syslog_meta.c    its metadata
 */
#include "input/ports.h"
#include "net/token.h"
#include "proto/syslog.h"
#include "record/zone.h"

struct syslog_settings {
	struct port_settings port;
	struct string_map labels;
	const char *app, *timezone;
	uint64_t max_line;
};

/* A connection. */
struct session {
	struct port *port;
	char ip[SOCKET_PEER_MAX];
	struct str certificate; /* a view into the connection */
	struct buf cut;         /* a message too long, up to the limit, or broken off */
	uint64_t cut_n;         /* its whole length so far */
	/* The token that was good last, and when that was looked at. */
	struct buf secret;
	struct token token;
	int64_t checked_ns;
};

struct syslog_input {
	const struct syslog_settings *s;
	const struct input_env *env; /* env_copy: what it points to is borrowed */
	struct input_env env_copy;
	struct outlets *outlets; /* by host and app */
	struct ports ports;
	struct port *all_ports;
	struct str fixed_host, fixed_app; /* labels by the settings; empty: by the message */
	struct zone *zone;                /* NULL: the host's */
	int zone_seconds;
	int64_t zone_until_ns; /* zone_seconds is good up to here */
	struct buf meta, raw;
	struct labels_builder meta_builder;
	struct syslog_data data;
	struct timer tick;
	uint64_t n_denied;
	int64_t observed_ns;
	loop_fn *stopped;
	void *stopped_arg;
};

/* Fields of the metadata in order of name.  None has that of a label: it would hide the label. */
enum field {
	FIELD_APPNAME,
	FIELD_CERTIFICATE,
	FIELD_FACILITY,
	FIELD_HOSTNAME,
	FIELD_MSGID,
	FIELD_PEER,
	FIELD_PID,
	FIELD_SEQUENCE,
	FIELD_SEVERITY,
	FIELD_TIME,
	FIELD_TRUNCATED,
	N_FIELDS,
};

/* Where a message came from. */
struct origin {
	struct port *port;
	struct session *session; /* NULL: a datagram */
	struct str ip;           /* of the peer; empty for unix */
};

/* syslog_meta.c */
/* The value of our token in structured data; valid until the next call for the input. */
struct str syslog_find_token(struct syslog_input *in, struct str data);
/* Valid until the next call for the input. */
struct str syslog_meta(struct syslog_input *in, const struct str fields[N_FIELDS], struct str data);

/* syslog_record.c */
/* `length` is that of the whole message, 0 when it broke off and nobody knows.  ERR_DENIED: not
 * taken. */
int syslog_take(struct syslog_input *in, const struct origin *from, struct str message,
	uint64_t length, struct error *e);

/* syslog_port.c */
extern const struct listener_events syslog_port_events; /* their argument is the port */
