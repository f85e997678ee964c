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

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "conf/mode.h"
#include "input/exposed.h"

enum {
	RESERVE = 3 << 20,
	TICK_MS = 1000,
	DRAIN_MS = 4000,
	SOCKET_MODE_MAX = 0777,
};

/* Going on. */

static void on_paused(void *arg)
{
	struct syslog_input *in = arg;

	for (size_t i = 0; i < in->n_ports; i++)
		if (in->ports[i].listener)
			listener_pause(in->ports[i].listener);
}

static void on_room(void *arg)
{
	struct syslog_input *in = arg;

	for (size_t i = 0; i < in->n_ports; i++)
		if (in->ports[i].listener)
			listener_resume(in->ports[i].listener);
}

static void finish(struct syslog_input *in);
static void close_ports(struct syslog_input *in);

void syslog_drained(struct syslog_input *in)
{
	assert(in->n_draining > 0);
	if (--in->n_draining == 0)
		finish(in);
}

static void tell_all_lost(struct syslog_input *in)
{
	struct str drops[] = {str_c(in->env->host), STR("syslog-drops")};

	for (size_t i = 0; i < in->n_ports; i++)
		losses_tell(&in->ports[i].losses, outlets_of(in->outlets, STR_NONE), drops);
}

static void on_tick(void *arg)
{
	struct syslog_input *in = arg;

	if (in->stopping)
		return;
	tell_all_lost(in);
	outlets_flush_if_idle(in->outlets);
	if (in->draining && (in->drained_ms += TICK_MS) >= DRAIN_MS) {
		log_warn(
			"input", "syslog: not all that came could be taken within %d ms", DRAIN_MS);
		close_ports(in);
		finish(in);
	}
}

/* Life. */

static bool is_wanted(const struct port *p)
{
	const struct input_env *env = p->in->env;

	return env->wanted && env->wanted(env->wanted_arg, p->address);
}

/* Leave to the next input what it wants. */
static void park_ports(struct syslog_input *in)
{
	for (size_t i = 0; i < in->n_ports; i++) {
		struct port *p = &in->ports[i];

		if (!is_wanted(p))
			continue;
		listener_park(p->listener);
		p->listener = NULL;
	}
}

static void close_ports(struct syslog_input *in)
{
	for (size_t i = 0; i < in->n_ports; i++) {
		listener_close(in->ports[i].listener);
		in->ports[i].listener = NULL;
	}
}

static void input_free(struct syslog_input *in)
{
	outlets_free(in->outlets);
	timer_fini(&in->tick);
	labels_builder_fini(&in->meta_builder);
	syslog_data_fini(&in->data);
	buf_fini(&in->meta);
	buf_fini(&in->raw);
	zone_free(in->zone);
	free(in->allow);
	free(in->ports);
	free(in);
}

static unsigned mode_of(const struct syslog_settings *s)
{
	unsigned mode = 0600;

	if (s->mode)
		mode_parse(str_c(s->mode), SOCKET_MODE_MAX, &mode);
	return mode;
}

static int open_port(struct syslog_input *in, struct port *p, struct error *e)
{
	struct listener_options o = {.address = p->address,
		.tls = &in->s->tls,
		.account = in->env->account,
		.receive_buffer = in->s->receive_buffer,
		.keep = in->s->max_line + SYSLOG_FRAME_MORE,
		.mode = mode_of(in->s),
		.allow = in->allow,
		.n_allow = in->s->allow.n};
	struct str rest;

	socket_kind_of(str_c(p->address), &p->kind, &rest);
	p->losses = (struct losses){.env = in->env,
		.input = "syslog",
		.address = p->address,
		.receive_buffer = in->s->receive_buffer,
		.datagrams = socket_is_datagram(p->kind)};
	return listener_open(&p->listener, in->env->loop, &o, &port_events, p, e);
}

