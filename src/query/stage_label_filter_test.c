/* SPDX-License-Identifier: Apache-2.0 */
#include "query/stage_rig.h"

/* Over {app="web", n="5", d="20ms", s="2KB", ip="10.1.2.3", bad="x"} and metadata {m="7"}. */
static const char *const labels =
	"{app=\"web\", n=\"5\", d=\"20ms\", s=\"2KB\", ip=\"10.1.2.3\", bad=\"x\", v6=\"2001:db8::1\"}";

static bool keeps(struct rig *g, const char *filter)
{
	return rig_query(g, filter, labels, "{m=\"7\"}", "line")[0] != 0;
}

static void holds(void **state)
{
	static const struct {
		const char *filter;
		bool keep;
	} rows[] = {
		{"| app=\"web\"", true},
		{"| app=\"we\"", false},
		{"| app!=\"web\"", false},
		{"| app=~\"w.*\"", true},
		{"| app=~\"e\"", false},
		{"| app!~\"w.*\"", false},
		{"| none=\"\"", true},
		{"| none!=\"\"", false},
		{"| none!=\"x\"", true},
		{"| none=~\".*\"", true},
		{"| m=\"7\"", true},
		{"| m>6", true},
		{"| n=5", true},
		{"| n==5.0", true},
		{"| n!=5", false},
		{"| n>5", false},
		{"| n>=5", true},
		{"| n<5", false},
		{"| n<=5", true},
		{"| n>-1", true},
		{"| none>5", false},
		{"| none!=5", false},
		{"| none<5", false},
		{"| d>19ms", true},
		{"| d>20ms", false},
		{"| d=0.02s", true},
		{"| d!=1h", true},
		{"| d<1us", false},
		{"| none>1ms", false},
		{"| s>1KB", true},
		{"| s=2000B", true},
		{"| s<2KiB", true},
		{"| s>=1MB", false},
		{"| none<1KB", false},
		{"| ip=ip(\"10.0.0.0/8\")", true},
		{"| ip=ip(\"11.0.0.0/8\")", false},
		{"| ip!=ip(\"10.0.0.0/8\")", false},
		{"| ip!=ip(\"10.1.2.4-10.1.2.9\")", true},
		{"| v6=ip(\"2001:db8::/32\")", true},
		{"| v6=ip(\"0.0.0.0/0\")", false},
		{"| bad=ip(\"0.0.0.0/0\")", false},
		{"| bad!=ip(\"0.0.0.0/0\")", true},
		{"| none=ip(\"0.0.0.0/0\")", false},
		{"| none!=ip(\"0.0.0.0/0\")", false},
		/* and, or, parentheses */
		{"| n=5 and app=\"web\"", true},
		{"| n=5 and app=\"x\"", false},
		{"| n=4 and app=\"web\"", false},
		{"| n=4 or app=\"web\"", true},
		{"| n=4 or app=\"x\"", false},
		{"| n=5, app=\"web\"", true},
		{"| n=5 app=\"x\"", false},
		{"| n=4 or (app=\"web\" and d>1ms)", true},
		{"| n=4 or (app=\"web\" and d>1s)", false},
		{"| (n=4 or app=\"web\") and d>1ms", true},
		{"| (n=4 or app=\"x\") and d>1ms", false},
		{"| (n=5 and app=\"x\") or (n=5 and app=\"web\")", true},
		{"| (n=5 or n=6) and (n=4 or n=3)", false},
		{"| (n=4 or (n=6 or (n=7 or n=5))) and s>1B", true},
		{"| ((((n=5))))", true},
	};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (keeps(&g, rows[i].filter) != rows[i].keep)
			fail_msg("%s", rows[i].filter);
	rig_fini(&g);
}

/* What cannot be read keeps the row, with an error that only a filter on it takes away. */
static void errors(void **state)
{
	static const struct {
		const char *filter, *details; /* NULL: dropped; "": kept without an error */
	} rows[] = {
		{"| bad>5", "strconv.ParseFloat: parsing \"x\": invalid syntax"},
		{"| d>5", "strconv.ParseFloat: parsing \"20ms\": invalid syntax"},
		{"| n>5ms", "time: missing unit in duration \"5\""},
		{"| bad>5ms", "time: invalid duration \"x\""},
		{"| s>5ms", "time: unknown unit \"KB\" in duration \"2KB\""},
		{"| d>5KB", "unhandled size name: ms"},
		{"| bad>5KB", "strconv.ParseFloat: parsing \"\": invalid syntax"},
		{"| bad!=5", "strconv.ParseFloat: parsing \"x\": invalid syntax"},
		{"| bad>5 | n>100", "strconv.ParseFloat: parsing \"x\": invalid syntax"},
		{"| bad>5 and n>100", "strconv.ParseFloat: parsing \"x\": invalid syntax"},
		{"| bad>5 and app=\"x\"", NULL},
		{"| bad>5 or app=\"x\"", "strconv.ParseFloat: parsing \"x\": invalid syntax"},
		{"| n=5 or bad>5", ""},
		{"| n=4 and bad>5", NULL},
		{"| bad>5 | __error__=\"\"", NULL},
		{"| bad>5 | __error__=\"LabelFilterErr\"",
			"strconv.ParseFloat: parsing \"x\": invalid syntax"},
		{"| bad>5 | __error__!=\"LabelFilterErr\"", NULL},
		{"| bad>5 | drop __error__, __error_details__", ""},
		{"| bad>5 | drop __error__ | n>100", NULL},
		{"| __error__=\"\"", ""},
	};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *got = rig_query(&g, rows[i].filter, labels, "{}", "line");
		struct str details = STR("");
		if (!rows[i].details) {
			if (got[0])
				fail_msg("%s: kept: %s", rows[i].filter, got);
			continue;
		}
		if (!got[0])
			fail_msg("%s: dropped", rows[i].filter);
		fields_get(g.fields, STR("__error_details__"), &details);
		if (!str_eq_c(details, rows[i].details))
			fail_msg("%s: %.*s", rows[i].filter, STR_ARG(details));
	}
	rig_fini(&g);
}

