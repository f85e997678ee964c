/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merging parts.
 *
 * Streams, sources and templates of all parts get numbers in the new one.  Then
 * the blocks are cut into pieces: a block that is copied is one, else the rows
 * of each of its streams are.  Copied blocks come first, then pieces in the order
 * of the new part's streams, and within a stream in the order of the parts.  As
 * blocks of a part are in the order of its streams too, one block of each part is
 * open at a time, and opened once; where that order does not hold blocks are
 * opened again, which is slow but right.
 *
 * Where streams are small the pieces that will fill a block are a group.  Of a
 * group the rows are taken by part, and of each part in the order of time, as
 * block_is_mixed says why.
 *
 * A copied block keeps all its bytes: what it calls its streams, sources and
 * templates is local, and only the footer says which these are.  Of other rows
 * the columns of the lines are carried over without spelling any, and the fixed
 * columns are decoded and made anew.  Lines are spelled only where a selector
 * must see them to know whether they are hidden.
 *
 * What cannot be read now but might be later (ERR_IO) ends the merge: nothing
 * is given up for a cable that is loose.
 *
 * A decoded block takes about four times its lines.  So a merge asks for what it
 * will need before it begins, and keeps as many blocks open as a quarter of the
 * ceiling allows; with fewer than there are parts it opens some again.  What it
 * then holds is counted apart, against what it was given.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/parts/block_write.h"
#include "store/parts/fixed.h"
#include "store/unit.h"

enum {
	SPELL_ROWS = 4096, /* lines that are spelled at a time */
	/* Memory, as measured: of the block that is written, in block_raw; of one that is read, by
	 * its lines and rows. */
	WRITER_TIMES = 5,
	READER_TIMES = 3,
	READER_ROW = 128,
};

struct input {
	struct part *part;
	const struct part_footer *footer; /* NULL: not loaded */
	uint32_t *streams, *sources;      /* its number -> the new part's */
	uint32_t *templates;              /* the same; UINT32_MAX: not asked for yet */
	bool *given_up;                   /* by block */
	struct block_reader reader;
	struct unit unit;
	const struct part_block *open; /* decoded */
	bool busy;                     /* the reader holds memory; since when it was not used: */
	uint64_t used;
	/* The rows of the open block by local stream, and where each stream's begin there. */
	uint32_t *order, *starts;
	uint64_t charged; /* for these */
};

/* Rows of a stream in a block, or a block that is copied. */
struct piece {
	uint32_t stream; /* the new part's; the first one of a copied block */
	uint32_t input, block;
	uint32_t local; /* stream of the block; COPIED */
};

#define COPIED UINT32_MAX

struct merge {
	const struct part_writer *w;
	const struct part_merge *m;
	struct input *inputs;
	struct piece *pieces;
	size_t n_pieces;
	struct footer_builder footer;
	struct block_writer block;
	struct part_file file;
	struct buf bytes, hidden; /* of a copied block; struct hidden */
	struct buf rows;          /* uint32_t: of the open block, that are carried over */
	size_t max_open, n_open;  /* readers that hold memory */
	uint64_t clock;           /* of their use */
	struct account account;   /* what all of it holds, charged to the writer's as `given` */
	uint64_t given;
};

/* Memory */

/* What is held beyond what was asked for is charged without asking: estimates are not limits. */
static void settle(struct merge *g)
{
	uint64_t held = account_held(&g->account);

	if (held <= g->given)
		return;
	account_force(g->w->account, held - g->given);
	g->given = held;
}

static uint64_t reader_need(const struct part_block *b)
{
	return READER_TIMES * b->raw_bytes + READER_ROW * (uint64_t)b->n_rows + b->size;
}

