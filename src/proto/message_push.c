/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pushes of Loki's and requests of OpenTelemetry's.  Their readers make batches,
 * so a batch of the body's own is made, and told record by record once all of
 * it was good.
 */
#include "base/memory.h"
#include "codec/codec.h"
#include "codec/protobuf.h"
#include "proto/lokipush.h"
#include "proto/message_core.h"
#include "proto/otlp.h"

enum { RECORD_BYTES = 100 /* that a record takes in a batch and its builder, texts apart */ };

typedef int push_reader(struct message_decoder *d, const struct push_options *o,
	struct batch_builder *into, struct push_report *report, struct error *e);

static int tell_batch(struct message_decoder *d, const struct batch *b)
{
	int code = 0;

	for (size_t i = 0; i < batch_count(b) && code == 0; i++) {
		struct message_record r = {.record = batch_record(b, i)};

		r.labels = batch_stream(b, r.record.stream);
		if (!labels_get(r.labels, STR("service_name"), &r.app) ||
			str_eq(r.app, STR("unknown_service")))
			r.app = STR_NONE;
		r.record.stream = 0;
		d->n_told++;
		code = d->each(d->arg, &r);
	}
	return code;
}

static int tell_push(struct message_decoder *d, push_reader *read, struct error *e)
{
	struct push_options o = {.discover.level = d->o.detect_level,
		.observed_ns = d->m->observed_ns,
		.max_line = d->o.max_line};
	struct batch_builder *builder =
		batch_builder_new(STR("message"), STR("message"), o.observed_ns);
	struct push_report report = {0};
	struct batch *b;
	int r = read(d, &o, builder, &report, e);

	if (r == 0 && report.first.code < 0) {
		if (e)
			*e = report.first;
		r = report.first.code;
	}
	if (r == 0) {
		b = batch_builder_finish(builder, 0);
		r = tell_batch(d, b);
		batch_unref(b);
	}
	batch_builder_free(builder);
	return r;
}

/* What a batch of n_records takes while it is made of so many bytes. */
static int charge(const struct message_decoder *d, uint64_t *charged, size_t n_records,
	size_t n_bytes, struct error *e)
{
	uint64_t n = n_records < BATCH_RECORDS_MAX ? n_records : BATCH_RECORDS_MAX;

	n = RECORD_BYTES * n + (uint64_t)n_bytes * 5 / 2;
	if (d->o.account && account_charge(d->o.account, n) < 0)
		return error_set(e, ERR_BUSY, "no memory to decode this message now");
	*charged += n;
	return 0;
}

static void discharge(const struct message_decoder *d, uint64_t charged)
{
	if (d->o.account && charged)
		account_release(d->o.account, charged);
}

static int read_loki_json(struct message_decoder *d, const struct push_options *o,
	struct batch_builder *into, struct push_report *report, struct error *e)
{
	return lokipush_json(d->parser, d->body, o, into, report, e);
}

static int read_loki_protobuf(struct message_decoder *d, const struct push_options *o,
	struct batch_builder *into, struct push_report *report, struct error *e)
{
	uint64_t charged = 0;
	size_t n;
	int r;

	if ((r = lokipush_protobuf_check(d->body, &n, e)) < 0 ||
		(r = charge(d, &charged, n, d->body.n, e)) < 0)
		return r;
	lokipush_protobuf(d->body, o, into, report);
	discharge(d, charged);
	return 0;
}

static int read_otlp(struct message_decoder *d, const struct push_options *o,
	struct batch_builder *into, struct push_report *report, struct error *e)
{
	bool json = str_starts(str_trim(d->body), STR("{"));
	struct str request = d->body;
	struct buf made = {0};
	uint64_t charged = 0;
	size_t n;
	int r = 0;

	if (json) {
		if ((r = charge(d, &charged, 0, d->body.n, e)) == 0)
			r = otlp_from_json(d->parser, d->body, &made, e);
	} else if (d->body.n && d->body.p[0] != 0x0a) {
		/* Fields that nobody knows could be read as well. */
		r = error_set(e, ERR_ARG, "this is no ExportLogsServiceRequest");
	}
	if (json)
		request = buf_view(&made);
	if (r == 0 && (r = otlp_check(request, &n, e)) == 0 &&
		(r = charge(d, &charged, n, request.n, e)) == 0)
		otlp_add(request, o, into, report);
	discharge(d, charged);
	buf_fini(&made);
	return r;
}

/* As JSON when it begins so.  A push in protobuf begins with the field of its first stream, and a
 * snappy block that begins with that byte would be too short to hold one. */
int message_loki(struct message_decoder *d, struct error *e)
{
	struct buf plain = {0};
	int r;

	if (d->body.n == 0)
		return error_set(e, ERR_ARG, "the body is empty");
	if (str_starts(str_trim(d->body), STR("{")))
		return tell_push(d, read_loki_json, e);
	if (d->body.p[0] != 0x0a) {
		if ((r = snappy_unpack(&plain, d->body, d->o.max_body, e)) < 0) {
			buf_fini(&plain);
			return error_wrap(e, r, "expected a push of Loki's in JSON or protobuf");
		}
		buf_fini(&d->inflated); /* it may be what was unpacked */
		d->inflated = plain;
		d->body = buf_view(&plain);
	}
	return tell_push(d, read_loki_protobuf, e);
}

int message_otlp(struct message_decoder *d, struct error *e)
{
	return tell_push(d, read_otlp, e);
}

/* Loki's first stream begins with its labels, "{…"; no field of a resource can be that byte. */
static bool is_loki_protobuf(struct str body)
{
	struct protobuf_field f;

	if (body.n == 0 || body.p[0] != 0x0a)
		return body.n > 0; /* a snappy block */
	return protobuf_next(&body, &f) > 0 && protobuf_next(&f.bytes, &f) > 0 &&
	       protobuf_is(&f, 1, PROTOBUF_BYTES) && str_starts(f.bytes, STR("{"));
}

int message_protobuf(struct message_decoder *d, struct error *e)
{
	return is_loki_protobuf(d->body) ? message_loki(d, e) : message_otlp(d, e);
}

/* Text that begins with a newline is hardly ever a message with entries to its last byte. */
bool message_looks_like_protobuf(struct str body)
{
	size_t n = 0;

	if (body.n == 0 || body.p[0] != 0x0a)
		return false;
	return (is_loki_protobuf(body) ? lokipush_protobuf_check(body, &n, NULL)
				       : otlp_check(body, &n, NULL)) == 0 &&
	       n > 0;
}
