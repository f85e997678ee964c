/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "query/ast_test.h"
#include "query/query.h"

/* Query and canonical text; NULL: it is canonical already. */
static const char *const good[][2] = {
	{"{}", NULL},
	{"{a=\"b\"}", NULL},
	{" { a = \"b\" , c != \"d\" } ", "{a=\"b\", c!=\"d\"}"},
	{"{a=~`b.*`, c!~\"d|e\"}", "{a=~\"b.*\", c!~\"d|e\"}"},
	{"{a=\"b\", a=\"b\"}", NULL},
	{"{by=\"x\", json=\"y\", rate=\"z\"}", NULL},
	{"{a=\"\"}", NULL},
	{"{a=`\"q\"`}", "{a=\"\\\"q\\\"\"}"},
	{"{été=\"x\"}", NULL},
	{"({a=\"b\"})", "{a=\"b\"}"},
	{"({a=\"b\"} |= \"x\")", "{a=\"b\"} |= \"x\""},
	{"# first\n{a=\"b\"} # last", "{a=\"b\"}"},
	{"{a=\"b\"}|=`x`", "{a=\"b\"} |= \"x\""},
	{"{a=\"b\"} |= \"x\" != \"y\" |~ \"z.\" !~ \"w+\"", NULL},
	{"{a=\"b\"} |= \"x\" or \"y\" or `z`", "{a=\"b\"} |= \"x\" or \"y\" or \"z\""},
	{"{a=\"b\"} != \"x\" or \"y\"", NULL},
	{"{a=\"b\"} |~ \"x\" or \"y\" |= \"z\"", NULL},
	{"{a=\"b\"} |= \"\"", NULL},
	{"{a=\"b\"} |= \"\\x00\\xff\\n\"", NULL},
	{"count_over_time({a=\"b\"}[5m])", NULL},
	{"rate ( {a=\"b\"} [ 90s ] )", "rate({a=\"b\"}[1m30s])"},
	{"bytes_over_time({a=\"b\"}[1d2h])", NULL},
	{"bytes_rate({a=\"b\"}[36h])", "bytes_rate({a=\"b\"}[1d12h])"},
	{"rate({a=\"b\"} |= \"x\" [5m])", NULL},
	{"rate({a=\"b\"}[5m] |= \"x\")", "rate({a=\"b\"} |= \"x\" [5m])"},
	{"rate({a=\"b\"} |= \"x\" [5m] != \"y\")", "rate({a=\"b\"} |= \"x\" != \"y\" [5m])"},
	{"rate(({a=\"b\"} |= \"x\") [5m])", "rate({a=\"b\"} |= \"x\" [5m])"},
	{"rate(({a=\"b\"}[5m]))", "rate({a=\"b\"}[5m])"},
	{"rate({a=\"b\"}[5m] offset 1h)", NULL},
	{"rate({a=\"b\"}[5m] offset -1h)", NULL},
	{"rate({a=\"b\"}[5m] offset 10m |= \"x\")", "rate({a=\"b\"} |= \"x\" [5m] offset 10m)"},
	{"rate({a=\"b\"}[1500us])", "rate({a=\"b\"}[1ms500us])"},
	{"(rate({a=\"b\"}[5m]))", "rate({a=\"b\"}[5m])"},
	{"sum(rate({a=\"b\"}[5m]))", NULL},
	{"sum by (c, d) (rate({a=\"b\"}[5m]))", NULL},
	{"sum(rate({a=\"b\"}[5m])) by (d,c)", "sum by (c, d) (rate({a=\"b\"}[5m]))"},
	{"sum by(c,c)(rate({a=\"b\"}[5m]))", "sum by (c) (rate({a=\"b\"}[5m]))"},
	{"sum by () (rate({a=\"b\"}[5m]))", "sum(rate({a=\"b\"}[5m]))"},
	{"sum without () (rate({a=\"b\"}[5m]))", NULL},
	{"sum without (c) (rate({a=\"b\"}[5m]))", NULL},
	{"min(rate({a=\"b\"}[5m]))", NULL},
	{"max(rate({a=\"b\"}[5m])) without (x)", "max without (x) (rate({a=\"b\"}[5m]))"},
	{"avg(count(rate({a=\"b\"}[5m])))", NULL},
	{"topk(5, rate({a=\"b\"}[5m]))", NULL},
	{"topk by (c) (5, rate({a=\"b\"}[5m]))", NULL},
	{"bottomk(1, rate({a=\"b\"}[5m])) by (c)", "bottomk by (c) (1, rate({a=\"b\"}[5m]))"},
	{"sum(topk(3, (rate({a=\"b\"}[5m]))))", "sum(topk(3, rate({a=\"b\"}[5m])))"},
	{"sum by (json) (count_over_time({}[1s]))", NULL},
	{"sum(vector(1))", NULL},
	{"vector(1)+vector(1)", "vector(2)"},
	{"vector(-1.5)", NULL},
	{"1 + 2 * 3", "7"},
	{"(1 + 2) * 3", "9"},
	{"2 ^ 3 ^ 2", "512"},
	{"10 % 4 - 0.5", "1.5"},
	{"-1", NULL},
	{"1e30", "1e+30"},
	{"vector(1) / 0", "((1 / 0) + vector(0))"},
	{"1/3", "0.3333333333333333"},
};

