/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/metric.h"
#include "input/lines.h"
#include "input/shaper.h"

struct shaper {
	const struct shape *shape;
	struct line_reader *lines;
	struct shape_line line;
	struct buf redacted, meta;
};

struct shaper *shaper_new(const struct shape *shape, struct line_reader *lines)
{
	struct shaper *s = xcalloc(1, sizeof(*s));

	s->shape = shape;
	s->lines = lines;
	return s;
}

void shaper_free(struct shaper *s)
{
	if (!s)
		return;
	buf_fini(&s->redacted);
	buf_fini(&s->meta);
	free(s);
}

void shaper_piece(struct shaper *s, struct record *r, size_t raw_bytes)
{
	struct labels_builder b = {.names_free = true};
	struct str at = r->meta;
	struct label l;
	char number[24];

	if (!rules_redact(s->shape->rules, r->body, &s->redacted))
		return;
	r->body = buf_view(&s->redacted);
	metric_add(METRIC_redacted_records_total, "", 1);
	if (at.n) {
		labels_start(&at);
		while (labels_next(&at, &l))
			labels_builder_set(&b, l.name, l.value, NULL);
	}
	snprintf(number, sizeof(number), "%zu", raw_bytes);
	labels_builder_set(&b, STR("redacted"), str_c(number), NULL);
	buf_clear(&s->meta);
	labels_builder_write(&b, &s->meta);
	r->meta = buf_view(&s->meta);
	labels_builder_fini(&b);
}

size_t shaper_line(struct shaper *s, const struct shape_text *t, size_t *newline)
{
	ptrdiff_t at = str_chr(t->bytes, '\n');

	(void)s;
	*newline = at < 0 ? 0 : 1;
	return (size_t)(at + 1);
}

size_t shaper_next(
	struct shaper *s, const struct shape_text *t, const struct shape_line **lines, size_t *n)
{
	size_t newline, length = shaper_line(s, t, &newline);
	struct str body = str_sub(t->bytes, 0, length - newline);

	if (length == 0 && t->more == SHAPE_END)
		body = str_sub(t->bytes, 0, length = t->bytes.n);
	if (length == 0 || length > LINE_FRAGMENT)
		return 0;
	if (t->offset == 0 && str_starts(body, STR("\xef\xbb\xbf")))
		body = str_sub(body, 3, body.n);
	if (newline && body.n > 0 && body.p[body.n - 1] == '\r')
		body.n--;
	*n = 0;
	*lines = &s->line;
	if (rules_drop(s->shape->rules, body)) {
		metric_add(METRIC_filtered_records_total, "", 1);
		return length;
	}
	s->line = (struct shape_line){.labels = t->labels, .end = length};
	line_reader_record(s->lines, body, t->labels, &s->line.record);
	shaper_piece(s, &s->line.record, length);
	*n = 1;
	return length;
}