static int read_settings(struct syslog_input *in, struct error *e)
{
	const struct syslog_settings *s = in->s;
	int r = 0;

	if (s->token && !in->env->tokens)
		return error_set(
			e, ERR_ARG, "token: there is no file of tokens: set auth.tokens_file");
	in->allow = xcalloc(s->allow.n + 1, sizeof *in->allow);
	for (size_t i = 0; i < s->allow.n && r == 0; i++)
		r = cidr_parse(&in->allow[i], str_c(s->allow.items[i]), e);
	if (r == 0 && s->timezone && (r = zone_new(&in->zone, str_c(s->timezone), e)) < 0)
		r = error_wrap(e, r, "timezone");
	return r;
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
	int r = 0;

	in->ports = xcalloc(in->s->listen.n + 1, sizeof *in->ports);
	for (size_t i = 0; i < in->s->listen.n && r == 0; i++) {
		in->ports[i].in = in;
		in->ports[i].address = in->s->listen.items[i];
		if ((r = open_port(in, &in->ports[i], e)) == 0)
			in->n_ports++;
	}
	return r;
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
	if ((r = read_settings(in, e)) < 0 || (r = open_ports(in, e)) < 0) {
		park_ports(in);
		close_ports(in);
		input_free(in);
		return error_wrap(e, r, "syslog");
	}
	timer_set(&in->tick, TICK_MS, TICK_MS);
	*out = in;
	return 0;
}

static void on_stopped(void *arg)
{
	struct syslog_input *in = arg;
	loop_fn *stopped = in->stopped;
	void *stopped_arg = in->stopped_arg;

	close_ports(in);
	input_free(in);
	stopped(stopped_arg);
}

static void finish(struct syslog_input *in)
{
	in->stopping = true;
	timer_clear(&in->tick);
	tell_all_lost(in);
	outlets_stop(in->outlets, on_stopped, in);
}

static void stop(void *input, loop_fn *stopped, void *arg)
{
	struct syslog_input *in = input;

	in->stopped = stopped;
	in->stopped_arg = arg;
	park_ports(in);
	for (size_t i = 0; i < in->n_ports; i++) {
		if (!in->ports[i].listener)
			continue;
		in->draining = true;
		in->n_draining++;
		listener_drain(in->ports[i].listener);
	}
	if (!in->draining)
		finish(in);
}

static void dump(const void *input, struct buf *out)
{
	const struct syslog_input *in = input;

	buf_printf(out, "syslog: %llu messages denied\n", (unsigned long long)in->n_denied);
	for (size_t i = 0; i < in->n_ports; i++) {
		const struct port *p = &in->ports[i];

		if (p->listener)
			buf_printf(out, "  %s: port %u, %zu connections, %llu refused\n",
				p->address, listener_port(p->listener),
				listener_connections(p->listener),
				(unsigned long long)p->losses.n_refused);
	}
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
	if (kind == SOCKET_TLS && (!s->tls.cert || !s->tls.key))
		return error_set(
			e, ERR_ARG, "listen: %s needs tls: {cert: FILE, key: FILE}", address);
	if (s->token && socket_is_datagram(kind))
		return error_set(e, ERR_ARG,
			"token: %s cannot ask for one, as any datagram may say that it comes from "
			"anybody: use tls://, and an input of its own for the others",
			address);
	if ((kind == SOCKET_UDP || kind == SOCKET_TCP) && s->allow.n == 0 &&
		!exposed_loopback(address))
		return error_set(e, ERR_ARG,
			"listen: %s is open beyond this machine and asks nobody who he is: say in "
			"allow which networks may send, or use tls://",
			address);
	return 0;
}

