/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading: walk the option table and the tree of the file side by side.
 *
 * Each row looks for its value at the command line, the environment, the file
 * and its fallback, in this order, and takes the first.  A file's value that
 * is overridden is still read, into a field that the next source overwrites, so
 * that its mistakes are told.  Nothing stops at a problem: all are collected.
 * Listen addresses are gathered on the way and compared at the end, over the
 * whole config.
 */
#include "conf/option.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/listen.h"
#include "conf/value.h"
#include "conf/yaml.h"
#include "os/fs.h"

enum {
	FILE_MAX = 1 << 20, /* a config larger than 1 MiB is a mistake */
	LISTENS_MAX = 256,
	ITEMS_MAX = 10000, /* of one list */
	PAIRS_MAX = 256,   /* of groups on a command line: room for all is made for each name */
};

/* One value on its way into a field. */
struct given {
	struct place place;
	const struct yaml_node *node; /* from the file */
	struct str text;              /* from elsewhere; lists with commas */
	bool fallback;
};

struct load {
	const struct conf_source *src;
	struct arena *arena;
	struct conf_errors *errors;
	const char *file;   /* for places */
	const char *folder; /* where relative paths of the file start, absolute */
	const char *here;   /* where others start */
	struct buf path;    /* "inputs.syslog" */
	bool overrides;     /* flags and environment reach here */
	bool *flag_used;
	struct buf names; /* all dotted names, each terminated, for "did you mean" */
	struct listen listens[LISTENS_MAX];
	size_t n_listens;
};

static void fill(struct load *l, const struct option *table, void *settings,
	const struct yaml_node *map, const struct place *parent);

static const char *key(struct load *l)
{
	return buf_cstr(&l->path);
}

/* Append ".name"; returns the length to go back to. */
static size_t enter(struct load *l, struct str name)
{
	size_t n = l->path.n;

	if (n)
		buf_char(&l->path, '.');
	buf_str(&l->path, name);
	return n;
}

static void leave(struct load *l, size_t n)
{
	l->path.n = n;
}

static const char *absolute(const struct load *l, const struct given *g, const char *path)
{
	if (*path == '/' || *path == 0 || strcmp(path, "-") == 0)
		return path;
	while (path[0] == '.' && path[1] == '/')
		path += 2;
	return arena_printf(l->arena, "%s/%s", g->node || g->fallback ? l->folder : l->here, path);
}

static void add_listen(struct load *l, const struct given *g, const char *text, struct place place)
{
	if (l->n_listens < LISTENS_MAX)
		l->listens[l->n_listens++] =
			(struct listen){.key = arena_c(l->arena, buf_view(&l->path)),
				.text = text,
				.place = place,
				.fallback = g->fallback};
	else
		problem_add(
			l->errors, &place, key(l), "more than %d listen addresses", LISTENS_MAX);
}

/* One member of a list, as its kind wants it. */
static void fill_item(struct load *l, const struct option *o, const struct given *g,
	struct str text, struct place place, struct strings *out)
{
	struct buf normal = {0};
	struct error e;
	const char *item;

	if (o->kind == OPT_LISTEN) {
		if (listen_normal(text, &normal, &e) < 0) {
			problem_add(l->errors, &place, key(l), "%s", e.text);
			buf_fini(&normal);
			return;
		}
		item = arena_c(l->arena, buf_view(&normal));
		buf_fini(&normal);
		add_listen(l, g, item, place);
	} else {
		item = arena_c(l->arena, text);
		if (o->kind == OPT_PATHS)
			item = absolute(l, g, item);
	}
	out->items[out->n++] = item;
}

static size_t count_commas(struct str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == ',';
	return n;
}

/* "a, b": empty text is an empty list. */
static void fill_strings_text(
	struct load *l, const struct option *o, const struct given *g, struct strings *out)
{
	struct str rest = g->text;

	out->items = ARENA_ARRAY(l->arena, const char *, count_commas(rest) + 1);
	while (rest.n)
		fill_item(l, o, g, str_trim(str_cut(&rest, ',')), g->place, out);
}

static void fill_strings(
	struct load *l, const struct option *o, const struct given *g, struct strings *out)
{
	const struct yaml_node *node = g->node;

