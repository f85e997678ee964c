/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/input_flags.h"

#include <string.h>

#include "input/input.h"

/* The flags are written as the config file would have them, and loaded like one. */
struct input_flags {
	struct kinds inputs;
};

static const struct option options[] = {
	OPTION(struct input_flags, inputs, .kind = OPT_KINDS, .kinds = &input_kinds,
		.help = "Inputs of the command line."),
	OPTION_END,
};

const char *const *input_flags_given(struct command_line *cl, struct arena *arena)
{
	size_t n = flag_count(cl, "input");
	const char **given = ARENA_ARRAY(arena, const char *, n + 1);

	for (size_t i = 0; i < n; i++)
		given[i] = flag_nth(cl, "input", i);
	given[n] = NULL;
	return given;
}

static void put_yaml(const char *const *given, struct buf *yaml)
{
	buf_c(yaml, "inputs:\n");
	for (; *given; given++) {
		struct str value = str_c(*given), kind = str_cut(&value, '=');
		const struct input_type *t = input_type_find(kind, NULL);

		buf_printf(yaml, "  - %.*s: {", STR_ARG(kind));
		if (value.n && t && t->options[0].name) {
			buf_printf(yaml, "%s: ", t->options[0].name);
			buf_json(yaml, value);
		}
		buf_c(yaml, "}\n");
	}
}

int input_flags_add(struct kinds *inputs, const char *const *given, struct arena *arena,
	struct conf_errors *errors)
{
	struct input_flags extra = {{0}};
	struct conf_source src = {.file = "--input"};
	struct buf yaml = {0};
	struct kinds all;
	int r;

	if (!*given)
		return 0;
	put_yaml(given, &yaml);
	src.text = arena_str(arena, buf_view(&yaml));
	buf_fini(&yaml);
	if ((r = conf_load(&extra, options, &src, arena, errors)) < 0)
		return r;
	all.n = inputs->n + extra.inputs.n;
	all.items = ARENA_ARRAY(arena, struct kind_entry, all.n);
	for (size_t i = 0; i < inputs->n; i++)
		all.items[i] = inputs->items[i];
	for (size_t i = 0; i < extra.inputs.n; i++)
		all.items[inputs->n + i] = extra.inputs.items[i];
	*inputs = all;
	return 0;
}
