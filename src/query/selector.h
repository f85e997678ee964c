/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Selectors of retention and deletions: a log query of matchers and line filters alone.
 * Thread rule: any thread. */
#include "store/visible.h"

/* How a store reads them. */
extern const struct store_selectors query_selectors;
/* ERR_ARG with a sentence when the text is none. */
int selector_check(struct str text, bool filters, struct error *e);
