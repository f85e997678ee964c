/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two passes, as for a push of Loki's: the first looks whether all of it can be
 * read and how deep it goes, so that the second may recurse and need not ask.
 *
 *   ExportLogsServiceRequest { repeated ResourceLogs resource_logs = 1; }
 *   ResourceLogs { Resource resource = 1; repeated ScopeLogs scope_logs = 2; }
 *   Resource     { repeated KeyValue attributes = 1; }
 *   ScopeLogs    { InstrumentationScope scope = 1; repeated LogRecord log_records = 2; }
 *   InstrumentationScope { string name = 1; string version = 2;
 *                  repeated KeyValue attributes = 3; uint32 dropped_attributes_count = 4; }
 *   LogRecord    { fixed64 time_unix_nano = 1; int32 severity_number = 2;
 *                  string severity_text = 3; AnyValue body = 5;
 *                  repeated KeyValue attributes = 6; uint32 dropped_attributes_count = 7;
 *                  fixed32 flags = 8; bytes trace_id = 9; bytes span_id = 10;
 *                  fixed64 observed_time_unix_nano = 11; string event_name = 12; }
 *   KeyValue     { string key = 1; AnyValue value = 2; }
 *   AnyValue     { oneof: string = 1; bool = 2; int64 = 3; double = 4; ArrayValue = 5;
 *                  KeyValueList = 6; bytes = 7; }
 *   ArrayValue   { repeated AnyValue values = 1; }
 *   KeyValueList { repeated KeyValue values = 1; }
 *
 * Attributes of the resource and the scope are walked anew for each record:
 * they are few, and what a record has of them may be refused on its own.  A
 * request that would make much of little that way is refused.
 */
#include "proto/otlp.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/codec.h"
#include "codec/protobuf.h"
#include "codec/rune.h"
#include "proto/entries.h"
#include "proto/meta_name.h"

enum { REQUEST_RESOURCE_LOGS = 1 };
enum { RESOURCE_LOGS_RESOURCE = 1, RESOURCE_LOGS_SCOPE_LOGS = 2 };
enum { RESOURCE_ATTRIBUTES = 1 };
enum { SCOPE_LOGS_SCOPE = 1, SCOPE_LOGS_RECORDS = 2 };
enum { SCOPE_NAME = 1, SCOPE_VERSION = 2, SCOPE_ATTRIBUTES = 3, SCOPE_DROPPED = 4 };
enum {
	LOG_TIME = 1,
	LOG_SEVERITY_NUMBER = 2,
	LOG_SEVERITY_TEXT = 3,
	LOG_BODY = 5,
	LOG_ATTRIBUTES = 6,
	LOG_DROPPED = 7,
	LOG_FLAGS = 8,
	LOG_TRACE_ID = 9,
	LOG_SPAN_ID = 10,
	LOG_OBSERVED = 11,
	LOG_EVENT_NAME = 12,
};
enum { KEY_VALUE_KEY = 1, KEY_VALUE_VALUE = 2 };
enum {
	ANY_NONE = 0,
	ANY_STRING = 1,
	ANY_BOOL = 2,
	ANY_INT = 3,
	ANY_DOUBLE = 4,
	ANY_ARRAY = 5,
	ANY_LIST = 6,
	ANY_BYTES = 7,
};
enum { VALUES = 1 /* of ArrayValue and KeyValueList */ };

/* ---- first pass ---- */

enum kind {
	NOTHING,
	REQUEST,
	RESOURCE_LOGS,
	RESOURCE,
	SCOPE_LOGS,
	SCOPE,
	LOG_RECORD,
	KEY_VALUE,
	ANY,
	ARRAY,
	LIST,
	N_KINDS
};

enum { FIELDS = 8 };

