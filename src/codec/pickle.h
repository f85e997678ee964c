/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Reads Python's pickles, protocols 0 to 5, and executes nothing: no name in
 * them is ever looked up.  Text, numbers, containers are values; a few
 * constructors that only carry data (bytes, bytearray, set, frozenset,
 * datetime, Decimal, UUID, …) are read as that data; every other object is an
 * opaque PICKLE_OBJECT with its type's name and the state it was given, so
 * that one odd value never costs the rest.
 * Source: docs.python.org/3/library/pickletools.html, PEP 307, 3154 and 574.
 *
 * Everything is bounded: see enum below; beyond it ERR_LIMIT.
 * Thread rule: a reader belongs to one thread; values live until its next pickle_read.
 */
#include "base/buf.h"
#include "base/error.h"

enum {
	PICKLE_VALUES_MAX = 100000, /* values made by one pickle */
	PICKLE_MEMO_MAX = 100000,
	PICKLE_DEPTH_MAX = 200, /* of marks, and of containers when walked */
};

enum pickle_kind {
	PICKLE_NONE,
	PICKLE_BOOL,
	PICKLE_INT, /* fits int64_t */
	PICKLE_BIG, /* a larger integer: `text` is its decimal form, or hexadecimal when huge */
	PICKLE_FLOAT,
	PICKLE_TEXT, /* UTF-8; surrogates as CPython wrote them are replaced by U+FFFD.  A date, a
			Decimal, a UUID, a path and their like are the text that str() gives */
	PICKLE_BYTES,
	PICKLE_LIST,
	PICKLE_TUPLE,
	PICKLE_SET,
	PICKLE_DICT, /* items are key, value, key, value… in order; the last of equal keys counts */
	PICKLE_OBJECT, /* `text` is "module.name"; items: its arguments and state, for looking alone
			*/
};

struct pickle_value {
	enum pickle_kind kind;
	union {
		bool b;
		int64_t i;
		double f;
	};
	struct str text;
	struct pickle_value **items;
	size_t n;
};

struct pickle;

/* Memory of one pickle is at most `bytes` besides what views into `in` need. */
struct pickle *pickle_new(size_t bytes);
void pickle_free(struct pickle *p); /* NULL is fine */
/* Read one pickle from the start of `in`, up to its STOP; *used is its length (may be NULL).  *out
 * may hold views into `in`.  ERR_CORRUPT with the offset and the opcode at fault, ERR_LIMIT with
 * the limit. */
int pickle_read(struct pickle *p, struct str in, const struct pickle_value **out, size_t *used,
	struct error *e);
/* Read what repr() wrote: numbers, text, bytes, None, True, False and containers of them; anything
 * else in it is a text that reads the same.  As pickle_read; ERR_ARG when brackets or quotes do not
 * match. */
int pickle_literal(
	struct pickle *p, struct str in, const struct pickle_value **out, struct error *e);
/* The value of a text key of a dict; NULL when absent or no dict. */
const struct pickle_value *pickle_get(const struct pickle_value *dict, struct str key);
/* The attributes an object was given by BUILD: a dict in most cases; NULL when there are none. */
const struct pickle_value *pickle_state(const struct pickle_value *object);
/* The value as a float when Python takes it for a real number: bool, int, float, Decimal. */
bool pickle_number(const struct pickle_value *v, double *out);
/* The name of its type, as Python's sentences have it: "NoneType". */
struct str pickle_type(const struct pickle_value *v);
/* Append as Python's str() and repr() would write it; an object as <module.name object>, an
 * exception as Python's own do.  At most `most` bytes, then "…". */
void pickle_str(const struct pickle_value *v, size_t most, struct buf *out);
void pickle_repr(const struct pickle_value *v, size_t most, struct buf *out);
/* repr() of a text that is in no pickle; bytes that are no UTF-8 stay. */
void pickle_repr_text(struct str text, size_t most, struct buf *out);
