/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the parts: which of the files in the directory are the store.
 *
 * With a manifest the question is only what to do with files that it does not
 * list.  Above flushed_until: built just before a crash, adopted.  In the range
 * of a part that cannot be read: what it was merged from, or an older version
 * of it, adopted, since it is all there is.  Around parts that cannot be read:
 * the result of a merge, adopted.  All others were merged or dropped, and a
 * crash or a reader kept their files: removed.
 *
 * Without a manifest all files that can be read are candidates.  Of those that
 * overlap, the one that begins first and reaches furthest is kept: a merged part
 * had all of its inputs before it got its name.  Those inside it and of lower
 * level are its inputs, and removed; anything else that overlaps is told and
 * left where it is.
 *
 * A part that cannot be read stays on the disk and does not cover its range:
 * whatever the journal still has of it is built anew.  Its range is a hole of
 * the manifest until that is done, and a bound for merges as long as the file
 * is there: put in order later, it must fit in again.
 */
#include <stdlib.h>

#include "base/log.h"
#include "store/parts/parts_core.h"

enum { MANIFEST_BYTES_MAX = 64 << 20 };

struct found {
	struct part_summary summary;
	bool listed; /* in the manifest */
	bool keep;
};

struct load {
	struct parts *ps;
	struct manifest old;
	bool has_manifest;
	bool changed; /* the manifest must be written again */
	struct found *all;
	size_t n;
};

static bool overlaps(const struct part_summary *s, uint64_t first, uint64_t last)
{
	return s->first_seq <= last && first <= s->last_seq;
}

static bool inside(const struct part_summary *s, uint64_t first, uint64_t last)
{
	return first <= s->first_seq && s->last_seq <= last;
}

static void path_of(const struct parts *ps, const char *name, struct buf *out)
{
	buf_clear(out);
	buf_printf(out, "%s/%s", ps->dir, name);
	buf_cstr(out);
}

static void remove_file(struct parts *ps, const struct part_summary *s, const char *why)
{
	struct buf path = {0};

	buf_printf(&path, "%s/", ps->dir);
	part_name(&path, s);
	log_info("store", "removing %s: %s", buf_cstr(&path), why);
	fs_unlink(ps->fs, buf_cstr(&path), NULL);
	buf_fini(&path);
}

static void add_range(struct seq_range **ranges, size_t *n, uint64_t first, uint64_t last)
{
	*ranges = xrealloc(*ranges, (*n + 1) * sizeof **ranges);
	(*ranges)[(*n)++] = (struct seq_range){first, last};
}

