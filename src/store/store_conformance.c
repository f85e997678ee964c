/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_conformance.h"

#include <setjmp.h>

#include "store/cursor.h"
#include "store/lines/filter.h"
#include "store/store_rig.h"

enum { N = 40, SEEN_MAX = 1000 };

/* Where the records are when they are asked for. */
enum where { IN_HEAD, IN_PARTS, REOPENED, MERGED, N_WHERE };

static const char *const places[] = {"head", "parts", "parts after a restart", "merged parts"};

struct trial {
	struct rig rig;
	conformance_open *open;
	jmp_buf out;
	char what[300];
	enum where where;
	/* What the last scan gave. */
	uint64_t seq[SEEN_MAX];
	int64_t time[SEEN_MAX];
	size_t n;
	uint64_t counted;
	/* What its callbacks are to do. */
	int returns;
	_Atomic bool cancel;
};

static void PRINTF(2, 3) broken(struct trial *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(t->what, sizeof t->what, fmt, ap);
	va_end(ap);
	longjmp(t->out, 1);
}

#define PROMISE(t, condition)                                                                      \
	do {                                                                                       \
		if (!(condition))                                                                  \
			broken(t, "in the %s: %s", places[(t)->where], #condition);                \
	} while (0)

/* Line i of an app, one a second; those of even number are of host "a". */
static uint64_t put(struct trial *t, const char *app, size_t from, size_t n, int64_t at)
{
	struct batch_builder *bb = batch_builder_new(STR("t"), STR("test"), at);
	struct buf labels[2] = {{0}, {0}}, line = {0};
	struct sink_result r;

	rig_labels(&labels[0], app, "a");
	rig_labels(&labels[1], app, NULL);
	for (size_t i = from; i < from + n; i++) {
		struct record rec = {.timestamp = at + (int64_t)i * NS_PER_SEC,
			.severity = (uint8_t)(1 + i % 3),
			.stream = batch_builder_stream(bb, buf_view(&labels[i % 2]))};

		buf_clear(&line);
		buf_printf(&line, "%s line %06zu of %zu%s", app, i, n, i % 4 ? "" : " needle");
		rec.body = buf_view(&line);
		batch_builder_add(bb, &rec, NULL);
	}
	r = rig_submit(t->rig.s, batch_builder_finish(bb, 0));
	batch_builder_free(bb);
	for (int i = 0; i < 2; i++)
		buf_fini(&labels[i]);
	buf_fini(&line);
	if (r.code < 0)
		broken(t, "a batch is refused: %s", r.error.text);
	return r.n_committed > 0 ? r.first_seq : 0;
}

static void reopen(struct trial *t)
{
	struct error e = {0};

	store_close(t->rig.s);
	t->rig.s = NULL;
	if (t->open(&t->rig.s, &t->rig.o, &e) < 0)
		broken(t, "a restart fails: %s", e.text);
}

/* Bring what was put to its place. */
static void bring(struct trial *t)
{
	struct error e = {0};

	if (t->where >= IN_PARTS && store_flush(t->rig.s, &e) < 0)
		broken(t, "flush: %s", e.text);
	if (t->where == REOPENED)
		reopen(t);
	if (t->where == MERGED && store_settle(t->rig.s, &e) < 0)
		broken(t, "settle: %s", e.text);
}

static int on_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct trial *t = ctx;

	for (size_t i = 0; i < rows->n && t->n < SEEN_MAX; i++) {
		t->seq[t->n] = rows->seq ? rows->seq[rows->pick[i]] : 0;
		t->time[t->n++] = rows->timestamp[rows->pick[i]];
	}
	t->counted += rows->n;
	return t->returns < 0 ? error_set(e, t->returns, "as it was told to") : t->returns;
}

static int on_counts(void *ctx, const struct row_counts *counts, struct error *e)
{
	struct trial *t = ctx;

	for (size_t i = 0; i < counts->n; i++)
		t->counted += counts->counts[i].rows;
	return 0;
}

static bool same_bucket(void *ctx, int64_t min_ns, int64_t max_ns)
{
	return true;
}

