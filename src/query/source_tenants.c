/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One scan of the source below for each tenant, one after the other.  Records
 * of different tenants do not come in the order of time therefore: what a
 * callback narrows holds for the tenants that follow, but when it ends the
 * scan, it ends that of one tenant.
 *
 * Labels with __tenant_id__ are made for streams that are wanted alone, and
 * kept as long as the tenant's scan: rows are told with them.
 */
#include "query/source_tenants.h"

#include <assert.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/map.h"
#include "base/memory.h"

static const struct str tenant_label = STR_INIT("__tenant_id__");

bool tenants_next(struct str all, size_t *at, struct str *out)
{
	while (*at < all.n) {
		struct str rest = str_sub(all, *at, all.n), before = str_sub(all, 0, *at), other;
		bool again = false;

		*out = str_cut(&rest, '|');
		*at += out->n + 1;
		while (before.n > 0 && !again) {
			other = str_cut(&before, '|');
			again = str_eq(other, *out);
		}
		if (out->n > 0 && !again)
			return true;
	}
	return false;
}

int tenants_check(struct str all, struct error *e)
{
	struct str one;
	size_t at = 0, n = 0;

	while (tenants_next(all, &at, &one)) {
		if (!tenant_valid(one))
			return error_set(e, ERR_ARG,
				"X-Scope-OrgID: a tenant has 1 to %d letters, digits or !-_.*'(), got "
				"\"%.*s\"",
				TENANT_MAX, STR_ARG(str_sub(one, 0, 200)));
		if (++n > TENANTS_MAX)
			return error_set(e, ERR_ARG,
				"X-Scope-OrgID: at most %d tenants in one request", TENANTS_MAX);
	}
	return n > 0 ? 0 : error_set(e, ERR_ARG, "X-Scope-OrgID: \"|\" stands between tenants");
}

/* --- labels --------------------------------------------------------------------------- */

static void add_tenant(
	struct labels_builder *b, struct str labels, struct str tenant, struct buf *out)
{
	struct label l;

	labels_builder_clear(b);
	b->names_free = true;
	labels_start(&labels);
	while (labels_next(&labels, &l))
		labels_builder_set(b, l.name, l.value, NULL);
	labels_builder_set(b, tenant_label, tenant, NULL);
	buf_clear(out);
	labels_builder_write(b, out);
}

/* The scan of one tenant. */
struct part_of_scan {
	struct scan *asked, scan;
	struct labels_builder builder;
	struct buf made;
	struct map labelled; /* labels to those with the tenant: a struct str on the heap */
	uint64_t charged;
	bool full;
	struct str *streams; /* of a unit */
	size_t cap;
};

/* What a callback changed holds from now on. */
static void take_limits(struct part_of_scan *p)
{
	p->scan.from_ns = p->asked->from_ns;
	p->scan.to_ns = p->asked->to_ns;
	p->scan.after_seq = p->asked->after_seq;
	p->scan.until_seq = p->asked->until_seq;
}

static void charge(struct part_of_scan *p, uint64_t n)
{
	if (p->full || (p->scan.account && account_charge(p->scan.account, n) < 0))
		p->full = true;
	else
		p->charged += n;
}

static struct str *keep(struct part_of_scan *p, struct str labels, struct str made)
{
	struct str *kept = xmalloc(sizeof *kept + made.n);

	memcpy(kept + 1, made.p, made.n);
	*kept = str_make(kept + 1, made.n);
	charge(p, 2 * labels.n + made.n + 256);
	map_put(&p->labelled, labels, NULL)->p = kept;
	return kept;
}

static struct str labelled(struct part_of_scan *p, struct str labels)
{
	const union map_value *known = map_get(&p->labelled, labels);

	if (known)
		return *(const struct str *)known->p;
	add_tenant(&p->builder, labels, p->scan.tenant, &p->made);
	return *keep(p, labels, buf_view(&p->made));
}

/* --- callbacks ------------------------------------------------------------------------ */

static bool ask(
	struct part_of_scan *p, bool (*want)(void *ctx, struct str labels), struct str labels)
{
	const union map_value *known = map_get(&p->labelled, labels);
	bool wanted;

	if (!known)
		add_tenant(&p->builder, labels, p->scan.tenant, &p->made);
	wanted = !want ||
		 want(p->asked->ctx, known ? *(const struct str *)known->p : buf_view(&p->made));
	take_limits(p);
	if (wanted && !known)
		keep(p, labels, buf_view(&p->made));
	return wanted;
}

static bool on_stream(void *ctx, struct str labels)
{
	struct part_of_scan *p = ctx;

	return ask(p, p->asked->want_stream, labels);
}

static bool on_by_row(void *ctx, struct str labels)
{
	struct part_of_scan *p = ctx;

	return ask(p, p->asked->by_row, labels);
}

static bool on_span(void *ctx, int64_t min_ns, int64_t max_ns)
{
	struct part_of_scan *p = ctx;
	bool wanted = p->asked->want_span(p->asked->ctx, min_ns, max_ns);

	take_limits(p);
	return wanted;
}

static bool on_bucket(void *ctx, int64_t min_ns, int64_t max_ns)
{
	struct part_of_scan *p = ctx;

	return p->asked->same_bucket(p->asked->ctx, min_ns, max_ns);
}

static void on_warning(void *ctx, const char *sentence)
{
	struct part_of_scan *p = ctx;

	p->asked->warn(p->asked->ctx, sentence);
}

