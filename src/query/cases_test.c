/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cases of tests/logql over a real store.  The same lines lie in it in
 * several ways (arrangements): whole in the head, in fresh parts, in merged
 * parts, and in random splits into batches and flushes; each query gives the
 * expected answer in all of them.
 *
 * Besides, all lines of all files lie in one big set, several times, and each
 * query of each case is asked of that too: what the answer is, nobody worked
 * out, but it is the same in every arrangement.
 *
 * CASES=json takes the files whose name holds that, CASES=json:12 one case.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "query/case_file.h"
#include "query/query.h"
#include "store/store.h"
#include "store/store_rig.h"

enum {
	SPLITS = 4,
	BIG_ROUNDS = 2, /* each line is in the big set so often */
};

#define BIG "big"

static struct case_set set;
static unsigned only_line;

/* ---- the arrangements */

struct arrangement {
	const char *name;
	uint64_t seed;
	bool split;    /* into batches of few lines, and flushes between them */
	bool flush;    /* all of it at last */
	bool merge;    /* and the parts become few */
	bool reversed; /* what is pushed last is pushed first, where no two times are alike */
};

static bool may_reverse(const struct case_data *d)
{
	for (size_t i = 1; i < d->n; i++) {
		if (d->lines[i - 1].timestamp >= d->lines[i].timestamp)
			return false;
	}
	return true;
}

static void push(struct rig *rig, const struct case_data *d, size_t from, size_t to, bool reversed)
{
	struct batch_builder *bb = batch_builder_new(str_c(d->tenant), STR("test"), RIG_TODAY);
	struct sink_result result;

	for (size_t i = from; i < to; i++) {
		const struct case_line *l = &d->lines[reversed ? d->n - 1 - i : i];
		struct record r = {
			.timestamp = l->timestamp,
			.body = l->body,
			.meta = l->meta,
			.stream = batch_builder_stream(bb, l->labels),
		};
		assert_int_equal(batch_builder_add(bb, &r, NULL), 0);
	}
	result = rig_submit(rig->s, batch_builder_finish(bb, RIG_TODAY));
	if (result.code < 0)
		fail_msg("%s: %s", d->tenant, result.error.text);
	batch_builder_free(bb);
}

static void flush(struct rig *rig)
{
	struct error e = {0};

	if (store_flush(rig->s, &e) < 0)
		fail_msg("flush: %s", e.text);
}

/* All lines, each round a little later. */
static void make_big(void)
{
	struct case_data *big = ARENA_NEW(&set.arena, struct case_data);
	size_t n = 0;

	memcpy(big->tenant, BIG, sizeof BIG);
	for (const struct case_data *d = set.data; d; d = d->next)
		big->cap += BIG_ROUNDS * d->n;
	big->lines = ARENA_ARRAY(&set.arena, struct case_line, big->cap);
	for (unsigned round = 0; round < BIG_ROUNDS; round++) {
		for (const struct case_data *d = set.data; d; d = d->next) {
			for (size_t i = 0; i < d->n; i++, n++) {
				big->lines[n] = d->lines[i];
				big->lines[n].timestamp += (int64_t)round * 7300 * NS_PER_MS;
			}
		}
	}
	big->n = n;
	big->next = set.data;
	set.data = big;
}

static void arrange(struct rig *rig, const struct arrangement *a)
{
	uint64_t rng = a->seed;
	struct error e = {0};

	rig_init(rig, a->seed, 512 << 20);
	rig->o.segment_bytes = 0;
	rig->o.merge_off = !a->merge;
	rig->o.merge_parts = 1;
	if (store_open(&rig->s, &rig->o, &e) < 0)
		fail_msg("%s", e.text);
	for (const struct case_data *d = set.data; d; d = d->next) {
		bool reversed = a->reversed && may_reverse(d);
		for (size_t i = 0, n; i < d->n; i += n) {
			n = a->split ? 1 + rig_below(&rng, 1 + d->n / 2) : d->n;
			n = n < d->n - i ? n : d->n - i;
			push(rig, d, i, i + n, reversed);
			if (a->split && rig_chance(&rng, 8))
				flush(rig);
		}
	}
	if (a->flush)
		flush(rig);
	if (a->merge && store_settle(rig->s, &e) < 0)
		fail_msg("merging: %s", e.text);
}

/* ---- what was answered, as rows of a file */