static struct scan all_of(struct trial *t)
{
	return (struct scan){.tenant = STR("t"),
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX,
		.ctx = t,
		.rows = on_rows};
}

static int run_in(struct trial *t, struct snapshot *sn, struct scan *scan)
{
	struct error e;

	t->n = 0;
	t->counted = 0;
	return snapshot_scan(sn, scan, &e);
}

static int run(struct trial *t, struct scan *scan)
{
	struct snapshot *sn = snapshot_take(t->rig.s);
	int r = run_in(t, sn, scan);

	snapshot_free(sn);
	return r;
}

/* Promises */

static void sequences_go_on(struct trial *t)
{
	uint64_t first = put(t, "web", 0, N, RIG_TODAY);

	PROMISE(t, first == 1);
	bring(t);
	PROMISE(t, store_last_seq(t->rig.s) == N);
	PROMISE(t, put(t, "web", N, 1, RIG_TODAY) == N + 1);
}

static void each_record_once(struct trial *t)
{
	struct scan scan = all_of(t);
	uint64_t sum = 0;

	for (size_t i = 0; i < 4; i++) {
		put(t, "web", i * N, N, RIG_TODAY);
		bring(t);
	}
	PROMISE(t, run(t, &scan) == 0);
	for (size_t i = 0; i < t->n; i++)
		sum += t->seq[i];
	PROMISE(t, t->n == 4 * N);
	PROMISE(t, sum == 4 * N * (4 * N + 1) / 2);
	scan.tenant = STR("other");
	PROMISE(t, run(t, &scan) == 0 && t->n == 0);
}

static void a_snapshot_stays(struct trial *t)
{
	struct scan scan = all_of(t);
	struct snapshot *sn;
	int r;

	put(t, "web", 0, N, RIG_TODAY);
	sn = snapshot_take(t->rig.s);
	put(t, "web", N, N, RIG_TODAY);
	/* A restart would need the snapshot to go first. */
	if (t->where != REOPENED)
		bring(t);
	r = run_in(t, sn, &scan);
	snapshot_free(sn);
	PROMISE(t, r == 0 && t->n == N);
}

/* A snapshot whose head was let go: its records, wherever they have come to, and no others. */
static void the_head_may_go(struct trial *t)
{
	static const enum scan_order orders[] = {SCAN_OLDEST_FIRST, SCAN_NEWEST_FIRST, SCAN_BY_SEQ};

	put(t, "web", 0, N, RIG_TODAY);
	bring(t);
	for (size_t i = 1; i < 7; i++) {
		uint64_t sum = 0, want = (i + 1) * N, part = 0;
		struct snapshot *sn;
		struct scan scan = all_of(t);

		put(t, "web", i * N, N, RIG_TODAY);
		sn = snapshot_take(t->rig.s);
		if (i % 2)
			snapshot_let_head_go(sn);
		else
			snapshot_let_head_go_once_read(sn);
		if (i % 2 && t->where != REOPENED)
			bring(t);
		scan.order = orders[i % 3];
		PROMISE(t, run_in(t, sn, &scan) == 0);
		for (size_t k = 0; k < t->n; k++)
			sum += t->seq[k];
		PROMISE(t, t->n == want && sum == want * (want + 1) / 2);
		PROMISE(t, scan.after_seq == 0 && !scan.holds_head);
		/* Across the border of parts and head, and on both sides of it. */
		for (uint64_t after = 0; after < want; after += N / 2) {
			scan.after_seq = after;
			scan.until_seq = after + N / 2;
			PROMISE(t, run_in(t, sn, &scan) == 0 && t->n == N / 2);
			part += t->n;
		}
		PROMISE(t, part == want);
		snapshot_free(sn);
		if (i % 3 == 0)
			bring(t);
	}
}

static void times_are_half_open(struct trial *t)
{
	struct scan scan = all_of(t);

	put(t, "web", 0, N, RIG_TODAY);
	bring(t);
	scan.from_ns = RIG_TODAY + 3 * NS_PER_SEC;
	scan.to_ns = RIG_TODAY + 5 * NS_PER_SEC;
	PROMISE(t, run(t, &scan) == 0 && t->n == 2);
	scan.to_ns = scan.from_ns;
	PROMISE(t, run(t, &scan) == 0 && t->n == 0);
}

