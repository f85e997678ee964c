/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments, groups and their recovery.
 *
 * A group is the unit of the sync: group g+1 is written only after the sync of
 * group g returned, so any header of g+1 on the disk proves that g was durable.
 * Each header says how far before it its group starts.  With that a hole met
 * at recovery is told apart: when a later group exists, the hole is damage in
 * durable bytes, it is stepped over and reported; when nothing after it
 * belongs to a later group, the hole is a write that power or a kill cut
 * short, and everything from the hole on is cut, also what happens to be
 * whole.  Keeping such a remainder would be wrong: a source's mark would move
 * past records that are in the hole and that the sender still has to resend.
 *
 * A segment is made under another name, gets its snapshot, is synced and then
 * renamed, so a segment that exists begins with a whole snapshot.  The snapshot
 * is there twice: with the older segments gone it is the only copy.
 *
 * A file of which a write or a sync failed is never written again, since what
 * the kernel kept of it is unknown.  The next segment's name voids whatever
 * the failed one may show from that sequence on.
 */
#include "store/journal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/lock.h"
#include "base/log.h"
#include "record/batch.h"

enum {
	HEADER_BYTES = 40,
	ALIGN = 8,
	WINDOW_BYTES = 1 << 20, /* recovery reads through a window of this size */
	SECTOR_BYTES = 4096,    /* and falls back to this after a read error */
	IOV_MAX_GROUP = 1000,
	STEP_MAX = 16 << 20, /* preallocation at a time */
};
static const uint32_t magic = 0x314a4c53; /* "SLJ1" */

struct segment {
	uint64_t first_seq;
	uint64_t bytes;
};

struct journal {
	/* Fixed after journal_open. */
	struct fs *fs;
	char *dir;
	uint64_t segment_bytes;
	bool sync_off, read_only;
	/* Recovery, then the committer. */
	struct file *file;     /* the newest segment; NULL before the first roll */
	uint64_t at;           /* where the next group goes */
	uint64_t snapshot_end; /* a segment with nothing but its snapshot is not full */
	uint64_t allocated;
	bool failed;
	/* Under lock. */
	struct lock lock;
	struct segment *segments; /* oldest first */
	size_t n, cap;
	/* Atomic. */
	_Atomic uint64_t bytes;
	_Atomic uint64_t syncs;
};

struct header {
	uint32_t length, n_records, payload_crc;
	enum journal_type type;
	uint64_t group_distance; /* bytes from the start of its group to this record */
	uint64_t first_seq;
	int64_t commit_ns;
};

