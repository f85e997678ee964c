/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `syslog` input: messages over UDP, TCP, TLS and unix sockets.
 *
 * Design.  net/listener.c brings the bytes, proto/syslog.c makes messages of
 * them, and each becomes a record of the batch that is being built.  A batch
 * goes as soon as none is under way, so that a single message is durable at
 * once, and what comes meanwhile is the next one.
 *
 * There is no acknowledgement in these protocols and nothing can be read
 * twice.  So what was read stays with the courier until it is durable; when
 * that is enough, the listeners pause: over TCP the sender has to wait, over
 * UDP the kernel's buffer fills up, and what it drops is counted and told by
 * a record in the stream app="syslog-drops".
 *
 * The batches of one run number their messages as positions of one source:
 * so they are committed in order and once, though several are under way and
 * one of them may fail.
 *
 * At a reload the listeners are parked for the input that comes after; at the
 * end of the process they are drained.  A message that was cut is held until
 * its end, which is skipped, so that its whole length can be told; how much is
 * still to be skipped is the note of the connection, which outlives a parking.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metric.h"
#include "codec/codec.h"
#include "input/courier.h"
#include "net/listener.h"
#include "net/socket.h"
#include "net/token.h"
#include "proto/syslog.h"
#include "record/severity.h"
#include "record/time.h"
#include "record/zone.h"

enum {
	BATCH_TARGET = 1 << 20,
	RESERVE = 3 << 20,
	STREAM_BYTES_MAX = 1 << 20, /* of label sets remembered for one tenant */
	STREAM_VALUE_MAX = 255,     /* bytes of a host or app as a label */
	TENANTS_MAX = 64,           /* with a batch of their own at a time */
	META_MAX = 90,              /* pairs, so that there is room for structured_data */
	TICK_MS = 1000,
	DRAIN_MS = 4000,
	SAY_NS = 10, /* seconds between two warnings of one port */
	TOKEN_NS = 1000000000,
};

struct syslog_settings {
	struct strings listen;
	struct tls_settings tls;
	struct string_map labels;
	const char *app, *timezone;
	uint64_t max_line, receive_buffer;
	struct strings allow;
	bool token;
	const char *mode;
};

/* A label set, remembered by host and app. */
struct stream {
	struct buf key; /* host, NUL, app */
	struct buf labels;
	uint32_t index; /* in the builder, when `epoch` is the outlet's */
	uint64_t epoch;
};

/* The batch of one tenant that is being built. */
struct outlet {
	struct list node;
	char tenant[TENANT_MAX + 1];
	struct batch_builder *builder;
	uint64_t epoch; /* counts batches */
	struct buf source;
	uint64_t position;      /* messages taken */
	uint16_t source_number; /* in the builder; 0: not there yet */
	struct map streams;
	size_t stream_bytes;
	struct stream *last;
};

/* One address. */
struct port {
	struct syslog_input *in;
	struct listener *listener;
	const char *address;
	enum socket_kind kind;
	uint64_t n_lost; /* not told by a record yet */
	int64_t lost_from_ns, lost_to_ns;
	uint64_t n_refused;
	int64_t said_ns; /* the last warning */
};

/* A connection. */
struct session {
	struct port *port;
	char ip[SOCKET_PEER_MAX];
	struct str certificate; /* a view into the connection */
	struct buf cut;         /* a message too long, up to the limit */
	uint64_t cut_n;         /* its whole length so far */
	/* The token that was good last, and when that was looked at. */
	struct buf secret;
	struct token token;
	int64_t checked_ns;
};

struct syslog_input {
	const struct syslog_settings *s;
	const struct input_env *env; /* env_copy: what it points to is borrowed */
	struct input_env env_copy;
	struct courier *courier;
	struct port *ports;
	size_t n_ports, n_draining;
	struct cidr *allow;
	struct zone *zone; /* NULL: the host's */
	int zone_seconds;
	int64_t zone_until_ns; /* zone_seconds is good up to here */
	struct list outlets;   /* the first is of env's tenant */
	size_t n_outlets;
	struct buf meta, raw;
	struct labels_builder meta_builder;
	struct syslog_data data;
	struct timer tick;
	uint64_t reserved, reserve, n_messages, n_denied;
	int64_t observed_ns;
	bool paused, draining, stopping;
	unsigned drained_ms;
	loop_fn *stopped;
	void *stopped_arg;
};