	*out = (struct strings){0};
	if (!node) {
		fill_strings_text(l, o, g, out);
		return;
	}
	if (node->kind == NODE_MAP || node->n > ITEMS_MAX) {
		problem_add(
			l->errors, &g->place, key(l), "must be a list of at most %d", ITEMS_MAX);
		return;
	}
	if (node->null)
		return;
	out->items = ARENA_ARRAY(l->arena, const char *, node->n + 1);
	if (node->kind == NODE_SCALAR)
		fill_item(l, o, g, node->text, node->place, out);
	for (const struct yaml_node *m = node->first; m; m = m->next) {
		if (m->kind != NODE_SCALAR || m->null)
			problem_add(l->errors, &m->place, key(l), "must be a list of plain values");
		else
			fill_item(l, o, g, m->text, m->place, out);
	}
}

static void add_pair(struct load *l, struct string_map *out, struct str name, struct str value)
{
	out->items[out->n].name = arena_c(l->arena, name);
	out->items[out->n++].value = arena_c(l->arena, value);
}

static void *map_items(struct load *l, size_t n)
{
	return arena_array(l->arena, n, sizeof *((struct string_map *)0)->items);
}

static void fill_map(struct load *l, const struct given *g, struct string_map *out)
{
	struct str rest = g->text;

	*out = (struct string_map){0};
	if (g->node && g->node->kind != NODE_MAP && !g->node->null) {
		problem_add(l->errors, &g->place, key(l), "must be a map: {name: text}");
		return;
	}
	out->items = map_items(l, g->node ? g->node->n + 1 : count_commas(rest) + 1);
	for (const struct yaml_node *m = g->node ? g->node->first : NULL; m; m = m->next) {
		if (m->kind != NODE_SCALAR || m->null)
			problem_add(l->errors, &m->place, key(l), "%.*s: must be a text",
				STR_ARG(m->key));
		else
			add_pair(l, out, m->key, m->text);
	}
	while (!g->node && rest.n) {
		struct str value = str_cut(&rest, ','), name = str_cut(&value, '=');
		if (!value.p)
			problem_add(l->errors, &g->place, key(l), "must be NAME=TEXT,...");
		else
			add_pair(l, out, str_trim(name), str_trim(value));
	}
}

/* The group of a name, which is made when it is new; `room` is what one may hold. */
static struct strings *group_of(
	struct load *l, struct string_groups *out, struct str name, size_t room)
{
	struct string_group *g = out->items;

	for (; g < out->items + out->n; g++)
		if (str_eq_c(name, g->name))
			return &g->values;
	out->n++;
	g->name = arena_c(l->arena, name);
	g->values.items = ARENA_ARRAY(l->arena, const char *, room);
	return &g->values;
}

/* `name: value` or `name: [values]`. */
static void fill_group(struct load *l, const struct option *o, const struct yaml_node *m,
	struct string_groups *out)
{
	struct given g = {.node = m, .place = m->place};
	struct strings *values;
	size_t n;

	if (m->key.n == 0 || m->null || m->kind == NODE_MAP || m->n > ITEMS_MAX ||
		(m->kind == NODE_LIST && m->n == 0)) {
		problem_add(l->errors, &m->place, key(l),
			"%.*s: must be a text or a list of at most %d", STR_ARG(m->key), ITEMS_MAX);
		return;
	}
	values = group_of(l, out, m->key, m->n + 1);
	n = enter(l, m->key);
	fill_strings(l, o, &g, values);
	leave(l, n);
}

/* "a=x,b=y,a=z" */
static void fill_groups_text(struct load *l, const struct option *o, const struct given *g,
	struct str rest, struct string_groups *out)
{
	size_t n = count_commas(rest) + 1;

	if (n > PAIRS_MAX) {
		problem_add(l->errors, &g->place, key(l), "at most %d of NAME=TEXT", PAIRS_MAX);
		return;
	}
	out->items = ARENA_ARRAY(l->arena, struct string_group, n);
	while (rest.n) {
		struct str value = str_cut(&rest, ','), name = str_trim(str_cut(&value, '='));
		if (!value.p || name.n == 0)
			problem_add(l->errors, &g->place, key(l),
				g->node ? "must be a map: {name: text} or {name: [texts]}"
					: "must be NAME=TEXT,...");
		else
			fill_item(l, o, g, str_trim(value), g->place, group_of(l, out, name, n));
	}
}

