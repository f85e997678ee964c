/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of patterns by what people see.  Templates that differ in the kinds
 * of their values alone (a number here, a hexadecimal one there) print alike and
 * are one pattern, and values that a sign joins are one: an address is <_>, not
 * <_>.<_>.<_>.<_>, and so is a time.  So there are two maps, from a template's key and from its
 * text, and the first is only a shortcut that may be thrown away.
 *
 * Memory is bounded: when there are too many patterns, or the budget is full,
 * the rarer half is put together and told as such.  One that comes back begins
 * at zero again, so that counts of rare patterns may then be too low; those of
 * frequent ones are not, as they never are among the rarer half.
 *
 * Examples are a second pass, for the patterns that the answer shows alone: of
 * each unit the newest row of each pattern is asked for its line, no other.
 */
#include "query/patterns.h"

#include <stdlib.h>

#include "query/entry.h"
#include "query/run.h"
#include "record/severity.h"
#include "store/lines/template.h"

enum {
	KEYS_MAX = 4 * PATTERNS_MAX,
	PATTERNS_LOW = 256, /* with fewer, a full budget is an error */
	NOT_SHOWN = UINT32_MAX,
};

struct entry {
	struct str text; /* owned */
	uint64_t count;
	const char *level; /* of all lines so far, NULL for none; valid when count > 0 */
	bool mixed;
	uint64_t *samples;
	/* The second pass. */
	char *example;
	size_t example_n;
	int64_t example_ns;
	uint64_t example_seq;
};

struct counter {
	struct reader reader;
	struct run *run;
	const struct patterns_params *params;
	struct patterns *out;
	struct entry *entries;
	size_t n, cap;
	struct map by_text, by_key;
	uint64_t charged;
	struct buf text;
	/* This unit: 1 + entry by template, valid where marked with the unit's number. */
	uint32_t *cells, *marks;
	size_t unit_cap;
	uint32_t unit;
	/* The second pass, for the entries 0 .. n_shown. */
	bool second;
	size_t n_shown;
	int64_t oldest_example; /* INT64_MIN while one is missing */
	/* By entry, the best row of this unit, where marked with its number. */
	uint32_t *best, *best_marks;
};

/* --- the table ------------------------------------------------------------------------ */

static int charge(struct counter *c, uint64_t n, struct error *e)
{
	int r = run_charge(c->run, n, e);

	if (r == 0)
		c->charged += n;
	return r;
}

static uint64_t entry_bytes(const struct counter *c, const struct entry *x)
{
	return 2 * x->text.n + (x->samples ? c->out->n_steps * sizeof *x->samples : 0) +
	       2 * sizeof *x + 128;
}

static void entry_free(struct counter *c, struct entry *x)
{
	uint64_t bytes = entry_bytes(c, x);

	run_release(c->run, bytes);
	c->charged -= bytes;
	free((void *)x->text.p);
	free(x->samples);
	free(x->example);
}

/* Keys point to entries: none of them is valid when these move.  Nor is what a unit knows. */
static void forget_keys(struct counter *c)
{
	run_release(c->run, c->by_key.bytes);
	c->charged -= c->by_key.bytes;
	map_fini(&c->by_key);
	c->unit++;
}

static int by_count(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return str_cmp(x->text, y->text);
}

static void sort(struct counter *c)
{
	if (c->n)
		qsort(c->entries, c->n, sizeof *c->entries, by_count);
}

/* Put the rarer half together. */
static void prune(struct counter *c)
{
	size_t keep = c->n / 2;

	sort(c);
	for (size_t i = keep; i < c->n; i++) {
		c->out->n_further++;
		c->out->further += c->entries[i].count;
		entry_free(c, &c->entries[i]);
	}
	c->n = keep;
	c->out->inexact = true;
	map_fini(&c->by_text);
	for (size_t i = 0; i < c->n; i++)
		map_put(&c->by_text, c->entries[i].text, NULL)->u = i;
	forget_keys(c);
}