/* Batches. */

static struct outlet *outlet_new(struct syslog_input *in, struct str tenant)
{
	struct outlet *o = xcalloc(1, sizeof *o);
	uint64_t id[2];

	hash_random(id, sizeof id);
	buf_printf(&o->source, "syslog:%016" PRIx64 ":%016" PRIx64, id[0], id[1]);
	str_copy(tenant, o->tenant, sizeof o->tenant);
	o->builder = batch_builder_new(tenant, STR("syslog"), in->observed_ns);
	o->epoch = 1;
	list_append(&in->outlets, &o->node);
	in->n_outlets++;
	return o;
}

static void streams_clear(struct outlet *o)
{
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(&o->streams, &at))) {
		struct stream *s = slot->value.p;
		buf_fini(&s->key);
		buf_fini(&s->labels);
		free(s);
	}
	map_fini(&o->streams);
	o->stream_bytes = 0;
	o->last = NULL;
}

static void outlet_free(struct syslog_input *in, struct outlet *o)
{
	streams_clear(o);
	buf_fini(&o->source);
	batch_builder_free(o->builder);
	list_remove(&o->node);
	in->n_outlets--;
	free(o);
}

static struct outlet *first_outlet(struct syslog_input *in)
{
	return CONTAINER(in->outlets.next, struct outlet, node);
}

static struct outlet *outlet_of(struct syslog_input *in, const char *tenant)
{
	LIST_EACH (at, &in->outlets) {
		struct outlet *o = CONTAINER(at, struct outlet, node);
		if (strcmp(o->tenant, tenant) == 0)
			return o;
	}
	return outlet_new(in, str_c(tenant));
}

static size_t built_bytes(struct syslog_input *in)
{
	size_t n = 0;

	LIST_EACH (at, &in->outlets) {
		struct outlet *o = CONTAINER(at, struct outlet, node);
		if (batch_builder_count(o->builder) > 0)
			n += batch_builder_bytes(o->builder);
	}
	return n;
}

static void send_outlet(struct syslog_input *in, struct outlet *o)
{
	struct batch_source s = {
		.id = buf_view(&o->source), .kind = POSITION_MARK, .to = o->position};
	uint64_t reserved = in->reserved;

	batch_builder_source(o->builder, &s);
	o->source_number = 0;
	o->epoch++;
	in->reserved = 0;
	courier_send(in->courier, batch_builder_finish(o->builder, in->observed_ns), reserved);
}

static void send_all(struct syslog_input *in)
{
	LIST_EACH (at, &in->outlets) {
		struct outlet *o = CONTAINER(at, struct outlet, node);
		if (batch_builder_count(o->builder) > 0)
			send_outlet(in, o);
		if (in->n_outlets > TENANTS_MAX && o != first_outlet(in))
			outlet_free(in, o);
	}
}

static void pause_all(struct syslog_input *in)
{
	if (in->paused)
		return;
	in->paused = true;
	for (size_t i = 0; i < in->n_ports; i++)
		listener_pause(in->ports[i].listener);
}

/* Is there room for one more message?  Else the listeners pause until on_room. */
static bool has_room(struct syslog_input *in)
{
	if (built_bytes(in) >= BATCH_TARGET) {
		if (!courier_ready(in->courier)) {
			pause_all(in);
			return false;
		}
		send_all(in);
	}
	if (in->reserved)
		return true;
	if (courier_ready(in->courier) && courier_reserve(in->courier, in->reserve)) {
		in->reserved = in->reserve;
		return true;
	}
	pause_all(in);
	return false;
}

static void send_if_idle(struct syslog_input *in)
{
	if (courier_idle(in->courier))
		send_all(in);
}

/* Streams. */

static void labels_make(struct syslog_input *in, struct str host, struct str app, struct buf *out)
{
	struct labels_builder b = {0};

	labels_builder_set(&b, STR("host"), host, NULL);
	labels_builder_set(&b, STR("app"), app, NULL);
	labels_builder_set(&b, STR("input"), STR("syslog"), NULL);
	for (size_t i = 0; i < in->s->labels.n; i++)
		labels_builder_set(&b, str_c(in->s->labels.items[i].name),
			str_c(in->s->labels.items[i].value), NULL);
	discover_service_name(&in->env->discover, &b);
	labels_builder_write(&b, out);
	labels_builder_fini(&b);
}

