/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What guards a server: its tokens and its certificates, and their exchange at
 * a reload, which is prepared first and done once nothing can fail any more.
 * Loop's thread only, but for what `tokens` allows.
 */
#include "cli/config.h"
#include "net/http.h"
#include "net/token.h"

struct access {
	struct tokens *tokens;  /* NULL: nobody is asked; the same object as long as we run */
	struct tls_server *tls; /* NULL: plain HTTP */
	/* Prepared by a reload. */
	struct tokens *fresh_tokens;
	struct tls_server *fresh_tls;
	bool stale_told;
};

int access_open(struct access *a, const struct serve_config *c, struct error *e);
/* access_commit or access_drop is due after success. */
int access_prepare(struct access *a, const struct serve_config *c, struct error *e);
void access_commit(struct access *a, struct http_server *http);
void access_drop(struct access *a);
/* Now and then: certificates whose files were replaced are used from now on. */
void access_look(struct access *a, const struct serve_config *c, struct http_server *http);
void access_close(struct access *a); /* zeroed is fine */
