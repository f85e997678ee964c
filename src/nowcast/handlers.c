/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dictConfig dictionary of the aggregator: which handlers get what comes in,
 * and what each of them is here.
 *
 * The aggregator logs everything by one logger, LOGGER, which inherits from root;
 * so what counts is root, and LOGGER where `loggers` has it.  Handlers that
 * neither names get nothing in the original, and are no outputs here.
 *
 * Refused is what would need Python (classes and filters of one's own) or would
 * lose records silently; passed over with a note is what has no meaning here.
 */
#include "nowcast/translation.h"

#define LOGGER "log_aggregator"

enum { LEVEL_WARNING = 30 };

static const char *const common_keys[] = {"class", "level", "formatter", "filters", NULL};

int level_read(struct translation *t, const struct yaml_node *node, const char *key)
{
	static const struct {
		const char *name;
		int level;
	} names[] = {{"NOTSET", 0}, {"DEBUG", 10}, {"INFO", 20}, {"WARNING", 30}, {"WARN", 30},
		{"ERROR", 40}, {"CRITICAL", 50}, {"FATAL", 50}};
	static const char *const words[] = {
		"NOTSET", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", NULL};
	struct str text = node->kind == NODE_SCALAR ? node->text : STR_NONE;
	struct buf near = {0};
	int64_t number;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq_c(text, names[i].name))
			return names[i].level;
	if (str_i64(text, &number) && number >= 0 && number <= 1000000)
		return (int)number;
	nearest_put(&near, text, words);
	problem_add(t->errors, &node->place, key,
		"unknown level \"%.*s\": DEBUG, INFO, WARNING, ERROR, CRITICAL or a number%.*s",
		STR_ARG(text), STR_ARG(buf_view(&near)));
	buf_fini(&near);
	return -1;
}

/* False after a problem. */
static bool no_filters(struct translation *t, const struct yaml_node *node, const char *key)
{
	const struct yaml_node *filters = member(node, "filters");

	if (!filters || (filters->kind != NODE_SCALAR && !filters->first))
		return true;
	problem_add(t->errors, &filters->place, key,
		"filters are Python code, which sawlog does not run: take them out and narrow the "
		"output's `match` in a sawlog.yaml of your own (sawlog nowcast --print)");
	return false;
}

/* --- handlers ------------------------------------------------------------------------- */

/* An output's name is a folder's; what is no letter of one becomes '-'. */
static struct str name_of(struct translation *t, const struct handlers *all, struct str name)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
	struct str plain = arena_str(t->arena, str_sub(name, 0, 56));
	char *p = (char *)plain.p;

	if (plain.n == 0)
		return str_c(arena_printf(t->arena, "handler-%zu", all->n + 1));
	for (size_t i = 0; i < plain.n; i++)
		if (!p[i] || !strchr(letters, p[i]) || (i == 0 && p[i] == '.'))
			p[i] = '-';
	for (size_t i = 0; i < all->n; i++)
		if (str_eq(all->items[i].name, plain))
			return str_c(
				arena_printf(t->arena, "%.*s-%zu", STR_ARG(plain), all->n + 1));
	return plain;
}

static void check_keys(struct translation *t, const struct yaml_node *node, const char *key,
	const struct handler_class *class)
{
	struct buf near = {0};

	for (const struct yaml_node *m = node->first; m && class->keys; m = m->next) {
		bool known = false;
		for (size_t i = 0; common_keys[i] && !known; i++)
			known = str_eq_c(m->key, common_keys[i]);
		for (size_t i = 0; class->keys[i] && !known; i++)
			known = str_eq_c(m->key, class->keys[i]);
		if (known)
			continue;
		buf_clear(&near);
		nearest_put(&near, m->key, class->keys);
		problem_add(t->errors, &m->key_place, key, "%s has no argument %.*s%.*s",
			class->name, STR_ARG(m->key), STR_ARG(buf_view(&near)));
	}
	buf_fini(&near);
}

static const struct handler_class *class_of(
	struct translation *t, const struct yaml_node *node, const char *key)
{
	const struct yaml_node *class = member(node, "class"), *factory = member(node, "()");
	const struct handler_class *found;

	if (factory)
		class = factory;
	else if (class && (found = handler_class_find(class->text)))
		return found;
	if (!class)
		problem_add(t->errors, &node->place, key, "class is missing");
	else
		problem_add(t->errors, &class->place, key,
			"sawlog has no handler %.*s, and runs no Python: take it out of the "
			"aggregator's handlers, or start with --without %.*s",
			STR_ARG(class->text), STR_ARG(node->key));
	return NULL;
}

/* Who moves the file, and which of them is behind, could not be told apart. */
static void check_same_file(
	struct translation *t, const char *key, const struct handlers *all, const struct handler *h)
{
	for (size_t i = 0; i < all->n && h->kind == HANDLER_FILE; i++)
		if (h->path.n && str_eq(all->items[i].path, h->path))
			problem_add(t->errors, &h->place, key,
				"writes to the file of another handler, on line %d: give one of them "
				"a file of its own",
				all->items[i].place.line);
}

