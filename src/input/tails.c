/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that are followed: taking one up, its turn, and letting it go.
 *
 * Design.  A tail is found by its inode (a scan), its path (an event) and its
 * source (an acknowledgement).  It is read only when it is in the queue
 * `ready`, and gets there only when its identity is on disk and it is its turn:
 * the files of one path are read in order of age, and a new one waits until
 * the one before it is read to what was its end when the new one was found.
 *
 * What is let go leaves its position in `kept`; a file that is taken up is
 * first looked for there, by inode and fingerprint, and read on from where it
 * was left.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "input/file.h"

/* Finding, and the queue. */

struct inode_key {
	uint64_t dev, ino;
};

static struct str inode_view(const struct inode_key *k)
{
	return str_make(k, sizeof(*k));
}

struct tail *tails_find(const struct map *m, struct str key)
{
	union map_value *v = map_get(m, key);

	return v ? v->p : NULL;
}

struct tail *tails_find_inode(const struct book *b, uint64_t dev, uint64_t ino)
{
	struct inode_key k = {dev, ino};

	return tails_find(&b->by_inode, inode_view(&k));
}

static void remove_if(struct map *m, struct str key, const struct tail *t)
{
	if (tails_find(m, key) == t)
		map_remove(m, key);
}

void tails_ready(struct file_input *in, struct tail *t)
{
	if (t->is_ready || !t->known || t->sealing || t->waits)
		return;
	if (t->packing && !t->finished && in->unpacking != t) {
		if (in->unpacking)
			return; /* it comes when that one is done */
		in->unpacking = t;
	}
	t->is_ready = true;
	list_append(&in->ready, &t->ready);
	file_pump_soon(in);
}

void tails_unready(struct tail *t)
{
	list_remove(&t->ready);
	t->is_ready = false;
}

int tails_open(struct file_input *in, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool added;

	if (fd >= 0) {
		map_remove(&in->complained, str_c(path));
		return fd;
	}
	if (errno == ENOENT)
		return -1;
	map_put(&in->complained, str_c(path), &added);
	if (added)
		log_warn("input", "file: %s cannot be read: %s", path, strerror(errno));
	return -1;
}

bool tails_still_at(const struct tail *t)
{
	struct stat st;

	return stat(t->path, &st) == 0 && st.st_dev == t->dev && st.st_ino == t->ino;
}

/* The files of one path. */

struct tail *tails_behind(const struct tail *t)
{
	struct list *next = t->sibling.next;

	return next == &t->lineage->tails ? NULL : CONTAINER(next, struct tail, sibling);
}

/* t is read to its end, or will not be: the turn is the next one's. */
void tails_let_next(struct file_input *in, struct tail *t)
{
	struct tail *next = tails_behind(t);

	if (t->waits || !next || !next->waits)
		return;
	next->waits = false;
	tails_ready(next->input, next);
}

static void wait_for(struct tail *t, struct tail *before)
{
	struct stat st;

	t->waits = true;
	tails_unready(t);
	if (t->input->unpacking == t)
		t->input->unpacking = NULL; /* the one before it may be compressed as well */
	/* Who goes on writing to the old file does not hold up the new one. */
	t->wait_to = before->fd >= 0 && !before->packing && fstat(before->fd, &st) == 0
			     ? (uint64_t)st.st_size
			     : UINT64_MAX;
	tails_ready(before->input, before);
}

/* Generations are given out in order of age. */
static void tail_enrol(struct file_input *in, struct tail *t)
{
	struct list *head, *at;
	struct tail *next;

	t->lineage = book_lineage(in->book, t->origin);
	head = at = &t->lineage->tails;
	while (at->prev != head &&
		CONTAINER(at->prev, struct tail, sibling)->id.generation > t->id.generation)
		at = at->prev;
	list_append(at, &t->sibling);
	if (t->sibling.prev != head)
		wait_for(t, CONTAINER(t->sibling.prev, struct tail, sibling));
	next = tails_behind(t);
	if (next && next->began == in->scan)
		wait_for(next, t);
}