static int compare_ranges(const void *a, const void *b)
{
	const struct seq_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/* Sort, and join what overlaps. */
static void tidy_ranges(struct seq_range *r, size_t *n)
{
	size_t kept = 0;

	if (*n > 1)
		qsort(r, *n, sizeof *r, compare_ranges);
	for (size_t i = 0; i < *n; i++) {
		if (kept > 0 && r[i].first <= r[kept - 1].last) {
			if (r[i].last > r[kept - 1].last)
				r[kept - 1].last = r[i].last;
		} else {
			r[kept++] = r[i];
		}
	}
	*n = kept;
}

/* What a part file says of itself; false and a warning when it is damaged. */
static bool read_summary(struct load *l, const char *name, struct part_summary *out)
{
	struct part_summary named = *out;
	struct part_footer *footer = NULL;
	struct buf path = {0};
	struct file *f = NULL;
	struct error e;
	int r;

	path_of(l->ps, name, &path);
	if ((r = fs_open(l->ps->fs, path.p, FILE_READ, &f, &e)) == 0 &&
		(r = part_footer_read(f, &footer, &e)) == 0) {
		*out = footer->summary;
		out->revision = named.revision;
		r = file_size(f, &out->file_bytes, &e);
	}
	if (r == 0 && (out->first_seq != named.first_seq || out->last_seq != named.last_seq))
		r = error_set(&e, ERR_CORRUPT, "its name is not its own");
	if (r < 0) {
		log_warn("store", "part %s is left out: %s", name, e.text);
		add_range(&l->ps->unread, &l->ps->n_unread, named.first_seq, named.last_seq);
	}
	part_footer_free(footer);
	file_close(f);
	buf_fini(&path);
	return r == 0;
}

/* Is the file as long as the manifest says?  The cheapest sign of a part that was cut. */
static bool is_whole(struct load *l, const char *name, const struct part_summary *s)
{
	struct file_stat st;
	struct buf path = {0};
	int r;

	path_of(l->ps, name, &path);
	r = fs_stat(l->ps->fs, path.p, &st, NULL);
	buf_fini(&path);
	return r == 0 && st.size == s->file_bytes;
}

static void add_file(struct load *l, const char *name)
{
	struct found *f = &l->all[l->n];
	const struct part_summary *known;
	struct buf path = {0};

	if (str_ends(str_c(name), STR(".part.tmp"))) {
		path_of(l->ps, name, &path);
		fs_unlink(l->ps->fs, path.p, NULL); /* of a build or merge that was cut short */
		buf_fini(&path);
	}
	if (!part_name_parse(str_c(name), &f->summary))
		return;
	known = manifest_find(&l->old, &f->summary);
	if (known && is_whole(l, name, known)) {
		f->summary = *known;
		f->listed = f->keep = true;
		l->n++;
	} else if (read_summary(l, name, &f->summary)) {
		f->listed = known != NULL;
		f->keep = f->listed;
		l->changed = true;
		l->n++;
	}
}

static int list_files(struct load *l, struct error *e)
{
	struct buf names = {0};
	const char *name;
	size_t n;
	int r;

	if ((r = fs_list(l->ps->fs, l->ps->dir, &names, &n, e)) == 0) {
		l->all = xcalloc(n, sizeof *l->all);
		name = names.p;
		for (size_t i = 0; i < n; i++, name += strlen(name) + 1)
			add_file(l, name);
	}
	buf_fini(&names);
	return r;
}

static void load_manifest(struct load *l)
{
	struct buf path = {0}, bytes = {0};
	struct error e;
	int r;

	path_of(l->ps, "MANIFEST", &path);
	if ((r = fs_read_all(l->ps->fs, path.p, MANIFEST_BYTES_MAX, &bytes, &e)) == 0)
		r = manifest_decode(&l->old, buf_view(&bytes), &e);
	l->has_manifest = r == 0;
	l->changed = r < 0;
	if (r < 0 && r != ERR_NOT_FOUND)
		log_warn("store",
			"manifest of parts: %s; made again from the parts.  Records that retention "
			"has dropped and the journal still holds come back until it drops them "
			"again",
			e.text);
	buf_fini(&path);
	buf_fini(&bytes);
}

/* By first sequence, those that reach further and newer versions before. */
static int compare_found(const void *a, const void *b)
{
	const struct part_summary *x = &((const struct found *)a)->summary,
				  *y = &((const struct found *)b)->summary;

	if (x->first_seq != y->first_seq)
		return x->first_seq < y->first_seq ? -1 : 1;
	if (x->last_seq != y->last_seq)
		return x->last_seq > y->last_seq ? -1 : 1;
	return x->revision > y->revision ? -1 : x->revision < y->revision;
}

/* Parts of the manifest that are not there, or not whole. */
static void find_holes(struct load *l)
{
	struct parts *ps = l->ps;
	size_t at = 0, missing = 0;

	for (size_t i = 0; i < l->old.n; i++) {
		const struct part_summary *s = &l->old.parts[i];
		bool there = false;

		while (at < l->n && l->all[at].summary.first_seq < s->first_seq)
			at++;
		for (size_t k = at; k < l->n && l->all[k].summary.first_seq == s->first_seq; k++)
			there = there || l->all[k].listed;
		if (there)
			continue;
		add_range(&ps->holes, &ps->n_holes, s->first_seq, s->last_seq);
		missing++;
	}
	if (missing > 0) {
		log_warn("store", "%zu of %zu parts in the manifest are missing or cut", missing,
			l->old.n);
		l->changed = true;
	}
	tidy_ranges(ps->holes, &ps->n_holes);
}

enum verdict { ADOPT, REMOVE, LEAVE };

/* What is to become of a file that the manifest does not list? */
static enum verdict judge(const struct load *l, const struct part_summary *s)
{
	const struct parts *ps = l->ps;
	bool missed = false, cuts = false;

	if (s->first_seq > ps->flushed_until)
		return ADOPT;
	for (size_t i = 0; i < ps->n_holes; i++)
		missed = missed || overlaps(s, ps->holes[i].first, ps->holes[i].last);
	for (size_t i = 0; i < l->n; i++)
		if (l->all[i].listed && overlaps(&l->all[i].summary, s->first_seq, s->last_seq) &&
			!inside(&l->all[i].summary, s->first_seq, s->last_seq))
			cuts = true;
	return !missed ? REMOVE : cuts ? LEAVE : ADOPT;
}

static void judge_unlisted(struct load *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct found *f = &l->all[i];

		if (f->listed)
			continue;
		switch (judge(l, &f->summary)) {
		case ADOPT:
			f->keep = true;
			/* A result of a merge stands for the inputs that can be read. */
			for (size_t k = 0; k < l->n; k++)
				if (l->all[k].listed && l->all[k].keep &&
					inside(&l->all[k].summary, f->summary.first_seq,
						f->summary.last_seq))
					l->all[k].keep = false;
			break;
		case REMOVE:
			remove_file(l->ps, &f->summary, "its records were merged or dropped");
			break;
		case LEAVE:
			log_warn("store", "part %llu-%llu overlaps others and is left out",
				(unsigned long long)f->summary.first_seq,
				(unsigned long long)f->summary.last_seq);
		}
	}
}

