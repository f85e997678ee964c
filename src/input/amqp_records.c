/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a message to records of the batch that is being built.
 *
 * Design.  The batch is built on the thread of the connection, straight out of
 * librabbitmq's frames: a message is copied once.  The records number the
 * positions of one source (POSITION_MARK), new with each life of the input, so
 * that a batch that is sent to the store again is stored once.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/metric.h"
#include "codec/rune.h"
#include "input/amqp_input.h"
#include "record/severity.h"

enum {
	STREAM_BYTES_MAX = 1 << 20, /* of label sets remembered */
	APP_MAX = 255,              /* bytes of a value that a publisher chooses */
	SEVERITY_WORD_MIN = 3,      /* a shorter last word of a routing key is no level */
	OWN_MAX = 12,               /* pairs of metadata that are not headers */
	BATCH_MAX = 20 << 20,       /* bytes; room for a body of AMQP_BODY_MAX in quarantine */
	BATCH_LEAST = 2 << 20,      /* a line of max_line with its metadata must fit */
	BATCH_SHARE = 8,            /* of all memory: a store refuses for ever what is too large */
	RECORD_SPARE = 256 << 10,   /* metadata and tables beside a body in quarantine */
};

struct pair {
	struct str name, value;
};

/* A label set, remembered by the app and the labels that the message told. */
struct stream {
	struct buf key, labels;
	uint8_t told;   /* the level that the labels tell */
	uint32_t index; /* in the builder, when `epoch` is the maker's */
	uint64_t epoch;
};

struct maker {
	struct maker_options o;
	struct message_decoder *decoder;
	struct batch_builder *builder;
	uint16_t source_number; /* in the builder; 0: not there yet */
	uint64_t position, from, epoch;
	uint64_t batch_max;
	struct map streams;
	size_t stream_bytes;
	struct buf key, meta, names; /* scratch */
	struct series_value *cut;
	struct str queue; /* a label's value */
	/* The message at hand. */
	const struct delivery *d;
	int64_t observed_ns;
	bool key_read;                    /* the next three are of it */
	struct str key_app, key_severity; /* of a routing key APP.SEVERITY */
	uint8_t key_level;
	struct pair pairs[OWN_MAX + AMQP_HEADERS_MAX]; /* sorted */
	size_t n_pairs;
};

static uint64_t largest_batch(const struct account *a)
{
	uint64_t n = a ? a->limit / BATCH_SHARE : BATCH_MAX;

	return n < BATCH_LEAST ? BATCH_LEAST : n > BATCH_MAX ? BATCH_MAX : n;
}

struct maker *maker_new(const struct maker_options *o)
{
	struct maker *m = xcalloc(1, sizeof *m);
	struct message_options form = {.form = o->s->format,
		.zone = o->zone,
		.max_line = o->s->max_line,
		.max_body = AMQP_BODY_MAX,
		.detect_level = o->env->discover.level,
		.account = o->env->account};

	m->o = *o;
	m->decoder = message_decoder_new(&form);
	m->builder = batch_builder_new(o->env->tenant, STR("amqp"), clock_now_ns(o->env->clock));
	m->epoch = 1;
	m->batch_max = largest_batch(o->env->account);
	m->queue = o->s->queue[0] ? str_c(o->s->queue) : STR("amqp");
	m->observed_ns = clock_now_ns(o->env->clock);
	m->cut = metric_series(METRIC_cut_records_total, "input=\"amqp\"");
	return m;
}

static void streams_clear(struct maker *m)
{
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(&m->streams, &at))) {
		struct stream *s = slot->value.p;

		buf_fini(&s->key);
		buf_fini(&s->labels);
		free(s);
	}
	map_fini(&m->streams);
	m->stream_bytes = 0;
}

void maker_free(struct maker *m)
{
	if (!m)
		return;
	streams_clear(m);
	message_decoder_free(m->decoder);
	batch_builder_free(m->builder);
	buf_fini(&m->key);
	buf_fini(&m->meta);
	buf_fini(&m->names);
	free(m);
}

/* Streams. */

static void labels_make(
	struct maker *m, struct str app, struct str told, bool aside, struct buf *out)
{
	const struct string_map *labels = &m->o.s->labels;
	struct labels_builder b = {0};
	struct label l;

