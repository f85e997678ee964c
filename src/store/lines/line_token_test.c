/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "store/lines/token.c"
#include "base/buf.h"

/* A line with its values in braces, each behind a letter for its kind. */
static const char *shown(struct str line, struct buf *out)
{
	static const char letters[] = "?NLhHuUT";
	struct token tokens[TOKEN_SLOTS_MAX];
	uint64_t hash;
	int n = tokens_of(line, tokens, &hash);
	size_t at = 0;

	buf_clear(out);
	for (int i = 0; i < n; i++) {
		buf_str(out, str_sub(line, at, tokens[i].at));
		buf_char(out, letters[tokens[i].kind]);
		buf_char(out, '{');
		at = tokens[i].at + tokens[i].n;
		buf_str(out, str_sub(line, tokens[i].at, at));
		buf_char(out, '}');
		if (tokens[i].width)
			assert_int_equal(tokens[i].width, tokens[i].n);
	}
	buf_str(out, str_sub(line, at, line.n));
	return n < 0 ? "(none)" : buf_cstr(out);
}

#define SHOWN(line, expected) assert_string_equal(shown(STR(line), &out), expected)

static void test_rules(void **state)
{
	struct buf out = {0};

	SHOWN("", "");
	SHOWN("nothing here", "nothing here");
	SHOWN("7", "N{7}");
	SHOWN("a 007 b", "a N{007} b");
	SHOWN("123456789 1234567890", "N{123456789} L{1234567890}");
	SHOWN("1234567890123456789", "L{1234567890123456789}");
	SHOWN("12345678901234567890", "T{12345678901234567890}");
	SHOWN("10.0.0.255:8080", "N{10}.N{0}.N{0}.N{255}:N{8080}");
	SHOWN("eth0 worker12 x86_64 i386", "ethN{0} workerN{12} xN{86}_N{64} iN{386}");
	SHOWN("2026-08-21T10:00:00.123Z", "N{2026}-N{08}-N{21}TN{10}:N{00}:N{00}.N{123}Z");
	SHOWN("20250821T100000Z", "N{20250821}TN{100000}Z");
	SHOWN("blk_-7237", "blk_-N{7237}");
	SHOWN("deadbeef", "deadbeef");
	SHOWN("deadbee1 DEADBEE1 DeadBee1", "h{deadbee1} H{DEADBEE1} DeadBeeN{1}");
	SHOWN("fe80::4f2c ab1", "T{fe80}::T{4f2c} abN{1}");
	SHOWN("mac 00:1a:2b:cc:dd:05, aa:bb:cc:dd:ee:01",
		"mac T{00}:T{1a}:T{2b}:T{cc}:T{dd}:T{05}, aa:bb:cc:dd:ee:N{01}");
	SHOWN("mac aa:bb:cc:dd:ee:0F", "mac aa:bb:cc:dd:ee:N{0}F");
	SHOWN("at 12:34:56 2001:db8:85a3::8a2e:370:7334 ok",
		"at N{12}:N{34}:N{56} T{2001}:T{db8}:T{85a3}::T{8a2e}:T{370}:T{7334} ok");
	SHOWN("a1::b:c a1::b", "T{a1}::T{b}:T{c} aN{1}::b");
	SHOWN("1:2:3:4:5:6 1:2:3:4:5:f6",
		"N{1}:N{2}:N{3}:N{4}:N{5}:N{6} T{1}:T{2}:T{3}:T{4}:T{5}:T{f6}");
	SHOWN("0x1f 0x7f3a9c 0x00000010 0x7F3A9C 0xzz1",
		"0xT{1f} 0xh{7f3a9c} 0xh{00000010} 0xH{7F3A9C} N{0}xzzN{1}");
	SHOWN("550e8400-e29b-41d4-a716-446655440000", "u{550e8400-e29b-41d4-a716-446655440000}");
	SHOWN("550E8400-E29B-41D4-A716-446655440000.", "U{550E8400-E29B-41D4-A716-446655440000}.");
	SHOWN("12345678-1234-1234-1234-123456789012", "u{12345678-1234-1234-1234-123456789012}");
	SHOWN("12345678-1234-1234-1234-1234567890123",
		"N{12345678}-N{1234}-N{1234}-N{1234}-L{1234567890123}");
	SHOWN("550e8400-E29B-41d4-a716-446655440000",
		"h{550e8400}-T{E29B}-T{41d4}-T{a716}-L{446655440000}");
	SHOWN("trace=ndl7Q4x9ZkT2vWp0", "trace=T{ndl7Q4x9ZkT2vWp0}");
	SHOWN("a1b2c3zz", "T{a1b2c3zz}");
	SHOWN("\xc3\xa9"
	      "12\xff\x80"
	      "7",
		"\xc3\xa9N{12}\xff\x80N{7}");
	buf_fini(&out);
}

