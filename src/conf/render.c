/* SPDX-License-Identifier: Apache-2.0 */
/* Option tables for people: --help, the manual page, and the settings in force as YAML. */
#include <ctype.h>
#include <string.h>

#include "conf/option.h"
#include "conf/roff.h"
#include "conf/value.h"

enum { HELP_WIDTH = 88, HELP_INDENT = 8 };

/* A row for each leaf: called with its dotted name. */
typedef void row_function(const struct option *o, const char *name, struct buf *out);
/* A heading for each kind of an OPT_KINDS. */
typedef void kind_function(const char *list, const char *noun, const char *kind, struct buf *out);

static void each_row(
	const struct option *table, struct buf *prefix, row_function *row, struct buf *out)
{
	for (; table->name; table++) {
		size_t n = prefix->n;
		buf_printf(prefix, "%s%s", n ? "." : "", table->name);
		if (table->kind == OPT_OBJECT)
			each_row(table->fields, prefix, row, out);
		else
			row(table, buf_cstr(prefix), out);
		if (table->kind == OPT_LIST)
			each_row(table->fields, prefix, row, out);
		prefix->n = n;
	}
}

/* The settings of each kind of the OPT_KINDS that is called `list`. */
static void each_of(const struct kind_class *class, const char *list, kind_function *kind,
	row_function *row, struct buf *out)
{
	for (const char *const *names = class->names ? class->names() : NULL; names && *names;
		names++) {
		const void *type = class->find(str_c(*names), NULL);
		struct buf prefix = {0};

		if (!type)
			continue; /* not in this build */
		kind(list, class->noun, *names, out);
		each_row(class->options(type), &prefix, row, out);
		buf_fini(&prefix);
	}
}

/* Those of each OPT_KINDS, under a heading of their own. */
static void each_kind(const struct option *table, struct buf *prefix, kind_function *kind,
	row_function *row, struct buf *out)
{
	for (; table->name; table++) {
		size_t n = prefix->n;

		buf_printf(prefix, "%s%s", n ? "." : "", table->name);
		if (table->kind == OPT_OBJECT)
			each_kind(table->fields, prefix, kind, row, out);
		else if (table->kind == OPT_KINDS)
			each_of(table->kinds, buf_cstr(prefix), kind, row, out);
		prefix->n = n;
	}
}

/* `text` in lines of at most HELP_WIDTH, indented. */
static void put_wrapped(struct buf *out, struct str text)
{
	while (text.n) {
		size_t width = HELP_WIDTH - HELP_INDENT, n = text.n;
		if (n > width) {
			for (n = width; n > 0 && text.p[n] != ' '; n--)
				;
			if (n == 0)
				n = width;
		}
		buf_printf(out, "%*s%.*s\n", HELP_INDENT, "", STR_ARG(str_sub(text, 0, n)));
		text = str_sub(text, n, text.n);
		while (text.n && *text.p == ' ')
			text = str_sub(text, 1, text.n);
	}
}

/* "Default: 64KiB." and bounds and words: what the row itself knows. */
static void put_facts(const struct option *o, struct buf *out)
{
	/* A bound that is the type's own says nothing. */
	int64_t low = o->min, high = o->max == INT64_MAX ? 0 : o->max;

	if (o->kind == OPT_ENUM) {
		buf_c(out, " One of ");
		for (size_t i = 0; o->values[i]; i++)
			buf_printf(out, "%s%s", i ? ", " : "", o->values[i]);
		buf_char(out, '.');
	}
	if (low || high) {
		buf_c(out, high ? " From " : " At least ");
		value_put(o, &low, out);
		if (high) {
			buf_c(out, " to ");
			value_put(o, &high, out);
		}
		buf_char(out, '.');
	}
	if (o->fallback && *o->fallback)
		/* A sign alone would look like one of the sentence; quoted as YAML has it. */
		buf_printf(out,
			!ispunct((unsigned char)*o->fallback) ? " Default: %s."
			: strchr(o->fallback, '"')            ? " Default: '%s'."
							      : " Default: \"%s\".",
			o->fallback);
	if (o->required)
		buf_c(out, " Required.");
}

static void help_row(const struct option *o, const char *name, struct buf *out)
{
	struct buf text = {0};

	buf_c(out, "  --");
	for (const char *c = name; *c; c++)
		buf_char(out, *c == '.' || *c == '_' ? '-' : *c);
	if (*value_word(o->kind))
		buf_printf(out, " %s", value_word(o->kind));
	buf_char(out, '\n');
	buf_c(&text, o->help ? o->help : "");
	put_facts(o, &text);
	put_wrapped(out, str_trim(buf_view(&text)));
	buf_fini(&text);
}

