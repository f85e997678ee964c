/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scan of a view: this server's own, then the pages of the peers as they
 * come.  Callbacks see units of rows and counts; whose they are does not matter
 * to them but for the sequences.
 */
#include "query/view_scan.h"

#include <stdlib.h>

#include "query/ast.h"
#include "query/quote.h"
#include "query/run.h"

enum { SENTENCE_MAX = 1000 }; /* of a warning of a peer's */

static int too_little(struct error *e)
{
	return error_set(e, ERR_LIMIT, "no memory is left for records of peers");
}

int view_charge(struct view_scan *v, uint64_t n, struct error *e)
{
	if (v->asked->account && account_charge(v->asked->account, n) < 0)
		return too_little(e);
	v->charged += n;
	return 0;
}

void view_release(struct view_scan *v, uint64_t n)
{
	if (v->asked->account)
		account_release(v->asked->account, n);
	v->charged -= n;
}

void view_warn(struct view_scan *v, const char *fmt, ...)
{
	struct buf text = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	if (v->asked->warn)
		v->asked->warn(v->asked->ctx, buf_cstr(&text));
	buf_fini(&text);
}

void view_narrowed(struct view_scan *v)
{
	if (v->fetches.n)
		fetches_narrow(&v->fetches, v->asked->from_ns, v->asked->to_ns);
}

/* --- this server's own records -------------------------------------------------------- */

/* What a callback changed holds from now on, here and for the peers. */
static void take_limits(struct view_scan *v)
{
	v->local.from_ns = v->asked->from_ns;
	v->local.to_ns = v->asked->to_ns;
	v->local.after_seq = v->asked->after_seq;
	v->local.until_seq = v->asked->until_seq;
	view_narrowed(v);
}

static bool on_stream(void *ctx, struct str labels)
{
	struct view_scan *v = ctx;

	return !v->asked->want_stream || v->asked->want_stream(v->asked->ctx, labels);
}

static bool on_by_row(void *ctx, struct str labels)
{
	struct view_scan *v = ctx;

	if (v->asked->by_row && v->asked->by_row(v->asked->ctx, labels))
		return true;
	return amqp_stream(labels) && on_stream(v, labels);
}

static bool on_span(void *ctx, int64_t min_ns, int64_t max_ns)
{
	struct view_scan *v = ctx;
	bool wanted;

	v->asked->holds_head = v->local.holds_head;
	wanted = v->asked->want_span(v->asked->ctx, min_ns, max_ns);
	take_limits(v);
	return wanted;
}

static bool on_bucket(void *ctx, int64_t min_ns, int64_t max_ns)
{
	struct view_scan *v = ctx;

	return v->asked->same_bucket(v->asked->ctx, min_ns, max_ns);
}

static int on_counts(void *ctx, const struct row_counts *counts, struct error *e)
{
	struct view_scan *v = ctx;
	int r;

	v->asked->holds_head = v->local.holds_head;
	r = v->asked->counts(v->asked->ctx, counts, e);
	take_limits(v);
	return r;
}

/* Of rows some of which may yet be withheld all are wanted. */
static size_t on_narrow(void *ctx, const struct rows *rows, uint32_t *pick)
{
	struct view_scan *v = ctx;
	uint32_t last = UINT32_MAX;
	size_t n;

	for (size_t at = 0; at < rows->n; at++) {
		uint32_t stream = rows->stream[pick[at]];
		if (stream != last && amqp_stream(rows->streams[stream]))
			return rows->n;
		last = stream;
	}
	n = v->asked->narrow(v->asked->ctx, rows, pick);
	take_limits(v);
	return n;
}

static int on_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct view_scan *v = ctx;
	struct rows mine = *rows;
	int r;

	v->asked->holds_head = v->local.holds_head;
	if ((r = withheld_sift(v, 0, &mine, e)) < 0)
		return r;
	r = mine.n ? v->asked->rows(v->asked->ctx, &mine, e) : 0;
	take_limits(v);
	return r;
}

static void on_warning(void *ctx, const char *sentence)
{
	struct view_scan *v = ctx;

	v->asked->warn(v->asked->ctx, sentence);
}

static int scan_own(struct view_scan *v, struct error *e)
{
	struct scan *asked = v->asked;
	int r;

	v->local = *asked;
	v->local.ctx = v;
	v->local.want_stream = on_stream;
	v->local.by_row = on_by_row;
	v->local.want_span = asked->want_span ? on_span : NULL;
	v->local.same_bucket = asked->same_bucket ? on_bucket : NULL;
	v->local.counts = asked->counts ? on_counts : NULL;
	v->local.narrow = asked->narrow ? on_narrow : NULL;
	v->local.warn = asked->warn ? on_warning : NULL;
	v->local.rows = on_rows;
	v->local.columns |= SCAN_SEQ;
	r = v->own->scan(v->own, &v->local, e);
	asked->holds_head = false;
	run_add_stats(&asked->stats, &v->local.stats);
	return r;
}

/* --- peers ---------------------------------------------------------------------------- */

/* Does the page come from a server that tells its records in this scan already? */
static bool told_already(struct view_scan *v, const struct fetch *f, const struct page *page)
{
	if (v->asked->only)
		return strcmp(page->instance, v->peers->instance) == 0;
	return peers_seen_already(v->peers, v->seen, f->number, page->instance);
}

