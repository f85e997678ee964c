/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Modes of files, folders and sockets as a setting has them: octal, "0640".  Pure; any thread. */
#include "base/error.h"
#include "base/str.h"

/* False when it is no octal number, or more than `most`. */
bool mode_parse(struct str text, unsigned most, unsigned *out);
/* For option.check, of files and folders: up to 07777.  ERR_ARG. */
int mode_check(struct str text, struct error *e);
