/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a message is in the store, and back.
 *
 * What is measured is metadata (delta, metric_cpu, start), so that a query uses
 * it without reading the line, and so that it comes back exactly; the line is
 * for people.  A tag has its own name as metadata, unless that would hide a
 * label or a field of ours: then "tag_" stands in front of it, as in front of
 * a name that begins with "tag_".  So every tag comes back under its name.
 */
#include "proto/loggregator_core.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/rune.h"
#include "record/severity.h"

const char *const loggregator_forms[] = {"auto", "2013", "dropsonde", NULL};
const char *const loggregator_events[] = {"", "counter", "gauge", "timer", "event", "error"};
const char *const loggregator_short_names[SOURCE_END] = {[SOURCE_CLOUD_CONTROLLER] = "API",
	[SOURCE_ROUTER] = "RTR",
	[SOURCE_UAA] = "UAA",
	[SOURCE_DEA] = "DEA",
	[SOURCE_WARDEN] = "App"};
const struct container_metric loggregator_container[N_CONTAINER] = {
	{STR_INIT("cpu"), STR_INIT("percentage")}, {STR_INIT("memory"), STR_INIT("bytes")},
	{STR_INIT("disk"), STR_INIT("bytes")}, {STR_INIT("memory_quota"), STR_INIT("bytes")},
	{STR_INIT("disk_quota"), STR_INIT("bytes")}};

enum {
	SOURCE_MAX = 255,                     /* bytes of a label's value */
	PAIRS_MAX = LABELS_MAX,               /* of metadata */
	NUMBERS_MAX = LOGGREGATOR_METRICS_MAX /* texts of numbers; see struct pairs */
};

bool loggregator_tag(const struct loggregator *x, struct str name, struct str *value)
{
	for (size_t i = x->n_tags; i-- > 0;) {
		if (str_eq(x->tags[i].name, name)) {
			*value = x->tags[i].value;
			return true;
		}
	}
	return false;
}

void loggregator_add_tag(struct loggregator *x, struct str name, struct str value)
{
	if (x->n_tags < LOGGREGATOR_TAGS_MAX)
		x->tags[x->n_tags++] = (struct loggregator_pair){name, value};
	else
		x->n_omitted++;
}

void loggregator_add_metric(struct loggregator *x, struct str name, struct str unit, double value)
{
	if (x->n_metrics < LOGGREGATOR_METRICS_MAX)
		x->metrics[x->n_metrics++] = (struct loggregator_metric){name, unit, value};
	else
		x->n_omitted++;
}

/* Text. */

static int double_text(char out[32], double v)
{
	int n = 0;

	if (isnan(v) || isinf(v))
		return snprintf(out, 32, "%s", isnan(v) ? "NaN" : v < 0 ? "-Infinity" : "Infinity");
	for (int digits = 15; digits <= 17; digits++) {
		n = snprintf(out, 32, "%.*g", digits, v);
		if (strtod(out, NULL) == v)
			break;
	}
	return n;
}

void loggregator_put_double(struct buf *out, double v)
{
	char text[32];

	buf_put(out, text, (size_t)double_text(text, v));
}

static double read_double(struct str s)
{
	double v = 0;

	if (str_double(s, &v))
		return v;
	if (str_eq_c(s, "Infinity"))
		return INFINITY;
	return str_eq_c(s, "-Infinity") ? -INFINITY : (double)NAN;
}

/* A value of logfmt: in quotes where it would not stand alone. */
static void put_value(struct buf *out, struct str s)
{
	bool alone = s.n > 0;

	for (size_t i = 0; i < s.n && alone; i++)
		alone = (unsigned char)s.p[i] > ' ' && s.p[i] != '"' && s.p[i] != '=';
	if (alone)
		buf_str(out, s);
	else
		buf_json(out, s);
}

static void put_pair(struct buf *out, struct str name, struct str value)
{
	if (out->n)
		buf_char(out, ' ');
	buf_str(out, name);
	buf_char(out, '=');
	put_value(out, value);
}

