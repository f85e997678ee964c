/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of a block, before they are encoded.
 *
 * A line is cut once, when it comes, and its numbers are parsed while it is in the
 * cache; its values wait until the block is complete.  Columns are then built one template after
 * the other (lines_encode.c), so that a few columns in the cache serve a block of any number of
 * templates, and a template of one row never has any.
 *
 * Rows of other blocks come as columns already.  Their values are appended to
 * columns of the template's group, which exist from then on; lines of the same
 * template that wait at that moment are put there first, so that values stay in
 * the order of the rows.  Where that does not fit (the table is full, too many
 * columns are open) the row is spelled and treated as a line.
 *
 * What is bounded: templates and bytes of the table, open columns, bytes of
 * lines with a template.  Whatever passes a bound becomes a plain line.
 */
#include "store/lines/lines_write.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "store/lines/column.h"
#include "store/lines/lines_read.h"

enum {
	TABLE_TEMPLATES_MAX = UINT16_MAX,
	TABLE_BYTES_MAX = 4 << 20, /* so many hold fewer slots than PAYLOAD_SLOTS_MAX */
	TEMPLATED_BYTES_MAX = 48 << 20,
	COLUMNS_MAX = 16 << 10,
	SPARE_MAX = 512, /* columns of a kind */
	SPARE_VALUES_MAX = 128 << 10,
	ROWS_MIN = 1024,
	/* Records of a stretch: their values should be in the nearest cache, all slots of them. */
	STRETCH_MAX = 128,
	CHARGE_EVERY = 1024, /* rows */
};

struct lines_writer *lines_writer_new(struct account *a, int level)
{
	struct lines_writer *w = xcalloc(1, sizeof *w);

	w->account = a;
	w->level = level;
	w->n_values = 1;
	w->table = template_table_new();
	template_table_limit(w->table, TABLE_TEMPLATES_MAX, TABLE_BYTES_MAX);
	arena_init(&w->text, NULL);
	return w;
}

static void column_free(struct column *c)
{
	column_fini(c);
	free(c);
}

void lines_writer_free(struct lines_writer *w)
{
	if (!w)
		return;
	for (uint32_t id = 1; id <= template_table_count(w->table); id++)
		group_drop_columns(w, id);
	for (int kind = 0; kind <= SLOT_TEXT; kind++) {
		for (size_t i = 0; i < w->spare[kind].n; i++)
			column_free(w->spare[kind].columns[i]);
		free(w->spare[kind].columns);
	}
	template_table_free(w->table);
	arena_fini(&w->text);
	free(w->rows);
	free(w->groups);
	free(w->values);
	free(w->keys);
	free(w->template_of);
	account_release(w->account, w->charged);
	free(w);
}

/* Columns. */

struct column *column_borrow(struct lines_writer *w, uint8_t kind, uint8_t width)
{
	struct spare *spare = &w->spare[kind];
	struct column *c;

	for (size_t i = spare->n; i-- > 0;) {
		c = spare->columns[i];
		if (c->width == width) {
			spare->columns[i] = spare->columns[--spare->n];
			return c;
		}
	}
	c = xcalloc(1, sizeof *c);
	c->kind = kind;
	c->width = width;
	return c;
}

/* Of one value in memory. */
static size_t value_bytes(const struct column *c)
{
	switch (c->kind) {
	case SLOT_NUMBER: return sizeof(uint64_t) + 1;
	case SLOT_LONG: return sizeof(uint64_t);
	case SLOT_TEXT: return sizeof(struct str);
	default: return column_bytes(c->kind, c->width);
	}
}

void column_return(struct lines_writer *w, struct column *c)
{
	struct spare *spare = &w->spare[c->kind];

	if (spare->n >= SPARE_MAX || c->cap > SPARE_VALUES_MAX || c->bytes.cap) {
		column_free(c);
		return;
	}
	column_clear(c);
	if (spare->n == spare->cap) {
		spare->cap = spare->cap ? spare->cap * 2 : 16;
		spare->columns = xrealloc(spare->columns, spare->cap * sizeof *spare->columns);
	}
	spare->columns[spare->n++] = c;
}

static void group_make_columns(struct lines_writer *w, uint32_t id)
{
	const struct template *t = template_table_get(w->table, id);
	struct group *g = &w->groups[id - 1];

	if (g->columns || !t->n_slots)
		return;
	g->columns = xcalloc(t->n_slots, sizeof *g->columns);
	for (uint32_t i = 0; i < t->n_slots; i++)
		g->columns[i] = column_borrow(w, t->slots[i].kind, t->slots[i].width);
	w->n_columns += t->n_slots;
}

