/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `python` input: records of Python's logging over TCP, TLS, UDP, unix
 * sockets, HTTP and the standard input.
 *
 * Design.  net/listener.c brings bytes, python_port.c cuts them into frames,
 * proto/pylog.c reads the pickle of each and executes nothing, and what it
 * makes of it goes to an outlet (outlet.c).  One thread does it all, so the
 * records of a connection keep their order.  A frame that is none costs
 * itself alone: the next one begins where its length says.
 *
 * No handler of Python waits for an acknowledgement but HTTPHandler.  So what
 * was read stays with the courier until it is durable; when that is enough,
 * nothing more is read: over TCP the application waits, over UDP the kernel's
 * buffer fills up, and what it drops is counted and told by a record in the
 * stream app="python-drops".
 *
 * At a reload the listeners whose addresses the next inputs want are parked
 * for them with their connections; others, and all at the end of the process,
 * are drained: what has come until then is taken, within DRAIN_MS.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/metric.h"
#include "conf/mode.h"
#include "input/exposed.h"
#include "input/python_input.h"

enum {
	RESERVE = 3 << 20,
	TICK_MS = 1000,
	DRAIN_MS = 4000,
	SOCKET_MODE_MAX = 0777,
};

/* Records. */

void python_add(struct python_input *in, struct outlet *o, const struct python_sender *from,
	struct pylog_record *p)
{
	struct str values[PYTHON_KEYS];
	struct outlet_stream *st;

	if (python_shape(&in->shaper, from, p, values))
		metric_add(METRIC_cut_records_total, "input=\"python\"", 1);
	st = outlet_stream(o, values);
	python_set_level(&in->env->discover, outlet_stream_labels(st), &p->record);
	outlet_add(o, st, &p->record);
}

void python_bad(
	struct python_port *p, const char *reason, const struct error *why, const char *peer)
{
	struct buf what = {0};

	p->in->n_bad++;
	losses_count(&p->losses, reason, 1);
	buf_printf(&what, "sent what is no record: %s", why->text);
	losses_warn(&p->losses, buf_cstr(&what), peer);
	buf_fini(&what);
}

/* Going on. */

static void on_paused(void *arg)
{
	struct python_input *in = arg;

	for (size_t i = 0; i < in->n_ports; i++)
		if (in->ports[i].listener)
			listener_pause(in->ports[i].listener);
}

static void on_room(void *arg)
{
	struct python_input *in = arg;

	for (size_t i = 0; i < in->n_ports; i++) {
		struct python_port *p = &in->ports[i];

		if (p->listener)
			listener_resume(p->listener);
		if (p->web)
			web_room(p->web);
		if (p->pipe)
			pipe_room(p->pipe);
	}
}

static void finish(struct python_input *in);

void python_drained(struct python_input *in)
{
	assert(in->n_draining > 0);
	if (--in->n_draining == 0)
		finish(in);
}

static void tell_all_lost(struct python_input *in)
{
	struct str drops[] = {str_c(in->env->host), STR("python-drops"), STR_NONE};

	for (size_t i = 0; i < in->n_ports; i++)
		losses_tell(&in->ports[i].losses, outlets_of(in->outlets, STR_NONE), drops);
}

/* Whoever is not drained by now is cut off.  Standard input and HTTP end by themselves. */
static void stop_draining(struct python_input *in)
{
	log_warn("input", "python: not all that came could be taken within %d ms", DRAIN_MS);
	in->n_draining++;
	for (size_t i = 0; i < in->n_ports; i++) {
		if (!in->ports[i].listener)
			continue;
		listener_close(in->ports[i].listener);
		in->ports[i].listener = NULL;
		in->n_draining -= !in->ports[i].drained;
	}
	python_drained(in);
}

static void on_tick(void *arg)
{
	struct python_input *in = arg;

	tell_all_lost(in);
	outlets_flush_if_idle(in->outlets);
	for (size_t i = 0; i < in->n_ports; i++)
		if (in->ports[i].web && !in->draining)
			web_tick(in->ports[i].web);
	if (in->draining && in->drained_ms < DRAIN_MS && (in->drained_ms += TICK_MS) >= DRAIN_MS)
		stop_draining(in);
}

/* Life. */

bool python_is_wanted(const struct python_port *p)
{
	const struct input_env *env = p->in->env;

	return env->wanted && env->wanted(env->wanted_arg, p->address);
}

/* Leave to the next input what it wants. */
static void park_ports(struct python_input *in)
{
	for (size_t i = 0; i < in->n_ports; i++) {
		struct python_port *p = &in->ports[i];

		if (!python_is_wanted(p))
			continue;
		if (p->listener)
			listener_park(p->listener);
		if (p->web)
			web_park(p->web);
		p->listener = NULL;
		p->web = NULL;
	}
}

