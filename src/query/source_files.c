/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading goes through two buffers: packed bytes as they lie in the file, and
 * text, which holds the lines of a unit and the begin of the one behind it.  A
 * unit ends when the text is full or has enough lines; its rows are views of
 * the text.
 *
 *   file ─► packed ─► text: line line line li…
 *                           └── unit ────┘└ moved to the front for the next
 *
 * Time and level are found for the lines that the filters keep; but the time is
 * looked for in each, as a line without one has that of the line before it.
 */
#include "query/source_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/list.h"
#include "codec/unpacker.h"
#include "os/clock.h"
#include "record/discover.h"
#include "record/time.h"
#include "store/lines/filter.h"

enum {
	UNIT_ROWS = 8192,
	PACKED_BYTES = 128 << 10,
	TEXT_BYTES = 2 * SOURCE_LINE_MAX,
};

struct one_file {
	const char *path;
	int fd;
	struct str labels; /* owned */
	int64_t changed_ns;
	bool piped; /* cannot be read twice */
	bool spent;
};

/* The rows of a unit. */
struct unit_columns {
	uint32_t pick[UNIT_ROWS], stream[UNIT_ROWS], source[UNIT_ROWS], template[UNIT_ROWS];
	int64_t timestamp[UNIT_ROWS];
	uint64_t seq[UNIT_ROWS], position[UNIT_ROWS];
	struct str body[UNIT_ROWS], meta[UNIT_ROWS];
	uint8_t severity[UNIT_ROWS], flags[UNIT_ROWS];
};

struct source_files {
	struct source source;
	struct one_file *files;
	size_t n;
	int64_t now_ns;
	bool once;
	uint64_t n_lines; /* of the last scan */
};

struct reading {
	struct source_files *s;
	struct scan *scan;
	struct one_file *file;
	struct unit_columns *c;
	struct unpacker *unpack;
	char *packed, *text;
	struct str in; /* of packed, not unpacked yet */
	size_t text_n;
	bool in_eof, eof; /* of what is read, and of what it holds */
	uint64_t line;    /* number of the last one */
	int64_t last_ns;
	uint8_t told; /* the level of the file's labels */
	int zone_seconds;
};

static struct source_files *of(struct source *s)
{
	return CONTAINER(s, struct source_files, source);
}

static int copy_of_pipe(struct one_file *f, struct error *e)
{
	char *bytes = xmalloc(PACKED_BYTES);
	FILE *spool = tmpfile();
	ssize_t n = 0;
	int fd = -1;

	if (!spool) {
		free(bytes);
		return error_errno(e, errno, "a temporary file for %s", f->path);
	}
	while ((n = read(f->fd, bytes, PACKED_BYTES)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || fwrite(bytes, 1, (size_t)n, spool) != (size_t)n)
			break;
	}
	if (n == 0 && fflush(spool) == 0)
		fd = dup(fileno(spool));
	if (fd < 0)
		error_errno(e, errno, "a copy of %s", f->path);
	fclose(spool);
	free(bytes);
	if (fd < 0)
		return ERR_IO;
	if (f->fd != STDIN_FILENO)
		close(f->fd);
	f->fd = fd;
	f->piped = false;
	return 0;
}

/* --- reading -------------------------------------------------------------------------- */

/* More packed bytes behind those that are there; with none left in_eof is set. */
static int fill_packed(struct reading *r, struct error *e)
{
	size_t have = r->in.n;
	ssize_t n;

	do
		n = read(r->file->fd, r->packed + have, PACKED_BYTES - have);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_errno(e, errno, "%s", r->file->path);
	r->in = str_make(r->packed, have + (size_t)n);
	r->in_eof = n == 0;
	r->scan->stats.bytes_read += (uint64_t)n;
	return 0;
}

static void warn(struct reading *r, const char *what)
{
	struct buf sentence = {0};

	if (!r->scan->warn)
		return;
	buf_printf(&sentence, "%s: %s", r->file->path, what);
	r->scan->warn(r->scan->ctx, buf_cstr(&sentence));
	buf_fini(&sentence);
}