static void canonical(void **state)
{
	static const char *const rows[][2] = {
		{"| a = \"x\"", "| a=\"x\""},
		{"| a =~ `x+`, b > 5", "| a=~\"x+\" and b>5"},
		{"| a = 5", "| a==5"},
		{"| a >= -1.5 or b != 20MB or c < 5m", "| a>=-1.5 or b!=20MB or c<5m"},
		{"| (a=\"1\" or b=\"2\") and c=\"3\"", "| (a=\"1\" or b=\"2\") and c=\"3\""},
		{"| a=\"1\" or (b=\"2\" and c=\"3\")", "| a=\"1\" or (b=\"2\" and c=\"3\")"},
		{"| a=ip(\"::1\") and b!=ip(\"1.2.3.4\")",
			"| a=ip(\"::1\") and b!=ip(\"1.2.3.4\")"},
	};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_string_equal(rig_canonical(&g, rows[i][0]), rows[i][1]);
	rig_fini(&g);
}

/* A tree of any shape goes on at the same leaf as a walk through it would. */
static bool walk(const struct label_filter *f, unsigned values)
{
	if (f->kind == LABEL_FILTER_AND)
		return walk(f->left, values) && walk(f->right, values);
	if (f->kind == LABEL_FILTER_OR)
		return walk(f->left, values) || walk(f->right, values);
	return values >> (f->matcher.name.p[0] - 'a') & 1;
}

static const struct label_filter *grow(struct arena *a, uint64_t *seed, unsigned *n, unsigned depth)
{
	struct label_filter *f = ARENA_NEW(a, struct label_filter);

	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	if (depth == 0 || *n >= 7 || *seed >> 62 == 0) {
		f->kind = LABEL_FILTER_STRING;
		f->matcher = (struct matcher){.name = str_make(&"abcdefgh"[*n % 8], 1),
			.value = STR("1"),
			.op = MATCH_EQUAL};
		++*n;
		return f;
	}
	f->kind = *seed >> 40 & 1 ? LABEL_FILTER_AND : LABEL_FILTER_OR;
	f->left = grow(a, seed, n, depth - 1);
	f->right = grow(a, seed, n, depth - 1);
	return f;
}

static void trees(void **state)
{
	struct rig g;
	uint64_t seed = 42;

	(void)state;
	rig_init(&g);
	for (int i = 0; i < 100; i++) {
		unsigned n = 0;
		const struct label_filter *f = grow(&g.query.arena, &seed, &n, 4);
		struct stage *s = label_filter_new(&g.query, f);
		for (unsigned values = 0; values < 256; values += 3) {
			struct pipe_row row = rig_row(&g, "{}", "{}", STR(""));
			for (unsigned k = 0; k < 8; k++)
				if (values >> k & 1)
					fields_set(g.fields, str_make(&"abcdefgh"[k], 1), STR("1"));
			assert_int_equal(s->type->run(s, NULL, &row), walk(f, values));
		}
	}
	rig_fini(&g);
}

/* A chain of any length neither recurses nor overflows. */
static void long_chain(void **state)
{
	struct label_filter *leaf, *chain;
	struct pipe_row row;
	struct stage *s;
	struct rig g;

	(void)state;
	rig_init(&g);
	leaf = ARENA_NEW(&g.query.arena, struct label_filter);
	leaf->kind = LABEL_FILTER_STRING;
	leaf->matcher = (struct matcher){STR("a"), STR("1"), MATCH_EQUAL, NULL};
	chain = leaf;
	for (int i = 0; i < 200000; i++) {
		struct label_filter *both = ARENA_NEW(&g.query.arena, struct label_filter);
		both->kind = LABEL_FILTER_AND;
		both->left = i % 2 ? chain : leaf;
		both->right = i % 2 ? leaf : chain;
		chain = both;
	}
	s = label_filter_new(&g.query, chain);
	row = rig_row(&g, "{a=\"1\"}", "{}", STR(""));
	assert_int_equal(s->type->run(s, NULL, &row), 1);
	rig_format(&g, s);
	rig_fini(&g);
}

static void wanted_names(void **state)
{
	struct wanted nothing = {0}, w;
	struct query *q = NULL;

	(void)state;
	assert_int_equal(query_parse(&q, STR("{} | a=\"x\" or (b>5 and a!=\"y\")"), NULL), 0);
	w = stages_wanted(expr_log(q->root)->stages, &nothing);
	assert_int_equal(w.n, 2);
	assert_true(wanted_has(&w, STR("a")) && wanted_has(&w, STR("b")));
	assert_false(w.line);
	query_free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holds),
		cmocka_unit_test(errors),
		cmocka_unit_test(canonical),
		cmocka_unit_test(trees),
		cmocka_unit_test(long_chain),
		cmocka_unit_test(wanted_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
