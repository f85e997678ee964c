/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file forwarder's batch API, to the byte: GET /ruok, POST /store/batch,
 * GET /store/log.  Lines are keyed host + file + line number, so a resend is
 * harmless; unlike the original, what is acknowledged is on disk, and a line
 * sent again with other content is kept as a new version (the log shows the newest).
 */
#include "api/push.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "proto/storebatch.h"

/* Each answer of this API carries a fresh X-GUID (RFC 4122, version 4). */
static void set_guid(struct http_request *r)
{
	unsigned char b[16];
	char text[40];

	hash_random(b, sizeof b);
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	snprintf(text, sizeof text,
		"%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		b[15]);
	http_set_header(r, "X-GUID", text);
}

void batch_ruok(struct http_request *r, void *ctx)
{
	set_guid(r);
	http_reply(r, 200, "text/plain", STR("imok"));
}

static void answer_batch(
	struct http_request *r, const struct sink_result *result, const struct push_report *report)
{
	if (result->code < 0)
		api_fail(r, &result->error);
	else
		http_reply(r, 200, "text/plain", STR("ok"));
}

/* The original negotiates: it can answer application/json alone. */
static bool accepts_json(struct http_request *r)
{
	struct str accept;

	return !http_header(r, "Accept", &accept) || str_find(accept, STR("*/*")) >= 0 ||
	       str_find(accept, STR("application/*")) >= 0 ||
	       str_find(accept, STR("application/json")) >= 0;
}

static bool posts_json(struct http_request *r)
{
	struct str type;

	return http_body(r).n && http_header(r, "Content-Type", &type) &&
	       str_eq_nocase(str_sub(type, 0, 16), STR("application/json"));
}

static int decode_batch(struct push *p, struct batch_builder *into, struct error *e)
{
	return storebatch_json(p->parser, p->body, &p->options, into, e);
}

void batch_push(struct http_request *r, void *ctx)
{
	static const struct push_kind kind = {
		.input = "batch", .decode = decode_batch, .answer = answer_batch};
	struct str tenant;

	if (!api_tenant(r, &tenant))
		return;
	set_guid(r);
	if (!accepts_json(r)) {
		http_replyf(r, 406, "Not Acceptable");
	} else if (!posts_json(r)) {
		api_reject(ctx, tenant, "batch", error_name(ERR_ARG), 1);
		http_reply(r, 404, "text/plain", STR(" json object not posted "));
	} else {
		push_run(ctx, r, &kind);
	}
}

/* A line of the file: its newest version so far. */
struct line {
	uint64_t number, seq;
	size_t at, n; /* in text */
};

struct log_read {
	struct str source; /* its id, to tell it from other sources of the same labels */
	struct str host, file;
	struct line *lines;
	size_t n, cap;
	struct buf text;
	struct account *account;
	uint64_t charged;
};

static bool is_file(void *ctx, struct str labels)
{
	struct log_read *l = ctx;
	struct str v;

	return labels_get(labels, STR("host"), &v) && str_eq(v, l->host) &&
	       labels_get(labels, STR("file"), &v) && str_eq(v, l->file) &&
	       labels_get(labels, STR("input"), &v) && str_eq(v, STR("batch"));
}

static int keep_line(struct log_read *l, const struct rows *rows, uint32_t i, struct error *e)
{
	size_t need = rows->body[i].n + sizeof(struct line) * 2;

	if (account_charge(l->account, need) < 0)
		return error_set(e, ERR_BUSY,
			"this file's lines do not fit in the memory for "
			"queries (%llu bytes): read it with `sawlog query`, or raise `memory`",
			(unsigned long long)l->account->limit);
	l->charged += need;
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->lines = xrealloc(l->lines, l->cap * sizeof *l->lines);
	}
	l->lines[l->n++] = (struct line){.number = rows->position[i],
		.seq = rows->seq[i],
		.at = l->text.n,
		.n = rows->body[i].n};
	buf_str(&l->text, rows->body[i]);
	return 0;
}

static int keep_lines(void *ctx, const struct rows *rows, struct error *e)
{
	struct log_read *l = ctx;

	for (size_t k = 0; k < rows->n; k++) {
		uint32_t i = rows->pick[k], source = rows->source[i];
		if (source && str_eq(rows->sources[source - 1], l->source) &&
			keep_line(l, rows, i, e) < 0)
			return e->code;
	}
	return 0;
}

static int by_number_then_newest(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return x->seq > y->seq ? -1 : x->seq < y->seq;
}

static void write_lines(struct buf *out, struct log_read *l)
{
	if (l->n)
		qsort(l->lines, l->n, sizeof *l->lines, by_number_then_newest);
	for (size_t i = 0; i < l->n; i++) {
		if (i && l->lines[i].number == l->lines[i - 1].number)
			continue;
		if (i)
			buf_char(out, '\n');
		buf_put(out, l->text.p + l->lines[i].at, l->lines[i].n);
	}
}

static int read_log(struct job *j, struct error *e)
{
	struct buf source = {0};
	struct log_read l = {.account = &j->api->query_account};
	struct scan scan = {.from_ns = INT64_MIN,
		.to_ns = INT64_MAX,
		.order = SCAN_BY_SEQ,
		.columns = SCAN_BODY | SCAN_SOURCE,
		.account = &j->api->query_account,
		.cancel = &j->cancel,
		.ctx = &l,
		.want_stream = is_file,
		.rows = keep_lines};
	struct snapshot *sn = snapshot_take(j->api->o.store);
	int r;

	http_param(j->request, "host", &l.host);
	http_param(j->request, "file", &l.file);
	storebatch_source(&source, l.host, l.file);
	l.source = buf_view(&source);
	scan.tenant = j->tenant;
	if ((r = snapshot_scan(sn, &scan, e)) >= 0) {
		j->content_type = "text/plain";
		r = l.n ? 0
			: error_set(e, ERR_NOT_FOUND, "key not found %.*s %.*s", STR_ARG(l.host),
				  STR_ARG(l.file));
		write_lines(&j->body, &l);
	}
	account_release(l.account, l.charged);
	free(l.lines);
	buf_fini(&l.text);
	buf_fini(&source);
	snapshot_free(sn);
	return r;
}

void batch_log(struct http_request *r, void *ctx)
{
	struct str tenant;

	if (!api_tenant(r, &tenant))
		return;
	set_guid(r);
	api_job(ctx, r, tenant, read_log);
}
