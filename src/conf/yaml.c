/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/yaml.h"

#include <stdlib.h>
#include <yaml.h>

enum {
	DEPTH_MAX = 32,
	NODES_MAX = 100000,
	KEYS_MAX = 1000, /* in one map, as each is compared with those before */
};

struct reader {
	yaml_parser_t parser;
	const char *file;
	struct arena *arena;
	struct conf_errors *errors;
	bool literal; /* $ has no meaning */
	size_t n_nodes;
	unsigned depth;
};

static struct place place_of(const struct reader *r, yaml_mark_t mark)
{
	return (struct place){
		.source = r->file, .line = (int)mark.line + 1, .column = (int)mark.column + 1};
}

static void syntax_problem(struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	struct place at = place_of(r, p->problem_mark);

	problem_add(r->errors, &at, NULL, "not YAML: %s%s%s", p->problem ? p->problem : "no memory",
		p->context ? " " : "", p->context ? p->context : "");
}

static bool is_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i], low = (char)(c | 0x20);
		if (!(low >= 'a' && low <= 'z') && c != '_' && !(i && c >= '0' && c <= '9'))
			return false;
	}
	return s.n > 0;
}

/* "NAME" or "NAME:-default", from between the braces. */
static void put_variable(
	struct reader *r, const struct place *at, struct str inside, struct buf *out)
{
	ptrdiff_t split = str_find(inside, STR(":-"));
	struct str name = split < 0 ? inside : str_sub(inside, 0, (size_t)split);
	char terminated[128];
	const char *value;

	if (!is_name(name) || name.n >= sizeof terminated) {
		problem_add(r->errors, at, NULL,
			"${%.*s}: no name of a variable; write $${ for a literal ${",
			STR_ARG(inside));
		return;
	}
	value = getenv(str_copy(name, terminated, sizeof terminated));
	if (split >= 0 && (!value || !*value))
		buf_str(out, str_sub(inside, (size_t)split + 2, inside.n));
	else if (value)
		buf_c(out, value);
	else
		problem_add(r->errors, at, NULL,
			"${%s}: the environment has no such variable; ${%s:-text} gives it a default",
			terminated, terminated);
}

static struct str substitute(struct reader *r, const struct place *at, struct str text)
{
	struct buf out = {0};
	struct str done;

	if (r->literal || str_chr(text, '$') < 0)
		return arena_str(r->arena, text);
	for (size_t i = 0; i < text.n; i++) {
		struct str rest = str_sub(text, i, text.n);
		ptrdiff_t end;
		if (str_starts(rest, STR("$$"))) {
			buf_char(&out, '$');
			i++;
		} else if (str_starts(rest, STR("${")) && (end = str_chr(rest, '}')) > 0) {
			put_variable(r, at, str_sub(rest, 2, (size_t)end), &out);
			i += (size_t)end;
		} else if (str_starts(rest, STR("${"))) {
			problem_add(r->errors, at, NULL,
				"${ has no closing brace; write $${ for a literal ${");
			break;
		} else {
			buf_char(&out, text.p[i]);
		}
	}
	done = arena_str(r->arena, buf_view(&out));
	buf_fini(&out);
	return done;
}

static struct yaml_node *node_new(struct reader *r, enum yaml_kind kind, yaml_mark_t mark)
{
	struct yaml_node *node = ARENA_NEW(r->arena, struct yaml_node);

	node->kind = kind;
	node->place = place_of(r, mark);
	return node;
}

static struct str scalar_text(const yaml_event_t *event)
{
	return str_make(event->data.scalar.value, event->data.scalar.length);
}

static struct yaml_node *read_scalar(struct reader *r, const yaml_event_t *event)
{
	struct yaml_node *node = node_new(r, NODE_SCALAR, event->start_mark);
	struct str text = scalar_text(event);

	node->null = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
		     (text.n == 0 || str_eq(text, STR("~")) || str_eq(text, STR("null")));
	node->text = substitute(r, &node->place, text);
	if (strlen(node->text.p) != node->text.n)
		problem_add(r->errors, &node->place, NULL, "a value cannot hold a zero byte");
	return node;
}

static struct yaml_node *read_node(struct reader *r, yaml_event_t *event);

/* The next event; false after a problem.  The caller deletes it. */
static bool next_event(struct reader *r, yaml_event_t *event)
{
	if (yaml_parser_parse(&r->parser, event))
		return true;
	syntax_problem(r);
	return false;
}

static struct yaml_node *read_next(struct reader *r)
{
	struct yaml_node *node;
	yaml_event_t event;