static void sequences_are_above_and_up_to(struct trial *t)
{
	struct scan scan = all_of(t);

	put(t, "web", 0, N, RIG_TODAY);
	bring(t);
	scan.after_seq = 3;
	scan.until_seq = 5;
	PROMISE(t, run(t, &scan) == 0 && t->n == 2);
	PROMISE(t, t->seq[0] + t->seq[1] == 4 + 5);
}

/* Units of one record show the order. */
static void units_come_in_order(struct trial *t)
{
	struct scan scan = all_of(t);

	for (size_t i = 0; i < 6; i++) {
		put(t, "web", i * 5 % 6, 1, RIG_TODAY);
		if (t->where != MERGED)
			bring(t);
	}
	for (int order = SCAN_NEWEST_FIRST; order <= SCAN_BY_SEQ; order++) {
		scan.order = (enum scan_order)order;
		PROMISE(t, run(t, &scan) == 0 && t->n == 6);
		for (size_t i = 1; i < t->n; i++) {
			if (order == SCAN_NEWEST_FIRST)
				PROMISE(t, t->time[i] < t->time[i - 1]);
			else if (order == SCAN_OLDEST_FIRST)
				PROMISE(t, t->time[i] > t->time[i - 1]);
			else
				PROMISE(t, t->seq[i] > t->seq[i - 1]);
		}
	}
}

static size_t found(struct trial *t, const char *text, bool negate)
{
	struct line_test test = {.text = str_c(text)};
	struct line_filter filter = {.tests = &test, .n = 1, .negate = negate};
	struct scan scan = all_of(t);

	scan.filters = &filter;
	scan.n_filters = 1;
	PROMISE(t, run(t, &scan) == 0);
	return t->n;
}

static void filters_hold(struct trial *t)
{
	put(t, "web", 0, N, RIG_TODAY);
	bring(t);
	PROMISE(t, found(t, "needle", false) == N / 4);
	PROMISE(t, found(t, "needle", true) == N - N / 4);
	PROMISE(t, found(t, "line 000007 of", false) == 1);
	/* Zeros before a number are part of it. */
	PROMISE(t, found(t, "00007", false) == 1);
	PROMISE(t, found(t, "0000007", false) == 0);
	PROMISE(t, found(t, "no such", false) == 0);
}

static void counts_are_those_of_rows(struct trial *t)
{
	struct line_test test = {.text = STR("needle")};
	struct line_filter filter = {.tests = &test, .n = 1};
	struct scan scan = all_of(t);

	put(t, "web", 0, N, RIG_TODAY);
	bring(t);
	scan.counts = on_counts;
	scan.same_bucket = same_bucket;
	PROMISE(t, run(t, &scan) == 0 && t->counted == N);
	scan.from_ns = RIG_TODAY + 10 * NS_PER_SEC;
	PROMISE(t, run(t, &scan) == 0 && t->counted == N - 10);
	scan.from_ns = INT64_MIN;
	scan.filters = &filter;
	scan.n_filters = 1;
	PROMISE(t, run(t, &scan) == 0 && t->counted == N / 4);
}

static void callbacks_end_a_scan(struct trial *t)
{
	struct scan scan = all_of(t);

	put(t, "web", 0, N, RIG_TODAY);
	bring(t);
	put(t, "web", N, N, RIG_TODAY);
	t->returns = 7;
	PROMISE(t, run(t, &scan) == 7 && t->n <= N);
	t->returns = ERR_LIMIT;
	PROMISE(t, run(t, &scan) == ERR_LIMIT);
	t->returns = 0;
	scan.cancel = &t->cancel;
	t->cancel = true;
	PROMISE(t, run(t, &scan) == ERR_CANCELLED && t->n == 0);
	t->cancel = false;
	PROMISE(t, run(t, &scan) == 0 && t->n == 2 * N);
}

