/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "codec/codec.h"
#include "store/lines/column_code.h"
#include "store/lines/pool.h"

struct encoded {
	struct buf references, values;
};

static void encoded_fini(struct encoded *e)
{
	buf_fini(&e->references);
	buf_fini(&e->values);
}

/* Put all values of a column into the pool, encode it, decode it, compare. */
static void round_trip(struct pool *p, const struct column *c, struct encoded *out)
{
	struct buf want = {0}, have = {0};
	struct pool_view v;
	struct error e;

	for (uint32_t i = 0; i < c->n; i++)
		pool_add(p, c, i);
	assert_int_equal(pool_uses(p), c->n);
	pool_encode(p, &out->references, &out->values);
	assert_int_equal(pool_uses(p), 0);
	if (pool_decode(&v, c->kind, c->width, c->n, buf_view(&out->references),
		    buf_view(&out->values), &e) < 0)
		fail_msg("%s", e.text);
	for (uint32_t i = 0; i < c->n; i++) {
		column_spell(c, i, &want);
		column_spell(&v.values, v.use[i], &have);
		buf_char(&want, '\n');
		buf_char(&have, '\n');
	}
	assert_true(str_eq(buf_view(&want), buf_view(&have)));
	buf_fini(&want);
	buf_fini(&have);
	pool_view_fini(&v);
}

static void add_number(struct column *c, uint64_t v)
{
	char text[32];

	column_add(c, text, (size_t)snprintf(text, sizeof(text), "%012llu", (unsigned long long)v));
}

static void recent_values_are_references(void **unused)
{
	struct column c = {.kind = SLOT_LONG, .width = 12};
	struct pool *p = pool_new(c.kind, c.width);
	struct encoded out = {0};

	add_number(&c, 5);
	add_number(&c, 6);
	add_number(&c, 5);
	add_number(&c, 6);
	add_number(&c, 7);
	round_trip(p, &c, &out);
	assert_memory_equal(out.references.p, "\xff\xff\x01\x01\xff", 5);
	assert_int_equal(out.values.p[0], 3);
	encoded_fini(&out);
	column_fini(&c);
	pool_free(p);
}

/* 254 others may stand between; one more, and the value is new again. */
static void references_reach_255_values(void **unused)
{
	for (uint32_t others = 250; others < 260; others++) {
		struct column c = {.kind = SLOT_LONG, .width = 12};
		struct pool *p = pool_new(c.kind, c.width);
		struct encoded out = {0};
		uint64_t n;
		for (uint32_t i = 0; i <= others; i++)
			add_number(&c, 1000 + i);
		add_number(&c, 1000);
		round_trip(p, &c, &out);
		assert_true(varint_get(buf_view(&out.values), &n) > 0);
		assert_int_equal(n, others + 1 + (others > 254));
		/* It is empty after, and knows nothing of what it held. */
		encoded_fini(&out);
		out = (struct encoded){0};
		round_trip(p, &c, &out);
		assert_int_equal((uint8_t)out.references.p[0], 255);
		encoded_fini(&out);
		column_fini(&c);
		pool_free(p);
	}
}

static void every_kind_comes_back(void **unused)
{
	static const struct {
		uint8_t kind, width;
		const char *format;
	} kinds[] = {
		{SLOT_LONG, 15, "%015u"},
		{SLOT_HEX, 7, "%07x"},
		{SLOT_HEX, 40, "00000000111111112222222233333333%08x"},
		{SLOT_HEX_UPPER, 8, "%08X"},
		{SLOT_UUID, 0, "35e4d4a5-32c5-4fbb-11c4-3eae%08x"},
		{SLOT_UUID_UPPER, 0, "35E4D4A5-32C5-4FBB-11C4-3EAE%08X"},
		{SLOT_TEXT, 0, "zZ%xq"},
	};
	uint32_t state = 1;

	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
		struct column c = {.kind = kinds[k].kind, .width = kinds[k].width};
		struct pool *p = pool_new(c.kind, c.width);
		struct encoded out = {0};
		char text[64];
		struct buf copies = {0};
		buf_reserve(&copies, 5000 * sizeof(text)); /* texts are borrowed */
		for (uint32_t i = 0; i < 5000; i++) {
			state = state * 1664525 + 1013904223;
			uint32_t v = i % 3 ? state >> 24 : state >> 8;
			int n = snprintf(text, sizeof(text), kinds[k].format, v);
			buf_put(&copies, text, (size_t)n);
			column_add(&c, copies.p + copies.n - n, (size_t)n);
		}
		round_trip(p, &c, &out);
		encoded_fini(&out);
		buf_fini(&copies);
		column_fini(&c);
		pool_free(p);
	}
}

static void damage_is_told(void **unused)
{
	struct column c = {.kind = SLOT_LONG, .width = 12};
	struct pool *p = pool_new(c.kind, c.width);
	struct encoded out = {0};
	struct pool_view v;
	struct error e;

	for (uint32_t i = 0; i < 20; i++)
		add_number(&c, i * 3);
	round_trip(p, &c, &out);
	struct str references = buf_view(&out.references), values = buf_view(&out.values);
	assert_int_equal(pool_decode(&v, c.kind, c.width, 19, references, values, &e), ERR_CORRUPT);
	assert_int_equal(
		pool_decode(&v, c.kind, c.width, 20, references, STR(""), &e), ERR_CORRUPT);
	assert_int_equal(pool_decode(&v, c.kind, c.width, 20, references,
				 str_sub(values, 0, values.n - 1), &e),
		ERR_CORRUPT);
	out.references.p[0] = 0; /* before the first */
	assert_int_equal(pool_decode(&v, c.kind, c.width, 20, references, values, &e), ERR_CORRUPT);
	out.references.p[0] = (char)0xff;
	out.references.p[19] = 3; /* one value fewer */
	assert_int_equal(pool_decode(&v, c.kind, c.width, 20, references, values, &e), ERR_CORRUPT);
	out.references.p[19] = (char)0xfe; /* no age */
	assert_int_equal(pool_decode(&v, c.kind, c.width, 20, references, values, &e), ERR_CORRUPT);
	encoded_fini(&out);
	column_fini(&c);
	pool_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recent_values_are_references),
		cmocka_unit_test(references_reach_255_values),
		cmocka_unit_test(every_kind_comes_back),
		cmocka_unit_test(damage_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
