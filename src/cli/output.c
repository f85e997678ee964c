/* SPDX-License-Identifier: Apache-2.0 */
/* sawlog output: the outputs of a server: where they are, and orders for them. */
#include <inttypes.h>

#include "cli/output_orders.h"
#include "cli/table.h"
#include "net/url.h"
#include "record/time.h"

/* --- list -------------------------------------------------------------- */

static void put_row(struct table *t, const struct json *j, size_t i)
{
	struct str error = json_get_text(j, i, "error"), retry = json_get_text(j, i, "retry");
	struct buf note = {0};

	table_text(t, json_get_text(j, i, "name"));
	table_text(t, json_get_text(j, i, "kind"));
	table_text(t, json_get_text(j, i, "state"));
	table_count(t, table_u64(j, i, "behind"));
	table_cell(t, "%.1f s", table_double(j, i, "behind_seconds"));
	table_count(t, table_u64(j, i, "delivered"));
	table_count(t, table_u64(j, i, "skipped"));
	table_count(t, table_u64(j, i, "missed"));
	if (error.n == 0)
		return;
	buf_str(&note, error);
	if (retry.n) {
		buf_c(&note, "; tried again at ");
		table_put_time(&note, retry);
	}
	table_note(t, buf_view(&note));
	buf_fini(&note);
}

static int print(struct command_line *cl, const struct json *j, struct error *e)
{
	static const struct table_column columns[] = {{"NAME", false}, {"KIND", false},
		{"STATE", false}, {"BEHIND", true}, {"FOR", true}, {"DELIVERED", true},
		{"SKIPPED", true}, {"MISSED", true}, {NULL, false}};
	size_t list = json_get(j, 0, "outputs");
	struct table t;

	if (!list || j->nodes[list].type != JSON_ARRAY)
		return error_set(e, ERR_NET, "the answer holds no outputs: is this a sawlog?");
	if (flag_choice(cl, "output") != TABLE_DEFAULT) {
		table_json(cl, j, list);
		return 0;
	}
	if (j->nodes[list].inside == 0) {
		fprintf(cl->err, "The server has no outputs\n");
		return 0;
	}
	table_init(&t, cl, columns);
	for (size_t i = json_first(j, list); i < json_end(j, list); i = json_next(j, i))
		put_row(&t, j, i);
	table_fini(&t);
	return 0;
}

static int run_list(struct command_line *cl)
{
	struct remote *remote = NULL;
	struct error e = {0};
	struct json j;
	int r;

	if ((r = remote_open(&remote, cl, &e)) == 0 &&
		(r = remote_get(remote, "/api/v1/outputs", &j, &e)) == 0)
		r = print(cl, &j, &e);
	remote_close(remote);
	return r < 0 ? remote_fail(cl, NULL, &e) : EXIT_OK;
}

static const struct command command_list = {
	.name = "output list",
	.args = "",
	.summary = "show the outputs, and how far behind they are",
	.description =
		"One line an output. BEHIND is how many records are committed behind its place, "
		"whether they match or not, and FOR how long the oldest of them waits. DELIVERED "
		"counts since it was first started, SKIPPED what it could never deliver, MISSED what "
		"retention took before it was delivered. Below one that fails stands why.",
	.examples = "sawlog output list\n"
		    "sawlog output list -o json | jq '.[] | select(.state == \"failing\")'\n",
	.groups = {&table_flags, &remote_flags, &access_flags},
	.run = run_list,
};

/* --- orders ------------------------------------------------------------ */

int output_order(struct command_line *cl, const char *action, const char *to)
{
	struct remote *remote = NULL;
	struct error e = {0};
	int retry_after_s, r = remote_open(&remote, cl, &e);

	for (size_t i = 0; i < cl->n_args && r == 0; i++) {
		struct buf path = {0};

		buf_c(&path, "/api/v1/outputs/");
		url_encode(&path, str_c(cl->args[i]));
		buf_printf(&path, "/%s", action);
		if (to)
			remote_param(&path, "to", str_c(to));
		r = remote_post(remote, buf_cstr(&path), STR_NONE, &retry_after_s, &e);
		buf_fini(&path);
	}
	remote_close(remote);
	return r < 0 ? remote_fail(cl, NULL, &e) : EXIT_OK;
}

