/* SPDX-License-Identifier: Apache-2.0 */
/* Parts: what is written comes back, damage costs a block, metadata can be made again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/fake.h"
#include "store/parts/manifest.h"
#include "store/parts/part_set.h"
#include "store/parts/parts.h"
#include "store/unit.h"

static uint64_t seed = 88172645463325252u;

static uint64_t draw(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

enum { BATCHES = 6, ROWS = 200 };

static const struct str labels[] = {
	STR_INIT("\1\3app\1a"), STR_INIT("\1\3app\1b"), STR_INIT("\1\3app\1c")};
static const struct str metas[] = {STR_INIT(""), STR_INIT("\1\1k\1v"), STR_INIT("\1\1k\1w")};

static struct batch *make_batch(const char *tenant, uint64_t first_seq, size_t long_line)
{
	struct batch_builder *bb = batch_builder_new(str_c(tenant), STR("test"), 5);
	struct batch_source source = {.id = STR("file"), .to = 1 << 20, .kind = POSITION_MARK};
	struct buf line = {0};
	struct batch *b;

	for (size_t i = 0; i < ROWS; i++) {
		struct record r = {0};

		buf_clear(&line);
		for (uint64_t n = i == 7 ? long_line : draw(60); n > 0; n--)
			buf_char(&line, (char)draw(256)); /* any bytes */
		r.timestamp = (int64_t)draw(UINT64_MAX);
		if (i == 0)
			r.timestamp = INT64_MIN + 5;
		if (i == 1)
			r.timestamp = INT64_MAX - 5;
		r.body = buf_view(&line);
		r.meta = metas[draw(3)];
		r.severity = (uint8_t)draw(25);
		r.flags = (uint8_t)draw(16);
		r.stream = batch_builder_stream(bb, labels[draw(3)]);
		if (draw(2)) {
			r.source = batch_builder_source(bb, &source);
			r.position = draw(UINT64_MAX);
		}
		assert_int_equal(batch_builder_add(bb, &r, NULL), 0);
	}
	b = batch_builder_finish(bb, 0);
	batch_builder_free(bb);
	buf_fini(&line);
	batch_set_first_seq(b, first_seq);
	return b;
}

struct env {
	struct fs *fs;
	struct clock *clock;
	struct lock lock;
	struct account memory;
	struct engine *engine;
	struct batch *batches[BATCHES];
};

static void open_engine(struct env *v)
{
	struct parts_options o = {.fs = v->fs,
		.dir = "p",
		.account = &v->memory,
		.memory = 1 << 20,
		.clock = v->clock,
		.lock = &v->lock};

	assert_int_equal(parts_open(&v->engine, &o, NULL), 0);
}

static void env_init(struct env *v, size_t long_line)
{
	v->fs = fs_fake_new(1);
	v->clock = clock_fake_new(0);
	lock_init(&v->lock);
	account_init(&v->memory, "memory", UINT64_MAX, NULL);
	open_engine(v);
	for (uint64_t i = 0; i < BATCHES; i++)
		v->batches[i] = make_batch(i % 3 == 2 ? "u" : "t", 1 + i * ROWS, long_line);
}

static void write_run(struct env *v, size_t from, size_t n)
{
	const struct engine_type *type = engine_type(v->engine);

	assert_int_equal(type->write(v->engine, v->batches + from, n, NULL), 0);
	type->publish(v->engine);
}

static void reopen(struct env *v)
{
	engine_type(v->engine)->close(v->engine);
	open_engine(v);
}

static void env_fini(struct env *v)
{
	engine_type(v->engine)->close(v->engine);
	for (int i = 0; i < BATCHES; i++)
		batch_unref(v->batches[i]);
	assert_int_equal(account_held(&v->memory), 0);
	lock_fini(&v->lock);
	clock_fake_free(v->clock);
	fs_fake_free(v->fs);
}

struct check {
	const struct env *v;
	uint64_t n, warnings;
	bool seen[BATCHES * ROWS + 1];
};

