/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts engine: the set of parts and the manifest that tells it.
 *
 * A set is immutable; a change makes a new one, saves the manifest of it, and
 * shows it under the store's lock: one lock, `change`, is held from the first
 * to the last, so that builder and upkeep see each other's changes.  A crash
 * between a part and the manifest leaves a file that the next start adopts or
 * removes (parts_load.c).
 *
 * The head is built in the order of sequences, also after recovery.  So with
 * each part that is written all of what the journal had up to its end is in
 * parts: flushed_until, and what could not be read below it is known anew.
 */
#include "store/parts/parts.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "store/parts/parts_core.h"

enum {
	BUILD_LEVEL = 3, /* of zstd */
	MERGE_LEVEL = 6,
	MOST_PARTS = 64, /* in one merge */
	SMALL_MEMORY = 64 << 20,
};

struct part *parts_make(struct parts *ps, const struct part_summary *summary)
{
	struct buf path = {0};
	struct part *p;

	buf_printf(&path, "%s/", ps->dir);
	part_name(&path, summary);
	p = part_new(ps->fs, buf_cstr(&path), summary, &ps->cache);
	buf_fini(&path);
	return p;
}

int parts_save(struct parts *ps, const struct part_set *set, struct error *e)
{
	struct manifest m = {.flushed_until = ps->flushed_until,
		.holes = ps->holes,
		.n_holes = ps->n_holes,
		.parts = xcalloc(set->n, sizeof *m.parts),
		.n = set->n};
	struct buf bytes = {0}, path = {0};
	int r;

	for (size_t i = 0; i < set->n; i++) {
		m.parts[i] = set->parts[i]->summary;
		m.parts[i].cleaned = atomic_load(&set->parts[i]->cleaned);
	}
	manifest_encode(&m, &bytes);
	buf_printf(&path, "%s/MANIFEST", ps->dir);
	r = fs_write_all(ps->fs, buf_cstr(&path), buf_view(&bytes), e);
	free(m.parts);
	buf_fini(&bytes);
	buf_fini(&path);
	return r;
}

/* A new set: the old one with p in its place.  Takes p. */
static struct part_set *with_part(const struct part_set *old, struct part *p)
{
	struct part **parts = xmalloc((old->n + 1) * sizeof(struct part *));
	struct part_set *set;
	size_t n = 0, i = 0;

	for (; i < old->n && old->parts[i]->summary.first_seq < p->summary.first_seq; i++)
		parts[n++] = part_ref(old->parts[i]);
	parts[n++] = p;
	for (; i < old->n; i++)
		parts[n++] = part_ref(old->parts[i]);
	set = part_set_new(parts, n);
	free(parts);
	return set;
}

/* Writing */

static bool in_ranges(const struct seq_range *ranges, size_t n, uint64_t first, uint64_t last)
{
	for (size_t i = 0; i < n; i++)
		if (ranges[i].first <= last && first <= ranges[i].last)
			return true;
	return false;
}

/* The holes that are left when everything up to `last` has been built that can be.  Those of files
 * that are there and could not be read stay: put in order, such a file is taken in again. */
static void fill_holes(struct parts *ps, uint64_t last)
{
	size_t kept = 0;

	for (size_t i = 0; i < ps->n_holes; i++) {
		struct seq_range hole = ps->holes[i];

		if (hole.last > last || in_ranges(ps->unread, ps->n_unread, hole.first, hole.last))
			ps->holes[kept++] = hole;
	}
	ps->n_holes = kept;
}

/* Make the manifest of a set with a part that was built.  `change` stays held when it returns 0,
 * until engine_publish. */
