/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Makers of the stages, for the parser.  Each lies in its file stage_NAME.c (filters in
 * filter_NAME.c), allocates in the query's arena, and borrows its arguments, which lie there too.
 * Those that return int give ERR_ARG with a sentence for arguments that make no sense.
 * Thread rule: by the thread that parses the query; the stages are immutable from then on.
 */
#include "query/filter_line.h"
#include "query/ip.h"
#include "query/matcher.h"
#include "query/stage.h"

/* `json a="b.c", d`, `logfmt a="b"`: take the value of `path` into `name`. */
struct extraction {
	struct str name, path;
};

/* Without a list: all. */
int json_new(struct query *q, const struct extraction *list, size_t n, struct stage **out,
	struct error *e);
int logfmt_new(struct query *q, bool strict, bool keep_empty, const struct extraction *list,
	size_t n, struct stage **out, struct error *e);
struct stage *unpack_new(struct query *q);
/* ERR_ARG: no named group, a name twice. */
int regexp_new(struct query *q, struct str pattern, struct stage **out, struct error *e);
int pattern_new(struct query *q, struct str pattern, struct stage **out, struct error *e);

enum compare_op { COMPARE_EQ, COMPARE_NE, COMPARE_GT, COMPARE_GE, COMPARE_LT, COMPARE_LE };

enum label_filter_kind {
	LABEL_FILTER_AND,
	LABEL_FILTER_OR,
	LABEL_FILTER_STRING, /* matcher */
	LABEL_FILTER_NUMBER,
	LABEL_FILTER_DURATION,
	LABEL_FILTER_BYTES,
	LABEL_FILTER_IP, /* op is EQ or NE */
};

struct label_filter {
	enum label_filter_kind kind;
	const struct label_filter *left, *right; /* of AND and OR */
	struct matcher matcher;
	struct str name;
	enum compare_op op;
	struct str text; /* the value as written: "5m", "20MB", the pattern of ip() */
	double number;
	int64_t ns;
	uint64_t bytes;
	struct ip_pattern ip;
};

struct stage *label_filter_new(struct query *q, const struct label_filter *f);

int stage_line_format_new(struct query *q, struct str text, struct stage **out, struct error *e);

struct label_assignment {
	struct str name;
	bool is_template; /* value is one; else the name of a label to rename */
	struct str value;
};

/* ERR_ARG: a name is assigned twice. */
int label_format_new(struct query *q, const struct label_assignment *list, size_t n,
	struct stage **out, struct error *e);
struct stage *decolorize_new(struct query *q);

/* drop a, b="x": a is a matcher_is_name. */
struct stage *drop_new(struct query *q, const struct matcher *list, size_t n);
struct stage *keep_new(struct query *q, const struct matcher *list, size_t n);

/* |> and !>: pattern filters, and ip() in line filters, are alternatives of filter_line_new. */

enum unwrap_conversion { UNWRAP_NUMBER, UNWRAP_DURATION, UNWRAP_DURATION_SECONDS, UNWRAP_BYTES };

struct unwrap {
	struct str name;
	enum unwrap_conversion conversion;
};

/* The value of the field, taken away from the row's labels.  0 with an error set in the fields
 * ("SampleExtractionErr") when it cannot be read as one; false when the row has no such field. */
bool unwrap_take(const struct unwrap *u, struct fields *f, double *out);
void unwrap_format(const struct unwrap *u, struct buf *out);

/* Beyond Loki. */
int sample_new(struct query *q, uint64_t one_in, struct stage **out, struct error *e);
bool stage_is_sample(const struct stage *s);
struct stage *unroll_new(struct query *q, struct str name);
