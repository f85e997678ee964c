/* SPDX-License-Identifier: Apache-2.0 */
/*
 * | unroll NAME: a row whose label NAME is a JSON array becomes one row for
 * each element, with the line, time and other labels of the row.
 *
 *   NAME=["a","b"]                    NAME=a            NAME=b
 *   NAME=[{"id":1,"at":{"x":2}}]      NAME={"id":1,"at":{"x":2}}  NAME_id=1  NAME_at_x=2
 *
 * The element is the label's new value: a string without its quotes, a number
 * as written, null and "" as no label, an object or array as compact JSON.  The fields
 * of an object become labels as `| json` would name them below NAME; an array
 * in it is JSON again, for another unroll.  An empty array gives no rows.  A
 * row without the label goes on as it is; one whose label is no array, or too
 * long a one, too, with __error__ = UnrollErr.
 *
 * Unrolls multiply, and what a record makes is not looked at between the rows:
 * so it is bounded for all unrolls of a pipeline together.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "codec/json.h"
#include "query/ast.h"

enum {
	UNROLL_MAX = 10000,         /* elements of an array; a longer one is not unrolled */
	UNROLL_RECORD_MAX = 100000, /* rows of one record, by all unrolls of the pipeline together:
				     * further arrays are not unrolled */
	UNROLL_BYTES = 32,          /* of an array's text cost as much as a row */
	UNROLL_NESTED_MAX = 4, /* unrolls of one pipeline, as fields_push nests; those in front of
				* the last four do nothing but set the error */
};

struct unroll_stage {
	struct stage stage;
	struct str name;
};

struct unroll_state {
	struct json_parser *parser;
	const struct wanted *behind;
	size_t n_behind; /* unrolls that follow */
	struct buf name, text;
};

static void wants(const struct stage *s, struct wanted *w)
{
	wanted_add(w, ((const struct unroll_stage *)s)->name);
}

static void *begin(const struct stage *s, const struct wanted *behind, struct account *a)
{
	struct unroll_state *state = xcalloc(1, sizeof *state);

	for (const struct stage *next = s->next; next; next = next->next)
		state->n_behind += next->type->spread != NULL;
	state->parser = a ? json_parser_new_charged(a) : json_parser_new();
	state->behind = behind;
	return state;
}

static void end(void *ctx)
{
	struct unroll_state *state = ctx;

	json_parser_free(state->parser);
	buf_fini(&state->name);
	buf_fini(&state->text);
	free(state);
}

/* Append the node as compact JSON.  As deep as the parser lets a text be. */
static void put_json(struct buf *out, const struct json *j, size_t at)
{
	const struct json_node *node = &j->nodes[at];
	bool object = node->type == JSON_OBJECT, key = object;

	switch (node->type) {
	case JSON_NULL: buf_c(out, "null"); return;
	case JSON_FALSE: buf_c(out, "false"); return;
	case JSON_TRUE: buf_c(out, "true"); return;
	case JSON_NUMBER: buf_str(out, node->text); return;
	case JSON_STRING: buf_json(out, node->text); return;
	case JSON_ARRAY:
	case JSON_OBJECT: break;
	}
	buf_char(out, object ? '{' : '[');
	for (size_t i = json_first(j, at); i < json_end(j, at); i = json_next(j, i)) {
		if (i > json_first(j, at))
			buf_char(out, object && !key ? ':' : ',');
		put_json(out, j, i);
		key = object && !key;
	}
	buf_char(out, object ? '}' : ']');
}

static struct str copy(struct fields *f, struct str s)
{
	return s.n ? str_make(memcpy(fields_text(f, s.n), s.p, s.n), s.n) : STR("");
}

/* A label's value for the node.  Strings and numbers stay valid as long as the array is read. */
static struct str value_of(
	struct unroll_state *state, struct fields *f, const struct json *j, size_t at)
{
	const struct json_node *node = &j->nodes[at];

	switch (node->type) {
	case JSON_NULL: return STR("");
	case JSON_FALSE: return STR("false");
	case JSON_TRUE: return STR("true");
	case JSON_NUMBER:
	case JSON_STRING: return node->text;
	case JSON_ARRAY:
	case JSON_OBJECT: break;
	}
	buf_clear(&state->text);
	put_json(&state->text, j, at);
	return copy(f, buf_view(&state->text));
}

static void put_name(struct buf *out, struct str key)
{
	for (size_t i = 0; i < key.n; i++) {
		char c = key.p[i];
		bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
			    (c >= '0' && c <= '9');
		buf_char(out, (char)(fine ? c : '_'));
	}
}

