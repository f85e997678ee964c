/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The struct of a run: for template_run.c and template_memory.c alone.  One thread. */
#include "codec/json.h"
#include "codec/regex.h"
#include "query/template_tree.h"
#include "record/zone.h"

enum { TEMPLATE_REGEXES = 4 };

struct cached_regex {
	struct regex *regex; /* NULL: free */
};

struct template_run {
	struct account *account;
	struct buf out, scratch;
	struct datum *variables; /* the stack of frames */
	size_t n_variables, variables_cap;
	uint64_t charged; /* for the variables and buffers */
	size_t buffers_charged;
	/* Kept from row to row. */
	struct memory_chunk *chunks;
	size_t chunk_bytes, allocated;
	struct cached_regex regexes[TEMPLATE_REGEXES];
	size_t next_regex;
	struct zone *zone;
	char *zone_name;
	struct json_parser *json;
	/* Of one execution. */
	const struct template_program *program;
	struct fields *fields;
	struct str line;
	int64_t timestamp;
	size_t frame; /* where the variables of the body that runs begin */
	unsigned calls, depth;
	uint64_t steps;
	const struct regex *constant_regex; /* of the call that runs */
	char sentence[300]; /* of template_fail; turned into an error where the node is known */
	struct error *error;
};

void template_memory_reset(struct template_run *r);
