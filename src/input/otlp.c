/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `otlp` input: OpenTelemetry's logs over gRPC.  Over HTTP the server's own
 * listeners take them (api/otlp.c); what becomes of a record is the same.
 *
 * Design.  A request is decoded into a batch of its own, as over HTTP, and its
 * records go on to the outlet, where those of many small requests are stored
 * together.  The answer is given once they are durable; refused ones are told
 * in it as a partial success.
 *
 * Exporters send again what was answered with UNAVAILABLE, or not at all.  At
 * a reload that changes the input and at the end of the process clients are
 * told to connect anew.
 *
 * Source: OTLP specification, "OTLP/gRPC".
 */
#include "proto/otlp.h"

#include <stdlib.h>

#include "base/metric.h"
#include "input/answer.h"
#include "input/ports.h"

enum {
	RESERVE = 3 << 20,
};

struct otlp_settings {
	struct port_settings port;
	struct string_map labels;
	uint64_t max_line, max_message;
};

struct otlp_input {
	const struct otlp_settings *s;
	struct input_env env; /* what it points to is borrowed */
	struct outlets *outlets;
	struct ports ports;
	struct port *all_ports;
	struct timer tick;
	uint64_t n_requests;
	loop_fn *stopped;
	void *stopped_arg;
};

/* A call. */
struct export
{
	struct otlp_input *in;
	struct port *port;
	struct answer *answer;
	char tenant[TENANT_MAX + 1]; /* "": the input's own */
	struct buf response;
	bool taken;
};

/* Calls. */

static struct otlp_input *input_of(const struct port *p)
{
	return p->ports->o.arg;
}

/* Count what was refused with an answer. */
static void reject(struct port *port, const char *tenant, const char *reason, uint64_t n)
{
	const struct input_env *env = port->ports->o.env;

	env->sink->account(
		env->sink, tenant[0] ? str_c(tenant) : env->tenant, STR("otlp"), reason, n, true);
}

static int on_begin(
	void *arg, struct grpc_call *c, struct str authorization, void **state, struct error *e)
{
	struct port *port = arg;
	struct token token;
	struct export *x;
	int r;

	if ((r = port_admit(port, authorization, &token, e)) != 0) {
		reject(port, "", "denied", 1);
		losses_warn_refused(&port->losses, e->text, grpc_peer(c));
		return r;
	}
	x = xcalloc(1, sizeof *x);
	x->in = input_of(port);
	x->port = port;
	x->answer = answer_new(c);
	if (strcmp(token.tenant, "*") != 0)
		str_copy(str_c(token.tenant), x->tenant, sizeof x->tenant);
	*state = x;
	return 0;
}

/* Move the records of a request to the outlet. */
static void add_all(struct export *x, const struct batch *b)
{
	struct otlp_input *in = x->in;
	struct outlet *o = outlets_of(in->outlets, str_c(x->tenant));

	for (size_t i = 0; i < batch_count(b); i++) {
		struct record r = batch_record(b, i);
		struct outlet_stream *st = outlet_stream_told(o, batch_stream(b, r.stream));

		if (st)
			outlet_add(o, st, &r);
		else
			reject(x->port, x->tenant, "bad_labels", 1);
	}
	answer_wait(x->answer, o);
}

static void count(struct export *x, const struct push_report *report)
{
	static const char *const reasons[] = {
		"bad_labels", "bad_timestamp", "bad_entry", "over_limit"};
	const uint64_t counts[] = {report->n_bad_labels, report->n_bad_timestamp,
		report->n_bad_entry, report->n_over_limit};
	uint64_t n = 0;

	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
		if (counts[i])
			reject(x->port, x->tenant, reasons[i], counts[i]);
		n += counts[i];
	}
	if (report->n_cut)
		metric_add(METRIC_cut_records_total, "input=\"otlp\"", (int64_t)report->n_cut);
	otlp_put_response(&x->response, n, str_c(n ? report->first.text : ""));
}

