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
#include <stdlib.h>

#include "base/metric.h"
#include "input/python_input.h"

enum { RESERVE = 3 << 20 };

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
	losses_count(&p->port.losses, reason, 1);
	buf_printf(&what, "sent what is no record: %s", why->text);
	losses_warn(&p->port.losses, buf_cstr(&what), peer);
	buf_fini(&what);
}

/* Going on. */

static void on_paused(void *arg)
{
	ports_pause(&((struct python_input *)arg)->ports);
}

static void on_room(void *arg)
{
	struct python_input *in = arg;

	ports_resume(&in->ports);
	for (size_t i = 0; i < in->n_ports; i++) {
		struct python_port *p = &in->all_ports[i];

		if (p->web)
			web_room(p->web);
		if (p->pipe)
			pipe_room(p->pipe);
	}
}

static void on_tick(void *arg)
{
	struct python_input *in = arg;

	for (size_t i = 0; i < in->n_ports; i++)
		if (in->all_ports[i].web && !in->ports.stopping)
			web_tick(in->all_ports[i].web);
	ports_tick(&in->ports);
}

/* Life. */

/* Leave to the next input what it wants. */
static void park_ports(struct python_input *in)
{
	ports_park(&in->ports);
	for (size_t i = 0; i < in->n_ports; i++) {
		struct python_port *p = &in->all_ports[i];

		if (!p->web || !port_is_wanted(&p->port))
			continue;
		web_park(p->web);
		p->web = NULL;
	}
}

static void close_ports(struct python_input *in)
{
	ports_close(&in->ports);
	for (size_t i = 0; i < in->n_ports; i++) {
		struct python_port *p = &in->all_ports[i];

		web_close(p->web);
		pipe_free(p->pipe);
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
	ports_fini(&in->ports);
	free(in->all_ports);
	free(in);
}

static int open_port(struct python_port *p, const char *address, struct error *e)
{
	struct ports *ports = &p->in->ports;

	python_address(address, &p->kind);
	if (p->kind == PYTHON_SOCKET)
		return port_open(ports, &p->port, address, e);
	port_add(ports, &p->port, address);
	if (p->kind == PYTHON_WEB)
		return web_open(&p->web, p, e);
	p->port.losses.address = "stdin";
	return pipe_new(&p->pipe, p, e);
}

static void on_drained(void *arg);

static int open_ports(struct python_input *in, struct error *e)
{
	const struct strings *listen = &in->s->port.listen;
	struct ports_options o = {.env = in->env,
		.input = "python",
		.s = &in->s->port,
		.events = &python_port_events,
		.keep = PYLOG_FRAME_MAX + PYTHON_HEAD,
		.outlets = in->outlets,
		.drained = on_drained,
		.arg = in};
	int r = ports_init(&in->ports, &o, e);

	in->all_ports = xcalloc(listen->n, sizeof *in->all_ports);
	for (size_t i = 0; i < listen->n && r == 0; i++) {
		in->all_ports[i].in = in;
		if ((r = open_port(&in->all_ports[i], listen->items[i], e)) == 0)
			in->n_ports++;
	}
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

	if ((r = open_ports(in, e)) < 0) {
		park_ports(in);
		close_ports(in);
		input_free(in);
		return error_wrap(e, r, "python");
	}
	timer_set(&in->tick, PORTS_TICK_MS, PORTS_TICK_MS);
	/* Requests that came while their listener was parked. */
	for (size_t i = 0; i < in->n_ports; i++)
		if (in->all_ports[i].web)
			web_room(in->all_ports[i].web);
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

static void on_drained(void *arg)
{
	struct python_input *in = arg;

	timer_clear(&in->tick);
	outlets_stop(in->outlets, on_stopped, in);
}

static void stop(void *input, loop_fn *stopped, void *arg)
{
	struct python_input *in = input;

	in->stopped = stopped;
	in->stopped_arg = arg;
	park_ports(in);
	ports_wait(&in->ports); /* until all have been told */
	for (size_t i = 0; i < in->n_ports; i++) {
		struct python_port *p = &in->all_ports[i];

		if (!p->web && !p->pipe)
			continue;
		ports_wait(&in->ports);
		if (p->web)
			web_drain(p->web);
		else
			pipe_drain(p->pipe);
	}
	ports_stop(&in->ports);
	ports_done(&in->ports);
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
	ports_dump(&in->ports, out);
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

static int check_address(const struct python_settings *s, const char *address, struct error *e)
{
	enum python_kind kind;
	int r;

	if (!python_address(address, &kind))
		return error_set(e, ERR_ARG,
			"listen: %s must begin with tcp://, tls://, udp://, unix://, "
			"unix-dgram://, http:// or https://, or be stdin:",
			address);
	if (kind == PYTHON_STDIN && s->port.listen.n > 1)
		return error_set(e, ERR_ARG,
			"listen: stdin: ends its input when it ends: use an input of its own for "
			"it");
	if (s->port.token && kind != PYTHON_WEB)
		return error_set(e, ERR_ARG,
			"token: %s cannot ask for one, as HTTPHandler alone can send it: use "
			"https://, and an input of its own for the others",
			address);
	if (kind != PYTHON_STDIN && (r = port_check_open(&s->port, address, e)) < 0)
		return r;
	return kind == PYTHON_WEB ? check_path(address, e) : 0;
}

static int check(const void *settings, struct error *e)
{
	const struct python_settings *s = settings;
	int r;

	for (size_t i = 0; i < s->port.listen.n; i++)
		if ((r = check_address(s, s->port.listen.items[i], e)) < 0)
			return r;
	if ((r = ports_check(&s->port, "tcp://127.0.0.1:9020", "tls:// or https://", e)) < 0)
		return r;
	return 0;
}

static void listens(
	const void *settings, void (*each)(void *arg, const char *address, bool guarded), void *arg)
{
	ports_listens(&((const struct python_settings *)settings)->port, each, arg);
}

static bool reads_stdin(const void *settings)
{
	const struct python_settings *s = settings;

	for (size_t i = 0; i < s->port.listen.n; i++)
		if (strcmp(s->port.listen.items[i], "stdin:") == 0)
			return true;
	return false;
}

static const struct option options[] = {
	{.name = "listen",
		.offset = offsetof(struct python_settings, port.listen),
		.kind = OPT_LISTEN,
		.required = true,
		.help = "Addresses: tcp://HOST:PORT and unix:///PATH for SocketHandler, tls:// for it "
			"over TLS, udp:// and unix-dgram:// for DatagramHandler, "
			"http://HOST:PORT/PATH and https:// for HTTPHandler, stdin: for frames on "
			"the standard input."},
	OPTION(struct python_settings, labels, .kind = OPT_MAP,
		.help = "Labels of all records, besides host, app, logger and input."),
	OPTION(struct python_settings, app, .kind = OPT_STRING, .fallback = "python",
		.help = "The label app."),
	OPTION(struct python_settings, max_line, .kind = OPT_SIZE, .fallback = "256KiB", .min = 480,
		.max = 1 << 20,
		.help = "A longer text, traceback and all, is cut there, marked and counted."),
	PORT_OPTIONS(struct python_settings, port),
	{.name = "token",
		.offset = offsetof(struct python_settings, port.token),
		.kind = OPT_BOOL,
		.fallback = "false",
		.help = "Requests must carry a token for ingest, as the password of HTTPHandler's "
			"credentials; the record goes to its tenant. For http:// and https:// alone."},
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
