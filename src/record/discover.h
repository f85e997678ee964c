/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What Loki adds to a push at ingest: the label service_name, taken from the
 * first of a list of labels that is there, and the level a line tells.
 * Source: Loki's documentation, "limits_config: discover_service_name,
 * discover_log_levels".  Pure functions.
 */
#include "record/batch.h"

struct discover {
	bool service_name; /* config discover.service_name */
	bool level;        /* config discover.level */
};

/* Add service_name to the labels when it is wanted and absent: from service, app,
 * application, name, app_kubernetes_io_name, container, container_name,
 * k8s_container_name, component, workload, job, k8s_job_name; else "unknown_service". */
void discover_service_name(const struct discover *d, struct labels_builder *labels);
/* The level that a stream's labels tell, 0 for none: for discover_level_told, once a stream. */
uint8_t discover_labels(const struct discover *d, struct str labels);
/* Set severity from, in this order: metadata, labels (detected_level, level, severity, …), then
 * the line; a severity already set is kept.  RECORD_LEVEL_DETECTED is set in each case, as a line
 * that tells none shows "unknown", but not when the sender gave detected_level itself. */
void discover_level(const struct discover *d, struct str labels, struct record *r);
void discover_level_told(const struct discover *d, uint8_t told, struct record *r);
