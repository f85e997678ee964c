/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Names of metadata made out of names that senders chose: LogQL asks for
 * [a-zA-Z_][a-zA-Z0-9_]*, so each other byte becomes _.  Pure; any thread.
 */
#include "base/buf.h"

/* Append `name`; behind an _ when nothing was there and it begins with a digit. */
void meta_name_put(struct buf *out, struct str name);