static bool is_stream(const struct stream *s, struct str host, struct str app)
{
	return s->key.n == host.n + 1 + app.n && memcmp(s->key.p, host.p, host.n) == 0 &&
	       s->key.p[host.n] == 0 && memcmp(s->key.p + host.n + 1, app.p, app.n) == 0;
}

static struct stream *stream_of(
	struct syslog_input *in, struct outlet *o, struct str host, struct str app)
{
	union map_value *v;
	struct stream *s;
	bool added;

	if (o->last && is_stream(o->last, host, app))
		return o->last;
	buf_clear(&in->raw);
	buf_str(&in->raw, host);
	buf_char(&in->raw, 0);
	buf_str(&in->raw, app);
	/* A sender may make up hosts without end. */
	if (o->stream_bytes > STREAM_BYTES_MAX)
		streams_clear(o);
	v = map_put(&o->streams, buf_view(&in->raw), &added);
	if (added) {
		v->p = s = xcalloc(1, sizeof *s);
		buf_str(&s->key, buf_view(&in->raw));
		labels_make(in, host, app, &s->labels);
		o->stream_bytes += sizeof *s + s->key.cap + s->labels.cap;
	}
	return o->last = v->p;
}

static uint32_t stream_index(struct outlet *o, struct stream *s)
{
	if (s->epoch != o->epoch) {
		s->index = batch_builder_stream(o->builder, buf_view(&s->labels));
		s->epoch = s->index == BATCH_NO_STREAM ? 0 : o->epoch;
	}
	return s->index;
}

/* Metadata. */

/* Fields in order of name; the first as long as there is no structured data. */
enum field {
	FIELD_APP,
	FIELD_CERTIFICATE,
	FIELD_FACILITY,
	FIELD_HOST,
	FIELD_MSGID,
	FIELD_PEER,
	FIELD_PID,
	FIELD_SEQUENCE,
	FIELD_SEVERITY,
	FIELD_TIME,
	FIELD_TRUNCATED,
	N_FIELDS,
};

static const struct str field_names[N_FIELDS] = {STR_INIT("app"), STR_INIT("certificate"),
	STR_INIT("facility"), STR_INIT("host"), STR_INIT("msgid"), STR_INIT("peer"),
	STR_INIT("pid"), STR_INIT("sequence"), STR_INIT("severity"), STR_INIT("time"),
	STR_INIT("truncated_from")};

/* The canonical bytes at once: this is done for each message. */
static struct str write_fields(struct syslog_input *in, const struct str fields[N_FIELDS])
{
	unsigned n = 0;

	buf_clear(&in->meta);
	for (size_t i = 0; i < N_FIELDS; i++)
		n += fields[i].n > 0;
	if (n == 0)
		return STR_NONE;
	buf_char(&in->meta, (char)n);
	for (size_t i = 0; i < N_FIELDS; i++) {
		struct str value = str_sub(fields[i], 0, LABEL_VALUE_MAX);
		if (value.n == 0)
			continue;
		buf_char(&in->meta, (char)field_names[i].n);
		buf_str(&in->meta, field_names[i]);
		varint_put(&in->meta, value.n);
		buf_str(&in->meta, value);
	}
	return buf_view(&in->meta);
}

/* Is it the parameter that holds our token?  "sawlog@32473.token" */
static bool is_token(struct str name)
{
	return str_starts(name, STR("sawlog@")) && str_ends(name, STR(".token"));
}

/* Begin a walk in the buffers of the last one. */
static void walk_data(struct syslog_input *in, struct str data)
{
	struct buf name = in->data.name, value = in->data.value;

	buf_clear(&name);
	buf_clear(&value);
	syslog_data_start(&in->data, data);
	in->data.name = name;
	in->data.value = value;
}

static struct str find_token(struct syslog_input *in, struct str data)
{
	walk_data(in, data);
	while (syslog_data_next(&in->data))
		if (is_token(buf_view(&in->data.name)))
			return buf_view(&in->data.value);
	return STR_NONE;
}