static uint64_t align_up(uint64_t n)
{
	return (n + ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
}

static void header_encode(
	char p[HEADER_BYTES], const struct journal_entry *entry, uint64_t group_distance)
{
	assert(group_distance / ALIGN < 1 << 24);
	put_u32(p, magic);
	put_u32(p + 4, (uint32_t)entry->payload.n);
	put_u32(p + 8, (uint32_t)(group_distance / ALIGN) << 8 | (uint32_t)entry->type);
	put_u32(p + 12, entry->n_records);
	put_u64(p + 16, entry->first_seq);
	put_u64(p + 24, (uint64_t)entry->commit_ns);
	put_u32(p + 32, crc32c(0, entry->payload.p, entry->payload.n));
	put_u32(p + 36, crc32c(0, p, 36));
}

static bool header_decode(const char *p, struct header *h)
{
	if (get_u32(p) != magic || get_u32(p + 36) != crc32c(0, p, 36))
		return false;
	h->length = get_u32(p + 4);
	h->type = get_u32(p + 8) & 0xff;
	h->group_distance = (uint64_t)(get_u32(p + 8) >> 8) * ALIGN;
	h->n_records = get_u32(p + 12);
	h->first_seq = get_u64(p + 16);
	h->commit_ns = (int64_t)get_u64(p + 24);
	h->payload_crc = get_u32(p + 32);
	return h->length <= BATCH_BYTES_MAX && h->n_records <= BATCH_RECORDS_MAX &&
	       h->type >= JOURNAL_BATCH && h->type <= JOURNAL_LEDGER && h->first_seq > 0 &&
	       h->first_seq < UINT64_MAX - BATCH_RECORDS_MAX;
}

/* Open and close */

static void segment_path(
	const struct journal *j, uint64_t first_seq, const char *suffix, struct buf *out)
{
	buf_clear(out);
	buf_printf(out, "%s/%020" PRIu64 ".journal%s", j->dir, first_seq, suffix);
	buf_cstr(out);
}

static bool parse_name(struct str name, uint64_t *first_seq)
{
	return name.n == 28 && str_ends(name, STR(".journal")) &&
	       str_u64(str_sub(name, 0, 20), first_seq) && *first_seq > 0;
}

static void add_segment(struct journal *j, uint64_t first_seq, uint64_t bytes)
{
	lock_take(&j->lock);
	if (j->n > 0 && j->segments[j->n - 1].first_seq == first_seq) {
		/* The rename has replaced a segment of the same name. */
		atomic_fetch_sub(&j->bytes, j->segments[j->n - 1].bytes);
		j->n--;
	}
	if (j->n == j->cap) {
		j->cap = j->cap ? j->cap * 2 : 8;
		j->segments = xrealloc(j->segments, j->cap * sizeof *j->segments);
	}
	j->segments[j->n++] = (struct segment){.first_seq = first_seq, .bytes = bytes};
	atomic_fetch_add(&j->bytes, bytes);
	lock_drop(&j->lock);
}

static uint64_t size_of(struct journal *j, const char *path)
{
	struct file *f = NULL;
	uint64_t size = 0;

	if (fs_open(j->fs, path, FILE_READ, &f, NULL) == 0)
		file_size(f, &size, NULL);
	file_close(f);
	return size;
}

int journal_open(struct journal **out, const struct journal_options *o, struct error *e)
{
	struct journal *j = xcalloc(1, sizeof *j);
	struct buf names = {0}, path = {0};
	const char *name;
	size_t n = 0;
	int r;

	lock_init(&j->lock);
	j->fs = o->fs;
	j->dir = xstrdup(o->dir);
	j->segment_bytes = o->segment_bytes;
	j->sync_off = o->sync_off;
	j->read_only = o->read_only;
	if ((!j->read_only && (r = fs_mkdir(j->fs, j->dir, e)) < 0) ||
		(r = fs_list(j->fs, j->dir, &names, &n, e)) < 0)
		goto fail;
	name = names.p;
	for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
		uint64_t first_seq;

		buf_clear(&path);
		buf_printf(&path, "%s/%s", j->dir, name);
		if (parse_name(str_c(name), &first_seq))
			add_segment(j, first_seq, size_of(j, buf_cstr(&path)));
		else if (str_ends(str_c(name), STR(".journal.new")) && !j->read_only)
			fs_unlink(j->fs, buf_cstr(&path), NULL); /* a roll that was cut short */
	}
	buf_fini(&names);
	buf_fini(&path);
	*out = j;
	return 0;
fail:
	buf_fini(&names);
	buf_fini(&path);
	journal_close(j);
	return error_wrap(e, r, "journal %s", o->dir);
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	file_close(j->file);
	free(j->segments);
	free(j->dir);
	lock_fini(&j->lock);
	free(j);
}

/* Writing */

static int sync_file(struct journal *j, struct file *f, struct error *e)
{
	if (j->sync_off)
		return 0;
	atomic_fetch_add(&j->syncs, 1);
	return file_sync(f, e);
}

static int ensure_allocated(
	struct journal *j, struct file *f, uint64_t *allocated, uint64_t end, struct error *e)
{
	uint64_t step = j->segment_bytes < STEP_MAX ? j->segment_bytes : STEP_MAX;
	uint64_t size = *allocated;
	int r;

	if (end <= size)
		return 0;
	size = end > size + step ? end : size + step;
	if (size > j->segment_bytes && end <= j->segment_bytes)
		size = j->segment_bytes;
	if ((r = file_allocate(f, size, e)) < 0)
		return r;
	*allocated = size;
	return 0;
}

