/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "store/lines/lines.h"
#include "store/lines/payload.h"

#define TIME INT64_C(1700000000123456789)

/* Rows as they should come back. */
struct rows {
	struct str *line;
	int64_t *time;
	uint32_t n, cap;
};

static void rows_add(struct rows *r, struct str line, int64_t time)
{
	if (r->n == r->cap) {
		r->cap = r->cap ? r->cap * 2 : 64;
		r->line = xrealloc(r->line, r->cap * sizeof *r->line);
		r->time = xrealloc(r->time, r->cap * sizeof *r->time);
	}
	r->line[r->n] = str_make(str_dup(line), line.n);
	r->time[r->n++] = time;
}

PRINTF(2, 3) static void rows_printf(struct rows *r, const char *fmt, ...)
{
	struct buf b = {0};
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	rows_add(r, buf_view(&b), TIME + r->n * INT64_C(12345678));
	buf_fini(&b);
}

static void rows_fini(struct rows *r)
{
	for (uint32_t i = 0; i < r->n; i++)
		free((void *)(uintptr_t)r->line[i].p);
	free(r->line);
	free(r->time);
	*r = (struct rows){0};
}

/* A block as it is kept. */
struct block {
	struct buf payload;
	struct template *templates;
	const struct template **pointers;
	struct buf *keys;
	uint32_t *template_of;
	size_t n_templates;
	uint32_t n_rows;
};

static int read_payload(void *ctx, uint64_t at, size_t n, void *to, struct error *e)
{
	const struct block *b = ctx;

	if (at > b->payload.n || n > b->payload.n - at)
		return error_set(e, ERR_CORRUPT, "read outside of the payload");
	memcpy(to, b->payload.p + at, n);
	return 0;
}

static void finish(struct block *b, struct lines_writer *w)
{
	struct lines_written written;

	*b = (struct block){.n_rows = lines_writer_rows(w)};
	lines_writer_finish(w, &b->payload, &written);
	assert_int_equal(lines_writer_rows(w), 0);
	b->n_templates = written.n_templates;
	b->templates = xcalloc(b->n_templates, sizeof *b->templates);
	b->pointers = xcalloc(b->n_templates, sizeof(struct template *));
	b->keys = xcalloc(b->n_templates, sizeof *b->keys);
	b->template_of = xcalloc(b->n_rows, sizeof *b->template_of);
	for (uint32_t i = 0; i < b->n_rows; i++) {
		b->template_of[i] = written.template_of[i];
		assert_true(b->template_of[i] <= b->n_templates);
	}
	for (size_t i = 0; i < b->n_templates; i++) {
		buf_str(&b->keys[i], written.keys[i]);
		assert_int_equal(template_parse(&b->templates[i], buf_view(&b->keys[i]), NULL), 0);
		b->pointers[i] = &b->templates[i];
	}
}

static void block_fini(struct block *b)
{
	for (size_t i = 0; i < b->n_templates; i++) {
		template_fini(&b->templates[i]);
		buf_fini(&b->keys[i]);
	}
	free(b->templates);
	free(b->pointers);
	free(b->keys);
	free(b->template_of);
	buf_fini(&b->payload);
}

static struct lines_source source_of(struct block *b, const int64_t *times)
{
	return (struct lines_source){.ctx = b,
		.read = read_payload,
		.bytes = b->payload.n,
		.n_rows = b->n_rows,
		.templates = b->pointers,
		.n_templates = b->n_templates,
		.timestamps = times};
}

