/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form of Loki's tail: {"streams":[{"stream":{…},"values":[["ns","line"],…]},…],
 * "dropped_entries":null,"sawlog":{"cursor":"…"}}.  Lines behind each other in
 * one stream share its object.
 *
 * What was missed is told as "sawlog":{"gap":N}; in a frame that is not ended
 * yet, and may be on its way to another server, the number is at its front.
 */
#include "api/live.h"

#include <inttypes.h>

#include "codec/codec.h"

struct loki_state {
	struct buf key;  /* of the stream that is open in the frame */
	struct buf next; /* of the line to be added */
};

static void put_part(struct buf *key, struct str part)
{
	varint_put(key, part.n);
	buf_str(key, part);
}

/* Add a line to the frame, under the stream object that is open if it is the same. */
static bool add(
	struct api *a, void *state, struct buf *frame, const struct query_entry *x, size_t nth)
{
	struct loki_state *s = state;

	buf_clear(&s->next);
	put_part(&s->next, x->labels);
	put_part(&s->next, x->meta);
	put_part(&s->next, x->parsed);
	if (s->key.n && str_eq(buf_view(&s->key), buf_view(&s->next))) {
		buf_char(frame, ',');
	} else {
		struct buf key = s->key;

		buf_c(frame, s->key.n ? "]},{\"stream\":" : "{\"streams\":[{\"stream\":");
		api_write_labels(frame, x->labels, x->meta, x->parsed);
		buf_c(frame, ",\"values\":[");
		s->key = s->next;
		s->next = key;
	}
	buf_printf(frame, "[\"%" PRId64 "\",", x->timestamp);
	buf_json(frame, x->line);
	buf_char(frame, ']');
	return false;
}

static void missed(struct buf *frame, uint64_t n, struct str app, int64_t now_ns)
{
	buf_printf(frame, "{\"gap\":%" PRIu64 ",\"streams\":[", n);
}

static void end(struct buf *frame, struct str cursor)
{
	struct str gap = buf_view(frame);
	bool told = str_starts(gap, STR("{\"gap\":"));

	buf_c(frame, told ? "]" : "]}]");
	buf_printf(frame, ",\"dropped_entries\":null,\"sawlog\":{\"cursor\":\"%.*s\"",
		STR_ARG(cursor.n ? cursor : STR("0")));
	if (told) {
		uint64_t n = 0;

		gap = str_sub(buf_view(frame), sizeof "{\"gap\":" - 1, frame->n);
		str_u64(str_cut(&gap, ','), &n);
		buf_printf(frame, ",\"gap\":%" PRIu64, n);
	}
	buf_c(frame, "}}");
}

static void rest(void *state)
{
	struct loki_state *s = state;

	buf_fini(&s->key);
	buf_fini(&s->next);
}

const struct live_form live_loki = {.name = "loki",
	.state_size = sizeof(struct loki_state),
	.add = add,
	.end = end,
	.missed = missed,
	.rest = rest};