/* Ask for what the pieces will take. */
static int reserve(struct merge *g, struct error *e)
{
	struct account *a = g->w->account;
	uint64_t copied = 0, read = 0, need, limit = a ? a->limit : UINT64_MAX;

	for (size_t i = 0; i < g->n_pieces; i++) {
		const struct piece *p = &g->pieces[i];
		const struct part_block *b = &g->inputs[p->input].footer->blocks[p->block];

		if (p->local == COPIED)
			copied = b->size > copied ? b->size : copied;
		else
			read = reader_need(b) > read ? reader_need(b) : read;
	}
	need = account_held(&g->account) + copied + (read > 0 ? WRITER_TIMES * g->w->block_raw : 0);
	g->max_open = 1;
	need += read;
	while (read > 0 && g->max_open < g->m->n && need + read <= limit / 4) {
		g->max_open++;
		need += read;
	}
	if (need > limit / 3)
		return error_set(e, ERR_LIMIT,
			"needs %" PRIu64 " bytes of memory, more than a third of the limit of "
			"%" PRIu64,
			need, limit);
	if (a && (need > account_room(a) / 2 || account_charge(a, need) < 0))
		return error_set(e, ERR_BUSY,
			"needs %" PRIu64 " bytes of memory, which others hold now", need);
	g->given = need;
	return 0;
}

static void charge(struct merge *g, uint64_t n)
{
	account_force(&g->account, n);
}

static void forget_order(struct merge *g, struct input *in)
{
	free(in->order);
	free(in->starts);
	in->order = in->starts = NULL;
	account_release(&g->account, in->charged);
	in->charged = 0;
}

/* Its memory goes; the block may be opened again. */
static void close_reader(struct merge *g, struct input *in)
{
	if (!in->busy)
		return;
	block_reader_fini(&in->reader);
	unit_fini(&in->unit);
	forget_order(g, in);
	in->unit = (struct unit){.account = &g->account};
	block_reader_init(&in->reader, &g->account);
	in->busy = false;
	in->open = NULL;
	g->n_open--;
}

/* The reader of this input is about to be used. */
static void take_reader(struct merge *g, struct input *in)
{
	in->used = ++g->clock;
	if (in->busy)
		return;
	while (g->n_open >= g->max_open) {
		struct input *oldest = NULL;

		for (size_t i = 0; i < g->m->n; i++)
			if (g->inputs[i].busy && (!oldest || g->inputs[i].used < oldest->used))
				oldest = &g->inputs[i];
		close_reader(g, oldest);
	}
	in->busy = true;
	g->n_open++;
}

/* Tables */

/* A stream or source of an input, on its way to a number. */
struct name {
	struct str tenant, text;
	uint32_t input, index;
};

static int compare_names(const void *x, const void *y)
{
	const struct name *a = x, *b = y;
	int c = str_cmp(a->tenant, b->tenant);

	if (c == 0)
		c = str_cmp(a->text, b->text);
	return c != 0 ? c : (a->input > b->input) - (a->input < b->input);
}

static bool same_name(const struct name *a, const struct name *b)
{
	return str_eq(a->tenant, b->tenant) && str_eq(a->text, b->text);
}

static struct name *list_streams(const struct merge *g, size_t *n)
{
	struct name *names;
	size_t total = 0;

	for (size_t i = 0; i < g->m->n; i++)
		total += g->inputs[i].footer->n_streams;
	names = xmalloc(total * sizeof *names);
	*n = 0;
	for (size_t i = 0; i < g->m->n; i++) {
		const struct part_footer *f = g->inputs[i].footer;

		for (size_t k = 0; k < f->n_streams; k++)
			names[(*n)++] = (struct name){f->tenants[f->streams[k].tenant],
				f->streams[k].labels, (uint32_t)i, (uint32_t)k};
	}
	return names;
}

static struct name *list_sources(const struct merge *g, size_t *n)
{
	struct name *names;
	size_t total = 0;

	for (size_t i = 0; i < g->m->n; i++)
		total += g->inputs[i].footer->n_sources;
	names = xmalloc(total * sizeof *names);
	*n = 0;
	for (size_t i = 0; i < g->m->n; i++) {
		const struct part_footer *f = g->inputs[i].footer;

		for (size_t k = 0; k < f->n_sources; k++)
			names[(*n)++] = (struct name){f->tenants[f->sources[k].tenant],
				f->sources[k].id, (uint32_t)i, (uint32_t)k};
	}
	return names;
}