/* A text in the file is read as one on the command line is: `--input zeromq=a=x` comes here. */
static void fill_groups(
	struct load *l, const struct option *o, const struct given *g, struct string_groups *out)
{
	const struct yaml_node *node = g->node;

	*out = (struct string_groups){0};
	if (!node || node->kind == NODE_SCALAR) {
		if (!node || !node->null)
			fill_groups_text(l, o, g, node ? node->text : g->text, out);
		return;
	}
	if (node->kind != NODE_MAP || node->n > ITEMS_MAX) {
		problem_add(l->errors, &g->place, key(l),
			"must be a map of at most %d: {name: text} or {name: [texts]}", ITEMS_MAX);
		return;
	}
	out->items = ARENA_ARRAY(l->arena, struct string_group, node->n + 1);
	for (const struct yaml_node *m = node->first; m; m = m->next)
		fill_group(l, o, m, out);
}

static void put_names(struct buf *out, const char *const *names)
{
	for (size_t i = 0; names && names[i]; i++)
		buf_printf(out, "%s%s", i ? ", " : "", names[i]);
}

static void no_such_kind(struct load *l, const struct kind_class *class,
	const struct yaml_node *entry, const struct error *e)
{
	const char *const *names = class->names ? class->names() : NULL;
	struct buf hint = {0};

	nearest_put(&hint, entry->key, names);
	if (!hint.n && e->code != ERR_UNSUPPORTED && names) {
		buf_c(&hint, "; there are: ");
		put_names(&hint, names);
	}
	problem_add(l->errors, &entry->key_place, key(l), "%s%s", e->text, buf_cstr(&hint));
	buf_fini(&hint);
}

/* `kind: value` and `kind: [values]` are of the kind's first setting: as if written {name: value}.
 */
static const struct yaml_node *as_settings(
	struct load *l, const struct option *table, const struct yaml_node *entry)
{
	struct yaml_node *map, *value;

	if (entry->kind == NODE_MAP || entry->null || !table->name)
		return entry;
	value = ARENA_NEW(l->arena, struct yaml_node);
	*value = *entry;
	value->key = str_c(table->name);
	value->next = NULL;
	map = ARENA_NEW(l->arena, struct yaml_node);
	*map = (struct yaml_node){.kind = NODE_MAP, .place = entry->place, .first = value, .n = 1};
	return map;
}

/* `kind: {settings}`; false when it is none. */
static bool fill_kind(struct load *l, const struct kind_class *class, const struct yaml_node *entry,
	struct kind_entry *out)
{
	struct error e = {.text = "there is none of this name"};
	const void *type = class->find(entry->key, &e);
	size_t problems = l->errors->n, n;

	if (!type) {
		no_such_kind(l, class, entry, &e);
		return false;
	}
	*out = (struct kind_entry){.kind = arena_c(l->arena, entry->key),
		.type = type,
		.settings = arena_alloc(l->arena, class->size(type)),
		.line = entry->key_place.line};
	n = enter(l, entry->key);
	fill(l, class->options(type), out->settings, as_settings(l, class->options(type), entry),
		&entry->key_place);
	/* Rules between settings make no sense of what could not be read. */
	if (l->errors->n == problems && class->check && class->check(type, out->settings, &e) < 0)
		problem_add(l->errors, &entry->key_place, key(l), "%s", e.text);
	leave(l, n);
	return true;
}

static void fill_kinds(
	struct load *l, const struct option *o, const struct given *g, struct kinds *out)
{
	const struct yaml_node *node = g->node;
	bool overrides = l->overrides;

	*out = (struct kinds){0};
	if (!node) {
		if (g->text.n)
			problem_add(
				l->errors, &g->place, key(l), "can only be set in the config file");
		return;
	}
	if (node->null)
		return;
	if (node->kind != NODE_LIST || node->n > ITEMS_MAX) {
		problem_add(l->errors, &g->place, key(l), "must be a list: - %s: {settings}",
			o->kinds->noun);
		return;
	}
	l->overrides = false;
	out->items = ARENA_ARRAY(l->arena, struct kind_entry, node->n + 1);
	for (const struct yaml_node *m = node->first; m; m = m->next) {
		if (m->kind == NODE_SCALAR && !m->null)
			problem_add(l->errors, &m->place, key(l),
				"must be one %s with its settings: - %.*s: {}", o->kinds->noun,
				STR_ARG(str_sub(m->text, 0, 100)));
		else if (m->kind != NODE_MAP || m->n != 1)
			problem_add(l->errors, &m->place, key(l),
				"must be one %s with its settings: - kind: {settings}",
				o->kinds->noun);
		else if (fill_kind(l, o->kinds, m->first, &out->items[out->n]))
			out->n++;
	}
	l->overrides = overrides;
}

