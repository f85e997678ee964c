/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protojson of v2 (protobuf.dev, "ProtoJSON Format"), with the names of the
 * .proto file and all fields told: 64 bit integers as texts, bytes in base64,
 * and numbers that JSON has not as texts too.
 */
#include "proto/loggregator_core.h"

#include <inttypes.h>
#include <math.h>

#include "codec/codec.h"

static void put_name(struct buf *out, const char *name)
{
	if (out->p[out->n - 1] != '{')
		buf_char(out, ',');
	buf_json(out, str_c(name));
	buf_char(out, ':');
}

static void put_text(struct buf *out, const char *name, struct str value)
{
	put_name(out, name);
	buf_json(out, value);
}

static void put_signed(struct buf *out, const char *name, int64_t v)
{
	put_name(out, name);
	buf_printf(out, "\"%" PRId64 "\"", v);
}

static void put_number(struct buf *out, const char *name, uint64_t v)
{
	put_name(out, name);
	buf_printf(out, "\"%" PRIu64 "\"", v);
}

static void put_double(struct buf *out, double v)
{
	const char *quote = isfinite(v) ? "" : "\"";

	buf_c(out, quote);
	loggregator_put_double(out, v);
	buf_c(out, quote);
}

static void put_pair(struct buf *out, size_t i, struct str name, struct str value)
{
	if (i)
		buf_char(out, ',');
	buf_json(out, name);
	buf_char(out, ':');
	buf_json(out, value);
}

/* Of a name that is there twice the last counts, as in the map that the client makes of it. */
static void put_tags(struct buf *out, const struct loggregator *x)
{
	size_t n = 0;

	put_name(out, "tags");
	buf_char(out, '{');
	if (x->source_type.n)
		put_pair(out, n++, STR("source_type"), x->source_type);
	for (size_t i = 0; i < x->n_tags; i++) {
		struct str last = x->tags[i].value;

		loggregator_tag(x, x->tags[i].name, &last);
		if (last.p == x->tags[i].value.p)
			put_pair(out, n++, x->tags[i].name, x->tags[i].value);
	}
	buf_char(out, '}');
}

static void put_log(struct buf *out, const struct loggregator *x)
{
	put_name(out, "payload");
	buf_char(out, '"');
	base64_put(out, x->payload);
	buf_c(out, "\"");
	put_text(out, "type", x->err ? STR("ERR") : STR("OUT"));
}

static void put_gauge(struct buf *out, const struct loggregator *x)
{
	put_name(out, "metrics");
	buf_char(out, '{');
	for (size_t i = 0; i < x->n_metrics; i++) {
		if (i)
			buf_char(out, ',');
		buf_json(out, x->metrics[i].name);
		buf_c(out, ":{\"unit\":");
		buf_json(out, x->metrics[i].unit);
		buf_c(out, ",\"value\":");
		put_double(out, x->metrics[i].value);
		buf_char(out, '}');
	}
	buf_char(out, '}');
}

static void put_event(struct buf *out, const struct loggregator *x)
{
	static const char *const names[] = {"log", "counter", "gauge", "timer", "event", "log"};

	put_name(out, names[x->kind]);
	buf_char(out, '{');
	switch (x->kind) {
	case LOGGREGATOR_LOG:
	case LOGGREGATOR_ERROR: put_log(out, x); break;
	case LOGGREGATOR_COUNTER:
		put_text(out, "name", x->name);
		put_number(out, "delta", x->delta);
		put_number(out, "total", x->total);
		break;
	case LOGGREGATOR_GAUGE: put_gauge(out, x); break;
	case LOGGREGATOR_TIMER:
		put_text(out, "name", x->name);
		put_signed(out, "start", x->start_ns);
		put_signed(out, "stop", x->stop_ns);
		break;
	case LOGGREGATOR_EVENT:
		put_text(out, "title", x->name);
		put_text(out, "body", x->payload);
		break;
	}
	buf_char(out, '}');
}

void loggregator_put_json(struct buf *out, const struct loggregator *x)
{
	buf_char(out, '{');
	put_signed(out, "timestamp", x->timestamp);
	put_text(out, "source_id", x->source_id);
	put_text(out, "instance_id", x->instance_id);
	put_name(out, "deprecated_tags");
	buf_c(out, "{}");
	put_tags(out, x);
	put_event(out, x);
	buf_char(out, '}');
}
