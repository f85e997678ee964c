/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/columns.h"

#include "record/labels.h"
#include "record/time.h"

static const char *csv_fields(const char *fields, bool samples)
{
	return fields ? fields : samples ? "time,labels,value" : "time,labels,line";
}

/* The value of a column; false: the row has none. */
static bool column(const struct column_row *row, struct str name, struct buf *out)
{
	struct str value;

	buf_clear(out);
	if (str_eq_c(name, "time"))
		time_format(out, row->timestamp);
	else if (str_eq_c(name, row->sample ? "value" : "line"))
		buf_str(out, row->text);
	else if (str_eq_c(name, "labels"))
		labels_text(out, row->labels);
	else if (labels_get(row->labels, name, &value))
		buf_str(out, value);
	else
		return false;
	return true;
}

static bool has_any(struct str s, const char *of)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] && strchr(of, s.p[i]))
			return true;
	return false;
}

static void put_csv(struct buf *out, struct str value)
{
	if (!has_any(value, ",\"\r\n")) {
		buf_str(out, value);
		return;
	}
	buf_char(out, '"');
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] == '"')
			buf_char(out, '"');
		buf_char(out, value.p[i]);
	}
	buf_char(out, '"');
}

void columns_csv_head(struct buf *out, const char *fields, bool samples)
{
	struct str rest = str_c(csv_fields(fields, samples));

	for (bool first = true; rest.n; first = false) {
		if (!first)
			buf_char(out, ',');
		put_csv(out, str_trim(str_cut(&rest, ',')));
	}
	buf_c(out, "\r\n");
}

void columns_csv(struct buf *out, const char *fields, const struct column_row *row)
{
	struct str rest = str_c(csv_fields(fields, row->sample));
	struct buf value = {0};

	for (bool first = true; rest.n; first = false) {
		if (!first)
			buf_char(out, ',');
		if (column(row, str_trim(str_cut(&rest, ',')), &value))
			put_csv(out, buf_view(&value));
	}
	buf_c(out, "\r\n");
	buf_fini(&value);
}

static bool is_bare(struct str value)
{
	for (size_t i = 0; i < value.n; i++)
		if ((unsigned char)value.p[i] <= ' ' || value.p[i] == 0x7f)
			return false;
	return value.n && !has_any(value, "=\"\\");
}

static void put_pair(struct buf *out, struct str name, struct str value)
{
	if (out->n && out->p[out->n - 1] != '\n')
		buf_char(out, ' ');
	buf_str(out, name);
	buf_char(out, '=');
	if (is_bare(value))
		buf_str(out, value);
	else
		buf_json(out, value);
}

void columns_logfmt(struct buf *out, const char *fields, const struct column_row *row)
{
	const char *text = row->sample ? "value" : "line";
	struct str rest = str_c(fields ? fields : "time"), at = row->labels;
	struct buf value = {0};
	struct label l;

	while (rest.n) {
		struct str name = str_trim(str_cut(&rest, ','));

		if (column(row, name, &value))
			put_pair(out, name, buf_view(&value));
	}
	if (!fields) {
		for (labels_start(&at); labels_next(&at, &l);)
			put_pair(out, l.name, l.value);
		put_pair(out, str_c(text), row->text);
	}
	buf_char(out, '\n');
	buf_fini(&value);
}