/* The message that a field of bytes holds. */
static const uint8_t inside[N_KINDS][FIELDS] = {
	[REQUEST] = {[REQUEST_RESOURCE_LOGS] = RESOURCE_LOGS},
	[RESOURCE_LOGS] =
		{[RESOURCE_LOGS_RESOURCE] = RESOURCE, [RESOURCE_LOGS_SCOPE_LOGS] = SCOPE_LOGS},
	[RESOURCE] = {[RESOURCE_ATTRIBUTES] = KEY_VALUE},
	[SCOPE_LOGS] = {[SCOPE_LOGS_SCOPE] = SCOPE, [SCOPE_LOGS_RECORDS] = LOG_RECORD},
	[SCOPE] = {[SCOPE_ATTRIBUTES] = KEY_VALUE},
	[LOG_RECORD] = {[LOG_BODY] = ANY, [LOG_ATTRIBUTES] = KEY_VALUE},
	[KEY_VALUE] = {[KEY_VALUE_VALUE] = ANY},
	[ANY] = {[ANY_ARRAY] = ARRAY, [ANY_LIST] = LIST},
	[ARRAY] = {[VALUES] = ANY},
	[LIST] = {[VALUES] = KEY_VALUE},
};

struct check {
	size_t n_records;
	const char *bad; /* where it could not be read */
	bool too_deep;
};

static bool check(struct check *c, struct str message, enum kind kind, int depth)
{
	struct protobuf_field f;
	int r;

	c->n_records += kind == LOG_RECORD;
	depth += kind == ANY;
	for (;;) {
		enum kind child;

		c->bad = message.p;
		if ((r = protobuf_next(&message, &f)) <= 0)
			return r == 0;
		if (f.wire != PROTOBUF_BYTES || f.number >= FIELDS ||
			(child = inside[kind][f.number]) == NOTHING)
			continue;
		if (child == ANY && depth == OTLP_DEPTH_MAX) {
			c->too_deep = true;
			return false;
		}
		if (!check(c, f.bytes, child, depth))
			return false;
	}
}

/* ---- what a request takes ---- */

/* The resource of ResourceLogs, or the scope of ScopeLogs: field 1 of both. */
static struct str head_of(struct str message)
{
	struct str head = STR_NONE;
	struct protobuf_field f;

	while (protobuf_next(&message, &f) > 0)
		if (protobuf_is(&f, 1, PROTOBUF_BYTES))
			head = f.bytes;
	return head;
}

static uint64_t work_of_scope(struct str message, size_t n_resource)
{
	size_t n = n_resource + head_of(message).n;
	struct protobuf_field f;
	uint64_t work = 0;

	while (protobuf_next(&message, &f) > 0)
		if (protobuf_is(&f, SCOPE_LOGS_RECORDS, PROTOBUF_BYTES))
			work += n;
	return work;
}

/* Bytes of resources and scopes that are walked for all records. */
static uint64_t work_of(struct str body)
{
	struct protobuf_field f, g;
	uint64_t work = 0;

	while (protobuf_next(&body, &f) > 0) {
		size_t n;

		if (!protobuf_is(&f, REQUEST_RESOURCE_LOGS, PROTOBUF_BYTES))
			continue;
		n = head_of(f.bytes).n;
		while (protobuf_next(&f.bytes, &g) > 0)
			if (protobuf_is(&g, RESOURCE_LOGS_SCOPE_LOGS, PROTOBUF_BYTES))
				work += work_of_scope(g.bytes, n);
	}
	return work;
}

static uint64_t work_max(struct str body)
{
	uint64_t most = (uint64_t)body.n * 64;

	return most < OTLP_WORK_MIN ? OTLP_WORK_MIN : most > OTLP_WORK_MAX ? OTLP_WORK_MAX : most;
}

int otlp_check(struct str body, size_t *n_records, struct error *e)
{
	struct check c = {0};
	bool good = check(&c, body, REQUEST, 0);

	*n_records = c.n_records;
	if (good && work_of(body) > work_max(body))
		return error_set(e, ERR_LIMIT,
			"attributes of resources and scopes, for each of %zu records, are more than "
			"%llu bytes: send fewer records at once",
			c.n_records, (unsigned long long)work_max(body));
	if (good)
		return 0;
	if (c.too_deep)
		return error_set(e, ERR_ARG, "values are nested deeper than %d at byte %zu",
			OTLP_DEPTH_MAX, (size_t)(c.bad - body.p));
	return error_set(e, ERR_ARG,
		"bad protobuf at byte %zu: this is no ExportLogsServiceRequest",
		(size_t)(c.bad - body.p));
}

