/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  The file of positions is replaced as a whole, by libuv's pool: its
 * fdatasync would hold the loop.  What must not be lost is the identity of a
 * file before its first line is sent; offsets may lag, since the server knows
 * its marks and drops what comes again.  So these are harmless:
 *
 *   killed before the identity is saved   nothing was sent: the file is new again
 *   killed between send and save          the same source is sent again, and dropped
 *   killed while saving                   the old file is there, whole
 *   a save fails                          new files wait, known ones go on
 *
 * Inputs that stop leave their positions here in memory; only the last one
 * waits for the disk.  A book that is left by all is read anew by the next
 * input, so a reload that stops and starts all of them is a restart without
 * the kill.  What may vanish meanwhile, files that are not read to their end,
 * stays open in `parked`.
 *
 * Earlier versions had one file of positions an input, `file-0/positions`.
 * They are merged once; each position keeps the id that its source was sent
 * with.
 */
#include "input/book.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "input/file.h"
#include "os/fs.h"

enum {
	KEPT_DAYS = 7,
	PARKED_MAX = 1000,
	SAVE_MS = 200,
	RETRY_SAVE_MS = 1000,
};
static const int64_t PARKED_NS = 60 * NS_PER_SEC;
/* Nothing is forgotten before all inputs have had their first look. */
static const int64_t FORGET_AFTER_NS = 600 * NS_PER_SEC;

/* Positions on their way to the disk. */
struct save {
	uv_work_t work;
	struct book *book;
	char *path;
	struct buf text;
	uint64_t number;
	int code;
	struct error error;
	int64_t started_mono;
};

/* All books that are open, and what closed ones left behind. */
static struct lock books_lock = LOCK_INIT;
static struct list books = {&books, &books};                   /* struct book */
static struct list left_behind = {&left_behind, &left_behind}; /* struct parked */

void parked_free(struct parked *p)
{
	list_remove(&p->node);
	if (p->fd >= 0)
		close(p->fd);
	free(p->dir);
	free(p->path);
	free(p->origin);
	free(p);
}

int64_t book_now_s(const struct book *b)
{
	return clock_now_ns(b->clock) / NS_PER_SEC;
}

/* Saving. */

static void save_at(struct book *b, uint64_t ms, bool urgent)
{
	bool was_urgent = b->urgent;

	b->unsaved = true;
	/* A new file waits for its identity: that goes before a pause that is on already. */
	b->urgent |= urgent;
	if (b->saving || list_empty(&b->inputs) || (b->save_due && (!urgent || was_urgent)))
		return;
	b->save_due = true;
	timer_set(&b->save_timer, ms, 0);
}

/* At once; but with thousands of files whose heads grow, their text must not take all of the
 * loop's time. */
void book_save_now(struct book *b)
{
	uint64_t ms = (uint64_t)(b->text_took_ns * 4 / NS_PER_MS);

	save_at(b, ms < SAVE_MS ? ms : SAVE_MS, true);
}

/* A sync must not take more than a few percent of the disk's time, and the text of thousands of
 * files not more of the loop's. */
void book_save_later(struct book *b)
{
	uint64_t ms = (uint64_t)((b->save_took_ns * 20 + b->text_took_ns * 100) / NS_PER_MS);

	save_at(b, ms > SAVE_MS ? ms : SAVE_MS, false);
}

static void save_work(uv_work_t *work) /* a thread of libuv's pool */
{
	struct save *s = CONTAINER(work, struct save, work);

	s->code = fs_write_all(fs_real(), s->path, buf_view(&s->text), &s->error);
}

/* What was merged is in the new file now. */
static void put_merged_away(struct book *b)
{
	struct str rest = buf_view(&b->merged);

	while (rest.n) {
		const char *from = str_cut(&rest, 0).p;
		struct buf to = {0};
		struct error e;

		buf_printf(&to, "%s.merged", from);
		if (fs_rename(fs_real(), from, buf_cstr(&to), &e) < 0)
			log_warn("input", "file: %s", e.text);
		buf_fini(&to);
	}
	buf_fini(&b->merged);
}

static void tails_saved(struct file_input *in, uint64_t number)
{
	LIST_EACH (at, &in->tails) {
		struct tail *t = CONTAINER(at, struct tail, node);

		if (!t->save || t->save > number)
			continue;
		t->save = 0;
		t->n_sealed = t->n_sealing;
		if (t->known && !t->sealing)
			continue;
		t->known = true;
		t->sealing = false;
		tails_ready(in, t);
	}
}

