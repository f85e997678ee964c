/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all runs share.  The account of a query is a child of the caller's and
 * lives as long as the result, which holds what was charged to it.
 */
#include "query/run.h"

#include <assert.h>
#include <stdlib.h>

#include "base/map.h"
#include "loop/worker.h"
#include "query/entry.h"
#include "query/explain.h"
#include "query/select.h"
#include "record/severity.h"

enum {
	TICKS = 1024,         /* rows between two looks at the clock */
	FIRST_ROWS = 1024,    /* after so many it shows whether asking the filters first pays */
	WARNINGS_ALIKE = 5,   /* kept of those that differ in numbers alone */
	TOLD_MAX = 4096,      /* known again when they come twice */
	MEMO_BYTES = 1 << 20, /* of decisions about streams; beyond it none is kept */
};

#define BUDGET_BYTES (UINT64_C(256) << 20)
#define TIMEOUT_NS   (30 * NS_PER_SEC)

int run_check(struct run *r, struct error *e)
{
	const struct query_params *p = r->params;

	if (p->cancel && atomic_load_explicit(p->cancel, memory_order_relaxed))
		return error_set(e, ERR_CANCELLED, "the query was cancelled");
	if (clock_mono_ns(clock_real()) >= r->deadline_ns)
		return error_set(e, ERR_TIMEOUT,
			"the query took longer than %.3g s: narrow its time range or its selector",
			(double)(p->timeout_ns ? p->timeout_ns : TIMEOUT_NS) / (double)NS_PER_SEC);
	/* Not while it holds what ingest may wait for. */
	if (!r->gave_way && !(r->scan && r->scan->holds_head) &&
		clock_thread_ns() - r->cpu_ns >= SCAN_LONG_NS) {
		r->gave_way = true;
		worker_give_way();
	}
	return 0;
}

int run_tick(struct run *r, struct error *e)
{
	return ++r->ticks % TICKS ? 0 : run_check(r, e);
}

int run_over_budget(struct run *r, struct error *e)
{
	const struct account *a = r->out->account;

	/* Somebody above refused: this query alone is not to blame. */
	if (atomic_load(&a->refused) == 0)
		return error_set(e, ERR_LIMIT,
			"no memory is left for the query beside the others: try again later, or "
			"narrow its time range or its selector");
	return error_set(e, ERR_LIMIT,
		"the query needs more than its memory budget of %llu KiB: narrow its time range "
		"or its selector, aggregate to fewer series, or page with a limit",
		(unsigned long long)(a->limit >> 10));
}

int run_charge(struct run *r, uint64_t n, struct error *e)
{
	return account_charge(r->out->account, n) < 0 ? run_over_budget(r, e) : 0;
}

void run_release(struct run *r, uint64_t n)
{
	account_release(r->out->account, n);
}

int run_reserve(struct run *r, uint64_t n, struct error *e)
{
	int code = run_charge(r, n, e);

	if (code == 0)
		run_release(r, n);
	return code;
}

/* --- reading -------------------------------------------------------------------------- */

static void reader_fail(struct reader *r, int code)
{
	if (!r->failed)
		r->failed = code;
}

static int regex_budget(struct error *e)
{
	return error_set(e, ERR_LIMIT,
		"a regex of the query took too many steps on one text: make it simpler");
}

/* What the selector says of the stream, of enum selected; the collector may refuse it. */
static int decide(struct reader *r, struct str labels)
{
	int code = select_stream(r->plan->log, labels, r->run->params->strict);

	if (code < 0)
		reader_fail(r, regex_budget(&r->error));
	if (code <= 0 || (r->want_stream && !r->want_stream(r->ctx, labels)))
		return SELECT_NONE;
	r->open = r->open || code & (SELECT_META | SELECT_LEVEL);
	return code;
}

static int selected(struct reader *r, struct str labels)
{
	const union map_value *known;
	int choice;

	if (r->failed)
		return SELECT_NONE;
	if (!r->plan->remember)
		return decide(r, labels);
	if ((known = map_get(&r->memo, labels)))
		return (int)known->u;
	choice = decide(r, labels);
	if (r->memo.bytes < r->memo_limit)
		map_put(&r->memo, labels, NULL)->u = (uint64_t)choice;
	return choice;
}

static bool on_stream(void *ctx, struct str labels)
{
	return selected(ctx, labels) & SELECT_BARE;
}

