/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates and what they make of one row.  Outputs are worked out by hand from
 * the documentation of text/template, fmt, time, strings, regexp, sprig and Loki's
 * template functions.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "query/ast.h"
#include "query/query.h"
#include "query/template.h"
#include "record/labels.h"

static const char *const labels[][2] = {
	{"app", "api"},
	{"method", "GET"},
	{"path", "/a b/c"},
	{"status", "500"},
	{"dur", "1h30m"},
	{"json",
		"{\"a\":{\"b\":\"x\",\"n\":[1,2.5,\"s\",null,true]},\"big\":1234567890,\"s\":\"q\"}"},
	{"list", "[{\"id\":1,\"t\":\"one\"},{\"id\":2,\"t\":\"two\"}]"},
	{"utf", "Gr\xc3\xb6\xc3\x9f"
		"e \xc3\xa9t\xc3\xa9"},
	{"n", "42"},
	{"f", "3.14159"},
	{"zeros", "010"},
	{"date", "2021-11-02"},
	{"lines", "one\ntwo"},
};

static const char line[] = "level=info msg=\"hello XYZ\" XYZ";
static const int64_t timestamp = 1679577215123456789; /* 2023-03-23 13:13:35 UTC */

struct rig {
	struct query query;
	struct labels_builder builder;
	struct buf set;
	struct fields *fields;
	struct template_run *run;
};

static void rig_init(struct rig *g)
{
	*g = (struct rig){0};
	arena_init(&g->query.arena, NULL);
	for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
		assert_int_equal(labels_builder_set(&g->builder, str_c(labels[i][0]),
					 str_c(labels[i][1]), NULL),
			0);
	labels_builder_write(&g->builder, &g->set);
	g->fields = fields_new(NULL);
	g->run = template_run_new(NULL);
}

static void rig_fini(struct rig *g)
{
	while (g->query.regexes) {
		regex_free(g->query.regexes->regex);
		g->query.regexes = g->query.regexes->next;
	}
	arena_fini(&g->query.arena);
	labels_builder_fini(&g->builder);
	buf_fini(&g->set);
	fields_free(g->fields);
	template_run_free(g->run);
}

/* The output, or the error of compiling or running; valid until the next call. */
static struct str apply(struct rig *g, const char *text, struct error *e)
{
	struct template_program *t;
	struct str out;

	*e = (struct error){0};
	if (template_compile(&t, &g->query, str_c(text), e) < 0)
		return str_c(e->text);
	fields_begin(g->fields, buf_view(&g->set), STR_NONE, NULL);
	if (template_execute(t, g->run, g->fields, str_c(line), timestamp, &out, e) < 0)
		return str_c(e->text);
	return out;
}

struct example {
	const char *text, *output;
};

static void check(const struct example *list, size_t n)
{
	struct rig g;

	rig_init(&g);
	for (size_t i = 0; i < n; i++) {
		struct error e;
		struct str out = apply(&g, list[i].text, &e);
		if (!str_eq_c(out, list[i].output))
			fail_msg("%s\n  gives   %.*s\n  and not %s", list[i].text, STR_ARG(out),
				list[i].output);
	}
	rig_fini(&g);
}

#define CHECK(list) check((list), sizeof(list) / sizeof *(list))

