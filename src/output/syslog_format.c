/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  Two ways into one message: what came from Loggregator, or shall look
 * as if it did, goes through proto/loggregator.h, which knows what a record of
 * any input is to Loggregator's clients; RFC 5424 takes the labels and metadata
 * that the input `syslog` makes, so that a message that came in by it goes out
 * as it was.
 */
#include "output/syslog_format.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/codec.h"
#include "codec/rune.h"
#include "output/line_format.h"
#include "proto/loggregator.h"
#include "proto/syslog.h"
#include "query/number.h"
#include "record/civil.h"
#include "record/labels.h"
#include "record/severity.h"

enum {
	HOSTNAME_FIELD = 255, /* RFC 5424, section 6 */
	APPNAME_FIELD = 48,
	PROCID_FIELD = 128,
	MSGID_FIELD = 32,
	SD_NAME = 32,
	HOST_PART = 63, /* of a host's name, RFC 1035 */
	FACILITY_USER = 1,
	N_FACILITIES = 24,
	PRI_OUT = 14, /* user.info */
	PRI_ERR = 11, /* user.err */
};

struct syslog_format {
	const struct syslog_format_settings *s;
	const char *host;
	bool line_end;
	struct line_format *hostname; /* NULL: none is set */
	/* Of the record. */
	struct buf text, field;
	size_t ends[LOGGREGATOR_METRICS_MAX];
	size_t n;
	struct loggregator x;
	struct buf own, other; /* labels, see split_labels */
};

const char *const syslog_shapes[] = {
	"rfc5424", "loggregator", "loggregator-2016", "loggregator-2014", "loggregator-2013", NULL};

/* Fields. */

/* Printable ASCII without blanks; other bytes become '-', or are left out at the ends. */
static void put_field(struct buf *out, struct str s, size_t max)
{
	s = str_sub(str_trim(s), 0, max);
	if (s.n == 0) {
		buf_char(out, '-');
		return;
	}
	for (size_t i = 0; i < s.n; i++)
		buf_char(out, s.p[i] > ' ' && s.p[i] < 127 ? s.p[i] : '-');
}

/* One label of a host's name: letters, digits and inner hyphens. */
static void put_host_part(struct buf *out, struct str s)
{
	size_t from = out->n;

	for (size_t i = 0; i < s.n && out->n - from < HOST_PART; i++) {
		char c = s.p[i];

		if (is_alpha(c) || is_digit(c))
			buf_char(out, c);
		else if ((c == ' ' || c == '-' || c == '_') && out->n > from)
			buf_char(out, '-');
	}
	while (out->n > from && out->p[out->n - 1] == '-')
		out->n--;
}

static void put_time(struct buf *out, int64_t ns, enum syslog_shape shape)
{
	struct civil t = civil_of(ns, 0);
	const char *zone = shape == SHAPE_RFC5424 ? "Z" : "+00:00";
	int micros = t.nanos / 1000, digits = 6;

	buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d", t.year, t.month, t.day, t.hour, t.minute,
		t.second);
	if (shape == SHAPE_LOGGREGATOR_2013 || shape == SHAPE_LOGGREGATOR_2014)
		micros = digits = 0;
	/* Go's .999999 drops zeros at the end. */
	while (shape == SHAPE_LOGGREGATOR_2016 && digits > 0 && micros % 10 == 0) {
		micros /= 10;
		digits--;
	}
	if (digits)
		buf_printf(out, ".%0*d", digits, micros);
	buf_c(out, zone);
}

static void put_sd_value(struct buf *out, struct str s)
{
	while (s.n > 0) {
		size_t valid = str_utf8_valid(s);

		for (size_t i = 0; i < valid; i++) {
			unsigned char c = (unsigned char)s.p[i];

			if (c == '"' || c == '\\' || c == ']')
				buf_char(out, '\\');
			buf_char(out, c < ' ' || c == 127 ? ' ' : (char)c);
		}
		s = str_sub(s, valid, s.n);
		if (s.n > 0)
			buf_char(out, '?');
		s = str_sub(s, 1, s.n);
	}
}

