/* SPDX-License-Identifier: Apache-2.0 */
/* sawlog check FILE: the same code that serve and reload run, and nothing is touched. */
#include "alert/expand.h"
#include "alert/rules.h"
#include "cli/command.h"
#include "cli/config.h"
#include "forward/forward.h"

static const struct flag flags[] = {
	{.name = "effective",
		.letter = 'e',
		.kind = FLAG_BOOL,
		.help = "Print the settings as they would be used, defaults and environment included."},
	FLAG_END,
};

/* FILE as one of the two programs reads it. */
struct reading {
	const char *program;
	const struct option *table;
	const void *settings;
	size_t n_inputs, n_outputs;
	bool named; /* it has settings that the other does not know */
	struct conf_errors errors;
	int code;
};

static void read_serve(struct command_line *cl, struct reading *out)
{
	struct serve_config *c = ARENA_ARRAY(&cl->arena, struct serve_config, 1);

	*out = (struct reading){.program = "serve", .table = serve_options, .settings = c};
	out->code = config_load(c, cl->args[0], cl->settings, NULL, &cl->arena, &out->errors);
	out->n_inputs = c->inputs.n;
	out->n_outputs = c->outputs.n;
	/* Zones make it a router's. */
	if (c->route.zones.n == 0)
		return;
	buf_fini(&out->errors.text);
	*out = (struct reading){.program = "route", .table = serve_options, .settings = c};
	out->code = config_load_route(c, cl->args[0], cl->settings, NULL, &cl->arena, &out->errors);
	out->n_inputs = c->inputs.n;
}

static void read_forward(struct command_line *cl, struct reading *out)
{
	struct forward_options *o = ARENA_ARRAY(&cl->arena, struct forward_options, 1);
	struct conf_source src = {.file = cl->args[0], .environment = true};
	struct error e;

	*out = (struct reading){.program = "forward", .table = forward_settings, .settings = o};
	out->code = conf_load(o, forward_settings, &src, &cl->arena, &out->errors);
	if (out->code == 0 && (out->code = forward_check(o, &e)) < 0) {
		buf_printf(&out->errors.text, "%s: %s\n", cl->args[0], e.text);
		out->errors.n++;
	}
	out->n_inputs = o->inputs.n + (o->paths.n > 0);
	out->named = o->url.n > 0 || o->paths.n > 0;
}

static void tell(struct command_line *cl, const struct reading *r)
{
	struct buf text = {0};

	if (r->code < 0) {
		fprintf(cl->err, "%.*s", STR_ARG(buf_view(&r->errors.text)));
		fprintf(cl->err, "%s: %zu problem%s for sawlog %s\n", cl->args[0], r->errors.n,
			r->errors.n == 1 ? "" : "s", r->program);
	} else if (flag_bool(cl, "effective")) {
		conf_effective(r->settings, r->table, &text);
		fprintf(cl->out, "%.*s", STR_ARG(buf_view(&text)));
	} else {
		fprintf(cl->out, "%s: ok for sawlog %s, %zu input%s", cl->args[0], r->program,
			r->n_inputs, r->n_inputs == 1 ? "" : "s");
		if (r->n_outputs)
			fprintf(cl->out, ", %zu output%s", r->n_outputs,
				r->n_outputs == 1 ? "" : "s");
		fputc('\n', cl->out);
	}
	buf_fini(&text);
}

/* How many of its outermost keys the program does not know: file:line:column: KEY: unknown … */
static size_t unknown_keys(const struct reading *r)
{
	struct str rest = buf_view(&r->errors.text);
	size_t n = 0;

	while (rest.n) {
		struct str line = str_cut(&rest, '\n');
		ptrdiff_t at = str_find(line, STR(": unknown setting"));
		size_t from = at < 0 ? 0 : (size_t)at;

		while (from > 0 && line.p[from - 1] != ' ')
			from--;
		n += at > 0 && str_chr(str_sub(line, from, (size_t)at), '.') < 0;
	}
	return n;
}

