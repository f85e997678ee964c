/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `loggregator` input: what Cloud Foundry's components send, of all three
 * generations, as datagrams (LogMessage, signed LogEnvelope, dropsonde) and over
 * gRPC (v2).
 *
 * Design.  A datagram is one message; proto/loggregator.c makes a message of
 * it, loggregator_record.c a record of the batch that is being built
 * (outlet.c).  What is read stays with the courier until it is durable; when
 * that is enough the ports pause: over gRPC the sender's window closes, over
 * UDP the kernel's buffer fills up, and what it drops is counted and told by a
 * record of the stream app="loggregator-drops".  What is refused is counted by
 * reason and told there once a second, so that a sender with another secret is
 * found by a query.
 */
#include "input/loggregator_input.h"

#include <stdlib.h>

#include "os/secret.h"

enum { RESERVE = 3 << 20 };

static const char *const require_names[] = {"auto", "true", "false", NULL};
static const char *const type_names[] = {
	"log", "counter", "gauge", "timer", "event", "error", NULL};

/* Datagrams. */

static struct loggregator_input *input_of(const struct port *p)
{
	return p->ports->o.arg;
}

static void on_lost(void *arg, uint64_t n)
{
	losses_add(&((struct port *)arg)->losses, n);
}

static void on_refused(void *arg, const struct refusal *r)
{
	losses_refused(&((struct port *)arg)->losses, r);
}

static void take_datagram(
	struct loggregator_input *in, const struct loggregator_origin *from, struct str bytes)
{
	const char *reason;
	struct loggregator x;
	struct error e;

	if (loggregator_decode(&x, bytes, in->s->form, &in->secret, &in->scratch, &reason, &e) < 0)
		loggregator_refuse(in, from, reason, e.text, 1);
	else if (in->replays && !replays_add(in->replays, loggregator_signature(bytes)))
		loggregator_refuse(in, from, "replayed",
			"sends a signature that was there before: a message is sent again by "
			"somebody else, or came twice",
			1);
	else
		loggregator_take(in, from, &x);
	if (in->scratch.bytes)
		arena_clear(&in->scratch);
}

static void on_datagram(void *arg, struct str bytes, const char *peer)
{
	struct loggregator_port *p = CONTAINER(arg, struct loggregator_port, port);
	struct loggregator_input *in = input_of(&p->port);
	struct loggregator_origin from = {.port = p, .peer = peer};

	in->observed_ns = clock_now_ns(in->env->clock);
	/* Without room it is taken all the same, as it is here already, and the next waits. */
	outlets_room(in->outlets);
	take_datagram(in, &from, bytes);
	outlets_room(in->outlets);
	outlets_flush_if_idle(in->outlets);
}

static const struct listener_events port_events = {
	.datagram = on_datagram,
	.lost = on_lost,
	.refused = on_refused,
};

/* Going on. */

static void on_paused(void *arg)
{
	ports_pause(&((struct loggregator_input *)arg)->ports);
}

static void on_room(void *arg)
{
	ports_resume(&((struct loggregator_input *)arg)->ports);
}

static void on_tick(void *arg)
{
	struct loggregator_input *in = arg;

	loggregator_tell_refused(in);
	ports_tick(&in->ports);
}

/* Life. */

static void input_free(struct loggregator_input *in)
{
	outlets_free(in->outlets);
	timer_fini(&in->tick);
	replays_free(in->replays);
	map_fini(&in->drains);
	arena_fini(&in->scratch);
	buf_fini(&in->line);
	buf_fini(&in->meta);
	buf_fini(&in->urls);
	buf_fini(&in->parts.source_text);
	secret_fini(&in->secret_text);
	ports_fini(&in->ports);
	free(in->all_ports);
	free(in);
}

static int read_secret(struct loggregator_input *in, struct error *e)
{
	const struct loggregator_settings *s = in->s;
	int r = 0;

	if (s->shared_secret)
		buf_c(&in->secret_text, s->shared_secret);
	else if (s->shared_secret_file)
		r = secret_read(s->shared_secret_file, &in->secret_text, e);
	else
		return 0;
	if (r == 0 && in->secret_text.n == 0)
		r = error_set(e, ERR_ARG, "%s is empty: its first line is the secret",
			s->shared_secret_file);
	if (r < 0)
		return error_wrap(e, r, "shared_secret_file");
	loggregator_secret_init(&in->secret, buf_view(&in->secret_text));
	in->secret.required = s->require_signature != REQUIRE_FALSE;
	if (s->form != LOGGREGATOR_DROPSONDE)
		in->replays = replays_new(in->env->account);
	return 0;
}