static void put_sd_param(struct buf *out, struct str name, struct str value)
{
	buf_char(out, ' ');
	for (size_t i = 0; i < name.n && i < SD_NAME; i++) {
		char c = name.p[i];

		buf_char(out, c > ' ' && c < 127 && !strchr("=]\"", c) ? c : '_');
	}
	buf_c(out, "=\"");
	put_sd_value(out, value);
	buf_char(out, '"');
}

static void put_text(struct syslog_format *f, struct str s, bool line_end)
{
	struct buf *out = &f->text;

	if (line_end)
		while (s.n > 0 && s.p[s.n - 1] == '\n')
			s.n--;
	if (f->s->max_message > 0 && s.n > f->s->max_message)
		s = rune_fit(s, f->s->max_message);
	while (s.p) {
		struct str piece = str_cut(&s, '\0');

		buf_str(out, piece);
	}
	if (line_end)
		buf_char(out, '\n');
}

static void end_message(struct syslog_format *f)
{
	assert(f->n < sizeof f->ends / sizeof *f->ends);
	f->ends[f->n++] = f->text.n;
}

/* Of the setting; false without one, or when it makes nothing of this record. */
static bool put_set_hostname(struct syslog_format *f, const struct output_record *r)
{
	if (!f->hostname)
		return false;
	buf_clear(&f->field);
	line_format_put(f->hostname, r, &f->field);
	if (str_trim(buf_view(&f->field)).n == 0)
		return false;
	put_field(&f->text, buf_view(&f->field), HOSTNAME_FIELD);
	return true;
}

/* RFC 5424. */

static unsigned facility_of(struct str word)
{
	for (unsigned i = 0; word.n > 0 && i < N_FACILITIES; i++)
		if (str_eq_c(word, syslog_facility((int)i * 8)))
			return i;
	return FACILITY_USER;
}

/* As it came by syslog, else what is nearest to the number. */
static unsigned severity_of(struct str word, uint8_t severity)
{
	static const char *const words[] = {
		"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"};

	for (unsigned i = 0; word.n > 0 && i < 8; i++)
		if (str_eq_c(word, words[i]))
			return i;
	if (severity == SEV_UNKNOWN)
		return 6;
	if (severity >= SEV_FATAL)
		return severity == 24 ? 1 : 2;
	if (severity >= SEV_ERROR)
		return 3;
	if (severity >= SEV_WARN)
		return 4;
	if (severity >= SEV_INFO)
		return severity > SEV_INFO ? 5 : 6;
	return 7;
}

static struct str label_of(const struct output_record *r, struct str name)
{
	struct str value = STR_NONE;

	labels_get(r->labels, name, &value);
	return value;
}

/* The first of the names that the record has. */
static struct str first_of(const struct output_record *r, const struct str *names, size_t n)
{
	struct str value = STR_NONE;

	for (size_t i = 0; i < n && value.n == 0; i++)
		value = label_of(r, names[i]);
	return value;
}

/* They stand in the header. */
static bool in_header(struct str name)
{
	static const struct str names[] = {STR_INIT("facility"), STR_INIT("severity"),
		STR_INIT("detected_level"), STR_INIT("host"), STR_INIT("app"), STR_INIT("pid"),
		STR_INIT("msgid"), STR_INIT("service_name")};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq(name, names[i]))
			return true;
	return false;
}

static void put_labels(struct syslog_format *f, const struct output_record *r)
{
	struct str at = r->labels;
	struct label l;
	bool any = false;

	if (f->s->tags && at.n) {
		labels_start(&at);
		while (labels_next(&at, &l)) {
			if (in_header(l.name))
				continue;
			if (!any)
				buf_c(&f->text, "[tags@47450");
			any = true;
			put_sd_param(&f->text, l.name, l.value);
		}
	}
	buf_c(&f->text, any ? "]" : "-");
}

