/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Unpacking gzip (RFC 1952, also of several members) and zstd (RFC 8878,
 * several frames) as the bytes come, forward only.  Memory is that of the
 * format's window, at most 128 MiB.  Any bytes may come.  One thread.
 */
#include "base/error.h"
#include "base/str.h"

enum unpacker_kind { UNPACKER_PLAIN, UNPACKER_GZIP, UNPACKER_ZSTD };

enum { UNPACKER_HEAD = 4 }; /* bytes that tell the kind */

/* By what the content begins with: what is neither is plain. */
enum unpacker_kind unpacker_kind_of(struct str head);

struct unpacker;

struct unpacker *unpacker_new(enum unpacker_kind kind);
void unpacker_free(struct unpacker *u); /* NULL is fine */
/* Unpack from the start of *in, which is cut by what was used, up to n bytes to `out`.  *got may be
 * 0 while there is input; call again until it is 0 and *in is empty.  ERR_CORRUPT: what follows
 * cannot be read. */
int unpacker_some(
	struct unpacker *u, struct str *in, char *out, size_t n, size_t *got, struct error *e);
/* All so far is whole: no member is open. */
bool unpacker_whole(const struct unpacker *u);
