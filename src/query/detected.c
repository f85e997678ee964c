/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sample is the answer to the query itself; each of its lines is taken
 * apart here.  JSON is walked, since who offers a field of a nested object must
 * know the path to it; the label's name is made as the json stage makes it.
 *
 * What is held grows with the lines and is charged line by line, at what a line
 * of nothing but values can come to.
 */
#include "query/detected.h"

#include <stdlib.h>

#include "base/map.h"
#include "codec/json.h"
#include "query/ast.h"
#include "query/number.h"
#include "query/pipeline.h"
#include "query/source.h"

enum {
	DEPTH_MAX = 16,        /* of nested objects */
	NAME_MAX_BYTES = 1024, /* of a field; longer ones are left out */
	LINE_FACTOR = 4,       /* bytes held for each of a line */
	VALUE_BYTES = 200,     /* and for each value, besides its text */
};

enum found_by { BY_NOBODY, BY_JSON, BY_LOGFMT };

struct field {
	struct map values;
	enum detected_type type;
	bool json, logfmt;
	const struct str *path;
	size_t n_path;
};

struct detector {
	struct detected_fields *out;
	struct account *account;
	struct map fields; /* name to struct field */
	struct json_parser *parser;
	struct fields *row;
	struct pipeline *logfmt;
	struct query *holder; /* of the logfmt stage */
	struct buf name;
	const struct query_entry *entry;
};

/* --- types ---------------------------------------------------------------------------- */

enum detected_type detected_type_of(struct str value)
{
	int64_t i;
	uint64_t u;
	double d;

	if (str_eq(value, STR("true")) || str_eq(value, STR("false")))
		return DETECTED_BOOLEAN;
	if (number_int(value, 10, &i))
		return DETECTED_INT;
	if (number_float(value, &d))
		return DETECTED_FLOAT;
	if (number_duration(value, &i))
		return DETECTED_DURATION;
	if (number_bytes(value, &u))
		return DETECTED_BYTES;
	return DETECTED_STRING;
}

static bool is_number(enum detected_type t)
{
	return t == DETECTED_INT || t == DETECTED_FLOAT;
}

static enum detected_type common_type(enum detected_type a, enum detected_type b)
{
	if (a == b)
		return a;
	return is_number(a) && is_number(b) ? DETECTED_FLOAT : DETECTED_STRING;
}

const char *detected_type_name(enum detected_type t)
{
	static const char *const names[] = {
		"boolean", "int", "float", "duration", "bytes", "string"};

	return names[t];
}

/* --- what is found -------------------------------------------------------------------- */

static struct field *field_of(struct detector *d, struct str name)
{
	union map_value *known = map_get(&d->fields, name);
	struct field *f;

	if (known)
		return known->p;
	if (d->fields.n == DETECTED_FIELDS_MAX)
		return NULL;
	f = xcalloc(1, sizeof *f);
	map_put(&d->fields, name, NULL)->p = f;
	return f;
}

static struct field *found(struct detector *d, struct str name, struct str value, enum found_by by)
{
	enum detected_type type = detected_type_of(value);
	struct field *f;

	if (name.n == 0 || name.n > NAME_MAX_BYTES || str_starts(name, STR("__error")) ||
		!(f = field_of(d, name)))
		return NULL;
	f->type = f->values.n ? common_type(f->type, type) : type;
	f->json = f->json || by == BY_JSON;
	f->logfmt = f->logfmt || by == BY_LOGFMT;
	map_put(&f->values, value, NULL);
	return f;
}

static void find_labels(struct detector *d, struct str labels)
{
	struct label l;

	if (labels.n == 0)
		return;
	labels_start(&labels);
	while (labels_next(&labels, &l))
		found(d, l.name, l.value, BY_NOBODY);
}

/* --- JSON ----------------------------------------------------------------------------- */

struct path {
	struct str keys[DEPTH_MAX];
	size_t n;
};