/* The structured data as it came, with its tokens as stars: they do not get into the store. */
static void put_raw(struct syslog_input *in, struct str data, struct str secret)
{
	size_t at = 0;

	buf_clear(&in->raw);
	buf_str(&in->raw, str_sub(data, 0, LABEL_VALUE_MAX));
	while (secret.n) {
		ptrdiff_t i = str_find(str_sub(buf_view(&in->raw), at, in->raw.n), secret);
		if (i < 0)
			break;
		memset(in->raw.p + at + i, '*', secret.n);
		at += (size_t)i + secret.n;
	}
	labels_builder_set(&in->meta_builder, STR("structured_data"), buf_view(&in->raw), NULL);
}

static struct str write_with_data(
	struct syslog_input *in, const struct str fields[N_FIELDS], struct str data)
{
	struct labels_builder *b = &in->meta_builder;
	struct buf secret = {0};
	bool whole = true;
	struct str other;

	labels_builder_clear(b);
	b->names_free = true;
	for (size_t i = 0; i < N_FIELDS; i++)
		if (fields[i].n)
			labels_builder_set(
				b, field_names[i], str_sub(fields[i], 0, LABEL_VALUE_MAX), NULL);
	walk_data(in, data);
	while (syslog_data_next(&in->data)) {
		struct str name = buf_view(&in->data.name), value = buf_view(&in->data.value);
		if (is_token(name)) {
			buf_clear(&secret);
			buf_str(&secret, value);
		} else if (value.n == 0 || b->n >= META_MAX ||
			   labels_builder_get(b, name, &other) ||
			   labels_builder_set(b, name, value, NULL) < 0) {
			whole = false;
		}
	}
	/* What does not fit into pairs (a name twice, no value, too many) is kept as text. */
	if (!whole)
		put_raw(in, data, buf_view(&secret));
	buf_fini(&secret);
	buf_clear(&in->meta);
	if (b->n == 0)
		return STR_NONE;
	labels_builder_write(b, &in->meta);
	return buf_view(&in->meta);
}

/* Messages. */

/* Where a message came from. */
struct origin {
	struct port *port;
	struct session *session; /* NULL: a datagram */
	struct str ip;           /* of the peer; empty for unix */
};

static void account(struct syslog_input *in, const char *reason, uint64_t n)
{
	in->env->sink->account(in->env->sink, in->env->tenant, STR("syslog"), reason, n, false);
}

static void warn(struct port *p, const char *what, const char *peer)
{
	int64_t now = clock_mono_ns(p->in->env->clock);

	if (p->said_ns && now - p->said_ns < SAY_NS * NS_PER_SEC)
		return;
	p->said_ns = now;
	log_warn("input", "syslog: %s: %s%s%s (more of it is counted and not told for %d s)",
		p->address, peer, *peer ? ": " : "", what, SAY_NS);
}

static bool is_loopback(struct str ip)
{
	return ip.n == 0 || str_starts(ip, STR("127.")) || str_eq_c(ip, "[::1]");
}

static int zone_now(struct syslog_input *in)
{
	/* Looked up anew each quarter of an hour of the clock: no zone changes in between. */
	static const int64_t step = 900 * NS_PER_SEC;

	if (in->observed_ns >= in->zone_until_ns || in->observed_ns < in->zone_until_ns - step) {
		in->zone_seconds = in->zone ? zone_offset(in->zone, in->observed_ns)
					    : time_local_zone(in->observed_ns);
		in->zone_until_ns = in->observed_ns - in->observed_ns % step + step;
	}
	return in->zone_seconds;
}

/* The token that each message must carry.  Checked when it changes, and whether it is still
 * good once a second. */
static int check_token(struct syslog_input *in, struct session *s, struct str data, struct error *e)
{
	struct str secret = find_token(in, data);
	int r;

	if (secret.n == 0)
		return error_set(e, ERR_DENIED,
			"a message without a token: it must carry the structured data [sawlog@32473 "
			"token=\"slt_…\"]");
	if (s->checked_ns && str_eq(secret, buf_view(&s->secret))) {
		if (in->observed_ns - s->checked_ns < TOKEN_NS && in->observed_ns >= s->checked_ns)
			return 0;
		s->checked_ns = in->observed_ns;
		if (tokens_alive(in->env->tokens, s->token.id))
			return 0;
	}
	s->checked_ns = 0;
	if ((r = tokens_check(in->env->tokens, secret, &s->token, e)) < 0)
		return r;
	if (!token_may(s->token.scopes, SCOPE_INGEST))
		return error_set(e, ERR_DENIED, "token %s has not the scope ingest", s->token.id);
	buf_clear(&s->secret);
	buf_str(&s->secret, secret);
	s->checked_ns = in->observed_ns;
	return 0;
}

