/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  An output's place in the log is kept after `sync`, and what came after it is handed out
 * again after a crash.  Some of that is in the files already.  Where to look for it says a journal:
 * before a file gets its first line behind a kept place, its inode and size are noted; before it is
 * rotated away, how many lines it has got.
 *
 *   <crc32c> S <inode> <size> <count> <path>      lines from count on begin at size of inode
 *   <crc32c> R <inode> <count> <path>             inode, with lines up to count, goes away
 *   <crc32c> B <count> <path>                     the kept place is at count
 *
 * Files of it are called files-<number>.  The state that is kept with the place in the log is a
 * number and an offset: the entries before it are of the past.  `count` is of lines given to a
 * path, written or found to be there, and goes on over a restart, so that entries of several runs
 * from one kept place agree.
 *
 * After a crash, lines up to the last R are passed by; those after are compared with the file's
 * bytes from S on.  Lines that others wrote in between are passed over.  What is found is not
 * written; a line cut by the crash is completed; the first that is not found ends the comparison.
 * Counting alone would do without comparing, but for a count that is exact the journal would have
 * to be written with each line.
 */
#include "output/file_resume.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "codec/codec.h"

enum {
	JOURNAL_ROLL = 256 << 10, /* the next mark begins a new file behind this */
	JOURNAL_MAX = 64 << 20,
	CRC_DIGITS = 8,
	WINDOW_MIN = 64 << 10,
};

struct resume {
	struct fs *fs;
	char *dir;
	struct file *file; /* NULL: not made yet */
	uint64_t number, offset;
	struct map files; /* path -> struct resume_file */
	struct buf noted;
};

/* --- reading -------------------------------------------------------------- */

static void apply_begin(
	struct resume_file *f, bool known, uint64_t inode, uint64_t from, uint64_t count)
{
	if (!known)
		f->base = f->skip_to = count;
	/* Noted again behind a place that was not kept after all. */
	if (f->placed && !f->ended && f->inode == inode)
		return;
	if (f->placed || f->ended)
		f->skip_to = count;
	f->placed = true;
	f->ended = false;
	f->inode = inode;
	f->from = from;
}

static void apply_end(struct resume_file *f, bool known, uint64_t inode, uint64_t count)
{
	if (!known)
		f->base = f->skip_to = count;
	if (!f->placed) {
		/* No lines of it are to be looked for in the file. */
		f->placed = true;
		f->inode = inode;
		f->from = UINT64_MAX;
	}
	f->ended = true;
	f->ended_count = count;
}

static bool next_number(struct str *rest, uint64_t *out)
{
	return str_u64(str_cut(rest, ' '), out);
}

static bool apply(struct resume *r, struct str line)
{
	struct str kind = str_cut(&line, ' ');
	uint64_t inode = 0, from = 0, count;
	union map_value *v;
	struct resume_file *f;
	bool added;

	if (kind.n != 1 || (kind.p[0] != 'B' && !next_number(&line, &inode)) ||
		(kind.p[0] == 'S' && !next_number(&line, &from)) || !next_number(&line, &count) ||
		line.n == 0 || memchr(line.p, '\0', line.n))
		return false;
	v = map_put(&r->files, line, &added);
	if (added)
		v->p = xcalloc(1, sizeof *f);
	f = v->p;
	if (kind.p[0] == 'S')
		apply_begin(f, !added, inode, from, count);
	else if (kind.p[0] == 'R')
		apply_end(f, !added, inode, count);
	else if (added)
		f->base = f->skip_to = count;
	return true;
}

/* Apply the entries of a file from r->offset on, and leave r->offset behind the last whole one. */
static void apply_all(struct resume *r, struct str text)
{
	struct str rest = str_sub(text, (size_t)r->offset, text.n);
	ptrdiff_t end;

	while ((end = str_chr(rest, '\n')) >= 0) {
		struct str line = str_sub(rest, 0, (size_t)end);
		char crc[CRC_DIGITS + 1];
		if (line.n <= CRC_DIGITS + 1)
			return;
		str_copy(str_sub(line, 0, CRC_DIGITS), crc, sizeof crc);
		line = str_sub(line, CRC_DIGITS + 1, line.n);
		if (strtoul(crc, NULL, 16) != crc32c(0, line.p, line.n) || !apply(r, line))
			return;
		r->offset += (uint64_t)end + 1;
		rest = str_sub(rest, (size_t)end + 1, rest.n);
	}
}

static const char *journal_path(const struct resume *r, uint64_t number, char *out, size_t size)
{
	snprintf(out, size, "%s/files-%016" PRIx64, r->dir, number);
	return out;
}

