/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata by label.  Rows that repeat a set name it; what is new is taken
 * apart: which names it has is its shape, and the values of a name lie in a
 * column of their own.  These are encoded as lines are (lines.h), so that a
 * trace id takes the bytes of its digits once and one byte when it comes again,
 * and "user-4711" a number.
 *
 * A name of few values keeps them as they are: what a column of lines has
 * besides its lines would be more, and a sender that invents names by the
 * thousand would make one for each.
 */
#include "store/parts/meta.h"

#include <assert.h>

#include "record/labels.h"
#include "store/unit.h"

enum { LINES_MIN = 16 }; /* values */

enum values_form { VALUES_PLAIN, VALUES_LINES };

/* A row's number: none, a set that comes for the first time, or 2 + its entry. */
enum { ROW_NONE, ROW_NEW, ROW_AGAIN };

/* Writing */

void meta_writer_clear(struct meta_writer *w)
{
	map_fini(&w->index);
	w->n = 0;
	account_release(w->account, w->charged);
	w->charged = 0;
}

void meta_writer_fini(struct meta_writer *w)
{
	meta_writer_clear(w);
	lines_writer_free(w->lines);
	free(w->entries);
	*w = (struct meta_writer){.account = w->account, .level = w->level};
}

uint32_t meta_writer_add(struct meta_writer *w, struct str meta)
{
	union map_value *v;
	uint64_t held = w->index.bytes + w->cap * sizeof *w->entries;
	bool added;

	if (meta.n == 0)
		return 0;
	/* Neighbours often have the same. */
	if (w->n > 0 && str_eq(w->entries[w->n - 1], meta))
		return (uint32_t)w->n;
	v = map_put(&w->index, meta, &added);
	if (!added)
		return (uint32_t)v->u;
	if (w->n == w->cap) {
		w->cap = w->cap > 0 ? w->cap * 2 : 64;
		w->entries = xrealloc(w->entries, w->cap * sizeof *w->entries);
	}
	/* The map keeps a copy of the key, which stays where it is. */
	w->entries[w->n++] =
		((struct map_slot *)((char *)v - offsetof(struct map_slot, value)))->key;
	v->u = w->n;
	held = w->index.bytes + w->cap * sizeof *w->entries - held;
	account_force(w->account, held);
	w->charged += held;
	return (uint32_t)w->n;
}

/* Names and shapes of the entries. */
struct shapes {
	struct map name_index, shape_index;
	struct buf names, shapes;    /* as they are written */
	struct buf name_list;        /* struct str, by name */
	struct buf shape_key, bytes; /* of the one at hand */
	uint64_t *shape_of;          /* by entry */
	uint32_t *count;             /* of values, by name */
	size_t n_names, n_shapes;
};

static uint64_t name_number(struct shapes *s, struct str name)
{
	bool added;
	union map_value *v = map_put(&s->name_index, name, &added);

	if (added) {
		v->u = s->n_names++;
		bytes_put_str(&s->names, name);
		s->count = xrealloc(s->count, s->n_names * sizeof *s->count);
		s->count[s->n_names - 1] = 0;
		buf_put(&s->name_list, &name, sizeof name);
	}
	return v->u;
}

static void add_shape(struct shapes *s, size_t entry, struct str set)
{
	struct label label;
	union map_value *v;
	size_t n = labels_start(&set);
	bool added;

	buf_clear(&s->shape_key);
	varint_put(&s->shape_key, n);
	while (labels_next(&set, &label)) {
		uint64_t name = name_number(s, label.name);

		varint_put(&s->shape_key, name);
		s->count[name]++;
	}
	v = map_put(&s->shape_index, buf_view(&s->shape_key), &added);
	if (added) {
		v->u = s->n_shapes++;
		buf_str(&s->shapes, buf_view(&s->shape_key));
	}
	s->shape_of[entry] = v->u;
}

