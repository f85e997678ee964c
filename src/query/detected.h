/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The fields that a sample of lines holds: structured metadata, what the
 * query's own stages found, and what json or else logfmt would find in the
 * line.  For clients that offer fields to choose from.
 * Threads: as query_run.
 */
#include "query/query.h"

enum {
	DETECTED_LINES_MAX = 5000,  /* of a sample */
	DETECTED_FIELDS_MAX = 5000, /* told apart; further ones are left out */
};

enum detected_type {
	DETECTED_BOOLEAN,
	DETECTED_INT,
	DETECTED_FLOAT, /* also where there are whole numbers and others */
	DETECTED_DURATION,
	DETECTED_BYTES,
	DETECTED_STRING, /* also where values are of different types */
};

struct detected_field {
	struct str name; /* as a label of the parser's result */
	enum detected_type type;
	size_t cardinality; /* different values in the sample */
	bool json, logfmt;  /* which parser finds it; none: metadata */
	struct str *path;   /* of json: the keys that lead to it */
	size_t n_path;
	struct str *values; /* sorted */
};

struct detected_fields {
	struct detected_field *fields; /* sorted by name */
	size_t n;
	struct query_result sample; /* stats and warnings */
	struct arena arena;         /* holds the fields */
	struct account *account;
	uint64_t charged;
};

/* `p` as for query_run; its limit is the size of the sample, at most DETECTED_LINES_MAX.  ERR_ARG
 * for a metric query, and as query_run.  *out is to be finished only after success. */
struct source;
int source_detected_fields(struct source *s, const struct query *q, const struct query_params *p,
	struct detected_fields *out, struct error *e);
void detected_fields_fini(struct detected_fields *d);
const char *detected_type_name(enum detected_type t);
/* Of one value. */
enum detected_type detected_type_of(struct str value);