/* Each row against the record that was written. */
static int check_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct check *c = ctx;

	for (size_t i = 0; i < rows->n; i++) {
		uint32_t at = rows->pick[i];
		uint64_t seq = rows->seq[at];
		const struct batch *b = c->v->batches[(seq - 1) / ROWS];
		struct record r = batch_record(b, (seq - 1) % ROWS);

		assert_false(c->seen[seq]);
		c->seen[seq] = true;
		c->n++;
		assert_int_equal(rows->timestamp[at], r.timestamp);
		assert_true(str_eq(rows->body[at], r.body) && str_eq(rows->meta[at], r.meta));
		assert_true(str_eq(rows->streams[rows->stream[at]], batch_stream(b, r.stream)));
		assert_int_equal(rows->severity[at], r.severity);
		assert_int_equal(rows->flags[at], r.flags);
		assert_int_equal(rows->position[at], r.position);
		assert_int_equal(rows->source[at] > 0, r.source > 0);
	}
	return 0;
}

static void count_warning(void *ctx, const char *sentence)
{
	((struct check *)ctx)->warnings++;
}

static bool only_a(void *ctx, struct str stream)
{
	return str_eq(stream, labels[0]);
}

static struct check scan_all(struct env *v, const char *tenant, enum scan_order order, bool filter)
{
	const struct engine_type *type = engine_type(v->engine);
	struct account account;
	struct check c = {.v = v};
	struct scan scan = {
		.tenant = str_c(tenant),
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX,
		.order = order,
		.columns = SCAN_BODY | SCAN_META | SCAN_SOURCE,
		.account = &account,
		.ctx = &c,
		.want_stream = filter ? only_a : NULL,
		.rows = check_rows,
		.warn = count_warning,
	};
	struct engine_view *view = type->view(v->engine);
	struct engine_scan *es = NULL;
	uint64_t key, last = 0;

	account_init(&account, "query", UINT64_MAX, NULL);
	assert_int_equal(type->scan_begin(view, &scan, UINT64_MAX, &es, NULL), 0);
	while (type->scan_peek(es, &key, NULL) > 0) {
		assert_true(key >= last);
		last = key;
		assert_int_equal(type->scan_read(es, NULL), 0);
	}
	type->scan_end(es);
	type->unref(view);
	assert_int_equal(account_held(&account), 0);
	return c;
}

static void comes_back_as_it_was(void **state)
{
	struct env v;

	env_init(&v, 3 << 20); /* longer than any block */
	write_run(&v, 0, 2);
	write_run(&v, 2, 1);
	write_run(&v, 3, 3);
	for (int again = 0; again < 2; again++) {
		for (int order = SCAN_NEWEST_FIRST; order <= SCAN_BY_SEQ; order++) {
			assert_int_equal(scan_all(&v, "t", order, false).n, 4 * ROWS);
			assert_int_equal(scan_all(&v, "u", order, false).n, 2 * ROWS);
			assert_int_equal(scan_all(&v, "x", order, false).n, 0);
		}
		assert_in_range(scan_all(&v, "t", SCAN_BY_SEQ, true).n, ROWS, 2 * ROWS);
		reopen(&v);
	}
	env_fini(&v);
}

static bool any_span(void *ctx, int64_t min_ns, int64_t max_ns)
{
	return draw(3) > 0;
}

/* However little memory there is, and whatever is not wanted in the end: a scan is complete
 * or says that it is not, and gives back what it held. */
static void any_memory_is_enough_or_told(void **state)
{
	int n_complete = 0, n_limited = 0;
	struct env v;

	env_init(&v, 100 << 10);
	for (size_t i = 0; i < BATCHES; i++)
		write_run(&v, i, 1);
	for (uint64_t limit = 1 << 10; limit < 16 << 20; limit += limit / 16) {
		for (int skip = 0; skip < 2; skip++) {
			const struct engine_type *type = engine_type(v.engine);
			struct account account;
			struct check c = {.v = &v};
			struct scan scan = {
				.tenant = STR("t"),
				.from_ns = INT64_MIN,
				.to_ns = INT64_MAX,
				.order = (enum scan_order)draw(3),
				.columns = SCAN_BODY | SCAN_META | SCAN_SOURCE,
				.account = &account,
				.ctx = &c,
				.want_span = skip ? any_span : NULL,
				.rows = check_rows,
			};
			struct engine_view *view = type->view(v.engine);
			struct engine_scan *es = NULL;
			uint64_t key;
			int r;

			account_init(&account, "query", limit, NULL);
			if ((r = type->scan_begin(view, &scan, UINT64_MAX, &es, NULL)) == 0)
				while ((r = type->scan_peek(es, &key, NULL)) > 0 &&
					(r = type->scan_read(es, NULL)) == 0)
					;
			type->scan_end(es);
			type->unref(view);
			assert_int_equal(account_held(&account), 0);
			assert_true(r == ERR_LIMIT || (r == 0 && (skip || c.n == 4 * ROWS)));
			n_complete += r == 0;
			n_limited += r == ERR_LIMIT;
		}
	}
	assert_true(n_complete > 20 && n_limited > 20);
	env_fini(&v);
}