static int entry_add(struct counter *c, struct str text, uint32_t *out, struct error *e)
{
	size_t n_steps = c->out->n_steps;
	struct entry x = {.text.n = text.n, .samples = NULL};
	uint64_t bytes = entry_bytes(c, &x) + n_steps * sizeof *x.samples;
	int r;

	if (c->n == PATTERNS_MAX)
		prune(c);
	if ((r = charge(c, bytes, e)) < 0 && c->n >= PATTERNS_LOW) {
		prune(c);
		r = charge(c, bytes, e);
	}
	if (r < 0)
		return r;
	if (c->n == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 64;
		c->entries = xrealloc(c->entries, c->cap * sizeof *c->entries);
	}
	x.text.p = str_dup(text);
	x.samples = n_steps ? xcalloc(n_steps, sizeof *x.samples) : NULL;
	*out = (uint32_t)c->n;
	map_put(&c->by_text, text, NULL)->u = c->n;
	c->entries[c->n++] = x;
	return 0;
}

/* Remember the entry of a key, while there is room. */
static void key_put(struct counter *c, struct str key, uint32_t at)
{
	size_t before = c->by_key.bytes;

	if (c->by_key.n >= KEYS_MAX || account_charge(c->run->out->account, 4 * key.n + 256) < 0)
		return;
	run_release(c->run, 4 * key.n + 256);
	map_put(&c->by_key, key, NULL)->u = at;
	account_force(c->run->out->account, c->by_key.bytes - before);
	c->charged += c->by_key.bytes - before;
}

static bool joins(char sign)
{
	return memchr(".:-/_,+@", sign, 8) != NULL;
}

/* "<_>.<_>:<_>" to "<_>", in place. */
static void join_values(struct buf *text)
{
	static const struct str value = STR_INIT("<_>");
	struct str from = buf_view(text);
	size_t to = 0;

	for (size_t at = 0; at < from.n;) {
		struct str rest = str_sub(from, at, from.n);
		bool here = str_starts(rest, value),
		     behind = to >= 3 && !memcmp(text->p + to - 3, value.p, 3);

		if (behind && here) {
			at += 3;
		} else if (behind && joins(rest.p[0]) &&
			   str_starts(str_sub(rest, 1, rest.n), value)) {
			at += 4;
		} else {
			memmove(text->p + to, rest.p, here ? 3 : 1);
			to += here ? 3 : 1;
			at += here ? 3 : 1;
		}
	}
	text->n = to;
}

static int entry_of(struct counter *c, const struct template *t, uint32_t *out, struct error *e)
{
	const union map_value *known = map_get(&c->by_key, t->key);
	int r;

	if (known) {
		*out = (uint32_t)known->u;
		return 0;
	}
	buf_clear(&c->text);
	template_print(t, &c->text);
	join_values(&c->text);
	if ((known = map_get(&c->by_text, buf_view(&c->text))))
		*out = (uint32_t)known->u;
	else if (c->second)
		*out = NOT_SHOWN; /* the table stands: what it lacks is among the rare ones */
	else if ((r = entry_add(c, buf_view(&c->text), out, e)) < 0)
		return r;
	key_put(c, t->key, *out);
	return 0;
}

static int unit_begin(struct counter *c, size_t n_templates, struct error *e)
{
	size_t cap = c->unit_cap;
	int r;

	c->unit++;
	if (n_templates <= cap)
		return 0;
	if ((r = charge(c, (n_templates - cap) * 2 * sizeof *c->cells, e)) < 0)
		return r;
	c->unit_cap = n_templates;
	c->cells = xrealloc(c->cells, n_templates * sizeof *c->cells);
	c->marks = xrealloc(c->marks, n_templates * sizeof *c->marks);
	memset(c->marks + cap, 0, (n_templates - cap) * sizeof *c->marks);
	return 0;
}

static int cell_of(struct counter *c, const struct template *const *templates, uint32_t template,
	uint32_t *out, struct error *e)
{
	int r;

	if (c->marks[template] == c->unit) {
		*out = c->cells[template];
		return 0;
	}
	if ((r = entry_of(c, templates[template], out, e)) < 0)
		return r;
	/* Behind it: a prune makes what a unit knew invalid. */
	c->marks[template] = c->unit;
	c->cells[template] = *out;
	return 0;
}

/* --- counting ------------------------------------------------------------------------- */

static int64_t floor_div(int64_t a, int64_t b)
{
	int64_t q = a / b;

	return q * b > a ? q - 1 : q;
}