static int decode(struct export *x, struct str bytes, struct error *e)
{
	struct otlp_input *in = x->in;
	struct push_options o = {.discover = in->env.discover,
		.observed_ns = clock_now_ns(in->env.clock),
		.max_line = in->s->max_line};
	struct push_report report = {0};
	struct account *a = in->env.account;
	struct batch_builder *b;
	uint64_t charged;
	size_t n;
	int r;

	if ((r = otlp_check(bytes, &n, e)) < 0)
		return r;
	/* Of the batch: the texts in a buffer that grows by half, then at their place. */
	charged = (uint64_t)bytes.n * 5 / 2 + otlp_rows_bytes(n);
	if (a && account_charge(a, charged) < 0)
		return error_set(
			e, ERR_BUSY, "no memory to read this request now: try again in a second");
	b = batch_builder_new(in->env.tenant, STR("otlp"), o.observed_ns);
	otlp_add(bytes, &o, b, &report);
	if (batch_builder_count(b) > 0) {
		struct batch *batch = batch_builder_finish(b, o.observed_ns);

		add_all(x, batch);
		batch_unref(batch);
	}
	batch_builder_free(b);
	account_release(a, a ? charged : 0);
	count(x, &report);
	return 0;
}

static int on_message(struct grpc_call *c, void *state, struct str bytes, struct error *e)
{
	struct export *x = state;
	int r;

	if (x->taken)
		return error_set(e, ERR_ARG, "a second request in one call");
	/* Without room it is taken all the same, as it is here already, and the next waits. */
	outlets_room(x->in->outlets);
	if ((r = decode(x, bytes, e)) < 0) {
		reject(x->port, x->tenant, error_name(r), 1);
		losses_warn_refused(&x->port->losses, e->text, grpc_peer(c));
		return r;
	}
	x->taken = true;
	x->in->n_requests++;
	outlets_room(x->in->outlets);
	outlets_flush_if_idle(x->in->outlets);
	return 0;
}

static void on_end(struct grpc_call *c, void *state)
{
	struct export *x = state;

	if (x->taken)
		answer_end(x->answer, buf_view(&x->response));
	else
		grpc_fail(c, GRPC_INTERNAL, "the call ended without a request");
}

static void on_closed(struct grpc_call *c, void *state)
{
	struct export *x = state;

	(void)c;
	answer_closed(x->answer);
	buf_fini(&x->response);
	free(x);
}

static const struct grpc_method methods[] = {
	{"/opentelemetry.proto.collector.logs.v1.LogsService/Export", on_begin, on_message, on_end,
		on_closed},
	{0},
};

/* Going on. */

static void on_paused(void *arg)
{
	ports_pause(&((struct otlp_input *)arg)->ports);
}

static void on_room(void *arg)
{
	ports_resume(&((struct otlp_input *)arg)->ports);
}

static void on_tick(void *arg)
{
	ports_tick(&((struct otlp_input *)arg)->ports);
}

/* Life. */

static void input_free(struct otlp_input *in)
{
	outlets_free(in->outlets);
	timer_fini(&in->tick);
	ports_fini(&in->ports);
	free(in->all_ports);
	free(in);
}

static void on_stopped(void *arg)
{
	struct otlp_input *in = arg;
	loop_fn *stopped = in->stopped;
	void *stopped_arg = in->stopped_arg;

	ports_close(&in->ports);
	input_free(in);
	stopped(stopped_arg);
}

static void on_drained(void *arg)
{
	struct otlp_input *in = arg;

	timer_clear(&in->tick);
	outlets_stop(in->outlets, on_stopped, in);
}

static int open_ports(struct otlp_input *in, struct error *e)
{
	static const struct listener_events none;
	const struct strings *listen = &in->s->port.listen;
	struct ports_options o = {.env = &in->env,
		.input = "otlp",
		.s = &in->s->port,
		.events = &none,
		.keep = in->s->max_message,
		.outlets = in->outlets,
		.drained = on_drained,
		.arg = in};
	int r = ports_init(&in->ports, &o, e);

	in->all_ports = xcalloc(listen->n + 1, sizeof *in->all_ports);
	for (size_t i = 0; i < listen->n && r == 0; i++)
		r = port_open_grpc(&in->ports, &in->all_ports[i], listen->items[i], methods, e);
	return r;
}

