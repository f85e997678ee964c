/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The configuration of `sawlog serve`: sawlog.yaml, environment, command line.
 * Loaded by serve (start and reload) and by check: the same code.
 */
#include "alert/alerts.h"
#include "api/loggregator.h"
#include "net/tls.h"
#include "output/drains.h"
#include "route/route.h"

enum durability { DURABILITY_SYNC, DURABILITY_OS };

struct config_rule {
	const char *match;
	int64_t age;
};

struct serve_config {
	const char *data; /* /var/lib/sawlog for root, else $XDG_STATE_HOME/sawlog */
	struct {
		struct strings listen;
		struct tls_settings tls; /* no cert: plain HTTP */
	} http;
	struct {
		const char *tokens_file; /* NULL: nobody is asked for a token */
	} auth;
	uint64_t memory;
	int durability; /* enum durability */
	struct {
		int64_t age;      /* 0: none */
		const char *size; /* "80%", "100GiB", "0": see config_retention_size */
		int64_t delete_wait;
		struct objects rules; /* of struct config_rule */
	} retention;
	struct {
		bool service_name, level;
	} discover;
	struct {
		bool strict;
	} logql;
	struct {
		uint64_t max_line, max_body;
		int64_t query_timeout;
	} limits;
	struct strings peers; /* URLs of servers whose records belong to answers */
	struct {
		const char *token_file, *ca;
		int64_t timeout;
	} peer;
	struct loggregator_settings loggregator;
	struct strings insecure_allow;
	struct kinds inputs, outputs;
	struct drains_settings drains;
	struct alert_settings alerts;
	struct route_settings route; /* without zones: this is a server and no router */
};

extern const struct option serve_options[];

/* The two forms of retention.size: a share of the disk, or bytes; both 0 for no limit. */
bool config_retention_size(struct str text, uint64_t *bytes, unsigned *percent);

/* Append the folder that serve takes when it is given none. */
void config_default_data(struct buf *out);
/* Does the HTTP server answer whoever reaches it, or in a way that others can read? */
bool config_open_to_all(const struct serve_config *c);

/* Load `file` (NULL: none) with the environment, "key=value" flags and inputs given as
 * "KIND=VALUE" (both NULL-terminated, may be NULL), into memory of the arena.  0, or ERR_ARG
 * with every problem a line in `errors`; ERR_NOT_FOUND, ERR_IO when the file cannot be read. */
int config_load(struct serve_config *out, const char *file, const char *const *flags,
	const char *const *inputs, struct arena *arena, struct conf_errors *errors);
/* The same for `sawlog route`. */
int config_load_route(struct serve_config *out, const char *file, const char *const *flags,
	const char *const *inputs, struct arena *arena, struct conf_errors *errors);
/* The same of a text that lies in no file; `name` stands for it in problems. */
int config_load_text(struct serve_config *out, struct str text, const char *name,
	const char *const *flags, struct arena *arena, struct conf_errors *errors);
