/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `syslog` input: messages over UDP, TCP, TLS and unix sockets.
 *
 * Design.  net/listener.c brings the bytes, proto/syslog.c makes messages of
 * them, and each becomes a record of the batch that is being built (outlet.c).
 *
 * There is no acknowledgement in these protocols and nothing can be read
 * twice.  So what was read stays with the courier until it is durable; when
 * that is enough, the listeners pause: over TCP the sender has to wait, over
 * UDP the kernel's buffer fills up, and what it drops is counted and told by
 * a record in the stream app="syslog-drops".
 *
 * At a reload the listeners whose addresses the next inputs want are parked for
 * them; others, and all at the end of the process, are drained.  A message that was cut is held
 * until its end, which is skipped, so that its whole length can be told; how much is still to be
 * skipped is the note of the connection, which outlives a parking.
 */
#include "input/syslog_input.h"

#include <stdlib.h>

enum { RESERVE = 3 << 20 };

/* Going on. */

static void on_paused(void *arg)
{
	ports_pause(&((struct syslog_input *)arg)->ports);
}

static void on_room(void *arg)
{
	ports_resume(&((struct syslog_input *)arg)->ports);
}

static void on_tick(void *arg)
{
	ports_tick(&((struct syslog_input *)arg)->ports);
}

/* Life. */

static void input_free(struct syslog_input *in)
{
	outlets_free(in->outlets);
	timer_fini(&in->tick);
	labels_builder_fini(&in->meta_builder);
	syslog_data_fini(&in->data);
	buf_fini(&in->meta);
	buf_fini(&in->raw);
	zone_free(in->zone);
	ports_fini(&in->ports);
	free(in->all_ports);
	free(in);
}

/* What the settings say of host and app; `labels` is last, as the one that names labels. */
static void fix_labels(struct syslog_input *in)
{
	const struct string_map *labels = &in->s->labels;

	in->fixed_app = str_c(in->s->app ? in->s->app : "");
	for (size_t i = 0; i < labels->n; i++) {
		if (strcmp(labels->items[i].name, "host") == 0)
			in->fixed_host = str_c(labels->items[i].value);
		if (strcmp(labels->items[i].name, "app") == 0)
			in->fixed_app = str_c(labels->items[i].value);
	}
}

static int open_ports(struct syslog_input *in, struct error *e)
{
	const struct strings *listen = &in->s->port.listen;
	int r = 0;

	in->all_ports = xcalloc(listen->n + 1, sizeof *in->all_ports);
	for (size_t i = 0; i < listen->n && r == 0; i++)
		r = port_open(&in->ports, &in->all_ports[i], listen->items[i], e);
	return r;
}

static void on_drained(void *arg);

static int open_all(struct syslog_input *in, struct error *e)
{
	const struct syslog_settings *s = in->s;
	struct ports_options o = {.env = in->env,
		.input = "syslog",
		.s = &s->port,
		.events = &syslog_port_events,
		.keep = s->max_line + SYSLOG_FRAME_MORE,
		.outlets = in->outlets,
		.drained = on_drained,
		.arg = in};
	int r = ports_init(&in->ports, &o, e);

	if (r == 0 && s->timezone && (r = zone_new(&in->zone, str_c(s->timezone), e)) < 0)
		r = error_wrap(e, r, "timezone");
	return r < 0 ? r : open_ports(in, e);
}

