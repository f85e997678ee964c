/* SPDX-License-Identifier: Apache-2.0 */
/* formatters of a dictConfig dictionary, in the three styles of Python's logging.Formatter. */
#include "nowcast/translation.h"

static const char *const formatter_keys[] = {
	"format", "datefmt", "style", "validate", "class", NULL};

static bool is_word(char c, bool first)
{
	char low = (char)(c | 0x20);

	return (low >= 'a' && low <= 'z') || c == '_' || (!first && c >= '0' && c <= '9');
}

/* string.Template to str.format: $name and ${name} are {name}, $$ is $; braces are doubled. */
static bool dollars_to_braces(struct str s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		size_t from, to;
		if (s.p[i] == '{' || s.p[i] == '}') {
			buf_char(out, s.p[i]);
			buf_char(out, s.p[i]);
			continue;
		}
		if (s.p[i] != '$') {
			buf_char(out, s.p[i]);
			continue;
		}
		if (i + 1 < s.n && s.p[i + 1] == '$') {
			buf_char(out, '$');
			i++;
			continue;
		}
		from = to = i + 1 + (i + 1 < s.n && s.p[i + 1] == '{');
		while (to < s.n && is_word(s.p[to], to == from))
			to++;
		if (to == from || (from == i + 2 && (to == s.n || s.p[to] != '}')))
			return false;
		buf_printf(out, "{%.*s}", STR_ARG(str_sub(s, from, to)));
		i = from == i + 2 ? to : to - 1;
	}
	return true;
}

static void read_style(struct translation *t, const struct yaml_node *node, const char *key,
	struct str format, struct handler *h)
{
	struct buf braces = {0};

	if (str_eq_c(node->text, "%") || str_eq_c(node->text, "{")) {
		h->style = node->text.p[0];
	} else if (!str_eq_c(node->text, "$")) {
		problem_add(t->errors, &node->place, key, "style must be one of %%, {, $");
	} else if (!dollars_to_braces(format, &braces)) {
		problem_add(t->errors, &node->place, key,
			"a $ of the format is no placeholder; write $$ for a literal $");
	} else {
		h->style = '{';
		h->format = arena_str(t->arena, buf_view(&braces));
	}
	buf_fini(&braces);
}

/* A class of the user's own would have to be run; Python's own is what we are. */
static bool is_ours(struct translation *t, const struct yaml_node *f, const char *key)
{
	const struct yaml_node *class = member(f, "class"), *factory = member(f, "()");

	if (!factory && (!class || str_eq_c(class->text, "logging.Formatter")))
		return true;
	problem_add(t->errors, factory ? &factory->place : &class->place, key,
		"%.*s is a formatter of its own: sawlog runs no Python; give it a `format`",
		STR_ARG(factory ? factory->text : class->text));
	return false;
}

static void read_formatter(
	struct translation *t, const struct yaml_node *f, const char *key, struct handler *h)
{
	const struct yaml_node *format, *datefmt, *style;

	if (f->kind != NODE_MAP) {
		problem_add(t->errors, &f->place, key, "must be a map with a `format`");
		return;
	}
	if (!is_ours(t, f, key))
		return;
	for (const struct yaml_node *m = f->first; m; m = m->next) {
		struct buf near = {0};
		bool known = false;
		for (const char *const *k = formatter_keys; *k && !known; k++)
			known = str_eq_c(m->key, *k);
		nearest_put(&near, m->key, formatter_keys);
		if (!known)
			note(t, &m->key_place, "%s: %.*s is not known and has no effect%.*s", key,
				STR_ARG(m->key), STR_ARG(buf_view(&near)));
		buf_fini(&near);
	}
	if ((format = member(f, "format")))
		h->format = scalar(t, format, key);
	if ((datefmt = member(f, "datefmt")))
		h->datefmt = scalar(t, datefmt, key);
	if ((style = member(f, "style")))
		read_style(t, style, key, h->format, h);
}

void formatter_read(struct translation *t, const struct yaml_node *config,
	const struct yaml_node *handler, const char *key, struct handler *h)
{
	const struct yaml_node *name = member(handler, "formatter"), *f;
	const struct yaml_node *all = member(config, "formatters");
	const char *where;

	h->style = '%';
	if (!name)
		return;
	for (f = all && all->kind == NODE_MAP ? all->first : NULL; f; f = f->next)
		if (str_eq(f->key, name->text))
			break;
	where = arena_printf(t->arena, "%s.formatter", key);
	if (!f)
		problem_add(t->errors, &name->place, where, "there is no formatter \"%.*s\"",
			STR_ARG(name->text));
	else
		read_formatter(t, f, arena_printf(t->arena, "formatters.%.*s", STR_ARG(f->key)), h);
}