/* Lay out header, payload, padding of each entry as one gathered write at `at`. */
static int write_entries(
	struct file *f, uint64_t at, const struct journal_entry *entries, size_t n, struct error *e)
{
	static const char zeros[ALIGN];
	struct iovec *iov = xmalloc(n * 3 * sizeof *iov);
	char *headers = xmalloc(n * HEADER_BYTES);
	uint64_t distance = 0;
	int n_iov = 0, r;

	for (size_t i = 0; i < n; i++) {
		const struct journal_entry *entry = &entries[i];
		char *header = headers + i * HEADER_BYTES;
		size_t pad = (size_t)(align_up(entry->payload.n) - entry->payload.n);

		header_encode(header, entry, distance);
		iov[n_iov++] = (struct iovec){header, HEADER_BYTES};
		if (entry->payload.n > 0)
			iov[n_iov++] = (struct iovec){(void *)entry->payload.p, entry->payload.n};
		if (pad > 0)
			iov[n_iov++] = (struct iovec){(void *)zeros, pad};
		distance += HEADER_BYTES + align_up(entry->payload.n);
	}
	r = file_write(f, at, iov, n_iov, e);
	free(iov);
	free(headers);
	return r;
}

static uint64_t entries_bytes(const struct journal_entry *entries, size_t n)
{
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += HEADER_BYTES + align_up(entries[i].payload.n);
	return total;
}

/* Both copies of the snapshot, each its own group. */
static int write_snapshot(struct journal *j, struct file *f, uint64_t first_seq, int64_t now_ns,
	const struct chunks *snapshot, uint64_t *at, uint64_t *allocated, struct error *e)
{
	int r;

	for (int copy = 0; copy < 2; copy++) {
		for (size_t i = 0; i < snapshot->n || i == 0; i++) {
			struct journal_entry entry = {
				.type = JOURNAL_SNAPSHOT,
				.first_seq = first_seq,
				.commit_ns = now_ns,
				.payload = i < snapshot->n ? chunks_get(snapshot, i) : STR_NONE,
			};
			uint64_t bytes = entries_bytes(&entry, 1);

			if ((r = ensure_allocated(j, f, allocated, *at + bytes, e)) < 0 ||
				(r = write_entries(f, *at, &entry, 1, e)) < 0)
				return r;
			*at += bytes;
		}
	}
	return 0;
}

int journal_roll(struct journal *j, uint64_t first_seq, int64_t now_ns,
	const struct chunks *snapshot, const struct journal_entry *carry, size_t n, struct error *e)
{
	struct buf temp = {0}, path = {0};
	struct file *f = NULL;
	uint64_t at = 0, allocated = 0, snapshot_end;
	int r;

	segment_path(j, first_seq, ".new", &temp);
	segment_path(j, first_seq, "", &path);
	fs_unlink(j->fs, temp.p, NULL); /* left by an attempt that failed */
	if ((r = fs_open(j->fs, temp.p, FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, &f, e)) < 0 ||
		(r = write_snapshot(j, f, first_seq, now_ns, snapshot, &at, &allocated, e)) < 0)
		goto fail;
	snapshot_end = at;
	if (n > 0) {
		at += entries_bytes(carry, n);
		if ((r = ensure_allocated(j, f, &allocated, at, e)) < 0 ||
			(r = write_entries(f, snapshot_end, carry, n, e)) < 0)
			goto fail;
	}
	if ((r = sync_file(j, f, e)) < 0 || (r = fs_rename(j->fs, temp.p, path.p, e)) < 0 ||
		(r = fs_sync_dir(j->fs, j->dir, e)) < 0)
		goto fail;
	/* What was preallocated and not used would only take room. */
	if (j->file && !j->failed && j->at < j->allocated)
		file_truncate(j->file, j->at, NULL);
	lock_take(&j->lock);
	if (j->n > 0 && j->file && !j->failed && j->at < j->segments[j->n - 1].bytes) {
		atomic_fetch_sub(&j->bytes, j->segments[j->n - 1].bytes - j->at);
		j->segments[j->n - 1].bytes = j->at;
	}
	lock_drop(&j->lock);
	file_close(j->file);
	j->file = f;
	j->at = at;
	j->snapshot_end = snapshot_end;
	j->allocated = allocated;
	j->failed = false;
	add_segment(j, first_seq, allocated);
	buf_fini(&temp);
	buf_fini(&path);
	return 0;
fail:
	/* After a failed sync of the directory the new segment may be there or not; it holds no
	 * record, and what is void because of it was never acknowledged: the group that asked for
	 * the roll is the first that would come after first_seq. */
	file_close(f);
	fs_unlink(j->fs, temp.p, NULL);
	buf_fini(&temp);
	r = error_wrap(e, r, "journal segment %s", path.p);
	buf_fini(&path);
	j->failed = true;
	return r;
}

