/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Ready-made rules: `ready` of the configuration of alerts.  Each becomes a
 * group of one rule, which is shown and evaluated as any other.
 * Pure; any thread.
 */
#include "alert/rule.h"
#include "conf/option.h"

extern const struct kind_class ready_kinds;

/* Two of one name: ERR_ARG. */
int ready_check(const struct kinds *ready, struct error *e);
/* The group of an entry, in the arena. */
struct rule_group ready_group(const struct kind_entry *entry, struct arena *a);