static int start(void **out, const void *settings, const struct input_env *env, struct error *e)
{
	struct otlp_input *in = xcalloc(1, sizeof *in);
	int r;

	in->s = settings;
	in->env = *env;
	in->outlets = outlets_new(&(struct outlets_options){.env = &in->env,
		.input = "otlp",
		/* For what is told of losses; records bring labels of their own. */
		.keys = {"host", "app"},
		.n_keys = 2,
		.labels = &in->s->labels,
		.reserve = RESERVE,
		.paused = on_paused,
		.room = on_room,
		.arg = in});
	timer_init(&in->tick, env->loop, on_tick, in);
	if ((r = open_ports(in, e)) < 0) {
		ports_close(&in->ports);
		input_free(in);
		return error_wrap(e, r, "otlp");
	}
	timer_set(&in->tick, PORTS_TICK_MS, PORTS_TICK_MS);
	*out = in;
	return 0;
}

static void stop(void *input, loop_fn *stopped, void *arg)
{
	struct otlp_input *in = input;

	in->stopped = stopped;
	in->stopped_arg = arg;
	ports_stop(&in->ports);
}

static void dump(const void *input, struct buf *out)
{
	const struct otlp_input *in = input;

	buf_printf(out, "otlp: %llu requests taken\n", (unsigned long long)in->n_requests);
	ports_dump(&in->ports, out);
	outlets_dump(in->outlets, out);
}

/* Settings. */

static int check(const void *settings, struct error *e)
{
	const struct otlp_settings *s = settings;
	int r;

	for (size_t i = 0; i < s->port.listen.n; i++) {
		const char *address = s->port.listen.items[i];

		if (!port_is_grpc(address))
			return error_set(e, ERR_ARG,
				"listen: %s must begin with grpc:// or grpcs://; over HTTP POST "
				"/v1/logs takes what this input would, without one",
				address);
		if ((r = port_check_open(&s->port, address, e)) < 0)
			return r;
	}
	return ports_check(&s->port, "grpc://127.0.0.1:4317", "grpcs://", e);
}

static void listens(
	const void *settings, void (*each)(void *arg, const char *address, bool guarded), void *arg)
{
	ports_listens(&((const struct otlp_settings *)settings)->port, each, arg);
}

static const struct option options[] = {
	{.name = "listen",
		.offset = offsetof(struct otlp_settings, port.listen),
		.kind = OPT_LISTEN,
		.required = true,
		.help = "Addresses: grpc://HOST:PORT, and grpcs:// for TLS. OpenTelemetry's port is "
			"4317."},
	OPTION(struct otlp_settings, labels, .kind = OPT_MAP,
		.help = "Labels of all records, besides those of their resource."),
	OPTION(struct otlp_settings, max_line, .kind = OPT_SIZE, .fallback = "256KiB", .min = 480,
		.max = 1 << 20, .help = "A longer body is cut there, marked and counted."),
	OPTION(struct otlp_settings, max_message, .kind = OPT_SIZE, .fallback = "16MiB",
		.min = 64 << 10, .max = 64 << 20,
		.help = "A larger request, unpacked, is refused."),
	PORT_OPTIONS(struct otlp_settings, port),
	{.name = "token",
		.offset = offsetof(struct otlp_settings, port.token),
		.kind = OPT_BOOL,
		.fallback = "false",
		.help = "Requests must carry a token for ingest in the metadata authorization "
			"(\"Bearer slt_…\"), whose tenant they go to."},
	OPTION_END,
};

const struct input_type input_otlp = {
	.name = "otlp",
	.summary = "OpenTelemetry's logs over gRPC",
	.size = sizeof(struct otlp_settings),
	.options = options,
	.check = check,
	.start = start,
	.stop = stop,
	.dump = dump,
	.listens = listens,
};