static void put_gauge(struct buf *out, const struct loggregator *x)
{
	char text[32];

	for (size_t i = 0; i < x->n_metrics; i++) {
		int n = double_text(text, x->metrics[i].value);

		put_pair(out, x->metrics[i].name, str_make(text, (size_t)n));
	}
}

static void put_timer(struct buf *out, const struct loggregator *x)
{
	static const struct str more[] = {
		STR_INIT("method"), STR_INIT("uri"), STR_INIT("status_code")};
	struct str value;
	int64_t took;

	put_pair(out, STR("name"), x->name);
	/* Of a peer's own numbers: the difference may be any. */
	if (__builtin_sub_overflow(x->stop_ns, x->start_ns, &took))
		took = 0;
	buf_printf(out, " duration=%.6gms", (double)took / 1e6);
	for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
		if (loggregator_tag(x, more[i], &value))
			put_pair(out, more[i], value);
}

static void put_line(struct buf *line, const struct loggregator *x)
{
	switch (x->kind) {
	case LOGGREGATOR_LOG:
	case LOGGREGATOR_ERROR: buf_str(line, x->payload); break;
	case LOGGREGATOR_COUNTER:
		put_pair(line, STR("name"), x->name);
		buf_printf(line, " delta=%" PRIu64 " total=%" PRIu64, x->delta, x->total);
		break;
	case LOGGREGATOR_GAUGE: put_gauge(line, x); break;
	case LOGGREGATOR_TIMER: put_timer(line, x); break;
	case LOGGREGATOR_EVENT:
		buf_str(line, x->name);
		if (x->name.n)
			buf_c(line, ": ");
		buf_str(line, x->payload);
		break;
	}
}

void loggregator_put_text(struct buf *out, const struct loggregator *x)
{
	struct buf text = {0};

	put_line(&text, x);
	buf_str(out, buf_view(&text));
	buf_fini(&text);
}

/* Metadata: collected, then sorted. */

struct pairs {
	struct {
		struct str prefix, name, value; /* of metadata: prefix and name together */
	} all[PAIRS_MAX];
	size_t n, omitted;
	char numbers[NUMBERS_MAX][32]; /* what values may be views of */
	size_t n_numbers;
};

static void add(struct pairs *p, struct str prefix, struct str name, struct str value)
{
	if (value.n == 0)
		return;
	/* One place is kept for telling how many had none. */
	if (p->n == PAIRS_MAX - 1 || prefix.n + name.n > LABEL_NAME_MAX || prefix.n + name.n == 0) {
		p->omitted++;
		return;
	}
	p->all[p->n].prefix = prefix;
	p->all[p->n].name = name;
	p->all[p->n++].value = rune_fit(value, LABEL_VALUE_MAX);
}

static void add_double(struct pairs *p, struct str prefix, struct str name, double v)
{
	char *text = p->numbers[p->n_numbers++];

	add(p, prefix, name, str_make(text, (size_t)double_text(text, v)));
}

static void add_number(struct pairs *p, const char *name, bool negative, uint64_t v)
{
	char *text = p->numbers[p->n_numbers++];
	int n = snprintf(text, sizeof p->numbers[0], "%s%" PRIu64, negative ? "-" : "", v);

	add(p, STR(""), str_c(name), str_make(text, (size_t)n));
}