/* Query and tree, see ast_test.h. */
static const char *const trees[][2] = {
	/* Stages and what they are given. */
	{"{a=\"b\"} | json", "({a='b'} <| json>)"},
	{"{a=\"b\"} | json x=\"y.z\", w", "({a='b'} <| json x=\"y.z\", w=\"w\">)"},
	{"{a=\"b\"} | json != \"x\"", "({a='b'} <| json> <!= \"x\">)"},
	{"{a=\"b\"} | logfmt --keep-empty --strict x", "({a='b'} <| logfmt --strict --keep-empty "
						       "x=\"x\">)"},
	{"{a=\"b\"} | regexp `(?P<x>\\d+)` | unpack",
		"({a='b'} <| regexp \"(?P<x>\\\\d+)\"> <| unpack>)"},
	{"{a=\"b\"} | pattern \"<x> <_>\" |> \"<_> a\" !> \"b <_>\"",
		"({a='b'} <| pattern \"<x> <_>\"> <|> \"<_> a\"> <!> \"b <_>\">)"},
	{"{a=\"b\"} | decolorize | drop x, y=\"1\", z=~`q+` | keep x, w!=\"v\"",
		"({a='b'} <| decolorize> <| drop x, y=\"1\", z=~\"q+\"> <| keep x, w!=\"v\">)"},
	{"{a=\"b\"} |= ip(\"10.0.0.0/8\") or \"x\" != ip(\"::1\")",
		"({a='b'} <|= ip(\"10.0.0.0/8\") or \"x\"> <!= ip(\"::1\")>)"},
	{"{a=\"b\"} | line_format `{{.x}}` | label_format x=y, z=\"{{.w}}\"",
		"({a='b'} <| line_format \"{{.x}}\"> <| label_format x=y, z=\"{{.w}}\">)"},
	/* Labels that have the names of words. */
	{"{a=\"b\"} | top > 5 | uniq != \"x\" | sort =~ \"y\" | sample=1",
		"({a='b'} <| top>5> <| uniq!=\"x\"> <| sort=~\"y\"> <| sample==1>)"},
	{"{a=\"b\"} | and=\"x\" and or=\"y\" or by=\"z\"",
		"({a='b'} <| (and=\"x\" and or=\"y\") or by=\"z\">)"},
	/* Filters of labels. */
	{"{a=\"b\"} | x=\"y\"", "({a='b'} <| x=\"y\">)"},
	{"{a=\"b\"} | x==5 | x=5 | x!=-5 | x>=0x10 | x<+.5 | x<=1e3",
		"({a='b'} <| x==5> <| x==5> <| x!=-5> <| x>=0x10> <| x<.5> <| x<=1e3>)"},
	{"{a=\"b\"} | x>5m | x<1.5s | x>=20KB | x!=1.5MiB",
		"({a='b'} <| x>5m> <| x<1.5s> <| x>=20KB> <| x!=1.5MiB>)"},
	{"{a=\"b\"} | x=ip(\"10.0.0.1\") or x!=ip(\"::1-::5\")",
		"({a='b'} <| x=ip(\"10.0.0.1\") or x!=ip(\"::1-::5\")>)"},
	/* From left to right, whatever the word. */
	{"{} | a=1 or b=2 and c=3", "({} <| (a==1 or b==2) and c==3>)"},
	{"{} | a=1 and b=2 or c=3", "({} <| (a==1 and b==2) or c==3>)"},
	{"{} | a=1 or b=2, c=3", "({} <| (a==1 or b==2) and c==3>)"},
	{"{} | a=1 or b=2 c=3", "({} <| (a==1 or b==2) and c==3>)"},
	{"{} | a=1 (b=2 or c=3)", "({} <| a==1 and (b==2 or c==3)>)"},
	{"{} | (a=1 or (b=2 and c=3))", "({} <| a==1 or (b==2 and c==3)>)"},
	/* Beyond Loki. */
	{"{} | uniq", "({} (uniq 0 -0 +0 0 by[]))"},
	{"{} | uniq by (a,b)", "({} (uniq 0 -0 +0 0 by[a b]))"},
	{"{} | json | top 5 by (a)", "({} <| json> (top 5 -0 +0 0 by[a]))"},
	{"{} | top 3", "({} (top 3 -0 +0 0 by[]))"},
	{"{} | sort by (b, a) desc", "({} (sort 0 -0 +0 1 by[b a]))"},
	{"{} | sort by (b) asc | uniq by (b)",
		"({} (sort 0 -0 +0 0 by[b]) (uniq 0 -0 +0 0 by[b]))"},
	{"{} | sort desc", "({} (sort 0 -0 +0 1 by[]))"},
	{"{} |= \"x\" | context -B 3 -A 5", "({} <|= \"x\"> (context 0 -3 +5 0 by[]))"},
	{"{} | context -C 7", "({} (context 0 -7 +7 0 by[]))"},
	{"{} | context -A 100", "({} (context 0 -0 +100 0 by[]))"},
	{"{} | unroll x | sample 10", "({} <| unroll x> <| sample 10>)"},
	/* Ranges. */
	{"rate({}|json[5m])", "(rate {} <| json> 300000000000 0)"},
	{"sum_over_time({}[1s]|json|unwrap x|__error__=\"\")",
		"(sum_over_time {} <| json> unwrap 0 x <| __error__=\"\"> 1000000000 0)"},
	{"sum_over_time({} | unwrap duration(x) | x > 5 [1s] offset -2s)",
		"(sum_over_time {} unwrap 1 x <| x>5> 1000000000 -2000000000)"},
	{"rate_counter({} | unwrap duration_seconds(x) [1s])",
		"(rate_counter {} unwrap 2 x 1000000000 0)"},
	{"avg_over_time({} | unwrap bytes(x) [1s]) by (b, a)",
		"(avg_over_time {} unwrap 3 x 1000000000 0 by[a b])"},
	{"max_over_time({} | unwrap bytes [1s]) without ()",
		"(max_over_time {} unwrap 0 bytes 1000000000 0 without[])"},
	{"min_over_time by (a) ({} | unwrap x [1s])",
		"(min_over_time {} unwrap 0 x 1000000000 0 by[a])"},
	{"quantile_over_time(.99, {} | unwrap x [1s])",
		"(quantile_over_time 0.98999999999999999 {} unwrap 0 x 1000000000 0)"},
	{"quantile_over_time(-1, {} | unwrap x [1s]) by ()",
		"(quantile_over_time -1 {} unwrap 0 x 1000000000 0 by[])"},
	{"first_over_time({}|unwrap x[1s])", "(first_over_time {} unwrap 0 x 1000000000 0)"},
	{"last_over_time({}|unwrap x[1s])", "(last_over_time {} unwrap 0 x 1000000000 0)"},
	{"stddev_over_time({}|unwrap x[1s])", "(stddev_over_time {} unwrap 0 x 1000000000 0)"},
	{"stdvar_over_time({}|unwrap x[1s])", "(stdvar_over_time {} unwrap 0 x 1000000000 0)"},
	{"absent_over_time({}[1s])", "(absent_over_time {} 1000000000 0)"},
	{"absent_over_time({}|unwrap x[1s])", "(absent_over_time {} unwrap 0 x 1000000000 0)"},
	{"rate({}|unwrap x[1s])", "(rate {} unwrap 0 x 1000000000 0)"},
	/* Vectors. */
	{"sort(rate({}[1s]))", "(sort (rate {} 1000000000 0))"},
	{"sort_desc(rate({}[1s]))", "(sort_desc (rate {} 1000000000 0))"},
	{"stddev by (a) (rate({}[1s]))", "(stddev by[a] (rate {} 1000000000 0))"},
	{"stdvar(rate({}[1s])) without (a)", "(stdvar without[a] (rate {} 1000000000 0))"},
	{"approx_topk(3, rate({}[1s]))", "(approx_topk 3 (rate {} 1000000000 0))"},
	{"label_replace(rate({}[1s]), \"a\", \"$1\", \"b\", \"(.*)x\")",
		"(replace (rate {} 1000000000 0) a|$1|b|(.*)x)"},
	{"label_replace(vector(1), \"a\", \"\", \"\", \"\")", "(replace 1v a|||)"},
	/* Operators. */
	{"vector(1) > 2", "(1v > 2)"},
	{"vector(1) > bool 2", "0v"},
	{"vector(3) == bool vector(3)", "1v"},
	{"1 == 1", "1"},
	{"1 == bool 2", "0"},
	{"3 > 2 > 1", "0"},
	{"-2 ^ 2", "4"},
	{"2 - -1", "3"},
	{"2 --1", "3"},
	{"7 % 4 * 2", "6"},
	{"vector(1) or vector(2)", "(1v or 2v)"},
	{"rate({}[1s]) * 2 + 1", "(((rate {} 1000000000 0) * 2) + 1)"},
	{"1 + rate({}[1s]) * 2", "(1 + ((rate {} 1000000000 0) * 2))"},
	{"(1 + rate({}[1s])) * 2", "((1 + (rate {} 1000000000 0)) * 2)"},
	{"2 ^ rate({}[1s]) ^ 3", "(2 ^ ((rate {} 1000000000 0) ^ 3))"},
	{"(2 ^ rate({}[1s])) ^ 3", "((2 ^ (rate {} 1000000000 0)) ^ 3)"},
	{"10 - rate({}[1s]) - 1", "((10 - (rate {} 1000000000 0)) - 1)"},
	{"10 - (rate({}[1s]) - 1)", "(10 - ((rate {} 1000000000 0) - 1))"},
	{"rate({}[1s]) > 1 and rate({}[2s]) or rate({}[3s]) unless rate({}[4s])",
		"((((rate {} 1000000000 0) > 1) and (rate {} 2000000000 0)) or "
		"((rate {} 3000000000 0) unless (rate {} 4000000000 0)))"},
	{"rate({}[1s]) == 1 != 2", "(((rate {} 1000000000 0) == 1) != 2)"},
	{"rate({}[1s]) >= bool 1 + 1", "((rate {} 1000000000 0) >= bool 2)"},
	{"rate({}[1s]) / on (b, a) rate({}[2s])",
		"((rate {} 1000000000 0) / on[b a] (rate {} 2000000000 0))"},
	{"rate({}[1s]) / on () rate({}[2s])",
		"((rate {} 1000000000 0) / on[] (rate {} 2000000000 0))"},
	{"rate({}[1s]) < bool ignoring (a) rate({}[2s])",
		"((rate {} 1000000000 0) < bool ignoring[a] (rate {} 2000000000 0))"},
	{"rate({}[1s]) * on (a) group_left rate({}[2s])",
		"((rate {} 1000000000 0) * on[a] left[] (rate {} 2000000000 0))"},
	{"rate({}[1s]) * on (a) group_left () (rate({}[2s]) + 1)",
		"((rate {} 1000000000 0) * on[a] left[] ((rate {} 2000000000 0) + 1))"},
	{"rate({}[1s]) * ignoring (a) group_right (c, b) rate({}[2s])",
		"((rate {} 1000000000 0) * ignoring[a] right[c b] (rate {} 2000000000 0))"},
	{"sum(rate({}[1s]) / 2)", "(sum ((rate {} 1000000000 0) / 2))"},
	{"1 + 2 * rate({}[1s]) # 3\n + 4", "((1 + (2 * (rate {} 1000000000 0))) + 4)"},
};

