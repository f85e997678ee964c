/* SPDX-License-Identifier: Apache-2.0 */
#include "forward/plan.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "input/exposed.h"
#include "input/settings.h"
#include "os/process.h"

void forward_data_default(struct buf *out)
{
	if (geteuid() == 0) {
		buf_c(out, "/var/lib/sawlog-forward");
		return;
	}
	process_state_folder(out);
	buf_c(out, "/forward");
}

/* Making. */

/* Relative paths start at the working folder. */
static const char *absolute(struct arena *arena, const char *path)
{
	char *cwd;
	const char *out;

	if (path[0] == '/')
		return path;
	cwd = getcwd(NULL, 0);
	while (path[0] == '.' && path[1] == '/')
		path += 2;
	out = arena_printf(arena, "%s/%s", cwd ? cwd : "", path);
	free(cwd);
	return out;
}

static void add_kind(struct plan *p, const char *name, void *settings)
{
	p->kinds.items[p->kinds.n++] = (struct kind_entry){
		.kind = name, .type = input_type_find(str_c(name), NULL), .settings = settings};
}

/* The standard input is read by one at most, and by none when it is the server's side. */
static int check_stdin(const struct plan *p, struct error *e)
{
	size_t n = 0;

	for (size_t i = 0; i < p->kinds.n; i++) {
		const struct input_type *type = p->kinds.items[i].type;

		n += type->reads_stdin && type->reads_stdin(p->kinds.items[i].settings);
	}
	if (n > 0 && p->o->stdio)
		return error_set(e, ERR_ARG,
			"with --stdio the standard input holds the server's answers: it "
			"cannot be read as lines too");
	if (n > 1)
		return error_set(e, ERR_ARG,
			"the standard input is named %zu times: it can be read once", n);
	return 0;
}

bool plan_keeps_positions(const struct plan *p)
{
	bool keeps = false;

	for (size_t i = 0; i < p->kinds.n; i++)
		keeps |= ((const struct input_type *)p->kinds.items[i].type)->rereads;
	return keeps;
}

static int plan_inputs(struct plan *p, struct error *e)
{
	const struct forward_options *o = p->o;
	struct arena *arena = &p->generation->arena;
	const char **paths = ARENA_ARRAY(arena, const char *, o->paths.n + 1);
	bool use_stdin = false;
	size_t n = 0;

	for (size_t i = 0; i < o->paths.n; i++) {
		if (strcmp(o->paths.items[i], "-") == 0)
			use_stdin = true;
		else
			paths[n++] = absolute(arena, o->paths.items[i]);
	}
	if (n == 0 && !use_stdin && o->inputs.n == 0)
		return error_set(e, ERR_ARG,
			"nothing to forward: name files or globs, or - for the standard input");
	p->kinds.items = ARENA_ARRAY(arena, struct kind_entry, o->inputs.n + 2);
	if (n > 0) {
		struct file_settings *s = ARENA_NEW(arena, struct file_settings);

		*s = (struct file_settings){.paths = {paths, n},
			.exclude = o->exclude,
			.labels = o->labels,
			.app = o->app,
			.start = o->start,
			.detect_time = o->detect_time,
			.rotate_wait = 60 * NS_PER_SEC,
			.once = o->once};
		add_kind(p, "file", s);
	}
	if (use_stdin) {
		struct stdin_settings *s = ARENA_NEW(arena, struct stdin_settings);

		*s = (struct stdin_settings){.app = o->app ? o->app : "stdin",
			.labels = o->labels,
			.detect_time = o->detect_time};
		add_kind(p, "stdin", s);
	}
	for (size_t i = 0; i < o->inputs.n; i++)
		p->kinds.items[p->kinds.n++] = o->inputs.items[i];
	return check_stdin(p, e);
}

static void plan_servers(struct plan *p)
{
	const struct forward_options *o = p->o;
	const char *env = getenv("SAWLOG_ADDR");
	const char **urls = ARENA_ARRAY(&p->generation->arena, const char *, o->url.n + 1);

	for (size_t i = 0; i < o->url.n; i++)
		urls[i] = o->url.items[i];
	if (o->url.n == 0)
		urls[0] = arena_c(
			&p->generation->arena, str_c(env && *env ? env : "http://127.0.0.1:3100"));
	p->servers = (struct servers_options){.urls = urls,
		.n_urls = o->url.n ? o->url.n : 1,
		.tenant = o->tenant,
		.token_file = o->token_file,
		.ca = o->ca,
		.cert = o->cert,
		.key = o->key,
		.insecure = o->insecure,
		.failover_after_ns = o->failover_after,
		.return_after_ns = o->return_after};
}

static void refuse_first(void *arg, const char *sentence)
{
	struct error *e = arg;

	if (e->code == 0)
		error_set(e, ERR_ARG, "%s", sentence);
}

int forward_check(const struct forward_options *o, struct error *e)
{
	struct error open = {0};

	if (input_check_labels(&o->labels, e) < 0)
		return ERR_ARG;
	exposed_inputs(&o->inputs, &o->insecure_allow, refuse_first, &open);
	return open.code ? error_set(e, ERR_ARG, "%s", open.text) : 0;
}

/* `o` and what it points to live as long as the plan, or in its generation. */
int plan_make(
	struct plan *p, struct generation *g, const struct forward_options *o, struct error *e)
{
	char name[256];

	*p = (struct plan){.generation = g, .o = o};
	process_hostname(name, sizeof(name));
	p->host = o->host ? o->host : arena_c(&g->arena, str_c(name));
	plan_servers(p);
	if (forward_check(o, e) < 0)
		return ERR_ARG;
	return plan_inputs(p, e);
}

