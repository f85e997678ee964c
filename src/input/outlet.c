/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  A batch goes as soon as none is under way, so that a single message
 * is durable at once, and what comes meanwhile is the next one.
 *
 * The batches of one outlet number their messages as positions of one source,
 * which is new with each life of the input: so they are committed in order and
 * once, though several are under way and one of them may fail.
 *
 * Memory for what is being built is charged before the first message of it
 * (reserved), and handed to the courier with the batch.
 */
#include "input/outlet.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"

enum {
	STREAM_BYTES_MAX = 1 << 20, /* of label sets remembered for one tenant */
	TENANTS_MAX = 64,           /* with a batch of their own at a time */
	TICK_MS = 1000,
};

/* A label set, remembered by the values of the keys. */
struct outlet_stream {
	struct buf key; /* of each value its length and its bytes */
	struct buf labels;
	uint32_t index; /* in the builder, when `epoch` is the outlet's */
	uint64_t epoch;
};

/* The batch of one tenant that is being built. */
struct outlet {
	struct list node;
	struct outlets *all;
	char tenant[TENANT_MAX + 1];
	struct batch_builder *builder;
	uint64_t epoch; /* counts batches */
	struct buf source;
	uint64_t position;      /* messages taken */
	uint64_t durable;       /* and how many of them are */
	uint16_t source_number; /* in the builder; 0: not there yet */
	struct map streams;
	size_t stream_bytes;
	struct outlet_stream *last;
};

/* Who wants to know when a position of an outlet is durable. */
struct waiter {
	struct list node;
	struct buf source; /* the outlet itself may be gone by then */
	uint64_t position;
	outlet_told *fn;
	void *arg;
};

struct outlets {
	struct outlets_options o;
	struct courier *courier;
	struct list outlets; /* the first is of env's tenant */
	size_t n_outlets;
	struct buf key; /* scratch */
	struct timer tick;
	uint64_t reserved, n_records;
	struct list waiters;
	bool paused, stopping;
	loop_fn *stopped;
	void *stopped_arg;
};

static struct outlet *outlet_new(struct outlets *all, struct str tenant)
{
	struct outlet *o = xcalloc(1, sizeof *o);
	uint64_t id[2];

	hash_random(id, sizeof id);
	buf_printf(&o->source, "%s:%016" PRIx64 ":%016" PRIx64, all->o.input, id[0], id[1]);
	str_copy(tenant, o->tenant, sizeof o->tenant);
	o->all = all;
	o->builder =
		batch_builder_new(tenant, str_c(all->o.input), clock_now_ns(all->o.env->clock));
	o->epoch = 1;
	list_append(&all->outlets, &o->node);
	all->n_outlets++;
	return o;
}

static void streams_clear(struct outlet *o)
{
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(&o->streams, &at))) {
		struct outlet_stream *s = slot->value.p;
		buf_fini(&s->key);
		buf_fini(&s->labels);
		free(s);
	}
	map_fini(&o->streams);
	o->stream_bytes = 0;
	o->last = NULL;
}

static void outlet_free(struct outlet *o)
{
	streams_clear(o);
	buf_fini(&o->source);
	batch_builder_free(o->builder);
	list_remove(&o->node);
	o->all->n_outlets--;
	free(o);
}

static struct outlet *first_of(struct outlets *all)
{
	return CONTAINER(all->outlets.next, struct outlet, node);
}

struct outlet *outlets_of(struct outlets *all, struct str tenant)
{
	if (tenant.n == 0)
		return first_of(all);
	LIST_EACH (at, &all->outlets) {
		struct outlet *o = CONTAINER(at, struct outlet, node);
		if (str_eq_c(tenant, o->tenant))
			return o;
	}
	return outlet_new(all, tenant);
}

/* Batches. */

static size_t built_bytes(struct outlets *all)
{
	size_t n = 0;

	LIST_EACH (at, &all->outlets) {
		struct outlet *o = CONTAINER(at, struct outlet, node);
		if (batch_builder_count(o->builder) > 0)
			n += batch_builder_bytes(o->builder);
	}
	return n;
}

static void send_outlet(struct outlet *o)
{
	struct outlets *all = o->all;
	struct batch_source s = {
		.id = buf_view(&o->source), .kind = POSITION_MARK, .to = o->position};
	uint64_t reserved = all->reserved;

	batch_builder_source(o->builder, &s);
	o->source_number = 0;
	o->epoch++;
	all->reserved = 0;
	courier_send(all->courier,
		batch_builder_finish(o->builder, clock_now_ns(all->o.env->clock)), reserved);
}

void outlets_flush(struct outlets *all)
{
	LIST_EACH (at, &all->outlets) {
		struct outlet *o = CONTAINER(at, struct outlet, node);
		if (batch_builder_count(o->builder) > 0)
			send_outlet(o);
		if (all->n_outlets > TENANTS_MAX && o != first_of(all))
			outlet_free(o);
	}
}