/* Query and sentence. */
static const char *const bad[][2] = {
	{"", "parse error : syntax error: unexpected $end"},
	{" ", "parse error at line 1, col 2: syntax error: unexpected $end"},
	{"{", "parse error at line 1, col 2: syntax error: unexpected $end, expecting IDENTIFIER or }"},
	{"}", "parse error at line 1, col 1: syntax error: unexpected }"},
	{"{a}", "parse error at line 1, col 3: syntax error: unexpected }, expecting = or =~ or !~ or !="},
	{"{a b", "parse error at line 1, col 4: syntax error: unexpected IDENTIFIER, "
		 "expecting = or =~ or !~ or !="},
	{"{a=}", "parse error at line 1, col 4: syntax error: unexpected }, expecting STRING"},
	{"{a=b}",
		"parse error at line 1, col 4: syntax error: unexpected IDENTIFIER, expecting STRING"},
	{"{a=5}",
		"parse error at line 1, col 4: syntax error: unexpected NUMBER, expecting STRING"},
	{"{a==\"b\"}", "parse error at line 1, col 3: syntax error: unexpected ==, "
		       "expecting = or =~ or !~ or !="},
	{"{a=\"b\"",
		"parse error at line 1, col 7: syntax error: unexpected $end, expecting } or ,"},
	{"{a=\"b\" c=\"d\"}", "parse error at line 1, col 8: syntax error: unexpected IDENTIFIER, "
			      "expecting } or ,"},
	{"{a=\"b\",}",
		"parse error at line 1, col 8: syntax error: unexpected }, expecting IDENTIFIER"},
	{"{\"a\"=\"b\"}", "parse error at line 1, col 2: syntax error: unexpected STRING, "
			  "expecting IDENTIFIER or }"},
	{"{a.b=\"x\"}", "parse error at line 1, col 3: syntax error: unexpected ., "
			"expecting = or =~ or !~ or !="},
	{"{:", "parse error at line 1, col 2: syntax error: unexpected IDENTIFIER, "
	       "expecting IDENTIFIER or }"},
	{"{a=\"b}", "parse error at line 1, col 4: literal not terminated"},
	{"a", "parse error at line 1, col 1: syntax error: unexpected IDENTIFIER"},
	{"sum", "parse error at line 1, col 1: syntax error: unexpected IDENTIFIER"},
	{"by", "parse error at line 1, col 1: syntax error: unexpected by"},
	{"\"x\"", "parse error at line 1, col 1: syntax error: unexpected STRING"},
	{"{a=\"b\"} \"x\"", "parse error at line 1, col 9: syntax error: unexpected STRING"},
	{"{a=\"b\"} x", "parse error at line 1, col 9: syntax error: unexpected IDENTIFIER"},
	{"{a=\"b\"} json", "parse error at line 1, col 9: syntax error: unexpected json"},
	{"{a=\"b\"} {", "parse error at line 1, col 9: syntax error: unexpected {"},
	{"{a=\"b\"} + 1", "parse error at line 1, col 9: syntax error: unexpected +"},
	{"{a=\"b\"}[5m]", "parse error at line 1, col 8: syntax error: unexpected RANGE"},
	{"{a=\"b\"} |=", "parse error at line 1, col 11: syntax error: unexpected $end, "
			 "expecting STRING or ip"},
	{"{a=\"b\"} |= x", "parse error at line 1, col 12: syntax error: unexpected IDENTIFIER, "
			   "expecting STRING or ip"},
	{"{a=\"b\"} |~ 5m", "parse error at line 1, col 12: syntax error: unexpected DURATION, "
			    "expecting STRING or ip"},
	{"{a=\"b\"} |= \"x\" or", "parse error at line 1, col 18: syntax error: unexpected $end, "
				  "expecting STRING or ip"},
	{"{a=\"b\"} |= \"x\" \"y\"",
		"parse error at line 1, col 16: syntax error: unexpected STRING"},
	{"{a=\"b\"} |", "parse error at line 1, col 10: syntax error: unexpected $end"},
	{"{a=\"b\"} | 5", "parse error at line 1, col 11: syntax error: unexpected NUMBER"},
	{"{a=\"b\"} | foo", "parse error at line 1, col 14: syntax error: unexpected $end"},
	{"{a=\"b\"} | foo bar",
		"parse error at line 1, col 15: syntax error: unexpected IDENTIFIER"},
	{"{a=\"b\"}\n|= \"x\"\n|", "parse error at line 3, col 2: syntax error: unexpected $end"},
	{"rate", "parse error at line 1, col 1: syntax error: unexpected IDENTIFIER"},
	{"rate()", "parse error at line 1, col 6: syntax error: unexpected ), "
		   "expecting NUMBER or { or ("},
	{"rate({a=\"b\"})", "parse error at line 1, col 13: syntax error: unexpected )"},
	{"rate({a=\"b\"}[5m]", "parse error at line 1, col 17: syntax error: unexpected $end"},
	{"rate({a=\"b\"}[5m)", "parse error at line 1, col 13: missing closing ']' in duration"},
	{"rate({a=\"b\"}[x])", "parse error at line 1, col 13: not a valid duration string: \"x\""},
	{"rate({a=\"b\"}[5])", "parse error at line 1, col 13: not a valid duration string: \"5\""},
	{"rate({a=\"b\"}[5m][5m])",
		"parse error at line 1, col 17: syntax error: unexpected RANGE"},
	{"rate({a=\"b\"}[5m] offset)", "parse error at line 1, col 24: syntax error: unexpected ), "
				       "expecting DURATION"},
	{"rate({a=\"b\"}[5m] offset 5)", "parse error at line 1, col 25: syntax error: "
					 "unexpected NUMBER, expecting DURATION"},
	{"rate({a=\"b\"}[5m]) by (x)",
		"parse error at line 1, col 1: grouping not allowed for rate aggregation"},
	{"rate(5, {a=\"b\"}[5m])",
		"parse error at line 1, col 6: parameter 5 not supported for operation rate"},
	{"rate({a=\"b\"}[5m]) x",
		"parse error at line 1, col 19: syntax error: unexpected IDENTIFIER"},
	{"sum({a=\"b\"})", "parse error at line 1, col 12: syntax error: unexpected )"},
	{"sum()", "parse error at line 1, col 5: syntax error: unexpected )"},
	{"sum(1)", "parse error at line 1, col 6: syntax error: unexpected )"},
	{"sum(rate({a=\"b\"}[5m])", "parse error at line 1, col 22: syntax error: unexpected $end"},
	{"sum by (a",
		"parse error at line 1, col 10: syntax error: unexpected $end, expecting , or )"},
	{"sum by (",
		"parse error at line 1, col 9: syntax error: unexpected $end, expecting IDENTIFIER or )"},
	{"sum by (a,)",
		"parse error at line 1, col 11: syntax error: unexpected ), expecting IDENTIFIER"},
	{"sum by (a) rate",
		"parse error at line 1, col 12: syntax error: unexpected IDENTIFIER, expecting ("},
	{"sum by x",
		"parse error at line 1, col 8: syntax error: unexpected IDENTIFIER, expecting ("},
	{"sum by (a) (rate({}[5m])) by (b)",
		"parse error at line 1, col 27: syntax error: unexpected by"},
	{"sum(2, rate({}[5m]))",
		"parse error at line 1, col 5: unsupported parameter for operation sum(2,"},
	{"topk(rate({}[5m]))",
		"parse error at line 1, col 6: parameter required for operation topk"},
	{"topk(1.5, rate({}[5m]))", "parse error at line 1, col 6: invalid parameter topk(1.5,"},
	{"topk(0, rate({}[5m]))",
		"parse error at line 1, col 6: invalid parameter (must be greater than 0) topk(0"},
	{"topk(5 rate({}[5m]))",
		"parse error at line 1, col 8: syntax error: unexpected rate, expecting ,"},
	{"vector(x)",
		"parse error at line 1, col 8: syntax error: unexpected IDENTIFIER, expecting NUMBER"},
	{"vector(1", "parse error at line 1, col 9: syntax error: unexpected $end, expecting )"},
	{"1 +", "parse error at line 1, col 4: syntax error: unexpected $end"},
	{"1 + {a=\"b\"}", "parse error at line 1, col 12: syntax error: unexpected $end"},
	{"(1", "parse error at line 1, col 3: syntax error: unexpected $end"},
	/* Stages. */
	{"{} | json x=",
		"parse error at line 1, col 13: syntax error: unexpected $end, expecting STRING"},
	{"{} | json x, ",
		"parse error at line 1, col 14: syntax error: unexpected $end, expecting IDENTIFIER"},
	{"{} | logfmt --foo",
		"parse error at line 1, col 13: unknown flag --foo: logfmt has --strict and --keep-empty"},
	{"{} | json --strict",
		"parse error at line 1, col 11: syntax error: unexpected PARSER_FLAG"},
	{"{} | regexp x",
		"parse error at line 1, col 13: syntax error: unexpected IDENTIFIER, expecting STRING"},
	{"{} | pattern",
		"parse error at line 1, col 13: syntax error: unexpected $end, expecting STRING"},
	{"{} | line_format 5",
		"parse error at line 1, col 18: syntax error: unexpected NUMBER, expecting STRING"},
	{"{} | label_format a",
		"parse error at line 1, col 20: syntax error: unexpected $end, expecting ="},
	{"{} | label_format a=5", "parse error at line 1, col 21: syntax error: unexpected NUMBER, "
				  "expecting IDENTIFIER or STRING"},
	{"{} | drop", "parse error at line 1, col 10: syntax error: unexpected $end, "
		      "expecting IDENTIFIER"},
	{"{} | keep a,", "parse error at line 1, col 13: syntax error: unexpected $end, "
			 "expecting IDENTIFIER"},
	{"{} | drop a==\"b\"", "parse error at line 1, col 12: syntax error: unexpected =="},
	{"{} | unwrap x", "parse error at line 1, col 6: syntax error: unexpected unwrap"},
	{"{} |~ ip(\"::1\")",
		"parse error at line 1, col 7: ip() goes with |= and != alone, not with |~"},
	{"{} |= ip(5)",
		"parse error at line 1, col 10: syntax error: unexpected NUMBER, expecting STRING"},
	{"{} | line_format \"{{.x\"",
		"parse error at line 1, col 18: invalid line template: template: :1: unclosed action"},
	{"{} | label_format a=b, a=c",
		"parse error at line 1, col 6: multiple label name 'a' not allowed in a single format operation"},
	{"{} | pattern \"x\"",
		"parse error at line 1, col 14: invalid pattern \"x\": at least one named capture is needed, as <name>"},
	{"{} | regexp \"x\"",
		"parse error at line 1, col 13: regexp: at least one named group is needed, as (?P<name>…)"},
	/* Label filters. */
	{"{} | x=", "parse error at line 1, col 8: syntax error: unexpected $end"},
	{"{} | x>", "parse error at line 1, col 8: syntax error: unexpected $end, "
		    "expecting NUMBER or DURATION or BYTES"},
	{"{} | x>\"y\"", "parse error at line 1, col 8: syntax error: unexpected STRING, "
			 "expecting NUMBER or DURATION or BYTES"},
	{"{} | x==\"y\"", "parse error at line 1, col 9: syntax error: unexpected STRING, "
			  "expecting NUMBER or DURATION or BYTES"},
	{"{} | x=~5",
		"parse error at line 1, col 9: syntax error: unexpected NUMBER, expecting STRING"},
	{"{} | x>-5KB", "parse error at line 1, col 9: syntax error: unexpected BYTES, "
			"expecting NUMBER or DURATION"},
	{"{} | (x=1", "parse error at line 1, col 10: syntax error: unexpected $end"},
	{"{} | ()", "parse error at line 1, col 7: syntax error: unexpected ), "
		    "expecting IDENTIFIER or ("},
	{"{} | x=1 and", "parse error at line 1, col 13: syntax error: unexpected $end, "
			 "expecting IDENTIFIER or ("},
	{"{} | x=1 or y", "parse error at line 1, col 14: syntax error: unexpected $end"},
	{"{} | x=1 y", "parse error at line 1, col 10: syntax error: unexpected IDENTIFIER"},
	/* Beyond Loki. */
	{"{} | top",
		"parse error at line 1, col 9: syntax error: unexpected $end, expecting NUMBER"},
	{"{} | top 0", "parse error at line 1, col 10: invalid number 0 of top: it must be a whole "
		       "number from 1 to 4294967295"},
	{"{} | sample 1.5",
		"parse error at line 1, col 13: invalid number 1.5 of sample: it must be "
		"a whole number from 1 to 9223372036854775807"},
	{"{} | context", "parse error at line 1, col 13: syntax error: unexpected $end, "
			 "expecting -A or -B or -C"},
	{"{} | context -D 1", "parse error at line 1, col 15: syntax error: unexpected IDENTIFIER, "
			      "expecting -A or -B or -C"},
	{"{} | context -A 101", "parse error at line 1, col 17: invalid number 101 of lines of "
				"context: it must be a whole number from 1 to 100"},
	{"{} | uniq | json",
		"parse error at line 1, col 13: stages stand before uniq, top, sort and context"},
	{"{} | uniq |= \"x\"", "parse error at line 1, col 11: syntax error: unexpected |="},
	{"rate({} | uniq [5m])",
		"parse error at line 1, col 11: uniq has no place in a metric query"},
	{"{} | unroll 5",
		"parse error at line 1, col 13: syntax error: unexpected NUMBER, expecting IDENTIFIER"},
	/* Ranges. */
	{"sum_over_time({}[5m])",
		"parse error at line 1, col 1: invalid aggregation sum_over_time without unwrap"},
	{"1 + rate_counter({}[5m])",
		"parse error at line 1, col 5: invalid aggregation rate_counter without unwrap"},
	{"count_over_time({} | unwrap x [5m])",
		"parse error at line 1, col 1: invalid aggregation count_over_time with unwrap"},
	{"bytes_rate({} | unwrap x [5m])",
		"parse error at line 1, col 1: invalid aggregation bytes_rate with unwrap"},
	{"sum_over_time({} | unwrap x [5m]) by (y)",
		"parse error at line 1, col 1: grouping not allowed for sum_over_time aggregation"},
	{"absent_over_time({}[5m]) without (y)",
		"parse error at line 1, col 1: grouping not allowed for absent_over_time aggregation"},
	{"avg_over_time by (x) ({} | unwrap x [5m]) by (y)",
		"parse error at line 1, col 43: syntax error: unexpected by"},
	{"quantile_over_time({} | unwrap x [5m])",
		"parse error at line 1, col 20: parameter required "
		"for operation quantile_over_time"},
	{"quantile_over_time(5m, {})",
		"parse error at line 1, col 20: parameter required for operation "
		"quantile_over_time"},
	{"max_over_time(1, {} | unwrap x [5m])",
		"parse error at line 1, col 15: parameter 1 not supported for operation max_over_time"},
	{"sum_over_time({} | unwrap [5m])",
		"parse error at line 1, col 27: syntax error: unexpected "
		"RANGE, expecting IDENTIFIER or bytes or duration or "
		"duration_seconds"},
	{"sum_over_time({} | unwrap bytes(x [5m])",
		"parse error at line 1, col 35: syntax error: unexpected RANGE, expecting )"},
	{"sum_over_time({} | unwrap x | unwrap y [5m])",
		"parse error at line 1, col 31: syntax error: unexpected unwrap"},
	{"sum_over_time({} | unwrap x | json [5m])",
		"parse error at line 1, col 31: syntax error: unexpected json"},
	{"sum_over_time({} | unwrap x |= \"y\" [5m])",
		"parse error at line 1, col 29: syntax error: unexpected |="},
	/* Vectors and operators. */
	{"sort by (x) (rate({}[5m]))",
		"parse error at line 1, col 1: grouping not allowed for sort aggregation"},
	{"approx_topk(rate({}[5m]))",
		"parse error at line 1, col 13: parameter required for operation approx_topk"},
	{"label_replace(rate({}[5m]), \"a\", \"b\", \"c\")",
		"parse error at line 1, col 42: syntax error: unexpected ), expecting ,"},
	{"label_replace(rate({}[5m]), \"a-b\", \"b\", \"c\", \"d\")",
		"parse error at line 1, col 29: invalid destination label name in label_replace: a-b"},
	{"label_replace({}, \"a\", \"b\", \"c\", \"d\")",
		"parse error at line 1, col 17: syntax error: unexpected ,"},
	{"1 or 2", "parse error at line 1, col 3: unexpected literal for left leg of logical/set "
		   "binary operation (or): 1.000000"},
	{"rate({}[5m]) and 2", "parse error at line 1, col 14: unexpected literal for right leg of "
			       "logical/set binary operation (and): 2.000000"},
	{"1 + bool 2",
		"parse error at line 1, col 5: bool modifier can only be used on comparison operators"},
	{"rate({}[5m]) + on (x) 2",
		"parse error at line 1, col 14: vector matching only allowed between instant vectors"},
	{"rate({}[5m]) or on (x) group_left rate({}[5m])",
		"parse error at line 1, col 24: group_left is not allowed for the set operation or"},
	{"rate({}[5m]) + on x rate({}[5m])",
		"parse error at line 1, col 19: syntax error: unexpected IDENTIFIER, expecting ("},
	{"rate({}[5m]) + group_left rate({}[5m])",
		"parse error at line 1, col 16: syntax error: unexpected group_left"},
	{"rate({}[5m]) == {}", "parse error at line 1, col 19: syntax error: unexpected $end"},
	{"rate({}[5m]) +", "parse error at line 1, col 15: syntax error: unexpected $end"},
	{"-rate({}[5m])",
		"parse error at line 1, col 2: syntax error: unexpected rate, expecting NUMBER"},
	{"{a=\"b\"}\xc2\xa0", "parse error at line 1, col 8: syntax error: unexpected IDENTIFIER"},
};

