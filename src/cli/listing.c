/* SPDX-License-Identifier: Apache-2.0 */
/* `labels` and `series`: lists of what there is, not of lines. */
#include <unistd.h>

#include "cli/print.h"
#include "cli/remote.h"

static const char *const formats[] = {"default", "json", NULL};

static const struct flag flags_of_list[] = {
	{.name = "output",
		.letter = 'o',
		.kind = FLAG_CHOICE,
		.choices = formats,
		.fallback = "default",
		.help = "default: one a line; json: one array."},
	FLAG_END,
};

static const struct flag_group list_flags = {"Output", flags_of_list};

static void put_item(struct buf *out, const struct json *j, size_t at, bool escape)
{
	struct labels_builder b = {0};
	struct buf labels = {0}, text = {0};

	if (j->nodes[at].type == JSON_OBJECT) {
		print_labels_of(j, at, &b, &labels);
		labels_text(&text, buf_view(&labels));
	} else {
		buf_str(&text, j->nodes[at].text);
	}
	if (escape)
		print_escaped(out, buf_view(&text), false);
	else
		buf_str(out, buf_view(&text));
	buf_char(out, '\n');
	labels_builder_fini(&b);
	buf_fini(&labels);
	buf_fini(&text);
}

static int print_list(struct command_line *cl, const struct json *j, struct error *e)
{
	size_t data = json_get(j, 0, "data");
	struct buf text = {0};
	bool escape = isatty(fileno(cl->out));

	/* Loki leaves "data" out when there is nothing. */
	if (data && j->nodes[data].type != JSON_ARRAY && j->nodes[data].type != JSON_NULL)
		return error_set(e, ERR_NET, "the answer holds no list: is this a Loki API?");
	if (flag_choice(cl, "output") == 1) {
		if (data && j->nodes[data].type == JSON_ARRAY)
			print_json(&text, j, data);
		else
			buf_c(&text, "[]");
		buf_char(&text, '\n');
	} else if (data) {
		for (size_t i = json_first(j, data); i < json_end(j, data); i = json_next(j, i))
			put_item(&text, j, i, escape);
	}
	fwrite(text.p, 1, text.n, cl->out);
	buf_fini(&text);
	return 0;
}

/* `path` is complete but for the window. */
static int list(struct command_line *cl, struct buf *path, const char *query)
{
	struct remote *remote = NULL;
	struct error e = {0};
	struct json j;
	int64_t from_ns, until_ns;
	int r;

	remote_window(cl, &from_ns, &until_ns);
	remote_param_i64(path, "start", from_ns);
	remote_param_i64(path, "end", until_ns);
	if ((r = remote_open(&remote, cl, &e)) == 0 &&
		(r = remote_get(remote, buf_cstr(path), &j, &e)) == 0) {
		remote_warnings(cl, &j);
		r = print_list(cl, &j, &e);
	}
	remote_close(remote);
	buf_fini(path);
	return r < 0 ? remote_fail(cl, query, &e) : EXIT_OK;
}

static int run_labels(struct command_line *cl)
{
	const char *match = flag_string(cl, "match");
	struct buf path = {0};

	if (cl->n_args) {
		buf_c(&path, "/loki/api/v1/label/");
		url_encode(&path, str_c(cl->args[0]));
		buf_c(&path, "/values");
	} else {
		buf_c(&path, "/loki/api/v1/labels");
	}
	if (match)
		remote_param(&path, "query", str_c(match));
	return list(cl, &path, match);
}

static int run_series(struct command_line *cl)
{
	struct buf path = {0};

	buf_c(&path, "/loki/api/v1/series");
	for (size_t i = 0; i < cl->n_args; i++)
		remote_param(&path, "match", str_c(cl->args[i]));
	if (cl->n_args == 0)
		remote_param(&path, "match", STR("{}"));
	return list(cl, &path, cl->n_args == 1 ? cl->args[0] : NULL);
}

static const struct flag label_flags[] = {
	{.name = "match",
		.kind = FLAG_STRING,
		.value = "SELECTOR",
		.help = "Only of streams that match, as {app=\"billing\"}."},
	FLAG_END,
};

const struct command command_labels = {
	.name = "labels",
	.args = "[NAME]",
	.summary = "list the names of labels, or the values of one",
	.examples = "sawlog labels\nsawlog labels app --since 7d\n",
	.flags = label_flags,
	.groups = {&window_flags, &list_flags, &remote_flags, &access_flags},
	.max_args = 1,
	.run = run_labels,
};

const struct command command_series = {
	.name = "series",
	.args = "[SELECTOR…]",
	.summary = "list the streams, by their labels",
	.examples = "sawlog series '{app=~\"bill.*\"}' --since 7d\n",
	.groups = {&window_flags, &list_flags, &remote_flags, &access_flags},
	.max_args = 32,
	.run = run_series,
};