/* Life of a tail. */

/* Label app: the base name without what rotation and compression add, and without extension. */
static void app_of(const char *path, struct buf *out)
{
	const char *slash = strrchr(path, '/');
	struct str name = str_c(slash ? slash + 1 : path), all = name;
	size_t n = name.n;

	while (n > 0 && (name.p[n - 1] >= '0' && name.p[n - 1] <= '9'))
		n--;
	if (n > 1 && n < name.n && (name.p[n - 1] == '.' || name.p[n - 1] == '-'))
		name.n = n - 1;
	for (n = name.n; n > 1; n--) {
		if (name.p[n - 1] == '.') {
			name.n = n - 1;
			break;
		}
	}
	buf_str(out, name.n ? name : all);
}

int tail_label(struct file_input *in, struct tail *t, struct error *e)
{
	struct buf app = {0};
	struct line_labels l = {
		.input = "file", .file = t->origin, .extra = &in->s->labels, .shape = in->shape};
	int r;

	app_of(t->origin, &app);
	l.app = in->s->app ? in->s->app : buf_cstr(&app);
	l.app_guessed = !in->s->app;
	buf_clear(&t->labels);
	r = line_labels_write(&l, in->env, &t->labels, e);
	buf_fini(&app);
	return r;
}

static void tail_adopt(struct file_input *in, struct tail *t)
{
	struct inode_key k = {t->dev, t->ino};
	struct tail *before = tails_find(&in->by_path, str_c(t->path));

	if (before)
		before->renamed = true;
	map_put(&in->by_path, str_c(t->path), NULL)->p = t;
	map_put(&in->book->by_inode, inode_view(&k), NULL)->p = t;
	tail_name(t);
	map_put(&in->by_source, buf_view(&t->source), NULL)->p = t;
	list_append(&in->tails, &t->node);
	in->n_tails++;
	t->quiet_mono = clock_mono_ns(in->env->clock);
	t->began = in->scan;
	tail_enrol(in, t);
}

void tails_position(const struct tail *t, struct position *out)
{
	out->id = t->id;
	out->start = t->start;
	out->offset = t->acked;
	out->size = t->sure;
	out->path = t->origin;
	out->saved = t->known;
	out->n_sealed = t->n_sealed;
	out->as = t->as;
}

/* Let go of a tail.  With `keep` its position is remembered, should the file come back. */
void tails_drop(struct file_input *in, struct tail *t, bool keep)
{
	struct inode_key k = {t->dev, t->ino};

	/* One that is not on disk yet counts as well: its path knows it already (lineage.c), and
	 * would not take it for new again. */
	if (keep) {
		struct position at = {.seen_s = book_now_s(in->book)};

		tails_position(t, &at);
		at.path = xstrdup(t->origin);
		/* Kept for what was compressed of it (rotated.c); its inode is another's soon. */
		if (t->deleted && t->acked >= t->read && !t->partial) {
			at.gone = true;
			at.size = at.offset;
		}
		book_keep(in->book, &at);
	}
	if (in->unpacking == t)
		in->unpacking = NULL;
	account_release(in->env->account, t->packed_held);
	remove_if(&in->book->by_inode, inode_view(&k), t);
	remove_if(&in->by_path, str_c(t->path), t);
	remove_if(&in->by_source, buf_view(&t->source), t);
	in->n_tails--;
	t->lineage->seen_s = book_now_s(in->book);
	tails_let_next(in, t);
	tail_free(t);
	book_save_later(in->book);
}

void tails_moved(struct file_input *in, struct tail *t, const char *path)
{
	struct tail *before;

	remove_if(&in->by_path, str_c(t->path), t);
	free(t->path);
	t->path = xstrdup(path);
	before = tails_find(&in->by_path, str_c(path));
	if (before)
		before->renamed = true;
	map_put(&in->by_path, str_c(path), NULL)->p = t;
}