static void close_book(struct book *b, struct file_input *in);

static void save_done(uv_work_t *work, int status)
{
	struct save *s = CONTAINER(work, struct save, work);
	struct book *b = s->book;
	struct list leaving;

	(void)status;
	list_init(&leaving);
	while (!list_empty(&b->leaving)) {
		struct list *at = b->leaving.next;

		list_remove(at);
		list_append(&leaving, at);
	}
	b->saving = false;
	b->save_took_ns = clock_mono_ns(b->clock) - s->started_mono;
	if (s->code < 0) {
		if (!b->save_failing)
			log_error("input", "file: positions cannot be saved, new files wait: %s",
				s->error.text);
		b->save_failing = true;
		save_at(b, RETRY_SAVE_MS, false);
	} else {
		b->save_failing = b->globs_unknown = false;
		put_merged_away(b);
		LIST_EACH (at, &b->inputs)
			tails_saved(CONTAINER(at, struct file_input, in_book), s->number);
		if (b->unsaved && b->urgent)
			book_save_now(b);
		else if (b->unsaved)
			book_save_later(b);
	}
	buf_fini(&s->text);
	free(s->path);
	free(s);
	LIST_EACH (at, &leaving) {
		struct file_input *in = CONTAINER(at, struct file_input, in_book);

		list_remove(at);
		close_book(b, in);
	}
}

static void positions_text(struct book *b, struct buf *out)
{
	int64_t began = clock_mono_ns(b->clock), seen_s = book_now_s(b);

	positions_write_head(&b->kept, out);
	LIST_EACH (node, &b->inputs) {
		LIST_EACH (at, &CONTAINER(node, struct file_input, in_book)->tails) {
			struct tail *t = CONTAINER(at, struct tail, node);
			struct position p = {.seen_s = seen_s};

			tails_position(t, &p);
			position_write(&p, out);
			t->changed = false;
			if (!t->save && (!t->known || t->n_sealed < t->id.n_fingerprint)) {
				t->save = b->n_saves;
				t->n_sealing = t->id.n_fingerprint;
			}
		}
	}
	LIST_EACH (at, &b->kept.list)
		position_write(CONTAINER(at, struct position, node), out);
	LIST_EACH (at, &b->kept.lineages) {
		const struct lineage *l = CONTAINER(at, struct lineage, node);

		if (l->looked)
			lineage_write(l, out);
	}
	positions_write_globs(&b->kept, out);
	b->text_took_ns = clock_mono_ns(b->clock) - began;
}

static void save_positions(void *arg)
{
	struct book *b = arg;
	struct save *s;

	b->save_due = false;
	if (b->saving)
		return; /* it comes again when that one is done */
	s = xcalloc(1, sizeof(*s));
	s->book = b;
	s->number = ++b->n_saves;
	s->path = xstrdup(b->path);
	s->started_mono = clock_mono_ns(b->clock);
	positions_text(b, &s->text);
	b->saving = true;
	b->unsaved = b->urgent = false;
	uv_queue_work(loop_uv(b->loop), &s->work, save_work, save_done);
}

/* What is remembered. */

struct lineage *book_lineage(struct book *b, const char *path)
{
	union map_value *v = map_put(&b->lineages, str_c(path), NULL);
	struct lineage *l = v->p;

	if (!l) {
		v->p = l = positions_lineage(&b->kept, path);
		l->seen_s = l->accounted_s = book_now_s(b);
	}
	return l;
}

struct position *book_keep(struct book *b, const struct position *v)
{
	struct position *at = position_add(&b->kept, v);

	if (b->kept.n > KEPT_MAX)
		position_remove(&b->kept, CONTAINER(b->kept.list.next, struct position, node));
	return at;
}

