/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cells are kept as text until all are known, since only then widths are.
 * Log text in them is made harmless like the lines of `query` are.
 */
#include "cli/table.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "codec/rune.h"

enum { KIND_CELL = 1, KIND_LEVEL, KIND_NOTE, NOTE_MAX = 1000 };

static const char *const formats[] = {"default", "json", "jsonl", NULL};
static const char *const colours[] = {"auto", "always", "never", NULL};

static const struct flag flags_of_table[] = {
	{.name = "output",
		.letter = 'o',
		.kind = FLAG_CHOICE,
		.choices = formats,
		.fallback = "default",
		.help = "default: a table; json: one array; jsonl: one object a line."},
	{.name = "color",
		.aliases = "colour",
		.kind = FLAG_CHOICE,
		.choices = colours,
		.env = "SAWLOG_COLOR",
		.fallback = "auto",
		.help = "auto: on a terminal, unless NO_COLOR is set or TERM is dumb."},
	FLAG_END,
};

const struct flag_group table_flags = {"Output", flags_of_table};

void table_init(struct table *t, struct command_line *cl, const struct table_column *columns)
{
	bool tty = isatty(fileno(cl->out));

	*t = (struct table){.cl = cl, .columns = columns};
	while (columns[t->n_columns].title)
		t->n_columns++;
	t->colour = print_wants_colour(flag_choice(cl, "color"), tty);
	t->escape = tty || t->colour;
}

static void put(struct table *t, char kind, struct str text)
{
	buf_char(&t->cells, kind);
	/* A NUL would end the cell, a line end the row. */
	for (size_t i = 0; i < text.n; i++)
		buf_char(&t->cells, text.p[i] == '\0' || text.p[i] == '\n' || text.p[i] == '\r'
					    ? ' '
					    : text.p[i]);
	buf_char(&t->cells, '\0');
}

void table_cell(struct table *t, const char *fmt, ...)
{
	struct buf text = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	put(t, KIND_CELL, buf_view(&text));
	buf_fini(&text);
}

void table_count(struct table *t, uint64_t n)
{
	struct buf digits = {0}, text = {0};

	buf_u64(&digits, n);
	for (size_t i = 0; i < digits.n; i++) {
		if (i && (digits.n - i) % 3 == 0)
			buf_char(&text, ',');
		buf_char(&text, digits.p[i]);
	}
	put(t, KIND_CELL, buf_view(&text));
	buf_fini(&digits);
	buf_fini(&text);
}

void table_text(struct table *t, struct str text)
{
	struct buf shown = {0};

	if (t->escape)
		print_escaped(&shown, text, false);
	else
		buf_str(&shown, text);
	put(t, KIND_CELL, buf_view(&shown));
	buf_fini(&shown);
}

void table_put_time(struct buf *out, struct str when)
{
	size_t n = 0, end;

	while (n < when.n && when.p[n] != '.')
		n++;
	for (end = n; end < when.n && strchr(".0123456789", when.p[end]); end++)
		;
	buf_str(out, str_sub(when, 0, n));
	buf_str(out, str_sub(when, end, when.n));
}

void table_time(struct table *t, struct str when)
{
	struct buf text = {0};

	table_put_time(&text, when);
	table_text(t, buf_view(&text));
	buf_fini(&text);
}

void table_level(struct table *t, struct str level)
{
	put(t, KIND_LEVEL, level.n ? level : STR("-"));
}

void table_note(struct table *t, struct str text)
{
	struct buf shown = {0};

	print_escaped(&shown, str_sub(text, 0, NOTE_MAX), false);
	if (text.n > NOTE_MAX)
		buf_c(&shown, "…");
	put(t, KIND_NOTE, buf_view(&shown));
	buf_fini(&shown);
}

static void measure(struct table *t)
{
	struct str rest = buf_view(&t->cells);
	size_t column = 0;

	for (size_t i = 0; i < t->n_columns; i++)
		t->width[i] = rune_count(str_c(t->columns[i].title));
	while (rest.n) {
		struct str cell = str_cut(&rest, '\0');
		size_t n = rune_count(str_sub(cell, 1, cell.n));
		if (cell.p[0] == KIND_NOTE)
			continue;
		t->width[column] = n > t->width[column] ? n : t->width[column];
		column = (column + 1) % t->n_columns;
	}
}

static const char *colour_of(struct str level)
{
	if (str_eq(level, STR("error")) || str_eq(level, STR("fatal")) ||
		str_eq(level, STR("critical")))
		return "\033[31m";
	return str_eq(level, STR("warn")) ? "\033[33m" : NULL;
}

static void put_padded(
	struct table *t, struct buf *out, size_t column, struct str text, const char *colour)
{
	size_t pad = t->width[column] - rune_count(text);
	bool right = t->columns[column].right, last = column + 1 == t->n_columns;

	for (size_t i = 0; right && i < pad; i++)
		buf_char(out, ' ');
	buf_c(out, colour ? colour : "");
	buf_str(out, text);
	buf_c(out, colour ? "\033[0m" : "");
	for (size_t i = 0; !right && !last && i < pad; i++)
		buf_char(out, ' ');
	buf_c(out, last ? "\n" : "  ");
}

static void put_note(struct table *t, struct buf *out, struct str text)
{
	bool numbers = t->columns[t->n_columns - 1].right;

	/* Under a text of the last column; under numbers at the left, where it has room. */
	for (size_t i = 0; !numbers && i + 1 < t->n_columns; i++)
		for (size_t k = 0; k < t->width[i] + 2; k++)
			buf_char(out, ' ');
	buf_c(out, "  ");
	buf_str(out, text);
	buf_char(out, '\n');
}

void table_fini(struct table *t)
{
	struct str rest = buf_view(&t->cells);
	struct buf out = {0};
	size_t column = 0;

	measure(t);
	for (size_t i = 0; i < t->n_columns; i++)
		put_padded(t, &out, i, str_c(t->columns[i].title), NULL);
	while (rest.n) {
		struct str cell = str_cut(&rest, '\0'), text = str_sub(cell, 1, cell.n);
		bool level = cell.p[0] == KIND_LEVEL;
		if (cell.p[0] == KIND_NOTE) {
			put_note(t, &out, text);
			continue;
		}
		put_padded(t, &out, column, text, level && t->colour ? colour_of(text) : NULL);
		column = (column + 1) % t->n_columns;
	}
	fwrite(out.p, 1, out.n, t->cl->out);
	buf_fini(&out);
	buf_fini(&t->cells);
}

void table_json(struct command_line *cl, const struct json *j, size_t at)
{
	bool lines = flag_choice(cl, "output") == TABLE_JSONL;
	struct buf out = {0};

	for (size_t i = json_first(j, at); lines && i < json_end(j, at); i = json_next(j, i)) {
		print_json(&out, j, i);
		buf_char(&out, '\n');
	}
	if (!lines) {
		print_json(&out, j, at);
		buf_char(&out, '\n');
	}
	fwrite(out.p, 1, out.n, cl->out);
	buf_fini(&out);
}

uint64_t table_u64(const struct json *j, size_t object, const char *key)
{
	size_t at = json_get(j, object, key);
	uint64_t n = 0;

	if (at)
		str_u64(j->nodes[at].text, &n);
	return n;
}

double table_double(const struct json *j, size_t object, const char *key)
{
	size_t at = json_get(j, object, key);
	double v = 0;

	if (at)
		str_double(j->nodes[at].text, &v);
	return v;
}
