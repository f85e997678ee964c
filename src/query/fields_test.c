/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "query/parser_rig.h"
#include "query/wanted.h"

static void row(struct parser_rig *r, const char *labels, const char *meta, const char *level)
{
	rig_canonical(&r->labels, labels);
	rig_canonical(&r->meta, meta);
	fields_begin(r->fields, buf_view(&r->labels), buf_view(&r->meta), level);
}

static void expect(struct parser_rig *r, const char *name, const char *value)
{
	struct str v = STR("untouched");
	bool there = fields_get(r->fields, str_c(name), &v);

	if (there != (value != NULL) || !str_eq_c(v, there ? value : "untouched"))
		fail_msg("%s is %.*s, not %s", name, STR_ARG(v), value ? value : "absent");
}

static const char *kind_text(struct parser_rig *r, enum field_kind kind)
{
	struct buf set = {0};

	fields_write(r->fields, kind, &set);
	assert_int_equal(kind == FIELD_PARSED ? 0 : labels_check(buf_view(&set), NULL), 0);
	buf_clear(&r->text);
	labels_text(&r->text, buf_view(&set));
	buf_fini(&set);
	return buf_cstr(&r->text);
}

static const char *projected(struct parser_rig *r, enum group_kind kind, const char *names)
{
	struct str list[8], rest = str_c(names);
	struct grouping g = {.kind = kind, .names = list};
	struct buf set = {0};

	while (rest.n)
		list[g.n++] = str_cut(&rest, ' ');
	buf_char(&set, 'x'); /* what is there stays */
	fields_project(r->fields, &g, &set);
	assert_int_equal(set.p[0], 'x');
	assert_int_equal(labels_check(str_make(set.p + 1, set.n - 1), NULL), 0);
	buf_clear(&r->text);
	labels_text(&r->text, str_make(set.p + 1, set.n - 1));
	buf_fini(&set);
	return buf_cstr(&r->text);
}

static void kinds(void **state)
{
	enum field_kind kind;
	struct parser_rig r;
	struct str v;

	(void)state;
	rig_init(&r);
	row(&r, "{app=\"x\", both=\"s\", z=\"1\"}", "{both=\"m\", trace=\"t\"}", "info");
	assert_false(fields_changed(r.fields));
	expect(&r, "app", "x");
	expect(&r, "both", "m");
	expect(&r, "detected_level", "info");
	expect(&r, "none", NULL);
	expect(&r, "", NULL);
	assert_true(fields_find(r.fields, STR("both"), &v, &kind) && kind == FIELD_META);
	assert_true(fields_find(r.fields, STR("app"), &v, &kind) && kind == FIELD_STREAM);
	assert_string_equal(rig_all(&r),
		"{app=\"x\", both=\"m\", detected_level=\"info\", trace=\"t\", z=\"1\"}");
	assert_true(fields_parsed(r.fields, STR("p"), STR("q")));
	assert_true(fields_changed(r.fields));
	assert_true(fields_find(r.fields, STR("p"), &v, &kind) && kind == FIELD_PARSED);
	assert_true(fields_parsed(r.fields, STR("both"), STR("line")));
	assert_true(fields_parsed(r.fields, STR("trace"), STR("line")));
	expect(&r, "both", "m");
	expect(&r, "both_extracted", "line");
	assert_string_equal(kind_text(&r, FIELD_STREAM), "{app=\"x\", both=\"s\", z=\"1\"}");
	assert_string_equal(
		kind_text(&r, FIELD_META), "{both=\"m\", detected_level=\"info\", trace=\"t\"}");
	assert_string_equal(kind_text(&r, FIELD_PARSED),
		"{both_extracted=\"line\", p=\"q\", trace_extracted=\"line\"}");
	assert_string_equal(rig_all(&r),
		"{app=\"x\", both=\"m\", both_extracted=\"line\", detected_level=\"info\", p=\"q\", "
		"trace=\"t\", trace_extracted=\"line\", z=\"1\"}");
	rig_fini(&r);
}