/* Comparing. */

bool plan_same_servers(const struct plan *a, const struct plan *b)
{
	const struct servers_options *x = &a->servers, *y = &b->servers;
	bool same = x->n_urls == y->n_urls && str_same(x->token_file, y->token_file) &&
		    str_same(x->ca, y->ca) && str_same(x->cert, y->cert) &&
		    str_same(x->key, y->key) && x->insecure == y->insecure &&
		    x->failover_after_ns == y->failover_after_ns &&
		    x->return_after_ns == y->return_after_ns && a->o->packing == b->o->packing;

	for (size_t i = 0; same && i < x->n_urls; i++)
		same = strcmp(x->urls[i], y->urls[i]) == 0;
	return same;
}

int plan_check_fixed(
	const struct forward_options *old, const struct forward_options *fresh, struct error *e)
{
	if (!str_same(old->data, fresh->data))
		return error_set(e, ERR_ARG, "data changed: this needs a restart");
	if (old->memory != fresh->memory)
		return error_set(e, ERR_ARG, "memory changed: this needs a restart");
	/* What is under way is of the old tenant. */
	if (!str_same(old->tenant, fresh->tenant))
		return error_set(e, ERR_ARG, "tenant changed: this needs a restart");
	return 0;
}

/* Settings. */

static const char *const starts[] = {"begin", "end", NULL};
static const char *const packings[] = {"auto", "plain", "lz4", "zstd", NULL};

const struct option forward_settings[] = {
	OPTION(struct forward_options, url, .kind = OPT_STRINGS,
		.help = "The server, or several in order of preference: when one fails, the next is "
			"used.  Without it $SAWLOG_ADDR, else http://127.0.0.1:3100."),
	OPTION(struct forward_options, data, .kind = OPT_PATH,
		.help = "Folder for positions, one forwarder each.  Without it "
			"/var/lib/sawlog-forward for root, else "
			"$XDG_STATE_HOME/sawlog/forward."),
	OPTION(struct forward_options, paths, .kind = OPT_STRINGS,
		.help = "Files and globs to follow; - is the standard input."),
	OPTION(struct forward_options, exclude, .kind = OPT_STRINGS,
		.help = "Globs of files to leave out."),
	OPTION(struct forward_options, labels, .kind = OPT_MAP, .help = "Labels of all lines."),
	OPTION(struct forward_options, app, .kind = OPT_STRING,
		.help = "The label app; without it by file."),
	OPTION(struct forward_options, host, .kind = OPT_STRING,
		.help = "The label host; without it the host's name."),
	OPTION(struct forward_options, start, .kind = OPT_ENUM, .values = starts,
		.fallback = "begin",
		.help = "Where to begin with files that are there at the very first start."),
	OPTION(struct forward_options, detect_time, .kind = OPT_BOOL, .fallback = "true",
		.help = "Take the time at the head of a line as its timestamp."),
	OPTION(struct forward_options, memory, .kind = OPT_SIZE, .fallback = "32MiB",
		.min = 8 << 20, .max = INT64_C(64) << 30,
		.help = "Ceiling of what is held between reading and acknowledgement."),
	OPTION(struct forward_options, tenant, .kind = OPT_STRING, .help = "The tenant."),
	OPTION(struct forward_options, token_file, .kind = OPT_PATH,
		.help = "File with the token for the server; read again when it changes."),
	OPTION(struct forward_options, ca, .kind = OPT_PATH,
		.help = "PEM file with the certificates that sign the server's.  Without it the "
			"system's."),
	OPTION(struct forward_options, cert, .kind = OPT_PATH,
		.help = "PEM file with the client's certificate, for a server that asks for one."),
	OPTION(struct forward_options, key, .kind = OPT_PATH,
		.help = "PEM file with the key of `cert`."),
	OPTION(struct forward_options, insecure, .kind = OPT_BOOL, .fallback = "false",
		.help = "Do not check the server's certificate: whoever is in between reads the "
			"lines and the token."),
	OPTION(struct forward_options, failover_after, .kind = OPT_DURATION, .fallback = "30s",
		.min = NS_PER_SEC / 10, .max = 3600 * NS_PER_SEC,
		.help = "How long a server fails before the next one is used."),
	OPTION(struct forward_options, return_after, .kind = OPT_DURATION, .fallback = "1m",
		.min = NS_PER_SEC / 10, .max = 24 * 3600 * NS_PER_SEC,
		.help = "How long a preferred server is ready without a break before it is used "
			"again."),
	OPTION(struct forward_options, packing, .kind = OPT_ENUM, .values = packings,
		.fallback = "auto",
		.help = "Compression on the way: auto is plain on this machine, else zstd."),
	OPTION(struct forward_options, once, .kind = OPT_BOOL, .fallback = "false",
		.help = "End when all files are read to their end and acknowledged."),
	OPTION(struct forward_options, quiet, .kind = OPT_BOOL, .fallback = "false",
		.help = "No progress line."),
	OPTION(struct forward_options, inputs, .kind = OPT_KINDS, .kinds = &input_kinds,
		.help = "Further inputs, as in sawlog.yaml."),
	OPTION(struct forward_options, insecure_allow, .kind = OPT_STRINGS,
		.help = "Listen addresses of inputs beyond loopback, in full (udp://0.0.0.0:514), "
			"that may take records from anyone who reaches them."),
	OPTION_END,
};
