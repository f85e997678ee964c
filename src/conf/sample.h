/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A table with every kind of option, for the tests of conf. */
#include "conf/option.h"

struct sample_syslog {
	struct strings listen;
	uint64_t max_line;
	struct string_map labels;
	const char *file;
	struct {
		const char *cert;
	} tls;
};

struct sample {
	bool strict;
	int64_t count;
	uint64_t memory;
	int64_t timeout, wait;
	const char *name, *password, *data;
	int durability;
	struct strings paths, words;
	struct string_map labels;
	struct string_groups groups;
	struct {
		struct strings listen;
		int64_t n_threads;
	} http;
	struct kinds inputs;
};

static const char *const sample_durability[] = {"sync", "os", "interval", NULL};

static const struct option sample_tls[] = {
	{.name = "cert", .kind = OPT_PATH, .help = "Certificate."},
	OPTION_END,
};

static const struct option sample_syslog_options[] = {
	OPTION(struct sample_syslog, listen, .kind = OPT_LISTEN, .required = true,
		.help = "Where to listen."),
	OPTION(struct sample_syslog, max_line, .kind = OPT_SIZE, .fallback = "64KiB", .min = 1024,
		.max = 1 << 20, .help = "Longer messages are cut and counted."),
	OPTION(struct sample_syslog, labels, .kind = OPT_MAP, .help = "Labels of all records."),
	OPTION(struct sample_syslog, file, .kind = OPT_PATH, .help = "A file."),
	OPTION(struct sample_syslog, tls, .kind = OPT_OBJECT, .fields = sample_tls, .help = "TLS."),
	OPTION_END,
};

static const struct option sample_stdin_options[] = {OPTION_END};

static const int sample_types[] = {0, 1};
static const char *const sample_names[] = {"syslog", "stdin", NULL};

static const void *sample_find(struct str name, struct error *e)
{
	for (int i = 0; i < 2; i++)
		if (str_eq_c(name, sample_names[i]))
			return &sample_types[i];
	error_set(e, ERR_ARG, "there is no input \"%.*s\"", STR_ARG(name));
	return NULL;
}

static const struct option *sample_options(const void *type)
{
	return *(const int *)type ? sample_stdin_options : sample_syslog_options;
}

static size_t sample_size(const void *type)
{
	return *(const int *)type ? 1 : sizeof(struct sample_syslog);
}

static int sample_check(const void *type, const void *settings, struct error *e)
{
	const struct sample_syslog *s = settings;

	if (*(const int *)type == 0 && s->labels.n && !s->file)
		return error_set(e, ERR_ARG, "labels need a file");
	return 0;
}

static const char *const *sample_kind_names(void)
{
	return sample_names;
}

static const struct kind_class sample_kinds = {
	"input", sample_find, sample_options, sample_size, sample_check, sample_kind_names};

#define SAMPLE_HTTP(field, ...)                                                                    \
	{                                                                                          \
		.name = #field,                                                                    \
		.offset = offsetof(struct sample, http.field) - offsetof(struct sample, http),     \
		__VA_ARGS__                                                                        \
	}

static const struct option sample_http[] = {
	SAMPLE_HTTP(listen, .kind = OPT_LISTEN, .fallback = "127.0.0.1:3100", .help = "Addresses."),
	SAMPLE_HTTP(n_threads, .kind = OPT_INT, .fallback = "4", .min = 1, .max = 64,
		.help = "Threads."),
	OPTION_END,
};

static const struct option sample_table[] = {
	OPTION(struct sample, strict, .kind = OPT_BOOL, .fallback = "true", .help = "Be strict."),
	OPTION(struct sample, count, .kind = OPT_INT, .min = -5, .max = 10, .help = "A number."),
	OPTION(struct sample, memory, .kind = OPT_SIZE, .fallback = "256MiB", .min = 16 << 20,
		.help = "Ceiling. 'Quoted' and back\\slash."),
	OPTION(struct sample, timeout, .kind = OPT_DURATION, .fallback = "30s", .min = 1000000,
		.max = INT64_C(3600) * 1000000000, .help = "Time."),
	OPTION(struct sample, wait, .kind = OPT_DURATION, .help = "More time."),
	OPTION(struct sample, name, .kind = OPT_STRING, .help = "A name."),
	OPTION(struct sample, password, .kind = OPT_STRING, .secret = true, .help = "A secret."),
	OPTION(struct sample, data, .kind = OPT_PATH, .fallback = "./data", .help = "A folder."),
	OPTION(struct sample, durability, .kind = OPT_ENUM, .values = sample_durability,
		.fallback = "os", .help = "When lines are safe."),
	OPTION(struct sample, paths, .kind = OPT_PATHS, .help = "Files."),
	OPTION(struct sample, words, .kind = OPT_STRINGS, .fallback = "a, b", .help = "Words."),
	OPTION(struct sample, labels, .kind = OPT_MAP, .help = "Labels."),
	OPTION(struct sample, groups, .kind = OPT_GROUPS, .help = "Groups."),
	OPTION(struct sample, http, .kind = OPT_OBJECT, .fields = sample_http, .help = "HTTP."),
	OPTION(struct sample, inputs, .kind = OPT_KINDS, .kinds = &sample_kinds, .help = "Inputs."),
	OPTION_END,
};
