/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ready-made rule is text: the settings are put into an expression and into
 * what is told, and from there on it is a rule as those of files.
 */
#include "alert/ready.h"

#include <inttypes.h>

#include "alert/new_template.h"
#include "base/duration.h"
#include "os/clock.h"

#define MINUTE_NS (60 * NS_PER_SEC)
#define DAY_NS    (24 * 60 * MINUTE_NS)
/* Windows from here on are looked at once a minute. */
#define LONG_NS (5 * MINUTE_NS)

/* What every kind has, at the begin of its settings. */
struct ready_settings {
	const char *match;
	const char *name;
	const char *severity;
	struct string_map labels;
};

struct ready_type {
	const char *name;
	size_t size;
	const struct option *options;
	int (*check)(const void *settings, struct error *e); /* may be NULL */
	/* Append expression and summary; *window_ns is what it looks at. */
	void (*make)(
		const void *settings, struct buf *expr, struct buf *summary, int64_t *window_ns);
};

static int check_match(struct str text, struct error *e)
{
	struct query *q;
	int r = query_parse(&q, text, e);

	if (r < 0)
		return r;
	if (!query_is_log(q) || query_reshapes(q))
		r = error_set(e, ERR_ARG,
			"must be a selector with filters, like {app=\"shop\"} |= \"paid\"");
	query_free(q);
	return r;
}

static int check_label(struct str text, struct error *e)
{
	if (label_name_valid(text))
		return 0;
	return error_set(e, ERR_ARG, "\"%.*s\" is no name of a label", STR_ARG(text));
}

static int check_by(const struct strings *by, struct error *e)
{
	for (size_t i = 0; i < by->n; i++)
		if (check_label(str_c(by->items[i]), e) < 0)
			return error_wrap(e, ERR_ARG, "by");
	return 0;
}

static int check_factor(struct str text, struct error *e)
{
	double v;

	if (str_double(text, &v) && v > 1 && v <= 1e6)
		return 0;
	return error_set(e, ERR_ARG, "must be a number above 1, like 3 or 1.5");
}

#define READY_OPTIONS(type, kind_name)                                                             \
	{.name = "match",                                                                          \
		.offset = offsetof(type, common.match),                                            \
		.kind = OPT_STRING,                                                                \
		.fallback = "{input!=\"alert\"}",                                                  \
		.check = check_match,                                                              \
		.help = "The lines that it is about: a selector with filters and stages. "         \
			"Not set: all but those that tell of alerts."},                            \
		{.name = "name",                                                                   \
			.offset = offsetof(type, common.name),                                     \
			.kind = OPT_STRING,                                                        \
			.fallback = kind_name,                                                     \
			.help = "The name of the alert. No two may have the same."},               \
		{.name = "severity",                                                               \
			.offset = offsetof(type, common.severity),                                 \
			.kind = OPT_STRING,                                                        \
			.fallback = "warning",                                                     \
			.help = "The label `severity` of its alerts, by which who is notified "    \
				"can be chosen."},                                                 \
	{                                                                                          \
		.name = "labels", .offset = offsetof(type, common.labels), .kind = OPT_MAP,        \
		.help = "More labels of its alerts."                                               \
	}

#define BY_OPTION(type, fall)                                                                      \
	OPTION(type, by, .kind = OPT_STRINGS, .fallback = fall,                                    \
		.help = "The labels that tell alerts apart: each of their values is counted by "   \
			"itself. Empty: all lines together.")

/* --- pieces of texts ------------------------------------------------------------------- */

/* "sum by (app, host) " or "sum ". */
static void put_sum(struct buf *out, const struct strings *by)
{
	buf_c(out, "sum ");
	if (by->n == 0)
		return;
	buf_c(out, "by (");
	for (size_t i = 0; i < by->n; i++)
		buf_printf(out, "%s%s", i ? ", " : "", by->items[i]);
	buf_c(out, ") ");
}

