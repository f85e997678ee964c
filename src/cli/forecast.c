/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/forecast.h"

#include <inttypes.h>

#include "base/duration.h"
#include "record/time.h"

#define DAY_NS INT64_C(86400000000000)
/* What is farther away is a figure without a meaning. */
#define FAR_NS (INT64_C(10) * 365 * DAY_NS)

static const char *const kinds[] = {[FORECAST_RULE] = "rule",
	[FORECAST_AGE] = "age",
	[FORECAST_SIZE] = "size",
	[FORECAST_NEVER] = "never"};

static void put_bytes(struct buf *out, uint64_t bytes)
{
	if (bytes < UINT64_C(1) << 30)
		buf_printf(out, "%.1f MiB", (double)bytes / (1 << 20));
	else
		buf_printf(out, "%.1f GiB", (double)bytes / (1 << 30));
}

/* "age 30d", "{app="debug"} 2d", "size 80 % (41.2 GiB)", "no age". */
static void put_rule(struct buf *out, const struct forecast *f, const struct forecast_rule *r)
{
	switch (r->by) {
	case FORECAST_SIZE:
		if (f->limit_bytes == 0) {
			buf_c(out, "no size");
			break;
		}
		buf_c(out, "size ");
		if (f->retention.size_bytes == 0)
			buf_printf(out, "%u %%: ", f->retention.size_percent);
		put_bytes(out, f->limit_bytes);
		break;
	case FORECAST_AGE:
		buf_c(out, "age ");
		duration_put(out, r->age_ns);
		break;
	case FORECAST_RULE:
		buf_printf(out, "%.*s ", STR_ARG(r->match));
		duration_put(out, r->age_ns);
		break;
	case FORECAST_NEVER: buf_c(out, "no age"); break;
	}
}

static void put_second(struct buf *out, int64_t ns)
{
	time_format(out, ns - (ns % 1000000000 + 1000000000) % 1000000000);
}

static void put_due(struct buf *out, int64_t due_ns, int64_t now_ns)
{
	if (due_ns == INT64_MAX)
		buf_c(out, "-");
	else if (due_ns <= now_ns)
		buf_c(out, "now");
	else if (due_ns > now_ns + FAR_NS)
		buf_c(out, "in more than 10 years");
	else
		put_second(out, due_ns);
}

static void cell(struct table *t, struct buf *text)
{
	table_text(t, buf_view(text));
	buf_clear(text);
}

static void print_rules(struct command_line *cl, const struct forecast *f)
{
	static const struct table_column columns[] = {{"STORED", true}, {"RECORDS", true},
		{"OLDEST", false}, {"NEXT GOES", false}, {"RETENTION", false}, {NULL, false}};
	struct buf text = {0};
	struct table t;

	fputc('\n', cl->out);
	table_init(&t, cl, columns);
	for (size_t i = 0; i < f->n_rules; i++) {
		const struct forecast_rule *r = &f->rules[i];

		table_count(&t, r->by == FORECAST_SIZE ? f->own_bytes : r->stored);
		table_count(&t, r->records);
		if (r->oldest_ns == INT64_MAX)
			buf_char(&text, '-');
		else
			put_second(&text, r->oldest_ns);
		cell(&t, &text);
		put_due(&text, r->due_ns, cl->now_ns);
		cell(&t, &text);
		put_rule(&text, f, r);
		cell(&t, &text);
	}
	if (f->bytes_a_day > 0) {
		put_bytes(&text, f->bytes_a_day);
		buf_c(&text, " a day come at present");
		table_note(&t, buf_view(&text));
	}
	table_fini(&t);
	buf_fini(&text);
}

/* The rule that a row's `by` speaks of. */
static const struct forecast_rule *taker(const struct forecast *f, const struct forecast_day *d)
{
	return d->by == FORECAST_SIZE ? &f->rules[f->n_rules - 1] : &f->rules[d->rule];
}

static void put_day(struct buf *out, int32_t day)
{
	size_t start = out->n;

	time_format(out, day * DAY_NS);
	out->n = out->n - start > 10 ? start + 10 : out->n;
}

static void print_days(struct command_line *cl, const struct forecast *f)
{
	static const struct table_column columns[] = {{"DAY", false}, {"STORED", true},
		{"RECORDS", true}, {"GONE", false}, {"BY", false}, {NULL, false}};
	struct buf text = {0};
	struct table t;

	fputc('\n', cl->out);
	table_init(&t, cl, columns);
	for (size_t i = 0; i < f->n_days; i++) {
		const struct forecast_day *d = &f->days[i];

		put_day(&text, d->day);
		cell(&t, &text);
		table_count(&t, d->stored);
		table_count(&t, d->records);
		put_due(&text, d->due_ns, cl->now_ns);
		cell(&t, &text);
		put_rule(&text, f, taker(f, d));
		cell(&t, &text);
	}
	table_fini(&t);
	buf_fini(&text);
}

void forecast_print(struct command_line *cl, const struct forecast *f)
{
	print_rules(cl, f);
	if (f->n_days > 0)
		print_days(cl, f);
}

static void put_name(
	struct buf *out, const char *key, const struct forecast *f, const struct forecast_rule *r)
{
	struct buf name = {0};

	put_rule(&name, f, r);
	buf_printf(out, ",\"%s\":", key);
	buf_json(out, buf_view(&name));
	buf_fini(&name);
}

void forecast_json(struct buf *out, const struct forecast *f, const char *between, size_t *n)
{
	for (size_t i = 0; i < f->n_rules; i++) {
		const struct forecast_rule *r = &f->rules[i];

		buf_c(out, (*n)++ > 0 ? between : "");
		buf_printf(out, "{\"of\":\"retention\",\"kind\":\"%s\"", kinds[r->by]);
		put_name(out, "name", f, r);
		buf_printf(out, ",\"stored\":%" PRIu64 ",\"records\":%" PRIu64,
			r->by == FORECAST_SIZE ? f->own_bytes : r->stored, r->records);
		time_json(out, "oldest", r->oldest_ns);
		time_json(out, "next", r->due_ns);
		if (r->by == FORECAST_SIZE)
			buf_printf(out, ",\"limit\":%" PRIu64 ",\"bytes_a_day\":%" PRIu64,
				f->limit_bytes, f->bytes_a_day);
		buf_char(out, '}');
	}
	for (size_t i = 0; i < f->n_days; i++) {
		const struct forecast_day *d = &f->days[i];

		buf_c(out, (*n)++ > 0 ? between : "");
		buf_c(out, "{\"of\":\"due\",\"name\":\"");
		put_day(out, d->day);
		buf_printf(out, "\",\"stored\":%" PRIu64 ",\"records\":%" PRIu64, d->stored,
			d->records);
		time_json(out, "gone", d->due_ns);
		put_name(out, "by", f, taker(f, d));
		buf_char(out, '}');
	}
}
