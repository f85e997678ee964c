/* SPDX-License-Identifier: Apache-2.0 */
/* sawlog token: who may send to a server and ask it.  Works on the file; a server that runs sees
 * the change within a second. */
#include "net/token.h"

#include <stdlib.h>

#include "base/duration.h"
#include "cli/command.h"
#include "cli/config.h"
#include "os/clock.h"
#include "record/time.h"

static const struct flag file_flags[] = {
	{.name = "tokens-file",
		.kind = FLAG_STRING,
		.value = "FILE",
		.env = "SAWLOG_AUTH_TOKENS_FILE",
		.help = "The file of tokens. Default: auth.tokens_file of the configuration, else "
			"`tokens` in the data folder."},
	{.name = "config",
		.letter = 'c',
		.kind = FLAG_STRING,
		.value = "FILE",
		.env = "SAWLOG_CONFIG",
		.help = "Configuration file of the server."},
	FLAG_END,
};

static const struct flag_group file_group = {"File", file_flags};

/* The file to work on, in *path, memory of the command line.  False after the config was found
 * wrong, with that told. */
static bool find_file(struct command_line *cl, const char **path, bool *unused)
{
	struct conf_errors errors = {0};
	struct serve_config config;
	int r;

	*unused = false;
	if ((*path = flag_string(cl, "tokens-file")))
		return true;
	r = config_load(&config, flag_string(cl, "config"), NULL, NULL, &cl->arena, &errors);
	if (r < 0) {
		fprintf(cl->err, "%.*s", STR_ARG(buf_view(&errors.text)));
	} else {
		*unused = !config.auth.tokens_file;
		*path = config.auth.tokens_file
				? config.auth.tokens_file
				: arena_printf(&cl->arena, "%s/tokens", config.data);
	}
	buf_fini(&errors.text);
	return r == 0;
}

/* --- create ------------------------------------------------------------ */

static int read_wishes(struct command_line *cl, struct token *t, struct error *e)
{
	const char *scope = flag_string(cl, "scope"), *tenant = flag_string(cl, "tenant");
	const char *name = cl->args[0];
	int64_t life = flag_int(cl, "expires");

	if (!token_scopes_parse(str_c(scope), &t->scopes))
		return error_set(e, ERR_ARG,
			"--scope: must be of ingest, read and admin, with commas between; got \"%s\"",
			scope);
	if (strlen(tenant) >= sizeof t->tenant || strlen(name) >= sizeof t->name)
		return error_set(e, ERR_ARG, "%s: at most %zu bytes",
			strlen(name) >= sizeof t->name ? "NAME" : "--tenant",
			strlen(name) >= sizeof t->name ? sizeof t->name - 1 : sizeof t->tenant - 1);
	if (flag_given(cl, "expires") && life <= 0)
		return error_set(e, ERR_ARG, "--expires: must be a time to come, as 90d");
	if (life > 0 &&
		__builtin_add_overflow(cl->now_ns / NS_PER_SEC * NS_PER_SEC, life, &t->expires_ns))
		return error_set(
			e, ERR_ARG, "--expires: that is beyond the year 2262; leave it out");
	str_copy(str_c(tenant), t->tenant, sizeof t->tenant);
	str_copy(str_c(name), t->name, sizeof t->name);
	return 0;
}

static int create(struct command_line *cl)
{
	struct token t = {0};
	struct buf secret = {0};
	const char *path;
	struct error e = {0};
	bool unused;
	int r;

	if (read_wishes(cl, &t, &e) < 0)
		return command_usage(cl, &e);
	if (!find_file(cl, &path, &unused))
		return EXIT_CONFIG;
	if ((r = tokens_create(path, &t, &secret, &e)) < 0)
		return r == ERR_ARG ? command_usage(cl, &e) : command_fail(cl, &e);
	fprintf(cl->out, "%.*s\n", STR_ARG(buf_view(&secret)));
	explicit_bzero(secret.p, secret.n);
	buf_fini(&secret);
	fprintf(cl->err, "Keep it: it is not stored and cannot be shown again. Written to %s\n",
		path);
	if (unused)
		fprintf(cl->err,
			"The configuration has no auth: with `auth: {tokens_file: %s}` the server "
			"asks for tokens.\n",
			path);
	return EXIT_OK;
}

static const struct flag create_flags[] = {
	{.name = "scope",
		.kind = FLAG_STRING,
		.value = "LIST",
		.fallback = "ingest",
		.help = "What it may do: ingest (push), read (query, tail, page, metrics), admin "
			"(all of it, and reload); several with commas between."},
	{.name = "tenant",
		.kind = FLAG_STRING,
		.value = "NAME",
		.fallback = "default",
		.help = "For whom; * for any that the request names by X-Scope-OrgID."},
	{.name = "expires",
		.kind = FLAG_DURATION,
		.help = "How long it works: 90d, 12h. Default: until it is revoked."},
	FLAG_END,
};

