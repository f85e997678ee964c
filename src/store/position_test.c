/* SPDX-License-Identifier: Apache-2.0 */
/* Positions against a plain model, and their snapshots. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "store/interval.h"
#include "store/position.h"

static uint64_t seed = 88172645463325252u;

static uint64_t draw(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

static void intervals_match_a_table(void **state)
{
	for (int run = 0; run < 200; run++) {
		struct interval_set s = {0};
		bool table[200] = {0};

		for (int i = 0; i < 60; i++) {
			uint64_t lo = draw(190), hi = lo + draw(i % 3 ? 3 : 10);
			size_t runs = 0;

			interval_add(&s, lo, hi);
			for (uint64_t v = lo; v <= hi; v++)
				table[v] = true;
			for (uint64_t v = 0; v < 200; v++) {
				assert_int_equal(interval_has(&s, v), table[v]);
				runs += table[v] && (v == 0 || !table[v - 1]);
			}
			assert_int_equal(s.n, runs);
		}
		interval_fini(&s);
	}
}

static void intervals_reach_the_ends(void **state)
{
	struct interval_set s = {0};

	interval_add(&s, UINT64_MAX, UINT64_MAX);
	interval_add(&s, 0, 0);
	interval_add(&s, UINT64_MAX - 2, UINT64_MAX - 1);
	interval_add(&s, 1, 1);
	assert_int_equal(s.n, 2);
	assert_true(interval_has(&s, UINT64_MAX - 1) && !interval_has(&s, UINT64_MAX - 3));
	interval_add(&s, 0, UINT64_MAX);
	assert_int_equal(s.n, 1);
	interval_fini(&s);
}

/* ---- against a model ---- */

enum { NUMBERS = 60 };

struct model {
	bool known_mark;
	uint64_t mark;
	unsigned versions[NUMBERS]; /* last version of the line of each number, 0 none */
};

/* The lines that "the store" can find again. */
static struct model committed;

static void line_of(struct buf *out, uint64_t number, unsigned version)
{
	buf_clear(out);
	buf_printf(out, "line %llu version %u", (unsigned long long)number, version);
}

static void find(
	void *ctx, struct str tenant, struct str source, struct position_old *old, size_t n)
{
	struct buf line = {0};

	for (size_t i = 0; i < n; i++) {
		assert_true(i == 0 || old[i - 1].position < old[i].position);
		if (old[i].position >= NUMBERS || committed.versions[old[i].position] == 0)
			continue;
		line_of(&line, old[i].position, committed.versions[old[i].position]);
		old[i].hash = hash_stable(buf_view(&line));
		old[i].seq = 7;
	}
	buf_fini(&line);
}

struct shape {
	uint64_t from, to;
	struct {
		uint64_t position;
		unsigned version;
	} set[8];
	size_t n_set;
};

static struct batch *make(const struct shape *shape)
{
	struct batch_builder *bb = batch_builder_new(STR("t"), STR("test"), 0);
	struct batch_source mark = {
		.id = STR("m"), .from = shape->from, .to = shape->to, .kind = POSITION_MARK};
	struct batch_source set = {.id = STR("s"), .kind = POSITION_SET};
	uint32_t stream = batch_builder_stream(bb, STR_NONE);
	struct buf line = {0};
	struct batch *b;

	for (uint64_t at = shape->from + 1; at <= shape->to; at++) {
		struct record r = {.stream = stream, .position = at, .body = STR("x")};

		r.source = batch_builder_source(bb, &mark);
		assert_int_equal(batch_builder_add(bb, &r, NULL), 0);
	}
	for (size_t i = 0; i < shape->n_set; i++) {
		struct record r = {.stream = stream, .position = shape->set[i].position};

		line_of(&line, r.position, shape->set[i].version);
		r.body = buf_view(&line);
		r.source = batch_builder_source(bb, &set);
		assert_int_equal(batch_builder_add(bb, &r, NULL), 0);
	}
	buf_fini(&line);
	b = batch_builder_finish(bb, 0);
	batch_builder_free(bb);
	return b;
}

/* What the rules of record/batch.h say: the duplicates, or -1 for a gap. */
static int64_t expect(struct model *m, const struct shape *shape)
{
	int64_t dropped = 0;

	if (shape->to > shape->from && m->known_mark && shape->from > m->mark)
		return -1;
	if (shape->to > shape->from) {
		for (uint64_t at = shape->from + 1; at <= shape->to; at++)
			dropped += m->known_mark && at <= m->mark;
		if (!m->known_mark || shape->to > m->mark)
			m->mark = shape->to;
		m->known_mark = true;
	}
	for (size_t i = 0; i < shape->n_set; i++) {
		unsigned *version = &m->versions[shape->set[i].position];

		dropped += *version == shape->set[i].version;
		*version = shape->set[i].version;
	}
	return dropped;
}