static void close_ports(struct python_input *in)
{
	for (size_t i = 0; i < in->n_ports; i++) {
		struct python_port *p = &in->ports[i];

		listener_close(p->listener);
		web_close(p->web);
		pipe_free(p->pipe);
		p->listener = NULL;
		p->web = NULL;
		p->pipe = NULL;
	}
}

static void input_free(struct python_input *in)
{
	outlets_free(in->outlets);
	pylog_free(in->pylog);
	python_shaper_fini(&in->shaper);
	timer_fini(&in->tick);
	free(in->allow);
	free(in->ports);
	free(in);
}

static unsigned mode_of(const struct python_settings *s)
{
	unsigned mode = 0600;

	if (s->mode)
		mode_parse(str_c(s->mode), SOCKET_MODE_MAX, &mode);
	return mode;
}

static int open_socket(struct python_port *p, struct error *e)
{
	struct python_input *in = p->in;
	struct listener_options o = {.address = p->address,
		.tls = &in->s->tls,
		.account = in->env->account,
		.receive_buffer = in->s->receive_buffer,
		.keep = PYLOG_FRAME_MAX + PYTHON_HEAD,
		.mode = mode_of(in->s),
		.allow = in->allow,
		.n_allow = in->s->allow.n};

	return listener_open(&p->listener, in->env->loop, &o, &python_port_events, p, e);
}

static int open_port(struct python_port *p, struct error *e)
{
	enum socket_kind kind;
	struct str rest;

	python_address(p->address, &p->kind);
	p->losses = (struct losses){.env = p->in->env,
		.input = "python",
		.address = p->kind == PYTHON_STDIN ? "stdin" : p->address,
		.receive_buffer = p->in->s->receive_buffer,
		.datagrams = socket_kind_of(str_c(p->address), &kind, &rest) &&
			     socket_is_datagram(kind)};
	switch (p->kind) {
	case PYTHON_SOCKET: return open_socket(p, e);
	case PYTHON_WEB: return web_open(&p->web, p, e);
	case PYTHON_STDIN: return pipe_new(&p->pipe, p, e);
	}
	return 0;
}

static int open_ports(struct python_input *in, struct error *e)
{
	int r = 0;

	in->ports = xcalloc(in->s->listen.n, sizeof *in->ports);
	for (size_t i = 0; i < in->s->listen.n && r == 0; i++) {
		in->ports[i].in = in;
		in->ports[i].address = in->s->listen.items[i];
		if ((r = open_port(&in->ports[i], e)) == 0)
			in->n_ports++;
	}
	return r;
}

static int read_settings(struct python_input *in, struct error *e)
{
	const struct python_settings *s = in->s;
	int r = 0;

	if (s->token && !in->env->tokens)
		return error_set(
			e, ERR_ARG, "token: there is no file of tokens: set auth.tokens_file");
	in->allow = xcalloc(s->allow.n + 1, sizeof *in->allow);
	for (size_t i = 0; i < s->allow.n && r == 0; i++)
		r = cidr_parse(&in->allow[i], str_c(s->allow.items[i]), e);
	return r;
}

static void prepare_shaper(struct python_input *in)
{
	const struct string_map *labels = &in->s->labels;

	in->shaper.own_host = str_c(in->env->host);
	in->shaper.max_line = in->s->max_line;
	in->shaper.fixed[PYTHON_APP] = str_c(in->s->app);
	/* `labels` is last, as the one that names labels. */
	for (size_t i = 0; i < labels->n; i++)
		for (size_t k = 0; k < PYTHON_KEYS; k++)
			if (strcmp(labels->items[i].name, python_keys[k]) == 0)
				in->shaper.fixed[k] = str_c(labels->items[i].value);
}

static struct python_input *input_new(const void *settings, const struct input_env *env)
{
	struct python_input *in = xcalloc(1, sizeof *in);
	struct outlets_options o = {.input = "python",
		.n_keys = PYTHON_KEYS,
		.reserve = RESERVE,
		.paused = on_paused,
		.room = on_room,
		.arg = in};

	in->s = settings;
	in->env_copy = *env;
	in->env = &in->env_copy;
	in->observed_ns = clock_now_ns(env->clock);
	o.env = in->env;
	o.labels = &in->s->labels;
	memcpy(o.keys, python_keys, sizeof python_keys);
	in->outlets = outlets_new(&o);
	in->pylog = pylog_new();
	prepare_shaper(in);
	timer_init(&in->tick, env->loop, on_tick, in);
	return in;
}

