/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the file counts: `checklist file` and `python`, which the original
 * demands of every program, `logging` and `zmq`.  All else is for the workers and
 * is not looked at.  $ is no variable of sawlog's here: values may hold ${HOME}
 * for others.
 */
#include "nowcast/nowcast.h"

#include "nowcast/translation.h"

/* --- what the parts share ------------------------------------------------------------- */

const struct yaml_node *member(const struct yaml_node *map, const char *key)
{
	const struct yaml_node *m = map && map->kind == NODE_MAP ? map->first : NULL;

	for (; m; m = m->next)
		if (str_eq_c(m->key, key))
			return m->kind == NODE_SCALAR && m->null ? NULL : m;
	return NULL;
}

struct str scalar(struct translation *t, const struct yaml_node *node, const char *key)
{
	if (node->kind == NODE_SCALAR && !node->null)
		return node->text;
	problem_add(t->errors, &node->place, key, "%.*s must be a text", STR_ARG(node->key));
	return STR_NONE;
}

bool truth(const struct yaml_node *node, bool absent)
{
	static const char *const words[] = {"true", "yes", "on", "1"};

	if (!node || node->kind != NODE_SCALAR)
		return absent;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (str_eq_nocase(node->text, str_c(words[i])))
			return true;
	return false;
}

void note(struct translation *t, const struct place *at, const char *fmt, ...)
{
	struct nowcast *out = t->out;
	struct buf text = {0};
	va_list ap;

	if (out->n_notes == NOTES_MAX)
		return;
	buf_printf(&text, "%s:%d:%d: ", at->source, at->line, at->column);
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] < ' ')
			text.p[i] = ' ';
	out->notes[out->n_notes++] = arena_c(t->arena, buf_view(&text));
	buf_fini(&text);
}

/* \w; what is not ASCII is taken as letters, as Python has it for nearly all. */
static bool is_word(char c)
{
	char low = (char)(c | 0x20);

	return (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || c == '_' || (c & 0x80);
}

static size_t word_length(struct str s)
{
	size_t n = 0;

	while (n < s.n && is_word(s.p[n]))
		n++;
	return n;
}

/* \$\(NOWCAST\.ENV\.(\w*)\)\w*: letters behind the closing parenthesis go with it. */
struct str substitute(struct translation *t, const struct yaml_node *node, const char *key)
{
	static const struct str open = STR_INIT("$(NOWCAST.ENV.");
	struct str rest = scalar(t, node, key), done = rest, name;
	struct buf out = {0};
	ptrdiff_t at;

	while ((at = str_find(rest, open)) >= 0) {
		struct str behind = str_sub(rest, (size_t)at + open.n, rest.n);
		const char *value;
		name = str_sub(behind, 0, word_length(behind));
		behind = str_sub(behind, name.n, behind.n);
		buf_str(&out, str_sub(rest, 0, (size_t)at));
		if (behind.n == 0 || behind.p[0] != ')') {
			buf_str(&out, open);
			rest = str_sub(rest, (size_t)at + open.n, rest.n);
			continue;
		}
		value = t->options->env(t->options->env_arg, arena_c(t->arena, name));
		if (!value)
			problem_add(t->errors, &node->place, key,
				"environment variable not set: %.*s", STR_ARG(name));
		else if (str_utf8_valid(str_c(value)) < strlen(value))
			problem_add(t->errors, &node->place, key,
				"the environment variable %.*s is not UTF-8", STR_ARG(name));
		else
			buf_c(&out, value);
		behind = str_sub(behind, 1, behind.n);
		rest = str_sub(behind, word_length(behind), behind.n);
	}
	if (out.n || rest.p != done.p) {
		buf_str(&out, rest);
		done = arena_str(t->arena, buf_view(&out));
	}
	buf_fini(&out);
	return done;
}

/* --- the whole ------------------------------------------------------------------------ */

static const struct yaml_node *required(
	struct translation *t, const struct yaml_node *root, const char *key)
{
	const struct yaml_node *node = member(root, key);

	if (!node)
		problem_add(t->errors, &root->place, key,
			"missing: a NEMO_Nowcast configuration has it at its top");
	return node;
}

static void read_logging(
	struct translation *t, const struct yaml_node *logging, struct handlers *handlers)
{
	const struct yaml_node *aggregator = member(logging, "aggregator");
	const struct yaml_node *publisher = member(logging, "publisher");

	if (logging->kind != NODE_MAP) {
		problem_add(t->errors, &logging->place, "logging",
			"must be a map with `aggregator` and `publisher`");
	} else if (aggregator) {
		handlers_check_variables(t, publisher, "logging.publisher");
		handlers_read(t, aggregator, "logging.aggregator", handlers);
	} else if (publisher) {
		problem_add(t->errors, &logging->place, "logging.aggregator",
			"missing: it says what is written where");
	} else {
		handlers_read(t, logging, "logging", handlers);
	}
}

static int read_all(struct translation *t, const struct yaml_node *root)
{
	struct handlers handlers = {0};
	const struct yaml_node *node;
	struct buf text = {0};

	if (root->kind != NODE_MAP) {
		problem_add(t->errors, &root->place, NULL, "must be names with their values");
		return ERR_ARG;
	}
	if ((node = required(t, root, "checklist file")))
		substitute(t, node, "checklist file");
	if ((node = required(t, root, "python")))
		substitute(t, node, "python");
	if ((node = required(t, root, "logging")))
		read_logging(t, node, &handlers);
	ports_read(t, member(root, "zmq"), &root->place);
	if (t->errors->n)
		return ERR_ARG;
	emit(t, &handlers, &text);
	t->out->n_outputs = handlers.n;
	t->out->yaml = arena_str(t->arena, buf_view(&text));
	buf_fini(&text);
	return 0;
}

int nowcast_translate(struct nowcast *out, struct str text, const char *file,
	const struct nowcast_options *o, struct arena *arena, struct conf_errors *errors)
{
	struct translation t = {.options = o, .arena = arena, .errors = errors, .out = out};
	struct place place = {.source = file};
	const struct yaml_node *root;

	*out = (struct nowcast){.notes = ARENA_ARRAY(arena, const char *, NOTES_MAX)};
	root = yaml_read_foreign(text, file, arena, errors);
	if (!root && !errors->n)
		problem_add(errors, &place, NULL, "the file is empty");
	if (!root || errors->n)
		return ERR_ARG;
	return read_all(&t, root);
}
