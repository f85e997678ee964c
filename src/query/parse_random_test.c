/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queries made up by chance along the grammar: each is read, and what is
 * written of it, in one line and laid out, is the same tree again.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "query/ast_test.h"

enum { QUERIES = 1500 };

struct maker {
	struct buf text;
	uint64_t state;
};

static uint64_t draw(struct maker *m, uint64_t n)
{
	m->state ^= m->state << 13;
	m->state ^= m->state >> 7;
	m->state ^= m->state << 17;
	return m->state % n;
}

#define PICK(m, list) ((list)[draw((m), sizeof(list) / sizeof *(list))])

/* A piece and what may stand between two: mostly one blank. */
static void put(struct maker *m, const char *piece)
{
	static const char *const blanks[] = {" ", " ", " ", "\n\t", " # a } comment \"\n", "  "};

	buf_c(&m->text, PICK(m, blanks));
	buf_c(&m->text, piece);
}

static void put_name(struct maker *m)
{
	static const char *const names[] = {
		"a", "b", "app", "_x9", "été", "by", "on", "uniq", "top", "rate", "ip", "or"};

	put(m, PICK(m, names));
}

static void put_string(struct maker *m)
{
	static const char *const strings[] = {"\"\"", "\"x\"", "`b.*\"\\d`", "\"\\x00\\n\\u00e9\"",
		"\"a rather long text, so that some queries need several lines\"", "\"é\""};

	put(m, PICK(m, strings));
}

static void put_names(struct maker *m)
{
	size_t n = draw(m, 4);

	put(m, "(");
	for (size_t i = 0; i < n; i++) {
		if (i)
			put(m, ",");
		put_name(m);
	}
	put(m, ")");
}

static void put_matcher(struct maker *m)
{
	static const char *const ops[] = {"=", "!=", "=~", "!~"};

	put_name(m);
	put(m, PICK(m, ops));
	put_string(m);
}

static void put_selector(struct maker *m)
{
	size_t n = draw(m, 4);

	put(m, "{");
	for (size_t i = 0; i < n; i++) {
		if (i)
			put(m, ",");
		put_matcher(m);
	}
	put(m, "}");
}

static void put_label_filter(struct maker *m, unsigned depth)
{
	static const char *const numeric[] = {"=", "==", "!=", ">", ">=", "<", "<="};
	static const char *const values[] = {
		"5", "-.5", "0x1F", "1e-9", "5m", "1h30m", "-2ms", "20KB", "1.5MiB", "3b"};
	static const char *const joints[] = {"and", "or", ",", ""};

	for (size_t n = 1 + draw(m, 3); n; n--) {
		if (depth && draw(m, 4) == 0) {
			put(m, "(");
			put_label_filter(m, depth - 1);
			put(m, ")");
		} else if (draw(m, 3) == 0) {
			put_matcher(m);
		} else if (draw(m, 8) == 0) {
			put_name(m);
			put(m, draw(m, 2) ? "= ip(\"10.0.0.0/8\")" : "!= ip(\"::1\")");
		} else {
			put_name(m);
			put(m, PICK(m, numeric));
			put(m, PICK(m, values));
		}
		if (n > 1)
			put(m, PICK(m, joints));
	}
}

static void put_stages(struct maker *m)
{
	static const char *const stages[] = {"| json", "| json a, b=\"c.d\"", "| logfmt",
		"| logfmt --strict a=\"b\"", "| regexp `(?P<x>\\d+)`", "| pattern \"<x> <_>\"",
		"| unpack", "| decolorize", "| drop a, b=\"c\"", "| keep a, d=~\"e+\"",
		"| line_format \"{{.a}}\"", "| label_format a=b, c=`{{.d}}`", "| unroll x",
		"| sample 3", "|> \"a <_>\"", "!> \"<_> b\"", "|= \"a\" or `b` or ip(\"::1\")",
		"!= \"x\"", "|~ \"a+\" or \"b\"", "!~ `c`"};

	for (size_t n = draw(m, 4); n; n--) {
		if (draw(m, 3)) {
			put(m, PICK(m, stages));
		} else {
			put(m, "|");
			put_label_filter(m, 2);
		}
	}
}

static void put_log(struct maker *m)
{
	static const char *const reshapes[] = {"| uniq", "| uniq by (a, b)", "| top 5 by (a)",
		"| sort by (b, a) desc", "| sort", "| context -B 3 -A 4", "| context -C 1"};

	put_selector(m);
	put_stages(m);
	for (size_t n = draw(m, 3); n; n--)
		put(m, PICK(m, reshapes));
}