static void shapes_fini(struct shapes *s)
{
	map_fini(&s->name_index);
	map_fini(&s->shape_index);
	buf_fini(&s->names);
	buf_fini(&s->shapes);
	buf_fini(&s->name_list);
	buf_fini(&s->shape_key);
	buf_fini(&s->bytes);
	free(s->shape_of);
	free(s->count);
}

static void put_lines(struct meta_writer *w, const struct str *values, uint32_t n, struct buf *out)
{
	struct lines_written written;
	struct buf payload = {0};

	if (!w->lines)
		w->lines = lines_writer_new(w->account, w->level);
	for (uint32_t i = 0; i < n; i++)
		lines_writer_add(w->lines, values[i], 0);
	lines_writer_finish(w->lines, &payload, &written);
	buf_char(out, VALUES_LINES);
	varint_put(out, written.n_templates);
	for (size_t i = 0; i < written.n_templates; i++)
		bytes_put_str(out, written.keys[i]);
	bytes_put_str(out, buf_view(&payload));
	buf_fini(&payload);
}

static void put_plain(struct meta_writer *w, const struct str *values, uint32_t n, struct buf *out)
{
	uint64_t *lengths = xmalloc((size_t)n * sizeof *lengths);
	struct buf text = {0};

	for (uint32_t i = 0; i < n; i++) {
		lengths[i] = values[i].n;
		buf_str(&text, values[i]);
	}
	buf_char(out, VALUES_PLAIN);
	numbers_put(out, lengths, n, w->level);
	packed_put(out, buf_view(&text), w->level);
	buf_fini(&text);
	free(lengths);
}

/* The values of all names, name by name, each in the order of the entries. */
static void put_values(struct meta_writer *w, const struct shapes *s, struct buf *out)
{
	size_t total = 0, *at = xmalloc((s->n_names + 1) * sizeof *at);
	struct str *values;

	for (size_t i = 0; i < s->n_names; i++) {
		at[i] = total;
		total += s->count[i];
	}
	values = xmalloc(total * sizeof *values);
	account_force(w->account, total * sizeof *values);
	for (size_t i = 0; i < w->n; i++) {
		struct str set = w->entries[i];
		struct label label;

		labels_start(&set);
		while (labels_next(&set, &label))
			values[at[map_get(&s->name_index, label.name)->u]++] = label.value;
	}
	for (size_t i = 0, from = 0; i < s->n_names; from = at[i], i++) {
		if (s->count[i] < LINES_MIN)
			put_plain(w, values + from, s->count[i], out);
		else
			put_lines(w, values + from, s->count[i], out);
	}
	account_release(w->account, total * sizeof *values);
	free(values);
	free(at);
}

static void put_rows(const struct meta_writer *w, const uint32_t *rows, uint32_t n, struct buf *out)
{
	uint64_t *v = xmalloc((size_t)n * sizeof *v);
	uint32_t known = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (rows[i] == 0)
			v[i] = ROW_NONE;
		else if (rows[i] == known + 1)
			v[i] = ROW_NEW;
		else
			v[i] = ROW_AGAIN + rows[i] - 1;
		known += v[i] == ROW_NEW;
	}
	assert(known == w->n);
	numbers_put(out, v, n, w->level);
	free(v);
}

void meta_writer_put(struct meta_writer *w, const uint32_t *rows, uint32_t n, struct buf *out)
{
	struct shapes s = {0};
	uint64_t raw = 0;

	if (w->n == 0)
		return;
	s.shape_of = xmalloc(w->n * sizeof *s.shape_of);
	for (size_t i = 0; i < w->n; i++) {
		add_shape(&s, i, w->entries[i]);
		raw += w->entries[i].n;
	}
	varint_put(out, w->n);
	varint_put(out, raw);
	put_rows(w, rows, n, out);
	varint_put(out, s.n_names);
	buf_str(out, buf_view(&s.names));
	varint_put(out, s.n_shapes);
	buf_str(out, buf_view(&s.shapes));
	numbers_put(out, s.shape_of, w->n, w->level);
	put_values(w, &s, out);
	shapes_fini(&s);
}