static void actions(void **state)
{
	static const struct example list[] = {
		{"", ""},
		{"plain", "plain"},
		{"{{.app}}", "api"},
		{"{{ .app }} {{.method}}: {{__line__}}",
			"api GET: level=info msg=\"hello XYZ\" XYZ"},
		{"[{{.missing}}]", "[]"},
		{"{{- /* a comment */ -}}x", "x"},
		{"a {{/* c */}} b", "a  b"},
		{"a {{- \" x \" -}} b", "a x b"},
		{"a \n\t{{- .app}}\n", "aapi\n"},
		{"{{23 -}} < {{- 45}}", "23<45"},
		{"{{\"output\"}}", "output"},
		{"{{`\"output\"`}}", "\"output\""},
		{"{{printf \"%q\" \"output\"}}", "\"output\""},
		{"{{\"output\" | printf \"%q\"}}", "\"output\""},
		{"{{printf \"%q\" (print \"out\" \"put\")}}", "\"output\""},
		{"{{\"put\" | printf \"%s%s\" \"out\" | printf \"%q\"}}", "\"output\""},
		{"{{with \"output\"}}{{printf \"%q\" .}}{{end}}", "\"output\""},
		{"{{with $x := \"output\" | printf \"%q\"}}{{$x}}{{end}}", "\"output\""},
		{"{{with $x := \"output\"}}{{printf \"%q\" $x}}{{end}}", "\"output\""},
		{"{{with .missing}}a{{else}}b{{.app}}{{end}}", "bapi"},
		{"{{with .missing}}a{{else with .app}}[{{.}}]{{end}}", "[api]"},
		{"{{if .app}}yes{{end}}", "yes"},
		{"{{if .missing}}yes{{else}}no{{end}}", "no"},
		{"{{if eq .status \"200\"}}ok{{else if eq .status \"500\"}}bad{{else}}?{{end}}",
			"bad"},
		{"{{if and .app .missing}}1{{else}}2{{end}}", "2"},
		{"{{$x := 1}}{{$x = 2}}{{$x}}", "2"},
		{"{{$x := 1}}{{if true}}{{$x = 5}}{{$x := 7}}{{end}}{{$x}}", "5"},
		{"{{$a := .app}}{{$b := .method}}{{$a}}-{{$b}}-{{$.status}}", "api-GET-500"},
		{"{{range $i, $x := fromJson .list}}{{$i}}={{$x.t}};{{end}}", "0=one;1=two;"},
		{"{{range fromJson .list}}{{.id}}{{$.app}} {{end}}", "1api 2api "},
		{"{{range $x := fromJson .list}}{{$x.id}}{{end}}", "12"},
		{"{{range $k, $v := (fromJson .json).a}}{{$k}} {{end}}", "b n "},
		{"{{range 3}}{{.}}{{end}}", "012"},
		{"{{range $i := 3}}{{$i}}{{end}}", "012"},
		{"{{range 0}}x{{else}}none{{end}}", "none"},
		{"{{range fromJson .app}}x{{else}}none{{end}}", "none"},
		{"{{range 9}}{{if eq . 2}}{{continue}}{{end}}{{if eq . 4}}{{break}}{{end}}{{.}}{{end}}",
			"013"},
		{"{{range $i := 2}}{{range $j := 2}}{{if $j}}{{break}}{{end}}{{$i}}{{$j}} {{end}}{{end}}",
			"00 10 "},
		{"{{define \"T\"}}<{{.}}>{{end}}{{template \"T\" .app}}{{template \"T\" 5}}",
			"<api><5>"},
		{"{{block \"B\" .method}}[{{.}}]{{end}}", "[GET]"},
		{"{{define \"T\"}}{{$.app}}{{end}}{{template \"T\" .}}", "api"},
		{"{{template \"T\"}}{{define \"T\"}}late{{end}}", "late"},
		{"{{(fromJson .json).a.b}}", "x"},
		{"{{$j := fromJson .json}}{{$j.s}}{{$j.a.b}}", "qx"},
		{"{{(fromJson .json).big}}", "1.23456789e+09"},
		{"{{printf \"%.0f\" (fromJson .json).big}}", "1234567890"},
		{"{{(fromJson .json).a.n}}", "[1 2.5 s <nil> true]"},
		{"{{(fromJson .json).a}}", "map[b:x n:[1 2.5 s <nil> true]]"},
		{"{{(fromJson .json).none}}", "<no value>"},
		{"{{fromJson \"{\"}}|", "|"},
		{"{{fromJson \"{\\\"a\\\":1,\\\"a\\\":2}\"}}", "map[a:2]"},
		{"{{1}} {{-5}} {{0x10}} {{1_000}} {{0b11}} {{'a'}} {{1.5}} {{1e3}} {{true}}",
			"1 -5 16 1000 3 97 1.5 1000 true"},
		{"{{1000000.0}} {{1e21}} {{.000001}} {{1e-7}}", "1e+06 1e+21 1e-06 1e-07"},
		{"{{ .path | replace \" \" \"_\" | trunc 5 | upper }}", "/A_B/"},
		{"{{ if and (contains \"he\" \"hello\") (contains \"llo\" \"hello\") }} yes {{end}}",
			" yes "},
		{"{{print\n1\n2}}", "1 2"},
		{"{{\"\\u00e9\\n\\x41\"}}", "\xc3\xa9\nA"},
	};

	(void)state;
	CHECK(list);
}

static void builtins(void **state)
{
	static const struct example list[] = {
		{"{{and 1 0 2}} {{and 1 2}} {{or 0 \"\" 3}} {{or 0 \"\"}}", "0 2 3 "},
		{"{{not true}} {{not 0}} {{not .missing}} {{not .app}}", "false true true false"},
		/* What is not evaluated cannot fail. */
		{"{{or 1 (div 1 0)}} {{and 0 (div 1 0)}}", "1 0"},
		{"{{1 | or 0}} {{0 | and 1}}", "1 0"},
		{"{{eq 1 1}} {{eq 1 2 1}} {{eq \"a\" \"b\"}} {{ne 1 2}} {{eq true true}}",
			"true true false true true"},
		{"{{lt 1 2}} {{le 2 2}} {{gt 1.5 1.0}} {{ge \"a\" \"b\"}} {{lt \"a\" \"ab\"}}",
			"true true true false true"},
		{"{{eq .status \"200\" \"500\"}}", "true"},
		{"{{len .app}} {{len .utf}} {{len (fromJson .list)}} {{.app | len}}", "3 13 2 3"},
		{"{{index (fromJson .list) 1 \"t\"}} {{index (fromJson .json) \"a\" \"n\" 1}}",
			"two 2.5"},
		{"{{index . \"app\"}}{{index . \"missing\"}} {{index \"abc\" 1}}", "api 98"},
		{"{{slice .app 1}} {{slice .app 1 2}} {{slice .app}} {{slice (fromJson \"[1,2,3]\") 1 3}}",
			"pi p api [2 3]"},
		{"{{html \"<a href='x'>&\\\"\"}}", "&lt;a href=&#39;x&#39;&gt;&amp;&#34;"},
		{"{{js \"it's <\\\"b\\\"> = \\n\"}}",
			"it\\'s \\u003C\\\"b\\\"\\u003E \\u003D \\u000A"},
		{"{{urlquery \"a b/c?d=\xc3\xa9\"}}", "a+b%2Fc%3Fd%3D%C3%A9"},
		{"{{print 1 2 \"a\" \"b\" 3}} {{println \"a\" 1}}", "1 2ab3 a 1\n"},
	};

	(void)state;
	CHECK(list);
}

