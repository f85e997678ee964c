/* SPDX-License-Identifier: Apache-2.0 */
/* sawlog drain: which application's lines go to which URL, and how that goes. */
#include "cli/output_orders.h"
#include "cli/table.h"
#include "net/client.h"

/* --- list -------------------------------------------------------------- */

static void put_origins(struct table *t, const struct json *j, size_t i)
{
	size_t list = json_get(j, i, "origins");
	struct buf text = {0};

	if (list && j->nodes[list].type == JSON_ARRAY)
		for (size_t k = json_first(j, list); k < json_end(j, list); k = json_next(j, k))
			buf_printf(&text, "%s%.*s", text.n ? "," : "", STR_ARG(j->nodes[k].text));
	table_text(t, buf_view(&text));
	buf_fini(&text);
}

static void put_row(struct table *t, const struct json *j, size_t i)
{
	struct str error = json_get_text(j, i, "error"), retry = json_get_text(j, i, "retry");
	struct buf note = {0};

	table_text(t, json_get_text(j, i, "id"));
	table_text(t, json_get_text(j, i, "app"));
	table_text(t, json_get_text(j, i, "url"));
	put_origins(t, j, i);
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

static bool wanted(struct command_line *cl, const struct json *j, size_t i)
{
	const char *app = flag_string(cl, "app");

	return !app || str_eq_c(json_get_text(j, i, "app"), app);
}

static int print(struct command_line *cl, const struct json *j, struct error *e)
{
	static const struct table_column columns[] = {{"ID", false}, {"APP", false}, {"URL", false},
		{"FROM", false}, {"STATE", false}, {"BEHIND", true}, {"FOR", true},
		{"DELIVERED", true}, {"SKIPPED", true}, {"MISSED", true}, {NULL, false}};
	size_t list = json_get(j, 0, "drains"), n = 0;
	struct table t;

	if (!list || j->nodes[list].type != JSON_ARRAY)
		return error_set(e, ERR_NET, "the answer holds no drains: is this a sawlog?");
	if (flag_choice(cl, "output") != TABLE_DEFAULT) {
		table_json(cl, j, list);
		return 0;
	}
	for (size_t i = json_first(j, list); i < json_end(j, list); i = json_next(j, i))
		n += wanted(cl, j, i);
	if (n == 0) {
		fprintf(cl->err, "The server has no drains%s\n",
			flag_string(cl, "app") ? " of this application" : "");
		return 0;
	}
	table_init(&t, cl, columns);
	for (size_t i = json_first(j, list); i < json_end(j, list); i = json_next(j, i))
		if (wanted(cl, j, i))
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
		(r = remote_get(remote, "/api/v1/drains", &j, &e)) == 0)
		r = print(cl, &j, &e);
	remote_close(remote);
	return r < 0 ? remote_fail(cl, NULL, &e) : EXIT_OK;
}

static const struct flag list_flags[] = {
	{.name = "app", .kind = FLAG_STRING, .value = "APP", .help = "Those of one application."},
	FLAG_END,
};

static const struct command command_list = {
	.name = "drain list",
	.args = "",
	.summary = "show the drains, and how far behind they are",
	.description =
		"One line a drain. FROM says who wants it: config, api or envelope. BEHIND is how "
		"many records are committed behind its place, of all applications, and FOR how long "
		"the oldest of them waits. URLs are shown without user, password and query. Below "
		"one that fails stands why.",
	.examples = "sawlog drain list\nsawlog drain list --app shop\n",
	.flags = list_flags,
	.groups = {&table_flags, &remote_flags, &access_flags},
	.run = run_list,
};

/* --- add and remove ---------------------------------------------------- */

static int run_add(struct command_line *cl)
{
	struct remote *remote = NULL;
	struct buf body = {0};
	struct error e = {0};
	struct json j;
	int r;

	buf_c(&body, "{\"app\":");
	buf_json(&body, str_c(cl->args[0]));
	buf_c(&body, ",\"url\":");
	buf_json(&body, str_c(cl->args[1]));
	buf_char(&body, '}');
	if ((r = remote_open(&remote, cl, &e)) == 0 &&
		(r = remote_post_json(remote, "/api/v1/drains", buf_view(&body), &j, &e)) == 0)
		fprintf(cl->out, "%.*s\n", STR_ARG(json_get_text(&j, 0, "id")));
	remote_close(remote);
	buf_fini(&body);
	return r < 0 ? remote_fail(cl, NULL, &e) : EXIT_OK;
}

