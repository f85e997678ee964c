/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * JSON (RFC 8259) as a flat token array, over simdjson.
 *
 * json_parse fills a tape of nodes in document order.  A container's node
 * tells how many nodes its inside takes, so a reader skips it in one step;
 * an object's inside alternates key (JSON_STRING) and value.
 *
 *   for (size_t i = json_first(doc, at); i < json_end(doc, at); i = json_next(doc, i)) …
 *
 * Strings are unescaped.  Numbers keep their text as well, so that 64-bit
 * integers and "1e3" are the caller's to read.  Depth is at most 64, a text at
 * most 256 MiB.  A parser holds the text, 4 bytes per token and 24 per node.
 * Thread rule: a parser belongs to one thread at a time.
 */
#include "base/buf.h"
#include "base/memory.h"

enum json_type {
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT
};

struct json_node {
	enum json_type type;
	uint32_t inside; /* nodes inside an array or object, at any depth */
	struct str text; /* string: unescaped; number: as written.  Valid until the next parse */
};

struct json_parser; /* owns its memory; reuse it */

struct json {
	const struct json_node *nodes; /* nodes[0] is the root; valid until the next parse */
	size_t n;
};

struct json_parser *json_parser_new(void);
/* The same for texts of strangers: what it holds is charged, and what may not be is ERR_BUSY, or
 * ERR_LIMIT when the account could never hold it. */
struct json_parser *json_parser_new_charged(struct account *a);
void json_parser_free(struct json_parser *p);
/* What a charged one holds for the next text. */
uint64_t json_parser_held(const struct json_parser *p);
/* ERR_ARG with what is wrong and the byte offset: "bad JSON at byte 17: …"; ERR_LIMIT. */
int json_parse(struct json_parser *p, struct str text, struct json *out, struct error *e);

static inline size_t json_first(const struct json *j, size_t at)
{
	return at + 1;
}

static inline size_t json_end(const struct json *j, size_t at)
{
	return at + 1 + j->nodes[at].inside;
}

static inline size_t json_next(const struct json *j, size_t i)
{
	return i + 1 + j->nodes[i].inside;
}

/* Index of the value of `key` in the object at `at`, the last one if repeated; 0 when absent
 * or `at` is no object. */
size_t json_get(const struct json *j, size_t at, const char *key);
/* The string of `key` there; empty when it is absent or no string. */
struct str json_get_text(const struct json *j, size_t at, const char *key);