static void printing(void **state)
{
	static const struct example list[] = {
		{"{{printf \"%s|%10s|%-10s|%.2s\" .app .app .app .app}}",
			"api|       api|api       |ap"},
		{"{{printf \"%d|%5d|%-5d|%05d|%+d|% d\" 42 42 42 42 42 42}}",
			"42|   42|42   |00042|+42| 42"},
		{"{{printf \"%05d|%+05d|%x|%X|%#x|%o|%#o|%O|%b\" -42 42 255 255 255 8 8 8 5}}",
			"-0042|+0042|ff|FF|0xff|10|010|0o10|101"},
		{"{{printf \"%f|%.2f|%8.3f|%08.3f|%-8.2f|%e|%g\" 3.14159 3.14159 3.14159 -3.14159 1.5 1500.0 1e9}}",
			"3.141590|3.14|   3.142|-003.142|1.50    |1.500000e+03|1e+09"},
		{"{{printf \"%05.2f%%\" 1.234}}", "01.23%"},
		{"{{printf \"%6.2f|%06.2f\" (float64 .f) (float64 .f)}}", "  3.14|003.14"},
		{"{{printf \"%t %v %v %v\" true false 1.0 \"s\"}}", "true false 1 s"},
		{"{{printf \"%q %x %X % x %#x\" \"hi\\n\" \"hi\" \"hi\" \"hi\" \"hi\"}}",
			"\"hi\\n\" 6869 6869 68 69 0x6869"},
		{"{{printf \"%c %U %#U %q\" 0x41 0x41 0xe9 0x27}}",
			"A U+0041 U+00E9 '\xc3\xa9' '\\''"},
		{"{{printf \"%T %T %T %T %T\" 1 1.5 \"s\" true .}}",
			"int float64 string bool map[string]string"},
		{"{{printf \"%*d|%-*d|%.*f\" 5 1 5 1 2 1.005}}", "    1|1    |1.00"},
		{"{{printf \"%[2]d %[1]d\" 1 2}}", "2 1"},
		{"{{printf \"%d\" \"hi\"}}", "%!d(string=hi)"},
		{"{{printf \"%s\" 5}}", "%!s(int=5)"},
		{"{{printf \"hi%d\"}}", "hi%!d(MISSING)"},
		{"{{printf \"hi\" 1 \"x\"}}", "hi%!(EXTRA int=1, string=x)"},
		{"{{printf \"%[5]d\" 1}}", "%!d(BADINDEX)"},
		{"{{printf \"%d%\" 1}}", "1%!(NOVERB)"},
		{"{{printf \"%v %d\" (fromJson \"[1,2]\") (fromJson \"[1]\")}}",
			"[1 2] [%!d(float64=1)]"},
		{"{{printf \"%5.1f\" (fromJson \"[1,2.25]\")}}", "[  1.0   2.2]"},
		{"{{printf \"%q\" (fromJson \"[\\\"a\\\",\\\"b\\\"]\")}}", "[\"a\" \"b\"]"},
		{"{{printf \"%8s|%-8s|\" .utf \"\xc3\xa9\"}}",
			"Gr\xc3\xb6\xc3\x9f"
			"e \xc3\xa9t\xc3\xa9|\xc3\xa9       |"},
		{"{{printf \"%v\" nil}}", "<nil>"},
		{"{{printf \"%+.2e|%g|%G\" 12345.678 0.00001 1e-10}}", "+1.23e+04|1e-05|1E-10"},
		{"{{printf \"%3d|%-3d|%03d\" 12345 12345 12345}}", "12345|12345|12345"},
		{"{{printf \"%.3d|%8.3d\" 7 7}}", "007|     007"},
		{"{{printf \"%q\" \"\\x00\\u00ad\xff\"}}", "\"\\x00\\u00ad\\xff\""},
	};

	(void)state;
	CHECK(list);
}

