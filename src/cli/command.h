/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Commands: one file and one row of commands.def each.
 *
 *   static const struct flag flags[] = {
 *           {.name = "limit", .letter = 'n', .aliases = "lines tail", .kind = FLAG_INT,
 *                   .fallback = "30", .help = "At most N lines, 0 for all."},
 *           FLAG_END,
 *   };
 *   const struct command command_query = {.name = "query", .args = "LOGQL", .flags = flags,
 *           .summary = "print the lines of a LogQL query", .min_args = 1, .max_args = 1,
 *           .run = run};
 *
 * A row of the flag table makes parse, check, default, environment, --help,
 * the manual, shell completion and the nearest name for a typing error.
 * Sources, later ones win: fallback, environment, command line.
 * Threads: tables are constant; a command line belongs to the main thread.
 */
#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

/* What run returns; the manual documents them. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_NO_MATCH = 1,     /* with --exit-status, -q or --record alone; store verify: damage */
	EXIT_USAGE = 2,        /* bad flags or a bad query */
	EXIT_UNREACHABLE = 69, /* no connection to the server */
	EXIT_IO = 74,          /* a local file or the output could not be read or written */
	EXIT_TEMPORARY = 75,   /* partial result, or refused for now: try again */
	EXIT_AUTH = 77,
	EXIT_CONFIG = 78,
	EXIT_INTERRUPTED = 130, /* SIGINT */
	EXIT_TERMINATED = 143,  /* SIGTERM */
};

enum flag_kind {
	FLAG_BOOL, /* --name, --name=false */
	FLAG_STRING,
	FLAG_INT,      /* from .min to .max when these are not both 0 */
	FLAG_DURATION, /* 5m, 1h30m, 2d; as ns */
	FLAG_TIME,     /* record/time.h: time_parse_human; as ns */
	FLAG_CHOICE,   /* one of .choices; as index */
	FLAG_REPEATED, /* a string each time; the environment gives one */
};

struct flag {
	const char *name;    /* "since": --since */
	char letter;         /* 'n': -n; 0 for none */
	const char *aliases; /* further long names, separated by blanks; NULL for none */
	enum flag_kind kind;
	const char *value;    /* placeholder in the help; NULL: by kind, "DURATION" */
	const char *env;      /* "SAWLOG_ADDR LOKI_ADDR": the first that is set and not empty */
	const char *fallback; /* as it would be written; NULL: absent, false, 0 */
	int64_t min, max;
	const char *const *choices; /* NULL-terminated */
	const char
		*setting; /* a shorthand: the value also becomes the setting "<setting>=<value>" */
	const char *help; /* full sentences */
};

#define FLAG_END                                                                                   \
	{                                                                                          \
		.name = NULL                                                                       \
	}

/* Flags that several commands share. */
struct flag_group {
	const char *title; /* "Server" */
	const struct flag *flags;
};

enum { FLAG_GROUPS_MAX = 4 };

struct command_line;
struct option; /* conf/option.h */

struct command {
	const char *name;        /* "query"; of one of `subs`: "token create" */
	const char *args;        /* as in the usage: "LOGQL", "[FILE…]"; "" for none */
	const char *summary;     /* one line, no full stop */
	const char *description; /* paragraphs, separated by an empty line; may be NULL */
	/* Commands of its own, NULL-terminated: the next word chooses.  Then it has no flags, no
	 * operands and no run. */
	const struct command *const *subs;
	const char *examples; /* "command line\n  what it does\n" …; may be NULL */
	const struct flag *flags;
	const struct flag_group *groups[FLAG_GROUPS_MAX]; /* shared ones, NULL ends */
	unsigned min_args, max_args; /* of operands; max_args 0 with min_args 0: none */
	/* Flags that no table knows are settings of the config file, for conf_load: --http.listen
	 * ADDR, --http-listen=ADDR.  A flag without a value (the last word, or before another
	 * flag) is "true". */
	bool settings;
	const struct option *options;        /* those settings, for help and manual; may be NULL */
	int (*run)(struct command_line *cl); /* returns an enum exit_code */
};

/* For commands that take any number of operands. */
#define ARGS_ANY 100000u

struct flag_value; /* of command.c */

struct command_line {
	const struct command *command;
	char **args; /* operands, NULL-terminated; valid as long as argv */
	size_t n_args;
	/* "key=value", NULL-terminated, for struct conf_source.flags; the key as written, without
	 * its leading dashes.  Shorthands come in the order they were given. */
	const char *const *settings;
	char **raw; /* argv behind the command's name, untouched, NULL-terminated */
	bool help;  /* --help or -h: nothing else was checked */
	FILE *out, *err;
	int64_t now_ns; /* what "1h ago" counts from */
	struct arena arena;
	struct flag_value *values;
	size_t n_values;
};

/* Parse the words behind the command's name.  ERR_ARG with a sentence: "unknown flag --limt, did
 * you mean --limit?".  command_line_fini in any case.  `out`, `err` become stdout, stderr. */
int command_line_parse(struct command_line *cl, const struct command *c, char **argv,
	int64_t now_ns, struct error *e);
void command_line_fini(struct command_line *cl);

/* Values by the flag's name; a name that is in no table of the command is a programmer error.
 * Strings are valid as long as the command line. */
bool flag_given(const struct command_line *cl, const char *name); /* by words or environment */
bool flag_typed(const struct command_line *cl, const char *name); /* by words */
bool flag_bool(const struct command_line *cl, const char *name);
const char *flag_string(const struct command_line *cl, const char *name); /* NULL when absent */
int64_t flag_int(const struct command_line *cl, const char *name); /* FLAG_DURATION, _TIME, too */
int flag_choice(const struct command_line *cl, const char *name);
size_t flag_count(const struct command_line *cl, const char *name); /* FLAG_REPEATED */
const char *flag_nth(const struct command_line *cl, const char *name, size_t i);

/* All commands, NULL-terminated, in the order of commands.def. */
extern const struct command *const commands[];
#define COMMAND(id) extern const struct command command_##id;
#include "cli/commands.def"
#undef COMMAND
/* By "query" or "token create"; NULL with "unknown command …, did you mean …?" in e. */
const struct command *command_find(struct str name, struct error *e);
/* All of them, also those of `subs`, each behind its parent; NULL behind the last. */
const struct command *command_nth(size_t i);
/* Print "sawlog NAME: sentence" to cl->err and return the exit code for the error's code. */
int command_fail(struct command_line *cl, const struct error *e);
/* The same for a mistake in usage: adds where to find help; returns EXIT_USAGE. */
int command_usage(struct command_line *cl, const struct error *e);
int exit_code_of(int error_code);

/* Parse the words and run it, to its exit code; output is flushed. */
int command_run(const struct command *c, char **argv);
/* The whole program: main hands over its arguments. */
int command_main(int argc, char **argv);