/* One line and many lines of it: each reads as the same tree and becomes the same text. */
static void check_text(const struct query *q, struct str text, const struct buf *tree, bool lines)
{
	struct query *again = NULL;
	struct error e = {0};
	struct buf twice = {0}, got = {0};

	if (query_parse(&again, text, &e) < 0)
		fail_msg("%.*s: %s", STR_ARG(text), e.text);
	dump_query(&got, again);
	assert_string_equal(buf_cstr(&got), tree->p);
	(lines ? query_format : query_format_line)(again, &twice);
	assert_int_equal(twice.n, text.n);
	assert_memory_equal(twice.p, text.p, text.n);
	assert_int_equal(query_is_log(again), query_is_log(q));
	query_free(again);
	buf_fini(&twice);
	buf_fini(&got);
}

static struct query *check_same(const char *text, struct buf *line, struct buf *tree)
{
	struct query *q = NULL;
	struct error e = {0};
	struct buf lines = {0};

	if (query_parse(&q, str_c(text), &e) < 0)
		fail_msg("%s: %s", text, e.text);
	dump_query(tree, q);
	buf_cstr(tree);
	query_format_line(q, line);
	buf_cstr(line);
	check_text(q, buf_view(line), tree, false);
	query_format(q, &lines);
	check_text(q, buf_view(&lines), tree, true);
	buf_fini(&lines);
	return q;
}

