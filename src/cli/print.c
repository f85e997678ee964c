/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/print.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "cli/columns.h"
#include "codec/codec.h"
#include "codec/rune.h"
#include "record/severity.h"
#include "record/time.h"

static const char *const formats[] = {"default", "raw", "json", "jsonl", "csv", "logfmt", NULL};
const char *const print_colours[] = {"auto", "always", "never", NULL};

static const struct flag flags_of_print[] = {
	{.name = "output",
		.letter = 'o',
		.kind = FLAG_CHOICE,
		.choices = formats,
		.env = "SAWLOG_OUTPUT",
		.fallback = "default",
		.help = "default: time, level, labels, line; raw: the line alone; json: one array; "
			"jsonl: one object a line; csv and logfmt: the columns of --fields."},
	{.name = "fields",
		.kind = FLAG_STRING,
		.value = "A,B",
		.help = "Columns of csv and logfmt: time, line, value, labels (all as one text) and "
			"names of labels.  Without it all there is."},
	{.name = "raw",
		.kind = FLAG_BOOL,
		.help = "Do not escape control bytes on a terminal either."},
	{.name = "no-labels", .kind = FLAG_BOOL, .help = "Show no labels."},
	{.name = "include-label",
		.kind = FLAG_REPEATED,
		.value = "NAME",
		.help = "Show these labels alone; may be repeated."},
	{.name = "exclude-label",
		.kind = FLAG_REPEATED,
		.value = "NAME",
		.help = "Do not show this label; may be repeated."},
	{.name = "include-common-labels",
		.kind = FLAG_BOOL,
		.help = "Show labels that all lines share, too."},
	PRINT_LOOK_FLAGS,
	{.name = "highlight",
		.kind = FLAG_REPEATED,
		.value = "REGEX",
		.help = "Mark what matches in the lines, where there are colours; may be repeated."},
	FLAG_END,
};

const struct flag_group print_flags = {"Output", flags_of_print};

enum { MARKS_MAX = 200 /* of --highlight in one line */ };

/* --- set-up ------------------------------------------------------------ */

bool print_wants_colour(int choice, bool tty)
{
	const char *no = getenv("NO_COLOR"), *force = getenv("CLICOLOR_FORCE"),
		   *term = getenv("TERM");

	if (choice)
		return choice == 1;
	if (no && *no)
		return false;
	if (force && *force && strcmp(force, "0") != 0)
		return true;
	return tty && !(term && !strcmp(term, "dumb"));
}

/* The C library takes any unknown zone for UTC without a word, so look for its file. */
int print_zone(const char *zone, bool *utc, struct error *e)
{
	char path[300];

	if (!strcmp(zone, "Local") || !strcmp(zone, "local"))
		return 0;
	if (!strcmp(zone, "UTC") || !strcmp(zone, "utc")) {
		*utc = true;
		return 0;
	}
	snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", zone);
	if (!*zone || zone[0] == '/' || strstr(zone, "..") || access(path, R_OK) < 0)
		return error_set(e, ERR_ARG,
			"--timezone: this system knows no \"%s\"; Local, UTC and names such as "
			"Europe/Berlin are fine",
			zone);
	setenv("TZ", zone, 1);
	tzset();
	return 0;
}

/* One regex for all of them. */
static int set_highlight(struct printer *p, struct error *e)
{
	size_t n = flag_count(p->cl, "highlight");
	struct buf all = {0};
	int r;

	if (n == 0)
		return 0;
	for (size_t i = 0; i < n; i++)
		buf_printf(&all, "%s(?:%s)", i ? "|" : "", flag_nth(p->cl, "highlight", i));
	r = regex_new_groups(&p->highlight, buf_view(&all), e);
	buf_fini(&all);
	return r < 0 ? error_wrap(e, r, "--highlight") : 0;
}

