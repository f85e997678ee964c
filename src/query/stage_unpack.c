/* SPDX-License-Identifier: Apache-2.0 */
/*
 * | unpack: what an agent's pack stage made.  The strings of the line's object
 * are labels, but for _entry, which becomes the line.  Other values than
 * strings pack never writes; they are left out.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "query/ast.h"
#include "query/json_line.h"

struct state {
	struct json_line line;
	struct account *account;
	uint64_t charged;
	bool all;
	struct str names[WANTED_TARGETS_MAX]; /* if not all */
	size_t n_names;
};

static void *begin(const struct stage *s, const struct wanted *behind, struct account *a)
{
	struct state *st = xcalloc(1, sizeof *st);

	st->line.take = JSON_TAKE_STRINGS;
	st->account = a;
	st->all = behind->all;
	if (!st->all)
		st->n_names = wanted_targets(behind, st->names);
	st->charged = sizeof *st;
	if (a)
		account_force(a, st->charged);
	return st;
}

static void end(void *state)
{
	struct state *st = state;

	account_release(st->account, st->charged);
	json_line_fini(&st->line);
	free(st);
}

static bool wants_field(const struct state *st, struct str raw)
{
	for (size_t i = 0; i < st->n_names; i++)
		if (label_name_is(st->names[i], raw, true))
			return true;
	return st->all;
}

static int run(const struct stage *s, void *state, struct pipe_row *row)
{
	struct state *st = state;
	struct json_line *line = &st->line;
	struct fields *f = row->fields;
	bool fits = true, entry = false;
	uint64_t held;

	if (!json_line_read(line, row->line, f)) {
		fields_fail(f, "JSONParserErr", "bad JSON at byte %zu: %s", line->at, line->what);
		return 1;
	}
	for (size_t i = 0; i < line->n_found; i++) {
		const struct json_found *found = &line->found[i];
		if (!str_eq(found->name, STR("_entry"))) {
			if (wants_field(st, found->name))
				fits &= fields_parsed(f, found->name, found->value);
		} else if (!entry) {
			row->line = found->value;
			entry = true;
		}
	}
	if (!fits || line->more)
		fields_fail(f, "JSONParserErr", "more than %d fields: the rest is left out",
			FIELDS_MAX);
	held = sizeof *st + line->cap * sizeof *line->found;
	if (st->account && held > st->charged) {
		account_force(st->account, held - st->charged);
		st->charged = held;
	}
	return 1;
}

static void wants(const struct stage *s, struct wanted *w)
{
	w->line = true;
}

static void format(const struct stage *s, struct buf *out)
{
	buf_c(out, "| unpack");
}

static const struct stage_type unpack = {
	.name = "unpack",
	.columns = SCAN_BODY,
	.changes_line = true,
	.wants = wants,
	.begin = begin,
	.end = end,
	.run = run,
	.format = format,
};

struct stage *unpack_new(struct query *q)
{
	struct stage *s = ARENA_NEW(&q->arena, struct stage);

	s->type = &unpack;
	return s;
}
