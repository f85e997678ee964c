/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forms of Loggregator's clients: a LogMessage or a dropsonde Envelope a
 * frame, and the gateway's server-sent events, each a batch of v2 envelopes as
 * protojson.  Only the last kind of frame is open between two entries:
 *
 *   data: {"batch":[{…},{…}          (so it goes from server to server)
 *   data: {"batch":[{…},{…}]}\n\n    (ended)
 */
#include "api/live.h"

#include <inttypes.h>

#include "api/loggregator_core.h"

static void read_entry(struct loggregator *out, struct api *a, const struct query_entry *x)
{
	loggregator_of_entry(out, x, a->loggregator->app_label);
}

static bool add_message(
	struct api *a, void *state, struct buf *frame, const struct query_entry *x, size_t nth)
{
	struct loggregator l;

	read_entry(&l, a, x);
	loggregator_put_message(frame, &l);
	return false;
}

static void notice_message(struct buf *frame, struct str app, struct str text, int64_t now_ns)
{
	struct loggregator l;

	loggregator_notice(&l, app, now_ns, text);
	loggregator_put_message(frame, &l);
}

static bool add_envelope(
	struct api *a, void *state, struct buf *frame, const struct query_entry *x, size_t nth)
{
	struct loggregator l;

	read_entry(&l, a, x);
	loggregator_put_envelope(frame, &l, nth);
	return nth + 1 < loggregator_n_envelopes(&l);
}

static void notice_envelope(struct buf *frame, struct str app, struct str text, int64_t now_ns)
{
	struct loggregator l;

	loggregator_notice(&l, app, now_ns, text);
	loggregator_put_envelope(frame, &l, 0);
}

static void put_event(struct buf *frame, const struct loggregator *l)
{
	buf_c(frame, frame->n ? "," : "data: {\"batch\":[");
	loggregator_put_json(frame, l);
}

static bool add_event(
	struct api *a, void *state, struct buf *frame, const struct query_entry *x, size_t nth)
{
	struct loggregator l;

	read_entry(&l, a, x);
	put_event(frame, &l);
	return false;
}

static void end_event(struct buf *frame, struct str cursor)
{
	buf_c(frame, "]}\n\n");
}

static void begin_notice_event(struct buf *frame, struct str app, struct str text, int64_t now_ns)
{
	struct loggregator l;

	loggregator_notice(&l, app, now_ns, text);
	put_event(frame, &l);
}

static void notice_event(struct buf *frame, struct str app, struct str text, int64_t now_ns)
{
	begin_notice_event(frame, app, text, now_ns);
	end_event(frame, STR_NONE);
}

static void beat_event(struct buf *frame, int64_t now_ns)
{
	buf_printf(frame, "event: heartbeat\ndata: %" PRId64 "\n\n", now_ns / NS_PER_SEC);
}

static void closing_event(struct buf *frame)
{
	buf_c(frame, "event: closing\ndata: closing due to stream timeout\n\n");
}

/* In the words of 2014, as far as they go: what was lost is not in a buffer of a hundred, but older
 * than what is kept. */
static void missed_by(struct buf *frame, uint64_t n, struct str app, int64_t now_ns,
	void (*notice)(struct buf *frame, struct str app, struct str text, int64_t now_ns))
{
	struct buf text = {0};

	buf_c(&text, "Log message output too high. We've dropped ");
	if (n)
		buf_printf(&text, "up to %" PRIu64 " ", n);
	buf_c(&text, "messages that were not read before they became too old to keep");
	notice(frame, app, buf_view(&text), now_ns);
	buf_fini(&text);
}

static void missed_message(struct buf *frame, uint64_t n, struct str app, int64_t now_ns)
{
	missed_by(frame, n, app, now_ns, notice_message);
}

static void missed_envelope(struct buf *frame, uint64_t n, struct str app, int64_t now_ns)
{
	missed_by(frame, n, app, now_ns, notice_envelope);
}

static void missed_event(struct buf *frame, uint64_t n, struct str app, int64_t now_ns)
{
	missed_by(frame, n, app, now_ns, begin_notice_event);
}

const struct live_form live_message = {.name = "message",
	.binary = true,
	.single = true,
	.add = add_message,
	.missed = missed_message,
	.notice = notice_message};

const struct live_form live_envelope = {.name = "envelope",
	.binary = true,
	.single = true,
	.add = add_envelope,
	.missed = missed_envelope,
	.notice = notice_envelope};

const struct live_form live_sse = {.name = "sse",
	.add = add_event,
	.end = end_event,
	.missed = missed_event,
	.notice = notice_event,
	.beat = beat_event,
	.closing = closing_event};

static const struct live_form *const forms[] = {
	&live_loki, &live_message, &live_envelope, &live_sse};

const struct live_form *live_form_find(struct str name)
{
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
		if (str_eq_c(name, forms[i]->name))
			return forms[i];
	return NULL;
}
