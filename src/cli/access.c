/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/access.h"

#include "base/log.h"

/* What is wrong with the files is wrong with the configuration that names them: ERR_ARG. */
static int load(struct tokens **tokens, struct tls_server **tls, const struct serve_config *c,
	struct error *e)
{
	*tokens = NULL;
	*tls = NULL;
	if (c->auth.tokens_file && tokens_open(tokens, c->auth.tokens_file, e) < 0)
		return error_wrap(e, ERR_ARG, "auth");
	if (c->http.tls.cert && tls_server_new(tls, &c->http.tls, e) < 0) {
		tokens_free(*tokens);
		*tokens = NULL;
		return error_wrap(e, ERR_ARG, "http");
	}
	if (*tokens && tokens_count(*tokens) == 0)
		log_warn("auth", "%s holds no token: nobody gets in before `sawlog token create`",
			c->auth.tokens_file);
	return 0;
}

int access_open(struct access *a, const struct serve_config *c, struct error *e)
{
	return load(&a->tokens, &a->tls, c, e);
}

int access_prepare(struct access *a, const struct serve_config *c, struct error *e)
{
	return load(&a->fresh_tokens, &a->fresh_tls, c, e);
}

static void use_tls(struct access *a, struct tls_server *fresh, struct http_server *http)
{
	tls_server_unref(a->tls);
	a->tls = fresh;
	a->stale_told = false;
	http_server_set_tls(http, fresh);
}

void access_commit(struct access *a, struct http_server *http)
{
	if (a->fresh_tokens)
		tokens_adopt(a->tokens, a->fresh_tokens);
	if (a->fresh_tls)
		use_tls(a, a->fresh_tls, http);
	a->fresh_tokens = NULL;
	a->fresh_tls = NULL;
}

void access_drop(struct access *a)
{
	tokens_free(a->fresh_tokens);
	tls_server_unref(a->fresh_tls);
	a->fresh_tokens = NULL;
	a->fresh_tls = NULL;
}

/* Who replaces the files writes one after the other: in between they do not fit, and the old ones
 * stay. */
void access_look(struct access *a, const struct serve_config *c, struct http_server *http)
{
	struct tls_server *fresh;
	struct error e;

	if (!a->tls || !tls_server_stale(a->tls))
		return;
	if (tls_server_new(&fresh, &c->http.tls, &e) == 0) {
		use_tls(a, fresh, http);
		log_info("http", "new connections get the certificate in %s", c->http.tls.cert);
	} else if (!a->stale_told) {
		a->stale_told = true;
		log_warn("http", "the old certificate stays in use: %s", e.text);
	}
}

void access_close(struct access *a)
{
	access_drop(a);
	tokens_free(a->tokens);
	tls_server_unref(a->tls);
	*a = (struct access){0};
}
