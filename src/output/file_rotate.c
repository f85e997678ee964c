/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  A full file is called ".1", the one before ".2", and so on up to `keep`, as Python's
 * RotatingFileHandler names them; a hole in the numbers (of a crash in the middle) is filled first,
 * so that doing it again loses nothing.
 *
 * A rotated file is compressed a piece at a time between the bursts, each piece a member (gzip) or
 * frame (zstd) of its own, which every reader takes as one file.  The result is "<file>.gz.tmp"
 * until it is whole and synced; it is then given its name, and the plain file is removed.  A crash
 * leaves either a .tmp, which is begun anew, or both files, of which the plain one goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "codec/codec.h"
#include "output/file_output.h"
#include "record/civil.h"
#include "record/time.h"

enum {
	PACK_PIECE = 1 << 20, /* about 20 ms of gzip */
	GZIP_LEVEL = 6,
	ZSTD_LEVEL = 3,
	NAME_ROOM = 256,
};

static const char *const endings[] = {"", ".gz", ".zst"};
enum { N_ENDINGS = 3 };

/* --- when ------------------------------------------------------------------ */

static bool parse_at(const char *text, int *seconds)
{
	struct cursor c = {text, text + strlen(text)};
	struct civil t = {.year = 2000, .month = 1, .day = 1};

	if (!number(&c, 2, &t.hour) || !take(&c, ':') || !number(&c, 2, &t.minute) ||
		(take(&c, ':') && !number(&c, 2, &t.second)) || c.p != c.end || !civil_valid(&t))
		return false;
	*seconds = t.hour * 3600 + t.minute * 60 + t.second;
	return true;
}

bool rotate_wanted(const struct rotate_settings *s)
{
	return s->size > 0 || s->every != EVERY_NONE;
}

int rotate_check(const struct rotate_settings *s, struct error *e)
{
	int seconds;

	if (rotate_wanted(s) && s->keep == 0)
		return error_set(e, ERR_ARG,
			"rotate: keep must be at least 1: with 0 there would be no rotation, as in "
			"Python with a backupCount of 0; leave out size and every for that");
	if (s->at && !parse_at(s->at, &seconds))
		return error_set(e, ERR_ARG, "rotate: at must be a time of day, as 03:30");
	if (s->at && (s->every == EVERY_NONE || s->every == EVERY_HOUR))
		return error_set(e, ERR_ARG, "rotate: at needs every: day, midnight or w0 to w6");
	return 0;
}

/* The instant of a local time, where the zone may have changed since `near_ns`. */
static int64_t instant(int64_t local_s, bool utc, int64_t near_ns)
{
	int zone = utc ? 0 : time_local_zone(near_ns);
	int64_t ns = (local_s - zone) * second_ns;
	int there = utc ? 0 : time_local_zone(ns);

	return zone == there ? ns : (local_s - there) * second_ns;
}

int64_t rotate_due(const struct rotate_settings *s, bool utc, int64_t after_ns)
{
	int64_t local_s = floor_div(after_ns, second_ns) + (utc ? 0 : time_local_zone(after_ns));
	int64_t day = floor_div(local_s, day_s), step = 1, due;
	int at = 0;

	if (s->every == EVERY_NONE)
		return 0;
	if (s->every == EVERY_HOUR)
		return after_ns + (3600 - (local_s - floor_div(local_s, 3600) * 3600)) * second_ns -
		       (after_ns - floor_div(after_ns, second_ns) * second_ns);
	if (s->at)
		parse_at(s->at, &at);
	if (s->every >= EVERY_MONDAY) {
		/* 1970-01-01 was a Thursday. */
		int64_t weekday = (day + 3) % 7 < 0 ? (day + 3) % 7 + 7 : (day + 3) % 7;
		day += (s->every - EVERY_MONDAY - weekday + 7) % 7;
		step = 7;
	}
	/* A local time that comes twice, or not at all, may not move it to the past. */
	while ((due = instant(day * day_s + at, utc, after_ns)) <= after_ns)
		day += step;
	return due;
}

bool rotate_now(const struct file_output *o, const struct logfile *f, size_t n)
{
	const struct rotate_settings *s = &o->s->rotate;
	uint64_t there = f->size + f->pending.n;

	/* An empty file is never rotated. */
	if (there == 0)
		return false;
	/* As RotatingFileHandler: the size is not even reached. */
	if (s->size && there + n >= s->size)
		return true;
	return f->due_ns && clock_now_ns(o->env.clock) >= f->due_ns;
}

/* --- names ----------------------------------------------------------------- */

static const char *rotated_name(
	const char *name, unsigned generation, const char *ending, char out[NAME_ROOM])
{
	snprintf(out, NAME_ROOM, "%s.%u%s", name, generation, ending);
	return out;
}

