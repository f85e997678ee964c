/* SPDX-License-Identifier: Apache-2.0 */
#include "query/explain.h"

#include <inttypes.h>
#include <stdio.h>

#include "query/quote.h"
#include "record/time.h"

struct explainer {
	struct buf text; /* sentences, each ended by a NUL */
	size_t n;
};

static void end(struct explainer *x)
{
	buf_char(&x->text, '\0');
	x->n++;
}

/* "12,345" */
static void put_number(struct buf *out, uint64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof digits, "%" PRIu64, n);

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			buf_char(out, ',');
		buf_char(out, digits[i]);
	}
}

static void put_count(struct buf *out, uint64_t n, const char *one, const char *many)
{
	put_number(out, n);
	buf_char(out, ' ');
	buf_c(out, n == 1 ? one : many);
}

static void put_bytes(struct buf *out, uint64_t n)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double v = (double)n;
	size_t u = 0;

	for (; v >= 1024 && u < 4; u++)
		v /= 1024;
	buf_printf(out, u && v < 100 ? "%.1f %s" : "%.0f %s", v, units[u]);
}

static void put_ms(struct buf *out, int64_t ns)
{
	buf_printf(out, "%.2f ms", (double)(ns > 0 ? ns : 0) / 1e6);
}

static void put_time(struct buf *out, int64_t ns)
{
	if (ns == INT64_MIN || ns == INT64_MAX)
		buf_c(out, ns == INT64_MIN ? "the beginning" : "the end");
	else
		time_format(out, ns);
}

static void explain_query(struct explainer *x, const struct run *r)
{
	buf_c(&x->text, "query: ");
	query_format_line(r->query, &x->text);
	end(x);
}

static void explain_window(struct explainer *x, const struct run *r)
{
	const struct query_params *p = r->params;
	struct buf *b = &x->text;

	buf_c(b, "window: from ");
	put_time(b, r->plan.from_ns);
	buf_c(b, " to ");
	put_time(b, r->plan.to_ns);
	if (query_is_log(r->query)) {
		buf_c(b, p->forward ? ", oldest first" : ", newest first");
		if (p->limit) {
			buf_c(b, ", at most ");
			put_count(b, p->limit, "line", "lines");
		}
	}
	end(x);
}

static void explain_plan(struct explainer *x, const struct run *r)
{
	const struct stage *s = r->plan.log->stages;
	struct buf *b = &x->text;

	buf_c(b, "in the store: time, streams");
	for (size_t i = 0; i < r->plan.n_filters; i++, s = s->next) {
		buf_c(b, ", ");
		s->type->format(s, b);
	}
	end(x);
	buf_c(b, "row by row:");
	for (const struct stage *at = s; at; at = at->next) {
		buf_c(b, at == s ? " " : ", ");
		at->type->format(at, b);
	}
	if (!s)
		buf_c(b, r->may_count ? " only where a block was not counted already"
				      : " nothing but collecting");
	end(x);
}

static void put_wanted(struct buf *b, const struct wanted *w)
{
	if (w->all)
		buf_c(b, "all fields");
	else if (w->n == 0)
		buf_c(b, "nothing");
	for (size_t i = 0; i < w->n && !w->all; i++) {
		buf_c(b, i ? ", " : "");
		buf_str(b, w->names[i]);
	}
}

/* What the stages that find fields have to find. */
static void explain_fields(struct explainer *x, const struct run *r)
{
	const struct wanted nothing = {0};
	bool halves = r->plan.wanted.all && stages_halve(r->plan.stages), any = false;
	struct buf *b = &x->text;

	for (const struct stage *s = r->plan.stages; s; s = s->next) {
		struct wanted last = stages_wanted(s->next, &r->plan.wanted);
		struct wanted first = stages_wanted(s->next, &nothing);

		if (!stage_finds(s))
			continue;
		buf_c(b, any ? "; " : "fields: ");
		any = true;
		buf_c(b, s->type->name);
		buf_c(b, " takes ");
		put_wanted(b, halves ? &first : &last);
		if (halves && !first.all) {
			buf_c(b, ", and of the rows that stay ");
			put_wanted(b, &last);
		}
	}
	if (any)
		end(x);
}