static bool on_by_row(void *ctx, struct str labels)
{
	struct reader *r = ctx;
	int choice = selected(r, labels);

	return choice & (SELECT_META | SELECT_LEVEL) ||
	       (choice != SELECT_NONE && r->by_row && r->by_row(r->ctx, labels));
}

/* Forget what was decided of the unit before, and make room for the streams of this one. */
static int choices_begin(struct reader *r, size_t n_streams)
{
	size_t cap = r->choice_cap, each = sizeof *r->choice_marks + 1;

	r->unit_number++;
	if (!r->open || n_streams <= cap)
		return 0;
	if (account_charge(r->run->out->account, (n_streams - cap) * each) < 0)
		return run_over_budget(r->run, &r->error);
	r->choices = xrealloc(r->choices, n_streams);
	r->choice_marks = xrealloc(r->choice_marks, n_streams * sizeof *r->choice_marks);
	memset(r->choice_marks + cap, 0, (n_streams - cap) * sizeof *r->choice_marks);
	r->choice_cap = n_streams;
	return 0;
}

static void choices_end(struct reader *r)
{
	run_release(r->run, r->choice_cap * (sizeof *r->choice_marks + 1));
	free(r->choices);
	free(r->choice_marks);
	r->choices = NULL;
	r->choice_marks = NULL;
	r->choice_cap = 0;
}

static int choice_of(struct reader *r, const struct str *streams, uint32_t stream)
{
	if (r->choice_marks[stream] != r->unit_number) {
		r->choice_marks[stream] = r->unit_number;
		r->choices[stream] = (uint8_t)selected(r, streams[stream]);
	}
	return r->choices[stream];
}

/* Does the selector mean this row?  1, 0, or an error. */
static int selects(struct reader *r, const struct rows *rows, uint32_t i, struct error *e)
{
	struct str labels = rows->streams[rows->stream[i]];
	int choice = choice_of(r, rows->streams, rows->stream[i]), code;

	if (!(choice & (SELECT_META | SELECT_LEVEL)))
		return 1;
	code = select_record(
		r->plan->log, labels, rows->meta ? rows->meta[i] : STR_NONE, entry_level(rows, i));
	return code < 0 ? regex_budget(e) : code;
}

static bool on_span(void *ctx, int64_t min_ns, int64_t max_ns)
{
	struct reader *r = ctx;

	if (!r->failed)
		reader_fail(r, run_check(r->run, &r->error));
	return !r->failed && (!r->want_span || r->want_span(r->ctx, min_ns, max_ns));
}

/* The collector's errors are kept apart from the source's. */
static int on_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct reader *r = ctx;
	int64_t began = clock_mono_ns(clock_real());

	if (!r->failed)
		r->failed = choices_begin(r, rows->n_streams);
	if (!r->failed)
		r->failed = r->unit(r->ctx, rows, &r->error);
	r->run->rows_ns += clock_mono_ns(clock_real()) - began;
	return r->failed ? error_set(e, r->failed, "%s", r->error.text) : 0;
}

/* Hand on those whose level passes: what has metadata that matters is never told as counts. */
static int pass_counts(struct reader *r, const struct row_counts *counts, struct error *e)
{
	struct row_counts passed = *counts;
	struct row_count *list;
	int code = 1;

	if (!r->open)
		return r->counts(r->ctx, counts, e);
	if ((code = run_charge(r->run, counts->n * sizeof *list, e)) < 0 ||
		(code = choices_begin(r, counts->n_streams)) < 0)
		return code;
	list = xcalloc(counts->n, sizeof *list);
	passed.counts = list;
	passed.n = 0;
	for (size_t i = 0; i < counts->n && code >= 0; i++) {
		const struct row_count *x = &counts->counts[i];
		const char *level = x->level_detected ? severity_level(x->severity) : NULL;

		code = 1;
		if (choice_of(r, counts->streams, x->stream) & (SELECT_META | SELECT_LEVEL))
			code = select_record(
				r->plan->log, counts->streams[x->stream], STR_NONE, level);
		if (code > 0)
			list[passed.n++] = *x;
	}
	code = code < 0 ? regex_budget(e) : r->counts(r->ctx, &passed, e);
	run_release(r->run, counts->n * sizeof *list);
	free(list);
	return code;
}