/* What was not seen for long: its position is of no use, and its path no longer followed. */
void book_forget_old(struct book *b)
{
	int64_t oldest_s = book_now_s(b) - KEPT_DAYS * 86400, now = clock_mono_ns(b->clock);
	struct map old = {0};
	const struct map_slot *slot;
	size_t i = 0;

	LIST_EACH (at, &b->parked) {
		struct parked *p = CONTAINER(at, struct parked, node);

		if (now - p->since_mono > PARKED_NS)
			parked_free(p);
	}
	if (now - b->opened_mono < FORGET_AFTER_NS)
		return;
	LIST_EACH (node, &b->kept.list) {
		struct position *at = CONTAINER(node, struct position, node);

		if (at->seen_s < oldest_s)
			position_remove(&b->kept, at);
	}
	LIST_EACH (at, &b->kept.lineages) {
		struct lineage *l = CONTAINER(at, struct lineage, node);

		if (!list_empty(&l->tails) || l->seen_s >= oldest_s)
			continue;
		map_remove(&b->lineages, str_c(l->path));
		positions_forget(&b->kept, l);
	}
	while ((slot = map_next(&b->kept.globs, &i))) {
		if ((int64_t)slot->value.u < oldest_s)
			map_put(&old, slot->key, NULL);
	}
	i = 0;
	while ((slot = map_next(&old, &i)))
		map_remove(&b->kept.globs, slot->key);
	map_fini(&old);
}

/* Opening. */

static int load_file(struct positions *p, const char *path, struct error *e)
{
	size_t n_damaged;
	int r = positions_load(p, path, &n_damaged, e);

	if (r == ERR_CORRUPT)
		return error_wrap(
			e, r, "move this file away to send all files again from their start");
	if (r == 0 && n_damaged)
		log_warn("input", "file: %zu damaged lines in %s: their files are sent again",
			n_damaged, path);
	return r;
}

/* Is `name` that of a folder `<base>-<number>`? */
static bool of_older_layout(struct str name, struct str base)
{
	uint64_t n;

	return str_starts(name, base) && name.n > base.n && name.p[base.n] == '-' &&
	       str_u64(str_sub(name, base.n + 1, name.n), &n);
}

/* The positions of `<dir>-0`, `<dir>-1`, … are taken over.  That they are read twice when we are
 * killed before the first save does no harm: what is there already is not added. */
static int merge_older(struct book *b, struct error *e)
{
	const char *slash = strrchr(b->dir, '/');
	struct str base = str_c(slash ? slash + 1 : b->dir), rest;
	struct buf parent = {0}, names = {0}, path = {0};
	size_t n = 0;
	int r = 0;

	buf_str(&parent, slash ? str_make(b->dir, (size_t)(slash - b->dir)) : STR("."));
	if (fs_list(fs_real(), parent.n ? buf_cstr(&parent) : "/", &names, &n, NULL) < 0)
		n = 0;
	rest = buf_view(&names);
	while (r == 0 && n-- > 0) {
		struct str name = str_cut(&rest, 0);
		struct positions older;

		if (!of_older_layout(name, base))
			continue;
		buf_clear(&path);
		buf_printf(&path, "%.*s/%.*s/positions", STR_ARG(buf_view(&parent)), STR_ARG(name));
		positions_init(&older);
		r = load_file(&older, buf_cstr(&path), e);
		if (r == 0 && !older.fresh) {
			buf_str(&b->merged, buf_view(&path));
			buf_char(&b->merged, 0);
			b->globs_unknown |= older.globs.n == 0;
			positions_merge(&b->kept, &older);
			b->kept.fresh = false;
		}
		positions_fini(&older);
	}
	buf_fini(&parent);
	buf_fini(&names);
	buf_fini(&path);
	return r;
}

static void lineages_add(struct book *b)
{
	LIST_EACH (node, &b->kept.lineages) {
		struct lineage *l = CONTAINER(node, struct lineage, node);
		union map_value *v = map_put(&b->lineages, str_c(l->path), NULL);

		if (v->p)
			positions_forget(&b->kept, v->p);
		v->p = l;
	}
}

static void book_free(struct book *b)
{
	timer_fini(&b->save_timer);
	LIST_EACH (at, &b->parked)
		parked_free(CONTAINER(at, struct parked, node));
	map_fini(&b->lineages);
	map_fini(&b->by_inode);
	positions_fini(&b->kept);
	buf_fini(&b->merged);
	free(b->dir);
	free(b->path);
	free(b);
}

