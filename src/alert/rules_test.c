/* SPDX-License-Identifier: Apache-2.0 */
#include "alert/rules.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/clock.h"

static const char group_text[] =
	"name: shop\n"
	"interval: 1m\n"
	"rules:\n"
	"    - alert: Errors\n"
	"      expr: \"sum(rate({app=\\\"shop\\\"} |= \\\"error\\\" [5m]))\"\n"
	"      for: 10m\n"
	"      labels:\n"
	"          severity: page\n"
	"          quoted: \"yes\"\n"
	"      annotations:\n"
	"          summary: \"{{ $labels.app }} ${HOME} $$\"\n"
	"    - record: shop:errors\n"
	"      expr: \"sum(rate({app=\\\"shop\\\"}[5m]))\"\n";

static void test_group_reads_back(void **state)
{
	struct rule_group g;
	struct buf text = {0};
	struct arena a;
	struct error e;

	arena_init(&a, NULL);
	assert_int_equal(rule_group_parse(&g, str_c(group_text), &a, &e), 0);
	assert_int_equal(g.n, 2);
	assert_int_equal(g.interval_ns, 60 * NS_PER_SEC);
	assert_int_equal(g.rules[0].for_ns, 600 * NS_PER_SEC);
	assert_true(g.rules[0].alerts && !g.rules[1].alerts);
	/* Nothing of our environment. */
	assert_true(str_eq_c(g.rules[0].annotations[0].value, "{{ $labels.app }} ${HOME} $$"));
	rule_group_write(&g, 0, false, &text);
	assert_string_equal(buf_cstr(&text), group_text);
	buf_fini(&text);
	arena_fini(&a);
}

/* What YAML takes for the end of a line, or not at all, where JSON holds it. */
static void test_characters_read_back(void **state)
{
	static const char name[] =
		"\"a \\u2028 b\\u2029\\u0085\\u009b\\u007f\\ufeff\\uffff\\u00a0\\t\\n\\r "
		"\xc3\xa9\xf0\x9f\x98\x80\"";
	struct rule_group g, again;
	struct buf yaml = {0}, text = {0};
	struct arena a;
	struct error e;

	arena_init(&a, NULL);
	buf_printf(&yaml,
		"name: %s\nrules: [{alert: %s, expr: 'rate({a=\"b\"}[1m])', "
		"annotations: {x: %s}}]",
		name, name, name);
	assert_int_equal(rule_group_parse(&g, buf_view(&yaml), &a, &e), 0);
	assert_true(str_starts(g.name, STR("a \xe2\x80\xa8 b\xe2\x80\xa9\xc2\x85\xc2\x9b\x7f")));
	rule_group_write(&g, 4, true, &text);
	buf_clear(&yaml);
	buf_c(&yaml, "groups:\n");
	buf_str(&yaml, buf_view(&text));
	struct rule_group *all;
	size_t n;
	assert_int_equal(rule_groups_parse(&all, &n, buf_view(&yaml), &a, &e), 0);
	again = all[0];
	assert_true(str_eq(again.name, g.name));
	assert_true(str_eq(again.rules[0].name, g.name));
	assert_true(str_eq(again.rules[0].annotations[0].value, g.name));
	buf_fini(&yaml);
	buf_fini(&text);
	arena_fini(&a);
}

static void test_labels_of_a_group(void **state)
{
	static const char in[] =
		"name: g\nlabels: {team: core, severity: info}\nquery_offset: 90s\n"
		"rules:\n"
		"    - {alert: A, expr: 'rate({a=\"b\"}[1m])', labels: {severity: page}}\n"
		"    - {record: b, expr: 'rate({a=\"b\"}[1m])'}\n",
			  out[] = "name: g\nquery_offset: 1m30s\nrules:\n"
				  "    - alert: A\n"
				  "      expr: \"rate({a=\\\"b\\\"}[1m])\"\n"
				  "      labels:\n"
				  "          team: core\n"
				  "          severity: page\n"
				  "    - record: b\n"
				  "      expr: \"rate({a=\\\"b\\\"}[1m])\"\n"
				  "      labels:\n"
				  "          team: core\n"
				  "          severity: info\n";
	struct rule_group g;
	struct buf text = {0};
	struct arena a;
	struct error e;

	arena_init(&a, NULL);
	assert_int_equal(rule_group_parse(&g, str_c(in), &a, &e), 0);
	assert_int_equal(g.offset_ns, 90 * NS_PER_SEC);
	rule_group_write(&g, 0, false, &text);
	assert_string_equal(buf_cstr(&text), out);
	buf_fini(&text);
	arena_fini(&a);
}

static void test_files_for_lokis_tools(void **state)
{
	static const char *const bad[] = {
		"namespace: n", "groups: []\nother: 1", "namespace: []\ngroups: []", "[]"};
	struct rule_group *all;
	struct arena a;
	struct error e;
	size_t n;

	arena_init(&a, NULL);
	assert_int_equal(rule_groups_parse(&all, &n,
				 STR("namespace: n\ngroups: [{name: g, rules: []}]"), &a, &e),
		0);
	assert_int_equal(n, 1);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(rule_groups_parse(&all, &n, str_c(bad[i]), &a, &e), ERR_ARG);
	arena_fini(&a);
}

