/* SPDX-License-Identifier: Apache-2.0 */
#include "store/unit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int scan_charge(struct account *a, uint64_t n, struct error *e)
{
	if (!a || account_charge(a, n) == 0)
		return 0;
	return error_set(e, ERR_LIMIT,
		"reading needs %llu bytes more, %s holds %llu of at most %llu: narrow the query or "
		"raise memory",
		(unsigned long long)n, a->name, (unsigned long long)account_held(a),
		(unsigned long long)a->limit);
}

void scan_warn(const struct scan *scan, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	if (!scan->warn)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	scan->warn(scan->ctx, text);
}

/* Memory */

void unit_fini(struct unit *u)
{
	account_release(u->account, u->charged);
	free(u->timestamp);
	free(u->seq);
	free(u->body);
	free(u->meta);
	free(u->position);
	free(u->stream);
	free(u->source);
	free(u->pick);
	free(u->template);
	free(u->severity);
	free(u->flags);
	*u = (struct unit){.account = u->account};
}

static int need(struct unit *u, void *column, size_t size, struct error *e)
{
	void **p = column;
	uint64_t bytes = u->cap * size;
	int r;

	if (*p)
		return 0;
	if ((r = scan_charge(u->account, bytes, e)) < 0)
		return r;
	u->charged += bytes;
	*p = xmalloc(bytes);
	return 0;
}

int unit_need(struct unit *u, size_t n, unsigned columns, struct error *e)
{
	int r = 0;

	if (n > u->cap) {
		unit_fini(u);
		u->cap = n;
	}
	if (columns & UNIT_TIME)
		r = need(u, &u->timestamp, sizeof *u->timestamp, e);
	if (r == 0 && columns & UNIT_SEQ)
		r = need(u, &u->seq, sizeof *u->seq, e);
	if (r == 0 && columns & UNIT_STREAM)
		r = need(u, &u->stream, sizeof *u->stream, e);
	if (r == 0 && columns & UNIT_SEVERITY)
		r = need(u, &u->severity, sizeof *u->severity, e);
	if (r == 0 && columns & UNIT_FLAGS)
		r = need(u, &u->flags, sizeof *u->flags, e);
	if (r == 0 && columns & UNIT_META)
		r = need(u, &u->meta, sizeof *u->meta, e);
	if (r == 0 && columns & UNIT_SOURCE && (r = need(u, &u->source, sizeof *u->source, e)) == 0)
		r = need(u, &u->position, sizeof *u->position, e);
	if (r == 0 && columns & UNIT_BODY)
		r = need(u, &u->body, sizeof *u->body, e);
	if (r == 0 && columns & UNIT_PICK)
		r = need(u, &u->pick, sizeof *u->pick, e);
	if (r == 0 && columns & UNIT_TEMPLATE)
		r = need(u, &u->template, sizeof *u->template, e);
	return r;
}

int unit_reserve(struct unit *u, size_t n, struct error *e)
{
	return unit_need(u, n, UNIT_ALL, e);
}

/* Rows */

void unit_fill(struct unit *u, const struct batch *b, size_t from, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct record r = batch_record(b, from + i);

		u->timestamp[i] = r.timestamp;
		u->seq[i] = batch_first_seq(b) + from + i;
		u->stream[i] = r.stream;
		u->body[i] = r.body;
		u->meta[i] = r.meta;
		u->severity[i] = r.severity;
		u->flags[i] = r.flags;
		u->position[i] = r.position;
		u->source[i] = r.source;
	}
}

/* One column after the other, so that those that all rows pass need not be there. */
size_t unit_pick(struct unit *u, size_t n, const struct unit_limits *limits)
{
	uint32_t *pick = u->pick;
	size_t picked = n, kept;

	for (size_t i = 0; i < n; i++)
		pick[i] = (uint32_t)i;
	if (!(limits->skip & UNIT_TIME)) {
		kept = 0;
		for (size_t i = 0; i < picked; i++) {
			int64_t time = u->timestamp[pick[i]];

			pick[kept] = pick[i];
			kept += time >= limits->from_ns && time < limits->to_ns;
		}
		picked = kept;
	}
	if (!(limits->skip & UNIT_SEQ)) {
		kept = 0;
		for (size_t i = 0; i < picked; i++) {
			uint64_t seq = u->seq[pick[i]];

			pick[kept] = pick[i];
			kept += seq > limits->after_seq && seq <= limits->until_seq;
		}
		picked = kept;
	}
	if (limits->wanted) {
		kept = 0;
		for (size_t i = 0; i < picked; i++) {
			pick[kept] = pick[i];
			kept += limits->wanted[u->stream[pick[i]]] != 0;
		}
		picked = kept;
	}
	if (limits->source) {
		kept = 0;
		for (size_t i = 0; i < picked; i++) {
			pick[kept] = pick[i];
			kept += u->source[pick[i]] == limits->source;
		}
		picked = kept;
	}
	return picked;
}

/* One search over all of the lines' bytes, not one a line: where a line has no hit, which is the
 * common case, it costs a comparison.  A hit across two lines is none. */
size_t unit_keep(struct unit *u, size_t n_picked, struct str text)
{
	const char *hit = NULL, *end = NULL;
	size_t kept = 0;

	for (size_t i = n_picked; i > 0 && !end; i--)
		if (u->body[u->pick[i - 1]].n > 0)
			end = u->body[u->pick[i - 1]].p + u->body[u->pick[i - 1]].n;
	for (size_t i = 0; i < n_picked; i++) {
		struct str line = u->body[u->pick[i]];

		if (line.n < text.n)
			continue;
		if (!hit || hit < line.p)
			hit = memmem(line.p, (size_t)(end - line.p), text.p, text.n);
		if (!hit)
			break;
		if (hit <= line.p + (line.n - text.n))
			u->pick[kept++] = u->pick[i];
	}
	return kept;
}

