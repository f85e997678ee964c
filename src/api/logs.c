/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /logs/<service>[/<severity>]: the search of a collector that kept lines
 * "<time> <service> <severity> <message>", to the byte as it answered:
 *
 *	{"logs":[{"_id":"…","message":"…","service":"…","severity":"…",
 *	"timestamp":"2024-12-18 10:00:00"}],"message":"Logs retrieved successfully"}
 *
 * Members are sorted, what is not ASCII is escaped, and an unknown service has
 * an empty list.  Where that order was the one of a collection without an
 * index, it is by time here, oldest first; and an answer is a page, whose
 * successor the header Link names, so that no search is without an end, and no
 * answer without a bound.
 *
 * Beyond the original, as parameters: start, end, since; text (a part of the
 * message); direction, limit (0: all), cursor; zone (of `timestamp`; the
 * host's), label (that holds the service; app).
 *
 * A record's severity is its metadata `severity`, as it was written; where it
 * has none, the level that was found, with a capital as the original has it.
 */
#include "api/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/duration.h"
#include "codec/rune.h"
#include "net/client.h"
#include "query/quote.h"
#include "record/time.h"
#include "record/zone.h"

enum {
	DEFAULT_LIMIT = 10000,
	PAGE_BYTES = 32 << 20, /* an answer ends behind so many */
	LEVEL_MAX = 15,
};

struct search {
	struct job *job;
	struct str service, severity, label; /* severity p NULL: all */
	struct zone *zone;                   /* NULL: the host's */
	struct query_params params;
};

/* ---- what is asked ---- */

/* "Error" is what the level "error" is shown as. */
static bool as_level(struct str severity, char out[LEVEL_MAX + 1])
{
	static const char *const levels[] = {
		"trace", "debug", "info", "warn", "error", "fatal", "critical"};

	if (severity.n == 0 || severity.n > LEVEL_MAX)
		return false;
	str_copy(severity, out, LEVEL_MAX + 1);
	if (out[0] < 'A' || out[0] > 'Z')
		return false;
	out[0] = (char)(out[0] + ('a' - 'A'));
	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
		if (strcmp(out, levels[i]) == 0)
			return true;
	return false;
}

static void write_query(struct buf *out, const struct search *s)
{
	char level[LEVEL_MAX + 1];
	struct str text;

	buf_char(out, '{');
	buf_str(out, s->label);
	buf_char(out, '=');
	quote_go(out, s->service);
	buf_char(out, '}');
	if (http_param(s->job->request, "text", &text) && text.n) {
		buf_c(out, " |= ");
		quote_go(out, text);
	}
	if (!s->severity.p)
		return;
	buf_c(out, " | severity=");
	quote_go(out, s->severity);
	if (as_level(s->severity, level))
		buf_printf(out, " or (severity=\"\" and detected_level=\"%s\")", level);
}

/* "ns.seq.until_seq" of the last record of the page before, and what that page saw. */
static int read_cursor(struct http_request *r, struct query_params *p, struct error *e)
{
	struct str text, rest, ns, seq;

	if (!http_param(r, "cursor", &text) || text.n == 0)
		return 0;
	rest = text;
	ns = str_cut(&rest, '.');
	seq = str_cut(&rest, '.');
	if (!str_i64(ns, &p->resume_ns) || !str_u64(seq, &p->resume_seq) ||
		!str_u64(rest, &p->until_seq))
		return error_set(e, ERR_ARG, "cursor: \"%.*s\" is none: take the one of a Link",
			STR_ARG(str_sub(text, 0, 100)));
	p->resume = true;
	return 0;
}

static int read_direction(struct http_request *r, struct query_params *p, struct error *e)
{
	struct str s;

	p->forward = true;
	if (!http_param(r, "direction", &s) || s.n == 0 || str_eq_nocase(s, STR("forward")))
		return 0;
	p->forward = false;
	if (str_eq_nocase(s, STR("backward")))
		return 0;
	return error_set(e, ERR_ARG, "direction: must be forward or backward, got \"%.*s\"",
		STR_ARG(str_sub(s, 0, 100)));
}

/* All of time, as in the original, but for what is asked. */
static int read_range(struct search *s, struct error *e)
{
	struct http_request *r = s->job->request;
	struct query_params *p = &s->params;
	struct str text;
	int64_t since;
	int code;

	p->start_ns = INT64_MIN;
	p->end_ns = INT64_MAX;
	if (http_param(r, "since", &text) && text.n) {
		if (!duration_parse(text, &since) || since < 0)
			return error_set(e, ERR_ARG,
				"since: could not parse \"%.*s\": expected a duration like 5m or "
				"1h30m",
				STR_ARG(str_sub(text, 0, 100)));
		p->start_ns = clock_now_ns(s->job->api->o.clock) - since;
	}
	if ((code = api_param_time(r, "start", &p->start_ns, e)) < 0 ||
		(code = api_param_time(r, "end", &p->end_ns, e)) < 0)
		return code;
	if (p->end_ns < p->start_ns)
		return error_set(e, ERR_ARG, "end must not be before start");
	return 0;
}

static int read_zone(struct search *s, struct error *e)
{
	char text[100];
	struct str zone;

	if (!http_param(s->job->request, "zone", &zone) || zone.n == 0)
		return 0;
	str_copy(zone, text, sizeof text);
	/* ?zone=+02:00: the + of a query is a blank. */
	if (text[0] == ' ')
		text[0] = '+';
	if (zone_new(&s->zone, str_c(text), e) < 0)
		return error_wrap(e, ERR_ARG, "zone");
	return 0;
}

static int read_request(struct search *s, struct error *e)
{
	struct http_request *r = s->job->request;
	int code;

	s->service = http_segment(r, "service");
	s->severity = http_segment(r, "severity");
	if (!http_param(r, "label", &s->label) || s->label.n == 0)
		s->label = STR("app");
	if (!label_name_valid(s->label))
		return error_set(e, ERR_ARG,
			"label: \"%.*s\" is no name of a label: letters, digits and _",
			STR_ARG(str_sub(s->label, 0, 100)));
	api_query_params(s->job, &s->params);
	if ((code = read_range(s, e)) < 0 || (code = read_direction(r, &s->params, e)) < 0 ||
		(code = read_cursor(r, &s->params, e)) < 0 ||
		(code = api_param_u64(r, "limit", DEFAULT_LIMIT, &s->params.limit, e)) < 0)
		return code;
	return read_zone(s, e);
}

/* ---- what is answered ---- */

/* A string as Python's json.dumps writes it: ASCII alone. */
static void write_text(struct buf *out, struct str s)
{
	static const char letters[] = "\b\f\n\r\t\"\\", escapes[] = "bfnrt\"\\";

	buf_char(out, '"');
	while (s.n) {
		size_t n;
		uint32_t c = rune_first(s, &n);
		const char *known = c && c < 0x80 ? strchr(letters, (int)c) : NULL;

		if (known) {
			buf_char(out, '\\');
			buf_char(out, escapes[known - letters]);
		} else if (c >= 0x20 && c < 0x80) {
			buf_char(out, (char)c);
		} else if (c < 0x10000) {
			buf_printf(out, "\\u%04x", c);
		} else {
			buf_printf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
				0xdc00 + ((c - 0x10000) & 0x3ff));
		}
		s = str_sub(s, n, s.n);
	}
	buf_char(out, '"');
}

