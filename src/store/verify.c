/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading everything that a store has on the disk.
 *
 * A block is not only held against its checksums: all of it is decoded, as a
 * query would, so that a mistake of the program that wrote it is found, too.
 *
 * It works beside a server, which goes on meanwhile: a file that goes away
 * while it is looked at was merged or dropped, a part that the manifest listed
 * is looked for in the newest manifest, and a journal that seems damaged is read
 * again, since its end may have been half written.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/deletion.h"
#include "store/forecast.h"
#include "store/journal.h"
#include "store/ledger.h"
#include "store/parts/manifest.h"
#include "store/position.h"
#include "store/retain_core.h"
#include "store/tools_core.h"
#include "store/unit.h"

enum {
	MANIFEST_BYTES_MAX = 64 << 20,
	DELETIONS_BYTES_MAX = 128 << 20,
	TRIES = 3, /* of a journal that is being written */
};

static const char repair[] = "stop the server and run `sawlog store repair`";

void tools_say(const struct tools_tell *t, const char *fmt, ...)
{
	struct buf text = {0};
	va_list ap;

	if (!t->tell)
		return;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	t->tell(t->ctx, buf_cstr(&text));
	buf_fini(&text);
}

const char *tools_path(struct buf *out, const char *dir, const char *name)
{
	buf_clear(out);
	buf_printf(out, "%s/%s", dir, name);
	return buf_cstr(out);
}

int tools_list(struct fs *fs, const char *dir, struct buf *out, size_t *n, struct error *e)
{
	int r = fs_list(fs, dir, out, n, e);

	if (r == ERR_NOT_FOUND)
		*n = 0;
	return r == ERR_NOT_FOUND ? 0 : r;
}

/* Parts */

int tools_parts_open(struct tools_parts *p, struct fs *fs, const char *dir, struct error *e)
{
	struct buf names = {0}, folder = {0}, path = {0};
	const char *name;
	size_t n;
	int r;

	*p = (struct tools_parts){.cache = {.account = &p->account}};
	account_init(&p->account, "tools", UINT64_MAX, NULL);
	tools_path(&folder, dir, "parts");
	if ((r = tools_list(fs, folder.p, &names, &n, e)) == 0) {
		p->parts = xcalloc(n, sizeof(struct part *));
		name = names.p;
		for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
			struct part_summary s = {0};

			if (part_name_parse(str_c(name), &s))
				p->parts[p->n++] = part_new(
					fs, tools_path(&path, folder.p, name), &s, &p->cache);
		}
	}
	buf_fini(&names);
	buf_fini(&folder);
	buf_fini(&path);
	return r;
}

void tools_parts_close(struct tools_parts *p)
{
	for (size_t i = 0; i < p->n; i++)
		part_unref(p->parts[i]);
	free(p->parts);
	p->parts = NULL;
	p->n = 0;
}

/* Sums that must be the same by whatever way they are reckoned. */
static int check_sums(const struct part_footer *footer, const struct part_block *b,
	const struct unit *u, struct error *e)
{
	struct block_counts counts = {0};
	uint64_t bytes = 0, counted = 0, counted_bytes = 0, hours = 0;

	for (uint32_t i = 0; i < b->n_rows; i++) {
		const struct part_stream *s = &footer->streams[u->stream[i]];

		bytes += u->body[i].n;
		if (u->timestamp[i] < s->min_ns || u->timestamp[i] > s->max_ns)
			return error_set(
				e, ERR_CORRUPT, "row %u lies outside its stream's time", i);
	}
	if (bytes != b->raw_bytes)
		return error_set(e, ERR_CORRUPT,
			"its lines have %" PRIu64 " bytes, the footer tells %" PRIu64, bytes,
			b->raw_bytes);
	if (b->n_counts == 0)
		return 0;
	block_counts_get(&counts, b);
	for (uint32_t i = 0; i < b->n_counts; i++) {
		counted += counts.counts[i].rows;
		counted_bytes += counts.counts[i].bytes;
	}
	for (uint32_t i = 0; i < b->n_hours; i++)
		hours += counts.hours[i].rows;
	block_counts_fini(&counts);
	if (counted != b->n_rows || counted_bytes != bytes || (b->n_hours > 0 && hours != counted))
		return error_set(e, ERR_CORRUPT, "its counts do not add up to its rows");
	return 0;
}

