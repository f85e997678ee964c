/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follow a query.  History and live are joined by a sequence number: the last
 * N lines are asked for, their answer tells the last sequence S it saw, and
 * the tail begins behind S.  From then on follow.c goes from token to token.
 *
 * Loki has none, and a sawlog that answers for several has one for each of
 * them: there the server sends the history itself, in front of the tail.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cli/fetch.h"
#include "cli/follow.h"
#include "os/clock.h"
#include "os/fs.h"
#include "os/process.h"
#include "query/quote.h"
#include "query/tail.h"

enum {
	HISTORY_BYTES_MAX = 256 << 20,
};

static const int64_t cursor_save_ns = NS_PER_SEC; /* the file may be that old after a crash */
static const int64_t skew_ns = 3600 * NS_PER_SEC; /* clocks of senders may be ahead */

/* The lines of history, newest first as they come, copied out of the pages. */
struct history {
	struct print_entry *list; /* labels.p and line.p are offsets until all are there */
	size_t n, cap;
	struct buf text;
};

struct tail {
	struct command_line *cl;
	const char *query, *cursor_file; /* query: a view of `filtered` */
	struct buf filtered; /* the query of the command line, with --include and --exclude */
	struct remote *remote;
	struct printer printer;
	struct follow follow;
	struct buf saved; /* the token that the file holds */
	int64_t saved_mono;
	uint64_t limit;
	bool joins; /* history and live are joined here: it is printed before the tail */
	struct history history;
};

/* --- the cursor -------------------------------------------------------- */

static int read_cursor(struct tail *t, struct error *e)
{
	const char *given = flag_string(t->cl, "after-cursor");
	struct error local;
	struct buf text = {0};
	int r;

	t->cursor_file = flag_string(t->cl, "cursor-file");
	if (given) {
		follow_cursor(&t->follow, str_c(given));
		return 0;
	}
	if (!t->cursor_file)
		return 0;
	r = fs_read_all(fs_real(), t->cursor_file, FOLLOW_CURSOR_MAX, &text, &local);
	if (r == 0)
		follow_cursor(&t->follow, str_trim(buf_view(&text)));
	else if (r != ERR_NOT_FOUND)
		error_set(e, r, "--cursor-file: %s", local.text);
	buf_fini(&text);
	return r == ERR_NOT_FOUND ? 0 : r;
}

/* After the lines before it left us, so that a crash repeats lines rather than lose them. */
static int save_cursor(struct tail *t, bool now, struct error *e)
{
	int64_t mono = clock_mono_ns(clock_real());
	int r;

	if (!t->cursor_file || t->follow.cursor.n == 0 ||
		str_eq(buf_view(&t->follow.cursor), buf_view(&t->saved)) ||
		(!now && mono - t->saved_mono < cursor_save_ns) || ferror(t->cl->out))
		return 0;
	if ((r = fs_write_all(fs_real(), t->cursor_file, buf_view(&t->follow.cursor), e)) < 0)
		return error_wrap(e, r, "--cursor-file");
	buf_clear(&t->saved);
	buf_str(&t->saved, buf_view(&t->follow.cursor));
	t->saved_mono = mono;
	return 0;
}

/* --- history ----------------------------------------------------------- */

static size_t history_text(struct history *h, struct str s)
{
	size_t at = h->text.n;

	buf_str(&h->text, s);
	return at;
}

static int keep_page(void *ctx, const struct print_entry *list, size_t n)
{
	struct tail *t = ctx;
	struct history *h = &t->history;

	for (size_t i = 0; i < n; i++) {
		if (h->text.n > HISTORY_BYTES_MAX)
			return ERR_LIMIT;
		if (h->n == h->cap) {
			h->cap = h->cap ? h->cap * 2 : 64;
			h->list = xrealloc(h->list, h->cap * sizeof *h->list);
		}
		/* Offsets for now: the buffer still moves. */
		h->list[h->n++] = (struct print_entry){
			.timestamp = list[i].timestamp,
			.labels = {(const char *)history_text(h, list[i].labels), list[i].labels.n},
			.line = {(const char *)history_text(h, list[i].line), list[i].line.n},
		};
	}
	return 0;
}

