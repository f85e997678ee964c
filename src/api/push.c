/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding happens on the HTTP thread that has the body; what it takes is
 * charged before it is held.  The batch then goes to the sink, no thread
 * waits, and the sink's thread answers.
 *
 * Parsers of JSON are kept from push to push, as making the memory of one
 * again costs a tenth of a push, but no more memory than a small part of all.
 */
#include "api/push.h"

#include <stdlib.h>

#include "base/metric.h"
#include "codec/codec.h"

enum {
	INFLATE_RATIO = 200, /* decompressed : sent, at most */
	INFLATE_FLOOR = 1 << 20,
	KEEP_SHARE = 64, /* of all memory: what one parser may hold while it waits */
};

/* ---- memory ---- */

int room_take(struct room *m, uint64_t n, struct error *e)
{
	uint64_t limit = m->account->limit;

	if (n > limit || m->charged > limit - n)
		return error_set(e, ERR_LIMIT,
			"reading this body takes more than the %llu bytes of memory: send smaller "
			"ones, or raise `memory`",
			(unsigned long long)limit);
	if (account_charge(m->account, n) < 0)
		return error_set(e, ERR_BUSY,
			"no memory to read this body now: try again in a second, or send smaller "
			"ones");
	m->charged += n;
	return 0;
}

void room_fini(struct room *m)
{
	buf_fini(&m->inflated);
	if (m->charged)
		account_release(m->account, m->charged);
	m->charged = 0;
}

static struct json_parser *parser_take(struct api *a)
{
	struct json_parser *p = NULL;

	lock_take(&a->lock);
	if (a->n_parsers)
		p = a->parsers[--a->n_parsers];
	lock_drop(&a->lock);
	return p ? p : json_parser_new_charged(a->o.account);
}

static void parser_give_back(struct api *a, struct json_parser *p)
{
	if (json_parser_held(p) <= a->o.account->limit / KEEP_SHARE) {
		lock_take(&a->lock);
		if (a->n_parsers < sizeof a->parsers / sizeof *a->parsers) {
			a->parsers[a->n_parsers++] = p;
			p = NULL;
		}
		lock_drop(&a->lock);
	}
	json_parser_free(p);
}

void push_fini(struct api *a)
{
	while (a->n_parsers)
		json_parser_free(a->parsers[--a->n_parsers]);
}

/* ---- the body ---- */

enum encoding { PLAIN, GZIP, SNAPPY, UNKNOWN };

static enum encoding encoding_of(struct str name)
{
	if (name.n == 0 || str_eq_nocase(name, STR("identity")))
		return PLAIN;
	if (str_eq_nocase(name, STR("gzip")) || str_eq_nocase(name, STR("x-gzip")) ||
		str_eq_nocase(name, STR("deflate")))
		return GZIP;
	return str_eq_nocase(name, STR("snappy")) ? SNAPPY : UNKNOWN;
}

/* The length that a gzip member ends with: right for all but several members, and liars. */
static size_t gzip_length(struct str body)
{
	uint32_t n;

	if (body.n < 18 || !str_starts(body, STR("\x1f\x8b")))
		return 0;
	memcpy(&n, body.p + body.n - sizeof n, sizeof n);
	return n;
}

/* Inflate with memory for `guess` bytes charged, and with that for all that is allowed when they
 * are not enough. */
static int inflate_gzip(struct room *m, struct str body, size_t limit, struct error *e)
{
	size_t guess = gzip_length(body);
	int r;

	if (guess && guess < limit) {
		if ((r = room_take(m, guess, e)) < 0)
			return r;
		buf_reserve(&m->inflated, guess + 1);
		if ((r = gzip_unpack(&m->inflated, body, guess, e)) != ERR_LIMIT)
			return r;
		room_fini(m);
	}
	if ((r = room_take(m, limit, e)) < 0)
		return r;
	return gzip_unpack(&m->inflated, body, limit, e);
}

int push_unsnap(struct push *p, struct error *e)
{
	struct buf out = {0};
	size_t n;
	int r;

	if ((r = snappy_length(p->body, &n, e)) < 0)
		return r;
	if (n > p->api->o.max_body)
		return error_set(e, ERR_LIMIT, "snappy: the content is over %llu bytes: it has %zu",
			(unsigned long long)p->api->o.max_body, n);
	if ((r = room_take(&p->room, n, e)) < 0 || (r = snappy_unpack(&out, p->body, n, e)) < 0) {
		buf_fini(&out);
		return r;
	}
	buf_fini(&p->room.inflated); /* it may be what was unpacked */
	p->room.inflated = out;
	p->body = buf_view(&out);
	return 0;
}

