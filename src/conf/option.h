/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Option tables: one row makes parse, check, default, help, manual and the
 * nearest name for a typing error.
 *
 *   static const struct option options[] = {
 *           OPTION(struct syslog, max_line, .kind = OPT_SIZE, .fallback = "64KiB", .min = 1024,
 *                   .max = 1 << 20, .help = "Longer messages are cut and counted."),
 *           OPTION_END,
 *   };
 *   -> sawlog.yaml:12:5: max_line: must be between 1KiB and 1MiB
 *
 * Sources, later ones win: fallback, config file, environment SAWLOG_<KEY>
 * (upper case, dots as underscores), command line --<key> (dots and underscores as dashes).
 * There lists are written a,b and maps a=x,b=y (with a name twice where it has a list); lists of
 * maps and kinds only in the file.  In the file
 * ${NAME} and ${NAME:-text} take from the environment, and $$ is a dollar.
 * Threads: tables are constant; settings belong to who loaded them.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

enum option_kind {
	OPT_BOOL,     /* bool */
	OPT_INT,      /* int64_t */
	OPT_SIZE,     /* uint64_t bytes: 64KiB, 256MiB, 1GB, 512 */
	OPT_DURATION, /* int64_t ns: 30s, 5m, 30d */
	OPT_STRING,   /* const char *, NULL when absent without a fallback */
	OPT_PATH,     /* const char *; relative ones start at the config file's folder */
	OPT_ENUM,     /* int: index into .values, a NULL-terminated list */
	OPT_STRINGS,  /* struct strings: a list, or one value alone */
	OPT_PATHS,    /* struct strings, made absolute as OPT_PATH */
	OPT_LISTEN,   /* struct strings of listen addresses: host:port, scheme://host:port, stdin:;
		       * in a normal form (":80" is "0.0.0.0:80", "80" is "127.0.0.1:80") and
		       * compared over the whole config: a clash names both places */
	OPT_MAP,      /* struct string_map: name -> text (labels) */
	OPT_GROUPS,   /* struct string_groups: name -> list of texts, or one value alone */
	OPT_OBJECT,   /* a nested struct, described by .fields */
	OPT_LIST,     /* struct objects: a list of maps, each a struct of .size bytes by .fields */
	OPT_KINDS, /* struct kinds: a list of one-key maps, kind -> settings (inputs, outputs), or
		    * kind -> the value of its first setting */
};

struct strings {
	const char **items;
	size_t n;
};

struct string_map {
	struct {
		const char *name, *value;
	} * items;
	size_t n;
};

/* Names in the order written, each once; none without a value. */
struct string_group {
	const char *name;
	struct strings values;
};

struct string_groups {
	struct string_group *items;
	size_t n;
};

struct objects {
	void *items;
	size_t n;
};

/* One entry of an OPT_KINDS list. */
struct kind_entry {
	const char *kind;
	const void *type; /* what .find returned */
	void *settings;   /* struct of the type's size, filled */
	int line;         /* in the config; 0 from the command line */
};

struct kinds {
	struct kind_entry *items;
	size_t n;
};

struct option;
/* How OPT_KINDS learns of a kind; find returns NULL and a sentence when there is none.
 * names lists all, for "nearest". */
struct kind_class {
	const char *noun; /* "input" */
	const void *(*find)(struct str name, struct error *e);
	const struct option *(*options)(const void *type);
	size_t (*size)(const void *type);
	int (*check)(const void *type, const void *settings, struct error *e);
	const char *const *(*names)(void); /* NULL-terminated */
};

struct option {
	const char *name; /* the key, as in the config: "max_line" */
	size_t offset;
	enum option_kind kind;
	const char *fallback; /* as it would be written; NULL: zero, empty or absent */
	int64_t min, max;     /* both 0: no bounds; max alone 0: no upper one */
	bool required;
	bool secret;                 /* never printed */
	const char *const *values;   /* OPT_ENUM */
	const struct option *fields; /* OPT_OBJECT, OPT_LIST */
	size_t size;                 /* OPT_LIST */
	/* Of the text of a single value, after the rules of its kind: ERR_ARG with a sentence. */
	int (*check)(struct str text, struct error *e);
	const struct kind_class *kinds; /* OPT_KINDS */
	const char *help;               /* full sentences */
};

#define OPTION(type, field, ...)                                                                   \
	{                                                                                          \
		.name = #field, .offset = offsetof(type, field), __VA_ARGS__                       \
	}
#define OPTION_END                                                                                 \
	{                                                                                          \
		.name = NULL                                                                       \
	}

/* Where settings come from besides the fallbacks. */
struct conf_source {
	const char *file; /* NULL: none; "-" is stdin */
	struct str text;  /* instead of a file, when p is not NULL; `file` then names it */
	const char *const
		*flags;   /* "key=value" pairs from the command line, NULL-terminated or NULL */
	bool environment; /* read SAWLOG_* */
};

/* All errors found, one a line: "sawlog.yaml:12:5: max_line: …". */
struct conf_errors {
	struct buf text;
	size_t n;
};

/* Fill `settings` (zeroed by the caller, described by `table`) out of the arena.  Returns 0, or
 * ERR_ARG with every problem in `errors` (ERR_NOT_FOUND, ERR_IO when the file cannot be read). */
int conf_load(void *settings, const struct option *table, const struct conf_source *src,
	struct arena *arena, struct conf_errors *errors);
/* Render for people. */
void conf_help(const struct option *table, struct buf *out);       /* for --help */
void conf_help_flags(const struct option *table, struct buf *out); /* without those of the kinds */
void conf_manual(const struct option *table, struct buf *out);     /* roff for sawlog.yaml(5) */
void conf_effective(const void *settings, const struct option *table, struct buf *out); /* YAML */

/* A copy of `size` bytes of settings with all they point to, in the arena. */
void *conf_copy(const void *settings, size_t size, const struct option *table, struct arena *arena);
/* Do both say the same, secrets too? */
bool conf_same(const void *a, const void *b, const struct option *table);

/* The same texts in the same order? */
bool strings_same(const struct strings *a, const struct strings *b);

/* "64KiB" and "1.5GB" -> bytes; false when it is none. */
bool size_parse(struct str s, uint64_t *out);
void size_format(struct buf *out, uint64_t bytes); /* "64KiB", "1.5MiB" */