int printer_init(
	struct printer *p, const struct command_line *cl, FILE *out, bool tty, struct error *e)
{
	*p = (struct printer){
		.out = out,
		.cl = cl,
		.format = (enum output_format)flag_choice(cl, "output"),
		.colour = print_wants_colour(flag_choice(cl, "color"), tty),
		.labels = !flag_bool(cl, "no-labels"),
	};
	int r;

	/* Colours mean that a terminal is at the end, though a pager may be between. */
	p->escape = (tty || p->colour) && !flag_bool(cl, "raw");
	r = print_zone(flag_bool(cl, "utc") ? "UTC" : flag_string(cl, "timezone"), &p->utc, e);
	return r < 0 ? r : set_highlight(p, e);
}

void printer_fini(struct printer *p)
{
	if (p->format == OUTPUT_JSON && p->out && !p->silent)
		fputs(p->n ? "\n]\n" : "[]\n", p->out);
	buf_fini(&p->common);
	buf_fini(&p->text);
	buf_fini(&p->shown);
	regex_free(p->highlight);
	p->highlight = NULL;
	p->out = NULL;
}

/* --- text -------------------------------------------------------------- */

/* Code points that move the cursor, end a line or turn the reading direction: C1 controls,
 * U+2028, U+2029, and the bidirectional marks of "Trojan Source" (CVE-2021-42574). */