static void fill_list(
	struct load *l, const struct option *o, const struct given *g, struct objects *out)
{
	const struct yaml_node *node = g->node;
	bool overrides = l->overrides;

	*out = (struct objects){0};
	if (!node) {
		if (g->text.n)
			problem_add(
				l->errors, &g->place, key(l), "can only be set in the config file");
		return;
	}
	if (node->null)
		return;
	if (node->kind != NODE_LIST || node->n > ITEMS_MAX) {
		problem_add(l->errors, &g->place, key(l),
			"must be a list of at most %d maps: "
			"- {%s: …}",
			ITEMS_MAX, o->fields[0].name);
		return;
	}
	l->overrides = false;
	out->items = arena_alloc(l->arena, (node->n + 1) * o->size);
	for (const struct yaml_node *m = node->first; m; m = m->next) {
		if (m->kind != NODE_MAP)
			problem_add(l->errors, &m->place, key(l), "must be a map: {%s: …}",
				o->fields[0].name);
		else
			fill(l, o->fields, (char *)out->items + o->size * out->n++, m, &m->place);
	}
	l->overrides = overrides;
}

static void fill_single(struct load *l, const struct option *o, const struct given *g, void *field)
{
	struct str text = g->node ? g->node->text : g->text;
	struct error e;

	if (g->node && g->node->kind != NODE_SCALAR) {
		problem_add(l->errors, &g->place, key(l), "must be one value, not a %s",
			g->node->kind == NODE_LIST ? "list" : "map");
		return;
	}
	if (g->node && g->node->null) {
		problem_add(l->errors, &g->place, key(l), "has no value");
		return;
	}
	if (value_parse(o, text, field, l->arena, &e) < 0 || (o->check && o->check(text, &e) < 0))
		problem_add(l->errors, &g->place, key(l), "%s", e.text);
	else if (o->kind == OPT_PATH)
		*(const char **)field = absolute(l, g, *(const char **)field);
}

static void fill_field(
	struct load *l, const struct option *o, const struct given *g, void *settings)
{
	void *field = (char *)settings + o->offset;

	switch (o->kind) {
	case OPT_STRINGS:
	case OPT_PATHS:
	case OPT_LISTEN: fill_strings(l, o, g, field); break;
	case OPT_MAP: fill_map(l, g, field); break;
	case OPT_GROUPS: fill_groups(l, o, g, field); break;
	case OPT_LIST: fill_list(l, o, g, field); break;
	case OPT_KINDS: fill_kinds(l, o, g, field); break;
	default: fill_single(l, o, g, field); break;
	}
}

/* A flag may be written with dashes where the key has dots and underscores. */
static bool same_key(struct str flag, struct str name)
{
	if (flag.n != name.n)
		return false;
	for (size_t i = 0; i < flag.n; i++) {
		char a = flag.p[i] == '.' || flag.p[i] == '_' ? '-' : flag.p[i];
		char b = name.p[i] == '.' || name.p[i] == '_' ? '-' : name.p[i];
		if (a != b)
			return false;
	}
	return true;
}

static const char *flag_name(struct load *l, struct str name)
{
	char *flag = arena_printf(l->arena, "--%.*s", STR_ARG(name));

	for (char *c = flag; *c; c++)
		if (*c == '.' || *c == '_')
			*c = '-';
	return flag;
}

/* The last flag for the key at hand, as later ones win. */
static bool from_flags(struct load *l, struct given *out)
{
	bool found = false;

	for (size_t i = 0; l->overrides && l->src->flags && l->src->flags[i]; i++) {
		struct str text = str_c(l->src->flags[i]), name = str_cut(&text, '=');
		if (!text.p || !same_key(name, buf_view(&l->path)))
			continue;
		l->flag_used[i] = true;
		*out = (struct given){
			.text = text, .place = {.source = flag_name(l, name), .says_key = true}};
		found = true;
	}
	return found;
}