void group_drop_columns(struct lines_writer *w, uint32_t id)
{
	const struct template *t = template_table_get(w->table, id);
	struct group *g = &w->groups[id - 1];

	for (uint32_t i = 0; g->columns && i < t->n_slots; i++)
		if (g->columns[i])
			column_return(w, g->columns[i]);
	w->n_columns -= g->columns ? t->n_slots : 0;
	free(g->columns);
	g->columns = NULL;
}

/* Where the next record of a group goes. */
static uint64_t *group_room(struct lines_writer *w, struct group *g, uint32_t n_slots)
{
	size_t step = 1 + (size_t)n_slots, rows = 1, end;
	uint64_t *to;

	if (g->room == 0) {
		if (g->last)
			rows = 2 * (w->values[g->last] >> 32);
		rows = rows < STRETCH_MAX ? rows : STRETCH_MAX;
		end = w->n_values + 1 + rows * step;
		if (end > w->cap_values) {
			w->cap_values = end > 2 * w->cap_values ? end : 2 * w->cap_values;
			w->values = xrealloc(w->values, w->cap_values * sizeof *w->values);
		}
		assert(end <= UINT32_MAX);
		if (g->last)
			w->values[g->last] |= w->n_values;
		else
			g->first = (uint32_t)w->n_values;
		g->last = (uint32_t)w->n_values;
		w->values[g->last] = (uint64_t)rows << 32;
		g->end = g->last + 1;
		g->room = (uint32_t)rows;
		w->n_values = end;
	}
	to = &w->values[g->end];
	g->end += (uint32_t)step;
	g->room--;
	return to;
}

void group_take(struct lines_writer *w, uint32_t id)
{
	const struct template *t = template_table_get(w->table, id);
	struct group *g = &w->groups[id - 1];
	uint32_t at = g->first, next, n;

	if (!at)
		return;
	group_make_columns(w, id);
	for (; at; at = next) {
		next = (uint32_t)w->values[at];
		n = (uint32_t)(w->values[at] >> 32) - (next ? 0 : g->room);
		for (uint32_t i = 0; i < t->n_slots; i++)
			column_add_records(g->columns[i], &w->values[at + 1], 1 + t->n_slots, i, n);
	}
	g->first = g->last = g->room = 0;
}

void group_spell(const struct lines_writer *w, uint32_t id, uint32_t i, struct buf *out)
{
	const struct template *t = template_table_get(w->table, id);
	const struct group *g = &w->groups[id - 1];
	size_t at = 0;

	for (uint32_t k = 0; k < t->n_slots; k++) {
		buf_str(out, str_sub(t->text, at, t->slots[k].at));
		column_spell(g->columns[k], i, out);
		at = t->slots[k].at;
	}
	buf_str(out, str_sub(t->text, at, t->text.n));
}

/* Accounting. */

static size_t columns_held(const struct lines_writer *w)
{
	size_t n = 0;

	for (uint32_t id = 1; id <= template_table_count(w->table); id++) {
		const struct group *g = &w->groups[id - 1];
		uint32_t n_slots = template_table_get(w->table, id)->n_slots;
		for (uint32_t i = 0; g->columns && i < n_slots; i++)
			if (g->columns[i])
				n += sizeof(struct column) + g->columns[i]->bytes.cap +
				     g->columns[i]->cap * value_bytes(g->columns[i]);
	}
	for (int kind = 0; kind <= SLOT_TEXT; kind++)
		for (size_t i = 0; i < w->spare[kind].n; i++)
			n += sizeof(struct column) + w->spare[kind].columns[i]->cap *
							     value_bytes(w->spare[kind].columns[i]);
	return n;
}

void lines_writer_charge(struct lines_writer *w, size_t more)
{
	uint64_t held;

	if (!w->account)
		return;
	held = sizeof *w + template_table_bytes(w->table) + w->text.bytes +
	       w->cap_rows * sizeof *w->rows + w->cap_groups * sizeof *w->groups +
	       w->cap_values * sizeof *w->values + columns_held(w) + more;
	if (held > w->charged)
		account_force(w->account, held - w->charged);
	else
		account_release(w->account, w->charged - held);
	w->charged = held;
}

/* Rows. */

void lines_writer_begin(struct lines_writer *w)
{
	if (!w->finished)
		return;
	w->finished = false;
	template_table_clear(w->table);
	free(w->keys);
	free(w->template_of);
	w->keys = NULL;
	w->template_of = NULL;
}

static void room_for_row(struct lines_writer *w)
{
	if (w->n_rows == w->cap_rows) {
		w->cap_rows = w->cap_rows ? w->cap_rows * 2 : ROWS_MIN;
		w->rows = xrealloc(w->rows, w->cap_rows * sizeof *w->rows);
	}
	if (w->n_rows % CHARGE_EVERY == 0)
		lines_writer_charge(w, 0);
}

static struct group *group_of(struct lines_writer *w, uint32_t id)
{
	size_t n = template_table_count(w->table);