/* Reading */

/* What a column consists of, on the way to its entries. */
struct parse {
	struct meta_reader *owner;
	struct reader in;
	uint64_t raw; /* bytes of all sets */
	uint32_t n_entries;
	struct str *names;
	size_t n_names, n_shapes;
	struct reader *shapes; /* the names of each, at its first number; `bad` is not used */
	uint32_t *shape_size;
	uint64_t *shape_of;
	uint32_t *count; /* of values, by name */
	size_t n_values;
	struct buf text; /* values, in the order in which they lie */
	size_t *ends;    /* of each */
	size_t n_ends;
};

static void go_bad(struct reader *in)
{
	in->bad = true;
	in->at = STR_NONE;
}

static void parse_fini(struct parse *p)
{
	free(p->names);
	free(p->shapes);
	free(p->shape_size);
	free(p->shape_of);
	free(p->count);
	free(p->ends);
	buf_fini(&p->text);
}

static int hold(struct meta_reader *r, uint64_t n, struct error *e)
{
	int code;

	if ((code = scan_charge(r->account, n, e)) == 0)
		r->charged += n;
	return code;
}

static void parse_names(struct parse *p)
{
	uint64_t n = reader_number(&p->in, p->in.at.n / 2);

	p->names = xcalloc((size_t)n + 1, sizeof *p->names);
	for (; p->n_names < n && !p->in.bad; p->n_names++)
		p->names[p->n_names] = reader_str(&p->in, LABEL_NAME_MAX);
	p->count = xcalloc((size_t)n + 1, sizeof *p->count);
}

static void parse_shapes(struct parse *p)
{
	uint64_t n = reader_number(&p->in, p->n_entries);

	p->shapes = xcalloc((size_t)n + 1, sizeof *p->shapes);
	p->shape_size = xcalloc((size_t)n + 1, sizeof *p->shape_size);
	for (; p->n_shapes < n && !p->in.bad; p->n_shapes++) {
		uint32_t size = (uint32_t)reader_number(&p->in, LABELS_MAX);

		p->shape_size[p->n_shapes] = size;
		p->shapes[p->n_shapes] = p->in;
		for (uint32_t i = 0; i < size && p->n_names > 0; i++)
			reader_number(&p->in, p->n_names - 1);
		if (size == 0 || p->n_names == 0)
			go_bad(&p->in);
	}
	p->shape_of = xmalloc(((size_t)p->n_entries + 1) * sizeof *p->shape_of);
	numbers_get(&p->in, p->shape_of, p->n_entries);
	for (uint32_t i = 0; i < p->n_entries && !p->in.bad; i++) {
		if (p->shape_of[i] >= p->n_shapes) {
			go_bad(&p->in);
			break;
		}
		p->n_values += p->shape_size[p->shape_of[i]];
	}
	/* A label takes at least four bytes of its set. */
	if (p->n_values > p->raw / 4)
		go_bad(&p->in);
}

static void count_values(struct parse *p)
{
	for (uint32_t i = 0; i < p->n_entries && !p->in.bad; i++) {
		struct reader names = p->shapes[p->shape_of[i]];

		for (uint32_t k = p->shape_size[p->shape_of[i]]; k > 0; k--)
			p->count[reader_varint(&names)]++;
	}
}

static void add_value(struct parse *p, struct str value)
{
	if (value.n > p->raw - p->text.n) {
		go_bad(&p->in);
		return;
	}
	buf_str(&p->text, value);
	p->ends[p->n_ends++] = p->text.n;
}

