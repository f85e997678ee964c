/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a line: the one-pass reader must say of them what json_parse
 * says, and find what a walk over its tree finds; and of names and paths
 * picked out of that, exactly the first value of each.
 */
#include <assert.h>
#include <stdlib.h>

#include "codec/json.h"
#include "query/json_line.h"
#include "query/wanted.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { PICKED = 12 };

struct leaf {
	struct str name, value; /* keys joined with _; none within arrays */
	bool in_array, is_null, is_container;
	struct json_step *steps;
	size_t n_steps;
};

struct tree {
	struct json json;
	struct arena arena;
	struct leaf *leaves;
	size_t n, cap;
};

static struct str join(struct arena *a, struct str name, struct str key, size_t depth)
{
	char *p;

	if (depth == 0)
		return key;
	p = arena_alloc(a, name.n + 1 + key.n);
	if (name.n)
		memcpy(p, name.p, name.n);
	p[name.n] = '_';
	if (key.n)
		memcpy(p + name.n + 1, key.p, key.n);
	return str_make(p, name.n + 1 + key.n);
}

static struct leaf step_into(struct tree *t, const struct leaf *l, struct str key, uint32_t index)
{
	struct leaf in = *l;

	in.steps = ARENA_ARRAY(&t->arena, struct json_step, l->n_steps + 1);
	if (l->n_steps)
		memcpy(in.steps, l->steps, l->n_steps * sizeof *l->steps);
	in.steps[in.n_steps++] = (struct json_step){key, index};
	return in;
}

static void add(struct tree *t, const struct leaf *l)
{
	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 64;
		t->leaves = xrealloc(t->leaves, t->cap * sizeof *t->leaves);
	}
	t->leaves[t->n++] = *l;
}

/* The node at `at`, which l leads to. */
static void walk(struct tree *t, size_t at, struct leaf l)
{
	const struct json_node *node = &t->json.nodes[at];
	size_t end = json_end(&t->json, at), i = json_first(&t->json, at);
	struct leaf in;

	l.is_container = node->type == JSON_OBJECT || node->type == JSON_ARRAY;
	l.is_null = node->type == JSON_NULL;
	l.value = node->type == JSON_TRUE    ? STR("true")
		  : node->type == JSON_FALSE ? STR("false")
					     : node->text;
	if (node->type == JSON_OBJECT) {
		for (; i < end; i = json_next(&t->json, i + 1)) {
			struct str key = t->json.nodes[i].text;
			if (!key.p)
				key = STR("");
			in = step_into(t, &l, key, 0);
			in.name = join(&t->arena, l.name, key, l.n_steps);
			walk(t, i + 1, in);
		}
	} else if (node->type == JSON_ARRAY) {
		for (uint32_t index = 0; i < end; i = json_next(&t->json, i)) {
			in = step_into(t, &l, STR_NONE, index++);
			in.in_array = true;
			walk(t, i, in);
		}
	}
	if (at != 0)
		add(t, &l);
}

static bool is_field(const struct leaf *l)
{
	return !l->in_array && !l->is_null && !l->is_container;
}

static void check_all(const struct tree *t, const struct json_line *line)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++) {
		if (!is_field(&t->leaves[i]))
			continue;
		if (n == JSON_LINE_FOUND) {
			assert(line->more);
			break;
		}
		assert(n < line->n_found);
		assert(str_eq(line->found[n].name, t->leaves[i].name));
		assert(str_eq(line->found[n].value, t->leaves[i].value));
		n++;
	}
	assert(n == line->n_found);
}

static void check_names(struct tree *t, struct str text, struct fields *f, unsigned salt)
{
	struct str names[PICKED];
	struct json_line line = {.take = JSON_TAKE_NAMES, .names = names};
	size_t n = 0;

	for (size_t i = 0; i < t->n && n < PICKED; i++) {
		const struct leaf *l = &t->leaves[i];
		bool known = l->name.n == 0 || (salt + i) % 3 == 0;
		size_t length = label_name_length(l->name, true);
		char *p = arena_alloc(&t->arena, length + 1);
		label_name_make(p, l->name, true);
		for (size_t k = 0; k < n; k++)
			known |= str_eq(names[k], str_make(p, length));
		if (!known)
			names[n++] = str_make(p, length);
	}
	line.n_picked = n;
	assert(json_line_read(&line, text, f));
	for (size_t k = 0; k < n; k++) {
		const struct leaf *first = NULL;
		const struct json_found *got = NULL;
		for (size_t i = 0; i < t->n && !first; i++)
			if (is_field(&t->leaves[i]) && t->leaves[i].name.n &&
				label_name_is(names[k], t->leaves[i].name, true))
				first = &t->leaves[i];
		for (size_t i = 0; i < line.n_found; i++)
			if (str_eq(line.found[i].name, names[k])) {
				assert(!got);
				got = &line.found[i];
			}
		assert(!first == !got);
		assert(!first || str_eq(first->value, got->value));
	}
	json_line_fini(&line);
}

