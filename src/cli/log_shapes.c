/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/log_shapes.h"

#include <time.h>

#include "os/clock.h"
#include "record/severity.h"

const char *const log_shapes[] = {"today", "2015", "2013", "2013-10", "2013-09", NULL};

/* Text begins in one column, whatever the header: as wide as these. */
enum {
	COLUMN_2015 = sizeof "2006-01-02T15:04:05.00-0700  [HEALTH/10] " - 1,
	COLUMN_2013 = sizeof "2006-01-02T15:04:05.00-0700  [App/0]  " - 1,
	COLUMN_SOURCE = sizeof "[Executor] " - 1, /* of 2013-10 */
};

/* The first of these that the entry has; its metadata are among the labels here. */
static bool first_of(struct str labels, const char *const *names, struct str *value)
{
	for (; *names; names++)
		if (labels_get(labels, str_c(*names), value) && value->n)
			return true;
	return false;
}

static void put_source(struct buf *out, struct str labels)
{
	static const char *const whole[] = {"source", NULL}, *const types[] = {"source_type", NULL},
				 *const instances[] = {
					 "instance_id", "instance", "index", "host", NULL};
	struct str value;

	if (first_of(labels, whole, &value)) {
		buf_str(out, value);
		return;
	}
	buf_str(out, first_of(labels, types, &value) ? value : STR("APP"));
	if (first_of(labels, instances, &value)) {
		buf_char(out, '/');
		buf_str(out, value);
	}
}

/* In October 2013 components went by their names. */
static void put_source_2013_10(struct buf *out, struct str labels)
{
	static const struct {
		const char *is, *was;
	} names[] = {{"RTR", "Router"}, {"DEA", "Executor"}};
	struct buf text = {0};
	struct str source, rest;

	put_source(&text, labels);
	rest = buf_view(&text);
	source = str_cut(&rest, '/');
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq_c(source, names[i].is))
			source = str_c(names[i].was);
	buf_str(out, source);
	/* Only applications had instances then. */
	if (rest.n && str_eq_nocase(source, STR("App"))) {
		buf_char(out, '/');
		buf_str(out, rest);
	}
	buf_fini(&text);
}

static bool is_err(struct str labels)
{
	static const char *const types[] = {"message_type", "stream", NULL};
	static const char *const levels[] = {"detected_level", "level", NULL};
	struct str value;

	if (first_of(labels, types, &value))
		return str_eq_nocase(value, STR("ERR")) || str_eq_nocase(value, STR("stderr"));
	return first_of(labels, levels, &value) && severity_from_word(value) >= SEV_ERROR;
}

static void put_time(struct buf *out, const struct log_style *style, int64_t ns)
{
	int64_t part = ns % NS_PER_SEC;
	time_t seconds = (time_t)(ns / NS_PER_SEC);
	char day[40], zone[12];
	struct tm tm;

	if (part < 0) {
		part += NS_PER_SEC;
		seconds--;
	}
	if (style->utc)
		gmtime_r(&seconds, &tm);
	else
		localtime_r(&seconds, &tm);
	if (style->shape == SHAPE_2013_09) {
		strftime(day, sizeof day, "%b", &tm);
		strftime(zone, sizeof zone, "%H:%M:%S", &tm);
		buf_printf(out, "%s %d %s", day, tm.tm_mday, zone);
		return;
	}
	strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
	strftime(zone, sizeof zone, "%z", &tm);
	buf_printf(out, "%s.%02d%s", day, (int)(part / 10000000), zone);
}

static void pad(struct buf *out, size_t from, size_t width)
{
	while (out->n - from < width)
		buf_char(out, ' ');
}

static void put_header(struct buf *out, const struct log_style *style, const struct print_entry *en)
{
	size_t from = out->n, at;

	put_time(out, style, en->timestamp);
	buf_char(out, ' ');
	switch (style->shape) {
	case SHAPE_2013_09:
		buf_str(out, style->app);
		buf_char(out, ' ');
		put_source(out, en->labels);
		break;
	case SHAPE_2013_10:
		buf_str(out, style->app);
		buf_char(out, ' ');
		at = out->n;
		buf_char(out, '[');
		put_source_2013_10(out, en->labels);
		buf_char(out, ']');
		pad(out, at, COLUMN_SOURCE);
		return;
	default:
		buf_char(out, '[');
		put_source(out, en->labels);
		buf_char(out, ']');
	}
	if (style->shape == SHAPE_2013)
		pad(out, from, COLUMN_2013);
	else if (style->shape == SHAPE_2015)
		pad(out, from, COLUMN_2015);
	else
		buf_char(out, ' ');
}

static const char *type_word(enum log_shape shape, bool err)
{
	if (shape == SHAPE_2013_09)
		return err ? "STDERR " : "";
	if (shape == SHAPE_2013_10)
		return err ? "STDERR " : "STDOUT ";
	return err ? "ERR " : "OUT ";
}

static void put_text(struct buf *out, const struct log_style *style, struct str text)
{
	if (style->escape)
		print_escaped(out, text, false);
	else
		buf_str(out, text);
}

static struct str trim_end(struct str s)
{
	while (s.n && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r'))
		s.n--;
	return s;
}

/* Today each line of an entry has its header, so that grep finds whose it is; before that they were
 * indented by its width. */
static void put_lines(struct buf *out, const struct log_style *style, struct str header, bool err,
	struct str text)
{
	bool today = style->shape == SHAPE_TODAY;
	bool red = err && style->colour;
	const char *word = type_word(style->shape, err);

	text = trim_end(text);
	for (bool first = true; first || text.p; first = false) {
		struct str line = trim_end(str_cut(&text, '\n'));

		if (today)
			buf_c(out, "   ");
		if (red && today)
			buf_c(out, "\033[31m");
		if (today || first)
			buf_str(out, header);
		else
			pad(out, out->n, header.n);
		if (red && !today)
			buf_c(out, "\033[31m");
		if (today || first)
			buf_c(out, word);
		put_text(out, style, line);
		buf_c(out, red ? "\033[0m\n" : "\n");
	}
}

void log_shape_put(struct buf *out, const struct log_style *style, const struct print_entry *en)
{
	struct buf raw = {0}, header = {0};

	put_header(&raw, style, en);
	/* Its parts come from whoever sent the entry: a line end in them would forge a line. */
	print_escaped(&header, buf_view(&raw), false);
	put_lines(out, style, buf_view(&header), is_err(en->labels), en->line);
	buf_fini(&raw);
	buf_fini(&header);
}
