/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each server gathers the samples of its own records, with the windows and
 * groups of the whole query, and what they keep adds up: a few numbers by series
 * and step go over the wire, however many rows they stand for.
 *
 * What cannot be added up so is scanned instead, as a log query is (view_scan.c):
 * then rows come, and whatever is wrong with the query is said by this server.
 */
#include "query/view_gather.h"

#include <stdlib.h>

/* A row's number decides whether it is in the sample, and is another one at its own server. */
static bool has_sample(const struct log_expr *log)
{
	for (const struct stage *s = log->stages; s; s = s->next)
		if (stage_is_sample(s))
			return true;
	return false;
}

static bool may(const struct collection *c)
{
	const struct query_params *p = c->run->params;

	return c->axis.n > 0 && !p->after_seq && !p->until_seq && !p->only &&
	       !has_sample(&c->expr->log);
}

static struct page_request question(const struct collection *c, struct buf *text)
{
	const struct query_params *p = c->run->params;

	range_format(c->expr, text);
	return (struct page_request){.query = buf_view(text),
		.from_ns = c->gather.plan.from_ns,
		.to_ns = c->gather.plan.to_ns,
		.strict = p->strict,
		.grouping = c->grouping,
		.start_ns = p->start_ns,
		.end_ns = p->end_ns,
		.step_ns = p->step_ns};
}

static void warn(struct run *run, const char *fmt, ...) PRINTF(2, 3);

static void warn(struct run *run, const char *fmt, ...)
{
	struct buf text = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	run_warn(run, buf_cstr(&text));
	buf_fini(&text);
}

/* 1: it needs rows. */
static int add(
	struct collection *c, const struct fetch *f, const struct page *page, struct error *e)
{
	int r;

	if (page->redelivered)
		return 1;
	run_add_stats(&c->run->out->stats, &page->stats);
	for (size_t i = 0; i < page->n_warnings; i++)
		warn(c->run, "%s: %.*s", remote_url(f->remote), STR_ARG(page->warnings[i]));
	r = collection_merge(c, page->partials, f->number, e);
	return r == ERR_CORRUPT ? 1 : r;
}

static int add_all(struct collection *c, struct fetches *all, struct peers *p, struct error *e)
{
	char(*seen)[INSTANCE_SIZE] = xcalloc(p->n + 1, sizeof *seen);
	struct run *run = c->run;
	int r = 0, code = 0;
	struct page page;
	struct fetch *f;

	while (r == 0 &&
		(f = fetches_next(all, run->params->cancel, run->deadline_ns, &page, &code, e))) {
		/* Of these a scan says more, or does with less. */
		if (code == ERR_ARG || code == ERR_LIMIT || code == ERR_UNSUPPORTED ||
			code == ERR_CORRUPT) {
			r = 1;
		} else if (code < 0) {
			warn(run, "%s; the answer is without the records of that server", e->text);
		} else {
			if (!peers_seen_already(p, seen, f->number, page.instance))
				r = add(c, f, &page, e);
			remote_page_fini(&page, run->out->account);
		}
		code = 0;
	}
	free(seen);
	return r == 0 && code < 0 ? code : r;
}

int view_gather(struct source *own, struct snapshot *sn, struct peers *p, struct collection *c,
	struct error *e)
{
	struct run *run = c->run;
	struct source *all_of_them = run->source;
	struct buf text = {0};
	struct fetches all;
	struct page_request q;
	int r;

	if (!may(c))
		return 1;
	q = question(c, &text);
	fetches_start(&all, p, 0, run->params->tenant, &q, run->out->account);
	run->source = own;
	r = collection_gather_alone(c, e);
	run->source = all_of_them;
	/* What comes in is not to wait for peers. */
	snapshot_let_head_go(sn);
	if (r == 0)
		r = add_all(c, &all, p, e);
	fetches_end(&all);
	buf_fini(&text);
	return r;
}
