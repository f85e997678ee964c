/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a message to a record.
 *
 * A topic is what pyzmq's PUBHandler writes, "root.LEVEL.sub", where the root
 * may hold dots or be empty and the subtopic is any text that stood before
 * "::" in a message.  So the level is looked for from the left: behind the
 * publisher's name, when the topic begins with it, else it is the first part
 * that is the name of a level.  From the right, the text of a message that
 * begins with "ERROR::" would make an error of an INFO.
 */
#include "input/zeromq_input.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/metric.h"
#include "codec/codec.h"
#include "codec/rune.h"
#include "net/loopback.h"
#include "proto/pylog.h"
#include "record/severity.h"

enum {
	STREAM_VALUE_MAX = 255, /* bytes of a root topic as a label */
	NUMBERS_MAX = 10000,    /* publishers of one address whose numbers are remembered */
	TOPIC_LEVEL_MAX = 64,   /* a longer part is no level */
};

/* Topics. */

/* "Level 25": what Python calls a number without a name. */
static bool read_number_level(struct str word, uint8_t *severity)
{
	uint64_t n;

	if (!str_starts(word, STR("Level ")) || !str_u64(str_sub(word, 6, word.n), &n) || n > 1000)
		return false;
	*severity = pylog_severity((int64_t)n);
	return true;
}

/* Levels are in upper case on the wire: "app.info.INFO" is one of the logger app.info. */
static bool read_level(struct str word, const struct string_map *levels, uint8_t *severity)
{
	static const struct str names[] = {STR_INIT("DEBUG"), STR_INIT("INFO"), STR_INIT("WARNING"),
		STR_INIT("ERROR"), STR_INIT("CRITICAL"), STR_INIT("WARN"), STR_INIT("FATAL"),
		STR_INIT("TRACE"), STR_INIT("NOTICE"), STR_INIT("NOTSET")};

	for (size_t i = 0; levels && i < levels->n; i++)
		if (str_eq_c(word, levels->items[i].name)) {
			*severity = severity_from_word(str_c(levels->items[i].value));
			return true;
		}
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq(word, names[i])) {
			*severity = severity_from_word(word);
			return true;
		}
	return read_number_level(word, severity);
}

/* Does the topic go on behind `name` with a part of its own? */
static bool begins_with(struct str topic, struct str name)
{
	return name.n && topic.n > name.n && str_starts(topic, name) && topic.p[name.n] == '.';
}

static struct zeromq_topic split_at(struct str topic, size_t from, size_t to)
{
	return (struct zeromq_topic){.root = str_sub(topic, 0, from ? from - 1 : 0),
		.level = str_sub(topic, from, to),
		.sub = str_sub(topic, to + 1, topic.n)};
}

struct zeromq_topic zeromq_topic_read(
	struct str topic, struct str name, const struct string_map *levels)
{
	bool known = begins_with(topic, name);
	size_t from = known ? name.n + 1 : 0, to;
	struct zeromq_topic t;
	uint8_t severity = 0;
	ptrdiff_t dot;

	for (size_t at = from; at <= topic.n; at = to + 1) {
		dot = str_chr(str_sub(topic, at, topic.n), '.');
		to = dot < 0 ? topic.n : at + (size_t)dot;
		if (to - at > TOPIC_LEVEL_MAX ||
			!read_level(str_sub(topic, at, to), levels, &severity))
			continue;
		t = split_at(topic, at, to);
		t.severity = severity;
		return t;
	}
	if (!known)
		return (struct zeromq_topic){.root = topic};
	/* A level that nobody told us of; which one it is, the line may say. */
	dot = str_chr(str_sub(topic, from, topic.n), '.');
	return split_at(topic, from, dot < 0 ? topic.n : from + (size_t)dot);
}

/* Python's white space: str.isspace() of the Unicode database. */
static size_t space_at(const unsigned char *p, size_t n)
{
	if (n >= 1 && ((*p >= 0x09 && *p <= 0x0d) || (*p >= 0x1c && *p <= 0x20)))
		return 1;
	if (n >= 2 && p[0] == 0xc2 && (p[1] == 0x85 || p[1] == 0xa0))
		return 2;
	if (n < 3)
		return 0;
	if (p[0] == 0xe2 && p[1] == 0x80)
		return p[2] <= 0x8a || p[2] == 0xa8 || p[2] == 0xa9 || p[2] == 0xaf ? 3 : 0;
	return (p[0] == 0xe1 && p[1] == 0x9a && p[2] == 0x80) ||
			       (p[0] == 0xe2 && p[1] == 0x81 && p[2] == 0x9f) ||
			       (p[0] == 0xe3 && p[1] == 0x80 && p[2] == 0x80)
		       ? 3
		       : 0;
}