static void strings(void **state)
{
	static const struct example list[] = {
		{"{{ToLower \"AbC\"}} {{ToUpper \"abc\"}} {{lower .utf}} {{upper \"stra\xc3\x9f"
		 "e \xc3\xa9\"}}",
			"abc ABC gr\xc3\xb6\xc3\x9f"
			"e \xc3\xa9t\xc3\xa9 STRA\xc3\x9f"
			"E \xc3\x89"},
		{"{{title \"hello big-world it's x_y\"}}", "Hello Big-World It's X_y"},
		{"{{Replace \"This is a string\" \" \" \"-\" -1}} {{Replace \"aaa\" \"a\" \"b\" 2}}",
			"This-is-a-string bba"},
		{"{{\"This is a string\" | replace \" \" \"-\"}} {{replace \"\" \"-\" \"ab\"}}",
			"This-is-a-string -a-b-"},
		{"{{trunc 5 \"Hello world\"}}|{{trunc -5 \"Hello world\"}}|{{trunc 99 \"x\"}}|{{trunc -99 \"x\"}}",
			"Hello|world|x|x"},
		{"{{trunc 0 \"x\"}}|{{trunc -1 \"x\"}}", "|x"},
		{"{{substr 0 5 \"hello world\"}}|{{substr -1 3 \"abcdef\"}}|{{substr 6 -1 \"hello world\"}}|{{substr 2 99 \"abc\"}}",
			"hello|abc|world|c"},
		{"{{TrimRight \"ab\u00e9\u00e9\" \"\u00e9\"}}|{{TrimSpace \"a\u2003\"}}", "ab|a"},
		{"{{Trim \" !x! \" \" !\"}}|{{TrimLeft \"aab\" \"a\"}}|{{TrimRight \"baa\" \"a\"}}",
			"x|b|b"},
		{"{{TrimPrefix \"  hi\" \"  \"}}|{{TrimSuffix \"hi.go\" \".go\"}}|{{TrimSpace \" \\t a \\n\"}}",
			"hi|hi|a"},
		{"{{trim \"  a  \"}}|{{trimAll \"$\" \"$5.00$\"}}|{{trimSuffix \"-\" \"hello-\"}}|{{trimPrefix \"-\" \"-hello\"}}",
			"a|5.00|hello|hello"},
		{"{{indent 4 .lines}}", "    one\n    two"},
		{"{{nindent 2 .lines}}", "\n  one\n  two"},
		{"{{repeat 3 \"ab\"}}{{repeat 0 \"x\"}}", "ababab"},
		{"{{contains \"a\" .app}} {{hasPrefix \"a\" .app}} {{hasSuffix \"a\" .app}}",
			"true true false"},
		{"{{alignLeft 5 \"hello world\"}}|{{alignLeft 5 \"hi\"}}|{{alignLeft -1 \"hi\"}}",
			"hello|hi   |hi"},
		{"{{alignRight 5 \"hello world\"}}|{{alignRight 5 \"hi\"}}", "world|   hi"},
		{"{{alignLeft 4 .utf}}|{{alignRight 3 .utf}}",
			"Gr\xc3\xb6\xc3\x9f|\xc3\xa9t\xc3\xa9"},
		{"{{default \"-\" .missing}} {{default \"-\" .app}} {{.missing | default \"none\"}} {{default 1 0}}",
			"- api none 1"},
		{"{{b64enc \"hello\"}} {{b64dec \"aGVsbG8=\"}}", "aGVsbG8= hello"},
		{"{{b64dec \"a!\"}}", "illegal base64 data at input byte 1"},
		{"{{urlencode \"a b&c\"}} {{urldecode \"a+b%26c\"}}", "a+b%26c a b&c"},
		{"{{count \"XYZ\" __line__}} {{__line__ | count \"[a-z]+=\"}} {{count \"\" \"abc\"}}",
			"2 2 4"},
		{"{{regexReplaceAll \"(a*)bc\" \"aaabc\" \"${1}a\"}}", "aaaa"},
		{"{{regexReplaceAll \"a(x*)b\" \"-ab-axxb-\" \"T\"}}", "-T-T-"},
		{"{{regexReplaceAll \"a(x*)b\" \"-ab-axxb-\" \"$1\"}}", "--xx-"},
		{"{{regexReplaceAll \"a(x*)b\" \"-ab-axxb-\" \"$1W\"}}", "---"},
		{"{{regexReplaceAll \"a(x*)b\" \"-ab-axxb-\" \"${1}W\"}}", "-W-xxW-"},
		{"{{regexReplaceAll \"(?P<y>x)\" \"axa\" \"[$y$$${y}]\"}}", "a[x$x]a"},
		{"{{regexReplaceAllLiteral \"a(x*)b\" \"-ab-axxb-\" \"${1}\"}}", "-${1}-${1}-"},
		{"{{regexReplaceAll \"x*\" \"axb\" \"-\"}}", "-a-b-"},
		{"{{regexReplaceAll (print \"a\" \"+\") \"caat\" \"o\"}}", "cot"},
	};

	(void)state;
	CHECK(list);
}

