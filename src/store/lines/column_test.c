/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/memory.h"
#include "store/lines/column_code.h"

/* A small generator of numbers, the same in every run. */
static uint64_t state;

static uint64_t draw(void)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return state >> 33 ^ state >> 11;
}

static void add(struct column *c, const char *text)
{
	column_add(c, text, strlen(text));
}

static void assert_spells(const struct column *c, uint32_t i, const char *text)
{
	struct buf out = {0};

	column_spell(c, i, &out);
	assert_string_equal(buf_cstr(&out), text);
	assert_true(out.n <= column_spell_max(c));
	buf_fini(&out);
}

static void assert_equal_columns(const struct column *a, const struct column *b)
{
	struct buf left = {0}, right = {0};

	assert_int_equal(a->n, b->n);
	for (uint32_t i = 0; i < a->n; i++) {
		buf_clear(&left);
		buf_clear(&right);
		column_spell(a, i, &left);
		column_spell(b, i, &right);
		if (!str_eq(buf_view(&left), buf_view(&right)))
			fail_msg("value %u: %.*s, not %.*s", i, STR_ARG(buf_view(&right)),
				STR_ARG(buf_view(&left)));
	}
	buf_fini(&left);
	buf_fini(&right);
}

/* Encode (for a pool too), decode, compare.  Returns the encoding; *bytes says how long. */
static enum column_code round_trip(
	const struct column *c, struct column_times *times, size_t *bytes)
{
	struct column back = {.kind = c->kind, .width = c->width};
	struct buf out = {0};
	struct error e;

	column_encode_values(c, times, &out);
	enum column_code code = (enum column_code)out.p[0];
	if (column_decode(&back, buf_view(&out), times, c->n, &e) < 0)
		fail_msg("encoding %d: %s", code, e.text);
	if (bytes)
		*bytes = out.n;
	/* Texts do not point into what was decoded. */
	memset(out.p, 0, out.n);
	assert_equal_columns(c, &back);
	column_fini(&back);
	buf_fini(&out);
	return code;
}

static void values_are_spelled_as_they_came(void **unused)
{
	static const struct {
		uint8_t kind, width;
		const char *text;
	} cases[] = {
		{SLOT_NUMBER, 0, "0"},
		{SLOT_NUMBER, 0, "7"},
		{SLOT_NUMBER, 0, "007"},
		{SLOT_NUMBER, 0, "1234"},
		{SLOT_NUMBER, 0, "12345"},
		{SLOT_NUMBER, 0, "00123456"},
		{SLOT_NUMBER, 0, "1234567"},
		{SLOT_NUMBER, 0, "12345678"},
		{SLOT_NUMBER, 0, "999999999"},
		{SLOT_NUMBER, 0, "000000000"},
		{SLOT_LONG, 10, "0000000001"},
		{SLOT_LONG, 13, "1732000000123"},
		{SLOT_LONG, 16, "1234567890123456"},
		{SLOT_LONG, 19, "9999999999999999999"},
		{SLOT_HEX, 6, "0a1b2c"},
		{SLOT_HEX, 7, "f0a1b2c"},
		{SLOT_HEX, 8, "deadbeef"},
		{SLOT_HEX, 11, "0123456789a"},
		{SLOT_HEX_UPPER, 9, "ABCDEF012"},
		{SLOT_HEX, 32, "0123456789abcdef0123456789abcdef"},
		{SLOT_UUID, 0, "35e4d4a5-32c5-4fbb-11c4-3eaee0a01410"},
		{SLOT_UUID_UPPER, 0, "35E4D4A5-32C5-4FBB-11C4-3EAEE0A01410"},
		{SLOT_TEXT, 0, "a1b2c3d4E5"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct column c = {.kind = cases[i].kind, .width = cases[i].width};
		add(&c, cases[i].text);
		assert_spells(&c, 0, cases[i].text);
		assert_int_equal(round_trip(&c, NULL, NULL), COLUMN_CONSTANT);
		column_fini(&c);
	}
}

/* Every length of every number of digits is parsed by the path for it. */
static void digits_of_all_lengths_are_parsed(void **unused)
{
	char text[24];

	for (size_t n = 1; n <= 19; n++) {
		struct column c = {.kind = n <= 9 ? SLOT_NUMBER : SLOT_LONG, .width = (uint8_t)n};
		for (unsigned k = 0; k < 200; k++) {
			for (size_t i = 0; i < n; i++)
				text[i] = (char)('0' + draw() % 10);
			text[n] = '\0';
			add(&c, text);
			assert_spells(&c, c.n - 1, text);
			assert_int_equal(c.number[c.n - 1], strtoull(text, NULL, 10));
		}
		round_trip(&c, NULL, NULL);
		column_fini(&c);
	}
}

static void print_number(struct column *c, uint64_t v, int digits)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%0*llu", digits, (unsigned long long)v);

	column_add(c, text, (size_t)n);
}

