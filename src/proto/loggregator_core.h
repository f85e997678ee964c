/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the files of loggregator know of each other; nobody else includes this.
 *
 *	loggregator.c         names, and what a message is in the store
 *	loggregator_of.c      and back
 *	loggregator_read.c    what a datagram or a batch holds
 *	loggregator_http.c    dropsonde's HttpStartStop, whose fields are tags here
 *	loggregator_sign.c    signatures of both generations
 *	loggregator_write.c   protobuf and parts of multipart answers
 *	loggregator_json.c    protojson
 */
#include "codec/protobuf.h"
#include "proto/loggregator.h"

/* Numbers of fields and enums in the public .proto files. */

enum log_message_field { /* logmessage.LogMessage, 2013 */
	LM_MESSAGE = 1,
	LM_TYPE,
	LM_TIMESTAMP, /* zigzag */
	LM_APP,
	LM_SOURCE_TYPE, /* removed 2013-12 */
	LM_SOURCE_ID,
	LM_DRAINS,
	LM_SOURCE_NAME,
};

enum log_envelope_field { LE_KEY = 1, LE_SIGNATURE, LE_MESSAGE };

enum message_type { MESSAGE_OUT = 1, MESSAGE_ERR };

enum source_type_number {
	SOURCE_CLOUD_CONTROLLER = 1,
	SOURCE_ROUTER,
	SOURCE_UAA,
	SOURCE_DEA,
	SOURCE_WARDEN,
	SOURCE_LOGGREGATOR,
	SOURCE_UNKNOWN,
	SOURCE_END,
};

enum envelope_field { /* events.Envelope */
	EV_ORIGIN = 1,
	EV_TYPE = 2,
	EV_TIMESTAMP = 6,
	EV_HTTP = 7,
	EV_LOG,
	EV_VALUE,
	EV_COUNTER,
	EV_ERROR,
	EV_CONTAINER,
	EV_DEPLOYMENT = 13,
	EV_JOB,
	EV_INDEX,
	EV_IP,
	EV_TAGS,
};

enum event_type { /* the event of a type is in the field with its number + 3 */
	TYPE_HTTP = 4,
	TYPE_LOG,
	TYPE_VALUE,
	TYPE_COUNTER,
	TYPE_ERROR,
	TYPE_CONTAINER,
};

enum { TYPE_TO_FIELD = EV_HTTP - TYPE_HTTP };

enum v2_field { /* loggregator.v2.Envelope */
	V2_TIMESTAMP = 1,
	V2_SOURCE_ID,
	V2_DEPRECATED_TAGS,
	V2_LOG,
	V2_COUNTER,
	V2_GAUGE,
	V2_TIMER,
	V2_INSTANCE_ID,
	V2_TAGS,
	V2_EVENT,
};

enum http_field {
	HTTP_START = 1,
	HTTP_STOP,
	HTTP_REQUEST_ID,
	HTTP_PEER_TYPE,
	HTTP_METHOD,
	HTTP_URI,
	HTTP_REMOTE_ADDRESS,
	HTTP_USER_AGENT,
	HTTP_STATUS,
	HTTP_LENGTH,
	HTTP_APP = 12,
	HTTP_INSTANCE,
	HTTP_INSTANCE_ID,
	HTTP_FORWARDED,
};

/* Of ContainerMetric, from its field 3 on; the names are those of a v2 gauge. */
enum { CONTAINER_FIELD = 3, N_CONTAINER = 5 };
extern const struct container_metric {
	struct str name, unit;
} loggregator_container[N_CONTAINER];

extern const char *const loggregator_short_names[SOURCE_END]; /* NULL: has none */

/* Add one; beyond the limit it is counted. */
void loggregator_add_tag(struct loggregator *x, struct str name, struct str value);
void loggregator_add_metric(struct loggregator *x, struct str name, struct str unit, double value);
/* The text that stands for x where only text is shown. */
void loggregator_put_text(struct buf *out, const struct loggregator *x);
/* The shortest text that reads back as v. */
void loggregator_put_double(struct buf *out, double v);

/* loggregator_http.c: HttpStartStop; ERR_CORRUPT. */
int loggregator_read_http(struct loggregator *x, struct str message, struct arena *scratch);
void loggregator_put_http(struct buf *out, const struct loggregator *x);

/* loggregator_sign.c */
enum {
	SIGN_IV = 16,
	SIGN_2013 = 64,  /* bytes: the IV, and the padded digest */
	SIGN_DIGEST = 32 /* SHA-256, and in front of a dropsonde envelope */
};
bool loggregator_verify_2013(
	struct str signature, struct str text, const struct loggregator_secret *s);
bool loggregator_verify_dropsonde(struct str datagram, const struct loggregator_secret *s);
