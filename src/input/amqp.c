/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `amqp` input: consumes a queue of RabbitMQ, or of another broker of AMQP
 * 0-9-1.
 *
 * Design.  A thread owns the connection and makes batches (amqp_consumer.c);
 * here, on the loop, they go to the courier.  Runs stand in the order of their
 * making and are durable in that order: when the source of positions has come
 * to the end of a run, its tag goes back to the thread, which acknowledges.
 *
 *	start ──► consuming ──stop──► thread drains ──► courier stops ──► thread ends ──► stopped
 *
 * A message is a duplicate when its id and all of its content were taken
 * within the window (amqp_seen.c), which is committed with the batches.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "input/amqp_input.h"
#include "record/zone.h"

enum {
	RESERVE = 3 << 20,
	TICK_MS = 1000,
	PREFETCH_MAX = UINT16_MAX,
	NAME_MAX_BYTES = 255, /* of AMQP's short strings */
};

struct amqp_input {
	const struct amqp_settings *s;
	const struct input_env *env; /* env_copy: what it points to is borrowed */
	struct input_env env_copy;
	struct courier *courier;
	struct consumer *consumer;
	struct zone *zone;
	struct seen *seen;
	char *seen_source;
	struct list named; /* in `names`, while there is a seen_source */
	uint64_t name;
	unsigned ordinal;
	struct list runs;
	uint64_t durable; /* position */
	uint64_t reserve;
	struct timer tick;
	bool wanted; /* the thread waits for memory */
	loop_fn *stopped;
	void *stopped_arg;
};

/* Names of windows in use: two inputs of a process on one queue have one each, which of them is
 * which is all the same. */
static struct lock names_lock = LOCK_INIT;
static struct list names = {&names, &names};

/* Runs. */

static void settle_runs(struct amqp_input *in)
{
	uint64_t n = 0, connection = 0, tag = 0;

	while (!list_empty(&in->runs)) {
		struct run *r = CONTAINER(in->runs.next, struct run, node);

		if (r->position > in->durable)
			break;
		if (r->tag) {
			connection = r->connection;
			tag = r->tag;
		}
		list_remove(&r->node);
		free(r);
		n++;
	}
	if (n)
		consumer_settled(in->consumer, n, connection, tag);
}

static bool grant(struct amqp_input *in)
{
	uint64_t n;

	if (consumer_has_grant(in->consumer))
		return true;
	if (!courier_ready(in->courier))
		return false;
	if ((n = courier_reserve(in->courier, in->reserve)))
		consumer_grant(in->consumer, n);
	return n > 0;
}

static void take_run(void *arg) /* loop */
{
	struct run *r = arg;
	struct amqp_input *in = r->input;

	list_append(&in->runs, &r->node);
	if (r->batch) {
		courier_send(in->courier, r->batch, r->reserved);
		in->wanted = !grant(in) && in->wanted; /* the next one, as it goes on */
	}
	settle_runs(in);
}

static void on_run(void *arg, struct run *r) /* consumer -> loop */
{
	struct amqp_input *in = arg;

	r->input = in;
	loop_post(in->env->loop, take_run, r);
}

static void give(void *arg) /* loop */
{
	struct amqp_input *in = arg;

	in->wanted = !grant(in);
}

static void on_want(void *arg) /* consumer -> loop */
{
	loop_post(((struct amqp_input *)arg)->env->loop, give, arg);
}

static void on_acked(void *arg, const struct batch *b, const struct sink_result *result)
{
	struct amqp_input *in = arg;

	(void)result;
	for (size_t i = 0; i < batch_n_sources(b); i++) {
		struct batch_source s = batch_source(b, i);

		if (s.kind == POSITION_MARK)
			in->durable = s.to;
	}
	settle_runs(in);
}

static void on_room(void *arg)
{
	struct amqp_input *in = arg;

	if (in->wanted)
		in->wanted = !grant(in);
}

/* A grant that nothing came for: others may have the memory. */
static void on_tick(void *arg)
{
	struct amqp_input *in = arg;

	courier_unreserve(in->courier, consumer_take_back(in->consumer));
}

/* Life. */

static void name_window(struct amqp_input *in)
{
	struct amqp_url u = {.vhost = ""};
	struct arena a = {0};
	struct buf text = {0};

	amqp_url_parse(&u, str_c(in->s->url), &a, NULL);
	buf_printf(&text, "%s\n%s\n%s", u.vhost, in->s->queue, in->s->dedupe.by);
	in->name = hash_stable(buf_view(&text));
	lock_take(&names_lock);
	for (bool again = true; again;) {
		again = false;
		LIST_EACH (at, &names) {
			struct amqp_input *other = CONTAINER(at, struct amqp_input, named);

			if (other->name == in->name && other->ordinal == in->ordinal) {
				in->ordinal++;
				again = true;
			}
		}
	}
	list_append(&names, &in->named);
	lock_drop(&names_lock);
	buf_clear(&text);
	buf_printf(&text, "amqp-seen:%016" PRIx64 ":%u", in->name, in->ordinal);
	in->seen_source = str_dup(buf_view(&text));
	buf_fini(&text);
	arena_fini(&a);
}