static int on_counts(void *ctx, const struct row_counts *counts, struct error *e)
{
	struct reader *r = ctx;
	int64_t began = clock_mono_ns(clock_real());

	if (!r->failed)
		r->failed = run_check(r->run, &r->error);
	if (!r->failed)
		r->failed = pass_counts(r, counts, &r->error);
	r->run->rows_ns += clock_mono_ns(clock_real()) - began;
	return r->failed ? error_set(e, r->failed, "%s", r->error.text) : 0;
}

static bool on_bucket(void *ctx, int64_t min_ns, int64_t max_ns)
{
	struct reader *r = ctx;

	return r->same_bucket(r->ctx, min_ns, max_ns);
}

/* Leave out the rows that their level rules out, before the collector chooses among the others. */
static size_t narrow_levels(struct reader *r, const struct rows *rows, uint32_t *pick)
{
	struct rows left = *rows;
	size_t n = 0;

	for (size_t at = 0; at < rows->n && !r->failed; at++) {
		uint32_t i = pick[at];
		int choice = choice_of(r, rows->streams, rows->stream[i]), hit = 1;
		const char *level = entry_level(rows, i);

		if (choice & SELECT_LEVEL && level) {
			hit = select_level(r->plan->log, rows->streams[rows->stream[i]], level);
			if (hit < 0)
				reader_fail(r, regex_budget(&r->error));
		}
		if (choice & SELECT_META || (choice & SELECT_LEVEL && !level))
			r->may_drop = true;
		if (hit > 0)
			pick[n++] = i;
	}
	left.n = n;
	return r->failed || n == 0 ? 0 : r->narrow(r->ctx, &left, pick);
}

static size_t on_narrow(void *ctx, const struct rows *rows, uint32_t *pick)
{
	struct reader *r = ctx;

	if (!r->failed)
		r->failed = choices_begin(r, rows->n_streams);
	r->may_drop = r->plan->stages != NULL;
	if (r->failed)
		return 0;
	if (!r->open)
		return r->narrow(r->ctx, rows, pick);
	return narrow_levels(r, rows, pick);
}

/* Are two sentences of one kind: alike but for digits?  Such are the places of one damage. */
static bool alike(const char *a, const char *b)
{
	for (;; a++, b++) {
		while (*a >= '0' && *a <= '9')
			a++;
		while (*b >= '0' && *b <= '9')
			b++;
		if (*a != *b)
			return false;
		if (*a == 0)
			return true;
	}
}

/* The first are kept, few of a kind, and the others are counted: a store whose disk was overwritten
 * has as much to tell as it has blocks. */
void run_warn(struct run *run, const char *sentence)
{
	size_t n_alike = 0;
	bool fresh = true;

	if (run->told.n < TOLD_MAX)
		map_put(&run->told, str_c(sentence), &fresh);
	else
		fresh = !map_get(&run->told, str_c(sentence));
	if (!fresh)
		return;
	for (size_t i = 0; i < run->n_warnings; i++)
		n_alike += alike(run->warnings[i], sentence);
	if (n_alike == WARNINGS_ALIKE || run->n_warnings == WARNINGS_MAX)
		run->n_more_warnings++;
	else
		run->warnings[run->n_warnings++] = xstrdup(sentence);
}

static void on_warning(void *ctx, const char *sentence)
{
	run_warn(((struct reader *)ctx)->run, sentence);
}

void run_add_stats(struct scan_stats *to, const struct scan_stats *from)
{
	to->units += from->units;
	to->units_read += from->units_read;
	to->rows += from->rows;
	to->rows_picked += from->rows_picked;
	to->bytes_read += from->bytes_read;
	to->bytes_raw += from->bytes_raw;
	to->units_counted += from->units_counted;
	to->units_excluded += from->units_excluded;
	to->lines_spelled += from->lines_spelled;
	to->parts += from->parts;
	to->parts_opened += from->parts_opened;
	to->templates += from->templates;
	to->templates_excluded += from->templates_excluded;
	to->templates_whole += from->templates_whole;
}

void reader_closer(struct reader *r, int64_t from_ns, int64_t to_ns)
{
	struct scan *scan = r->scan;

	scan->from_ns = from_ns > scan->from_ns ? from_ns : scan->from_ns;
	scan->to_ns = to_ns < scan->to_ns ? to_ns : scan->to_ns;
}

