/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/cat.c"

struct bench {
	struct page page;
	struct buf hold;
};

/* One row, as a cursor gives it. */
static void put(struct bench *b, const char *body, const char *meta, uint64_t position)
{
	struct labels_builder lb = {0};
	struct str text = str_c(body), labels = STR_NONE;
	uint32_t pick = 0;
	uint64_t seq = 1;
	int64_t timestamp = 0;
	uint8_t severity = 0, flags = 0;
	struct rows rows = {.n = 1,
		.pick = &pick,
		.seq = &seq,
		.timestamp = &timestamp,
		.body = &text,
		.meta = &labels,
		.position = &position,
		.severity = &severity,
		.flags = &flags};

	buf_clear(&b->hold);
	if (meta) {
		assert_int_equal(labels_parse(&lb, str_c(meta), NULL), 0);
		labels_builder_write(&lb, &b->hold);
		labels = buf_view(&b->hold);
	}
	assert_int_equal(put_rows(&b->page, &rows), 0);
	labels_builder_fini(&lb);
}

static struct bench begin(uint64_t position)
{
	return (struct bench){
		.page = {.until_seq = UINT64_MAX, .limit = PAGE_BYTES, .position = position}};
}

static void expect(struct bench *b, const char *head, const char *bytes)
{
	end_piece(&b->page);
	assert_string_equal(buf_cstr(&b->page.head), head);
	assert_string_equal(buf_cstr(&b->page.bytes), bytes);
	buf_fini(&b->page.head);
	buf_fini(&b->page.bytes);
	buf_fini(&b->hold);
}

static void lines_and_holes(void **state)
{
	struct bench b = begin(0);

	put(&b, "one", NULL, 4);
	put(&b, "two", "{skipped=\"10\"}", 18);
	put(&b, "xxx", "{redacted=\"9\"}", 27);
	expect(&b,
		"piece 0 4\ngap 4 10 not stored: dropped by a rule, or before `start`\n"
		"piece 14 4\nredacted 18 9 4\n",
		"one\ntwo\nxxx\n");
}

/* Metadata and positions that no input writes, as anybody may send them. */
static void nonsense_stays_in_its_place(void **state)
{
	struct bench b = begin(5);

	put(&b, "x", "{skipped=\"18446744073709551615\"}", 20);
	expect(&b,
		"gap 5 15 not stored: dropped by a rule, or before `start`\n"
		"gap 5 13 not in this store\npiece 18 2\n",
		"x\n");
	b = begin(5);
	put(&b, "x", "{redacted=\"18446744073709551615\"}", 20);
	expect(&b, "gap 5 13 not in this store\npiece 18 2\n", "x\n");
	/* Without a position where there are some: no place to put it. */
	b = begin(5);
	put(&b, "x", NULL, 0);
	expect(&b, "", "");
	/* Longer than its place. */
	b = begin(5);
	put(&b, "0123456789", NULL, 7);
	expect(&b, "gap 5 2 the record does not tell its bytes\n", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_and_holes),
		cmocka_unit_test(nonsense_stays_in_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