static bool is_taken(const struct query_entry *en, struct str name)
{
	struct str value;

	return labels_get(en->labels, name, &value) ||
	       (en->meta.n && labels_get(en->meta, name, &value));
}

/* As the json stage names it: keys joined by _, what no name can hold as _. */
static struct str name_of(struct detector *d, const struct path *p)
{
	buf_clear(&d->name);
	for (size_t i = 0; i < p->n; i++) {
		if (i)
			buf_char(&d->name, '_');
		buf_str(&d->name, p->keys[i]);
		if (d->name.n > NAME_MAX_BYTES)
			return STR_NONE;
	}
	for (size_t i = 0; i < d->name.n; i++) {
		char c = d->name.p[i], low = (char)(c | 0x20);
		if (!(low >= 'a' && low <= 'z') && !(c >= '0' && c <= '9'))
			d->name.p[i] = '_';
	}
	if (d->name.n && d->name.p[0] >= '0' && d->name.p[0] <= '9') {
		buf_char(&d->name, '_');
		memmove(d->name.p + 1, d->name.p, d->name.n - 1);
		d->name.p[0] = '_';
	}
	if (is_taken(d->entry, buf_view(&d->name)))
		buf_c(&d->name, "_extracted");
	return buf_view(&d->name);
}

static void set_path(struct detector *d, struct field *f, const struct path *p)
{
	struct arena *a = &d->out->arena;
	struct str *keys;

	if (f->path)
		return;
	keys = ARENA_ARRAY(a, struct str, p->n);
	for (size_t i = 0; i < p->n; i++)
		keys[i] = arena_str(a, p->keys[i]);
	f->path = keys;
	f->n_path = p->n;
}

static void find_members(struct detector *d, const struct json *j, size_t object, struct path *p)
{
	if (p->n == DEPTH_MAX)
		return;
	for (size_t i = json_first(j, object); i < json_end(j, object);) {
		const struct json_node *value = &j->nodes[i + 1];
		struct str text = value->text;
		struct field *f;

		p->keys[p->n++] = j->nodes[i].text;
		if (value->type == JSON_OBJECT) {
			find_members(d, j, i + 1, p);
		} else if (value->type != JSON_ARRAY && value->type != JSON_NULL) {
			if (value->type == JSON_TRUE || value->type == JSON_FALSE)
				text = value->type == JSON_TRUE ? STR("true") : STR("false");
			if ((f = found(d, name_of(d, p), text, BY_JSON)))
				set_path(d, f, p);
		}
		p->n--;
		i = json_next(j, i + 1);
	}
}

static bool find_json(struct detector *d, struct str line)
{
	struct path p = {.n = 0};
	struct error ignored;
	struct json j;

	line = str_trim(line);
	if (line.n == 0 || line.p[0] != '{' || json_parse(d->parser, line, &j, &ignored) < 0)
		return false;
	find_members(d, &j, 0, &p);
	return true;
}

/* --- logfmt --------------------------------------------------------------------------- */

static int find_logfmt(struct detector *d, struct str line, struct error *e)
{
	const struct query_entry *en = d->entry;
	struct pipe_row row = {.fields = d->row, .line = line, .timestamp = en->timestamp};
	const struct label *l;
	enum field_kind kind;
	struct str value;
	size_t at = 0;

	fields_begin(d->row, en->labels, en->meta, NULL);
	if (pipeline_run(d->logfmt, &row) < 0)
		return error_set(e, ERR_LIMIT, "logfmt: a line is too much for the parser");
	while ((l = fields_next(d->row, &at)))
		if (fields_find(d->row, l->name, &value, &kind) && kind == FIELD_PARSED)
			found(d, l->name, value, BY_LOGFMT);
	return 0;
}

/* --- the whole ------------------------------------------------------------------------ */

