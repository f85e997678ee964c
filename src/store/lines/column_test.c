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

/* Times */

enum { TIME_ROWS = 4000 };

/* A column that spells the times of its rows by strftime, in a zone by row. */
static void spell_times(struct column *c, const int64_t *ns, const char *format,
	int (*zone_seconds)(uint32_t row, int64_t second))
{
	for (uint32_t i = 0; i < TIME_ROWS; i++) {
		time_t second = ns[i] / 1000000000;
		second += zone_seconds(i, second);
		struct tm tm;
		char text[32];
		gmtime_r(&second, &tm);
		size_t n = strftime(text, sizeof(text), format, &tm);
		column_add(c, text, n);
	}
}

static int utc(uint32_t row, int64_t second)
{
	return 0;
}

static int kathmandu(uint32_t row, int64_t second)
{
	return 5 * 3600 + 45 * 60;
}

static int auckland(uint32_t row, int64_t second)
{
	return 13 * 3600;
}

/* Summer time begins in the middle of the rows. */
static int berlin(uint32_t row, int64_t second)
{
	return row < TIME_ROWS / 2 ? 3600 : 7200;
}

/* Streams of hosts in several zones. */
static int hosts(uint32_t row, int64_t second)
{
	return ((int)(row / 700) - 3) * 3600;
}

static void fill_times(int64_t *ns, int64_t step_ns)
{
	int64_t at = 1763510437123456789;

	for (uint32_t i = 0; i < TIME_ROWS; i++) {
		ns[i] = at;
		at += (int64_t)(draw() % (uint64_t)step_ns);
	}
}

static void times_of_the_rows_cost_nothing(void **unused)
{
	static const struct {
		uint8_t kind, width;
		const char *format;
	} formats[] = {
		{SLOT_NUMBER, 0, "%Y"},
		{SLOT_NUMBER, 0, "%y"},
		{SLOT_NUMBER, 0, "%m"},
		{SLOT_NUMBER, 0, "%d"},
		{SLOT_NUMBER, 0, "%-d"},
		{SLOT_NUMBER, 0, "%H"},
		{SLOT_NUMBER, 0, "%-H"},
		{SLOT_NUMBER, 0, "%I"},
		{SLOT_NUMBER, 0, "%M"},
		{SLOT_NUMBER, 0, "%S"},
		{SLOT_NUMBER, 0, "%Y%m%d"},
		{SLOT_NUMBER, 0, "%y%m%d"},
		{SLOT_NUMBER, 0, "%m%d"},
		{SLOT_NUMBER, 0, "%H%M%S"},
		{SLOT_NUMBER, 0, "%H%M"},
		{SLOT_LONG, 14, "%Y%m%d%H%M%S"},
		{SLOT_LONG, 12, "%Y%m%d%H%M"},
		{SLOT_NUMBER, 0, "%j"},
	};
	int (*const zones[])(uint32_t, int64_t) = {utc, kathmandu, auckland, berlin, hosts};
	static int64_t ns[TIME_ROWS];

	for (size_t z = 0; z < sizeof(zones) / sizeof(*zones); z++) {
		struct column_times times = {0};
		fill_times(ns, 600000000000);
		column_times_set(&times, ns, TIME_ROWS);
		for (size_t f = 0; f < sizeof(formats) / sizeof(*formats); f++) {
			struct column c = {.kind = formats[f].kind, .width = formats[f].width};
			size_t bytes;
			spell_times(&c, ns, formats[f].format, zones[z]);
			enum column_code code = round_trip(&c, &times, &bytes);
			/* A date tells a change of the zone at midnight alone: exceptions until
			 * then, or differences. */
			bool sure = z < 3 || strpbrk(formats[f].format, "HI");
			if (sure &&
				(bytes >= 64 || (code != COLUMN_CONSTANT && code != COLUMN_TIME)))
				fail_msg("%s in zone %zu: encoding %d, %zu bytes",
					formats[f].format, z, code, bytes);
			column_fini(&c);
		}
		column_times_fini(&times);
	}
}