static void merge_streams(struct merge *g)
{
	uint32_t number = 0;
	struct name *names;
	size_t n;

	names = list_streams(g, &n);
	qsort(names, n, sizeof *names, compare_names);
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || !same_name(&names[i - 1], &names[i]))
			number = footer_add_stream(&g->footer,
				footer_add_tenant(&g->footer, names[i].tenant), names[i].text);
		g->inputs[names[i].input].streams[names[i].index] = number;
	}
	free(names);
}

/* Tenants are there, sorted; those of sources have streams, or had. */
static void merge_sources(struct merge *g)
{
	uint32_t number = 0, tenant = 0;
	struct name *names;
	size_t n;

	names = list_sources(g, &n);
	qsort(names, n, sizeof *names, compare_names);
	for (size_t i = 0; i < n; i++) {
		while (tenant + 1 < g->footer.n_tenants &&
			str_cmp(g->footer.tenants[tenant], names[i].tenant) < 0)
			tenant++;
		if (i == 0 || !same_name(&names[i - 1], &names[i]))
			number = footer_add_source(&g->footer, tenant, names[i].text);
		g->inputs[names[i].input].sources[names[i].index] = number;
	}
	free(names);
}

static uint32_t *number_array(struct merge *g, size_t n)
{
	charge(g, n * sizeof(uint32_t));
	return xmalloc((n + 1) * sizeof(uint32_t));
}

static int load_inputs(struct merge *g, struct error *e)
{
	int r;

	for (size_t i = 0; i < g->m->n; i++) {
		struct input *in = &g->inputs[i];
		const struct part_footer *f;

		in->part = g->m->parts[i];
		if ((r = part_load(in->part, &in->footer, e)) < 0)
			return r;
		f = in->footer;
		in->streams = number_array(g, f->n_streams);
		in->sources = number_array(g, f->n_sources);
		in->templates = number_array(g, f->n_templates);
		memset(in->templates, 0xff, f->n_templates * sizeof *in->templates);
		in->given_up = xcalloc(f->n_blocks + 1, 1);
		block_reader_init(&in->reader, &g->account);
		in->unit.account = &g->account;
	}
	return 0;
}

/* Pieces */

/* g->hidden becomes what is hidden of a stream in a block; returns how many. */
static size_t hidden_of(
	struct merge *g, const struct input *in, const struct part_block *b, uint32_t local)
{
	const struct part_stream *s = &in->footer->streams[b->streams[local]];

	buf_clear(&g->hidden);
	if (!visibility_clear(g->m->visibility))
		visibility_of(g->m->visibility, in->footer->tenants[s->tenant], s->labels,
			b->min_ns > s->min_ns ? b->min_ns : s->min_ns,
			b->max_ns < s->max_ns ? b->max_ns : s->max_ns, b->min_seq, &g->hidden);
	return g->hidden.n / sizeof(struct hidden);
}

static bool is_copied(struct merge *g, const struct input *in, const struct part_block *b)
{
	size_t block_raw = g->w->block_raw;
	/* Rows that are many or packed badly make a block large as well. */
	bool large = b->raw_bytes >= block_raw / 2 || b->size >= block_raw / 8 ||
		     b->n_rows >= BLOCK_ROWS_MAX / 2;

	if (!large || (g->m->regroup && b->n_streams > 1))
		return false;
	for (uint32_t i = 0; i < b->n_streams; i++)
		if (hidden_of(g, in, b, i) > 0)
			return false;
	return true;
}

static int compare_pieces(const void *x, const void *y)
{
	const struct piece *a = x, *b = y;

	if ((a->local == COPIED) != (b->local == COPIED))
		return a->local == COPIED ? -1 : 1;
	if (a->stream != b->stream)
		return a->stream < b->stream ? -1 : 1;
	if (a->input != b->input)
		return a->input < b->input ? -1 : 1;
	return (a->block > b->block) - (a->block < b->block);
}

static void add_piece(struct merge *g, size_t *cap, struct piece piece)
{
	if (g->n_pieces == *cap) {
		size_t more = *cap > 0 ? *cap : 64;

		charge(g, more * sizeof *g->pieces);
		*cap += more;
		g->pieces = xrealloc(g->pieces, *cap * sizeof *g->pieces);
	}
	g->pieces[g->n_pieces++] = piece;
}