static void metadata_level(void **state)
{
	struct parser_rig r;

	(void)state;
	rig_init(&r);
	row(&r, "{}", "{detected_level=\"mine\", z=\"1\"}", "info");
	assert_string_equal(kind_text(&r, FIELD_META), "{detected_level=\"mine\", z=\"1\"}");
	row(&r, "{}", "{z=\"1\"}", "info");
	assert_string_equal(kind_text(&r, FIELD_META), "{detected_level=\"info\", z=\"1\"}");
	row(&r, "{}", "{a=\"1\"}", "info");
	assert_string_equal(kind_text(&r, FIELD_META), "{a=\"1\", detected_level=\"info\"}");
	row(&r, "{}", "{a=\"1\"}", NULL);
	assert_string_equal(kind_text(&r, FIELD_META), "{a=\"1\"}");
	/* Rows without bytes at all. */
	fields_begin(r.fields, STR_NONE, STR_NONE, NULL);
	assert_string_equal(rig_all(&r), "{}");
	fields_begin(r.fields, STR_NONE, STR_NONE, "warn");
	assert_string_equal(rig_all(&r), "{detected_level=\"warn\"}");
	rig_fini(&r);
}

static void sets_and_removes(void **state)
{
	struct parser_rig r;

	(void)state;
	rig_init(&r);
	row(&r, "{app=\"x\", both=\"s\"}", "{both=\"m\"}", NULL);
	fields_remove(r.fields, STR("none"));
	assert_false(fields_changed(r.fields));
	fields_remove(r.fields, STR("both"));
	assert_true(fields_changed(r.fields));
	expect(&r, "both", NULL); /* the stream's does not come forth */
	assert_string_equal(rig_all(&r), "{app=\"x\"}");
	assert_string_equal(kind_text(&r, FIELD_STREAM), "{app=\"x\"}");
	/* What is gone stands in nobody's way. */
	assert_true(fields_parsed(r.fields, STR("both"), STR("line")));
	expect(&r, "both", "line");
	assert_true(fields_set(r.fields, STR("app"), STR("y")));
	expect(&r, "app", "y");
	assert_string_equal(kind_text(&r, FIELD_STREAM), "{}");
	assert_string_equal(kind_text(&r, FIELD_PARSED), "{app=\"y\", both=\"line\"}");
	/* The stream has it all the same. */
	assert_true(fields_parsed(r.fields, STR("app"), STR("line")));
	expect(&r, "app_extracted", "line");
	fields_remove(r.fields, STR("app"));
	expect(&r, "app", NULL);
	assert_true(fields_set(r.fields, STR("app"), STR("z")));
	expect(&r, "app", "z");
	/* The first of parsed values stays, a set one replaces. */
	assert_true(fields_parsed(r.fields, STR("p"), STR("1")));
	assert_true(fields_parsed(r.fields, STR("p"), STR("2")));
	expect(&r, "p", "1");
	assert_true(fields_set(r.fields, STR("p"), STR("3")));
	expect(&r, "p", "3");
	/* A renamed one replaces a stream's label of that very name. */
	row(&r, "{a=\"1\", a_extracted=\"2\"}", "{}", NULL);
	assert_true(fields_parsed(r.fields, STR("a"), STR("3")));
	assert_string_equal(rig_all(&r), "{a=\"1\", a_extracted=\"3\"}");
	rig_fini(&r);
}

static bool keep_short(void *ctx, struct str name, struct str value)
{
	++*(size_t *)ctx;
	return name.n == 1;
}

static void filters(void **state)
{
	struct parser_rig r;
	size_t called = 0;

	(void)state;
	rig_init(&r);
	row(&r, "{a=\"1\", app=\"x\", m=\"0\"}", "{m=\"2\", meta=\"y\"}", NULL);
	fields_parsed(r.fields, STR("p"), STR("3"));
	fields_parsed(r.fields, STR("parsed"), STR("z"));
	fields_filter(r.fields, keep_short, &called);
	assert_int_equal(called, 6);
	assert_string_equal(rig_all(&r), "{a=\"1\", m=\"2\", p=\"3\"}");
	rig_fini(&r);
}