/* Fill the text up.  What is damaged ends the file, with a warning. */
static int fill_text(struct reading *r, struct error *e)
{
	while (r->text_n < TEXT_BYTES && !r->eof) {
		struct error inner = {0};
		size_t got, left;
		int code;

		if (r->in.n == 0 && !r->in_eof && (code = fill_packed(r, e)) < 0)
			return code;
		left = r->in.n;
		code = unpacker_some(r->unpack, &r->in, r->text + r->text_n, TEXT_BYTES - r->text_n,
			&got, &inner);
		r->text_n += got;
		if (code < 0) {
			warn(r, inner.text);
			r->eof = true;
		} else if (got == 0 && r->in.n == left && (left || r->in_eof)) {
			if (left || !unpacker_whole(r->unpack))
				warn(r, "ends in the middle: what follows is missing");
			r->eof = true;
		}
	}
	return 0;
}

/* The next line of the text from *at on; false: it is not whole yet. */
static bool next_line(const struct reading *r, size_t *at, struct str *line)
{
	size_t left = r->text_n - *at;
	size_t most = left < SOURCE_LINE_MAX + 1 ? left : SOURCE_LINE_MAX + 1;
	const char *from = r->text + *at, *newline = most ? memchr(from, '\n', most) : NULL;
	size_t n = newline ? (size_t)(newline - from) : most;

	if (!newline && n <= SOURCE_LINE_MAX && (!r->eof || n == 0))
		return false;
	if (n > SOURCE_LINE_MAX)
		n = SOURCE_LINE_MAX;
	*at += n + (newline != NULL);
	*line = str_make(from, n);
	if (newline && n && from[n - 1] == '\r')
		line->n--;
	return true;
}

/* --- rows ----------------------------------------------------------------------------- */

static bool passes(const struct scan *sc, struct str line, int *code)
{
	if (sc->contains.n && str_find(line, sc->contains) < 0)
		return false;
	*code = sc->n_filters ? line_filters_test(sc->filters, sc->n_filters, line) : 1;
	return *code > 0;
}

/* Put the line into row i, if it is wanted: 1, else 0 or an error. */
static int put_row(struct reading *r, size_t i, struct str line, struct error *e)
{
	static const struct discover level = {.level = true};
	struct scan *sc = r->scan;
	struct unit_columns *c = r->c;
	struct record rec = {.body = line};
	uint64_t until = sc->until_seq ? sc->until_seq : UINT64_MAX;
	int64_t told;
	int code = 1;

	r->line++;
	if (time_detect(line, r->s->now_ns, r->zone_seconds, &told))
		r->last_ns = told;
	sc->stats.rows++;
	sc->stats.bytes_raw += line.n;
	if (r->last_ns < sc->from_ns || r->last_ns >= sc->to_ns || r->line <= sc->after_seq ||
		r->line > until || !passes(sc, line, &code))
		return code < 0 ? error_set(e, code, "a regex took too many steps on one line") : 0;
	discover_level_told(&level, r->told, &rec);
	c->timestamp[i] = r->last_ns;
	c->seq[i] = c->position[i] = r->line;
	c->stream[i] = 0;
	c->source[i] = 0;
	c->template[i] = ROWS_NO_TEMPLATE;
	c->body[i] = line;
	c->meta[i] = STR_NONE;
	c->severity[i] = rec.severity;
	c->flags[i] = rec.flags;
	c->pick[i] = (uint32_t)i;
	return 1;
}

static struct rows rows_of(const struct reading *r, size_t n)
{
	const struct unit_columns *c = r->c;

	return (struct rows){
		.n = n,
		.pick = c->pick,
		.timestamp = c->timestamp,
		.seq = c->seq,
		.stream = c->stream,
		.severity = c->severity,
		.flags = c->flags,
		.position = c->position,
		.source = c->source,
		.streams = &r->file->labels,
		.n_streams = 1,
	};
}

