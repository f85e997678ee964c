/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the bytes of a store are.
 *
 * All of it is read out of footers, block headers and the directories of the
 * lines, so that a store of many GB is looked through in a moment.  A stream
 * has no bytes of its own in a block of several: it gets its share by rows.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/map.h"
#include "record/time.h"
#include "store/tools_core.h"

struct row {
	uint64_t stored, raw, records;
	char *name;
};

/* Sums by name. */
struct sums {
	struct map index; /* name -> its row */
	struct row *rows;
	size_t n, cap;
};

enum { N_KINDS = STATS_DAYS + 1 };

struct stats {
	struct fs *fs;
	const char *dir;
	struct sums sums[N_KINDS];
	/* Of the part at hand, by number of its template or stream. */
	struct row *templates, *streams;
	const struct part_footer *footer;
	const struct part_block *block;
};

static struct row *row_of(struct sums *s, struct str name)
{
	bool added;
	union map_value *v = map_put(&s->index, name, &added);

	if (added) {
		if (s->n == s->cap) {
			s->cap = s->cap ? s->cap * 2 : 32;
			s->rows = xrealloc(s->rows, s->cap * sizeof *s->rows);
		}
		v->u = s->n;
		s->rows[s->n++] = (struct row){.name = str_dup(name)};
	}
	return &s->rows[v->u];
}

static void add(struct stats *st, enum stats_of of, struct str name, uint64_t stored, uint64_t raw,
	uint64_t records)
{
	struct row *row = row_of(&st->sums[of], name);

	row->stored += stored;
	row->raw += raw;
	row->records += records;
}

/* Parts */

static const char *column_name(int column)
{
	static const char *const names[N_COLUMNS] = {[COLUMN_TIME] = "times",
		[COLUMN_SEQ] = "sequences",
		[COLUMN_STREAM] = "streams of rows",
		[COLUMN_SEVERITY] = "severities",
		[COLUMN_FLAGS] = "flags",
		[COLUMN_META] = "metadata",
		[COLUMN_SOURCE] = "sources and positions"};

	return names[column];
}

static const char *slot_name(uint8_t kind)
{
	switch (kind) {
	case SLOT_NUMBER: return "lines: numbers";
	case SLOT_LONG: return "lines: long numbers";
	case SLOT_HEX:
	case SLOT_HEX_UPPER: return "lines: hexadecimal";
	case SLOT_UUID:
	case SLOT_UUID_UPPER: return "lines: UUIDs";
	default: return "lines: words with digits";
	}
}

static void on_account(void *ctx, enum lines_part part, uint32_t template, uint32_t slot,
	uint64_t stored, uint64_t raw)
{
	static const char *const names[] = {[LINES_DIRECTORY] = "lines: directories",
		[LINES_TEMPLATE_IDS] = "lines: templates of rows",
		[LINES_COLUMN] = "",
		[LINES_POOL] = "lines: pools of ids",
		[LINES_PLAIN] = "lines: without template"};
	struct stats *st = ctx;
	const char *name = names[part];

	if (part == LINES_COLUMN) {
		uint32_t id = st->block->templates[template];

		name = slot_name(st->footer->templates[id].slots[slot].kind);
		st->templates[id].stored += stored;
	}
	add(st, STATS_COLUMNS, str_c(name), stored, raw, 0);
}

static void add_counts(struct stats *st, const struct part_block *b)
{
	struct block_counts counts = {0};

	if (b->n_counts == 0)
		return;
	block_counts_get(&counts, b);
	for (uint32_t i = 0; i < b->n_counts; i++) {
		const struct block_count *c = &counts.counts[i];
		struct row *t;

		st->streams[b->streams[c->stream]].raw += c->bytes;
		if (c->template == TEMPLATE_NONE)
			continue;
		t = &st->templates[b->templates[c->template - 1]];
		t->records += c->rows;
		t->raw += c->bytes;
	}
	block_counts_fini(&counts);
}

static int add_block(struct stats *st, struct block_reader *br, struct part *p,
	const struct part_block *b, struct error *e)
{
	int r;

	st->block = b;
	if ((r = block_open(br, p, st->footer, b, e)) < 0)
		return r;
	for (int i = 0; i < N_COLUMNS; i++)
		add(st, STATS_COLUMNS, str_c(column_name(i)), br->places[i].stored, 0, b->n_rows);
	add(st, STATS_COLUMNS, STR("block headers"), BLOCK_HEADER_BYTES, 0, 0);
	add_counts(st, b);
	return lines_account(block_lines(br), on_account, st, e);
}

static void add_names(struct stats *st, uint64_t file_bytes)
{
	const struct part_footer *f = st->footer;
	uint64_t rows = f->summary.n_rows ? f->summary.n_rows : 1;
	struct buf text = {0};

	for (size_t i = 0; i < f->n_templates; i++) {
		const struct row *t = &st->templates[i];

		buf_clear(&text);
		template_print(&f->templates[i], &text);
		add(st, STATS_TEMPLATES, buf_view(&text), t->stored, t->raw, t->records);
	}
	for (size_t i = 0; i < f->n_streams; i++) {
		const struct part_stream *s = &f->streams[i];
		uint64_t share = (uint64_t)((double)file_bytes * (double)s->n_rows / (double)rows);

		buf_clear(&text);
		labels_text(&text, s->labels);
		add(st, STATS_STREAMS, buf_view(&text), share, st->streams[i].raw, s->n_rows);
	}
	buf_clear(&text);
	time_format(&text, f->summary.day * NS_PER_DAY);
	text.n = text.n > 10 ? 10 : text.n;
	add(st, STATS_DAYS, buf_view(&text), file_bytes, f->summary.raw_bytes, f->summary.n_rows);
	buf_fini(&text);
}

