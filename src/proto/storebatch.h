/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The body of POST /store/batch (log forwarder with a batch API):
 *
 *   {"batch": [{"uuid": "…", "host": "h", "file": "/abs/path", "line-num": 6, "content": "106"}],
 *    "size": 2}
 *
 * Lines are keyed host + file + line-num (0-based); uuid and size are ignored.  Each line becomes
 * a record of the stream {host, file, app = file's base name without extension, service_name,
 * input="batch"}, with POSITION_SET position line-num in the source storebatch_source(host, file).
 * Pure.  One thread a parser.
 */
#include "proto/lokipush.h"

enum { STOREBATCH_LINES_MAX = 65535 }; /* of one body */

/* Append the source id of a host's file: "batch:" host ":" file, with '%' and ':' of the host
 * as %25 and %3A, so that no two pairs share an id. */
void storebatch_source(struct buf *out, struct str host, struct str file);
/* A line's time is the one at its head (time_detect, in the host's zone), else o->observed_ns
 * with RECORD_TIME_OBSERVED.  `into` is fresh.
 * All or nothing: ERR_ARG "batch[3].line-num: must be a whole number from 0 on, got \"x\"",
 * ERR_LIMIT for a line beyond o->max_line (never cut here: the key promises the content). */
int storebatch_json(struct json_parser *parser, struct str body, const struct push_options *o,
	struct batch_builder *into, struct error *e);