static void print_history(struct tail *t)
{
	struct history *h = &t->history;

	for (size_t i = h->n; i-- > 0;) {
		struct print_entry en = h->list[i];

		en.labels.p = h->text.p + (size_t)en.labels.p;
		en.line.p = h->text.p + (size_t)en.line.p;
		printer_entry(&t->printer, &en);
	}
	fflush(t->cl->out);
}

static int print_page(void *ctx, const struct print_entry *list, size_t n)
{
	struct tail *t = ctx;

	for (size_t i = 0; i < n; i++)
		printer_entry(&t->printer, &list[i]);
	return ferror(t->cl->out) ? ERR_CLOSED : 0;
}

/* The last lines, and the sequence they were seen at.  What came since a token is printed as it
 * comes, oldest first and all of it. */
static int fetch_history(struct tail *t, struct error *e)
{
	bool since_token = t->follow.cursor.n > 0;
	struct fetch f = {.remote = t->remote,
		.cl = t->cl,
		.query = t->query,
		.from_ns = since_token ? 0 : t->follow.start_ns,
		.until_ns = t->cl->now_ns + skew_ns,
		.limit = since_token ? 0
			 : t->limit  ? t->limit
				     : 1,
		.forward = since_token,
		.page = since_token ? print_page : keep_page,
		.ctx = t};
	char seq[24];
	int r;

	if (since_token)
		f.after_seq = buf_cstr(&t->follow.cursor);
	r = fetch_run(&f, e);
	if (r == ERR_LIMIT && t->history.text.n > HISTORY_BYTES_MAX)
		return error_set(e, ERR_ARG,
			"--limit: more than 256 MiB of history; `sawlog query --forward` has no such limit");
	if (r < 0)
		return r;
	t->joins = f.sawlog && !f.peers;
	if (t->limit == 0)
		t->history.n = 0;
	if (t->joins) {
		snprintf(seq, sizeof seq, "%" PRIu64, f.last_seq);
		follow_cursor(&t->follow, str_c(seq));
	}
	return 0;
}

/* --- the command ------------------------------------------------------- */

static bool wants_follow(const struct command_line *cl)
{
	return flag_bool(cl, "follow") && !flag_bool(cl, "no-follow");
}

static void add_filters(struct tail *t, const char *op, const char *flag)
{
	for (size_t i = 0; i < flag_count(t->cl, flag); i++) {
		buf_printf(&t->filtered, "\n%s ", op); /* a comment ends with its line */
		quote_go(&t->filtered, str_c(flag_nth(t->cl, flag, i)));
	}
}

/* What no tail can answer is refused before its history is printed.  What does not parse here is
 * the server's to judge, which may be another than sawlog. */
static int check_query(struct tail *t, struct error *e)
{
	struct query_tail *tail = NULL;
	struct query *q = NULL;
	struct error ignored = {0};
	int r = 0;

	if (wants_follow(t->cl) && query_parse(&q, str_c(t->query), &ignored) == 0)
		r = query_tail_new(&tail, q, false, NULL, e);
	query_tail_free(tail);
	query_free(q);
	return r;
}

static void print_live(void *ctx, const struct print_entry *en)
{
	struct tail *t = ctx;

	printer_entry(&t->printer, en);
}

static int print_pause(void *ctx, struct error *e)
{
	struct tail *t = ctx;

	fflush(t->cl->out);
	return save_cursor(t, false, e);
}

static int tail_open(struct tail *t, struct error *e)
{
	struct command_line *cl = t->cl;
	bool tty = process_is_tty(fileno(cl->out));
	int r;

	buf_c(&t->filtered, cl->args[0]);
	add_filters(t, "|~", "include");
	add_filters(t, "!~", "exclude");
	t->query = buf_cstr(&t->filtered);
	t->limit = (uint64_t)flag_int(cl, "limit");
	t->follow = (struct follow){
		.cl = cl,
		.query = t->query,
		.start_ns = flag_int(cl, "since"),
		.limit = t->limit,
		.entry = print_live,
		.pause = print_pause,
		.ctx = t,
	};
	if ((r = printer_init(&t->printer, cl, cl->out, tty, e)) < 0)
		return r;
	/* An array that never ends is of no use. */
	if (t->printer.format == OUTPUT_JSON && wants_follow(cl))
		t->printer.format = OUTPUT_JSONL;
	if ((r = check_query(t, e)) < 0 || (r = read_cursor(t, e)) < 0)
		return r;
	r = remote_open(&t->remote, cl, e);
	t->follow.remote = t->remote;
	return r;
}

