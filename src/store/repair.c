/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mending a store that no server has.
 *
 * Nothing is thrown away: a damaged file stays as NAME.damaged.  A part with
 * damaged blocks is written anew without them under its next revision, then the
 * old file gets its new name: with a crash between the two the start finds both
 * and keeps the old one, and repair can be asked for again.  What becomes of
 * the manifest then is what becomes of it at every start (parts_load.c): the
 * listed file is not there, and the new one fills its place.
 *
 * A part of which the journal still has every record is not mended: its file is
 * put aside, and the next start builds it anew out of the journal.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "os/clock.h"
#include "store/deletion.h"
#include "store/forecast.h"
#include "store/journal.h"
#include "store/parts/parts.h"
#include "store/retain_core.h"
#include "store/tools_core.h"

struct range {
	uint64_t first, last;
};

struct repair {
	struct fs *fs;
	const char *dir;
	struct tools_tell t;
	struct store_check *out;
	struct buf journal; /* struct range, ascending: what the journal has whole */
};

/* The journal */

static int note_entry(
	void *ctx, const struct journal_entry *entry, struct buf *payload, struct error *e)
{
	struct range range = {entry->first_seq, entry->first_seq + entry->n_records - 1};
	struct repair *p = ctx;
	struct range *last = NULL;
	struct batch *b;

	if (entry->type != JOURNAL_BATCH || entry->n_records == 0 ||
		batch_from_bytes(&b, payload, NULL) < 0)
		return 0;
	if (p->journal.n > 0)
		last = (struct range *)(p->journal.p + p->journal.n) - 1;
	if (batch_count(b) != entry->n_records)
		; /* nothing is known of its records */
	else if (last && last->last + 1 == range.first)
		last->last = range.last;
	else
		buf_put(&p->journal, &range, sizeof range);
	batch_unref(b);
	return 0;
}

static void pass_by(void *ctx, uint64_t first_seq, uint64_t last_seq, const char *sentence) {}

static int read_journal(struct repair *p, struct error *e)
{
	struct journal_visitor visitor = {.entry = note_entry, .damage = pass_by, .ctx = p};
	struct buf dir = {0}, names = {0};
	struct journal_recovery found;
	struct journal *j = NULL;
	size_t n = 0;
	int r;

	tools_path(&dir, p->dir, "journal");
	if ((r = tools_list(p->fs, dir.p, &names, &n, e)) == 0 && n > 0 &&
		(r = journal_open(&j,
			 &(struct journal_options){.fs = p->fs, .dir = dir.p, .read_only = true},
			 e)) == 0)
		r = journal_recover(j, &visitor, &found, e);
	journal_close(j);
	buf_fini(&dir);
	buf_fini(&names);
	return r;
}

static bool journal_has(const struct repair *p, const struct part_summary *s)
{
	const struct range *r = (const struct range *)p->journal.p;

	for (size_t i = 0; i < p->journal.n / sizeof *r; i++)
		if (r[i].first <= s->first_seq && s->last_seq <= r[i].last)
			return true;
	return false;
}

/* Files */

static int put_aside(struct repair *p, const char *path, struct error *e)
{
	struct buf to = {0};
	int r = fs_put_aside(p->fs, path, &to, e);

	if (r == 0)
		tools_say(&p->t, "%s: put aside as %s", path, buf_cstr(&to));
	buf_fini(&to);
	return r;
}

static void say(void *ctx, const char *sentence)
{
	tools_say(&((struct repair *)ctx)->t, "%s", sentence);
}

/* Write the part anew without what cannot be read. */
static int write_anew(struct repair *p, struct tools_parts *parts, struct part *part,
	struct part_summary *out, struct error *e)
{
	const struct part_footer *footer;
	struct buf dir = {0};
	struct part_writer w = {.fs = p->fs,
		.dir = tools_path(&dir, p->dir, "parts"),
		.account = &parts->account,
		.block_raw = BLOCK_RAW_MAX};
	struct part_merge m = {.parts = &part, .n = 1, .warn = say, .ctx = p};
	int r;

	if ((r = part_load(part, &footer, e)) == 0) {
		m.cleaned = footer->summary.cleaned;
		part_release(part);
		r = part_merge(&w, &m, out, e);
	}
	buf_fini(&dir);
	return r;
}

static int mend_part(
	struct repair *p, struct tools_parts *parts, struct part *part, struct error *e)
{
	struct tools_tell quiet = {0};
	struct part_summary written = {0};
	struct part_check c;
	bool again = journal_has(p, &part->summary);
	int r = 0;

	tools_check_part(part, &quiet, &c);
	p->out->files++;
	p->out->bytes += c.bytes;
	p->out->blocks += c.blocks;
	p->out->records += c.rows;
	if (!c.unusable && !c.copies && c.damaged_blocks == 0)
		return 0;
	p->out->damaged_files++;
	p->out->damaged_blocks += c.damaged_blocks;
	if (!c.unusable && !again && (r = write_anew(p, parts, part, &written, e)) < 0)
		return error_wrap(e, r, "%s", part->path);
	if ((r = put_aside(p, part->path, e)) < 0)
		return r;
	if (again) {
		tools_say(&p->t,
			"%s: the journal has all of its records: the next start builds it "
			"anew, nothing is lost",
			part->path);
		return 0;
	}
	if (c.unusable)
		c.lost_rows = part->summary.last_seq - part->summary.first_seq + 1;
	p->out->lost_records += c.lost_rows;
	tools_say(&p->t, "%s: %" PRIu64 " records are kept, %" PRIu64 " are lost", part->path,
		written.n_rows, c.lost_rows);
	return 0;
}