static void check_good(const char *text, const char *want)
{
	struct buf line = {0}, tree = {0};

	query_free(check_same(text, &line, &tree));
	assert_string_equal(line.p, want ? want : text);
	buf_fini(&line);
	buf_fini(&tree);
}

/* Whether the tree is the wanted one. */
static bool check_tree(const char *text, const char *want)
{
	struct buf line = {0}, tree = {0};
	bool same;

	query_free(check_same(text, &line, &tree));
	same = strcmp(tree.p, want) == 0;
	if (!same)
		print_error("%s\n is     %s\n wanted %s\n", text, tree.p, want);
	buf_fini(&line);
	buf_fini(&tree);
	return same;
}

static void check_bad(const char *text, size_t n, int code, const char *want)
{
	struct query *q = NULL;
	struct error e = {0};

	if (query_parse(&q, str_make(text, n), &e) == 0)
		fail_msg("%.100s: parsed", text);
	assert_string_equal(e.text, want);
	assert_int_equal(e.code, code);
	assert_null(q);
}

#define EACH(table, i) for (size_t i = 0; i < sizeof(table) / sizeof *(table); i++)

static void good_texts(void **state)
{
	(void)state;
	EACH(good, i)
	check_good(good[i][0], good[i][1]);
}

static void good_trees(void **state)
{
	bool same = true;

	(void)state;
	EACH(trees, i)
	same &= check_tree(trees[i][0], trees[i][1]);
	assert_true(same);
}