static bool span_wanted(const struct reading *r, size_t n)
{
	int64_t min = INT64_MAX, max = INT64_MIN;

	for (size_t i = 0; i < n; i++) {
		int64_t t = r->c->timestamp[i];
		min = t < min ? t : min;
		max = t > max ? t : max;
	}
	return !r->scan->want_span || r->scan->want_span(r->scan->ctx, min, max);
}

static int tell(struct reading *r, size_t n, struct error *e)
{
	struct scan *sc = r->scan;
	struct rows rows = rows_of(r, n);

	if (n == 0)
		return 0;
	sc->stats.units++;
	if (!span_wanted(r, n))
		return 0;
	sc->stats.units_read++;
	sc->stats.rows_picked += n;
	if (sc->narrow && (rows.n = sc->narrow(sc->ctx, &rows, r->c->pick)) == 0)
		return 0;
	rows.body = sc->columns & SCAN_BODY ? r->c->body : NULL;
	rows.meta = sc->columns & SCAN_META ? r->c->meta : NULL;
	rows.template = sc->columns & SCAN_TEMPLATE ? r->c->template : NULL;
	sc->stats.lines_spelled += rows.body ? rows.n : 0;
	return sc->rows(sc->ctx, &rows, e);
}

/* One unit: 1 when there may be more, 0 at the end, or an error, or, through *ended, what the
 * callback returned. */
static int read_unit(struct reading *r, int *ended, struct error *e)
{
	size_t at = 0, n = 0, lines = 0;
	struct str line;
	int code;

	if (r->scan->cancel && atomic_load_explicit(r->scan->cancel, memory_order_relaxed))
		return error_set(e, ERR_CANCELLED, "the scan was cancelled");
	if ((code = fill_text(r, e)) < 0)
		return code;
	for (; n < UNIT_ROWS && next_line(r, &at, &line); lines++) {
		if ((code = put_row(r, n, line, e)) < 0)
			return code;
		n += (size_t)code;
	}
	if ((code = tell(r, n, e)) != 0) {
		*ended = code;
		return code < 0 ? code : 0;
	}
	memmove(r->text, r->text + at, r->text_n - at);
	r->text_n -= at;
	return lines > 0;
}

static int begin_file(struct reading *r, struct one_file *f, struct error *e)
{
	struct str head;
	int code;

	if (f->spent)
		return error_set(e, ERR_UNSUPPORTED, "%s can be read once alone", f->path);
	if (f->piped && !r->s->once && (code = copy_of_pipe(f, e)) < 0)
		return code;
	f->spent = f->piped;
	if (!f->piped && lseek(f->fd, 0, SEEK_SET) < 0)
		return error_errno(e, errno, "%s", f->path);
	r->file = f;
	r->text_n = 0;
	r->in = STR_NONE;
	r->in_eof = r->eof = false;
	r->last_ns = f->changed_ns;
	r->told = discover_labels(&(struct discover){.level = true}, f->labels);
	r->zone_seconds = time_local_zone(f->changed_ns);
	/* A pipe gives as little as was written to it. */
	while (r->in.n < UNPACKER_HEAD && !r->in_eof)
		if ((code = fill_packed(r, e)) < 0)
			return code;
	head = str_sub(r->in, 0, UNPACKER_HEAD);
	r->unpack = unpacker_new(unpacker_kind_of(head));
	return 0;
}

static int scan_file(struct reading *r, struct one_file *f, int *ended, struct error *e)
{
	struct scan *sc = r->scan;
	int code;

	if ((sc->want_stream && !sc->want_stream(sc->ctx, f->labels)))
		return 0;
	if ((code = begin_file(r, f, e)) < 0)
		return code;
	do
		code = read_unit(r, ended, e);
	while (code > 0 && *ended == 0);
	unpacker_free(r->unpack);
	r->unpack = NULL;
	return code;
}