static int open_ports(struct loggregator_input *in, struct error *e)
{
	const struct strings *listen = &in->s->port.listen;
	int r = 0;

	in->all_ports = xcalloc(listen->n + 1, sizeof *in->all_ports);
	for (size_t i = 0; i < listen->n && r == 0; i++) {
		struct port *port = &in->all_ports[i].port;

		if (port_is_grpc(listen->items[i]))
			r = port_open_grpc(
				&in->ports, port, listen->items[i], loggregator_methods, e);
		else
			r = port_open(&in->ports, port, listen->items[i], e);
	}
	return r;
}

static void on_drained(void *arg);

static int open_all(struct loggregator_input *in, struct error *e)
{
	struct ports_options o = {.env = in->env,
		.input = "loggregator",
		.s = &in->s->port,
		.events = &port_events,
		.outlets = in->outlets,
		.drained = on_drained,
		.arg = in};
	int r = ports_init(&in->ports, &o, e);

	if (r == 0)
		r = read_secret(in, e);
	return r < 0 ? r : open_ports(in, e);
}

/* The types that are wanted, as bits; without any all.  A name that is none: 0. */
static unsigned kinds_of(const struct strings *types, const char **unknown)
{
	unsigned kinds = 0;

	*unknown = NULL;
	for (size_t i = 0; i < types->n; i++) {
		int k = 0;

		while (type_names[k] && strcmp(type_names[k], types->items[i]) != 0)
			k++;
		if (!type_names[k])
			*unknown = types->items[i];
		kinds |= 1U << k;
	}
	return types->n ? kinds : ~0U;
}

static int start(void **out, const void *settings, const struct input_env *env, struct error *e)
{
	struct loggregator_input *in = xcalloc(1, sizeof *in);
	const char *unknown;
	int r;

	in->s = settings;
	in->env_copy = *env;
	in->env = env = &in->env_copy;
	in->observed_ns = clock_now_ns(env->clock);
	in->kinds = kinds_of(&in->s->types, &unknown);
	arena_init(&in->scratch, env->account);
	in->outlets = outlets_new(&(struct outlets_options){.env = env,
		.input = "loggregator",
		.keys = {"host", "app", "source", "event"},
		.n_keys = 4,
		.labels = &in->s->labels,
		.reserve = RESERVE,
		.paused = on_paused,
		.room = on_room,
		.arg = in});
	timer_init(&in->tick, env->loop, on_tick, in);
	if ((r = open_all(in, e)) < 0) {
		ports_park(&in->ports);
		ports_close(&in->ports);
		input_free(in);
		return error_wrap(e, r, "loggregator");
	}
	timer_set(&in->tick, PORTS_TICK_MS, PORTS_TICK_MS);
	*out = in;
	return 0;
}

static void on_stopped(void *arg)
{
	struct loggregator_input *in = arg;
	loop_fn *stopped = in->stopped;
	void *stopped_arg = in->stopped_arg;

	ports_close(&in->ports);
	input_free(in);
	stopped(stopped_arg);
}

static void on_drained(void *arg)
{
	struct loggregator_input *in = arg;

	timer_clear(&in->tick);
	loggregator_tell_refused(in);
	outlets_stop(in->outlets, on_stopped, in);
}

static void stop(void *input, loop_fn *stopped, void *arg)
{
	struct loggregator_input *in = input;

	in->stopped = stopped;
	in->stopped_arg = arg;
	ports_stop(&in->ports);
}

static void dump(const void *input, struct buf *out)
{
	const struct loggregator_input *in = input;

	buf_printf(out, "loggregator: %llu messages, %llu refused, %llu of other types\n",
		(unsigned long long)in->n_taken, (unsigned long long)in->n_refused,
		(unsigned long long)in->n_unwanted);
	ports_dump(&in->ports, out);
	outlets_dump(in->outlets, out);
}

/* Settings. */

static bool has_secret(const struct loggregator_settings *s)
{
	return s->shared_secret || s->shared_secret_file;
}

static bool is_datagrams(const char *address)
{
	enum socket_kind kind;
	struct str rest;

	return socket_kind_of(str_c(address), &kind, &rest) && socket_is_datagram(kind);
}

