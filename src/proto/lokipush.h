/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The body of POST /loki/api/v1/push, as protobuf or as JSON:
 *
 *   {"streams": [{"stream": {"app": "x"}, "values": [["<ns>", "line", {"meta": "data"}], …]}]}
 *
 * Also the legacy form {"labels": "{app=\"x\"}", "entries": [{"ts": RFC3339, "line": …}]}.
 * Timestamps are ns as strings (numbers are taken as well).  The third element is structured
 * metadata.  Source: Loki HTTP API documentation, "Ingest logs".
 * Pure: owns no socket, file or clock.  One thread a parser.
 */
#include "codec/json.h"
#include "record/discover.h"

struct push_options {
	struct discover discover;
	int64_t observed_ns;
	size_t max_line; /* bytes; a longer line is cut, flagged RECORD_CUT, and its
			  * length is told in the metadata truncated_from. 0: 256 KiB */
};

/* What happened to the entries of a push; zeroed by the caller. */
struct push_report {
	uint64_t n_accepted;
	uint64_t n_cut;
	/* Refused entries by reason: a bad one costs itself (a stream with bad labels its entries).
	 */
	uint64_t n_bad_labels, n_bad_timestamp, n_bad_entry, n_over_limit;
	struct error first; /* the sentence of the first refused, naming stream, entry and limit */
};

/* Add the entries to `into`.  ERR_ARG when the body as a whole makes no sense (no JSON, no
 * "streams"): nothing is added then.  Refused entries are not an error: see `report`. */
int lokipush_json(struct json_parser *parser, struct str body, const struct push_options *o,
	struct batch_builder *into, struct push_report *report, struct error *e);

/* The same as logproto.PushRequest in protobuf, not compressed any more.  First: can all of it be
 * read, and how many entries has it (for the account: an entry of a few bytes becomes a record)?
 * ERR_ARG with the byte where it makes no sense. */
int lokipush_protobuf_check(struct str body, size_t *n_entries, struct error *e);
/* Then add what was checked.  Strings are any bytes, valid UTF-8 or not. */
void lokipush_protobuf(struct str body, const struct push_options *o, struct batch_builder *into,
	struct push_report *report);
