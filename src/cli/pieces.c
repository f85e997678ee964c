/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hole is known at once where the server told of a gap that covers it; else
 * when more waits behind it than the lines of one unit can be apart.
 */
#include "cli/pieces.h"

#include <stdlib.h>

#include "base/memory.h"

enum {
	WINDOW_BYTES = 4 << 20, /* a unit of a container's lines is at most 1 MiB long */
	GAPS_MAX = 10000,       /* beyond, holes are told without their reason */
};

void pieces_fini(struct pieces *p)
{
	for (size_t i = 0; i < p->n_items; i++)
		free(p->items[i].bytes);
	for (size_t i = 0; i < p->n_gaps; i++)
		free(p->gaps[i].why);
	free(p->items);
	free(p->gaps);
}

/* Forget the gaps that are behind. */
static void drop_gaps(struct pieces *p)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->n_gaps; i++) {
		if (p->gaps[i].to <= p->at)
			free(p->gaps[i].why);
		else
			p->gaps[kept++] = p->gaps[i];
	}
	p->n_gaps = kept;
}

/* Does a gap that was told cover [at, to)? */
static bool is_told(const struct pieces *p, uint64_t to)
{
	uint64_t at = p->at;

	for (size_t i = 0; i < p->n_gaps && at < to; i++)
		if (p->gaps[i].from <= at && p->gaps[i].to > at)
			at = p->gaps[i].to;
	return at >= to;
}

/* Nothing will come of [at, to). */
static void pass_hole(struct pieces *p, uint64_t to)
{
	while (p->at < to) {
		uint64_t end = to;
		const char *why = "not in the store";

		for (size_t i = 0; i < p->n_gaps; i++) {
			const struct pieces_gap *g = &p->gaps[i];

			if (g->from <= p->at && g->to > p->at) {
				end = g->to < to ? g->to : to;
				why = g->why;
				break;
			}
			if (g->from > p->at && g->from < end)
				end = g->from;
		}
		p->hole(p->ctx, p->at, end - p->at, why);
		p->at = end;
	}
	drop_gaps(p);
}

static int write_item(struct pieces *p, const struct pieces_item *item, struct error *e)
{
	uint64_t passed = p->at - item->offset;
	struct str bytes = str_make(item->bytes, item->n);

	if (item->redacted) {
		p->hole(p->ctx, item->offset, item->length, "redacted before it left the host");
	} else {
		/* What was there already is not written twice. */
		bytes = str_sub(bytes, passed < bytes.n ? (size_t)passed : bytes.n, bytes.n);
	}
	if (item->offset + item->length > p->at)
		p->at = item->offset + item->length;
	return p->write(p->ctx, bytes, e);
}

/* Write what waits and whose turn it is; with `all` holes or not. */
static int drain(struct pieces *p, bool all, struct error *e)
{
	size_t n = 0;
	int r = 0;

	while (r == 0 && n < p->n_items) {
		struct pieces_item *item = &p->items[n];

		if (item->offset > p->at) {
			if (!all && p->waiting_bytes <= WINDOW_BYTES && !is_told(p, item->offset))
				break;
			pass_hole(p, item->offset);
		}
		r = write_item(p, item, e);
		p->waiting_bytes -= item->n;
		free(item->bytes);
		n++;
	}
	if (n > 0) {
		p->n_items -= n;
		memmove(p->items, p->items + n, p->n_items * sizeof *p->items);
		drop_gaps(p);
	}
	return r;
}

static int add_item(struct pieces *p, struct pieces_item item, struct error *e)
{
	char *copy;
	size_t i;

	if (p->n_items == 0 && (item.offset == p->at || is_told(p, item.offset))) {
		if (item.offset > p->at)
			pass_hole(p, item.offset);
		return write_item(p, &item, e);
	}
	if (p->n_items == p->cap_items) {
		p->cap_items = p->cap_items ? p->cap_items * 2 : 64;
		p->items = xrealloc(p->items, p->cap_items * sizeof *p->items);
	}
	copy = xmalloc(item.n);
	if (item.n)
		memcpy(copy, item.bytes, item.n);
	item.bytes = copy;
	for (i = p->n_items; i > 0 && p->items[i - 1].offset > item.offset; i--)
		p->items[i] = p->items[i - 1];
	p->items[i] = item;
	p->n_items++;
	p->waiting_bytes += item.n;
	return drain(p, false, e);
}

static void add_gap(struct pieces *p, uint64_t offset, uint64_t length, struct str why)
{
	if (p->n_gaps == GAPS_MAX)
		return;
	if (p->n_gaps == p->cap_gaps) {
		p->cap_gaps = p->cap_gaps ? p->cap_gaps * 2 : 64;
		p->gaps = xrealloc(p->gaps, p->cap_gaps * sizeof *p->gaps);
	}
	p->gaps[p->n_gaps++] = (struct pieces_gap){offset, offset + length, str_dup(why)};
}

/* "<offset> <length>" and what follows. */
static bool read_span(struct str *line, uint64_t *offset, uint64_t *length)
{
	uint64_t end;

	return str_u64(str_cut(line, ' '), offset) && str_u64(str_cut(line, ' '), length) &&
	       !__builtin_add_overflow(*offset, *length, &end);
}

static bool take_bytes(struct str *bytes, uint64_t n, struct pieces_item *item)
{
	if (n > bytes->n)
		return false;
	item->bytes = (char *)(uintptr_t)bytes->p;
	item->n = (size_t)n;
	*bytes = str_sub(*bytes, (size_t)n, bytes->n);
	return true;
}

/* 1: the line makes no sense. */
static int read_line(
	struct pieces *p, struct str line, struct str *bytes, struct str *next, struct error *e)
{
	struct str word = str_cut(&line, ' ');
	struct pieces_item item = {0};
	uint64_t n;

	if (str_eq(word, STR("next"))) {
		*next = line;
		return line.n == 0;
	}
	if (!read_span(&line, &item.offset, &item.length))
		return 1;
	if (str_eq(word, STR("gap"))) {
		add_gap(p, item.offset, item.length, line);
		return 0;
	}
	item.redacted = str_eq(word, STR("redacted"));
	n = item.length;
	if (item.redacted ? !str_u64(line, &n) : !str_eq(word, STR("piece")))
		return 1;
	return take_bytes(bytes, n, &item) ? add_item(p, item, e) : 1;
}

int pieces_page(struct pieces *p, struct str page, struct str *next, struct error *e)
{
	/* An empty head is an empty line alone. */
	ptrdiff_t end = str_starts(page, STR("\n")) ? 0 : str_find(page, STR("\n\n")) + 1;
	struct str head = str_sub(page, 0, (size_t)end), bytes;
	int r = 0;

	*next = STR_NONE;
	if (end == 0 && !str_starts(page, STR("\n")))
		r = 1;
	bytes = str_sub(page, (size_t)end + 1, page.n);
	while (r == 0 && head.n)
		r = read_line(p, str_cut(&head, '\n'), &bytes, next, e);
	if (r > 0 || (r == 0 && bytes.n))
		return error_set(e, ERR_NET, "the answer is no page of pieces: is this sawlog?");
	return r;
}

int pieces_end(struct pieces *p, struct error *e)
{
	int r = drain(p, true, e);

	/* What the server told of behind the last piece. */
	for (size_t i = 0; r == 0 && i < p->n_gaps; i++)
		if (p->gaps[i].to > p->at) {
			pass_hole(p, p->gaps[i].to);
			i = (size_t)-1;
		}
	return r;
}