static void fractions_and_epochs_are_times(void **unused)
{
	static int64_t ns[TIME_ROWS];
	struct column_times times = {0};

	fill_times(ns, 1000000000);
	column_times_set(&times, ns, TIME_ROWS);
	for (int digits = 1; digits <= 9; digits++) {
		struct column c = {.kind = SLOT_NUMBER};
		int64_t scale = 1;
		for (int i = digits; i < 9; i++)
			scale *= 10;
		for (uint32_t i = 0; i < TIME_ROWS; i++)
			print_number(&c, (uint64_t)(ns[i] % 1000000000 / scale), digits);
		assert_int_equal(round_trip(&c, &times, NULL), COLUMN_TIME);
		column_fini(&c);
	}
	for (int width = 10; width <= 19; width += 3) {
		struct column c = {.kind = SLOT_LONG, .width = (uint8_t)width};
		int64_t scale = 1;
		for (int i = width; i < 19; i++)
			scale *= 10;
		for (uint32_t i = 0; i < TIME_ROWS; i++)
			print_number(&c, (uint64_t)(ns[i] / scale), width);
		assert_int_equal(round_trip(&c, &times, NULL), COLUMN_TIME);
		column_fini(&c);
	}
	column_times_fini(&times);
}

/* One row of a hundred does not spell the time, the first one neither. */
static void odd_rows_are_exceptions(void **unused)
{
	static int64_t ns[TIME_ROWS];
	struct column_times times = {0};
	struct column c = {.kind = SLOT_NUMBER};
	size_t bytes;

	fill_times(ns, 30000000000);
	column_times_set(&times, ns, TIME_ROWS);
	spell_times(&c, ns, "%M", berlin);
	for (uint32_t i = 0; i < TIME_ROWS; i += i ? 100 : 3)
		c.number[i] = (c.number[i] + 7) % 60;
	assert_int_equal(round_trip(&c, &times, &bytes), COLUMN_TIME);
	assert_true(bytes < TIME_ROWS / 100 * 4);
	column_fini(&c);
	column_times_fini(&times);
}

/* Times before 1970 and at the ends of what 64 bits hold. */
static void times_far_away_come_back(void **unused)
{
	int64_t ns[] = {INT64_MIN, INT64_MIN + 1, -86400000000001, -1, 0, 1, 951782400000000000,
		1709164800000000000, INT64_MAX};
	struct column_times times = {0};
	struct column c = {.kind = SLOT_NUMBER};

	for (uint32_t i = 0; i < 9; i++)
		print_number(&c, i, 2);
	column_times_set(&times, ns, 9);
	round_trip(&c, &times, NULL);
	column_fini(&c);
	column_times_fini(&times);
}

/* Keeping */

/* What column_keep says is what the spelled values say. */
static void check_keep(const struct column *c, enum column_test test, struct str text)
{
	uint32_t *pick = xmalloc(c->n * sizeof(*pick)), n = 0, at = 0;
	struct buf value = {0};

	for (uint32_t i = 0; i < c->n; i += 1 + i % 3)
		pick[n++] = i;
	n = column_keep(c, test, text, pick, n);
	for (uint32_t i = 0; i < c->n; i += 1 + i % 3) {
		bool want;
		buf_clear(&value);
		column_spell(c, i, &value);
		struct str v = buf_view(&value);
		switch (test) {
		case COLUMN_EQUALS: want = str_eq(v, text); break;
		case COLUMN_BEGINS: want = str_starts(v, text); break;
		case COLUMN_ENDS: want = str_ends(v, text); break;
		default: want = str_find(v, text) >= 0;
		}
		bool kept = at < n && pick[at] == i;
		if (kept != want)
			fail_msg("test %d of %.*s with %.*s: %d", test, STR_ARG(v), STR_ARG(text),
				kept);
		at += kept;
	}
	assert_int_equal(at, n);
	buf_fini(&value);
	free(pick);
}