static bool same_path(const struct leaf *l, const struct json_path *path)
{
	if (l->n_steps != path->n)
		return false;
	for (size_t i = 0; i < path->n; i++)
		if (!l->steps[i].key.p != !path->steps[i].key.p ||
			!str_eq(l->steps[i].key, path->steps[i].key) ||
			l->steps[i].index != path->steps[i].index)
			return false;
	return true;
}

static void check_paths(struct tree *t, struct str text, struct fields *f, unsigned salt)
{
	struct json_path paths[PICKED];
	struct json_line line = {.take = JSON_TAKE_PATHS, .paths = paths};
	struct json_parser *parser = json_parser_new();
	size_t n = 0;

	for (size_t i = 0; i < t->n && n < PICKED; i++)
		if ((salt + i) % 4)
			paths[n++] = (struct json_path){t->leaves[i].steps, t->leaves[i].n_steps};
	line.n_picked = n;
	assert(json_line_read(&line, text, f));
	for (size_t k = 0; k < n; k++) {
		const struct leaf *first = NULL;
		const struct json_found *got = NULL;
		struct json inner;
		for (size_t i = 0; i < t->n && !first; i++)
			if (!t->leaves[i].is_null && same_path(&t->leaves[i], &paths[k]))
				first = &t->leaves[i];
		for (size_t i = 0; i < line.n_found; i++)
			if (line.found[i].at == k) {
				assert(!got);
				got = &line.found[i];
			}
		assert(!first == !got);
		if (first && !first->is_container)
			assert(str_eq(first->value, got->value));
		if (first && first->is_container)
			assert(json_parse(parser, got->value, &inner, NULL) == 0);
	}
	json_parser_free(parser);
	json_line_fini(&line);
}

static void check_strings(const struct tree *t, struct str text, struct fields *f)
{
	struct json_line line = {.take = JSON_TAKE_STRINGS};
	const struct json *j = &t->json;
	size_t n = 0;

	assert(json_line_read(&line, text, f));
	for (size_t i = json_first(j, 0); i < json_end(j, 0); i = json_next(j, i + 1)) {
		if (j->nodes[i + 1].type != JSON_STRING || n == JSON_LINE_FOUND)
			continue;
		assert(n < line.n_found);
		assert(str_eq(line.found[n].name, j->nodes[i].text));
		assert(str_eq(line.found[n].value, j->nodes[i + 1].text));
		n++;
	}
	assert(n == line.n_found);
	json_line_fini(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const enum json_take takes[] = {
		JSON_TAKE_ALL, JSON_TAKE_NAMES, JSON_TAKE_PATHS, JSON_TAKE_STRINGS};
	struct json_parser *parser = json_parser_new();
	struct fields *f = fields_new(NULL);
	struct str text = str_make(data, n);
	struct tree t = {0};
	struct leaf top = {0};
	bool valid = json_parse(parser, text, &t.json, NULL) == 0, object, array;
	unsigned salt = n ? data[n / 2] : 0;

	object = valid && t.json.nodes[0].type == JSON_OBJECT;
	array = valid && t.json.nodes[0].type == JSON_ARRAY;
	arena_init(&t.arena, NULL);
	fields_begin(f, STR_NONE, STR_NONE, NULL);
	/* Nothing asked for: the same verdict. */
	for (size_t i = 0; i < 4; i++) {
		struct json_line line = {.take = takes[i]};
		bool ok = json_line_read(&line, text, f);
		assert(ok == (object || (array && takes[i] == JSON_TAKE_PATHS)));
		assert(ok == !line.what && line.at <= n);
		json_line_fini(&line);
	}
	if (object || array) {
		walk(&t, 0, top);
		check_paths(&t, text, f, salt);
	}
	if (object) {
		struct json_line line = {.take = JSON_TAKE_ALL};
		assert(json_line_read(&line, text, f));
		check_all(&t, &line);
		json_line_fini(&line);
		check_names(&t, text, f, salt);
		check_strings(&t, text, f);
	}
	free(t.leaves);
	arena_fini(&t.arena);
	fields_free(f);
	json_parser_free(parser);
	return 0;
}