/* Every line comes back, all at once and a few at a time. */
static void check(struct block *b, const struct rows *rows)
{
	struct lines_reader *r = lines_reader_new();
	struct lines_source s = source_of(b, rows->time);
	struct error e = {0};
	const uint16_t *template;
	uint32_t *pick = xcalloc(rows->n, sizeof *pick);
	struct str *line = xcalloc(rows->n, sizeof *line);

	assert_int_equal(b->n_rows, rows->n);
	for (uint32_t step = 1; step < 400; step = step * 7 + 2) {
		size_t n = 0;
		assert_int_equal(lines_open(r, &s, &e), 0);
		assert_int_equal(lines_templates(r, &template, &e), 0);
		for (uint32_t i = 0; i < rows->n; i += step)
			pick[n++] = i;
		assert_int_equal(lines_get(r, pick, n, line, &e), 0);
		for (uint32_t i = 0; i < rows->n; i += step) {
			assert_int_equal(template[i], b -> template_of[i]);
			assert_int_equal(line[i].n, rows->line[i].n);
			if (line[i].n)
				assert_memory_equal(line[i].p, rows->line[i].p, line[i].n);
		}
	}
	free(pick);
	free(line);
	lines_reader_free(r);
}

static void write_rows(struct lines_writer *w, const struct rows *rows)
{
	for (uint32_t i = 0; i < rows->n; i++)
		lines_writer_add(w, rows->line[i], rows->time[i]);
}

/* Write, check, and give the figures of the block. */
static struct block round_trip(const struct rows *rows)
{
	struct lines_writer *w = lines_writer_new(NULL, 3);
	struct block b;

	write_rows(w, rows);
	finish(&b, w);
	check(&b, rows);
	lines_writer_free(w);
	return b;
}

static uint32_t seed = 1;

static uint32_t draw(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)seed * n >> 32);
}

static uint32_t plain_rows(const struct block *b)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < b->n_rows; i++)
		n += b->template_of[i] == TEMPLATE_NONE;
	return n;
}

/* A line of a system that knows all kinds of values. */
static void rows_typical(struct rows *r, uint32_t i)
{
	static const char *const users[] = {"ann", "bob", "cyd"};

	switch (draw(9)) {
	case 0:
		rows_printf(r, "user %s logged in from 10.0.%u.%u", users[draw(3)], draw(256),
			draw(256));
		break;
	case 1:
		rows_printf(r, "request %016llx took %u ms", draw(40) * 0x12345678abcdefULL, i);
		break;
	case 2: rows_printf(r, "id %08X%04X done", draw(~0u), draw(65536)); break;
	case 3:
		rows_printf(r, "volume 550e8400-e29b-41d4-a716-4466554%05u is full", draw(30));
		break;
	case 4: rows_printf(r, "block blk_%llu of %05u", 1000000000000ULL + i, draw(100000)); break;
	case 5: rows_printf(r, "session a1b2c3z%ux9y8 ends at 0x%x", draw(50), draw(70000)); break;
	case 6: rows_printf(r, "zeros %0*u %010u", 1 + (int)draw(9), draw(10), draw(1000)); break;
	case 7: rows_printf(r, "idle"); break;
	default:
		rows_printf(r,
			"2023-11-14T22:13:%02u.123Z volume 550E8400-E29B-41D4-A716-4466554%05u",
			20 + i % 40, i % 99999);
	}
}

static void test_typical(void **state)
{
	struct rows rows = {0};
	struct block b;

	for (uint32_t i = 0; i < 20000; i++)
		rows_typical(&rows, i);
	b = round_trip(&rows);
	assert_true(plain_rows(&b) < 200);
	assert_true(b.payload.n < 300000);
	block_fini(&b);
	rows_fini(&rows);
}

static void test_empty(void **state)
{
	struct rows rows = {0};
	struct block b = round_trip(&rows);

	block_fini(&b);
	rows_printf(&rows, "%s", "");
	b = round_trip(&rows);
	block_fini(&b);
	for (int i = 0; i < 10; i++)
		rows_add(&rows, STR_NONE, TIME);
	b = round_trip(&rows);
	assert_int_equal(plain_rows(&b), 0);
	block_fini(&b);
	rows_fini(&rows);
}