static int start(void **out, const void *settings, const struct input_env *env, struct error *e)
{
	struct python_input *in = input_new(settings, env);
	int r;

	if ((r = read_settings(in, e)) < 0 || (r = open_ports(in, e)) < 0) {
		park_ports(in);
		close_ports(in);
		input_free(in);
		return error_wrap(e, r, "python");
	}
	timer_set(&in->tick, TICK_MS, TICK_MS);
	/* Requests that came while their listener was parked. */
	for (size_t i = 0; i < in->n_ports; i++)
		if (in->ports[i].web)
			web_room(in->ports[i].web);
	*out = in;
	return 0;
}

static void on_stopped(void *arg)
{
	struct python_input *in = arg;
	loop_fn *stopped = in->stopped;
	void *stopped_arg = in->stopped_arg;

	close_ports(in);
	input_free(in);
	stopped(stopped_arg);
}

static void finish(struct python_input *in)
{
	timer_clear(&in->tick);
	tell_all_lost(in);
	outlets_stop(in->outlets, on_stopped, in);
}

static void drain_port(struct python_port *p)
{
	p->in->n_draining++;
	if (p->listener)
		listener_drain(p->listener);
	else if (p->web)
		web_drain(p->web);
	else if (p->pipe)
		pipe_drain(p->pipe);
	else
		p->in->n_draining--; /* it is parked */
}

static void stop(void *input, loop_fn *stopped, void *arg)
{
	struct python_input *in = input;

	in->stopped = stopped;
	in->stopped_arg = arg;
	in->draining = true;
	park_ports(in);
	in->n_draining = 1; /* until all have been told */
	for (size_t i = 0; i < in->n_ports; i++)
		drain_port(&in->ports[i]);
	python_drained(in);
}

static void settled(struct loop *loop)
{
	web_drop_parked(loop);
	pipe_drop_left(loop);
}

static void dump(const void *input, struct buf *out)
{
	const struct python_input *in = input;

	buf_printf(out, "python: %llu frames that were no record\n", (unsigned long long)in->n_bad);
	for (size_t i = 0; i < in->n_ports; i++) {
		const struct python_port *p = &in->ports[i];

		if (p->listener)
			buf_printf(out, "  %s: port %u, %zu connections, %llu refused\n",
				p->address, listener_port(p->listener),
				listener_connections(p->listener),
				(unsigned long long)p->losses.n_refused);
		else
			buf_printf(out, "  %s\n", p->address);
	}
	outlets_dump(in->outlets, out);
}

/* Settings. */

bool python_address(const char *address, enum python_kind *out)
{
	struct str text = str_c(address), rest;
	enum socket_kind kind;

	if (str_eq(text, STR("stdin:")))
		*out = PYTHON_STDIN;
	else if (str_starts(text, STR("http://")) || str_starts(text, STR("https://")))
		*out = PYTHON_WEB;
	else if (socket_kind_of(text, &kind, &rest))
		*out = PYTHON_SOCKET;
	else
		return false;
	return true;
}

/* Segments of plain letters, as the router takes its patterns. */
static int check_path(const char *address, struct error *e)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~";
	const char *at = strchr(strstr(address, "://") + 3, '/');
	unsigned n = 0;

	for (; at && *at == '/'; n++) {
		size_t length = strspn(at + 1, letters);

		at += 1 + length;
		if (length == 0 || n == 8)
			break;
	}
	if (!at || *at == 0)
		return 0;
	return error_set(e, ERR_ARG,
		"listen: %s: a path has up to 8 parts of letters, digits and -_.~", address);
}

static bool is_tls(const char *address)
{
	return str_starts(str_c(address), STR("tls://")) ||
	       str_starts(str_c(address), STR("https://"));
}

static bool is_unix(const char *address)
{
	return str_starts(str_c(address), STR("unix"));
}