static void the_manifest_can_be_lost(void **state)
{
	struct env v;
	struct engine_figures f;

	env_init(&v, 10);
	write_run(&v, 0, 3);
	write_run(&v, 3, 3);
	for (int how = 0; how < 3; how++) {
		if (how == 0)
			fs_unlink(v.fs, "p/MANIFEST", NULL);
		else if (how == 1)
			fake_flip(v.fs, "p/MANIFEST", 100);
		else
			fs_write_all(v.fs, "p/MANIFEST", STR_NONE, NULL);
		reopen(&v);
		assert_int_equal(scan_all(&v, "t", SCAN_BY_SEQ, false).n, 4 * ROWS);
	}
	/* A part that repeats others is left out. */
	assert_int_equal(engine_type(v.engine)->write(v.engine, v.batches + 1, 3, NULL), 0);
	engine_type(v.engine)->publish(v.engine);
	fs_unlink(v.fs, "p/MANIFEST", NULL);
	reopen(&v);
	assert_int_equal(scan_all(&v, "t", SCAN_BY_SEQ, false).n, 4 * ROWS);
	engine_type(v.engine)->figures(v.engine, &f);
	assert_int_equal(f.parts, 2);
	assert_int_equal(f.last_seq, BATCHES * ROWS);
	assert_true(engine_type(v.engine)->covers(v.engine, 1, 1));
	assert_false(engine_type(v.engine)->covers(v.engine, BATCHES * ROWS + 1, UINT64_MAX));
	env_fini(&v);
}

static void a_cut_part_does_not_cover(void **state)
{
	struct env v;
	struct buf path = {0};
	struct file *f;

	env_init(&v, 10);
	write_run(&v, 0, 3);
	write_run(&v, 3, 3);
	buf_c(&path, "p/");
	part_name(&path, &(struct part_summary){.first_seq = 1, .last_seq = 3 * ROWS});
	assert_int_equal(fs_open(v.fs, buf_cstr(&path), FILE_WRITE, &f, NULL), 0);
	assert_int_equal(file_truncate(f, 1000, NULL), 0);
	file_close(f);
	reopen(&v);
	assert_false(engine_type(v.engine)->covers(v.engine, 1, 3 * ROWS));
	assert_true(engine_type(v.engine)->covers(v.engine, 3 * ROWS + 1, 3 * ROWS + 1));
	assert_int_equal(scan_all(&v, "t", SCAN_BY_SEQ, false).n, 2 * ROWS);
	/* Built anew out of the journal, it takes the place of what was cut. */
	write_run(&v, 0, 3);
	reopen(&v);
	assert_int_equal(scan_all(&v, "t", SCAN_BY_SEQ, false).n, 4 * ROWS);
	buf_fini(&path);
	env_fini(&v);
}

static void a_flipped_bit_costs_a_block(void **state)
{
	struct env v;
	uint64_t size;
	struct file *f;
	struct buf path = {0};

	env_init(&v, 200 << 10);
	write_run(&v, 0, 6);
	buf_c(&path, "p/");
	part_name(&path, &(struct part_summary){.first_seq = 1, .last_seq = BATCHES * ROWS});
	assert_int_equal(fs_open(v.fs, buf_cstr(&path), FILE_READ, &f, NULL), 0);
	assert_int_equal(file_size(f, &size, NULL), 0);
	file_close(f);
	for (int i = 0; i < 400; i++) {
		/* Densely at the end, where footers and tails are. */
		uint64_t bit = i % 2 ? draw(size * 8) : size * 8 - 1 - draw(400 * 8);
		struct check t, u;

		fake_flip(v.fs, path.p, bit);
		reopen(&v);
		t = scan_all(&v, "t", SCAN_NEWEST_FIRST, false);
		u = scan_all(&v, "u", SCAN_NEWEST_FIRST, false);
		assert_true(t.n + u.n > 0);
		assert_true(t.n + u.n == BATCHES * ROWS || t.warnings + u.warnings > 0);
		fake_flip(v.fs, path.p, bit);
	}
	buf_fini(&path);
	env_fini(&v);
}