bool journal_wants_roll(const struct journal *j, uint64_t bytes)
{
	return !j->file || j->failed ||
	       (j->at + bytes > j->segment_bytes && j->at > j->snapshot_end);
}

int journal_append(
	struct journal *j, const struct journal_entry *entries, size_t n, struct error *e)
{
	uint64_t total = entries_bytes(entries, n), before = j->allocated;
	int r;

	assert(!j->read_only && j->file && !j->failed && n > 0 && n * 3 <= IOV_MAX_GROUP);
	if ((r = ensure_allocated(j, j->file, &j->allocated, j->at + total, e)) < 0)
		goto fail;
	if (j->allocated > before) {
		lock_take(&j->lock);
		j->segments[j->n - 1].bytes += j->allocated - before;
		lock_drop(&j->lock);
		atomic_fetch_add(&j->bytes, j->allocated - before);
	}
	if ((r = write_entries(j->file, j->at, entries, n, e)) < 0 ||
		(r = sync_file(j, j->file, e)) < 0)
		goto fail;
	j->at += total;
	return 0;
fail:
	j->failed = true;
	return error_wrap(e, r, "journal %s", j->dir);
}

void journal_delete_upto(struct journal *j, uint64_t seq)
{
	struct buf path = {0};
	struct error e;

	for (;;) {
		struct segment oldest;
		bool more;

		lock_take(&j->lock);
		more = j->n > 1 && j->segments[1].first_seq - 1 <= seq;
		if (more) {
			oldest = j->segments[0];
			memmove(j->segments, j->segments + 1, (j->n - 1) * sizeof *j->segments);
			j->n--;
		}
		lock_drop(&j->lock);
		if (!more)
			break;
		atomic_fetch_sub(&j->bytes, oldest.bytes);
		segment_path(j, oldest.first_seq, "", &path);
		/* One at a time and synced, so that what stays after a crash has no holes. */
		if (fs_unlink(j->fs, path.p, &e) < 0 || fs_sync_dir(j->fs, j->dir, &e) < 0)
			log_warn("journal", "cannot delete %s, it stays until the next start: %s",
				path.p, e.text);
	}
	buf_fini(&path);
}

void journal_range(struct journal *j, uint64_t *oldest, uint64_t *newest)
{
	lock_take(&j->lock);
	*oldest = j->n > 0 ? j->segments[0].first_seq : 0;
	*newest = j->n > 0 ? j->segments[j->n - 1].first_seq : 0;
	lock_drop(&j->lock);
}

/* Recovery */

/* A file read through a sliding window; sectors that cannot be read appear as zeros. */
struct window {
	struct file *f;
	uint64_t size;
	char *p;
	uint64_t at;
	size_t n;
	uint64_t unreadable;
};

static void window_fill(struct window *w, uint64_t at)
{
	uint64_t left = w->size - at;

	w->at = at;
	w->n = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
	if (file_read(w->f, at, w->p, w->n, NULL) == 0)
		return;
	for (size_t done = 0; done < w->n;) {
		size_t piece = w->n - done < SECTOR_BYTES ? w->n - done : SECTOR_BYTES;

		if (file_read(w->f, at + done, w->p + done, piece, NULL) < 0) {
			memset(w->p + done, 0, piece);
			w->unreadable += piece;
		}
		done += piece;
	}
}