static void make_rfc5424(struct syslog_format *f, const struct output_record *r)
{
	static const struct str hosts[] = {STR_INIT("hostname"), STR_INIT("host")};
	static const struct str apps[] = {
		STR_INIT("appname"), STR_INIT("app"), STR_INIT("service_name"), STR_INIT("logger")};
	static const struct str pids[] = {
		STR_INIT("pid"), STR_INIT("procid"), STR_INIT("process"), STR_INIT("source")};
	struct buf *out = &f->text;
	struct str host = first_of(r, hosts, 2);

	buf_printf(out, "<%u>1 ",
		facility_of(label_of(r, STR("facility"))) * 8 +
			severity_of(label_of(r, STR("severity")), r->severity));
	put_time(out, r->timestamp, SHAPE_RFC5424);
	buf_char(out, ' ');
	if (!put_set_hostname(f, r))
		put_field(out, host.n ? host : str_c(f->host), HOSTNAME_FIELD);
	buf_char(out, ' ');
	put_field(out, first_of(r, apps, 4), APPNAME_FIELD);
	buf_char(out, ' ');
	put_field(out, first_of(r, pids, 4), PROCID_FIELD);
	buf_char(out, ' ');
	put_field(out, label_of(r, STR("msgid")), MSGID_FIELD);
	buf_char(out, ' ');
	put_labels(f, r);
	buf_char(out, ' ');
	put_text(f, r->line, f->line_end);
	end_message(f);
}

/* Loggregator. */

/* "org.space.app" when the tags tell them. */
static void put_loggregator_host(struct syslog_format *f, const struct output_record *r)
{
	static const struct str names[] = {
		STR_INIT("organization_name"), STR_INIT("space_name"), STR_INIT("app_name")};
	size_t from = f->text.n;

	if (put_set_hostname(f, r))
		return;
	for (size_t i = 0; i < 3; i++) {
		struct str tag = STR_NONE;
		size_t before;

		if (i > 0)
			buf_char(&f->text, '.');
		before = f->text.n;
		loggregator_tag(&f->x, names[i], &tag);
		put_host_part(&f->text, tag);
		if (f->text.n == before) {
			f->text.n = from;
			put_field(&f->text, str_c(f->host), HOSTNAME_FIELD);
			return;
		}
	}
}

/* "[APP/PROC/WEB/0]", "[RTR]"; a metric's is "[0]". */
static void put_process(struct syslog_format *f, enum syslog_shape shape)
{
	const struct loggregator *x = &f->x;
	bool app = str_starts(x->source_type, STR("APP")) || str_starts(x->source_type, STR("App"));
	bool old = shape == SHAPE_LOGGREGATOR_2013 || shape == SHAPE_LOGGREGATOR_2014;
	struct str type = old && app ? STR("App") : x->source_type;
	struct buf *b = &f->field;

	buf_clear(b);
	for (size_t i = 0; i < type.n; i++) {
		char c = type.p[i] == ' ' ? '-' : type.p[i];

		buf_char(b, !old && c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c);
	}
	if (shape == SHAPE_LOGGREGATOR_2013) {
		put_field(&f->text, buf_view(b), PROCID_FIELD);
		return;
	}
	/* In 2014 only applications had a number. */
	if (x->instance_id.n > 0 && (shape != SHAPE_LOGGREGATOR_2014 || app)) {
		if (b->n > 0)
			buf_char(b, '/');
		buf_str(b, x->instance_id);
	}
	if (b->n == 0) {
		buf_char(&f->text, '-');
		return;
	}
	buf_char(&f->text, '[');
	put_field(&f->text, buf_view(b), PROCID_FIELD - 2);
	buf_char(&f->text, ']');
}

static int by_name(const void *a, const void *b)
{
	return str_cmp(((const struct loggregator_pair *)a)->name,
		((const struct loggregator_pair *)b)->name);
}

static void put_tags(struct syslog_format *f)
{
	struct loggregator *x = &f->x;

	if (!f->s->tags || x->n_tags == 0)
		return;
	qsort(x->tags, x->n_tags, sizeof *x->tags, by_name);
	buf_c(&f->text, "[tags@47450");
	for (size_t i = 0; i < x->n_tags; i++)
		put_sd_param(&f->text, x->tags[i].name, x->tags[i].value);
	buf_char(&f->text, ']');
}

