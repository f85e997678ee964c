/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the inputs of text have in common: the labels of a source and how a
 * line becomes a record.  Loop's thread only.
 */
#include "input/input.h"

enum {
	/* A line without a newline within this many bytes travels in pieces of this size, each a
	 * record with the structured metadata fragment="1", "2", … */
	LINE_FRAGMENT = 1 << 20,
};

struct shape;
struct zone;

struct line_labels {
	const char *input; /* the kind */
	const char *app;
	bool app_guessed;               /* a label `container` knows better */
	const char *file;               /* NULL: none */
	const struct string_map *extra; /* wins over the others; may be NULL */
	const struct shape *shape;      /* its labels of path and environment; may be NULL */
};

/* Append the canonical labels: host, app, file, input, `extra`, and service_name as discovered. */
int line_labels_write(
	const struct line_labels *l, const struct input_env *env, struct buf *out, struct error *e);

/* Turns lines into records. */
struct line_reader {
	const struct input_env *env;
	bool detect_time;
	const struct zone *zone; /* of times that name none; NULL: the host's */
	int zone_seconds;        /* as it is now */
	int64_t zone_until_ns;
	int64_t observed_ns; /* of the lines that come */
	int64_t last_ns;     /* what line_reader_observe gave last */
};

void line_reader_init(struct line_reader *l, const struct input_env *env, bool detect_time);
/* Times that name no zone are of this one, borrowed; NULL: the host's. */
void line_reader_zone(struct line_reader *l, const struct zone *zone);
/* Take the time: once for all lines of a read. */
void line_reader_now(struct line_reader *l);
/* The time of a line that tells none: observed_ns, and 1 ns more for each line that has it, so
 * that lines keep their order where times alone are compared. */
int64_t line_reader_observe(struct line_reader *l);
/* Timestamp, severity and flags of a line of a stream whose labels tell the level `told`
 * (discover_labels); body is a view of `line`. */
void line_reader_record(struct line_reader *l, struct str line, uint8_t told, struct record *out);
/* The same without the severity: discover_level_told gives it. */
void line_reader_time(struct line_reader *l, struct str line, struct record *out);
/* Canonical metadata fragment="<n>", replacing what `out` held. */
void line_fragment_meta(struct buf *out, uint64_t n);
