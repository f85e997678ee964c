/* SPDX-License-Identifier: Apache-2.0 */
/* Settings as values: copies that outlive what they were loaded into, and whether two are alike. */
#include <string.h>

#include "conf/option.h"

static void copy_strings(struct strings *s, struct arena *arena)
{
	const char **items = ARENA_ARRAY(arena, const char *, s->n);

	for (size_t i = 0; i < s->n; i++)
		items[i] = arena_c(arena, str_c(s->items[i]));
	s->items = items;
}

static void copy_map(struct string_map *m, struct arena *arena)
{
	struct string_map from = *m;

	m->items = arena_array(arena, from.n, sizeof *m->items);
	for (size_t i = 0; i < from.n; i++) {
		m->items[i].name = arena_c(arena, str_c(from.items[i].name));
		m->items[i].value = arena_c(arena, str_c(from.items[i].value));
	}
}

static void copy_groups(struct string_groups *g, struct arena *arena)
{
	struct string_groups from = *g;

	g->items = ARENA_ARRAY(arena, struct string_group, from.n);
	for (size_t i = 0; i < from.n; i++) {
		g->items[i] = from.items[i];
		g->items[i].name = arena_c(arena, str_c(from.items[i].name));
		copy_strings(&g->items[i].values, arena);
	}
}

static void copy_fields(void *at, const struct option *table, struct arena *arena);

static void copy_objects(struct objects *o, const struct option *row, struct arena *arena)
{
	void *items = arena_array(arena, o->n, row->size);

	if (o->n)
		memcpy(items, o->items, o->n * row->size);
	o->items = items;
	for (size_t i = 0; i < o->n; i++)
		copy_fields((char *)items + i * row->size, row->fields, arena);
}

static void copy_kinds(struct kinds *k, const struct option *row, struct arena *arena)
{
	struct kinds from = *k;

	k->items = ARENA_ARRAY(arena, struct kind_entry, from.n);
	for (size_t i = 0; i < from.n; i++) {
		const void *type = from.items[i].type;

		k->items[i] = from.items[i];
		k->items[i].kind = arena_c(arena, str_c(from.items[i].kind));
		k->items[i].settings = conf_copy(from.items[i].settings, row->kinds->size(type),
			row->kinds->options(type), arena);
	}
}

/* What `at` points to is the original's still: have it in the arena. */
static void copy_field(void *at, const struct option *row, struct arena *arena)
{
	const char **text = at;

	switch (row->kind) {
	case OPT_BOOL:
	case OPT_INT:
	case OPT_SIZE:
	case OPT_DURATION:
	case OPT_ENUM: break;
	case OPT_STRING:
	case OPT_PATH:
		if (*text)
			*text = arena_c(arena, str_c(*text));
		break;
	case OPT_STRINGS:
	case OPT_PATHS:
	case OPT_LISTEN: copy_strings(at, arena); break;
	case OPT_MAP: copy_map(at, arena); break;
	case OPT_GROUPS: copy_groups(at, arena); break;
	case OPT_OBJECT: copy_fields(at, row->fields, arena); break;
	case OPT_LIST: copy_objects(at, row, arena); break;
	case OPT_KINDS: copy_kinds(at, row, arena); break;
	}
}

static void copy_fields(void *at, const struct option *table, struct arena *arena)
{
	for (; table->name; table++)
		copy_field((char *)at + table->offset, table, arena);
}

void *conf_copy(const void *settings, size_t size, const struct option *table, struct arena *arena)
{
	void *out = arena_alloc(arena, size);

	memcpy(out, settings, size);
	copy_fields(out, table, arena);
	return out;
}

/* --- alike? ---------------------------------------------------------------------------- */

bool strings_same(const struct strings *a, const struct strings *b)
{
	bool same = a->n == b->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = str_same(a->items[i], b->items[i]);
	return same;
}

static bool same_map(const struct string_map *a, const struct string_map *b)
{
	bool same = a->n == b->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = str_same(a->items[i].name, b->items[i].name) &&
		       str_same(a->items[i].value, b->items[i].value);
	return same;
}

static bool same_groups(const struct string_groups *a, const struct string_groups *b)
{
	bool same = a->n == b->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = str_same(a->items[i].name, b->items[i].name) &&
		       strings_same(&a->items[i].values, &b->items[i].values);
	return same;
}

static bool same_objects(const struct objects *a, const struct objects *b, const struct option *row)
{
	bool same = a->n == b->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = conf_same((const char *)a->items + i * row->size,
			(const char *)b->items + i * row->size, row->fields);
	return same;
}

static bool same_kinds(const struct kinds *a, const struct kinds *b, const struct option *row)
{
	bool same = a->n == b->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = a->items[i].type == b->items[i].type &&
		       conf_same(a->items[i].settings, b->items[i].settings,
			       row->kinds->options(a->items[i].type));
	return same;
}

static bool same_field(const void *a, const void *b, const struct option *row)
{
	switch (row->kind) {
	case OPT_BOOL: return *(const bool *)a == *(const bool *)b;
	case OPT_ENUM: return *(const int *)a == *(const int *)b;
	case OPT_INT:
	case OPT_SIZE:
	case OPT_DURATION: return memcmp(a, b, sizeof(int64_t)) == 0;
	case OPT_STRING:
	case OPT_PATH: return str_same(*(const char *const *)a, *(const char *const *)b);
	case OPT_STRINGS:
	case OPT_PATHS:
	case OPT_LISTEN: return strings_same(a, b);
	case OPT_MAP: return same_map(a, b);
	case OPT_GROUPS: return same_groups(a, b);
	case OPT_OBJECT: return conf_same(a, b, row->fields);
	case OPT_LIST: return same_objects(a, b, row);
	case OPT_KINDS: return same_kinds(a, b, row);
	}
	return false;
}

bool conf_same(const void *a, const void *b, const struct option *table)
{
	for (; table->name; table++)
		if (!same_field((const char *)a + table->offset, (const char *)b + table->offset,
			    table))
			return false;
	return true;
}
