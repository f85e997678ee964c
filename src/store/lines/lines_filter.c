/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filtering rows without spelling their lines.
 *
 * Of a template about which the filters cannot say yes or no, a text is looked
 * for in its places (match.h): each is a few conditions on values, tested column
 * by column on the rows that are left.  A condition on a pooled value is tested
 * once on each distinct value of the pool, for all templates; where none passes,
 * the place is out of the question.  That is found out first, for all templates,
 * before anything by row is read: a text that is nowhere costs the values of the
 * pools that could hold it.
 *
 * Expressions are narrowed by their literals, as texts; the rows that are left
 * are spelled and matched.
 */
#include "store/lines/reader.h"

#include <stdlib.h>

enum {
	KNOWN_MAX = 64, /* tests of pools that are remembered */
	BATCH = 256,    /* rows that are spelled at once */
};

/* Which values of a pool pass a test. */
struct known {
	uint32_t pool;
	uint8_t test;
	struct str text;
	uint32_t n;      /* that pass */
	uint8_t *passes; /* by value; NULL when n is 0 */
	size_t bytes;
};

struct filtering {
	struct lines_reader *r;
	const struct line_filter *filters;
	size_t n_filters;
	struct error *e;
	struct known known[KNOWN_MAX];
	size_t n_known;
	/* Of the template at hand.  Ranks are indices of values. */
	uint32_t template;
	const struct template *t;
	uint32_t *left, *some, *next; /* ranks: not decided yet, and two lists to narrow them in */
	uint32_t n_left;
	uint8_t *hit; /* by place in `left`: a test of the filter has passed */
	struct match_place places[MATCH_PLACES];
	struct buf spelled;
	/* By rank of the plain lines: kept or not; NULL when they were not tested all at once. */
	uint8_t *plain;
};

static void known_drop(struct filtering *f)
{
	for (size_t i = 0; i < f->n_known; i++) {
		free(f->known[i].passes);
		reader_unhold(f->r, f->known[i].bytes);
	}
	f->n_known = 0;
}

static int test_pool(
	struct filtering *f, uint32_t pool, const struct match_term *term, struct known *out)
{
	const struct column *values;
	uint32_t *pick, n;
	int code;

	if ((code = reader_pool_values(f->r, pool, f->e)) < 0)
		return code;
	values = &f->r->pools[pool].view.values;
	*out = (struct known){.pool = pool, .test = term->test, .text = term->text};
	/* Texts are one run of bytes: most often it does not hold the text at all. */
	if (values->kind == SLOT_TEXT && str_find(buf_view(&values->bytes), term->text) < 0)
		return 0;
	if ((code = reader_hold(f->r, (uint64_t)values->n * (sizeof(*pick) + 1), f->e)) < 0)
		return code;
	pick = xmalloc(values->n * sizeof(*pick));
	for (uint32_t i = 0; i < values->n; i++)
		pick[i] = i;
	n = values->n ? column_keep(values, term->test, term->text, pick, values->n) : 0;
	reader_unhold(f->r, (uint64_t)values->n * sizeof(*pick));
	if (n > 0) {
		out->passes = xcalloc(values->n, 1);
		for (uint32_t i = 0; i < n; i++)
			out->passes[pick[i]] = 1;
	}
	out->n = n;
	out->bytes = values->n;
	free(pick);
	return 0;
}

/* The test of a pool's values; made once.  NULL on failure, *code says which. */
static const struct known *know(
	struct filtering *f, uint32_t pool, const struct match_term *term, int *code)
{
	struct known *k;

	for (size_t i = 0; i < f->n_known; i++) {
		k = &f->known[i];
		if (k->pool == pool && k->test == term->test && str_eq(k->text, term->text))
			return k;
	}
	if (f->n_known == KNOWN_MAX)
		known_drop(f);
	k = &f->known[f->n_known];
	if ((*code = test_pool(f, pool, term, k)) < 0)
		return NULL;
	f->n_known++;
	return k;
}