static int run_remove(struct command_line *cl)
{
	struct remote *remote = NULL;
	struct error e = {0};
	int r = remote_open(&remote, cl, &e);

	for (size_t i = 0; i < cl->n_args && r == 0; i++) {
		struct buf path = {0};

		buf_c(&path, "/api/v1/drains/");
		url_encode(&path, str_c(cl->args[i]));
		r = remote_delete(remote, buf_cstr(&path), &e);
		buf_fini(&path);
	}
	remote_close(remote);
	return r < 0 ? remote_fail(cl, NULL, &e) : EXIT_OK;
}

static const struct command command_add = {
	.name = "drain add",
	.args = "APP URL",
	.summary = "send an application's lines to a URL from now on",
	.description =
		"The URL is syslog://HOST:PORT, syslog-tls://HOST:PORT, https://HOST/PATH or "
		"https-batch://HOST/PATH; with ?drain-type=metrics or =all metrics go there instead "
		"or as well. Prints the drain's id. One that is there already stays as it is.",
	.examples = "sawlog drain add shop syslog-tls://logs.example.com:6514\n"
		    "sawlog drain add shop 'https-batch://in.example.com/v1?token=…'\n",
	.groups = {&remote_flags, &access_flags},
	.min_args = 2,
	.max_args = 2,
	.run = run_add,
};

static const struct command command_remove = {
	.name = "drain remove",
	.args = "ID…",
	.summary = "end drains, and forget their places in the log",
	.description = "One that the configuration names is ended there. One that messages name "
		       "comes again with the next of them.",
	.examples = "sawlog drain remove drain-0123456789ab\n",
	.groups = {&remote_flags, &access_flags},
	.min_args = 1,
	.max_args = ARGS_ANY,
	.run = run_remove,
};

/* --- orders: as for any output ----------------------------------------- */

static int run_pause(struct command_line *cl)
{
	return output_order(cl, "pause", NULL);
}

static int run_resume(struct command_line *cl)
{
	return output_order(cl, "resume", NULL);
}

static const struct command command_pause = {
	.name = "drain pause",
	.args = "ID…",
	.summary = "have drains wait",
	.description = "What comes meanwhile waits in the store. A pause outlasts restarts of the "
		       "server.",
	.examples = "sawlog drain pause drain-0123456789ab\n",
	.groups = {&remote_flags, &access_flags},
	.min_args = 1,
	.max_args = ARGS_ANY,
	.run = run_pause,
};

static const struct command command_resume = {
	.name = "drain resume",
	.args = "ID…",
	.summary = "have paused drains go on, and failing ones try at once",
	.groups = {&remote_flags, &access_flags},
	.min_args = 1,
	.max_args = ARGS_ANY,
	.run = run_resume,
};

static const struct command command_rewind = {
	.name = "drain rewind",
	.args = "ID…",
	.summary = "move the place of drains in the log",
	.description =
		"They go on with the first record at or behind WHERE, and deliver everything "
		"from there on, again where they had delivered it.",
	.examples = "sawlog drain rewind drain-0123456789ab --to 2h\n"
		    "  deliver the last two hours again\n",
	.flags = output_rewind_flags,
	.groups = {&remote_flags, &access_flags},
	.min_args = 1,
	.max_args = ARGS_ANY,
	.run = output_run_rewind,
};

static const struct command *const subs[] = {&command_list, &command_add, &command_remove,
	&command_pause, &command_resume, &command_rewind, NULL};

const struct command command_drain = {
	.name = "drain",
	.args = "",
	.summary = "send applications' lines on: list, add, remove, pause, resume, rewind",
	.description = "A drain takes the lines of one application to one URL, by syslog or HTTPS.",
	.subs = subs,
};
