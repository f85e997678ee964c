/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts engine: the set of parts, the manifest, and their recovery.
 *
 * A part becomes durable under its own name, then the manifest that lists it;
 * a crash between the two leaves a whole part the manifest does not know.  At
 * the start it is adopted, since its records are the same as the journal's, and
 * the journal is read with the parts' ranges in hand.  Ranges of parts are
 * disjoint; where files disagree, the earlier and larger one is kept, so no
 * record is ever shown twice.
 *
 * A part that cannot be opened stays on the disk, is told, and does not cover
 * its range: whatever the journal still has of it is built anew.
 */
#include "store/parts/parts.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "store/parts/manifest.h"
#include "store/parts/part_set.h"

enum { MANIFEST_BYTES_MAX = 64 << 20 };

struct parts {
	struct engine_base base;
	/* Fixed. */
	struct fs *fs;
	char *dir;
	struct part_writer writer;
	struct footer_cache cache;
	/* Changed under the store's lock by the builder. */
	struct part_set *set;
	/* The builder's. */
	struct part_set *next; /* what publish shows */
};

static struct parts *parts_of(struct engine *g)
{
	return (struct parts *)g;
}

static void part_path(const struct parts *ps, const struct part_summary *s, struct buf *out)
{
	buf_clear(out);
	buf_printf(out, "%s/", ps->dir);
	part_name(out, s);
	buf_cstr(out);
}

static struct part *make_part(struct parts *ps, const struct part_summary *summary)
{
	struct buf path = {0};
	struct part *p;

	part_path(ps, summary, &path);
	p = part_new(ps->fs, path.p, summary, &ps->cache);
	buf_fini(&path);
	return p;
}

static int save_manifest(struct parts *ps, const struct part_set *set, struct error *e)
{
	struct manifest m = {.parts = xcalloc(set->n, sizeof *m.parts), .n = set->n};
	struct buf bytes = {0}, path = {0};
	int r;

	for (size_t i = 0; i < set->n; i++)
		m.parts[i] = set->parts[i]->summary;
	manifest_encode(&m, &bytes);
	buf_printf(&path, "%s/MANIFEST", ps->dir);
	r = fs_write_all(ps->fs, buf_cstr(&path), buf_view(&bytes), e);
	manifest_fini(&m);
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

static int engine_write(struct engine *g, struct batch *const *batches, size_t n, struct error *e)
{
	struct parts *ps = parts_of(g);
	struct part_summary summary;
	int r;

	assert(!ps->next);
	if ((r = part_write(&ps->writer, batches, n, &summary, e)) < 0)
		return r;
	ps->next = with_part(ps->set, make_part(ps, &summary));
	if ((r = save_manifest(ps, ps->next, e)) < 0) {
		part_set_unref(ps->next);
		ps->next = NULL;
	}
	return r;
}

static void engine_publish(struct engine *g)
{
	struct parts *ps = parts_of(g);

	assert(ps->next);
	part_set_unref(ps->set);
	ps->set = ps->next;
	ps->next = NULL;
}

/* Opening */

/* What a part file says of itself; false and a warning when it is damaged. */
static bool summary_of(struct parts *ps, const char *name, struct part_summary *out)
{
	struct part_footer *footer = NULL;
	struct buf path = {0};
	struct file *f = NULL;
	struct error e;
	int r;

	buf_printf(&path, "%s/%s", ps->dir, name);
	if ((r = fs_open(ps->fs, buf_cstr(&path), FILE_READ, &f, &e)) == 0 &&
		(r = part_footer_read(f, &footer, &e)) == 0) {
		*out = footer->summary;
		r = file_size(f, &out->file_bytes, &e);
	}
	if (r == 0 && (!part_name_parse(str_c(name), out) ||
			      out->first_seq != footer->summary.first_seq ||
			      out->last_seq != footer->summary.last_seq))
		r = error_set(&e, ERR_CORRUPT, "its name is not its own");
	if (r < 0)
		log_warn("store", "part %s is left out: %s", name, e.text);
	part_footer_free(footer);
	file_close(f);
	buf_fini(&path);
	return r == 0;
}

static const struct part_summary *in_manifest(
	const struct manifest *m, uint64_t first_seq, uint64_t last_seq)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->parts[mid].first_seq < first_seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < m->n && m->parts[lo].first_seq == first_seq && m->parts[lo].last_seq == last_seq
		       ? &m->parts[lo]
		       : NULL;
}

static void load_manifest(struct parts *ps, struct manifest *m, bool *damaged)
{
	struct buf path = {0}, bytes = {0};
	struct error e;
	int r;

	buf_printf(&path, "%s/MANIFEST", ps->dir);
	if ((r = fs_read_all(ps->fs, buf_cstr(&path), MANIFEST_BYTES_MAX, &bytes, &e)) == 0)
		r = manifest_decode(m, buf_view(&bytes), &e);
	*damaged = r < 0;
	if (r < 0 && r != ERR_NOT_FOUND)
		log_warn("store", "manifest of parts: %s; made again from the parts", e.text);
	buf_fini(&path);
	buf_fini(&bytes);
}

static int compare_summaries(const void *a, const void *b)
{
	const struct part_summary *x = a, *y = b;

	if (x->first_seq != y->first_seq)
		return x->first_seq < y->first_seq ? -1 : 1;
	return x->last_seq > y->last_seq ? -1 : x->last_seq < y->last_seq;
}