static void test_limits(void **state)
{
	struct token tokens[TOKEN_SLOTS_MAX];
	struct buf line = {0};
	uint64_t hash;

	for (int i = 0; i < TOKEN_SLOTS_MAX; i++)
		buf_c(&line, "1 ");
	assert_int_equal(tokens_of(buf_view(&line), tokens, &hash), TOKEN_SLOTS_MAX);
	buf_c(&line, "1");
	assert_int_equal(tokens_of(buf_view(&line), tokens, &hash), -1);
	buf_clear(&line);
	while (line.n < TOKEN_LINE_MAX)
		buf_char(&line, 'x');
	assert_int_equal(tokens_of(buf_view(&line), tokens, &hash), 0);
	memset(line.p, '5', line.n);
	assert_int_equal(tokens_of(buf_view(&line), tokens, &hash), 129);
	assert_int_equal(tokens[128].n, TOKEN_LINE_MAX - 128 * TOKEN_TEXT_MAX);
	buf_char(&line, 'x');
	assert_int_equal(tokens_of(buf_view(&line), tokens, &hash), -1);
	assert_int_equal(tokens_of(STR_NONE, tokens, &hash), 0);
	buf_fini(&line);
}

/* Long random text ends in slots of TOKEN_TEXT_MAX that follow each other. */
static void test_long_text(void **state)
{
	struct token tokens[TOKEN_SLOTS_MAX];
	struct buf line = {0};
	uint64_t hash;

	buf_c(&line, "jwt=");
	for (int i = 0; i < 100; i++)
		buf_c(&line, "aZ9q1Bx");
	assert_int_equal(tokens_of(buf_view(&line), tokens, &hash), 3);
	assert_int_equal(tokens[0].at, 4);
	assert_int_equal(tokens[1].at, 4 + TOKEN_TEXT_MAX);
	assert_int_equal(tokens[2].n, 700 - 2 * TOKEN_TEXT_MAX);
	buf_fini(&line);
}

static uint32_t seed = 1;

static uint32_t draw(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)seed * n >> 32);
}

/* Lines on the heap and exactly as long as they are, so that a sanitizer sees reads beyond. */
static struct str random_line(size_t n, bool letters)
{
	static const char some[] = "0123456789abcdefABCDEFxyzXYZ -_.:";
	char *p = malloc(n ? n : 1);

	for (size_t i = 0; i < n; i++)
		p[i] = letters ? some[draw(sizeof some - 1)] : (char)draw(256);
	/* Runs, too. */
	for (size_t i = 0; n && i < n / 20; i++) {
		size_t at = draw((uint32_t)n), run = draw(150);
		memset(p + at, some[draw(sizeof some - 1)], run < n - at ? run : n - at);
	}
	return str_make(p, n);
}

static void test_masks(void **state)
{
	struct masks m;

	for (int k = 0; k < 20000; k++) {
		struct str line = random_line(draw(k % 100 ? 300 : 5000), k & 1);
		size_t words = make_masks(&m, line);
		assert_int_equal(words, (line.n + WORD - 1) / WORD);
		for (size_t i = 0; i < words; i++) {
			size_t left = line.n - i * WORD;
			uint64_t digit, letter;
			masks_scalar(line.p + i * WORD, left < WORD ? left : WORD, &digit, &letter);
			assert_int_equal(m.digit[i], digit);
			assert_int_equal(m.letter[i], letter);
		}
		assert_int_equal(m.digit[words] | m.letter[words], 0);
		free((void *)(uintptr_t)line.p);
	}
}

/* The rules once more, a byte at a time. */
struct plain_cut {
	struct token tokens[TOKEN_LINE_MAX];
	size_t n;
};