static bool from_environment(struct load *l, struct given *out)
{
	char *name = arena_printf(l->arena, "SAWLOG_%s", key(l));
	const char *value;

	if (!l->overrides || !l->src->environment)
		return false;
	for (char *c = name; *c; c++)
		*c = *c == '.' ? '_' : *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
	value = getenv(name);
	if (!value)
		return false;
	*out = (struct given){.text = str_c(value), .place = {.source = name, .says_key = true}};
	return true;
}

static void fill_object(struct load *l, const struct option *o, void *settings,
	const struct yaml_node *node, const struct place *parent)
{
	struct given g;

	if (from_flags(l, &g) || from_environment(l, &g))
		problem_add(
			l->errors, &g.place, NULL, "%s holds settings and is none itself", key(l));
	fill(l, o->fields, (char *)settings + o->offset, node, node ? &node->place : parent);
}

static void fill_row(struct load *l, const struct option *o, void *settings,
	const struct yaml_node *node, const struct place *parent)
{
	size_t n_listens = l->n_listens;
	struct given given, other;
	bool any = node != NULL;

	if (o->kind == OPT_OBJECT) {
		fill_object(l, o, settings, node, parent);
		return;
	}
	if (l->overrides) {
		buf_str(&l->names, buf_view(&l->path));
		buf_char(&l->names, 0);
	}
	if (node) {
		given = (struct given){.node = node, .place = node->place};
		fill_field(l, o, &given, settings);
	}
	if (from_flags(l, &other) || from_environment(l, &other)) {
		l->n_listens = n_listens;
		any = true;
		fill_field(l, o, &other, settings);
	}
	if (!any && o->fallback) {
		given = (struct given){.text = str_c(o->fallback),
			.place = {.source = "default"},
			.fallback = true};
		fill_field(l, o, &given, settings);
	} else if (!any && o->required) {
		problem_add(l->errors, parent, key(l), "is required");
	}
}

static bool is_known(const struct option *table, struct str name)
{
	for (; table->name; table++)
		if (str_eq_c(name, table->name))
			return true;
	return false;
}

static void unknown_key(struct load *l, const struct option *table, const struct yaml_node *member)
{
	const char *names[128];
	struct buf hint = {0};
	size_t n = 0;

	for (; table->name && n < 127; table++)
		names[n++] = table->name;
	names[n] = NULL;
	nearest_put(&hint, member->key, names);
	if (!hint.n && n) {
		buf_c(&hint, "; there are: ");
		put_names(&hint, names);
	} else if (!hint.n) {
		buf_c(&hint, ": there are none here");
	}
	size_t back = enter(l, member->key);
	problem_add(l->errors, &member->key_place, key(l), "unknown setting%s", buf_cstr(&hint));
	leave(l, back);
	buf_fini(&hint);
}

/* All rows of a table, out of `map` (NULL: nothing of it in the file). */
static void fill(struct load *l, const struct option *table, void *settings,
	const struct yaml_node *map, const struct place *parent)
{
	if (map && map->kind != NODE_MAP) {
		if (!map->null)
			problem_add(l->errors, &map->place, key(l), "must be a map of settings");
		map = NULL;
	}
	for (const struct yaml_node *m = map ? map->first : NULL; m; m = m->next)
		if (!is_known(table, m->key))
			unknown_key(l, table, m);
	for (const struct option *o = table; o->name; o++) {
		const struct yaml_node *node = map ? map->first : NULL;
		while (node && !str_eq_c(node->key, o->name))
			node = node->next;
		size_t n = enter(l, str_c(o->name));
		fill_row(l, o, settings, node, parent);
		leave(l, n);
	}
}

static void put_other(struct buf *out, const struct listen *other)
{
	if (other->fallback)
		buf_printf(out, "%s by default", other->key);
	else if (other->place.line)
		buf_printf(out, "%s on line %d", other->key, other->place.line);
	else
		buf_printf(out, "%s from %s", other->key, other->place.source);
}

/* The later one in the config is told, with the place of the earlier. */
static void check_listens(struct load *l)
{
	for (size_t i = 1; i < l->n_listens; i++)
		for (size_t k = 0; k < i; k++) {
			const struct listen *a = &l->listens[k], *b = &l->listens[i];
			struct buf other = {0};
			if (!listen_clash(a->text, b->text))
				continue;
			if (b->fallback ||
				(a->place.line && b->place.line && a->place.line > b->place.line)) {
				a = &l->listens[i];
				b = &l->listens[k];
			}
			put_other(&other, a);
			problem_add(l->errors, &b->place, b->key, "%s is already taken by %s",
				b->text, buf_cstr(&other));
			buf_fini(&other);
			break;
		}
}

