/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a record is to Loggregator's clients: one of the input `loggregator` is
 * the message that it was, and one of any other input a log.
 */
#include "proto/loggregator_core.h"

#include <math.h>

#include "record/severity.h"

static double read_double(struct str s)
{
	double v = 0;

	if (str_double(s, &v))
		return v;
	if (str_eq_c(s, "Infinity"))
		return INFINITY;
	return str_eq_c(s, "-Infinity") ? -INFINITY : (double)NAN;
}

static enum loggregator_kind kind_of(struct str event)
{
	for (int k = LOGGREGATOR_COUNTER; k <= LOGGREGATOR_ERROR; k++)
		if (str_eq_c(event, loggregator_events[k]))
			return (enum loggregator_kind)k;
	return LOGGREGATOR_LOG;
}

/* "APP/PROC/WEB/0" without the parts in the metadata: the last one is the instance when it is a
 * number. */
static void split_source(struct loggregator *x, struct str source)
{
	size_t at = source.n;

	while (at > 0 && source.p[at - 1] >= '0' && source.p[at - 1] <= '9')
		at--;
	if (at > 1 && at < source.n && source.p[at - 1] == '/') {
		x->source_type = str_sub(source, 0, at - 1);
		x->instance_id = str_sub(source, at, source.n);
	} else {
		x->source_type = source;
	}
}

/* Labels; *source is for when the metadata does not say it.  True: of an input of ours. */
static bool from_labels(struct loggregator *x, struct str labels, struct str *source)
{
	struct str service = STR(""), input = STR("");
	struct label l;

	labels_start(&labels);
	while (labels_next(&labels, &l)) {
		if (str_eq_c(l.name, "app"))
			x->source_id = l.value;
		else if (str_eq_c(l.name, "source"))
			*source = l.value;
		else if (str_eq_c(l.name, "event"))
			x->kind = kind_of(l.value);
		else if (str_eq_c(l.name, "service_name"))
			service = l.value;
		else if (str_eq_c(l.name, "input"))
			input = l.value;
		else
			loggregator_add_tag(x, l.name, l.value);
	}
	if (x->source_id.n == 0)
		x->source_id = service;
	return str_eq_c(input, "loggregator");
}

static struct loggregator_metric *metric_of(struct loggregator *x, struct str name)
{
	for (size_t i = 0; i < x->n_metrics; i++)
		if (str_eq(x->metrics[i].name, name))
			return &x->metrics[i];
	if (x->n_metrics == LOGGREGATOR_METRICS_MAX)
		return NULL;
	x->metrics[x->n_metrics] = (struct loggregator_metric){.name = name, .unit = STR("")};
	return &x->metrics[x->n_metrics++];
}

static bool from_gauge(struct loggregator *x, const struct label *l)
{
	static const struct str metric = STR_INIT("metric_"), unit = STR_INIT("unit_");
	struct loggregator_metric *m;

	if (str_starts(l->name, metric)) {
		if ((m = metric_of(x, str_sub(l->name, metric.n, l->name.n))))
			m->value = read_double(l->value);
		return true;
	}
	if (str_starts(l->name, unit)) {
		if ((m = metric_of(x, str_sub(l->name, unit.n, l->name.n))))
			m->unit = l->value;
		return true;
	}
	return false;
}

/* One of the fields that the kind of event has; false when it is none. */
static bool from_event(struct loggregator *x, const struct label *l)
{
	int64_t code;

	switch (x->kind) {
	case LOGGREGATOR_COUNTER:
		if (str_eq_c(l->name, "name"))
			x->name = l->value;
		else
			return (str_eq_c(l->name, "delta") && str_u64(l->value, &x->delta)) ||
			       (str_eq_c(l->name, "total") && str_u64(l->value, &x->total));
		return true;
	case LOGGREGATOR_GAUGE: return from_gauge(x, l);
	case LOGGREGATOR_TIMER:
		if (str_eq_c(l->name, "name"))
			x->name = l->value;
		else
			return (str_eq_c(l->name, "start") && str_i64(l->value, &x->start_ns)) ||
			       (str_eq_c(l->name, "stop") && str_i64(l->value, &x->stop_ns));
		return true;
	case LOGGREGATOR_EVENT:
		if (str_eq_c(l->name, "title"))
			x->name = l->value;
		return str_eq_c(l->name, "title");
	case LOGGREGATOR_ERROR:
		if (str_eq_c(l->name, "name"))
			x->name = l->value;
		else if (str_eq_c(l->name, "code") && str_i64(l->value, &code))
			x->code = (int32_t)code;
		else
			return false;
		return true;
	default: return false;
	}
}

/* What may come from any input.  *told: OUT or ERR was said. */
static bool from_common(struct loggregator *x, const struct label *l, bool *told)
{
	if (str_eq_c(l->name, "source_type")) {
		x->source_type = l->value;
	} else if (str_eq_c(l->name, "instance_id")) {
		x->instance_id = l->value;
	} else if (str_eq_c(l->name, "message_type")) {
		x->err = str_eq_c(l->value, "ERR");
		*told = true;
	} else if (str_eq_c(l->name, "stream") &&
		   (str_eq_c(l->value, "stderr") || str_eq_c(l->value, "stdout"))) {
		x->err = str_eq_c(l->value, "stderr");
		*told = true;
		return false; /* a tag as well */
	} else {
		/* URLs of drains hold passwords. */
		return str_eq_c(l->name, LOGGREGATOR_DRAIN_URLS) || str_eq_c(l->name, "omitted");
	}
	return true;
}

/* What was said of the message, not by it. */
static bool is_beside(const struct label *l)
{
	return str_eq_c(l->name, "peer") || str_eq_c(l->name, "certificate") ||
	       str_eq_c(l->name, "truncated_from");
}

static bool from_meta(struct loggregator *x, struct str meta, bool ours)
{
	static const struct str tag = STR_INIT("tag_");
	bool told = false;
	struct label l;

	labels_start(&meta);
	while (labels_next(&meta, &l)) {
		if (from_common(x, &l, &told) || (ours && (is_beside(&l) || from_event(x, &l))))
			continue;
		if (ours && str_starts(l.name, tag))
			l.name = str_sub(l.name, tag.n, l.name.n);
		loggregator_add_tag(x, l.name, l.value);
	}
	return told;
}

/* The line of an event is "title: body". */
static struct str body_of(struct str line, struct str title)
{
	if (title.n && str_starts(line, title) &&
		str_starts(str_sub(line, title.n, line.n), STR(": ")))
		return str_sub(line, title.n + 2, line.n);
	return line;
}

void loggregator_of(struct loggregator *out, int64_t timestamp, struct str labels, struct str meta,
	struct str line, uint8_t severity)
{
	struct str source = STR("");
	bool ours, told;

	loggregator_clear(out);
	out->timestamp = timestamp;
	ours = from_labels(out, labels, &source);
	if (!ours)
		out->kind = LOGGREGATOR_LOG;
	told = from_meta(out, meta, ours);
	if (out->source_type.n == 0 && out->instance_id.n == 0)
		split_source(out, source);
	else if (out->source_type.n == 0)
		out->source_type = source;
	if (!told)
		out->err = out->kind == LOGGREGATOR_ERROR || severity >= SEV_ERROR;
	if (out->kind == LOGGREGATOR_LOG || out->kind == LOGGREGATOR_ERROR)
		out->payload = line;
	else if (out->kind == LOGGREGATOR_EVENT)
		out->payload = body_of(line, out->name);
}
