/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HttpStartStop: a timer with the name "http", and what else it tells as tags,
 * by the names that v2's own conversion gives them.
 */
#include "proto/loggregator_core.h"

#include "base/hex.h"

enum { UUID_TEXT = 36 };

/* Of field n: the tag's name, and how it is written. */
static const struct http_tag {
	struct str name;
	enum { HTTP_NONE, HTTP_NUMBER, HTTP_PEER, HTTP_VERB, HTTP_TEXT, HTTP_UUID } shape;
} http_tags[HTTP_FORWARDED + 1] = {
	[HTTP_REQUEST_ID] = {STR_INIT("request_id"), HTTP_UUID},
	[HTTP_PEER_TYPE] = {STR_INIT("peer_type"), HTTP_PEER},
	[HTTP_METHOD] = {STR_INIT("method"), HTTP_VERB},
	[HTTP_URI] = {STR_INIT("uri"), HTTP_TEXT},
	[HTTP_REMOTE_ADDRESS] = {STR_INIT("remote_address"), HTTP_TEXT},
	[HTTP_USER_AGENT] = {STR_INIT("user_agent"), HTTP_TEXT},
	[HTTP_STATUS] = {STR_INIT("status_code"), HTTP_NUMBER},
	[HTTP_LENGTH] = {STR_INIT("content_length"), HTTP_NUMBER},
	[HTTP_INSTANCE] = {STR_INIT("instance_index"), HTTP_NUMBER},
	[HTTP_INSTANCE_ID] = {STR_INIT("routing_instance_id"), HTTP_TEXT},
	[HTTP_FORWARDED] = {STR_INIT("forwarded"), HTTP_TEXT},
};

static const char *const peers[] = {"", "Client", "Server"};

/* By their numbers. */
static const char *const verbs[] = {"", "GET", "POST", "PUT", "DELETE", "HEAD", "ACL",
	"BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "CONNECT", "COPY", "DEBUG", "LABEL",
	"LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF",
	"MKWORKSPACE", "MOVE", "OPTIONS", "ORDERPATCH", "PATCH", "PRI", "PROPFIND", "PROPPATCH",
	"REBIND", "REPORT", "SEARCH", "SHOWMETHOD", "SPACEJUMP", "TEXTSEARCH", "TRACE", "TRACK",
	"UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE", "UPDATEREDIRECTREF",
	"VERSION-CONTROL"};

enum { N_PEERS = sizeof peers / sizeof peers[0], N_VERBS = sizeof verbs / sizeof verbs[0] };