static int check_block(struct block_reader *br, struct part *p, const struct part_footer *footer,
	const struct part_block *b, struct unit *u, struct error *e)
{
	struct buf bytes = {0};
	int r;

	if ((r = unit_reserve(u, b->n_rows, e)) < 0 || (r = block_open(br, p, footer, b, e)) < 0 ||
		(r = block_bytes(br, &bytes, e)) < 0 ||
		(r = block_columns(br, (1u << N_COLUMNS) - 1, u, e)) < 0)
		goto out;
	for (uint32_t i = 0; i < b->n_rows; i++)
		u->pick[i] = i;
	if ((r = lines_get(block_lines(br), u->pick, b->n_rows, u->body, e)) == 0)
		r = check_sums(footer, b, u, e);
out:
	buf_fini(&bytes);
	return r;
}

/* The copies of what is there twice. */
static void check_copies(struct part *p, const struct tools_tell *t, struct part_check *out)
{
	struct buf damaged = {0};
	struct file *f = NULL;

	if (fs_open(p->fs, p->path, FILE_READ, &f, NULL) == 0) {
		part_copies_check(f, &damaged);
		file_size(f, &out->bytes, NULL);
	}
	file_close(f);
	if (damaged.n > 0) {
		out->copies = true;
		tools_say(t, "%s: damaged: %s; what is left of it is enough, nothing is lost; %s",
			p->path, buf_cstr(&damaged), repair);
	}
	buf_fini(&damaged);
}

void tools_check_part(struct part *p, const struct tools_tell *t, struct part_check *out)
{
	const struct part_footer *footer;
	struct block_reader br;
	struct unit u = {0};
	struct error e;
	int r;

	*out = (struct part_check){0};
	if ((r = part_load(p, &footer, &e)) < 0) {
		out->gone = r == ERR_NOT_FOUND;
		out->unusable = !out->gone;
		return;
	}
	check_copies(p, t, out);
	block_reader_init(&br, NULL);
	for (size_t i = 0; i < footer->n_blocks; i++) {
		const struct part_block *b = &footer->blocks[i];

		out->blocks++;
		out->rows += b->n_rows;
		if ((r = check_block(&br, p, footer, b, &u, &e)) == 0)
			continue;
		/* Where the server has removed it meanwhile. */
		if (r == ERR_NOT_FOUND) {
			out->gone = true;
			break;
		}
		out->damaged_blocks++;
		out->lost_rows += b->n_rows;
		tools_say(t, "%s, block %zu: %s; its %u records cannot be read; %s", p->path, i,
			e.text, b->n_rows, repair);
	}
	block_reader_fini(&br);
	unit_fini(&u);
	part_release(p);
}

/* The whole store */

struct verify {
	struct fs *fs;
	const char *dir;
	struct tools_tell t;
	struct store_check *out;
	struct manifest manifest;
	bool has_manifest;
};

static void file_damaged(struct verify *v)
{
	v->out->damaged_files++;
}

static void count_file(struct verify *v, const char *path)
{
	struct file_stat st;

	if (fs_stat(v->fs, path, &st, NULL) < 0)
		return;
	v->out->files++;
	v->out->bytes += st.size;
}

