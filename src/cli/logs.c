/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The logs of one application, as `cf logs` has them: its query and its shapes
 * are given, all else is the tail's.
 *
 * A tail comes in the order of commits.  People want that of time, so a line is
 * held for a moment (--reorder) and leaves with all that are older; what comes
 * later than that is shown late, never left out.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "cli/fetch.h"
#include "cli/follow.h"
#include "cli/log_shapes.h"
#include "conf/yaml.h"
#include "os/clock.h"
#include "os/fs.h"
#include "os/process.h"
#include "proto/loggregator.h"
#include "query/quote.h"

enum {
	MANIFEST_MAX = 1 << 20,
	HELD_BYTES_MAX = 16 << 20,    /* while following: more than that does not wait */
	RECENT_BYTES_MAX = 256 << 20, /* of --recent, which is printed oldest first */
	RECENT_LINES = 1000,
	TAIL_LINES = 10,
};

static const int64_t skew_ns = 3600 * NS_PER_SEC; /* clocks of senders may be ahead */

/* A line that waits for its turn, as it will be printed. */
struct held {
	int64_t timestamp, mono; /* its own; when it came */
	uint64_t order;          /* among those of one time */
	char *text;
	size_t n;
};

struct logs {
	struct command_line *cl;
	struct remote *remote;
	struct follow follow;
	struct log_style style;
	const char *app;
	struct buf query, manifest, text;
	int64_t reorder_ns;
	/* Lines that wait, sorted when they are let go. */
	struct held *held;
	size_t n, cap, bytes;
	uint64_t n_seen;
};

/* --- which application ------------------------------------------------------------------- */

static const struct yaml_node *member(const struct yaml_node *map, const char *key)
{
	if (!map || map->kind != NODE_MAP)
		return NULL;
	for (const struct yaml_node *n = map->first; n; n = n->next)
		if (str_eq_c(n->key, key))
			return n;
	return NULL;
}

/* applications[0].name of the manifest that `cf push` would read here. */
static int name_of_manifest(struct logs *l, const char *file, struct error *e)
{
	struct conf_errors errors = {0};
	const struct yaml_node *list, *name;
	struct error local;
	int r;

	r = fs_read_all(fs_real(), file, MANIFEST_MAX, &l->manifest, &local);
	if (r == ERR_NOT_FOUND)
		return error_set(e, ERR_ARG,
			"which application? Give its name, or --app NAME, or be in a folder with "
			"its manifest.yml");
	if (r < 0)
		return error_set(e, r, "manifest.yml: %s", local.text);
	list = member(yaml_read_foreign(buf_view(&l->manifest), file, &l->cl->arena, &errors),
		"applications");
	if (errors.n && !list) {
		r = error_set(e, ERR_ARG, "%.*s; or give --app NAME",
			STR_ARG(str_trim(buf_view(&errors.text))));
		buf_fini(&errors.text);
		return r;
	}
	name = list && list->kind == NODE_LIST ? member(list->first, "name") : NULL;
	if (name && name->kind == NODE_SCALAR && name->text.n)
		l->app = arena_c(&l->cl->arena, name->text);
	else
		r = error_set(
			e, ERR_ARG, "%s tells no applications[0].name: give --app NAME", file);
	buf_fini(&errors.text);
	return r;
}

static int find_app(struct logs *l, struct error *e)
{
	const char *app = flag_string(l->cl, "app");

	if (app && l->cl->n_args)
		return error_set(e, ERR_ARG,
			"the application is named twice: by --app and as \"%s\"", l->cl->args[0]);
	if (l->cl->n_args)
		app = l->cl->args[0];
	if (!app)
		return name_of_manifest(l, "manifest.yml", e);
	if (!*app)
		return error_set(e, ERR_ARG, "the application's name is empty");
	l->app = app;
	return 0;
}

/* Lines alone: of the input `loggregator`, the label `event` names what is none. */
static void make_query(struct logs *l)
{
	const char *between = ", event!~\"";

	buf_printf(&l->query, "{%s=", flag_string(l->cl, "label"));
	quote_go(&l->query, str_c(l->app));
	for (int i = LOGGREGATOR_LOG + 1; i <= LOGGREGATOR_ERROR; i++, between = "|")
		buf_printf(&l->query, "%s%s", between, loggregator_events[i]);
	buf_c(&l->query, "\"}");
}

/* --- lines in order ---------------------------------------------------------------------- */

