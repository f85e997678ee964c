/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Silences are written as people write selectors: app=web severity!=info
 * host=~db.*.  What they do is the server's; here they become its JSON.
 */
#include "cli/silence.h"

#include <stdlib.h>

#include "base/duration.h"
#include "cli/table.h"
#include "os/clock.h"
#include "record/time.h"

#define SILENCES_PATH "/api/v1/silences"

/* --- add ------------------------------------------------------------------------------- */

static void put_member(struct buf *out, const char *key, struct str value)
{
	buf_printf(out, "\"%s\":", key);
	buf_json(out, value);
}

/* name=value, name!=value, name=~regex, name!~regex; one word alone is the alert's name. */
static int put_matcher(struct buf *out, const char *word, struct error *e)
{
	struct str s = str_c(word);
	size_t at = 0;
	bool equal = true, regex = false;
	struct str name;

	while (at < s.n && s.p[at] != '=' && s.p[at] != '!')
		at++;
	name = str_trim(str_sub(s, 0, at));
	if (at == s.n && str_find(s, STR("~")) >= 0) {
		name = STR_NONE; /* host~db: a slip of =~, and a silence of nothing */
	} else if (at == s.n) {
		name = STR("alertname");
		at = 0;
	} else {
		equal = s.p[at++] == '=';
		if (at < s.n && (s.p[at] == '~' || (!equal && s.p[at] == '=')))
			regex = s.p[at++] == '~';
		else if (!equal)
			name = STR_NONE;
	}
	if (name.n == 0)
		return error_set(e, ERR_ARG,
			"\"%s\": must be NAME=VALUE, NAME!=VALUE, NAME=~REGEX, NAME!~REGEX or the "
			"name of an alert",
			word);
	buf_char(out, '{');
	put_member(out, "name", name);
	buf_char(out, ',');
	put_member(out, "value", str_sub(s, at, s.n));
	buf_printf(out, ",\"isRegex\":%s,\"isEqual\":%s}", regex ? "true" : "false",
		equal ? "true" : "false");
	return 0;
}

static int make_silence(struct command_line *cl, struct buf *out, struct error *e)
{
	int64_t from_ns = flag_given(cl, "from") ? flag_int(cl, "from") : cl->now_ns, until_ns;
	const char *user = getenv("USER"), *by = flag_string(cl, "by");

	if (cl->n_args < 2)
		return error_set(e, ERR_ARG,
			"add: say which alerts: NAME=VALUE of their labels, or the name of a rule");
	if (__builtin_add_overflow(from_ns, flag_int(cl, "for"), &until_ns))
		return error_set(e, ERR_ARG, "--for: that is beyond the year 2262");
	buf_c(out, "{\"matchers\":[");
	for (size_t i = 1; i < cl->n_args; i++) {
		buf_c(out, i > 1 ? "," : "");
		if (put_matcher(out, cl->args[i], e) < 0)
			return ERR_ARG;
	}
	buf_char(out, ']');
	time_json(out, "startsAt", from_ns);
	time_json(out, "endsAt", until_ns);
	buf_char(out, ',');
	put_member(out, "createdBy", str_c(by ? by : user && *user ? user : "sawlog"));
	buf_char(out, ',');
	put_member(out, "comment", str_c(flag_string(cl, "comment")));
	buf_char(out, '}');
	return 0;
}

static int add(struct command_line *cl, struct remote *remote, struct error *e)
{
	struct buf body = {0};
	struct json j;
	struct str id;
	int r = make_silence(cl, &body, e);

	if (r == 0 && (r = remote_post_json(remote, SILENCES_PATH, buf_view(&body), &j, e)) == 0) {
		id = json_get_text(&j, 0, "silenceID");
		if (id.n == 0)
			r = error_set(e, ERR_NET, "the answer holds no id: is this a sawlog?");
		else
			fprintf(cl->out, "%.*s\n", STR_ARG(id));
	}
	buf_fini(&body);
	return r;
}

/* --- list ------------------------------------------------------------------------------ */

static void put_matchers(struct buf *out, const struct json *j, size_t at)
{
	size_t list = json_get(j, at, "matchers");

	for (size_t i = list ? json_first(j, list) : 0; list && i < json_end(j, list);
		i = json_next(j, i)) {
		size_t regex = json_get(j, i, "isRegex"), equal = json_get(j, i, "isEqual");
		bool is_regex = regex && j->nodes[regex].type == JSON_TRUE,
		     is_equal = !equal || j->nodes[equal].type == JSON_TRUE;

		buf_c(out, i > json_first(j, list) ? " " : "");
		buf_str(out, json_get_text(j, i, "name"));
		buf_c(out, is_equal ? (is_regex ? "=~" : "=") : (is_regex ? "!~" : "!="));
		buf_json(out, json_get_text(j, i, "value"));
	}
}

static struct str state_of(const struct json *j, size_t at)
{
	size_t status = json_get(j, at, "status");

	return status ? json_get_text(j, status, "state") : STR_NONE;
}