static int start(void **out, const void *settings, const struct input_env *env, struct error *e)
{
	struct syslog_input *in = xcalloc(1, sizeof *in);
	int r;

	in->s = settings;
	in->env_copy = *env;
	in->env = env = &in->env_copy;
	in->observed_ns = clock_now_ns(env->clock);
	fix_labels(in);
	in->outlets = outlets_new(&(struct outlets_options){.env = env,
		.input = "syslog",
		.keys = {"host", "app"},
		.n_keys = 2,
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
		return error_wrap(e, r, "syslog");
	}
	timer_set(&in->tick, PORTS_TICK_MS, PORTS_TICK_MS);
	*out = in;
	return 0;
}

static void on_stopped(void *arg)
{
	struct syslog_input *in = arg;
	loop_fn *stopped = in->stopped;
	void *stopped_arg = in->stopped_arg;

	ports_close(&in->ports);
	input_free(in);
	stopped(stopped_arg);
}

static void on_drained(void *arg)
{
	struct syslog_input *in = arg;

	timer_clear(&in->tick);
	outlets_stop(in->outlets, on_stopped, in);
}

static void stop(void *input, loop_fn *stopped, void *arg)
{
	struct syslog_input *in = input;

	in->stopped = stopped;
	in->stopped_arg = arg;
	ports_stop(&in->ports);
}

static void dump(const void *input, struct buf *out)
{
	const struct syslog_input *in = input;

	buf_printf(out, "syslog: %llu messages denied\n", (unsigned long long)in->n_denied);
	ports_dump(&in->ports, out);
	outlets_dump(in->outlets, out);
}

/* Settings. */

static int check_address(const struct syslog_settings *s, const char *address, struct error *e)
{
	enum socket_kind kind;
	struct str rest;

	if (!socket_kind_of(str_c(address), &kind, &rest))
		return error_set(e, ERR_ARG,
			"listen: %s must begin with udp://, tcp://, tls://, unix:// or "
			"unix-dgram://",
			address);
	if (s->port.token && socket_is_datagram(kind))
		return error_set(e, ERR_ARG,
			"token: %s cannot ask for one, as any datagram may say that it comes from "
			"anybody: use tls://, and an input of its own for the others",
			address);
	return port_check_open(&s->port, address, e);
}

static int check(const void *settings, struct error *e)
{
	const struct syslog_settings *s = settings;
	struct zone *zone = NULL;
	int r;

	for (size_t i = 0; i < s->port.listen.n; i++)
		if ((r = check_address(s, s->port.listen.items[i], e)) < 0)
			return r;
	if ((r = ports_check(&s->port, "udp://127.0.0.1:5514", "tls://", e)) < 0)
		return r;
	if (s->timezone) {
		if ((r = zone_new(&zone, str_c(s->timezone), e)) < 0)
			return error_wrap(e, r, "timezone");
		zone_free(zone);
	}
	return 0;
}

static void listens(
	const void *settings, void (*each)(void *arg, const char *address, bool guarded), void *arg)
{
	ports_listens(&((const struct syslog_settings *)settings)->port, each, arg);
}

static const struct option options[] = {
	{.name = "listen",
		.offset = offsetof(struct syslog_settings, port.listen),
		.kind = OPT_LISTEN,
		.required = true,
		.help = "Addresses: udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH, "
			"unix-dgram:///dev/log."},
	OPTION(struct syslog_settings, labels, .kind = OPT_MAP,
		.help = "Labels of all messages, besides host, app and input."),
	OPTION(struct syslog_settings, app, .kind = OPT_STRING,
		.help = "The label app. Default: what the message says, else \"syslog\"."),
	OPTION(struct syslog_settings, timezone, .kind = OPT_STRING,
		.help = "Zone of times without one: \"Europe/Berlin\", \"+02:00\". Default: the "
			"host's."),
	OPTION(struct syslog_settings, max_line, .kind = OPT_SIZE, .fallback = "256KiB", .min = 480,
		.max = 1 << 20, .help = "A longer message is cut there, marked and counted."),
	PORT_OPTIONS(struct syslog_settings, port),
	{.name = "token",
		.offset = offsetof(struct syslog_settings, port.token),
		.kind = OPT_BOOL,
		.fallback = "false",
		.help = "Each message must carry the structured data [sawlog@32473 token=\"slt_…\"] "
			"with a token for ingest, whose tenant it goes to."},
	OPTION_END,
};

const struct input_type input_syslog = {
	.name = "syslog",
	.summary = "syslog over UDP, TCP, TLS and unix sockets",
	.size = sizeof(struct syslog_settings),
	.options = options,
	.check = check,
	.start = start,
	.stop = stop,
	.dump = dump,
	.listens = listens,
};