/* The text that a filter that is nothing else asks for; empty when it is more than that. */
static struct str only_text(const struct line_filter *f)
{
	if (f->negate || f->n != 1)
		return STR_NONE;
	return f->tests->regex ? regex_literal(f->tests->regex) : f->tests->text;
}

int unit_filter(struct unit *u, size_t *n, const struct line_filter *filters, size_t n_filters,
	struct error *e)
{
	size_t picked = *n, kept = 0;
	struct str longest = STR_NONE;
	bool done = true;

	for (size_t i = 0; i < n_filters; i++) {
		struct str text = only_text(&filters[i]);

		longest = text.n > longest.n ? text : longest;
		done = done && text.n > 0 && !filters[i].tests->regex;
	}
	if (longest.n > 0)
		picked = unit_keep(u, picked, longest);
	if (done && n_filters <= 1) {
		*n = picked;
		return 0;
	}
	for (size_t i = 0; i < picked; i++) {
		int r = line_filters_test(filters, n_filters, u->body[u->pick[i]]);

		if (r < 0)
			return error_set(e, r,
				"an expression took too many steps on one line: make it simpler");
		u->pick[kept] = u->pick[i];
		kept += r > 0;
	}
	*n = kept;
	return 0;
}

static const struct unit_hidden *find_hidden(
	const struct unit_hidden *streams, size_t n, uint32_t stream)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (streams[mid].stream < stream)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n && streams[lo].stream == stream ? &streams[lo] : NULL;
}

void unit_find_hidden(const struct visibility *v, struct str tenant, struct str labels,
	uint32_t stream, int64_t min_ns, int64_t max_ns, uint64_t min_seq, struct buf *hidden,
	struct buf *hidden_of)
{
	struct unit_hidden of = {.stream = stream};
	size_t before = hidden->n;

	visibility_of(v, tenant, labels, min_ns, max_ns, min_seq, hidden);
	if (hidden->n == before)
		return;
	of.at = (uint32_t)(before / sizeof(struct hidden));
	of.n = (uint32_t)((hidden->n - before) / sizeof(struct hidden));
	buf_put(hidden_of, &of, sizeof of);
}

size_t unit_hide(struct unit *u, size_t n, const struct visibility *v, const struct buf *hidden,
	const struct buf *hidden_of, bool lines)
{
	const struct unit_hidden *streams = (const struct unit_hidden *)hidden_of->p;
	const struct hidden *list = (const struct hidden *)hidden->p;
	size_t n_streams = hidden_of->n / sizeof *streams, kept = 0;
	const struct unit_hidden *of = NULL;
	uint32_t stream = UINT32_MAX; /* what `of` is of; rows of a stream mostly stand together */

	for (size_t i = 0; i < n; i++) {
		uint32_t at = u->pick[i];
		struct str line = lines ? u->body[at] : STR_NONE;

		if (u->stream[at] != stream) {
			stream = u->stream[at];
			of = find_hidden(streams, n_streams, stream);
		}
		u->pick[kept] = at;
		kept += !of ||
			!hidden_record(v, list + of->at, of->n, u->timestamp[at], u->seq[at], line);
	}
	return kept;
}

struct rows unit_rows(const struct unit *u, size_t n_picked, unsigned columns)
{
	return (struct rows){
		.n = n_picked,
		.pick = u->pick,
		.timestamp = u->timestamp,
		.seq = columns & UNIT_SEQ ? u->seq : NULL,
		.stream = u->stream,
		.body = columns & UNIT_BODY ? u->body : NULL,
		.meta = columns & UNIT_META ? u->meta : NULL,
		.severity = u->severity,
		.flags = u->flags,
		.position = columns & UNIT_SOURCE ? u->position : NULL,
		.source = columns & UNIT_SOURCE ? u->source : NULL,
		.template = columns & UNIT_TEMPLATE ? u->template : NULL,
	};
}

/* Units */

bool unit_overlaps(const struct scan *scan, uint64_t until_seq, int64_t min_ns, int64_t max_ns,
	uint64_t min_seq, uint64_t max_seq)
{
	return max_ns >= scan->from_ns && min_ns < scan->to_ns && max_seq > scan->after_seq &&
	       min_seq <= until_seq;
}

int unit_wanted(const struct scan *scan, int64_t min_ns, int64_t max_ns, struct error *e)
{
	if (scan->cancel && atomic_load_explicit(scan->cancel, memory_order_relaxed))
		return error_set(e, ERR_CANCELLED, "the scan was cancelled");
	return !scan->want_span || scan->want_span(scan->ctx, min_ns, max_ns);
}

uint64_t unit_key(enum scan_order order, int64_t min_ns, int64_t max_ns, uint64_t min_seq)
{
	const uint64_t sign = UINT64_C(1) << 63; /* makes the order of signed that of unsigned */

	switch (order) {
	case SCAN_NEWEST_FIRST: return ~((uint64_t)max_ns ^ sign);
	case SCAN_OLDEST_FIRST: return (uint64_t)min_ns ^ sign;
	case SCAN_BY_SEQ: return min_seq;
	}
	return 0;
}