/* ---- values: of a request that was checked ---- */

struct any {
	uint32_t kind; /* the field's number, ANY_NONE when it is empty */
	uint64_t number;
	struct str bytes;
};

static struct any read_any(struct str message)
{
	struct any any = {ANY_NONE, 0, STR_NONE};
	struct protobuf_field f;

	while (protobuf_next(&message, &f) > 0) {
		enum protobuf_wire wire = f.number == ANY_DOUBLE ? PROTOBUF_FIXED64
					  : f.number == ANY_BOOL || f.number == ANY_INT
						  ? PROTOBUF_VARINT
						  : PROTOBUF_BYTES;

		if (f.number >= ANY_STRING && f.number <= ANY_BYTES && f.wire == wire)
			any = (struct any){f.number, f.value, f.bytes};
	}
	return any;
}

static void read_key_value(struct str message, struct str *key, struct any *value)
{
	struct str any = STR_NONE;
	struct protobuf_field f;

	*key = STR_NONE;
	while (protobuf_next(&message, &f) > 0) {
		if (protobuf_is(&f, KEY_VALUE_KEY, PROTOBUF_BYTES))
			*key = f.bytes;
		else if (protobuf_is(&f, KEY_VALUE_VALUE, PROTOBUF_BYTES))
			any = f.bytes;
	}
	*value = read_any(any);
}

/* The fewest digits that are read as the same number. */
static void put_double(struct buf *out, uint64_t bits)
{
	char text[32];
	double v;

	memcpy(&v, &bits, sizeof v);
	if (isnan(v)) {
		buf_c(out, "NaN");
		return;
	}
	if (isinf(v)) {
		buf_c(out, v < 0 ? "-Infinity" : "Infinity");
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			break;
	}
	buf_c(out, text);
}

/* Of a scalar. */
static void put_text(struct buf *out, const struct any *any)
{
	switch (any->kind) {
	case ANY_STRING: buf_str(out, any->bytes); break;
	case ANY_BOOL: buf_c(out, any->number ? "true" : "false"); break;
	case ANY_INT: buf_printf(out, "%lld", (long long)any->number); break;
	case ANY_DOUBLE: put_double(out, any->number); break;
	case ANY_BYTES: base64_put(out, any->bytes); break;
	default: break;
	}
}

static void put_quoted(struct buf *out, const struct any *any)
{
	struct buf text = {0};

	put_text(&text, any);
	buf_json(out, buf_view(&text));
	buf_fini(&text);
}

static bool is_finite(uint64_t bits)
{
	double v;

	memcpy(&v, &bits, sizeof v);
	return isfinite(v);
}

static void put_json(struct buf *out, const struct any *any)
{
	struct str at = any->bytes, key = STR_NONE;
	bool list = any->kind == ANY_LIST, first = true;
	struct protobuf_field f;
	struct any value;

	if (any->kind == ANY_NONE) {
		buf_c(out, "null");
	} else if (any->kind == ANY_STRING || any->kind == ANY_BYTES ||
		   (any->kind == ANY_DOUBLE && !is_finite(any->number))) {
		put_quoted(out, any);
	} else if (any->kind != ANY_ARRAY && !list) {
		put_text(out, any);
	} else {
		buf_char(out, list ? '{' : '[');
		while (protobuf_next(&at, &f) > 0) {
			if (!protobuf_is(&f, VALUES, PROTOBUF_BYTES))
				continue;
			if (!first)
				buf_char(out, ',');
			first = false;
			if (list) {
				read_key_value(f.bytes, &key, &value);
				buf_json(out, key);
				buf_char(out, ':');
			} else {
				value = read_any(f.bytes);
			}
			put_json(out, &value);
		}
		buf_char(out, list ? '}' : ']');
	}
}

/* ---- second pass ---- */

struct otlp {
	struct entries entries;
	struct str resource, scope; /* messages */
	struct buf name, text;
};