static void cut_pieces(struct merge *g)
{
	size_t cap = 0;

	for (uint32_t i = 0; i < g->m->n; i++) {
		const struct input *in = &g->inputs[i];

		for (uint32_t k = 0; k < in->footer->n_blocks; k++) {
			const struct part_block *b = &in->footer->blocks[k];
			bool copied = is_copied(g, in, b);

			for (uint32_t s = 0; s < (copied ? 1 : b->n_streams); s++)
				add_piece(g, &cap,
					(struct piece){in->streams[b->streams[s]], i, k,
						copied ? COPIED : s});
		}
	}
	qsort(g->pieces, g->n_pieces, sizeof *g->pieces, compare_pieces);
}

/* Damage */

static void give_up(struct merge *g, const struct piece *p, const struct error *why)
{
	struct input *in = &g->inputs[p->input];
	const struct part_block *b = &in->footer->blocks[p->block];
	char sentence[sizeof why->text + 256];

	in->given_up[p->block] = true;
	in->open = NULL;
	if (!g->m->warn)
		return;
	snprintf(sentence, sizeof sentence,
		"part %s, block %" PRIu32 ": %s; what is left of its %" PRIu32
		" records is left out for good",
		in->part->path, p->block, why->text, b->n_rows);
	g->m->warn(g->m->ctx, sentence);
}

/* 0 go on without the block; else the merge ends. */
static int judge(
	struct merge *g, const struct piece *p, int r, const struct error *why, struct error *e)
{
	if (r != ERR_CORRUPT)
		return error_wrap(e, error_set(e, r, "%s", why->text), "part %s, block %" PRIu32,
			g->inputs[p->input].part->path, p->block);
	give_up(g, p, why);
	return 0;
}

/* Copying */

static uint32_t new_template(struct merge *g, struct input *in, uint32_t old)
{
	if (in->templates[old] == UINT32_MAX)
		in->templates[old] =
			footer_add_template(&g->footer, in->footer->templates[old].key);
	return in->templates[old];
}

static uint32_t *renumber(const uint32_t *ids, uint32_t n, const uint32_t *numbers)
{
	uint32_t *out = xmalloc(n * sizeof *out);

	for (uint32_t i = 0; i < n; i++)
		out[i] = numbers[ids[i]];
	return out;
}

/* The rows of a copied block, and the span in which they lie as far as its part knows. */
static void count_streams(
	struct merge *g, const struct input *in, const struct part_block *b, const uint32_t *local)
{
	for (uint32_t i = 0; i < b->n_rows; i++)
		g->footer.streams[in->streams[b->streams[local[i]]]].n_rows++;
	for (uint32_t i = 0; i < b->n_streams; i++) {
		uint32_t old = b->streams[i];
		const struct part_stream *from = &in->footer->streams[old];
		struct part_stream *s = &g->footer.streams[in->streams[old]];
		int64_t min = from->min_ns > b->min_ns ? from->min_ns : b->min_ns;
		int64_t max = from->max_ns < b->max_ns ? from->max_ns : b->max_ns;

		s->min_ns = min < s->min_ns ? min : s->min_ns;
		s->max_ns = max > s->max_ns ? max : s->max_ns;
	}
}

static void tell_footer(struct merge *g, struct input *in, const struct part_block *b)
{
	struct part_block copy = *b;
	uint32_t *streams = renumber(b->streams, b->n_streams, in->streams);
	uint32_t *sources = renumber(b->sources, b->n_sources, in->sources);
	uint32_t *templates = xmalloc(b->n_templates * sizeof *templates);

	for (uint32_t i = 0; i < b->n_templates; i++)
		templates[i] = new_template(g, in, b->templates[i]);
	copy.offset = g->file.at;
	copy.streams = streams;
	copy.sources = sources;
	copy.templates = templates;
	footer_add_block(&g->footer, &copy);
	free(streams);
	free(sources);
	free(templates);
}

