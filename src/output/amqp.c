/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `amqp` output: records as messages to an exchange of RabbitMQ.
 *
 * Design.  A record becomes a message (key, body, properties), which the
 * publisher keeps until the broker has confirmed it (net/amqp_publisher.h);
 * sync waits for that, and then the cursor moves.  So a crash, of either side,
 * repeats what was not confirmed, under the same message-id:
 *
 *   host:output:epoch:sequence[:n]
 *
 * The epoch is drawn once and lies in the output's folder, as sequence numbers
 * begin anew when a data folder does; n counts what stages made of one record.
 *
 * Records without an app or a severity get these for the message: both are
 * words of the routing key, by which queues are bound.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/metric.h"
#include "net/amqp_publisher.h"
#include "output/line_format.h"
#include "record/labels.h"
#include "record/severity.h"
#include "record/time.h"

enum {
	SETTLE_MS = 1000,
	WAITING_MAX = 10000,
	EPOCH_DIGITS = 16,
};

#define HEARTBEAT_MAX_NS (3600 * NS_PER_SEC)

enum body { BODY_TEXT, BODY_JSON, BODY_PLAIN };
enum declare { DECLARE_CREATE, DECLARE_CHECK, DECLARE_NEVER };
enum unroutable { UNROUTABLE_RETRY, UNROUTABLE_SKIP };

struct amqp_settings {
	struct output_settings common;
	struct line_settings line;
	const char *url, *exchange, *exchange_type, *routing_key;
	bool exchange_durable;
	int declare, body, unroutable;
	struct strings headers;
	int64_t unconfirmed, heartbeat;
	struct amqp_tls_settings tls;
};

struct amqp_output {
	const struct amqp_settings *s;
	struct output_env env;
	struct amqp_publisher_options options;
	struct amqp_publisher *publisher;
	char *name; /* of the connection */
	char epoch[EPOCH_DIGITS + 1];
	struct line_format *key_format,
		*line_format; /* line: of body plain, and the time of text */
	uint64_t seq;         /* of the record put last */
	uint64_t nth;         /* of those with this number */
	bool differs_told;
	uint64_t unroutable_told;
	int64_t unroutable_mono;
	/* Of the message being made. */
	struct buf key, app, body, id, labels, text;
	struct labels_builder builder;
};

static const char *const bodies[] = {"text", "json", "plain", NULL};
static const char *const declares[] = {"create", "check", "never", NULL};
static const char *const unroutables[] = {"retry", "skip", NULL};

/* Making a message. */

/* In the spelling that the routing keys of services have. */
static struct str severity_word(uint8_t severity)
{
	static const char *const words[] = {"Trace", "Debug", "Info", "Warn", "Error", "Fatal"};

	if (severity == SEV_UNKNOWN)
		return STR("Unknown");
	return str_c(words[(severity > 24 ? 23 : severity - 1) / 4]);
}

/* The labels with an app and a severity. */
static struct str complete(struct amqp_output *o, const struct output_record *r)
{
	struct str at = r->labels, value, service;
	bool app = labels_get(r->labels, STR("app"), &value);
	bool severity = labels_get(r->labels, STR("severity"), &value);
	struct label l;

	if (app && severity)
		return r->labels;
	labels_builder_clear(&o->builder);
	o->builder.names_free = true;
	if (!app) {
		if (!labels_get(r->labels, STR("service_name"), &service))
			service = STR("unknown");
		(void)labels_builder_set(&o->builder, STR("app"), service, NULL);
	}
	if (!severity)
		(void)labels_builder_set(
			&o->builder, STR("severity"), severity_word(r->severity), NULL);
	/* A record that has as many labels as there may be loses one: the two come first. */
	if (at.n)
		labels_start(&at);
	while (at.n && labels_next(&at, &l))
		(void)labels_builder_set(&o->builder, l.name, l.value, NULL);
	buf_clear(&o->labels);
	labels_builder_write(&o->builder, &o->labels);
	return buf_view(&o->labels);
}

