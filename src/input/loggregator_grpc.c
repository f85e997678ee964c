/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service loggregator.v2.Ingress: envelopes over gRPC.
 *
 *   Sender       a stream of envelopes      clients keep one open for ever
 *   BatchSender  a stream of batches        the same
 *   Send         one batch                  answered once it is durable
 *
 * A stream's answer comes when its client ends it, then too after all of it
 * is durable; what is sent on one that breaks is not acknowledged.  A message
 * that cannot be read costs itself: the stream goes on.
 *
 * Source: loggregator-api, ingress.proto.
 */
#include "input/answer.h"
#include "input/loggregator_input.h"

#include <stdlib.h>

struct ingress {
	struct loggregator_input *in;
	struct loggregator_origin from;
	struct answer *answer;
};

static int begin(
	void *arg, struct grpc_call *c, struct str authorization, void **state, struct error *e)
{
	struct loggregator_port *p = CONTAINER(arg, struct loggregator_port, port);
	struct ingress *x = xcalloc(1, sizeof *x);

	(void)authorization;
	(void)e;
	x->in = p->port.ports->o.arg;
	x->from = (struct loggregator_origin){
		.port = p, .peer = grpc_peer(c), .certificate = grpc_certificate(c)};
	x->answer = answer_new(c);
	*state = x;
	return 0;
}

static int take_each(void *arg, const struct loggregator *envelope)
{
	const struct ingress *x = arg;

	loggregator_take(x->in, &x->from, envelope);
	return 0;
}

/* Before and behind a message: what is here is taken, the next waits if it must. */
static void make_room(struct ingress *x)
{
	x->in->observed_ns = clock_now_ns(x->in->env->clock);
	outlets_room(x->in->outlets);
}

static void settle(struct ingress *x, int r, const struct error *why)
{
	if (r < 0)
		loggregator_refuse(x->in, &x->from, "malformed", why->text, 1);
	if (x->in->scratch.bytes)
		arena_clear(&x->in->scratch);
	outlets_room(x->in->outlets);
	outlets_flush_if_idle(x->in->outlets);
}

static int take_batch(struct ingress *x, struct str bytes, struct error *e)
{
	int r;

	make_room(x);
	r = loggregator_decode_batch(bytes, &x->in->scratch, take_each, x, e);
	settle(x, r, e);
	return r;
}

static int on_envelope(struct grpc_call *c, void *state, struct str bytes, struct error *e)
{
	struct ingress *x = state;
	struct loggregator envelope;
	int r;

	(void)c;
	make_room(x);
	r = loggregator_decode_v2(&envelope, bytes, &x->in->scratch, e);
	if (r == 0)
		loggregator_take(x->in, &x->from, &envelope);
	settle(x, r, e);
	return 0;
}

static int on_batch(struct grpc_call *c, void *state, struct str bytes, struct error *e)
{
	(void)c;
	take_batch(state, bytes, e);
	return 0;
}

/* Who sends one batch is told that it is none. */
static int on_send(struct grpc_call *c, void *state, struct str bytes, struct error *e)
{
	(void)c;
	return take_batch(state, bytes, e);
}

static void end(struct grpc_call *c, void *state)
{
	struct ingress *x = state;

	(void)c;
	answer_wait(x->answer, outlets_of(x->in->outlets, STR_NONE));
	answer_end(x->answer, STR_NONE);
}

static void closed(struct grpc_call *c, void *state)
{
	struct ingress *x = state;

	(void)c;
	answer_closed(x->answer);
	free(x);
}

const struct grpc_method loggregator_methods[] = {
	{"/loggregator.v2.Ingress/Sender", begin, on_envelope, end, closed},
	{"/loggregator.v2.Ingress/BatchSender", begin, on_batch, end, closed},
	{"/loggregator.v2.Ingress/Send", begin, on_send, end, closed},
	{0},
};
