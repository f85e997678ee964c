/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/lines/template.c"

static uint32_t put(struct template_table *t, struct str line, uint64_t *hash)
{
	struct token tokens[TOKEN_SLOTS_MAX];
	uint64_t own;
	int n = tokens_of(line, tokens, hash ? hash : &own);

	assert_true(n >= 0);
	return template_table_put(t, line, tokens, (size_t)n, hash ? *hash : own);
}

static void test_put(void **state)
{
	struct template_table *t = template_table_new();
	struct buf out = {0};
	uint32_t a = put(t, STR("login of user 7 from 10.0.0.1"), NULL);

	assert_int_equal(a, 1);
	assert_int_equal(put(t, STR("login of user 4711 from 192.168.1.20"), NULL), a);
	assert_int_equal(put(t, STR("login of user 4711 from 192.168.1.20 "), NULL), 2);
	assert_int_equal(put(t, STR("login of user 1234567890 from 192.168.1.20"), NULL), 3);
	assert_int_equal(put(t, STR("login of user 12345678901 from 192.168.1.20"), NULL), 4);
	assert_int_equal(put(t, STR(""), NULL), 5);
	assert_int_equal(put(t, STR("7"), NULL), 6);
	assert_int_equal(template_table_count(t), 6);
	template_print(template_table_get(t, a), &out);
	assert_string_equal(buf_cstr(&out), "login of user <_> from <_>.<_>.<_>.<_>");
	assert_int_equal(template_table_get(t, a)->n_slots, 5);
	template_table_clear(t);
	assert_int_equal(template_table_count(t), 0);
	assert_int_equal(put(t, STR("7"), NULL), 1);
	template_table_free(t);
	buf_fini(&out);
}

/* The key alone makes the same template, with the same hash as lines have. */
static void test_keys(void **state)
{
	struct template_table *t = template_table_new(), *other = template_table_new();
	static const char *const lines[] = {"", "x", "1", "a 1 b 22", "id=deadbeef01 0x12",
		"550e8400-e29b-41d4-a716-446655440000 ok", "1234567890123",
		"trace=ndl7Q4x9ZkT2vWp0"};

	for (uint32_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		uint64_t hash;
		uint32_t id = put(t, str_c(lines[i]), &hash);
		const struct template *made = template_table_get(t, id);
		struct template parsed;
		assert_int_equal(id, i + 1);
		assert_int_equal(template_parse(&parsed, made->key, NULL), 0);
		assert_int_equal(parsed.n_slots, made->n_slots);
		assert_true(str_eq(parsed.text, made->text));
		assert_true(template_hash(&parsed) == hash);
		template_fini(&parsed);
		assert_int_equal(template_table_put_key(t, made->key), id);
		assert_int_equal(template_table_put_key(other, made->key), id);
		assert_int_equal(put(other, str_c(lines[i]), NULL), id);
	}
	template_table_free(t);
	template_table_free(other);
}

static void test_damaged_keys(void **state)
{
	static const struct str keys[] = {
		STR_INIT(""),
		STR_INIT("\x80"),
		STR_INIT("\x80\x02"),          /* 256 slots */
		STR_INIT("\x01"),              /* no slot */
		STR_INIT("\x01\x00\x01"),      /* no width */
		STR_INIT("\x01\x00\x00\x00"),  /* no kind */
		STR_INIT("\x01\x00\x08\x00"),  /* no kind */
		STR_INIT("\x01\x00\x01\x01"),  /* a width that its kind has not */
		STR_INIT("\x01\x00\x02\x09x"), /* too narrow */
		STR_INIT("\x01\x00\x03\x05x"), /* too narrow */
		STR_INIT("\x01\x00\x03\x81x"), /* too wide */
		STR_INIT("\x01\x02\x01\x00x"), /* behind the text */
		STR_INIT("\x01\xff\xff\xff\xff\x7f\x01\x00x"),
	};
	struct template_table *t = template_table_new();
	struct template parsed;
	struct error e;

	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		assert_int_equal(template_parse(&parsed, keys[i], &e), ERR_CORRUPT);
		assert_int_equal(template_table_put_key(t, keys[i]), TEMPLATE_NONE);
	}
	assert_int_equal(template_parse(&parsed, STR("\x01\x01\x01\x00x"), &e), 0);
	template_fini(&parsed);
	template_table_free(t);
}