/* Clients take keys and headers for UTF-8, and some end at what is none. */
static void make_utf8(struct buf *b, size_t from)
{
	while (from < b->n) {
		from += str_utf8_valid(str_make(b->p + from, b->n - from));
		if (from < b->n)
			b->p[from++] = '?';
	}
}

static struct str label_of(const struct output_record *r, struct str name)
{
	struct str value = STR_NONE;

	labels_get(r->labels, name, &value);
	return value;
}

/* "2024-12-18 10:00:00 ServiceA Error what happened" */
static void put_text(struct amqp_output *o, const struct output_record *r)
{
	line_format_field(o->line_format, r, STR("asctime"), &o->body);
	buf_char(&o->body, ' ');
	buf_str(&o->body, label_of(r, STR("app")));
	buf_char(&o->body, ' ');
	buf_str(&o->body, label_of(r, STR("severity")));
	buf_char(&o->body, ' ');
	buf_str(&o->body, r->line);
}

static void put_json(struct amqp_output *o, const struct output_record *r)
{
	struct str at = r->labels;
	struct label l;

	buf_c(&o->body, "{\"timestamp\":\"");
	time_format(&o->body, r->timestamp);
	buf_c(&o->body, "\",\"message\":");
	buf_json(&o->body, r->line);
	labels_start(&at);
	while (labels_next(&at, &l)) {
		buf_char(&o->body, ',');
		if (str_eq(l.name, STR("timestamp")) || str_eq(l.name, STR("message"))) {
			buf_clear(&o->text);
			buf_c(&o->text, "label_");
			buf_str(&o->text, l.name);
			l.name = buf_view(&o->text);
		}
		buf_json(&o->body, l.name);
		buf_char(&o->body, ':');
		buf_json(&o->body, l.value);
	}
	buf_char(&o->body, '}');
}

static void put_id(struct amqp_output *o, const struct output_record *r)
{
	o->nth = r->seq == o->seq ? o->nth + 1 : 0;
	o->seq = r->seq;
	/* Its end is what tells messages apart, so a long host is cut. */
	buf_clear(&o->id);
	buf_printf(&o->id, "%.100s:%s:%s:%" PRIu64, o->env.host, o->env.name, o->epoch, r->seq);
	if (o->nth)
		buf_printf(&o->id, ":%" PRIu64, o->nth);
}

static size_t put_headers(
	struct amqp_output *o, const struct output_record *r, struct amqp_header *headers)
{
	size_t n = 0, at = 0;

	buf_clear(&o->text);
	for (size_t i = 0; i < o->s->headers.n; i++) {
		struct str value = label_of(r, str_c(o->s->headers.items[i]));

		if (!value.n)
			continue;
		headers[n].name = str_c(o->s->headers.items[i]);
		/* What the publisher would cut needs not be copied. */
		headers[n++].value.n = value.n < AMQP_HEADER_BYTES ? value.n : AMQP_HEADER_BYTES;
		buf_str(&o->text, str_sub(value, 0, AMQP_HEADER_BYTES));
	}
	make_utf8(&o->text, 0);
	for (size_t i = 0; i < n; i++) {
		headers[i].value.p = o->text.p + at;
		at += headers[i].value.n;
	}
	return n;
}