static void put_head(
	struct syslog_format *f, const struct output_record *r, enum syslog_shape shape)
{
	struct buf *out = &f->text;

	buf_printf(out, "<%d>1 ", f->x.kind == LOGGREGATOR_LOG && f->x.err ? PRI_ERR : PRI_OUT);
	put_time(out, r->timestamp, shape);
	buf_char(out, ' ');
	if (shape == SHAPE_LOGGREGATOR)
		put_loggregator_host(f, r);
	else
		buf_c(out, "loggregator");
	buf_char(out, ' ');
	put_field(out, f->x.source_id, APPNAME_FIELD);
	buf_char(out, ' ');
	if (f->x.kind != LOGGREGATOR_LOG)
		f->x.source_type = STR_NONE;
	put_process(f, shape);
	buf_c(out, " - ");
}

static struct str number_text(uint64_t value, char out[64])
{
	return str_make(out, (size_t)snprintf(out, 64, "%" PRIu64, value));
}

static void make_gauge(struct syslog_format *f, const struct output_record *r)
{
	for (size_t i = 0; i < f->x.n_metrics; i++) {
		const struct loggregator_metric *m = &f->x.metrics[i];

		put_head(f, r, SHAPE_LOGGREGATOR);
		buf_clear(&f->field);
		number_put_g(&f->field, m->value);
		buf_c(&f->text, "[gauge@47450");
		put_sd_param(&f->text, STR("name"), m->name);
		put_sd_param(&f->text, STR("value"), buf_view(&f->field));
		put_sd_param(&f->text, STR("unit"), m->unit);
		buf_char(&f->text, ']');
		put_tags(f);
		buf_c(&f->text, " \n");
		end_message(f);
	}
}

static void put_pair(struct syslog_format *f, const char *id, const struct str names[],
	const struct str values[], size_t n)
{
	buf_printf(&f->text, "[%s@47450", id);
	for (size_t i = 0; i < n; i++)
		put_sd_param(&f->text, names[i], values[i]);
	buf_char(&f->text, ']');
}

/* A counter, timer or event. */
static void make_metric(struct syslog_format *f, const struct output_record *r)
{
	static const struct str counter[] = {
		STR_INIT("name"), STR_INIT("total"), STR_INIT("delta")};
	static const struct str timer[] = {STR_INIT("name"), STR_INIT("start"), STR_INIT("stop")};
	static const struct str event[] = {STR_INIT("title"), STR_INIT("body")};
	const struct loggregator *x = &f->x;
	char a[64], b[64];

	put_head(f, r, SHAPE_LOGGREGATOR);
	if (x->kind == LOGGREGATOR_COUNTER)
		put_pair(f, "counter", counter,
			(struct str[]){x->name, number_text(x->total, a), number_text(x->delta, b)},
			3);
	else if (x->kind == LOGGREGATOR_TIMER)
		put_pair(f, "timer", timer,
			(struct str[]){x->name, number_text((uint64_t)x->start_ns, a),
				number_text((uint64_t)x->stop_ns, b)},
			3);
	else
		put_pair(f, "event", event, (struct str[]){x->name, x->payload}, 2);
	put_tags(f);
	buf_c(&f->text, " \n");
	end_message(f);
}

static void make_log(
	struct syslog_format *f, const struct output_record *r, enum syslog_shape shape)
{
	put_head(f, r, shape);
	if (shape == SHAPE_LOGGREGATOR && f->s->tags && f->x.n_tags > 0)
		put_tags(f);
	else
		buf_char(&f->text, '-');
	buf_char(&f->text, ' ');
	put_text(f, f->x.kind == LOGGREGATOR_LOG ? f->x.payload : r->line, true);
	end_message(f);
}

/* An output gets labels and metadata as one set; what Loggregator knows as labels is told from the
 * rest by its names. */
