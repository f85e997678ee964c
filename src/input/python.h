/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What all ways in of Python's records share (the python input, and the route
 * /python of api/python.c): the labels of a record's stream, and what the way
 * itself knows of the record beyond what its sender wrote.
 */
#include "proto/pylog.h"
#include "record/discover.h"

/* What tells streams apart, besides `input` and the labels of the settings. */
enum python_key { PYTHON_HOST, PYTHON_APP, PYTHON_LOGGER, PYTHON_KEYS };
extern const char *const python_keys[PYTHON_KEYS]; /* their names as labels */

struct python_sender {
	struct str ip; /* empty for unix sockets and the standard input */
	struct str certificate;
};

/* One thread; zeroed buf. */
struct python_shaper {
	struct str own_host;           /* of this machine */
	struct str fixed[PYTHON_KEYS]; /* by the settings; empty: by the record */
	uint64_t max_line;             /* bytes: a longer record is cut and marked */
	struct buf meta;
};

void python_shaper_fini(struct python_shaper *s);
/* Name the stream of a record, and complete its metadata: `peer` (the address, where it is not the
 * host), `certificate`, `name` (the logger, where the label is not all of it), `truncated_from`.
 * The record's metadata is valid until the next call.  True: the line was cut. */
bool python_shape(struct python_shaper *s, const struct python_sender *from, struct pylog_record *p,
	struct str values[PYTHON_KEYS]);
/* The level by the sender's number; where that is 0, by what the stream and the line tell. */
void python_set_level(const struct discover *d, struct str labels, struct record *r);
