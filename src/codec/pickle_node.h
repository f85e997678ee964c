/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the files of pickle share: a value with what printing it needs, and
 * the memory of a reader.  Nodes belong to their reader until its next pickle.
 * Thread rule: as pickle.h, a reader is one thread's.
 */
#include "base/memory.h"
#include "codec/pickle.h"

enum node_special {
	NODE_PLAIN,
	NODE_CLASS,     /* an object that is a type or function itself */
	NODE_DECIMAL,   /* a text that is a number */
	NODE_TIMEDELTA, /* a text; i is its length in seconds */
	NODE_TIMEZONE,  /* a text; i is seconds east of UTC */
	NODE_BUILT,     /* an object whose last item is its state */
};

struct node {
	struct pickle_value v; /* first: a value is a node */
	uint32_t cap;          /* of v.items */
	enum node_special special;
	struct str label;   /* of a text: its repr(); of a container: the name around it */
	struct node *extra; /* printed before a container's items; of a text: its bytes */
};

enum { PICKLE_IS_LITERAL = -1 };

struct chunk;

struct pickle {
	size_t most; /* bytes that one pickle may take */

	/* The pickle being read. */
	struct str in;
	size_t at, op_at; /* of the next byte, of the opcode */
	struct error *e, unused;
	int protocol; /* or PICKLE_IS_LITERAL */

	/* Memory: the first chunk is kept. */
	struct chunk *chunks;
	char *free_at;
	size_t n_free, used;
	size_t n_values;

	struct node **stack;
	size_t n_stack, stack_cap;
	struct node **memo; /* NULL where nothing was put */
	size_t n_memo, memo_cap;
	size_t marks[PICKLE_DEPTH_MAX]; /* heights of the stack */
	size_t n_marks;

	struct buf scratch;
};

static inline struct node *node_of(const struct pickle_value *v)
{
	return (struct node *)v;
}

static inline struct node *node_item(const struct node *n, size_t i)
{
	return node_of(n->v.items[i]);
}

/* Forget the last pickle and start with `in`. */
void pickle_begin(struct pickle *p, struct str in, int protocol, struct error *e);
/* Not zeroed, aligned to 8 bytes; NULL when it would pass the limit. */
void *pickle_take(struct pickle *p, size_t n);
/* An error of the opcode at hand.  A macro, so that a compiler sees that what it gives is negative.
 */
#define pickle_fail(p, code, ...) (pickle_set_error(p, code, __VA_ARGS__), (code))
void pickle_set_error(struct pickle *p, int code, const char *fmt, ...) PRINTF(3, 4);
static inline int pickle_fail_memory(struct pickle *p)
{
	return pickle_fail(p, ERR_LIMIT, "needs more than the %zu bytes one may take", p->most);
}

/* A new value, zeroed but for its kind; NULL after an error. */
struct node *pickle_node(struct pickle *p, enum pickle_kind kind);
/* Append one item to a container; a negative code after an error. */
int pickle_append(struct pickle *p, struct node *to, struct node *item);
/* A copy; p NULL after an error. */
struct str pickle_copy(struct pickle *p, struct str s);
/* Text as it is when it is UTF-8, else a copy with U+FFFD; p NULL after an error. */
struct str pickle_utf8(struct pickle *p, struct str s);
/* The last part of "module.name". */
struct str pickle_last_name(struct str name);

/* The value that calling `callable` with these arguments gives: data when it is one of the known
 * constructors, else an object.  NULL after an error. */
struct node *pickle_call(struct pickle *p, struct node *callable, struct node *args);
/* The state of an object arrives.  A negative code after an error. */
int pickle_build(struct pickle *p, struct node *object, struct node *state);

/* A large integer or a small one, by its digits.  NULL after an error. */
struct node *pickle_decimal(struct pickle *p, struct str digits);
/* The value of exactly n hexadecimal digits at s[at]; false when they are not there. */
bool pickle_hex(struct str s, size_t at, size_t n, uint32_t *out);
/* The escape behind a backslash at s[*at], as text or as bytes; false for a bad one. */
bool pickle_unescape(struct str s, size_t *at, bool bytes, struct buf *out);

extern struct node pickle_none, pickle_true, pickle_false;