/* Two numbers whose bytes, the least significant first, are the id. */
static int read_uuid(struct str at, struct arena *scratch, struct str *out)
{
	uint64_t half[2] = {0};
	struct protobuf_field f;
	unsigned char b[16];
	int r;

	while ((r = protobuf_next(&at, &f)) > 0)
		if (f.wire == PROTOBUF_VARINT && (f.number == 1 || f.number == 2))
			half[f.number - 1] = f.value;
	for (size_t i = 0; i < sizeof b; i++)
		b[i] = (unsigned char)(half[i / 8] >> 8 * (i % 8));
	*out = str_c(arena_printf(scratch,
		"%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		b[15]));
	return r;
}

static struct str number_text(const struct protobuf_field *f, struct arena *scratch)
{
	return str_c(arena_printf(scratch, "%lld", (long long)f->value));
}

static struct str named(
	const struct protobuf_field *f, const char *const names[], size_t n, struct arena *scratch)
{
	return f->value && f->value < n ? str_c(names[f->value]) : number_text(f, scratch);
}

static int read_tag(struct loggregator *x, const struct protobuf_field *f, struct arena *scratch)
{
	const struct http_tag *tag = &http_tags[f->number];
	bool bytes = tag->shape == HTTP_TEXT || tag->shape == HTTP_UUID;
	struct str value = f->bytes;
	int r = 0;

	if (f->wire != (bytes ? PROTOBUF_BYTES : PROTOBUF_VARINT))
		return 0;
	switch (tag->shape) {
	case HTTP_NUMBER: value = number_text(f, scratch); break;
	case HTTP_PEER: value = named(f, peers, N_PEERS, scratch); break;
	case HTTP_VERB: value = named(f, verbs, N_VERBS, scratch); break;
	case HTTP_UUID: r = read_uuid(f->bytes, scratch, &value); break;
	case HTTP_TEXT: break;
	case HTTP_NONE: return 0;
	}
	if (value.n)
		loggregator_add_tag(x, tag->name, value);
	return r;
}

/* Several hops are one tag, a line each. */
static int add_forwarded(struct loggregator *x, const struct protobuf_field *f, struct buf *all)
{
	if (f->wire == PROTOBUF_BYTES) {
		if (all->n)
			buf_char(all, '\n');
		buf_str(all, f->bytes);
	}
	return 0;
}

static int read_field(struct loggregator *x, const struct protobuf_field *f, struct arena *scratch,
	struct buf *forwarded)
{
	if (f->number == HTTP_START)
		x->start_ns = (int64_t)f->value;
	else if (f->number == HTTP_STOP)
		x->stop_ns = (int64_t)f->value;
	else if (protobuf_is(f, HTTP_APP, PROTOBUF_BYTES))
		return read_uuid(f->bytes, scratch, &x->source_id);
	else if (f->number == HTTP_FORWARDED)
		return add_forwarded(x, f, forwarded);
	else if (f->number < HTTP_FORWARDED)
		return read_tag(x, f, scratch);
	return 0;
}

int loggregator_read_http(struct loggregator *x, struct str message, struct arena *scratch)
{
	struct buf forwarded = {0};
	struct protobuf_field f;
	struct str instance;
	int r;

	x->kind = LOGGREGATOR_TIMER;
	x->name = STR("http");
	while ((r = protobuf_next(&message, &f)) > 0)
		if ((r = read_field(x, &f, scratch, &forwarded)) < 0)
			break;
	if (forwarded.n)
		loggregator_add_tag(x, http_tags[HTTP_FORWARDED].name,
			arena_str(scratch, buf_view(&forwarded)));
	buf_fini(&forwarded);
	if (x->source_id.n && loggregator_tag(x, http_tags[HTTP_INSTANCE].name, &instance))
		x->instance_id = instance;
	return r;
}

/* Out. */

static uint64_t number_of(struct str name, const char *const names[], size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (str_eq_nocase(name, str_c(names[i])))
			return i;
	return 1;
}

static bool uuid_halves(struct str text, uint64_t half[2])
{
	size_t n = 0;

	half[0] = half[1] = 0;
	if (text.n != UUID_TEXT)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		int digit = hex_digit(text.p[i]);

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text.p[i] != '-')
				return false;
			continue;
		}
		if (digit < 0)
			return false;
		/* The higher digit of a byte comes first. */
		half[n / 16] |= (uint64_t)digit << (8 * (n % 16 / 2) + (n % 2 ? 0 : 4));
		n++;
	}
	return true;
}

static bool put_uuid(struct buf *out, uint32_t number, struct str text, bool always)
{
	uint64_t half[2];
	size_t at;

	if (!uuid_halves(text, half) && !always)
		return false;
	at = protobuf_begin(out, number);
	protobuf_put_number(out, 1, half[0]);
	protobuf_put_number(out, 2, half[1]);
	protobuf_end(out, at);
	return true;
}

/* Field n of what the tag says; what is required is there in any case, as clients of proto2 refuse
 * messages without it. */
static void put_tag(struct buf *out, const struct loggregator *x, uint32_t number)
{
	const struct http_tag *tag = &http_tags[number];
	bool required = number <= HTTP_LENGTH;
	struct str value = STR("");
	int64_t v = 0;

	if (!loggregator_tag(x, tag->name, &value) && !required)
		return;
	switch (tag->shape) {
	case HTTP_NUMBER:
		str_i64(value, &v);
		protobuf_put_number(out, number, (uint64_t)v);
		break;
	case HTTP_PEER: protobuf_put_number(out, number, number_of(value, peers, N_PEERS)); break;
	case HTTP_VERB: protobuf_put_number(out, number, number_of(value, verbs, N_VERBS)); break;
	case HTTP_UUID: put_uuid(out, number, value, true); break;
	case HTTP_TEXT: protobuf_put_bytes(out, number, value); break;
	case HTTP_NONE: break;
	}
}

void loggregator_put_http(struct buf *out, const struct loggregator *x)
{
	struct str forwarded, hop;

	protobuf_put_number(out, HTTP_START, (uint64_t)x->start_ns);
	protobuf_put_number(out, HTTP_STOP, (uint64_t)x->stop_ns);
	for (uint32_t i = HTTP_REQUEST_ID; i <= HTTP_LENGTH; i++)
		put_tag(out, x, i);
	put_uuid(out, HTTP_APP, x->source_id, false);
	put_tag(out, x, HTTP_INSTANCE);
	put_tag(out, x, HTTP_INSTANCE_ID);
	if (!loggregator_tag(x, http_tags[HTTP_FORWARDED].name, &forwarded))
		return;
	while (forwarded.n) {
		hop = str_cut(&forwarded, '\n');
		protobuf_put_bytes(out, HTTP_FORWARDED, hop);
	}
}
