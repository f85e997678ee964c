/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/yaml.h"

#include <stdlib.h>
#include <yaml.h>

enum {
	DEPTH_MAX = 32,
	NODES_MAX = 100000,
	KEYS_MAX = 1000, /* in one map, as each is compared with those before */
};

/* What &name stands at. */
struct anchor {
	struct anchor *next;
	struct str name;
	const struct yaml_node *node;
};

struct reader {
	yaml_parser_t parser;
	const char *file;
	struct arena *arena;
	struct conf_errors *errors;
	bool literal; /* $ has no meaning */
	bool foreign; /* anchors, merges and keys that are there twice are taken as PyYAML does */
	struct anchor *anchors; /* the last one first */
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

/* --- anchors and merges, of foreign texts ---------------------------------------------- */

static void keep_anchor(struct reader *r, const yaml_char_t *name, const struct yaml_node *node)
{
	struct anchor *a;

	if (!name || !node || !r->foreign)
		return;
	a = ARENA_NEW(r->arena, struct anchor);
	*a = (struct anchor){r->anchors, arena_str(r->arena, str_c((const char *)name)), node};
	r->anchors = a;
}

/* A copy, since nodes are chained; NULL after a problem.  What is copied counts, so that aliases of
 * aliases do not blow up. */
static struct yaml_node *copy(
	struct reader *r, const struct yaml_node *node, const struct place *at, unsigned depth)
{
	struct yaml_node *c = ARENA_NEW(r->arena, struct yaml_node), **last = &c->first;

	if (++r->n_nodes > NODES_MAX || depth > DEPTH_MAX) {
		problem_add(r->errors, at, NULL,
			"the alias stands for too much: %d values, nested %d "
			"deep, are the limits",
			NODES_MAX, DEPTH_MAX);
		return NULL;
	}
	*c = *node;
	c->next = NULL;
	for (const struct yaml_node *m = node->first; m; m = m->next) {
		if (!(*last = copy(r, m, at, depth + 1)))
			return NULL;
		last = &(*last)->next;
	}
	*last = NULL;
	return c;
}

static struct yaml_node *read_alias(struct reader *r, const yaml_event_t *event)
{
	struct str name = str_c((const char *)event->data.alias.anchor);
	struct place at = place_of(r, event->start_mark);

	for (const struct anchor *a = r->anchors; a; a = a->next)
		if (str_eq(a->name, name))
			return copy(r, a->node, &at, r->depth);
	if (r->foreign)
		problem_add(r->errors, &at, NULL, "*%.*s: there is no such anchor before it",
			STR_ARG(name));
	else
		problem_add(r->errors, &at, NULL, "aliases (*name) are not supported");
	return NULL;
}

static struct yaml_node **find_key(struct yaml_node *map, struct str key)
{
	struct yaml_node **at = &map->first;

	while (*at && !str_eq((*at)->key, key))
		at = &(*at)->next;
	return at;
}

/* Members of `from` that the map has not got. */
static void merge_map(struct reader *r, struct yaml_node *map, const struct yaml_node *from)
{
	const struct yaml_node *m = from->kind == NODE_MAP ? from->first : NULL;

	for (; m; m = m->next) {
		struct yaml_node **at = find_key(map, m->key);
		if (*at || map->n == KEYS_MAX)
			continue;
		*at = ARENA_NEW(r->arena, struct yaml_node);
		**at = *m;
		(*at)->next = NULL;
		map->n++;
	}
}

/* <<: *defaults, or a list of maps, of which the first counts most. */
static void merge(struct reader *r, struct yaml_node *map)
{
	struct yaml_node **at = find_key(map, STR("<<")), *value = *at;

	if (!value)
		return;
	*at = value->next;
	map->n--;
	if (value->kind == NODE_LIST)
		for (const struct yaml_node *m = value->first; m; m = m->next)
			merge_map(r, map, m);
	else
		merge_map(r, map, value);
}

/* --- maps and lists -------------------------------------------------------------------- */

/* The last one of a key counts. */
static void drop_key(struct yaml_node *map, struct str key)
{
	struct yaml_node **at = find_key(map, key);

	if (!*at)
		return;
	*at = (*at)->next;
	map->n--;
}

static void check_key(struct reader *r, const struct yaml_node *map, const struct yaml_node *key)
{
	for (const struct yaml_node *m = r->foreign ? NULL : map->first; m; m = m->next) {
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
	struct reader *r, struct yaml_node *map, const yaml_event_t *event)
{
	struct yaml_node key = {.place = place_of(r, event->start_mark)}, *member;

	if (event->type != YAML_SCALAR_EVENT) {
		problem_add(r->errors, &key.place, NULL, "a key must be a word");
		return NULL;
	}
	key.text = arena_str(r->arena, scalar_text(event));
	if (r->foreign)
		drop_key(map, key.text);
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
	struct yaml_node **last = &parent->first, *member;
	yaml_event_t event;

	while (next_event(r, &event)) {
		if (event.type == end) {
			yaml_event_delete(&event);
			if (r->foreign && parent->kind == NODE_MAP)
				merge(r, parent);
			return parent;
		}
		member = parent->kind == NODE_MAP ? read_member(r, parent, &event)
						  : read_node(r, &event);
		yaml_event_delete(&event);
		if (!member)
			return NULL;
		/* In a map the last one may have gone: see drop_key. */
		if (parent->kind == NODE_MAP)
			last = find_key(parent, member->key);
		*last = member;
		last = &member->next;
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
	if (event->type == YAML_SCALAR_EVENT) {
		node = read_scalar(r, event);
		keep_anchor(r, event->data.scalar.anchor, node);
		return node;
	}
	if (!map && event->type != YAML_SEQUENCE_START_EVENT)
		return read_alias(r, event);
	if (r->depth == DEPTH_MAX) {
		problem_add(r->errors, &at, NULL, "nested deeper than %d", DEPTH_MAX);
		return NULL;
	}
	r->depth++;
	node = read_members(r, node_new(r, map ? NODE_MAP : NODE_LIST, event->start_mark));
	r->depth--;
	keep_anchor(r, map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor,
		node);
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

struct yaml_node *yaml_read_foreign(
	struct str text, const char *file, struct arena *arena, struct conf_errors *errors)
{
	struct reader r = {
		.file = file, .arena = arena, .errors = errors, .literal = true, .foreign = true};

	return read_text(&r, text);
}