/* "sum by (app) (count_over_time(MATCH FILTER [5m] offset 7d))" */
static void put_count(struct buf *out, const struct strings *by, const char *match,
	const char *filter, int64_t range_ns, int64_t offset_ns)
{
	put_sum(out, by);
	buf_printf(out, "(count_over_time(%s%s [", match, filter);
	duration_put(out, range_ns);
	buf_char(out, ']');
	if (offset_ns) {
		buf_c(out, " offset ");
		duration_put(out, offset_ns);
	}
	buf_c(out, "))");
}

/* " of {{ $labels.app }} on {{ $labels.host }}": by the first, told apart by the others. */
static void put_of(struct buf *out, const struct strings *by)
{
	for (size_t i = 0; i < by->n; i++)
		buf_printf(out, "%s{{ $labels.%s }}", i ? "/" : " of ", by->items[i]);
}

/* --- errors ---------------------------------------------------------------------------- */

struct errors {
	struct ready_settings common;
	int64_t threshold, window;
	struct strings by;
};

static const struct option errors_options[] = {
	READY_OPTIONS(struct errors, "errors"),
	OPTION(struct errors, threshold, .kind = OPT_INT, .fallback = "10", .min = 1,
		.max = INT64_C(1) << 40, .help = "How many errors make the alert fire."),
	OPTION(struct errors, window, .kind = OPT_DURATION, .fallback = "60s", .min = NS_PER_SEC,
		.max = 30 * DAY_NS, .help = "Within which time."),
	BY_OPTION(struct errors, NULL),
	OPTION_END,
};

static int errors_check(const void *settings, struct error *e)
{
	return check_by(&((const struct errors *)settings)->by, e);
}

static void errors_make(
	const void *settings, struct buf *expr, struct buf *summary, int64_t *window_ns)
{
	const struct errors *s = settings;

	put_count(expr, &s->by, s->common.match, " | detected_level=~\"error|critical|fatal\"",
		s->window, 0);
	buf_printf(expr, " >= %" PRId64, s->threshold);
	buf_c(summary, "{{ $value }} errors");
	put_of(summary, &s->by);
	buf_c(summary, " in the last ");
	duration_put(summary, s->window);
	*window_ns = s->window;
}

/* --- absent ---------------------------------------------------------------------------- */

struct absent {
	struct ready_settings common;
	struct strings by;
	int64_t for_ns, seen;
};

static const struct option absent_options[] = {
	READY_OPTIONS(struct absent, "absent"),
	BY_OPTION(struct absent, "app"),
	{.name = "for",
		.offset = offsetof(struct absent, for_ns),
		.kind = OPT_DURATION,
		.fallback = "10m",
		.min = NS_PER_SEC,
		.max = 30 * DAY_NS,
		.help = "How long nothing must have come."},
	OPTION(struct absent, seen, .kind = OPT_DURATION, .fallback = "1d", .min = NS_PER_SEC,
		.max = 90 * DAY_NS,
		.help = "Only of what came within this time: what is silent for longer was taken "
			"away, and is told as resolved."),
	OPTION_END,
};

static int absent_check(const void *settings, struct error *e)
{
	const struct absent *s = settings;

	if (s->seen <= s->for_ns)
		return error_set(e, ERR_ARG, "seen: must be longer than `for`, or it never fires");
	return check_by(&s->by, e);
}

static void absent_make(
	const void *settings, struct buf *expr, struct buf *summary, int64_t *window_ns)
{
	const struct absent *s = settings;

	put_count(expr, &s->by, s->common.match, "", s->seen, 0);
	buf_c(expr, " unless ");
	put_count(expr, &s->by, s->common.match, "", s->for_ns, 0);
	buf_c(summary, "no line");
	put_of(summary, &s->by);
	buf_c(summary, " in the last ");
	duration_put(summary, s->for_ns);
	buf_c(summary, ", {{ $value }} in the last ");
	duration_put(summary, s->seen);
	*window_ns = s->for_ns;
}

