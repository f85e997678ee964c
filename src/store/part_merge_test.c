/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks and merges: every record comes back as it was, whatever becomes of its part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/fake.h"
#include "store/bytes.h"
#include "store/parts/fixed.h"
#include "store/parts/part.h"
#include "store/unit.h"

static uint64_t seed;

static uint64_t draw(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

enum { BATCHES_MAX = 64, HOUR_S = 3600 };

struct rig {
	struct fs *fs;
	struct account memory;
	struct footer_cache cache;
	struct part_writer writer;
	struct batch *batches[BATCHES_MAX];
	size_t n_batches;
	uint64_t next_seq;
	int64_t now_ns;
	int warnings;
};

static void rig_init(struct rig *g, uint64_t with_seed)
{
	*g = (struct rig){.fs = fs_fake_new(1), .next_seq = 1};
	seed = with_seed * 0x9e3779b97f4a7c15 + 1;
	account_init(&g->memory, "memory", UINT64_MAX, NULL);
	g->cache = (struct footer_cache){.account = &g->memory, .limit = draw(2) << 20};
	g->writer = (struct part_writer){
		.fs = g->fs, .dir = "p", .account = &g->memory, .block_raw = 4096, .level = 1};
	g->now_ns = INT64_C(1700000000) * 1000000000;
	assert_int_equal(fs_mkdir(g->fs, "p", NULL), 0);
}

static void rig_fini(struct rig *g)
{
	for (size_t i = 0; i < g->n_batches; i++)
		batch_unref(g->batches[i]);
	assert_int_equal(account_held(&g->memory), 0);
	fs_fake_free(g->fs);
}

/* Lines of some templates, sometimes any bytes. */
static void make_line(struct buf *out, int64_t ns)
{
	buf_clear(out);
	switch (draw(6)) {
	case 0:
		buf_printf(out, "user %u logged in from 10.0.%u.%u", (unsigned)draw(1000),
			(unsigned)draw(256), (unsigned)draw(256));
		break;
	case 1:
		buf_printf(out, "%lld request %08llx%08llx done in %u ms",
			(long long)(ns / 1000000000), (unsigned long long)draw(UINT32_MAX),
			(unsigned long long)draw(UINT32_MAX), (unsigned)draw(5000));
		break;
	case 2: buf_c(out, "nothing to tell"); break;
	case 3: break; /* empty */
	case 4:
		buf_printf(out, "order %u of %u is %s", (unsigned)draw(10000000),
			(unsigned)draw(50), draw(2) ? "paid" : "open");
		break;
	default:
		for (uint64_t n = draw(80); n > 0; n--)
			buf_char(out, (char)draw(256));
	}
}

static void make_meta(struct labels_builder *lb, struct buf *out)
{
	static const char *const names[] = {"trace_id", "user", "pod", "k8s.node", "span"};
	char value[40];

	labels_builder_clear(lb);
	lb->names_free = true;
	buf_clear(out);
	for (uint64_t n = draw(4); n > 0; n--) {
		const char *name = names[draw(5)];

		if (draw(40) == 0)
			snprintf(value, sizeof value, "n%u", (unsigned)draw(1000));
		else if (name[0] == 't')
			snprintf(value, sizeof value, "%016llx%016llx",
				(unsigned long long)draw(50) << 56, (unsigned long long)draw(2));
		else
			snprintf(value, sizeof value, "%s-%u", name, (unsigned)draw(30));
		labels_builder_set(lb, str_c(draw(60) ? name : value), str_c(value), NULL);
	}
	if (lb->n > 0)
		labels_builder_write(lb, out);
}

struct shape {
	size_t rows, streams, long_line;
	bool meta, wild; /* wild: any times and positions */
};

static void add_rows(struct rig *g, struct batch_builder *bb, const struct shape *shape)
{
	struct labels_builder lb = {0}, meta = {0};
	struct buf line = {0}, set = {0}, labels = {0};
	uint64_t offset[3] = {draw(1000), draw(1000), draw(1000)};

	for (size_t i = 0; i < shape->rows; i++) {
		uint64_t app = draw(shape->streams), file = draw(4);
		struct record r = {0};
		char name[32];

		snprintf(name, sizeof name, "app%05u", (unsigned)app);
		labels_builder_clear(&lb);
		buf_clear(&labels);
		labels_builder_set(&lb, STR("app"), str_c(name), NULL);
		labels_builder_write(&lb, &labels);
		r.stream = batch_builder_stream(bb, buf_view(&labels));
		g->now_ns += (int64_t)draw(3 * HOUR_S) * 1000000;
		r.timestamp = shape->wild ? (int64_t)draw(UINT64_MAX)
					  : g->now_ns - (draw(20) ? 0 : (int64_t)draw(1 << 30));
		make_line(&line, r.timestamp);
		while (shape->long_line > 0 && i == 5 && line.n < shape->long_line)
			buf_c(&line, "0123456789 long ");
		r.body = buf_view(&line);
		if (shape->meta)
			make_meta(&meta, &set);
		r.meta = buf_view(&set);
		r.severity = (uint8_t)(line.n > 0 && line.p[0] == 'u' ? 9 : draw(3) * 4 + 1);
		r.flags = draw(10) ? RECORD_LEVEL_DETECTED : (uint8_t)draw(16);
		if (file < 3) {
			struct batch_source source = {.to = 1, .kind = POSITION_MARK};

			snprintf(name, sizeof name, "file%u", (unsigned)file);
			source.id = str_c(name);
			r.source = batch_builder_source(bb, &source);
			offset[file] += file == 1 ? 1 : line.n + 1;
			r.position = shape->wild ? draw(UINT64_MAX) : offset[file];
		}
		assert_int_equal(batch_builder_add(bb, &r, NULL), 0);
	}
	labels_builder_fini(&lb);
	labels_builder_fini(&meta);
	buf_fini(&line);
	buf_fini(&set);
	buf_fini(&labels);
}

/* Write a part of new batches. */
static struct part *add_part(struct rig *g, size_t n_batches, const struct shape *shape)
{
	struct part_summary summary;
	struct buf path = {0};
	struct error e = {0};
	struct part *p;
	size_t first = g->n_batches;

	for (size_t i = 0; i < n_batches; i++) {
		const char *tenant = draw(3) ? "t" : "u";
		struct batch_builder *bb = batch_builder_new(str_c(tenant), STR("test"), g->now_ns);
		struct batch *b;

		add_rows(g, bb, shape);
		b = batch_builder_finish(bb, 0);
		batch_builder_free(bb);
		batch_set_first_seq(b, g->next_seq);
		g->next_seq += batch_count(b);
		assert_true(g->n_batches < BATCHES_MAX);
		g->batches[g->n_batches++] = b;
	}
	if (part_write(&g->writer, g->batches + first, n_batches, &summary, &e) < 0)
		fail_msg("%s", e.text);
	buf_printf(&path, "p/");
	part_name(&path, &summary);
	p = part_new(g->fs, buf_cstr(&path), &summary, &g->cache);
	buf_fini(&path);
	return p;
}

static void count_warning(void *ctx, const char *sentence)
{
	((struct rig *)ctx)->warnings++;
}

static struct part *merge(
	struct rig *g, struct part *const *parts, size_t n, bool regroup, struct visibility *v)
{
	struct part_merge m = {.parts = parts,
		.n = n,
		.regroup = regroup,
		.visibility = v,
		.cleaned = 7,
		.warn = count_warning,
		.ctx = g};
	struct part_summary summary = {0};
	struct buf path = {0};
	struct error e = {0};
	struct part *p;

	if (part_merge(&g->writer, &m, &summary, &e) < 0)
		fail_msg("%s", e.text);
	if (summary.n_rows == 0)
		return NULL;
	assert_int_equal(summary.first_seq, parts[0]->summary.first_seq);
	assert_int_equal(summary.last_seq, parts[n - 1]->summary.last_seq);
	assert_int_equal(summary.cleaned, 7);
	buf_printf(&path, "p/");
	part_name(&path, &summary);
	p = part_new(g->fs, buf_cstr(&path), &summary, &g->cache);
	buf_fini(&path);
	return p;
}

/* Every row of a part, against the record that was written. */
struct check {
	struct rig *g;
	uint8_t *seen; /* by sequence */
	uint64_t n, damaged;
	bool (*hidden)(const struct batch *b, const struct record *r, uint64_t seq);
};

static const struct batch *batch_of(const struct rig *g, uint64_t seq, struct record *r)
{
	for (size_t i = 0; i < g->n_batches; i++) {
		const struct batch *b = g->batches[i];
		uint64_t first = batch_first_seq(b);

		if (seq >= first && seq < first + batch_count(b)) {
			*r = batch_record(b, seq - first);
			return b;
		}
	}
	return NULL;
}

static void check_row(struct check *c, const struct part_footer *f, const struct unit *u,
	uint32_t i, struct str line)
{
	const struct part_stream *s = &f->streams[u->stream[i]];
	struct record r;
	const struct batch *b = batch_of(c->g, u->seq[i], &r);

	assert_non_null(b);
	assert_int_equal(c->seen[u->seq[i]], 0);
	c->seen[u->seq[i]] = 1;
	c->n++;
	assert_true(!c->hidden || !c->hidden(b, &r, u->seq[i]));
	assert_true(str_eq(line, r.body));
	assert_true(str_eq(u->meta[i], r.meta));
	assert_int_equal(u->timestamp[i], r.timestamp);
	assert_int_equal(u->severity[i], r.severity);
	assert_int_equal(u->flags[i], r.flags);
	assert_int_equal(u->position[i], r.position);
	assert_true(str_eq(f->tenants[s->tenant], batch_tenant(b)));
	assert_true(str_eq(s->labels, batch_stream(b, r.stream)));
	assert_true(r.timestamp >= s->min_ns && r.timestamp <= s->max_ns);
	assert_int_equal(u->source[i] > 0, r.source > 0);
	if (r.source > 0)
		assert_true(
			str_eq(f->sources[u->source[i] - 1].id, batch_source(b, r.source - 1).id));
}

/* Counts of a block against its rows. */
static void check_counts(const struct part_block *b, const struct unit *u, const uint16_t *ids)
{
	struct block_counts c = {0};

	block_counts_get(&c, b);
	for (uint32_t k = 0; k < b->n_counts; k++) {
		const struct block_count *x = &c.counts[k];
		uint64_t rows = 0, bytes = 0;

		for (uint32_t i = 0; i < b->n_rows; i++) {
			bool same = u->stream[i] == b->streams[x->stream] &&
				    ids[i] == x->template && u->severity[i] == x->severity &&
				    (u->flags[i] & RECORD_LEVEL_DETECTED) == x->level_detected;

			rows += same;
			bytes += same ? u->body[i].n : 0;
		}
		assert_int_equal(rows, x->rows);
		assert_int_equal(bytes, x->bytes);
	}
	for (uint32_t k = 0; k < b->n_hours; k++) {
		const struct block_hour *x = &c.hours[k];
		uint64_t rows = 0, bytes = 0;

		for (uint32_t i = 0; i < b->n_rows; i++) {
			int64_t t = u->timestamp[i];
			bool same = u->stream[i] == b->streams[x->stream] &&
				    t / NS_PER_HOUR + (t % NS_PER_HOUR > 0) - 1 == x->hour &&
				    u->severity[i] == x->severity &&
				    (u->flags[i] & RECORD_LEVEL_DETECTED) == x->level_detected;

			rows += same;
			bytes += same ? u->body[i].n : 0;
		}
		assert_int_equal(rows, x->rows);
		assert_int_equal(bytes, x->bytes);
	}
	block_counts_fini(&c);
}

static int read_block(struct block_reader *br, const struct part *p, const struct part_footer *f,
	const struct part_block *b, struct unit *u, const uint16_t **ids, struct error *e)
{
	int r;

	if ((r = unit_need(u, b->n_rows, UNIT_ALL, e)) < 0 || (r = block_open(br, p, f, b, e)) < 0)
		return r;
	/* In any order. */
	for (int k = 0; k < 3 && r == 0; k++)
		r = block_columns(br, (unsigned)draw(128), u, e);
	if (r < 0 || (r = block_columns(br, 127, u, e)) < 0)
		return r;
	for (uint32_t i = 0; i < b->n_rows; i++)
		u->pick[i] = i;
	if ((r = lines_templates(block_lines(br), ids, e)) < 0)
		return r;
	return lines_get(block_lines(br), u->pick, b->n_rows, u->body, e);
}

static void check_block(struct check *c, const struct part_footer *f, const struct part_block *b,
	const struct unit *u, const uint16_t *ids)
{
	uint64_t raw = 0, plain = 0;
	bool meta = false;

	for (uint32_t i = 0; i < b->n_rows; i++) {
		check_row(c, f, u, i, u->body[i]);
		raw += u->body[i].n;
		plain += ids[i] == TEMPLATE_NONE;
		meta = meta || u->meta[i].n > 0;
	}
	assert_int_equal(raw, b->raw_bytes);
	assert_int_equal(plain, b->n_plain);
	assert_int_equal(meta, b->has_meta);
	check_counts(b, u, ids);
}

/* Damage, where `strict` is not set, may cost blocks, never make a wrong row. */
static void check_part(struct check *c, struct part *p, bool strict)
{
	struct block_reader br;
	struct unit u = {0};
	const struct part_footer *f;
	struct error e = {0};

	if (part_load(p, &f, &e) < 0) {
		if (strict)
			fail_msg("%s", e.text);
		c->damaged++;
		return;
	}
	block_reader_init(&br, NULL);
	for (size_t i = 0; i < f->n_blocks; i++) {
		const uint16_t *ids;

		if (read_block(&br, p, f, &f->blocks[i], &u, &ids, &e) == 0) {
			check_block(c, f, &f->blocks[i], &u, ids);
		} else {
			if (strict)
				fail_msg("block %zu: %s", i, e.text);
			c->damaged++;
		}
	}
	block_reader_fini(&br);
	unit_fini(&u);
	part_release(p);
}

static void check_all(struct rig *g, struct part *p,
	bool (*hidden)(const struct batch *, const struct record *, uint64_t))
{
	struct check c = {.g = g, .seen = xcalloc(g->next_seq, 1), .hidden = hidden};
	uint64_t want = 0;

	if (p)
		check_part(&c, p, true);
	for (uint64_t seq = 1; seq < g->next_seq; seq++) {
		struct record r;
		const struct batch *b = batch_of(g, seq, &r);

		want += !hidden || !hidden(b, &r, seq);
	}
	assert_int_equal(c.n, want);
	if (p)
		assert_int_equal(p->summary.n_rows, want);
	free(c.seen);
}

static void drop(struct part *p)
{
	if (p)
		part_retire(p);
	part_unref(p);
}

static void parts_hold_what_was_written(void **state)
{
	for (uint64_t round = 0; round < 60; round++) {
		struct shape shape = {.rows = 1 + (round * 13) % 400,
			.streams = round % 5 == 4 ? 300 : 1 + round % 4,
			.long_line = round % 7 == 3 ? 200000 : 0,
			.meta = round % 2,
			.wild = round % 3 == 2};
		struct rig g;
		struct part *p;

		rig_init(&g, round);
		p = add_part(&g, 1 + round % 4, &shape);
		check_all(&g, p, NULL);
		assert_int_equal(p->summary.n_rows, g.next_seq - 1);
		drop(p);
		rig_fini(&g);
	}
}

static void merges_hold_the_union(void **state)
{
	for (uint64_t round = 0; round < 60; round++) {
		struct part *parts[4], *once, *twice;
		size_t n = 2 + round % 3;
		struct rig g;

		rig_init(&g, 1000 + round);
		for (size_t i = 0; i < n; i++) {
			struct shape shape = {.rows = 1 + draw(300),
				.streams = draw(4) ? 1 + draw(6) : 200,
				.long_line = draw(10) ? 0 : 50000,
				.meta = draw(2),
				.wild = draw(4) == 0};

			parts[i] = add_part(&g, 1 + draw(3), &shape);
		}
		once = merge(&g, parts, n, round % 2, NULL);
		check_all(&g, once, NULL);
		assert_int_equal(once->summary.level, 1);
		/* Again, under another ceiling: a copied block, and what was put together. */
		g.writer.block_raw = 1024 << draw(6);
		twice = merge(&g, &once, 1, draw(2), NULL);
		check_all(&g, twice, NULL);
		assert_int_equal(twice->summary.revision, 1);
		assert_int_equal(twice->summary.level, 1);
		assert_int_equal(g.warnings, 0);
		for (size_t i = 0; i < n; i++)
			drop(parts[i]);
		drop(once);
		drop(twice);
		rig_fini(&g);
	}
}

/* Hidden: the selector is the app's last digit, and with '!' lines that contain "user". */

static int parse(void **out, struct str selector, struct error *e)
{
	*out = str_dup(selector);
	return 0;
}

static bool selects(const void *selector, struct str labels)
{
	struct str app = STR_NONE;

	return labels_get(labels, STR("app"), &app) && app.n > 0 &&
	       app.p[app.n - 1] == *(const char *)selector;
}

static bool has_filters(const void *selector)
{
	return ((const char *)selector)[1] == '!';
}

static int keeps(const void *selector, struct str line)
{
	return str_find(line, STR("user")) >= 0;
}

static const struct store_selectors selectors = {parse, free, selects, has_filters, keeps};

static uint64_t hidden_until;

static bool is_hidden(const struct batch *b, const struct record *r, uint64_t seq)
{
	struct str labels = batch_stream(b, r->stream);

	if (seq > hidden_until)
		return false;
	return selects("0", labels) || (selects("1!", labels) && keeps("1!", r->body));
}

static void hidden_records_go(void **state)
{
	for (uint64_t round = 0; round < 40; round++) {
		struct hide_deletion deletions[2] = {0};
		struct visibility_parts vp = {
			.selectors = &selectors, .deletions = deletions, .n_deletions = 2};
		struct part *parts[3], *once;
		struct visibility *v;
		struct rig g;

		rig_init(&g, 2000 + round);
		for (size_t i = 0; i < 3; i++) {
			struct shape shape = {.rows = 1 + draw(300),
				.streams = round % 8 == 0 ? 1 : 1 + draw(5),
				.meta = draw(2)};

			parts[i] = add_part(&g, 1 + draw(3), &shape);
		}
		hidden_until = draw(4) ? draw(g.next_seq) : g.next_seq;
		for (int i = 0; i < 2; i++) {
			assert_int_equal(hide_new(&deletions[i].hide, &selectors, STR_NONE,
						 i ? STR("1!") : STR("0"), NULL),
				0);
			deletions[i].from_ns = INT64_MIN;
			deletions[i].to_ns = INT64_MAX;
			deletions[i].until_seq = hidden_until;
		}
		v = visibility_new(&vp);
		once = merge(&g, parts, 3, draw(2), v);
		check_all(&g, once, is_hidden);
		visibility_unref(v);
		for (int i = 0; i < 2; i++)
			hide_unref(deletions[i].hide);
		for (size_t i = 0; i < 3; i++)
			drop(parts[i]);
		drop(once);
		rig_fini(&g);
	}
}

static void a_merge_can_be_cancelled(void **state)
{
	struct shape shape = {.rows = 100, .streams = 3};
	_Atomic bool cancel = true;
	struct part_summary out;
	struct part *parts[2];
	struct buf names = {0};
	size_t n;
	struct rig g;

	rig_init(&g, 1);
	parts[0] = add_part(&g, 1, &shape);
	parts[1] = add_part(&g, 1, &shape);
	assert_int_equal(part_merge(&g.writer,
				 &(struct part_merge){.parts = parts, .n = 2, .cancel = &cancel},
				 &out, NULL),
		ERR_CANCELLED);
	assert_int_equal(fs_list(g.fs, "p", &names, &n, NULL), 0);
	assert_int_equal(n, 2);
	buf_fini(&names);
	drop(parts[0]);
	drop(parts[1]);
	rig_fini(&g);
}

/* Damage */

static struct part *reopened(struct rig *g, const struct part *p)
{
	return part_new(g->fs, p->path, &p->summary, &g->cache);
}

/* A part whose byte `at` has another value: what of it can be read is right, and so is what a merge
 * makes of it. */
static void check_damaged(struct rig *g, const struct part *p, bool also_merge)
{
	struct part *q = reopened(g, p), *merged;
	struct check c = {.g = g, .seen = xcalloc(g->next_seq, 1)};
	struct part_merge m = {
		.parts = &q, .n = 1, .regroup = draw(2), .warn = count_warning, .ctx = g};
	struct part_summary summary = {0};

	g->cache.limit = 0; /* the footer is read each time */
	check_part(&c, q, false);
	assert_true(c.damaged > 0 || c.n == p->summary.n_rows);
	free(c.seen);
	if (also_merge && part_merge(&g->writer, &m, &summary, NULL) == 0 && summary.n_rows > 0) {
		struct check d = {.g = g, .seen = xcalloc(g->next_seq, 1)};
		struct buf path = {0};

		buf_c(&path, "p/");
		part_name(&path, &summary);
		merged = part_new(g->fs, buf_cstr(&path), &summary, &g->cache);
		check_part(&d, merged, true);
		assert_int_equal(d.n, summary.n_rows);
		drop(merged);
		free(d.seen);
		buf_fini(&path);
	}
	part_unref(q);
}

static void damage_costs_what_it_hits(void **state)
{
	struct shape shape = {.rows = 60, .streams = 3, .meta = true};
	struct rig g;
	struct part *p;

	rig_init(&g, 4);
	g.writer.block_raw = 1024;
	p = add_part(&g, 2, &shape);
	for (uint64_t at = 0; at < p->summary.file_bytes; at++) {
		uint64_t bit = at * 8 + draw(8);

		fake_flip(g.fs, p->path, bit);
		check_damaged(&g, p, draw(8) == 0);
		fake_flip(g.fs, p->path, bit);
	}
	check_all(&g, p, NULL);
	drop(p);
	rig_fini(&g);
}

static void a_cut_part_is_told(void **state)
{
	struct shape shape = {.rows = 40, .streams = 2, .meta = true};
	struct buf whole = {0};
	struct rig g;
	struct part *p;

	rig_init(&g, 5);
	p = add_part(&g, 1, &shape);
	assert_int_equal(fs_read_all(g.fs, p->path, 1 << 20, &whole, NULL), 0);
	for (size_t n = 0; n < whole.n; n += 1 + draw(whole.n / 300)) {
		assert_int_equal(fs_write_all(g.fs, p->path, str_make(whole.p, n), NULL), 0);
		check_damaged(&g, p, draw(4) == 0);
	}
	buf_fini(&whole);
	drop(p);
	rig_fini(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_hold_what_was_written),
		cmocka_unit_test(merges_hold_the_union),
		cmocka_unit_test(hidden_records_go),
		cmocka_unit_test(a_merge_can_be_cancelled),
		cmocka_unit_test(damage_costs_what_it_hits),
		cmocka_unit_test(a_cut_part_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