static int copy_block(struct merge *g, const struct piece *p, struct error *e)
{
	struct input *in = &g->inputs[p->input];
	const struct part_block *b = &in->footer->blocks[p->block];
	const uint32_t *local;
	struct error why;
	int r;

	take_reader(g, in);
	in->open = NULL;
	buf_clear(&g->bytes);
	if ((r = block_open(&in->reader, in->part, in->footer, b, &why)) < 0 ||
		(r = block_streams(&in->reader, &local, &why)) < 0 ||
		(r = block_bytes(&in->reader, &g->bytes, &why)) < 0)
		return judge(g, p, r, &why, e);
	count_streams(g, in, b, local);
	tell_footer(g, in, b);
	return part_file_put(&g->file, buf_view(&g->bytes), e);
}

/* Carrying rows over */

enum {
	ALL_COLUMNS = UNIT_TIME | UNIT_SEQ | UNIT_SEVERITY | UNIT_FLAGS | UNIT_META | UNIT_SOURCE,
};

static void order_rows(struct merge *g, struct input *in, const uint32_t *local)
{
	const struct part_block *b = in->open;

	forget_order(g, in);
	in->charged = ((uint64_t)b->n_rows + b->n_streams + 1) * sizeof(uint32_t);
	account_force(&g->account, in->charged);
	in->order = xmalloc(b->n_rows * sizeof *in->order);
	in->starts = xcalloc((size_t)b->n_streams + 1, sizeof *in->starts);
	for (uint32_t i = 0; i < b->n_rows; i++)
		in->starts[local[i]]++;
	for (uint32_t s = 0, end = 0; s <= b->n_streams; s++)
		end = in->starts[s] += end;
	for (uint32_t i = b->n_rows; i-- > 0;)
		in->order[--in->starts[local[i]]] = i;
}

static int open_block(
	struct merge *g, struct input *in, const struct part_block *b, struct error *e)
{
	const uint32_t *lengths, *local;
	int r;

	if (in->open == b)
		return 0;
	in->open = NULL;
	if ((r = unit_need(&in->unit, b->n_rows, ALL_COLUMNS | UNIT_BODY | UNIT_PICK, e)) < 0 ||
		(r = block_open(&in->reader, in->part, in->footer, b, e)) < 0 ||
		(r = block_columns(&in->reader, ALL_COLUMNS, &in->unit, e)) < 0 ||
		(r = block_lengths(&in->reader, &lengths, e)) < 0 ||
		(r = block_streams(&in->reader, &local, e)) < 0)
		return r;
	in->open = b;
	order_rows(g, in, local);
	return 0;
}

static int compare_times(const void *x, const void *y, void *ctx)
{
	const uint32_t *a = x, *b = y;
	const int64_t *t = ctx;

	if (t[*a] != t[*b])
		return t[*a] < t[*b] ? -1 : 1;
	return *a < *b ? -1 : 1;
}

/* g->rows becomes the rows of streams first .. last of the open block: of one stream as they stand,
 * of several by time. */
static void find_rows(struct merge *g, struct input *in, uint32_t first, uint32_t last)
{
	const int64_t *t = in->unit.timestamp;
	uint32_t from = in->starts[first], n = in->starts[last + 1] - from;
	const uint32_t *local;
	bool sorted = true;
	uint32_t *rows;

	buf_clear(&g->rows);
	rows = (uint32_t *)buf_reserve(&g->rows, n * sizeof *rows);
	g->rows.n = n * sizeof *rows;
	if (first == last) {
		memcpy(rows, in->order + from, n * sizeof *rows);
		return;
	}
	block_streams(&in->reader, &local, NULL);
	n = 0;
	for (uint32_t i = 0; i < in->open->n_rows; i++) {
		if (local[i] < first || local[i] > last)
			continue;
		sorted = sorted && (n == 0 || t[rows[n - 1]] <= t[i]);
		rows[n++] = i;
	}
	if (!sorted)
		qsort_r(rows, n, sizeof *rows, compare_times, (void *)t);
}