	if (told.n) {
		labels_start(&told);
		while (labels_next(&told, &l))
			labels_builder_set(&b, l.name, l.value, NULL);
	}
	if (app.n)
		labels_builder_set(&b, STR("app"), app, NULL);
	labels_builder_set(&b, STR("input"), STR("amqp"), NULL);
	for (size_t i = 0; i < labels->n && !aside; i++)
		labels_builder_set(
			&b, str_c(labels->items[i].name), str_c(labels->items[i].value), NULL);
	if (aside)
		labels_builder_set(&b, STR("quarantine"), STR("true"), NULL);
	discover_service_name(&m->o.env->discover, &b);
	labels_builder_write(&b, out);
	labels_builder_fini(&b);
}

/* Valid until the next call. */
static struct stream *stream_of(struct maker *m, struct str app, struct str told, bool aside)
{
	uint32_t n = (uint32_t)app.n;
	union map_value *v;
	struct stream *s;
	bool added;

	buf_clear(&m->key);
	buf_char(&m->key, aside);
	buf_put(&m->key, &n, sizeof n);
	buf_str(&m->key, app);
	buf_str(&m->key, told);
	/* A publisher may make up values without end. */
	if (m->stream_bytes > STREAM_BYTES_MAX)
		streams_clear(m);
	v = map_put(&m->streams, buf_view(&m->key), &added);
	if (added) {
		v->p = s = xcalloc(1, sizeof *s);
		labels_make(m, app, told, aside, &s->labels);
		s->told = discover_labels(&m->o.env->discover, buf_view(&s->labels));
		m->stream_bytes += sizeof *s + m->key.n + s->labels.cap;
	}
	return v->p;
}

static uint32_t stream_index(struct maker *m, struct stream *s)
{
	if (s->epoch != m->epoch) {
		s->index = batch_builder_stream(m->builder, buf_view(&s->labels));
		s->epoch = s->index == BATCH_NO_STREAM ? 0 : m->epoch;
	}
	return s->index;
}

/* The routing key of many publishers is APP.SEVERITY; read only where nothing else tells. */
static void read_key(struct maker *m)
{
	struct str key = m->d->key, word;
	size_t dot = key.n;

	if (m->key_read)
		return;
	m->key_read = true;
	m->key_app = m->key_severity = STR_NONE;
	m->key_level = 0;
	while (dot > 0 && key.p[dot - 1] != '.')
		dot--;
	if (dot < 2)
		return;
	word = str_sub(key, dot, key.n);
	if (word.n < SEVERITY_WORD_MIN || !(m->key_level = severity_from_word(word)))
		return;
	m->key_app = str_sub(key, 0, dot - 1);
	m->key_severity = word;
}

static struct str app_of(struct maker *m, const struct message_record *r)
{
	struct str app;

	if (m->o.s->app)
		return str_c(m->o.s->app);
	if (r->labels.n)
		return STR_NONE; /* the message says itself what it belongs to */
	app = r->app.n ? r->app : m->d->app;
	if (app.n == 0) {
		read_key(m);
		app = m->key_app;
	}
	if (app.n == 0)
		app = m->queue;
	return rune_fit(app, APP_MAX);
}

/* Metadata. */

static void put_pair(struct maker *m, struct str name, struct str value)
{
	size_t at = m->n_pairs;
	int order = 1;

	if (value.n == 0)
		return;
	while (at > 0 && (order = str_cmp(m->pairs[at - 1].name, name)) > 0)
		at--;
	if (at > 0 && order == 0)
		return; /* two headers that are written the same */
	memmove(m->pairs + at + 1, m->pairs + at, (m->n_pairs - at) * sizeof *m->pairs);
	m->pairs[at] = (struct pair){name, value};
	m->n_pairs++;
}

static void drop_pair(struct maker *m, struct str name)
{
	size_t at = 0;

	while (at < m->n_pairs && !str_eq(m->pairs[at].name, name))
		at++;
	if (at == m->n_pairs)
		return;
	m->n_pairs--;
	memmove(m->pairs + at, m->pairs + at + 1, (m->n_pairs - at) * sizeof *m->pairs);
}

/* "header_" and the name, in letters that LogQL takes. */
static struct str header_name(struct maker *m, struct str name)
{
	static const struct str prefix = STR_INIT("header_");
	size_t at = m->names.n;

