/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/fetch.h"
#include "cli/query_files.h"
#include "cli/record.h"
#include "os/clock.h"

struct run {
	struct command_line *cl;
	struct printer printer;
};

/* Whoever read our output has left, or the disk behind it is full: finish_output tells which. */
static int check_output(struct run *q)
{
	return ferror(q->cl->out) ? ERR_CLOSED : 0;
}

static int print_page(void *ctx, const struct print_entry *list, size_t n)
{
	struct run *q = ctx;

	if (q->printer.n == 0)
		printer_common(&q->printer, list, n);
	for (size_t i = 0; i < n; i++)
		printer_entry(&q->printer, &list[i]);
	return check_output(q);
}

static int print_samples(
	void *ctx, const struct json *j, struct str type, size_t result, struct error *e)
{
	struct run *q = ctx;

	return printer_samples(&q->printer, j, type, result, e);
}

/* "summary.execTime: 0.01" for each number of the tree. */
static void put_stats(FILE *err, const struct json *j, size_t at, const char *path)
{
	for (size_t i = json_first(j, at); i < json_end(j, at);) {
		size_t value = i + 1;
		struct str key = j->nodes[i].text;
		char name[200];

		snprintf(name, sizeof name, "%s%s%.*s", path, *path ? "." : "", STR_ARG(key));
		if (j->nodes[value].type == JSON_OBJECT)
			put_stats(err, j, value, name);
		else if (j->nodes[value].type == JSON_NUMBER)
			fprintf(err, "%s: %.*s\n", name, STR_ARG(j->nodes[value].text));
		i = json_next(j, value);
	}
}

static void print_stats(void *ctx, const struct json *j, size_t at)
{
	struct run *q = ctx;

	if (j->nodes[at].type == JSON_OBJECT)
		put_stats(q->cl->err, j, at, "");
}

static int run_instant(struct fetch *f, struct error *e)
{
	struct buf path = {0};
	struct json j;
	size_t data, type, result;
	int r;

	buf_c(&path, "/loki/api/v1/query");
	remote_param(&path, "query", str_c(f->query));
	remote_param_i64(&path, "time", f->until_ns);
	r = remote_get(f->remote, buf_cstr(&path), &j, e);
	buf_fini(&path);
	if (r < 0)
		return r;
	remote_warnings(f->cl, &j);
	data = json_get(&j, 0, "data");
	type = data ? json_get(&j, data, "resultType") : 0;
	result = data ? json_get(&j, data, "result") : 0;
	if (!type)
		return error_set(e, ERR_NET, "the answer holds no result: is this a Loki API?");
	return f->samples(f->ctx, &j, j.nodes[type].text, result, e);
}

/* The server runs the query as it would, and tells how instead of what. */
static int run_explain(struct fetch *f, struct error *e)
{
	bool instant = flag_bool(f->cl, "instant");
	struct buf path = {0};
	struct json j;
	size_t data, sawlog, list;
	int r;

	buf_c(&path, instant ? "/loki/api/v1/query" : "/loki/api/v1/query_range");
	remote_param(&path, "query", str_c(f->query));
	remote_param(&path, "explain", STR("true"));
	if (instant)
		remote_param_i64(&path, "time", f->until_ns);
	else
		fetch_params(f, &path);
	r = remote_get(f->remote, buf_cstr(&path), &j, e);
	buf_fini(&path);
	if (r < 0)
		return r;
	remote_warnings(f->cl, &j);
	data = json_get(&j, 0, "data");
	sawlog = data ? json_get(&j, data, "sawlog") : 0;
	list = sawlog ? json_get(&j, sawlog, "explain") : 0;
	if (!list)
		return error_set(e, ERR_NET,
			"the answer explains nothing: is this a sawlog, and not older?");
	for (size_t i = json_first(&j, list); i < json_end(&j, list); i = json_next(&j, i)) {
		struct buf text = {0};
		print_escaped(&text, j.nodes[i].text, false);
		fprintf(f->cl->out, "%s\n", buf_cstr(&text));
		buf_fini(&text);
	}
	return 0;
}

/* A person sees 30 lines, a pipe gets all of them, unless told otherwise. */
static uint64_t limit_of(const struct command_line *cl, bool tty)
{
	if (flag_bool(cl, "quiet"))
		return 1;
	if (!tty && !flag_given(cl, "limit"))
		return 0;
	return (uint64_t)flag_int(cl, "limit");
}