static void kept_values_are_those_whose_spelling_matches(void **unused)
{
	static const struct {
		uint8_t kind, width;
		const char *format;
		uint64_t range;
	} columns[] = {
		{SLOT_NUMBER, 0, "%llu", 100000},
		{SLOT_NUMBER, 0, "%03llu", 120},
		{SLOT_NUMBER, 0, "%llu", 1},
		{SLOT_LONG, 12, "%012llu", 3000},
		{SLOT_LONG, 19, "98765432101234%05llu", 100000},
		{SLOT_HEX, 7, "%07llx", 1 << 20},
		{SLOT_HEX_UPPER, 8, "%08llX", 200},
		{SLOT_UUID, 0, "35e4d4a5-32c5-4fbb-11c4-3eae%08llx", 1 << 12},
		{SLOT_TEXT, 0, "xY%lluz", 300},
	};
	static const char *const others[] = {"", "0", "00", "-", "a", "A", "xY",
		"12345678901234567890", "35e4d4a5-32c5-4fbb-11c4-3eae00000abc-",
		"00000000-0000000-0000-0000-000000000000", "5-32c"};

	for (size_t k = 0; k < sizeof(columns) / sizeof(*columns); k++) {
		struct column c = {.kind = columns[k].kind, .width = columns[k].width}, back = c;
		struct buf texts = {0}, encoded = {0}, value = {0};
		char text[64];
		buf_reserve(&texts, 1 << 16); /* texts are borrowed */
		for (uint32_t i = 0; i < 1000; i++) {
			int n = snprintf(text, sizeof(text), columns[k].format,
				(unsigned long long)(draw() % columns[k].range));
			buf_put(&texts, text, (size_t)n);
			column_add(&c, texts.p + texts.n - n, (size_t)n);
		}
		column_encode_values(&c, NULL, &encoded);
		assert_int_equal(column_decode(&back, buf_view(&encoded), NULL, c.n, NULL), 0);
		for (unsigned round = 0; round < 300; round++) {
			buf_clear(&value);
			column_spell(&c, (uint32_t)(draw() % c.n), &value);
			size_t from = draw() % (value.n + 1), to = draw() % (value.n + 1);
			if (round % 3 == 0)
				from = 0;
			if (round % 4 < 2)
				to = value.n;
			struct str part = str_sub(
				buf_view(&value), from < to ? from : to, from < to ? to : from);
			if (round < sizeof(others) / sizeof(*others))
				part = str_c(others[round]);
			for (int test = COLUMN_EQUALS; test <= COLUMN_CONTAINS; test++)
				check_keep(&back, (enum column_test)test, part);
		}
		column_fini(&c);
		column_fini(&back);
		buf_fini(&texts);
		buf_fini(&encoded);
		buf_fini(&value);
	}
}

/* Text of an appended column stays where it is when the copy's memory moves. */
static void appended_values_are_copies(void **unused)
{
	struct column from = {.kind = SLOT_TEXT}, c = {.kind = SLOT_TEXT},
		      back = {.kind = SLOT_TEXT};
	struct buf texts = {0}, encoded = {0};
	char text[32];

	buf_reserve(&texts, 1 << 16);
	for (uint32_t i = 0; i < 2000; i++) {
		int n = snprintf(text, sizeof(text), "a%ub", i * 7919);
		buf_put(&texts, text, (size_t)n);
		column_add(&from, texts.p + texts.n - n, (size_t)n);
	}
	for (uint32_t i = 0; i < 2000; i += 40)
		column_append(&c, &from, i, 40);
	assert_equal_columns(&from, &c);
	column_encode_values(&c, NULL, &encoded);
	buf_fini(&texts);
	assert_int_equal(column_decode(&back, buf_view(&encoded), NULL, c.n, NULL), 0);
	assert_equal_columns(&c, &back);
	column_fini(&from);
	column_fini(&c);
	column_fini(&back);
	buf_fini(&encoded);
}

/* Every cut and every changed byte is an error or other values, never a crash. */
static void damaged_bytes_do_no_harm(void **unused)
{
	static int64_t ns[64];
	struct column c = {.kind = SLOT_NUMBER};
	struct column_times times = {0};
	struct buf out = {0};

	for (uint32_t i = 0; i < 64; i++)
		print_number(&c, i % 5 ? draw() % 4 * 100000 : draw() % 1000000, 1);
	column_times_set(&times, ns, 64);
	column_encode_values(&c, &times, &out);
	for (size_t n = 0; n < out.n; n++) {
		struct column back = {.kind = SLOT_NUMBER};
		assert_int_equal(
			column_decode(&back, str_make(out.p, n), &times, 64, NULL), ERR_CORRUPT);
		column_fini(&back);
	}
	for (size_t n = 0; n < out.n * 256; n++) {
		struct column back = {.kind = SLOT_NUMBER};
		char was = out.p[n / 256];
		out.p[n / 256] = (char)n;
		if (column_decode(&back, buf_view(&out), &times, 64, NULL) == 0)
			assert_equal_columns(&back, &back);
		out.p[n / 256] = was;
		column_fini(&back);
	}
	column_fini(&c);
	column_times_fini(&times);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_spelled_as_they_came),
		cmocka_unit_test(digits_of_all_lengths_are_parsed),
		cmocka_unit_test(encodings_are_chosen_by_what_values_are),
		cmocka_unit_test(leading_zeros_are_kept),
		cmocka_unit_test(random_columns_come_back),
		cmocka_unit_test(times_of_the_rows_cost_nothing),
		cmocka_unit_test(fractions_and_epochs_are_times),
		cmocka_unit_test(odd_rows_are_exceptions),
		cmocka_unit_test(times_far_away_come_back),
		cmocka_unit_test(kept_values_are_those_whose_spelling_matches),
		cmocka_unit_test(appended_values_are_copies),
		cmocka_unit_test(damaged_bytes_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
