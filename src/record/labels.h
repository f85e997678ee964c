/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A set of labels in canonical form, which is also its identity: pairs sorted
 * by name, each name once, no empty values.
 *
 *   varint n, then n times: varint length, name, varint length, value
 *
 * The same encoding carries a record's structured metadata.  Two sets are
 * equal when their bytes are equal.  Views are valid as long as the bytes.
 */
#include "base/buf.h"
#include "base/error.h"

enum {
	LABELS_MAX = 100,     /* pairs in a set */
	LABEL_NAME_MAX = 256, /* bytes */
	LABEL_VALUE_MAX = 65536,
};

struct label {
	struct str name, value;
};

/* Walk canonical bytes: `struct label l; struct str at = bytes; labels_start(&at);
 * while (labels_next(&at, &l)) …`.  For checked bytes alone. */
size_t labels_start(struct str *at); /* skips the count and returns it */
bool labels_next(struct str *at, struct label *out);
size_t labels_count(struct str labels);
/* The value of `name`; false when absent. */
bool labels_get(struct str labels, struct str name, struct str *value);
/* Are these bytes canonical, whole and within the limits above?  For bytes from a peer or disk. */
int labels_check(struct str bytes, struct error *e);
/* Append the text form {a="b", c="d"}, values quoted as Go's strconv.Quote does. */
void labels_text(struct buf *out, struct str labels);
/* Append as a JSON object {"a":"b"}. */
void labels_json(struct buf *out, struct str labels);
/* [a-zA-Z_][a-zA-Z0-9_]* and at most LABEL_NAME_MAX bytes. */
bool label_name_valid(struct str name);

/* Builds a canonical set out of pairs in any order.  One thread.  Zeroed struct is empty. */
struct labels_builder {
	struct label *pairs; /* sorted by name; views into text, kept right when it moves */
	size_t n, cap;
	struct buf text; /* copies of names and values */
	bool names_free; /* metadata: any name is fine, not only label_name_valid ones */
};

void labels_builder_clear(struct labels_builder *b);
void labels_builder_fini(struct labels_builder *b);
/* Copies.  A later value of the same name wins; an empty value removes the name.
 * ERR_ARG for a bad name, ERR_LIMIT with the limit: the sentence names the label. */
int labels_builder_set(
	struct labels_builder *b, struct str name, struct str value, struct error *e);
bool labels_builder_get(const struct labels_builder *b, struct str name, struct str *value);
/* Append the canonical bytes; the builder stays as it is. */
void labels_builder_write(struct labels_builder *b, struct buf *out);
/* Append the canonical bytes of n names, sorted and each once, with their values: for metadata that
 * is made for each message.  Empty values are left out, long ones cut at a character; nothing is
 * appended when all are empty. */
void labels_write(struct buf *out, const struct str names[], const struct str values[], size_t n);
/* Parse the text form `{a="b", c="d"}` (Prometheus), adding to b. ERR_ARG with the column. */
int labels_parse(struct labels_builder *b, struct str text, struct error *e);
