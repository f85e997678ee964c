/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a template computes with: the few of Go's types that can turn up, under
 * the names Go gives them in its errors.  A string, list or map is a view: of
 * the row, of the program, or of what template_alloc gave.  Maps are sorted by
 * key, which is the order in which Go ranges over and prints them.
 * Pure, but where a run is passed: that is one thread's.
 */
#include "base/buf.h"

struct template_run;

enum datum_kind {
	DATUM_NIL,
	DATUM_BOOL,
	DATUM_INT, /* int and int64 alike */
	DATUM_FLOAT,
	DATUM_STRING,
	DATUM_TIME,
	DATUM_LIST,
	DATUM_MAP,
	DATUM_ROW, /* the labels of the row: a map of strings, in which absent names are "" */
};

struct datum_time {
	int64_t s;      /* since 1970 */
	int32_t ns;     /* of the second, 0 to 999,999,999 */
	int32_t offset; /* seconds east of UTC */
};

struct datum {
	enum datum_kind kind;
	union {
		bool b;
		int64_t i;
		double f;
		struct str s;
		struct datum_time t;
		struct {
			const struct datum *p;
			size_t n;
		} list;
		struct {
			const struct datum_pair *p;
			size_t n;
		} map;
	};
};

struct datum_pair {
	struct str key;
	struct datum value;
};

static inline struct datum datum_string(struct str s)
{
	return (struct datum){.kind = DATUM_STRING, .s = s};
}

static inline struct datum datum_int(int64_t i)
{
	return (struct datum){.kind = DATUM_INT, .i = i};
}

static inline struct datum datum_float(double f)
{
	return (struct datum){.kind = DATUM_FLOAT, .f = f};
}

static inline struct datum datum_bool(bool b)
{
	return (struct datum){.kind = DATUM_BOOL, .b = b};
}

/* Go's name of the type: "map[string]interface {}". */
const char *datum_type(const struct datum *d);
/* The labels of the row become a DATUM_MAP; others stay as they are.  0, or as template_alloc. */
int datum_spread(struct template_run *r, struct datum *d);
/* The value under the key; false: there is none. */
bool datum_get(const struct datum *map, struct str key, struct datum *out);
/* Is it true in the sense of `if`? */
bool datum_truth(struct template_run *r, const struct datum *d);

/* cast.ToInt64 and ToFloat64, as sprig's functions read their arguments: 0 for what is none. */
int64_t datum_to_int(const struct datum *d);
double datum_to_float(const struct datum *d);

/* As fmt.Fprint writes one operand; nil, which can only be an absent value, is "<no value>" alone
 * and "<nil>" inside others. */
void datum_print(struct template_run *r, struct buf *out, const struct datum *d);
/* fmt.Sprint, Sprintln and Sprintf.  Negative when the text is beyond TEMPLATE_OUT_MAX. */
void datum_sprint(struct template_run *r, struct buf *out, const struct datum *args, size_t n);
void datum_sprintln(struct template_run *r, struct buf *out, const struct datum *args, size_t n);
int datum_sprintf(struct template_run *r, struct buf *out, struct str format,
	const struct datum *args, size_t n);
/* strconv.Quote. */
void datum_quote(struct buf *out, struct str s);