static void bad_texts(void **state)
{
	(void)state;
	EACH(bad, i)
	check_bad(bad[i][0], strlen(bad[i][0]), ERR_ARG, bad[i][1]);
}

/* Long queries and their lines. */
static const char *const laid_out[][2] = {
	{"{app=\"billing\", env=\"production\"} |= \"a rather long text to look for\" | json | status >= "
	 "500 or latency > 1m30s",
		"{app=\"billing\", env=\"production\"}\n"
		"  |= \"a rather long text to look for\"\n"
		"  | json\n"
		"  | status>=500 or latency>1m30s"},
	{"sum by (app) (rate({app=~\".+\"} | json | unwrap bytes(a_field_with_a_name) | __error__=\"\" "
	 "[5m] offset 1h)) > on (app) group_left (env) topk(5, label_replace(sum by (app, env) "
	 "(count_over_time({app=~\".+\"}[5m])), \"application\", \"$1\", \"app\", \"(.+)-service\"))",
		"sum by (app) (\n"
		"  rate({app=~\".+\"} | json | unwrap bytes(a_field_with_a_name) | "
		"__error__=\"\" [5m] offset 1h)\n"
		")\n"
		"  > on (app) group_left (env)\n"
		"topk(\n"
		"  5,\n"
		"  label_replace(\n"
		"    sum by (app, env) (count_over_time({app=~\".+\"}[5m])),\n"
		"    \"application\", \"$1\", \"app\", \"(.+)-service\"\n"
		"  )\n"
		")"},
	{"(sum(rate({application=\"first-of-them\"}[5m])) + sum(rate({application=\"second-of-them\"}"
	 "[5m]))) * 1000",
		"(\n"
		"  sum(rate({application=\"first-of-them\"}[5m])) + "
		"sum(rate({application=\"second-of-them\"}[5m]))\n"
		")\n"
		"  *\n"
		"1000"},
	{"rate({application=\"first-of-them\"}[5m]) - (rate({application=\"second-of-them\"}[5m]) - "
	 "rate({application=\"third-of-them\"}[5m])) - 1",
		"rate({application=\"first-of-them\"}[5m])\n"
		"  -\n"
		"(\n"
		"  rate({application=\"second-of-them\"}[5m]) - "
		"rate({application=\"third-of-them\"}[5m])\n"
		")\n"
		"  -\n"
		"1"},
	{"quantile_over_time(0.99, {app=\"billing\", env=\"production\"} | logfmt | unwrap "
	 "duration(latency) [5m]) by (path)",
		"quantile_over_time(\n"
		"  0.99,\n"
		"  {app=\"billing\", env=\"production\"}\n"
		"    | logfmt\n"
		"    | unwrap duration(latency)\n"
		"    [5m]\n"
		") by (path)"},
};