static void put_silence(struct table *t, const struct json *j, size_t at)
{
	struct str comment = json_get_text(j, at, "comment");
	struct buf text = {0};

	table_text(t, json_get_text(j, at, "id"));
	table_text(t, state_of(j, at));
	table_time(t, json_get_text(j, at, "startsAt"));
	table_time(t, json_get_text(j, at, "endsAt"));
	table_text(t, json_get_text(j, at, "createdBy"));
	put_matchers(&text, j, at);
	table_text(t, buf_view(&text));
	if (comment.n)
		table_note(t, comment);
	buf_fini(&text);
}

static int list(struct command_line *cl, struct remote *remote, struct error *e)
{
	static const struct table_column columns[] = {{"ID", false}, {"STATE", false},
		{"FROM", false}, {"UNTIL", false}, {"BY", false}, {"ALERTS", false}, {NULL, false}};
	struct table t;
	struct json j;
	int r;

	if ((r = remote_get(remote, SILENCES_PATH, &j, e)) < 0)
		return r;
	if (j.nodes[0].type != JSON_ARRAY)
		return error_set(e, ERR_NET, "the answer holds no silences: is this a sawlog?");
	if (flag_choice(cl, "output") != TABLE_DEFAULT) {
		table_json(cl, &j, 0);
		return 0;
	}
	table_init(&t, cl, columns);
	for (size_t i = json_first(&j, 0); i < json_end(&j, 0); i = json_next(&j, i))
		if (flag_bool(cl, "expired") || !str_eq_c(state_of(&j, i), "expired"))
			put_silence(&t, &j, i);
	table_fini(&t);
	return 0;
}

/* --- expire ---------------------------------------------------------------------------- */

static int expire(struct command_line *cl, struct remote *remote, struct error *e)
{
	int r = 0;

	if (cl->n_args < 2)
		return error_set(e, ERR_ARG,
			"expire: say which, by their ids: `sawlog alert silence list` shows them");
	for (size_t i = 1; i < cl->n_args && r == 0; i++) {
		struct buf path = {0};

		buf_c(&path, SILENCES_PATH "/");
		url_encode(&path, str_c(cl->args[i]));
		r = remote_delete(remote, buf_cstr(&path), e);
		buf_fini(&path);
	}
	return r;
}

/* --- the command ----------------------------------------------------------------------- */

struct action {
	const char *name;
	int (*run)(struct command_line *cl, struct remote *remote, struct error *e);
};

static int run(struct command_line *cl)
{
	static const struct action actions[] = {{"add", add}, {"list", list}, {"expire", expire}};
	struct remote *remote = NULL;
	struct error e = {0};
	size_t i = 0, n = sizeof actions / sizeof *actions;
	int r;

	while (i < n && strcmp(cl->args[0], actions[i].name) != 0)
		i++;
	if (i == n) {
		error_set(&e, ERR_ARG, "must be add, list or expire, got \"%s\"", cl->args[0]);
		return command_usage(cl, &e);
	}
	if ((r = remote_open(&remote, cl, &e)) == 0)
		r = actions[i].run(cl, remote, &e);
	remote_close(remote);
	return r < 0 ? remote_fail(cl, NULL, &e) : EXIT_OK;
}

static const struct flag flags[] = {
	{.name = "for",
		.kind = FLAG_DURATION,
		.fallback = "2h",
		.min = 1000000000,
		.max = INT64_C(10) * 365 * 86400 * 1000000000,
		.help = "add: how long."},
	{.name = "from", .kind = FLAG_TIME, .help = "add: when it begins. Default: now."},
	{.name = "comment",
		.letter = 'm',
		.kind = FLAG_STRING,
		.value = "TEXT",
		.fallback = "",
		.help = "add: why, for those who see it."},
	{.name = "by",
		.kind = FLAG_STRING,
		.value = "NAME",
		.help = "add: who. Default: the user's name."},
	{.name = "expired",
		.kind = FLAG_BOOL,
		.help = "list: with those that have ended; they stay for a day."},
	FLAG_END,
};

const struct command command_alert_silence = {
	.name = "alert silence",
	.args = "add MATCHER…|list|expire ID…",
	.summary = "add, list and end silences",
	.description =
		"While a silence is active nobody is told of the alerts whose labels fit all of its "
		"matchers: NAME=VALUE, NAME!=VALUE, NAME=~REGEX, NAME!~REGEX, or the name of a rule "
		"alone. The alerts are evaluated and listed as before. add prints the id of the new "
		"silence.",
	.examples =
		"sawlog alert silence add app=web severity!=critical --for 4h -m 'moving the web servers'\n"
		"sawlog alert silence list\n"
		"sawlog alert silence expire 6b1d3e0a-5b1c-4a53-9f5c-0a4d6d3c5f11\n",
	.flags = flags,
	.groups = {&table_flags, &remote_flags, &access_flags},
	.min_args = 1,
	.max_args = 100,
	.run = run,
};