/* What cannot be read is not counted; verify tells of it. */
static void add_part(struct stats *st, struct part *p, struct block_reader *br)
{
	uint64_t blocks = 0;
	struct file_stat file;
	struct error e;

	if (fs_stat(p->fs, p->path, &file, NULL) < 0 || part_load(p, &st->footer, &e) < 0)
		return;
	st->templates = xcalloc(st->footer->n_templates + 1, sizeof *st->templates);
	st->streams = xcalloc(st->footer->n_streams + 1, sizeof *st->streams);
	for (size_t i = 0; i < st->footer->n_blocks; i++) {
		add_block(st, br, p, &st->footer->blocks[i], &e);
		blocks += st->footer->blocks[i].size;
	}
	add(st, STATS_COLUMNS, STR("footers"), file.size > blocks ? file.size - blocks : 0, 0, 0);
	add_names(st, file.size);
	add(st, STATS_FILES, STR("parts"), file.size, st->footer->summary.raw_bytes,
		st->footer->summary.n_rows);
	free(st->templates);
	free(st->streams);
	part_release(p);
}

static int add_parts(struct stats *st, struct error *e)
{
	struct tools_parts parts;
	struct block_reader br;
	int r = tools_parts_open(&parts, st->fs, st->dir, e);

	block_reader_init(&br, NULL);
	for (size_t i = 0; r == 0 && i < parts.n; i++)
		add_part(st, parts.parts[i], &br);
	block_reader_fini(&br);
	tools_parts_close(&parts);
	return r;
}

/* Other files */

static void add_file(struct stats *st, const char *path, const char *what)
{
	struct file_stat file;

	if (fs_stat(st->fs, path, &file, NULL) == 0 && file.kind == FILE_REGULAR)
		add(st, STATS_FILES, str_c(what), file.size, 0, 0);
}

static int add_folder(struct stats *st, const char *folder, struct error *e)
{
	struct buf dir = {0}, names = {0}, path = {0};
	const char *name;
	size_t n = 0;
	int r;

	if (folder[0])
		tools_path(&dir, st->dir, folder);
	else
		buf_c(&dir, st->dir);
	if ((r = tools_list(st->fs, buf_cstr(&dir), &names, &n, e)) == 0) {
		name = names.p;
		for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
			struct part_summary s;
			const char *what = "other files";

			if (part_name_parse(str_c(name), &s) && strcmp(folder, "parts") == 0)
				continue; /* counted with what is in it */
			if (strcmp(folder, "journal") == 0)
				what = "journal";
			else if (str_ends(str_c(name), STR(".damaged")))
				what = "put aside by repair";
			else if (strcmp(name, "MANIFEST") == 0)
				what = "manifest";
			else if (str_starts(str_c(name), STR("DELETIONS")))
				what = "deletions";
			else if (strcmp(name, "RETENTION") == 0)
				what = "rules of retention";
			else if (strcmp(name, "CLOCK") == 0)
				what = "time of retention";
			add_file(st, tools_path(&path, buf_cstr(&dir), name), what);
		}
	}
	buf_fini(&dir);
	buf_fini(&names);
	buf_fini(&path);
	return r;
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->stored != y->stored)
		return x->stored > y->stored ? -1 : 1;
	if (x->records != y->records)
		return x->records > y->records ? -1 : 1;
	return strcmp(x->name, y->name);
}

static void tell_rows(struct sums *s, enum stats_of of, size_t max,
	void (*each)(void *ctx, const struct stats_row *row), void *ctx)
{
	if (s->n > 1)
		qsort(s->rows, s->n, sizeof *s->rows, compare_rows);
	for (size_t i = 0; i < s->n && i < max; i++) {
		struct stats_row row = {.of = of,
			.name = str_c(s->rows[i].name),
			.stored = s->rows[i].stored,
			.raw = s->rows[i].raw,
			.records = s->rows[i].records};

		each(ctx, &row);
	}
}

int store_stats(struct fs *fs, const char *dir, size_t max,
	void (*each)(void *ctx, const struct stats_row *row), void *ctx, struct error *e)
{
	struct stats st = {.fs = fs, .dir = dir};
	struct buf names = {0};
	size_t n;
	int r;

	if ((r = fs_list(fs, dir, &names, &n, e)) == 0 && (r = add_parts(&st, e)) == 0 &&
		(r = add_folder(&st, "parts", e)) == 0 &&
		(r = add_folder(&st, "journal", e)) == 0 && (r = add_folder(&st, "", e)) == 0)
		for (int of = 0; of < N_KINDS; of++)
			tell_rows(&st.sums[of], (enum stats_of)of, max, each, ctx);
	for (int of = 0; of < N_KINDS; of++) {
		for (size_t i = 0; i < st.sums[of].n; i++)
			free(st.sums[of].rows[i].name);
		free(st.sums[of].rows);
		map_fini(&st.sums[of].index);
	}
	buf_fini(&names);
	return r < 0 ? error_wrap(e, r, "store %s", dir) : 0;
}