static int read_journal(struct resume *r, uint64_t number, uint64_t from, struct error *e)
{
	struct buf text = {0};
	char path[4096];
	int code = fs_read_all(
		r->fs, journal_path(r, number, path, sizeof path), JOURNAL_MAX, &text, e);

	if (code == 0) {
		r->number = number;
		r->offset = from;
		if (from > text.n) {
			/* A power cut may take what was not synced. */
			log_warn("output", "%s: is shorter than it was", path);
			r->offset = text.n;
		}
		apply_all(r, buf_view(&text));
	}
	buf_fini(&text);
	return code;
}

static bool journal_number(const char *name, uint64_t *out)
{
	char *end;

	if (strncmp(name, "files-", 6) != 0 || strlen(name) != 6 + 16)
		return false;
	*out = strtoull(name + 6, &end, 16);
	return *end == '\0';
}

static int read_journals(struct resume *r, uint64_t number, uint64_t from, struct error *e)
{
	struct buf names = {0};
	size_t n = 0, at = 0;
	int code = fs_list(r->fs, r->dir, &names, &n, e);

	for (size_t i = 0; code == 0 && i < n; i++) {
		const char *name = names.p + at;
		uint64_t found;
		at += strlen(name) + 1;
		if (journal_number(name, &found) && found >= number)
			code = read_journal(r, found, found == number ? from : 0, e);
	}
	buf_fini(&names);
	return code;
}

int resume_open(
	struct resume **out, struct fs *fs, const char *dir, struct str state, struct error *e)
{
	struct resume *r = xcalloc(1, sizeof *r);
	uint64_t number = 0, offset = 0;
	int code = 0;

	r->fs = fs;
	r->dir = xstrdup(dir);
	if (state.n && (!str_eq(str_cut(&state, ' '), STR("1")) || !next_number(&state, &number) ||
			       !next_number(&state, &offset)))
		code = error_set(
			e, ERR_CORRUPT, "%s: the kept state is none of a file output", dir);
	r->number = number;
	r->offset = offset;
	if (code == 0)
		code = read_journals(r, number, offset, e);
	if (code < 0)
		resume_close(r);
	else
		*out = r;
	return code;
}

void resume_close(struct resume *r)
{
	const struct map_slot *slot;
	size_t at = 0;

	if (!r)
		return;
	while ((slot = map_next(&r->files, &at)))
		free(slot->value.p);
	map_fini(&r->files);
	file_close(r->file);
	buf_fini(&r->noted);
	free(r->dir);
	free(r);
}

bool resume_take(struct resume *r, const char *path, struct resume_file *out)
{
	union map_value *v = map_get(&r->files, str_c(path));

	if (!v)
		return false;
	*out = *(struct resume_file *)v->p;
	free(v->p);
	map_remove(&r->files, str_c(path));
	return true;
}

void resume_give(struct resume *r, const char *path, const struct resume_file *f)
{
	bool added;
	union map_value *v = map_put(&r->files, str_c(path), &added);

	if (added)
		v->p = xcalloc(1, sizeof *f);
	*(struct resume_file *)v->p = *f;
}

const char *resume_next(struct resume *r, size_t *at, const struct resume_file **out)
{
	const struct map_slot *slot = map_next(&r->files, at);

	if (!slot)
		return NULL;
	*out = slot->value.p;
	return slot->key.p;
}

/* --- writing -------------------------------------------------------------- */

static void note(struct resume *r, const char *fmt, ...) PRINTF(2, 3);

static void note(struct resume *r, const char *fmt, ...)
{
	size_t from = r->noted.n;
	char crc[CRC_DIGITS + 1];
	struct str entry;
	va_list ap;

	buf_c(&r->noted, "00000000 ");
	va_start(ap, fmt);
	buf_vprintf(&r->noted, fmt, ap);
	va_end(ap);
	entry = str_sub(buf_view(&r->noted), from + CRC_DIGITS + 1, r->noted.n);
	snprintf(crc, sizeof crc, "%08x", crc32c(0, entry.p, entry.n));
	memcpy(r->noted.p + from, crc, CRC_DIGITS);
	buf_char(&r->noted, '\n');
}

void resume_note_begin(
	struct resume *r, const char *path, uint64_t inode, uint64_t from, uint64_t count)
{
	note(r, "S %" PRIu64 " %" PRIu64 " %" PRIu64 " %s", inode, from, count, path);
}

void resume_note_end(struct resume *r, const char *path, uint64_t inode, uint64_t count)
{
	note(r, "R %" PRIu64 " %" PRIu64 " %s", inode, count, path);
}