/* Is the file as long as the manifest says?  The cheapest sign of a part that was cut. */
static bool is_whole(struct parts *ps, const char *name, const struct part_summary *s)
{
	struct buf path = {0};
	struct file *f = NULL;
	uint64_t size = 0;

	buf_printf(&path, "%s/%s", ps->dir, name);
	if (fs_open(ps->fs, buf_cstr(&path), FILE_READ, &f, NULL) == 0)
		file_size(f, &size, NULL);
	file_close(f);
	buf_fini(&path);
	return size == s->file_bytes;
}

/* Every part file in the directory that can be used.  *changed: not what the manifest says. */
static int list_parts(struct parts *ps, const struct manifest *m, struct manifest *out,
	bool *changed, struct error *e)
{
	struct buf names = {0};
	const char *name;
	size_t n, known = 0;
	int r;

	if ((r = fs_list(ps->fs, ps->dir, &names, &n, e)) < 0)
		return r;
	out->parts = xcalloc(n, sizeof *out->parts);
	name = names.p;
	for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
		const struct part_summary *s;
		struct part_summary named;

		if (str_ends(str_c(name), STR(".part.tmp"))) {
			struct buf path = {0};

			buf_printf(&path, "%s/%s", ps->dir, name);
			fs_unlink(ps->fs, buf_cstr(&path), NULL); /* of a build cut short */
			buf_fini(&path);
		}
		if (!part_name_parse(str_c(name), &named))
			continue;
		if ((s = in_manifest(m, named.first_seq, named.last_seq)) && is_whole(ps, name, s)) {
			out->parts[out->n++] = *s;
			known++;
		} else if (summary_of(ps, name, &out->parts[out->n])) {
			out->n++;
			*changed = true;
		}
	}
	if (known != m->n) {
		log_warn("store", "%zu of %zu parts in the manifest are missing or cut",
			m->n - known, m->n);
		*changed = true;
	}
	buf_fini(&names);
	return 0;
}

static void build_set(struct parts *ps, struct manifest *found)
{
	struct part **parts = xmalloc(found->n * sizeof(struct part *));
	uint64_t last = 0;
	size_t n = 0;

	qsort(found->parts, found->n, sizeof *found->parts, compare_summaries);
	for (size_t i = 0; i < found->n; i++) {
		const struct part_summary *s = &found->parts[i];

		if (s->first_seq <= last) {
			log_warn("store",
				"part %llu-%llu repeats records of another and is left out",
				(unsigned long long)s->first_seq, (unsigned long long)s->last_seq);
			continue;
		}
		last = s->last_seq;
		parts[n++] = make_part(ps, s);
	}
	ps->set = part_set_new(parts, n);
	free(parts);
}

static void engine_close(struct engine *g)
{
	struct parts *ps = parts_of(g);

	part_set_unref(ps->next);
	part_set_unref(ps->set);
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
	const struct part_set *set = parts_of(g)->set;
	size_t lo = 0, hi = set->n;

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
	const struct part_set *set = parts_of(g)->set;

	*out = (struct engine_figures){.parts = set->n};
	for (size_t i = 0; i < set->n; i++) {
		const struct part_summary *s = &set->parts[i]->summary;

		out->bytes += s->file_bytes;
		out->records += s->n_rows;
		out->raw_bytes += s->raw_bytes;
		out->last_seq = s->last_seq;
	}
}

static void engine_dump(struct engine *g, struct buf *out)
{
	const struct parts *ps = parts_of(g);
	struct engine_figures f;

	engine_figures(g, &f);
	buf_printf(out,
		"parts %s: %llu parts, %llu bytes, %llu records of %llu bytes; idle footers %llu of "
		"%llu bytes\n",
		ps->dir, (unsigned long long)f.parts, (unsigned long long)f.bytes,
		(unsigned long long)f.records, (unsigned long long)f.raw_bytes,
		(unsigned long long)atomic_load(&ps->cache.idle),
		(unsigned long long)ps->cache.limit);
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
	.scan_begin = engine_scan_begin,
	.scan_peek = engine_scan_peek,
	.scan_read = engine_scan_read,
	.scan_end = engine_scan_end,
	.streams = engine_streams,
};

int parts_open(struct engine **out, const struct parts_options *o, struct error *e)
{
	struct parts *ps = xcalloc(1, sizeof *ps);
	struct manifest m = {0}, found = {0};
	uint64_t block_raw = o->memory / 64;
	bool changed = false;
	int r;

	ps->base.type = &engine_parts;
	ps->fs = o->fs;
	ps->dir = xstrdup(o->dir);
	ps->cache = (struct footer_cache){.account = o->account, .limit = o->memory / 16};
	ps->writer = (struct part_writer){
		.fs = o->fs,
		.dir = ps->dir,
		.account = o->account,
		.block_raw = block_raw > BLOCK_RAW_MAX   ? BLOCK_RAW_MAX
			     : block_raw < BLOCK_RAW_MIN ? BLOCK_RAW_MIN
							 : (size_t)block_raw,
	};
	if ((r = fs_mkdir(o->fs, o->dir, e)) < 0)
		goto out;
	load_manifest(ps, &m, &changed);
	if ((r = list_parts(ps, &m, &found, &changed, e)) < 0)
		goto out;
	build_set(ps, &found);
	/* A manifest that cannot be written now is written with the next part. */
	if (changed && save_manifest(ps, ps->set, e) < 0)
		log_warn("store", "manifest of parts: %s", e ? e->text : "cannot be written");
	*out = (struct engine *)ps;
	ps = NULL;
out:
	manifest_fini(&m);
	manifest_fini(&found);
	if (ps)
		engine_close((struct engine *)ps);
	return r < 0 ? error_wrap(e, r, "parts %s", o->dir) : 0;
}