static size_t step_of(const struct counter *c, int64_t time)
{
	const struct patterns *p = c->out;

	return (size_t)(((uint64_t)time - (uint64_t)p->first_ns) / (uint64_t)p->step_ns);
}

/* The lines of a row, or of a count; `template` as the source tells it. */
struct found {
	uint32_t template;
	const char *level;
	int64_t time;
	uint64_t rows;
};

static int take(struct counter *c, const struct template *const *templates, const struct found *f,
	struct error *e)
{
	struct entry *x;
	uint32_t at = 0;
	int r;

	c->out->lines += f->rows;
	if (f->template == ROWS_NO_TEMPLATE) {
		c->out->other += f->rows;
		return 0;
	}
	if ((r = cell_of(c, templates, f->template, &at, e)) < 0)
		return r;
	x = &c->entries[at];
	if (x->count == 0)
		x->level = f->level;
	x->mixed = x->mixed || x->level != f->level;
	x->count += f->rows;
	if (x->samples)
		x->samples[step_of(c, f->time)] += f->rows;
	return 0;
}

static int on_unit(void *ctx, const struct rows *rows, struct error *e)
{
	struct counter *c = ctx;
	int r = unit_begin(c, rows->n_templates, e);

	for (size_t at = 0; at < rows->n && r >= 0; at++) {
		uint32_t i = rows->pick[at];
		struct found f = {
			.template = rows->template ? rows->template[i] : ROWS_NO_TEMPLATE,
			.level = entry_level(rows, i),
			.time = rows->timestamp[i],
			.rows = 1,
		};
		if ((r = reader_keeps(&c->reader, rows, i, NULL, e)) > 0)
			r = take(c, rows->templates, &f, e);
	}
	return r;
}

static bool same_bucket(void *ctx, int64_t min_ns, int64_t max_ns)
{
	const struct counter *c = ctx;

	return c->out->n_steps == 0 || step_of(c, min_ns) == step_of(c, max_ns);
}

static struct scan_buckets buckets(const struct counter *c)
{
	struct scan_buckets b = {.known = true};

	/* Steps begin at multiples of the step. */
	if (c->out->n_steps)
		b.step_ns = c->out->step_ns;
	return b;
}

static int on_counts(void *ctx, const struct row_counts *counts, struct error *e)
{
	struct counter *c = ctx;
	int r = unit_begin(c, counts->n_templates, e);

	for (size_t i = 0; i < counts->n && r >= 0; i++) {
		const struct row_count *x = &counts->counts[i];
		struct found f = {
			.template = x->template,
			.level = x->level_detected ? severity_level(x->severity) : NULL,
			.time = x->min_ns,
			.rows = x->rows,
		};
		if (f.rows)
			r = take(c, counts->templates, &f, e);
	}
	return r;
}

static int set_steps(struct counter *c, struct error *e)
{
	const struct query_params *p = &c->params->query;
	uint64_t span;

	if (p->step_ns == 0 || p->end_ns <= p->start_ns)
		return 0;
	if (p->step_ns < 0)
		return error_set(e, ERR_ARG, "step: must be more than nothing");
	c->out->step_ns = p->step_ns;
	c->out->first_ns = floor_div(p->start_ns, p->step_ns) * p->step_ns;
	span = (uint64_t)p->end_ns - 1 - (uint64_t)c->out->first_ns;
	if (span / (uint64_t)p->step_ns >= QUERY_POINTS_MAX)
		return error_set(e, ERR_ARG,
			"exceeded maximum resolution of 11,000 points per pattern. Try increasing "
			"the value of the step parameter");
	c->out->n_steps = (size_t)(span / (uint64_t)p->step_ns) + 1;
	return 0;
}

/* --- examples ------------------------------------------------------------------------- */

static bool newer(const struct rows *rows, uint32_t a, uint32_t b)
{
	if (rows->timestamp[a] != rows->timestamp[b])
		return rows->timestamp[a] > rows->timestamp[b];
	return rows->seq[a] > rows->seq[b];
}

/* The entry of a row that its example could be; NULL for none. */
static struct entry *wanted(struct counter *c, const struct rows *rows, uint32_t i)
{
	struct error ignored;
	struct entry *x;
	uint32_t at = 0;

