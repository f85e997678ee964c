/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Files as a source: plain, gzip or zstd by their content, and the standard
 * input.  Each line is a record of the stream {filename="…"}; its time is what
 * the line tells, else that of the line before it, else when the file was last
 * changed; its level is detected as when it is taken in.  Lines are numbered
 * through all files, which are their sequences: order of (file, line).
 *
 * Files are read forward, in the order given, a unit of lines at a time: memory
 * is that of a unit.  What cannot be read twice (a pipe) is kept in a temporary
 * file for as long as the source lives, when a second scan may be needed.
 * Thread rule: one thread.
 */
#include "query/source.h"

enum {
	SOURCE_FILES_MAX = 65536,
	SOURCE_LINE_MAX = 1 << 20, /* a longer line comes in pieces, each a record */
};

struct source_files;

/* Open them; "-" is the standard input.  The paths are borrowed.  ERR_NOT_FOUND, ERR_DENIED,
 * ERR_ARG for a folder. */
int source_files_open(struct source_files **out, const char *const *paths, size_t n, int64_t now_ns,
	struct error *e);
void source_files_close(struct source_files *s); /* NULL is fine */
struct source *source_files_source(struct source_files *s);
/* The scan that is next is the last one: what is piped need not be kept, and a further scan of it
 * gives ERR_UNSUPPORTED. */
void source_files_once(struct source_files *s);