static void encodings_are_chosen_by_what_values_are(void **unused)
{
	struct column c = {.kind = SLOT_NUMBER};
	size_t bytes;

	for (uint32_t i = 0; i < 5000; i++)
		print_number(&c, 700000 + 3 * i + draw() % 2, 1);
	assert_int_equal(round_trip(&c, NULL, &bytes), COLUMN_DELTA);
	assert_true(bytes < 5100);
	column_clear(&c);
	for (uint32_t i = 0; i < 5000; i++)
		print_number(&c, draw() % 40 * 77777, 1);
	assert_int_equal(round_trip(&c, NULL, &bytes), COLUMN_RANKS);
	assert_true(bytes < 5300);
	column_clear(&c);
	for (uint32_t i = 0; i < 5000; i++)
		print_number(&c, 100000 + draw() % 250, 1);
	assert_int_equal(round_trip(&c, NULL, &bytes), COLUMN_PLANES);
	assert_true(bytes < 5010);
	column_clear(&c);
	/* Ranks with escapes: some values are frequent, the others are all different. */
	for (uint32_t i = 0; i < 9000; i++)
		print_number(&c, draw() % 10 ? draw() % 100 * 1234567 : draw() % 1000000000, 1);
	assert_int_equal(round_trip(&c, NULL, &bytes), COLUMN_RANKS);
	column_fini(&c);
}

static void leading_zeros_are_kept(void **unused)
{
	struct column c = {.kind = SLOT_NUMBER};
	size_t fixed, plane;

	for (uint32_t i = 0; i < 1000; i++)
		print_number(&c, draw() % 1000, 3);
	round_trip(&c, NULL, &fixed);
	print_number(&c, 7, 1);
	round_trip(&c, NULL, &plane);
	assert_true(plane >= fixed + 1000);
	column_fini(&c);
}

static void random_columns_come_back(void **unused)
{
	static const uint8_t kinds[] = {SLOT_NUMBER, SLOT_LONG, SLOT_HEX, SLOT_HEX_UPPER, SLOT_UUID,
		SLOT_UUID_UPPER, SLOT_TEXT};
	static const char *const alphabets[] = {"0123456789", "0123456789", "0123456789abcdef",
		"0123456789ABCDEF", "0123456789abcdef", "0123456789ABCDEF",
		"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"};
	static char texts[300][256];

	for (unsigned round = 0; round < 400; round++) {
		unsigned k = (unsigned)(draw() % sizeof(kinds));
		struct column c = {.kind = kinds[k]};
		size_t width = k == 0   ? 1 + draw() % 9
			       : k == 1 ? 10 + draw() % 10
			       : k < 4  ? 6 + draw() % 123
					: 1 + draw() % 255;
		c.width = (uint8_t)(k >= 1 && k <= 3 ? width : 0);
		unsigned n_texts = 1 + (unsigned)(draw() % 300);
		for (unsigned i = 0; i < n_texts; i++) {
			size_t n = k == 4 || k == 5 ? 36 : c.width ? width : 1 + draw() % width;
			for (size_t at = 0; at < n; at++)
				texts[i][at] = alphabets[k][draw() % strlen(alphabets[k])];
			texts[i][n] = '\0';
			for (unsigned d = 8; n == 36 && (k == 4 || k == 5) && d <= 23; d += 5)
				texts[i][d] = '-';
		}
		for (uint32_t n = 1 + (uint32_t)(draw() % 3000); n > 0; n--)
			add(&c, texts[draw() % n_texts]);
		round_trip(&c, NULL, NULL);
		column_fini(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_spelled_as_they_came),
		cmocka_unit_test(digits_of_all_lengths_are_parsed),
		cmocka_unit_test(encodings_are_chosen_by_what_values_are),
		cmocka_unit_test(leading_zeros_are_kept),
		cmocka_unit_test(random_columns_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
