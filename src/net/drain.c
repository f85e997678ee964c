/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a listener that loses nothing: what has come until now is handed
 * over, in turns, so that the loop is not held up.
 */
#include "net/connection.h"

enum {
	DRAIN_TURN = 64,       /* reads between two turns of the loop */
	DRAIN_BYTES = 8 << 20, /* of one connection: more than the kernel buffers by default */
};

bool connection_drain(struct connection *c)
{
	if (!c->told) {
		connection_close(c, NULL);
		return true;
	}
	if (!c->ended && c->drained < DRAIN_BYTES) {
		switch (connection_read(c)) {
		case READ_SOME:
		case READ_WAIT: return false;
		case READ_GONE: return true;
		case READ_NONE: break;
		}
	}
	c->broken |= !c->ended;
	return !connection_hand_over(c, buf_view(&c->held), true);
}

void listener_drain_some(struct listener *l)
{
	size_t most = l->o.receive_buffer > DRAIN_BYTES ? l->o.receive_buffer : DRAIN_BYTES;

	for (unsigned i = 0; i < DRAIN_TURN && !l->paused && !l->starved; i++) {
		if (l->datagrams && l->fd >= 0) {
			datagrams_hand_over(l);
			if (l->paused)
				break;
			if (l->drain_bytes > most || datagrams_read(l) == READ_NONE)
				listener_stop_listening(l);
		} else if (!list_empty(&l->connections)) {
			connection_drain(CONTAINER(l->connections.next, struct connection, node));
		} else {
			break;
		}
	}
	if (l->fd >= 0 || !list_empty(&l->connections)) {
		if (!l->paused && !l->starved)
			timer_set(&l->kick, 0, 0);
	} else if (!l->drained && list_empty(&l->lingering)) {
		l->drained = true;
		if (l->events.drained)
			l->events.drained(l->arg);
	}
}

void listener_drain(struct listener *l)
{
	if (l->draining)
		return;
	l->draining = true;
	if (!l->datagrams) {
		/* Who is in the queue has sent already, as far as he knows. */
		listener_accept(l, LISTENER_CONNECTIONS);
		listener_stop_listening(l);
	} else {
		listener_watch(l, false);
	}
	LIST_EACH (at, &l->connections) {
		struct connection *c = CONTAINER(at, struct connection, node);
		c->drained = 0;
		connection_watch(c, 0);
	}
	timer_set(&l->kick, 0, 0);
}