static bool is_there(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool generation_there(int dir, const char *name, unsigned generation)
{
	char path[NAME_ROOM];

	for (size_t i = 0; i < N_ENDINGS; i++)
		if (is_there(dir, rotated_name(name, generation, endings[i], path)))
			return true;
	return false;
}

static void remove_generation(int dir, const char *name, unsigned generation)
{
	char path[NAME_ROOM];

	for (size_t i = 0; i < N_ENDINGS; i++)
		unlinkat(dir, rotated_name(name, generation, endings[i], path), 0);
}

static int shift_generation(int dir, const char *name, unsigned generation)
{
	char from[NAME_ROOM], to[NAME_ROOM];

	/* A crash came before the plain file was removed: another one, between two renames, would
	 * make two generations of it. */
	for (size_t i = 1; i < N_ENDINGS; i++)
		if (is_there(dir, rotated_name(name, generation, endings[i], from)))
			unlinkat(dir, rotated_name(name, generation, "", to), 0);
	for (size_t i = 0; i < N_ENDINGS; i++)
		if (renameat(dir, rotated_name(name, generation, endings[i], from), dir,
			    rotated_name(name, generation + 1, endings[i], to)) < 0 &&
			errno != ENOENT)
			return -1;
	return 0;
}

/* --- compressing ----------------------------------------------------------- */

static const char *packed_ending(const struct file_output *o)
{
	return endings[o->s->rotate.compress];
}

static void packing_end(struct file_output *o, bool remove)
{
	struct packing *p = &o->packing;
	char path[NAME_ROOM];
	const char *name;

	if (!p->f)
		return;
	name = strrchr(p->f->path, '/');
	name = name ? name + 1 : p->f->path;
	if (remove) {
		snprintf(path, sizeof path, "%s%s.tmp", name, packed_ending(o));
		unlinkat(p->dir, path, 0);
	}
	close(p->from);
	close(p->to);
	close(p->dir);
	*p = (struct packing){0};
}

void rotate_stop(struct file_output *o)
{
	packing_end(o, true);
}

/* Rotation has renamed the file that is being compressed, or removed it. */
static void packing_shifted(struct file_output *o, struct logfile *f, unsigned hole)
{
	struct packing *p = &o->packing;

	if (p->f != f)
		return;
	if (p->generation < hole)
		p->generation++;
	if (p->generation > (unsigned)o->s->rotate.keep)
		packing_end(o, true);
}

static int packing_open(
	struct file_output *o, struct logfile *f, int dir, const char *name, unsigned generation)
{
	char from[NAME_ROOM], to[NAME_ROOM];
	struct packing p = {.f = f, .generation = generation, .dir = dir};
	struct stat st;

	rotated_name(name, generation, "", from);
	snprintf(to, sizeof to, "%s%s.tmp", name, packed_ending(o));
	p.from = openat(dir, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (p.from < 0)
		return -1;
	unlinkat(dir, to, 0);
	p.to = fstat(p.from, &st) == 0 && S_ISREG(st.st_mode)
		       ? openat(dir, to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)
		       : -1;
	if (p.to < 0) {
		close(p.from);
		return -1;
	}
	o->packing = p;
	return 0;
}

/* Begin with the oldest plain file of the next in line. */
static void packing_begin(struct file_output *o)
{
	struct logfile *f = CONTAINER(o->work.next, struct logfile, work);
	char path[NAME_ROOM];
	const char *name;
	int dir = folder_open(o->root, f->path, NULL, &name, NULL);

	if (dir < 0) {
		list_remove(&f->work);
		return;
	}
	for (unsigned i = (unsigned)o->s->rotate.keep; i > 0; i--) {
		if (!is_there(dir, rotated_name(name, i, "", path)))
			continue;
		/* A crash came between the two last steps. */
		if (is_there(dir, rotated_name(name, i, packed_ending(o), path))) {
			unlinkat(dir, rotated_name(name, i, "", path), 0);
			continue;
		}
		if (packing_open(o, f, dir, name, i) == 0)
			return;
		log_warn("output", "%s/%s.%u: cannot be compressed: %s", o->root, f->path, i,
			strerror(errno));
		break;
	}
	list_remove(&f->work);
	close(dir);
}

static int packing_finish(struct file_output *o)
{
	struct packing *p = &o->packing;
	const char *name = strrchr(p->f->path, '/');
	char from[NAME_ROOM], to[NAME_ROOM], temp[NAME_ROOM];
	struct stat st;

	name = name ? name + 1 : p->f->path;
	rotated_name(name, p->generation, "", from);
	rotated_name(name, p->generation, packed_ending(o), to);
	snprintf(temp, sizeof temp, "%s%s.tmp", name, packed_ending(o));
	if (fstat(p->from, &st) == 0) {
		struct timespec times[2] = {st.st_atim, st.st_mtim};
		fchmod(p->to, st.st_mode & 07777);
		futimens(p->to, times);
	}
	if (fsync(p->to) < 0 || renameat(p->dir, temp, p->dir, to) < 0)
		return -1;
	fsync(p->dir);
	unlinkat(p->dir, from, 0);
	packing_end(o, false);
	return 0;
}

/* One piece; the end of the file is one without bytes. */
static int packing_step(struct file_output *o)
{
	struct packing *p = &o->packing;
	size_t got = 0, done = 0;
	char *room;
	ssize_t n;

	buf_clear(&o->text);
	buf_clear(&o->packed);
	room = buf_reserve(&o->text, PACK_PIECE);
	while (got < PACK_PIECE) {
		n = pread(p->from, room + got, PACK_PIECE - got, (off_t)(p->at + got));
		if (n < 0 && errno != EINTR)
			return -1;
		if (n == 0)
			break;
		got += n > 0 ? (size_t)n : 0;
	}
	/* An empty file is one empty member. */
	if (got == 0 && p->at > 0)
		return packing_finish(o);
	p->at += got;
	if (o->s->rotate.compress == COMPRESS_GZIP)
		gzip_pack(&o->packed, str_make(room, got), GZIP_LEVEL);
	else
		zstd_pack(&o->packed, str_make(room, got), ZSTD_LEVEL);
	while (done < o->packed.n) {
		n = write(p->to, o->packed.p + done, o->packed.n - done);
		if (n < 0 && errno != EINTR)
			return -1;
		done += n > 0 ? (size_t)n : 0;
	}
	return got ? 0 : packing_finish(o);
}

void rotate_work(struct file_output *o)
{
	struct logfile *f = o->packing.f;

	if (!f && !list_empty(&o->work))
		packing_begin(o);
	f = o->packing.f;
	if (f && packing_step(o) < 0) {
		log_warn("output",
			"%s/%s.%u: cannot be compressed: %s; it stays as it is until the next "
			"rotation",
			o->root, f->path, o->packing.generation, strerror(errno));
		packing_end(o, true);
		list_remove(&f->work);
	}
}

static void want_work(struct file_output *o, struct logfile *f)
{
	if (o->s->rotate.compress != COMPRESS_NONE && list_empty(&f->work))
		list_append(&o->work, &f->work);
}

void rotate_found(struct file_output *o, struct logfile *f)
{
	if (rotate_wanted(&o->s->rotate))
		want_work(o, f);
}

/* --- rotating -------------------------------------------------------------- */

/* Rename what there is.  The first hole takes the one before it; without one the last goes. */
static int shift_all(struct file_output *o, struct logfile *f, int dir, const char *name)
{
	unsigned keep = (unsigned)o->s->rotate.keep, hole = 1;
	char path[NAME_ROOM];

	while (hole <= keep && generation_there(dir, name, hole))
		hole++;
	if (hole > keep) {
		/* And those behind it, when keep has been lowered. */
		for (unsigned i = keep + 1; generation_there(dir, name, i); i++)
			remove_generation(dir, name, i);
		remove_generation(dir, name, keep);
		if (o->packing.f == f && o->packing.generation == keep)
			packing_end(o, true);
		hole = keep;
	}
	for (unsigned i = hole - 1; i > 0; i--)
		if (shift_generation(dir, name, i) < 0)
			return -1;
	packing_shifted(o, f, hole);
	return renameat(dir, name, dir, rotated_name(name, 1, "", path));
}

static int rename_away(struct file_output *o, struct logfile *f, struct error *e)
{
	const char *name;
	struct stat st;
	int r = 0, dir = folder_open(o->root, f->path, NULL, &name, e);

	if (dir < 0)
		return dir;
	/* One that somebody has moved is rotated already. */
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == f->inode &&
		st.st_dev == f->device) {
		if (shift_all(o, f, dir, name) < 0)
			r = error_errno(e, errno, "%s/%s: cannot rotate", o->root, f->path);
		else if (logfile_durable(o))
			fsync(dir);
		o->rotations += r == 0;
	}
	close(dir);
	return r;
}

int logfile_rotate(struct file_output *o, struct logfile *f, struct error *e)
{
	int r;

	/* After a crash the lines in it are known by their number alone. */
	if (f->epoch == o->epoch)
		resume_note_end(o->resume, f->path, f->inode, f->count);
	f->epoch = 0;
	if ((r = resume_write(o->resume, logfile_durable(o), e)) < 0)
		return r;
	if (o->s->fsync != FSYNC_NEVER && (r = logfile_fsync(o, f, e)) < 0)
		return r;
	if ((r = rename_away(o, f, e)) < 0 && r != ERR_NOT_FOUND)
		return r;
	logfile_close(o, f);
	if ((r = logfile_open(o, f, e)) < 0)
		return r;
	/* The first line of the new file is of its time, however old the folder's clock. */
	f->due_ns = rotate_due(&o->s->rotate, o->s->line.utc, clock_now_ns(o->env.clock));
	want_work(o, f);
	return 0;
}