/* The same inode holds other bytes: they are a new source from 0 on. */
void tails_renew(struct file_input *in, struct tail *t)
{
	log_info("input", "file: %s was truncated: reading it from its start", t->path);
	gaps_truncated(in, t);
	remove_if(&in->by_source, buf_view(&t->source), t);
	tails_unready(t);
	t->id.generation = positions_generation(&in->book->kept, clock_now_ns(in->env->clock));
	t->id.n_fingerprint = 0;
	t->id.dev = t->dev;
	t->id.giver = in->book->kept.id;
	t->start = t->acked = t->sent = t->read = t->partial = t->fragment = t->size = 0;
	t->sure = 0;
	t->skipped = t->rested = t->n_first = 0;
	identity_check(t->fd, &t->id);
	t->known = t->sealing = false;
	t->n_sealed = 0;
	t->save = 0;
	tail_name(t);
	map_put(&in->by_source, buf_view(&t->source), NULL)->p = t;
	book_save_now(in->book);
}

/* A kept position that is this file's: the same inode with the same first bytes.  Device numbers
 * may change with a reboot, then path and birth must agree.  Of several the youngest: files that
 * begin alike may have had this inode one after the other. */
struct position *tails_kept(
	const struct book *b, int fd, const struct identity *id, const char *path, uint64_t size)
{
	struct position *best = NULL;
	struct identity found;

	for (struct position *at = positions_find(&b->kept, id->ino); at; at = at->same) {
		struct identity probe = at->id;

		if (at->gone || (at->offset > size && !packing_of(str_c(path), NULL)) ||
			(best && at->id.generation < best->id.generation) ||
			(at->id.birth_ns && id->birth_ns && at->id.birth_ns != id->birth_ns))
			continue;
		if (at->id.dev != id->dev && (strcmp(at->path, path) != 0 || at->id.birth_ns == 0))
			continue;
		if (identity_check(fd, &probe)) {
			best = at;
			found = probe;
		}
	}
	if (best) {
		best->saved &= best->id.n_fingerprint > 0;
		best->id = found;
	}
	return best;
}

/* The inode is the same as ever, by its birth, and holds other bytes: what it held is gone. */
static void find_truncated(struct file_input *in, const struct identity *id)
{
	if (!id->birth_ns)
		return; /* it may have been given to another file */
	for (struct position *at = positions_find(&in->book->kept, id->ino); at; at = at->same) {
		if (at->gone || at->id.dev != id->dev || at->id.birth_ns != id->birth_ns)
			continue;
		at->gone = true;
		in->truncated = true;
	}
}

void tails_complain(struct file_input *in, const char *path, const char *what)
{
	struct buf key = {0};
	bool added;

	buf_printf(&key, "%s\n%s", path, what);
	map_put(&in->complained, buf_view(&key), &added);
	buf_fini(&key);
	if (added)
		log_warn("input", "file: %s: %s", path, what);
}

void tails_unpack_next(struct file_input *in)
{
	struct tail *done = in->unpacking;

	if (done) {
		tail_packed_done(done);
		account_release(in->env->account, done->packed_held);
		done->packed_held = 0;
		in->unpacking = NULL;
	}
	LIST_EACH (at, &in->tails) {
		struct tail *t = CONTAINER(at, struct tail, node);

		if (t->packing && !t->finished && t != done && !in->unpacking)
			tails_ready(in, t);
	}
}

bool tails_begin_packed(struct file_input *in, int fd, const struct look_packed *f,
	struct position *at, struct str head)
{
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	struct tail *t;
	struct error e;