static void explain_reshapes(struct explainer *x, const struct run *r)
{
	struct buf *b = &x->text;

	if (!r->plan.log->reshapes)
		return;
	buf_c(b, "at last:");
	for (const struct reshape *s = r->plan.log->reshapes; s; s = s->next) {
		buf_c(b, s == r->plan.log->reshapes ? " " : ", ");
		buf_c(b, reshape_kind_name(s->kind));
	}
	end(x);
}

static void explain_units(struct explainer *x, const struct scan_stats *s)
{
	uint64_t seen = s->units_read + s->units_counted + s->units_excluded;
	struct buf *b = &x->text;

	if (s->parts) {
		buf_c(b, "parts: ");
		put_number(b, s->parts);
		buf_c(b, ", of which ");
		put_number(b, s->parts_opened);
		buf_c(b, " opened");
		end(x);
	}
	buf_c(b, "blocks: ");
	put_number(b, s->units);
	buf_c(b, " could match by time and stream: ");
	put_number(b, s->units_read);
	buf_c(b, " read, ");
	put_number(b, s->units_counted);
	buf_c(b, " answered by their counts, ");
	put_number(b, s->units_excluded);
	buf_c(b, " ruled out by the filters, ");
	put_number(b, s->units > seen ? s->units - seen : 0);
	buf_c(b, " not needed");
	end(x);
	if (s->templates == 0)
		return;
	buf_c(b, "templates: ");
	put_number(b, s->templates);
	buf_c(b, " asked: ");
	put_number(b, s->templates_excluded);
	buf_c(b, " cannot pass the filters, ");
	put_number(b, s->templates_whole);
	buf_c(b, " always do, the values of the rest decide");
	end(x);
}

static void explain_rows(struct explainer *x, const struct run *r)
{
	const struct scan_stats *s = &r->out->stats;
	struct buf *b = &x->text;

	buf_c(b, "rows: ");
	put_number(b, s->rows);
	buf_c(b, " looked at, ");
	put_number(b, s->rows_picked);
	buf_c(b, " passed, ");
	put_count(b, s->lines_spelled, "line put together", "lines put together");
	end(x);
	buf_c(b, "read: ");
	put_bytes(b, s->bytes_read);
	buf_c(b, " of files, for ");
	put_bytes(b, s->bytes_raw);
	buf_c(b, " of lines");
	end(x);
	buf_c(b, "time: ");
	put_ms(b, r->out->took_ns);
	buf_c(b, ", of which ");
	put_ms(b, r->scan_ns - r->rows_ns);
	buf_c(b, " in the store, ");
	put_ms(b, r->rows_ns);
	buf_c(b, " over rows and counts, ");
	put_ms(b, r->out->took_ns - r->scan_ns);
	buf_c(b, " for the rest");
	end(x);
}

static void copy_out(struct explainer *x, struct query_result *out)
{
	struct arena *a = &out->arena;
	struct str rest = buf_view(&x->text);

	out->explained = ARENA_ARRAY(a, const char *, x->n);
	for (out->n_explained = 0; out->n_explained < x->n; out->n_explained++)
		out->explained[out->n_explained] = arena_c(a, str_cut(&rest, '\0'));
}

int explain_run(struct run *r, struct error *e)
{
	struct explainer x = {0};
	int code;

	explain_query(&x, r);
	if (r->plan.log) {
		explain_window(&x, r);
		explain_plan(&x, r);
		explain_fields(&x, r);
		explain_reshapes(&x, r);
		explain_units(&x, &r->out->stats);
		explain_rows(&x, r);
	} else {
		buf_c(&x.text, "nothing is read for a number");
		end(&x);
	}
	if ((code = run_reserve(r, x.text.n + x.n * (sizeof(char *) + 16), e)) == 0)
		copy_out(&x, r->out);
	buf_fini(&x.text);
	return code;
}