void outlets_flush_if_idle(struct outlets *all)
{
	if (courier_idle(all->courier))
		outlets_flush(all);
}

static bool pause_sender(struct outlets *all)
{
	if (!all->paused) {
		all->paused = true;
		all->o.paused(all->o.arg);
	}
	return false;
}

bool outlets_room(struct outlets *all)
{
	if (built_bytes(all) >= courier_target(all->reserved)) {
		if (!courier_ready(all->courier))
			return pause_sender(all);
		outlets_flush(all);
	}
	if (all->reserved)
		return true;
	if (courier_ready(all->courier))
		all->reserved = courier_reserve(all->courier, all->o.reserve);
	return all->reserved || pause_sender(all);
}

/* Streams. */

static void put_length(struct buf *out, struct str value)
{
	uint32_t n = (uint32_t)value.n;

	buf_put(out, &n, sizeof n);
}

static void key_write(struct outlets *all, const struct str values[])
{
	buf_clear(&all->key);
	for (size_t i = 0; i < all->o.n_keys; i++) {
		put_length(&all->key, values[i]);
		buf_str(&all->key, values[i]);
	}
}

static bool is_stream(
	const struct outlets *all, const struct outlet_stream *s, const struct str values[])
{
	const char *at = s->key.p, *end = at + s->key.n;

	for (size_t i = 0; i < all->o.n_keys; i++) {
		uint32_t n;

		if ((size_t)(end - at) < sizeof n + values[i].n)
			return false;
		memcpy(&n, at, sizeof n);
		at += sizeof n;
		if (n != values[i].n || memcmp(at, values[i].p ? values[i].p : "", n) != 0)
			return false;
		at += n;
	}
	return true;
}

static void labels_make(struct outlets *all, const struct str values[], struct buf *out)
{
	const struct string_map *labels = all->o.labels;
	struct labels_builder b = {0};

	for (size_t i = 0; i < all->o.n_keys; i++)
		labels_builder_set(&b, str_c(all->o.keys[i]), values[i], NULL);
	labels_builder_set(&b, STR("input"), str_c(all->o.input), NULL);
	for (size_t i = 0; labels && i < labels->n; i++)
		labels_builder_set(
			&b, str_c(labels->items[i].name), str_c(labels->items[i].value), NULL);
	discover_service_name(&all->o.env->discover, &b);
	labels_builder_write(&b, out);
	labels_builder_fini(&b);
}

struct outlet_stream *outlet_stream(struct outlet *o, const struct str values[])
{
	struct outlets *all = o->all;
	struct outlet_stream *s;
	union map_value *v;
	bool added;

	if (o->last && is_stream(all, o->last, values))
		return o->last;
	key_write(all, values);
	/* A sender may make up values without end. */
	if (o->stream_bytes > STREAM_BYTES_MAX)
		streams_clear(o);
	v = map_put(&o->streams, buf_view(&all->key), &added);
	if (added) {
		v->p = s = xcalloc(1, sizeof *s);
		buf_str(&s->key, buf_view(&all->key));
		labels_make(all, values, &s->labels);
		o->stream_bytes += sizeof *s + s->key.cap + s->labels.cap;
	}
	return o->last = v->p;
}

/* Keys of told labels begin with a length that no value has. */
static void key_write_told(struct outlets *all, struct str labels)
{
	buf_clear(&all->key);
	put_length(&all->key, (struct str){NULL, UINT32_MAX});
	buf_str(&all->key, labels);
}

static bool labels_merge(struct outlets *all, struct str told, struct buf *out)
{
	const struct string_map *labels = all->o.labels;
	struct labels_builder b = {0};
	struct label l;
	bool fits = true;

	labels_start(&told);
	while (fits && labels_next(&told, &l))
		fits = labels_builder_set(&b, l.name, l.value, NULL) == 0;
	for (size_t i = 0; labels && i < labels->n && fits; i++)
		fits = labels_builder_set(&b, str_c(labels->items[i].name),
			       str_c(labels->items[i].value), NULL) == 0;
	if (fits)
		labels_builder_write(&b, out);
	labels_builder_fini(&b);
	return fits;
}

struct outlet_stream *outlet_stream_told(struct outlet *o, struct str labels)
{
	struct outlets *all = o->all;
	struct buf merged = {0};
	struct outlet_stream *s;
	union map_value *v;

	key_write_told(all, labels);
	if (o->last && str_eq(buf_view(&o->last->key), buf_view(&all->key)))
		return o->last;
	if (o->stream_bytes > STREAM_BYTES_MAX)
		streams_clear(o);
	if ((v = map_get(&o->streams, buf_view(&all->key))))
		return o->last = v->p;
	if (!labels_merge(all, labels, &merged)) {
		buf_fini(&merged);
		return NULL;
	}
	s = xcalloc(1, sizeof *s);
	buf_str(&s->key, buf_view(&all->key));
	s->labels = merged;
	o->stream_bytes += sizeof *s + s->key.cap + s->labels.cap;
	map_put(&o->streams, buf_view(&all->key), NULL)->p = s;
	return o->last = s;
}