	name = str_sub(name, 0, LABEL_NAME_MAX - prefix.n);
	buf_str(&m->names, prefix);
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			    (c >= '0' && c <= '9') || c == '_';

		buf_char(&m->names, (char)(fine ? c : '_'));
	}
	return str_sub(buf_view(&m->names), at, m->names.n);
}

/* What the transport tells of a message, for all of its records. */
static void collect_pairs(struct maker *m, const char *reason)
{
	const struct delivery *d = m->d;

	m->n_pairs = 0;
	put_pair(m, STR("correlation_id"), d->correlation);
	put_pair(m, STR("exchange"), d->exchange);
	put_pair(m, STR("message_id"), d->id);
	if (reason)
		put_pair(m, STR("reason"), str_c(reason));
	if (d->redelivered)
		put_pair(m, STR("redelivered"), STR("true"));
	put_pair(m, STR("routing_key"), d->key);
	put_pair(m, STR("type"), d->type);
	put_pair(m, STR("user_id"), d->user);
	if (d->n_headers == 0)
		return;
	buf_clear(&m->names);
	buf_reserve(&m->names, d->n_headers * LABEL_NAME_MAX); /* what is in it stays in place */
	for (size_t i = 0; i < d->n_headers; i++)
		put_pair(m, header_name(m, d->headers[i].name), d->headers[i].value);
}

/* Names that the body and the transport both use: the transport's is what it says, the body's gets
 * a name of its own, as Loki's stages do it. */
static struct str merge_slowly(struct maker *m, struct str own)
{
	struct labels_builder b = {.names_free = true};
	struct buf name = {0};
	struct label l;

	for (size_t i = 0; i < m->n_pairs; i++)
		labels_builder_set(&b, m->pairs[i].name, m->pairs[i].value, NULL);
	labels_start(&own);
	while (labels_next(&own, &l)) {
		struct str there;

		buf_clear(&name);
		buf_str(&name, l.name);
		if (labels_builder_get(&b, l.name, &there))
			buf_c(&name, "_extracted");
		labels_builder_set(&b, buf_view(&name), l.value, NULL);
	}
	labels_builder_write(&b, &m->meta);
	labels_builder_fini(&b);
	buf_fini(&name);
	return buf_view(&m->meta);
}

/* Both are sorted.  `own`: canonical bytes of what the form found. */
static struct str merge_meta(struct maker *m, struct str own)
{
	struct str names[LABELS_MAX], values[LABELS_MAX], at = own;
	size_t n = 0, i = 0, left = own.n ? labels_start(&at) : 0;
	struct label l = {0};
	bool more;

	buf_clear(&m->meta);
	if (m->n_pairs + left > LABELS_MAX)
		return merge_slowly(m, own);
	more = own.n && labels_next(&at, &l);
	while (more || i < m->n_pairs) {
		int order = !more ? -1 : i == m->n_pairs ? 1 : str_cmp(m->pairs[i].name, l.name);

		if (order == 0)
			return merge_slowly(m, own);
		names[n] = order < 0 ? m->pairs[i].name : l.name;
		values[n++] = order < 0 ? m->pairs[i].value : l.value;
		if (order < 0)
			i++;
		else
			more = labels_next(&at, &l);
	}
	labels_write(&m->meta, names, values, n);
	return buf_view(&m->meta);
}

/* Records. */

static bool add_here(struct maker *m, struct stream *st, struct record *r)
{
	struct batch_source s = {
		.id = m->o.source, .kind = POSITION_MARK, .from = m->position, .to = m->position};

	if (m->source_number == 0)
		m->source_number = batch_builder_source(m->builder, &s);
	r->source = m->source_number;
	r->position = m->position + 1;
	r->stream = stream_index(m, st);
	if (batch_builder_add(m->builder, r, NULL) < 0)
		return false;
	m->position++;
	return true;
}

static void add(struct maker *m, struct stream *st, struct record *r)
{
	struct sink *sink = m->o.env->sink;
	bool added;

	/* A message may be a push of thousands of lines. */
	if (maker_count(m) > 0 && maker_bytes(m) + r->body.n + r->meta.n > m->batch_max)
		m->o.full(m->o.arg);
	added = add_here(m, st, r);
	if (!added && maker_count(m) > 0) {
		m->o.full(m->o.arg);
		added = add_here(m, st, r);
	}
	if (!added)
		sink->account(sink, m->o.env->tenant, STR("amqp"), "limit", 1, false);
	else if (r->flags & RECORD_CUT)
		m->cut->v++;
}

