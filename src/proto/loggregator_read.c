/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a datagram or a batch holds.
 *
 * The three forms of a datagram differ in field 2, which each must have: bytes
 * in a LogEnvelope (the signature), 1 or 2 in a LogMessage (OUT, ERR), 4 to 9
 * in a dropsonde Envelope.  A signed dropsonde Envelope has 32 random bytes in
 * front, which now and then look like fields too: so with a secret the HMAC is
 * tried before such bytes are taken for something that is not signed.
 *
 * As the format asks, fields that are unknown or of another type are stepped
 * over, and the last one of a name counts.
 */
#include "proto/loggregator_core.h"

#include "codec/codec.h"

static const char cut_sentence[] =
	"sends what is no message of Loggregator: a field is cut, missing or malformed";

static bool is_string(const struct protobuf_field *f, uint32_t number)
{
	return protobuf_is(f, number, PROTOBUF_BYTES);
}

static bool is_number(const struct protobuf_field *f, uint32_t number)
{
	return protobuf_is(f, number, PROTOBUF_VARINT);
}

static double as_double(uint64_t bits)
{
	double v;

	memcpy(&v, &bits, sizeof v);
	return v;
}

/* An entry of a map of texts. */
static int read_pair(struct str at, struct str *name, struct str *value)
{
	struct protobuf_field f;
	int r;

	*name = *value = STR("");
	while ((r = protobuf_next(&at, &f)) > 0) {
		if (is_string(&f, 1))
			*name = f.bytes;
		else if (is_string(&f, 2))
			*value = f.bytes;
	}
	return r;
}

static int read_tag(struct loggregator *x, struct str entry)
{
	struct str name, value;
	int r = read_pair(entry, &name, &value);

	if (r == 0)
		loggregator_add_tag(x, name, value);
	return r;
}

/* 2013. */

struct message_names {
	uint64_t type, source;
	struct str name;
};

static bool names_app(const struct message_names *names)
{
	return names->source ? names->source == SOURCE_WARDEN
			     : str_eq_nocase(names->name, STR("App"));
}

static void name_source(struct loggregator *x, const struct message_names *names)
{
	const char *known =
		names->source < SOURCE_END ? loggregator_short_names[names->source] : NULL;

	x->source_type = known ? str_c(known) : names->name;
	x->from_app = x->drains_told = names_app(names);
}

static void read_message_text(
	struct loggregator *x, const struct protobuf_field *f, struct message_names *names)
{
	switch (f->number) {
	case LM_MESSAGE: x->payload = f->bytes; break;
	case LM_APP: x->source_id = f->bytes; break;
	case LM_SOURCE_ID: x->instance_id = f->bytes; break;
	case LM_SOURCE_NAME: names->name = f->bytes; break;
	case LM_DRAINS:
		if (x->n_drains < LOGGREGATOR_DRAINS_MAX)
			x->drains[x->n_drains++] = f->bytes;
		else
			x->n_omitted++;
		break;
	default: break;
	}
}

static int read_message(struct loggregator *x, struct str at)
{
	struct message_names names = {0};
	struct protobuf_field f;
	unsigned seen = 0;
	int r;

	loggregator_clear(x);
	x->of_2013 = true;
	while ((r = protobuf_next(&at, &f)) > 0) {
		if (f.number <= LM_APP)
			seen |= 1U << f.number;
		if (f.wire == PROTOBUF_BYTES)
			read_message_text(x, &f, &names);
		else if (is_number(&f, LM_TYPE))
			names.type = f.value;
		else if (is_number(&f, LM_TIMESTAMP))
			x->timestamp = unzigzag(f.value);
		else if (is_number(&f, LM_SOURCE_TYPE))
			names.source = f.value;
	}
	if (r < 0 || names.type < MESSAGE_OUT || names.type > MESSAGE_ERR ||
		!(seen & 1U << LM_MESSAGE) || x->source_id.n == 0)
		return ERR_CORRUPT;
	x->err = names.type == MESSAGE_ERR;
	name_source(x, &names);
	return 0;
}