static void split_labels(struct syslog_format *f, struct str labels)
{
	static const struct str names[] = {STR_INIT("app"), STR_INIT("event"), STR_INIT("input"),
		STR_INIT("service_name"), STR_INIT("source")};
	struct str at = labels, before;
	size_t n_own = 0, n;
	struct label l;

	buf_clear(&f->own);
	buf_clear(&f->other);
	buf_clear(&f->field);
	n = labels.n ? labels_start(&at) : 0;
	for (size_t i = 0; i < n; i++) {
		bool own = false;

		before = at;
		labels_next(&at, &l);
		for (size_t k = 0; k < sizeof names / sizeof *names; k++)
			own = own || str_eq(l.name, names[k]);
		n_own += own;
		buf_put(own ? &f->own : &f->field, before.p, before.n - at.n);
	}
	varint_put(&f->other, n - n_own);
	buf_str(&f->other, buf_view(&f->field));
	buf_clear(&f->field);
	varint_put(&f->field, n_own);
	buf_str(&f->field, buf_view(&f->own));
	buf_clear(&f->own);
	buf_str(&f->own, buf_view(&f->field));
}

static void make_loggregator(struct syslog_format *f, const struct output_record *r)
{
	enum syslog_shape shape = (enum syslog_shape)f->s->shape;

	split_labels(f, r->labels);
	loggregator_of(
		&f->x, r->timestamp, buf_view(&f->own), buf_view(&f->other), r->line, r->severity);
	/* Today's drains have it among the tags as well. */
	if (f->x.source_type.n > 0 && f->x.n_tags < LOGGREGATOR_TAGS_MAX)
		f->x.tags[f->x.n_tags++] =
			(struct loggregator_pair){STR("source_type"), f->x.source_type};
	if (shape != SHAPE_LOGGREGATOR || f->x.kind == LOGGREGATOR_LOG ||
		f->x.kind == LOGGREGATOR_ERROR)
		make_log(f, r, shape);
	else if (f->x.kind == LOGGREGATOR_GAUGE && f->x.n_metrics > 0)
		make_gauge(f, r);
	else if (f->x.kind == LOGGREGATOR_GAUGE)
		make_log(f, r, shape);
	else
		make_metric(f, r);
}

/* The calls. */

static struct line_settings template_of(const char *text)
{
	return (struct line_settings){
		.format = text, .style = LINE_TEMPLATE, .breaks = LINE_RAW, .plain = true};
}

int syslog_format_check_hostname(struct str text, struct error *e)
{
	char *copy = str_dup(text);
	struct line_settings s = template_of(copy);
	int r = line_settings_check(&s, e);

	free(copy);
	return r;
}

int syslog_format_new(struct syslog_format **out, const struct syslog_format_settings *s,
	const char *host, bool line_end, struct error *e)
{
	struct syslog_format *f = xcalloc(1, sizeof *f);
	int r = 0;

	f->s = s;
	f->host = host;
	f->line_end = line_end;
	if (s->hostname) {
		struct line_settings template = template_of(s->hostname);

		r = line_format_new(&f->hostname, &template, e);
	}
	if (r < 0) {
		syslog_format_free(f);
		return error_wrap(e, r, "hostname");
	}
	*out = f;
	return 0;
}

void syslog_format_free(struct syslog_format *f)
{
	if (!f)
		return;
	line_format_free(f->hostname);
	buf_fini(&f->text);
	buf_fini(&f->field);
	buf_fini(&f->own);
	buf_fini(&f->other);
	free(f);
}

size_t syslog_format_make(struct syslog_format *f, const struct output_record *r)
{
	buf_clear(&f->text);
	f->n = 0;
	if (f->s->shape == SHAPE_RFC5424)
		make_rfc5424(f, r);
	else
		make_loggregator(f, r);
	return f->n;
}

struct str syslog_format_message(const struct syslog_format *f, size_t i)
{
	size_t from = i ? f->ends[i - 1] : 0;

	assert(i < f->n);
	return str_sub(buf_view(&f->text), from, f->ends[i]);
}
