/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of a log query without a limit, or oldest first, are printed as they
 * are read, in the order of the files: nothing is kept, and what is piped in
 * may have no end.  Whatever needs all lines at once (the newest N, a metric,
 * uniq) is a query over the files as a source.
 */
#include "cli/query_files.h"

#include <inttypes.h>
#include <stdlib.h>

#include "os/clock.h"
#include "query/entry.h"
#include "query/number.h"
#include "query/source_files.h"
#include "query/tail.h"

enum {
	STEPS = 250,        /* of a metric query whose step nobody says */
	TIMEOUT_HOURS = 24, /* files are read until somebody stops it */
	QUERY_BYTES = 1 << 30,
};

struct local {
	struct query_files *q;
	struct source_files *files;
	struct map told; /* warnings */
	struct buf labels;
	/* Of the whole content, for metrics. */
	int64_t min_ns, max_ns;
	/* While lines are streamed. */
	struct query_tail *tail;
	uint64_t n_lines;
};

static void on_warning(void *ctx, const char *sentence)
{
	struct local *l = ctx;

	print_warning(l->q->cl, str_c(sentence), &l->told);
	l->q->incomplete = true;
}

/* Labels that all lines have are told once. */
static void tell_common(struct local *l, const struct query_entry *list, size_t n)
{
	struct print_entry *all = xcalloc(n, sizeof *all);
	struct buf *labels = xcalloc(n, sizeof *labels);

	for (size_t i = 0; i < n; i++) {
		entry_labels(&list[i], &labels[i]);
		all[i].labels = buf_view(&labels[i]);
	}
	if (n)
		printer_common(l->q->printer, all, n);
	for (size_t i = 0; i < n; i++)
		buf_fini(&labels[i]);
	free(labels);
	free(all);
}

static int print_entry(struct local *l, const struct query_entry *x)
{
	struct print_entry line = {.timestamp = x->timestamp, .line = x->line, .seq = x->seq};

	buf_clear(&l->labels);
	entry_labels(x, &l->labels);
	line.labels = buf_view(&l->labels);
	printer_entry(l->q->printer, &line);
	return ferror(l->q->cl->out) ? ERR_CLOSED : 0;
}

/* --- as they are read ----------------------------------------------------------------- */

static int on_entry(void *ctx, const struct query_entry *x)
{
	struct local *l = ctx;
	int r = print_entry(l, x);

	if (r < 0)
		return r;
	return ++l->n_lines == l->q->limit;
}

static int on_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct local *l = ctx;

	query_tail_unit(l->tail, rows);
	for (size_t k = 0; k < rows->n; k++) {
		int r = query_tail_row(l->tail, rows, rows->pick[k], on_entry, l);
		if (r < 0)
			return error_set(e, r, "the output was closed");
		if (r > 0)
			return 1;
	}
	/* What is piped in slowly is wanted as it comes. */
	fflush(l->q->cl->out);
	return 0;
}

static int stream_lines(struct local *l, const struct query *q, struct error *e)
{
	struct source *source = source_files_source(l->files);
	struct scan scan = {
		.from_ns = l->q->from_ns,
		.to_ns = l->q->to_ns,
		.columns = SCAN_BODY | SCAN_META,
		.order = SCAN_BY_SEQ,
		.ctx = l,
		.rows = on_rows,
		.warn = on_warning,
	};
	int r;

	if ((r = query_tail_new(&l->tail, q, false, NULL, e)) < 0)
		return r;
	source_files_once(l->files);
	r = source->scan(source, &scan, e);
	query_tail_free(l->tail);
	return r < 0 ? r : 0;
}

/* --- as a whole ----------------------------------------------------------------------- */

static int on_span(void *ctx, const struct rows *rows, struct error *e)
{
	struct local *l = ctx;

	(void)e;
	for (size_t k = 0; k < rows->n; k++) {
		int64_t t = rows->timestamp[rows->pick[k]];
		l->min_ns = t < l->min_ns ? t : l->min_ns;
		l->max_ns = t > l->max_ns ? t : l->max_ns;
	}
	return 0;
}

/* The time that a metric is evaluated over: that of the lines, within what was asked for. */
static int find_span(struct local *l, struct query_params *p, struct error *e)
{
	struct source *source = source_files_source(l->files);
	struct scan scan = {
		.from_ns = l->q->from_ns,
		.to_ns = l->q->to_ns,
		.order = SCAN_BY_SEQ,
		.ctx = l,
		.rows = on_span,
	};
	int r;

	if (l->q->from_ns == INT64_MIN || l->q->to_ns == INT64_MAX) {
		l->min_ns = INT64_MAX;
		l->max_ns = INT64_MIN;
		if ((r = source->scan(source, &scan, e)) < 0)
			return r;
		if (l->min_ns > l->max_ns)
			l->min_ns = l->max_ns = l->q->cl->now_ns;
	}
	p->start_ns = l->q->from_ns == INT64_MIN ? l->min_ns : l->q->from_ns;
	p->end_ns = l->q->to_ns == INT64_MAX ? l->max_ns : l->q->to_ns;
	if (l->q->instant)
		p->start_ns = p->end_ns;
	else if (l->q->step_ns)
		p->step_ns = l->q->step_ns;
	else
		p->step_ns = (p->end_ns - p->start_ns) / STEPS;
	if (!l->q->instant && p->step_ns < NS_PER_SEC && !l->q->step_ns)
		p->step_ns = NS_PER_SEC;
	return 0;
}

