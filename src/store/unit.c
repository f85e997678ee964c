/* SPDX-License-Identifier: Apache-2.0 */
#include "store/unit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	ROW_BYTES = sizeof(int64_t) + 2 * sizeof(uint64_t) + 2 * sizeof(struct str) +
		    3 * sizeof(uint32_t) + 2,
};

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

void unit_fini(struct unit *u)
{
	if (u->account)
		account_release(u->account, u->cap * ROW_BYTES);
	free(u->memory);
	*u = (struct unit){.account = u->account};
}

int unit_reserve(struct unit *u, size_t n, struct error *e)
{
	char *p;
	int r;

	if (n <= u->cap)
		return 0;
	unit_fini(u);
	if ((r = scan_charge(u->account, n * ROW_BYTES, e)) < 0)
		return r;
	/* Widest first, so that each column is aligned. */
	u->cap = n;
	u->memory = p = xmalloc(n * ROW_BYTES);
	u->body = (struct str *)p;
	u->meta = u->body + n;
	u->timestamp = (int64_t *)(u->meta + n);
	u->seq = (uint64_t *)(u->timestamp + n);
	u->position = u->seq + n;
	u->stream = (uint32_t *)(u->position + n);
	u->source = u->stream + n;
	u->pick = u->source + n;
	u->severity = (uint8_t *)(u->pick + n);
	u->flags = u->severity + n;
	return 0;
}

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

size_t unit_pick(struct unit *u, size_t n, const struct scan *scan, uint64_t until_seq,
	const uint8_t *wanted, uint32_t source)
{
	size_t picked = 0;

	for (size_t i = 0; i < n; i++) {
		bool pass = u->timestamp[i] >= scan->from_ns && u->timestamp[i] < scan->to_ns &&
			    u->seq[i] > scan->after_seq && u->seq[i] <= until_seq &&
			    (!wanted || wanted[u->stream[i]]) &&
			    (!source || u->source[i] == source);

		u->pick[picked] = (uint32_t)i;
		picked += pass;
	}
	return picked;
}

/* One search over all of the lines' bytes, not one a line: where a line has no hit, which is the
 * common case, it costs a comparison.  A hit across two lines is none. */
size_t unit_keep(struct unit *u, size_t n_picked, struct str contains)
{
	const char *hit = NULL, *end = NULL;
	size_t kept = 0;

	for (size_t i = n_picked; i > 0 && !end; i--)
		if (u->body[u->pick[i - 1]].n > 0)
			end = u->body[u->pick[i - 1]].p + u->body[u->pick[i - 1]].n;
	for (size_t i = 0; i < n_picked; i++) {
		struct str line = u->body[u->pick[i]];

		if (line.n < contains.n)
			continue;
		if (!hit || hit < line.p)
			hit = memmem(line.p, (size_t)(end - line.p), contains.p, contains.n);
		if (!hit)
			break;
		if (hit <= line.p + (line.n - contains.n))
			u->pick[kept++] = u->pick[i];
	}
	return kept;
}

struct rows unit_rows(const struct unit *u, size_t n_picked)
{
	return (struct rows){
		.n = n_picked,
		.pick = u->pick,
		.timestamp = u->timestamp,
		.seq = u->seq,
		.stream = u->stream,
		.body = u->body,
		.meta = u->meta,
		.severity = u->severity,
		.flags = u->flags,
		.position = u->position,
		.source = u->source,
	};
}

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