/* 0, ERR_NOT_FOUND, or what is wrong. */
static int read_manifest(struct verify *v, struct error *e)
{
	struct buf path = {0}, bytes = {0};
	int r;

	manifest_fini(&v->manifest);
	buf_printf(&path, "%s/parts/MANIFEST", v->dir);
	if ((r = fs_read_all(v->fs, buf_cstr(&path), MANIFEST_BYTES_MAX, &bytes, e)) == 0)
		r = manifest_decode(&v->manifest, buf_view(&bytes), e);
	v->has_manifest = r == 0;
	buf_fini(&path);
	buf_fini(&bytes);
	return r;
}

static void check_manifest(struct verify *v)
{
	struct buf path = {0};
	struct error e;
	int r = read_manifest(v, &e);

	tools_path(&path, v->dir, "parts/MANIFEST");
	count_file(v, path.p);
	if (r < 0 && r != ERR_NOT_FOUND) {
		file_damaged(v);
		tools_say(&v->t, "%s: %s; it is made again from the parts at the next start, or %s",
			path.p, e.text, repair);
	}
	buf_fini(&path);
}

static void check_one_part(struct verify *v, struct part *p)
{
	const struct part_summary *listed =
		v->has_manifest ? manifest_find(&v->manifest, &p->summary) : NULL;
	uint64_t rows = listed ? listed->n_rows : p->summary.last_seq - p->summary.first_seq + 1;
	struct part_check c;

	tools_check_part(p, &v->t, &c);
	if (c.gone)
		return;
	count_file(v, p->path);
	v->out->blocks += c.blocks;
	v->out->records += c.rows;
	v->out->damaged_blocks += c.damaged_blocks;
	v->out->lost_records += c.lost_rows;
	if (c.unusable) {
		v->out->lost_records += rows;
		tools_say(&v->t,
			"%s: no footer can be read: the file is cut or damaged; its %" PRIu64
			" records cannot be read; %s",
			p->path, rows, repair);
	} else if (listed && c.bytes != listed->file_bytes) {
		c.copies = true;
		tools_say(&v->t, "%s: it has %" PRIu64 " bytes, the manifest tells %" PRIu64,
			p->path, c.bytes, listed->file_bytes);
	}
	if (c.unusable || c.copies || c.damaged_blocks > 0)
		file_damaged(v);
}

static bool is_there(struct verify *v, const struct part_summary *s)
{
	struct buf path = {0};
	struct file_stat st;
	bool there;

	buf_printf(&path, "%s/parts/", v->dir);
	part_name(&path, s);
	there = fs_stat(v->fs, buf_cstr(&path), &st, NULL) == 0;
	buf_fini(&path);
	return there;
}

static void tell_missing(struct verify *v, const struct part_summary *s)
{
	struct buf name = {0};

	part_name(&name, s);
	file_damaged(v);
	v->out->lost_records += s->n_rows;
	tools_say(&v->t,
		"%s/parts/%s: it is missing; its %" PRIu64
		" records cannot be read; put the file back, or the next start goes on without it",
		v->dir, buf_cstr(&name), s->n_rows);
	buf_fini(&name);
}

static void check_missing(struct verify *v)
{
	struct part_summary *missing;
	size_t n = 0;

	/* What the server has merged since is not in the newest manifest. */
	if (!v->has_manifest || read_manifest(v, NULL) < 0)
		return;
	missing = xcalloc(v->manifest.n, sizeof *missing);
	for (size_t i = 0; i < v->manifest.n; i++)
		if (!is_there(v, &v->manifest.parts[i]))
			missing[n++] = v->manifest.parts[i];
	/* And merged while we looked: a file goes after the manifest that lists it, so one that is
	 * missing and listed afterwards is lost. */
	if (n > 0 && read_manifest(v, NULL) == 0)
		for (size_t i = 0; i < n; i++)
			if (manifest_find(&v->manifest, &missing[i]))
				tell_missing(v, &missing[i]);
	free(missing);
}

static int check_parts(struct verify *v, struct error *e)
{
	struct tools_parts parts;
	int r = tools_parts_open(&parts, v->fs, v->dir, e);

	for (size_t i = 0; r == 0 && i < parts.n; i++)
		check_one_part(v, parts.parts[i]);
	if (r == 0)
		check_missing(v);
	tools_parts_close(&parts);
	return r;
}