static const struct command command_create = {
	.name = "token create",
	.args = "NAME",
	.summary = "make a token and print it",
	.description =
		"Prints a new token, alone on standard output; notes go to standard error. NAME says "
		"for people what it is for. Only a hash is stored: the token is shown this once.",
	.examples =
		"sawlog token create --scope ingest web1\n"
		"sawlog token create --scope read --expires 90d 'grafana of the shop' >grafana.token\n"
		"SAWLOG_TOKEN=$(sawlog token create --scope read me) sawlog query '{}'\n",
	.flags = create_flags,
	.groups = {&file_group},
	.min_args = 1,
	.max_args = 1,
	.run = create,
};

/* --- list -------------------------------------------------------------- */

struct listing {
	struct command_line *cl;
	size_t n;
};

static const char *expiry(struct buf *out, const struct token *t, int64_t now_ns)
{
	buf_clear(out);
	if (t->expires_ns && t->expires_ns <= now_ns)
		return "expired";
	if (!t->expires_ns)
		return "never";
	time_format(out, t->expires_ns / NS_PER_SEC * NS_PER_SEC);
	return buf_cstr(out);
}

static void print_token(void *arg, const struct token *t)
{
	struct listing *l = arg;
	struct buf created = {0}, expires = {0}, held = {0};

	if (l->n++ == 0)
		fprintf(l->cl->out, "%-16s  %-17s  %-12s  %-20s  %-20s  %s\n", "ID", "SCOPE",
			"TENANT", "CREATED", "EXPIRES", "NAME");
	time_format(&created, t->created_ns);
	token_scopes_format(&held, t->scopes);
	fprintf(l->cl->out, "%-16s  %-17s  %-12s  %-20s  %-20s  %s\n", t->id, buf_cstr(&held),
		t->tenant, buf_cstr(&created), expiry(&expires, t, l->cl->now_ns), t->name);
	buf_fini(&created);
	buf_fini(&expires);
	buf_fini(&held);
}

static int list(struct command_line *cl)
{
	struct listing l = {.cl = cl};
	const char *path;
	struct error e = {0};
	bool unused;

	if (!find_file(cl, &path, &unused))
		return EXIT_CONFIG;
	if (tokens_list(path, print_token, &l, &e) < 0)
		return command_fail(cl, &e);
	if (l.n == 0)
		fprintf(cl->err, "No tokens in %s\n", path);
	return EXIT_OK;
}

static const struct command command_list = {
	.name = "token list",
	.args = "",
	.summary = "print the tokens there are",
	.description = "One line a token: its id, scopes, tenant, times and name; never the token.",
	.groups = {&file_group},
	.run = list,
};

/* --- revoke ------------------------------------------------------------ */

static int revoke(struct command_line *cl)
{
	const char *path;
	struct error e = {0};
	bool unused;

	if (!find_file(cl, &path, &unused))
		return EXIT_CONFIG;
	for (size_t i = 0; i < cl->n_args; i++) {
		struct str id = str_c(cl->args[i]);

		/* The whole token is taken as well: it is what one has at hand after a leak. */
		if (str_starts(id, STR("slt_"))) {
			id = str_sub(id, 4, id.n);
			id = str_cut(&id, '_');
		}
		if (tokens_revoke(path, id, &e) < 0)
			return command_fail(cl, &e);
		fprintf(cl->err, "Revoked %.*s\n", STR_ARG(id));
	}
	return EXIT_OK;
}

static const struct command command_revoke = {
	.name = "token revoke",
	.args = "ID…",
	.summary = "let a token work no longer",
	.description = "Removes the tokens with these ids (of `sawlog token list`). A server that "
		       "runs refuses them within a second, and ends the tails they opened.",
	.groups = {&file_group},
	.min_args = 1,
	.max_args = ARGS_ANY,
	.run = revoke,
};

static const struct command *const subs[] = {&command_create, &command_list, &command_revoke, NULL};

const struct command command_token = {
	.name = "token",
	.args = "",
	.summary = "make, list and revoke tokens",
	.description =
		"A server whose configuration has `auth: {tokens_file: FILE}` answers only those who "
		"show a token of that file: `Authorization: Bearer TOKEN`, or the token as password of "
		"HTTP Basic. A token is for one tenant, or for any, and has scopes.",
	.subs = subs,
};