static void put_range(struct maker *m)
{
	static const char *const counts[] = {
		"count_over_time", "rate", "bytes_rate", "bytes_over_time", "absent_over_time"};
	static const char *const values[] = {"sum_over_time", "rate_counter", "rate"};
	static const char *const grouped[] = {"avg_over_time", "max_over_time", "min_over_time",
		"stdvar_over_time", "stddev_over_time", "first_over_time", "last_over_time"};
	static const char *const unwraps[] = {"| unwrap x", "| unwrap bytes(x)",
		"| unwrap duration(bytes)", "| unwrap duration_seconds(x) | __error__=\"\""};
	static const char *const ranges[] = {"[5m]", "[1h30m] offset 5m", "[1d] offset -1h"};
	bool unwraps_value = draw(m, 2), early = draw(m, 2), groups = unwraps_value && draw(m, 2);

	put(m, groups ? PICK(m, grouped) : unwraps_value ? PICK(m, values) : PICK(m, counts));
	put(m, "(");
	put_selector(m);
	if (early)
		put(m, PICK(m, ranges));
	put_stages(m);
	if (unwraps_value)
		put(m, PICK(m, unwraps));
	if (!early)
		put(m, PICK(m, ranges));
	put(m, ")");
	if (groups && draw(m, 2)) {
		put(m, draw(m, 2) ? "by" : "without");
		put_names(m);
	}
}

static void put_metric(struct maker *m, unsigned depth);

static void put_vector(struct maker *m, unsigned depth)
{
	static const char *const functions[] = {"sum", "min", "max", "avg", "count", "stddev",
		"stdvar", "topk", "bottomk", "approx_topk", "sort", "sort_desc"};
	size_t f = draw(m, sizeof functions / sizeof *functions);
	size_t grouping = f >= 10 ? 0 : draw(m, 3);

	put(m, functions[f]);
	if (grouping == 1) {
		put(m, draw(m, 2) ? "by" : "without");
		put_names(m);
	}
	put(m, f >= 7 && f < 10 ? "( 5 ," : "(");
	put_metric(m, depth);
	put(m, ")");
	if (grouping == 2) {
		put(m, draw(m, 2) ? "by" : "without");
		put_names(m);
	}
}

static void put_binary(struct maker *m, unsigned depth)
{
	static const char *const maths[] = {"+", "-", "*", "/", "%", "^"};
	static const char *const compares[] = {"==", "!=", ">", ">=", "<", "<=", "> bool"};
	static const char *const sets[] = {"and", "or", "unless"};
	size_t kind = draw(m, 3);

	put_metric(m, depth);
	put(m, kind == 0 ? PICK(m, maths) : kind == 1 ? PICK(m, compares) : PICK(m, sets));
	if (draw(m, 3) == 0) {
		put(m, draw(m, 2) ? "on" : "ignoring");
		put_names(m);
		if (kind != 2 && draw(m, 2)) {
			put(m, draw(m, 2) ? "group_left" : "group_right");
			put_names(m);
		}
	} else if (kind != 2 && draw(m, 3) == 0) {
		put(m, draw(m, 2) ? "-1.5" : "1e300");
		return;
	}
	put_metric(m, depth);
}

/* Never a bare number, which sets and aggregations refuse. */
static void put_metric(struct maker *m, unsigned depth)
{
	size_t kind = depth ? draw(m, 7) : 6 + draw(m, 2);

	switch (kind) {
	case 0:
		put(m, "(");
		put_binary(m, depth - 1);
		put(m, ")");
		break;
	case 1:
	case 2:
	case 3: put_binary(m, depth - 1); break;
	case 4: put_vector(m, depth - 1); break;
	case 5:
		put(m, "label_replace(");
		put_metric(m, depth - 1);
		put(m, ", \"a\", \"$1\", \"b\", \"(.*)\")");
		break;
	case 6: put_range(m); break;
	default: put(m, "vector(2)"); break;
	}
}

static void check_again(const struct maker *m, const struct buf *text, const struct buf *tree)
{
	struct query *again = NULL;
	struct buf same = {0};
	struct error e = {0};

	if (query_parse(&again, buf_view(text), &e) < 0)
		fail_msg("%.*s\nis written as\n%.*s\n%s", STR_ARG(buf_view(&m->text)),
			STR_ARG(buf_view(text)), e.text);
	dump_query(&same, again);
	if (!str_eq(buf_view(&same), buf_view(tree)))
		fail_msg("%.*s\nis written as\n%.*s\n%.*s\n%.*s", STR_ARG(buf_view(&m->text)),
			STR_ARG(buf_view(text)), STR_ARG(buf_view(tree)), STR_ARG(buf_view(&same)));
	query_free(again);
	buf_fini(&same);
}

/* False for a query that is refused, as are numbers where vectors belong. */
static bool check_query(const struct maker *m)
{
	struct query *q = NULL;
	struct buf line = {0}, lines = {0}, tree = {0};
	struct error e = {0};

	if (query_parse(&q, buf_view(&m->text), &e) < 0) {
		if (!strstr(e.text, "vector matching only") &&
			!strstr(e.text, "unexpected literal"))
			fail_msg("%.*s\n%s", STR_ARG(buf_view(&m->text)), e.text);
		return false;
	}
	dump_query(&tree, q);
	query_format_line(q, &line);
	check_again(m, &line, &tree);
	query_format(q, &lines);
	check_again(m, &lines, &tree);
	query_free(q);
	buf_fini(&line);
	buf_fini(&lines);
	buf_fini(&tree);
	return true;
}

static void same_again(void **state)
{
	struct maker m = {.state = 88172645463325252u};
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < QUERIES; i++) {
		buf_clear(&m.text);
		if (draw(&m, 3) == 0)
			put_log(&m);
		else
			put_metric(&m, 4);
		n += check_query(&m);
	}
	assert_true(n > QUERIES * 3 / 4);
	buf_fini(&m.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(same_again)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