int reader_run(struct reader *r, struct error *e)
{
	const struct query_params *p = r->run->params;
	uint64_t budget = r->run->out->account->limit;
	struct error inner = {0};
	struct scan scan = {
		.tenant = p->tenant,
		.from_ns = r->plan->from_ns,
		.to_ns = r->plan->to_ns,
		.after_seq = p->after_seq,
		.until_seq = p->until_seq,
		.order = r->plan->order,
		.columns = r->plan->columns,
		.filters = r->plan->filters,
		.n_filters = r->plan->n_filters,
		.account = r->run->out->account,
		.cancel = p->cancel,
		.ctx = r,
		.want_stream = on_stream,
		.by_row = p->strict && !r->by_row ? NULL : on_by_row,
		.want_span = on_span,
		.narrow = r->narrow ? on_narrow : NULL,
		.rows = on_rows,
		.warn = on_warning,
		.hints = {.log = r->plan->log,
			.strict = p->strict,
			.enough = r->enough,
			.buckets = r->buckets,
			.deadline_ns = r->run->deadline_ns},
		.only = p->only,
	};
	int64_t began;
	int code;

	if (scan.from_ns >= scan.to_ns)
		return 0;
	r->scan = &scan;
	r->run->scan = &scan;
	r->fields = fields_new(r->run->out->account);
	r->pipeline = pipeline_new(r->plan->stages, &r->plan->wanted, r->run->out->account);
	if (r->plan->wanted.all && stages_halve(r->plan->stages))
		r->first = pipeline_new(r->plan->stages, &(struct wanted){0}, r->run->out->account);
	if (r->counts && !r->plan->stages) {
		scan.counts = on_counts;
		scan.same_bucket = on_bucket;
	}
	r->run->plan = *r->plan;
	r->run->may_count = scan.counts;
	/* The table doubles when it grows, hence half of what is charged. */
	r->memo_limit = budget / 32 < MEMO_BYTES / 2 ? budget / 32 : MEMO_BYTES / 2;
	if (r->plan->remember && (code = run_charge(r->run, 2 * r->memo_limit, e)) < 0)
		return code;
	began = clock_mono_ns(clock_real());
	code = r->run->source->scan(r->run->source, &scan, &inner);
	r->run->scan_ns += clock_mono_ns(clock_real()) - began;
	r->scan = NULL;
	r->run->scan = NULL;
	pipeline_free(r->pipeline);
	r->pipeline = NULL;
	pipeline_free(r->first);
	r->first = NULL;
	fields_free(r->fields);
	r->fields = NULL;
	choices_end(r);
	map_fini(&r->memo);
	if (r->plan->remember)
		run_release(r->run, 2 * r->memo_limit);
	run_add_stats(&r->run->out->stats, &scan.stats);
	if (r->failed)
		return error_set(e, r->failed, "%s", r->error.text);
	if (code == ERR_CANCELLED)
		return error_set(e, code, "the query was cancelled");
	/* A unit's buffers did not fit: the source knows neither the budget nor the way out. */
	if (code == ERR_LIMIT)
		return run_over_budget(r->run, e);
	return code < 0 ? error_set(e, code, "%s", inner.text) : 0;
}

static struct pipe_row row_begin(struct reader *r, const struct rows *rows, uint32_t i)
{
	fields_begin(r->fields, rows->streams[rows->stream[i]],
		rows->meta ? rows->meta[i] : STR_NONE, entry_level(rows, i));
	return (struct pipe_row){
		.fields = r->fields,
		.line = rows->body ? rows->body[i] : STR_NONE,
		.timestamp = rows->timestamp[i],
		.seq = rows->seq ? rows->seq[i] : 0,
	};
}

/* Stages tell by a code alone. */
static int stage_failed(int code, struct error *e)
{
	return code == ERR_LIMIT ? regex_budget(e)
				 : error_set(e, code, "a stage of the query cannot go on");
}

/* Do the stages keep the row, as far as their filters alone tell?  1, 0 or an error.  Where most
 * rows are kept it is not asked again. */
static int first_keeps(struct reader *r, const struct rows *rows, uint32_t i)
{
	struct pipe_row row = row_begin(r, rows, i);
	int code = pipeline_run(r->first, &row);

	r->n_first++;
	r->n_first_kept += code > 0;
	if (r->n_first == FIRST_ROWS) {
		if (r->n_first_kept > FIRST_ROWS / 2) {
			pipeline_free(r->first);
			r->first = NULL;
		}
		r->n_first = r->n_first_kept = 0;
	}
	return code;
}

int reader_keeps(struct reader *r, const struct rows *rows, uint32_t i, struct pipe_row *out,
	struct error *e)
{
	struct pipe_row row;
	int code;