static int check_address(const struct python_settings *s, const char *address, struct error *e)
{
	enum python_kind kind;

	if (!python_address(address, &kind))
		return error_set(e, ERR_ARG,
			"listen: %s must begin with tcp://, tls://, udp://, unix://, "
			"unix-dgram://, http:// or https://, or be stdin:",
			address);
	if (kind == PYTHON_STDIN && s->listen.n > 1)
		return error_set(e, ERR_ARG,
			"listen: stdin: ends its input when it ends: use an input of its own for "
			"it");
	if (is_tls(address) && (!s->tls.cert || !s->tls.key))
		return error_set(
			e, ERR_ARG, "listen: %s needs tls: {cert: FILE, key: FILE}", address);
	if (s->token && kind != PYTHON_WEB)
		return error_set(e, ERR_ARG,
			"token: %s cannot ask for one, as HTTPHandler alone can send it: use "
			"https://, and an input of its own for the others",
			address);
	if (kind != PYTHON_STDIN && !is_tls(address) && !is_unix(address) && s->allow.n == 0 &&
		!exposed_loopback(address))
		return error_set(e, ERR_ARG,
			"listen: %s is open beyond this machine and asks nobody who he is: say in "
			"allow which networks may send, or use tls:// or https://",
			address);
	return kind == PYTHON_WEB ? check_path(address, e) : 0;
}

static int check(const void *settings, struct error *e)
{
	const struct python_settings *s = settings;
	bool any_tls = false;
	struct cidr net;
	unsigned mode;
	int r;

	if (s->listen.n == 0)
		return error_set(
			e, ERR_ARG, "listen: at least one address, as tcp://127.0.0.1:9020");
	for (size_t i = 0; i < s->listen.n; i++) {
		if ((r = check_address(s, s->listen.items[i], e)) < 0)
			return r;
		any_tls |= is_tls(s->listen.items[i]);
	}
	for (size_t i = 0; i < s->allow.n; i++)
		if ((r = cidr_parse(&net, str_c(s->allow.items[i]), e)) < 0)
			return error_wrap(e, r, "allow");
	if (!any_tls && (s->tls.cert || s->tls.key || s->tls.client_ca))
		return error_set(
			e, ERR_ARG, "tls: no address of listen begins with tls:// or https://");
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
	const struct python_settings *s = settings;

	for (size_t i = 0; i < s->listen.n; i++) {
		const char *address = s->listen.items[i];

		if (strcmp(address, "stdin:") != 0)
			each(arg, address, is_tls(address) && (s->token || s->tls.client_ca));
	}
}

static bool reads_stdin(const void *settings)
{
	const struct python_settings *s = settings;

	for (size_t i = 0; i < s->listen.n; i++)
		if (strcmp(s->listen.items[i], "stdin:") == 0)
			return true;
	return false;
}

static const struct option options[] = {
	OPTION(struct python_settings, listen, .kind = OPT_LISTEN, .required = true,
		.help = "Addresses: tcp://HOST:PORT and unix:///PATH for SocketHandler, tls:// for it "
			"over TLS, udp:// and unix-dgram:// for DatagramHandler, "
			"http://HOST:PORT/PATH and https:// for HTTPHandler, stdin: for frames on "
			"the standard input."),
	OPTION(struct python_settings, tls, .kind = OPT_OBJECT, .fields = tls_options,
		.help = "For tls:// and https://: certificate, key, and who may connect."),
	OPTION(struct python_settings, labels, .kind = OPT_MAP,
		.help = "Labels of all records, besides host, app, logger and input."),
	OPTION(struct python_settings, app, .kind = OPT_STRING, .fallback = "python",
		.help = "The label app."),
	OPTION(struct python_settings, max_line, .kind = OPT_SIZE, .fallback = "256KiB", .min = 480,
		.max = 1 << 20,
		.help = "A longer text, traceback and all, is cut there, marked and counted."),
	OPTION(struct python_settings, receive_buffer, .kind = OPT_SIZE, .fallback = "8MiB",
		.min = 4096, .max = 1 << 30,
		.help = "Bytes of datagrams that the kernel keeps until they are read; what it has "
			"no room for is counted. Beyond net.core.rmem_max this needs CAP_NET_ADMIN."),
	OPTION(struct python_settings, allow, .kind = OPT_STRINGS,
		.help = "Networks that may send over IP (\"10.0.0.0/8\"); without it all. Needed for "
			"tcp://, udp:// and http:// beyond loopback."),
	OPTION(struct python_settings, token, .kind = OPT_BOOL, .fallback = "false",
		.help = "Requests must carry a token for ingest, as the password of HTTPHandler's "
			"credentials; the record goes to its tenant. For http:// and https:// alone."),
	OPTION(struct python_settings, mode, .kind = OPT_STRING, .fallback = "0666",
		.help = "Mode of unix sockets: who may write."),
	OPTION_END,
};

const struct input_type input_python = {
	.name = "python",
	.summary = "records of Python's logging over sockets, HTTP and the standard input",
	.size = sizeof(struct python_settings),
	.options = options,
	.check = check,
	.start = start,
	.stop = stop,
	.dump = dump,
	.settled = settled,
	.listens = listens,
	.reads_stdin = reads_stdin,
};
