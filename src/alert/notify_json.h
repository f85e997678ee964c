/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Alerts as JSON.  Pure; any thread.
 *
 * Sources: prometheus.io/docs/alerting/latest/configuration/#webhook_config for
 * the message, Alertmanager's API v2 (its OpenAPI description) for the list.
 */
#include "alert/notify.h"

/* Append the message that Alertmanager's receivers get, version 4. */
void notify_json_message(struct buf *out, const struct alert_note *notes, size_t n,
	const struct notifier_settings *s, const struct notifier_env *env);
/* Append the list that is posted to an Alertmanager.  What still fires is said to end at
 * `until_ns`, unless it is told again. */
void notify_json_list(struct buf *out, const struct alert_note *notes, size_t n, int64_t until_ns);
/* Append the labels of the group, as text: {alertname="x"}. */
void notify_group_text(
	struct buf *out, const struct alert_note *note, const struct notifier_settings *s);
/* How many of them fire: they come first. */
size_t notes_firing(const struct alert_note *notes, size_t n);
