/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the forms of messages share.  Not for other folders.
 *
 * A form reads a body in full before it tells the first record, as a body that
 * fails must have told none.  Metadata of the record at hand is collected in
 * `meta`, which message_tell writes and empties.  A decoder, and all of this,
 * belongs to one thread.
 */
#include "codec/json.h"
#include "proto/message.h"

/* A zone changes only at a quarter of an hour of the clock. */
struct message_zone {
	int64_t quarter;
	int seconds;
	bool known;
};

struct message_decoder {
	struct message_options o;
	struct json_parser *parser;
	struct buf inflated;
	struct labels_builder meta;
	struct buf meta_bytes, name, clean, text;
	struct message_zone zones[16]; /* by quarter */
	/* The call at hand. */
	const struct message *m;
	struct str body; /* after content_encoding */
	int (*each)(void *arg, const struct message_record *r);
	void *arg;
	size_t n_told;
	struct json doc; /* message_json_read's */
	bool lines;      /* an object a line: doc is the last one's */
};

/* The time that `s` starts with, in the decoder's zone when it names none: the bytes it takes. */
size_t message_read_time(struct message_decoder *d, struct str s, int64_t *out);
/* time_detect in that zone. */
bool message_detect_time(struct message_decoder *d, struct str line, int64_t *out);
/* A time of the sender's, else the message's own, else the observed one. */
void message_set_time(const struct message_decoder *d, struct record *r, bool told, int64_t ns);
/* Cut the line, add the metadata, find the level, call each.  What it returned. */
int message_tell(struct message_decoder *d, struct message_record *r);

/* ---- the forms ---- */

int message_plain(struct message_decoder *d);
/* strict: only what can hardly be anything else, for auto. */
int message_text(struct message_decoder *d, bool strict, struct error *e);

/* message_push.c: in JSON or protobuf. */
int message_loki(struct message_decoder *d, struct error *e);
int message_otlp(struct message_decoder *d, struct error *e);
/* Either of them, in protobuf. */
int message_protobuf(struct message_decoder *d, struct error *e);
bool message_looks_like_protobuf(struct str body);

/* What a body is as JSON. */
enum message_shape { SHAPE_OTHER, SHAPE_OBJECTS, SHAPE_LOKI, SHAPE_OTLP };

/* Reads all of it.  ERR_ARG: it is no JSON, and no object a line. */
int message_json_read(struct message_decoder *d, enum message_shape *shape, struct error *e);
/* Of what was read as SHAPE_OBJECTS. */
int message_json_tell(struct message_decoder *d);