/* Flags that no row asked for. */
static void check_flags(struct load *l)
{
	const char *names[512];
	size_t n = 0;

	for (size_t i = 0; i < l->names.n && n < 511; i += strlen(l->names.p + i) + 1)
		names[n++] = flag_name(l, str_c(l->names.p + i)) + 2;
	names[n] = NULL;
	for (size_t i = 0; l->src->flags && l->src->flags[i]; i++) {
		struct str text = str_c(l->src->flags[i]), name = str_cut(&text, '=');
		struct place at = {.source = flag_name(l, name)};
		struct buf hint = {0};
		if (l->flag_used[i])
			continue;
		nearest_put(&hint, str_c(at.source + 2), names);
		problem_add(l->errors, &at, NULL, "%s%s",
			text.p ? "unknown setting" : "needs a value: key=value", buf_cstr(&hint));
		buf_fini(&hint);
	}
}

/* A pipe can be read once; what came is kept, as `check` reads its file as two programs would. */
static int read_stdin(struct buf *out, struct error *e)
{
	static struct buf kept;
	ssize_t n;

	do {
		n = read(STDIN_FILENO, buf_reserve(&kept, 65536), 65536);
		if (n > 0)
			kept.n += (size_t)n;
	} while ((n > 0 && kept.n <= FILE_MAX) || (n < 0 && errno == EINTR));
	if (n < 0)
		return error_errno(e, errno, "standard input");
	buf_str(out, buf_view(&kept));
	return kept.n > FILE_MAX ? error_set(e, ERR_LIMIT, "the config is over 1 MiB") : 0;
}

static int read_text(const struct conf_source *src, struct buf *out, struct error *e)
{
	if (src->text.n > FILE_MAX)
		return error_set(e, ERR_LIMIT, "the config is over 1 MiB");
	if (src->text.p)
		buf_str(out, src->text);
	else if (src->file && strcmp(src->file, "-") == 0)
		return read_stdin(out, e);
	else if (src->file)
		return fs_read_all(fs_real(), src->file, FILE_MAX, out, e);
	return 0;
}

/* The folder of the file, and the current one, absolute. */
static void find_folders(struct load *l)
{
	const char *slash = l->src->file ? strrchr(l->src->file, '/') : NULL;
	char *here = getcwd(NULL, 0);
	struct str folder;

	l->here = arena_c(l->arena, str_c(here ? here : "."));
	free(here);
	l->folder = l->here;
	if (!slash)
		return;
	folder = str_make(l->src->file, (size_t)(slash - l->src->file));
	if (*l->src->file == '/')
		l->folder = arena_c(l->arena, folder);
	else
		l->folder = arena_printf(l->arena, "%s/%.*s", l->here, STR_ARG(folder));
}

int conf_load(void *settings, const struct option *table, const struct conf_source *src,
	struct arena *arena, struct conf_errors *errors)
{
	struct load *l = ARENA_NEW(arena, struct load);
	size_t problems = errors->n, n_flags = 0;
	struct place top = {.source = src->file && strcmp(src->file, "-") ? src->file : "config"};
	struct buf text = {0};
	struct error e;
	int r;

	if ((r = read_text(src, &text, &e)) < 0) {
		buf_printf(&errors->text, "%s\n", e.text);
		errors->n++;
		buf_fini(&text);
		return r;
	}
	while (src->flags && src->flags[n_flags])
		n_flags++;
	*l = (struct load){.src = src, .arena = arena, .errors = errors, .overrides = true};
	l->file = arena_c(arena, str_c(top.source));
	l->flag_used = ARENA_ARRAY(arena, bool, n_flags + 1);
	find_folders(l);
	top.source = l->file;
	fill(l, table, settings, yaml_read(buf_view(&text), l->file, arena, errors), &top);
	check_listens(l);
	check_flags(l);
	buf_fini(&text);
	buf_fini(&l->path);
	buf_fini(&l->names);
	return errors->n > problems ? ERR_ARG : 0;
}
