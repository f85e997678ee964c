/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners between two owners: parked by the one, taken over by the other
 * with their connections and what those hold.
 */
#include "net/connection.h"

#include <assert.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/log.h"

static struct lock parked_lock = LOCK_INIT;
static struct list all_parked = {&all_parked, &all_parked};

void listener_unpark(struct listener *l)
{
	lock_take(&parked_lock);
	list_remove(&l->parked);
	lock_drop(&parked_lock);
}

/* The first one with the address, or with any for NULL. */
static struct listener *find_parked(struct loop *loop, const char *address)
{
	struct listener *found = NULL;

	lock_take(&parked_lock);
	LIST_EACH (at, &all_parked) {
		struct listener *l = CONTAINER(at, struct listener, parked);
		if (!found && l->loop == loop && (!address || strcmp(l->address, address) == 0))
			found = l;
	}
	if (found)
		list_remove(&found->parked);
	lock_drop(&parked_lock);
	return found;
}

void listener_exchange_settings(struct listener *l, struct listener *from)
{
	struct listener old = *l;

	l->other_ca = !str_same(l->tls_paths[2], from->tls_paths[2]);
	account_release(old.o.account, old.charged);
	LIST_EACH (at, &l->connections) {
		struct connection *c = CONTAINER(at, struct connection, node);
		account_release(old.o.account, c->charged);
		c->charged = 0;
	}
	l->o = from->o;
	l->address = from->address;
	l->allow = from->allow;
	l->tls = from->tls;
	memcpy(l->tls_paths, from->tls_paths, sizeof l->tls_paths);
	from->address = old.address;
	from->allow = old.allow;
	from->tls = old.tls;
	memcpy(from->tls_paths, old.tls_paths, sizeof from->tls_paths);
	if (l->o.account)
		account_force(l->o.account, l->charged);
	LIST_EACH (at, &l->connections)
		connection_charge(CONTAINER(at, struct connection, node));
	if (l->datagrams) /* what was allowed may not be now */
		datagrams_forget_peer(l->datagrams);
}

struct listener *listener_find_parked(struct loop *loop, const char *address)
{
	return find_parked(loop, address);
}

/* One that would not be let in now goes on to what it has sent already. */
static void check_leaving(struct connection *c)
{
	bool other_ca = c->listener->other_ca;

	if (c->leaving || (!other_ca && connection_allowed(c)))
		return;
	c->leaving = true;
	c->drained = 0;
	if (other_ca)
		listener_refused(c->listener, "client_certificate", c->peer,
			"tls.client_ca is another one now, and its certificate was checked with the "
			"old one: it may connect again");
	else
		listener_refused(c->listener, "not_allowed", c->peer, LISTENER_NOT_ALLOWED);
}

void listener_adopt(struct listener *l)
{
	l->is_parked = l->paused = l->starved = l->full = false;
	l->n_starved = 0;
	l->fed = NULL;
	LIST_EACH (at, &l->connections) {
		struct connection *c = CONTAINER(at, struct connection, node);

		c->last_ms = listener_now_ms(l);
		check_leaving(c);
		if (c->tls && !tls_session_ready(c->tls)) {
			if (c->leaving) {
				connection_close(c, NULL);
				continue;
			}
			list_remove(&c->aside);
			connection_watch(c, connection_events(c));
			continue;
		}
		if (!connection_open(c))
			continue;
		c->pending = c->held.n > 0 || c->ended;
		connection_set_aside(c);
	}
}

void listener_park(struct listener *l)
{
	assert(!l->draining && !l->is_parked);
	datagrams_tell_drops(l);
	while (!list_empty(&l->lingering))
		connection_close(CONTAINER(l->lingering.next, struct connection, node), NULL);
	l->is_parked = true;
	listener_watch(l, false);
	LIST_EACH (at, &l->connections) {
		struct connection *c = CONTAINER(at, struct connection, node);

		connection_watch(c, 0);
		if (c->told && l->events.closed)
			l->events.closed(l->arg, c, c->state, NULL);
		c->told = false;
		c->state = NULL;
	}
	l->events = (struct listener_events){0};
	l->arg = NULL;
	lock_take(&parked_lock);
	list_append(&all_parked, &l->parked);
	lock_drop(&parked_lock);
	timer_clear(&l->tick);
	timer_clear(&l->kick);
}

static void drop(struct listener *l)
{
	size_t n_held = 0;

	LIST_EACH (at, &l->connections)
		n_held += CONTAINER(at, struct connection, node)->held.n > 0;
	log_warn("net",
		"%s: no input listens there now: closed with %zu connections, %zu of them within a message",
		l->address, l->n_connections, n_held);
	listener_close(l);
}

void listener_drop_parked(struct loop *loop)
{
	struct listener *l;

	while ((l = find_parked(loop, NULL)))
		drop(l);
}