static struct shape draw_shape(const struct model *m)
{
	struct shape shape = {.n_set = draw(9)};

	if (draw(3)) {
		shape.from = m->mark + 3 > 6 ? m->mark + 3 - draw(6) : draw(3);
		shape.to = shape.from + 1 + draw(5);
	}
	for (size_t i = 0; i < shape.n_set; i++) {
		shape.set[i].position = draw(NUMBERS);
		shape.set[i].version = 1 + (unsigned)draw(2);
	}
	return shape;
}

static struct positions *reload(struct positions *p, struct account *a, size_t hashes)
{
	struct positions *again = positions_new(a, hashes);
	struct chunks c = {0};

	positions_encode(p, &c);
	chunks_cut(&c, true);
	for (int twice = 0; twice < 2; twice++) {
		for (size_t i = 0; i < c.n; i++) {
			struct reader in = {.at = chunks_get(&c, i)};

			while (in.at.n > 0) {
				assert_int_equal(*reader_bytes(&in, 1).p, 'P');
				positions_decode(again, &in);
				assert_false(in.bad);
			}
		}
	}
	chunks_fini(&c);
	positions_free(p);
	return again;
}

static void groups_match_the_model(void **state)
{
	struct account a;
	struct positions *p;

	account_init(&a, "test", UINT64_MAX, NULL);
	committed = (struct model){0};
	p = positions_new(&a, 16);
	for (int group = 0; group < 4000; group++) {
		struct model staged = committed;
		uint64_t mark = 0;

		for (uint64_t n = 1 + draw(3); n > 0; n--) {
			struct shape shape = draw_shape(&staged);
			struct batch *b = make(&shape), *kept;
			struct position_check check;
			int64_t want = expect(&staged, &shape);
			int r = positions_check(p, b, find, NULL, &check, NULL);

			if (want < 0) {
				assert_int_equal(r, ERR_GAP);
				assert_int_equal(check.mark, staged.mark);
			} else {
				assert_int_equal(r, 0);
				/* A line staged in this group and already forgotten may be kept
				 * twice; with 16 remembered lines that happens, never the
				 * opposite. */
				assert_true((int64_t)check.n_drop <= want);
				kept = check.drop ? batch_without(b, check.drop) : batch_ref(b);
				free(check.drop);
				positions_stage(p, kept);
				batch_unref(kept);
			}
			batch_unref(b);
		}
		if (draw(4)) {
			positions_commit(p);
			committed = staged;
		} else {
			positions_abort(p);
		}
		assert_int_equal(positions_get(p, STR("t"), STR("m"), NULL, &mark),
			committed.known_mark ? 0 : ERR_NOT_FOUND);
		assert_int_equal(mark, committed.mark);
		if (group % 100 == 99)
			p = reload(p, &a, 16);
	}
	positions_free(p);
	assert_int_equal(account_held(&a), 0);
}

static void tokens_are_replaced_at_commit(void **state)
{
	struct account a;
	struct positions *p;
	struct buf token = {0};

	account_init(&a, "test", UINT64_MAX, NULL);
	p = positions_new(&a, 16);
	for (int i = 0; i < 3; i++) {
		struct batch_builder *bb = batch_builder_new(STR("t"), STR("journald"), 0);
		struct batch_source s = {.id = STR("j"), .kind = POSITION_TOKEN};
		struct position_check check;
		struct batch *b;
		char text[8];

		snprintf(text, sizeof text, "c%d", i);
		s.token = str_c(text);
		batch_builder_source(bb, &s);
		b = batch_builder_finish(bb, 0);
		batch_builder_free(bb);
		assert_int_equal(positions_check(p, b, find, NULL, &check, NULL), 0);
		assert_true(check.moves);
		positions_stage(p, b);
		buf_clear(&token);
		assert_int_equal(positions_get(p, STR("t"), STR("j"), &token, NULL),
			i == 0 ? ERR_NOT_FOUND : 0);
		if (i == 1)
			positions_abort(p);
		else
			positions_commit(p);
		batch_unref(b);
	}
	p = reload(p, &a, 16);
	buf_clear(&token);
	assert_int_equal(positions_get(p, STR("t"), STR("j"), &token, NULL), 0);
	assert_true(str_eq_c(buf_view(&token), "c2"));
	assert_int_equal(positions_get(p, STR("u"), STR("j"), NULL, NULL), ERR_NOT_FOUND);
	buf_fini(&token);
	positions_free(p);
	assert_int_equal(account_held(&a), 0);
}

