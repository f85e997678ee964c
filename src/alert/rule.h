/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Groups of alerting and recording rules, in the YAML that Loki and Prometheus
 * share.  A group is immutable once it is parsed, with all its text in the
 * arena it was parsed into.
 * Thread rule: parsing is pure; a group may be read by any thread.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

enum {
	RULES_PER_GROUP_MAX = 1000,
	RULE_PAIRS_MAX = 100, /* labels, or annotations, of a rule */
	GROUP_NAME_MAX = 256,
};

struct rule_pair {
	struct str name, value;
};

struct rule {
	struct str name; /* of the alert, or the metric recorded */
	bool alerts;     /* an alert; else a recording rule */
	struct str expr; /* a metric query, or a new_template (new_template.h), as written */
	int64_t for_ns, keep_firing_ns;
	struct rule_pair *labels, *annotations;
	size_t n_labels, n_annotations;
};

struct rule_group {
	struct str name;
	int64_t interval_ns; /* 0: that of the server */
	int64_t offset_ns;   /* `query_offset`: rules ask about what was so long ago */
	uint64_t limit;      /* of alerts or series of a rule; 0: none */
	struct rule *rules;
	size_t n;
};

/* One group: {name, interval, query_offset, limit, labels, rules}; its labels become those of its
 * rules that have none of the name.  ERR_ARG with place and reason. */
int rule_group_parse(struct rule_group *out, struct str yaml, struct arena *a, struct error *e);
/* A file of them: {groups: [...]}. */
int rule_groups_parse(
	struct rule_group **out, size_t *n, struct str yaml, struct arena *a, struct error *e);
/* Append the group as YAML, each line behind `indent` blanks; `item`: as an item of a list, whose
 * dash stands two columns further left. */
void rule_group_write(const struct rule_group *g, unsigned indent, bool item, struct buf *out);
/* Append a YAML scalar that reads back as s. */
void rule_text_write(struct str s, struct buf *out);