static void add_signed(struct pairs *p, const char *name, int64_t v)
{
	add_number(p, name, v < 0, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

/* Names that tags may not have: those of labels, which they would hide, and of our own fields. */
static bool is_taken(enum loggregator_kind kind, struct str name)
{
	static const struct str always[] = {STR_INIT("app"), STR_INIT("source"), STR_INIT("event"),
		STR_INIT("input"), STR_INIT("host"), STR_INIT("service_name"),
		STR_INIT("source_type"), STR_INIT("instance_id"), STR_INIT("message_type"),
		STR_INIT(LOGGREGATOR_DRAIN_URLS), STR_INIT("omitted"), STR_INIT("peer"),
		STR_INIT("certificate"), STR_INIT("truncated_from")};
	static const char *const own[LOGGREGATOR_ERROR + 1][4] = {
		[LOGGREGATOR_COUNTER] = {"name", "delta", "total"},
		[LOGGREGATOR_TIMER] = {"name", "start", "stop"},
		[LOGGREGATOR_EVENT] = {"title"},
		[LOGGREGATOR_ERROR] = {"name", "code"}};

	for (size_t i = 0; i < sizeof always / sizeof always[0]; i++)
		if (str_eq(name, always[i]))
			return true;
	for (size_t i = 0; i < 4 && own[kind][i]; i++)
		if (str_eq_c(name, own[kind][i]))
			return true;
	if (kind == LOGGREGATOR_GAUGE &&
		(str_starts(name, STR("metric_")) || str_starts(name, STR("unit_"))))
		return true;
	return str_starts(name, STR("tag_"));
}

static void add_event(struct pairs *p, const struct loggregator *x)
{
	struct str none = STR("");

	switch (x->kind) {
	case LOGGREGATOR_LOG:
		add(p, none, STR("message_type"), x->err ? STR("ERR") : STR("OUT"));
		break;
	case LOGGREGATOR_COUNTER:
		add(p, none, STR("name"), x->name);
		add_number(p, "delta", false, x->delta);
		add_number(p, "total", false, x->total);
		break;
	case LOGGREGATOR_GAUGE:
		for (size_t i = 0; i < x->n_metrics; i++) {
			const struct loggregator_metric *m = &x->metrics[i];
			add_double(p, STR("metric_"), m->name, m->value);
			add(p, STR("unit_"), m->name, m->unit);
		}
		break;
	case LOGGREGATOR_TIMER:
		add(p, none, STR("name"), x->name);
		add_signed(p, "start", x->start_ns);
		add_signed(p, "stop", x->stop_ns);
		break;
	case LOGGREGATOR_EVENT: add(p, none, STR("title"), x->name); break;
	case LOGGREGATOR_ERROR:
		add(p, none, STR("name"), x->name);
		add_signed(p, "code", x->code);
		break;
	}
}

static char char_at(const struct pairs *p, size_t i, size_t at)
{
	size_t n = p->all[i].prefix.n;

	return at < n ? p->all[i].prefix.p[at] : p->all[i].name.p[at - n];
}

static int compare(const struct pairs *p, size_t a, size_t b)
{
	size_t na = p->all[a].prefix.n + p->all[a].name.n;
	size_t nb = p->all[b].prefix.n + p->all[b].name.n;

	if (p->all[a].prefix.n + p->all[b].prefix.n == 0)
		return str_cmp(p->all[a].name, p->all[b].name);
	for (size_t i = 0; i < na && i < nb; i++) {
		unsigned char ca = (unsigned char)char_at(p, a, i);
		unsigned char cb = (unsigned char)char_at(p, b, i);
		if (ca != cb)
			return ca < cb ? -1 : 1;
	}
	return na < nb ? -1 : na > nb;
}

/* Sort by name; of several the last wins.  They are few, and what a sender repeats comes in the
 * same order, so they are put in one by one. */
static size_t sort(const struct pairs *p, uint8_t order[PAIRS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++) {
		size_t at = n;
		int c = 1;

		while (at > 0 && (c = compare(p, i, order[at - 1])) < 0)
			at--;
		if (at > 0 && c == 0) {
			order[at - 1] = (uint8_t)i;
			continue;
		}
		memmove(order + at + 1, order + at, n - at);
		order[at] = (uint8_t)i;
		n++;
	}
	return n;
}

static void put_length(struct buf *out, size_t n)
{
	for (; n >= 0x80; n >>= 7)
		buf_char(out, (char)(n | 0x80));
	buf_char(out, (char)n);
}

static void write_pairs(struct buf *meta, const struct pairs *p)
{
	uint8_t order[PAIRS_MAX];
	size_t n = sort(p, order);

	buf_clear(meta);
	if (n == 0)
		return;
	put_length(meta, n);
	for (size_t i = 0; i < n; i++) {
		size_t k = order[i];

		put_length(meta, p->all[k].prefix.n + p->all[k].name.n);
		buf_str(meta, p->all[k].prefix);
		buf_str(meta, p->all[k].name);
		put_length(meta, p->all[k].value.n);
		buf_str(meta, p->all[k].value);
	}
}

static void write_meta(
	const struct loggregator *x, const struct loggregator_beside *beside, struct buf *meta)
{
	struct str none = STR("");
	struct pairs p;

	p.n = p.omitted = p.n_numbers = 0;
	add(&p, none, STR("instance_id"), x->instance_id);
	add(&p, none, STR("source_type"), x->source_type);
	add(&p, none, STR(LOGGREGATOR_DRAIN_URLS), beside->drain_urls);
	add(&p, none, STR("peer"), beside->peer);
	add(&p, none, STR("certificate"), beside->certificate);
	add(&p, none, STR("truncated_from"), beside->truncated_from);
	add_event(&p, x);
	for (size_t i = 0; i < x->n_tags; i++)
		add(&p, is_taken(x->kind, x->tags[i].name) ? STR("tag_") : none, x->tags[i].name,
			x->tags[i].value);
	if (x->n_omitted + p.omitted) {
		char text[24];
		int n = snprintf(text, sizeof text, "%zu", x->n_omitted + p.omitted);
		p.all[p.n].prefix = none;
		p.all[p.n].name = STR("omitted");
		p.all[p.n++].value = str_make(text, (size_t)n);
		write_pairs(meta, &p);
		return;
	}
	write_pairs(meta, &p);
}

/* "APP/PROC/WEB/0": upper case but for 2013, whose clients show it as it is. */
static void name_source(const struct loggregator *x, struct loggregator_parts *parts)
{
	struct buf *text = &parts->source_text;

	buf_clear(text);
	if (x->source_type.n) {
		buf_str(text, x->source_type);
		for (size_t i = 0; i < text->n && !x->of_2013; i++)
			if (text->p[i] >= 'a' && text->p[i] <= 'z')
				text->p[i] = (char)(text->p[i] - 'a' + 'A');
		if (x->instance_id.n) {
			buf_char(text, '/');
			buf_str(text, x->instance_id);
		}
	}
	parts->source = rune_fit(buf_view(text), SOURCE_MAX);
}

void loggregator_record(const struct loggregator *x, const struct loggregator_beside *beside,
	struct loggregator_parts *parts, struct buf *line, struct buf *meta, struct record *r)
{
	*r = (struct record){.timestamp = x->timestamp};
	parts->app = rune_fit(x->source_id, SOURCE_MAX);
	parts->event = str_c(loggregator_events[x->kind]);
	name_source(x, parts);
	write_meta(x, beside, meta);
	r->meta = buf_view(meta);
	if (x->kind == LOGGREGATOR_LOG || x->kind == LOGGREGATOR_ERROR) {
		r->body = x->payload; /* as it is: no copy */
		return;
	}
	buf_clear(line);
	put_line(line, x);
	r->body = buf_view(line);
}

void loggregator_drain_urls(const struct loggregator *x, struct buf *out)
{
	size_t begun = out->n;

	for (size_t i = 0; i < x->n_drains; i++) {
		struct str url = x->drains[i];
		bool fine = url.n > 0;

		for (size_t j = 0; j < url.n && fine; j++)
			fine = (unsigned char)url.p[j] > ' ' && url.p[j] != 0x7f;
		if (!fine)
			continue;
		if (out->n > begun)
			buf_char(out, ' ');
		buf_str(out, url);
	}
	if (out->n == begun)
		buf_c(out, LOGGREGATOR_NO_DRAINS);
}

/* Back. */

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