static int run_pause(struct command_line *cl)
{
	return output_order(cl, "pause", NULL);
}

static int run_resume(struct command_line *cl)
{
	return output_order(cl, "resume", NULL);
}

static int run_reopen(struct command_line *cl)
{
	return output_order(cl, "reopen", NULL);
}

/* Words and sequences go as they are, times as nanoseconds. */
static const char *read_target(struct command_line *cl, struct error *e)
{
	const char *text = flag_string(cl, "to");
	struct str s = str_c(text);
	int64_t ns;

	if (!text) {
		error_set(e, ERR_ARG, "--to: say where to: begin, now, a time, or seq:N");
		return NULL;
	}
	if (str_eq(s, STR("begin")) || str_eq(s, STR("now")) || str_starts(s, STR("seq:")))
		return text;
	if (time_parse_human(s, cl->now_ns, &ns))
		return arena_printf(&cl->arena, "%" PRId64, ns);
	error_set(e, ERR_ARG,
		"--to: must be begin, now, seq:N, or a time as 2h, 10:00, 2026-11-21T10:00:00Z; got "
		"\"%s\"",
		text);
	return NULL;
}

int output_run_rewind(struct command_line *cl)
{
	struct error e = {0};
	const char *to = read_target(cl, &e);

	return to ? output_order(cl, "rewind", to) : command_usage(cl, &e);
}

const struct flag output_rewind_flags[] = {
	{.name = "to",
		.kind = FLAG_STRING,
		.value = "WHERE",
		.help = "begin: the oldest record there is. now: behind the newest. A time: the first "
			"record at or after it. seq:N: record N."},
	FLAG_END,
};

static const struct command command_pause = {
	.name = "output pause",
	.args = "NAME…",
	.summary = "have outputs wait",
	.description = "What comes meanwhile waits in the store. A pause outlasts restarts of the "
		       "server.",
	.examples = "sawlog output pause archive\n",
	.groups = {&remote_flags, &access_flags},
	.min_args = 1,
	.max_args = ARGS_ANY,
	.run = run_pause,
};

static const struct command command_resume = {
	.name = "output resume",
	.args = "NAME…",
	.summary = "have paused outputs go on, and failing ones try at once",
	.groups = {&remote_flags, &access_flags},
	.min_args = 1,
	.max_args = ARGS_ANY,
	.run = run_resume,
};

static const struct command command_rewind = {
	.name = "output rewind",
	.args = "NAME…",
	.summary = "move the place of outputs in the log",
	.description =
		"They go on with the first record at or behind WHERE, and deliver everything "
		"from there on, again where they had delivered it.",
	.examples = "sawlog output rewind archive --to 2h\n  deliver the last two hours again\n"
		    "sawlog output rewind archive --to now\n  leave out the backlog\n",
	.flags = output_rewind_flags,
	.groups = {&remote_flags, &access_flags},
	.min_args = 1,
	.max_args = ARGS_ANY,
	.run = output_run_rewind,
};

static const struct command command_reopen = {
	.name = "output reopen",
	.args = "NAME…",
	.summary = "have outputs open their files or connections again",
	.description = "For files that were moved away, as after a signal SIGHUP to the server.",
	.groups = {&remote_flags, &access_flags},
	.min_args = 1,
	.max_args = ARGS_ANY,
	.run = run_reopen,
};

static const struct command *const subs[] = {
	&command_list, &command_pause, &command_resume, &command_rewind, &command_reopen, NULL};

const struct command command_output = {
	.name = "output",
	.args = "",
	.summary = "list, pause, resume, rewind and reopen the outputs of a server",
	.description = "Outputs are what `outputs:` of the configuration names: where records go "
		       "besides the store. Each has a place in the log of its own.",
	.subs = subs,
};