static void rows_random(struct rows *r, uint32_t n)
{
	static const char some[] = "0123456789abcdefxyzXYZ -_.:";
	char line[600];

	for (uint32_t i = 0; i < n; i++) {
		size_t len = draw(draw(20) ? 60 : sizeof line);
		bool any = draw(4) == 0;
		for (size_t k = 0; k < len; k++)
			line[k] = any ? (char)draw(256) : some[draw(sizeof some - 1)];
		/* Again at other places, so that some have a template. */
		for (uint32_t k = draw(6); k > 0; k--)
			rows_add(r, str_make(line, len), (int64_t)((uint64_t)draw(~0u) << 31));
	}
}

static void test_random(void **state)
{
	struct rows rows = {0};
	struct block b;

	rows_random(&rows, 5000);
	b = round_trip(&rows);
	assert_true(plain_rows(&b) > 0 && plain_rows(&b) < rows.n);
	block_fini(&b);
	rows_fini(&rows);
}

/* Lines that have no template, among such that have one. */
static void test_nasty(void **state)
{
	struct rows rows = {0};
	struct buf line = {0};
	struct block b;

	for (int i = 0; i < 50; i++) {
		rows_typical(&rows, (uint32_t)i);
		rows_add(&rows, STR("\0\0 7 \xff\xfe\xc3( 9 \r"), TIME);
		rows_add(&rows, STR(""), INT64_MIN);
		buf_clear(&line);
		for (int k = 0; k < 300; k++)
			buf_printf(&line, "%d,", i * k);
		rows_add(&rows, buf_view(&line), INT64_MAX);
		buf_clear(&line);
		for (int k = 0; k < TOKEN_SLOTS_MAX; k++)
			buf_printf(&line, "%d,", i * k);
		rows_add(&rows, buf_view(&line), -1);
		buf_clear(&line);
		for (uint32_t k = 0; k < 40000; k++)
			buf_char(&line, (char)draw(256));
		rows_add(&rows, buf_view(&line), 0);
		/* Values of every width at the edges of kinds. */
		for (uint32_t k = 1; k < 140; k += k < 22 ? 1 : 50) {
			buf_clear(&line);
			buf_c(&line, "d ");
			for (uint32_t m = 0; m < k; m++)
				buf_char(&line, (char)('0' + draw(10)));
			buf_c(&line, " h a");
			for (uint32_t m = 1; m < k; m++)
				buf_char(&line, "0123456789abcdef"[draw(16)]);
			buf_c(&line, " H A");
			for (uint32_t m = 1; m < k; m++)
				buf_char(&line, "0123456789ABCDEF"[draw(16)]);
			rows_add(&rows, buf_view(&line), TIME);
		}
	}
	b = round_trip(&rows);
	assert_true(plain_rows(&b) >= 100);
	block_fini(&b);
	buf_fini(&line);
	rows_fini(&rows);
}

/* Ids of a hundred widths have a pool each: reading takes memory by their uses, not by rows times
 * pools. */
static void test_many_pools(void **state)
{
	struct rows rows = {0};
	struct account a;
	struct lines_reader *r = lines_reader_new();
	struct lines_source s;
	struct str *line;
	uint32_t *pick, *lengths;
	struct error e = {0};
	struct block b;

	for (uint32_t i = 0; i < 30000; i++) {
		char id[128];
		uint32_t n = 20 + draw(100);
		for (uint32_t k = 0; k < n; k++)
			id[k] = "0123456789abcdef"[k > 1 ? draw(16) : 9 + k];
		for (uint32_t k = 0; k < 3; k++)
			rows_printf(&rows, "id %.*s", (int)n, id);
	}
	b = round_trip(&rows);
	pick = xcalloc(rows.n, sizeof *pick);
	lengths = xcalloc(rows.n, sizeof *lengths);
	line = xcalloc(rows.n, sizeof *line);
	for (uint32_t i = 0; i < rows.n; i++)
		pick[i] = i;
	account_init(&a, "test", 24 << 20, NULL);
	s = source_of(&b, rows.time);
	s.account = &a;
	assert_int_equal(lines_open(r, &s, &e), 0);
	assert_int_equal(lines_lengths(r, lengths, &e), 0);
	assert_int_equal(lengths[777], rows.line[777].n);
	assert_int_equal(lines_get(r, pick, rows.n, line, &e), 0);
	assert_int_equal(line[77777].n, rows.line[77777].n);
	lines_reader_free(r);
	free(line);
	free(pick);
	free(lengths);
	block_fini(&b);
	rows_fini(&rows);
}