static void maths(void **state)
{
	static const struct example list[] = {
		{"{{add 3 2 5}} {{sub 5 2}} {{mul 5 2 3}} {{div 10 2}} {{mod 10 3}} {{div -7 2}} {{mod -7 2}}",
			"10 3 30 5 1 -3 -1"},
		{"{{add .n 1}} {{sub .n \"2\"}} {{add .app 1}} {{add 1.9 1}} {{add .zeros 1}} {{add \"1.0\" 1}}",
			"43 40 1 2 11 2"},
		{"{{addf 3.5 2 5}} {{subf 5.5 2 1.5}} {{mulf 5.5 2 2.5}} {{divf 10 2 4}}",
			"10.5 2 27.5 1.25"},
		{"{{addf 0.1 0.2}} {{subf 0.3 0.1}} {{mulf 0.1 3}} {{divf 1 3}} {{divf 2 3}}",
			"0.3 0.2 0.3 0.3333333333333333 0.6666666666666667"},
		{"{{max 1 2 3}} {{min 1 2 3}} {{maxf 1 2.5 1.3}} {{minf 1 2.5 1.5}}", "3 1 2.5 1"},
		{"{{ceil 123.001}} {{floor 123.9999}} {{round 123.555555 3}} {{round 123.88571428571 5 .2}}",
			"124 123 123.556 123.88572"},
		{"{{round -1.4 0}} {{round -1.5 0}} {{round 2.5 0}}", "-1 -2 3"},
		{"{{int \"3\"}} {{int 3.9}} {{int \"x\"}} {{float64 \"3.5\"}} {{float64 2}} {{int true}}",
			"3 3 0 3.5 2 1"},
		{"{{bytes \"2 KB\"}} {{bytes \"1KiB\"}} {{duration .dur}} {{duration_seconds \"250ms\"}}",
			"2000 1024 5400 0.25"},
		{"{{.dur | duration | printf \"%.1f\"}}", "5400.0"},
		{"{{add 9223372036854775807 1}}", "-9223372036854775808"},
		{"{{div \"-9223372036854775808\" -1}} {{mod \"-9223372036854775808\" -1}}",
			"-9223372036854775808 0"},
		{"{{if gt (int .status) 499}}server{{end}}", "server"},
	};

	(void)state;
	CHECK(list);
}

static void times(void **state)
{
	static const struct example list[] = {
		{"{{__timestamp__}}", "2023-03-23 13:13:35.123456789 +0000 UTC"},
		{"{{__timestamp__ | date \"2006-01-02T15:04:05.00Z-07:00\"}}",
			"2023-03-23T13:13:35.12Z+00:00"},
		{"{{__timestamp__ | unixEpoch}} {{__timestamp__ | unixEpochMillis}} {{unixEpochNanos __timestamp__}}",
			"1679577215 1679577215123 1679577215123456789"},
		{"{{date \"Mon Monday Jan January _2 02 2 __2 002 06\" __timestamp__}}",
			"Thu Thursday Mar March 23 23 23  82 082 23"},
		{"{{date \"3:04PM 03:4:5 pm .000 .999 MST Z07:00 -0700\" __timestamp__}}",
			"1:13PM 01:13:35 pm .123 .123 UTC Z +0000"},
		{"{{date \"2006-01-02\" 0}}", "1970-01-01"},
		{"{{date \"15:04:05.000000\" __timestamp__}} {{date \"15:04:05,999999999\" __timestamp__}}",
			"13:13:35.123456 13:13:35,123456789"},
		{"{{toDate \"2006-01-02\" .date}}", "2021-11-02 00:00:00 +0000 UTC"},
		{"{{toDate \"2006-01-02\" .date | unixEpoch}}", "1635811200"},
		{"{{toDate \"2006-01-02\" .app}}", "0001-01-01 00:00:00 +0000 UTC"},
		{"{{toDate \"2006-01-02T15:04:05Z07:00\" \"2021-11-02T10:00:00.5+02:00\" | unixEpochMillis}}",
			"1635840000500"},
		{"{{toDate \"02/Jan/2006:15:04:05 -0700\" \"10/Oct/2000:13:55:36 -0700\" | unixEpoch}}",
			"971211336"},
		{"{{toDate \"Jan _2 2006 3:04PM\" \"Feb  3 2013 7:54AM\"}}",
			"2013-02-03 07:54:00 +0000 UTC"},
		{"{{toDate \"2006-01-02\" \"2021-02-30\" | unixEpoch}}", "-62135596800"},
		{"{{toDateInZone \"2006-01-02 15:04\" \"UTC\" \"2021-11-02 10:30\" | unixEpoch}}",
			"1635849000"},
		{"{{toDateInZone \"2006-01-02 15:04\" \"Nowhere/None\" \"2021-11-02 10:30\" | unixEpoch}}",
			"1635849000"},
		{"{{toDateInZone \"2006-01-02 15:04\" \"+02:00\" \"2021-11-02 10:30\"}}",
			"2021-11-02 10:30:00 +0200 +0200"},
		{"{{unixToTime \"1679577215\" | date \"2006-01-02 15:04:05\"}}",
			"2023-03-23 13:13:35"},
		{"{{unixToTime \"1679577215123\" | unixEpochMillis}} {{unixToTime \"19439\" | date \"2006-01-02\"}}",
			"1679577215123 2023-03-23"},
		{"{{unixToTime \"1679577215123456\" | unixEpochNanos}} {{unixToTime \"1679577215123456789\" | unixEpochNanos}}",
			"1679577215123456000 1679577215123456789"},
		{"{{sub (unixEpoch __timestamp__) (unixEpoch (toDate \"2006-01-02\" .date))}}",
			"43766015"},
		{"{{if gt (unixEpoch now) \"1\"}}now{{end}}", "now"},
	};

	(void)state;
	CHECK(list);
}