static void plain_emit(struct plain_cut *c, size_t at, size_t n, uint8_t kind)
{
	if (kind == SLOT_TEXT) {
		for (; n > 255; at += 255, n -= 255)
			c->tokens[c->n++] = (struct token){(uint32_t)at, 255, SLOT_TEXT, 0};
	}
	uint8_t width =
		kind == SLOT_LONG || kind == SLOT_HEX || kind == SLOT_HEX_UPPER ? (uint8_t)n : 0;
	c->tokens[c->n++] = (struct token){(uint32_t)at, (uint16_t)n, kind, width};
}

static void plain_digits(struct plain_cut *c, size_t at, size_t n)
{
	plain_emit(c, at, n, n < 10 ? SLOT_NUMBER : n < 20 ? SLOT_LONG : SLOT_TEXT);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool all_hex(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!p[i] || !strchr("0123456789abcdefABCDEF", p[i]))
			return false;
	return true;
}

/* 0: not all hexadecimal digits of one case.  Else SLOT_HEX or SLOT_HEX_UPPER. */
static uint8_t plain_hex(const char *p, size_t n)
{
	bool lower = false, upper = false;

	if (!all_hex(p, n))
		return 0;
	for (size_t i = 0; i < n; i++) {
		lower |= is_lower(p[i]);
		upper |= is_upper(p[i]);
	}
	return lower && upper ? 0 : upper ? SLOT_HEX_UPPER : SLOT_HEX;
}

static uint8_t plain_uuid(struct str s)
{
	char digits[32];
	size_t n = 0;

	if (s.n < 36)
		return 0;
	for (size_t i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (dash != (s.p[i] == '-'))
			return 0;
		if (!dash)
			digits[n++] = s.p[i];
	}
	if (s.n > 36 && (is_digit(s.p[36]) || is_lower(s.p[36]) || is_upper(s.p[36])))
		return 0;
	n = plain_hex(digits, 32);
	return n ? (uint8_t)(n == SLOT_HEX ? SLOT_UUID : SLOT_UUID_UPPER) : 0;
}

static bool plain_chance(const char *p, size_t n)
{
	size_t changes = 0;

	for (size_t i = 1; i < n; i++)
		changes += is_digit(p[i]) != is_digit(p[i - 1]) ||
			   (is_lower(p[i - 1]) && is_upper(p[i]));
	return changes > 4 || (n >= 8 && changes >= 3 && changes * 4 >= n);
}

/* One token with a digit in it; returns where to go on. */
static size_t plain_token(struct plain_cut *c, struct str line, size_t at, size_t n)
{
	const char *p = line.p + at;
	uint8_t kind = plain_hex(p, n);
	size_t digits = 0;

	for (size_t i = 0; i < n; i++)
		digits += is_digit(p[i]);
	if (n == 8 && plain_uuid(str_sub(line, at, line.n))) {
		plain_emit(c, at, 36, plain_uuid(str_sub(line, at, line.n)));
		return at + 36;
	}
	if (digits == n) {
		plain_digits(c, at, n);
	} else if (n > 2 && p[0] == '0' && p[1] == 'x' && all_hex(p + 2, n - 2)) {
		kind = plain_hex(p + 2, n - 2);
		plain_emit(c, at + 2, n - 2,
			kind && n - 2 >= 6 && n - 2 <= 128 ? kind : (uint8_t)SLOT_TEXT);
	} else if (kind && n >= 4) {
		plain_emit(c, at, n, n >= 6 && n <= 128 ? kind : (uint8_t)SLOT_TEXT);
	} else if (plain_chance(p, n)) {
		plain_emit(c, at, n, SLOT_TEXT);
	} else {
		for (size_t i = 0, run; i < n; i += run ? run : 1) {
			for (run = 0; i + run < n && is_digit(p[i + run]); run++)
				;
			if (run)
				plain_digits(c, at + i, run);
		}
	}
	return at + n;
}

