/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the files of the tokens know of each other; nobody else includes this.
 *
 *	token.c       the set in memory: who gets in
 *	token_file.c  the file and its lines, as token.h tells them
 *	token_edit.c  what the commands change in it
 */
#include <sys/stat.h>

#include "net/token.h"

enum {
	TOKEN_HASH = 32,
	TOKEN_FILE_MAX = 4 << 20,
	TOKENS_MAX = 10000,
};

struct token_entry {
	struct token token;
	unsigned char hash[TOKEN_HASH];
};

struct token_entries {
	struct token_entry *items;
	size_t n, cap;
};

bool token_id_valid(struct str s);
bool token_name_valid(struct str s);
bool token_tenant_valid(struct str s);
void token_secret_hash(struct str secret, unsigned char out[TOKEN_HASH]);
void token_hex(struct buf *out, const unsigned char *p, size_t n);

/* A line without its end.  ERR_CORRUPT with what it lacks. */
int token_line_parse(struct str line, struct token_entry *out, struct error *e);
void token_line_format(struct buf *out, const struct token_entry *en);
/* The first line whose first word is the id, with its end; false when there is none. */
bool token_line_find(struct str text, struct str id, struct str *out);

/* The text of the file, appended, and its stat; one that is not there is empty, and its st_ino 0.
 * `changing`: by a command, of which root may run one on the file of a service's user; else the
 * file must be root's or our own.  ERR_DENIED when others may write it; ERR_LIMIT; ERR_IO. */
int token_file_read(
	const char *path, bool changing, struct buf *text, struct stat *st, struct error *e);
/* Add all good lines to `out`, in their order; the code and sentence are those of the first bad
 * one. */
int token_file_parse(struct str text, struct token_entries *out, struct error *e);
void token_entries_fini(struct token_entries *s);