static int check(const void *settings, struct error *e)
{
	const struct syslog_settings *s = settings;
	struct zone *zone = NULL;
	bool any_tls = false;
	struct cidr net;
	unsigned mode;
	int r;

	if (s->listen.n == 0)
		return error_set(
			e, ERR_ARG, "listen: at least one address, as udp://127.0.0.1:5514");
	for (size_t i = 0; i < s->listen.n; i++) {
		if ((r = check_address(s, s->listen.items[i], e)) < 0)
			return r;
		any_tls |= str_starts(str_c(s->listen.items[i]), STR("tls://"));
	}
	for (size_t i = 0; i < s->allow.n; i++)
		if ((r = cidr_parse(&net, str_c(s->allow.items[i]), e)) < 0)
			return error_wrap(e, r, "allow");
	if (s->timezone) {
		if ((r = zone_new(&zone, str_c(s->timezone), e)) < 0)
			return error_wrap(e, r, "timezone");
		zone_free(zone);
	}
	if (!any_tls && (s->tls.cert || s->tls.key || s->tls.client_ca))
		return error_set(e, ERR_ARG, "tls: no address of listen begins with tls://");
	if (s->mode && !mode_parse(str_c(s->mode), SOCKET_MODE_MAX, &mode))
		return error_set(e, ERR_ARG, "mode: \"%s\" is none: write \"0666\"", s->mode);
	for (size_t i = 0; i < s->labels.n; i++)
		if (!label_name_valid(str_c(s->labels.items[i].name)))
			return error_set(e, ERR_ARG,
				"labels: \"%s\" is not a label: letters, digits and _",
				s->labels.items[i].name);
	return 0;
}

static void listens(
	const void *settings, void (*each)(void *arg, const char *address, bool guarded), void *arg)
{
	const struct syslog_settings *s = settings;

	for (size_t i = 0; i < s->listen.n; i++) {
		bool over_tls = str_starts(str_c(s->listen.items[i]), STR("tls://"));

		each(arg, s->listen.items[i], over_tls && (s->token || s->tls.client_ca));
	}
}

static const struct option options[] = {
	OPTION(struct syslog_settings, listen, .kind = OPT_LISTEN, .required = true,
		.help = "Addresses: udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH, "
			"unix-dgram:///dev/log."),
	OPTION(struct syslog_settings, tls, .kind = OPT_OBJECT, .fields = tls_options,
		.help = "For tls://: certificate, key, and who may connect."),
	OPTION(struct syslog_settings, labels, .kind = OPT_MAP,
		.help = "Labels of all messages, besides host, app and input."),
	OPTION(struct syslog_settings, app, .kind = OPT_STRING,
		.help = "The label app. Default: what the message says, else \"syslog\"."),
	OPTION(struct syslog_settings, timezone, .kind = OPT_STRING,
		.help = "Zone of times without one: \"Europe/Berlin\", \"+02:00\". Default: the "
			"host's."),
	OPTION(struct syslog_settings, max_line, .kind = OPT_SIZE, .fallback = "256KiB", .min = 480,
		.max = 1 << 20, .help = "A longer message is cut there, marked and counted."),
	OPTION(struct syslog_settings, receive_buffer, .kind = OPT_SIZE, .fallback = "8MiB",
		.min = 4096, .max = 1 << 30,
		.help = "Bytes of datagrams that the kernel keeps until they are read; what it has "
			"no room for is counted. Beyond net.core.rmem_max this needs CAP_NET_ADMIN."),
	OPTION(struct syslog_settings, allow, .kind = OPT_STRINGS,
		.help = "Networks that may send over UDP, TCP and TLS (\"10.0.0.0/8\"); without it "
			"all. Needed for udp:// and tcp:// beyond loopback."),
	OPTION(struct syslog_settings, token, .kind = OPT_BOOL, .fallback = "false",
		.help = "Each message must carry the structured data [sawlog@32473 token=\"slt_…\"] "
			"with a token for ingest, whose tenant it goes to."),
	OPTION(struct syslog_settings, mode, .kind = OPT_STRING, .fallback = "0666",
		.help = "Mode of unix sockets: who may write."),
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