	if (!next_event(r, &event))
		return NULL;
	node = read_node(r, &event);
	yaml_event_delete(&event);
	return node;
}

static void check_key(struct reader *r, const struct yaml_node *map, const struct yaml_node *key)
{
	for (const struct yaml_node *m = map->first; m; m = m->next) {
		if (!str_eq(m->key, key->text))
			continue;
		problem_add(r->errors, &key->place, NULL, "%.*s: already set on line %d",
			STR_ARG(key->text), m->key_place.line);
		return;
	}
	if (map->n == KEYS_MAX)
		problem_add(
			r->errors, &key->place, NULL, "more than %d keys in one place", KEYS_MAX);
}

/* The key at hand in `event` and the value behind it. */
static struct yaml_node *read_member(
	struct reader *r, const struct yaml_node *map, const yaml_event_t *event)
{
	struct yaml_node key = {.place = place_of(r, event->start_mark)}, *member;

	if (event->type != YAML_SCALAR_EVENT) {
		problem_add(r->errors, &key.place, NULL, "a key must be a word");
		return NULL;
	}
	key.text = arena_str(r->arena, scalar_text(event));
	check_key(r, map, &key);
	if (map->n == KEYS_MAX || !(member = read_next(r)))
		return NULL;
	member->key = key.text;
	member->key_place = key.place;
	return member;
}

/* A list or map, whose start was read. */
static struct yaml_node *read_members(struct reader *r, struct yaml_node *parent)
{
	yaml_event_type_t end =
		parent->kind == NODE_MAP ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
	struct yaml_node *last = NULL, *member;
	yaml_event_t event;

	while (next_event(r, &event)) {
		if (event.type == end) {
			yaml_event_delete(&event);
			return parent;
		}
		member = parent->kind == NODE_MAP ? read_member(r, parent, &event)
						  : read_node(r, &event);
		yaml_event_delete(&event);
		if (!member)
			return NULL;
		if (last)
			last->next = member;
		else
			parent->first = member;
		last = member;
		parent->n++;
	}
	return NULL;
}

static struct yaml_node *read_node(struct reader *r, yaml_event_t *event)
{
	bool map = event->type == YAML_MAPPING_START_EVENT;
	struct place at = place_of(r, event->start_mark);
	struct yaml_node *node;

	if (++r->n_nodes > NODES_MAX) {
		problem_add(r->errors, &at, NULL, "more than %d values", NODES_MAX);
		return NULL;
	}
	if (event->type == YAML_SCALAR_EVENT)
		return read_scalar(r, event);
	if (!map && event->type != YAML_SEQUENCE_START_EVENT) {
		problem_add(r->errors, &at, NULL, "aliases (*name) are not supported");
		return NULL;
	}
	if (r->depth == DEPTH_MAX) {
		problem_add(r->errors, &at, NULL, "nested deeper than %d", DEPTH_MAX);
		return NULL;
	}
	r->depth++;
	node = read_members(r, node_new(r, map ? NODE_MAP : NODE_LIST, event->start_mark));
	r->depth--;
	return node;
}

static struct yaml_node *read_stream(struct reader *r)
{
	struct yaml_node *root = NULL;
	yaml_event_type_t type;
	yaml_event_t event;

	do {
		if (!next_event(r, &event))
			return NULL;
		type = event.type;
		if (type == YAML_DOCUMENT_START_EVENT && root) {
			struct place at = place_of(r, event.start_mark);
			problem_add(r->errors, &at, NULL, "a second document: a config is one");
			root = NULL;
			type = YAML_STREAM_END_EVENT;
		} else if (type == YAML_DOCUMENT_START_EVENT) {
			root = read_next(r);
			if (!root)
				type = YAML_STREAM_END_EVENT;
		}
		yaml_event_delete(&event);
	} while (type != YAML_STREAM_END_EVENT);
	return root;
}

static struct yaml_node *read_text(struct reader *r, struct str text)
{
	struct yaml_node *root;

	if (!yaml_parser_initialize(&r->parser))
		abort();
	yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(
		&r->parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
	root = read_stream(r);
	yaml_parser_delete(&r->parser);
	return root;
}

struct yaml_node *yaml_read(
	struct str text, const char *file, struct arena *arena, struct conf_errors *errors)
{
	struct reader r = {.file = file, .arena = arena, .errors = errors};

	return read_text(&r, text);
}

struct yaml_node *yaml_read_literal(
	struct str text, const char *file, struct arena *arena, struct conf_errors *errors)
{
	struct reader r = {.file = file, .arena = arena, .errors = errors, .literal = true};

	return read_text(&r, text);
}
