/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Go's text/template, as line_format and label_format use it: actions, if,
 * else, range, with, variables, pipelines, comparisons, comments, trim markers
 * and the functions of LogQL's documentation.  The data is the row's fields:
 * `.name` is a label, `__line__` and `__timestamp__` are functions.
 * Sources: pkg.go.dev/text/template, grafana.com/docs/loki (template functions),
 * masterminds.github.io/sprig for the functions named there.
 *
 * A template is bounded: TEMPLATE_OUT_MAX bytes of output, TEMPLATE_STEPS_MAX
 * actions a row; beyond it execution fails.
 * Thread rule: a compiled template is immutable, a run belongs to its thread.
 */
#include "base/arena.h"
#include "query/fields.h"
#include "query/wanted.h"

enum {
	TEMPLATE_TEXT_MAX = 64 << 10,
	TEMPLATE_OUT_MAX = 1 << 20,
	TEMPLATE_STEPS_MAX = 100000,
};

struct query;
struct template_program;
struct template_run; /* what executing needs: values, output; one thread */

/* Compiled into the query's arena; its regexes belong to the query.  ERR_ARG: what Go would say,
 * "template: :1: function \"foo\" not defined". */
int template_compile(
	struct template_program **out, struct query *q, struct str text, struct error *e);
/* The fields that it reads; all when it cannot be known (`range $k, $v := .`). */
void template_wants(const struct template_program *t, struct wanted *w);
/* Does it but join text, fields and the line?  Then only TEMPLATE_OUT_MAX can fail it. */
bool template_cannot_fail(const struct template_program *t);
struct template_run *template_run_new(struct account *a);
void template_run_free(struct template_run *r);
/* The output, valid until the next call.  ERR_ARG with the sentence for __error_details__. */
int template_execute(const struct template_program *t, struct template_run *r, struct fields *f,
	struct str line, int64_t timestamp, struct str *out, struct error *e);