	if (own < 0)
		return false;
	t = tail_new(own, f->path);
	t->input = in;
	t->packing = f->packing;
	t->dev = f->dev;
	t->ino = f->ino;
	t->renamed = true;
	free(t->origin);
	t->origin = xstrdup(f->of->path);
	t->n_first = (uint8_t)(head.n < SHAPE_HEAD ? head.n : SHAPE_HEAD);
	memcpy(t->first, head.p, t->n_first);
	if (at) {
		t->id = at->id;
		t->start = at->start;
		t->sure = at->size;
		tail_rewind(t, at->offset);
		t->known = at->saved && at->as.ino == f->ino;
		position_remove(&in->book->kept, at);
	} else {
		t->id = (struct identity){.giver = in->book->kept.id,
			.dev = f->dev,
			.ino = f->ino,
			.birth_ns = f->birth_ns,
			.fingerprint = hash_stable(head),
			.n_fingerprint = (uint32_t)head.n,
			.generation = positions_generation(
				&in->book->kept, clock_now_ns(in->env->clock))};
	}
	t->as = (struct packed_as){.ino = f->ino, .birth_ns = f->birth_ns};
	t->cut = in->s->once;
	t->file_size = -1;
	if (!t->known)
		book_save_now(in->book); /* whose content it is, before that is sent */
	if (tail_label(in, t, &e) < 0) {
		log_warn("input", "file: %s: %s", f->path, e.text);
		tail_free(t);
		return false;
	}
	log_info("input", "file: reading %s from %llu on", f->path, (unsigned long long)t->read);
	tail_adopt(in, t);
	tails_ready(in, t);
	return true;
}

/* Take up a file: where it was left when it is known, else anew, as one that was at `origin`.
 * Takes fd. */
struct tail *tails_begin(struct file_input *in, int fd, const char *path, const char *origin)
{
	struct tail *t;
	struct position *at;
	struct identity id = {0};
	struct stat st;
	struct error e;

	if (identity_of(fd, &id, &st, &e) < 0 || tails_find_inode(in->book, id.dev, id.ino)) {
		close(fd);
		return NULL;
	}
	t = tail_new(fd, path);
	t->input = in;
	t->dev = id.dev;
	t->ino = id.ino;
	t->size = (uint64_t)st.st_size;
	/* One that was named: others are taken up by rotated.c. */
	t->packing = packing_of(str_c(path), NULL);
	at = tails_kept(in->book, fd, &id, path, t->size);
	if (at) {
		t->id = at->id;
		t->start = at->start;
		free(t->origin);
		t->origin = at->path;
		at->path = NULL;
		tail_rewind(t, at->offset);
		t->sure = at->size;
		t->known = at->saved;
		t->n_sealed = t->known ? at->n_sealed : 0;
		t->as = at->as;
		if (!t->known)
			book_save_now(in->book);
		position_remove(&in->book->kept, at);
	} else {
		free(t->origin);
		t->origin = xstrdup(origin);
		t->id = id;
		find_truncated(in, &id);
		t->id.giver = in->book->kept.id;
		t->id.generation =
			positions_generation(&in->book->kept, clock_now_ns(in->env->clock));
		identity_check(fd, &t->id);
		if (!t->packing && book_lineage(in->book, origin)->fresh &&
			in->s->start == FILE_START_END)
			t->start = t->read = t->skipped =
				shape_align(in->shape, tail_last_line(fd, t->size));
		book_save_now(in->book);
	}
	if (t->packing) {
		t->size = t->sure = 0; /* of the content, which is not known */
		t->finished =
			t->as.done || (t->read > 0 && packed_has_length(fd, t->packing, t->read));
		t->as.ino = t->ino;
		t->as.birth_ns = t->id.birth_ns;
		t->cut = in->s->once;
		t->file_size = -1;
	}
	if (tail_label(in, t, &e) < 0) {
		log_warn("input", "file: %s: %s", path, e.text);
		tail_free(t);
		return NULL;
	}
	tail_adopt(in, t);
	tails_ready(in, t);
	return t;
}