static int put_record(struct amqp_output *o, const struct output_record *record, struct error *e)
{
	static const char *const types[] = {"text/plain", "application/json", "text/plain"};
	struct amqp_header headers[AMQP_HEADERS_MAX];
	struct output_record r = *record;
	struct amqp_outgoing m = {.time_ns = r.timestamp, .type = types[o->s->body]};
	uint64_t seq = o->seq, nth = o->nth;
	int code;

	r.labels = complete(o, record);
	buf_clear(&o->key);
	buf_clear(&o->app);
	buf_clear(&o->body);
	buf_str(&o->app, label_of(&r, STR("app")));
	make_utf8(&o->app, 0);
	line_format_put(o->key_format, &r, &o->key);
	make_utf8(&o->key, 0);
	switch ((enum body)o->s->body) {
	case BODY_TEXT: put_text(o, &r); break;
	case BODY_JSON: put_json(o, &r); break;
	case BODY_PLAIN: line_format_put(o->line_format, &r, &o->body); break;
	}
	put_id(o, &r);
	m.key = buf_view(&o->key);
	m.app = buf_view(&o->app);
	m.body = buf_view(&o->body);
	m.id = buf_view(&o->id);
	m.n_headers = put_headers(o, &r, headers);
	m.headers = headers;
	code = amqp_publisher_put(o->publisher, &m, e);
	if (code < 0 && code != ERR_LIMIT) {
		/* It comes again. */
		o->seq = seq;
		o->nth = nth;
	}
	return code;
}

/* What the broker did not say itself. */

static void tell(struct amqp_output *o)
{
	struct amqp_publisher_stats t = amqp_publisher_stats(o->publisher);
	const char *how = amqp_publisher_differs(o->publisher);
	uint64_t more = t.unroutable - o->unroutable_told;
	int64_t now = clock_mono_ns(o->env.clock);
	struct buf labels = {0};

	if (how && !o->differs_told)
		log_warn("output", "%s: %s; it is used as it is", o->env.name, how);
	o->differs_told = how;
	if (more == 0)
		return;
	metric_label(&labels, "output", str_c(o->env.name));
	metric_add(METRIC_output_unroutable_total, buf_cstr(&labels), (double)more);
	buf_fini(&labels);
	o->unroutable_told = t.unroutable;
	if (o->unroutable_mono == 0 || now - o->unroutable_mono > 60 * NS_PER_SEC) {
		log_warn("output", "%s: no queue took %" PRIu64 " messages so far: given up",
			o->env.name, t.unroutable);
		o->unroutable_mono = now;
	}
}

/* Opening. */

/* Drawn once, and kept. */
static int read_epoch(struct amqp_output *o, struct error *e)
{
	struct buf path = {0}, text = {0};
	uint64_t drawn;
	int r;

	buf_printf(&path, "%s/epoch", o->env.dir);
	r = fs_read_all(o->env.fs, buf_cstr(&path), 64, &text, e);
	if (r == ERR_NOT_FOUND || (r == 0 && text.n != EPOCH_DIGITS)) {
		hash_random(&drawn, sizeof drawn);
		buf_clear(&text);
		buf_printf(&text, "%016" PRIx64, drawn);
		r = fs_write_all(o->env.fs, buf_cstr(&path), buf_view(&text), e);
	}
	if (r == 0)
		str_copy(buf_view(&text), o->epoch, sizeof o->epoch);
	buf_fini(&path);
	buf_fini(&text);
	return r;
}

static struct line_settings key_settings(const struct amqp_settings *s)
{
	return (struct line_settings){.format = s->routing_key,
		.style = LINE_TEMPLATE,
		.breaks = LINE_RAW,
		.plain = true};
}

static struct line_settings line_settings_of(const struct amqp_settings *s)
{
	struct line_settings text = {.format = "%(asctime)s",
		.style = LINE_PERCENT,
		.datefmt = "%Y-%m-%d %H:%M:%S",
		.utc = s->line.utc};

	return s->body == BODY_PLAIN ? s->line : text;
}

static void set_options(struct amqp_output *o, const struct amqp_settings *s)
{
	struct buf name = {0};

	buf_printf(&name, "sawlog output %s@%s", o->env.name, o->env.host);
	buf_cstr(&name);
	o->name = buf_take(&name).p;
	o->options = (struct amqp_publisher_options){
		.link = {.url = s->url,
			.tls = s->tls,
			.name = o->name,
			.heartbeat_s = s->heartbeat / NS_PER_SEC,
			.public_only = !s->common.allow_private},
		.exchange = {.name = s->exchange,
			.type = s->exchange_type,
			.create = s->declare == DECLARE_CREATE,
			.durable = s->exchange_durable},
		.never_declare = s->declare == DECLARE_NEVER,
		.skip_unroutable = s->unroutable == UNROUTABLE_SKIP,
		.unroutable_hint = ", or set unroutable: skip",
		.window = (unsigned)s->unconfirmed,
		.ending = o->env.ending,
		.ending_arg = o->env.ending_arg,
	};
}