static struct outlet *outlet_for(struct syslog_input *in, const struct origin *from)
{
	const struct session *s = from->session;

	if (!in->s->token || !s || strcmp(s->token.tenant, "*") == 0)
		return first_outlet(in);
	return outlet_of(in, s->token.tenant);
}

/* Host and app of the labels; what they do not hold in full becomes a field. */
static void name_stream(struct syslog_input *in, const struct origin *from,
	const struct syslog_message *m, struct str *host, struct str *app, struct str *fields)
{
	if (m->host.n)
		*host = str_sub(m->host, 0, STREAM_VALUE_MAX);
	else
		*host = is_loopback(from->ip) ? str_c(in->env->host) : from->ip;
	if (host->n < m->host.n)
		fields[FIELD_HOST] = m->host;
	/* From this host under its own name: there is nothing to tell. */
	if (from->ip.n && !str_eq(from->ip, *host) &&
		!(is_loopback(from->ip) && str_eq_c(*host, in->env->host)))
		fields[FIELD_PEER] = from->ip;
	*app = in->s->app ? str_c(in->s->app)
	       : m->app.n ? str_sub(m->app, 0, STREAM_VALUE_MAX)
			  : STR("syslog");
	if (m->app.n && !str_eq(*app, m->app))
		fields[FIELD_APP] = m->app;
}

static void set_level(struct syslog_input *in, const struct syslog_message *m, struct str labels,
	struct record *r)
{
	if (m->priority < 0) {
		discover_level(&in->env->discover, labels, r);
		return;
	}
	r->severity = severity_from_syslog((unsigned)m->priority & 7);
	if (in->env->discover.level)
		r->flags |= RECORD_LEVEL_DETECTED;
}

static bool add_here(struct outlet *o, struct stream *st, struct record *r)
{
	struct batch_source s = {.id = buf_view(&o->source),
		.kind = POSITION_MARK,
		.from = o->position,
		.to = o->position};

	if (o->source_number == 0)
		o->source_number = batch_builder_source(o->builder, &s);
	r->source = o->source_number;
	r->position = o->position + 1;
	r->stream = stream_index(o, st);
	if (batch_builder_add(o->builder, r, NULL) < 0)
		return false;
	o->position++;
	return true;
}

static void add_record(
	struct syslog_input *in, struct outlet *o, struct stream *st, struct record *r)
{
	bool added = add_here(o, st, r);

	if (!added && batch_builder_count(o->builder) > 0) {
		send_outlet(in, o);
		added = add_here(o, st, r);
	}
	if (added)
		in->n_messages++;
	else
		account(in, "limit", 1);
}

/* `length` is that of the whole message where it was cut.  ERR_DENIED: not taken. */
static int take_message(struct syslog_input *in, const struct origin *from, struct str message,
	uint64_t length, struct error *e)
{
	struct str fields[N_FIELDS] = {0}, host, app;
	struct syslog_message m;
	struct record r = {0};
	struct outlet *o;
	struct stream *st;
	char number[24];
	int code;

	syslog_decode(&m, message, in->observed_ns, zone_now(in));
	if (in->s->token && (code = check_token(in, from->session, m.data, e)) < 0)
		return code;
	name_stream(in, from, &m, &host, &app, fields);
	fields[FIELD_FACILITY] = str_c(syslog_facility(m.priority));
	fields[FIELD_SEVERITY] = str_c(syslog_severity(m.priority));
	fields[FIELD_MSGID] = m.message_id;
	fields[FIELD_PID] = m.process;
	fields[FIELD_SEQUENCE] = m.sequence;
	if (from->session)
		fields[FIELD_CERTIFICATE] = from->session->certificate;
	if (!m.has_time)
		fields[FIELD_TIME] = m.time;
	if (length > message.n) {
		r.flags |= RECORD_CUT;
		snprintf(number, sizeof number, "%" PRIu64, length);
		fields[FIELD_TRUNCATED] = str_c(number);
		metric_add(METRIC_cut_records_total, "input=\"syslog\"", 1);
	}
	r.timestamp = m.has_time ? m.time_ns : in->observed_ns;
	r.flags |= m.has_time ? 0 : RECORD_TIME_OBSERVED;
	r.body = m.text;
	o = outlet_for(in, from);
	st = stream_of(in, o, host, app);
	r.meta = m.data.n ? write_with_data(in, fields, m.data) : write_fields(in, fields);
	set_level(in, &m, buf_view(&st->labels), &r);
	add_record(in, o, st, &r);
	return 0;
}