/* Valid until the next. */
static struct str text_of(struct otlp *o, const struct any *any)
{
	if (any->kind == ANY_STRING)
		return any->bytes;
	buf_clear(&o->text);
	if (any->kind == ANY_ARRAY || any->kind == ANY_LIST)
		put_json(&o->text, any);
	else
		put_text(&o->text, any);
	return buf_view(&o->text);
}

/* Under the name that o->name holds; false: the record is refused. */
static bool add_value(struct otlp *o, const struct any *any)
{
	size_t before = o->name.n;
	struct str at = any->bytes, key;
	struct protobuf_field f;
	struct any value;
	bool good = true;

	if (any->kind != ANY_LIST)
		return entries_meta(&o->entries, buf_view(&o->name), text_of(o, any));
	while (good && protobuf_next(&at, &f) > 0) {
		if (!protobuf_is(&f, VALUES, PROTOBUF_BYTES))
			continue;
		read_key_value(f.bytes, &key, &value);
		buf_char(&o->name, '_');
		meta_name_put(&o->name, key);
		good = add_value(o, &value);
		o->name.n = before;
	}
	return good;
}

/* As Loki has them by default. */
static bool is_label(struct str name)
{
	static const struct str names[] = {STR_INIT("service.name"), STR_INIT("service.namespace"),
		STR_INIT("service.instance.id"), STR_INIT("deployment.environment"),
		STR_INIT("deployment.environment.name"), STR_INIT("cloud.region"),
		STR_INIT("cloud.availability_zone"), STR_INIT("k8s.cluster.name"),
		STR_INIT("k8s.namespace.name"), STR_INIT("k8s.pod.name"),
		STR_INIT("k8s.container.name"), STR_INIT("k8s.replicaset.name"),
		STR_INIT("k8s.deployment.name"), STR_INIT("k8s.statefulset.name"),
		STR_INIT("k8s.daemonset.name"), STR_INIT("k8s.cronjob.name"),
		STR_INIT("k8s.job.name"), STR_INIT("container.name")};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq(name, names[i]))
			return true;
	return false;
}

static bool as_label(struct str key, const struct any *value)
{
	return value->kind != ANY_ARRAY && value->kind != ANY_LIST && is_label(key);
}

/* The attributes that are field `number` of `message`; without those that are labels when it is
 * the resource. */
static bool add_attributes(struct otlp *o, struct str message, uint32_t number, bool resource)
{
	struct protobuf_field f;
	struct str key;
	struct any value;

	while (protobuf_next(&message, &f) > 0) {
		if (!protobuf_is(&f, number, PROTOBUF_BYTES))
			continue;
		read_key_value(f.bytes, &key, &value);
		if (resource && as_label(key, &value))
			continue;
		buf_clear(&o->name);
		meta_name_put(&o->name, key);
		if (!add_value(o, &value))
			return false;
	}
	return true;
}

static bool add_text(struct otlp *o, const char *name, struct str value)
{
	return value.n == 0 || entries_meta(&o->entries, str_c(name), value);
}

static bool add_number(struct otlp *o, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	return value == 0 || add_text(o, name, str_c(text));
}

static bool add_id(struct otlp *o, const char *name, struct str id)
{
	static const char digits[] = "0123456789abcdef";

	buf_clear(&o->text);
	for (size_t i = 0; i < id.n; i++) {
		buf_char(&o->text, digits[(unsigned char)id.p[i] >> 4]);
		buf_char(&o->text, digits[id.p[i] & 15]);
	}
	return add_text(o, name, buf_view(&o->text));
}

static bool add_scope(struct otlp *o)
{
	struct str name = STR_NONE, version = STR_NONE, message = o->scope;
	struct protobuf_field f;
	uint64_t dropped = 0;

	while (protobuf_next(&message, &f) > 0) {
		if (protobuf_is(&f, SCOPE_NAME, PROTOBUF_BYTES))
			name = f.bytes;
		else if (protobuf_is(&f, SCOPE_VERSION, PROTOBUF_BYTES))
			version = f.bytes;
		else if (protobuf_is(&f, SCOPE_DROPPED, PROTOBUF_VARINT))
			dropped = f.value;
	}
	return add_attributes(o, o->scope, SCOPE_ATTRIBUTES, false) &&
	       add_text(o, "scope_name", name) && add_text(o, "scope_version", version) &&
	       add_number(o, "scope_dropped_attributes_count", dropped);
}