static bool set(struct unroll_state *state, struct fields *f, const struct json *j, size_t at)
{
	struct str name = buf_view(&state->name);

	struct str value;

	if (!wanted_has(state->behind, name))
		return true;
	value = value_of(state, f, j, at);
	if (value.n)
		return fields_set(f, copy(f, name), value);
	fields_remove(f, name);
	return true;
}

/* The fields of the object, below what state->name holds.  False: there is no room for more. */
static bool set_fields(
	struct unroll_state *state, struct fields *f, const struct json *j, size_t object)
{
	size_t length = state->name.n;
	bool room = true;

	for (size_t i = json_first(j, object); room && i < json_end(j, object);) {
		size_t value = json_next(j, i);
		state->name.n = length;
		buf_char(&state->name, '_');
		put_name(&state->name, j->nodes[i].text);
		if (j->nodes[value].type == JSON_OBJECT)
			room = set_fields(state, f, j, value);
		else if (j->nodes[value].type != JSON_NULL)
			room = set(state, f, j, value);
		i = json_next(j, value);
	}
	state->name.n = length;
	return room;
}

static int each(const struct unroll_stage *s, struct unroll_state *state, const struct json *j,
	size_t element, struct pipe_row row, const struct pipe_rest *rest)
{
	bool room;
	int r;

	fields_push(row.fields);
	buf_clear(&state->name);
	buf_str(&state->name, s->name);
	room = set(state, row.fields, j, element);
	if (room && j->nodes[element].type == JSON_OBJECT)
		room = set_fields(state, row.fields, j, element);
	if (!room)
		fields_fail(row.fields, "UnrollErr", "more than %d labels in a row", FIELDS_MAX);
	r = rest->run(rest->ctx, &row);
	fields_pop(row.fields);
	return r;
}

static const char *const too_many_rows = "more than 100000 rows, or 3 MiB of arrays, of one record";

/* Why the array is not unrolled; NULL: it is, and `spread` has grown by what it costs. */
static const char *too_much(const struct json *j, struct str text, size_t *spread)
{
	size_t n = 0, cost;

	for (size_t i = json_first(j, 0); i < json_end(j, 0); i = json_next(j, i))
		n++;
	cost = n + text.n / UNROLL_BYTES;
	if (n > UNROLL_MAX)
		return "an array of more than 10000 elements";
	if (*spread + cost > UNROLL_RECORD_MAX)
		return too_many_rows;
	*spread += cost;
	return NULL;
}

/* The row goes on as it is. */
static int pass(struct pipe_row *row, const struct pipe_rest *rest, const char *why)
{
	fields_fail(row->fields, "UnrollErr", "%s", why);
	return rest->run(rest->ctx, row);
}

static int spread(
	const struct stage *stage, void *ctx, struct pipe_row *row, const struct pipe_rest *rest)
{
	const struct unroll_stage *s = (const struct unroll_stage *)stage;
	struct unroll_state *state = ctx;
	size_t nothing = 0, *cost = row->spread ? row->spread : &nothing;
	struct pipe_row one = *row;
	struct error e = {0};
	const char *why;
	struct str value;
	struct json j;
	int r;

	if (!fields_get(row->fields, s->name, &value))
		return rest->run(rest->ctx, row);
	if (state->n_behind >= UNROLL_NESTED_MAX)
		return pass(row, rest, "more than 4 unrolls in a pipeline");
	if (*cost + value.n / UNROLL_BYTES > UNROLL_RECORD_MAX)
		return pass(row, rest, too_many_rows);
	r = json_parse(state->parser, value, &j, &e);
	if (r == ERR_ARG)
		return pass(row, rest, e.text);
	if (r < 0)
		return r;
	if (j.nodes[0].type != JSON_ARRAY)
		return pass(row, rest, "the label is no JSON array");
	if ((why = too_much(&j, value, cost)))
		return pass(row, rest, why);
	one.spread = cost;
	for (size_t i = json_first(&j, 0); i < json_end(&j, 0); i = json_next(&j, i))
		if ((r = each(s, state, &j, i, one, rest)) < 0)
			return r;
	return 1;
}

static void format(const struct stage *s, struct buf *out)
{
	buf_c(out, "| unroll ");
	buf_str(out, ((const struct unroll_stage *)s)->name);
}

static const struct stage_type unroll_type = {
	.name = "unroll",
	.wants = wants,
	.begin = begin,
	.end = end,
	.spread = spread,
	.format = format,
};

struct stage *unroll_new(struct query *q, struct str name)
{
	struct unroll_stage *s = ARENA_NEW(&q->arena, struct unroll_stage);

	*s = (struct unroll_stage){{&unroll_type, NULL}, name};
	return &s->stage;
}
