/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What retention will take from a store and when, as `store stats` says it.
 * One thread at a time.
 */
#include "cli/table.h"
#include "store/forecast.h"

/* Print the tables, an empty line before each. */
void forecast_print(struct command_line *cl, const struct forecast *f);
/* Append the rows as JSON objects, `between` before each but the first of all (*n counts them). */
void forecast_json(struct buf *out, const struct forecast *f, const char *between, size_t *n);