static int by_time(const void *a, const void *b)
{
	const struct held *x = a, *y = b;

	if (x->timestamp != y->timestamp)
		return x->timestamp < y->timestamp ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

static void hold(struct logs *l, const struct print_entry *en, uint64_t order)
{
	struct held h = {
		.timestamp = en->timestamp, .mono = clock_mono_ns(clock_real()), .order = order};

	buf_clear(&l->text);
	log_shape_put(&l->text, &l->style, en);
	h.n = l->text.n;
	h.text = xmalloc(h.n);
	memcpy(h.text, l->text.p, h.n);
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->held = xrealloc(l->held, l->cap * sizeof *l->held);
	}
	l->held[l->n++] = h;
	l->bytes += h.n;
}

/* Print the oldest `n`. */
static void let_go(struct logs *l, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		fwrite(l->held[i].text, 1, l->held[i].n, l->cl->out);
		l->bytes -= l->held[i].n;
		free(l->held[i].text);
	}
	l->n -= n;
	if (l->n)
		memmove(l->held, l->held + n, l->n * sizeof *l->held);
	if (n)
		fflush(l->cl->out);
}

static void let_go_all(struct logs *l)
{
	if (l->n)
		qsort(l->held, l->n, sizeof *l->held, by_time);
	let_go(l, l->n);
}

/* Each line waits so long and no longer: one that has done so takes along all that are older. */
static void let_go_due(struct logs *l)
{
	int64_t due = clock_mono_ns(clock_real()) - l->reorder_ns, next = INT64_MAX;
	size_t n = 0;

	if (l->n)
		qsort(l->held, l->n, sizeof *l->held, by_time);
	for (size_t i = 0; i < l->n; i++)
		if (l->held[i].mono <= due)
			n = i + 1;
	let_go(l, l->bytes > HELD_BYTES_MAX ? l->n : n);
	for (size_t i = 0; i < l->n; i++)
		if (l->held[i].mono - due < next)
			next = l->held[i].mono - due;
	next = next / 1000000 + 1;
	l->follow.wait_ms = next < FOLLOW_WAIT_MS ? (unsigned)next : FOLLOW_WAIT_MS;
}

/* --- the command ------------------------------------------------------------------------- */

static int take_page(void *ctx, const struct print_entry *list, size_t n)
{
	struct logs *l = ctx;

	for (size_t i = 0; i < n; i++) {
		if (l->bytes > RECENT_BYTES_MAX)
			return ERR_LIMIT;
		hold(l, &list[i], UINT64_MAX - l->n_seen++); /* they come newest first */
	}
	return 0;
}

static void take_line(void *ctx, const struct print_entry *en)
{
	struct logs *l = ctx;

	hold(l, en, l->n_seen++);
}

static int pause_between(void *ctx, struct error *e)
{
	(void)e;
	let_go_due(ctx);
	return 0;
}

static void tell_connected(void *ctx)
{
	struct logs *l = ctx;

	fprintf(l->cl->err, "Connected, %s logs for app %s...\n\n",
		flag_bool(l->cl, "recent") ? "dumping recent" : "tailing", l->app);
}

static uint64_t limit_of(const struct command_line *cl, uint64_t otherwise)
{
	return flag_given(cl, "limit") ? (uint64_t)flag_int(cl, "limit") : otherwise;
}

static int run_recent(struct logs *l, struct error *e)
{
	struct fetch f = {.remote = l->remote,
		.cl = l->cl,
		.query = buf_cstr(&l->query),
		.from_ns = flag_int(l->cl, "since"),
		.until_ns = l->cl->now_ns + skew_ns,
		.limit = limit_of(l->cl, RECENT_LINES),
		.page = take_page,
		.ctx = l};
	int r;

	if (f.limit == 0)
		return error_set(e, ERR_ARG, "--limit: --recent without a line is nothing");
	r = fetch_run(&f, e);
	if (r == ERR_LIMIT && l->bytes > RECENT_BYTES_MAX)
		return error_set(e, ERR_ARG,
			"--limit: more than 256 MiB of lines; `sawlog query --forward` has no such limit");
	if (r < 0)
		return r;
	tell_connected(l);
	let_go_all(l);
	if (l->n_seen == 0 && !f.incomplete && !f.warned)
		fprintf(l->cl->err,
			"There are none in that time (--since). Applications that have some: sawlog labels %s\n",
			flag_string(l->cl, "label"));
	return f.incomplete ? EXIT_TEMPORARY : 0;
}

static int run_tail(struct logs *l, struct error *e)
{
	int r;

	l->follow = (struct follow){
		.cl = l->cl,
		.remote = l->remote,
		.query = buf_cstr(&l->query),
		.start_ns = flag_int(l->cl, "since"),
		.limit = limit_of(l->cl, TAIL_LINES),
		.entry = take_line,
		.pause = pause_between,
		.connected = tell_connected,
		.ctx = l,
	};
	r = follow_run(&l->follow, e);
	let_go_all(l);
	return r;
}

