/* SPDX-License-Identifier: Apache-2.0 */
#include "output/line_field.h"

#include <stdio.h>

#include "record/labels.h"

/* By name.  Labels that decide come first. */
static const struct {
	struct str name;
	struct line_field field;
} fields[] = {
	{STR_INIT("asctime"), {LINE_ASCTIME, {STR_INIT("")}, 0}},
	{STR_INIT("created"), {LINE_CREATED, {STR_INIT("")}, 0}},
	{STR_INIT("filename"), {LINE_FILENAME, {STR_INIT("filename"), STR_INIT("pathname")}, 2}},
	{STR_INIT("levelname"), {LINE_LEVELNAME, {STR_INIT("severity"), STR_INIT("levelno")}, 2}},
	{STR_INIT("levelno"), {LINE_LEVELNO, {STR_INIT("levelno")}, 1}},
	{STR_INIT("lineno"), {LINE_NUMBER, {STR_INIT("lineno")}, 1}},
	{STR_INIT("logger_name"), {LINE_NAME, {STR_INIT("logger"), STR_INIT("app")}, 2}},
	{STR_INIT("message"), {LINE_MESSAGE, {STR_INIT("traceback_at"), STR_INIT("stack_at")}, 2}},
	{STR_INIT("module"),
		{LINE_MODULE, {STR_INIT("module"), STR_INIT("filename"), STR_INIT("pathname")}, 3}},
	{STR_INIT("msecs"), {LINE_MSECS, {STR_INIT("")}, 0}},
	{STR_INIT("name"), {LINE_NAME, {STR_INIT("logger"), STR_INIT("app")}, 2}},
	{STR_INIT("process"), {LINE_NUMBER, {STR_INIT("process")}, 1}},
	{STR_INIT("thread"), {LINE_NUMBER, {STR_INIT("thread")}, 1}},
};

struct line_field line_field_of(struct str name)
{
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (str_eq(fields[i].name, name))
			return fields[i].field;
	return (struct line_field){LINE_LABEL, {name}, 1};
}

/* ---- levels ---- */

/* Python's level for the number of a severity: those of the five, 5 for what is below. */
static int level_number(uint8_t severity)
{
	return severity == 0 ? 0 : severity < 5 ? 5 : severity > 20 ? 50 : (severity - 1) / 4 * 10;
}

static const char *level_word(int64_t number)
{
	switch (number) {
	case 0: return "NOTSET";
	case 5: return "TRACE";
	case 10: return "DEBUG";
	case 20: return "INFO";
	case 30: return "WARNING";
	case 40: return "ERROR";
	case 50: return "CRITICAL";
	default: return NULL;
	}
}

static int64_t levelno(const struct output_record *r, struct str sent)
{
	int64_t v;

	return str_i64(sent, &v) ? v : level_number(r->severity);
}

static struct str levelname(const struct output_record *r, const struct str *labels, char *room)
{
	int64_t number;
	const char *word;

	if (labels[0].n)
		return labels[0];
	number = levelno(r, labels[1]);
	if ((word = level_word(number)))
		return str_c(word);
	return str_make(room, (size_t)snprintf(room, LINE_ROOM, "Level %lld", (long long)number));
}

/* ---- the line ---- */

/* An offset that is not behind a line end is of a line that has been changed since. */
static size_t offset(struct str line, struct str text)
{
	uint64_t at;

	if (!str_u64(text, &at) || at == 0 || at > line.n || line.p[at - 1] != '\n')
		return line.n;
	return at;
}

size_t line_field_tail(const struct output_record *r, const struct str *labels)
{
	size_t traceback = offset(r->line, labels[0]), stack = offset(r->line, labels[1]);

	return traceback < stack ? traceback : stack;
}

static struct str message(const struct output_record *r, const struct str *labels)
{
	size_t tail = line_field_tail(r, labels);

	if (tail == r->line.n)
		return r->line;
	/* A line end is put in front of a traceback where the message has none: two are its own. */
	return str_sub(r->line, 0, tail >= 2 && r->line.p[tail - 2] == '\n' ? tail : tail - 1);
}

/* ---- files ---- */

static struct str base_name(struct str path)
{
	for (size_t i = path.n; i-- > 0;)
		if (path.p[i] == '/')
			return str_sub(path, i + 1, path.n);
	return path;
}

/* os.path.splitext: dots in front belong to the name. */
static struct str without_extension(struct str name)
{
	size_t first = 0;

	while (first < name.n && name.p[first] == '.')
		first++;
	for (size_t i = name.n; i-- > first;)
		if (name.p[i] == '.')
			return i > first ? str_sub(name, 0, i) : name;
	return name;
}

/* ---- values ---- */

static double seconds(int64_t ns)
{
	/* A double of its own cannot hold the nanoseconds of our century. */
	return (double)((long double)ns / 1e9L);
}

static double milliseconds(int64_t ns)
{
	int64_t rest = ns % INT64_C(1000000000);

	return (double)((rest < 0 ? rest + INT64_C(1000000000) : rest) / 1000000);
}

#define TEXT(s) ((struct line_value){.kind = VALUE_TEXT, .text = (s)})

struct line_value line_field_value(const struct line_field *f, const struct output_record *r,
	const struct str *labels, char *room)
{
	struct line_value v = TEXT(labels[0]);

	switch (f->id) {
	case LINE_ASCTIME:
	case LINE_LABEL: break;
	case LINE_CREATED: return (struct line_value){VALUE_FLOAT, .f = seconds(r->timestamp)};
	case LINE_MSECS: return (struct line_value){VALUE_FLOAT, .f = milliseconds(r->timestamp)};
	case LINE_LEVELNO: return (struct line_value){VALUE_INT, .i = levelno(r, labels[0])};
	case LINE_LEVELNAME: return TEXT(levelname(r, labels, room));
	case LINE_MESSAGE: return TEXT(message(r, labels));
	case LINE_NAME:
		if (!labels[0].n)
			v.text = labels[1];
		break;
	case LINE_FILENAME:
		if (!labels[0].n)
			v.text = base_name(labels[1]);
		break;
	case LINE_MODULE:
		if (!labels[0].n)
			v.text = without_extension(labels[1].n ? labels[1] : base_name(labels[2]));
		break;
	case LINE_NUMBER:
		if (str_i64(labels[0], &v.i))
			v.kind = VALUE_INT;
		break;
	}
	return v;
}

void line_field_labels(const struct line_field *f, struct str labels, struct str *values)
{
	for (size_t i = 0; i < f->n_labels; i++)
		if (!labels_get(labels, f->labels[i], &values[i]))
			values[i] = STR_NONE;
}