	if (n > w->cap_groups) {
		size_t cap = w->cap_groups ? w->cap_groups * 2 : 256;
		w->groups = xrealloc(w->groups, cap * sizeof *w->groups);
		w->cap_groups = cap;
	}
	return &w->groups[id - 1];
}

/* Templates get their groups in order, as they are added to the table. */
static void new_groups(struct lines_writer *w, size_t from)
{
	for (size_t id = from + 1; id <= template_table_count(w->table); id++)
		*group_of(w, (uint32_t)id) = (struct group){0};
}

static void add_row(struct lines_writer *w, const struct row *row)
{
	assert(w->n_rows < PAYLOAD_ROWS_MAX);
	w->rows[w->n_rows++] = *row;
	if (row->template)
		w->groups[row->template - 1].n++;
}

/* A line; its template may be any but those among the first n_marked that have a mark. */
static void add_line(struct lines_writer *w, struct str line, int64_t timestamp, const bool *marked,
	size_t n_marked)
{
	struct row row = {.line = line, .timestamp = timestamp};
	size_t n_templates = template_table_count(w->table);
	struct token tokens[TOKEN_SLOTS_MAX];
	uint64_t hash;
	int n = -1;

	room_for_row(w);
	if (w->templated_bytes < TEMPLATED_BYTES_MAX)
		n = tokens_of(line, tokens, &hash);
	if (n >= 0)
		row.template = template_table_put(w->table, line, tokens, (size_t)n, hash);
	new_groups(w, n_templates);
	if (row.template && row.template <= n_marked && marked[row.template - 1])
		row.template = TEMPLATE_NONE;
	if (row.template) {
		struct group *g = &w->groups[row.template - 1];
		w->templated_bytes += line.n;
		if (n > 0)
			column_record(line, tokens, (size_t)n, group_room(w, g, (uint32_t)n));
	}
	add_row(w, &row);
}

void lines_writer_add(struct lines_writer *w, struct str line, int64_t timestamp)
{
	lines_writer_begin(w);
	if (!line.p)
		line.p = "";
	add_line(w, line, timestamp, NULL, 0);
}

uint32_t lines_writer_rows(const struct lines_writer *w)
{
	return (uint32_t)w->n_rows;
}

/* Rows of a block. */

struct append {
	struct lines_writer *w;
	struct lines_reader *r;
	const struct lines_source *source;
	const uint16_t *template; /* by row of the block */
	const uint32_t *rank;
	const uint32_t *rows;
	uint32_t n;
	struct range {
		uint32_t id;          /* of the writer's table; TEMPLATE_NONE: spell its lines */
		uint32_t first, rows; /* where its ranks begin */
	} * ranges;                   /* by local template of the block */
	uint32_t *ranks; /* of the rows in the columns of their templates, by template */
	bool *taken;     /* by template of the writer: gets columns of the block */
	struct buf line;
};

/* The values of a template's rows are appended together, those that stand together at once. */
static void append_ranks(struct append *a)
{
	uint32_t at = 0;

	a->ranks = xmalloc(((size_t)a->n + 1) * sizeof *a->ranks);
	for (uint32_t t = 0; t < a->source->n_templates; t++) {
		a->ranges[t].first = at;
		at += a->ranges[t].rows;
		a->ranges[t].rows = 0;
	}
	for (uint32_t i = 0; i < a->n; i++) {
		uint32_t row = a->rows[i];
		struct range *range;

		if (a->template[row] == TEMPLATE_NONE)
			continue;
		range = &a->ranges[a->template[row] - 1];
		a->ranks[range->first + range->rows++] = a->rank[row];
	}
}

/* Everything that can fail comes first: after this the block's rows are at hand. */
static int append_read(struct append *a, struct error *e)
{
	const struct column *column;
	struct str line;
	int r;

	if ((r = lines_templates(a->r, &a->template, e)) < 0 ||
		(r = lines_read_ranks(a->r, &a->rank, e)) < 0)
		return r;
	a->ranges = xcalloc(a->source->n_templates, sizeof *a->ranges);
	for (uint32_t i = 0; i < a->n; i++) {
		uint32_t row = a->rows[i];

		if (a->template[row] != TEMPLATE_NONE)
			a->ranges[a->template[row] - 1].rows++;
		else if ((r = lines_read_plain(a->r, a->rank[row], &line, e)) < 0)
			return r;
	}
	append_ranks(a);
	for (uint32_t t = 0; t < a->source->n_templates; t++)
		for (uint32_t s = 0; a->ranges[t].rows && s < a->source->templates[t]->n_slots; s++)
			if ((r = lines_read_column(a->r, t, s, &column, e)) < 0)
				return r;
	return 0;
}