static void load_window(struct amqp_input *in)
{
	struct sink *sink = in->env->sink;
	struct buf *tokens = xcalloc(SEEN_SLOTS_MAX, sizeof *tokens), id = {0};
	struct str *views = xcalloc(SEEN_SLOTS_MAX, sizeof *views);
	size_t n = 0;

	for (size_t i = 0; i < SEEN_SLOTS_MAX; i++) {
		buf_clear(&id);
		buf_printf(&id, "%s:%zu", in->seen_source, i);
		if (sink->position(sink, in->env->tenant, buf_view(&id), &tokens[n], NULL) < 0)
			continue;
		views[n] = buf_view(&tokens[n]);
		n++;
	}
	seen_load(in->seen, views, n);
	for (size_t i = 0; i < n; i++)
		buf_fini(&tokens[i]);
	buf_fini(&id);
	free(tokens);
	free(views);
}

static void open_window(struct amqp_input *in)
{
	size_t window = (size_t)in->s->dedupe.window, prefetch = (size_t)in->s->prefetch;

	if (str_eq_c(str_c(in->s->dedupe.by), "off"))
		return;
	/* Whatever was delivered and not acknowledged when a connection ends must be known. */
	in->seen = seen_new(window > prefetch ? window : prefetch, prefetch);
	name_window(in);
	load_window(in);
}

static void input_free(struct amqp_input *in)
{
	consumer_free(in->consumer);
	LIST_EACH (at, &in->runs) {
		list_remove(at);
		free(CONTAINER(at, struct run, node));
	}
	courier_free(in->courier);
	timer_fini(&in->tick);
	zone_free(in->zone);
	if (in->seen_source) {
		lock_take(&names_lock);
		list_remove(&in->named);
		lock_drop(&names_lock);
	}
	free(in->seen_source);
	seen_free(in->seen);
	free(in);
}

static void finish(void *arg) /* loop */
{
	struct amqp_input *in = arg;
	loop_fn *stopped = in->stopped;
	void *stopped_arg = in->stopped_arg;

	input_free(in);
	stopped(stopped_arg);
}

static void on_ended(void *arg) /* consumer -> loop */
{
	loop_post(((struct amqp_input *)arg)->env->loop, finish, arg);
}

/* All that was taken is durable or given up: there is nothing more to acknowledge. */
static void on_courier_stopped(void *arg)
{
	consumer_end(((struct amqp_input *)arg)->consumer);
}

static void stop_courier(void *arg) /* loop */
{
	struct amqp_input *in = arg;

	courier_stop(in->courier, on_courier_stopped, in);
}

static void on_drained(void *arg) /* consumer -> loop */
{
	loop_post(((struct amqp_input *)arg)->env->loop, stop_courier, arg);
}

static int start(void **out, const void *settings, const struct input_env *env, struct error *e)
{
	struct courier_events events = {.acked = on_acked, .room = on_room};
	struct amqp_input *in = xcalloc(1, sizeof *in);
	struct consumer_options o = {.run = on_run,
		.want = on_want,
		.drained = on_drained,
		.ended = on_ended,
		.arg = in};
	int r;

	in->s = o.s = settings;
	in->env_copy = *env;
	in->env = o.env = &in->env_copy;
	list_init(&in->runs);
	list_init(&in->named);
	if (in->s->timezone && (r = zone_new(&in->zone, str_c(in->s->timezone), e)) < 0) {
		free(in);
		return error_wrap(e, r, "amqp: timezone");
	}
	in->reserve = RESERVE;
	if (env->account && env->account->limit / 4 < in->reserve)
		in->reserve = env->account->limit / 4;
	/* The broker delivers again what was not acknowledged. */
	events.rereads = in->s->ack == AMQP_MANUAL;
	in->courier = courier_new(in->env, "amqp", &events, in);
	open_window(in);
	timer_init(&in->tick, env->loop, on_tick, in);
	timer_set(&in->tick, TICK_MS, TICK_MS);
	o.zone = in->zone;
	o.seen = in->seen;
	o.seen_source = in->seen_source;
	in->consumer = consumer_start(&o);
	*out = in;
	return 0;
}

