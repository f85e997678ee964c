/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  Segment files that are written once, from their beginning to their
 * end, and deleted when they were read.  Each life begins a new one, and so
 * does each failure: whether what was written before an error is there is
 * unknown, and a file whose sync has failed is never proof of anything again.
 *
 * A segment's end is what its headers say: each is checked by its own sum
 * when the segment is opened, payloads when they are read.  What follows the
 * last whole entry was never acknowledged.
 */
#include "route/spool.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"
#include "codec/codec.h"
#include "os/clock.h"

enum {
	ENTRY_MAGIC = 0x45534c53, /* "SLSE" */
	HEADER_BYTES = 16,
	SEGMENT_BYTES = 32 << 20,
	GROUP_MAX = 256,
	PLACE_BYTES_MAX = 100,
};
#define KEEP_NS NS_PER_SEC

struct segment {
	uint64_t number, n_batches;
	uint64_t end; /* of the last whole entry */
};

struct spool {
	/* Fixed. */
	struct fs *fs;
	char *dir;
	/* The appender's. */
	struct file *out; /* the last segment; NULL: the next append begins one */
	uint64_t next_number;
	/* The reader's. */
	struct file *in;
	uint64_t in_number, at;
	uint64_t step;   /* bytes of the entry that spool_next gave; 0: none */
	int64_t kept_ns; /* when the place was last written */
	/* Under lock. */
	struct lock lock;
	struct segment *segments;
	size_t n, cap;
	bool writing; /* the last one is being written: not to be deleted */
	uint64_t bytes, batches, damaged;
};

struct header {
	uint32_t magic, length, payload_crc, header_crc;
};

static_assert(sizeof(struct header) == HEADER_BYTES, "it is written as it lies in memory");

static void segment_path(const struct spool *s, uint64_t number, struct buf *out)
{
	buf_clear(out);
	buf_printf(out, "%s/%016" PRIx64 ".spool", s->dir, number);
}

static void header_make(struct header *h, struct str payload)
{
	*h = (struct header){.magic = ENTRY_MAGIC,
		.length = (uint32_t)payload.n,
		.payload_crc = crc32c(0, payload.p, payload.n)};
	h->header_crc = crc32c(0, h, offsetof(struct header, header_crc));
}

static bool header_good(const struct header *h)
{
	return h->magic == ENTRY_MAGIC && h->length <= BATCH_BYTES_MAX &&
	       h->header_crc == crc32c(0, h, offsetof(struct header, header_crc));
}

/* Opening */

static struct segment *segment_add(struct spool *s, uint64_t number) REQUIRES(s->lock)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 16;
		s->segments = xrealloc(s->segments, s->cap * sizeof *s->segments);
	}
	s->segments[s->n] = (struct segment){.number = number};
	return &s->segments[s->n++];
}

/* What of a segment counts, by its headers. */
static int measure(struct spool *s, struct segment *g, struct error *e)
{
	struct buf path = {0};
	struct file *f = NULL;
	uint64_t size = 0;
	struct header h;
	int r;

	segment_path(s, g->number, &path);
	if ((r = fs_open(s->fs, buf_cstr(&path), FILE_READ, &f, e)) < 0 ||
		(r = file_size(f, &size, e)) < 0)
		goto end;
	while (size - g->end >= HEADER_BYTES) {
		if ((r = file_read(f, g->end, &h, sizeof h, e)) < 0)
			goto end;
		if (!header_good(&h) || h.length > size - g->end - HEADER_BYTES)
			break;
		g->end += HEADER_BYTES + h.length;
		g->n_batches++;
	}
	if (g->end < size)
		log_warn("route", "%s: %" PRIu64 " bytes behind its last whole batch are left out",
			path.p, size - g->end);
end:
	file_close(f);
	buf_fini(&path);
	return r;
}