static void errors(void **state)
{
	static const struct example list[] = {
		{"{{.app", "template: :1: unclosed action"},
		{"{{foo}}", "template: :1: function \"foo\" not defined"},
		{"\n{{$x}}", "template: :2: undefined variable \"$x\""},
		{"{{if .x}}a", "template: :1: unexpected EOF"},
		{"{{end}}", "template: :1: unexpected {{end}}"},
		{"{{else}}", "template: :1: unexpected {{else}}"},
		{"{{if}}{{end}}", "template: :1: missing value for if"},
		{"{{}}", "template: :1: missing value for command"},
		{"{{.app |}}", "template: :1: missing value for command"},
		{"{{.app | 1}}", "template: :1: non executable command in pipeline stage 2"},
		{"{{break}}", "template: :1: {{break}} outside {{range}}"},
		{"{{\"a}}", "template: :1: unterminated quoted string"},
		{"{{`a}}", "template: :1: unterminated raw quoted string"},
		{"{{(1}}", "template: :1: unclosed left paren"},
		{"{{1)}}", "template: :1: unexpected right paren"},
		{"{{/* a", "template: :1: unclosed comment"},
		{"{{/* a */ 1}}", "template: :1: comment ends before closing delimiter"},
		{"{{1x}}", "template: :1: bad number syntax: \"1x\""},
		{"{{99999999999999999999}}",
			"template: :1: integer overflow: \"99999999999999999999\""},
		{"{{a-b}}", "template: :1: bad character U+002D '-'"},
		{"{{\x01}}", "template: :1: unrecognized character in action: U+0001"},
		{"{{$x, $y := 1}}", "template: :1: too many declarations in command"},
		{"{{range $i, 1}}{{end}}", "template: :1: range can only initialize variables"},
		{"{{template \"x\"}}", "template: :1: template \"x\" not defined"},
		{"{{\"a\".b}}", "template: :1: unexpected . after term \"\"a\"\""},
		{"{{if true}}{{$y := 1}}{{end}}{{$y}}", "template: :1: undefined variable \"$y\""},
		{"{{if 1}}{{else}}{{else}}{{end}}", "template: :1: expected end; found {{else}}"},
		{"{{div 1 0}}",
			"template: :1:2: executing \"\" at <div 1 0>: error calling div: runtime error: integer divide by zero"},
		{"x\n {{ divf 1 .missing }}",
			"template: :2:5: executing \"\" at <divf 1 .missing>: error calling divf: decimal division by 0"},
		{"{{lower 5}}", "template: :1:8: executing \"\" at <5>: expected string; found 5"},
		{"{{trunc .app .n}}",
			"template: :1:8: executing \"\" at <.app>: wrong type for value; expected int; got string"},
		{"{{lower}}",
			"template: :1:2: executing \"\" at <lower>: wrong number of args for lower: want 1 got 0"},
		{"{{printf}}",
			"template: :1:2: executing \"\" at <printf>: wrong number of args for printf: want at least 1 got 0"},
		{"{{eq 1 1.0}}",
			"template: :1:2: executing \"\" at <eq 1 1.0>: error calling eq: incompatible types for comparison"},
		{"{{eq .status 500}}",
			"template: :1:2: executing \"\" at <eq .status 500>: error calling eq: incompatible types for comparison"},
		{"{{.app.x}}",
			"template: :1:2: executing \"\" at <.app.x>: can't evaluate field x in type string"},
		{"{{(fromJson .json).none.x}}",
			"template: :1:2: executing \"\" at <(fromJson .json).none.x>: nil pointer evaluating interface {}.x"},
		{"{{lower (fromJson .json).none}}",
			"template: :1:8: executing \"\" at <(fromJson .json).none>: invalid value; expected string"},
		{"{{range .app}}{{end}}",
			"template: :1:8: executing \"\" at <.app>: range can't iterate over api"},
		{"{{index (fromJson .list) 5}}",
			"template: :1:2: executing \"\" at <index (fromJson .list) 5>: error calling index: index out of range: 5"},
		{"{{.app 1}}",
			"template: :1:2: executing \"\" at <.app>: app is not a method but has arguments"},
		{"{{1 2}}",
			"template: :1:2: executing \"\" at <1>: can't give argument to non-function 1"},
		{"{{nil}}", "template: :1:2: executing \"\" at <nil>: nil is not a command"},
		{"{{len 3}}",
			"template: :1:2: executing \"\" at <len 3>: error calling len: len of type int"},
		{"{{repeat -1 \"x\"}}",
			"template: :1:2: executing \"\" at <repeat -1 \"x\">: error calling repeat: strings: negative Repeat count"},
		{"{{substr 5 7 .app}}",
			"template: :1:2: executing \"\" at <substr 5 7 .app>: error calling substr: runtime error: slice bounds out of range [5:3]"},
		{"{{duration .app}}",
			"template: :1:2: executing \"\" at <duration .app>: error calling duration: time: invalid duration \"api\""},
		{"{{unixToTime .app}}",
			"template: :1:2: executing \"\" at <unixToTime .app>: error calling unixToTime: unable to parse time 'api'"},
		{"{{urldecode \"%zz\"}}",
			"template: :1:2: executing \"\" at <urldecode \"%zz\">: error calling urldecode: invalid URL escape \"%zz\""},
		{"{{define \"T\"}}{{template \"T\"}}{{end}}{{template \"T\"}}",
			"template: :1:25: executing \"\" at <{{template \"T\"}}>: exceeded maximum template depth (32)"},
	};

	(void)state;
	CHECK(list);
}