/* Is the text longer than any value of the slot? */
static bool too_long(const struct lines_reader *r, uint32_t template, const struct match_term *term)
{
	const struct payload_place *at = reader_place(r, template, term->slot);
	const struct payload_pool *pool;
	size_t zeros = 0;

	if (at->chunk != PAYLOAD_POOLED)
		return at->most > 0 && term->text.n > at->most;
	/* The width of a pool of numbers is of their values: "000258" counts as three digits. */
	while (zeros < term->text.n && term->text.p[zeros] == '0')
		zeros++;
	pool = &r->p.pools[at->at];
	return pool->kind == SLOT_NUMBER && term->text.n - zeros > pool->width;
}

/* Can the values of the place pass, by their lengths and, of pools, by their distinct values?
 * 1, 0 or an error. */
static int place_can_be(struct filtering *f, uint32_t template, const struct match_place *place)
{
	int code = 0;

	for (uint32_t i = 0; i < place->n; i++)
		if (too_long(f->r, template, &place->terms[i]))
			return 0;
	for (uint32_t i = 0; i < place->n; i++) {
		const struct payload_place *at = reader_place(f->r, template, place->terms[i].slot);
		if (at->chunk != PAYLOAD_POOLED)
			continue;
		const struct known *k = know(f, at->at, &place->terms[i], &code);
		if (!k)
			return code;
		if (k->n == 0)
			return 0;
	}
	return 1;
}

/* Can a text stand in lines of the template? */
static int text_can_be(struct filtering *f, struct str text, uint32_t template)
{
	int n = match_places(text, f->r->s.templates[template], f->places, MATCH_PLACES), code;

	if (n < 0)
		return 1;
	for (int i = 0; i < n; i++)
		if ((code = place_can_be(f, template, &f->places[i])) != 0)
			return code;
	return 0;
}

static int test_can_pass(struct filtering *f, const struct line_test *test, uint32_t template)
{
	struct regex_literals l;
	struct str literal;
	int code = 1;

	if (!test->regex)
		return text_can_be(f, test->text, template);
	literal = regex_literal(test->regex);
	if (literal.n > 0 && (code = text_can_be(f, literal, template)) <= 0)
		return code;
	l = regex_literals(test->regex);
	if (l.n == 0 || l.fold)
		return 1;
	for (size_t i = 0; i < l.n; i++)
		if ((code = text_can_be(f, l.text[i], template)) != 0)
			return code;
	return 0;
}

/* What the filters say of a template whose verdict is open, now that pools can be asked:
 * an enum match_verdict or an error. */
static int look_again(struct filtering *f, uint32_t template)
{
	int all = MATCH_ALL;

	for (size_t i = 0; i < f->n_filters; i++) {
		const struct line_filter *filter = &f->filters[i];
		int verdict = match_template(filter, f->r->s.templates[template]), code = 0;
		for (size_t k = 0; verdict == MATCH_SOME && code == 0 && k < filter->n; k++)
			code = test_can_pass(f, &filter->tests[k], template);
		if (code < 0)
			return code;
		if (verdict == MATCH_SOME && code == 0)
			verdict = filter->negate ? MATCH_ALL : MATCH_NONE;
		if (verdict == MATCH_NONE)
			return MATCH_NONE;
		if (verdict == MATCH_SOME)
			all = MATCH_SOME;
	}
	return all;
}

/* Keep of ranks list[0..n) those whose pooled value passes. */
static int keep_pooled(struct filtering *f, uint32_t pool, const struct match_term *term,
	uint32_t *list, uint32_t *n)
{
	struct lines_reader *r = f->r;
	uint32_t kept = 0;
	int code = 0;
	const struct known *k = know(f, pool, term, &code);

	if (!k)
		return code;
	if (k->n == 0) {
		*n = 0;
		return 0;
	}
	if ((code = reader_pool_uses(r, pool, f->e)) < 0)
		return code;
	const uint32_t *base = reader_pool_base(r, f->template, term->slot);
	const uint32_t *use =
		r->pools[pool].view.use + reader_pool_offset(r, f->template, term->slot);
	for (uint32_t i = 0; i < *n; i++) {
		list[kept] = list[i];
		kept += k->passes[use[base[list[i]]]];
	}
	*n = kept;
	return 0;
}