void resume_note_rest(struct resume *r, const char *path, const struct resume_file *f)
{
	note(r, "B %" PRIu64 " %s", f->base, path);
	if (f->skip_to > f->base)
		resume_note_end(r, path, 0, f->skip_to);
	if (f->placed && f->from != UINT64_MAX)
		resume_note_begin(r, path, f->inode, f->from, f->skip_to);
	if (f->ended)
		resume_note_end(r, path, f->inode, f->ended_count);
}

bool resume_noted(const struct resume *r)
{
	return r->noted.n > 0;
}

static int open_journal(struct resume *r, struct error *e)
{
	char path[4096];
	int code = fs_open(r->fs, journal_path(r, r->number, path, sizeof path),
		FILE_WRITE | FILE_CREATE, &r->file, e);

	/* A crash may have left half an entry behind the last whole one. */
	if (code == 0 && (code = file_truncate(r->file, r->offset, e)) == 0)
		code = fs_sync_dir(r->fs, r->dir, e);
	if (code < 0) {
		file_close(r->file);
		r->file = NULL;
	}
	return code;
}

int resume_write(struct resume *r, bool sync, struct error *e)
{
	struct iovec iov = {r->noted.p, r->noted.n};
	int code;

	if (r->noted.n == 0)
		return 0;
	if (!r->file && (code = open_journal(r, e)) < 0)
		return code;
	/* What a failure leaves behind the offset is written over by the next try. */
	if ((code = file_write(r->file, r->offset, &iov, 1, e)) < 0)
		return code;
	if (sync && (code = file_sync(r->file, e)) < 0)
		return code;
	r->offset += r->noted.n;
	buf_clear(&r->noted);
	return 0;
}

void resume_mark(struct resume *r, struct buf *state)
{
	char path[4096];

	assert(r->noted.n == 0);
	if (r->offset > JOURNAL_ROLL) {
		file_close(r->file);
		r->file = NULL;
		/* The one before stays: the state that begins in the new one is not kept yet. */
		if (r->number)
			fs_unlink(r->fs, journal_path(r, r->number - 1, path, sizeof path), NULL);
		r->number++;
		r->offset = 0;
	}
	buf_printf(state, "1 %" PRIu64 " %" PRIu64, r->number, r->offset);
}

/* --- comparing ------------------------------------------------------------ */

void rerun_begin(struct rerun *r, int fd, uint64_t from, uint64_t end)
{
	*r = (struct rerun){.fd = fd, .at = from, .end = end};
}

void rerun_end(struct rerun *r)
{
	if (r->fd >= 0)
		close(r->fd);
	free(r->window);
	*r = (struct rerun){.fd = -1};
}

/* Bytes of the file from `at` on: as many as are wanted, or up to its end. */
static int look(struct rerun *r, uint64_t at, size_t want, struct str *out, struct error *e)
{
	size_t room = want > WINDOW_MIN ? want : WINDOW_MIN, got = 0;

	if (want > r->end - at)
		want = (size_t)(r->end - at);
	if (at < r->window_at || at + want > r->window_at + r->window_n) {
		r->window = xrealloc(r->window, room);
		r->window_at = at;
		while (got < room && at + got < r->end) {
			size_t n = room - got < r->end - at - got ? room - got
								  : (size_t)(r->end - at - got);
			ssize_t k = pread(r->fd, r->window + got, n, (off_t)(at + got));
			if (k < 0 && errno == EINTR)
				continue;
			if (k < 0)
				return error_errno(e, errno, "cannot read what was written before");
			if (k == 0) /* somebody has cut it since */
				r->end = at + got;
			got += (size_t)k;
		}
		r->window_n = got;
		if (want > got)
			want = got;
	}
	*out = str_make(r->window + (at - r->window_at), want);
	return 0;
}

int rerun_find(struct rerun *r, struct str line, struct rerun_found *out, struct error *e)
{
	uint64_t at = r->at;
	struct str there;
	int code;

	assert(line.n > 0);
	*out = (struct rerun_found){0};
	/* The mutant of this program, which the campaign of kills must catch, does not compare. */
#ifdef SAWLOG_MUTANT
	return 0;
#endif
	while (at < r->end) {
		if ((code = look(r, at, line.n, &there, e)) < 0)
			return code;
		if (str_eq(there, line)) {
			out->whole = true;
			out->next = at + line.n;
			return 0;
		}
		if (at + there.n == r->end && str_starts(line, there)) {
			out->done = there.n;
			return 0;
		}
		/* On to the next line of the file. */
		for (;;) {
			ptrdiff_t end;
			if ((code = look(r, at, WINDOW_MIN, &there, e)) < 0)
				return code;
			if (there.n == 0)
				break;
			end = str_chr(there, '\n');
			at += end < 0 ? there.n : (size_t)end + 1;
			if (end >= 0)
				break;
			out->line_open = at == r->end;
		}
	}
	return 0;
}
