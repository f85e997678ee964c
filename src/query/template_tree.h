/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A parsed template: internal to template_*.c.  It lies in the query's arena
 * and is immutable once compiled.
 *
 * Variables are numbered when the template is parsed: a slot is a place on the
 * stack of its frame, as in Go the scope of a variable is that of the text.
 * Slot 0 is $.
 */
#include "base/arena.h"
#include "query/template.h"
#include "query/template_datum.h"

enum {
	TEMPLATE_DEPTH_MAX = 100,      /* nested actions and parentheses */
	TEMPLATE_VARIABLES_MAX = 250,  /* of one template, visible at once */
	TEMPLATE_CALLS_MAX = 32,       /* {{template}} within {{template}} */
	TEMPLATE_ARGS_MAX = 64,        /* of one call */
	TEMPLATE_MEMORY_MAX = 8 << 20, /* of what a row computes */
	TEMPLATE_BYTES_A_STEP = 256,   /* of text that a function reads */
	TEMPLATE_RUN_DEPTH_MAX = 500,  /* of the C stack, in evaluations */
};

enum node_kind {
	/* Of lists. */
	NODE_TEXT,
	NODE_ACTION,
	NODE_IF,
	NODE_WITH,
	NODE_RANGE,
	NODE_BREAK,
	NODE_CONTINUE,
	NODE_TEMPLATE,
	/* Of pipes. */
	NODE_COMMAND,
	/* Of commands. */
	NODE_DOT,
	NODE_NIL,
	NODE_BOOL,
	NODE_NUMBER,
	NODE_STRING,
	NODE_FIELD,    /* .a.b */
	NODE_VARIABLE, /* $x.a.b */
	NODE_CHAIN,    /* (pipe).a.b */
	NODE_FUNCTION,
	NODE_PIPE,
};

struct template_function;

struct node_branch {
	struct node *pipe, *list, *other;
};

struct node_pipe {
	struct node *commands;
	bool assigns; /* $x = …, in place of := */
	uint8_t n_slots;
	uint16_t slots[2];
};

struct node_command {
	struct node *args; /* the first is the function or value */
	size_t n;
};

struct node_number {
	bool is_int;
	bool ideal_float; /* written as one: 1.0, 1e3 */
	int64_t i;
	double f;
};

/* `a` of .a.b, of $x.a or of (…).a, and what they are taken from. */
struct node_path {
	struct str *names;
	size_t n;
	struct node *of; /* of a chain */
	uint16_t slot;   /* of a variable */
};

struct node_call {
	const struct template_function *function;
	const struct regex
		*regex; /* the first argument of a regex function, where it is constant */
};

struct node_template {
	struct str name;
	struct node *pipe; /* NULL: nil */
	const struct template_body *body;
};

struct node {
	enum node_kind kind;
	uint32_t pos, end; /* in the text */
	struct node *next;
	union {
		struct str text; /* of text and string */
		bool b;
		struct node_branch branch; /* action: pipe alone */
		struct node_pipe pipe;
		struct node_command command;
		struct node_number number;
		struct node_path path;
		struct node_call call;
		struct node_template tmpl;
	};
};

/* The main template, or one that {{define}} made. */
struct template_body {
	struct str name;
	struct node *list;
	size_t n_slots;
	struct template_body *next;
};

/* A template without logic is but pieces: `{{.a}} {{.b}}: {{__line__}}`. */
enum piece_kind { PIECE_TEXT, PIECE_FIELD, PIECE_LINE };

struct piece {
	enum piece_kind kind;
	struct str text;
};

/* What a template that is not about a row knows besides, see template_text.h. */
struct template_dialect {
	const struct template_function *functions; /* besides the others; ends without a name */
	const char *const
		*variables; /* with their dollar, declared at its begin; NULL-terminated */
};

struct template_program {
	struct str text;
	const struct template_dialect *dialect; /* NULL: it is about a row */
	struct template_body main;
	struct template_body *defined;
	struct piece *pieces; /* NULL when there is more to it */
	size_t n_pieces;
};

/* One row of the table of functions.  A letter a parameter: s string, i int, f float64, t time,
 * a any; a * behind the last: any number of it. */
struct template_function {
	const char *name, *params;
	int (*call)(struct template_run *r, const struct datum *args, size_t n, struct datum *out);
	enum {
		CALL_PLAIN,
		CALL_AND, /* evaluated as far as it takes */
		CALL_OR,
		CALL_REGEX, /* args[0] is a pattern */
		CALL_LINE,  /* __line__ */
	} special;
};

const struct template_function *template_function(struct str name);
/* The one of that name in a table. */
const struct template_function *template_table_find(
	const struct template_function *table, struct str name);

/* Parse.  ERR_ARG in the words of Go, ERR_LIMIT. */
int template_tree_parse(struct template_program *t, struct query *q, struct error *e);

/* Run one with a dialect: `dot` is its data, the variables get those values.  DATUM_ROW stands for
 * the fields.  As template_execute. */
int template_execute_over(const struct template_program *t, struct template_run *r,
	struct fields *f, const struct datum *dot, const struct datum *variables, struct str *out,
	struct error *e);

/* ---- for functions, while they run ---- */

/* Memory until the end of the execution; NULL with the error set when it is too much. */
void *template_alloc(struct template_run *r, size_t n);
/* A copy of b's content as *out; empties b.  0, or as template_alloc. */
int template_keep(struct template_run *r, struct buf *b, struct datum *out);
/* An empty buffer that the function may fill, and then keep.  One at a time. */
struct buf *template_scratch(struct template_run *r);
/* What went wrong; returns ERR_ARG. */
int template_fail(struct template_run *r, const char *fmt, ...) PRINTF(2, 3);
/* The row. */
struct fields *template_fields(struct template_run *r);
int64_t template_timestamp(struct template_run *r);
/* The regex of the call that runs, or that of a pattern which is computed.  0 or ERR_ARG. */
int template_regex(struct template_run *r, struct str pattern, const struct regex **out);
/* Seconds east of UTC in that zone at the local second; UTC for names that are none. */
int32_t template_zone(struct template_run *r, struct str zone, int64_t local_s);
struct json_parser *template_json(struct template_run *r);
/* Work that is not seen in steps: so many bytes were read.  0 or ERR_ARG. */
int template_work(struct template_run *r, size_t bytes);

/* url.QueryEscape. */
void template_put_url(struct buf *out, struct str s);

/* The tables, by subject; each ends with a row without a name. */
extern const struct template_function template_builtins[], template_strings[], template_maths[],
	template_times[], template_encodings[], template_regexes[];
/* Of the texts of alerts alone. */
extern const struct template_function template_humanize[];