struct str zeromq_strip(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t from = 0, n;

	while (from < s.n && (n = space_at(p + from, s.n - from)))
		from += n;
	s = str_sub(s, from, s.n);
	p = (const unsigned char *)s.p;
	while (s.n > 0) {
		for (n = s.n >= 3 ? 3 : s.n; n > 0 && space_at(p + s.n - n, n) != n; n--)
			;
		if (n == 0)
			break;
		s.n -= n;
	}
	return s;
}

/* Records. */

enum field { FIELD_PEER, FIELD_PID, FIELD_SEVERITY, FIELD_TOPIC, FIELD_TRUNCATED, N_FIELDS };

/* Sorted, for labels_write. */
static const struct str field_names[N_FIELDS] = {STR_INIT("peer"), STR_INIT("pid"),
	STR_INIT("severity"), STR_INIT("topic"), STR_INIT("truncated_from")};

static struct str write_meta(struct zeromq_input *in, const struct str fields[N_FIELDS])
{
	buf_clear(&in->meta);
	labels_write(&in->meta, field_names, fields, N_FIELDS);
	return buf_view(&in->meta);
}

/* What a message brought, before it is a record. */
struct message {
	struct zeromq_topic topic;
	struct str text, peer, pid;
	struct outlet *outlet;
	struct outlet_stream *stream;
};

static void name_stream(struct source *s, struct message *m)
{
	struct zeromq_input *in = s->in;
	struct str values[3];

	values[2] = rune_fit(m->topic.root, STREAM_VALUE_MAX);
	values[0] = in->s->app    ? str_c(in->s->app)
		    : s->name     ? str_c(s->name)
		    : values[2].n ? values[2]
				  : STR("zeromq");
	if (*s->host)
		values[1] = str_c(s->host);
	else
		values[1] = loopback_peer(m->peer) ? str_c(in->env->host) : m->peer;
	m->outlet = outlets_of(in->outlets, STR_NONE);
	m->stream = outlet_stream(m->outlet, values);
}

static void set_level(struct zeromq_input *in, const struct message *m, struct record *r)
{
	if (m->topic.severity == 0) {
		discover_level(&in->env->discover, outlet_stream_labels(m->stream), r);
		return;
	}
	r->severity = m->topic.severity;
	if (in->env->discover.level)
		r->flags |= RECORD_LEVEL_DETECTED;
}

/* Numbers. */

static void tell_gap(struct source *s, struct message *m, uint64_t last, uint64_t number)
{
	struct zeromq_input *in = s->in;
	uint64_t n = number - last - 1;
	struct record r = {.timestamp = in->observed_ns - 1, /* it stands before the message */
		.severity = SEV_WARN,
		.flags = RECORD_GAP | RECORD_TIME_OBSERVED};
	struct str fields[N_FIELDS] = {[FIELD_PEER] = m->peer};

	s->n_lost += n;
	in->env->sink->account(
		in->env->sink, in->env->tenant, STR("zeromq"), "publisher_gap", n, false);
	buf_clear(&in->key);
	buf_printf(&in->key,
		"sawlog: %" PRIu64
		" messages of %.*s are missing, those between the numbers %" PRIu64 " and %" PRIu64
		": it sent them while it was not connected, or faster than they were taken",
		n, STR_ARG(m->peer), last, number);
	r.body = buf_view(&in->key);
	r.meta = write_meta(in, fields);
	outlet_add(m->outlet, m->stream, &r);
}

/* The number in the message, when it has one. */
static bool read_number(struct zeromq_input *in, struct str text, uint64_t *out)
{
	struct str groups[2] = {{0}};

	return regex_find(in->sequence, text, 0, groups, 2) == 1 && str_u64(groups[1], out);
}