static void write_time(struct buf *out, const struct search *s, int64_t ns)
{
	int east = s->zone ? zone_offset(s->zone, ns) : time_local_zone(ns);
	time_t local = ns / NS_PER_SEC - (ns % NS_PER_SEC < 0) + east;
	struct tm tm;

	gmtime_r(&local, &tm);
	buf_printf(out, "\"%04d-%02d-%02d %02d:%02d:%02d\"", tm.tm_year + 1900, tm.tm_mon + 1,
		tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static bool told(const struct query_entry *en, const char *name, struct str *out)
{
	struct str sets[] = {en->labels, en->meta};

	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
		if (sets[i].n && labels_get(sets[i], str_c(name), out))
			return true;
	return false;
}

static void write_severity(struct buf *out, const struct query_entry *en)
{
	char level[LEVEL_MAX + 1];
	struct str s = STR_NONE;

	if (!told(en, "severity", &s) && told(en, "detected_level", &s) && s.n <= LEVEL_MAX) {
		if (str_eq(s, STR("unknown")))
			s = STR_NONE;
		str_copy(s, level, sizeof level);
		if (level[0] >= 'a' && level[0] <= 'z')
			level[0] = (char)(level[0] - ('a' - 'A'));
		s = str_c(level);
	}
	write_text(out, s);
}

/* The id looks like one of MongoDB's: the seconds of the time, then the sequence. */
static void write_entry(struct buf *out, const struct search *s, const struct query_entry *en)
{
	buf_printf(out, "{\"_id\":\"%08" PRIx32 "%016" PRIx64 "\",\"message\":",
		(uint32_t)(en->timestamp / NS_PER_SEC), en->seq);
	write_text(out, en->line);
	buf_c(out, ",\"service\":");
	write_text(out, s->service);
	buf_c(out, ",\"severity\":");
	write_severity(out, en);
	buf_c(out, ",\"timestamp\":");
	write_time(out, s, en->timestamp);
	buf_char(out, '}');
}

/* The same request behind the last record. */
static void link_next(
	const struct search *s, const struct query_result *res, const struct query_entry *last)
{
	static const char *const kept[] = {
		"start", "end", "since", "text", "direction", "limit", "zone", "label", "local"};
	struct buf link = {0};
	struct str value;

	buf_c(&link, "</logs/");
	url_encode(&link, s->service);
	if (s->severity.p) {
		buf_char(&link, '/');
		url_encode(&link, s->severity);
	}
	buf_printf(&link, "?cursor=%" PRId64 ".%" PRIu64 ".%" PRIu64, last->timestamp, last->seq,
		s->params.until_seq ? s->params.until_seq : res->last_seq);
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
		if (!http_param(s->job->request, kept[i], &value) || value.n == 0)
			continue;
		buf_printf(&link, "&%s=", kept[i]);
		url_encode(&link, value);
	}
	buf_c(&link, ">; rel=\"next\"");
	http_set_header(s->job->request, "Link", buf_cstr(&link));
	buf_fini(&link);
}

/* As a peer that does not answer: the original's answer has no place for it. */
static void tell_warnings(struct http_request *r, const struct query_result *res)
{
	for (size_t i = 0; i < res->n_warnings; i++)
		http_set_header(r, "X-Sawlog-Warning", res->warnings[i]);
}

static void answer(struct search *s, const struct query_result *res)
{
	struct job *j = s->job;
	size_t n = 0;

	tell_warnings(j->request, res);
	j->content_type = "application/json";
	buf_c(&j->body, "{\"logs\":[");
	for (; n < res->n_entries && j->body.n < PAGE_BYTES; n++) {
		if (n)
			buf_char(&j->body, ',');
		write_entry(&j->body, s, &res->entries[n]);
	}
	buf_c(&j->body, "],\"message\":\"Logs retrieved successfully\"}\n");
	if (n < res->n_entries || (s->params.limit && n == s->params.limit))
		link_next(s, res, &res->entries[n - 1]);
}

static int search(struct search *s, struct error *e)
{
	struct view *v;
	struct query_result res;
	struct query *q = NULL;
	struct buf text = {0};
	int r;

	write_query(&text, s);
	r = query_parse(&q, buf_view(&text), e);
	buf_fini(&text);
	if (r < 0)
		return r;
	v = api_view(s->job);
	r = view_query(v, q, &s->params, &res, e);
	api_query_count(r);
	if (r >= 0) {
		answer(s, &res);
		query_result_fini(&res);
	}
	view_close(v);
	query_free(q);
	return r < 0 ? r : 0;
}

static int run_search(struct job *j, struct error *e)
{
	struct search s = {.job = j};
	int r;

	if ((r = read_request(&s, e)) == 0)
		r = search(&s, e);
	zone_free(s.zone);
	return r;
}

void logs_search(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run_search);
}
