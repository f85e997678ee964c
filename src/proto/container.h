/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Lines as container runtimes write them to their log files.
 *
 *   Docker json-file  {"log":"text\n","stream":"stdout","time":"2026-08-21T10:00:00.5Z"}
 *   CRI               2026-08-21T10:00:00.500000000Z stdout F text
 *
 * A long line of a program comes in pieces: Docker's have no newline at the
 * end of the text, CRI's have the tag P instead of F.
 * Sources: docs.docker.com "JSON File logging driver"; the Kubernetes design
 * "CRI: log management".  Pure functions.
 */
#include "base/buf.h"

enum container_stream { STREAM_NONE, STREAM_STDOUT, STREAM_STDERR };

struct container_line {
	struct str text;      /* what the program wrote; Docker's with its newline */
	struct str time_text; /* as written, a view into the line; empty: none that can be read */
	int64_t time;         /* ns */
	enum container_stream stream;
	bool partial;     /* the program's line goes on in the next one of the stream */
	struct str attrs; /* Docker: the JSON object of labels and variables, a view */
	size_t head;      /* bytes of the line before the text as it stands there */
	size_t foot;      /* and behind it */
};

/* Line without its newline.  False: it is none.  Views are into the line. */
bool cri_decode(struct str line, struct container_line *out);
/* The text is unescaped to the end of `into`, which out->text then views: valid until it grows. */
bool docker_decode(struct str line, struct buf *into, struct container_line *out);
/* Call `each` for each pair of texts in `attrs`; `into` as above. */
void docker_attrs(struct str attrs, struct buf *into,
	void (*each)(void *arg, struct str name, struct str value), void *arg);

/* How a writer of JSON escapes. */
enum json_manner {
	JSON_SHORT = 1,    /* tab, \b and \f in two characters; else \u0009 */
	JSON_PLAIN = 2,    /* < > & and U+2028, U+2029 stand as they are; else \u003c */
	JSON_REPLACED = 4, /* U+FFFD, for what was no UTF-8, is \ufffd */
};
/* Append `text` as inside a JSON string: with 0 as Docker does. */
void json_escape(struct str text, unsigned manner, struct buf *out);
