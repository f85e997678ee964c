/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf of all three generations, and the parts of multipart answers. */
#include "proto/loggregator_core.h"

#include "codec/codec.h"

/* 2013. */

static unsigned source_number(struct str type)
{
	struct str name = str_sub(type, 0, 3);

	for (unsigned i = 1; i < SOURCE_END; i++)
		if (loggregator_short_names[i] &&
			str_eq_nocase(type, str_c(loggregator_short_names[i])))
			return i;
	/* "APP/PROC/WEB" is what was "App" then. */
	if (str_eq_nocase(name, STR("APP")) && (type.n == 3 || type.p[3] == '/'))
		return SOURCE_WARDEN;
	return str_eq_c(type, "LGR") ? SOURCE_LOGGREGATOR : SOURCE_UNKNOWN;
}

static struct str text_of(const struct loggregator *x, struct buf *made)
{
	if (x->kind == LOGGREGATOR_LOG || x->kind == LOGGREGATOR_ERROR)
		return x->payload;
	loggregator_put_text(made, x);
	return buf_view(made);
}

/* Clients of before and after the removal of source_type read it: both it and the name are told. */
void loggregator_put_message(struct buf *out, const struct loggregator *x)
{
	struct buf made = {0};

	protobuf_put_bytes(out, LM_MESSAGE, text_of(x, &made));
	protobuf_put_number(out, LM_TYPE, x->err ? MESSAGE_ERR : MESSAGE_OUT);
	protobuf_put_number(out, LM_TIMESTAMP, zigzag(x->timestamp));
	protobuf_put_bytes(out, LM_APP, x->source_id);
	protobuf_put_number(out, LM_SOURCE_TYPE, source_number(x->source_type));
	if (x->instance_id.n)
		protobuf_put_bytes(out, LM_SOURCE_ID, x->instance_id);
	for (size_t i = 0; i < x->n_drains; i++)
		protobuf_put_bytes(out, LM_DRAINS, x->drains[i]);
	if (x->source_type.n)
		protobuf_put_bytes(out, LM_SOURCE_NAME, x->source_type);
	buf_fini(&made);
}

/* Dropsonde. */

static const struct loggregator_metric *metric_of(const struct loggregator *x, struct str name)
{
	for (size_t i = 0; i < x->n_metrics; i++)
		if (str_eq(x->metrics[i].name, name))
			return &x->metrics[i];
	return NULL;
}

/* cpu, memory and disk together are a ContainerMetric. */
static bool is_container(const struct loggregator *x)
{
	return metric_of(x, loggregator_container[0].name) &&
	       metric_of(x, loggregator_container[1].name) &&
	       metric_of(x, loggregator_container[2].name);
}

static bool of_container(struct str name)
{
	for (size_t i = 0; i < N_CONTAINER; i++)
		if (str_eq(name, loggregator_container[i].name))
			return true;
	return false;
}

size_t loggregator_n_envelopes(const struct loggregator *x)
{
	size_t n = 0;

	if (x->kind != LOGGREGATOR_GAUGE)
		return 1;
	if (!is_container(x))
		return x->n_metrics;
	for (size_t i = 0; i < x->n_metrics; i++)
		n += !of_container(x->metrics[i].name);
	return n + 1;
}

static uint64_t whole(double v)
{
	if (!(v >= 0))
		return 0;
	return v < 18446744073709549568.0 ? (uint64_t)v : UINT64_MAX;
}

static void put_container(struct buf *out, const struct loggregator *x)
{
	int64_t index = 0;
	size_t at = protobuf_begin(out, EV_CONTAINER);

	str_i64(x->instance_id, &index);
	protobuf_put_bytes(out, 1, x->source_id);
	protobuf_put_number(out, 2, (uint64_t)(int64_t)(int32_t)index);
	for (uint32_t i = 0; i < N_CONTAINER; i++) {
		const struct loggregator_metric *m = metric_of(x, loggregator_container[i].name);

		if (i == 0)
			protobuf_put_double(out, CONTAINER_FIELD, m->value);
		else if (m)
			protobuf_put_number(out, CONTAINER_FIELD + i, whole(m->value));
	}
	protobuf_end(out, at);
}

static void put_value(struct buf *out, const struct loggregator_metric *m)
{
	size_t at = protobuf_begin(out, EV_VALUE);

	protobuf_put_bytes(out, 1, m->name);
	protobuf_put_double(out, 2, m->value);
	protobuf_put_bytes(out, 3, m->unit);
	protobuf_end(out, at);
}

/* The metric with that index; those of a container are the first together. */
static const struct loggregator_metric *metric_at(const struct loggregator *x, size_t index)
{
	bool container = is_container(x);

	if (container && index-- == 0)
		return NULL;
	for (size_t i = 0; i < x->n_metrics; i++)
		if (!(container && of_container(x->metrics[i].name)) && index-- == 0)
			return &x->metrics[i];
	return NULL;
}

static void put_log(struct buf *out, const struct loggregator *x)
{
	struct buf made = {0};
	size_t at = protobuf_begin(out, EV_LOG);

	protobuf_put_bytes(out, 1, text_of(x, &made));
	protobuf_put_number(out, 2, x->err ? MESSAGE_ERR : MESSAGE_OUT);
	protobuf_put_number(out, 3, (uint64_t)x->timestamp);
	protobuf_put_bytes(out, 4, x->source_id);
	protobuf_put_bytes(out, 5, x->source_type);
	protobuf_put_bytes(out, 6, x->instance_id);
	protobuf_end(out, at);
	buf_fini(&made);
}

static void put_counter_fields(struct buf *out, const struct loggregator *x)
{
	protobuf_put_bytes(out, 1, x->name);
	protobuf_put_number(out, 2, x->delta);
	protobuf_put_number(out, 3, x->total);
}