/* Make room for the streams of a unit, none of which is known. */
static int unit_streams(struct part_of_scan *p, size_t n, struct error *e)
{
	if (n > p->cap) {
		charge(p, (n - p->cap) * sizeof *p->streams);
		if (!p->full) {
			p->streams = xrealloc(p->streams, n * sizeof *p->streams);
			p->cap = n;
		}
	}
	if (p->full)
		return error_set(e, ERR_LIMIT,
			"the labels of the tenants' streams do not fit in the memory");
	if (n > 0)
		memset(p->streams, 0, n * sizeof *p->streams);
	return 0;
}

static void need_stream(struct part_of_scan *p, const struct str *streams, uint32_t i)
{
	if (!p->streams[i].p)
		p->streams[i] = labelled(p, streams[i]);
}

static int on_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct part_of_scan *p = ctx;
	struct rows mine = *rows;
	int r = unit_streams(p, rows->n_streams, e);

	if (r < 0)
		return r;
	for (size_t at = 0; at < rows->n; at++)
		need_stream(p, rows->streams, rows->stream[rows->pick[at]]);
	mine.streams = p->streams;
	r = p->asked->rows(p->asked->ctx, &mine, e);
	take_limits(p);
	return r;
}

static int on_counts(void *ctx, const struct row_counts *counts, struct error *e)
{
	struct part_of_scan *p = ctx;
	struct row_counts mine = *counts;
	int r = unit_streams(p, counts->n_streams, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < counts->n; i++)
		need_stream(p, counts->streams, counts->counts[i].stream);
	mine.streams = p->streams;
	r = p->asked->counts(p->asked->ctx, &mine, e);
	take_limits(p);
	return r;
}

/* Without its streams' labels made: who chooses rows goes by their times. */
static size_t on_narrow(void *ctx, const struct rows *rows, uint32_t *pick)
{
	struct part_of_scan *p = ctx;
	struct rows mine = *rows;
	struct error ignored;
	size_t n;

	if (unit_streams(p, rows->n_streams, &ignored) < 0)
		return rows->n;
	for (size_t at = 0; at < rows->n; at++)
		need_stream(p, rows->streams, rows->stream[rows->pick[at]]);
	mine.streams = p->streams;
	n = p->asked->narrow(p->asked->ctx, &mine, pick);
	take_limits(p);
	return n;
}

/* --- the source ----------------------------------------------------------------------- */

static_assert(sizeof(struct scan_stats) % sizeof(uint64_t) == 0, "all of it is counts");

static void add_stats(struct scan_stats *to, const struct scan_stats *from)
{
	uint64_t *a = (uint64_t *)to;
	const uint64_t *b = (const uint64_t *)from;

	for (size_t i = 0; i < sizeof *to / sizeof *a; i++)
		a[i] += b[i];
}

static int scan_one(struct source *over, struct scan *asked, struct str tenant, struct error *e)
{
	struct part_of_scan p = {.asked = asked, .scan = *asked};
	const struct map_slot *slot;
	size_t at = 0;
	int r;

	p.scan.tenant = tenant;
	p.scan.ctx = &p;
	p.scan.want_stream = on_stream;
	p.scan.by_row = asked->by_row ? on_by_row : NULL;
	p.scan.want_span = asked->want_span ? on_span : NULL;
	p.scan.same_bucket = asked->same_bucket ? on_bucket : NULL;
	p.scan.counts = asked->counts ? on_counts : NULL;
	p.scan.narrow = asked->narrow ? on_narrow : NULL;
	p.scan.warn = asked->warn ? on_warning : NULL;
	p.scan.rows = on_rows;
	r = over->scan(over, &p.scan, e);
	add_stats(&asked->stats, &p.scan.stats);
	while ((slot = map_next(&p.labelled, &at)))
		free(slot->value.p);
	map_fini(&p.labelled);
	labels_builder_fini(&p.builder);
	buf_fini(&p.made);
	free(p.streams);
	account_release(asked->account, p.charged);
	return r;
}

static struct source *below(struct source *s)
{
	return CONTAINER(s, struct source_tenants, source)->over;
}

static uint64_t last_seq(struct source *s)
{
	return below(s)->last_seq(below(s));
}

static int scan(struct source *s, struct scan *sc, struct error *e)
{
	struct str tenant;
	size_t at = 0;
	int r = 0;

	if (str_chr(sc->tenant, '|') < 0)
		return below(s)->scan(below(s), sc, e);
	sc->stats = (struct scan_stats){0};
	while (r >= 0 && sc->from_ns < sc->to_ns && tenants_next(sc->tenant, &at, &tenant))
		r = scan_one(below(s), sc, tenant, e);
	return r;
}

struct listing {
	void (*stream)(void *ctx, struct str labels);
	void *ctx;
	struct str tenant;
	struct labels_builder builder;
	struct buf made;
};

static void list_stream(void *ctx, struct str labels)
{
	struct listing *l = ctx;

	add_tenant(&l->builder, labels, l->tenant, &l->made);
	l->stream(l->ctx, buf_view(&l->made));
}

static int streams(struct source *s, struct str tenant, int64_t from_ns, int64_t to_ns,
	void (*stream)(void *ctx, struct str labels), void *ctx, struct error *e)
{
	struct listing l = {.stream = stream, .ctx = ctx};
	size_t at = 0;
	int r = 0;

	if (str_chr(tenant, '|') < 0)
		return below(s)->streams(below(s), tenant, from_ns, to_ns, stream, ctx, e);
	while (r >= 0 && tenants_next(tenant, &at, &l.tenant))
		r = below(s)->streams(below(s), l.tenant, from_ns, to_ns, list_stream, &l, e);
	labels_builder_fini(&l.builder);
	buf_fini(&l.made);
	return r;
}

void source_tenants_init(struct source_tenants *t, struct source *over)
{
	*t = (struct source_tenants){
		.source = {.last_seq = last_seq, .scan = scan, .streams = streams}, .over = over};
}