static void add_row(struct merge *g, struct input *in, uint32_t stream, uint32_t i, uint32_t length)
{
	const struct unit *u = &in->unit;
	struct block_row row = {
		.timestamp = u->timestamp[i],
		.seq = u->seq[i],
		.position = u->position[i],
		.meta = u->meta[i],
		.length = length,
		.severity = u->severity[i],
		.flags = u->flags[i],
	};

	if (u->source[i] > 0)
		row.source = 1 + in->sources[u->source[i] - 1];
	block_writer_add(&g->block, stream, &row);
}

/* Rows from .. to of g->rows go into the block at hand, with as many blocks as it takes. `grouped`:
 * they are of any stream. */
static int carry(struct merge *g, struct input *in, bool grouped, uint32_t from, uint32_t to,
	struct error *why, bool *ours, struct error *e)
{
	const uint32_t *rows = (const uint32_t *)g->rows.p, *lengths, *local;
	const struct unit *u = &in->unit;
	size_t block_raw = g->w->block_raw;
	int r;

	block_lengths(&in->reader, &lengths, NULL);
	block_streams(&in->reader, &local, NULL);
	while (from < to) {
		struct block_fill held = block_writer_held(&g->block);
		uint64_t bytes = lengths[rows[from]] + u->meta[rows[from]].n;
		uint32_t stream = in->streams[in->open->streams[local[rows[from]]]], n = 0;

		*ours = true;
		if (grouped ? block_over(&held, block_raw, bytes)
			    : block_full(&held, block_raw, stream, bytes)) {
			if ((r = block_writer_finish(&g->block, &g->file, &g->footer, e)) < 0)
				return r;
			held = (struct block_fill){0};
		}
		*ours = false;
		for (; from + n < to; n++) {
			bytes = lengths[rows[from + n]] + u->meta[rows[from + n]].n;
			if (block_over(&held, block_raw, bytes))
				break;
			held.bytes += bytes;
			held.rows++;
		}
		if ((r = lines_writer_append_rows(
			     g->block.lines, block_lines(&in->reader), rows + from, n, why)) < 0)
			return r;
		for (; n > 0; n--, from++)
			add_row(g, in, in->streams[in->open->streams[local[rows[from]]]],
				rows[from], lengths[rows[from]]);
	}
	return 0;
}

/* Leave hidden rows out: *to is the end of the run of g->rows, from *from on, that are seen. */
static int next_seen(struct merge *g, struct input *in, uint32_t *from, uint32_t *to, uint32_t end,
	uint32_t *spelled, struct error *e)
{
	const struct hidden *h = (const struct hidden *)g->hidden.p;
	size_t n_hidden = g->hidden.n / sizeof *h;
	const uint32_t *rows = (const uint32_t *)g->rows.p;
	bool lines = hidden_needs_lines(h, n_hidden);
	struct unit *u = &in->unit;
	bool seen = false;
	int r;

	for (*to = *from; *to < end; ++*to) {
		bool hidden;

		if (lines && *to >= *spelled) {
			uint32_t n = 0;

			/* A run ends with what was spelled: append comes before the next. */
			if (seen)
				return 0;
			while (n < SPELL_ROWS && *to + n < end) {
				u->pick[n] = rows[*to + n];
				n++;
			}
			if ((r = lines_get(block_lines(&in->reader), u->pick, n, u->body, e)) < 0)
				return r;
			*spelled = *to + n;
		}
		hidden = hidden_record(g->m->visibility, h, n_hidden, u->timestamp[rows[*to]],
			u->seq[rows[*to]], lines ? u->body[rows[*to]] : STR_NONE);
		if (seen && hidden)
			return 0;
		if (!seen && !hidden)
			*from = *to;
		seen = seen || !hidden;
	}
	if (!seen)
		*from = end;
	return 0;
}

static int carry_seen(struct merge *g, struct input *in, uint32_t end, struct error *why,
	bool *ours, struct error *e)
{
	uint32_t from = 0, spelled = 0;
	int r;

	while (from < end) {
		uint32_t to;

		*ours = false;
		if ((r = next_seen(g, in, &from, &to, end, &spelled, why)) < 0 ||
			(r = carry(g, in, false, from, to, why, ours, e)) < 0)
			return r;
		from = to;
	}
	return 0;
}