static int stage(struct parts *ps, const struct part_summary *summary, struct error *e) UNCHECKED
{
	struct seq_range *holes;
	size_t n_holes;
	uint64_t flushed_until;
	int r;

	lock_take(&ps->change);
	assert(!ps->next);
	flushed_until = ps->flushed_until;
	holes = ps->holes;
	n_holes = ps->n_holes;
	ps->holes = xmalloc(n_holes * sizeof *holes);
	if (n_holes > 0)
		memcpy(ps->holes, holes, n_holes * sizeof *holes);
	fill_holes(ps, summary->last_seq);
	if (summary->last_seq > flushed_until)
		ps->flushed_until = summary->last_seq;
	ps->next = with_part(ps->set, parts_make(ps, summary));
	if ((r = parts_save(ps, ps->next, e)) == 0) {
		free(holes);
		return 0;
	}
	free(ps->holes);
	ps->holes = holes;
	ps->n_holes = n_holes;
	ps->flushed_until = flushed_until;
	part_set_unref(ps->next);
	ps->next = NULL;
	lock_drop(&ps->change);
	return r;
}

static int engine_write(struct engine *g, struct batch *const *batches, size_t n, struct error *e)
{
	struct parts *ps = parts_of(g);
	struct part_summary summary;
	int r;

	if ((r = part_write(&ps->writer, batches, n, &summary, e)) < 0)
		return r;
	atomic_fetch_add(&ps->written_bytes, summary.file_bytes);
	if ((r = stage(ps, &summary, e)) < 0)
		return r;
	ps->active_day = summary.day;
	ps->built_mono_ns = clock_mono_ns(ps->clock);
	return 0;
}

static void engine_publish(struct engine *g) UNCHECKED
{
	struct parts *ps = parts_of(g);

	assert(ps->next);
	part_set_unref(ps->set);
	ps->set = ps->next;
	ps->next = NULL;
	lock_drop(&ps->change);
}

static void engine_close(struct engine *g)
{
	struct parts *ps = parts_of(g);

	parts_upkeep_fini(ps);
	part_set_unref(ps->next);
	part_set_unref(ps->set);
	lock_fini(&ps->change);
	free(ps->holes);
	free(ps->unread);
	free(ps->dir);
	free(ps);
}

/* Views and figures */

static struct engine_view *engine_view(struct engine *g)
{
	return (struct engine_view *)part_set_ref(parts_of(g)->set);
}

static void engine_unref(struct engine_view *v)
{
	part_set_unref((struct part_set *)v);
}