static void close_output(void *output)
{
	struct amqp_output *o = output;

	amqp_publisher_free(o->publisher);
	line_format_free(o->key_format);
	line_format_free(o->line_format);
	labels_builder_fini(&o->builder);
	buf_fini(&o->key);
	buf_fini(&o->app);
	buf_fini(&o->body);
	buf_fini(&o->id);
	buf_fini(&o->labels);
	buf_fini(&o->text);
	free(o->name);
	free(o);
}

static int open_output(void **out, const void *settings, const struct output_env *env,
	struct str state, struct error *e)
{
	const struct amqp_settings *s = settings;
	struct line_settings key = key_settings(s), line = line_settings_of(s);
	struct amqp_output *o = xcalloc(1, sizeof *o);
	int r;

	o->s = s;
	o->env = *env;
	set_options(o, s);
	o->publisher = amqp_publisher_new(&o->options);
	if ((r = read_epoch(o, e)) < 0 || (r = line_format_new(&o->key_format, &key, e)) < 0 ||
		(r = line_format_new(&o->line_format, &line, e)) < 0 ||
		(r = amqp_publisher_open(o->publisher, e)) < 0) {
		close_output(o);
		return r;
	}
	tell(o);
	*out = o;
	return 0;
}

/* The calls of the runner. */

/* Only a message that is too large is at fault itself; what the broker says of an exchange or of
 * the whole connection may be mended. */
static int transient(int code)
{
	return code == ERR_ARG || code == ERR_LIMIT ? ERR_NET : code;
}

static int write_records(
	void *output, const struct output_record *records, size_t n, struct error *e)
{
	struct amqp_output *o = output;
	size_t done = 0;
	int r = 0;

	while (done < n && (r = put_record(o, &records[done], e)) == 0)
		done++;
	tell(o);
	if (done)
		return (int)done;
	return r == ERR_LIMIT && o->body.n > AMQP_BODY_MAX ? r : transient(r);
}

static int sync_output(void *output, struct buf *state, struct error *e)
{
	struct amqp_output *o = output;
	int r = amqp_publisher_settle(o->publisher, SETTLE_MS, e);

	tell(o);
	return r < 0 ? transient(r) : r;
}

static int tick(void *output, int64_t now_ns, int64_t *due_ns, struct error *e)
{
	struct amqp_output *o = output;
	int r;

	*due_ns = now_ns + (int64_t)amqp_publisher_beat_ms(o->publisher) * NS_PER_MS / 2;
	r = amqp_publisher_serve(o->publisher, e);
	return r < 0 ? transient(r) : 0;
}

static void dump(const void *output, struct buf *out)
{
	const struct amqp_output *o = output;
	struct amqp_publisher_stats t = amqp_publisher_stats(o->publisher);

	buf_printf(out,
		"amqp: %s, exchange \"%s\"; %" PRIu64
		" messages confirmed, %zu waiting for it; %" PRIu64 " refused, %" PRIu64
		" returned, %" PRIu64 " of these given up; %" PRIu64 " sent again; epoch %s\n",
		t.connected ? "connected" : "not connected", o->s->exchange, t.confirmed, t.waiting,
		t.nacked, t.returned, t.unroutable, t.repeated, o->epoch);
}

