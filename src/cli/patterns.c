/* SPDX-License-Identifier: Apache-2.0 */
/* `patterns`: which kinds of lines there are, and how many of each. */
#include <inttypes.h>
#include <unistd.h>

#include "cli/table.h"
#include "os/clock.h"

/* The line of one pattern's example, under it. */
static void put_example(struct table *t, const struct json *j, size_t at)
{
	size_t example = json_get(j, at, "example"),
	       line = example ? json_get(j, example, "line") : 0;

	if (line)
		table_note(t, j->nodes[line].text);
}

static void put_row(
	struct table *t, uint64_t count, uint64_t lines, struct str level, struct str pattern)
{
	table_count(t, count);
	table_cell(t, "%.1f%%", lines ? 100.0 * (double)count / (double)lines : 0.0);
	table_level(t, level);
	table_text(t, pattern);
}

static void print_table(struct command_line *cl, const struct json *j, size_t data, size_t told)
{
	static const struct table_column columns[] = {{"LINES", true}, {"SHARE", true},
		{"LEVEL", false}, {"PATTERN", false}, {NULL, false}};
	uint64_t lines = table_u64(j, told, "lines"), other = table_u64(j, told, "other");
	uint64_t further = table_u64(j, told, "further");
	struct table t;

	table_init(&t, cl, columns);
	for (size_t i = json_first(j, data); i < json_end(j, data); i = json_next(j, i)) {
		put_row(&t, table_u64(j, i, "count"), lines, json_get_text(j, i, "level"),
			json_get_text(j, i, "pattern"));
		put_example(&t, j, i);
	}
	if (further) {
		struct buf text = {0};
		buf_printf(&text, "(%" PRIu64 " further patterns)",
			table_u64(j, told, "further_patterns"));
		put_row(&t, further, lines, STR_NONE, buf_view(&text));
		buf_fini(&text);
	}
	if (other)
		put_row(&t, other, lines, STR_NONE, STR("(other lines)"));
	table_fini(&t);
}

static int print(struct command_line *cl, const struct json *j, struct error *e)
{
	size_t data = json_get(j, 0, "data"), told = json_get(j, 0, "sawlog");

	if (!data || j->nodes[data].type != JSON_ARRAY)
		return error_set(e, ERR_NET, "the answer holds no patterns: is this a Loki API?");
	if (flag_choice(cl, "output") == TABLE_DEFAULT)
		print_table(cl, j, data, told);
	else
		table_json(cl, j, data);
	return 0;
}

static int run(struct command_line *cl)
{
	bool tty = isatty(fileno(cl->out));
	struct remote *remote = NULL;
	struct buf path = {0};
	struct error e = {0};
	struct json j;
	int64_t from_ns, until_ns;
	int r;

	remote_window(cl, &from_ns, &until_ns);
	buf_c(&path, "/loki/api/v1/patterns");
	remote_param(&path, "query", str_c(cl->n_args ? cl->args[0] : "{}"));
	remote_param_i64(&path, "start", from_ns);
	remote_param_i64(&path, "end", until_ns);
	remote_param_i64(
		&path, "limit", tty || flag_given(cl, "limit") ? flag_int(cl, "limit") : 0);
	remote_param(&path, "samples", STR("false"));
	if (flag_bool(cl, "example"))
		remote_param(&path, "example", STR("true"));
	if ((r = remote_open(&remote, cl, &e)) == 0 &&
		(r = remote_get(remote, buf_cstr(&path), &j, &e)) == 0) {
		remote_warnings(cl, &j);
		r = print(cl, &j, &e);
	}
	remote_close(remote);
	buf_fini(&path);
	return r < 0 ? remote_fail(cl, cl->n_args ? cl->args[0] : "{}", &e) : EXIT_OK;
}

static const struct flag flags[] = {
	{.name = "limit",
		.letter = 'n',
		.kind = FLAG_INT,
		.min = 0,
		.max = INT64_MAX,
		.fallback = "30",
		.help = "The N most frequent, 0 for all.  Without it a pipe gets all of them."},
	{.name = "example", .kind = FLAG_BOOL, .help = "Show the newest line of each, too."},
	FLAG_END,
};

const struct command command_patterns = {
	.name = "patterns",
	.args = "[SELECTOR]",
	.summary = "count the kinds of lines",
	.description =
		"Lines of one kind differ in their values alone: numbers, ids, addresses.  Each kind "
		"is shown once, with <_> for what differs, and how many lines it has, by default of "
		"the last hour.  The counts are exact; line filters may follow the selector.\n\n"
		"LEVEL is shown where all lines of a kind have the same.  Lines that are too long or "
		"hold too many values for a kind are counted together, as (other lines).",
	.examples = "sawlog patterns '{app=\"billing\"}' --since 24h\n"
		    "sawlog patterns '{app=\"billing\"} |= \"error\"' --example\n"
		    "sawlog patterns -n 0 -o jsonl | jq -r .pattern\n",
	.flags = flags,
	.groups = {&window_flags, &table_flags, &remote_flags, &access_flags},
	.max_args = 1,
	.run = run,
};
