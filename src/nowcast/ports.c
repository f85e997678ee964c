/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zmq.ports: who binds which port of which host.
 *
 * A bare number is a port of zmq.host.  `logging` maps publishers to a port,
 * a "host:port", or a list of them; the others (manager, workers) are bound by
 * the message broker.  Publishers bind, so two of one port exclude each other,
 * and the second to start finds out at night: a port that is there twice is
 * refused here, with both places.
 */
#include "nowcast/translation.h"

struct endpoint {
	const char *key; /* "zmq.ports.logging.workers" */
	struct str host;
	unsigned port;
	struct place place;
};

struct endpoints {
	struct translation *t;
	struct str host; /* zmq.host, empty when it is missing */
	struct place zmq;
	bool host_asked; /* its absence was told */
	struct endpoint *items;
	size_t n;
};

static bool is_host(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i], low = (char)(c | 0x20);
		if (!(low >= 'a' && low <= 'z') && !(c >= '0' && c <= '9') && !strchr(".-_:[]%", c))
			return false;
	}
	return s.n > 0;
}

static bool same_host(struct str a, struct str b)
{
	static const char *const local[] = {"localhost", "127.0.0.1", "::1", "[::1]"};
	bool a_local = false, b_local = false;

	for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
		a_local = a_local || str_eq_nocase(a, str_c(local[i]));
		b_local = b_local || str_eq_nocase(b, str_c(local[i]));
	}
	return (a_local && b_local) || str_eq_nocase(a, b);
}

static void check_clash(struct endpoints *all, const struct endpoint *e)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct endpoint *other = &all->items[i];
		if (other->port != e->port || !same_host(other->host, e->host))
			continue;
		problem_add(all->t->errors, &e->place, e->key,
			"port %u of %.*s is already taken by %s on line %d, column %d: each process "
			"that publishes needs a port of its own",
			e->port, STR_ARG(e->host), other->key, other->place.line,
			other->place.column);
		return;
	}
}

static bool need_host(struct endpoints *all)
{
	if (all->host.n)
		return true;
	if (!all->host_asked)
		problem_add(all->t->errors, &all->zmq, "zmq.host",
			"missing: ports without a host are those of zmq.host");
	all->host_asked = true;
	return false;
}

/* 5562 or "salish:5562"; NULL after a problem. */
static struct endpoint *read_endpoint(
	struct endpoints *all, const struct yaml_node *node, const char *key)
{
	struct endpoint e = {.key = key, .host = all->host, .place = node->place};
	struct str text = node->kind == NODE_SCALAR ? node->text : STR_NONE, port = text;
	uint64_t number;

	if (all->n == PORTS_MAX) {
		problem_add(all->t->errors, &node->place, key, "more than %d ports", PORTS_MAX);
		return NULL;
	}
	for (size_t i = text.n; i > 0; i--) {
		if (text.p[i - 1] != ':')
			continue;
		e.host = str_sub(text, 0, i - 1);
		port = str_sub(text, i, text.n);
		break;
	}
	if (!str_u64(port, &number) || number == 0 || number > 65535 ||
		(port.n < text.n && !is_host(e.host))) {
		problem_add(all->t->errors, &node->place, key,
			"must be a port from 1 to 65535, or 'host:port'");
		return NULL;
	}
	if (port.n == text.n && !need_host(all))
		return NULL;
	e.port = (unsigned)number;
	check_clash(all, &e);
	all->items[all->n] = e;
	return &all->items[all->n++];
}

/* The worker binds the first port of its list that is free, on whatever host it runs: each port has
 * to be listed for each of its hosts, or what it says there is never heard. */