/* The journal */

struct journal_look {
	struct verify *v;
	struct positions *positions;
	struct ledger *ledger;
	struct buf told; /* sentences, each terminated */
	uint64_t n_told, records, lost;
};

static void journal_wrong(struct journal_look *l, const char *fmt, ...) PRINTF(2, 3);
static void journal_wrong(struct journal_look *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&l->told, fmt, ap);
	va_end(ap);
	buf_char(&l->told, 0);
	l->n_told++;
}

/* Is every record of the range in a part that the manifest lists, or was it dropped? */
static bool in_parts(const struct verify *v, uint64_t first_seq, uint64_t last_seq)
{
	if (!v->has_manifest || last_seq > v->manifest.flushed_until)
		return false;
	for (size_t i = 0; i < v->manifest.n_holes; i++)
		if (v->manifest.holes[i].first <= last_seq &&
			first_seq <= v->manifest.holes[i].last)
			return false;
	return true;
}

static void on_damage(void *ctx, uint64_t first_seq, uint64_t last_seq, const char *sentence)
{
	struct journal_look *l = ctx;

	if (first_seq > last_seq) {
		journal_wrong(l, "%s", sentence);
	} else if (in_parts(l->v, first_seq, last_seq)) {
		journal_wrong(l, "%s; parts hold the records, nothing is lost", sentence);
	} else {
		l->lost += last_seq - first_seq + 1;
		journal_wrong(l, "%s; records %" PRIu64 " to %" PRIu64 " are lost", sentence,
			first_seq, last_seq);
	}
}

static int on_entry(
	void *ctx, const struct journal_entry *entry, struct buf *payload, struct error *e)
{
	struct reader in = {.at = entry->payload};
	struct journal_look *l = ctx;
	struct batch *b;

	if (entry->type == JOURNAL_BATCH) {
		if (batch_from_bytes(&b, payload, NULL) < 0) {
			on_damage(l, entry->first_seq, entry->first_seq + entry->n_records - 1,
				"journal: a record holds no batch");
			return 0;
		}
		l->records += batch_count(b);
		if (batch_count(b) != entry->n_records)
			journal_wrong(l,
				"journal: the batch of record %" PRIu64
				" has another number of records than its header tells",
				entry->first_seq);
		batch_unref(b);
		return 0;
	}
	while (in.at.n > 0 && !in.bad) {
		char tag = reader_bytes(&in, 1).p[0];

		if (tag == 'P')
			positions_decode(l->positions, &in);
		else if (tag == 'L')
			ledger_decode(l->ledger, &in, entry->type == JOURNAL_LEDGER);
		else
			in.bad = true;
	}
	if (in.bad)
		journal_wrong(l, "journal: a record of positions or counts is not readable");
	return 0;
}

static int look_at_journal(struct journal_look *l, const char *dir, struct error *e)
{
	struct journal_visitor visitor = {.entry = on_entry, .damage = on_damage, .ctx = l};
	struct journal_options o = {.fs = l->v->fs, .dir = dir, .read_only = true};
	struct account account;
	struct journal_recovery found;
	struct journal *j = NULL;
	int r;

	account_init(&account, "tools", UINT64_MAX, NULL);
	l->positions = positions_new(&account, 16);
	l->ledger = ledger_new();
	if ((r = journal_open(&j, &o, e)) == 0)
		r = journal_recover(j, &visitor, &found, e);
	journal_close(j);
	positions_free(l->positions);
	ledger_free(l->ledger);
	return r;
}

