/* SPDX-License-Identifier: Apache-2.0 */
/* Batches that are being built, one for each tenant, and the label sets in them. */
#include "input/syslog_input.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"

enum {
	STREAM_BYTES_MAX = 1 << 20, /* of label sets remembered for one tenant */
	TENANTS_MAX = 64,           /* with a batch of their own at a time */
};

struct outlet *outlet_new(struct syslog_input *in, struct str tenant)
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

void outlet_free(struct syslog_input *in, struct outlet *o)
{
	streams_clear(o);
	buf_fini(&o->source);
	batch_builder_free(o->builder);
	list_remove(&o->node);
	in->n_outlets--;
	free(o);
}

struct outlet *outlet_first(struct syslog_input *in)
{
	return CONTAINER(in->outlets.next, struct outlet, node);
}

struct outlet *outlet_of(struct syslog_input *in, const char *tenant)
{
	LIST_EACH (at, &in->outlets) {
		struct outlet *o = CONTAINER(at, struct outlet, node);
		if (strcmp(o->tenant, tenant) == 0)
			return o;
	}
	return outlet_new(in, str_c(tenant));
}

size_t syslog_built_bytes(struct syslog_input *in)
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

void syslog_send_all(struct syslog_input *in)
{
	LIST_EACH (at, &in->outlets) {
		struct outlet *o = CONTAINER(at, struct outlet, node);
		if (batch_builder_count(o->builder) > 0)
			send_outlet(in, o);
		if (in->n_outlets > TENANTS_MAX && o != outlet_first(in))
			outlet_free(in, o);
	}
}

static void pause_all(struct syslog_input *in)
{
	if (in->paused)
		return;
	in->paused = true;
	for (size_t i = 0; i < in->n_ports; i++)
		if (in->ports[i].listener)
			listener_pause(in->ports[i].listener);
}

bool syslog_has_room(struct syslog_input *in)
{
	if (syslog_built_bytes(in) >= courier_target(in->reserved)) {
		if (!courier_ready(in->courier)) {
			pause_all(in);
			return false;
		}
		syslog_send_all(in);
	}
	if (in->reserved)
		return true;
	if (courier_ready(in->courier))
		in->reserved = courier_reserve(in->courier, in->reserve);
	if (in->reserved)
		return true;
	pause_all(in);
	return false;
}

void syslog_send_if_idle(struct syslog_input *in)
{
	if (courier_idle(in->courier))
		syslog_send_all(in);
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

struct stream *outlet_stream(
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

void outlet_add(struct syslog_input *in, struct outlet *o, struct stream *st, struct record *r)
{
	bool added = add_here(o, st, r);

	if (!added && batch_builder_count(o->builder) > 0) {
		send_outlet(in, o);
		added = add_here(o, st, r);
	}
	if (added)
		in->n_messages++;
	else
		syslog_account(in, "limit", 1);
}
