/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Bearer tokens: who may do what, as which tenant.
 *
 * A token is "slt_" + id + "_" + 256 random bits; the file holds its SHA-256
 * alone, so that reading the file gives no access.  One line a token:
 *
 *   <id> <sha-256, hex> <scopes, "ingest,read"> <tenant> <created, RFC 3339> <expires or -> <name>
 *
 * Any thread; the set looks at the file again when it changed (at most once a
 * second), so that a revoked token stops working without a reload.
 */
#include "base/buf.h"
#include "base/error.h"

enum token_scope { SCOPE_INGEST = 1, SCOPE_READ = 2, SCOPE_ADMIN = 4 };

struct token {
	char id[17];
	unsigned scopes; /* of enum token_scope; admin holds the others */
	char tenant[151];
	int64_t created_ns, expires_ns; /* expires 0: never */
	char name[101];                 /* what it is for, for people */
};

struct tokens;

/* Use the tokens of a file.  A file that is not there is a set without tokens: nobody gets in. */
int tokens_open(struct tokens **out, const char *path, struct error *e);
void tokens_free(struct tokens *t);
/* 0 and *out for a good one; ERR_DENIED with a sentence that does not repeat the token. */
int tokens_check(struct tokens *t, struct str secret, struct token *out, struct error *e);

/* For the command: each reads and replaces the file whole (temp, sync, rename), under a lock. */
int tokens_create(const char *path, const struct token *what, struct buf *secret, struct error *e);
int tokens_list(const char *path, void (*each)(void *arg, const struct token *t), void *arg,
	struct error *e);
int tokens_revoke(const char *path, struct str id, struct error *e); /* ERR_NOT_FOUND */
/* "ingest,read" -> flags; false when a word is none. */
bool token_scopes_parse(struct str s, unsigned *out);
void token_scopes_format(struct buf *out, unsigned scopes);