static int logs_open(struct logs *l, struct error *e)
{
	struct command_line *cl = l->cl;
	bool tty = process_is_tty(fileno(cl->out));
	int r;

	l->style = (struct log_style){
		.shape = (enum log_shape)flag_choice(cl, "format"),
		.colour = print_wants_colour(flag_choice(cl, "color"), tty),
		.utc = flag_bool(cl, "utc"),
	};
	l->style.escape = (tty || l->style.colour) && !flag_bool(cl, "raw");
	l->reorder_ns = flag_int(cl, "reorder");
	if ((r = print_zone(flag_string(cl, "timezone"), &l->style.utc, e)) < 0 ||
		(r = find_app(l, e)) < 0)
		return r;
	l->style.app = str_c(l->app);
	make_query(l);
	return remote_open(&l->remote, cl, e);
}

static void logs_close(struct logs *l)
{
	follow_fini(&l->follow);
	remote_close(l->remote);
	for (size_t i = 0; i < l->n; i++)
		free(l->held[i].text);
	free(l->held);
	buf_fini(&l->query);
	buf_fini(&l->manifest);
	buf_fini(&l->text);
}

static int run(struct command_line *cl)
{
	struct logs l = {.cl = cl};
	struct error e = {0};
	int r, code;

	if ((r = logs_open(&l, &e)) < 0) {
		logs_close(&l);
		return r == ERR_ARG ? command_usage(cl, &e) : command_fail(cl, &e);
	}
	r = flag_bool(cl, "recent") ? run_recent(&l, &e) : run_tail(&l, &e);
	if (r >= 0 || ferror(cl->out))
		code = r > 0 ? r : EXIT_OK;
	else
		code = remote_fail(cl, buf_cstr(&l.query), &e);
	logs_close(&l);
	return flag_bool(cl, "recent") ? code : follow_exit_code(code);
}

static const struct flag flags[] = {
	{.name = "app",
		.kind = FLAG_STRING,
		.value = "NAME",
		.help = "The application; the same as the operand."},
	{.name = "recent",
		.kind = FLAG_BOOL,
		.help = "Print the last lines, in the order of their times, and end."},
	{.name = "limit",
		.letter = 'n',
		.aliases = "lines",
		.kind = FLAG_INT,
		.min = 0,
		.max = 10000000,
		.help = "Lines of the past.  Default: 1000 with --recent, else 10 before the new "
			"ones."},
	{.name = "since",
		.aliases = "from",
		.kind = FLAG_TIME,
		.fallback = "30d",
		.help = "How far the past goes back: how long ago (5m, 3h, 2d), or a time."},
	{.name = "format",
		.kind = FLAG_CHOICE,
		.choices = log_shapes,
		.fallback = "today",
		.env = "SAWLOG_LOGS_FORMAT",
		.help = "The shape of a line: that of today's cf, or of an older one, which "
			"scripts may know."},
	{.name = "reorder",
		.kind = FLAG_DURATION,
		.min = 0,
		.max = 60 * NS_PER_SEC,
		.fallback = "250ms",
		.help = "Hold each new line so long, to print them by their times.  0s: at once, "
			"in the order in which they were stored."},
	{.name = "label",
		.kind = FLAG_STRING,
		.value = "NAME",
		.fallback = "app",
		.help = "The label that holds the application's name, where it is another."},
	{.name = "raw",
		.kind = FLAG_BOOL,
		.help = "Do not escape control bytes on a terminal either."},
	PRINT_LOOK_FLAGS,
	FLAG_END,
};

const struct command command_logs = {
	.name = "logs",
	.args = "[APP]",
	.summary = "follow an application's lines, in Cloud Foundry's shapes",
	.description =
		"Prints the last lines of the application and then each new one, from all its "
		"instances and from what stands before it (the router, the API, the stager). When the "
		"connection breaks it is made again, and printing goes on behind the last line.\n\n"
		"Without a name it is that of applications[0] in manifest.yml of the current folder.\n\n"
		"Lines go to standard output, everything else to standard error. ERR lines are red "
		"where there are colours. What the application says over several lines has its header "
		"on each of them in today's shape, and is indented below the first in the others.",
	.examples = "sawlog logs shop\n"
		    "sawlog logs --recent --app shop | grep ERR\n"
		    "sawlog logs shop --format 2013 --reorder 5s\n",
	.flags = flags,
	.groups = {&remote_flags, &access_flags},
	.max_args = 1,
	.run = run,
};