static int finish(struct run *q, struct fetch *f, int r, struct error *e)
{
	bool asked = flag_bool(q->cl, "exit-status") || flag_bool(q->cl, "quiet");

	if (r == ERR_CLOSED && ferror(q->cl->out))
		return EXIT_OK;
	if (r < 0)
		return remote_fail(q->cl, f->query, e);
	if (f->incomplete)
		return EXIT_TEMPORARY;
	return asked && q->printer.n == 0 ? EXIT_NO_MATCH : EXIT_OK;
}

static int run_record(struct command_line *cl, struct run *q)
{
	struct remote *remote = NULL;
	struct error e = {0};
	bool missing = false;
	int r;

	if ((r = remote_open(&remote, cl, &e)) == 0)
		r = record_print(cl, remote, &q->printer, &missing, &e);
	printer_fini(&q->printer);
	remote_close(remote);
	if (r < 0)
		command_fail(cl, &e);
	return missing ? EXIT_NO_MATCH : exit_code_of(r);
}

/* Over files and the standard input, without a server. */
static int run_files(struct command_line *cl, struct run *q, bool tty)
{
	const char **paths = xcalloc(cl->n_args + 1, sizeof *paths);
	struct query_files f = {
		.cl = cl,
		.printer = &q->printer,
		.query = cl->args[0],
		.paths = paths,
		.limit = limit_of(cl, tty),
		.forward = flag_bool(cl, "forward"),
		.instant = flag_bool(cl, "instant"),
		.explain = flag_bool(cl, "explain"),
		.step_ns = flag_int(cl, "step"),
		.from_ns = flag_given(cl, "since") ? flag_int(cl, "since") : INT64_MIN,
		.to_ns = flag_given(cl, "until") ? flag_int(cl, "until") : INT64_MAX,
	};
	bool asked = flag_bool(cl, "exit-status") || flag_bool(cl, "quiet");
	struct error e = {0};
	int r;

	if (flag_bool(cl, "stdin"))
		paths[f.n_paths++] = "-";
	for (size_t i = 1; i < cl->n_args; i++)
		paths[f.n_paths++] = cl->args[i];
	r = query_files_run(&f, &e);
	if (r == 0 || q->printer.n)
		printer_fini(&q->printer);
	free(paths);
	if (r < 0 && ferror(cl->out))
		return EXIT_OK;
	if (r == ERR_ARG || r == ERR_UNSUPPORTED) {
		command_fail(cl, &e);
		return EXIT_USAGE;
	}
	if (r < 0) {
		command_fail(cl, &e);
		return EXIT_IO;
	}
	if (f.incomplete)
		return EXIT_TEMPORARY;
	return asked && q->printer.n == 0 && !f.explain ? EXIT_NO_MATCH : EXIT_OK;
}

/* One of LOGQL and --record. */
static int check_operands(struct command_line *cl, struct error *e)
{
	bool record = flag_given(cl, "record");

	if (record && cl->n_args)
		return error_set(e, ERR_ARG, "--record names the record: it takes no LOGQL");
	if (!record && cl->n_args == 0)
		return error_set(e, ERR_ARG, "LOGQL is missing");
	if (!record && flag_given(cl, "context"))
		return error_set(e, ERR_ARG, "--context goes with --record");
	if (record && flag_bool(cl, "stdin"))
		return error_set(e, ERR_ARG, "--record is of a server: --stdin has none");
	return 0;
}

static int run_query(struct command_line *cl, struct run *q, bool tty)
{
	struct fetch f = {.cl = cl,
		.query = cl->args[0],
		.forward = flag_bool(cl, "forward"),
		.limit = limit_of(cl, tty),
		.step_ns = flag_int(cl, "step"),
		.page = print_page,
		.samples = print_samples,
		.stats = flag_bool(cl, "stats") ? print_stats : NULL,
		.ctx = q};
	bool explain = flag_bool(cl, "explain");
	struct error e = {0};
	int r;

	remote_window(cl, &f.from_ns, &f.until_ns);
	if (f.from_ns > f.until_ns) {
		error_set(&e, ERR_ARG, "the window ends before it begins: see --since and --until");
		return command_usage(cl, &e);
	}
	if ((r = remote_open(&f.remote, cl, &e)) == 0) {
		if (explain)
			r = run_explain(&f, &e);
		else
			r = flag_bool(cl, "instant") ? run_instant(&f, &e) : fetch_run(&f, &e);
	}
	q->printer.silent = q->printer.silent || explain;
	if (r == 0 || q->printer.n)
		printer_fini(&q->printer);
	remote_close(f.remote);
	return explain && r == 0 ? EXIT_OK : finish(q, &f, r, &e);
}