static int each(void *arg, const struct message_record *decoded)
{
	struct maker *m = arg;
	struct stream *st = stream_of(m, app_of(m, decoded), decoded->labels, false);
	struct record r = decoded->record;
	struct str severity = STR_NONE;

	if (r.severity == 0)
		read_key(m);
	if (r.severity == 0 && (st->told || m->key_level)) {
		r.severity = st->told ? st->told : m->key_level;
		severity = st->told ? STR_NONE : m->key_severity;
		if (m->o.env->discover.level)
			r.flags |= RECORD_LEVEL_DETECTED;
	}
	put_pair(m, STR("severity"), severity);
	r.meta = merge_meta(m, r.meta);
	if (severity.n)
		drop_pair(m, STR("severity")); /* the next record may tell its own */
	add(m, st, &r);
	return 0;
}

static void begin(struct maker *m, const struct delivery *d, const char *reason)
{
	m->d = d;
	m->key_read = false;
	collect_pairs(m, reason);
}

int maker_add(struct maker *m, const struct delivery *d, struct str body, struct error *e)
{
	struct message message = {.body = body,
		.content_type = d->content_type,
		.content_encoding = d->encoding,
		.routing_key = d->key,
		.sent_ns = d->sent_ns};

	begin(m, d, NULL);
	message.observed_ns = m->observed_ns;
	return message_decode(m->decoder, &message, each, m, e);
}

void maker_quarantine(
	struct maker *m, const struct delivery *d, struct str body, const char *reason)
{
	struct record r = {.flags = RECORD_TIME_OBSERVED};
	struct stream *st;
	char size[AMQP_NUMBER_MAX];

	r.body = body = str_sub(body, 0, m->batch_max - RECORD_SPARE);
	begin(m, d, reason);
	st = stream_of(m, m->queue, STR_NONE, true);
	r.timestamp = m->observed_ns;
	if (d->size > body.n) {
		snprintf(size, sizeof size, "%llu", (unsigned long long)d->size);
		put_pair(m, STR("truncated_from"), str_c(size));
		r.flags |= RECORD_CUT;
	}
	put_pair(m, STR("content_type"), d->content_type);
	put_pair(m, STR("content_encoding"), d->encoding);
	r.meta = merge_meta(m, STR_NONE);
	discover_level(&m->o.env->discover, buf_view(&st->labels), &r);
	add(m, st, &r);
}

/* Batches. */

void maker_set_time(struct maker *m, int64_t now_ns)
{
	m->observed_ns = now_ns;
}

size_t maker_count(const struct maker *m)
{
	return batch_builder_count(m->builder);
}

size_t maker_bytes(const struct maker *m)
{
	return batch_builder_bytes(m->builder);
}

uint64_t maker_position(const struct maker *m)
{
	return m->position;
}

struct saving {
	struct maker *m;
	const char *source;
};

static void save_slot(void *arg, size_t slot, struct str token)
{
	struct saving *s = arg;
	struct batch_source source = {.kind = POSITION_TOKEN, .token = token};

	buf_clear(&s->m->key);
	buf_printf(&s->m->key, "%s:%zu", s->source, slot);
	source.id = buf_view(&s->m->key);
	batch_builder_source(s->m->builder, &source);
}

static void next_builder(struct maker *m)
{
	m->source_number = 0;
	m->from = m->position;
	m->epoch++;
}

struct batch *maker_finish(struct maker *m, struct seen *seen, const char *seen_source)
{
	struct batch_source s = {.id = m->o.source, .kind = POSITION_MARK, .to = m->position};
	struct saving saving = {m, seen_source};
	struct batch *b;

	assert(maker_count(m) > 0);
	batch_builder_source(m->builder, &s);
	if (seen)
		seen_save(seen, save_slot, &saving);
	b = batch_builder_finish(m->builder, clock_now_ns(m->o.env->clock));
	next_builder(m);
	return b;
}

void maker_drop(struct maker *m)
{
	if (maker_count(m) > 0) {
		batch_builder_free(m->builder);
		m->builder = batch_builder_new(
			m->o.env->tenant, STR("amqp"), clock_now_ns(m->o.env->clock));
	}
	m->position = m->from;
	next_builder(m);
}