/* --- new_template ---------------------------------------------------------------------- */

struct fresh {
	struct ready_settings common;
	int64_t window, history;
};

static const struct option fresh_options[] = {
	READY_OPTIONS(struct fresh, "new_template"),
	OPTION(struct fresh, window, .kind = OPT_DURATION, .fallback = "5m", .min = NS_PER_SEC,
		.max = DAY_NS, .help = "How long a kind of line is new."),
	OPTION(struct fresh, history, .kind = OPT_DURATION, .fallback = "7d", .min = NS_PER_SEC,
		.max = 90 * DAY_NS, .help = "What did not come for so long before is new."),
	OPTION_END,
};

static void fresh_make(
	const void *settings, struct buf *expr, struct buf *summary, int64_t *window_ns)
{
	const struct fresh *s = settings;

	buf_printf(expr, "new_template(%s [", s->common.match);
	duration_put(expr, s->window);
	buf_c(expr, "], ");
	duration_put(expr, s->history);
	buf_char(expr, ')');
	buf_c(summary, "a line of a kind that did not come in the last ");
	duration_put(summary, s->history);
	buf_c(summary, ": {{ $labels.pattern }}");
	*window_ns = s->window;
}

/* --- rate_change ----------------------------------------------------------------------- */

struct change {
	struct ready_settings common;
	struct strings by;
	const char *factor;
	int64_t window, against, min;
};

static const struct option change_options[] = {
	READY_OPTIONS(struct change, "rate_change"),
	BY_OPTION(struct change, "app"),
	OPTION(struct change, factor, .kind = OPT_STRING, .fallback = "3", .check = check_factor,
		.help = "So many times more lines, or fewer."),
	OPTION(struct change, window, .kind = OPT_DURATION, .fallback = "1h", .min = NS_PER_SEC,
		.max = 30 * DAY_NS, .help = "The time over which lines are counted."),
	OPTION(struct change, against, .kind = OPT_DURATION, .fallback = "7d", .min = NS_PER_SEC,
		.max = 366 * DAY_NS,
		.help = "With what it is compared: the same time so long ago. What had no lines "
			"then is not told."),
	OPTION(struct change, min, .kind = OPT_INT, .fallback = "100", .min = 1,
		.max = INT64_C(1) << 40,
		.help = "The larger one of the two counts must be at least this."),
	OPTION_END,
};

static int change_check(const void *settings, struct error *e)
{
	const struct change *s = settings;

	if (s->against < s->window)
		return error_set(e, ERR_ARG,
			"against: must not be shorter than `window`, or the two overlap");
	return check_by(&s->by, e);
}

/* (now / past > F and now >= M) or ((now or 0 * past) / past < 1/F and past >= M) */
static void change_make(
	const void *settings, struct buf *expr, struct buf *summary, int64_t *window_ns)
{
	const struct change *s = settings;
	struct buf now = {0}, past = {0};

	put_count(&now, &s->by, s->common.match, "", s->window, 0);
	put_count(&past, &s->by, s->common.match, "", s->window, s->against);
	buf_printf(expr,
		"(%s / %s > %s and %s >= %" PRId64 ") or ((%s or 0 * %s) / %s < 1 / %s and %s >= "
		"%" PRId64 ")",
		buf_cstr(&now), buf_cstr(&past), s->factor, buf_cstr(&now), s->min, buf_cstr(&now),
		buf_cstr(&past), buf_cstr(&past), s->factor, buf_cstr(&past), s->min);
	buf_fini(&now);
	buf_fini(&past);
	buf_c(summary, "{{ humanize $value }} times as many lines");
	put_of(summary, &s->by);
	buf_c(summary, " in the last ");
	duration_put(summary, s->window);
	buf_c(summary, " as ");
	duration_put(summary, s->against);
	buf_c(summary, " before");
	*window_ns = s->window;
}