struct log_envelope {
	struct str key, signature, message;
};

static int read_log_envelope(struct log_envelope *out, struct str at)
{
	struct protobuf_field f;
	int r;

	*out = (struct log_envelope){0};
	while ((r = protobuf_next(&at, &f)) > 0) {
		if (is_string(&f, LE_KEY))
			out->key = f.bytes;
		else if (is_string(&f, LE_SIGNATURE))
			out->signature = f.bytes;
		else if (is_string(&f, LE_MESSAGE))
			out->message = f.bytes;
	}
	return r < 0 || !out->signature.p || !out->message.p ? ERR_CORRUPT : 0;
}

/* Dropsonde. */

static int read_event_log(struct loggregator *x, struct str at)
{
	struct protobuf_field f;
	uint64_t type = 0;
	int r;

	while ((r = protobuf_next(&at, &f)) > 0) {
		if (is_string(&f, 1))
			x->payload = f.bytes;
		else if (is_number(&f, 2))
			type = f.value;
		else if (is_number(&f, 3) && f.value)
			x->timestamp = (int64_t)f.value;
		else if (is_string(&f, 4))
			x->source_id = f.bytes;
		else if (is_string(&f, 5))
			x->source_type = f.bytes;
		else if (is_string(&f, 6))
			x->instance_id = f.bytes;
	}
	x->kind = LOGGREGATOR_LOG;
	x->err = type == MESSAGE_ERR;
	return r < 0 || type < MESSAGE_OUT || type > MESSAGE_ERR ? ERR_CORRUPT : 0;
}

static int read_value(struct loggregator *x, struct str at)
{
	struct str name = STR_NONE, unit = STR_NONE;
	struct protobuf_field f;
	double value = 0;
	int r;

	while ((r = protobuf_next(&at, &f)) > 0) {
		if (is_string(&f, 1))
			name = f.bytes;
		else if (protobuf_is(&f, 2, PROTOBUF_FIXED64))
			value = as_double(f.value);
		else if (is_string(&f, 3))
			unit = f.bytes;
	}
	x->kind = LOGGREGATOR_GAUGE;
	loggregator_add_metric(x, name, unit, value);
	return r;
}

/* Of both generations: their fields are numbered alike. */
static int read_counter(struct loggregator *x, struct str at)
{
	struct protobuf_field f;
	int r;

	while ((r = protobuf_next(&at, &f)) > 0) {
		if (is_string(&f, 1))
			x->name = f.bytes;
		else if (is_number(&f, 2))
			x->delta = f.value;
		else if (is_number(&f, 3))
			x->total = f.value;
	}
	x->kind = LOGGREGATOR_COUNTER;
	return r;
}

static int read_error(struct loggregator *x, struct str at)
{
	struct protobuf_field f;
	int r;

	while ((r = protobuf_next(&at, &f)) > 0) {
		if (is_string(&f, 1))
			x->name = f.bytes;
		else if (is_number(&f, 2))
			x->code = (int32_t)f.value;
		else if (is_string(&f, 3))
			x->payload = f.bytes;
	}
	x->kind = LOGGREGATOR_ERROR;
	x->err = true;
	return r;
}

static int read_container(struct loggregator *x, struct str at, struct arena *scratch)
{
	struct protobuf_field f;
	int r;

	x->kind = LOGGREGATOR_GAUGE;
	while ((r = protobuf_next(&at, &f)) > 0) {
		size_t i = f.number - CONTAINER_FIELD;
		const struct container_metric *m = &loggregator_container[i % N_CONTAINER];

		if (is_string(&f, 1))
			x->source_id = f.bytes;
		else if (is_number(&f, 2))
			x->instance_id = str_c(arena_printf(scratch, "%d", (int)(int32_t)f.value));
		else if (f.number >= CONTAINER_FIELD && i < N_CONTAINER)
			loggregator_add_metric(x, m->name, m->unit,
				f.wire == PROTOBUF_FIXED64 ? as_double(f.value) : (double)f.value);
	}
	return r;
}

