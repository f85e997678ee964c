/* SPDX-License-Identifier: Apache-2.0 */
/* sawlog check FILE: the same code that serve and reload run, and nothing is touched. */
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

/* Does the program know every key of it? */
static bool knows_keys(const struct reading *r)
{
	return str_find(buf_view(&r->errors.text), STR("unknown setting")) < 0;
}

static int run(struct command_line *cl)
{
	struct reading serve, forward = {0};
	bool is_forward = false;

	read_serve(cl, &serve);
	if (serve.code == ERR_ARG) {
		read_forward(cl, &forward);
		is_forward = forward.code == 0 || forward.named ||
			     (forward.errors.n < serve.errors.n &&
				     (knows_keys(&forward) || !knows_keys(&serve)));
	}
	tell(cl, is_forward ? &forward : &serve);
	buf_fini(&serve.errors.text);
	buf_fini(&forward.errors.text);
	return (is_forward ? forward.code : serve.code) < 0 ? EXIT_CONFIG : EXIT_OK;
}

const struct command command_check = {
	.name = "check",
	.args = "FILE",
	.summary = "validate a configuration file",
	.description =
		"Reads FILE as `sawlog serve -c FILE` or `sawlog forward -c FILE` would, whichever "
		"it fits, and says for each problem where it is, what is allowed, and the nearest "
		"name.",
	.examples = "sawlog check sawlog.yaml\n  ok, or file:line:column: what is wrong\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 1,
	.settings = true,
	.options = serve_options,
	.run = run,
};
