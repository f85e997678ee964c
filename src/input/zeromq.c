/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `zeromq` input: subscribes to publishers that it connects to or that
 * connect to it.
 *
 * Design.  One socket for each address (zeromq_source.c), all on the loop:
 * whatever may have messages is read in turns, a share each, so that a loud
 * publisher does not keep others waiting, until there are none or the outlet
 * has no room.  Then reading stops; libzmq's queues fill, then the kernel's,
 * then the publisher's, which drops: only a publisher that numbers its
 * messages makes that known, and then the numbers tell (`sequence`).
 *
 * There is nothing to acknowledge.  What was read stays with the courier until
 * it is durable; at the end what has come is read.  At a reload the sockets go
 * to the next input.
 */
#include "input/zeromq_input.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "input/exposed.h"
#include "record/severity.h"
#include "record/time.h"

enum {
	RESERVE = 3 << 20,
	SHARE = 256,         /* messages of one address in a row */
	TURN = 4096,         /* messages before the loop does something else */
	RENEW_MS = 1000,     /* until a socket that could not be made anew is tried again */
	DRAIN_MS = 4000,     /* of reading at the end */
	MESSAGE_BYTES = 512, /* an estimate, for the queues */
	HWM_MIN = 1000,
	HWM_MAX = 20000,
};

/* Reading. */

void zeromq_pump_soon(struct zeromq_input *in)
{
	timer_set(&in->pump, 0, 0);
}

/* A share of one; how many. */
static unsigned read_some(struct zeromq_input *in, struct source *s)
{
	unsigned n = 0;

	while (n < SHARE && outlets_room(in->outlets)) {
		if (!zeromq_take(s)) {
			s->ready = false;
			break;
		}
		n++;
	}
	return n;
}

static void renew_stale(struct zeromq_input *in)
{
	LIST_EACH (at, &in->sources) {
		struct source *s = CONTAINER(at, struct source, node);

		if (s->stale && !s->ready && s->connections.n == 0 && source_renew(s) < 0)
			timer_set(&in->pump, RENEW_MS, 0);
	}
}

/* Another is the first each time: where room ends in mid-turn, it is not always the same who got
 * some. */
static void rotate(struct zeromq_input *in)
{
	struct list *first = in->sources.next;

	list_remove(first);
	list_append(&in->sources, first);
}

static void pump(void *arg)
{
	struct zeromq_input *in = arg;
	unsigned n = 0, before;

	if (in->stopping || in->paused)
		return;
	rotate(in);
	do {
		before = n;
		LIST_EACH (at, &in->sources) {
			struct source *s = CONTAINER(at, struct source, node);

			if (s->ready && !in->paused)
				n += read_some(in, s);
		}
	} while (n > before && n < TURN && !in->paused);
	outlets_flush_if_idle(in->outlets);
	if (in->paused)
		return;
	if (n >= TURN)
		zeromq_pump_soon(in);
	else
		renew_stale(in);
}

static void on_paused(void *arg)
{
	((struct zeromq_input *)arg)->paused = true;
}

static void on_room(void *arg)
{
	struct zeromq_input *in = arg;

	in->paused = false;
	if (!in->stopping)
		zeromq_pump_soon(in);
}

/* Life. */

static void input_free(struct zeromq_input *in)
{
	LIST_EACH (at, &in->sources)
		source_close(CONTAINER(at, struct source, node));
	outlets_free(in->outlets);
	timer_fini(&in->pump);
	zmq_msg_close(&in->topic);
	zmq_msg_close(&in->body);
	explicit_bzero(&in->keys, sizeof in->keys);
	regex_free(in->sequence);
	buf_fini(&in->meta);
	buf_fini(&in->text);
	buf_fini(&in->joined);
	buf_fini(&in->key);
	free(in->allow);
	free(in);
}

static size_t count_addresses(const struct zeromq_settings *s)
{
	size_t n = s->bind.n;

	for (size_t i = 0; i < s->connect.n; i++)
		n += s->connect.items[i].values.n;
	return n;
}

