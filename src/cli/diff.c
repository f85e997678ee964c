/* SPDX-License-Identifier: Apache-2.0 */
/* `diff`: which kinds of lines are new, vanished or changed. */
#include <inttypes.h>

#include "cli/table.h"
#include "os/clock.h"
#include "record/time.h"

static void put_ratio(struct table *t, struct str change, double ratio)
{
	if (!str_eq(change, STR("changed")))
		table_cell(t, "%.*s", STR_ARG(change));
	else if (ratio >= 1)
		table_cell(t, ratio < 10 ? "x %.1f" : "x %.0f", ratio);
	else
		table_cell(t, ratio > .1 ? "/ %.1f" : "/ %.0f", ratio > 0 ? 1 / ratio : 0);
}

static void print_table(struct command_line *cl, const struct json *j, size_t list)
{
	static const struct table_column columns[] = {{"CHANGE", false}, {"BEFORE", true},
		{"NOW", true}, {"LEVEL", false}, {"PATTERN", false}, {NULL, false}};
	struct table t;

	table_init(&t, cl, columns);
	for (size_t i = json_first(j, list); i < json_end(j, list); i = json_next(j, i)) {
		put_ratio(&t, json_get_text(j, i, "change"), table_double(j, i, "ratio"));
		table_count(&t, table_u64(j, i, "before"));
		table_count(&t, table_u64(j, i, "now"));
		table_level(&t, json_get_text(j, i, "level"));
		table_text(&t, json_get_text(j, i, "pattern"));
	}
	table_fini(&t);
}

static void tell_side(struct command_line *cl, const struct json *j, size_t data, const char *name)
{
	size_t side = json_get(j, data, name);
	int64_t from = 0, until = 0;
	struct buf text = {0};

	if (!side || !str_i64(json_get_text(j, side, "start"), &from) ||
		!str_i64(json_get_text(j, side, "end"), &until))
		return;
	buf_printf(&text, "%s: %" PRIu64 " lines, from ", name, table_u64(j, side, "lines"));
	time_format_local(&text, from);
	buf_c(&text, " to ");
	time_format_local(&text, until);
	buf_c(&text, ", ");
	print_escaped(&text, json_get_text(j, side, "query"), false);
	fprintf(cl->err, "%s\n", buf_cstr(&text));
	buf_fini(&text);
}

static int print(struct command_line *cl, const struct json *j, bool *any, struct error *e)
{
	size_t data = json_get(j, 0, "data"), list = data ? json_get(j, data, "patterns") : 0;

	if (!list || j->nodes[list].type != JSON_ARRAY)
		return error_set(e, ERR_NET, "the answer holds no patterns: is this a sawlog?");
	*any = j->nodes[list].inside > 0;
	if (flag_choice(cl, "output") != TABLE_DEFAULT) {
		table_json(cl, j, list);
		return 0;
	}
	tell_side(cl, j, data, "before");
	tell_side(cl, j, data, "now");
	if (*any)
		print_table(cl, j, list);
	fprintf(cl->err,
		"%" PRIu64 " new, %" PRIu64 " vanished, %" PRIu64 " changed, %" PRIu64
		" as before\n",
		table_u64(j, data, "new"), table_u64(j, data, "vanished"),
		table_u64(j, data, "changed"), table_u64(j, data, "unchanged"));
	return 0;
}

/* The earlier window: as said; or right before the later one, as long as asked or as that. */
static void put_before(struct command_line *cl, struct buf *path, int64_t from_ns)
{
	if (flag_given(cl, "before")) {
		remote_param_i64(path, "before_start", from_ns - flag_int(cl, "before"));
		remote_param_i64(path, "before_end", from_ns);
	}
	if (flag_given(cl, "from2"))
		remote_param_i64(path, "before_start", flag_int(cl, "from2"));
	if (flag_given(cl, "to2"))
		remote_param_i64(path, "before_end", flag_int(cl, "to2"));
}

static int ask(struct command_line *cl, struct remote *remote, struct json *j, struct error *e)
{
	struct buf path = {0};
	int64_t from_ns, until_ns;
	int r;

	remote_window(cl, &from_ns, &until_ns);
	buf_c(&path, "/api/v1/diff");
	remote_param(&path, "query", str_c(cl->n_args ? cl->args[cl->n_args - 1] : "{}"));
	if (cl->n_args == 2)
		remote_param(&path, "before_query", str_c(cl->args[0]));
	remote_param_i64(&path, "start", from_ns);
	remote_param_i64(&path, "end", until_ns);
	remote_param_i64(&path, "limit", flag_int(cl, "limit"));
	put_before(cl, &path, from_ns);
	r = remote_get(remote, buf_cstr(&path), j, e);
	buf_fini(&path);
	return r;
}

static int run(struct command_line *cl)
{
	struct remote *remote = NULL;
	struct error e = {0};
	struct json j;
	bool any = false;
	int r;

	if (flag_given(cl, "before") && (flag_given(cl, "from2") || flag_given(cl, "to2"))) {
		error_set(
			&e, ERR_ARG, "--before and --from2, --to2 say the same: give one of them");
		return command_usage(cl, &e);
	}
	if ((r = remote_open(&remote, cl, &e)) == 0 && (r = ask(cl, remote, &j, &e)) == 0) {
		remote_warnings(cl, &j);
		r = print(cl, &j, &any, &e);
	}
	remote_close(remote);
	if (r < 0)
		return remote_fail(cl, cl->n_args == 1 ? cl->args[0] : NULL, &e);
	return flag_bool(cl, "exit-status") && !any ? EXIT_NO_MATCH : EXIT_OK;
}

static const struct flag flags[] = {
	{.name = "before",
		.kind = FLAG_DURATION,
		.help = "Compare with as much time right before the window.  Default: with as much as "
			"the window has."},
	{.name = "from2", .kind = FLAG_TIME, .help = "Begin of the time to compare with."},
	{.name = "to2", .kind = FLAG_TIME, .help = "End of it."},
	{.name = "limit",
		.letter = 'n',
		.kind = FLAG_INT,
		.min = 0,
		.max = INT64_MAX,
		.fallback = "30",
		.help = "At most N of each kind of change, 0 for all."},
	{.name = "exit-status", .kind = FLAG_BOOL, .help = "Exit with 1 when nothing changed."},
	FLAG_END,
};

const struct command command_diff = {
	.name = "diff",
	.args = "[SELECTOR [SELECTOR]]",
	.summary = "show which kinds of lines are new, vanished or changed",
	.description =
		"Counts the kinds of lines (see `sawlog patterns`) of a window of time and of the time "
		"before it, and shows those that are new, that vanished, and that changed: whose lines "
		"per second differ by more than chance explains.  What changed most surely comes "
		"first.  With two selectors, the second is compared with the first, over the same "
		"time.\n\n"
		"CHANGE of those that changed is the ratio of lines per second, so that windows of "
		"different lengths can be compared: x 3.0 is three times as many, / 3.0 a third.",
	.examples = "sawlog diff '{app=\"billing\"}' --since 1h\n"
		    "sawlog diff '{app=\"billing\"}' --since 1h --before 24h\n"
		    "sawlog diff --from 10:00 --to 11:00 --from2 yesterday --to2 today\n"
		    "sawlog diff '{host=\"a\"}' '{host=\"b\"}' --since 6h\n",
	.flags = flags,
	.groups = {&window_flags, &table_flags, &remote_flags, &access_flags},
	.max_args = 2,
	.run = run,
};
