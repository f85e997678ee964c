/* SPDX-License-Identifier: Apache-2.0 */
#include "input/ports.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "conf/mode.h"
#include "input/exposed.h"

enum {
	DRAIN_MS = 4000,
	SOCKET_MODE_MAX = 0777,
};

static void on_drained(void *arg)
{
	struct port *port = arg;

	port->drained = true;
	ports_done(port->ports);
}

/* Opening. */

int ports_init(struct ports *p, const struct ports_options *o, struct error *e)
{
	const struct port_settings *s = o->s;
	int r = 0;

	*p = (struct ports){.o = *o, .events = *o->events};
	p->events.drained = on_drained;
	p->all = xcalloc(s->listen.n + 1, sizeof *p->all);
	p->allow = xcalloc(s->allow.n + 1, sizeof *p->allow);
	if (s->token && !o->env->tokens)
		return error_set(
			e, ERR_ARG, "token: there is no file of tokens: set auth.tokens_file");
	for (size_t i = 0; i < s->allow.n && r == 0; i++)
		r = cidr_parse(&p->allow[i], str_c(s->allow.items[i]), e);
	return r;
}

void ports_fini(struct ports *p)
{
	free(p->allow);
	free(p->all);
}

void port_add(struct ports *p, struct port *port, const char *address)
{
	struct str rest;
	bool socket = socket_kind_of(str_c(address), &port->kind, &rest);

	assert(p->n < p->o.s->listen.n);
	port->ports = p;
	port->address = address;
	port->losses = (struct losses){.env = p->o.env,
		.input = p->o.input,
		.address = address,
		.receive_buffer = p->o.s->receive_buffer,
		.datagrams = socket && socket_is_datagram(port->kind)};
	p->all[p->n++] = port;
}

static struct listener_options listener_options(const struct ports *p, const char *address)
{
	const struct port_settings *s = p->o.s;
	struct listener_options o = {.address = address,
		.tls = &s->tls,
		.account = p->o.env->account,
		.receive_buffer = s->receive_buffer,
		.keep = p->o.keep,
		.mode = 0600,
		.allow = p->allow,
		.n_allow = s->allow.n};

	if (s->mode)
		mode_parse(str_c(s->mode), SOCKET_MODE_MAX, &o.mode);
	return o;
}

int port_open(struct ports *p, struct port *port, const char *address, struct error *e)
{
	struct listener_options o = listener_options(p, address);
	int r;

	port_add(p, port, address);
	r = listener_open(&port->listener, p->o.env->loop, &o, &p->events, port, e);
	if (r < 0)
		p->n--;
	return r;
}

static void on_grpc_refused(void *arg, const struct refusal *r)
{
	losses_refused(&((struct port *)arg)->losses, r);
}

int port_open_grpc(struct ports *p, struct port *port, const char *address,
	const struct grpc_method *methods, struct error *e)
{
	const struct grpc_options o = {.listener = listener_options(p, address),
		.methods = methods,
		.max_message = p->o.keep};
	int r;

	port_add(p, port, address);
	r = grpc_server_open(&port->grpc, p->o.env->loop, &o, port, on_grpc_refused, e);
	if (r < 0)
		p->n--;
	return r;
}

int port_admit(
	const struct port *port, struct str authorization, struct token *out, struct error *e)
{
	const struct ports_options *o = &port->ports->o;
	char room[TOKEN_HEADER_MAX];
	struct str secret;
	int r;

	*out = (struct token){0};
	if (!o->s->token)
		return 0;
	if (!token_of_header(authorization, room, &secret)) {
		error_set(e, ERR_DENIED,
			"no credentials: send the metadata authorization, \"Bearer slt_…\"");
		return GRPC_UNAUTHENTICATED;
	}
	r = tokens_check(o->env->tokens, secret, out, e);
	explicit_bzero(room, sizeof room);
	if (r < 0)
		return GRPC_UNAUTHENTICATED;
	if (token_may(out->scopes, SCOPE_INGEST))
		return 0;
	error_set(e, ERR_DENIED, "token %s has not the scope ingest", out->id);
	return GRPC_PERMISSION_DENIED;
}

/* Going on. */

void ports_pause(struct ports *p)
{
	for (size_t i = 0; i < p->n; i++) {
		if (p->all[i]->listener)
			listener_pause(p->all[i]->listener);
		if (p->all[i]->grpc)
			grpc_server_pause(p->all[i]->grpc);
	}
}

void ports_resume(struct ports *p)
{
	for (size_t i = 0; i < p->n; i++) {
		if (p->all[i]->listener)
			listener_resume(p->all[i]->listener);
		if (p->all[i]->grpc)
			grpc_server_resume(p->all[i]->grpc);
	}
}

/* In the stream app="syslog-drops": keys of all kinds begin with host and app. */
static void tell_lost(struct ports *p)
{
	struct buf app = {0};
	struct str drops[OUTLET_KEYS_MAX] = {str_c(p->o.env->host)};

	buf_printf(&app, "%s-drops", p->o.input);
	drops[1] = buf_view(&app);
	for (size_t i = 0; i < p->n; i++)
		losses_tell(&p->all[i]->losses, outlets_of(p->o.outlets, STR_NONE), drops);
	buf_fini(&app);
}