static void config_row(const struct option *o, const char *name, struct buf *out)
{
	struct buf text = {0};

	buf_printf(out, "  %s: %s\n", name, value_word(o->kind));
	buf_c(&text, o->help ? o->help : "");
	put_facts(o, &text);
	put_wrapped(out, str_trim(buf_view(&text)));
	buf_fini(&text);
}

static void help_kind(const char *list, const char *noun, const char *kind, struct buf *out)
{
	buf_printf(out, "\n%s, %s %s (in the config file):\n", list, noun, kind);
}

/* What only the file can hold is no flag. */
static void help_flag_row(const struct option *o, const char *name, struct buf *out)
{
	if (o->kind != OPT_KINDS && o->kind != OPT_LIST)
		help_row(o, name, out);
}

void conf_help_flags(const struct option *table, struct buf *out)
{
	struct buf prefix = {0};

	each_row(table, &prefix, help_flag_row, out);
	buf_fini(&prefix);
}

void conf_help(const struct option *table, struct buf *out)
{
	struct buf prefix = {0};

	conf_help_flags(table, out);
	each_kind(table, &prefix, help_kind, config_row, out);
	buf_fini(&prefix);
}

static void manual_row(const struct option *o, const char *name, struct buf *out)
{
	struct buf text = {0};

	buf_c(out, ".TP\n\\fB");
	roff_put(out, str_c(name));
	buf_c(out, "\\fR");
	if (*value_word(o->kind)) {
		buf_c(out, " \\fI");
		roff_put(out, str_c(value_word(o->kind)));
		buf_c(out, "\\fR");
	}
	buf_char(out, '\n');
	buf_c(&text, o->help ? o->help : "");
	put_facts(o, &text);
	roff_put(out, str_trim(buf_view(&text)));
	buf_char(out, '\n');
	buf_fini(&text);
}

static void manual_kind(const char *list, const char *noun, const char *kind, struct buf *out)
{
	(void)noun;
	buf_c(out, ".SS ");
	roff_put(out, str_c(list));
	buf_c(out, ": ");
	roff_put(out, str_c(kind));
	buf_char(out, '\n');
}

void conf_manual(const struct option *table, struct buf *out)
{
	struct buf prefix = {0};

	each_row(table, &prefix, manual_row, out);
	each_kind(table, &prefix, manual_kind, manual_row, out);
	buf_fini(&prefix);
}

static bool is_plain(struct str s)
{
	static const char safe[] = "./_-+%@=~";

	for (size_t i = 0; i < s.n; i++) {
		char low = (char)(s.p[i] | 0x20);
		bool word = (low >= 'a' && low <= 'z') || s.p[i] == '/' || s.p[i] == '_' ||
			    (s.p[i] >= '0' && s.p[i] <= '9');
		/* A colon is plain before more text, but not at the start. */
		if (!word && !(i && strchr(safe, s.p[i])) &&
			!(i && s.p[i] == ':' && i + 1 < s.n && s.p[i + 1] != ' '))
			return false;
	}
	return s.n > 0 && !str_eq(s, STR("null"));
}

/* A JSON string is a YAML one but for the characters that YAML calls not printable (YAML 1.1,
 * section 4.1.1): DEL, C1 controls, the byte order mark, U+FFFE and U+FFFF are escaped. */
static void put_quoted(struct buf *out, struct str text)
{
	struct buf json = {0};
	const unsigned char *p;

	buf_json(&json, text);
	p = (const unsigned char *)json.p;
	for (size_t i = 0; i < json.n; i++) {
		if (p[i] == 0x7f) {
			buf_c(out, "\\u007f");
		} else if (p[i] == 0xc2 && p[i + 1] < 0xa0) {
			buf_printf(out, "\\u%04x", p[++i]);
		} else if (p[i] == 0xef && ((p[i + 1] == 0xbb && p[i + 2] == 0xbf) ||
						   (p[i + 1] == 0xbf && p[i + 2] >= 0xbe))) {
			buf_printf(out, "\\u%04x",
				0xf000u | (p[i + 1] & 0x3fu) << 6 | (p[i + 2] & 0x3fu));
			i += 2;
		} else {
			buf_char(out, (char)p[i]);
		}
	}
	buf_fini(&json);
}