/* Batches of offsets that come in any order, some of them twice, are each kept once. */
static struct batch *of_ranges(enum position_kind kind, uint64_t from, uint64_t to)
{
	struct batch_builder *b = batch_builder_new(STR("t"), STR("i"), 1);
	struct batch_source s = {.id = STR("f"), .kind = kind, .from = from, .to = to};
	struct labels_builder labels = {0};
	struct buf bytes = {0};
	struct record r = {.timestamp = 1, .body = STR("line")};
	struct batch *out;

	labels_builder_set(&labels, STR("app"), STR("a"), NULL);
	labels_builder_write(&labels, &bytes);
	r.stream = batch_builder_stream(b, buf_view(&bytes));
	r.source = batch_builder_source(b, &s);
	for (uint64_t at = from + 1; at <= to; at++) {
		r.position = at;
		assert_int_equal(batch_builder_add(b, &r, NULL), 0);
	}
	out = batch_builder_finish(b, 1);
	batch_builder_free(b);
	labels_builder_fini(&labels);
	buf_fini(&bytes);
	return out;
}

static uint64_t fresh_of(struct positions *p, enum position_kind kind, uint64_t from, uint64_t to)
{
	struct batch *b = of_ranges(kind, from, to);
	struct position_check check;
	uint64_t fresh;

	assert_int_equal(positions_check(p, b, find, NULL, &check, NULL), 0);
	fresh = batch_count(b) - check.n_drop;
	assert_int_equal(check.moves, fresh > 0);
	free(check.drop);
	positions_stage(p, b);
	positions_commit(p);
	batch_unref(b);
	return fresh;
}

static void ranges_come_in_any_order(void **state)
{
	struct account a;
	struct positions *p;
	uint64_t mark;

	account_init(&a, "test", UINT64_MAX, NULL);
	p = positions_new(&a, 16);
	assert_int_equal(fresh_of(p, POSITION_RANGES, 100, 200), 100);
	assert_int_equal(fresh_of(p, POSITION_RANGES, 0, 50), 50);
	assert_int_equal(fresh_of(p, POSITION_RANGES, 100, 200), 0);
	assert_int_equal(fresh_of(p, POSITION_RANGES, 40, 110), 50);
	p = reload(p, &a, 16);
	assert_int_equal(fresh_of(p, POSITION_RANGES, 0, 200), 0);
	assert_int_equal(positions_get(p, STR("t"), STR("f"), NULL, &mark), 0);
	assert_int_equal(mark, 200);
	positions_free(p);
	assert_int_equal(account_held(&a), 0);
}

static void a_mark_becomes_ranges(void **state)
{
	struct position_check check;
	struct positions *p;
	struct account a;
	struct batch *b;
	uint64_t mark;

	account_init(&a, "test", UINT64_MAX, NULL);
	p = positions_new(&a, 16);
	assert_int_equal(fresh_of(p, POSITION_MARK, 0, 50), 50);
	assert_int_equal(fresh_of(p, POSITION_RANGES, 20, 50), 0);
	assert_int_equal(fresh_of(p, POSITION_RANGES, 100, 200), 100);
	assert_int_equal(fresh_of(p, POSITION_RANGES, 30, 100), 50);
	/* Sent straight again: what is beyond all ranges is a gap as ever. */
	assert_int_equal(fresh_of(p, POSITION_MARK, 150, 210), 10);
	b = of_ranges(POSITION_MARK, 300, 310);
	assert_int_equal(positions_check(p, b, find, NULL, &check, NULL), ERR_GAP);
	assert_int_equal(check.mark, 210);
	batch_unref(b);
	p = reload(p, &a, 16);
	assert_int_equal(positions_get(p, STR("t"), STR("f"), NULL, &mark), 0);
	assert_int_equal(mark, 210);
	positions_free(p);
}

/* The lowest are forgotten before there are too many: no gap ever counts as known. */
static void ranges_are_bounded(void **state)
{
	struct positions *p;
	struct account a;

	account_init(&a, "test", UINT64_MAX, NULL);
	p = positions_new(&a, 16);
	for (uint64_t i = 0; i < 3000; i++)
		assert_int_equal(fresh_of(p, POSITION_RANGES, i * 10, i * 10 + 2), 2);
	assert_int_equal(fresh_of(p, POSITION_RANGES, 10 * 2900, 10 * 2900 + 2), 0);
	assert_int_equal(fresh_of(p, POSITION_RANGES, 10 * 2900 + 5, 10 * 2900 + 6), 1);
	positions_free(p);
	assert_int_equal(account_held(&a), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(intervals_match_a_table),
		cmocka_unit_test(intervals_reach_the_ends),
		cmocka_unit_test(groups_match_the_model),
		cmocka_unit_test(tokens_are_replaced_at_commit),
		cmocka_unit_test(ranges_come_in_any_order),
		cmocka_unit_test(a_mark_becomes_ranges),
		cmocka_unit_test(ranges_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
