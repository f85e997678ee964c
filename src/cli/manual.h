/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the command tables render to: help for a terminal, manual pages in
 * roff (man(7)), completion for shells.  Pure functions: they append.
 */
#include "cli/command.h"

void manual_overview(struct buf *out);                                /* `sawlog help` */
void manual_help(const struct command *c, struct buf *out);           /* `sawlog help NAME` */
void manual_page(const struct command *c, struct buf *out);           /* sawlog-NAME(1) */
void manual_page_overview(struct buf *out);                           /* sawlog(1) */
void manual_page_config(const struct option *table, struct buf *out); /* sawlog.yaml(5) */
/* ERR_ARG for a shell that is none of bash, zsh, fish. */
int manual_completion(struct str shell, struct buf *out, struct error *e);
