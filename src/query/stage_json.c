/* SPDX-License-Identifier: Apache-2.0 */
/*
 * | json and | json a="b.c", d.  The line as a whole is JSON or it is not: of
 * one that breaks off nothing is taken, and the row gets JSONParserErr.  What
 * the documentation leaves open: null counts as not there, and so does what a
 * path does not find; "" is an empty value.
 *
 * What was found goes to the fields when the line was read to its end.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "query/ast.h"
#include "query/json_line.h"
#include "query/quote.h"

struct json {
	struct stage stage;
	const struct extraction *list;
	const struct json_path *paths;
	size_t n;
};

struct state {
	struct json_line line;
	struct account *account;
	uint64_t charged;
	struct str names[WANTED_TARGETS_MAX];
	/* Of an extraction list: those that somebody wants. */
	struct json_path paths[JSON_LINE_PICKED];
};

static void charge(struct state *st, uint64_t held)
{
	if (st->account && held > st->charged)
		account_force(st->account, held - st->charged);
	st->charged = held;
}

static void pick_paths(const struct json *j, struct state *st, const struct wanted *behind)
{
	st->line.take = JSON_TAKE_PATHS;
	st->line.paths = st->paths;
	st->line.names = st->names;
	for (size_t i = 0; i < j->n; i++) {
		if (!wanted_has(behind, j->list[i].name))
			continue;
		st->names[st->line.n_picked] = j->list[i].name;
		st->paths[st->line.n_picked++] = j->paths[i];
	}
}

static void *begin(const struct stage *s, const struct wanted *behind, struct account *a)
{
	const struct json *j = (const struct json *)s;
	struct state *st = xcalloc(1, sizeof *st);

	st->account = a;
	if (j->n) {
		pick_paths(j, st, behind);
	} else if (!behind->all) {
		st->line.take = JSON_TAKE_NAMES;
		st->line.names = st->names;
		st->line.n_picked = wanted_targets(behind, st->names);
		if (st->line.n_picked > JSON_LINE_PICKED)
			st->line.take = JSON_TAKE_ALL;
	}
	charge(st, sizeof *st);
	return st;
}

static void end(void *state)
{
	struct state *st = state;

	account_release(st->account, st->charged);
	json_line_fini(&st->line);
	free(st);
}

static int run(const struct stage *s, void *state, struct pipe_row *row)
{
	struct state *st = state;
	struct json_line *line = &st->line;
	struct fields *f = row->fields;
	bool fits = true;

	if (!json_line_read(line, row->line, f)) {
		fields_fail(f, "JSONParserErr", "bad JSON at byte %zu: %s", line->at, line->what);
		return 1;
	}
	for (size_t i = 0; i < line->n_found; i++) {
		const struct json_found *found = &line->found[i];
		struct str name = found->name;
		if (line->take == JSON_TAKE_PATHS)
			name = line->names[found->at];
		fits &= fields_parsed(f, name, found->value);
	}
	if (!fits || line->more)
		fields_fail(f, "JSONParserErr", "more than %d fields: the rest is left out",
			FIELDS_MAX);
	if (sizeof *st + line->cap * sizeof *line->found > st->charged)
		charge(st, sizeof *st + line->cap * sizeof *line->found);
	return 1;
}

static void wants(const struct stage *s, struct wanted *w)
{
	w->line = true;
}

static void format(const struct stage *s, struct buf *out)
{
	const struct json *j = (const struct json *)s;

	buf_c(out, "| json");
	for (size_t i = 0; i < j->n; i++) {
		buf_c(out, i ? ", " : " ");
		buf_str(out, j->list[i].name);
		buf_char(out, '=');
		quote_go(out, j->list[i].path);
	}
}

static const struct stage_type json = {
	.name = "json",
	.columns = SCAN_BODY,
	.may_fail = true,
	.wants = wants,
	.begin = begin,
	.end = end,
	.run = run,
	.format = format,
};

int json_new(struct query *q, const struct extraction *list, size_t n, struct stage **out,
	struct error *e)
{
	struct json *j = ARENA_NEW(&q->arena, struct json);
	struct json_path *paths = ARENA_ARRAY(&q->arena, struct json_path, n);
	int r;

	if (n > JSON_LINE_PICKED)
		return error_set(e, ERR_ARG,
			"json takes out %zu fields by name, at most %d are allowed", n,
			JSON_LINE_PICKED);
	for (size_t i = 0; i < n; i++)
		if ((r = json_path_parse(&q->arena, list[i].path, &paths[i], e)) < 0)
			return r;
	*j = (struct json){{.type = &json}, list, paths, n};
	*out = &j->stage;
	return 0;
}