	if (!rows->template || rows->template[i] == ROWS_NO_TEMPLATE ||
		cell_of(c, rows->templates, rows->template[i], &at, &ignored) < 0 ||
		at == NOT_SHOWN || at >= c->n_shown)
		return NULL;
	x = &c->entries[at];
	if (x->example &&
		(rows->timestamp[i] < x->example_ns ||
			(rows->timestamp[i] == x->example_ns && rows->seq[i] <= x->example_seq)))
		return NULL;
	return x;
}

/* Leave the newest row of each pattern, where it is newer than the example that is there. */
static size_t narrow(void *ctx, const struct rows *rows, uint32_t *pick)
{
	struct counter *c = ctx;
	size_t n = 0;

	/* The newest of a pattern may yet be dropped. */
	if (c->reader.may_drop || !rows->template || unit_begin(c, rows->n_templates, NULL) < 0)
		return rows->n;
	for (size_t at = 0; at < rows->n; at++) {
		struct entry *x = wanted(c, rows, pick[at]);
		size_t place = x ? (size_t)(x - c->entries) : 0;
		if (!x ||
			(c->best_marks[place] == c->unit && !newer(rows, pick[at], c->best[place])))
			continue;
		c->best_marks[place] = c->unit;
		c->best[place] = pick[at];
	}
	for (size_t at = 0; at < rows->n; at++) {
		uint32_t i = pick[at];
		struct entry *x = wanted(c, rows, i);
		if (x && c->best[x - c->entries] == i)
			pick[n++] = i;
	}
	return n;
}

static bool want_span(void *ctx, int64_t min_ns, int64_t max_ns)
{
	const struct counter *c = ctx;

	(void)min_ns;
	return max_ns >= c->oldest_example;
}

static int set_example(
	struct counter *c, struct entry *x, const struct rows *rows, uint32_t i, struct error *e)
{
	struct str line = str_sub(rows->body[i], 0, PATTERN_EXAMPLE_MAX);
	int r;

	if ((r = run_charge(c->run, line.n, e)) < 0)
		return r;
	run_release(c->run, x->example_n);
	c->charged += line.n - x->example_n;
	free(x->example);
	x->example = str_dup(line);
	x->example_n = line.n;
	x->example_ns = rows->timestamp[i];
	x->example_seq = rows->seq[i];
	return 0;
}

static int on_example_unit(void *ctx, const struct rows *rows, struct error *e)
{
	struct counter *c = ctx;
	int r = unit_begin(c, rows->n_templates, e);

	for (size_t at = 0; at < rows->n && r >= 0; at++) {
		uint32_t i = rows->pick[at];
		struct entry *x = wanted(c, rows, i);
		if (x && (r = reader_keeps(&c->reader, rows, i, NULL, e)) > 0)
			r = set_example(c, x, rows, i, e);
	}
	c->oldest_example = INT64_MAX;
	for (size_t i = 0; i < c->n_shown; i++) {
		int64_t time = c->entries[i].example ? c->entries[i].example_ns : INT64_MIN;
		c->oldest_example = time < c->oldest_example ? time : c->oldest_example;
	}
	return r;
}

/* The entries are sorted; the first n_shown are the answer's. */
static int find_examples(struct counter *c, const struct plan *counting, struct error *e)
{
	struct plan plan = *counting;
	size_t bytes = c->n_shown * 2 * sizeof *c->best;
	int r;

	if (c->n_shown == 0)
		return 0;
	plan.columns |= SCAN_BODY;
	plan.order = SCAN_NEWEST_FIRST;
	map_fini(&c->by_text);
	for (size_t i = 0; i < c->n; i++)
		map_put(&c->by_text, c->entries[i].text, NULL)->u = i;
	forget_keys(c);
	if ((r = charge(c, bytes, e)) < 0)
		return r;
	c->second = true;
	c->best = xcalloc(2 * c->n_shown, sizeof *c->best);
	c->best_marks = c->best + c->n_shown;
	c->oldest_example = INT64_MIN;
	c->reader = (struct reader){
		.run = c->run,
		.plan = &plan,
		.ctx = c,
		.want_span = want_span,
		.unit = on_example_unit,
	};
	/* Where stages may drop the row that was chosen, all must be seen. */
	c->reader.narrow = plan.stages ? NULL : narrow;
	return reader_run(&c->reader, e);
}