/* One plain line is read without the rest of a block that is huge. */
static void test_huge(void **state)
{
	struct rows rows = {0};
	struct buf line = {0};
	struct lines_reader *r;
	struct lines_source s;
	struct str got[7];
	uint32_t pick = 3;
	struct block b;

	for (int i = 0; i < 7; i++) {
		buf_clear(&line);
		for (size_t k = i == 2 ? 5 << 20 : i == 4 ? 20 << 20 : 50000; k > 0; k -= 4) {
			uint32_t v = draw(~0u);
			buf_put(&line, &v, 4);
		}
		rows_add(&rows, buf_view(&line), TIME);
	}
	b = round_trip(&rows);
	assert_int_equal(plain_rows(&b), 7);
	r = lines_reader_new();
	s = source_of(&b, rows.time);
	assert_int_equal(lines_open(r, &s, NULL), 0);
	assert_int_equal(lines_get(r, &pick, 1, got, NULL), 0);
	assert_true(str_eq(got[3], rows.line[3]));
	assert_true(lines_figures(r).bytes_read < 3 << 20);
	lines_reader_free(r);
	block_fini(&b);
	buf_fini(&line);
	rows_fini(&rows);
}

/* Memory stays bounded whatever comes, and the lines come back. */
static void test_many_templates(void **state)
{
	struct rows rows = {0};
	struct account account;
	struct lines_writer *w;
	struct block b;
	char word[24] = "";

	account_init(&account, "writer", UINT64_MAX, NULL);
	w = lines_writer_new(&account, 1);
	for (uint32_t i = 0; i < 100000; i++) {
		for (int k = 0; k < 17; k++)
			word[k] = i >> k & 1 ? 'o' : 'i';
		rows_printf(&rows, "%s %u", word, i);
	}
	write_rows(w, &rows);
	finish(&b, w);
	assert_int_equal(plain_rows(&b), rows.n);
	check(&b, &rows);
	block_fini(&b);
	/* Each three times. */
	for (int i = 0; i < 3; i++)
		write_rows(w, &rows);
	finish(&b, w);
	assert_true(b.n_templates > 1000 && b.n_templates <= UINT16_MAX);
	block_fini(&b);
	assert_true(account.peak < 64 << 20);
	lines_writer_free(w);
	assert_int_equal(account_held(&account), 0);
	rows_fini(&rows);
}

/* More than 255 templates: two bytes a row. */
static void test_wide_ids(void **state)
{
	struct rows rows = {0};
	struct block b;

	for (uint32_t i = 0; i < 3000; i++)
		rows_printf(&rows, "%c%c is %u", 'a' + i / 20 % 20, 'a' + i % 20, i);
	b = round_trip(&rows);
	assert_int_equal(b.n_templates, 400);
	block_fini(&b);
	rows_fini(&rows);
}