static void layouts(void **state)
{
	(void)state;
	EACH(laid_out, i)
	{
		struct buf line = {0}, tree = {0}, lines = {0};
		struct query *q = check_same(laid_out[i][0], &line, &tree);
		query_format(q, &lines);
		assert_string_equal(buf_cstr(&lines), laid_out[i][1]);
		query_free(q);
		buf_fini(&line);
		buf_fini(&tree);
		buf_fini(&lines);
	}
}

static void regex_errors(void **state)
{
	struct query *q = NULL;
	struct error e = {0};

	(void)state;
	assert_int_equal(query_parse(&q, STR("{a=~\"(\"}"), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "parse error at line 1, col 5: error parsing regexp: "));
	assert_null(strstr(e.text, "(?s"));
	assert_int_equal(query_parse(&q, STR("{a=\"b\"} |= \"x\" !~ \"[\""), &e), ERR_ARG);
	assert_null(strstr(e.text, "(?s"));
	assert_non_null(strstr(e.text, "parse error at line 1, col 19: error parsing regexp: "));
}

/* A pattern with any bytes is one, and is not cut at a zero. */
static void regex_bytes(void **state)
{
	struct query *q = NULL;
	struct error e = {0};

	(void)state;
	assert_int_equal(query_parse(&q, STR("{} |~ \"a\\x00.b\""), &e), 0);
	assert_int_equal(query_want_line(q, STR("a\0\nb")), 1);
	assert_int_equal(query_want_line(q, STR("a\0\nc")), 0);
	query_free(q);
	assert_int_equal(query_parse(&q,
				 STR("label_replace(vector(1), \"a\", \"\", \"b\", "
				     "\"x\\x00)(\")"),
				 &e),
		ERR_ARG);
	assert_null(strstr(e.text, "(?s"));
}