static void errors(void **state)
{
	struct parser_rig r;
	char longest[2000];

	(void)state;
	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = 0;
	rig_init(&r);
	row(&r, "{a=\"1\"}", "{}", NULL);
	assert_false(fields_failed(r.fields));
	fields_fail(r.fields, "JSONParserErr", "at %d", 7);
	fields_fail(r.fields, "OtherErr", "not told");
	assert_true(fields_failed(r.fields) && fields_changed(r.fields));
	assert_string_equal(
		rig_all(&r), "{__error__=\"JSONParserErr\", __error_details__=\"at 7\", a=\"1\"}");
	assert_memory_equal(fields_text(r.fields, 4), "", 0);
	expect(&r, "__error_details__", "at 7"); /* its text is not given out again */
	fields_remove(r.fields, STR("__error__"));
	assert_false(fields_failed(r.fields));
	fields_fail(r.fields, "OtherErr", "%s", longest);
	expect(&r, "__error__", "OtherErr");
	longest[511] = 0;
	expect(&r, "__error_details__", longest);
	row(&r, "{a=\"1\"}", "{}", NULL);
	assert_false(fields_failed(r.fields));
	/* A line cannot make one. */
	fields_parsed(r.fields, STR("__error__"), STR("x"));
	expect(&r, "__error__", NULL);
	/* There is room for it in a full row. */
	for (int i = 0; i < FIELDS_MAX + 5; i++) {
		char *p = fields_text(r.fields, 8);
		int n = sprintf(p, "k%d", i);
		assert_int_equal(fields_parsed(r.fields, str_make(p, (size_t)n), STR("v")),
			i < FIELDS_MAX - 1);
	}
	assert_false(fields_set(r.fields, STR("new"), STR("v")));
	assert_true(fields_set(r.fields, STR("k3"), STR("w")));
	expect(&r, "k3", "w");
	expect(&r, "k1022", "v");
	expect(&r, "k1023", NULL);
	fields_fail(r.fields, "E", "d");
	expect(&r, "__error__", "E");
	rig_fini(&r);
}

static void pushes(void **state)
{
	struct parser_rig r;
	struct str v;

	(void)state;
	rig_init(&r);
	row(&r, "{a=\"1\", b=\"2\"}", "{m=\"3\"}", NULL);
	fields_push(r.fields);
	fields_remove(r.fields, STR("a"));
	fields_remove(r.fields, STR("m"));
	for (int i = 0; i < 100; i++) {
		char *p = fields_text(r.fields, 8);
		fields_parsed(r.fields, str_make(p, (size_t)sprintf(p, "k%d", i)), STR("v"));
	}
	fields_push(r.fields);
	fields_fail(r.fields, "E", "d");
	fields_set(r.fields, STR("k50"), STR("w"));
	fields_set(r.fields, STR("new"), STR("w"));
	fields_pop(r.fields);
	assert_false(fields_failed(r.fields));
	expect(&r, "k50", "v");
	expect(&r, "k99", "v");
	expect(&r, "new", NULL);
	expect(&r, "a", NULL);
	fields_pop(r.fields);
	assert_false(fields_changed(r.fields));
	assert_false(fields_get(r.fields, STR("k1"), &v));
	assert_string_equal(rig_all(&r), "{a=\"1\", b=\"2\", m=\"3\"}");
	/* What was there before keeps its error. */
	fields_fail(r.fields, "E", "d");
	fields_push(r.fields);
	fields_remove(r.fields, STR("__error__"));
	assert_false(fields_failed(r.fields));
	fields_pop(r.fields);
	assert_true(fields_failed(r.fields));
	rig_fini(&r);
}

static void projects(void **state)
{
	struct parser_rig r;

	(void)state;
	rig_init(&r);
	row(&r, "{a=\"1\", b=\"2\"}", "{m=\"3\"}", "info");
	fields_parsed(r.fields, STR("p"), STR("4"));
	fields_parsed(r.fields, STR("empty"), STR(""));
	assert_string_equal(projected(&r, GROUP_BY, ""), "{}");
	assert_string_equal(
		projected(&r, GROUP_BY, "b empty m none p"), "{b=\"2\", m=\"3\", p=\"4\"}");
	assert_string_equal(
		projected(&r, GROUP_WITHOUT, "b m"), "{a=\"1\", detected_level=\"info\", p=\"4\"}");
	assert_string_equal(projected(&r, GROUP_WITHOUT, ""),
		"{a=\"1\", b=\"2\", detected_level=\"info\", m=\"3\", p=\"4\"}");
	rig_fini(&r);
}

/* Names of all lengths, many of them alike in front, in any order. */
static void orders(void **state)
{
	static const char *const spelled[] = {"b", "a", "ab", "abc", "abcd", "abcde", "abcdef",
		"abcdefg", "abcdefgh", "abcdefghi", "abcdefgi", "abcdz", "aa", "_", "Z", "abd",
		"abcdefghij"};
	enum { N = sizeof spelled / sizeof *spelled };
	struct parser_rig r;

	(void)state;
	rig_init(&r);
	for (size_t first = 0; first < N; first++) {
		struct buf set = {0};
		struct str at, last = STR("");
		struct label l;
		row(&r, "{abcdeff=\"1\", abcc=\"2\", host=\"3\"}", "{abcdefg_=\"4\", m=\"5\"}",
			NULL);
		for (size_t i = 0; i < N; i++)
			fields_parsed(r.fields, str_c(spelled[(first + i * 5) % N]), STR("v"));
		/* Twice: with and without the order of before. */
		for (int round = 0; round < 2; round++) {
			buf_clear(&set);
			fields_write_all(r.fields, &set);
			assert_int_equal(labels_check(buf_view(&set), NULL), 0);
			at = buf_view(&set);
			assert_int_equal(labels_start(&at), N + 5);
			for (last = STR(""); labels_next(&at, &l); last = l.name)
				assert_true(str_cmp(last, l.name) < 0);
		}
		buf_fini(&set);
	}
	rig_fini(&r);
}