static int queue_limit(const struct zeromq_settings *s)
{
	size_t n = ZEROMQ_QUEUE_BYTES / MESSAGE_BYTES / count_addresses(s);

	if (s->hwm)
		return (int)s->hwm;
	return n < HWM_MIN ? HWM_MIN : n > HWM_MAX ? HWM_MAX : (int)n;
}

/* Tell each address; ends with the first error. */
typedef int each_address(
	void *arg, const char *name, const char *address, struct error *e); /* name NULL: bound */

static int tell_address(struct str text, const struct zeromq_settings *s, const char *name,
	each_address *fn, void *arg, struct error *e)
{
	static const struct str here = STR_INIT("tcp://localhost:");
	struct buf address = {0};
	int r = zeromq_address(text, s->host, &address, e);

	/* libzmq listens on addresses and interfaces, not on names. */
	if (r == 0 && !name && str_starts(buf_view(&address), here)) {
		char *port = str_dup(str_sub(buf_view(&address), here.n, address.n));
		buf_clear(&address);
		buf_printf(&address, "tcp://127.0.0.1:%s", port);
		free(port);
	}
	if (r == 0)
		r = fn(arg, name, buf_cstr(&address), e);
	buf_fini(&address);
	return r;
}

static int walk_addresses(
	const struct zeromq_settings *s, each_address *fn, void *arg, struct error *e)
{
	int r = 0;

	for (size_t i = 0; i < s->bind.n && r == 0; i++)
		if ((r = tell_address(str_c(s->bind.items[i]), s, NULL, fn, arg, e)) < 0)
			return error_wrap(e, r, "bind");
	for (size_t i = 0; i < s->connect.n; i++) {
		const struct string_group *g = &s->connect.items[i];
		for (size_t k = 0; k < g->values.n; k++)
			if ((r = tell_address(str_c(g->values.items[k]), s, g->name, fn, arg, e)) <
				0)
				return error_wrap(e, r, "connect.%s", g->name);
	}
	return r;
}

static int open_one(void *arg, const char *name, const char *address, struct error *e)
{
	return source_open(arg, name, address, e);
}

static int read_settings(struct zeromq_input *in, struct error *e)
{
	const struct zeromq_settings *s = in->s;
	int r;

	in->hwm = queue_limit(s);
	in->allow = xcalloc(s->allow.n + 1, sizeof *in->allow);
	for (size_t i = 0; i < s->allow.n; i++)
		if ((r = cidr_parse(&in->allow[i], str_c(s->allow.items[i]), e)) < 0)
			return r;
	if (s->sequence && (r = regex_new_groups(&in->sequence, str_c(s->sequence), e)) < 0)
		return error_wrap(e, r, "sequence");
	return zeromq_keys_read(s, &in->keys, e);
}

static void park_sources(struct zeromq_input *in)
{
	const struct input_env *env = in->env;

	LIST_EACH (at, &in->sources) {
		struct source *s = CONTAINER(at, struct source, node);

		if (env->wanted && env->wanted(env->wanted_arg, s->address))
			source_park(s);
	}
}

static int start(void **out, const void *settings, const struct input_env *env, struct error *e)
{
	struct zeromq_input *in = xcalloc(1, sizeof *in);
	struct outlets_options o = {.env = &in->env_copy,
		.input = "zeromq",
		.keys = {"app", "host", "logger"},
		.n_keys = 3,
		.reserve = RESERVE,
		.paused = on_paused,
		.room = on_room,
		.arg = in};
	int r;

	in->s = settings;
	in->env_copy = *env;
	in->env = &in->env_copy;
	o.labels = &in->s->labels;
	in->observed_ns = clock_now_ns(env->clock);
	list_init(&in->sources);
	zmq_msg_init(&in->topic);
	zmq_msg_init(&in->body);
	timer_init(&in->pump, env->loop, pump, in);
	in->outlets = outlets_new(&o);
	if ((r = read_settings(in, e)) < 0 || (r = walk_addresses(in->s, open_one, in, e)) < 0) {
		park_sources(in);
		input_free(in);
		return error_wrap(e, r, "zeromq");
	}
	LIST_EACH (at, &in->sources)
		if (in->sequence)
			zeromq_numbers_load(CONTAINER(at, struct source, node));
	zeromq_pump_soon(in);
	*out = in;
	return 0;
}