static int read_event(struct loggregator *x, uint64_t type, struct str event, struct arena *scratch)
{
	switch (type) {
	case TYPE_HTTP: return loggregator_read_http(x, event, scratch);
	case TYPE_LOG: return read_event_log(x, event);
	case TYPE_VALUE: return read_value(x, event);
	case TYPE_COUNTER: return read_counter(x, event);
	case TYPE_ERROR: return read_error(x, event);
	case TYPE_CONTAINER: return read_container(x, event, scratch);
	default: return ERR_CORRUPT;
	}
}

static const struct str *envelope_tag(uint32_t number)
{
	static const struct str names[] = {
		STR_INIT("deployment"), STR_INIT("job"), STR_INIT("index"), STR_INIT("ip")};
	static const struct str origin = STR_INIT("origin");

	if (number == EV_ORIGIN)
		return &origin;
	return number >= EV_DEPLOYMENT && number <= EV_IP ? &names[number - EV_DEPLOYMENT] : NULL;
}

static int read_envelope(struct loggregator *x, struct str at, struct arena *scratch)
{
	struct str events[TYPE_CONTAINER + 1] = {{0}}, origin = STR_NONE;
	const struct str *name;
	struct protobuf_field f;
	uint64_t type = 0;
	int r;

	loggregator_clear(x);
	while ((r = protobuf_next(&at, &f)) > 0) {
		if (is_number(&f, EV_TYPE))
			type = f.value;
		else if (is_number(&f, EV_TIMESTAMP))
			x->timestamp = (int64_t)f.value;
		if (f.wire != PROTOBUF_BYTES)
			continue;
		if (f.number >= EV_HTTP && f.number <= EV_CONTAINER)
			events[f.number - TYPE_TO_FIELD] = f.bytes;
		else if (f.number == EV_TAGS && read_tag(x, f.bytes) < 0)
			return ERR_CORRUPT;
		else if ((name = envelope_tag(f.number)) && f.bytes.n)
			loggregator_add_tag(x, *name, f.bytes);
		if (f.number == EV_ORIGIN)
			origin = f.bytes;
	}
	if (r < 0 || type < TYPE_HTTP || type > TYPE_CONTAINER || !events[type].p || !origin.p ||
		read_event(x, type, events[type], scratch) < 0)
		return ERR_CORRUPT;
	if (x->source_id.n == 0)
		x->source_id = origin;
	return 0;
}

/* A datagram of either. */

static int refuse(const char **reason, const char *word, int code, struct error *e, const char *why)
{
	*reason = word;
	return error_set(e, code, "%s", why);
}

static int decode_signed(struct loggregator *out, struct str datagram, int form,
	const struct loggregator_secret *secret, struct arena *scratch)
{
	struct log_envelope le;

	if (form != LOGGREGATOR_DROPSONDE && read_log_envelope(&le, datagram) == 0 &&
		read_message(out, le.message) == 0 &&
		loggregator_verify_2013(le.signature, out->payload, secret))
		return 0;
	if (form != LOGGREGATOR_2013 && loggregator_verify_dropsonde(datagram, secret))
		return read_envelope(out, str_sub(datagram, SIGN_DIGEST, datagram.n), scratch);
	return ERR_DENIED;
}

/* Without a look at signatures, which there may be all the same; *is_signed says so. */
static int decode_unsigned(struct loggregator *out, struct str datagram, int form,
	struct arena *scratch, bool *is_signed)
{
	struct log_envelope le;

	*is_signed = false;
	if (form != LOGGREGATOR_DROPSONDE) {
		if (read_message(out, datagram) == 0)
			return 0;
		*is_signed = read_log_envelope(&le, datagram) == 0;
		if (*is_signed && read_message(out, le.message) == 0)
			return 0;
	}
	if (form == LOGGREGATOR_2013)
		return ERR_CORRUPT;
	*is_signed = false;
	if (read_envelope(out, datagram, scratch) == 0)
		return 0;
	*is_signed = true;
	return datagram.n > SIGN_DIGEST
		       ? read_envelope(out, str_sub(datagram, SIGN_DIGEST, datagram.n), scratch)
		       : ERR_CORRUPT;
}