static void accounts_are_kept(struct trial *t)
{
	struct account small, large;
	struct scan scan = all_of(t);

	account_init(&small, "small", 64, NULL);
	account_init(&large, "large", 64 << 20, NULL);
	put(t, "web", 0, N, RIG_TODAY);
	bring(t);
	scan.columns = SCAN_BODY | SCAN_META | SCAN_SOURCE;
	scan.account = &small;
	PROMISE(t, run(t, &scan) == ERR_LIMIT);
	PROMISE(t, account_held(&small) == 0);
	scan.account = &large;
	PROMISE(t, run(t, &scan) == 0 && t->n == N);
	PROMISE(t, account_held(&large) == 0);
}

static void deletions_hide_and_can_be_taken_back(struct trial *t)
{
	struct deletion d = {.tenant = STR("t"),
		.selector = STR("web needle"),
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX};
	struct retention wait = {.delete_wait_ns = RIG_DAY};
	struct scan scan = all_of(t);
	struct error e;
	uint64_t id = 0;

	PROMISE(t, store_retain(t->rig.s, &wait, &e) == 0);
	t->rig.o.retention = &wait;
	put(t, "web", 0, N, RIG_TODAY);
	put(t, "db", 0, N, RIG_TODAY);
	PROMISE(t, store_delete(t->rig.s, &d, &id, &e) == 0);
	bring(t);
	t->rig.o.retention = NULL;
	PROMISE(t, run(t, &scan) == 0 && t->n == 2 * N - N / 4);
	scan.hidden_too = true;
	PROMISE(t, run(t, &scan) == 0 && t->n == 2 * N);
	scan.hidden_too = false;
	put(t, "web", 4, 1, RIG_TODAY); /* later ones are not touched */
	PROMISE(t, run(t, &scan) == 0 && t->n == 2 * N - N / 4 + 1);
	PROMISE(t, store_delete_cancel(t->rig.s, STR("other"), id, &e) == ERR_NOT_FOUND);
	PROMISE(t, store_delete_cancel(t->rig.s, STR("t"), id, &e) == 0);
	PROMISE(t, run(t, &scan) == 0 && t->n == 2 * N + 1);
}

static void ages_hide_and_refuse(struct trial *t)
{
	struct retention r = {.age_ns = RIG_DAY};
	struct scan scan = all_of(t);
	struct error e;

	put(t, "web", 0, N, RIG_TODAY - 2 * RIG_DAY);
	put(t, "web", 0, N, RIG_TODAY - N * NS_PER_SEC);
	bring(t);
	PROMISE(t, store_retain(t->rig.s, &r, &e) == 0);
	PROMISE(t, run(t, &scan) == 0 && t->n == N);
	PROMISE(t, put(t, "web", 0, 1, RIG_TODAY - 2 * RIG_DAY) == 0);
}

struct taking {
	uint64_t last;
	size_t n;
	bool wrong;
};

static int take_three(void *ctx, const struct rows *rows)
{
	struct taking *k = ctx;
	size_t n = rows->n < 3 ? rows->n : 3;

	for (size_t i = 0; i < n; i++) {
		k->wrong = k->wrong || rows->seq[rows->pick[i]] <= k->last;
		k->last = rows->seq[rows->pick[i]];
	}
	k->n += n;
	return n < rows->n ? (int)n : 0;
}

static void cursors_go_on_behind_what_was_taken(struct trial *t)
{
	struct cursor c = {.store = t->rig.s, .tenant = STR("t")};
	struct taking k = {0};
	struct error e;
	int r;

	put(t, "web", 0, N, RIG_TODAY);
	bring(t);
	put(t, "db", 0, N, RIG_TODAY);
	c.store = t->rig.s;
	while ((r = cursor_next(&c, 8, take_three, &k, &e)) > 0)
		;
	PROMISE(t, r == 0);
	PROMISE(t, !k.wrong && k.n == 2 * N && c.after_seq == 2 * N);
}