static void put_merged(struct buf *out, const struct query_entry *x)
{
	struct labels_builder lb = {.names_free = true};
	const struct str sets[] = {x->labels, x->meta, x->parsed};
	struct buf bytes = {0};

	for (size_t i = 0; i < 3; i++) {
		struct str at = sets[i];
		struct label l;
		if (at.n == 0)
			continue;
		labels_start(&at);
		while (labels_next(&at, &l))
			labels_builder_set(&lb, l.name, l.value, NULL);
	}
	labels_builder_write(&lb, &bytes);
	buf_str(out, buf_view(&bytes));
	buf_fini(&bytes);
	labels_builder_fini(&lb);
}

static void put_labels(struct buf *out, struct str labels)
{
	if (labels.n)
		labels_text(out, labels);
	else
		buf_c(out, "{}");
}

static void show_entry(struct buf *out, const struct query_entry *x)
{
	buf_printf(out, "    @ %.17g ", (double)(x->timestamp - CASE_BASE_NS) / 1e9);
	put_labels(out, x->labels);
	buf_char(out, ' ');
	put_labels(out, x->meta);
	buf_char(out, ' ');
	put_labels(out, x->parsed);
	buf_c(out, " | ");
	quote_go(out, x->line);
	buf_char(out, '\n');
}

static void show_result(struct buf *out, const struct query_result *r)
{
	if (r->type == RESULT_STREAMS) {
		for (size_t i = 0; i < r->n_entries; i++)
			show_entry(out, &r->entries[i]);
		if (!r->n_entries)
			buf_c(out, "    none\n");
		return;
	}
	for (size_t i = 0; i < r->n_series; i++) {
		const struct query_series *x = &r->series[i];
		buf_printf(out, "    %c ", "?mvs"[r->type]);
		put_labels(out, x->labels);
		for (size_t k = 0; k < x->n; k++)
			/* Sums of parts differ in the last digits. */
			buf_printf(out, " %g:%.10g",
				(double)(x->samples[k].timestamp - CASE_BASE_NS) / 1e9,
				x->samples[k].value);
		buf_char(out, '\n');
	}
	if (!r->n_series)
		buf_c(out, "    none\n");
}

/* ---- comparing */

static bool same_number(double a, double b)
{
	if (isnan(a) || isnan(b) || isinf(a) || isinf(b))
		return (isnan(a) && isnan(b)) || a == b;
	return fabs(a - b) <= 1e-9 * fmax(1e-3, fmax(fabs(a), fabs(b)));
}

static double read_number(struct str text)
{
	char number[64];

	return strtod(str_copy(text, number, sizeof number), NULL);
}

/* An empty set has two spellings. */
static bool same_labels(struct str want, struct str got)
{
	return str_eq(want, got) || (want.n == 1 && want.p[0] == 0 && got.n == 0);
}

/* `~ {a="b", c=""}`: the builder drops what is empty, so the text is read here. */
static bool has_labels(struct str text, struct str got)
{
	struct buf value = {0};
	bool same = true;

	text = str_sub(str_trim(text), 1, str_trim(text).n - 1);
	while (text.n && same) {
		struct str rest = text, name = str_trim(str_cut(&rest, '=')), have = STR_NONE;
		size_t end = 1;
		while (end < rest.n && rest.p[end] != '"')
			end += rest.p[end] == '\\' ? 2 : 1;
		buf_clear(&value);
		same = quote_go_read(&value, str_sub(rest, 1, end));
		labels_get(got, name, &have);
		same = same && str_eq(have, buf_view(&value));
		text = str_sub(rest, end + 1, rest.n);
		while (text.n && strchr(", ", text.p[0]))
			text = str_sub(text, 1, text.n);
	}
	buf_fini(&value);
	return same;
}

static bool same_entry(const struct case_row *row, const struct query_entry *x)
{
	struct buf merged = {0};
	struct str text = row->text;
	bool same = false;

	put_merged(&merged, x);
	if (row->kind == '=') {
		same = str_eq(text, x->line);
	} else if (row->kind == '+') {
		same = same_labels(case_labels(&set, &text), buf_view(&merged));
	} else if (row->kind == '*') {
		same = same_labels(case_labels(&set, &text), buf_view(&merged)) &&
		       str_eq(str_sub(text, 2, text.n), x->line);
	} else if (row->kind == '~') {
		same = has_labels(text, buf_view(&merged));
	} else if (row->kind == 'c') {
		same = same_labels(case_labels(&set, &text), x->labels);
		same = same_labels(case_labels(&set, &text), x->meta) && same;
		same = same_labels(case_labels(&set, &text), x->parsed) && same;
	} else if (row->kind == '@') {
		struct str time = str_cut(&text, ' ');
		same = case_time(read_number(time)) == x->timestamp &&
		       str_eq(str_sub(text, 2, text.n), x->line);
	}
	buf_fini(&merged);
	return same;
}

