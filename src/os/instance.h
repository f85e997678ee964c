/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The identity of a data folder: a random number that it keeps for good, so
 * that servers know each other, and themselves, whatever their addresses are.
 * A copy of a folder has the same: its `instance` file is to be removed.
 * Any thread.
 */
#include "os/fs.h"

enum { INSTANCE_ID_SIZE = 17 };

/* The id in <dir>/instance, 16 hex digits; made when there is none.  One process a folder.
 * ERR_CORRUPT when it is no such thing, and the errors of the disk. */
int instance_id(struct fs *fs, const char *dir, char out[INSTANCE_ID_SIZE], struct error *e);