/* No template runs for long or fills the memory. */
static void bounds(void **state)
{
	static const struct example list[] = {
		{"{{range 1000000}}{{range 1000000}}{{end}}{{end}}", "more than 100000 steps"},
		{"{{range 100000}}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{{end}}",
			"more than 1048576 bytes"},
		{"{{repeat 2000000 \"x\"}}", "more than 1048576 bytes"},
		{"{{repeat 9223372036854775807 \"xy\"}}", "more than 1048576 bytes"},
		{"{{$x := repeat 1000000 \"x\"}}{{range 100}}{{$x = upper $x}}{{end}}",
			"more than"},
		{"{{alignLeft 9223372036854775807 \"x\"}}", "more than 1048576 bytes"},
		{"{{indent 9223372036854775807 \"x\"}}", "more than 1048576 bytes"},
		{"{{printf \"%1000000d%1000000d%1000000d\" 1 2 3}}", "more than 1048576 bytes"},
		{"{{replace \"\" (repeat 1000 \"y\") (repeat 100000 \"x\")}}",
			"more than 1048576 bytes"},
		{"{{regexReplaceAll \"x\" (repeat 100000 \"x\") (repeat 1000 \"y\")}}",
			"more than"},
		{"{{count \"(\" .app}}", "error parsing regexp"},
		{"{{count (print \"(\") .app}}", "error parsing regexp"},
	};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		struct error e;
		struct str out = apply(&g, list[i].text, &e);
		if (e.code == 0 || str_find(out, str_c(list[i].output)) < 0)
			fail_msg("%s gives %.*s", list[i].text, STR_ARG(str_sub(out, 0, 200)));
	}
	rig_fini(&g);
}

static void deep(void **state)
{
	struct rig g;
	struct buf text = {0};
	struct error e;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < 1000; i++)
		buf_c(&text, "{{if 1}}");
	apply(&g, buf_cstr(&text), &e);
	assert_int_equal(e.code, ERR_LIMIT);
	buf_clear(&text);
	buf_c(&text, "{{");
	for (size_t i = 0; i < 1000; i++)
		buf_char(&text, '(');
	apply(&g, buf_cstr(&text), &e);
	assert_int_equal(e.code, ERR_LIMIT);
	buf_clear(&text);
	buf_c(&text, "{{if 0}}");
	for (size_t i = 0; i < 1000; i++)
		buf_c(&text, "{{else if 0}}");
	buf_c(&text, "{{end}}");
	apply(&g, buf_cstr(&text), &e);
	assert_int_equal(e.code, ERR_LIMIT);
	buf_clear(&text);
	for (size_t i = 0; i < 1000; i++)
		buf_c(&text, "{{$x := 1}}");
	apply(&g, buf_cstr(&text), &e);
	assert_int_equal(e.code, ERR_LIMIT);
	buf_clear(&text);
	memset(buf_reserve(&text, TEMPLATE_TEXT_MAX + 1), 'x', TEMPLATE_TEXT_MAX + 1);
	text.n = TEMPLATE_TEXT_MAX + 1;
	apply(&g, buf_cstr(&text), &e);
	assert_int_equal(e.code, ERR_LIMIT);
	/* As deep as it goes, in templates that call each other: no stack runs over. */
	buf_clear(&text);
	buf_c(&text, "{{define \"T\"}}{{.x}}");
	for (size_t i = 0; i < 90; i++)
		buf_c(&text, "{{if 1}}");
	buf_c(&text, "{{template \"T\" .}}");
	for (size_t i = 0; i < 90; i++)
		buf_c(&text, "{{end}}");
	buf_c(&text, "{{end}}{{template \"T\" .}}");
	apply(&g, buf_cstr(&text), &e);
	assert_int_equal(e.code, ERR_ARG);
	assert_non_null(strstr(e.text, "maximum template depth"));
	buf_fini(&text);
	rig_fini(&g);
}