static void cursors_pass_by_what_is_hidden(struct trial *t)
{
	struct retention rules = {.age_ns = RIG_DAY, .delete_wait_ns = RIG_DAY};
	struct deletion d = {.tenant = STR("t"),
		.selector = STR("web needle"),
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX};
	struct cursor c = {.tenant = STR("t")}, stands = {.tenant = STR("t")};
	struct taking k = {0};
	struct error e;
	uint64_t id;
	int r;

	put(t, "web", 0, N, RIG_TODAY - 2 * RIG_DAY);
	put(t, "web", 0, N, RIG_TODAY - N * NS_PER_SEC);
	put(t, "db", 0, N, RIG_TODAY - N * NS_PER_SEC);
	bring(t);
	c.store = stands.store = t->rig.s;
	/* Stands before all of it, and holds some, when the rules come. */
	PROMISE(t, cursor_next(&stands, 8, take_three, &k, &e) == 1);
	PROMISE(t, store_retain(t->rig.s, &rules, &e) == 0);
	PROMISE(t, store_delete(t->rig.s, &d, &id, &e) == 0);
	k = (struct taking){0};
	while ((r = cursor_next(&c, 8, take_three, &k, &e)) > 0)
		;
	PROMISE(t, r == 0 && !k.wrong && k.n == 2 * N - N / 4 && c.after_seq == 3 * N);
	k = (struct taking){0};
	while ((r = cursor_next(&stands, 8, take_three, &k, &e)) > 0)
		;
	PROMISE(t, r == 0 && !k.wrong && k.n == 2 * N - N / 4);
}

static void on_stream(void *ctx, struct str labels)
{
	struct str app;

	if (labels_get(labels, STR("app"), &app) && str_eq_c(app, "web"))
		*(unsigned *)ctx |= labels_count(labels) == 2 ? 1 : 2;
}

static void streams_are_listed(struct trial *t)
{
	struct snapshot *sn;
	unsigned web = 0;
	struct error e;
	int r;

	put(t, "web", 0, N, RIG_TODAY);
	bring(t);
	sn = snapshot_take(t->rig.s);
	r = snapshot_streams(sn, STR("t"), INT64_MIN, INT64_MAX, on_stream, &web, &e);
	snapshot_free(sn);
	PROMISE(t, r == 0 && web == 3);
}

static const struct {
	const char *name;
	void (*run)(struct trial *t);
} promises[] = {
	{"sequences go on", sequences_go_on},
	{"each record is seen once", each_record_once},
	{"a snapshot stays as it was", a_snapshot_stays},
	{"the head of a snapshot may go", the_head_may_go},
	{"times are half open", times_are_half_open},
	{"sequences are (after, until]", sequences_are_above_and_up_to},
	{"units come in the order that was asked for", units_come_in_order},
	{"filters keep what testing each line keeps", filters_hold},
	{"counts are those of rows", counts_are_those_of_rows},
	{"callbacks and the cancel flag end a scan", callbacks_end_a_scan},
	{"a scan charges what it holds and gives it back", accounts_are_kept},
	{"deletions hide at once and can be taken back", deletions_hide_and_can_be_taken_back},
	{"what is too old is hidden and refused", ages_hide_and_refuse},
	{"a cursor goes on behind what was taken", cursors_go_on_behind_what_was_taken},
	{"a cursor passes by what is hidden", cursors_pass_by_what_is_hidden},
	{"streams are listed", streams_are_listed},
};

/* False when it is broken: t->what says how.  What the promise held is lost with it. */
static bool kept(struct trial *t, void (*promise)(struct trial *t))
{
	struct error e = {0};

	if (setjmp(t->out) != 0)
		return false;
	if (t->open(&t->rig.s, &t->rig.o, &e) < 0)
		broken(t, "open: %s", e.text);
	promise(t);
	return true;
}

size_t store_conformance(conformance_open *open, void (*tell)(const char *name, const char *what))
{
	struct trial *t = xcalloc(1, sizeof *t);
	size_t n = 0;

	for (size_t i = 0; i < sizeof promises / sizeof *promises; i++) {
		for (int where = IN_HEAD; where < N_WHERE; where++) {
			*t = (struct trial){.open = open, .where = (enum where)where};
			rig_init(&t->rig, i + 1, 32 << 20);
			t->rig.o.merge_off = where != MERGED;
			if (!kept(t, promises[i].run)) {
				tell(promises[i].name, t->what);
				n++;
			} else if (rig_fini(&t->rig) > 0) {
				tell(promises[i].name, "memory is still charged");
				n++;
			}
		}
	}
	free(t);
	return n;
}