int loggregator_decode(struct loggregator *out, struct str datagram, int form,
	const struct loggregator_secret *secret, struct arena *scratch, const char **reason,
	struct error *e)
{
	bool is_signed;
	int r;

	if (datagram.n > LOGGREGATOR_DATAGRAM_MAX)
		return refuse(
			reason, "too_long", ERR_LIMIT, e, "sends what is longer than a datagram");
	if (secret->given) {
		if ((r = decode_signed(out, datagram, form, secret, scratch)) == 0)
			return 0;
		if (r == ERR_CORRUPT)
			return refuse(reason, "malformed", r, e, cut_sentence);
	}
	if (decode_unsigned(out, datagram, form, scratch, &is_signed) < 0)
		return refuse(reason, "malformed", ERR_CORRUPT, e, cut_sentence);
	if (!secret->given)
		return 0;
	if (is_signed)
		return refuse(reason, "signature", ERR_DENIED, e,
			"sends a signature that is not of our secret");
	if (secret->required)
		return refuse(reason, "unsigned", ERR_DENIED, e,
			"sends messages without a signature, which are not taken while there is a "
			"secret, unless require_signature is false");
	return 0;
}

struct str loggregator_signature(struct str datagram)
{
	struct log_envelope le;

	return read_log_envelope(&le, datagram) == 0 && le.signature.n == SIGN_2013 ? le.signature
										    : STR("");
}

/* v2. */

static int read_log(struct loggregator *x, struct str at)
{
	struct protobuf_field f;
	int r;

	while ((r = protobuf_next(&at, &f)) > 0) {
		if (is_string(&f, 1))
			x->payload = f.bytes;
		else if (is_number(&f, 2))
			x->err = f.value == 1;
	}
	return r;
}

static int read_gauge_value(struct str at, struct str *unit, double *value)
{
	struct protobuf_field f;
	int r;

	while ((r = protobuf_next(&at, &f)) > 0) {
		if (is_string(&f, 1))
			*unit = f.bytes;
		else if (protobuf_is(&f, 2, PROTOBUF_FIXED64))
			*value = as_double(f.value);
	}
	return r;
}

static int read_gauge(struct loggregator *x, struct str at)
{
	struct str name, inner, unit;
	struct protobuf_field f;
	double value;
	int r;

	while ((r = protobuf_next(&at, &f)) > 0) {
		unit = STR("");
		value = 0;
		if (!is_string(&f, 1))
			continue;
		if (read_pair(f.bytes, &name, &inner) < 0 ||
			read_gauge_value(inner, &unit, &value) < 0)
			return ERR_CORRUPT;
		loggregator_add_metric(x, name, unit, value);
	}
	return r;
}

static int read_timer(struct loggregator *x, struct str at)
{
	struct protobuf_field f;
	int r;

	while ((r = protobuf_next(&at, &f)) > 0) {
		if (is_string(&f, 1))
			x->name = f.bytes;
		else if (is_number(&f, 2))
			x->start_ns = (int64_t)f.value;
		else if (is_number(&f, 3))
			x->stop_ns = (int64_t)f.value;
	}
	return r;
}

/* What is in the envelope.  The last one counts, as of a oneof: nothing stays of another. */
static int read_v2_event(struct loggregator *x, const struct protobuf_field *f)
{
	x->payload = x->name = STR_NONE;
	x->err = false;
	x->delta = x->total = 0;
	x->start_ns = x->stop_ns = 0;
	x->n_metrics = 0;
	switch (f->number) {
	case V2_LOG: x->kind = LOGGREGATOR_LOG; return read_log(x, f->bytes);
	case V2_COUNTER: return read_counter(x, f->bytes);
	case V2_GAUGE: x->kind = LOGGREGATOR_GAUGE; return read_gauge(x, f->bytes);
	case V2_TIMER: x->kind = LOGGREGATOR_TIMER; return read_timer(x, f->bytes);
	default:
		/* Title and body have the numbers of a pair. */
		x->kind = LOGGREGATOR_EVENT;
		return read_pair(f->bytes, &x->name, &x->payload);
	}
}

