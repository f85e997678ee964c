/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Passwords and tokens, which settings name a file of, so that they stand in no configuration.
 * They are read whenever they are needed: a file may be replaced at any time.  Any thread. */
#include "os/fs.h"

enum { SECRET_MAX = 4096 /* bytes of the file */ };

/* Append the first line of the file, without its end; it may be empty.  ERR_LIMIT, and the errors
 * of the disk. */
int secret_read(const char *path, struct buf *out, struct error *e);
/* As buf_fini, and nothing of it stays in memory. */
void secret_fini(struct buf *b);