static void tail_close(struct tail *t)
{
	printer_fini(&t->printer);
	remote_close(t->remote);
	follow_fini(&t->follow);
	free(t->history.list);
	buf_fini(&t->history.text);
	buf_fini(&t->saved);
	buf_fini(&t->filtered);
}

static int tail_run(struct tail *t, struct error *e)
{
	bool follows = wants_follow(t->cl);
	int r = 0;

	if (t->follow.cursor.n && follows)
		t->joins = true; /* the server goes on behind the token by itself */
	else if ((r = fetch_history(t, e)) < 0)
		return r;
	if (t->joins || !follows)
		print_history(t);
	if ((r = save_cursor(t, true, e)) < 0 || !follows)
		return r;
	return follow_run(&t->follow, e);
}

static int run(struct command_line *cl)
{
	struct tail t = {.cl = cl};
	struct error e = {0}, late = {0};
	int r, code;

	if ((r = tail_open(&t, &e)) == 0)
		r = tail_run(&t, &e);
	code = r == 0 || ferror(cl->out) ? EXIT_OK : remote_fail(cl, t.query, &e);
	fflush(cl->out);
	if (save_cursor(&t, true, &late) < 0 && code == EXIT_OK)
		code = command_fail(cl, &late);
	if (flag_bool(cl, "show-cursor") && t.follow.cursor.n)
		fprintf(t.printer.format > OUTPUT_RAW ? cl->err : cl->out, "-- cursor: %s\n",
			buf_cstr(&t.follow.cursor));
	tail_close(&t);
	return follow_exit_code(code);
}

static const struct flag flags[] = {
	{.name = "limit",
		.letter = 'n',
		.aliases = "lines tail",
		.kind = FLAG_INT,
		.min = 0,
		.max = 10000000,
		.fallback = "10",
		.help = "Lines of history before the live ones."},
	{.name = "since",
		.aliases = "from",
		.kind = FLAG_TIME,
		.fallback = "1h",
		.help = "How far history goes back: how long ago (5m, 3h, 2d), or a time."},
	{.name = "include",
		.letter = 'i',
		.aliases = "grep",
		.kind = FLAG_REPEATED,
		.value = "REGEX",
		.help = "Only lines that match, as |~ at the end of the query; repeated: all of them."},
	{.name = "exclude",
		.letter = 'e',
		.kind = FLAG_REPEATED,
		.value = "REGEX",
		.help = "No lines that match, as !~ at the end of the query; may be repeated."},
	{.name = "follow",
		.letter = 'f',
		.kind = FLAG_BOOL,
		.fallback = "true",
		.help = "Go on with lines as they come; this is the default."},
	{.name = "no-follow", .kind = FLAG_BOOL, .help = "Print the history and end."},
	{.name = "after-cursor",
		.aliases = "cursor",
		.kind = FLAG_STRING,
		.value = "TOKEN",
		.help = "Go on behind the lines that gave this token, instead of with history."},
	{.name = "cursor-file",
		.kind = FLAG_STRING,
		.value = "FILE",
		.help = "Go on behind the token in FILE when it exists, and keep it up to date: at "
			"most a second behind after a crash."},
	{.name = "show-cursor",
		.kind = FLAG_BOOL,
		.help = "Print the token at the end, as -- cursor: TOKEN; with JSON to stderr."},
	FLAG_END,
};

const struct command command_tail = {
	.name = "tail",
	.args = "LOGQL",
	.summary = "follow a log query",
	.description =
		"Prints the last lines that match and then each new one as it is stored. When the "
		"connection breaks it is made again, and printing goes on behind the last line.\n\n"
		"Lines come in the order in which they were stored, so a line that arrives late is "
		"printed late, not left out.",
	.examples =
		"sawlog tail '{app=\"billing\"} |= \"error\"'\n"
		"sawlog tail '{app=\"billing\"}' -i timeout -e healthz --highlight 'user=\\w+'\n"
		"sawlog tail '{app=\"billing\"}' --cursor-file /var/lib/me/cursor -o raw | handle\n",
	.flags = flags,
	.groups = {&print_flags, &remote_flags, &access_flags},
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