/* --- kinds ----------------------------------------------------------------------------- */

static const struct ready_type types[] = {
	{"errors", sizeof(struct errors), errors_options, errors_check, errors_make},
	{"absent", sizeof(struct absent), absent_options, absent_check, absent_make},
	{"new_template", sizeof(struct fresh), fresh_options, NULL, fresh_make},
	{"rate_change", sizeof(struct change), change_options, change_check, change_make},
};

static const char *const names[] = {"errors", "absent", "new_template", "rate_change", NULL};

static const void *kind_find(struct str name, struct error *e)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (str_eq_c(name, types[i].name))
			return &types[i];
	error_set(e, ERR_ARG, "there is no ready-made alert \"%.*s\"", STR_ARG(name));
	return NULL;
}

static const struct option *kind_options(const void *type)
{
	return ((const struct ready_type *)type)->options;
}

static size_t kind_size(const void *type)
{
	return ((const struct ready_type *)type)->size;
}

static int kind_check(const void *type, const void *settings, struct error *e)
{
	const struct ready_settings *s = settings;
	const struct ready_type *t = type;

	for (size_t i = 0; i < s->labels.n; i++)
		if (check_label(str_c(s->labels.items[i].name), e) < 0)
			return error_wrap(e, ERR_ARG, "labels");
	return t->check ? t->check(settings, e) : 0;
}

static const char *const *kind_names(void)
{
	return names;
}

const struct kind_class ready_kinds = {
	.noun = "ready-made alert",
	.find = kind_find,
	.options = kind_options,
	.size = kind_size,
	.check = kind_check,
	.names = kind_names,
};

static const struct ready_settings *settings_of(const struct kind_entry *entry)
{
	return entry->settings;
}

int ready_check(const struct kinds *ready, struct error *e)
{
	for (size_t i = 0; i < ready->n; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(settings_of(&ready->items[i])->name,
				    settings_of(&ready->items[j])->name) == 0)
				return error_set(e, ERR_ARG,
					"alerts.ready: line %d and line %d are both called %s: "
					"give one of them a name",
					ready->items[j].line, ready->items[i].line,
					settings_of(&ready->items[i])->name);
	return 0;
}

static struct str kept(struct arena *a, struct buf *text)
{
	struct str s = arena_str(a, buf_view(text));

	buf_fini(text);
	return s;
}

/* A value that is no template, though it may look like one. */
static struct str plain(struct arena *a, const char *text)
{
	return str_find(str_c(text), STR("{{")) < 0 ? arena_str(a, str_c(text))
						    : str_c(arena_printf(a, "{{ `%s` }}", text));
}

struct rule_group ready_group(const struct kind_entry *entry, struct arena *a)
{
	const struct ready_settings *s = settings_of(entry);
	const struct ready_type *type = entry->type;
	struct rule_group g = {.name = arena_str(a, str_c(s->name)), .n = 1};
	struct rule *r = g.rules = ARENA_NEW(a, struct rule);
	struct buf expr = {0}, summary = {0};
	int64_t window_ns;

	type->make(s, &expr, &summary, &window_ns);
	if (window_ns >= LONG_NS)
		g.interval_ns = MINUTE_NS;
	*r = (struct rule){.name = g.name, .alerts = true, .expr = kept(a, &expr)};
	r->labels = ARENA_ARRAY(a, struct rule_pair, s->labels.n + 1);
	r->labels[r->n_labels++] = (struct rule_pair){STR("severity"), plain(a, s->severity)};
	for (size_t i = 0; i < s->labels.n; i++)
		r->labels[r->n_labels++] =
			(struct rule_pair){arena_str(a, str_c(s->labels.items[i].name)),
				plain(a, s->labels.items[i].value)};
	r->annotations = ARENA_NEW(a, struct rule_pair);
	r->annotations[0] = (struct rule_pair){STR("summary"), kept(a, &summary)};
	r->n_annotations = 1;
	return g;
}