static void wanted_fields(void **state)
{
	static const struct {
		const char *text, *names; /* "*" for all */
		bool line;
	} list[] = {
		{"x", "", false},
		{"{{.a}} {{.b | upper}}", "a b", false},
		{"{{__line__}}", "", true},
		{"{{if .a}}{{$.b}}{{else}}{{printf \"%s\" .c}}{{end}}", "a b c", false},
		{"{{range fromJson .a}}{{.b}}{{$.c}}{{.}}{{end}}", "a c", false},
		{"{{with .a}}{{.}}{{else}}{{.d}}{{end}}", "a d", false},
		{"{{$x := .a}}{{$x}}{{index . \"b\"}}", "a b", false},
		{"{{(fromJson .a).b}}", "a", false},
		{"{{.}}", "*", false},
		{"{{range $k, $v := .}}{{$k}}{{end}}", "*", false},
		{"{{define \"T\"}}{{.a}}{{end}}{{template \"T\" .b}}", "b", false},
		{"{{define \"T\"}}{{.a}}{{end}}{{template \"T\" .}}", "*", false},
		{"{{len $}}", "*", false},
		{"{{index . .a}}", "*", false},
	};
	struct rig g;

	(void)state;
	rig_init(&g);
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		struct template_program *t;
		struct wanted w = {0};
		struct buf names = {0};
		struct error e;
		assert_int_equal(template_compile(&t, &g.query, str_c(list[i].text), &e), 0);
		template_wants(t, &w);
		for (size_t j = 0; j < w.n && !w.all; j++) {
			buf_c(&names, j ? " " : "");
			buf_str(&names, w.names[j]);
		}
		if (w.all)
			buf_char(&names, '*');
		assert_string_equal(buf_cstr(&names), list[i].names);
		assert_int_equal(w.line, list[i].line);
		buf_fini(&names);
	}
	rig_fini(&g);
}

/* A run serves many rows, and one that failed does not hurt the next. */
static void again(void **state)
{
	struct rig g;
	struct error e;

	(void)state;
	rig_init(&g);
	for (int i = 0; i < 100; i++) {
		assert_true(str_eq_c(
			apply(&g, "{{range 5}}{{upper $.app}}{{end}}", &e), "APIAPIAPIAPIAPI"));
		apply(&g, "{{range 5}}{{repeat 500000 $.app | upper}}{{end}}", &e);
		assert_int_equal(e.code, ERR_ARG);
		apply(&g, "{{with $x := .app}}{{div 1 0}}{{end}}", &e);
		assert_int_equal(e.code, ERR_ARG);
	}
	rig_fini(&g);
}

/* Of nothing at all, each on a run that holds no memory yet. */
static void empties(void **state)
{
	static const char *const list[] = {"{{printf \"%s\" \"\"}}", "{{printf \"\"}}", "{{print}}",
		"{{lower .none}}", "{{title .none}}", "{{trim .none}}", "{{trimAll .none .none}}",
		"{{Replace .none .none .none -1}}", "{{indent 0 .none}}", "{{repeat 5 .none}}",
		"{{alignLeft 0 .none}}", "{{alignRight 0 \"x\"}}", "{{b64enc .none}}",
		"{{b64dec .none}}", "{{urlencode .none}}", "{{urldecode .none}}", "{{html .none}}",
		"{{js .none}}", "{{regexReplaceAll \"\" .none .none}}", "{{fromJson .none}}",
		"{{trunc -1 .none}}", "{{substr 0 0 .none}}", "{{slice .none 0 0}}",
		"{{date \"\" now}}", "{{printf \"%x%.0s\" .none .none}}",
		"{{trimPrefix .none .none}}", "{{range .none}}x{{end}}{{with .none}}y{{end}}",
		"{{.none}}{{.none}}", "{{define \"T\"}}{{.}}{{end}}{{template \"T\" .none}}"};

	(void)state;
	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		struct rig g;
		struct error e;
		struct str out;
		rig_init(&g);
		out = apply(&g, list[i], &e);
		if (e.code || out.n)
			fail_msg("%s gives %.*s", list[i], STR_ARG(out));
		rig_fini(&g);
	}
}

/* What a run holds is charged, and given back; without room for it the row fails. */
static void charged(void **state)
{
	struct account a;
	struct template_program *t;
	struct template_run *run;
	struct error e = {0};
	struct str out;
	struct rig g;

	(void)state;
	rig_init(&g);
	account_init(&a, "test", 3 << 20, NULL);
	run = template_run_new(&a);
	fields_begin(g.fields, buf_view(&g.set), STR_NONE, NULL);
	assert_int_equal(
		template_compile(&t, &g.query,
			STR("{{$x := repeat 900000 \"x\"}}{{range 5}}{{$x = print $x \"y\"}}{{end}}"),
			&e),
		0);
	assert_int_equal(
		template_execute(t, run, g.fields, STR("x"), timestamp, &out, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "memory for queries"));
	assert_true(account_held(&a) > 1 << 20);
	template_run_free(run);
	assert_int_equal(account_held(&a), 0);
	rig_fini(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(actions),
		cmocka_unit_test(builtins),
		cmocka_unit_test(printing),
		cmocka_unit_test(strings),
		cmocka_unit_test(maths),
		cmocka_unit_test(times),
		cmocka_unit_test(errors),
		cmocka_unit_test(bounds),
		cmocka_unit_test(deep),
		cmocka_unit_test(wanted_fields),
		cmocka_unit_test(again),
		cmocka_unit_test(empties),
		cmocka_unit_test(charged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