static int mend_parts(struct repair *p, struct error *e)
{
	struct tools_parts parts;
	struct buf dir = {0};
	int r = tools_parts_open(&parts, p->fs, p->dir, e);

	for (size_t i = 0; r == 0 && i < parts.n; i++)
		r = mend_part(p, &parts, parts.parts[i], e);
	if (r == 0 && parts.n > 0)
		r = fs_sync_dir(p->fs, tools_path(&dir, p->dir, "parts"), e);
	tools_parts_close(&parts);
	buf_fini(&dir);
	return r;
}

/* As a start does: the manifest is made to fit, leftovers go. */
static int mend_manifest(struct repair *p, struct error *e)
{
	struct engine *engine = NULL;
	struct account account;
	struct lock lock;
	struct buf dir = {0};
	int r;

	account_init(&account, "repair", UINT64_MAX, NULL);
	lock_init(&lock);
	r = parts_open(&engine,
		&(struct parts_options){.fs = p->fs,
			.dir = tools_path(&dir, p->dir, "parts"),
			.account = &account,
			.memory = 256 << 20,
			.clock = clock_real(),
			.lock = &lock},
		e);
	if (r == 0)
		engine_type(engine)->close(engine);
	lock_fini(&lock);
	buf_fini(&dir);
	return r;
}

/* Is one of the two damaged?  Without both there was no deletion yet. */
static int mend_deletions(struct repair *p, struct error *e)
{
	static const char *const names[] = {"DELETIONS", "DELETIONS.2"};
	struct buf path = {0}, bytes = {0};
	struct deletions newest = {0};
	bool wrong = false, any = false;
	int r = 0;

	for (int i = 0; i < 2 && r == 0; i++) {
		struct deletions ds = {0};
		int found;

		buf_clear(&bytes);
		tools_path(&path, p->dir, names[i]);
		if ((found = fs_read_all(p->fs, path.p, 128 << 20, &bytes, NULL)) == 0)
			found = deletions_decode(&ds, buf_view(&bytes), NULL);
		wrong = wrong || found < 0;
		any = any || found != ERR_NOT_FOUND;
		if (found < 0 && found != ERR_NOT_FOUND) {
			p->out->damaged_files++;
			r = put_aside(p, path.p, e);
		} else if (found == 0 && ds.generation >= newest.generation) {
			deletions_fini(&newest);
			newest = ds;
			ds = (struct deletions){0};
		}
		deletions_fini(&ds);
	}
	if (r == 0 && any && wrong && newest.next_id > 0 &&
		(r = deletions_save(&newest, p->fs, p->dir, e)) == 0)
		tools_say(&p->t, "%s: the deletions are written again, twice", p->dir);
	deletions_fini(&newest);
	buf_fini(&path);
	buf_fini(&bytes);
	return r;
}

static bool is_damaged(int r)
{
	return r == ERR_CORRUPT || r == ERR_LIMIT;
}

/* A server does without them, and writes them anew. */
static int mend_retention(struct repair *p, struct error *e)
{
	struct retention rules = {0};
	struct steady steady;
	struct buf path = {0};
	int r = 0;

	if (is_damaged(retention_load(p->fs, p->dir, &rules, NULL))) {
		p->out->damaged_files++;
		r = put_aside(p, tools_path(&path, p->dir, "RETENTION"), e);
	}
	if (r == 0 && is_damaged(steady_load(p->fs, p->dir, 0, &steady, NULL))) {
		p->out->damaged_files++;
		r = put_aside(p, tools_path(&path, p->dir, "CLOCK"), e);
	}
	retention_fini(&rules);
	buf_fini(&path);
	return r;
}

int store_repair(struct fs *fs, const char *dir, struct store_check *out,
	void (*tell)(void *ctx, const char *sentence), void *ctx, struct error *e)
{
	struct repair p = {.fs = fs, .dir = dir, .t = {tell, ctx}, .out = out};
	struct file *lock = NULL;
	struct buf path = {0}, names = {0};
	size_t n;
	int r;

	*out = (struct store_check){0};
	/* A folder that is none of a store must not become one by this. */
	if ((r = fs_list(fs, dir, &names, &n, e)) < 0)
		goto out;
	if ((r = fs_lock(fs, tools_path(&path, dir, "LOCK"), &lock, e)) < 0) {
		if (r == ERR_BUSY)
			error_set(e, r, "a server has it: stop it first");
		goto out;
	}
	if ((r = read_journal(&p, e)) == 0 && (r = mend_parts(&p, e)) == 0 &&
		(r = mend_manifest(&p, e)) == 0 && (r = mend_deletions(&p, e)) == 0)
		r = mend_retention(&p, e);
out:
	file_close(lock);
	buf_fini(&path);
	buf_fini(&names);
	buf_fini(&p.journal);
	return r < 0 ? error_wrap(e, r, "store %s", dir) : 0;
}