static bool parse_name(struct str name, uint64_t *number)
{
	uint64_t v = 0;

	if (name.n != 16 + 6 || !str_ends(name, STR(".spool")))
		return false;
	for (size_t i = 0; i < 16; i++) {
		char c = name.p[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
			return false;
		v = v << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	*number = v;
	return true;
}

static void place_path(const struct spool *s, struct buf *out)
{
	buf_printf(out, "%s/place", s->dir);
}

/* Where reading was: a file that is not there or not to be understood means the beginning. */
static void read_place(struct spool *s)
{
	struct buf path = {0}, text = {0};
	uint64_t number, at;

	place_path(s, &path);
	if (fs_read_all(s->fs, buf_cstr(&path), PLACE_BYTES_MAX, &text, NULL) == 0 &&
		sscanf(buf_cstr(&text), "%" SCNx64 " %" SCNu64, &number, &at) == 2) {
		s->in_number = number;
		s->at = at;
	}
	buf_fini(&path);
	buf_fini(&text);
}

static void keep_place(struct spool *s)
{
	struct buf path = {0}, text = {0};
	struct error e;

	place_path(s, &path);
	buf_printf(&text, "%016" PRIx64 " %" PRIu64 "\n", s->in_number, s->at);
	if (fs_write_all(s->fs, buf_cstr(&path), buf_view(&text), &e) < 0)
		log_warn("route", "%s: what was delivered will be sent again after a restart",
			e.text);
	s->kept_ns = clock_mono_ns(clock_real());
	buf_fini(&path);
	buf_fini(&text);
}

static void segment_delete(struct spool *s, uint64_t number)
{
	struct buf path = {0};
	struct error e;

	segment_path(s, number, &path);
	if (fs_unlink(s->fs, buf_cstr(&path), &e) < 0)
		log_warn("route", "%s: it stays on the disk", e.text);
	buf_fini(&path);
}

/* Batches of the segment where reading was that lie before that place. */
static int pass_by(struct spool *s, struct segment *g, struct error *e)
{
	struct buf path = {0};
	struct file *f = NULL;
	uint64_t at = 0;
	struct header h;
	int r;

	segment_path(s, g->number, &path);
	r = fs_open(s->fs, buf_cstr(&path), FILE_READ, &f, e);
	while (r == 0 && at < s->at && at < g->end &&
		(r = file_read(f, at, &h, sizeof h, e)) == 0) {
		at += HEADER_BYTES + h.length;
		g->n_batches--;
		s->batches--;
		s->bytes -= HEADER_BYTES + h.length;
	}
	s->at = at; /* between two entries, whatever the file said */
	file_close(f);
	buf_fini(&path);
	return r;
}

/* The mutant of this program, which the campaign of routers must catch: what was acknowledged
 * before is gone.  A build of its own (cli/CMakeLists.txt). */
static bool forgets(void)
{
#ifdef SAWLOG_MUTANT
	return true;
#else
	return false;
#endif
}

static int read_segments(struct spool *s, struct error *e)
{
	struct buf names = {0};
	const char *name;
	uint64_t number;
	size_t n;
	int r = fs_list(s->fs, s->dir, &names, &n, e);

	name = names.p;
	lock_take(&s->lock);
	for (size_t i = 0; r == 0 && i < n; i++, name += strlen(name) + 1) {
		struct segment *g;

		if (!parse_name(str_c(name), &number))
			continue;
		s->next_number = number + 1;
		if (number < s->in_number || forgets()) {
			segment_delete(s, number); /* it was read */
			continue;
		}
		g = segment_add(s, number);
		if ((r = measure(s, g, e)) == 0) {
			s->bytes += g->end;
			s->batches += g->n_batches;
			if (number == s->in_number)
				r = pass_by(s, g, e);
		}
	}
	if (r == 0 && (s->n == 0 || s->segments[0].number != s->in_number)) {
		s->in_number = s->n ? s->segments[0].number : s->next_number;
		s->at = 0;
	}
	if (s->next_number < s->in_number)
		s->next_number = s->in_number;
	lock_drop(&s->lock);
	buf_fini(&names);
	return r;
}

int spool_open(struct spool **out, struct fs *fs, const char *dir, struct error *e)
{
	struct spool *s = xcalloc(1, sizeof *s);
	int r;

	s->fs = fs;
	s->dir = xstrdup(dir);
	lock_init(&s->lock);
	if ((r = fs_mkdir(fs, dir, e)) == 0) {
		read_place(s);
		r = read_segments(s, e);
	}
	if (r < 0) {
		s->in_number = 0;
		lock_fini(&s->lock);
		free(s->segments);
		free(s->dir);
		free(s);
		return error_wrap(e, r, "buffer %s", dir);
	}
	*out = s;
	return 0;
}

/* Appending */

static int begin_segment(struct spool *s, struct error *e)
{
	struct buf path = {0};
	uint64_t number = s->next_number;
	int r;

	segment_path(s, number, &path);
	r = fs_open(s->fs, buf_cstr(&path), FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, &s->out, e);
	s->next_number++; /* whatever became of it, the name is used up */
	if (r == 0 && (r = fs_sync_dir(s->fs, s->dir, e)) < 0) {
		file_close(s->out);
		s->out = NULL;
		fs_unlink(s->fs, buf_cstr(&path), NULL);
	}
	buf_fini(&path);
	if (r < 0)
		return r;
	lock_take(&s->lock);
	segment_add(s, number);
	s->writing = true;
	lock_drop(&s->lock);
	return 0;
}

static void end_segment(struct spool *s)
{
	file_close(s->out);
	s->out = NULL;
	lock_take(&s->lock);
	s->writing = false;
	lock_drop(&s->lock);
}

/* One write and one sync. */
static int append_group(
	struct spool *s, struct batch *const *batches, size_t n, uint64_t at, struct error *e)
{
	struct header headers[GROUP_MAX];
	struct iovec iov[2 * GROUP_MAX];
	int r;

	for (size_t i = 0; i < n; i++) {
		struct str bytes = batch_bytes(batches[i]);

		header_make(&headers[i], bytes);
		iov[2 * i] = (struct iovec){&headers[i], HEADER_BYTES};
		iov[2 * i + 1] = (struct iovec){(void *)bytes.p, bytes.n};
	}
	if ((r = file_write(s->out, at, iov, 2 * (int)n, e)) < 0)
		return r;
	return file_sync(s->out, e);
}

int spool_append(struct spool *s, struct batch *const *batches, size_t n, struct error *e)
{
	uint64_t end, bytes = 0;
	int r;

	assert(n > 0 && n <= GROUP_MAX);
	for (size_t i = 0; i < n; i++)
		bytes += HEADER_BYTES + batch_bytes(batches[i]).n;
	lock_take(&s->lock);
	end = s->out ? s->segments[s->n - 1].end : 0;
	lock_drop(&s->lock);
	if (s->out && end + bytes > SEGMENT_BYTES && end > 0) {
		end_segment(s);
		end = 0;
	}
	if (!s->out && (r = begin_segment(s, e)) < 0)
		return r;
	if ((r = append_group(s, batches, n, end, e)) < 0) {
		end_segment(s);
		return r;
	}
	lock_take(&s->lock);
	s->segments[s->n - 1].end += bytes;
	s->segments[s->n - 1].n_batches += n;
	s->bytes += bytes;
	s->batches += n;
	lock_drop(&s->lock);
	return 0;
}

/* Reading */

/* The segment that is read was read to its end: go on with the next.  False: there is none yet. */
static bool next_segment(struct spool *s)
{
	uint64_t done;

	lock_take(&s->lock);
	if (s->n == 0 || (s->n == 1 && s->writing)) {
		lock_drop(&s->lock);
		return false;
	}
	done = s->segments[0].number;
	memmove(s->segments, s->segments + 1, (s->n - 1) * sizeof *s->segments);
	s->n--;
	s->in_number = s->n ? s->segments[0].number : done + 1;
	lock_drop(&s->lock);
	file_close(s->in);
	s->in = NULL;
	s->at = 0;
	keep_place(s);
	segment_delete(s, done);
	return true;
}

/* The rest of the segment cannot be read. */
static void give_up_rest(struct spool *s, uint64_t end, const char *why)
{
	lock_take(&s->lock);
	s->damaged += end - s->at;
	s->bytes -= end - s->at;
	s->batches -= s->segments[0].n_batches;
	s->segments[0].n_batches = 0;
	lock_drop(&s->lock);
	log_error("route",
		"%s/%016" PRIx64 ".spool: %s: %" PRIu64 " bytes from %" PRIu64 " on are lost",
		s->dir, s->in_number, why, end - s->at, s->at);
	s->at = end;
}

static void count_one(struct spool *s, uint64_t bytes)
{
	lock_take(&s->lock);
	s->bytes -= bytes;
	s->batches--;
	if (s->n)
		s->segments[0].n_batches--;
	lock_drop(&s->lock);
	s->at += bytes;
}

static int open_in(struct spool *s, struct error *e)
{
	struct buf path = {0};
	int r;

	if (s->in)
		return 0;
	segment_path(s, s->in_number, &path);
	r = fs_open(s->fs, buf_cstr(&path), FILE_READ, &s->in, e);
	buf_fini(&path);
	return r;
}

/* The entry at the place: 1 with *out, 0 when it was passed by as damaged. */
static int read_entry(struct spool *s, uint64_t end, struct batch **out, struct error *e)
{
	struct buf bytes = {0};
	struct error bad;
	struct header h;
	int r;

	if ((r = open_in(s, e)) < 0 || (r = file_read(s->in, s->at, &h, sizeof h, e)) < 0)
		return r;
	if (!header_good(&h) || h.length > end - s->at - HEADER_BYTES) {
		give_up_rest(s, end, "the header of a batch is damaged");
		return 0;
	}
	buf_reserve(&bytes, h.length);
	if ((r = file_read(s->in, s->at + HEADER_BYTES, bytes.p, h.length, e)) < 0) {
		buf_fini(&bytes);
		return r;
	}
	bytes.n = h.length;
	s->step = HEADER_BYTES + h.length;
	if (crc32c(0, bytes.p, bytes.n) != h.payload_crc) {
		error_set(&bad, ERR_CORRUPT, "its sum is wrong");
		buf_fini(&bytes);
	} else if (batch_from_bytes(out, &bytes, &bad) == 0) {
		return 1;
	}
	log_error("route",
		"%s/%016" PRIx64 ".spool: the batch of %u bytes at %" PRIu64 " is lost: %s", s->dir,
		s->in_number, h.length, s->at, bad.text);
	lock_take(&s->lock);
	s->damaged += s->step;
	lock_drop(&s->lock);
	count_one(s, s->step);
	s->step = 0;
	return 0;
}

int spool_next(struct spool *s, struct batch **out, struct error *e)
{
	for (;;) {
		uint64_t end = 0;
		bool any;
		int r;

		lock_take(&s->lock);
		any = s->n > 0;
		if (any) {
			s->in_number = s->segments[0].number;
			end = s->segments[0].end;
		}
		lock_drop(&s->lock);
		if (!any)
			return 0;
		if (s->at >= end) {
			if (!next_segment(s))
				return 0;
			continue;
		}
		if ((r = read_entry(s, end, out, e)) != 0)
			return r;
	}
}

void spool_advance(struct spool *s)
{
	assert(s->step > 0);
	count_one(s, s->step);
	s->step = 0;
	if (clock_mono_ns(clock_real()) - s->kept_ns > KEEP_NS)
		keep_place(s);
}

void spool_close(struct spool *s)
{
	if (!s)
		return;
	end_segment(s);
	if (s->n == 1 && s->at >= s->segments[0].end)
		next_segment(s);
	else
		keep_place(s);
	file_close(s->in);
	lock_fini(&s->lock);
	free(s->segments);
	free(s->dir);
	free(s);
}

/* Figures */

uint64_t spool_bytes(struct spool *s)
{
	uint64_t v;

	lock_take(&s->lock);
	v = s->bytes;
	lock_drop(&s->lock);
	return v;
}

uint64_t spool_batches(struct spool *s)
{
	uint64_t v;

	lock_take(&s->lock);
	v = s->batches;
	lock_drop(&s->lock);
	return v;
}

uint64_t spool_damaged(struct spool *s)
{
	uint64_t v;

	lock_take(&s->lock);
	v = s->damaged;
	lock_drop(&s->lock);
	return v;
}