/* A value of the tags that were there first: text, integer or decimal. */
static int read_deprecated_tag(struct loggregator *x, struct str entry, struct arena *scratch)
{
	struct protobuf_field f;
	struct str name, at, value = STR("");
	struct buf number = {0};
	int r;

	if ((r = read_pair(entry, &name, &at)) < 0)
		return r;
	while ((r = protobuf_next(&at, &f)) > 0) {
		if (is_string(&f, 1)) {
			value = f.bytes;
		} else if (is_number(&f, 2)) {
			value = str_c(arena_printf(scratch, "%lld", (long long)f.value));
		} else if (protobuf_is(&f, 3, PROTOBUF_FIXED64)) {
			loggregator_put_double(&number, as_double(f.value));
			value = arena_str(scratch, buf_view(&number));
			buf_clear(&number);
		}
	}
	buf_fini(&number);
	loggregator_add_tag(x, name, value);
	return r;
}

/* In v2 the source's type is a tag; here it has a place of its own. */
static void take_source_type(struct loggregator *x)
{
	for (size_t i = 0; i < x->n_tags; i++) {
		if (!str_eq(x->tags[i].name, STR("source_type")))
			continue;
		x->source_type = x->tags[i].value;
		memmove(&x->tags[i], &x->tags[i + 1], (--x->n_tags - i) * sizeof x->tags[0]);
		return;
	}
}

static int read_v2(struct loggregator *x, struct str at, struct arena *scratch)
{
	struct protobuf_field f;
	int r, inner = 0;

	loggregator_clear(x);
	while ((r = protobuf_next(&at, &f)) > 0 && inner == 0) {
		if (is_number(&f, V2_TIMESTAMP))
			x->timestamp = (int64_t)f.value;
		if (f.wire != PROTOBUF_BYTES)
			continue;
		switch (f.number) {
		case V2_SOURCE_ID: x->source_id = f.bytes; break;
		case V2_INSTANCE_ID: x->instance_id = f.bytes; break;
		case V2_DEPRECATED_TAGS: inner = read_deprecated_tag(x, f.bytes, scratch); break;
		case V2_TAGS: inner = read_tag(x, f.bytes); break;
		case V2_LOG:
		case V2_COUNTER:
		case V2_GAUGE:
		case V2_TIMER:
		case V2_EVENT: inner = read_v2_event(x, &f); break;
		default: break;
		}
	}
	take_source_type(x);
	return r < 0 || inner < 0 ? ERR_CORRUPT : 0;
}

int loggregator_decode_v2(
	struct loggregator *out, struct str bytes, struct arena *scratch, struct error *e)
{
	return read_v2(out, bytes, scratch) < 0 ? error_set(e, ERR_CORRUPT, "%s", cut_sentence) : 0;
}

/* Can it all be read?  So that a batch is taken whole or not at all. */
static int check_batch(struct str at, struct arena *scratch)
{
	struct protobuf_field f;
	struct loggregator x;
	int r;

	while ((r = protobuf_next(&at, &f)) > 0)
		if (is_string(&f, 1) && read_v2(&x, f.bytes, scratch) < 0)
			return ERR_CORRUPT;
	return r;
}

int loggregator_decode_batch(struct str bytes, struct arena *scratch,
	int (*each)(void *arg, const struct loggregator *x), void *arg, struct error *e)
{
	struct protobuf_field f;
	struct loggregator x;
	int r;

	if (check_batch(bytes, scratch) < 0)
		return error_set(e, ERR_CORRUPT, "%s", cut_sentence);
	while (protobuf_next(&bytes, &f) > 0) {
		if (!is_string(&f, 1))
			continue;
		read_v2(&x, f.bytes, scratch);
		if ((r = each(arg, &x)) != 0)
			return r;
	}
	return 0;
}
