/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Templates: the constant text of lines, with slots where values stand.
 *
 * A template is kept as one byte string, its key, which is also what lies on
 * the disk (doc/format/part.md): varint number of slots, for each slot varint
 * distance of its place from the one before, kind, width; then the text.  Two
 * templates are the same when their keys are.
 * Thread rule: a template is immutable; a table belongs to one thread.
 */
#include "base/buf.h"
#include "base/error.h"
#include "store/lines/token.h"

struct template_slot {
	uint32_t at; /* its value stands before text.p[at]; ascending, at <= text.n */
	uint8_t kind, width;
};

struct template
{
	struct str key, text; /* text is the end of key */
	const struct template_slot *slots;
	uint32_t n_slots;
};

/* The template of a key: borrows the key, owns its slots.  ERR_CORRUPT for a key that tokens_of
 * cannot have made (kinds, widths, places, lengths). */
int template_parse(struct template *out, struct str key, struct error *e);
void template_fini(struct template *t);
/* How people see it: "<_>" for each value, as Loki's patterns print. */
void template_print(const struct template *t, struct buf *out);

/* A table of the templates of a run of lines.  A hash is never trusted: the constant text and the
 * slots are compared. */
struct template_table;

enum { TEMPLATE_NONE = 0, TEMPLATES_MAX = 1 << 16 };

struct template_table *template_table_new(void);
void template_table_free(struct template_table *t);
void template_table_clear(struct template_table *t);
size_t template_table_count(const struct template_table *t);
size_t template_table_bytes(const struct template_table *t); /* memory it holds */
/* From now on nothing is added once it has so many templates or holds so many bytes. */
void template_table_limit(struct template_table *t, size_t templates, size_t bytes);
/* 1 + the index of the line's template, added when new; TEMPLATE_NONE when the table is full
 * (or, against lines made to collide, when its place is too far off). */
uint32_t template_table_put(struct template_table *t, struct str line, const struct token *tokens,
	size_t n, uint64_t hash);
/* The same by key; TEMPLATE_NONE also for what is no key. */
uint32_t template_table_put_key(struct template_table *t, struct str key);
/* Template number 1 + index; valid until it is cleared. */
const struct template *template_table_get(const struct template_table *t, uint32_t id);