/* Keep of ranks list[0..n) those that fulfil all terms of a place. */
static int keep_place(
	struct filtering *f, const struct match_place *place, uint32_t *list, uint32_t *n)
{
	int code;

	for (uint32_t i = 0; i<place->n && * n> 0; i++) {
		const struct match_term *term = &place->terms[i];
		const struct payload_place *at = reader_place(f->r, f->template, term->slot);
		const struct column *c;
		if (at->chunk == PAYLOAD_POOLED) {
			if ((code = keep_pooled(f, at->at, term, list, n)) < 0)
				return code;
			continue;
		}
		if ((code = reader_column(f->r, f->template, term->slot, &c, f->e)) < 0)
			return code;
		*n = column_keep(c, term->test, term->text, list, *n);
	}
	return 0;
}

/* Mark in `mark`, by place in list[0..n), the ranks whose lines contain the text: 1 done, 0 when
 * that cannot be told without spelling. */
static int mark_text(
	struct filtering *f, struct str text, const uint32_t *list, uint32_t n, uint8_t *mark)
{
	int n_places = match_places(text, f->t, f->places, MATCH_PLACES), code;

	if (n_places < 0)
		return 0;
	for (int i = 0; i < n_places; i++) {
		const struct match_place *place = &f->places[i];
		uint32_t n_some = n, at = 0;
		if (place->n == 0) {
			memset(mark, 1, n);
			return 1;
		}
		if ((code = place_can_be(f, f->template, place)) < 0)
			return code;
		if (code == 0)
			continue;
		memcpy(f->some, list, n * sizeof(*list));
		if ((code = keep_place(f, place, f->some, &n_some)) < 0)
			return code;
		/* Both lists ascend. */
		for (uint32_t k = 0; k < n_some; k++) {
			while (list[at] != f->some[k])
				at++;
			mark[at] = 1;
		}
	}
	return 1;
}

/* Mark by spelling those that are not marked yet; `only` (may be NULL) says which can be. */
static int mark_spelled(
	struct filtering *f, const struct line_test *test, const uint8_t *only, uint8_t *mark)
{
	const struct line_filter alone = {.tests = test, .n = 1};
	uint32_t batch[BATCH], at[BATCH];
	struct str lines[BATCH];
	int code;

	for (uint32_t i = 0; i < f->n_left;) {
		uint32_t n = 0;
		for (; n < BATCH && i < f->n_left; i++) {
			if (mark[i] || (only && !only[i]))
				continue;
			batch[n] = f->left[i];
			at[n++] = i;
		}
		if (n == 0)
			break;
		code = reader_spell(f->r, f->template, batch, n, &f->spelled, lines, f->e);
		if (code < 0)
			return code;
		f->r->figures.spelled += n;
		for (uint32_t k = 0; k < n; k++) {
			if ((code = line_filter_test(&alone, lines[k])) < 0)
				return error_set(f->e, code,
					"the regular expression takes too long on a line");
			mark[at[k]] = (uint8_t)code;
		}
	}
	return 0;
}

/* Narrow by the literals: 1 when `maybe` says which rows can match, 0 when all can. */
static int narrow(struct filtering *f, const struct regex *regex, uint8_t *maybe)
{
	struct regex_literals l = regex_literals(regex);
	struct str literal = regex_literal(regex);
	int code;

	memset(maybe, 0, f->n_left);
	if (l.n == 0 || l.fold)
		return literal.n > 0 ? mark_text(f, literal, f->left, f->n_left, maybe) : 0;
	for (size_t i = 0; i < l.n; i++)
		if ((code = mark_text(f, l.text[i], f->left, f->n_left, maybe)) <= 0)
			return code;
	return 1;
}

