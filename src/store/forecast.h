/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What retention will take, and when: by the rules that the store's server was
 * given last, and at the rate at which records came in the last days.
 *
 * Read out of the footers of parts; the journal's records are not in it.
 * Changes nothing but that file, and works beside a server.  Any thread, but for retention_save.
 */
#include "store/retain.h"

/* The rules in force, in a file of the data folder, so that tools know them without the server.
 * One writer; written when they are others than those in it. */
int retention_save(struct fs *fs, const char *dir, const struct retention *r, struct error *e);
/* A retention whose parts are its own.  ERR_NOT_FOUND: no server has said any; ERR_CORRUPT. */
int retention_load(struct fs *fs, const char *dir, struct retention *out, struct error *e);
void retention_fini(struct retention *r);

enum forecast_by { FORECAST_RULE, FORECAST_AGE, FORECAST_SIZE, FORECAST_NEVER };

/* A rule of retention, and what is in its care: its streams, for size everything. */
struct forecast_rule {
	enum forecast_by by; /* NEVER: streams that no age is for */
	struct str match;    /* of a rule; in the forecast's memory */
	int64_t age_ns;      /* 0 for size and NEVER */
	uint64_t stored;     /* a share by rows of parts with other streams */
	uint64_t records;
	int64_t oldest_ns; /* its oldest record; INT64_MAX: it has none */
	int64_t due_ns;    /* when that goes, now when it is late; INT64_MAX: it does not */
};

/* The records of one rule in the parts of a day. */
struct forecast_day {
	int32_t day; /* since 1970, UTC */
	uint64_t stored, records;
	int64_t due_ns; /* when the last of them is gone; INT64_MAX: they stay */
	enum forecast_by by;
	size_t rule; /* whose they are, and whose age it is where `by` says so */
};

struct forecast {
	struct retention retention;
	uint64_t own_bytes, limit_bytes; /* everything under the folder; 0: no limit */
	/* Bytes of parts a day, of the last seven days by the records' own times, or of as many as
	 * there are. */
	uint64_t bytes_a_day;
	struct forecast_rule *rules; /* rules in their order, age or NEVER, size */
	size_t n_rules;
	struct forecast_day *days; /* oldest first, those of a day by rule */
	size_t n_days;
};

/* ERR_NOT_FOUND: no server has said how long records stay here. */
int store_forecast(struct forecast *out, struct fs *fs, const char *dir,
	const struct store_selectors *fns, int64_t now_ns, struct error *e);
void forecast_fini(struct forecast *f);