static bool dangerous(uint32_t c)
{
	return (c >= 0x80 && c < 0xa0) || c == 0x061c || c == 0x200e || c == 0x200f ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

/* The character that s begins with, beyond ASCII, or a byte that is none. */
static size_t put_wide(struct buf *out, struct str s)
{
	size_t n;
	uint32_t c = rune_first(s, &n);

	if (n == 1)
		buf_printf(out, "\\x%02x", (unsigned char)s.p[0]);
	else if (dangerous(c))
		buf_printf(out, "\\u%04" PRIx32, c);
	else
		buf_put(out, s.p, n);
	return n;
}

void print_escaped(struct buf *out, struct str s, bool lines)
{
	size_t i = 0;

	while (i < s.n) {
		unsigned char c = (unsigned char)s.p[i];
		size_t from = i;

		while (i < s.n && (unsigned char)s.p[i] >= 0x20 && (unsigned char)s.p[i] < 0x7f)
			i++;
		if (i > from) {
			buf_put(out, s.p + from, i - from);
			continue;
		}
		if (c >= 0x80) {
			i += put_wide(out, str_sub(s, i, s.n));
			continue;
		}
		if (c == '\t')
			buf_char(out, '\t');
		else if (c == '\n' && lines)
			buf_c(out, "\n    ");
		else if (c == '\n' || c == '\r')
			buf_c(out, c == '\n' ? "\\n" : "\\r");
		else
			buf_printf(out, "\\x%02x", c);
		i++;
	}
}

void print_warning(struct command_line *cl, struct str sentence, struct map *told)
{
	struct buf text = {0};
	bool fresh;

	map_put(told, sentence, &fresh);
	if (!fresh)
		return;
	print_escaped(&text, sentence, true);
	fprintf(cl->err, "warning: %.*s\n", STR_ARG(buf_view(&text)));
	buf_fini(&text);
}

static void colour(struct printer *p, const char *code)
{
	if (p->colour)
		buf_printf(&p->text, "\033[%sm", code);
}

static void put_text(struct printer *p, struct str text)
{
	if (p->escape)
		print_escaped(&p->text, text, true);
	else
		buf_str(&p->text, text);
}

static void put_line(struct printer *p, struct str line)
{
	size_t from = 0, at = 0;
	struct str hit;

	for (int n = 0; p->colour && p->highlight && n < MARKS_MAX && at <= line.n; n++) {
		if (regex_find(p->highlight, line, at, &hit, 1) <= 0)
			break;
		at = (size_t)(hit.p - line.p) + hit.n + (hit.n == 0);
		if (hit.n == 0)
			continue;
		put_text(p, str_sub(line, from, (size_t)(hit.p - line.p)));
		colour(p, "30;103");
		put_text(p, hit);
		colour(p, "0");
		from = at;
	}
	put_text(p, str_sub(line, from, line.n));
}

/* --- labels ------------------------------------------------------------ */

void print_labels_of(const struct json *j, size_t at, struct labels_builder *b, struct buf *out)
{
	labels_builder_clear(b);
	b->names_free = true;
	if (at < j->n && j->nodes[at].type == JSON_OBJECT)
		for (size_t i = json_first(j, at); i < json_end(j, at);) {
			size_t value = i + 1;

			if (j->nodes[value].type == JSON_STRING)
				labels_builder_set(b, j->nodes[i].text, j->nodes[value].text, NULL);
			i = json_next(j, value);
		}
	labels_builder_write(b, out);
}

static bool listed(const struct command_line *cl, const char *flag, struct str name)
{
	for (size_t i = 0; i < flag_count(cl, flag); i++)
		if (str_eq_c(name, flag_nth(cl, flag, i)))
			return true;
	return false;
}

static bool is_level(struct str name)
{
	return str_eq_c(name, "detected_level") || str_eq_c(name, "level");
}

/* Is this pair to be seen?  The level has a column of its own in the default format. */
static bool label_shown(const struct printer *p, const struct label *l)
{
	const struct command_line *cl = p->cl;
	struct str value;

	if (flag_count(cl, "include-label"))
		return listed(cl, "include-label", l->name);
	if (listed(cl, "exclude-label", l->name))
		return false;
	if (p->format != OUTPUT_DEFAULT)
		return true;
	return !is_level(l->name) &&
	       !(p->common.n && labels_get(buf_view(&p->common), l->name, &value) &&
		       str_eq(value, l->value));
}

static void pick_labels(struct printer *p, struct str labels)
{
	struct labels_builder b = {.names_free = true};
	struct str at = labels;
	struct label l;

	buf_clear(&p->shown);
	for (labels_start(&at); labels_next(&at, &l);)
		if (p->labels && label_shown(p, &l))
			labels_builder_set(&b, l.name, l.value, NULL);
	labels_builder_write(&b, &p->shown);
	labels_builder_fini(&b);
}

static const char *colour_of(struct str labels)
{
	static const char *const codes[] = {
		"32", "33", "34", "35", "36", "92", "93", "94", "95", "96", "38;5;208", "38;5;141"};

	return codes[hash_stable(labels) % (sizeof codes / sizeof *codes)];
}

static bool in_all(const struct print_entry *list, size_t n, const struct label *l)
{
	struct str value;

	for (size_t i = 1; i < n; i++)
		if (!labels_get(list[i].labels, l->name, &value) || !str_eq(value, l->value))
			return false;
	return true;
}

/* One line alone would show no label at all: it keeps its labels. */
void printer_common(struct printer *p, const struct print_entry *list, size_t n)
{
	struct labels_builder b = {.names_free = true};
	struct buf text = {0};
	struct label l;
	struct str at;

	if (n < 2 || p->format != OUTPUT_DEFAULT || !p->labels ||
		flag_bool(p->cl, "include-common-labels") || flag_count(p->cl, "include-label"))
		return;
	at = list[0].labels;
	for (labels_start(&at); labels_next(&at, &l);)
		if (!is_level(l.name) && !listed(p->cl, "exclude-label", l.name) &&
			in_all(list, n, &l))
			labels_builder_set(&b, l.name, l.value, NULL);
	if (b.n) {
		buf_clear(&p->common);
		labels_builder_write(&b, &p->common);
		labels_text(&text, buf_view(&p->common));
		if (!p->silent)
			fprintf(p->cl->err, "Common labels: %s\n", buf_cstr(&text));
	}
	labels_builder_fini(&b);
	buf_fini(&text);
}

/* --- lines ------------------------------------------------------------- */

static void put_time(struct printer *p, int64_t ns)
{
	struct buf *t = &p->text;

	if (!p->utc) {
		time_format_local(t, ns);
		return;
	}
	/* Milliseconds always, so that columns stay in line. */
	int64_t ms = ns / 1000000 - (ns % 1000000 < 0), s = ms / 1000 - (ms % 1000 < 0);
	time_t seconds = (time_t)s;
	char day[40];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
	buf_printf(t, "%s.%03dZ", day, (int)(ms - s * 1000));
}

static void put_level(struct printer *p, struct str labels)
{
	static const struct {
		uint8_t from;
		const char *word, *colour;
	} levels[] = {{SEV_FATAL, "FATAL", "1;31"}, {SEV_ERROR, "ERROR", "31"},
		{SEV_WARN, "WARN ", "33"}, {SEV_INFO, "INFO ", "32"}, {SEV_DEBUG, "DEBUG", "34"},
		{SEV_TRACE, "TRACE", "2"}};
	struct str word;
	uint8_t severity;

	if (!labels_get(labels, STR("detected_level"), &word) &&
		!labels_get(labels, STR("level"), &word))
		return;
	severity = severity_from_word(word);
	for (size_t i = 0; severity && i < sizeof levels / sizeof *levels; i++)
		if (severity >= levels[i].from) {
			colour(p, levels[i].colour);
			buf_c(&p->text, levels[i].word);
			colour(p, "0");
			buf_char(&p->text, ' ');
			return;
		}
	if (severity || str_eq_c(word, "unknown"))
		buf_c(&p->text, "      ");
	else
		buf_printf(&p->text, "%-5.*s ", word.n > 20 ? 20 : (int)word.n, word.p);
}

static void put_default(struct printer *p, const struct print_entry *en)
{
	colour(p, "2");
	put_time(p, en->timestamp);
	colour(p, "0");
	buf_char(&p->text, ' ');
	put_level(p, en->labels);
	pick_labels(p, en->labels);
	if (labels_count(buf_view(&p->shown))) {
		colour(p, colour_of(en->labels));
		labels_text(&p->text, buf_view(&p->shown));
		colour(p, "0");
		buf_char(&p->text, ' ');
	}
	put_line(p, en->line);
	buf_char(&p->text, '\n');
}

static void put_record(struct printer *p, const struct print_entry *en)
{
	struct buf *t = &p->text;

	buf_printf(t, "{\"seq\":%" PRIu64 ",\"time\":\"%" PRId64 "\",\"labels\":", en->seq,
		en->timestamp);
	pick_labels(p, en->labels);
	labels_json(t, buf_view(&p->shown));
	buf_c(t, ",\"metadata\":");
	pick_labels(p, en->meta);
	labels_json(t, buf_view(&p->shown));
	buf_c(t, ",\"line\":");
	buf_json(t, en->line);
	if (str_utf8_valid(en->line) < en->line.n) {
		buf_c(t, ",\"base64\":\"");
		base64_put(t, en->line);
		buf_char(t, '"');
	}
	buf_char(t, '}');
}

static void put_object(struct printer *p, const struct print_entry *en)
{
	if (p->whole) {
		put_record(p, en);
		return;
	}
	buf_c(&p->text, "{\"timestamp\":\"");
	time_format(&p->text, en->timestamp);
	buf_c(&p->text, "\",\"labels\":");
	pick_labels(p, en->labels);
	labels_json(&p->text, buf_view(&p->shown));
	buf_c(&p->text, ",\"line\":");
	buf_json(&p->text, en->line);
	buf_char(&p->text, '}');
}

/* A row of csv or logfmt, with the head before the first. */
static void put_columns(struct printer *p, int64_t timestamp, struct str labels, struct str text,
	bool sample, bool first)
{
	const char *fields = flag_string(p->cl, "fields");
	struct column_row row = {.timestamp = timestamp, .text = text, .sample = sample};
	struct buf made = {0};

	pick_labels(p, labels);
	row.labels = buf_view(&p->shown);
	if (p->format == OUTPUT_LOGFMT) {
		columns_logfmt(&made, fields, &row);
	} else {
		if (first)
			columns_csv_head(&p->text, fields, sample);
		columns_csv(&made, fields, &row);
	}
	/* On a terminal all but the end of the row is text. */
	if (p->escape) {
		print_escaped(&p->text, str_trim(buf_view(&made)), false);
		buf_char(&p->text, '\n');
	} else {
		buf_str(&p->text, buf_view(&made));
	}
	buf_fini(&made);
}

void printer_entry(struct printer *p, const struct print_entry *en)
{
	bool first = p->n++ == 0;

	if (p->silent)
		return;
	buf_clear(&p->text);
	switch (p->format) {
	case OUTPUT_DEFAULT: put_default(p, en); break;
	case OUTPUT_RAW:
		put_line(p, en->line);
		buf_char(&p->text, '\n');
		break;
	case OUTPUT_JSON:
		buf_c(&p->text, first ? "[\n" : ",\n");
		put_object(p, en);
		break;
	case OUTPUT_JSONL:
		put_object(p, en);
		buf_char(&p->text, '\n');
		break;
	case OUTPUT_CSV:
	case OUTPUT_LOGFMT:
		put_columns(p, en->timestamp, en->labels, en->line, false, first);
		break;
	}
	fwrite(p->text.p, 1, p->text.n, p->out);
}

/* --- samples ----------------------------------------------------------- */

void print_json(struct buf *out, const struct json *j, size_t at)
{
	const struct json_node *n = &j->nodes[at];
	bool object = n->type == JSON_OBJECT;

	switch (n->type) {
	case JSON_NULL: buf_c(out, "null"); return;
	case JSON_FALSE: buf_c(out, "false"); return;
	case JSON_TRUE: buf_c(out, "true"); return;
	case JSON_NUMBER: buf_str(out, n->text); return;
	case JSON_STRING: buf_json(out, n->text); return;
	default: break;
	}
	buf_char(out, object ? '{' : '[');
	for (size_t i = json_first(j, at), k = 0; i < json_end(j, at); i = json_next(j, i), k++) {
		if (k)
			buf_char(out, object && k % 2 ? ':' : ',');
		print_json(out, j, i);
	}
	buf_char(out, object ? '}' : ']');
}

/* [seconds, "value"]; false when it is no such pair. */
static bool read_sample(const struct json *j, size_t at, int64_t *time_ns, struct str *value)
{
	double seconds;

	if (at >= j->n || j->nodes[at].type != JSON_ARRAY || j->nodes[at].inside != 2 ||
		!str_double(j->nodes[at + 1].text, &seconds) || !(seconds > -9e9 && seconds < 9e9))
		return false;
	/* Samples have Loki's resolution, milliseconds: more would be noise of the double. */
	*time_ns = (int64_t)(seconds * 1000 + (seconds < 0 ? -.5 : .5)) * 1000000;
	*value = j->nodes[at + 2].text;
	return true;
}

/* As "time value". */
static bool put_sample(struct printer *p, const struct json *j, size_t at)
{
	struct str value;
	int64_t time_ns;

	if (!read_sample(j, at, &time_ns, &value))
		return false;
	put_time(p, time_ns);
	buf_char(&p->text, ' ');
	if (p->escape)
		print_escaped(&p->text, value, false);
	else
		buf_str(&p->text, value);
	buf_char(&p->text, '\n');
	return true;
}

static void put_series_default(struct printer *p, const struct json *j, size_t at)
{
	struct labels_builder b = {0};
	struct buf labels = {0};
	size_t values = json_get(j, at, "values"), value = json_get(j, at, "value");

	print_labels_of(j, json_get(j, at, "metric"), &b, &labels);
	pick_labels(p, buf_view(&labels));
	colour(p, colour_of(buf_view(&labels)));
	labels_text(&p->text, buf_view(&p->shown));
	colour(p, "0");
	if (values) {
		buf_char(&p->text, '\n');
		for (size_t i = json_first(j, values); i < json_end(j, values);
			i = json_next(j, i)) {
			buf_c(&p->text, "  ");
			if (!put_sample(p, j, i))
				buf_c(&p->text, "?\n");
		}
	} else {
		buf_char(&p->text, ' ');
		if (!value || !put_sample(p, j, value))
			buf_c(&p->text, "?\n");
	}
	labels_builder_fini(&b);
	buf_fini(&labels);
}

static void put_series_columns(struct printer *p, const struct json *j, size_t at, bool first)
{
	size_t values = json_get(j, at, "values"), value = json_get(j, at, "value");
	struct labels_builder b = {0};
	struct buf labels = {0};
	struct str text;
	int64_t time_ns;

	print_labels_of(j, json_get(j, at, "metric"), &b, &labels);
	for (size_t i = values ? json_first(j, values) : value;
		i && i < (values ? json_end(j, values) : value + 1); i = json_next(j, i)) {
		if (read_sample(j, i, &time_ns, &text))
			put_columns(p, time_ns, buf_view(&labels), text, true, first);
		first = false;
	}
	labels_builder_fini(&b);
	buf_fini(&labels);
}

static void put_series(struct printer *p, const struct json *j, size_t at)
{
	bool first = p->n++ == 0;

	buf_clear(&p->text);
	if (p->format == OUTPUT_JSON)
		buf_c(&p->text, first ? "[\n" : ",\n");
	if (p->format == OUTPUT_JSON || p->format == OUTPUT_JSONL)
		print_json(&p->text, j, at);
	else if (p->format == OUTPUT_CSV || p->format == OUTPUT_LOGFMT)
		put_series_columns(p, j, at, first);
	else
		put_series_default(p, j, at);
	if (p->format == OUTPUT_JSONL)
		buf_char(&p->text, '\n');
	if (!p->silent)
		fwrite(p->text.p, 1, p->text.n, p->out);
}

static void put_scalar(struct printer *p, const struct json *j, size_t at)
{
	bool json = p->format == OUTPUT_JSON || p->format == OUTPUT_JSONL;
	struct str value;
	int64_t time_ns;

	p->n++;
	buf_clear(&p->text);
	if (json)
		print_json(&p->text, j, at);
	else if ((p->format == OUTPUT_CSV || p->format == OUTPUT_LOGFMT) &&
		 read_sample(j, at, &time_ns, &value))
		put_columns(p, time_ns, STR_NONE, value, true, true);
	else if (!put_sample(p, j, at))
		buf_c(&p->text, "?\n");
	if (p->format == OUTPUT_JSONL)
		buf_char(&p->text, '\n');
	if (p->silent)
		return;
	if (p->format == OUTPUT_JSON)
		fputs("[\n", p->out);
	fwrite(p->text.p, 1, p->text.n, p->out);
}

int printer_samples(
	struct printer *p, const struct json *j, struct str type, size_t result, struct error *e)
{
	if (result == 0 || j->nodes[result].type != JSON_ARRAY)
		return error_set(e, ERR_NET, "the answer holds no result");
	if (str_eq_c(type, "scalar")) {
		put_scalar(p, j, result);
		return 0;
	}
	if (!str_eq_c(type, "matrix") && !str_eq_c(type, "vector"))
		return error_set(e, ERR_NET, "the answer is of the unknown type \"%.*s\"",
			STR_ARG(str_sub(type, 0, 40)));
	for (size_t i = json_first(j, result); i < json_end(j, result); i = json_next(j, i))
		put_series(p, j, i);
	return 0;
}
