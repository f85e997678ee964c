/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Levels by count, bounded by size.
 *
 * Parts of a level are merged when there are `fan` of them side by side and
 * together they make a large part, or when there are twice as many.  What has
 * grown to MERGE_FINAL is left alone: blocks are copied, so merging large parts
 * would gain nothing but fewer footers.  A byte that comes in a flood is so
 * written twice, one that trickles in three times.
 *
 * When a day has passed and gets no more parts, what it left is put together,
 * as long as the largest is at most half of the result: that bounds how often
 * a byte is written by the logarithm of the size.
 */
#include "store/parts/merger.h"

#include <stdlib.h>

/* In bytes of lines.  What a merge saves is footers: of 537 MB of logs of eight systems in 21 parts
 * 31.0 MB became 30.4 with 256 MiB, as many parts were left over, and 30.0 with 160.  To make the
 * blocks anew by stream gives 28.4 MB, but takes as long as to build them did. */
#define MERGE_FINAL (UINT64_C(160) << 20)
#define MERGE_MOST  (UINT64_C(2) << 30) /* of a merged part */

int64_t part_day_end(const struct part_summary *s)
{
	int64_t end;

	return __builtin_mul_overflow((int64_t)s->day + 1, NS_PER_DAY, &end) ? INT64_MAX : end;
}

static bool joins(const struct merge_part *a, const struct merge_part *b)
{
	return !b->apart && !a->skip && !b->skip && a->summary->day == b->summary->day;
}

/* A run of one level that begins here: how many of it should be merged, 0 for none. */
static size_t level_run(const struct merge_part *parts, size_t n, const struct merge_rules *rules)
{
	uint64_t bytes = 0;
	size_t count = 0;

	for (; count < n && count < rules->most_parts && count < 2 * rules->fan; count++) {
		const struct part_summary *s = parts[count].summary;

		if (parts[count].skip || s->raw_bytes >= MERGE_FINAL ||
			bytes + s->raw_bytes > MERGE_MOST || s->level != parts[0].summary->level ||
			(count > 0 && !joins(&parts[count - 1], &parts[count])))
			break;
		bytes += s->raw_bytes;
		if (count + 1 >= rules->fan && bytes >= MERGE_FINAL)
			return count + 1;
	}
	if (count < 2)
		return 0;
	return count >= 2 * rules->fan || count == rules->most_parts ? count : 0;
}

/* The longest run from here whose largest part is at most half of it. */
static size_t day_run(const struct merge_part *parts, size_t n, const struct merge_rules *rules)
{
	uint64_t bytes = 0, largest = 0;
	size_t best = 0;

	if (parts[0].summary->day >= rules->today || parts[0].summary->day == rules->active_day)
		return 0;
	for (size_t i = 0; i < n && i < rules->most_parts; i++) {
		const struct part_summary *s = parts[i].summary;

		if (parts[i].skip || (i > 0 && !joins(&parts[i - 1], &parts[i])) ||
			bytes + s->raw_bytes > MERGE_MOST)
			break;
		bytes += s->raw_bytes;
		largest = s->raw_bytes > largest ? s->raw_bytes : largest;
		if (i > 0 && largest <= bytes / 2)
			best = i + 1;
	}
	return best;
}

bool merge_pick(const struct merge_part *parts, size_t n, const struct merge_rules *rules,
	size_t *at, size_t *count)
{
	for (size_t i = 0; i + 1 < n; i++) {
		if ((*count = level_run(parts + i, n - i, rules)) > 0) {
			*at = i;
			return true;
		}
	}
	for (size_t i = 0; i + 1 < n; i++) {
		if ((*count = day_run(parts + i, n - i, rules)) > 0) {
			*at = i;
			return true;
		}
	}
	return false;
}

/* How many rows of a stream are hidden by age, guessed by an even spread over its time.  Those of a
 * stream that will be hidden as a whole within a day are left to that moment. */
static uint64_t aged_rows(const struct part_stream *s, int64_t before_ns)
{
	double span = (double)s->max_ns - (double)s->min_ns,
	       old = (double)before_ns - (double)s->min_ns;

	if (s->max_ns < before_ns)
		return s->n_rows;
	if (span - old <= (double)NS_PER_DAY || old <= 0)
		return 0;
	return (uint64_t)((double)s->n_rows * (old / span));
}

unsigned hidden_share(const struct part_footer *footer, const struct part_summary *summary,
	const struct visibility *v)
{
	int64_t day_end = part_day_end(summary);
	struct buf list = {0};
	uint64_t rows = 0;
	unsigned found = 0;

	for (size_t i = 0; i < footer->n_streams; i++) {
		const struct part_stream *s = &footer->streams[i];
		const struct hidden *h;

		buf_clear(&list);
		visibility_of(v, footer->tenants[s->tenant], s->labels, s->min_ns, s->max_ns,
			summary->first_seq, &list);
		h = (const struct hidden *)list.p;
		for (size_t k = 0; k < list.n / sizeof *h; k++) {
			if (h[k].until_seq != UINT64_MAX) {
				found |= HIDDEN_DELETED;
				continue;
			}
			rows += aged_rows(s, h[k].to_ns);
			/* All of it but what claims to come from the future. */
			if (h[k].to_ns >= day_end)
				found |= HIDDEN_MUCH;
		}
	}
	buf_fini(&list);
	return rows > 0 && rows * 4 >= summary->n_rows ? found | HIDDEN_MUCH : found;
}