/* Mark rows that match. */
static int mark_regex(struct filtering *f, const struct line_test *test)
{
	struct regex_literals l = regex_literals(test->regex);
	uint8_t *maybe = (uint8_t *)f->next;
	int code = narrow(f, test->regex, maybe);

	if (code < 0)
		return code;
	if (code == 0 || !l.exact || l.fold)
		return mark_spelled(f, test, code ? maybe : NULL, f->hit);
	for (uint32_t i = 0; i < f->n_left; i++)
		f->hit[i] |= maybe[i];
	return 0;
}

static int run_filter(struct filtering *f, const struct line_filter *filter)
{
	uint32_t kept = 0;
	int code;

	memset(f->hit, 0, f->n_left);
	for (size_t i = 0; i < filter->n; i++) {
		const struct line_test *test = &filter->tests[i];
		if (test->regex) {
			code = mark_regex(f, test);
		} else {
			code = mark_text(f, test->text, f->left, f->n_left, f->hit);
			if (code == 0)
				code = mark_spelled(f, test, NULL, f->hit);
		}
		if (code < 0)
			return code;
	}
	for (uint32_t i = 0; i < f->n_left; i++) {
		f->left[kept] = f->left[i];
		kept += f->hit[i] != filter->negate;
	}
	f->n_left = kept;
	return 0;
}

/* What is by row: which of the picked rows are kept. */
struct rows {
	const uint8_t *verdict; /* by template */
	const uint32_t *pick;
	size_t n;
	/* Most rows are picked: all are asked, and what row has which template is read only when
	 * some are kept. */
	bool whole;
	uint32_t *start; /* by id, and one more; where its ranks are, when not all rows are asked */
	uint32_t *ranks; /* of the rows to ask, by id; of one id when whole */
	uint8_t *keep;   /* by r->start[id] + rank; NULL: none */
};

static uint8_t *keep_of(struct filtering *f, struct rows *s, uint32_t id)
{
	if (!s->keep)
		s->keep = xcalloc(f->r->p.n_rows, 1);
	return s->keep + f->r->start[id];
}

/* The ranks of the rows of an id that are asked. */
static uint32_t *ranks_of(struct filtering *f, struct rows *s, uint32_t id, uint32_t *n)
{
	if (!s->whole) {
		*n = s->start[id + 1] - s->start[id];
		return s->ranks + s->start[id];
	}
	*n = f->r->count[id];
	for (uint32_t i = 0; i < *n; i++)
		s->ranks[i] = i;
	return s->ranks;
}

static int run_template(struct filtering *f, struct rows *s, uint32_t id)
{
	int code;

	f->template = id - 1;
	f->t = f->r->s.templates[id - 1];
	f->left = ranks_of(f, s, id, &f->n_left);
	for (size_t i = 0; i < f->n_filters && f->n_left > 0; i++)
		if ((code = run_filter(f, &f->filters[i])) < 0)
			return code;
	for (uint32_t i = 0; i < f->n_left; i++)
		keep_of(f, s, id)[f->left[i]] = 1;
	reader_drop(f->r, id - 1);
	return 0;
}

/* 1 when a plain line is kept, 0 or an error. */
static int test_plain(struct filtering *f, uint32_t rank)
{
	struct str line;
	int code;

	if (f->plain)
		return f->plain[rank];
	if ((code = reader_plain(f->r, rank, &line, f->e)) < 0)
		return code;
	if ((code = line_filters_test(f->filters, f->n_filters, line)) < 0)
		return error_set(f->e, code, "the regular expression takes too long on a line");
	return code;
}

static int run_plain(struct filtering *f, struct rows *s)
{
	uint32_t n, *ranks = ranks_of(f, s, 0, &n);
	int code;

	for (uint32_t i = 0; i < n; i++) {
		if ((code = test_plain(f, ranks[i])) < 0)
			return code;
		if (code > 0)
			keep_of(f, s, 0)[ranks[i]] = 1;
	}
	return 0;
}

