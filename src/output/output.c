/* SPDX-License-Identifier: Apache-2.0 */
#include "output/output.h"

#include "query/tail.h"
#include "record/severity.h"

enum { NAME_MAX_BYTES = 64 };

#define OUTPUT(id)          extern const struct output_type output_##id;
#define OUTPUT_AS(id, name) OUTPUT(id)
#define OUTPUT_MISSING(id, package)
#include "output/outputs.def"
#undef OUTPUT

const struct output_type *const output_types[] = {
#define OUTPUT(id) &output_##id,
#include "output/outputs.def"
#undef OUTPUT
#undef OUTPUT_AS
#undef OUTPUT_MISSING
	NULL,
};

/* Kinds that this build is without, and the package to build with; in use also when there are
 * none. */
static const struct {
	const char *name, *package;
} missing_types[] = {
#define OUTPUT(id)
#define OUTPUT_AS(id, name)
#define OUTPUT_MISSING(id, package) {#id, package},
#include "output/outputs.def"
#undef OUTPUT
#undef OUTPUT_AS
#undef OUTPUT_MISSING
	{NULL, NULL},
};

const char *const output_severities[] = {
	"any", "trace", "debug", "info", "warn", "error", "fatal", "critical", NULL};
const char *const output_starts[] = {"now", "begin", NULL};

uint8_t output_severity_floor(int min_severity)
{
	/* "critical" is the upper half of fatal, as severity_level has it. */
	static const uint8_t floors[] = {
		0, SEV_TRACE, SEV_DEBUG, SEV_INFO, SEV_WARN, SEV_ERROR, SEV_FATAL, SEV_FATAL + 2};

	return floors[min_severity];
}

int output_check_name(struct str text, struct error *e)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
	bool good = text.n > 0 && text.n <= NAME_MAX_BYTES && text.p[0] != '.';

	for (size_t i = 0; good && i < text.n; i++)
		good = text.p[i] && strchr(letters, text.p[i]);
	if (good)
		return 0;
	return error_set(e, ERR_ARG,
		"must be 1 to %d letters, digits, '_', '-' and '.', and not begin with '.': a "
		"folder is called by it",
		NAME_MAX_BYTES);
}

int output_check_match(struct str text, struct error *e)
{
	struct query_tail *t = NULL;
	struct query *q;
	int r = query_parse(&q, text, e);

	if (r < 0)
		return r;
	if (!query_is_log(q))
		r = error_set(e, ERR_ARG, "must be a log query: a metric query has no lines");
	else if ((r = query_tail_new(&t, q, false, NULL, e)) < 0)
		r = error_set(e, ERR_ARG,
			"uniq, top, sort and context need all lines: an output gets them one by one");
	query_tail_free(t);
	query_free(q);
	return r;
}

const struct output_type *output_type_find(struct str name, const char **missing)
{
	for (size_t i = 0; output_types[i]; i++)
		if (str_eq_c(name, output_types[i]->name))
			return output_types[i];
	if (missing) {
		*missing = NULL;
		for (size_t i = 0; missing_types[i].name; i++)
			if (str_eq_c(name, missing_types[i].name))
				*missing = missing_types[i].package;
	}
	return NULL;
}

/* The class for OPT_KINDS. */

static const void *kind_find(struct str name, struct error *e)
{
	const char *missing;
	const struct output_type *type = output_type_find(name, &missing);

	if (!type && missing)
		error_set(e, ERR_ARG,
			"this build has no %.*s output: build again with the package %s",
			STR_ARG(name), missing);
	else if (!type)
		error_set(e, ERR_ARG, "there is no output \"%.*s\"", STR_ARG(name));
	return type;
}

static const struct option *kind_options(const void *type)
{
	return ((const struct output_type *)type)->options;
}

static size_t kind_size(const void *type)
{
	return ((const struct output_type *)type)->size;
}

static int kind_check(const void *type, const void *settings, struct error *e)
{
	const struct output_type *t = type;

	return t->check ? t->check(settings, e) : 0;
}

static const char *const *kind_names(void)
{
	static const char *const names[] = {
#define OUTPUT(id)          #id,
#define OUTPUT_AS(id, name) name,
#define OUTPUT_MISSING(id, package)
#include "output/outputs.def"
#undef OUTPUT
#undef OUTPUT_AS
#undef OUTPUT_MISSING
		NULL,
	};

	return names;
}

const struct kind_class output_kinds = {
	.noun = "output",
	.find = kind_find,
	.options = kind_options,
	.size = kind_size,
	.check = kind_check,
	.names = kind_names,
};