struct str outlet_stream_labels(const struct outlet_stream *st)
{
	return buf_view(&st->labels);
}

/* Records. */

static uint32_t stream_index(struct outlet *o, struct outlet_stream *s)
{
	if (s->epoch != o->epoch) {
		s->index = batch_builder_stream(o->builder, buf_view(&s->labels));
		s->epoch = s->index == BATCH_NO_STREAM ? 0 : o->epoch;
	}
	return s->index;
}

static bool add_here(struct outlet *o, struct outlet_stream *st, struct record *r)
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

void outlet_add(struct outlet *o, struct outlet_stream *st, struct record *r)
{
	struct sink *sink = o->all->o.env->sink;
	bool added = add_here(o, st, r);

	if (!added && batch_builder_count(o->builder) > 0) {
		send_outlet(o);
		added = add_here(o, st, r);
	}
	if (added)
		o->all->n_records++;
	else
		sink->account(sink, str_c(o->tenant), str_c(o->all->o.input), "limit", 1, false);
}

void outlet_tell(struct outlet *o, outlet_told *fn, void *arg)
{
	struct waiter *w;

	if (o->durable >= o->position) {
		fn(arg, true);
		return;
	}
	w = xcalloc(1, sizeof *w);
	buf_str(&w->source, buf_view(&o->source));
	w->position = o->position;
	w->fn = fn;
	w->arg = arg;
	list_append(&o->all->waiters, &w->node);
}

static void tell(struct waiter *w, bool durable)
{
	list_remove(&w->node);
	w->fn(w->arg, durable);
	buf_fini(&w->source);
	free(w);
}

/* Life. */

/* Batches of one source are acknowledged in order: a later one would be a gap. */
static void on_acked(void *arg, const struct batch *b, const struct sink_result *result)
{
	struct outlets *all = arg;
	struct batch_source s = batch_source(b, 0);

	(void)result;
	LIST_EACH (at, &all->outlets) {
		struct outlet *o = CONTAINER(at, struct outlet, node);
		if (str_eq(buf_view(&o->source), s.id))
			o->durable = s.to;
	}
	LIST_EACH (at, &all->waiters) {
		struct waiter *w = CONTAINER(at, struct waiter, node);
		if (w->position <= s.to && str_eq(buf_view(&w->source), s.id))
			tell(w, true);
	}
}

static void on_room(void *arg)
{
	struct outlets *all = arg;

	if (all->stopping)
		return;
	outlets_flush_if_idle(all);
	if (!all->paused || !outlets_room(all))
		return;
	all->paused = false;
	all->o.room(all->o.arg);
}

static void on_tick(void *arg)
{
	struct outlets *all = arg;

	outlets_flush_if_idle(all);
	/* Nothing came: others may have the memory. */
	if (all->reserved && built_bytes(all) == 0) {
		courier_unreserve(all->courier, all->reserved);
		all->reserved = 0;
	}
}

struct outlets *outlets_new(const struct outlets_options *o)
{
	static const struct courier_events events = {.acked = on_acked, .room = on_room};
	struct outlets *all = xcalloc(1, sizeof *all);
	struct account *account = o->env->account;

	assert(o->n_keys <= OUTLET_KEYS_MAX && o->reserve > 0 && o->paused && o->room);
	all->o = *o;
	if (account && account->limit / 4 < o->reserve)
		all->o.reserve = account->limit / 4;
	list_init(&all->outlets);
	list_init(&all->waiters);
	outlet_new(all, o->env->tenant);
	all->courier = courier_new(o->env, o->input, &events, all);
	timer_init(&all->tick, o->env->loop, on_tick, all);
	timer_set(&all->tick, TICK_MS, TICK_MS);
	return all;
}

void outlets_free(struct outlets *all)
{
	if (!all)
		return;
	LIST_EACH (at, &all->outlets)
		outlet_free(CONTAINER(at, struct outlet, node));
	courier_free(all->courier);
	account_release(all->o.env->account, all->reserved);
	timer_fini(&all->tick);
	buf_fini(&all->key);
	free(all);
}

static void on_stopped(void *arg)
{
	struct outlets *all = arg;

	while (!list_empty(&all->waiters))
		tell(CONTAINER(all->waiters.next, struct waiter, node), false);
	all->stopped(all->stopped_arg);
}

void outlets_stop(struct outlets *all, loop_fn *stopped, void *arg)
{
	all->stopping = true;
	all->stopped = stopped;
	all->stopped_arg = arg;
	timer_clear(&all->tick);
	outlets_flush(all);
	courier_stop(all->courier, on_stopped, all);
}

uint64_t outlets_records(const struct outlets *all)
{
	return all->n_records;
}

void outlets_dump(const struct outlets *all, struct buf *out)
{
	buf_printf(out, "  %" PRIu64 " records taken, %zu tenants%s\n", all->n_records,
		all->n_outlets, all->paused ? ", paused" : "");
	courier_dump(all->courier, out);
}
