/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The labels and annotations of an alert: what its rule has, with templates
 * (query/template_text.h) filled in.
 *
 * A template that fails must not silence the alert: its text is then
 * "<error expanding template: …>", as Prometheus has it.
 * Thread rule: an expander belongs to one thread.
 */
#include "alert/rule.h"

struct expander;
struct template_about;

/* Do the templates of the rule parse?  ERR_ARG with the name and the reason. */
int expand_check(const struct rule *r, struct error *e);

struct expander *expander_new(const struct rule *r); /* borrows the rule */
void expander_free(struct expander *x);
/* Append the canonical labels of the alert: the series' (about->labels), the rule's over them, and
 * alertname. */
void expander_labels(struct expander *x, const struct template_about *about, struct buf *out);
/* Append the annotations in the same form. */
void expander_annotations(struct expander *x, const struct template_about *about, struct buf *out);