static int tell_page(struct view_scan *v, struct fetch *f, struct page *page, struct error *e)
{
	struct scan *asked = v->asked;
	const struct batch *b = page->rows;
	int r;

	run_add_stats(&asked->stats, &page->stats);
	for (size_t i = 0; i < page->n_warnings; i++) {
		struct str w = str_sub(page->warnings[i], 0, SENTENCE_MAX);
		w.n = str_utf8_valid(w);
		view_warn(v, "%s: %.*s", remote_url(f->remote), STR_ARG(w));
	}
	if ((r = view_tell_counts(v, f->number, &page->counts, e)) != 0 || !b ||
		batch_count(b) == 0)
		return r;
	if (asked->want_span &&
		!asked->want_span(asked->ctx, batch_min_time(b), batch_max_time(b))) {
		view_narrowed(v);
		return 0;
	}
	return view_tell_rows(v, f->number, b, e);
}

static int scan_peers(struct view_scan *v, struct error *e)
{
	struct scan *asked = v->asked;
	struct page page;
	struct fetch *f;
	int r = 0, code = 0;

	while (r == 0 && asked->from_ns < asked->to_ns &&
		(f = fetches_next(
			 &v->fetches, asked->cancel, asked->hints.deadline_ns, &page, &code, e))) {
		if (code < 0) {
			view_warn(
				v, "%s; the answer is without the records of that server", e->text);
			code = 0;
			continue;
		}
		if (told_already(v, f, &page)) {
			fetch_stop(f);
		} else {
			/* Most of those who want more than one page want them all. */
			if (f->n_taken > 1)
				fetch_order(f);
			r = tell_page(v, f, &page, e);
			if (f->n_taken == 1)
				fetch_order(f);
		}
		remote_page_fini(&page, asked->account);
	}
	return r == 0 && code < 0 ? code : r;
}

/* What the peers are asked. */
static struct page_request question(struct view_scan *v)
{
	const struct scan *asked = v->asked;
	const struct scan_hints *h = &asked->hints;
	struct page_request q = {.from_ns = asked->from_ns,
		.to_ns = asked->to_ns,
		.strict = h->strict,
		.forward = asked->order != SCAN_NEWEST_FIRST,
		.columns = asked->columns & (SCAN_BODY | SCAN_META | SCAN_TEMPLATE),
		.counts = asked->counts && h->buckets.known && h->log,
		.buckets = h->buckets,
		.rows = VIEW_FIRST_ROWS};

	if (h->log)
		log_format_rows(h->log, &v->query);
	else
		buf_c(&v->query, "{}");
	if (asked->contains.n) {
		buf_c(&v->query, " |= ");
		quote_go(&v->query, asked->contains);
	}
	v->test_filters = !h->log && asked->n_filters > 0;
	if (v->test_filters)
		q.columns |= SCAN_BODY;
	if (asked->columns & SCAN_TEMPLATE && !q.counts)
		q.columns |= SCAN_BODY;
	/* Which rows were delivered twice stands there. */
	if (!q.counts)
		q.columns |= SCAN_META;
	/* One more shows whether the last one was the last of its time. */
	if (h->enough)
		q.rows = h->enough < PAGE_ROWS_MAX ? h->enough + 1 : PAGE_ROWS_MAX;
	if (q.counts)
		q.rows = VIEW_COUNTED_ROWS;
	q.query = buf_view(&v->query);
	return q;
}

static void scan_end(struct view_scan *v)
{
	withheld_free(v);
	free(v->pick);
	free(v->seen);
	buf_fini(&v->query);
	if (v->asked->account)
		account_release(v->asked->account, v->charged);
}

int view_scan_all(struct source *own, struct snapshot *sn, struct peers *p, struct scan *asked,
	struct error *e)
{
	struct view_scan v = {.own = own, .snapshot = sn, .peers = p, .asked = asked};
	struct page_request q = question(&v);
	int r = 0;

	v.seen = xcalloc(p->n + 1, sizeof *v.seen);
	fetches_start(&v.fetches, p, 0, asked->tenant, &q, asked->account);
	asked->stats = (struct scan_stats){0};
	r = scan_own(&v, e);
	/* What comes in is not to wait for peers. */
	snapshot_let_head_go(sn);
	if (r == 0)
		r = scan_peers(&v, e);
	fetches_end(&v.fetches);
	if (r == 0)
		r = withheld_tell(&v, e);
	if (r >= 0 && v.n_without_id)
		view_warn(&v,
			"%llu records were delivered again by the broker and have no message_id: "
			"whether another server has them too is not known",
			(unsigned long long)v.n_without_id);
	scan_end(&v);
	return r;
}

int view_scan_one(struct source *own, struct snapshot *sn, struct peers *p, struct scan *asked,
	struct error *e)
{
	struct view_scan v = {.own = own, .snapshot = sn, .peers = p, .asked = asked};
	struct page_request q = question(&v);
	int r;

	q.counts = false;
	q.after_seq = asked->after_seq;
	q.until_seq = asked->until_seq;
	asked->stats = (struct scan_stats){0};
	v.seen = xcalloc(p->n + 1, sizeof *v.seen);
	fetches_start(&v.fetches, p, asked->only, asked->tenant, &q, asked->account);
	r = scan_peers(&v, e);
	fetches_end(&v.fetches);
	scan_end(&v);
	return r;
}