static uint32_t seed = 1;

static uint32_t draw(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)seed * n >> 32);
}

/* Lines of one template are those of one key and of one hash. */
static void test_hash(void **state)
{
	static const char *const words[] = {"a", "bb", " ", "1", "22", "x1", "deadbeef1", "0x1",
		"1234567890", "long constant text", "-", "fe80", "z9Z8z7Z6", "12345678901"};
	struct template_table *t = template_table_new();
	struct line {
		uint64_t hash;
		struct buf key;
		uint32_t id;
	} *lines = calloc(3000, sizeof *lines);
	struct token tokens[TOKEN_SLOTS_MAX];

	for (int i = 0; i < 3000; i++) {
		struct buf line = {0};
		for (uint32_t k = draw(5); k > 0; k--)
			buf_c(&line, words[draw(sizeof words / sizeof *words)]);
		if (!line.p)
			buf_reserve(&line, 1);
		int n = tokens_of(buf_view(&line), tokens, &lines[i].hash);
		make_key(&lines[i].key, buf_view(&line), tokens, (size_t)n);
		lines[i].id = put(t, buf_view(&line), NULL);
		assert_true(
			str_eq(template_table_get(t, lines[i].id)->key, buf_view(&lines[i].key)));
		buf_fini(&line);
	}
	for (int i = 0; i < 3000; i++) {
		for (int k = 0; k < i; k++) {
			bool same = str_eq(buf_view(&lines[i].key), buf_view(&lines[k].key));
			assert_int_equal(same, lines[i].hash == lines[k].hash);
			assert_int_equal(same, lines[i].id == lines[k].id);
		}
	}
	for (int i = 0; i < 3000; i++)
		buf_fini(&lines[i].key);
	free(lines);
	template_table_free(t);
}

/* "word word ...": a template for each number of the words a and b. */
static struct str distinct(uint32_t i, char *p)
{
	for (int k = 0; k < 20; k++)
		p[k] = i >> k & 1 ? 'a' : 'b';
	return str_make(p, 20);
}

static void test_limits(void **state)
{
	struct template_table *t = template_table_new();
	char line[20];

	for (uint32_t i = 0; i < TEMPLATES_MAX; i++)
		assert_int_equal(put(t, distinct(i, line), NULL), i + 1);
	assert_int_equal(put(t, distinct(TEMPLATES_MAX, line), NULL), TEMPLATE_NONE);
	assert_int_equal(put(t, distinct(7, line), NULL), 8);
	template_table_clear(t);
	template_table_limit(t, 10, SIZE_MAX);
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(put(t, distinct(i, line), NULL), i < 10 ? i + 1 : 0);
	template_table_clear(t);
	template_table_limit(t, TEMPLATES_MAX, 256 << 10);
	for (uint32_t i = 0; i < TEMPLATES_MAX; i++)
		put(t, distinct(i, line), NULL);
	assert_true(template_table_count(t) > 100);
	assert_true(template_table_bytes(t) < 512 << 10);
	template_table_free(t);
}

/* Lines that were made to collide end up without a template, and soon. */
static void test_collisions(void **state)
{
	struct template_table *t = template_table_new();
	uint32_t none = 0;
	char line[20];

	for (uint32_t i = 0; i < 10000; i++)
		none += template_table_put(t, distinct(i, line), NULL, 0, 42) == TEMPLATE_NONE;
	assert_int_equal(none, 10000 - PROBES_MAX);
	assert_int_equal(template_table_put(t, distinct(5, line), NULL, 0, 42), 6);
	template_table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_damaged_keys),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_collisions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