static void on_stopped(void *arg)
{
	struct zeromq_input *in = arg;
	loop_fn *stopped = in->stopped;
	void *stopped_arg = in->stopped_arg;

	input_free(in);
	stopped(stopped_arg);
}

/* Take what has come to those that nobody will have. */
static void drain(struct zeromq_input *in)
{
	int64_t until = clock_mono_ns(in->env->clock) + DRAIN_MS * NS_PER_MS;

	LIST_EACH (at, &in->sources) {
		struct source *s = CONTAINER(at, struct source, node);

		source_shut(s);
		/* Without room too: it is here, and nobody can send it again. */
		while (zeromq_take(s) && clock_mono_ns(in->env->clock) < until)
			outlets_room(in->outlets);
		zeromq_numbers_save(s);
		source_close(s);
	}
}

static void stop(void *input, loop_fn *stopped, void *arg)
{
	struct zeromq_input *in = input;

	in->stopping = true;
	in->stopped = stopped;
	in->stopped_arg = arg;
	timer_clear(&in->pump);
	park_sources(in);
	drain(in);
	outlets_stop(in->outlets, on_stopped, in);
}

static void dump(const void *input, struct buf *out)
{
	const struct zeromq_input *in = input;

	buf_printf(out, "zeromq: queues of %d messages%s\n", in->hwm, in->paused ? ", paused" : "");
	LIST_EACH (at, &in->sources)
		source_dump(CONTAINER(at, struct source, node), out);
	outlets_dump(in->outlets, out);
}

/* Settings. */

struct seen {
	const struct zeromq_settings *s;
	struct map names; /* address -> name in the settings */
};

static int check_one(void *arg, const char *name, const char *address, struct error *e)
{
	struct seen *seen = arg;
	const struct zeromq_settings *s = seen->s;
	union map_value *v;
	bool added;

	if (name && str_find(str_c(address), STR("//*:")) >= 0)
		return error_set(e, ERR_ARG, "%s: one can only connect to a host", address);
	if (!name && str_starts(str_c(address), STR("tcp://")) && !exposed_loopback(address) &&
		s->allow.n == 0 && s->curve.client_keys.n == 0)
		return error_set(e, ERR_ARG,
			"%s is open beyond this machine and asks nobody who he is: say in allow "
			"which networks may send, or in curve.client_keys which keys",
			address);
	v = map_put(&seen->names, str_c(address), &added);
	if (!added)
		return error_set(e, ERR_ARG, "%s is given twice, in %s too", address,
			v->p ? (const char *)v->p : "bind");
	v->p = (void *)(uintptr_t)name;
	return 0;
}

static int check_addresses(const struct zeromq_settings *s, struct error *e)
{
	struct seen seen = {.s = s};
	size_t n = count_addresses(s);
	int r;

	if (n == 0)
		return error_set(e, ERR_ARG,
			"connect or bind: at least one address, as connect: {worker: 5556}");
	if (n > ZEROMQ_ADDRESSES_MAX)
		return error_set(e, ERR_LIMIT, "more than %d addresses", ZEROMQ_ADDRESSES_MAX);
	for (size_t i = 0; i < s->bind.n; i++)
		if (str_find(str_c(s->bind.items[i]), STR("://")) >= 0 &&
			!str_starts(str_c(s->bind.items[i]), STR("tcp://")) &&
			!str_starts(str_c(s->bind.items[i]), STR("ipc://")))
			return error_set(e, ERR_ARG, "bind: %s must begin with tcp:// or ipc://",
				s->bind.items[i]);
	r = walk_addresses(s, check_one, &seen, e);
	map_fini(&seen.names);
	return r;
}

