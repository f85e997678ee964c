/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /loki/api/v1/push: 204 once every good entry is synced.  Entries that
 * are refused cost themselves alone; as with Loki the answer is then 400 with
 * the sentence of the first, and the good ones are kept all the same.
 *
 * Loki takes what is not called JSON for protobuf.  Here a body that is called
 * neither is what it looks like: the first bytes tell, since an object of JSON
 * begins with '{' and '"', '}' or white space, and as a snappy block that would
 * be a copy of bytes before the first one, or a push of 123 bytes that begins
 * with no field of a push.
 */
#include "api/push.h"

enum { RECORD_BYTES = 100 }; /* that a record takes in a batch and its builder, texts apart */

static uint64_t refused_entries(const struct push_report *p)
{
	return p->n_bad_labels + p->n_bad_timestamp + p->n_bad_entry + p->n_over_limit;
}

static void answer(
	struct http_request *r, const struct sink_result *result, const struct push_report *report)
{
	uint64_t n_refused = refused_entries(report) + result->n_too_old,
		 n_stored = report->n_accepted - result->n_too_old;

	if (result->code < 0)
		api_fail(r, &result->error);
	else if (n_refused)
		http_replyf(r, 400, "%llu of %llu entries refused%s; the first: %s\n",
			(unsigned long long)n_refused, (unsigned long long)(n_refused + n_stored),
			n_stored ? ", the others are stored" : "",
			report->first.code < 0 ? report->first.text
					       : "older than the retention of its stream");
	else
		http_reply(r, 204, NULL, STR_NONE);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool looks_like_json(struct str body)
{
	body = str_trim(body);
	return body.n >= 2 && body.p[0] == '{' &&
	       (body.p[1] == '"' || body.p[1] == '}' || is_blank(body.p[1]));
}

static bool is_json(struct http_request *r, struct str body)
{
	struct str type;

	if (http_header(r, "Content-Type", &type)) {
		struct str name = str_trim(str_cut(&type, ';'));
		if (str_eq_nocase(name, STR("application/json")))
			return true;
		if (str_find(name, STR("protobuf")) >= 0)
			return false;
	}
	return looks_like_json(body);
}

/* A push begins with its first stream, field 1 of bytes.  As a snappy block that byte claims a
 * content of ten bytes, which no stream with a label and an entry fits in. */
static bool is_packed(struct str body)
{
	return body.n && body.p[0] != 0x0a;
}

static int decode_protobuf(struct push *p, struct batch_builder *into, struct error *e)
{
	size_t n;
	int r;

	if (p->body.n == 0)
		return error_set(e, ERR_ARG, "the body is empty");
	if (is_packed(p->body)) {
		if ((r = push_unsnap(p, e)) < 0)
			return r == ERR_CORRUPT
				       ? error_wrap(e, ERR_ARG, "expected protobuf or JSON")
				       : r;
		if ((r = room_take(&p->room, (uint64_t)p->body.n * 5 / 2, e)) < 0)
			return r;
	}
	if ((r = lokipush_protobuf_check(p->body, &n, e)) < 0 ||
		(r = room_take(&p->room,
			 (uint64_t)RECORD_BYTES * (n < BATCH_RECORDS_MAX ? n : BATCH_RECORDS_MAX),
			 e)) < 0)
		return r;
	lokipush_protobuf(p->body, &p->options, into, &p->report);
	return 0;
}

static int decode(struct push *p, struct batch_builder *into, struct error *e)
{
	if (!is_json(p->request, p->body))
		return decode_protobuf(p, into, e);
	return lokipush_json(p->parser, p->body, &p->options, into, &p->report, e);
}

void loki_push(struct http_request *r, void *ctx)
{
	static const struct push_kind kind = {.input = "loki", .decode = decode, .answer = answer};

	push_run(ctx, r, &kind);
}