static void check_shared(struct endpoints *all, size_t first)
{
	const struct endpoint *list = all->items + first;
	size_t n = all->n - first, n_hosts = 0;

	for (size_t i = 0; i < n; i++) {
		bool known = false;
		for (size_t j = 0; j < i && !known; j++)
			known = same_host(list[i].host, list[j].host);
		n_hosts += !known;
	}
	for (size_t i = 0; i < n; i++) {
		size_t listed = 0;
		for (size_t j = 0; j < n; j++)
			listed += list[j].port == list[i].port;
		if (listed >= n_hosts)
			continue;
		problem_add(all->t->errors, &list[i].place, list[i].key,
			"port %u is listed for %.*s, but not for each of its %zu hosts: the hosts of "
			"one worker must share the port, as it binds the first of the list that is "
			"free where it runs",
			list[i].port, STR_ARG(list[i].host), n_hosts);
		return;
	}
}

static void add_publisher(struct translation *t, struct str name, const struct endpoint *e)
{
	struct nowcast *out = t->out;

	out->publishers[out->n_publishers++] = (struct nowcast_publisher){
		arena_c(t->arena, name), arena_c(t->arena, e->host), e->port};
}

static void read_publisher(struct endpoints *all, const struct yaml_node *node)
{
	struct translation *t = all->t;
	const char *key = arena_printf(t->arena, "zmq.ports.logging.%.*s", STR_ARG(node->key));
	const struct endpoint *e;
	size_t first = all->n;

	if (node->key.n == 0) {
		problem_add(t->errors, &node->key_place, key, "a publisher needs a name");
	} else if (node->kind == NODE_LIST) {
		for (const struct yaml_node *i = node->first; i; i = i->next)
			if ((e = read_endpoint(all, i, key)))
				add_publisher(t, node->key, e);
		check_shared(all, first);
	} else if ((e = read_endpoint(all, node, key))) {
		add_publisher(t, node->key, e);
	}
}

static void read_logging(struct endpoints *all, const struct yaml_node *logging)
{
	if (!logging || logging->kind != NODE_MAP || !logging->first)
		problem_add(all->t->errors, logging ? &logging->place : &all->zmq,
			"zmq.ports.logging", "%s",
			logging ? "must be publishers with their ports"
				: "missing: nobody to subscribe to");
	else
		for (const struct yaml_node *p = logging->first; p; p = p->next)
			read_publisher(all, p);
}

/* manager, workers: the broker's, which nobody subscribes to. */
static void read_broker(struct endpoints *all, const struct yaml_node *node)
{
	const char *key = arena_printf(all->t->arena, "zmq.ports.%.*s", STR_ARG(node->key));

	if (node->kind == NODE_LIST)
		for (const struct yaml_node *i = node->first; i; i = i->next)
			read_endpoint(all, i, key);
	else if (node->kind == NODE_SCALAR && !node->null)
		read_endpoint(all, node, key);
}

void ports_read(struct translation *t, const struct yaml_node *zmq, const struct place *file)
{
	struct endpoints all = {.t = t, .zmq = zmq ? zmq->place : *file};
	const struct yaml_node *ports = member(zmq, "ports"), *host = member(zmq, "host");

	/* One page of NEMO_Nowcast's documentation calls it so. */
	if (!host)
		host = member(zmq, "server");
	if (!ports || ports->kind != NODE_MAP) {
		problem_add(t->errors, &all.zmq, "zmq.ports",
			"missing: the ports of the publishers are in zmq.ports.logging");
		return;
	}
	if (host) {
		all.host = scalar(t, host, "zmq.host");
		if (all.host.n && !is_host(all.host))
			problem_add(t->errors, &host->place, "zmq.host", "is no name of a host");
	}
	all.items = ARENA_ARRAY(t->arena, struct endpoint, PORTS_MAX);
	t->out->publishers = ARENA_ARRAY(t->arena, struct nowcast_publisher, PORTS_MAX);
	for (const struct yaml_node *p = ports->first; p; p = p->next)
		if (!str_eq_c(p->key, "logging"))
			read_broker(&all, p);
	read_logging(&all, member(ports, "logging"));
}
