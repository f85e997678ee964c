/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The parts of a request target: percent-encoding, path segments, parameters.
 * Everything is decoded exactly once.  Pure functions: any thread.
 */
#include "base/buf.h"
#include "base/error.h"

enum {
	URL_MAX_SEGMENTS = 16, /* more than any route has */
	URL_MAX_PARAMS = 1024,
};

struct url_path {
	struct buf text; /* "/" and the decoded segments, "/" between them */
	size_t n;
	struct str segments[URL_MAX_SEGMENTS]; /* views of text */
};

struct url_param {
	struct str name, value;
};

/* Parameters in the order they came in, repeated and empty ones too. */
struct url_params {
	struct url_param *list;
	size_t n, cap;
	struct url_block *blocks; /* the decoded texts */
};

/* Append s decoded: "%41" is "A"; with `plus`, "+" is a space.
 * ERR_ARG at a "%" that two hex digits do not follow. */
int url_decode(struct buf *out, struct str s, bool plus, struct error *e);
/* Cut a request target ("/a/b?x=1", or with "http://host" before it) into its raw path and raw
 * query. */
void url_split(struct str target, struct str *path, struct str *query);
/* `p` is zeroed before.  ERR_ARG: does not start with "/", or badly encoded; ERR_LIMIT: more than
 * URL_MAX_SEGMENTS.  url_path_fini in any case. */
int url_path_parse(struct url_path *p, struct str raw, struct error *e);
void url_path_fini(struct url_path *p);
/* Add the parameters of a query string or form body.  ERR_ARG when badly encoded, ERR_LIMIT beyond
 * URL_MAX_PARAMS: what was added before stays. */
int url_params_add(struct url_params *p, struct str text, struct error *e);
void url_params_fini(struct url_params *p);
/* The nth parameter of this name, or NULL. */
const struct url_param *url_params_get(const struct url_params *p, struct str name, size_t n);