static int check(const void *settings, struct error *e)
{
	const struct amqp_settings *s = settings;
	struct line_settings key = key_settings(s);
	int r;

	if ((r = line_settings_check(&key, e)) < 0)
		return error_wrap(e, r, "routing_key");
	if (s->body != BODY_PLAIN && (s->line.format || s->line.level_formats.n))
		return error_set(e, ERR_ARG,
			"format belongs to `body: plain`; `body: %s` has its own", bodies[s->body]);
	if ((r = line_settings_check(&s->line, e)) < 0)
		return error_wrap(e, r, "format");
	if (strlen(s->exchange) > AMQP_KEY_MAX)
		return error_set(e, ERR_ARG, "exchange: must be at most %d bytes", AMQP_KEY_MAX);
	if (s->headers.n > AMQP_HEADERS_MAX)
		return error_set(e, ERR_ARG, "headers: at most %d", AMQP_HEADERS_MAX);
	return 0;
}

static const struct option options[] = {
	OUTPUT_OPTIONS(struct amqp_settings),
	OPTION(struct amqp_settings, url, .kind = OPT_STRING, .required = true, .secret = true,
		.check = amqp_check_url,
		.help = "The broker: amqp://user:password@host:port/vhost, or amqps:// with TLS."),
	OPTION(struct amqp_settings, exchange, .kind = OPT_STRING, .fallback = "logs_exchange",
		.help = "Where the messages go. '' is the broker's default exchange, whose routing "
			"keys are names of queues."),
	OPTION(struct amqp_settings, exchange_type, .kind = OPT_STRING, .fallback = "topic",
		.help = "Of what type it is declared: topic, direct, fanout, headers, or one of a "
			"plugin."),
	OPTION(struct amqp_settings, exchange_durable, .kind = OPT_BOOL, .fallback = "false",
		.help = "Declare it to outlast a restart of the broker. One that does not is "
			"declared anew after it."),
	OPTION(struct amqp_settings, declare, .kind = OPT_ENUM, .values = declares,
		.fallback = "create",
		.help = "Make the exchange where it is missing, only check that it is there, or "
			"neither."),
	OPTION(struct amqp_settings, routing_key, .kind = OPT_STRING,
		.fallback = "{{.app}}.{{.severity}}",
		.help = "The routing key, a Go template over labels and metadata. A record without "
			"app or severity has the words `unknown` and its level (`Error`) there."),
	OPTION(struct amqp_settings, body, .kind = OPT_ENUM, .values = bodies, .fallback = "text",
		.help = "text: `2024-12-18 10:00:00 ServiceA Error what happened`; json: an object "
			"with time, message and all labels; plain: the line as `format` says."),
	LINE_OPTIONS_OF(struct amqp_settings, "raw"),
	OPTION(struct amqp_settings, headers, .kind = OPT_STRINGS,
		.help = "Labels and metadata that go along as headers."),
	OPTION(struct amqp_settings, unroutable, .kind = OPT_ENUM, .values = unroutables,
		.fallback = "retry",
		.help = "What becomes of a message that no queue takes: it is tried again until "
			"one does, or counted and given up."),
	OPTION(struct amqp_settings, unconfirmed, .kind = OPT_INT, .fallback = "1000", .min = 1,
		.max = WAITING_MAX,
		.help = "So many messages may be on their way without a confirm."),
	OPTION(struct amqp_settings, heartbeat, .kind = OPT_DURATION, .fallback = "60s",
		.min = NS_PER_SEC, .max = HEARTBEAT_MAX_NS,
		.help = "A peer that says nothing for twice as long is taken for dead. The URL's "
			"?heartbeat=SECONDS wins."),
	OPTION(struct amqp_settings, tls, .kind = OPT_OBJECT, .fields = amqp_tls_options,
		.help = "For amqps://."),
	OPTION_END,
};

const struct output_type output_amqp = {
	.name = "amqp",
	.summary = "messages to an exchange of RabbitMQ (AMQP 0-9-1)",
	.size = sizeof(struct amqp_settings),
	.options = options,
	.check = check,
	.open = open_output,
	.write = write_records,
	.sync = sync_output,
	.tick = tick,
	.close = close_output,
	.dump = dump,
};