static int check_journal(struct verify *v, struct error *e)
{
	struct journal_look l = {.v = v};
	struct buf dir = {0}, names = {0}, path = {0};
	const char *name;
	size_t n = 0;
	int r = 0;

	tools_path(&dir, v->dir, "journal");
	if ((r = tools_list(v->fs, dir.p, &names, &n, e)) < 0 || n == 0)
		goto out;
	for (int try = 0; try < TRIES; try++) {
		buf_fini(&l.told);
		l = (struct journal_look){.v = v};
		if ((r = look_at_journal(&l, dir.p, e)) < 0)
			goto out;
		if (l.n_told == 0)
			break;
	}
	name = names.p;
	for (size_t i = 0; i < n; i++, name += strlen(name) + 1)
		count_file(v, tools_path(&path, dir.p, name));
	v->out->lost_records += l.lost;
	v->out->damaged_blocks += l.n_told;
	if (l.n_told > 0)
		file_damaged(v);
	name = l.told.p;
	for (uint64_t i = 0; i < l.n_told; i++, name += strlen(name) + 1)
		tools_say(&v->t, "%s: %s; the next start steps over it", v->dir, name);
out:
	buf_fini(&l.told);
	buf_fini(&dir);
	buf_fini(&names);
	buf_fini(&path);
	return r;
}

static void check_deletions(struct verify *v)
{
	static const char *const names[] = {"DELETIONS", "DELETIONS.2"};
	struct buf path = {0}, bytes = {0};
	bool there[2] = {false}, good[2] = {false};
	struct error e[2];

	for (int i = 0; i < 2; i++) {
		struct deletions ds = {0};
		int r;

		buf_clear(&bytes);
		tools_path(&path, v->dir, names[i]);
		r = fs_read_all(v->fs, path.p, DELETIONS_BYTES_MAX, &bytes, &e[i]);
		there[i] = r != ERR_NOT_FOUND;
		if (r == 0)
			r = deletions_decode(&ds, buf_view(&bytes), &e[i]);
		good[i] = r == 0;
		deletions_fini(&ds);
		count_file(v, path.p);
	}
	for (int i = 0; i < 2; i++) {
		if (!there[i] || good[i])
			continue;
		file_damaged(v);
		tools_say(&v->t, "%s/%s: %s; %s; %s", v->dir, names[i], e[i].text,
			good[1 - i] ? "its copy is whole"
				    : "its copy is not there or damaged too: deletions that were "
				      "asked for and not carried out are lost",
			repair);
	}
	buf_fini(&path);
	buf_fini(&bytes);
}

/* A server does without them, and writes them anew. */
static void check_retention(struct verify *v)
{
	static const char *const names[] = {"RETENTION", "CLOCK"};
	struct retention rules = {0};
	struct steady steady;
	struct buf path = {0};

	for (int i = 0; i < 2; i++) {
		struct error e = {0};
		int r = i == 0 ? retention_load(v->fs, v->dir, &rules, &e)
			       : steady_load(v->fs, v->dir, 0, &steady, &e);

		count_file(v, tools_path(&path, v->dir, names[i]));
		if (r == 0 || r == ERR_NOT_FOUND)
			continue;
		file_damaged(v);
		tools_say(&v->t, "%s; the next start of the server writes it anew, or else %s",
			e.text, repair);
	}
	retention_fini(&rules);
	buf_fini(&path);
}

int store_verify(struct fs *fs, const char *dir, struct store_check *out,
	void (*tell)(void *ctx, const char *sentence), void *ctx, struct error *e)
{
	struct verify v = {.fs = fs, .dir = dir, .t = {tell, ctx}, .out = out};
	struct buf names = {0};
	size_t n;
	int r;

	*out = (struct store_check){0};
	if ((r = fs_list(fs, dir, &names, &n, e)) == 0) {
		check_manifest(&v);
		if ((r = check_parts(&v, e)) == 0 && (r = check_journal(&v, e)) == 0) {
			check_deletions(&v);
			check_retention(&v);
		}
	}
	manifest_fini(&v.manifest);
	buf_fini(&names);
	return r < 0 ? error_wrap(e, r, "store %s", dir) : 0;
}
