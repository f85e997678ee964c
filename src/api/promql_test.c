/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/promql.h"
#include "os/clock.h"
#include "query/number.h"

#define T (INT64_C(1700000000) * NS_PER_SEC)

/* Each metric has two series; that of instance 0 grows by 10 in 15 s and restarts once, that of
 * instance 1 is its number of samples. */
enum { SAMPLES = 41, STEP_S = 15 };

static struct promql_sample samples[2][SAMPLES];
static char texts[2][200];
static struct promql_series series[2];

static void make_series(void)
{
	for (size_t k = 0; k < 2; k++) {
		struct labels_builder b = {0};
		struct buf labels = {0};
		assert_int_equal(labels_builder_set(&b, STR("source_id"), STR("app"), NULL), 0);
		labels_builder_set(&b, STR("instance_id"), k ? STR("1") : STR("0"), NULL);
		labels_builder_set(&b, STR("job"), STR("j"), NULL);
		labels_builder_write(&b, &labels);
		memcpy(texts[k], labels.p, labels.n);
		series[k] = (struct promql_series){.labels = str_make(texts[k], labels.n),
			.samples = samples[k],
			.n = SAMPLES};
		labels_builder_fini(&b);
		buf_fini(&labels);
	}
	for (int i = 0; i < SAMPLES; i++) {
		int64_t at = T + (i - (SAMPLES - 1)) * STEP_S * NS_PER_SEC;
		samples[0][i] = (struct promql_sample){at, i < 20 ? i * 10 : (i - 20) * 10};
		samples[1][i] = (struct promql_sample){at, i};
	}
}

/* "{a=…} 1 2 3; …" of a query over [start, end]. */
static const char *over(const char *text, int64_t start, int64_t end, int64_t step)
{
	static char shown[2000];
	struct promql_result res;
	struct promql *q;
	struct buf out = {0};
	struct error e;
	size_t n;

	make_series();
	if (promql_parse(&q, str_c(text), &e) < 0)
		return str_copy(str_c(e.text), shown, sizeof shown);
	struct promql_selector *s = promql_selectors(q, &n);
	for (size_t i = 0; i < n; i++) {
		s[i].series = series;
		s[i].n_series = 2;
	}
	if (promql_run(q, start, end, step, NULL, NULL, &res, &e) < 0) {
		promql_free(q);
		return str_copy(str_c(e.text), shown, sizeof shown);
	}
	for (size_t i = 0; i < res.n; i++) {
		buf_c(&out, i ? "; " : "");
		labels_text(&out, res.series[i].labels);
		for (size_t k = 0; k < res.series[i].n; k++) {
			buf_char(&out, ' ');
			number_put_f(&out, res.series[i].samples[k].value);
		}
	}
	str_copy(buf_view(&out), shown, sizeof shown);
	buf_fini(&out);
	promql_result_fini(&res);
	promql_free(q);
	return shown;
}

#define ZERO "{instance_id=\"0\", job=\"j\", source_id=\"app\"} "
#define ONE  "{instance_id=\"1\", job=\"j\", source_id=\"app\"} "

static void now_is(const char *text, const char *expected)
{
	assert_string_equal(over(text, T, T, 0), expected);
}

static void computes_numbers(void **state)
{
	now_is("1 + 2 * 3", "{} 7");
	now_is("(1 + 2) * 3", "{} 9");
	now_is("2 ^ 3 ^ 2", "{} 512");
	now_is("-2 ^ 2", "{} -4");
	now_is("10 - 4 - 3", "{} 3");
	now_is("7 % 4 / 2", "{} 1.5");
	now_is("1.5e2 + .5", "{} 150.5");
	now_is("1 < bool 2", "{} 1");
	now_is("- - 3", "{} 3");
}

static void selects_the_newest(void **state)
{
	now_is("m{source_id=\"app\"}", ZERO "200; " ONE "40");
	now_is("m offset 5m", ZERO "0; " ONE "20");
	/* Nothing is older than five minutes. */
	assert_string_equal(
		over("m", T + 299 * NS_PER_SEC, T + 299 * NS_PER_SEC, 0), ZERO "200; " ONE "40");
	assert_string_equal(over("m", T + 300 * NS_PER_SEC, T + 300 * NS_PER_SEC, 0), "");
	assert_string_equal(over("m", T - 30 * NS_PER_SEC, T, 15 * NS_PER_SEC),
		ZERO "180 190 200; " ONE "38 39 40");
}

