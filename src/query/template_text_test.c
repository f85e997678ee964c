/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of alerts.  Outputs are worked out by hand from Prometheus' template reference. */
#include "query/template_text.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "record/labels.h"

struct example {
	const char *text, *want;
	double value;
};

/* Runs it about {app="shop", instance="web1.example.com:9100"}. */
static int run(const char *text, double value, struct buf *out, struct error *e)
{
	struct labels_builder b = {0};
	struct template_text *t;
	struct buf labels = {0};
	struct str got;
	int r = template_text_new(&t, str_c(text), e);

	if (r < 0)
		return r;
	labels_builder_set(&b, STR("app"), STR("shop"), NULL);
	labels_builder_set(&b, STR("instance"), STR("web1.example.com:9100"), NULL);
	labels_builder_write(&b, &labels);
	r = template_text_run(t,
		&(struct template_about){.labels = buf_view(&labels),
			.value = value,
			.external_url = STR("http://x")},
		&got, e);
	if (r == 0)
		buf_str(out, got);
	template_text_free(t);
	labels_builder_fini(&b);
	buf_fini(&labels);
	return r;
}

static void check(const struct example *x)
{
	struct buf out = {0};
	struct error e;

	if (run(x->text, x->value, &out, &e) < 0)
		fail_msg("%s: %s", x->text, e.text);
	assert_string_equal(buf_cstr(&out), x->want);
	buf_fini(&out);
}

static void test_data(void **state)
{
	static const struct example examples[] = {
		{"no template", "no template", 0},
		{"{{ $labels.app }} has {{ $value }} errors", "shop has 12.5 errors", 12.5},
		{"{{.Labels.app}}/{{.Value}}/{{ .ExternalURL }}/{{ $externalURL }}",
			"shop/3/http://x/http://x", 3},
		{"[{{ $labels.none }}{{ $externalLabels.none }}]", "[<no value>]", 0},
		{"{{ range $k, $v := .Labels }}{{ $k }}={{ $v }};{{ end }}",
			"app=shop;instance=web1.example.com:9100;", 0},
		{"{{ index $labels \"app\" | toUpper }}", "SHOP", 0},
		{"{{ printf \"%.2f\" $value }}", "0.33", 1.0 / 3},
		{"{{ if gt $value 10.0 }}many{{ else }}few{{ end }}", "many", 11},
		{"{{ with $x := .Value }}{{ $x }}{{ end }}", "7", 7},
		{"{{ define \"a\" }}<{{ . }}>{{ end }}{{ template \"a\" .Labels.app }}", "<shop>",
			0},
	};

	for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
		check(&examples[i]);
}

static void test_functions(void **state)
{
	static const struct example examples[] = {
		{"{{ humanize .Value }}", "1.235k", 1234.567},
		{"{{ humanize .Value }}", "-12.35M", -12345678},
		{"{{ humanize .Value }}", "0", 0},
		{"{{ humanize .Value }}", "10m", 0.01},
		{"{{ humanize .Value }}", "123.6u", 0.0001236},
		{"{{ humanize \"1e6\" }}", "1M", 0},
		{"{{ humanize1024 .Value }}", "1.5Mi", 1572864},
		{"{{ humanize1024 .Value }}", "0.5", 0.5},
		{"{{ humanizeDuration .Value }}", "0s", 0},
		{"{{ humanizeDuration .Value }}", "59.5s", 59.5},
		{"{{ humanizeDuration .Value }}", "1m 0s", 60},
		{"{{ humanizeDuration .Value }}", "1h 0m 1s", 3601},
		{"{{ humanizeDuration .Value }}", "1d 0h 0m 5s", 86405},
		{"{{ humanizeDuration .Value }}", "-1m 1s", -61},
		{"{{ humanizeDuration .Value }}", "10ms", 0.01},
		{"{{ humanizePercentage .Value }}", "12.35%", 0.123456},
		{"{{ humanizeTimestamp .Value }}", "2015-06-10 13:59:00 +0000 UTC", 1433944740},
		{"{{ (toTime .Value) | date \"2006\" }}", "2015", 1433944740},
		{"{{ match \"^sh\" .Labels.app }} {{ match \"x\" .Labels.app }}", "true false", 0},
		{"{{ reReplaceAll \"(s)h\" \"<$1>\" .Labels.app }}", "<s>op", 0},
		{"{{ stripPort $labels.instance }}", "web1.example.com", 0},
		{"{{ stripDomain $labels.instance }}", "web1:9100", 0},
		{"{{ stripPort \"[::1]:80\" }} {{ stripPort \"::1\" }}", "::1 ::1", 0},
		{"{{ stripDomain \"10.0.0.1:80\" }}", "10.0.0.1:80", 0},
		{"{{ parseDuration \"1h30m\" }}", "5400", 0},
		{"{{ title \"ab cd\" }}{{ toLower \"AB\" }}{{ safeHtml \"<b>\" }}", "Ab Cdab<b>",
			0},
	};

	for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
		check(&examples[i]);
}

static void test_failures(void **state)
{
	static const char *const bad[][2] = {
		{"{{ $labels.app", "unclosed action"},
		{"{{ $nothing }}", "undefined variable"},
		{"{{ humanise .Value }}", "function \"humanise\" not defined"},
		{"{{ humanize .Labels.app }}", "cannot read"},
		{"{{ humanize .Labels }}", "can't convert"},
		{"{{ .labels.app }}", "nil pointer"},
		{"{{ parseDuration \"soon\" }}", "not a valid duration"},
		{"{{ match \"(\" \"a\" }}", "regexp"},
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct buf out = {0};
		struct error e = {0};

		assert_true(run(bad[i][0], 1, &out, &e) < 0);
		if (!strstr(e.text, bad[i][1]))
			fail_msg("%s: \"%s\" has no \"%s\"", bad[i][0], e.text, bad[i][1]);
		buf_fini(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_functions),
		cmocka_unit_test(test_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