/* Losses. */

/* A record that tells what was lost. */
static void tell_lost(struct port *p)
{
	struct syslog_input *in = p->in;
	struct outlet *o = first_outlet(in);
	struct record r = {.timestamp = p->lost_to_ns,
		.severity = SEV_WARN,
		.flags = RECORD_GAP | RECORD_TIME_OBSERVED};
	struct buf body = {0};

	if (p->n_lost == 0)
		return;
	account(in, "kernel_drop", p->n_lost);
	buf_printf(&body, "sawlog: %" PRIu64 " datagrams to %s were lost between ", p->n_lost,
		p->address);
	time_format(&body, p->lost_from_ns);
	buf_c(&body, " and ");
	time_format(&body, p->lost_to_ns);
	buf_c(&body, ": the receive buffer was full (receive_buffer is ");
	size_format(&body, in->s->receive_buffer);
	buf_c(&body, ")");
	log_warn("input", "syslog: %.*s", STR_ARG(buf_view(&body)));
	r.body = buf_view(&body);
	add_record(in, o, stream_of(in, o, str_c(in->env->host), STR("syslog-drops")), &r);
	buf_fini(&body);
	p->n_lost = 0;
}

static void on_lost(void *arg, uint64_t n)
{
	struct port *p = arg;

	/* Told by the tick: one record a second says as much as one for each read. */
	p->lost_to_ns = clock_now_ns(p->in->env->clock);
	if (p->n_lost == 0)
		p->lost_from_ns = p->lost_to_ns;
	p->n_lost += n;
}

static void on_refused(void *arg, const char *reason, uint64_t n)
{
	struct port *p = arg;
	struct buf labels = {0};

	p->n_refused += n;
	if (socket_is_datagram(p->kind)) {
		account(p->in, reason, n);
	} else {
		metric_label(&labels, "input", STR("syslog"));
		metric_label(&labels, "reason", str_c(reason));
		metric_add(METRIC_refused_connections_total, buf_cstr(&labels), (int64_t)n);
		buf_fini(&labels);
	}
	warn(p, reason, "refused");
}

/* Events of the listeners. */

static void on_datagram(void *arg, struct str bytes, const char *peer)
{
	struct port *p = arg;
	struct syslog_input *in = p->in;
	struct str ip = str_c(peer), message = str_sub(bytes, 0, in->s->max_line);
	struct origin from = {.port = p};
	struct error e;

	while (ip.n && ip.p[ip.n - 1] != ':')
		ip.n--;
	from.ip = str_sub(ip, 0, ip.n ? ip.n - 1 : 0);
	in->observed_ns = clock_now_ns(in->env->clock);
	/* Without room it is taken all the same, as it is here already, and the next waits. */
	has_room(in);
	if (bytes.n)
		take_message(in, &from, message, bytes.n, &e);
	has_room(in);
	send_if_idle(in);
}

static void on_opened(void *arg, struct connection *c, void **state)
{
	struct session *s = xcalloc(1, sizeof *s);
	char *colon;

	s->port = arg;
	str_copy(str_c(connection_peer(c)), s->ip, sizeof s->ip);
	if ((colon = strrchr(s->ip, ':')))
		*colon = 0;
	s->certificate = connection_certificate(c);
	*state = s;
}

/* A message, whole or all there will be of it.  False: the connection is refused. */
static bool session_take(
	struct session *s, struct connection *c, struct str message, uint64_t length)
{
	struct origin from = {.port = s->port, .session = s, .ip = str_c(s->ip)};
	struct syslog_input *in = s->port->in;
	struct error e;

	if (take_message(in, &from, message, length, &e) == 0)
		return true;
	in->n_denied++;
	account(in, "denied", 1);
	warn(s->port, e.text, connection_peer(c));
	connection_refuse(c, &e);
	return false;
}