/* Which template of the writer is each? */
static void append_map(struct append *a)
{
	struct lines_writer *w = a->w;
	size_t known = template_table_count(w->table);

	for (uint32_t t = 0; t < a->source->n_templates; t++) {
		const struct template *template = a->source->templates[t];
		struct range *range = &a->ranges[t];
		size_t room = w->n_columns < COLUMNS_MAX ? COLUMNS_MAX - w->n_columns : 0;
		if (!range->rows || w->templated_bytes >= TEMPLATED_BYTES_MAX)
			continue;
		range->id = template_table_put_key(w->table, template->key);
		new_groups(w, known);
		known = template_table_count(w->table);
		if (!range->id)
			continue;
		if (!w->groups[range->id - 1].columns && template->n_slots > room)
			range->id = TEMPLATE_NONE;
		else
			group_make_columns(w, range->id);
	}
	a->taken = xcalloc(known, sizeof *a->taken);
}

/* Append the values of a template's rows; the rows themselves follow. */
static void append_values(struct append *a, uint32_t t)
{
	struct lines_writer *w = a->w;
	const struct range *range = &a->ranges[t];
	struct group *g = &w->groups[range->id - 1];

	group_take(w, range->id);
	for (uint32_t s = 0; s < a->source->templates[t]->n_slots; s++) {
		const struct column *from = NULL;
		int r = lines_read_column(a->r, t, s, &from, NULL);
		assert(r >= 0);
		for (uint32_t i = 0, n; i < range->rows; i += n) {
			const uint32_t *rank = a->ranks + range->first + i;

			for (n = 1; i + n < range->rows && rank[n] == rank[0] + n;)
				n++;
			column_append(g->columns[s], from, rank[0], n);
		}
		w->templated_bytes += (size_t)range->rows * 4;
	}
	w->templated_bytes += range->rows * a->source->templates[t]->text.n;
	a->taken[range->id - 1] = true;
}

/* The line of a row of the block, as a line of the writer's own. */
static struct str append_line(struct append *a, uint32_t i)
{
	const struct template *t;
	struct str line = STR_NONE;
	size_t at = 0;
	int r = 0;

	if (a->template[i] == TEMPLATE_NONE) {
		r = lines_read_plain(a->r, a->rank[i], &line, NULL);
		assert(r >= 0);
		return arena_str(&a->w->text, line);
	}
	t = a->source->templates[a->template[i] - 1];
	buf_clear(&a->line);
	for (uint32_t s = 0; s < t->n_slots; s++) {
		const struct column *column = NULL;
		r = lines_read_column(a->r, a->template[i] - 1u, s, &column, NULL);
		assert(r >= 0);
		buf_str(&a->line, str_sub(t->text, at, t->slots[s].at));
		column_spell(column, a->rank[i], &a->line);
		at = t->slots[s].at;
	}
	buf_str(&a->line, str_sub(t->text, at, t->text.n));
	return arena_str(&a->w->text, buf_view(&a->line));
}

static void append_rows(struct append *a)
{
	struct lines_writer *w = a->w;
	size_t n_taken = template_table_count(w->table);

	for (uint32_t t = 0; t < a->source->n_templates; t++)
		if (a->ranges[t].id)
			append_values(a, t);
	for (uint32_t k = 0; k < a->n; k++) {
		uint32_t i = a->rows[k];
		struct row row = {.timestamp = a->source->timestamps[i]};
		if (a->template[i])
			row.template = a->ranges[a->template[i] - 1].id;
		if (row.template) {
			room_for_row(w);
			add_row(w, &row);
			continue;
		}
		/* A line of a template whose columns were just filled stays plain: its values
		 * belong between those. */
		add_line(w, append_line(a, i), row.timestamp, a->taken, n_taken);
	}
}

int lines_writer_append_rows(struct lines_writer *w, struct lines_reader *r, const uint32_t *rows,
	uint32_t n, struct error *e)
{
	struct append a = {.w = w, .r = r, .source = lines_read_source(r), .rows = rows, .n = n};
	int code;

	lines_writer_begin(w);
	if ((code = append_read(&a, e)) == 0) {
		append_map(&a);
		append_rows(&a);
		lines_writer_charge(w, 0);
	}
	free(a.ranges);
	free(a.ranks);
	free(a.taken);
	buf_fini(&a.line);
	return code;
}

int lines_writer_append(
	struct lines_writer *w, struct lines_reader *r, uint32_t from, uint32_t n, struct error *e)
{
	uint32_t *rows, n_rows = lines_read_source(r)->n_rows;
	int code;

	assert(from <= n_rows && n <= n_rows - from);
	rows = xmalloc(((size_t)n + 1) * sizeof *rows);
	for (uint32_t i = 0; i < n; i++)
		rows[i] = from + i;
	code = lines_writer_append_rows(w, r, rows, n, e);
	free(rows);
	return code;
}