/* A text as a YAML scalar that reads back as the same: `$` would start a variable. */
static void put_scalar(struct buf *out, const char *text)
{
	struct buf escaped = {0};
	struct str s = str_c(text);

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '$' && i + 1 < s.n && (s.p[i + 1] == '{' || s.p[i + 1] == '$'))
			buf_char(&escaped, '$');
		buf_char(&escaped, s.p[i]);
	}
	if (is_plain(buf_view(&escaped)))
		buf_str(out, buf_view(&escaped));
	else
		put_quoted(out, buf_view(&escaped));
	buf_fini(&escaped);
}

static void put_object(
	const void *settings, const struct option *table, unsigned depth, struct buf *out);

static void put_list(const struct strings *list, bool secret, struct buf *out)
{
	buf_char(out, '[');
	for (size_t i = 0; i < list->n; i++) {
		buf_c(out, i ? ", " : "");
		put_scalar(out, secret ? "***" : list->items[i]);
	}
	buf_char(out, ']');
}

static void put_map(const struct string_map *map, bool secret, struct buf *out)
{
	buf_char(out, '{');
	for (size_t i = 0; i < map->n; i++) {
		buf_c(out, i ? ", " : "");
		put_scalar(out, map->items[i].name);
		buf_c(out, ": ");
		put_scalar(out, secret ? "***" : map->items[i].value);
	}
	buf_char(out, '}');
}

static void put_groups(const struct string_groups *groups, bool secret, struct buf *out)
{
	buf_char(out, '{');
	for (size_t i = 0; i < groups->n; i++) {
		buf_c(out, i ? ", " : "");
		put_scalar(out, groups->items[i].name);
		buf_c(out, ": ");
		put_list(&groups->items[i].values, secret, out);
	}
	buf_char(out, '}');
}

static void put_kinds(
	const struct option *o, const struct kinds *kinds, unsigned depth, struct buf *out)
{
	if (kinds->n == 0)
		buf_c(out, " []");
	buf_char(out, '\n');
	for (size_t i = 0; i < kinds->n; i++) {
		const struct kind_entry *entry = &kinds->items[i];
		buf_printf(out, "%*s- %s:", (int)depth * 2, "", entry->kind);
		if (o->kinds->options(entry->type)->name) {
			buf_char(out, '\n');
			put_object(entry->settings, o->kinds->options(entry->type), depth + 2, out);
		} else {
			buf_c(out, " {}\n");
		}
	}
}

static void put_objects(
	const struct option *o, const struct objects *list, unsigned depth, struct buf *out)
{
	if (list->n == 0)
		buf_c(out, " []");
	buf_char(out, '\n');
	for (size_t i = 0; i < list->n; i++) {
		buf_printf(out, "%*s-\n", (int)depth * 2, "");
		put_object((const char *)list->items + o->size * i, o->fields, depth + 1, out);
	}
}

static void put_field(const void *field, const struct option *o, unsigned depth, struct buf *out)
{
	switch (o->kind) {
	case OPT_OBJECT:
		buf_char(out, '\n');
		put_object(field, o->fields, depth + 1, out);
		return;
	case OPT_LIST: put_objects(o, field, depth + 1, out); return;
	case OPT_KINDS: put_kinds(o, field, depth + 1, out); return;
	case OPT_STRINGS:
	case OPT_PATHS:
	case OPT_LISTEN:
		buf_char(out, ' ');
		put_list(field, o->secret, out);
		break;
	case OPT_MAP:
		buf_char(out, ' ');
		put_map(field, o->secret, out);
		break;
	case OPT_GROUPS:
		buf_char(out, ' ');
		put_groups(field, o->secret, out);
		break;
	case OPT_STRING:
	case OPT_PATH:
		buf_char(out, ' ');
		put_scalar(out, o->secret ? "***" : *(const char *const *)field);
		break;
	default:
		buf_char(out, ' ');
		value_put(o, field, out);
		break;
	}
	buf_char(out, '\n');
}

static void put_object(
	const void *settings, const struct option *table, unsigned depth, struct buf *out)
{
	for (; table->name; table++) {
		const void *field = (const char *)settings + table->offset;
		bool text = table->kind == OPT_STRING || table->kind == OPT_PATH;
		if (text && !*(const char *const *)field)
			continue; /* absent: there is no way to write it */
		buf_printf(out, "%*s%s:", (int)depth * 2, "", table->name);
		put_field(field, table, depth, out);
	}
}

void conf_effective(const void *settings, const struct option *table, struct buf *out)
{
	put_object(settings, table, 0, out);
}