/* Test all plain lines; how many are kept, or an error. */
static int test_all_plain(struct filtering *f)
{
	uint32_t n = f->r->p.n_plain;
	uint8_t *kept;
	int code, sum = 0;

	if ((code = reader_hold(f->r, n, f->e)) < 0)
		return code;
	kept = xmalloc(n);
	for (uint32_t i = 0; i < n && code >= 0; i++) {
		code = test_plain(f, i);
		kept[i] = (uint8_t)code;
		sum += code;
	}
	f->plain = kept;
	return code < 0 ? code : sum;
}

static int run_ids(struct filtering *f, struct rows *s)
{
	struct lines_reader *r = f->r;
	int code;

	for (uint32_t id = 1; id <= r->p.n_templates; id++) {
		if (s->verdict[id - 1] == MATCH_ALL)
			memset(keep_of(f, s, id), 1, r->count[id]);
		else if (s->verdict[id - 1] == MATCH_SOME && (code = run_template(f, s, id)) < 0)
			return code;
	}
	return r->p.n_plain > 0 ? run_plain(f, s) : 0;
}

static void sort_ranks(const struct lines_reader *r, struct rows *s)
{
	/* Counted two places further on: filling moves each start to where it belongs. */
	for (size_t i = 0; i < s->n; i++)
		s->start[r->ids[s->pick[i]] + 2]++;
	for (uint32_t id = 2; id <= r->p.n_templates + 2; id++)
		s->start[id] += s->start[id - 1];
	for (size_t i = 0; i < s->n; i++)
		s->ranks[s->start[r->ids[s->pick[i]] + 1]++] = r->rank[s->pick[i]];
}

/* Keep of the picked rows those of which `keep` says so. */
static int keep_rows(struct filtering *f, const struct rows *s, uint32_t *pick, size_t *n)
{
	struct lines_reader *r = f->r;
	size_t kept = 0;
	uint32_t *next;
	int code = 0;

	if (!s->keep) {
		*n = 0;
		return 0;
	}
	if (s->n < r->p.n_rows) {
		if ((code = reader_order(r, f->e)) < 0)
			return code;
		for (size_t i = 0; i < s->n; i++) {
			uint32_t row = pick[i];
			pick[kept] = row;
			kept += s->keep[r->start[r->ids[row]] + r->rank[row]];
		}
		*n = kept;
		return 0;
	}
	if ((code = reader_ids(r, f->e)) < 0)
		return code;
	next = xmalloc((r->p.n_templates + 1) * sizeof(*next));
	memcpy(next, r->start, (r->p.n_templates + 1) * sizeof(*next));
	for (uint32_t row = 0; row < r->p.n_rows; row++) {
		pick[kept] = row;
		kept += s->keep[next[r->ids[row]]++];
	}
	free(next);
	*n = kept;
	return 0;
}

/* How many rows are asked at once, at most. */
static size_t most_asked(const struct lines_reader *r, const struct rows *s)
{
	size_t most = r->p.n_plain;

	if (!s->whole)
		return s->n;
	for (uint32_t id = 1; id <= r->p.n_templates; id++)
		if (s->verdict[id - 1] == MATCH_SOME && r->count[id] > most)
			most = r->count[id];
	return most;
}