static bool session_take_cut(struct session *s, struct connection *c)
{
	bool taken = s->cut.n == 0 || session_take(s, c, buf_view(&s->cut), s->cut_n);

	buf_fini(&s->cut);
	s->cut_n = 0;
	return taken;
}

static size_t on_bytes(void *arg, struct connection *c, void *state, struct str bytes, bool end)
{
	struct session *s = state;
	struct syslog_input *in = s->port->in;
	uint64_t *skip = connection_note(c);
	struct str message, rest = bytes;
	size_t n;

	(void)arg;
	in->observed_ns = clock_now_ns(in->env->clock);
	while (rest.n) {
		if (*skip) {
			bool line = *skip == SYSLOG_SKIP_LINE;
			n = syslog_skip(rest, skip);
			s->cut_n += n - (line && *skip == 0); /* not the end of line */
			rest = str_sub(rest, n, rest.n);
			if (*skip == 0 && !session_take_cut(s, c))
				return bytes.n;
			continue;
		}
		if (!has_room(in))
			break;
		n = syslog_frame(rest, in->s->max_line, end, &message, skip);
		if (n == 0)
			break;
		rest = str_sub(rest, n, rest.n);
		if (*skip) {
			buf_str(&s->cut, message);
			s->cut_n = message.n;
		} else if (message.n && !session_take(s, c, message, message.n)) {
			return bytes.n;
		}
	}
	if (end && rest.n == 0)
		session_take_cut(s, c);
	send_if_idle(in);
	return bytes.n - rest.n;
}

static void on_closed(void *arg, struct connection *c, void *state, const struct error *why)
{
	struct session *s = state;

	/* Parked among what is skipped: the next owner skips the rest, and cannot tell. */
	session_take_cut(s, c);
	if (why)
		log_debug("input", "syslog: %s: %s: %s", s->port->address, connection_peer(c),
			why->text);
	(void)arg;
	buf_fini(&s->cut);
	if (s->secret.p)
		memset(s->secret.p, 0, s->secret.n);
	buf_fini(&s->secret);
	free(s);
}

/* Going on. */

static void on_acked(void *arg, const struct batch *b, const struct sink_result *result)
{
	(void)arg;
	(void)b;
	(void)result;
}

static void on_room(void *arg)
{
	struct syslog_input *in = arg;

	if (in->stopping)
		return;
	send_if_idle(in);
	if (!in->paused || !has_room(in))
		return;
	in->paused = false;
	for (size_t i = 0; i < in->n_ports; i++)
		listener_resume(in->ports[i].listener);
}

static void finish(struct syslog_input *in);
static void leave_ports(struct syslog_input *in);

static void on_drained(void *arg)
{
	struct port *p = arg;

	assert(p->in->n_draining > 0);
	if (--p->in->n_draining == 0)
		finish(p->in);
}

static void tell_all_lost(struct syslog_input *in)
{
	in->observed_ns = clock_now_ns(in->env->clock);
	for (size_t i = 0; i < in->n_ports; i++)
		tell_lost(&in->ports[i]);
}

static void on_tick(void *arg)
{
	struct syslog_input *in = arg;

	if (in->stopping)
		return;
	tell_all_lost(in);
	send_if_idle(in);
	if (in->reserved && built_bytes(in) == 0 && !in->draining) {
		courier_unreserve(in->courier, in->reserved);
		in->reserved = 0;
	}
	if (in->draining && (in->drained_ms += TICK_MS) >= DRAIN_MS) {
		log_warn(
			"input", "syslog: not all that came could be taken within %d ms", DRAIN_MS);
		leave_ports(in);
		finish(in);
	}
}

/* Life. */

static bool is_last(const struct syslog_input *in)
{
	return !in->env->ending || *in->env->ending;
}

/* Listeners go to the next input, or are closed. */
static void leave_ports(struct syslog_input *in)
{
	for (size_t i = 0; i < in->n_ports; i++) {
		struct listener *l = in->ports[i].listener;

		in->ports[i].listener = NULL;
		if (l && !in->draining && !is_last(in))
			listener_park(l);
		else
			listener_close(l);
	}
}

static void input_free(struct syslog_input *in)
{
	LIST_EACH (at, &in->outlets)
		outlet_free(in, CONTAINER(at, struct outlet, node));
	courier_free(in->courier);
	account_release(in->env->account, in->reserved);
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
	return s->mode ? (unsigned)strtoul(s->mode, NULL, 8) : 0600;
}