static void put_sample(struct buf *out, const struct query_sample *s)
{
	buf_printf(out, "[%" PRId64 ".%03d,\"", s->timestamp / NS_PER_SEC,
		(int)(s->timestamp % NS_PER_SEC / 1000000));
	number_put_f(out, s->value);
	buf_c(out, "\"]");
}

static void put_series(struct buf *out, const struct query_result *res)
{
	bool matrix = res->type == RESULT_MATRIX;

	buf_char(out, '[');
	for (size_t i = 0; i < res->n_series; i++) {
		const struct query_series *s = &res->series[i];

		buf_c(out, i ? ",{\"metric\":" : "{\"metric\":");
		labels_json(out, s->labels);
		buf_c(out, matrix ? ",\"values\":[" : ",\"value\":");
		for (size_t k = 0; k < s->n; k++) {
			if (k)
				buf_char(out, ',');
			put_sample(out, &s->samples[k]);
		}
		buf_c(out, matrix ? "]}" : "}");
	}
	buf_char(out, ']');
}

/* The printer reads samples as a server words them. */
static int print_samples(struct local *l, const struct query_result *res, struct error *e)
{
	static const char *const types[] = {"streams", "matrix", "vector", "scalar"};
	struct json_parser *parser = json_parser_new();
	struct buf text = {0};
	struct json j;
	int r;

	/* Within something, as the printer takes node 0 for none. */
	buf_char(&text, '[');
	if (res->type == RESULT_SCALAR)
		put_sample(&text, &res->series[0].samples[0]);
	else
		put_series(&text, res);
	buf_char(&text, ']');
	if ((r = json_parse(parser, buf_view(&text), &j, e)) == 0)
		r = printer_samples(
			l->q->printer, &j, str_c(types[res->type]), json_first(&j, 0), e);
	buf_fini(&text);
	json_parser_free(parser);
	return r;
}

static int print_result(struct local *l, const struct query_result *res, struct error *e)
{
	int r = 0;

	for (size_t i = 0; i < res->n_warnings; i++)
		on_warning(l, res->warnings[i]);
	if (l->q->explain) {
		for (size_t i = 0; i < res->n_explained; i++)
			fprintf(l->q->cl->out, "%s\n", res->explained[i]);
		return 0;
	}
	if (res->type != RESULT_STREAMS)
		return print_samples(l, res, e);
	tell_common(l, res->entries, res->n_entries);
	for (size_t i = 0; i < res->n_entries && r == 0; i++)
		r = print_entry(l, &res->entries[i]);
	return r;
}

static int run_whole_query(struct local *l, const struct query *q, struct error *e)
{
	struct query_params p = {
		.start_ns = l->q->from_ns,
		.end_ns = l->q->to_ns,
		.limit = l->q->limit,
		.forward = l->q->forward,
		.explain = l->q->explain,
		.memory_bytes = QUERY_BYTES,
		.timeout_ns = TIMEOUT_HOURS * 3600 * NS_PER_SEC,
	};
	struct query_result res;
	int r = query_is_log(q) ? 0 : find_span(l, &p, e);

	if (r < 0 || (r = source_query(source_files_source(l->files), q, &p, &res, e)) < 0)
		return r;
	r = print_result(l, &res, e);
	query_result_fini(&res);
	return r;
}

/* --- the command ---------------------------------------------------------------------- */

/* Does each line say by itself whether and how it is printed, in the order in which they stand? */
static bool streams(const struct query_files *q, const struct query *parsed)
{
	return query_is_log(parsed) && !query_reshapes(parsed) && !q->explain &&
	       (q->forward || q->limit == 0);
}

int query_files_run(struct query_files *q, struct error *e)
{
	struct local l = {.q = q};
	struct query *parsed;
	int r;

	if ((r = query_parse(&parsed, str_c(q->query), e)) < 0)
		return r;
	if (q->instant && query_is_log(parsed)) {
		query_free(parsed);
		return error_set(e, ERR_ARG, "--instant goes with metric queries");
	}
	r = source_files_open(&l.files, q->paths, q->n_paths, q->cl->now_ns, e);
	if (r == 0 && streams(q, parsed))
		r = stream_lines(&l, parsed, e);
	else if (r == 0)
		r = run_whole_query(&l, parsed, e);
	source_files_close(l.files);
	query_free(parsed);
	buf_fini(&l.labels);
	map_fini(&l.told);
	return r;
}
