/* SPDX-License-Identifier: Apache-2.0 */
/*
 * | decolorize: the line without its terminal escape sequences (ECMA-48):
 *
 *   ESC [ parameters 0-? intermediates blank-/ final @-~     colours, cursor
 *   ESC ] text, ended by BEL or ESC \                         titles, links
 *   ESC intermediates blank-/ final 0-~                       the others
 *
 * A sequence that is cut off stays as it is: it may be no sequence at all.
 */
#include "query/ast.h"

enum { ESC = 0x1b, BEL = 0x07 };

static size_t skip_range(struct str s, size_t i, unsigned char low, unsigned char high)
{
	while (i < s.n && (unsigned char)s.p[i] >= low && (unsigned char)s.p[i] <= high)
		i++;
	return i;
}

static size_t final_byte(struct str s, size_t i, unsigned char low)
{
	return i < s.n && (unsigned char)s.p[i] >= low && (unsigned char)s.p[i] <= '~' ? i + 1 : 0;
}

static size_t command_length(struct str s)
{
	for (size_t i = 2; i < s.n; i++) {
		if (s.p[i] == BEL)
			return i + 1;
		if (s.p[i] == ESC)
			return i + 1 < s.n && s.p[i + 1] == '\\' ? i + 2 : 0;
	}
	return 0;
}

/* Of the sequence at the head of s, which begins with ESC; 0 when it is none. */
static size_t sequence_length(struct str s)
{
	if (s.n < 2)
		return 0;
	if (s.p[1] == '[')
		return final_byte(s, skip_range(s, skip_range(s, 2, '0', '?'), ' ', '/'), '@');
	if (s.p[1] == ']')
		return command_length(s);
	return final_byte(s, skip_range(s, 1, ' ', '/'), '0');
}

static struct str decolorize(struct fields *f, struct str line)
{
	const char *esc = line.n ? memchr(line.p, ESC, line.n) : NULL;
	char *text, *end;
	struct str rest = line;

	if (!esc)
		return line;
	text = end = fields_text(f, line.n);
	for (; esc; esc = rest.n ? memchr(rest.p, ESC, rest.n) : NULL) {
		size_t before = (size_t)(esc - rest.p), n;
		end = mempcpy(end, rest.p, before);
		rest = str_sub(rest, before, rest.n);
		n = sequence_length(rest);
		if (n == 0) {
			*end++ = ESC;
			n = 1;
		}
		rest = str_sub(rest, n, rest.n);
	}
	if (rest.n)
		end = mempcpy(end, rest.p, rest.n);
	return str_make(text, (size_t)(end - text));
}

static int run(const struct stage *s, void *state, struct pipe_row *row)
{
	(void)s;
	(void)state;
	row->line = decolorize(row->fields, row->line);
	return 1;
}

static bool idle(const struct stage *s, const struct wanted *behind)
{
	(void)s;
	return !behind->line;
}

static void format(const struct stage *s, struct buf *out)
{
	(void)s;
	buf_c(out, "| decolorize");
}

static const struct stage_type decolorize_type = {
	.name = "decolorize",
	.columns = SCAN_BODY,
	.changes_line = true,
	.idle = idle,
	.run = run,
	.format = format,
};

struct stage *decolorize_new(struct query *q)
{
	struct stage *s = ARENA_NEW(&q->arena, struct stage);

	s->type = &decolorize_type;
	return s;
}