static void folds_ranges(void **state)
{
	now_is("sum_over_time(m[1m])", ZERO "740; " ONE "154");
	now_is("avg_over_time(m[1m])", ZERO "185; " ONE "38.5");
	now_is("min_over_time(m[1m])", ZERO "170; " ONE "37");
	now_is("max_over_time(m[1m])", ZERO "200; " ONE "40");
	now_is("count_over_time(m[1m])", ZERO "4; " ONE "4");
	now_is("last_over_time(m[1m])", ZERO "200; " ONE "40");
	/* 30 within the 45 s between the samples, so 40 in the minute. */
	now_is("increase(m[1m])", ZERO "40; " ONE "4");
	now_is("delta(m[1m])", ZERO "40; " ONE "4");
	now_is("rate(m[1m])", ZERO "0.6666666666666666; " ONE "0.06666666666666667");
	/* The restart at half of it is no loss: 380 in 585 s. */
	now_is("increase(m[10m]) > 380", ZERO "389.7435897435897");
	now_is("rate(m[10s])", "");
}

static void aggregates(void **state)
{
	now_is("sum(m)", "{} 240");
	now_is("avg(m)", "{} 120");
	now_is("min(m)", "{} 40");
	now_is("max(m)", "{} 200");
	now_is("count(m)", "{} 2");
	now_is("sum by (instance_id) (m)", "{instance_id=\"0\"} 200; {instance_id=\"1\"} 40");
	now_is("sum(m) by (job, nope)", "{job=\"j\"} 240");
	now_is("sum without (instance_id) (m)", "{job=\"j\", source_id=\"app\"} 240");
	now_is("max(rate(m[1m])) * 60", "{} 40");
}

static void joins_and_compares(void **state)
{
	now_is("m + m", ZERO "400; " ONE "80");
	now_is("m / 2", ZERO "100; " ONE "20");
	now_is("2 * m", ZERO "400; " ONE "80");
	now_is("m > 100", ZERO "200");
	now_is("100 > m", ONE "40");
	now_is("m >= bool 100", ZERO "1; " ONE "0");
	now_is("m == 40", ONE "40");
	now_is("m - sum(m)", "");
	now_is("sum(m) - max(m)", "{} 40");
	now_is("abs(-m)", ZERO "200; " ONE "40");
	now_is("round(m / 3)", ZERO "67; " ONE "13");
	now_is("ceil(m / 3) - floor(m / 3)", ZERO "1; " ONE "1");
}

static void refused(const char *text, const char *words)
{
	const char *got = over(text, T, T, 0);

	if (!strstr(got, words))
		fail_msg("%s: \"%s\" lacks \"%s\"", text, got, words);
}

static void refuses(void **state)
{
	refused("", "an expression is missing");
	refused("m{", "the name of a label is missing");
	refused("m{a}", "one of = != =~ !~ is missing");
	refused("m{a=1}", "a string is missing");
	refused("m{a=\"x}", "the string has no end");
	refused("m{a=~\"(\"}", "error parsing regexp");
	refused("m[5m]", "range");
	refused("rate(m)", "wants a range");
	refused("sum(m[5m])", "a range is for functions");
	refused("m[5m] + 1", "a range is for functions");
	refused("m[x]", "a duration");
	refused("predict(m)", "\"predict\" is not supported");
	refused("m m", "this is not understood");
	refused("(m", "\")\" is missing");
	refused("abs(1)", "a function of a vector is given a number");
	refused("1x", "no number");
	refused("((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1",
		"too deeply");
	refused("1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1"
		"+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1",
		"too many operators");
	assert_non_null(strstr(over("1", T, T + 11000 * NS_PER_SEC, NS_PER_SEC), "11,000"));
}

static void matches(void **state)
{
	struct promql *q;
	size_t n;

	assert_int_equal(
		promql_parse(&q, STR("m{a=\"x\", b!='y', c=~`x|z.*`, d!~\"q\", e=\"\"} offset 1h"),
			NULL),
		0);
	const struct promql_selector *s = promql_selectors(q, &n);
	assert_int_equal(n, 1);
	assert_int_equal(s->n, 6);
	assert_int_equal(s->offset_ns, 3600 * NS_PER_SEC);
	assert_true(promql_wants(s, STR("__name__"), STR("m")));
	assert_false(promql_wants(s, STR("__name__"), STR("mm")));
	assert_true(promql_wants(s, STR("b"), STR("")));
	assert_false(promql_wants(s, STR("b"), STR("y")));
	assert_true(promql_wants(s, STR("c"), STR("zebra")));
	assert_false(promql_wants(s, STR("c"), STR("xx")));
	assert_false(promql_wants(s, STR("d"), STR("q")));
	assert_true(promql_wants(s, STR("e"), STR("")));
	assert_true(promql_wants(s, STR("other"), STR("anything")));
	promql_free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(computes_numbers),
		cmocka_unit_test(selects_the_newest),
		cmocka_unit_test(folds_ranges),
		cmocka_unit_test(aggregates),
		cmocka_unit_test(joins_and_compares),
		cmocka_unit_test(refuses),
		cmocka_unit_test(matches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