static int detect_entry(struct detector *d, const struct query_entry *en, struct error *e)
{
	uint64_t bytes = LINE_FACTOR * (en->line.n + en->meta.n + en->parsed.n) +
			 VALUE_BYTES * (en->line.n / 4 + 16);

	if (d->account && account_charge(d->account, bytes) < 0)
		return error_set(e, ERR_LIMIT,
			"no memory is left for the fields of these lines: sample fewer, by line_limit");
	d->out->charged += bytes;
	d->entry = en;
	find_labels(d, en->meta);
	find_labels(d, en->parsed);
	return find_json(d, en->line) ? 0 : find_logfmt(d, en->line, e);
}

static int begin(struct detector *d, struct error *e)
{
	const struct wanted all = {.all = true};
	struct stage *logfmt;
	int r;

	if ((r = query_parse(&d->holder, STR("{}"), e)) < 0 ||
		(r = logfmt_new(d->holder, false, false, NULL, 0, &logfmt, e)) < 0)
		return r;
	d->parser = json_parser_new();
	d->row = fields_new(NULL);
	d->logfmt = pipeline_new(logfmt, &all, NULL);
	return 0;
}

static void end(struct detector *d)
{
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(&d->fields, &at))) {
		struct field *f = slot->value.p;
		map_fini(&f->values);
		free(f);
	}
	map_fini(&d->fields);
	buf_fini(&d->name);
	if (d->logfmt)
		pipeline_free(d->logfmt);
	if (d->row)
		fields_free(d->row);
	json_parser_free(d->parser);
	query_free(d->holder);
}

static int by_text(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int by_name(const void *a, const void *b)
{
	const struct detected_field *x = a, *y = b;

	return str_cmp(x->name, y->name);
}

static void put_field(
	struct arena *a, struct str name, const struct field *f, struct detected_field *out)
{
	const struct map_slot *slot;
	size_t at = 0, n = 0;

	*out = (struct detected_field){
		.name = arena_str(a, name),
		.type = f->type,
		.cardinality = f->values.n,
		.json = f->json,
		.logfmt = f->logfmt,
		.path = (struct str *)f->path,
		.n_path = f->n_path,
		.values = ARENA_ARRAY(a, struct str, f->values.n),
	};
	while ((slot = map_next(&f->values, &at)))
		out->values[n++] = arena_str(a, slot->key);
	qsort(out->values, n, sizeof *out->values, by_text);
}

static void to_answer(struct detector *d)
{
	struct detected_fields *out = d->out;
	const struct map_slot *slot;
	size_t at = 0;

	out->fields = ARENA_ARRAY(&out->arena, struct detected_field, d->fields.n + 1);
	while ((slot = map_next(&d->fields, &at)))
		put_field(&out->arena, slot->key, slot->value.p, &out->fields[out->n++]);
	qsort(out->fields, out->n, sizeof *out->fields, by_name);
}

int source_detected_fields(struct source *s, const struct query *q, const struct query_params *p,
	struct detected_fields *out, struct error *e)
{
	struct detected_fields found_fields = {.account = p->account};
	struct query_params sample = *p;
	struct detector d = {.out = &found_fields, .account = p->account};
	int r;

	if (!query_is_log(q))
		return error_set(e, ERR_ARG, "fields are those of lines: a metric query has none");
	if (sample.limit == 0 || sample.limit > DETECTED_LINES_MAX)
		return error_set(
			e, ERR_ARG, "line_limit: must be from 1 to %d", DETECTED_LINES_MAX);
	if ((r = source_query(s, q, &sample, &found_fields.sample, e)) < 0)
		return r;
	arena_init(&found_fields.arena, NULL);
	r = begin(&d, e);
	for (size_t i = 0; r == 0 && i < found_fields.sample.n_entries; i++)
		r = detect_entry(&d, &found_fields.sample.entries[i], e);
	if (r == 0)
		to_answer(&d);
	end(&d);
	if (r < 0)
		detected_fields_fini(&found_fields);
	else
		*out = found_fields;
	return r;
}

void detected_fields_fini(struct detected_fields *d)
{
	query_result_fini(&d->sample);
	arena_fini(&d->arena);
	account_release(d->account, d->charged);
	*d = (struct detected_fields){0};
}