static int run(struct command_line *cl)
{
	bool tty = isatty(fileno(cl->out));
	struct run q = {.cl = cl};
	struct error e = {0};

	if (check_operands(cl, &e) < 0 || printer_init(&q.printer, cl, cl->out, tty, &e) < 0)
		return command_usage(cl, &e);
	q.printer.silent = flag_bool(cl, "quiet");
	if (flag_bool(cl, "stdin") || cl->n_args > 1)
		return run_files(cl, &q, tty);
	return flag_given(cl, "record") ? run_record(cl, &q) : run_query(cl, &q, tty);
}

static const struct flag flags[] = {
	{.name = "limit",
		.letter = 'n',
		.aliases = "lines tail",
		.kind = FLAG_INT,
		.min = 0,
		.max = INT64_MAX,
		.env = "SAWLOG_LIMIT",
		.fallback = "30",
		.help = "At most N lines, 0 for all.  Without it a pipe gets all of them."},
	{.name = "forward", .kind = FLAG_BOOL, .help = "Oldest first; else newest first."},
	{.name = "instant",
		.kind = FLAG_BOOL,
		.help = "Evaluate a metric query at one time, --until, instead of over the window."},
	{.name = "step",
		.kind = FLAG_DURATION,
		.help = "Between the samples of a metric query.  Default: by the window."},
	{.name = "quiet",
		.letter = 'q',
		.kind = FLAG_BOOL,
		.help = "Print nothing; exit with 0 when something matches, 1 when nothing does."},
	{.name = "exit-status", .kind = FLAG_BOOL, .help = "Exit with 1 when nothing matches."},
	{.name = "stats",
		.kind = FLAG_BOOL,
		.help = "Print what the server read for each answer, to stderr."},
	{.name = "explain",
		.kind = FLAG_BOOL,
		.help = "Run the query and print how it was answered, not what: what was left to the "
			"store, how much was opened, counted, ruled out and read, and where the time "
			"went."},
	{.name = "stdin", .kind = FLAG_BOOL, .help = "Query the standard input, and no server."},
	{.name = "record",
		.kind = FLAG_INT,
		.value = "SEQ",
		.min = 1,
		.max = INT64_MAX,
		.help = "Print the record of this number, which is its own for good, in place of a "
			"query.  Exits with 1 when it is gone."},
	{.name = "context",
		.letter = 'C',
		.kind = FLAG_INT,
		.min = 0,
		.max = 1000,
		.help = "With --record: N lines of its stream before it and after it, too."},
	FLAG_END,
};

const struct command command_query = {
	.name = "query",
	.args = "LOGQL [FILE ...] | --record SEQ",
	.summary = "print the lines, or samples, of a LogQL query",
	.description =
		"Asks a server for the lines that match, by default those of the last hour, newest "
		"first.  Large results are fetched page by page, each line once.\n\n"
		"With files (plain, gzip or zstd), or --stdin, it asks no server but reads these: each "
		"line is a record with the label filename, at the time that the line tells, else that "
		"of the line before it.  The window is then all of them unless it is given.  Lines "
		"come in the order of the files, as they are read; with a limit and without --forward "
		"the newest.\n\n"
		"Lines go to standard output, everything else to standard error.",
	.examples =
		"sawlog query '{app=\"billing\"} |= \"timeout\"' --since 3h\n"
		"sawlog query '{app=\"billing\"}' --from 2026-08-21 --to 2026-08-22 --forward -o jsonl\n"
		"sawlog query 'sum by (app) (rate({host=~\".+\"} [5m]))' --instant\n"
		"sawlog query --explain 'sum(count_over_time({app=~\".+\"} |= \"timeout\" [24h]))'\n"
		"sawlog query --record 184467 --context 5\n"
		"sawlog query '{} | logfmt | status >= 500' access.log access.log.1.gz\n"
		"kubectl logs billing | sawlog query --stdin 'sum by (level) (count_over_time({} | json "
		"[5m]))'\n"
		"sawlog query -q '{app=\"billing\"} |= \"panic\"' && echo trouble\n",
	.flags = flags,
	.groups = {&window_flags, &print_flags, &remote_flags, &access_flags},
	.max_args = ARGS_ANY,
	.run = run,
};
