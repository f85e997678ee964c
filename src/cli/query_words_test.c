/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/query_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "query/ast.h"

static const struct {
	const char *before;
	enum query_place place;
	const char *word, *label;
} cases[] = {
	{"", PLACE_START, "", ""},
	{"su", PLACE_START, "su", ""},
	{"sum(ra", PLACE_START, "ra", ""},
	{"{", PLACE_LABEL, "", ""},
	{"{ap", PLACE_LABEL, "ap", ""},
	{"{app=\"a\", ho", PLACE_LABEL, "ho", ""},
	{"{app=", PLACE_NONE, "", ""},
	{"{app=\"", PLACE_VALUE, "", "app"},
	{"{app=\"bil", PLACE_VALUE, "bil", "app"},
	{"{app!=\"x\", host =~ \"we", PLACE_VALUE, "we", "host"},
	{"{app=`bi", PLACE_VALUE, "bi", "app"},
	{"{app=\"a\\\"b", PLACE_VALUE, "a\\\"b", "app"},
	{"{app=\"a\"} |= \"x", PLACE_NONE, "", ""},
	{"{app=\"a\"} | js", PLACE_STAGE, "js", ""},
	{"{app=\"a\"} |", PLACE_STAGE, "", ""},
	{"{app=\"a\"} |= \"|\" ", PLACE_NONE, "", ""},
	{"sum by (a", PLACE_LABEL, "a", ""},
	{"sum by (app, ", PLACE_LABEL, "", ""},
	{"sum by (app) (ra", PLACE_START, "ra", ""},
	{"sum(rate({", PLACE_LABEL, "", ""},
	{"topk(10, su", PLACE_START, "su", ""},
	{"x / on (", PLACE_LABEL, "", ""},
};

static void finds_the_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct query_spot spot = query_spot(str_c(cases[i].before));

		if (spot.place != cases[i].place || !str_eq_c(spot.word, cases[i].word) ||
			!str_eq_c(spot.label, cases[i].label))
			fail_msg("%s: place %d, word \"%.*s\", label \"%.*s\"", cases[i].before,
				spot.place, STR_ARG(spot.word), STR_ARG(spot.label));
	}
}

static void has_words(void **state)
{
	(void)state;
	assert_string_equal(query_words(PLACE_STAGE)[0], "context ");
	assert_string_equal(query_words(PLACE_START)[0], "{");
	assert_null(query_words(PLACE_LABEL)[0]);
}

static bool offers(enum query_place place, struct str name)
{
	for (const char *const *w = query_words(place); *w; w++) {
		struct str word = str_c(*w);
		if (str_starts(word, name) && (word.n == name.n || strchr(" (", word.p[name.n])))
			return true;
	}
	return false;
}

/* A function that the language learns is offered as well. */
static void offers_the_language(void **state)
{
	const char *name;

	(void)state;
	for (unsigned i = 0; (name = range_function_name(i)); i++)
		assert_true(offers(PLACE_START, str_c(name)));
	for (unsigned i = 0; (name = vector_function_name(i)); i++)
		assert_true(offers(PLACE_START, str_c(name)));
	for (unsigned i = 0; (name = reshape_kind_name(i)); i++)
		assert_true(offers(PLACE_STAGE, str_c(name)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_place),
		cmocka_unit_test(has_words),
		cmocka_unit_test(offers_the_language),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