static bool same_entries(const struct a_case *c, const struct query_result *r)
{
	if (r->n_entries != c->n_rows)
		return false;
	for (size_t i = 0; i < c->n_rows; i++) {
		if (!same_entry(&c->rows[i], &r->entries[i]))
			return false;
	}
	return true;
}

/* "60:2 120:3" */
static bool same_samples(struct str text, const struct query_series *x)
{
	size_t n = 0;

	while (text.n) {
		struct str word = str_cut(&text, ' '), time = str_cut(&word, ':');
		if (!time.n)
			continue;
		if (n == x->n || case_time(read_number(time)) != x->samples[n].timestamp ||
			!same_number(read_number(word), x->samples[n].value))
			return false;
		n++;
	}
	return n == x->n;
}

static bool same_series(const struct case_row *row, const struct query_series *x)
{
	struct str text = row->text;

	if (!same_labels(case_labels(&set, &text), x->labels))
		return false;
	if (row->kind == 'm')
		return same_samples(text, x);
	return x->n == 1 && same_number(read_number(text), x->samples[0].value);
}

static bool same_table(const struct a_case *c, const struct query_result *r)
{
	bool used[CASE_ROWS_MAX] = {false};

	if (r->n_series != c->n_rows)
		return false;
	for (size_t i = 0; i < r->n_series; i++) {
		size_t k = c->settings.ordered ? i : 0;
		while (k < c->n_rows && (used[k] || !same_series(&c->rows[k], &r->series[i])))
			k = c->settings.ordered ? c->n_rows : k + 1;
		if (k == c->n_rows)
			return false;
		used[k] = true;
	}
	return true;
}

static bool same_result(const struct a_case *c, const struct query_result *r)
{
	char kind = c->n_rows ? c->rows[0].kind : 0;
	size_t n = r->type == RESULT_STREAMS ? r->n_entries : r->n_series;

	switch (kind) {
	case '0': return n == 0;
	case 'n': return (double)n == read_number(c->rows[0].text);
	case 'v': return r->type == RESULT_VECTOR && same_table(c, r);
	case 'm': return r->type == RESULT_MATRIX && same_table(c, r);
	case 's':
		return r->type == RESULT_SCALAR && r->n_series == 1 &&
		       same_number(read_number(c->rows[0].text), r->series[0].samples[0].value);
	case '!':
	case 'f':
	case 0: return false;
	default: return r->type == RESULT_STREAMS && same_entries(c, r);
	}
}

/* ---- running */

static struct query_params params_of(const struct a_case *c, bool log)
{
	const struct case_settings *s = &c->settings;
	bool instant = c->n_rows && !log && strchr("vs0n", c->rows[0].kind);

	return (struct query_params){
		.start_ns = case_time(instant ? s->at : s->start),
		.end_ns = case_time(instant ? s->at : s->end),
		.step_ns = log || instant ? 0 : (int64_t)(s->step * 1e9),
		.limit = s->limit,
		.forward = !s->backward,
		.strict = s->strict,
		.tenant = str_c(c->data ? c->data->tenant : "none"),
	};
}

static bool same_format(const struct a_case *c, const struct query *q, struct buf *got)
{
	struct buf want = {0};
	bool same;

	for (size_t i = 0; i < c->n_rows; i++) {
		buf_c(&want, i ? "\n" : "");
		buf_str(&want, c->rows[i].text);
	}
	query_format(q, got);
	same = str_eq(buf_view(&want), buf_view(got));
	buf_char(got, '\n');
	buf_fini(&want);
	return same;
}

/* Was it answered as it should be?  *got is the answer or the error. */
static bool run(const struct a_case *c, struct snapshot *sn, struct buf *got)
{
	struct query *q = NULL;
	struct query_result result;
	struct query_params p;
	struct error e = {0};
	int r = query_parse(&q, c->query, &e);
	bool same = false;

	if (r == 0 && c->settings.strict)
		r = query_check_strict(q, &e);
	if (r == 0 && c->n_rows && c->rows[0].kind == 'f') {
		same = same_format(c, q, got);
	} else if (r == 0) {
		p = params_of(c, query_is_log(q));
		if ((r = query_run(q, sn, &p, &result, &e)) == 0) {
			same = same_result(c, &result);
			show_result(got, &result);
			query_result_fini(&result);
		}
	}
	query_free(q);
	if (r < 0 && c->n_rows && c->rows[0].kind == '!')
		same = str_find(str_c(e.text), c->rows[0].text) >= 0;
	if (r < 0)
		buf_printf(got, "    ! %s\n", e.text);
	return same;
}

