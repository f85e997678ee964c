/* SPDX-License-Identifier: Apache-2.0 */
#include "input/input.h"

#include <dirent.h>

#include "record/labels.h"

#define INPUT(id) extern const struct input_type input_##id;
#define INPUT_MISSING(id, package)
#include "input/inputs.def"
#undef INPUT
#undef INPUT_MISSING

const struct input_type *const input_types[] = {
#define INPUT(id) &input_##id,
#define INPUT_MISSING(id, package)
#include "input/inputs.def"
#undef INPUT
#undef INPUT_MISSING
	NULL,
};

/* Kinds that exist but not here: name, package. */
static const char *const missing_types[][2] = {
#define INPUT(id)
#define INPUT_MISSING(id, package) {#id, package},
#include "input/inputs.def"
#undef INPUT
#undef INPUT_MISSING
	{NULL, NULL},
};

const struct input_type *input_type_find(struct str name, const char **missing)
{
	for (size_t i = 0; input_types[i]; i++) {
		if (str_eq_c(name, input_types[i]->name))
			return input_types[i];
	}
	for (size_t i = 0; missing_types[i][0]; i++) {
		if (missing && str_eq_c(name, missing_types[i][0]))
			*missing = missing_types[i][1];
	}
	return NULL;
}

/* A journal file in `dir`, or when `deeper` in one of its folders (one for each machine). */
static bool has_journal(const char *dir, bool deeper)
{
	struct buf path = {0};
	struct dirent *entry;
	bool found = false;
	DIR *d = opendir(dir);

	while (d && !found && (entry = readdir(d))) {
		struct str name = str_c(entry->d_name);

		if (str_ends(name, STR(".journal"))) {
			found = true;
		} else if (deeper && name.p[0] != '.') {
			buf_clear(&path);
			buf_printf(&path, "%s/%s", dir, entry->d_name);
			found = has_journal(buf_cstr(&path), false);
		}
	}
	if (d)
		closedir(d);
	buf_fini(&path);
	return found;
}

bool journald_available(const char *dir)
{
	if (!input_type_find(STR("journald"), NULL))
		return false;
	if (dir)
		return has_journal(dir, true);
	return has_journal("/var/log/journal", true) || has_journal("/run/log/journal", true);
}

/* The class for OPT_KINDS. */

static const void *kind_find(struct str name, struct error *e)
{
	const char *missing = NULL;
	const struct input_type *type = input_type_find(name, &missing);

	if (type)
		return type;
	if (missing)
		error_set(e, ERR_UNSUPPORTED,
			"this build has no %.*s input: build again with the package %s",
			STR_ARG(name), missing);
	else
		error_set(e, ERR_ARG, "there is no input \"%.*s\"", STR_ARG(name));
	return NULL;
}

static const struct option *kind_options(const void *type)
{
	return ((const struct input_type *)type)->options;
}

static size_t kind_size(const void *type)
{
	return ((const struct input_type *)type)->size;
}

int input_check_labels(const struct string_map *labels, struct error *e)
{
	for (size_t i = 0; i < labels->n; i++)
		if (!label_name_valid(str_c(labels->items[i].name)))
			return error_set(e, ERR_ARG,
				"labels: \"%s\" is not a label: letters, digits and _, no digit first",
				labels->items[i].name);
	return 0;
}

static int kind_check(const void *type, const void *settings, struct error *e)
{
	const struct input_type *t = type;

	for (const struct option *o = t->options; o->name; o++)
		if (o->kind == OPT_MAP && strcmp(o->name, "labels") == 0 &&
			input_check_labels((const void *)((const char *)settings + o->offset), e) <
				0)
			return ERR_ARG;
	return t->check ? t->check(settings, e) : 0;
}

static const char *const *kind_names(void)
{
	static const char *const names[] = {
#define INPUT(id) #id,
#define INPUT_MISSING(id, package)
#include "input/inputs.def"
#undef INPUT
#undef INPUT_MISSING
		NULL,
	};

	return names;
}

const struct kind_class input_kinds = {
	.noun = "input",
	.find = kind_find,
	.options = kind_options,
	.size = kind_size,
	.check = kind_check,
	.names = kind_names,
};