static void get_plain(struct parse *p, uint32_t n)
{
	uint64_t *lengths = xmalloc((size_t)n * sizeof *lengths), total = 0;
	struct buf text = {0};
	size_t at = 0;

	numbers_get(&p->in, lengths, n);
	for (uint32_t i = 0; i < n && !p->in.bad; i++) {
		if (lengths[i] > p->raw - total)
			go_bad(&p->in);
		else
			total += lengths[i];
	}
	if (!p->in.bad && total > 0)
		packed_get(&p->in, (size_t)total, &text);
	for (uint32_t i = 0; i < n && !p->in.bad; i++) {
		add_value(p, str_sub(buf_view(&text), at, at + (size_t)lengths[i]));
		at += lengths[i];
	}
	buf_fini(&text);
	free(lengths);
}

static int read_memory(void *ctx, uint64_t at, size_t n, void *to, struct error *e)
{
	const struct str *payload = ctx;

	if (at > payload->n || n > payload->n - at)
		return error_set(e, ERR_CORRUPT, "values of metadata end too soon");
	if (n > 0)
		memcpy(to, payload->p + at, n);
	return 0;
}

/* Spell the values of an open reader. */
static int spell_values(struct parse *p, uint32_t n, struct error *e)
{
	uint32_t *pick = xmalloc((size_t)n * sizeof *pick);
	struct str *values = xmalloc((size_t)n * sizeof *values);
	int r;

	for (uint32_t i = 0; i < n; i++)
		pick[i] = i;
	if ((r = lines_get(p->owner->lines, pick, n, values, e)) == 0)
		for (uint32_t i = 0; i < n && !p->in.bad; i++)
			add_value(p, values[i]);
	free(pick);
	free(values);
	return r;
}

static int get_lines(struct parse *p, uint32_t n, struct error *e)
{
	uint64_t n_templates = reader_number(&p->in, n);
	struct template *templates = xcalloc((size_t)n_templates, sizeof *templates);
	const struct template **list = xcalloc((size_t)n_templates, sizeof(struct template *));
	int64_t *times = xcalloc(n, sizeof *times);
	struct str payload;
	struct lines_source source = {.ctx = &payload,
		.read = read_memory,
		.n_rows = n,
		.templates = list,
		.timestamps = times,
		.account = p->owner->account};
	size_t parsed = 0;
	int r = 0;

	for (; parsed < n_templates && r == 0; parsed++) {
		r = template_parse(&templates[parsed], reader_str(&p->in, TOKEN_LINE_MAX * 8), e);
		list[parsed] = &templates[parsed];
	}
	payload = reader_str(&p->in, UINT32_MAX);
	source.bytes = payload.n;
	source.n_templates = (size_t)n_templates;
	if (!p->owner->lines)
		p->owner->lines = lines_reader_new();
	if (r == 0 && !p->in.bad && (r = lines_open(p->owner->lines, &source, e)) == 0)
		r = spell_values(p, n, e);
	/* What it borrows goes now. */
	lines_reader_free(p->owner->lines);
	p->owner->lines = NULL;
	for (size_t i = 0; i < parsed; i++)
		template_fini(&templates[i]);
	free(templates);
	free(list);
	free(times);
	return r;
}

static int parse_values(struct parse *p, struct error *e)
{
	int r = 0;

	p->ends = xmalloc((p->n_values + 1) * sizeof *p->ends);
	for (size_t i = 0; i < p->n_names && !p->in.bad && r == 0; i++) {
		if (reader_number(&p->in, VALUES_LINES) == VALUES_LINES)
			r = get_lines(p, p->count[i], e);
		else
			get_plain(p, p->count[i]);
	}
	if (p->in.at.n > 0 || p->n_ends != p->n_values)
		go_bad(&p->in);
	return r;
}