/* --- the answer ----------------------------------------------------------------------- */

static int move_entry(struct counter *c, struct entry *x, struct pattern *to, struct error *e)
{
	struct arena *a = &c->run->out->arena;
	size_t steps = x->samples ? c->out->n_steps * sizeof *x->samples : 0;
	int r;

	if ((r = run_reserve(c->run, x->text.n + x->example_n + steps + 128, e)) < 0)
		return r;
	*to = (struct pattern){
		.text = arena_str(a, x->text),
		.count = x->count,
		.level = x->mixed ? NULL : x->level,
		.example = arena_str(a, str_make(x->example, x->example_n)),
		.example_ns = x->example_ns,
	};
	if (steps) {
		to->samples = ARENA_ARRAY(a, uint64_t, c->out->n_steps);
		memcpy(to->samples, x->samples, steps);
	}
	run_release(c->run, x->example_n);
	c->charged -= x->example_n;
	x->example_n = 0;
	return 0;
}

static int to_answer(struct counter *c, struct error *e)
{
	struct patterns *out = c->out;
	uint64_t bytes = c->n_shown * sizeof *out->patterns;
	int r = 0;

	for (size_t i = c->n_shown; i < c->n; i++) {
		out->n_further++;
		out->further += c->entries[i].count;
	}
	if (c->n_shown == 0)
		return 0;
	if ((r = run_reserve(c->run, bytes, e)) < 0)
		return r;
	out->patterns = ARENA_ARRAY(&c->run->out->arena, struct pattern, c->n_shown);
	for (; out->n < c->n_shown && r == 0; out->n++) {
		struct entry *x = &c->entries[out->n];
		r = move_entry(c, x, &out->patterns[out->n], e);
		/* Given back at once, so that no more than one is held twice. */
		entry_free(c, x);
		*x = (struct entry){0};
	}
	return r;
}

static void counter_fini(struct counter *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free((void *)c->entries[i].text.p);
		free(c->entries[i].samples);
		free(c->entries[i].example);
	}
	free(c->entries);
	free(c->cells);
	free(c->marks);
	free(c->best);
	map_fini(&c->by_text);
	map_fini(&c->by_key);
	buf_fini(&c->text);
	run_release(c->run, c->charged);
}

struct job {
	const struct patterns_params *params;
	struct patterns *out;
};

static int run_patterns(struct run *run, void *ctx, struct error *e)
{
	const struct job *j = ctx;
	const struct query_params *p = &j->params->query;
	struct plan plan = plan_count(&run->query->root->log, p, SCAN_TEMPLATE, &run->out->arena);
	struct counter c = {
		.run = run,
		.params = j->params,
		.out = j->out,
		.reader = {.run = run,
			.plan = &plan,
			.unit = on_unit,
			.same_bucket = same_bucket,
			.counts = on_counts},
	};
	int r;

	c.reader.ctx = &c;
	if ((r = set_steps(&c, e)) == 0) {
		c.reader.buckets = buckets(&c);
		r = reader_run(&c.reader, e);
	}
	if (r == 0) {
		sort(&c);
		c.n_shown = p->limit && p->limit < c.n ? p->limit : c.n;
		if (j->params->examples)
			r = find_examples(&c, &plan, e);
	}
	if (r == 0)
		r = to_answer(&c, e);
	if (j->out->inexact)
		run_warn(run, "there are too many different patterns to tell all of them apart: "
			      "the rarest were counted together");
	counter_fini(&c);
	return r;
}

int source_patterns(struct source *s, const struct query *q, const struct patterns_params *p,
	struct patterns *out, struct error *e)
{
	struct patterns patterns = {0};
	struct job j = {p, &patterns};
	int r;

	if (!query_is_log(q))
		return error_set(
			e, ERR_ARG, "patterns are those of lines: a metric query has none");
	if ((r = run_whole(s, q, &p->query, run_patterns, &j, &patterns.result, e)) == 0)
		*out = patterns;
	return r;
}

void patterns_fini(struct patterns *p)
{
	if (p->result.account)
		query_result_fini(&p->result);
	*p = (struct patterns){0};
}