/* More labels than one byte can count. */
static void projects_many(void **state)
{
	static const struct grouping all = {.kind = GROUP_WITHOUT};
	struct buf set = {0}, whole = {0};
	struct parser_rig r;

	(void)state;
	rig_init(&r);
	row(&r, "{z=\"1\"}", "{}", NULL);
	for (int i = 0; i < 300; i++) {
		char *p = fields_text(r.fields, 8);
		fields_parsed(r.fields, str_make(p, (size_t)sprintf(p, "k%d", i)), STR("v"));
	}
	fields_project(r.fields, &all, &set);
	fields_write_all(r.fields, &whole);
	assert_int_equal(labels_count(buf_view(&set)), 301);
	assert_true(str_eq(buf_view(&set), buf_view(&whole)));
	buf_fini(&set);
	buf_fini(&whole);
	rig_fini(&r);
}

/* Many streams and rows: what is kept of a stream is never that of another. */
static void streams(void **state)
{
	struct account a;
	struct parser_rig r;

	(void)state;
	account_init(&a, "test", UINT64_MAX, NULL);
	rig_init(&r);
	fields_free(r.fields);
	r.fields = fields_new(&a);
	for (int i = 0; i < 2000; i++) {
		char labels[100], value[20];
		int n = i * 7 % 150;
		snprintf(value, sizeof value, "v%d", n);
		snprintf(labels, sizeof labels, "{app=\"v%d\", host=\"h%d\"}", n, n % 10);
		row(&r, labels, "{}", NULL);
		expect(&r, "app", value);
		fields_text(r.fields, (size_t)(i % 50) * 1000);
	}
	assert_true(account_held(&a) > 0 && account_held(&a) < 4 << 20);
	rig_fini(&r);
	assert_int_equal(account_held(&a), 0);
}

static void names(void **state)
{
	static const struct {
		const char *raw, *name;
	} rows[] = {{"a", "a"}, {"a.b", "a_b"}, {"1", "_1"}, {"a1", "a1"}, {"", ""},
		{"d\xc3\xa9j\xc3\xa0", "d_j_"}, {"\xa9", "_"}, {"\xff\xa9x", "_x"}, {"a\xa9", "a_"},
		{"\xf0\x9f\x98\x80", "_"}, {"a:b", "a_b"}, {"_", "_"}};
	struct wanted w = {0};
	struct str targets[WANTED_TARGETS_MAX];
	char many[WANTED_MAX][8];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str raw = str_c(rows[i].raw), name = str_c(rows[i].name);
		char made[64];
		assert_int_equal(label_name_length(raw, true), name.n);
		label_name_make(made, raw, true);
		assert_memory_equal(made, name.p, name.n);
		assert_true(label_name_is(name, raw, true));
		assert_false(label_name_is(STR("other"), raw, true));
		assert_false(raw.n && label_name_is(str_sub(name, 0, name.n - 1), raw, true));
	}
	wanted_add(&w, STR("a"));
	wanted_add(&w, STR("a"));
	wanted_add(&w, STR("b_extracted"));
	wanted_add(&w, STR("a_extracted"));
	wanted_add(&w, STR("__error__"));
	wanted_add(&w, STR("_extracted"));
	assert_true(wanted_has(&w, STR("b")) && wanted_has(&w, STR("b_extracted")));
	assert_false(wanted_has(&w, STR("c")));
	assert_int_equal(wanted_targets(&w, targets), 5);
	wanted_remove(&w, STR("a"));
	assert_int_equal(w.n, 4);
	for (int i = 0; i < WANTED_MAX; i++) {
		snprintf(many[i], sizeof many[i], "n%d", i);
		wanted_add(&w, str_c(many[i]));
	}
	assert_true(w.all && wanted_has(&w, STR("anything")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds),
		cmocka_unit_test(metadata_level),
		cmocka_unit_test(sets_and_removes),
		cmocka_unit_test(filters),
		cmocka_unit_test(errors),
		cmocka_unit_test(pushes),
		cmocka_unit_test(projects),
		cmocka_unit_test(orders),
		cmocka_unit_test(projects_many),
		cmocka_unit_test(streams),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