	if ((code = run_tick(r->run, e)) < 0)
		return code;
	if (r->open && (code = selects(r, rows, i, e)) <= 0)
		return code;
	if (!r->plan->stages && !out)
		return 1;
	assert(!pipeline_spreads(r->pipeline));
	if (r->first && (code = first_keeps(r, rows, i)) <= 0)
		return code < 0 ? stage_failed(code, e) : 0;
	row = row_begin(r, rows, i);
	if (r->plan->stages && (code = pipeline_run(r->pipeline, &row)) <= 0)
		return code < 0 ? stage_failed(code, e) : 0;
	if (out)
		*out = row;
	return 1;
}

/* The collector's sentence is kept while the pipeline, which knows codes alone, hands the code up.
 */
struct each {
	reader_row *each;
	void *ctx;
	struct error *e;
	int failed;
};

static int each_row(void *ctx, struct pipe_row *row)
{
	struct each *x = ctx;

	return x->failed = x->each(x->ctx, row, x->e);
}

int reader_each(struct reader *r, const struct rows *rows, uint32_t i, reader_row *each, void *ctx,
	struct error *e)
{
	struct each x = {each, ctx, e, 0};
	struct pipe_row row;
	int code;

	if ((code = run_tick(r->run, e)) < 0)
		return code;
	if (r->open && (code = selects(r, rows, i, e)) <= 0)
		return code;
	row = row_begin(r, rows, i);
	if ((code = pipeline_each(r->pipeline, &row, each_row, &x)) < 0)
		return x.failed < 0 ? code : stage_failed(code, e);
	return 0;
}

/* --- the whole ------------------------------------------------------------------------ */

/* Warnings are collected on the heap, because the arena may yet be refused them. */
static void move_warnings(struct run *r)
{
	struct query_result *out = r->out;
	struct arena *a = &out->arena;

	out->n_warnings = r->n_warnings + (r->n_more_warnings > 0);
	if (out->n_warnings)
		out->warnings = ARENA_ARRAY(a, const char *, out->n_warnings);
	for (size_t i = 0; i < r->n_warnings; i++) {
		out->warnings[i] = arena_c(a, str_c(r->warnings[i]));
		free(r->warnings[i]);
	}
	if (r->n_more_warnings)
		out->warnings[r->n_warnings] =
			arena_printf(a, "%llu more warnings; sawlog store verify names all damage",
				(unsigned long long)r->n_more_warnings);
	map_fini(&r->told);
}

int run_whole(struct source *s, const struct query *q, const struct query_params *p,
	int (*body)(struct run *r, void *ctx, struct error *e), void *ctx, struct query_result *out,
	struct error *e)
{
	struct query_result result = {.last_seq = s->last_seq(s)};
	int64_t began = clock_mono_ns(clock_real());
	struct run r = {
		.query = q,
		.params = p,
		.source = s,
		.out = &result,
		.cpu_ns = clock_thread_ns(),
		.deadline_ns = plan_add(began, p->timeout_ns ? p->timeout_ns : TIMEOUT_NS),
	};
	int code;

	result.account = xmalloc(sizeof *result.account);
	account_init(result.account, "query", p->memory_bytes ? p->memory_bytes : BUDGET_BYTES,
		p->account);
	arena_init(&result.arena, result.account);
	code = body(&r, ctx, e);
	move_warnings(&r);
	result.took_ns = clock_mono_ns(clock_real()) - began;
	if (code == 0 && p->explain)
		code = explain_run(&r, e);
	if (code < 0) {
		query_result_fini(&result);
		return code;
	}
	*out = result;
	return 0;
}

static int run_query(struct run *r, void *ctx, struct error *e)
{
	(void)ctx;
	return query_is_log(r->query) ? run_log(r, e) : run_metric(r, e);
}

int source_query(struct source *s, const struct query *q, const struct query_params *p,
	struct query_result *out, struct error *e)
{
	return run_whole(s, q, p, run_query, NULL, out, e);
}

void query_result_fini(struct query_result *r)
{
	uint64_t bytes = r->cap_entries * sizeof *r->entries;

	for (size_t i = 0; i < r->n_entries; i++) {
		bytes += query_entry_bytes(&r->entries[i]);
		free((void *)r->entries[i].line.p);
	}
	free(r->entries);
	account_release(r->account, bytes);
	arena_fini(&r->arena);
	free(r->account);
	*r = (struct query_result){0};
}
