/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record is looked up as what it is in the journal: the one between two
 * sequences.  Its neighbours are those of its stream in the order of all
 * answers, (time, sequence), so they are pages of a query that begin at it.
 */
#include "query/record.h"

#include <inttypes.h>

#include "query/peers.h"
#include "query/source.h"

/* All time, the newest first: a unit whose time is beyond is not read. */
static int neighbours(const struct query *q, struct source *s, const struct query_params *p,
	const struct query_entry *of, uint64_t context, bool after, struct query_result *out,
	struct error *e)
{
	struct query_params at = *p;

	at.start_ns = INT64_MIN;
	at.end_ns = INT64_MAX;
	at.limit = context;
	at.forward = after;
	at.stream = of->labels;
	at.resume = true;
	at.resume_ns = of->timestamp;
	at.resume_seq = of->seq;
	return source_query(s, q, &at, out, e);
}

static void reverse(struct query_result *r)
{
	for (size_t i = 0; i < r->n_entries / 2; i++) {
		struct query_entry x = r->entries[i];
		r->entries[i] = r->entries[r->n_entries - 1 - i];
		r->entries[r->n_entries - 1 - i] = x;
	}
}

static int find(const struct query *q, struct source *s, uint64_t seq, const struct query_params *p,
	struct query_result *out, struct error *e)
{
	struct query_params at = *p;
	int r;

	at.start_ns = INT64_MIN;
	at.end_ns = INT64_MAX;
	at.only = 1 + (unsigned)(seq >> PEER_SEQ_SHIFT);
	at.until_seq = seq & ((UINT64_C(1) << PEER_SEQ_SHIFT) - 1);
	at.after_seq = at.until_seq - 1;
	at.limit = 1;
	if (at.until_seq && (at.only > 1 || seq <= s->last_seq(s))) {
		if ((r = source_query(s, q, &at, out, e)) < 0)
			return r;
		if (out->n_entries)
			return 0;
		/* The peer that would have it did not answer: it is not known to be gone. */
		if (at.only > 1 && out->n_warnings)
			r = error_set(
				e, ERR_CLOSED, "record %" PRIu64 ": %s", seq, out->warnings[0]);
		query_result_fini(out);
		if (r < 0)
			return r;
	}
	return error_set(e, ERR_NOT_FOUND,
		"there is no record %" PRIu64
		": it is past its retention, was deleted, or is not of this tenant",
		seq);
}

int source_record(struct source *s, uint64_t seq, uint64_t context, const struct query_params *p,
	struct query_record *out, struct error *e)
{
	struct query_record found = {0};
	struct query *q;
	int r;

	if ((r = query_parse(&q, STR("{}"), e)) < 0)
		return r;
	if ((r = find(q, s, seq, p, &found.self, e)) == 0 && context) {
		const struct query_entry *of = found.self.entries;
		if ((r = neighbours(q, s, p, of, context, false, &found.before, e)) == 0)
			r = neighbours(q, s, p, of, context, true, &found.after, e);
		reverse(&found.before);
	}
	query_free(q);
	if (r < 0)
		query_record_fini(&found);
	else
		*out = found;
	return r;
}

void query_record_fini(struct query_record *r)
{
	struct query_result *all[] = {&r->self, &r->before, &r->after};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i]->account)
			query_result_fini(all[i]);
}