static void stop(void *input, loop_fn *stopped, void *arg)
{
	struct amqp_input *in = input;

	in->stopped = stopped;
	in->stopped_arg = arg;
	timer_clear(&in->tick);
	consumer_stop(in->consumer);
}

static void dump(const void *input, struct buf *out)
{
	const struct amqp_input *in = input;
	size_t n = 0;

	LIST_EACH (at, &in->runs)
		n++;
	buf_printf(out, "amqp: queue \"%s\": %zu runs of messages not acknowledged yet%s\n",
		in->s->queue, n, in->wanted ? ", waits for memory or the store" : "");
	consumer_dump(in->consumer, out);
	courier_dump(in->courier, out);
}

/* Settings. */

static int check_dedupe(const struct amqp_settings *s, struct error *e)
{
	static const struct str header = STR_INIT("header:");
	struct str by = str_c(s->dedupe.by);

	if (str_eq_c(by, "message-id") || str_eq_c(by, "off") ||
		(str_starts(by, header) && by.n > header.n))
		return 0;
	return error_set(e, ERR_ARG,
		"dedupe.by: \"%s\": must be message-id, header:NAME with the name of a header, or off",
		s->dedupe.by);
}

static int check_queue(const struct amqp_settings *s, struct error *e)
{
	bool quorum = s->queue_type == 2;
	uint64_t limit;

	if (!*s->queue && (s->declare != AMQP_CREATE || quorum))
		return error_set(e, ERR_ARG,
			"queue: one without a name is made anew for each connection: it needs "
			"declare: create, and cannot be a quorum queue");
	if (quorum && !s->queue_durable)
		return error_set(e, ERR_ARG,
			"queue_durable: quorum queues are always durable: set it to true");
	for (size_t i = 0; i < s->arguments.n; i++)
		if (str_eq_c(str_c(s->arguments.items[i].name), "x-delivery-limit") &&
			str_u64(str_c(s->arguments.items[i].value), &limit) &&
			limit + 1 < (uint64_t)s->tries)
			return error_set(e, ERR_ARG,
				"arguments: x-delivery-limit: with %" PRIu64
				" the broker drops a message before it was tried %" PRId64
				" times (tries): set tries to %" PRIu64 " or less",
				limit, s->tries, limit + 1);
	return 0;
}

static int check(const void *settings, struct error *e)
{
	const struct amqp_settings *s = settings;
	const char *const names_of[] = {s->exchange, s->queue, s->consumer_tag};
	struct amqp_url u;
	struct arena a = {0};
	struct zone *zone;
	int r;

	for (size_t i = 0; i < 3; i++)
		if (names_of[i] && strlen(names_of[i]) > NAME_MAX_BYTES)
			return error_set(e, ERR_LIMIT, "%.30s…: a name has at most %d bytes",
				names_of[i], NAME_MAX_BYTES);
	if ((r = check_dedupe(s, e)) < 0 || (r = check_queue(s, e)) < 0)
		return r;
	r = amqp_url_parse(&u, str_c(s->url), &a, e);
	if (r == 0 && !u.tls && (s->tls.ca || s->tls.cert || s->tls.key || s->tls.insecure))
		r = error_set(e, ERR_ARG, "tls: is for amqps://, and url is amqp://");
	if (r == 0 && !s->tls.cert != !s->tls.key)
		r = error_set(e, ERR_ARG, "tls: cert and key come together");
	arena_fini(&a);
	if (r < 0)
		return r;
	if (s->timezone) {
		if ((r = zone_new(&zone, str_c(s->timezone), e)) < 0)
			return error_wrap(e, r, "timezone");
		zone_free(zone);
	}
	return 0;
}

static const char *const declares[] = {"create", "check", "never", NULL};
static const char *const acks[] = {"manual", "auto", NULL};
static const char *const queue_types[] = {"default", "classic", "quorum", NULL};

static const struct option dedupe_options[] = {
	OPTION(struct amqp_dedupe, by, .kind = OPT_STRING, .fallback = "message-id",
		.help = "What messages are known by: message-id, header:NAME, or off. One is a "
			"duplicate when this, its routing key and its body are those of another."),
	OPTION(struct amqp_dedupe, window, .kind = OPT_INT, .fallback = "10000", .min = 1,
		.max = SEEN_WINDOW_MAX,
		.help = "How many of the last messages are known; never less than `prefetch`."),
	OPTION_END,
};

