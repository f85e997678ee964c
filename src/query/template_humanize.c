/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions of the texts of alerts: numbers for people, and what Prometheus has
 * under names of its own.
 * Source: prometheus.io/docs/prometheus/latest/configuration/template_reference/.
 */
#include <math.h>
#include <stdio.h>

#include "base/duration.h"
#include "codec/regex.h"
#include "query/number.h"
#include "query/template_tree.h"

#define FUNCTION(name)                                                                             \
	static int name(                                                                           \
		struct template_run *r, const struct datum *args, size_t n, struct datum *out)

static const char *const larger[] = {"k", "M", "G", "T", "P", "E", "Z", "Y"};
static const char *const larger_binary[] = {"ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"};
static const char *const smaller[] = {"m", "u", "n", "p", "f", "a", "z", "y"};
enum { PREFIXES = 8 };

static int number(struct template_run *r, const struct datum *d, double *out)
{
	switch (d->kind) {
	case DATUM_FLOAT: *out = d->f; return 0;
	case DATUM_INT: *out = (double)d->i; return 0;
	case DATUM_STRING:
		if (number_float(d->s, out))
			return 0;
		return template_fail(
			r, "cannot read \"%.*s\" as a number", STR_ARG(str_sub(d->s, 0, 100)));
	default: return template_fail(r, "can't convert %s to a number", datum_type(d));
	}
}

/* Four digits, as Go's %.4g. */
static void put_short(struct buf *out, double v)
{
	if (isnan(v))
		buf_c(out, "NaN");
	else if (isinf(v))
		buf_c(out, v > 0 ? "+Inf" : "-Inf");
	else
		buf_printf(out, "%.4g", v);
}

static const char *shrink(double *v, double by, const char *const *prefixes)
{
	const char *prefix = "";

	for (int i = 0; i < PREFIXES && fabs(*v) >= by; i++) {
		prefix = prefixes[i];
		*v /= by;
	}
	return prefix;
}

static const char *grow(double *v)
{
	const char *prefix = "";

	for (int i = 0; i < PREFIXES && fabs(*v) < 1; i++) {
		prefix = smaller[i];
		*v *= 1000;
	}
	return prefix;
}

static bool is_plain(double v)
{
	return v == 0 || !isfinite(v);
}

FUNCTION(humanize)
{
	struct buf *b = template_scratch(r);
	const char *prefix = "";
	double v;

	if (number(r, &args[0], &v) < 0)
		return ERR_ARG;
	if (!is_plain(v))
		prefix = fabs(v) >= 1 ? shrink(&v, 1000, larger) : grow(&v);
	put_short(b, v);
	buf_c(b, prefix);
	return template_keep(r, b, out);
}

FUNCTION(humanize_1024)
{
	struct buf *b = template_scratch(r);
	const char *prefix = "";
	double v;

	if (number(r, &args[0], &v) < 0)
		return ERR_ARG;
	if (!is_plain(v))
		prefix = shrink(&v, 1024, larger_binary);
	put_short(b, v);
	buf_c(b, prefix);
	return template_keep(r, b, out);
}

/* From a minute on whole seconds: "1d 2h 3m 4s". */
static void put_long_duration(struct buf *b, double v)
{
	int64_t s = (int64_t)v, days = s / 86400;

	if (days)
		buf_printf(b, "%lldd ", (long long)days);
	if (s >= 3600)
		buf_printf(b, "%dh ", (int)(s / 3600 % 24));
	buf_printf(b, "%dm %ds", (int)(s / 60 % 60), (int)(s % 60));
}

FUNCTION(humanize_duration)
{
	struct buf *b = template_scratch(r);
	const char *prefix = "";
	double v;

	if (number(r, &args[0], &v) < 0)
		return ERR_ARG;
	if (fabs(v) >= 60 && fabs(v) < 9e18) {
		buf_c(b, v < 0 ? "-" : "");
		put_long_duration(b, fabs(v));
		return template_keep(r, b, out);
	}
	if (!is_plain(v) && fabs(v) < 1)
		prefix = grow(&v);
	put_short(b, v);
	if (isfinite(v))
		buf_printf(b, "%ss", prefix);
	return template_keep(r, b, out);
}

FUNCTION(humanize_percentage)
{
	struct buf *b = template_scratch(r);
	double v;

	if (number(r, &args[0], &v) < 0)
		return ERR_ARG;
	put_short(b, v * 100);
	buf_char(b, '%');
	return template_keep(r, b, out);
}