/* Rows of several blocks, in pieces, lines between them: as if all had been lines. */
static void test_append(void **state)
{
	struct rows from[3] = {{0}}, all = {0};
	struct lines_writer *w = lines_writer_new(NULL, 3);
	struct lines_reader *r = lines_reader_new();
	struct block blocks[3], b;

	for (int k = 0; k < 3; k++) {
		for (uint32_t i = 0; i < 3000; i++)
			rows_typical(&from[k], i);
		rows_random(&from[k], 200);
		blocks[k] = round_trip(&from[k]);
	}
	for (int k = 0; k < 3; k++) {
		struct lines_source s = source_of(&blocks[k], from[k].time);
		assert_int_equal(lines_open(r, &s, NULL), 0);
		for (uint32_t at = 0, n; at < from[k].n; at += n) {
			n = draw(2) ? draw(10) : draw(1000);
			n = n < from[k].n - at ? n : from[k].n - at;
			if (draw(4)) {
				assert_int_equal(lines_writer_append(w, r, at, n, NULL), 0);
			} else {
				for (uint32_t i = at; i < at + n; i++)
					lines_writer_add(w, from[k].line[i], from[k].time[i]);
			}
			for (uint32_t i = at; i < at + n; i++)
				rows_add(&all, from[k].line[i], from[k].time[i]);
		}
	}
	assert_int_equal(lines_writer_rows(w), all.n);
	/* The reader's memory is not needed any more. */
	lines_reader_free(r);
	finish(&b, w);
	check(&b, &all);
	struct block direct = round_trip(&all);
	assert_int_equal(b.n_templates, direct.n_templates);
	assert_true(b.payload.n < direct.payload.n + direct.payload.n / 50);
	block_fini(&direct);
	block_fini(&b);
	for (int k = 0; k < 3; k++) {
		block_fini(&blocks[k]);
		rows_fini(&from[k]);
	}
	lines_writer_free(w);
	rows_fini(&all);
}

/* Few rows of a template, out of a block that has many. */
static void test_append_few(void **state)
{
	struct rows from = {0}, all = {0};
	struct lines_writer *w = lines_writer_new(NULL, 3);
	struct lines_reader *r = lines_reader_new();
	struct block block, b;
	struct lines_source s;

	for (uint32_t i = 0; i < 500; i++)
		rows_typical(&from, i);
	block = round_trip(&from);
	s = source_of(&block, from.time);
	assert_int_equal(lines_open(r, &s, NULL), 0);
	for (uint32_t i = 0; i < 500; i += 71) {
		assert_int_equal(lines_writer_append(w, r, i, 1, NULL), 0);
		rows_add(&all, from.line[i], from.time[i]);
		lines_writer_add(w, from.line[i], from.time[i]);
		rows_add(&all, from.line[i], from.time[i]);
	}
	finish(&b, w);
	check(&b, &all);
	block_fini(&b);
	/* A damaged block is an error, and adds nothing. */
	lines_writer_add(w, from.line[0], from.time[0]);
	block.payload.p[block.payload.n / 2] ^= 1;
	assert_int_equal(lines_open(r, &s, NULL), 0);
	assert_int_equal(lines_writer_append(w, r, 0, 500, NULL), ERR_CORRUPT);
	assert_int_equal(lines_writer_rows(w), 1);
	block_fini(&block);
	lines_reader_free(r);
	lines_writer_free(w);
	rows_fini(&from);
	rows_fini(&all);
}

/* Any damage of the payload is an error or changes nothing. */
static void test_damage(void **state)
{
	struct rows rows = {0};
	struct lines_reader *r = lines_reader_new();
	uint32_t pick[700];
	struct str line[700];
	struct block b;
	int damaged = 0;

	for (uint32_t i = 0; i < 700; i++) {
		rows_typical(&rows, i);
		pick[i] = i;
	}
	b = round_trip(&rows);
	for (size_t at = 0; at < b.payload.n; at += 1 + draw(20)) {
		struct lines_source s = source_of(&b, rows.time);
		char old = b.payload.p[at];
		b.payload.p[at] = (char)(old ^ 1 << draw(8));
		if (draw(8) == 0)
			s.bytes = at;
		int code = lines_open(r, &s, NULL);
		if (code == 0)
			code = lines_get(r, pick, 700, line, NULL);
		damaged += code < 0;
		for (uint32_t i = 0; code == 0 && i < 700; i++)
			assert_true(str_eq(line[i], rows.line[i]));
		b.payload.p[at] = old;
	}
	assert_true(damaged > 100);
	block_fini(&b);
	lines_reader_free(r);
	rows_fini(&rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_typical),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_nasty),
		cmocka_unit_test(test_many_pools),
		cmocka_unit_test(test_huge),
		cmocka_unit_test(test_many_templates),
		cmocka_unit_test(test_wide_ids),
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_append_few),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