static int filter_rows(struct filtering *f, const uint8_t *verdict, uint32_t *pick, size_t *n)
{
	struct lines_reader *r = f->r;
	struct rows s = {.verdict = verdict, .pick = pick, .n = *n, .whole = *n >= r->p.n_rows / 2};
	int code = s.whole ? reader_counts(r, f->e) : reader_order(r, f->e);
	uint64_t bytes;
	size_t most;

	if (code < 0)
		return code;
	most = most_asked(r, &s);
	bytes = most * (3 * sizeof(uint32_t) + 1) + r->p.n_rows +
		2 * (r->p.n_templates + 3) * sizeof(uint32_t);
	if ((code = reader_hold(r, bytes, f->e)) < 0)
		return code;
	s.start = xcalloc((size_t)r->p.n_templates + 3, sizeof(*s.start));
	s.ranks = xmalloc(most * sizeof(*s.ranks));
	f->some = xmalloc(most * sizeof(*f->some));
	f->next = xmalloc(most * sizeof(*f->next));
	f->hit = xmalloc(most);
	if (!s.whole)
		sort_ranks(r, &s);
	if ((code = run_ids(f, &s)) == 0)
		code = keep_rows(f, &s, pick, n);
	free(s.start);
	free(s.ranks);
	free(s.keep);
	free(f->some);
	free(f->next);
	free(f->hit);
	reader_unhold(r, bytes);
	return code;
}

/* Where all rows were picked pick is not set yet. */
static void pick_all(const struct lines_reader *r, uint32_t *pick, size_t n)
{
	for (uint32_t i = 0; n == r->p.n_rows && i < n; i++)
		pick[i] = i;
}

/* All verdicts are yes or no, and no plain line is kept. */
static int keep_by_id(struct filtering *f, const uint8_t *verdict, uint32_t *pick, size_t *n)
{
	const uint16_t *ids;
	size_t kept = 0;
	int code = lines_templates(f->r, &ids, f->e);

	pick_all(f->r, pick, *n);
	for (size_t i = 0; code == 0 && i < *n; i++) {
		uint32_t row = pick[i];
		pick[kept] = row;
		kept += ids[row] > 0 && verdict[ids[row] - 1] == MATCH_ALL;
	}
	*n = code < 0 ? *n : kept;
	return code;
}

/* Rows are asked only as far as templates leave it open, and plain lines before they are: most
 * often there are few and none is kept. */
static int decide(struct filtering *f, const uint8_t *verdict, const uint32_t counts[3],
	uint32_t *pick, size_t *n)
{
	const struct payload *p = &f->r->p;
	int plain = p->n_plain > 0;

	if (plain && *n >= p->n_rows / 2 && (plain = test_all_plain(f)) < 0)
		return plain;
	if (plain > 0 || counts[MATCH_SOME] > 0)
		return filter_rows(f, verdict, pick, n);
	if (counts[MATCH_ALL] == 0)
		*n = 0;
	if (*n > 0 && counts[MATCH_NONE] == 0 && p->n_plain == 0)
		pick_all(f->r, pick, *n);
	if (*n == 0 || (counts[MATCH_NONE] == 0 && p->n_plain == 0))
		return 0;
	return keep_by_id(f, verdict, pick, n);
}

int lines_filter(struct lines_reader *r, const struct line_filter *filters, size_t n_filters,
	const uint8_t *verdict, uint32_t *pick, size_t *n, struct error *e)
{
	struct filtering *f;
	uint32_t counts[3] = {0};
	uint8_t *now;
	int code = 0;

	if (n_filters == 0)
		pick_all(r, pick, *n);
	if (*n == 0 || n_filters == 0)
		return 0;
	f = xcalloc(1, sizeof(*f));
	f->r = r;
	f->filters = filters;
	f->n_filters = n_filters;
	f->e = e;
	now = xmalloc(r->p.n_templates);
	for (uint32_t t = 0; t < r->p.n_templates && code >= 0; t++) {
		code = verdict[t] == MATCH_SOME ? look_again(f, t) : verdict[t];
		now[t] = (uint8_t)code;
		if (code >= 0)
			counts[code]++;
	}
	if (code >= 0)
		code = decide(f, now, counts, pick, n);
	known_drop(f);
	if (f->plain)
		reader_unhold(r, r->p.n_plain);
	free(f->plain);
	buf_fini(&f->spelled);
	free(now);
	free(f);
	return code;
}