static void tell(const struct a_case *c, const struct arrangement *a, struct buf *got)
{
	fprintf(stderr,
		"tests/logql/%s.case:%u: another answer (%s)\n  query:\n    %.*s\n  expected:\n",
		c->file, c->line, a->name, STR_ARG(c->query));
	for (size_t i = 0; i < c->n_rows; i++)
		fprintf(stderr, "    %c %.*s\n", c->rows[i].kind, STR_ARG(c->rows[i].text));
	fprintf(stderr, "  got:\n%s", buf_cstr(got));
}

/* The answer over the big set as text; of an error, which of several series has it is left open. */
static void ask_big(const struct a_case *c, struct snapshot *sn, struct buf *out)
{
	struct query *q = NULL;
	struct query_result result;
	struct query_params p;
	struct error e = {0};
	char *series;

	if (query_parse(&q, c->query, &e) < 0)
		return;
	p = params_of(c, query_is_log(q));
	p.tenant = STR(BIG);
	if (query_run(q, sn, &p, &result, &e) == 0) {
		show_result(out, &result);
		query_result_fini(&result);
	} else {
		if ((series = strstr(e.text, " for series:")))
			*series = 0;
		buf_c(out, e.text);
	}
	query_free(q);
}

/* FNV-1a. */
static uint64_t hash_of(struct str s)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* How many queries are answered in another way than in the first arrangement. */
static size_t run_big(const struct arrangement *a, struct snapshot *sn, bool first)
{
	size_t differ = 0, answers = 0;

	for (struct a_case *c = set.cases; c; c = c->next) {
		struct buf got = {0};
		uint64_t hash;
		if (only_line && c->line != only_line)
			continue;
		ask_big(c, sn, &got);
		hash = hash_of(buf_view(&got));
		answers += got.n > 0;
		if (first)
			c->big = hash;
		if (only_line || hash != c->big)
			fprintf(stderr,
				"tests/logql/%s.case:%u: over all lines, %s:\n  %.*s\n%.*s\n",
				c->file, c->line, a->name, STR_ARG(c->query),
				only_line ? (int)got.n : 2000, buf_cstr(&got));
		differ += hash != c->big;
		buf_fini(&got);
	}
	fprintf(stderr, "%s: %zu answers over all lines, %zu differ\n", a->name, answers, differ);
	return differ;
}

/* How many cases were not answered as they should be. */
static size_t run_all(const struct arrangement *a, bool first)
{
	size_t failed = 0, n = 0, differ;
	struct snapshot *sn;
	struct rig rig;

	arrange(&rig, a);
	sn = snapshot_take(rig.s);
	for (struct a_case *c = set.cases; c; c = c->next) {
		struct buf got = {0};
		bool same;
		if (only_line && c->line != only_line)
			continue;
		n++;
		same = run(c, sn, &got);
		if (first)
			c->passed = same;
		failed += !same;
		if (!same && (first || c->passed))
			tell(c, a, &got);
		buf_fini(&got);
	}
	differ = run_big(a, sn, first);
	snapshot_free(sn);
	assert_int_equal(rig_fini(&rig), 0);
	fprintf(stderr, "%s: %zu cases, %zu failed\n", a->name, n, failed);
	assert_true(n > 0);
	return failed + differ;
}

static void check(const struct arrangement *a, bool first)
{
	assert_int_equal(run_all(a, first), 0);
}

static void in_the_head(void **state)
{
	check(&(struct arrangement){.name = "in the head", .seed = 1}, true);
}

static void in_fresh_parts(void **state)
{
	check(&(struct arrangement){.name = "in fresh parts", .seed = 2, .flush = true}, false);
}

static void in_merged_parts(void **state)
{
	check(&(struct arrangement){.name = "in merged parts",
		      .seed = 3,
		      .split = true,
		      .flush = true,
		      .merge = true},
		false);
}

static void in_parts_and_head(void **state)
{
	size_t failed = 0;

	for (uint64_t i = 0; i < SPLITS; i++) {
		char name[40];
		snprintf(name, sizeof name, "split %u", (unsigned)i);
		failed += run_all(&(struct arrangement){.name = name,
					  .seed = 100 + i,
					  .split = true,
					  .merge = i % 3 == 2,
					  .reversed = i % 2},
			false);
	}
	assert_int_equal(failed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_the_head),
		cmocka_unit_test(in_fresh_parts),
		cmocka_unit_test(in_merged_parts),
		cmocka_unit_test(in_parts_and_head),
	};
	struct str rest = str_c(getenv("CASES")), part = str_cut(&rest, ':');
	int failed;

	only_line = rest.n ? (unsigned)atoi(rest.p) : 0;
	case_set_read(&set, CASES_DIR, part);
	make_big();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	arena_fini(&set.arena);
	return failed;
}
