/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Grouping: which labels of a series stay.  The labels of a sample are its
 * structured metadata, detected_level, and those of its stream; where two of
 * them have one name, the first in this order wins, as in fields.h.
 */
#include "record/labels.h"

enum group_kind { GROUP_BY, GROUP_WITHOUT };

/* by () drops every label, without () keeps every label. */
struct grouping {
	enum group_kind kind;
	const struct str *names; /* sorted, each once */
	size_t n;
};

bool grouping_keeps(const struct grouping *g, struct str name);
/* Append the canonical bytes of the labels that stay.  `level` may be NULL. */
void grouping_project(const struct grouping *g, struct str labels, struct str meta,
	const char *level, struct buf *out);
/* Append the canonical bytes of metadata with detected_level (which may be NULL) in it. */
void group_meta(struct str meta, const char *level, struct buf *out);
/* Order of label sets: by names and values, pair by pair; a set before its extensions. */
int labels_order(struct str a, struct str b);
