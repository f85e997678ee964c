/* SPDX-License-Identifier: Apache-2.0 */
/*
 * | context -B 3 -A 3: the lines around, in their streams, as they are stored.
 *
 * The neighbours of a line are the pages of its stream that begin at it, so
 * they are asked for as such: a block that begins far from it is not read.  For
 * how many lines that is done is limited, whatever page of the answer is asked
 * for, so that all pages are of one and the same answer.
 */
#include "query/reshape.h"

#include <inttypes.h>
#include <stdio.h>

/* Marks a neighbour until it is clear that it is no hit itself. */
#define NEIGHBOUR UINT32_MAX

static int take(struct run *run, struct entries *l, const struct query_result *found,
	struct str labels, struct error *e)
{
	int r = 0;

	for (size_t i = 0; i < found->n_entries && r == 0; i++) {
		struct query_entry x = found->entries[i];

		x.labels = x.stream = labels;
		x.nth = NEIGHBOUR;
		if ((r = entries_grow(run, l, e)) < 0 || (r = entry_hold(run, &x, e)) < 0)
			break;
		l->list[l->n++] = x;
	}
	return r;
}

/* Up to n lines of the stream of `of`, on one side of it, within the asked time. */
static int neighbours(struct run *run, struct entries *l, const struct query_entry *of, uint32_t n,
	bool after, struct error *e)
{
	static const struct expr everything = {.kind = EXPR_LOG};
	const struct query q = {.root = &everything};
	struct query_params p = *run->params;
	struct query_result found;
	int r;

	if (n == 0)
		return 0;
	p.limit = n;
	p.skip = 0;
	p.forward = after;
	p.stream = of->stream;
	p.resume = true;
	p.resume_ns = of->timestamp;
	p.resume_seq = of->seq;
	p.explain = false;
	p.account = run->out->account;
	p.memory_bytes = run->out->account->limit;
	p.timeout_ns = run->deadline_ns - clock_mono_ns(clock_real());
	if (p.timeout_ns <= 0)
		return run_check(run, e);
	if ((r = source_query(run->source, &q, &p, &found, e)) < 0)
		return r;
	run_add_stats(&run->out->stats, &found.stats);
	for (size_t i = 0; i < found.n_warnings; i++)
		run_warn(run, found.warnings[i]);
	r = take(run, l, &found, of->stream, e);
	query_result_fini(&found);
	return r;
}

/* Of a record that was found several times the hits stay, else one. */
static void leave_one(struct run *run, struct entries *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n;) {
		const struct query_entry *first = &l->list[i];
		size_t end = i, hits = 0;

		for (; end < l->n && l->list[end].seq == first->seq &&
			l->list[end].timestamp == first->timestamp;
			end++)
			hits += l->list[end].nth != NEIGHBOUR;
		for (size_t k = i; k < end; k++) {
			struct query_entry x = l->list[k];
			if (hits ? x.nth == NEIGHBOUR : k > i) {
				entry_drop(run, &x);
				continue;
			}
			x.nth = hits ? x.nth : 0;
			l->list[n++] = x;
		}
		i = end;
	}
	l->n = n;
}

int reshape_context(
	struct run *run, const struct reshape *shape, struct entries *l, struct error *e)
{
	bool cut = l->n > RESHAPE_HITS_MAX;
	size_t hits;
	int r = 0;

	if (cut) {
		char sentence[120];
		snprintf(sentence, sizeof sentence,
			"context: only the first %d lines are shown, with those around them",
			RESHAPE_HITS_MAX);
		run_warn(run, sentence);
		entries_cut(run, l, 0, RESHAPE_HITS_MAX);
	}
	hits = l->n;
	for (size_t i = 0; i < hits && r == 0; i++) {
		/* The list may move when it grows. */
		struct query_entry of = l->list[i];

		if ((r = neighbours(run, l, &of, shape->before, false, e)) == 0)
			r = neighbours(run, l, &of, shape->after, true, e);
	}
	if (r == 0 && (r = entries_sort(run, l, run->params->forward, e)) == 0)
		leave_one(run, l);
	return r;
}
