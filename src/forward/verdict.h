/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a server's answer to POST /api/v1/forward means for the batch.  A wrong
 * token or a server of another kind is not held against the records: somebody
 * will put it right.  Pure; a parser belongs to one thread at a time.
 */
#include "codec/json.h"
#include "loop/loop.h"
#include "net/client.h"
#include "record/sink.h"

enum verdict { VERDICT_DELIVERED, VERDICT_REFUSED, VERDICT_AGAIN };

/* Fills `result` unless it is VERDICT_AGAIN: then e tells why.  `where` names the server. */
enum verdict verdict_of(struct json_parser *parser, const char *where, const struct http_answer *a,
	struct sink_result *result, struct error *e);
/* How long to wait before the next try: as the answer (NULL: there was none) asks, at most `most_s`
 * seconds, else by the backoff.  A server that is merely busy is asked again sooner than it says.
 */
uint64_t verdict_pause_ms(
	struct backoff *b, const struct http_answer *a, const struct error *why, unsigned most_s);