static int check_curve(const struct zeromq_settings *s, struct error *e)
{
	bool any = s->curve.server_key || s->curve.secret_key_file;

	if (any && !zmq_has("curve"))
		return error_set(e, ERR_UNSUPPORTED, "curve: this libzmq was built without it");
	if (s->curve.server_key && !zeromq_key_valid(str_c(s->curve.server_key)))
		return error_set(e, ERR_ARG,
			"curve.server_key: not a public key: it has %d characters of Z85",
			ZEROMQ_KEY);
	for (size_t i = 0; i < s->curve.client_keys.n; i++)
		if (!zeromq_key_valid(str_c(s->curve.client_keys.items[i])))
			return error_set(e, ERR_ARG,
				"curve.client_keys: \"%s\" is not a public key: it has %d characters of Z85",
				s->curve.client_keys.items[i], ZEROMQ_KEY);
	if (any && s->connect.n && !s->curve.server_key)
		return error_set(e, ERR_ARG,
			"curve.server_key: the public key of the publishers is needed for connect");
	if ((any || s->curve.client_keys.n) && s->bind.n && !s->curve.secret_key_file)
		return error_set(e, ERR_ARG, "curve.secret_key_file: is needed for bind");
	if (s->curve.client_keys.n && !s->bind.n)
		return error_set(e, ERR_ARG, "curve.client_keys: there is nothing in bind");
	return 0;
}

static int check_sequence(const struct zeromq_settings *s, struct error *e)
{
	struct regex *r = NULL;
	int code = s->sequence ? regex_new_groups(&r, str_c(s->sequence), e) : 0;

	if (code == 0 && r && regex_n_groups(r) != 1)
		code = error_set(e, ERR_ARG,
			"one group that is the number is needed, as in '\"seq\": (\\d+)'");
	regex_free(r);
	return code < 0 ? error_wrap(e, code, "sequence") : 0;
}

static int check(const void *settings, struct error *e)
{
	const struct zeromq_settings *s = settings;
	struct cidr net;
	int r;

	for (size_t i = 0; i < s->allow.n; i++)
		if ((r = cidr_parse(&net, str_c(s->allow.items[i]), e)) < 0)
			return error_wrap(e, r, "allow");
	if ((r = check_addresses(s, e)) < 0 || (r = check_curve(s, e)) < 0 ||
		(r = check_sequence(s, e)) < 0)
		return r;
	for (size_t i = 0; i < s->levels.n; i++)
		if (!severity_from_word(str_c(s->levels.items[i].value)))
			return error_set(e, ERR_ARG,
				"levels: %s: \"%s\" is no level: debug, info, warning, error, critical",
				s->levels.items[i].name, s->levels.items[i].value);
	return 0;
}

struct listens {
	const struct zeromq_settings *s;
	void (*each)(void *arg, const char *address, bool guarded);
	void *arg;
};

/* What it connects to is named as well, so that its socket is left to a next input. */
static int listens_one(void *arg, const char *name, const char *address, struct error *e)
{
	const struct listens *l = arg;

	(void)e;
	l->each(l->arg, address,
		name || l->s->curve.client_keys.n || str_starts(str_c(address), STR("ipc://")));
	return 0;
}

static void listens(
	const void *settings, void (*each)(void *arg, const char *address, bool guarded), void *arg)
{
	struct listens l = {.s = settings, .each = each, .arg = arg};

	walk_addresses(settings, listens_one, &l, NULL);
}

#define CURVE(field, ...)                                                                          \
	{                                                                                          \
		.name = #field,                                                                    \
		.offset = offsetof(struct zeromq_settings, curve.field) -                          \
			  offsetof(struct zeromq_settings, curve),                                 \
		__VA_ARGS__                                                                        \
	}