static void refused(const char *yaml, const char *word)
{
	struct rule_group g;
	struct arena a;
	struct error e = {0};

	arena_init(&a, NULL);
	assert_int_equal(rule_group_parse(&g, str_c(yaml), &a, &e), ERR_ARG);
	if (!strstr(e.text, word))
		fail_msg("%s: \"%s\" has no \"%s\"", yaml, e.text, word);
	arena_fini(&a);
}

static void test_refusals(void **state)
{
	refused("", "nothing");
	refused("[1", "YAML");
	refused("rules: []", "name");
	refused("name: a\nruels: []", "line 2, column");
	refused("name: a\nrules: [{expr: 'rate({a=\"b\"}[1m])'}]", "alert and record");
	refused("name: a\nrules: [{alert: x}]", "expr");
	refused("name: a\nquery_offset: 31d\nrules: []", "30d");
	refused("name: a\nlabels: {'a b': c}\nrules: []", "letters");
	refused("name: a\nrules: [{alert: x, expr: '{a=\"b\"}'}]", "metric query");
	refused("name: a\nrules: [{alert: x, expr: 'rate('}]", "parse error");
	refused("name: a\nrules: [{alert: x, record: y, expr: 'rate({a=\"b\"}[1m])'}]", "only one");
	refused("name: a\nrules: [{record: 'a b', expr: 'rate({a=\"b\"}[1m])'}]", "metric");
	refused("name: a\nrules: [{record: ab, for: 1m, expr: 'rate({a=\"b\"}[1m])'}]",
		"only alerts");
	refused("name: a\nrules: [{alert: x, for: soon, expr: 'rate({a=\"b\"}[1m])'}]", "duration");
	refused("name: a\nrules: [{alert: x, labels: {'a b': c}, expr: 'rate({a=\"b\"}[1m])'}]",
		"letters");
}

static void count_one(void *ctx, struct str space, const struct rule_group *g)
{
	struct buf *seen = ctx;

	buf_printf(seen, "%.*s/%.*s:%zu ", STR_ARG(space), STR_ARG(g->name), g->n);
}

static void has(struct rules *r, const char *tenant, const char *want)
{
	struct buf seen = {0};

	rules_each(r, str_c(tenant), STR_NONE, STR_NONE, count_one, &seen);
	assert_string_equal(buf_cstr(&seen), want);
	buf_fini(&seen);
}

static void reopen(struct rules **r, const char *dir)
{
	struct error e;

	rules_close(*r);
	assert_int_equal(rules_open(r, fs_real(), dir, &e), 0);
}

static void test_kept_on_disk(void **state)
{
	char root[] = "/tmp/rules_test.XXXXXX", dir[100], path[200];
	struct rules *r = NULL;
	struct error e;

	assert_non_null(mkdtemp(root));
	snprintf(dir, sizeof dir, "%s/rules", root);
	reopen(&r, dir);
	has(r, "default", "");
	assert_int_equal(rules_put(r, STR("default"), STR("a/b.."), str_c(group_text), &e), 0);
	assert_int_equal(
		rules_put(r, STR("default"), STR("a/b.."), STR("name: two\nrules: []"), &e), 0);
	assert_int_equal(rules_put(r, STR("other"), STR("x"), STR("name: two\nrules: []"), &e), 0);
	/* One of the same name takes its place. */
	assert_int_equal(
		rules_put(r, STR("default"), STR("a/b.."), STR("name: shop\nrules: []"), &e), 0);
	for (int i = 0; i < 2; i++) {
		has(r, "default", "a/b../shop:0 a/b../two:0 ");
		has(r, "other", "x/two:0 ");
		reopen(&r, dir);
	}
	assert_int_equal(rules_delete(r, STR("default"), STR("a/b.."), STR("shop"), &e), 0);
	assert_int_equal(
		rules_delete(r, STR("default"), STR("a/b.."), STR("shop"), &e), ERR_NOT_FOUND);
	has(r, "default", "a/b../two:0 ");
	assert_int_equal(rules_delete(r, STR("default"), STR("a/b.."), STR_NONE, &e), 0);
	assert_int_equal(
		rules_delete(r, STR("default"), STR("a/b.."), STR_NONE, &e), ERR_NOT_FOUND);
	reopen(&r, dir);
	has(r, "default", "");
	/* A damaged file is not written over. */
	snprintf(path, sizeof path, "%s/other/x.yaml", dir);
	assert_int_equal(fs_write_all(fs_real(), path, STR("groups: {"), &e), 0);
	reopen(&r, dir);
	has(r, "other", "");
	assert_int_equal(
		rules_put(r, STR("other"), STR("x"), STR("name: y\nrules: []"), &e), ERR_CORRUPT);
	assert_int_equal(rules_delete(r, STR("other"), STR("x"), STR_NONE, &e), 0);
	assert_int_equal(rules_put(r, STR("other"), STR("x"), STR("name: y\nrules: []"), &e), 0);
	rules_close(r);
	fs_unlink(fs_real(), path, &e);
	for (const char *const *d = (const char *const[]){"/other", "/default", "", NULL}; *d;
		d++) {
		snprintf(path, sizeof path, "%s%s", dir, *d);
		assert_int_equal(fs_unlink(fs_real(), path, &e), 0);
	}
	assert_int_equal(fs_unlink(fs_real(), root, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_group_reads_back),
		cmocka_unit_test(test_characters_read_back),
		cmocka_unit_test(test_labels_of_a_group),
		cmocka_unit_test(test_files_for_lokis_tools),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_kept_on_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