/* n bytes at `at`, or NULL when the file ends before.  Valid until the next call. */
static const char *window_get(struct window *w, uint64_t at, size_t n)
{
	assert(n <= WINDOW_BYTES);
	if (at > w->size || n > w->size - at)
		return NULL;
	if (at < w->at || at + n > w->at + w->n)
		window_fill(w, at);
	return w->p + (at - w->at);
}

/* Offset of the next whole header at or behind `at` that may follow in this segment:
 * w->size when there is none. */
static uint64_t find_header(
	struct window *w, uint64_t at, uint64_t min_seq, uint64_t end_seq, struct header *h)
{
	const char *p;

	for (at = align_up(at); (p = window_get(w, at, HEADER_BYTES)); at += ALIGN)
		if (header_decode(p, h) && h->first_seq >= min_seq && h->first_seq <= end_seq &&
			h->group_distance <= at)
			return at;
	return w->size;
}

/* Is there a header behind `hole` whose group began behind it?  Then the hole was durable. */
static bool later_group(struct window *w, uint64_t hole, uint64_t min_seq, uint64_t end_seq)
{
	struct header h;
	uint64_t at = hole;

	while ((at = find_header(w, at, min_seq, end_seq, &h)) < w->size) {
		if (at - h.group_distance > hole)
			return true;
		at += HEADER_BYTES;
	}
	return false;
}

static bool read_payload(struct window *w, uint64_t at, const struct header *h, struct buf *out)
{
	buf_fini(out);
	if (at > w->size || h->length > w->size - at)
		return false;
	/* Exactly as long as it is: a batch keeps this memory, and is charged for its bytes. */
	*out = (struct buf){.p = xmalloc(h->length), .cap = h->length};
	while (out->n < h->length) {
		size_t left = h->length - out->n;
		size_t n = left < WINDOW_BYTES ? left : WINDOW_BYTES;

		memcpy(out->p + out->n, window_get(w, at + out->n, n), n);
		out->n += n;
	}
	return crc32c(0, out->p, out->n) == h->payload_crc;
}

struct segment_reader {
	struct journal *j;
	const struct journal_visitor *v;
	struct journal_recovery *out;
	struct window w;
	uint64_t first_seq; /* of the segment */
	uint64_t end_seq;   /* first of the next segment; UINT64_MAX in the newest */
	struct buf payload;
};

/* Is everything from `at` on zero, as preallocated space is? */
static bool rest_is_zero(struct window *w, uint64_t at)
{
	while (at < w->size) {
		size_t n = w->size - at < WINDOW_BYTES ? (size_t)(w->size - at) : WINDOW_BYTES;
		const char *p = window_get(w, at, n);

		if (p[0] != 0 || memcmp(p, p + 1, n - 1) != 0)
			return false;
		at += n;
	}
	return true;
}

static void tell_damage(
	struct segment_reader *s, uint64_t from, uint64_t to, uint64_t first_seq, uint64_t last_seq)
{
	char text[200];

	snprintf(text, sizeof text,
		"journal segment %020" PRIu64 ": bytes %" PRIu64 " to %" PRIu64
		" are damaged and were skipped",
		s->first_seq, from, to);
	s->v->damage(s->v->ctx, first_seq, last_seq, text);
}

static int visit(struct segment_reader *s, const struct header *h, struct error *e)
{
	struct journal_entry entry = {
		.type = h->type,
		.first_seq = h->first_seq,
		.n_records = h->n_records,
		.commit_ns = h->commit_ns,
		.payload = buf_view(&s->payload),
		.group_start = h->group_distance == 0,
	};

	s->out->records++;
	return s->v->entry(s->v->ctx, &entry, &s->payload, e);
}

static uint64_t header_next_seq(const struct header *h)
{
	return h->first_seq + (h->type == JOURNAL_BATCH ? h->n_records : 0);
}

/* Read one segment.  `seq` is the sequence that comes next.  Behind a cut tail the numbers are
 * given again: nobody was told of the records that had them. */