/* The rows of the piece, and those of the block's streams that follow up to local stream `last`. */
static int carry_piece(
	struct merge *g, const struct piece *p, uint32_t last, bool grouped, struct error *e)
{
	struct input *in = &g->inputs[p->input];
	const struct part_block *b = &in->footer->blocks[p->block];
	bool ours = false; /* an error is not the block's but of what is written, told in e */
	struct error why;
	uint32_t n;
	int r;

	if (in->given_up[p->block])
		return 0;
	take_reader(g, in);
	if ((r = open_block(g, in, b, &why)) == 0) {
		find_rows(g, in, p->local, last);
		n = (uint32_t)(g->rows.n / sizeof(uint32_t));
		r = last == p->local && hidden_of(g, in, b, p->local) > 0
			    ? carry_seen(g, in, n, &why, &ours, e)
			    : carry(g, in, grouped, 0, n, &why, &ours, e);
	}
	return r < 0 && !ours ? judge(g, p, r, &why, e) : r;
}

/* Groups */

/* What a piece holds, as far as the footer knows. */
static struct block_fill guess(const struct merge *g, const struct piece *p)
{
	const struct part_footer *f = g->inputs[p->input].footer;
	const struct part_block *b = &f->blocks[p->block];
	uint64_t rows = f->streams[b->streams[p->local]].n_rows;

	rows = rows < b->n_rows ? rows : b->n_rows;
	return (struct block_fill){
		rows * (b->raw_bytes / b->n_rows + 1), (uint32_t)rows, p->stream};
}

/* The end of the pieces that will fill a block, beginning with piece i, and what they hold.
 * *mixed: they are a group. */
static size_t find_group(const struct merge *g, size_t i, struct block_fill *held, bool *mixed)
{
	uint64_t n_streams = 0, rows = 0;
	size_t k = i;

	*held = (struct block_fill){0};
	while (k < g->n_pieces) {
		struct block_fill of = {0};
		size_t end = k;

		for (; end < g->n_pieces && g->pieces[end].stream == g->pieces[k].stream; end++) {
			struct block_fill piece = guess(g, &g->pieces[end]);

			of.bytes += piece.bytes;
			rows += piece.rows;
		}
		if (k > i && held->bytes + of.bytes > g->w->block_raw)
			break;
		held->bytes += of.bytes;
		n_streams++;
		k = end;
	}
	*mixed = !g->m->regroup && block_is_mixed(rows, n_streams);
	return k;
}

static int compare_grouped(const void *x, const void *y)
{
	const struct piece *a = x, *b = y;

	if (a->input != b->input)
		return a->input < b->input ? -1 : 1;
	if (a->block != b->block)
		return a->block < b->block ? -1 : 1;
	return (a->local > b->local) - (a->local < b->local);
}

/* The last of the pieces from i on that may be carried over together. */
static size_t last_together(struct merge *g, size_t i, size_t end)
{
	const struct piece *p = &g->pieces[i];
	const struct input *in = &g->inputs[p->input];
	const struct part_block *b = &in->footer->blocks[p->block];

	if (hidden_of(g, in, b, p->local) > 0)
		return i;
	for (; i + 1 < end; i++, p++)
		if (p[1].input != p->input || p[1].block != p->block ||
			p[1].local != p->local + 1 || hidden_of(g, in, b, p[1].local) > 0)
			break;
	return i;
}

static int write_group(struct merge *g, size_t i, size_t end, struct error *e)
{
	int r = 0;

	qsort(g->pieces + i, end - i, sizeof *g->pieces, compare_grouped);
	while (i < end && r == 0) {
		size_t last = last_together(g, i, end);

		r = carry_piece(g, &g->pieces[i], g->pieces[last].local, true, e);
		settle(g);
		i = last + 1;
	}
	return r;
}

/* All of it */

static bool is_cancelled(const struct merge *g)
{
	return g->m->cancel && atomic_load(g->m->cancel);
}