/* n times `part` around or behind something. */
static struct buf repeated(const char *head, const char *part, const char *tail, size_t n)
{
	struct buf b = {0};

	buf_c(&b, head);
	for (size_t i = 0; i < n; i++)
		buf_c(&b, part);
	buf_c(&b, tail);
	return b;
}

static void limits(void **state)
{
	struct query *q = NULL;
	struct error e = {0};
	struct buf b;

	(void)state;
	b = repeated("", "(", "1", 1000);
	check_bad(b.p, b.n, ERR_ARG,
		"parse error at line 1, col 65: the query is nested deeper than 64 levels");
	buf_fini(&b);
	b = repeated("rate(", "(", "{}", 1000);
	assert_int_equal(query_parse(&q, buf_view(&b), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "nested deeper than 64 levels"));
	buf_fini(&b);
	b = repeated("1", "^1", "", 1000);
	assert_int_equal(query_parse(&q, buf_view(&b), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "nested deeper than 64 levels"));
	buf_fini(&b);
	b = repeated("{}", "|=\"a\"", "", 257);
	assert_int_equal(query_parse(&q, buf_view(&b), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "more than 256 stages"));
	buf_fini(&b);
	b = repeated("{a=\"b\"", ",a=\"b\"", "}", 256);
	assert_int_equal(query_parse(&q, buf_view(&b), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "more than 256 matchers"));
	buf_fini(&b);
	b = repeated("sum by (a", ",a", ") (rate({}[5m]))", 100);
	assert_int_equal(query_parse(&q, buf_view(&b), &e), ERR_ARG);
	assert_non_null(strstr(e.text, "more than 100 labels"));
	buf_fini(&b);
	b = repeated("{a=\"b\"}", " ", "", QUERY_TEXT_MAX);
	check_bad(b.p, b.n, ERR_ARG,
		"parse error : input size too long (131079 > 131072): max length of a query in bytes");
	buf_fini(&b);
}

static void kinds(void **state)
{
	static const struct {
		const char *text;
		bool log, selector, strict;
	} rows[] = {
		{"{a=\"b\"}", true, true, true},
		{"{a=\"b\"} |= \"x\"", true, false, true},
		{"{}", true, true, false},
		{"{a=\"\"}", true, true, false},
		{"{a!=\"b\"}", true, true, false},
		{"{a=~\".*\"}", true, true, false},
		{"{a=~\".+\"}", true, true, true},
		{"{a=\"b\"} | json | x > 5", true, false, true},
		{"{a=\"b\"} | top > 5", true, false, true},
		{"{a=\"b\"} | top 5", true, false, false},
		{"{a=\"b\"} | uniq", true, false, false},
		{"{a=\"b\"} | sort by (x)", true, false, false},
		{"{a=\"b\"} | context -C 1", true, false, false},
		{"{a=\"b\"} | sample 2", true, false, false},
		{"{a=\"b\"} | unroll x", true, false, false},
		{"rate({a=\"b\"} | sample 2 [5m])", false, false, false},
		{"max_over_time({a=\"b\"} | unwrap x [5m]) by (a)", false, false, true},
		{"max_over_time by (a) ({a=\"b\"} | unwrap x [5m])", false, false, false},
		{"rate({a=\"b\"}[5m]) / rate({}[5m])", false, false, false},
		{"rate({a=\"b\"}[5m]) / rate({c=\"d\"}[5m])", false, false, true},
		{"{a!~\".+\"}", true, true, false},
		{"rate({}[5m])", false, false, false},
		{"sum(rate({a=\"b\"}[5m]))", false, false, true},
		{"vector(1)", false, false, true},
	};

	(void)state;
	EACH(rows, i)
	{
		struct query *q = NULL;
		struct error e = {0};
		assert_int_equal(query_parse(&q, str_c(rows[i].text), &e), 0);
		assert_int_equal(query_is_log(q), rows[i].log);
		assert_int_equal(query_is_selector(q), rows[i].selector);
		assert_int_equal(query_check_strict(q, &e), rows[i].strict ? 0 : ERR_ARG);
		query_free(q);
	}
	query_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_texts),
		cmocka_unit_test(good_trees),
		cmocka_unit_test(bad_texts),
		cmocka_unit_test(layouts),
		cmocka_unit_test(regex_errors),
		cmocka_unit_test(regex_bytes),
		cmocka_unit_test(limits),
		cmocka_unit_test(kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