static void put_error(struct buf *out, const struct loggregator *x)
{
	protobuf_put_bytes(out, 1, x->name);
	protobuf_put_number(out, 2, (uint64_t)(int64_t)x->code);
	protobuf_put_bytes(out, 3, x->payload);
}

static void put_wrapped(struct buf *out, uint32_t number, const struct loggregator *x,
	void (*put)(struct buf *out, const struct loggregator *x))
{
	size_t at = protobuf_begin(out, number);

	put(out, x);
	protobuf_end(out, at);
}

static uint64_t put_event(struct buf *out, const struct loggregator *x, size_t index)
{
	const struct loggregator_metric *m;

	switch (x->kind) {
	case LOGGREGATOR_COUNTER:
		put_wrapped(out, EV_COUNTER, x, put_counter_fields);
		return TYPE_COUNTER;
	case LOGGREGATOR_GAUGE:
		if ((m = metric_at(x, index)))
			put_value(out, m);
		else
			put_container(out, x);
		return m ? TYPE_VALUE : TYPE_CONTAINER;
	case LOGGREGATOR_TIMER:
		put_wrapped(out, EV_HTTP, x, loggregator_put_http);
		return TYPE_HTTP;
	case LOGGREGATOR_ERROR: put_wrapped(out, EV_ERROR, x, put_error); return TYPE_ERROR;
	default: put_log(out, x); return TYPE_LOG; /* an event has no form of its own there */
	}
}

static void put_pair(struct buf *out, uint32_t number, struct str name, struct str value)
{
	size_t at = protobuf_begin(out, number);

	protobuf_put_bytes(out, 1, name);
	protobuf_put_bytes(out, 2, value);
	protobuf_end(out, at);
}

static uint32_t envelope_field(struct str name)
{
	static const char *const names[] = {"deployment", "job", "index", "ip"};

	for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (str_eq_c(name, names[i]))
			return EV_DEPLOYMENT + i;
	return EV_TAGS;
}

void loggregator_put_envelope(struct buf *out, const struct loggregator *x, size_t index)
{
	struct str origin = STR("sawlog");

	loggregator_tag(x, STR("origin"), &origin);
	protobuf_put_bytes(out, EV_ORIGIN, origin);
	protobuf_put_number(out, EV_TIMESTAMP, (uint64_t)x->timestamp);
	protobuf_put_number(out, EV_TYPE, put_event(out, x, index));
	for (size_t i = 0; i < x->n_tags; i++) {
		const struct loggregator_pair *tag = &x->tags[i];
		uint32_t field = envelope_field(tag->name);

		if (str_eq_c(tag->name, "origin"))
			continue;
		if (field == EV_TAGS)
			put_pair(out, EV_TAGS, tag->name, tag->value);
		else
			protobuf_put_bytes(out, field, tag->value);
	}
}

/* v2. */

static void put_v2_log(struct buf *out, const struct loggregator *x)
{
	protobuf_put_bytes(out, 1, x->payload);
	if (x->err)
		protobuf_put_number(out, 2, 1);
}

static void put_v2_gauge(struct buf *out, const struct loggregator *x)
{
	for (size_t i = 0; i < x->n_metrics; i++) {
		size_t entry = protobuf_begin(out, 1), value;

		protobuf_put_bytes(out, 1, x->metrics[i].name);
		value = protobuf_begin(out, 2);
		protobuf_put_bytes(out, 1, x->metrics[i].unit);
		protobuf_put_double(out, 2, x->metrics[i].value);
		protobuf_end(out, value);
		protobuf_end(out, entry);
	}
}

static void put_v2_timer(struct buf *out, const struct loggregator *x)
{
	protobuf_put_bytes(out, 1, x->name);
	protobuf_put_number(out, 2, (uint64_t)x->start_ns);
	protobuf_put_number(out, 3, (uint64_t)x->stop_ns);
}

static void put_v2_event(struct buf *out, const struct loggregator *x)
{
	protobuf_put_bytes(out, 1, x->name);
	protobuf_put_bytes(out, 2, x->payload);
}

void loggregator_put_v2(struct buf *out, const struct loggregator *x)
{
	protobuf_put_number(out, V2_TIMESTAMP, (uint64_t)x->timestamp);
	protobuf_put_bytes(out, V2_SOURCE_ID, x->source_id);
	switch (x->kind) {
	case LOGGREGATOR_LOG:
	case LOGGREGATOR_ERROR: put_wrapped(out, V2_LOG, x, put_v2_log); break;
	case LOGGREGATOR_COUNTER: put_wrapped(out, V2_COUNTER, x, put_counter_fields); break;
	case LOGGREGATOR_GAUGE: put_wrapped(out, V2_GAUGE, x, put_v2_gauge); break;
	case LOGGREGATOR_TIMER: put_wrapped(out, V2_TIMER, x, put_v2_timer); break;
	case LOGGREGATOR_EVENT: put_wrapped(out, V2_EVENT, x, put_v2_event); break;
	}
	protobuf_put_bytes(out, V2_INSTANCE_ID, x->instance_id);
	if (x->source_type.n)
		put_pair(out, V2_TAGS, STR("source_type"), x->source_type);
	for (size_t i = 0; i < x->n_tags; i++)
		put_pair(out, V2_TAGS, x->tags[i].name, x->tags[i].value);
}

/* Multipart.  Clients of 2014 know no headers of a part. */

void loggregator_put_part(struct buf *out, const char *boundary, const struct str *body)
{
	buf_c(out, "--");
	buf_c(out, boundary);
	if (body) {
		buf_c(out, "\r\n\r\n");
		buf_str(out, *body);
	} else {
		buf_c(out, "--");
	}
	buf_c(out, "\r\n");
}