static const struct option options[] = {
	OPTION(struct amqp_settings, url, .kind = OPT_STRING, .required = true, .secret = true,
		.check = amqp_check_url,
		.help = "amqp://USER:PASSWORD@HOST:PORT/VHOST, or amqps:// for TLS."),
	OPTION(struct amqp_settings, exchange, .kind = OPT_STRING, .fallback = "logs_exchange",
		.help = "Exchange that the queue is bound to; empty: none, as for a queue that is sent "
			"to by its name."),
	OPTION(struct amqp_settings, exchange_type, .kind = OPT_STRING, .fallback = "topic",
		.help = "Type of the exchange, where it is made: topic, direct, fanout …"),
	OPTION(struct amqp_settings, exchange_durable, .kind = OPT_BOOL, .fallback = "false",
		.help = "Whether the exchange outlives a restart of the broker. Where it does not, it "
			"is made anew with the next connection."),
	OPTION(struct amqp_settings, queue, .kind = OPT_STRING, .fallback = "logQueue",
		.help = "Queue to consume. Empty: one of this connection alone, which goes with it."),
	OPTION(struct amqp_settings, queue_type, .kind = OPT_ENUM, .values = queue_types,
		.fallback = "default",
		.help = "classic; quorum, which is kept by several nodes; default: the broker's."),
	OPTION(struct amqp_settings, queue_durable, .kind = OPT_BOOL, .fallback = "true",
		.help = "Whether the queue outlives a restart of the broker."),
	OPTION(struct amqp_settings, arguments, .kind = OPT_MAP,
		.help = "Arguments of the queue, where it is made: {x-max-length: 1000000}."),
	OPTION(struct amqp_settings, bind, .kind = OPT_STRINGS, .fallback = "#",
		.help = "Routing keys that the exchange sends to the queue: '#' is all, '*.Error' a "
			"word and Error."),
	OPTION(struct amqp_settings, declare, .kind = OPT_ENUM, .values = declares,
		.fallback = "create",
		.help = "create: make exchange, queue and bindings that are not there; check: exchange "
			"and queue must be there; never: take the queue as it is."),
	OPTION(struct amqp_settings, ack, .kind = OPT_ENUM, .values = acks, .fallback = "manual",
		.help = "manual: a message is acknowledged once it is on disk; auto: the broker forgets "
			"it when it is sent, and what is under way in a crash is lost."),
	OPTION(struct amqp_settings, prefetch, .kind = OPT_INT, .fallback = "5000", .min = 1,
		.max = PREFETCH_MAX,
		.help = "Messages that the broker sends ahead of their acknowledgement."),
	OPTION(struct amqp_settings, format, .kind = OPT_ENUM, .values = message_forms,
		.fallback = "auto",
		.help = "Form of the bodies; auto: by content type and looks, else plain."),
	OPTION(struct amqp_settings, app, .kind = OPT_STRING,
		.help = "The label app. Default: the service that the body tells, else the app-id, else "
			"the first part of a routing key APP.SEVERITY, else the queue."),
	OPTION(struct amqp_settings, labels, .kind = OPT_MAP,
		.help = "Labels of all messages, besides app and input."),
	OPTION(struct amqp_settings, timezone, .kind = OPT_STRING,
		.help = "Zone of times in bodies that name none: UTC, +02:00, Europe/Berlin. Default: "
			"the host's."),
	OPTION(struct amqp_settings, dedupe, .kind = OPT_OBJECT, .fields = dedupe_options,
		.help = "How a message that comes again is known."),
	OPTION(struct amqp_settings, tls, .kind = OPT_OBJECT, .fields = amqp_tls_options,
		.help = "Certificates, for amqps://."),
	OPTION(struct amqp_settings, heartbeat, .kind = OPT_DURATION, .fallback = "30s",
		.min = 1000000000, .max = INT64_C(3600) * 1000000000,
		.help = "How often both sides say that they are there; ?heartbeat= in url wins."),
	OPTION(struct amqp_settings, consumer_tag, .kind = OPT_STRING,
		.help = "What the broker calls this consumer. Default: it makes up a name."),
	OPTION(struct amqp_settings, exclusive, .kind = OPT_BOOL, .fallback = "false",
		.help = "Nobody else may consume the queue."),
	OPTION(struct amqp_settings, tries, .kind = OPT_INT, .fallback = "3", .min = 1,
		.max = AMQP_TRIES_MAX,
		.help = "Deliveries of a message that cannot be decoded until it is stored as it is, in "
			"the stream {quarantine=\"true\"}."),
	OPTION(struct amqp_settings, max_line, .kind = OPT_SIZE, .fallback = "256KiB", .min = 480,
		.max = 1 << 20, .help = "A longer message is cut there, marked and counted."),
	OPTION_END,
};

const struct input_type input_amqp = {
	.name = "amqp",
	.summary = "messages of a queue of RabbitMQ",
	.size = sizeof(struct amqp_settings),
	.rereads = true,
	.options = options,
	.check = check,
	.start = start,
	.stop = stop,
	.dump = dump,
};
