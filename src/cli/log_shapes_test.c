/* SPDX-License-Identifier: Apache-2.0 */
/* The shapes of lines, byte for byte. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <time.h>

#include "cli/log_shapes.h"

struct given {
	const char *labels[8]; /* name, value, …, NULL */
	const char *line;
};

static const int64_t when = 1468969692003000000; /* 2016-07-19T23:08:12.003Z */

static void check(enum log_shape shape, bool colour, const struct given *g, const char *want)
{
	struct log_style style = {
		.shape = shape, .colour = colour, .escape = colour, .app = STR("private-app")};
	struct labels_builder b = {.names_free = true};
	struct buf labels = {0}, out = {0};

	for (size_t i = 0; g->labels[i]; i += 2)
		assert_int_equal(
			labels_builder_set(&b, str_c(g->labels[i]), str_c(g->labels[i + 1]), NULL),
			0);
	labels_builder_write(&b, &labels);
	log_shape_put(&out, &style,
		&(struct print_entry){
			.timestamp = when, .labels = buf_view(&labels), .line = str_c(g->line)});
	assert_string_equal(buf_cstr(&out), want);
	labels_builder_fini(&b);
	buf_fini(&labels);
	buf_fini(&out);
}

static const struct given plain = {
	{"source", "APP/PROC/WEB/12", "message_type", "OUT"}, "This is a log message\r\n"};
static const struct given wrong = {{"source", "App/0", "message_type", "ERR"}, "one\r\ntwo\n\nend"};

static void test_today(void **state)
{
	(void)state;
	check(SHAPE_TODAY, false, &plain,
		"   2016-07-19T16:08:12.00-0700 [APP/PROC/WEB/12] OUT This is a log message\n");
	check(SHAPE_TODAY, true, &plain,
		"   2016-07-19T16:08:12.00-0700 [APP/PROC/WEB/12] OUT This is a log message\n");
	/* The header stands on each line; ERR is red from there on. */
	check(SHAPE_TODAY, true, &wrong,
		"   \033[31m2016-07-19T16:08:12.00-0700 [App/0] ERR one\033[0m\n"
		"   \033[31m2016-07-19T16:08:12.00-0700 [App/0] ERR two\033[0m\n"
		"   \033[31m2016-07-19T16:08:12.00-0700 [App/0] ERR \033[0m\n"
		"   \033[31m2016-07-19T16:08:12.00-0700 [App/0] ERR end\033[0m\n");
}

static void test_older(void **state)
{
	static const struct given router = {{"source", "RTR", "message_type", "OUT"}, "GET /"};

	(void)state;
	check(SHAPE_2015, false, &wrong,
		"2016-07-19T16:08:12.00-0700 [App/0]      ERR one\n"
		"                                         two\n"
		"                                         \n"
		"                                         end\n");
	check(SHAPE_2013, false, &wrong,
		"2016-07-19T16:08:12.00-0700 [App/0]   ERR one\n"
		"                                      two\n"
		"                                      \n"
		"                                      end\n");
	check(SHAPE_2013, true, &router, "2016-07-19T16:08:12.00-0700 [RTR]     OUT GET /\n");
	check(SHAPE_2013_10, false, &router,
		"2016-07-19T16:08:12.00-0700 private-app [Router]   STDOUT GET /\n");
	check(SHAPE_2013_10, false, &wrong,
		"2016-07-19T16:08:12.00-0700 private-app [App/0]    STDERR one\n"
		"                                                   two\n"
		"                                                   \n"
		"                                                   end\n");
	check(SHAPE_2013_09, false, &plain,
		"Jul 19 16:08:12 private-app APP/PROC/WEB/12 This is a log message\n");
	check(SHAPE_2013_09, true,
		&(struct given){{"source", "App/0", "message_type", "ERR"}, "no"},
		"Jul 19 16:08:12 private-app App/0 \033[31mSTDERR no\033[0m\n");
}

/* Entries of other inputs: what they tell of their type, instance and level. */
static void test_of_others(void **state)
{
	(void)state;
	check(SHAPE_TODAY, false,
		&(struct given){{"host", "web1", "detected_level", "error"}, "failed"},
		"   2016-07-19T16:08:12.00-0700 [APP/web1] ERR failed\n");
	check(SHAPE_TODAY, false,
		&(struct given){{"source_type", "RTR", "instance_id", "3", "stream", "stderr"}, ""},
		"   2016-07-19T16:08:12.00-0700 [RTR/3] ERR \n");
	check(SHAPE_TODAY, false, &(struct given){{"stream", "stdout", "level", "error"}, "x"},
		"   2016-07-19T16:08:12.00-0700 [APP] OUT x\n");
}

/* A sender's text neither drives the terminal nor forges a header. */
static void test_hostile(void **state)
{
	(void)state;
	check(SHAPE_TODAY, true, &(struct given){{"source", "a\n\033[2J", NULL}, "x\033]0;\ay\tz"},
		"   2016-07-19T16:08:12.00-0700 [a\\n\\x1b[2J] OUT x\\x1b]0;\\x07y\tz\n");
	/* Into a pipe lines go as they are. */
	check(SHAPE_TODAY, false, &(struct given){{"source", "a\nb", NULL}, "\033[1mx"},
		"   2016-07-19T16:08:12.00-0700 [a\\nb] OUT \033[1mx\n");
}

static void test_times(void **state)
{
	struct log_style style = {.utc = true};
	struct buf out = {0};

	(void)state;
	log_shape_put(&out, &style, &(struct print_entry){.timestamp = -1, .line = STR("x")});
	assert_string_equal(buf_cstr(&out), "   1969-12-31T23:59:59.99+0000 [APP] OUT x\n");
	buf_clear(&out);
	style.shape = SHAPE_2013_09;
	log_shape_put(&out, &style, &(struct print_entry){.timestamp = when, .line = STR("x")});
	assert_string_equal(buf_cstr(&out), "Jul 19 23:08:12  APP x\n");
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_today),
		cmocka_unit_test(test_older),
		cmocka_unit_test(test_of_others),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_times),
	};

	setenv("TZ", "PDT7", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