/* Pieces i .. end: of a group, or stream by stream. */
static int write_some(struct merge *g, size_t i, size_t end, const struct block_fill *size,
	bool mixed, struct error *e)
{
	struct block_fill held = block_writer_held(&g->block);
	int r = 0;

	if (mixed) {
		if (block_over(&held, g->w->block_raw, size->bytes))
			r = block_writer_finish(&g->block, &g->file, &g->footer, e);
		return r < 0 ? r : write_group(g, i, end, e);
	}
	for (; i < end && r == 0; i++) {
		r = carry_piece(g, &g->pieces[i], g->pieces[i].local, false, e);
		settle(g);
	}
	return r;
}

static int write_pieces(struct merge *g, struct error *e)
{
	struct block_fill size;
	size_t i = 0;
	bool mixed;
	int r = 0;

	for (size_t end; i < g->n_pieces && r == 0; i = end) {
		if (is_cancelled(g))
			return error_set(e, ERR_CANCELLED, "the merge was cancelled");
		if (g->pieces[i].local == COPIED) {
			end = i + 1;
			r = copy_block(g, &g->pieces[i], e);
			settle(g);
		} else {
			end = find_group(g, i, &size, &mixed);
			r = write_some(g, i, end, &size, mixed, e);
		}
	}
	if (r == 0 && block_writer_rows(&g->block) > 0)
		r = block_writer_finish(&g->block, &g->file, &g->footer, e);
	return r;
}

static void summarise(struct merge *g)
{
	struct part_summary *s = &g->footer.summary;
	const struct part_summary *first = &g->m->parts[0]->summary;

	*s = (struct part_summary){
		.first_seq = first->first_seq,
		.last_seq = g->m->parts[g->m->n - 1]->summary.last_seq,
		.revision = g->m->n == 1 ? first->revision + 1 : 0,
		.day = INT32_MIN,
		.cleaned = g->m->cleaned,
	};
	for (size_t i = 0; i < g->m->n; i++) {
		const struct part_summary *from = &g->m->parts[i]->summary;

		s->day = from->day > s->day ? from->day : s->day;
		s->level = from->level > s->level ? from->level : s->level;
	}
	/* Writing a part anew is no merge. */
	s->level += g->m->n > 1;
}

static void merge_fini(struct merge *g)
{
	for (size_t i = 0; i < g->m->n; i++) {
		struct input *in = &g->inputs[i];

		if (!in->footer)
			continue;
		block_reader_fini(&in->reader);
		unit_fini(&in->unit);
		forget_order(g, in);
		free(in->streams);
		free(in->sources);
		free(in->templates);
		free(in->given_up);
		part_release(in->part);
	}
	free(g->inputs);
	free(g->pieces);
	buf_fini(&g->bytes);
	buf_fini(&g->hidden);
	buf_fini(&g->rows);
	footer_builder_fini(&g->footer);
	block_writer_fini(&g->block);
	account_release(g->w->account, g->given);
}

int part_merge(const struct part_writer *w, const struct part_merge *m, struct part_summary *out,
	struct error *e)
{
	struct merge g = {.w = w, .m = m};
	int r;

	assert(m->n > 0);
	account_init(&g.account, "merge", UINT64_MAX, NULL);
	g.footer.account = &g.account;
	g.inputs = xcalloc(m->n, sizeof *g.inputs);
	block_writer_init(&g.block, &g.account, w->level);
	summarise(&g);
	if ((r = load_inputs(&g, e)) < 0)
		goto out;
	merge_streams(&g);
	merge_sources(&g);
	cut_pieces(&g);
	if ((r = reserve(&g, e)) < 0) {
		error_wrap(e, r, "merging %zu parts", m->n);
		goto out;
	}
	if ((r = part_file_create(&g.file, w, &g.footer.summary, e)) == 0 &&
		(r = write_pieces(&g, e)) == 0) {
		if (g.footer.summary.n_rows > 0)
			r = part_file_finish(&g.file, &g.footer, out, e);
		else
			*out = g.footer.summary;
	}
	if (r < 0)
		error_wrap(e, r, "part %s", buf_cstr(&g.file.name));
	part_file_close(&g.file);
out:
	merge_fini(&g);
	return r;
}