/* Of what is kept, a set without overlaps, in order. */
static void build_set(struct load *l)
{
	struct part **parts = xmalloc(l->n * sizeof(struct part *));
	const struct part_summary *before = NULL;
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		const struct part_summary *s = &l->all[i].summary;

		if (!l->all[i].keep)
			continue;
		if (!before || s->first_seq > before->last_seq) {
			parts[n++] = parts_make(l->ps, s);
			before = s;
			continue;
		}
		l->changed = true;
		if (inside(s, before->first_seq, before->last_seq) &&
			(s->level < before->level || (s->first_seq == before->first_seq &&
							     s->last_seq == before->last_seq)))
			remove_file(l->ps, s, "a merged part holds its records");
		else
			log_warn("store",
				"part %llu-%llu repeats records of another and is left out",
				(unsigned long long)s->first_seq, (unsigned long long)s->last_seq);
	}
	l->ps->set = part_set_new(parts, n);
	free(parts);
}

static void settle_holes(struct parts *ps)
{
	size_t kept = 0;

	/* What was adopted fills the holes it lies in. */
	for (size_t i = 0; i < ps->n_holes; i++) {
		bool filled = false;

		for (size_t k = 0; k < ps->set->n && !filled; k++) {
			const struct part_summary *s = &ps->set->parts[k]->summary;

			filled = s->first_seq <= ps->holes[i].first &&
				 ps->holes[i].last <= s->last_seq;
		}
		if (!filled)
			ps->holes[kept++] = ps->holes[i];
	}
	ps->n_holes = kept;
}

int parts_load(struct parts *ps, struct error *e)
{
	struct load l = {.ps = ps};
	int r;

	load_manifest(&l);
	if ((r = list_files(&l, e)) == 0) {
		if (l.n > 1)
			qsort(l.all, l.n, sizeof *l.all, compare_found);
		ps->flushed_until = l.old.flushed_until;
		for (size_t i = 0; i < l.old.n_holes; i++)
			add_range(&ps->holes, &ps->n_holes, l.old.holes[i].first,
				l.old.holes[i].last);
		for (size_t i = 0; i < ps->n_unread; i++)
			add_range(
				&ps->holes, &ps->n_holes, ps->unread[i].first, ps->unread[i].last);
		find_holes(&l);
		if (l.has_manifest)
			judge_unlisted(&l);
		for (size_t i = 0; i < l.n && !l.has_manifest; i++)
			l.all[i].keep = true;
		build_set(&l);
		settle_holes(ps);
		tidy_ranges(ps->unread, &ps->n_unread);
		for (size_t i = 0; l.has_manifest && i < ps->set->n; i++)
			if (ps->set->parts[i]->summary.last_seq > ps->flushed_until)
				ps->flushed_until = ps->set->parts[i]->summary.last_seq;
		/* A manifest that cannot be written now is written with the next part. */
		if (l.changed && parts_save(ps, ps->set, e) < 0)
			log_warn("store", "manifest of parts: %s",
				e ? e->text : "cannot be written");
	}
	free(l.all);
	manifest_fini(&l.old);
	return r;
}
