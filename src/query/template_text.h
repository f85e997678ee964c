/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Templates about an alert: its labels and its value, as annotations and labels
 * of rules have them.  Those of template.h, but that the data is not a row:
 *
 *   .Labels $labels, .Value $value, .ExternalURL $externalURL, .ExternalLabels $externalLabels
 *
 * and that there are humanize, humanize1024, humanizeDuration, humanizePercentage,
 * humanizeTimestamp, toTime, match, reReplaceAll, toLower, toUpper, stripPort, stripDomain,
 * parseDuration, safeHtml besides.  A label that is not there is the empty text.
 * Source: prometheus.io/docs/prometheus/latest/configuration/template_reference/.
 * Thread rule: a text belongs to one thread at a time.
 */
#include "base/error.h"
#include "base/str.h"

struct template_text;

/* What it is about; views valid for the call. */
struct template_about {
	struct str labels; /* canonical */
	double value;
	int64_t now_ns;
	struct str external_url;
};

/* ERR_ARG in the words of Go, ERR_LIMIT.  Copies. */
int template_text_new(struct template_text **out, struct str text, struct error *e);
void template_text_free(struct template_text *t); /* NULL is fine */
/* The output, valid until the next call.  ERR_ARG with the sentence. */
int template_text_run(struct template_text *t, const struct template_about *about, struct str *out,
	struct error *e);