/* Against a search in each line alone. */
static void lines_are_kept_that_contain(void **state)
{
	enum { N = 40 };
	struct unit u = {0};
	char text[N * 8];

	assert_int_equal(unit_reserve(&u, N, NULL), 0);
	for (int round = 0; round < 20000; round++) {
		size_t at = 0, n = 1 + draw(N), picked = 0, kept = 0, got;
		uint32_t want[N];
		char needle[3] = {(char)('a' + draw(2)), (char)('a' + draw(2)), 'a'};
		struct str contains = str_make(needle, 1 + draw(3));

		for (size_t i = 0; i < n; i++) {
			size_t length = draw(8);

			u.body[i] = length ? str_make(text + at, length) : STR_NONE;
			for (; length > 0; length--)
				text[at++] = (char)('a' + draw(draw(8) ? 2 : 3));
		}
		for (uint32_t i = 0; i < n; i++) {
			if (draw(4) == 0)
				continue;
			u.pick[picked++] = i;
			if (str_find(u.body[i], contains) >= 0)
				want[kept++] = i;
		}
		got = unit_keep(&u, picked, contains);
		assert_int_equal(got, kept);
		assert_memory_equal(u.pick, want, kept * sizeof *want);
	}
	unit_fini(&u);
}

static void retired_parts_go_with_their_last_reader(void **state)
{
	struct fs *fs = fs_fake_new(1);
	struct account a;
	struct footer_cache cache = {.account = &a};
	struct part_summary s = {.first_seq = 1, .last_seq = 2};
	struct part *p;
	struct buf got = {0};

	account_init(&a, "a", UINT64_MAX, NULL);
	assert_int_equal(fs_mkdir(fs, "p", NULL), 0);
	assert_int_equal(fs_write_all(fs, "p/x", STR("x"), NULL), 0);
	p = part_ref(part_new(fs, "p/x", &s, &cache));
	part_retire(p);
	part_unref(p);
	assert_int_equal(fs_read_all(fs, "p/x", 10, &got, NULL), 0);
	part_unref(p);
	assert_int_equal(fs_read_all(fs, "p/x", 10, &got, NULL), ERR_NOT_FOUND);
	buf_fini(&got);
	fs_fake_free(fs);
}

static void manifests_are_checked(void **state)
{
	struct part_summary two[] = {{.first_seq = 1, .last_seq = 5, .min_ns = INT64_MIN},
		{.first_seq = 6, .last_seq = UINT64_MAX, .max_ns = INT64_MAX}};
	struct manifest m = {.parts = two, .n = 2}, got;
	struct buf bytes = {0};

	manifest_encode(&m, &bytes);
	assert_int_equal(manifest_decode(&got, buf_view(&bytes), NULL), 0);
	assert_int_equal(got.n, 2);
	assert_int_equal(got.parts[1].last_seq, UINT64_MAX);
	assert_int_equal(got.parts[0].min_ns, INT64_MIN);
	manifest_fini(&got);
	for (size_t i = 0; i < bytes.n * 8; i++) {
		bytes.p[i / 8] ^= (char)(1 << (i % 8));
		assert_int_equal(manifest_decode(&got, buf_view(&bytes), NULL), ERR_CORRUPT);
		bytes.p[i / 8] ^= (char)(1 << (i % 8));
	}
	for (size_t i = 0; i < bytes.n; i++)
		assert_int_equal(manifest_decode(&got, str_make(bytes.p, i), NULL), ERR_CORRUPT);
	buf_clear(&bytes);
	two[1].first_seq = 5; /* overlaps */
	manifest_encode(&m, &bytes);
	assert_int_equal(manifest_decode(&got, buf_view(&bytes), NULL), ERR_CORRUPT);
	buf_fini(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_back_as_it_was),
		cmocka_unit_test(any_memory_is_enough_or_told),
		cmocka_unit_test(the_manifest_can_be_lost),
		cmocka_unit_test(a_cut_part_does_not_cover),
		cmocka_unit_test(a_flipped_bit_costs_a_block),
		cmocka_unit_test(lines_are_kept_that_contain),
		cmocka_unit_test(retired_parts_go_with_their_last_reader),
		cmocka_unit_test(manifests_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