static bool engine_covers(struct engine *g, uint64_t first_seq, uint64_t last_seq)
{
	const struct parts *ps = parts_of(g);
	const struct part_set *set = ps->set;
	size_t lo = 0, hi = set->n;

	if (last_seq <= ps->flushed_until &&
		!in_ranges(ps->holes, ps->n_holes, first_seq, last_seq))
		return true;
	/* The first part that ends at or behind first_seq. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (set->parts[mid]->summary.last_seq < first_seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < set->n && set->parts[lo]->summary.first_seq <= last_seq;
}

static void engine_figures(struct engine *g, struct engine_figures *out)
{
	struct parts *ps = parts_of(g);
	const struct part_set *set = ps->set;

	*out = (struct engine_figures){.parts = set->n,
		.last_seq = ps->flushed_until,
		.gone_bytes = atomic_load(&ps->gone_bytes),
		.written_bytes = atomic_load(&ps->written_bytes),
		.oldest_ns = INT64_MAX};
	for (size_t i = 0; i < set->n; i++) {
		const struct part_summary *s = &set->parts[i]->summary;

		out->bytes += s->file_bytes;
		out->records += s->n_rows;
		out->raw_bytes += s->raw_bytes;
		if (s->last_seq > out->last_seq)
			out->last_seq = s->last_seq;
		if (s->cleaned > out->cleaned)
			out->cleaned = s->cleaned;
		if (s->min_ns < out->oldest_ns)
			out->oldest_ns = s->min_ns;
	}
}

static void engine_dump(struct engine *g, struct buf *out)
{
	const struct parts *ps = parts_of(g);
	size_t levels[8] = {0};
	struct engine_figures f;

	engine_figures(g, &f);
	buf_printf(out,
		"parts %s: %llu parts, %llu bytes, %llu records of %llu bytes; idle footers %llu of "
		"%llu bytes; %llu bytes written, %llu of dropped parts in use; by level",
		ps->dir, (unsigned long long)f.parts, (unsigned long long)f.bytes,
		(unsigned long long)f.records, (unsigned long long)f.raw_bytes,
		(unsigned long long)atomic_load(&ps->cache.idle),
		(unsigned long long)ps->cache.limit, (unsigned long long)f.written_bytes,
		(unsigned long long)f.gone_bytes);
	for (size_t i = 0; i < ps->set->n; i++) {
		uint32_t level = ps->set->parts[i]->summary.level;

		levels[level < 8 ? level : 7]++;
	}
	for (size_t i = 0; i < 8; i++)
		if (levels[i] > 0)
			buf_printf(out, " %zu: %zu", i, levels[i]);
	buf_char(out, '\n');
}

static int engine_scan_begin(struct engine_view *v, struct scan *scan, uint64_t until_seq,
	struct engine_scan **out, struct error *e)
{
	return part_scan_begin((struct part_set *)v, scan, until_seq, (struct part_scan **)out, e);
}

static int engine_scan_peek(struct engine_scan *es, uint64_t *key, struct error *e)
{
	return part_scan_peek((struct part_scan *)es, key, e);
}

static int engine_scan_read(struct engine_scan *es, struct error *e)
{
	return part_scan_read((struct part_scan *)es, e);
}

static void engine_scan_end(struct engine_scan *es)
{
	part_scan_end((struct part_scan *)es);
}

static int engine_streams(struct engine_view *v, struct str tenant, int64_t from_ns, int64_t to_ns,
	void (*stream)(void *ctx, struct str labels), void *ctx, struct error *e)
{
	return part_set_streams((struct part_set *)v, tenant, from_ns, to_ns, stream, ctx, e);
}

static const struct engine_type engine_parts = {
	.name = "parts",
	.close = engine_close,
	.write = engine_write,
	.publish = engine_publish,
	.view = engine_view,
	.unref = engine_unref,
	.covers = engine_covers,
	.figures = engine_figures,
	.dump = engine_dump,
	.upkeep = parts_upkeep,
	.drop = parts_drop,
	.carried_out = parts_carried_out,
	.scan_begin = engine_scan_begin,
	.scan_peek = engine_scan_peek,
	.scan_read = engine_scan_read,
	.scan_end = engine_scan_end,
	.streams = engine_streams,
};

int parts_open(struct engine **out, const struct parts_options *o, struct error *e)
{
	struct parts *ps = xcalloc(1, sizeof *ps);
	/* Decoded, a block takes four times as much, and a merge holds several. */
	uint64_t block_raw = o->memory / (o->memory < SMALL_MEMORY ? 64 : 32);
	int r;

	assert(o->clock && o->lock);
	ps->base.type = &engine_parts;
	ps->fs = o->fs;
	ps->dir = xstrdup(o->dir);
	ps->clock = o->clock;
	ps->store_lock = o->lock;
	ps->merge_parts = o->merge_parts > 0 ? o->merge_parts : MERGE_PARTS;
	ps->most_parts = MOST_PARTS;
	ps->active_day = INT32_MIN;
	ps->cache = (struct footer_cache){.account = o->account, .limit = o->memory / 16};
	ps->writer = (struct part_writer){
		.fs = o->fs,
		.dir = ps->dir,
		.account = o->account,
		.block_raw = block_raw > BLOCK_RAW_MAX   ? BLOCK_RAW_MAX
			     : block_raw < BLOCK_RAW_MIN ? BLOCK_RAW_MIN
							 : (size_t)block_raw,
		.level = BUILD_LEVEL,
	};
	/* A merge asks for a share of what there is in all. */
	account_init(&ps->merge_account, "merges", o->memory, o->account);
	ps->merge_writer = ps->writer;
	ps->merge_writer.account = &ps->merge_account;
	ps->merge_writer.level = MERGE_LEVEL;
	lock_init(&ps->change);
	if ((r = fs_mkdir(o->fs, o->dir, e)) < 0 || (r = parts_load(ps, e)) < 0) {
		engine_close((struct engine *)ps);
		return error_wrap(e, r, "parts %s", o->dir);
	}
	*out = (struct engine *)ps;
	return 0;
}