/* Put the sets together again: p->text and names into r->text. */
static void build_entries(struct parse *p, struct meta_reader *r)
{
	size_t *next = xmalloc((p->n_names + 1) * sizeof *next), at = 0;
	size_t *starts = xmalloc(((size_t)p->n_entries + 1) * sizeof *starts);

	for (size_t i = 0; i < p->n_names; i++) {
		next[i] = at;
		at += p->count[i];
	}
	for (uint32_t i = 0; i < p->n_entries && r->text.n <= p->raw; i++) {
		struct reader names = p->shapes[p->shape_of[i]];
		uint32_t n = p->shape_size[p->shape_of[i]];

		starts[i] = r->text.n;
		varint_put(&r->text, n);
		for (; n > 0; n--) {
			size_t name = (size_t)reader_varint(&names), v = next[name]++;
			size_t from = v > 0 ? p->ends[v - 1] : 0;

			bytes_put_str(&r->text, p->names[name]);
			bytes_put_str(&r->text, str_sub(buf_view(&p->text), from, p->ends[v]));
		}
	}
	if (r->text.n != p->raw)
		go_bad(&p->in);
	starts[p->n_entries] = r->text.n;
	for (uint32_t i = 0; i < p->n_entries && !p->in.bad; i++) {
		r->entries[i] = str_make(r->text.p + starts[i], starts[i + 1] - starts[i]);
		if (labels_check(r->entries[i], NULL) < 0)
			go_bad(&p->in);
	}
	free(next);
	free(starts);
}

static void place_rows(struct parse *p, const uint64_t *rows, uint32_t n, struct str *out)
{
	uint32_t known = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t entry;

		if (rows[i] == ROW_NONE)
			continue;
		entry = rows[i] == ROW_NEW ? known++ : rows[i] - ROW_AGAIN;
		if (entry >= p->n_entries || entry >= known) {
			go_bad(&p->in);
			return;
		}
		out[i] = p->owner->entries[entry];
	}
}

static int parse_column(struct parse *p, uint64_t *rows, uint32_t n, struct error *e)
{
	size_t bytes = p->in.at.n;
	int r;

	p->n_entries = (uint32_t)reader_number(&p->in, n);
	p->raw = reader_number(&p->in, COLUMN_RAW_MAX);
	/* Their bytes twice, what tells where they are, and names, of which each takes two bytes.
	 */
	if (p->in.bad ||
		(r = hold(p->owner, 2 * p->raw + p->n_entries * UINT64_C(100) + 10 * bytes, e)) < 0)
		return p->in.bad ? 0 : r;
	numbers_get(&p->in, rows, n);
	parse_names(p);
	parse_shapes(p);
	if (p->in.bad || (r = hold(p->owner, p->n_values * 24, e)) < 0)
		return p->in.bad ? 0 : r;
	count_values(p);
	p->owner->entries = xmalloc(((size_t)p->n_entries + 1) * sizeof *p->owner->entries);
	return parse_values(p, e);
}

static void meta_reader_clear(struct meta_reader *r)
{
	free(r->entries);
	r->entries = NULL;
	buf_fini(&r->text);
	account_release(r->account, r->charged);
	r->charged = 0;
}

void meta_reader_fini(struct meta_reader *r)
{
	meta_reader_clear(r);
	lines_reader_free(r->lines);
	r->lines = NULL;
}

int meta_reader_get(
	struct meta_reader *r, struct str column, uint32_t n, struct str *out, struct error *e)
{
	struct parse p = {.owner = r, .in = {.at = column}};
	uint64_t *rows;
	int code;

	meta_reader_clear(r);
	memset(out, 0, (size_t)n * sizeof *out);
	if (column.n == 0)
		return 0;
	rows = xmalloc((size_t)n * sizeof *rows);
	if ((code = parse_column(&p, rows, n, e)) == 0 && !p.in.bad)
		build_entries(&p, r);
	if (code == 0 && !p.in.bad)
		place_rows(&p, rows, n, out);
	if (code == 0 && p.in.bad)
		code = error_set(e, ERR_CORRUPT, "bad metadata");
	free(rows);
	parse_fini(&p);
	return code;
}