static int open_port(struct syslog_input *in, struct port *p, struct error *e)
{
	static const struct listener_events events = {.datagram = on_datagram,
		.lost = on_lost,
		.opened = on_opened,
		.bytes = on_bytes,
		.closed = on_closed,
		.refused = on_refused,
		.drained = on_drained};
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
	return listener_open(&p->listener, in->env->loop, &o, &events, p, e);
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
	if (r == 0 && s->timezone)
		r = zone_new(&in->zone, str_c(s->timezone), e);
	return r;
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
	static const struct courier_events events = {.acked = on_acked, .room = on_room};
	struct syslog_input *in = xcalloc(1, sizeof *in);
	int r;

	in->s = settings;
	in->env_copy = *env;
	in->env = env = &in->env_copy;
	in->observed_ns = clock_now_ns(env->clock);
	list_init(&in->outlets);
	outlet_new(in, env->tenant);
	in->courier = courier_new(env, "syslog", &events, in);
	in->reserve = RESERVE;
	if (env->account && env->account->limit / 4 < in->reserve)
		in->reserve = env->account->limit / 4;
	timer_init(&in->tick, env->loop, on_tick, in);
	if ((r = read_settings(in, e)) < 0 || (r = open_ports(in, e)) < 0) {
		leave_ports(in);
		input_free(in);
		return error_wrap(e, r, "syslog");
	}
	timer_set(&in->tick, TICK_MS, TICK_MS);
	*out = in;
	return 0;
}

static void on_courier_stopped(void *arg)
{
	struct syslog_input *in = arg;
	loop_fn *stopped = in->stopped;
	void *stopped_arg = in->stopped_arg;

	leave_ports(in);
	input_free(in);
	stopped(stopped_arg);
}

static void finish(struct syslog_input *in)
{
	in->stopping = true;
	timer_clear(&in->tick);
	tell_all_lost(in);
	send_all(in);
	courier_stop(in->courier, on_courier_stopped, in);
}

static void stop(void *input, loop_fn *stopped, void *arg)
{
	struct syslog_input *in = input;

	in->stopped = stopped;
	in->stopped_arg = arg;
	if (!is_last(in)) {
		leave_ports(in);
		finish(in);
		return;
	}
	in->draining = true;
	in->n_draining = in->n_ports;
	for (size_t i = 0; i < in->n_ports; i++)
		listener_drain(in->ports[i].listener);
}

static void dump(const void *input, struct buf *out)
{
	const struct syslog_input *in = input;

	buf_printf(out, "syslog: %llu messages taken, %llu denied%s\n",
		(unsigned long long)in->n_messages, (unsigned long long)in->n_denied,
		in->paused ? ", paused" : "");
	for (size_t i = 0; i < in->n_ports; i++)
		buf_printf(out, "  %s: port %u, %zu connections, %llu refused\n",
			in->ports[i].address, listener_port(in->ports[i].listener),
			listener_connections(in->ports[i].listener),
			(unsigned long long)in->ports[i].n_refused);
	courier_dump(in->courier, out);
}

/* Settings. */

static bool beyond_loopback(struct str host_port)
{
	return !str_starts(host_port, STR("127.")) && !str_starts(host_port, STR("[::1]:")) &&
	       !str_starts(host_port, STR("localhost:"));
}

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
	if ((kind == SOCKET_UDP || kind == SOCKET_TCP) && s->allow.n == 0 && beyond_loopback(rest))
		return error_set(e, ERR_ARG,
			"listen: %s is open beyond this machine and asks nobody who he is: say in "
			"allow which networks may send, or use tls://",
			address);
	return 0;
}

static bool mode_valid(const char *mode)
{
	size_t n = strlen(mode);

	return n >= 1 && n <= 4 && strspn(mode, "01234567") == n && strtoul(mode, NULL, 8) <= 0777;
}

static int check(const void *settings, struct error *e)
{
	const struct syslog_settings *s = settings;
	bool any_tls = false;
	struct cidr net;
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
	if (!any_tls && (s->tls.cert || s->tls.key || s->tls.client_ca))
		return error_set(e, ERR_ARG, "tls: no address of listen begins with tls://");
	if (s->mode && !mode_valid(s->mode))
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