static int read_segment(struct segment_reader *s, struct error *e)
{
	struct window *w = &s->w;
	uint64_t at = 0, seq = s->first_seq;
	bool newest = s->end_seq == UINT64_MAX;

	while (at < w->size) {
		struct header h;
		const char *p = window_get(w, at, HEADER_BYTES);
		bool whole_header = p && header_decode(p, &h) && h.first_seq >= seq &&
				    h.first_seq <= s->end_seq;
		uint64_t hole = at;

		/* Records of a later segment's sequences were refused and written again there. */
		if (whole_header && header_next_seq(&h) > s->end_seq)
			break;
		if (whole_header && read_payload(w, at + HEADER_BYTES, &h, &s->payload)) {
			int r;

			if (h.first_seq > seq)
				tell_damage(s, at, at, seq, h.first_seq - 1);
			if ((r = visit(s, &h, e)) < 0)
				return r;
			seq = header_next_seq(&h);
			if (seq > s->out->next_seq)
				s->out->next_seq = seq;
			at += HEADER_BYTES + align_up(h.length);
			continue;
		}
		if (newest && !later_group(w, hole, seq, s->end_seq)) {
			if (!rest_is_zero(w, hole))
				s->out->torn_bytes += w->size - hole;
			return 0;
		}
		at = find_header(w,
			whole_header ? at + HEADER_BYTES + align_up(h.length) : at + ALIGN, seq,
			s->end_seq, &h);
		if (at < w->size)
			tell_damage(s, hole, at, seq, h.first_seq - 1);
		else if (newest)
			tell_damage(s, hole, at, seq, seq - 1);
		seq = at < w->size ? h.first_seq : seq;
	}
	if (!newest && seq < s->end_seq)
		tell_damage(s, at, w->size, seq, s->end_seq - 1);
	return 0;
}

int journal_recover(struct journal *j, const struct journal_visitor *v,
	struct journal_recovery *out, struct error *e)
{
	struct segment_reader s = {.j = j, .v = v, .out = out};
	struct buf path = {0};
	int r = 0;

	*out = (struct journal_recovery){.next_seq = 1};
	s.w.p = xmalloc(WINDOW_BYTES);
	for (size_t i = 0; i < j->n && r >= 0; i++) {
		uint64_t first_seq = j->segments[i].first_seq;

		s.first_seq = first_seq;
		s.end_seq = i + 1 < j->n ? j->segments[i + 1].first_seq : UINT64_MAX;
		s.w = (struct window){.p = s.w.p};
		segment_path(j, first_seq, "", &path);
		if ((r = fs_open(j->fs, path.p, FILE_READ, &s.w.f, e)) < 0 ||
			(r = file_size(s.w.f, &s.w.size, e)) < 0) {
			file_close(s.w.f);
			if (r == ERR_NOT_FOUND && j->read_only) {
				r = 0;
				continue;
			}
			break;
		}
		if (first_seq > out->next_seq)
			out->next_seq = first_seq;
		r = read_segment(&s, e);
		out->bytes += s.w.size;
		file_close(s.w.f);
	}
	if (r < 0)
		error_wrap(e, r, "journal %s", j->dir);
	free(s.w.p);
	buf_fini(&s.payload);
	buf_fini(&path);
	return r;
}

/* Figures */

uint64_t journal_bytes(const struct journal *j)
{
	return atomic_load(&j->bytes);
}

uint64_t journal_syncs(const struct journal *j)
{
	return atomic_load(&j->syncs);
}

size_t journal_segments(struct journal *j)
{
	size_t n;

	lock_take(&j->lock);
	n = j->n;
	lock_drop(&j->lock);
	return n;
}

void journal_dump(struct journal *j, struct buf *out)
{
	lock_take(&j->lock);
	buf_printf(out, "journal %s: %zu segments, %" PRIu64 " bytes, %" PRIu64 " syncs\n", j->dir,
		j->n, atomic_load(&j->bytes), atomic_load(&j->syncs));
	for (size_t i = 0; i < j->n; i++)
		buf_printf(out, "  segment %020" PRIu64 ": %" PRIu64 " bytes\n",
			j->segments[i].first_seq, j->segments[i].bytes);
	lock_drop(&j->lock);
}