static int book_new(struct book **out, const struct input_env *env, struct error *e)
{
	struct book *b = xcalloc(1, sizeof(*b));
	struct buf path = {0};
	int r;

	b->refs = 1;
	b->dir = xstrdup(env->state_dir);
	b->loop = env->loop;
	b->clock = env->clock;
	b->opened_mono = clock_mono_ns(env->clock);
	list_init(&b->node);
	list_init(&b->inputs);
	list_init(&b->leaving);
	list_init(&b->parked);
	positions_init(&b->kept);
	timer_init(&b->save_timer, env->loop, save_positions, b);
	buf_printf(&path, "%s/positions", b->dir);
	b->path = xstrdup(buf_cstr(&path));
	buf_fini(&path);
	if ((r = load_file(&b->kept, b->path, e)) == 0) {
		b->globs_unknown = !b->kept.fresh && b->kept.globs.n == 0;
		r = merge_older(b, e);
	}
	if (r < 0) {
		book_free(b);
		return r;
	}
	lineages_add(b);
	*out = b;
	return 0;
}

static void take_left_behind(struct book *b)
{
	LIST_EACH (at, &left_behind) {
		struct parked *p = CONTAINER(at, struct parked, node);

		if (strcmp(p->dir, b->dir) != 0)
			continue;
		list_remove(&p->node);
		list_append(&b->parked, &p->node);
		p->since_mono = b->opened_mono;
	}
}

int book_open(struct book **out, const struct input_env *env, struct error *e)
{
	struct book *b = NULL;
	int r = 0;

	lock_take(&books_lock);
	LIST_EACH (at, &books) {
		b = CONTAINER(at, struct book, node);
		if (strcmp(b->dir, env->state_dir) == 0)
			break;
		b = NULL;
	}
	if (b) {
		assert(b->loop == env->loop);
		b->refs++;
	} else if ((r = book_new(&b, env, e)) == 0) {
		list_append(&books, &b->node);
		take_left_behind(b);
	}
	lock_drop(&books_lock);
	if (r == 0)
		*out = b;
	return r;
}

/* Leaving. */

void book_join(struct book *b, struct file_input *in)
{
	list_append(&b->inputs, &in->in_book);
}

void book_unref(struct book *b)
{
	bool last;

	if (!b)
		return;
	lock_take(&books_lock);
	last = --b->refs == 0;
	if (last) {
		list_remove(&b->node);
		LIST_EACH (at, &b->parked) {
			list_remove(at);
			list_append(&left_behind, at);
		}
	}
	lock_drop(&books_lock);
	if (last)
		book_free(b);
}

/* The file stays open until the next input takes it: it is not read to its end. */
static void park(struct book *b, struct tail *t)
{
	struct parked *p;
	struct stat st;
	size_t n = 0;

	if (t->fd < 0 || t->packing || fstat(t->fd, &st) < 0 || (uint64_t)st.st_size <= t->acked)
		return;
	LIST_EACH (at, &b->parked)
		n++;
	if (n >= PARKED_MAX)
		return;
	p = xcalloc(1, sizeof(*p));
	p->fd = t->fd;
	t->fd = -1;
	p->dir = xstrdup(b->dir);
	p->path = xstrdup(t->path);
	p->origin = xstrdup(t->origin);
	p->since_mono = clock_mono_ns(b->clock);
	list_append(&b->parked, &p->node);
}

static void release(struct book *b, struct file_input *in)
{
	LIST_EACH (at, &in->tails) {
		struct tail *t = CONTAINER(at, struct tail, node);

		if (!in->s->once && !(in->env->ending && *in->env->ending))
			park(b, t);
		tails_drop(in, t, true);
	}
	LIST_EACH (at, &b->kept.lineages) {
		struct lineage *l = CONTAINER(at, struct lineage, node);

		if (l->owner == in)
			l->owner = NULL;
	}
	b->n_released++;
}

static void close_book(struct book *b, struct file_input *in)
{
	struct buf text = {0};
	struct error e;

	if (list_empty(&b->inputs)) { /* else another one came meanwhile */
		timer_clear(&b->save_timer);
		positions_text(b, &text);
		if (fs_write_all(fs_real(), b->path, buf_view(&text), &e) < 0)
			log_warn("input", "file: positions not saved, lines are sent again: %s",
				e.text);
		else
			put_merged_away(b);
		buf_fini(&text);
	}
	file_left(in);
}

void book_leave(struct book *b, struct file_input *in)
{
	release(b, in);
	list_remove(&in->in_book);
	if (!list_empty(&b->inputs)) {
		book_save_later(b);
		file_left(in);
		return;
	}
	if (b->saving)
		list_append(&b->leaving, &in->in_book);
	else
		close_book(b, in);
}