/* Publishers are told apart by address, peer and root topic. */
static void check_number(struct source *s, struct message *m)
{
	struct zeromq_input *in = s->in;
	union map_value *last;
	uint64_t number;
	bool added;

	if (!read_number(in, m->text, &number))
		return;
	buf_clear(&in->key);
	if (!s->name) {
		buf_str(&in->key, m->peer);
		buf_str(&in->key, m->pid);
	}
	buf_char(&in->key, 0);
	buf_str(&in->key, m->topic.root);
	if (s->numbers.n >= NUMBERS_MAX && !map_get(&s->numbers, buf_view(&in->key)))
		map_fini(&s->numbers);
	last = map_put(&s->numbers, buf_view(&in->key), &added);
	/* One that counts from the start again has been started again. */
	if (!added && number > last->u && number - last->u > 1)
		tell_gap(s, m, last->u, number);
	last->u = number;
}

/* Messages. */

static void add_record(struct source *s, struct str text, struct message *m)
{
	struct zeromq_input *in = s->in;
	struct record r = {.timestamp = in->observed_ns, .flags = RECORD_TIME_OBSERVED};
	struct str fields[N_FIELDS] = {[FIELD_PEER] = m->peer,
		[FIELD_PID] = m->pid,
		[FIELD_SEVERITY] = m->topic.level,
		[FIELD_TOPIC] = m->topic.sub};
	char number[24];

	name_stream(s, m);
	if (in->sequence)
		check_number(s, m);
	r.body = rune_fit(text, in->s->max_line);
	if (r.body.n < text.n) {
		snprintf(number, sizeof number, "%zu", text.n);
		fields[FIELD_TRUNCATED] = str_c(number);
		r.flags |= RECORD_CUT;
		metric_add(METRIC_cut_records_total, "input=\"zeromq\"", 1);
	}
	r.meta = write_meta(in, fields);
	set_level(in, m, &r);
	outlet_add(m->outlet, m->stream, &r);
	s->n_messages++;
}

static struct str view(zmq_msg_t *m)
{
	return str_make(zmq_msg_data(m), zmq_msg_size(m));
}

/* Frames behind the second are lines of the same text; libzmq hands out messages whole. */
static struct str join_rest(struct source *s)
{
	struct zeromq_input *in = s->in;
	zmq_msg_t frame;

	if (!zmq_msg_more(&in->body))
		return view(&in->body);
	buf_clear(&in->text);
	buf_str(&in->text, view(&in->body));
	zmq_msg_init(&frame);
	do {
		if (zmq_msg_recv(&frame, s->socket, ZMQ_DONTWAIT) < 0)
			break;
		if (in->text.n + zmq_msg_size(&frame) < ZEROMQ_FRAME_MAX) {
			buf_char(&in->text, '\n');
			buf_str(&in->text, view(&frame));
		}
	} while (zmq_msg_more(&frame));
	zmq_msg_close(&frame);
	return buf_view(&in->text);
}

/* The address that was connected to; of one who connected his IP, or over ipc his process, which
 * libzmq has as "localhost:UID:GID:PID". */
static void find_peer(struct source *s, struct message *m)
{
	struct str peer;

	if (s->name) {
		m->peer = str_sub(str_c(s->address), 6, SIZE_MAX);
		return;
	}
	peer = str_c(zmq_msg_gets(&s->in->topic, "Peer-Address"));
	if (!str_starts(peer, STR("localhost:"))) {
		m->peer = peer;
		return;
	}
	while (peer.p)
		m->pid = str_cut(&peer, ':');
}

/* PUBHandler makes a subtopic of whatever stands before the first "::" of any message; the text as
 * it was written has both. */
static struct str join_topic(struct zeromq_input *in, struct str sub, struct str text)
{
	if (!in->s->join_topic || sub.n == 0)
		return text;
	buf_clear(&in->joined);
	buf_str(&in->joined, sub);
	buf_c(&in->joined, "::");
	buf_str(&in->joined, text);
	return buf_view(&in->joined);
}

int zeromq_take(struct source *s)
{
	struct zeromq_input *in = s->in;
	struct message m = {0};
	struct str topic, text;

	if (zmq_msg_recv(&in->topic, s->socket, ZMQ_DONTWAIT) < 0)
		return 0;
	in->observed_ns = clock_now_ns(in->env->clock);
	topic = text = view(&in->topic);
	if (zmq_msg_more(&in->topic) && zmq_msg_recv(&in->body, s->socket, ZMQ_DONTWAIT) >= 0)
		text = join_rest(s);
	else
		topic = STR_NONE; /* one frame: all of it is text */
	find_peer(s, &m);
	m.topic = zeromq_topic_read(topic, str_c(s->name), &in->s->levels);
	m.text = text = zeromq_strip(join_topic(in, m.topic.sub, text));
	add_record(s, text, &m);
	return 1;
}
