/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/logs, and /otlp/v1/logs as Loki has it: OpenTelemetry's logs over
 * HTTP, protobuf or JSON.  200 once every good record is synced; refused ones
 * cost themselves and are told as a partial success, since a client does not
 * send anything again after 200 or 400.  Answers are in the request's own
 * encoding, failures as google.rpc.Status.
 *
 * Source: OTLP specification, "OTLP/HTTP".  What may be sent again is 429, 502,
 * 503 and 504: so a disk that fails is 503 here.
 */
#include "api/push.h"
#include "codec/protobuf.h"
#include "proto/otlp.h"

/* Fields of google.rpc.Status. */
enum { STATUS_CODE = 1, STATUS_MESSAGE = 2 };

/* ---- answers ---- */

static bool is_json(struct http_request *r)
{
	struct str type;

	return http_header(r, "Content-Type", &type) &&
	       str_eq_nocase(str_trim(str_cut(&type, ';')), STR("application/json"));
}

static void reply(struct http_request *r, int status, struct buf *body)
{
	http_reply_buf(r, status, is_json(r) ? "application/json" : "application/x-protobuf", body);
}

static void answer_partial(struct http_request *r, uint64_t n_refused, struct str why)
{
	struct buf body = {0};

	if (is_json(r)) {
		buf_printf(&body, "{\"partialSuccess\":{\"rejectedLogRecords\":\"%llu\",",
			(unsigned long long)n_refused);
		buf_c(&body, "\"errorMessage\":");
		buf_json(&body, why);
		buf_c(&body, "}}");
	} else {
		otlp_put_response(&body, n_refused, why);
	}
	reply(r, 200, &body);
}

static void answer_success(struct http_request *r)
{
	struct buf body = {0};

	if (is_json(r))
		buf_c(&body, "{}");
	reply(r, 200, &body);
}

/* The code of google.rpc.Code, and HTTP's. */
static int status_of(int code, int *rpc)
{
	enum { INVALID = 3, DENIED = 7, EXHAUSTED = 8, UNAVAILABLE = 14 };

	switch ((enum error_code)code) {
	case ERR_ARG:
	case ERR_CORRUPT:
	case ERR_UNSUPPORTED: *rpc = INVALID; return 400;
	case ERR_LIMIT: *rpc = INVALID; return 413;
	case ERR_DENIED: *rpc = DENIED; return 403;
	case ERR_BUSY: *rpc = EXHAUSTED; return 429;
	default: *rpc = UNAVAILABLE; return 503;
	}
}

static void answer_failure(struct http_request *r, const struct error *e)
{
	struct buf body = {0};
	int rpc, status = status_of(e->code, &rpc);

	if (status == 429 || status == 503)
		http_set_header(r, "Retry-After", "1");
	if (is_json(r)) {
		buf_printf(&body, "{\"code\":%d,\"message\":", rpc);
		buf_json(&body, str_c(e->text));
		buf_char(&body, '}');
	} else {
		protobuf_put_number(&body, STATUS_CODE, (uint64_t)rpc);
		otlp_put_sentence(&body, STATUS_MESSAGE, str_c(e->text));
	}
	reply(r, status, &body);
}

static void answer(
	struct http_request *r, const struct sink_result *result, const struct push_report *report)
{
	uint64_t n_refused = report->n_bad_labels + report->n_bad_timestamp + report->n_bad_entry +
			     report->n_over_limit + result->n_too_old;

	if (result->code < 0)
		answer_failure(r, &result->error);
	else if (n_refused == 0)
		answer_success(r);
	else
		answer_partial(r, n_refused,
			report->first.code < 0 ? str_c(report->first.text)
					       : STR("older than the retention of their stream"));
}

/* ---- the body ---- */

/* JSON by its name or its looks: protobuf begins with the first field of a request. */
static bool holds_json(const struct push *p)
{
	return is_json(p->request) || str_starts(str_trim(p->body), STR("{"));
}

static int from_json(struct push *p, struct error *e)
{
	struct buf made = {0};
	int r;

	/* Of the request in protobuf, and of the batch that is made of it. */
	if ((r = room_take(&p->room, (uint64_t)p->body.n * 9 / 2, e)) < 0 ||
		(r = otlp_from_json(p->parser, p->body, &made, e)) < 0) {
		buf_fini(&made);
		return r;
	}
	buf_fini(&p->room.inflated); /* it may be what was read */
	p->room.inflated = made;
	p->body = buf_view(&made);
	return 0;
}

static int decode(struct push *p, struct batch_builder *into, struct error *e)
{
	size_t n;
	int r;

	if ((holds_json(p) && (r = from_json(p, e)) < 0) || (r = otlp_check(p->body, &n, e)) < 0 ||
		(r = room_take(&p->room, otlp_rows_bytes(n), e)) < 0)
		return r;
	otlp_add(p->body, &p->options, into, &p->report);
	return 0;
}

void otlp_push(struct http_request *r, void *ctx)
{
	static const struct push_kind kind = {.input = "otlp", .decode = decode, .answer = answer};

	push_run(ctx, r, &kind);
}