static int scan(struct source *source, struct scan *sc, struct error *e)
{
	struct source_files *s = of(source);
	struct reading r = {.s = s, .scan = sc};
	uint64_t bytes = sizeof *r.c + PACKED_BYTES + TEXT_BYTES;
	int code = 0, ended = 0;

	sc->stats = (struct scan_stats){0};
	if (sc->account && account_charge(sc->account, bytes) < 0)
		return error_set(e, ERR_LIMIT, "a unit of lines does not fit in the memory");
	r.c = xmalloc(sizeof *r.c);
	r.packed = xmalloc(PACKED_BYTES);
	r.text = xmalloc(TEXT_BYTES);
	for (size_t i = 0; i < s->n && code == 0 && ended == 0; i++)
		code = scan_file(&r, &s->files[i], &ended, e);
	s->n_lines = r.line;
	free(r.c);
	free(r.packed);
	free(r.text);
	if (sc->account)
		account_release(sc->account, bytes);
	return code < 0 ? code : ended;
}

/* --- the source ----------------------------------------------------------------------- */

/* Nothing is added while it is read, as far as anybody is told. */
static uint64_t last_seq(struct source *s)
{
	return of(s)->n_lines;
}

static int streams(struct source *source, struct str tenant, int64_t from_ns, int64_t to_ns,
	void (*stream)(void *ctx, struct str labels), void *ctx, struct error *e)
{
	struct source_files *s = of(source);

	(void)tenant;
	(void)from_ns;
	(void)to_ns;
	(void)e;
	for (size_t i = 0; i < s->n; i++)
		stream(ctx, s->files[i].labels);
	return 0;
}

static int open_one(struct one_file *f, const char *path, int64_t now_ns, struct error *e)
{
	bool standard = str_eq_c(str_c(path), "-");
	struct labels_builder b = {0};
	struct buf labels = {0};
	struct stat st;
	int r;

	f->path = standard ? "the standard input" : path;
	f->fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	if (f->fd < 0 || fstat(f->fd, &st) < 0)
		return error_errno(e, errno, "%s", path);
	if (S_ISDIR(st.st_mode))
		return error_set(e, ERR_ARG, "%s is a folder: name the files in it", path);
	f->piped = !S_ISREG(st.st_mode);
	f->changed_ns = f->piped ? now_ns : st.st_mtim.tv_sec * NS_PER_SEC + st.st_mtim.tv_nsec;
	r = labels_builder_set(&b, STR("filename"), standard ? STR("stdin") : str_c(path), e);
	if (r == 0)
		labels_builder_write(&b, &labels);
	labels_builder_fini(&b);
	f->labels = buf_view(&labels);
	return r;
}

int source_files_open(struct source_files **out, const char *const *paths, size_t n, int64_t now_ns,
	struct error *e)
{
	struct source_files *s;
	int r = 0;

	if (n > SOURCE_FILES_MAX)
		return error_set(e, ERR_LIMIT, "%zu files are more than %d", n, SOURCE_FILES_MAX);
	s = xcalloc(1, sizeof *s);
	s->source = (struct source){.last_seq = last_seq, .scan = scan, .streams = streams};
	s->now_ns = now_ns;
	s->files = xcalloc(n, sizeof *s->files);
	for (size_t i = 0; i < n; i++)
		s->files[i].fd = -1;
	for (; s->n < n && r == 0; s->n++)
		r = open_one(&s->files[s->n], paths[s->n], now_ns, e);
	if (r < 0) {
		source_files_close(s);
		return r;
	}
	*out = s;
	return 0;
}

void source_files_close(struct source_files *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++) {
		if (s->files[i].fd > STDIN_FILENO)
			close(s->files[i].fd);
		free((void *)s->files[i].labels.p);
	}
	free(s->files);
	free(s);
}

struct source *source_files_source(struct source_files *s)
{
	return &s->source;
}

void source_files_once(struct source_files *s)
{
	s->once = true;
}