static void read_handler(struct translation *t, const struct yaml_node *config,
	const struct yaml_node *node, const char *key, struct handlers *out)
{
	const struct handler_class *class = class_of(t, node, key);
	const struct yaml_node *level = member(node, "level");
	struct handler h = {.place = node->place};

	if (!class || !no_filters(t, node, key))
		return;
	check_keys(t, node, key, class);
	h.kind = class->kind;
	h.name = name_of(t, out, node->key);
	if (level)
		h.level = level_read(t, level, arena_printf(t->arena, "%s.level", key));
	formatter_read(t, config, node, key, &h);
	if (class->read)
		class->read(t, node, key, &h);
	check_same_file(t, key, out, &h);
	if (h.kind != HANDLER_NONE)
		out->items[out->n++] = h;
}

static bool left_out(const struct translation *t, struct str name)
{
	const char *const *w = t->options->without;

	for (; w && *w; w++)
		if (str_eq_c(name, *w))
			return true;
	return false;
}

/* Handlers that a logger has named already. */
struct seen {
	const struct yaml_node *handlers[HANDLERS_MAX];
	size_t n;
};

/* The handlers that a logger names. */
static void attach(struct translation *t, const struct yaml_node *config,
	const struct yaml_node *logger, const char *key, struct seen *seen, struct handlers *out)
{
	const struct yaml_node *names = member(logger, "handlers");
	const struct yaml_node *all = member(config, "handlers"), *h;

	for (const struct yaml_node *n = names && names->kind == NODE_LIST ? names->first : NULL; n;
		n = n->next) {
		bool known = false;
		if (left_out(t, n->text))
			continue;
		for (h = all && all->kind == NODE_MAP ? all->first : NULL; h; h = h->next)
			if (n->kind == NODE_SCALAR && str_eq(h->key, n->text))
				break;
		if (!h) {
			problem_add(t->errors, &n->place, key, "there is no handler \"%.*s\"",
				STR_ARG(n->text));
			continue;
		}
		for (size_t i = 0; i < seen->n && !known; i++)
			known = seen->handlers[i] == h;
		if (known)
			continue;
		if (seen->n == HANDLERS_MAX) {
			problem_add(
				t->errors, &n->place, key, "more than %d handlers", HANDLERS_MAX);
			return;
		}
		seen->handlers[seen->n++] = h;
		read_handler(t, config, h, arena_printf(t->arena, "handlers.%.*s", STR_ARG(h->key)),
			out);
	}
}

static void check_version(struct translation *t, const struct yaml_node *config, const char *key)
{
	const struct yaml_node *version = member(config, "version");
	const struct yaml_node *incremental = member(config, "incremental");

	if (!version)
		problem_add(t->errors, &config->place, key, "version is missing: write version: 1");
	else if (!str_eq_c(version->text, "1"))
		problem_add(t->errors, &version->place, key, "version must be 1");
	if (truth(incremental, false))
		problem_add(t->errors, &incremental->place, key,
			"incremental changes loggers that are there already: here are none");
}

static void check_left_out(struct translation *t, const struct yaml_node *config)
{
	const struct yaml_node *all = member(config, "handlers");
	const char *const *w = t->options->without;

	for (; w && *w; w++) {
		const struct yaml_node *h = all && all->kind == NODE_MAP ? all->first : NULL;
		while (h && !str_eq_c(h->key, *w))
			h = h->next;
		if (!h)
			problem_add(t->errors, &config->place, "--without",
				"there is no handler \"%s\"", *w);
	}
}

void handlers_read(struct translation *t, const struct yaml_node *config, const char *key,
	struct handlers *out)
{
	const struct yaml_node *root = member(config, "root"), *loggers = member(config, "loggers");
	const struct yaml_node *own = member(loggers, LOGGER), *level;
	struct seen seen = {.n = 0};

	*out = (struct handlers){.items = ARENA_ARRAY(t->arena, struct handler, HANDLERS_MAX),
		.level = LEVEL_WARNING};
	t->out->secrets = ARENA_ARRAY(t->arena, struct nowcast_secret, HANDLERS_MAX);
	check_version(t, config, key);
	check_left_out(t, config);
	if ((level = member(root, "level")))
		out->level = level_read(t, level, arena_printf(t->arena, "%s.root.level", key));
	if ((level = member(own, "level")) && !str_eq_c(level->text, "NOTSET"))
		out->level = level_read(
			t, level, arena_printf(t->arena, "%s.loggers." LOGGER ".level", key));
	no_filters(t, root, arena_printf(t->arena, "%s.root", key));
	no_filters(t, own, arena_printf(t->arena, "%s.loggers." LOGGER, key));
	attach(t, config, own, arena_printf(t->arena, "%s.loggers." LOGGER ".handlers", key), &seen,
		out);
	if (truth(member(own, "propagate"), true))
		attach(t, config, root, arena_printf(t->arena, "%s.root.handlers", key), &seen,
			out);
	if (out->n == 0)
		note(t, &config->place,
			"%s: no handler gets what comes in: it is stored, and nothing is written",
			key);
}

void handlers_check_variables(
	struct translation *t, const struct yaml_node *config, const char *key)
{
	const struct yaml_node *all = member(config, "handlers"), *filename;

	for (const struct yaml_node *h = all && all->kind == NODE_MAP ? all->first : NULL; h;
		h = h->next)
		if ((filename = member(h, "filename")))
			substitute(t, filename,
				arena_printf(t->arena, "%s.handlers.%.*s.filename", key,
					STR_ARG(h->key)));
}