struct log_record {
	uint64_t time, observed, severity, dropped, flags;
	struct str severity_text, body, trace_id, span_id, event_name;
};

static void read_bytes(const struct protobuf_field *f, struct log_record *out)
{
	switch (f->number) {
	case LOG_SEVERITY_TEXT: out->severity_text = f->bytes; break;
	case LOG_BODY: out->body = f->bytes; break;
	case LOG_TRACE_ID: out->trace_id = f->bytes; break;
	case LOG_SPAN_ID: out->span_id = f->bytes; break;
	case LOG_EVENT_NAME: out->event_name = f->bytes; break;
	default: break;
	}
}

static struct log_record read_record(struct str message)
{
	struct log_record l = {0};
	struct protobuf_field f;

	while (protobuf_next(&message, &f) > 0) {
		if (f.wire == PROTOBUF_BYTES)
			read_bytes(&f, &l);
		else if (protobuf_is(&f, LOG_TIME, PROTOBUF_FIXED64))
			l.time = f.value;
		else if (protobuf_is(&f, LOG_OBSERVED, PROTOBUF_FIXED64))
			l.observed = f.value;
		else if (protobuf_is(&f, LOG_SEVERITY_NUMBER, PROTOBUF_VARINT))
			l.severity = f.value;
		else if (protobuf_is(&f, LOG_DROPPED, PROTOBUF_VARINT))
			l.dropped = f.value;
		else if (protobuf_is(&f, LOG_FLAGS, PROTOBUF_FIXED32))
			l.flags = f.value;
	}
	return l;
}

/* What the record itself says comes last: of a name that is there twice the last counts. */
static bool add_meta(struct otlp *o, struct str message, const struct log_record *l)
{
	return add_attributes(o, o->resource, RESOURCE_ATTRIBUTES, true) && add_scope(o) &&
	       add_attributes(o, message, LOG_ATTRIBUTES, false) &&
	       add_text(o, "severity_text", l->severity_text) &&
	       add_number(o, "severity_number", l->severity) &&
	       add_id(o, "trace_id", l->trace_id) && add_id(o, "span_id", l->span_id) &&
	       add_text(o, "event_name", l->event_name) && add_number(o, "flags", l->flags) &&
	       add_number(o, "dropped_attributes_count", l->dropped) &&
	       (l->time == 0 || l->time == l->observed ||
		       add_number(o, "observed_timestamp", l->observed));
}

static void add_record(struct otlp *o, struct str message)
{
	struct entries *p = &o->entries;
	struct log_record l = read_record(message);
	uint64_t time = l.time ? l.time : l.observed;
	struct any body = read_any(l.body);

	entries_begin(p);
	if (!add_meta(o, message, &l))
		return;
	if (time > INT64_MAX) {
		entries_refuse(
			p, &p->report->n_bad_timestamp, ERR_ARG, "has a timestamp out of range");
		return;
	}
	if (l.severity <= 24)
		p->severity = (uint8_t)l.severity;
	if (time == 0) {
		p->flags = RECORD_TIME_OBSERVED;
		time = (uint64_t)p->options->observed_ns;
	}
	entries_add(p, (int64_t)time, text_of(o, &body));
}

/* ---- streams ---- */

static void add_scope_logs(struct otlp *o, struct str message)
{
	struct str at = message;
	struct protobuf_field f;

	o->scope = STR_NONE;
	while (protobuf_next(&at, &f) > 0)
		if (protobuf_is(&f, SCOPE_LOGS_SCOPE, PROTOBUF_BYTES))
			o->scope = f.bytes;
	while (protobuf_next(&message, &f) > 0) {
		if (!protobuf_is(&f, SCOPE_LOGS_RECORDS, PROTOBUF_BYTES))
			continue;
		add_record(o, f.bytes);
		o->entries.entry_i++;
	}
}

