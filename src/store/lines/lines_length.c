/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/memory.h"
#include "store/lines/lines_read.h"

enum { UUID_CHARS = 36 };

/* Add the lengths of a slot's values to those of the template's lines. */
static void add_lengths(const struct column *c, uint32_t *lengths)
{
	uint32_t same = c->kind == SLOT_UUID || c->kind == SLOT_UUID_UPPER ? UUID_CHARS : c->width;

	for (uint32_t i = 0; i < c->n; i++) {
		if (c->kind == SLOT_NUMBER)
			lengths[i] += c->digits[i];
		else if (c->kind == SLOT_TEXT)
			lengths[i] += (uint32_t)c->text[i].n;
		else
			lengths[i] += same;
	}
}

static int template_lengths(
	struct lines_reader *r, uint32_t local, uint32_t count, uint32_t *lengths, struct error *e)
{
	const struct template *t = lines_read_source(r)->templates[local];
	const struct column *c;
	int code;

	for (uint32_t i = 0; i < count; i++)
		lengths[i] = (uint32_t)t->text.n;
	for (uint32_t slot = 0; slot < t->n_slots && count > 0; slot++) {
		if ((code = lines_read_column(r, local, slot, &c, e)) < 0)
			return code;
		add_lengths(c, lengths);
	}
	lines_read_drop(r, local);
	return 0;
}

/* starts[local]: where the lengths of a template's lines begin. */
static int place_lengths(struct lines_reader *r, const uint32_t *starts,
	const uint32_t *by_template, uint32_t *out, struct error *e)
{
	const struct lines_source *s = lines_read_source(r);
	const uint16_t *ids;
	const uint32_t *rank;
	int code;

	if ((code = lines_templates(r, &ids, e)) < 0 || (code = lines_read_ranks(r, &rank, e)) < 0)
		return code;
	for (uint32_t i = 0; i < s->n_rows; i++) {
		struct str line;

		if (ids[i] != TEMPLATE_NONE) {
			out[i] = by_template[starts[ids[i] - 1] + rank[i]];
			continue;
		}
		if ((code = lines_read_plain(r, rank[i], &line, e)) < 0)
			return code;
		out[i] = (uint32_t)line.n;
	}
	return 0;
}

int lines_lengths(struct lines_reader *r, uint32_t *lengths, struct error *e)
{
	const struct lines_source *s = lines_read_source(r);
	uint32_t *starts = xmalloc(s->n_templates * sizeof *starts);
	uint32_t *by_template = xmalloc(s->n_rows * sizeof *by_template), at = 0;
	int code = 0;

	for (uint32_t t = 0; t < s->n_templates && code == 0; t++) {
		uint32_t count;

		starts[t] = at;
		if ((code = lines_read_count(r, t, &count, e)) == 0 &&
			(code = template_lengths(r, t, count, by_template + at, e)) == 0)
			at += count;
	}
	if (code == 0)
		code = place_lengths(r, starts, by_template, lengths, e);
	free(starts);
	free(by_template);
	return code;
}
