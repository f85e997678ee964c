/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a message is in the store.
 *
 * What is measured is metadata (delta, metric_cpu, start), so that a query uses
 * it without reading the line, and so that it comes back exactly; the line is
 * for people.  A tag has its own name as metadata, unless that would hide a
 * label or a field of ours: then "tag_" stands in front of it, as in front of
 * a name that begins with "tag_".  So every tag comes back under its name (loggregator_of.c).
 */
#include "proto/loggregator_core.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/rune.h"

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
	char omitted[24];

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
		snprintf(omitted, sizeof omitted, "%zu", x->n_omitted + p.omitted);
		p.all[p.n].prefix = none;
		p.all[p.n].name = STR("omitted");
		p.all[p.n++].value = str_c(omitted);
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