/* The length of the chain at the start of s, *n groups of these lengths; 0 when it begins none. */
static size_t plain_chain(struct str s, size_t *groups, size_t *n)
{
	bool lower = false, upper = false, mixed = false, twice = false;
	size_t at = 0, end = 0, joint = 0;

	for (*n = 0;; at = end + joint) {
		size_t k = 0;
		bool digit = false, letter = false, low = false, up = false;
		for (; at + k < s.n &&
			(is_digit(s.p[at + k]) || is_lower(s.p[at + k]) || is_upper(s.p[at + k]));
			k++) {
			digit |= is_digit(s.p[at + k]);
			low |= is_lower(s.p[at + k]);
			up |= is_upper(s.p[at + k]);
		}
		letter = low || up;
		if (k == 0 || k > 4 || !all_hex(s.p + at, k))
			break;
		lower |= low;
		upper |= up;
		mixed |= digit && letter;
		twice |= joint == 2;
		groups[(*n)++] = k;
		end = at + k;
		for (joint = 0; joint < 2 && end + joint < s.n && s.p[end + joint] == ':';)
			joint++;
		if (joint == 0)
			break;
	}
	return mixed && !(lower && upper) && *n >= (twice ? 3U : 6U) ? end : 0;
}

static void plain_cut(struct plain_cut *c, struct str line)
{
	size_t groups[TOKEN_LINE_MAX], n_groups, chain, over = 0;

	c->n = 0;
	for (size_t at = 0; at < line.n;) {
		/* A chain begins with a token, and not within what was looked at as one. */
		bool begins = at == 0 || !class_of[(uint8_t)line.p[at - 1]];
		chain = at >= over && begins
				? plain_chain(str_sub(line, at, line.n), groups, &n_groups)
				: 0;
		if (chain) {
			for (size_t i = 0; i < n_groups; i++) {
				while (line.p[at] == ':')
					at++;
				plain_emit(c, at, groups[i], SLOT_TEXT);
				at += groups[i];
			}
			continue;
		}
		if (at >= over && begins && n_groups > 0) {
			over = at;
			for (size_t i = 0; i < n_groups; i++) {
				while (line.p[over] == ':')
					over++;
				over += groups[i];
			}
		}
		size_t n = 0;
		bool digit = false;
		for (; at + n < line.n; n++) {
			char x = line.p[at + n];
			if (!is_digit(x) && !is_lower(x) && !is_upper(x))
				break;
			digit |= is_digit(x);
		}
		if (digit)
			at = plain_token(c, line, at, n);
		else
			at += n ? n : 1;
	}
}

static void check_line(struct plain_cut *expected, struct str line)
{
	struct token tokens[TOKEN_SLOTS_MAX];
	uint64_t hash;
	int n = tokens_of(line, tokens, &hash);

	plain_cut(expected, line);
	if (expected->n > TOKEN_SLOTS_MAX) {
		assert_int_equal(n, -1);
		return;
	}
	assert_int_equal(n, expected->n);
	for (int i = 0; i < n; i++) {
		assert_int_equal(tokens[i].at, expected->tokens[i].at);
		assert_int_equal(tokens[i].n, expected->tokens[i].n);
		assert_int_equal(tokens[i].kind, expected->tokens[i].kind);
		assert_int_equal(tokens[i].width, expected->tokens[i].width);
	}
}

static void test_against_plain(void **state)
{
	static const char *const words[] = {"550e8400-e29b-41d4-a716-446655440000", "0x", "0x12",
		"550E8400-E29B-41D4-A716-44665544000", "12", "a", "Bc", "deadbeef01", " ", "-",
		"1234567890123456789", "x", "g7", ":", "::", "a1:", "00:1a:2b:3c:4d:5e",
		"B2:", "fe80::1:", ":7", "-4111-9111-a111-0123456789ab", "12345678"};
	struct plain_cut *expected = malloc(sizeof *expected);

	for (int k = 0; k < 20000; k++) {
		struct str line = random_line(draw(k % 50 ? 200 : 3000), k & 3);
		check_line(expected, line);
		free((void *)(uintptr_t)line.p);
	}
	for (int k = 0; k < 40000; k++) {
		struct buf line = {0};
		for (uint32_t i = draw(12); i > 0; i--)
			buf_c(&line, words[draw(sizeof words / sizeof *words)]);
		check_line(expected, buf_view(&line));
		buf_fini(&line);
	}
	free(expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_long_text),
		cmocka_unit_test(test_masks),
		cmocka_unit_test(test_against_plain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