static int set_labels(struct otlp *o, struct error *e)
{
	struct labels_builder *labels = &o->entries.labels;
	struct str message = o->resource, key;
	struct protobuf_field f;
	struct any value;
	int r;

	while (protobuf_next(&message, &f) > 0) {
		if (!protobuf_is(&f, RESOURCE_ATTRIBUTES, PROTOBUF_BYTES))
			continue;
		read_key_value(f.bytes, &key, &value);
		if (!as_label(key, &value))
			continue;
		buf_clear(&o->name);
		meta_name_put(&o->name, key);
		if ((r = labels_builder_set(labels, buf_view(&o->name), text_of(o, &value), e)) < 0)
			return r;
	}
	/* As OpenTelemetry calls a resource that does not tell. */
	if (labels->n == 0)
		return labels_builder_set(labels, STR("service_name"), STR("unknown_service"), e);
	return 0;
}

/* The resource, and how many records there are. */
static size_t look_through(struct str message, struct str *resource)
{
	struct protobuf_field f, g;
	size_t n = 0;

	*resource = STR_NONE;
	while (protobuf_next(&message, &f) > 0) {
		if (protobuf_is(&f, RESOURCE_LOGS_RESOURCE, PROTOBUF_BYTES))
			*resource = f.bytes;
		if (!protobuf_is(&f, RESOURCE_LOGS_SCOPE_LOGS, PROTOBUF_BYTES))
			continue;
		while (protobuf_next(&f.bytes, &g) > 0)
			n += protobuf_is(&g, SCOPE_LOGS_RECORDS, PROTOBUF_BYTES);
	}
	return n;
}

static void add_resource_logs(struct otlp *o, struct str message)
{
	size_t n = look_through(message, &o->resource);
	struct protobuf_field f;
	struct error why;

	if (n == 0)
		return;
	entries_clear(&o->entries);
	if (set_labels(o, &why) < 0) {
		entries_bad_labels(&o->entries, STR("attributes of the resource"), &why, n);
		return;
	}
	if (!entries_stream(&o->entries, n))
		return;
	while (protobuf_next(&message, &f) > 0)
		if (protobuf_is(&f, RESOURCE_LOGS_SCOPE_LOGS, PROTOBUF_BYTES))
			add_scope_logs(o, f.bytes);
}

void otlp_add(struct str body, const struct push_options *options, struct batch_builder *into,
	struct push_report *report)
{
	struct protobuf_field f;
	struct otlp o = {0};

	entries_init(&o.entries, "logRecords", options, into, report);
	o.entries.streams = "resourceLogs";
	while (protobuf_next(&body, &f) > 0) {
		if (!protobuf_is(&f, REQUEST_RESOURCE_LOGS, PROTOBUF_BYTES))
			continue;
		add_resource_logs(&o, f.bytes);
		o.entries.stream_i++;
	}
	entries_fini(&o.entries);
	buf_fini(&o.name);
	buf_fini(&o.text);
}

enum { ROW_BYTES = 100 };

uint64_t otlp_rows_bytes(size_t n_records)
{
	return (uint64_t)ROW_BYTES *
	       (n_records < BATCH_RECORDS_MAX ? n_records : BATCH_RECORDS_MAX);
}

/* ---- the answer ---- */

enum { RESPONSE_PARTIAL_SUCCESS = 1 };
enum { PARTIAL_REJECTED = 1, PARTIAL_MESSAGE = 2 };
enum { SENTENCE_MAX = 1000 };

void otlp_put_sentence(struct buf *out, uint32_t number, struct str s)
{
	size_t begun = protobuf_begin(out, number), n;

	for (s = str_sub(s, 0, SENTENCE_MAX); s.n; s = str_sub(s, n, s.n))
		rune_put(out, rune_first(s, &n));
	protobuf_end(out, begun);
}

void otlp_put_response(struct buf *out, uint64_t n_refused, struct str why)
{
	size_t begun;

	if (n_refused == 0)
		return;
	begun = protobuf_begin(out, RESPONSE_PARTIAL_SUCCESS);
	protobuf_put_number(out, PARTIAL_REJECTED, n_refused);
	otlp_put_sentence(out, PARTIAL_MESSAGE, why);
	protobuf_end(out, begun);
}
