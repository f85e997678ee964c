/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Bearer tokens: who may do what, as which tenant.
 *
 * A token is "slt_" + id + "_" + 256 random bits in hex; the file holds the
 * SHA-256 of all of it alone, so that reading the file gives no access.  One
 * line a token, '#' begins a comment:
 *
 *   <id> <sha-256, hex> <scopes, "ingest,read"> <tenant> <created, RFC 3339> <expires or -> <name>
 *
 * Any thread; the set looks at the file again when it changed (at most once a
 * second), so that a revoked token stops working without a reload.
 */
#include "base/buf.h"
#include "base/error.h"

enum token_scope { SCOPE_INGEST = 1, SCOPE_READ = 2, SCOPE_ADMIN = 4 };

enum { TOKEN_HEADER_MAX = 1024 }; /* bytes of an Authorization header that are looked at */

struct token {
	char id[17];
	unsigned scopes;                /* of enum token_scope; admin holds the others */
	char tenant[151];               /* "*": any that the request names */
	int64_t created_ns, expires_ns; /* expires 0: never */
	char name[101];                 /* what it is for, for people */
};

struct tokens;

/* Use the tokens of a file.  A file that is not there is a set without tokens: nobody gets in.
 * ERR_DENIED when others may write it, ERR_CORRUPT with the line that is no token.  Found so at a
 * later look, the first empties the set and the second leaves out that line; both are logged. */
int tokens_open(struct tokens **out, const char *path, struct error *e);
void tokens_free(struct tokens *t); /* NULL is fine */
size_t tokens_count(struct tokens *t);
/* Use the file of `fresh` from now on; takes `fresh`. */
void tokens_adopt(struct tokens *t, struct tokens *fresh);
/* 0 and *out for a good one; ERR_DENIED with a sentence that does not repeat the token. */
int tokens_check(struct tokens *t, struct str secret, struct token *out, struct error *e);
/* Whether what was checked some time ago would pass again: for connections that stay. */
bool tokens_alive(struct tokens *t, const char *id);
/* Do the scopes of a token suffice for what needs `scope` (0: nothing)? */
bool token_may(unsigned scopes, unsigned scope);
/* The secret in the value of an Authorization header: "Bearer TOKEN", or "Basic …" with the token
 * as password, by any user name.  False when there is none.  *secret is a view of the value or of
 * `room`. */
bool token_of_header(struct str value, char room[TOKEN_HEADER_MAX], struct str *secret);

/* For the command: each reads and replaces the file whole (temp, sync, rename), under a lock of its
 * folder (ERR_BUSY after 5 s).  The file keeps its owner; a new one belongs to the folder's.
 * tokens_create takes scopes, tenant, expires_ns and name of `what`. */
int tokens_create(const char *path, const struct token *what, struct buf *secret, struct error *e);
int tokens_list(const char *path, void (*each)(void *arg, const struct token *t), void *arg,
	struct error *e);
int tokens_revoke(const char *path, struct str id, struct error *e); /* ERR_NOT_FOUND */
/* "ingest,read" -> flags; false when a word is none. */
bool token_scopes_parse(struct str s, unsigned *out);
void token_scopes_format(struct buf *out, unsigned scopes);