/* It names where lines go to or come from, or it fits better than the other. */
static bool is_for_forward(const struct reading *forward, const struct reading *serve)
{
	return forward->code == 0 || forward->named ||
	       (forward->errors.n < serve->errors.n &&
		       unknown_keys(forward) <= unknown_keys(serve));
}

/* --- files of rules -------------------------------------------------------------------- */

/* A key `groups` at the left edge: no configuration has one. */
static bool is_rule_file(struct str text)
{
	while (text.n) {
		struct str line = str_cut(&text, '\n');

		if (str_starts(line, STR("groups:")) || str_starts(line, STR("\"groups\":")))
			return true;
	}
	return false;
}

/* Expressions were read with the file; every rule whose templates are wrong is a line. */
static int check_rules(struct command_line *cl, struct str text)
{
	size_t n_alerts = 0, n_records = 0, n_bad = 0, n = 0;
	struct rule_group *groups;
	struct error e = {0};

	if (rule_groups_parse(&groups, &n, text, &cl->arena, &e) < 0) {
		fprintf(cl->err, "%s: %s\n%s: 1 problem\n", cl->args[0], e.text, cl->args[0]);
		return EXIT_CONFIG;
	}
	for (size_t g = 0; g < n; g++)
		for (size_t i = 0; i < groups[g].n; i++) {
			const struct rule *r = &groups[g].rules[i];

			n_alerts += r->alerts;
			n_records += !r->alerts;
			if (expand_check(r, &e) == 0)
				continue;
			n_bad++;
			fprintf(cl->err, "%s: group %.*s, rule %.*s: %s\n", cl->args[0],
				STR_ARG(groups[g].name), STR_ARG(r->name), e.text);
		}
	if (n_bad > 0) {
		fprintf(cl->err, "%s: %zu problem%s\n", cl->args[0], n_bad, n_bad == 1 ? "" : "s");
		return EXIT_CONFIG;
	}
	fprintf(cl->out, "%s: ok, a file of rules: %zu group%s, %zu alerting rule%s", cl->args[0],
		n, n == 1 ? "" : "s", n_alerts, n_alerts == 1 ? "" : "s");
	if (n_records > 0)
		fprintf(cl->out, ", %zu recording rule%s (listed, not evaluated)", n_records,
			n_records == 1 ? "" : "s");
	fputc('\n', cl->out);
	return EXIT_OK;
}

/* --- either ---------------------------------------------------------------------------- */

static int run_settings(struct command_line *cl)
{
	struct reading serve, forward = {0};
	bool is_forward = false;

	read_serve(cl, &serve);
	if (serve.code == ERR_ARG) {
		read_forward(cl, &forward);
		is_forward = is_for_forward(&forward, &serve);
	}
	tell(cl, is_forward ? &forward : &serve);
	buf_fini(&serve.errors.text);
	buf_fini(&forward.errors.text);
	return (is_forward ? forward.code : serve.code) < 0 ? EXIT_CONFIG : EXIT_OK;
}

static int run(struct command_line *cl)
{
	struct buf text = {0};
	struct file_stat st;
	int code;

	/* A pipe can be read once; what cannot be read is told where settings are. */
	if (fs_stat(fs_real(), cl->args[0], &st, NULL) == 0 && st.kind == FILE_REGULAR &&
		fs_read_all(fs_real(), cl->args[0], RULE_FILE_MAX, &text, NULL) == 0 &&
		is_rule_file(buf_view(&text)))
		code = check_rules(cl, buf_view(&text));
	else
		code = run_settings(cl);
	buf_fini(&text);
	return code;
}

const struct command command_check = {
	.name = "check",
	.args = "FILE",
	.summary = "validate a configuration file or a file of rules",
	.description =
		"Reads FILE as `sawlog serve -c FILE`, `sawlog route -c FILE` or `sawlog forward -c "
		"FILE` would, whichever it fits, and says for each problem where it is, what is allowed, and the nearest "
		"name. A file with groups of rules is checked as alerts.groups_file would be: "
		"expressions and templates parse.",
	.examples = "sawlog check sawlog.yaml\n  ok, or file:line:column: what is wrong\n"
		    "sawlog check rules.yaml\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 1,
	.settings = true,
	.options = serve_options,
	.run = run,
};
