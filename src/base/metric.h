/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Counters and gauges of the process, shown at /metrics in the Prometheus text
 * format (version 0.0.4).  One global table: a series is a family (a row of
 * metrics.def: name, type, help) and its label text.  Any thread.
 */
#include "base/buf.h"

enum metric {
#define METRIC(id, type, help) METRIC_##id,
#include "base/metrics.def"
#undef METRIC
	METRIC_COUNT,
};

/* A series; find it once and keep it: it lives as long as the process. */
struct series_value {
	_Atomic int64_t v;
};

/* `labels` as in the exposition format without braces, e.g. "input=\"loki\"", "" for none.
 * Build it with metric_label so that values are escaped. */
struct series_value *metric_series(enum metric m, const char *labels);
void metric_add(enum metric m, const char *labels, int64_t by);
void metric_set(enum metric m, const char *labels, int64_t value);
int64_t metric_get(enum metric m, const char *labels); /* 0 when absent */
/* Each series of a family, in no order.  `each` must not touch metrics. */
void metric_each(
	enum metric m, void (*each)(void *arg, struct str labels, int64_t value), void *arg);
/* Append `name="value"`, after a comma unless the buffer is empty.  Bytes that are not UTF-8
 * become U+FFFD: one of them would make a scraper refuse the whole page. */
void metric_label(struct buf *labels, const char *name, struct str value);
void metric_render(struct buf *out);