FUNCTION(to_time)
{
	double v, s;

	if (number(r, &args[0], &v) < 0)
		return ERR_ARG;
	/* Years have five digits at most. */
	if (!(fabs(v) < 2e12))
		return template_fail(r, "%g is no time", v);
	s = floor(v);
	*out = (struct datum){
		.kind = DATUM_TIME, .t = {.s = (int64_t)s, .ns = (int32_t)((v - s) * 1e9)}};
	return 0;
}

FUNCTION(humanize_timestamp)
{
	struct buf *b = template_scratch(r);
	struct datum t;
	double v;

	if (number(r, &args[0], &v) < 0)
		return ERR_ARG;
	if (!isfinite(v))
		put_short(b, v);
	else if (to_time(r, args, n, &t) < 0)
		return ERR_ARG;
	else
		datum_print(r, b, &t);
	return template_keep(r, b, out);
}

FUNCTION(match)
{
	const struct regex *regex;
	struct str whole;
	int found;

	if (template_regex(r, args[0].s, &regex) < 0)
		return ERR_ARG;
	if ((found = regex_find(regex, args[1].s, 0, &whole, 1)) < 0)
		return template_fail(r, "the regex took too many steps");
	*out = datum_bool(found > 0);
	return 0;
}

/* Pattern, replacement, text. */
FUNCTION(re_replace_all)
{
	const struct datum in_order[] = {args[0], args[2], args[1]};

	return template_table_find(template_regexes, STR("regexReplaceAll"))
		->call(r, in_order, 3, out);
}

static int under_other_name(
	struct template_run *r, const char *name, const struct datum *args, struct datum *out)
{
	return template_table_find(template_strings, str_c(name))->call(r, args, 1, out);
}

FUNCTION(to_lower)
{
	return under_other_name(r, "lower", args, out);
}

FUNCTION(to_upper)
{
	return under_other_name(r, "upper", args, out);
}

/* host:port, [v6]:port; what has no port stays. */
static void split_port(struct str s, struct str *host, struct str *port)
{
	ptrdiff_t colon = -1, bracket = -1;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == ':')
			colon = (ptrdiff_t)i;
		if (s.p[i] == ']')
			bracket = (ptrdiff_t)i;
	}
	*host = s;
	*port = STR("");
	if (colon < 0 || colon < bracket ||
		(bracket < 0 && str_chr(s, ':') != colon)) /* an IPv6 address alone */
		return;
	*host = str_sub(s, 0, (size_t)colon);
	*port = str_sub(s, (size_t)colon, s.n);
}

FUNCTION(strip_port)
{
	struct str host, port;

	split_port(args[0].s, &host, &port);
	if (port.n && host.n > 1 && host.p[0] == '[')
		host = str_sub(host, 1, host.n - 1);
	*out = datum_string(host);
	return 0;
}

static bool is_address(struct str host)
{
	for (size_t i = 0; i < host.n; i++)
		if (!(host.p[i] >= '0' && host.p[i] <= '9') && host.p[i] != '.')
			return str_chr(host, ':') >= 0;
	return true;
}

FUNCTION(strip_domain)
{
	struct buf *b = template_scratch(r);
	struct str host, port;

	split_port(args[0].s, &host, &port);
	if (!is_address(host))
		host = str_cut(&host, '.');
	buf_str(b, host);
	buf_str(b, port);
	return template_keep(r, b, out);
}

FUNCTION(parse_duration)
{
	int64_t ns;

	if (!duration_parse(args[0].s, &ns))
		return template_fail(r, "not a valid duration string: \"%.*s\"",
			STR_ARG(str_sub(args[0].s, 0, 100)));
	*out = datum_float((double)ns / 1e9);
	return 0;
}

/* Texts are not escaped for HTML here. */
FUNCTION(safe_html)
{
	*out = args[0];
	return 0;
}

const struct template_function template_humanize[] = {
	{"humanize", "a", humanize, CALL_PLAIN},
	{"humanize1024", "a", humanize_1024, CALL_PLAIN},
	{"humanizeDuration", "a", humanize_duration, CALL_PLAIN},
	{"humanizePercentage", "a", humanize_percentage, CALL_PLAIN},
	{"humanizeTimestamp", "a", humanize_timestamp, CALL_PLAIN},
	{"toTime", "a", to_time, CALL_PLAIN},
	{"match", "ss", match, CALL_PLAIN},
	{"reReplaceAll", "sss", re_replace_all, CALL_PLAIN},
	{"toLower", "s", to_lower, CALL_PLAIN},
	{"toUpper", "s", to_upper, CALL_PLAIN},
	{"stripPort", "s", strip_port, CALL_PLAIN},
	{"stripDomain", "s", strip_domain, CALL_PLAIN},
	{"parseDuration", "s", parse_duration, CALL_PLAIN},
	{"safeHtml", "s", safe_html, CALL_PLAIN},
	{0},
};