/* Who sends there must have the secret. */
static bool is_signed(const struct loggregator_settings *s, const char *address)
{
	return has_secret(s) && s->require_signature != REQUIRE_FALSE && is_datagrams(address);
}

static int check_address(const struct loggregator_settings *s, const char *address, struct error *e)
{
	if (!is_datagrams(address) && !port_is_grpc(address))
		return error_set(e, ERR_ARG,
			"listen: %s must begin with udp://, unix-dgram://, grpc:// or grpcs://",
			address);
	return is_signed(s, address) ? 0 : port_check_open(&s->port, address, e);
}

static int check(const void *settings, struct error *e)
{
	const struct loggregator_settings *s = settings;
	const char *unknown;
	int r;

	for (size_t i = 0; i < s->port.listen.n; i++)
		if ((r = check_address(s, s->port.listen.items[i], e)) < 0)
			return r;
	if (s->shared_secret && s->shared_secret_file)
		return error_set(e, ERR_ARG,
			"shared_secret and shared_secret_file: there can be only one of them");
	if (s->shared_secret && !*s->shared_secret)
		return error_set(e, ERR_ARG, "shared_secret: is empty");
	if (!has_secret(s) && s->require_signature == REQUIRE_TRUE)
		return error_set(
			e, ERR_ARG, "require_signature: needs shared_secret or shared_secret_file");
	kinds_of(&s->types, &unknown);
	if (unknown)
		return error_set(e, ERR_ARG,
			"types: \"%s\" is none: they are log, counter, gauge, timer, event and "
			"error",
			unknown);
	return ports_check(&s->port, "udp://127.0.0.1:3456", "grpcs://", e);
}

struct look {
	const struct loggregator_settings *s;
	void (*each)(void *arg, const char *address, bool guarded);
	void *arg;
};

static void look_at(void *arg, const char *address, bool guarded)
{
	const struct look *l = arg;

	l->each(l->arg, address, guarded || is_signed(l->s, address));
}

static void listens(
	const void *settings, void (*each)(void *arg, const char *address, bool guarded), void *arg)
{
	struct look l = {.s = settings, .each = each, .arg = arg};

	ports_listens(&l.s->port, look_at, &l);
}

static const struct option options[] = {
	{.name = "listen",
		.offset = offsetof(struct loggregator_settings, port.listen),
		.kind = OPT_LISTEN,
		.required = true,
		.help = "Addresses: udp://HOST:PORT and unix-dgram:///PATH for LogMessages, signed "
			"LogEnvelopes and dropsonde's Envelopes; grpc://HOST:PORT, and grpcs:// "
			"for TLS, for envelopes of v2."},
	OPTION(struct loggregator_settings, shared_secret, .kind = OPT_STRING, .secret = true,
		.help = "Secret of the senders of datagrams: wrong signatures are refused, "
			"counted and told."),
	OPTION(struct loggregator_settings, shared_secret_file, .kind = OPT_PATH,
		.help = "File whose first line is that secret."),
	OPTION(struct loggregator_settings, form, .kind = OPT_ENUM, .fallback = "auto",
		.values = loggregator_forms,
		.help = "What datagrams hold: 2013 (LogMessage, LogEnvelope), dropsonde, or either."),
	OPTION(struct loggregator_settings, require_signature, .kind = OPT_ENUM, .fallback = "auto",
		.values = require_names,
		.help = "Refuse datagrams without a signature. auto: where there is a secret."),
	OPTION(struct loggregator_settings, types, .kind = OPT_STRINGS,
		.help = "What is taken: log, counter, gauge, timer, event, error. Default: all."),
	OPTION(struct loggregator_settings, labels, .kind = OPT_MAP,
		.help = "Labels of all messages, besides app, source, event and input."),
	OPTION(struct loggregator_settings, max_line, .kind = OPT_SIZE, .fallback = "256KiB",
		.min = 480, .max = 1 << 20,
		.help = "A longer message is cut there, marked and counted."),
	PORT_OPTIONS(struct loggregator_settings, port),
	OPTION_END,
};

const struct input_type input_loggregator = {
	.name = "loggregator",
	.summary = "Cloud Foundry's Loggregator over UDP and gRPC",
	.size = sizeof(struct loggregator_settings),
	.options = options,
	.check = check,
	.start = start,
	.stop = stop,
	.dump = dump,
	.listens = listens,
};
