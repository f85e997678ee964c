/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the parts of a translation share (private to nowcast).  One thread. */
#include "conf/yaml.h"
#include "nowcast/nowcast.h"

enum {
	PORTS_MAX = 4096,    /* as each is compared with those before */
	HANDLERS_MAX = 256,  /* of one configuration */
	NOTES_MAX = 4 * 256, /* a few for each handler */
};

struct translation {
	const struct nowcast_options *options;
	struct arena *arena;
	struct conf_errors *errors;
	struct nowcast *out;
};

/* What a handler becomes. */
enum handler_kind { HANDLER_FILE, HANDLER_STREAM, HANDLER_EMAIL, HANDLER_NONE };

enum handler_rotation { ROTATION_NONE, ROTATION_HOUR, ROTATION_DAY, ROTATION_WEEK };

struct handler {
	struct str name;
	enum handler_kind kind;
	struct place place;
	int level; /* Python's number; 0: all */
	/* Of its formatter. */
	struct str format, datefmt;
	char style; /* % or { */
	/* HANDLER_FILE */
	struct str path;
	bool watched;
	enum handler_rotation rotation;
	unsigned weekday; /* of ROTATION_WEEK: it ends with this day; 0 is Monday */
	int64_t keep;     /* 0: all */
	/* HANDLER_STREAM */
	bool to_stdout;
	/* HANDLER_EMAIL */
	struct str smtp, from, subject, user, password_file;
	struct str *to;
	size_t n_to;
};

struct handlers {
	struct handler *items; /* those that get records */
	size_t n;
	int level; /* below it nobody gets a record */
};

struct handler_class {
	const char *name; /* "logging.FileHandler" */
	enum handler_kind kind;
	/* Fill in what is the kind's.  NULL: nothing. */
	void (*read)(struct translation *t, const struct yaml_node *node, const char *key,
		struct handler *h);
	/* Its arguments besides class, level, formatter and filters; NULL: any. */
	const char *const *keys;
};

/* --- nowcast.c --- */

/* The member of a map; NULL when there is none, or it is null. */
const struct yaml_node *member(const struct yaml_node *map, const char *key);
/* The text of a scalar; else a problem and {NULL, 0}. */
struct str scalar(struct translation *t, const struct yaml_node *node, const char *key);
/* True, False, yes, 1 … as YAML 1.1 has them. */
bool truth(const struct yaml_node *node, bool absent);
/* Replace $(NOWCAST.ENV.NAME); a missing variable is a problem. */
struct str substitute(struct translation *t, const struct yaml_node *node, const char *key);
void note(struct translation *t, const struct place *at, const char *fmt, ...) PRINTF(3, 4);

/* --- ports.c --- */

/* Fill out->publishers from the section `zmq`. */
void ports_read(struct translation *t, const struct yaml_node *zmq, const struct place *file);

/* --- handlers.c, kinds.c, formatters.c --- */

const struct handler_class *handler_class_find(struct str name); /* or NULL */

/* Which handlers of the dictConfig dictionary, found at `key`, get what is aggregated. */
void handlers_read(struct translation *t, const struct yaml_node *config, const char *key,
	struct handlers *out);
/* Those that other programs use: only their variables must be there. */
void handlers_check_variables(
	struct translation *t, const struct yaml_node *config, const char *key);
/* Set format, datefmt and style of `h` by its member `formatter`. */
void formatter_read(struct translation *t, const struct yaml_node *config,
	const struct yaml_node *handler, const char *key, struct handler *h);
/* Python's number of "INFO" or "20"; problems leave -1. */
int level_read(struct translation *t, const struct yaml_node *node, const char *key);

/* --- emit.c --- */

void emit(const struct translation *t, const struct handlers *h, struct buf *out);
