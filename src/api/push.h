/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The way of a push, whatever it speaks: take the body, decode it into a
 * batch, submit that, and answer when it is on disk.  Not for other folders.
 */
#include "api/internal.h"
#include "proto/lokipush.h"

/* A body that is being decoded; on the thread of its request. */
struct push {
	struct api *api;
	struct http_request *request;
	struct str body;            /* after Content-Encoding, with room for a batch made of it */
	struct json_parser *parser; /* for the call */
	struct room room;
	struct push_options options;
	struct push_report report; /* zeroed */
};

struct push_kind {
	const char *input; /* "loki" */
	/* Add the records of the body: a code when nothing of it is to be kept. */
	int (*decode)(struct push *p, struct batch_builder *into, struct error *e);
	/* Reply, on any thread: result->code is of the decoder or of the sink. */
	void (*answer)(struct http_request *r, const struct sink_result *result,
		const struct push_report *report);
};

/* Answers in any case. */
void push_run(struct api *a, struct http_request *r, const struct push_kind *kind);

/* Put the content of the snappy block that the body is in its place, charged, but without room for
 * a batch: ERR_CORRUPT, or as room_take. */
int push_unsnap(struct push *p, struct error *e);

/* Free what is kept for the next push. */
void push_fini(struct api *a);
