/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes with a body: where it was sent to, properties and headers.
 *
 * Views of librabbitmq's frames, as most messages are one frame of each kind
 * and are made into records before the frames go; only what is longer is
 * copied.
 */
#include <inttypes.h>
#include <stdio.h>

#include "codec/rune.h"
#include "input/amqp_input.h"
#include "os/clock.h"

static struct str view(amqp_bytes_t b)
{
	return str_make(b.bytes, b.len);
}

void delivery_begin(struct delivery *d, const amqp_basic_deliver_t *method)
{
	d->tag = method->delivery_tag;
	d->redelivered = method->redelivered;
	d->exchange = view(method->exchange);
	d->key = view(method->routing_key);
	d->n_before = -1;
	d->size = 0;
	d->sent_ns = 0;
	d->n_headers = 0;
	d->id = d->app = d->user = d->correlation = STR_NONE;
	d->type = d->content_type = d->encoding = STR_NONE;
}

/* An integer of any width.  False: it is none. */
static bool integer(const amqp_field_value_t *v, int64_t *out)
{
	switch (v->kind) {
	case AMQP_FIELD_KIND_I8: *out = v->value.i8; return true;
	case AMQP_FIELD_KIND_U8: *out = v->value.u8; return true;
	case AMQP_FIELD_KIND_I16: *out = v->value.i16; return true;
	case AMQP_FIELD_KIND_U16: *out = v->value.u16; return true;
	case AMQP_FIELD_KIND_I32: *out = v->value.i32; return true;
	case AMQP_FIELD_KIND_U32: *out = v->value.u32; return true;
	case AMQP_FIELD_KIND_I64: *out = v->value.i64; return true;
	case AMQP_FIELD_KIND_TIMESTAMP:
	case AMQP_FIELD_KIND_U64:
		*out = v->value.u64 > INT64_MAX ? INT64_MAX : (int64_t)v->value.u64;
		return true;
	default: return false;
	}
}

/* The number is signed, whatever librabbitmq calls it. */
static void decimal(const amqp_decimal_t *d, char number[AMQP_NUMBER_MAX])
{
	double value = (int32_t)d->value;

	for (unsigned i = 0; i < d->decimals; i++)
		value /= 10;
	snprintf(number, AMQP_NUMBER_MAX, "%.15g", value);
}

/* The text of a scalar; false for tables, lists and nothing. */
static bool scalar(const amqp_field_value_t *v, char number[AMQP_NUMBER_MAX], struct str *out)
{
	int64_t i;

	if (v->kind == AMQP_FIELD_KIND_UTF8 || v->kind == AMQP_FIELD_KIND_BYTES) {
		*out = rune_fit(view(v->value.bytes), AMQP_HEADER_VALUE_MAX);
		return true;
	}
	if (v->kind == AMQP_FIELD_KIND_BOOLEAN) {
		*out = v->value.boolean ? STR("true") : STR("false");
		return true;
	}
	if (integer(v, &i))
		snprintf(number, AMQP_NUMBER_MAX, "%" PRId64, i);
	else if (v->kind == AMQP_FIELD_KIND_F32)
		snprintf(number, AMQP_NUMBER_MAX, "%.9g", (double)v->value.f32);
	else if (v->kind == AMQP_FIELD_KIND_F64)
		snprintf(number, AMQP_NUMBER_MAX, "%.17g", v->value.f64);
	else if (v->kind == AMQP_FIELD_KIND_DECIMAL)
		decimal(&v->value.decimal, number);
	else
		return false;
	*out = str_c(number);
	return true;
}

static void read_headers(struct delivery *d, const amqp_table_t *t, const char *id_header)
{
	for (int i = 0; i < t->num_entries; i++) {
		struct str name = view(t->entries[i].key), value;
		const amqp_field_value_t *v = &t->entries[i].value;

		/* A quorum queue's; in any other a publisher may have written it. */
		if (str_eq(name, STR("x-delivery-count")) && integer(v, &d->n_before)) {
			if (d->n_before > AMQP_TRIES_MAX)
				d->n_before = AMQP_TRIES_MAX;
			continue;
		}
		if (d->n_headers == AMQP_HEADERS_MAX ||
			!scalar(v, d->numbers[d->n_headers], &value) || name.n == 0)
			continue;
		if (id_header && str_eq_c(name, id_header))
			d->id = value;
		d->headers[d->n_headers].name = name;
		d->headers[d->n_headers++].value = value;
	}
}

void delivery_properties(
	struct delivery *d, const amqp_basic_properties_t *p, const char *id_header)
{
	struct str none = STR_NONE;
	amqp_flags_t f = p->_flags;

	d->id = f & AMQP_BASIC_MESSAGE_ID_FLAG ? view(p->message_id) : none;
	d->app = f & AMQP_BASIC_APP_ID_FLAG ? view(p->app_id) : none;
	d->user = f & AMQP_BASIC_USER_ID_FLAG ? view(p->user_id) : none;
	d->correlation = f & AMQP_BASIC_CORRELATION_ID_FLAG ? view(p->correlation_id) : none;
	d->type = f & AMQP_BASIC_TYPE_FLAG ? view(p->type) : none;
	d->content_type = f & AMQP_BASIC_CONTENT_TYPE_FLAG ? view(p->content_type) : none;
	d->encoding = f & AMQP_BASIC_CONTENT_ENCODING_FLAG ? view(p->content_encoding) : none;
	/* Seconds; a later one would be past what nanoseconds can tell. */
	if (f & AMQP_BASIC_TIMESTAMP_FLAG && p->timestamp < INT64_MAX / NS_PER_SEC)
		d->sent_ns = (int64_t)p->timestamp * NS_PER_SEC;
	if (f & AMQP_BASIC_HEADERS_FLAG)
		read_headers(d, &p->headers, id_header);
}

static void keep(struct str *s, struct buf *out)
{
	size_t at = out->n;

	buf_str(out, *s); /* there is room: it stays where it is */
	s->p = out->p + at;
}

void delivery_keep(struct delivery *d, struct buf *out)
{
	struct str *all[9] = {&d->exchange, &d->key, &d->id, &d->app, &d->user, &d->correlation,
		&d->type, &d->content_type, &d->encoding};
	size_t n = 1;

	for (size_t i = 0; i < 9; i++)
		n += all[i]->n;
	for (size_t i = 0; i < d->n_headers; i++)
		n += d->headers[i].name.n + d->headers[i].value.n;
	buf_clear(out);
	buf_reserve(out, n);
	for (size_t i = 0; i < 9; i++)
		keep(all[i], out);
	for (size_t i = 0; i < d->n_headers; i++) {
		keep(&d->headers[i].name, out);
		keep(&d->headers[i].value, out);
	}
}