static int ungzip(struct push *p, struct error *e)
{
	size_t limit = p->body.n < SIZE_MAX / INFLATE_RATIO ? p->body.n * INFLATE_RATIO : SIZE_MAX;
	int r;

	if (limit < INFLATE_FLOOR)
		limit = INFLATE_FLOOR;
	if (limit > p->api->o.max_body)
		limit = p->api->o.max_body;
	if ((r = inflate_gzip(&p->room, p->body, limit, e)) == 0)
		p->body = buf_view(&p->room.inflated);
	return r;
}

/* The body after Content-Encoding, with room for the batch. */
static int read_body(struct push *p, struct error *e)
{
	struct str name = STR_NONE;
	enum encoding encoding;
	int r = 0;

	p->body = http_body(p->request);
	http_header(p->request, "Content-Encoding", &name);
	encoding = encoding_of(name);
	if (encoding == UNKNOWN)
		return error_set(e, ERR_UNSUPPORTED,
			"Content-Encoding: %.*s is not understood: send gzip, deflate, snappy or "
			"none",
			STR_ARG(str_sub(name, 0, 100)));
	if (encoding == GZIP)
		r = ungzip(p, e);
	else if (encoding == SNAPPY)
		r = push_unsnap(p, e);
	if (r < 0)
		return error_wrap(e, r, "body");
	/* Of the batch: the texts in a buffer that grows by half, then at their place. */
	return room_take(&p->room, (uint64_t)p->body.n * 5 / 2, e);
}

/* ---- the way ---- */

/* What is left of a push while the sink has its batch. */
struct waiting {
	const struct push_kind *kind;
	struct push_report report;
};

static void answer_push(struct http_request *r, const struct sink_result *result, void *arg)
{
	struct waiting *w = arg;

	w->kind->answer(r, result, &w->report);
	free(w);
}

static void count(struct push *p, struct str tenant, const char *input)
{
	const struct push_report *report = &p->report;
	struct buf labels = {0};

	api_reject(p->api, tenant, input, "bad_labels", report->n_bad_labels);
	api_reject(p->api, tenant, input, "bad_timestamp", report->n_bad_timestamp);
	api_reject(p->api, tenant, input, "bad_entry", report->n_bad_entry);
	api_reject(p->api, tenant, input, "over_limit", report->n_over_limit);
	if (report->n_cut == 0)
		return;
	metric_label(&labels, "input", str_c(input));
	metric_add(METRIC_cut_records_total, buf_cstr(&labels), (int64_t)report->n_cut);
	buf_fini(&labels);
}

static void submit(
	struct push *p, const struct push_kind *kind, struct str tenant, struct batch_builder *b)
{
	static const struct sink_result nothing;
	struct waiting *w;

	count(p, tenant, kind->input);
	if (batch_builder_count(b) == 0) {
		kind->answer(p->request, &nothing, &p->report);
		return;
	}
	w = xmalloc(sizeof *w);
	*w = (struct waiting){kind, p->report};
	api_submit(p->api, p->request, batch_builder_finish(b, 0), answer_push, w);
}

void push_run(struct api *a, struct http_request *r, const struct push_kind *kind)
{
	struct push p = {.api = a,
		.request = r,
		.room.account = a->o.account,
		.options = {.discover = api_discover(a),
			.observed_ns = clock_now_ns(a->o.clock),
			.max_line = a->o.max_line}};
	struct sink_result failed = {0};
	struct batch_builder *b;
	struct str tenant;

	if (!api_tenant(r, &tenant))
		return;
	b = batch_builder_new(tenant, str_c(kind->input), p.options.observed_ns);
	p.parser = parser_take(a);
	failed.code = read_body(&p, &failed.error);
	if (failed.code < 0) {
		bool packed = failed.code == ERR_CORRUPT || failed.code == ERR_UNSUPPORTED;
		api_reject(a, tenant, kind->input,
			packed ? "bad_encoding" : error_name(failed.code), 1);
	} else if ((failed.code = kind->decode(&p, b, &failed.error)) < 0) {
		api_reject(a, tenant, kind->input, error_name(failed.code), 1);
	}
	if (failed.code == ERR_UNSUPPORTED)
		http_replyf(r, 415, "%s\n", failed.error.text);
	else if (failed.code < 0)
		kind->answer(r, &failed, &p.report);
	else
		submit(&p, kind, tenant, b);
	batch_builder_free(b);
	parser_give_back(a, p.parser);
	room_fini(&p.room);
}