static const struct option curve_options[] = {
	CURVE(server_key, .kind = OPT_STRING,
		.help = "Public key of the publishers that are connected to, in Z85."),
	CURVE(secret_key_file, .kind = OPT_PATH,
		.help = "File with our own secret key: Z85 alone, or a certificate of zmq.auth. Needed "
			"for bind; else, without it a new one is made at each start, which publishers "
			"that let in anybody take."),
	CURVE(client_keys, .kind = OPT_STRINGS,
		.help = "Public keys of the publishers that may connect to what is bound; without it "
			"all who know our public key."),
	OPTION_END,
};

static const struct option options[] = {
	OPTION(struct zeromq_settings, connect, .kind = OPT_GROUPS,
		.help = "Publishers by name, each with one address or a list: a port, HOST:PORT, "
			"tcp://HOST:PORT, ipc:///PATH. The name becomes the label app."),
	OPTION(struct zeromq_settings, bind, .kind = OPT_LISTEN,
		.help = "Addresses that publishers connect to: tcp://HOST:PORT, ipc:///PATH."),
	OPTION(struct zeromq_settings, subscribe, .kind = OPT_STRINGS,
		.help = "Beginnings of the topics to take; without it all."),
	OPTION(struct zeromq_settings, host, .kind = OPT_STRING, .fallback = "localhost",
		.help = "The host of addresses in connect that are only a port."),
	OPTION(struct zeromq_settings, labels, .kind = OPT_MAP,
		.help = "Labels of all messages, besides app, host, logger and input."),
	OPTION(struct zeromq_settings, app, .kind = OPT_STRING,
		.help = "The label app. Default: the publisher's name in connect, else the logger."),
	OPTION(struct zeromq_settings, levels, .kind = OPT_MAP,
		.help = "Levels of the publishers' own and what they mean: {SUCCESS: info}."),
	OPTION(struct zeromq_settings, sequence, .kind = OPT_STRING,
		.help = "Regular expression with one group, the number that a publisher gives each of "
			"its messages: what is missing between two is counted and told by a record."),
	OPTION(struct zeromq_settings, join_topic, .kind = OPT_BOOL, .fallback = "false",
		.help = "Put the subtopic and '::' before the text again, where PUBHandler cut it: for "
			"publishers that mean no topic by '::'. The metadata topic stays."),
	OPTION(struct zeromq_settings, max_line, .kind = OPT_SIZE, .fallback = "256KiB", .min = 480,
		.max = 1 << 20, .help = "A longer message is cut there, marked and counted."),
	OPTION(struct zeromq_settings, hwm, .kind = OPT_INT, .fallback = "0", .min = 0,
		.max = 10000000,
		.help = "Messages that libzmq keeps for each connection until they are read; 0: what "
			"keeps all of them together at about 64 MiB, from 1000 to 20000."),
	OPTION(struct zeromq_settings, heartbeat, .kind = OPT_DURATION, .fallback = "30s",
		.max = INT64_C(3600) * 1000000000,
		.help = "How often a silent peer is asked whether it is there; 0s: never."),
	OPTION(struct zeromq_settings, reconnect, .kind = OPT_DURATION, .fallback = "50ms",
		.min = 1000000, .max = INT64_C(3600) * 1000000000,
		.help = "Pause before connecting again. What a publisher sends meanwhile is lost."),
	OPTION(struct zeromq_settings, allow, .kind = OPT_STRINGS,
		.help = "Networks that may connect to what is bound (\"10.0.0.0/8\"); without it all. "
			"This or curve.client_keys is needed beyond loopback."),
	OPTION(struct zeromq_settings, curve, .kind = OPT_OBJECT, .fields = curve_options,
		.help = "Keys for encryption and for who may connect."),
	OPTION_END,
};

const struct input_type input_zeromq = {
	.name = "zeromq",
	.summary = "log messages of ZeroMQ publishers",
	.size = sizeof(struct zeromq_settings),
	.shared_state = true, /* a file for each address: no two inputs have the same */
	.options = options,
	.check = check,
	.start = start,
	.stop = stop,
	.dump = dump,
	.settled = zeromq_drop_parked,
	.listens = listens,
};