/* Who is not drained by now is cut off.  What the owner drains ends by itself. */
static void cut_off(struct ports *p)
{
	log_warn(
		"input", "%s: not all that came could be taken within %d ms", p->o.input, DRAIN_MS);
	p->late = true;
	ports_wait(p);
	for (size_t i = 0; i < p->n; i++) {
		struct port *port = p->all[i];

		if (!port->listener && !port->grpc)
			continue;
		listener_close(port->listener);
		grpc_server_close(port->grpc);
		port->listener = NULL;
		port->grpc = NULL;
		p->n_waiting -= !port->drained;
	}
	ports_done(p);
}

void ports_tick(struct ports *p)
{
	tell_lost(p);
	outlets_flush_if_idle(p->o.outlets);
	if (p->stopping && !p->late && (p->drained_ms += PORTS_TICK_MS) >= DRAIN_MS)
		cut_off(p);
}

/* The end. */

bool port_is_wanted(const struct port *port)
{
	const struct input_env *env = port->ports->o.env;

	return env->wanted && env->wanted(env->wanted_arg, port->address);
}

void ports_park(struct ports *p)
{
	for (size_t i = 0; i < p->n; i++) {
		struct port *port = p->all[i];

		if (!port->listener || !port_is_wanted(port))
			continue;
		listener_park(port->listener);
		port->listener = NULL;
	}
}

void ports_wait(struct ports *p)
{
	p->n_waiting++;
}

void ports_done(struct ports *p)
{
	assert(p->n_waiting > 0);
	if (--p->n_waiting > 0)
		return;
	tell_lost(p);
	p->o.drained(p->o.arg);
}

void ports_stop(struct ports *p)
{
	p->stopping = true;
	ports_park(p);
	ports_wait(p); /* until all have been told */
	for (size_t i = 0; i < p->n; i++) {
		struct port *port = p->all[i];

		if (!port->listener && !port->grpc)
			continue;
		ports_wait(p);
		if (port->grpc)
			grpc_server_drain(port->grpc, on_drained, port);
		else
			listener_drain(port->listener);
	}
	ports_done(p);
}

void ports_close(struct ports *p)
{
	for (size_t i = 0; i < p->n; i++) {
		listener_close(p->all[i]->listener);
		grpc_server_close(p->all[i]->grpc);
		p->all[i]->listener = NULL;
		p->all[i]->grpc = NULL;
	}
}

void ports_dump(const struct ports *p, struct buf *out)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct port *port = p->all[i];

		if (port->listener)
			buf_printf(out, "  %s: port %u, %zu connections, %llu refused\n",
				port->address, listener_port(port->listener),
				listener_connections(port->listener),
				(unsigned long long)port->losses.n_refused);
		else if (port->grpc)
			buf_printf(out, "  %s: port %u, %zu connections, %llu refused\n",
				port->address, grpc_server_port(port->grpc),
				grpc_server_connections(port->grpc),
				(unsigned long long)port->losses.n_refused);
		else
			buf_printf(out, "  %s\n", port->address);
	}
}

/* Settings. */

bool port_over_tls(const char *address)
{
	return str_starts(str_c(address), STR("tls://")) ||
	       str_starts(str_c(address), STR("https://")) ||
	       str_starts(str_c(address), STR("grpcs://"));
}

bool port_is_grpc(const char *address)
{
	return str_starts(str_c(address), STR("grpc://")) ||
	       str_starts(str_c(address), STR("grpcs://"));
}

int port_check_open(const struct port_settings *s, const char *address, struct error *e)
{
	if (port_over_tls(address) || str_starts(str_c(address), STR("unix")) || s->allow.n > 0 ||
		exposed_loopback(address))
		return 0;
	return error_set(e, ERR_ARG,
		"listen: %s is open beyond this machine and asks nobody who he is: say in "
		"allow which networks may send, or use TLS",
		address);
}

int ports_check(const struct port_settings *s, const char *any, const char *tls, struct error *e)
{
	bool any_tls = false;
	struct cidr net;
	unsigned mode;
	int r;

	if (s->listen.n == 0)
		return error_set(e, ERR_ARG, "listen: at least one address, as %s", any);
	for (size_t i = 0; i < s->listen.n; i++) {
		if (port_over_tls(s->listen.items[i]) && (!s->tls.cert || !s->tls.key))
			return error_set(e, ERR_ARG,
				"listen: %s needs tls: {cert: FILE, key: FILE}",
				s->listen.items[i]);
		any_tls |= port_over_tls(s->listen.items[i]);
	}
	for (size_t i = 0; i < s->allow.n; i++)
		if ((r = cidr_parse(&net, str_c(s->allow.items[i]), e)) < 0)
			return error_wrap(e, r, "allow");
	if (!any_tls && (s->tls.cert || s->tls.key || s->tls.client_ca))
		return error_set(e, ERR_ARG, "tls: no address of listen begins with %s", tls);
	if (s->mode && !mode_parse(str_c(s->mode), SOCKET_MODE_MAX, &mode))
		return error_set(e, ERR_ARG, "mode: \"%s\" is none: write \"0666\"", s->mode);
	return 0;
}

void ports_listens(const struct port_settings *s,
	void (*each)(void *arg, const char *address, bool guarded), void *arg)
{
	for (size_t i = 0; i < s->listen.n; i++) {
		const char *address = s->listen.items[i];

		if (strcmp(address, "stdin:") != 0)
			each(arg, address,
				port_over_tls(address) && (s->token || s->tls.client_ca));
	}
}
